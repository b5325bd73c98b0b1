//! Looking at the queue.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::Shared;
use super::super::read::MessageReader;
use super::super::readers::number;
use super::super::tables::Sql;
use crate::{QueueCount, QueueDestination, QueueFilter, QueueId, QueueRow, ReadError};

/// The columns [`queue_row`] reads.
pub(super) const COLUMNS: &str =
    "id, message, destination, lane, due_at, deadline, held, queued_at, size, side, body, value";

/// The oldest row of the first lane of a destination from a lane on, of those not held.
pub(super) const HEAD: &str =
    "SELECT lane, due_at, id FROM queue WHERE destination = ?1 AND held = 0 AND lane >= ?2
     ORDER BY lane, due_at, id LIMIT 1";

/// Rows in a listing.
const PAGE: usize = 10_000;
/// Octets of their values; behind those a listing ends early.
const PAGE_OCTETS: usize = 8 << 20;
/// With so many rows a destination's are picked out by its index and sorted; with more they are not far apart among all.
const FEW: u64 = 20_000;

impl Shared {
    pub(crate) fn queue_row(&self, id: QueueId) -> Result<Option<QueueRow>, ReadError> {
        Ok(self.readers.with(|conn| row(conn, id.0))?)
    }

    pub(crate) async fn queue_rows(
        self: &Arc<Self>,
        filter: QueueFilter,
        limit: usize,
    ) -> Result<Vec<QueueRow>, ReadError> {
        let limit = limit.min(PAGE);
        if limit == 0 {
            return Ok(Vec::new());
        }
        self.long(move |conn| rows(conn, &filter, limit)).await
    }

    pub(crate) fn open_queued(self: &Arc<Self>, row: &QueueRow) -> Result<MessageReader, ReadError> {
        let body = u64::try_from(row.body).map_err(|_| ReadError::Gone)?;
        self.open(body, row.side, Some(row.size))
    }

    pub(crate) fn queue_count(&self) -> Result<QueueCount, ReadError> {
        Ok(self.readers.with(|conn| {
            conn.prepare_cached("SELECT queue_rows, queue_octets, queue_held, queue_destinations FROM log")?
                .query_row([], |row| {
                    Ok(QueueCount {
                        rows: number(row, 0)?,
                        octets: number(row, 1)?,
                        held: number(row, 2)?,
                        destinations: number(row, 3)?,
                    })
                })
        })?)
    }
}

pub(super) fn queue_row(row: &Row<'_>) -> Sql<QueueRow> {
    Ok(QueueRow {
        id: QueueId(number(row, 0)?),
        message: QueueId(number(row, 1)?),
        destination: row.get(2)?,
        lane: row.get(3)?,
        due_at: row.get(4)?,
        deadline: row.get(5)?,
        held: row.get(6)?,
        queued_at: row.get(7)?,
        size: number(row, 8)?,
        side: row.get::<_, Option<i64>>(9)?.map(|side| side as u64),
        body: u128::from(number(row, 10)?),
        value: row.get::<_, Vec<u8>>(11)?.into(),
    })
}

/// Of `name, rows, resting_until, due, wake_at`.
pub(super) fn destination_row(row: &Row<'_>) -> Sql<QueueDestination> {
    Ok(QueueDestination {
        name: row.get(0)?,
        rows: number(row, 1)?,
        resting_until: row.get(2)?,
        wake_at: row.get(4)?,
    })
}

pub(super) fn row(conn: &Connection, id: u64) -> Sql<Option<QueueRow>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM queue WHERE id = ?1"))?
        .query_row([id as i64], queue_row)
        .optional()
}

/// A listing that fills.
struct Page {
    rows: Vec<QueueRow>,
    octets: usize,
    limit: usize,
}

impl Page {
    /// Adds a row; tells whether there is room for more.
    fn add(&mut self, row: QueueRow) -> bool {
        self.octets += row.value.len();
        self.rows.push(row);
        self.rows.len() < self.limit && self.octets < PAGE_OCTETS
    }
}

fn rows(conn: &Connection, filter: &QueueFilter, limit: usize) -> Sql<Vec<QueueRow>> {
    let mut page = Page { rows: Vec::new(), octets: 0, limit };
    let wanted = |row: &QueueRow| {
        filter.destination.as_ref().is_none_or(|destination| row.destination == *destination)
            && filter.held.is_none_or(|held| row.held == held)
    };
    if let Some(message) = filter.message {
        // The rows of a message have numbers that follow one another.
        let mut select =
            conn.prepare_cached(&format!("SELECT {COLUMNS} FROM queue WHERE id > ?1 ORDER BY id"))?;
        let mut rows = select.query([filter.after.0.max(message.0.saturating_sub(1)) as i64])?;
        while let Some(row) = rows.next()? {
            let row = queue_row(row)?;
            if row.message != message || wanted(&row) && !page.add(row) {
                break;
            }
        }
        return Ok(page.rows);
    }
    if let Some(destination) = &filter.destination {
        let count: Option<i64> = conn
            .prepare_cached("SELECT rows FROM queue_destination WHERE name = ?1")?
            .query_row([destination], |row| row.get(0))
            .optional()?;
        if count.unwrap_or(0) as u64 <= FEW {
            for id in of_destination(conn, destination, filter)? {
                if row(conn, id)?.is_some_and(|row| !page.add(row)) {
                    break;
                }
            }
            return Ok(page.rows);
        }
    }
    // Those that are held have an index of their own.
    let held = if filter.held == Some(true) { "held = 1" } else { "1" };
    let mut select =
        conn.prepare_cached(&format!("SELECT {COLUMNS} FROM queue WHERE id > ?1 AND {held} ORDER BY id"))?;
    let mut rows = select.query([filter.after.0 as i64])?;
    while let Some(row) = rows.next()? {
        let row = queue_row(row)?;
        if wanted(&row) && !page.add(row) {
            break;
        }
    }
    Ok(page.rows)
}

/// The numbers of a destination's rows, ascending.
fn of_destination(conn: &Connection, destination: &str, filter: &QueueFilter) -> Sql<Vec<u64>> {
    let mut select = conn.prepare_cached("SELECT id FROM queue WHERE destination = ?1 AND held = ?2")?;
    let mut ids = Vec::new();
    for held in [false, true] {
        if filter.held.is_none_or(|wanted| wanted == held) {
            let mut rows = select.query(params![destination, held])?;
            while let Some(row) = rows.next()? {
                ids.extend(Some(number(row, 0)?).filter(|id| *id > filter.after.0));
            }
        }
    }
    ids.sort_unstable();
    Ok(ids)
}
