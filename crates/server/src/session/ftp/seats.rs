//! How many connections one user has, and how many of them from one address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::limits::peer_of;

/// A user, or a user at an address.
type Key = (Arc<str>, Option<IpAddr>);

/// The seats that are taken. Only those of users who have a limit are counted, as long as they are here.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: Mutex<HashMap<Key, u32>>,
}

/// A seat. Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    keys: Vec<Key>,
}

impl Seats {
    /// A seat for somebody, if there are fewer than `most` taken, and fewer than `most_there` at this address.
    pub(super) fn take(
        self: &Arc<Seats>,
        name: &str,
        address: Option<IpAddr>,
        most: Option<u32>,
        most_there: Option<u32>,
    ) -> Option<Seat> {
        let name: Arc<str> = name.into();
        let there = address.map(|address| peer_of(address.to_canonical()));
        let wanted = [(None, most), (there, most_there.filter(|_| there.is_some()))];
        let mut seat = Seat { seats: Arc::clone(self), keys: Vec::new() };
        for (address, limit) in wanted {
            let Some(limit) = limit else { continue };
            let key = (Arc::clone(&name), address);
            let mut taken = self.taken.lock();
            let count = taken.entry(key.clone()).or_insert(0);
            if *count >= limit {
                if *count == 0 {
                    taken.remove(&key);
                }
                drop(taken);
                return None;
            }
            *count += 1;
            seat.keys.push(key);
        }
        Some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        for key in self.keys.drain(..) {
            if let Entry::Occupied(mut count) = taken.entry(key) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn counts_by_user_and_by_address() {
        let seats = Arc::new(Seats::default());
        let at = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let take = |name: &str, address| seats.take(name, address, Some(3), Some(2));
        let one = take("a", at("192.0.2.1")).unwrap();
        let two = take("a", at("::ffff:192.0.2.1")).unwrap();
        assert!(take("a", at("192.0.2.1")).is_none());
        let three = take("a", at("2001:db8::1")).unwrap();
        assert!(take("a", at("192.0.2.2")).is_none());
        assert!(take("b", at("192.0.2.1")).is_some());
        drop(two);
        assert!(take("a", at("192.0.2.2")).is_some());
        // What was refused took nothing.
        drop((one, three));
        assert!(seats.taken.lock().is_empty());
        // Nobody is counted who has no limit, and nobody comes in where it is none at all.
        assert!(seats.take("a", None, None, Some(1)).is_some());
        assert!(seats.take("a", None, Some(0), None).is_none());
        assert!(seats.taken.lock().is_empty());
    }
}
