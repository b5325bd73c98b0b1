//! The client's side of a conversation.
//!
//! ```text
//! Greeting -> CAPA -> STLS -> handshake -> CAPA -> UTF8 -> login -> Ready -> QUIT -> Closed
//! ```
//!
//! The way to [`Event::Ready`] the session goes by itself, as its [`Config`] says; what it has learnt before the
//! handshake it forgets there. Then it works off a queue of [`Command`]s and tells what came of each, in order.

mod capabilities;
mod config;
mod event;
mod login;
mod read;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;
use packetboat_wire::{DotReader, Input, Session, Step, TlsFacts};

use crate::Command;

use login::Login;

pub use capabilities::Capabilities;
pub use config::{Config, TlsPolicy};
pub use event::{Error, Event, Fault, Refused};

/// Octets of randomness a session needs.
pub const SEED_LENGTH: usize = 24;

/// Commands are handed out as soon as so many octets have come together.
const OUTPUT_PIECE: usize = 4 * 1024;

/// One session with one server.
#[derive(Debug)]
pub struct Client {
    config: Config,
    /// Randomness of this session, for SCRAM.
    seed: [u8; SEED_LENGTH],
    input: Input,
    output: BytesMut,
    /// What one step through the input has to tell: two events at most.
    events: VecDeque<Event>,
    state: State,
    reading: Reading,
    /// Requests not sent yet.
    queue: VecDeque<Command>,
    /// Commands sent, the one that is answered next in front.
    outstanding: VecDeque<Command>,
    capabilities: Capabilities,
    /// The banner's, for APOP.
    timestamp: Option<String>,
    tls: Option<TlsFacts>,
    end_of_input: bool,
    stopping: bool,
    last_activity: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// The banner has to come.
    Greeting,
    /// A command of the session's own has to be answered.
    Preparing(Preparation),
    /// STLS was accepted.
    Handshake,
    /// The server has to answer a step of the login.
    LoggingIn(Login),
    /// Requests are worked off.
    Ready,
    Closed,
}

/// What is asked on the way to the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Preparation {
    Capa,
    Stls,
    Utf8,
}

/// What is being read of an answer.
#[derive(Debug)]
enum Reading {
    /// `+OK` or `-ERR`.
    Status,
    /// Lines up to a dot.
    Listing,
    /// A message up to a dot.
    Text(DotReader),
}

impl Client {
    /// A session on a connection that has just been made. `seed` is random and never used twice.
    ///
    /// Where TLS runs from the start (port 995), call [`tls_started`](Session::tls_started) before the first
    /// [`next`](Session::next).
    pub fn new(config: Config, seed: [u8; SEED_LENGTH]) -> Client {
        Client {
            config,
            seed,
            input: Input::new(),
            output: BytesMut::new(),
            events: VecDeque::new(),
            state: State::Greeting,
            reading: Reading::Status,
            queue: VecDeque::new(),
            outstanding: VecDeque::new(),
            capabilities: Capabilities::default(),
            timestamp: None,
            tls: None,
            end_of_input: false,
            stopping: false,
            last_activity: None,
        }
    }

    /// Queues a command, at any time; it is sent when its turn comes. [`Event::Done`] or [`Event::Refused`] answers
    /// it, in the order of the requests. After QUIT nothing is sent any more.
    ///
    /// Commands that log in, change to TLS or switch UTF-8 mode on are the session's own affair: they are not taken,
    /// but handed back.
    pub fn request(&mut self, command: Command) -> Result<(), Command> {
        match command {
            Command::User(_)
            | Command::Pass(_)
            | Command::Apop { .. }
            | Command::AuthList
            | Command::Auth { .. }
            | Command::Stls
            | Command::Utf8 => Err(command),
            _ => {
                self.queue.push_back(command);
                Ok(())
            }
        }
    }

    /// Requests that have not been answered in full.
    pub fn pending(&self) -> usize {
        self.queue.len() + self.outstanding.len()
    }

    /// What the server offers, as it said last.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What comes after a preparation, on the way to the login.
    fn go_on_after(&mut self, done: Preparation) {
        match done {
            Preparation::Capa if self.tls.is_some() || self.config.tls == TlsPolicy::Never => {
                self.go_on_after_tls();
            }
            Preparation::Capa if self.capabilities.has("STLS") => self.prepare(Preparation::Stls),
            Preparation::Capa if self.config.tls == TlsPolicy::Require => self.fail(Error::NoTls),
            Preparation::Capa => self.go_on_after_tls(),
            Preparation::Stls => {
                self.input.clear();
                self.state = State::Handshake;
            }
            Preparation::Utf8 => self.log_in(),
        }
    }

