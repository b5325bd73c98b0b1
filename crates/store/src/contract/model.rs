//! Any sequence of transactions does what a plain model in memory does.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Embedded, Place, body, content, queue_model as queue, run};
use crate::tx::{AddMessage, BodySource, FlagChange, Op, OpResult, Receipt, Require, Tx, TxError, TxId};
use crate::{AccountId, Flags, MailboxId, ModSeq, QueueId, Store, Uid, UidValidity};

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    entries: BTreeMap<String, (u64, Vec<u8>)>,
    accounts: BTreeMap<u64, u64>,
    /// By the order in which they were made.
    mailboxes: BTreeMap<usize, Mailbox>,
    made: usize,
    receipts: BTreeMap<u128, Receipt>,
    queue: queue::Queue,
}

#[derive(Debug, Clone, PartialEq)]
struct Mailbox {
    account: u64,
    name: String,
    uid_next: u32,
    modseq: u64,
    special_use: Option<String>,
    /// The first has bit 5.
    keywords: Vec<String>,
    messages: BTreeMap<u32, Message>,
    /// When which UID went.
    gone: Vec<(u64, u32)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Message {
    modseq: u64,
    flags: u64,
    octets: Vec<u8>,
}

/// Operations that name mailboxes by the order in which they were made.
#[derive(Debug, Clone)]
enum Act {
    Put(u8, u8),
    Remove(u8),
    CreateAccount(u64),
    RemoveAccount(u64),
    Create(u64, u8),
    Rename(usize, u8),
    RemoveMailbox(usize),
    Purpose(usize, Option<u8>),
    UidNext(usize, u8),
    /// Mailbox, octets, flags, keywords, UID.
    Add(usize, u8, u8, Vec<u8>, Option<u8>),
    Copy(usize, Vec<u8>, usize),
    /// Mailbox, UIDs, change, keywords, unchanged since.
    Flag(usize, Vec<u8>, FlagChange, Vec<u8>, Option<u8>),
    Expunge(usize, Vec<u8>),
    Queue(queue::Act),
}

#[derive(Debug, Clone)]
enum Need {
    Key(u8, Option<u64>),
    Account(u64),
    Mailbox(usize),
    Room(u64, u64),
    Queue(queue::Need),
}

#[derive(Debug, Clone)]
struct Change {
    id: Option<u8>,
    needs: Vec<Need>,
    acts: Vec<Act>,
    asks: Vec<queue::Ask>,
    then: Then,
}

/// What happens after the transaction.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Nothing,
    Reopen,
    Maintain,
}

fn act() -> impl Strategy<Value = Act> {
    let uids = || prop::collection::vec(1..12u8, 0..6);
    let words = || prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(0..12u8, 0..3)];
    let change = (0..3, 0..256u64).prop_map(|(how, flags)| match how {
        0 => FlagChange::Add(Flags(flags)),
        1 => FlagChange::Remove(Flags(flags)),
        _ => FlagChange::Replace(Flags(flags)),
    });
    prop_oneof![
        2 => (0..4u8, any::<u8>()).prop_map(|(key, value)| Act::Put(key, value)),
        1 => (0..4u8).prop_map(Act::Remove),
        1 => (1..4u64).prop_map(Act::CreateAccount),
        1 => (3..5u64).prop_map(Act::RemoveAccount),
        2 => (1..4u64, 0..4u8).prop_map(|(account, name)| Act::Create(account, name)),
        1 => (0..6usize, 0..4u8).prop_map(|(mailbox, name)| Act::Rename(mailbox, name)),
        1 => (2..6usize).prop_map(Act::RemoveMailbox),
        1 => (0..6usize, prop::option::of(0..3u8)).prop_map(|(mailbox, what)| Act::Purpose(mailbox, what)),
        1 => (0..6usize, 0..12u8).prop_map(|(mailbox, uid)| Act::UidNext(mailbox, uid)),
        6 => (0..6usize, any::<u8>(), any::<u8>(), words(), prop::option::weighted(0.1, 0..20u8))
            .prop_map(|(mailbox, fill, flags, words, uid)| Act::Add(mailbox, fill, flags, words, uid)),
        3 => (0..6usize, uids(), 0..6usize).prop_map(|(from, uids, to)| Act::Copy(from, uids, to)),
        3 => (0..6usize, uids(), change, words(), prop::option::weighted(0.2, 0..40u8))
            .prop_map(|(mailbox, uids, change, words, since)| Act::Flag(mailbox, uids, change, words, since)),
        3 => (0..6usize, uids()).prop_map(|(mailbox, uids)| Act::Expunge(mailbox, uids)),
        8 => queue::act().prop_map(Act::Queue),
    ]
}

