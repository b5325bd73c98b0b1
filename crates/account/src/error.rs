//! What can go wrong with the directory, told so that the reader knows what to do next.

use packetboat_message::{Address, Domain};
use packetboat_store::{AccountId, ReadError, TxError};
use thiserror::Error;

/// Why a change or a question to the directory failed. The texts are for people at a command line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DirectoryError {
    /// The domain is not one of this server's.
    #[error("no domain {0} here; add it with `packetboat domain add {0}`")]
    NoSuchDomain(Domain),
    /// The domain is there already.
    #[error("the domain {0} is here already")]
    DomainExists(Domain),
    /// An address literal was given as a domain.
    #[error("{0} is an address literal; a mail domain has a name, such as example.org")]
    NotADomainName(Domain),
    /// A domain with addresses cannot be removed.
    #[error("{domain} still has addresses, such as {address}; remove its accounts and addresses first")]
    DomainInUse {
        /// The domain.
        domain: Domain,
        /// One of them.
        address: String,
    },
    /// No account has this login name.
    #[error("no account {0} here; `packetboat account list` shows those there are")]
    NoSuchAccount(String),
    /// A plain name can mean an account only where there is one domain.
    #[error("'{0}' is no full address; write it with its domain, such as {0}@example.org")]
    WhichDomain(String),
    /// No account has this number (any more).
    #[error("no account with the number {0} here; it may have been removed just now")]
    NoSuchAccountId(AccountId),
    /// The address belongs to an account.
    #[error("the address {address} belongs to {owner} already")]
    AddressTaken {
        /// The address.
        address: Address,
        /// Whose it is.
        owner: String,
    },
    /// The address does not belong to the account.
    #[error("{account} has no address {address}; `packetboat account show {account}` shows those it has")]
    NoSuchAddress {
        /// The address.
        address: Address,
        /// Login name of the account.
        account: Address,
    },
    /// The primary address is the login name.
    #[error("{0} is the account's login name and stays; to be rid of it, remove the account")]
    PrimaryAddress(Address),
    /// A list is as long as it may get.
    #[error("an account can have at most {limit} {what}")]
    TooMany {
        /// What it is a list of.
        what: &'static str,
        /// How long it may get.
        limit: usize,
    },
    /// The password cannot be one.
    #[error("{0}")]
    UnusablePassword(&'static str),
    /// A text given as a password hash is none that can be checked later.
    #[error(
        "this is no password hash that can be checked here ({0}); it begins with $argon2id$, $argon2i$, $5$ or $6$"
    )]
    UnusableHash(&'static str),
    /// There is an app password of this name.
    #[error("{account} has an app password called '{name}' already; revoke it first or choose another name")]
    AppPasswordExists {
        /// Login name of the account.
        account: Address,
        /// Name of the app password.
        name: String,
    },
    /// There is no app password of this name.
    #[error("{account} has no app password called '{name}'")]
    NoSuchAppPassword {
        /// Login name of the account.
        account: Address,
        /// The name asked for.
        name: String,
    },
    /// A name for an app password is empty, too long, or has control characters.
    #[error("an app password is named by 1 to 64 characters, such as 'phone'")]
    UnusableName,
    /// More passwords wait to be hashed than may wait.
    #[error("too many passwords are being checked at this moment; try again in a few seconds")]
    Overloaded,
    /// Others changed the same entries again and again.
    #[error("somebody else is changing the same account; try again")]
    Contended,
    /// The system gave no random octets.
    #[error("the system's random number generator failed")]
    NoRandomness,
    /// An entry cannot be understood.
    #[error("the store's entry {key} cannot be read ({why}); run `packetboat check`")]
    Damaged {
        /// Key of the entry.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// Reading failed.
    #[error("the store cannot be read: {0}")]
    Read(#[from] ReadError),
    /// Writing failed.
    #[error("the store cannot be changed: {0}")]
    Write(#[from] TxError),
}
