//! The writing connection: groups, their callers' parts, and the counters of accounts and mailboxes.
//!
//! Counters are kept here between groups, since nobody else writes: a group of a thousand deliveries to one mailbox
//! updates its row once. Changes to them can be undone when a caller's part is rolled back.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::bulk::{chunks, marks};
use super::journal::Journal;
use super::keywords::Keywords;
use super::queue::Writing;
use super::readers;
use crate::{MailboxId, QueueCount};

/// Above this many the kept counters are dropped between two groups.
const KEPT_MAX: usize = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) modseq: u64,
    pub(crate) octets: u64,
    pub(crate) messages: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mailbox {
    pub(crate) account: u64,
    pub(crate) uid_validity: u32,
    pub(crate) uid_next: u32,
    pub(crate) modseq: u64,
    pub(crate) messages: u64,
    pub(crate) octets: u64,
    pub(crate) unseen: u64,
    pub(crate) deleted: u64,
    pub(crate) deleted_octets: u64,
}

/// The one row of `log`: where the log ends and which numbers come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) tail: u64,
    pub(crate) number: u64,
    pub(crate) next_mailbox: u64,
    pub(crate) next_side: u64,
    pub(crate) uid_validity: u32,
    pub(crate) next_queue: u64,
    pub(crate) queued: QueueCount,
}

/// Where a body lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Segment of its record.
    pub(crate) segment: u64,
    /// Where in the segment its octets begin (for one in a file of its own: where its record ends).
    pub(crate) offset: u64,
    pub(crate) octets: u64,
    pub(crate) crc: u32,
    /// Name of its own file, if it has one.
    pub(crate) file: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Kept<T> {
    state: T,
    dirty: bool,
}

#[derive(Debug)]
enum Undo {
    Account(u64, Option<Kept<Account>>),
    Mailbox(u64, Option<Kept<Mailbox>>),
    Keywords(u64, Option<Keywords>),
    Position(Position),
}

#[derive(Debug, Default)]
pub(super) struct BodyChange {
    pub(super) refs: i64,
    /// Its row is still to be made.
    pub(super) new: Option<Place>,
}

/// A message more, or less, of a row of `side`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SideChange {
    pub(super) side: u64,
    pub(super) by: i64,
    pub(super) body: u64,
}

/// The writing connection with what is known of its rows.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) conn: Connection,
    pub(crate) position: Position,
    /// The highest number given out, be it in a part that was undone.
    issued: u64,
    accounts: HashMap<u64, Kept<Account>>,
    mailboxes: HashMap<u64, Kept<Mailbox>>,
    dirty_accounts: Vec<u64>,
    dirty_mailboxes: Vec<u64>,
    keywords: HashMap<u64, Keywords>,
    undo: Vec<Undo>,
    /// The open part can be rolled back alone.
    savepoint: bool,
    pub(super) bodies: HashMap<u64, BodyChange>,
    /// Messages more or less of a row of `side` that was there before.
    pub(super) sides: Vec<SideChange>,
    /// Keys changed since the last commit, for the readers' cache.
    pub(crate) keys: Vec<String>,
    /// Accounts changed since the last commit, for who watches them.
    pub(crate) touched: Vec<(u64, u64)>,
    /// Mailboxes whose keywords changed since the last commit, for the readers' cache.
    pub(crate) renamed: Vec<u64>,
    /// What changes, for who follows a mailbox.
    pub(crate) journal: Journal,
    pub(crate) queue: Writing,
}

pub(super) type Sql<T> = Result<T, rusqlite::Error>;

impl Tables {
    pub(crate) fn new(conn: Connection) -> Sql<Tables> {
        let mut tables = Tables {
            conn,
            position: Position::default(),
            issued: 0,
            accounts: HashMap::new(),
            mailboxes: HashMap::new(),
            dirty_accounts: Vec::new(),
            dirty_mailboxes: Vec::new(),
            undo: Vec::new(),
            savepoint: false,
            keywords: HashMap::new(),
            bodies: HashMap::new(),
            sides: Vec::new(),
            keys: Vec::new(),
            touched: Vec::new(),
            renamed: Vec::new(),
            journal: Journal::default(),
            queue: Writing::default(),
        };
        tables.position = tables.stored_position()?;
        Ok(tables)
    }

