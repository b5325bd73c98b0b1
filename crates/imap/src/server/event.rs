//! What a server session asks its owner, and tells it.

use bytes::Bytes;
use packetboat_wire::Secret;
use packetboat_wire::sasl::ScramHash;

use crate::command::{Append, Request};
use crate::value::Flag;

/// All but [`AppendAborted`](Event::AppendAborted) and [`Ended`](Event::Ended) are questions.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// May this client in? Answer by `accept` or `refuse`.
    Login(Login),
    /// What are somebody's SCRAM keys? Answer by `scram_keys` or `refuse`.
    ScramKeys {
        /// Whose keys.
        authcid: String,
        /// Which kind of keys.
        hash: ScramHash,
    },
    /// A command. Answer by saying responses and `complete` (or `selected`), now or after [`Resume`](Event::Resume)s.
    Request(Box<Request>),
    /// What was said has been sent: go on with the command in hand.
    Resume,
    /// APPEND or REPLACE began. Answer by `append_ready` or `append_refuse`.
    AppendBegin(Append),
    /// A message of it begins, of so many octets. Answer by `append_ready` or `append_refuse` (which ends the command; what
    /// the client still sends of it is thrown away).
    AppendMessage {
        /// Its flags.
        flags: Vec<Flag>,
        /// Its internal date, microseconds since the epoch.
        date: Option<i64>,
        /// How many octets come.
        octets: u64,
        /// Came as a literal8 or UTF8 literal: NULs allowed.
        binary: bool,
    },
    /// Octets of it. Answer by `append_ready` or `append_refuse`.
    AppendChunk(Bytes),
    /// The message is complete. Answer by `append_ready` or `append_refuse`.
    AppendMessageEnd,
    /// The command is complete: store all messages or none. Answer by `complete`.
    AppendCommit,
    /// The command ends without having been completed: forget its messages.
    AppendAborted,
    /// The session is over, by LOGOUT or otherwise; it closes.
    Ended,
}

/// How a client says who it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Login {
    /// A password, by LOGIN or by AUTHENTICATE PLAIN or LOGIN.
    Password {
        /// Whom the client wants to act as, if not as itself.
        authzid: Option<String>,
        /// The name, SASLprepared.
        authcid: String,
        /// As the client sent it.
        password: Secret<String>,
    },
    /// The client has proved that it knows the password. Whether it may in, and act as `authzid`, is still open.
    Proved {
        /// Whom the client wants to act as, if not as itself.
        authzid: Option<String>,
        /// The name, SASLprepared.
        authcid: String,
        /// Which of the keys given to `scram_keys` the proof was made with.
        key: usize,
    },
    /// The client failed to prove that it knows the password: count it, and refuse.
    Disproved {
        /// The name, SASLprepared.
        authcid: String,
    },
}

/// Why a login is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The name, the password or something else of the credentials is wrong; `[AUTHENTICATIONFAILED]`.
    Credentials,
    /// Known, but may not act as who it wants to be; `[AUTHORIZATIONFAILED]`.
    NotAllowed,
    /// Something here does not work now; `[UNAVAILABLE]`.
    Temporary,
}
