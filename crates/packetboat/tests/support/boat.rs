//! A server with settings of one's own: `packetboat serve`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long the server may take until it is ready or gone.
const PATIENCE: Duration = Duration::from_secs(60);
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

/// A port that is free and stays so: below those that the system gives to whoever asks for any.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id().wrapping_mul(64);
        // The remainder is below 20,000.
        let port = 10_000 + (number % 20_000) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
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
            "hostname = \"boat.test\"\ndata = \"data\"\nstop_grace = \"5s\"\n[listen]\n{listen}{}\
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
        let child = command
            .args(["serve", "--config"])
            .arg(self.settings())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while self.ports.iter().any(|(_, port)| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_err()) {
            let child = self.child.as_mut().unwrap();
            assert!(child.try_wait().unwrap().is_none() && Instant::now() < deadline, "{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
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
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "the log does not say {text:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
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
