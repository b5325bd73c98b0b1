//! What a mail message is: addresses, headers, MIME.

pub mod address;

pub use address::{Address, Domain, InvalidAddress, LocalPart};
