//! What happens in the background: bodies nobody has any more go, segments that hold mostly what is gone are
//! compacted, receipts and histories are cut to their bounds.
//!
//! A segment goes in this order: a snapshot of the database that is younger than the segment exists, so that what
//! transactions did in it need not be read again; the bodies still in use are appended to the log once more; the
//! rows name the new places, durably; the file is removed. Who reads from it reads on, for the file is still open.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use rusqlite::{OptionalExtension, params};
use tokio::sync::mpsc::WeakSender;

use super::Shared;
use super::readers::place_row;
use super::record::{HEAD, Head, Kind};
use super::segment::{list, path_of};
use super::snapshot;
use super::tables::Place;
use super::writer::{Fail, Request, Writer};

/// How often there is a look.
const EVERY: Duration = Duration::from_secs(60);
/// A transaction's receipt is kept this long.
const RECEIPT_MICROS: u64 = 24 * 3600 * 1_000_000;
/// Rows removed in one group, so that nobody waits long behind it.
const STEP: usize = 1_000;
/// Octets of bodies moved in one group.
const MOVE: usize = 4 << 20;
/// Ranges of expunged UIDs remembered for one mailbox.
const VANISHED_MAX: i64 = 20_000;

/// The background's end of things.
#[derive(Debug)]
pub(crate) struct Maintenance {
    shared: Arc<Shared>,
    requests: WeakSender<Request>,
    /// The last record when the last round ended, and the segment it looked at.
    seen: Cell<(u64, u64)>,
}

/// Why a round ended early.
#[derive(Debug)]
enum Stop {
    /// The store is closing or has failed.
    Closed,
    /// It could not go on; the next round tries again.
    Failed(String),
}

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Failed(error.to_string())
    }
}

type Done<T> = Result<T, Stop>;

impl Maintenance {
    pub(crate) fn new(shared: Arc<Shared>, requests: WeakSender<Request>) -> Maintenance {
        Maintenance { shared, requests, seen: Cell::new((0, 0)) }
    }

    /// Works until the other end of `stop` is dropped.
    pub(crate) fn run(&self, stop: &Receiver<()>) {
        self.report("sweep", self.sweep());
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(EVERY) {
            self.round(false);
        }
    }

    /// One round; `all`: also what is otherwise done only when there is reason to.
    pub(crate) fn round(&self, all: bool) {
        let Ok((number, segment)) =
            self.job(|writer| Ok((writer.tables.position.number, writer.log.segment)))
        else {
            return;
        };
        let (last_number, last_segment) = self.seen.replace((number, segment));
        self.report("trimming", self.trim());
        if all || number != last_number {
            // Now and then, so that little is left to carry out again after a power cut.
            self.report("checkpoint", self.job(|writer| writer.checkpoint(1)));
        }
        let filter = self.shared.filter.maintain(&self.shared, all);
        self.report("search filter", filter.map_err(Stop::from));
        // A backup names files: until it has them, none goes.
        let Some(_removal) = self.shared.removal.try_lock() else { return };
        let reaped = self.reap();
        let some = all || segment != last_segment || matches!(reaped, Ok(true));
        self.report("reaping", reaped.map(|_| ()));
        if some {
            self.report("compaction", self.compact());
        }
    }

    fn report(&self, what: &str, done: Done<()>) {
        if let Err(Stop::Failed(error)) = done {
            tracing::warn!(what, error, "put off");
        }
    }

