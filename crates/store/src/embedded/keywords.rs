//! Which keyword a bit is, mailbox by mailbox.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::Flags;

/// The first bit that is a keyword's.
const FIRST: u8 = 5;
/// The last one.
const LAST: u8 = 63;

/// A mailbox's keywords, by bit.
pub(crate) type Keywords = Arc<[(u8, String)]>;

/// The bit a name has.
pub(crate) fn bit(names: &[(u8, String)], name: &str) -> Option<u8> {
    names.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(bit, _)| *bit)
}

/// The bit a new name gets. Bits are never given back, so that no bit ever means two things.
pub(crate) fn next_bit(names: &[(u8, String)]) -> Option<u8> {
    let next = names.last().map_or(FIRST, |(last, _)| last.saturating_add(1));
    (next <= LAST).then_some(next)
}

/// All flags that mean something.
pub(crate) fn mask(names: &[(u8, String)]) -> u64 {
    names.iter().fold(Flags::SYSTEM.0, |mask, (bit, _)| mask | 1u64.checked_shl((*bit).into()).unwrap_or(0))
}

/// Mailboxes whose names are kept.
const KEPT: usize = 4_096;

/// The names as readers last saw them.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    names: HashMap<u64, Keywords>,
    /// One more with each commit that changed some.
    generation: u64,
}

impl Known {
    /// What is known, and the generation to give back with what is read instead.
    pub(crate) fn get(&self, mailbox: u64) -> (Option<Keywords>, u64) {
        let inner = self.0.lock();
        (inner.names.get(&mailbox).cloned(), inner.generation)
    }

    /// Keeps what was read, unless some were changed since.
    pub(crate) fn insert(&self, mailbox: u64, names: &Keywords, generation: u64) {
        let mut inner = self.0.lock();
        if inner.generation == generation {
            if inner.names.len() >= KEPT {
                inner.names.clear();
            }
            inner.names.insert(mailbox, names.clone());
        }
    }

    /// These mailboxes' names were changed by a commit that readers see.
    pub(crate) fn forget(&self, mailboxes: &[u64]) {
        if mailboxes.is_empty() {
            return;
        }
        let mut inner = self.0.lock();
        inner.generation += 1;
        for mailbox in mailboxes {
            inner.names.remove(mailbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_go_up_to_the_last() {
        let mut names = Vec::new();
        while let Some(bit) = next_bit(&names) {
            names.push((bit, format!("K{bit}")));
        }
        assert_eq!(names.len(), 59);
        assert_eq!(mask(&names), u64::MAX);
        assert_eq!(mask(&[]), 31);
        assert_eq!(bit(&names, "k63"), Some(63));
        assert_eq!(bit(&names, "k64"), None);
    }
}
