//! FETCH, as fast as the client takes it.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use packetboat_imap::command::{Fetch, FetchItem, Section, SectionText};
use packetboat_imap::response::{Code, Completion, FlagsOf, Response};
use packetboat_imap::server::{FetchWriter, Server};
use packetboat_imap::value::Messages;
use packetboat_mail::mailbox::{Carded, Change, Cursor, FlagEdit, Known, Message, Refusal, Selected};
use packetboat_message::card::{Card, FieldSet};
use packetboat_message::text::transfer::Decoder;
use packetboat_store::{Flags, MessageReader};

use super::convert::{self, refused};
use super::news::say_flags;
use super::section::{self, Found, Source};
use super::{BACKLOG_HIGH, Imap, Refused};

/// Messages looked up at a time where their rows are enough.
const ROWS: usize = 512;
/// The same where their cards are needed.
const CARDS: usize = 128;
/// A section up to this size is said at once.
const SMALL: u64 = 64 * 1024;

/// A FETCH that is under way.
#[derive(Debug)]
pub(super) struct Fetching {
    items: Vec<FetchItem>,
    /// Of items that chosen header fields are, those fields, if cards have them.
    sets: Vec<Option<FieldSet>>,
    /// What cards had of the current message, and where in it each item's octets are.
    fields: Vec<u8>,
    places: Vec<Option<Range<usize>>>,
    uid: bool,
    /// What is needed to answer the items.
    needs: Needs,
    cursor: Cursor,
    page: VecDeque<Entry>,
    current: Option<Current>,
    /// Some messages could not be told as asked.
    trouble: Option<Completion>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Needs {
    card: bool,
    /// Sections of the octets, which only a reader has.
    octets: bool,
    /// Messages are marked as seen.
    seen: bool,
    modseq: bool,
}

#[derive(Debug)]
struct Entry {
    message: Message,
    card: Bytes,
    /// Its flags were changed by being read.
    marked: bool,
}

/// The message that is being told.
#[derive(Debug)]
struct Current {
    message: Message,
    card: Bytes,
    reader: Option<MessageReader>,
    prefix: u64,
    /// An item was said already.
    begun: bool,
    /// The item to be said next.
    item: usize,
    streaming: Option<Streaming>,
}

/// A section that is being said.
#[derive(Debug)]
struct Streaming {
    at: u64,
    end: u64,
    decoding: Option<Decoding>,
}

/// Decoded octets: how many are passed over, and how many are then said.
#[derive(Debug)]
struct Decoding {
    decoder: Decoder,
    skip: u64,
    left: u64,
}

impl Fetching {
    /// Whether a response has been begun and not ended: nothing but the rest of it can follow.
    pub(super) fn is_within(&self) -> bool {
        self.current.is_some()
    }

    /// Whether numbers may change when it ends.
    pub(super) fn expunges(&self) -> bool {
        self.uid
    }
}

/// The fields an item asks for, if cards have them.
fn field_set(item: &FetchItem) -> Option<FieldSet> {
    match item {
        FetchItem::Section(section) => section::field_set(section),
        _ => None,
    }
}

fn is_octets(item: &FetchItem) -> bool {
    matches!(item, FetchItem::Section(_) | FetchItem::BinarySize(_))
}

impl Imap {
    pub(super) async fn begin_fetch(&mut self, session: &mut Server, fetch: Fetch) -> Refused<Fetching> {
        let mut picked = self.pick(&fetch.target)?;
        let selected = self.selected()?;
        if let Some(since) = fetch.changed_since {
            if fetch.vanished {
                let known =
                    Known { modseq: since, uids: fetched_uids(&fetch, selected), matches: Vec::new() };
                let uids = selected.vanished(&known).await.map_err(|e| refused(&e))?;
                session.say(&Response::Vanished { earlier: true, uids });
            }
            picked = selected.pick_changed(&picked, since);
        }
        if let Some(partial) = fetch.partial {
            picked = picked.part(partial.first.get(), partial.last.get(), partial.from_end);
        }
        let unseen = |item: &FetchItem| matches!(item, FetchItem::Section(section) if !section.peek);
        let carded = |item: &FetchItem| {
            is_octets(item)
                || matches!(
                    item,
                    FetchItem::Envelope
                        | FetchItem::Body
                        | FetchItem::BodyStructure
                        | FetchItem::Preview { .. }
                )
        };
        let whole = |item: &FetchItem| matches!(item, FetchItem::Section(section) if is_whole(section));
        let needs = Needs {
            card: fetch.items.iter().any(|item| carded(item) && !whole(item)),
            octets: fetch.items.iter().any(is_octets),
            seen: fetch.items.iter().any(unseen) && selected.is_writable(),
            modseq: session.condstore() && fetch.items.contains(&FetchItem::Flags)
                || fetch.changed_since.is_some(),
        };
        Ok(Fetching {
            sets: fetch.items.iter().map(field_set).collect(),
            fields: Vec::new(),
            places: Vec::new(),
            items: fetch.items,
            uid: fetch.target.uid,
            needs,
            cursor: picked.cursor(),
            page: VecDeque::new(),
            current: None,
            trouble: None,
        })
    }

