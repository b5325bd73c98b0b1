//! Which octets a section of IMAP names (RFC 9051 section 6.4.5.1), and the choice of header fields.
//!
//! What BODYSTRUCTURE shows is what can be named: parts are counted from 1, a message that has no parts is its own
//! part 1, and the parts of a message inside continue the number of the part it is in.

mod filter;
#[cfg(test)]
mod tests;

pub use filter::{Filter, Names};

use std::ops::Range;

use crate::structure::{Kind, Part};

/// What of a part is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// All of the message, or the body of a part: `BODY[]`, `BODY[1]`.
    All,
    /// The header of the message, or of the message that the part is: `HEADER`, and what `HEADER.FIELDS` chooses from.
    Header,
    /// The body of that message: `TEXT`.
    Text,
    /// The header of the part itself: `MIME`.
    Mime,
}

/// Octets of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Octets {
    /// Whether the octets begin with what stands before the body, the recipient's own fields.
    pub prefix: bool,
    /// Where the octets are in the body as it came.
    pub range: Range<u64>,
}

impl Octets {
    /// How many there are, given the length of the prefix.
    pub fn len(&self, prefix: u64) -> u64 {
        let own = if self.prefix { prefix } else { 0 };
        own.saturating_add(self.range.end.saturating_sub(self.range.start))
    }
}

/// Finds the octets of a section; `None` if the message has no such section, which IMAP shows as NIL.
pub fn locate(root: &Part<'_>, path: &[u32], what: What) -> Option<Octets> {
    if path.is_empty() {
        let (prefix, range) = match what {
            What::All => (true, root.header.start..root.body.end),
            What::Header => (true, root.header.clone()),
            What::Text => (false, root.body.clone()),
            What::Mime => return None,
        };
        return Some(Octets { prefix, range });
    }
    let part = part(root, path)?;
    let (prefix, range) = match what {
        What::All => (false, part.body),
        // The message that is its own part 1 has one header for both.
        What::Mime => (part.header.start == root.header.start && is_root(root, path), part.header),
        What::Header => (false, message(&part)?.header),
        What::Text => (false, message(&part)?.body),
    };
    Some(Octets { prefix, range })
}

/// Finds the part of this number; no number is the message itself.
pub fn part<'a>(root: &Part<'a>, path: &[u32]) -> Option<Part<'a>> {
    let mut found = root.clone();
    let mut is_message = true;
    for &number in path {
        // Numbers go on inside a message that a part is.
        if !is_message && found.kind == Kind::Message {
            found = found.children().next()?;
            is_message = true;
        }
        found = match found.kind {
            Kind::Multipart => found.children().nth(usize::try_from(number.checked_sub(1)?).ok()?)?,
            _ if is_message && number == 1 => found,
            _ => return None,
        };
        is_message = false;
    }
    Some(found)
}

/// The message that a part is.
fn message<'a>(part: &Part<'a>) -> Option<Part<'a>> {
    if part.kind == Kind::Message { part.children().next() } else { None }
}

fn is_root(root: &Part<'_>, path: &[u32]) -> bool {
    path == [1] && root.kind != Kind::Multipart
}
