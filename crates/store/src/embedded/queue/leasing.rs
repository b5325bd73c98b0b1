//! Finding what is due and nobody has.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::super::Shared;
use super::super::tables::Sql;
use super::lease::Inner;
use super::read::{self, COLUMNS, HEAD};
use crate::{Leased, QueueDestination, QueueId, QueueRow, ReadError};

/// Rows leased at a time.
const AT_A_TIME: usize = 1_000;
/// Lanes a destination can have.
const LANES: usize = 256;

/// A lane being drawn from.
struct Lane {
    lane: u8,
    taken: Vec<u64>,
    /// Up to here it was looked at: when the row is due, and its number.
    at: (i64, u64),
    empty: bool,
}

impl Shared {
    pub(crate) fn queue_lease(
        &self,
        destination: &str,
        now: i64,
        per_lane: usize,
        limit: usize,
        lease_until: i64,
    ) -> Result<Vec<Leased>, ReadError> {
        let mut inner = self.leases.lock();
        inner.expire(now);
        let limit = limit.min(AT_A_TIME).min(inner.room());
        if limit == 0 || per_lane == 0 {
            return Ok(Vec::new());
        }
        let turn = inner.turn(destination);
        let (rows, last) = self.readers.with(|conn| {
            let mut lanes = first_of_each(conn, &inner, destination, now, limit, turn)?;
            draw(conn, &inner, destination, now, per_lane, limit, &mut lanes)?;
            let ids: Vec<(u8, u64)> = in_turn(&lanes).take(limit).collect();
            let last = ids.last().map(|(lane, _)| *lane);
            let rows = ids.iter().filter_map(|(_, id)| read::row(conn, *id).transpose());
            Ok::<_, ReadError>((rows.collect::<Sql<Vec<QueueRow>>>()?, last))
        })?;
        if let Some(last) = last {
            inner.set_turn(destination, last.wrapping_add(1));
        }
        Ok(rows.into_iter().map(|row| inner.lease(row, lease_until)).collect())
    }

