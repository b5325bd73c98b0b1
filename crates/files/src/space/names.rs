//! Verbs that change names: what is made, removed, renamed and linked.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Access, AtFlags, Mode, RenameFlags, accessat, mkdirat, renameat_with, symlinkat, unlinkat};

use crate::list::look;
use crate::share::{Gone, signed, turn};
use crate::upload::kept_octets;
use crate::witness::under;
use crate::{Act, Change, Kind, Refusal, Right, Space, VirtualPath};

/// Directories in directories that are removed as one.
const DEPTH_MAX: usize = 64;

impl Space {
    /// Makes a change of a name under the eyes of the witness.
    fn witnessed<T>(
        &self,
        act: Act,
        (path, directory, name): (&VirtualPath, &OwnedFd, &[u8]),
        other: Option<(&VirtualPath, &OwnedFd, &[u8])>,
        make: impl FnOnce() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let other = other.map(|(path, directory, name)| (path, directory.as_fd(), name));
        let change = Change { act, path, directory: directory.as_fd(), name, other };
        under(self.witness.as_ref(), &change, make, |_| None)
    }

    /// Makes a directory.
    pub fn make_directory(&self, path: &VirtualPath) -> Result<(), Refusal> {
        self.permits(path, Right::Make)?;
        let (directory, name) = self.parent(path)?;
        self.witnessed(Act::MakeDirectory, (path, &directory, &name), None, || {
            Ok(mkdirat(&directory, &name[..], Mode::from_raw_mode(0o777 & !self.umask))?)
        })
    }

    /// Makes a directory and those above it that are missing.
    pub fn make_directories(&self, path: &VirtualPath) -> Result<(), Refusal> {
        let mut above = VirtualPath::root();
        for part in path.parts() {
            above = above.join(part)?;
            match self.make_directory(&above) {
                Ok(()) | Err(Refusal::Exists) => {}
                // What is there already need not be ours to make.
                Err(_) if self.enter(&above).is_ok() => {}
                Err(why) => return Err(why),
            }
        }
        self.enter(path)
    }

    /// Removes an empty directory.
    pub fn remove_directory(&self, path: &VirtualPath) -> Result<(), Refusal> {
        self.permits(path, Right::Delete)?;
        let (directory, name) = self.parent(path)?;
        self.witnessed(Act::RemoveDirectory, (path, &directory, &name), None, || {
            Ok(unlinkat(&directory, &name[..], AtFlags::REMOVEDIR)?)
        })
    }

    /// Removes a directory with all that is in it. `stop` ends it early, and then some of it is gone.
    pub fn remove_tree(&self, path: &VirtualPath, stop: &AtomicBool) -> Result<(), Refusal> {
        self.remove_below(path, DEPTH_MAX, stop)?;
        self.remove_directory(path)
    }

    fn remove_below(&self, path: &VirtualPath, depth: usize, stop: &AtomicBool) -> Result<(), Refusal> {
        self.permits(path, Right::Delete)?;
        if depth == 0 {
            return Err(Refusal::NotEmpty);
        }
        for entry in self.list(path)? {
            if stop.load(Ordering::Relaxed) {
                return Err(Refusal::Stopped);
            }
            let entry = entry?;
            let at = path.join(&entry.name)?;
            if entry.kind == Kind::Directory {
                self.remove_below(&at, depth - 1, stop)?;
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
        // What was begun of it goes with it, and alone if there is nothing else.
        let part = self.forget_part(path)?;
        let removed = self.counted(path, [&name, &name], |counted| {
            let freed = if counted { kept_octets(&directory, &name)? } else { None };
            self.witnessed(Act::Remove, (path, &directory, &name), None, || {
                Ok(unlinkat(&directory, &name[..], AtFlags::empty())?)
            })?;
            Ok(((), freed))
        });
        if part && removed == Err(Refusal::NotFound) { Ok(()) } else { removed }
    }

    /// Does something by which what has one of these names is gone; `change` says of how many octets it was, if it is asked.
    fn counted<T>(
        &self,
        path: &VirtualPath,
        names: [&[u8]; 2],
        change: impl FnOnce(bool) -> Result<(T, Option<u64>), Refusal>,
    ) -> Result<T, Refusal> {
        let Some(share) = self.place(path)?.tree.share() else { return Ok(change(false)?.0) };
        let turn = turn(names[0], names[1]);
        let (done, freed) = change(true)?;
        drop(turn);
        if let Some(octets) = freed {
            share.count(-signed(octets), -1);
        }
        Ok(done)
    }

    /// Removes a file whose turn somebody has taken, and says what it was counted for.
    pub(crate) fn remove_in_turn(&self, path: &VirtualPath) -> Result<Gone, Refusal> {
        let (directory, name) = self.parent(path)?;
        let gone = Gone::of(kept_octets(&directory, &name)?);
        self.witnessed(Act::Remove, (path, &directory, &name), None, || {
            Ok(unlinkat(&directory, &name[..], AtFlags::empty())?)
        })?;
        Ok(gone)
    }

    /// What a path is counted for, if a file of its directory may be removed by this process at all.
    pub(crate) fn counted_for(&self, path: &VirtualPath) -> Result<Gone, Refusal> {
        let (directory, name) = self.parent(path)?;
        accessat(&directory, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?;
        Ok(Gone::of(kept_octets(&directory, &name)?))
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
        // Moved with what lies above it, a path would come out of the rights that were written for it.
        if self.grants.iter().any(|grant| grant.path.under(from).is_some_and(|rest| !rest.is_empty())) {
            return Err(Refusal::NoPermission);
        }
        if !self.place(from)?.tree.is(self.place(to)?.tree) {
            return Err(Refusal::OtherTree);
        }
        let ((from_directory, from_name), (to_directory, to_name)) = (self.parent(from)?, self.parent(to)?);
        let replace =
            self.rights(to).has(Right::Write) && look(&from_directory, &from_name)?.kind != Kind::Directory;
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        self.counted(to, [&from_name, &to_name], |counted| {
            let freed = if counted && replace { kept_octets(&to_directory, &to_name)? } else { None };
            // Two names of one file, or one name twice: the system does nothing, and nothing is freed.
            let same = freed.is_some()
                && look(&from_directory, &from_name)?.unique == look(&to_directory, &to_name)?.unique;
            let other = Some((to, &to_directory, &to_name[..]));
            self.witnessed(Act::Rename, (from, &from_directory, &from_name), other, || {
                Ok(renameat_with(&from_directory, &from_name[..], &to_directory, &to_name[..], flags)?)
            })?;
            if from.split().map(|(above, _)| above) != to.split().map(|(above, _)| above) {
                Space::made_moves(&to_directory, &to_name);
            }
            Ok(((), freed.filter(|_| !same)))
        })
    }

    /// Makes a link. Where it leads is looked at when it is followed, and then it has to stay in the tree.
    pub fn link(&self, target: &[u8], path: &VirtualPath) -> Result<(), Refusal> {
        self.permits(path, Right::Create)?;
        // Who may only leave files leaves no ways for whoever comes to fetch them.
        self.permits(path, Right::Write)?;
        if target.contains(&0) || target.is_empty() {
            return Err(Refusal::InvalidPath);
        }
        let (directory, name) = self.parent(path)?;
        let share = self.place(path)?.tree.share();
        if let Some(share) = share {
            share.charge(0, 1)?;
        }
        symlinkat(target, directory, &name[..]).map_err(|error| {
            if let Some(share) = share {
                share.count(0, -1);
            }
            error.into()
        })
    }
}
