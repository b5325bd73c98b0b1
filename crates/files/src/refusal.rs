//! Why the file space does not do something, by meaning.

use rustix::io::Errno;
use thiserror::Error;

use crate::InvalidPath;

/// A verdict about a path or an upload. What only the operator may know is in [`Refusal::Failed`], and logged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It is not there, or lies where nobody gets to from here.
    #[error("no such file or directory")]
    NotFound,
    /// It is there already.
    #[error("it exists already")]
    Exists,
    /// This user may not.
    #[error("permission denied")]
    NoPermission,
    /// A file was needed.
    #[error("not a plain file")]
    NotAFile,
    /// A directory was needed.
    #[error("not a directory")]
    NotADirectory,
    /// It holds something.
    #[error("the directory is not empty")]
    NotEmpty,
    /// It cannot be a path.
    #[error("the path is not valid")]
    InvalidPath,
    /// A name that is kept for the server's own use.
    #[error("this name is not allowed")]
    NameNotAllowed,
    /// Two trees, which may be on two disks.
    #[error("it cannot be moved to another tree")]
    OtherTree,
    /// The disk is full.
    #[error("not enough storage space")]
    NoSpace,
    /// The user's share is used up.
    #[error("storage quota exceeded")]
    QuotaExceeded,
    /// The tree cannot be written to.
    #[error("the file system is read-only")]
    ReadOnly,
    /// Octets that are not there.
    #[error("the file does not have these octets")]
    InvalidRange,
    /// More than is worked on at a time.
    #[error("too many at a time")]
    TooMany,
    /// This file system cannot.
    #[error("the file system does not support this")]
    NotSupported,
    /// An upload to this path, newer than the file that is there, was broken off after so many octets.
    #[error("an upload was broken off after {0} octets: go on there, or store the file anew")]
    BrokenOff(u64),
    /// Whoever asked for it does not want it any more.
    #[error("stopped")]
    Stopped,
    /// Something of ours failed.
    #[error("local error: {0}")]
    Failed(String),
}

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Refusal {
        match error {
            Errno::NOENT => Refusal::NotFound,
            // `openat2`: out of the tree, or round in a circle of links.
            Errno::XDEV | Errno::LOOP => Refusal::NotFound,
            Errno::EXIST => Refusal::Exists,
            Errno::ACCESS | Errno::PERM => Refusal::NoPermission,
            Errno::NOTDIR => Refusal::NotADirectory,
            Errno::ISDIR => Refusal::NotAFile,
            Errno::NOTEMPTY => Refusal::NotEmpty,
            Errno::NAMETOOLONG | Errno::INVAL => Refusal::InvalidPath,
            Errno::NOSPC => Refusal::NoSpace,
            Errno::DQUOT => Refusal::QuotaExceeded,
            Errno::OPNOTSUPP => Refusal::NotSupported,
            Errno::ROFS => Refusal::ReadOnly,
            other => Refusal::Failed(other.to_string()),
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Refusal {
        Errno::from_io_error(&error).map_or_else(|| Refusal::Failed(error.to_string()), Refusal::from)
    }
}

impl From<InvalidPath> for Refusal {
    fn from(_: InvalidPath) -> Refusal {
        Refusal::InvalidPath
    }
}
