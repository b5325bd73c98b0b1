//! A client and a server session talking to each other, with time that goes by as told.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use packetboat_imap::client::{
    self, Client, Error, Event, Fault, Fetched, RemoteName, Request, TlsPolicy, Untagged,
};
use packetboat_imap::command::{self, FetchItem, Section, SectionItem, SectionText};
use packetboat_imap::response::{Code, Completion, Response, StatusItem, StatusValue};
use packetboat_imap::server::{self, BACKLOG_HIGH, Server};
use packetboat_imap::value::{Flag, SystemFlags};
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
    /// Messages the client appends, the next one in front.
    outgoing: Vec<Vec<u8>>,
    given: usize,
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
            outgoing: Vec::new(),
            given: 0,
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
                Step::Event(Event::Append { left }) => {
                    let message = &self.outgoing[0][self.given..];
                    assert_eq!(message.len() as u64, left);
                    let piece = &message[..message.len().min(10_000)];
                    self.client.append_chunk(piece);
                    self.given += piece.len();
                }
                Step::Event(event) => {
                    if let Event::Done { request: Request::Append { .. }, .. }
                    | Event::Refused { request: Request::Append { .. }, .. } = &event
                    {
                        self.outgoing.remove(0);
                        self.given = 0;
                    }
                    self.events.push(event);
                }
                Step::StartTls => break Rest::Tls,
                Step::Wait { until } => break Rest::Waits(until),
                Step::Close => break Rest::Closes,
            }
        };
        self.said.0.extend_from_slice(&sent);
        (sent, rest)
    }

    fn request(&mut self, request: Request) {
        self.client.request(request).unwrap();
    }

    fn append(&mut self, mailbox: &str, message: &[u8]) {
        self.outgoing.push(message.to_vec());
        self.request(Request::Append {
            mailbox: name(mailbox),
            flags: vec![Flag::Seen],
            date: Some(0),
            octets: message.len() as u64,
        });
    }

    fn failure(&self) -> Option<&Error> {
        self.events.iter().find_map(|event| match event {
            Event::Failed(error) => Some(error),
            _ => None,
        })
    }

    fn refusals(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Refused { .. })).count()
    }

    /// All messages that came, with the octets of their section.
    fn fetched(&self) -> Vec<(Fetched, Vec<u8>)> {
        let mut messages = Vec::new();
        let mut body = Vec::new();
        for event in &self.events {
            match event {
                Event::Octets(octets) => body.extend_from_slice(octets),
                Event::Fetched(fetched) => messages.push(((**fetched).clone(), std::mem::take(&mut body))),
                _ => {}
            }
        }
        messages
    }

    fn untagged(&self) -> Vec<&Untagged> {
        let mut told = Vec::new();
        for event in &self.events {
            if let Event::Untagged(untagged) = event {
                told.push(untagged);
            }
        }
        told
    }
}

fn name(text: &str) -> RemoteName {
    RemoteName::new(text.as_bytes().to_vec())
}

fn mrose() -> Option<Credentials> {
    Some(Credentials { username: "mrose".into(), password: "tanstaaf".into(), authzid: None })
}

fn all_mechanisms() -> server::Config {
    let mut config = server::Config::new("mail.example.org");
    config.starttls = true;
    config.mechanisms = Mechanism::ALL.to_vec();
    config.implementation = Some(("packetboat".into(), "1".into()));
    config
}

fn in_clear() -> (client::Config, server::Config) {
    let client =
        client::Config { tls: TlsPolicy::Never, password_in_clear: true, ..client::Config::new(mrose()) };
    (client, server::Config { plaintext_logins: true, ..all_mechanisms() })
}

fn select(mailbox: &str) -> Request {
    Request::Select { mailbox: name(mailbox), examine: false, condstore: false }
}

fn whole() -> FetchItem {
    FetchItem::Section(Section {
        item: SectionItem::Body,
        peek: true,
        path: vec![],
        text: SectionText::Whole,
        partial: None,
    })
}

