//! What users may keep in files, counted for as long as they are here, and written down behind.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use packetboat_account::{Directory, DirectoryError, FileUsage, FilesOwner, RowVersion};
use packetboat_files::policy::Location;
use packetboat_files::{Limits, Refusal, Share, Usage};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter as Metric;
use tokio::sync::OnceCell;

/// How long after a change it is written down, at most.
const BEHIND: Duration = Duration::from_secs(10);

/// Whose what lies in a folder is: one for all who find it, by whichever name.
pub fn folder_owner(location: &Location) -> FilesOwner {
    // Links that the operator has laid lead to one place.
    let base = location.base.canonicalize().unwrap_or_else(|_| location.base.clone());
    let path = Location { base, below: location.below.clone() }.path();
    let digest = digest(&SHA256, path.as_os_str().as_bytes());
    FilesOwner::Folder(digest.as_ref().first_chunk().copied().unwrap_or_default())
}

/// The shares of all who have a limit.
#[derive(Debug)]
pub struct Shares {
    directory: Directory,
    /// The round of counting, once there is something to count.
    round: OnceCell<u64>,
    counters: Mutex<HashMap<FilesOwner, Arc<Counter>>>,
    /// Held while counts are written down.
    writing: tokio::sync::Mutex<()>,
    refused: Metric,
}

/// Why nobody can say what somebody keeps.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// What was written down cannot be read, or written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The files cannot be counted.
    #[error("files cannot be counted: {0}")]
    Files(Refusal),
}

/// What one owner keeps.
#[derive(Debug)]
struct Counter {
    owner: FilesOwner,
    usage: Mutex<Usage>,
    /// There is something to be written down.
    changed: AtomicBool,
    row: Mutex<Option<RowVersion>>,
    counted: OnceCell<()>,
    /// Since when it holds.
    since: OnceLock<Instant>,
    refused: Metric,
}

impl Share for Counter {
    fn room(&self) -> Option<u64> {
        self.usage.lock().room()
    }

    fn charge(&self, octets: i64, files: i64) -> Result<(), Refusal> {
        let mut usage = self.usage.lock();
        match usage.charged(octets, files) {
            Ok(charged) => *usage = charged,
            Err(refusal) => {
                self.refused.inc();
                return Err(refusal);
            }
        }
        drop(usage);
        self.changed.store(true, Ordering::Release);
        Ok(())
    }

    fn count(&self, octets: i64, files: i64) {
        let mut usage = self.usage.lock();
        *usage = usage.counted(octets, files);
        drop(usage);
        self.changed.store(true, Ordering::Release);
    }

    fn usage(&self) -> Usage {
        *self.usage.lock()
    }
}

impl Shares {
    /// Nobody is counted yet.
    pub fn new(directory: Directory) -> Arc<Shares> {
        Arc::new(Shares {
            directory,
            round: OnceCell::new(),
            counters: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            refused: Metric::default(),
        })
    }

    /// How often something was refused because there was no room, for metrics.
    pub fn refusals(&self) -> Metric {
        self.refused.clone()
    }

    /// The share of somebody who may keep so much. `count` is asked, on a thread that may block, where nothing that holds
    /// is written down.
    pub async fn of(
        self: &Arc<Shares>,
        owner: FilesOwner,
        limits: Limits,
        count: impl FnOnce() -> Result<Usage, Refusal> + Send + 'static,
    ) -> Result<Arc<dyn Share>, CountError> {
        let round = self.round().await?;
        self.drop_outdated(owner).await?;
        let counter = Arc::clone(self.counters.lock().entry(owner).or_insert_with(|| {
            Arc::new(Counter {
                owner,
                usage: Mutex::default(),
                changed: AtomicBool::new(false),
                row: Mutex::default(),
                counted: OnceCell::new(),
                since: OnceLock::new(),
                refused: self.refused.clone(),
            })
        }));
        let counting = counter.counted.get_or_try_init(async || {
            let (row, version) = self.directory.file_usage(owner)?;
            *counter.row.lock() = Some(version);
            let usage = match row.filter(|row| row.round == round) {
                Some(row) => Usage { octets: row.octets, files: row.files, limits },
                None => {
                    tracing::info!(?owner, "counting files");
                    counter.changed.store(true, Ordering::Release);
                    let counted = tokio::task::spawn_blocking(count).await;
                    counted
                        .unwrap_or_else(|error| Err(Refusal::Failed(error.to_string())))
                        .map_err(CountError::Files)?
                }
            };
            *counter.usage.lock() = usage;
            let _ = counter.since.set(Instant::now());
            Ok::<(), CountError>(())
        });
        counting.await?;
        let mut usage = counter.usage.lock();
        if usage.limits != limits {
            usage.limits = limits;
            counter.changed.store(true, Ordering::Release);
        }
        drop(usage);
        Ok(counter)
    }

