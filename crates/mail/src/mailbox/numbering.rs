//! Message numbers: which UID stands at which place.

use std::sync::Arc;

/// Messages in a chunk. A change makes a copy of one chunk where somebody still reads the old one.
pub(super) const CHUNK: usize = 512;

/// Numbers and ranges of them, ascending, both ends included.
pub type Ranges = Vec<(u32, u32)>;

/// UIDs in ascending order, as they were at some moment; the first has number 1. Shared by all who see them so.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbering {
    chunks: Vec<Arc<[u32]>>,
    /// How many stand before each chunk.
    before: Vec<u32>,
    len: u32,
}

/// What one numbering has and another has not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Numbers, in the old numbering, of those that are gone.
    pub(crate) numbers: Ranges,
    /// Their UIDs.
    pub(crate) uids: Ranges,
    /// How many came behind the old last one.
    pub(crate) came: u32,
}

impl Numbering {
    pub(crate) fn new(chunks: Vec<Arc<[u32]>>) -> Numbering {
        let mut len = 0u32;
        let before = chunks
            .iter()
            .map(|chunk| {
                let before = len;
                len = len.saturating_add(chunk.len() as u32);
                before
            })
            .collect();
        Numbering { chunks, before, len }
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn chunks(&self) -> &[Arc<[u32]>] {
        &self.chunks
    }

    /// The UID at a number.
    pub(crate) fn uid(&self, number: u32) -> Option<u32> {
        let (chunk, within) = self.place_of_number(number)?;
        self.chunks.get(chunk)?.get(within).copied()
    }

    /// In which chunk a number is, and where in it.
    pub(crate) fn place_of_number(&self, number: u32) -> Option<(usize, usize)> {
        let index = number.checked_sub(1).filter(|&index| index < self.len)?;
        let chunk = self.before.partition_point(|&before| before <= index).checked_sub(1)?;
        Some((chunk, (index - self.before.get(chunk)?) as usize))
    }

    /// In which chunk a UID is, and where in it.
    pub(crate) fn place_of_uid(&self, uid: u32) -> Option<(usize, usize)> {
        let chunk = self.chunk_of(uid);
        let within = self.chunks.get(chunk)?.binary_search(&uid).ok()?;
        Some((chunk, within))
    }

    /// The first chunk that ends at this UID or behind it.
    pub(crate) fn chunk_of(&self, uid: u32) -> usize {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|&last| last < uid))
    }

    /// How many have a UID below this one.
    pub(crate) fn below(&self, uid: u32) -> u32 {
        let chunk = self.chunk_of(uid);
        match (self.chunks.get(chunk), self.before.get(chunk)) {
            (Some(uids), Some(before)) => before + uids.partition_point(|&other| other < uid) as u32,
            _ => self.len,
        }
    }

    pub(crate) fn number(&self, uid: u32) -> Option<u32> {
        let (chunk, within) = self.place_of_uid(uid)?;
        Some(self.before.get(chunk)? + within as u32 + 1)
    }

    pub(crate) fn last(&self) -> Option<u32> {
        self.chunks.last()?.last().copied()
    }

    /// UIDs from a number on.
    pub(crate) fn iter_from(&self, number: u32) -> impl Iterator<Item = u32> {
        let (chunk, within) = self.place_of_number(number).unwrap_or((self.chunks.len(), 0));
        let head = self.chunks.get(chunk).and_then(|uids| uids.get(within..)).unwrap_or_default();
        let tail = self.chunks.get(chunk + 1..).unwrap_or_default();
        head.iter().chain(tail.iter().flat_map(|uids| uids.iter())).copied()
    }

    /// The numbers of those whose UIDs lie in these ranges.
    pub(crate) fn numbers_in(&self, uids: &[(u32, u32)]) -> Ranges {
        let mut numbers = Ranges::new();
        for &(first, last) in uids {
            let (from, to) = (self.below(first), self.below_or_at(last));
            if from < to {
                push_range(&mut numbers, from + 1, to);
            }
        }
        numbers
    }

    fn below_or_at(&self, uid: u32) -> u32 {
        uid.checked_add(1).map_or(self.len, |next| self.below(next))
    }

    /// The UIDs at these numbers.
    pub(crate) fn uids_at(&self, numbers: &[(u32, u32)]) -> Ranges {
        let mut uids = Ranges::new();
        for &(first, last) in numbers {
            for uid in self.iter_from(first).take((last.saturating_sub(first) as usize).saturating_add(1)) {
                push(&mut uids, uid);
            }
        }
        uids
    }

    /// From this one to a later one. What is the same chunk in both is not looked into.
    pub(crate) fn difference(&self, later: &Numbering) -> Difference {
        let mut found = Difference::default();
        let last = self.last().unwrap_or(0);
        found.came = later.len - later.below(last.saturating_add(1));
        let mut others = later.chunks.iter().peekable();
        let mut rest: &[u32] = &[];
        for (chunk, &before) in self.chunks.iter().zip(&self.before) {
            if rest.is_empty() && others.next_if(|other| Arc::ptr_eq(other, chunk)).is_some() {
                continue;
            }
            for (within, &uid) in chunk.iter().enumerate() {
                loop {
                    match rest.first() {
                        Some(&other) if other < uid => rest = rest.get(1..).unwrap_or_default(),
                        Some(_) => break,
                        None => match others.next() {
                            Some(next) => rest = next,
                            None => break,
                        },
                    }
                }
                if rest.first() == Some(&uid) {
                    rest = rest.get(1..).unwrap_or_default();
                } else {
                    push(&mut found.numbers, before + within as u32 + 1);
                    push(&mut found.uids, uid);
                }
            }
        }
        found
    }

    /// This one, with what came behind its last in a later one.
    pub(crate) fn with_new_of(&self, later: &Numbering) -> Numbering {
        let mut chunks = self.chunks.clone();
        let next = self.last().unwrap_or(0).saturating_add(1);
        for chunk in later.chunks.iter().skip(later.chunk_of(next)) {
            if chunk.first().is_some_and(|&first| first >= next) {
                chunks.push(chunk.clone());
            } else {
                let from = chunk.partition_point(|&uid| uid < next);
                chunks.push(chunk.get(from..).unwrap_or_default().into());
            }
        }
        Numbering::new(chunks)
    }
}

