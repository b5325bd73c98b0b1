//! What a client session tells its owner.

use std::fmt;

use bytes::Bytes;
use packetboat_wire::sasl;

use super::{Capabilities, Fetched, Request, Untagged};
use crate::command::Section;
use crate::response::{Code, Completion};

/// Only [`Append`](Event::Append) is a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The way is free for [`request`](super::Client::request)s: the client is logged in, or was told not to.
    Ready {
        /// What the server offers, as it said last.
        capabilities: Capabilities,
    },
    /// The server has said something, asked or unasked.
    Untagged(Untagged),
    /// A section of a message begins: [`Octets`](Event::Octets) follow, then [`SectionEnd`](Event::SectionEnd).
    Section {
        /// Which.
        section: Section,
        /// How many octets.
        octets: u64,
        /// What small items the response has told so far, in the order the server likes.
        so_far: Box<Fetched>,
    },
    /// The next octets of the section.
    Octets(Bytes),
    /// That was all of the section.
    SectionEnd,
    /// All of a message's items have been told.
    Fetched(Box<Fetched>),
    /// The server is ready for the next octets of the message in hand. Answer by
    /// [`append_chunk`](super::Client::append_chunk).
    Append {
        /// How many are still to come.
        left: u64,
    },
    /// The server is idling.
    Idling,
    /// The command succeeded, and all of its answer has been told.
    Done {
        /// The command.
        request: Request,
        /// What the server said.
        completion: Completion,
    },
    /// The server said NO or BAD. The session goes on.
    Refused {
        /// The command.
        request: Request,
        /// What the server said.
        completion: Refused,
    },
    /// The session is over.
    Failed(Error),
}

/// What a server says when it refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub Completion);

impl Refused {
    /// The response code, if there is one that is known here.
    pub fn code(&self) -> Option<&Code> {
        self.0.code.as_ref()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.code {
            Some(code) => write!(f, "[{}] {}", code.name(), self.0.text),
            None => f.write_str(&self.0.text),
        }
    }
}

/// Why a session ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server says that it ends the session.
    #[error("the server ended the session: {0}")]
    Ended(Refused),
    /// The server did not answer in time.
    #[error("the server did not answer in time")]
    Timeout,
    /// The server said something IMAP does not have.
    #[error("the server does not speak IMAP as it should: {0}")]
    Protocol(&'static str),
    /// The server does not want to talk.
    #[error("the server does not serve: {0}")]
    Greeting(Refused),
    /// TLS is required and not offered.
    #[error("the server does not offer TLS, which is required")]
    NoTls,
    /// TLS was offered, but then refused.
    #[error("the server refused TLS: {0}")]
    TlsRefused(Refused),
    /// There is no way to log in that both sides have and the settings allow.
    #[error("the server offers no way to log in that is allowed here")]
    NoMechanism,
    /// The server does not let us in.
    #[error("the server refused the login: {0}")]
    Login(Refused),
    /// The name or password cannot be sent, or the server could not prove who it is.
    #[error("the login failed: {0}")]
    Sasl(#[from] sasl::ClientError),
    /// The owner could not go on with a message; there is no other way to take it back.
    #[error("the message to append could not be read")]
    Abandoned,
}

/// Whose fault an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The network's, or a server's that is gone: try again later.
    Network,
    /// The server's: try again later, and if it stays so, tell its postmaster.
    Server,
    /// The name's or password's: ask the user.
    Credentials,
    /// Somebody's here: the settings ask for what this server does not have, or a message could not be read.
    Here,
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Error::Closed | Error::Timeout => Fault::Network,
            Error::Ended(_) | Error::Protocol(_) | Error::Greeting(_) | Error::TlsRefused(_) => Fault::Server,
            Error::NoTls | Error::NoMechanism | Error::Abandoned => Fault::Here,
            Error::Login(refused) => match refused.code() {
                Some(Code::Unavailable | Code::ContactAdmin | Code::InUse | Code::Limit) => Fault::Server,
                _ => Fault::Credentials,
            },
            Error::Sasl(sasl::ClientError::Unfit(_) | sasl::ClientError::Refused(_)) => Fault::Credentials,
            Error::Sasl(_) => Fault::Server,
        }
    }
}
