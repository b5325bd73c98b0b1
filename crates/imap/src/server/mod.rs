//! The server's side of a conversation.
//!
//! ```text
//! Greeting -> NotAuthenticated -> Authenticated <-> Selected
//!               ^       |              |               |
//!               |       v              v               v
//!              Handshake             Closed (LOGOUT, time, shut-down, a lost connection)
//! ```
//!
//! Beside the state stands the work in hand: a command whose literals are still coming, one the owner works on, an
//! IDLE, a message that is appended. As long as there is work, the next command waits in the input buffer.
//!
//! How an owner answers a [`Request`](crate::command::Request): it says responses by [`Server::say`] and [`Server::fetch`]
//! and ends with [`Server::complete`], or [`Server::selected`] for a SELECT that succeeds. When [`Server::backlog`] is
//! more than [`BACKLOG_HIGH`] it returns without completing, and goes on at [`Event::Resume`]. Between two commands
//! nothing is said but while [`Server::is_idling`].

mod answer;
mod append;
mod capabilities;
mod commands;
mod compress;
mod config;
mod event;
mod extension;
mod fetch;
mod login;
mod read;

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use packetboat_wire::{Input, Session, Step, TlsFacts};

use crate::response::{self, Code, Completion, Mode, Status};

use append::Appending;
use compress::Compression;
use extension::Extensions;
use login::{Authentication, Exchange};
use read::{Collecting, Swallowing};

pub use crate::command::{Append, ClientId};
pub use config::{Config, Timeouts};
pub use event::{Event, Login, Refusal};
pub use extension::{Extension, UnknownExtension};
pub use fetch::FetchWriter;
pub use read::{COMMAND_MAX, COMMAND_MAX_BEFORE_LOGIN, SWALLOW_MAX};

/// With more octets than this said and not sent, the owner of a session returns and waits for [`Event::Resume`].
pub const BACKLOG_HIGH: usize = 64 * 1024;

/// Octets of randomness a session needs.
pub const SEED_LENGTH: usize = 32;

/// One client's session.
///
/// What only some sessions have, or have at some times, is boxed: most sessions are idle, and there are many.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    input: Input,
    /// What has been said and not handed out.
    output: BytesMut,
    /// The event to hand out next.
    event: Option<Event>,
    state: State,
    work: Work,
    enabled: Enabled,
    /// What is not offered to this client.
    off: Extensions,
    tls: Option<Box<TlsFacts>>,
    client_id: Option<Box<ClientId>>,
    compression: Option<Box<Compression>>,
    end_of_input: bool,
    stopping: bool,
    /// [`Event::Ended`] has been handed out.
    ended: bool,
    /// Commands in a row that were none.
    errors: u32,
    /// When something happened last; idle time counts from here.
    last_activity: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// The greeting is still to be sent.
    Greeting(Box<Authentication>),
    NotAuthenticated(Box<Authentication>),
    /// STARTTLS was accepted.
    Handshake(Box<Authentication>),
    Authenticated,
    Selected,
    Closed,
}

/// What is being done. Each has the tag it will be answered with.
#[derive(Debug, Default)]
enum Work {
    /// Nothing: a command has to come.
    #[default]
    None,
    /// A command of which literals are still to come.
    Collecting(Box<Collecting>),
    /// A refused command that the client goes on sending.
    Swallowing(Box<Swallowing>),
    /// LOGIN or AUTHENTICATE.
    Login(Box<Exchange>),
    /// The owner has the command.
    Asked(Box<Asked>),
    /// IDLE goes on.
    Idling(Box<Idling>),
    /// APPEND or REPLACE.
    Appending(Box<Appending>),
}

/// A command the owner has.
#[derive(Debug)]
struct Asked {
    tag: String,
    kind: Kind,
}

/// What has to be known of a command when it ends, or while it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Select {
        examine: bool,
    },
    /// CLOSE or UNSELECT
    Leave,
    /// SEARCH without RETURN
    Search {
        uid: bool,
    },
    Other,
}

#[derive(Debug)]
struct Idling {
    tag: String,
    /// When the client was last told that the connection stands.
    told: Option<Instant>,
}

/// What the client has turned on.
#[derive(Debug, Clone, Copy, Default)]
struct Enabled {
    rev2: bool,
    utf8: bool,
    condstore: bool,
    qresync: bool,
}

