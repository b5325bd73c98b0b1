//! What a transaction did to the queue, as written to the log.

use bytes::Bytes;

use super::super::codec::{Put, Take};
use super::super::effect::Side;
use crate::NewQueueRow;

/// The first of the octets that begin these.
pub(crate) const FIRST: u8 = 16;
/// The last.
pub(crate) const LAST: u8 = 19;

/// One thing a transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum QueueEffect {
    Enqueued(Enqueued),
    /// Ascending.
    Dequeued {
        ids: Vec<u64>,
    },
    Requeued {
        id: u64,
        row: NewQueueRow,
    },
    Rested {
        destination: String,
        until: i64,
    },
}

/// A message that came into the queue. Its rows have numbers from `first` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Enqueued {
    pub(crate) first: u64,
    pub(crate) queued_at: i64,
    pub(crate) size: u64,
    pub(crate) body: u64,
    pub(crate) side: Side,
    pub(crate) rows: Vec<NewQueueRow>,
}

impl QueueEffect {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            QueueEffect::Enqueued(enqueued) => {
                out.push(FIRST);
                out.put_number(enqueued.first);
                out.put_signed(enqueued.queued_at);
                out.put_number(enqueued.size);
                out.put_number(enqueued.body);
                enqueued.side.encode(out);
                out.put_number(enqueued.rows.len() as u64);
                for row in &enqueued.rows {
                    put_row(row, out);
                }
            }
            QueueEffect::Dequeued { ids } => {
                out.push(FIRST + 1);
                put_ids(ids.iter().copied(), out);
            }
            QueueEffect::Requeued { id, row } => {
                out.push(FIRST + 2);
                out.put_number(*id);
                put_row(row, out);
            }
            QueueEffect::Rested { destination, until } => {
                out.push(LAST);
                out.put_bytes(destination.as_bytes());
                out.put_signed(*until);
            }
        }
    }

    /// Reads what follows the first octet.
    pub(crate) fn decode(first: u8, take: &mut Take<'_>) -> Option<QueueEffect> {
        Some(match first.checked_sub(FIRST)? {
            0 => QueueEffect::Enqueued(Enqueued {
                first: take.number()?,
                queued_at: take.signed()?,
                size: take.number()?,
                body: take.number()?,
                side: Side::decode(take)?,
                rows: {
                    let count = take.count()?;
                    (0..count).map(|_| take_row(take)).collect::<Option<_>>()?
                },
            }),
            1 => QueueEffect::Dequeued { ids: take_ids(take)? },
            2 => QueueEffect::Requeued { id: take.number()?, row: take_row(take)? },
            3 => QueueEffect::Rested { destination: take.text()?, until: take.signed()? },
            _ => return None,
        })
    }
}

fn put_row(row: &NewQueueRow, out: &mut Vec<u8>) {
    out.put_bytes(row.destination.as_bytes());
    out.push(row.lane);
    out.put_signed(row.due_at);
    out.put_signed(row.deadline);
    out.push(row.held.into());
    out.put_bytes(&row.value);
}

fn take_row(take: &mut Take<'_>) -> Option<NewQueueRow> {
    Some(NewQueueRow {
        destination: take.text()?,
        lane: take.byte()?,
        due_at: take.signed()?,
        deadline: take.signed()?,
        held: match take.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        },
        value: Bytes::copy_from_slice(take.bytes()?),
    })
}

/// Ascending numbers, each as what it has more than the one before.
pub(crate) fn put_ids(ids: impl ExactSizeIterator<Item = u64>, out: &mut Vec<u8>) {
    out.put_number(ids.len() as u64);
    let mut last = 0u64;
    for id in ids {
        out.put_number(id.wrapping_sub(last));
        last = id;
    }
}

pub(crate) fn take_ids(take: &mut Take<'_>) -> Option<Vec<u64>> {
    let count = take.count()?;
    let mut last = 0u64;
    (0..count)
        .map(|_| {
            last = last.wrapping_add(take.number()?);
            Some(last)
        })
        .collect()
}

#[cfg(test)]
pub(crate) fn examples() -> Vec<QueueEffect> {
    let row = |destination: &str, held| NewQueueRow {
        destination: destination.to_owned(),
        lane: 255,
        due_at: i64::MIN,
        deadline: i64::MAX,
        held,
        value: Bytes::from_static(b"value"),
    };
    let enqueued = |side, rows| {
        QueueEffect::Enqueued(Enqueued { first: 1 << 50, queued_at: -1, size: 9, body: 8, side, rows })
    };
    let side = Side::New { side: 4, prefix: Bytes::from_static(b"p"), card: Bytes::from_static(b"c") };
    vec![
        enqueued(Side::None, vec![row("mx:example.org", false)]),
        enqueued(side, vec![row("", true), row("ü", false)]),
        QueueEffect::Dequeued { ids: vec![1, 2, 1 << 50, u64::MAX] },
        QueueEffect::Requeued { id: u64::MAX, row: row("b", true) },
        QueueEffect::Rested { destination: "b".to_owned(), until: i64::MIN },
    ]
}
