//! SMTP, both sides.

use std::sync::Arc;

use bytes::Bytes;
use packetboat_message::Address;
use packetboat_smtp::client::{self, Envelope, Protocol, TlsPolicy};
use packetboat_smtp::command::{self, Command, CommandError, Offered, Strictness};
use packetboat_smtp::server::{Audience, Config, Event, Reversal, Role};
use packetboat_smtp::{BodyKind, Client, Recipient, Sender, Server, reply};
use packetboat_wire::sasl::{Ask, Credentials, Mechanism, ScramKeys, encode_base64};
use packetboat_wire::{Input, ReplyClass, ReplyParser, ReplyStyle, Session};

use crate::session::{self, Owner};
use crate::{bit, parameters};

const MESSAGE_MAX: u64 = 2000;

/// An owner who answers by a fixed pattern, and holds the session to what its events promise.
struct PostOffice {
    /// Answers: two bits each, over and over.
    answers: u32,
    asked: u32,
    /// What the session asked, for comparing.
    log: Vec<String>,
    transaction: Option<Transaction>,
    in_login: bool,
    turning: bool,
}

#[derive(Default)]
struct Transaction {
    recipients: usize,
    body: Option<BodyKind>,
    octets: Vec<u8>,
}

impl PostOffice {
    fn answer(&mut self) -> u32 {
        self.asked += 1;
        self.answers.rotate_right(2 * self.asked) % 4
    }

    /// Whether the answer was yes.
    fn say(&mut self, server: &mut Server) -> bool {
        match self.answer() {
            0 | 1 => server.accept(),
            2 => server.refuse(reply::mailbox_unavailable()),
            // Once in a while the owner has had enough.
            _ if self.asked.is_multiple_of(7) => server.refuse(reply::shutting_down()),
            _ => server.refuse(reply::local_error()),
        }
        self.answers.rotate_right(2 * self.asked) % 4 < 2
    }

    fn body_end(&mut self, server: &mut Server, octets: u64) {
        let transaction = self.transaction.take().expect("a message outside of a transaction");
        assert_eq!(transaction.octets.len() as u64, octets);
        assert!(octets <= MESSAGE_MAX && transaction.recipients > 0);
        if transaction.body.expect("a message that did not begin") != BodyKind::Binary {
            let bare = |pair: &[u8]| (pair[0] == b'\r') != (pair[1] == b'\n');
            let framed = [b"x", &transaction.octets[..], b"x"].concat();
            assert!(!framed.windows(2).any(bare), "a bare line ending was passed on");
        }
        let lmtp = server.config().role == Role::Lmtp;
        for _ in 0..if lmtp { transaction.recipients } else { 1 } {
            if server.question_open() {
                self.say(server);
            }
        }
    }
}

