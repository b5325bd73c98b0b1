//! The client's side of the control connection.
//!
//! ```text
//! Greeting -> AUTH -> handshake -> HOST -> USER -> PASS -> ACCT -> PBSZ -> PROT -> FEAT -> OPTS UTF8 -> Ready -> QUIT
//! ```
//!
//! The way to [`Event::Ready`] the session goes by itself, as its [`Config`] says. Then it works off a queue of
//! [`Request`]s. For a transfer it says TYPE, STRU and MODE where the server does not know them yet, sees to a data
//! connection (its owner opens it: [`Event::Connect`], [`Event::Listen`]), and says REST and the command. What travels over
//! the data connection is the owner's affair, with [`data`](crate::data).

mod answers;
mod config;
mod event;
mod login;
mod transfer;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;
use packetboat_wire::{
    Input, Reply, ReplyClass, ReplyLimits, ReplyParser, ReplyStyle, Session, Step, TELNET_INTERRUPT, Telnet,
    TlsFacts,
};

use crate::command::{Command, PathName, Unsayable};
use crate::data::Representation;

use login::Preparation;
use transfer::{Running, Stage};

pub use answers::{Features, marker, quoted_path, unique_name};
pub use config::{Config, ConnectionPolicy, Login, TlsPolicy};
pub use event::{Error, Event, Request, Transfer, What};

/// A reply may be as long as STAT of a large directory is.
const REPLY_LIMITS: ReplyLimits = ReplyLimits { line: 8 * 1024, lines: 20_000, octets: 2 << 20 };

/// One session with one server.
#[derive(Debug)]
pub struct Client {
    config: Config,
    telnet: Telnet,
    input: Input,
    replies: ReplyParser,
    output: BytesMut,
    events: VecDeque<Event>,
    state: State,
    /// Requests not begun yet.
    queue: VecDeque<Request>,
    features: Features,
    known: Known,
    tls: Option<TlsFacts>,
    end_of_input: bool,
    stopping: bool,
    last_activity: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// 220 has to come.
    Greeting,
    /// A command of the session's own has to be answered.
    Preparing(Preparation),
    /// AUTH was accepted.
    Handshake,
    /// Nothing is under way.
    Ready,
    /// A command has to be answered.
    Asked(Command),
    /// RNFR, or after it RNTO.
    Renaming {
        from: PathName,
        to: PathName,
        named: bool,
    },
    Transferring(Box<Running>),
    Closed,
}

/// What the server was told that holds from one command to the next.
#[derive(Debug)]
struct Known {
    representation: Representation,
    deflate: bool,
    protected: bool,
    /// The data connection of the last transfer is open.
    open: bool,
    /// EPSV, EPRT: refused once, not tried again.
    no_extended: bool,
}

impl Client {
    /// A session on a connection that has just been made. Where TLS runs from the start, call
    /// [`tls_started`](Session::tls_started) before the first [`next`](Session::next).
    pub fn new(config: Config) -> Client {
        Client {
            config,
            telnet: Telnet::new(),
            input: Input::new(),
            replies: ReplyParser::with_limits(ReplyStyle::Ftp, REPLY_LIMITS),
            output: BytesMut::new(),
            events: VecDeque::new(),
            state: State::Greeting,
            queue: VecDeque::new(),
            features: Features::default(),
            known: Known {
                representation: Representation::default(),
                deflate: false,
                protected: false,
                open: false,
                no_extended: false,
            },
            tls: None,
            end_of_input: false,
            stopping: false,
            last_activity: None,
        }
    }

    /// Queues a request, at any time. [`Event::Done`], [`Event::Refused`] or [`Event::NotConnected`] answers it, in the order
    /// of the requests.
    ///
    /// What cannot be said is not taken; nor are commands that log in, protect, or prepare a transfer, which are the session's
    /// own affair. TYPE, STRU and MODE are taken, for SIZE goes by them.
    pub fn request(&mut self, request: Request) -> Result<(), Unsayable> {
        let sayable = |command: &Command| command.encode(&mut BytesMut::new());
        match &request {
            Request::Command(command) if is_own(command) => return Err(Unsayable),
            Request::Command(command) => sayable(command)?,
            Request::Rename(from, to) => {
                sayable(&Command::Rnfr(from.clone()))?;
                sayable(&Command::Rnto(to.clone()))?;
            }
            Request::Transfer(transfer) => {
                sayable(&transfer::command(&transfer.what))?;
                if let Some(marker) = &transfer.restart {
                    sayable(&Command::Rest(marker.clone()))?;
                }
            }
        }
        self.queue.push_back(request);
        Ok(())
    }

