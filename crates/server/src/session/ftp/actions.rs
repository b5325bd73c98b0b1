//! Actions on files that need no data connection.

use packetboat_files::{Entry, Kind, Refusal as Files, Right, Rights, Space, VirtualPath};
use packetboat_ftp::command::{FileTime, NewFact, PathName};
use packetboat_ftp::listing::{Allowed, Facts, Kind as ListKind, facts_line};
use packetboat_ftp::server::{Answer, Refusal, Request};

/// Where somebody is, and in which files.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) space: Space,
    pub(super) directory: VirtualPath,
}

impl Here {
    /// What a path means here.
    pub(super) fn at(&self, path: &PathName) -> Result<VirtualPath, Refusal> {
        self.directory.resolve(path.as_bytes()).map_err(|_| Refusal::InvalidPath)
    }

    /// The same, where no path means here.
    pub(super) fn at_or_here(&self, path: Option<&PathName>) -> Result<VirtualPath, Refusal> {
        path.map_or_else(|| Ok(self.directory.clone()), |path| self.at(path))
    }

    /// Carries out a request that takes no time. `facts` are those that MLST is to tell.
    pub(super) fn carry_out(&mut self, request: Request, facts: &[&str]) -> Result<Answer, Refusal> {
        let done = |outcome: Result<(), Files>| outcome.map(|()| Answer::Done).map_err(|why| refusal(&why));
        match request {
            Request::ChangeDirectory(path) => {
                let to = self.at(&path)?;
                self.enter(to)
            }
            Request::ParentDirectory => {
                let above = self.directory.split().map_or_else(VirtualPath::root, |(above, _)| above);
                self.enter(above)
            }
            Request::WorkingDirectory => Ok(Answer::Directory(name_of(&self.directory)?)),
            Request::MakeDirectory(path) => {
                let at = self.at(&path)?;
                self.space.make_directory(&at).map_err(|why| refusal(&why))?;
                Ok(Answer::Directory(name_of(&at)?))
            }
            Request::MakeDirectories(path) => {
                let at = self.at(&path)?;
                self.space.make_directories(&at).map_err(|why| refusal(&why))?;
                Ok(Answer::Directory(name_of(&at)?))
            }
            Request::RemoveDirectory(path) => done(self.space.remove_directory(&self.at(&path)?)),
            Request::Delete(path) => done(self.space.remove(&self.at(&path)?)),
            Request::RenameFrom(path) => done(self.space.may_rename(&self.at(&path)?)),
            Request::Rename(from, to) => done(self.space.rename(&self.at(&from)?, &self.at(&to)?)),
            Request::Size(path, ..) => {
                let facts = self.space.known(&self.at(&path)?).map_err(|why| refusal(&why))?;
                match facts.kind {
                    Kind::File => Ok(Answer::Number(facts.size)),
                    _ => Err(Refusal::NotAFile),
                }
            }
            Request::ModificationTime(path) => {
                let facts = self.space.known(&self.at(&path)?).map_err(|why| refusal(&why))?;
                Ok(Answer::Time(time(facts.modified)))
            }
            Request::SetModificationTime(path, time) => {
                done(self.space.set_modified(&self.at(&path)?, time.seconds, time.nanoseconds))
            }
            Request::SetCreationTime(path, time) => {
                done(self.space.set_created(&self.at(&path)?, time.seconds, time.nanoseconds))
            }
            Request::CopyFrom(path) => done(self.space.may_copy(&self.at(&path)?)),
            Request::Quota => self.quota(),
            Request::SetFacts(path, facts) => self.set_facts(&self.at(&path)?, &facts),
            Request::Facts(path) => {
                let at = self.at_or_here(path.as_ref())?;
                let facts_told = self.space.all_facts(&at).or_else(|_| self.space.known(&at));
                let entry = facts_told.map_err(|why| refusal(&why))?;
                let full = at.to_bytes();
                let mut line = Vec::new();
                facts_line(&told(&entry, &full, &self.space, &at), facts, &mut line);
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                Ok(Answer::Lines(vec![String::from_utf8_lossy(line).into_owned()]))
            }
            Request::ChangeMode(path, mode) => done(self.space.set_mode(&self.at(&path)?, mode)),
            Request::SymbolicLink { target, link } => {
                done(self.space.link(target.as_bytes(), &self.at(&link)?))
            }
            Request::Available(path) => {
                let at = self.at_or_here(path.as_ref())?;
                let free = self.space.free(&at).map_err(|why| refusal(&why))?;
                let usage = self.space.usage(&at).map_err(|why| refusal(&why))?;
                let room = usage.and_then(|usage| usage.room());
                Ok(Answer::Number(room.map_or(free, |room| room.min(free))))
            }
            Request::Allocate(octets) => done(self.space.allocate(&self.directory, octets)),
            Request::Mount(_)
            | Request::Status(_)
            | Request::Checksum { .. }
            | Request::RemoveTree(_)
            | Request::Combine(..)
            | Request::Copy(..)
            | Request::Who => Err(Refusal::NotForThat),
        }
    }

