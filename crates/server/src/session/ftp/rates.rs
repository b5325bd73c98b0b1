//! How fast transfers may go: all of one user together, and all of everybody.
//!
//! A bucket hands out places in time: whoever has moved some octets is told how long to wait until their time is paid for.
//! Those who share a bucket move pieces of one size, smaller the more they are, and wait in the order in which they came. So none
//! goes faster than another, and whoever has a rate of their own below that comes round often enough to reach it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use packetboat_files::policy;
use parking_lot::{Mutex, RwLock};

/// What was not used is kept for so long, and may be used at once.
const BURST: Duration = Duration::from_millis(50);
/// What all who share a bucket move before they wait, in time.
const PIECE: Duration = Duration::from_millis(50);
/// And in octets, each of them at least.
const PIECE_MIN: u64 = 256;
/// How long nobody looks whether a transfer that waits is to be given up.
const LOOK: Duration = Duration::from_millis(50);
/// Users that are remembered before those who are gone are forgotten.
const FORGET_ABOVE: usize = 64;

/// A rate that some transfers keep together.
#[derive(Debug)]
struct Bucket {
    /// Octets a second.
    rate: AtomicU64,
    /// When all that was moved is paid for.
    paid_until: Mutex<Option<Instant>>,
}

impl Bucket {
    fn new(rate: u64) -> Bucket {
        Bucket { rate: AtomicU64::new(rate.max(1)), paid_until: Mutex::new(None) }
    }

    fn rate(&self) -> u64 {
        self.rate.load(Ordering::Relaxed)
    }

    /// So many octets were moved: how long to wait now.
    fn take(&self, now: Instant, octets: u64) -> Duration {
        let nanos = u128::from(octets) * 1_000_000_000 / u128::from(self.rate());
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let mut paid_until = self.paid_until.lock();
        let begins = paid_until.map_or(earliest, |until| until.max(earliest));
        let until = begins.checked_add(takes).unwrap_or(begins);
        *paid_until = Some(until);
        until.saturating_duration_since(now)
    }
}

/// The rates of one user, in both directions.
#[derive(Debug, Default)]
struct Own {
    up: Option<Arc<Bucket>>,
    down: Option<Arc<Bucket>>,
}

/// All rates.
#[derive(Debug, Default)]
pub(super) struct Rates {
    total: RwLock<Own>,
    users: Mutex<HashMap<String, Weak<Own>>>,
}

/// The rates that a session keeps.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    own: Arc<Own>,
}

impl Rates {
    /// With these for all together.
    pub(super) fn new(total: policy::Rates) -> Rates {
        let rates = Rates::default();
        rates.set_total(total);
        rates
    }

    /// From now on these for all together. Transfers that run keep to those they began with.
    pub(super) fn set_total(&self, total: policy::Rates) {
        *self.total.write() = Own::of(total);
    }

    /// Those of a user: the same for all sessions under one name.
    pub(super) fn of(&self, name: &str, rates: policy::Rates) -> Kept {
        let mut users = self.users.lock();
        if let Some(own) = users.get(name).and_then(Weak::upgrade)
            && own.adjust(rates)
        {
            return Kept { own };
        }
        let own = Arc::new(Own::of(rates));
        if rates != policy::Rates::default() {
            if users.len() >= FORGET_ABOVE {
                users.retain(|_, own| own.strong_count() > 0);
            }
            users.insert(name.to_owned(), Arc::downgrade(&own));
        }
        Kept { own }
    }

    /// For one transfer.
    pub(super) fn pace(&self, kept: &Kept, inbound: bool) -> Pace {
        let total = self.total.read();
        let of = |own: &Own| if inbound { own.up.clone() } else { own.down.clone() };
        Pace { buckets: [of(&kept.own), of(&total)], stopped: Arc::default() }
    }
}

impl Own {
    fn of(rates: policy::Rates) -> Own {
        let bucket = |rate: Option<u64>| rate.map(|rate| Arc::new(Bucket::new(rate)));
        Own { up: bucket(rates.up), down: bucket(rates.down) }
    }

    /// Takes over other rates, if they are for the same directions.
    fn adjust(&self, rates: policy::Rates) -> bool {
        let same = self.up.is_some() == rates.up.is_some() && self.down.is_some() == rates.down.is_some();
        for (bucket, rate) in [(&self.up, rates.up), (&self.down, rates.down)] {
            if let (true, Some(bucket), Some(rate)) = (same, bucket, rate) {
                bucket.rate.store(rate.max(1), Ordering::Relaxed);
            }
        }
        same
    }
}

/// How fast one transfer goes.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace {
    buckets: [Option<Arc<Bucket>>; 2],
    stopped: Arc<AtomicBool>,
}

impl Pace {
    /// Whether it goes as fast as it can.
    pub(super) fn is_free(&self) -> bool {
        self.buckets.iter().all(Option::is_none)
    }

    /// How much may be moved before the next [`took`](Pace::took), up to so much.
    pub(super) fn piece(&self, most: usize) -> usize {
        let slices = |bucket: &Arc<Bucket>| {
            // One handle is the owner's; a transfer has one or two.
            let sharing = Arc::strong_count(bucket).saturating_sub(1).max(1) as u128;
            let piece = u128::from(bucket.rate()) * PIECE.as_millis() / 1000 / sharing;
            u64::try_from(piece).unwrap_or(u64::MAX).max(PIECE_MIN)
        };
        let least = self.buckets.iter().flatten().map(slices).min().unwrap_or(u64::MAX);
        most.min(usize::try_from(least).unwrap_or(usize::MAX))
    }

