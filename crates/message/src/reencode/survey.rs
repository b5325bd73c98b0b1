//! The first look at a message: its parts, and what is in each that a next hop may not take.

use memchr::memchr;

use super::{Impossible, LINE_MAX, Plan, Target, Trouble, plan};
use crate::structure::Scan;

/// Looks at a message while it streams by. Its memory is bounded by the number of parts a
/// [`Structure`](crate::structure::Structure) has.
#[derive(Debug, Default)]
pub struct Survey {
    scan: Scan,
    parts: Vec<Part>,
    line: Line,
}

/// What was found of one part, apart from the parts inside it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Part {
    pub(super) header: Trouble,
    pub(super) body: Trouble,
    /// Octets of the body that quoted-printable has to escape.
    pub(super) escapes: u64,
    pub(super) has_mime_version: bool,
    /// An empty line ends the header.
    pub(super) has_empty_line: bool,
}

/// The line that goes on.
#[derive(Debug, Default)]
struct Line {
    /// So many of its first octets as are enough to know the name that matters.
    start: Vec<u8>,
    length: usize,
    escapes: u64,
    trouble: Trouble,
    /// Its last octet so far.
    last: u8,
}

/// The field without which other fields of MIME do not count (RFC 2045 section 4).
const MIME_VERSION: &[u8] = b"mime-version";

impl Survey {
    /// A survey before the first octet.
    pub fn new() -> Survey {
        Survey::default()
    }

    /// Looks at the next octets of the message.
    pub fn push(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).map(|found| found + 1);
            let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after;
            self.line.push(piece);
            let (part, was_header) = self.scan.place();
            self.scan.push(piece);
            if end.is_some() {
                let is_mime_version = was_header && self.line.start.eq_ignore_ascii_case(MIME_VERSION);
                let is_empty = was_header && matches!(self.line.start.as_slice(), b"\r\n" | b"\n");
                let found = self.part(part);
                found.has_mime_version |= is_mime_version;
                found.has_empty_line |= is_empty;
                // Where a line belongs is certain when it has ended: a delimiter to the header it begins, a line that ends
                // a header without being empty to the body.
                let place = self.scan.place();
                self.end_line(place);
            }
        }
    }

    /// The message is over: says how it can be written for this next hop.
    pub fn finish(mut self, target: Target) -> Result<Plan, Impossible> {
        let ended = self.line.length == 0;
        if !ended {
            // Whether the last line goes on with a header or is a body by itself shows in the structure.
            let (part, in_header) = self.scan.place();
            if in_header {
                let (trouble, escapes) = (self.line.trouble, self.line.escapes);
                // As a body it belongs to this part, or if that is a message, to the one in it.
                for part in [part, part + 1] {
                    let found = self.part(part);
                    (found.body, found.escapes) = (trouble, escapes);
                }
            }
            self.end_line((part, in_header));
        }
        let len = self.scan.len();
        plan::make(self.scan.finish().root(), &self.parts, len, ended, target)
    }

    fn end_line(&mut self, (part, in_header): (usize, bool)) {
        let (trouble, escapes) = (self.line.trouble, self.line.escapes);
        let found = self.part(part);
        if in_header {
            found.header = found.header.or(trouble);
        } else {
            found.body = found.body.or(trouble);
            found.escapes += escapes;
        }
        let mut start = std::mem::take(&mut self.line.start);
        start.clear();
        self.line = Line { start, ..Line::default() };
    }

    fn part(&mut self, index: usize) -> &mut Part {
        if self.parts.len() <= index {
            self.parts.resize(index + 1, Part::default());
        }
        // It has just been made long enough.
        &mut self.parts[index]
    }
}

impl Line {
    fn push(&mut self, piece: &[u8]) {
        let room = MIME_VERSION.len().saturating_sub(self.start.len());
        self.start.extend_from_slice(piece.get(..room).unwrap_or(piece));
        let ended = piece.last() == Some(&b'\n');
        let content = piece.strip_suffix(b"\n").unwrap_or(piece);
        self.length += piece.len();
        self.trouble.eight_bit |= !piece.is_ascii();
        self.trouble.long |= self.length > LINE_MAX + 2;
        let is_escaped = |octet: &&u8| !matches!(octet, b' '..=b'<' | b'>'..=b'~' | b'\t' | b'\r');
        self.escapes += content.iter().filter(is_escaped).count() as u64;
        // A CR counts when it is known that no line feed follows it.
        let cr_before = self.last == b'\r' && !content.is_empty();
        let inside = content.split_last().map_or(&[][..], |(_, before)| before);
        let last = content.last().copied().unwrap_or(self.last);
        self.trouble.binary |=
            cr_before || content.contains(&0) || memchr(b'\r', inside).is_some() || (ended && last != b'\r');
        self.last = last;
    }
}
