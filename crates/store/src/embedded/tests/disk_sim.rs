//! A disk that remembers what was made durable and what was not, and tells what could be on it after a power cut.
//!
//! Segments, bodies and the snapshot: every write, cut, name and sync is known. Writes since a file's last sync may be
//! there or not, in any combination, each torn at any sector; names since a directory's last sync may be there up to
//! any point. The database's own two files are written by SQLite, where nothing can stand underneath: they are read
//! before and after each commit and checkpoint, and whatever differs from what was last made durable is treated like
//! such a write. That SQLite syncs what it says it syncs within a checkpoint, and the new head of a write-ahead log
//! that begins anew before what follows it (https://sqlite.org/src/info/ff5be73dee), is taken on trust.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::embedded::disk::{DiskOp, Watcher};

const SECTOR: usize = 512;

/// Repeatable chance.
#[derive(Debug, Clone)]
pub(in crate::embedded) struct Dice(pub(in crate::embedded) u64);

impl Dice {
    pub(in crate::embedded) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides.max(1)
    }
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Debug, Default, Clone)]
struct Inode {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Name {
    Link(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Unlink(PathBuf),
}

/// Everything that is known of the disk.
#[derive(Debug, Default)]
struct Known {
    inodes: Vec<Inode>,
    durable: BTreeMap<PathBuf, usize>,
    current: BTreeMap<PathBuf, usize>,
    names: Vec<Name>,
    database: Vec<u8>,
    wal: Vec<u8>,
    /// Both as they were when the running checkpoint began.
    before: Option<(Vec<u8>, Vec<u8>)>,
}

/// The content of a disk: path below the store's directory, octets.
pub(super) type Image = BTreeMap<PathBuf, Vec<u8>>;

type Crash = Box<dyn FnMut(&str, &mut dyn FnMut(&mut Dice) -> Image) + Send>;

/// Stands under a store in `dir`.
pub(super) struct DiskSim {
    dir: PathBuf,
    /// The database is synced with each commit.
    pub(super) synced_commits: bool,
    known: Mutex<Option<Known>>,
    crash: Mutex<Option<Crash>>,
}

impl std::fmt::Debug for DiskSim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskSim").finish_non_exhaustive()
    }
}

impl DiskSim {
    pub(super) fn new(dir: &Path, synced_commits: bool) -> Arc<DiskSim> {
        Arc::new(DiskSim {
            dir: dir.to_owned(),
            synced_commits,
            known: Mutex::new(None),
            crash: Mutex::new(None),
        })
    }

    /// Begins with all that lies in the directory, as durable; `crash` is called at every step from now on with the
    /// step's name and a maker of images.
    pub(super) fn arm(&self, crash: Crash) {
        let mut known = Known::default();
        for (path, octets) in read_dir(&self.dir) {
            if path == Path::new("store.db") {
                known.database = octets;
            } else if path == Path::new("store.db-wal") {
                known.wal = octets;
            } else {
                let inode = known.inodes.len();
                known.inodes.push(Inode { durable: octets, pending: Vec::new() });
                known.durable.insert(path.clone(), inode);
                known.current.insert(path, inode);
            }
        }
        *self.known.lock() = Some(known);
        *self.crash.lock() = Some(crash);
    }

