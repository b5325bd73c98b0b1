//! A transfer: what is said before it, while it runs, and at its end.

use std::net::{IpAddr, SocketAddr};

use packetboat_wire::{Reply, ReplyClass};

use super::{Client, ConnectionPolicy, Error, Event, Request, State, Transfer, What, marker};
use crate::command::{Command, TransferMode, read_epsv_answer, read_lpsv_answer, read_pasv_answer};
use crate::data::Mode;

/// A transfer that is under way.
#[derive(Debug)]
pub(super) struct Running {
    transfer: Transfer,
    pub(super) stage: Stage,
    /// Said already, or not wanted.
    allocated: bool,
    connected: bool,
    restarted: bool,
    reused: bool,
    opened: bool,
    pub(super) data_ended: bool,
    /// STAT was said so often, and not answered.
    status: u32,
    aborting: Aborting,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing: the next command can be said.
    Next,
    /// The answer to a command that prepares.
    Preparing(Command),
    /// The owner, who makes a data connection.
    Connecting,
    /// 1yz, and later the end.
    Transfer,
}

/// ABOR has an answer of its own, after that of the transfer (RFC 959 section 5.4).
#[derive(Debug, PartialEq, Eq)]
enum Aborting {
    No,
    /// Neither answer has come.
    Both,
    /// The transfer's has come.
    Own(Box<Event>),
}

impl Running {
    pub(super) fn new(transfer: Transfer) -> Running {
        let restarted = transfer.restart.is_none() && transfer.range.is_none();
        Running {
            allocated: transfer.allocate.is_none(),
            connected: false,
            restarted,
            reused: false,
            opened: false,
            data_ended: false,
            status: 0,
            aborting: Aborting::No,
            stage: Stage::Next,
            transfer,
        }
    }

    /// Whether ABOR is to be said now.
    pub(super) fn abort(&mut self) -> bool {
        let first = self.stage == Stage::Transfer && self.aborting == Aborting::No;
        if first {
            self.aborting = Aborting::Both;
            self.data_ended = true;
        }
        first
    }

    /// Whether STAT is to be said now.
    pub(super) fn ask_status(&mut self) -> bool {
        let runs = self.stage == Stage::Transfer && self.opened && self.aborting == Aborting::No;
        self.status += u32::from(runs);
        runs
    }

    /// Whether the server has something to say before anything else can happen.
    pub(super) fn is_owed(&self) -> bool {
        match self.stage {
            Stage::Next | Stage::Preparing(_) => true,
            Stage::Connecting => false,
            Stage::Transfer => !self.opened || self.data_ended || self.status > 0,
        }
    }
}

/// The command of a transfer.
pub(super) fn command(what: &What) -> Command {
    match what.clone() {
        What::Retrieve(path) => Command::Retr(path),
        What::Store(path) => Command::Stor(path),
        What::StoreUnique(path) => Command::Stou(path),
        What::Append(path) => Command::Appe(path),
        What::List(path) => Command::List(path),
        What::Names(path) => Command::Nlst(path),
        What::Facts(path) => Command::Mlsd(path),
    }
}

impl Client {
    /// The data connection that was asked for is there.
    pub fn connected(&mut self) {
        if let State::Transferring(running) = &mut self.state
            && running.stage == Stage::Connecting
        {
            running.connected = true;
            running.stage = Stage::Next;
            self.last_activity = None;
            self.go_on();
        }
    }

    /// The owner listens here for the server's data connection.
    pub fn listening(&mut self, at: SocketAddr) {
        let policy = self.config.connection;
        let plain = self.known.no_extended && at.ip().to_canonical().is_ipv4();
        if let State::Transferring(running) = &mut self.state
            && running.stage == Stage::Connecting
        {
            let command = match policy {
                ConnectionPolicy::LongActive => Command::Lprt(at),
                ConnectionPolicy::PlainActive => Command::Port(at),
                _ if plain => Command::Port(at),
                _ => Command::Eprt(at),
            };
            running.stage = Stage::Preparing(command.clone());
            self.last_activity = None;
            self.say(&command);
        }
    }

