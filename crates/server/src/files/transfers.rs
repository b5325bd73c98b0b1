//! The register of those who use files at this moment, and of what is on its way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use packetboat_files::Witness;
use packetboat_ftp::server::{Refusal, Request, TransferFailure, Transferred};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::events::{Events, Said};
use super::log::{Record, TransferLog, TransferRecord};
use super::watch::Watch;
use crate::admin::{FileSession, FileTransfer};
use crate::listen::Peer;

/// Sessions that are told of in one reply.
const WHO_MAX: usize = 1000;

/// The sessions that stand. A session is on it while its [`Session`] lives, a transfer while its [`Moving`] does.
#[derive(Debug, Default)]
pub struct Transfers {
    sessions: Mutex<BTreeMap<u64, Arc<Live>>>,
    log: OnceLock<TransferLog>,
    events: OnceLock<Arc<Events>>,
}

/// A session's place on the register; it is taken off when this is dropped.
#[derive(Debug)]
pub struct Session {
    register: Arc<Transfers>,
    live: Arc<Live>,
}

#[derive(Debug)]
pub(super) struct Live {
    peer: Peer,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    login: Option<Box<str>>,
    /// What an anonymous user gave for a password.
    anonymous: Option<Box<str>>,
    cost_centre: Option<Box<str>>,
    tls: bool,
    doing: &'static str,
    active: Instant,
    moving: Option<Arc<Under>>,
}

/// A transfer under way.
#[derive(Debug)]
struct Under {
    begun: Begun,
    at: Instant,
    since: jiff::Timestamp,
}

/// What a transfer begins with.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The command, such as `RETR`.
    pub verb: &'static str,
    /// Which way it goes.
    pub direction: Direction,
    /// Of what, as the client sees it.
    pub path: String,
    /// Octets that are to go over the data connection, where that is known.
    pub size: Option<u64>,
    /// TYPE, STRU and MODE, such as `I F S`.
    pub representation: String,
    /// It is text that is converted, as xferlog has it.
    pub text: bool,
    /// The data connection is protected.
    pub tls: bool,
    /// Octets that have gone over the data connection.
    pub progress: Arc<AtomicU64>,
}

/// Which way a transfer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From here to the client.
    Download,
    /// From the client to here.
    Upload,
    /// A listing.
    Listing,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Download => "download",
            Direction::Upload => "upload",
            Direction::Listing => "listing",
        })
    }
}

/// A transfer's place on the register.
#[derive(Debug)]
pub struct Moving {
    register: Arc<Transfers>,
    live: Arc<Live>,
    under: Arc<Under>,
}

impl Transfers {
    /// From now on transfers are told to this log.
    pub fn set_log(&self, log: TransferLog) {
        // There is one, set when the server is put together.
        let _ = self.log.set(log);
    }

    /// From now on receivers are told of what happens.
    pub fn set_events(&self, events: Arc<Events>) {
        let _ = self.events.set(events);
    }

    /// Whoever tells receivers.
    pub fn events(&self) -> Option<&Arc<Events>> {
        self.events.get()
    }

    /// The log of transfers, if there is one.
    pub fn log(&self) -> Option<&TransferLog> {
        self.log.get()
    }

    /// Something was done, or not, that is no transfer.
    pub(super) fn done(
        &self,
        live: &Live,
        event: &'static str,
        path: Option<String>,
        to: Option<String>,
        outcome: Result<(), String>,
    ) {
        if let Some(log) = self.log().filter(|log| log.wants(event)) {
            let (outcome, reason) = match outcome {
                Ok(()) => ("complete", None),
                Err(reason) => ("incomplete", Some(reason)),
            };
            log.tell(Record { path, to, outcome, reason, ..live.record(event) });
        }
    }

