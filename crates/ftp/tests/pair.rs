//! Our client and our server talking to each other, with data connections in memory and time that goes by as told.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use packetboat_ftp::client::{
    self, Client, ConnectionPolicy, Event, Login, Request, TlsPolicy, What, quoted_path, unique_name,
};
use packetboat_ftp::command::{Command, PathName, parse};
use packetboat_ftp::data::container::HEADER_OCTETS;
use packetboat_ftp::data::{
    ByteSize, Format, Inbound, Mode, News, Options, Outbound, Representation, Restart, Structure, Type,
};
use packetboat_ftp::server::{self, Answer, Refusal, Server, TransferFailure, Transferred};
use packetboat_wire::{Secret, Session as _, Step, TlsFacts};

/// The server's files, as they lie on disk.
#[derive(Debug, Default)]
struct Depot {
    files: BTreeMap<String, Vec<u8>>,
    running: Option<server::Transfer>,
    aborted: bool,
}

/// Both ends of a control connection, and the data connection that is under way.
struct Pair {
    client: Client,
    server: Server,
    depot: Depot,
    now: Instant,
    /// Where what goes over the line is cut: after so many octets, over and over; and once at this octet.
    read: usize,
    cut: Option<usize>,
    carried: usize,
    /// What the client sends in its transfers that store.
    sent: VecDeque<Vec<u8>>,
    /// What came in those that fetch.
    got: Vec<Vec<u8>>,
    /// How transfers ended, and what commands were answered.
    ended: Vec<String>,
    markers: Vec<(String, String)>,
    opened: bool,
    abort: bool,
    /// A data connection breaks after so many octets.
    breaks_at: Option<usize>,
}

#[derive(Debug, PartialEq)]
enum Rest {
    Waits(Option<Instant>),
    Tls,
    Closes,
}

fn options() -> Options {
    Options { marker_every: Some(50), ..Options::default() }
}

/// What is sent of a file.
fn wire(disk: &[u8], representation: Representation, restart: Restart) -> Result<Vec<u8>, Refusal> {
    let mut outbound =
        Outbound::new(representation, &options(), disk, restart).map_err(|_| Refusal::InvalidRestart)?;
    let (mut wire, mut rest) = (Vec::new(), &disk[outbound.position() as usize..]);
    while !rest.is_empty() {
        outbound.push(&mut rest, &mut wire, usize::MAX).unwrap();
    }
    while !outbound.finish(&mut wire, usize::MAX).unwrap() {}
    Ok(wire)
}

impl Pair {
    fn new(change: impl FnOnce(&mut client::Config)) -> Pair {
        let login =
            Login { name: "anna".into(), password: Secret::from("secret"), account: Some("lab".into()) };
        let mut config = client::Config::new([192, 0, 2, 1].into(), Some(login));
        change(&mut config);
        Pair {
            client: Client::new(config),
            server: Server::new(Arc::new(server::Config::default())),
            depot: Depot::default(),
            now: Instant::now(),
            read: usize::MAX,
            cut: None,
            carried: 0,
            sent: VecDeque::new(),
            got: Vec::new(),
            ended: Vec::new(),
            markers: Vec::new(),
            opened: false,
            abort: false,
            breaks_at: None,
        }
    }

    fn request(&mut self, line: &str) {
        let command = parse(line.as_bytes()).unwrap();
        self.client.request(Request::Command(command)).unwrap();
    }

    fn transfer(&mut self, what: What, representation: Representation) {
        self.client.request(Request::Transfer(client::Transfer::new(what, representation))).unwrap();
    }

    fn step_server(&mut self) -> (Vec<u8>, Rest) {
        let mut sent = Vec::new();
        let rest = loop {
            match self.server.next(self.now) {
                Step::Send(bytes) => sent.extend_from_slice(&bytes),
                Step::Event(event) => self.depot.event(&mut self.server, event),
                Step::StartTls => break Rest::Tls,
                Step::Wait { until } => break Rest::Waits(until),
                Step::Close => break Rest::Closes,
            }
        };
        (sent, rest)
    }

