//! What the directory keeps of a domain and of an account.
//!
//! These are also the forms on disk (JSON): a field added later has a default, and none changes its meaning.

use std::collections::BTreeSet;

use packetboat_message::{Address, Domain};
use packetboat_store::AccountId;
use serde::{Deserialize, Serialize};

use crate::quota::Quota;

/// An account: one person or device, under one name everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its number, never reused.
    pub id: AccountId,
    /// Its primary address, which is also its login name.
    pub login: Address,
    /// All addresses whose mail it gets, the primary one first.
    pub addresses: Vec<Address>,
    /// How people call it, such as `Alice Liddell`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Nobody can log in. Mail still comes in: being locked out must not cost messages.
    #[serde(default)]
    pub disabled: bool,
    /// How much it may keep.
    #[serde(default)]
    pub quota: Quota,
    /// What else it may do.
    #[serde(default)]
    pub roles: BTreeSet<Role>,
    /// When it was made.
    pub created_at: jiff::Timestamp,
}

/// A right beyond those of every account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// May manage domains and accounts.
    Administrator,
}

/// A domain whose mail is delivered here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainInfo {
    /// Its name.
    pub name: Domain,
    /// Who gets the mail for `postmaster` (RFC 5321 section 4.5.1) unless an account has that address.
    pub postmaster: Option<AccountId>,
    /// When it was added.
    pub created_at: jiff::Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DomainRecord {
    #[serde(default)]
    pub(crate) postmaster: Option<AccountId>,
    pub(crate) created_at: jiff::Timestamp,
}

/// The parts of mail and files a credential may be limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Handing in mail.
    Submission,
    /// Fetching mail with POP3.
    Pop3,
    /// Reading mail with IMAP.
    Imap,
    /// Reading and sending with JMAP and the web pages.
    Web,
    /// Files over FTP and SFTP.
    Files,
}

impl Service {
    /// Those a credential can be limited to now; the others have their names reserved.
    pub const OFFERED: [Service; 4] = [Service::Submission, Service::Pop3, Service::Imap, Service::Files];

    /// Its name in settings, commands and logs.
    pub fn name(self) -> &'static str {
        match self {
            Service::Submission => "submission",
            Service::Pop3 => "pop3",
            Service::Imap => "imap",
            Service::Web => "web",
            Service::Files => "files",
        }
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no service is called '{0}'; there are submission, pop3 and imap")]
pub struct UnknownService(String);

impl std::str::FromStr for Service {
    type Err = UnknownService;
    fn from_str(text: &str) -> Result<Service, UnknownService> {
        Service::OFFERED
            .into_iter()
            .find(|service| service.name() == text)
            .ok_or_else(|| UnknownService(text.to_owned()))
    }
}
