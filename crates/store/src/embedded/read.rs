//! Reading: rows by short queries, bodies straight from segments and files.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::Shared;
use super::readers::{self, place_row};
use super::tables::Place;
use crate::{AccountId, Entry, MailboxId, MailboxRow, MessageRow, ReadError, Uid};

/// Up to so many rows are read where the caller stands; a longer listing goes to another thread.
pub(super) const SHORT: usize = 256;
/// No listing is longer.
pub(super) const PAGE_MAX: usize = 100_000;
/// A body up to this size is read whole and checked before any of it is handed out.
const WHOLE: u64 = 64 << 10;
/// Bodies in a segment that lie at most so far apart are read ahead in one piece.
const BETWEEN: u64 = 16 << 10;

impl Shared {
    pub(crate) fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        let (known, generation) = self.cache.get(key);
        if let Some(entry) = known {
            return Ok(entry);
        }
        let entry = self.readers.with(|conn| readers::entry(conn, key))?;
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
        self.long(move |conn| readers::entries(conn, &prefix, after.as_deref(), limit.min(PAGE_MAX))).await
    }

    pub(crate) async fn mailboxes(
        self: &Arc<Self>,
        account: AccountId,
    ) -> Result<Vec<MailboxRow>, ReadError> {
        self.long(move |conn| readers::mailboxes(conn, account)).await
    }

    pub(crate) async fn messages(
        self: &Arc<Self>,
        mailbox: MailboxId,
        after: Option<Uid>,
        limit: usize,
    ) -> Result<Vec<MessageRow>, ReadError> {
        let limit = limit.min(PAGE_MAX);
        if limit <= SHORT {
            return Ok(self.readers.with(|conn| readers::messages(conn, mailbox, after, limit))?);
        }
        self.long(move |conn| readers::messages(conn, mailbox, after, limit)).await
    }

    pub(crate) fn message(&self, mailbox: MailboxId, uid: Uid) -> Result<Option<MessageRow>, ReadError> {
        Ok(self.readers.with(|conn| readers::message(conn, mailbox, uid))?)
    }

    pub(crate) fn card(&self, side: Option<u64>) -> Result<Bytes, ReadError> {
        let Some(side) = side else { return Ok(Bytes::new()) };
        let found = self.readers.with(|conn| {
            conn.prepare_cached("SELECT card FROM side WHERE id = ?1")?
                .query_row([side as i64], |row| Ok(Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?)))
                .optional()
        })?;
        found.ok_or(ReadError::Gone)
    }

    pub(crate) fn open_message(self: &Arc<Self>, row: &MessageRow) -> Result<MessageReader, ReadError> {
        let Wanted { body, side, size } = Wanted::of(row)?;
        self.open(body, side, size)
    }

    pub(crate) fn open_body(self: &Arc<Self>, body: u128) -> Result<MessageReader, ReadError> {
        self.open(u64::try_from(body).map_err(|_| ReadError::Gone)?, None, None)
    }

    pub(super) fn open(
        self: &Arc<Self>,
        body: u64,
        side: Option<u64>,
        size: Option<u64>,
    ) -> Result<MessageReader, ReadError> {
        let wanted = Wanted { body, side, size };
        let found = self.readers.with(|conn| locate(&mut place(conn)?, &wanted))?;
        self.open_at(&found.ok_or(ReadError::Gone)?, &wanted)
    }

    pub(crate) fn locate_messages(&self, rows: &[MessageRow]) -> Result<Vec<Located>, ReadError> {
        let located = self.readers.with(|conn| {
            let mut place = place(conn)?;
            let locate_row = |row: &MessageRow| {
                let found = Wanted::of(row).map(|wanted| locate(&mut place, &wanted));
                let found = found.unwrap_or(Ok(None))?;
                Ok(Located { row: row.clone(), found })
            };
            rows.iter().map(locate_row).collect::<Result<Vec<_>, ReadError>>()
        })?;
        self.have_ready(&located);
        Ok(located)
    }

    /// Asks the system to have small bodies in memory soon: those that lie one behind the other come in one piece, not each
    /// when its turn comes and somebody waits for it.
    fn have_ready(&self, located: &[Located]) {
        let places = located.iter().filter_map(|located| Some(&located.found.as_ref()?.place));
        let mut piece: Option<(u64, Range<u64>)> = None;
        for place in places.filter(|place| place.file.is_none() && place.octets <= WHOLE) {
            let (segment, end) = (place.segment, place.offset.saturating_add(place.octets));
            match &mut piece {
                Some((same, octets))
                    if *same == segment
                        && (octets.end..=octets.end.saturating_add(BETWEEN)).contains(&place.offset) =>
                {
                    octets.end = end;
                }
                _ => {
                    if let Some(piece) = piece.replace((segment, place.offset..end)) {
                        self.will_need(piece);
                    }
                }
            }
        }
        if let Some(piece) = piece {
            self.will_need(piece);
        }
    }

    /// That it does not do so is no harm.
    fn will_need(&self, (segment, octets): (u64, Range<u64>)) {
        if let Ok(file) = self.segments.get(segment) {
            let len = NonZeroU64::new(octets.end - octets.start);
            let _ = fadvise(&*file, octets.start, len, Advice::WillNeed);
        }
    }

    pub(crate) fn open_located(self: &Arc<Self>, located: &Located) -> Result<MessageReader, ReadError> {
        let found = located.found.as_ref().ok_or(ReadError::Gone)?;
        self.open_at(found, &Wanted::of(&located.row)?)
    }

    fn open_at(&self, found: &PlaceOf, wanted: &Wanted) -> Result<MessageReader, ReadError> {
        match self.reader(found, wanted) {
            // Compaction moved it since it was looked up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let found = self.readers.with(|conn| locate(&mut place(conn)?, wanted))?;
                self.reader(&found.ok_or(ReadError::Gone)?, wanted)
            }
            result => result,
        }
        .map_err(|error| ReadError::Damaged { body: wanted.body.into(), what: error.to_string() })
    }

    fn reader(&self, found: &PlaceOf, wanted: &Wanted) -> io::Result<MessageReader> {
        let (file, base) = self.file(&found.place)?;
        let (octets, crc) = (found.place.octets, found.place.crc);
        let (body, prefix) = (wanted.body, found.prefix.clone());
        let running = Mutex::new(Running { at: 0, crc: 0 });
        Ok(MessageReader { body, prefix, file, base, octets, crc, running })
    }

    pub(crate) fn file(&self, place: &Place) -> io::Result<(Arc<File>, u64)> {
        match &place.file {
            None => Ok((self.segments.get(place.segment)?, place.offset)),
            Some(name) => Ok((Arc::new(File::open(self.bodies().join(name))?), 0)),
        }
    }
}

