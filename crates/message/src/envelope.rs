//! What the header says about who wrote to whom, when and about what, as IMAP's ENVELOPE has it (RFC 9051 section
//! 7.5.2).
//!
//! Values are those of the header, unfolded; encoded-words stay encoded. An envelope is read from a packed form, in
//! which strings are either written out or point into the octets of the header it was packed from.

mod addresses;

use std::borrow::Cow;
use std::fmt;

use addresses::parse;

use crate::fields;
use crate::pack::{Reader, put_block, put_number};
use crate::structure::unfolded;

/// Addresses of one field at most; what comes after them is left out.
pub const ADDRESSES_MAX: usize = 2000;
/// A field with more octets than this is cut.
const VALUE_MAX: usize = 64 << 10;

/// The fields an envelope is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Date,
    Subject,
    From,
    Sender,
    ReplyTo,
    To,
    Cc,
    Bcc,
    InReplyTo,
    MessageId,
}

impl Name {
    /// Finds the field with this name, in any case.
    pub(crate) fn of(name: &[u8]) -> Option<Name> {
        let (found, spelling): (Name, &[u8]) = match name.len() {
            2 if name.eq_ignore_ascii_case(b"to") => (Name::To, b"to"),
            2 => (Name::Cc, b"cc"),
            3 => (Name::Bcc, b"bcc"),
            4 if name.eq_ignore_ascii_case(b"from") => (Name::From, b"from"),
            4 => (Name::Date, b"date"),
            6 => (Name::Sender, b"sender"),
            7 => (Name::Subject, b"subject"),
            8 => (Name::ReplyTo, b"reply-to"),
            10 => (Name::MessageId, b"message-id"),
            11 => (Name::InReplyTo, b"in-reply-to"),
            _ => return None,
        };
        name.eq_ignore_ascii_case(spelling).then_some(found)
    }
}

/// An envelope. A field that is absent is `None` or an empty list; one that is present and empty is `Some` of nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The value of Date.
    pub date: Option<&'a [u8]>,
    /// The value of Subject.
    pub subject: Option<&'a [u8]>,
    /// Who wrote it.
    pub from: Addresses<'a>,
    /// Who sent it: those of `from` where the header does not say.
    pub sender: Addresses<'a>,
    /// Who wants the answer: those of `from` where the header does not say.
    pub reply_to: Addresses<'a>,
    /// Whom it is to.
    pub to: Addresses<'a>,
    /// Who gets a copy.
    pub cc: Addresses<'a>,
    /// Who gets a copy without the others knowing.
    pub bcc: Addresses<'a>,
    /// The value of In-Reply-To.
    pub in_reply_to: Option<&'a [u8]>,
    /// The value of Message-ID.
    pub message_id: Option<&'a [u8]>,
}

impl<'a> Envelope<'a> {
    /// Reads one that was packed beside the header `raw`; `None` if it is none.
    pub(crate) fn read(packed: &'a [u8], raw: &'a [u8]) -> Option<Envelope<'a>> {
        let mut reader = Reader(packed);
        let same = reader.number()?;
        let date = string(&mut reader, raw)?;
        let subject = string(&mut reader, raw)?;
        let list = |reader: &mut Reader<'a>| Some(Addresses { reader: reader.block()?, raw });
        let from = list(&mut reader)?;
        let sender = if same & 1 == 0 { list(&mut reader)? } else { from };
        let reply_to = if same & 2 == 0 { list(&mut reader)? } else { from };
        let to = list(&mut reader)?;
        let cc = list(&mut reader)?;
        let bcc = list(&mut reader)?;
        let in_reply_to = string(&mut reader, raw)?;
        let message_id = string(&mut reader, raw)?;
        Some(Envelope { date, subject, from, sender, reply_to, to, cc, bcc, in_reply_to, message_id })
    }
}

/// Addresses one after the other, those of groups between two marks (RFC 9051 section 7.5.2, address structure).
#[derive(Clone, Copy)]
pub struct Addresses<'a> {
    reader: Reader<'a>,
    raw: &'a [u8],
}

impl Addresses<'_> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.reader.is_empty()
    }
}

impl<'a> Iterator for Addresses<'a> {
    type Item = Address<'a>;

    fn next(&mut self) -> Option<Address<'a>> {
        if self.reader.is_empty() {
            return None;
        }
        let read = |reader: &mut Reader<'a>| {
            Some(Address {
                name: string(reader, self.raw)?,
                route: string(reader, self.raw)?,
                mailbox: string(reader, self.raw)?,
                host: string(reader, self.raw)?,
            })
        };
        let address = read(&mut self.reader);
        if address.is_none() {
            self.reader = Reader::default();
        }
        address
    }
}

