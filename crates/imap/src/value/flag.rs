//! Flags (RFC 9051 section 2.3.2).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use thiserror::Error;

/// One flag.
#[derive(Debug, Clone)]
pub enum Flag {
    /// `\Seen`
    Seen,
    /// `\Answered`
    Answered,
    /// `\Flagged`
    Flagged,
    /// `\Deleted`
    Deleted,
    /// `\Draft`
    Draft,
    /// `\Recent` (RFC 3501): only ever said by servers.
    Recent,
    /// A keyword, as it was first spelled: an atom, such as `$Forwarded`. Compared without regard to case.
    Keyword(String),
}

/// The text is no flag: an unknown one with a backslash, or a keyword that is no atom or is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a flag")]
pub struct InvalidFlag;

/// System flags as bits, in the order of [`Flag`]: `\Seen` is 1, `\Answered` 2, `\Flagged` 4, `\Deleted` 8, `\Draft` 16.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SystemFlags(pub u8);

impl Flag {
    /// Octets of a keyword at most.
    pub const KEYWORD_OCTETS_MAX: usize = 200;

    /// The bit of a flag that can be stored and is no keyword.
    pub fn system(&self) -> Option<SystemFlags> {
        match self {
            Flag::Seen => Some(SystemFlags::SEEN),
            Flag::Answered => Some(SystemFlags::ANSWERED),
            Flag::Flagged => Some(SystemFlags::FLAGGED),
            Flag::Deleted => Some(SystemFlags::DELETED),
            Flag::Draft => Some(SystemFlags::DRAFT),
            Flag::Recent | Flag::Keyword(_) => None,
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Flag::Seen => r"\Seen",
            Flag::Answered => r"\Answered",
            Flag::Flagged => r"\Flagged",
            Flag::Deleted => r"\Deleted",
            Flag::Draft => r"\Draft",
            Flag::Recent => r"\Recent",
            Flag::Keyword(keyword) => keyword,
        }
    }
}

/// System flags in any case; everything else without a backslash is a keyword.
impl FromStr for Flag {
    type Err = InvalidFlag;

    fn from_str(text: &str) -> Result<Flag, InvalidFlag> {
        if text.starts_with('\\') {
            return [Flag::Seen, Flag::Answered, Flag::Flagged, Flag::Deleted, Flag::Draft, Flag::Recent]
                .into_iter()
                .find(|flag| flag.as_str().eq_ignore_ascii_case(text))
                .ok_or(InvalidFlag);
        }
        let atom = !text.is_empty() && text.bytes().all(super::is_atom_char);
        if !atom || text.len() > Flag::KEYWORD_OCTETS_MAX {
            return Err(InvalidFlag);
        }
        Ok(Flag::Keyword(text.to_owned()))
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for Flag {
    fn eq(&self, other: &Flag) -> bool {
        self.as_str().eq_ignore_ascii_case(other.as_str())
    }
}

impl Eq for Flag {}

impl Hash for Flag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for octet in self.as_str().bytes() {
            state.write_u8(octet.to_ascii_lowercase());
        }
        state.write_u8(0xff);
    }
}

impl SystemFlags {
    /// `\Seen`
    pub const SEEN: SystemFlags = SystemFlags(1);
    /// `\Answered`
    pub const ANSWERED: SystemFlags = SystemFlags(2);
    /// `\Flagged`
    pub const FLAGGED: SystemFlags = SystemFlags(4);
    /// `\Deleted`
    pub const DELETED: SystemFlags = SystemFlags(8);
    /// `\Draft`
    pub const DRAFT: SystemFlags = SystemFlags(16);

    /// Whether all flags of `other` are set.
    pub fn contains(self, other: SystemFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and those.
    #[must_use]
    pub fn with(self, other: SystemFlags) -> SystemFlags {
        SystemFlags(self.0 | other.0)
    }

    /// These and not those.
    #[must_use]
    pub fn without(self, other: SystemFlags) -> SystemFlags {
        SystemFlags(self.0 & !other.0)
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Flag> {
        [Flag::Seen, Flag::Answered, Flag::Flagged, Flag::Deleted, Flag::Draft]
            .into_iter()
            .filter(move |flag| flag.system().is_some_and(|bit| self.contains(bit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_in_any_case_and_written_in_one() {
        for (text, written) in [
            (r"\Seen", Some(r"\Seen")),
            (r"\sEEN", Some(r"\Seen")),
            (r"\recent", Some(r"\Recent")),
            (r"\Deleted", Some(r"\Deleted")),
            ("$Forwarded", Some("$Forwarded")),
            ("NonJunk", Some("NonJunk")),
            (r"\Starred", None),
            (r"\", None),
            ("", None),
            ("two words", None),
            ("a]", None),
            ("a*", None),
            ("jörg", None),
        ] {
            let flag = text.parse::<Flag>().ok();
            assert_eq!(flag.as_ref().map(Flag::as_str), written, "{text}");
        }
        assert_eq!("x".repeat(201).parse::<Flag>(), Err(InvalidFlag));
    }

    #[test]
    fn keywords_compare_without_case() {
        assert_eq!(Flag::Keyword("$Junk".into()), Flag::Keyword("$JUNK".into()));
        assert_ne!(Flag::Keyword("$Junk".into()), Flag::Keyword("$NotJunk".into()));
        let set: std::collections::HashSet<Flag> =
            [Flag::Keyword("a".into()), Flag::Keyword("A".into())].into();
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn bits_go_there_and_back() {
        let flags = SystemFlags::SEEN.with(SystemFlags::DRAFT);
        assert_eq!(flags.iter().collect::<Vec<_>>(), [Flag::Seen, Flag::Draft]);
        assert_eq!(flags.without(SystemFlags::SEEN), SystemFlags::DRAFT);
        assert!(!flags.contains(SystemFlags::DELETED));
    }
}
