//! A client and a server session talking to each other, with time that goes by as told.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use packetboat_pop3::Command;
use packetboat_pop3::client::{self, Client, Error, Event, TlsPolicy};
use packetboat_pop3::server::{self, Server};
use packetboat_wire::sasl::{Credentials, Mechanism};
use packetboat_wire::{Session, Step};
use proptest::prelude::*;

mod support;

use support::PostOffice;

/// Both ends of a line without a network.
struct Pair {
    client: Client,
    server: Server,
    office: PostOffice,
    now: Instant,
    /// Octets that reach the other side at a time.
    read: usize,
    events: Vec<Event>,
    /// All that went over the line, each side by itself.
    said: (Vec<u8>, Vec<u8>),
    tls: bool,
    open: bool,
}

/// What one side does until it waits.
#[derive(Debug, PartialEq)]
enum Rest {
    Waits(Option<Instant>),
    Tls,
    Closes,
}

impl Pair {
    fn new(client: client::Config, server: server::Config, office: PostOffice) -> Pair {
        Pair {
            client: Client::new(client, [9; 24]),
            server: Server::new(Arc::new(server), support::SEED),
            office,
            now: Instant::now(),
            read: usize::MAX,
            events: Vec::new(),
            said: (Vec::new(), Vec::new()),
            tls: false,
            open: true,
        }
    }

    /// Runs until both wait for each other or for time; the earlier of their times.
    fn run(&mut self) -> Option<Instant> {
        loop {
            let (from_server, server) = self.step_server();
            let (from_client, client) = self.step_client();
            if server == Rest::Tls && client == Rest::Tls {
                assert!(from_client.is_empty() && from_server.is_empty());
                self.tls = true;
                self.server.tls_started(support::tls_facts());
                self.client.tls_started(support::tls_facts());
                continue;
            }
            let quiet = from_server.is_empty() && from_client.is_empty();
            for piece in from_server.chunks(self.read.min(1 << 20)) {
                self.client.receive(piece);
                let (more, _) = self.step_client();
                self.server.receive(&more);
            }
            for piece in from_client.chunks(self.read.min(1 << 20)) {
                self.server.receive(piece);
            }
            match (&server, &client) {
                (Rest::Closes, Rest::Closes) => {
                    self.open = false;
                    return None;
                }
                (Rest::Closes, _) if quiet => self.client.end_of_input(),
                (_, Rest::Closes) if quiet => self.server.end_of_input(),
                (Rest::Waits(one), Rest::Waits(other)) if quiet => {
                    return [*one, *other].into_iter().flatten().min();
                }
                _ => {}
            }
        }
    }

    fn step_server(&mut self) -> (Vec<u8>, Rest) {
        let mut sent = Vec::new();
        let rest = loop {
            match self.server.next(self.now) {
                Step::Send(bytes) => sent.extend_from_slice(&bytes),
                Step::Event(event) => self.office.answer(&mut self.server, event),
                Step::StartTls => break Rest::Tls,
                Step::Wait { until } => break Rest::Waits(until),
                Step::Close => break Rest::Closes,
            }
        };
        self.said.1.extend_from_slice(&sent);
        (sent, rest)
    }

    fn step_client(&mut self) -> (Vec<u8>, Rest) {
        let mut sent = Vec::new();
        let rest = loop {
            match self.client.next(self.now) {
                Step::Send(bytes) => sent.extend_from_slice(&bytes),
                Step::Event(event) => self.events.push(event),
                Step::StartTls => break Rest::Tls,
                Step::Wait { until } => break Rest::Waits(until),
                Step::Close => break Rest::Closes,
            }
        };
        self.said.0.extend_from_slice(&sent);
        (sent, rest)
    }

    fn request(&mut self, command: Command) {
        self.client.request(command).unwrap();
    }

