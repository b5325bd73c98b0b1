//! FTP (RFC 959) without I/O.
//!
//! [`command`] reads what a client says. [`data`] has what travels over a data connection: every combination of type, structure and mode, in both directions,
//! as streams of octets.

pub mod client;
pub mod command;
pub mod data;
pub mod listing;
pub mod reply;
pub mod server;
