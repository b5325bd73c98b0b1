//! What a server session tells and asks its owner.

use bytes::Bytes;
use packetboat_message::Domain;
use packetboat_wire::sasl::{Ask, Done, Failure, Mechanism};

use crate::command::{Hello, Node, Query};
use crate::envelope::{BodyKind, Recipient, Sender};

/// What a server session tells or asks.
///
/// A question stops the session until [`accept`](super::Server::accept), [`accept_with`](super::Server::accept_with)
/// or [`refuse`](super::Server::refuse) answers it.
///
/// A transaction begins with an accepted [`Event::Sender`] and ends in exactly one of three ways: the owner answers
/// [`Event::BodyEnd`] (yes or no), the owner refuses [`Event::BodyStart`], or [`Event::Aborted`] comes.
#[derive(Debug)]
pub enum Event {
    /// The client introduced itself.
    Hello(Hello),
    /// Question: a message from this sender?
    Sender(Sender),
    /// Question: also to this recipient?
    Recipient(Recipient),
    /// Question: the message is about to come; is there a place for it?
    BodyStart(BodyKind),
    /// The next piece of the message, without stuffing. The owner takes it before it calls `next` again.
    BodyChunk(Bytes),
    /// Question: the message is complete; is it safe now? For LMTP there is one answer for each accepted recipient, in
    /// the order of their acceptance (RFC 2033 section 4.2).
    BodyEnd {
        /// Octets of the message.
        octets: u64,
    },
    /// The transaction is over without a message. What has been stored of it can go.
    Aborted(Abort),
    /// Question: may somebody try to log in? Yes is said by
    /// [`start_authentication`](super::Server::start_authentication), which brings the randomness.
    AuthStart(Mechanism),
    /// Question of the mechanism: is this the password, or what are the keys? Keys are given by
    /// [`scram_keys`](super::Server::scram_keys).
    Auth(Ask),
    /// Question: the client has proved who it is; shall it be logged in, and may it act as whom it wants to?
    Authenticated(Done),
    /// A login ended without success, other than by the owner's word.
    AuthFailed(AuthFailure),
    /// Question: is there such a mailbox? [`accept`](super::Server::accept) says 252, that it remains open.
    Verify(Query),
    /// Question: who is on this list? [`accept`](super::Server::accept) says 252.
    Expand(Query),
    /// Question: shall this node's mail be sent at once? [`accept`](super::Server::accept) says 250, that it is.
    Etrn(Node),
    /// Question: shall client and server change places? Yes is followed by [`Event::Turned`].
    Turn(Reversal),
    /// The client knows that it is the server now. The session has nothing more to say: who owns it goes on with a
    /// [`Client`](crate::Client) on the same connection, which first gets what is
    /// [left over](super::Server::take_rest).
    Turned,
}

/// Who wants to change places, and for whose mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reversal {
    /// TURN: the client is nobody but who its address says (RFC 821 section 3.8).
    Turn,
    /// ATRN: the client has logged in, and wants the mail for these domains; none: for all that are its own
    /// (RFC 2645).
    Atrn(Vec<Domain>),
}

/// Why a login failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthFailure {
    /// The client gave up.
    Cancelled,
    /// What the client sent could not be decoded.
    NotBase64,
    /// The line was longer than [`AUTH_LINE_MAX`](super::AUTH_LINE_MAX).
    TooLong,
    /// The mechanism says so: a wrong proof, or a client that does not follow it.
    Mechanism(Failure),
}

/// Why a transaction ended without a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    /// RSET.
    Reset,
    /// HELO, EHLO or LHLO (RFC 5321 section 4.1.4).
    Hello,
    /// The message is larger than the server takes.
    TooBig,
    /// The message has CR or LF outside of CRLF.
    BareNewline,
    /// A chunk of a message where none may be (RFC 3030 section 2).
    BadSequence,
    /// The connection ends.
    Closed(Closed),
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The client said QUIT.
    Quit,
    /// The client went away without.
    Lost,
    /// The client was silent or too slow.
    TimedOut,
    /// The server is stopping.
    ShutDown,
    /// A limit was reached: errors, commands, messages, refused recipients.
    Limit,
    /// Not an SMTP client, or one that breaks the protocol where going on is not safe.
    Hostile,
    /// The owner said so, with a reply 421 or a refused greeting.
    Owner,
    /// Client and server have changed places.
    Turned,
}