    /// There is no data connection, and will be none.
    pub fn not_connected(&mut self) {
        if !self.is_asking() {
            return;
        }
        if let State::Transferring(running) = std::mem::replace(&mut self.state, State::Ready) {
            self.last_activity = None;
            self.events.push_back(Event::NotConnected { request: Request::Transfer(running.transfer) });
        }
    }

    pub(super) fn mode_is(&mut self, mode: TransferMode) {
        self.known.deflate = mode == TransferMode::Deflate;
        if let TransferMode::Standard(mode) = mode {
            self.known.representation.mode = mode;
        }
    }

    /// Says what has to be said next.
    pub(super) fn go_on(&mut self) {
        let State::Transferring(running) = &mut self.state else { return };
        let (known, wanted) = (&self.known, &running.transfer);
        let mode = match wanted.deflate {
            true => TransferMode::Deflate,
            false => TransferMode::Standard(wanted.representation.mode),
        };
        let mode_known = match mode {
            TransferMode::Deflate => known.deflate,
            TransferMode::Standard(mode) => !known.deflate && known.representation.mode == mode,
        };
        let next = if known.representation.ty != wanted.representation.ty {
            Command::Type(wanted.representation.ty)
        } else if known.representation.structure != wanted.representation.structure {
            Command::Stru(wanted.representation.structure)
        } else if !mode_known {
            Command::Mode(mode)
        } else if let (false, Some((bytes, record))) = (running.allocated, wanted.allocate) {
            Command::Allo { bytes, record }
        } else if !running.connected && known.open {
            (running.connected, running.reused) = (true, true);
            return self.go_on();
        } else if !running.connected {
            let v4 = self.config.server.to_canonical().is_ipv4();
            match self.config.connection {
                ConnectionPolicy::PlainPassive => Command::Pasv,
                ConnectionPolicy::Passive if known.no_extended && v4 => Command::Pasv,
                ConnectionPolicy::Passive => Command::Epsv(None),
                ConnectionPolicy::LongPassive => Command::Lpsv,
                ConnectionPolicy::Active | ConnectionPolicy::PlainActive | ConnectionPolicy::LongActive => {
                    running.stage = Stage::Connecting;
                    return self.events.push_back(Event::Listen);
                }
            }
        } else if let (false, Some((first, last))) = (running.restarted, wanted.range) {
            Command::Rang(first, last)
        } else if let (false, Some(marker)) = (running.restarted, &wanted.restart) {
            Command::Rest(marker.clone())
        } else {
            running.stage = Stage::Transfer;
            // Whether it stays open is known at the end.
            self.known.open = false;
            let command = command(&running.transfer.what);
            self.say(&command);
            return;
        };
        running.stage = Stage::Preparing(next.clone());
        self.say(&next);
    }

    pub(super) fn transfer_replied(&mut self, reply: Reply) {
        let State::Transferring(running) = &mut self.state else { return };
        match std::mem::replace(&mut running.stage, Stage::Next) {
            Stage::Preparing(command) => self.transfer_prepared(command, reply),
            stage @ Stage::Transfer => {
                running.stage = stage;
                self.transfer_goes_on(reply);
            }
            Stage::Next | Stage::Connecting => self.fail(Error::OutOfPlace(reply)),
        }
    }

    fn transfer_prepared(&mut self, command: Command, reply: Reply) {
        let State::Transferring(running) = &mut self.state else { return };
        match reply.class() {
            ReplyClass::Preliminary => {
                running.stage = Stage::Preparing(command);
                return;
            }
            ReplyClass::Completion | ReplyClass::Intermediate => {}
            ReplyClass::Transient | ReplyClass::Permanent => return self.not_prepared(&command, reply),
        }
        match command {
            Command::Type(ty) => self.known.representation.ty = ty,
            Command::Stru(structure) => self.known.representation.structure = structure,
            Command::Mode(mode) => self.mode_is(mode),
            Command::Allo { .. } => running.allocated = true,
            Command::Rest(_) | Command::Rang(..) => running.restarted = true,
            Command::Eprt(_) | Command::Port(_) | Command::Lprt(_) => running.connected = true,
            passive => {
                let Some(port) = port_of(&passive, &reply) else {
                    return self.fail(Error::OutOfPlace(reply));
                };
                running.stage = Stage::Connecting;
                // The address in the reply is not looked at: a hostile server would have us connect to others (CVE-2020-8284),
                // and one behind a NAT often names the wrong one.
                let at = SocketAddr::new(self.config.server, port);
                return self.events.push_back(Event::Connect(at));
            }
        }
        self.go_on();
    }

