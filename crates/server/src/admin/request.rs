//! What can be asked for.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use packetboat_account::{Quota, Service};
use packetboat_wire::Secret;
use serde::{Deserialize, Serialize};

/// Something to be done. Accounts are named by login name, domains and addresses as people write them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// With a domain.
    Domain(DomainRequest),
    /// With an account.
    Account(AccountRequest),
    /// With an alias.
    Alias(AliasRequest),
    /// With mail on its way to other servers.
    Queue(super::queue::QueueRequest),
    /// Tell the story of messages.
    Trace(TraceRequest),
    /// With the running server.
    Server(ServerRequest),
    /// Copy the store, while it works.
    Backup {
        /// To where: a directory that is empty or holds an earlier copy. Absolute, since the server stands elsewhere.
        to: PathBuf,
    },
    /// Bring mail into an account. The connection is for that alone from then on.
    Import {
        /// Whose.
        account: String,
    },
    /// Take a message from this machine. The connection is for that alone from then on.
    HandIn(Box<crate::local::Envelope>),
    /// Take mail out of an account. The connection is for that alone from then on.
    Export {
        /// Whose.
        account: String,
        /// Only these mailboxes; none: all.
        mailboxes: Vec<String>,
    },
}

impl From<AccountRequest> for Request {
    fn from(request: AccountRequest) -> Request {
        Request::Account(request)
    }
}

impl From<super::queue::QueueRequest> for Request {
    fn from(request: super::queue::QueueRequest) -> Request {
        Request::Queue(request)
    }
}

impl From<AliasRequest> for Request {
    fn from(request: AliasRequest) -> Request {
        Request::Alias(request)
    }
}

impl From<DomainRequest> for Request {
    fn from(request: DomainRequest) -> Request {
        Request::Domain(request)
    }
}

/// Which messages' stories are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRequest {
    /// A message's name, a number of the queue, a Message-ID or a recipient.
    pub what: String,
    /// Something happened not before this.
    pub since: Option<jiff::Timestamp>,
    /// And not after this.
    pub until: Option<jiff::Timestamp>,
    /// So many stories at most, the latest ones.
    pub limit: u32,
}

/// Something to be done with a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DomainRequest {
    /// Take mail for it from now on.
    Add {
        /// Its name.
        domain: String,
    },
    /// Tell all there are.
    List,
    /// Take mail for it no longer.
    Remove {
        /// Its name.
        domain: String,
    },
    /// Say who gets its mail for `postmaster`.
    Postmaster {
        /// Its name.
        domain: String,
        /// Who.
        account: String,
    },
    /// Tell all about one.
    Show {
        /// Its name.
        domain: String,
    },
    /// Say who gets mail to names that are nobody's.
    CatchAll {
        /// Its name.
        domain: String,
        /// Who; `None`: nobody, such mail is refused.
        target: Option<String>,
    },
    /// Say who gets mail to the generic names.
    Generic {
        /// Its name.
        domain: String,
        /// Who; `None`: nobody in particular.
        target: Option<String>,
    },
    /// Make it another name of a domain; it is added where it is not here yet.
    SameAs {
        /// Its name.
        domain: String,
        /// Of which; `None`: a domain of its own again.
        other: Option<String>,
    },
    /// Say what separates user and tag.
    Separator {
        /// Its name.
        domain: String,
        /// One character or `none`; `None`: as the settings say.
        separator: Option<String>,
    },
    /// Say whether what leaves by its aliases gets a return path of its own.
    Srs {
        /// Its name.
        domain: String,
        /// Whether.
        on: bool,
    },
}

