//! What a transaction did, as written to the log. Operations say what is wanted; effects say what came of it, numbers
//! included, so that carrying them out again gives the same rows. The live path and the replay of the log share one
//! function that carries them out ([`super::tables`]).

use bytes::Bytes;

use super::codec::{Put, Take};
use crate::tx::{OpResult, Receipt};
use crate::{Flags, MailboxId, ModSeq, Uid, UidValidity};

/// One thing a transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Put { key: String, version: u64, value: Vec<u8> },
    Remove { key: String },
    AccountMade { account: u64 },
    AccountRemoved { account: u64 },
    MailboxMade { mailbox: u64, account: u64, name: String, uid_validity: u32, modseq: u64 },
    MailboxRenamed { mailbox: u64, name: String, uid_validity: u32, modseq: u64 },
    MailboxRemoved { mailbox: u64, modseq: u64 },
    Added(Added),
    Flagged { mailbox: u64, modseq: u64, flags: Vec<(u32, u32)> },
    Expunged { mailbox: u64, modseq: u64, uids: Vec<u32> },
    Receipt { id: u128, receipt: Receipt },
}

/// A message that appeared in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) mailbox: u64,
    pub(crate) uid: u32,
    pub(crate) modseq: u64,
    pub(crate) flags: u32,
    pub(crate) size: u64,
    pub(crate) received_at: i64,
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
    /// In a new row, which is a copy of that one.
    CopyOf { side: u64, from: u64 },
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
            Effect::MailboxMade { mailbox, account, name, uid_validity, modseq } => {
                out.push(5);
                out.put_number(*mailbox);
                out.put_number(*account);
                out.put_bytes(name.as_bytes());
                out.put_number(u64::from(*uid_validity));
                out.put_number(*modseq);
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
            Effect::Flagged { mailbox, modseq, flags } => {
                out.push(9);
                out.put_number(*mailbox);
                out.put_number(*modseq);
                out.put_number(flags.len() as u64);
                for (uid, flags) in flags {
                    out.put_number(u64::from(*uid));
                    out.put_number(u64::from(*flags));
                }
            }
            Effect::Expunged { mailbox, modseq, uids } => {
                out.push(10);
                out.put_number(*mailbox);
                out.put_number(*modseq);
                put_uids(uids.iter().copied(), out);
            }
            Effect::Receipt { id, receipt } => {
                out.push(11);
                out.put_wide(*id);
                let mut bytes = Vec::new();
                encode_receipt(receipt, &mut bytes);
                out.put_bytes(&bytes);
            }
        }
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Option<Effect> {
        Some(match take.byte()? {
            1 => Effect::Put { key: take.text()?, version: take.number()?, value: take.bytes()?.to_vec() },
            2 => Effect::Remove { key: take.text()? },
            3 => Effect::AccountMade { account: take.number()? },
            4 => Effect::AccountRemoved { account: take.number()? },
            5 => Effect::MailboxMade {
                mailbox: take.number()?,
                account: take.number()?,
                name: take.text()?,
                uid_validity: take.number32()?,
                modseq: take.number()?,
            },
            6 => Effect::MailboxRenamed {
                mailbox: take.number()?,
                name: take.text()?,
                uid_validity: take.number32()?,
                modseq: take.number()?,
            },
            7 => Effect::MailboxRemoved { mailbox: take.number()?, modseq: take.number()? },
            8 => Effect::Added(Added::decode(take)?),
            9 => {
                let (mailbox, modseq) = (take.number()?, take.number()?);
                let count = take.count()?;
                let flags = (0..count)
                    .map(|_| Some((take.number32()?, take.number32()?)))
                    .collect::<Option<Vec<_>>>()?;
                Effect::Flagged { mailbox, modseq, flags }
            }
            10 => {
                Effect::Expunged { mailbox: take.number()?, modseq: take.number()?, uids: take_uids(take)? }
            }
            11 => Effect::Receipt { id: take.wide()?, receipt: decode_receipt(take.bytes()?)? },
            _ => return None,
        })
    }
}

impl Added {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_number(self.mailbox);
        out.put_number(u64::from(self.uid));
        out.put_number(self.modseq);
        out.put_number(u64::from(self.flags));
        out.put_number(self.size);
        out.put_signed(self.received_at);
        out.put_number(self.body);
        match &self.side {
            Side::None => out.push(0),
            Side::New { side, prefix, card } => {
                out.push(1);
                out.put_number(*side);
                out.put_bytes(prefix);
                out.put_bytes(card);
            }
            Side::CopyOf { side, from } => {
                out.push(2);
                out.put_number(*side);
                out.put_number(*from);
            }
        }
    }

    fn decode(take: &mut Take<'_>) -> Option<Added> {
        Some(Added {
            mailbox: take.number()?,
            uid: take.number32()?,
            modseq: take.number()?,
            flags: take.number32()?,
            size: take.number()?,
            received_at: take.signed()?,
            body: take.number()?,
            side: match take.byte()? {
                0 => Side::None,
                1 => Side::New {
                    side: take.number()?,
                    prefix: Bytes::copy_from_slice(take.bytes()?),
                    card: Bytes::copy_from_slice(take.bytes()?),
                },
                2 => Side::CopyOf { side: take.number()?, from: take.number()? },
                _ => return None,
            },
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

fn put_uids(uids: impl ExactSizeIterator<Item = u32>, out: &mut Vec<u8>) {
    out.put_number(uids.len() as u64);
    for uid in uids {
        out.put_number(u64::from(uid));
    }
}

fn take_uids(take: &mut Take<'_>) -> Option<Vec<u32>> {
    let count = take.count()?;
    (0..count).map(|_| take.number32()).collect()
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
                put_uids(uids.iter().map(|uid| uid.0), out);
                out.put_number(modseq.0);
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
                5 => {
                    let uids = take_uids(&mut take)?.into_iter().map(Uid).collect();
                    OpResult::Changed(uids, ModSeq(take.number()?))
                }
                _ => return None,
            })
        })
        .collect::<Option<_>>()?;
    take.is_empty().then_some(Receipt { results })
}

pub(crate) fn flags_after(flags: Flags, change: crate::FlagChange) -> Flags {
    match change {
        crate::FlagChange::Add(more) => Flags(flags.0 | more.0),
        crate::FlagChange::Remove(fewer) => Flags(flags.0 & !fewer.0),
        crate::FlagChange::Replace(these) => these,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_octets_are_an_answer(octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            // Begun like something, and then anything.
            for tag in 0..=12 {
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
                flags: 3,
                size: 1 << 40,
                received_at: -5,
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
            ],
        };
        let effects = vec![
            Effect::Put { key: "a/b".into(), version: 2, value: vec![0, 255] },
            Effect::Remove { key: "ü".into() },
            Effect::AccountMade { account: u64::MAX },
            Effect::AccountRemoved { account: 1 },
            Effect::MailboxMade { mailbox: 1, account: 2, name: "INBOX".into(), uid_validity: 3, modseq: 4 },
            Effect::MailboxRenamed { mailbox: 1, name: "x".into(), uid_validity: 9, modseq: 5 },
            Effect::MailboxRemoved { mailbox: 1, modseq: 6 },
            added(Side::None),
            added(Side::New { side: 4, prefix: Bytes::from_static(b"p"), card: Bytes::new() }),
            added(Side::CopyOf { side: 5, from: 4 }),
            Effect::Flagged { mailbox: 1, modseq: 2, flags: vec![(1, 2), (3, 4)] },
            Effect::Expunged { mailbox: 1, modseq: 2, uids: vec![1, 2, 300] },
            Effect::Receipt { id: 5, receipt },
        ];
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