    fn enter(&mut self, to: VirtualPath) -> Result<Answer, Refusal> {
        self.space.enter(&to).map_err(|why| refusal(&why))?;
        self.directory = to;
        Ok(Answer::Done)
    }

    /// SITE QUOTA: what is used here, and what may be.
    fn quota(&self) -> Result<Answer, Refusal> {
        let usage = self.space.usage(&self.directory).map_err(|why| refusal(&why))?;
        let line = |used: u64, limit: Option<u64>, what: &str| match limit {
            Some(limit) => format!("{used} of {limit} {what} used, {} left.", limit.saturating_sub(used)),
            None => format!("{used} {what} used, no limit."),
        };
        Ok(Answer::Lines(match usage {
            Some(usage) => vec![
                line(usage.octets, usage.limits.octets, "octets"),
                line(usage.files, usage.limits.files, "files"),
            ],
            None => vec!["No limit here.".to_owned()],
        }))
    }

    fn set_facts(&self, at: &VirtualPath, facts: &[NewFact]) -> Result<Answer, Refusal> {
        for fact in facts {
            let set = match *fact {
                NewFact::Modify(time) => self.space.set_modified(at, time.seconds, time.nanoseconds),
                NewFact::Create(time) => self.space.set_created(at, time.seconds, time.nanoseconds),
                NewFact::Mode(mode) => self.space.set_mode(at, mode),
            };
            set.map_err(|why| refusal(&why))?;
        }
        Ok(Answer::Done)
    }
}

fn name_of(path: &VirtualPath) -> Result<PathName, Refusal> {
    PathName::new(path.to_bytes()).ok_or(Refusal::InvalidPath)
}

pub(super) fn time((seconds, nanoseconds): (i64, u32)) -> FileTime {
    FileTime { seconds, nanoseconds }
}

/// What a listing tells of an entry.
pub(super) fn told<'a>(entry: &'a Entry, name: &'a [u8], space: &'a Space, at: &VirtualPath) -> Facts<'a> {
    told_with(entry, name, space, space.rights(at))
}

/// The same, to somebody who has these rights there.
pub(super) fn told_with<'a>(entry: &'a Entry, name: &'a [u8], space: &'a Space, rights: Rights) -> Facts<'a> {
    Facts {
        name,
        kind: match &entry.kind {
            Kind::File => ListKind::File,
            Kind::Directory => ListKind::Directory,
            Kind::Link(target) => ListKind::Link(target),
            Kind::Other => ListKind::Other,
        },
        size: entry.size,
        modified: time(entry.modified),
        created: entry.created.map(time),
        mode: entry.mode,
        links: entry.links,
        owner: &space.owner().name,
        group: &space.owner().group,
        unique: entry.unique,
        allowed: Allowed {
            read: rights.has(Right::Read),
            write: rights.has(Right::Write),
            append: rights.has(Right::Append),
            delete: rights.has(Right::Delete),
            rename: rights.has(Right::Rename),
            list: rights.has(Right::List),
            make: rights.has(Right::Make),
            create: rights.has(Right::Create),
        },
    }
}

/// The file space's verdict, in the words of the conversation.
pub(super) fn refusal(why: &Files) -> Refusal {
    match why {
        Files::NotFound => Refusal::NotFound,
        Files::Exists => Refusal::Exists,
        Files::NoPermission | Files::ReadOnly => Refusal::NoPermission,
        Files::NotAFile => Refusal::NotAFile,
        Files::NotADirectory => Refusal::NotADirectory,
        Files::NotEmpty => Refusal::NotEmpty,
        Files::InvalidPath => Refusal::InvalidPath,
        Files::NameNotAllowed => Refusal::NameNotAllowed,
        Files::NoSpace => Refusal::NoSpace,
        Files::QuotaExceeded => Refusal::QuotaExceeded,
        Files::InvalidRange => Refusal::InvalidRange,
        Files::Stopped => Refusal::Stopped,
        Files::NotSupported => Refusal::NotForThat,
        Files::OtherTree | Files::TooMany | Files::BrokenOff(_) => Refusal::Because(why.to_string()),
        Files::Failed(error) => {
            tracing::error!(error, "a file could not be worked on");
            Refusal::LocalError
        }
    }
}
