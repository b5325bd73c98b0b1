//! What a transaction did, as written to the log. Operations say what is wanted; effects say what came of it, numbers
//! included, so that carrying them out again gives the same rows. The live path and the replay of the log share one
//! function that carries them out ([`super::tables`]).

use bytes::Bytes;

use super::codec::{Put, Take};
use super::queue::effect::{self as queue, QueueEffect};
use super::runs::Runs;
use crate::tx::{OpResult, Receipt};
use crate::{MailboxId, ModSeq, QueueId, Uid, UidValidity};

/// One thing a transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Put {
        key: String,
        version: u64,
        value: Vec<u8>,
    },
    Remove {
        key: String,
    },
    AccountMade {
        account: u64,
    },
    AccountRemoved {
        account: u64,
    },
    MailboxMade(MailboxMade),
    MailboxRenamed {
        mailbox: u64,
        name: String,
        uid_validity: u32,
        modseq: u64,
    },
    MailboxRemoved {
        mailbox: u64,
        modseq: u64,
    },
    Purpose {
        mailbox: u64,
        modseq: u64,
        special_use: Option<String>,
    },
    UidNext {
        mailbox: u64,
        modseq: u64,
        uid_next: u32,
    },
    /// A change of its messages always follows, with a number of its own.
    KeywordMade {
        mailbox: u64,
        bit: u8,
        name: String,
    },
    Added(Added),
    Copied(Copied),
    Flagged(Flagged),
    Expunged {
        mailbox: u64,
        modseq: u64,
        runs: Runs,
    },
    Receipt {
        id: u128,
        receipt: Receipt,
    },
    Queue(QueueEffect),
}

/// A mailbox that came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MailboxMade {
    pub(crate) mailbox: u64,
    pub(crate) account: u64,
    pub(crate) name: String,
    pub(crate) uid_validity: u32,
    pub(crate) modseq: u64,
    pub(crate) special_use: Option<String>,
}

/// Messages that were copied: all that are there in the ranges of UIDs, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) modseq: u64,
    pub(crate) saved_at: i64,
    /// The UID the first one gets.
    pub(crate) first: u32,
    /// Without gaps.
    pub(crate) runs: Runs,
    /// Keywords they have, as bits in the one and the other mailbox.
    pub(crate) keywords: Vec<(u8, u8)>,
}

/// Messages whose flags changed: all in the ranges of UIDs that are not younger than `upto` and whose flags differ
/// from what they become, which is what they were, without `clear`, with `set`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flagged {
    pub(crate) mailbox: u64,
    pub(crate) modseq: u64,
    pub(crate) upto: u64,
    pub(crate) clear: u64,
    pub(crate) set: u64,
    pub(crate) runs: Runs,
    /// What it does to the mailbox's counters.
    pub(crate) unseen: i64,
    pub(crate) deleted: i64,
    pub(crate) deleted_octets: i64,
}

/// A message that appeared in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) mailbox: u64,
    pub(crate) uid: u32,
    pub(crate) modseq: u64,
    pub(crate) flags: u64,
    pub(crate) size: u64,
    pub(crate) received_at: i64,
    pub(crate) saved_at: i64,
    pub(crate) body: u64,
    pub(crate) side: Side,
}

/// Where a message's prefix and card are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side {
    /// It has neither.
    None,
    /// In a new row.
    New { side: u64, prefix: Bytes, card: Bytes },
}

