//! FTP: both sides of the control connection, what travels over data connections, listings.

#[path = "../../crates/ftp/tests/reference/mod.rs"]
#[allow(dead_code)]
mod reference;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use packetboat_ftp::client::{
    self, Client, ConnectionPolicy, Request as Wanted, TlsPolicy, Transfer as Wish, What as Way,
};
use packetboat_ftp::command::{Command, FileTime, PathName, parse};
use packetboat_ftp::data::container::HEADER_OCTETS;
use packetboat_ftp::data::{
    ByteSize, DataError, Format, Inbound, Mode, News, Options, Outbound, Representation, Restart, Structure,
    Type,
};
use packetboat_ftp::listing::{Allowed, Facts, Flags, Kind, facts_line, name_line, unix_line};
use packetboat_ftp::server::{Answer, Config, Event, Refusal, Request, Server, TransferFailure, Transferred};
use packetboat_wire::{LineEnding, Secret, Session};
use reference::{Dice, File, Logical, Page};

use crate::session::{self, Owner};
use crate::{bit, parameters, pieces};

const PASSWORD: &str = "tanstaaf";

/// A command that can be read survives being written.
pub fn command(data: &[u8]) {
    let Ok(command) = parse(data) else { return };
    let mut out = BytesMut::new();
    if command.encode(&mut out).is_err() {
        return;
    }
    let line = out.strip_suffix(b"\r\n").expect("a command ends with CRLF");
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
    // Telnet's 255 is said twice.
    let (mut telnet, mut heard) = (packetboat_wire::Telnet::new(), Vec::new());
    telnet.receive(line, &mut heard);
    assert_eq!(parse(&heard), Ok(command), "said as {}", line.escape_ascii());
}

/// An owner who fails by a fixed pattern; its transfers end when an order says so.
struct Depot {
    answers: u32,
    asked: u32,
    log: Vec<String>,
    transferring: bool,
    logged_in: bool,
}

impl Depot {
    fn fails(&mut self) -> bool {
        self.asked += 1;
        self.answers.rotate_right(2 * self.asked) % 4 == 3
    }

    fn request(&mut self, session: &mut Server, request: Request) {
        if self.fails() {
            let refusals = [Refusal::NotFound, Refusal::NoPermission, Refusal::QuotaExceeded, Refusal::Busy];
            return session.refuse(refusals[self.asked as usize % 4].clone());
        }
        session.answer(match request {
            Request::WorkingDirectory | Request::MakeDirectory(_) => {
                Answer::Directory(PathName::new(b"/\"odd\" \xff".as_slice()).expect("a path"))
            }
            Request::Size(..) | Request::Available(_) => Answer::Number(42),
            Request::ModificationTime(_) => Answer::Time(FileTime { seconds: 951_868_799, nanoseconds: 0 }),
            Request::Checksum { start, end, .. } => {
                Answer::Checksum { digest: "CAFE".to_owned(), start, end: end.unwrap_or(42) }
            }
            Request::Status(_) | Request::Facts(_) | Request::Quota | Request::Who => {
                Answer::Lines(vec!["one\r\ntwo".to_owned(), "226 three".to_owned()])
            }
            _ => Answer::Done,
        });
    }
}

impl Owner<Server> for Depot {
    fn event(&mut self, session: &mut Server, event: Event) {
        self.log.push(format!("{event:?}"));
        match event {
            Event::Host(_) | Event::User(_) | Event::Connect(_) if self.fails() => {
                session.refuse(Refusal::LoginFailed);
            }
            Event::Host(_) | Event::User(_) | Event::Connect(_) => session.accept(),
            Event::Password(password) if password.expose() != PASSWORD => {
                session.refuse(Refusal::LoginFailed)
            }
            Event::Password(_) | Event::Account(_) if session.is_logged_in() => session.accept(),
            Event::Password(_) if self.fails() => session.want_account(),
            Event::Password(_) | Event::Account(_) => {
                self.logged_in = true;
                session.logged_in();
            }
            Event::Reinitialized => self.logged_in = false,
            Event::CloseData => {}
            Event::ClearControl => session.tls_ended(),
            Event::Listen(_) if self.fails() => session.refuse(Refusal::CannotListen),
            Event::Listen(_) => session.listening(([192, 0, 2, 1], 5282).into()),
            Event::Request(request) => {
                assert!(self.logged_in);
                self.request(session, request);
            }
            Event::Transfer(_) => {
                assert!(self.logged_in && !self.transferring, "one transfer at a time");
                if self.fails() {
                    return session.refuse(Refusal::NoPermission);
                }
                self.transferring = true;
                session.transfer_begins(false, false, "Now.".to_owned());
            }
            Event::Abort => {
                assert!(std::mem::take(&mut self.transferring));
                session.transfer_ended(Err(TransferFailure::Aborted));
            }
            Event::Progress => session.answer(Answer::Lines(vec!["21 of 42".to_owned()])),
        }
    }

