//! The server's side of the conversation, for SMTP, submission and LMTP.
//!
//! ```text
//! Greeting -> Command <-> Asked (a question to the owner)
//!                |  \---> Data, Chunk (a message comes in) -> Asked
//!                |  \---> Auth (a login) -> Asked
//!                |  \---> Handshake (TLS) -> Command, everything forgotten
//!                \------> Closing
//! ```

mod answer;
mod auth;
mod body;
mod commands;
mod config;
mod event;
mod greeting;
mod help;
mod verbs;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use packetboat_wire::{Input, Reply, ReplyStyle, Session, Step, TlsFacts};

use crate::command::HelloVerb;
use crate::envelope::BodyKind;
use crate::reply;

use auth::Exchange;
use body::{Chunk, Data, LineEnds};

pub use config::{
    AUTH_LINE_MAX, Audience, AuthConfig, BODY_GRACE, BODY_TIMEOUT, COMMAND_LINE_MAX, COMMAND_TIMEOUT, Config,
    DEFECT_TIMEOUT, Limits, Role, SLOWEST_BODY, SWALLOW_MAX, Timeouts,
};
pub use event::{Abort, AuthFailure, Closed, Event, Reversal};

/// Replies are gathered up to so many octets before they are given to the driver.
const GATHER_MAX: usize = 4096;

/// The server's side of one connection.
pub struct Server {
    config: Arc<Config>,
    input: Input,
    /// Replies not given out yet; pipelined commands are answered in one go (RFC 2920 section 3.2).
    output: Vec<u8>,
    state: State,
    transaction: Option<Transaction>,
    hello: Option<HelloVerb>,
    tls: Option<Box<TlsFacts>>,
    /// What the wall clock showed once.
    clock: Option<Box<(Instant, Timestamp)>>,
    /// To be told before anything else happens.
    aborted: Option<Abort>,
    closed: Option<Closed>,
    /// The owner's last words, said where a command would be read.
    last_words: Option<Box<Reply>>,
    /// When what is being waited for must be there.
    deadline: Option<Instant>,
    counts: Counts,
    flags: Flags,
}

/// What the session does at the moment.
#[derive(Debug)]
enum State {
    /// The greeting has not been sent. It is a refusal, if there is a reply here.
    Greeting(Option<Reply>),
    /// A command line must come.
    Command,
    /// The owner must answer.
    Asked(Question),
    /// A message comes by DATA.
    Data(Data),
    /// A piece of a message comes by BDAT.
    Chunk(Chunk),
    /// A login goes on.
    Auth(Box<Exchange>),
    /// The driver is to do a TLS handshake, or is at it.
    Handshake { begun: bool },
    /// Client and server change places, as the owner is to be told when the client has been.
    Turned,
    /// Nothing more is read.
    Closing,
}

/// What the owner has been asked.
#[derive(Debug)]
enum Question {
    Sender(Transaction),
    Recipient,
    Data,
    Chunk(Chunk),
    /// So many answers are awaited.
    BodyEnd(u32),
    Name {
        /// The answer may be UTF-8.
        utf8: bool,
    },
    Etrn,
    Turn,
    AuthStart(auth::Request),
    Auth(Box<Exchange>),
    Authenticated,
}

/// A mail transaction, from MAIL on (RFC 5321 section 3.3).
#[derive(Debug)]
struct Transaction {
    body: BodyKind,
    smtputf8: bool,
    /// Recipients accepted.
    accepted: u32,
    /// Some recipient was refused.
    some_refused: bool,
    /// A first chunk has come; from here on there is nothing but chunks (RFC 3030 section 2).
    chunked: bool,
    /// Octets of chunks.
    octets: u64,
    line_ends: LineEnds,
}

#[derive(Debug, Default)]
struct Counts {
    errors: u32,
    refusals: u32,
    messages: u32,
    idle_commands: u32,
}

#[derive(Debug, Default)]
struct Flags {
    early: bool,
    authenticated: bool,
    end_of_input: bool,
    shut_down: bool,
    /// The greeting was a refusal; only QUIT is answered (RFC 5321 section 3.1).
    no_service: bool,
}

