//! What a server is told once, for all its sessions.

use std::time::Duration;

use packetboat_wire::sasl::Mechanism;

use crate::{Language, Strictness};

/// Settings of a POP3 listener, shared by its sessions.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who says hello and goodbye.
    pub hostname: String,
    /// What CAPA tells as IMPLEMENTATION (RFC 2449 section 6.9); `None` says nothing.
    pub implementation: Option<String>,
    /// How exactly clients have to keep to the grammar.
    pub strictness: Strictness,
    /// Whether STLS may be used on a connection that is still in the clear.
    pub stls: bool,
    /// Whether a password may travel without TLS. RFC 5034 section 4 wants "no" as the default.
    pub plaintext_logins: bool,
    /// The SASL mechanisms, in the order they are listed. Those that send the password are hidden where
    /// [`plaintext_logins`](Config::plaintext_logins) forbids them, those that bind to TLS where there is none.
    pub mechanisms: Vec<Mechanism>,
    /// Whether the banner carries a timestamp, and APOP is answered. It needs the password itself (or this one use of
    /// it) to be known to whoever verifies.
    pub apop: bool,
    /// How long an account has to wait between two logins (RFC 2449 section 6.5). Only announced here; who verifies
    /// the login enforces it, with [`Refusal::LoginDelay`](super::Refusal::LoginDelay).
    pub login_delay: Option<Duration>,
    /// How long messages are kept (RFC 2449 section 6.7). Only announced here.
    pub expire: Option<Expire>,
    /// What `LANG *` chooses.
    pub language: Language,
    /// How long the session waits for a command.
    pub timeouts: Timeouts,
    /// So many lines that are no command here, and the session ends.
    pub max_errors: u32,
    /// So many failed logins, and the session ends.
    pub max_failed_logins: u32,
}

/// The retention period a server promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expire {
    /// Messages stay until the client deletes them.
    Never,
    /// Messages stay for so many days at least.
    Days(u32),
}

/// How long a session waits for a complete command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Before the login.
    pub authorization: Duration,
    /// After it. RFC 1939 section 3: "Such a timer MUST be of at least 10 minutes' duration."
    pub transaction: Duration,
}

impl Config {
    /// The settings to begin with: no TLS, no mechanisms, nothing in the clear.
    pub fn new(hostname: impl Into<String>) -> Config {
        let ten_minutes = Duration::from_secs(600);
        Config {
            hostname: hostname.into(),
            implementation: None,
            strictness: Strictness::Lenient,
            stls: false,
            plaintext_logins: false,
            mechanisms: Vec::new(),
            apop: false,
            login_delay: None,
            expire: None,
            language: Language::English,
            timeouts: Timeouts { authorization: ten_minutes, transaction: ten_minutes },
            max_errors: 20,
            max_failed_logins: 5,
        }
    }
}
