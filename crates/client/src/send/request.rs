//! What a person asks for, as typed; what it means is found out in [`super::prepare`] and [`super::settings`].

use std::fmt;
use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use packetboat_wire::Secret;

use crate::tls::Trust;

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// Without a port: TLS from the first octet on port 465, or else STARTTLS on 587. With a port: from the first
    /// octet on 465, and STARTTLS elsewhere, which only an LMTP server, port 25 or this machine may be without.
    #[default]
    Auto,
    /// STARTTLS, or nothing is sent (RFC 3207).
    StartTls,
    /// From the first octet (RFC 8314).
    Implicit,
    /// None.
    None,
}

/// Where the text of a new message comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TextFrom {
    /// From standard input, unless that is a terminal and there are attachments or an HTML form.
    #[default]
    Unsaid,
    /// From the command line.
    Given(String),
    /// From a file; `-` is standard input.
    File(PathBuf),
}

/// Where the password comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordFrom {
    /// The first line of a file.
    File(PathBuf),
    /// The first line of standard input; a message may follow it there.
    Stdin,
    /// The first line that a command prints.
    Command(String),
}

/// All that can be asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The configuration file, if not the usual one.
    pub config: Option<PathBuf>,
    /// The profile in it, if not the default one.
    pub profile: Option<String>,
    /// Servers, to be tried in this order.
    pub servers: Vec<String>,
    /// How the connection is protected.
    pub tls: Option<TlsMode>,
    /// Which certificates are believed.
    pub trust: Option<Trust>,
    /// The server speaks LMTP.
    pub lmtp: bool,
    /// The name for EHLO, if not this machine's address.
    pub helo: Option<String>,
    /// How long to wait for a connection.
    pub connect_timeout: Option<Duration>,
    /// The name to log in with.
    pub user: Option<String>,
    /// Where the password is.
    pub password: Option<PasswordFrom>,
    /// Who writes.
    pub from: Option<String>,
    /// Where failure notices go, if not to who writes; `<>` is nowhere.
    pub envelope_from: Option<String>,
    /// Recipients.
    pub to: Vec<String>,
    /// Recipients of copies.
    pub cc: Vec<String>,
    /// Recipients of blind copies.
    pub bcc: Vec<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// The text.
    pub text: TextFrom,
    /// A file with the text in HTML.
    pub html: Option<PathBuf>,
    /// Files to go with it.
    pub attach: Vec<PathBuf>,
    /// Further header fields, `Name: value`.
    pub fields: Vec<String>,
    /// Where answers shall go.
    pub reply_to: Vec<String>,
    /// The messages this one answers.
    pub in_reply_to: Vec<String>,
    /// The thread so far.
    pub references: Vec<String>,
    /// Text goes as it is, not encoded.
    pub eight_bit: bool,
    /// A ready message instead of a new one; `-` is standard input.
    pub raw: Option<PathBuf>,
    /// The recipients, and who writes, stand in the header of the ready message.
    pub read_recipients: bool,
    /// When to be told of the message's fate: `success`, `failure`, `delay`, or `never` (RFC 3461 section 4.1).
    pub notify: Option<String>,
    /// What a failure notice brings back: `full` or `headers` (RFC 3461 section 4.3).
    pub ret: Option<String>,
    /// A name for this transmission that notices will carry (RFC 3461 section 4.4).
    pub envid: Option<String>,
}

/// Asks the person at the terminal for a password.
pub type AskPassword = Box<dyn FnMut(&str) -> io::Result<Secret<String>> + Send>;
/// Shows the person a line.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// What surrounds the program: handed in, so that tests have their own.
pub struct Surroundings {
    /// Standard input.
    pub stdin: Box<dyn BufRead + Send>,
    /// Whether a person types there.
    pub stdin_is_terminal: bool,
    /// Whether to show how far a long message has got.
    pub progress: bool,
    /// Where the dialogue with the server is shown, if at all.
    pub dialogue: Option<Say>,
    /// Where notes that are no failure go.
    pub note: Say,
    /// Asks for a password. Not called unless a person types.
    pub ask_password: AskPassword,
    /// The value of `PACKETBOAT_PASSWORD`.
    pub env_password: Option<Secret<String>>,
    /// The folder of the person's configuration files.
    pub config_dir: Option<PathBuf>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("stdin_is_terminal", &self.stdin_is_terminal)
            .finish_non_exhaustive()
    }
}

/// The environment variable that may hold the password.
pub const PASSWORD_VARIABLE: &str = "PACKETBOAT_PASSWORD";

/// The folder of the person's configuration files, from the environment.
pub fn config_dir() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))
}