    fn step_client(&mut self) -> (Vec<u8>, Rest) {
        let mut sent = Vec::new();
        let rest = loop {
            match self.client.next(self.now) {
                Step::Send(bytes) => sent.extend_from_slice(&bytes),
                Step::Event(event) => self.told(event),
                Step::StartTls => break Rest::Tls,
                Step::Wait { until } => break Rest::Waits(until),
                Step::Close => break Rest::Closes,
            }
        };
        (sent, rest)
    }

    fn told(&mut self, event: Event) {
        match event {
            Event::Connect(at) => {
                assert_eq!(at, ([192, 0, 2, 1], 5282).into());
                self.client.connected();
            }
            Event::Listen => self.client.listening(([192, 0, 2, 7], 5282).into()),
            Event::Opened { reply, .. } => {
                self.opened = true;
                if let Some(name) = unique_name(&reply) {
                    self.ended.push(format!("to {}", name.to_text()));
                }
                if std::mem::take(&mut self.abort) {
                    self.client.status();
                    self.client.abort();
                }
            }
            Event::Marker { ours, theirs } => self.markers.push((ours, theirs)),
            Event::Status(reply) => self.ended.push(format!("status {}", reply.code())),
            Event::Done { reply, .. } => {
                let path = quoted_path(&reply).map(|path| format!(" {}", path.to_text())).unwrap_or_default();
                self.ended.push(format!("{}{path}", reply.code()));
            }
            Event::Refused { reply, .. } => self.ended.push(reply.code().to_string()),
            Event::NotConnected { .. } => panic!("it was connected"),
            Event::Failed(error) => self.ended.push(error.to_string()),
            Event::Ready => self.ended.push("ready".to_owned()),
        }
    }

    /// The data of the transfer that both sides know of.
    fn carry_data(&mut self) -> bool {
        if !self.opened {
            return false;
        }
        let Some(transfer) = self.depot.running.take() else { return false };
        self.opened = false;
        let outcome = match &transfer.what {
            server::What::Retrieve(path) => {
                let sent =
                    wire(&self.depot.files[&path.to_text()], transfer.representation, transfer.restart)
                        .unwrap();
                let broken = self.breaks_at.take();
                self.got.push(sent[..broken.unwrap_or(sent.len()).min(sent.len())].to_vec());
                if broken.is_some() { Err(TransferFailure::ConnectionLost) } else { Ok(sent.len()) }
            }
            server::What::Store(path) | server::What::Append(path) => self.receive(&transfer, path.to_text()),
            server::What::StoreUnique(_) => self.receive(&transfer, "unique.1".to_owned()),
            _ => {
                self.got.push(b"listing\r\n".to_vec());
                Ok(9)
            }
        };
        self.client.data_ended();
        let stays_open = transfer.representation.mode != Mode::Stream && outcome.is_ok();
        self.server.transfer_ended(outcome.map(|octets| Transferred {
            octets: octets as u64,
            stays_open,
            note: None,
        }));
        true
    }

    fn receive(&mut self, transfer: &server::Transfer, name: String) -> Result<usize, TransferFailure> {
        let sent = self.sent.pop_front().unwrap();
        let broken = self.breaks_at.take();
        let mut disk = match transfer.restart {
            Restart::None if !transfer.goes_on() => Vec::new(),
            Restart::Marker(place) => self.depot.files[&name][..place as usize].to_vec(),
            _ => self.depot.files.get(&name).cloned().unwrap_or_default(),
        };
        let mut inbound = Inbound::new(transfer.representation, &transfer.options, None);
        if disk.is_empty() {
            disk.extend(inbound.header().iter().flatten());
        }
        let origin = disk.len() as u64;
        let mut news = Vec::new();
        inbound
            .push(&sent[..broken.unwrap_or(sent.len())], &mut disk, &mut news)
            .map_err(TransferFailure::Data)?;
        for one in news {
            if let News::Marker { marker, octets } = one {
                self.server.marker(&marker, origin + octets);
            }
        }
        if broken.is_none() {
            let end = inbound.finish(&mut disk).map_err(TransferFailure::Data)?;
            if let Some(header) = end.header {
                disk[..HEADER_OCTETS].copy_from_slice(&header);
            }
        }
        self.depot.files.insert(name, disk);
        if broken.is_some() { Err(TransferFailure::ConnectionLost) } else { Ok(sent.len()) }
    }

