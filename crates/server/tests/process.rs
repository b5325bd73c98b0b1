//! The server as a process of its own: privilege, signals, systemd.
//!
//! Not run by the usual test harness, which starts threads before it calls anything: this program plays both the
//! tester and, started again with `serve FILE`, the server.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::fs;
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Echo, Oracle};
use packetboat_server::drive::{Link, Summary, drive};
use packetboat_server::limits::Refusal;
use packetboat_server::listen::{Peer, Service};
use packetboat_server::server::{Server, prepare, runtime};
use packetboat_server::settings::Settings;
use packetboat_server::{log, privilege};
use rustix::process::{Pid, Signal, kill_process};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, command, file] = &arguments[..]
        && command == "serve"
    {
        return serve(Path::new(file));
    }
    let tests: [(&str, fn()); 6] = [
        ("gives_up_privilege", gives_up_privilege),
        ("keeps_low_ports_for_active_ftp", keeps_low_ports_for_active_ftp),
        ("tells_systemd_and_stops_at_sigterm", tells_systemd_and_stops_at_sigterm),
        ("takes_sockets_from_systemd", takes_sockets_from_systemd),
        ("reads_settings_and_certificates_again", reads_settings_and_certificates_again),
        ("a_second_signal_hurries", a_second_signal_hurries),
    ];
    let wanted = arguments.get(1).filter(|argument| !argument.starts_with('-'));
    for (name, test) in tests {
        if wanted.is_none_or(|wanted| name.contains(wanted.as_str())) {
            test();
            println!("{name}: ok");
        }
    }
}

// The server's side.

struct Toy;

impl Service for Toy {
    fn serve(&self, link: Link, _: Peer) -> Pin<Box<dyn Future<Output = Summary> + Send>> {
        Box::pin(drive(link, Echo::default(), Oracle::default()))
    }

    fn refusal(&self, _: Refusal) -> Bytes {
        Bytes::from_static(b"no\r\n")
    }

    fn has_login(&self) -> bool {
        false
    }
}

fn serve(file: &Path) {
    let settings = Settings::load(file).unwrap();
    let prepared = prepare(settings, Some(file.to_owned())).unwrap();
    let log = log::start(&prepared.settings().log).unwrap();
    runtime().unwrap().block_on(async {
        let ports = prepared.ports();
        let mut server = Server::new(prepared, Some(log));
        server.add("smtp", Arc::new(Toy));
        server.add("pop3s", Arc::new(Toy));
        println!("{ports:?}");
        server.run().await.unwrap();
    });
}

// The tester's side.

struct Serving {
    process: Child,
    dir: tempfile::TempDir,
    log: PathBuf,
    smtp: u16,
}

const NO_PORTS: &str = "submission = []\nsubmissions = []\npop3 = []\npop3s = []\nimap = []\nimaps = []\n";

fn start(general: &str, listen: &str, command: impl FnOnce(&Path) -> Command) -> Serving {
    let dir = tempfile::tempdir().unwrap();
    // The server may become a user that could not come here otherwise.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = dir.path().join("p.toml");
    let text = format!(
        "hostname = \"mail.example.org\"\ndata = \"data\"\n{general}\n[listen]\n{NO_PORTS}{listen}\n[log]\nlevel = \"info\"\n"
    );
    fs::write(&file, text).unwrap();
    let log = dir.path().join("log");
    let mut process = command(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::from(fs::File::create(&log).unwrap()))
        .spawn()
        .unwrap();
    let mut ports = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut ports).unwrap();
    let smtp = ports.split("\"smtp\", ").nth(1).and_then(|rest| rest.split(')').next());
    let smtp = smtp.unwrap_or_else(|| panic!("{ports}{}", fs::read_to_string(&log).unwrap()));
    Serving { process, dir, log, smtp: smtp.parse().unwrap() }
}

fn plain(file: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("serve").arg(file);
    command
}

const SMTP_ANY: &str = "smtp = \"127.0.0.1:0\"";

