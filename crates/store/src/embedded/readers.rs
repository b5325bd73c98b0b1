//! Connections that only read, and the queries on them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::schema;
use super::tables::Place;
use crate::{
    AccountId, AccountRow, Entry, Flags, MailboxId, MailboxRow, MessageRow, ModSeq, Uid, UidValidity,
};

/// So many connections are kept when nobody uses them.
const KEPT: usize = 8;

/// Connections that only read.
///
/// Beginning to read costs several calls to the system, a small query itself hardly more than one. So a connection
/// stays within its read transaction until something was committed since, and sees nothing older than that.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Reader>>,
    /// One more with each commit.
    commits: AtomicU64,
    /// Bounds the listings that run at the same time.
    pub(crate) long: Arc<tokio::sync::Semaphore>,
}

#[derive(Debug)]
struct Reader {
    conn: Connection,
    /// It sees all commits up to this one, and is within a read transaction.
    sees: Option<u64>,
}

impl Reader {
    fn begin(&mut self, commits: u64) -> rusqlite::Result<()> {
        if self.sees != Some(commits) {
            self.end()?;
            self.conn.prepare_cached("BEGIN")?.execute([])?;
            self.sees = Some(commits);
        }
        Ok(())
    }

    fn end(&mut self) -> rusqlite::Result<()> {
        if self.sees.take().is_some() {
            self.conn.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }
}

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Readers {
        Readers {
            path,
            idle: Mutex::new(Vec::new()),
            commits: AtomicU64::new(0),
            long: Arc::new(tokio::sync::Semaphore::new(4)),
        }
    }

    pub(crate) fn with<T, E: From<rusqlite::Error>>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self.idle.lock().pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => Reader { conn: schema::open_reader(&self.path)?, sees: None },
        };
        // Looked at before the transaction begins: what it sees may be younger, never older.
        reader.begin(self.commits.load(Ordering::Acquire))?;
        let result = query(&reader.conn);
        let mut idle = self.idle.lock();
        if idle.len() < KEPT {
            idle.push(reader);
        }
        result
    }

    /// The writer committed, and answers nobody before this.
    pub(crate) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Release);
    }

    /// Lets go of what idle connections see, so that the write-ahead log can begin anew.
    pub(crate) fn release(&self) {
        self.idle.lock().retain_mut(|reader| reader.end().is_ok());
    }

    pub(crate) fn close(&self) {
        self.idle.lock().clear();
    }
}

pub(super) fn number(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(at)? as u64)
}

/// The first eight columns of a query for messages.
pub(super) fn message_row(mailbox: MailboxId, row: &Row<'_>) -> rusqlite::Result<MessageRow> {
    Ok(MessageRow {
        mailbox,
        uid: Uid(row.get(0)?),
        modseq: ModSeq(number(row, 1)?),
        flags: Flags(number(row, 2)?),
        size: number(row, 3)?,
        received_at: row.get(4)?,
        saved_at: row.get(5)?,
        side: row.get::<_, Option<i64>>(6)?.map(|side| side as u64),
        body: u128::from(number(row, 7)?),
    })
}

fn mailbox_row(row: &Row<'_>) -> rusqlite::Result<MailboxRow> {
    Ok(MailboxRow {
        id: MailboxId(number(row, 0)?),
        account: AccountId(number(row, 1)?),
        name: row.get(2)?,
        uid_validity: UidValidity(row.get(3)?),
        uid_next: Uid(row.get(4)?),
        highest_modseq: ModSeq(number(row, 5)?),
        messages: row.get(6)?,
        octets: number(row, 7)?,
        unseen: row.get(8)?,
        deleted: row.get(9)?,
        deleted_octets: number(row, 10)?,
        special_use: row.get(11)?,
    })
}