    fn order(&mut self, session: &mut Server, order: u8) {
        if order % 8 == 7 {
            return session.marker("theirs", u64::from(order));
        }
        if std::mem::take(&mut self.transferring) {
            session.transfer_ended(match order % 8 {
                0 => Err(TransferFailure::ConnectionLost),
                1 => Err(TransferFailure::Data(DataError::Damaged)),
                2 => Err(TransferFailure::File(Refusal::NoSpace)),
                other => Ok(Transferred { octets: 1, stays_open: other % 2 == 0, note: None }),
            });
        }
    }
}

/// A server keeps its promises to its owner, lets nobody in by itself, and does not care how its input is cut.
pub fn server(data: &[u8]) {
    let ([flags, how, a, b, c, d], data) = parameters(data);
    let config = Arc::new(Config {
        tls: !bit(flags, 0),
        require_tls: bit(flags, 1),
        require_protection: bit(flags, 2),
        disabled: if bit(flags, 3) { vec!["DELE".to_owned(), "SITE".to_owned()] } else { Vec::new() },
        ..Config::default()
    });
    let run = |how| {
        let answers = u32::from_le_bytes([a, b, c, d]);
        let mut depot = Depot { answers, asked: 0, log: Vec::new(), transferring: false, logged_in: false };
        let outcome = session::play(Server::new(Arc::clone(&config)), &mut depot, how, data);
        (outcome, depot.log)
    };
    let whole = run(0);
    assert_eq!(run(how), whole);
    assert!(whole.0.sent.starts_with(b"220"));
    let (_, log) = whole;
    let shown = log.iter().any(|event| event.contains(PASSWORD) && event.starts_with("Password"));
    assert!(!shown, "a password is shown");
}

/// Asks for things as the data says, and checks that each is answered once.
struct User {
    log: Vec<String>,
    requested: usize,
    answered: usize,
    over: bool,
    connects: bool,
}

impl Owner<Client> for User {
    fn event(&mut self, session: &mut Client, event: client::Event) {
        use client::Event;
        assert!(!self.over, "{event:?} after the end");
        self.log.push(format!("{event:?}"));
        match &event {
            Event::Connect(at) => {
                assert_eq!(at.ip().to_string(), "192.0.2.1", "goes where the server says");
                if self.connects { session.connected() } else { session.not_connected() }
            }
            Event::Listen => session.listening(([192, 0, 2, 7], 5282).into()),
            Event::Done { .. } | Event::Refused { .. } | Event::NotConnected { .. } => self.answered += 1,
            Event::Failed(_) => self.over = true,
            _ => {}
        }
        assert!(self.answered <= self.requested);
    }

    fn order(&mut self, session: &mut Client, order: u8) {
        let name = || PathName::new("a name").expect("a path");
        let representation = Representation {
            ty: [Type::Image, Type::default(), Type::Ebcdic(Format::Telnet)][usize::from(order >> 4) % 3],
            structure: Structure::File,
            mode: [Mode::Stream, Mode::Block, Mode::Compressed][usize::from(order >> 6) % 3],
        };
        let transfer = |what| Wanted::Transfer(Wish::new(what, representation));
        let wanted = match order % 16 {
            0 => Wanted::Command(Command::Pwd),
            1 => Wanted::Command(Command::Noop),
            2 => Wanted::Command(Command::Opts("UTF8".into(), Some("ON\r\nDELE x".into()))),
            3 => Wanted::Rename(name(), name()),
            4 => Wanted::Command(Command::Quit),
            5 => return session.abort(),
            6 => return session.status(),
            7 => return session.data_ended(),
            8 => transfer(Way::Store(name())),
            9 => transfer(Way::StoreUnique(None)),
            10 => transfer(Way::List(None)),
            11 => {
                let mut wish = Wish::new(Way::Retrieve(name()), representation);
                (wish.restart, wish.allocate) = (Some("42".into()), Some((1, None)));
                Wanted::Transfer(wish)
            }
            _ => transfer(Way::Retrieve(name())),
        };
        if session.request(wanted).is_ok() {
            self.requested += 1;
        }
    }
}

