//! What is in a directory: one entry after the other, however many there are.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, StatxFlags, readlinkat, statx};

use crate::tree::RESERVED;
use crate::{Refusal, made};

/// What is known of a file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A link to this path.
    Link(Vec<u8>),
    /// A pipe, a socket, a device.
    Other,
}

/// Reads a directory. An iterator: an entry that vanished between its name and its facts is passed over.
#[derive(Debug)]
pub struct Lister {
    directory: OwnedFd,
    names: Dir,
    /// Entries of other trees that appear here.
    more: VecDeque<Entry>,
    /// Names that they cover.
    covered: Vec<Vec<u8>>,
    /// Somebody has said of some entries when they were made.
    made: bool,
}

impl Lister {
    pub(crate) fn new(directory: OwnedFd, more: Vec<Entry>) -> Result<Lister, Refusal> {
        let names = Dir::read_from(&directory)?;
        let covered = more.iter().map(|entry| entry.name.clone()).collect();
        let made = made::is_told_in(&directory);
        Ok(Lister { directory, names, more: more.into(), covered, made })
    }
}

impl Iterator for Lister {
    type Item = Result<Entry, Refusal>;

    fn next(&mut self) -> Option<Result<Entry, Refusal>> {
        if let Some(entry) = self.more.pop_front() {
            return Some(Ok(entry));
        }
        loop {
            let name = match self.names.read()? {
                Ok(entry) => entry.file_name().to_bytes().to_vec(),
                Err(error) => return Some(Err(error.into())),
            };
            let hidden = matches!(&name[..], b"." | b"..") || name.starts_with(RESERVED);
            if hidden || self.covered.contains(&name) {
                continue;
            }
            match look(&self.directory, &name) {
                Ok(mut entry) => {
                    if self.made {
                        entry.created = made::told_of(&self.directory, &entry).or(entry.created);
                    }
                    return Some(Ok(entry));
                }
                Err(Refusal::NotFound) => {}
                Err(refusal) => return Some(Err(refusal)),
            }
        }
    }
}

/// The facts of a name in a directory; a link is told as a link. An empty name is the directory, or file, itself.
pub(crate) fn look(directory: impl AsFd, name: &[u8]) -> Result<Entry, Refusal> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let facts = statx(&directory, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?;
    let kind = match FileType::from_raw_mode(facts.stx_mode.into()) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link(readlinkat(&directory, name, Vec::new())?.into_bytes()),
        _ => Kind::Other,
    };
    let created = StatxFlags::from_bits_retain(facts.stx_mask)
        .contains(StatxFlags::BTIME)
        .then_some((facts.stx_btime.tv_sec, facts.stx_btime.tv_nsec));
    Ok(Entry {
        name: name.to_vec(),
        kind,
        size: facts.stx_size,
        modified: (facts.stx_mtime.tv_sec, facts.stx_mtime.tv_nsec),
        created,
        mode: u32::from(facts.stx_mode) & 0o7777,
        links: facts.stx_nlink.into(),
        owner: facts.stx_uid,
        group: facts.stx_gid,
        unique: (u64::from(facts.stx_dev_major) << 32 | u64::from(facts.stx_dev_minor), facts.stx_ino),
    })
}