impl Effect {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Effect::Put { key, version, value } => {
                out.push(1);
                out.put_bytes(key.as_bytes());
                out.put_number(*version);
                out.put_bytes(value);
            }
            Effect::Remove { key } => {
                out.push(2);
                out.put_bytes(key.as_bytes());
            }
            Effect::AccountMade { account } => {
                out.push(3);
                out.put_number(*account);
            }
            Effect::AccountRemoved { account } => {
                out.push(4);
                out.put_number(*account);
            }
            Effect::MailboxMade(made) => {
                out.push(5);
                out.put_number(made.mailbox);
                out.put_number(made.account);
                out.put_bytes(made.name.as_bytes());
                out.put_number(u64::from(made.uid_validity));
                out.put_number(made.modseq);
                put_optional(made.special_use.as_deref(), out);
            }
            Effect::MailboxRenamed { mailbox, name, uid_validity, modseq } => {
                out.push(6);
                out.put_number(*mailbox);
                out.put_bytes(name.as_bytes());
                out.put_number(u64::from(*uid_validity));
                out.put_number(*modseq);
            }
            Effect::MailboxRemoved { mailbox, modseq } => {
                out.push(7);
                out.put_number(*mailbox);
                out.put_number(*modseq);
            }
            Effect::Added(added) => {
                out.push(8);
                added.encode(out);
            }
            Effect::Flagged(flagged) => {
                out.push(9);
                out.put_number(flagged.mailbox);
                out.put_number(flagged.modseq);
                out.put_number(flagged.upto);
                out.put_number(flagged.clear);
                out.put_number(flagged.set);
                put_runs(&flagged.runs, out);
                out.put_signed(flagged.unseen);
                out.put_signed(flagged.deleted);
                out.put_signed(flagged.deleted_octets);
            }
            Effect::Expunged { mailbox, modseq, runs } => {
                out.push(10);
                out.put_number(*mailbox);
                out.put_number(*modseq);
                put_runs(runs, out);
            }
            Effect::Receipt { id, receipt } => {
                out.push(11);
                out.put_wide(*id);
                let mut bytes = Vec::new();
                encode_receipt(receipt, &mut bytes);
                out.put_bytes(&bytes);
            }
            Effect::Copied(copied) => {
                out.push(12);
                out.put_number(copied.from);
                out.put_number(copied.to);
                out.put_number(copied.modseq);
                out.put_signed(copied.saved_at);
                out.put_number(u64::from(copied.first));
                put_runs(&copied.runs, out);
                out.put_number(copied.keywords.len() as u64);
                for (from, to) in &copied.keywords {
                    out.extend_from_slice(&[*from, *to]);
                }
            }
            Effect::KeywordMade { mailbox, bit, name } => {
                out.push(13);
                out.put_number(*mailbox);
                out.push(*bit);
                out.put_bytes(name.as_bytes());
            }
            Effect::Purpose { mailbox, modseq, special_use } => {
                out.push(14);
                out.put_number(*mailbox);
                out.put_number(*modseq);
                put_optional(special_use.as_deref(), out);
            }
            Effect::UidNext { mailbox, modseq, uid_next } => {
                out.push(15);
                out.put_number(*mailbox);
                out.put_number(*modseq);
                out.put_number(u64::from(*uid_next));
            }
            Effect::Queue(effect) => effect.encode(out),
        }
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Option<Effect> {
        Some(match take.byte()? {
            1 => Effect::Put { key: take.text()?, version: take.number()?, value: take.bytes()?.to_vec() },
            2 => Effect::Remove { key: take.text()? },
            3 => Effect::AccountMade { account: take.number()? },
            4 => Effect::AccountRemoved { account: take.number()? },
            5 => Effect::MailboxMade(MailboxMade {
                mailbox: take.number()?,
                account: take.number()?,
                name: take.text()?,
                uid_validity: take.number32()?,
                modseq: take.number()?,
                special_use: take_optional(take)?,
            }),
            6 => Effect::MailboxRenamed {
                mailbox: take.number()?,
                name: take.text()?,
                uid_validity: take.number32()?,
                modseq: take.number()?,
            },
            7 => Effect::MailboxRemoved { mailbox: take.number()?, modseq: take.number()? },
            8 => Effect::Added(Added::decode(take)?),
            9 => Effect::Flagged(Flagged {
                mailbox: take.number()?,
                modseq: take.number()?,
                upto: take.number()?,
                clear: take.number()?,
                set: take.number()?,
                runs: take_runs(take)?,
                unseen: take.signed()?,
                deleted: take.signed()?,
                deleted_octets: take.signed()?,
            }),
            10 => {
                Effect::Expunged { mailbox: take.number()?, modseq: take.number()?, runs: take_runs(take)? }
            }
            11 => Effect::Receipt { id: take.wide()?, receipt: decode_receipt(take.bytes()?)? },
            12 => Effect::Copied(Copied {
                from: take.number()?,
                to: take.number()?,
                modseq: take.number()?,
                saved_at: take.signed()?,
                first: take.number32()?,
                runs: take_runs(take)?,
                keywords: {
                    let count = take.count()?;
                    (0..count).map(|_| Some((take_bit(take)?, take_bit(take)?))).collect::<Option<_>>()?
                },
            }),
            13 => Effect::KeywordMade { mailbox: take.number()?, bit: take_bit(take)?, name: take.text()? },
            14 => Effect::Purpose {
                mailbox: take.number()?,
                modseq: take.number()?,
                special_use: take_optional(take)?,
            },
            15 => Effect::UidNext {
                mailbox: take.number()?,
                modseq: take.number()?,
                uid_next: take.number32()?,
            },
            first @ queue::FIRST..=queue::LAST => Effect::Queue(QueueEffect::decode(first, take)?),
            _ => return None,
        })
    }
}