fn need() -> impl Strategy<Value = Need> {
    prop_oneof![
        (0..4u8, prop::option::of(1..4u64)).prop_map(|(key, version)| Need::Key(key, version)),
        (1..4u64).prop_map(Need::Account),
        (0..6usize).prop_map(Need::Mailbox),
        (1..3u64, 0..3_000u64).prop_map(|(account, limit)| Need::Room(account, limit)),
        queue::need().prop_map(Need::Queue),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let then = prop_oneof![20 => Just(Then::Nothing), 1 => Just(Then::Reopen), 1 => Just(Then::Maintain)];
    let needs = prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(need(), 1..3)];
    let id = prop_oneof![3 => Just(None), 1 => (0..6u8).prop_map(Some)];
    (id, needs, prop::collection::vec(act(), 1..5), queue::asks(), then)
        .prop_map(|(id, needs, acts, asks, then)| Change { id, needs, acts, asks, then })
}

fn octets(fill: u8) -> Vec<u8> {
    vec![fill; usize::from(fill) * 11]
}

fn uids(list: &[u8]) -> Vec<u32> {
    let mut uids: Vec<u32> = list.iter().map(|uid| u32::from(*uid)).collect();
    uids.sort_unstable();
    uids.dedup();
    uids
}

/// A keyword; each has two spellings.
fn word(which: u8) -> String {
    match which % 2 {
        0 => format!("$Key{}", which / 2),
        _ => format!("$kEY{}", which / 2),
    }
}

/// The bits of keywords, with those added that are not there when they are to be made.
fn bits(names: &mut Vec<String>, words: &[u8], make: bool) -> u64 {
    let mut bits = 0;
    for word in words.iter().map(|which| word(*which)) {
        let at = names.iter().position(|name| name.eq_ignore_ascii_case(&word)).or_else(|| {
            make.then(|| {
                names.push(word);
                names.len() - 1
            })
        });
        bits |= at.map_or(0, |at| 1 << (5 + at));
    }
    bits
}

/// The flags that mean something.
fn known(names: &[String]) -> u64 {
    (1 << (5 + names.len())) - 1
}

/// A mailbox's number and validity are the backend's; here they are 0.
fn blank() -> OpResult {
    OpResult::Mailbox(MailboxId(0), UidValidity(0))
}

impl Model {
    fn commit(&mut self, change: &Change) -> Result<Receipt, TxError> {
        if let Some(receipt) = change.id.and_then(|id| self.receipts.get(&u128::from(id))) {
            return Ok(receipt.clone());
        }
        for (index, need) in change.needs.iter().enumerate() {
            let holds = match need {
                Need::Key(key, version) => {
                    self.entries.get(&format!("k{key}")).map(|entry| entry.0) == *version
                }
                Need::Account(account) => self.accounts.contains_key(account),
                Need::Mailbox(mailbox) => self.mailboxes.contains_key(mailbox),
                Need::Room(account, limit) => {
                    self.accounts.contains_key(account) && self.octets(*account) + 100 <= *limit
                }
                Need::Queue(need) => self.queue.holds(need),
            };
            if !holds {
                return Err(TxError::Failed(index));
            }
        }
        let mut next = self.clone();
        next.queue.begin();
        let mut results = Vec::new();
        for (index, act) in change.acts.iter().enumerate() {
            results.push(next.act(index, act)?);
        }
        next.queue.end();
        let receipt = Receipt { results };
        if let Some(id) = change.id {
            next.receipts.insert(u128::from(id), receipt.clone());
        }
        *self = next;
        Ok(receipt)
    }

