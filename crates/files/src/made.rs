//! When a file was made, where somebody says so (MFCT).
//!
//! File systems know when an inode was made and let nobody change it, so what was said is an extended attribute of the file.
//! Listings look for it only in directories that have an attribute telling that there is some.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, XattrFlags, fgetxattr, fsetxattr, openat};

use crate::{Entry, Kind, Refusal, Right, Space, VirtualPath};

/// Of a file or directory: seconds, a point, nanoseconds.
const MADE: &str = "user.packetboat.made";
/// Of a directory: some of what is in it has one.
const IN_HERE: &str = "user.packetboat.made-in-here";
/// Octets of either.
const ATTRIBUTE_MAX: usize = 64;

/// What is opened to look at attributes: nothing is followed, and nothing waited for.
const LOOK: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// When a file was made, if somebody has said so.
pub(crate) fn told(file: impl AsFd) -> Option<(i64, u32)> {
    let mut value = [0_u8; ATTRIBUTE_MAX];
    let octets = fgetxattr(file, MADE, &mut value[..]).ok()?;
    let (seconds, nanoseconds) = std::str::from_utf8(value.get(..octets)?).ok()?.split_once('.')?;
    Some((
        seconds.parse().ok()?,
        nanoseconds.parse().ok().filter(|nanoseconds| *nanoseconds < 1_000_000_000)?,
    ))
}

/// The same of a name in a directory.
pub(crate) fn told_of(directory: &OwnedFd, entry: &Entry) -> Option<(i64, u32)> {
    if !matches!(entry.kind, Kind::File | Kind::Directory) {
        return None;
    }
    told(openat(directory, &entry.name[..], LOOK, Mode::empty()).ok()?)
}

/// Whether it is worth while to look in this directory.
pub(crate) fn is_told_in(directory: impl AsFd) -> bool {
    fgetxattr(directory, IN_HERE, &mut [0_u8; ATTRIBUTE_MAX][..]).is_ok()
}

impl Space {
    /// Says when a file or directory was made.
    pub fn set_created(&self, path: &VirtualPath, seconds: i64, nanoseconds: u32) -> Result<(), Refusal> {
        self.permits(path, Right::Write)?;
        let (directory, name) = self.parent(path)?;
        let file = File::from(openat(&directory, &name[..], LOOK, Mode::empty())?);
        let kind = file.metadata()?.file_type();
        if !kind.is_file() && !kind.is_dir() {
            return Err(Refusal::NotAFile);
        }
        let value = format!("{seconds}.{nanoseconds:09}");
        fsetxattr(&file, MADE, value.as_bytes(), XattrFlags::empty())?;
        mark(&directory)
    }

    /// What has moved to another directory is looked for there.
    pub(crate) fn made_moves(to: &OwnedFd, name: &[u8]) {
        if openat(to, name, LOOK, Mode::empty()).is_ok_and(|file| told(file).is_some()) {
            let _ = mark(to);
        }
    }
}

/// The handle of the directory is one for paths only.
fn mark(directory: &OwnedFd) -> Result<(), Refusal> {
    let directory = openat(directory, ".", LOOK | OFlags::DIRECTORY, Mode::empty())?;
    Ok(fsetxattr(directory, IN_HERE, b"", XattrFlags::empty())?)
}
