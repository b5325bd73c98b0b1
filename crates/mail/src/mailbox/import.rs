//! Moving in: a mailbox from elsewhere comes into one of ours, with its UIDs where that is possible.
//!
//! What has come is remembered beside the mailbox, in the same transaction as the messages: 16 octets for each, chosen by
//! whoever reads the source. So an import that was broken off at any point goes on where it ended.

use std::collections::HashSet;

use bytes::Bytes;
use packetboat_message::card::Builder;
use packetboat_store::{
    AddMessage, BodySource, Flags, MailboxId, MailboxRow, NewBody, Op, OpResult, Require, Tx, TxError, Uid,
    UidValidity,
};

use super::hierarchy::MAILBOXES_MAX;
use super::refusal::failed;
use super::rights::{Verb, rights};
use super::{Mailboxes, Name, NewMessage, Refusal, SpecialUse};

/// Messages that are committed at once.
const BATCH_MESSAGES: usize = 1_000;
/// Octets of messages and cards that may wait in memory for that.
const BATCH_OCTETS: u64 = 8 << 20;
/// Octets of a body that may wait in memory; the rest is on disk.
const IN_MEMORY: u64 = 1 << 20;
/// Bits a mailbox has for keywords.
const KEYWORDS_MAX: usize = 59;
/// Octets of an identity.
const IDENTITY: usize = 16;
/// Entries read at a time.
const PAGE: usize = 256;

/// A mailbox of somewhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// What it is to be called here.
    pub name: Name,
    /// What it is for; it comes into our mailbox for that, if there is one.
    pub special_uses: Vec<SpecialUse>,
    /// Its UIDVALIDITY, if its messages have UIDs that are to be kept.
    pub uid_validity: Option<u32>,
    /// Its UIDNEXT.
    pub uid_next: Option<u32>,
    /// The lowest UID in it.
    pub first_uid: Option<u32>,
    /// Whether its owner is subscribed to it.
    pub subscribed: bool,
}

/// Why an import stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Something else changed the mailbox at the same moment. Begun anew, the import goes on.
    #[error("the mailbox changed at the same moment")]
    Contended,
    /// For good, or until somebody does something about it.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<packetboat_store::ReadError> for ImportError {
    fn from(error: packetboat_store::ReadError) -> ImportError {
        Refusal::from(error).into()
    }
}

/// What became of messages since it was asked last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// How many are in the mailbox, on disk.
    pub messages: u64,
    /// Those of them that have the UIDs they came with.
    pub uids_kept: u64,
    /// Octets of them.
    pub octets: u64,
    /// Keywords that a mailbox of ours had no room for.
    pub keywords_dropped: u64,
    /// Whether a UID was taken here, so that the mailbox got a new UIDVALIDITY.
    pub renumbered: bool,
}

/// An import into one mailbox. Messages come one after the other; batches are committed on the way.
#[derive(Debug)]
pub struct Importing {
    mailboxes: Mailboxes,
    name: Name,
    mailbox: MailboxId,
    uid_next: u32,
    created: bool,
    /// The UIDVALIDITY that is kept, and with it the UIDs.
    keeps: Option<u32>,
    source_next: Option<u32>,
    subscribed: bool,
    known: Vec<u128>,
    entries: u32,
    keywords: HashSet<String>,
    batch: Vec<Waiting>,
    batch_octets: u64,
    current: Option<Current>,
    told: Imported,
}

#[derive(Debug)]
struct Waiting {
    identity: u128,
    uid: Option<u32>,
    message: NewMessage,
    card: Bytes,
    body: NewBody,
}

#[derive(Debug)]
struct Current {
    identity: u128,
    uid: Option<u32>,
    message: NewMessage,
    body: NewBody,
    card: Builder,
}

