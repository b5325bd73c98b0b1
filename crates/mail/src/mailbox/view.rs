//! One view of a mailbox, shared by all sessions that have it open.
//!
//! It holds what most commands ask of messages, compactly, and follows the store by what changed. When the last session
//! closes it, it is kept for a while, as long as all that are kept so are few and small.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use packetboat_store::{AccountId, MailboxId, MailboxRow, MessageRow, ModSeq, ReadError, Store, Uid};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::Refusal;
use super::facts::Facts;
use super::numbering::{Ranges, count};
use super::table::{Row, Table};

/// Rows read at a time when a mailbox is opened.
const PAGE: usize = 20_000;
/// Messages in views that are kept though nobody has them open.
const KEPT_MESSAGES: u64 = 250_000;
/// How many such views there are.
const KEPT_VIEWS: usize = 512;
/// Rows of messages that are gone, kept for sessions that were not told yet.
const GRAVES: usize = 10_000;
/// Mailboxes of which it is remembered whom their messages were recent to; beyond it the memory starts anew.
const WATERMARKS: usize = 65_536;

/// Keywords of a mailbox by their bits.
pub(crate) type Keywords = Arc<[(u8, String)]>;

/// All views.
#[derive(Debug)]
pub(crate) struct Views {
    open: Mutex<Open>,
    /// Seconds since 1970 when this process began: messages saved earlier are not recent.
    began: u32,
}

#[derive(Debug, Default)]
struct Open {
    views: HashMap<MailboxId, Held>,
    /// Those that nobody has open, the longest first.
    kept: VecDeque<MailboxId>,
    kept_messages: u64,
    /// The first UID that is recent, of mailboxes that are not open.
    watermarks: HashMap<MailboxId, u32>,
}

#[derive(Debug)]
struct Held {
    view: Arc<View>,
    sessions: u32,
    /// As counted when it was closed.
    messages: u64,
}

impl Default for Views {
    fn default() -> Views {
        let began = jiff::Timestamp::now().as_second();
        Views { open: Mutex::default(), began: u32::try_from(began).unwrap_or(0) }
    }
}

impl Views {
    /// The view of a mailbox. Each call is to be followed by one of [`Views::close`].
    pub(crate) fn open(&self, store: &Store, row: &MailboxRow) -> Arc<View> {
        let mut open = self.open.lock();
        let Open { views, kept, kept_messages, watermarks } = &mut *open;
        let held = views.entry(row.id).or_insert_with(|| Held {
            view: Arc::new(View::new(store, row, watermarks.remove(&row.id), self.began)),
            sessions: 0,
            messages: 0,
        });
        if held.sessions == 0
            && let Some(place) = kept.iter().position(|id| *id == row.id)
        {
            kept.remove(place);
            *kept_messages -= held.messages;
        }
        held.sessions += 1;
        held.view.clone()
    }

    /// What STATUS tells as recent begins here.
    pub(crate) fn watermark(&self, mailbox: MailboxId) -> Option<u32> {
        let open = self.open.lock();
        match open.views.get(&mailbox) {
            Some(held) => Some(held.view.state.lock().recent_from),
            None => open.watermarks.get(&mailbox).copied(),
        }
    }

    pub(crate) fn began(&self) -> u32 {
        self.began
    }

    /// A session closes it.
    pub(crate) fn close(&self, view: &View) {
        let mut open = self.open.lock();
        let Open { views, kept, kept_messages, watermarks } = &mut *open;
        let Some(held) = views.get_mut(&view.mailbox) else { return };
        held.sessions = held.sessions.saturating_sub(1);
        if held.sessions > 0 {
            return;
        }
        {
            let state = view.state.lock();
            held.messages = u64::from(state.table.len());
            if state.gone || !state.loaded {
                drop(state);
                views.remove(&view.mailbox);
                return;
            }
        }
        kept.push_back(view.mailbox);
        *kept_messages += held.messages;
        while kept.len() > KEPT_VIEWS || *kept_messages > KEPT_MESSAGES {
            let Some(held) = kept.pop_front().and_then(|oldest| views.remove(&oldest)) else { break };
            *kept_messages -= held.messages;
            if watermarks.len() >= WATERMARKS {
                watermarks.clear();
            }
            watermarks.insert(held.view.mailbox, held.view.state.lock().recent_from);
        }
    }
}

