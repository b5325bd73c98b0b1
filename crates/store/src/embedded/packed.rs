//! A mailbox's list, packed: all rows as they were at some modification sequence, in one blob that is read many times
//! faster than they are. Who asks what changed since ([`crate::Store::changes`]) has the list as it is.
//!
//! It is a cache in the database, not in the log: it is committed, backed up and lost together with the rows it was made
//! of, and a database made again has none.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::readers::{self, message_row};
use super::writer::{Fail, Request, Writer};
use super::{Embedded, Shared};
use crate::{Flags, MailboxId, MessageRow, ModSeq, ReadError, Uid};

/// What version 3 of the tables adds.
pub(crate) const TABLES: &str = "
CREATE TABLE packed (
    mailbox INTEGER PRIMARY KEY,
    modseq INTEGER NOT NULL,
    uid_next INTEGER NOT NULL,
    rows BLOB NOT NULL
);
";

/// Mailboxes of fewer messages are read as fast without.
const LEAST: u64 = 1_000;
/// Mailboxes of more are not packed: the writer would be held up by it.
const MOST: u64 = 1_000_000;
/// A list is packed anew when this part of it is.
const PART: u64 = 8;

/// Rows that are packed together.
const CHUNK: usize = 512;
const COLUMNS: usize = 8;
/// Before the values of a column: the least of them, and in how many octets is held what the others have more.
const HEAD: usize = 8 + 1;
/// Behind a chunk, so that the last value can be read as eight octets.
const PAD: usize = 8;
/// First octet of every packed list.
const VERSION: u8 = 1;

fn columns(row: &MessageRow) -> [i64; COLUMNS] {
    [
        i64::from(row.uid.0),
        row.modseq.0 as i64,
        row.flags.0 as i64,
        row.size as i64,
        row.received_at,
        row.saved_at,
        // Numbers of `side` begin at 1.
        row.side.unwrap_or(0) as i64,
        row.body as i64,
    ]
}

/// Packs rows as they come.
#[derive(Debug)]
struct Packer {
    octets: Vec<u8>,
    chunk: Vec<[i64; COLUMNS]>,
}

impl Packer {
    fn new() -> Packer {
        Packer { octets: vec![VERSION], chunk: Vec::with_capacity(CHUNK) }
    }

    fn push(&mut self, row: &MessageRow) {
        self.chunk.push(columns(row));
        if self.chunk.len() == CHUNK {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.chunk.is_empty() {
            return;
        }
        self.octets.extend_from_slice(&(self.chunk.len() as u16).to_le_bytes());
        for column in 0..COLUMNS {
            let values = || self.chunk.iter().filter_map(|row| row.get(column).copied());
            let least = values().min().unwrap_or(0);
            let most = values().max().unwrap_or(0).wrapping_sub(least) as u64;
            let width = (u64::BITS - most.leading_zeros()).div_ceil(8) as usize;
            self.octets.extend_from_slice(&least.to_le_bytes());
            self.octets.push(width as u8);
            for value in values() {
                let more = (value.wrapping_sub(least) as u64).to_le_bytes();
                self.octets.extend_from_slice(more.get(..width).unwrap_or_default());
            }
        }
        self.octets.extend_from_slice(&[0; PAD]);
        self.chunk.clear();
    }

    fn finish(mut self) -> Vec<u8> {
        self.close();
        self.octets
    }
}

/// A mailbox's list as it was.
#[derive(Debug)]
pub struct Packed {
    mailbox: MailboxId,
    upto: ModSeq,
    octets: Vec<u8>,
}

impl Packed {
    /// All changes of the mailbox up to here are in it, and none later.
    pub fn upto(&self) -> ModSeq {
        self.upto
    }

    /// Hands out the rows by UID, some thousand at a time. Tells whether it could: otherwise what was handed out is good
    /// for nothing.
    #[must_use]
    pub fn each(&self, mut take: impl FnMut(&[MessageRow])) -> bool {
        const PAGE: usize = 8 * CHUNK;
        let Some((&VERSION, mut rest)) = self.octets.split_first() else { return false };
        let mut page = Vec::with_capacity(PAGE);
        while !rest.is_empty() {
            match self.chunk(rest, &mut page) {
                Some(behind) => rest = behind,
                None => return false,
            }
            if page.len() >= PAGE || rest.is_empty() {
                take(&page);
                page.clear();
            }
        }
        true
    }