impl Mailboxes {
    /// Begins to bring a mailbox in. Makes ours if it is not there.
    pub async fn import(&self, foreign: Foreign) -> Result<Importing, Refusal> {
        rights(self.who, self.owner, Verb::Create)?;
        rights(self.who, self.owner, Verb::Insert)?;
        let (row, created) = self.import_target(&foreign).await?;
        let keeps = foreign.uid_validity.filter(|validity| *validity == row.uid_validity.0);
        let mut importing = Importing {
            mailboxes: self.clone(),
            // A row's name is in form.
            name: Name::new(&row.name)?,
            mailbox: row.id,
            uid_next: row.uid_next.0,
            created,
            keeps,
            source_next: foreign.uid_next,
            subscribed: foreign.subscribed,
            known: Vec::new(),
            entries: 0,
            keywords: self
                .store()
                .keywords(row.id)?
                .iter()
                .map(|(_, name)| name.to_ascii_lowercase())
                .collect(),
            batch: Vec::new(),
            batch_octets: 0,
            current: None,
            told: Imported::default(),
        };
        importing.remember().await?;
        Ok(importing)
    }

    /// Our mailbox for it, and whether it is new.
    async fn import_target(&self, foreign: &Foreign) -> Result<(MailboxRow, bool), Refusal> {
        let _one = self.reshape().await;
        let rows = self.store().mailboxes(self.owner).await?;
        let uses = |row: &MailboxRow| -> Vec<SpecialUse> {
            row.special_use.as_deref().map(|text| SpecialUse::parse_all(text).collect()).unwrap_or_default()
        };
        let taken = |special: &SpecialUse| rows.iter().find(|row| uses(row).contains(special));
        let place = match foreign.name.is_inbox() {
            true => None,
            false => foreign.special_uses.iter().find_map(taken),
        };
        let place = place.or_else(|| rows.iter().find(|row| row.name == foreign.name.as_str()));
        let wanted = foreign.uid_validity.filter(|validity| *validity != 0).map(UidValidity);
        let make = |name: &str, special_use: Option<String>, uid_validity| Op::CreateMailbox {
            account: self.owner,
            name: name.to_owned(),
            special_use,
            uid_validity,
        };
        let ops = match place {
            None => {
                let has = |name: &str| rows.iter().any(|row| row.name == name);
                let superiors = foreign.name.superiors().filter(|name| !has(name));
                let mut ops: Vec<Op> = superiors.map(|name| make(name, None, None)).collect();
                ops.push(make(foreign.name.as_str(), SpecialUse::text(&foreign.special_uses), wanted));
                if rows.len() + ops.len() > MAILBOXES_MAX {
                    return Err(Refusal::Limit("mailboxes in this account"));
                }
                ops
            }
            // Nobody can have seen a UID in it that another message will have.
            Some(row)
                if wanted.is_some_and(|wanted| wanted != row.uid_validity)
                    && row.messages == 0
                    && row.uid_next.0 <= foreign.first_uid.unwrap_or(1).max(1) =>
            {
                vec![Op::SetUidValidity { mailbox: row.id, uid_validity: wanted }]
            }
            // Messages were in it, and their UIDs are gone with the mailbox.
            Some(row)
                if wanted.is_some_and(|wanted| wanted != row.uid_validity)
                    && row.messages == 0
                    && row.name != super::INBOX =>
            {
                vec![Op::RemoveMailbox(row.id), make(&row.name, row.special_use.clone(), wanted)]
            }
            Some(row) => return Ok((row.clone(), false)),
        };
        let receipt = self.store().commit(Self::tx(Vec::new(), ops), Vec::new()).await.map_err(failed)?;
        let Some(OpResult::Mailbox(id, _)) = receipt.results.last() else { return Err(Refusal::Temporary) };
        let row = self.store().mailbox(*id).await?.ok_or(Refusal::MailboxGone)?;
        Ok((row, place.is_none()))
    }
}

impl Importing {
    /// The name of our mailbox.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Whether it was made for this.
    pub fn is_new(&self) -> bool {
        self.created
    }

    /// Whether UIDs are kept, as far as it is known now.
    pub fn keeps_uids(&self) -> bool {
        self.keeps.is_some()
    }

