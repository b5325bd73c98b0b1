//! Managing the server: domains, accounts, and what runs.
//!
//! A [`Request`] is carried out by [`execute`], the same code in two places: in the server, for whoever connects to its
//! local socket, or in the command itself, when no server runs and the command opens the store. An [`Office`] is
//! whichever of the two there is.
//!
//! On the socket, both ways, each line is a JSON value of at most [`LINE_MAX`] octets. The client sends a request; the
//! server answers with any number of lines `{"item":…}` and one last line, `"done"` or `{"failed":{"kind":…,"message":…}}`.
//! Then the client may send the next request. The socket has mode 0600, and the server speaks only to its own user and
//! to root, so what the file system lets through by mistake is stopped all the same.

mod alias;
mod error;
mod execute;
mod item;
mod line;
mod listen;
mod office;
mod queue;
mod request;
mod running;
mod trace;
mod transfer;

pub use packetboat_account::credential::check_imported as check_hash;
pub use packetboat_account::{Quota, Service};
/// What stories are made of.
pub mod story {
    pub use packetboat_mail::queue::{Stage, Verified};
    pub use packetboat_mail::story::{Became, Event, Place, Recipient, Refused, Taken, Tls, Tried, What};
}
/// Reading the `aliases` files of other mail servers.
pub mod aliases_file {
    pub use packetboat_mail::alias::{
        Entry, FILE_MAX, FileTarget, Parsed, Trouble, parse_file, parse_include,
    };
    pub use packetboat_message::{Address, Domain};
}

pub use error::{AdminError, ErrorKind};
pub use execute::{Context, Items, Running, execute};
pub use item::{
    Account, Alias, AppPassword, Connection, Copied, Domain, Done, FileSession, FileTransfer, FileUse, Item,
    QuotaUse, Secret, Told, Waiting, Way,
};
pub use listen::{AdminSocket, SocketError};
pub use office::Office;
pub use queue::{QueueActed, QueueAttempt, QueueDestination, QueueEntry, QueueRequest, Which};
pub use request::{
    AccountRequest, AliasRequest, DomainRequest, Guests, NewPassword, Password, Request, ServerRequest,
    TraceRequest,
};
pub use transfer::{
    Export, Exported, ExportedMailbox, ExportedMessage, HandIn, Import, ImportMailbox, ImportMessage,
    ImportTarget, ImportedSoFar,
};

/// Octets of a line at most: what the largest account takes, with room to spare.
pub const LINE_MAX: usize = 256 * 1024;