    fn not_prepared(&mut self, command: &Command, reply: Reply) {
        let State::Transferring(running) = &mut self.state else { return };
        let extended = matches!(command, Command::Epsv(_) | Command::Eprt(_));
        let v4 = matches!(self.config.server.to_canonical(), IpAddr::V4(_));
        if extended && v4 && !self.known.no_extended && matches!(reply.code(), 500 | 501 | 502 | 522) {
            self.known.no_extended = true;
            if let Command::Eprt(at) = command {
                let command = Command::Port(*at);
                running.stage = Stage::Preparing(command.clone());
                self.say(&command);
                return;
            }
            return self.go_on();
        }
        if matches!(command, Command::Allo { .. }) && matches!(reply.code(), 500 | 502) {
            running.allocated = true;
            return self.go_on();
        }
        self.finish(|request, _| Event::Refused { request, reply });
    }

    fn transfer_goes_on(&mut self, reply: Reply) {
        let State::Transferring(running) = &mut self.state else { return };
        match (reply.class(), reply.code()) {
            (ReplyClass::Preliminary, 110) => {
                if let Some((ours, theirs)) = marker(&reply) {
                    self.events.push_back(Event::Marker { ours, theirs });
                }
            }
            (ReplyClass::Preliminary, _) if !running.opened => {
                running.opened = true;
                let (protected, reused) = (self.known.protected, running.reused);
                self.events.push_back(Event::Opened { reply, protected, reused });
            }
            (ReplyClass::Preliminary, _) => {}
            (ReplyClass::Intermediate, _) => self.fail(Error::OutOfPlace(reply)),
            (_, 211..=213) if running.status > 0 => {
                running.status -= 1;
                self.events.push_back(Event::Status(reply));
            }
            (class, code) => match std::mem::replace(&mut running.aborting, Aborting::No) {
                Aborting::No => self.finish(|request, transfer| {
                    let stays_open = code == 250 && transfer.representation.mode != Mode::Stream;
                    end(class, request, reply, stays_open)
                }),
                // Both answers in one: there was nothing left to abort.
                Aborting::Both if code == 225 => self.finish(|request, _| Event::Refused { request, reply }),
                Aborting::Both => {
                    let request = Request::Transfer(running.transfer.clone());
                    running.aborting = Aborting::Own(Box::new(end(class, request, reply, false)));
                }
                Aborting::Own(event) => self.finish(|_, _| *event),
            },
        }
    }

    /// The transfer is over.
    fn finish(&mut self, event: impl FnOnce(Request, &Transfer) -> Event) {
        if let State::Transferring(running) = std::mem::replace(&mut self.state, State::Ready) {
            let request = Request::Transfer(running.transfer.clone());
            let event = event(request, &running.transfer);
            self.known.open = matches!(event, Event::Done { stays_open: true, .. });
            self.events.push_back(event);
        }
    }
}

fn end(class: ReplyClass, request: Request, reply: Reply, stays_open: bool) -> Event {
    match class {
        ReplyClass::Completion => Event::Done { request, reply, stays_open },
        _ => Event::Refused { request, reply },
    }
}

/// Where a passive server listens.
fn port_of(command: &Command, reply: &Reply) -> Option<u16> {
    match command {
        Command::Pasv => read_pasv_answer(reply.text()).map(|at| at.port()),
        Command::Epsv(_) => read_epsv_answer(reply.text()),
        Command::Lpsv => read_lpsv_answer(reply.text()).map(|at| at.port()),
        _ => None,
    }
    .filter(|port| *port > 0)
}
