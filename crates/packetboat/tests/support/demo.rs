//! A server of one's own: `packetboat demo`, on free ports and a fresh directory.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long the server may take until it is ready. It is a debug build, beside other tests.
const READY: Duration = Duration::from_secs(120);
/// How long it may take to end when it is asked to.
const GOODBYE: Duration = Duration::from_secs(120);

/// A running server; it ends with the test.
#[derive(Debug)]
pub struct Demo {
    child: Child,
    ready: Value,
    dir: PathBuf,
    /// Removes the directory at the end, if it is ours.
    own_dir: Option<tempfile::TempDir>,
}

impl Demo {
    /// A server with `alice` and `bob`.
    pub fn start() -> Demo {
        Demo::start_with(&[])
    }

    /// A server on a fresh directory with more on its command line, such as `["--accounts", "20"]`.
    pub fn start_with(arguments: &[&str]) -> Demo {
        let dir = tempfile::Builder::new().prefix("packetboat-test-").tempdir().unwrap();
        let path = dir.path().join("demo");
        let mut demo = Demo::start_on(&path, arguments);
        demo.own_dir = Some(dir);
        demo
    }

    /// A server on a directory that outlives it.
    pub fn start_on(dir: &Path, arguments: &[&str]) -> Demo {
        // Another build can be tested too, such as the released one.
        let binary = std::env::var_os("PACKETBOAT_BINARY");
        let binary = binary.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_packetboat")), PathBuf::from);
        std::fs::create_dir_all(dir.parent().unwrap()).unwrap();
        let log = dir.with_extension("log");
        let mut child = Command::new(binary)
            .args(["demo", "--json", "--dir"])
            .arg(dir)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::options().create(true).append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = output.read_line(&mut line);
            let _ = tell.send(line);
            // Whatever follows must not fill the pipe.
            let _ = std::io::copy(&mut output, &mut std::io::sink());
        });
        let line = told.recv_timeout(READY).unwrap_or_default();
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        if ready["ready"] != true {
            let _ = child.kill();
            let _ = child.wait();
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            panic!("packetboat demo is not ready; it said: {line:?}\n{log}");
        }
        Demo { child, ready, dir: dir.to_owned(), own_dir: None }
    }

    /// What the one line said.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// Of the process, for signals and for `/proc`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The port of `smtp`, `submission`, `pop3s` …
    pub fn port(&self, protocol: &str) -> u16 {
        let port = self.ready["ports"][protocol].as_u64();
        let port = port.unwrap_or_else(|| panic!("no port for {protocol} in {}", self.ready));
        port.try_into().unwrap()
    }

    pub fn at(&self, protocol: &str) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port(protocol)).into()
    }

    /// The certificate to trust.
    pub fn ca(&self) -> &str {
        self.ready["ca"].as_str().unwrap()
    }

    /// Ends it as an administrator would.
    pub fn terminate(self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// Ends it, so that its log is whole; what that says.
    pub fn whole_log(self) -> String {
        let log = self.dir.with_extension("log");
        // Where the directory is ours, it goes with us.
        self.signal("TERM");
        let mut demo = self;
        let _dir = demo.own_dir.take();
        assert!(demo.ended().success());
        std::fs::read_to_string(log).unwrap()
    }

    /// Waits for it to end, when it has been told to.
    pub fn ended(mut self) -> ExitStatus {
        let deadline = Instant::now() + GOODBYE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still there after {} s", GOODBYE.as_secs());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it as a power failure would end the process.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.with_extension("log")).unwrap_or_default()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Ok(Some(status)) = self.child.try_wait() {
                eprintln!("the server has ended: {status}");
            }
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the server's log ends:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
        if self.child.try_wait().is_ok_and(|s| s.is_none()) {
            self.signal("TERM");
            let deadline = Instant::now() + Duration::from_secs(3);
            while self.child.try_wait().is_ok_and(|s| s.is_none()) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