    /// Says as much as the client takes. `None`: there is more.
    pub(super) async fn go_on_fetching(
        &mut self,
        session: &mut Server,
        fetching: &mut Fetching,
    ) -> Refused<Option<Completion>> {
        let Some(selected) = self.selected.as_deref_mut() else { return Err(convert::unavailable()) };
        loop {
            if session.backlog() > BACKLOG_HIGH {
                return Ok(None);
            }
            if fetching.current.is_some() {
                fetching.go_on(session, selected).await?;
                continue;
            }
            let Some(entry) = fetching.page.pop_front() else {
                if fetching.cursor.is_done() {
                    return Ok(Some(fetching.trouble.take().unwrap_or_else(|| Completion::ok("Fetched"))));
                }
                fetching.next_page(session, selected).await?;
                continue;
            };
            fetching.begin(session, selected, entry).await?;
        }
    }
}

fn fetched_uids(fetch: &Fetch, selected: &Selected) -> Vec<(u32, u32)> {
    match &fetch.target.messages {
        Messages::Set(set) => set.resolve(selected.uid_next().saturating_sub(1).max(1)),
        Messages::Saved => Vec::new(),
    }
}

fn is_whole(section: &Section) -> bool {
    section.path.is_empty() && matches!(section.text, SectionText::Whole)
}

impl Fetching {
    async fn next_page(&mut self, session: &mut Server, selected: &mut Selected) -> Refused {
        let mut entries: VecDeque<Entry> = if self.needs.card {
            let asked = self.cursor.clone();
            let cards = selected.cards(&mut self.cursor, CARDS, false).await.map_err(|e| refused(&e))?;
            if cards.len() as u64 + self.cursor.left() < asked.left() {
                self.trouble = Some(expunged());
            }
            let entry = |carded: Carded| Entry { message: carded.message, card: carded.card, marked: false };
            cards.into_iter().map(entry).collect()
        } else {
            let rows = selected.rows(&mut self.cursor, ROWS);
            rows.into_iter().map(|message| Entry { message, card: Bytes::new(), marked: false }).collect()
        };
        if self.needs.seen {
            mark_seen(selected, &mut entries).await?;
        }
        let flags = entries.iter().fold(0, |flags, entry| flags | entry.message.flags().0);
        if selected.know_keywords(Flags(flags)).await.map_err(|e| refused(&e))? {
            say_flags(session, selected);
        }
        self.page = entries;
        Ok(())
    }

