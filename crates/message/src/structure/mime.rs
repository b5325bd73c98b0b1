//! What the Content fields of a header say (RFC 2045, RFC 2183), read forgivingly and packed.

use super::part::has;
use crate::fields::{self, RawField};
use crate::pack::{put_block, put_string};

/// More parameters than this of one field are not kept.
const PARAMS_MAX: usize = 1000;
/// More languages than this are not kept.
const LANGUAGES_MAX: usize = 100;
/// A longer boundary is cut here, as it is in comparing: RFC 2046 section 5.1.1 allows 70.
pub(super) const BOUNDARY_MAX: usize = 80;

/// What a scan has to know of a header at once.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The bits of [`has`] that are set.
    pub(super) flags: u64,
    /// What the content is, as far as it decides what comes next.
    pub(super) media: Media,
    /// Content-Disposition calls it an attachment.
    pub(super) attached: bool,
}

/// What the content is, as far as it decides what comes next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Media {
    /// No type is given.
    #[default]
    Unnamed,
    /// `text/plain`, or any text that is not HTML.
    Text,
    /// `text/html`.
    Html,
    Multipart {
        /// Empty if there is none.
        boundary: Vec<u8>,
        digest: bool,
    },
    /// A message that is not encoded.
    Message,
    Other,
}

/// Whether a type is one whose content is a message.
pub(super) fn is_message(kind: &[u8], subtype: &[u8]) -> bool {
    kind.eq_ignore_ascii_case(b"message")
        && (subtype.eq_ignore_ascii_case(b"rfc822") || subtype.eq_ignore_ascii_case(b"global"))
}

/// Whether this transfer encoding leaves the content as it is (RFC 2045 section 6.2).
pub(crate) fn is_identity(encoding: &[u8]) -> bool {
    [&b"7bit"[..], b"8bit", b"binary"].iter().any(|name| encoding.eq_ignore_ascii_case(name))
}

/// Reads a header and packs what is in it, in the order in which a part is read. Of a field that stands there more
/// than once the first counts.
pub(super) fn read(header: &[u8], in_digest: bool, out: &mut Vec<u8>) -> Facts {
    // A NUL means nothing anywhere: what is said must be the same when it is lost on the way.
    if memchr::memchr(0, header).is_some() {
        let without: Vec<u8> = header.iter().copied().filter(|octet| *octet != 0).collect();
        return read_fields(&without, in_digest, out);
    }
    read_fields(header, in_digest, out)
}

