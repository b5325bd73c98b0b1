//! A mailbox as one session has it open: its own message numbers over the shared view, and what it was told.

use std::sync::Arc;

use packetboat_store::{
    AccountId, Flags, Located, MailboxId, MessageReader, MessageRow, ModSeq, Store, UidValidity,
};
use tokio::sync::watch;

use super::numbering::{Numbering, Ranges, contains, push, push_range};
use super::picked::{Bound, Cursor, NoSuchNumber, Picked};
use super::rights::{Verb, rights};
use super::table::Row;
use super::view::{Keywords, State, View};
use super::{Access, Refusal};
use crate::PostOffice;

/// A mailbox that is open. Its numbers change only in [`Selected::sync`].
#[derive(Debug)]
pub struct Selected {
    pub(super) office: PostOffice,
    pub(super) view: Arc<View>,
    access: Access,
    /// Whose session it is.
    who: AccountId,
    uid_validity: UidValidity,
    uid_next: u32,
    pub(super) numbering: Arc<Numbering>,
    /// The generation of the view's numbering which everything gone is known of.
    generation: u64,
    /// All changes of the mailbox up to here have been told, but for messages that are gone if `held`.
    told: u64,
    held: bool,
    /// Changes since, which this session made itself and knows the outcome of.
    own: Vec<Own>,
    recent: Ranges,
    keywords: Keywords,
    news: watch::Receiver<ModSeq>,
}

/// A change that a session made.
#[derive(Debug)]
struct Own {
    modseq: u64,
    /// UIDs of which it does not know all the same: somebody else changed them, too.
    except: Vec<u32>,
}

/// A message as most commands want to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Its number in this session.
    pub number: u32,
    /// Its UID.
    pub uid: u32,
    /// Whether it is not there any more, though this session was not told yet. Then its flags are the last ones known, and
    /// it cannot be read.
    pub gone: bool,
    /// Whether it is `\Recent` in this session.
    pub recent: bool,
    row: Row,
}

impl Message {
    /// System flags and keywords, see [`Selected::keywords`].
    pub fn flags(&self) -> Flags {
        Flags(self.row.flags)
    }

    /// Of its last change.
    pub fn modseq(&self) -> u64 {
        self.row.modseq
    }

    /// Octets; 4 GiB - 1 if there are more.
    pub fn size(&self) -> u32 {
        self.row.size
    }

    /// Internal date, microseconds since 1970.
    pub fn received_at(&self) -> i64 {
        self.row.received_at
    }

    /// When it came into the mailbox, seconds since 1970.
    pub fn saved_at(&self) -> i64 {
        i64::from(self.row.saved_at)
    }

    /// The identity of what it says, the same for copies of it: EMAILID.
    pub fn body(&self) -> Option<u128> {
        self.row.body()
    }
}

/// What a session has to be told, in the order of the fields.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct News {
    /// Messages that are gone.
    pub gone: Option<Gone>,
    /// How many messages there are now, if some came.
    pub exists: Option<u32>,
    /// How many of them are `\Recent`, if that changed.
    pub recent: Option<u32>,
    /// Keywords were made that this session has not been told of.
    pub keywords: bool,
    /// Numbers, after all this, of messages whose flags changed.
    pub flags: Ranges,
}

impl News {
    /// Whether nothing is new.
    pub fn is_empty(&self) -> bool {
        *self == News::default()
    }
}

/// Messages that are gone.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Their numbers before any of them was gone.
    pub numbers: Ranges,
    /// Their UIDs.
    pub uids: Ranges,
}

impl Gone {
    /// What EXPUNGE responses say: from the last one on, so that each number is still right when its turn comes.
    pub fn expunges(&self) -> impl Iterator<Item = u32> {
        self.numbers.iter().rev().flat_map(|&(first, last)| (first..=last).rev())
    }
}

