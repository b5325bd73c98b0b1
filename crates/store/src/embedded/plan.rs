//! From operations to effects: preconditions are looked at, numbers are given out, and each effect is carried out at
//! once, so that later operations of the same transaction see it.

use rusqlite::{OptionalExtension, params};

use super::body::Payload;
use super::effect::{Effect, MailboxMade, decode_receipt};
use super::queue::Leases;
use super::record::{Head, Kind};
use super::tables::{Account, Mailbox, Place, Tables};
use crate::tx::{AddMessage, BodySource, Op, OpResult, Receipt, Require, Tx, TxError};
use crate::{Enqueue, Flags, MailboxId, UidValidity};

/// Why a part did not happen: the caller's own reason, or the database's, which concerns the whole group.
#[derive(Debug)]
pub(crate) enum Fault {
    Tx(TxError),
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Sql(error)
    }
}

/// The records of one group, as they will stand in the segment from `base` on.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) octets: Vec<u8>,
    pub(crate) segment: u64,
    pub(crate) base: u64,
}

impl Records {
    /// Adds a record; tells where its body will lie.
    pub(crate) fn add(&mut self, head: &Head, meta: &[u8], octets: &[u8], file: Option<String>) -> Place {
        head.encode(meta, &mut self.octets);
        let offset = self.base + self.octets.len() as u64;
        self.octets.extend_from_slice(octets);
        Place { segment: self.segment, offset, octets: head.body_len, crc: head.body_crc, file }
    }
}

/// A transaction on its way.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) tables: &'a mut Tables,
    pub(crate) records: &'a mut Records,
    /// Microseconds since the epoch.
    pub(crate) now: u64,
    /// All bodies the caller hands over.
    pub(crate) bodies: &'a [Payload],
    pub(crate) leases: &'a Leases,
    /// The identity a body got when it was first referred to.
    placed: Vec<Option<u64>>,
    /// The mailbox it made last.
    pub(super) made: Option<MailboxId>,
    meta: Vec<u8>,
}

