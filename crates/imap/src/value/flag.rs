//! Flags (RFC 9051 section 2.3.2).

/// One flag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

/// System flags as bits, in the order of [`Flag`]: `\Seen` is 1, `\Answered` 2, `\Flagged` 4, `\Deleted` 8, `\Draft` 16.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SystemFlags(pub u8);
