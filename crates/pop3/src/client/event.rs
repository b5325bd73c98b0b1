//! What a client session tells its owner.

use std::fmt;

use bytes::Bytes;
use packetboat_wire::sasl;

use super::Capabilities;
use crate::{Command, ResponseCode};

/// None of these is a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The way is free for [`request`](super::Client::request)s: the client is logged in, or was told not to.
    Ready {
        /// What the server offers, as it said last.
        capabilities: Capabilities,
    },
    /// The answer to STAT.
    Drop {
        /// How many messages.
        messages: u64,
        /// How large all of them are.
        octets: u64,
    },
    /// A line of the answer to LIST.
    Scan {
        /// The message number.
        number: u64,
        /// Its size.
        octets: u64,
    },
    /// A line of the answer to UIDL.
    UniqueId {
        /// The message number.
        number: u64,
        /// What names the message in any later session.
        id: String,
    },
    /// The next piece of a message, after RETR or TOP, with dots unstuffed. Whether the message itself ended without
    /// CRLF cannot be known, for a server has to add one.
    Text(Bytes),
    /// A line of the answer to CAPA, or to LANG without a range.
    Line(String),
    /// The command succeeded, and all of its answer has been told.
    Done {
        /// The command.
        command: Command,
    },
    /// The server said `-ERR`. The session goes on.
    Refused {
        /// The command.
        command: Command,
        /// What the server said.
        reply: Refused,
    },
    /// The session is over.
    Failed(Error),
}

/// What a server says after `-ERR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The response code, if there is one that is known here.
    pub code: Option<ResponseCode>,
    /// The text for people; what could control a terminal is left out.
    pub text: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "[{}] {}", code.as_str(), self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Why a session ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server says that it has to stop.
    #[error("the server ended the session: {0}")]
    Ended(Refused),
    /// The server did not answer in time.
    #[error("the server did not answer in time")]
    Timeout,
    /// The server said something POP3 does not have.
    #[error("the server does not speak POP3 as it should: {0}")]
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
    /// The settings' here, which ask for what this server does not have.
    Settings,
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Error::Closed | Error::Timeout => Fault::Network,
            Error::Ended(_) | Error::Protocol(_) | Error::Greeting(_) | Error::TlsRefused(_) => Fault::Server,
            Error::NoTls | Error::NoMechanism => Fault::Settings,
            Error::Login(refused) => match refused.code {
                None | Some(ResponseCode::Auth) => Fault::Credentials,
                Some(_) => Fault::Server,
            },
            Error::Sasl(sasl::ClientError::Unfit(_) | sasl::ClientError::Refused(_)) => Fault::Credentials,
            Error::Sasl(_) => Fault::Server,
        }
    }
}
