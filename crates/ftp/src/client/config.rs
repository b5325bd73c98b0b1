//! What a client is told before it connects.

use std::net::IpAddr;
use std::time::Duration;

use packetboat_wire::Secret;

/// How to get in, and how data connections are to come about.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether to ask for TLS.
    pub tls: TlsPolicy,
    /// Who to log in as; `None` does not log in, for looking at what a server offers.
    pub login: Option<Login>,
    /// Whether the password may be sent without TLS.
    pub password_in_clear: bool,
    /// Which of the server's hosts is meant (RFC 7151).
    pub host: Option<String>,
    /// Whether data connections are to be protected where there is TLS (PROT P).
    pub protect_data: bool,
    /// Who opens data connections.
    pub connection: ConnectionPolicy,
    /// The address of the server, as it was connected to: the only one that passive data connections go to.
    pub server: IpAddr,
    /// How long to wait for the server to say something it owes us.
    pub timeout: Duration,
}

/// Who one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// USER
    pub name: String,
    /// PASS
    pub password: Secret<String>,
    /// ACCT, if the server asks for it.
    pub account: Option<String>,
}

/// Whether to ask for TLS with AUTH. On a connection that is TLS from the start this is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsPolicy {
    /// Without TLS there is no log-in.
    #[default]
    Require,
    /// If the server has it. Somebody in the middle may say that it has not.
    IfOffered,
    /// Stay in the clear.
    Never,
}

/// Who opens data connections, and by which command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectionPolicy {
    /// We do: by EPSV, or by PASV where the server does not know that.
    #[default]
    Passive,
    /// We do, by PASV.
    PlainPassive,
    /// The server does: by EPRT, or by PORT where the server does not know that.
    Active,
    /// The server does, by PORT.
    PlainActive,
    /// LPSV and LPRT of RFC 1639.
    LongPassive,
    /// The server does, by LPRT.
    LongActive,
}

impl Config {
    /// TLS required, data protected, passive.
    pub fn new(server: IpAddr, login: Option<Login>) -> Config {
        Config {
            tls: TlsPolicy::Require,
            login,
            password_in_clear: false,
            host: None,
            protect_data: true,
            connection: ConnectionPolicy::Passive,
            server,
            timeout: Duration::from_secs(60),
        }
    }
}