    pub(super) fn disarm(&self) {
        *self.known.lock() = None;
        *self.crash.lock() = None;
    }

    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.dir).unwrap_or(path).to_owned()
    }

    fn database_file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.join(name)).unwrap_or_default()
    }

    fn step(&self, op: DiskOp<'_>) -> String {
        let text = match op {
            DiskOp::Write { path, offset, data } => {
                format!("write {path:?} at {offset}, {} octets", data.len())
            }
            other => format!("{other:?}"),
        };
        text.replace(&format!("{}/", self.dir.display()), "")
    }

    /// A power cut here.
    pub(super) fn cut(&self, step: &str) {
        let mut crash = self.crash.lock();
        let Some(crash) = crash.as_mut() else { return };
        let known = self.known.lock();
        let Some(known) = known.as_ref() else { return };
        let (database, wal) = (self.database_file("store.db"), self.database_file("store.db-wal"));
        crash(step, &mut |dice| known.image(dice, (&known.database, &database), (&known.wal, &wal)));
    }

    fn note(&self, op: DiskOp<'_>) {
        let mut known = self.known.lock();
        let Some(known) = known.as_mut() else { return };
        match op {
            DiskOp::Create(path) => {
                let (path, inode) = (self.relative(path), known.inodes.len());
                known.inodes.push(Inode::default());
                known.current.insert(path.clone(), inode);
                known.names.push(Name::Link(path, inode));
            }
            DiskOp::Write { path, offset, data } => {
                let inode = known.inode(&self.relative(path));
                inode.pending.push(Change::Write(offset, data.to_vec()));
            }
            DiskOp::SetLen { path, len } => {
                known.inode(&self.relative(path)).pending.push(Change::SetLen(len));
            }
            DiskOp::SyncData(path) => {
                let relative = self.relative(path);
                if relative == Path::new("store.db-wal") {
                    known.wal = self.database_file("store.db-wal");
                } else if let Some(inode) = known.current.get(&relative) {
                    if let Some(inode) = known.inodes.get_mut(*inode) {
                        for change in std::mem::take(&mut inode.pending) {
                            change.apply(&mut inode.durable);
                        }
                    }
                } else {
                    // Written by SQLite: known from its first sync on.
                    let inode = known.inodes.len();
                    let durable = std::fs::read(path).unwrap_or_default();
                    known.inodes.push(Inode { durable, pending: Vec::new() });
                    known.current.insert(relative.clone(), inode);
                    known.names.push(Name::Link(relative, inode));
                }
            }
            DiskOp::SyncDir(dir) => {
                let dir = self.relative(dir);
                for name in std::mem::take(&mut known.names) {
                    if name.dir() == dir {
                        name.apply(&mut known.durable);
                    } else {
                        known.names.push(name);
                    }
                }
            }
            DiskOp::Rename { from, to } => {
                let (from, to) = (self.relative(from), self.relative(to));
                if let Some(inode) = known.current.remove(&from) {
                    known.current.insert(to.clone(), inode);
                    known.names.push(Name::Rename(from, to, inode));
                }
            }
            DiskOp::Remove(path) => {
                let path = self.relative(path);
                known.current.remove(&path);
                known.names.push(Name::Unlink(path));
            }
            DiskOp::DatabaseCommit => {
                if self.synced_commits {
                    known.wal = self.database_file("store.db-wal");
                }
            }
            DiskOp::DatabaseCheckpoint => {
                // The checkpoint synced the log, copied it, and synced the copy.
                known.database = self.database_file("store.db");
                known.wal = known.before.take().map(|(_, wal)| wal).unwrap_or_default();
            }
        }
    }
}

impl Watcher for DiskSim {
    fn before(&self, op: DiskOp<'_>) -> io::Result<()> {
        self.cut(&format!("before {}", self.step(op)));
        if let (DiskOp::DatabaseCheckpoint, Some(known)) = (op, self.known.lock().as_mut()) {
            known.before = Some((self.database_file("store.db"), self.database_file("store.db-wal")));
        }
        Ok(())
    }

    fn after(&self, op: DiskOp<'_>) {
        if let DiskOp::DatabaseCheckpoint = op {
            // In the middle of it: the log is durable, the copy half written.
            if let (Some(crash), Some(known)) = (self.crash.lock().as_mut(), self.known.lock().as_ref()) {
                let after = self.database_file("store.db");
                if let Some((before, wal)) = &known.before {
                    crash("within checkpoint", &mut |dice| known.image(dice, (before, &after), (wal, wal)));
                }
            }
        }
        self.note(op);
        self.cut(&format!("after {}", self.step(op)));
    }
}

impl Change {
    fn apply(&self, octets: &mut Vec<u8>) {
        match self {
            Change::Write(offset, data) => {
                let end = *offset as usize + data.len();
                if octets.len() < end {
                    octets.resize(end, 0);
                }
                octets[*offset as usize..end].copy_from_slice(data);
            }
            Change::SetLen(len) => octets.resize(*len as usize, 0),
        }
    }