    /// Does something on the writer's thread between two groups.
    fn job<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, Fail> + Send + 'static,
    ) -> Done<T> {
        let (answer, answered): (SyncSender<Result<T, Fail>>, _) = sync_channel(1);
        let requests = self.requests.upgrade().ok_or(Stop::Closed)?;
        let job = Request::Job(Box::new(move |writer| {
            if writer.shared.failure().is_none() {
                let _ = answer.send(work(writer));
            }
        }));
        requests.blocking_send(job).map_err(|_| Stop::Closed)?;
        drop(requests);
        match answered.recv().map_err(|_| Stop::Closed)? {
            Ok(value) => Ok(value),
            Err(Fail::Full) => Err(Stop::Failed("the disk is full".to_owned())),
            Err(Fail::Broken(reason)) => {
                self.shared.fail(&reason);
                Err(Stop::Closed)
            }
        }
    }

    fn now(&self) -> u64 {
        (self.shared.options.clock)()
    }

    /// Receipts older than a day, rests that are over, and histories longer than anyone asks for.
    fn trim(&self) -> Done<()> {
        let before = self.now().saturating_sub(RECEIPT_MICROS);
        let due = "SELECT at < ?1 FROM receipt ORDER BY seq LIMIT 1";
        while self.is_due(due, before)? && self.job(move |writer| {
            writer.begin()?;
            let gone = writer
                .tables
                .conn
                .prepare_cached(
                    "DELETE FROM receipt WHERE seq IN (SELECT seq FROM receipt ORDER BY seq LIMIT ?2) AND at < ?1",
                )?
                .execute(params![before as i64, STEP as i64])?;
            writer.seal()?;
            Ok(gone)
        })? == STEP
        {}
        // Destinations of the queue that have nothing and do not rest any more.
        let now = self.now();
        let due = "SELECT 1 FROM queue_destination WHERE rows = 0 AND resting_until <= ?1 LIMIT 1";
        while self.is_due(due, now)?
            && self.job(move |writer| {
                writer.begin()?;
                let gone = writer.tables.forget_rested(now as i64, STEP)?;
                writer.seal()?;
                Ok(gone)
            })? == STEP
        {}
        let long: Vec<i64> = self.shared.readers.with(|conn| {
            conn.prepare("SELECT mailbox FROM vanished GROUP BY mailbox HAVING count(*) > ?1")?
                .query_map([VANISHED_MAX], |row| row.get(0))?
                .collect::<Result<_, rusqlite::Error>>()
        })?;
        for mailbox in long {
            self.job(move |writer| {
                writer.begin()?;
                writer.tables.forget_vanished(mailbox, VANISHED_MAX / 2)?;
                writer.seal()
            })?;
        }
        Ok(())
    }

    /// Whether a query for something before a time finds it. Who has nothing to do writes nothing.
    fn is_due(&self, sql: &str, before: u64) -> Done<bool> {
        let found = self.shared.readers.with(|conn| {
            conn.prepare_cached(sql)?.query_row([before as i64], |row| row.get::<_, bool>(0)).optional()
        });
        Ok(found? == Some(true))
    }

    /// Takes rows of bodies that nobody has had for the time of grace, then their files. Tells whether there were any.
    fn reap(&self) -> Done<bool> {
        let grace = u64::try_from(self.shared.options.grace.as_micros()).unwrap_or(u64::MAX);
        let before = self.now().saturating_sub(grace);
        let mut any = false;
        let due = "SELECT 1 FROM body WHERE zero_since IS NOT NULL AND zero_since <= ?1 LIMIT 1";
        while self.is_due(due, before)? {
            let (count, files) = self.job(move |writer| {
                writer.begin()?;
                let gone = {
                    let mut delete = writer.tables.conn.prepare_cached(
                        "DELETE FROM body WHERE id IN
                         (SELECT id FROM body WHERE zero_since IS NOT NULL AND zero_since <= ?1 LIMIT ?2)
                         RETURNING file",
                    )?;
                    delete
                        .query_map(params![before as i64, STEP as i64], |row| {
                            row.get::<_, Option<String>>(0)
                        })?
                        .collect::<Result<Vec<_>, _>>()?
                };
                writer.seal()?;
                let files: Vec<String> = gone.iter().flatten().cloned().collect();
                if !files.is_empty() {
                    // Row gone before the file, also after a power cut.
                    writer.sync_database()?;
                }
                Ok((gone.len(), files))
            })?;
            for file in files {
                self.shared.disk.remove(&self.shared.bodies().join(file))?;
            }
            any |= count > 0;
        }
        Ok(any)
    }

    /// Bodies' own files that no row names: leftovers of a crash between the file and its transaction.
    fn sweep(&self) -> Done<()> {
        // In this order: a file is in flight until its row is there, and a row that is there names its file.
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.shared.bodies())? {
            names.extend(entry?.file_name().into_string());
        }
        let mut leftover: std::collections::HashSet<String> = {
            let in_flight = self.shared.in_flight.lock();
            names.into_iter().filter(|name| !in_flight.contains(name)).collect()
        };
        if leftover.is_empty() {
            return Ok(());
        }
        self.shared.readers.with(|conn| {
            let mut select = conn.prepare("SELECT file FROM body WHERE file IS NOT NULL")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                leftover.remove(row.get_ref(0)?.as_str()?);
            }
            Ok::<_, rusqlite::Error>(())
        })?;
        for name in leftover {
            tracing::info!(file = name, "removing a body that no transaction added");
            self.shared.disk.remove(&self.shared.bodies().join(name))?;
        }
        Ok(())
    }

    /// Compacts all segments of which more than half is of no use, when that gains more than the snapshot costs.
    fn compact(&self) -> Done<()> {
        let dir = self.shared.segments_dir();
        let current = self.job(|writer| Ok(writer.log.segment))?;
        let live: std::collections::HashMap<u64, u64> = self.shared.readers.with(|conn| {
            conn.prepare(
                "SELECT segment, SUM(?1 + CASE WHEN file IS NULL THEN octets ELSE length(file) END)
                 FROM body GROUP BY segment",
            )?
            .query_map([HEAD as i64], |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64)))?
            .collect::<Result<_, rusqlite::Error>>()
        })?;
        let (mut victims, mut gain) = (Vec::new(), 0);
        for id in list(&dir)? {
            let len = std::fs::metadata(path_of(&dir, id))?.len();
            let live = live.get(&id).copied().unwrap_or(0);
            if id < current && live.saturating_mul(2) < len {
                victims.push(id);
                gain += len - live;
            }
        }
        let Some(last) = victims.last().copied() else { return Ok(()) };
        if snapshot::segment(&self.shared).is_none_or(|segment| segment <= last) {
            let cost = std::fs::metadata(self.shared.options.dir.join("store.db"))?.len();
            if gain < cost {
                return Ok(());
            }
            snapshot::take(&self.shared)?;
        }
        for id in victims {
            self.move_bodies(id)?;
            self.job(|writer| writer.sync_database())?;
            self.shared.segments.forget(id);
            self.shared.disk.remove(&path_of(&dir, id))?;
            tracing::info!(segment = id, "compacted");
        }
        self.shared.disk.sync_dir(&dir)?;
        Ok(())
    }

    /// Appends the bodies of a segment that are still in use to the log once more.
    fn move_bodies(&self, segment: u64) -> Done<()> {
        let bodies: Vec<(u64, Place)> = self.shared.readers.with(|conn| {
            conn.prepare(
                "SELECT segment, place, octets, crc, file, id FROM body WHERE segment = ?1 ORDER BY place",
            )?
            .query_map([segment as i64], |row| Ok((row.get::<_, i64>(5)? as u64, place_row(row)?)))?
            .collect::<Result<_, rusqlite::Error>>()
        })?;
        let file = self.shared.segments.get(segment)?;
        let mut batch = Vec::new();
        let mut held = 0;
        for (id, place) in bodies {
            let mut octets = Vec::new();
            if place.file.is_none() {
                octets = vec![0; usize::try_from(place.octets)?];
                std::os::unix::fs::FileExt::read_exact_at(&*file, &mut octets, place.offset)?;
                if crc32c::crc32c(&octets) != place.crc {
                    let what = format!("segment {segment}: body {id} does not match its checksum; it stays");
                    return Err(Stop::Failed(what));
                }
            }
            held += octets.len() + HEAD;
            batch.push((id, place, octets));
            if held >= MOVE {
                let batch = std::mem::take(&mut batch);
                self.job(move |writer| {
                    writer.append_again(segment, batch, std::mem::take(&mut held) as u64)
                })?;
                held = 0;
            }
        }
        self.job(move |writer| writer.append_again(segment, batch, held as u64))
    }
}

