//! Finding the parts while the message streams by.

use memchr::{memchr, memchr_iter};

use super::found::{Found, HEADS_MAX};
use super::header::{Header, Line, line as header_line};
use super::mime::{self, BOUNDARY_MAX, Facts, Media};
use super::part::{Kind, has, kind_bits, put_numbers};
use super::{DEPTH_MAX, FACTS_MAX, HEADER_MAX, PARTS_MAX, Structure};
use crate::envelope;
use crate::pack::put_block;

/// So much of a line decides whether it is a delimiter: hyphens, the boundary, hyphens, and the line end.
const DELIMITER_MAX: usize = BOUNDARY_MAX + 6;

/// Finds the parts of a message while its octets pass by. See the [module](super).
#[derive(Debug)]
pub struct Scan {
    nodes: Vec<Node>,
    /// What the headers say, of all nodes one after the other.
    facts: Vec<u8>,
    /// The parts that have not ended, each inside the one before it. Never empty.
    open: Vec<Open>,
    /// How many of them have a boundary that counts.
    boundaries: usize,
    in_header: bool,
    /// Octets before the chunk that passes by.
    offset: u64,
    /// Line feeds so far.
    line_feeds: u64,
    /// The rest of this line does not matter.
    mid_line: bool,
    /// The beginning of a line that a chunk cut and that matters.
    line: Vec<u8>,
    line_start: Edge,
    /// The last two octets of the chunk before.
    tail: [u8; 2],
    header: Header,
    on_first_line: bool,
    keeps: bool,
    found: Found,
}

#[derive(Debug)]
struct Node {
    flags: u64,
    start: u64,
    body: u64,
    end: u64,
    /// Line feeds before the body; once the part has ended, those in it.
    lines: u64,
    facts: std::ops::Range<usize>,
    /// The first node that is not inside.
    after: usize,
}

#[derive(Debug)]
struct Open {
    node: usize,
    /// Empty where there is none, or where the closing delimiter was seen.
    boundary: Vec<u8>,
    digest: bool,
    message: bool,
}

/// Where a line starts, and how many octets of line end stand before it.
#[derive(Debug, Clone, Copy, Default)]
struct Edge {
    at: u64,
    line_end: u64,
}

impl Default for Scan {
    fn default() -> Scan {
        Scan::new()
    }
}

impl Scan {
    /// A scan before the first octet.
    pub fn new() -> Scan {
        let mut scan = Scan {
            nodes: Vec::with_capacity(8),
            facts: Vec::with_capacity(512),
            open: Vec::with_capacity(4),
            boundaries: 0,
            in_header: true,
            offset: 0,
            line_feeds: 0,
            mid_line: false,
            line: Vec::new(),
            line_start: Edge::default(),
            tail: [0; 2],
            header: Header::new(),
            on_first_line: true,
            keeps: false,
            found: Found::default(),
        };
        scan.begin_part(0);
        scan
    }

    /// One that keeps for a card what it needs besides the structure.
    pub(crate) fn keeping() -> Scan {
        Scan { keeps: true, ..Scan::new() }
    }

    /// Octets so far.
    pub fn len(&self) -> u64 {
        self.offset
    }

    /// Whether nothing has been pushed.
    pub fn is_empty(&self) -> bool {
        self.offset == 0
    }

    /// The innermost part that is open, counted in the order of the tree, and whether its header goes on. It is certain
    /// where a line begins.
    pub(crate) fn place(&self) -> (usize, bool) {
        (self.open.last().map_or(0, |open| open.node), self.in_header)
    }

    /// Looks at the next octets of the message.
    pub fn push(&mut self, chunk: &[u8]) {
        let mut at = 0;
        while at < chunk.len() {
            at = if self.mid_line {
                self.skip_line(chunk, at)
            } else if !self.line.is_empty() {
                self.resume_line(chunk, at)
            } else if self.in_header {
                self.start_line(chunk, at)
            } else {
                self.body_lines(chunk, at)
            };
        }
        self.feed_heads(self.offset, chunk);
        self.offset += chunk.len() as u64;
        match chunk {
            [.., before, last] => self.tail = [*before, *last],
            [last] => self.tail = [self.tail[1], *last],
            [] => {}
        }
    }

