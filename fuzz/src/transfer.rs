//! Mail that is brought in: mbox files, and the UIDs of a Maildir, as whatever program wrote them.
//!
//! Their readers are private to the client; they are compiled here again.

#![allow(dead_code)]

#[path = "../../crates/client/src/transfer/mbox/scan.rs"]
mod scan;
#[path = "../../crates/client/src/transfer/uidlist.rs"]
mod uidlist;

use std::io::{BufRead, BufReader};

use scan::{Found, Scan};
use uidlist::UidList;

pub(crate) const SEEN: u8 = 1;
pub(crate) const ANSWERED: u8 = 2;
pub(crate) const FLAGGED: u8 = 4;
pub(crate) const DELETED: u8 = 8;
pub(crate) const DRAFT: u8 = 16;

/// Keywords of a message at most, as `scan` has it.
const KEYWORDS_MAX: usize = 100;

/// An mbox: the messages are the same however it is read, and each is the same read again from where it begins.
pub fn mbox(data: &[u8]) {
    let all = messages(data, 0, usize::MAX);
    assert_eq!(messages(BufReader::with_capacity(1, data), 0, usize::MAX), all);
    for message in &all {
        assert!(message.1.len() <= data.len(), "it is no longer than what it was read from");
        let at = message.0.at;
        let rest = usize::try_from(at).ok().and_then(|at| data.get(at..)).unwrap_or_default();
        assert_eq!(messages(rest, at, 1).first(), Some(message));
        assert!(message.0.keywords.len() <= KEYWORDS_MAX);
    }
}

fn messages(reader: impl BufRead, at: u64, most: usize) -> Vec<(scan::Facts, Vec<u8>)> {
    let mut scan = Scan::new(reader, at);
    let (mut all, mut octets) = (Vec::new(), Vec::new());
    while all.len() < most {
        match scan.next() {
            Ok(Some(Found::Begin)) => octets.clear(),
            Ok(Some(Found::Octets)) => octets.extend_from_slice(&scan.out),
            Ok(Some(Found::End)) => all.push((scan.facts().clone(), std::mem::take(&mut octets))),
            Ok(Some(Found::Nothing) | None) | Err(_) => break,
        }
    }
    all
}

/// `dovecot-uidlist`: what is read of it, written again, is read the same. And `dovecot-keywords`.
pub fn uidlist(data: &[u8]) {
    let _ = uidlist::keywords(&String::from_utf8_lossy(data));
    let Some(list) = UidList::parse(data) else { return };
    assert!(list.uid_validity > 0);
    assert!(list.uids.values().all(|uid| *uid < list.uid_next || *uid == u32::MAX));
    let mut uids: Vec<(&str, u32)> = list.uids.iter().map(|(name, uid)| (&**name, *uid)).collect();
    uids.sort_by_key(|(_, uid)| *uid);
    let mut written = UidList::header(list.uid_validity, list.uid_next, 7);
    uids.iter().for_each(|(name, uid)| UidList::line(*uid, name, &mut written));
    assert_eq!(UidList::parse(written.as_bytes()), Some(list));
}