    /// Requests that have not been answered in full.
    pub fn pending(&self) -> usize {
        let under_way =
            matches!(self.state, State::Asked(_) | State::Renaming { .. } | State::Transferring(_));
        self.queue.len() + usize::from(under_way)
    }

    /// What the server offers.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Whether data connections are protected.
    pub fn protects_data(&self) -> bool {
        self.known.protected
    }

    /// Interrupts the transfer that runs, if one does. The owner closes the data connection; the request is answered as
    /// the server says, [`Event::Refused`] with 426 as a rule.
    pub fn abort(&mut self) {
        if let State::Transferring(running) = &mut self.state
            && running.abort()
        {
            self.output.extend_from_slice(TELNET_INTERRUPT);
            self.output.extend_from_slice(b"ABOR\r\n");
        }
    }

    /// Asks how far the transfer is that runs; [`Event::Status`] answers.
    pub fn status(&mut self) {
        if let State::Transferring(running) = &mut self.state
            && running.ask_status()
        {
            self.output.extend_from_slice(TELNET_INTERRUPT);
            self.output.extend_from_slice(b"STAT\r\n");
        }
    }

    /// The data connection that stayed open after a transfer is no more.
    pub fn data_closed(&mut self) {
        self.known.open = false;
    }

    /// All data has been transferred, or none will be any more: from now on the server owes us the end.
    pub fn data_ended(&mut self) {
        if let State::Transferring(running) = &mut self.state {
            running.data_ended = true;
            self.last_activity = None;
        }
    }

    /// Says a command of the session's own.
    fn say(&mut self, command: &Command) -> bool {
        match command.encode(&mut self.output) {
            Ok(()) => true,
            Err(unsayable) => {
                self.fail(Error::Unsayable(unsayable));
                false
            }
        }
    }

    fn fail(&mut self, error: Error) {
        self.events.push_back(Event::Failed(error));
        self.close();
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.input.clear();
        self.queue.clear();
    }

    /// Takes the next request up.
    fn begin(&mut self) -> bool {
        if self.stopping {
            return false;
        }
        match self.queue.pop_front() {
            None => return false,
            Some(Request::Command(command)) => {
                if self.say(&command) {
                    self.state = State::Asked(command);
                }
            }
            Some(Request::Rename(from, to)) => {
                if self.say(&Command::Rnfr(from.clone())) {
                    self.state = State::Renaming { from, to, named: false };
                }
            }
            Some(Request::Transfer(transfer)) => {
                self.state = State::Transferring(Box::new(Running::new(transfer)));
                self.go_on();
            }
        }
        true
    }

    /// Takes one step; whether there was one to take.
    fn advance(&mut self) -> bool {
        if matches!(self.state, State::Handshake | State::Closed) || self.is_asking() {
            return false;
        }
        if matches!(self.state, State::Ready) {
            if self.begin() {
                return true;
            }
            // Who is about to leave does not listen to what nobody asked for.
            if self.stopping {
                return false;
            }
        }
        match self.replies.next(&mut self.input) {
            Ok(Some(reply)) => self.replied(reply),
            Ok(None) => return false,
            Err(error) => self.fail(error.into()),
        }
        true
    }

    fn replied(&mut self, reply: Reply) {
        // "This may be a reply to any command if the service knows it must shut down" (RFC 959 section 4.2.2).
        if reply.code() == 421 {
            return self.fail(Error::Ended(reply));
        }
        let preliminary = reply.class() == ReplyClass::Preliminary;
        match std::mem::replace(&mut self.state, State::Closed) {
            // 120: "service ready in nnn minutes".
            State::Greeting if preliminary => self.state = State::Greeting,
            State::Greeting => self.greeted(reply),
            State::Preparing(preparation) if preliminary => self.state = State::Preparing(preparation),
            State::Preparing(preparation) => self.prepared(preparation, reply),
            State::Asked(command) if preliminary => self.state = State::Asked(command),
            State::Asked(command) => self.answered(command, reply),
            State::Renaming { from, to, named } => self.renamed(from, to, named, reply),
            State::Transferring(running) => {
                self.state = State::Transferring(running);
                self.transfer_replied(reply);
            }
            State::Ready | State::Handshake | State::Closed => self.fail(Error::OutOfPlace(reply)),
        }
    }