    /// Puts a session on the register.
    pub fn session(self: &Arc<Transfers>, peer: &Peer) -> Session {
        let state = State {
            login: None,
            anonymous: None,
            cost_centre: None,
            tls: false,
            doing: "connected",
            active: Instant::now(),
            moving: None,
        };
        let live = Arc::new(Live { peer: peer.clone(), state: Mutex::new(state) });
        self.sessions.lock().insert(peer.id, Arc::clone(&live));
        Session { register: Arc::clone(self), live }
    }

    /// What a connection does with files, if it is for that.
    pub fn of(&self, connection: u64) -> Option<Box<FileSession>> {
        let live = self.sessions.lock().get(&connection).cloned()?;
        Some(Box::new(live.told()))
    }

    /// The sessions that are logged in: all of them, or those of a login.
    fn logged_in(&self, only: Option<&str>) -> Vec<(Box<str>, Arc<Live>)> {
        let sessions: Vec<Arc<Live>> = self.sessions.lock().values().cloned().collect();
        let named = sessions.into_iter().filter_map(|live| {
            let login = live.state.lock().login.clone()?;
            Some((login, live))
        });
        named.filter(|(login, _)| only.is_none_or(|only| **login == *only)).collect()
    }
}

impl Live {
    fn told(&self) -> FileSession {
        let state = self.state.lock();
        FileSession {
            tls: state.tls,
            cost_centre: state.cost_centre.as_deref().map(str::to_owned),
            doing: state.doing.to_owned(),
            idle_seconds: if state.moving.is_some() { 0 } else { state.active.elapsed().as_secs() },
            transfer: state.moving.as_ref().map(|under| under.told()),
        }
    }
}

impl Live {
    /// Who it is, for receivers of events.
    pub(super) fn said(&self) -> Said {
        let record = self.record("");
        Said {
            account: record.account,
            anonymous: record.anonymous,
            cost_centre: record.cost_centre,
            address: record.address,
            tls: record.tls,
        }
    }

    /// What each record says of the session.
    fn record(&self, event: &'static str) -> Record {
        let state = self.state.lock();
        Record {
            time: jiff::Timestamp::now(),
            event,
            connection: self.peer.id,
            account: state.login.as_deref().unwrap_or_default().to_owned(),
            anonymous: state.anonymous.as_deref().map(str::to_owned),
            cost_centre: state.cost_centre.as_deref().map(str::to_owned),
            address: self.peer.ip().map_or_else(|| "local".to_owned(), |ip| ip.to_canonical().to_string()),
            tls: state.tls,
            path: None,
            to: None,
            transfer: None,
            outcome: "complete",
            reason: None,
        }
    }
}

impl Under {
    fn told(&self) -> FileTransfer {
        let octets = self.begun.progress.load(Ordering::Relaxed);
        let seconds = self.at.elapsed().as_secs_f64();
        FileTransfer {
            verb: self.begun.verb.to_owned(),
            direction: self.begun.direction,
            path: self.begun.path.clone(),
            octets,
            size: self.begun.size,
            percent: self.begun.size.map(|size| percent(octets, size)),
            octets_per_second: rate(octets, seconds),
            tls: self.begun.tls,
            representation: self.begun.representation.clone(),
            since: self.since,
        }
    }
}

/// How much of the whole that is, rounded down: 100 is all of it.
fn percent(octets: u64, size: u64) -> u8 {
    let share = u128::from(octets).saturating_mul(100).checked_div(size.into()).unwrap_or(100);
    u8::try_from(share.min(100)).unwrap_or(100)
}

fn rate(octets: u64, seconds: f64) -> u64 {
    // In the first moment a rate would say nothing.
    if seconds < 0.001 { 0 } else { (octets as f64 / seconds) as u64 }
}

impl Session {
    /// Notes what the session is asked for, and whether its control connection is protected.
    pub fn acts(&self, doing: &'static str, tls: bool) {
        let mut state = self.live.state.lock();
        (state.doing, state.tls, state.active) = (doing, tls, Instant::now());
    }

