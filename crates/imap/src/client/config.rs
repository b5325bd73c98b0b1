//! What a client is told before it connects.

use std::time::Duration;

use packetboat_wire::sasl::Credentials;

/// How to get in.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether to ask for TLS.
    pub tls: TlsPolicy,
    /// Who to log in as; `None` stays outside, for looking at what a server offers.
    pub credentials: Option<Credentials>,
    /// Whether the password may be sent without TLS.
    pub password_in_clear: bool,
    /// What to tell of oneself by ID, where it is offered, such as `name` and `packetboat`. Nothing is told if empty; some
    /// servers serve only who tells.
    pub id: Vec<(String, String)>,
    /// What to ENABLE where it is offered, such as `CONDSTORE`, `IMAP4rev2`, `UTF8=ACCEPT`.
    pub enable: Vec<String>,
    /// Commands under way at a time at most. Those whose answers another one could change are under way alone.
    pub window: usize,
    /// How long to wait for the server to say something it owes us.
    pub timeout: Duration,
}

/// Whether to ask for TLS with STARTTLS. On a connection that is TLS from the start this is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsPolicy {
    /// Without TLS there is no login. RFC 9051 section 11.1 tells why the next one is not enough.
    #[default]
    Require,
    /// If the server offers it. Somebody in the middle may take the offer away.
    IfOffered,
    /// Stay in the clear.
    Never,
}

impl Config {
    /// TLS required, nothing enabled, one command at a time.
    pub fn new(credentials: Option<Credentials>) -> Config {
        Config {
            tls: TlsPolicy::Require,
            credentials,
            password_in_clear: false,
            id: Vec::new(),
            enable: Vec::new(),
            window: 1,
            timeout: Duration::from_secs(300),
        }
    }
}