fn read_fields<'a>(header: &'a [u8], in_digest: bool, out: &mut Vec<u8>) -> Facts {
    let mut content: [Option<&'a [u8]>; 8] = [None; 8];
    for field in fields::fields(header) {
        if let Some(slot) = content_field(&field).and_then(|index| content.get_mut(index)) {
            slot.get_or_insert(field.value);
        }
    }
    let mut facts = Facts::default();
    let [kind, encoding, id, description, md5, disposition, language, location] = content;
    let encoding = encoding.and_then(single_token);
    let encoded = encoding.as_deref().is_some_and(|encoding| !is_identity(encoding));
    if let Some(value) = kind {
        content_type(value, encoded, &mut facts, out);
    }
    if facts.flags & has::TYPE == 0 && in_digest {
        facts.flags |= has::DIGEST;
        facts.media = if encoded { Media::Other } else { Media::Message };
    }
    if let Some(encoding) = encoding {
        facts.flags |= has::ENCODING;
        put_string(out, &encoding);
    }
    let mut text = |bit, value: Option<&[u8]>, out: &mut Vec<u8>| {
        if let Some(value) = value {
            facts.flags |= bit;
            put_string(out, &unfolded(value));
        }
    };
    text(has::ID, id, out);
    text(has::DESCRIPTION, description, out);
    text(has::MD5, md5, out);
    if let Some(value) = disposition {
        let mut cursor = Cursor::new(value);
        if let Some(kind) = cursor.token() {
            facts.flags |= has::DISPOSITION;
            facts.attached = kind.eq_ignore_ascii_case(b"attachment");
            put_string(out, kind);
            put_block(out, |out| {
                cursor.params(out);
            });
        }
    }
    if let Some(value) = language {
        let start = out.len();
        put_block(out, |out| languages(value, out));
        if out.get(start) == Some(&0) {
            out.truncate(start);
        } else {
            facts.flags |= has::LANGUAGE;
        }
    }
    if let Some(value) = location {
        facts.flags |= has::LOCATION;
        put_string(out, &unfolded(value));
    }
    facts
}

/// The place of a Content field among those looked for.
fn content_field(field: &RawField<'_>) -> Option<usize> {
    let (prefix, rest) = field.name.split_at_checked(8)?;
    if !prefix.eq_ignore_ascii_case(b"content-") {
        return None;
    }
    const NAMES: [&[u8]; 8] = [
        b"type",
        b"transfer-encoding",
        b"id",
        b"description",
        b"md5",
        b"disposition",
        b"language",
        b"location",
    ];
    NAMES.iter().position(|name| rest.eq_ignore_ascii_case(name))
}

/// A value without line breaks, NULs and the space around it.
pub(crate) fn unfolded(value: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    let value = value.trim_ascii();
    let dropped = |octet: &u8| matches!(octet, b'\r' | b'\n' | 0);
    if value.iter().any(dropped) {
        value.iter().copied().filter(|octet| !dropped(octet)).collect::<Vec<u8>>().into()
    } else {
        value.into()
    }
}

fn content_type(value: &[u8], encoded: bool, facts: &mut Facts, out: &mut Vec<u8>) {
    let mut cursor = Cursor::new(value);
    // RFC 2045 section 5.2: a type that cannot be read is as good as none. `text` alone is an old habit.
    let Some(kind) = cursor.token() else { return };
    let subtype = match cursor.take(b'/').then(|| cursor.token()).flatten() {
        Some(subtype) => subtype,
        None if kind.eq_ignore_ascii_case(b"text") => b"plain",
        None => return,
    };
    facts.flags |= has::TYPE;
    put_string(out, kind);
    put_string(out, subtype);
    let start = out.len();
    let mut boundary = None;
    put_block(out, |out| boundary = cursor.params(out));
    if out.get(start) == Some(&0) {
        out.truncate(start);
    } else {
        facts.flags |= has::PARAMS;
    }
    facts.media = if kind.eq_ignore_ascii_case(b"text") {
        if subtype.eq_ignore_ascii_case(b"html") { Media::Html } else { Media::Text }
    } else if kind.eq_ignore_ascii_case(b"multipart") {
        // RFC 2045 section 6.4 allows no encoding here; who names one all the same has hardly encoded anything.
        // Without a boundary it is a multipart all the same, one without parts, as the usual servers have it.
        let mut boundary = boundary.unwrap_or_default();
        boundary.truncate(BOUNDARY_MAX);
        Media::Multipart { boundary, digest: subtype.eq_ignore_ascii_case(b"digest") }
    } else if is_message(kind, subtype) && !encoded {
        Media::Message
    } else {
        Media::Other
    };
}

/// The value if it is one token, with comments around it at most.
fn single_token(value: &[u8]) -> Option<Vec<u8>> {
    let mut cursor = Cursor::new(value);
    let token = cursor.token()?;
    cursor.skip_space();
    cursor.rest.is_empty().then(|| token.to_vec())
}

fn languages(value: &[u8], out: &mut Vec<u8>) {
    let mut cursor = Cursor::new(value);
    for _ in 0..LANGUAGES_MAX {
        if let Some(language) = cursor.token() {
            put_string(out, language);
        }
        cursor.skip_until(b',');
        if !cursor.take(b',') {
            break;
        }
    }
}

/// Reads tokens and quoted strings off the front of a value.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn new(value: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: value }
    }

    /// White space, line breaks, and comments, which nest (RFC 5322 section 3.2.2).
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
        while self.rest.first() == Some(&b'(') {
            self.rest = after_comment(self.rest).trim_ascii_start();
        }
    }

    fn take(&mut self, octet: u8) -> bool {
        self.skip_space();
        match self.rest.split_first() {
            Some((&first, rest)) if first == octet => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// A token of RFC 2045 section 5.1, of which octets above ASCII are let pass.
    fn token(&mut self) -> Option<&'a [u8]> {
        self.skip_space();
        let special = |octet: &u8| *octet <= b' ' || *octet == 0x7f || b"()<>@,;:\\\"/[]?=".contains(octet);
        self.taken(self.rest.iter().position(special))
    }

    /// A value without quotes: broken programs put there what has to be quoted, boundaries with `=` and `/` above all.
    fn bare_value(&mut self) -> Option<&'a [u8]> {
        self.skip_space();
        self.taken(self.rest.iter().position(|octet| *octet <= b' ' || matches!(octet, b';' | b'(')))
    }

    fn taken(&mut self, end: Option<usize>) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(end.unwrap_or(self.rest.len()))?;
        self.rest = rest;
        (!taken.is_empty()).then_some(taken)
    }

    /// The inside of a quoted string whose quote has been taken; one that does not end goes to the end.
    fn quoted(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        let mut octets = self.rest.iter();
        while let Some(&octet) = octets.next() {
            match octet {
                b'"' => break,
                b'\\' => value.extend(octets.next().filter(|octet| !matches!(octet, b'\r' | b'\n'))),
                b'\r' | b'\n' => {}
                octet => value.push(octet),
            }
        }
        self.rest = octets.as_slice();
        value
    }

    fn skip_until(&mut self, octet: u8) {
        loop {
            self.skip_space();
            match self.rest.split_first() {
                None => return,
                Some((&first, _)) if first == octet => return,
                Some((b'"', rest)) => {
                    self.rest = rest;
                    self.quoted();
                }
                Some((_, rest)) => self.rest = rest,
            }
        }
    }

    /// Packs all parameters and gives the first that is called `boundary`. Those that come in pieces are put together, and
    /// stand behind the others.
    fn params(&mut self, out: &mut Vec<u8>) -> Option<Vec<u8>> {
        let mut boundary = None;
        let mut take = |name: &[u8], value: Vec<u8>, out: &mut Vec<u8>| {
            put_string(out, name);
            put_string(out, &value);
            if boundary.is_none() && name.eq_ignore_ascii_case(b"boundary") {
                boundary = Some(value);
            }
        };
        let mut pieces = Vec::new();
        for _ in 0..PARAMS_MAX {
            self.skip_until(b';');
            if !self.take(b';') {
                break;
            }
            let Some(name) = self.token() else { continue };
            if !self.take(b'=') {
                continue;
            }
            let value =
                if self.take(b'"') { self.quoted() } else { self.bare_value().unwrap_or_default().to_vec() };
            match Piece::of(name) {
                Some(piece) => pieces.push((piece, value)),
                None => take(name, value, out),
            }
        }
        if !pieces.is_empty() {
            join(pieces, |name, value| take(name, value, out));
        }
        // RFC 2046 section 5.1.1: a boundary does not end in white space.
        boundary.map(|boundary| boundary.trim_ascii_end().to_vec())
    }
}