impl Owner<Server> for PostOffice {
    fn event(&mut self, server: &mut Server, event: Event) {
        if !matches!(event, Event::BodyChunk(_)) {
            self.log.push(format!("{event:?}"));
        }
        match event {
            Event::Sender(_) => {
                assert!(self.transaction.is_none(), "a transaction within a transaction");
                if self.say(server) {
                    self.transaction = Some(Transaction::default());
                }
            }
            Event::Recipient(_) => {
                let yes = self.say(server);
                let transaction = self.transaction.as_mut().expect("a recipient outside of a transaction");
                assert!(transaction.body.is_none());
                transaction.recipients += usize::from(yes);
            }
            Event::BodyStart(kind) => {
                let transaction = self.transaction.as_mut().expect("a body outside of a transaction");
                assert!(transaction.recipients > 0 && transaction.body.is_none());
                transaction.body = Some(kind);
                if !self.say(server) {
                    self.transaction = None;
                }
            }
            Event::BodyChunk(piece) => {
                assert!(!piece.is_empty());
                let transaction = self.transaction.as_mut().expect("a chunk outside of a transaction");
                assert!(transaction.body.is_some());
                transaction.octets.extend_from_slice(&piece);
                assert!(transaction.octets.len() as u64 <= MESSAGE_MAX);
            }
            Event::BodyEnd { octets } => self.body_end(server, octets),
            Event::Aborted(_) => assert!(self.transaction.take().is_some(), "nothing to abort"),
            Event::AuthStart(_) => {
                self.in_login = true;
                match self.answer() {
                    0..=2 => server.start_authentication(b"twenty random octets"),
                    _ => server.refuse(reply::authentication_unavailable()),
                }
            }
            Event::Auth(Ask::Password { .. } | Ask::SharedSecret { .. }) => {
                self.say(server);
            }
            Event::Auth(Ask::ScramKeys { authcid, hash, .. }) => match self.answer() {
                0..=2 => server.scram_keys(vec![ScramKeys::fake(hash, b"site", &authcid, 4096)]),
                _ => server.refuse(reply::authentication_unavailable()),
            },
            Event::Authenticated(done) => {
                assert!(self.in_login && self.transaction.is_none() && !done.authcid.is_empty());
                self.say(server);
            }
            Event::Verify(_) | Event::Expand(_) | Event::Etrn(_) => {
                self.say(server);
            }
            Event::Turn(how) => {
                assert!(self.transaction.is_none());
                assert!(how == Reversal::Turn || self.in_login, "turned around by a stranger");
                self.turning = self.say(server);
            }
            Event::Turned => {
                assert!(self.turning, "turned around unasked");
                server.take_rest();
            }
            Event::Hello(_) | Event::AuthFailed(_) => {}
        }
    }

    fn closed(&mut self, server: &Server) {
        assert!(self.transaction.is_none(), "closed within a transaction that was not aborted");
        assert!(server.closed().is_some());
    }
}

fn config(role: u8, flags: u8) -> Config {
    let role = match role % 3 {
        0 => Role::Exchange,
        1 => Role::Submission,
        _ => Role::Lmtp,
    };
    let mut config = Config::new(role, "mail.example.org");
    config.strictness = if bit(flags, 0) { Strictness::Strict } else { Strictness::Lenient };
    config.starttls = bit(flags, 1);
    config.tls_required = bit(flags, 1) && bit(flags, 2);
    config.auth.mechanisms = if bit(flags, 3) { Mechanism::ALL.to_vec() } else { Vec::new() };
    config.auth.required = bit(flags, 3) && bit(flags, 4);
    config.auth.needs_tls = bit(flags, 5);
    config.dsn = bit(flags, 6);
    config.verify = if bit(flags, 7) { Audience::Everybody } else { Audience::Users };
    config.expand = config.verify;
    config.terminals = config.verify;
    config.deliver_by = bit(flags, 6).then_some(60);
    config.require_tls = bit(flags, 6);
    (config.etrn, config.atrn, config.turn) = (bit(flags, 7), bit(flags, 7), bit(flags, 7));
    config.limits.message_size = MESSAGE_MAX;
    config.limits.recipients = 5;
    config
}

/// A server keeps its promises to its owner, answers in proper replies, and does not care how its input is cut.
pub fn server(data: &[u8]) {
    let ([role, flags, how, a, b, c, d], data) = parameters(data);
    let config = Arc::new(config(role, flags));
    let run = |how| {
        let mut office = PostOffice {
            answers: u32::from_le_bytes([a, b, c, d]),
            asked: 0,
            log: Vec::new(),
            transaction: None,
            in_login: false,
            turning: false,
        };
        let outcome = session::play(Server::new(config.clone()), &mut office, how, data);
        (outcome, office.log)
    };
    let whole = run(0);
    assert_eq!(run(how), whole);

    let (mut parser, mut input) = (ReplyParser::new(ReplyStyle::Smtp), Input::new());
    input.push(&whole.0.sent);
    while let Some(reply) = parser.next(&mut input).transpose() {
        assert!(reply.is_ok(), "{reply:?}");
    }
    assert!(input.is_empty(), "an unfinished reply: {}", input.as_slice().escape_ascii());
}