/// A mailbox's keywords by bit.
pub(crate) fn keywords(conn: &Connection, mailbox: MailboxId) -> rusqlite::Result<Vec<(u8, String)>> {
    conn.prepare_cached("SELECT bit, name FROM keyword WHERE mailbox = ?1 ORDER BY bit")?
        .query_map([mailbox.0 as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

pub(crate) fn entry(conn: &Connection, key: &str) -> rusqlite::Result<Option<Entry>> {
    conn.prepare_cached("SELECT version, value FROM kv WHERE key = ?1")?
        .query_row([key], |row| {
            Ok(Entry { key: key.to_owned(), version: number(row, 0)?, value: row.get(1)? })
        })
        .optional()
}

pub(crate) fn account(conn: &Connection, id: AccountId) -> rusqlite::Result<Option<AccountRow>> {
    conn.prepare_cached("SELECT modseq, octets, messages FROM account WHERE id = ?1")?
        .query_row([id.0 as i64], |row| {
            Ok(AccountRow {
                id,
                modseq: ModSeq(number(row, 0)?),
                used_octets: number(row, 1)?,
                messages: number(row, 2)?,
            })
        })
        .optional()
}

const MAILBOX: &str =
    "SELECT id, account, name, uid_validity, uid_next, modseq, messages, octets, unseen, deleted,
     deleted_octets, special_use FROM mailbox ";

pub(crate) fn mailbox(conn: &Connection, id: MailboxId) -> rusqlite::Result<Option<MailboxRow>> {
    conn.prepare_cached(&format!("{MAILBOX} WHERE id = ?1"))?.query_row([id.0 as i64], mailbox_row).optional()
}

pub(crate) fn mailbox_named(
    conn: &Connection,
    account: AccountId,
    name: &str,
) -> rusqlite::Result<Option<MailboxRow>> {
    conn.prepare_cached(&format!("{MAILBOX} WHERE account = ?1 AND name = ?2"))?
        .query_row(params![account.0 as i64, name], mailbox_row)
        .optional()
}

pub(crate) fn mailboxes(conn: &Connection, account: AccountId) -> rusqlite::Result<Vec<MailboxRow>> {
    conn.prepare_cached(&format!("{MAILBOX} WHERE account = ?1 ORDER BY name"))?
        .query_map([account.0 as i64], mailbox_row)?
        .collect()
}

pub(crate) fn messages(
    conn: &Connection,
    mailbox: MailboxId,
    after: Option<Uid>,
    limit: usize,
) -> rusqlite::Result<Vec<MessageRow>> {
    conn.prepare_cached(
        "SELECT uid, modseq, flags, size, received_at, saved_at, side, body FROM message
         WHERE mailbox = ?1 AND uid > ?2 ORDER BY uid LIMIT ?3",
    )?
    .query_map(params![mailbox.0 as i64, after.map_or(0, |uid| uid.0), limit as i64], |row| {
        message_row(mailbox, row)
    })?
    .collect()
}

pub(crate) fn message(
    conn: &Connection,
    mailbox: MailboxId,
    uid: Uid,
) -> rusqlite::Result<Option<MessageRow>> {
    conn.prepare_cached(
        "SELECT uid, modseq, flags, size, received_at, saved_at, side, body FROM message WHERE mailbox = ?1 AND uid = ?2",
    )?
    .query_row(params![mailbox.0 as i64, uid.0], |row| message_row(mailbox, row))
    .optional()
}

pub(crate) fn entries(
    conn: &Connection,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<Entry>> {
    // Keys compare as octets, and no key has U+10FFFF behind the prefix.
    let end = format!("{prefix}\u{10ffff}");
    let map = |row: &Row<'_>| Ok(Entry { key: row.get(0)?, version: number(row, 1)?, value: row.get(2)? });
    match after {
        Some(after) if after >= prefix => conn
            .prepare_cached(
                "SELECT key, version, value FROM kv WHERE key > ?1 AND key < ?2 ORDER BY key LIMIT ?3",
            )?
            .query_map(params![after, end, limit as i64], map)?
            .collect(),
        _ => conn
            .prepare_cached(
                "SELECT key, version, value FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3",
            )?
            .query_map(params![prefix, end, limit as i64], map)?
            .collect(),
    }
}

/// The first five columns of a query for a body's place.
pub(crate) fn place_row(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place {
        segment: number(row, 0)?,
        offset: number(row, 1)?,
        octets: number(row, 2)?,
        crc: row.get(3)?,
        file: row.get(4)?,
    })
}
