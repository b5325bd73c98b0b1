//! The command `sendmail`, as cron, scripts and mail programs have called it for forty years: what its arguments mean,
//! and a message made of what comes in.
//!
//! [`Arguments`] are read as Sendmail and Postfix read them. [`Message::read`] takes the message: line ends become CRLF,
//! addresses without a domain get one, fields that a message has to have are added, blind copies go. Who takes the message
//! then is not known here.

mod arguments;
mod dots;
mod header;
mod message;
mod qualify;

pub use arguments::{Arguments, Mode, Notify, Usage};
pub use message::{Content, Message, MessageError};

/// Who sends, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The login name of the user.
    pub user: String,
    /// Their full name; may be empty.
    pub full_name: String,
    /// The domain that addresses without one get.
    pub domain: String,
}
