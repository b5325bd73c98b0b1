//! POP3, both sides.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use packetboat_pop3::client::{self, Client, TlsPolicy};
use packetboat_pop3::server::{Config, Event, Login, NoBody, Refusal, Server};
use packetboat_pop3::{Command, Strictness, apop};
use packetboat_wire::sasl::{Credentials, Mechanism, ScramKeys, encode_base64};
use packetboat_wire::{LineEnding, Session};

use crate::session::{self, Owner};
use crate::{bit, parameters};

const PASSWORD: &str = "tanstaaf";
const SEED: [u8; 32] = [7; 32];

/// A maildrop of messages with odd ends, and an owner who fails by a fixed pattern.
struct PostOffice {
    messages: Vec<&'static [u8]>,
    /// Failures: two bits each, over and over.
    answers: u32,
    asked: u32,
    log: Vec<String>,
    open: bool,
    accepted: bool,
    reading: Option<Vec<Bytes>>,
}

impl PostOffice {
    fn fails(&mut self) -> bool {
        self.asked += 1;
        self.answers.rotate_right(2 * self.asked) % 4 == 3
    }
}

impl Owner<Server> for PostOffice {
    fn event(&mut self, session: &mut Server, event: Event) {
        // Whether more of a message is asked for after a connection has gone depends on how that was noticed.
        if !matches!(event, Event::MoreBody) {
            self.log.push(format!("{event:?}"));
            self.reading = None;
        }
        match event {
            Event::Login(login) => {
                assert!(!self.open);
                let right = match &login {
                    Login::Password { authcid, password, .. } => {
                        authcid == "mrose" && password.expose() == PASSWORD
                    }
                    Login::Apop { timestamp, digest, .. } => {
                        apop::digest(timestamp, &PASSWORD.into()) == *digest
                    }
                    Login::Proved { .. } => panic!("proved a password that no keys were made from"),
                    Login::Disproved { .. } => false,
                };
                self.accepted = right;
                if right && !self.fails() { session.accept() } else { session.refuse(Refusal::Credentials) }
            }
            Event::ScramKeys { authcid, hash } => {
                if self.fails() {
                    session.refuse(Refusal::Temporary);
                } else {
                    session.scram_keys(vec![ScramKeys::fake(hash, b"site", &authcid, 4096)]);
                }
            }
            Event::OpenMaildrop => {
                assert!(self.accepted && !self.open);
                if self.fails() {
                    session.refuse(Refusal::InUse);
                } else {
                    self.open = true;
                    session.maildrop(self.messages.iter().map(|message| message.len() as u64).collect());
                }
            }
            Event::UniqueIds { first, count } => {
                assert!(self.open && count > 0 && first + count <= self.messages.len());
                if self.fails() {
                    session.unique_ids_failed();
                } else {
                    session.unique_ids((first..first + count).map(|index| format!("uid:{index}")));
                }
            }
            Event::Retrieve { index, .. } => {
                assert!(self.open);
                let message = Bytes::from_static(self.messages[index]);
                if self.fails() {
                    session.no_body(NoBody::Missing);
                } else {
                    let half = message.len() / 2;
                    let mut pieces = vec![message.slice(half..), message.slice(..half)];
                    pieces.retain(|piece| !piece.is_empty());
                    self.reading = Some(pieces);
                    session.begin_body();
                }
            }
            Event::MoreBody => match self.reading.as_mut().expect("more of nothing").pop() {
                Some(piece) => session.body_chunk(piece),
                None if self.fails() => session.body_failed(),
                None => session.body_end(),
            },
            Event::Commit { deletions } => {
                assert!(self.open && deletions.iter().all(|index| index < self.messages.len()));
                self.open = false;
                if self.fails() { session.commit_failed() } else { session.committed() }
            }
            Event::Abandoned { .. } => {
                assert!(self.open, "nothing to abandon");
                self.open = false;
            }
        }
    }

    fn closed(&mut self, _: &Server) {
        assert!(!self.open, "closed with the maildrop open");
    }
}

/// A server keeps its promises to its owner, lets nobody in by itself, and does not care how its input is cut.
pub fn server(data: &[u8]) {
    let ([flags, how, a, b, c, d], data) = parameters(data);
    let mut config = Config::new("pop.example.org");
    config.strictness = if bit(flags, 0) { Strictness::Strict } else { Strictness::Lenient };
    config.stls = bit(flags, 1);
    config.plaintext_logins = !bit(flags, 2);
    config.mechanisms = if bit(flags, 3) { Mechanism::ALL.to_vec() } else { Vec::new() };
    config.apop = bit(flags, 4);
    let config = Arc::new(config);
    let run = |how| {
        let mut office = PostOffice {
            messages: vec![
                b"",
                b"Subject: x\r\n\r\n.a\r\n..\r\n.",
                b"lf\n.\n.\r\n\ncr\r.\r\n",
                b"no end\r\n\r\nx\r",
            ],
            answers: u32::from_le_bytes([a, b, c, d]),
            asked: 0,
            log: Vec::new(),
            open: false,
            accepted: false,
            reading: None,
        };
        let session = Server::new(config.clone(), SEED);
        let outcome = session::play(session, &mut office, how, data);
        (outcome, office.log)
    };
    let whole = run(0);
    assert_eq!(run(how), whole);
    assert!(whole.0.sent.starts_with(b"+OK") || whole.0.sent.starts_with(b"-ERR"));
}

