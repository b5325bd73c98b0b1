//! What a client that comes back has missed (RFC 7162).

use packetboat_store::ModSeq;

use super::numbering::{Ranges, merged, push_range};
use super::{Refusal, Selected};

/// What a client knows of a mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// It has seen all changes up to here.
    pub modseq: u64,
    /// The UIDs it knows; all up to now if empty.
    pub uids: Ranges,
    /// Some message numbers and the UIDs they had, ascending.
    pub matches: Vec<(u32, u32)>,
}

impl Selected {
    /// UIDs that were removed since a modification sequence, as far as this session has no number for them: VANISHED
    /// (EARLIER). They may hold UIDs that never were or were gone before.
    pub async fn vanished(&self, known: &Known) -> Result<Ranges, Refusal> {
        let changes = self.store().changes(self.mailbox(), ModSeq(known.modseq)).await?;
        let asked = if known.uids.is_empty() { vec![(1, u32::MAX)] } else { merged(known.uids.clone()) };
        let gone: Ranges = if changes.complete {
            let vanished = changes.vanished.iter().map(|(first, last)| (first.0, last.0)).collect();
            intersection(&asked, &merged(vanished))
        } else {
            // RFC 7162 section 3.2.5.2: what is numbered alike up to some place has lost nothing up to there.
            let same = |(number, uid): &&(u32, u32)| self.numbering.uid(*number) == Some(*uid);
            let from = known.matches.iter().rev().find(same).map_or(1, |(_, uid)| uid.saturating_add(1));
            intersection(&asked, &[(from, self.uid_next().saturating_sub(1))])
        };
        Ok(self.without_present(&gone))
    }

    /// What of ascending ranges this session has no message for.
    fn without_present(&self, ranges: &[(u32, u32)]) -> Ranges {
        let mut without = Ranges::new();
        for &(first, last) in ranges {
            let mut next = Some(first);
            let from = self.numbering.below(first) + 1;
            for uid in self.numbering.iter_from(from).take_while(|uid| *uid <= last) {
                if let Some(start) = next.filter(|&start| start < uid) {
                    push_range(&mut without, start, uid - 1);
                }
                next = uid.checked_add(1);
            }
            if let Some(start) = next.filter(|&start| start <= last) {
                push_range(&mut without, start, last);
            }
        }
        without
    }
}

/// What is in both, both ascending.
pub(super) fn intersection(one: &[(u32, u32)], other: &[(u32, u32)]) -> Ranges {
    let mut both = Ranges::new();
    let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(&&(a, b)), Some(&&(c, d))) = (ones.peek(), others.peek()) {
        let (first, last) = (a.max(c), b.min(d));
        if first <= last {
            push_range(&mut both, first, last);
        }
        if b < d {
            ones.next();
        } else {
            others.next();
        }
    }
    both
}