impl Added {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_number(self.mailbox);
        out.put_number(u64::from(self.uid));
        out.put_number(self.modseq);
        out.put_number(self.flags);
        out.put_number(self.size);
        out.put_signed(self.received_at);
        out.put_signed(self.saved_at);
        out.put_number(self.body);
        self.side.encode(out);
    }

    fn decode(take: &mut Take<'_>) -> Option<Added> {
        Some(Added {
            mailbox: take.number()?,
            uid: take.number32()?,
            modseq: take.number()?,
            flags: take.number()?,
            size: take.number()?,
            received_at: take.signed()?,
            saved_at: take.signed()?,
            body: take.number()?,
            side: Side::decode(take)?,
        })
    }
}

impl Side {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Side::None => out.push(0),
            Side::New { side, prefix, card } => {
                out.push(1);
                out.put_number(*side);
                out.put_bytes(prefix);
                out.put_bytes(card);
            }
        }
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Option<Side> {
        Some(match take.byte()? {
            0 => Side::None,
            1 => Side::New {
                side: take.number()?,
                prefix: Bytes::copy_from_slice(take.bytes()?),
                card: Bytes::copy_from_slice(take.bytes()?),
            },
            _ => return None,
        })
    }
}

/// Reads all effects of a transaction's record.
pub(crate) fn decode_all(meta: &[u8]) -> Option<Vec<Effect>> {
    let mut take = Take(meta);
    let mut effects = Vec::new();
    while !take.is_empty() {
        effects.push(Effect::decode(&mut take)?);
    }
    Some(effects)
}

/// Where a range begins behind the one before, and how long it is.
fn put_runs(runs: &[(u32, u32)], out: &mut Vec<u8>) {
    out.put_number(runs.len() as u64);
    let mut end = 0;
    for (first, last) in runs {
        out.put_number(u64::from(first.saturating_sub(end)));
        out.put_number(u64::from(last.saturating_sub(*first)));
        end = *last;
    }
}

fn take_runs(take: &mut Take<'_>) -> Option<Runs> {
    let count = take.count()?;
    let mut end = 0u32;
    (0..count)
        .map(|_| {
            let first = end.checked_add(take.number32()?)?;
            end = first.checked_add(take.number32()?)?;
            Some((first, end))
        })
        .collect()
}

fn put_optional(value: Option<&str>, out: &mut Vec<u8>) {
    out.push(value.is_some().into());
    out.put_bytes(value.unwrap_or_default().as_bytes());
}