/// Asks for things as the data says, and checks that each is answered once.
struct User {
    log: Vec<String>,
    requested: usize,
    answered: usize,
    over: bool,
    text: usize,
}

impl Owner<Client> for User {
    fn event(&mut self, _: &mut Client, event: client::Event) {
        assert!(!self.over, "{event:?} after the end");
        match &event {
            client::Event::Text(piece) => {
                assert!(!piece.is_empty());
                self.text += piece.len();
                return;
            }
            client::Event::Done { .. } | client::Event::Refused { .. } => self.answered += 1,
            client::Event::Failed(_) => self.over = true,
            _ => {}
        }
        assert!(self.answered <= self.requested);
        self.log.push(format!("{event:?}"));
    }

    fn order(&mut self, session: &mut Client, order: u8) {
        let number = u64::from(order >> 4);
        let command = match order % 16 {
            0 => Command::Stat,
            1 => Command::List(None),
            2 => Command::List(Some(number)),
            3 => Command::Uidl(None),
            4 => Command::Uidl(Some(number)),
            5 => Command::Dele(number),
            6 => Command::Rset,
            7 => Command::Noop,
            8 => Command::Capa,
            9 => Command::Lang(None),
            10 => Command::Lang(Some("de\r\nDELE 1".into())),
            11 => Command::Top { message: number, lines: number },
            12 => Command::Quit,
            _ => Command::Retr(number),
        };
        if session.request(command).is_ok() {
            self.requested += 1;
        }
    }
}

/// A client survives any server, sends no password in the clear unasked, and does not care how its input is cut.
pub fn client(data: &[u8]) {
    let ([flags, how], data) = parameters(data);
    let credentials = Credentials { username: "mrose".into(), password: PASSWORD.into(), authzid: None };
    let mut config = client::Config::new(bit(flags, 0).then_some(credentials));
    config.tls = match flags >> 1 & 3 {
        0 => TlsPolicy::Require,
        1 | 2 => TlsPolicy::IfOffered,
        _ => TlsPolicy::Never,
    };
    config.password_in_clear = bit(flags, 3);
    config.apop = bit(flags, 4);
    config.window = usize::from(flags >> 5) + 1;
    config.timeout = Duration::from_secs(60);
    let in_clear = config.password_in_clear;
    let implicit_tls = bit(flags, 7);
    let run = |how| {
        let mut user = User { log: Vec::new(), requested: 0, answered: 0, over: false, text: 0 };
        let mut session = Client::new(config.clone(), SEED_OF_CLIENT);
        if implicit_tls {
            session.tls_started(session::tls());
        }
        let outcome = session::play(session, &mut user, how, data);
        (outcome, user.log, user.text)
    };
    let whole = run(0);
    assert_eq!(run(how), whole);
    let (outcome, _, text) = whole;
    assert!(text <= data.len());
    let clear = &outcome.sent[..outcome.tls_at.first().copied().unwrap_or(outcome.sent.len())];
    if !in_clear && !implicit_tls {
        let plain = encode_base64(format!("\0mrose\0{PASSWORD}").as_bytes());
        for secret in [PASSWORD.to_owned(), encode_base64(PASSWORD.as_bytes()), plain] {
            let found = clear.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "the password was sent in the clear");
        }
    }
    // One command a line, each of a known form.
    let mut input = packetboat_wire::Input::new();
    input.push(&outcome.sent);
    while let Some(line) = input.take_line(usize::MAX, LineEnding::Crlf).transpose() {
        assert!(line.is_ok(), "{line:?}");
    }
    assert!(input.is_empty());
}

const SEED_OF_CLIENT: [u8; 24] = [7; 24];

/// A command that can be read survives being written.
pub fn command(data: &[u8]) {
    let ([strictness], line) = parameters(data);
    let strictness = if strictness % 2 == 0 { Strictness::Strict } else { Strictness::Lenient };
    crate::round_trip!(line, |line: &[u8]| Command::parse(line, strictness).ok(), |command: &Command| {
        let mut out = BytesMut::new();
        command.encode(&mut out);
        out.strip_suffix(b"\r\n").expect("a command ends with CRLF").to_vec()
    });
}
