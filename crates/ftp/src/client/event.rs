//! What a client session is asked for, and what it tells its owner.

use std::net::SocketAddr;

use packetboat_wire::{Reply, ReplyError};

use crate::command::{Command, PathName, Unsayable};
use crate::data::Representation;

pub use crate::server::What;

/// What a session does for its owner, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A command that needs no data connection.
    Command(Command),
    /// RNFR, and RNTO if that was well.
    Rename(PathName, PathName),
    /// Something over a data connection.
    Transfer(Transfer),
}

/// A transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// What is transferred, which way.
    pub what: What,
    /// TYPE, STRU and MODE; each is said only when the server does not know it yet.
    pub representation: Representation,
    /// MODE Z, in the place of the mode of `representation`.
    pub deflate: bool,
    /// REST: an octet in stream mode, a marker that the server sent in the others.
    pub restart: Option<String>,
    /// RANG: only these octets, both included.
    pub range: Option<(u64, u64)>,
    /// ALLO: logical bytes, and those of the largest record or page.
    pub allocate: Option<(u64, Option<u64>)>,
}

impl Transfer {
    /// From the beginning to the end.
    pub fn new(what: What, representation: Representation) -> Transfer {
        Transfer { what, representation, deflate: false, restart: None, range: None, allocate: None }
    }
}

/// What a client session tells or asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The way is free for [`request`](super::Client::request)s: the client is logged in, or was told not to.
    Ready,
    /// Question: a data connection is to be opened to this address.
    /// [`connected`](super::Client::connected) or [`not_connected`](super::Client::not_connected).
    Connect(SocketAddr),
    /// Question: where may the server open the data connection to? [`listening`](super::Client::listening) or
    /// [`not_connected`](super::Client::not_connected).
    Listen,
    /// The server is about to transfer: data may flow.
    Opened {
        /// What it said, 150 or 125. For STOU see [`unique_name`](super::unique_name).
        reply: Reply,
        /// The data connection is to be protected by TLS, in which this side is the client.
        protected: bool,
        /// The data connection of the transfer before serves for this one too.
        reused: bool,
    },
    /// A restart marker (110): what the server has put on disk so far is what this side called `ours`.
    Marker {
        /// As it was sent in the data.
        ours: String,
        /// For REST, if the transfer breaks off.
        theirs: String,
    },
    /// The answer to [`status`](super::Client::status).
    Status(Reply),
    /// The request was carried out.
    Done {
        /// Which.
        request: Request,
        /// 2yz
        reply: Reply,
        /// The data connection stays open for the next transfer.
        stays_open: bool,
    },
    /// The server said no. A data connection that was opened is to be closed.
    Refused {
        /// Which.
        request: Request,
        /// 4yz or 5yz
        reply: Reply,
    },
    /// The owner could not make a data connection.
    NotConnected {
        /// For which.
        request: Request,
    },
    /// The session is over.
    Failed(Error),
}

/// Why a session ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server says that it has to stop (421), or does not want to begin.
    #[error("the server ended the session: {0}")]
    Ended(Reply),
    /// The server did not answer in time.
    #[error("the server did not answer in time")]
    Timeout,
    /// What came is no reply.
    #[error("the server does not speak FTP as it should: {0}")]
    Malformed(#[from] ReplyError),
    /// A reply that cannot come there.
    #[error("the server said something out of place: {0}")]
    OutOfPlace(Reply),
    /// TLS is required, and refused.
    #[error("the server refused TLS, which is required: {0}")]
    TlsRefused(Reply),
    /// There is no TLS, and the password must not go in the clear.
    #[error("without TLS the password is not sent")]
    InClear,
    /// Data connections are to be protected, and cannot be.
    #[error("the server does not protect data connections: {0}")]
    NotProtected(Reply),
    /// The server does not let us in.
    #[error("the server refused the log-in: {0}")]
    Login(Reply),
    /// It wants an account, and none was given.
    #[error("the server wants an account (ACCT)")]
    NeedsAccount,
    /// Name, password, account or host cannot be sent.
    #[error("the name, password or account cannot be sent: {0}")]
    Unsayable(#[from] Unsayable),
}