    /// Hands octets over, cut as told.
    fn cut(&mut self, octets: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        for chunk in octets.chunks(self.read.min(1 << 20)) {
            let at = self.cut.and_then(|cut| cut.checked_sub(self.carried)).unwrap_or(0);
            self.carried += chunk.len();
            let (before, after) = chunk.split_at(at.min(chunk.len()));
            pieces.extend([before, after].into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec));
        }
        pieces
    }

    /// Runs until both wait for each other or for time; the earlier of their times.
    fn run(&mut self) -> Option<Instant> {
        loop {
            let (from_server, server) = self.step_server();
            for piece in self.cut(&from_server) {
                self.client.receive(&piece);
                let (more, _) = self.step_client();
                for piece in self.cut(&more) {
                    self.server.receive(&piece);
                }
            }
            let (from_client, client) = self.step_client();
            for piece in self.cut(&from_client) {
                self.server.receive(&piece);
            }
            let quiet = from_server.is_empty() && from_client.is_empty();
            match (&server, &client) {
                (Rest::Tls, Rest::Tls) => {
                    self.server.tls_started(TlsFacts::default());
                    self.client.tls_started(TlsFacts::default());
                }
                (Rest::Closes, Rest::Closes) => return None,
                (Rest::Closes, _) if quiet => self.client.end_of_input(),
                (_, Rest::Closes) if quiet => self.server.end_of_input(),
                (Rest::Waits(_), Rest::Waits(_)) if quiet && std::mem::take(&mut self.depot.aborted) => {
                    self.opened = false;
                    self.depot.running = None;
                    self.server.transfer_ended(Err(TransferFailure::Aborted));
                }
                (Rest::Waits(one), Rest::Waits(other)) if quiet && !self.carry_data() => {
                    return [*one, *other].into_iter().flatten().min();
                }
                _ => {}
            }
        }
    }
}

impl Depot {
    fn event(&mut self, session: &mut Server, event: server::Event) {
        use server::Event;
        match event {
            Event::Host(_) | Event::User(_) | Event::Connect(_) => session.accept(),
            Event::Password(password) if password.expose() == "secret" => session.want_account(),
            Event::Password(_) => session.refuse(Refusal::LoginFailed),
            Event::Account(_) => session.logged_in(),
            Event::Listen(_) => session.listening(([192, 0, 2, 1], 5282).into()),
            Event::Request(request) => self.request(session, request),
            Event::Transfer(transfer) => {
                let missing = match &transfer.what {
                    server::What::Retrieve(path) => !self.files.contains_key(&path.to_text()),
                    _ => false,
                };
                if missing {
                    return session.refuse(Refusal::NotFound);
                }
                let inbound = !matches!(transfer.what, server::What::Retrieve(_) | server::What::List(_));
                let unique = matches!(transfer.what, server::What::StoreUnique(_));
                session.transfer_begins(
                    inbound,
                    false,
                    if unique { "FILE: unique.1" } else { "Now." }.to_owned(),
                );
                let mut transfer = *transfer;
                transfer.options.marker_every = options().marker_every;
                self.running = Some(transfer);
            }
            Event::Abort => self.aborted = true,
            Event::Progress => session.answer(Answer::Lines(vec!["half of it".to_owned()])),
            Event::Reinitialized | Event::CloseData => {}
            Event::ClearControl => session.tls_ended(),
        }
    }

