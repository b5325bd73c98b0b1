//! Uploads: what is stored is there whole, or not at all.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, fchmod, fdatasync, fsync, openat, renameat_with, unlinkat,
};
use rustix::io::Errno;

use crate::copy;
use crate::digest::{self, Algorithm, Hasher, Stamp};
use crate::list::look;
use crate::part::Keep;
use crate::share::{Gone, Held, turn};
use crate::tree::RESERVED;
use crate::unique::Promise;
use crate::witness::under;
use crate::{Act, Change, Kind, Refusal, Share, VirtualPath, Witness};

/// Names that are tried for a file of its own (STOU), before it is said that there is none.
const UNIQUE_TRIES: u64 = 10_000;

/// How a file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A new one; if there is one of this name, it fails.
    Create,
    /// In the place of the one that is there, if there is.
    Replace,
    /// A new one, under this name or one like it.
    Unique,
}

/// What has to be on disk when a file is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// Nothing: the system writes it when it likes.
    Never,
    /// The file.
    Data,
    /// The file, and that it is there under its name.
    #[default]
    Whole,
}

/// A file that is being stored, under a name that nobody sees. Dropped without [`commit`](Upload::commit), it is gone.
#[derive(Debug)]
pub struct Upload {
    directory: OwnedFd,
    hidden: Vec<u8>,
    name: Vec<u8>,
    how: How,
    file: File,
    sync: Sync,
    held: Option<Held>,
    /// Checksums that are made on the way, of the first so many octets.
    hashers: Vec<(Algorithm, Hasher)>,
    hashed: u64,
    /// Who is told when it gets its name, and by which path it is known to the user.
    witness: Option<(Arc<dyn Witness>, VirtualPath)>,
    /// What goes when it is there, besides what it replaces. Whoever says so has taken the turns of all of them.
    also_gone: Option<Gone>,
    promise: Option<Promise>,
    /// Where it is kept when it is broken off.
    pub(crate) keep: Option<Box<Keep>>,
    done: bool,
}