    fn octets(&self, account: u64) -> u64 {
        let mine = self.mailboxes.values().filter(|mailbox| mailbox.account == account);
        mine.flat_map(|mailbox| mailbox.messages.values()).map(|message| message.octets.len() as u64).sum()
    }

    /// Takes the next number of a mailbox's account for a change in it.
    fn bump(&mut self, mailbox: usize) -> Option<u64> {
        let found = self.mailboxes.get_mut(&mailbox)?;
        let modseq = self.accounts.get_mut(&found.account)?;
        *modseq += 1;
        found.modseq = *modseq;
        Some(*modseq)
    }

    fn named(&self, account: u64, name: &str) -> bool {
        self.mailboxes.values().any(|mailbox| mailbox.account == account && mailbox.name == name)
    }

    fn act(&mut self, index: usize, act: &Act) -> Result<OpResult, TxError> {
        let gone = TxError::Gone(index);
        match act {
            Act::Put(key, value) => {
                let entry = self.entries.entry(format!("k{key}")).or_default();
                *entry = (entry.0 + 1, vec![*value]);
                Ok(OpResult::Version(entry.0))
            }
            Act::Remove(key) => {
                self.entries.remove(&format!("k{key}"));
                Ok(OpResult::Done)
            }
            Act::CreateAccount(account) => match self.accounts.insert(*account, 0) {
                None => Ok(OpResult::Done),
                Some(_) => Err(TxError::Exists(index)),
            },
            Act::RemoveAccount(account) => {
                self.accounts.remove(account).ok_or(gone)?;
                self.mailboxes.retain(|_, mailbox| mailbox.account != *account);
                Ok(OpResult::Done)
            }
            Act::Create(account, name) => {
                let modseq = *self.accounts.get(account).ok_or(gone)? + 1;
                let name = format!("n{name}");
                if self.named(*account, &name) {
                    return Err(TxError::Exists(index));
                }
                self.accounts.insert(*account, modseq);
                let mailbox = Mailbox {
                    account: *account,
                    name,
                    uid_next: 1,
                    modseq,
                    special_use: None,
                    keywords: Vec::new(),
                    messages: BTreeMap::new(),
                    gone: Vec::new(),
                };
                self.mailboxes.insert(self.made, mailbox);
                self.made += 1;
                Ok(blank())
            }
            Act::Rename(mailbox, name) => {
                let name = format!("n{name}");
                let account = self.mailboxes.get(mailbox).ok_or(gone)?.account;
                if self.named(account, &name) {
                    return Err(TxError::Exists(index));
                }
                self.bump(*mailbox);
                self.mailboxes.entry(*mailbox).and_modify(|mailbox| mailbox.name = name);
                Ok(blank())
            }
            Act::RemoveMailbox(mailbox) => {
                self.bump(*mailbox).ok_or(gone)?;
                self.mailboxes.remove(mailbox);
                Ok(OpResult::Done)
            }
            Act::Purpose(mailbox, what) => {
                let what = what.map(|what| format!("\\Use{what}"));
                if self.mailboxes.get(mailbox).ok_or(gone)?.special_use != what {
                    self.bump(*mailbox);
                    self.mailboxes.entry(*mailbox).and_modify(|mailbox| mailbox.special_use = what);
                }
                Ok(OpResult::Done)
            }
            Act::UidNext(mailbox, uid) => {
                if self.mailboxes.get(mailbox).ok_or(gone)?.uid_next < u32::from(*uid) {
                    self.bump(*mailbox);
                    self.mailboxes.entry(*mailbox).and_modify(|mailbox| mailbox.uid_next = u32::from(*uid));
                }
                Ok(OpResult::Done)
            }
            Act::Add(mailbox, fill, flags, words, uid) => {
                let octets = [b"p", &octets(*fill)[..]].concat();
                let next = self.mailboxes.get(mailbox).ok_or(gone.clone())?.uid_next;
                let uid = uid.map_or(next, u32::from);
                if uid < next {
                    return Err(TxError::UidTaken(index));
                }
                let modseq = self.bump(*mailbox).ok_or(gone.clone())?;
                let found = self.mailboxes.get_mut(mailbox).ok_or(gone)?;
                let flags =
                    u64::from(*flags) & known(&found.keywords) | bits(&mut found.keywords, words, true);
                found.uid_next = uid + 1;
                found.messages.insert(uid, Message { modseq, flags, octets });
                Ok(OpResult::Added(Uid(uid), ModSeq(modseq)))
            }
            Act::Copy(from, list, to) => {
                let source = self.mailboxes.get(from).ok_or(gone.clone())?.clone();
                let target = self.mailboxes.get(to).ok_or(gone.clone())?.uid_next;
                let wanted = uids(list);
                let found: Vec<_> = source.messages.iter().filter(|(uid, _)| wanted.contains(uid)).collect();
                let modseq = self.changed(*to, found.is_empty());
                let there = self.mailboxes.get_mut(to).ok_or(gone)?;
                // In the order of their bits.
                let used = found.iter().fold(0, |used, (_, message)| used | message.flags);
                let mut moved = Vec::new();
                for (at, name) in
                    source.keywords.iter().enumerate().filter(|(at, _)| used >> (5 + at) & 1 == 1)
                {
                    let same = |known: &String| known.eq_ignore_ascii_case(name);
                    let new = there.keywords.iter().position(same).unwrap_or_else(|| {
                        there.keywords.push(name.clone());
                        there.keywords.len() - 1
                    });
                    moved.push((at, new));
                }
                let mut pairs = Vec::new();
                for ((uid, message), new) in found.into_iter().zip(target..) {
                    let mut flags = message.flags & 31;
                    for (at, to) in &moved {
                        flags |= (message.flags >> (5 + at) & 1) << (5 + to);
                    }
                    there.messages.insert(new, Message { modseq, flags, octets: message.octets.clone() });
                    there.uid_next = new + 1;
                    pairs.push((Uid(*uid), Uid(new)));
                }
                Ok(OpResult::Copied(pairs))
            }
            Act::Flag(mailbox, list, change, words, since) => {
                let found = self.mailboxes.get_mut(mailbox).ok_or(gone)?;
                let wanted = uids(list);
                let (free, younger): (Vec<_>, Vec<_>) = found
                    .messages
                    .iter()
                    .filter(|(uid, _)| wanted.contains(uid))
                    .partition(|(_, message)| since.is_none_or(|since| message.modseq <= since.into()));
                let make = !free.is_empty() && !matches!(change, FlagChange::Remove(_));
                let named = bits(&mut found.keywords, words, make);
                let known = known(&found.keywords);
                let mut changed = Vec::new();
                for (uid, message) in free {
                    let flags = match change {
                        FlagChange::Add(flags) => message.flags | (flags.0 | named) & known,
                        FlagChange::Remove(flags) => message.flags & !(flags.0 | named),
                        FlagChange::Replace(flags) => (flags.0 | named) & known,
                    };
                    if flags != message.flags {
                        changed.push((*uid, flags));
                    }
                }
                let modified = younger.into_iter().map(|(uid, _)| Uid(*uid)).collect();
                let modseq = self.changed(*mailbox, changed.is_empty());
                let found = self.mailboxes.entry(*mailbox);
                found.and_modify(|mailbox| {
                    for (uid, flags) in &changed {
                        mailbox.messages.entry(*uid).and_modify(|message| {
                            message.flags = *flags;
                            message.modseq = modseq;
                        });
                    }
                });
                let changed = changed.iter().map(|(uid, _)| Uid(*uid)).collect();
                Ok(OpResult::Flagged { changed, modified, modseq: ModSeq(modseq) })
            }
            Act::Expunge(mailbox, list) => {
                let found = self.mailboxes.get_mut(mailbox).ok_or(gone)?;
                let uids: Vec<u32> =
                    uids(list).into_iter().filter(|uid| found.messages.remove(uid).is_some()).collect();
                let modseq = self.changed(*mailbox, uids.is_empty());
                self.mailboxes
                    .entry(*mailbox)
                    .and_modify(|mailbox| mailbox.gone.extend(uids.iter().map(|uid| (modseq, *uid))));
                Ok(OpResult::Changed(uids.into_iter().map(Uid).collect(), ModSeq(modseq)))
            }
            Act::Queue(act) => self.queue.act(index, act),
        }
    }

