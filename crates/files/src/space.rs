//! What one user sees as their files, and the verbs on it.

mod names;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, openat, utimensat};

use crate::list::look;
use crate::rights::rights_at;
use crate::share::{Gone, Held};
use crate::tree::allowed;
use crate::upload::kept_octets;
use crate::{
    Algorithm, Checksum, Entry, Grant, How, Kind, Lister, Refusal, Right, Rights, Rules, Share, Sync, Tree,
    Upload, Usage, VirtualPath, Witness, digest, made,
};

/// A tree at a virtual path. The longest path that fits is where something lies.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Where it appears.
    pub at: VirtualPath,
    /// What appears there.
    pub tree: Tree,
}

/// A user's files: trees at their places, and what may be done where.
#[derive(Debug, Clone)]
pub struct Space {
    mounts: Vec<Mount>,
    grants: Vec<Grant>,
    sync: Sync,
    umask: u32,
    rules: Arc<Rules>,
    witness: Option<Arc<dyn Witness>>,
    owner: Arc<Owner>,
    resumes: Option<Arc<str>>,
}

/// Whose a space is: what listings name as owner and group of everything in it. Whatever the system says of the files, all
/// of them are the server's there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub name: String,
    /// And their group.
    pub group: String,
}

impl Owner {
    /// Whoever logs in by this name: `user@domain`, or a name alone.
    pub fn of_login(login: &str) -> Owner {
        let (name, group) = login.split_once('@').unwrap_or((login, login));
        Owner { name: name.to_owned(), group: group.to_owned() }
    }
}

impl Default for Owner {
    fn default() -> Owner {
        Owner { name: "owner".to_owned(), group: "group".to_owned() }
    }
}

/// Where a path leads on this machine.
pub(crate) struct Place<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) parts: &'a [Vec<u8>],
}

impl Space {
    /// A space with a tree at its root, and others within.
    pub fn new(mounts: Vec<Mount>, grants: Vec<Grant>, sync: Sync, umask: u32) -> Space {
        let (rules, owner) = (Arc::default(), Arc::default());
        Space { mounts, grants, sync, umask, rules, witness: None, owner, resumes: None }
    }

    /// The same space, by these rules.
    #[must_use]
    pub fn with_rules(self, rules: Arc<Rules>) -> Space {
        Space { rules, ..self }
    }

    /// The same space, and this one is told of what changes in it.
    #[must_use]
    pub fn with_witness(self, witness: Arc<dyn Witness>) -> Space {
        Space { witness: Some(witness), ..self }
    }

    /// By which rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The same space, of this owner.
    #[must_use]
    pub fn owned_by(self, owner: Owner) -> Space {
        Space { owner: Arc::new(owner), ..self }
    }

    /// The same space, of a user who can go on with uploads that were broken off, by this name; see [`Rules::keeping`].
    #[must_use]
    pub fn resumed_by(self, user: &str) -> Space {
        Space { resumes: Some(user.into()), ..self }
    }

    pub(crate) fn resumes(&self) -> Option<&str> {
        self.resumes.as_deref()
    }

    pub(crate) fn sync(&self) -> Sync {
        self.sync
    }

    /// Whose it is.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The same space, in which what is kept is charged to this share, but for trees that have one of their own.
    #[must_use]
    pub fn with_share(mut self, share: &Arc<dyn Share>) -> Space {
        for mount in &mut self.mounts {
            if mount.tree.share().is_none() {
                mount.tree = mount.tree.clone().with_share(Arc::clone(share));
            }
        }
        self
    }

    /// What is used of the share that a path is charged to, and what may be; `None` if nobody counts.
    pub fn usage(&self, path: &VirtualPath) -> Result<Option<Usage>, Refusal> {
        Ok(self.place(path)?.tree.share().map(|share| share.usage()))
    }

    /// Whether so much more could be stored in a directory, by the disk and by the share that it is charged to.
    pub fn allocate(&self, path: &VirtualPath, octets: u64) -> Result<(), Refusal> {
        let place = self.place(path)?;
        if place.tree.share().and_then(|share| share.room()).is_some_and(|room| room < octets) {
            return Err(Refusal::QuotaExceeded);
        }
        if self.free(path)? < octets { Err(Refusal::NoSpace) } else { Ok(()) }
    }

    /// What may be done at a path. All verbs ask here, and nowhere else.
    pub fn permits(&self, path: &VirtualPath, right: Right) -> Result<(), Refusal> {
        if self.rights(path).has(right) { Ok(()) } else { Err(Refusal::NoPermission) }
    }

    /// All that may be done at a path.
    pub fn rights(&self, path: &VirtualPath) -> Rights {
        rights_at(&self.grants, path)
    }

    /// The rights at everything directly in a directory, if they are the same everywhere there.
    pub fn rights_within(&self, path: &VirtualPath) -> Option<Rights> {
        let differs = |grant: &Grant| grant.path.under(path).is_some_and(|below| below.len() == 1);
        if self.grants.iter().any(differs) { None } else { Some(self.rights(path)) }
    }

