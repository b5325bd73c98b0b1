//! Octets of a section, in pieces.

use bytes::Bytes;
use packetboat_imap::command::{Section, SectionItem, SectionText};
use packetboat_message::card::{Card, FieldSet};
use packetboat_message::section::{self, Filter, Names, What};
use packetboat_message::structure::Part;
use packetboat_message::text::transfer::{Decoder, Encoding};
use packetboat_store::{MessageReader, ReadError};

/// Octets read at a time.
pub(super) const PIECE: usize = 64 * 1024;

/// Where a section's octets are, or what they are.
pub(super) enum Found {
    /// The message has no such section.
    Nil,
    /// At hand.
    Here(Vec<u8>),
    /// To be read: from where, and how many.
    Range(u64, u64),
    /// To be read and decoded: where the encoded octets are, how they are encoded, and how many come out.
    Decoded { start: u64, end: u64, encoding: Encoding, octets: u64 },
    /// In an encoding that is not known (RFC 3516 section 4.3).
    Unknown,
}

/// What a section needs to be found.
pub(super) struct Source<'a> {
    /// The message.
    pub(super) reader: Option<&'a MessageReader>,
    /// Its card.
    pub(super) card: Card<'a>,
    /// Octets before its body.
    pub(super) prefix: u64,
}

/// The fields that a section is, if cards keep them.
pub(super) fn field_set(section: &Section) -> Option<FieldSet> {
    match &section.text {
        SectionText::Fields(names) if section.path.is_empty() => FieldSet::new(names),
        _ => None,
    }
}

/// Finds a section.
pub(super) async fn find(source: &Source<'_>, section: &Section) -> Result<Found, ReadError> {
    let Some(reader) = source.reader else { return Ok(Found::Nil) };
    let Some(root) = source.card.structure() else { return Ok(Found::Nil) };
    if section.item == SectionItem::Binary {
        return decoded(reader, source, &root, &section.path).await;
    }
    let what = match section.text {
        SectionText::Whole => What::All,
        SectionText::Header | SectionText::Fields(_) | SectionText::FieldsNot(_) => What::Header,
        SectionText::Text => What::Text,
        SectionText::Mime => What::Mime,
    };
    let Some(octets) = section::locate(&root, &section.path, what) else { return Ok(Found::Nil) };
    let start = if octets.prefix { 0 } else { source.prefix.saturating_add(octets.range.start) };
    let len = octets.len(source.prefix);
    Ok(match &section.text {
        SectionText::Fields(names) => Found::Here(filtered(reader, start, len, names, true).await?),
        SectionText::FieldsNot(names) => Found::Here(filtered(reader, start, len, names, false).await?),
        _ => Found::Range(start, len),
    })
}

/// How many octets a part has when its transfer encoding is undone.
pub(super) async fn decoded(
    reader: &MessageReader,
    source: &Source<'_>,
    root: &Part<'_>,
    path: &[u32],
) -> Result<Found, ReadError> {
    if path.is_empty() {
        return Ok(Found::Range(0, reader.len()));
    }
    let Some(part) = section::part(root, path) else { return Ok(Found::Nil) };
    let Some(encoding) = Encoding::named(part.encoding) else { return Ok(Found::Unknown) };
    let start = source.prefix.saturating_add(part.body.start);
    let end = source.prefix.saturating_add(part.body.end);
    if encoding == Encoding::Identity {
        return Ok(Found::Range(start, end.saturating_sub(start)));
    }
    let mut decoder = Decoder::new(encoding);
    let (mut at, mut octets, mut out) = (start, 0u64, Vec::new());
    while at < end {
        let piece = read(reader, at, end).await?;
        at += piece.len() as u64;
        decoder.push(&piece, &mut out);
        octets += out.len() as u64;
        out.clear();
    }
    decoder.finish(&mut out);
    octets += out.len() as u64;
    Ok(Found::Decoded { start, end, encoding, octets })
}

/// The next piece before `end`.
pub(super) async fn read(reader: &MessageReader, at: u64, end: u64) -> Result<Bytes, ReadError> {
    let max = usize::try_from(end.saturating_sub(at)).unwrap_or(PIECE).min(PIECE);
    let piece = reader.read(at, max).await?;
    if piece.is_empty() { Err(ReadError::Gone) } else { Ok(piece) }
}

/// Chosen fields of a header.
async fn filtered(
    reader: &MessageReader,
    start: u64,
    len: u64,
    names: &[String],
    wanted: bool,
) -> Result<Vec<u8>, ReadError> {
    let names: Names = names.iter().collect();
    let mut filter = if wanted { Filter::fields(&names) } else { Filter::fields_not(&names) };
    let (mut at, end, mut out) = (start, start.saturating_add(len), Vec::new());
    while at < end {
        let piece = read(reader, at, end).await?;
        at += piece.len() as u64;
        filter.push(&piece, &mut out);
    }
    filter.finish(&mut out);
    Ok(out)
}
