//! Which bodies cannot contain a text: the search filter.
//!
//! A search reads messages, decodes and compares. The filter tells of nearly all messages without reading them that it
//! need not be done. It remembers of each body which grams its text has ([`Grams`]), in a bitmap where some others seem
//! to be there as well: so a "no" is certain, and a "maybe" is to be looked at. What it has never seen is "maybe".
//!
//! It is a cache beside the log: files of its own for each account (`filter/ACCOUNT/`), which anyone may delete at any
//! time. They are neither synced nor part of a backup. What keeps them from saying a wrong "no":
//!
//! - Every octet that is read is under a checksum that fits one place in one file only. A file in which one does not fit
//!   is dropped, and its bodies are unknown again.
//! - A body's number is used once. `filter/mark` says which store the filter belongs to and the highest number in it: a
//!   store that has not come so far is not the one it was made for, and begins an empty one.
//! - Every file says how its texts were decoded and folded ([`Options::folding`]); made another way, it is dropped.

mod account;
mod aside;
mod file;
mod signature;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use self::account::{Account, Slots, is_among};
use self::file::Columns;
pub use self::signature::{Grams, Signature, grams};
use super::{Shared, readers};
use crate::tx::{Op, Tx};
use crate::{AccountId, Options, ReadError};

/// Grams of one query that are looked at; more would hardly rule out more.
const GRAMS_MAX: usize = 64;
/// Bodies whose places are in memory (some 20 octets each), of all accounts; a larger account is there alone.
const KEPT_BODIES: usize = 1 << 20;
/// Accounts in memory.
const KEPT_ACCOUNTS: usize = 1_024;
/// An account that nobody searches is in memory this long.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// How often files are tidied, and how long after the start for the first time.
const TIDY_EVERY: Duration = Duration::from_secs(24 * 3600);
const TIDY_FIRST: Duration = Duration::from_secs(3600);
/// Bodies looked up at a time while tidying.
const STEP: usize = 1_000;
/// Threads that work on filters at the same time.
const THREADS: usize = 4;

/// What a query left over.
#[derive(Clone, Default)]
pub struct Candidates {
    slots: Arc<Slots>,
    columns: Vec<Columns>,
}

impl std::fmt::Debug for Candidates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidates").field("bodies", &self.slots.len()).finish_non_exhaustive()
    }
}

impl Candidates {
    /// Whether a body may contain what was sought. `false` is certain.
    pub fn may_contain(&self, body: u128) -> bool {
        let slot = u64::try_from(body).ok().and_then(|body| self.slots.get(&body));
        slot.is_none_or(|slot| is_among(&self.columns, *slot))
    }
}

/// An account's filter, once it was read.
type Handle = Arc<RwLock<Option<Account>>>;

#[derive(Debug)]
struct Kept {
    handle: Handle,
    /// When it was last asked for, microseconds.
    used: u64,
    bodies: usize,
}

/// The filters of all accounts.
#[derive(Debug)]
pub(crate) struct Filter {
    dir: PathBuf,
    store: u64,
    folding: u16,
    kept: Mutex<HashMap<u64, Kept>>,
    mark: Mutex<Mark>,
    /// Accounts that were removed.
    gone: Mutex<BTreeSet<u64>>,
    /// When files are to be tidied next, microseconds.
    tidy: Mutex<u64>,
    work: Arc<Semaphore>,
}

impl Filter {
    /// `number` is the last one this store gave out.
    pub(crate) fn open(options: &Options, store: u64, number: u64) -> io::Result<Filter> {
        let (store_dir, now) = (&options.dir, (options.clock)());
        let dir = store_dir.join("filter");
        let mark = Mark::read(&dir.join("mark"), store).filter(|mark| mark.highest <= number);
        if mark.is_none() {
            forget(store_dir)?;
        }
        Ok(Filter {
            dir,
            store,
            folding: options.folding,
            kept: Mutex::default(),
            mark: Mutex::new(mark.unwrap_or_default()),
            gone: Mutex::default(),
            tidy: Mutex::new(now.saturating_add(micros(TIDY_FIRST))),
            work: Arc::new(Semaphore::new(THREADS)),
        })
    }

    fn dir_of(&self, account: u64) -> PathBuf {
        self.dir.join(format!("{account:016x}"))
    }

    fn handle(&self, account: u64, now: u64) -> Handle {
        let mut kept = self.kept.lock();
        let kept =
            kept.entry(account).or_insert_with(|| Kept { handle: Handle::default(), used: 0, bodies: 0 });
        kept.used = now;
        kept.handle.clone()
    }

