//! Who has which rows, in memory.
//!
//! Two things keep a row from having two owners. Rows are read and leased under one lock; and a lease that ends because its
//! row was changed or taken out ends after the readers see that: who finds no lease does not find the old row either.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::Writing;
use crate::{Leased, QueueId, QueueRow};

/// So many rows are leased at a time; who asks for more gets fewer.
const LEASES_MAX: usize = 50_000;
/// Destinations of which is known whose turn it is.
const TURNS_MAX: usize = 10_000;

/// The leases of a store.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    inner: Mutex<Inner>,
    moved: watch::Sender<u64>,
}

#[derive(Debug)]
struct Live {
    fence: u64,
    until: i64,
    destination: Arc<str>,
}

/// What is behind the lock.
#[derive(Debug, Default)]
pub(super) struct Inner {
    live: HashMap<u64, Live>,
    ends: BTreeSet<(i64, u64)>,
    /// How many rows are leased of a destination.
    at: HashMap<Arc<str>, usize>,
    /// The lane of a destination that comes next.
    turns: HashMap<Arc<str>, u8>,
    fence: u64,
}

impl Leases {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    pub(super) fn is_live(&self, id: u64, fence: u64) -> bool {
        self.inner.lock().live.get(&id).is_some_and(|live| live.fence == fence)
    }

    /// A group was committed, and readers see it.
    pub(crate) fn changed(&self, writing: &Writing) {
        if !writing.ended.is_empty() {
            let mut inner = self.inner.lock();
            for id in &writing.ended {
                inner.end(*id);
            }
        }
        if writing.moved {
            self.tell();
        }
    }

    pub(crate) fn give_back(&self, leases: &[(QueueId, u64)]) {
        let mut any = false;
        {
            let mut inner = self.inner.lock();
            for (id, fence) in leases {
                if inner.live.get(&id.0).is_some_and(|live| live.fence == *fence) {
                    inner.end(id.0);
                    any = true;
                }
            }
        }
        if any {
            self.tell();
        }
    }

    fn tell(&self) {
        self.moved.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Inner {
    /// Ends leases that have run out.
    pub(super) fn expire(&mut self, now: i64) {
        while let Some((until, id)) = self.ends.first().copied()
            && until <= now
        {
            self.end(id);
        }
    }

    /// When the first lease runs out.
    pub(super) fn first_end(&self) -> Option<i64> {
        self.ends.first().map(|(until, _)| *until)
    }

    fn end(&mut self, id: u64) {
        let Some(live) = self.live.remove(&id) else { return };
        self.ends.remove(&(live.until, id));
        if let Some(count) = self.at.get_mut(&live.destination) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.at.remove(&live.destination);
            }
        }
    }

    pub(super) fn is_leased(&self, id: u64) -> bool {
        self.live.contains_key(&id)
    }

    /// Whether a row is leased for longer than that.
    pub(super) fn is_leased_at(&self, id: u64, now: i64) -> bool {
        self.live.get(&id).is_some_and(|live| live.until > now)
    }

    /// Whether any row of a destination is leased.
    pub(super) fn is_at(&self, destination: &str) -> bool {
        self.at.contains_key(destination)
    }

    /// How many more there may be.
    pub(super) fn room(&self) -> usize {
        LEASES_MAX.saturating_sub(self.live.len())
    }

    /// Leases a row that is not leased.
    pub(super) fn lease(&mut self, row: QueueRow, until: i64) -> Leased {
        self.fence += 1;
        let destination = match self.at.get_key_value(row.destination.as_str()) {
            Some((name, _)) => name.clone(),
            None => row.destination.as_str().into(),
        };
        *self.at.entry(destination.clone()).or_default() += 1;
        self.ends.insert((until, row.id.0));
        self.live.insert(row.id.0, Live { fence: self.fence, until, destination });
        Leased { row, fence: self.fence }
    }

    /// The lane whose turn it is.
    pub(super) fn turn(&self, destination: &str) -> u8 {
        self.turns.get(destination).copied().unwrap_or(0)
    }

    pub(super) fn set_turn(&mut self, destination: &str, lane: u8) {
        if let Some(turn) = self.turns.get_mut(destination) {
            *turn = lane;
            return;
        }
        if self.turns.len() >= TURNS_MAX {
            self.turns.clear();
        }
        self.turns.insert(destination.into(), lane);
    }
}