    /// Lets time go by until something happens or nothing will.
    fn wait(&mut self) -> Duration {
        let from = self.now;
        while let Some(until) = self.run() {
            assert!(until > self.now, "waits for a time that has passed");
            self.now = until;
        }
        self.now - from
    }

    fn failure(&self) -> Option<&Error> {
        self.events.iter().find_map(|event| match event {
            Event::Failed(error) => Some(error),
            _ => None,
        })
    }

    /// The texts of all messages that came, by number.
    fn texts(&self) -> HashMap<u64, Vec<u8>> {
        let mut texts = HashMap::new();
        let mut text = Vec::new();
        for event in &self.events {
            match event {
                Event::Text(chunk) => text.extend_from_slice(chunk),
                Event::Done { command: Command::Retr(number) } => {
                    texts.insert(*number, std::mem::take(&mut text));
                }
                _ => {}
            }
        }
        texts
    }
}

fn mrose() -> Option<Credentials> {
    Some(Credentials { username: "mrose".into(), password: "tanstaaf".into(), authzid: None })
}

fn all_mechanisms() -> server::Config {
    let mut config = server::Config::new("mail.example.org");
    config.stls = true;
    config.mechanisms = Mechanism::ALL.to_vec();
    config
}

/// A message as a client gets it: with a CRLF at its end.
fn as_received(message: &[u8]) -> Vec<u8> {
    let lacks_end = !message.is_empty() && !message.ends_with(b"\r\n");
    [message, if lacks_end { b"\r\n" } else { b"" }].concat()
}

#[test]
fn everything_over_tls() {
    let messages: Vec<Vec<u8>> = vec![
        support::rfc_1939()[0].clone(),
        b"Subject: dots\r\n\r\n.\r\n..\r\n...\r\n.x\r\n".to_vec(),
        Vec::new(),
        b"no end".to_vec(),
        b"bare\n.\n..\n.\r\n\r.\r\n+OK\r\n-ERR\r\n".to_vec(),
        vec![b'.'; 100_000],
        b".\r\n".repeat(10_000),
    ];
    for (window, read) in [(64, usize::MAX), (1, usize::MAX), (64, 1), (3, 7)] {
        let mut pair = Pair::new(
            client::Config { window, ..client::Config::new(mrose()) },
            all_mechanisms(),
            PostOffice::with(&messages),
        );
        pair.read = read;
        pair.request(Command::Stat);
        pair.request(Command::Uidl(None));
        pair.request(Command::List(None));
        for number in 1..=messages.len() as u64 {
            pair.request(Command::Retr(number));
            if number % 2 == 0 {
                pair.request(Command::Dele(number));
            }
        }
        pair.request(Command::Quit);
        pair.run();
        assert_eq!(pair.failure(), None);
        assert!(pair.tls && !pair.open);
        let said = String::from_utf8_lossy(&pair.said.0).into_owned();
        assert!(said.contains("AUTH SCRAM-SHA-256-PLUS ") && !said.contains("tanstaaf"), "{said}");
        assert_eq!(pair.office.deleted, [1, 3, 5]);
        let texts = pair.texts();
        for (index, message) in messages.iter().enumerate() {
            assert_eq!(texts[&(index as u64 + 1)], as_received(message), "message {}", index + 1);
        }
        let octets: usize = messages.iter().map(Vec::len).sum();
        assert!(pair.events.contains(&Event::Drop { messages: 7, octets: octets as u64 }));
        assert!(pair.events.contains(&Event::UniqueId { number: 7, id: "uid:0007".into() }));
        assert!(pair.events.contains(&Event::Scan { number: 6, octets: 100_000 }));
        assert_eq!(pair.events.last(), Some(&Event::Done { command: Command::Quit }));
    }
}

