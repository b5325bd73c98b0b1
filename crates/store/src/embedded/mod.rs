//! The embedded backend: an SQLite database for rows, append-only segments and files for bodies, one writer thread.
//!
//! ```text
//! DIR/lock            who has the store
//! DIR/store.db        the rows (and store.db-wal, store.db-shm)
//! DIR/segments/N.seg  the log: bodies up to 1 MiB, and what each transaction did
//! DIR/bodies/NAME     larger bodies, a file each
//! DIR/incoming/NAME   bodies being received
//! ```

mod apply;
pub(crate) mod backup;
pub(crate) mod body;
mod bulk;
mod cache;
pub(crate) mod check;
mod codec;
pub(crate) mod disk;
mod effect;
pub(crate) mod filter;
pub(crate) mod fuzz;
mod journal;
pub(crate) mod keywords;
mod limits;
mod listing;
mod maintain;
mod messages;
pub(crate) mod packed;
mod plan;
pub(crate) mod queue;
pub(crate) mod read;
pub(crate) mod readers;
mod rebuild;
mod record;
mod recover;
mod runs;
mod schema;
mod segment;
mod snapshot;
mod tables;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod writer;

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use self::body::NewBody;
use self::cache::Cache;
use self::disk::Disk;
use self::filter::Filter;
use self::journal::Journal;
use self::maintain::Maintenance;
use self::readers::Readers;
use self::segment::{Appender, Reading};
use self::tables::Tables;
use self::writer::{Request, Waiting, Writer};
use crate::tx::{Receipt, Tx, TxError};
use crate::{AccountId, ModSeq, OpenError, Options, ReadError};

/// Transactions that may wait for the writer.
const QUEUE: usize = 4_096;
/// Octets in memory of all transactions that wait; what is larger waits alone.
const QUEUE_OCTETS: usize = 64 << 20;
/// The unit in which the queue's memory is counted.
const QUEUE_UNIT: usize = 1 << 10;
/// So many watched accounts are looked through for watchers that left.
const WATCH_SWEEP: usize = 1_024;

/// What the writer, the readers and bodies on their way have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) disk: Disk,
    pub(crate) readers: Readers,
    pub(crate) segments: Reading,
    cache: Cache,
    keywords: keywords::Known,
    journal: Journal,
    watchers: Mutex<HashMap<AccountId, watch::Sender<ModSeq>>>,
    failed: watch::Sender<Option<String>>,
    /// Octets of bodies held in memory beyond what is always granted.
    memory: AtomicUsize,
    /// Names of bodies' own files that no row names yet.
    in_flight: Mutex<HashSet<String>>,
    pub(crate) filter: Filter,
    pub(crate) leases: queue::Leases,
    /// Held while files are removed, and while a backup copies them.
    removal: Mutex<()>,
    _temporary: Option<Temporary>,
}

impl Shared {
    pub(crate) fn segments_dir(&self) -> PathBuf {
        self.options.dir.join("segments")
    }

    pub(crate) fn bodies(&self) -> PathBuf {
        self.options.dir.join("bodies")
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        self.options.dir.join("incoming")
    }

    /// Whether `more` octets would take the disk below its floor.
    pub(crate) fn disk_is_full(&self, more: u64) -> bool {
        match rustix::fs::statvfs(&self.options.dir) {
            Ok(stat) => {
                let free = stat.f_bavail.saturating_mul(stat.f_frsize);
                free < self.options.disk_floor.saturating_add(more)
            }
            Err(error) => {
                tracing::warn!(%error, "the disk does not tell its free space");
                false
            }
        }
    }

    /// A name that no file has: the time, and what the system's generator gives.
    fn new_file_name(&self) -> String {
        let name = format!("{:016x}-{:016x}", (self.options.clock)(), random());
        self.in_flight.lock().insert(name.clone());
        name
    }

    pub(crate) fn fail(&self, reason: &str) {
        tracing::error!(reason, "the store stops");
        self.failed.send_if_modified(|state| {
            let first = state.is_none();
            state.get_or_insert_with(|| reason.to_owned());
            first
        });
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failed.borrow().clone()
    }

    /// Readers and watchers learn what a commit changed, before its callers are answered.
    fn changed(&self, keys: &[String], renamed: &[u64], accounts: &[(u64, u64)]) {
        self.cache.forget(keys);
        self.keywords.forget(renamed);
        let mut watchers = self.watchers.lock();
        if watchers.is_empty() {
            return;
        }
        for (account, modseq) in accounts {
            let id = AccountId(*account);
            let Some(sender) = watchers.get(&id) else { continue };
            if sender.receiver_count() == 0 {
                watchers.remove(&id);
            } else {
                raise(sender, ModSeq(*modseq));
            }
        }
    }

