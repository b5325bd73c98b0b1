//! Carries out effects on many messages at once: a statement for each range of UIDs, not for each message.

use rusqlite::{Connection, params};

use super::effect::{Copied, Flagged};
use super::tables::{Sql, Tables};
use crate::Flags;

/// Messages and what they add to their mailbox's counters.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    messages: u64,
    octets: u64,
    unseen: u64,
    deleted: u64,
    deleted_octets: u64,
}

impl Count {
    pub(super) fn one(&mut self, flags: u64, size: u64) {
        self.messages += 1;
        self.octets += size;
        self.unseen += u64::from(flags & Flags::SEEN.0 == 0);
        if flags & Flags::DELETED.0 != 0 {
            self.deleted += 1;
            self.deleted_octets += size;
        }
    }
}

/// What a bulk change wants to know of a message.
struct Row {
    flags: u64,
    size: u64,
    side: Option<i64>,
    body: u64,
}

fn rows(conn: &Connection, mailbox: u64, runs: &[(u32, u32)], mut each: impl FnMut(Row)) -> Sql<()> {
    let mut select = conn.prepare_cached(
        "SELECT flags, size, side, body FROM message WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid",
    )?;
    for (first, last) in runs {
        let mut rows = select.query(params![mailbox as i64, first, last])?;
        while let Some(row) = rows.next()? {
            each(Row {
                flags: row.get::<_, i64>(0)? as u64,
                size: row.get::<_, i64>(1)? as u64,
                side: row.get(2)?,
                body: row.get::<_, i64>(3)? as u64,
            });
        }
    }
    Ok(())
}

impl Tables {
    /// A message more, or less, has this row of `side`.
    pub(super) fn refer_side(&mut self, side: Option<i64>, by: i64) {
        if let Some(side) = side {
            *self.sides.entry(side as u64).or_default() += by;
        }
    }

    /// Messages came into a mailbox, where the next one gets at least this UID.
    pub(super) fn came(&mut self, mailbox: u64, modseq: u64, uid_next: u32, count: Count) -> Sql<()> {
        let account = self.bump_mailbox(mailbox, modseq, |state| {
            state.uid_next = state.uid_next.max(uid_next);
            state.messages += count.messages;
            state.octets += count.octets;
            state.unseen += count.unseen;
            state.deleted += count.deleted;
            state.deleted_octets += count.deleted_octets;
        })?;
        let Some(account) = account else { return Ok(()) };
        self.bump_account(account, modseq, |state| {
            state.messages += count.messages;
            state.octets += count.octets;
        })
    }