    /// Says what needs no octets of the message, and, if that is all, ends the response.
    async fn begin(&mut self, session: &mut Server, selected: &Selected, entry: Entry) -> Refused {
        let Entry { message, card, marked } = entry;
        let mut reader = None;
        if message.gone && self.needs.octets {
            // RFC 9051 section 7.1, EXPUNGEISSUED; RFC 2180 section 4.1.2.
            self.trouble = Some(expunged());
            return Ok(());
        }
        let read = Card::parse(&card);
        self.take_fields(read.as_ref());
        let octets =
            self.items.iter().zip(&self.places).any(|(item, place)| is_octets(item) && place.is_none());
        if octets {
            match selected.open_message(&message).await {
                Ok(opened) => reader = Some(opened),
                Err(Refusal::Expunged) => {
                    self.trouble = Some(expunged());
                    return Ok(());
                }
                Err(error) => return Err(refused(&error)),
            }
        }
        let names = selected.keywords();
        let mut keywords = Vec::new();
        convert::keywords(message.flags(), &names, &mut keywords);
        let flags =
            FlagsOf { system: convert::system(message.flags()), recent: message.recent, keywords: &keywords };
        let mut fetch = session.fetch(message.number);
        let mut told_flags = false;
        for (item, place) in self.items.iter().zip(&self.places) {
            match item {
                FetchItem::Uid => _ = fetch.uid(message.uid),
                FetchItem::Flags => {
                    told_flags = true;
                    fetch.flags(flags);
                }
                FetchItem::InternalDate => _ = fetch.internal_date(message.received_at()),
                FetchItem::Size => _ = fetch.size(u64::from(message.size())),
                FetchItem::ModSeq => _ = fetch.mod_seq(message.modseq()),
                FetchItem::EmailId => {
                    if let Some(body) = message.body() {
                        fetch.email_id(&format!("M{body:x}"));
                    }
                }
                FetchItem::ThreadId => _ = fetch.thread_id(None),
                FetchItem::SaveDate => _ = fetch.save_date(Some(message.saved_at() * 1_000_000)),
                FetchItem::Envelope => {
                    if let Some(envelope) = read.as_ref().and_then(Card::envelope) {
                        fetch.envelope(&envelope);
                    }
                }
                FetchItem::Body => {
                    if let Some(root) = read.as_ref().and_then(Card::structure) {
                        fetch.body(&root);
                    }
                }
                FetchItem::BodyStructure => {
                    if let Some(root) = read.as_ref().and_then(Card::structure) {
                        fetch.body_structure(&root);
                    }
                }
                FetchItem::Preview { .. } => {
                    let preview = read.as_ref().map(Card::preview);
                    fetch.preview(preview.as_deref());
                }
                // What needs octets follows, all of it, as the octets are read.
                FetchItem::Section(section) if !octets => {
                    let fields = place.clone().and_then(|place| self.fields.get(place));
                    fetch.section(section, part(section, fields.unwrap_or_default()));
                }
                FetchItem::Section(_) | FetchItem::BinarySize(_) => {}
            }
        }
        if marked && !told_flags {
            fetch.flags(flags);
        }
        if self.needs.modseq && !self.items.contains(&FetchItem::ModSeq) {
            fetch.mod_seq(message.modseq());
        }
        if !octets {
            fetch.finish();
            return Ok(());
        }
        let begun = fetch.is_begun();
        let prefix = reader.as_ref().map_or(0, |reader| reader.prefix().len() as u64);
        self.current = Some(Current { message, card, reader, prefix, begun, item: 0, streaming: None });
        Ok(())
    }

    /// Takes from a card the header fields it has of those that items ask for.
    fn take_fields(&mut self, card: Option<&Card<'_>>) {
        self.fields.clear();
        self.places.clear();
        for set in &self.sets {
            let begin = self.fields.len();
            let found = match (card, set) {
                (Some(card), Some(set)) => card.header_fields(*set, &mut self.fields),
                _ => false,
            };
            self.places.push(found.then_some(begin..self.fields.len()));
        }
    }