    /// Somebody has logged in.
    pub fn logged_in(&self, login: &str) {
        let mut state = self.live.state.lock();
        let known = state.login.as_deref() == Some(login);
        state.login = Some(login.into());
        drop(state);
        // Told again when a cost centre is named.
        if !known {
            self.register.done(&self.live, "login", None, None, Ok(()));
        }
    }

    /// What somebody who need not say who they are gave for a password. Told before the log-in.
    pub fn anonymous(&self, word: &str) {
        self.live.state.lock().anonymous = Some(word.into());
    }

    /// Sees what this session changes.
    pub fn witness(&self) -> Arc<dyn Witness> {
        Arc::new(Watch { register: Arc::clone(&self.register), live: Arc::clone(&self.live) })
    }

    /// What the transfers are charged to (ACCT).
    pub fn cost_centre(&self, name: &str) {
        self.live.state.lock().cost_centre = Some(name.into());
    }

    /// Nobody is logged in any more.
    pub fn logged_out(&self) {
        let mut state = self.live.state.lock();
        (state.login, state.anonymous, state.cost_centre) = (None, None, None);
    }

    /// A transfer begins.
    pub fn transfer(&self, begun: Begun) -> Moving {
        let under = Arc::new(Under { begun, at: Instant::now(), since: jiff::Timestamp::now() });
        self.live.state.lock().moving = Some(Arc::clone(&under));
        Moving { register: Arc::clone(&self.register), live: Arc::clone(&self.live), under }
    }

    /// Lines about the transfer that runs, for STAT.
    pub fn progress(&self) -> Vec<String> {
        let transfer = self.live.told().transfer;
        transfer.iter().map(|transfer| format!("{transfer} so far.")).collect()
    }

    /// Lines for SITE WHO: the sessions of the same login. Who else is there is nobody's business but the administrator's,
    /// who is told of `all`, up to a number.
    pub fn who(&self, all: bool) -> Vec<String> {
        let Some(own) = self.live.state.lock().login.clone() else { return Vec::new() };
        let sessions = self.register.logged_in((!all).then_some(&*own));
        let whose = if all { "everybody" } else { &own };
        let mut lines = vec![format!("Sessions of {whose}:")];
        for (login, live) in sessions.iter().take(WHO_MAX) {
            let (id, peer, told) = (live.peer.id, &live.peer, live.told());
            let this = if id == self.live.peer.id { " (this one)" } else { "" };
            let user = if all { format!("{login} ") } else { String::new() };
            lines.push(format!("{id} {user}from {peer}{this}: {told}"));
        }
        if sessions.len() > WHO_MAX {
            lines.push(format!("And {} more: `packetboat who`.", sessions.len() - WHO_MAX));
        }
        lines.push("End of list.".to_owned());
        lines
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.register.sessions.lock().remove(&self.live.peer.id);
    }
}

impl Moving {
    /// The transfer has ended.
    pub fn ended(self, outcome: &Result<Transferred, TransferFailure>) {
        let begun = &self.under.begun;
        let octets = match outcome {
            Ok(done) => done.octets,
            Err(_) => begun.progress.load(Ordering::Relaxed),
        };
        let (verb, path, seconds) = (begun.verb, &begun.path, self.under.at.elapsed().as_secs_f64());
        let connection = self.live.peer.id;
        match outcome {
            Ok(_) => tracing::info!(connection, verb, path, octets, seconds, "transferred"),
            Err(failure) => {
                tracing::info!(connection, verb, path, octets, seconds, ?failure, "not transferred")
            }
        }
        if let (Ok(_), Direction::Download, Some(events)) = (outcome, begun.direction, self.register.events())
        {
            events.journal().downloaded(|| self.live.said(), path, octets);
        }
        let wanted = begun.direction != Direction::Listing;
        let Some(log) = self.register.log().filter(|log| wanted && log.wants("transfer")) else { return };
        log.tell(Record {
            path: Some(path.clone()),
            transfer: Some(TransferRecord {
                direction: begun.direction,
                verb,
                octets,
                // To the millisecond.
                seconds: (seconds * 1000.0).round() / 1000.0,
                data_tls: begun.tls,
                representation: begun.representation.clone(),
                text: begun.text,
            }),
            outcome: if outcome.is_ok() { "complete" } else { "incomplete" },
            reason: outcome.as_ref().err().map(reason),
            ..self.live.record("transfer")
        });
    }
}

