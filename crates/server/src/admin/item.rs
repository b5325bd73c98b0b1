//! What requests are answered with. In JSON these are what `--json` prints, one object a line, so their fields stay.

use std::fmt;
use std::net::IpAddr;

use packetboat_account::credential::AppPasswordInfo;
use packetboat_mail::story::Event;
use serde::{Deserialize, Serialize};

use super::request::Password;
use crate::files::Direction;

/// One thing told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    /// A domain.
    Domain(Domain),
    /// An account.
    Account(Account),
    /// An alias.
    Alias(Alias),
    /// A way that mail to an address takes.
    Way(Way),
    /// An entry of the queue.
    QueueEntry(Box<super::queue::QueueEntry>),
    /// Where mail waits to go.
    QueueDestination(Box<super::queue::QueueDestination>),
    /// What was done with entries of the queue.
    QueueActed(super::queue::QueueActed),
    /// An app password, without its text.
    AppPassword(AppPassword),
    /// A secret just made.
    Secret(Secret),
    /// What happened to a message.
    Story(Box<Told>),
    /// A connection that stands.
    Connection(Connection),
    /// Numbers in the text format of Prometheus, line by line.
    Metric(String),
    /// What a backup or a restore copied.
    Copied(Copied),
    /// Something is done that has nothing to show.
    Done(Done),
}

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Its name.
    pub domain: String,
    /// Login name of who gets its mail for `postmaster`.
    pub postmaster: Option<String>,
    /// The domain it is another name of.
    #[serde(default)]
    pub same_as: Option<String>,
    /// Who gets mail to names that are nobody's.
    #[serde(default)]
    pub catch_all: Option<String>,
    /// Who gets mail to the generic names.
    #[serde(default)]
    pub generic: Option<String>,
    /// What separates user and tag; `None`: nothing.
    #[serde(default)]
    pub separator: Option<char>,
    /// Whether what leaves by its aliases gets a return path of its own.
    #[serde(default)]
    pub srs: bool,
    /// When it was added.
    pub created_at: jiff::Timestamp,
}

/// An alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The name.
    pub alias: String,
    /// Where it leads.
    pub targets: Vec<String>,
    /// `forward` or `refuse`, where it is kept for a user who has moved to the one target.
    pub moved: Option<String>,
    /// When it was made.
    pub created_at: jiff::Timestamp,
}

/// A way that mail to an address takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Where it ends.
    pub address: String,
    /// Login name of who gets the mail, if it is somebody here.
    pub account: Option<String>,
    /// The tag of the subaddress.
    pub tag: Option<String>,
    /// The addresses it goes through, the one asked for first.
    pub through: Vec<String>,
    /// Why nobody gets the mail.
    pub problem: Option<String>,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Login name.
    pub login: String,
    /// Its number.
    pub id: u64,
    /// How people call it.
    pub name: Option<String>,
    /// All its addresses, the primary one first.
    pub addresses: Vec<String>,
    /// Whether nobody may log in.
    pub disabled: bool,
    /// Octets it has and may have.
    pub octets: QuotaUse,
    /// Messages it has and may have.
    pub messages: QuotaUse,
    /// What it has and may have in files, as of some seconds ago; `None`: nobody counts, since there is no limit.
    #[serde(default)]
    pub files: Option<FileUse>,
    /// Whether it has a password.
    pub password: bool,
    /// Whether it has a secret for APOP.
    pub apop: bool,
    /// Names of its app passwords.
    pub app_passwords: Vec<String>,
    /// When it was made.
    pub created_at: jiff::Timestamp,
}

/// How much there is and may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaUse {
    /// How much there is.
    pub used: u64,
    /// How much there may be; `None`: no limit.
    pub limit: Option<u64>,
}

/// What there is in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUse {
    /// Octets.
    pub octets: QuotaUse,
    /// Files.
    pub files: QuotaUse,
}

/// An app password, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPassword {
    /// Login name of its account.
    pub account: String,
    /// Name, services and age.
    #[serde(flatten)]
    pub info: AppPasswordInfo,
}

/// A secret just made, which cannot be had again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Login name of its account.
    pub account: String,
    /// Name of the app password, if it is one.
    pub name: Option<String>,
    /// Its text.
    pub password: Password,
}

/// What happened to a message, and where it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The message's name; `None`: it was refused before it had one.
    pub tag: Option<String>,
    /// What happened, in order; moments are microseconds since the epoch.
    pub events: Vec<Event>,
    /// How many more events there are.
    pub more: usize,
    /// For whom it waits in the queue now.
    pub waiting: Vec<Waiting>,
}

/// A recipient's copy that waits in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its number in the queue.
    pub queue: u64,
    /// For whom; `None`: it cannot be read.
    pub to: Option<String>,
    /// The next hop.
    pub hop: String,
    /// It waits until it is released.
    pub held: bool,
    /// How often it was tried.
    pub attempts: u32,
    /// Not tried before this.
    pub not_before: jiff::Timestamp,
    /// When it is given up, or its sender is told that it takes long.
    pub deadline: jiff::Timestamp,
}

/// A connection that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The number that log lines have.
    pub connection: u64,
    /// Such as `smtp` or `pop3s`.
    pub service: String,
    /// Where it comes from; `None`: from this machine, over a local socket.
    pub peer: Option<IpAddr>,
    /// Login name of who is logged in.
    pub login: Option<String>,
    /// Since when.
    pub since: jiff::Timestamp,
    /// What it does with files, where it is for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Box<FileSession>>,
}

/// What a connection does with files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSession {
    /// Whether the control connection is protected.
    pub tls: bool,
    /// What its transfers are charged to.
    pub cost_centre: Option<String>,
    /// What it was last asked for, in a word or two.
    pub doing: String,
    /// How long nothing has been asked.
    pub idle_seconds: u64,
    /// What it transfers now.
    pub transfer: Option<FileTransfer>,
}

/// A transfer under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTransfer {
    /// The command, such as `RETR`.
    pub verb: String,
    /// Which way it goes.
    pub direction: Direction,
    /// Of what, as the client sees it.
    pub path: String,
    /// Octets that have gone over the data connection.
    pub octets: u64,
    /// Octets that are to go, where that is known.
    pub size: Option<u64>,
    /// The share of them that has gone.
    pub percent: Option<u8>,
    /// Octets a second since the beginning.
    pub octets_per_second: u64,
    /// Whether the data connection is protected.
    pub tls: bool,
    /// TYPE, STRU and MODE.
    pub representation: String,
    /// Since when.
    pub since: jiff::Timestamp,
}

impl fmt::Display for FileSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transfer {
            Some(transfer) => transfer.fmt(f),
            None => write!(f, "{}, {} s ago", self.doing, self.idle_seconds),
        }
    }
}

impl fmt::Display for FileTransfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FileTransfer { verb, path, octets, octets_per_second: rate, .. } = self;
        write!(f, "{verb} {path} {octets} octets")?;
        if let (Some(size), Some(percent)) = (self.size, self.percent) {
            write!(f, " of {size} ({percent} %)")?;
        }
        write!(f, ", {rate} octets/s")
    }
}

/// Something is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What, in a word.
    pub done: String,
    /// With what or whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
}

/// What a backup or a restore copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Files copied.
    pub files: u64,
    /// Files that the copy had already.
    pub there_already: u64,
    /// Octets copied.
    pub octets: u64,
}

impl From<packetboat_store::Copied> for Copied {
    fn from(copied: packetboat_store::Copied) -> Copied {
        Copied { files: copied.files, there_already: copied.there_already, octets: copied.octets }
    }
}
