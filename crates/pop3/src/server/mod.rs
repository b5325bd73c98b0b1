//! The server's side of a conversation.
//!
//! ```text
//! Greeting -> Authorization -> Transaction -> Update -> Closed
//!                ^     |            |
//!                |     v            +-> Closed (nothing deleted)
//!             Handshake (STLS)
//! ```
//!
//! A session with a question open ([`Event`]) stands still; pipelined commands wait in its input buffer.

mod authorization;
mod capabilities;
mod config;
mod event;
mod maildrop;
mod top;
mod transaction;

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use packetboat_wire::{Input, LineEnding, LineError, Session, Step, TlsFacts};

use crate::reply::Reply;
use crate::{COMMAND_LINE_MAX, InvalidCommand, Language, SASL_LINE_MAX, Strictness};

use authorization::Authorization;
use maildrop::Maildrop;
use transaction::Transaction;

pub use config::{Config, Expire, Timeouts};
pub use event::{Abandonment, Event, Login, NoBody, Part, Refusal};
pub use maildrop::Deletions;

/// Messages in one [`Event::UniqueIds`] at most.
pub const UNIQUE_IDS_PAGE: usize = 512;

/// Replies are handed out as soon as so many octets have come together; a listing is made in pieces of this size.
const OUTPUT_PIECE: usize = 16 * 1024;

/// One client's session.
///
/// Nothing of it survives: whoever drops a session before [`Event::Commit`] was answered has deleted nothing.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    /// Randomness of this session, for the banner's timestamp and SCRAM nonces.
    seed: [u8; SEED_LENGTH],
    input: Input,
    /// Replies not handed out yet.
    output: BytesMut,
    /// Message text not handed out yet; it comes after `output`.
    body: Bytes,
    /// The event to hand out next.
    event: Option<Event>,
    state: State,
    tls: Option<Box<TlsFacts>>,
    language: Language,
    utf8: bool,
    end_of_input: bool,
    stopping: bool,
    revoked: bool,
    errors: u32,
    failed_logins: u32,
    /// SASL exchanges begun.
    exchanges: u32,
    /// When something happened last; idle time counts from here.
    last_activity: Option<Instant>,
}

/// Octets of randomness a session needs.
pub const SEED_LENGTH: usize = 32;

#[derive(Debug)]
enum State {
    /// The banner is still to be sent.
    Greeting,
    Authorization(Authorization),
    /// STLS was accepted.
    Handshake,
    Transaction(Box<Transaction>),
    /// QUIT was given after a login; the owner deletes.
    Update {
        messages_left: usize,
    },
    Closed,
}

/// Whether a session can go on by itself.
#[derive(Debug, PartialEq, Eq)]
enum Advance {
    Progress,
    /// It needs the owner, the peer or time.
    Blocked,
}

impl Server {
    /// A session in front of a client that has just connected.
    ///
    /// `seed` is random and never used twice. Where TLS runs from the start (port 995), call
    /// [`tls_started`](Session::tls_started) before the first [`next`](Session::next).
    pub fn new(config: Arc<Config>, seed: [u8; SEED_LENGTH]) -> Server {
        Server {
            config,
            seed,
            input: Input::new(),
            output: BytesMut::new(),
            body: Bytes::new(),
            event: None,
            state: State::Greeting,
            tls: None,
            language: Language::English,
            utf8: false,
            end_of_input: false,
            stopping: false,
            revoked: false,
            errors: 0,
            failed_logins: 0,
            exchanges: 0,
            last_activity: None,
        }
    }

    fn reply(&mut self, reply: Reply<'_>) {
        reply.write(self.language, &mut self.output);
    }

    /// Does what can be done without waiting for anybody, one command or one piece of a listing at a time.
    fn advance(&mut self) -> Advance {
        if self.event.is_some() {
            return Advance::Blocked;
        }
        match self.state {
            State::Greeting => {
                self.greet();
                Advance::Progress
            }
            State::Authorization(_) => self.advance_authorization(),
            State::Transaction(_) => self.advance_transaction(),
            State::Handshake | State::Update { .. } | State::Closed => Advance::Blocked,
        }
    }

