//! What can go wrong outside a transaction.

use std::path::PathBuf;

use thiserror::Error;

/// Why a store did not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{dir} is in use by process {pid}; stop it first, or give this one another directory")]
    InUse {
        /// The store's directory.
        dir: PathBuf,
        /// Who has it, as the lock file tells.
        pid: String,
    },
    /// Write-ahead logging needs memory shared between processes and locks that work, which such file systems lack.
    #[error("{dir} lies on a network file system ({kind}); the store needs a local one")]
    NetworkFileSystem {
        /// The store's directory.
        dir: PathBuf,
        /// Which kind it is.
        kind: &'static str,
    },
    /// Versions before 3.51.3 can lose commits when a checkpoint meets a WAL reset.
    #[error("SQLite {0} is too old; 3.51.3 or later is needed")]
    OldSqlite(String),
    /// The directory was written by a later version of this program.
    #[error("the store has format {0}, which this version does not know")]
    Format(i64),
    /// What lies on disk contradicts itself; `packetboat check` may help.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The system refused.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The database refused.
    #[error("database: {0}")]
    Database(#[from] rusqlite::Error),
}

impl OpenError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> OpenError {
        let path = path.into();
        move |error| OpenError::Io { path, error }
    }
}

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// It was removed since it was listed.
    #[error("it is not there any more")]
    Gone,
    /// What lies on disk does not match its checksum, or is missing.
    #[error("body {body} is damaged: {what}")]
    Damaged {
        /// Which body.
        body: u128,
        /// What is wrong.
        what: String,
    },
    /// The system or the database refused.
    #[error("read failed: {0}")]
    Failed(String),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        ReadError::Failed(error.to_string())
    }
}

impl From<std::io::Error> for ReadError {
    fn from(error: std::io::Error) -> Self {
        ReadError::Failed(error.to_string())
    }
}

/// Why a body could not be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BodyError {
    /// The disk has less free space than the configured floor.
    #[error("the disk is nearly full")]
    DiskFull,
    /// The system refused.
    #[error("writing a body failed: {0}")]
    Io(String),
}

impl From<std::io::Error> for BodyError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull {
            BodyError::DiskFull
        } else {
            BodyError::Io(error.to_string())
        }
    }
}
