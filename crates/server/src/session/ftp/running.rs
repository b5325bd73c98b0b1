//! The transfer that runs, beside the session.

use std::net::IpAddr;
use std::sync::Arc;

use packetboat_ftp::command::PathName;
use packetboat_ftp::data::{Restart, Type};
use packetboat_ftp::server::{Connection, Refusal, Server, Transfer, TransferFailure, Transferred, What};
use tokio::sync::{mpsc, oneshot};

use super::Ftp;
use super::actions::Here;
use super::connection::{self, Way};
use super::pipe::Progress;
use super::transfer::{Job, Whether};
use crate::files::{Begun, Direction};
use crate::session::random;
use crate::tls::Certificates;

/// Restart markers that wait to be told; with more of them the transfer waits for the control connection.
const MARKERS_MAX: usize = 16;

/// A transfer that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) outcome: oneshot::Receiver<Result<Transferred, TransferFailure>>,
    pub(super) markers: mpsc::Receiver<(String, u64)>,
    /// Dropped, it stops the transfer.
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(super) news: Option<News>,
}

#[derive(Debug)]
pub(super) enum News {
    Marker(String, u64),
    Ended(Result<Transferred, TransferFailure>),
}

impl Ftp {
    pub(super) fn begin(&mut self, session: &mut Server, transfer: Transfer) {
        let Some(here) = &self.here else { return session.refuse(Refusal::LocalError) };
        if let Err(why) = self.may_transfer(&transfer.what) {
            return session.refuse(why);
        }
        let way = match (transfer.connection, self.listener.take(), self.peer.remote) {
            (Connection::Passive, Some(listener), _) => Way::Passive(listener),
            (Connection::Active(at), ..) => Way::Active(at),
            (Connection::Default, _, Some(remote)) if self.depot.active => Way::Active(remote),
            _ => return session.refuse(Refusal::CannotListen),
        };
        let number = u64::from_ne_bytes(random());
        let prepare = || Job::prepare(here, &transfer, session.facts(), number);
        // What goes on begins with a copy of what is there, which may be long: no other session waits for it.
        let prepared = if transfer.goes_on() { tokio::task::block_in_place(prepare) } else { prepare() };
        let (job, about) = match prepared {
            Ok(prepared) => prepared,
            Err(why) => return session.refuse(why),
        };
        let progress = Progress::default();
        let moving = self.listed.transfer(begun(here, &transfer, &job, &about, &progress));
        session.transfer_begins(job.is_inbound(), false, about);
        let (tell, outcome) = oneshot::channel();
        let (mark, markers) = mpsc::channel(MARKERS_MAX);
        let (stop, stopped) = oneshot::channel();
        let running = Running { outcome, markers, stop: Some(stop), news: None };
        self.running = Some(running);
        let certificates = transfer.protected.then(|| Arc::clone(&self.depot.certificates));
        let (peer, line) = (self.peer.ip(), self.line.clone());
        tokio::spawn(async move {
            let whether = Arc::new(Whether::new(line));
            let carry = carry(way, peer, certificates, job, transfer, progress, mark, whether, stopped);
            let outcome = carry.await;
            moving.ended(&outcome);
            let _ = tell.send(outcome);
        });
    }
}

/// What is told of a transfer while it runs, and after it.
fn begun(here: &Here, transfer: &Transfer, job: &Job, about: &str, progress: &Progress) -> Begun {
    let at =
        |path: Option<&PathName>| here.at_or_here(path).map_or_else(|_| String::new(), |at| at.to_string());
    let (verb, path) = match &transfer.what {
        What::Retrieve(path) => ("RETR", at(Some(path))),
        What::Store(path) => ("STOR", at(Some(path))),
        // What RFC 1123 section 4.1.2.9 has the client told is the name.
        What::StoreUnique(_) => ("STOU", about.trim_start_matches("FILE: ").to_owned()),
        What::Append(path) => ("APPE", at(Some(path))),
        What::List(path) => ("LIST", at(path.as_ref())),
        What::Names(path) => ("NLST", at(path.as_ref())),
        What::Facts(path) => ("MLSD", at(path.as_ref())),
    };
    let representation = transfer.representation;
    let plain = representation.is_plain() && !transfer.deflate;
    let (direction, size) = match job {
        Job::Send { octets, .. } => {
            let (first, end) = match (transfer.restart, transfer.range) {
                (Restart::Stream(first), _) => (first, *octets),
                (_, Some((first, last))) => (first, last.saturating_add(1).min(*octets)),
                _ => (0, *octets),
            };
            (Direction::Download, plain.then(|| end.saturating_sub(first)))
        }
        Job::Receive { .. } => (Direction::Upload, transfer.announced.filter(|_| plain)),
        Job::List { .. } => (Direction::Listing, None),
    };
    let mode = if transfer.deflate { "Z".to_owned() } else { representation.mode.to_string() };
    Begun {
        verb,
        direction,
        path,
        size,
        representation: format!("{} {} {mode}", representation.ty, representation.structure),
        text: matches!(representation.ty, Type::Ascii(_) | Type::Ebcdic(_)),
        tls: transfer.protected,
        progress: Arc::clone(progress),
    }
}

/// Everything of a transfer but the session. When it is told to stop, the data connection is cut, and the thread that
/// moves it ends by that.
#[allow(clippy::too_many_arguments)]
async fn carry(
    way: Way,
    peer: Option<IpAddr>,
    certificates: Option<Arc<Certificates>>,
    job: Job,
    transfer: Transfer,
    progress: Progress,
    markers: mpsc::Sender<(String, u64)>,
    whether: Arc<Whether>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<Transferred, TransferFailure> {
    let socket = tokio::select! {
        connected = way.connect(peer) => connected.map_err(|_| TransferFailure::CannotConnect)?,
        _ = &mut stopped => return Err(TransferFailure::Aborted),
    };
    let cut = socket2::SockRef::from(&socket).try_clone().map_err(|_| TransferFailure::CannotConnect)?;
    let watched = Arc::clone(&whether);
    let mut moving = tokio::task::spawn_blocking(move || {
        let data = connection::ready(socket, certificates)?;
        job.run(data, &transfer, &progress, &markers, &watched)
    });
    let outcome = tokio::select! {
        outcome = &mut moving => outcome,
        _ = &mut stopped => {
            // First this: the end of a connection that was cut looks like the end of the file.
            whether.give_up();
            let _ = cut.shutdown(std::net::Shutdown::Both);
            // What was whole already when it was to be given up, is.
            return match moving.await {
                Ok(Ok(transferred)) => Ok(transferred),
                _ => Err(TransferFailure::Aborted),
            };
        }
    };
    outcome.unwrap_or(Err(TransferFailure::File(Refusal::LocalError)))
}
