//! The user agents: what people and scripts at their end of the line run.
//!
//! They are built on the same conversations as the server. How a protocol goes on is not known here; this crate opens
//! connections, carries bytes, and tells the person what happened. It knows no mailbox, no store, and no part of the
//! server.

pub mod link;
pub mod net;
pub mod send;
pub mod sendmail;
pub mod tls;
pub mod transfer;

pub use packetboat_wire::Secret;