    fn load<'a>(&self, account: u64, guard: &mut RwLockWriteGuard<'a, Option<Account>>) -> io::Result<()> {
        if guard.is_none() {
            **guard = Some(Account::load(self.dir_of(account), self.store, self.folding, account)?);
        }
        Ok(())
    }

    /// Others go on reading.
    fn read<T>(&self, account: u64, now: u64, work: impl FnOnce(&Account) -> T) -> io::Result<T> {
        let handle = self.handle(account, now);
        let mut guard = handle.read();
        if guard.is_none() {
            drop(guard);
            let mut writing = handle.write();
            self.load(account, &mut writing)?;
            guard = RwLockWriteGuard::downgrade(writing);
        }
        let Some(there) = guard.as_ref() else { return Err(io::Error::other("it was not read")) };
        let (outcome, bodies) = (work(there), there.len());
        drop(guard);
        drop(handle);
        self.bound(account, bodies);
        Ok(outcome)
    }

    fn write<T>(&self, account: u64, now: u64, work: impl FnOnce(&mut Account) -> T) -> io::Result<T> {
        let handle = self.handle(account, now);
        let mut guard = handle.write();
        self.load(account, &mut guard)?;
        let Some(there) = guard.as_mut() else { return Err(io::Error::other("it was not read")) };
        let (outcome, bodies) = (work(there), there.len());
        drop(guard);
        drop(handle);
        self.bound(account, bodies);
        Ok(outcome)
    }

    /// Lets go of what was not used for longest while there is too much.
    fn bound(&self, account: u64, bodies: usize) {
        let mut kept = self.kept.lock();
        if let Some(kept) = kept.get_mut(&account) {
            kept.bodies = bodies;
        }
        while kept.len() > KEPT_ACCOUNTS || kept.values().map(|kept| kept.bodies).sum::<usize>() > KEPT_BODIES
        {
            // Who has the handle may be about to write: there must never be two of one account.
            let free = kept.iter().filter(|(id, kept)| **id != account && kept.is_free());
            let Some(oldest) = free.min_by_key(|(_, kept)| kept.used).map(|(id, _)| *id) else { return };
            kept.remove(&oldest);
        }
    }

    fn unknown(&self, account: u64, now: u64, bodies: &[u128]) -> io::Result<Vec<u128>> {
        self.read(account, now, |there| {
            let known = |body: &u128| u64::try_from(*body).is_ok_and(|body| there.knows(body));
            bodies.iter().copied().filter(|body| !known(body)).collect()
        })
    }

    fn add(&self, account: u64, now: u64, signatures: Vec<(u128, Signature)>) -> io::Result<()> {
        let signatures: Vec<(u64, Signature)> = signatures
            .into_iter()
            .filter_map(|(body, signature)| Some((u64::try_from(body).ok()?, signature)))
            .collect();
        let Some(highest) = signatures.iter().map(|(body, _)| *body).max() else { return Ok(()) };
        self.mark.lock().raise(&self.dir, self.store, highest)?;
        self.write(account, now, |there| there.add(signatures))?
    }

    fn query(&self, account: u64, now: u64, grams: &[u32]) -> io::Result<Candidates> {
        let places = signature::places(grams, GRAMS_MAX);
        if places.is_empty() {
            return Ok(Candidates::default());
        }
        let hits = self.read(account, now, |there| there.query(&places))?;
        if !hits.damaged.is_empty() {
            tracing::info!(
                account,
                files = hits.damaged.len(),
                "files of the search filter are damaged and go"
            );
            self.write(account, now, |there| there.drop_damaged(&places))?;
        }
        Ok(Candidates { slots: hits.slots, columns: hits.columns })
    }

    /// Notes whose filters are of no use any more. Its transaction is committed.
    pub(crate) fn committed(&self, tx: &Tx) {
        for op in &tx.ops {
            if let Op::RemoveAccount(account) = op
                && self.dir_of(account.0).exists()
            {
                self.gone.lock().insert(account.0);
            }
        }
    }

    fn remove(&self, account: u64, now: u64) -> io::Result<()> {
        let handle = self.handle(account, now);
        let mut guard = handle.write();
        *guard = None;
        match std::fs::remove_dir_all(self.dir_of(account)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What is due in the background; `all`: also what otherwise waits for its time.
    pub(crate) fn maintain(&self, shared: &Shared, all: bool) -> Result<(), ReadError> {
        let now = (shared.options.clock)();
        for account in std::mem::take(&mut *self.gone.lock()) {
            self.remove(account, now)?;
        }
        let due = {
            let mut tidy = self.tidy.lock();
            let due = all || *tidy <= now;
            if due {
                *tidy = now.saturating_add(micros(TIDY_EVERY));
            }
            due
        };
        if due {
            self.tidy(shared, now)?;
        }
        let unused = now.saturating_sub(micros(KEPT_FOR));
        self.kept.lock().retain(|_, kept| kept.used > unused || !kept.is_free());
        Ok(())
    }

    fn tidy(&self, shared: &Shared, now: u64) -> Result<(), ReadError> {
        let entries = match std::fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let Some(account) = name.to_str().and_then(|name| u64::from_str_radix(name, 16).ok()) else {
                continue;
            };
            if shared.readers.with(|conn| readers::account(conn, AccountId(account)))?.is_none() {
                self.remove(account, now)?;
                continue;
            }
            let used = self.kept.lock().get(&account).map_or(0, |kept| kept.used);
            let slots = self.read(account, used, Account::slots)?;
            let mut alive = Vec::with_capacity(slots.len());
            let mut bodies: Vec<(u64, u32)> = slots.iter().map(|(body, slot)| (*body, *slot)).collect();
            drop(slots);
            bodies.sort_unstable();
            for bodies in bodies.chunks(STEP) {
                shared.readers.with(|conn| still_there(conn, bodies, &mut alive))?;
            }
            if alive.len() < bodies.len() {
                // Were files added or dropped meanwhile, some that are of use may go. That costs time only.
                self.write(account, used, |there| there.tidy(&alive))?;
            }
        }
        Ok(())
    }
}

