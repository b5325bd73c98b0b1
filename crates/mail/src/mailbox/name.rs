//! What a mailbox may be called.

use std::fmt;

use thiserror::Error;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Stands between the levels of a name.
pub const SEPARATOR: char = '/';
/// Octets of a name.
pub const NAME_OCTETS_MAX: usize = 1024;
/// Levels of a name.
pub const NAME_LEVELS_MAX: usize = 32;
/// The mailbox that mail is delivered to.
pub const INBOX: &str = "INBOX";

/// A mailbox's name in its one form: UTF-8 in NFC, levels that are not empty with `/` between them, no control
/// characters. `INBOX` in any case is `INBOX`, also as the first of several levels (RFC 9051 section 5.1).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// Why a text is no mailbox name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// There is nothing, or nothing between two separators.
    #[error("a level of the mailbox name is empty")]
    Empty,
    /// More octets or levels than a name has.
    #[error("the mailbox name is too long")]
    TooLong,
    /// Control characters, line separators, or what is not a character (RFC 5198).
    #[error("the mailbox name has characters that a name cannot have")]
    Character,
}

impl Name {
    /// Brings a text into the form names have.
    pub fn new(text: &str) -> Result<Name, NameError> {
        if text.len() > NAME_OCTETS_MAX {
            return Err(NameError::TooLong);
        }
        let text = if is_nfc(text) { text.to_owned() } else { text.nfc().collect() };
        Name::checked(text)
    }

    fn checked(mut text: String) -> Result<Name, NameError> {
        if text.len() > NAME_OCTETS_MAX || text.split(SEPARATOR).count() > NAME_LEVELS_MAX {
            return Err(NameError::TooLong);
        }
        if text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
            return Err(NameError::Character);
        }
        if text.split(SEPARATOR).any(str::is_empty) {
            return Err(NameError::Empty);
        }
        if let Some(first) = text.split(SEPARATOR).next().filter(|first| first.eq_ignore_ascii_case(INBOX)) {
            text.replace_range(..first.len(), INBOX);
        }
        Ok(Name(text))
    }

    /// The inbox.
    pub fn inbox() -> Name {
        Name(INBOX.to_owned())
    }

    /// Whether it is the inbox itself.
    pub fn is_inbox(&self) -> bool {
        self.0 == INBOX
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names above it, from the top.
    pub fn superiors(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices(SEPARATOR).filter_map(|(at, _)| self.0.get(..at))
    }

    /// The same place under another name: `self` is `from` or below it.
    pub(crate) fn moved(&self, from: &Name, to: &Name) -> Option<Result<Name, NameError>> {
        let rest = self.0.strip_prefix(from.as_str())?;
        (rest.is_empty() || rest.starts_with(SEPARATOR)).then(|| Name::checked(format!("{to}{rest}")))
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_has_one_form() {
        for (text, form) in [
            ("Sent", "Sent"),
            ("inbox", "INBOX"),
            ("Inbox/foo", "INBOX/foo"),
            ("a/inbox", "a/inbox"),
            ("inboxes", "inboxes"),
            ("u\u{308}ber", "\u{fc}ber"),
            ("a b/&/%*", "a b/&/%*"),
        ] {
            assert_eq!(Name::new(text).map(|name| name.0), Ok(form.to_owned()), "{text}");
        }
        for (text, error) in [
            ("", NameError::Empty),
            ("/a", NameError::Empty),
            ("a/", NameError::Empty),
            ("a//b", NameError::Empty),
            ("a\nb", NameError::Character),
            ("a\u{85}b", NameError::Character),
            ("a\u{2028}b", NameError::Character),
            (&"x".repeat(1025), NameError::TooLong),
            (&"a/".repeat(32).replace("//", ""), NameError::TooLong),
            // Three octets become four.
            (&"\u{fb2c}".repeat(341), NameError::TooLong),
        ] {
            assert_eq!(Name::new(text), Err(error), "{text}");
        }
        assert!(Name::new(&"x".repeat(1024)).is_ok());
    }

    #[test]
    fn superiors_and_moving() {
        let name = Name::new("a/b/c").unwrap();
        assert_eq!(name.superiors().collect::<Vec<_>>(), ["a", "a/b"]);
        let moved = |from: &str, to: &str| name.moved(&Name::new(from).unwrap(), &Name::new(to).unwrap());
        assert_eq!(moved("a", "x/y"), Some(Name::new("x/y/b/c")));
        assert_eq!(moved("a/b/c", "z"), Some(Name::new("z")));
        assert_eq!(moved("a/b/c/d", "z"), None);
        assert_eq!(Name::new("ab/c").unwrap().moved(&Name::new("a").unwrap(), &name), None);
    }
}
