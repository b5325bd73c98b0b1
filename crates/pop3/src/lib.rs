//! POP3, both sides, without I/O.
//!
//! [`Server`] and [`Client`] are [`Session`](packetboat_wire::Session)s: bytes and time go in, steps come out. The
//! server asks its owner who may log in, for unique-ids and for message text; the client takes a queue of requests and
//! tells what came of them. Neither knows what an account or a mailbox is.
//!
//! | RFC | what |
//! |---|---|
//! | 1939 | the protocol, with TOP, UIDL and APOP |
//! | 1734, 5034 | AUTH, the mechanisms being `wire`'s |
//! | 2449 | CAPA, response codes, pipelining |
//! | 2595 | STLS |
//! | 3206 | SYS and AUTH response codes |
//! | 6856 | UTF8 and LANG |

pub mod apop;
pub mod client;
mod command;
mod language;
mod reply;
pub mod server;

pub use client::Client;
pub use command::{COMMAND_LINE_MAX, Command, InvalidCommand, SASL_LINE_MAX, Strictness};
pub use language::Language;
pub use reply::{REPLY_LINE_MAX, ResponseCode};
pub use server::Server;
