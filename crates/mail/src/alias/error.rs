//! What can go wrong with a change of aliases, told so that the reader knows what to do next.

use packetboat_account::DirectoryError;
use packetboat_message::{Address, Domain};
use packetboat_store::{ReadError, TxError};
use thiserror::Error;

use super::{DEPTH_MAX, LEGS_MAX};

/// Why a change or a question was not carried out. The texts are for people at a command line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AliasError {
    /// The store or the directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// There is no alias of this name.
    #[error("no alias {0} here; `packetboat alias list` shows those there are")]
    NoSuchAlias(Address),
    /// There is an alias of this name.
    #[error("{0} is an alias already; `packetboat alias remove {0}` makes the name free")]
    Exists(Address),
    /// The alias does not have the target.
    #[error("{name} does not lead to {target}; `packetboat alias show {name}` tells where it leads")]
    NoSuchTarget {
        /// The alias.
        name: Address,
        /// The target.
        target: Address,
    },
    /// An account has the name.
    #[error(
        "{name} is an address of the account {owner}, which would get none of its mail any more; name {name} among the \
         targets to let it keep a copy, or say `packetboat alias move` if its mail is to go elsewhere"
    )]
    IsAccount {
        /// The name.
        name: Address,
        /// Login name of the account.
        owner: Address,
    },
    /// A target is nobody's.
    #[error(
        "nobody has the address {0}; make the account or alias first, or say --missing-ok if it will be there later"
    )]
    TargetMissing(Address),
    /// It would lead back to itself.
    #[error("{name} would lead back to itself: {chain}; leave out one of these")]
    Loop {
        /// The alias.
        name: Address,
        /// The way round.
        chain: String,
    },
    /// Too many aliases one behind the other.
    #[error(
        "more than {DEPTH_MAX} aliases would stand one behind the other: {0}; let the first lead to the last directly"
    )]
    TooDeep(String),
    /// Too many recipients.
    #[error(
        "{0} would stand for more than {LEGS_MAX} recipients; make it a mailing list, or several aliases"
    )]
    TooManyRecipients(Address),
    /// Too many targets.
    #[error("an alias can have at most {limit} targets; put some of them behind an alias of their own")]
    TooManyTargets {
        /// How many there may be.
        limit: usize,
    },
    /// An alias without targets.
    #[error("an alias leads to at least one address")]
    NoTargets,
    /// A user who has moved has moved to one place.
    #[error("{0} is kept for a user who has moved; `packetboat alias remove {0}` ends that")]
    HasMoved(Address),
    /// A domain cannot be another name of itself, or of one that is a name of it.
    #[error("{domain} would be another name of itself, by way of {other}")]
    DomainLoop {
        /// The domain.
        domain: Domain,
        /// What it would be another name of.
        other: Domain,
    },
    /// A domain is another name of this one.
    #[error("{other} is another name of {domain}; `packetboat domain alias {other} --none` ends that")]
    DomainNamed {
        /// The domain.
        domain: Domain,
        /// Its other name.
        other: Domain,
    },
    /// A domain with aliases cannot be removed.
    #[error("{domain} still has aliases, such as {alias}; remove them first")]
    DomainInUse {
        /// The domain.
        domain: Domain,
        /// One of them.
        alias: Address,
    },
}

impl From<ReadError> for AliasError {
    fn from(error: ReadError) -> AliasError {
        DirectoryError::from(error).into()
    }
}

impl From<TxError> for AliasError {
    fn from(error: TxError) -> AliasError {
        match error {
            TxError::Failed(_) => DirectoryError::Contended.into(),
            error => DirectoryError::Write(error).into(),
        }
    }
}
