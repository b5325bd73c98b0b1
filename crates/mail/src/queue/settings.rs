//! How the queue behaves.

use std::time::Duration;

use packetboat_message::Address;

/// How the queue behaves: how long, how often, how much at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a message is tried (RFC 5321 section 4.5.4.1 asks for four or five days).
    pub lifetime: Duration,
    /// When the sender is told that a message has not been delivered yet.
    pub delay_notice: Duration,
    /// How long after each attempt the next one is made; the last one stands for all that follow.
    pub retries: Vec<Duration>,
    /// How long a destination that could not be reached is left alone the first time; each time twice as long.
    pub rest_first: Duration,
    /// How long it is left alone at most.
    pub rest_max: Duration,
    /// Recipients that may wait in the queue.
    pub rows_max: u64,
    /// Connections at a time.
    pub connections_max: usize,
    /// Connections to one destination at a time, once it has shown that it can take them.
    pub connections_per_destination: usize,
    /// Connections to one destination at first.
    pub connections_at_first: usize,
    /// Recipients given to a destination with one message.
    pub recipients_max: usize,
    /// Octets of a message that come back with a notice when the sender did not say how much.
    pub return_unasked: u64,
    /// Octets of a message that come back at most, though the sender asked for all of it.
    pub return_max: u64,
    /// Who answers for this host in notices; `None`: the postmaster of the default domain, or of the host.
    pub postmaster: Option<Address>,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

impl Settings {
    /// The interval where none is set.
    pub(crate) const RETRY_LAST: Duration = Duration::from_secs(4 * HOUR);
    /// How long before its end a message is tried for the last time.
    pub(crate) const LAST_CHANCE: Duration = Duration::from_secs(MINUTE);
}

impl Default for Settings {
    fn default() -> Settings {
        let minutes = |minutes: u64| Duration::from_secs(minutes * MINUTE);
        let mut retries: Vec<Duration> = [1, 2, 4, 8, 15, 30].map(minutes).to_vec();
        retries.extend([minutes(60); 6]);
        retries.extend([minutes(120); 3]);
        retries.push(Settings::RETRY_LAST);
        Settings {
            lifetime: Duration::from_secs(5 * 24 * HOUR),
            delay_notice: Duration::from_secs(4 * HOUR),
            retries,
            rest_first: minutes(1),
            rest_max: minutes(60),
            rows_max: 2_000_000,
            connections_max: 100,
            connections_per_destination: 20,
            connections_at_first: 2,
            recipients_max: 100,
            return_unasked: 64 << 10,
            return_max: 10 << 20,
            postmaster: None,
        }
    }
}