#[test]
fn every_way_to_log_in() {
    for (mechanisms, apop, in_clear, expected) in [
        (&Mechanism::ALL[..], true, false, "AUTH SCRAM-SHA-256 "),
        (&[Mechanism::ScramSha1][..], true, true, "AUTH SCRAM-SHA-1 "),
        (&[Mechanism::Plain, Mechanism::Login][..], false, true, "AUTH PLAIN "),
        (&[Mechanism::Login][..], false, true, "AUTH LOGIN\r\n"),
        (&[Mechanism::Plain][..], true, true, "APOP mrose "),
        (&[][..], true, false, "APOP mrose "),
        (&[][..], false, true, "USER mrose\r\nPASS tanstaaf\r\n"),
    ] {
        let mut server = server::Config::new("mail.example.org");
        server.mechanisms = mechanisms.to_vec();
        server.apop = apop;
        server.plaintext_logins = true;
        let mut client = client::Config::new(mrose());
        client.tls = TlsPolicy::Never;
        client.password_in_clear = in_clear;
        client.apop = apop;
        let mut pair = Pair::new(client, server, PostOffice::with(support::rfc_1939()));
        pair.request(Command::Quit);
        pair.run();
        let said = String::from_utf8_lossy(&pair.said.0).into_owned();
        assert!(said.contains(expected), "{said}");
        assert_eq!(pair.events.last(), Some(&Event::Done { command: Command::Quit }), "{said}");
    }
}

#[test]
fn a_wrong_password_is_nobodys_fault_but_the_users() {
    let credentials = Credentials { password: "wrong".into(), ..mrose().unwrap() };
    for mechanism in Mechanism::ALL {
        let config = server::Config { mechanisms: vec![mechanism], ..all_mechanisms() };
        let client = client::Config::new(Some(credentials.clone()));
        let mut pair = Pair::new(client, config, PostOffice::with(support::rfc_1939()));
        pair.run();
        let error = pair.failure().unwrap();
        assert!(matches!(error, Error::Login(_)), "{error}");
        assert_eq!(error.fault(), client::Fault::Credentials);
    }
}

#[test]
fn names_beyond_ascii() {
    let jorg = Credentials { username: "jörg".into(), password: "pässwörd".into(), authzid: None };
    for mechanisms in [vec![], vec![Mechanism::Plain], vec![Mechanism::ScramSha256Plus]] {
        let config = server::Config { mechanisms, ..all_mechanisms() };
        let mut pair =
            Pair::new(client::Config::new(Some(jorg.clone())), config, PostOffice::with(support::rfc_1939()));
        pair.request(Command::Quit);
        pair.run();
        assert_eq!(pair.failure(), None);
    }
}

#[test]
fn silence_ends_after_ten_minutes_and_deletes_nothing() {
    let mut pair =
        Pair::new(client::Config::new(mrose()), all_mechanisms(), PostOffice::with(support::rfc_1939()));
    pair.request(Command::Dele(1));
    assert_eq!(pair.wait(), Duration::from_secs(600));
    assert!(!pair.open);
    assert_eq!(pair.failure(), Some(&Error::Closed));
    assert!(pair.office.deleted.is_empty());
}

#[test]
fn a_server_that_says_nothing() {
    let mut client = Client::new(client::Config::new(mrose()), [9; 24]);
    let now = Instant::now();
    let Step::Wait { until: Some(until) } = client.next(now) else { panic!("does not wait") };
    assert!(matches!(client.next(until), Step::Event(Event::Failed(Error::Timeout))));
    assert!(matches!(client.next(until), Step::Close));
}

#[test]
fn top_does_not_read_the_rest() {
    let message = [&b"Subject: long\r\n\r\n"[..], &b"line\r\n".repeat(100_000)].concat();
    let mut pair = Pair::new(client::Config::new(mrose()), all_mechanisms(), PostOffice::with([&message]));
    pair.request(Command::Top { message: 1, lines: 3 });
    pair.request(Command::Quit);
    pair.run();
    assert_eq!(pair.office.pieces_asked, 1);
    let text: Vec<u8> = pair
        .events
        .iter()
        .filter_map(|event| if let Event::Text(chunk) = event { Some(chunk.to_vec()) } else { None })
        .flatten()
        .collect();
    assert_eq!(text, b"Subject: long\r\n\r\nline\r\nline\r\nline\r\n");
}

