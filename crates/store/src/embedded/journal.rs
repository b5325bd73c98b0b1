//! Which messages changed lately, for mailboxes that somebody follows: so that telling what is new costs what is new,
//! not a walk through the mailbox.
//!
//! A journal names candidates: every message that changed behind its beginning, and perhaps others. It is written before
//! the commit, so whoever reads it after beginning to read the rows finds everything the rows show. What was undone
//! leaves candidates that have not changed, which their rows tell.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::runs::Runs;

/// Mailboxes that are followed; the ones asked for longest ago make room.
const MAILBOXES: usize = 2_048;
/// Entries kept for one mailbox.
const ENTRIES: usize = 512;
/// UIDs that one entry of single changes may span.
const SPAN: u32 = 32;

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The highest of its changes.
    modseq: u64,
    first: u32,
    last: u32,
}

#[derive(Debug, Default)]
struct Followed {
    /// Every change behind this one is in the entries; `None` until the writer has said so.
    from: Option<u64>,
    /// By modification sequence.
    entries: VecDeque<Entry>,
    /// When it was last asked for, as [`Inner::asked`] counts.
    asked: u64,
}

#[derive(Debug, Default)]
struct Inner {
    mailboxes: HashMap<u64, Followed>,
    /// Waiting for the writer to tell where they begin.
    pending: Vec<u64>,
    asked: u64,
}

/// The journals of all followed mailboxes. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal {
    inner: Arc<Mutex<Inner>>,
    /// Whether there is any.
    any: Arc<AtomicBool>,
}

impl Journal {
    /// Candidates for having changed behind `since`, as ascending ranges; `None` when that is not known. From now on
    /// the mailbox is followed.
    pub(crate) fn since(&self, mailbox: u64, since: u64) -> Option<Runs> {
        let mut inner = self.inner.lock();
        inner.asked += 1;
        let asked = inner.asked;
        if let Some(followed) = inner.mailboxes.get_mut(&mailbox) {
            followed.asked = asked;
            if followed.from.is_none_or(|from| since < from) {
                return None;
            }
            let entries = followed.entries.iter().rev().take_while(|entry| entry.modseq > since);
            return Some(merged(entries.map(|entry| (entry.first, entry.last)).collect()));
        }
        if inner.mailboxes.len() >= MAILBOXES {
            inner.forget_some();
        }
        inner.mailboxes.insert(mailbox, Followed { asked, ..Followed::default() });
        inner.pending.push(mailbox);
        self.any.store(true, Ordering::Release);
        None
    }

    /// Mailboxes that wait to be told where they begin. Between two groups only: what a group did before is not noted.
    pub(crate) fn pending(&self) -> Vec<u64> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        std::mem::take(&mut self.inner.lock().pending)
    }

    /// All changes behind this one will be noted.
    pub(crate) fn begin(&self, mailbox: u64, modseq: u64) {
        if let Some(followed) = self.inner.lock().mailboxes.get_mut(&mailbox) {
            followed.from.get_or_insert(modseq);
        }
    }

    /// These changed, perhaps with others between them.
    pub(crate) fn note(&self, mailbox: u64, modseq: u64, runs: &[(u32, u32)]) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut inner = self.inner.lock();
        let Some(followed) = inner.mailboxes.get_mut(&mailbox) else { return };
        if followed.from.is_none() {
            return;
        }
        // Many ranges are one that is too wide: fewer rows are looked at than in a walk through all.
        let wide = match (runs.first(), runs.last()) {
            (Some((first, _)), Some((_, last))) if runs.len() > ENTRIES / 4 => Some([(*first, *last)]),
            _ => None,
        };
        for (first, last) in wide.as_ref().map_or(runs, |wide| &wide[..]) {
            followed.push(Entry { modseq, first: *first, last: *last });
        }
    }

    /// The mailbox is no more.
    pub(crate) fn forget(&self, mailbox: u64) {
        if self.any.load(Ordering::Acquire) {
            self.inner.lock().mailboxes.remove(&mailbox);
        }
    }
}

