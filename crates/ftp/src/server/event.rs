//! What a server session tells and asks its owner, and what it is answered.

use std::net::SocketAddr;

use packetboat_wire::Secret;

use crate::command::{AddressFamily, Algorithm, FileTime, NewFact, PathName};
use crate::data::{DataError, Options, Representation, Restart};

/// What a server session tells or asks.
///
/// A question stops the session until it is answered. A transfer is none: while it runs the session listens, and the
/// owner calls [`transfer_ended`](super::Server::transfer_ended) when it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Question: which of the hosts that are here is meant? [`accept`](super::Server::accept) or
    /// [`refuse`](super::Server::refuse).
    Host(String),
    /// Question: who comes? [`accept`](super::Server::accept) asks for the password; a client that has shown a certificate
    /// may be [`logged_in`](super::Server::logged_in) at once.
    User(String),
    /// Question: is this the password of whoever came last? [`logged_in`](super::Server::logged_in),
    /// [`want_account`](super::Server::want_account) or [`refuse`](super::Server::refuse).
    Password(Secret<String>),
    /// Question: ACCT, before the log-in is complete ([`logged_in`](super::Server::logged_in)) or after it
    /// ([`accept`](super::Server::accept)).
    Account(String),
    /// REIN: nobody is logged in any more. A transfer that runs goes on.
    Reinitialized,
    /// Question: where do you listen for the data connection? [`listening`](super::Server::listening).
    Listen(Passive),
    /// Question: may a data connection go to this address? It is kept for the next transfer.
    Connect(SocketAddr),
    /// The port of the data connection was changed, or the session is over with it: one that is open is to be closed
    /// (RFC 959 section 3.2).
    CloseData,
    /// CCC: TLS is to end on the control connection, by a farewell of both sides, and the conversation goes on in the
    /// clear (RFC 4217 section 5). What comes under TLS until then is forgotten.
    /// [`tls_ended`](super::Server::tls_ended).
    ClearControl,
    /// Question: an action on files, that needs no data connection. [`answer`](super::Server::answer).
    Request(Request),
    /// Question: a transfer. [`transfer_begins`](super::Server::transfer_begins), and later
    /// [`transfer_ended`](super::Server::transfer_ended).
    Transfer(Box<Transfer>),
    /// The transfer is to be given up; [`transfer_ended`](super::Server::transfer_ended) is still to be called. Or the action
    /// on files that is being carried out is, and still to be answered.
    Abort,
    /// Question: how far is the transfer? Answered by lines.
    Progress,
}

/// Which command asked for a passive data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passive {
    /// PASV: an IPv4 address has to be announced.
    Pasv,
    /// EPSV, of a family if one is named.
    Epsv(Option<AddressFamily>),
    /// LPSV
    Lpsv,
}

/// Actions on files.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // Named as the commands are.
pub enum Request {
    ChangeDirectory(PathName),
    ParentDirectory,
    Mount(PathName),
    WorkingDirectory,
    MakeDirectory(PathName),
    RemoveDirectory(PathName),
    Delete(PathName),
    /// Whether it can be renamed.
    RenameFrom(PathName),
    Rename(PathName, PathName),
    /// In octets, as it would be transferred in stream mode (RFC 3659 section 4).
    Size(PathName, Representation, Options),
    ModificationTime(PathName),
    SetModificationTime(PathName, FileTime),
    SetCreationTime(PathName, FileTime),
    SetFacts(PathName, Vec<NewFact>),
    /// MLST
    Facts(Option<PathName>),
    /// STAT with a path: what LIST would send.
    Status(PathName),
    /// ALLO: octets.
    Allocate(u64),
    Checksum {
        algorithm: Algorithm,
        path: PathName,
        start: u64,
        end: Option<u64>,
    },
    Available(Option<PathName>),
    Combine(PathName, Vec<PathName>),
    ChangeMode(PathName, u32),
    SymbolicLink {
        target: PathName,
        link: PathName,
    },
    /// Whether it can be copied.
    CopyFrom(PathName),
    Copy(PathName, PathName),
    MakeDirectories(PathName),
    RemoveTree(PathName),
    Quota,
    Who,
}

