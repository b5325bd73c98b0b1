//! The register of those who use files at this moment, and of what is on its way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use packetboat_ftp::server::{Request, TransferFailure, Transferred};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::admin::{FileSession, FileTransfer};
use crate::listen::Peer;

/// The sessions that stand. A session is on it while its [`Session`] lives, a transfer while its [`Moving`] does.
#[derive(Debug, Default)]
pub struct Transfers {
    sessions: Mutex<BTreeMap<u64, Arc<Live>>>,
}

/// A session's place on the register; it is taken off when this is dropped.
#[derive(Debug)]
pub struct Session {
    register: Arc<Transfers>,
    live: Arc<Live>,
}

#[derive(Debug)]
struct Live {
    peer: Peer,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    login: Option<Box<str>>,
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
    /// It is packed on its way.
    pub packed: bool,
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
    live: Arc<Live>,
    under: Arc<Under>,
}

impl Transfers {
    /// Puts a session on the register.
    pub fn session(self: &Arc<Transfers>, peer: &Peer) -> Session {
        let state = State {
            login: None,
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

    /// What all sessions of a login do.
    fn of_login(&self, login: &str) -> Vec<(u64, Peer, FileSession)> {
        let sessions: Vec<Arc<Live>> = self.sessions.lock().values().cloned().collect();
        let own = sessions.iter().filter(|live| live.state.lock().login.as_deref() == Some(login));
        own.map(|live| (live.peer.id, live.peer.clone(), live.told())).collect()
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
        self.live.state.lock().login = Some(login.into());
    }

    /// What the transfers are charged to (ACCT).
    pub fn cost_centre(&self, name: &str) {
        self.live.state.lock().cost_centre = Some(name.into());
    }

    /// Nobody is logged in any more.
    pub fn logged_out(&self) {
        let mut state = self.live.state.lock();
        (state.login, state.cost_centre) = (None, None);
    }

    /// A transfer begins.
    pub fn transfer(&self, begun: Begun) -> Moving {
        let under = Arc::new(Under { begun, at: Instant::now(), since: jiff::Timestamp::now() });
        self.live.state.lock().moving = Some(Arc::clone(&under));
        Moving { live: Arc::clone(&self.live), under }
    }

    /// Lines about the transfer that runs, for STAT.
    pub fn progress(&self) -> Vec<String> {
        let transfer = self.live.told().transfer;
        transfer.iter().map(|transfer| format!("{transfer} so far.")).collect()
    }

    /// Lines for SITE WHO: the sessions of the same login. Who else is there is nobody's business but the administrator's.
    pub fn who(&self) -> Vec<String> {
        let Some(login) = self.live.state.lock().login.clone() else { return Vec::new() };
        let mut lines = vec![format!("Sessions of {login}:")];
        for (id, peer, told) in self.register.of_login(&login) {
            let this = if id == self.live.peer.id { " (this one)" } else { "" };
            lines.push(format!("{id} from {peer}{this}: {told}"));
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
        let (connection, begun) = (self.live.peer.id, &self.under.begun);
        let login = self.live.state.lock().login.clone();
        let (verb, path) = (begun.verb, &begun.path);
        let octets = begun.progress.load(Ordering::Relaxed);
        let millis = u64::try_from(self.under.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        match outcome {
            Ok(_) => tracing::info!(connection, login, verb, path, octets, millis, "transferred"),
            Err(failure) => {
                tracing::info!(connection, login, verb, path, octets, millis, ?failure, "not transferred");
            }
        }
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
