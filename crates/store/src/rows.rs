//! What a row is.

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
number! {
    /// A message's unique identifier in its mailbox, strictly ascending (RFC 9051 section 2.3.1.1). Never 0.
    Uid(u32)
}
number! {
    /// Changes whenever a mailbox's UIDs start anew (RFC 9051 section 2.3.1.1). Never 0.
    UidValidity(u32)
}
number! {
    /// Modification sequence (RFC 7162): one counter per account, taken with the change in the same transaction.
    ModSeq(u64)
}

/// A message's system flags (RFC 9051 section 2.3.2) as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flags(pub u32);

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
    /// System flags.
    pub flags: Flags,
    /// Octets of the whole message as it is served: prefix and body.
    pub size: u64,
    /// Internal date, microseconds since 1970-01-01T00:00:00Z.
    pub received_at: i64,
    /// The row's place in the side table that holds prefix and card, if it has any.
    pub side: Option<u64>,
    /// Identity of the body: shared by all messages that have the same stored body, never reused.
    pub body: u128,
}