    pub(crate) fn queue_lease_message(
        &self,
        message: QueueId,
        destination: &str,
        now: i64,
        limit: usize,
        lease_until: i64,
    ) -> Result<Vec<Leased>, ReadError> {
        let mut inner = self.leases.lock();
        inner.expire(now);
        let limit = limit.min(AT_A_TIME).min(inner.room());
        let rows = self.readers.with(|conn| {
            let wanted = |row: &QueueRow| {
                row.message == message
                    && row.destination == destination
                    && row.due_at <= now
                    && !row.held
                    && !inner.is_leased(row.id.0)
            };
            let mut found: Vec<QueueRow> = read::row(conn, message.0)?.filter(wanted).into_iter().collect();
            let mut select = conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM queue WHERE message = ?1 AND destination = ?2 AND id > message ORDER BY id"
            ))?;
            let mut rows = select.query(params![message.0 as i64, destination])?;
            while found.len() < limit
                && let Some(row) = rows.next()?
            {
                found.extend(Some(read::queue_row(row)?).filter(wanted));
            }
            found.truncate(limit);
            Ok::<_, ReadError>(found)
        })?;
        Ok(rows.into_iter().map(|row| inner.lease(row, lease_until)).collect())
    }

    pub(crate) fn queue_deadlines(
        &self,
        now: i64,
        limit: usize,
        lease_until: i64,
    ) -> Result<Vec<Leased>, ReadError> {
        let mut inner = self.leases.lock();
        inner.expire(now);
        let limit = limit.min(AT_A_TIME).min(inner.room());
        // There is no deadline at the end of time.
        let now = now.min(i64::MAX - 1);
        let found = self.readers.with(|conn| {
            let mut select = conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM queue WHERE held = 0 AND deadline <= ?1 ORDER BY deadline, id"
            ))?;
            let mut rows = select.query([now])?;
            let mut found = Vec::new();
            while found.len() < limit
                && let Some(row) = rows.next()?
            {
                if !inner.is_leased(row.get::<_, i64>(0)? as u64) {
                    found.push(read::queue_row(row)?);
                }
            }
            Ok::<_, ReadError>(found)
        })?;
        Ok(found.into_iter().map(|row| inner.lease(row, lease_until)).collect())
    }

    pub(crate) fn queue_destinations(
        &self,
        now: i64,
        limit: usize,
    ) -> Result<Vec<QueueDestination>, ReadError> {
        let limit = limit.min(AT_A_TIME);
        // Nothing ends here: who only looks may ask for any time.
        let inner = self.leases.lock();
        let mut found: Vec<QueueDestination> = Vec::new();
        self.readers.with(|conn| {
            let mut select = conn.prepare_cached(
                "SELECT name, rows, resting_until, due, wake_at FROM queue_destination
                 WHERE wake_at <= ?1 AND rows > 0 ORDER BY wake_at, name",
            )?;
            let mut rows = select.query([now])?;
            while found.len() < limit
                && let Some(row) = rows.next()?
            {
                let mut destination = read::destination_row(row)?;
                if free(conn, &inner, &mut destination, now)? <= now {
                    found.push(destination);
                }
            }
            Ok::<_, ReadError>(())
        })?;
        found.sort_by_key(|destination| destination.wake_at);
        Ok(found)
    }

    pub(crate) fn queue_destination(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<Option<QueueDestination>, ReadError> {
        let inner = self.leases.lock();
        self.readers.with(|conn| {
            let mut found = conn
                .prepare_cached(
                    "SELECT name, rows, resting_until, due, wake_at FROM queue_destination WHERE name = ?1",
                )?
                .query_row([name], read::destination_row)
                .optional()?;
            if let Some(destination) = &mut found {
                free(conn, &inner, destination, i64::MIN)?;
            }
            Ok(found)
        })
    }

    pub(crate) fn queue_next(&self) -> Result<Option<i64>, ReadError> {
        let inner = self.leases.lock();
        let mut next = inner.first_end().unwrap_or(i64::MAX);
        self.readers.with(|conn| {
            {
                let mut select = conn
                    .prepare_cached("SELECT id, deadline FROM queue WHERE held = 0 ORDER BY deadline, id")?;
                let mut rows = select.query([])?;
                while let Some(row) = rows.next()? {
                    let (id, deadline) = (row.get::<_, i64>(0)? as u64, row.get(1)?);
                    if deadline >= next || !inner.is_leased(id) {
                        next = next.min(deadline);
                        break;
                    }
                }
            }
            let mut select = conn.prepare_cached(
                "SELECT name, rows, resting_until, due, wake_at FROM queue_destination WHERE wake_at < ?1
                 ORDER BY wake_at",
            )?;
            let mut rows = select.query([next])?;
            while let Some(row) = rows.next()? {
                let mut destination = read::destination_row(row)?;
                if destination.wake_at >= next {
                    break;
                }
                next = next.min(free(conn, &inner, &mut destination, i64::MIN)?);
            }
            Ok::<_, ReadError>(())
        })?;
        Ok(Some(next).filter(|next| *next != i64::MAX))
    }
}

/// Sets when a destination is to wake, rows left out that are leased for longer than `now`, and tells it.
fn free(conn: &Connection, inner: &Inner, destination: &mut QueueDestination, now: i64) -> Sql<i64> {
    let leased = |id| inner.is_leased_at(id, now);
    if inner.is_at(&destination.name) && destination.wake_at != i64::MAX {
        let mut due = i64::MAX;
        let mut head = conn.prepare_cached(HEAD)?;
        let mut lane = 0i64;
        while let Some((found, at, id)) = head_row(&mut head, &destination.name, lane)? {
            if !leased(id) {
                due = due.min(at);
            } else if at < due
                && let Some(at) = walk(conn, leased, &destination.name, found, (at, id), due, |_, _| false)?
            {
                due = due.min(at);
            }
            lane = i64::from(found) + 1;
        }
        destination.wake_at = if due == i64::MAX { due } else { due.max(destination.resting_until) };
    }
    Ok(destination.wake_at)
}

