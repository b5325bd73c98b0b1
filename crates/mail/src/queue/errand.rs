//! One message for one destination, with those of its recipients that are there.

use std::sync::Arc;

use packetboat_store::{Leased, MessageReader, NewQueueRow, Op, QueueId, QueueRow, ReadError, Require, Tx};

use super::slot::TURN_MAX;
use super::{Envelope, Inner, Queue, Rcpt, Slot};
use crate::office::unreadable;

/// Messages that cannot be read and are passed over at a time.
const UNREADABLE_MAX: usize = 100;

/// A message to be handed to a destination. Dropped without being settled, it is as if it had not been taken.
#[derive(Debug)]
pub struct Errand {
    /// What is the same for all its recipients.
    pub envelope: Arc<Envelope>,
    /// Its recipients there; [`Queue::settle`] wants a verdict for each, in this order.
    pub recipients: Vec<Rcpt>,
    /// Their rows, in the same order.
    pub(super) rows: Held,
}

/// Leased rows, given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    inner: Arc<Inner>,
    rows: Vec<Leased>,
}

impl Held {
    pub(super) fn new(inner: Arc<Inner>, rows: Vec<Leased>) -> Held {
        let mut held = Held { inner, rows: Vec::new() };
        held.extend(rows);
        held
    }

    fn extend(&mut self, rows: Vec<Leased>) {
        self.inner.carried.lock().extend(rows.iter().map(|leased| leased.row.id));
        self.rows.extend(rows);
    }

    /// The same rows by message.
    pub(super) fn by_message(mut self) -> Vec<Held> {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_by_key(|leased| leased.row.message);
        rows.chunk_by(|a, b| a.row.message == b.row.message)
            .map(|group| Held::new(Arc::clone(&self.inner), group.to_vec()))
            .collect()
    }

    pub(super) fn rows(&self) -> &[Leased] {
        &self.rows
    }

    pub(super) fn leases(&self) -> Vec<(QueueId, u64)> {
        self.rows.iter().map(|leased| (leased.row.id, leased.fence)).collect()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        {
            let mut carried = self.inner.carried.lock();
            self.rows.iter().for_each(|leased| {
                carried.remove(&leased.row.id);
            });
        }
        // Leases that have ended with a change of their rows are passed over.
        self.inner.store().queue_unlease(&self.leases());
    }
}

impl Errand {
    /// Opens the message for reading: what stands before the body here, and the body.
    ///
    /// # Errors
    /// When it has been taken out of the queue since, or the disk fails.
    pub async fn open(&self) -> Result<MessageReader, ReadError> {
        match self.rows.rows.first() {
            Some(first) => self.rows.inner.store().open_queued(&first.row).await,
            None => Err(ReadError::Gone),
        }
    }

    /// Octets of the whole message, as [`Errand::open`] reads it.
    pub fn octets(&self) -> u64 {
        self.rows.rows.first().map_or(0, |first| first.row.size)
    }

    /// The number under which the queue has the message.
    pub fn message(&self) -> QueueId {
        self.rows.rows.first().map_or(QueueId(0), |first| first.row.message)
    }
}

impl Queue {
    /// The next message for a slot's destination; `None`: nothing more is due, or it is somebody else's turn.
    pub async fn errand(&self, slot: &mut Slot) -> Option<Errand> {
        if slot.taken >= TURN_MAX && slot.fetched_at.is_none() && self.inner.active.lock().crowded {
            return None;
        }
        let most = self.outgoing().queue.recipients_max.max(1);
        // What cannot be read is passed over, though not for ever.
        for _ in 0..UNREADABLE_MAX {
            let mut rows = self.take_ready(&slot.name, most);
            if rows.is_empty() {
                if !self.refill(slot).await {
                    return None;
                }
                rows = self.take_ready(&slot.name, most);
            }
            let Some(first) = rows.first() else { continue };
            let (message, room) = (first.row.message, most.saturating_sub(rows.len()));
            let mut held = Held::new(Arc::clone(&self.inner), rows);
            if room > 0 {
                let (now, until) = self.lease_times(slot);
                let store = self.inner.store();
                match store.queue_lease_message(message, &slot.name, now, room, until).await {
                    Ok(more) => held.extend(more),
                    Err(error) => {
                        unreadable(error);
                    }
                }
            }
            if let Some(errand) = self.read(held).await {
                slot.taken = slot.taken.saturating_add(1);
                return Some(errand);
            }
        }
        None
    }

    /// Reads what is known of leased rows of one message. Rows that cannot be read are held, for somebody to look at.
    pub(super) async fn read(&self, held: Held) -> Option<Errand> {
        let first = held.rows.first()?;
        let envelope = match self.inner.store().queue_card(&first.row).await {
            Ok(card) => Envelope::decode(&card).map_err(|error| error.to_string()),
            // Taken out of the queue since.
            Err(ReadError::Gone) => return None,
            Err(error) => Err(error.to_string()),
        };
        let recipients: Result<Vec<Rcpt>, String> = held
            .rows
            .iter()
            .map(|leased| Rcpt::decode(&leased.row.value).map_err(|error| error.to_string()))
            .collect();
        match (envelope, recipients) {
            (Ok(envelope), Ok(recipients)) => {
                Some(Errand { envelope: Arc::new(envelope), recipients, rows: held })
            }
            (Err(error), _) | (_, Err(error)) => {
                let message = first.row.message;
                tracing::error!(%message, error, "a message in the queue cannot be read; it is held");
                self.hold_unread(held).await;
                None
            }
        }
    }

    async fn hold_unread(&self, held: Held) {
        let require = held.leases().into_iter().map(|(id, fence)| Require::Lease { id, fence }).collect();
        let hold = |leased: &Leased| {
            let row = NewQueueRow { held: true, ..as_new(&leased.row) };
            Op::Requeue { id: leased.row.id, row }
        };
        let ops = held.rows.iter().map(hold).collect();
        if let Err(error) = self.inner.store().commit(Tx { id: None, require, ops }, vec![]).await {
            unreadable(error);
        }
    }
}

/// A row as it is, to be changed.
pub(super) fn as_new(row: &QueueRow) -> NewQueueRow {
    NewQueueRow {
        destination: row.destination.clone(),
        lane: row.lane,
        due_at: row.due_at,
        deadline: row.deadline,
        held: row.held,
        value: row.value.clone(),
    }
}
