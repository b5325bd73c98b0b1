//! The second time the message streams by: it is written anew.

use memchr::memchr3;

use super::LINE_MAX;
use super::encoder::Encoder;
use super::plan::{Change, Edit, Plan};
use crate::section::Filter;
use crate::text::transfer::{Decoder, Encoding};

/// Writes a message as a [`Plan`] says. Line ends outside of what is encoded become CRLF.
#[derive(Debug)]
pub struct Writer<'a> {
    plan: &'a Plan,
    edits: std::slice::Iter<'a, Edit>,
    /// The change that comes next or goes on.
    edit: Option<&'a Edit>,
    state: State<'a>,
    at: u64,
    copy: Copy,
}

#[derive(Debug)]
enum State<'a> {
    /// What passes stays as it is.
    Copy,
    Header {
        filter: Filter<'a>,
        fields: Vec<u8>,
    },
    Body {
        decoder: Decoder,
        encoder: Encoder,
        decoded: Vec<u8>,
    },
    Around {
        column: usize,
        /// The line begins as a delimiter does.
        hyphens: usize,
    },
}

impl<'a> Writer<'a> {
    pub(super) fn new(plan: &'a Plan) -> Writer<'a> {
        let mut edits = plan.edits().iter();
        let edit = edits.next();
        Writer { plan, edits, edit, state: State::Copy, at: 0, copy: Copy::default() }
    }

    /// Takes the next octets of the message and appends what is written for them.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let before = out.len();
        let mut rest = chunk;
        while !rest.is_empty()
            || self.edit.is_some_and(|edit| edit.range.is_empty() && self.at == edit.range.start)
        {
            let (start, end) =
                self.edit.map_or((u64::MAX, u64::MAX), |edit| (edit.range.start, edit.range.end));
            let until = if self.at < start { start } else { end };
            let length = usize::try_from(until - self.at).unwrap_or(usize::MAX).min(rest.len());
            let (piece, after) = rest.split_at(length);
            rest = after;
            if self.at >= start && matches!(self.state, State::Copy) {
                self.begin(out);
            }
            self.piece(piece, out);
            self.at += piece.len() as u64;
            if self.at == end && !matches!(self.state, State::Copy) {
                self.end(out);
            }
        }
        self.copy.last = out.get(before..).and_then(<[u8]>::last).copied().or(self.copy.last);
    }

    /// The message is over: appends what is left. It ends with a line end.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.push(&[], out);
        self.copy.flush(out);
        let last = out.last().copied().or(self.copy.last);
        if last.is_some_and(|last| last != b'\n') {
            out.extend_from_slice(b"\r\n");
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        self.copy.flush(out);
        let Some(edit) = self.edit else { return };
        self.state = match edit.change {
            Change::Header { .. } => {
                State::Header { filter: Filter::fields_not(self.plan.dropped()), fields: Vec::new() }
            }
            Change::Body { from, to, .. } => {
                let encoder = if to == Encoding::Base64 { Encoder::base64() } else { Encoder::quoted() };
                State::Body { decoder: Decoder::new(from), encoder, decoded: Vec::new() }
            }
            Change::Around { .. } => State::Around { column: 0, hyphens: 0 },
        };
    }

    fn piece(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match &mut self.state {
            State::Copy => self.copy.push(piece, out),
            State::Header { filter, fields } => {
                filter.push(piece, fields);
                self.copy.push(fields, out);
                fields.clear();
            }
            State::Body { decoder, encoder, decoded } => {
                decoder.push(piece, decoded);
                encoder.push(decoded, out);
                decoded.clear();
            }
            State::Around { column, hyphens } => {
                let ascii = matches!(self.edit, Some(Edit { change: Change::Around { ascii: true }, .. }));
                let mut line = Vec::with_capacity(piece.len() + 16);
                for &octet in piece {
                    around(octet, ascii, column, hyphens, &mut line);
                }
                self.copy.push(&line, out);
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let Some(edit) = self.edit else { return };
        match (std::mem::replace(&mut self.state, State::Copy), edit.change) {
            (State::Header { filter, mut fields }, Change::Header { encoding, mime_version }) => {
                // The filter ends what it passed with an empty line.
                filter.finish(&mut fields);
                fields.truncate(fields.len().saturating_sub(2));
                self.copy.push(&fields, out);
                self.copy.flush(out);
                let last = out.last().copied().or(self.copy.last);
                if !edit.range.is_empty() && last.is_some_and(|last| last != b'\n') {
                    out.extend_from_slice(b"\r\n");
                }
                if mime_version {
                    out.extend_from_slice(b"MIME-Version: 1.0\r\n");
                }
                out.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n").as_bytes());
                // The empty line, whether there was one or not.
                out.extend_from_slice(b"\r\n");
            }
            (State::Body { mut decoder, mut encoder, mut decoded }, Change::Body { line_ends, .. }) => {
                decoder.finish(&mut decoded);
                encoder.push(&decoded, out);
                encoder.finish(line_ends, out);
            }
            _ => {}
        }
        self.edit = self.edits.next();
    }
}

/// Writes text around parts so that any next hop takes it.
fn around(octet: u8, ascii: bool, column: &mut usize, hyphens: &mut usize, out: &mut Vec<u8>) {
    if octet == b'\n' {
        out.push(octet);
        (*column, *hyphens) = (0, 0);
        return;
    }
    *hyphens += usize::from(octet == b'-' && *hyphens == *column);
    if *column >= LINE_MAX && octet != b'\r' {
        // Of a delimiter the beginning counts, and a second line would belong to the part.
        if *hyphens >= 2 {
            return;
        }
        out.extend_from_slice(b"\r\n ");
        *column = 1;
    }
    *column += 1;
    out.push(if ascii && octet >= 0x80 { b'?' } else { octet });
}

/// Copies lines, each ended by CRLF and without NUL.
#[derive(Debug, Default)]
struct Copy {
    /// A CR that is held until it is known what follows.
    cr: bool,
    last: Option<u8>,
}

impl Copy {
    fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let mut rest = octets;
        if rest.is_empty() {
            return;
        }
        if std::mem::take(&mut self.cr) {
            rest = lone_or_line_end(rest, out);
        }
        while let Some(at) = memchr3(0, b'\r', b'\n', rest) {
            let (before, from) = rest.split_at(at);
            out.extend_from_slice(before);
            rest = from.get(1..).unwrap_or_default();
            match from.first() {
                Some(b'\n') => out.extend_from_slice(b"\r\n"),
                Some(b'\r') if rest.is_empty() => self.cr = true,
                Some(b'\r') => rest = lone_or_line_end(rest, out),
                _ => {}
            }
        }
        out.extend_from_slice(rest);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.cr) {
            out.push(b' ');
        }
    }
}

/// A CR came before `rest`. One that ends no line must not begin one: it could begin a field of a header.
fn lone_or_line_end<'b>(rest: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
    match rest.strip_prefix(b"\n") {
        Some(after) => {
            out.extend_from_slice(b"\r\n");
            after
        }
        None => {
            out.push(b' ');
            rest
        }
    }
}
