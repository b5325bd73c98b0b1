//! What a client session tells its owner.

use std::fmt;

use packetboat_wire::sasl::ClientError;
use packetboat_wire::{Reply, ReplyClass, ReplyError};
use thiserror::Error;

use crate::envelope::{Recipient, Sender};

/// A message to send: everything but the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// From whom, and what kind of message it is.
    pub sender: Sender,
    /// To whom.
    pub recipients: Vec<Recipient>,
}

/// What a client session tells its owner.
///
/// For each message that was given to [`send`](super::Client::send) there come: an [`Event::Recipient`] for each
/// recipient (unless the message fails before), [`Event::WantBody`] as often as is needed, in LMTP an
/// [`Event::Delivery`] for each accepted recipient, and one [`Event::Done`]. An [`Event::Failed`] instead of any of
/// these ends the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server is ready for a message: [`send`](super::Client::send) one, or [`quit`](super::Client::quit).
    Ready,
    /// The server's answer to a recipient; its class says whether it is accepted.
    Recipient {
        /// Which of the envelope's.
        index: usize,
        /// What the server said.
        reply: Reply,
    },
    /// Question: what is the next piece of the message? Answered by [`body`](super::Client::body),
    /// [`end_body`](super::Client::end_body) or [`abandon`](super::Client::abandon).
    WantBody,
    /// LMTP: what became of the message for one recipient.
    Delivery {
        /// Which of the envelope's.
        index: usize,
        /// What the server said.
        reply: Reply,
    },
    /// The message is done with.
    Done(Outcome),
    /// The session is at its end, and the message in hand has not been delivered; whether a retry makes sense is in
    /// [`Error::is_permanent`], whether it may already have been delivered in [`Error::is_in_doubt`].
    Failed(Error),
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server has taken it, for all recipients it accepted.
    Accepted(Reply),
    /// LMTP: the message was handed over; each [`Event::Delivery`] has told of one recipient.
    Delivered,
    /// The server refused the message as a whole.
    Refused {
        /// At which command.
        stage: Stage,
        /// What it said; 4yz means that a retry makes sense.
        reply: Reply,
    },
    /// No recipient was accepted; each [`Event::Recipient`] has told why.
    NoRecipients,
    /// The message needs what the server does not offer. Nothing was sent.
    NotOffered(Extension),
    /// The server takes no message of this size (RFC 1870). Nothing was sent.
    TooBig {
        /// Octets the server takes at most.
        max: u64,
    },
}

/// An extension a message may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// SMTPUTF8 (RFC 6531).
    SmtpUtf8,
    /// 8BITMIME (RFC 6152).
    EightBitMime,
    /// CHUNKING and BINARYMIME (RFC 3030).
    BinaryMime,
    /// DELIVERBY (RFC 2852), or not in so short a time.
    DeliverBy,
    /// FUTURERELEASE (RFC 4865), or not so late.
    FutureRelease,
    /// REQUIRETLS (RFC 8689).
    RequireTls,
}

/// Which answer of the server is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The greeting.
    Greeting,
    /// To EHLO, LHLO or HELO.
    Hello,
    /// To STARTTLS.
    StartTls,
    /// To AUTH.
    Auth,
    /// None was expected: between messages.
    Ready,
    /// To MAIL.
    Mail,
    /// To RCPT.
    Recipient,
    /// To DATA.
    Data,
    /// To a chunk that was not the last.
    Chunk,
    /// To the whole message.
    End,
    /// To RSET.
    Reset,
    /// To QUIT.
    Quit,
}

/// Why a session failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The server does not want us, or closes (421).
    #[error("the server refuses {stage}: {reply}")]
    Refused {
        /// What it refuses.
        stage: Stage,
        /// What it said.
        reply: Reply,
    },
    /// The server misbehaves: its answer makes no sense at this place.
    #[error("the server's answer to {stage} makes no sense: {reply}")]
    Unexpected {
        /// Where.
        stage: Stage,
        /// What it said.
        reply: Reply,
    },
    /// The server misbehaves: what it says is no reply.
    #[error("the server does not speak SMTP: {0}")]
    NoReply(#[from] ReplyError),
    /// The server cannot do TLS, and we do not go without.
    #[error("the server does not offer STARTTLS")]
    TlsNotOffered,
    /// The server offers no way to log in that we know and may use here.
    #[error("the server offers no way to log in that can be used on this connection")]
    NoMechanism,
    /// The login went wrong on our side, or the server could not prove who it is.
    #[error("log-in failed: {0}")]
    Login(ClientError),
    /// The server did not answer in time.
    #[error("the server does not answer {0}")]
    TimedOut(Stage),
    /// The connection ended.
    #[error("the connection was lost while the server should answer {0}")]
    Lost(Stage),
}

/// A message was to be sent while another one, or none at all, can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the session is not ready for a message")]
pub struct NotReady;

/// Whose fault an [`enum@Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server keeps to the protocol, and says no.
    Refusal,
    /// The server does not keep to the protocol, or is not who it should be.
    Peer,
    /// The two cannot agree: server and settings do not fit.
    Incompatible,
    /// The network, or a server that fell silent.
    Network,
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Error::Refused { .. } | Error::Login(ClientError::Refused(_)) => Fault::Refusal,
            Error::Unexpected { .. } | Error::NoReply(_) => Fault::Peer,
            Error::Login(ClientError::Unfit(_) | ClientError::NoChannel) => Fault::Incompatible,
            Error::Login(_) => Fault::Peer,
            Error::TlsNotOffered | Error::NoMechanism => Fault::Incompatible,
            Error::TimedOut(_) | Error::Lost(_) => Fault::Network,
        }
    }

    /// Whether trying again later is of no use.
    ///
    /// Only the server's own 5yz says so: servers that cannot do TLS or that talk nonsense today may have been mended
    /// tomorrow.
    pub fn is_permanent(&self) -> bool {
        match self {
            Error::Refused { reply, .. } => reply.class() == ReplyClass::Permanent,
            Error::Login(ClientError::Refused(_) | ClientError::Unfit(_)) => true,
            _ => false,
        }
    }

    /// Whether the message in hand may have been delivered although nobody said so: it was sent whole, and the answer
    /// is missing (RFC 1047).
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Error::TimedOut(Stage::End) | Error::Lost(Stage::End))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Greeting => "the connection",
            Stage::Hello => "EHLO",
            Stage::StartTls => "STARTTLS",
            Stage::Auth => "AUTH",
            Stage::Ready => "nothing",
            Stage::Mail => "MAIL",
            Stage::Recipient => "RCPT",
            Stage::Data => "DATA",
            Stage::Chunk => "BDAT",
            Stage::End => "the message",
            Stage::Reset => "RSET",
            Stage::Quit => "QUIT",
        })
    }
}
