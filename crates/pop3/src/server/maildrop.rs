//! The maildrop as one session sees it: fixed numbers and sizes, and what is marked as deleted.

use std::fmt;

/// Sizes and deletion marks. Numbers given out stay: a deleted message leaves a gap until the next session.
///
/// 8 octets a message, and one bit more from the first DELE on; 100,000 messages cost under a megabyte.
pub(super) struct Maildrop {
    sizes: Box<[u64]>,
    deleted: Deletions,
    octets_left: u64,
}

/// Which messages a QUIT removes, by their place in the list the maildrop was opened with, from 0.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Deletions {
    /// One bit a message; empty as long as nothing was marked.
    bits: Box<[u64]>,
    count: usize,
}

/// Why a message number finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotThere {
    Missing,
    Deleted,
}

impl Maildrop {
    pub(super) fn new(sizes: Vec<u64>) -> Maildrop {
        let octets_left = sizes.iter().fold(0, |sum: u64, size| sum.saturating_add(*size));
        Maildrop { sizes: sizes.into_boxed_slice(), deleted: Deletions::default(), octets_left }
    }

    /// Messages not marked as deleted.
    pub(super) fn messages(&self) -> usize {
        self.sizes.len().saturating_sub(self.deleted.count)
    }

    /// Octets of the messages not marked as deleted.
    pub(super) fn octets(&self) -> u64 {
        self.octets_left
    }

    /// All messages, the deleted ones too: the highest number there is.
    pub(super) fn len(&self) -> usize {
        self.sizes.len()
    }

    /// The place of the message with this number.
    pub(super) fn find(&self, number: u64) -> Result<usize, NotThere> {
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        match index {
            Some(index) if index < self.sizes.len() && self.deleted.contains(index) => Err(NotThere::Deleted),
            Some(index) if index < self.sizes.len() => Ok(index),
            _ => Err(NotThere::Missing),
        }
    }

    /// The size of the message at this place.
    pub(super) fn size(&self, index: usize) -> u64 {
        self.sizes.get(index).copied().unwrap_or_default()
    }

    /// The first place from `index` on whose message is not deleted.
    pub(super) fn present_from(&self, index: usize) -> Option<usize> {
        (index..self.sizes.len()).find(|index| !self.deleted.contains(*index))
    }

    /// Marks the message as deleted.
    pub(super) fn delete(&mut self, index: usize) {
        let Some(size) = self.sizes.get(index) else { return };
        if self.deleted.insert(index, self.sizes.len()) {
            self.octets_left = self.octets_left.saturating_sub(*size);
        }
    }

    /// Takes all marks away (RSET).
    pub(super) fn reset(&mut self) {
        *self = Maildrop::new(std::mem::take(&mut self.sizes).into_vec());
    }

    /// Whether the message at this place is marked.
    pub(super) fn is_deleted(&self, index: usize) -> bool {
        self.deleted.contains(index)
    }

    /// Hands over what is marked.
    pub(super) fn take_deletions(&mut self) -> Deletions {
        std::mem::take(&mut self.deleted)
    }
}

impl fmt::Debug for Maildrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Maildrop({} messages, {} deleted)", self.sizes.len(), self.deleted.count)
    }
}

impl Deletions {
    /// How many.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the message at this place is among them.
    pub fn contains(&self, index: usize) -> bool {
        self.bits.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// The places in rising order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.bits.iter().enumerate().flat_map(|(at, word)| {
            let mut word = *word;
            std::iter::from_fn(move || {
                if word == 0 {
                    return None;
                }
                let bit = word.trailing_zeros() as usize;
                word &= word - 1;
                Some(at * 64 + bit)
            })
        })
    }

    /// Whether the message was not among them before. `messages` is the size of the maildrop.
    fn insert(&mut self, index: usize, messages: usize) -> bool {
        if self.bits.is_empty() {
            self.bits = vec![0; messages.div_ceil(64)].into_boxed_slice();
        }
        let Some(word) = self.bits.get_mut(index / 64) else { return false };
        let new = *word >> (index % 64) & 1 == 0;
        *word |= 1 << (index % 64);
        self.count += usize::from(new);
        new
    }
}

impl fmt::Debug for Deletions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleting_and_taking_it_back() {
        let mut maildrop = Maildrop::new((1..=130).collect());
        assert_eq!((maildrop.messages(), maildrop.octets()), (130, 130 * 131 / 2));
        for index in [0, 63, 64, 129, 129, 130, 9999] {
            maildrop.delete(index);
        }
        assert_eq!(maildrop.deleted.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert_eq!((maildrop.messages(), maildrop.octets()), (126, 130 * 131 / 2 - 1 - 64 - 65 - 130));
        assert_eq!(maildrop.find(64), Err(NotThere::Deleted));
        assert_eq!(maildrop.present_from(0), Some(1));
        assert_eq!(maildrop.present_from(63), Some(65));
        assert_eq!(maildrop.present_from(129), None);
        maildrop.reset();
        assert_eq!((maildrop.messages(), maildrop.octets()), (130, 130 * 131 / 2));
        assert!(maildrop.deleted.is_empty());
    }

    #[test]
    fn numbers_out_of_range() {
        let maildrop = Maildrop::new(vec![1, 2]);
        for (number, found) in [
            (0, Err(NotThere::Missing)),
            (1, Ok(0)),
            (2, Ok(1)),
            (3, Err(NotThere::Missing)),
            (u64::MAX, Err(NotThere::Missing)),
        ] {
            assert_eq!(maildrop.find(number), found, "{number}");
        }
        assert_eq!(Maildrop::new(vec![]).find(1), Err(NotThere::Missing));
        assert_eq!(Maildrop::new(vec![u64::MAX, 2]).octets(), u64::MAX, "saturates");
    }
}