fn take_optional(take: &mut Take<'_>) -> Option<Option<String>> {
    let some = take.byte()? == 1;
    let text = take.text()?;
    Some(some.then_some(text))
}

/// A bit of the flags.
fn take_bit(take: &mut Take<'_>) -> Option<u8> {
    take.byte().filter(|bit| *bit < 64)
}

fn put_uids(uids: &[Uid], out: &mut Vec<u8>) {
    out.put_number(uids.len() as u64);
    for uid in uids {
        out.put_number(u64::from(uid.0));
    }
}

fn take_uids(take: &mut Take<'_>) -> Option<Vec<Uid>> {
    let count = take.count()?;
    (0..count).map(|_| take.number32().map(Uid)).collect()
}

fn take_queue_ids(take: &mut Take<'_>) -> Option<Vec<QueueId>> {
    Some(queue::take_ids(take)?.into_iter().map(QueueId).collect())
}

/// A receipt as octets.
pub(crate) fn encode_receipt(receipt: &Receipt, out: &mut Vec<u8>) {
    out.put_number(receipt.results.len() as u64);
    for result in &receipt.results {
        match result {
            OpResult::Done => out.push(0),
            OpResult::Version(version) => {
                out.push(1);
                out.put_number(*version);
            }
            OpResult::Mailbox(id, validity) => {
                out.push(2);
                out.put_number(id.0);
                out.put_number(u64::from(validity.0));
            }
            OpResult::Added(uid, modseq) => {
                out.push(3);
                out.put_number(u64::from(uid.0));
                out.put_number(modseq.0);
            }
            OpResult::Copied(pairs) => {
                out.push(4);
                out.put_number(pairs.len() as u64);
                for (from, to) in pairs {
                    out.put_number(u64::from(from.0));
                    out.put_number(u64::from(to.0));
                }
            }
            OpResult::Changed(uids, modseq) => {
                out.push(5);
                put_uids(uids, out);
                out.put_number(modseq.0);
            }
            OpResult::Flagged { changed, modified, modseq } => {
                out.push(6);
                put_uids(changed, out);
                put_uids(modified, out);
                out.put_number(modseq.0);
            }
            OpResult::Queued(ids) => {
                out.push(7);
                queue::put_ids(ids.iter().map(|id| id.0), out);
            }
            OpResult::Dequeued(ids) => {
                out.push(8);
                queue::put_ids(ids.iter().map(|id| id.0), out);
            }
        }
    }
}

