//! SMTP, both sides.

use std::sync::Arc;

use packetboat_smtp::command::Strictness;
use packetboat_smtp::server::{Config, Event, Role};
use packetboat_smtp::{BodyKind, Server, reply};
use packetboat_wire::sasl::{Ask, Mechanism, ScramKeys};
use packetboat_wire::{Input, ReplyParser, ReplyStyle};

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
            Event::Auth(Ask::Password { .. }) => {
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
            Event::Verify(_) | Event::Expand(_) => {
                self.say(server);
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
    config.verify = bit(flags, 7);
    config.expand = bit(flags, 7);
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
