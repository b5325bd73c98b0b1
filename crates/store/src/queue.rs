//! The queue as its users see it: what its rows are, and the questions that can be asked of it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::embedded::read::MessageReader;
use crate::tx::BodySource;
use crate::{QueueId, ReadError, Store};

/// What [`crate::Op::Enqueue`] puts into the queue: one message for one or more recipients. All its rows share its body, its
/// prefix and its card.
#[derive(Debug, Clone)]
pub struct Enqueue {
    /// Its body.
    pub body: BodySource,
    /// What stands before the body. At most 64 KiB.
    pub prefix: Bytes,
    /// What is to be known of the message, whoever the recipient is; opaque here. At most 64 KiB.
    pub card: Bytes,
    /// A row for each recipient. At most 100,000; without any, nothing is put into the queue.
    pub rows: Vec<NewQueueRow>,
}

/// What a queue row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewQueueRow {
    /// Where it is to go; rows of the same destination rest and are taken together. At most 1 KiB.
    pub destination: String,
    /// Rows of a destination are taken from its lanes in turn.
    pub lane: u8,
    /// Not before this, microseconds since the epoch.
    pub due_at: i64,
    /// When it is to be looked at whatever the destination does, microseconds since the epoch; `i64::MAX` for never.
    pub deadline: i64,
    /// While it is held nothing is due.
    pub held: bool,
    /// What is to be known of the recipient; opaque here. At most 16 KiB.
    pub value: Bytes,
}

/// A recipient's copy of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRow {
    /// Which row.
    pub id: QueueId,
    /// The id of the first row of its [`Enqueue`]: the same for all of them, whether that first one is there or not.
    pub message: QueueId,
    /// See [`NewQueueRow::destination`].
    pub destination: String,
    /// See [`NewQueueRow::lane`].
    pub lane: u8,
    /// See [`NewQueueRow::due_at`].
    pub due_at: i64,
    /// See [`NewQueueRow::deadline`].
    pub deadline: i64,
    /// See [`NewQueueRow::held`].
    pub held: bool,
    /// See [`NewQueueRow::value`].
    pub value: Bytes,
    /// When it came into the queue, microseconds since the epoch by the store's clock.
    pub queued_at: i64,
    /// Octets of the whole message: prefix and body.
    pub size: u64,
    /// The row's place in the side table that holds prefix and card, if it has any.
    pub side: Option<u64>,
    /// Identity of the body, see [`crate::MessageRow::body`].
    pub body: u128,
}

/// A row that is the caller's until its lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// The row.
    pub row: QueueRow,
    /// Tells this lease from every other, see [`crate::Require::Lease`].
    pub fence: u64,
}

/// What is queued for one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDestination {
    /// Which.
    pub name: String,
    /// Its rows, held and leased ones included.
    pub rows: u64,
    /// It waits at least until then; `i64::MIN` when it does not.
    pub resting_until: i64,
    /// When there is something to do: the end of its rest, or when the earliest of its rows is due that are neither
    /// held nor leased, whichever is later. `i64::MAX` when there are none.
    pub wake_at: i64,
}

/// Which queue rows are listed. The default is all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueFilter {
    /// Those behind this one.
    pub after: QueueId,
    /// Those of this message, see [`QueueRow::message`].
    pub message: Option<QueueId>,
    /// Those for this destination.
    pub destination: Option<String>,
    /// Those that are held, or are not.
    pub held: Option<bool>,
}

impl Default for QueueFilter {
    fn default() -> Self {
        QueueFilter { after: QueueId(0), message: None, destination: None, held: None }
    }
}

/// What is in the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCount {
    /// Rows.
    pub rows: u64,
    /// Octets of their messages, a message counted once per row.
    pub octets: u64,
    /// Rows that are held.
    pub held: u64,
    /// Destinations that have rows.
    pub destinations: u64,
}