impl Serving {
    fn connect(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.smtp)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        BufReader::new(stream)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).unwrap()
    }

    fn until_logged(&self, text: &str) {
        let begun = std::time::Instant::now();
        while !fs::read_to_string(&self.log).unwrap().contains(text) {
            assert!(begun.elapsed() < Duration::from_secs(120), "{}", fs::read_to_string(&self.log).unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn finish(mut self) -> String {
        self.signal(Signal::TERM);
        assert!(self.process.wait().unwrap().success());
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Only when a test has failed is it still there.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}

fn gives_up_privilege() {
    let general = if privilege::is_root() { "user = \"nobody\"" } else { "" };
    let serving = start(general, SMTP_ANY, plain);
    assert_eq!(line(&mut serving.connect()), "hello");
    let status = serving.proc("status");
    assert_eq!(field(&status, "NoNewPrivs"), "1");
    // All threads, not only the one that asked.
    let tasks = fs::read_dir(format!("/proc/{}/task", serving.process.id())).unwrap();
    let mut threads = 0;
    for task in tasks {
        // A thread may have ended since.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        assert_eq!(field(&status, "NoNewPrivs"), "1");
        if privilege::is_root() {
            let ids: Vec<u32> = field(&status, "Uid").split('\t').map(|id| id.parse().unwrap()).collect();
            assert!(ids.iter().all(|id| *id != 0), "{ids:?}");
            assert_eq!(field(&status, "CapEff"), "0000000000000000");
            assert!(!field(&status, "Groups").split(' ').any(|group| group == "0"));
        }
        threads += 1;
    }
    assert!(threads > 1);
    let data = fs::metadata(serving.dir.path().join("data")).unwrap();
    assert_eq!(data.permissions().mode() & 0o777, 0o700);
    if privilege::is_root() {
        assert_ne!(data.uid(), 0);
        // A process that can be dumped belongs to its user here.
        assert_eq!(fs::metadata(format!("/proc/{}/mem", serving.process.id())).unwrap().uid(), 0);
    }
    serving.finish();
}

fn keeps_low_ports_for_active_ftp() {
    if !privilege::is_root() {
        return println!("not root: no privilege to keep");
    }
    // An address of this test alone, so that the port is free.
    let id = std::process::id();
    let ftp = format!("127.77.{}.{}:21", id / 250 % 250 + 1, id % 250 + 1);
    for (general, more, kept) in [
        ("user = \"nobody\"", "", true),
        ("user = \"nobody\"", "[ftp]\nactive_source = \"any\"", false),
        ("user = \"nobody\"", "[ftp]\nactive = false", false),
    ] {
        let serving = start(general, &format!("{SMTP_ANY}\nftp = \"{ftp}\"\n{more}"), plain);
        assert_eq!(line(&mut serving.connect()), "hello");
        for task in fs::read_dir(format!("/proc/{}/task", serving.process.id())).unwrap() {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            // CAP_NET_BIND_SERVICE, and nothing that programs started from here would have.
            let expected = if kept { "0000000000000400" } else { "0000000000000000" };
            assert_eq!(field(&status, "CapEff"), expected);
            assert_eq!(field(&status, "CapPrm"), expected);
            assert_eq!(field(&status, "CapInh"), "0000000000000000");
            assert_eq!(field(&status, "CapAmb"), "0000000000000000");
            assert_eq!(field(&status, "NoNewPrivs"), "1");
            let ids: Vec<u32> = field(&status, "Uid").split('\t').map(|id| id.parse().unwrap()).collect();
            assert!(ids.iter().all(|id| *id != 0), "{ids:?}");
        }
        let log = serving.finish();
        assert!(!log.contains("active data connections cannot come"), "{log}");
    }
}

fn tells_systemd_and_stops_at_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let heard = || {
        let mut text = [0; 1024];
        let len = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..len]).into_owned()
    };
    let serving = start("", SMTP_ANY, |file| {
        let mut command = plain(file);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
        command
    });
    let mut messages: Vec<String> = (0..3).map(|_| heard()).collect();
    messages.retain(|message| message != "WATCHDOG=1");
    assert_eq!(messages, ["READY=1\nSTATUS=Serving"]);
    let mut connection = serving.connect();
    assert_eq!(line(&mut connection), "hello");
    serving.signal(Signal::HUP);
    let mut after: Vec<String> = Vec::new();
    while after.len() < 2 {
        after.extend(Some(heard()).filter(|message| message != "WATCHDOG=1"));
    }
    assert!(after[0].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{after:?}");
    assert!(after[1].starts_with("READY=1"), "{after:?}");

    let log = serving.finish();
    assert_eq!(line(&mut connection), "stopping");
    assert!(log.contains("listening") && log.contains("stopped"), "{log}");
    let ended = log.lines().find(|line| line.contains("connection ended")).unwrap_or_else(|| panic!("{log}"));
    for part in ["service=\"smtp\"", "peer=\"127.0.0.1:", "sent=17", "end=closed"] {
        assert!(ended.contains(part), "{part}: {ended}");
    }
    while !heard().starts_with("STOPPING=1") {}
}

fn takes_sockets_from_systemd() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = start("", "smtp = 25", |file| {
        // As systemd does it: the socket is descriptor 3, the process knows that it is meant.
        let script =
            "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=smtp exec \"$0\" serve \"$1\" 3<&0 </dev/null";
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).arg(std::env::current_exe().unwrap()).arg(file);
        command.stdin(Stdio::from(OwnedFd::from(listener)));
        command
    });
    assert_eq!(serving.smtp, port);
    assert_eq!(line(&mut serving.connect()), "hello");
    assert!(serving.finish().contains("(systemd)"));
}

