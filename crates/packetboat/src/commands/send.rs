//! `packetboat send`.

use std::io::{self, BufReader, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use packetboat_client::Secret;
use packetboat_client::send::{
    self, KINDS, PASSWORD_VARIABLE, PasswordFrom, Report, Request, Surroundings, TextFrom, TlsMode,
    config_dir,
};
use packetboat_client::tls::Trust;

/// Write a message, or take a ready one, and hand it to a mail server
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = after_long_help())]
pub(crate) struct SendArgs {
    /// Recipients, like --to
    #[arg(value_name = "TO")]
    recipients: Vec<String>,

    /// Server to send through: host, host:port, [IPv6]:port or unix:/path; several are tried in turn
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Server")]
    server: Vec<String>,
    /// How the connection is protected [default: auto]
    #[arg(long, value_enum, help_heading = "Server", hide_default_value = true)]
    tls: Option<Tls>,
    /// Believe only certificates signed by the authorities in this PEM file [default: this system's; on this machine
    /// (localhost, 127.0.0.1, ::1, a socket) any certificate is believed unless this is given]
    #[arg(long, value_name = "FILE", help_heading = "Server", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Believe any certificate: what is sent is encrypted, but nobody knows for whom
    #[arg(long, help_heading = "Server")]
    insecure: bool,
    /// Speak LMTP, to a server that delivers to mailboxes
    #[arg(long, help_heading = "Server")]
    lmtp: bool,
    /// Name to greet the server with [default: the address of this machine]
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    helo: Option<String>,
    /// Seconds to wait for a connection [default: 30]
    #[arg(long, value_name = "SECONDS", help_heading = "Server", value_parser = clap::value_parser!(u64).range(1..=3600))]
    connect_timeout: Option<u64>,
    /// Profile in the configuration file
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    profile: Option<String>,
    /// Configuration file [default: ~/.config/packetboat/send.toml]
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    config: Option<PathBuf>,

    /// Name to log in with
    #[arg(long, short = 'u', value_name = "NAME", help_heading = "Login")]
    user: Option<String>,
    /// The password is the first line of this file
    #[arg(long, value_name = "FILE", help_heading = "Login", group = "password")]
    password_file: Option<PathBuf>,
    /// The password is the first line of standard input; the text may follow it
    #[arg(long, help_heading = "Login", group = "password")]
    password_stdin: bool,
    /// The password is the first line that this shell command prints
    #[arg(long, value_name = "COMMAND", help_heading = "Login", group = "password")]
    password_command: Option<String>,

    /// Who writes: alice@example.org or 'Alice <alice@example.org>'
    #[arg(long, short = 'f', value_name = "MAILBOX", help_heading = "Message")]
    from: Option<String>,
    /// Recipients
    #[arg(long, value_name = "MAILBOX", help_heading = "Message")]
    to: Vec<String>,
    /// Recipients of copies
    #[arg(long, value_name = "MAILBOX", help_heading = "Message")]
    cc: Vec<String>,
    /// Recipients of blind copies; nobody sees them
    #[arg(long, value_name = "MAILBOX", help_heading = "Message")]
    bcc: Vec<String>,
    /// What it is about
    #[arg(long, short = 's', value_name = "TEXT", help_heading = "Message", allow_hyphen_values = true)]
    subject: Option<String>,
    /// The text [default: standard input]
    #[arg(long, value_name = "TEXT", help_heading = "Message", group = "text", allow_hyphen_values = true)]
    body: Option<String>,
    /// File with the text; - is standard input
    #[arg(long, value_name = "FILE", help_heading = "Message", group = "text")]
    body_file: Option<PathBuf>,
    /// File with the text in HTML, alone or beside the plain text
    #[arg(long, value_name = "FILE", help_heading = "Message")]
    html: Option<PathBuf>,
    /// File to attach, of any size
    #[arg(long, short = 'a', value_name = "FILE", help_heading = "Message")]
    attach: Vec<PathBuf>,
    /// Further header field
    #[arg(long, short = 'H', value_name = "NAME: VALUE", help_heading = "Message")]
    header: Vec<String>,
    /// Where answers shall go
    #[arg(long, value_name = "MAILBOX", help_heading = "Message")]
    reply_to: Vec<String>,
    /// Message-ID of the message this one answers
    #[arg(long, value_name = "ID", help_heading = "Message")]
    in_reply_to: Vec<String>,
    /// Message-IDs of the thread so far [default: that of --in-reply-to]
    #[arg(long, value_name = "IDS", help_heading = "Message")]
    references: Vec<String>,
    /// Send text as it is, not encoded, to a server that takes 8BITMIME
    #[arg(long = "8bit", help_heading = "Message")]
    eight_bit: bool,

