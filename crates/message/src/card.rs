//! Cards: what most commands want to know of a message, in a few hundred octets, so that its body stays closed.
//!
//! A [`Builder`] looks at the body while it streams by; the [`Draft`] that comes of it makes a card for each
//! recipient, whose copy begins with fields of its own. [`Card`] reads one. A card is a cache: whoever finds none, or
//! one that cannot be read, makes it again from the message ([`Draft::whole_card`]).
//!
//! A message that was delivered is `prefix` + body: the prefix is the recipient's own fields, and offsets in
//! [`Card::structure`] count from the start of the body.

mod draft;
mod names;
mod preview;
pub mod subject;
#[cfg(test)]
mod tests;
pub mod thread;

pub use draft::{Builder, Draft};
pub use names::FieldSet;
pub(crate) use names::id as known_field;

use std::borrow::Cow;

use crate::envelope::{Address, Addresses, Envelope};
use crate::pack::Reader;
use crate::structure::Part;
use crate::text::{fold, words};
use thread::Threading;

/// Octets of a card at most; [`Draft::card`] makes a mere mark of a longer one.
pub const CARD_MAX: usize = 48 << 10;
/// Octets of header fields kept as they are. Fields that come when there are so many are left out, and
/// [`Card::header_fields`] says so.
pub const FIELDS_MAX: usize = 8 << 10;
/// Characters of a preview at most (RFC 8970 section 3.1).
pub const PREVIEW_MAX: usize = 200;

/// The first octet of a card. What is written differently gets another number.
const VERSION: u8 = 1;
/// The second octet: there is a date.
const HAS_SENT: u8 = 1;

/// When a message was sent, by its own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sent {
    /// Microseconds since 1970 in UTC.
    pub utc: i64,
    /// Seconds by which the sender's clock is ahead of UTC. SEARCH SENTON and its kin look at that clock (RFC 9051
    /// section 6.4.4).
    pub offset: i32,
}

/// A card. Everything but its frame is read when it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Card<'a> {
    left_out: u64,
    sent: Option<Sent>,
    raw: &'a [u8],
    envelope: &'a [u8],
    thread: &'a [u8],
    preview: &'a [u8],
    structure: &'a [u8],
}

impl<'a> Card<'a> {
    /// Reads the frame of a card. `None` if there is none, it is a mark that a card would be too large, or another version
    /// wrote it: then it has to be made again from the message.
    pub fn parse(octets: &'a [u8]) -> Option<Card<'a>> {
        let [VERSION, flags, rest @ ..] = octets else { return None };
        let mut reader = Reader(rest);
        let left_out = reader.number()?;
        let sent = match flags & HAS_SENT {
            0 => None,
            _ => Some(Sent { utc: reader.signed()?, offset: i32::try_from(reader.signed()?).ok()? }),
        };
        Some(Card {
            left_out,
            sent,
            raw: reader.string()?,
            envelope: reader.string()?,
            thread: reader.string()?,
            preview: reader.string()?,
            structure: reader.string()?,
        })
    }

    /// The envelope; `None` if the card is damaged.
    pub fn envelope(&self) -> Option<Envelope<'a>> {
        Envelope::read(self.envelope, self.raw)
    }

