//! The server around a toy protocol: doors, limits, the status page, reload and stop.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Echo, Oracle};
use packetboat_server::drive::{Link, Summary, drive};
use packetboat_server::limits::Refusal;
use packetboat_server::listen::{Peer, Service};
use packetboat_server::server::{Context, Prepared, Server, prepare_embedded};
use packetboat_server::settings::{ListenAddress, Settings};
use packetboat_server::shutdown::Phase;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

struct Toy;

impl Service for Toy {
    fn serve(&self, link: Link, peer: Peer) -> Pin<Box<dyn Future<Output = Summary> + Send>> {
        Box::pin(async move {
            if peer.service == "pop3" {
                peer.admission.logged_in();
            }
            drive(link, Echo::default(), Oracle::default()).await
        })
    }

    fn refusal(&self, refusal: Refusal) -> Bytes {
        Bytes::from(format!("no: {}\r\n", refusal.word()))
    }

    fn has_login(&self) -> bool {
        true
    }
}

struct Running {
    context: Context,
    ports: Vec<(&'static str, u16)>,
    done: JoinHandle<std::io::Result<()>>,
}

impl Running {
    fn port(&self, service: &str) -> u16 {
        self.ports.iter().find(|(name, _)| *name == service).unwrap().1
    }

    async fn connect(&self, service: &str) -> BufReader<TcpStream> {
        BufReader::new(TcpStream::connect(("127.0.0.1", self.port(service))).await.unwrap())
    }

    async fn stop(self) {
        self.context.shutdown.enter(Phase::Stopping);
        self.done.await.unwrap().unwrap();
    }
}

fn settings(data: &Path) -> Settings {
    let mut settings = Settings::default();
    settings.general.hostname = "mail.example.org".to_owned();
    settings.general.data = data.join("data");
    let any = vec![ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())];
    settings.listen.smtp.clone_from(&any);
    settings.listen.submission = Vec::new();
    settings.listen.submissions = Vec::new();
    settings.listen.pop3.clone_from(&any);
    settings.listen.pop3s = Vec::new();
    (settings.listen.imap, settings.listen.imaps) = (Vec::new(), Vec::new());
    settings.listen.metrics = any;
    settings.listen.lmtp = vec![ListenAddress::Unix(data.join("lmtp.sock"))];
    settings
}

fn start(settings: Settings) -> Running {
    run(prepare_embedded(settings).unwrap())
}

fn run(prepared: Prepared) -> Running {
    let ports = prepared.ports();
    let mut server = Server::new(prepared, None);
    for name in ["smtp", "pop3", "lmtp"] {
        server.add(name, Arc::new(Toy));
    }
    let context = server.context().clone();
    Running { context, ports, done: tokio::spawn(server.run()) }
}

async fn line(from: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut line = String::new();
    from.read_line(&mut line).await.unwrap();
    line.trim_end().to_owned()
}

async fn get(running: &Running, path: &str) -> String {
    let mut stream = running.connect("metrics").await;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn serves_counts_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(settings(dir.path()));
    let mut one = running.connect("smtp").await;
    assert_eq!(line(&mut one).await, "hello");
    let socket = dir.path().join("lmtp.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let mut local = BufReader::new(UnixStream::connect(&socket).await.unwrap());
    assert_eq!(line(&mut local).await, "hello");
    local.write_all(b"QUIT\r\n").await.unwrap();
    assert_eq!(line(&mut local).await, "bye");
    assert_eq!(line(&mut local).await, "");

    let text = get(&running, "/metrics").await;
    assert!(text.contains("packetboat_connections_open{service=\"smtp\"} 1\n"), "{text}");
    assert!(text.contains("packetboat_connections_total{service=\"lmtp\"} 1\n"), "{text}");
    assert!(text.contains("packetboat_certificate_expiry_seconds "), "{text}");
    assert!(get(&running, "/healthz").await.ends_with("\r\n\r\nok\n"));

    // The one that stands hears of the end and the port is free again before it does.
    let port = running.port("smtp");
    running.context.shutdown.enter(Phase::Stopping);
    assert_eq!(line(&mut one).await, "stopping");
    running.done.await.unwrap().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    assert!(!socket.exists());
}

#[tokio::test]
async fn the_grace_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.general.stop_grace = Duration::from_millis(50);
    let running = start(settings);
    let mut stubborn = running.connect("smtp").await;
    // It does not read, so it does not hear the goodbye.
    stubborn.write_all(b"ASK big 100000000\r\n").await.unwrap();
    line(&mut stubborn).await;
    // Without an end of the grace it would never stop.
    tokio::time::timeout(Duration::from_secs(120), running.stop()).await.unwrap();
}