/// A receipt from octets.
pub(crate) fn decode_receipt(bytes: &[u8]) -> Option<Receipt> {
    let mut take = Take(bytes);
    let count = take.count()?;
    let results = (0..count)
        .map(|_| {
            Some(match take.byte()? {
                0 => OpResult::Done,
                1 => OpResult::Version(take.number()?),
                2 => OpResult::Mailbox(MailboxId(take.number()?), UidValidity(take.number32()?)),
                3 => OpResult::Added(Uid(take.number32()?), ModSeq(take.number()?)),
                4 => {
                    let count = take.count()?;
                    let pairs = (0..count).map(|_| Some((Uid(take.number32()?), Uid(take.number32()?))));
                    OpResult::Copied(pairs.collect::<Option<_>>()?)
                }
                5 => OpResult::Changed(take_uids(&mut take)?, ModSeq(take.number()?)),
                6 => OpResult::Flagged {
                    changed: take_uids(&mut take)?,
                    modified: take_uids(&mut take)?,
                    modseq: ModSeq(take.number()?),
                },
                7 => OpResult::Queued(take_queue_ids(&mut take)?),
                8 => OpResult::Dequeued(take_queue_ids(&mut take)?),
                _ => return None,
            })
        })
        .collect::<Option<_>>()?;
    take.is_empty().then_some(Receipt { results })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_octets_are_an_answer(octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            // Begun like something, and then anything.
            for tag in 0..=queue::LAST + 1 {
                let octets = [&[tag], &octets[..]].concat();
                if let Some(effects) = decode_all(&octets) {
                    let mut again = Vec::new();
                    effects.iter().for_each(|effect| effect.encode(&mut again));
                    proptest::prop_assert_eq!(decode_all(&again).unwrap(), effects);
                }
                decode_receipt(&octets);
            }
        }
    }

    #[test]
    fn effects_come_back() {
        let added = |side| {
            Effect::Added(Added {
                mailbox: 7,
                uid: 8,
                modseq: 9,
                flags: 1 << 63 | 3,
                size: 1 << 40,
                received_at: -5,
                saved_at: 1 << 50,
                body: 1 << 50,
                side,
            })
        };
        let receipt = Receipt {
            results: vec![
                OpResult::Done,
                OpResult::Version(3),
                OpResult::Mailbox(MailboxId(1), UidValidity(2)),
                OpResult::Added(Uid(1), ModSeq(2)),
                OpResult::Copied(vec![(Uid(1), Uid(5)), (Uid(2), Uid(6))]),
                OpResult::Changed(vec![Uid(4), Uid(9)], ModSeq(77)),
                OpResult::Flagged { changed: vec![Uid(4)], modified: vec![Uid(9)], modseq: ModSeq(78) },
                OpResult::Queued(vec![QueueId(7), QueueId(1 << 50)]),
                OpResult::Dequeued(vec![]),
            ],
        };
        let mut effects = vec![
            Effect::Put { key: "a/b".into(), version: 2, value: vec![0, 255] },
            Effect::Remove { key: "ü".into() },
            Effect::AccountMade { account: u64::MAX },
            Effect::AccountRemoved { account: 1 },
            Effect::MailboxMade(MailboxMade {
                mailbox: 1,
                account: 2,
                name: "INBOX".into(),
                uid_validity: 3,
                modseq: 4,
                special_use: Some(String::new()),
            }),
            Effect::Purpose { mailbox: 1, modseq: 9, special_use: None },
            Effect::UidNext { mailbox: 1, modseq: 9, uid_next: u32::MAX },
            Effect::KeywordMade { mailbox: 1, bit: 63, name: "$Junk".into() },
            Effect::MailboxRenamed { mailbox: 1, name: "x".into(), uid_validity: 9, modseq: 5 },
            Effect::MailboxRemoved { mailbox: 1, modseq: 6 },
            added(Side::None),
            added(Side::New { side: 4, prefix: Bytes::from_static(b"p"), card: Bytes::new() }),
            Effect::Copied(Copied {
                from: 1,
                to: 2,
                modseq: 3,
                saved_at: 4,
                first: 5,
                runs: vec![(1, 1), (3, 900)],
                keywords: vec![(5, 63)],
            }),
            Effect::Flagged(Flagged {
                mailbox: 1,
                modseq: 2,
                upto: u64::MAX,
                clear: u64::MAX,
                set: 8,
                runs: vec![(1, 2), (3, u32::MAX)],
                unseen: -7,
                deleted: 0,
                deleted_octets: i64::MIN,
            }),
            Effect::Expunged { mailbox: 1, modseq: 2, runs: vec![(1, 2), (300, 300)] },
            Effect::Receipt { id: 5, receipt },
        ];
        effects.extend(queue::examples().into_iter().map(Effect::Queue));
        let mut out = Vec::new();
        for effect in &effects {
            effect.encode(&mut out);
        }
        assert_eq!(decode_all(&out).unwrap(), effects);
        for cut in 1..out.len() {
            // Cut between two effects it is a shorter list, elsewhere it is nothing; never a panic, never another list.
            if let Some(shorter) = decode_all(&out[..cut]) {
                assert!(effects.starts_with(&shorter), "cut at {cut}");
            }
        }
    }
}