/// Whether a session can go on by itself.
#[derive(Debug, PartialEq, Eq)]
enum Advance {
    Progress,
    /// It needs the owner, the peer or time.
    Blocked,
}

impl Enabled {
    fn mode(self, tag: &str) -> Mode<'_> {
        Mode { rev2: self.rev2, utf8: self.utf8, tag }
    }

    /// Whether mailbox names come and go in UTF-8.
    fn utf8_names(self) -> bool {
        self.rev2 || self.utf8
    }
}

impl Work {
    /// The tag of the command in hand, as far as responses may tell of it.
    fn tag(&self) -> &str {
        match self {
            Work::Asked(asked) => &asked.tag,
            Work::Appending(appending) => &appending.tag,
            Work::None | Work::Collecting(_) | Work::Swallowing(_) | Work::Login(_) | Work::Idling(_) => "",
        }
    }
}

impl Server {
    /// A session in front of a client that has just connected.
    ///
    /// `seed` is random and never used twice. Where TLS runs from the start (port 993), call
    /// [`tls_started`](Session::tls_started) before the first [`next`](Session::next).
    pub fn new(config: Arc<Config>, seed: [u8; SEED_LENGTH]) -> Server {
        Server {
            input: Input::new(),
            output: BytesMut::new(),
            event: None,
            state: State::Greeting(Box::new(Authentication::new(seed))),
            work: Work::None,
            enabled: Enabled::default(),
            off: Extensions::of(&config.disabled),
            config,
            tls: None,
            client_id: None,
            compression: None,
            end_of_input: false,
            stopping: false,
            ended: false,
            errors: 0,
            last_activity: None,
        }
    }

    /// Does what can be done without waiting for anybody.
    fn advance(&mut self) -> Advance {
        if self.event.is_some() {
            return Advance::Blocked;
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Greeting(authentication) => {
                self.state = State::NotAuthenticated(authentication);
                self.greet();
                return Advance::Progress;
            }
            other => self.state = other,
        }
        if matches!(self.state, State::Handshake(_) | State::Closed) {
            return Advance::Blocked;
        }
        if self.stopping && !self.awaits_answer() && !matches!(self.work, Work::Appending(_)) {
            self.bye(Some(Code::Unavailable), "The server is shutting down");
            return Advance::Progress;
        }
        let advance = match &self.work {
            Work::None => self.read_command(),
            Work::Collecting(_) => self.collect(),
            Work::Swallowing(_) => self.swallow(),
            Work::Login(exchange) if exchange.awaits_answer() => return Advance::Blocked,
            Work::Login(_) => self.read_response(),
            Work::Idling(_) => self.read_while_idling(),
            Work::Appending(appending) if appending.awaits_answer() => return Advance::Blocked,
            Work::Appending(_) => self.advance_append(),
            Work::Asked(_) => return Advance::Blocked,
        };
        // Compressed input is only opened when more of it is needed.
        if advance == Advance::Blocked && self.inflate_some() { Advance::Progress } else { advance }
    }

    fn greet(&mut self) {
        if self.stopping {
            return self.bye(None, "The server is shutting down");
        }
        let config = self.config.clone();
        let words = Code::Capability(self.capabilities().into());
        let greeting = Completion {
            status: Status::Ok,
            code: Some(words),
            text: format!("{} is ready", config.hostname).into(),
        };
        response::tagged(&greeting, &Mode::default(), &mut self.output);
    }

    /// Answers a command that the session carried out or refused by itself.
    fn tagged(&mut self, tag: &str, completion: &Completion) {
        if completion.status == Status::Ok {
            self.errors = 0;
        }
        response::tagged(completion, &self.enabled.mode(tag), &mut self.output);
    }

    fn ok(&mut self, tag: &str, text: &'static str) {
        self.tagged(tag, &Completion::ok(text));
    }

    /// Answers what is no command, or none here, and counts it. Without a tag the answer is an untagged one.
    fn mistake(&mut self, tag: &str, completion: &Completion) {
        self.tagged(tag, completion);
        self.errors = self.errors.saturating_add(1);
        if self.errors >= self.config.max_errors {
            self.bye(None, "Too many errors");
        }
    }

    fn bad(&mut self, tag: &str, text: &'static str) {
        self.mistake(tag, &Completion { status: Status::Bad, code: None, text: text.into() });
    }