impl PartialEq for Addresses<'_> {
    fn eq(&self, other: &Self) -> bool {
        (*self).eq(*other)
    }
}

impl Eq for Addresses<'_> {}

impl fmt::Debug for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// An address, or the mark of a group: without `host` it is one, its beginning with the group's name as `mailbox`, its
/// end without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    /// The display name, or the comment that stands for one.
    pub name: Option<&'a [u8]>,
    /// The route before the address (RFC 5322 section 4.4), `@a,@b`.
    pub route: Option<&'a [u8]>,
    /// The local part without its quotes.
    pub mailbox: Option<&'a [u8]>,
    /// The domain.
    pub host: Option<&'a [u8]>,
}

impl fmt::Debug for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.name, self.route, self.mailbox, self.host] {
            match part {
                Some(part) => write!(f, "\"{}\" ", part.escape_ascii())?,
                None => f.write_str("NIL ")?,
            }
        }
        Ok(())
    }
}

/// Packs the envelope of a header, its strings written out.
pub(crate) fn pack(header: &[u8], out: &mut Vec<u8>) {
    let mut found = Vec::with_capacity(12);
    for field in fields::fields(header) {
        if let Some(name) = Name::of(field.name) {
            found.push((name, field.value));
        }
    }
    pack_fields(&found, &[], out);
}

/// Packs the envelope that these fields make. Of a field that may stand only once the first counts; lists are put
/// together. Strings that stand in `raw` as they are become references to it.
pub(crate) fn pack_fields(fields: &[(Name, &[u8])], raw: &[u8], out: &mut Vec<u8>) {
    let first = |name| fields.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
    let text = |name, out: &mut Vec<u8>| {
        let value = first(name).map(|value| unfolded(value.get(..VALUE_MAX).unwrap_or(value)));
        put(out, value.as_ref(), raw);
    };
    let list = |name, out: &mut Vec<u8>| {
        let start = out.len();
        put_block(out, |out| {
            let mut room = ADDRESSES_MAX;
            for (_, value) in fields.iter().filter(|(found, _)| *found == name) {
                room = parse(value.get(..VALUE_MAX).unwrap_or(value), room, |address| {
                    for part in [&address.name, &address.route, &address.mailbox, &address.host] {
                        put(out, part.as_ref(), raw);
                    }
                });
            }
        });
        out.get(start) == Some(&0)
    };
    let same = out.len();
    out.push(0);
    text(Name::Date, out);
    text(Name::Subject, out);
    list(Name::From, out);
    for (name, bit) in [(Name::Sender, 1), (Name::ReplyTo, 2)] {
        let start = out.len();
        if list(name, out) {
            out.truncate(start);
            if let Some(same) = out.get_mut(same) {
                *same |= bit;
            }
        }
    }
    list(Name::To, out);
    list(Name::Cc, out);
    list(Name::Bcc, out);
    text(Name::InReplyTo, out);
    text(Name::MessageId, out);
}

/// Writes what [`string`] reads. Nothing is 0; otherwise twice the length, the lowest bit telling that the string is to
/// be looked up, and one more.
fn put(out: &mut Vec<u8>, value: Option<&Cow<'_, [u8]>>, raw: &[u8]) {
    let Some(value) = value else { return out.push(0) };
    let length = value.len() as u64;
    match value {
        Cow::Borrowed(part) if part.len() > 2 => {
            let offset = (part.as_ptr() as usize).wrapping_sub(raw.as_ptr() as usize);
            if raw.get(offset..).is_some_and(|rest| rest.starts_with(part)) {
                put_number(out, length * 2 + 2);
                return put_number(out, offset as u64);
            }
        }
        _ => {}
    }
    put_number(out, length * 2 + 1);
    out.extend_from_slice(value);
}

/// Reads a string that may be nothing; the outer `None` is a broken one.
fn string<'a>(reader: &mut Reader<'a>, raw: &'a [u8]) -> Option<Option<&'a [u8]>> {
    let Some(number) = reader.number()?.checked_sub(1) else { return Some(None) };
    let length = usize::try_from(number >> 1).ok()?;
    if number & 1 == 0 {
        return reader.take(length).map(Some);
    }
    let start = reader.length()?;
    raw.get(start..start.checked_add(length)?).map(Some)
}