    pub(crate) fn watch(&self, account: AccountId) -> watch::Receiver<ModSeq> {
        let receiver = {
            let mut watchers = self.watchers.lock();
            if watchers.len() >= WATCH_SWEEP && watchers.len().is_power_of_two() {
                watchers.retain(|_, sender| sender.receiver_count() > 0);
            }
            watchers.entry(account).or_insert_with(|| watch::Sender::new(ModSeq(0))).subscribe()
        };
        // Registered first and read then: a commit in between raises it, and it never falls.
        let row = self.readers.with(|conn| readers::account(conn, account));
        if let Ok(Some(row)) = row
            && let Some(sender) = self.watchers.lock().get(&account)
        {
            raise(sender, row.modseq);
        }
        let mut receiver = receiver;
        receiver.mark_unchanged();
        receiver
    }
}

fn raise(sender: &watch::Sender<ModSeq>, modseq: ModSeq) {
    sender.send_if_modified(|state| {
        let higher = modseq > *state;
        *state = modseq.max(*state);
        higher
    });
}

fn random() -> u64 {
    let mut octets = [0; 8];
    // The generator of a running system gives eight octets or waits; on failure the time alone names the file.
    let _ = rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty());
    u64::from_le_bytes(octets)
}

/// A directory that goes with the store.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store without its threads: what opening makes, and what checking works on.
#[derive(Debug)]
struct Assembled {
    shared: Arc<Shared>,
    writer: Writer,
    lock: File,
}

impl Assembled {
    fn new(options: Options, disk: Disk, temporary: Option<Temporary>) -> Result<Assembled, OpenError> {
        let dir = options.dir.clone();
        let dirs = [dir.clone(), dir.join("segments"), dir.join("bodies"), dir.join("incoming")];
        for dir in &dirs {
            make_dir(dir, &disk)?;
        }
        let [_, segments, _, incoming] = dirs;
        refuse_network(&dir)?;
        let lock = take_lock(&dir)?;
        let path = dir.join("store.db");
        let (conn, fresh) = schema::open_writer(&path, random(), options.sync_database)?;
        if fresh {
            disk.sync_dir(&dir).map_err(OpenError::io(&dir))?;
        }
        let store = conn.query_row("SELECT store FROM log", [], |row| row.get::<_, i64>(0))? as u64;
        let mut tables = Tables::new(conn)?;
        let mut log = Appender::new(segments.clone(), disk.clone(), store);
        let places = recover::Dirs { segments: &segments, lost: &dir.join("lost") };
        recover::recover(&mut tables, &mut log, &places, &disk, store)?;
        for entry in std::fs::read_dir(&incoming).map_err(OpenError::io(&incoming))? {
            let entry = entry.map_err(OpenError::io(&incoming))?;
            disk.remove(&entry.path()).map_err(OpenError::io(entry.path()))?;
        }
        let filter = Filter::open(&options, store, tables.position.number)
            .map_err(OpenError::io(dir.join("filter")))?;
        let shared = Arc::new(Shared {
            options,
            disk,
            readers: Readers::new(path),
            segments: Reading::new(segments),
            cache: Cache::default(),
            keywords: keywords::Known::default(),
            journal: tables.journal.clone(),
            watchers: Mutex::default(),
            failed: watch::Sender::new(None),
            memory: AtomicUsize::new(0),
            in_flight: Mutex::default(),
            filter,
            leases: queue::Leases::default(),
            removal: Mutex::default(),
            _temporary: temporary,
        });
        let writer = Writer::new(shared.clone(), tables, log);
        Ok(Assembled { shared, writer, lock })
    }
}

/// The handle's inside.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) shared: Arc<Shared>,
    requests: Option<mpsc::Sender<Request>>,
    room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
    background: Mutex<Option<maintain::Running>>,
}

impl Embedded {
    pub(crate) fn open(options: Options, disk: Disk) -> Result<Embedded, OpenError> {
        Embedded::open_in(options, disk, None)
    }

    pub(crate) fn temporary() -> Result<Embedded, OpenError> {
        let dir = std::env::temp_dir().join(format!("packetboat-{}-{:016x}", std::process::id(), random()));
        let mut options = Options::new(&dir);
        options.disk_floor = 1 << 20;
        Embedded::open_in(options, Disk::default(), Some(Temporary(dir)))
    }