/// Appends a number to ascending ranges.
pub(crate) fn push(ranges: &mut Ranges, number: u32) {
    push_range(ranges, number, number);
}

/// Appends a range that does not begin before the last one; they may overlap.
pub(crate) fn push_range(ranges: &mut Ranges, first: u32, last: u32) {
    match ranges.last_mut() {
        Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
        _ => ranges.push((first, last)),
    }
}

/// Ranges in any order, made ascending and apart.
pub(crate) fn merged(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut merged = Ranges::with_capacity(ranges.len());
    for (first, last) in ranges {
        push_range(&mut merged, first, last);
    }
    merged
}

/// How many numbers ranges hold.
pub(crate) fn count(ranges: &[(u32, u32)]) -> u64 {
    ranges.iter().map(|(first, last)| u64::from(last.saturating_sub(*first)) + 1).sum()
}

/// Whether ascending ranges hold a number.
pub(crate) fn contains(ranges: &[(u32, u32)], number: u32) -> bool {
    let at = ranges.partition_point(|&(_, last)| last < number);
    ranges.get(at).is_some_and(|&(first, _)| first <= number)
}

/// All numbers in ranges.
pub(crate) fn each(ranges: &[(u32, u32)]) -> impl Iterator<Item = u32> {
    ranges.iter().flat_map(|&(first, last)| first..=last)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn numbering(uids: &[u32], chunk: usize) -> Numbering {
        Numbering::new(uids.chunks(chunk).map(Arc::from).collect())
    }

    #[test]
    fn numbers_and_uids() {
        let some = numbering(&[2, 4, 6, 8, 10], 2);
        assert_eq!(
            (1..=6).map(|n| some.uid(n)).collect::<Vec<_>>(),
            [Some(2), Some(4), Some(6), Some(8), Some(10), None]
        );
        assert_eq!(some.uid(0), None);
        assert_eq!([1, 2, 8, 11].map(|uid| some.number(uid)), [None, Some(1), Some(4), None]);
        assert_eq!([0, 2, 3, 10, 11, u32::MAX].map(|uid| some.below(uid)), [0, 0, 1, 4, 5, 5]);
        assert_eq!(some.numbers_in(&[(1, 1), (3, 4), (5, 6), (10, u32::MAX)]), [(2, 3), (5, 5)]);
        assert_eq!(some.uids_at(&[(2, 3), (5, 9)]), [(4, 4), (6, 6), (10, 10)]);
        assert_eq!(some.iter_from(4).collect::<Vec<_>>(), [8, 10]);
        assert_eq!(some.iter_from(0).count(), 0);
        assert_eq!(Numbering::default().numbers_in(&[(1, u32::MAX)]), []);
    }

    #[test]
    fn ranges_join() {
        assert_eq!(
            merged(vec![(5, 7), (1, 2), (3, 3), (6, 6), (9, u32::MAX), (10, 11)]),
            [(1, 3), (5, 7), (9, u32::MAX)]
        );
        assert_eq!(count(&[(1, 3), (9, 9)]), 4);
        assert!(contains(&[(1, 3), (9, 9)], 9) && !contains(&[(1, 3), (9, 9)], 8));
    }

    proptest! {
        #[test]
        fn differences_are_those_of_sets(
            old in prop::collection::btree_set(1u32..60, 0..40),
            gone in prop::collection::btree_set(1u32..60, 0..40),
            came in 0u32..20,
            chunk in 1usize..7,
        ) {
            let before = numbering(&old.iter().copied().collect::<Vec<_>>(), chunk);
            let next = before.last().unwrap_or(0) + 1;
            // Chunks that nothing happened to are the same ones.
            let mut chunks: Vec<Arc<[u32]>> = before.chunks().iter().map(|chunk| {
                if chunk.iter().any(|uid| gone.contains(uid)) {
                    chunk.iter().copied().filter(|uid| !gone.contains(uid)).collect()
                } else {
                    chunk.clone()
                }
            }).filter(|chunk: &Arc<[u32]>| !chunk.is_empty()).collect();
            chunks.extend((0..came).map(|n| Arc::from([next + n])));
            let later = Numbering::new(chunks);
            let found = before.difference(&later);
            let truly: BTreeSet<u32> = old.intersection(&gone).copied().collect();
            prop_assert_eq!(each(&found.uids).collect::<BTreeSet<_>>(), truly);
            prop_assert_eq!(before.uids_at(&found.numbers), found.uids);
            prop_assert_eq!(found.came, came);
            let held = before.with_new_of(&later);
            let expected: Vec<u32> = old.iter().copied().chain(next..next + came).collect();
            prop_assert_eq!(held.iter_from(1).collect::<Vec<_>>(), expected);
        }
    }
}