/// What a state does next.
enum Turn {
    /// The state has changed.
    Again,
    Event(Event),
    /// Nothing can be done without more bytes.
    Starved,
}

impl Server {
    /// A session that has not said anything yet.
    pub fn new(config: Arc<Config>) -> Server {
        Server {
            config,
            input: Input::new(),
            output: Vec::new(),
            state: State::Greeting(None),
            transaction: None,
            hello: None,
            tls: None,
            clock: None,
            aborted: None,
            closed: None,
            last_words: None,
            deadline: None,
            counts: Counts::default(),
            flags: Flags::default(),
        }
    }

    /// A session that refuses its client from the start: with a reply 421 it closes at once, with 554 when the client
    /// says QUIT (RFC 5321 section 3.1).
    pub fn refusing(config: Arc<Config>, reply: Reply) -> Server {
        Server { state: State::Greeting(Some(reply)), ..Server::new(config) }
    }

    /// Tells what the wall clock shows `at` that time. Without it nobody is told until when a message could be held,
    /// and so none can be (RFC 4865 section 3).
    pub fn set_clock(&mut self, at: Instant, shows: Timestamp) {
        self.clock = Some(Box::new((at, shows)));
    }

    /// Ends the session with this reply, a 421, when the command or message in hand is done.
    pub fn end(&mut self, reply: Reply) {
        debug_assert_eq!(reply.code(), reply::CLOSING_CODE, "{reply} does not close");
        self.last_words = Some(Box::new(reply));
    }

    /// After [`Event::Turned`]: what the peer has sent since, which is the beginning of the other conversation.
    pub fn take_rest(&mut self) -> Bytes {
        self.input.take(usize::MAX)
    }

    /// Whether the owner has a question to answer.
    pub fn question_open(&self) -> bool {
        matches!(self.state, State::Asked(_))
    }

    /// Why the session ended; `None` while it lasts.
    pub fn closed(&self) -> Option<Closed> {
        self.closed
    }

    /// The client sent something before it could have read the greeting, as no mail server does
    /// (RFC 5321 section 4.3.1).
    pub fn early_talker(&self) -> bool {
        self.flags.early
    }