    /// Appends the rows of the first chunk; tells what is behind it.
    fn chunk<'a>(&self, octets: &'a [u8], page: &mut Vec<MessageRow>) -> Option<&'a [u8]> {
        let (count, mut rest) = octets.split_first_chunk::<2>()?;
        let count = usize::from(u16::from_le_bytes(*count));
        if count == 0 || count > CHUNK {
            return None;
        }
        let mut columns = [[0i64; CHUNK]; COLUMNS];
        for column in &mut columns {
            let (head, values) = rest.split_at_checked(HEAD)?;
            let (least, width) = head.split_first_chunk::<8>()?;
            let (least, width) = (i64::from_le_bytes(*least), usize::from(*width.first()?));
            if width > 8 {
                return None;
            }
            let len = count * width;
            if values.len() < len + PAD {
                return None;
            }
            let mask = u64::MAX.checked_shr(64 - 8 * width as u32).unwrap_or(0);
            for (at, value) in column.iter_mut().take(count).enumerate() {
                let more = values.get(at * width..)?.first_chunk::<8>()?;
                *value = least.wrapping_add((u64::from_le_bytes(*more) & mask) as i64);
            }
            rest = values.get(len..)?;
        }
        let [uid, modseq, flags, size, received_at, saved_at, side, body] = &columns;
        let rows = uid.iter().zip(modseq).zip(flags.iter().zip(size));
        let rows = rows.zip(received_at.iter().zip(saved_at)).zip(side.iter().zip(body)).take(count);
        for ((((uid, modseq), (flags, size)), (received_at, saved_at)), (side, body)) in rows {
            page.push(MessageRow {
                mailbox: self.mailbox,
                uid: Uid(u32::try_from(*uid).ok()?),
                modseq: ModSeq(*modseq as u64),
                flags: Flags(*flags as u64),
                size: *size as u64,
                received_at: *received_at,
                saved_at: *saved_at,
                side: (*side != 0).then_some(*side as u64),
                body: u128::from(*body as u64),
            });
        }
        rest.get(PAD..)
    }
}

/// All rows of a mailbox at one moment, packed, with its modification sequence and next UID.
fn pack(conn: &Connection, mailbox: MailboxId) -> rusqlite::Result<Option<(i64, u32, Vec<u8>)>> {
    // The first look at the database decides what the later ones see.
    let Some(state) = readers::mailbox(conn, mailbox)? else { return Ok(None) };
    let mut select = conn.prepare_cached(
        "SELECT uid, modseq, flags, size, received_at, saved_at, side, body FROM message
         WHERE mailbox = ?1 ORDER BY uid",
    )?;
    let mut rows = select.query([mailbox.0 as i64])?;
    let mut packer = Packer::new();
    while let Some(row) = rows.next()? {
        packer.push(&message_row(mailbox, row)?);
    }
    Ok(Some((state.highest_modseq.0 as i64, state.uid_next.0, packer.finish())))
}

/// Whether so many messages are worth packing, when so many of them are not packed.
fn is_worth(messages: u64, others: u64) -> bool {
    (LEAST..=MOST).contains(&messages) && others >= LEAST.max(messages / PART)
}

impl Shared {
    pub(crate) async fn packed(self: &Arc<Self>, mailbox: MailboxId) -> Result<Option<Packed>, ReadError> {
        let found = self.long(move |conn| {
            conn.prepare_cached("SELECT modseq, rows FROM packed WHERE mailbox = ?1")?
                .query_row([mailbox.0 as i64], |row| Ok((readers::number(row, 0)?, row.get(1)?)))
                .optional()
        });
        Ok(found.await?.map(|(upto, octets)| Packed { mailbox, upto: ModSeq(upto), octets }))
    }
}

