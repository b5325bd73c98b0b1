//! Mail to other servers: takes what is due from the queue and carries it.
//!
//! [`Relay::run`] takes one slot after the other from the queue and gives each to a task. The task takes an idle
//! connection to the destination, or finds hosts (`choice`, `plan`) and dials them (`dial`); over the connection a
//! `courier` sends errand after errand (`trip`). What came of each goes back to the queue, which decides everything else: when
//! there is another attempt, who hears of it, how many connections a destination gets.

mod body;
mod choice;
mod courier;
mod demand;
mod dial;
mod hosts;
mod idle;
mod metrics;
mod plan;
mod tls;
mod trip;
mod trusted;
mod turned;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use packetboat_mail::queue::Queue;
use packetboat_store::Store;
use parking_lot::RwLock;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use trusted::TrustedNetworks;
pub(crate) use turned::{Turned, Waiting};

pub use demand::{Demanded, Required, SameForAll, TlsDemand, TlsRules};

use self::courier::Depot;
use self::idle::Idle;
use self::metrics::RelayMetrics;
use self::plan::Plan;
use self::tls::TlsMaker;
use crate::drive::Pace;
use crate::metrics::Metrics;
use crate::secure::{AuthoritiesError, POLICY_LOOK};
use crate::settings::Settings;
use crate::shutdown::{Phase, Shutdown, ShutdownSignal};

/// How often deadlines are looked at.
const DEADLINES: Duration = Duration::from_secs(5);
/// How long connections that are cut have to let go of what they hold.
const CUT_TIME: Duration = Duration::from_secs(1);

/// Whether a text is `name:port`.
pub(crate) fn has_port(text: &str) -> bool {
    dial::Host::with_port(text).is_some()
}

/// The time as the queue counts it: microseconds since the epoch.
fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// Carries mail to other servers.
#[derive(Debug)]
pub struct Relay {
    depot: Arc<Depot>,
    store: Store,
    tls: TlsMaker,
    plan: RwLock<Arc<Plan>>,
    pace: Arc<Pace>,
    /// Ends after the listeners: what they took last may still go.
    shutdown: Shutdown,
    ids: AtomicU64,
}

impl Relay {
    /// A relay by these settings.
    ///
    /// # Errors
    /// When a file of authorities that they name is of no use.
    pub fn new(
        settings: &Settings,
        store: Store,
        queue: Queue,
        metrics: &Metrics,
    ) -> Result<Arc<Relay>, AuthoritiesError> {
        let tls = TlsMaker::new();
        let plan = Plan::new(settings, &tls, &store)?;
        Ok(Arc::new(Relay {
            depot: Arc::new(Depot { metrics: RelayMetrics::new(metrics, &store), queue, idle: Idle::new() }),
            plan: RwLock::new(Arc::new(plan)),
            store,
            tls,
            pace: Arc::new(Pace { write: settings.limits.write_timeout, ..Pace::default() }),
            shutdown: Shutdown::new(),
            ids: AtomicU64::new(0),
        }))
    }

    /// New settings. Connections that stand go on by the old ones; so does everything if the new ones cannot be used.
    pub fn reload(&self, settings: &Settings) {
        match Plan::new(settings, &self.tls, &self.store) {
            Ok(plan) => *self.plan.write() = Arc::new(plan),
            Err(error) => tracing::error!(%error, "mail to other servers goes on by the old settings"),
        }
    }

    /// Carries mail until the server stops; then connections finish the message in hand, for as long as `grace`.
    pub async fn run(self: Arc<Relay>, server: ShutdownSignal, grace: Duration) {
        let mut tasks = JoinSet::new();
        let mut chores = JoinSet::new();
        chores.spawn(Arc::clone(&self).refresh_policies());
        chores.spawn(Arc::clone(&self).watch_deadlines());
        let mut stopping = std::pin::pin!(server.reached(Phase::Stopping));
        loop {
            tokio::select! {
                biased;
                () = &mut stopping => break,
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
                slot = self.depot.queue.slot() => {
                    tasks.spawn(Arc::clone(&self).carry(slot));
                }
            }
        }
        chores.shutdown().await;
        self.shutdown.enter(Phase::Stopping);
        let empty = async { while tasks.join_next().await.is_some() {} };
        if timeout(grace, empty).await.is_err() {
            self.shutdown.enter(Phase::Ending);
            // Whoever is in the middle of a message sends it again after the next start.
            let _ = timeout(CUT_TIME, async { while tasks.join_next().await.is_some() {} }).await;
        }
    }

    /// Keeps the policies of domains fresh, whoever asks for them.
    async fn refresh_policies(self: Arc<Relay>) {
        loop {
            let guard = self.plan.read().guard.clone();
            if let Some(guard) = guard {
                guard.refresh_policies().await;
            }
            sleep(POLICY_LOOK).await;
        }
    }

    /// Sees to what has waited too long.
    async fn watch_deadlines(self: Arc<Relay>) {
        loop {
            self.depot.queue.expire().await;
            sleep(DEADLINES).await;
        }
    }

    fn is_stopping(&self) -> bool {
        self.shutdown.signal().phase() >= Phase::Stopping
    }
}
