//! The server's side of the control connection.
//!
//! A session with a question open ([`Event`]) stands still; commands that came wait in its input. While a transfer runs it
//! goes on: ABOR, STAT, QUIT, NOOP and what asks for nothing that the transfer uses are answered, everything else waits.

mod access;
mod actions;
mod config;
mod event;
mod help;
mod parameters;
mod refusal;
mod switch;
mod transfer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use packetboat_wire::{Input, LineEnding, LineError, Reply, ReplyStyle, Session, Step, Telnet, TlsFacts};

use crate::command::{Algorithm, COMMAND_LINE_MAX, Command, InvalidCommand, PathName, parse};
use crate::data::{Options, Representation};
use crate::reply;

pub use config::{Config, Timeouts};
pub use switch::{command_name, switched_off};

pub use event::{
    Answer, Connection, Event, Passive, Refusal, Request, Transfer, TransferFailure, Transferred, What,
};

/// Replies are handed out as soon as so many octets have come together.
const OUTPUT_PIECE: usize = 16 * 1024;

/// One client's session.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    telnet: Telnet,
    input: Input,
    data: Vec<u8>,
    output: BytesMut,
    event: Option<Event>,
    phase: Phase,
    login: Login,
    settings: Settings,
    /// What the open question is about.
    asked: Option<Asked>,
    transfer: Option<Running>,
    tls: Option<Box<TlsFacts>>,
    end_of_input: bool,
    stopping: bool,
    /// ABOR came while an action was carried out.
    aborting: bool,
    /// The client has interrupted by Telnet, and wants its next ABOR or STAT heard before what waits.
    interrupted: bool,
    errors: u32,
    failed_logins: u32,
    idle: Duration,
    /// When something happened last; idle time counts from here.
    last_activity: Option<Instant>,
    began: Option<Instant>,
    disabled: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    Open,
    Handshake,
    /// CCC was accepted, and TLS has not ended yet.
    Clearing,
    /// QUIT was given while a transfer was running.
    Leaving,
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Login {
    Nobody,
    /// USER was given.
    Named,
    /// The password was right, and ACCT is missing.
    WantsAccount,
    In,
}

/// What commands have set, and what they have announced for the next one.
#[derive(Debug)]
struct Settings {
    representation: Representation,
    deflate: bool,
    options: Options,
    umask: Option<u32>,
    hash: Algorithm,
    facts: Vec<&'static str>,
    protection_buffer: bool,
    protected: bool,
    /// Whether this user's data connections have to be.
    needs_protection: bool,
    epsv_all: bool,
    connection: Connection,
    /// The data connection of the last transfer is open.
    open: bool,
    restart: Option<String>,
    range: Option<(u64, u64)>,
    announced: Option<u64>,
    rename_from: Option<PathName>,
    copy_from: Option<PathName>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            representation: Representation::default(),
            deflate: false,
            options: Options::default(),
            umask: None,
            hash: Algorithm::Sha256,
            facts: help::FACTS.to_vec(),
            protection_buffer: false,
            protected: false,
            needs_protection: false,
            epsv_all: false,
            connection: Connection::Default,
            open: false,
            restart: None,
            range: None,
            announced: None,
            rename_from: None,
            copy_from: None,
        }
    }
}

/// The command that waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Host,
    User,
    Password,
    Account,
    Listen(Passive),
    Connect(std::net::SocketAddr),
    Request(Command),
    Transfer,
    Progress,
}

/// The transfer that runs.
#[derive(Debug)]
struct Running {
    /// STOR and its like, rather than RETR and its like.
    inbound: bool,
    about: String,
    /// ABOR came.
    aborting: bool,
}

/// Whether a session can go on by itself.
#[derive(Debug, PartialEq, Eq)]
enum Advance {
    Progress,
    Blocked,
}

impl Server {
    /// A session in front of a client that has just connected. Where TLS runs from the start, call
    /// [`tls_started`](Session::tls_started) before the first [`next`](Session::next).
    pub fn new(config: Arc<Config>) -> Server {
        Server {
            idle: config.timeouts.idle,
            disabled: config.disabled.clone(),
            config,
            telnet: Telnet::new(),
            input: Input::new(),
            data: Vec::new(),
            output: BytesMut::new(),
            event: None,
            phase: Phase::Greeting,
            login: Login::Nobody,
            settings: Settings::default(),
            asked: None,
            transfer: None,
            tls: None,
            end_of_input: false,
            stopping: false,
            aborting: false,
            interrupted: false,
            errors: 0,
            failed_logins: 0,
            last_activity: None,
            began: None,
        }
    }

    /// Whether somebody is logged in.
    pub fn is_logged_in(&self) -> bool {
        self.login == Login::In
    }

    /// Whether a transfer has begun and not ended.
    pub fn is_transferring(&self) -> bool {
        self.transfer.is_some()
    }

    /// Whether the next data connection is to be protected (PROT P).
    pub fn protects_data(&self) -> bool {
        self.settings.protected
    }