    fn open_in(options: Options, disk: Disk, temporary: Option<Temporary>) -> Result<Embedded, OpenError> {
        let dir = options.dir.clone();
        let Assembled { shared, writer, lock } = Assembled::new(options, disk, temporary)?;
        let (requests, receiver) = mpsc::channel(QUEUE);
        let ending = shared.clone();
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            let run = std::panic::AssertUnwindSafe(|| writer.run(receiver));
            if std::panic::catch_unwind(run).is_err() {
                ending.fail("the writer ended unexpectedly");
            }
            // Given back last: the next owner finds everything written.
            drop(lock);
        });
        let thread = thread.map_err(OpenError::io(&dir))?;
        let background = match shared.options.maintenance {
            true => Some(maintain::Running::start(Maintenance::new(shared.clone(), requests.downgrade()))),
            false => None,
        };
        let background = background.transpose().map_err(OpenError::io(&dir))?;
        Ok(Embedded {
            shared,
            requests: Some(requests),
            room: Arc::new(Semaphore::new(QUEUE_OCTETS / QUEUE_UNIT)),
            thread: Mutex::new(Some(thread)),
            background: Mutex::new(background),
        })
    }

    pub(crate) async fn commit(&self, tx: Tx, bodies: Vec<NewBody>) -> Result<Receipt, TxError> {
        let measured = limits::measure(&tx)?;
        let mut payloads = Vec::with_capacity(bodies.len());
        for body in bodies {
            payloads.push(body.finish().await?);
        }
        let octets = writer::log_octets(measured, &payloads);
        let units = octets.div_ceil(QUEUE_UNIT).min(QUEUE_OCTETS / QUEUE_UNIT) as u32;
        let permit = self.room.clone().acquire_many_owned(units).await.ok();
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { tx, bodies: payloads, octets, answer, _permit: permit };
        let Some(requests) = &self.requests else { return Err(self.stopped()) };
        requests.send(Request::Commit(waiting)).await.map_err(|_| self.stopped())?;
        answered.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    fn stopped(&self) -> TxError {
        TxError::Stopped(self.shared.failure().unwrap_or_else(|| "it was closed".to_owned()))
    }

    /// Ends when the store fails.
    pub(crate) async fn failed(&self) -> String {
        let mut failed = self.shared.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "it was closed".to_owned(),
        }
    }

    /// One round of what otherwise happens in the background.
    pub(crate) async fn maintain(&self) {
        let Some(requests) = &self.requests else { return };
        let maintenance = Maintenance::new(self.shared.clone(), requests.downgrade());
        let _ = tokio::task::spawn_blocking(move || maintenance.round(true)).await;
    }

    pub(crate) async fn backup(&self, to: &Path) -> std::io::Result<crate::Copied> {
        let (shared, to) = (self.shared.clone(), to.to_owned());
        tokio::task::spawn_blocking(move || backup::backup(&shared, &to))
            .await
            .map_err(std::io::Error::other)?
    }

    pub(crate) async fn stop(&self) {
        let background = self.background.lock().take();
        if background.is_some() {
            let _ = tokio::task::spawn_blocking(move || drop(background)).await;
        }
        if let Some(requests) = &self.requests {
            let _ = requests.send(Request::Stop).await;
        }
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        self.shared.readers.close();
    }

    /// See [`crate::Store::account`]; the others likewise.
    pub(crate) fn query<T>(
        &self,
        query: impl FnOnce(&rusqlite::Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, ReadError> {
        Ok(self.shared.readers.with(query)?)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        *self.background.lock() = None;
        // The writer ends when nobody can send any more.
        self.requests = None;
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        self.shared.readers.close();
    }
}

fn make_dir(dir: &Path, disk: &Disk) -> Result<(), OpenError> {
    if dir.is_dir() {
        return Ok(());
    }
    disk::create_dir(dir).map_err(OpenError::io(dir))?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            disk.sync_dir(parent).map_err(OpenError::io(parent))
        }
        _ => Ok(()),
    }
}

/// Takes the lock file, which the system gives back when the process ends, however it ends.
fn take_lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let io = || OpenError::io(&path);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io())?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(OpenError::InUse { dir: dir.to_owned(), pid: pid.trim().to_owned() });
        }
        Err(TryLockError::Error(error)) => return Err(io()(error)),
    }
    file.set_len(0).map_err(io())?;
    writeln!(file, "{}", std::process::id()).map_err(io())?;
    Ok(file)
}

/// File systems whose locks and shared memory another machine does not see.
const NETWORK: &[(u32, &str)] = &[
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x5346_414F, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00C3_6400, "Ceph"),
    (0x0BD0_0BD0, "Lustre"),
];

fn refuse_network(dir: &Path) -> Result<(), OpenError> {
    let stat = rustix::fs::statfs(dir).map_err(|error| OpenError::io(dir)(error.into()))?;
    // The type is 32 bits wide, whatever the width of the field.
    let found = stat.f_type as u32;
    match NETWORK.iter().find(|(magic, _)| *magic == found) {
        Some((_, kind)) => Err(OpenError::NetworkFileSystem { dir: dir.to_owned(), kind }),
        None => Ok(()),
    }
}