    fn stored_position(&self) -> Sql<Position> {
        self.conn.query_row(
            "SELECT segment, tail, number, next_mailbox, next_side, uid_validity, next_queue, queue_rows,
             queue_octets, queue_held, queue_destinations FROM log",
            [],
            |row| {
                Ok(Position {
                    segment: row.get::<_, i64>(0)? as u64,
                    tail: row.get::<_, i64>(1)? as u64,
                    number: row.get::<_, i64>(2)? as u64,
                    next_mailbox: row.get::<_, i64>(3)? as u64,
                    next_side: row.get::<_, i64>(4)? as u64,
                    uid_validity: row.get(5)?,
                    next_queue: row.get::<_, i64>(6)? as u64,
                    queued: QueueCount {
                        rows: row.get::<_, i64>(7)? as u64,
                        octets: row.get::<_, i64>(8)? as u64,
                        held: row.get::<_, i64>(9)? as u64,
                        destinations: row.get::<_, i64>(10)? as u64,
                    },
                })
            },
        )
    }

    // Groups and the parts of their callers.

    pub(crate) fn begin_group(&mut self) -> Sql<()> {
        if self.accounts.len() + self.mailboxes.len() + self.keywords.len() > KEPT_MAX {
            self.accounts.clear();
            self.mailboxes.clear();
            self.keywords.clear();
        }
        self.keys.clear();
        self.touched.clear();
        self.renamed.clear();
        self.queue.begin_group();
        self.run("BEGIN IMMEDIATE")?;
        for mailbox in self.journal.pending() {
            match self.mailbox(mailbox)? {
                Some(state) => self.journal.begin(mailbox, state.modseq),
                None => self.journal.forget(mailbox),
            }
        }
        Ok(())
    }

    /// Begins a caller's part. One that is `sure` to succeed, or to end the whole group, needs no way back.
    pub(crate) fn begin_part(&mut self, sure: bool) -> Sql<()> {
        self.undo.clear();
        self.undo.push(Undo::Position(self.position));
        self.bodies.clear();
        self.sides.clear();
        self.queue.begin_part();
        self.savepoint = !sure;
        if sure { Ok(()) } else { self.run("SAVEPOINT part") }
    }

    /// Ends a caller's part. `number` is that of its record, which is also its time.
    pub(crate) fn end_part(&mut self, number: u64) -> Sql<()> {
        self.settle_sides()?;
        self.settle_bodies(number)?;
        if self.savepoint { self.run("RELEASE part") } else { Ok(()) }
    }

