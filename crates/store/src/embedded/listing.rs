//! Long listings: messages with their cards, and what changed.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Shared;
use super::journal::Journal;
use super::keywords::Keywords;
use super::read::{PAGE_MAX, SHORT};
use super::readers::{self, message_row, number};
use super::runs::{Beside, NEAR_JOINED, spans};
use crate::{Carded, Changes, MailboxId, MessageRow, ModSeq, ReadError, Uid};

/// A page of cards ends behind this many octets.
const PAGE_OCTETS: usize = 32 << 20;

impl Shared {
    pub(crate) fn keywords(&self, mailbox: MailboxId) -> Result<Keywords, ReadError> {
        let (known, generation) = self.keywords.get(mailbox.0);
        if let Some(names) = known {
            return Ok(names);
        }
        let names: Keywords = self.readers.with(|conn| readers::keywords(conn, mailbox))?.into();
        self.keywords.insert(mailbox.0, &names, generation);
        Ok(names)
    }

    pub(crate) async fn changes(
        self: &Arc<Self>,
        mailbox: MailboxId,
        since: ModSeq,
    ) -> Result<Changes, ReadError> {
        let few = self.journal.since(mailbox.0, since.0).is_some_and(|runs| {
            runs.iter().map(|(first, last)| (last - first) as usize + 1).sum::<usize>() <= SHORT
        });
        let none = || self.readers.with(|conn| Ok::<_, ReadError>(modseq(conn, mailbox)? <= Some(since.0)));
        let found = if few || none()? {
            self.readers.with(|conn| changes(conn, &self.journal, mailbox, since))?
        } else {
            let journal = self.journal.clone();
            self.long(move |conn| changes(conn, &journal, mailbox, since)).await?
        };
        found.ok_or(ReadError::Gone)
    }

    pub(crate) async fn cards(
        self: &Arc<Self>,
        mailbox: MailboxId,
        after: Option<Uid>,
        limit: usize,
        with_prefix: bool,
    ) -> Result<Vec<Carded>, ReadError> {
        let limit = limit.min(PAGE_MAX);
        let first = after.map_or(0, |uid| uid.0.saturating_add(1));
        let read = move |conn: &Connection| {
            let mut page = Page::new(mailbox, limit, with_prefix);
            page.read(conn, first, u32::MAX, |_| true)?;
            Ok(page.cards)
        };
        if limit <= SHORT { Ok(self.readers.with(read)?) } else { self.long(read).await }
    }

    pub(crate) async fn cards_of(
        self: &Arc<Self>,
        mailbox: MailboxId,
        uids: &[Uid],
        with_prefix: bool,
    ) -> Result<Vec<Carded>, ReadError> {
        let wanted = super::runs::sorted(uids);
        let few = wanted.len() <= SHORT;
        let read = move |conn: &Connection| {
            let mut page = Page::new(mailbox, wanted.len().min(PAGE_MAX), with_prefix);
            for span in spans(&wanted, NEAR_JOINED) {
                let (Some(first), Some(last)) = (span.first(), span.last()) else { continue };
                let mut beside = Beside::new(span);
                if !page.read(conn, *first, *last, |uid| beside.wants(uid))? {
                    break;
                }
            }
            Ok(page.cards)
        };
        if few { Ok(self.readers.with(read)?) } else { self.long(read).await }
    }
}

impl Shared {
    pub(crate) async fn bare_cards(
        self: &Arc<Self>,
        mailbox: MailboxId,
        uids: &[Uid],
    ) -> Result<Vec<(Uid, Bytes)>, ReadError> {
        let wanted = super::runs::sorted(uids);
        let few = wanted.len() <= SHORT;
        let read = move |conn: &Connection| bare_cards(conn, mailbox, &wanted);
        if few { Ok(self.readers.with(read)?) } else { self.long(read).await }
    }
}

fn bare_cards(conn: &Connection, mailbox: MailboxId, wanted: &[u32]) -> rusqlite::Result<Vec<(Uid, Bytes)>> {
    let mut memory = Memory::new(wanted.len());
    let mut cards = Vec::with_capacity(wanted.len().min(PAGE_MAX));
    let mut octets = 0;
    let mut select = conn.prepare_cached(BARE_CARDS)?;
    for span in spans(wanted, NEAR_JOINED) {
        let (Some(first), Some(last)) = (span.first(), span.last()) else { continue };
        let mut beside = Beside::new(span);
        let mut rows = select.query(params![mailbox.0 as i64, first, last])?;
        while let Some(row) = rows.next()? {
            if cards.len() >= PAGE_MAX || octets >= PAGE_OCTETS {
                return Ok(cards);
            }
            let uid = row.get(0)?;
            if beside.wants(uid) {
                let card = memory.blob(row, 1)?;
                octets += card.len();
                cards.push((Uid(uid), card));
            }
        }
    }
    Ok(cards)
}

/// Cards and prefixes are cut from pieces of memory of this size, not allocated one by one. A small one that outlives
/// its neighbours keeps no more than this.
const PIECE: usize = 64 << 10;

/// Cards as they are read.
struct Page {
    mailbox: MailboxId,
    limit: usize,
    with_prefix: bool,
    octets: usize,
    memory: Memory,
    cards: Vec<Carded>,
}

