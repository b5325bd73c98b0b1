//! What one user sees as their files, and the verbs on it.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, mkdirat, renameat_with, symlinkat,
    unlinkat, utimensat,
};

use crate::list::look;
use crate::rights::rights_at;
use crate::tree::allowed;
use crate::{Entry, Grant, How, Kind, Lister, Refusal, Right, Rights, Sync, Tree, Upload, VirtualPath};

/// Directories in directories that are removed as one.
const DEPTH_MAX: usize = 64;

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
}

/// Where a path leads on this machine.
struct Place<'a> {
    tree: &'a Tree,
    parts: Vec<Vec<u8>>,
}

impl Space {
    /// A space with a tree at its root, and others within.
    pub fn new(mounts: Vec<Mount>, grants: Vec<Grant>, sync: Sync, umask: u32) -> Space {
        Space { mounts, grants, sync, umask }
    }

    /// What may be done at a path. All verbs ask here, and nowhere else.
    pub fn permits(&self, path: &VirtualPath, right: Right) -> Result<(), Refusal> {
        if self.rights(path).has(right) { Ok(()) } else { Err(Refusal::NoPermission) }
    }

    /// All that may be done at a path.
    pub fn rights(&self, path: &VirtualPath) -> Rights {
        rights_at(&self.grants, path)
    }

    /// Another tree appears at a path from now on (SMNT).
    pub fn mount(&mut self, mount: Mount) {
        self.mounts.retain(|other| other.at != mount.at);
        self.mounts.push(mount);
    }

