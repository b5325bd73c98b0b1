//! Actions on files that need no data connection.

use packetboat_files::{Algorithm, Checksum, Entry, Kind, Refusal as Files, Right, Space, VirtualPath};
use packetboat_ftp::command::{FileTime, PathName};
use packetboat_ftp::listing::{Allowed, Facts, Kind as ListKind, facts_line};
use packetboat_ftp::server::{Answer, Refusal, Request};

use super::errand::Work;

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

    /// The work that a request is, if it takes as long as reading or writing files.
    pub(super) fn work(&self, request: &Request) -> Result<Option<Work>, Refusal> {
        let space = self.space.clone();
        Ok(Some(match request {
            Request::Checksum { algorithm, path, start, end } => {
                let (at, algorithm, start, end) = (self.at(path)?, digest(*algorithm), *start, *end);
                Box::new(move |stop| {
                    let checksum = space.checksum(&at, algorithm, start, end, stop);
                    let Checksum { digits: digest, start, end } = checksum.map_err(|why| refusal(&why))?;
                    Ok(Answer::Checksum { digest, start, end })
                })
            }
            Request::RemoveTree(path) => {
                let at = self.at(path)?;
                Box::new(move |_| {
                    space.remove_tree(&at).map_err(|why| refusal(&why))?;
                    Ok(Answer::Done)
                })
            }
            _ => return Ok(None),
        }))
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
                let mut above = VirtualPath::root();
                for part in at.parts() {
                    above = above.join(part).map_err(|_| Refusal::InvalidPath)?;
                    match self.space.make_directory(&above) {
                        Ok(()) | Err(Files::Exists) => {}
                        // What is there already need not be ours to make.
                        Err(_) if self.space.enter(&above).is_ok() => {}
                        Err(why) => return Err(refusal(&why)),
                    }
                }
                Ok(Answer::Directory(name_of(&at)?))
            }
            Request::RemoveDirectory(path) => done(self.space.remove_directory(&self.at(&path)?)),
            Request::Delete(path) => done(self.space.remove(&self.at(&path)?)),
            Request::RenameFrom(path) => done(self.space.may_rename(&self.at(&path)?)),
            Request::Rename(from, to) => done(self.space.rename(&self.at(&from)?, &self.at(&to)?)),
            Request::Size(path, representation) => {
                let facts = self.space.facts(&self.at(&path)?).map_err(|why| refusal(&why))?;
                match facts.kind {
                    // RFC 3659 section 4: as it would be transferred. Counting line ends means reading all of it, which
                    // is what others refuse to do, too.
                    _ if !representation.is_plain() => Err(Refusal::NotForThat),
                    Kind::File => Ok(Answer::Number(facts.size)),
                    _ => Err(Refusal::NotAFile),
                }
            }
            Request::ModificationTime(path) => {
                let facts = self.space.facts(&self.at(&path)?).map_err(|why| refusal(&why))?;
                Ok(Answer::Time(time(facts.modified)))
            }
            Request::SetModificationTime(path, time) => {
                done(self.space.set_modified(&self.at(&path)?, time.seconds, time.nanoseconds))
            }
            Request::SetFacts(path, facts) => self.set_facts(&self.at(&path)?, &facts),
            Request::Facts(path) => {
                let at = self.at_or_here(path.as_ref())?;
                let entry = self.space.facts(&at).map_err(|why| refusal(&why))?;
                let full = at.to_bytes();
                let mut line = Vec::new();
                facts_line(&told(&entry, &full, &self.space, &at), facts, &mut line);
                Ok(Answer::Lines(vec![format!(" {}", String::from_utf8_lossy(&line).trim_end())]))
            }
            Request::ChangeMode(path, mode) => done(self.space.set_mode(&self.at(&path)?, mode)),
            Request::SymbolicLink { target, link } => {
                done(self.space.link(target.as_bytes(), &self.at(&link)?))
            }
            Request::Available(path) => {
                let at = self.at_or_here(path.as_ref())?;
                self.space.free(&at).map(Answer::Number).map_err(|why| refusal(&why))
            }
            Request::Allocate(octets) => done(self.space.allocate(&self.directory, octets)),
            Request::Mount(_)
            | Request::SetCreationTime(..)
            | Request::Status(_)
            | Request::Checksum { .. }
            | Request::RemoveTree(_)
            | Request::Combine(..)
            | Request::Copy(..)
            | Request::Quota
            | Request::Who => Err(Refusal::NotForThat),
        }
    }

    fn enter(&mut self, to: VirtualPath) -> Result<Answer, Refusal> {
        self.space.enter(&to).map_err(|why| refusal(&why))?;
        self.directory = to;
        Ok(Answer::Done)
    }

    fn set_facts(&self, at: &VirtualPath, facts: &[(String, String)]) -> Result<Answer, Refusal> {
        for (name, value) in facts {
            let set = match &name[..] {
                "modify" => {
                    let time = FileTime::parse(value).ok_or(Refusal::NotForThat)?;
                    self.space.set_modified(at, time.seconds, time.nanoseconds)
                }
                "unix.mode" => {
                    let mode = u32::from_str_radix(value, 8).map_err(|_| Refusal::NotForThat)?;
                    self.space.set_mode(at, mode)
                }
                _ => return Err(Refusal::NotForThat),
            };
            set.map_err(|why| refusal(&why))?;
        }
        Ok(Answer::Done)
    }
}

fn digest(algorithm: packetboat_ftp::command::Algorithm) -> Algorithm {
    match algorithm {
        packetboat_ftp::command::Algorithm::Crc32 => Algorithm::Crc32,
        packetboat_ftp::command::Algorithm::Md5 => Algorithm::Md5,
        packetboat_ftp::command::Algorithm::Sha1 => Algorithm::Sha1,
        packetboat_ftp::command::Algorithm::Sha256 => Algorithm::Sha256,
        packetboat_ftp::command::Algorithm::Sha512 => Algorithm::Sha512,
    }
}

fn name_of(path: &VirtualPath) -> Result<PathName, Refusal> {
    PathName::new(path.to_bytes()).ok_or(Refusal::InvalidPath)
}

pub(super) fn time((seconds, nanoseconds): (i64, u32)) -> FileTime {
    FileTime { seconds, nanoseconds }
}

/// What a listing tells of an entry.
pub(super) fn told<'a>(entry: &'a Entry, name: &'a [u8], space: &Space, at: &VirtualPath) -> Facts<'a> {
    let rights = space.rights(at);
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
        owner: "owner",
        group: "group",
        unique: entry.unique,
        allowed: Allowed {
            read: rights.has(Right::Read),
            write: rights.has(Right::Write),
            append: rights.has(Right::Append),
            delete: rights.has(Right::Delete),
            rename: rights.has(Right::Rename),
            list: rights.has(Right::List),
            make: rights.has(Right::Make),
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
        Files::OtherTree => Refusal::Because(why.to_string()),
        Files::Failed(error) => {
            tracing::error!(error, "a file could not be worked on");
            Refusal::LocalError
        }
    }
}