    fn greet(&mut self) {
        if self.stopping {
            return self.say_goodbye(Reply::ShuttingDown);
        }
        let timestamp = self.timestamp();
        let config = self.config.clone();
        self.reply(Reply::Ready { hostname: &config.hostname, timestamp: timestamp.as_deref() });
        self.state = State::Authorization(Authorization::default());
    }

    /// Takes the next line that is there in full, or ends the session if none will come.
    ///
    /// This is the command boundary at which a server that stops, or has lost its client's trust, says goodbye.
    fn take_line(&mut self, max: usize) -> Result<Option<Bytes>, LineError> {
        if self.stopping {
            self.reply(Reply::ShuttingDown);
            self.close(Abandonment::ShutDown);
            return Ok(None);
        }
        if self.revoked {
            self.reply(Reply::AccessRevoked);
            self.close(Abandonment::Revoked);
            return Ok(None);
        }
        let ending = match self.config.strictness {
            Strictness::Lenient => LineEnding::CrlfOrLf,
            Strictness::Strict => LineEnding::Crlf,
        };
        let line = self.input.take_line(max, ending);
        if line == Ok(None) && self.end_of_input {
            self.close(Abandonment::Disconnected);
        }
        line
    }

    /// Answers a line that is no command; too many of them end the session.
    fn invalid(&mut self, invalid: InvalidCommand) {
        match invalid {
            InvalidCommand::Unknown => self.mistake(Reply::UnknownCommand),
            InvalidCommand::Arguments => self.mistake(Reply::BadArguments),
            InvalidCommand::TooLong => self.mistake(Reply::LineTooLong),
            InvalidCommand::WrongProtocol => {
                // A browser was made to send this: whatever else it sends might be somebody's idea of commands.
                self.reply(Reply::WrongProtocol);
                self.close(Abandonment::TooManyErrors);
            }
        }
    }

    /// Answers a line that cannot be read.
    fn unreadable(&mut self, error: LineError) {
        match error {
            LineError::TooLong => self.mistake(Reply::LineTooLong),
            LineError::BareCr | LineError::BareLf => self.mistake(Reply::BadArguments),
        }
    }

    /// Answers a line that makes no sense here, and counts it.
    fn mistake(&mut self, reply: Reply<'_>) {
        self.errors = self.errors.saturating_add(1);
        if self.errors < self.config.max_errors {
            self.reply(reply);
        } else {
            self.reply(Reply::TooManyErrors);
            self.close(Abandonment::TooManyErrors);
        }
    }

    /// Ends the session without an UPDATE state; whoever opened a maildrop is told that nothing is deleted.
    fn close(&mut self, cause: Abandonment) {
        if matches!(self.state, State::Transaction(_)) {
            self.event = Some(Event::Abandoned { cause });
        }
        self.state = State::Closed;
        self.input.clear();
    }

    /// QUIT before a login, or after the UPDATE state.
    fn say_goodbye(&mut self, reply: Reply<'_>) {
        self.reply(reply);
        self.state = State::Closed;
        self.input.clear();
    }

    fn timeout(&self) -> Option<Instant> {
        let limit = match self.state {
            State::Greeting | State::Authorization(_) | State::Handshake => {
                self.config.timeouts.authorization
            }
            State::Transaction(_) | State::Update { .. } => self.config.timeouts.transaction,
            State::Closed => return None,
        };
        self.last_activity?.checked_add(limit)
    }

    /// Whether the owner has to answer before anything can go on.
    fn awaits_answer(&self) -> bool {
        match &self.state {
            State::Authorization(authorization) => authorization.awaits_answer(),
            State::Transaction(transaction) => transaction.awaits_answer(),
            State::Update { .. } => true,
            State::Greeting | State::Handshake | State::Closed => false,
        }
    }