/// The queue. Leases end when they are given back, when their rows are changed or taken out, with the process, and when rows
/// are leased at a time at which they have run out. All times are microseconds since the epoch.
impl Store {
    /// Destinations where something is to be done by now, the earliest first; leases that will have run out by then do
    /// not count, and go on. At the end of time, `i64::MAX`, those are all that have rows, held and leased ones as well.
    /// At most 1,000.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queue_destinations(
        &self,
        now: i64,
        limit: usize,
    ) -> Result<Vec<QueueDestination>, ReadError> {
        self.shared().queue_destinations(now, limit)
    }

    /// A destination, when it has rows or rests.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queue_destination(&self, name: &str) -> Result<Option<QueueDestination>, ReadError> {
        self.shared().queue_destination(name)
    }

    /// The earliest moment at which something is to be done that nobody has a lease for: a destination to wake, a
    /// deadline, or a lease that runs out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queue_next(&self) -> Result<Option<i64>, ReadError> {
        self.shared().queue_next()
    }

    /// Leases rows of a destination that are due and neither held nor leased, whether it rests or not. `now` is the time,
    /// for every destination: leases that have run out by then end. One of each lane
    /// in turn, the oldest of a lane first, at most `per_lane` of each lane and `limit` (1,000 at most) in all. The next
    /// call goes on with the lane behind the last.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queue_lease(
        &self,
        destination: &str,
        now: i64,
        per_lane: usize,
        limit: usize,
        lease_until: i64,
    ) -> Result<Vec<Leased>, ReadError> {
        self.shared().queue_lease(destination, now, per_lane, limit, lease_until)
    }

    /// Leases rows of one message that go to a destination, due and neither held nor leased, in the order of their
    /// numbers; at most `limit` (1,000 at most).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queue_lease_message(
        &self,
        message: QueueId,
        destination: &str,
        now: i64,
        limit: usize,
        lease_until: i64,
    ) -> Result<Vec<Leased>, ReadError> {
        self.shared().queue_lease_message(message, destination, now, limit, lease_until)
    }

    /// Leases rows whose deadline has come and that are neither held nor leased, the earliest first; at most `limit`
    /// (1,000 at most).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queue_deadlines(
        &self,
        now: i64,
        limit: usize,
        lease_until: i64,
    ) -> Result<Vec<Leased>, ReadError> {
        self.shared().queue_deadlines(now, limit, lease_until)
    }

    /// Gives leases back: row and fence. Those that have ended are passed over.
    pub fn queue_unlease(&self, leases: &[(QueueId, u64)]) {
        self.shared().leases.give_back(leases);
    }

    /// Rows in the order of their numbers. Fewer than `limit` (10,000 at most) come where there are no more or where
    /// they are large; none come at the end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queue_rows(&self, filter: QueueFilter, limit: usize) -> Result<Vec<QueueRow>, ReadError> {
        self.shared().queue_rows(filter, limit).await
    }

    /// A row.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queue_row(&self, id: QueueId) -> Result<Option<QueueRow>, ReadError> {
        self.shared().queue_row(id)
    }

    /// What was said of a row's message when it was put into the queue.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when the last row of the message was taken out since.
    pub async fn queue_card(&self, row: &QueueRow) -> Result<Bytes, ReadError> {
        self.shared().card(row.side)
    }

    /// Opens a row's message for reading; it stays readable when it is taken out of the queue meanwhile.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when the last row of the message was taken out since.
    pub async fn open_queued(&self, row: &QueueRow) -> Result<MessageReader, ReadError> {
        self.shared().open_queued(row)
    }

    /// What is in the queue.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queue_count(&self) -> Result<QueueCount, ReadError> {
        self.shared().queue_count()
    }

    /// Moves whenever something may be to be done earlier than it was: rows were put in or changed, a rest was set or
    /// ended, leases were given back.
    pub fn queue_watch(&self) -> watch::Receiver<u64> {
        self.shared().leases.watch()
    }

    fn shared(&self) -> &Arc<crate::embedded::Shared> {
        &self.embedded().shared
    }
}