/// Something to be done with an alias. Names and targets are addresses, or the part before the `@` where it is clear
/// which domain is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AliasRequest {
    /// Let a name lead to these too.
    Add {
        /// The name.
        name: String,
        /// Where it leads.
        targets: Vec<String>,
        /// Whether nobody need have a target yet.
        missing_ok: bool,
    },
    /// Let a name lead to these alone. Nobody need have a target yet.
    Set {
        /// The name.
        name: String,
        /// Where it leads.
        targets: Vec<String>,
    },
    /// Remove a name, or targets of it.
    Remove {
        /// The name.
        name: String,
        /// Which targets; none: the name itself.
        targets: Vec<String>,
    },
    /// Tell all there are.
    List {
        /// Only those of this domain.
        domain: Option<String>,
    },
    /// Tell where mail to an address goes, whatever it is.
    Show {
        /// The address.
        name: String,
    },
    /// Keep a name for a user who has moved.
    Move {
        /// The name.
        name: String,
        /// Where they are now.
        to: String,
        /// Whether mail is refused with the new address, instead of sent on.
        refuse: bool,
    },
    /// Sign return paths with a new key from now on.
    RotateKey,
}

/// Something to be done with an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountRequest {
    /// Make one.
    Add {
        /// Primary address and login name.
        login: String,
        /// Further addresses.
        aliases: Vec<String>,
        /// How people call it.
        name: Option<String>,
        /// What it logs in with, if with anything yet.
        password: Option<NewPassword>,
        /// Its limits.
        quota: Quota,
    },
    /// Tell all there are.
    List {
        /// Only those with an address in this domain.
        domain: Option<String>,
    },
    /// Tell all about one.
    Show {
        /// Which.
        account: String,
    },
    /// Give it another password.
    Password {
        /// Which.
        account: String,
        /// The new one.
        password: NewPassword,
    },
    /// Remove it with all its mail.
    Remove {
        /// Which.
        account: String,
    },
    /// Let nobody log in, or let them again.
    Disable {
        /// Which.
        account: String,
        /// Whether nobody may.
        disabled: bool,
    },
    /// Set or clear how people call it.
    Name {
        /// Which.
        account: String,
        /// The name.
        name: Option<String>,
    },
    /// Set its limits.
    Quota {
        /// Which.
        account: String,
        /// The limits.
        quota: Quota,
    },
    /// Count its files anew when it logs in next.
    RecountFiles {
        /// Which.
        account: String,
    },
    /// Give it one more address.
    AddAddress {
        /// Which account.
        account: String,
        /// Which address.
        address: String,
    },
    /// Take an address from it.
    RemoveAddress {
        /// Which account.
        account: String,
        /// Which address.
        address: String,
    },
    /// Make an app password.
    AddAppPassword {
        /// Whose.
        account: String,
        /// Its name.
        name: String,
        /// What it is good for; `None`: everything.
        services: Option<BTreeSet<Service>>,
    },
    /// Tell its app passwords.
    AppPasswords {
        /// Whose.
        account: String,
    },
    /// Make an app password useless.
    RevokeAppPassword {
        /// Whose.
        account: String,
        /// Its name.
        name: String,
    },
    /// Make a secret for APOP and tell it.
    GenerateApopSecret {
        /// Whose.
        account: String,
    },
    /// Set the secret for APOP, or be without one.
    ApopSecret {
        /// Whose.
        account: String,
        /// The secret.
        secret: Option<Password>,
    },
}

/// Something to be done with the running server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerRequest {
    /// Tell who is connected.
    Connections,
    /// Have connections ended, and tell which.
    Disconnect(Guests),
    /// Tell the numbers that Prometheus reads.
    Metrics,
    /// Read the settings and certificates anew.
    Reload,
    /// Finish the work in hand and end.
    Stop,
}

/// Which connections are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guests {
    /// The one with this number.
    Connection(u64),
    /// Those that have logged in as an account.
    Account(String),
    /// Those from a network.
    Network(ipnet::IpNet),
}

/// A password to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NewPassword {
    /// As its owner will type it.
    Plain(Password),
    /// Its hash from another system.
    Hash(Password),
}

/// A secret on its way to the server. It travels over a local socket that nobody else can open.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Secret<String>);

impl From<String> for Password {
    fn from(text: String) -> Password {
        Password(Secret::new(text))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Password {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Password, D::Error> {
        String::deserialize(deserializer).map(|text| Password(Secret::new(text)))
    }
}