fn fetch_all() -> Request {
    Request::Fetch {
        uids: "1:*".parse().unwrap(),
        items: vec![FetchItem::Uid, FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size, whole()],
        changed_since: None,
    }
}

#[test]
fn everything_over_tls() {
    let messages: Vec<Vec<u8>> = vec![
        b"Subject: a\r\n\r\nb\r\n".to_vec(),
        b"no end".to_vec(),
        b") {5}\r\nA9 OK\r\n* BYE\r\n\"\\".to_vec(),
        vec![b'{'; 100_000],
        (1..=255).collect(),
    ];
    for (window, read) in [(1, usize::MAX), (8, usize::MAX), (8, 1), (3, 7)] {
        let mut config = client::Config { window, ..client::Config::new(mrose()) };
        config.id = vec![("name".into(), "test".into())];
        config.enable = vec!["CONDSTORE".into()];
        let mut pair = Pair::new(config, all_mechanisms(), PostOffice::new());
        pair.office.mailboxes[0].messages.clear();
        pair.read = read;
        pair.request(Request::List { lsub: false, reference: name(""), pattern: name("*"), status: vec![] });
        for message in &messages {
            pair.append("INBOX", message);
        }
        pair.request(Request::Status { mailbox: name("INBOX"), items: vec![StatusItem::Messages] });
        pair.request(Request::Status { mailbox: name("Entw&APw-rfe"), items: vec![StatusItem::UidNext] });
        pair.request(select("INBOX"));
        pair.request(fetch_all());
        pair.request(Request::Unselect);
        pair.request(Request::Logout);
        pair.run();
        assert_eq!(pair.failure(), None);
        assert!(pair.tls && !pair.open && pair.client.is_enabled("condstore"));
        assert_eq!((pair.refusals(), pair.client.pending()), (0, 0));
        let said = String::from_utf8_lossy(&pair.said.0).into_owned();
        assert!(said.contains(" AUTHENTICATE SCRAM-SHA-256-PLUS ") && !said.contains("tanstaaf"), "{said}");
        let came = pair.fetched();
        assert_eq!(came.len(), messages.len());
        for (index, ((fetched, body), message)) in came.iter().zip(&messages).enumerate() {
            assert_eq!(body, message, "message {index}");
            assert_eq!(fetched.number as usize, index + 1);
            assert_eq!(fetched.uid, Some(fetched.number + 4));
            assert_eq!(fetched.size, Some(message.len() as u64));
            assert_eq!(fetched.flags, Some(vec![Flag::Seen]));
            assert_eq!(fetched.internal_date, Some(0));
        }
        let untagged = pair.untagged();
        let listed = |mailbox: &str| {
            untagged.iter().any(|untagged| {
                matches!(untagged, Untagged::List(listing)
                    if listing.mailbox == name(mailbox) && listing.separator == Some('/'))
            })
        };
        assert!(listed("INBOX") && listed("Drafts") && listed("Entw&APw-rfe"));
        let status = |mailbox: &str, item, number| {
            untagged.contains(&&Untagged::Status(name(mailbox), vec![(item, StatusValue::Number(number))]))
        };
        assert!(status("INBOX", StatusItem::Messages, 5));
        assert!(status("Entw&APw-rfe", StatusItem::UidNext, 1));
        assert!(untagged.contains(&&Untagged::Exists(5)));
        let Some(Event::Done { request: Request::Logout, .. }) = pair.events.last() else { panic!() };
    }
}