    fn settle_bodies(&mut self, number: u64) -> Sql<()> {
        let zero_since = number as i64;
        // In the order of their rows.
        let mut bodies: Vec<_> = self.bodies.drain().collect();
        bodies.sort_unstable_by_key(|(id, _)| *id);
        let (mut less, mut more) = (Vec::new(), Vec::new());
        for (id, change) in bodies {
            match (change.new, change.refs) {
                (Some(place), refs) => {
                    self.conn
                        .prepare_cached("INSERT INTO body VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
                        .execute(params![
                            id as i64,
                            refs,
                            (refs == 0).then_some(zero_since),
                            place.segment as i64,
                            place.offset as i64,
                            place.octets as i64,
                            place.crc,
                            place.file
                        ])?;
                }
                (None, 0) => {}
                (None, -1) => less.push(id as i64),
                (None, 1) => more.push(id as i64),
                (None, refs) => {
                    self.conn.prepare_cached(&body_refs(1))?.execute([refs, zero_since, id as i64])?;
                }
            }
        }
        for (by, ids) in [(-1, less), (1, more)] {
            chunks(&self.conn, &[by, zero_since], 1, &ids, body_refs)?;
        }
        Ok(())
    }

    pub(crate) fn undo_part(&mut self) -> Sql<()> {
        if !self.savepoint {
            // Nothing was done yet but looking at preconditions. Anything else would be committed with the group: then
            // the group must not be.
            let untouched = self.undo.len() == 1 && self.queue.is_untouched();
            return if untouched { Ok(()) } else { Err(rusqlite::Error::InvalidQuery) };
        }
        for undo in self.undo.drain(..).rev() {
            match undo {
                Undo::Account(id, Some(kept)) => drop(self.accounts.insert(id, kept)),
                Undo::Account(id, None) => drop(self.accounts.remove(&id)),
                Undo::Mailbox(id, Some(kept)) => drop(self.mailboxes.insert(id, kept)),
                Undo::Mailbox(id, None) => drop(self.mailboxes.remove(&id)),
                Undo::Keywords(id, Some(names)) => drop(self.keywords.insert(id, names)),
                Undo::Keywords(id, None) => drop(self.keywords.remove(&id)),
                Undo::Position(position) => self.position = position,
            }
        }
        self.bodies.clear();
        self.sides.clear();
        self.queue.undo_part();
        self.run("ROLLBACK TO part")?;
        self.run("RELEASE part")
    }

    /// Writes what is kept in memory into the open group.
    pub(crate) fn flush(&mut self) -> Sql<()> {
        for id in std::mem::take(&mut self.dirty_accounts) {
            let Some(kept) = self.accounts.get_mut(&id) else { continue };
            if std::mem::take(&mut kept.dirty) {
                let state = kept.state;
                self.conn
                    .prepare_cached(
                        "UPDATE account SET modseq = ?2, octets = ?3, messages = ?4 WHERE id = ?1",
                    )?
                    .execute(params![
                        id as i64,
                        state.modseq as i64,
                        state.octets as i64,
                        state.messages as i64
                    ])?;
                self.touched.push((id, state.modseq));
            }
        }
        for id in std::mem::take(&mut self.dirty_mailboxes) {
            let Some(kept) = self.mailboxes.get_mut(&id) else { continue };
            if std::mem::take(&mut kept.dirty) {
                let state = kept.state;
                self.conn
                    .prepare_cached(
                        "UPDATE mailbox SET uid_validity = ?2, uid_next = ?3, modseq = ?4, messages = ?5, octets = ?6,
                         unseen = ?7, deleted = ?8, deleted_octets = ?9 WHERE id = ?1",
                    )?
                    .execute(params![
                        id as i64,
                        state.uid_validity,
                        state.uid_next,
                        state.modseq as i64,
                        state.messages as i64,
                        state.octets as i64,
                        state.unseen as i64,
                        state.deleted as i64,
                        state.deleted_octets as i64
                    ])?;
            }
        }
        self.flush_destinations()?;
        let position = self.position;
        self.conn
            .prepare_cached(
                "UPDATE log SET segment = ?1, tail = ?2, number = ?3, next_mailbox = ?4, next_side = ?5,
                 uid_validity = ?6, next_queue = ?7, queue_rows = ?8, queue_octets = ?9, queue_held = ?10,
                 queue_destinations = ?11",
            )?
            .execute(params![
                position.segment as i64,
                position.tail as i64,
                position.number as i64,
                position.next_mailbox as i64,
                position.next_side as i64,
                position.uid_validity,
                position.next_queue as i64,
                position.queued.rows as i64,
                position.queued.octets as i64,
                position.queued.held as i64,
                position.queued.destinations as i64
            ])?;
        Ok(())
    }

    pub(crate) fn commit_group(&mut self) -> Sql<()> {
        self.run("COMMIT")
    }

    /// The number of the next record, and of the one before it in the log. A number is never given out twice.
    pub(crate) fn next_number(&mut self, now: u64) -> (u64, u64) {
        let previous = self.position.number;
        let number = (previous.max(self.issued) + 1).max(now);
        self.position.number = number;
        self.issued = number;
        (number, previous)
    }

    /// Forgets the open group and everything kept.
    pub(crate) fn rollback_group(&mut self) -> Sql<()> {
        self.accounts.clear();
        self.mailboxes.clear();
        self.keywords.clear();
        self.dirty_accounts.clear();
        self.dirty_mailboxes.clear();
        self.keys.clear();
        self.touched.clear();
        self.renamed.clear();
        self.undo.clear();
        self.bodies.clear();
        self.sides.clear();
        self.queue.clear();
        if !self.conn.is_autocommit() {
            self.run("ROLLBACK")?;
        }
        self.position = self.stored_position()?;
        Ok(())
    }

    fn run(&self, sql: &'static str) -> Sql<()> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    // Reading inside a group.

    pub(crate) fn account(&mut self, id: u64) -> Sql<Option<Account>> {
        if let Some(kept) = self.accounts.get(&id) {
            return Ok(Some(kept.state));
        }
        let found = self
            .conn
            .prepare_cached("SELECT modseq, octets, messages FROM account WHERE id = ?1")?
            .query_row([id as i64], |row| {
                Ok(Account {
                    modseq: row.get::<_, i64>(0)? as u64,
                    octets: row.get::<_, i64>(1)? as u64,
                    messages: row.get::<_, i64>(2)? as u64,
                })
            })
            .optional()?;
        if let Some(state) = found {
            self.accounts.insert(id, Kept { state, dirty: false });
        }
        Ok(found)
    }

    pub(crate) fn mailbox(&mut self, id: u64) -> Sql<Option<Mailbox>> {
        if let Some(kept) = self.mailboxes.get(&id) {
            return Ok(Some(kept.state));
        }
        let found = self
            .conn
            .prepare_cached(
                "SELECT account, uid_validity, uid_next, modseq, messages, octets, unseen, deleted, deleted_octets
                 FROM mailbox WHERE id = ?1",
            )?
            .query_row([id as i64], |row| {
                Ok(Mailbox {
                    account: row.get::<_, i64>(0)? as u64,
                    uid_validity: row.get(1)?,
                    uid_next: row.get(2)?,
                    modseq: row.get::<_, i64>(3)? as u64,
                    messages: row.get::<_, i64>(4)? as u64,
                    octets: row.get::<_, i64>(5)? as u64,
                    unseen: row.get::<_, i64>(6)? as u64,
                    deleted: row.get::<_, i64>(7)? as u64,
                    deleted_octets: row.get::<_, i64>(8)? as u64,
                })
            })
            .optional()?;
        if let Some(state) = found {
            self.mailboxes.insert(id, Kept { state, dirty: false });
        }
        Ok(found)
    }

    /// A mailbox's keywords by bit.
    pub(crate) fn keywords(&mut self, id: u64) -> Sql<Keywords> {
        if let Some(names) = self.keywords.get(&id) {
            return Ok(names.clone());
        }
        let names: Keywords = readers::keywords(&self.conn, MailboxId(id))?.into();
        self.keywords.insert(id, names.clone());
        Ok(names)
    }

    /// Octets of a body that somebody has, changes of this part included.
    pub(crate) fn body_octets(&self, id: u64) -> Sql<Option<u64>> {
        let change = self.bodies.get(&id);
        if let Some(BodyChange { refs, new: Some(place) }) = change {
            return Ok((*refs > 0).then_some(place.octets));
        }
        let delta = change.map_or(0, |change| change.refs);
        let found = self
            .conn
            .prepare_cached("SELECT refs, octets FROM body WHERE id = ?1")?
            .query_row([id as i64], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        Ok(found.filter(|(refs, _)| refs + delta > 0).map(|(_, octets)| octets as u64))
    }

    pub(super) fn set_account(&mut self, id: u64, state: Account) {
        let old = self.accounts.insert(id, Kept { state, dirty: true });
        if !old.is_some_and(|old| old.dirty) {
            self.dirty_accounts.push(id);
        }
        self.undo.push(Undo::Account(id, old));
    }

    pub(super) fn set_mailbox(&mut self, id: u64, state: Mailbox) {
        let old = self.mailboxes.insert(id, Kept { state, dirty: true });
        if !old.is_some_and(|old| old.dirty) {
            self.dirty_mailboxes.push(id);
        }
        self.undo.push(Undo::Mailbox(id, old));
    }

    pub(super) fn set_keywords(&mut self, id: u64, names: Keywords) {
        let old = self.keywords.insert(id, names);
        self.undo.push(Undo::Keywords(id, old));
        self.renamed.push(id);
    }

    pub(super) fn forget_account(&mut self, id: u64) {
        let old = self.accounts.remove(&id);
        self.undo.push(Undo::Account(id, old));
    }

    pub(super) fn forget_mailbox(&mut self, id: u64) {
        let old = self.mailboxes.remove(&id);
        self.undo.push(Undo::Mailbox(id, old));
        let old = self.keywords.remove(&id);
        self.undo.push(Undo::Keywords(id, old));
    }
}

/// Bodies that more or fewer have.
fn body_refs(count: usize) -> String {
    format!(
        "UPDATE body SET refs = refs + ?1, zero_since = CASE WHEN refs + ?1 = 0 THEN ?2 ELSE NULL END
         WHERE id IN ({})",
        marks(3, count)
    )
}
