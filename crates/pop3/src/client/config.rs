//! What a client is told before it connects.

use std::time::Duration;

use packetboat_wire::sasl::Credentials;

/// How to get in.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether to ask for TLS.
    pub tls: TlsPolicy,
    /// Who to log in as; `None` stays in the AUTHORIZATION state, for looking at what a server offers.
    pub credentials: Option<Credentials>,
    /// Whether the password may be sent without TLS.
    pub password_in_clear: bool,
    /// Whether APOP may be used where there is no TLS and nothing better. Whoever listens can try passwords at home,
    /// and whoever sits in between can do worse.
    pub apop: bool,
    /// Whether to ask for UTF-8 mode where it is offered (RFC 6856).
    pub utf8: bool,
    /// Commands under way at a time at most, where the server offers PIPELINING; elsewhere it is one.
    pub window: usize,
    /// How long to wait for the server to say something it owes us.
    pub timeout: Duration,
}

/// Whether to ask for TLS with STLS. On a connection that is TLS from the start this is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsPolicy {
    /// Without TLS there is no login. RFC 2595 section 9 tells why the next one is not enough.
    #[default]
    Require,
    /// If the server offers it. Somebody in the middle may take the offer away.
    IfOffered,
    /// Stay in the clear.
    Never,
}

impl Config {
    /// TLS required, UTF-8 and pipelining where offered.
    pub fn new(credentials: Option<Credentials>) -> Config {
        Config {
            tls: TlsPolicy::Require,
            credentials,
            password_in_clear: false,
            apop: false,
            utf8: true,
            window: 64,
            timeout: Duration::from_secs(300),
        }
    }
}
