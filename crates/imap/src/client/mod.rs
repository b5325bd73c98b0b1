//! The client's side of a conversation.
//!
//! ```text
//! greeting -> CAPABILITY -> STARTTLS -> handshake -> CAPABILITY -> login -> CAPABILITY -> ID -> ENABLE -> Ready
//! ```
//!
//! The way to [`Event::Ready`] the session goes by itself, as its [`Config`] says; what it has learnt before the
//! handshake it forgets there. Then it works off a queue of [`Request`]s and tells what came of each. Sections of
//! messages stream in both directions: a session holds one response at most, and of messages nothing.

mod capabilities;
mod config;
mod event;
mod login;
mod prepare;
mod read;
mod request;
mod step;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use packetboat_wire::{Input, Session, Step, TlsFacts};

use login::Login;
use request::Abilities;

pub use capabilities::Capabilities;
pub use config::{Config, TlsPolicy};
pub use event::{Error, Event, Fault, Refused};
pub use read::{
    Address, Data, Envelope, Fetched, Listing, Namespace, RESPONSE_MAX, Read, Reader, RemoteName, Untagged,
    Violation,
};
pub use request::Request;

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
    reader: Reader,
    output: BytesMut,
    /// What one step through the input has to tell: two events at most.
    events: VecDeque<Event>,
    state: State,
    /// Requests not sent yet.
    queue: VecDeque<Request>,
    /// Commands sent in full or in part, the oldest in front.
    outstanding: VecDeque<(String, Request)>,
    /// What is still to be sent of the last command.
    sending: Sending,
    /// Number of the next tag.
    tag: u64,
    /// What the server has told since the last thing that may have changed it.
    capabilities: Option<Capabilities>,
    /// What the server has enabled.
    enabled: Vec<String>,
    tls: Option<TlsFacts>,
    end_of_input: bool,
    stopping: bool,
    last_activity: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// The greeting has to come.
    Greeting,
    /// A command of the session's own has to be answered.
    Preparing {
        tag: String,
        what: Preparation,
    },
    /// STARTTLS was accepted.
    Handshake,
    /// The server has to answer a step of the login.
    LoggingIn {
        tag: String,
        login: Login,
    },
    /// Requests are worked off.
    Ready,
    Closed,
}

/// What is asked on the way to the login and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Preparation {
    Capability,
    StartTls,
    CapabilityAfterLogin,
    Id,
    Enable,
}

/// What is still to be sent of a command.
#[derive(Debug, Default)]
enum Sending {
    /// Nothing.
    #[default]
    Nothing,
    /// These, each after the server's leave; then, if there is one, a message of so many octets.
    Pieces(VecDeque<Bytes>, Option<u64>),
    /// Octets of a message. The owner was asked for some if `asked`.
    Message { left: u64, asked: bool },
    /// The server idles; DONE is sent when the owner says so.
    Idle(Idle),
}

/// How far IDLE is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Idle {
    /// The server has not agreed yet, and the owner has not had enough.
    Asked,
    /// The owner has had enough before the server agreed.
    Cancelled,
    /// The server idles.
    Going,
}

impl Client {
    /// A session on a connection that has just been made. `seed` is random and never used twice.
    ///
    /// Where TLS runs from the start (port 993), call [`tls_started`](Session::tls_started) before the first
    /// [`next`](Session::next).
    pub fn new(config: Config, seed: [u8; SEED_LENGTH]) -> Client {
        Client {
            config,
            seed,
            input: Input::new(),
            reader: Reader::new(),
            output: BytesMut::new(),
            events: VecDeque::new(),
            state: State::Greeting,
            queue: VecDeque::new(),
            outstanding: VecDeque::new(),
            sending: Sending::Nothing,
            tag: 1,
            capabilities: None,
            enabled: Vec::new(),
            tls: None,
            end_of_input: false,
            stopping: false,
            last_activity: None,
        }
    }

    /// Queues a command, at any time; it is sent when its turn comes. [`Event::Done`] or [`Event::Refused`] answers
    /// it. After LOGOUT nothing is sent any more.
    ///
    /// What cannot be said, such as an empty FETCH, is not taken, but handed back.
    pub fn request(&mut self, request: Request) -> Result<(), Request> {
        if !request.is_sayable() {
            return Err(request);
        }
        if !matches!(self.state, State::Closed) {
            self.queue.push_back(request);
        }
        Ok(())
    }

    /// Requests that have not been answered in full.
    pub fn pending(&self) -> usize {
        self.queue.len() + self.outstanding.len()
    }

    /// What the server offers, as it said last.
    pub fn capabilities(&self) -> Option<&Capabilities> {
        self.capabilities.as_ref()
    }

    /// Whether the server has enabled this for the session, such as `CONDSTORE`.
    pub fn is_enabled(&self, extension: &str) -> bool {
        self.enabled.iter().any(|enabled| enabled.eq_ignore_ascii_case(extension))
    }