/// What is known of a mailbox that is open.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) mailbox: MailboxId,
    pub(crate) account: AccountId,
    state: Mutex<State>,
    /// One asks the store at a time; others wait for what it learns.
    refreshing: tokio::sync::Mutex<()>,
    news: watch::Receiver<ModSeq>,
    /// What was last learned of messages for SORT and THREAD.
    pub(super) facts: Mutex<Option<Arc<Facts>>>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    loaded: bool,
    /// The mailbox is not there any more.
    pub(crate) gone: bool,
    pub(crate) table: Table,
    pub(crate) keywords: Keywords,
    /// All changes of the mailbox up to here are in the table.
    pub(crate) upto: u64,
    /// The account's changes up to here have been looked at.
    looked: u64,
    /// Counts the changes of the numbering.
    pub(crate) generation: u64,
    /// How many sessions know the numbering of which generation.
    sessions: BTreeMap<u64, u32>,
    /// Rows that are gone, for sessions that have not been told, and the first generation that does not have them.
    graves: BTreeMap<u32, (u64, Row)>,
    /// The first UID that no session with the right to change anything has been told.
    pub(crate) recent_from: u32,
    /// Before the first load: seconds since 1970 from which on messages are recent.
    began: u32,
    /// How many messages the first load did not find packed as they are, until somebody asks.
    unpacked: Option<u64>,
}