    fn request(&mut self, session: &mut Server, request: server::Request) {
        use server::Request;
        match request {
            Request::WorkingDirectory => {
                session.answer(Answer::Directory(PathName::new("/a \"b\"").unwrap()))
            }
            Request::RenameFrom(path) if !self.files.contains_key(&path.to_text()) => {
                session.refuse(Refusal::NotFound);
            }
            Request::Rename(from, to) => {
                let octets = self.files.remove(&from.to_text()).unwrap();
                self.files.insert(to.to_text(), octets);
                session.answer(Answer::Done);
            }
            Request::Size(path, ..) => {
                session.answer(Answer::Number(self.files[&path.to_text()].len() as u64))
            }
            _ => session.answer(Answer::Done),
        }
    }
}

fn name(text: &str) -> PathName {
    PathName::new(text).unwrap()
}

fn with(ty: Type, structure: Structure, mode: Mode) -> Representation {
    Representation { ty, structure, mode }
}

const IMAGE: Representation =
    Representation { ty: Type::Image, structure: Structure::File, mode: Mode::Stream };

/// How requests ended, what was fetched, the files, and octets on the control connection.
type Session = (Vec<String>, Vec<Vec<u8>>, BTreeMap<String, Vec<u8>>, usize);

/// A whole session: what came of it.
fn session(read: usize, cut: Option<usize>) -> Session {
    let mut pair = Pair::new(|config| config.connection = ConnectionPolicy::Passive);
    (pair.read, pair.cut) = (read, cut);
    let records = with(Type::Ebcdic(Format::NonPrint), Structure::Record, Mode::Block);
    pair.request("PWD");
    pair.sent.push_back(b"some octets\xff\0".to_vec());
    pair.transfer(What::Store(name("file")), IMAGE);
    pair.transfer(What::Retrieve(name("file")), IMAGE);
    pair.transfer(What::Retrieve(name("nothing")), IMAGE);
    pair.sent.push_back(wire(b"one\ntwo\n", records, Restart::None).unwrap());
    pair.transfer(What::Store(name("records")), records);
    pair.transfer(What::Retrieve(name("records")), records);
    pair.transfer(What::Retrieve(name("records")), Representation::default());
    pair.client.request(Request::Rename(name("records"), name("lines"))).unwrap();
    pair.client.request(Request::Rename(name("nothing"), name("lines"))).unwrap();
    pair.sent.push_back(b"unique".to_vec());
    pair.transfer(What::StoreUnique(None), IMAGE);
    pair.transfer(What::List(None), Representation::default());
    pair.request("SIZE file");
    pair.request("QUIT");
    assert_eq!(pair.run(), None);
    (pair.ended, pair.got, pair.depot.files, pair.carried)
}

#[test]
fn a_session_goes_the_same_wherever_it_is_cut() {
    let whole = session(usize::MAX, None);
    let (ended, got, files, carried) = &whole;
    assert_eq!(
        ended.join(", "),
        "ready, 257 /a \"b\", 226, 226, 550, 250, 250, 226, 250, 550, to unique.1, 226, 226, 213, 221"
    );
    assert_eq!(files["lines"], b"one\ntwo\n");
    assert_eq!(files["unique.1"], b"unique");
    assert_eq!(got[0], files["file"]);
    assert_eq!(got[2], b"one\r\ntwo\r\n");
    for read in [1, 2, 3, 7] {
        assert_eq!(session(read, None), whole, "pieces of {read}");
    }
    for cut in 0..*carried {
        assert_eq!(session(usize::MAX, Some(cut)), whole, "cut at {cut}");
    }
}

#[test]
fn every_way_of_connecting() {
    for policy in [
        ConnectionPolicy::Passive,
        ConnectionPolicy::PlainPassive,
        ConnectionPolicy::LongPassive,
        ConnectionPolicy::Active,
        ConnectionPolicy::PlainActive,
        ConnectionPolicy::LongActive,
    ] {
        for tls in [TlsPolicy::Require, TlsPolicy::Never] {
            let mut pair = Pair::new(|config| {
                (config.connection, config.tls, config.password_in_clear) = (policy, tls, true);
            });
            pair.transfer(What::List(None), Representation::default());
            pair.transfer(What::Names(None), Representation::default());
            pair.request("QUIT");
            pair.run();
            assert_eq!(pair.ended.join(", "), "ready, 226, 226, 221", "{policy:?} {tls:?}");
            assert_eq!(pair.client.protects_data(), tls == TlsPolicy::Require);
        }
    }
}

