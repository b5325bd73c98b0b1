//! From operations on the queue to effects.

use rusqlite::OptionalExtension;

use super::super::effect::Effect;
use super::super::plan::{Fault, Part};
use super::effect::{Enqueued, QueueEffect};
use crate::tx::{OpResult, TxError};
use crate::{Enqueue, NewQueueRow, QueueId};

impl Part<'_> {
    pub(in super::super) fn enqueue(&mut self, index: usize, enqueue: &Enqueue) -> Result<OpResult, Fault> {
        if enqueue.rows.is_empty() {
            return Ok(OpResult::Queued(Vec::new()));
        }
        let (body, octets) = self.source(index, enqueue.body)?;
        // Of the clock, so that a number is not given out again after a restore from a backup.
        let first = self.tables.position.next_queue.max(self.now);
        let side = self.side(&enqueue.prefix, &enqueue.card);
        self.effect(Effect::Queue(QueueEffect::Enqueued(Enqueued {
            first,
            queued_at: self.now as i64,
            size: octets + enqueue.prefix.len() as u64,
            body,
            side,
            rows: enqueue.rows.clone(),
        })))?;
        Ok(OpResult::Queued((first..).map(QueueId).take(enqueue.rows.len()).collect()))
    }

    pub(in super::super) fn dequeue(&mut self, ids: &[QueueId]) -> Result<OpResult, Fault> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let mut there = Vec::with_capacity(ids.len());
        for id in ids {
            if self.is_queued(id)? {
                there.push(id);
            }
        }
        if !there.is_empty() {
            let ids = there.iter().map(|id| id.0).collect();
            self.effect(Effect::Queue(QueueEffect::Dequeued { ids }))?;
        }
        Ok(OpResult::Dequeued(there))
    }

    pub(in super::super) fn requeue(
        &mut self,
        index: usize,
        id: QueueId,
        row: &NewQueueRow,
    ) -> Result<OpResult, Fault> {
        if !self.is_queued(id)? {
            return Err(Fault::Tx(TxError::Gone(index)));
        }
        self.effect(Effect::Queue(QueueEffect::Requeued { id: id.0, row: row.clone() }))?;
        Ok(OpResult::Done)
    }

    pub(in super::super) fn rest(&mut self, destination: &str, until: i64) -> Result<OpResult, Fault> {
        if self.tables.destination(destination)?.resting_until != until {
            let destination = destination.to_owned();
            self.effect(Effect::Queue(QueueEffect::Rested { destination, until }))?;
        }
        Ok(OpResult::Done)
    }

    pub(in super::super) fn is_queued(&self, id: QueueId) -> Result<bool, Fault> {
        let mut select = self.tables.conn.prepare_cached("SELECT 1 FROM queue WHERE id = ?1")?;
        Ok(select.query_row([id.0 as i64], |_| Ok(())).optional()?.is_some())
    }

    pub(in super::super) fn is_leased(&self, id: QueueId, fence: u64) -> Result<bool, Fault> {
        // A change of the row earlier in this group has ended the lease, though nobody was told yet.
        let live = !self.tables.queue.ended.contains(&id.0) && self.leases.is_live(id.0, fence);
        Ok(live && self.is_queued(id)?)
    }
}
