//! Who is called next, and by how many.

use std::sync::Arc;
use std::time::Duration;

use packetboat_store::{Leased, Op, QueueId, Tx};

use super::{HERE, Inner, LEASE, Queue, schedule};
use crate::office::unreadable;
use crate::outbound::NextHop;

/// Rows leased at a time for a destination, and of each lane of it: a sender with many messages has so many turns before
/// the next one's.
const BATCH: usize = 32;
const BATCH_PER_LANE: usize = 8;
/// Messages over one connection while others wait for one.
pub(super) const TURN_MAX: u32 = 100;
/// How long to wait at most before looking again, and where something is due that cannot be begun yet.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN_SOON: Duration = Duration::from_secs(1);
/// How long a destination is left alone whose name cannot be read.
const UNREADABLE_REST: Duration = Duration::from_secs(3600);

/// The right to one connection to one destination. Dropped, it is given back, as by [`Queue::finished`].
#[derive(Debug)]
pub struct Slot {
    pub(super) inner: Arc<Inner>,
    pub(super) hop: NextHop,
    pub(super) name: String,
    /// When the destination came by itself and asked for what waits; what came later is not for it.
    pub(super) fetched_at: Option<i64>,
    /// Messages taken so far.
    pub(super) taken: u32,
}

/// What [`Queue::pick`] found.
#[derive(Debug)]
pub enum Picked {
    /// A destination with mail that is due.
    Slot(Slot),
    /// Nothing to begin now. Microseconds since the epoch of the next time to look, if there is one known.
    Nothing(Option<i64>),
}

impl Slot {
    /// Whom to call.
    pub fn next_hop(&self) -> &NextHop {
        &self.hop
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let left = {
            let mut active = self.inner.active.lock();
            let last = active.destinations.close(&self.name);
            if last { active.ready.remove(&self.name) } else { None }
        };
        if let Some(rows) = left {
            let leases: Vec<(QueueId, u64)> =
                rows.iter().map(|leased| (leased.row.id, leased.fence)).collect();
            self.inner.store().queue_unlease(&leases);
        }
        self.inner.bell.notify_one();
    }
}

impl Queue {
    /// Waits until a destination has mail that is due, and there is room for one more connection to it. Nothing is lost
    /// when the caller stops waiting.
    pub async fn slot(&self) -> Slot {
        let mut watch = self.inner.store().queue_watch();
        loop {
            watch.borrow_and_update();
            let rung = self.inner.bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            let next = match self.pick().await {
                Picked::Slot(slot) => return slot,
                Picked::Nothing(next) => next,
            };
            let now = self.inner.world.moment();
            let wait = match next.map(|next| next.saturating_sub(now)) {
                Some(wait) if wait > 0 => Duration::from_micros(wait.unsigned_abs()).min(LOOK_AGAIN),
                Some(_) => LOOK_AGAIN_SOON,
                None => LOOK_AGAIN,
            };
            tokio::select! {
                () = rung => (),
                _ = watch.changed() => (),
                () = tokio::time::sleep(wait) => (),
            }
        }
    }

    /// Looks once for what [`Queue::slot`] waits for.
    pub async fn pick(&self) -> Picked {
        let now = self.inner.world.moment();
        let settings = &self.outgoing().queue;
        let fresh_first = {
            let mut active = self.inner.active.lock();
            if !active.destinations.has_room(settings) {
                active.crowded = true;
                return Picked::Nothing(None);
            }
            active.crowded = false;
            active.fresh_next = !active.fresh_next;
            active.fresh_next
        };
        // Half of the turns are for what came in just now, so that it need not wait for everything that has waited longer.
        if fresh_first {
            while let Some(name) = self.inner.office.shared.fresh.next() {
                if let Some(slot) = self.open(&name, now).await {
                    return Picked::Slot(slot);
                }
            }
        }
        // Rows that one connection holds ready, and another could carry meanwhile.
        let more = {
            let active = self.inner.active.lock();
            let waits = |name: &&String| {
                let ready = active.ready.get(*name).map_or(0, std::collections::VecDeque::len);
                ready > active.destinations.open_to(name) && active.destinations.may_open(name, settings)
            };
            active.ready.keys().find(waits).cloned()
        };
        if let Some(name) = more
            && let Some(slot) = self.open(&name, now).await
        {
            return Picked::Slot(slot);
        }
        // Those that cannot be begun have connections, so that among so many there is one that can.
        let limit = settings.connections_max.saturating_add(1);
        let due = self.inner.store().queue_destinations(now, limit).await.unwrap_or_else(|error| {
            unreadable(error);
            Vec::new()
        });
        for destination in due {
            if let Some(slot) = self.open(&destination.name, now).await {
                return Picked::Slot(slot);
            }
        }
        if !fresh_first
            && let Some(name) = self.inner.office.shared.fresh.next()
            && let Some(slot) = self.open(&name, now).await
        {
            return Picked::Slot(slot);
        }
        let next = self.inner.store().queue_next().await.unwrap_or_else(|error| {
            unreadable(error);
            None
        });
        Picked::Nothing(next)
    }