    fn answered(&mut self, command: Command, reply: Reply) {
        self.state = State::Ready;
        let done = matches!(reply.class(), ReplyClass::Completion | ReplyClass::Intermediate);
        match &command {
            Command::Type(ty) if done => self.known.representation.ty = *ty,
            Command::Stru(structure) if done => self.known.representation.structure = *structure,
            Command::Mode(mode) if done => self.mode_is(*mode),
            Command::Quit => self.close(),
            _ => {}
        }
        let request = Request::Command(command);
        self.events.push_back(match done {
            true => Event::Done { request, reply, stays_open: false },
            false => Event::Refused { request, reply },
        });
    }

    fn renamed(&mut self, from: PathName, to: PathName, named: bool, reply: Reply) {
        let request = || Request::Rename(from.clone(), to.clone());
        self.state = State::Ready;
        match (reply.class(), named) {
            (ReplyClass::Intermediate, false) => {
                if self.say(&Command::Rnto(to.clone())) {
                    self.state = State::Renaming { from, to, named: true };
                }
            }
            (ReplyClass::Completion, true) => {
                self.events.push_back(Event::Done { request: request(), reply, stays_open: false });
            }
            (ReplyClass::Transient | ReplyClass::Permanent, _) => {
                self.events.push_back(Event::Refused { request: request(), reply });
            }
            (ReplyClass::Preliminary, named) => self.state = State::Renaming { from, to, named },
            _ => self.fail(Error::OutOfPlace(reply)),
        }
    }

    /// Whether a question to the owner is open.
    fn is_asking(&self) -> bool {
        matches!(&self.state, State::Transferring(running) if running.stage == Stage::Connecting)
    }

    /// Whether the server has something to say first.
    fn owed(&self) -> bool {
        match &self.state {
            State::Greeting | State::Preparing(_) | State::Asked(_) | State::Renaming { .. } => true,
            State::Transferring(running) => running.is_owed(),
            State::Ready | State::Handshake | State::Closed => false,
        }
    }
}

/// Commands that the session says by itself, or that would leave it not knowing what the server knows.
fn is_own(command: &Command) -> bool {
    matches!(
        command,
        Command::User(_)
            | Command::Pass(_)
            | Command::Rein
            | Command::Auth(_)
            | Command::Adat
            | Command::Protected
            | Command::Pbsz(_)
            | Command::Prot(_)
            | Command::Ccc
            | Command::Host(_)
            | Command::Port(_)
            | Command::Eprt(_)
            | Command::Lprt(_)
            | Command::Pasv
            | Command::Epsv(_)
            | Command::EpsvAll
            | Command::Lpsv
            | Command::Retr(_)
            | Command::Stor(_)
            | Command::Stou(_)
            | Command::Appe(_)
            | Command::List(_)
            | Command::Nlst(_)
            | Command::Mlsd(_)
            | Command::Rest(_)
            | Command::Rang(..)
            | Command::Rnfr(_)
            | Command::Rnto(_)
            | Command::Abor
    )
}

impl Session for Client {
    type Event = Event;

    fn receive(&mut self, bytes: &[u8]) {
        // What comes before the handshake is not from the TLS peer.
        if matches!(self.state, State::Handshake | State::Closed) {
            return;
        }
        let mut data = Vec::with_capacity(bytes.len());
        self.telnet.receive(bytes, &mut data);
        self.input.push(&data);
        self.output.extend_from_slice(&self.telnet.take_answers());
    }

    fn end_of_input(&mut self) {
        self.end_of_input = true;
    }

    fn tls_started(&mut self, tls: TlsFacts) {
        self.input.clear();
        self.telnet = Telnet::new();
        self.tls = Some(tls);
        if matches!(self.state, State::Handshake) {
            self.go_on_after_tls();
        }
    }

    /// Ends the session when what is under way is answered.
    fn shut_down(&mut self) {
        self.stopping = true;
        self.queue.clear();
    }

    fn next(&mut self, now: Instant) -> Step<Event> {
        self.last_activity.get_or_insert(now);
        while self.events.is_empty() && self.advance() {
            self.last_activity = Some(now);
        }
        if !self.output.is_empty() {
            return Step::Send(self.output.split().freeze());
        }
        if let Some(event) = self.events.pop_front() {
            return Step::Event(event);
        }
        match self.state {
            State::Closed => return Step::Close,
            State::Handshake if !self.end_of_input => return Step::StartTls,
            State::Ready if self.stopping => return Step::Close,
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
