//! What is counted of mail to other servers.

use std::fmt;
use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use packetboat_mail::queue::Verdict;
use packetboat_store::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::{Metrics, gauge};

/// What came of something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The counters.
#[derive(Debug)]
pub(super) struct RelayMetrics {
    recipients: Family<Outcome, Counter>,
    connections: Family<Outcome, Counter>,
    open: Gauge,
}

impl RelayMetrics {
    /// Everything at nought, shown with the rest.
    pub(super) fn new(metrics: &Metrics, store: &Store) -> RelayMetrics {
        let relay = RelayMetrics {
            recipients: Family::default(),
            connections: Family::default(),
            open: Gauge::default(),
        };
        metrics.register(|registry| {
            registry.register(
                "relay_recipients",
                "Recipients elsewhere by what came of an attempt",
                relay.recipients.clone(),
            );
            registry.register(
                "relay_connections",
                "Connections to other servers by how they ended",
                relay.connections.clone(),
            );
            registry.register("relay_connections_open", "Connections to other servers", relay.open.clone());
        });
        metrics.register_collector(Box::new(QueueSize(store.clone())));
        relay
    }

    /// Counts what came of one recipient.
    pub(super) fn verdict(&self, verdict: &Verdict) {
        let outcome = match verdict {
            Verdict::Delivered { .. } => "delivered",
            Verdict::Deferred(_) => "deferred",
            Verdict::Failed(_) => "failed",
            Verdict::Untried => return,
        };
        self.recipients.get_or_create(&Outcome { outcome }).inc();
    }

    /// A connection stands.
    pub(super) fn opened(&self) {
        self.open.inc();
    }

    /// It stands no more.
    pub(super) fn ended(&self, how: &'static str) {
        self.open.dec();
        self.count(how);
    }

    /// It never came about.
    pub(super) fn not_connected(&self) {
        self.count("not_connected");
    }

    fn count(&self, outcome: &'static str) {
        self.connections.get_or_create(&Outcome { outcome }).inc();
    }
}

/// How much waits.
#[derive(Debug)]
struct QueueSize(Store);

impl Collector for QueueSize {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // The numbers stand ready: there is nothing to wait for.
        let count = pin!(self.0.queue_count()).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(count)) = count else { return Ok(()) };
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        gauge(&mut encoder, "queue_recipients", "Recipients that wait", number(count.rows))?;
        gauge(&mut encoder, "queue_octets", "Octets of the messages that wait", number(count.octets))?;
        gauge(&mut encoder, "queue_held", "Recipients that are held", number(count.held))?;
        gauge(
            &mut encoder,
            "queue_destinations",
            "Destinations that something waits for",
            number(count.destinations),
        )
    }
}