fn reads_settings_and_certificates_again() {
    let serving = start("", SMTP_ANY, plain);
    let file = serving.dir.path().join("p.toml");
    let good = fs::read_to_string(&file).unwrap();
    // Serving, and so hearing signals.
    assert_eq!(line(&mut serving.connect()), "hello");

    fs::write(&file, good.replace("level", "levle")).unwrap();
    serving.signal(Signal::HUP);
    serving.until_logged("unknown key; did you mean `level`?");
    serving.until_logged("the old ones stay");

    fs::write(&file, format!("{good}[limits]\nconnections = 1\nconnections_per_address = 1\n")).unwrap();
    serving.signal(Signal::HUP);
    serving.until_logged("settings read again");
    serving.until_logged("certificates read again");
    // The first one may be there for a moment yet.
    let _one = loop {
        let mut one = serving.connect();
        if line(&mut one) == "hello" {
            break one;
        }
    };
    assert_eq!(line(&mut serving.connect()), "no");

    // The certificate's file changes, and is noticed without being told.
    let made = packetboat_server::tls::generate(&["mail.example.org".to_owned()]).unwrap();
    let tls = serving.dir.path().join("data/tls");
    fs::write(tls.join("self-signed.key"), &made.key).unwrap();
    serving.until_logged("the new certificate cannot be used; the old one stays");
    fs::write(tls.join("self-signed.pem"), &made.chain).unwrap();
    let begun = std::time::Instant::now();
    while fs::read_to_string(&serving.log).unwrap().matches("certificates read again").count() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(50));
    }
    serving.finish();
}

fn a_second_signal_hurries() {
    let mut serving = start("stop_grace = \"600s\"", SMTP_ANY, plain);
    let mut stubborn = serving.connect();
    stubborn.get_mut().write_all(b"ASK big 100000000\r\n").unwrap();
    stubborn.read_exact(&mut [0; 100]).unwrap();
    serving.signal(Signal::INT);
    serving.until_logged("stopping");
    assert!(serving.process.try_wait().unwrap().is_none());
    serving.signal(Signal::INT);
    assert!(serving.process.wait().unwrap().success());
}
