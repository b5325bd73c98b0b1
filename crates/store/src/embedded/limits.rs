//! What one transaction may hold, and what it costs.

use bytes::Bytes;

use crate::tx::{Op, Tx, TxError};

/// Octets of a key.
const KEY: usize = 1 << 10;
/// Octets of a value.
const VALUE: usize = 1 << 20;
/// Octets of a mailbox's name.
const NAME: usize = 4 << 10;
/// Octets of a message's prefix, and of its card.
const SIDE: usize = 64 << 10;
/// UIDs in one operation.
const UIDS: usize = 1_000_000;
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
        total += 64
            + match op {
                Op::Put { key, value } => fits(key.len(), KEY)? + fits(value.len(), VALUE)?,
                Op::Remove { key } => fits(key.len(), KEY)?,
                Op::CreateMailbox { name, .. } | Op::RenameMailbox { name, .. } => fits(name.len(), NAME)?,
                Op::AddMessage(add) => {
                    let side = |octets: &Bytes| fits(octets.len(), SIDE);
                    side(&add.prefix)? + side(&add.card)?
                }
                Op::Copy { uids, .. } | Op::SetFlags { uids, .. } | Op::Expunge { uids, .. } => {
                    fits(uids.len(), UIDS)? * 4
                }
                Op::CreateAccount(_) | Op::RemoveAccount(_) | Op::RemoveMailbox(_) => 0,
            };
        fits(total, TX)?;
    }
    Ok(total)
}

/// Whether a transaction only takes away, and so may happen on a full disk.
pub(crate) fn only_removes(tx: &Tx) -> bool {
    tx.ops.iter().all(|op| {
        matches!(
            op,
            Op::Remove { .. }
                | Op::RemoveAccount(_)
                | Op::RemoveMailbox(_)
                | Op::Expunge { .. }
                | Op::SetFlags { .. }
        )
    })
}
