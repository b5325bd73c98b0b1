//! APPEND, several messages at once (RFC 3502) and in the place of another (RFC 8508).

use bytes::Bytes;
use packetboat_message::card::Builder;
use packetboat_store::{
    AddMessage, BodySource, Flags, MailboxId, MailboxRow, NewBody, Op, OpResult, Require, Tx, TxError, Uid,
    UidValidity,
};

use super::numbering::{Ranges, push};
use super::refusal::failed;
use super::rights::{Verb, rights};
use super::{Mailboxes, Name, Refusal, Selected};

/// Messages appended in one step.
const MESSAGES_MAX: usize = 1_000;
/// Octets of them that may wait in memory until the step is done.
const MEMORY_MAX: u64 = 16 << 20;
/// A body up to this size may wait in memory, whatever is announced.
const SMALL: u64 = 1 << 20;

/// A message to be appended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewMessage {
    /// System flags.
    pub flags: Flags,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Internal date, microseconds since 1970.
    pub received_at: i64,
    /// How many octets will come.
    pub octets: u64,
}

/// Messages on their way into a mailbox. Dropped before [`Appending::commit`], they leave nothing.
#[derive(Debug)]
pub struct Appending {
    mailboxes: Mailboxes,
    mailbox: MailboxRow,
    done: Vec<(AddMessage, NewBody)>,
    current: Option<Current>,
    octets: u64,
    in_memory: u64,
}

#[derive(Debug)]
struct Current {
    new: NewMessage,
    body: NewBody,
    card: Builder,
}

/// Messages that are in a mailbox, on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Of the mailbox.
    pub uid_validity: UidValidity,
    /// Their UIDs, in order: APPENDUID.
    pub uids: Ranges,
}

impl Mailboxes {
    /// Begins to append to a mailbox.
    pub async fn append(&self, name: &Name) -> Result<Appending, Refusal> {
        let mailbox = self.row(name).await?;
        rights(self.who, mailbox.account, Verb::Insert)?;
        Ok(Appending {
            mailboxes: self.clone(),
            mailbox,
            done: Vec::new(),
            current: None,
            octets: 0,
            in_memory: 0,
        })
    }
}

impl Appending {
    /// A message begins.
    pub async fn begin(&mut self, new: NewMessage) -> Result<(), Refusal> {
        let limit = self.mailboxes.office.shared.limits.message_octets;
        if new.octets > limit {
            return Err(Refusal::TooLarge(limit));
        }
        if new.octets <= SMALL {
            self.in_memory += new.octets;
        }
        if self.done.len() >= MESSAGES_MAX || (self.in_memory > MEMORY_MAX && !self.done.is_empty()) {
            return Err(Refusal::Limit("messages appended at once"));
        }
        self.octets = self.octets.saturating_add(new.octets);
        let (account, messages) = (self.mailbox.account, self.done.len() as u64 + 1);
        let quota = self.mailboxes.quota_for(account)?;
        self.mailboxes.require_room(account, &quota, self.octets, messages, &mut Vec::new()).await?;
        let body = self.mailboxes.store().new_body(Some(new.octets));
        self.current = Some(Current { new, body, card: Builder::new() });
        Ok(())
    }

    /// A piece of it. Returns when there is room for more.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        let Some(Current { new, body, card }) = &mut self.current else { return Err(Refusal::Temporary) };
        if body.len() + chunk.len() as u64 > new.octets {
            return Err(Refusal::TooLarge(new.octets));
        }
        card.push(&chunk);
        Ok(body.write(chunk).await?)
    }

    /// It is complete.
    pub fn end(&mut self) -> Result<(), Refusal> {
        let Some(Current { new, body, card }) = self.current.take() else { return Err(Refusal::Temporary) };
        let add = AddMessage {
            mailbox: self.mailbox.id,
            body: BodySource::New(self.done.len()),
            prefix: Bytes::new(),
            card: card.finish().card(b"").into(),
            flags: new.flags,
            keywords: new.keywords,
            received_at: new.received_at,
            uid: None,
        };
        self.done.push((add, body));
        Ok(())
    }

    /// Puts all of them into the mailbox, or none; durable when it returns.
    pub async fn commit(self) -> Result<Appended, Refusal> {
        self.finish(None).await
    }

    /// The same, and removes a message of an open mailbox in the same step. Fails with [`Refusal::Expunged`] if it is not
    /// there any more.
    pub async fn commit_replacing(self, selected: &mut Selected, uid: u32) -> Result<Appended, Refusal> {
        selected.may(Verb::Expunge)?;
        selected.view.refresh(selected.store()).await?;
        if selected.view.state().table.row(uid).is_none() {
            return Err(Refusal::Expunged);
        }
        let mailbox = selected.mailbox();
        self.finish(Some((mailbox, Uid(uid)))).await
    }

    async fn finish(self, replaces: Option<(MailboxId, Uid)>) -> Result<Appended, Refusal> {
        let account = self.mailbox.account;
        let quota = self.mailboxes.quota_for(account)?;
        let mut require = vec![Require::Mailbox(self.mailbox.id)];
        let room = require.len() + usize::from(replaces.is_some());
        let mut also = None;
        if let Some((mailbox, uid)) = replaces {
            // It may go at this moment, in the place of another, too.
            require.push(Require::Messages { mailbox, uids: vec![uid] });
            also = Some(Op::Expunge { mailbox, uids: vec![uid] });
        }
        let messages = self.done.len() as u64;
        self.mailboxes.require_room(account, &quota, self.octets, messages, &mut require).await?;
        let (adds, bodies): (Vec<_>, Vec<_>) = self.done.into_iter().unzip();
        let ops = adds.into_iter().map(Op::AddMessage).chain(also).collect();
        let tx = Tx { id: None, require, ops };
        let store = self.mailboxes.store();
        let receipt = store.commit(tx, bodies).await.map_err(|error| match error {
            TxError::Failed(0) => Refusal::NoSuchMailbox,
            TxError::Failed(which) if which < room => Refusal::Expunged,
            TxError::Failed(_) => Refusal::OverQuota,
            error => failed(error),
        })?;
        self.mailboxes.office.shared.indexing.delivered(account);
        let mut uids = Ranges::new();
        for result in &receipt.results {
            if let OpResult::Added(uid, _) = result {
                push(&mut uids, uid.0);
            }
        }
        Ok(Appended { uid_validity: self.mailbox.uid_validity, uids })
    }
}
