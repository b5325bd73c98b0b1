//! What a row is.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// An account's number, given by the caller, never reused.
    AccountId(u64)
}
number! {
    /// A mailbox's number, unique in the store, never reused.
    MailboxId(u64)
}
impl MailboxId {
    /// In [`crate::Op::Copy`], the mailbox that the transaction itself made last. No mailbox has this number.
    pub const MADE: MailboxId = MailboxId(0);
}

number! {
    /// A message's unique identifier in its mailbox, strictly ascending (RFC 9051 section 2.3.1.1). Never 0.
    Uid(u32)
}
number! {
    /// Changes whenever a mailbox's UIDs start anew (RFC 9051 section 2.3.1.1). Never 0.
    UidValidity(u32)
}
number! {
    /// A queue row's number, ascending, never reused.
    QueueId(u64)
}
number! {
    /// Modification sequence (RFC 7162): one counter per account, taken with the change in the same transaction.
    ModSeq(u64)
}

/// A message's flags (RFC 9051 section 2.3.2) as bits: the system flags in bits 0 to 4, in bits 5 to 63 the keywords
/// of the mailbox it is in, as [`crate::Store::keywords`] names them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flags(pub u64);

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);
    /// `\Seen`
    pub const SEEN: Flags = Flags(1);
    /// `\Answered`
    pub const ANSWERED: Flags = Flags(2);
    /// `\Flagged`
    pub const FLAGGED: Flags = Flags(4);
    /// `\Deleted`
    pub const DELETED: Flags = Flags(8);
    /// `\Draft`
    pub const DRAFT: Flags = Flags(16);
    /// All system flags.
    pub const SYSTEM: Flags = Flags(31);
    /// Keywords a mailbox can have: as many as there are bits left.
    pub const KEYWORDS_MAX: usize = (u64::BITS - Flags::SYSTEM.0.count_ones()) as usize;

    /// Whether all of `other` is set.
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A key-value entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Key; the caller chooses a prefix of its own, such as `account/`.
    pub key: String,
    /// Value, at most [`crate::Tx`]'s limits.
    pub value: Vec<u8>,
    /// 1 when first put, one more with each change.
    pub version: u64,
}

/// An account's counters. True at the end of every transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountRow {
    /// Which account.
    pub id: AccountId,
    /// The highest modification sequence given out.
    pub modseq: ModSeq,
    /// Octets of all messages in all its mailboxes, each message counted once per mailbox.
    pub used_octets: u64,
    /// Messages in all its mailboxes.
    pub messages: u64,
}

/// A mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxRow {
    /// Which mailbox.
    pub id: MailboxId,
    /// Whose.
    pub account: AccountId,
    /// Full name in UTF-8 with `/` between levels; the inbox is `INBOX`.
    pub name: String,
    /// See [`UidValidity`].
    pub uid_validity: UidValidity,
    /// The UID the next message gets.
    pub uid_next: Uid,
    /// Of the last change in this mailbox.
    pub highest_modseq: ModSeq,
    /// How many messages are in it.
    pub messages: u32,
    /// Octets of them.
    pub octets: u64,
    /// How many of them are not `\Seen`.
    pub unseen: u32,
    /// How many of them are `\Deleted`.
    pub deleted: u32,
    /// Octets of those.
    pub deleted_octets: u64,
    /// What it is for (RFC 6154 section 2), as it was given.
    pub special_use: Option<String>,
}

/// A message in a mailbox, as compact as a listing needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Which message in it.
    pub uid: Uid,
    /// Of its last change.
    pub modseq: ModSeq,
    /// Its flags.
    pub flags: Flags,
    /// Octets of the whole message as it is served: prefix and body.
    pub size: u64,
    /// Internal date, microseconds since 1970-01-01T00:00:00Z.
    pub received_at: i64,
    /// When it came into this mailbox (RFC 8514), microseconds since 1970-01-01T00:00:00Z, by the store's clock.
    pub saved_at: i64,
    /// The row's place in the side table that holds prefix and card, if it has any.
    pub side: Option<u64>,
    /// Identity of the body: shared by all messages that have the same stored body, never reused.
    pub body: u128,
}

/// A message with what a listing wants to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carded {
    /// Its row.
    pub row: MessageRow,
    /// What stands before the body in this mailbox; empty when it was not asked for.
    pub prefix: Bytes,
    /// Its card, as it was given with it.
    pub card: Bytes,
}

/// What became of a mailbox since a modification sequence, all of it as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Everything up to this one is told here: ask from it on next time.
    pub upto: ModSeq,
    /// Messages that came or whose flags changed, by UID.
    pub changed: Vec<MessageRow>,
    /// UIDs that are gone, as ascending ranges, both ends included. A range may span UIDs that were gone before, or
    /// never were, but none that is there.
    pub vanished: Vec<(Uid, Uid)>,
    /// Whether `vanished` tells all. If not, who asks compares the whole list.
    pub complete: bool,
    /// The keywords' names by bit, ascending.
    pub keywords: Vec<(u8, String)>,
}
