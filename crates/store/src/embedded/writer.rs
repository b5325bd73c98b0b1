//! The one thread that writes. It takes all transactions that wait, carries each out as a part of one database
//! transaction that can be rolled back alone, writes the records of all of them to the log with one write and one
//! sync, commits, and answers everybody.
//!
//! Order matters: the log is durable before the rows that name places in it.

use std::sync::Arc;

use rusqlite::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::Shared;
use super::body::Payload;
use super::disk::DiskOp;
use super::effect::Effect;
use super::limits::only_removes;
use super::plan::{self, Fault, Part, Records};
use super::record::{HEAD, Head, SEGMENT_HEAD};
use super::schema::CHECKPOINT_PAGES;
use super::segment::Appender;
use super::tables::{Place, Tables};
use crate::tx::{Receipt, Tx, TxError};

/// So many transactions share a commit at most.
const GROUP: usize = 1_024;
/// So many octets go through memory in one group at most.
const GROUP_OCTETS: usize = 32 << 20;

/// A transaction that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) tx: Tx,
    pub(crate) bodies: Vec<Payload>,
    /// Octets it brings through memory.
    pub(crate) octets: usize,
    pub(crate) answer: oneshot::Sender<Result<Receipt, TxError>>,
    /// Its share of the queue's memory.
    pub(crate) _permit: Option<OwnedSemaphorePermit>,
}

impl Waiting {
    /// What of its bodies is not wanted is gone when the caller learns the outcome.
    fn answer(self, outcome: Result<Receipt, TxError>) {
        drop(self.bodies);
        let _ = self.answer.send(outcome);
    }
}

/// Something to do on the writer's thread between two groups.
pub(crate) type Job = Box<dyn FnOnce(&mut Writer) + Send>;

pub(crate) enum Request {
    Commit(Waiting),
    Job(Job),
    /// Ends the thread after what came before.
    Stop,
}

/// The writer's things.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tables: Tables,
    pub(crate) log: Appender,
    records: Records,
    /// Pages of the write-ahead log at the last checkpoint.
    tried: i64,
}

/// What became of a group.
enum Outcome {
    Committed(Vec<Result<Receipt, TxError>>),
    /// Nothing of it happened; all get this.
    Refused(TxError),
    /// Nobody knows; the store stops.
    Broken(String),
}

/// Why a group did not happen.
#[derive(Debug)]
pub(crate) enum Fail {
    /// For want of room on the disk.
    Full,
    /// Nobody knows whether it did; the store stops.
    Broken(String),
}

impl From<rusqlite::Error> for Fail {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Fail::Full,
            _ => Fail::Broken(format!("database: {error}")),
        }
    }
}

