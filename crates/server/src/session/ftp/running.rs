//! The transfer that runs, beside the session.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use packetboat_ftp::server::{Answer, Connection, Refusal, Server, Transfer, TransferFailure, Transferred};
use tokio::sync::{mpsc, oneshot};

use super::Ftp;
use super::connection::{self, Way};
use super::pipe::Progress;
use super::transfer::Job;
use crate::session::random;
use crate::tls::Certificates;

/// Restart markers that wait to be told; with more of them the transfer waits for the control connection.
const MARKERS_MAX: usize = 16;

/// A transfer that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) progress: Progress,
    pub(super) about: String,
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
        session.transfer_begins(job.is_inbound(), false, about.clone());
        let progress = Progress::default();
        let (tell, outcome) = oneshot::channel();
        let (mark, markers) = mpsc::channel(MARKERS_MAX);
        let (stop, stopped) = oneshot::channel();
        let running = Running {
            progress: Arc::clone(&progress),
            about,
            outcome,
            markers,
            stop: Some(stop),
            news: None,
        };
        self.running = Some(running);
        let certificates = transfer.protected.then(|| Arc::clone(&self.depot.certificates));
        let peer = self.peer.ip();
        tokio::spawn(async move {
            let carry = carry(way, peer, certificates, job, transfer, progress, mark, stopped);
            let _ = tell.send(carry.await);
        });
    }

    pub(super) fn progress(&self, session: &mut Server) {
        let lines = self.running.iter().map(|running| {
            format!("{} {} octets so far.", running.about, running.progress.load(Ordering::Relaxed))
        });
        session.answer(Answer::Lines(lines.collect()));
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
    mut stopped: oneshot::Receiver<()>,
) -> Result<Transferred, TransferFailure> {
    let socket = tokio::select! {
        connected = way.connect(peer) => connected.map_err(|_| TransferFailure::CannotConnect)?,
        _ = &mut stopped => return Err(TransferFailure::Aborted),
    };
    let cut = socket2::SockRef::from(&socket).try_clone().map_err(|_| TransferFailure::CannotConnect)?;
    let mut moving = tokio::task::spawn_blocking(move || {
        let data = connection::ready(socket, certificates)?;
        job.run(data, &transfer, &progress, &markers)
    });
    let outcome = tokio::select! {
        outcome = &mut moving => outcome,
        _ = &mut stopped => {
            let _ = cut.shutdown(std::net::Shutdown::Both);
            let _ = moving.await;
            return Err(TransferFailure::Aborted);
        }
    };
    outcome.unwrap_or(Err(TransferFailure::File(Refusal::LocalError)))
}
