//! Mailbox names: UTF-8 inside, modified UTF-7 (RFC 3501 section 5.1.3) or UTF-8 on the wire.

use std::borrow::Cow;
use std::fmt;

use thiserror::Error;

use super::utf7;

/// A mailbox's name in UTF-8, levels separated by `/`; `INBOX` in any case is `INBOX`. At most
/// [`MailboxName::OCTETS_MAX`] octets, no control characters.
///
/// The first level of a deeper name is treated so, too (`inbox/x` is `INBOX/x`): there are no two inboxes.
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

    /// The name of everybody's first mailbox.
    pub fn inbox() -> MailboxName {
        MailboxName("INBOX".to_owned())
    }

    /// A name in UTF-8.
    pub fn new(name: &str) -> Result<MailboxName, NameError> {
        // RFC 9051 section 5.1 keeps control characters out, and U+2028 and U+2029, which end lines for some.
        let forbidden = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        if name.is_empty() || name.len() > MailboxName::OCTETS_MAX || name.contains(forbidden) {
            return Err(NameError::Name);
        }
        let first = name.split(MailboxName::SEPARATOR).next().unwrap_or_default();
        if first.eq_ignore_ascii_case("INBOX") {
            return Ok(MailboxName(format!("INBOX{}", name.get(first.len()..).unwrap_or_default())));
        }
        Ok(MailboxName(name.to_owned()))
    }

    /// A name as a client sent it: in UTF-8 to who has enabled that, else in modified UTF-7.
    pub fn decode(octets: &[u8], utf8: bool) -> Result<MailboxName, NameError> {
        MailboxName::new(&decode_text(octets, utf8).ok_or(NameError::Encoding)?)
    }

    /// The name as it is said to a client: in UTF-8 or modified UTF-7.
    pub fn encode(&self, utf8: bool) -> Cow<'_, str> {
        if utf8 { Cow::Borrowed(&self.0) } else { utf7::encode(&self.0) }
    }

    /// The name in UTF-8.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the inbox itself.
    pub fn is_inbox(&self) -> bool {
        self.0 == "INBOX"
    }
}

/// A name, part of a name or pattern, as a client sent it, in UTF-8. Clients that send UTF-8 without having asked for it
/// are understood where it cannot be modified UTF-7.
pub(crate) fn decode_text(octets: &[u8], utf8: bool) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(octets).ok()?;
    if utf8 || (!text.is_ascii() && !text.contains('&')) {
        Some(Cow::Borrowed(text))
    } else {
        utf7::decode(text)
    }
}

impl AsRef<str> for MailboxName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_normalised_where_they_enter() {
        for (octets, utf8, name) in [
            (&b"inBox"[..], false, Ok("INBOX")),
            (b"inbox/Sub", false, Ok("INBOX/Sub")),
            (b"inboxes", false, Ok("inboxes")),
            (b"Entw&APw-rfe", false, Ok("Entwürfe")),
            (b"Entw&APw-rfe", true, Ok("Entw&APw-rfe")),
            ("Entwürfe".as_bytes(), true, Ok("Entwürfe")),
            ("Entwürfe".as_bytes(), false, Ok("Entwürfe")),
            ("Entwürfe & &APw-".as_bytes(), false, Err(NameError::Encoding)),
            (b"Tom & Jerry", false, Err(NameError::Encoding)),
            (b"Tom & Jerry", true, Ok("Tom & Jerry")),
            (b"\xff", true, Err(NameError::Encoding)),
            (b"", false, Err(NameError::Name)),
            (b"a\0", true, Err(NameError::Name)),
            (b"a\r\nb", true, Err(NameError::Name)),
            (b"&AAA-", false, Err(NameError::Name)),
            ("a\u{2028}".as_bytes(), true, Err(NameError::Name)),
        ] {
            let decoded = MailboxName::decode(octets, utf8);
            assert_eq!(decoded.as_ref().map(MailboxName::as_str), name.as_ref().copied(), "{octets:?}");
        }
        assert!(MailboxName::new(&"x".repeat(1024)).is_ok());
        assert_eq!(MailboxName::new(&"x".repeat(1025)), Err(NameError::Name));
    }

    #[test]
    fn names_are_said_as_the_client_understands_them() {
        let name = MailboxName::new("Entwürfe").unwrap();
        assert_eq!(name.encode(false), "Entw&APw-rfe");
        assert_eq!(name.encode(true), "Entwürfe");
    }
}
