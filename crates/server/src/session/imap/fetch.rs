//! FETCH, as fast as the client takes it.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use packetboat_imap::command::{Fetch, FetchItem};
use packetboat_imap::response::{Code, Completion, FlagsOf, Response};
use packetboat_imap::server::Server;
use packetboat_imap::value::Messages;
use packetboat_mail::mailbox::{Carded, Cursor, Known, Message, Refusal, Selected};
use packetboat_message::card::{Card, FieldSet};
use packetboat_store::{Flags, Located};

use super::convert::{self, refused};
use super::news::say_flags;
use super::section;
use super::telling::{Current, is_whole, part};
use super::{BACKLOG_HIGH, Imap, Refused};

/// Messages looked up at a time where their rows are enough.
const ROWS: usize = 512;
/// The same where their cards are needed.
const CARDS: usize = 128;
/// The same where their octets are read.
const BODIES: usize = 64;

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
    /// Sections that no card has.
    body: bool,
    /// Messages are marked as seen.
    seen: bool,
    modseq: bool,
}

#[derive(Debug)]
struct Entry {
    message: Message,
    card: Bytes,
    /// Where its octets are, if they are needed.
    located: Option<Located>,
    /// Its flags were changed by being read.
    marked: bool,
}

impl Entry {
    fn new(message: Message, card: Bytes) -> Entry {
        Entry { message, card, located: None, marked: false }
    }
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
                        | FetchItem::ThreadId
                )
        };
        let whole = |item: &FetchItem| matches!(item, FetchItem::Section(section) if is_whole(section));
        let needs = Needs {
            card: fetch.items.iter().any(|item| carded(item) && !whole(item)),
            octets: fetch.items.iter().any(is_octets),
            body: fetch.items.iter().any(|item| is_octets(item) && field_set(item).is_none()),
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

impl Fetching {
    async fn next_page(&mut self, session: &mut Server, selected: &mut Selected) -> Refused {
        let max = match self.needs {
            Needs { body: true, .. } => BODIES,
            Needs { card: true, .. } => CARDS,
            _ => ROWS,
        };
        let mut entries: VecDeque<Entry> = if self.needs.card {
            let asked = self.cursor.clone();
            let cards = selected.cards(&mut self.cursor, max).await.map_err(|e| refused(&e))?;
            if cards.len() as u64 + self.cursor.left() < asked.left() {
                self.trouble = Some(expunged());
            }
            cards.into_iter().map(|Carded { message, card }| Entry::new(message, card)).collect()
        } else {
            let rows = selected.rows(&mut self.cursor, max);
            rows.into_iter().map(|message| Entry::new(message, Bytes::new())).collect()
        };
        if self.needs.body {
            let located = selected.locate(entries.iter().map(|entry| &entry.message));
            let located = located.map_err(|e| refused(&e))?;
            entries.iter_mut().zip(located).for_each(|(entry, located)| entry.located = located);
        }
        if self.needs.seen {
            let messages = entries.iter_mut().map(|entry| &mut entry.message).collect();
            let marked = selected.mark_seen(messages).await.map_err(|e| refused(&e))?;
            entries.iter_mut().zip(marked).for_each(|(entry, marked)| entry.marked = marked);
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
        let Entry { message, card, located, marked } = entry;
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
            let opened = match &located {
                Some(located) => selected.open_located(located),
                None => selected.open_message(&message).await,
            };
            match opened {
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
                FetchItem::ThreadId => {
                    let root = read.as_ref().and_then(|card| card.threading().root());
                    fetch.thread_id(root.map(|root| format!("T{root:016x}")).as_deref());
                }
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
        self.current = Some(Current::new(message, card, reader, begun));
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
        if current.is_streaming() {
            return current.stream(session).await;
        }
        while let Some(item) = self.items.get(current.item) {
            current.item += 1;
            match item {
                FetchItem::Section(section) => {
                    // What the card had of header fields was taken when the message's turn came.
                    let fields = self.places.get(current.item - 1).cloned().flatten();
                    if let Some(fields) = fields.and_then(|place| self.fields.get(place)) {
                        current.say_here(session, section, fields);
                    } else if let Some(trouble) = current.say(session, selected, section).await? {
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

fn expunged() -> Completion {
    Completion::no(Code::ExpungeIssued, "Some of the messages are not there any more")
}