/// What the name of a piece of a parameter says, `filename*2*` (RFC 2231 section 3).
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    /// The whole name.
    given: &'a [u8],
    /// The parameter's.
    name: &'a [u8],
    index: u16,
    /// Octets may be written as `%` and two digits (RFC 2231 section 4).
    is_encoded: bool,
}

impl<'a> Piece<'a> {
    fn of(given: &'a [u8]) -> Option<Piece<'a>> {
        let (rest, is_encoded) = match given.strip_suffix(b"*") {
            Some(rest) => (rest, true),
            None => (given, false),
        };
        let star = rest.iter().rposition(|octet| *octet == b'*')?;
        let (name, digits) = (rest.get(..star)?, rest.get(star + 1..)?);
        let is_number =
            digits.iter().all(u8::is_ascii_digit) && (digits == b"0" || !digits.starts_with(b"0"));
        let index = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
        (!name.is_empty()).then_some(Piece { given, name, index, is_encoded })
    }
}

/// Puts the pieces of parameters together, as RFC 2231 section 6 asks of IMAP servers. A value of which a piece is encoded is
/// so as a whole, and its name says so. Pieces that no unbroken row leads to are told as they stand.
fn join(mut pieces: Vec<(Piece<'_>, Vec<u8>)>, mut take: impl FnMut(&[u8], Vec<u8>)) {
    let key = |(piece, _): &(Piece<'_>, Vec<u8>)| (piece.name.to_ascii_lowercase(), piece.index);
    pieces.sort_by_cached_key(key);
    pieces.dedup_by(|later, one| key(later) == key(one));
    for row in pieces.chunk_by(|one, other| one.0.name.eq_ignore_ascii_case(other.0.name)) {
        let whole = row.iter().zip(0..).take_while(|((piece, _), index)| piece.index == *index).count();
        let (whole, rest) = row.split_at(whole);
        if let Some((first, _)) = whole.first() {
            let is_encoded = whole.iter().any(|(piece, _)| piece.is_encoded);
            // Only an encoded first piece names charset and language.
            let mut value = if is_encoded && !first.is_encoded { b"''".to_vec() } else { Vec::new() };
            for (piece, part) in whole {
                match is_encoded && !piece.is_encoded {
                    true => part.iter().for_each(|octet| put_encoded(*octet, &mut value)),
                    false => value.extend_from_slice(part),
                }
            }
            let star: &[u8] = if is_encoded { b"*" } else { b"" };
            take(&[first.name, star].concat(), value);
        }
        for (piece, value) in rest {
            take(piece.given, value.clone());
        }
    }
}

/// Writes an octet as an encoded value has it (RFC 2231 section 7, `attribute-char`).
fn put_encoded(octet: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if octet.is_ascii_graphic() && !b"*'%()<>@,;:\\\"/[]?=".contains(&octet) {
        out.push(octet);
    } else {
        let digit = |number: u8| HEX.get(usize::from(number)).copied().unwrap_or_default();
        out.extend([b'%', digit(octet >> 4), digit(octet & 15)]);
    }
}

/// What follows the comment at the start; nothing, if it does not end.
pub(crate) fn after_comment(text: &[u8]) -> &[u8] {
    let mut depth = 0usize;
    let mut octets = text.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b'\\' => {
                octets.next();
            }
            b'(' => depth += 1,
            b')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
            }
            _ => {}
        }
    }
    octets.as_slice()
}
