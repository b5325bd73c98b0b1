//! The transfer that runs, beside the session.

use std::sync::Arc;
use std::task::{Context, Waker};

use packetboat_ftp::command::PathName;
use packetboat_ftp::data::{Mode, Type};
use packetboat_ftp::server::{Connection, Refusal, Server, Transfer, TransferFailure, Transferred, What};
use tokio::sync::{mpsc, oneshot};

use super::Ftp;
use super::actions::Here;
use super::connection::{Wanted, Way};
use super::early::{self, Small};
use super::farewell::Patience;
use super::links::Links;
use super::pipe::{self, Progress};
use super::rates::Pace;
use super::stream::Data;
use super::transfer::{Job, Whether};
use crate::files::{Begun, Direction};
use crate::session::random;

/// Restart markers that wait to be told; with more of them the transfer waits for the control connection.
const MARKERS_MAX: usize = 16;

/// A transfer that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) outcome: oneshot::Receiver<Outcome>,
    pub(super) markers: mpsc::Receiver<(String, u64)>,
    /// Dropped, it stops the transfer.
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(super) news: Option<News>,
}

#[derive(Debug)]
pub(super) enum News {
    Marker(String, u64),
    Ended(Outcome),
}

/// How a transfer ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) result: Result<Transferred, TransferFailure>,
    /// The data connection, if it stays open (RFC 959 section 3.3).
    pub(super) open: Option<Box<Data>>,
    /// The data connection resumed the TLS session of the control connection.
    pub(super) resumed: bool,
    /// A handshake was made on it.
    pub(super) secured: bool,
}

/// A data connection of which our half is closed, and how long the other half may go on.
#[derive(Debug)]
struct Closing {
    data: Data,
    patience: Patience,
}

impl From<TransferFailure> for Outcome {
    fn from(failure: TransferFailure) -> Outcome {
        Outcome { result: Err(failure), open: None, resumed: false, secured: true }
    }
}

impl Ftp {
    pub(super) fn begin(&mut self, session: &mut Server, transfer: Transfer) {
        let Some(here) = &self.here else { return session.refuse(Refusal::LocalError) };
        if let Err(why) = self.may_transfer(&transfer.what) {
            return session.refuse(why);
        }
        let number = u64::from_ne_bytes(random());
        let prepare = || Job::prepare(here, &transfer, session.facts(), number);
        // What goes on begins with a copy of what is there, which may be long: no other session waits for it.
        let prepared = if transfer.goes_on() { tokio::task::block_in_place(prepare) } else { prepare() };
        let (job, about) = match prepared {
            Ok(prepared) => prepared,
            Err(why) => return session.refuse(why),
        };
        let open = self.open.take().filter(|data| data.is_open());
        let way = match (transfer.connection, self.awaited.take(), self.peer.remote, open) {
            (Connection::Open, .., Some(data)) => Way::Open(data),
            (Connection::Passive, Some(awaited), ..) => Way::Passive(awaited),
            (Connection::Active(at), ..) => Way::Active(self.meant(at)),
            (Connection::Default, _, Some(remote), _) if self.depot.links.active => Way::Active(remote),
            _ => return session.refuse(Refusal::CannotListen),
        };
        // Nobody has to shake hands.
        let at_once = !transfer.protected && early::may_be_sent(&job);
        let progress = Progress::default();
        let moving = self.listed.transfer(begun(here, &transfer, &job, &progress));
        session.transfer_begins(job.is_inbound(), matches!(way, Way::Open(_)), about);
        let (tell, outcome) = oneshot::channel();
        let (mark, markers) = mpsc::channel(MARKERS_MAX);
        let (stop, stopped) = oneshot::channel();
        let running = Running { outcome, markers, stop: Some(stop), news: None };
        self.running = Some(running);
        self.claim();
        let wanted = Wanted {
            connection: self.peer.id,
            peer: self.peer.ip(),
            local: self.peer.local,
            protected: transfer.protected,
            owner: self.owner(),
        };
        let links = Arc::clone(&self.depot.links);
        let line = self.line.clone();
        let pace = self.pace(job.is_inbound());
        let mut carried = Box::pin(async move {
            let whether = Arc::new(Whether::new(line));
            let outcome =
                carry(way, wanted, &links, job, transfer, progress, mark, whether, pace, stopped).await;
            let (outcome, closing) = outcome.unwrap_or_else(|failure| (failure.into(), None));
            moving.ended(&outcome.result);
            let _ = tell.send(outcome);
            if let Some(Closing { data, patience }) = closing {
                data.linger(patience).await;
            }
        });
        // A small file whose client is there already is on its way before anything is said of it: both replies go out as one,
        // and wake the client once.
        if at_once && carried.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            let outcome = self.running.as_mut().and_then(|running| running.outcome.try_recv().ok());
            let lost = || TransferFailure::File(Refusal::LocalError).into();
            return self.ended(session, outcome.unwrap_or_else(lost));
        }
        tokio::spawn(carried);
    }

    /// The transfer is over.
    pub(super) fn ended(&mut self, session: &mut Server, outcome: Outcome) {
        self.running = None;
        self.ticket_used = outcome.secured;
        (self.open, self.has_resumed) = (outcome.open, self.has_resumed || outcome.resumed);
        session.transfer_ended(outcome.result);
    }
}

