//! What has to change, decided part by part.

use std::ops::Range;

use super::survey::Part as Found;
use super::{Impossible, Target, Trouble, Writer};
use crate::section::Names;
use crate::structure::{Kind, Part};
use crate::text::transfer::Encoding;

/// How a message is to be written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    dropped: Names,
    /// In the order of the message, one behind the other; what is between them stays.
    edits: Vec<Edit>,
    has_eight_bit_header: bool,
    growth: u64,
}

/// A stretch of the message, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) range: Range<u64>,
    pub(super) change: Change,
}

/// What becomes of a stretch of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// A header, the empty line at its end included, gets another transfer encoding and an empty line.
    Header {
        encoding: &'static str,
        /// It has no MIME-Version and needs one (RFC 2045 section 4).
        mime_version: bool,
    },
    /// A body, decoded and encoded again.
    Body {
        from: Encoding,
        to: Encoding,
        /// A line end follows that does not belong to it.
        line_ends: bool,
    },
    /// Text around parts, which nobody reads (RFC 2046 section 5.1.1), and the delimiters.
    Around {
        /// Octets above 127 may not stay.
        ascii: bool,
    },
}

impl Plan {
    /// Whether nothing has to change.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Whether a header has octets above 127, which stay.
    pub fn has_eight_bit_header(&self) -> bool {
        self.has_eight_bit_header
    }

    /// About how long the message gets that had this length, as RFC 1870 section 6.1 lets it be declared.
    pub fn len(&self, before: u64) -> u64 {
        before.saturating_add(self.growth)
    }

    /// Writes the message.
    pub fn writer(&self) -> Writer<'_> {
        Writer::new(self)
    }

    pub(super) fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// The fields of a header that changes which are written anew.
    pub(super) fn dropped(&self) -> &Names {
        &self.dropped
    }
}

/// Decides what becomes of a message. `parts` says of each part, in the order of the tree, what is in it.
pub(super) fn make(
    root: Part<'_>,
    parts: &[Found],
    len: u64,
    ended: bool,
    target: Target,
) -> Result<Plan, Impossible> {
    let mut maker = Maker { parts, next: 0, target, len, ended, edits: Vec::new(), growth: 0 };
    maker.part(&root, true, None)?;
    let has_eight_bit_header = parts.iter().any(|part| part.header.eight_bit);
    let dropped = Names::from_iter(["Content-Transfer-Encoding"]);
    Ok(Plan { dropped, edits: maker.edits, has_eight_bit_header, growth: maker.growth })
}

struct Maker<'a> {
    parts: &'a [Found],
    /// The place in `parts` of the part that comes next.
    next: usize,
    target: Target,
    len: u64,
    ended: bool,
    edits: Vec<Edit>,
    growth: u64,
}

