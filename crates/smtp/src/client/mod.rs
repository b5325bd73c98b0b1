//! The client's side of the conversation, for SMTP, submission and LMTP.
//!
//! ```text
//! Greeting -> Hello -> StartTls -> Handshake -> Hello -> Auth -> Ready <-> Message (-> Reset)
//!                                                                  \-> Quit -> Closing
//! ```

mod capabilities;
mod config;
mod event;
mod lines;
mod message;
mod opening;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use packetboat_wire::sasl::Mechanism;
use packetboat_wire::{Input, Reply, ReplyClass, ReplyParser, ReplyStyle, Session, Step, TlsFacts, sasl};

use crate::reply;

use message::Message;

pub use capabilities::{Capabilities, FutureRelease};
pub use config::{Config, Protocol, Timeouts, TlsPolicy};
pub use event::{Envelope, Error, Event, Extension, Fault, NotReady, Outcome, Stage};

/// The client's side of one connection.
pub struct Client {
    config: Arc<Config>,
    input: Input,
    parser: ReplyParser,
    /// What is to be sent first, pieces of messages in it as the owner gave them.
    queue: VecDeque<Bytes>,
    /// Command lines behind the queue.
    output: Vec<u8>,
    state: State,
    events: VecDeque<Event>,
    capabilities: Capabilities,
    tls: Option<Box<TlsFacts>>,
    /// Randomness for the login.
    nonce: Vec<u8>,
    /// Mechanisms that the server offered and then did not want.
    tried: Vec<Mechanism>,
    /// When the answer must be there.
    deadline: Option<Instant>,
    messages: u32,
    leaving: bool,
    end_of_input: bool,
}

/// Which answer is awaited.
enum State {
    Greeting,
    Hello { helo: bool },
    StartTls,
    Handshake { begun: bool },
    Auth { mechanism: Mechanism, sasl: Box<sasl::Client> },
    Ready { told: bool },
    Message(Box<Message>),
    Reset,
    Quit,
    Closing,
}

/// What a state does next.
enum Turn {
    Again,
    Event(Event),
    Starved,
}

impl Client {
    /// A session that has heard nothing yet. `nonce` is random and fresh, 18 octets or more; it is used if there is a
    /// login.
    pub fn new(config: Arc<Config>, nonce: &[u8]) -> Client {
        Client {
            config,
            input: Input::new(),
            parser: ReplyParser::new(ReplyStyle::Smtp),
            queue: VecDeque::new(),
            output: Vec::new(),
            state: State::Greeting,
            events: VecDeque::new(),
            capabilities: Capabilities::default(),
            tls: None,
            nonce: nonce.to_vec(),
            tried: Vec::new(),
            deadline: None,
            messages: 0,
            leaving: false,
            end_of_input: false,
        }
    }

    /// Begins a message; to be called after [`Event::Ready`].
    pub fn send(&mut self, envelope: Envelope) -> Result<(), NotReady> {
        if !matches!(self.state, State::Ready { .. }) || self.leaving {
            return Err(NotReady);
        }
        self.begin_message(envelope);
        Ok(())
    }

    /// The answer to [`Event::WantBody`]: the next piece of the message.
    pub fn body(&mut self, piece: Bytes) {
        self.push_body(piece);
    }

    /// The answer to [`Event::WantBody`]: the message is complete.
    pub fn end_body(&mut self) {
        self.push_body_end();
    }

    /// Gives up the message in hand, and with it the connection: what has been sent cannot be called back otherwise.
    /// The server delivers nothing of it. No event comes after this.
    pub fn abandon(&mut self) {
        self.queue.clear();
        self.output.clear();
        self.events.clear();
        self.state = State::Closing;
    }

    /// Ends the session when the message in hand is done.
    pub fn quit(&mut self) {
        self.leaving = true;
    }

