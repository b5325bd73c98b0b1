//! Carries out effects on many messages at once: a statement for each range of UIDs, not for each message.

use rusqlite::{Connection, params};

use super::effect::{Copied, Flagged};
use super::tables::{SideChange, Sql, Tables};
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
    /// A message goes. Messages that share a row of `side` count as one for their body.
    pub(super) fn leave(&mut self, side: Option<i64>, body: u64) {
        match side {
            Some(side) => self.sides.push(SideChange { side: side as u64, by: -1, body }),
            None => self.refer(body, -1),
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
            match row.side {
                Some(side) => self.sides.push(SideChange { side: side as u64, by: 1, body: row.body }),
                None => self.refer(row.body, 1),
            }
        }
        // Where each goes, ranges that are long first.
        let (mut long, mut short) = (Vec::new(), Vec::new());
        let mut next = i64::from(copied.first);
        for (first, last) in &copied.runs {
            let len = i64::from(last - first) + 1;
            if len >= SHORT {
                long.push((*first, *last, next - i64::from(*first)));
            } else {
                short.extend((0..len).flat_map(|at| [i64::from(*first) + at, next + at]));
            }
            next += len;
        }
        let flags = translated(&copied.keywords);
        {
            let mut insert = self.conn.prepare_cached(&format!(
                "INSERT INTO message SELECT ?1, uid + ?5, ?6, ?6, {flags}, size, received_at, ?7, side, body
                 FROM message WHERE mailbox = ?2 AND uid BETWEEN ?3 AND ?4 ORDER BY uid"
            ))?;
            for (first, last, ahead) in long {
                insert.execute(params![
                    copied.to as i64,
                    copied.from as i64,
                    first,
                    last,
                    ahead,
                    copied.modseq as i64,
                    copied.saved_at
                ])?;
            }
        }
        let fixed = [copied.to as i64, copied.from as i64, copied.modseq as i64, copied.saved_at];
        chunks(&self.conn, &fixed, 2, &short, |count| {
            let pairs: Vec<String> =
                (0..count / 2).map(|at| format!("(?{},?{})", 5 + 2 * at, 6 + 2 * at)).collect();
            format!(
                "WITH pair (old, new) AS (VALUES {}) INSERT INTO message
                 SELECT ?1, new, ?3, ?3, {flags}, size, received_at, ?4, side, body
                 FROM pair CROSS JOIN message WHERE mailbox = ?2 AND uid = old",
                pairs.join(",")
            )
        })?;
        let spanned: u64 = copied.runs.iter().map(|(first, last)| u64::from(last - first) + 1).sum();
        let uid_next = u32::try_from(u64::from(copied.first) + spanned).unwrap_or(u32::MAX);
        self.journal.note(copied.to, copied.modseq, &[(copied.first, uid_next.saturating_sub(1))]);
        self.came(copied.to, copied.modseq, uid_next, count)
    }

    pub(super) fn flag(&mut self, flagged: &Flagged) -> Sql<()> {
        let upto = i64::try_from(flagged.upto).unwrap_or(i64::MAX);
        let fixed =
            [flagged.mailbox as i64, flagged.modseq as i64, upto, !flagged.clear as i64, flagged.set as i64];
        // Where any modification sequence will do, it is not looked at.
        let until = if upto == i64::MAX { "" } else { "AND modseq <= ?3" };
        each_run(&self.conn, &fixed, wide(&flagged.runs), |uids| {
            // No row can be against a rule: nothing is kept for taking the statement back alone.
            format!(
                "UPDATE OR FAIL message SET flags = (flags & ?4) | ?5, modseq = ?2
                 WHERE mailbox = ?1 AND uid {uids} {until} AND ((flags & ?4) | ?5) <> flags"
            )
        })?;
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
        each_run(&self.conn, &[mailbox as i64], wide(runs), |uids| {
            format!("DELETE FROM message WHERE mailbox = ?1 AND uid {uids}")
        })?;
        let vanished: Vec<i64> =
            runs.iter().flat_map(|(first, last)| [*first, *last].map(i64::from)).collect();
        chunks(&self.conn, &[mailbox as i64, modseq as i64], 2, &vanished, |count| {
            let rows: Vec<String> =
                (0..count / 2).map(|at| format!("(?1,?2,?{},?{})", 3 + 2 * at, 4 + 2 * at)).collect();
            format!("INSERT INTO vanished VALUES {} ON CONFLICT DO NOTHING", rows.join(","))
        })?;
        let mut count = Count::default();
        for row in gone {
            count.one(row.flags, row.size);
            self.leave(row.side, row.body);
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

    /// Rows of `side` that nobody has any more go, and let go of their bodies; how many have the others is noted.
    pub(super) fn settle_sides(&mut self) -> Sql<()> {
        if self.sides.is_empty() {
            return Ok(());
        }
        let mut changes = std::mem::take(&mut self.sides);
        changes.sort_unstable();
        changes.dedup_by(|next, change| {
            let same = next.side == change.side;
            change.by += if same { next.by } else { 0 };
            same
        });
        changes.retain(|change| change.by != 0);
        let (Some(first), Some(last)) = (changes.first(), changes.last()) else { return Ok(()) };
        let shared: Vec<(u64, i64)> = self
            .conn
            .prepare_cached("SELECT id, extra FROM side_shared WHERE id BETWEEN ?1 AND ?2 ORDER BY id")?
            .query_map([first.side as i64, last.side as i64], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))
            })?
            .collect::<Sql<_>>()?;
        let mut shared = shared.into_iter().peekable();
        let (mut now, mut alone, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for SideChange { side, by, body } in changes {
            while shared.next_if(|(id, _)| *id < side).is_some() {}
            let extra = shared.next_if(|(id, _)| *id == side).map(|(_, extra)| extra);
            let left = extra.unwrap_or(0) + by;
            if left > 0 {
                now.extend([side as i64, left]);
            } else if extra.is_some() {
                alone.push(side as i64);
            }
            if left < 0 {
                gone.push(side as i64);
                self.refer(body, -1);
            }
        }
        chunks(&self.conn, &[], 2, &now, |count| {
            let rows: Vec<String> =
                (0..count / 2).map(|at| format!("(?{},?{})", 1 + 2 * at, 2 + 2 * at)).collect();
            format!("INSERT OR REPLACE INTO side_shared VALUES {}", rows.join(","))
        })?;
        chunks(&self.conn, &[], 1, &alone, |count| {
            format!("DELETE FROM side_shared WHERE id IN ({})", marks(1, count))
        })?;
        let runs: Vec<(i64, i64)> =
            gone.chunk_by(|a, b| a + 1 == *b).filter_map(|run| Some((*run.first()?, *run.last()?))).collect();
        each_run(&self.conn, &[], runs.into_iter(), |ids| format!("DELETE FROM side WHERE id {ids}"))
    }
}

