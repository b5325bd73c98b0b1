//! What one transaction may hold, and what it costs.

use bytes::Bytes;

use crate::NewQueueRow;
use crate::tx::{Op, Tx, TxError};

/// Octets of a key.
const KEY: usize = 1 << 10;
/// Octets of a value.
const VALUE: usize = 1 << 20;
/// Octets of a mailbox's name.
const NAME: usize = 4 << 10;
/// Octets of a keyword, and of a special use.
const WORD: usize = 1 << 10;
/// Octets of a message's prefix, and of its card.
const SIDE: usize = 64 << 10;
/// Keywords in one operation.
const WORDS: usize = 1_000;
/// UIDs in one operation.
const UIDS: usize = 1_000_000;
/// Rows of one message in the queue.
const QUEUE_ROWS: usize = 100_000;
/// Octets of a queue row's value.
const QUEUE_VALUE: usize = 16 << 10;
/// Octets of a queue row beside its destination and its value.
const QUEUE_ROW: usize = 64;
/// Operations.
const OPS: usize = 100_000;
/// Octets of everything that goes through memory.
const TX: usize = 32 << 20;

/// Octets a transaction brings through memory, or which operation is too large.
pub(crate) fn measure(tx: &Tx) -> Result<usize, TxError> {
    let mut total = 0usize;
    if tx.ops.len() > OPS {
        return Err(TxError::TooLarge(OPS));
    }
    for (index, op) in tx.ops.iter().enumerate() {
        let fits = |value: usize, limit: usize| {
            if value <= limit { Ok(value) } else { Err(TxError::TooLarge(index)) }
        };
        let words = |words: &[String]| {
            fits(words.len(), WORDS)?;
            words.iter().map(|word| fits(word.len(), WORD)).sum::<Result<usize, TxError>>()
        };
        let queue_row = |row: &NewQueueRow| {
            Ok(fits(row.destination.len(), KEY)? + fits(row.value.len(), QUEUE_VALUE)? + QUEUE_ROW)
        };
        total += 64
            + match op {
                Op::Put { key, value } => fits(key.len(), KEY)? + fits(value.len(), VALUE)?,
                Op::Remove { key } => fits(key.len(), KEY)?,
                Op::CreateMailbox { name, special_use, .. } => {
                    fits(name.len(), NAME)? + fits(special_use.as_ref().map_or(0, String::len), WORD)?
                }
                Op::RenameMailbox { name, .. } => fits(name.len(), NAME)?,
                Op::SetSpecialUse { special_use, .. } => {
                    fits(special_use.as_ref().map_or(0, String::len), WORD)?
                }
                Op::AddMessage(add) => {
                    let side = |octets: &Bytes| fits(octets.len(), SIDE);
                    side(&add.prefix)? + side(&add.card)? + words(&add.keywords)?
                }
                Op::SetFlags { uids, keywords, .. } => fits(uids.len(), UIDS)? * 4 + words(keywords)?,
                Op::Copy { uids, .. } | Op::Expunge { uids, .. } | Op::ExpungeDeleted { uids, .. } => {
                    fits(uids.len(), UIDS)? * 4
                }
                Op::CreateAccount(_)
                | Op::RemoveAccount(_)
                | Op::RemoveMailbox(_)
                | Op::SetUidNext { .. }
                | Op::SetUidValidity { .. } => 0,
                Op::Enqueue(enqueue) => {
                    fits(enqueue.rows.len(), QUEUE_ROWS)?;
                    let rows = enqueue.rows.iter().map(queue_row).sum::<Result<usize, TxError>>()?;
                    fits(enqueue.prefix.len(), SIDE)? + fits(enqueue.card.len(), SIDE)? + rows
                }
                Op::Requeue { row, .. } => queue_row(row)?,
                Op::Dequeue { ids } => fits(ids.len(), UIDS)? * 8,
                Op::Rest { destination, .. } => fits(destination.len(), KEY)?,
            };
        fits(total, TX)?;
    }
    Ok(total)
}

/// Whether a transaction only takes away, or changes what is there, and so may happen on a full disk.
pub(crate) fn only_removes(tx: &Tx) -> bool {
    tx.ops.iter().all(|op| {
        matches!(
            op,
            Op::Remove { .. }
                | Op::RemoveAccount(_)
                | Op::RemoveMailbox(_)
                | Op::Expunge { .. }
                | Op::ExpungeDeleted { .. }
                | Op::SetFlags { .. }
                | Op::Dequeue { .. }
                | Op::Requeue { .. }
                | Op::Rest { .. }
        )
    })
}