    /// Answers [`Event::Append`] with the next octets of the message, as many as are at hand. With none, or more than
    /// are left, the message cannot be what was announced, and the session ends.
    pub fn append_chunk(&mut self, octets: &[u8]) {
        let Sending::Message { left, asked } = &mut self.sending else { return };
        let length = octets.len() as u64;
        if length == 0 || length > *left {
            return self.fail(Error::Abandoned);
        }
        *left -= length;
        *asked = false;
        self.output.extend_from_slice(octets);
    }

    /// Ends IDLE, whenever the server has agreed to it.
    pub fn idle_done(&mut self) {
        match &mut self.sending {
            Sending::Idle(idle @ Idle::Asked) => *idle = Idle::Cancelled,
            Sending::Idle(Idle::Going) => {
                self.output.extend_from_slice(b"DONE\r\n");
                self.sending = Sending::Nothing;
            }
            _ => {}
        }
    }

    fn next_tag(&mut self) -> String {
        let tag = format!("A{}", self.tag);
        self.tag += 1;
        tag
    }

    fn has(&self, capability: &str) -> bool {
        self.capabilities.as_ref().is_some_and(|capabilities| capabilities.has(capability))
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            unasked_literal: self.capabilities.as_ref().and_then(Capabilities::unasked_literal),
            unselect: self.has("UNSELECT") || self.has("IMAP4rev2"),
            list_status: self.has("LIST-STATUS") || self.has("IMAP4rev2"),
        }
    }

    fn fail(&mut self, error: Error) {
        self.events.push_back(Event::Failed(error));
        self.close();
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.input.clear();
        self.reader = Reader::new();
        self.queue.clear();
        self.outstanding.clear();
        self.sending = Sending::Nothing;
    }

    /// Moves requests from the queue into the output, as many as may be under way.
    fn send_requests(&mut self) {
        while matches!(self.sending, Sending::Nothing) && self.output.len() < OUTPUT_PIECE {
            let Some(next) = self.queue.front() else { break };
            let alone =
                next.goes_alone() || self.outstanding.iter().any(|(_, under_way)| under_way.goes_alone());
            let window = if alone { 1 } else { self.config.window.max(1) };
            if self.outstanding.len() >= window {
                break;
            }
            let Some(request) = self.queue.pop_front() else { break };
            let tag = self.next_tag();
            let pieces = request.encode(&tag, self.abilities());
            let message = match request {
                Request::Append { octets, .. } => Some(octets),
                _ => None,
            };
            self.sending = Sending::Pieces(pieces, message);
            self.outstanding.push_back((tag, request));
            self.send_piece();
        }
    }

    /// Sends the next piece of a command.
    fn send_piece(&mut self) {
        let Sending::Pieces(pieces, message) = &mut self.sending else { return };
        if let Some(piece) = pieces.pop_front() {
            self.output.extend_from_slice(&piece);
        }
        if pieces.is_empty() {
            self.sending = match (*message, self.outstanding.back()) {
                (Some(left), _) => Sending::Message { left, asked: false },
                (None, Some((_, Request::Idle))) => Sending::Idle(Idle::Asked),
                (None, _) => Sending::Nothing,
            };
        }
    }

    /// Goes on with a message to append: asks for octets, or ends its command.
    fn go_on_with_message(&mut self) {
        match &mut self.sending {
            Sending::Message { left: 0, .. } => {
                self.output.extend_from_slice(b"\r\n");
                self.sending = Sending::Nothing;
            }
            Sending::Message { left, asked: asked @ false } if self.output.is_empty() => {
                *asked = true;
                self.events.push_back(Event::Append { left: *left });
            }
            _ => {}
        }
    }

    /// Whether the server has something to say first.
    fn owed(&self) -> bool {
        match self.state {
            State::Greeting | State::Preparing { .. } | State::LoggingIn { .. } => true,
            State::Ready => {
                let own_turn = matches!(self.sending, Sending::Message { .. } | Sending::Idle(Idle::Going));
                !self.outstanding.is_empty() && !own_turn
            }
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
        self.reader = Reader::new();
        self.tls = Some(tls);
        if matches!(self.state, State::Handshake) {
            // "the client MUST discard cached information about server capabilities" (RFC 9051 section 6.2.1).
            self.capabilities = None;
            self.prepare(Preparation::Capability);
        }
    }

    /// Ends the session when what is under way is answered, without LOGOUT.
    fn shut_down(&mut self) {
        self.stopping = true;
        self.queue.clear();
        self.idle_done();
    }

    fn next(&mut self, now: Instant) -> Step<Event> {
        self.last_activity.get_or_insert(now);
        while self.events.is_empty() {
            if matches!(self.state, State::Ready) {
                self.go_on_with_message();
                if !self.events.is_empty() {
                    break;
                }
                if !self.stopping {
                    self.send_requests();
                }
            }
            // Who is about to leave does not listen to what nobody asked for.
            let leaving = self.stopping && self.outstanding.is_empty() && !self.owed();
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
            _ if self.stopping && self.outstanding.is_empty() && !self.owed() => return Step::Close,
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