/// A client survives any server, sends no password in the clear unasked, goes to no address but the server's, and does not
/// care how its input is cut.
pub fn client(data: &[u8]) {
    let ([flags, how], data) = parameters(data);
    let login =
        client::Login { name: "mrose".into(), password: Secret::from(PASSWORD), account: Some("lab".into()) };
    let mut config = client::Config::new([192, 0, 2, 1].into(), bit(flags, 0).then_some(login));
    config.tls =
        [TlsPolicy::Require, TlsPolicy::IfOffered, TlsPolicy::Never][usize::from(flags >> 1 & 3) % 3];
    config.password_in_clear = bit(flags, 3);
    config.connection = [
        ConnectionPolicy::Passive,
        ConnectionPolicy::PlainPassive,
        ConnectionPolicy::LongPassive,
        ConnectionPolicy::Active,
    ][usize::from(flags >> 4 & 3)];
    config.timeout = Duration::from_secs(60);
    let in_clear = config.password_in_clear;
    let (implicit_tls, connects) = (bit(flags, 7), !bit(flags, 6));
    let run = |how| {
        let mut user = User { log: Vec::new(), requested: 0, answered: 0, over: false, connects };
        let mut session = Client::new(config.clone());
        if implicit_tls {
            session.tls_started(session::tls());
        }
        let outcome = session::play(session, &mut user, how, data);
        (outcome, user.log)
    };
    let whole = run(0);
    assert_eq!(run(how), whole);
    let (outcome, _) = whole;
    let clear = &outcome.sent[..outcome.tls_at.first().copied().unwrap_or(outcome.sent.len())];
    if !in_clear && !implicit_tls {
        let found = clear.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes());
        assert!(!found, "the password was sent in the clear");
    }
    // Answers to options of Telnet are no commands, and may hold any octet.
    let (mut telnet, mut said) = (packetboat_wire::Telnet::new(), Vec::new());
    telnet.receive(&outcome.sent, &mut said);
    let mut input = packetboat_wire::Input::new();
    input.push(&said);
    while let Some(line) = input.take_line(usize::MAX, LineEnding::Crlf).transpose() {
        assert!(line.is_ok_and(|line| !line.ends_with(b"DELE x")), "a command was smuggled in");
    }
}

/// One of the legal representations.
fn representation(kind: u8, bits: u8) -> Representation {
    let format = [Format::NonPrint, Format::Telnet, Format::CarriageControl][usize::from(bits) % 3];
    let ty = match kind % 4 {
        0 => Type::Ascii(format),
        1 => Type::Ebcdic(format),
        2 => Type::Image,
        _ => Type::Local(ByteSize::new(bits.max(1)).expect("more than none")),
    };
    let structures = [Structure::File, Structure::Record, Structure::Page];
    let mut structure = structures[usize::from(kind >> 2) % 3];
    // A page's header has four fields, so the number four has to fit into a logical byte.
    if structure == Structure::Page && reference::size_of(ty) < 7 {
        structure = Structure::File;
    }
    let mode = [Mode::Stream, Mode::Block, Mode::Compressed][usize::from(kind >> 4) % 3];
    Representation { ty, structure, mode }
}

/// Logical bytes out of octets. In text there is no line end that would be another on the way back.
fn logical(ty: Type, octets: &[u8]) -> Vec<Logical> {
    let of = |octets: &mut dyn Iterator<Item = &u8>| octets.map(|o| reference::octet(*o)).collect::<Vec<_>>();
    match ty {
        Type::Ascii(_) => of(&mut octets.iter().filter(|o| !matches!(o, b'\r' | b'\n'))),
        Type::Ebcdic(_) => of(&mut octets.iter().filter(|o| **o != 0x15)),
        Type::Image => of(&mut octets.iter()),
        Type::Local(size) => {
            let bits = usize::from(size.bits());
            let all: Vec<bool> = octets.iter().flat_map(|o| reference::octet(*o)).collect();
            let mut bytes: Vec<Logical> = all.chunks_exact(bits).map(<[bool]>::to_vec).collect();
            // What is padded must not look like one more.
            while bits < 8 && !bytes.len().is_multiple_of(8) {
                bytes.push(reference::number(1, bits));
            }
            bytes
        }
    }
}

fn file(representation: Representation, octets: &[u8]) -> File {
    let ty = representation.ty;
    match representation.structure {
        Structure::File => File::Bytes(logical(ty, octets)),
        Structure::Record if octets.is_empty() => File::Records(Vec::new()),
        Structure::Record => File::Records(octets.split(|o| *o == 0xfe).map(|o| logical(ty, o)).collect()),
        Structure::Page => {
            let most = (1usize << reference::size_of(ty).min(10)) - 1;
            let pages = octets.split(|o| *o == 0xfe).zip(0..100).map(|(octets, n)| {
                let mut data = logical(ty, octets);
                data.truncate(most);
                Page { index: n, kind: 1, fields: vec![], data }
            });
            let last = Page { index: 0, kind: 0, fields: vec![], data: vec![] };
            File::Pages(pages.chain([last]).collect())
        }
    }
}