    /// The first UID that can be kept. Messages with lower ones get new ones, so they come last.
    pub fn uid_next(&self) -> u32 {
        self.uid_next
    }

    /// Identities of the messages that were brought in before. They are given away once.
    pub fn take_known(&mut self) -> Vec<u128> {
        std::mem::take(&mut self.known)
    }

    fn prefix(&self) -> String {
        let data = packetboat_account::account_data(self.mailboxes.owner);
        format!("{data}mailbox/import/{:016x}/", self.mailbox.0)
    }

    async fn remember(&mut self) -> Result<(), Refusal> {
        let prefix = self.prefix();
        let mut after: Option<String> = None;
        loop {
            let entries = self.mailboxes.store().scan(&prefix, after.as_deref(), PAGE).await?;
            let Some(last) = entries.last() else { return Ok(()) };
            let number = last.key.strip_prefix(&prefix).and_then(|rest| u32::from_str_radix(rest, 16).ok());
            self.entries = number.map_or(self.entries, |number| number.saturating_add(1));
            after = Some(last.key.clone());
            for entry in &entries {
                let (identities, _) = entry.value.as_chunks::<IDENTITY>();
                self.known.extend(identities.iter().map(|octets| u128::from_be_bytes(*octets)));
            }
        }
    }

    /// A message begins. `identity` names it among all that come into this mailbox. A refusal concerns this message
    /// alone.
    pub fn begin(&mut self, identity: u128, uid: Option<u32>, message: NewMessage) -> Result<(), Refusal> {
        let limit = self.mailboxes.office.shared.limits.message_octets;
        if message.octets > limit {
            return Err(Refusal::TooLarge(limit));
        }
        let body = self.mailboxes.store().new_body(Some(message.octets));
        // RFC 9051 section 9, uniqueid: not 0. The last one would leave none for the next message.
        let uid = uid.filter(|uid| (1..u32::MAX).contains(uid));
        self.current = Some(Current { identity, uid, message, body, card: Builder::new() });
        Ok(())
    }

