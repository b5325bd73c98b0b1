//! Carries out what transactions did to the queue.

use rusqlite::{OptionalExtension, params};

use super::super::tables::{SideChange, Sql, Tables};
use super::effect::{Enqueued, QueueEffect};
use crate::NewQueueRow;

/// What a row that changes or goes was for its destination.
struct Was {
    destination: String,
    due_at: i64,
    held: bool,
}

impl Tables {
    pub(crate) fn apply_queue(&mut self, effect: &QueueEffect) -> Sql<()> {
        match effect {
            QueueEffect::Enqueued(enqueued) => self.enqueued(enqueued),
            QueueEffect::Dequeued { ids } => ids.iter().try_for_each(|id| self.dequeued(*id)),
            QueueEffect::Requeued { id, row } => self.requeued(*id, row),
            QueueEffect::Rested { destination, until } => {
                self.queue.moved = true;
                self.change_destination(destination, |state| state.resting_until = *until)
            }
        }
    }

    fn enqueued(&mut self, enqueued: &Enqueued) -> Sql<()> {
        let side = self.new_side(&enqueued.side)?;
        let count = enqueued.rows.len() as u64;
        let mut next = enqueued.first;
        for row in &enqueued.rows {
            self.conn
                .prepare_cached(
                    "INSERT INTO queue VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                )?
                .execute(params![
                    next as i64,
                    enqueued.first as i64,
                    row.destination,
                    row.lane,
                    row.due_at,
                    row.deadline,
                    row.held,
                    enqueued.queued_at,
                    enqueued.size as i64,
                    side.map(|side| side as i64),
                    enqueued.body as i64,
                    &row.value[..]
                ])?;
            next = next.saturating_add(1);
            self.position.queued.held += u64::from(row.held);
            self.came_to(row)?;
        }
        self.position.next_queue = self.position.next_queue.max(next);
        self.position.queued.rows += count;
        let octets = &mut self.position.queued.octets;
        *octets = octets.saturating_add(count.saturating_mul(enqueued.size));
        match side {
            // Its first message is counted by its being there.
            Some(side) => {
                self.refer(enqueued.body, 1);
                if count > 1 {
                    self.sides.push(SideChange { side, by: count as i64 - 1, body: enqueued.body });
                }
            }
            None => self.refer(enqueued.body, count as i64),
        }
        Ok(())
    }

    fn dequeued(&mut self, id: u64) -> Sql<()> {
        let gone = self
            .conn
            .prepare_cached(
                "DELETE FROM queue WHERE id = ?1 RETURNING destination, due_at, held, size, side, body",
            )?
            .query_row([id as i64], |row| {
                let was = Was { destination: row.get(0)?, due_at: row.get(1)?, held: row.get(2)? };
                Ok((was, row.get::<_, i64>(3)? as u64, row.get(4)?, row.get::<_, i64>(5)? as u64))
            })
            .optional()?;
        let Some((was, size, side, body)) = gone else { return Ok(()) };
        let queued = &mut self.position.queued;
        queued.rows = queued.rows.saturating_sub(1);
        queued.octets = queued.octets.saturating_sub(size);
        queued.held = queued.held.saturating_sub(was.held.into());
        self.leave(side, body);
        self.queue.end(id);
        self.went_from(&was)
    }

    fn requeued(&mut self, id: u64, row: &NewQueueRow) -> Sql<()> {
        let was = self
            .conn
            .prepare_cached("SELECT destination, due_at, held FROM queue WHERE id = ?1")?
            .query_row([id as i64], |row| {
                Ok(Was { destination: row.get(0)?, due_at: row.get(1)?, held: row.get(2)? })
            })
            .optional()?;
        let Some(was) = was else { return Ok(()) };
        self.conn
            .prepare_cached(
                "UPDATE queue SET destination = ?2, lane = ?3, due_at = ?4, deadline = ?5, held = ?6, value = ?7
                 WHERE id = ?1",
            )?
            .execute(params![
                id as i64,
                row.destination,
                row.lane,
                row.due_at,
                row.deadline,
                row.held,
                &row.value[..]
            ])?;
        let held = &mut self.position.queued.held;
        *held = (*held + u64::from(row.held)).saturating_sub(was.held.into());
        self.queue.end(id);
        self.came_to(row)?;
        self.went_from(&was)
    }

    fn came_to(&mut self, row: &NewQueueRow) -> Sql<()> {
        self.queue.moved = true;
        self.change_destination(&row.destination, |state| {
            state.rows += 1;
            if !row.held {
                state.due = state.due.min(row.due_at);
            }
        })
    }

    fn went_from(&mut self, was: &Was) -> Sql<()> {
        self.change_destination(&was.destination, |state| {
            state.rows = state.rows.saturating_sub(1);
            state.stale |= !was.held && was.due_at <= state.due;
        })
    }
}