#[test]
fn every_way_to_log_in() {
    for (mechanisms, in_clear, expected) in [
        (&Mechanism::ALL[..], false, " AUTHENTICATE SCRAM-SHA-256 "),
        (&[Mechanism::ScramSha1][..], true, " AUTHENTICATE SCRAM-SHA-1 "),
        (&[Mechanism::Plain, Mechanism::Login][..], true, " AUTHENTICATE PLAIN "),
        (&[Mechanism::Login][..], true, " AUTHENTICATE LOGIN\r\n"),
        (&[][..], true, " LOGIN mrose tanstaaf\r\n"),
    ] {
        let server =
            server::Config { mechanisms: mechanisms.to_vec(), plaintext_logins: true, ..all_mechanisms() };
        let mut client = client::Config::new(mrose());
        client.tls = TlsPolicy::Never;
        client.password_in_clear = in_clear;
        let mut pair = Pair::new(client, server, PostOffice::new());
        pair.request(Request::Logout);
        pair.run();
        let said = String::from_utf8_lossy(&pair.said.0).into_owned();
        assert!(said.contains(expected), "{said}");
        assert_eq!(pair.failure(), None, "{said}");
    }
}

#[test]
fn a_wrong_password_is_nobodys_fault_but_the_users() {
    let credentials = Credentials { password: "wrong".into(), ..mrose().unwrap() };
    for mechanisms in Mechanism::ALL.map(|mechanism| vec![mechanism]).into_iter().chain([vec![]]) {
        let config = server::Config { mechanisms, ..all_mechanisms() };
        let client = client::Config::new(Some(credentials.clone()));
        let mut pair = Pair::new(client, config, PostOffice::new());
        pair.run();
        let error = pair.failure().unwrap();
        assert!(matches!(error, Error::Login(_)), "{error}");
        assert_eq!(error.fault(), Fault::Credentials);
    }
}

#[test]
fn names_beyond_ascii() {
    let jorg = Credentials { username: "jörg".into(), password: "pässwörd".into(), authzid: None };
    for mechanisms in [vec![], vec![Mechanism::Plain], vec![Mechanism::ScramSha256Plus]] {
        let config = server::Config { mechanisms, ..all_mechanisms() };
        let mut pair = Pair::new(client::Config::new(Some(jorg.clone())), config, PostOffice::new());
        pair.request(Request::Logout);
        pair.run();
        assert_eq!(pair.failure(), None);
    }
}

#[test]
fn names_in_utf8_once_that_is_enabled() {
    for enable in ["IMAP4rev2", "UTF8=ACCEPT"] {
        let (mut client, server) = in_clear();
        client.enable = vec![enable.into()];
        let mut pair = Pair::new(client, server, PostOffice::new());
        pair.request(select("Entwürfe"));
        pair.request(Request::List { lsub: false, reference: name(""), pattern: name("*"), status: vec![] });
        pair.run();
        assert_eq!((pair.failure(), pair.refusals()), (None, 0));
        let found = |untagged: &&Untagged| matches!(untagged, Untagged::List(listing) if listing.mailbox == name("Entwürfe"));
        assert!(pair.untagged().iter().any(found), "{enable}");
    }
}

#[test]
fn idling_half_an_hour() {
    let (client, server) = in_clear();
    let mut pair = Pair::new(client, server, PostOffice::new());
    pair.request(select("INBOX"));
    pair.request(Request::Idle);
    pair.run();
    assert_eq!(pair.events.last(), Some(&Event::Idling));
    let from = pair.now;
    while let Some(until) = pair.run() {
        if until > from + Duration::from_secs(1740) {
            break;
        }
        pair.now = until;
    }
    pair.server.say(&Response::Exists(4));
    pair.run();
    assert_eq!(pair.untagged().last(), Some(&&Untagged::Exists(4)));
    pair.client.idle_done();
    pair.request(Request::Noop);
    pair.run();
    assert_eq!(pair.failure(), None);
    let Some(Event::Done { request: Request::Noop, .. }) = pair.events.last() else { panic!() };
}

