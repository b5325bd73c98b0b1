//! The parts of a message (RFC 2045, RFC 2046), found while it streams by.
//!
//! [`Scan`] takes the octets in pieces of any size and keeps little of them, so that a message of any length costs the
//! same memory; [`Structure`] is what it found, in a packed form that can be stored and is read as a tree of
//! [`Part`]s. What the octets mean is not decoded here: values are as the header has them.
//!
//! A header ends where [`HeaderScan`](crate::HeaderScan) ends one; what RFC 2046 does not say of broken multiparts is
//! decided as the usual servers have it.

mod found;
mod header;
mod mime;
mod part;
mod scan;
#[cfg(test)]
mod tests;

pub(crate) use found::Found;
pub(crate) use mime::{after_comment, is_identity, unfolded};
pub use part::{Children, Disposition, Kind, Params, Part, Strings};
pub use scan::Scan;

use crate::pack::Reader;

/// Parts of a message at most, at any depth. When there are so many, lines that would begin another one are content.
pub const PARTS_MAX: usize = 10_000;
/// How deep parts are looked into. What is deeper is a leaf.
pub const DEPTH_MAX: usize = 100;
/// Octets of a header that are looked at for values. Of a longer one, those of the fields that have a place in an envelope, a
/// structure or a card.
pub const HEADER_MAX: usize = 64 << 10;
/// Octets of values of all parts together. What comes later has no values, and none of its parts are known.
pub const FACTS_MAX: usize = 1 << 20;

/// The parts of a message, packed.
#[derive(Clone, PartialEq, Eq)]
pub struct Structure {
    packed: Vec<u8>,
}

impl Structure {
    /// The message itself.
    pub fn root(&self) -> Part<'_> {
        // What a scan has packed can be read; the tests do so with everything.
        Part::read(&mut Reader(&self.packed)).unwrap_or_else(Part::nothing)
    }

    /// The packed form, which [`Part::parse`] reads.
    pub fn as_bytes(&self) -> &[u8] {
        &self.packed
    }
}

impl std::fmt::Debug for Structure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.root().fmt(f)
    }
}
