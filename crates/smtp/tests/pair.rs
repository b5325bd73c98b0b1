//! Our client against our server, and any input in any pieces: with a clock of their own and nothing in between.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use packetboat_message::Address;
use packetboat_smtp::client::{self, Envelope, Outcome, Protocol, TlsPolicy};
use packetboat_smtp::server::{self, Abort, Role};
use packetboat_smtp::{BodyKind, Client, ForwardPath, Recipient, Sender, Server, reply};
use packetboat_wire::sasl::{Ask, Credentials, Mechanism, ScramKeys};
use packetboat_wire::{ChannelBinding, Session, Step, TlsFacts};
use proptest::prelude::*;

/// Steps a pair may take; more means that it goes round in circles.
const STEPS_MAX: usize = 1_000_000;

/// A client and a server, and a network that delivers in pieces of `segment` octets.
struct Pair {
    client: Client,
    server: Server,
    now: Instant,
    segment: usize,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    client_done: bool,
    server_done: bool,
    tls_asked: (bool, bool),
    letter: Letter,
    /// What the server got, message by message.
    received: Vec<(Option<String>, Vec<String>, Vec<u8>)>,
    open: (Option<String>, Vec<String>, Vec<u8>),
    /// The server wants no mechanism with channel binding.
    no_plus: bool,
    authenticated: Vec<String>,
    client_events: Vec<client::Event>,
    server_aborts: Vec<Abort>,
}

/// What the client sends, and how often.
struct Letter {
    envelope: Envelope,
    pieces: Vec<Bytes>,
    given: usize,
    left: u32,
}

