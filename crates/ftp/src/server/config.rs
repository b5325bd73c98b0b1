//! How server sessions behave.

use std::time::Duration;

/// What a server session is told. Shared by all sessions of a listener.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the greeting says.
    pub greeting: String,
    /// TLS can be had by AUTH.
    pub tls: bool,
    /// Log-ins are refused without TLS.
    pub require_tls: bool,
    /// Data connections are refused without TLS.
    pub require_protection: bool,
    /// PROT C is possible on a protected control connection.
    pub allow_clear_data: bool,
    /// CCC is possible.
    pub allow_ccc: bool,
    /// Commands that are switched off, in upper case.
    pub disabled: Vec<String>,
    /// How long for everything.
    pub timeouts: Timeouts,
    /// Failed log-ins in one session.
    pub login_failures: u32,
    /// Commands that are none, in one session.
    pub errors: u32,
}

/// How long for everything.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the greeting to the log-in.
    pub login: Duration,
    /// For the next command, after a log-in and without a transfer. RFC 1123 section 4.1.3.2: at least five minutes.
    pub idle: Duration,
    /// The most that SITE IDLE may ask for.
    pub idle_max: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            greeting: "FTP server ready.".to_owned(),
            tls: true,
            require_tls: false,
            require_protection: false,
            allow_clear_data: true,
            allow_ccc: false,
            disabled: Vec::new(),
            timeouts: Timeouts::default(),
            login_failures: 3,
            errors: 50,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Timeouts { login: minutes(1), idle: minutes(15), idle_max: minutes(120) }
    }
}