#[test]
fn a_big_message_is_never_held_whole() {
    let message = b"0123456789abcdef\r\n".repeat(100_000);
    let mut office = PostOffice::with([&message]);
    office.chunk = 64 * 1024;
    let mut server =
        Server::new(Arc::new(server::Config { plaintext_logins: true, ..all_mechanisms() }), support::SEED);
    server.receive(b"USER mrose\r\nPASS tanstaaf\r\nRETR 1\r\n");
    let now = Instant::now();
    let mut sent = 0;
    let mut since_asked = 0;
    loop {
        match server.next(now) {
            Step::Send(bytes) => {
                sent += bytes.len();
                since_asked += bytes.len();
            }
            Step::Event(event) => {
                assert!(since_asked <= 64 * 1024 + 1024, "gives {since_asked} octets without asking");
                since_asked = 0;
                office.answer(&mut server, event);
            }
            Step::Wait { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(sent > message.len());
}

proptest! {
    #[test]
    fn any_message_comes_through(
        messages in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(b'a'), any::<u8>()], 0..60),
            1..5,
        ),
        chunk in 1_usize..20,
        read in 1_usize..40,
    ) {
        let mut office = PostOffice::with(&messages);
        office.chunk = chunk;
        let client = client::Config { tls: TlsPolicy::Never, password_in_clear: true, ..client::Config::new(mrose()) };
        let mut pair = Pair::new(client, server::Config { plaintext_logins: true, ..all_mechanisms() }, office);
        pair.read = read;
        for number in 1..=messages.len() as u64 {
            pair.request(Command::Retr(number));
        }
        pair.request(Command::Quit);
        pair.run();
        prop_assert_eq!(pair.failure(), None);
        let texts = pair.texts();
        for (index, message) in messages.iter().enumerate() {
            prop_assert_eq!(&texts[&(index as u64 + 1)], &as_received(message));
        }
    }

    /// Whatever a client sends: no panic, an end to each answer, bounded output.
    #[test]
    fn any_input_is_survived(
        input in proptest::collection::vec(
            prop_oneof![
                Just(b"USER mrose\r\n".to_vec()), Just(b"PASS tanstaaf\r\n".to_vec()), Just(b"RETR 1\r\n".to_vec()),
                Just(b"AUTH PLAIN\r\n".to_vec()), Just(b"STLS\r\n".to_vec()), Just(b"DELE 2\r\n".to_vec()),
                Just(b"QUIT\r\n".to_vec()), Just(b"UIDL\r\n".to_vec()), Just(b"TOP 2 1\r\n".to_vec()),
                Just(b"LIST\r\n".to_vec()), Just(b"AUTH SCRAM-SHA-256 biwsbj1tcm9zZSxyPWFiYw==\r\n".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..50),
            ],
            0..40,
        ),
        read in 1_usize..100,
    ) {
        let mut office = PostOffice::with(support::rfc_1939());
        let config = server::Config { plaintext_logins: true, ..all_mechanisms() };
        let mut server = Server::new(Arc::new(config), support::SEED);
        let now = Instant::now();
        let input = input.concat();
        let mut closed = false;
        for piece in input.chunks(read).map(Some).chain([None]) {
            match piece {
                Some(piece) => server.receive(piece),
                None => server.end_of_input(),
            }
            for steps in 0.. {
                prop_assert!(steps < 10_000);
                match server.next(now) {
                    Step::Send(bytes) => prop_assert!(!closed && !bytes.is_empty()),
                    Step::Event(event) => office.answer(&mut server, event),
                    Step::StartTls => server.tls_started(support::tls_facts()),
                    Step::Wait { .. } => break,
                    Step::Close => {
                        closed = true;
                        break;
                    }
                }
            }
        }
        prop_assert!(closed);
    }
}