/// What became of a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// A directory: made, or the working one.
    Directory(PathName),
    /// A number: a size, or room that is left.
    Number(u64),
    /// A time.
    Time(FileTime),
    /// A checksum, of these octets.
    Checksum {
        /// In hexadecimal digits.
        digest: String,
        /// From the first one,
        start: u64,
        /// up to before this one.
        end: u64,
    },
    /// Lines for people, or of facts.
    Lines(Vec<String>),
    /// The status of a directory (212) rather than of a file (213).
    Directories(Vec<String>),
}

/// A transfer that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// What is to be transferred.
    pub what: What,
    /// As TYPE, STRU and MODE have said.
    pub representation: Representation,
    /// MODE Z: the stream is deflated.
    pub deflate: bool,
    /// Code page, markers, lengths of records.
    pub options: Options,
    /// Where it is taken up again.
    pub restart: Restart,
    /// Only these octets, both ends included (RANG).
    pub range: Option<(u64, u64)>,
    /// Octets that ALLO announced.
    pub announced: Option<u64>,
    /// How the data connection comes about.
    pub connection: Connection,
    /// The data connection is to be protected by TLS.
    pub protected: bool,
    /// Permissions that a new file does not get (SITE UMASK).
    pub umask: Option<u32>,
}

impl Transfer {
    /// Whether what is stored begins with what is there already.
    pub fn goes_on(&self) -> bool {
        match self.what {
            What::Append(_) => true,
            What::Store(_) => self.restart != Restart::None,
            _ => false,
        }
    }
}

/// What is to be transferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// RETR
    Retrieve(PathName),
    /// STOR
    Store(PathName),
    /// STOU, with the name that the client would like.
    StoreUnique(Option<PathName>),
    /// APPE
    Append(PathName),
    /// LIST
    List(Option<PathName>),
    /// NLST
    Names(Option<PathName>),
    /// MLSD
    Facts(Option<PathName>),
}

/// How a data connection comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// The client comes to where [`Event::Listen`] was answered.
    Passive,
    /// To the address that was accepted.
    Active(SocketAddr),
    /// Nothing was said: to the client's own port (RFC 959 section 3.2).
    Default,
    /// The one that is open, in the modes that leave it so.
    Open,
}

/// A transfer that ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transferred {
    /// Octets over the data connection.
    pub octets: u64,
    /// The data connection stays open for the next transfer.
    pub stays_open: bool,
    /// More to tell, such as a checksum or the name of the file.
    pub note: Option<String>,
}

/// Why a transfer ended otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferFailure {
    /// The data connection could not be made.
    CannotConnect,
    /// TLS failed on it.
    TlsFailed,
    /// Its TLS session is none of the control connection's.
    NotResumed,
    /// It was lost.
    ConnectionLost,
    /// Nothing moved for too long.
    TooSlow,
    /// By [`Event::Abort`].
    Aborted,
    /// What came was not what the representation says.
    Data(DataError),
    /// What happened to the file.
    File(Refusal),
}

/// Why something is not done, by meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The password is not right, or there is no such user, or something else that nobody is told.
    LoginFailed,
    /// Nobody can log in now.
    LoginUnavailable,
    /// Log-ins are refused to this client from now on; the session ends.
    TooManyFailures,
    /// Logged in, and missing an account for this.
    NeedsAccount,
    /// It is not there.
    NotFound,
    /// It is there already.
    Exists,
    /// Not to this user.
    NoPermission,
    /// A file was needed.
    NotAFile,
    /// A directory was needed.
    NotADirectory,
    /// It holds something.
    NotEmpty,
    /// The path cannot be one.
    InvalidPath,
    /// The name is not allowed.
    NameNotAllowed,
    /// Somebody else uses it.
    Busy,
    /// The disk is full.
    NoSpace,
    /// The user's share is.
    QuotaExceeded,
    /// It cannot be taken up there.
    InvalidRestart,
    /// Not an address to connect to.
    AddressNotAllowed,
    /// No listener could be had.
    CannotListen,
    /// The family of addresses is another one.
    WrongFamily,
    /// Not with this parameter.
    NotForThat,
    /// These octets are not in the file.
    InvalidRange,
    /// By [`Event::Abort`].
    Stopped,
    /// Switched off by the settings.
    SwitchedOff,
    /// Something of ours failed.
    LocalError,
    /// With words of its own.
    Because(String),
}
