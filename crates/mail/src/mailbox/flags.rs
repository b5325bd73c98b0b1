//! STORE, EXPUNGE, COPY and MOVE.

use packetboat_account::Quota;
use packetboat_store::{FlagChange, Flags, ModSeq, Op, OpResult, Require, Tx, TxError, Uid, UidValidity};

use super::numbering::{Ranges, push};
use super::picked::Picked;
use super::refusal::failed;
use super::rights::{Verb, rights};
use super::{Mailboxes, Message, Name, Refusal, Selected};

/// How flags change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// These are set, others stay.
    Add,
    /// These are cleared, others stay.
    Remove,
    /// These are set, others are cleared.
    Replace,
}

/// A change of flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagEdit {
    /// How.
    pub change: Change,
    /// System flags.
    pub system: Flags,
    /// Keywords; those that are set and that the mailbox does not have yet are made.
    pub keywords: Vec<String>,
    /// Messages whose last change is later than this are left alone (RFC 7162 section 3.1.3).
    pub unchanged_since: Option<u64>,
    /// The client will not be told what came of it, as it knows that itself.
    pub silent: bool,
}

/// What came of a change of flags.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Messages whose flags are others than before.
    pub changed: Picked,
    /// Messages that were left alone because they changed meanwhile: MODIFIED.
    pub modified: Picked,
    /// Some messages are not there any more.
    pub gone: bool,
    /// Keywords were made that this session did not know.
    pub new_keywords: bool,
}

/// Messages that were copied or moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Of the mailbox they went to.
    pub uid_validity: UidValidity,
    /// Their UIDs, in order, and the new ones of each.
    pub uids: Vec<(u32, u32)>,
}

fn uids_of(picked: &Picked) -> Vec<Uid> {
    picked.each_uid().map(Uid).collect()
}

fn tx(require: Vec<Require>, ops: Vec<Op>) -> Tx {
    Tx { id: None, require, ops }
}

impl FlagEdit {
    /// The bits that are named, if the mailbox has all its keywords.
    fn mask(&self, keywords: &[(u8, String)]) -> Option<u64> {
        let bit = |name: &String| {
            let known = keywords.iter().find(|(_, other)| other.eq_ignore_ascii_case(name));
            known.map(|(bit, _)| 1u64 << (bit & 63))
        };
        self.keywords.iter().try_fold(self.system.0, |mask, name| Some(mask | bit(name)?))
    }

    fn apply(&self, mask: u64, to: u64) -> u64 {
        match self.change {
            Change::Add => to | mask,
            Change::Remove => to & !mask,
            Change::Replace => mask,
        }
    }
}

impl Selected {
    /// Marks messages as seen, those that are not yet, and brings them up to date. Tells of each whether it was marked.
    pub async fn mark_seen(&mut self, messages: Vec<&mut Message>) -> Result<Vec<bool>, Refusal> {
        let unseen = |message: &Message| !message.gone && !message.flags().contains(Flags::SEEN);
        let uids = messages.iter().filter(|message| unseen(message)).map(|message| message.uid);
        let uids: Vec<_> = uids.map(|uid| (Some(uid), Some(uid))).collect();
        if uids.is_empty() {
            return Ok(vec![false; messages.len()]);
        }
        let edit = FlagEdit {
            change: Change::Add,
            system: Flags::SEEN,
            keywords: Vec::new(),
            unchanged_since: None,
            silent: false,
        };
        let picked = self.pick_uids(&uids);
        self.store_flags(&picked, &edit).await?;
        let mark = |message: &mut Message| match self.message_of(message.uid) {
            Some(now) if unseen(message) => {
                *message = now;
                true
            }
            _ => false,
        };
        Ok(messages.into_iter().map(mark).collect())
    }

    /// Changes flags of messages, all in one step.
    pub async fn store_flags(&mut self, of: &Picked, edit: &FlagEdit) -> Result<Stored, Refusal> {
        let named = edit.system.0;
        let (seen, deleted) = (named & Flags::SEEN.0 != 0, named & Flags::DELETED.0 != 0);
        let replace = edit.change == Change::Replace;
        if seen || replace {
            self.may(Verb::SetSeen)?;
        }
        if deleted || replace {
            self.may(Verb::Delete)?;
        }
        if replace || named & !(Flags::SEEN.0 | Flags::DELETED.0) != 0 || !edit.keywords.is_empty() {
            self.may(Verb::SetFlags)?;
        }
        self.view.refresh(&self.office.shared.store).await?;
        // What a client that is not told could know of the messages before.
        let (before, looked, mask) = {
            let state = self.view.state();
            (edit.silent.then(|| state.table.clone()), state.looked(), edit.mask(&state.keywords))
        };
        let change = match edit.change {
            Change::Add => FlagChange::Add(edit.system),
            Change::Remove => FlagChange::Remove(edit.system),
            Change::Replace => FlagChange::Replace(edit.system),
        };
        let op = Op::SetFlags {
            mailbox: self.view.mailbox,
            uids: uids_of(of),
            change,
            keywords: edit.keywords.clone(),
            unchanged_since: edit.unchanged_since.map(ModSeq),
        };
        let receipt = self.store().commit(tx(Vec::new(), vec![op]), Vec::new()).await.map_err(failed)?;
        let Some(OpResult::Flagged { changed, modified, modseq }) = receipt.results.into_iter().next() else {
            return Err(Refusal::Temporary);
        };
        let known = mask.is_some_and(|mask| {
            let how = |flags| edit.apply(mask, flags);
            !changed.is_empty() && self.view.state().take_flags(looked, modseq.0, &changed, how)
        });
        if !known {
            self.view.refresh(&self.office.shared.store).await?;
        }
        let new_keywords = self.learn_keywords();
        let plain = |uids: &[Uid]| {
            let uids: Vec<u32> = uids.iter().map(|uid| uid.0).collect();
            Picked::of_uids(&of.numbering, &uids)
        };
        // Only those that were named can have changed, each once: where it is as many, it is all of them.
        let all = changed.len() as u64 == u64::from(of.len());
        let stored = Stored {
            changed: if all { of.clone() } else { plain(&changed) },
            modified: plain(&modified),
            gone: !all && !self.pick_gone(of).is_empty(),
            new_keywords,
        };
        if !changed.is_empty() {
            let except = before.map(|before| self.surprises(&before, &changed, edit)).unwrap_or_default();
            self.made_itself(modseq.0, except);
        }
        Ok(stored)
    }