    /// A login succeeded and the maildrop is open, with messages of these sizes in octets, the oldest first. Sizes
    /// count what RETR sends, without byte-stuffing (RFC 1939 section 11).
    pub fn maildrop(&mut self, sizes: Vec<u64>) {
        let State::Authorization(authorization) = &self.state else { return };
        if !authorization.opening() {
            return;
        }
        let maildrop = Maildrop::new(sizes);
        self.reply(Reply::Maildrop { messages: maildrop.messages(), octets: maildrop.octets() });
        self.errors = 0;
        self.state = State::Transaction(Box::new(Transaction::new(maildrop)));
    }

    /// What the client logged in with is no longer good: the session ends when the command in hand is done, and deletes
    /// nothing.
    pub fn revoke(&mut self) {
        self.revoked = true;
    }

    /// All that [`Event::Commit`] named is deleted.
    pub fn committed(&mut self) {
        let State::Update { messages_left } = self.state else { return };
        let config = self.config.clone();
        self.say_goodbye(Reply::GoodbyeLeaving { hostname: &config.hostname, messages: messages_left });
    }

    /// Nothing of what [`Event::Commit`] named is deleted.
    pub fn commit_failed(&mut self) {
        if matches!(self.state, State::Update { .. }) {
            self.say_goodbye(Reply::NotDeleted);
        }
    }
}

impl Session for Server {
    type Event = Event;

    fn receive(&mut self, bytes: &[u8]) {
        match self.state {
            // What comes before the handshake is not the TLS peer's (RFC 2595 section 4), and nobody reads what comes
            // after the end.
            State::Handshake | State::Closed => {}
            _ => self.input.push(bytes),
        }
    }

    fn end_of_input(&mut self) {
        self.end_of_input = true;
        if matches!(self.state, State::Handshake) {
            self.state = State::Closed;
        }
    }

    fn tls_started(&mut self, tls: TlsFacts) {
        self.input.clear();
        self.tls = Some(Box::new(tls));
        if matches!(self.state, State::Handshake) {
            // "the server MUST discard any knowledge obtained from the client": a name, a language, a mode somebody in
            // the middle may have set.
            self.state = State::Authorization(Authorization::default());
            self.language = Language::English;
            self.utf8 = false;
        }
    }

    fn shut_down(&mut self) {
        self.stopping = true;
    }

    fn next(&mut self, now: Instant) -> Step<Event> {
        self.last_activity.get_or_insert(now);
        loop {
            if !self.output.is_empty() && (self.output.len() >= OUTPUT_PIECE || !self.body.is_empty()) {
                return Step::Send(std::mem::take(&mut self.output).freeze());
            }
            if !self.body.is_empty() {
                return Step::Send(std::mem::take(&mut self.body));
            }
            if self.advance() == Advance::Blocked {
                break;
            }
            self.last_activity = Some(now);
        }
        // A reply that only announces text goes out together with the text.
        if !self.output.is_empty() && self.event != Some(Event::MoreBody) {
            return Step::Send(std::mem::take(&mut self.output).freeze());
        }
        if let Some(event) = self.event.take() {
            return Step::Event(event);
        }
        match self.state {
            State::Closed => return Step::Close,
            State::Handshake => return Step::StartTls,
            _ if self.awaits_answer() => return Step::Wait { until: None },
            _ => {}
        }
        let until = self.timeout();
        if until.is_some_and(|until| now >= until) {
            // RFC 1939 section 3: close "without removing any messages or sending any response to the client".
            self.close(Abandonment::Timeout);
            return self.event.take().map_or(Step::Close, Step::Event);
        }
        Step::Wait { until }
    }
}

/// The longest line the state allows.
fn line_max(state: &State) -> usize {
    match state {
        State::Authorization(_) => SASL_LINE_MAX,
        _ => COMMAND_LINE_MAX,
    }
}

#[cfg(test)]
mod tests;
