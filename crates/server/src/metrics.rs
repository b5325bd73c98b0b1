//! What is counted, as Prometheus reads it.
//!
//! Handles are typed and cheap: whoever counts holds a counter, not a name.

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::limits::Refusal;
use crate::tls::Certificates;

/// The prefix of all names.
const PREFIX: &str = "packetboat";

/// The label that names a service, such as `smtp` or `pop3s`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ServiceLabel {
    /// The service.
    pub service: &'static str,
}

/// A service and what came out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// The service.
    pub service: &'static str,
    /// One of a few words.
    pub outcome: &'static str,
}

/// All that is counted.
pub struct Metrics {
    registry: Mutex<Registry>,
    connections: Family<ServiceLabel, Counter>,
    open: Family<ServiceLabel, Gauge>,
    received: Family<ServiceLabel, Counter>,
    sent: Family<ServiceLabel, Counter>,
    ended: Family<OutcomeLabels, Counter>,
    refused: Family<OutcomeLabels, Counter>,
    /// Log-ins, by `ok`, `wrong`, `delayed`, `banned` and the like.
    pub logins: Family<OutcomeLabels, Counter>,
    /// Messages taken in, by `accepted`, `rejected`, `deferred`.
    pub messages: Family<OutcomeLabels, Counter>,
    /// Octets of messages taken in.
    pub message_octets: Family<ServiceLabel, Counter>,
    /// Recipients, by `accepted` or the reason they were not.
    pub recipients: Family<OutcomeLabels, Counter>,
    /// Messages handed out to their owners.
    pub retrieved: Family<ServiceLabel, Counter>,
}

/// The counters of one service's connections.
#[derive(Debug, Clone)]
pub struct ServiceMetrics {
    service: &'static str,
    /// Connections admitted.
    pub connections: Counter,
    /// Connections that stand.
    pub open: Gauge,
    /// Octets received.
    pub received: Counter,
    /// Octets sent.
    pub sent: Counter,
    ended: Family<OutcomeLabels, Counter>,
    refused: Family<OutcomeLabels, Counter>,
}

impl Metrics {
    /// Everything at nought.
    pub fn new() -> Arc<Metrics> {
        let metrics = Metrics {
            registry: Mutex::new(Registry::with_prefix(PREFIX)),
            connections: Family::default(),
            open: Family::default(),
            received: Family::default(),
            sent: Family::default(),
            ended: Family::default(),
            refused: Family::default(),
            logins: Family::default(),
            messages: Family::default(),
            message_octets: Family::default(),
            recipients: Family::default(),
            retrieved: Family::default(),
        };
        metrics.register(|registry| {
            registry.register("connections", "Connections admitted", metrics.connections.clone());
            registry.register("connections_open", "Connections that stand", metrics.open.clone());
            registry.register("received_octets", "Octets received, after TLS", metrics.received.clone());
            registry.register("sent_octets", "Octets sent, before TLS", metrics.sent.clone());
            registry.register("connections_ended", "Connections by how they ended", metrics.ended.clone());
            registry.register(
                "connections_refused",
                "Connections refused for a limit",
                metrics.refused.clone(),
            );
            registry.register("logins", "Attempts to log in", metrics.logins.clone());
            registry.register("messages", "Messages handed in", metrics.messages.clone());
            registry.register(
                "message_octets",
                "Octets of messages accepted",
                metrics.message_octets.clone(),
            );
            registry.register("recipients", "Recipients named", metrics.recipients.clone());
            registry.register("messages_retrieved", "Messages handed out", metrics.retrieved.clone());
        });
        metrics.register_collector(Box::new(Process { started: SystemTime::now() }));
        Arc::new(metrics)
    }

    /// Adds more to what is shown.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock());
    }

    /// Adds something that is looked up only when asked for.
    pub fn register_collector(&self, collector: Box<dyn Collector>) {
        self.registry.lock().register_collector(collector);
    }

    /// Shows when the first certificate expires.
    pub fn show_certificates(&self, certificates: Arc<Certificates>) {
        self.register_collector(Box::new(Expiry(certificates)));
    }

    /// The counters of a service.
    pub fn service(&self, service: &'static str) -> ServiceMetrics {
        let label = ServiceLabel { service };
        ServiceMetrics {
            service,
            connections: self.connections.get_or_create_owned(&label),
            open: self.open.get_or_create_owned(&label),
            received: self.received.get_or_create_owned(&label),
            sent: self.sent.get_or_create_owned(&label),
            ended: self.ended.clone(),
            refused: self.refused.clone(),
        }
    }

    /// The text Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail, and our collectors do not.
        let _ = text::encode(&mut text, &self.registry.lock());
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl ServiceMetrics {
    /// Counts a connection that was not let in.
    pub fn refused(&self, refusal: Refusal) {
        self.count(&self.refused, refusal.word());
    }

    /// Counts how a connection ended.
    pub fn ended(&self, how: &'static str) {
        self.count(&self.ended, how);
    }

    fn count(&self, family: &Family<OutcomeLabels, Counter>, outcome: &'static str) {
        family.get_or_create(&OutcomeLabels { service: self.service, outcome }).inc();
    }
}

#[derive(Debug)]
struct Expiry(Arc<Certificates>);

impl Collector for Expiry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        gauge(
            &mut encoder,
            "certificate_expiry_seconds",
            "When the first certificate expires, in seconds since 1970",
            self.0.not_after(),
        )
    }
}

/// What the system says of this process.
#[derive(Debug)]
struct Process {
    started: SystemTime,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let started = i64::try_from(started).unwrap_or(i64::MAX);
        gauge(&mut encoder, "start_time_seconds", "When the server started, in seconds since 1970", started)?;
        if let Some(pages) = resident_pages() {
            let octets = pages.saturating_mul(i64::try_from(rustix::param::page_size()).unwrap_or(4096));
            gauge(&mut encoder, "resident_memory_octets", "Resident memory", octets)?;
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            let count = i64::try_from(files.count()).unwrap_or(i64::MAX);
            gauge(&mut encoder, "open_files", "Open file descriptors", count)?;
        }
        Ok(())
    }
}

/// The second number of `/proc/self/statm`, proc(5).
fn resident_pages() -> Option<i64> {
    fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()
}

pub(crate) fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: i64,
) -> Result<(), fmt::Error> {
    let encoder: MetricEncoder<'_> = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(encoder)
}
