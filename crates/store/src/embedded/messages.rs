//! From operations on messages to effects.

use bytes::Bytes;
use rusqlite::{Row, params};

use super::effect::{Added, Copied, Effect, Flagged, Side};
use super::keywords::{bit, mask, next_bit};
use super::plan::{Fault, Part};
use super::readers::number;
use super::runs::{Beside, NEAR, Runner, gapless, sorted, spans};
use crate::tx::{AddMessage, BodySource, FlagChange, OpResult, TxError};
use crate::{Flags, MailboxId, ModSeq, Uid};

/// What is read of each message an operation names: each column costs a little, and there may be many messages.
#[derive(Debug, Clone, Copy)]
enum Of {
    Flags,
    All,
}

/// A message an operation names. Of its row is taken what is asked for; modification sequence and size only if all was
/// read.
struct Named<'a> {
    uid: u32,
    row: &'a Row<'a>,
}

impl Named<'_> {
    fn flags(&self) -> rusqlite::Result<u64> {
        number(self.row, 1)
    }

    fn modseq(&self) -> rusqlite::Result<u64> {
        number(self.row, 2)
    }

    fn size(&self) -> rusqlite::Result<u64> {
        number(self.row, 3)
    }
}

impl Part<'_> {
    pub(super) fn add(&mut self, index: usize, add: &AddMessage) -> Result<OpResult, Fault> {
        let gone = Fault::Tx(TxError::Gone(index));
        let Some((state, account)) = self.mailbox(add.mailbox)? else { return Err(gone) };
        let uid = add.uid.map_or(state.uid_next, |uid| uid.0);
        if uid < state.uid_next {
            return Err(Fault::Tx(TxError::UidTaken(index)));
        }
        if uid == u32::MAX {
            return Err(Fault::Tx(TxError::TooLarge(index)));
        }
        let (body, octets) = self.source(index, add.body)?;
        let mut flags = add.flags.0;
        if flags & !Flags::SYSTEM.0 != 0 {
            flags &= mask(&self.tables.keywords(add.mailbox.0)?);
        }
        flags |= self.keywords(index, add.mailbox, &add.keywords, true)?;
        let side = self.side(&add.prefix, &add.card);
        let modseq = account.modseq + 1;
        self.effect(Effect::Added(Added {
            mailbox: add.mailbox.0,
            uid,
            modseq,
            flags,
            size: octets + add.prefix.len() as u64,
            received_at: add.received_at,
            saved_at: self.now as i64,
            body,
            side,
        }))?;
        Ok(OpResult::Added(Uid(uid), ModSeq(modseq)))
    }

    /// A body's identity and how many octets it has.
    pub(super) fn source(&mut self, index: usize, source: BodySource) -> Result<(u64, u64), Fault> {
        let gone = Fault::Tx(TxError::Gone(index));
        match source {
            BodySource::New(which) => {
                let Some(payload) = self.bodies.get(which) else { return Err(gone) };
                Ok((self.place(which, payload), payload.len()))
            }
            BodySource::Stored(body) => {
                let Ok(body) = u64::try_from(body) else { return Err(gone) };
                let Some(octets) = self.tables.body_octets(body)? else { return Err(gone) };
                Ok((body, octets))
            }
        }
    }

    /// Where prefix and card go.
    pub(super) fn side(&self, prefix: &Bytes, card: &Bytes) -> Side {
        if prefix.is_empty() && card.is_empty() {
            return Side::None;
        }
        Side::New { side: self.tables.position.next_side, prefix: prefix.clone(), card: card.clone() }
    }

    /// The bits of keywords; those that are not there are made, or else passed over.
    fn keywords(
        &mut self,
        index: usize,
        mailbox: MailboxId,
        names: &[String],
        make: bool,
    ) -> Result<u64, Fault> {
        let mut bits = 0;
        for name in names {
            let known = self.tables.keywords(mailbox.0)?;
            let bit = match bit(&known, name) {
                Some(bit) => bit,
                None if !make => continue,
                None => {
                    let too_many = Fault::Tx(TxError::TooManyKeywords(index));
                    let bit = next_bit(&known).ok_or(too_many)?;
                    self.effect(Effect::KeywordMade { mailbox: mailbox.0, bit, name: name.clone() })?;
                    bit
                }
            };
            bits |= 1u64.checked_shl(bit.into()).unwrap_or(0);
        }
        Ok(bits)
    }

    /// Looks at the messages of a list that are there, in order. `each` tells whether a message belongs in one of the
    /// ranges that come out, between whose ends no other message is.
    fn look(
        &self,
        mailbox: MailboxId,
        uids: &[u32],
        of: Of,
        mut each: impl FnMut(Named<'_>) -> rusqlite::Result<bool>,
    ) -> Result<Runner, Fault> {
        let mut runner = Runner::default();
        let mut select = self.tables.conn.prepare_cached(match of {
            Of::Flags => {
                "SELECT uid, flags FROM message WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid"
            }
            Of::All => {
                "SELECT uid, flags, modseq, size FROM message WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid"
            }
        })?;
        for span in spans(uids, NEAR) {
            runner.skip();
            let (Some(first), Some(last)) = (span.first(), span.last()) else { continue };
            let mut beside = Beside::new(span);
            let mut rows = select.query(params![mailbox.0 as i64, first, last])?;
            while let Some(row) = rows.next()? {
                let uid = row.get(0)?;
                let taken = beside.wants(uid) && each(Named { uid, row })?;
                if taken { runner.take(uid) } else { runner.skip() }
            }
        }
        Ok(runner)
    }

    pub(super) fn set_flags(
        &mut self,
        index: usize,
        mailbox: MailboxId,
        uids: &[Uid],
        change: FlagChange,
        keywords: &[String],
        unchanged_since: Option<ModSeq>,
    ) -> Result<OpResult, Fault> {
        let Some((_, account)) = self.mailbox(mailbox)? else { return Err(Fault::Tx(TxError::Gone(index))) };
        let upto = unchanged_since.map_or(u64::MAX >> 1, |since| since.0.min(u64::MAX >> 1));
        let deletes = match change {
            FlagChange::Add(flags) | FlagChange::Remove(flags) => flags.contains(Flags::DELETED),
            FlagChange::Replace(_) => true,
        };
        let (mut free, mut modified) = (Vec::with_capacity(uids.len()), Vec::new());
        let of = if unchanged_since.is_some() || deletes { Of::All } else { Of::Flags };
        let runner = self.look(mailbox, &sorted(uids), of, |found| {
            if unchanged_since.is_none() || found.modseq()? <= upto {
                let size = if deletes { found.size()? } else { 0 };
                free.push((found.uid, found.flags()?, size));
            } else {
                modified.push(Uid(found.uid));
            }
            // The younger ones within a range are passed over by their modification sequence.
            Ok(true)
        })?;
        let nothing = |modified, modseq| {
            Ok(OpResult::Flagged { changed: Vec::new(), modified, modseq: ModSeq(modseq) })
        };
        if free.is_empty() {
            return nothing(modified, account.modseq);
        }
        let make = !matches!(change, FlagChange::Remove(_));
        let named = self.keywords(index, mailbox, keywords, make)?;
        let known = mask(&self.tables.keywords(mailbox.0)?);
        let (clear, set) = match change {
            FlagChange::Add(flags) => (0, (flags.0 | named) & known),
            FlagChange::Remove(flags) => (flags.0 | named, 0),
            FlagChange::Replace(flags) => (u64::MAX, (flags.0 | named) & known),
        };
        let (mut unseen, mut deleted, mut deleted_octets) = (0, 0, 0);
        let mut changed = Vec::with_capacity(free.len());
        for (uid, before, size) in free {
            let flags = before & !clear | set;
            if flags == before {
                continue;
            }
            changed.push(Uid(uid));
            let turned = flags ^ before;
            if turned & Flags::SEEN.0 != 0 {
                unseen += if flags & Flags::SEEN.0 == 0 { 1 } else { -1 };
            }
            if turned & Flags::DELETED.0 != 0 {
                let sign = if flags & Flags::DELETED.0 == 0 { -1 } else { 1 };
                deleted += sign;
                deleted_octets += sign * size as i64;
            }
        }
        if changed.is_empty() {
            return nothing(modified, account.modseq);
        }
        let modseq = account.modseq + 1;
        self.effect(Effect::Flagged(Flagged {
            mailbox: mailbox.0,
            modseq,
            upto,
            clear,
            set,
            runs: runner.runs,
            unseen,
            deleted,
            deleted_octets,
        }))?;
        Ok(OpResult::Flagged { changed, modified, modseq: ModSeq(modseq) })
    }

    /// Whether a mailbox has all these messages.
    pub(super) fn are_there(&self, mailbox: MailboxId, uids: &[Uid]) -> Result<bool, Fault> {
        let wanted = sorted(uids);
        let mut found = 0;
        self.look(mailbox, &wanted, Of::Flags, |_| {
            found += 1;
            Ok(false)
        })?;
        Ok(found == wanted.len())
    }

    /// Removes those that have all these flags.
    pub(super) fn expunge(
        &mut self,
        index: usize,
        mailbox: MailboxId,
        uids: &[Uid],
        flags: u64,
    ) -> Result<OpResult, Fault> {
        let Some((_, account)) = self.mailbox(mailbox)? else { return Err(Fault::Tx(TxError::Gone(index))) };
        let mut gone = Vec::new();
        let runner = self.look(mailbox, &sorted(uids), Of::Flags, |found| {
            let taken = flags == 0 || found.flags()? & flags == flags;
            if taken {
                gone.push(Uid(found.uid));
            }
            Ok(taken)
        })?;
        if gone.is_empty() {
            return Ok(OpResult::Changed(gone, ModSeq(account.modseq)));
        }
        let modseq = account.modseq + 1;
        self.effect(Effect::Expunged { mailbox: mailbox.0, modseq, runs: runner.runs })?;
        Ok(OpResult::Changed(gone, ModSeq(modseq)))
    }

    pub(super) fn copy(
        &mut self,
        index: usize,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
    ) -> Result<OpResult, Fault> {
        let gone = || Fault::Tx(TxError::Gone(index));
        if self.mailbox(from)?.is_none() {
            return Err(gone());
        }
        let to = if to == MailboxId::MADE { self.made.ok_or_else(gone)? } else { to };
        let Some((target, account)) = self.mailbox(to)? else { return Err(gone()) };
        let mut pairs = Vec::new();
        let (mut next, mut flags) = (target.uid_next, 0);
        self.look(from, &sorted(uids), Of::Flags, |found| {
            pairs.push((Uid(found.uid), Uid(next)));
            next = next.saturating_add(1);
            flags |= found.flags()?;
            Ok(true)
        })?;
        if pairs.is_empty() {
            return Ok(OpResult::Copied(pairs));
        }
        if next == u32::MAX {
            return Err(Fault::Tx(TxError::TooLarge(index)));
        }
        let mut keywords = Vec::new();
        if flags & !Flags::SYSTEM.0 != 0 {
            for (bit, name) in self.tables.keywords(from.0)?.iter() {
                if flags.checked_shr((*bit).into()).unwrap_or(0) & 1 == 1 {
                    let there = self.keywords(index, to, std::slice::from_ref(name), true)?;
                    keywords.push((*bit, there.trailing_zeros() as u8));
                }
            }
        }
        self.effect(Effect::Copied(Copied {
            from: from.0,
            to: to.0,
            modseq: account.modseq + 1,
            saved_at: self.now as i64,
            first: target.uid_next,
            runs: gapless(pairs.iter().map(|(from, _)| from.0)),
            keywords,
        }))?;
        Ok(OpResult::Copied(pairs))
    }
}
