//! What an operator asks of the queue: to look, hold, release, cancel, try now, send another way.
//!
//! All of it goes page by page over the rows that a [`Filter`] names, however many there are. Rows that are being carried
//! at the moment are left alone where touching them could send a message twice, and counted.

use std::collections::HashSet;

use packetboat_message::dsn::{Kind, Status};
use packetboat_message::{Address, Domain};
use packetboat_store::{
    Leased, MessageReader, Op, QueueDestination, QueueFilter, QueueId, QueueRow, ReadError, Tx, TxError,
};

use super::errand::{Held, as_new};
use super::notice::Told;
use super::settle::Fate;
use super::{Attempt, Envelope, Queue, Rcpt, Stage};
use crate::MessageTag;
use crate::outbound::NextHop;
use crate::story::{Event, What};

/// Rows looked at at a time.
const PAGE: usize = 500;
/// Rows of a page whose stories tell what an operator did with them.
const TOLD_MAX: usize = 100;
/// Entries listed at a time at most.
pub const LIST_MAX: usize = 1000;

/// Which rows are meant: those to which everything applies that is said here. The default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// This row.
    pub row: Option<QueueId>,
    /// Those of this message, by its number.
    pub message: Option<QueueId>,
    /// Those of this message, by its name in logs.
    pub tag: Option<MessageTag>,
    /// Those for this next hop.
    pub destination: Option<NextHop>,
    /// Those for this recipient.
    pub recipient: Option<Who>,
    /// Those from this sender.
    pub sender: Option<Who>,
    /// Those that are held, or are not.
    pub held: Option<bool>,
    /// Those alone that need not wait for a time that their sender has set (RFC 4865).
    pub ripe: bool,
}

/// A sender or recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// This address.
    Address(Address),
    /// Everybody of this domain.
    Domain(Domain),
    /// Nobody: the null path.
    Nobody,
}

impl Who {
    fn is(&self, address: Option<&Address>) -> bool {
        match (self, address) {
            (Who::Address(wanted), Some(address)) => wanted.lookup_key() == address.lookup_key(),
            (Who::Domain(wanted), Some(address)) => wanted == address.domain(),
            (Who::Nobody, None) => true,
            _ => false,
        }
    }
}

/// A recipient's copy of a message, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: QueueId,
    /// Its message's number.
    pub message: QueueId,
    /// Where it goes.
    pub destination: String,
    /// Not before this, microseconds since the epoch.
    pub due_at: i64,
    /// When its sender is told of the delay, or it is given up.
    pub deadline: i64,
    /// It waits for somebody to release it.
    pub held: bool,
    /// It is being carried at this moment.
    pub carried: bool,
    /// Octets of the message.
    pub octets: u64,
    /// What is known of the message; `None` when it cannot be read.
    pub envelope: Option<Envelope>,
    /// What is known of the recipient; `None` when it cannot be read.
    pub recipient: Option<Rcpt>,
}

/// A page of the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries, by number.
    pub entries: Vec<Entry>,
    /// Where to go on, if there is more.
    pub next: Option<QueueId>,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Acted {
    /// Rows to which it was done.
    pub rows: u64,
    /// Rows that were left alone because they are being carried.
    pub busy: u64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// They wait until they are released.
    Hold,
    /// They wait no longer.
    Release,
    /// They are taken out. The senders hear of it, or do not.
    Cancel {
        /// Whether they do.
        tell: bool,
    },
    /// They are tried now, and their destinations rest no longer.
    Retry,
    /// They go to this next hop.
    Reroute(NextHop),
}