/// The oldest row of the first lane from this one on: its lane, when it is due, and its number.
fn head_row(
    head: &mut rusqlite::CachedStatement<'_>,
    destination: &str,
    lane: i64,
) -> Sql<Option<(u8, i64, u64)>> {
    head.query_row(params![destination, lane], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)? as u64))
    })
    .optional()
}

/// Walks over rows of a lane that are not leased, behind a place in it, as long as `each` wants more; those due later than
/// `until` are not looked at. Tells when the last one is due that it came to.
fn walk(
    conn: &Connection,
    leased: impl Fn(u64) -> bool,
    destination: &str,
    lane: u8,
    behind: (i64, u64),
    until: i64,
    mut each: impl FnMut(i64, u64) -> bool,
) -> Sql<Option<i64>> {
    let mut select = conn.prepare_cached(
        "SELECT due_at, id FROM queue WHERE destination = ?1 AND held = 0 AND lane = ?2 AND due_at BETWEEN ?3 AND ?4
         ORDER BY due_at, id",
    )?;
    let mut rows = select.query(params![destination, lane, behind.0, until])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let at = (row.get(0)?, row.get::<_, i64>(1)? as u64);
        if at <= behind || leased(at.1) {
            continue;
        }
        last = Some(at.0);
        if !each(at.0, at.1) {
            break;
        }
    }
    Ok(last)
}

/// The first row of each lane that is due and free, from the lane on whose turn it is; of at most `limit` lanes.
fn first_of_each(
    conn: &Connection,
    inner: &Inner,
    destination: &str,
    now: i64,
    limit: usize,
    turn: u8,
) -> Sql<Vec<Lane>> {
    let leased = |id| inner.is_leased(id);
    let mut head = conn.prepare_cached(HEAD)?;
    let mut lanes = Vec::new();
    let turn = i64::from(turn);
    for (from, end) in [(turn, LANES as i64), (0, turn)] {
        let mut from = from;
        while from < end
            && lanes.len() < limit
            && let Some((lane, due, id)) = head_row(&mut head, destination, from)?
        {
            from = i64::from(lane) + 1;
            if from > end {
                break;
            }
            if due > now {
                continue;
            }
            let mut found = Lane { lane, taken: Vec::new(), at: (due, id), empty: false };
            if leased(id) {
                walk(conn, leased, destination, lane, (due, id), now, |due, id| {
                    found.at = (due, id);
                    found.taken.push(id);
                    false
                })?;
            } else {
                found.taken.push(id);
            }
            if !found.taken.is_empty() {
                lanes.push(found);
            }
        }
    }
    Ok(lanes)
}

/// Draws more from lanes until there are enough or they are empty: from each as many as would do if all had them.
fn draw(
    conn: &Connection,
    inner: &Inner,
    destination: &str,
    now: i64,
    per_lane: usize,
    limit: usize,
    lanes: &mut [Lane],
) -> Sql<()> {
    let leased = |id| inner.is_leased(id);
    loop {
        let total: usize = lanes.iter().map(|lane| lane.taken.len()).sum();
        let open = lanes.iter().filter(|lane| !lane.empty && lane.taken.len() < per_lane).count();
        if total >= limit || open == 0 {
            return Ok(());
        }
        let share = (limit - total).div_ceil(open);
        for lane in lanes.iter_mut().filter(|lane| !lane.empty && lane.taken.len() < per_lane) {
            let want = per_lane.min(lane.taken.len() + share);
            let Lane { taken, at, .. } = lane;
            walk(conn, leased, destination, lane.lane, *at, now, |due, id| {
                *at = (due, id);
                taken.push(id);
                taken.len() < want
            })?;
            lane.empty = lane.taken.len() < want;
        }
    }
}

/// One of each lane, then the next of each.
fn in_turn(lanes: &[Lane]) -> impl Iterator<Item = (u8, u64)> {
    let most = lanes.iter().map(|lane| lane.taken.len()).max().unwrap_or(0);
    (0..most).flat_map(move |at| lanes.iter().filter_map(move |lane| Some((lane.lane, *lane.taken.get(at)?))))
}
