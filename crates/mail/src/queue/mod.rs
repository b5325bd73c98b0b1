//! Mail on its way to other servers: what is known of it, when it is tried, and who hears of it.
//!
//! Whoever carries mail asks the [`Queue`] for a [`Slot`], the right to one connection to one destination; by it, message
//! after message, for an [`Errand`]; and says with [`Queue::settle`] what became of each recipient. The queue knows no
//! sockets. What it holds lies in the store, so that nothing is lost with the process; memory holds what is being carried
//! and little more.

pub mod admin;
mod destinations;
mod envelope;
mod errand;
mod expire;
mod fresh;
mod here;
pub(crate) mod notice;
pub mod schedule;
mod settings;
mod settle;
mod slot;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use jiff::Zoned;
use packetboat_store::{Leased, Op, QueueId};
use parking_lot::Mutex;
use tokio::sync::Notify as Bell;

use crate::outbound::NextHop;
use crate::{Outgoing, PostOffice};
use destinations::Destinations;

pub use envelope::{
    Asked, Attempt, BodyKind, DeliverBy, Envelope, Notify, Rcpt, RcptAsked, Ret, Stage, TlsSeen, Unreadable,
    Verdict, Verified,
};
pub use errand::Errand;
pub(crate) use fresh::{Fresh, lane_of};
pub(crate) use here::{HERE, rest_of_here};
pub use settings::Settings;
pub use slot::{Picked, Slot};

/// For how long rows are the carrier's. Longer than any connection lives: a message is not given to a second one while the
/// first may still succeed. What a process held ends with it.
const LEASE: std::time::Duration = std::time::Duration::from_secs(12 * 3600);

/// Where the time and randomness come from.
#[derive(Clone)]
pub struct World {
    /// What time it is.
    pub now: Arc<dyn Fn() -> Zoned + Send + Sync>,
    /// Sixty-four random bits.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl World {
    /// Microseconds since the epoch.
    fn moment(&self) -> i64 {
        (self.now)().timestamp().as_microsecond()
    }
}

/// The queue. A cheap handle; clones share everything. There is one in a process.
#[derive(Debug, Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    office: PostOffice,
    world: World,
    active: Mutex<Active>,
    /// Rows that are in somebody's hands.
    carried: Mutex<HashSet<QueueId>>,
    /// Rung when a connection has ended or rows came back.
    bell: Bell,
}

/// What is being carried.
#[derive(Debug, Default)]
struct Active {
    destinations: Destinations,
    /// Rows leased for destinations that have connections, and not yet taken by one.
    ready: HashMap<String, VecDeque<Leased>>,
    /// Whose turn it is: what came in just now, or what is due.
    fresh_next: bool,
    /// A destination had to wait for others to end.
    crowded: bool,
}

/// What is fetched rests for ever: it is due in its order, and nobody is called for it.
pub(crate) fn rest_of_fetched(hop: &NextHop) -> Option<Op> {
    hop.is_fetched().then(|| Op::Rest { destination: hop.to_string(), until: i64::MAX })
}

impl Queue {
    /// The queue of a post office, with the ways out as they are set there.
    pub fn new(office: PostOffice, world: World) -> Queue {
        let (active, carried, bell) = (Mutex::default(), Mutex::default(), Bell::new());
        Queue { inner: Arc::new(Inner { office, world, active, carried, bell }) }
    }

    /// The post office it belongs to.
    pub fn office(&self) -> &PostOffice {
        &self.inner.office
    }

    /// Gives back all that connections hold ready and have not begun with.
    fn recall(&self) {
        let ready = std::mem::take(&mut self.inner.active.lock().ready);
        for rows in ready.into_values() {
            let leases: Vec<(QueueId, u64)> =
                rows.iter().map(|leased| (leased.row.id, leased.fence)).collect();
            self.inner.store().queue_unlease(&leases);
        }
    }

    fn outgoing(&self) -> Arc<Outgoing> {
        self.inner.office.outgoing()
    }
}

impl Inner {
    fn store(&self) -> &packetboat_store::Store {
        &self.office.shared.store
    }

    fn random(&self) -> u64 {
        (self.world.random)()
    }
}
