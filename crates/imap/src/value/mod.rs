//! The values that commands and responses are made of.

mod flag;
mod name;
mod set;

pub use flag::{Flag, SystemFlags};
pub use name::{MailboxName, NameError};
pub use set::{Bound, Messages, NumberSet, SetError, Target};