    /// Take a ready message from standard input or a file, and send it as it is
    #[arg(
        long, value_name = "FILE", help_heading = "Ready message", num_args = 0..=1, require_equals = true,
        default_missing_value = "-", conflicts_with_all = ["text", "html", "attach", "header", "subject", "reply_to",
        "in_reply_to", "references", "eight_bit"]
    )]
    raw: Option<PathBuf>,
    /// Take a ready message and its recipients from To, Cc and Bcc; add Date, From and Message-ID where missing
    #[arg(
        short = 't', long = "read-recipients", help_heading = "Ready message", conflicts_with_all = ["text", "html",
        "attach", "header", "subject", "reply_to", "in_reply_to", "references", "eight_bit"]
    )]
    read_recipients: bool,

    /// Where failure notices go [default: to who writes]; '<>' is nowhere
    #[arg(long, value_name = "ADDRESS", help_heading = "Delivery")]
    envelope_from: Option<String>,
    /// When to be told of the message's fate: never, or some of success,failure,delay
    #[arg(long, value_name = "WHEN", help_heading = "Delivery")]
    notify: Option<String>,
    /// What a failure notice brings back: full or headers
    #[arg(long, value_name = "WHAT", help_heading = "Delivery")]
    ret: Option<String>,
    /// A name for this transmission, which notices will carry
    #[arg(long, value_name = "ID", help_heading = "Delivery")]
    envid: Option<String>,

    /// Print one JSON object that tells all that happened
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Print nothing but failures
    #[arg(long, short = 'q', help_heading = "Output")]
    quiet: bool,
    /// Show the dialogue with the server, without secrets
    #[arg(long, short = 'v', help_heading = "Output", action = ArgAction::SetTrue)]
    verbose: bool,
    /// Print the message instead of sending it
    #[arg(long, help_heading = "Output", conflicts_with = "json")]
    print: bool,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tls {
    /// From the first octet on port 465, else by STARTTLS; without a port 465 is tried, then 587
    Auto,
    /// By STARTTLS, or nothing is sent
    Starttls,
    /// From the first octet
    Implicit,
    /// Not at all
    None,
}

const EXAMPLES: &str = "\
Examples:
  echo 'Tea at five?' | packetboat send --server mail.example.org -u alice@example.org -s Tea bob@example.org
  packetboat send --profile work --to 'Bob <bob@example.org>' -s Photos --body 'See below.' -a beach.jpg
  git format-patch -1 --stdout | packetboat send --raw --from alice@example.org list@example.org
  packetboat send --server localhost:2525 -t < message.eml";

fn after_long_help() -> String {
    let mut help = format!(
        "{EXAMPLES}\n\n\
         The password is taken from the option given, else from {PASSWORD_VARIABLE}, else from the profile, else \
         asked for.\n\n\
         Configuration file, every key optional:\n\
         \x20 default = \"work\"\n\
         \x20 [profile.work]\n\
         \x20 server = \"mail.example.org\"       # or a list, tried in turn\n\
         \x20 tls = \"auto\"                      # starttls, implicit, none\n\
         \x20 user = \"alice@example.org\"\n\
         \x20 password_command = \"pass mail\"    # or password_file = \"…\"\n\
         \x20 from = \"Alice <alice@example.org>\"\n\
         \x20 # ca = \"ca.pem\"  insecure = false  lmtp = false  helo = \"name\"\n\n\
         Exit codes:\n\x20  0  every recipient will get the message\n"
    );
    for kind in KINDS {
        help.push_str(&format!("  {:2}  {}\n", kind.code(), kind.meaning()));
    }
    help
}