    fn changed(&mut self, mailbox: usize, nothing: bool) -> u64 {
        if nothing {
            let account = self.mailboxes[&mailbox].account;
            return self.accounts[&account];
        }
        self.bump(mailbox).unwrap_or_default()
    }

    /// All that can be read of the store is what the model holds.
    async fn compare(&self, store: &Store, numbers: &[MailboxId]) {
        let entries = store.scan("", None, 100).await.unwrap();
        let entries: BTreeMap<_, _> =
            entries.into_iter().map(|entry| (entry.key, (entry.version, entry.value))).collect();
        assert_eq!(entries, self.entries);
        for (key, (version, value)) in &self.entries {
            let entry = store.get(key).unwrap().unwrap();
            assert_eq!((entry.version, &entry.value), (*version, value));
        }
        for account in 1..5 {
            let row = store.account(AccountId(account)).await.unwrap();
            assert_eq!(
                row.map(|row| row.modseq.0),
                self.accounts.get(&account).copied(),
                "account {account}"
            );
            let mine = || self.mailboxes.values().filter(|mailbox| mailbox.account == account);
            if let Some(row) = row {
                assert_eq!(row.used_octets, self.octets(account));
                assert_eq!(row.messages, mine().map(|mailbox| mailbox.messages.len() as u64).sum::<u64>());
            }
            let mut names: Vec<_> = mine().map(|mailbox| mailbox.name.clone()).collect();
            names.sort();
            let rows = store.mailboxes(AccountId(account)).await.unwrap();
            assert_eq!(rows.into_iter().map(|row| row.name).collect::<Vec<_>>(), names);
        }
        for (index, id) in numbers.iter().enumerate() {
            let row = store.mailbox(*id).await.unwrap();
            let Some(mailbox) = self.mailboxes.get(&index) else {
                assert_eq!(row, None);
                continue;
            };
            let row = row.unwrap();
            assert_eq!(
                (row.account.0, &row.name, row.uid_next.0, row.highest_modseq.0),
                (mailbox.account, &mailbox.name, mailbox.uid_next, mailbox.modseq)
            );
            let rows = store.messages(*id, None, 1_000).await.unwrap();
            assert_eq!(rows.len(), mailbox.messages.len());
            assert_eq!(
                (row.messages as usize, row.octets),
                (rows.len(), rows.iter().map(|row| row.size).sum())
            );
            let counted = |which: fn(u64) -> bool| rows.iter().filter(move |row| which(row.flags.0));
            assert_eq!(
                (row.unseen as usize, row.deleted as usize, row.deleted_octets),
                (
                    counted(|flags| flags & 1 == 0).count(),
                    counted(|flags| flags & 8 != 0).count(),
                    counted(|flags| flags & 8 != 0).map(|row| row.size).sum()
                )
            );
            assert_eq!(row.special_use, mailbox.special_use);
            let names = mailbox.keywords.iter().zip(5..).map(|(name, bit)| (bit, name.clone()));
            assert_eq!(store.keywords(*id).unwrap()[..], names.collect::<Vec<_>>());
            let cards = store.cards(*id, None, 1_000, true).await.unwrap();
            assert_eq!(
                cards.iter().map(|carded| &carded.row).collect::<Vec<_>>(),
                rows.iter().collect::<Vec<_>>()
            );
            for carded in cards {
                assert_eq!(
                    (&carded.prefix[..], &carded.card[..]),
                    (&b"p"[..], &carded.row.size.to_be_bytes()[..])
                );
            }
            for (row, (uid, message)) in rows.iter().zip(&mailbox.messages) {
                assert_eq!((row.uid.0, row.modseq.0, row.flags.0), (*uid, message.modseq, message.flags));
                assert!(content(store, *id, row.uid).await == message.octets, "content of {uid}");
            }
        }
    }
}