const PASSWORD: &str = "tanstaaf";

/// Sends a few messages, and holds the session to what its events promise.
struct Writer {
    left: u32,
    envelope: Envelope,
    pieces: &'static [&'static [u8]],
    given: usize,
    lmtp: bool,
    log: Vec<String>,
    /// The message under way: who was answered, who accepted, who got it.
    open: Option<[Vec<usize>; 3]>,
    over: bool,
}

impl Owner<Client> for Writer {
    fn event(&mut self, client: &mut Client, event: client::Event) {
        assert!(!self.over, "{event:?} after the end");
        if event != client::Event::WantBody {
            self.log.push(format!("{event:?}"));
        }
        match event {
            client::Event::Ready if self.left > 0 => {
                self.left -= 1;
                self.given = 0;
                self.open = Some(Default::default());
                assert_eq!(client.send(self.envelope.clone()), Ok(()));
            }
            client::Event::Ready => client.quit(),
            client::Event::Recipient { index, reply } => {
                let [answered, accepted, _] = self.open.as_mut().expect("a recipient of nothing");
                assert!(index < self.envelope.recipients.len() && !answered.contains(&index));
                answered.push(index);
                if reply.class() == ReplyClass::Completion {
                    accepted.push(index);
                }
            }
            client::Event::WantBody => {
                let [_, accepted, _] = self.open.as_ref().expect("a body of nothing");
                assert!(!accepted.is_empty() && client.wants_body());
                match self.pieces.get(self.given) {
                    Some(piece) => client.body(Bytes::from_static(piece)),
                    None => client.end_body(),
                }
                assert!(!client.wants_body());
                self.given += 1;
            }
            client::Event::Delivery { index, .. } => {
                let [_, accepted, delivered] = self.open.as_mut().expect("delivery of nothing");
                assert!(self.lmtp && accepted.contains(&index) && !delivered.contains(&index));
                delivered.push(index);
            }
            client::Event::Done(outcome) => {
                let [_, accepted, delivered] = self.open.take().expect("the end of nothing");
                match outcome {
                    client::Outcome::Accepted(_) => assert!(!self.lmtp && !accepted.is_empty()),
                    client::Outcome::Delivered => assert!(self.lmtp && delivered == accepted),
                    _ => {}
                }
            }
            client::Event::Failed(error) => {
                self.over = true;
                // These must have an answer for whatever goes wrong.
                let _ = (error.fault(), error.is_permanent(), error.is_in_doubt(), error.to_string());
            }
        }
    }

    fn order(&mut self, client: &mut Client, order: u8) {
        match order % 3 {
            0 => client.quit(),
            1 => assert!(
                client.send(self.envelope.clone()).is_err()
                    || self.open.replace(Default::default()).is_none()
            ),
            _ => client.abandon(),
        }
    }
}

