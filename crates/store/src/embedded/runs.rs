//! Lists of UIDs as ranges.

use crate::Uid;

/// Ascending ranges of UIDs, both ends included.
pub(crate) type Runs = Vec<(u32, u32)>;

/// UIDs in a list that lie at most so far apart are looked for in one go.
pub(crate) const NEAR: u32 = 64;
/// The same where it costs more to pass one by, as it takes a look into another table.
pub(crate) const NEAR_JOINED: u32 = 8;

/// The list in ascending order, each once.
pub(crate) fn sorted(uids: &[Uid]) -> Vec<u32> {
    let mut sorted: Vec<u32> = uids.iter().map(|uid| uid.0).collect();
    if !sorted.is_sorted_by(|a, b| a < b) {
        sorted.sort_unstable();
        sorted.dedup();
    }
    sorted
}

/// Cuts an ascending list where there is a wide gap.
pub(crate) fn spans(uids: &[u32], near: u32) -> impl Iterator<Item = &[u32]> {
    uids.chunk_by(move |a, b| b.saturating_sub(*a) <= near)
}

/// Walks an ascending list beside what is there in ascending order.
#[derive(Debug)]
pub(crate) struct Beside<'a> {
    wanted: &'a [u32],
}

impl<'a> Beside<'a> {
    pub(crate) fn new(wanted: &'a [u32]) -> Beside<'a> {
        Beside { wanted }
    }

    /// Whether this one, greater than all asked before, is in the list.
    pub(crate) fn wants(&mut self, uid: u32) -> bool {
        while let Some((first, rest)) = self.wanted.split_first() {
            if *first > uid {
                return false;
            }
            self.wanted = rest;
            if *first == uid {
                return true;
            }
        }
        false
    }
}

/// Makes ranges while walking over what is there.
#[derive(Debug, Default)]
pub(crate) struct Runner {
    pub(crate) runs: Runs,
    open: bool,
}

impl Runner {
    /// The next one belongs in: to the open range, even where UIDs between the two are missing.
    pub(crate) fn take(&mut self, uid: u32) {
        match self.runs.last_mut() {
            Some((_, last)) if self.open => *last = uid,
            _ => self.runs.push((uid, uid)),
        }
        self.open = true;
    }

    /// The next one does not belong in.
    pub(crate) fn skip(&mut self) {
        self.open = false;
    }
}

/// Ascending UIDs as ranges without gaps.
pub(crate) fn gapless(uids: impl IntoIterator<Item = u32>) -> Runs {
    let mut runs = Runs::new();
    for uid in uids {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(uid) => *last = uid,
            _ => runs.push((uid, uid)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_fold_into_ranges() {
        assert_eq!(gapless([]), []);
        assert_eq!(gapless([1, 2, 3, 7, 9, 10]), [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(gapless([u32::MAX - 1, u32::MAX]), [(u32::MAX - 1, u32::MAX)]);
    }

    #[test]
    fn ranges_go_over_what_is_missing_but_not_over_what_is_there() {
        let wanted = sorted(&[9, 2, 5, 3, 3, 8].map(Uid));
        assert_eq!(wanted, [2, 3, 5, 8, 9]);
        let (mut beside, mut runner) = (Beside::new(&wanted), Runner::default());
        for there in [1, 2, 5, 7, 8, 9, 10] {
            if beside.wants(there) { runner.take(there) } else { runner.skip() }
        }
        assert_eq!(runner.runs, [(2, 5), (8, 9)]);
    }

    #[test]
    fn wide_gaps_cut() {
        let far = [1, 2, 60, 200, 201, u32::MAX];
        assert_eq!(spans(&far, NEAR).collect::<Vec<_>>(), [&[1, 2, 60][..], &[200, 201], &[u32::MAX]]);
    }
}