impl<'a> Part<'a> {
    pub(crate) fn new(
        tables: &'a mut Tables,
        records: &'a mut Records,
        now: u64,
        bodies: &'a [Payload],
        leases: &'a Leases,
    ) -> Part<'a> {
        Part {
            tables,
            records,
            now,
            bodies,
            leases,
            placed: vec![None; bodies.len()],
            made: None,
            meta: Vec::new(),
        }
    }

    /// Does all of a transaction, or fails, and then the caller undoes the part.
    pub(crate) fn run(mut self, tx: &Tx) -> Result<Receipt, Fault> {
        if let Some(id) = tx.id {
            let known: Option<Vec<u8>> = self
                .tables
                .conn
                .prepare_cached("SELECT results FROM receipt WHERE id = ?1")?
                .query_row([id.0.to_be_bytes()], |row| row.get(0))
                .optional()?;
            if let Some(receipt) = known.as_deref().and_then(decode_receipt) {
                let number = self.tables.position.number;
                self.tables.end_part(number)?;
                return Ok(receipt);
            }
        }
        for (index, require) in tx.require.iter().enumerate() {
            if !self.holds(require)? {
                return Err(Fault::Tx(TxError::Failed(index)));
            }
        }
        let mut receipt = Receipt { results: Vec::with_capacity(tx.ops.len()) };
        for (index, op) in tx.ops.iter().enumerate() {
            receipt.results.push(self.op(index, op)?);
        }
        if let Some(id) = tx.id {
            self.effect(Effect::Receipt { id: id.0, receipt: receipt.clone() })?;
        }
        let number = self.close();
        self.tables.end_part(number)?;
        Ok(receipt)
    }

    fn holds(&mut self, require: &Require) -> Result<bool, Fault> {
        Ok(match require {
            Require::KeyVersion { key, version } => self.version(key)? == *version,
            Require::Account(id) => self.tables.account(id.0)?.is_some(),
            Require::Mailbox(id) => self.tables.mailbox(id.0)?.is_some(),
            Require::Messages { mailbox, uids } => self.are_there(*mailbox, uids)?,
            Require::Room { account, octets, limit } => match self.tables.account(account.0)? {
                Some(state) => state.octets.saturating_add(*octets) <= *limit,
                None => false,
            },
            Require::Places { account, messages, limit } => match self.tables.account(account.0)? {
                Some(state) => state.messages.saturating_add(*messages) <= *limit,
                None => false,
            },
            Require::Queued(id) => self.is_queued(*id)?,
            Require::Lease { id, fence } => self.is_leased(*id, *fence)?,
        })
    }

    fn version(&self, key: &str) -> Result<Option<u64>, Fault> {
        let mut select = self.tables.conn.prepare_cached("SELECT version FROM kv WHERE key = ?1")?;
        let version = select.query_row([key], |row| row.get::<_, i64>(0)).optional()?;
        Ok(version.map(|version| version as u64))
    }

    fn op(&mut self, index: usize, op: &Op) -> Result<OpResult, Fault> {
        let gone = Fault::Tx(TxError::Gone(index));
        match op {
            Op::Put { key, value } => {
                let version = self.version(key)?.unwrap_or(0) + 1;
                self.effect(Effect::Put { key: key.clone(), version, value: value.clone() })?;
                Ok(OpResult::Version(version))
            }
            Op::Remove { key } => {
                if self.version(key)?.is_some() {
                    self.effect(Effect::Remove { key: key.clone() })?;
                }
                Ok(OpResult::Done)
            }
            Op::CreateAccount(id) => {
                if self.tables.account(id.0)?.is_some() {
                    return Err(Fault::Tx(TxError::Exists(index)));
                }
                self.effect(Effect::AccountMade { account: id.0 })?;
                Ok(OpResult::Done)
            }
            Op::RemoveAccount(id) => {
                if self.tables.account(id.0)?.is_none() {
                    return Err(gone);
                }
                self.effect(Effect::AccountRemoved { account: id.0 })?;
                Ok(OpResult::Done)
            }
            Op::CreateMailbox { account, name, special_use, uid_validity } => {
                let Some(state) = self.tables.account(account.0)? else { return Err(gone) };
                if self.named(account.0, name)?.is_some() {
                    return Err(Fault::Tx(TxError::Exists(index)));
                }
                let mailbox = self.tables.position.next_mailbox;
                let given = uid_validity.map(|given| given.0).filter(|given| *given != 0);
                let uid_validity = given.unwrap_or_else(|| self.next_uid_validity());
                self.effect(Effect::MailboxMade(MailboxMade {
                    mailbox,
                    account: account.0,
                    name: name.clone(),
                    uid_validity,
                    modseq: state.modseq + 1,
                    special_use: special_use.clone(),
                }))?;
                self.made = Some(MailboxId(mailbox));
                Ok(OpResult::Mailbox(MailboxId(mailbox), UidValidity(uid_validity)))
            }
            Op::RenameMailbox { mailbox, name } => {
                let Some((state, account)) = self.mailbox(*mailbox)? else { return Err(gone) };
                if self.named(state.account, name)?.is_some() {
                    return Err(Fault::Tx(TxError::Exists(index)));
                }
                // RFC 9051 section 2.3.1.1: the value must be greater than any the name had before; a new one always is.
                let uid_validity = self.next_uid_validity();
                self.effect(Effect::MailboxRenamed {
                    mailbox: mailbox.0,
                    name: name.clone(),
                    uid_validity,
                    modseq: account.modseq + 1,
                })?;
                Ok(OpResult::Mailbox(*mailbox, UidValidity(uid_validity)))
            }
            Op::RemoveMailbox(mailbox) => {
                let Some((_, account)) = self.mailbox(*mailbox)? else { return Err(gone) };
                self.effect(Effect::MailboxRemoved { mailbox: mailbox.0, modseq: account.modseq + 1 })?;
                Ok(OpResult::Done)
            }
            Op::AddMessage(add) => self.add(index, add),
            Op::SetSpecialUse { mailbox, special_use } => {
                let Some((_, account)) = self.mailbox(*mailbox)? else { return Err(gone) };
                if self.special_use(*mailbox)? != *special_use {
                    self.effect(Effect::Purpose {
                        mailbox: mailbox.0,
                        modseq: account.modseq + 1,
                        special_use: special_use.clone(),
                    })?;
                }
                Ok(OpResult::Done)
            }
            Op::SetUidNext { mailbox, uid_next } => {
                let Some((state, account)) = self.mailbox(*mailbox)? else { return Err(gone) };
                if uid_next.0 > state.uid_next {
                    self.effect(Effect::UidNext {
                        mailbox: mailbox.0,
                        modseq: account.modseq + 1,
                        uid_next: uid_next.0,
                    })?;
                }
                Ok(OpResult::Done)
            }
            Op::SetUidValidity { mailbox, uid_validity } => {
                let Some((state, account)) = self.mailbox(*mailbox)? else { return Err(gone) };
                let given = uid_validity.map(|given| given.0).filter(|given| *given != 0);
                if given.is_some() && state.messages > 0 {
                    return Err(Fault::Tx(TxError::Exists(index)));
                }
                let uid_validity = given.unwrap_or_else(|| self.next_uid_validity());
                self.effect(Effect::MailboxRenamed {
                    mailbox: mailbox.0,
                    name: self.name(*mailbox)?,
                    uid_validity,
                    modseq: account.modseq + 1,
                })?;
                Ok(OpResult::Mailbox(*mailbox, UidValidity(uid_validity)))
            }
            Op::Copy { from, uids, to } => self.copy(index, *from, uids, *to),
            Op::SetFlags { mailbox, uids, change, keywords, unchanged_since } => {
                self.set_flags(index, *mailbox, uids, *change, keywords, *unchanged_since)
            }
            Op::Expunge { mailbox, uids } => self.expunge(index, *mailbox, uids, 0),
            Op::ExpungeDeleted { mailbox, uids } => self.expunge(index, *mailbox, uids, Flags::DELETED.0),
            Op::Enqueue(enqueue) => self.enqueue(index, enqueue),
            Op::Dequeue { ids } => self.dequeue(ids),
            Op::Requeue { id, row } => self.requeue(index, *id, row),
            Op::Rest { destination, until } => self.rest(destination, *until),
        }
    }

    pub(super) fn mailbox(&mut self, id: MailboxId) -> Result<Option<(Mailbox, Account)>, Fault> {
        let Some(state) = self.tables.mailbox(id.0)? else { return Ok(None) };
        Ok(self.tables.account(state.account)?.map(|account| (state, account)))
    }

    fn special_use(&self, id: MailboxId) -> Result<Option<String>, Fault> {
        let mut select = self.tables.conn.prepare_cached("SELECT special_use FROM mailbox WHERE id = ?1")?;
        Ok(select.query_row([id.0 as i64], |row| row.get(0))?)
    }

    fn name(&self, id: MailboxId) -> Result<String, Fault> {
        let mut select = self.tables.conn.prepare_cached("SELECT name FROM mailbox WHERE id = ?1")?;
        Ok(select.query_row([id.0 as i64], |row| row.get(0))?)
    }

    fn named(&self, account: u64, name: &str) -> Result<Option<i64>, Fault> {
        let mut select =
            self.tables.conn.prepare_cached("SELECT id FROM mailbox WHERE account = ?1 AND name = ?2")?;
        Ok(select.query_row(params![account as i64, name], |row| row.get(0)).optional()?)
    }

    /// Seconds of the clock where it has moved on, one more than the last where it has not.
    fn next_uid_validity(&self) -> u32 {
        let seconds = u32::try_from(self.now / 1_000_000).unwrap_or(u32::MAX);
        self.tables.position.uid_validity.saturating_add(1).max(seconds)
    }

    /// The identity of one of the caller's bodies; its record is written when it is first asked for.
    pub(super) fn place(&mut self, which: usize, payload: &Payload) -> u64 {
        if let Some(Some(id)) = self.placed.get(which) {
            return *id;
        }
        let (meta, octets): (&[u8], &[u8]) = match payload {
            Payload::Memory { octets, .. } => (&[], octets),
            Payload::File { file, .. } => (file.name().as_bytes(), &[]),
        };
        let (number, previous) = self.tables.next_number(self.now);
        let head = Head {
            kind: Kind::Body,
            file: matches!(payload, Payload::File { .. }),
            moved: false,
            number,
            previous,
            meta_len: meta.len() as u32,
            body_len: payload.len(),
            body_crc: payload.crc(),
        };
        let file = match payload {
            Payload::Memory { .. } => None,
            Payload::File { file, .. } => {
                // From here on a row may name it.
                file.keep(true);
                Some(file.name().to_owned())
            }
        };
        let place = self.records.add(&head, meta, octets, file);
        self.tables.add_body(number, place);
        if let Some(slot) = self.placed.get_mut(which) {
            *slot = Some(number);
        }
        number
    }

    pub(super) fn effect(&mut self, effect: Effect) -> Result<(), Fault> {
        // Its record gets at least this number; a receipt's time needs no more.
        let number = self.tables.position.number.max(self.now);
        self.tables.apply(&effect, number)?;
        effect.encode(&mut self.meta);
        Ok(())
    }

    /// Writes the transaction's own record, if it did anything.
    fn close(&mut self) -> u64 {
        if self.meta.is_empty() {
            return self.tables.position.number;
        }
        let (number, previous) = self.tables.next_number(self.now);
        let head = Head::of_transaction(number, previous, &self.meta);
        self.records.add(&head, &self.meta, &[], None);
        number
    }
}