/// A client survives any server, keeps its promises to its owner, sends no password in the clear unasked, and no
/// command that it was not told to.
pub fn client(data: &[u8]) {
    let ([flags, more, how], data) = parameters(data);
    let lmtp = bit(flags, 0);
    let mut config =
        client::Config::new(if lmtp { Protocol::Lmtp } else { Protocol::Smtp }, "client.example");
    config.tls = match flags >> 1 & 3 {
        0 => TlsPolicy::Required,
        1 | 2 => TlsPolicy::Opportunistic,
        _ => TlsPolicy::Never,
    };
    config.credentials = bit(flags, 3).then(|| Credentials {
        username: "mrose".into(),
        password: PASSWORD.into(),
        authzid: None,
    });
    config.password_in_clear = bit(flags, 4);
    config.chunking = bit(flags, 5);
    config.eight_bit_anyway = bit(flags, 6);
    let (in_clear, chunking) = (config.password_in_clear, config.chunking || bit(more, 0));
    let mut sender = Sender::new(Address::parse("a@b\u{fc}cher.example").ok());
    sender.size = bit(more, 1).then_some(1000);
    sender.smtputf8 = bit(more, 2);
    sender.body = match (bit(more, 0), bit(more, 3)) {
        (true, _) => BodyKind::Binary,
        (false, true) => BodyKind::EightBit,
        (false, false) => BodyKind::SevenBit,
    };
    let to = if bit(more, 4) { "one@c.example two@c.example three@c.example" } else { "\"a b\"@c.example" };
    let to = to.split(" t").map(|to| Address::parse(to).or_else(|_| Address::parse(&format!("t{to}"))));
    let recipients: Vec<Recipient> = to.flatten().map(Recipient::new).collect();
    let implicit_tls = bit(more, 5);
    let config = Arc::new(config);
    let run = |how| {
        let mut writer = Writer {
            left: u32::from(more >> 6),
            envelope: Envelope { sender: sender.clone(), recipients: recipients.clone() },
            pieces: &[b".x\r\n", b"..\n.", b"", b"\r", b"\n.\r\ny"],
            given: 0,
            lmtp,
            log: Vec::new(),
            open: None,
            over: false,
        };
        let mut session = Client::new(config.clone(), b"twenty random octets");
        if implicit_tls {
            session.tls_started(session::tls());
        }
        let outcome = session::play(session, &mut writer, how, data);
        (outcome, writer.log)
    };
    let whole = run(0);
    let cut = run(how);
    // A server that answers chunks it has not got yet may be heard before or after they are sent.
    if !chunking {
        assert_eq!(cut, whole);
    }
    let sent = &whole.0.sent;
    let clear = &sent[..whole.0.tls_at.first().copied().unwrap_or(sent.len())];
    if !in_clear && !implicit_tls {
        let plain = encode_base64(format!("\0mrose\0{PASSWORD}").as_bytes());
        for secret in [PASSWORD.to_owned(), encode_base64(PASSWORD.as_bytes()), plain] {
            let found = clear.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "the password was sent in the clear");
        }
    }
}

/// Reading a command never fails in another way than by saying so; what is read of a path can be written.
pub fn command(data: &[u8]) {
    let ([flags], line) = parameters(data);
    let strictness = if bit(flags, 0) { Strictness::Strict } else { Strictness::Lenient };
    let offered = Offered {
        auth: bit(flags, 1),
        dsn: bit(flags, 2),
        deliver_by: bit(flags, 3),
        future_release: bit(flags, 4),
        require_tls: bit(flags, 5),
    };
    let read = |line: &[u8]| command::parse(line, strictness, &offered);
    match read(line) {
        Ok(Command::Mail(sender)) => {
            let path = sender.path.as_ref().map(ToString::to_string).unwrap_or_default();
            let utf8 = if path.is_ascii() { "" } else { " SMTPUTF8" };
            match read(format!("MAIL FROM:<{path}>{utf8}").as_bytes()) {
                Ok(Command::Mail(again)) => assert_eq!(again.path, sender.path),
                other => panic!("{path} is read as {other:?}"),
            }
        }
        Ok(Command::Rcpt { recipient, .. }) => {
            let path = recipient.path.to_string();
            match read(format!("RCPT TO:<{path}>").as_bytes()) {
                Ok(Command::Rcpt { recipient: again, .. }) => assert_eq!(again.path, recipient.path),
                other => panic!("{path} is read as {other:?}"),
            }
        }
        Ok(Command::Hello(hello)) => {
            assert!(hello.name.len() <= 255 && hello.name.bytes().all(|octet| octet.is_ascii_graphic()));
        }
        Ok(_) => {}
        // What is said to be nonsense in a lenient mood is nonsense in a strict one.
        Err(error) if error != CommandError::UnknownParameter => {
            assert!(command::parse(line, Strictness::Strict, &offered).is_err());
        }
        Err(_) => {}
    }
}
