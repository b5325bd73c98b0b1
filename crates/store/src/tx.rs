//! A transaction as data.

use bytes::Bytes;
use thiserror::Error;

use crate::queue::{Enqueue, NewQueueRow};
use crate::rows::{AccountId, Flags, MailboxId, ModSeq, QueueId, Uid, UidValidity};

/// Names a transaction for a day: committed again with the same id, it answers its first receipt and does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TxId(pub u128);

/// Preconditions and operations: all of it, or nothing.
#[derive(Debug, Clone)]
pub struct Tx {
    /// Random or time-ordered, made by the caller; `None` when the caller never asks again.
    pub id: Option<TxId>,
    /// All must hold at the moment of the commit.
    pub require: Vec<Require>,
    /// Carried out in order; later ones see the earlier ones.
    pub ops: Vec<Op>,
}

/// A precondition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Require {
    /// The entry has this version; `None`: there is no such entry.
    KeyVersion {
        /// Key of the entry.
        key: String,
        /// Its version.
        version: Option<u64>,
    },
    /// The account exists.
    Account(AccountId),
    /// The mailbox exists.
    Mailbox(MailboxId),
    /// All these messages are there.
    Messages {
        /// Where.
        mailbox: MailboxId,
        /// Which.
        uids: Vec<Uid>,
    },
    /// The account's octets plus `octets` are at most `limit`.
    Room {
        /// Whose.
        account: AccountId,
        /// How many octets come in.
        octets: u64,
        /// How many there may be.
        limit: u64,
    },
    /// The account's messages plus `messages` are at most `limit`.
    Places {
        /// Whose.
        account: AccountId,
        /// How many messages come in.
        messages: u64,
        /// How many there may be.
        limit: u64,
    },
    /// The queue row is there.
    Queued(QueueId),
    /// The queue row is there and this lease of it is live: it was neither given back, nor ended by a change of the row,
    /// nor did it run out and somebody look at the queue since.
    Lease {
        /// Which row.
        id: QueueId,
        /// See [`crate::Leased::fence`].
        fence: u64,
    },
}

/// An operation.
#[derive(Debug, Clone)]
pub enum Op {
    /// Sets an entry.
    Put {
        /// Key.
        key: String,
        /// Value.
        value: Vec<u8>,
    },
    /// Removes an entry; it may be absent.
    Remove {
        /// Key.
        key: String,
    },
    /// Makes an account's counters.
    CreateAccount(AccountId),
    /// Removes an account with its mailboxes and messages (its entries are the caller's to remove).
    RemoveAccount(AccountId),
    /// Makes a mailbox.
    CreateMailbox {
        /// Whose.
        account: AccountId,
        /// Its name; must not exist yet in the account.
        name: String,
        /// What it is for (RFC 6154 section 2); opaque here.
        special_use: Option<String>,
        /// For imports that keep it (then it is the caller's to know that the name never had a greater one); else, and
        /// for 0, a new one.
        uid_validity: Option<UidValidity>,
    },
    /// Says what a mailbox is for.
    SetSpecialUse {
        /// Which.
        mailbox: MailboxId,
        /// See [`crate::MailboxRow::special_use`].
        special_use: Option<String>,
    },
    /// Raises the UID the next message gets; never lowers it.
    SetUidNext {
        /// Where.
        mailbox: MailboxId,
        /// At least this one.
        uid_next: Uid,
    },
    /// Says that a mailbox's UIDs are others than they were.
    SetUidValidity {
        /// Where.
        mailbox: MailboxId,
        /// For imports that keep it, into a mailbox without messages ([`TxError::Exists`] if there is one); else, and for
        /// 0, a new one.
        uid_validity: Option<UidValidity>,
    },
    /// Gives a mailbox another name.
    RenameMailbox {
        /// Which.
        mailbox: MailboxId,
        /// New name; must not exist yet in the account.
        name: String,
    },
    /// Removes a mailbox and its messages.
    RemoveMailbox(MailboxId),
    /// Puts a message into a mailbox.
    AddMessage(AddMessage),
    /// Puts copies of messages into another mailbox, of the same or another account, with their flags and keywords, in
    /// the order of their UIDs. UIDs that are gone are skipped.
    Copy {
        /// From where.
        from: MailboxId,
        /// Which.
        uids: Vec<Uid>,
        /// To where; [`MailboxId::MADE`] is the mailbox that the transaction made last.
        to: MailboxId,
    },
    /// Changes flags. UIDs that are gone are skipped.
    SetFlags {
        /// Where.
        mailbox: MailboxId,
        /// Which.
        uids: Vec<Uid>,
        /// How.
        change: FlagChange,
        /// Keywords that are treated as the flags of `change` are, by name: compared regardless of ASCII case, and made
        /// where they are set for the first time.
        keywords: Vec<String>,
        /// Messages that changed later than this are left alone (RFC 7162 section 3.1.3).
        unchanged_since: Option<ModSeq>,
    },
    /// Removes messages. UIDs that are gone are skipped.
    Expunge {
        /// Where.
        mailbox: MailboxId,
        /// Which.
        uids: Vec<Uid>,
    },
    /// Removes those of these messages that are marked [`Flags::DELETED`] at this moment.
    ExpungeDeleted {
        /// Where.
        mailbox: MailboxId,
        /// Which.
        uids: Vec<Uid>,
    },
    /// Puts a message into the queue: a row for each of its recipients.
    Enqueue(Enqueue),
    /// Takes rows out of the queue, and ends their leases. Those that are gone are skipped.
    Dequeue {
        /// Which.
        ids: Vec<QueueId>,
    },
    /// Changes what a queue row says, and ends its lease. The message stays what it is. [`TxError::Gone`] when the row
    /// is not there.
    Requeue {
        /// Which.
        id: QueueId,
        /// What it says from now on.
        row: NewQueueRow,
    },
    /// All of a destination waits until then, whatever its rows say. Told again, the last one holds.
    Rest {
        /// Which; it need not have rows.
        destination: String,
        /// Microseconds since the epoch; `i64::MIN` ends a rest.
        until: i64,
    },
}

