//! What goes on with files, whatever protocol moves them: who is there, what is on its way, what is told of it.

mod transfers;

pub(crate) use transfers::word;
pub use transfers::{Begun, Direction, Moving, Session, Transfers};
