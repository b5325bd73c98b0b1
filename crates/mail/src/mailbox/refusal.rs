//! Why something is not done with a mailbox, by meaning.

use packetboat_store::{BodyError, ReadError, TxError};
use thiserror::Error;

use super::name::NameError;

/// Why not. The text is what the peer may be told; what only the operator may know is logged where it happens.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There is no such mailbox, or it may not be known that there is one.
    #[error("there is no such mailbox")]
    NoSuchMailbox,
    /// The name is taken.
    #[error("there is a mailbox of this name already")]
    AlreadyExists,
    /// The name is no mailbox, but there are mailboxes below it.
    #[error("there are mailboxes below this name, which is none itself")]
    HasChildren,
    /// Not a name a mailbox can have.
    #[error("{0}")]
    Name(#[from] NameError),
    /// The inbox stays; a mailbox cannot be moved below itself.
    #[error("{0}")]
    Cannot(&'static str),
    /// Whoever asks may not do this.
    #[error("you may not do this")]
    NotAllowed,
    /// The mailbox was opened for reading only.
    #[error("the mailbox was opened for reading only")]
    ReadOnly,
    /// A special use that no mailbox can have here, or that another one has.
    #[error("{0}")]
    SpecialUse(&'static str),
    /// As many as there can be.
    #[error("there can be no more {0}")]
    Limit(&'static str),
    /// The account's quota has no room for it.
    #[error("the quota has no room for this")]
    OverQuota,
    /// Larger than a message may be, in octets.
    #[error("a message may have {0} octets at most")]
    TooLarge(u64),
    /// Some of the messages are not there any more.
    #[error("some of the messages are not there any more")]
    Expunged,
    /// The mailbox is not there any more.
    #[error("the mailbox was deleted")]
    MailboxGone,
    /// The disk is nearly full; later may be better.
    #[error("no storage space left now, try again later")]
    DiskFull,
    /// Something of ours failed; later may be better.
    #[error("local problem, try again later")]
    Temporary,
}

impl From<crate::Refusal> for Refusal {
    fn from(refusal: crate::Refusal) -> Refusal {
        match refusal {
            crate::Refusal::OverQuota => Refusal::OverQuota,
            crate::Refusal::TooLarge(limit) => Refusal::TooLarge(limit),
            crate::Refusal::DiskFull => Refusal::DiskFull,
            _ => Refusal::Temporary,
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Refusal {
        match error {
            ReadError::Gone => Refusal::Expunged,
            error => {
                tracing::error!(%error, "the store could not be read");
                Refusal::Temporary
            }
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Refusal {
        match error {
            BodyError::DiskFull => Refusal::DiskFull,
            error => {
                tracing::error!(%error, "a message body could not be written");
                Refusal::Temporary
            }
        }
    }
}

/// What a failed transaction means when none of its preconditions or operations says something particular.
pub(super) fn failed(error: TxError) -> Refusal {
    match error {
        TxError::DiskFull => Refusal::DiskFull,
        TxError::TooManyKeywords(_) => Refusal::Limit("keywords in this mailbox"),
        TxError::TooLarge(_) => Refusal::Limit("things done at once"),
        TxError::Gone(_) => Refusal::MailboxGone,
        TxError::Exists(_) => Refusal::AlreadyExists,
        error => {
            tracing::error!(%error, "a mailbox could not be changed");
            Refusal::Temporary
        }
    }
}