    /// What is known of the TLS of the control connection.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_deref()
    }

    /// The facts that MLST and MLSD are to tell (RFC 3659 section 7.9).
    pub fn facts(&self) -> &[&'static str] {
        &self.settings.facts
    }

    /// Commands that are switched off for this user until REIN, beside those that are for everybody: by the names that
    /// [`command_name`] gives.
    pub fn disable(&mut self, commands: Vec<String>) {
        self.disabled.clone_from(&self.config.disabled);
        self.disabled.extend(commands);
    }

    /// How long nothing may be heard from this user, who may ask for more (SITE IDLE).
    pub fn set_idle(&mut self, idle: Duration) {
        self.idle = idle;
    }

    /// Data connections of this user are refused without TLS, until REIN.
    pub fn need_protection(&mut self) {
        self.settings.needs_protection = true;
    }

    /// After [`Event::ClearControl`]: both sides have said farewell, and what comes from now on comes in the clear.
    /// Whoever is logged in stays so, and data connections are protected as PROT has said.
    pub fn tls_ended(&mut self) {
        if self.phase == Phase::Clearing {
            self.phase = Phase::Open;
            self.input.clear();
            self.telnet = Telnet::new();
            self.tls = None;
        }
    }

    /// Nobody is served now: says so, and ends the session.
    pub fn turn_away(&mut self, words: &str) {
        self.end(reply::turned_away(words));
    }

    /// Says something and ends the session, whatever it is about.
    pub fn end(&mut self, last_words: Reply) {
        self.say(&last_words);
        self.close();
    }

    fn say(&mut self, reply: &Reply) {
        self.output.extend_from_slice(&reply.encode(ReplyStyle::Ftp));
    }

    fn ask(&mut self, asked: Asked, event: Event) {
        self.asked = Some(asked);
        self.event = Some(event);
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        let acting = matches!(self.asked.take(), Some(Asked::Request(_)));
        if self.transfer.is_some() || acting {
            self.event = Some(Event::Abort);
        }
    }

    /// Does what can be done without waiting for anybody.
    fn advance(&mut self) -> Advance {
        if self.event.is_some() {
            return Advance::Blocked;
        }
        if self.asked.is_some() {
            return self.meanwhile();
        }
        match self.phase {
            Phase::Greeting => {
                self.phase = Phase::Open;
                let greeting = reply::greeting(self.config.greeting.clone());
                self.say(&greeting);
                Advance::Progress
            }
            Phase::Open if self.stopping && self.transfer.is_none() => {
                self.end(reply::shutting_down());
                Advance::Progress
            }
            Phase::Open => self.command(),
            Phase::Leaving if self.transfer.is_none() => {
                self.end(reply::goodbye());
                Advance::Progress
            }
            Phase::Leaving | Phase::Handshake | Phase::Clearing | Phase::Closed => Advance::Blocked,
        }
    }

    fn command(&mut self) -> Advance {
        let line = match self.peek_line() {
            Ok(Some(line)) => line,
            Ok(None) => {
                if self.end_of_input {
                    self.close();
                    return Advance::Progress;
                }
                return Advance::Blocked;
            }
            Err(error) => {
                self.say(&if error == LineError::TooLong {
                    reply::line_too_long()
                } else {
                    reply::invalid_line()
                });
                self.count_error();
                return Advance::Progress;
            }
        };
        let parsed = parse(&line);
        if self.transfer.is_some()
            && let Ok(command) = &parsed
            && !transfer::may_come_meanwhile(command)
        {
            return match self.interrupting_command() {
                Some(command) => {
                    self.carry_out(command);
                    Advance::Progress
                }
                None => Advance::Blocked,
            };
        }
        self.input.skip(self.line_octets());
        match parsed {
            Ok(command) => {
                if matches!(command, Command::Abor | Command::Stat(None)) {
                    self.interrupted = false;
                }
                if switch::is_off(&self.disabled, &line) {
                    self.say(&reply::not_allowed_here());
                } else {
                    self.carry_out(command);
                }
            }
            Err(InvalidCommand::Foreign) => self.end(reply::foreign_protocol()),
            Err(error) => {
                self.say(&refusal::of_command(error));
                self.count_error();
            }
        }
        Advance::Progress
    }

    /// While an action on files is carried out, which may take long, ABOR is heard; everything else waits.
    fn meanwhile(&mut self) -> Advance {
        if !matches!(self.asked, Some(Asked::Request(_))) || self.aborting || self.phase != Phase::Open {
            return Advance::Blocked;
        }
        let line = self.input.as_slice().split(|octet| *octet == b'\n').next().unwrap_or_default();
        let is_next = self.line_octets() == line.len() + 1 && is_abort(line);
        if is_next {
            self.input.skip(self.line_octets());
        }
        if is_next || self.interrupting_command() == Some(Command::Abor) {
            self.aborting = true;
            self.event = Some(Event::Abort);
            return Advance::Progress;
        }
        Advance::Blocked
    }

    /// "The server PI, after receiving IP, scans the Telnet stream for exactly one FTP command" (RFC 959 section 4.1.3): takes
    /// ABOR or STAT out of what waits for the end of a transfer, which stays and is answered behind it.
    fn interrupting_command(&mut self) -> Option<Command> {
        if !self.interrupted {
            return None;
        }
        let mut begin = 0;
        for line in self.input.as_slice().split_inclusive(|octet| *octet == b'\n') {
            let text = line.strip_suffix(b"\n")?.trim_ascii_end();
            let status = text.eq_ignore_ascii_case(b"STAT") && self.transfer.is_some();
            if (status || is_abort(text)) && !switch::is_off(&self.disabled, text) {
                let (before, behind) = self.input.as_slice().split_at(begin);
                let rest = [before, behind.get(line.len()..).unwrap_or_default()].concat();
                self.input.clear();
                self.input.push(&rest);
                self.interrupted = false;
                return Some(if status { Command::Stat(None) } else { Command::Abor });
            }
            begin += line.len();
        }
        None
    }

    /// The line at the front, which stays where it is: it may have to wait for the end of a transfer.
    fn peek_line(&mut self) -> Result<Option<Bytes>, LineError> {
        let end = memchr::memchr(b'\n', self.input.as_slice());
        let Some(end) = end.filter(|end| *end < COMMAND_LINE_MAX) else {
            return self.input.take_line(COMMAND_LINE_MAX, LineEnding::CrlfOrLf);
        };
        let line = &self.input.as_slice()[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // CR NUL is a CR that ends nothing (RFC 854): no name here has one.
        if memchr::memchr2(b'\r', 0, line).is_some() {
            self.input.skip(end + 1);
            return Err(LineError::BareCr);
        }
        Ok(Some(Bytes::copy_from_slice(line)))
    }

    fn line_octets(&self) -> usize {
        memchr::memchr(b'\n', self.input.as_slice()).map_or(0, |end| end + 1)
    }

    fn count_error(&mut self) {
        self.errors += 1;
        if self.errors > self.config.errors {
            self.end(reply::too_many_errors());
        }
    }

    /// When the session wants to be asked again.
    fn deadline(&self) -> Option<Instant> {
        if self.transfer.is_some() || self.asked.is_some() {
            return None;
        }
        match (&self.login, self.phase) {
            (Login::In, Phase::Open) => self.last_activity.map(|at| at + self.idle),
            (_, Phase::Open) => self.began.map(|at| at + self.config.timeouts.login),
            _ => None,
        }
    }
}

