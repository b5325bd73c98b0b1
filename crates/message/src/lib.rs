//! What a mail message is: addresses, headers, dates, traces, MIME.
//!
//! Everything here is a value or a pure transform. Time and randomness are handed in; nothing here asks DNS, knows a
//! store, or decides what becomes of a message.

pub mod address;
pub mod date;
pub mod header;
mod message_id;
pub mod trace;

pub use address::{Address, Domain, InvalidAddress, LocalPart};
pub use header::{Field, HeaderEnd, HeaderScan};
pub use message_id::message_id;
