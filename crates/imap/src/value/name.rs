//! Mailbox names: UTF-8 inside, modified UTF-7 (RFC 3501 section 5.1.3) or UTF-8 on the wire.

use thiserror::Error;

/// A mailbox's name in UTF-8, levels separated by `/`; `INBOX` in any case is `INBOX`. At most
/// [`MailboxName::OCTETS_MAX`] octets, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailboxName(String);

/// Why octets are no mailbox name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Neither UTF-8 nor modified UTF-7.
    #[error("the mailbox name is not encoded properly")]
    Encoding,
    /// Too long, empty, or with control characters.
    #[error("not a mailbox name")]
    Name,
}

impl MailboxName {
    /// Octets of a name at most.
    pub const OCTETS_MAX: usize = 1024;
    /// Stands between levels.
    pub const SEPARATOR: char = '/';
}

impl AsRef<str> for MailboxName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}
