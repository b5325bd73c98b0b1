//! A header that passes by: what of it is kept, and where it ends.

use super::HEADER_MAX;
use crate::{card, fields};

/// As much of a header as can be kept.
#[derive(Debug, Default)]
pub(super) struct Header {
    octets: Vec<u8>,
    /// Not all that says something was kept.
    is_cut: bool,
    /// The header is so long that of what follows only the fields that say something are kept.
    selects: bool,
    /// The field that passes by is not kept.
    passes_by: bool,
}

impl Header {
    /// One with room for most.
    pub(super) fn new() -> Header {
        Header { octets: Vec::with_capacity(2048), ..Header::default() }
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What was kept, and whether there was more that says something.
    pub(super) fn into_parts(self) -> (Vec<u8>, bool) {
        (self.octets, self.is_cut)
    }

    pub(super) fn clear(&mut self) {
        self.octets.clear();
        (self.is_cut, self.selects, self.passes_by) = (false, false, false);
    }

    /// The next line, with its end.
    pub(super) fn push(&mut self, line: &[u8]) {
        if !self.selects && self.octets.len() + line.len() >= HEADER_MAX {
            self.select();
        }
        if self.selects {
            if !line.starts_with(b" ") && !line.starts_with(b"\t") {
                self.passes_by = !fields::fields(line).next().is_some_and(|field| says_something(field.name));
            }
            if self.passes_by {
                return;
            }
        }
        let room = HEADER_MAX - self.octets.len().min(HEADER_MAX);
        self.is_cut |= line.len() >= room;
        self.octets.extend_from_slice(line.get(..room).unwrap_or(line));
    }

    /// Makes room by leaving out the fields that nobody asks for, such as a thousand of Received.
    fn select(&mut self) {
        self.selects = true;
        let header = std::mem::take(&mut self.octets);
        for field in fields::fields(&header) {
            self.passes_by = !says_something(field.name);
            if !self.passes_by {
                self.octets.extend_from_slice(field.whole);
            }
        }
    }
}

/// Whether an envelope, a structure or a card has a place for the field of this name.
fn says_something(name: &[u8]) -> bool {
    card::known_field(name).is_some()
        || name.get(..8).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"content-"))
}

/// What a line of a header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Field,
    Empty,
    NotAField,
}

/// Tells what a line of a header is, as [`HeaderScan`](crate::HeaderScan) does.
pub(super) fn line(line: &[u8], is_first: bool) -> Line {
    if matches!(line, b"\n" | b"\r\n") {
        return Line::Empty;
    }
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return if is_first { Line::NotAField } else { Line::Field };
    }
    let ends_name = |octet: &u8| *octet <= b' ' || *octet == b':' || *octet == 0x7f;
    let Some((name, rest)) = line.iter().position(ends_name).and_then(|end| line.split_at_checked(end))
    else {
        return Line::NotAField;
    };
    let spaces = rest.iter().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
    let is_mbox_line = is_first && spaces > 0 && matches!(name, b"From" | b">From");
    match rest.get(spaces) {
        Some(b':') if !name.is_empty() => Line::Field,
        Some(_) if is_mbox_line => Line::Field,
        _ => Line::NotAField,
    }
}