impl Pair {
    fn new(client: client::Config, server: server::Config, letter: Letter) -> Pair {
        Pair {
            client: Client::new(Arc::new(client), b"client nonce, random"),
            server: Server::new(Arc::new(server)),
            now: Instant::now(),
            segment: usize::MAX,
            to_server: Vec::new(),
            to_client: Vec::new(),
            client_done: false,
            server_done: false,
            tls_asked: (false, false),
            letter,
            received: Vec::new(),
            open: Default::default(),
            no_plus: false,
            authenticated: Vec::new(),
            client_events: Vec::new(),
            server_aborts: Vec::new(),
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS_MAX {
            let client_until = self.client_turn();
            let server_until = self.server_turn();
            if self.client_done && self.server_done {
                return;
            }
            if self.tls_asked == (true, true) {
                self.handshake();
            } else if !self.deliver() {
                // Nobody has anything to say: time passes.
                self.now =
                    [client_until, server_until].into_iter().flatten().min().expect("both wait for ever");
            }
        }
        panic!("the pair does not come to an end");
    }

    fn handshake(&mut self) {
        self.tls_asked = (false, false);
        self.to_server.clear();
        self.to_client.clear();
        let tls = TlsFacts {
            version: "TLSv1.3",
            bindings: vec![ChannelBinding::TlsExporter(b"exported".to_vec())],
            ..TlsFacts::default()
        };
        self.client.tls_started(tls.clone());
        self.server.tls_started(tls);
    }

    /// Delivers a piece in each direction; whether there was one.
    fn deliver(&mut self) -> bool {
        let piece = |from: &mut Vec<u8>, segment: usize| -> Vec<u8> {
            from.drain(..segment.min(from.len())).collect()
        };
        let to_server = piece(&mut self.to_server, self.segment);
        let to_client = piece(&mut self.to_client, self.segment);
        if !to_server.is_empty() && !self.server_done {
            self.server.receive(&to_server);
        } else if self.client_done && !self.server_done {
            self.server.end_of_input();
        }
        if !to_client.is_empty() && !self.client_done {
            self.client.receive(&to_client);
        } else if self.server_done && !self.client_done {
            self.client.end_of_input();
        }
        !to_server.is_empty() || !to_client.is_empty() || self.client_done || self.server_done
    }

    fn client_turn(&mut self) -> Option<Instant> {
        while !self.client_done && !self.tls_asked.0 {
            match self.client.next(self.now) {
                Step::Send(bytes) => self.to_server.extend_from_slice(&bytes),
                Step::StartTls => self.tls_asked.0 = true,
                Step::Close => self.client_done = true,
                Step::Wait { until } => return until,
                Step::Event(event) => {
                    self.client_event(&event);
                    self.client_events.push(event);
                }
            }
        }
        None
    }

    fn client_event(&mut self, event: &client::Event) {
        let letter = &mut self.letter;
        match event {
            client::Event::Ready if letter.left > 0 => {
                letter.left -= 1;
                letter.given = 0;
                self.client.send(letter.envelope.clone()).unwrap();
            }
            client::Event::Ready => self.client.quit(),
            client::Event::WantBody => {
                match letter.pieces.get(letter.given) {
                    Some(piece) => self.client.body(piece.clone()),
                    None => self.client.end_body(),
                }
                letter.given += 1;
            }
            _ => {}
        }
    }

    fn server_turn(&mut self) -> Option<Instant> {
        while !self.server_done && !self.tls_asked.1 {
            match self.server.next(self.now) {
                Step::Send(bytes) => self.to_client.extend_from_slice(&bytes),
                Step::StartTls => self.tls_asked.1 = true,
                Step::Close => self.server_done = true,
                Step::Wait { until } => return until,
                Step::Event(event) => self.server_event(event),
            }
        }
        None
    }

    fn server_event(&mut self, event: server::Event) {
        let server = &mut self.server;
        match event {
            server::Event::Sender(sender) => {
                self.open = Default::default();
                self.open.0 = sender.path.map(|path| path.to_string());
                server.accept();
            }
            server::Event::Recipient(Recipient { path: ForwardPath::Mailbox(path), .. })
                if path.local().as_str() == "nobody" =>
            {
                server.refuse(reply::mailbox_unavailable());
            }
            server::Event::Recipient(recipient) => {
                self.open.1.push(recipient.path.to_string());
                server.accept();
            }
            server::Event::BodyStart(_) => server.accept(),
            server::Event::BodyChunk(piece) => self.open.2.extend_from_slice(&piece),
            server::Event::BodyEnd { .. } => {
                while server.question_open() {
                    server.accept();
                }
                self.received.push(std::mem::take(&mut self.open));
            }
            server::Event::Aborted(why) => self.server_aborts.push(why),
            server::Event::AuthStart(mechanism) if self.no_plus && mechanism.binds_channel() => {
                server.refuse(reply::mechanism_too_weak());
            }
            server::Event::AuthStart(_) => server.start_authentication(b"server nonce, random"),
            server::Event::Auth(Ask::Password { password, .. }) if password.expose() == "secret" => {
                server.accept()
            }
            server::Event::Auth(Ask::Password { .. }) => server.refuse(reply::credentials_invalid()),
            server::Event::Auth(Ask::ScramKeys { hash, .. }) => {
                server.scram_keys(vec![
                    ScramKeys::derive(hash, "secret", b"salt", 4096.try_into().unwrap()).unwrap(),
                ]);
            }
            server::Event::Authenticated(done) => {
                self.authenticated.push(done.authcid);
                server.accept();
            }
            _ if server.question_open() => server.accept(),
            _ => {}
        }
    }

    fn outcomes(&self) -> Vec<&Outcome> {
        let events = self.client_events.iter();
        events
            .filter_map(|event| match event {
                client::Event::Done(outcome) => Some(outcome),
                _ => None,
            })
            .collect()
    }
}

fn letter(to: &[&str], pieces: &[&[u8]], times: u32) -> Letter {
    let recipients = to.iter().map(|to| Recipient::new(Address::parse(to).unwrap())).collect();
    Letter {
        envelope: Envelope { sender: Sender::new(Some(Address::parse("a@b.example").unwrap())), recipients },
        pieces: pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect(),
        given: 0,
        left: times,
    }
}

fn client_config(protocol: Protocol) -> client::Config {
    client::Config::new(protocol, "client.example")
}

fn server_config(role: Role) -> server::Config {
    server::Config::new(role, "mail.example.org")
}

#[test]
fn a_message_arrives_by_each_way() {
    let body: &[&[u8]] = &[b"Subject: x\r\n\r\n.dots\r\n..\r", b"\n.", b"\r\nend\r\n"];
    for (protocol, role) in [(Protocol::Smtp, Role::Exchange), (Protocol::Lmtp, Role::Lmtp)] {
        for (chunking, segment) in
            [(false, usize::MAX), (true, usize::MAX), (false, 1), (true, 1), (false, 7)]
        {
            let mut client = client_config(protocol);
            client.chunking = chunking;
            let to = ["one@example.org", "nobody@example.org", "two@example.org"];
            let mut pair = Pair::new(client, server_config(role), letter(&to, body, 3));
            pair.segment = segment;
            pair.run();
            assert_eq!(pair.received.len(), 3);
            for (sender, recipients, received) in &pair.received {
                assert_eq!(sender.as_deref(), Some("a@b.example"));
                assert_eq!(*recipients, ["one@example.org", "two@example.org"]);
                assert_eq!(*received, body.concat());
            }
            let delivered = |outcome: &&Outcome| matches!(outcome, Outcome::Accepted(_) | Outcome::Delivered);
            assert!(pair.outcomes().iter().all(delivered), "{:?}", pair.outcomes());
            assert_eq!(pair.outcomes().len(), 3);
            assert_eq!(pair.server.closed(), Some(server::Closed::Quit));
        }
    }
}

#[test]
fn every_mechanism_logs_in_under_tls() {
    for mechanism in Mechanism::ALL {
        for (password, right) in [("secret", true), ("wrong", false)] {
            let mut client = client_config(Protocol::Smtp);
            client.tls = TlsPolicy::Required;
            client.credentials =
                Some(Credentials { username: "alice".into(), password: password.into(), authzid: None });
            let mut server = server_config(Role::Submission);
            server.starttls = true;
            server.auth.mechanisms = vec![mechanism];
            let mut pair = Pair::new(client, server, letter(&["one@example.org"], &[b"x\r\n"], 1));
            pair.run();
            assert_eq!(pair.received.len(), usize::from(right), "{mechanism:?} {password}");
            assert_eq!(pair.authenticated == ["alice"], right, "{mechanism:?} {password}");
            let failed = pair.client_events.iter().any(|event| matches!(event, client::Event::Failed(_)));
            assert_eq!(failed, !right, "{mechanism:?} {password}");
        }
    }
}

#[test]
fn to_leave_out_channel_binding_is_no_lie() {
    let mut client = client_config(Protocol::Smtp);
    client.tls = TlsPolicy::Required;
    client.credentials =
        Some(Credentials { username: "alice".into(), password: "secret".into(), authzid: None });
    let mut server = server_config(Role::Submission);
    server.starttls = true;
    server.auth.mechanisms = vec![Mechanism::ScramSha256Plus, Mechanism::ScramSha256];
    let mut pair = Pair::new(client, server, letter(&["one@example.org"], &[b"x\r\n"], 1));
    pair.no_plus = true;
    pair.run();
    assert_eq!(pair.authenticated, ["alice"], "{:?}", pair.client_events);
}

#[test]
fn a_long_message_passes_in_pieces_and_nothing_piles_up() {
    let piece = b"0123456789 0123456789 0123456789 0123456789\r\n".repeat(1400);
    for chunking in [false, true] {
        let mut client = client_config(Protocol::Smtp);
        client.chunking = chunking;
        let pieces: Vec<&[u8]> = vec![&piece; 200];
        let mut pair =
            Pair::new(client, server_config(Role::Exchange), letter(&["one@example.org"], &pieces, 1));
        pair.run();
        assert!(matches!(pair.outcomes()[..], [Outcome::Accepted(_)]), "{:?}", pair.outcomes());
        assert!(pair.received[0].2 == pieces.concat());
    }
}

#[test]
fn what_is_too_big_is_refused_on_both_sides() {
    for (declared, outcome) in
        [(Some(21), "TooBig { max: 20 }"), (None, "Refused { stage: End*"), (Some(1), "Refused*")]
    {
        let mut server = server_config(Role::Exchange);
        server.limits.message_size = 20;
        let mut letter = letter(&["one@example.org"], &[b"012345678901234567890"], 2);
        letter.envelope.sender.size = declared;
        let mut pair = Pair::new(client_config(Protocol::Smtp), server, letter);
        pair.run();
        assert_eq!(pair.outcomes().len(), 2);
        let shown = format!("{:?}", pair.outcomes()[0]);
        assert!(shown.starts_with(outcome.trim_end_matches('*')), "{shown}");
        assert!(pair.received.is_empty());
    }
}

#[test]
fn what_never_ends_is_not_swallowed_for_ever() {
    let mut config = server_config(Role::Exchange);
    config.limits.message_size = 1000;
    let mut server = Server::new(Arc::new(config));
    let (now, piece, mut taken) = (Instant::now(), vec![b'x'; 1 << 20], 0);
    let mut said = false;
    let closed_after = loop {
        match server.next(now) {
            Step::Close => break taken,
            Step::Wait { .. } if !said => {
                server.receive(b"HELO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<one@example.org>\r\nDATA\r\n");
                said = true;
            }
            Step::Wait { .. } => {
                server.receive(&piece);
                taken += piece.len() as u64;
            }
            Step::Event(_) if server.question_open() => server.accept(),
            _ => {}
        }
        assert!(taken < 2 * server::SWALLOW_MAX);
    };
    assert!(closed_after > server::SWALLOW_MAX);
    assert_eq!(server.closed(), Some(server::Closed::Limit));
}

/// What a client makes of line endings before DATA, by the book instead of by the state machine.
fn mended(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut octets = body.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'\r' => {
                octets.next_if_eq(&b'\n');
                out.extend_from_slice(b"\r\n");
            }
            b'\n' => out.extend_from_slice(b"\r\n"),
            octet => out.push(octet),
        }
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn bodies() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let octet = prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(b'a'), Just(0), Just(0xff)];
    prop::collection::vec(prop::collection::vec(octet, 0..12), 0..6)
}