/// Ranges of fewer UIDs are taken together in one statement.
const SHORT: i64 = 16;
/// Values that change from one statement to the next.
const CHUNK: usize = 128;

/// So many places for values, from the `first` on.
pub(super) fn marks(first: usize, count: usize) -> String {
    let marks: Vec<String> = (first..first + count).map(|at| format!("?{at}")).collect();
    marks.join(",")
}

/// Executes a statement with values that stay and as many of the others at a time as it says it takes, `width` of which
/// belong together.
pub(super) fn chunks(
    conn: &Connection,
    fixed: &[i64],
    width: usize,
    mut values: &[i64],
    sql: impl Fn(usize) -> String,
) -> Sql<()> {
    for size in [CHUNK, CHUNK / 8, width] {
        if values.len() < size {
            continue;
        }
        let mut statement = conn.prepare_cached(&sql(size))?;
        while let Some((chunk, rest)) = values.split_at_checked(size) {
            statement.execute(rusqlite::params_from_iter(fixed.iter().chain(chunk)))?;
            values = rest;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Executes a statement for rows in ranges of numbers, given the condition: for each long one alone, for many short ones
/// together.
fn each_run(
    conn: &Connection,
    fixed: &[i64],
    runs: impl ExactSizeIterator<Item = (i64, i64)>,
    sql: impl Fn(&str) -> String,
) -> Sql<()> {
    let (mut long, mut short) = (None, Vec::new());
    let (alone, next) = (runs.len() == 1, fixed.len() + 1);
    for (first, last) in runs {
        if last - first + 1 < SHORT && !alone {
            short.extend(first..=last);
            continue;
        }
        let statement = match &mut long {
            Some(statement) => statement,
            None => long.insert(conn.prepare_cached(&sql(&format!("BETWEEN ?{next} AND ?{}", next + 1)))?),
        };
        statement.execute(rusqlite::params_from_iter(fixed.iter().chain([&first, &last])))?;
    }
    chunks(conn, fixed, 1, &short, |count| sql(&format!("IN ({})", marks(next, count))))
}

fn wide(runs: &[(u32, u32)]) -> impl ExactSizeIterator<Item = (i64, i64)> {
    runs.iter().map(|(first, last)| (i64::from(*first), i64::from(*last)))
}

/// Flags as they are in another mailbox, where keywords have other bits.
fn translated(keywords: &[(u8, u8)]) -> String {
    let mut sql = "(flags & 31)".to_owned();
    for (from, to) in keywords {
        sql += &format!(" | (((flags >> {from}) & 1) << {to})");
    }
    sql
}
