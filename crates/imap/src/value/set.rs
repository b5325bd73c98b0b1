//! Sets of message numbers or UIDs (RFC 9051 section 4.1.1).

use std::num::NonZeroU32;

use thiserror::Error;

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bound {
    /// This number.
    Number(NonZeroU32),
    /// `*`: the largest in use.
    Last,
}

/// `2,4:7,9,12:*` as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NumberSet(Vec<(Bound, Bound)>);

/// Which messages, as a command names them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Messages {
    /// By numbers.
    Set(NumberSet),
    /// `$`: what the last SEARCH saved (RFC 5182).
    Saved,
}

/// Messages, and what the numbers mean.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Which.
    pub messages: Messages,
    /// Numbers are UIDs (`UID FETCH` ...) and not message sequence numbers.
    pub uid: bool,
}

/// Why octets are no set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SetError {
    /// Not by the grammar.
    #[error("not a sequence set")]
    Syntax,
    /// More ranges than [`NumberSet::RANGES_MAX`].
    #[error("too many ranges in the sequence set")]
    TooMany,
}

impl NumberSet {
    /// Ranges in one set at most.
    pub const RANGES_MAX: usize = 100_000;
}