fn is_abort(line: &[u8]) -> bool {
    line.trim_ascii_end().eq_ignore_ascii_case(b"ABOR")
}

impl Session for Server {
    type Event = Event;

    fn receive(&mut self, bytes: &[u8]) {
        self.data.clear();
        self.telnet.receive(bytes, &mut self.data);
        self.interrupted |= self.telnet.take_interrupts() > 0;
        self.input.push(&self.data);
        let answers = self.telnet.take_answers();
        self.output.extend_from_slice(&answers);
        self.last_activity = None;
    }

    fn held_back(&self) -> Option<usize> {
        (self.transfer.is_some() || self.asked.is_some()).then(|| self.input.len())
    }

    fn end_of_input(&mut self) {
        self.end_of_input = true;
        // "An unexpected close on the control connection will cause the server to take the effective action of an abort
        // and a logout" (RFC 959 section 4.1.1).
        let acting = matches!(self.asked, Some(Asked::Request(_))) && self.event.is_none();
        if acting || self.transfer.is_some() && self.phase != Phase::Leaving {
            self.close();
        }
    }

    fn tls_started(&mut self, tls: TlsFacts) {
        self.input.clear();
        self.telnet = Telnet::new();
        self.tls = Some(Box::new(tls));
        if self.phase == Phase::Handshake {
            // RFC 4217 section 4: the server forgets who was logged in.
            self.phase = Phase::Open;
            self.login = Login::Nobody;
            self.settings = Settings::default();
            self.disabled.clone_from(&self.config.disabled);
            self.idle = self.config.timeouts.idle;
        }
    }

    fn shut_down(&mut self) {
        self.stopping = true;
    }

    fn cut_short(&mut self) -> bool {
        self.end(reply::shutting_down());
        true
    }

    fn next(&mut self, now: Instant) -> Step<Event> {
        self.began.get_or_insert(now);
        self.last_activity.get_or_insert(now);
        // What many short commands in one piece are answered is longer than they are: it goes out as it grows.
        while self.output.len() < OUTPUT_PIECE && self.advance() == Advance::Progress {}
        if !self.output.is_empty() {
            return Step::Send(self.output.split().freeze());
        }
        if let Some(event) = self.event.take() {
            return Step::Event(event);
        }
        match self.phase {
            Phase::Handshake => Step::StartTls,
            Phase::Closed => Step::Close,
            _ => match self.deadline() {
                Some(until) if until <= now => {
                    let late = if self.is_logged_in() { reply::idle() } else { reply::login_took_too_long() };
                    self.end(late);
                    self.next(now)
                }
                until => Step::Wait { until },
            },
        }
    }
}
