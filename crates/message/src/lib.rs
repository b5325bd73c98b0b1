//! What a mail message is: addresses, headers, dates, traces, MIME.
//!
//! Everything here is a value or a pure transform. Time and randomness are handed in; nothing here asks DNS, knows a
//! store, or decides what becomes of a message.

pub mod address;
mod base64_lines;
pub mod card;
pub mod compose;
pub mod crlf;
pub mod date;
pub mod dsn;
mod encode;
pub mod envelope;
pub mod fields;
pub mod header;
pub mod mailbox;
mod message_id;
mod pack;
pub mod reencode;
pub mod section;
pub mod structure;
pub mod surrogate;
pub mod text;
pub mod trace;

pub use address::{Address, Domain, InvalidAddress, LocalPart};
pub use header::{Field, HeaderEnd, HeaderScan};
pub use mailbox::Mailbox;
pub use message_id::message_id;
