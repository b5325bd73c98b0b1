//! What happens when a store is opened: records behind the place where the database says the log ends are carried out
//! again, as far as they are whole and follow one another; what is torn is cut off.
//!
//! After a clean end there are none, and nothing is read. After a crash they belong to the last group, which nobody
//! was answered yet: it may be there whole or not at all. When the database lost more than that (its write-ahead log
//! was deleted, or an older copy was put in its place), they bring back what it lost.

use std::path::Path;

use super::disk::Disk;
use super::effect::decode_all;
use super::record::{Kind, SEGMENT_HEAD};
use super::segment::{Appender, Found, Scanner, list, path_of};
use super::tables::{Place, Tables};
use crate::OpenError;

/// So many transactions are carried out again in one database transaction.
const GROUP: u32 = 1_000;

/// Where things lie.
#[derive(Debug)]
pub(crate) struct Dirs<'a> {
    pub(crate) lost: &'a Path,
    pub(crate) segments: &'a Path,
}

/// Brings database and log to the same place and the appender to the log's end.
pub(crate) fn recover(
    tables: &mut Tables,
    log: &mut Appender,
    dirs: &Dirs<'_>,
    disk: &Disk,
    store: u64,
) -> Result<(), OpenError> {
    let io = OpenError::io(dirs.segments);
    let start = tables.position;
    let ids: Vec<u64> =
        list(dirs.segments).map_err(io)?.into_iter().filter(|id| *id >= start.segment).collect();
    if start.segment != 0 && ids.first() != Some(&start.segment) {
        return Err(OpenError::Damaged(format!("segment {} is missing", start.segment)));
    }
    let mut replay = Replay { tables, pending: Vec::new(), open: 0, replayed: 0 };
    let (mut segment, mut tail) = (start.segment, start.tail);
    let mut torn = false;
    for id in ids {
        let path = path_of(dirs.segments, id);
        let io = || OpenError::io(&path);
        let mut scanner = Scanner::open(&path).map_err(io())?;
        let begin = if id == start.segment { start.tail } else { SEGMENT_HEAD as u64 };
        if scanner.len() == begin && id == start.segment {
            continue;
        }
        match scanner.head().map_err(io())? {
            Some((number, of)) if number == id && of == store => {}
            Some(_) => {
                return Err(OpenError::Damaged(format!("{} belongs to another store", path.display())));
            }
            None => torn = true,
        }
        if scanner.len() < begin && id == start.segment {
            // Records that were only synced with the database: it has them, the log lost them.
            tracing::warn!(segment = id, "the log ends before the database says; going on behind the gap");
            continue;
        }
        let mut end = begin;
        let mut at = begin;
        loop {
            let found = if torn { None } else { scanner.record(at, true).map_err(io())? };
            let Some(found) = found else { break };
            at = found.end();
            match replay.record(id, &found)? {
                Step::Carried => end = at,
                Step::Pending => {}
                Step::Foreign => {
                    let number = found.head.number;
                    let what =
                        format!("record {number} in {} does not follow the one before", path.display());
                    return Err(OpenError::Damaged(what));
                }
            }
        }
        replay.pending.clear();
        if torn && scanner.search(SEGMENT_HEAD as u64, true).map_err(io())?.is_some() {
            return Err(OpenError::Damaged(format!("{} does not continue the log", path.display())));
        }
        if torn || (end == SEGMENT_HEAD as u64 && id != start.segment) {
            // Begun just before the crash; nobody was answered for anything in it.
            disk.remove(&path).map_err(io())?;
            torn = true;
            continue;
        }
        if end < scanner.len() {
            tracing::warn!(
                segment = id,
                octets = scanner.len() - end,
                "cutting off what a crash left half written"
            );
            keep_lost(&mut scanner, at, dirs.lost, id).map_err(io())?;
            let file = disk.open(&path).map_err(io())?;
            file.set_len(end).map_err(io())?;
            file.sync_data().map_err(io())?;
            torn = true;
        }
        (segment, tail) = (id, end);
    }
    replay.tables.position.segment = segment;
    replay.tables.position.tail = tail;
    if replay.replayed > 0 || replay.open > 0 {
        replay.close()?;
        tracing::info!(transactions = replay.replayed, "carried out again from the log");
    }
    if segment != 0 {
        log.resume(segment, tail).map_err(OpenError::io(dirs.segments))?;
    }
    Ok(())
}

/// So many remainders are kept.
const LOST_MAX: usize = 16;

/// Behind a torn record there is nothing that anyone was answered for, unless the disk lied. So where whole transactions
/// are there, they are kept for a person to look at.
fn keep_lost(scanner: &mut Scanner, torn: u64, lost: &Path, segment: u64) -> std::io::Result<()> {
    let mut at = torn;
    loop {
        let Some(found) = scanner.search(at, true)? else { return Ok(()) };
        if found.head.kind == Kind::Tx {
            break;
        }
        at = found.end();
    }
    super::disk::create_dir(lost)?;
    if std::fs::read_dir(lost)?.count() >= LOST_MAX {
        return Ok(());
    }
    let path = lost.join(format!("segment-{segment}-from-{torn}"));
    tracing::warn!(path = %path.display(), "whole records behind a torn one are kept here");
    scanner.copy_rest(torn, &path)
}

enum Step {
    /// It is part of the database now.
    Carried,
    /// A body whose transaction must follow.
    Pending,
    /// It does not follow the record before.
    Foreign,
}

struct Replay<'a> {
    tables: &'a mut Tables,
    pending: Vec<(u64, Place)>,
    /// Transactions in the open group; 0: none is open.
    open: u32,
    replayed: u64,
}

impl Replay<'_> {
    fn record(&mut self, segment: u64, found: &Found) -> Result<Step, OpenError> {
        let head = &found.head;
        let place = || Place {
            segment,
            offset: found.body_offset(),
            octets: head.body_len,
            crc: head.body_crc,
            file: head.file.then(|| String::from_utf8_lossy(&found.meta).into_owned()),
        };
        if head.moved {
            if head.kind == Kind::Body {
                self.begin()?;
                self.tables.relocate(head.number, &place())?;
            }
            return Ok(Step::Carried);
        }
        let last = self.pending.last().map_or(self.tables.position.number, |(number, _)| *number);
        if head.previous != last || head.number <= last {
            return Ok(Step::Foreign);
        }
        match head.kind {
            Kind::Body => {
                let place = place();
                self.pending.push((head.number, place));
                Ok(Step::Pending)
            }
            Kind::Tx => {
                let Some(effects) = decode_all(&found.meta) else {
                    return Err(OpenError::Damaged(format!(
                        "record {} says nothing this version knows",
                        head.number
                    )));
                };
                self.begin()?;
                self.tables.begin_part(false)?;
                for (number, place) in self.pending.drain(..) {
                    self.tables.add_body(number, place);
                }
                for effect in &effects {
                    self.tables.apply(effect, head.number)?;
                }
                self.tables.position.number = head.number;
                self.tables.position.segment = segment;
                self.tables.position.tail = found.end();
                self.tables.end_part(head.number)?;
                self.replayed += 1;
                if self.open > GROUP {
                    self.close()?;
                }
                Ok(Step::Carried)
            }
        }
    }

    fn begin(&mut self) -> Result<(), OpenError> {
        if self.open == 0 {
            self.tables.begin_group()?;
        }
        self.open += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), OpenError> {
        if self.open == 0 {
            self.tables.begin_group()?;
        }
        self.tables.flush()?;
        self.tables.commit_group()?;
        self.open = 0;
        Ok(())
    }
}