impl Mailbox {
    /// What the store tells of changes since is what there was.
    async fn compare_changes(&self, store: &Store, id: MailboxId, since: u64) -> u64 {
        let changes = store.changes(id, ModSeq(since)).await.unwrap();
        assert!(changes.complete);
        assert_eq!(changes.upto.0, self.modseq);
        let expected = self.messages.iter().filter(|(_, message)| message.modseq > since);
        assert_eq!(
            changes.changed.iter().map(|row| (row.uid.0, row.modseq.0, row.flags.0)).collect::<Vec<_>>(),
            expected.map(|(uid, message)| (*uid, message.modseq, message.flags)).collect::<Vec<_>>()
        );
        let told = |uid: u32| changes.vanished.iter().any(|(first, last)| first.0 <= uid && uid <= last.0);
        assert!(self.gone.iter().filter(|(modseq, _)| *modseq > since).all(|(_, uid)| told(*uid)));
        assert!(!self.messages.keys().any(|uid| told(*uid)));
        assert!(changes.vanished.windows(2).all(|pair| pair[0].1 < pair[1].0));
        assert_eq!(changes.keywords.len(), self.keywords.len());
        changes.upto.0
    }
}

/// The same change for the store.
async fn translate(
    change: &Change,
    store: &Store,
    numbers: &[MailboxId],
    queued: &[QueueId],
    model: &Model,
) -> (Tx, Vec<crate::NewBody>) {
    let mut numbers = numbers.to_vec();
    // A mailbox made in this transaction has the next number; its guess is right for a backend that counts, and
    // wrong guesses name mailboxes that do not exist, as the model's do until then.
    let mut next = numbers.last().map_or(1, |last| last.0 + 1);
    let find = |numbers: &[MailboxId], index: usize| {
        numbers.get(index).copied().unwrap_or(MailboxId(900 + index as u64))
    };
    let require = change.needs.iter().map(|need| match need {
        Need::Key(key, version) => Require::KeyVersion { key: format!("k{key}"), version: *version },
        Need::Account(account) => Require::Account(AccountId(*account)),
        Need::Mailbox(mailbox) => Require::Mailbox(find(&numbers, *mailbox)),
        Need::Room(account, limit) => {
            Require::Room { account: AccountId(*account), octets: 100, limit: *limit }
        }
        Need::Queue(need) => need.translate(queued, &model.queue),
    });
    let require = require.collect();
    let mut bodies = Vec::new();
    let mut ops = Vec::new();
    let wide = |list: &[u8]| list.iter().map(|uid| Uid(u32::from(*uid))).collect::<Vec<_>>();
    for act in &change.acts {
        ops.push(match act {
            Act::Put(key, value) => Op::Put { key: format!("k{key}"), value: vec![*value] },
            Act::Remove(key) => Op::Remove { key: format!("k{key}") },
            Act::CreateAccount(account) => Op::CreateAccount(AccountId(*account)),
            Act::RemoveAccount(account) => Op::RemoveAccount(AccountId(*account)),
            Act::Create(account, name) => {
                numbers.push(MailboxId(next));
                next += 1;
                Op::CreateMailbox {
                    account: AccountId(*account),
                    name: format!("n{name}"),
                    special_use: None,
                    uid_validity: None,
                }
            }
            Act::Rename(mailbox, name) => {
                Op::RenameMailbox { mailbox: find(&numbers, *mailbox), name: format!("n{name}") }
            }
            Act::RemoveMailbox(mailbox) => Op::RemoveMailbox(find(&numbers, *mailbox)),
            Act::Purpose(mailbox, what) => Op::SetSpecialUse {
                mailbox: find(&numbers, *mailbox),
                special_use: what.map(|what| format!("\\Use{what}")),
            },
            Act::UidNext(mailbox, uid) => {
                Op::SetUidNext { mailbox: find(&numbers, *mailbox), uid_next: Uid(u32::from(*uid)) }
            }
            Act::Add(mailbox, fill, flags, words, uid) => {
                bodies.push(body(store, &octets(*fill)).await);
                Op::AddMessage(AddMessage {
                    mailbox: find(&numbers, *mailbox),
                    body: BodySource::New(bodies.len() - 1),
                    prefix: bytes::Bytes::from_static(b"p"),
                    card: (u64::from(*fill) * 11 + 1).to_be_bytes().to_vec().into(),
                    flags: Flags(u64::from(*flags)),
                    keywords: words.iter().map(|which| word(*which)).collect(),
                    received_at: 0,
                    uid: uid.map(|uid| Uid(u32::from(uid))),
                })
            }
            Act::Copy(from, uids, to) => {
                Op::Copy { from: find(&numbers, *from), uids: wide(uids), to: find(&numbers, *to) }
            }
            Act::Flag(mailbox, uids, change, words, since) => Op::SetFlags {
                mailbox: find(&numbers, *mailbox),
                uids: wide(uids),
                change: *change,
                keywords: words.iter().map(|which| word(*which)).collect(),
                unchanged_since: since.map(|since| ModSeq(since.into())),
            },
            Act::Expunge(mailbox, uids) => {
                Op::Expunge { mailbox: find(&numbers, *mailbox), uids: wide(uids) }
            }
            Act::Queue(act) => act.translate(store, queued, &mut bodies).await,
        });
    }
    (Tx { id: change.id.map(|id| TxId(u128::from(id))), require, ops }, bodies)
}

