//! A server with settings of one's own: `packetboat serve`.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long the server may take until it is ready or gone, and what must come may be awaited: on a machine that is busy
/// with ten other things as well.
const PATIENCE: Duration = Duration::from_secs(120);
/// The services that listen.
const SERVICES: [&str; 7] = ["smtp", "submission", "lmtp", "pop3", "imap", "ftp", "metrics"];

/// A server for `boat.test` with alice and bob, whose password is `demo`. It ends with the test.
#[derive(Debug)]
pub struct Boat {
    dir: tempfile::TempDir,
    ports: Vec<(&'static str, u16)>,
    child: Option<Child>,
    /// Lines of `[listen]` that come before the usual ones.
    listen: String,
    /// Runs in front of the server, in a mount namespace of its own.
    before: Option<String>,
}

fn binary() -> PathBuf {
    std::env::var_os("PACKETBOAT_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_packetboat")), PathBuf::from)
}

/// Ports that belong to this process as long as it holds the first of them.
const BLOCK: u16 = 64;

/// What this process has of ports.
struct Ports {
    /// The first port of each block, on which nothing is served: other test programs see by it whose the rest are.
    held: Vec<TcpListener>,
    next: u16,
    left: u16,
}

/// A port that is free and stays so: it lies below those that the system gives to whoever asks for any, and in a block that
/// no other test program on this machine takes.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of so many free ports in a row.
pub fn free_ports(count: u16) -> u16 {
    static PORTS: Mutex<Ports> = Mutex::new(Ports { held: Vec::new(), next: 0, left: 0 });
    assert!(count < BLOCK);
    let mut ports = PORTS.lock().unwrap();
    loop {
        if ports.left < count {
            let (held, first) = block();
            ports.held.push(held);
            (ports.next, ports.left) = (first + 1, BLOCK - 1);
        }
        let first = ports.next;
        let used = (first..first + count).find(|port| !is_free(*port));
        // Programs that are no tests have ports, too.
        let taken = used.map_or(count, |port| port - first + 1);
        ports.next += taken;
        ports.left -= taken;
        if used.is_none() {
            return first;
        }
    }
}

fn is_free(port: u16) -> bool {
    // The one for all addresses is in the way of each, and the other way round. Without IPv6 there is nobody.
    let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port));
    let is_used = v6.is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
    !is_used && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

/// Takes a block that nobody has.
fn block() -> (TcpListener, u16) {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let given = text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768);
    // Where the system gives out nearly all ports, these are as good as any.
    let end = if given >= 12_000_u16 { given } else { 32_768 };
    let blocks = u32::from((end - 10_000) / BLOCK);
    let start = std::process::id() % blocks;
    for number in 0..blocks {
        // At most `end`.
        let first = 10_000 + ((start + number) % blocks) as u16 * BLOCK;
        if let Ok(held) = TcpListener::bind((Ipv4Addr::LOCALHOST, first)) {
            return (held, first);
        }
    }
    panic!("no {BLOCK} ports from 10000 to {end} are left to tests");
}

impl Boat {
    /// A server with these settings besides the usual ones of a test.
    pub fn start(settings: &str) -> Boat {
        let mut boat = Boat::prepare(settings);
        boat.serve();
        boat
    }

    /// All that a server needs, and nothing runs.
    pub fn prepare(settings: &str) -> Boat {
        Boat::prepare_with("", settings)
    }

    /// The same with lines of `[listen]` that come before the usual ones.
    pub fn prepare_with(listen: &str, settings: &str) -> Boat {
        let dir = tempfile::Builder::new().prefix("packetboat-boat-").tempdir().unwrap();
        let ports = SERVICES.iter().filter(|name| !is_named(listen, name));
        let ports = ports.map(|&name| (name, free_port())).collect();
        let boat = Boat { dir, ports, child: None, listen: listen.to_owned(), before: None };
        boat.write_settings(settings);
        boat.run(&["domain", "add", "boat.test"], "");
        for user in ["alice", "bob"] {
            boat.run(&["account", "add", &format!("{user}@boat.test"), "--password-stdin"], "demo\n");
        }
        boat
    }

