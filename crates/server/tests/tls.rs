//! TLS over real sockets: the upgrade, certificates by name, reloading, bindings.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Echo, Oracle, pair};
use packetboat_server::drive::{Pace, TlsRole, drive};
use packetboat_server::shutdown::Shutdown;
use packetboat_server::tls::{CertificateFiles, Certificates, MinimumTls, generate};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::net::TcpStream;

/// Writes a fresh certificate for `names` as `stem.pem` and `stem.key`; returns its authority.
fn certificate(dir: &Path, stem: &str, names: &[&str]) -> (CertificateFiles, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = generate(&names).unwrap();
    let files = CertificateFiles {
        certificate: dir.join(format!("{stem}.pem")),
        key: dir.join(format!("{stem}.key")),
    };
    fs::write(&files.certificate, &made.chain).unwrap();
    fs::write(&files.key, &made.key).unwrap();
    (files, made.ca)
}

fn client_config(ca: &str, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

type Stream = StreamOwned<ClientConnection, std::net::TcpStream>;

fn blocking(client: TcpStream) -> std::net::TcpStream {
    let client = client.into_std().unwrap();
    client.set_nonblocking(false).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    client
}

fn secure(socket: std::net::TcpStream, config: Arc<ClientConfig>, name: &str) -> Stream {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), socket)
}

fn line(reader: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while reader.read(&mut byte)? == 1 {
        line.push(byte[0]);
        if byte == [b'\n'] {
            break;
        }
    }
    Ok(String::from_utf8(line).unwrap().trim_end().to_owned())
}

/// Serves one connection; `client` runs in a thread of its own.
async fn with_client<T: Send + 'static>(
    certificates: &Arc<Certificates>,
    implicit: bool,
    client: impl FnOnce(std::net::TcpStream) -> T + Send + 'static,
) -> T {
    let shutdown = Shutdown::new();
    let (mut link, socket) = pair(&shutdown, TlsRole::Server(certificates.clone()), Pace::default()).await;
    link.implicit_tls = implicit;
    let socket = blocking(socket);
    let client = tokio::task::spawn_blocking(move || client(socket));
    drive(link, Echo::default(), Oracle::default()).await;
    client.await.unwrap()
}

#[tokio::test]
async fn upgrades_and_forgets_what_was_pipelined() {
    let dir = tempfile::tempdir().unwrap();
    let (files, ca) = certificate(dir.path(), "a", &["mail.example.org"]);
    let certificates = Arc::new(Certificates::load(vec![files], MinimumTls::Tls12).unwrap());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = client_config(&ca, &[version]);
        let answer = with_client(&certificates, false, move |mut socket| {
            assert_eq!(line(&mut socket).unwrap(), "hello");
            // The attacker's words, in the clear, in the same segment.
            socket.write_all(b"STARTTLS\r\nASK injected\r\n").unwrap();
            assert_eq!(line(&mut socket).unwrap(), "go ahead");
            let mut stream = secure(socket, config, "mail.example.org");
            stream.write_all(b"one\r\nQUIT\r\n").unwrap();
            let mut answer = String::new();
            // Fails unless the server closes TLS with close_notify.
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
        .await;
        let facts = match version.version {
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2 mail.example.org tls-server-end-point/32",
            _ => "TLSv1.3 mail.example.org tls-exporter/32 tls-server-end-point/32",
        };
        assert_eq!(answer, format!("secure {facts}\r\n> one\r\nbye\r\n"));
    }
}

#[tokio::test]
async fn plain_text_that_comes_late_is_not_a_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = certificate(dir.path(), "a", &["mail.example.org"]);
    let certificates = Arc::new(Certificates::load(vec![files], MinimumTls::Tls12).unwrap());
    let answer = with_client(&certificates, false, |mut socket| {
        line(&mut socket).unwrap();
        socket.write_all(b"STARTTLS\r\n").unwrap();
        assert_eq!(line(&mut socket).unwrap(), "go ahead");
        socket.write_all(b"ASK injected\r\nQUIT\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        answer
    })
    .await;
    assert!(!answer.windows(5).any(|bytes| bytes == b"heard"), "{answer:?}");
}

#[tokio::test]
async fn a_lot_goes_both_ways_under_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (files, ca) = certificate(dir.path(), "a", &["localhost"]);
    let certificates = Arc::new(Certificates::load(vec![files], MinimumTls::Tls12).unwrap());
    let config = client_config(&ca, rustls::ALL_VERSIONS);
    with_client(&certificates, true, move |socket| {
        let mut stream = secure(socket, config, "localhost");
        assert!(line(&mut stream).unwrap().starts_with("secure"));
        let text = "y".repeat(100_000);
        for _ in 0..20 {
            // More than one read, in records of 16 KiB, right after each other.
            stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
            assert_eq!(line(&mut stream).unwrap(), format!("> {text}"));
        }
        stream.write_all(b"ASK big 5000000\r\nQUIT\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.len(), 5_000_000 + "done\r\nbye\r\n".len());
    })
    .await;
}

#[tokio::test]
async fn the_certificate_follows_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let (a, ca_a) = certificate(dir.path(), "a", &["mail.example.org"]);
    let (b, ca_b) = certificate(dir.path(), "b", &["*.example.com", "example.com"]);
    let certificates = Arc::new(Certificates::load(vec![a, b], MinimumTls::Tls12).unwrap());
    let table = [
        (&ca_a, "mail.example.org", true),
        (&ca_b, "mail.example.com", true),
        (&ca_b, "example.com", true),
        (&ca_b, "deep.mail.example.com", false),
        (&ca_a, "mail.example.com", false),
    ];
    for (ca, name, expected) in table {
        let config = client_config(ca, rustls::ALL_VERSIONS);
        let hello =
            with_client(&certificates, true, move |socket| line(&mut secure(socket, config, name))).await;
        assert_eq!(hello.is_ok(), expected, "{name}: {hello:?}");
    }
}