    fn place(&self, path: &VirtualPath) -> Result<Place<'_>, Refusal> {
        let fits = self.mounts.iter().filter_map(|mount| Some((mount, path.under(&mount.at)?)));
        let (mount, parts) = fits.max_by_key(|(mount, _)| mount.at.parts().len()).ok_or(Refusal::NotFound)?;
        Ok(Place { tree: &mount.tree, parts: parts.to_vec() })
    }

    /// The directory that holds a path's last name, and that name. A place where a tree appears cannot be changed from
    /// within.
    fn parent(&self, path: &VirtualPath) -> Result<(OwnedFd, Vec<u8>), Refusal> {
        let place = self.place(path)?;
        let (name, above) = place.parts.split_last().ok_or(Refusal::NoPermission)?;
        allowed(&place.parts)?;
        Ok((place.tree.directory(above)?, name.clone()))
    }

    /// What lies at a path; a link is followed.
    pub fn facts(&self, path: &VirtualPath) -> Result<Entry, Refusal> {
        self.permits(path, Right::List)?;
        self.look(path)
    }

    fn look(&self, path: &VirtualPath) -> Result<Entry, Refusal> {
        let place = self.place(path)?;
        let found = place.tree.open_at(&place.parts, OFlags::PATH, Mode::empty())?;
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
        let file = place.tree.file(&place.parts)?;
        let mut entry = look(&file.try_clone().map_err(|e| Refusal::Failed(e.to_string()))?.into(), b"")?;
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
        let directory = place.tree.open_at(&place.parts, flags, Mode::empty())?;
        let within = self.mounts.iter().filter_map(|mount| Some((mount.at.under(path)?.first()?, mount)));
        let mut more: Vec<Entry> = Vec::new();
        for (name, _) in within {
            let at = path.join(name)?;
            if more.iter().any(|entry| entry.name == *name) || self.rights(&at) == Rights::NONE {
                continue;
            }
            more.extend(self.look(&at));
        }
        Lister::new(directory, more)
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
        let (directory, name) = self.parent(path)?;
        let mode = 0o666 & !umask.unwrap_or(self.umask);
        Upload::begin(directory, &name, how, mode, self.sync, random)
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
        let there = self.is_there(path)?;
        self.permits(path, if there { Right::Append } else { Right::Create })?;
        let (directory, name) = self.parent(path)?;
        let mode = 0o666 & !umask.unwrap_or(self.umask);
        let upload = Upload::begin(directory, &name, How::Replace, mode, self.sync, random)?;
        if !there {
            return Ok((upload, 0));
        }
        let place = self.place(path)?;
        let old = place.tree.file(&place.parts)?;
        let failed = |error: std::io::Error| match rustix::io::Errno::from_io_error(&error) {
            Some(error) => Refusal::from(error),
            None => Refusal::Failed(error.to_string()),
        };
        let octets = old.metadata().map_err(failed)?.len();
        upload.begin_with(&old, octets).map_err(failed)?;
        Ok((upload, octets))
    }

    /// Makes a directory.
    pub fn make_directory(&self, path: &VirtualPath) -> Result<(), Refusal> {
        self.permits(path, Right::Make)?;
        let (directory, name) = self.parent(path)?;
        Ok(mkdirat(directory, &name[..], Mode::from_raw_mode(0o777 & !self.umask))?)
    }

    /// Removes an empty directory.
    pub fn remove_directory(&self, path: &VirtualPath) -> Result<(), Refusal> {
        self.permits(path, Right::Delete)?;
        let (directory, name) = self.parent(path)?;
        Ok(unlinkat(directory, &name[..], AtFlags::REMOVEDIR)?)
    }

    /// Removes a directory with all that is in it.
    pub fn remove_tree(&self, path: &VirtualPath) -> Result<(), Refusal> {
        self.remove_below(path, DEPTH_MAX)?;
        self.remove_directory(path)
    }

    fn remove_below(&self, path: &VirtualPath, depth: usize) -> Result<(), Refusal> {
        self.permits(path, Right::Delete)?;
        if depth == 0 {
            return Err(Refusal::NotEmpty);
        }
        for entry in self.list(path)? {
            let entry = entry?;
            let at = path.join(&entry.name)?;
            if entry.kind == Kind::Directory {
                self.remove_below(&at, depth - 1)?;
                self.remove_directory(&at)?;
            } else {
                self.remove(&at)?;
            }
        }
        Ok(())
    }

    /// Removes a file, or a link.
    pub fn remove(&self, path: &VirtualPath) -> Result<(), Refusal> {
        self.permits(path, Right::Delete)?;
        let (directory, name) = self.parent(path)?;
        Ok(unlinkat(directory, &name[..], AtFlags::empty())?)
    }

    /// Whether something could get another name.
    pub fn may_rename(&self, path: &VirtualPath) -> Result<(), Refusal> {
        self.permits(path, Right::Rename)?;
        let (directory, name) = self.parent(path)?;
        look(&directory, &name).map(drop)
    }

    /// Gives another name, and place. What has that name is replaced if it is a file that may be written.
    pub fn rename(&self, from: &VirtualPath, to: &VirtualPath) -> Result<(), Refusal> {
        self.permits(from, Right::Rename)?;
        self.permits(to, Right::Create)?;
        if !self.place(from)?.tree.is(self.place(to)?.tree) {
            return Err(Refusal::OtherTree);
        }
        let ((from_directory, from_name), (to_directory, to_name)) = (self.parent(from)?, self.parent(to)?);
        let replace =
            self.rights(to).has(Right::Write) && look(&from_directory, &from_name)?.kind != Kind::Directory;
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        Ok(renameat_with(from_directory, &from_name[..], to_directory, &to_name[..], flags)?)
    }

    /// Says when a file was changed.
    pub fn set_modified(&self, path: &VirtualPath, seconds: i64, nanoseconds: u32) -> Result<(), Refusal> {
        self.permits(path, Right::Write)?;
        let (directory, name) = self.parent(path)?;
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
        };
        Ok(utimensat(directory, &name[..], &times, AtFlags::SYMLINK_NOFOLLOW)?)
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
        let file = place.tree.open_at(&place.parts, flags, Mode::empty())?;
        Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o777))?)
    }

    /// Makes a link. Where it leads is looked at when it is followed, and then it has to stay in the tree.
    pub fn link(&self, target: &[u8], path: &VirtualPath) -> Result<(), Refusal> {
        self.permits(path, Right::Create)?;
        if target.contains(&0) || target.is_empty() {
            return Err(Refusal::InvalidPath);
        }
        let (directory, name) = self.parent(path)?;
        Ok(symlinkat(target, directory, &name[..])?)
    }

    /// Octets that are free on the disk of a path.
    pub fn free(&self, path: &VirtualPath) -> Result<u64, Refusal> {
        let place = self.place(path)?;
        let found = place.tree.open_at(&place.parts, OFlags::PATH, Mode::empty())?;
        let facts = rustix::fs::fstatvfs(found)?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }
}