#[test]
fn a_transfer_is_interrupted_and_the_session_goes_on() {
    let mut pair = Pair::new(|_| {});
    pair.depot.files.insert("file".to_owned(), b"octets".to_vec());
    pair.abort = true;
    pair.transfer(What::Retrieve(name("file")), IMAGE);
    pair.transfer(What::Retrieve(name("file")), IMAGE);
    pair.run();
    assert_eq!(pair.ended.join(", "), "ready, status 211, 426, 226");
    assert_eq!(pair.got, [b"octets"]);
}

/// Broken off anywhere, taken up again at the last marker that was told.
#[test]
fn what_was_broken_off_goes_on_at_a_marker() {
    let text: Vec<u8> = (0..40).flat_map(|n| format!("line {n} of a text\n").into_bytes()).collect();
    for ty in [Type::Ebcdic(Format::NonPrint), Type::Image, Type::Local(ByteSize::new(16).unwrap())] {
        for mode in [Mode::Block, Mode::Compressed] {
            let representation = with(ty, Structure::File, mode);
            let whole = wire(&text, representation, Restart::None).unwrap();
            for broken in (100..whole.len()).step_by(97) {
                let mut pair = Pair::new(|_| {});
                pair.sent.push_back(whole.clone());
                pair.breaks_at = Some(broken);
                pair.transfer(What::Store(name("file")), representation);
                pair.run();
                assert_eq!(pair.ended.join(", "), "ready, 426");
                let Some((ours, theirs)) = pair.markers.last().cloned() else { continue };
                let rest = wire(&text, representation, Restart::Marker(ours.parse().unwrap())).unwrap();
                pair.sent.push_back(rest);
                let mut transfer = client::Transfer::new(What::Store(name("file")), representation);
                transfer.restart = Some(theirs);
                pair.client.request(Request::Transfer(transfer)).unwrap();
                pair.run();
                assert_eq!(pair.ended.last().unwrap(), "250");
                assert!(pair.depot.files["file"] == text, "{representation:?} broken at {broken}");
            }
        }
    }
}

#[test]
fn silence_ends_a_session() {
    let mut pair = Pair::new(|config| config.timeout = Duration::from_secs(30));
    let until = pair.run().unwrap();
    assert_eq!(pair.ended, ["ready"]);
    // The server's fifteen minutes, for the client owes it something and not the other way round.
    assert_eq!(until - pair.now, Duration::from_secs(15 * 60));
    pair.now = until;
    pair.run();
    assert!(pair.ended[1].contains("421"), "{:?}", pair.ended);
}

#[test]
fn commands_that_are_read_are_written_so_that_they_are_read_again() {
    for line in include_str!("commands.txt").lines() {
        let command = parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut out = bytes::BytesMut::new();
        command.encode(&mut out).unwrap_or_else(|error| panic!("{line}: {error}"));
        let again = out.strip_suffix(b"\r\n").unwrap();
        assert_eq!(parse(again).unwrap(), command, "{line} was said as {}", again.escape_ascii());
        assert!(again.starts_with(command.verb().as_bytes()));
    }
    // Telnet's 255 in a name is said twice.
    let mut out = bytes::BytesMut::new();
    Command::Dele(PathName::new(b"a\xffb".as_slice()).unwrap()).encode(&mut out).unwrap();
    assert_eq!(&out[..], b"DELE a\xff\xffb\r\n");
    for unsayable in [
        Command::User(String::new()),
        Command::User("a\r\nQUIT".into()),
        Command::Pass(Secret::from("a\nQUIT")),
        Command::Acct(" a".into()),
        Command::Port("[2001:db8::1]:5282".parse().unwrap()),
        Command::Mff(vec![], name("x")),
        Command::Adat,
    ] {
        let mut out = bytes::BytesMut::new();
        assert!(unsayable.encode(&mut out).is_err() && out.is_empty(), "{unsayable:?}");
    }
}
