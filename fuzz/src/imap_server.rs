//! IMAP, the server's side.

use std::sync::Arc;

use packetboat_imap::command::{Command, Request};
use packetboat_imap::response::{Code, Completion, FlagsOf, Response};
use packetboat_imap::server::{BACKLOG_HIGH, Config, Event, Extension, Login, Refusal, Server};
use packetboat_imap::value::{Flag, MailboxName, NumberSet, SystemFlags};
use packetboat_wire::sasl::{Mechanism, ScramKeys};

use crate::session::{self, Owner};
use crate::{bit, parameters, round_trip};

const PASSWORD: &str = "tanstaaf";
const SEED: [u8; 32] = [7; 32];

/// What commands are made of survives being written, and no command makes its reader panic.
pub fn command(data: &[u8]) {
    let ([utf8], text) = parameters(data);
    let utf8 = utf8 % 2 == 1;
    let _ = Command::parse(text, utf8);
    round_trip!(text, |text: &[u8]| NumberSet::parse(text).ok(), |set: &NumberSet| set
        .to_string()
        .into_bytes());
    if let Ok(set) = NumberSet::parse(text) {
        let ranges = set.resolve(u32::MAX);
        assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0 - 1), "{ranges:?}");
    }
    round_trip!(text, |text: &[u8]| MailboxName::decode(text, utf8).ok(), |name: &MailboxName| {
        name.encode(utf8).into_owned().into_bytes()
    });
    round_trip!(text, |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<Flag>().ok(), |flag: &Flag| {
        flag.as_str().as_bytes().to_vec()
    });
}

/// An owner who fails by a fixed pattern, and holds the session to what it promises.
struct PostOffice {
    /// Failures: two bits each, over and over.
    answers: u32,
    asked: u32,
    log: Vec<String>,
    accepted: bool,
    selected: bool,
    /// Octets still to come of a message, while one is appended.
    appending: Option<u64>,
    /// A request was put off.
    open: Option<Request>,
    ended: bool,
}

impl PostOffice {
    fn fails(&mut self) -> bool {
        self.asked += 1;
        self.answers.rotate_right(2 * self.asked) % 4 == 3
    }

    fn request(&mut self, session: &mut Server, request: Request) {
        if self.fails() {
            self.selected &= !matches!(request, Request::Select(_));
            return session.complete(Completion::no(Code::Cannot, "No"));
        }
        match &request {
            Request::Select(select) => {
                self.selected = true;
                session.say(&Response::Exists(3));
                session.say(&Response::Recent(3));
                session.selected(!select.examine, Completion::ok("Selected"));
            }
            Request::Close | Request::Unselect => {
                self.selected = false;
                session.complete(Completion::ok("Closed"));
            }
            Request::Search(search) if search.returns.is_none() => {
                session.say(&Response::Search(vec![1, 2, 7], Some(1)));
                session.complete(Completion::ok("Found"));
            }
            Request::Fetch(_) => {
                for number in 1..100 {
                    let flags = FlagsOf { system: SystemFlags(31), recent: false, keywords: &[] };
                    let mut writer = session.fetch(number);
                    writer.flags(flags);
                    writer.finish();
                }
                assert!(session.backlog() < 2 * BACKLOG_HIGH, "nothing is sent");
                session.complete(Completion::ok("Fetched"));
            }
            Request::Idle => assert!(session.is_idling()),
            _ => session.complete(Completion::ok("Done")),
        }
    }
}

