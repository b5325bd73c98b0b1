//! What mailboxes are for (RFC 6154 section 2), and the first mailboxes of an account.

use std::fmt;

/// A special use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpecialUse {
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl SpecialUse {
    /// All that a mailbox may have here. `\All` and `\Flagged` would be views of other mailboxes; there are none.
    pub const ALL: [SpecialUse; 5] =
        [SpecialUse::Archive, SpecialUse::Drafts, SpecialUse::Junk, SpecialUse::Sent, SpecialUse::Trash];

    /// With its backslash.
    pub fn as_str(self) -> &'static str {
        match self {
            SpecialUse::Archive => "\\Archive",
            SpecialUse::Drafts => "\\Drafts",
            SpecialUse::Junk => "\\Junk",
            SpecialUse::Sent => "\\Sent",
            SpecialUse::Trash => "\\Trash",
        }
    }

    /// The one called so, in any case.
    pub fn parse(text: &str) -> Option<SpecialUse> {
        SpecialUse::ALL.into_iter().find(|special| special.as_str().eq_ignore_ascii_case(text))
    }

    /// Those in a text with spaces between them, as the store keeps it.
    pub(crate) fn parse_all(text: &str) -> impl Iterator<Item = SpecialUse> {
        text.split(' ').filter_map(SpecialUse::parse)
    }

    /// As the store keeps them.
    pub(crate) fn text(uses: &[SpecialUse]) -> Option<String> {
        let words: Vec<&str> = uses.iter().map(|special| special.as_str()).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }

    /// What the first mailbox of this name is for.
    pub(crate) fn of_first(name: &str) -> Option<SpecialUse> {
        SpecialUse::ALL.into_iter().find(|special| special.as_str().strip_prefix('\\') == Some(name))
    }
}

impl fmt::Display for SpecialUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