/// What [`Op::AddMessage`] adds.
#[derive(Debug, Clone)]
pub struct AddMessage {
    /// Which mailbox (its account is known by it).
    pub mailbox: MailboxId,
    /// Its body.
    pub body: BodySource,
    /// What stands before the body for this recipient alone (Return-Path, Delivered-To, ...). At most 64 KiB.
    pub prefix: Bytes,
    /// What a listing wants to know without opening the body; opaque here, may be empty.
    pub card: Bytes,
    /// Its flags. Bits of keywords the mailbox does not have are ignored.
    pub flags: Flags,
    /// Its keywords by name, see [`Op::SetFlags`].
    pub keywords: Vec<String>,
    /// Internal date, microseconds since the epoch.
    pub received_at: i64,
    /// For imports that keep it: at least the mailbox's next one, else [`TxError::UidTaken`].
    pub uid: Option<Uid>,
}

/// Where a message's body comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodySource {
    /// The n-th of the bodies handed to `commit` with the transaction.
    New(usize),
    /// A body that is stored already (the `body` of a row). Fails with [`TxError::Gone`] when nobody has it any more.
    Stored(u128),
}

/// How flags change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagChange {
    /// These are set, others stay.
    Add(Flags),
    /// These are cleared, others stay.
    Remove(Flags),
    /// These are set, others are cleared.
    Replace(Flags),
}

/// What became of a committed transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// One result for each operation, in order.
    pub results: Vec<OpResult>,
}

/// What became of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpResult {
    /// Nothing to tell.
    Done,
    /// The entry's new version.
    Version(u64),
    /// The mailbox made.
    Mailbox(MailboxId, UidValidity),
    /// The message added.
    Added(Uid, ModSeq),
    /// The messages copied, from and to, in order.
    Copied(Vec<(Uid, Uid)>),
    /// The messages that were there and are gone, and the modification sequence it happened at.
    Changed(Vec<Uid>, ModSeq),
    /// What became of flags.
    Flagged {
        /// The messages whose flags are others now, ascending.
        changed: Vec<Uid>,
        /// The messages that were left alone because they changed since, ascending.
        modified: Vec<Uid>,
        /// The modification sequence of the changed ones; the account's when there are none.
        modseq: ModSeq,
    },
    /// The rows put into the queue, in the order they were given.
    Queued(Vec<QueueId>),
    /// The queue rows that were there and are gone, ascending.
    Dequeued(Vec<QueueId>),
}

/// Why nothing of a transaction happened, or why it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TxError {
    /// The n-th precondition does not hold.
    #[error("precondition {0} of the transaction does not hold")]
    Failed(usize),
    /// An operation names an account, mailbox, body or queue row that is not there.
    #[error("operation {0} of the transaction names something that is not there")]
    Gone(usize),
    /// An operation makes something that is there already.
    #[error("operation {0} of the transaction makes something that exists")]
    Exists(usize),
    /// The mailbox has as many keywords as fit.
    #[error("operation {0} of the transaction needs more keywords than a mailbox can have")]
    TooManyKeywords(usize),
    /// A message was to get a UID below the mailbox's next one.
    #[error("operation {0} of the transaction wants a UID that may have been used")]
    UidTaken(usize),
    /// A value, list or name is larger than the store keeps.
    #[error("operation {0} of the transaction is larger than the store allows")]
    TooLarge(usize),
    /// The disk has less free space than the configured floor. Nothing happened; trying later may help.
    #[error("the disk is nearly full")]
    DiskFull,
    /// The store has failed (a sync went wrong) or is shutting down; the process must end. The outcome is unknown.
    #[error("the store has stopped: {0}")]
    Stopped(String),
}