impl Writer {
    /// Writes bodies that lie in `segment` at the end of the log and lets their rows name that place.
    fn append_again(
        &mut self,
        segment: u64,
        batch: Vec<(u64, Place, Vec<u8>)>,
        octets: u64,
    ) -> Result<(), Fail> {
        if batch.is_empty() {
            return Ok(());
        }
        self.make_room(octets)?;
        self.begin()?;
        for (id, place, octets) in batch {
            let still = self
                .tables
                .conn
                .prepare_cached("SELECT 1 FROM body WHERE id = ?1 AND segment = ?2")?
                .query_row([id as i64, segment as i64], |_| Ok(()))
                .optional()?;
            if still.is_none() {
                continue;
            }
            let meta = place.file.as_deref().unwrap_or_default().as_bytes();
            let head = Head {
                kind: Kind::Body,
                file: place.file.is_some(),
                moved: true,
                number: id,
                previous: 0,
                meta_len: meta.len() as u32,
                body_len: place.octets,
                body_crc: place.crc,
            };
            let place = self.record(&head, meta, &octets, place.file.clone());
            self.tables.relocate(id, &place)?;
        }
        self.seal()
    }

    /// Makes durable what the database committed, without waiting for a checkpoint.
    pub(crate) fn sync_database(&mut self) -> Result<(), Fail> {
        let path = self.shared.options.dir.join("store.db-wal");
        let file = match self.shared.disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        file.sync_data().map_err(|error| Fail::Broken(format!("syncing the database: {error}")))
    }
}

/// Wakes nobody: tells the thread to end by going away.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) stop: Option<SyncSender<()>>,
    pub(crate) thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(maintenance: Maintenance) -> std::io::Result<Running> {
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("store-maintenance".to_owned())
            .spawn(move || maintenance.run(&stopped))?;
        Ok(Running { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