    /// So many octets were moved at this time: how long to wait before the next ones are.
    pub(super) fn take(&self, now: Instant, octets: u64) -> Duration {
        self.buckets.iter().flatten().map(|bucket| bucket.take(now, octets)).max().unwrap_or_default()
    }

    /// So many octets were moved: waits, unless the transfer is given up.
    pub(super) fn took(&self, octets: usize) {
        if self.is_free() || octets == 0 {
            return;
        }
        let now = Instant::now();
        let until = now.checked_add(self.take(now, octets as u64));
        while let Some(rest) = until.and_then(|until| until.checked_duration_since(Instant::now())) {
            if rest.is_zero() || self.stopped.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(rest.min(LOOK));
        }
    }

    /// The transfer is given up: whoever waits does no longer.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Moves as much as it may for so long, each of these transfers; what each of them moved.
    fn simulate(paces: &[Pace], seconds: u64) -> Vec<u64> {
        let start = Instant::now();
        let end = start + Duration::from_secs(seconds);
        let mut moved = vec![0; paces.len()];
        let mut wakes: Vec<Instant> = vec![start; paces.len()];
        loop {
            let (next, at) = wakes.iter().copied().enumerate().min_by_key(|(_, at)| *at).unwrap();
            if at >= end {
                return moved;
            }
            let octets = paces[next].piece(1 << 20) as u64;
            moved[next] += octets;
            // A line of 1 GB/s behind it.
            let wait = paces[next].take(at, octets);
            wakes[next] = at + wait.max(Duration::from_nanos(octets));
        }
    }

    fn within(moved: u64, wanted: u64) -> bool {
        (wanted * 9 / 10..=wanted * 11 / 10).contains(&moved)
    }

    fn rates(up: Option<u64>, down: Option<u64>) -> policy::Rates {
        policy::Rates { up, down }
    }

    #[test]
    fn a_rate_is_kept_however_small_or_large_and_however_many_share_it() {
        for rate in [2_000, 50_000, 10_000_000, 500_000_000] {
            for transfers in [1, 3, 10] {
                let rates = Rates::new(policy::Rates::default());
                let kept = rates.of("a", self::rates(Some(rate), None));
                let paces: Vec<_> = (0..transfers).map(|_| rates.pace(&kept, true)).collect();
                let moved = simulate(&paces, 20);
                let sum: u64 = moved.iter().sum();
                assert!(within(sum, rate * 20), "{rate} {transfers}: {sum}");
                // And none of them goes faster than another.
                let (least, most) = (moved.iter().min().unwrap(), moved.iter().max().unwrap());
                assert!(most - least <= paces[0].piece(1 << 20) as u64, "{moved:?}");
            }
        }
    }

    #[test]
    fn users_keep_their_own_and_all_keep_that_of_all() {
        let rates = Rates::new(rates(None, Some(1_000_000)));
        let own = |name: &str, down| rates.pace(&rates.of(name, self::rates(None, down)), false);
        let paces = [own("a", Some(100_000)), own("b", None), own("c", None)];
        let moved = simulate(&paces, 20);
        assert!(within(moved[0], 2_000_000), "{moved:?}");
        assert!(within(moved.iter().sum(), 20_000_000), "{moved:?}");
        assert!(within(moved[1], moved[2]), "{moved:?}");
        // The other direction is free.
        let kept = rates.of("a", self::rates(None, Some(1)));
        assert!(rates.pace(&kept, true).is_free() && !rates.pace(&kept, false).is_free());
    }

    #[test]
    fn sessions_of_one_name_share_and_those_who_are_gone_are_forgotten() {
        let rates = Rates::default();
        let one = rates.of("a", self::rates(Some(1000), None));
        let two = rates.of("a", self::rates(Some(2000), None));
        assert!(Arc::ptr_eq(&one.own, &two.own));
        assert_eq!(one.own.up.as_ref().unwrap().rate(), 2000);
        // Other directions are another bucket.
        let other = rates.of("a", self::rates(None, Some(1)));
        assert!(!Arc::ptr_eq(&one.own, &other.own));
        for n in 0..1000 {
            drop(rates.of(&n.to_string(), self::rates(Some(1), None)));
        }
        assert!(rates.users.lock().len() <= FORGET_ABOVE + 1);
        drop(rates.of("free", policy::Rates::default()));
        assert!(!rates.users.lock().contains_key("free"));
    }

    #[test]
    fn what_was_not_used_is_not_kept_for_later() {
        let bucket = Bucket::new(1000);
        let start = Instant::now() + Duration::from_secs(100);
        assert_eq!(bucket.take(start, 1000), Duration::from_secs(1) - BURST);
        // An hour later there is as much as at the beginning, and no more.
        let later = start + Duration::from_secs(3600);
        assert_eq!(bucket.take(later, 1000), Duration::from_secs(1) - BURST);
        assert_eq!(bucket.take(later, 1000), Duration::from_secs(2) - BURST);
    }

    #[test]
    fn who_gives_up_does_not_wait() {
        let rates = Rates::default();
        let pace = rates.pace(&rates.of("a", self::rates(Some(1), None)), true);
        pace.stop();
        let begun = Instant::now();
        pace.took(1 << 20);
        // It would be twelve days.
        assert!(begun.elapsed() < Duration::from_secs(3600));
        assert!(Pace::default().is_free() && Pace::default().piece(77) == 77);
    }
}
