#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection};

use super::super::binding::{Binding, Channel, TlsSessionId};
use super::super::{CertificateFiles, Certificates, MinimumTls, Tickets, generate};
use super::*;

struct World {
    certificates: Certificates,
    client: Arc<ClientConfig>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(versions: &[&'static rustls::SupportedProtocolVersion]) -> World {
        let dir = tempfile::tempdir().unwrap();
        let made = generate(&["ftp.test".to_owned()]).unwrap();
        let at = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files =
            CertificateFiles { certificate: at("chain.pem", &made.chain), key: at("key.pem", &made.key) };
        let certificates = Certificates::load(vec![files], MinimumTls::Tls12).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(made.ca.as_bytes()).unwrap()).unwrap();
        let mut client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // It uses a ticket of TLS 1.3 once.
        client.resumption = Resumption::in_memory_sessions(4);
        World { certificates, client: Arc::new(client), _dir: dir }
    }

    fn connect(&self, channel: Channel) -> Pair {
        let binding = Binding::new(self.certificates.bindings(), channel, None);
        let name = ServerName::try_from("ftp.test").unwrap();
        let mut client = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut &wire[..]).unwrap();
        let accepted = acceptor.accept().unwrap().unwrap();
        let identity = self.certificates.choose(&accepted.client_hello());
        let tickets = Tickets::Bound(Arc::clone(&binding));
        let config = self.certificates.config(&identity, &tickets).unwrap();
        let server = accepted.into_connection(config).unwrap();
        binding.settle(server.handshake_kind());
        let mut pair = Pair { client, server: Connection::from(server), binding };
        pair.exchange();
        pair
    }
}

struct Pair {
    client: ClientConnection,
    server: Connection,
    binding: Arc<Binding>,
}

impl Pair {
    fn exchange(&mut self) {
        while self.client.wants_write() || self.server.wants_write() {
            let mut wire = Vec::new();
            self.client.write_tls(&mut wire).unwrap();
            self.server.read_tls(&mut &wire[..]).unwrap();
            self.server.process_new_packets().unwrap();
            wire.clear();
            self.server.write_tls(&mut wire).unwrap();
            self.client.read_tls(&mut &wire[..]).unwrap();
            self.client.process_new_packets().unwrap();
        }
        assert!(!self.client.is_handshaking() && !self.server.is_handshaking());
    }

    fn session(&self) -> Option<TlsSessionId> {
        self.binding.session(self.server.handshake_kind())
    }
}

#[test]
fn a_client_that_uses_each_ticket_once_never_runs_out() {
    let world = World::new(&[&rustls::version::TLS13]);
    let mut control = world.connect(Channel::Control);
    let id = control.session();
    assert!(id.is_some());
    for n in 0..60 {
        let data = world.connect(Channel::Data);
        assert_eq!(data.client.handshake_kind(), Some(HandshakeKind::Resumed), "{n}");
        assert_eq!(data.session(), id, "{n}");
        assert!(control.binding.top_up(&mut control.server));
        control.exchange();
    }
    // What is written after a ticket is what it was.
    control.server.writer().write_all(b"226 Done.\r\n").unwrap();
    control.exchange();
    let mut said = [0; 11];
    control.client.reader().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"226 Done.\r\n");
}

#[test]
fn without_fresh_ones_it_does() {
    let world = World::new(&[&rustls::version::TLS13]);
    let control = world.connect(Channel::Control);
    let sessions: Vec<_> = (0..3).map(|_| world.connect(Channel::Data).session()).collect();
    assert_eq!(sessions, [control.session(), control.session(), None]);
}

#[test]
fn in_tls_1_2_one_serves_for_all() {
    let world = World::new(&[&rustls::version::TLS12]);
    let mut control = world.connect(Channel::Control);
    for n in 0..5 {
        let data = world.connect(Channel::Data);
        assert_eq!(data.session(), control.session(), "{n}");
        assert!(!control.binding.top_up(&mut control.server));
    }
}

#[test]
fn a_control_connection_that_resumes_another_is_of_the_same_session() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let world = World::new(&[version]);
        let first = world.connect(Channel::Control);
        let second = world.connect(Channel::Control);
        assert_eq!(first.session(), second.session(), "{version:?}");
        let stranger = World::new(&[version]).connect(Channel::Control);
        assert_ne!(stranger.session(), first.session());
    }
}

#[test]
fn a_data_connection_without_a_ticket_belongs_to_nobody_and_gets_none() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let world = World::new(&[version]);
        assert_eq!(world.connect(Channel::Data).session(), None);
        assert_eq!(world.connect(Channel::Data).session(), None);
    }
}

#[test]
fn other_protocols_are_refused() {
    // ALPACA, CVE-2021-3618.
    for (offered, taken) in [
        (&["ftp"][..], true),
        (&["h2", "ftp"], true),
        (&[], true),
        (&["h2", "http/1.1"], false),
        (&["imap"], false),
    ] {
        let world = World::new(&[&rustls::version::TLS13]);
        let mut config = (*world.client).clone();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("ftp.test").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut &wire[..]).unwrap();
        let accepted = acceptor.accept().unwrap().unwrap();
        let identity = world.certificates.choose(&accepted.client_hello());
        let binding = Binding::new(world.certificates.bindings(), Channel::Control, None);
        let config = world.certificates.config(&identity, &Tickets::Bound(binding)).unwrap();
        let result: Result<ServerConnection, _> =
            accepted.into_connection(config).map_err(|(error, _)| error);
        match result {
            Ok(_) => assert!(taken, "{offered:?}"),
            Err(error) => {
                assert!(!taken, "{offered:?}");
                assert_eq!(error, rustls::Error::NoApplicationProtocol, "{offered:?}");
            }
        }
    }
}