impl Maker<'_> {
    /// `seal` is why nothing may change here.
    fn part(
        &mut self,
        part: &Part<'_>,
        is_message: bool,
        seal: Option<Impossible>,
    ) -> Result<(), Impossible> {
        let index = self.next;
        self.next += 1;
        let mut found = self.parts.get(index).copied().unwrap_or_default();
        if part.kind == Kind::Leaf && !self.ended && part.body.end == self.len {
            found.body.binary = true;
        }
        if part.body.is_empty() {
            found.body = Trouble::default();
        }
        let hindered = found.body.hinders(self.target);
        if let Some(why) = seal.filter(|_| hindered || found.header.binary) {
            return Err(why);
        }
        let header = HeaderOf { part, found, is_message, is_sealed: seal.is_some() };
        match part.kind {
            Kind::Leaf => {
                match hindered {
                    true => {
                        let (from, to) = self.recoded(part, found)?;
                        self.header(&header, encoding_name(to));
                        self.grow(part, found, from, to);
                        self.body(part, from, to);
                    }
                    false => self.relabel(&header, found.body),
                }
                Ok(())
            }
            Kind::Message if self.is_global_with_utf8(part, index) => {
                if let Some(why) = seal {
                    return Err(why);
                }
                // A header in UTF-8 has no other form, but all of the message may be encoded (RFC 6532 section 3.5).
                let after = index + count(part);
                let escapes =
                    self.parts.get(index..after).unwrap_or_default().iter().map(|part| part.escapes).sum();
                self.next = after;
                let found = Found { escapes, ..found };
                self.header(&header, encoding_name(Encoding::Base64));
                self.grow(part, found, Encoding::Identity, Encoding::Base64);
                self.body(part, Encoding::Identity, Encoding::Base64);
                Ok(())
            }
            Kind::Message => {
                let inside = self.inside(part, index);
                let edits = self.edits.len();
                self.relabel(&header, inside);
                let relabelled = self.edits.len();
                part.children().try_for_each(|child| self.part(&child, true, seal))?;
                if self.edits.len() > relabelled && relabelled == edits && !found.has_empty_line {
                    // The header inside must not become part of the one around it.
                    self.header(&header, content_name(inside));
                    self.edits.get_mut(edits..).unwrap_or_default().rotate_right(1);
                }
                Ok(())
            }
            Kind::Multipart => {
                let inside = self.inside(part, index);
                if hindered && !found.has_empty_line {
                    // What changes behind the header must not become part of it.
                    self.header(&header, content_name(inside));
                } else {
                    self.relabel(&header, inside);
                }
                let (_, subtype) = part.written_type();
                let seal = seal.or_else(|| {
                    if subtype.eq_ignore_ascii_case(b"signed") {
                        Some(Impossible::Signed)
                    } else {
                        subtype.eq_ignore_ascii_case(b"encrypted").then_some(Impossible::Encrypted)
                    }
                });
                let mut at = part.body.start;
                for child in part.children() {
                    self.around(part, at..child.header.start, found);
                    at = child.body.end;
                    self.part(&child, false, seal)?;
                }
                self.around(part, at..part.body.end, found);
                Ok(())
            }
        }
    }

    /// How a body with something in it that hinders is encoded, and how it shall be.
    fn recoded(&self, part: &Part<'_>, found: Found) -> Result<(Encoding, Encoding), Impossible> {
        let (kind, subtype) = part.written_type();
        match Encoding::named(part.encoding) {
            None => return Err(Impossible::Encoding),
            // What is not as its encoding has it is read as well as it can be, and written well.
            Some(from @ (Encoding::Base64 | Encoding::QuotedPrintable)) => return Ok((from, from)),
            Some(Encoding::Identity) => {}
        }
        let is_message = kind.eq_ignore_ascii_case(b"message");
        if kind.eq_ignore_ascii_case(b"multipart") || (is_message && subtype.eq_ignore_ascii_case(b"rfc822"))
        {
            return Err(Impossible::Depth);
        }
        // RFC 2046 sections 5.2.2.1 and 5.2.3.
        let unencoded = [&b"partial"[..], b"external-body"];
        if is_message && unencoded.iter().any(|name| subtype.eq_ignore_ascii_case(name)) {
            return Err(Impossible::Form);
        }
        let octets = part.body.end - part.body.start;
        // Quoted-printable triples what it escapes, base64 adds a third to everything.
        let readable = (part.is_text() || is_message) && found.escapes <= octets / 6;
        let to = if readable { Encoding::QuotedPrintable } else { Encoding::Base64 };
        Ok((Encoding::Identity, to))
    }

    /// What will be in the part and those inside it when all that hinders has been taken out. Headers stay as they are.
    fn inside(&self, part: &Part<'_>, index: usize) -> Trouble {
        let all = self.parts.get(index..index + count(part)).unwrap_or_default();
        let bodies = all.iter().any(|part| part.body.eight_bit) && self.target == Target::EightBit;
        let headers = all.iter().skip(1).any(|part| part.header.eight_bit);
        Trouble { eight_bit: bodies || headers, ..Trouble::default() }
    }

    /// Names the encoding of what stays as it is, where the header claims more than the next hop takes.
    fn relabel(&mut self, header: &HeaderOf<'_>, content: Trouble) {
        let Some(encoding) = header.part.encoding else { return };
        let claims = |name: &str| encoding.eq_ignore_ascii_case(name.as_bytes());
        let too_much = claims("binary") || (claims("8bit") && self.target == Target::SevenBit);
        if too_much && !header.is_sealed {
            self.header(header, content_name(content));
        }
    }

    fn header(&mut self, header: &HeaderOf<'_>, encoding: &'static str) {
        let mime_version = header.is_message && !header.found.has_mime_version;
        let change = Change::Header { encoding, mime_version };
        self.growth += 40;
        self.edit(header.part.header.clone(), change);
    }

    fn body(&mut self, part: &Part<'_>, from: Encoding, to: Encoding) {
        let line_ends = part.body.end < self.len;
        self.edit(part.body.clone(), Change::Body { from, to, line_ends });
    }

    fn around(&mut self, part: &Part<'_>, range: Range<u64>, found: Found) {
        if found.body.hinders(self.target) && !range.is_empty() {
            let is_plain = part.param("boundary").is_none_or(<[u8]>::is_ascii);
            self.edit(range, Change::Around { ascii: is_plain && self.target == Target::SevenBit });
        }
    }

    fn edit(&mut self, range: Range<u64>, change: Change) {
        self.edits.push(Edit { range, change });
    }

    fn grow(&mut self, part: &Part<'_>, found: Found, from: Encoding, to: Encoding) {
        let octets = part.body.end - part.body.start;
        self.growth += match (from, to) {
            (Encoding::Identity, Encoding::QuotedPrintable) => found.escapes * 2 + octets / 25,
            (Encoding::Identity, Encoding::Base64) => octets / 57 * 21 + 80,
            _ => octets / 25,
        };
    }

    /// Whether a message inside the message is internationalised and has more than ASCII in a header.
    fn is_global_with_utf8(&self, part: &Part<'_>, index: usize) -> bool {
        let (kind, subtype) = part.written_type();
        let is_global = kind.eq_ignore_ascii_case(b"message") && subtype.eq_ignore_ascii_case(b"global");
        let all = self.parts.get(index + 1..index + count(part)).unwrap_or_default();
        is_global && self.target == Target::SevenBit && all.iter().any(|part| part.header.eight_bit)
    }
}

/// A part as far as its header is concerned.
struct HeaderOf<'a> {
    part: &'a Part<'a>,
    found: Found,
    is_message: bool,
    is_sealed: bool,
}

/// How many parts there are with this one.
fn count(part: &Part<'_>) -> usize {
    1 + part.children().map(|child| count(&child)).sum::<usize>()
}

/// The encoding that names what is not encoded (RFC 2045 section 6.2).
fn content_name(content: Trouble) -> &'static str {
    if content.eight_bit { "8bit" } else { "7bit" }
}

fn encoding_name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Identity => "7bit",
        Encoding::Base64 => "base64",
        Encoding::QuotedPrintable => "quoted-printable",
    }
}
