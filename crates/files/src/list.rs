//! What is in a directory: one entry after the other, however many there are.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, RawDir, StatxFlags, readlinkat, statx};

use crate::tree::RESERVED;
use crate::{Refusal, made};

/// Octets of names that the system is asked for at a time. An entry of a directory needs up to 280.
const NAMES_OCTETS: usize = 32 * 1024;
/// A directory with more octets of names than this, among the first that the system told, has many.
const LONG_OCTETS: usize = NAMES_OCTETS / 4;

/// What is known of a file or directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Octets.
    pub size: u64,
    /// When it was changed: seconds since 1970-01-01T00:00:00Z, and nanoseconds.
    pub modified: (i64, u32),
    /// When it was made, if the file system knows.
    pub created: Option<(i64, u32)>,
    /// Permissions, 12 bits.
    pub mode: u32,
    /// How many names it has.
    pub links: u64,
    /// Whose it is.
    pub owner: u32,
    /// And of which group.
    pub group: u32,
    /// Device and number.
    pub unique: (u64, u64),
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Kind {
    /// A file.
    #[default]
    File,
    /// A directory.
    Directory,
    /// A link to this path.
    Link(Vec<u8>),
    /// A pipe, a socket, a device.
    Other,
}

/// Reads a directory. An iterator: an entry that vanished between its name and its facts is passed over.
pub struct Lister {
    directory: Arc<OwnedFd>,
    /// What the system tells at a time, as it tells it.
    buffer: Vec<u8>,
    /// What was read and is not told yet.
    names: Names,
    /// Names that entries of other trees cover.
    covered: Vec<Vec<u8>>,
}

/// Names in a directory whose facts are still to be asked for, which may be done by another thread.
pub struct Names {
    directory: Arc<OwnedFd>,
    /// Entries of other trees that appear here.
    more: VecDeque<Entry>,
    /// Names, each with a NUL behind it, and where the next one begins.
    text: Vec<u8>,
    next: usize,
    /// Somebody has said of some entries when they were made.
    made: bool,
}

impl Lister {
    pub(crate) fn new(directory: OwnedFd, more: Vec<Entry>) -> Lister {
        let covered = more.iter().map(|entry| entry.name.clone()).collect();
        let made = made::is_told_in(&directory);
        let directory = Arc::new(directory);
        let names =
            Names { directory: Arc::clone(&directory), more: more.into(), text: Vec::new(), next: 0, made };
        Lister { directory, buffer: Vec::new(), names, covered }
    }

    /// The next entry, in the place of one that is not needed any more; `None`: there is none.
    pub fn read(&mut self, entry: &mut Entry) -> Option<Result<(), Refusal>> {
        self.read_if(entry, |_| true)
    }

    /// The next entry whose name is wanted; of the others nothing else is asked.
    pub(crate) fn read_if(
        &mut self,
        entry: &mut Entry,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> Option<Result<(), Refusal>> {
        loop {
            if let Some(read) = self.names.read_if(entry, &mut wanted) {
                return Some(read);
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(refusal) => return Some(Err(refusal)),
            }
        }
    }

    /// Many entries at once; `None`: there are no more.
    pub fn names(&mut self) -> Option<Result<Names, Refusal>> {
        if self.names.is_empty() {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(refusal) => return Some(Err(refusal)),
            }
        }
        let (directory, made) = (Arc::clone(&self.directory), self.names.made);
        let empty = Names { directory, more: VecDeque::new(), text: Vec::new(), next: 0, made };
        Some(Ok(std::mem::replace(&mut self.names, empty)))
    }

    /// Whether the directory has more entries than the system tells at once.
    pub fn is_long(&mut self) -> bool {
        let filled = self.names.text.is_empty() && self.fill().is_ok_and(|filled| filled);
        filled && self.names.text.len() > LONG_OCTETS
    }