impl Kept {
    fn is_free(&self) -> bool {
        Arc::strong_count(&self.handle) == 1
    }
}

/// The slots of bodies that are there.
fn still_there(conn: &Connection, bodies: &[(u64, u32)], alive: &mut Vec<u32>) -> rusqlite::Result<()> {
    let mut select = conn.prepare_cached("SELECT 1 FROM body WHERE id = ?1")?;
    for (body, slot) in bodies {
        if select.exists([*body as i64])? {
            alive.push(*slot);
        }
    }
    Ok(())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Empties a store's filter: the store is not what it was.
pub(crate) fn forget(store_dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(store_dir.join("filter")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Says which store the filter belongs to, and up to where.
#[derive(Debug, Default)]
struct Mark {
    highest: u64,
    file: Option<File>,
}

impl Mark {
    const MAGIC: [u8; 8] = *b"PBmrk\r\n\x01";
    const LEN: usize = 28;

    fn encode(store: u64, highest: u64) -> [u8; Mark::LEN] {
        let mut octets = [0; Mark::LEN];
        octets[..8].copy_from_slice(&Mark::MAGIC);
        octets[8..16].copy_from_slice(&store.to_le_bytes());
        octets[16..24].copy_from_slice(&highest.to_le_bytes());
        let crc = crc32c::crc32c(&octets[..24]);
        octets[24..].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    fn read(path: &Path, store: u64) -> Option<Mark> {
        let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
        let mut octets = [0; Mark::LEN];
        file.read_exact_at(&mut octets, 0).ok()?;
        let highest = u64::from_le_bytes(octets[16..24].try_into().ok()?);
        (octets == Mark::encode(store, highest)).then_some(Mark { highest, file: Some(file) })
    }

    /// Before bodies up to this one are in the filter.
    fn raise(&mut self, dir: &Path, store: u64, highest: u64) -> io::Result<()> {
        if self.file.is_some() && highest <= self.highest {
            return Ok(());
        }
        if self.file.is_none() {
            super::disk::create_dir(dir)?;
            let path = dir.join("mark");
            self.file = Some(OpenOptions::new().write(true).create(true).truncate(true).open(path)?);
        }
        self.highest = self.highest.max(highest);
        let octets = Mark::encode(store, self.highest);
        self.file.as_ref().map_or(Ok(()), |file| file.write_all_at(&octets, 0))
    }
}

/// The async face, behind [`crate::Store`]. A filter that fails only costs time: nobody is told but the log.
impl Shared {
    async fn filtering<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Shared, u64) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let shared = self.clone();
        let permit = self.filter.work.clone().acquire_owned().await;
        let outcome = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let now = (shared.options.clock)();
            work(&shared, now)
        });
        match outcome.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(outcome) => Some(outcome),
            Err(error) => {
                tracing::warn!(%error, "the search filter");
                None
            }
        }
    }

    pub(crate) async fn filter_unknown(self: &Arc<Self>, account: AccountId, bodies: &[u128]) -> Vec<u128> {
        let bodies = bodies.to_vec();
        let found = self.filtering(move |shared, now| shared.filter.unknown(account.0, now, &bodies));
        found.await.unwrap_or_default()
    }

    pub(crate) async fn filter_add(self: &Arc<Self>, account: AccountId, signatures: Vec<(u128, Signature)>) {
        let work = move |shared: &Shared, now| {
            let octets: usize = signatures.iter().map(|(_, signature)| signature.bits.len()).sum();
            let there = shared.readers.with(|conn| readers::account(conn, account));
            let there = there.map_err(io::Error::other)?.is_some();
            if !there || shared.disk_is_full(2 * octets as u64) {
                return Ok(());
            }
            shared.filter.add(account.0, now, signatures)
        };
        self.filtering(work).await;
    }

    pub(crate) async fn filter_query(self: &Arc<Self>, account: AccountId, grams: &[u32]) -> Candidates {
        let grams = grams.to_vec();
        let found = self.filtering(move |shared, now| shared.filter.query(account.0, now, &grams));
        found.await.unwrap_or_default()
    }
}
