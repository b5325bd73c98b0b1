//! Quoted-printable and base64 (RFC 2045 section 6), written as the octets pass by.

use crate::base64_lines;
use crate::encode::LINE_MAX;

const HEX: &[u8; 16] = b"0123456789ABCDEF";
/// Octets of a line of base64.
const LINE_OCTETS: usize = 57;

/// An encoder in the middle of a body.
#[derive(Debug)]
pub(super) enum Encoder {
    Quoted {
        column: usize,
        /// The octet that what follows decides about: a CR, or white space that may end a line.
        held: Option<u8>,
        /// Whether the line began with a soft line break.
        soft: bool,
    },
    Base64 {
        held: Vec<u8>,
    },
}

impl Encoder {
    pub(super) fn quoted() -> Encoder {
        Encoder::Quoted { column: 0, held: None, soft: false }
    }

    pub(super) fn base64() -> Encoder {
        Encoder::Base64 { held: Vec::with_capacity(LINE_OCTETS) }
    }

    /// Encodes the next octets.
    pub(super) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        match self {
            Encoder::Quoted { column, held, soft } => {
                let mut line = QuotedLine { column, soft, out };
                for &octet in input {
                    let before = held.take();
                    match (before, octet) {
                        (Some(b'\r'), b'\n') => {
                            line.end();
                            continue;
                        }
                        (Some(space @ (b' ' | b'\t')), b'\r') => {
                            // Whether it ends the line is known one octet later; escaping it is always right.
                            line.put(space, true);
                        }
                        (Some(octet), _) => line.put(octet, octet == b'\r'),
                        (None, _) => {}
                    }
                    match octet {
                        b' ' | b'\t' | b'\r' => *held = Some(octet),
                        octet => line.put(octet, !matches!(octet, b'!'..=b'<' | b'>'..=b'~')),
                    }
                }
            }
            Encoder::Base64 { held } => {
                let missing = if held.is_empty() { 0 } else { LINE_OCTETS - held.len() };
                let (first, rest) = input.split_at(missing.min(input.len()));
                held.extend_from_slice(first);
                if held.len() == LINE_OCTETS {
                    base64_lines::encode(held, out);
                    held.clear();
                }
                if held.is_empty() {
                    let (lines, left) = rest.split_at(rest.len() - rest.len() % LINE_OCTETS);
                    base64_lines::encode(lines, out);
                    held.extend_from_slice(left);
                }
            }
        }
    }

    /// The body is over. `line_ends` is whether a line end follows it that is not part of it: else, where the body did not
    /// end a line, one is written that does not count.
    pub(super) fn finish(self, line_ends: bool, out: &mut Vec<u8>) {
        match self {
            Encoder::Quoted { mut column, held, mut soft } => {
                let mut line = QuotedLine { column: &mut column, soft: &mut soft, out };
                if let Some(octet) = held {
                    line.put(octet, true);
                }
                if !line_ends && column > 0 {
                    out.extend_from_slice(b"=\r\n");
                }
            }
            Encoder::Base64 { held } => base64_lines::encode(&held, out),
        }
    }
}

struct QuotedLine<'a> {
    column: &'a mut usize,
    soft: &'a mut bool,
    out: &'a mut Vec<u8>,
}

impl QuotedLine<'_> {
    fn put(&mut self, octet: u8, escaped: bool) {
        let width = |escaped| if escaped { 3 } else { 1 };
        // The `=` of a soft line break has the last place (rule 5).
        if *self.column + width(escaped) > LINE_MAX - 1 {
            self.out.extend_from_slice(b"=\r\n");
            *self.column = 0;
            *self.soft = true;
        }
        // A line that was not one before must not look like a delimiter.
        let escaped = escaped || (octet == b'-' && *self.column == 0 && *self.soft);
        if escaped {
            self.out.extend([b'=', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
        } else {
            self.out.push(octet);
        }
        *self.column += width(escaped);
    }

    fn end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
        *self.column = 0;
        *self.soft = false;
    }
}