#[tokio::test]
async fn reloads_and_keeps_the_old_on_error() {
    let dir = tempfile::tempdir().unwrap();
    let (files, old) = certificate(dir.path(), "a", &["localhost"]);
    let certificates = Arc::new(Certificates::load(vec![files.clone()], MinimumTls::Tls12).unwrap());
    assert!(certificates.reload_if_changed().is_none());

    fs::write(&files.certificate, "nothing of the kind").unwrap();
    let error = certificates.reload_if_changed().unwrap().unwrap_err().to_string();
    assert!(error.contains("a.pem") && error.contains("BEGIN CERTIFICATE"), "{error}");
    assert!(certificates.reload_if_changed().is_none(), "the same mistake is reported once");

    let (_, new) = certificate(dir.path(), "b", &["localhost"]);
    fs::copy(dir.path().join("b.pem"), &files.certificate).unwrap();
    let error = certificates.reload_if_changed().unwrap().unwrap_err().to_string();
    assert!(error.contains("does not belong"), "{error}");
    let greets = async |ca: &str| {
        let config = client_config(ca, rustls::ALL_VERSIONS);
        with_client(&certificates, true, move |socket| line(&mut secure(socket, config, "localhost")))
            .await
            .is_ok()
    };
    assert!(greets(&old).await);

    fs::copy(dir.path().join("b.key"), &files.key).unwrap();
    certificates.reload_if_changed().unwrap().unwrap();
    assert!(greets(&new).await);
    assert!(!greets(&old).await);
}

#[tokio::test]
async fn a_client_session_starts_tls_too() {
    let dir = tempfile::tempdir().unwrap();
    let (files, ca) = certificate(dir.path(), "a", &["localhost"]);
    let certificates = Arc::new(Certificates::load(vec![files], MinimumTls::Tls13).unwrap());
    let shutdown = Shutdown::new();
    let (server, client) = pair(&shutdown, TlsRole::Server(certificates), Pace::default()).await;
    tokio::spawn(drive(server, Echo::default(), Oracle::default()));
    // Two echoes would talk for ever; this client only reads, and asks for TLS at once.
    let name = ServerName::try_from("localhost").unwrap();
    let role = TlsRole::Client(client_config(&ca, rustls::ALL_VERSIONS), name);
    let summary =
        drive(client_link(client, role, &shutdown), client::Upgrade::default(), client::Nothing).await;
    assert_eq!(summary.end.to_string(), "closed");
    assert_eq!(summary.tls.unwrap().0, "TLSv1.3");
}

fn client_link(client: TcpStream, tls: TlsRole, shutdown: &Shutdown) -> packetboat_server::drive::Link {
    packetboat_server::drive::Link {
        conn: packetboat_server::conn::Conn::tcp(client),
        id: 2,
        tls,
        implicit_tls: false,
        pace: Arc::new(Pace::default()),
        shutdown: shutdown.signal(),
        cut: Arc::default(),
    }
}

mod client {
    use std::convert::Infallible;
    use std::time::Instant;

    use bytes::Bytes;
    use packetboat_server::drive::{Handler, Stop};
    use packetboat_wire::{Session, Step, TlsFacts};

    /// Says STARTTLS, starts TLS at the answer, and leaves when it hears a word under TLS.
    #[derive(Debug, Default)]
    pub(crate) struct Upgrade {
        asked: bool,
        heard: Vec<u8>,
        secure: bool,
    }

    impl Session for Upgrade {
        type Event = Infallible;

        fn receive(&mut self, bytes: &[u8]) {
            self.heard.extend_from_slice(bytes);
        }

        fn end_of_input(&mut self) {
            panic!("the server closed");
        }

        fn tls_started(&mut self, tls: TlsFacts) {
            assert_eq!(tls.bindings.len(), 2);
            self.secure = true;
            self.heard.clear();
        }

        fn shut_down(&mut self) {}

        fn next(&mut self, _now: Instant) -> Step<Infallible> {
            if !self.asked {
                self.asked = true;
                return Step::Send(Bytes::from_static(b"STARTTLS\r\n"));
            }
            match self.secure {
                false if self.heard.ends_with(b"go ahead\r\n") => Step::StartTls,
                true if self.heard.starts_with(b"secure") => Step::Close,
                _ => Step::Wait { until: None },
            }
        }
    }

    #[derive(Debug)]
    pub(crate) struct Nothing;

    impl Handler<Upgrade> for Nothing {
        async fn handle(&mut self, _: &mut Upgrade, event: Infallible) -> Result<(), Stop> {
            match event {}
        }
    }
}
