//! SMTP, message submission and LMTP: both sides of the conversation, without I/O.
//!
//! [`Server`] and [`Client`] are [`Session`](packetboat_wire::Session)s: bytes and time go in, steps come out. They know
//! no accounts and no mailboxes; whether a sender, a recipient or a message is welcome is asked of the owner.

pub mod client;
pub mod command;
pub mod envelope;
pub mod reply;
pub mod server;

pub use client::Client;
pub use envelope::{BodyKind, ForwardPath, Recipient, Sender};
pub use server::Server;