async fn follow(place: &impl Place, changes: Vec<Change>) {
    let mut store = place.open();
    let mut model = Model::default();
    let (mut numbers, mut queued) = (Vec::new(), Vec::new());
    let mut validity = 0;
    // How far somebody has followed each mailbox.
    let mut followed: BTreeMap<usize, u64> = BTreeMap::new();
    for change in changes {
        let (tx, bodies) = translate(&change, &store, &numbers, &queued, &model).await;
        let known = change.id.is_some_and(|id| model.receipts.contains_key(&u128::from(id)));
        let made = model.made;
        let expected = model.commit(&change);
        let mut answer = store.commit(tx, bodies).await;
        if let Ok(receipt) = &mut answer {
            for (index, result) in receipt.results.iter_mut().enumerate() {
                queue::blank(result, &mut queued, !known);
                let OpResult::Mailbox(id, UidValidity(given)) = result else { continue };
                // A receipt from before tells of mailboxes from before.
                if !known {
                    assert!(*given > validity, "a validity that was there before");
                    validity = *given;
                    if let Some(Act::Create(..)) = change.acts.get(index) {
                        numbers.push(*id);
                    }
                }
                *result = blank();
            }
        }
        assert_eq!(answer, expected, "{change:?}");
        assert_eq!(numbers.len() - made.min(numbers.len()), model.made - made);
        for (index, mailbox) in &model.mailboxes {
            let since = followed.entry(*index).or_default();
            *since = mailbox.compare_changes(&store, numbers[*index], *since).await;
        }
        model.queue.compare_times(&store).await;
        for ask in &change.asks {
            model.queue.ask(&store, &queued, ask).await;
            model.queue.compare_times(&store).await;
        }
        for now in [20, 45, i64::MAX] {
            model.queue.compare_awake(&store, now).await;
        }
        match change.then {
            Then::Nothing => {}
            Then::Reopen => {
                model.compare(&store, &numbers).await;
                model.queue.compare(&store, &queued).await;
                store.stop().await;
                store = place.open();
                model.queue.forget_leases();
            }
            Then::Maintain => store.maintain().await,
        }
    }
    model.compare(&store, &numbers).await;
    model.queue.compare(&store, &queued).await;
    for (index, mailbox) in &model.mailboxes {
        for since in [0, 3, mailbox.modseq / 2] {
            mailbox.compare_changes(&store, numbers[*index], since).await;
        }
    }
}

fn cases() -> u32 {
    if std::env::var_os("PACKETBOAT_LONG").is_some() { 500 } else { 12 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn embedded_does_what_the_model_does(changes in prop::collection::vec(change(), 1..60)) {
        run(follow(&Embedded::new(), [start()].into_iter().chain(changes).collect()));
    }
}

/// Two accounts with two mailboxes, so that most of what follows has something to work on.
fn start() -> Change {
    let acts = vec![
        Act::CreateAccount(1),
        Act::CreateAccount(2),
        Act::Create(1, 0),
        Act::Create(2, 0),
        Act::Add(0, 9, 0, vec![], None),
        Act::Add(1, 200, 0, vec![], None),
        Act::Add(0, 90, 0, vec![], None),
    ];
    Change { id: None, needs: vec![], acts, asks: vec![], then: Then::Nothing }
}
