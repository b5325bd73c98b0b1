//! Every file operation of segments and bodies, in one place, so that a test can stand underneath: it may refuse an
//! operation, or keep a record of what was written and what was synced and build from it the disk after a power cut.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One operation about to happen or just done.
#[allow(dead_code, reason = "only a test that stands underneath looks inside")]
#[derive(Debug, Clone, Copy)]
pub(crate) enum DiskOp<'a> {
    /// A file is made.
    Create(&'a Path),
    /// Octets go into a file.
    Write { path: &'a Path, offset: u64, data: &'a [u8] },
    /// A file is cut or grown to a length.
    SetLen { path: &'a Path, len: u64 },
    /// A file's content is made durable.
    SyncData(&'a Path),
    /// A directory's names are made durable.
    SyncDir(&'a Path),
    /// A file gets another name.
    Rename { from: &'a Path, to: &'a Path },
    /// A file goes.
    Remove(&'a Path),
    /// The database commits (its own files are written and synced by SQLite).
    DatabaseCommit,
    /// The database copies its log into its main file.
    DatabaseCheckpoint,
}

/// Stands under the file operations in tests.
pub(crate) trait Watcher: Send + Sync + std::fmt::Debug {
    /// Before the operation; an error is returned to the caller instead of doing it.
    fn before(&self, op: DiskOp<'_>) -> io::Result<()>;
    /// After it succeeded.
    fn after(&self, op: DiskOp<'_>);
}

/// Makes a directory, and those above it, for nobody else to look into: mail lies in it.
pub(crate) fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The file operations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    watcher: Option<Arc<dyn Watcher>>,
}

impl Disk {
    #[cfg(test)]
    #[allow(dead_code, reason = "its tests follow")]
    pub(crate) fn watched(watcher: Arc<dyn Watcher>) -> Disk {
        Disk { watcher: Some(watcher) }
    }

    pub(crate) fn run<T>(&self, op: DiskOp<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(watcher) = &self.watcher else { return act() };
        watcher.before(op)?;
        let value = act()?;
        watcher.after(op);
        Ok(value)
    }

    /// Makes a file that must not exist yet.
    pub(crate) fn create(&self, path: &Path) -> io::Result<DiskFile> {
        let file = self.run(DiskOp::Create(path), || {
            OpenOptions::new().read(true).write(true).create_new(true).open(path)
        })?;
        Ok(DiskFile { file, path: path.to_owned(), disk: self.clone() })
    }

    /// Opens a file for writing that exists.
    pub(crate) fn open(&self, path: &Path) -> io::Result<DiskFile> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(DiskFile { file, path: path.to_owned(), disk: self.clone() })
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(DiskOp::Rename { from, to }, || std::fs::rename(from, to))
    }

    /// Removes a file; that it is gone already is no error.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.run(DiskOp::Remove(path), || match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.run(DiskOp::SyncDir(path), || File::open(path)?.sync_all())
    }
}

/// A file open for writing.
#[derive(Debug)]
pub(crate) struct DiskFile {
    file: File,
    path: PathBuf,
    disk: Disk,
}

impl DiskFile {
    pub(crate) fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.disk
            .run(DiskOp::Write { path: &self.path, offset, data }, || self.file.write_all_at(data, offset))
    }

    pub(crate) fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    pub(crate) fn sync_data(&self) -> io::Result<()> {
        self.disk.run(DiskOp::SyncData(&self.path), || self.file.sync_data())
    }

    /// Lets the system forget what it remembers of these octets, which are synced. It need not.
    pub(crate) fn forget(&self, octets: &std::ops::Range<u64>) {
        if let Some(len) = std::num::NonZeroU64::new(octets.end.saturating_sub(octets.start)) {
            let _ = rustix::fs::fadvise(&self.file, octets.start, Some(len), rustix::fs::Advice::DontNeed);
        }
    }

    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.run(DiskOp::SetLen { path: &self.path, len }, || self.file.set_len(len))
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
