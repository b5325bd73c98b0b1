//! Destinations of mail that came in just now, by sender: so that somebody's one message to a destination of its own is not
//! looked at behind ten thousand destinations of somebody else's. What does not fit here is found in the store, in the
//! order in which it is due.

use std::collections::VecDeque;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use parking_lot::Mutex;

/// Lanes that take turns; a sender is always in the same.
pub(crate) const LANES: usize = 64;
/// Destinations remembered for each.
const LANE_MAX: usize = 64;

/// The lane of a sender.
pub(crate) fn lane_of(sender: Option<&str>) -> u8 {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(sender);
    // A remainder of 64 fits.
    (hash % LANES as u64) as u8
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    inner: Mutex<Lanes>,
}

#[derive(Debug, Default)]
struct Lanes {
    lanes: Vec<VecDeque<String>>,
    /// Whose turn it is.
    turn: usize,
    len: usize,
}

impl Fresh {
    /// Something of this lane was put into the queue for these destinations.
    pub(crate) fn enqueued(&self, lane: u8, destinations: Vec<String>) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        inner.lanes.resize_with(LANES, VecDeque::new);
        let Some(lane) = inner.lanes.get_mut(usize::from(lane)) else { return };
        for destination in destinations {
            if lane.len() >= LANE_MAX {
                return;
            }
            if lane.back() != Some(&destination) {
                lane.push_back(destination);
                inner.len += 1;
            }
        }
    }

    /// A destination of the lane whose turn it is.
    pub(crate) fn next(&self) -> Option<String> {
        let mut inner = self.inner.lock();
        if inner.len == 0 {
            return None;
        }
        for step in 0..LANES {
            let place = (inner.turn + step) % LANES;
            if let Some(destination) = inner.lanes.get_mut(place).and_then(VecDeque::pop_front) {
                (inner.turn, inner.len) = (place + 1, inner.len - 1);
                return Some(destination);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_take_turns_and_are_bounded() {
        let fresh = Fresh::default();
        for n in 0..10_000 {
            fresh.enqueued(5, vec![format!("mx:{n}.example")]);
        }
        fresh.enqueued(9, vec!["mx:other.example".into(), "mx:other.example".into()]);
        assert_eq!(fresh.next().as_deref(), Some("mx:0.example"));
        assert_eq!(fresh.next().as_deref(), Some("mx:other.example"));
        assert_eq!(fresh.next().as_deref(), Some("mx:1.example"));
        let mut rest = 0;
        while fresh.next().is_some() {
            rest += 1;
        }
        assert_eq!(rest, LANE_MAX - 2);
    }

    #[test]
    fn a_sender_stays_in_one_lane_and_senders_spread() {
        let lanes: std::collections::HashSet<u8> =
            (0..1000).map(|n| lane_of(Some(&format!("user{n}@example.org")))).collect();
        assert!(lanes.len() > 60 && lanes.iter().all(|lane| usize::from(*lane) < LANES));
        assert_eq!(lane_of(Some("a@b")), lane_of(Some("a@b")));
        assert_ne!(lane_of(None), lane_of(Some("")));
    }
}