impl Selected {
    /// Opens a mailbox of which the row was just read.
    pub(super) async fn open(
        office: PostOffice,
        who: AccountId,
        row: &packetboat_store::MailboxRow,
        access: Access,
    ) -> Result<Selected, Refusal> {
        let view = office.shared.views.open(&office.shared.store, row);
        let news = view.news();
        let mut selected = Selected {
            office,
            view,
            access,
            who,
            uid_validity: row.uid_validity,
            uid_next: row.uid_next.0,
            numbering: Arc::default(),
            generation: 0,
            told: 0,
            held: false,
            own: Vec::new(),
            recent: Ranges::new(),
            keywords: Keywords::default(),
            news,
        };
        selected.view.state().attach(0);
        selected.view.refresh(&selected.office.shared.store).await?;
        let view = selected.view.clone();
        let mut state = view.state();
        selected.numbering = state.table.numbering.clone();
        selected.move_to(&mut state);
        selected.told = state.upto;
        selected.keywords = state.keywords.clone();
        selected.claim_recent(&mut state, 0);
        if let Some(unpacked) = state.take_unpacked() {
            selected.office.shared.indexing.pack(view.mailbox, unpacked);
        }
        drop(state);
        Ok(selected)
    }

    pub(super) fn store(&self) -> &Store {
        &self.office.shared.store
    }

    pub(super) fn view(&self) -> &View {
        &self.view
    }

    /// Which mailbox.
    pub fn mailbox(&self) -> MailboxId {
        self.view.mailbox
    }

    /// Whose mailbox.
    pub fn owner(&self) -> AccountId {
        self.view.account
    }

    /// Whose session.
    pub(super) fn who(&self) -> AccountId {
        self.who
    }

    /// As it was when the mailbox was opened.
    pub fn uid_validity(&self) -> UidValidity {
        self.uid_validity
    }

    /// No message known to this session has this UID or a higher one, and no later one will have a lower one.
    pub fn uid_next(&self) -> u32 {
        self.uid_next.max(self.numbering.last().unwrap_or(0).saturating_add(1))
    }

    /// Whether anything may be changed.
    pub fn is_writable(&self) -> bool {
        self.access == Access::Write
    }

    /// How many messages there are.
    pub fn exists(&self) -> u32 {
        self.numbering.len()
    }

    /// How many of them are `\Recent` here.
    pub fn recent(&self) -> u32 {
        self.numbering.numbers_in(&self.recent).iter().map(|(first, last)| last - first + 1).sum()
    }

    pub(super) fn recent_uids(&self) -> Ranges {
        self.recent.clone()
    }

    /// All changes up to here are known to this session: HIGHESTMODSEQ.
    pub fn highest_modseq(&self) -> u64 {
        self.told
    }

    /// The number of the first message that is not seen.
    pub fn first_unseen(&self) -> Option<u32> {
        let uid = self.view.state().table.first_unseen()?;
        self.numbering.number(uid)
    }

    /// The keywords, by the bits they have in [`Message::flags`].
    pub fn keywords(&self) -> Arc<[(u8, String)]> {
        self.keywords.clone()
    }

    /// The messages of these numbers.
    pub fn pick_numbers(&self, set: &[(Bound, Bound)]) -> Result<Picked, NoSuchNumber> {
        Picked::by_numbers(&self.numbering, set)
    }

    /// The messages of these UIDs, as far as this session knows them.
    pub fn pick_uids(&self, set: &[(Bound, Bound)]) -> Picked {
        Picked::by_uids(&self.numbering, set)
    }

    /// All messages.
    pub fn pick_all(&self) -> Picked {
        Picked::by_uids(&self.numbering, &[(Some(1), Some(u32::MAX))])
    }

    /// Those whose last change is later than this.
    pub fn pick_changed(&self, of: &Picked, since: u64) -> Picked {
        let state = self.view.state();
        of.filtered(|_, uid| state.known(uid).is_some_and(|(row, gone)| !gone && row.modseq > since))
    }

    /// Those that somebody removed and this session was not told of.
    pub fn pick_gone(&self, of: &Picked) -> Picked {
        let state = self.view.state();
        if !self.held && Arc::ptr_eq(&self.numbering, &state.table.numbering) {
            return Picked { numbering: of.numbering.clone(), numbers: Ranges::new() };
        }
        of.filtered(|_, uid| state.table.row(uid).is_none())
    }