    /// Writes the settings anew.
    pub fn write_settings(&self, settings: &str) {
        let listen: String = [
            "smtp",
            "submission",
            "submissions",
            "lmtp",
            "pop3",
            "pop3s",
            "imap",
            "imaps",
            "ftp",
            "ftps",
            "metrics",
        ]
        .iter()
        .filter(|name| !is_named(&self.listen, name))
        .map(|name| match self.ports.iter().find(|(it, _)| it == name) {
            Some((_, port)) => format!("{name} = \"127.0.0.1:{port}\"\n"),
            None => format!("{name} = []\n"),
        })
        .collect();
        let text = format!(
            "hostname = \"boat.test\"\ndata = \"data\"\nstop_grace = \"30s\"\n[listen]\n{listen}{}\
             [auth]\nplaintext_without_tls = true\nhash_memory = \"8 KiB\"\nhash_passes = 1\n\
             [log]\nlevel = \"debug\"\n{settings}\n",
            self.listen
        );
        std::fs::write(self.settings(), text).unwrap();
    }

    fn settings(&self) -> PathBuf {
        self.dir.path().join("packetboat.toml")
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a command of the program on this server's settings; it must succeed. What it says.
    pub fn run(&self, arguments: &[&str], input: &str) -> String {
        use std::io::Write as _;
        let mut child = Command::new(binary())
            .args(arguments)
            .arg("--config")
            .arg(self.settings())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Starts it, on what is there.
    pub fn serve(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let logged = self.log().len();
            let mut child = self.spawn();
            let ended = loop {
                if self.ports.iter().all(|(_, port)| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok())
                {
                    break None;
                }
                if let Some(status) = child.try_wait().unwrap() {
                    break Some(status);
                }
                if Instant::now() >= deadline {
                    let _ = child.kill();
                    panic!("it does not serve\n{}", self.log());
                }
                std::thread::sleep(Duration::from_millis(10));
            };
            let Some(status) = ended else {
                self.child = Some(child);
                return;
            };
            // Somebody who is no test had one of the ports; a connection, or a server, that may go.
            let log = self.log();
            let said = log.get(logged..).unwrap_or_default();
            let again = said.contains("another program listens there") && Instant::now() < deadline;
            assert!(again, "it has ended: {status}\n{log}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn spawn(&self) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = match &self.before {
            None => Command::new(binary()),
            Some(script) => {
                let mut command = Command::new("unshare");
                let script = format!("set -e\n{script}\nexec \"$@\"");
                command
                    .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
                    .arg(binary());
                command.current_dir(self.dir());
                command
            }
        };
        command.args(["serve", "--config"]).arg(self.settings()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(log).spawn().unwrap()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Waits until the log holds `text`: the server writes it beside its work, so a reply may come before its line.
    #[track_caller]
    pub fn logs(&self, text: &str) {
        self.logs_times(text, 1);
    }

    /// The same, so many times.
    #[track_caller]
    pub fn logs_times(&self, text: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.log().matches(text).count() < times {
            assert!(Instant::now() < deadline, "the log does not say {text:?} {times} times\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until nothing waits in its queue any more: whatever comes of it has come.
    #[track_caller]
    pub fn has_sent_all(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.run(&["queue", "list", "--json"], "").is_empty() {
            assert!(Instant::now() < deadline, "something stays in the queue\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn at(&self, service: &str) -> SocketAddr {
        let port = self.ports.iter().find(|(name, _)| *name == service).unwrap().1;
        (Ipv4Addr::LOCALHOST, port).into()
    }

    pub fn port(&self, service: &str) -> u16 {
        self.at(service).port()
    }

    /// Sends it a signal, such as HUP.
    pub fn signal(&self, name: &str) {
        if let Some(child) = &self.child {
            signal(child, name);
        }
    }

    /// From now on it serves in a mount namespace of its own, after this script, which sees the server's directory as its
    /// own; both need root.
    pub fn serve_behind(&mut self, script: &str) {
        self.before = Some(script.to_owned());
    }

    /// Of the process, for `/proc`.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Ends it as an administrator would.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(&child, "TERM");
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "still there\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it as a power failure would end the process.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Has it read its settings again.
    pub fn reload(&self) {
        signal(self.child.as_ref().unwrap(), "HUP");
    }
}

/// Whether lines of settings have this key.
fn is_named(lines: &str, key: &str) -> bool {
    lines.lines().any(|line| line.split(' ').next() == Some(key))
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

impl Drop for Boat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the server's log ends:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
        self.kill();
    }
}