    /// There is TLS, or there will be none.
    fn go_on_after_tls(&mut self) {
        if self.config.utf8 && self.capabilities.has("UTF8") {
            self.prepare(Preparation::Utf8);
        } else {
            self.log_in();
        }
    }

    fn prepare(&mut self, preparation: Preparation) {
        let command = match preparation {
            Preparation::Capa => {
                self.capabilities = Capabilities::default();
                Command::Capa
            }
            Preparation::Stls => Command::Stls,
            Preparation::Utf8 => Command::Utf8,
        };
        command.encode(&mut self.output);
        self.state = State::Preparing(preparation);
    }

    /// The login is done, or not wanted.
    fn ready(&mut self) {
        self.state = State::Ready;
        self.events.push_back(Event::Ready { capabilities: self.capabilities.clone() });
    }

    fn fail(&mut self, error: Error) {
        self.events.push_back(Event::Failed(error));
        self.close();
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.input.clear();
        self.queue.clear();
        self.outstanding.clear();
    }

    /// Moves requests from the queue into the output, as many as may be under way.
    fn send_requests(&mut self) {
        let window = if self.capabilities.has("PIPELINING") { self.config.window.max(1) } else { 1 };
        while self.outstanding.len() < window && self.outstanding.back() != Some(&Command::Quit) {
            let Some(command) = self.queue.pop_front() else { break };
            command.encode(&mut self.output);
            self.outstanding.push_back(command);
        }
    }

    /// Whether the server has something to say first.
    fn owed(&self) -> bool {
        match self.state {
            State::Greeting | State::Preparing(_) | State::LoggingIn(_) => true,
            State::Ready => !self.outstanding.is_empty(),
            State::Handshake | State::Closed => false,
        }
    }
}

impl Session for Client {
    type Event = Event;

    fn receive(&mut self, bytes: &[u8]) {
        match self.state {
            // What comes before the handshake is not from the TLS peer.
            State::Handshake | State::Closed => {}
            _ => self.input.push(bytes),
        }
    }

    fn end_of_input(&mut self) {
        self.end_of_input = true;
    }

    fn tls_started(&mut self, tls: TlsFacts) {
        self.input.clear();
        self.tls = Some(tls);
        if matches!(self.state, State::Handshake) {
            // "the client MUST discard cached information about server capabilities" (RFC 2595 section 4); the
            // banner's timestamp came in the clear as well.
            self.timestamp = None;
            self.prepare(Preparation::Capa);
        }
    }

    /// Ends the session when what is under way is answered, without QUIT: nothing is deleted that the owner did not
    /// ask for.
    fn shut_down(&mut self) {
        self.stopping = true;
        self.queue.clear();
    }

    fn next(&mut self, now: Instant) -> Step<Event> {
        self.last_activity.get_or_insert(now);
        while self.events.is_empty() {
            if matches!(self.state, State::Ready) && !self.stopping {
                self.send_requests();
            }
            // Who is about to leave does not listen to what nobody asked for.
            let leaving = self.stopping && !self.owed();
            if self.output.len() >= OUTPUT_PIECE || leaving || !self.advance() {
                break;
            }
            self.last_activity = Some(now);
        }
        if let Some(event) = self.events.pop_front() {
            return Step::Event(event);
        }
        if !self.output.is_empty() {
            self.last_activity = Some(now);
            return Step::Send(std::mem::take(&mut self.output).freeze());
        }
        match self.state {
            State::Closed => return Step::Close,
            _ if self.stopping && !self.owed() => return Step::Close,
            State::Handshake if !self.end_of_input => return Step::StartTls,
            _ => {}
        }
        let until = match self.owed() {
            true => self.last_activity.and_then(|at| at.checked_add(self.config.timeout)),
            false => None,
        };
        if self.end_of_input {
            self.fail(Error::Closed);
        } else if until.is_some_and(|until| now >= until) {
            self.fail(Error::Timeout);
        }
        match self.events.pop_front() {
            Some(event) => Step::Event(event),
            None => Step::Wait { until },
        }
    }
}
