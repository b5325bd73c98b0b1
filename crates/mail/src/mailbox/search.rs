//! Searching an open mailbox: what rows decide first, then the filter, then cards, and at last the messages themselves.
//!
//! The outcome does not depend on the filter. A message it has never seen is read, and remembered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use packetboat_message::card::Card;
use packetboat_message::text::find::Finder;
use packetboat_message::text::search::{self, Reader, Scope};
use packetboat_store::{AccountId, Candidates, Grams, MessageReader, Signature, Store, Uid, grams};
use tokio::task::JoinHandle;

use super::fetch::card_of;
use super::numbering::{Numbering, Ranges, push};
use super::picked::{Cursor, Picked};
use super::query::{Leaf, Plan, Verdict, has_field};
use super::table::Table;
use super::{Query, Refusal, Selected};

/// Cards read at a time: so few that the store reads them where it is asked, into memory that is warm.
const PAGE: usize = 256;
/// Octets of a message read at a time.
const PIECE: u64 = 128 << 10;
/// How long a search works before others have their turn.
const TURN: Duration = Duration::from_millis(2);
/// Signatures handed over to the filter at a time.
const SIGNATURES: usize = 256;
/// Octets of text that another thread makes signatures of at a time.
const BATCH: usize = 256 << 10;
/// A longer text is not held for that.
const TEXT_MAX: usize = 1 << 20;
/// So many other threads do it.
const BATCHES: usize = 4;

/// A search on its way. Dropped before it is done, it is cancelled.
#[derive(Debug)]
pub struct Search {
    plan: Plan,
    candidates: Vec<Option<Candidates>>,
    table: Table,
    numbering: Arc<Numbering>,
    recent: Ranges,
    /// Decided by rows.
    found: Vec<u32>,
    /// Not decided yet.
    open: Option<Cursor>,
    total: u64,
    /// What the filter does not know yet of those.
    unknown: HashSet<u128>,
    texts: Texts,
    batches: VecDeque<JoinHandle<Vec<(u128, Signature)>>>,
    signatures: Vec<(u128, Signature)>,
    scratch: Scratch,
}

/// Folded texts of bodies, one after the other.
#[derive(Debug, Default)]
struct Texts {
    octets: Vec<u8>,
    /// Bodies, and where their texts end.
    ends: Vec<(u128, usize)>,
}

impl Texts {
    fn signatures(self) -> Vec<(u128, Signature)> {
        let mut grams = Grams::default();
        let mut start = 0;
        let signature = |(body, end): (u128, usize)| {
            grams.text(self.octets.get(start..end).unwrap_or_default());
            start = end;
            (body, grams.finish())
        };
        self.ends.into_iter().map(signature).collect()
    }
}

#[derive(Default)]
struct Scratch {
    header: Vec<u8>,
    value: Vec<u8>,
    text: Vec<u8>,
    /// Made when it is used: it takes some room.
    grams: Option<Grams>,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scratch")
    }
}

impl Selected {
    /// Begins a search over all messages; `now` is in microseconds since 1970.
    pub async fn search(&self, query: &Query, now: i64) -> Result<Search, Refusal> {
        // What was acknowledged before is found, whoever made it.
        self.view.refresh(self.store()).await?;
        let keywords = self.view.state().keywords.clone();
        let plan = Plan::new(query, &keywords, now)?;
        let mut candidates = Vec::with_capacity(plan.leaves.len());
        // A text sought twice is asked for once.
        let mut asked: HashMap<Vec<u8>, Candidates> = HashMap::new();
        for leaf in &plan.leaves {
            candidates.push(match leaf.text() {
                Some(text) => match asked.get(text) {
                    Some(known) => Some(known.clone()),
                    None => {
                        let wanted: Vec<u32> = grams(text).collect();
                        let found = self.store().filter_query(self.owner(), &wanted).await;
                        asked.insert(text.to_vec(), found.clone());
                        Some(found)
                    }
                },
                None => None,
            });
        }
        let table = self.view.state().table.clone();
        let mut search = Search {
            plan,
            candidates,
            table,
            numbering: self.numbering.clone(),
            recent: self.recent_uids(),
            found: Vec::new(),
            open: None,
            total: 0,
            unknown: HashSet::new(),
            texts: Texts::default(),
            batches: VecDeque::new(),
            signatures: Vec::new(),
            scratch: Scratch::default(),
        };
        search.by_rows();
        search.ask_filter(self.store(), self.owner()).await;
        Ok(search)
    }