impl Embedded {
    pub(crate) async fn pack(&self, mailbox: MailboxId, others: Option<u64>) -> Result<(), ReadError> {
        let worth = self.query(|conn| {
            let Some(row) = readers::mailbox(conn, mailbox)? else { return Ok(false) };
            let others = match others {
                Some(others) => others,
                None => {
                    let packed: Option<i64> = conn
                        .prepare_cached("SELECT uid_next FROM packed WHERE mailbox = ?1")?
                        .query_row([mailbox.0 as i64], |row| row.get(0))
                        .optional()?;
                    u64::from(row.uid_next.0).saturating_sub(packed.unwrap_or(0) as u64)
                }
            };
            Ok(is_worth(u64::from(row.messages), others))
        })?;
        if !worth {
            return Ok(());
        }
        let Some((modseq, uid_next, rows)) = self.shared.long(move |conn| pack(conn, mailbox)).await? else {
            return Ok(());
        };
        let Some(requests) = &self.requests else { return Ok(()) };
        let job = Request::Job(Box::new(move |writer| writer.keep_packed(mailbox, modseq, uid_next, &rows)));
        // A store that is closing does without.
        let _ = requests.send(job).await;
        Ok(())
    }
}

impl Writer {
    /// What it fails for will stop whoever needs it: nobody needs this.
    fn keep_packed(&mut self, mailbox: MailboxId, modseq: i64, uid_next: u32, rows: &[u8]) {
        if self.shared.failure().is_some() || self.shared.disk_is_full(rows.len() as u64) {
            return;
        }
        let kept = self.begin().and_then(|()| {
            self.tables
                .conn
                .prepare_cached(
                    "INSERT OR REPLACE INTO packed SELECT id, ?2, ?3, ?4 FROM mailbox WHERE id = ?1",
                )?
                .execute(params![mailbox.0 as i64, modseq, uid_next, rows])?;
            self.seal()
        });
        match kept {
            Ok(()) => {}
            Err(Fail::Full) => {
                if let Err(error) = self.tables.rollback_group() {
                    self.shared.fail(&format!("database: {error}"));
                }
            }
            Err(Fail::Broken(reason)) => self.shared.fail(&reason),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn packed(rows: &[MessageRow]) -> Packed {
        let mut packer = Packer::new();
        rows.iter().for_each(|row| packer.push(row));
        Packed { mailbox: MailboxId(7), upto: ModSeq(1), octets: packer.finish() }
    }

    fn read(packed: &Packed) -> Option<Vec<MessageRow>> {
        let mut rows = Vec::new();
        packed.each(|page| rows.extend_from_slice(page)).then_some(rows)
    }

    prop_compose! {
        fn row()(
            uid: u32, modseq: u64, flags: u64, size in 0u64..1 << 40, received_at: i64, saved_at: i64,
            side in proptest::option::of(1u64..), body: u64
        ) -> MessageRow {
            MessageRow {
                mailbox: MailboxId(7), uid: Uid(uid), modseq: ModSeq(modseq), flags: Flags(flags), size, received_at,
                saved_at, side, body: body.into(),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out(rows in proptest::collection::vec(row(), 0..40)) {
            prop_assert_eq!(read(&packed(&rows)), Some(rows));
        }

        #[test]
        fn what_is_cut_or_changed_does_no_harm(
            rows in proptest::collection::vec(row(), 1..20), cut in 1usize..80, at: proptest::sample::Index, to: u8
        ) {
            let mut packed = packed(&rows);
            packed.octets.truncate(packed.octets.len() - cut);
            prop_assert_eq!(read(&packed), None);
            let mut packed = self::packed(&rows);
            let at = at.index(packed.octets.len());
            packed.octets[at] = to;
            read(&packed);
        }
    }

    #[test]
    fn a_long_list_takes_little_room() {
        let row = |n: u32| MessageRow {
            mailbox: MailboxId(7),
            uid: Uid(n),
            modseq: ModSeq(n.into()),
            flags: Flags(u64::from(n % 3)),
            size: 4_000 + u64::from(n % 100),
            received_at: 1_700_000_000_000_000 + i64::from(n) * 500,
            saved_at: 1_700_000_000_000_000 + i64::from(n) * 500,
            side: Some(n.into()),
            body: 1_700_000_000_000_000 + u128::from(n) * 500,
        };
        for count in [CHUNK as u32, CHUNK as u32 + 1, 20_000] {
            let rows: Vec<MessageRow> = (1..=count).map(row).collect();
            let packed = packed(&rows);
            assert!(packed.octets.len() < rows.len() * 20 + 1_000, "{}", packed.octets.len());
            assert_eq!(read(&packed).unwrap(), rows);
        }
    }
}
