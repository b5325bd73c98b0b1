//! Which messages of an open mailbox a command means.

use std::sync::Arc;

use super::numbering::{Numbering, Ranges, count, each, merged, push};

/// Messages of a [`Selected`](super::Selected) mailbox, in the order of their numbers, as they were numbered when they
/// were picked.
#[derive(Debug, Clone)]
pub struct Picked {
    pub(crate) numbering: Arc<Numbering>,
    /// Ascending and apart, none beyond the last number.
    pub(crate) numbers: Ranges,
}

/// One end of a range as a client writes it; `None` is `*`, the last message.
pub type Bound = Option<u32>;

/// Numbers that a client named and that no message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchNumber;

impl Picked {
    /// By message numbers. RFC 9051 section 6.4.8 makes a number that is beyond the last an error.
    pub(crate) fn by_numbers(
        numbering: &Arc<Numbering>,
        set: &[(Bound, Bound)],
    ) -> Result<Picked, NoSuchNumber> {
        let last = numbering.len();
        let numbers: Ranges = set
            .iter()
            .map(|&(one, other)| {
                let (one, other) = (one.unwrap_or(last), other.unwrap_or(last));
                (one.min(other), one.max(other))
            })
            .collect();
        if numbers.iter().any(|&(first, end)| first == 0 || end > last) {
            return Err(NoSuchNumber);
        }
        Ok(Picked { numbering: numbering.clone(), numbers: merged(numbers) })
    }

    /// By UIDs. Those that no message has are left out; `*` is the last one's, and so is any beyond it in a range with it.
    pub(crate) fn by_uids(numbering: &Arc<Numbering>, set: &[(Bound, Bound)]) -> Picked {
        let last = numbering.last().unwrap_or(0);
        let uids = set
            .iter()
            .map(|&(one, other)| {
                let (one, other) = (one.unwrap_or(last), other.unwrap_or(last));
                (one.min(other), one.max(other))
            })
            .collect();
        let numbers = numbering.numbers_in(&merged(uids));
        Picked { numbering: numbering.clone(), numbers }
    }

    pub(crate) fn of_uids(numbering: &Arc<Numbering>, uids: &[u32]) -> Picked {
        let mut numbers = Ranges::new();
        for number in uids.iter().filter_map(|&uid| numbering.number(uid)) {
            push(&mut numbers, number);
        }
        Picked { numbering: numbering.clone(), numbers: merged(numbers) }
    }

    /// How many.
    pub fn len(&self) -> u32 {
        u32::try_from(count(&self.numbers)).unwrap_or(u32::MAX)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Their numbers.
    pub fn numbers(&self) -> &[(u32, u32)] {
        &self.numbers
    }

    /// Their UIDs: each one in the ranges is a message of these.
    pub fn uids(&self) -> Ranges {
        self.numbering.uids_at(&self.numbers)
    }

    /// Their UIDs, one by one.
    pub fn each_uid(&self) -> impl Iterator<Item = u32> {
        self.each().map(|(_, uid)| uid)
    }

    /// Numbers and UIDs, one by one.
    pub fn each(&self) -> impl Iterator<Item = (u32, u32)> {
        self.numbers.iter().flat_map(|&(first, last)| (first..=last).zip(self.numbering.iter_from(first)))
    }

    /// The `first`-th to the `last`-th of them, counted from 1, or from the end (RFC 9394).
    #[must_use]
    pub fn part(&self, first: u32, last: u32, from_end: bool) -> Picked {
        let (mut skip, mut take) =
            (u64::from(first.saturating_sub(1)), (u64::from(last) + 1).saturating_sub(u64::from(first)));
        if from_end {
            let all = count(&self.numbers);
            let end = all.saturating_sub(skip);
            (skip, take) = (end.saturating_sub(take), end.min(take));
        }
        let mut numbers = Ranges::new();
        for &(first, last) in &self.numbers {
            let len = u64::from(last - first) + 1;
            let skipped = skip.min(len);
            let taken = take.min(len - skipped);
            skip -= skipped;
            take -= taken;
            if taken > 0 {
                let start = first + skipped as u32;
                numbers.push((start, start + (taken - 1) as u32));
            }
        }
        Picked { numbering: self.numbering.clone(), numbers }
    }

    /// Those for which it is true, told number and UID.
    #[must_use]
    pub fn filtered(&self, mut keep: impl FnMut(u32, u32) -> bool) -> Picked {
        let mut numbers = Ranges::new();
        for (number, uid) in self.each() {
            if keep(number, uid) {
                push(&mut numbers, number);
            }
        }
        Picked { numbering: self.numbering.clone(), numbers }
    }

    /// The lowest and the highest number.
    pub fn ends(&self) -> Option<(u32, u32)> {
        Some((self.numbers.first()?.0, self.numbers.last()?.1))
    }

    /// The UID of a number.
    pub fn uid_of(&self, number: u32) -> Option<u32> {
        self.numbering.uid(number)
    }

    /// Reads them from the front, a page at a time.
    pub fn cursor(self) -> Cursor {
        Cursor { picked: self, done: 0, at: 0 }
    }
}

/// How far messages have been read. It stands where it was, whatever happens in between.
#[derive(Debug, Clone)]
pub struct Cursor {
    picked: Picked,
    /// Ranges that are done.
    done: usize,
    /// Numbers of the next range that are done.
    at: u32,
}

impl Cursor {
    /// Whether all have been read.
    pub fn is_done(&self) -> bool {
        self.done >= self.picked.numbers.len()
    }