    /// The message is over.
    pub fn finish(self) -> Structure {
        self.finish_keeping().0
    }

    /// The message is over; gives what was kept for a card too.
    pub(crate) fn finish_keeping(mut self) -> (Structure, Found) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.line(&line, self.line_start, self.offset, false);
            self.feed_heads(self.line_start.at, &line);
        } else if self.in_header && self.mid_line {
            // A delimiter without a line end: what it begins is empty.
            self.set_start(self.offset);
        }
        self.end_headers(self.offset);
        self.close_above(0, Edge { at: self.offset, line_end: 0 });
        (self.pack(), self.found)
    }

    /// Goes to the end of a line of which the rest does not matter.
    fn skip_line(&mut self, chunk: &[u8], at: usize) -> usize {
        let Some(found) = memchr(b'\n', chunk.get(at..).unwrap_or_default()) else { return chunk.len() };
        let next = at + found + 1;
        self.mid_line = false;
        self.line_feeds += 1;
        if self.in_header {
            self.set_start(self.offset + next as u64);
        }
        next
    }

    /// Passes by the lines of a body, up to one that may be a delimiter.
    fn body_lines(&mut self, chunk: &[u8], mut at: usize) -> usize {
        if self.boundaries == 0 {
            // No line can mean anything any more.
            self.line_feeds += memchr_iter(b'\n', chunk.get(at..).unwrap_or_default()).count() as u64;
            return chunk.len();
        }
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) {
            if matches!(rest, [b'-'] | [b'-', b'-', ..]) {
                return self.start_line(chunk, at);
            }
            match memchr(b'\n', rest) {
                Some(found) => {
                    self.line_feeds += 1;
                    at += found + 1;
                }
                None => {
                    self.mid_line = true;
                    break;
                }
            }
        }
        chunk.len()
    }

    /// Looks at a line that matters; it is kept if the chunk cuts it.
    fn start_line(&mut self, chunk: &[u8], at: usize) -> usize {
        let rest = chunk.get(at..).unwrap_or_default();
        let edge = Edge { at: self.offset + at as u64, line_end: self.line_end_before(chunk, at) };
        match memchr(b'\n', rest) {
            Some(found) => {
                let (line, _) = rest.split_at(found + 1);
                self.line(line, edge, edge.at + line.len() as u64, true);
                at + line.len()
            }
            None if !self.in_header && rest.len() >= DELIMITER_MAX => {
                self.line(rest, edge, edge.at + rest.len() as u64, false);
                chunk.len()
            }
            None => {
                self.line_start = edge;
                self.line.extend_from_slice(rest.get(..HEADER_MAX).unwrap_or(rest));
                chunk.len()
            }
        }
    }

    /// Goes on with a line of which the beginning came in an earlier chunk.
    fn resume_line(&mut self, chunk: &[u8], at: usize) -> usize {
        let rest = chunk.get(at..).unwrap_or_default();
        let end = memchr(b'\n', rest).map(|found| found + 1);
        let (taken, _) = rest.split_at(end.unwrap_or(rest.len()));
        let limit = if self.in_header { HEADER_MAX } else { DELIMITER_MAX };
        let room = limit.saturating_sub(self.line.len()).min(taken.len());
        self.line.extend_from_slice(taken.get(..room).unwrap_or_default());
        let next = at + taken.len();
        if end.is_some() || (!self.in_header && self.line.len() >= limit) {
            let mut line = std::mem::take(&mut self.line);
            self.line(&line, self.line_start, self.offset + next as u64, end.is_some());
            self.feed_heads(self.line_start.at, &line);
            line.clear();
            self.line = line;
        }
        next
    }

    /// Octets of the line end before the line that starts at `at`.
    fn line_end_before(&self, chunk: &[u8], at: usize) -> u64 {
        if self.offset + (at as u64) == 0 {
            return 0;
        }
        let [before, last] = self.tail;
        let octet = match at {
            0 => before,
            1 => last,
            _ => chunk.get(at - 2).copied().unwrap_or_default(),
        };
        if octet == b'\r' { 2 } else { 1 }
    }

    /// Takes a line. `text` is the line, or its beginning where that decides; `ended` is whether its line feed was
    /// seen, and `next` is the place behind all that was seen of it.
    fn line(&mut self, text: &[u8], edge: Edge, next: u64, ended: bool) {
        if let Some((index, closes)) = self.find_boundary(text, ended) {
            self.delimiter(index, closes, edge, next);
        } else {
            while self.in_header {
                match header_line(text.get(..HEADER_MAX).unwrap_or(text), self.on_first_line) {
                    Line::Field => {
                        self.on_first_line = false;
                        self.header.push(text);
                        break;
                    }
                    Line::Empty => {
                        self.header.push(text);
                        self.line_feeds += 1;
                        self.end_header(next);
                        return;
                    }
                    // The line belongs to the body, where it may be part of a header again, or the first delimiter.
                    Line::NotAField => {
                        self.end_header(edge.at);
                        if let Some((index, closes)) = self.find_boundary(text, ended) {
                            self.delimiter(index, closes, edge, next);
                            break;
                        }
                    }
                }
            }
        }
        self.line_feeds += u64::from(ended);
        self.mid_line = !ended;
    }

    /// Finds the part that a line delimits, and whether it closes it. The beginning of the line decides (RFC 2046
    /// section 5.1.1); of boundaries that begin alike the longest one is meant, or the innermost that is the whole line.
    fn find_boundary(&self, line: &[u8], ended: bool) -> Option<(usize, bool)> {
        if self.boundaries == 0 || !line.starts_with(b"--") {
            return None;
        }
        let is_whole = ended && line.len() <= DELIMITER_MAX;
        let text = line.get(2..line.len().min(DELIMITER_MAX)).unwrap_or_default();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let mut best: Option<(usize, usize)> = None;
        for (index, open) in self.open.iter().enumerate().rev() {
            let length = open.boundary.len();
            if length == 0 || best.is_some_and(|(_, longest)| longest >= length) {
                continue;
            }
            let Some(rest) = text.strip_prefix(open.boundary.as_slice()) else { continue };
            best = Some((index, length));
            if is_whole && matches!(rest, b"" | b"--") {
                break;
            }
        }
        let (index, length) = best?;
        let closes = text.get(length..).is_some_and(|rest| rest.starts_with(b"--"));
        // What cannot begin another part is content.
        (closes || self.nodes.len() < PARTS_MAX).then_some((index, closes))
    }

    /// A line delimits the part that is open at `index`.
    fn delimiter(&mut self, index: usize, closes: bool, edge: Edge, next: u64) {
        self.end_headers(edge.at);
        self.close_above(index + 1, edge);
        if !closes {
            self.begin_part(next);
        } else if let Some(open) = self.open.last_mut() {
            open.boundary.clear();
            self.boundaries = self.boundaries.saturating_sub(1);
        }
    }

    fn begin_part(&mut self, start: u64) {
        let facts = self.facts.len()..self.facts.len();
        self.open.push(Open { node: self.nodes.len(), boundary: Vec::new(), digest: false, message: false });
        self.nodes.push(Node { flags: 0, start, body: start, end: start, lines: 0, facts, after: 0 });
        self.header.clear();
        self.on_first_line = true;
        self.in_header = true;
    }

    /// The delimiter before the header that begins has come to its end.
    fn set_start(&mut self, start: u64) {
        if let Some(node) = self.nodes.last_mut() {
            node.start = start;
        }
    }

    /// Ends the header, and those of messages that begin there.
    fn end_headers(&mut self, at: u64) {
        while self.in_header {
            self.end_header(at);
        }
    }

    /// The header ends, and the body begins at `at`.
    fn end_header(&mut self, at: u64) {
        self.in_header = false;
        let parent = self.open.len().checked_sub(2).and_then(|index| self.open.get(index));
        let in_digest = parent.is_some_and(|open| open.digest);
        let in_message = parent.is_some_and(|open| open.message);
        let start = self.facts.len();
        let mut facts = Facts::default();
        if start < FACTS_MAX {
            facts = mime::read(self.header.octets(), in_digest, &mut self.facts);
            if in_message {
                facts.flags |= has::ENVELOPE;
                put_block(&mut self.facts, |out| envelope::pack(self.header.octets(), out));
            }
        }
        if self.keeps && self.nodes.len() == 1 {
            (self.found.header, self.found.header_is_cut) = std::mem::take(&mut self.header).into_parts();
        }
        let has_room = self.open.len() < DEPTH_MAX;
        let last = self.nodes.len() - 1;
        let (Some(open), Some(node)) = (self.open.last_mut(), self.nodes.get_mut(last)) else { return };
        node.body = at;
        node.lines = self.line_feeds;
        node.facts = start..self.facts.len();
        let mut kind = Kind::Leaf;
        match facts.media {
            Media::Multipart { boundary, digest } if has_room => {
                kind = Kind::Multipart;
                self.boundaries += usize::from(!boundary.is_empty());
                open.boundary = boundary;
                open.digest = digest;
            }
            Media::Message if has_room && last + 1 < PARTS_MAX => {
                kind = Kind::Message;
                open.message = true;
            }
            Media::Unnamed | Media::Text if self.keeps && !facts.attached => {
                self.found.heads[0].begin(last, at)
            }
            Media::Html if self.keeps && !facts.attached => self.found.heads[1].begin(last, at),
            _ => {}
        }
        node.flags = facts.flags | kind_bits(kind);
        if kind == Kind::Message {
            self.begin_part(at);
        }
    }

    /// Ends the parts that are open at `index` and above.
    fn close_above(&mut self, index: usize, mut edge: Edge) {
        while self.open.len() > index
            && let Some(open) = self.open.pop()
        {
            self.boundaries -= usize::from(!open.boundary.is_empty());
            let is_empty = self.nodes.len() == open.node + 1;
            let Some(node) = self.nodes.get_mut(open.node) else { continue };
            // The line end before a delimiter belongs to it (RFC 2046 section 5.1.1), unless it ends the header: then the
            // parts around this one go as far.
            if edge.at == node.body {
                edge.line_end = 0;
            }
            node.end = edge.at.saturating_sub(edge.line_end).max(node.body);
            node.lines = (self.line_feeds - node.lines).saturating_sub(u64::from(edge.line_end > 0));
            let end = node.end;
            for head in self.found.heads.iter_mut().filter(|head| head.part == Some(open.node)) {
                head.cut(end);
            }
            if is_empty && node.flags & 3 == kind_bits(Kind::Multipart) {
                // IMAP has no multipart without parts (RFC 9051, body-type-mpart): it gets an empty text.
                let facts = self.facts.len()..self.facts.len();
                let after = self.nodes.len() + 1;
                self.nodes.push(Node { flags: 0, start: end, body: end, end, lines: 0, facts, after });
            }
            let after = self.nodes.len();
            if let Some(node) = self.nodes.get_mut(open.node) {
                node.after = after;
            }
        }
    }

    fn feed_heads(&mut self, start: u64, octets: &[u8]) {
        for (head, limit) in self.found.heads.iter_mut().zip(HEADS_MAX) {
            if head.part.is_some() {
                head.feed(start, octets, limit);
            }
        }
    }

    fn pack(&self) -> Structure {
        let mut packed = Vec::with_capacity(self.facts.len() + self.nodes.len() * 20);
        let mut unfinished: Vec<(usize, usize)> = Vec::new();
        let patch = |packed: &mut Vec<u8>, at: usize| {
            let length = u32::try_from(packed.len() - at - 4).unwrap_or(0);
            if let Some(slot) = packed.get_mut(at..at + 4) {
                slot.copy_from_slice(&length.to_le_bytes());
            }
        };
        for (index, node) in self.nodes.iter().enumerate() {
            while let Some(&(after, at)) = unfinished.last().filter(|(after, _)| *after <= index) {
                debug_assert!(after == index, "a part ends where another begins");
                patch(&mut packed, at);
                unfinished.pop();
            }
            put_numbers(&mut packed, node.flags, node.start..node.body, node.end, node.lines);
            packed.extend_from_slice(self.facts.get(node.facts.clone()).unwrap_or_default());
            if node.flags & 3 != 0 {
                unfinished.push((node.after, packed.len()));
                packed.extend_from_slice(&[0; 4]);
            }
        }
        while let Some((_, at)) = unfinished.pop() {
            patch(&mut packed, at);
        }
        Structure { packed }
    }
}