    pub(super) fn copy(&mut self, copied: &Copied) -> Sql<()> {
        let mut found = Vec::new();
        rows(&self.conn, copied.from, &copied.runs, |row| found.push(row))?;
        let mut count = Count::default();
        for row in &found {
            count.one(row.flags, row.size);
            self.refer(row.body, 1);
            self.refer_side(row.side, 1);
        }
        {
            let sql = format!(
                "INSERT INTO message SELECT ?1, uid + ?5, ?6, ?6, {}, size, received_at, ?7, side, body FROM message
                 WHERE mailbox = ?2 AND uid BETWEEN ?3 AND ?4 ORDER BY uid",
                translated(&copied.keywords)
            );
            // Few translations are alike; the usual one is none.
            let mut insert = match copied.keywords.is_empty() {
                true => Ok(self.conn.prepare_cached(&sql)?),
                false => Err(self.conn.prepare(&sql)?),
            };
            let insert: &mut rusqlite::Statement<'_> = match &mut insert {
                Ok(cached) => cached,
                Err(own) => own,
            };
            let mut next = i64::from(copied.first);
            for (first, last) in &copied.runs {
                let ahead = next - i64::from(*first);
                insert.execute(params![
                    copied.to as i64,
                    copied.from as i64,
                    first,
                    last,
                    ahead,
                    copied.modseq as i64,
                    copied.saved_at
                ])?;
                next += i64::from(last - first) + 1;
            }
        }
        let spanned: u64 = copied.runs.iter().map(|(first, last)| u64::from(last - first) + 1).sum();
        let uid_next = u32::try_from(u64::from(copied.first) + spanned).unwrap_or(u32::MAX);
        self.journal.note(copied.to, copied.modseq, &[(copied.first, uid_next.saturating_sub(1))]);
        self.came(copied.to, copied.modseq, uid_next, count)
    }

    pub(super) fn flag(&mut self, flagged: &Flagged) -> Sql<()> {
        {
            let mut update = self.conn.prepare_cached(
                "UPDATE message SET flags = (flags & ?4) | ?5, modseq = ?6
                 WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 AND modseq <= ?7 AND ((flags & ?4) | ?5) <> flags",
            )?;
            let upto = i64::try_from(flagged.upto).unwrap_or(i64::MAX);
            for (first, last) in &flagged.runs {
                update.execute(params![
                    flagged.mailbox as i64,
                    first,
                    last,
                    !flagged.clear as i64,
                    flagged.set as i64,
                    flagged.modseq as i64,
                    upto
                ])?;
            }
        }
        self.journal.note(flagged.mailbox, flagged.modseq, &flagged.runs);
        self.bump_mailbox(flagged.mailbox, flagged.modseq, |state| {
            state.unseen = state.unseen.saturating_add_signed(flagged.unseen);
            state.deleted = state.deleted.saturating_add_signed(flagged.deleted);
            state.deleted_octets = state.deleted_octets.saturating_add_signed(flagged.deleted_octets);
        })?;
        Ok(())
    }

    pub(super) fn expunge(&mut self, mailbox: u64, modseq: u64, runs: &[(u32, u32)]) -> Sql<()> {
        let mut gone = Vec::new();
        rows(&self.conn, mailbox, runs, |row| gone.push(row))?;
        {
            let mut delete = self
                .conn
                .prepare_cached("DELETE FROM message WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3")?;
            let mut note = self
                .conn
                .prepare_cached("INSERT INTO vanished VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?;
            for (first, last) in runs {
                delete.execute(params![mailbox as i64, first, last])?;
                note.execute(params![mailbox as i64, modseq as i64, first, last])?;
            }
        }
        let mut count = Count::default();
        for row in gone {
            count.one(row.flags, row.size);
            self.refer(row.body, -1);
            self.refer_side(row.side, -1);
        }
        let account = self.bump_mailbox(mailbox, modseq, |state| {
            state.messages = state.messages.saturating_sub(count.messages);
            state.octets = state.octets.saturating_sub(count.octets);
            state.unseen = state.unseen.saturating_sub(count.unseen);
            state.deleted = state.deleted.saturating_sub(count.deleted);
            state.deleted_octets = state.deleted_octets.saturating_sub(count.deleted_octets);
        })?;
        let Some(account) = account else { return Ok(()) };
        self.bump_account(account, modseq, |state| {
            state.messages = state.messages.saturating_sub(count.messages);
            state.octets = state.octets.saturating_sub(count.octets);
        })
    }

    /// Rows of `side` that nobody has any more go; how many have the others is noted.
    pub(super) fn settle_sides(&mut self) -> Sql<()> {
        let mut changes: Vec<(u64, i64)> = self.sides.drain().filter(|(_, by)| *by != 0).collect();
        if changes.is_empty() {
            return Ok(());
        }
        changes.sort_unstable();
        let mut gone = Vec::new();
        let any: bool = self
            .conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM side_shared)")?
            .query_row([], |row| row.get(0))?;
        let mut select = self.conn.prepare_cached("SELECT extra FROM side_shared WHERE id = ?1")?;
        let mut note = self.conn.prepare_cached(
            "INSERT INTO side_shared VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET extra = excluded.extra",
        )?;
        let mut alone = self.conn.prepare_cached("DELETE FROM side_shared WHERE id = ?1")?;
        for (side, by) in changes {
            let extra = match any {
                true => select.query_map([side as i64], |row| row.get::<_, i64>(0))?.next().transpose()?,
                false => None,
            };
            let now = extra.unwrap_or(0) + by;
            if now > 0 {
                note.execute([side as i64, now])?;
            } else if extra.is_some() {
                alone.execute([side as i64])?;
            }
            if now < 0 {
                gone.push(side);
            }
        }
        let mut delete = self.conn.prepare_cached("DELETE FROM side WHERE id BETWEEN ?1 AND ?2")?;
        for run in gone.chunk_by(|a, b| a + 1 == *b) {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                delete.execute([*first as i64, *last as i64])?;
            }
        }
        Ok(())
    }
}

/// Flags as they are in another mailbox, where keywords have other bits.
fn translated(keywords: &[(u8, u8)]) -> String {
    let mut sql = "(flags & 31)".to_owned();
    for (from, to) in keywords {
        sql += &format!(" | (((flags >> {from}) & 1) << {to})");
    }
    sql
}
