//! What an idle connection costs: prints the memory of this process for each of 1,000 silent connections, in the clear
//! and under TLS, with the toy protocol of the tests (whose session is a few hundred octets).
//!
//! `cargo run --release -p packetboat-server --example idle`
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::io::Read;
use std::sync::Arc;

use common::{Echo, Oracle, pair};
use packetboat_server::drive::{Pace, TlsRole, drive};
use packetboat_server::shutdown::Shutdown;
use packetboat_server::tls::{CertificateFiles, Certificates, MinimumTls, generate};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::io::AsyncReadExt;
use tokio::task::spawn_blocking;

const CONNECTIONS: usize = 1000;

/// Proportional set size of this process, proc_pid_smaps(5).
fn memory() -> usize {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    packetboat_server::privilege::raise_file_limit();
    let shutdown = Shutdown::new();
    // The first few connections pay for what all share.
    for round in ["warm-up", "measured"] {
        let before = memory();
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let (link, mut client) = pair(&shutdown, TlsRole::None, Pace::default()).await;
            tokio::spawn(drive(link, Echo::default(), Oracle::default()));
            client.read_exact(&mut [0; 7]).await.unwrap();
            // The client keeps nothing but its file descriptor.
            clients.push(client.into_std().unwrap());
        }
        let each = memory().saturating_sub(before) / CONNECTIONS;
        println!("clear, {round}: {each} octets for each of {CONNECTIONS} connections");
        std::mem::forget(clients);
    }

    let made = generate(&["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let files = CertificateFiles { certificate: dir.path().join("pem"), key: dir.path().join("key") };
    fs::write(&files.certificate, &made.chain).unwrap();
    fs::write(&files.key, &made.key).unwrap();
    let certificates = Arc::new(Certificates::load(vec![files], MinimumTls::Tls12).unwrap());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = Arc::new(
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    );
    for round in ["warm-up", "measured"] {
        let before = memory();
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let role = TlsRole::Server(Arc::clone(&certificates));
            let (mut link, client) = pair(&shutdown, role, Pace::default()).await;
            link.implicit_tls = true;
            tokio::spawn(drive(link, Echo::default(), Oracle::default()));
            let config = Arc::clone(&config);
            let client = spawn_blocking(move || {
                let socket = client.into_std().unwrap();
                socket.set_nonblocking(false).unwrap();
                let name = ServerName::try_from("localhost").unwrap();
                let mut stream = StreamOwned::new(ClientConnection::new(config, name).unwrap(), socket);
                stream.read_exact(&mut [0; 8]).unwrap();
                stream.sock
            });
            clients.push(client.await.unwrap());
        }
        let each = memory().saturating_sub(before) / CONNECTIONS;
        println!("TLS, {round}: {each} octets for each of {CONNECTIONS} connections");
        std::mem::forget(clients);
    }
}