    /// Asks the system for more names; false: there are no more.
    fn fill(&mut self) -> Result<bool, Refusal> {
        let Names { text, next, .. } = &mut self.names;
        *next = 0;
        text.clear();
        self.buffer.clear();
        self.buffer.reserve(NAMES_OCTETS);
        let mut entries = RawDir::new(&self.directory, self.buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let hidden = matches!(name, b"." | b"..") || name.starts_with(RESERVED);
            if !hidden && !self.covered.iter().any(|covered| covered == name) {
                text.extend_from_slice(entry.file_name().to_bytes_with_nul());
            }
            if entries.is_buffer_empty() && !text.is_empty() {
                break;
            }
        }
        Ok(!text.is_empty())
    }
}

impl Names {
    fn is_empty(&self) -> bool {
        self.more.is_empty() && self.next >= self.text.len()
    }

    /// The next entry, in the place of one that is not needed any more; `None`: there is none.
    pub fn read(&mut self, entry: &mut Entry) -> Option<Result<(), Refusal>> {
        self.read_if(entry, &mut |_: &[u8]| true)
    }

    fn read_if(
        &mut self,
        entry: &mut Entry,
        wanted: &mut impl FnMut(&[u8]) -> bool,
    ) -> Option<Result<(), Refusal>> {
        while let Some(more) = self.more.pop_front() {
            if wanted(&more.name) {
                *entry = more;
                return Some(Ok(()));
            }
        }
        loop {
            let name = CStr::from_bytes_until_nul(self.text.get(self.next..)?).ok()?;
            self.next += name.count_bytes() + 1;
            if !wanted(name.to_bytes()) {
                continue;
            }
            match look_into(self.directory.as_fd(), name, entry) {
                Ok(()) => {
                    if self.made {
                        entry.created = made::told_of(&self.directory, entry).or(entry.created);
                    }
                    return Some(Ok(()));
                }
                Err(Refusal::NotFound) => {}
                Err(refusal) => return Some(Err(refusal)),
            }
        }
    }
}

impl Iterator for Lister {
    type Item = Result<Entry, Refusal>;

    fn next(&mut self) -> Option<Result<Entry, Refusal>> {
        let mut entry = Entry::default();
        Some(self.read(&mut entry)?.map(|()| entry))
    }
}

impl fmt::Debug for Lister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lister").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// The facts of a name in a directory; a link is told as a link. An empty name is the directory, or file, itself.
pub(crate) fn look(directory: impl AsFd, name: &[u8]) -> Result<Entry, Refusal> {
    let name = CString::new(name).map_err(|_| Refusal::InvalidPath)?;
    let mut entry = Entry::default();
    look_into(directory.as_fd(), &name, &mut entry)?;
    Ok(entry)
}

fn look_into(directory: BorrowedFd<'_>, name: &CStr, entry: &mut Entry) -> Result<(), Refusal> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let facts = statx(directory, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?;
    entry.kind = match FileType::from_raw_mode(facts.stx_mode.into()) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link(readlinkat(directory, name, Vec::new())?.into_bytes()),
        _ => Kind::Other,
    };
    entry.name.clear();
    entry.name.extend_from_slice(name.to_bytes());
    entry.size = facts.stx_size;
    entry.modified = (facts.stx_mtime.tv_sec, facts.stx_mtime.tv_nsec);
    entry.created = StatxFlags::from_bits_retain(facts.stx_mask)
        .contains(StatxFlags::BTIME)
        .then_some((facts.stx_btime.tv_sec, facts.stx_btime.tv_nsec));
    entry.mode = u32::from(facts.stx_mode) & 0o7777;
    entry.links = facts.stx_nlink.into();
    (entry.owner, entry.group) = (facts.stx_uid, facts.stx_gid);
    entry.unique = (u64::from(facts.stx_dev_major) << 32 | u64::from(facts.stx_dev_minor), facts.stx_ino);
    Ok(())
}