    /// Another tree appears at a path from now on (SMNT).
    pub fn mount(&mut self, mount: Mount) {
        self.mounts.retain(|other| other.at != mount.at);
        self.mounts.push(mount);
    }

    pub(crate) fn place<'a>(&'a self, path: &'a VirtualPath) -> Result<Place<'a>, Refusal> {
        let fits = self.mounts.iter().filter_map(|mount| Some((mount, path.under(&mount.at)?)));
        let (mount, parts) = fits.max_by_key(|(mount, _)| mount.at.parts().len()).ok_or(Refusal::NotFound)?;
        Ok(Place { tree: &mount.tree, parts })
    }

    /// The directory that holds a path's last name, and that name. A place where a tree appears cannot be changed from
    /// within.
    pub(crate) fn parent(&self, path: &VirtualPath) -> Result<(OwnedFd, Vec<u8>), Refusal> {
        let place = self.place(path)?;
        let (name, above) = place.parts.split_last().ok_or(Refusal::NoPermission)?;
        allowed(place.parts)?;
        Ok((place.tree.directory(above)?, name.clone()))
    }

    /// What lies at a path and all that is known of it, as MLST tells it; a link is followed.
    pub fn all_facts(&self, path: &VirtualPath) -> Result<Entry, Refusal> {
        self.permits(path, Right::List)?;
        let mut entry = self.look(path)?;
        if matches!(entry.kind, Kind::File | Kind::Directory) {
            let place = self.place(path)?;
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
            let file = place.tree.open_at(place.parts, flags, Mode::empty());
            entry.created = file.ok().and_then(made::told).or(entry.created);
        }
        Ok(entry)
    }

    /// What lies at a path; a link is followed.
    pub fn facts(&self, path: &VirtualPath) -> Result<Entry, Refusal> {
        self.permits(path, Right::List)?;
        self.look(path)
    }

    pub(crate) fn look(&self, path: &VirtualPath) -> Result<Entry, Refusal> {
        let place = self.place(path)?;
        let found = place.tree.open_at(place.parts, OFlags::PATH, Mode::empty())?;
        let mut entry = look(&found, b"")?;
        entry.name = path.parts().last().cloned().unwrap_or_else(|| b"/".to_vec());
        Ok(entry)
    }

    /// Whether a path is a directory one may go into. Who may not list it may go there all the same: an incoming folder
    /// is entered to put something in.
    pub fn enter(&self, path: &VirtualPath) -> Result<(), Refusal> {
        if self.rights(path) == Rights::NONE {
            return Err(Refusal::NotFound);
        }
        match self.look(path)?.kind {
            Kind::Directory => Ok(()),
            _ => Err(Refusal::NotADirectory),
        }
    }

    /// A file to read.
    pub fn read(&self, path: &VirtualPath) -> Result<(File, Entry), Refusal> {
        self.permits(path, Right::Read)?;
        let place = self.place(path)?;
        let file = place.tree.file(place.parts)?;
        let mut entry = look(&file, b"")?;
        entry.name = path.parts().last().cloned().unwrap_or_default();
        match entry.kind {
            Kind::File => Ok((file, entry)),
            _ => Err(Refusal::NotAFile),
        }
    }