impl Owner<Server> for PostOffice {
    fn event(&mut self, session: &mut Server, event: Event) {
        assert!(!self.ended, "{event:?} after the end");
        // How a message is cut into chunks depends on how it arrives.
        if !matches!(event, Event::AppendChunk(_)) {
            self.log.push(format!("{event:?}"));
        }
        match event {
            Event::Login(login) => {
                assert!(!self.accepted);
                self.accepted = match &login {
                    Login::Password { authcid, password, .. } => {
                        authcid == "mrose" && password.expose() == PASSWORD
                    }
                    Login::Proved { .. } => panic!("proved a password that no keys were made from"),
                    Login::Disproved { .. } => false,
                };
                if self.accepted { session.accept() } else { session.refuse(Refusal::Credentials) }
            }
            Event::ScramKeys { authcid, hash } => {
                if self.fails() {
                    session.refuse(Refusal::Temporary);
                } else {
                    session.scram_keys(vec![ScramKeys::fake(hash, b"site", &authcid, 4096)]);
                }
            }
            Event::Request(request) => {
                assert!(self.accepted && self.open.is_none() && self.appending.is_none());
                let about_messages = matches!(
                    *request,
                    Request::Fetch(_)
                        | Request::Store(_)
                        | Request::Search(_)
                        | Request::Expunge(_)
                        | Request::Close
                );
                assert!(self.selected || !about_messages, "{request:?} of no mailbox");
                if matches!(*request, Request::Idle) {
                    return;
                }
                if matches!(*request, Request::Select(_)) {
                    self.selected = false;
                }
                if self.fails() {
                    self.open = Some(*request);
                } else {
                    self.request(session, *request);
                }
            }
            Event::Resume => {
                let request = self.open.take().expect("nothing to go on with");
                self.request(session, request);
            }
            Event::AppendBegin(_) => {
                assert!(self.accepted && self.appending.is_none());
                if self.fails() {
                    session.append_refuse(Completion::no(Code::TryCreate, "No"));
                } else {
                    self.appending = Some(0);
                    session.append_ready();
                }
            }
            Event::AppendMessage { octets, .. } => {
                assert_eq!(self.appending, Some(0));
                assert!(octets > 0 && octets <= 1000);
                if self.fails() {
                    self.appending = None;
                    session.append_refuse(Completion::no(Code::OverQuota, "No"));
                } else {
                    self.appending = Some(octets);
                    session.append_ready();
                }
            }
            Event::AppendChunk(chunk) => {
                let left = self.appending.as_mut().expect("a chunk of nothing");
                assert!(!chunk.is_empty());
                *left = left.checked_sub(chunk.len() as u64).expect("more than was announced");
                session.append_ready();
            }
            Event::AppendMessageEnd => {
                assert_eq!(self.appending, Some(0));
                session.append_ready();
            }
            Event::AppendCommit => {
                assert_eq!(self.appending.take(), Some(0));
                session.complete(Completion::ok("Appended"));
            }
            Event::AppendAborted => assert!(self.appending.take().is_some(), "nothing to forget"),
            Event::Ended => self.ended = true,
        }
    }

    fn order(&mut self, session: &mut Server, order: u8) {
        if order == 0 {
            session.end(None, "Enough");
        } else {
            session.say(&Response::Exists(order.into()));
        }
    }

    fn closed(&mut self, _: &Server) {
        assert!(self.ended, "closed without a word");
        assert!(self.appending.is_none(), "closed within a message");
    }
}

/// A server keeps its promises to its owner, lets nobody in by itself, and does not care how its input is cut.
pub fn server(data: &[u8]) {
    let ([flags, how, a, b, c, d], data) = parameters(data);
    let mut config = Config::new("imap.example.org");
    config.starttls = bit(flags, 0);
    config.plaintext_logins = !bit(flags, 1);
    config.append_limit = 1000;
    config.mechanisms = if bit(flags, 2) { Mechanism::ALL.to_vec() } else { Vec::new() };
    // Where compressed output is cut depends on when the session waits.
    let compress = bit(flags, 3);
    if !compress {
        config.disabled.push(Extension::Compress);
    }
    if bit(flags, 4) {
        config.disabled.push(Extension::LiteralPlus);
    }
    let config = Arc::new(config);
    let run = |how| {
        let mut office = PostOffice {
            answers: u32::from_le_bytes([a, b, c, d]),
            asked: 0,
            log: Vec::new(),
            accepted: false,
            selected: false,
            appending: None,
            open: None,
            ended: false,
        };
        let session = Server::new(config.clone(), SEED);
        let outcome = session::play(session, &mut office, how, data);
        (outcome, office.log)
    };
    let whole = run(0);
    let cut = run(how);
    if !compress {
        assert_eq!(cut, whole);
    }
    assert!(whole.0.sent.starts_with(b"* OK [") || whole.0.sent.starts_with(b"* BYE "));
}