    /// As much of it as a power cut leaves.
    fn apply_some(&self, octets: &mut Vec<u8>, dice: &mut Dice) {
        match (dice.roll(4), self) {
            (0, _) => {}
            (1, _) | (_, Change::SetLen(_)) => self.apply(octets),
            // Torn: the front only, or some sectors only.
            (2, Change::Write(offset, data)) => {
                Change::Write(*offset, data[..dice.roll(data.len())].to_vec()).apply(octets);
            }
            (_, Change::Write(offset, data)) => {
                for (index, sector) in data.chunks(SECTOR).enumerate() {
                    if dice.roll(2) == 0 {
                        Change::Write(offset + (index * SECTOR) as u64, sector.to_vec()).apply(octets);
                    }
                }
            }
        }
    }
}

impl Name {
    fn dir(&self) -> PathBuf {
        let (Name::Link(path, _) | Name::Rename(_, path, _) | Name::Unlink(path)) = self;
        path.parent().unwrap_or(Path::new("")).to_owned()
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Name::Link(path, inode) => drop(names.insert(path, inode)),
            Name::Rename(from, to, inode) => {
                names.remove(&from);
                names.insert(to, inode);
            }
            Name::Unlink(path) => drop(names.remove(&path)),
        }
    }
}

impl Known {
    fn inode(&mut self, path: &Path) -> &mut Inode {
        let inode = self.current[path];
        &mut self.inodes[inode]
    }

    fn image(&self, dice: &mut Dice, database: (&[u8], &[u8]), wal: (&[u8], &[u8])) -> Image {
        let mut names = self.durable.clone();
        let kept = dice.roll(self.names.len() + 1);
        for name in self.names.iter().take(kept) {
            name.clone().apply(&mut names);
        }
        let mut image = Image::new();
        for (path, inode) in names {
            let inode = &self.inodes[inode];
            let mut octets = inode.durable.clone();
            let mut pending: Vec<&Change> = inode.pending.iter().collect();
            // The disk writes in the order it likes.
            for at in (1..pending.len()).rev() {
                pending.swap(at, dice.roll(at + 1));
            }
            for change in pending {
                change.apply_some(&mut octets, dice);
            }
            image.insert(path, octets);
        }
        image.insert("store.db".into(), mix(database, dice));
        image.insert("store.db-wal".into(), mix_wal(wal, dice));
        image
    }
}

/// Octets of a write-ahead log's head.
const WAL_HEAD: usize = 32;

/// A log that began anew has its new head before anything else of it.
fn mix_wal((durable, written): (&[u8], &[u8]), dice: &mut Dice) -> Vec<u8> {
    match (durable.get(..WAL_HEAD), written.get(..WAL_HEAD)) {
        (Some(old), Some(new)) if old != new => {
            if dice.roll(4) == 0 {
                return durable.to_vec();
            }
            let headed = [new, &durable[WAL_HEAD..]].concat();
            let mut octets = mix((&headed, written), dice);
            octets[..WAL_HEAD].copy_from_slice(new);
            octets
        }
        _ => mix((durable, written), dice),
    }
}

/// Between what is durable and what is written, anything.
fn mix((durable, written): (&[u8], &[u8]), dice: &mut Dice) -> Vec<u8> {
    if durable == written {
        return durable.to_vec();
    }
    match dice.roll(4) {
        0 => durable.to_vec(),
        1 => written.to_vec(),
        way => {
            let mut octets = durable.to_vec();
            // A torn front, or some sectors.
            let torn = dice.roll(written.len());
            for (index, sector) in written.chunks(SECTOR).enumerate() {
                let there = if way == 2 { index * SECTOR < torn } else { dice.roll(3) > 0 };
                if there {
                    Change::Write((index * SECTOR) as u64, sector.to_vec()).apply(&mut octets);
                }
            }
            octets
        }
    }
}

/// All files below a directory, except those that mean nothing after a power cut.
pub(super) fn read_dir(dir: &Path) -> Image {
    let mut image = Image::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if !path.ends_with("store.db-shm") && !path.ends_with("lock") {
                image.insert(path.strip_prefix(dir).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    image
}

/// Makes the directory that a machine finds after the power cut.
pub(super) fn write_dir(image: &Image, dir: &Path) {
    for name in ["segments", "bodies", "incoming"] {
        std::fs::create_dir_all(dir.join(name)).unwrap();
    }
    for (path, octets) in image {
        std::fs::write(dir.join(path), octets).unwrap();
    }
}