#[test]
fn refusals_do_not_end_the_session() {
    for at in ["message", "chunk", "end"] {
        let (client, server) = in_clear();
        let mut pair = Pair::new(client, server, PostOffice::new());
        pair.office.append_refused = Some(at.into());
        for octets in [10, 100_000] {
            pair.append("INBOX", &vec![b'x'; octets]);
            pair.append("Nowhere", &vec![b'x'; octets]);
        }
        pair.request(Request::Noop);
        pair.run();
        assert_eq!((pair.failure(), pair.refusals()), (None, 4), "{at}");
        let codes: Vec<_> = pair
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Refused { completion, .. } => Some(completion.code().cloned()),
                _ => None,
            })
            .collect();
        assert_eq!(codes.iter().filter(|code| **code == Some(Code::TryCreate)).count(), 2, "{at}");
        let Some(Event::Done { request: Request::Noop, .. }) = pair.events.last() else { panic!("{at}") };
    }
}

/// Says one big message in pieces, as far as there is room.
#[test]
fn a_big_message_is_never_held_whole() {
    let size: u64 = 20_000_000;
    let (client, server) = in_clear();
    let mut server = Server::new(Arc::new(server), support::SEED);
    let mut client = Client::new(client, [9; 24]);
    client.request(select("INBOX")).unwrap();
    client.request(fetch_all()).unwrap();
    client.request(Request::Logout).unwrap();
    let mut office = PostOffice::new();
    let now = Instant::now();
    let mut left: Option<u64> = None;
    let mut received = 0;
    let mut largest = 0;
    loop {
        let from_client = loop {
            match client.next(now) {
                Step::Send(octets) => break octets,
                Step::Event(Event::Octets(octets)) => received += octets.len() as u64,
                Step::Event(Event::Failed(error)) => panic!("{error}"),
                Step::Event(_) => {}
                Step::Wait { .. } => break bytes::Bytes::new(),
                _ => {
                    assert_eq!(received, size);
                    assert!(largest <= 3 * BACKLOG_HIGH, "{largest}");
                    return;
                }
            }
        };
        server.receive(&from_client);
        loop {
            match server.next(now) {
                Step::Send(octets) => {
                    largest = largest.max(octets.len());
                    client.receive(&octets);
                    break;
                }
                Step::Event(server::Event::Request(request)) => match *request {
                    command::Request::Fetch(fetch) => {
                        let Some(FetchItem::Section(section)) = fetch.items.last() else { panic!() };
                        server.fetch(1).uid(1).begin_section(section, size);
                        left = Some(size);
                    }
                    other => office.answer(&mut server, server::Event::Request(Box::new(other))),
                },
                Step::Event(server::Event::Resume) => {
                    let rest = left.as_mut().unwrap();
                    while *rest > 0 && server.backlog() <= BACKLOG_HIGH {
                        let piece = vec![b'x'; (*rest).min(50_000) as usize];
                        *rest -= piece.len() as u64;
                        server.fetch_resume(true).literal(&piece);
                    }
                    if *rest == 0 {
                        server.fetch_resume(true).finish();
                        server.complete(Completion::ok("Done"));
                    }
                }
                Step::Event(event) => office.answer(&mut server, event),
                _ => break,
            }
        }
    }
}

proptest! {
    #[test]
    fn any_message_goes_in_and_comes_out(
        messages in proptest::collection::vec(
            proptest::collection::vec(
                prop_oneof![Just(b')'), Just(b'\r'), Just(b'\n'), Just(b'{'), Just(b'}'), 1..=255_u8],
                1..60,
            ),
            1..5,
        ),
        read in 1_usize..40,
    ) {
        let (client, server) = in_clear();
        let mut pair = Pair::new(client, server, PostOffice::new());
        pair.office.mailboxes[1].messages.clear();
        pair.read = read;
        for message in &messages {
            pair.append("Drafts", message);
        }
        pair.request(select("Drafts"));
        pair.request(fetch_all());
        pair.request(Request::Logout);
        pair.run();
        prop_assert_eq!((pair.failure(), pair.refusals()), (None, 0));
        let came: Vec<Vec<u8>> = pair.fetched().into_iter().map(|(_, body)| body).collect();
        prop_assert_eq!(came, messages);
        prop_assert!(pair.office.mailboxes[1].messages.iter().all(|m| m.flags == SystemFlags::SEEN));
    }
}