    /// The highest modification sequence among messages (RFC 7162 section 3.1.5).
    pub fn highest_modseq_of(&self, of: &Picked) -> Option<u64> {
        let state = self.view.state();
        of.each_uid().filter_map(|uid| state.known(uid)).map(|(row, _)| row.modseq).max()
    }
}

impl Search {
    /// What rows and the filter decide.
    fn by_rows(&mut self) {
        let mut open = Ranges::new();
        let (plan, candidates, recent) = (&self.plan, &self.candidates, &self.recent);
        for (uids, chunk) in self.table.chunks() {
            for (&uid, row) in uids.iter().zip(&chunk.rows) {
                let verdict = plan.verdict(&mut |index, leaf: &Leaf| {
                    leaf.by_row(uid, row, recent).or_else(|| {
                        let candidates = candidates.get(index)?.as_ref()?;
                        (!candidates.may_contain(row.body()?)).then_some(false)
                    })
                });
                match verdict {
                    Verdict::Decided(true) => self.found.push(uid),
                    Verdict::Decided(false) => {}
                    Verdict::Ask(_) => push(&mut open, uid),
                }
            }
        }
        let set: Vec<_> = open.iter().map(|&(first, last)| (Some(first), Some(last))).collect();
        let open = Picked::by_uids(&self.table.numbering, &set);
        self.total = u64::from(open.len());
        self.open = (!open.is_empty()).then(|| open.cursor());
    }

    /// Finds out which of the messages that will be read the filter should be told of.
    async fn ask_filter(&mut self, store: &Store, account: AccountId) {
        let Some(open) = &self.open else { return };
        if !self.plan.leaves.iter().any(|leaf| matches!(leaf, Leaf::Text { .. })) {
            return;
        }
        let uids = open.picked().each_uid();
        let bodies: Vec<u128> = uids.filter_map(|uid| self.table.row(uid)?.body()).collect();
        self.unknown = store.filter_unknown(account, &bodies).await.into_iter().collect();
    }

    /// Whether all is decided.
    pub fn is_done(&self) -> bool {
        self.open.is_none()
    }

    /// How many of the messages that had to be looked into have been, and how many there are: INPROGRESS (RFC 9585).
    pub fn progress(&self) -> (u64, u64) {
        (self.total - self.open.as_ref().map_or(0, Cursor::left), self.total)
    }

    /// Goes on for about so long, letting others have their turn in between. Returns whether it is done.
    pub async fn work(&mut self, selected: &Selected, budget: Duration) -> Result<bool, Refusal> {
        let began = Instant::now();
        let mut turn = began;
        while let Some(cursor) = &mut self.open {
            let wanted = cursor.peek(PAGE);
            let uids: Vec<Uid> = wanted.iter().map(|(_, uid)| Uid(*uid)).collect();
            let page = selected.store().cards_of(selected.mailbox(), &uids, false).await?;
            let mut last = if page.is_empty() { wanted.last().map(|(number, _)| *number) } else { None };
            let mut out_of_time = false;
            for carded in &page {
                if self.is_hit(selected, carded).await? {
                    self.found.push(carded.row.uid.0);
                }
                if self.texts.octets.len() >= BATCH {
                    self.hand_over();
                    self.gather(BATCHES).await;
                }
                last = self.table.numbering.number(carded.row.uid.0).or(last);
                let now = Instant::now();
                if now - began >= budget {
                    out_of_time = true;
                    break;
                }
                if now - turn >= TURN {
                    tokio::task::yield_now().await;
                    turn = Instant::now();
                }
            }
            match (&mut self.open, last) {
                (Some(cursor), Some(last)) => cursor.advance(last),
                _ => self.open = None,
            }
            self.remember(selected, SIGNATURES).await;
            if self.open.as_ref().is_some_and(Cursor::is_done) {
                self.open = None;
            }
            if out_of_time {
                break;
            }
        }
        if self.is_done() {
            self.hand_over();
            self.gather(0).await;
            self.remember(selected, 1).await;
        }
        Ok(self.is_done())
    }

