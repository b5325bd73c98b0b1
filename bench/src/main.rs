//! The load generator: measures mail servers from outside, beside each other, in one run.
//!
//! It hands over messages by SMTP, waits until all are in the mailboxes, fetches them back by POP3 and compares them,
//! holds connections open, and starts servers on full stores; it sends mail through to a sink that counts; and it asks IMAP servers about large mailboxes, and
//! moves files by FTP. Servers are
//! measured in alternation (A B, B A, A B), and the ratio is the median of the rounds' ratios. It knows no room of the house: what it measures is what anybody
//! can see.
//!
//! `cargo xtask bench` builds everything, unpacks Debian's packages and starts this.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command line tool talks to a terminal
#![allow(clippy::cast_precision_loss)] // counts and times are far below 2^52

mod content;
mod ftp;
mod ftp_content;
mod ftp_rows;
mod imap;
mod imap_content;
mod imap_rows;
mod meter;
mod pop3;
mod relay;
mod report;
mod rows;
mod sink;
mod smtp;
mod target;
mod wide;
mod wire;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use report::Report;
use rows::{Bench, Row, Scale};
use serde_json::json;
use target::{Format, FtpServer, Spec};

/// Any failed check is a message for a person.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// For work left behind by what was measured before, such as a queue being tidied.
const BREATH: Duration = Duration::from_millis(500);

#[derive(Debug, Parser)]
#[command(
    bin_name = "cargo xtask bench --",
    about = "Measure mail servers beside each other, checking everything"
)]
struct Arguments {
    /// What to measure
    #[arg(value_enum, default_value_t = Set::Mail)]
    set: Set,
    /// The server's binary
    #[arg(long, value_name = "FILE")]
    packetboat: PathBuf,
    /// Where packages are unpacked, a tree for each of their servers
    #[arg(long, value_name = "DIR")]
    peers: PathBuf,
    /// Some of: packetboat, packetboat=OTHER-BINARY, postfix-dovecot (mail), postfix (relay), dovecot-maildir and dovecot-mdbox (IMAP),
    /// vsftpd, proftpd and pure-ftpd (FTP); the first is compared with the best of the others [default: packetboat and all peers]
    #[arg(long, value_delimiter = ',')]
    servers: Vec<String>,
    /// A few seconds for each row: one round, small counts
    #[arg(long)]
    quick: bool,
    /// Only the rows with this in their name; may be given again
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Rounds; the median is the figure [default: 3, or 1 when quick]
    #[arg(long)]
    rounds: Option<usize>,
    /// About how long each delivery measurement hands over [default: 5, or 1 when quick]
    #[arg(long)]
    seconds: Option<f64>,
    /// Which delivered messages are fetched and compared
    #[arg(long, value_enum, default_value_t = Verify::Sample)]
    verify: Verify,
    /// Where the servers keep their data, on the kind of disk that is to be measured
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Write the readings to this file as JSON
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Name the rows and end
    #[arg(long)]
    list: bool,
    /// Keep the servers' data and logs
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Set {
    /// Delivery by SMTP, POP3, idle connections, starting
    Mail,
    /// IMAP on large mailboxes
    Imap,
    /// Mail from many to one next hop
    Relay,
    /// Files by FTP
    Ftp,
}

impl Set {
    fn rows(self, quick: bool) -> Vec<Row> {
        match self {
            Set::Mail => rows::mail(),
            Set::Relay => relay::all().into_iter().map(Row::Relay).collect(),
            Set::Ftp => ftp_rows::all().into_iter().map(Row::Ftp).collect(),
            Set::Imap => imap_rows::all(quick).into_iter().map(Row::Imap).collect(),
        }
    }

