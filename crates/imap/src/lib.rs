//! IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051), without I/O.
//!
//! [`Server`](server::Server) is a [`Session`](packetboat_wire::Session): bytes and time go in, steps come out. It knows the
//! grammar, the states and what may be said when; what a mailbox is, which message has which number, and what a search
//! finds, its owner knows. A command it cannot answer itself goes to the owner as a [`Request`](command::Request), and the
//! owner says [`response`]s and in the end a [`Completion`](response::Completion).
//!
//! [`Client`](client::Client) is the other side: it takes a queue of requests and tells what came of them.

pub mod client;
pub mod command;
pub mod response;
pub mod server;
pub mod value;