    /// Gives a peer that has come by itself what waits for it ([`NextHop::Peer`]; RFC 1985, RFC 2645); `None` when nothing
    /// does.
    pub async fn fetch(&self, hop: NextHop) -> Option<Slot> {
        let name = hop.to_string();
        let settings = &self.outgoing().queue;
        self.inner.active.lock().destinations.open(&name, settings);
        let fetched_at = Some(self.inner.world.moment());
        let slot = Slot { inner: Arc::clone(&self.inner), hop, name, fetched_at, taken: 0 };
        self.refill(&slot).await.then_some(slot)
    }

    /// A connection to a destination, if it may have one more and has something for it.
    async fn open(&self, name: &str, now: i64) -> Option<Slot> {
        let settings = &self.outgoing().queue;
        if name == HERE {
            return None;
        }
        let hop: NextHop = match name.parse() {
            Ok(hop) => hop,
            Err(error) => {
                tracing::error!(name, %error, "mail waits for a destination that cannot be read");
                self.leave(name, schedule::after(now, UNREADABLE_REST)).await;
                return None;
            }
        };
        if hop.is_fetched() {
            self.leave(name, i64::MAX).await;
            return None;
        }
        {
            let mut active = self.inner.active.lock();
            if !active.destinations.may_open(name, settings) {
                return None;
            }
            active.destinations.open(name, settings);
        }
        // From here on dropping it gives it back.
        let name = name.to_owned();
        let slot = Slot { inner: Arc::clone(&self.inner), hop, name, fetched_at: None, taken: 0 };
        let destination = self.inner.store().queue_destination(&slot.name).await.unwrap_or_else(|error| {
            unreadable(error);
            None
        });
        let rests = destination.is_none_or(|destination| destination.resting_until > now);
        let has_ready = |queue: &Queue| {
            queue.inner.active.lock().ready.get(&slot.name).is_some_and(|ready| !ready.is_empty())
        };
        let worth_it = has_ready(self) || (!rests && self.refill(&slot).await);
        worth_it.then_some(slot)
    }

    /// Keeps a destination that cannot be called from coming up again and again.
    async fn leave(&self, name: &str, until: i64) {
        let ops = vec![Op::Rest { destination: name.to_owned(), until }];
        if let Err(error) = self.inner.store().commit(Tx { id: None, require: vec![], ops }, vec![]).await {
            unreadable(error);
        }
    }

    /// Leases what is due for a destination. Whether there is anything.
    pub(super) async fn refill(&self, slot: &Slot) -> bool {
        let (now, until) = self.lease_times(slot);
        let store = self.inner.store();
        let rows =
            store.queue_lease(&slot.name, now, BATCH_PER_LANE, BATCH, until).await.unwrap_or_else(|error| {
                unreadable(error);
                Vec::new()
            });
        let mut active = self.inner.active.lock();
        let ready = active.ready.entry(slot.name.clone()).or_default();
        ready.extend(rows);
        !ready.is_empty()
    }

    /// Up to when a slot's rows have to be due, and until when they are leased.
    pub(super) fn lease_times(&self, slot: &Slot) -> (i64, i64) {
        let now = self.inner.world.moment();
        (slot.fetched_at.unwrap_or(now), schedule::after(now, LEASE))
    }

    /// Takes from what is ready the next message's rows, which go together.
    pub(super) fn take_ready(&self, name: &str, limit: usize) -> Vec<Leased> {
        let mut active = self.inner.active.lock();
        let Some(ready) = active.ready.get_mut(name) else { return Vec::new() };
        let Some(first) = ready.pop_front() else { return Vec::new() };
        let message = first.row.message;
        let mut rows = vec![first];
        ready.retain(|leased| {
            let along = leased.row.message == message && rows.len() < limit;
            if along {
                rows.push(leased.clone());
            }
            !along
        });
        rows
    }

    /// The connection has ended in good order, and with it the slot.
    pub async fn finished(&self, slot: Slot) {
        drop(slot);
    }
}