/// Parts of dialogues, right and wrong ones.
const PARTS: [&[u8]; 34] = [
    b"HELO x\r\n",
    b"EHLO x\r\n",
    b"LHLO x\r\n",
    b"MAIL FROM:<a@b.example>\r\n",
    b"MAIL FROM:<a@b.example> BODY=BINARYMIME\r\n",
    b"mail from: a@b.example\n",
    b"RCPT TO:<one@example.org>\r\n",
    b"RCPT TO:<nobody@example.org>\r\n",
    b"RCPT TO:<jos\xc3\xa9@example.org>\r\n",
    b"DATA\r\n",
    b"line\r\n",
    b".\r\n",
    b"..\r\n",
    b"\n.\n",
    b"\r.\r",
    b"\r\n.\r\r\n",
    b"BDAT 5\r\nab\r\nc",
    b"BDAT 5 LAST\r\nab\r\nc",
    b"BDAT 3 LAST\r\n\r\n\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT x\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY x\r\n",
    b"QUIT\r\n",
    b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
    b"AUTH LOGIN\r\n",
    b"AUTH SCRAM-SHA-256\r\n",
    b"YWxpY2U=\r\n",
    b"*\r\n",
    b"\r\n",
    b"\xff\x00\r\n",
    b"GET / HTTP/1.1\r\n",
    b"a line without end",
];

