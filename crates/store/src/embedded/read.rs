//! Reading: rows by short queries on connections of their own, bodies straight from segments and files.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, params};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::tables::Place;
use super::{Shared, schema};
use crate::{
    AccountId, AccountRow, Entry, Flags, MailboxId, MailboxRow, MessageRow, ModSeq, ReadError, Uid,
    UidValidity,
};

/// So many connections are kept when nobody uses them.
const KEPT: usize = 8;
/// Up to so many rows are read where the caller stands; a longer listing goes to another thread.
const SHORT: usize = 256;
/// No listing is longer.
const PAGE_MAX: usize = 100_000;
/// A body up to this size is read whole and checked before any of it is handed out.
const WHOLE: u64 = 64 << 10;

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

fn number(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(at)? as u64)
}

fn message_row(mailbox: MailboxId, row: &Row<'_>) -> rusqlite::Result<MessageRow> {
    Ok(MessageRow {
        mailbox,
        uid: Uid(row.get(0)?),
        modseq: ModSeq(number(row, 1)?),
        flags: Flags(row.get(2)?),
        size: number(row, 3)?,
        received_at: row.get(4)?,
        side: row.get::<_, Option<i64>>(5)?.map(|side| side as u64),
        body: u128::from(number(row, 6)?),
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
    })
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
    "SELECT id, account, name, uid_validity, uid_next, modseq, messages, octets FROM mailbox ";

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

fn mailboxes(conn: &Connection, account: AccountId) -> rusqlite::Result<Vec<MailboxRow>> {
    conn.prepare_cached(&format!("{MAILBOX} WHERE account = ?1 ORDER BY name"))?
        .query_map([account.0 as i64], mailbox_row)?
        .collect()
}

fn messages(
    conn: &Connection,
    mailbox: MailboxId,
    after: Option<Uid>,
    limit: usize,
) -> rusqlite::Result<Vec<MessageRow>> {
    conn.prepare_cached(
        "SELECT uid, modseq, flags, size, received_at, side, body FROM message
         WHERE mailbox = ?1 AND uid > ?2 ORDER BY uid LIMIT ?3",
    )?
    .query_map(params![mailbox.0 as i64, after.map_or(0, |uid| uid.0), limit as i64], |row| {
        message_row(mailbox, row)
    })?
    .collect()
}

fn message(conn: &Connection, mailbox: MailboxId, uid: Uid) -> rusqlite::Result<Option<MessageRow>> {
    conn.prepare_cached(
        "SELECT uid, modseq, flags, size, received_at, side, body FROM message WHERE mailbox = ?1 AND uid = ?2",
    )?
    .query_row(params![mailbox.0 as i64, uid.0], |row| message_row(mailbox, row))
    .optional()
}

fn entries(
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

impl Shared {
    pub(crate) fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        let (known, generation) = self.cache.get(key);
        if let Some(entry) = known {
            return Ok(entry);
        }
        let entry = self.readers.with(|conn| entry(conn, key))?;
        self.cache.insert(key, &entry, generation);
        Ok(entry)
    }

    /// A query that may be long: on another thread, so many at a time.
    pub(crate) async fn long<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, ReadError> {
        let shared = self.clone();
        let permit = self.readers.long.clone().acquire_owned().await;
        let result = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            shared.readers.with(query)
        });
        Ok(result.await.map_err(|error| ReadError::Failed(error.to_string()))??)
    }

    pub(crate) async fn scan(
        self: &Arc<Self>,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.long(move |conn| entries(conn, &prefix, after.as_deref(), limit.min(PAGE_MAX))).await
    }

    pub(crate) async fn mailboxes(
        self: &Arc<Self>,
        account: AccountId,
    ) -> Result<Vec<MailboxRow>, ReadError> {
        self.long(move |conn| mailboxes(conn, account)).await
    }

    pub(crate) async fn messages(
        self: &Arc<Self>,
        mailbox: MailboxId,
        after: Option<Uid>,
        limit: usize,
    ) -> Result<Vec<MessageRow>, ReadError> {
        let limit = limit.min(PAGE_MAX);
        if limit <= SHORT {
            return Ok(self.readers.with(|conn| messages(conn, mailbox, after, limit))?);
        }
        self.long(move |conn| messages(conn, mailbox, after, limit)).await
    }

    pub(crate) fn message(&self, mailbox: MailboxId, uid: Uid) -> Result<Option<MessageRow>, ReadError> {
        Ok(self.readers.with(|conn| message(conn, mailbox, uid))?)
    }

    pub(crate) fn card(&self, row: &MessageRow) -> Result<Bytes, ReadError> {
        let Some(side) = row.side else { return Ok(Bytes::new()) };
        let found = self.readers.with(|conn| {
            conn.prepare_cached("SELECT card FROM side WHERE id = ?1")?
                .query_row([side as i64], |row| Ok(Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?)))
                .optional()
        })?;
        found.ok_or(ReadError::Gone)
    }

    pub(crate) fn open_message(self: &Arc<Self>, row: &MessageRow) -> Result<MessageReader, ReadError> {
        let body = u64::try_from(row.body).map_err(|_| ReadError::Gone)?;
        self.open(body, row.side, Some(row.size))
    }

    pub(crate) fn open_body(self: &Arc<Self>, body: u128) -> Result<MessageReader, ReadError> {
        self.open(u64::try_from(body).map_err(|_| ReadError::Gone)?, None, None)
    }

    fn open(
        self: &Arc<Self>,
        body: u64,
        side: Option<u64>,
        size: Option<u64>,
    ) -> Result<MessageReader, ReadError> {
        let mut again = false;
        loop {
            let found = self.readers.with(|conn| {
                conn.prepare_cached(
                    "SELECT body.segment, body.place, body.octets, body.crc, body.file, side.prefix
                     FROM body LEFT JOIN side ON side.id = ?2 WHERE body.id = ?1",
                )?
                .query_row(params![body as i64, side.map(|side| side as i64)], |row| {
                    let prefix = row.get_ref(5)?.as_blob_or_null()?.map(Bytes::copy_from_slice);
                    Ok((place_row(row)?, prefix))
                })
                .optional()
            })?;
            let Some((place, prefix)) = found else { return Err(ReadError::Gone) };
            if side.is_some() && prefix.is_none() {
                return Err(ReadError::Gone);
            }
            let prefix = prefix.unwrap_or_default();
            if size.is_some_and(|size| size != prefix.len() as u64 + place.octets) {
                // A row that another store listed, or one made up.
                return Err(ReadError::Gone);
            }
            match self.file(&place) {
                Ok((file, base)) => {
                    let running = Mutex::new(Running { at: 0, crc: 0 });
                    let (octets, crc) = (place.octets, place.crc);
                    return Ok(MessageReader { body, prefix, file, base, octets, crc, running });
                }
                // Compaction moved it between the query and the opening.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !again => again = true,
                Err(error) => return Err(ReadError::Damaged { body: body.into(), what: error.to_string() }),
            }
        }
    }

    pub(crate) fn file(&self, place: &Place) -> io::Result<(Arc<File>, u64)> {
        match &place.file {
            None => Ok((self.segments.get(place.segment)?, place.offset)),
            Some(name) => Ok((Arc::new(File::open(self.bodies().join(name))?), 0)),
        }
    }
}