    /// The next messages of a cursor, `max` at most. Costs no look into the store.
    pub fn rows(&self, cursor: &mut Cursor, max: usize) -> Vec<Message> {
        let mut page = Vec::with_capacity(max.min(1024));
        let state = self.view.state();
        let straight = Arc::ptr_eq(cursor.numbering(), &state.table.numbering);
        while page.len() < max
            && let Some((first, last)) = cursor.run(max - page.len())
        {
            if straight {
                let rows = state.table.rows_from(first).take((last - first) as usize + 1);
                page.extend(
                    (first..).zip(rows).map(|(number, (uid, row))| self.message(number, uid, row, false)),
                );
            } else {
                let uids = cursor.numbering().iter_from(first);
                page.extend((first..=last).zip(uids).filter_map(|(number, uid)| {
                    let (row, gone) = state.known(uid)?;
                    Some(self.message(number, uid, row, gone))
                }));
            }
            cursor.advance(last);
        }
        page
    }

    fn message(&self, number: u32, uid: u32, row: &Row, gone: bool) -> Message {
        Message { number, uid, gone, recent: contains(&self.recent, uid), row: *row }
    }

    /// One message, as the view has it.
    pub(super) fn message_in(&self, state: &State, number: u32, uid: u32) -> Option<Message> {
        let (row, gone) = state.known(uid)?;
        Some(self.message(number, uid, row, gone))
    }

    /// One message by its UID.
    pub fn message_of(&self, uid: u32) -> Option<Message> {
        let number = self.numbering.number(uid)?;
        self.message_in(&self.view.state(), number, uid)
    }

    /// Opens a message for reading; it stays readable when it is removed meanwhile.
    pub async fn open_message(&self, message: &Message) -> Result<MessageReader, Refusal> {
        rights(self.who, self.view.account, Verb::Read)?;
        let row: Option<MessageRow> = match message.row.stored(self.view.mailbox, message.uid) {
            Some(row) => Some(row),
            None => self.store().message(self.view.mailbox, packetboat_store::Uid(message.uid)).await?,
        };
        Ok(self.store().open_message(&row.ok_or(Refusal::Expunged)?).await?)
    }