/// All that a server says and tells about `input` in pieces cut at `cuts`.
fn transcript(role: Role, input: &[u8], cuts: &[usize]) -> (Vec<u8>, String) {
    let mut config = server_config(role);
    config.auth.mechanisms = vec![Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256];
    config.auth.needs_tls = false;
    config.limits.message_size = 12;
    let mut server = Server::new(Arc::new(config));
    let (mut said, mut told, mut body) = (Vec::new(), String::new(), Vec::new());
    let now = Instant::now();
    let mut pump = |server: &mut Server| {
        for _ in 0..10_000 {
            match server.next(now) {
                Step::Send(bytes) => said.extend_from_slice(&bytes),
                Step::Wait { until } => {
                    assert!(!server.question_open());
                    assert!(until.is_none_or(|until| until > now));
                    return;
                }
                Step::Close | Step::StartTls => return,
                Step::Event(server::Event::BodyChunk(piece)) => body.extend_from_slice(&piece),
                Step::Event(event) => {
                    // How much of a refused message was handed over before the defect came is a matter of pieces.
                    if let server::Event::Aborted(_) = event {
                        body.clear();
                    }
                    told += &format!("{} {event:?}\n", body.escape_ascii());
                    match event {
                        server::Event::Recipient(Recipient { path: ForwardPath::Mailbox(path), .. })
                            if path.local().as_str() == "nobody" =>
                        {
                            server.refuse(reply::mailbox_unavailable());
                        }
                        server::Event::AuthStart(_) => server.start_authentication(b"nonce"),
                        server::Event::Auth(Ask::ScramKeys { .. }) => {
                            server.refuse(reply::credentials_invalid())
                        }
                        server::Event::BodyEnd { octets } => {
                            assert_eq!(octets, body.len() as u64);
                            body.clear();
                            while server.question_open() {
                                server.accept();
                            }
                        }
                        _ if server.question_open() => server.accept(),
                        _ => {}
                    }
                }
            }
        }
        panic!("the server goes round in circles");
    };
    pump(&mut server);
    let mut start = 0;
    for end in cuts.iter().copied().chain([input.len()]) {
        server.receive(&input[start..end]);
        start = end;
        pump(&mut server);
    }
    server.end_of_input();
    pump(&mut server);
    assert!(server.closed().is_some());
    (said, told)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_body_passes_by_data_with_its_lines_mended(pieces in bodies(), segment in 1..20_usize) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let letter = letter(&["one@example.org"], &pieces, 2);
        let mut pair = Pair::new(client_config(Protocol::Smtp), server_config(Role::Exchange), letter);
        pair.segment = segment;
        pair.run();
        prop_assert_eq!(pair.received.len(), 2);
        prop_assert_eq!(&pair.received[0].2, &mended(&pieces.concat()));
        prop_assert_eq!(&pair.received[1].2, &mended(&pieces.concat()));
    }

    #[test]
    fn any_body_passes_by_bdat_as_it_is(pieces in bodies(), segment in 1..20_usize) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let mut letter = letter(&["one@example.org"], &pieces, 2);
        letter.envelope.sender.body = BodyKind::Binary;
        let mut pair = Pair::new(client_config(Protocol::Smtp), server_config(Role::Exchange), letter);
        pair.segment = segment;
        pair.run();
        prop_assert_eq!(pair.received.len(), 2);
        prop_assert_eq!(&pair.received[0].2, &pieces.concat());
    }

    #[test]
    fn how_input_is_cut_makes_no_difference(
        parts in prop::collection::vec(0..PARTS.len(), 0..25),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        lmtp in any::<bool>(),
        greeted in any::<bool>(),
    ) {
        let mut input = Vec::new();
        if greeted {
            input.extend_from_slice(b"EHLO x\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n");
            input.extend_from_slice(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<one@example.org>\r\n");
        }
        parts.iter().for_each(|&part| input.extend_from_slice(PARTS[part]));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        let role = if lmtp { Role::Lmtp } else { Role::Submission };
        let whole = transcript(role, &input, &[]);
        prop_assert_eq!(&transcript(role, &input, &cuts), &whole);
        let each: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(&transcript(role, &input, &each), &whole);
    }

    #[test]
    fn no_server_can_confuse_a_client(
        reply in prop::collection::vec("[2345][0-9]{2}[ -][ -~]{0,12}\r\n|[ -~]{0,9}\n|334 [A-Za-z0-9+/=]{0,8}\r\n", 0..20),
        lmtp in any::<bool>(),
    ) {
        let mut config = client_config(if lmtp { Protocol::Lmtp } else { Protocol::Smtp });
        config.credentials = Some(Credentials { username: "u".into(), password: "p".into(), authzid: None });
        config.password_in_clear = true;
        let mut client = Client::new(Arc::new(config), b"nonce");
        let mut letter = letter(&["one@example.org", "two@example.org"], &[b"x"], 3);
        let mut now = Instant::now();
        let mut replies = reply.into_iter();
        let mut closed = false;
        for _ in 0..10_000 {
            match client.next(now) {
                Step::Close => {
                    closed = true;
                    break;
                }
                Step::StartTls => client.tls_started(TlsFacts::default()),
                Step::Send(_) => {}
                Step::Event(client::Event::Ready) if letter.left > 0 => {
                    letter.left -= 1;
                    client.send(letter.envelope.clone()).unwrap();
                }
                Step::Event(client::Event::Ready) => client.quit(),
                Step::Event(client::Event::WantBody) => {
                    letter.given += 1;
                    if letter.given.is_multiple_of(3) { client.end_body() } else { client.body(letter.pieces[0].clone()) }
                }
                Step::Event(_) => {}
                Step::Wait { until } => match replies.next() {
                    Some(reply) => client.receive(reply.as_bytes()),
                    None => now = until.unwrap_or(now + Duration::from_secs(1)),
                },
            }
        }
        prop_assert!(closed, "{:?}", client);
    }
}
