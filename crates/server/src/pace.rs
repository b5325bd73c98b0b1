//! How fast a peer must be.

use std::time::Duration;

/// How fast a peer must be. Sessions have their own, per-state times; these hold against peers that keep just
/// within them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// For the whole TLS handshake.
    pub handshake: Duration,
    /// For each 64 KiB of output to be taken off our hands.
    pub write: Duration,
    /// From the first byte of a line to something the session can act on.
    pub line: Duration,
    /// While [`Handler::in_bulk`](crate::drive::Handler::in_bulk), each such time...
    pub bulk_window: Duration,
    /// ...must bring at least this many bytes.
    pub bulk_bytes: u64,
    /// After closing, how long a peer that is still sending has to read our last words.
    pub linger: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            handshake: Duration::from_secs(30),
            write: Duration::from_secs(120),
            line: Duration::from_secs(300),
            bulk_window: Duration::from_secs(300),
            bulk_bytes: 256,
            linger: Duration::from_secs(2),
        }
    }
}
