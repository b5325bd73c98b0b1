//! Why a request was not carried out, and the exit codes that scripts tell it by.

use packetboat_account::DirectoryError;
use packetboat_mail::alias::AliasError;
use packetboat_store::{OpenError, TxError};
use serde::{Deserialize, Serialize};

/// A request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// What happened and what to do, for people.
    pub message: String,
}

/// The kinds of failure. Their codes are those of `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The command line or the request is wrong.
    Usage,
    /// An address, an alias, a password or a hash is wrong.
    Data,
    /// There is no such account, address, alias or app password.
    NoUser,
    /// There is no such domain.
    NoDomain,
    /// The server does not run, or cannot be reached.
    Unavailable,
    /// The store is damaged, or there is a defect in this program.
    Internal,
    /// It is there already, or still in use.
    Exists,
    /// Reading or writing failed.
    Io,
    /// Not now: the same may succeed later.
    Temporary,
    /// Only the server's user and root may.
    Denied,
    /// The settings are wrong.
    Config,
}

impl ErrorKind {
    /// All kinds, for tables.
    pub const ALL: [ErrorKind; 11] = [
        ErrorKind::Usage,
        ErrorKind::Data,
        ErrorKind::NoUser,
        ErrorKind::NoDomain,
        ErrorKind::Unavailable,
        ErrorKind::Internal,
        ErrorKind::Exists,
        ErrorKind::Io,
        ErrorKind::Temporary,
        ErrorKind::Denied,
        ErrorKind::Config,
    ];

    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            ErrorKind::Usage => 64,
            ErrorKind::Data => 65,
            ErrorKind::NoUser => 67,
            ErrorKind::NoDomain => 68,
            ErrorKind::Unavailable => 69,
            ErrorKind::Internal => 70,
            ErrorKind::Exists => 73,
            ErrorKind::Io => 74,
            ErrorKind::Temporary => 75,
            ErrorKind::Denied => 77,
            ErrorKind::Config => 78,
        }
    }

    /// What it means, for the help text.
    pub fn meaning(self) -> &'static str {
        match self {
            ErrorKind::Usage => "the command line is wrong",
            ErrorKind::Data => "an address, an alias, a password or a hash is wrong",
            ErrorKind::NoUser => "there is no such account, address, alias or app password",
            ErrorKind::NoDomain => "there is no such domain here",
            ErrorKind::Unavailable => "the server does not run, or cannot be reached",
            ErrorKind::Internal => "the store is damaged, or a defect in this program",
            ErrorKind::Exists => "it is there already, or still in use",
            ErrorKind::Io => "reading or writing failed",
            ErrorKind::Temporary => "not now; the same may succeed later",
            ErrorKind::Denied => "only the server's user and root may",
            ErrorKind::Config => "the settings are wrong",
        }
    }
}

impl AdminError {
    /// A failure of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> AdminError {
        AdminError { kind, message: message.into() }
    }
}

impl From<DirectoryError> for AdminError {
    fn from(error: DirectoryError) -> AdminError {
        use DirectoryError as E;
        let kind = match &error {
            E::NoSuchDomain(_) => ErrorKind::NoDomain,
            E::NoSuchAccount(_)
            | E::NoSuchAccountId(_)
            | E::NoSuchAddress { .. }
            | E::NoSuchAppPassword { .. } => ErrorKind::NoUser,
            E::DomainExists(_)
            | E::DomainInUse { .. }
            | E::AddressTaken { .. }
            | E::AppPasswordExists { .. }
            | E::PrimaryAddress(_) => ErrorKind::Exists,
            E::NotADomainName(_)
            | E::WhichDomain(_)
            | E::TooMany { .. }
            | E::UnusablePassword(_)
            | E::UnusableHash(_)
            | E::UnusableName => ErrorKind::Data,
            E::Overloaded | E::Contended | E::Write(TxError::DiskFull) => ErrorKind::Temporary,
            E::NoRandomness | E::Damaged { .. } => ErrorKind::Internal,
            E::Read(_) | E::Write(_) => ErrorKind::Io,
        };
        AdminError::new(kind, error.to_string())
    }
}

impl From<AliasError> for AdminError {
    fn from(error: AliasError) -> AdminError {
        use AliasError as E;
        let kind = match error {
            E::Directory(error) => return error.into(),
            E::NoSuchAlias(_) | E::NoSuchTarget { .. } | E::TargetMissing(_) => ErrorKind::NoUser,
            E::Exists(_)
            | E::IsAccount { .. }
            | E::HasMoved(_)
            | E::DomainNamed { .. }
            | E::DomainInUse { .. } => ErrorKind::Exists,
            E::Loop { .. }
            | E::TooDeep(_)
            | E::TooManyRecipients(_)
            | E::TooManyTargets { .. }
            | E::NoTargets
            | E::DomainLoop { .. } => ErrorKind::Data,
        };
        AdminError::new(kind, error.to_string())
    }
}

impl From<OpenError> for AdminError {
    fn from(error: OpenError) -> AdminError {
        let kind = match &error {
            OpenError::InUse { .. } => ErrorKind::Temporary,
            OpenError::NetworkFileSystem { .. } | OpenError::OldSqlite(_) => ErrorKind::Config,
            OpenError::Io { error, .. } if error.kind() == std::io::ErrorKind::PermissionDenied => {
                ErrorKind::Denied
            }
            OpenError::Io { .. } | OpenError::Database(_) => ErrorKind::Io,
            OpenError::Format(_) | OpenError::Damaged(_) => ErrorKind::Internal,
        };
        AdminError::new(kind, error.to_string())
    }
}