    /// Works until all is decided.
    pub async fn finish(mut self, selected: &Selected) -> Result<Picked, Refusal> {
        while !self.work(selected, Duration::from_secs(1)).await? {}
        Ok(self.found())
    }

    /// What was found so far, as the session numbers it.
    pub fn found(mut self) -> Picked {
        self.found.sort_unstable();
        Picked::of_uids(&self.numbering, &self.found)
    }

    /// Has signatures made of the texts so far.
    fn hand_over(&mut self) {
        let texts = std::mem::take(&mut self.texts);
        if !texts.ends.is_empty() {
            self.batches.push_back(tokio::task::spawn_blocking(move || texts.signatures()));
        }
    }

    /// Waits until no more than so many batches are on their way.
    async fn gather(&mut self, at_most: usize) {
        while self.batches.len() > at_most
            && let Some(batch) = self.batches.front_mut()
        {
            // What is lost is unknown still.
            let made = batch.await.unwrap_or_default();
            self.batches.pop_front();
            self.signatures.extend(made);
        }
    }

    async fn remember(&mut self, selected: &Selected, at_least: usize) {
        if self.signatures.len() >= at_least {
            let signatures = std::mem::take(&mut self.signatures);
            selected.store().filter_add(selected.owner(), signatures).await;
        }
    }

    /// Whether the query is true of a message whose row did not decide it.
    async fn is_hit(
        &mut self,
        selected: &Selected,
        carded: &packetboat_store::Carded,
    ) -> Result<bool, Refusal> {
        let uid = carded.row.uid.0;
        let Some(row) = self.table.row(uid).copied() else { return Ok(false) };
        let mut known: Vec<Option<bool>> = vec![None; self.plan.leaves.len()];
        let mut made = None;
        let mut reader: Option<MessageReader> = None;
        loop {
            let bytes = made.as_ref().unwrap_or(&carded.card);
            let card = Card::parse(bytes);
            let Scratch { header, value, .. } = &mut self.scratch;
            let (recent, candidates) = (&self.recent, &self.candidates);
            let verdict = self.plan.verdict(&mut |index, leaf: &Leaf| {
                known
                    .get(index)
                    .copied()
                    .flatten()
                    .or_else(|| leaf.by_row(uid, &row, recent))
                    .or_else(|| {
                        let candidates = candidates.get(index)?.as_ref()?;
                        (!candidates.may_contain(row.body()?)).then_some(false)
                    })
                    .or_else(|| leaf.by_card(card.as_ref()?, header, value))
            });
            let index = match verdict {
                Verdict::Decided(outcome) => return Ok(outcome),
                Verdict::Ask(index) => index,
            };
            let opened = match reader.take() {
                Some(opened) => opened,
                None => match selected.store().open_message(&carded.row).await {
                    Ok(opened) => opened,
                    // It went while it was looked for.
                    Err(packetboat_store::ReadError::Gone) => return Ok(false),
                    Err(error) => return Err(error.into()),
                },
            };
            if card.is_none() && made.is_none() {
                made = Some(card_of(&opened).await?);
                reader = Some(opened);
                continue;
            }
            let outcome = match (self.plan.leaves.get(index), &card) {
                (Some(Leaf::Header { name, folded, .. }), Some(card)) => {
                    read_header(&opened, card, &mut self.scratch.header).await?;
                    has_field(&self.scratch.header, name, folded, &mut self.scratch.value)
                }
                (Some(Leaf::Text { scope, text, .. }), Some(card)) => {
                    // If all of the text is read anyhow, the filter may as well know.
                    let new = row.body().filter(|body| self.unknown.remove(body));
                    let mut finder = Finder::new([text]);
                    let work = &mut self.scratch;
                    if let Some(body) = new {
                        let texts = &mut self.texts;
                        let start = texts.octets.len();
                        let mut held = true;
                        read_text(&opened, card, Scope::Text, &mut work.text, |text| {
                            held &= texts.octets.len() - start + text.len() <= TEXT_MAX;
                            if held {
                                texts.octets.extend_from_slice(text);
                            }
                            if *scope == Scope::Text {
                                finder.push(text);
                            }
                            false
                        })
                        .await?;
                        if held {
                            texts.ends.push((body, texts.octets.len()));
                        } else {
                            texts.octets.truncate(start);
                            self.signatures.push((body, collect(&opened, card, work).await?));
                        }
                    }
                    if new.is_none() || *scope != Scope::Text {
                        read_text(&opened, card, *scope, &mut work.text, |text| finder.push(text)).await?;
                    }
                    finder.is_done()
                }
                _ => false,
            };
            reader = Some(opened);
            if let Some(slot) = known.get_mut(index) {
                *slot = Some(outcome);
            }
        }
    }
}

