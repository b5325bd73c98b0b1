//! Why the post office does not take something, by meaning.

use packetboat_message::Address;
use packetboat_message::dsn::Status;
use thiserror::Error;

/// A verdict against a sender, a recipient or a message. The text is what the peer may be told; what only the
/// operator may know is logged where it happens.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The domain is local, the user is not there.
    #[error("no such user here")]
    UnknownUser,
    /// The domain is not local and the sender may not relay.
    #[error("relaying denied: {0} is not a mailbox of this server")]
    RelayDenied(String),
    /// The sender may relay, and there is no way out.
    #[error("this server has no way to deliver mail for {0}, which is not one of its mailboxes")]
    NoRoute(String),
    /// The user has moved; senders are to write to the new address (RFC 5321 section 3.4).
    #[error("the user has moved, please try {0}")]
    Moved(Address),
    /// Nobody can be reached behind the address.
    #[error("nobody can be reached by way of this address: {0}")]
    DeadEnd(String),
    /// More recipients stand behind those that were named than one message may have; others may get it in another.
    #[error("too many recipients for one message")]
    TooManyRecipients,
    /// The message is for a screen, and nobody sits before one.
    #[error("the user is not logged in, or takes no such messages")]
    NotHere,
    /// As much waits to be sent on as this server keeps; later may be better.
    #[error("too much mail is waiting to be sent on, try again later")]
    QueueFull,
    /// The recipient's quota has no room for the message.
    #[error("mailbox is full")]
    OverQuota,
    /// Larger than the post office takes, in octets.
    #[error("message is larger than the {0} octets this server takes")]
    TooLarge(u64),
    /// More trace lines than a message that is not in a loop would have.
    #[error("message has passed {0} servers: it is going round in a loop")]
    Loop(u32),
    /// An authenticated sender uses an address that is not theirs.
    #[error("{0} is not an address of yours")]
    NotYourAddress(String),
    /// The disk is nearly full; later may be better.
    #[error("no storage space left now, try again later")]
    DiskFull,
    /// A recipient went away or filled up after it was accepted, and there are others; tried again, each gets its own
    /// answer.
    #[error("a recipient's mailbox has changed meanwhile, send the message again")]
    RecipientsChanged,
    /// Something of ours failed; later may be better.
    #[error("local problem, try again later")]
    Temporary,
}

impl Refusal {
    /// What it means to a sender who is told in a notice (RFC 3463 section 3). There it is final, whatever it was at the door.
    pub fn status(&self) -> Status {
        match self {
            Refusal::UnknownUser | Refusal::DeadEnd(_) => Status(5, 1, 1),
            Refusal::Moved(_) => Status(5, 1, 6),
            Refusal::NoRoute(_) => Status(5, 4, 4),
            Refusal::NotHere => Status(5, 2, 1),
            Refusal::OverQuota => Status(5, 2, 2),
            Refusal::DiskFull | Refusal::QueueFull => Status(5, 3, 1),
            Refusal::TooLarge(_) => Status(5, 3, 4),
            Refusal::Loop(_) => Status(5, 4, 6),
            Refusal::TooManyRecipients => Status(5, 5, 3),
            Refusal::RelayDenied(_) | Refusal::NotYourAddress(_) => Status(5, 7, 1),
            Refusal::RecipientsChanged | Refusal::Temporary => Status(5, 3, 0),
        }
    }

    /// Whether trying again later may help.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Refusal::NotHere
                | Refusal::DiskFull
                | Refusal::TooManyRecipients
                | Refusal::QueueFull
                | Refusal::RecipientsChanged
                | Refusal::Temporary
        )
    }
}
