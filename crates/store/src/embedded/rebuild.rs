//! Makes the database again: from what is whole of it, or else from the last snapshot, when that is whole, and the log
//! behind it; or from the log alone. Goes on behind whatever cannot be read, and names it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::disk::Disk;
use super::effect::decode_all;
use super::record::{Kind, SEGMENT_HEAD};
use super::segment::{Found, Scanner, list, path_of};
use super::tables::{Place, Tables};
use super::{random, refuse_network, schema, snapshot, take_lock};
use crate::OpenError;
use crate::check::{Outcome, Report};

/// Records carried out in one database transaction.
const GROUP: u64 = 2_000;

/// What the new database begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// The old one, if its pages are whole: then only the log does not fit it.
    Database,
    /// A snapshot, or nothing.
    Snapshot,
}

/// A database that is not the base is kept beside the new one.
pub(crate) fn rebuild(dir: &Path, base: Base, report: &mut Report) -> Result<(), OpenError> {
    refuse_network(dir)?;
    let _lock = take_lock(dir)?;
    super::filter::forget(dir).map_err(OpenError::io(dir))?;
    let disk = Disk::default();
    let segments = dir.join("segments");
    let ids = list(&segments).map_err(OpenError::io(&segments))?;
    let store = store_of(&segments, &ids);
    let path = dir.join("store.db");
    if base == Base::Database && is_whole(&path, store) {
        report.add(Outcome::Repaired, "the database goes on with what the log holds".to_owned());
    } else {
        set_aside(dir).map_err(OpenError::io(dir))?;
        disk.sync_dir(dir).map_err(OpenError::io(dir))?;
        if is_whole(&snapshot::path(dir), store) {
            std::fs::copy(snapshot::path(dir), &path).map_err(OpenError::io(&path))?;
            report.add(
                Outcome::Repaired,
                "the database is made again from its snapshot and the log".to_owned(),
            );
        } else {
            report.add(Outcome::Repaired, "the database is made again from the log".to_owned());
        }
    }
    let (conn, _) = schema::open_writer(&path, store.unwrap_or_else(random), false)?;
    let tables = Tables::new(conn)?;
    let base = tables.position.number;
    let mut rebuilder = Rebuilder { tables, dir, base, report, open: 0, last: base };
    rebuilder.bodies(&segments, &ids)?;
    rebuilder.transactions(&segments, &ids)?;
    let end = match ids.last() {
        Some(id) => {
            let path = path_of(&segments, *id);
            (*id, std::fs::metadata(&path).map_err(OpenError::io(&path))?.len())
        }
        None => (0, 0),
    };
    rebuilder.finish(end)?;
    disk.sync_dir(dir).map_err(OpenError::io(dir))
}

/// The store whose segments these are, as the first readable one says.
fn store_of(segments: &Path, ids: &[u64]) -> Option<u64> {
    ids.iter().find_map(|id| {
        let scanner = Scanner::open(&path_of(segments, *id)).ok()?;
        scanner.head().ok()?.map(|(_, store)| store)
    })
}

fn set_aside(dir: &Path) -> std::io::Result<()> {
    let aside = dir.join(format!("damaged-{:016x}", random()));
    super::disk::create_dir(&aside)?;
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        let from = dir.join(name);
        if from.exists() {
            std::fs::rename(&from, aside.join(name))?;
        }
    }
    Ok(())
}

/// Whether a database's pages are what SQLite says they must be, and it is this store's.
fn is_whole(path: &Path, store: Option<u64>) -> bool {
    let look = || -> Result<bool, rusqlite::Error> {
        let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let answer: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        let of: i64 = conn.query_row("SELECT store FROM log", [], |row| row.get(0))?;
        Ok(answer == "ok" && store.is_none_or(|store| store == of as u64))
    };
    look().unwrap_or(false)
}

struct Rebuilder<'a> {
    tables: Tables,
    dir: &'a Path,
    /// Everything up to this record is in the snapshot.
    base: u64,
    report: &'a mut Report,
    open: u64,
    last: u64,
}