fn receive(wire: &[u8], representation: Representation, how: u8) -> Result<(Vec<u8>, Vec<News>), DataError> {
    let mut inbound = Inbound::new(representation, &Options::default(), None);
    let mut disk = inbound.header().map(|header| header.to_vec()).unwrap_or_default();
    let mut news = Vec::new();
    for piece in pieces(wire, how) {
        if inbound.push(piece, &mut disk, &mut news)?.end_of_file {
            break;
        }
    }
    if let Some(header) = inbound.finish(&mut disk)?.header {
        disk[..HEADER_OCTETS].copy_from_slice(&header);
    }
    Ok((disk, news))
}

fn send(disk: &[u8], representation: Representation, how: u8) -> Result<Vec<u8>, DataError> {
    let mut outbound = Outbound::new(representation, &Options::default(), disk, Restart::None)?;
    let (mut wire, begin) = (Vec::new(), outbound.position() as usize);
    for mut piece in pieces(disk.get(begin..).unwrap_or_default(), how) {
        while !piece.is_empty() {
            let room = wire.len() + 4096;
            outbound.push(&mut piece, &mut wire, room)?;
            // Whoever asked for so much of a hole has seen enough.
            if wire.len() > 1 << 20 {
                return Ok(wire);
            }
        }
    }
    while !outbound.finish(&mut wire, usize::MAX)? {
        if wire.len() > 1 << 20 {
            break;
        }
    }
    Ok(wire)
}

/// What a codec written from the RFC's text sends is stored and comes back the same, however it is cut; and any octets at all
/// are received, or refused, the same way however they are cut.
pub fn inbound(data: &[u8]) {
    let ([kind, bits, how, seed], data) = parameters(data);
    let representation = representation(kind, bits);
    let data = &data[..data.len().min(8 * 1024)];
    let any = |how| receive(data, representation, how).map(|(disk, _)| disk);
    if let (Ok(whole), Ok(cut)) = (any(0), any(how)) {
        // Pieces of records may lie otherwise; what is in them may not.
        let seen = |disk: &[u8]| send(disk, Representation { mode: Mode::Stream, ..representation }, how);
        assert!(whole == cut || seen(&whole) == seen(&cut), "{representation:?}");
    }
    // What lies on disk may be anything too.
    let _ = send(data, representation, how);
    let file = file(representation, data);
    let wire = reference::encode(&file, representation, &mut Dice(u64::from(seed) + 1));
    let (disk, _) = receive(&wire, representation, how).expect("it is as the RFC says");
    let back = send(&disk, representation, how).expect("it was stored");
    if back.len() <= 1 << 20 {
        assert!(
            reference::decode(&back, representation) == file,
            "{representation:?}: another file came back"
        );
    }
}

/// What clients put before the path is read, and a line of a listing is one line whatever the name is.
pub fn listing(data: &[u8]) {
    let ([how, mode_low, mode_high, seconds], data) = parameters(data);
    let (flags, path) = Flags::parse(PathName::new(data).as_ref());
    if let Some(path) = &path {
        assert!(data.ends_with(path.as_bytes()));
    }
    let (name, target) = data.split_at(data.len() / 2);
    let text = String::from_utf8_lossy(target);
    let facts = Facts {
        name,
        kind: [Kind::File, Kind::Directory, Kind::Link(target), Kind::Other][usize::from(how) % 4],
        size: u64::from(how) << (seconds % 60),
        modified: FileTime { seconds: i64::from(seconds) << (how % 40), nanoseconds: 0 },
        created: None,
        mode: u32::from(u16::from_le_bytes([mode_low, mode_high])),
        links: 1,
        owner: &text,
        group: "group",
        unique: (1, u64::MAX),
        allowed: Allowed { read: bit(how, 0), write: bit(how, 1), ..Allowed::default() },
    };
    let chosen = ["Type", "Size", "Modify", "Perm", "Unique", "UNIX.mode", "UNIX.owner", "UNIX.group"];
    let makers: [&dyn Fn(&mut Vec<u8>); 3] = [
        &|out| unix_line(&facts, 1_700_000_000, &flags, out),
        &|out| facts_line(&facts, &chosen, out),
        &|out| name_line(name, out),
    ];
    for make in makers {
        let mut line = Vec::new();
        make(&mut line);
        assert!(line.ends_with(b"\n"), "{}", line.escape_ascii());
        let inside = &line[..line.len() - 1];
        assert!(!inside.contains(&b'\n'), "a name makes a line of its own: {}", line.escape_ascii());
    }
}
