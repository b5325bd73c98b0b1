//! What a user may take up, and how it is counted.
//!
//! A [`Space`](crate::Space) tells a [`Share`] of each change of what is kept. What counts as a file is whatever has a name and is
//! no directory; its octets are those of its contents, which only plain files have. So a count is the same whether it was
//! kept up by charges or is made again by [`Tree::usage`](crate::Tree::usage).

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Refusal;

/// Octets that an upload takes from a share at a time while it grows, so that asking costs nothing beside writing.
pub(crate) const STEP: u64 = 4 << 20;
/// Changes of names at one time: two of the same name wait for each other, so that what is replaced is counted once.
const TURNS: usize = 64;

/// What a user may still take up. Asked as octets arrive, never per octet.
pub trait Share: fmt::Debug + Send + Sync {
    /// Octets left; `None`: no limit.
    fn room(&self) -> Option<u64>;

    /// So many octets and files more are kept, or fewer. Whole or not at all: more than there is room for is
    /// [`Refusal::QuotaExceeded`], and nothing is charged. What takes up nothing more is never refused, whatever has been used.
    fn charge(&self, octets: i64, files: i64) -> Result<(), Refusal>;

    /// The same for what is there already: it is counted, limits or not.
    fn count(&self, octets: i64, files: i64);

    /// What is taken up, and what may be.
    fn usage(&self) -> Usage;
}

/// What there will be no longer when something else is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Gone {
    pub(crate) octets: u64,
    pub(crate) files: u64,
}

impl Gone {
    /// What a name counts for.
    pub(crate) fn of(octets: Option<u64>) -> Gone {
        Gone { octets: octets.unwrap_or(0), files: u64::from(octets.is_some()) }
    }

    pub(crate) fn and(self, other: Gone) -> Gone {
        Gone {
            octets: self.octets.saturating_add(other.octets),
            files: self.files.saturating_add(other.files),
        }
    }
}

/// What is taken up of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Octets in files.
    pub octets: u64,
    /// Files.
    pub files: u64,
    /// What may be taken up.
    pub limits: Limits,
}

/// What may be taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Octets; `None`: any number.
    pub octets: Option<u64>,
    /// Files; `None`: any number.
    pub files: Option<u64>,
}

impl Usage {
    /// Octets left; `None`: no limit.
    pub fn room(&self) -> Option<u64> {
        self.limits.octets.map(|limit| limit.saturating_sub(self.octets))
    }

    /// More is taken up than may be, as when a limit was lowered.
    pub fn is_over(&self) -> bool {
        let over = |used: u64, limit: Option<u64>| limit.is_some_and(|limit| used > limit);
        over(self.octets, self.limits.octets) || over(self.files, self.limits.files)
    }

    /// This and so much more, or less, whatever the limits are.
    #[must_use]
    pub fn counted(&self, octets: i64, files: i64) -> Usage {
        Usage {
            octets: self.octets.saturating_add_signed(octets),
            files: self.files.saturating_add_signed(files),
            limits: self.limits,
        }
    }

    /// This and so much more, or less; the rule of [`Share::charge`].
    pub fn charged(&self, octets: i64, files: i64) -> Result<Usage, Refusal> {
        let count = |used: u64, more: i64, limit: Option<u64>| {
            let new = used.saturating_add_signed(more);
            if more > 0 && limit.is_some_and(|limit| new > limit) {
                return Err(Refusal::QuotaExceeded);
            }
            Ok(new)
        };
        Ok(Usage {
            octets: count(self.octets, octets, self.limits.octets)?,
            files: count(self.files, files, self.limits.files)?,
            limits: self.limits,
        })
    }
}

/// A share that is counted in memory alone.
#[derive(Debug, Default)]
pub struct MemoryShare(Mutex<Usage>);

impl MemoryShare {
    /// One of which so much is used.
    pub fn new(usage: Usage) -> MemoryShare {
        MemoryShare(Mutex::new(usage))
    }

    /// Says anew what may be taken up.
    pub fn set_limits(&self, limits: Limits) {
        self.lock().limits = limits;
    }

    fn lock(&self) -> MutexGuard<'_, Usage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share for MemoryShare {
    fn room(&self) -> Option<u64> {
        self.lock().room()
    }

    fn charge(&self, octets: i64, files: i64) -> Result<(), Refusal> {
        let mut usage = self.lock();
        *usage = usage.charged(octets, files)?;
        Ok(())
    }