    /// Does without a count whose row somebody else has changed: it is wanted anew.
    async fn drop_outdated(&self, owner: FilesOwner) -> Result<(), DirectoryError> {
        let known = self.counters.lock().get(&owner).filter(|counter| counter.counted.initialized()).cloned();
        let Some(counter) = known else { return Ok(()) };
        let writing = self.writing.lock().await;
        let (_, version) = self.directory.file_usage(owner)?;
        if counter.row.lock().is_some_and(|row| row != version) {
            self.counters.lock().remove(&owner);
        }
        drop(writing);
        Ok(())
    }

    /// So much less is kept of somebody's, by who has begun to sweep at some time.
    pub async fn swept(&self, owner: FilesOwner, octets: u64, files: u64, begun: Instant) {
        let known = self.counters.lock().get(&owner).cloned();
        match known.filter(|counter| counter.since.get().is_some_and(|since| *since < begun)) {
            Some(counter) => {
                let less = |number: u64| -i64::try_from(number).unwrap_or(i64::MAX);
                counter.count(less(octets), less(files));
            }
            // A count that was made meanwhile may be one of before or after; and what was written down is one of before.
            None => self.forget(owner).await,
        }
    }

    /// Somebody keeps what they like, from now on: nobody counts any more, and what was counted does not hold.
    pub async fn forget(&self, owner: FilesOwner) {
        self.counters.lock().remove(&owner);
        if let Err(error) = self.directory.forget_file_usage(owner).await {
            tracing::warn!(?owner, %error, "what was counted of files could not be forgotten");
        }
    }

    /// The number of the round, which begins now if it has not begun.
    async fn round(self: &Arc<Shares>) -> Result<u64, DirectoryError> {
        let begin = async || {
            let number = self.directory.begin_file_round().await?;
            tokio::spawn(write_behind(Arc::downgrade(self)));
            Ok(number)
        };
        self.round.get_or_try_init(begin).await.copied()
    }

    /// Writes down what has changed, and forgets those who are gone. Whether all is written down.
    pub async fn write(&self) -> bool {
        let Some(round) = self.round.get().copied() else { return true };
        let writing = self.writing.lock().await;
        let counters: Vec<Arc<Counter>> = self.counters.lock().values().cloned().collect();
        let mut all = true;
        for counter in counters {
            if !counter.counted.initialized() || !counter.changed.swap(false, Ordering::AcqRel) {
                continue;
            }
            let usage = counter.usage();
            let row = FileUsage {
                octets: usage.octets,
                files: usage.files,
                octets_limit: usage.limits.octets,
                files_limit: usage.limits.files,
                round,
            };
            let Some(version) = *counter.row.lock() else { continue };
            match self.directory.put_file_usage(counter.owner, row, version).await {
                Ok(version) => *counter.row.lock() = Some(version),
                // Somebody wants it counted anew, or the account is gone.
                Err(DirectoryError::Contended) => drop(self.counters.lock().remove(&counter.owner)),
                Err(error) => {
                    tracing::error!(owner = ?counter.owner, %error, "what is kept in files could not be written down");
                    counter.changed.store(true, Ordering::Release);
                    all = false;
                }
            }
        }
        let in_use = |counter: &Arc<Counter>| {
            Arc::strong_count(counter) > 1 || counter.changed.load(Ordering::Acquire)
        };
        self.counters.lock().retain(|_, counter| in_use(counter));
        drop(writing);
        all
    }

    /// Writes everything down, so that nothing has to be counted at the next start. Nobody may be charged any more.
    pub async fn stop(&self) {
        let all = self.write().await;
        if let (true, Some(round)) = (all, self.round.get())
            && let Err(error) = self.directory.end_file_round(*round).await
        {
            tracing::error!(%error, "files will be counted anew");
        }
    }
}

/// Writes down what has changed, again and again.
async fn write_behind(shares: Weak<Shares>) {
    loop {
        tokio::time::sleep(BEHIND).await;
        let Some(shares) = shares.upgrade() else { return };
        shares.write().await;
    }
}
