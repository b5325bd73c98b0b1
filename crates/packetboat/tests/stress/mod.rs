//! Many sessions on few mailboxes, and a model that knows what they may be told.

// Part of one test program.
#![allow(unreachable_pub, clippy::unwrap_used)]

mod acts;
mod couriers;
mod looks;
mod session;
mod settle;
mod stream;
mod wire;
mod world;

pub use couriers::{deliver, pop};
pub use session::{Kind, Session};
pub use settle::settle;
pub use stream::Doors;
pub use wire::{Outcome, Random, Trouble};
pub use world::World;