impl View {
    fn new(store: &Store, row: &MailboxRow, watermark: Option<u32>, began: u32) -> View {
        let state = State { recent_from: watermark.unwrap_or(0), began, ..State::default() };
        View {
            mailbox: row.id,
            account: row.account,
            state: Mutex::new(state),
            refreshing: tokio::sync::Mutex::default(),
            news: store.watch(row.account),
            facts: Mutex::default(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// A receiver of its own for who waits.
    pub(crate) fn news(&self) -> watch::Receiver<ModSeq> {
        self.news.clone()
    }

    /// Whether the store may know more than the view.
    fn is_behind(&self) -> bool {
        let news = self.news.borrow().0;
        let state = self.state.lock();
        !state.gone && (!state.loaded || state.looked < news)
    }

    /// Takes in what changed. What was committed before the call is there afterwards.
    pub(crate) async fn refresh(&self, store: &Store) -> Result<(), Refusal> {
        if self.is_behind() {
            let _one = self.refreshing.lock().await;
            if self.is_behind() {
                self.catch_up(store).await?;
            }
        }
        if self.state.lock().gone { Err(Refusal::MailboxGone) } else { Ok(()) }
    }

    async fn catch_up(&self, store: &Store) -> Result<(), Refusal> {
        let looked = self.news.borrow().0;
        let (loaded, upto) = {
            let state = self.state.lock();
            (state.loaded, state.upto)
        };
        let upto = if loaded { upto } else { self.load(store).await? };
        let changes = match store.changes(self.mailbox, ModSeq(upto)).await {
            Ok(changes) => changes,
            Err(ReadError::Gone) => {
                self.state.lock().gone = true;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let gone: Ranges = if changes.complete {
            changes.vanished.iter().map(|(first, last)| (first.0, last.0)).collect()
        } else {
            self.compare(store).await?
        };
        let mut state = self.state.lock();
        if let Some(unpacked) = state.unpacked.as_mut().filter(|_| !loaded) {
            *unpacked += changes.changed.len() as u64 + count(&gone);
        }
        state.take(&changes.changed, &gone);
        if state.recent_from == 0 {
            state.recent_from = state.first_recent();
        }
        state.upto = state.upto.max(changes.upto.0);
        state.looked = state.looked.max(looked);
        if *state.keywords != *changes.keywords {
            state.keywords = changes.keywords.into();
        }
        Ok(())
    }

    /// Reads the whole mailbox; tells from where on changes have to be asked for.
    async fn load(&self, store: &Store) -> Result<u64, Refusal> {
        let Some(row) = store.mailbox(self.mailbox).await? else {
            self.state.lock().gone = true;
            return Ok(0);
        };
        let mut table = Table::default();
        let packed = store.packed(self.mailbox).await?;
        let (upto, unpacked) = match packed.filter(|packed| packed.each(|rows| table.put(rows))) {
            Some(packed) => (packed.upto().0, 0),
            None => {
                table = self.read(store).await?;
                (row.highest_modseq.0, u64::from(table.len()))
            }
        };
        let mut state = self.state.lock();
        state.unpacked = Some(unpacked);
        state.table = table;
        state.loaded = true;
        state.upto = upto;
        Ok(upto)
    }

    /// All messages, row by row.
    async fn read(&self, store: &Store) -> Result<Table, Refusal> {
        let mut table = Table::default();
        loop {
            let after = table.numbering.last().map(Uid);
            let rows = store.messages(self.mailbox, after, PAGE).await?;
            table.put(&rows);
            if rows.len() < PAGE {
                return Ok(table);
            }
        }
    }

    /// What is gone though the store cannot tell: what it does not list any more.
    async fn compare(&self, store: &Store) -> Result<Ranges, Refusal> {
        let mut uids: Vec<u32> = Vec::new();
        loop {
            let rows = store.messages(self.mailbox, uids.last().copied().map(Uid), PAGE).await?;
            uids.extend(rows.iter().map(|row| row.uid.0));
            if rows.len() < PAGE {
                break;
            }
        }
        Ok(self.state.lock().table.not_in(&uids))
    }
}

impl State {
    /// The first UID of a message that came since this process began, or of the next one.
    fn first_recent(&self) -> u32 {
        let rows = self.table.chunks().flat_map(|(uids, chunk)| uids.iter().zip(&chunk.rows));
        let first = rows.filter(|(_, row)| row.saved_at >= self.began).map(|(uid, _)| *uid).next();
        first.unwrap_or_else(|| self.table.numbering.last().unwrap_or(0).saturating_add(1))
    }

    /// How many messages the first load did not find packed as they are; told once.
    pub(crate) fn take_unpacked(&mut self) -> Option<u64> {
        self.unpacked.take()
    }

    fn take(&mut self, rows: &[MessageRow], gone: &[(u32, u32)]) {
        let before = self.table.numbering.clone();
        let (graves, generation) = (&mut self.graves, self.generation + 1);
        let watched = !self.sessions.is_empty();
        if !gone.is_empty() {
            self.table.remove(gone, |uid, row| {
                if watched && graves.len() < GRAVES {
                    graves.insert(uid, (generation, row));
                }
            });
        }
        self.table.put(rows);
        if !Arc::ptr_eq(&before, &self.table.numbering) {
            self.generation = generation;
        }
    }

    /// What of the account's changes has been looked at.
    pub(crate) fn looked(&self) -> u64 {
        self.looked
    }

    /// Takes in a change of flags whose outcome is known, without asking the store. Tells whether it did: only if it is
    /// the very next change of the account after `looked`.
    pub(crate) fn take_flags(
        &mut self,
        looked: u64,
        modseq: u64,
        uids: &[Uid],
        change: impl Fn(u64) -> u64,
    ) -> bool {
        // What was read of the mailbox may be ahead of what was looked at of the account.
        let next =
            self.loaded && !self.gone && self.looked == looked && self.upto <= looked && modseq == looked + 1;
        if next {
            self.table.change(uids, |row| {
                row.flags = change(row.flags);
                row.modseq = modseq;
            });
            (self.upto, self.looked) = (modseq, modseq);
        }
        next
    }

    /// A session knows the numbering of this generation.
    pub(crate) fn attach(&mut self, generation: u64) {
        *self.sessions.entry(generation).or_default() += 1;
    }

    /// It does not any more.
    pub(crate) fn detach(&mut self, generation: u64) {
        if let Some(count) = self.sessions.get_mut(&generation) {
            *count -= 1;
            if *count == 0 {
                self.sessions.remove(&generation);
            }
        }
        match self.sessions.keys().next() {
            _ if self.graves.is_empty() => {}
            None => self.graves = BTreeMap::new(),
            Some(&oldest) => self.graves.retain(|_, (until, _)| *until > oldest),
        }
    }

    /// A message that is there, or one that is not any more and that some session was not told of.
    pub(crate) fn known(&self, uid: u32) -> Option<(&Row, bool)> {
        match self.table.row(uid) {
            Some(row) => Some((row, false)),
            None => self.graves.get(&uid).map(|(_, row)| (row, true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_change_is_taken_in_only_where_nothing_else_can_have_happened() {
        let state = |upto, looked| State { loaded: true, upto, looked, ..State::default() };
        assert!(state(4, 7).take_flags(7, 8, &[], |flags| flags));
        // Another change of the account came between, or the view has looked meanwhile, or the mailbox is ahead already.
        assert!(!state(4, 7).take_flags(7, 9, &[], |flags| flags));
        assert!(!state(4, 8).take_flags(7, 8, &[], |flags| flags));
        assert!(!state(9, 7).take_flags(7, 8, &[], |flags| flags));
    }
}
