//! One part of a message, read from the packed form of a [`Structure`](super::Structure).

use std::fmt;
use std::ops::Range;

use crate::envelope::Envelope;
use crate::pack::{Reader, put_number};

/// What stands inside a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Content of its own.
    Leaf,
    /// Parts, one after the other (RFC 2046 section 5.1).
    Multipart,
    /// A message (RFC 2046 section 5.2.1), which is the only child.
    Message,
}

/// What the header of a part says about it, and the bit that tells that it is there.
pub(super) mod has {
    pub(crate) const TYPE: u64 = 1 << 2;
    pub(crate) const PARAMS: u64 = 1 << 3;
    pub(crate) const ID: u64 = 1 << 4;
    pub(crate) const DESCRIPTION: u64 = 1 << 5;
    pub(crate) const ENCODING: u64 = 1 << 6;
    pub(crate) const MD5: u64 = 1 << 7;
    pub(crate) const DISPOSITION: u64 = 1 << 8;
    pub(crate) const LANGUAGE: u64 = 1 << 9;
    pub(crate) const LOCATION: u64 = 1 << 10;
    pub(crate) const ENVELOPE: u64 = 1 << 11;
    /// The part stands in a multipart/digest and has no Content-Type of its own.
    pub(crate) const DIGEST: u64 = 1 << 12;
}

/// The bits that tell the [`Kind`].
const KIND: u64 = 3;

pub(super) fn kind_bits(kind: Kind) -> u64 {
    match kind {
        Kind::Leaf => 0,
        Kind::Multipart => 1,
        Kind::Message => 2,
    }
}

/// A part of a message. Values are those of the header, unfolded and unquoted, not decoded otherwise.
///
/// Offsets count from the start of what the scan was given.
#[derive(Clone)]
pub struct Part<'a> {
    /// What stands inside.
    pub kind: Kind,
    /// Where its header is, the empty line at the end included.
    pub header: Range<u64>,
    /// Where its body is.
    pub body: Range<u64>,
    /// Line ends in the body, as BODYSTRUCTURE counts them.
    pub lines: u64,
    /// The value of Content-ID.
    pub id: Option<&'a [u8]>,
    /// The value of Content-Description.
    pub description: Option<&'a [u8]>,
    /// The value of Content-Transfer-Encoding, if it is one word; absent means `7bit`.
    pub encoding: Option<&'a [u8]>,
    /// The value of Content-MD5.
    pub md5: Option<&'a [u8]>,
    /// What Content-Disposition says.
    pub disposition: Option<Disposition<'a>>,
    /// The value of Content-Location.
    pub location: Option<&'a [u8]>,
    /// The envelope of this message, where the part is the message inside a [`Kind::Message`]. The envelope of the
    /// outermost message depends on the recipient and is in its [`Card`](crate::card::Card).
    pub envelope: Option<Envelope<'a>>,
    flags: u64,
    written_type: &'a [u8],
    written_subtype: &'a [u8],
    params: Params<'a>,
    language: Strings<'a>,
    children: Reader<'a>,
}

/// What Content-Disposition says (RFC 2183).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disposition<'a> {
    /// `inline`, `attachment` or another word.
    pub kind: &'a [u8],
    /// Its parameters.
    pub params: Params<'a>,
}

impl<'a> Part<'a> {
    /// The media type as BODYSTRUCTURE has to name it: `text/plain` where the header names none, `message/rfc822` for such a
    /// one in a digest (RFC 2046 section 5.1.5), and `application/octet-stream` for a multipart or message that was
    /// not looked into, for its content is none of what IMAP lets follow these names.
    pub fn media_type(&self) -> (&'a [u8], &'a [u8]) {
        let given = self.flags & has::TYPE != 0;
        let digest = self.flags & has::DIGEST != 0;
        match self.kind {
            Kind::Message if !given => (b"message", b"rfc822"),
            Kind::Leaf if digest || self.is_closed() => (b"application", b"octet-stream"),
            Kind::Leaf if !given => (b"text", b"plain"),
            _ => (self.written_type, self.written_subtype),
        }
    }

    /// Whether the header names a type that has parts, and none are known.
    pub(crate) fn is_closed(&self) -> bool {
        self.kind == Kind::Leaf
            && (self.written_type.eq_ignore_ascii_case(b"multipart")
                || super::mime::is_message(self.written_type, self.written_subtype))
    }

    /// The media type as it is written; empty where the header names none.
    pub(crate) fn written_type(&self) -> (&'a [u8], &'a [u8]) {
        (self.written_type, self.written_subtype)
    }

    /// Whether [`Part::media_type`] is `text` with any subtype.
    pub fn is_text(&self) -> bool {
        self.media_type().0.eq_ignore_ascii_case(b"text")
    }

