//! A directory of this machine, out of which no path leads.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, mkdirat, open, openat2};
use rustix::io::Errno;

use crate::list::look;
use crate::part::PLACE;
use crate::{Kind, Refusal, Share, Usage};

/// Names of the server's own: uploads under way. Nobody sees them, and nobody can name one so.
pub(crate) const RESERVED: &[u8] = b".packetboat-";

/// How often a resolution is begun again that collided with a rename elsewhere in the tree (`openat2` says so).
const COLLISIONS: u32 = 64;

/// A directory of this machine. A cheap handle; clones share it.
#[derive(Debug, Clone)]
pub struct Tree {
    root: Arc<OwnedFd>,
    /// For messages to the operator.
    path: Arc<PathBuf>,
    share: Option<Arc<dyn Share>>,
    /// Whether links in it are followed, as far as they stay in it.
    links: bool,
}

impl Tree {
    /// The tree that begins at this directory.
    pub fn open(path: &Path) -> Result<Tree, Refusal> {
        let root = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Tree { root: Arc::new(root), path: Arc::new(path.to_owned()), share: None, links: true })
    }

    /// The tree that begins at a directory in this one, which is made where it is missing.
    pub fn below(&self, name: &[u8]) -> Result<Tree, Refusal> {
        let root = self.directory(&[])?;
        match mkdirat(&root, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.within(name)
    }

    /// The tree that begins at a directory in this one.
    pub(crate) fn within(&self, name: &[u8]) -> Result<Tree, Refusal> {
        let root = Arc::new(self.directory(&[name.to_vec()])?);
        let path = Arc::new(self.path.join(OsStr::from_bytes(name)));
        Ok(Tree { root, path, share: self.share.clone(), links: self.links })
    }

    /// The same, and no link in it is followed.
    #[must_use]
    pub fn without_links(self) -> Tree {
        Tree { links: false, ..self }
    }

    /// Where it is on this machine, for messages to the operator.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same tree, in which what is kept is charged to this share.
    #[must_use]
    pub fn with_share(self, share: Arc<dyn Share>) -> Tree {
        Tree { share: Some(share), ..self }
    }

    /// Whom what is kept here is charged to.
    pub fn share(&self) -> Option<&Arc<dyn Share>> {
        self.share.as_ref()
    }

    /// Counts what lies in it, as a share has it; what is just being uploaded does not count yet,
    /// and what is kept of an upload that was broken off does. It reads every directory.
    pub fn usage(&self) -> Result<Usage, Refusal> {
        let mut usage = Usage::default();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut waiting: Vec<Vec<Vec<u8>>> = vec![Vec::new()];
        while let Some(parts) = waiting.pop() {
            let directory = match self.resolve(&parts, flags, Mode::empty()) {
                Ok(directory) => directory,
                // Removed meanwhile, or no longer a directory.
                Err(Refusal::NotFound | Refusal::NotADirectory) => continue,
                Err(refusal) => return Err(refusal),
            };
            for name in Dir::read_from(&directory)? {
                let name = name?.file_name().to_bytes().to_vec();
                let ours = name.starts_with(RESERVED) && name != PLACE;
                if matches!(&name[..], b"." | b"..") || ours {
                    continue;
                }
                match look(&directory, &name) {
                    Ok(entry) if entry.kind == Kind::Directory => {
                        waiting.push(parts.iter().cloned().chain([name]).collect());
                    }
                    Ok(entry) => {
                        usage.files += 1;
                        usage.octets += if entry.kind == Kind::File { entry.size } else { 0 };
                    }
                    Err(Refusal::NotFound) => {}
                    Err(refusal) => return Err(refusal),
                }
            }
        }
        Ok(usage)
    }

    /// Whether two handles are of one tree.
    pub fn is(&self, other: &Tree) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
    }

    /// Opens what lies at these names, following links that stay in the tree.
    pub(crate) fn open_at(&self, parts: &[Vec<u8>], flags: OFlags, mode: Mode) -> Result<OwnedFd, Refusal> {
        allowed(parts)?;
        self.resolve(parts, flags, mode)
    }

    pub(crate) fn resolve(&self, parts: &[Vec<u8>], flags: OFlags, mode: Mode) -> Result<OwnedFd, Refusal> {
        let path = joined(parts);
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        resolve.set(ResolveFlags::NO_SYMLINKS, !self.links);
        for _ in 0..COLLISIONS {
            match openat2(self.root.as_fd(), &path, flags | OFlags::CLOEXEC, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
        Err(Refusal::Failed("the tree is being renamed too fast".to_owned()))
    }

    /// The directory at these names, to do something in.
    pub(crate) fn directory(&self, parts: &[Vec<u8>]) -> Result<OwnedFd, Refusal> {
        self.open_at(parts, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
    }

    /// The file at these names, to read.
    pub(crate) fn file(&self, parts: &[Vec<u8>]) -> Result<File, Refusal> {
        // Without waiting for a writer, should it be a pipe; what is no file is found out by who asks its status.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(File::from(self.open_at(parts, flags, Mode::empty())?))
    }
}

/// Refuses the server's own names, wherever they stand in a path.
pub(crate) fn allowed(parts: &[Vec<u8>]) -> Result<(), Refusal> {
    let reserved = parts.iter().any(|part| part.starts_with(RESERVED));
    if reserved { Err(Refusal::NameNotAllowed) } else { Ok(()) }
}

fn joined(parts: &[Vec<u8>]) -> PathBuf {
    if parts.is_empty() {
        return PathBuf::from(".");
    }
    PathBuf::from(OsStr::from_bytes(&parts.join(&b'/')))
}