/// The header of a message, its prefix before it.
async fn read_header(reader: &MessageReader, card: &Card<'_>, header: &mut Vec<u8>) -> Result<(), Refusal> {
    header.clear();
    let prefix = reader.prefix();
    header.extend_from_slice(&prefix);
    let range = card.structure().map(|root| root.header).unwrap_or(0..0);
    let mut at = range.start;
    while at < range.end {
        let wanted = (range.end - at).min(PIECE) as usize;
        let piece = reader.read(prefix.len() as u64 + at, wanted).await?;
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        header.extend_from_slice(&piece);
    }
    Ok(())
}

/// Collects the grams of everything that can be found in a message.
async fn collect(
    reader: &MessageReader,
    card: &Card<'_>,
    scratch: &mut Scratch,
) -> Result<Signature, Refusal> {
    let grams = scratch.grams.get_or_insert_default();
    // What lies across two pieces: two octets of each.
    let mut across = [0u8; 4];
    let mut kept = 0;
    let read = read_text(reader, card, Scope::Text, &mut scratch.text, |piece| {
        let head = piece.get(..2).unwrap_or(piece);
        let all = kept + head.len();
        if let Some(room) = across.get_mut(kept..all) {
            room.copy_from_slice(head);
        }
        grams.text(across.get(..all).unwrap_or_default());
        grams.text(piece);
        if let [.., one, two] = piece {
            (across[0], across[1], kept) = (*one, *two, 2);
        } else {
            let from = all.saturating_sub(2);
            across.copy_within(from..all, 0);
            kept = all - from;
        }
        false
    })
    .await;
    // What was collected must not go to the next message.
    let signature = grams.finish();
    read.map(|()| signature)
}

/// Hands the folded text of a message to `take`, until that has enough.
async fn read_text(
    reader: &MessageReader,
    card: &Card<'_>,
    scope: Scope,
    out: &mut Vec<u8>,
    mut take: impl FnMut(&[u8]) -> bool,
) -> Result<(), Refusal> {
    let prefix = reader.prefix();
    out.clear();
    if scope != Scope::Body {
        search::header(&prefix, out);
        if take(out) {
            return Ok(());
        }
    }
    let Some(root) = card.structure() else { return Ok(()) };
    let mut text = Reader::new(&root, scope);
    // A small message is read once and not for each of its parts.
    let whole = match reader.len() <= PIECE {
        true => Some(reader.read(prefix.len() as u64, PIECE as usize).await?),
        false => None,
    };
    while let Some(wanted) = text.wants() {
        out.clear();
        let to = wanted.end.min(wanted.start.saturating_add(PIECE));
        let piece = match &whole {
            Some(whole) => {
                let end = usize::try_from(to).unwrap_or(usize::MAX).min(whole.len());
                let start = usize::try_from(wanted.start).unwrap_or(usize::MAX).min(end);
                whole.slice(start..end)
            }
            None => reader.read(prefix.len() as u64 + wanted.start, (to - wanted.start) as usize).await?,
        };
        if piece.is_empty() {
            text.skip(out);
        } else {
            text.push(&piece, out);
        }
        if take(out) {
            return Ok(());
        }
    }
    Ok(())
}

/// Finds out what the filter should remember of messages.
#[derive(Debug, Default)]
pub(super) struct Indexer(Scratch);

impl Indexer {
    pub(super) async fn signature(
        &mut self,
        reader: &MessageReader,
        card: &Card<'_>,
    ) -> Result<Signature, Refusal> {
        collect(reader, card, &mut self.0).await
    }
}