    /// The parameters of Content-Type, as written.
    pub fn params(&self) -> Params<'a> {
        self.params
    }

    /// The first parameter of Content-Type with this name.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        self.params.get(name)
    }

    /// The words of Content-Language (RFC 3282).
    pub fn language(&self) -> Strings<'a> {
        self.language
    }

    /// The parts directly inside, in their order. A multipart has at least one.
    pub fn children(&self) -> Children<'a> {
        Children(self.children)
    }

    /// Reads a structure that was packed; `None` if it is none.
    pub fn parse(packed: &'a [u8]) -> Option<Part<'a>> {
        Part::read(&mut Reader(packed))
    }

    /// An empty text.
    pub(super) fn nothing() -> Part<'a> {
        Part {
            kind: Kind::Leaf,
            header: 0..0,
            body: 0..0,
            lines: 0,
            id: None,
            description: None,
            encoding: None,
            md5: None,
            disposition: None,
            location: None,
            envelope: None,
            flags: 0,
            written_type: b"",
            written_subtype: b"",
            params: Params::default(),
            language: Strings::default(),
            children: Reader::default(),
        }
    }

    /// Reads one part off the front.
    pub(super) fn read(reader: &mut Reader<'a>) -> Option<Part<'a>> {
        let flags = reader.number()?;
        let kind = match flags & KIND {
            0 => Kind::Leaf,
            1 => Kind::Multipart,
            2 => Kind::Message,
            _ => return None,
        };
        let start = reader.number()?;
        let middle = start.checked_add(reader.number()?)?;
        let end = middle.checked_add(reader.number()?)?;
        let lines = reader.number()?;
        let string = |bit, reader: &mut Reader<'a>| match flags & bit {
            0 => Some(None),
            _ => reader.string().map(Some),
        };
        let mut part =
            Part { kind, header: start..middle, body: middle..end, lines, flags, ..Part::nothing() };
        if flags & has::TYPE != 0 {
            part.written_type = reader.string()?;
            part.written_subtype = reader.string()?;
        }
        if flags & has::PARAMS != 0 {
            part.params = Params(Strings(reader.block()?));
        }
        part.encoding = string(has::ENCODING, reader)?;
        part.id = string(has::ID, reader)?;
        part.description = string(has::DESCRIPTION, reader)?;
        part.md5 = string(has::MD5, reader)?;
        if flags & has::DISPOSITION != 0 {
            let kind = reader.string()?;
            part.disposition = Some(Disposition { kind, params: Params(Strings(reader.block()?)) });
        }
        if flags & has::LANGUAGE != 0 {
            part.language = Strings(reader.block()?);
        }
        part.location = string(has::LOCATION, reader)?;
        if flags & has::ENVELOPE != 0 {
            part.envelope = Some(Envelope::read(reader.string()?, &[])?);
        }
        if kind != Kind::Leaf {
            let length = reader.take(4)?;
            let length = u32::from_le_bytes(length.try_into().ok()?);
            part.children = Reader(reader.take(usize::try_from(length).ok()?)?);
        }
        Some(part)
    }
}

/// Writes what [`Part::read`] reads, up to the facts.
pub(super) fn put_numbers(out: &mut Vec<u8>, flags: u64, header: Range<u64>, body_end: u64, lines: u64) {
    put_number(out, flags);
    put_number(out, header.start);
    put_number(out, header.end.saturating_sub(header.start));
    put_number(out, body_end.saturating_sub(header.end));
    put_number(out, lines);
}

/// The parts directly inside another.
#[derive(Debug, Clone)]
pub struct Children<'a>(Reader<'a>);

impl<'a> Iterator for Children<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let part = Part::read(&mut self.0);
        if part.is_none() {
            self.0 = Reader::default();
        }
        part
    }
}

/// Names and values, in their order.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Params<'a>(Strings<'a>);

impl<'a> Params<'a> {
    /// The first one with this name, in any case.
    pub fn get(mut self, name: &str) -> Option<&'a [u8]> {
        self.find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?))
    }
}

/// Strings one after the other.
#[derive(Clone, Copy, Default)]
pub struct Strings<'a>(Reader<'a>);

impl PartialEq for Strings<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.0 == other.0.0
    }
}

impl Eq for Strings<'_> {}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let string = self.0.string();
        if string.is_none() {
            self.0 = Reader::default();
        }
        string
    }
}

struct Shown<'a>(&'a [u8]);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Debug for Strings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((*self).map(Shown)).finish()
    }
}

impl fmt::Debug for Params<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries((*self).map(|(name, value)| (Shown(name), Shown(value)))).finish()
    }
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, subtype) = self.media_type();
        f.debug_struct("Part")
            .field("type", &Shown(kind))
            .field("subtype", &Shown(subtype))
            .field("params", &self.params)
            .field("header", &self.header)
            .field("body", &self.body)
            .field("lines", &self.lines)
            .field("id", &self.id.map(Shown))
            .field("description", &self.description.map(Shown))
            .field("encoding", &self.encoding.map(Shown))
            .field("md5", &self.md5.map(Shown))
            .field("disposition", &self.disposition)
            .field("language", &self.language)
            .field("location", &self.location.map(Shown))
            .field("envelope", &self.envelope)
            .field("children", &self.children().collect::<Vec<_>>())
            .finish()
    }
}