    /// Goes on saying sections of the current message.
    async fn go_on(&mut self, session: &mut Server, selected: &Selected) -> Refused {
        let Some(current) = &mut self.current else { return Ok(()) };
        if current.streaming.is_some() {
            return current.stream(session).await;
        }
        while let Some(item) = self.items.get(current.item) {
            current.item += 1;
            match item {
                FetchItem::Section(section) => {
                    if let Some(trouble) = current.say(session, selected, section).await? {
                        self.trouble = Some(trouble);
                    }
                    return Ok(());
                }
                FetchItem::BinarySize(path) => {
                    if let Some(trouble) = current.say_size(session, path).await? {
                        self.trouble = Some(trouble);
                    }
                    return Ok(());
                }
                _ => {}
            }
        }
        self.current = None;
        session.fetch_resume(true).finish();
        Ok(())
    }
}

impl Current {
    /// What says the next item.
    fn writer<'a>(&mut self, session: &'a mut Server) -> FetchWriter<'a> {
        session.fetch_resume(std::mem::replace(&mut self.begun, true))
    }

    async fn say(
        &mut self,
        session: &mut Server,
        selected: &Selected,
        section: &Section,
    ) -> Refused<Option<Completion>> {
        let card = Card::parse(&self.card);
        if let Some(fields) = card.as_ref().and_then(|card| section::from_card(card, section)) {
            say_here(self.writer(session), section, &fields);
            return Ok(None);
        }
        if self.reader.is_none() {
            self.reader = selected.open_message(&self.message).await.ok();
            self.prefix = self.reader.as_ref().map_or(0, |reader| reader.prefix().len() as u64);
        }
        let found = match (&self.reader, card) {
            (Some(reader), _) if is_whole(section) => Found::Range(0, reader.len()),
            (reader, Some(card)) => {
                let source = Source { reader: reader.as_ref(), card, prefix: self.prefix };
                section::find(&source, section).await.map_err(|error| unreadable(&error))?
            }
            _ => Found::Nil,
        };
        match found {
            Found::Nil => _ = self.writer(session).section_nil(section),
            Found::Unknown => {
                self.writer(session).section_nil(section);
                let text = "The part has an encoding that is not known here";
                return Ok(Some(Completion::no(Code::UnknownCte, text)));
            }
            Found::Here(octets) => say_here(self.writer(session), section, &octets),
            Found::Range(start, len) => {
                let (skip, len) = cut(section, len);
                let start = start.saturating_add(skip);
                self.streaming = Some(Streaming { at: start, end: start + len, decoding: None });
                self.begin_section(session, section, len).await?;
            }
            Found::Decoded { start, end, encoding, octets } => {
                let (skip, len) = cut(section, octets);
                let decoding = Some(Decoding { decoder: Decoder::new(encoding), skip, left: len });
                self.streaming = Some(Streaming { at: start, end, decoding });
                self.begin_section(session, section, len).await?;
            }
        }
        Ok(None)
    }

    async fn begin_section(&mut self, session: &mut Server, section: &Section, len: u64) -> Refused {
        if len <= SMALL
            && let (Some(streaming), Some(reader)) = (&self.streaming, &self.reader)
            && streaming.decoding.is_none()
        {
            let (at, end) = (streaming.at, streaming.end);
            // Mostly all of it comes at once.
            let mut octets = match len {
                0 => Bytes::new(),
                _ => section::read(reader, at, end).await.map_err(|error| unreadable(&error))?,
            };
            if (octets.len() as u64) < len {
                let mut all = Vec::from(octets);
                while (all.len() as u64) < len {
                    let from = at + all.len() as u64;
                    let piece = section::read(reader, from, end).await.map_err(|error| unreadable(&error))?;
                    all.extend_from_slice(&piece);
                }
                octets = all.into();
            }
            self.streaming = None;
            self.writer(session).section(section, &octets);
            return Ok(());
        }
        self.writer(session).begin_section(section, len);
        Ok(())
    }

    /// Says the next piece of the section.
    async fn stream(&mut self, session: &mut Server) -> Refused {
        let (Some(streaming), Some(reader)) = (&mut self.streaming, &self.reader) else { return Ok(()) };
        let ended = streaming.at >= streaming.end;
        let piece = match ended {
            true => Bytes::new(),
            false => section::read(reader, streaming.at, streaming.end)
                .await
                .map_err(|error| unreadable(&error))?,
        };
        streaming.at += piece.len() as u64;
        match &mut streaming.decoding {
            None => _ = session.fetch_resume(true).literal(&piece),
            Some(decoding) => {
                let mut out = Vec::new();
                if ended {
                    decoding.decoder.finish(&mut out);
                } else {
                    decoding.decoder.push(&piece, &mut out);
                }
                let skip = usize::try_from(decoding.skip).unwrap_or(usize::MAX).min(out.len());
                decoding.skip -= skip as u64;
                let rest = out.get(skip..).unwrap_or_default();
                let take = usize::try_from(decoding.left).unwrap_or(usize::MAX).min(rest.len());
                decoding.left -= take as u64;
                session.fetch_resume(true).literal(rest.get(..take).unwrap_or_default());
                if !ended && decoding.left > 0 {
                    return Ok(());
                }
                self.streaming = None;
                return Ok(());
            }
        }
        if streaming.at >= streaming.end {
            self.streaming = None;
        }
        Ok(())
    }

    async fn say_size(&mut self, session: &mut Server, path: &[u32]) -> Refused<Option<Completion>> {
        let (Some(reader), Some(card)) = (&self.reader, Card::parse(&self.card)) else { return Ok(None) };
        let Some(root) = card.structure() else { return Ok(None) };
        let source = Source { reader: Some(reader), card, prefix: self.prefix };
        let found =
            section::decoded(reader, &source, &root, path).await.map_err(|error| unreadable(&error))?;
        let octets = match found {
            Found::Range(_, octets) | Found::Decoded { octets, .. } => octets,
            Found::Unknown => {
                let text = "The part has an encoding that is not known here";
                return Ok(Some(Completion::no(Code::UnknownCte, text)));
            }
            Found::Nil | Found::Here(_) => 0,
        };
        self.writer(session).binary_size(path, octets);
        Ok(None)
    }
}