    /// A piece of it. A refusal concerns this message alone, except where there is no room on the disk.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        let limit = self.mailboxes.office.shared.limits.message_octets;
        let Some(Current { body, card, .. }) = &mut self.current else { return Err(Refusal::Temporary) };
        if body.len() + chunk.len() as u64 > limit {
            self.current = None;
            return Err(Refusal::TooLarge(limit));
        }
        card.push(&chunk);
        Ok(body.write(chunk).await?)
    }

    /// It is not to be had in full.
    pub fn abandon(&mut self) {
        self.current = None;
    }

    /// It is complete.
    pub async fn end(&mut self) -> Result<(), ImportError> {
        let Some(Current { identity, uid, mut message, body, card }) = self.current.take() else {
            return Ok(());
        };
        let card: Bytes = card.finish().card(b"").into();
        message.octets = body.len();
        let (keywords, told) = (&mut self.keywords, &mut self.told);
        message.keywords.retain(|keyword| {
            let folded = keyword.to_ascii_lowercase();
            let fits =
                keywords.contains(&folded) || (keywords.len() < KEYWORDS_MAX && keywords.insert(folded));
            told.keywords_dropped += u64::from(!fits);
            fits
        });
        self.batch_octets += message.octets.min(IN_MEMORY) + card.len() as u64;
        self.batch.push(Waiting { identity, uid, message, card, body });
        if self.batch.len() >= BATCH_MESSAGES || self.batch_octets >= BATCH_OCTETS {
            self.flush().await?;
        }
        Ok(())
    }

    /// What became of messages since this was asked last.
    pub fn told(&mut self) -> Imported {
        std::mem::take(&mut self.told)
    }

    /// Commits what waits; durable when it returns.
    pub async fn flush(&mut self) -> Result<(), ImportError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let store = self.mailboxes.store().clone();
        let row = store.mailbox(self.mailbox).await?.ok_or(Refusal::MailboxGone)?;
        let mut batch = std::mem::take(&mut self.batch);
        self.batch_octets = 0;
        batch.sort_by_key(|waiting| waiting.uid.unwrap_or(u32::MAX));
        let mut ops = Vec::with_capacity(batch.len() + 2);
        if self.keeps.is_some_and(|validity| validity != row.uid_validity.0) {
            self.keeps = None;
        }
        if self.keeps.is_some() {
            let mut next = row.uid_next.0;
            for waiting in &mut batch {
                match waiting.uid {
                    Some(uid) if uid >= next => next = uid + 1,
                    // Refused before, or not there: it comes behind all others.
                    Some(uid) if store.message(self.mailbox, Uid(uid)).await?.is_none() => waiting.uid = None,
                    // The UID names another message here. Whoever knows the source's must not take one for the other.
                    Some(_) => {
                        self.keeps = None;
                        self.told.renumbered = true;
                        ops.push(Op::SetUidValidity { mailbox: self.mailbox, uid_validity: None });
                        break;
                    }
                    None => {}
                }
            }
        }
        let (messages, octets) =
            (batch.len() as u64, batch.iter().map(|waiting| waiting.message.octets).sum::<u64>());
        let quota = self.mailboxes.quota_for(self.mailboxes.owner)?;
        let key = format!("{}{:08x}", self.prefix(), self.entries);
        let mut require =
            vec![Require::Mailbox(self.mailbox), Require::KeyVersion { key: key.clone(), version: None }];
        self.mailboxes.require_room(self.mailboxes.owner, &quota, octets, messages, &mut require).await?;
        let (mut identities, mut bodies, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
        let mut kept = 0;
        for waiting in batch {
            identities.extend_from_slice(&waiting.identity.to_be_bytes());
            let uid = waiting.uid.filter(|_| self.keeps.is_some()).map(Uid);
            let add = Op::AddMessage(AddMessage {
                mailbox: self.mailbox,
                body: BodySource::New(bodies.len()),
                prefix: Bytes::new(),
                card: waiting.card,
                flags: Flags(waiting.message.flags.0 & Flags::SYSTEM.0),
                keywords: waiting.message.keywords,
                received_at: waiting.message.received_at,
                uid,
            });
            bodies.push(waiting.body);
            if uid.is_some() {
                kept += 1;
                ops.push(add);
            } else {
                fresh.push(add);
            }
        }
        if !fresh.is_empty() && self.keeps.is_some() {
            ops.extend(self.floor());
        }
        ops.append(&mut fresh);
        ops.push(Op::Put { key, value: identities });
        match store.commit(Tx { id: None, require, ops }, bodies).await {
            Ok(_) => {}
            Err(TxError::Failed(0)) => return Err(Refusal::MailboxGone.into()),
            Err(TxError::Failed(1) | TxError::UidTaken(_)) => return Err(ImportError::Contended),
            Err(TxError::Failed(_)) => return Err(Refusal::OverQuota.into()),
            Err(error) => return Err(failed(error).into()),
        }
        self.entries = self.entries.saturating_add(1);
        self.told.messages += messages;
        self.told.uids_kept += kept;
        self.told.octets += octets;
        Ok(())
    }

    /// UIDs go on behind those of the source.
    fn floor(&self) -> Option<Op> {
        let next = self.source_next.filter(|next| *next < u32::MAX)?;
        Some(Op::SetUidNext { mailbox: self.mailbox, uid_next: Uid(next) })
    }

    /// Commits what waits. All messages of the mailbox have come.
    pub async fn finish(&mut self) -> Result<(), ImportError> {
        self.flush().await?;
        if let (Some(op), true) = (self.floor(), self.keeps.is_some()) {
            let require = vec![Require::Mailbox(self.mailbox)];
            self.mailboxes
                .store()
                .commit(Mailboxes::tx(require, vec![op]), Vec::new())
                .await
                .map_err(failed)?;
        }
        if self.subscribed {
            self.mailboxes.subscribe(&self.name, true).await?;
        }
        Ok(())
    }
}