/// A message being read: prefix, then body. It stays readable even when the message is removed meanwhile.
#[derive(Debug)]
pub struct MessageReader {
    body: u64,
    prefix: Bytes,
    file: Arc<File>,
    base: u64,
    octets: u64,
    crc: u32,
    running: Mutex<Running>,
}

/// The checksum of what was read in sequence so far.
#[derive(Debug)]
struct Running {
    at: u64,
    crc: u32,
}

impl MessageReader {
    /// Octets of prefix and body.
    pub fn len(&self) -> u64 {
        self.prefix.len() as u64 + self.octets
    }

    /// What stands before the body in this mailbox.
    pub fn prefix(&self) -> Bytes {
        self.prefix.clone()
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Up to `max` octets from `offset` on; none at the end. What is in the page cache is copied at once, for the rest
    /// another thread waits for the disk. A body read from front to back is checked: a small one before any of it is
    /// handed out, a larger one at its end.
    ///
    /// # Errors
    /// When the disk fails, or what it holds does not match its checksum.
    pub async fn read(&self, offset: u64, max: usize) -> Result<Bytes, ReadError> {
        let prefix = self.prefix.len() as u64;
        let whole = self.octets <= WHOLE && offset <= prefix && self.len() - offset <= max as u64;
        if offset < prefix && !whole {
            let start = offset as usize;
            return Ok(self.prefix.slice(start..self.prefix.len().min(start.saturating_add(max))));
        }
        let from = offset.saturating_sub(prefix).min(self.octets);
        let len = usize::try_from(self.octets - from).unwrap_or(usize::MAX).min(max);
        if whole {
            let head = self.prefix.slice(offset as usize..);
            let mut buffer = BytesMut::zeroed(head.len() + len);
            let (front, back) = buffer.split_at_mut(head.len());
            front.copy_from_slice(&head);
            let done = self.read_now(back, 0)?;
            let start = head.len() + done;
            let buffer = self.read_rest(buffer, start, done as u64).await?;
            let body = buffer.get(head.len()..).unwrap_or_default();
            return if crc32c::crc32c(body) == self.crc { Ok(buffer.freeze()) } else { Err(self.damaged()) };
        }
        if self.octets <= WHOLE {
            // A slice of a small body: all of it is read, so that it can be checked.
            let mut buffer = BytesMut::zeroed(self.octets as usize);
            let done = self.read_now(&mut buffer, 0)?;
            let buffer = self.read_rest(buffer, done, done as u64).await?;
            if crc32c::crc32c(&buffer) != self.crc {
                return Err(self.damaged());
            }
            let start = from as usize;
            return Ok(buffer.freeze().slice(start..start + len));
        }
        let mut buffer = BytesMut::zeroed(len);
        let done = self.read_now(&mut buffer, from)?;
        let buffer = self.read_rest(buffer, done, from + done as u64).await?;
        let mut running = self.running.lock();
        if running.at == from {
            running.crc = crc32c::crc32c_append(running.crc, &buffer);
            running.at += len as u64;
            if running.at == self.octets && running.crc != self.crc {
                return Err(self.damaged());
            }
        }
        Ok(buffer.freeze())
    }

    fn damaged(&self) -> ReadError {
        ReadError::Damaged { body: self.body.into(), what: "its octets do not match its checksum".to_owned() }
    }

    /// Copies what needs no waiting; tells how much that was.
    fn read_now(&self, buffer: &mut [u8], from: u64) -> Result<usize, ReadError> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = self.base + from + done as u64;
            match preadv2(&*self.file, &mut [IoSliceMut::new(rest)], at, ReadWriteFlags::NOWAIT) {
                Ok(0) => return Err(self.damaged()),
                Ok(read) => done += read,
                Err(Errno::INTR) => {}
                // Not in the page cache, or a file system that cannot tell.
                Err(_) => break,
            }
        }
        Ok(done)
    }

    async fn read_rest(&self, mut buffer: BytesMut, start: usize, from: u64) -> Result<BytesMut, ReadError> {
        if start == buffer.len() {
            return Ok(buffer);
        }
        let (file, at) = (self.file.clone(), self.base + from);
        let work = move || {
            let rest = buffer.get_mut(start..).unwrap_or_default();
            file.read_exact_at(rest, at).map(|()| buffer)
        };
        let done = tokio::task::spawn_blocking(work).await;
        match done.map_err(|error| ReadError::Failed(error.to_string()))? {
            Ok(buffer) => Ok(buffer),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.damaged()),
            Err(error) => Err(error.into()),
        }
    }
}
