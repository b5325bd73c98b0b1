//! Rows, bodies, watch.
//!
//! The store keeps key-value entries, accounts' counters, mailboxes, message rows, queue rows and immutable message
//! bodies, and tells who waits that an account or the queue changed. It knows rows, not rules: whether a message may be added is decided in
//! `mail` and `account`; that it is added whole, durable and once is decided here.
//!
//! A transaction is data ([`Tx`]): preconditions and operations. Many callers' transactions share one physical
//! commit; a failed precondition rolls back only its own caller.

mod backup;
mod check;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod contract;
mod embedded;
mod error;
mod handle;
mod options;
mod queue;
mod rows;
mod transfer;
mod tx;

/// For the fuzz targets alone.
#[doc(hidden)]
pub mod fuzz {
    pub use crate::embedded::fuzz::records;
}

pub use backup::Copied;
pub use check::{Check, Outcome, Report};
pub use embedded::body::NewBody;
pub use embedded::filter::{Candidates, Grams, Signature, grams};
pub use embedded::packed::Packed;
pub use embedded::read::{Located, MessageReader};
pub use error::{BodyError, OpenError, ReadError};
pub use handle::Store;
pub use options::{Clock, Options};
pub use queue::{Enqueue, Leased, NewQueueRow, QueueCount, QueueDestination, QueueFilter, QueueRow};
pub use rows::{
    AccountId, AccountRow, Carded, Changes, Entry, Flags, MailboxId, MailboxRow, MessageRow, ModSeq, QueueId,
    Uid, UidValidity,
};
pub use transfer::{TransferError, Transferred};
pub use tx::{AddMessage, BodySource, FlagChange, Op, OpResult, Receipt, Require, Tx, TxError, TxId};
