#![allow(clippy::unwrap_used)]

use std::time::Duration;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress};
use packetboat_wire::sasl::{self, Mechanism, ScramHash, ScramKeys, decode_base64, encode_base64};

use super::*;
use crate::command::Request;

/// Lets the session go on until it waits, and gives what it sent. `answer` takes its events.
fn drive(server: &mut Server, mut answer: impl FnMut(&mut Server, Event)) -> Vec<u8> {
    let mut sent = Vec::new();
    let now = Instant::now();
    loop {
        match server.next(now) {
            Step::Send(octets) => sent.extend_from_slice(&octets),
            Step::Event(event) => answer(server, event),
            Step::StartTls | Step::Wait { .. } | Step::Close => return sent,
        }
    }
}

fn accept(server: &mut Server, event: Event) {
    match event {
        Event::Login(_) => server.accept(),
        Event::Request(request) if *request == Request::Idle => {}
        Event::Request(_) => server.complete(Completion::ok("Done")),
        _ => {}
    }
}

fn logged_in() -> Server {
    let mut config = Config::new("a");
    config.plaintext_logins = true;
    let mut server = Server::new(Arc::new(config), [0; SEED_LENGTH]);
    server.receive(b"a LOGIN a b\r\n");
    drive(&mut server, accept);
    assert!(matches!(server.state, State::Authenticated));
    server
}

#[test]
fn a_session_is_small() {
    assert!(size_of::<Server>() <= 320, "{} octets", size_of::<Server>());
    let mut server = logged_in();
    server.receive(b"b SELECT a\r\nc IDLE\r\n");
    drive(&mut server, accept);
    assert!(server.is_idling());
    assert_eq!(server.output.capacity(), 0);
    assert!(server.input.is_empty());
    assert!(size_of::<Idling>() < 64);
}

#[test]
fn scram() {
    let mut config = Config::new("a");
    config.mechanisms = vec![Mechanism::ScramSha256];
    let mut server = Server::new(Arc::new(config), [0; SEED_LENGTH]);
    drive(&mut server, accept);
    let credentials =
        sasl::Credentials { username: "mrose".into(), password: "tanstaaf".into(), authzid: None };
    let mut client = sasl::Client::new(Mechanism::ScramSha256, credentials, &[], &[1; 18]).unwrap();
    let initial = encode_base64(client.initial().unwrap().expose());
    server.receive(format!("a AUTHENTICATE SCRAM-SHA-256 {initial}\r\n").as_bytes());
    let mut proved = false;
    let mut answer = |server: &mut Server, event| match event {
        Event::ScramKeys { authcid, hash: ScramHash::Sha256 } => {
            assert_eq!(authcid, "mrose");
            let keys = ScramKeys::derive(ScramHash::Sha256, "tanstaaf", b"0123456789abcdef", 4096).unwrap();
            server.scram_keys(vec![keys]);
        }
        Event::Login(Login::Proved { authcid, key: 0, .. }) => {
            proved = authcid == "mrose";
            server.accept();
        }
        other => panic!("{other:?}"),
    };
    for _ in 0..2 {
        let said = drive(&mut server, &mut answer);
        let challenge = said.strip_prefix(b"+ ").and_then(|said| said.strip_suffix(b"\r\n")).unwrap();
        let response = client.step(decode_base64(challenge).unwrap().expose()).unwrap();
        server.receive(format!("{}\r\n", encode_base64(response.expose())).as_bytes());
    }
    let said = drive(&mut server, &mut answer);
    assert!(said.starts_with(b"a OK ["), "{}", said.escape_ascii());
    assert!(proved);
}

/// A client that speaks compressed.
struct Packed {
    server: Server,
    deflate: Compress,
    inflate: Decompress,
}

impl Packed {
    fn new() -> Packed {
        let mut server = logged_in();
        server.receive(b"b COMPRESS DEFLATE\r\n");
        assert_eq!(drive(&mut server, accept), b"b OK Compression begins\r\n");
        let deflate = Compress::new(flate2::Compression::best(), false);
        Packed { server, deflate, inflate: Decompress::new(false) }
    }

