//! How much an account keeps in files, as whoever counts it has written it down.
//!
//! Rows are written behind, some seconds after a change. So that a count that is not up to date is never taken for one that is, each
//! row carries the number of the *round* in which it was counted: a round ends with a clean stop, after which the next one
//! goes on with its number; after anything else the next one has a new number, and what was counted before has to be
//! counted again.

use packetboat_store::AccountId;
use serde::{Deserialize, Serialize};

use crate::directory::{Change, Directory, Read};
use crate::error::DirectoryError;
use crate::key::account_data;

/// The round that runs, or ran last.
const ROUND: &str = "files/round";
/// What those keep together who have no account.
const ANONYMOUS: &str = "files/usage/anonymous";
/// What lies in a folder that has a quota.
const FOLDER: &str = "files/usage/folder/";

/// Whose files are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FilesOwner {
    /// An account.
    Account(AccountId),
    /// All who come without one.
    Anonymous,
    /// All who store in a directory that has a quota of its own, by a digest of where it lies.
    Folder([u8; 16]),
}

/// What somebody keeps in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUsage {
    /// Octets of all files.
    pub octets: u64,
    /// How many files.
    pub files: u64,
    /// How many octets there may be, when this was written; `None`: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub octets_limit: Option<u64>,
    /// How many files there may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_limit: Option<u64>,
    /// The round in which it was counted.
    pub round: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Round {
    number: u64,
    /// It ended with all that was counted written down.
    clean: bool,
}

/// The version of a row, to change it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowVersion(Option<u64>);

impl FilesOwner {
    fn key(self) -> String {
        match self {
            FilesOwner::Account(id) => format!("{}files/usage", account_data(id)),
            FilesOwner::Anonymous => ANONYMOUS.to_owned(),
            FilesOwner::Folder(digest) => format!("{FOLDER}{:032x}", u128::from_be_bytes(digest)),
        }
    }
}

impl Directory {
    /// What was written down last, and its version.
    pub fn file_usage(&self, owner: FilesOwner) -> Result<(Option<FileUsage>, RowVersion), DirectoryError> {
        let read: Option<Read<FileUsage>> = self.inner.read(&owner.key())?;
        let version = RowVersion(read.as_ref().map(|read| read.version));
        Ok((read.map(|read| read.value), version))
    }

    /// Writes down what somebody keeps; if the row has another version than this, or the account is gone, it is
    /// [`DirectoryError::Contended`]. The version of the row from now on.
    pub async fn put_file_usage(
        &self,
        owner: FilesOwner,
        usage: FileUsage,
        version: RowVersion,
    ) -> Result<RowVersion, DirectoryError> {
        if let FilesOwner::Account(id) = owner {
            self.account(id).map_err(|_| DirectoryError::Contended)?;
        }
        let mut change = Change::default();
        change.put(owner.key(), version.0, &usage)?;
        change.commit(&self.inner.store).await?;
        Ok(self.file_usage(owner)?.1)
    }

    /// Takes what was written down away: it is to be counted again.
    pub async fn forget_file_usage(&self, owner: FilesOwner) -> Result<(), DirectoryError> {
        let read: Option<Read<serde_json::Value>> = self.inner.read(&owner.key())?;
        let Some(read) = read else { return Ok(()) };
        let mut change = Change::default();
        change.remove(owner.key(), read.version);
        change.commit(&self.inner.store).await?;
        Ok(())
    }

    /// Begins a round of counting: its number.
    pub async fn begin_file_round(&self) -> Result<u64, DirectoryError> {
        let read: Option<Read<Round>> = self.inner.read(ROUND)?;
        let number = match &read {
            None => 1,
            Some(Read { value: Round { number, clean: true }, .. }) => *number,
            Some(Read { value: Round { number, clean: false }, .. }) => number.saturating_add(1),
        };
        let mut change = Change::default();
        let version = read.map(|read| read.version);
        change.put(ROUND.to_owned(), version, &Round { number, clean: false })?;
        change.commit(&self.inner.store).await?;
        Ok(number)
    }

    /// The number of the last round, if it has ended: what was counted in it holds.
    pub fn ended_file_round(&self) -> Result<Option<u64>, DirectoryError> {
        let read: Option<Read<Round>> = self.inner.read(ROUND)?;
        Ok(read.map(|read| read.value).filter(|round| round.clean).map(|round| round.number))
    }

    /// Ends it: all that was counted is written down.
    pub async fn end_file_round(&self, number: u64) -> Result<(), DirectoryError> {
        let read: Option<Read<Round>> = self.inner.read(ROUND)?;
        let mut change = Change::default();
        let version = read.map(|read| read.version);
        change.put(ROUND.to_owned(), version, &Round { number, clean: true })?;
        change.commit(&self.inner.store).await?;
        Ok(())
    }
}
