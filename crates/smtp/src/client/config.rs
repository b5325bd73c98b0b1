//! How a client session behaves.

use std::time::Duration;

use packetboat_wire::sasl::Credentials;

/// What a client session is told. Shared by all sessions that go the same way.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name we give ourselves: our domain name, or an address literal.
    pub hello_name: String,
    /// What the server speaks.
    pub protocol: Protocol,
    /// Whether STARTTLS is used. For implicit TLS, `tls_started` is called before the first `next`.
    pub tls: TlsPolicy,
    /// Whom to log in as. If the server cannot do that, the session fails.
    pub credentials: Option<Credentials>,
    /// The password itself may be sent although there is no TLS.
    pub password_in_clear: bool,
    /// Messages go by BDAT where the server offers it, and must then have CRLF line endings throughout; otherwise only
    /// those go so that cannot go by DATA, which mends line endings.
    pub chunking: bool,
    /// Messages with octets over 127 go to servers that do not offer 8BITMIME as they are. RFC 6152 section 3 forbids
    /// it, servers without the extension mostly carry them all the same, and the alternative is a bounce.
    pub eight_bit_anyway: bool,
    /// How long for everything.
    pub timeouts: Timeouts,
}

/// Which protocol a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// SMTP, with HELO for servers that do not know EHLO.
    Smtp,
    /// LMTP (RFC 2033): LHLO, and an answer for each recipient at the end.
    Lmtp,
}

/// Whether STARTTLS is used (RFC 3207).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsPolicy {
    /// Never.
    Never,
    /// If the server offers it. Somebody in between can take the offer away.
    Opportunistic,
    /// Always: without TLS nothing is sent.
    Required,
}

/// How long the server may take, from RFC 5321 section 4.5.3.2.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the greeting: "many SMTP servers accept a TCP connection but delay delivery of the 220 message".
    pub greeting: Duration,
    /// For the answer to a command.
    pub command: Duration,
    /// For the 354 after DATA.
    pub data: Duration,
    /// For the answer to a message or chunk. Long, since a client that gives up too early sends the message again.
    pub end: Duration,
    /// For the answer to QUIT, which nobody needs.
    pub quit: Duration,
    /// For the owner to have another message, before the session ends by itself.
    pub idle: Duration,
}

impl Config {
    /// A configuration with the usual values: opportunistic TLS, no login.
    pub fn new(protocol: Protocol, hello_name: impl Into<String>) -> Config {
        Config {
            hello_name: hello_name.into(),
            protocol,
            tls: TlsPolicy::Opportunistic,
            credentials: None,
            password_in_clear: false,
            chunking: false,
            eight_bit_anyway: true,
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Timeouts {
            greeting: minutes(5),
            command: minutes(5),
            data: minutes(2),
            end: minutes(10),
            quit: Duration::from_secs(10),
            idle: minutes(1),
        }
    }
}
