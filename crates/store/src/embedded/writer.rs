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
use super::plan::{Fault, Part, Records, only_removes};
use super::record::{HEAD, SEGMENT_HEAD};
use super::schema::CHECKPOINT_PAGES;
use super::segment::Appender;
use super::tables::Tables;
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
    #[allow(dead_code, reason = "compaction and backup follow")]
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
}

/// What became of a group.
enum Outcome {
    Committed(Vec<Result<Receipt, TxError>>),
    /// Nothing of it happened; all get this.
    Refused(TxError),
    /// Nobody knows; the store stops.
    Broken(String),
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, tables: Tables, log: Appender) -> Writer {
        Writer { shared, tables, log, records: Records::default() }
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
            self.checkpoint();
        }
        self.finish();
    }

    /// Leaves a database without a write-ahead log behind.
    fn finish(&mut self) {
        if self.shared.failure().is_none() {
            if let Err(error) = self.log.sync() {
                tracing::error!(%error, "the log could not be synced at the end");
            }
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
                self.shared.changed(&self.tables.keys, &self.tables.touched);
                for (waiting, result) in group.drain(..).zip(results) {
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
        if let Err(outcome) = self.make_room(octets as u64) {
            return outcome;
        }
        let results = match self.parts(group, full) {
            Ok(results) => results,
            Err(error) => return self.give_up(error),
        };
        if results.iter().all(Result::is_err) || self.records.octets.is_empty() {
            // Nothing changed: nothing to write. (Repeated transactions are answered from their receipts.)
            return match self.tables.rollback_group() {
                Ok(()) => Outcome::Committed(results),
                Err(error) => Outcome::Broken(format!("rollback: {error}")),
            };
        }
        if let Err(error) = self.log.write(&self.records.octets) {
            return self.take_back(error);
        }
        if self.records.catalog
            && let Err(error) = self.log.sync()
        {
            return Outcome::Broken(format!("syncing the log: {error}"));
        }
        let tail = self.log.tail + self.records.octets.len() as u64;
        self.tables.position.segment = self.log.segment;
        self.tables.position.tail = tail;
        // From here on the outcome may be that rows name these files.
        for file in files(group) {
            file.keep(true);
        }
        let committed = self.tables.flush().and_then(|()| {
            let mut result = Ok(());
            let done = self.shared.disk.run(DiskOp::DatabaseCommit, || {
                result = self.tables.commit_group();
                Ok(())
            });
            match done {
                Ok(()) => result,
                Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(error.into())),
            }
        });
        if let Err(error) = committed {
            let outcome = self.give_up(error);
            if let Outcome::Refused(_) = outcome {
                files(group).for_each(|file| file.keep(false));
                // What was written for this group must not be found by a later start.
                if let Err(error) = self.log.cut() {
                    return Outcome::Broken(format!("taking back the log: {error}"));
                }
            }
            return outcome;
        }
        self.log.tail = tail;
        for (waiting, result) in group.iter().zip(&results) {
            if result.is_err() {
                files(std::slice::from_ref(waiting)).for_each(|file| file.keep(false));
            }
        }
        Outcome::Committed(results)
    }

    /// Begins a new segment when the current one would grow too large.
    fn make_room(&mut self, octets: u64) -> Result<(), Outcome> {
        let (tail, limit) = (self.log.tail, self.shared.options.segment_octets);
        if self.log.segment == 0 || (tail > SEGMENT_HEAD as u64 && tail + octets > limit) {
            match self.log.begin() {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                    return Err(Outcome::Refused(TxError::DiskFull));
                }
                Err(error) => return Err(Outcome::Broken(format!("beginning a segment: {error}"))),
            }
        }
        Ok(())
    }

    fn parts(
        &mut self,
        group: &[Waiting],
        full: bool,
    ) -> Result<Vec<Result<Receipt, TxError>>, rusqlite::Error> {
        self.records.octets.clear();
        self.records.segment = self.log.segment;
        self.records.base = self.log.tail;
        self.records.catalog = false;
        let now = (self.shared.options.clock)();
        self.tables.begin_group()?;
        let mut results = Vec::with_capacity(group.len());
        for waiting in group {
            if full && !only_removes(&waiting.tx) {
                results.push(Err(TxError::DiskFull));
                continue;
            }
            let mark = self.records.octets.len();
            self.tables.begin_part()?;
            match Part::new(&mut self.tables, &mut self.records, now, &waiting.bodies).run(&waiting.tx) {
                Ok(receipt) => results.push(Ok(receipt)),
                Err(Fault::Tx(error)) => {
                    self.tables.undo_part()?;
                    self.records.octets.truncate(mark);
                    results.push(Err(error));
                }
                Err(Fault::Sql(error)) => return Err(error),
            }
        }
        Ok(results)
    }

    /// The log could not be written. When that is for want of room, nothing happened.
    fn take_back(&mut self, error: std::io::Error) -> Outcome {
        if error.kind() != std::io::ErrorKind::StorageFull {
            return Outcome::Broken(format!("writing the log: {error}"));
        }
        if let Err(error) = self.log.cut() {
            return Outcome::Broken(format!("taking back the log: {error}"));
        }
        match self.tables.rollback_group() {
            Ok(()) => Outcome::Refused(TxError::DiskFull),
            Err(error) => Outcome::Broken(format!("rollback: {error}")),
        }
    }

    fn give_up(&mut self, error: rusqlite::Error) -> Outcome {
        if error.sqlite_error_code() != Some(ErrorCode::DiskFull) {
            return Outcome::Broken(format!("database: {error}"));
        }
        match self.tables.rollback_group() {
            Ok(()) => Outcome::Refused(TxError::DiskFull),
            Err(error) => Outcome::Broken(format!("rollback: {error}")),
        }
    }

    /// Copies the database's log into its file when it has become long. Everybody is answered already.
    fn checkpoint(&mut self) {
        if self.shared.failure().is_some() {
            return;
        }
        let pages = |pragma: &str| self.tables.conn.query_row(pragma, [], |row| row.get::<_, i64>(1));
        let result = pages("PRAGMA wal_checkpoint(NOOP)").and_then(|length| {
            if length < CHECKPOINT_PAGES {
                return Ok(());
            }
            // Readers are short; a WAL that still grows has met one each time, and then we wait for them.
            let pragma = if length < 8 * CHECKPOINT_PAGES {
                "PRAGMA wal_checkpoint(PASSIVE)"
            } else {
                "PRAGMA wal_checkpoint(RESTART)"
            };
            let mut result = Ok(0);
            let done = self.shared.disk.run(DiskOp::DatabaseCheckpoint, || {
                result = pages(pragma);
                Ok(())
            });
            done.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
            result.map(|_| ())
        });
        match result {
            Ok(()) => {}
            // The database file has no room to grow; the write-ahead log keeps what it holds.
            Err(error)
                if matches!(
                    error.sqlite_error_code(),
                    Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy)
                ) =>
            {
                tracing::warn!(%error, "checkpoint put off");
            }
            Err(error) => self.shared.fail(&format!("checkpoint: {error}")),
        }
    }
}

fn files(group: &[Waiting]) -> impl Iterator<Item = &super::body::OwnFile> {
    group.iter().flat_map(|waiting| &waiting.bodies).filter_map(|payload| match payload {
        Payload::File { file, .. } => Some(&**file),
        Payload::Memory { .. } => None,
    })
}

/// Octets a transaction takes in the log, roughly: enough to decide when a segment is full.
pub(crate) fn log_octets(measured: usize, bodies: &[Payload]) -> usize {
    measured + bodies.iter().map(|payload| payload.held() + 2 * HEAD).sum::<usize>()
}