impl From<std::io::Error> for Fail {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull => Fail::Full,
            _ => Fail::Broken(format!("log: {error}")),
        }
    }
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, tables: Tables, log: Appender) -> Writer {
        Writer { shared, tables, log, records: Records::default(), tried: 0 }
    }

    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut taken = Vec::with_capacity(GROUP);
        let mut group = Vec::with_capacity(GROUP);
        let mut stop = false;
        while !stop && requests.blocking_recv_many(&mut taken, GROUP) > 0 {
            let mut octets = 0;
            for request in taken.drain(..) {
                match request {
                    Request::Commit(waiting) => {
                        if octets + waiting.octets > GROUP_OCTETS {
                            self.group(&mut group);
                            octets = 0;
                        }
                        octets += waiting.octets;
                        group.push(waiting);
                    }
                    Request::Job(job) => {
                        self.group(&mut group);
                        octets = 0;
                        job(&mut self);
                    }
                    Request::Stop => stop = true,
                }
            }
            self.group(&mut group);
            if self.shared.failure().is_none()
                && let Err(Fail::Broken(reason)) = self.checkpoint(CHECKPOINT_PAGES)
            {
                self.shared.fail(&reason);
            }
        }
        self.finish();
    }

    /// Leaves a database without a write-ahead log behind.
    pub(crate) fn finish(&mut self) {
        if self.shared.failure().is_none() {
            if let Err(error) = self.log.sync() {
                tracing::error!(%error, "the log could not be synced at the end");
            }
            self.shared.readers.close();
            let mode = self.tables.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            if let Err(error) = mode {
                tracing::warn!(%error, "the last checkpoint did not happen; the next start does it");
            }
        }
    }

    fn group(&mut self, group: &mut Vec<Waiting>) {
        if group.is_empty() {
            return;
        }
        if let Some(reason) = self.shared.failure() {
            for waiting in group.drain(..) {
                waiting.answer(Err(TxError::Stopped(reason.clone())));
            }
            return;
        }
        match self.commit(group) {
            Outcome::Committed(results) => {
                self.shared.changed(&self.tables.keys, &self.tables.renamed, &self.tables.touched);
                self.shared.leases.changed(&self.tables.queue);
                for (waiting, result) in group.drain(..).zip(results) {
                    if result.is_ok() {
                        self.shared.filter.committed(&waiting.tx);
                    }
                    waiting.answer(result);
                }
            }
            Outcome::Refused(error) => {
                for waiting in group.drain(..) {
                    waiting.answer(Err(error.clone()));
                }
            }
            Outcome::Broken(reason) => {
                self.shared.fail(&reason);
                for waiting in group.drain(..) {
                    waiting.answer(Err(TxError::Stopped(reason.clone())));
                }
            }
        }
    }

    fn commit(&mut self, group: &[Waiting]) -> Outcome {
        let octets: usize = group.iter().map(|waiting| waiting.octets).sum();
        let full = self.shared.disk_is_full(octets as u64);
        if full && group.iter().all(|waiting| !only_removes(&waiting.tx)) {
            return Outcome::Refused(TxError::DiskFull);
        }
        let done = self.make_room(octets as u64).and_then(|()| {
            let results = self.parts(group, full)?;
            if self.records.octets.is_empty() {
                // Nothing changed: nothing to write. (Repeated transactions are answered from their receipts.)
                self.tables.rollback_group()?;
            } else {
                self.seal()?;
            }
            Ok(results)
        });
        match done {
            Ok(results) => Outcome::Committed(results),
            Err(Fail::Full) => {
                group.iter().for_each(|waiting| keep(waiting, false));
                Outcome::Refused(TxError::DiskFull)
            }
            // Rows may name the files, now or when the log is carried out again: they stay.
            Err(Fail::Broken(reason)) => Outcome::Broken(reason),
        }
    }

    /// Begins a new segment when the current one would grow too large.
    pub(crate) fn make_room(&mut self, octets: u64) -> Result<(), Fail> {
        let (tail, limit) = (self.log.tail, self.shared.options.segment_octets);
        if self.log.segment == 0 || (tail > SEGMENT_HEAD as u64 && tail + octets > limit) {
            self.log.begin()?;
        }
        Ok(())
    }

    /// Begins a group of the store's own.
    pub(crate) fn begin(&mut self) -> Result<(), Fail> {
        self.records.octets.clear();
        self.records.segment = self.log.segment;
        self.records.base = self.log.tail;
        Ok(self.tables.begin_group()?)
    }

    /// Makes the open group durable, or takes it back when the disk is full: then nothing of it happened.
    pub(crate) fn seal(&mut self) -> Result<(), Fail> {
        let done = self.write_and_commit();
        if let Err(Fail::Full) = done {
            // What was written for this group must not be found by a later start.
            self.log.cut().map_err(|error| Fail::Broken(format!("taking back the log: {error}")))?;
            self.tables.rollback_group()?;
        }
        done
    }

    fn write_and_commit(&mut self) -> Result<(), Fail> {
        let tail = self.log.tail + self.records.octets.len() as u64;
        if !self.records.octets.is_empty() {
            self.log.write(&self.records.octets)?;
            // A sync that fails is final: the system may have dropped what it could not write.
            self.log.sync().map_err(|error| Fail::Broken(format!("syncing the log: {error}")))?;
        }
        self.tables.position.segment = self.log.segment;
        self.tables.position.tail = tail;
        self.tables.flush()?;
        let mut result = Ok(());
        self.shared.disk.run(DiskOp::DatabaseCommit, || {
            result = self.tables.commit_group();
            Ok(())
        })?;
        result?;
        self.shared.readers.committed();
        self.log.tail = tail;
        Ok(())
    }

    fn parts(&mut self, group: &[Waiting], full: bool) -> Result<Vec<Result<Receipt, TxError>>, Fail> {
        let now = (self.shared.options.clock)();
        self.begin()?;
        let mut results = Vec::with_capacity(group.len());
        for waiting in group {
            if full && !only_removes(&waiting.tx) {
                results.push(Err(TxError::DiskFull));
                continue;
            }
            let mark = self.records.octets.len();
            let sure = plan::cannot_fail(&mut self.tables, &waiting.tx, waiting.bodies.len())?;
            self.tables.begin_part(sure)?;
            let (tables, records, leases) = (&mut self.tables, &mut self.records, &self.shared.leases);
            match Part::new(tables, records, now, &waiting.bodies, leases).run(&waiting.tx) {
                Ok(receipt) => results.push(Ok(receipt)),
                Err(Fault::Tx(error)) => {
                    self.tables.undo_part()?;
                    self.records.octets.truncate(mark);
                    keep(waiting, false);
                    results.push(Err(error));
                }
                Err(Fault::Sql(error)) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                    self.tables.rollback_group()?;
                    return Err(Fail::Full);
                }
                Err(Fault::Sql(error)) => return Err(error.into()),
            }
        }
        Ok(results)
    }

    /// Copies the database's log into its file when it has at least so many pages. Everybody is answered already.
    pub(crate) fn checkpoint(&mut self, least: i64) -> Result<(), Fail> {
        let pages = |pragma: &str| {
            let mut pragma = self.tables.conn.prepare_cached(pragma)?;
            pragma.query_row([], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
        };
        let (length, copied) = pages("PRAGMA wal_checkpoint(NOOP)")?;
        // While a reader keeps it from copying further, it is not tried again with every group.
        let tried = if least == 1 || length < self.tried { 0 } else { self.tried };
        if length - copied.max(tried) < least {
            return Ok(());
        }
        self.tried = length;
        // It waits for nobody. A reader that is not through keeps the log from beginning anew this time; readers are
        // short, except a backup, during which the log grows.
        if length > 8 * CHECKPOINT_PAGES {
            tracing::warn!(pages = length, "the database's write-ahead log is long");
        }
        self.shared.readers.release();
        let mut result = Ok((0, 0));
        self.shared.disk.run(DiskOp::DatabaseCheckpoint, || {
            result = pages("PRAGMA wal_checkpoint(PASSIVE)");
            Ok(())
        })?;
        match result {
            Ok(_) => Ok(()),
            // The database file has no room to grow; the write-ahead log keeps what it holds.
            Err(error)
                if matches!(
                    error.sqlite_error_code(),
                    Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy)
                ) =>
            {
                tracing::warn!(%error, "checkpoint put off");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Does what the store itself decides, as one transaction.
    pub(crate) fn effects(&mut self, effects: &[Effect]) -> Result<(), Fail> {
        let now = (self.shared.options.clock)();
        let mut meta = Vec::new();
        for effect in effects {
            effect.encode(&mut meta);
        }
        self.make_room(meta.len() as u64)?;
        self.begin()?;
        self.tables.begin_part(true)?;
        let (number, previous) = self.tables.next_number(now);
        for effect in effects {
            self.tables.apply(effect, number)?;
        }
        let head = Head::of_transaction(number, previous, &meta);
        self.record(&head, &meta, &[], None);
        self.tables.end_part(number)?;
        self.seal()
    }

    /// Adds a record to the open group; tells where its body will lie.
    pub(crate) fn record(&mut self, head: &Head, meta: &[u8], octets: &[u8], file: Option<String>) -> Place {
        self.records.add(head, meta, octets, file)
    }
}

fn keep(waiting: &Waiting, kept: bool) {
    for payload in &waiting.bodies {
        if let Payload::File { file, .. } = payload {
            file.keep(kept);
        }
    }
}

/// Octets a transaction takes in the log, roughly: enough to decide when a segment is full.
pub(crate) fn log_octets(measured: usize, bodies: &[Payload]) -> usize {
    measured + bodies.iter().map(|payload| payload.held() + 2 * HEAD).sum::<usize>()
}
