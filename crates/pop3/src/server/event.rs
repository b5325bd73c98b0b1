//! What a server session asks its owner, and tells it.

use packetboat_wire::Secret;
use packetboat_wire::sasl::ScramHash;

use super::Deletions;

/// All but [`Abandoned`](Event::Abandoned) are questions: the session stands still until a method answers.
///
/// Messages are named by their place in the list the maildrop was opened with, counted from 0.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// May this client in? Answer by [`accept`](super::Server::accept) or [`refuse`](super::Server::refuse). To slow
    /// down who guesses passwords, answer later.
    Login(Login),
    /// What are somebody's SCRAM keys? Answer by [`scram_keys`](super::Server::scram_keys), for unknown names with
    /// [`ScramKeys::fake`](packetboat_wire::sasl::ScramKeys::fake), or by [`refuse`](super::Server::refuse) if the
    /// keys cannot be read. A [`Login`] follows when the proof has come.
    ScramKeys {
        /// Whose keys.
        authcid: String,
        /// Which kind of keys.
        hash: ScramHash,
    },
    /// Lock the maildrop of who was accepted. Answer by [`maildrop`](super::Server::maildrop) or
    /// [`refuse`](super::Server::refuse). From the answer on its messages have to stay readable until
    /// [`Commit`](Event::Commit) or [`Abandoned`](Event::Abandoned).
    OpenMaildrop,
    /// What are the unique-ids of these messages? Answer by [`unique_ids`](super::Server::unique_ids) with all of
    /// them in order, or by [`unique_ids_failed`](super::Server::unique_ids_failed).
    UniqueIds {
        /// The first message.
        first: usize,
        /// How many; never more than [`UNIQUE_IDS_PAGE`](super::UNIQUE_IDS_PAGE).
        count: usize,
    },
    /// The client wants this message. Answer by [`begin_body`](super::Server::begin_body) or
    /// [`no_body`](super::Server::no_body).
    Retrieve {
        /// Which message.
        index: usize,
        /// How much of it.
        part: Part,
        /// Whether the client has asked for UTF-8 mode. Without it, an internationalised message is refused with
        /// [`NoBody::NeedsUtf8`](super::NoBody::NeedsUtf8), or a surrogate takes its place (RFC 6856 section 2.1). The
        /// surrogate may be longer or shorter than LIST says.
        utf8: bool,
    },
    /// The client takes more of the message. Answer by [`body_chunk`](super::Server::body_chunk),
    /// [`body_end`](super::Server::body_end) or [`body_failed`](super::Server::body_failed). If another event comes
    /// instead, the rest of the message is not wanted any more.
    MoreBody,
    /// The client has left in good order: delete these messages, all or none, and release the maildrop. Answer by
    /// [`committed`](super::Server::committed) or [`commit_failed`](super::Server::commit_failed).
    Commit {
        /// What to delete; often nothing.
        deletions: Deletions,
    },
    /// The session ends without QUIT: delete nothing, release the maildrop. Not a question.
    Abandoned {
        /// Why.
        cause: Abandonment,
    },
}

/// How a client says who it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Login {
    /// A password, by USER and PASS or by PLAIN or LOGIN.
    Password {
        /// Whom the client wants to act as, if not as itself.
        authzid: Option<String>,
        /// The name, SASLprepared.
        authcid: String,
        /// As the client sent it.
        password: Secret<String>,
    },
    /// APOP (RFC 1939 section 7). Compare with [`apop::digest`](crate::apop::digest).
    Apop {
        /// The name, SASLprepared.
        authcid: String,
        /// What the banner said, angle brackets included.
        timestamp: String,
        /// What the client made of it and the secret.
        digest: [u8; 16],
    },
    /// The client has proved that it knows the password. Whether it may in, and act as `authzid`, is still open.
    Proved {
        /// Whom the client wants to act as, if not as itself.
        authzid: Option<String>,
        /// The name, SASLprepared.
        authcid: String,
        /// Which of the keys given to [`scram_keys`](super::Server::scram_keys) the proof was made with.
        key: usize,
    },
    /// The client failed to prove that it knows the password: count it, and refuse. Accepting is refusing here.
    Disproved {
        /// The name, SASLprepared.
        authcid: String,
    },
}

/// How much of a message is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it (RETR).
    Whole,
    /// Its header and so many lines of the body (TOP). The session cuts; the owner may use this to read less.
    Top {
        /// Lines of the body.
        lines: u64,
    },
}

/// Why a login or the opening of a maildrop is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The name, the password or something else of the credentials is wrong; `[AUTH]`. Only this counts as a failed
    /// login.
    Credentials,
    /// Somebody else has the maildrop open; `[IN-USE]`.
    InUse,
    /// The last login was too short a time ago; `[LOGIN-DELAY]`.
    LoginDelay,
    /// Something here does not work now; `[SYS/TEMP]`.
    Temporary,
    /// Something here does not work until somebody repairs it; `[SYS/PERM]`.
    Permanent,
}

/// Why a message cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoBody {
    /// It is gone: another session or program has removed it.
    Missing,
    /// It has UTF-8 where a client without UTF-8 mode does not expect it; `[UTF8]`.
    NeedsUtf8,
    /// It cannot be read now; `[SYS/TEMP]`.
    Temporary,
    /// It cannot be read; `[SYS/PERM]`.
    Permanent,
}

/// Why a session ended without QUIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandonment {
    /// The client closed the connection.
    Disconnected,
    /// No command came in time.
    Timeout,
    /// The server stops.
    ShutDown,
    /// The owner has taken the access away.
    Revoked,
    /// The client sent too much nonsense.
    TooManyErrors,
    /// A message could not be read to its end, and POP3 can only tell by closing the connection.
    BrokenBody,
}
