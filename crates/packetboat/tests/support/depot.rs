//! A server for files: FTP on 127.0.0.1 and, where this machine has it, on ::1; with a certificate to trust.

use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Boat, free_port};

/// A server with alice and bob, whose password is `demo`. It ends with the test.
#[derive(Debug)]
pub struct Depot {
    boat: Boat,
    ftp: u16,
    ftps: u16,
    v6: bool,
}

impl Depot {
    pub fn start() -> Depot {
        Depot::start_with("", "")
    }

    /// With more lines of the section `[ftp]`, and more sections.
    pub fn start_with(ftp: &str, more: &str) -> Depot {
        let mut depot = Depot::prepare(ftp, more);
        depot.serve();
        depot
    }

    /// All that a server needs, and nothing runs.
    pub fn prepare(ftp: &str, more: &str) -> Depot {
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        let (port, tls_port) = (free_port(), free_port());
        let line = |service: &str, port: u16| {
            let v6 = if v6 { format!(", \"[::1]:{port}\"") } else { String::new() };
            format!("{service} = [\"127.0.0.1:{port}\"{v6}]\n")
        };
        let listen = line("ftp", port) + &line("ftps", tls_port);
        let settings = format!(
            "[ftp]\n{ftp}\n[[certificate]]\nchain = \"cert.pem\"\nkey = \"key.pem\"\n[limits]\nconnections_before_login = 4000\n{more}"
        );
        let boat = Boat::prepare_with(&listen, "");
        certify(boat.dir());
        boat.write_settings(&settings);
        Depot { boat, ftp: port, ftps: tls_port, v6 }
    }

    pub fn serve(&mut self) {
        self.boat.serve();
        let deadline = Instant::now() + Duration::from_secs(120);
        while TcpStream::connect(self.at()).is_err() || TcpStream::connect(("127.0.0.1", self.ftps)).is_err()
        {
            assert!(Instant::now() < deadline, "no FTP here: {}", self.boat.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A server whose files lie on a disk of so many octets.
    pub fn start_on_disk_of(octets: usize) -> Depot {
        let mut depot = Depot::prepare("", "");
        let mount = "mkdir -p data/files && mount -t tmpfs -o mode=700,size=";
        depot.boat.serve_behind(&format!("{mount}{octets} tmpfs data/files"));
        depot.serve();
        depot
    }

    /// Descriptors that the server has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.boat.pid())).unwrap().count()
    }

    /// Threads that the server has.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.boat.pid())).unwrap().count()
    }

    /// What the server takes of memory.
    /// Without the program's own pages, of which more are there with each thing it does for the first time.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.boat.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn boat(&mut self) -> &mut Boat {
        &mut self.boat
    }

    pub fn dir(&self) -> &Path {
        self.boat.dir()
    }

    pub fn log(&self) -> String {
        self.boat.log()
    }

    #[track_caller]
    pub fn logs(&self, text: &str) {
        self.boat.logs(text);
    }

    pub fn at(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ftp).into()
    }

    pub fn ftp(&self) -> u16 {
        self.ftp
    }

    pub fn ftps(&self) -> u16 {
        self.ftps
    }

    /// Hosts to come to: by name, and by the address of the other family if it is here.
    pub fn hosts(&self) -> Vec<&'static str> {
        if self.v6 {
            return vec!["localhost", "[::1]"];
        }
        eprintln!("this machine has no ::1: IPv6 is not tried");
        vec!["localhost"]
    }

    /// The certificate to trust.
    pub fn ca(&self) -> PathBuf {
        self.boat.dir().join("cert.pem")
    }

    /// Where a user's files lie.
    pub fn home(&self, user: &str) -> PathBuf {
        self.boat.dir().join("data/files").join(format!("{user}@boat.test"))
    }
}

/// A certificate that is its own authority, for the names of this machine.
fn certify(dir: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "7",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(dir)
        .output()
        .expect("openssl is needed: run `cargo xtask tools`");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Octets that no compression makes smaller, the same for the same seed.
pub fn blob(seed: u64, octets: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut blob = Vec::with_capacity(octets + 8);
    while blob.len() < octets {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        blob.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    blob.truncate(octets);
    blob
}