impl Queue {
    /// Rows behind `after`, at most `limit` ([`LIST_MAX`] at most).
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(&self, filter: &Filter, after: QueueId, limit: usize) -> Result<Page, ReadError> {
        let limit = limit.clamp(1, LIST_MAX);
        let mut page = Page::default();
        let mut walk = Walk::new(self, filter, after);
        while let Some(rows) = walk.next().await? {
            for (row, envelope) in rows {
                if page.entries.len() == limit {
                    page.next = page.entries.last().map(|entry| entry.id);
                    return Ok(page);
                }
                page.entries.push(self.entry(row, envelope).await);
            }
        }
        Ok(page)
    }

    /// One row.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn show(&self, id: QueueId) -> Result<Option<Entry>, ReadError> {
        match self.inner.store().queue_row(id).await? {
            Some(row) => Ok(Some(self.entry(row, None).await)),
            None => Ok(None),
        }
    }

    /// Opens the message of a row for reading.
    ///
    /// # Errors
    /// When it is not there, or the store cannot be read.
    pub async fn open_message(&self, id: QueueId) -> Result<MessageReader, ReadError> {
        let row = self.inner.store().queue_row(id).await?.ok_or(ReadError::Gone)?;
        self.inner.store().open_queued(&row).await
    }

    /// Destinations for which mail waits, those first that are due first; at most `limit`, with why they cannot be reached
    /// where that is so and known.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn destinations(
        &self,
        limit: usize,
    ) -> Result<Vec<(QueueDestination, Option<Attempt>)>, ReadError> {
        let all = self.inner.store().queue_destinations(i64::MAX, limit.min(LIST_MAX)).await?;
        let active = self.inner.active.lock();
        let with_trouble = |destination: QueueDestination| {
            let trouble = active.destinations.trouble(&destination.name).cloned();
            (destination, trouble)
        };
        Ok(all.into_iter().map(with_trouble).collect())
    }

    /// Does something to all rows that are meant.
    ///
    /// # Errors
    /// When the store fails; what was done until then is done.
    pub async fn act(&self, filter: &Filter, action: &Action) -> Result<Acted, ActError> {
        let mut acted = Acted::default();
        let mut walk = Walk::new(self, filter, QueueId(0));
        while let Some(rows) = walk.next().await? {
            let rows = self.leave_carried(rows, action, &mut acted);
            match action {
                Action::Cancel { tell } => acted.rows += self.cancel(rows, *tell).await?,
                Action::Hold | Action::Release | Action::Retry | Action::Reroute(_) => {
                    acted.rows += self.change(rows, action).await?;
                }
            }
        }
        // What connections hold ready may have changed: they look again.
        self.recall();
        self.inner.bell.notify_one();
        Ok(acted)
    }

    fn leave_carried(&self, mut rows: Vec<Found>, action: &Action, acted: &mut Acted) -> Vec<Found> {
        // Whoever is held or taken out while he is carried may still arrive; he does not arrive twice.
        if matches!(action, Action::Hold | Action::Cancel { .. }) {
            return rows;
        }
        let carried = self.inner.carried.lock();
        rows.retain(|(row, _)| {
            let busy = carried.contains(&row.id);
            acted.busy += u64::from(busy);
            !busy
        });
        rows
    }

    async fn change(&self, rows: Vec<Found>, action: &Action) -> Result<u64, ActError> {
        let now = self.inner.world.moment();
        let mut ops = Vec::with_capacity(rows.len());
        let mut free: HashSet<String> = HashSet::new();
        let mut changed = Vec::new();
        for (row, envelope) in &rows {
            let mut new = as_new(row);
            match action {
                Action::Hold => new.held = true,
                Action::Release => new.held = false,
                Action::Retry => (new.held, new.due_at) = (false, new.due_at.min(now)),
                Action::Reroute(hop) => {
                    (new.destination, new.due_at) = (hop.to_string(), new.due_at.min(now))
                }
                Action::Cancel { .. } => (),
            }
            if matches!(action, Action::Retry) && !free.contains(&row.destination) {
                free.insert(row.destination.clone());
            }
            if (new != as_new(row) || matches!(action, Action::Retry)) && changed.len() < TOLD_MAX {
                changed.push((row, envelope));
            }
            if new != as_new(row) {
                ops.push(Op::Requeue { id: row.id, row: new });
            }
        }
        let count = match action {
            Action::Retry => rows.len() as u64,
            _ => ops.len() as u64,
        };
        if let Action::Reroute(hop) = action {
            ops.extend(super::rest_of_fetched(hop));
        }
        for destination in free {
            if destination.parse().is_ok_and(|hop: NextHop| !hop.is_fetched()) {
                self.inner.active.lock().destinations.forgive(&destination);
                ops.push(Op::Rest { destination, until: i64::MIN });
            }
        }
        self.commit_skipping_gone(ops).await?;
        for (row, envelope) in changed {
            self.operated(row, envelope.as_ref(), action).await;
        }
        Ok(count)
    }

    /// Tells the story of a message what an operator did with it.
    async fn operated(&self, row: &QueueRow, envelope: Option<&Envelope>, action: &Action) {
        let Ok(rcpt) = Rcpt::decode(&row.value) else { return };
        let tag = match envelope {
            Some(envelope) => Some(envelope.tag),
            None => self.envelope_of(row).await.map(|envelope| envelope.tag),
        };
        let action = match action {
            Action::Hold => "held".to_owned(),
            Action::Release => "released".to_owned(),
            Action::Cancel { tell: true } => "cancelled".to_owned(),
            Action::Cancel { tell: false } => "cancelled without a word".to_owned(),
            Action::Retry => "to be tried now".to_owned(),
            Action::Reroute(hop) => format!("sent by {hop}"),
        };
        let at = self.inner.world.moment();
        self.inner.office.tell(|| Event { at, tag, what: What::Operated { to: rcpt.address, action } });
    }

    /// Rows that went meanwhile are none of an operator's business.
    async fn commit_skipping_gone(&self, mut ops: Vec<Op>) -> Result<(), ActError> {
        while !ops.is_empty() {
            let tx = Tx { id: None, require: vec![], ops: ops.clone() };
            match self.inner.store().commit(tx, vec![]).await {
                Ok(_) => return Ok(()),
                Err(TxError::Gone(which)) if which < ops.len() => {
                    ops.remove(which);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn cancel(&self, rows: Vec<Found>, tell: bool) -> Result<u64, ActError> {
        let count = rows.len() as u64;
        let now = self.inner.world.moment();
        let told = |rcpt: Rcpt| {
            let mut attempt = Attempt::new(now, Stage::Here);
            attempt.text = "The operator of this server has taken it out of the queue.".to_owned();
            attempt.status = Some(Status(5, 7, 0));
            rcpt.asked.wants_failure().then(|| Told::new(rcpt, Kind::Failed, Some(attempt)))
        };
        for group in rows.chunk_by(|(a, _), (b, _)| a.message == b.message) {
            let Some((first, envelope)) = group.first() else { continue };
            let envelope = match envelope {
                Some(envelope) => Some(envelope.clone()),
                None => self.envelope_of(first).await,
            };
            // Nobody's lease: it is ended with the row.
            let leased: Vec<Leased> =
                group.iter().map(|(row, _)| Leased { row: row.clone(), fence: 0 }).collect();
            for (row, _) in group.iter().take(TOLD_MAX) {
                self.operated(row, envelope.as_ref(), &Action::Cancel { tell }).await;
            }
            let Some(envelope) = envelope.filter(|_| tell) else {
                let ids = leased.iter().map(|leased| leased.row.id).collect();
                let tx = Tx { id: None, require: vec![], ops: vec![Op::Dequeue { ids }] };
                self.inner.store().commit(tx, vec![]).await?;
                continue;
            };
            let fate = |leased: &Leased| Fate::Done(Rcpt::decode(&leased.row.value).ok().and_then(told));
            let fates = leased.iter().map(fate).collect();
            self.carry_out(&envelope, Held::new(self.inner.clone(), leased), fates).await;
        }
        Ok(count)
    }

    async fn entry(&self, row: QueueRow, envelope: Option<Envelope>) -> Entry {
        let envelope = match envelope {
            Some(envelope) => Some(envelope),
            None => self.envelope_of(&row).await,
        };
        Entry {
            id: row.id,
            message: row.message,
            due_at: row.due_at,
            deadline: row.deadline,
            held: row.held,
            carried: self.inner.carried.lock().contains(&row.id),
            octets: row.size,
            envelope,
            recipient: Rcpt::decode(&row.value).ok(),
            destination: row.destination,
        }
    }

    async fn envelope_of(&self, row: &QueueRow) -> Option<Envelope> {
        let card = self.inner.store().queue_card(row).await.ok()?;
        Envelope::decode(&card).ok()
    }
}

/// A row, and what is known of its message where the filter had to know it.
type Found = (QueueRow, Option<Envelope>);

/// A way through the rows that a filter names.
struct Walk<'a> {
    queue: &'a Queue,
    filter: &'a Filter,
    after: QueueId,
    /// The message looked at last: its other rows come right behind it.
    known: Option<(QueueId, Option<Envelope>)>,
    done: bool,
}

impl<'a> Walk<'a> {
    fn new(queue: &'a Queue, filter: &'a Filter, after: QueueId) -> Walk<'a> {
        Walk { queue, filter, after, known: None, done: false }
    }

    /// The rows of the next page, maybe none of them; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<Found>>, ReadError> {
        if self.done {
            return Ok(None);
        }
        let store = self.queue.inner.store();
        let rows = match self.filter.row {
            Some(id) => {
                self.done = true;
                store.queue_row(id).await?.filter(|row| row.id > self.after).into_iter().collect()
            }
            None => {
                let destination = self.filter.destination.as_ref().map(ToString::to_string);
                let (message, held) = (self.filter.message, self.filter.held);
                store.queue_rows(QueueFilter { after: self.after, message, destination, held }, PAGE).await?
            }
        };
        match rows.last() {
            Some(last) => self.after = last.id,
            None => return Ok(None),
        }
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(envelope) = self.wanted(&row).await {
                found.push((row, envelope));
            }
        }
        // A million rows to look at are no reason to keep others waiting.
        tokio::task::yield_now().await;
        Ok(Some(found))
    }

    async fn wanted(&mut self, row: &QueueRow) -> Option<Option<Envelope>> {
        let filter = self.filter;
        let destination = filter.destination.as_ref().map(ToString::to_string);
        let plain = filter.message.is_none_or(|message| message == row.message)
            && filter.held.is_none_or(|held| held == row.held)
            && destination.is_none_or(|destination| destination == row.destination);
        if !plain {
            return None;
        }
        if let Some(who) = &filter.recipient {
            let rcpt = Rcpt::decode(&row.value).ok()?;
            if !who.is(Some(&rcpt.address)) {
                return None;
            }
        }
        if filter.sender.is_none() && filter.tag.is_none() && !filter.ripe {
            return Some(None);
        }
        if self.known.as_ref().is_none_or(|(message, _)| *message != row.message) {
            self.known = Some((row.message, self.queue.envelope_of(row).await));
        }
        let envelope = self.known.as_ref()?.1.as_ref()?;
        let from = filter.sender.as_ref().is_none_or(|who| who.is(envelope.sender.as_ref()));
        let named = filter.tag.is_none_or(|tag| tag == envelope.tag);
        let now = self.queue.inner.world.moment();
        let ripe = !filter.ripe || envelope.asked.hold_until.is_none_or(|until| until <= now);
        (from && named && ripe).then(|| Some(envelope.clone()))
    }
}

/// Why an operator's wish was not carried out to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store did not take the change.
    #[error(transparent)]
    Commit(#[from] TxError),
}
