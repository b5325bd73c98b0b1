//! `packetboat demo`: every server on loopback, ready in a moment.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use packetboat_server::demo::{Demo, DemoRoute, Ready};

use super::{fail, sysexits};

/// Start every server on loopback, with throwaway certificates and known accounts.
///
/// The accounts are alice@demo.test and bob@demo.test, password `demo`; passwords may travel without TLS. The demo
/// never talks to the Internet; mail leaves it by the routes given and by no other way. It serves until Ctrl-C; a second start on the same directory finds all its data again.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where to keep everything [default: packetboat-demo in the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Take this port and the ones after it, instead of free ones
    #[arg(long, value_name = "N")]
    ports_from: Option<u16>,
    /// Make so many accounts more: user0000@demo.test, user0001@demo.test, ...
    #[arg(long, value_name = "N", default_value_t = 0)]
    accounts: usize,
    /// Send mail for this domain there; may be given several times. Mail for other domains is not taken
    #[arg(long = "route", value_name = "DOMAIN=HOST:PORT")]
    routes: Vec<DemoRoute>,
    /// When ready, print one line of JSON instead of what to try
    #[arg(long)]
    json: bool,
    /// What to log on standard error: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: String,
}

pub(crate) fn run(args: DemoArgs) -> ExitCode {
    let dir = args.dir.unwrap_or_else(|| std::env::temp_dir().join("packetboat-demo"));
    let demo = Demo {
        dir,
        ports_from: args.ports_from,
        accounts: args.accounts,
        routes: args.routes,
        log_level: args.log,
    };
    let told = |ready: &Ready| {
        let text = if args.json { json(ready) } else { what_to_try(ready) };
        let mut out = std::io::stdout().lock();
        // A reader that has gone away does not stop the demo.
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    };
    match demo.run(told) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(sysexits::UNAVAILABLE, &error),
    }
}

fn json(ready: &Ready) -> String {
    serde_json::to_string(ready).unwrap_or_default()
}

/// What to type for this very program: its name where a shell finds it so, otherwise where it is.
fn program() -> String {
    let name = env!("CARGO_PKG_NAME");
    let Ok(own) = std::env::current_exe() else { return name.to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    match found.and_then(|file| file.canonicalize().ok()) {
        Some(found) if found == own => name.to_owned(),
        _ => own.display().to_string(),
    }
}

fn what_to_try(ready: &Ready) -> String {
    let program = program();
    let port = |service: &str| ready.ports.get(service).map(ToString::to_string).unwrap_or_default();
    let (smtp, submission, submissions) = (port("smtp"), port("submission"), port("submissions"));
    let (lmtp, pop3, pop3s, metrics) = (port("lmtp"), port("pop3"), port("pop3s"), port("metrics"));
    let (ca, dir) = (ready.ca.display(), ready.dir.display());
    let (imap, imaps, ftp, ftps) = (port("imap"), port("imaps"), port("ftp"), port("ftps"));
    let more = match ready.accounts.len().saturating_sub(2) {
        0 => String::new(),
        more => format!(" and {more} more (user0000@demo.test, ...)"),
    };
    format!(
        "\
packetboat is ready. Everything is on 127.0.0.1 and kept in {dir}

  SMTP {smtp}   submission {submission} (STARTTLS), {submissions} (TLS)   LMTP {lmtp}
  IMAP {imap} (STARTTLS), {imaps} (TLS)   POP3 {pop3} (STLS), {pop3s} (TLS)
  FTP {ftp} (AUTH TLS), {ftps} (TLS)
  metrics http://127.0.0.1:{metrics}/metrics

  accounts: alice@demo.test, bob@demo.test{more}, password demo
  certificate authority: {ca}

Things to try:

  # hand in a letter, from alice to bob
  PACKETBOAT_PASSWORD=demo {program} send --server localhost:{submissions} --tls implicit --ca {ca} \\
      --user alice@demo.test --from alice@demo.test --to bob@demo.test --subject Hello --body 'Ahoy, Bob!'

  # the same with curl, as another server would
  printf 'Subject: Hi\\r\\n\\r\\nAhoy!\\r\\n' | curl smtp://127.0.0.1:{smtp} --mail-from carol@example.org \\
      --mail-rcpt bob@demo.test -T -

  # what is in bob's maildrop, and the first letter
  curl --cacert {ca} -u bob@demo.test:demo pop3s://localhost:{pop3s}/
  curl --cacert {ca} -u bob@demo.test:demo pop3s://localhost:{pop3s}/1

  # bob's mailboxes, the headers of his letters, and those that have a word in them
  curl --cacert {ca} -u bob@demo.test:demo imaps://localhost:{imaps}/
  curl --cacert {ca} -u bob@demo.test:demo imaps://localhost:{imaps}/INBOX -X 'FETCH 1:* (FLAGS ENVELOPE)'
  curl --cacert {ca} -u bob@demo.test:demo imaps://localhost:{imaps}/INBOX -X 'SEARCH TEXT Ahoy'

  # a file for alice's directory, and what is in it
  echo 'Ahoy!' | curl --cacert {ca} --ssl-reqd -u alice@demo.test:demo -T - ftp://localhost:{ftp}/hello.txt
  curl --cacert {ca} --ssl-reqd -u alice@demo.test:demo ftp://localhost:{ftp}/

  # a file for everybody, without an account
  curl ftp://localhost:{ftp}/welcome.txt

  # the textbook, by hand: HELO, MAIL FROM:, RCPT TO:, DATA, a dot, QUIT
  telnet 127.0.0.1 {smtp}

Ctrl-C ends it."
    )
}