/// Whether a transaction is a plain delivery to mailboxes that are there, or into the queue, or out of it: then nothing
/// the caller said can make it fail half-way. Preconditions fail before anything is done.
pub(crate) fn cannot_fail(tables: &mut Tables, tx: &Tx, bodies: usize) -> Result<bool, rusqlite::Error> {
    // Alone, these fail before they do anything.
    if let [Op::SetFlags { keywords, .. }] = &tx.ops[..]
        && keywords.is_empty()
        && tx.id.is_none()
    {
        return Ok(true);
    }
    for op in &tx.ops {
        let (mailbox, which, keywords) = match op {
            Op::AddMessage(AddMessage {
                mailbox, body: BodySource::New(which), keywords, uid: None, ..
            }) => (mailbox, which, keywords),
            Op::Enqueue(Enqueue { body: BodySource::New(which), .. }) if *which < bodies => continue,
            Op::Dequeue { .. } | Op::Rest { .. } => continue,
            _ => return Ok(false),
        };
        if !keywords.is_empty() {
            return Ok(false);
        }
        let Some(state) = tables.mailbox(mailbox.0)? else { return Ok(false) };
        let room = usize::try_from(u32::MAX - state.uid_next).unwrap_or(usize::MAX);
        if *which >= bodies || room <= tx.ops.len() || tables.account(state.account)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