#[tokio::test]
async fn limits_are_told_in_the_words_of_the_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.limits.connections = 4;
    settings.limits.connections_before_login = 3;
    settings.limits.connections_per_address = 2;
    settings.limits.trusted_networks.clear();
    let running = start(settings);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut connection = running.connect("smtp").await;
        assert_eq!(line(&mut connection).await, "hello");
        held.push(connection);
    }
    assert_eq!(line(&mut running.connect("pop3").await).await, "no: too_many_from_address");
    let local = || async { BufReader::new(UnixStream::connect(dir.path().join("lmtp.sock")).await.unwrap()) };
    let mut third = local().await;
    assert_eq!(line(&mut third).await, "hello");
    assert_eq!(line(&mut local().await).await, "no: too_many_before_login");

    // Who leaves makes room.
    held.pop();
    let mut again = loop {
        let mut connection = running.connect("pop3").await;
        if line(&mut connection).await == "hello" {
            break connection;
        }
    };
    let mut fourth = local().await;
    assert_eq!(line(&mut fourth).await, "hello");
    assert_eq!(line(&mut local().await).await, "no: too_many");
    again.write_all(b"still here\r\n").await.unwrap();
    assert_eq!(line(&mut again).await, "> still here");

    let text = get(&running, "/metrics").await;
    let refused = "packetboat_connections_refused_total{service=\"lmtp\",outcome=\"too_many\"} 1\n";
    assert!(text.contains(refused), "{text}");
    drop((held, third, fourth, again));
    running.stop().await;
}

#[tokio::test]
async fn a_certificate_is_made_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(settings(dir.path()));
    let names = running.context.certificates.names();
    assert_eq!(names, ["mail.example.org", "localhost"]);
    running.stop().await;
    let key = dir.path().join("data/tls/self-signed.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&key).unwrap();
    start(settings(dir.path())).stop().await;
    assert_eq!(fs::read(&key).unwrap(), before);
    let mut renamed = settings(dir.path());
    renamed.general.hostname = "mx.example.org".to_owned();
    start(renamed).stop().await;
    assert_ne!(fs::read(&key).unwrap(), before);
}

#[tokio::test]
async fn ports_that_cannot_be_had_are_all_named() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(settings(dir.path()));
    let mut second = settings(dir.path());
    let taken = |service| vec![ListenAddress::Tcp(([127, 0, 0, 1], running.port(service)).into())];
    second.listen.smtp = taken("smtp");
    second.listen.pop3 = taken("pop3");
    let error = prepare_embedded(second).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 3, "{error}");
    assert!(lines[0].starts_with("listen.smtp: 127.0.0.1:"), "{error}");
    assert!(lines[1].starts_with("listen.lmtp: "), "{error}");
    assert!(lines[2].contains("another program listens there"), "{error}");
    running.stop().await;

    // What a dead server left behind is no obstacle.
    let stale = dir.path().join("lmtp.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    start(settings(dir.path())).stop().await;
}

#[tokio::test]
async fn a_port_means_both_kinds_of_address() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    let has_v6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    // Below those that the system gives to connections; whoever has one of them nevertheless is passed by.
    let first = 10_000 + (std::process::id() % 20_000) as u16;
    let (prepared, free) = (first..first + 100)
        .find_map(|free| {
            settings.listen.smtp = vec![ListenAddress::Port(free)];
            Some((prepare_embedded(settings.clone()).ok()?, free))
        })
        .unwrap();
    let running = run(prepared);
    let addresses = if has_v6 { &["127.0.0.1", "::1"][..] } else { &["127.0.0.1"] };
    assert_eq!(running.ports.iter().filter(|(name, _)| *name == "smtp").count(), addresses.len());
    for address in addresses {
        let address = *address;
        let mut stream = BufReader::new(TcpStream::connect((address, free)).await.unwrap());
        assert_eq!(line(&mut stream).await, "hello");
    }
    running.stop().await;
}
