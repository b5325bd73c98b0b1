//! What copying a store tells.

/// What a backup or a restore copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files copied.
    pub files: u64,
    /// Files that the copy had already.
    pub there_already: u64,
    /// Octets copied.
    pub octets: u64,
}