    /// Says goodbye and ends the session.
    fn bye(&mut self, code: Option<Code>, text: &'static str) {
        let goodbye = Completion::no(code, text);
        response::goodbye(&goodbye, &self.enabled.mode(""), &mut self.output);
        self.close();
    }

    fn close(&mut self) {
        self.abort_append();
        self.work = Work::None;
        self.state = State::Closed;
        self.input.clear();
    }

    /// Until when the session waits, and what is to be done then.
    fn deadline(&self) -> Option<Instant> {
        let times = &self.config.timeouts;
        let limit = match (&self.state, &self.work) {
            (State::Closed, _) => return None,
            (State::Greeting(_) | State::NotAuthenticated(_) | State::Handshake(_), _) => times.login,
            (_, Work::Idling(_)) => times.idle,
            _ => times.inactivity,
        };
        self.last_activity?.checked_add(limit)
    }

    /// When an idling client is to be told that the connection stands.
    fn keepalive(&self) -> Option<Instant> {
        match &self.work {
            Work::Idling(idling) => idling.told?.checked_add(self.config.timeouts.idle_keepalive),
            _ => None,
        }
    }

    /// Whether a question is open.
    fn awaits_answer(&self) -> bool {
        match &self.work {
            Work::Asked(_) => true,
            Work::Login(exchange) => exchange.awaits_answer(),
            Work::Appending(appending) => appending.awaits_answer(),
            Work::None | Work::Collecting(_) | Work::Swallowing(_) | Work::Idling(_) => false,
        }
    }

    /// Keeps the time: whether there is something to send or do now.
    fn times_up(&mut self, now: Instant) -> bool {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.bye(None, "Nothing has come for too long");
            return true;
        }
        let due = self.keepalive().is_some_and(|due| now >= due);
        if let Work::Idling(idling) = &mut self.work {
            if due {
                self.output.extend_from_slice(b"* OK Still here\r\n");
            }
            if due || idling.told.is_none() {
                idling.told = Some(now);
            }
        }
        due
    }
}

impl Session for Server {
    type Event = Event;

    fn receive(&mut self, bytes: &[u8]) {
        match (&self.state, &mut self.compression) {
            // What comes before the handshake is not the TLS peer's (RFC 9051 section 6.2.1), and nobody reads what
            // comes after the end.
            (State::Handshake(_) | State::Closed, _) => {}
            (_, Some(compression)) => compression.receive(bytes),
            (_, None) => self.input.push(bytes),
        }
    }

    fn end_of_input(&mut self) {
        self.end_of_input = true;
        if matches!(self.state, State::Handshake(_)) {
            self.state = State::Closed;
        }
    }

    fn tls_started(&mut self, tls: TlsFacts) {
        self.input.clear();
        self.tls = Some(Box::new(tls));
        // "The client MUST discard cached information"; so does the server with what somebody in the middle may have said.
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Handshake(authentication) => {
                self.state = State::NotAuthenticated(authentication);
                self.client_id = None;
                self.off = Extensions::of(&self.config.disabled);
                self.last_activity = None;
            }
            other => self.state = other,
        }
    }

    fn shut_down(&mut self) {
        self.stopping = true;
    }

    fn next(&mut self, now: Instant) -> Step<Event> {
        self.last_activity.get_or_insert(now);
        loop {
            while self.output.len() < BACKLOG_HIGH && self.advance() == Advance::Progress {
                // Who is not logged in does not gain time by saying something.
                if !matches!(self.state, State::NotAuthenticated(_)) {
                    self.last_activity = Some(now);
                }
            }
            if !self.output.is_empty() {
                return Step::Send(self.take_output());
            }
            if let Some(event) = self.event.take() {
                return Step::Event(event);
            }
            match (&self.state, &self.work) {
                (State::Closed, _) if !self.ended => {
                    self.ended = true;
                    return Step::Event(Event::Ended);
                }
                (State::Closed, _) => return Step::Close,
                (State::Handshake(_), _) => return Step::StartTls,
                (_, Work::Asked(_)) => return Step::Event(Event::Resume),
                _ if self.awaits_answer() => return Step::Wait { until: None },
                _ => {}
            }
            if self.times_up(now) {
                continue;
            }
            // Nothing is kept by who waits.
            self.output = BytesMut::new();
            if let Some(compression) = &mut self.compression {
                compression.rest();
            }
            let until = [self.deadline(), self.keepalive()].into_iter().flatten().min();
            return Step::Wait { until };
        }
    }
}

#[cfg(test)]
mod tests;
