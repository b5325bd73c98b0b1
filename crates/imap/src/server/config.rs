//! What a server is told once, for all its sessions.

use std::time::Duration;

use packetboat_wire::sasl::Mechanism;

use super::Extension;

/// Settings of an IMAP listener, shared by its sessions.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who says hello and goodbye.
    pub hostname: String,
    /// Name and version for ID (RFC 2971); `None` says NIL.
    pub implementation: Option<(String, String)>,
    /// Whether STARTTLS may be used on a connection that is still in the clear.
    pub starttls: bool,
    /// Whether a password may travel without TLS; if not, LOGINDISABLED is said.
    pub plaintext_logins: bool,
    /// The SASL mechanisms, in the order they are listed.
    pub mechanisms: Vec<Mechanism>,
    /// Extensions that are not offered, to anybody.
    pub disabled: Vec<Extension>,
    /// Extensions that are not offered to clients whose ID name contains the text (in any case).
    pub disabled_for: Vec<(String, Vec<Extension>)>,
    /// Octets of an appended message at most (RFC 7889).
    pub append_limit: u64,
    /// How long the session waits.
    pub timeouts: Timeouts,
    /// So many commands in a row that are none, and the session ends.
    pub max_errors: u32,
    /// So many failed logins, and the session ends.
    pub max_failed_logins: u32,
}

/// How long a session waits for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Before the login.
    pub login: Duration,
    /// After it; RFC 9051 section 5.4 wants at least 30 minutes.
    pub inactivity: Duration,
    /// While idling (RFC 2177 lets a server take it for inactivity, too).
    pub idle: Duration,
    /// How often an idling client is told that the connection still stands (`* OK Still here`).
    pub idle_keepalive: Duration,
}

impl Config {
    /// The settings to begin with: no TLS, no mechanisms, nothing in the clear, everything offered.
    pub fn new(hostname: impl Into<String>) -> Config {
        let half_hour = Duration::from_secs(1_800);
        Config {
            hostname: hostname.into(),
            implementation: None,
            starttls: false,
            plaintext_logins: false,
            mechanisms: Vec::new(),
            disabled: Vec::new(),
            disabled_for: Vec::new(),
            append_limit: 50 * 1024 * 1024,
            timeouts: Timeouts {
                login: Duration::from_secs(180),
                inactivity: half_hour,
                idle: half_hour,
                idle_keepalive: Duration::from_secs(120),
            },
            max_errors: 20,
            max_failed_logins: 5,
        }
    }
}