    fn count(&self, octets: i64, files: i64) {
        let mut usage = self.lock();
        *usage = usage.counted(octets, files);
    }

    fn usage(&self) -> Usage {
        *self.lock()
    }
}

/// What an upload has taken from a share before it is there.
#[derive(Debug)]
pub(crate) struct Held {
    share: Arc<dyn Share>,
    /// Octets that the upload will give back: those of the files in whose place it comes.
    credit: u64,
    /// Octets that were charged for it.
    octets: u64,
    /// Files that were.
    files: u64,
    /// Up to this length nobody has to be asked.
    free_until: u64,
}

impl Held {
    /// For an upload in the place of what there is, if there is something.
    pub(crate) fn new(share: Arc<dyn Share>, gone: Gone) -> Result<Held, Refusal> {
        if gone.files == 0 {
            // Said now, before anything is sent for nothing.
            let usage = share.usage();
            usage.charged(0, 1)?;
        }
        let credit = gone.octets;
        let free_until = credit.saturating_add(share.room().map_or(STEP, |room| room.min(STEP)));
        Ok(Held { share, credit, octets: 0, files: 0, free_until })
    }

    /// For an upload that begins with a part of so many octets, which is charged already.
    pub(crate) fn of_part(share: Arc<dyn Share>, replaces: Option<u64>, octets: u64) -> Held {
        let credit = replaces.unwrap_or(0);
        Held { share, credit, octets, files: 1, free_until: octets }
    }

    /// It comes in the place of more.
    pub(crate) fn replaces_too(&mut self, gone: Gone) {
        self.credit = self.credit.saturating_add(gone.octets);
        self.free_until = self.free_until.saturating_add(gone.octets);
    }

    /// Whom it is charged to.
    pub(crate) fn share(&self) -> &Arc<dyn Share> {
        &self.share
    }

    /// Somebody else holds it.
    pub(crate) fn forget(mut self) {
        (self.octets, self.files) = (0, 0);
    }

    /// Whether the upload could grow to this length, as things are.
    pub(crate) fn fits(&self, length: u64) -> Result<(), Refusal> {
        let needed = length.saturating_sub(self.credit).saturating_sub(self.octets);
        match self.share.room() {
            Some(room) if room < needed => Err(Refusal::QuotaExceeded),
            _ => Ok(()),
        }
    }

    /// The upload grows to this length.
    #[inline]
    pub(crate) fn grow(&mut self, length: u64) -> Result<(), Refusal> {
        if length <= self.free_until { Ok(()) } else { self.take(length) }
    }

    #[cold]
    fn take(&mut self, length: u64) -> Result<(), Refusal> {
        let needed = length.saturating_sub(self.credit).saturating_sub(self.octets);
        let taken = match self.share.charge(signed(needed.max(STEP)), 0) {
            Ok(()) => needed.max(STEP),
            Err(Refusal::QuotaExceeded) if needed < STEP => {
                self.share.charge(signed(needed), 0)?;
                needed
            }
            Err(refusal) => return Err(refusal),
        };
        self.octets = self.octets.saturating_add(taken);
        self.free_until = self.credit.saturating_add(self.octets);
        Ok(())
    }

    /// It is to be kept with so many octets, and `gone` is what will no longer be there. What was held is part of what
    /// is kept from now on; `undo` takes it back.
    pub(crate) fn settle(&mut self, octets: u64, gone: Gone) -> Result<(), Refusal> {
        let more = signed(octets) - signed(gone.octets) - signed(self.octets);
        self.share.charge(more, 1 - signed(gone.files) - signed(self.files))?;
        (self.octets, self.files) = (0, 0);
        Ok(())
    }

    /// It could not be kept after all.
    pub(crate) fn undo(&self, octets: u64, gone: Gone) {
        self.share.count(signed(gone.octets) - signed(octets), signed(gone.files) - 1);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.octets > 0 || self.files > 0 {
            self.share.count(-signed(self.octets), -signed(self.files));
        }
    }
}

/// File sizes are below 2^63 on every file system.
pub(crate) fn signed(octets: u64) -> i64 {
    i64::try_from(octets).unwrap_or(i64::MAX)
}

static LOCKS: Turns = [const { Mutex::new(()) }; TURNS];
static PARTS: Turns = [const { Mutex::new(()) }; TURNS];