    /// What the server offers, as of its last answer to EHLO.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What is known of TLS; `None` on a clear connection.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_deref()
    }

    /// The mechanism of the login, the last one tried if there were several.
    pub fn mechanism(&self) -> Option<Mechanism> {
        self.tried.last().copied()
    }

    /// Whether the owner has to give a piece of the message.
    pub fn wants_body(&self) -> bool {
        matches!(&self.state, State::Message(message) if message.asks())
    }

    fn command(&mut self, line: &str) {
        self.deadline = None;
        lines::push_line(&mut self.output, line);
    }

    /// Queues a piece as it is, behind the lines so far.
    fn piece(&mut self, piece: Bytes) {
        if !self.output.is_empty() {
            self.queue.push_back(std::mem::take(&mut self.output).into());
        }
        self.queue.push_back(piece);
    }

    fn pending(&mut self) -> Option<Bytes> {
        if let Some(piece) = self.queue.pop_front() {
            return Some(piece);
        }
        if self.output.is_empty() { None } else { Some(std::mem::take(&mut self.output).into()) }
    }

    fn fail(&mut self, error: Error) {
        // A server that still listens is told that we go.
        let listens = match &error {
            Error::Refused { reply, .. } => reply.code() != reply::CLOSING_CODE,
            Error::TlsNotOffered | Error::NoMechanism | Error::Login(_) => true,
            _ => false,
        };
        if listens {
            self.command("QUIT");
        }
        self.events.push_back(Event::Failed(error));
        self.state = State::Closing;
    }

    /// A reply that is neither yes nor no where one of them was due.
    fn fail_at(&mut self, stage: Stage, reply: Reply) {
        self.fail(match reply.class() {
            ReplyClass::Transient | ReplyClass::Permanent => Error::Refused { stage, reply },
            _ => Error::Unexpected { stage, reply },
        });
    }

    fn become_ready(&mut self) {
        let used_up = self.capabilities.max_messages.is_some_and(|max| self.messages >= max);
        self.leaving |= used_up;
        self.state = State::Ready { told: false };
        self.deadline = None;
    }

    fn turn(&mut self) -> Turn {
        if let Some(event) = self.events.pop_front() {
            return Turn::Event(event);
        }
        match &mut self.state {
            State::Handshake { .. } | State::Closing => return Turn::Starved,
            State::Ready { .. } if self.leaving => {
                self.command("QUIT");
                self.state = State::Quit;
                return Turn::Again;
            }
            State::Ready { told: told @ false } => {
                *told = true;
                return Turn::Event(Event::Ready);
            }
            State::Message(message) if message.asks() => return Turn::Starved,
            State::Message(_) => {
                self.write_message();
                match &self.state {
                    State::Message(message) if self.events.is_empty() => {
                        if !message.listens() {
                            return Turn::Starved;
                        }
                    }
                    _ => return Turn::Again,
                }
            }
            _ => {}
        }
        match self.parser.next(&mut self.input) {
            Ok(Some(reply)) => {
                self.deadline = None;
                self.reply(reply);
                Turn::Again
            }
            Ok(None) => Turn::Starved,
            Err(error) => {
                self.fail(error.into());
                Turn::Again
            }
        }
    }

    fn reply(&mut self, reply: Reply) {
        // "421 [...] may be a reply to any command" (RFC 5321 section 4.2.2).
        if reply.code() == reply::CLOSING_CODE && !matches!(self.state, State::Quit) {
            let stage = self.stage();
            return self.fail(Error::Refused { stage, reply });
        }
        match &self.state {
            State::Greeting => self.greeting(reply),
            State::Hello { helo } => self.hello(reply, *helo),
            State::StartTls => self.starttls(reply),
            State::Auth { .. } => self.auth(reply),
            State::Message(_) => self.message_reply(reply),
            State::Reset if reply.class() == ReplyClass::Completion => self.become_ready(),
            State::Reset => self.fail_at(Stage::Reset, reply),
            State::Quit => self.state = State::Closing,
            State::Ready { .. } => self.fail(Error::Unexpected { stage: Stage::Ready, reply }),
            State::Handshake { .. } | State::Closing => {}
        }
    }

    fn stage(&self) -> Stage {
        match &self.state {
            State::Greeting => Stage::Greeting,
            State::Hello { .. } => Stage::Hello,
            State::StartTls | State::Handshake { .. } => Stage::StartTls,
            State::Auth { .. } => Stage::Auth,
            State::Ready { .. } => Stage::Ready,
            State::Message(message) => message.stage(),
            State::Reset => Stage::Reset,
            State::Quit | State::Closing => Stage::Quit,
        }
    }

    fn timeout(&self) -> Duration {
        let timeouts = &self.config.timeouts;
        match self.stage() {
            Stage::Greeting => timeouts.greeting,
            Stage::Data => timeouts.data,
            Stage::Chunk | Stage::End => timeouts.end,
            Stage::Quit => timeouts.quit,
            Stage::Ready => timeouts.idle,
            _ => timeouts.command,
        }
    }

    /// What to do when nothing can be done without the server.
    fn wait(&mut self, now: Instant) -> Option<Step<Event>> {
        match &mut self.state {
            State::Closing => return Some(Step::Close),
            State::Handshake { begun: begun @ false } => {
                *begun = true;
                return Some(Step::StartTls);
            }
            // `next` should not have been called.
            State::Message(message) if message.asks() => return Some(Step::Wait { until: None }),
            _ => {}
        }
        if self.end_of_input {
            match self.stage() {
                Stage::Quit => self.state = State::Closing,
                stage => self.fail(Error::Lost(stage)),
            }
            return None;
        }
        let timeout = self.timeout();
        let deadline = *self.deadline.get_or_insert(now + timeout);
        if now < deadline {
            return Some(Step::Wait { until: Some(deadline) });
        }
        self.deadline = None;
        match self.stage() {
            Stage::Ready => self.leaving = true,
            Stage::Quit => self.state = State::Closing,
            stage => self.fail(Error::TimedOut(stage)),
        }
        None
    }
}

impl Session for Client {
    type Event = Event;

    fn receive(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Closing) {
            self.input.push(bytes);
        }
    }

    fn end_of_input(&mut self) {
        self.end_of_input = true;
    }

    fn tls_started(&mut self, tls: TlsFacts) {
        self.tls = Some(Box::new(tls));
        // What came in the clear may be anybody's (RFC 3207 section 4.2).
        self.input.clear();
        self.parser = ReplyParser::new(ReplyStyle::Smtp);
        self.capabilities = Capabilities::default();
        if let State::Handshake { .. } = self.state {
            self.say_hello(false);
        }
    }

    fn shut_down(&mut self) {
        self.leaving = true;
        match self.state {
            State::Greeting
            | State::Hello { .. }
            | State::StartTls
            | State::Handshake { .. }
            | State::Auth { .. } => {
                self.output.clear();
                self.state = State::Closing;
            }
            State::Ready { .. } | State::Message(_) | State::Reset | State::Quit | State::Closing => {}
        }
    }

    fn next(&mut self, now: Instant) -> Step<Event> {
        loop {
            match self.turn() {
                Turn::Again => continue,
                Turn::Event(event) => return Step::Event(event),
                Turn::Starved => {}
            }
            if let Some(bytes) = self.pending() {
                return Step::Send(bytes);
            }
            if let Some(step) = self.wait(now) {
                return step;
            }
        }
    }
}

/// Without input and output, which may hold a password.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("stage", &self.stage())
            .field("events", &self.events)
            .field("capabilities", &self.capabilities)
            .field("leaving", &self.leaving)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
