//! What the writer knows of destinations between groups, and how it comes into the database.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::super::tables::{Sql, Tables};

/// Above this many the known destinations are forgotten between two groups.
const KNOWN_MAX: usize = 10_000;

/// What is queued for a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) rows: u64,
    pub(super) resting_until: i64,
    /// When the earliest row that is not held is due; `i64::MAX`: there is none.
    pub(super) due: i64,
    /// The row that said so is gone: it has to be looked for.
    pub(super) stale: bool,
}

impl Destination {
    const NONE: Destination = Destination { rows: 0, resting_until: i64::MIN, due: i64::MAX, stale: false };

    fn wake_at(&self) -> i64 {
        if self.due == i64::MAX { i64::MAX } else { self.due.max(self.resting_until) }
    }
}

#[derive(Debug, Clone, Copy)]
struct Known {
    state: Destination,
    dirty: bool,
}

#[derive(Debug)]
enum Undo {
    Destination(Arc<str>, Option<Known>),
    Ended(u64),
}

/// What a group does to the queue beside its rows.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    known: HashMap<Arc<str>, Known>,
    dirty: Vec<Arc<str>>,
    undo: Vec<Undo>,
    /// Rows whose leases end with the open group.
    pub(super) ended: HashSet<u64>,
    /// Whether something may be due earlier than it was.
    pub(super) moved: bool,
}

impl Writing {
    pub(crate) fn begin_group(&mut self) {
        if self.known.len() > KNOWN_MAX {
            self.known.clear();
        }
        self.ended.clear();
        self.moved = false;
    }

    pub(crate) fn begin_part(&mut self) {
        self.undo.clear();
    }

    /// Whether the open part did nothing yet.
    pub(crate) fn is_untouched(&self) -> bool {
        self.undo.is_empty()
    }

    pub(crate) fn undo_part(&mut self) {
        for undo in self.undo.drain(..).rev() {
            match undo {
                Undo::Destination(name, Some(known)) => drop(self.known.insert(name, known)),
                Undo::Destination(name, None) => drop(self.known.remove(&name)),
                Undo::Ended(id) => drop(self.ended.remove(&id)),
            }
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Writing::default();
    }

    /// The lease of a row ends when the group is committed.
    pub(super) fn end(&mut self, id: u64) {
        if self.ended.insert(id) {
            self.undo.push(Undo::Ended(id));
        }
    }

    /// Nothing is known of a destination any more.
    pub(crate) fn forget(&mut self, name: &str) {
        self.known.remove(name);
    }
}

impl Tables {
    pub(super) fn destination(&mut self, name: &str) -> Sql<Destination> {
        if let Some(known) = self.queue.known.get(name) {
            return Ok(known.state);
        }
        let found = self
            .conn
            .prepare_cached("SELECT rows, resting_until, due FROM queue_destination WHERE name = ?1")?
            .query_row([name], |row| {
                Ok(Destination {
                    rows: row.get::<_, i64>(0)? as u64,
                    resting_until: row.get(1)?,
                    due: row.get(2)?,
                    stale: false,
                })
            })
            .optional()?;
        let state = found.unwrap_or(Destination::NONE);
        self.queue.known.insert(name.into(), Known { state, dirty: false });
        Ok(state)
    }

    pub(super) fn change_destination(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Destination),
    ) -> Sql<()> {
        let old = self.destination(name)?;
        let mut state = old;
        change(&mut state);
        let count = &mut self.position.queued.destinations;
        match (old.rows, state.rows) {
            (0, 1..) => *count += 1,
            (1.., 0) => *count = count.saturating_sub(1),
            _ => {}
        }
        let queue = &mut self.queue;
        let name = queue.known.get_key_value(name).map_or_else(|| name.into(), |(name, _)| name.clone());
        let old = queue.known.insert(name.clone(), Known { state, dirty: true });
        if !old.is_some_and(|old| old.dirty) {
            queue.dirty.push(name.clone());
        }
        queue.undo.push(Undo::Destination(name, old));
        Ok(())
    }

    /// Writes what is known of destinations into the open group. One without rows that does not rest goes.
    pub(crate) fn flush_destinations(&mut self) -> Sql<()> {
        for name in std::mem::take(&mut self.queue.dirty) {
            let Some(known) = self.queue.known.get_mut(&name) else { continue };
            if !std::mem::take(&mut known.dirty) {
                continue;
            }
            let state = &mut known.state;
            if std::mem::take(&mut state.stale) {
                state.due = if state.rows == 0 { i64::MAX } else { earliest(&self.conn, &name)? };
            }
            let state = *state;
            // The number of the last record is a time as well.
            if state.rows == 0 && state.resting_until <= self.position.number as i64 {
                self.conn
                    .prepare_cached("DELETE FROM queue_destination WHERE name = ?1")?
                    .execute([&*name])?;
                self.queue.known.remove(&name);
                continue;
            }
            self.conn
                .prepare_cached(
                    "INSERT INTO queue_destination VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO UPDATE
                     SET rows = excluded.rows, resting_until = excluded.resting_until, due = excluded.due,
                         wake_at = excluded.wake_at",
                )?
                .execute(params![
                    &*name,
                    state.rows as i64,
                    state.resting_until,
                    state.due,
                    state.wake_at()
                ])?;
        }
        Ok(())
    }

    /// Takes away destinations without rows whose rest is over; tells how many.
    pub(crate) fn forget_rested(&mut self, before: i64, limit: usize) -> Sql<usize> {
        let names: Vec<String> = self
            .conn
            .prepare_cached(
                "DELETE FROM queue_destination WHERE name IN (SELECT name FROM queue_destination
                 WHERE rows = 0 AND resting_until <= ?1 LIMIT ?2) RETURNING name",
            )?
            .query_map(params![before, limit as i64], |row| row.get(0))?
            .collect::<Sql<_>>()?;
        for name in &names {
            self.queue.forget(name);
        }
        Ok(names.len())
    }
}

/// When the earliest row of a destination is due that is not held: a look at the head of each of its lanes.
fn earliest(conn: &Connection, destination: &str) -> Sql<i64> {
    let mut head = conn.prepare_cached(super::read::HEAD)?;
    let (mut due, mut lane) = (i64::MAX, 0);
    loop {
        let found =
            head.query_row(params![destination, lane], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)));
        let Some((found, at)) = found.optional()? else { return Ok(due) };
        due = due.min(at);
        lane = found + 1;
    }
}
