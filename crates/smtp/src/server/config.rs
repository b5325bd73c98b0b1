//! How a server session behaves.

use std::time::Duration;

use packetboat_wire::sasl::Mechanism;

use crate::command::Strictness;

/// Octets of a command line at most, its ending included. RFC 5321 section 4.5.3.1.4 asks for 512, and the parameters
/// of RFC 1870, 3461, 4954, 6152 and 6531 for some 1,600 more.
pub const COMMAND_LINE_MAX: usize = 2048;
/// Octets of a line of a login at most (RFC 4954 section 4).
pub const AUTH_LINE_MAX: usize = 12288;
/// A message that is refused anyway is read to its end if it is not longer than this over the limit; then the session
/// closes.
pub const SWALLOW_MAX: u64 = 64 << 20;
/// Between commands, for the whole of a line (RFC 5321 section 4.5.3.2.7).
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Between two pieces of a message (RFC 5321 section 4.5.3.2.5 gives the client three minutes for one).
pub const BODY_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// For a whole message, however slowly it trickles in; [`SLOWEST_BODY`] adds to it.
pub const BODY_GRACE: Duration = Duration::from_secs(30 * 60);
/// Octets a second that a message has to make beyond [`BODY_GRACE`].
pub const SLOWEST_BODY: u64 = 100;
/// A client that wrote bare line feeds and falls silent for so long believes that it has ended its message.
pub const DEFECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Which service a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Mail between servers, port 25 (RFC 5321).
    Exchange,
    /// Mail from people's programs, ports 587 and 465 (RFC 6409, RFC 8314).
    Submission,
    /// Delivery handed over by a neighbouring server (RFC 2033).
    Lmtp,
}

/// Who may use a command that tells of users or reaches them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// Nobody.
    #[default]
    Nobody,
    /// Whoever has logged in.
    Users,
    /// Everybody.
    Everybody,
}

/// What a server session is told about itself. Shared by all sessions of a listener.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which service this is.
    pub role: Role,
    /// The name the server gives itself.
    pub hostname: String,
    /// What the greeting says after host name and protocol.
    pub banner: String,
    /// How exactly clients must keep to the grammar of commands.
    pub strictness: Strictness,
    /// STARTTLS is offered. Implicit TLS needs nothing here: `tls_started` is called before the first `next`.
    pub starttls: bool,
    /// No mail without TLS (RFC 3207 section 4); not for port 25, where it would lose mail.
    pub tls_required: bool,
    /// Logging in.
    pub auth: AuthConfig,
    /// Delivery status notifications are offered (RFC 3461).
    pub dsn: bool,
    /// Delivery by a certain time is offered (RFC 2852): the least seconds that a message has to have which is to be
    /// returned if it is late; zero if there is no such least.
    pub deliver_by: Option<u32>,
    /// Messages may be handed in for later, and so much later at most (RFC 4865). Only in submission, and with
    /// [`Server::set_clock`](super::Server::set_clock).
    pub future_release: Option<Duration>,
    /// Under TLS, messages may be handed in that shall not travel without (RFC 8689).
    pub require_tls: bool,
    /// Whose VRFY is asked of the owner; the others hear 252.
    pub verify: Audience,
    /// Whose EXPN is asked of the owner; the others hear 252, or 502 if it is nobody's.
    pub expand: Audience,
    /// Who may write to users' terminals: SEND, SOML, SAML (RFC 821 section 3.4).
    pub terminals: Audience,
    /// ETRN is asked of the owner (RFC 1985).
    pub etrn: bool,
    /// ATRN is asked of the owner, for who has logged in (RFC 2645).
    pub atrn: bool,
    /// TURN is asked of the owner, who has to know the peer by other means (RFC 821 section 3.8).
    pub turn: bool,
    /// How much of everything.
    pub limits: Limits,
    /// How long for everything.
    pub timeouts: Timeouts,
}

/// Whether and how clients may log in.
#[derive(Debug, Clone, Default)]
pub struct AuthConfig {
    /// The mechanisms, best first. None on port 25, usually.
    pub mechanisms: Vec<Mechanism>,
    /// Not before TLS is active.
    pub needs_tls: bool,
    /// No mail without a login.
    pub required: bool,
}

/// How much a client may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Octets of a message.
    pub message_size: u64,
    /// Recipients of a message; not under 100 (RFC 5321 section 4.5.3.1.8).
    pub recipients: u32,
    /// Senders, recipients and messages refused in one connection before it ends: more than that is a search for
    /// addresses.
    pub refusals: u32,
    /// Messages in one connection.
    pub messages: u32,
    /// Mistakes in one connection.
    pub errors: u32,
    /// Commands since the last message that led to none (NOOP, RSET, VRFY and the like).
    pub idle_commands: u32,
}

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Before the greeting is sent. What comes earlier than that comes from a program that does not listen.
    pub greeting_delay: Duration,
    /// For the next command.
    pub command: Duration,
    /// For the next piece of a message.
    pub body: Duration,
}

impl Config {
    /// A configuration with the usual values: no TLS, no mechanisms, messages up to 50 MiB.
    pub fn new(role: Role, hostname: impl Into<String>) -> Config {
        Config {
            role,
            hostname: hostname.into(),
            banner: String::new(),
            strictness: Strictness::Lenient,
            starttls: false,
            tls_required: false,
            auth: AuthConfig { mechanisms: Vec::new(), needs_tls: true, required: role == Role::Submission },
            dsn: false,
            deliver_by: None,
            future_release: None,
            require_tls: false,
            verify: Audience::Nobody,
            expand: Audience::Nobody,
            terminals: Audience::Nobody,
            etrn: false,
            atrn: false,
            turn: false,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_size: 50 << 20,
            recipients: 1000,
            refusals: 100,
            messages: 1000,
            errors: 20,
            idle_commands: 100,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { greeting_delay: Duration::ZERO, command: COMMAND_TIMEOUT, body: BODY_TIMEOUT }
    }
}