impl Upload {
    /// Begins one in a directory. `random` tells it from all others.
    pub(crate) fn begin(
        directory: OwnedFd,
        name: &[u8],
        how: How,
        mode: u32,
        sync: Sync,
        held: Option<Held>,
        random: u64,
    ) -> Result<Upload, Refusal> {
        let mut hidden = RESERVED.to_vec();
        hidden.extend_from_slice(format!("{random:016x}").as_bytes());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&directory, &hidden[..], flags, Mode::from_raw_mode(mode & 0o777))?;
        // Whatever the process's own umask is.
        fchmod(&file, Mode::from_raw_mode(mode & 0o777))?;
        Ok(Upload::of_part(directory, hidden, name, how, (File::from(file), sync), held))
    }

    /// One that lies there already, in part.
    pub(crate) fn of_part(
        directory: OwnedFd,
        hidden: Vec<u8>,
        name: &[u8],
        how: How,
        (file, sync): (File, Sync),
        held: Option<Held>,
    ) -> Upload {
        Upload {
            directory,
            hidden,
            name: name.to_vec(),
            how,
            file,
            sync,
            held,
            hashers: Vec::new(),
            hashed: 0,
            witness: None,
            also_gone: None,
            promise: None,
            keep: None,
            done: false,
        }
    }

    /// The line broke. What has come is kept for whoever sent it, if that is how it is here; says how many octets.
    pub fn break_off(mut self) -> Option<u64> {
        let keep = self.keep.take()?;
        let hidden = (&self.directory, &self.hidden[..]);
        let kept = keep.keep(hidden, &self.file, self.sync, self.held.as_mut()).ok();
        self.done = kept.is_some();
        kept
    }

    /// The file. Who writes into it, and not by [`write_at`](Upload::write_at), says before how far
    /// ([`make_room`](Upload::make_room)).
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file grows to so many octets. Refused where the user's share does not have them.
    #[inline]
    pub fn make_room(&mut self, octets: u64) -> Result<(), Refusal> {
        match &mut self.held {
            Some(held) => held.grow(octets),
            None => Ok(()),
        }
    }

    /// Whether it can become so long: by the share, and by the disk. Asked when somebody says how much will come.
    pub fn expect(&self, octets: u64) -> Result<(), Refusal> {
        if let Some(held) = &self.held {
            held.fits(octets)?;
        }
        let facts = rustix::fs::fstatvfs(&self.file)?;
        let more = octets.saturating_sub(self.file.metadata()?.len());
        if facts.f_bavail.saturating_mul(facts.f_frsize) < more { Err(Refusal::NoSpace) } else { Ok(()) }
    }

    /// This one is told when it gets its name.
    pub(crate) fn witnessed(&mut self, witness: Arc<dyn Witness>, path: VirtualPath) {
        self.witness = Some((witness, path));
    }

    /// Whom it is charged to.
    pub(crate) fn share(&self) -> Option<&Arc<dyn Share>> {
        self.held.as_ref().map(Held::share)
    }

    /// When it is there, so much will be gone, and needs no room meanwhile.
    pub(crate) fn replaces_too(&mut self, gone: Gone) {
        if let Some(held) = &mut self.held {
            held.replaces_too(gone);
        }
    }

    /// The same, and how much that is holds: whoever says so has taken the turn of its name and of all the others.
    pub(crate) fn goes_with(&mut self, gone: Gone) {
        self.also_gone = Some(gone);
    }

    /// Its name was promised; nobody else gets it while this is under way.
    pub(crate) fn promised(&mut self, promise: Promise) {
        self.promise = Some(promise);
    }

    /// Whether it is whole without waiting: neither for the disk nor for who counts what is kept.
    pub fn ends_at_once(&self) -> bool {
        self.sync == Sync::Never && self.held.is_none()
    }

    /// Makes these checksums of what is written, as long as it comes in its order.
    pub(crate) fn digest(&mut self, algorithms: &[Algorithm]) {
        self.hashers = algorithms.iter().map(|algorithm| (*algorithm, Hasher::new(*algorithm))).collect();
    }

    /// Whether checksums are made on the way, for which what comes has to pass [`write_at`](Upload::write_at).
    pub fn is_digested(&self) -> bool {
        !self.hashers.is_empty()
    }

    /// Writes octets at their place.
    pub fn write_at(&mut self, octets: &[u8], at: u64) -> Result<(), Refusal> {
        let end = at.saturating_add(octets.len() as u64);
        self.make_room(end)?;
        self.file.write_all_at(octets, at)?;
        if !self.hashers.is_empty() && !octets.is_empty() {
            if at == self.hashed {
                self.hashers.iter_mut().for_each(|(_, hasher)| hasher.update(octets));
                self.hashed = end;
            } else {
                self.hashers.clear();
            }
        }
        Ok(())
    }

    /// Takes over what lies in another file, up to so many octets: a transfer that goes on, or one behind a file.
    pub fn begin_with(&mut self, other: &File, octets: u64) -> Result<(), Refusal> {
        self.make_room(octets)?;
        copy::octets(other, &self.file, 0, octets, &AtomicBool::new(false)).map(drop)
    }

    /// The file is whole: it is on disk as [`Sync`] has it, and then there under its name, which is returned.
    pub fn commit(mut self) -> Result<Vec<u8>, Refusal> {
        if !self.hashers.is_empty() {
            let stamp = Stamp::of(&self.file)?;
            // Otherwise it began with something, or something was written past us.
            if stamp.size() == self.hashed {
                for (algorithm, hasher) in self.hashers.drain(..) {
                    digest::keep(&self.file, algorithm, stamp, &hasher.digits());
                }
            }
        }
        if self.sync != Sync::Never {
            fdatasync(&self.file)?;
        }
        let Some((witness, path)) = self.witness.take() else { return self.settle() };
        let (directory, name, hidden) = (self.directory.try_clone()?, self.name.clone(), self.hidden.clone());
        let other = Some((&path, directory.as_fd(), &hidden[..]));
        let change =
            Change { act: Act::Store, path: &path, directory: directory.as_fd(), name: &name, other };
        under(Some(&witness), &change, || self.settle(), |name| Some(name.clone()))
    }

    /// It gets its name, and that is on disk as [`Sync`] has it.
    fn settle(&mut self) -> Result<Vec<u8>, Refusal> {
        let name = match self.held.take() {
            None => self.publish()?,
            Some(held) => self.publish_and_charge(held)?,
        };
        self.done = true;
        if self.sync == Sync::Whole {
            // The handle is one for paths only; what is synced is the directory itself.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            fsync(openat(&self.directory, ".", flags, Mode::empty())?)?;
        }
        Ok(name)
    }

    fn publish_and_charge(&self, mut held: Held) -> Result<Vec<u8>, Refusal> {
        let octets = self.file.metadata()?.len();
        let _turn = self.also_gone.is_none().then(|| turn(&self.name, &self.name));
        let replaced = match self.how {
            How::Replace => kept_octets(&self.directory, &self.name)?,
            How::Create | How::Unique => None,
        };
        let gone = Gone::of(replaced).and(self.also_gone.unwrap_or_default());
        held.settle(octets, gone)?;
        self.publish().inspect_err(|_| held.undo(octets, gone))
    }

    fn publish(&self) -> Result<Vec<u8>, Refusal> {
        let at = self.directory.as_fd();
        let rename = |name: &[u8], flags| renameat_with(at, &self.hidden[..], at, name, flags);
        match self.how {
            How::Replace => {
                rename(&self.name, RenameFlags::empty())?;
                Ok(self.name.clone())
            }
            How::Create => {
                rename(&self.name, RenameFlags::NOREPLACE)?;
                Ok(self.name.clone())
            }
            How::Unique => {
                for number in 0..UNIQUE_TRIES {
                    let mut name = self.name.clone();
                    if number > 0 {
                        name.extend_from_slice(format!(".{number}").as_bytes());
                    }
                    match rename(&name, RenameFlags::NOREPLACE) {
                        Err(Errno::EXIST) => {}
                        other => return other.map(|()| name).map_err(Refusal::from),
                    }
                }
                Err(Refusal::Exists)
            }
        }
    }
}

/// What a name in a directory counts for, if it does: see [`share`](crate::share).
pub(crate) fn kept_octets(directory: &OwnedFd, name: &[u8]) -> Result<Option<u64>, Refusal> {
    match look(directory, name) {
        Ok(entry) => Ok(match entry.kind {
            Kind::File => Some(entry.size),
            Kind::Directory => None,
            Kind::Link(_) | Kind::Other => Some(0),
        }),
        Err(Refusal::NotFound) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // It began with a part, and nothing came: then that is still there.
        if let Some(keep) = self.keep.take()
            && keep.taken.is_some()
            && self.file.metadata().map(|facts| facts.len()).ok() == keep.taken
        {
            let hidden = (&self.directory, &self.hidden[..]);
            self.done = keep.keep(hidden, &self.file, Sync::Never, self.held.as_mut()).is_ok();
        }
        if !self.done {
            let _ = unlinkat(&self.directory, &self.hidden[..], AtFlags::empty());
        }
    }
}
