//! What is known of a mailbox's messages: a compact row each, in chunks that are shared until they change.

use std::sync::Arc;

use packetboat_store::{Flags, MailboxId, MessageRow, ModSeq, Uid};

use super::numbering::{CHUNK, Numbering, contains, push};

/// A message, 48 octets beside the 4 of its UID in the numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) modseq: u64,
    pub(crate) flags: u64,
    pub(crate) received_at: i64,
    /// [`NOT_HELD`] where it has none.
    side: u64,
    /// [`NOT_HELD`] where it does not fit.
    body: u64,
    /// Capped, as RFC822.SIZE is (RFC 3501 section 9, `number`).
    pub(crate) size: u32,
    /// Seconds since 1970.
    pub(crate) saved_at: u32,
}

const NOT_HELD: u64 = u64::MAX;

impl Row {
    pub(crate) fn new(row: &MessageRow) -> Row {
        Row {
            modseq: row.modseq.0,
            flags: row.flags.0,
            received_at: row.received_at,
            side: row.side.unwrap_or(NOT_HELD),
            body: u64::try_from(row.body).unwrap_or(NOT_HELD),
            size: u32::try_from(row.size).unwrap_or(u32::MAX),
            saved_at: u32::try_from(row.saved_at.div_euclid(1_000_000)).unwrap_or(0),
        }
    }

    /// The identity of its body, if it is held here.
    pub(crate) fn body(&self) -> Option<u128> {
        (self.body != NOT_HELD).then(|| u128::from(self.body))
    }

    /// The store's row, unless something of it did not fit in here.
    pub(crate) fn stored(&self, mailbox: MailboxId, uid: u32) -> Option<MessageRow> {
        (self.size != u32::MAX && self.body != NOT_HELD).then(|| MessageRow {
            mailbox,
            uid: Uid(uid),
            modseq: ModSeq(self.modseq),
            flags: Flags(self.flags),
            size: u64::from(self.size),
            received_at: self.received_at,
            saved_at: i64::from(self.saved_at) * 1_000_000,
            side: (self.side != NOT_HELD).then_some(self.side),
            body: u128::from(self.body),
        })
    }
}

/// Rows and the numbering they stand in, chunk beside chunk. A clone shares all chunks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) numbering: Arc<Numbering>,
    chunks: Vec<Arc<Chunk>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) rows: Vec<Row>,
    /// The highest of its rows, so that who looks for changes can pass it by.
    pub(crate) modseq: u64,
    /// How many are not seen.
    pub(crate) unseen: u32,
}

impl Chunk {
    fn new(rows: Vec<Row>) -> Chunk {
        let mut chunk = Chunk { rows, modseq: 0, unseen: 0 };
        chunk.count();
        chunk
    }

    fn count(&mut self) {
        self.modseq = self.rows.iter().map(|row| row.modseq).max().unwrap_or(0);
        let unseen = |row: &&Row| row.flags & Flags::SEEN.0 == 0;
        self.unseen = self.rows.iter().filter(unseen).count() as u32;
    }
}