/// Which octets of so many are wanted.
fn cut(section: &Section, octets: u64) -> (u64, u64) {
    match section.partial {
        Some((first, count)) => {
            let skip = first.min(octets);
            (skip, count.min(octets - skip))
        }
        None => (0, octets),
    }
}

/// Those that are wanted.
fn part<'a>(section: &Section, octets: &'a [u8]) -> &'a [u8] {
    let (skip, len) = cut(section, octets.len() as u64);
    octets.get(skip as usize..(skip + len) as usize).unwrap_or_default()
}

fn say_here(mut fetch: FetchWriter<'_>, section: &Section, octets: &[u8]) {
    fetch.section(section, part(section, octets));
}

/// Marks the messages of a page as seen.
async fn mark_seen(selected: &mut Selected, entries: &mut VecDeque<Entry>) -> Refused {
    let unseen = |entry: &&Entry| !entry.message.gone && !entry.message.flags().contains(Flags::SEEN);
    let uids: Vec<_> = entries
        .iter()
        .filter(unseen)
        .map(|entry| (Some(entry.message.uid), Some(entry.message.uid)))
        .collect();
    if uids.is_empty() {
        return Ok(());
    }
    let picked = selected.pick_uids(&uids);
    let edit = FlagEdit {
        change: Change::Add,
        system: Flags::SEEN,
        keywords: Vec::new(),
        unchanged_since: None,
        silent: false,
    };
    selected.store_flags(&picked, &edit).await.map_err(|e| refused(&e))?;
    for entry in entries.iter_mut().filter(|entry| unseen(&&**entry)) {
        if let Some(message) = selected.message_of(entry.message.uid) {
            entry.message = message;
            entry.marked = true;
        }
    }
    Ok(())
}

fn expunged() -> Completion {
    Completion::no(Code::ExpungeIssued, "Some of the messages are not there any more")
}

fn unreadable(error: &packetboat_store::ReadError) -> Completion {
    tracing::error!(%error, "a message could not be read");
    Completion::no(Code::ServerBug, "A message cannot be read")
}