    /// Looks up in one go where messages lie that are going to be opened; `None` of those that have to be opened by
    /// [`Selected::open_message`].
    pub fn locate<'a>(
        &self,
        messages: impl IntoIterator<Item = &'a Message>,
    ) -> Result<Vec<Option<Located>>, Refusal> {
        let rows = messages.into_iter().map(|message| message.row.stored(self.view.mailbox, message.uid));
        let rows: Vec<Option<MessageRow>> = rows.collect();
        let known: Vec<MessageRow> = rows.iter().flatten().cloned().collect();
        let mut located = self.store().locate_messages(&known)?.into_iter();
        Ok(rows.into_iter().map(|row| row.and_then(|_| located.next())).collect())
    }

    /// Opens a message for reading that was looked up a moment ago; it stays readable when it is removed meanwhile.
    pub fn open_located(&self, located: &Located) -> Result<MessageReader, Refusal> {
        rights(self.who, self.view.account, Verb::Read)?;
        Ok(self.store().open_located(located)?)
    }

    /// Returns when the account changed since the last [`Selected::sync`]; at once, if it did already. May be dropped at
    /// any time.
    pub async fn changed(&mut self) {
        if self.news.changed().await.is_err() {
            // The store is gone, and the process with it.
            std::future::pending::<()>().await;
        }
    }

    /// Learns what became of the mailbox, and says what the session has to be told. Where numbers must not move
    /// (`expunges` is false), messages that are gone keep theirs until a later call.
    pub async fn sync(&mut self, expunges: bool) -> Result<News, Refusal> {
        self.news.mark_unchanged();
        self.view.refresh(&self.office.shared.store).await?;
        let view = self.view.clone();
        let mut state = view.state();
        if self.told == state.upto && !(self.held && expunges) {
            return Ok(News::default());
        }
        let mut news = News::default();
        let before = self.numbering.clone();
        let known_before = before.last().unwrap_or(0);
        if !Arc::ptr_eq(&before, &state.table.numbering) {
            let difference = before.difference(&state.table.numbering);
            if difference.came > 0 {
                news.exists = Some(0);
            }
            if difference.numbers.is_empty() || expunges {
                self.numbering = state.table.numbering.clone();
                if !difference.numbers.is_empty() {
                    news.gone = Some(Gone { numbers: difference.numbers, uids: difference.uids });
                }
                self.held = false;
            } else {
                self.held = true;
                if difference.came > 0 {
                    self.numbering = Arc::new(before.with_new_of(&state.table.numbering));
                }
            }
        } else {
            self.held = false;
        }
        if !self.held {
            self.move_to(&mut state);
        }
        if news.exists.is_some() {
            news.exists = Some(self.numbering.len());
            let recent = self.recent();
            self.claim_recent(&mut state, known_before.saturating_add(1));
            let now = self.recent();
            news.recent = (now != recent || news.gone.is_some()).then_some(now);
        }
        for (uids, chunk) in state.table.chunks().filter(|(_, chunk)| chunk.modseq > self.told) {
            for (&uid, row) in uids.iter().zip(&chunk.rows) {
                if uid <= known_before && !self.knows(uid, row.modseq) {
                    // Where the chunks are the same the numbers could be counted; few have changed, though.
                    if let Some(number) = self.numbering.number(uid) {
                        push(&mut news.flags, number);
                    }
                }
            }
        }
        self.own.clear();
        self.told = state.upto;
        if !Arc::ptr_eq(&self.keywords, &state.keywords) {
            news.keywords = *self.keywords != *state.keywords;
            self.keywords = state.keywords.clone();
        }
        Ok(news)
    }

    /// Takes in keywords that were just made, without waiting for the next [`Selected::sync`]; tells whether there are new
    /// ones.
    pub fn learn_keywords(&mut self) -> bool {
        let keywords = self.view.state().keywords.clone();
        let new = *keywords != *self.keywords;
        self.keywords = keywords;
        new
    }

    /// Sees to it that the keywords among flags are known, which may have been made a moment ago; tells whether there are
    /// new ones.
    pub async fn know_keywords(&mut self, flags: Flags) -> Result<bool, Refusal> {
        let system = [Flags::SEEN, Flags::ANSWERED, Flags::FLAGGED, Flags::DELETED, Flags::DRAFT];
        let system = system.iter().fold(0, |all, flag| all | flag.0);
        let are_known = |keywords: &Keywords| {
            let known = keywords.iter().fold(system, |known, (bit, _)| known | 1u64 << (bit & 63));
            flags.0 & !known == 0
        };
        if are_known(&self.keywords) {
            return Ok(false);
        }
        let new = self.learn_keywords();
        if are_known(&self.keywords) {
            return Ok(new);
        }
        // Cards come from the store, which may be ahead of the view.
        match self.view.refresh(&self.office.shared.store).await {
            Ok(()) | Err(Refusal::MailboxGone) => Ok(self.learn_keywords() || new),
            Err(error) => Err(error),
        }
    }

    fn move_to(&mut self, state: &mut super::view::State) {
        if self.generation != state.generation {
            state.attach(state.generation);
            state.detach(self.generation);
            self.generation = state.generation;
        }
    }

    /// Messages from `first` on are recent here, if no other session has been told of them before.
    fn claim_recent(&mut self, state: &mut super::view::State, first: u32) {
        let first = first.max(state.recent_from);
        let Some(last) = self.numbering.last().filter(|&last| last >= first) else { return };
        push_range(&mut self.recent, first, last);
        if self.access == Access::Write {
            state.recent_from = last.saturating_add(1);
        }
    }

    fn made(&self, uid: u32, modseq: u64) -> bool {
        self.own.iter().any(|own| own.modseq == modseq && !own.except.contains(&uid))
    }

    /// This session made a change and knows its outcome, but for the ones in `except`.
    pub(super) fn made_itself(&mut self, modseq: u64, except: Vec<u32>) {
        // A session that changes much and never asks is told of its own changes when it does.
        const OWN_MAX: usize = 64;
        if self.own.len() < OWN_MAX {
            self.own.push(Own { modseq, except });
        }
    }

    /// Whether a message's change of this modification sequence was told, or made here.
    pub(super) fn knows(&self, uid: u32, modseq: u64) -> bool {
        modseq <= self.told || self.made(uid, modseq)
    }

    pub(super) fn may(&self, verb: Verb) -> Result<(), Refusal> {
        if self.access != Access::Write {
            return Err(Refusal::ReadOnly);
        }
        rights(self.who, self.view.account, verb)
    }
}

impl Drop for Selected {
    fn drop(&mut self) {
        self.view.state().detach(self.generation);
        self.office.shared.views.close(&self.view);
    }
}