    /// What is in a directory.
    pub fn list(&self, path: &VirtualPath) -> Result<Lister, Refusal> {
        self.permits(path, Right::List)?;
        let place = self.place(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        let directory = place.tree.open_at(place.parts, flags, Mode::empty())?;
        let within = self.mounts.iter().filter_map(|mount| Some((mount.at.under(path)?.first()?, mount)));
        let mut more: Vec<Entry> = Vec::new();
        for (name, _) in within {
            let at = path.join(name)?;
            if more.iter().any(|entry| entry.name == *name) || self.rights(&at) == Rights::NONE {
                continue;
            }
            more.extend(self.look(&at));
        }
        Ok(Lister::new(directory, more))
    }

    /// A file to store. What is there already stays until the upload is committed. `random` tells the upload from all
    /// others.
    pub fn store(
        &self,
        path: &VirtualPath,
        how: How,
        umask: Option<u32>,
        random: u64,
    ) -> Result<Upload, Refusal> {
        let there = match how {
            How::Replace => self.is_there(path)?,
            How::Create | How::Unique => false,
        };
        self.permits(path, if there { Right::Write } else { Right::Create })?;
        let mut upload = self.upload(path, self.replacing(path, how), umask, random, Gone::default())?;
        if how != How::Unique {
            upload.keep = self.keep_anew(path)?;
        }
        Ok(upload)
    }

    /// Who may not replace a file does not replace one that comes into being while they upload, either.
    pub(crate) fn replacing(&self, path: &VirtualPath, how: How) -> How {
        let may = self.rights(path).has(Right::Write);
        if how == How::Replace && !may { How::Create } else { how }
    }

    pub(crate) fn upload(
        &self,
        path: &VirtualPath,
        how: How,
        umask: Option<u32>,
        random: u64,
        also_gone: Gone,
    ) -> Result<Upload, Refusal> {
        let (directory, name) = self.parent(path)?;
        let held = match self.place(path)?.tree.share() {
            None => None,
            Some(share) => {
                let replaces = match how {
                    How::Replace => kept_octets(&directory, &name)?,
                    How::Create | How::Unique => None,
                };
                Some(Held::new(Arc::clone(share), Gone::of(replaces).and(also_gone))?)
            }
        };
        let mode = 0o666 & !umask.unwrap_or(self.umask);
        let mut upload = Upload::begin(directory, &name, how, mode, self.sync, held, random)?;
        upload.digest(&self.rules.checksums);
        self.attend(&mut upload, path);
        Ok(upload)
    }

    /// Whoever is told of what changes is told of this upload.
    pub(crate) fn attend(&self, upload: &mut Upload, path: &VirtualPath) {
        if let Some(witness) = &self.witness {
            upload.witnessed(Arc::clone(witness), path.clone());
        }
    }

    /// The checksum of octets of a file, from `start` up to before `end`. Takes as long as reading them, unless it was kept;
    /// `stop` ends it.
    pub fn checksum(
        &self,
        path: &VirtualPath,
        algorithm: Algorithm,
        start: u64,
        end: Option<u64>,
        stop: &AtomicBool,
    ) -> Result<Checksum, Refusal> {
        let (file, _) = self.read(path)?;
        digest::of_file(&file, algorithm, start, end, stop)
    }

    /// Whether a file lies at a path, of which a user who may not look learns only what storing there would tell.
    fn is_there(&self, path: &VirtualPath) -> Result<bool, Refusal> {
        match self.look(path) {
            Ok(Entry { kind: Kind::File, .. }) => Ok(true),
            Ok(_) => Err(Refusal::NotAFile),
            Err(Refusal::NotFound) => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    /// The file to which something is to be appended, and how much is in it; a new one where there is none. The upload
    /// begins with what is there.
    pub fn append(
        &self,
        path: &VirtualPath,
        umask: Option<u32>,
        random: u64,
    ) -> Result<(Upload, u64), Refusal> {
        self.append_instead(path, umask, random, Gone::default())
    }

    /// The same, and so much of the same share will be gone when it is there.
    pub(crate) fn append_instead(
        &self,
        path: &VirtualPath,
        umask: Option<u32>,
        random: u64,
        gone: Gone,
    ) -> Result<(Upload, u64), Refusal> {
        let there = self.is_there(path)?;
        self.permits(path, if there { Right::Append } else { Right::Create })?;
        if let Some((mut upload, octets)) = self.append_to_part(path, there, random)? {
            upload.replaces_too(gone);
            return Ok((upload, octets));
        }
        let how = if there { How::Replace } else { self.replacing(path, How::Replace) };
        let mut upload = self.upload(path, how, umask, random, gone)?;
        if !there {
            upload.keep = self.keep(path)?.map(Box::new);
            return Ok((upload, 0));
        }
        let place = self.place(path)?;
        let old = place.tree.file(place.parts)?;
        let octets = old.metadata()?.len();
        upload.begin_with(&old, octets)?;
        Ok((upload, octets))
    }

    /// Says when a file was changed.
    pub fn set_modified(&self, path: &VirtualPath, seconds: i64, nanoseconds: u32) -> Result<(), Refusal> {
        self.permits(path, Right::Write)?;
        let (directory, name) = self.parent(path)?;
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
        };
        // What is a file is changed by a handle, by which its checksums stay valid.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(&directory, &name[..], flags, Mode::empty()).map(File::from) {
            Ok(file) if file.metadata()?.is_file() => {
                digest::touch(&file, || Ok(rustix::fs::futimens(&file, &times)?))
            }
            _ => Ok(utimensat(directory, &name[..], &times, AtFlags::SYMLINK_NOFOLLOW)?),
        }
    }

    /// Says who may do what with a file on this machine. The bits that lend somebody's identity are not for this.
    pub fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<(), Refusal> {
        self.permits(path, Right::Write)?;
        let (directory, name) = self.parent(path)?;
        // A link has no mode, and following it would be a way out.
        if matches!(look(&directory, &name)?.kind, Kind::Link(_)) {
            return Err(Refusal::NotAFile);
        }
        let place = self.place(path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = place.tree.open_at(place.parts, flags, Mode::empty())?;
        Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o777))?)
    }

    /// Octets that are free on the disk of a path.
    pub fn free(&self, path: &VirtualPath) -> Result<u64, Refusal> {
        let place = self.place(path)?;
        let found = place.tree.open_at(place.parts, OFlags::PATH, Mode::empty())?;
        let facts = rustix::fs::fstatvfs(found)?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }
}