    /// What is known of TLS; `None` on a clear connection.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_deref()
    }

    /// How the client introduced itself, for the protocol name in a Received header (RFC 3848).
    pub fn hello(&self) -> Option<HelloVerb> {
        self.hello
    }

    /// What this session was told about itself.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the wall clock shows.
    fn clock(&self, now: Instant) -> Option<Timestamp> {
        let (at, shows) = self.clock.as_deref()?;
        let since = SignedDuration::try_from(now.saturating_duration_since(*at)).ok()?;
        shows.checked_add(since).ok()
    }

    /// How long a message may be held, and by that until when.
    fn future_release(&self, now: Instant) -> Option<(Duration, Timestamp)> {
        let longest = self.config.future_release.filter(|_| self.config.role == Role::Submission)?;
        let until = self.clock(now)?.checked_add(SignedDuration::try_from(longest).ok()?).ok()?;
        Some((longest, until))
    }

    fn say(&mut self, reply: &Reply) {
        reply.encode_into(&mut self.output, ReplyStyle::Smtp);
    }

    /// Says no to something that was asked properly.
    fn say_refusal(&mut self, reply: &Reply) {
        self.say(reply);
        self.counts.refusals += 1;
    }

    /// Says that the client has made a mistake.
    fn complain(&mut self, reply: &Reply) {
        self.say(reply);
        self.counts.errors += 1;
    }

    /// Says something and closes.
    fn say_last(&mut self, reply: &Reply, why: Closed) {
        self.say(reply);
        self.close(why);
    }

    fn close(&mut self, why: Closed) {
        self.abort(Abort::Closed(why));
        self.closed.get_or_insert(why);
        self.input.clear();
        self.state = State::Closing;
    }

    /// Ends the transaction without a message, if there is one.
    fn abort(&mut self, why: Abort) {
        if self.transaction.take().is_some() {
            self.aborted = Some(why);
        }
    }

    fn turn(&mut self, now: Instant) -> Turn {
        if let Some(why) = self.aborted.take() {
            return Turn::Event(Event::Aborted(why));
        }
        match &self.state {
            State::Greeting(_) => self.greet(now),
            State::Command => self.command(now),
            State::Data(_) => self.data(now),
            State::Chunk(_) => self.chunk(now),
            State::Auth(_) => self.auth(),
            State::Asked(_) | State::Handshake { .. } | State::Turned | State::Closing => Turn::Starved,
        }
    }

    /// What to do when nothing can be done without the peer.
    fn wait(&mut self, now: Instant) -> Option<Step<Event>> {
        match self.state {
            // `next` should not have been called.
            State::Asked(_) => return Some(Step::Wait { until: None }),
            State::Closing => return Some(Step::Close),
            State::Turned => {
                self.closed = Some(Closed::Turned);
                self.state = State::Closing;
                return Some(Step::Event(Event::Turned));
            }
            State::Handshake { begun: false } => {
                self.state = State::Handshake { begun: true };
                return Some(Step::StartTls);
            }
            _ => {}
        }
        if self.flags.end_of_input {
            self.close(Closed::Lost);
            return None;
        }
        let timeout = self.timeout();
        let deadline = *self.deadline.get_or_insert(now + timeout);
        if now < deadline {
            return Some(Step::Wait { until: Some(deadline) });
        }
        self.time_out();
        None
    }

    fn timeout(&self) -> Duration {
        match &self.state {
            State::Greeting(_) => self.config.timeouts.greeting_delay,
            State::Data(data) if data.ends_badly() => DEFECT_TIMEOUT,
            State::Data(_) | State::Chunk(_) => self.config.timeouts.body,
            _ => self.config.timeouts.command,
        }
    }

    fn time_out(&mut self) {
        self.deadline = None;
        match &self.state {
            State::Greeting(_) => self.say_greeting(),
            State::Data(data) if data.ends_badly() => {
                self.say_last(&reply::bare_newline_in_message(), Closed::Hostile);
            }
            _ => self.say_last(&reply::timed_out(), Closed::TimedOut),
        }
    }
}

impl Session for Server {
    type Event = Event;

    fn receive(&mut self, bytes: &[u8]) {
        match self.state {
            State::Closing => return,
            State::Greeting(_) => self.flags.early = true,
            _ => {}
        }
        self.input.push(bytes);
    }

    fn end_of_input(&mut self) {
        self.flags.end_of_input = true;
    }

    fn tls_started(&mut self, tls: TlsFacts) {
        self.tls = Some(Box::new(tls));
        self.input.clear();
        self.deadline = None;
        if let State::Handshake { .. } = self.state {
            // "the server MUST discard any knowledge obtained from the client [...] which was not obtained from the
            // TLS negotiation itself" (RFC 3207 section 4.2).
            self.state = State::Command;
            self.hello = None;
        }
    }

    fn shut_down(&mut self) {
        self.flags.shut_down = true;
    }

    fn cut_short(&mut self) -> bool {
        if matches!(self.state, State::Closing | State::Handshake { .. } | State::Turned) {
            return false;
        }
        // "421 [...] This may be a reply to any command if the service knows it must shut down" (RFC 5321 section 4.2.2).
        self.say_last(&reply::shutting_down(), Closed::ShutDown);
        true
    }

    fn next(&mut self, now: Instant) -> Step<Event> {
        loop {
            if self.output.len() < GATHER_MAX {
                match self.turn(now) {
                    Turn::Again => continue,
                    Turn::Event(event) => return Step::Event(event),
                    Turn::Starved => {}
                }
            }
            if !self.output.is_empty() {
                return Step::Send(Bytes::from(std::mem::take(&mut self.output)));
            }
            if let Some(step) = self.wait(now) {
                return step;
            }
        }
    }
}

/// Without input and output, which may hold a password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("state", &self.state)
            .field("transaction", &self.transaction)
            .field("hello", &self.hello)
            .field("counts", &self.counts)
            .field("flags", &self.flags)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