    /// The next ones, `max` at most, all in a row.
    pub(crate) fn run(&self, max: usize) -> Option<(u32, u32)> {
        let &(first, last) = self.picked.numbers.get(self.done)?;
        let first = first + self.at;
        let max = u32::try_from(max).unwrap_or(u32::MAX).max(1);
        Some((first, last.min(first.saturating_add(max - 1))))
    }

    /// Everything up to this number is done.
    pub(crate) fn advance(&mut self, number: u32) {
        while let Some(&(first, last)) = self.picked.numbers.get(self.done) {
            if number < last {
                self.at = (number + 1).saturating_sub(first).max(self.at);
                return;
            }
            self.done += 1;
            self.at = 0;
        }
    }

    /// The next numbers and UIDs, without going on.
    pub(crate) fn peek(&self, max: usize) -> Vec<(u32, u32)> {
        let mut next = Vec::with_capacity(max.min(256));
        let mut ahead = (self.done, self.at);
        while next.len() < max
            && let Some(&(start, last)) = self.picked.numbers.get(ahead.0)
        {
            let first = start + ahead.1;
            let numbers = (first..=last).zip(self.picked.numbering.iter_from(first));
            next.extend(numbers.take(max - next.len()));
            ahead = (ahead.0 + 1, 0);
        }
        next
    }

    pub(crate) fn picked(&self) -> &Picked {
        &self.picked
    }

    pub(crate) fn numbering(&self) -> &Arc<Numbering> {
        &self.picked.numbering
    }

    /// How many are left.
    pub fn left(&self) -> u64 {
        let rest = self.picked.numbers.get(self.done..).unwrap_or_default();
        count(rest).saturating_sub(u64::from(self.at))
    }
}

/// The numbers of ranges, one by one.
pub fn numbers(ranges: &[(u32, u32)]) -> impl Iterator<Item = u32> {
    each(ranges)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ten() -> Arc<Numbering> {
        let uids: Vec<u32> = (1..=10).map(|n| n * 10).collect();
        Arc::new(Numbering::new(uids.chunks(4).map(Arc::from).collect()))
    }

    #[test]
    fn stars_and_ends() {
        let ten = ten();
        let by_numbers = |set: &[(Bound, Bound)]| Picked::by_numbers(&ten, set).map(|picked| picked.numbers);
        assert_eq!(by_numbers(&[(Some(1), None)]), Ok(vec![(1, 10)]));
        assert_eq!(by_numbers(&[(None, None), (Some(2), Some(1))]), Ok(vec![(1, 2), (10, 10)]));
        assert_eq!(by_numbers(&[(Some(11), Some(11))]), Err(NoSuchNumber));
        assert_eq!(by_numbers(&[(Some(0), None)]), Err(NoSuchNumber));
        assert!(Picked::by_numbers(&Arc::default(), &[(None, None)]).is_err());
        let by_uids = |set: &[(Bound, Bound)]| Picked::by_uids(&ten, set).numbers;
        assert_eq!(by_uids(&[(Some(1), None)]), [(1, 10)]);
        assert_eq!(by_uids(&[(Some(999), None)]), [(10, 10)]);
        assert_eq!(by_uids(&[(Some(999), Some(1000))]), []);
        assert_eq!(by_uids(&[(Some(35), Some(11)), (Some(90), Some(90))]), [(2, 3), (9, 9)]);
        assert_eq!(Picked::of_uids(&ten, &[20, 25, 30, 100]).numbers, [(2, 3), (10, 10)]);
    }

    #[test]
    fn parts_are_counted_from_either_end() {
        let picked = Picked::by_uids(&ten(), &[(Some(20), Some(40)), (Some(70), Some(100))]);
        let part = |first, last, from_end| picked.part(first, last, from_end).numbers;
        assert_eq!(part(1, 2, false), [(2, 3)]);
        assert_eq!(part(3, 5, false), [(4, 4), (7, 8)]);
        assert_eq!(part(7, 9, false), [(10, 10)]);
        assert_eq!(part(8, 9, false), []);
        assert_eq!(part(1, 1, true), [(10, 10)]);
        assert_eq!(part(4, 6, true), [(3, 4), (7, 7)]);
        assert_eq!(part(7, 20, true), [(2, 2)]);
        assert_eq!(part(8, 20, true), []);
        assert_eq!(picked.len(), 7);
        assert_eq!(picked.uids(), [(20, 20), (30, 30), (40, 40), (70, 70), (80, 80), (90, 90), (100, 100)]);
        assert_eq!(
            picked.filtered(|number, uid| uid == number * 10 && number % 2 == 0).numbers,
            [(2, 2), (4, 4), (8, 8), (10, 10)]
        );
    }

    #[test]
    fn a_cursor_goes_on_where_it_was() {
        let mut cursor = Picked::by_uids(&ten(), &[(Some(20), Some(40)), (Some(70), Some(100))]).cursor();
        assert_eq!(cursor.peek(4), [(2, 20), (3, 30), (4, 40), (7, 70)]);
        assert_eq!((cursor.run(2), cursor.left()), (Some((2, 3)), 7));
        cursor.advance(3);
        assert_eq!((cursor.run(9), cursor.left()), (Some((4, 4)), 5));
        cursor.advance(4);
        assert_eq!(cursor.run(9), Some((7, 10)));
        cursor.advance(8);
        assert_eq!(cursor.peek(9), [(9, 90), (10, 100)]);
        cursor.advance(10);
        assert!(cursor.is_done() && cursor.peek(1).is_empty() && cursor.left() == 0);
    }
}