/// Runs the command.
pub(crate) fn run(args: SendArgs) -> ExitCode {
    let output = Output { json: args.json, quiet: args.quiet };
    let print = args.print;
    let mut around = surroundings(&args);
    let request = args.into_request();
    if print {
        let mut stdout = io::stdout().lock();
        return match send::print(&request, &mut around, &mut stdout) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                complain(
                    &[failure.message.clone()].into_iter().chain(failure.hint.clone()).collect::<Vec<_>>(),
                );
                failure.kind.into()
            }
        };
    }
    let report = send::send(&request, &mut around);
    output.tell(&report);
    ExitCode::from(report.exit_code)
}

impl SendArgs {
    fn into_request(self) -> Request {
        let trust = match (self.insecure, self.ca) {
            (true, _) => Some(Trust::Anyone),
            (false, ca) => ca.map(Trust::Ca),
        };
        let password = match (self.password_file, self.password_stdin, self.password_command) {
            (Some(path), ..) => Some(PasswordFrom::File(path)),
            (None, true, _) => Some(PasswordFrom::Stdin),
            (None, false, command) => command.map(PasswordFrom::Command),
        };
        let text = match (self.body, self.body_file) {
            (Some(text), _) => TextFrom::Given(text),
            (None, Some(path)) => TextFrom::File(path),
            (None, None) => TextFrom::Unsaid,
        };
        Request {
            config: self.config,
            profile: self.profile,
            servers: self.server,
            tls: self.tls.map(TlsMode::from),
            trust,
            lmtp: self.lmtp,
            helo: self.helo,
            connect_timeout: self.connect_timeout.map(Duration::from_secs),
            user: self.user,
            password,
            from: self.from,
            envelope_from: self.envelope_from,
            to: self.to.into_iter().chain(self.recipients).collect(),
            cc: self.cc,
            bcc: self.bcc,
            subject: self.subject,
            text,
            html: self.html,
            attach: self.attach,
            fields: self.header,
            reply_to: self.reply_to,
            in_reply_to: self.in_reply_to,
            references: self.references,
            eight_bit: self.eight_bit,
            raw: self.raw,
            read_recipients: self.read_recipients,
            notify: self.notify,
            ret: self.ret,
            envid: self.envid,
        }
    }
}

impl From<Tls> for TlsMode {
    fn from(tls: Tls) -> TlsMode {
        match tls {
            Tls::Auto => TlsMode::Auto,
            Tls::Starttls => TlsMode::StartTls,
            Tls::Implicit => TlsMode::Implicit,
            Tls::None => TlsMode::None,
        }
    }
}

fn surroundings(args: &SendArgs) -> Surroundings {
    let say = |line: &str| {
        // Where nobody reads standard error, nobody misses it.
        let _ = writeln!(io::stderr(), "{line}");
    };
    Surroundings {
        stdin: Box::new(BufReader::new(io::stdin())),
        stdin_is_terminal: io::stdin().is_terminal(),
        progress: !args.quiet && !args.json && !args.verbose && io::stderr().is_terminal(),
        dialogue: if args.verbose { Some(Arc::new(say)) } else { None },
        note: if args.quiet { Arc::new(|_: &str| {}) } else { Arc::new(say) },
        ask_password: Box::new(|prompt| rpassword::prompt_password(prompt).map(Secret::new)),
        env_password: std::env::var(PASSWORD_VARIABLE).ok().filter(|text| !text.is_empty()).map(Secret::new),
        config_dir: config_dir(),
    }
}

struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    fn tell(&self, report: &Report) {
        // A reader that went away, such as `head`, is no failure of sending.
        let mut stdout = io::stdout().lock();
        if self.json {
            let _ = serde_json::to_writer(&mut stdout, report);
            let _ = writeln!(stdout);
            return;
        }
        if let Some(line) = report.success_line().filter(|_| !self.quiet) {
            let _ = writeln!(stdout, "{line}");
        }
        complain(&report.failure_lines());
    }
}

/// Prints lines to standard error, the first with the name of the command.
fn complain(lines: &[String]) {
    let mut stderr = io::stderr().lock();
    for (n, line) in lines.iter().enumerate() {
        let _ = if n == 0 { writeln!(stderr, "packetboat send: {line}") } else { writeln!(stderr, "{line}") };
    }
}
