//! Making cards.

use std::ops::Range;

use super::thread::{self, ids, number};
use super::{CARD_MAX, FIELDS_MAX, HAS_SENT, VERSION, names, preview};
use crate::envelope::{self, Name};
use crate::pack::{put_block, put_number, put_signed, put_string};
use crate::structure::{Scan, Structure};
use crate::{date, fields};

/// Looks at a body while it streams by. Keeps a bounded part of it.
#[derive(Debug)]
pub struct Builder {
    scan: Scan,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// A builder before the first octet.
    pub fn new() -> Builder {
        Builder { scan: Scan::keeping() }
    }

    /// Looks at the next octets of the body.
    pub fn push(&mut self, chunk: &[u8]) {
        self.scan.push(chunk);
    }

    /// The body is over.
    pub fn finish(self) -> Draft {
        let (structure, found) = self.scan.finish_keeping();
        let preview = preview::preview(&structure, &found);
        let mut kept = Vec::with_capacity(24);
        keep(&found.header, &mut kept);
        Draft { structure, preview, header: found.header, is_cut: found.header_is_cut, kept }
    }
}

/// What is known of a body. Makes a card for each recipient.
#[derive(Debug, Clone)]
pub struct Draft {
    structure: Structure,
    preview: String,
    header: Vec<u8>,
    is_cut: bool,
    kept: Vec<Kept>,
}

/// A field whose name cards know.
#[derive(Debug, Clone)]
struct Kept {
    id: u8,
    whole: Range<usize>,
    /// Where its value begins, counted from its own start.
    value: usize,
}

/// Finds the fields of a header that cards know.
fn keep(header: &[u8], out: &mut Vec<Kept>) {
    let mut at = 0;
    for field in fields::fields(header) {
        let end = at + field.whole.len();
        if let Some(id) = names::id(field.name) {
            out.push(Kept { id, whole: at..end, value: field.whole.len() - field.value.len() });
        }
        at = end;
    }
}

impl Draft {
    /// The parts of the body.
    pub fn structure(&self) -> &Structure {
        &self.structure
    }

    /// The card of the message that is `prefix` and the body, for storing. One that would be larger than [`CARD_MAX`] is a
    /// mere mark, which [`Card::parse`](super::Card::parse) does not take for a card.
    pub fn card(&self, prefix: &[u8]) -> Vec<u8> {
        let card = self.whole_card(prefix);
        if card.len() > CARD_MAX { vec![0] } else { card }
    }

    /// The same, however large.
    pub fn whole_card(&self, prefix: &[u8]) -> Vec<u8> {
        let mut in_prefix = Vec::with_capacity(8);
        keep(prefix, &mut in_prefix);
        let all = || {
            let own = in_prefix.iter().map(|kept| (kept, prefix));
            own.chain(self.kept.iter().map(|kept| (kept, self.header.as_slice())))
        };
        // Of a header that was not seen to its end nobody can say what is not in it.
        let mut left_out = if self.is_cut { u64::MAX } else { 0 };
        let mut total = 0usize;
        for (kept, _) in all() {
            total += kept.whole.len();
            if total > FIELDS_MAX {
                left_out |= names::bit(kept.id);
            }
        }
        let mut raw = Vec::with_capacity(total.min(FIELDS_MAX) + 64);
        let mut places = Vec::with_capacity(in_prefix.len() + self.kept.len());
        for (kept, header) in all() {
            let is_in = left_out & names::bit(kept.id) == 0;
            let octets = header.get(kept.whole.clone()).unwrap_or_default();
            if is_in {
                raw.push(kept.id);
                put_string(&mut raw, octets);
            }
            places.push(is_in.then(|| raw.len() - octets.len() + kept.value..raw.len()));
        }
        // Values are taken from where the card has them, so that the envelope can point to them.
        let mut named: Vec<(Name, &[u8])> = Vec::with_capacity(places.len());
        let mut references: Vec<&[u8]> = Vec::new();
        for ((kept, header), place) in all().zip(&places) {
            let value = match place {
                Some(place) => raw.get(place.clone()),
                None => header.get(kept.whole.start + kept.value..kept.whole.end),
            };
            let value = value.unwrap_or_default();
            match names::envelope_name(kept.id) {
                Some(name) => named.push((name, value)),
                None if kept.id == names::REFERENCES => references.push(value),
                None => {}
            }
        }
        let first = |name| named.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
        let sent = first(Name::Date).and_then(sent);

        let mut out =
            Vec::with_capacity(raw.len() + self.preview.len() + self.structure.as_bytes().len() + 160);
        out.extend([VERSION, if sent.is_some() { HAS_SENT } else { 0 }]);
        put_number(&mut out, left_out);
        if let Some((utc, offset)) = sent {
            put_signed(&mut out, utc);
            put_signed(&mut out, i64::from(offset));
        }
        put_string(&mut out, &raw);
        put_block(&mut out, |out| envelope::pack_fields(&named, &raw, out));
        put_block(&mut out, |out| {
            let references = references.iter().flat_map(|value| ids(value)).map(|id| number(&id));
            thread::pack(first(Name::MessageId), references, first(Name::InReplyTo), out);
        });
        put_string(&mut out, self.preview.as_bytes());
        put_string(&mut out, self.structure.as_bytes());
        out
    }
}

/// Microseconds and offset of a date.
fn sent(value: &[u8]) -> Option<(i64, i32)> {
    let at = date::parse(&String::from_utf8_lossy(value))?;
    Some((at.timestamp().as_microsecond(), at.offset().seconds()))
}