    /// Of messages that were changed silently, those whose flags are not what the client takes them to be, because they
    /// had changed before without its knowledge.
    fn surprises(&self, before: &super::table::Table, changed: &[Uid], edit: &FlagEdit) -> Vec<u32> {
        let mask = edit.mask(&self.keywords()).unwrap_or(edit.system.0);
        let state = self.view.state();
        let surprise = |uid: &u32| match (before.row(*uid), state.table.row(*uid)) {
            (Some(old), Some(new)) => {
                let unknown = edit.change != Change::Replace && !self.knows(*uid, old.modseq);
                unknown || edit.apply(mask, old.flags) != new.flags
            }
            _ => false,
        };
        changed.iter().map(|uid| uid.0).filter(surprise).collect()
    }

    /// Removes the messages that are marked as deleted; only those among `of`, if given. The next [`Selected::sync`] tells
    /// which are gone.
    pub async fn expunge(&mut self, of: Option<&Picked>) -> Result<(), Refusal> {
        self.may(Verb::Expunge)?;
        self.view.refresh(&self.office.shared.store).await?;
        let uids: Vec<Uid> = {
            let state = self.view.state();
            let deleted =
                |uid: &u32| state.table.row(*uid).is_some_and(|row| row.flags & Flags::DELETED.0 != 0);
            let all;
            let of = match of {
                Some(of) => of,
                None => {
                    all = self.pick_all();
                    &all
                }
            };
            of.each_uid().filter(deleted).map(Uid).collect()
        };
        if uids.is_empty() {
            return Ok(());
        }
        // Somebody may take the mark away at this moment.
        let op = Op::ExpungeDeleted { mailbox: self.view.mailbox, uids };
        self.store().commit(tx(Vec::new(), vec![op]), Vec::new()).await.map_err(failed)?;
        Ok(())
    }

    /// Puts copies of messages into a mailbox, all or none. With `and_remove` the messages themselves go in the same
    /// step (RFC 6851); the next [`Selected::sync`] tells so.
    ///
    /// Fails with [`Refusal::Expunged`] if one of them is not there any more.
    pub async fn copy(
        &mut self,
        of: &Picked,
        mailboxes: &Mailboxes,
        to: &Name,
        and_remove: bool,
    ) -> Result<Copied, Refusal> {
        let row = mailboxes.row(to).await?;
        rights(self.who(), row.account, Verb::Insert)?;
        rights(self.who(), self.view.account, Verb::Read)?;
        if and_remove {
            self.may(Verb::Expunge)?;
        }
        if of.is_empty() {
            return Ok(Copied { uid_validity: row.uid_validity, uids: Vec::new() });
        }
        self.view.refresh(&self.office.shared.store).await?;
        let uids = uids_of(of);
        let mut octets = 0u64;
        {
            let state = self.view.state();
            for uid in &uids {
                let found = state.table.row(uid.0).ok_or(Refusal::Expunged)?;
                octets = octets.saturating_add(u64::from(found.size));
            }
        }
        // What only moves within an account takes no more room than before.
        let quota = if and_remove && row.account == self.view.account {
            Quota::default()
        } else {
            mailboxes.quota_for(row.account)?
        };
        let from = self.view.mailbox;
        // They may go at this moment, and then none is copied.
        let there = Require::Messages { mailbox: from, uids: uids.clone() };
        let mut require = vec![Require::Mailbox(row.id), there];
        mailboxes.require_room(row.account, &quota, octets, uids.len() as u64, &mut require).await?;
        let mut ops = vec![Op::Copy { from, uids: uids.clone(), to: row.id }];
        if and_remove {
            ops.push(Op::Expunge { mailbox: from, uids: uids.clone() });
        }
        let receipt =
            self.store().commit(tx(require, ops), Vec::new()).await.map_err(|error| match error {
                TxError::Failed(0) => Refusal::NoSuchMailbox,
                TxError::Failed(1) => Refusal::Expunged,
                TxError::Failed(_) => Refusal::OverQuota,
                error => failed(error),
            })?;
        let Some(OpResult::Copied(copied)) = receipt.results.into_iter().next() else {
            return Err(Refusal::Temporary);
        };
        let uids = copied.iter().map(|(from, to)| (from.0, to.0)).collect();
        Ok(Copied { uid_validity: row.uid_validity, uids })
    }
}

impl Copied {
    /// The old UIDs and the new ones as ranges in which the n-th of one belongs to the n-th of the other: COPYUID.
    pub fn ranges(&self) -> (Ranges, Ranges) {
        let (mut from, mut to) = (Ranges::new(), Ranges::new());
        for &(old, new) in &self.uids {
            push(&mut from, old);
            push(&mut to, new);
        }
        (from, to)
    }
}