type Turns = [Mutex<()>; TURNS];

fn slot(name: &[u8]) -> usize {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    usize::try_from(hasher.finish() % TURNS as u64).unwrap_or(0)
}

fn lock(all: &'static Turns, slot: usize) -> MutexGuard<'static, ()> {
    all[slot].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Until it is dropped nobody else of this process changes what these names stand for, in any directory, where it counts.
pub(crate) fn turn(one: &[u8], other: &[u8]) -> Turn {
    // The lower one first, so that nobody waits in a circle.
    let (low, high) = (slot(one).min(slot(other)), slot(one).max(slot(other)));
    Turn(lock(&LOCKS, low), (high != low).then(|| lock(&LOCKS, high)))
}

/// The same for many names.
pub(crate) fn turns<'a>(names: impl Iterator<Item = &'a [u8]>) -> Vec<MutexGuard<'static, ()>> {
    let slots: BTreeSet<usize> = names.map(slot).collect();
    slots.into_iter().map(|slot| lock(&LOCKS, slot)).collect()
}

/// The same for the name of a part, which whoever has other turns may take too.
pub(crate) fn part_turn(name: &[u8]) -> Turn {
    Turn(lock(&PARTS, slot(name)), None)
}

/// See [`turn`].
#[derive(Debug)]
pub(crate) struct Turn(
    #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>,
    #[expect(dead_code, reason = "held")] Option<MutexGuard<'static, ()>>,
);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn share(octets: u64, limit: u64) -> Arc<MemoryShare> {
        let limits = Limits { octets: Some(limit), files: Some(3) };
        Arc::new(MemoryShare::new(Usage { octets, files: 1, limits }))
    }

    #[test]
    fn charges() {
        let usage = Usage { octets: 10, files: 1, limits: Limits { octets: Some(20), files: Some(2) } };
        for (octets, files, want) in [
            (10, 1, Ok((20, 2))),
            (11, 0, Err(Refusal::QuotaExceeded)),
            (0, 2, Err(Refusal::QuotaExceeded)),
            (-4, 0, Ok((6, 1))),
            (-99, -9, Ok((0, 0))),
            (-1, 1, Ok((9, 2))),
        ] {
            let got = usage.charged(octets, files).map(|usage| (usage.octets, usage.files));
            assert_eq!(got, want, "{octets} {files}");
        }
        // Who is over a limit that was lowered can make less of it, and no more.
        let over = Usage { octets: 30, files: 9, ..usage };
        assert!(over.charged(-1, 0).is_ok() && over.charged(0, 0).is_ok() && over.charged(1, -1).is_err());
        assert_eq!(over.room(), Some(0));
    }

    #[test]
    fn an_upload_holds_what_it_grows_to_and_gives_it_back() {
        let share = share(0, 3 * STEP);
        let mut held = Held::new(share.clone(), Gone::default()).unwrap();
        held.grow(STEP).unwrap();
        assert_eq!(share.usage().octets, 0, "a small one is charged once, at its end");
        held.grow(STEP + 1).unwrap();
        assert_eq!(share.usage().octets, STEP + 1);
        held.grow(3 * STEP).unwrap();
        assert_eq!(held.grow(3 * STEP + 1), Err(Refusal::QuotaExceeded));
        drop(held);
        assert_eq!((share.usage().octets, share.usage().files), (0, 1));
    }

    #[test]
    fn what_is_replaced_makes_room() {
        let share = share(100, 100);
        let mut held = Held::new(share.clone(), Gone::of(Some(100))).unwrap();
        assert!(held.fits(100).is_ok() && held.fits(101).is_err());
        held.grow(100).unwrap();
        assert_eq!(held.grow(101), Err(Refusal::QuotaExceeded));
        held.settle(90, Gone::of(Some(100))).unwrap();
        assert_eq!((share.usage().octets, share.usage().files), (90, 1));
        held.undo(90, Gone::of(Some(100)));
        assert_eq!((share.usage().octets, share.usage().files), (100, 1));
    }

    #[test]
    fn one_file_too_many_is_refused_before_anything_comes() {
        let share = share(0, 100);
        share.charge(0, 2).unwrap();
        assert_eq!(Held::new(share.clone(), Gone::default()).err(), Some(Refusal::QuotaExceeded));
        assert!(Held::new(share, Gone::of(Some(0))).is_ok());
    }
}
