//! What FETCH tells of a message.

use std::borrow::Cow;

use bytes::Bytes;

use super::cursor::Cursor;
use super::value::{Address, Envelope, Fetched};
use crate::command::{Section, SectionItem, SectionText};
use crate::value::Flag;

/// Sections and binary sizes kept of one response at most.
const SECTIONS_MAX: usize = 10_000;

/// What an item turned out to be.
#[derive(Debug)]
pub(super) enum Item<'a> {
    /// It went into the values.
    Taken,
    /// Octets of a section, which are here.
    Here(Section, Option<Cow<'a, [u8]>>),
    /// Octets of a section, which will come as a literal.
    Comes(Section, u64),
}

/// Reads the next item. `None` if it is not there in full, or not by the grammar.
pub(super) fn item<'a>(cursor: &mut Cursor<'a>, fetched: &mut Fetched) -> Option<Item<'a>> {
    let name = cursor.name()?.to_ascii_uppercase();
    let named =
        |item| Section { item, peek: true, path: Vec::new(), text: SectionText::Whole, partial: None };
    let section = match name.as_slice() {
        b"BODY" if cursor.rest.starts_with(b"[") => Some(spec(cursor, SectionItem::Body)?),
        b"BINARY" if cursor.rest.starts_with(b"[") => Some(spec(cursor, SectionItem::Binary)?),
        b"RFC822" => Some(named(SectionItem::Rfc822)),
        b"RFC822.HEADER" => Some(Section { text: SectionText::Header, ..named(SectionItem::Rfc822Header) }),
        b"RFC822.TEXT" => Some(Section { text: SectionText::Text, ..named(SectionItem::Rfc822Text) }),
        _ => None,
    };
    if let Some(section) = section {
        cursor.space()?;
        if let Some(octets) = cursor.announced() {
            return Some(Item::Comes(section, octets));
        }
        return Some(Item::Here(section, cursor.nstring()?));
    }
    if name == b"BINARY.SIZE" {
        let Section { path, .. } = spec(cursor, SectionItem::Binary)?;
        cursor.space()?;
        let size = cursor.number()?;
        if fetched.binary_sizes.len() < SECTIONS_MAX {
            fetched.binary_sizes.push((path, size));
        }
        return Some(Item::Taken);
    }
    cursor.space()?;
    match name.as_slice() {
        b"UID" => fetched.uid = Some(cursor.number()?),
        b"FLAGS" => fetched.flags = Some(flags(cursor)?),
        b"INTERNALDATE" => fetched.internal_date = Some(cursor.date_time()?),
        b"RFC822.SIZE" => fetched.size = Some(cursor.number()?),
        b"MODSEQ" => {
            cursor.eat("(")?;
            fetched.mod_seq = Some(cursor.number()?);
            cursor.eat(")")?;
        }
        b"EMAILID" => fetched.email_id = Some(object_id(cursor)?),
        b"THREADID" if cursor.nil().is_some() => fetched.thread_id = Some(None),
        b"THREADID" => fetched.thread_id = Some(Some(object_id(cursor)?)),
        b"SAVEDATE" if cursor.nil().is_some() => fetched.save_date = Some(None),
        b"SAVEDATE" => fetched.save_date = Some(Some(cursor.date_time()?)),
        b"PREVIEW" => {
            fetched.preview = Some(cursor.nstring()?.map(|text| String::from_utf8_lossy(&text).into_owned()));
        }
        b"ENVELOPE" => fetched.envelope = Some(Box::new(envelope(cursor)?)),
        b"BODY" => fetched.body = Some(Box::new(cursor.data()?)),
        b"BODYSTRUCTURE" => fetched.body_structure = Some(Box::new(cursor.data()?)),
        _ => _ = cursor.data()?,
    }
    Some(Item::Taken)
}

/// Notes that a section was told.
pub(super) fn note(fetched: &mut Fetched, mut section: Section, octets: Option<u64>) {
    if let Some((_, length)) = &mut section.partial {
        *length = octets.unwrap_or_default();
    }
    if fetched.sections.len() < SECTIONS_MAX {
        fetched.sections.push((section, octets));
    }
}

/// `[1.2.HEADER.FIELDS (FROM TO)]<0>`
fn spec(cursor: &mut Cursor<'_>, item: SectionItem) -> Option<Section> {
    let mut section = Section { item, peek: true, path: Vec::new(), text: SectionText::Whole, partial: None };
    cursor.eat("[")?;
    while let Some(number) = cursor.number() {
        section.path.push(number);
        if cursor.eat(".").is_none() {
            break;
        }
    }
    if cursor.eat("]").is_none() {
        section.text = match cursor.name()?.to_ascii_uppercase().as_slice() {
            b"HEADER" => SectionText::Header,
            b"TEXT" => SectionText::Text,
            b"MIME" => SectionText::Mime,
            b"HEADER.FIELDS" => SectionText::Fields(fields(cursor)?),
            b"HEADER.FIELDS.NOT" => SectionText::FieldsNot(fields(cursor)?),
            _ => return None,
        };
        cursor.eat("]")?;
    }
    if cursor.eat("<").is_some() {
        section.partial = Some((cursor.number()?, 0));
        cursor.eat(">")?;
    }
    Some(section)
}

fn fields(cursor: &mut Cursor<'_>) -> Option<Vec<String>> {
    cursor.space()?;
    cursor.texts()
}

/// Flags between parentheses. What is none by the grammar is left out.
pub(super) fn flags(cursor: &mut Cursor<'_>) -> Option<Vec<Flag>> {
    let mut flags = Vec::new();
    cursor.list(|cursor| {
        let word = cursor.word()?;
        flags.extend(std::str::from_utf8(word).ok().and_then(|word| word.parse::<Flag>().ok()));
        Some(())
    })?;
    Some(flags)
}

/// `(M6d99ac3275bb4e)` (RFC 8474)
pub(super) fn object_id(cursor: &mut Cursor<'_>) -> Option<String> {
    cursor.eat("(")?;
    let id = String::from_utf8_lossy(cursor.word()?).into_owned();
    cursor.eat(")")?;
    Some(id)
}

fn envelope(cursor: &mut Cursor<'_>) -> Option<Envelope> {
    let bytes = |cursor: &mut Cursor<'_>| {
        let text = cursor.nstring()?.map(|text| Bytes::copy_from_slice(&text));
        let _ = cursor.space();
        Some(text)
    };
    let addresses = |cursor: &mut Cursor<'_>| {
        let mut addresses = Vec::new();
        if cursor.nil().is_none() {
            cursor.list(|cursor| {
                cursor.eat("(")?;
                addresses.push(Address {
                    name: bytes(cursor)?,
                    route: bytes(cursor)?,
                    mailbox: bytes(cursor)?,
                    host: bytes(cursor)?,
                });
                cursor.eat(")")
            })?;
        }
        let _ = cursor.space();
        Some(addresses)
    };
    cursor.eat("(")?;
    let envelope = Envelope {
        date: bytes(cursor)?,
        subject: bytes(cursor)?,
        from: addresses(cursor)?,
        sender: addresses(cursor)?,
        reply_to: addresses(cursor)?,
        to: addresses(cursor)?,
        cc: addresses(cursor)?,
        bcc: addresses(cursor)?,
        in_reply_to: bytes(cursor)?,
        message_id: bytes(cursor)?,
    };
    cursor.eat(")")?;
    Some(envelope)
}