/// Why a transfer did not end well, in words that stay the same.
fn reason(failure: &TransferFailure) -> String {
    match failure {
        TransferFailure::CannotConnect => "no data connection".to_owned(),
        TransferFailure::TlsFailed => "TLS failed on the data connection".to_owned(),
        TransferFailure::NotResumed => "the data connection did not resume the TLS session".to_owned(),
        TransferFailure::ConnectionLost => "the data connection was lost".to_owned(),
        TransferFailure::TooSlow => "nothing moved for too long".to_owned(),
        TransferFailure::Aborted => "aborted".to_owned(),
        TransferFailure::Data(error) => format!("data: {error}"),
        TransferFailure::File(refusal) => refused(refusal),
    }
}

/// The same for something refused.
fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Because(words) => words.clone(),
        Refusal::NotFound => "not there".to_owned(),
        Refusal::Exists => "there already".to_owned(),
        Refusal::NoPermission => "not permitted".to_owned(),
        Refusal::NoSpace => "the disk is full".to_owned(),
        Refusal::QuotaExceeded => "over quota".to_owned(),
        Refusal::NeedsAccount => "no cost centre was named".to_owned(),
        Refusal::NotAFile => "not a file".to_owned(),
        Refusal::NotADirectory => "not a directory".to_owned(),
        Refusal::NotEmpty => "not empty".to_owned(),
        Refusal::InvalidPath => "not a path".to_owned(),
        Refusal::NameNotAllowed => "not a name that is allowed".to_owned(),
        Refusal::Busy => "in use".to_owned(),
        Refusal::InvalidRestart | Refusal::InvalidRange => "not a place in the file".to_owned(),
        Refusal::CannotListen | Refusal::AddressNotAllowed | Refusal::WrongFamily => {
            "no way to make a data connection".to_owned()
        }
        Refusal::NotForThat | Refusal::SwitchedOff => "not done here".to_owned(),
        Refusal::Stopped => "aborted".to_owned(),
        Refusal::LoginFailed | Refusal::LoginUnavailable | Refusal::TooManyFailures => {
            "not logged in".to_owned()
        }
        Refusal::LocalError => "an error of the server's".to_owned(),
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        let mut state = self.live.state.lock();
        if state.moving.as_ref().is_some_and(|under| Arc::ptr_eq(under, &self.under)) {
            (state.moving, state.active) = (None, Instant::now());
        }
    }
}

/// A request, in a word for whoever watches.
pub(crate) fn word(request: &Request) -> &'static str {
    use Request as R;
    match request {
        R::ChangeDirectory(_) | R::ParentDirectory | R::WorkingDirectory | R::Mount(_) => "looking around",
        R::MakeDirectory(_) | R::MakeDirectories(_) => "making a directory",
        R::RemoveDirectory(_) | R::RemoveTree(_) | R::Delete(_) => "deleting",
        R::RenameFrom(_) | R::Rename(..) => "renaming",
        R::Checksum { .. } => "having a checksum computed",
        R::Combine(..) | R::Copy(..) | R::CopyFrom(_) => "copying",
        R::SetModificationTime(..)
        | R::SetCreationTime(..)
        | R::SetFacts(..)
        | R::ChangeMode(..)
        | R::SymbolicLink { .. } => "changing files",
        _ => "asking about files",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_down() {
        for (octets, size, share) in
            [(0, 10, 0), (1, 3, 33), (999, 1000, 99), (10, 10, 100), (0, 0, 100), (20, 10, 100)]
        {
            assert_eq!(percent(octets, size), share, "{octets} of {size}");
        }
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
        assert_eq!((rate(10, 0.0), rate(10, 2.0)), (0, 5));
    }
}