    fn pack(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut packed = Vec::with_capacity(plain.len() + 1024);
        self.deflate.compress_vec(plain, &mut packed, FlushCompress::Sync).unwrap();
        packed
    }

    /// Says something, in pieces of so many octets once packed; what is answered.
    fn says(&mut self, plain: &[u8], size: usize) -> String {
        let packed = self.pack(plain);
        let mut sent = Vec::new();
        for piece in packed.chunks(size) {
            self.server.receive(piece);
            sent.extend(drive(&mut self.server, accept));
        }
        let mut said = Vec::with_capacity(1 << 20);
        self.inflate.decompress_vec(&sent, &mut said, FlushDecompress::Sync).unwrap();
        String::from_utf8(said).unwrap()
    }
}

#[test]
fn compressed() {
    for size in [1, 7, 10_000] {
        let mut client = Packed::new();
        assert_eq!(client.says(b"c NOOP\r\n", size), "c OK Nothing was done\r\n");
        let both = client.says(b"d NAMESPACE\r\ne NOOP\r\n", size);
        assert_eq!(
            both,
            "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\nd OK That is all\r\ne OK Nothing was done\r\n"
        );
        assert!(client.says(b"f COMPRESS DEFLATE\r\n", size).starts_with("f NO [COMPRESSIONACTIVE]"));
        assert!(!client.says(b"g CAPABILITY\r\n", size).contains("COMPRESS"));
        // More than a piece at once, both ways.
        let many = client.says("h NOOP\r\n".repeat(20_000).as_bytes(), size.max(500));
        assert_eq!(many.len(), 20_000 * "h OK Nothing was done\r\n".len());
        let compression = client.server.compression.as_ref().unwrap();
        assert!(!compression.has_input());
    }
}

#[test]
fn a_compression_bomb_is_unpacked_piece_by_piece() {
    let mut client = Packed::new();
    let bomb = client.pack(&vec![b'x'; 100_000_000]);
    assert!(bomb.len() < 200_000);
    client.server.receive(&bomb);
    let mut most = 0;
    let now = Instant::now();
    loop {
        match client.server.next(now) {
            Step::Close => break,
            Step::Wait { .. } => panic!("survives"),
            _ => most = most.max(client.server.input.len()),
        }
    }
    assert!(most <= COMMAND_MAX + 16 * 1024);
}

#[test]
fn what_is_not_deflated_ends_the_session() {
    let mut client = Packed::new();
    client.server.receive(b"\xff\xff\xff\xff\xff\xff\xff\xff");
    drive(&mut client.server, accept);
    assert!(matches!(client.server.state, State::Closed));
}

#[test]
fn a_dropped_compressed_connection_ends_the_session() {
    let mut client = Packed::new();
    client.server.end_of_input();
    drive(&mut client.server, accept);
    assert!(matches!(client.server.state, State::Closed));
}

#[test]
fn nothing_is_said_between_commands() {
    let mut server = logged_in();
    server.say(&crate::response::Response::Exists(1));
    assert_eq!(server.backlog(), 0);
    server.complete(Completion::ok("Nothing"));
    server.append_ready();
    server.append_refuse(Completion::ok("Nothing"));
    server.accept();
    server.refuse(Refusal::Credentials);
    server.selected(true, Completion::ok("Nothing"));
    assert_eq!(drive(&mut server, accept), b"");
}

#[test]
fn a_session_without_answer_does_not_go_on() {
    let mut server = logged_in();
    server.receive(b"b SELECT a\r\nc NOOP\r\n");
    let now = Instant::now();
    assert!(matches!(server.next(now), Step::Event(Event::Request(_))));
    for _ in 0..3 {
        assert!(matches!(server.next(now + Duration::from_secs(3_000)), Step::Event(Event::Resume)));
    }
    server.complete(Completion::no(None, "No"));
    assert!(drive(&mut server, accept).starts_with(b"b NO No\r\nc OK "));
}
