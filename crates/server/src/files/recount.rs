//! Whether what was written down of files is what lies there: for the operator, while no server runs.

use std::collections::HashSet;
use std::fmt;

use packetboat_account::{Directory, DirectoryError, FileUsage, FilesOwner};
use packetboat_files::policy::{Location, Policy, Users, Visitor};
use packetboat_files::{Refusal, Usage};

use super::folder_owner;

/// Accounts looked at together.
const PAGE: usize = 256;

/// What was found.
#[derive(Debug, Default)]
pub struct Recount {
    /// How many counts were made.
    pub counted: u64,
    /// Those that are not what was written down.
    pub wrong: Vec<Miscount>,
    /// The server did not stop in order: what was written down does not hold, and is counted anew at log-ins.
    pub unclean: bool,
}

/// A count that was not what was written down.
#[derive(Debug)]
pub struct Miscount {
    /// Whose.
    pub whose: String,
    /// Octets and files that were written down.
    pub written: (u64, u64),
    /// Those that are there.
    pub there: (u64, u64),
    /// The right ones are written down now.
    pub mended: bool,
}

/// Why there is no count.
#[derive(Debug, thiserror::Error)]
pub enum RecountError {
    /// What was written down cannot be read, or written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Files cannot be counted.
    #[error("the files of {0} cannot be counted: {1}")]
    Files(String, Refusal),
}

impl fmt::Display for Miscount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((octets, files), (are, many)) = (self.written, self.there);
        let whose = &self.whose;
        write!(f, "{whose}: {octets} octets in {files} files were counted, there are {are} in {many}")?;
        if self.mended { f.write_str("; mended") } else { Ok(()) }
    }
}

/// Counts all of whom something is written down, as it was counted by the rules of a policy. `mend` writes down what is there.
pub async fn recount(directory: &Directory, policy: &Policy, mend: bool) -> Result<Recount, RecountError> {
    let Some(round) = directory.ended_file_round()? else {
        return Ok(Recount { unclean: true, ..Recount::default() });
    };
    let mut counting = Counting { directory, round, mend, seen: HashSet::new(), found: Recount::default() };
    if let Some(anonymous) = &policy.anonymous {
        if let Some(mut left) = policy.home(Visitor::Anonymous) {
            left.below.extend(anonymous.incoming.iter().flat_map(|it| it.parts().iter().cloned()));
            counting.look("anonymous users", FilesOwner::Anonymous, &left).await?;
        }
        counting.folders(policy, Visitor::Anonymous).await?;
    }
    let mut after = None;
    loop {
        let accounts = directory.accounts(after, PAGE).await?;
        let Some(last) = accounts.last() else { return Ok(counting.found) };
        after = Some(last.id);
        for account in &accounts {
            let login = account.login.to_string();
            let visitor = Visitor::Account(&login);
            if let Some(home) = policy.home(visitor) {
                counting.look(&login, FilesOwner::Account(account.id), &home).await?;
            }
            counting.folders(policy, visitor).await?;
        }
    }
}

struct Counting<'a> {
    directory: &'a Directory,
    round: u64,
    mend: bool,
    seen: HashSet<FilesOwner>,
    found: Recount,
}

impl Counting<'_> {
    /// The folders that somebody finds, and that have a quota.
    async fn folders(&mut self, policy: &Policy, visitor: Visitor<'_>) -> Result<(), RecountError> {
        for folder in policy.folders.iter().filter(|folder| folder.quota.limits().is_some()) {
            if Users::best(&folder.users, visitor).is_none() {
                continue;
            }
            let Ok(location) = folder.path.expand(visitor) else { continue };
            let whose = format!("folder {} ({})", folder.name, location.path().display());
            self.look(&whose, folder_owner(&location), &location).await?;
        }
        Ok(())
    }

    async fn look(&mut self, whose: &str, owner: FilesOwner, at: &Location) -> Result<(), RecountError> {
        if !self.seen.insert(owner) {
            return Ok(());
        }
        let (row, version) = self.directory.file_usage(owner)?;
        let Some(row) = row.filter(|row| row.round == self.round) else { return Ok(()) };
        let Usage { octets, files, .. } = match at.usage() {
            Ok(usage) => usage,
            Err(refusal) => return Err(RecountError::Files(whose.to_owned(), refusal)),
        };
        self.found.counted += 1;
        if (octets, files) == (row.octets, row.files) {
            return Ok(());
        }
        if self.mend {
            self.directory.put_file_usage(owner, FileUsage { octets, files, ..row }, version).await?;
        }
        self.found.wrong.push(Miscount {
            whose: whose.to_owned(),
            written: (row.octets, row.files),
            there: (octets, files),
            mended: self.mend,
        });
        Ok(())
    }
}