/// Where cards and prefixes of a listing lie.
struct Memory {
    /// So many messages are listed at most.
    limit: usize,
    piece: BytesMut,
}

impl Page {
    fn new(mailbox: MailboxId, limit: usize, with_prefix: bool) -> Page {
        Page { mailbox, limit, with_prefix, octets: 0, memory: Memory::new(limit), cards: Vec::new() }
    }

    /// Reads those that are wanted of a range; tells whether there is room for more.
    fn read(
        &mut self,
        conn: &Connection,
        first: u32,
        last: u32,
        mut wants: impl FnMut(u32) -> bool,
    ) -> rusqlite::Result<bool> {
        // Side rows ascend with messages: the walk through both is in the order in which they lie.
        let mut select = conn.prepare_cached(if self.with_prefix { CARDS_AND_PREFIXES } else { CARDS })?;
        let mut rows = select.query(params![self.mailbox.0 as i64, first, last])?;
        loop {
            if self.cards.len() >= self.limit || self.octets >= PAGE_OCTETS {
                return Ok(false);
            }
            let Some(row) = rows.next()? else { return Ok(true) };
            if !wants(row.get(0)?) {
                continue;
            }
            let card = self.memory.blob(row, 8)?;
            let prefix = if self.with_prefix { self.memory.blob(row, 9)? } else { Bytes::new() };
            self.octets += card.len() + prefix.len();
            self.cards.push(Carded { row: message_row(self.mailbox, row)?, prefix, card });
        }
    }
}

impl Memory {
    fn new(limit: usize) -> Memory {
        Memory { limit, piece: BytesMut::new() }
    }

    fn blob(&mut self, row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
        let octets = row.get_ref(column)?.as_blob_or_null()?.unwrap_or_default();
        if octets.len() > PIECE / 8 {
            return Ok(Bytes::copy_from_slice(octets));
        }
        if self.piece.capacity() < octets.len() {
            // A listing of a few needs no whole piece.
            let few = self.limit.saturating_mul(octets.len()).max(1 << 10);
            self.piece = BytesMut::with_capacity(few.min(PIECE));
        }
        self.piece.extend_from_slice(octets);
        Ok(self.piece.split().freeze())
    }
}

const CARDS: &str = "SELECT uid, modseq, flags, size, received_at, saved_at, side, body, card
     FROM message LEFT JOIN side ON side.id = message.side
     WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid";

const BARE_CARDS: &str = "SELECT uid, card FROM message LEFT JOIN side ON side.id = message.side
     WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid";

const CARDS_AND_PREFIXES: &str =
    "SELECT uid, modseq, flags, size, received_at, saved_at, side, body, card, prefix
     FROM message LEFT JOIN side ON side.id = message.side
     WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid";

const ROW: &str = "SELECT uid, modseq, flags, size, received_at, saved_at, side, body FROM message";

fn modseq(conn: &Connection, mailbox: MailboxId) -> rusqlite::Result<Option<u64>> {
    conn.prepare_cached("SELECT modseq FROM mailbox WHERE id = ?1")?
        .query_row([mailbox.0 as i64], |row| number(row, 0))
        .optional()
}

fn changes(
    conn: &Connection,
    journal: &Journal,
    mailbox: MailboxId,
    since: ModSeq,
) -> rusqlite::Result<Option<Changes>> {
    // The first look at the database decides what the later ones see.
    let Some(upto) = modseq(conn, mailbox)? else { return Ok(None) };
    let id = mailbox.0 as i64;
    let since = i64::try_from(since.0).unwrap_or(i64::MAX);
    let mut changed: Vec<MessageRow> = Vec::new();
    match journal.since(mailbox.0, since as u64) {
        _ if upto as i64 <= since => {}
        Some(runs) => {
            let mut select = conn.prepare_cached(&format!(
                "{ROW} WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 AND modseq > ?4 ORDER BY uid"
            ))?;
            for (first, last) in runs {
                let rows =
                    select.query_map(params![id, first, last, since], |row| message_row(mailbox, row))?;
                for row in rows {
                    changed.push(row?);
                }
            }
        }
        None => {
            let mut select =
                conn.prepare_cached(&format!("{ROW} WHERE mailbox = ?1 AND modseq > ?2 ORDER BY uid"))?;
            changed = select
                .query_map(params![id, since], |row| message_row(mailbox, row))?
                .collect::<rusqlite::Result<_>>()?;
        }
    }
    let mut vanished: Vec<(u32, u32)> = Vec::new();
    let mut complete = true;
    {
        let mut select =
            conn.prepare_cached("SELECT first, last FROM vanished WHERE mailbox = ?1 AND modseq > ?2")?;
        let mut rows = select.query([id, since])?;
        while let Some(row) = rows.next()? {
            match (row.get(0)?, row.get(1)?) {
                // How far back anything is known.
                (0, _) => complete = false,
                range => vanished.push(range),
            }
        }
    }
    let vanished = super::journal::merged(vanished).into_iter().map(|(a, b)| (Uid(a), Uid(b))).collect();
    let keywords = readers::keywords(conn, mailbox)?;
    Ok(Some(Changes { upto: ModSeq(upto), changed, vanished, complete, keywords }))
}