impl Followed {
    fn push(&mut self, entry: Entry) {
        if let Some(back) = self.entries.back_mut()
            && entry.first >= back.first
            && entry.first <= back.last.saturating_add(1)
            && (entry.last <= back.last || entry.last - back.first < SPAN)
        {
            back.last = back.last.max(entry.last);
            back.modseq = back.modseq.max(entry.modseq);
            return;
        }
        if self.entries.len() >= ENTRIES
            && let Some(front) = self.entries.pop_front()
        {
            self.from = self.from.max(Some(front.modseq));
        }
        self.entries.push_back(entry);
    }
}

impl Inner {
    /// Makes room for a quarter.
    fn forget_some(&mut self) {
        let mut asked: Vec<u64> = self.mailboxes.values().map(|followed| followed.asked).collect();
        asked.sort_unstable();
        let limit = asked.get(asked.len() / 4).copied().unwrap_or_default();
        self.mailboxes.retain(|_, followed| followed.asked > limit);
        let Inner { mailboxes, pending, .. } = self;
        pending.retain(|mailbox| mailboxes.contains_key(mailbox));
    }
}

/// The ranges in order, with those that touch made one.
pub(crate) fn merged(mut runs: Runs) -> Runs {
    runs.sort_unstable();
    let mut out = Runs::with_capacity(runs.len());
    for (first, last) in runs {
        match out.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => out.push((first, last)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn followed(mailbox: u64, from: u64) -> Journal {
        let journal = Journal::default();
        assert_eq!(journal.since(mailbox, 0), None);
        assert_eq!(journal.pending(), [mailbox]);
        journal.begin(mailbox, from);
        journal
    }

    #[test]
    fn it_knows_what_came_behind_its_beginning() {
        let journal = followed(7, 10);
        journal.note(7, 11, &[(1, 3), (9, 9)]);
        journal.note(8, 11, &[(5, 5)]);
        journal.note(7, 12, &[(4, 4)]);
        assert_eq!(journal.since(7, 9), None);
        assert_eq!(journal.since(7, 10), Some(vec![(1, 4), (9, 9)]));
        assert_eq!(journal.since(7, 11), Some(vec![(4, 4)]));
        assert_eq!(journal.since(7, 12), Some(vec![]));
        journal.forget(7);
        assert_eq!(journal.since(7, 12), None);
    }

    #[test]
    fn nothing_is_said_before_the_writer_did() {
        let journal = Journal::default();
        journal.note(1, 5, &[(1, 1)]);
        assert_eq!(journal.since(1, 5), None);
        journal.note(1, 6, &[(2, 2)]);
        assert_eq!(journal.since(1, 6), None, "6 may not be all");
        journal.begin(1, 6);
        assert_eq!(journal.since(1, 6), Some(vec![]));
    }

    #[test]
    fn it_is_bounded() {
        let journal = followed(1, 0);
        // Deliveries one after the other take little room.
        for uid in 1..=1_000u32 {
            journal.note(1, uid.into(), &[(uid, uid)]);
        }
        assert_eq!(journal.since(1, 0), Some(vec![(1, 1_000)]));
        for modseq in 1_001..3_000u64 {
            let uid = 1 + modseq as u32 % 2 * 500;
            journal.note(1, modseq, &[(uid, uid)]);
        }
        assert_eq!(journal.since(1, 1_000), None);
        assert_eq!(journal.since(1, 2_900), Some(vec![(1, 1), (501, 501)]));
        let many: Runs = (0..10_000).map(|at| (at * 10 + 1, at * 10 + 1)).collect();
        journal.note(1, 3_000, &many);
        assert_eq!(journal.since(1, 2_999), Some(vec![(1, 99_991)]));
        for mailbox in 0..10_000 {
            journal.since(mailbox, 0);
        }
        let inner = journal.inner.lock();
        assert!(inner.mailboxes.len() <= MAILBOXES && inner.pending.len() <= MAILBOXES);
        assert!(inner.mailboxes.contains_key(&9_999));
    }
}