/// What is told of a transfer while it runs, and after it.
fn begun(here: &Here, transfer: &Transfer, job: &Job, progress: &Progress) -> Begun {
    let at =
        |path: Option<&PathName>| here.at_or_here(path).map_or_else(|_| String::new(), |at| at.to_string());
    let (verb, path) = match &transfer.what {
        What::Retrieve(path) => ("RETR", at(Some(path))),
        What::Store(path) => ("STOR", at(Some(path))),
        What::StoreUnique(path) => match job {
            Job::Receive { unique: Some(chosen), .. } => ("STOU", chosen.to_string()),
            _ => ("STOU", at(path.as_ref())),
        },
        What::Append(path) => ("APPE", at(Some(path))),
        What::List(path) => ("LIST", at(path.as_ref())),
        What::Names(path) => ("NLST", at(path.as_ref())),
        What::Facts(path) => ("MLSD", at(path.as_ref())),
    };
    let representation = transfer.representation;
    let plain = representation.is_plain() && !transfer.deflate;
    let (direction, size) = match job {
        Job::Send { octets, .. } => {
            let (first, end) = pipe::wanted(transfer, *octets);
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
/// moves it ends by that. The second part is a data connection of which our half is closed.
#[allow(clippy::too_many_arguments)]
async fn carry(
    way: Way,
    wanted: Wanted,
    links: &Links,
    job: Job,
    transfer: Transfer,
    progress: Progress,
    markers: mpsc::Sender<(String, u64)>,
    whether: Arc<Whether>,
    pace: Pace,
    mut stopped: oneshot::Receiver<()>,
) -> Result<(Outcome, Option<Closing>), TransferFailure> {
    let (was_open, inbound) = (matches!(way, Way::Open(_)), job.is_inbound());
    let (mut data, resumed) = tokio::select! {
        connected = wanted.connect(way, links) => connected?,
        _ = &mut stopped => return Err(TransferFailure::Aborted),
    };
    // In the other modes, the data themselves say where the file ends (RFC 959 section 3.4).
    data.stays_open = transfer.representation.mode != Mode::Stream && !transfer.deflate;
    data.pace = pace.clone();
    // One that has carried files before may block, and be full of what its client has not read.
    let small = if was_open { Small::No } else { Small::of(&job, &data, &transfer) };
    let is_there = tokio::select! {
        biased;
        is_there = small.is_there(&mut data) => is_there,
        _ = &mut stopped => {
            // First this: the end of a connection that was cut looks like the end of the file.
            whether.give_up();
            data.cut();
            true
        }
    };
    let moved = if is_there {
        if data.is_protected() {
            data.be_patient().map_err(|_| TransferFailure::CannotConnect)?;
        }
        let result = job.run(&mut data, &transfer, &progress, &markers, &whether);
        Ok((result, data))
    } else {
        let cut = data.handle().and_then(|cut| data.be_patient().map(|()| cut));
        let cut = cut.map_err(|_| TransferFailure::CannotConnect)?;
        let watched = Arc::clone(&whether);
        let mut moving = tokio::task::spawn_blocking(move || {
            let result = job.run(&mut data, &transfer, &progress, &markers, &watched);
            (result, data)
        });
        tokio::select! {
            moved = &mut moving => moved,
            _ = &mut stopped => {
                // First this: the end of a connection that was cut looks like the end of the file.
                whether.give_up();
                pace.stop();
                let _ = cut.shutdown(std::net::Shutdown::Both);
                // What was whole already when it was to be given up, is.
                return match moving.await {
                    Ok((Ok(transferred), _)) => {
                        Ok((Outcome { result: Ok(transferred), open: None, resumed, secured: false }, None))
                    }
                    _ => Err(TransferFailure::Aborted),
                };
            }
        }
    };
    let Ok((result, mut data)) = moved else { return Err(TransferFailure::File(Refusal::LocalError)) };
    let secured = data.is_protected() && !was_open;
    let (open, closing) = match &result {
        Err(TransferFailure::File(_) | TransferFailure::Data(_)) if inbound => {
            // The client is in the middle of sending. Reset, many a program would only say that the pipe is broken, and not
            // look for the reply.
            data.stays_open = false;
            let _ = data.finish();
            (None, Some(Closing { data, patience: Patience::REFUSAL }))
        }
        Ok(_) if data.stays_open => (Some(Box::new(data)), None),
        Ok(_) if data.is_protected() => (None, Some(Closing { data, patience: Patience::FAREWELL })),
        _ => (None, None),
    };
    let result = result.map(|done| Transferred { stays_open: open.is_some(), ..done });
    Ok((Outcome { result, open, resumed, secured }, closing))
}
