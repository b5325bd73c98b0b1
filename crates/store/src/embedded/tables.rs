//! Carries effects out on the tables. The live path and the replay of the log both come through [`Tables::apply`], so
//! a database made again from the log has the same rows.
//!
//! Counters of accounts and mailboxes are kept here between groups, since nobody else writes: a group of a thousand
//! deliveries to one mailbox updates its row once. Changes to them can be undone when a caller's part is rolled back.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::effect::{Added, Effect, Side, encode_receipt};

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
    Position(Position),
}

#[derive(Debug, Default)]
struct BodyChange {
    refs: i64,
    /// Its row is still to be made.
    new: Option<Place>,
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
    undo: Vec<Undo>,
    bodies: HashMap<u64, BodyChange>,
    /// Keys changed since the last commit, for the readers' cache.
    pub(crate) keys: Vec<String>,
    /// Accounts changed since the last commit, for who watches them.
    pub(crate) touched: Vec<(u64, u64)>,
}

type Sql<T> = Result<T, rusqlite::Error>;

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
            bodies: HashMap::new(),
            keys: Vec::new(),
            touched: Vec::new(),
        };
        tables.position = tables.stored_position()?;
        Ok(tables)
    }

    fn stored_position(&self) -> Sql<Position> {
        self.conn.query_row(
            "SELECT segment, tail, number, next_mailbox, next_side, uid_validity FROM log",
            [],
            |row| {
                Ok(Position {
                    segment: row.get::<_, i64>(0)? as u64,
                    tail: row.get::<_, i64>(1)? as u64,
                    number: row.get::<_, i64>(2)? as u64,
                    next_mailbox: row.get::<_, i64>(3)? as u64,
                    next_side: row.get::<_, i64>(4)? as u64,
                    uid_validity: row.get(5)?,
                })
            },
        )
    }

    // Groups and the parts of their callers.

    pub(crate) fn begin_group(&mut self) -> Sql<()> {
        if self.accounts.len() + self.mailboxes.len() > KEPT_MAX {
            self.accounts.clear();
            self.mailboxes.clear();
        }
        self.keys.clear();
        self.touched.clear();
        self.run("BEGIN IMMEDIATE")
    }

    pub(crate) fn begin_part(&mut self) -> Sql<()> {
        self.undo.clear();
        self.undo.push(Undo::Position(self.position));
        self.bodies.clear();
        self.run("SAVEPOINT part")
    }

    /// Ends a caller's part. `number` is that of its record, which is also its time.
    pub(crate) fn end_part(&mut self, number: u64) -> Sql<()> {
        for (id, change) in std::mem::take(&mut self.bodies) {
            let zero_since = number as i64;
            if let Some(place) = change.new {
                self.conn
                    .prepare_cached("INSERT INTO body VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
                    .execute(params![
                        id as i64,
                        change.refs,
                        (change.refs == 0).then_some(zero_since),
                        place.segment as i64,
                        place.offset as i64,
                        place.octets as i64,
                        place.crc,
                        place.file
                    ])?;
            } else if change.refs != 0 {
                self.conn
                    .prepare_cached(
                        "UPDATE body SET refs = refs + ?2,
                         zero_since = CASE WHEN refs + ?2 = 0 THEN ?3 ELSE NULL END WHERE id = ?1",
                    )?
                    .execute(params![id as i64, change.refs, zero_since])?;
            }
        }
        self.run("RELEASE part")
    }

    pub(crate) fn undo_part(&mut self) -> Sql<()> {
        for undo in self.undo.drain(..).rev() {
            match undo {
                Undo::Account(id, Some(kept)) => drop(self.accounts.insert(id, kept)),
                Undo::Account(id, None) => drop(self.accounts.remove(&id)),
                Undo::Mailbox(id, Some(kept)) => drop(self.mailboxes.insert(id, kept)),
                Undo::Mailbox(id, None) => drop(self.mailboxes.remove(&id)),
                Undo::Position(position) => self.position = position,
            }
        }
        self.bodies.clear();
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
                        "UPDATE mailbox SET uid_validity = ?2, uid_next = ?3, modseq = ?4, messages = ?5, octets = ?6
                         WHERE id = ?1",
                    )?
                    .execute(params![
                        id as i64,
                        state.uid_validity,
                        state.uid_next,
                        state.modseq as i64,
                        state.messages as i64,
                        state.octets as i64
                    ])?;
            }
        }
        let position = self.position;
        self.conn
            .prepare_cached(
                "UPDATE log SET segment = ?1, tail = ?2, number = ?3, next_mailbox = ?4, next_side = ?5,
                 uid_validity = ?6",
            )?
            .execute(params![
                position.segment as i64,
                position.tail as i64,
                position.number as i64,
                position.next_mailbox as i64,
                position.next_side as i64,
                position.uid_validity
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
        self.dirty_accounts.clear();
        self.dirty_mailboxes.clear();
        self.keys.clear();
        self.touched.clear();
        self.undo.clear();
        self.bodies.clear();
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
                "SELECT account, uid_validity, uid_next, modseq, messages, octets FROM mailbox WHERE id = ?1",
            )?
            .query_row([id as i64], |row| {
                Ok(Mailbox {
                    account: row.get::<_, i64>(0)? as u64,
                    uid_validity: row.get(1)?,
                    uid_next: row.get(2)?,
                    modseq: row.get::<_, i64>(3)? as u64,
                    messages: row.get::<_, i64>(4)? as u64,
                    octets: row.get::<_, i64>(5)? as u64,
                })
            })
            .optional()?;
        if let Some(state) = found {
            self.mailboxes.insert(id, Kept { state, dirty: false });
        }
        Ok(found)
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

    fn set_account(&mut self, id: u64, state: Account) {
        let old = self.accounts.insert(id, Kept { state, dirty: true });
        if !old.is_some_and(|old| old.dirty) {
            self.dirty_accounts.push(id);
        }
        self.undo.push(Undo::Account(id, old));
    }

    fn set_mailbox(&mut self, id: u64, state: Mailbox) {
        let old = self.mailboxes.insert(id, Kept { state, dirty: true });
        if !old.is_some_and(|old| old.dirty) {
            self.dirty_mailboxes.push(id);
        }
        self.undo.push(Undo::Mailbox(id, old));
    }

    fn forget_account(&mut self, id: u64) {
        let old = self.accounts.remove(&id);
        self.undo.push(Undo::Account(id, old));
    }

    fn forget_mailbox(&mut self, id: u64) {
        let old = self.mailboxes.remove(&id);
        self.undo.push(Undo::Mailbox(id, old));
    }

    // Carrying out.

    /// A body is in the log from here on; its row is made when the part ends.
    pub(crate) fn add_body(&mut self, id: u64, place: Place) {
        self.bodies.insert(id, BodyChange { refs: 0, new: Some(place) });
    }

    /// A body lies somewhere else now.
    pub(crate) fn relocate(&mut self, id: u64, place: &Place) -> Sql<()> {
        self.conn.prepare_cached("UPDATE body SET segment = ?2, place = ?3 WHERE id = ?1")?.execute([
            id as i64,
            place.segment as i64,
            place.offset as i64,
        ])?;
        Ok(())
    }

    fn refer(&mut self, body: u64, by: i64) {
        self.bodies.entry(body).or_default().refs += by;
    }

    /// Carries out one effect. What it names is there when it comes from the live path; from a damaged log it may not
    /// be, and then the effect does what still makes sense.
    pub(crate) fn apply(&mut self, effect: &Effect, number: u64) -> Sql<()> {
        match effect {
            Effect::Put { key, version, value } => {
                self.conn
                    .prepare_cached(
                        "INSERT INTO kv (key, version, value) VALUES (?1, ?2, ?3)
                         ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value",
                    )?
                    .execute(params![key, *version as i64, value])?;
                self.keys.push(key.clone());
            }
            Effect::Remove { key } => {
                self.conn.prepare_cached("DELETE FROM kv WHERE key = ?1")?.execute([key])?;
                self.keys.push(key.clone());
            }
            Effect::AccountMade { account } => {
                self.conn
                    .prepare_cached("INSERT INTO account VALUES (?1, 0, 0, 0) ON CONFLICT (id) DO NOTHING")?
                    .execute([*account as i64])?;
            }
            Effect::AccountRemoved { account } => self.remove_account(*account)?,
            Effect::MailboxMade { mailbox, account, name, uid_validity, modseq } => {
                self.conn
                    .prepare_cached("INSERT INTO mailbox VALUES (?1, ?2, ?3, ?4, 1, ?5, 0, 0)")?
                    .execute(params![*mailbox as i64, *account as i64, name, uid_validity, *modseq as i64])?;
                self.position.next_mailbox = self.position.next_mailbox.max(mailbox + 1);
                self.position.uid_validity = self.position.uid_validity.max(*uid_validity);
                self.bump_account(*account, *modseq, |_| ())?;
            }
            Effect::MailboxRenamed { mailbox, name, uid_validity, modseq } => {
                self.conn
                    .prepare_cached("UPDATE mailbox SET name = ?2 WHERE id = ?1")?
                    .execute(params![*mailbox as i64, name])?;
                self.position.uid_validity = self.position.uid_validity.max(*uid_validity);
                self.bump_mailbox(*mailbox, *modseq, |state| state.uid_validity = *uid_validity)?;
            }
            Effect::MailboxRemoved { mailbox, modseq } => self.remove_mailbox(*mailbox, *modseq)?,
            Effect::Added(added) => self.add(added)?,
            Effect::Flagged { mailbox, modseq, flags } => {
                let mut update = self.conn.prepare_cached(
                    "UPDATE message SET flags = ?3, modseq = ?4 WHERE mailbox = ?1 AND uid = ?2",
                )?;
                for (uid, flags) in flags {
                    update.execute(params![*mailbox as i64, uid, flags, *modseq as i64])?;
                }
                drop(update);
                self.bump_mailbox(*mailbox, *modseq, |_| ())?;
            }
            Effect::Expunged { mailbox, modseq, uids } => self.expunge(*mailbox, *modseq, uids)?,
            Effect::Receipt { id, receipt } => {
                let mut results = Vec::new();
                encode_receipt(receipt, &mut results);
                self.conn
                    .prepare_cached(
                        "INSERT INTO receipt (id, at, results) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING",
                    )?
                    .execute(params![id.to_be_bytes(), number as i64, results])?;
            }
        }
        Ok(())
    }

    fn bump_account(&mut self, account: u64, modseq: u64, change: impl FnOnce(&mut Account)) -> Sql<()> {
        if let Some(mut state) = self.account(account)? {
            state.modseq = state.modseq.max(modseq);
            change(&mut state);
            self.set_account(account, state);
        }
        Ok(())
    }

    /// Raises a mailbox's and its account's modification sequence; tells which account that is.
    fn bump_mailbox(
        &mut self,
        mailbox: u64,
        modseq: u64,
        change: impl FnOnce(&mut Mailbox),
    ) -> Sql<Option<u64>> {
        let Some(mut state) = self.mailbox(mailbox)? else { return Ok(None) };
        state.modseq = state.modseq.max(modseq);
        change(&mut state);
        self.set_mailbox(mailbox, state);
        self.bump_account(state.account, modseq, |_| ())?;
        Ok(Some(state.account))
    }

    fn add(&mut self, added: &Added) -> Sql<()> {
        let side = match &added.side {
            Side::None => None,
            Side::New { side, prefix, card } => {
                self.conn.prepare_cached("INSERT INTO side VALUES (?1, ?2, ?3)")?.execute(params![
                    *side as i64,
                    &prefix[..],
                    &card[..]
                ])?;
                Some(*side)
            }
            Side::CopyOf { side, from } => {
                self.conn
                    .prepare_cached("INSERT INTO side SELECT ?1, prefix, card FROM side WHERE id = ?2")?
                    .execute([*side as i64, *from as i64])?;
                Some(*side)
            }
        };
        if let Some(side) = side {
            self.position.next_side = self.position.next_side.max(side + 1);
        }
        self.conn
            .prepare_cached("INSERT INTO message VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8)")?
            .execute(params![
                added.mailbox as i64,
                added.uid,
                added.modseq as i64,
                added.flags,
                added.size as i64,
                added.received_at,
                side.map(|side| side as i64),
                added.body as i64
            ])?;
        self.refer(added.body, 1);
        let account = self.bump_mailbox(added.mailbox, added.modseq, |state| {
            state.uid_next = state.uid_next.max(added.uid.saturating_add(1));
            state.messages += 1;
            state.octets += added.size;
        })?;
        if let Some(account) = account {
            self.bump_account(account, added.modseq, |state| {
                state.messages += 1;
                state.octets += added.size;
            })?;
        }
        Ok(())
    }

    fn expunge(&mut self, mailbox: u64, modseq: u64, uids: &[u32]) -> Sql<()> {
        let (mut messages, mut octets) = (0u64, 0u64);
        let mut gone = Vec::with_capacity(uids.len());
        {
            let mut delete = self.conn.prepare_cached(
                "DELETE FROM message WHERE mailbox = ?1 AND uid = ?2 RETURNING size, side, body",
            )?;
            for uid in uids {
                let row = delete
                    .query_row(params![mailbox as i64, uid], |row| {
                        Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, i64>(2)?))
                    })
                    .optional()?;
                if let Some((size, side, body)) = row {
                    messages += 1;
                    octets += size as u64;
                    gone.push((side, body as u64));
                }
            }
            let mut delete = self.conn.prepare_cached("DELETE FROM side WHERE id = ?1")?;
            for (side, _) in &gone {
                if let Some(side) = side {
                    delete.execute([side])?;
                }
            }
            let mut note = self
                .conn
                .prepare_cached("INSERT INTO vanished VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?;
            for (first, last) in ranges(uids) {
                note.execute(params![mailbox as i64, modseq as i64, first, last])?;
            }
        }
        for (_, body) in gone {
            self.refer(body, -1);
        }
        let account = self.bump_mailbox(mailbox, modseq, |state| {
            state.messages = state.messages.saturating_sub(messages);
            state.octets = state.octets.saturating_sub(octets);
        })?;
        if let Some(account) = account {
            self.bump_account(account, modseq, |state| {
                state.messages = state.messages.saturating_sub(messages);
                state.octets = state.octets.saturating_sub(octets);
            })?;
        }
        Ok(())
    }

    /// Keeps the youngest ranges of a mailbox's expunged UIDs. A row with UID 0 says up to where nothing is known.
    pub(crate) fn forget_vanished(&mut self, mailbox: i64, keep: i64) -> Sql<()> {
        let horizon: Option<i64> = self
            .conn
            .prepare_cached(
                "SELECT modseq FROM vanished WHERE mailbox = ?1 ORDER BY modseq DESC LIMIT 1 OFFSET ?2",
            )?
            .query_row([mailbox, keep], |row| row.get(0))
            .optional()?;
        if let Some(horizon) = horizon {
            self.conn
                .prepare_cached("DELETE FROM vanished WHERE mailbox = ?1 AND modseq <= ?2")?
                .execute([mailbox, horizon])?;
            self.conn
                .prepare_cached("INSERT INTO vanished VALUES (?1, ?2, 0, 0)")?
                .execute([mailbox, horizon])?;
        }
        Ok(())
    }

    /// Of an account's changes up to `modseq` nothing is known. Mailbox 0 says so.
    pub(crate) fn forget_changes(&mut self, account: u64, modseq: u64) -> Sql<()> {
        self.conn
            .prepare_cached("DELETE FROM mailbox_gone WHERE account = ?1 AND modseq <= ?2")?
            .execute([account as i64, modseq as i64])?;
        self.conn
            .prepare_cached("INSERT INTO mailbox_gone VALUES (?1, ?2, 0)")?
            .execute([account as i64, modseq as i64])?;
        Ok(())
    }

    fn remove_mailbox(&mut self, mailbox: u64, modseq: u64) -> Sql<()> {
        let Some(state) = self.mailbox(mailbox)? else { return Ok(()) };
        let bodies: Vec<i64> = {
            let mut delete = self.conn.prepare_cached(
                "DELETE FROM side WHERE id IN (SELECT side FROM message WHERE mailbox = ?1)",
            )?;
            delete.execute([mailbox as i64])?;
            let mut delete =
                self.conn.prepare_cached("DELETE FROM message WHERE mailbox = ?1 RETURNING body")?;
            delete.query_map([mailbox as i64], |row| row.get(0))?.collect::<Sql<_>>()?
        };
        for body in bodies {
            self.refer(body as u64, -1);
        }
        self.conn.prepare_cached("DELETE FROM vanished WHERE mailbox = ?1")?.execute([mailbox as i64])?;
        self.conn.prepare_cached("DELETE FROM mailbox WHERE id = ?1")?.execute([mailbox as i64])?;
        self.conn
            .prepare_cached("INSERT INTO mailbox_gone VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
            .execute(params![state.account as i64, modseq as i64, mailbox as i64])?;
        self.forget_mailbox(mailbox);
        self.bump_account(state.account, modseq, |account| {
            account.messages = account.messages.saturating_sub(state.messages);
            account.octets = account.octets.saturating_sub(state.octets);
        })
    }

    fn remove_account(&mut self, account: u64) -> Sql<()> {
        let mailboxes: Vec<i64> = self
            .conn
            .prepare_cached("SELECT id FROM mailbox WHERE account = ?1")?
            .query_map([account as i64], |row| row.get(0))?
            .collect::<Sql<_>>()?;
        for mailbox in mailboxes {
            self.remove_mailbox(mailbox as u64, u64::MAX >> 1)?;
        }
        self.conn.prepare_cached("DELETE FROM mailbox_gone WHERE account = ?1")?.execute([account as i64])?;
        self.conn.prepare_cached("DELETE FROM account WHERE id = ?1")?.execute([account as i64])?;
        self.forget_account(account);
        Ok(())
    }
}

/// Ascending UIDs as ranges.
fn ranges(uids: &[u32]) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &uid in uids {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(uid) => *last = uid,
            _ => ranges.push((uid, uid)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    #[test]
    fn uids_fold_into_ranges() {
        assert_eq!(super::ranges(&[]), []);
        assert_eq!(super::ranges(&[1, 2, 3, 7, 9, 10]), [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(super::ranges(&[u32::MAX - 1, u32::MAX]), [(u32::MAX - 1, u32::MAX)]);
    }
}