impl Rebuilder<'_> {
    /// First all bodies, wherever they lie now: compaction puts them behind the transactions that name them.
    fn bodies(&mut self, segments: &Path, ids: &[u64]) -> Result<(), OpenError> {
        for id in ids {
            let path = path_of(segments, *id);
            let mut scanner = Scanner::open(&path).map_err(OpenError::io(&path))?;
            let mut at = SEGMENT_HEAD as u64;
            loop {
                let found = scanner.search(at, true).map_err(OpenError::io(&path))?;
                let end = found.as_ref().map_or(scanner.len(), |found| found.offset);
                if end > at {
                    let what = format!("segment {id}: {} octets from {at} on are no records", end - at);
                    self.report.add(Outcome::Lost, what);
                }
                let Some(found) = found else { break };
                at = found.end();
                if found.head.kind == Kind::Body {
                    self.step()?;
                    self.body(*id, &found)?;
                }
            }
        }
        self.close()
    }

    fn body(&mut self, segment: u64, found: &Found) -> Result<(), OpenError> {
        let head = &found.head;
        let place = Place {
            segment,
            offset: found.body_offset(),
            octets: head.body_len,
            crc: head.body_crc,
            file: head.file.then(|| String::from_utf8_lossy(&found.meta).into_owned()),
        };
        let known = self
            .tables
            .conn
            .prepare_cached("SELECT 1 FROM body WHERE id = ?1")?
            .query_row([head.number as i64], |_| Ok(()))
            .optional()?;
        if known.is_some() {
            self.tables.relocate(head.number, &place)?;
        } else if head.number > self.base {
            self.tables
                .conn
                .prepare_cached("INSERT INTO body VALUES (?1, 0, ?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute(params![
                    head.number as i64,
                    place.segment as i64,
                    place.offset as i64,
                    place.octets as i64,
                    place.crc,
                    place.file
                ])?;
        }
        // What the snapshot does not know any more was reaped before it was taken.
        Ok(())
    }

    /// Then what transactions did, in the order of the log.
    fn transactions(&mut self, segments: &Path, ids: &[u64]) -> Result<(), OpenError> {
        for id in ids {
            let path = path_of(segments, *id);
            let mut scanner = Scanner::open(&path).map_err(OpenError::io(&path))?;
            let mut at = SEGMENT_HEAD as u64;
            while let Some(found) = scanner.search(at, false).map_err(OpenError::io(&path))? {
                at = found.end();
                let head = &found.head;
                if head.moved || head.number <= self.base {
                    continue;
                }
                if head.previous != self.last {
                    let what =
                        format!("records between {} and {} of the log are missing", self.last, head.number);
                    self.report.add(Outcome::Lost, what);
                }
                self.last = self.last.max(head.number);
                if head.kind == Kind::Tx {
                    self.step()?;
                    self.transaction(&found)?;
                }
            }
        }
        self.close()
    }

    fn transaction(&mut self, found: &Found) -> Result<(), OpenError> {
        let number = found.head.number;
        let Some(effects) = decode_all(&found.meta) else {
            self.report
                .add(Outcome::Lost, format!("record {number} of the log says nothing this version knows"));
            return Ok(());
        };
        self.tables.begin_part(false)?;
        let done = effects
            .iter()
            .try_for_each(|effect| self.tables.apply(effect, number))
            .and_then(|()| self.tables.end_part(number));
        if let Err(error) = done {
            self.tables.undo_part()?;
            self.report
                .add(Outcome::Lost, format!("record {number} of the log cannot be carried out: {error}"));
        }
        self.tables.position.number = number;
        Ok(())
    }

    fn step(&mut self) -> Result<(), OpenError> {
        if self.open == GROUP {
            self.close()?;
        }
        if self.open == 0 {
            self.tables.begin_group()?;
        }
        self.open += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), OpenError> {
        if std::mem::take(&mut self.open) > 0 {
            self.tables.flush()?;
            self.tables.commit_group()?;
        }
        Ok(())
    }

    fn finish(mut self, (segment, tail): (u64, u64)) -> Result<(), OpenError> {
        self.tables.begin_group()?;
        self.tables.position.segment = segment;
        self.tables.position.tail = tail;
        self.tables.position.number = self.last;
        let conn = &self.tables.conn;
        let highest: i64 =
            conn.query_row("SELECT coalesce(max(id), 0) FROM mailbox", [], |row| row.get(0))?;
        self.tables.position.next_mailbox = self.tables.position.next_mailbox.max(highest as u64 + 1);
        self.tables.flush()?;
        self.tables.commit_group()?;
        self.tables.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        tracing::info!(dir = %self.dir.display(), number = self.last, "the database is made again");
        Ok(())
    }
}