    /// The parts, with offsets from the start of the body; `None` if the card is damaged.
    pub fn structure(&self) -> Option<Part<'a>> {
        Part::parse(self.structure)
    }

    /// Appends the fields of these names, as the header has them and in its order, and the empty line that ends every
    /// header: what `BODY[HEADER.FIELDS (…)]` answers. Gives whether the card knows them all; if not, nothing is
    /// appended.
    pub fn header_fields(&self, names: FieldSet, out: &mut Vec<u8>) -> bool {
        let FieldSet { wanted } = names;
        let start = out.len();
        if wanted & self.left_out != 0
            || self
                .each_field(|id, field| {
                    if names::bit(id) & wanted != 0 {
                        out.extend_from_slice(field);
                    }
                })
                .is_none()
        {
            out.truncate(start);
            return false;
        }
        out.extend_from_slice(b"\r\n");
        true
    }

    /// The value of the first field of this name, folded as it is; `None` if the card does not know, `Some(None)` if it
    /// knows that there is none.
    pub fn first_value(&self, name: &str) -> Option<Option<&'a [u8]>> {
        let id = names::id(name.as_bytes()).filter(|id| names::bit(*id) & self.left_out == 0)?;
        let mut found = None;
        self.each_field(|other, field| {
            if other == id && found.is_none() {
                found = memchr::memchr(b':', field).and_then(|colon| field.get(colon + 1..));
            }
        })?;
        Some(found)
    }

    fn each_field(&self, mut take: impl FnMut(u8, &'a [u8])) -> Option<()> {
        let mut reader = Reader(self.raw);
        while let Some(id) = reader.octet() {
            take(id, reader.string()?);
        }
        Some(())
    }

    /// The beginning of what a person reads first (RFC 8970): decoded, without marks, white space collapsed. Empty where
    /// there is no such text.
    pub fn preview(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.preview)
    }

    /// When it was sent, if the header says so in a way that can be read.
    pub fn sent(&self) -> Option<Sent> {
        self.sent
    }

    /// What it is an answer to.
    pub fn threading(&self) -> Threading<'a> {
        Threading::read(self.thread)
    }

    /// What it is sorted by.
    pub fn sort_keys(&self) -> SortKeys<'a> {
        SortKeys { envelope: self.envelope() }
    }
}

/// What messages are sorted by (RFC 5256 section 3, RFC 5957), folded so that octets compare as i;unicode-casemap
/// does. A key is made when it is asked for.
#[derive(Debug, Clone)]
pub struct SortKeys<'a> {
    envelope: Option<Envelope<'a>>,
}

impl SortKeys<'_> {
    /// The mailbox of the first author.
    pub fn from(&self) -> Vec<u8> {
        self.first(|envelope| envelope.from, mailbox)
    }

    /// The mailbox of the first recipient.
    pub fn to(&self) -> Vec<u8> {
        self.first(|envelope| envelope.to, mailbox)
    }

    /// The mailbox of the first who gets a copy.
    pub fn cc(&self) -> Vec<u8> {
        self.first(|envelope| envelope.cc, mailbox)
    }

    /// The name of the first author as a person sees it (RFC 5957).
    pub fn display_from(&self) -> Vec<u8> {
        self.first(|envelope| envelope.from, display)
    }

    /// The name of the first recipient as a person sees it (RFC 5957).
    pub fn display_to(&self) -> Vec<u8> {
        self.first(|envelope| envelope.to, display)
    }

    /// The base subject (RFC 5256 section 2.1).
    pub fn subject(&self) -> subject::Base {
        let subject = self.envelope.as_ref().and_then(|envelope| envelope.subject);
        subject::base(subject.unwrap_or_default())
    }

    fn first<'e>(
        &'e self,
        list: impl Fn(&'e Envelope<'e>) -> Addresses<'e>,
        key: impl Fn(Address<'e>) -> Vec<u8>,
    ) -> Vec<u8> {
        self.envelope.as_ref().and_then(|envelope| list(envelope).next()).map(key).unwrap_or_default()
    }
}

fn folded(value: &[u8]) -> Vec<u8> {
    fold::folded(&words::decode(value))
}

fn mailbox(address: Address<'_>) -> Vec<u8> {
    folded(address.mailbox.unwrap_or_default())
}

fn display(address: Address<'_>) -> Vec<u8> {
    match (address.name, address.mailbox, address.host) {
        (Some(name), _, _) if !name.is_empty() => folded(name),
        (_, Some(mailbox), Some(host)) => folded(&[mailbox, b"@", host].concat()),
        (_, mailbox, _) => folded(mailbox.unwrap_or_default()),
    }
}