    fn servers(self) -> &'static [&'static str] {
        match self {
            Set::Mail => &["packetboat", "postfix-dovecot"],
            Set::Relay => &["packetboat", "postfix"],
            Set::Ftp => &["packetboat", "vsftpd", "proftpd", "pure-ftpd"],
            Set::Imap => &["packetboat", "dovecot-maildir", "dovecot-mdbox"],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Verify {
    /// Count all, compare some of each mailbox
    Sample,
    /// Compare every one
    All,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("bench: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let rows: Vec<Row> = arguments
        .set
        .rows(arguments.quick)
        .into_iter()
        .filter(|row| arguments.only.is_empty() || arguments.only.iter().any(|t| row.to_string().contains(t)))
        .collect();
    if arguments.list {
        rows.iter().for_each(|row| println!("{row}"));
        return Ok(true);
    }
    if rows.is_empty() {
        return Err("no such row; --list names them".into());
    }
    let specs = if arguments.servers.is_empty() {
        arguments.set.servers().iter().map(|s| arguments.spec(s)).collect::<Result<Vec<Spec>>>()?
    } else {
        arguments.servers.iter().map(|s| arguments.spec(s)).collect::<Result<Vec<Spec>>>()?
    };
    raise_open_files()?;
    fs::create_dir_all(&arguments.dir)?;
    let mut dir = tempfile::Builder::new().prefix("bench-").tempdir_in(&arguments.dir)?;
    dir.disable_cleanup(arguments.keep);
    let scale = arguments.scale();
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 3 });

    let mut report = Report::new(specs.iter().map(|s| (s.name().to_owned(), s.version())).collect());
    let mut benches: Vec<Bench<'_>> = specs
        .iter()
        .enumerate()
        .map(|(i, spec)| Bench::new(spec, &scale, dir.path().join(format!("{i}-{}", spec.name()))))
        .collect();
    for row in rows {
        let name = row.to_string();
        let mut gone = vec![false; benches.len()];
        for round in 0..rounds {
            let mut order: Vec<usize> = (0..benches.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for server in order {
                if gone[server] {
                    continue;
                }
                let bench = &mut benches[server];
                match bench.measure(row) {
                    Ok(figures) => {
                        let first =
                            figures.first().map(|f| format!("{:.2} {}", f.value, f.unit)).unwrap_or_default();
                        eprintln!("{name} · round {} · {} · {first}", round + 1, bench.name());
                        report.add(&name, server, &figures);
                    }
                    Err(e) => {
                        eprintln!("FAILED: {name} · {} · {e}", bench.name());
                        report.fail(&name, server, &e.to_string());
                        gone[server] = true;
                    }
                }
                std::thread::sleep(BREATH);
            }
        }
    }
    drop(benches);
    if arguments.keep {
        eprintln!("data and logs are in {}", dir.path().display());
    }
    println!("{}", report.table());
    if let Some(file) = &arguments.results {
        let mut json = report.json(machine());
        json["scale"] = json!({"quick": arguments.quick, "rounds": rounds, "seconds": scale.seconds,
            "messages in a maildrop": scale.maildrop, "idle connections": scale.idle, "stored": scale.stored,
            "appended": scale.appended, "log-ins": scale.log_ins, "most idle IMAP sessions of a peer": scale.idle_peer,
            "octets of a large file": scale.large, "small files": scale.small, "entries of a listing": scale.entries});
        fs::write(file, format!("{json:#}\n"))?;
    }
    Ok(report.failures().is_empty())
}

impl Arguments {
    fn spec(&self, server: &str) -> Result<Spec> {
        let tree = || self.peers.join("postfix-dovecot");
        match server.split_once('=') {
            None if server == "packetboat" => {
                Ok(Spec::Packetboat { name: "packetboat".to_owned(), binary: self.packetboat.clone() })
            }
            Some(("packetboat", binary)) => {
                Ok(Spec::Packetboat { name: format!("packetboat={binary}"), binary: binary.into() })
            }
            None if server == "postfix-dovecot" => Ok(Spec::Peer { tree: tree() }),
            None if server == "postfix" => Ok(Spec::Postfix { tree: tree() }),
            None if server == "dovecot-maildir" => {
                Ok(Spec::Dovecot { tree: tree(), format: Format::Maildir })
            }
            None if server == "dovecot-mdbox" => Ok(Spec::Dovecot { tree: tree(), format: Format::Mdbox }),
            None if let Some(peer) = FtpServer::ALL.into_iter().find(|peer| peer.name() == server) => {
                Ok(Spec::Ftp { server: peer, tree: self.peers.join(server) })
            }
            _ => Err(format!("{server}: no such server; --help names them").into()),
        }
    }

    fn scale(&self) -> Scale {
        let quick = self.quick;
        Scale {
            seconds: self.seconds.unwrap_or(if quick { 1.0 } else { 5.0 }),
            maildrop: if quick { 100 } else { 1000 },
            idle: if quick { 200 } else { 1000 },
            stored: if quick { 2000 } else { 100_000 },
            appended: if quick { 300 } else { 1000 },
            log_ins: if quick { 200 } else { 1000 },
            idle_peer: if quick { 100 } else { 1000 },
            large: if quick { 256 << 20 } else { 1 << 30 },
            text: if quick { 1024 } else { 4096 },
            small: if quick { 1000 } else { 10_000 },
            entries: 100_000,
            verify_all: self.verify == Verify::All,
        }
    }
}

/// A thousand connections need as many descriptors, and what we start inherits the limit.
fn raise_open_files() -> Result {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

fn machine() -> serde_json::Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu =
        cpu.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    json!({"cores": cores, "cpu": cpu, "kernel": read("/proc/sys/kernel/osrelease").trim()})
}