impl Table {
    /// UIDs and rows, chunk by chunk.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (&[u32], &Chunk)> {
        self.numbering.chunks().iter().map(|uids| &uids[..]).zip(self.chunks.iter().map(|chunk| &**chunk))
    }

    pub(crate) fn row(&self, uid: u32) -> Option<&Row> {
        let (chunk, within) = self.numbering.place_of_uid(uid)?;
        self.chunks.get(chunk)?.rows.get(within)
    }

    /// UIDs and rows from a number on.
    pub(crate) fn rows_from(&self, number: u32) -> impl Iterator<Item = (u32, &Row)> {
        let (chunk, within) = self.numbering.place_of_number(number).unwrap_or((self.chunks.len(), 0));
        let rest = self.chunks.get(chunk..).unwrap_or_default();
        let rows = rest.iter().flat_map(|chunk| &chunk.rows).skip(within);
        self.numbering.iter_from(number).zip(rows)
    }

    pub(crate) fn len(&self) -> u32 {
        self.numbering.len()
    }

    /// The UID of the first message that is not seen.
    pub(crate) fn first_unseen(&self) -> Option<u32> {
        let (uids, chunk) = self.chunks().find(|(_, chunk)| chunk.unseen > 0)?;
        let within = chunk.rows.iter().position(|row| row.flags & Flags::SEEN.0 == 0)?;
        uids.get(within).copied()
    }

    /// Takes in rows that came or changed, by UID.
    pub(crate) fn put(&mut self, rows: &[MessageRow]) {
        let last = self.numbering.last().unwrap_or(0);
        let known = rows.partition_point(|row| row.uid.0 <= last);
        let (known, new) = rows.split_at_checked(known).unwrap_or((rows, &[]));
        let mut at = 0;
        while let Some(first) = known.get(at) {
            let index = self.numbering.chunk_of(first.uid.0);
            let (Some(uids), Some(chunk)) = (self.numbering.chunks().get(index), self.chunks.get_mut(index))
            else {
                break;
            };
            let end = uids.last().copied().unwrap_or(0);
            let chunk = Arc::make_mut(chunk);
            while let Some(row) = known.get(at).filter(|row| row.uid.0 <= end) {
                at += 1;
                let place = uids.binary_search(&row.uid.0).ok();
                let slot = place.and_then(|place| chunk.rows.get_mut(place));
                // What was read a moment ago may be older than what was taken in meanwhile.
                if let Some(slot) = slot.filter(|slot| slot.modseq <= row.modseq.0) {
                    *slot = Row::new(row);
                }
            }
            chunk.count();
        }
        if !new.is_empty() {
            self.append(new);
        }
    }

    /// Changes the rows of ascending UIDs.
    pub(crate) fn change(&mut self, uids: &[Uid], how: impl Fn(&mut Row)) {
        let mut rest = uids;
        while let Some(first) = rest.first() {
            let index = self.numbering.chunk_of(first.0);
            let (Some(numbers), Some(chunk)) =
                (self.numbering.chunks().get(index), self.chunks.get_mut(index))
            else {
                break;
            };
            let end = numbers.last().copied().unwrap_or(0);
            let some;
            (some, rest) = rest.split_at(rest.partition_point(|uid| uid.0 <= end));
            let chunk = Arc::make_mut(chunk);
            let mut places = numbers.iter().zip(&mut chunk.rows);
            for uid in some {
                // Both ascend.
                if let Some((_, row)) =
                    places.find(|(number, _)| **number >= uid.0).filter(|(n, _)| **n == uid.0)
                {
                    how(row);
                }
            }
            chunk.count();
        }
    }

    fn append(&mut self, new: &[MessageRow]) {
        let mut uids = self.numbering.chunks().to_vec();
        let mut new = new.iter().peekable();
        while new.peek().is_some() {
            let (mut some_uids, mut rows) = match uids.last() {
                Some(last) if last.len() < CHUNK => {
                    let last = last.to_vec();
                    uids.pop();
                    let chunk = self.chunks.pop().map(Arc::unwrap_or_clone);
                    (last, chunk.map(|chunk| chunk.rows).unwrap_or_default())
                }
                _ => (Vec::new(), Vec::new()),
            };
            while some_uids.len() < CHUNK
                && let Some(row) = new.next()
            {
                some_uids.push(row.uid.0);
                rows.push(Row::new(row));
            }
            // Mailboxes stay open for long.
            if new.peek().is_some() || uids.is_empty() {
                rows.shrink_to_fit();
            }
            uids.push(some_uids.into());
            self.chunks.push(Arc::new(Chunk::new(rows)));
        }
        self.numbering = Arc::new(Numbering::new(uids));
    }

    /// Takes out what lies in ascending ranges of UIDs, and gives it to `gone`.
    pub(crate) fn remove(&mut self, ranges: &[(u32, u32)], mut gone: impl FnMut(u32, Row)) {
        let hit = |uids: &[u32]| match (uids.first(), uids.last()) {
            (Some(first), Some(last)) => {
                let at = ranges.partition_point(|&(_, end)| end < *first);
                ranges.get(at).is_some_and(|(start, _)| start <= last)
            }
            _ => false,
        };
        if !self.numbering.chunks().iter().any(|uids| hit(uids)) {
            return;
        }
        let mut numbers: Vec<Arc<[u32]>> = Vec::with_capacity(self.chunks.len());
        let mut chunks: Vec<Arc<Chunk>> = Vec::with_capacity(self.chunks.len());
        let mut removed = false;
        for (uids, chunk) in self.numbering.chunks().iter().zip(std::mem::take(&mut self.chunks)) {
            if !hit(uids) {
                numbers.push(uids.clone());
                chunks.push(chunk);
                continue;
            }
            let (mut kept_uids, mut kept) = (Vec::with_capacity(uids.len()), Vec::with_capacity(uids.len()));
            for (&uid, row) in uids.iter().zip(&chunk.rows) {
                if contains(ranges, uid) {
                    removed = true;
                    gone(uid, *row);
                } else {
                    kept_uids.push(uid);
                    kept.push(*row);
                }
            }
            if kept.len() == chunk.rows.len() {
                numbers.push(uids.clone());
                chunks.push(chunk);
                continue;
            }
            // What is left of two neighbours goes together, so that chunks do not become many and small.
            if let (Some(last_uids), Some(last)) = (numbers.last_mut(), chunks.last_mut())
                && last_uids.len() + kept_uids.len() <= CHUNK / 2
            {
                *last_uids = last_uids.iter().copied().chain(kept_uids).collect();
                let mut rows = last.rows.clone();
                rows.extend(kept);
                *last = Arc::new(Chunk::new(rows));
            } else if !kept.is_empty() {
                kept.shrink_to_fit();
                numbers.push(kept_uids.into());
                chunks.push(Arc::new(Chunk::new(kept)));
            }
        }
        self.chunks = chunks;
        if removed {
            self.numbering = Arc::new(Numbering::new(numbers));
        }
    }

    /// Which of ascending UIDs are not among the rows: what went without a word, when a whole list is at hand.
    pub(crate) fn not_in(&self, uids: &[u32]) -> Vec<(u32, u32)> {
        let mut gone = Vec::new();
        let mut others = uids.iter().copied().peekable();
        for uid in self.numbering.iter_from(1) {
            while others.next_if(|&other| other < uid).is_some() {}
            if others.peek() != Some(&uid) {
                push(&mut gone, uid);
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::mailbox::numbering::merged;

    fn message(uid: u32, modseq: u64, flags: u64) -> MessageRow {
        MessageRow {
            mailbox: MailboxId(1),
            uid: Uid(uid),
            modseq: ModSeq(modseq),
            flags: Flags(flags),
            size: 7,
            received_at: -1,
            saved_at: 5_000_000,
            side: None,
            body: 9,
        }
    }

    #[test]
    fn a_row_is_small_and_gives_back_what_it_was_made_of() {
        assert_eq!(std::mem::size_of::<Row>(), 48);
        let row = message(3, 4, 5);
        assert_eq!(Row::new(&row).stored(MailboxId(1), 3), Some(row.clone()));
        assert_eq!(Row::new(&MessageRow { size: 1 << 33, ..row.clone() }).stored(MailboxId(1), 3), None);
        assert_eq!(Row::new(&MessageRow { body: 1 << 70, ..row }).stored(MailboxId(1), 3), None);
    }

    #[test]
    fn what_was_read_late_does_not_replace_what_is_newer() {
        let mut table = Table::default();
        table.put(&[message(1, 4, 0), message(2, 5, 0)]);
        table.put(&[message(1, 7, 1), message(2, 5, 0)]);
        table.put(&[message(1, 6, 2), message(2, 6, 2)]);
        let told = |uid| table.row(uid).map(|row| (row.modseq, row.flags));
        assert_eq!([told(1), told(2)], [Some((7, 1)), Some((6, 2))]);
    }

    #[test]
    fn what_nobody_changed_is_shared() {
        let mut table = Table::default();
        table.put(&(1..=2000).map(|uid| message(uid, 1, 0)).collect::<Vec<_>>());
        let before = table.clone();
        table.put(&[message(600, 2, 1)]);
        assert!(Arc::ptr_eq(&before.numbering, &table.numbering));
        let same = |one: &Table, other: &Table| {
            one.chunks.iter().zip(&other.chunks).filter(|(one, other)| Arc::ptr_eq(one, other)).count()
        };
        assert_eq!(same(&before, &table), 3);
        assert_eq!(before.row(600).map(|row| row.flags), Some(0));
        assert_eq!(table.row(600).map(|row| row.flags), Some(1));
        let mut gone = Vec::new();
        table.remove(&[(600, 600), (3000, 4000)], |uid, _| gone.push(uid));
        assert_eq!(gone, [600]);
        assert_eq!(same(&before, &table), 3);
        assert_eq!(table.len(), 1999);
        assert_eq!(table.numbering.number(601), Some(600));
    }

    proptest! {
        #[test]
        fn a_table_is_a_map(steps in prop::collection::vec(
            (0u32..3, prop::collection::vec((1u32..3000, 0u32..300), 1..5)), 1..20)
        ) {
            let mut truth: BTreeMap<u32, u64> = BTreeMap::new();
            let mut table = Table::default();
            let mut next = 1;
            for (modseq, (what, ranges)) in steps.into_iter().enumerate() {
                let ranges: Vec<_> = ranges.into_iter().map(|(first, len)| (first, first + len)).collect();
                let ranges = merged(ranges);
                if what == 0 {
                    table.remove(&ranges, |_, _| ());
                    truth.retain(|&uid, _| !contains(&ranges, uid));
                } else {
                    let mut rows = Vec::new();
                    for (&uid, flags) in truth.iter_mut().filter(|(uid, _)| contains(&ranges, **uid)) {
                        *flags = modseq as u64;
                        rows.push(message(uid, 1 + modseq as u64, *flags));
                    }
                    for _ in 0..ranges[0].0 / 3 * (what - 1) {
                        truth.insert(next, 0);
                        rows.push(message(next, 1 + modseq as u64, 0));
                        next += 1 + next % 2;
                    }
                    table.put(&rows);
                }
                let rows = table.chunks().flat_map(|(uids, chunk)| {
                    assert_eq!(uids.len(), chunk.rows.len());
                    assert!(!uids.is_empty() && uids.len() <= CHUNK);
                    uids.iter().zip(&chunk.rows).map(|(&uid, row)| (uid, row.flags))
                });
                prop_assert_eq!(rows.collect::<BTreeMap<_, _>>(), truth.clone());
                prop_assert_eq!(table.first_unseen(), truth.iter().find(|(_, f)| *f & 1 == 0).map(|(u, _)| *u));
            }
        }
    }
}