/// What is to be opened.
struct Wanted {
    body: u64,
    side: Option<u64>,
    /// As it was listed.
    size: Option<u64>,
}

impl Wanted {
    fn of(row: &MessageRow) -> Result<Wanted, ReadError> {
        let body = u64::try_from(row.body).map_err(|_| ReadError::Gone)?;
        Ok(Wanted { body, side: row.side, size: Some(row.size) })
    }
}

/// Where a message lies, and what stands before it.
#[derive(Debug, Clone)]
struct PlaceOf {
    place: Place,
    prefix: Bytes,
}

/// Looks up a body, and what stands before it.
fn place(conn: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    conn.prepare_cached(
        "SELECT body.segment, body.place, body.octets, body.crc, body.file, side.prefix
         FROM body LEFT JOIN side ON side.id = ?2 WHERE body.id = ?1",
    )
}

/// `None`: it is gone, or is not what was listed.
fn locate(place: &mut CachedStatement<'_>, wanted: &Wanted) -> rusqlite::Result<Option<PlaceOf>> {
    let found = place
        .query_row(params![wanted.body as i64, wanted.side.map(|side| side as i64)], |row| {
            let prefix = row.get_ref(5)?.as_blob_or_null()?.map(Bytes::copy_from_slice);
            Ok((place_row(row)?, prefix))
        })
        .optional()?;
    Ok(found.and_then(|(place, prefix)| {
        if wanted.side.is_some() && prefix.is_none() {
            return None;
        }
        let prefix = prefix.unwrap_or_default();
        // Otherwise a row that another store listed, or one made up.
        let right = wanted.size.is_none_or(|size| size == prefix.len() as u64 + place.octets);
        right.then_some(PlaceOf { place, prefix })
    }))
}

/// A message that was looked up, to be opened with [`crate::Store::open_located`]. It holds no file.
#[derive(Debug, Clone)]
pub struct Located {
    row: MessageRow,
    found: Option<PlaceOf>,
}

impl Located {
    /// As it was listed.
    pub fn row(&self) -> &MessageRow {
        &self.row
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

    /// All of a message that is not larger than `max`, if that needs no waiting; otherwise the system is asked to have it
    /// ready soon. For who will probably ask for it next.
    pub fn read_ahead(&self, max: usize) -> Option<Bytes> {
        let len = usize::try_from(self.len()).ok().filter(|len| *len <= max && self.octets <= WHOLE);
        let Some(len) = len else {
            let most = NonZeroU64::new(self.octets.min(max as u64));
            // That it does not do so is no harm.
            let _ = fadvise(&*self.file, self.base, most, Advice::WillNeed);
            return None;
        };
        let mut buffer = BytesMut::zeroed(len);
        let (head, body) = buffer.split_at_mut(self.prefix.len().min(len));
        head.copy_from_slice(&self.prefix);
        match self.read_now(body, 0) {
            Ok(done) if done == body.len() && crc32c::crc32c(body) == self.crc => Some(buffer.freeze()),
            Ok(done) if done < body.len() => {
                let rest = NonZeroU64::new((body.len() - done) as u64);
                let _ = fadvise(&*self.file, self.base + done as u64, rest, Advice::WillNeed);
                None
            }
            // Who reads it is told what is wrong.
            _ => None,
        }
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
