//! What a transfer moves, from the request to the file that is whole.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use packetboat_files::{How, Refusal as Files, Upload, VirtualPath};
use packetboat_ftp::command::PathName;
use packetboat_ftp::listing::Flags;
use packetboat_ftp::server::{Refusal, Transfer, TransferFailure, Transferred, What};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::sync::mpsc::Sender;

use super::actions::{Here, refusal};
use super::listing::{Form, Listing};
use super::pipe::{self, Progress};
use super::stream::Data;

/// Which part of the time an upload took may pass until it is seen that its client is gone...
const GRACE_PART: u32 = 200;
/// ...and how much at most; it is looked at so often.
const GRACE_MAX: Duration = Duration::from_millis(20);
const GRACE_STEP: Duration = Duration::from_micros(250);

/// What a transfer moves.
#[derive(Debug)]
pub(super) enum Job {
    Send {
        file: std::fs::File,
        octets: u64,
    },
    /// `unique`: under a name that was chosen here (STOU).
    Receive {
        upload: Box<Upload>,
        begin: u64,
        unique: Option<VirtualPath>,
    },
    List {
        listing: Box<Listing>,
    },
}

impl Job {
    /// Sees whether a transfer is possible, and what is to be said of it.
    pub(super) fn prepare(
        here: &Here,
        transfer: &Transfer,
        facts: &[&'static str],
        random: u64,
    ) -> Result<(Job, String), Refusal> {
        let prepared = Job::find(here, transfer, facts, random)?;
        if let ((Job::Receive { upload, begin, .. }, _), Some(octets)) = (&prepared, transfer.announced) {
            upload.expect(begin.saturating_add(octets)).map_err(|why| refusal(&why))?;
        }
        Ok(prepared)
    }

    fn find(
        here: &Here,
        transfer: &Transfer,
        facts: &[&'static str],
        random: u64,
    ) -> Result<(Job, String), Refusal> {
        let space = &here.space;
        match &transfer.what {
            What::Retrieve(path) => {
                let at = here.at(path)?;
                let (file, entry) = space.read(&at).map_err(|why| refusal(&why))?;
                let octets = entry.size;
                let beyond = matches!(transfer.restart, packetboat_ftp::data::Restart::Stream(n) if n > octets)
                    || transfer.range.is_some_and(|(first, _)| first > octets);
                if beyond && transfer.representation.is_plain() {
                    return Err(Refusal::InvalidRestart);
                }
                Ok((Job::Send { file, octets }, format!("Sending {} ({octets} octets).", path.to_text())))
            }
            What::Store(path) => {
                let at = here.at(path)?;
                let (upload, begin) = match transfer.restart {
                    packetboat_ftp::data::Restart::None => {
                        (space.store(&at, How::Replace, transfer.umask, random), 0)
                    }
                    packetboat_ftp::data::Restart::Marker(place) => {
                        return goes_on(here, &at, Place::OnDisk(place), transfer, random);
                    }
                    packetboat_ftp::data::Restart::Stream(octets) => {
                        return goes_on(here, &at, Place::InStream(octets), transfer, random);
                    }
                };
                let upload = upload.map_err(|why| refusal(&why))?;
                let job = Job::Receive { upload: upload.into(), begin, unique: None };
                Ok((job, format!("Receiving {}.", path.to_text())))
            }
            What::StoreUnique(path) => {
                let wanted = path.clone().or_else(|| PathName::new("file"));
                let at = here.at(&wanted.ok_or(Refusal::InvalidPath)?)?;
                let (upload, at) =
                    space.store_unique(&at, transfer.umask, random).map_err(|why| refusal(&why))?;
                // What RFC 1123 section 4.1.2.9 has the client told.
                let about = format!("FILE: {}", String::from_utf8_lossy(&at.to_bytes()));
                Ok((Job::Receive { upload: upload.into(), begin: 0, unique: Some(at) }, about))
            }
            What::Append(path) => {
                let at = here.at(path)?;
                let (upload, begin) =
                    space.append(&at, transfer.umask, random).map_err(|why| refusal(&why))?;
                let job = Job::Receive { upload: upload.into(), begin, unique: None };
                Ok((job, format!("Appending to {}.", path.to_text())))
            }
            What::List(path) => {
                let (flags, path) = Flags::parse(path.as_ref());
                let listing = Listing::new(here, path.as_ref(), Form::Unix, flags)?;
                Ok((Job::List { listing: Box::new(listing) }, "Here comes the listing.".to_owned()))
            }
            What::Names(path) => {
                let (flags, path) = Flags::parse(path.as_ref());
                let form = if flags.long == Some(true) { Form::Unix } else { Form::Names };
                let listing = Listing::new(here, path.as_ref(), form, flags)?;
                Ok((Job::List { listing: Box::new(listing) }, "Here come the names.".to_owned()))
            }
            What::Facts(path) => {
                let flags = Flags { all: true, ..Flags::default() };
                let at = here.at_or_here(path.as_ref())?;
                here.space.enter(&at).map_err(|why| match why {
                    Files::NotADirectory => Refusal::NotADirectory,
                    other => refusal(&other),
                })?;
                let listing = Listing::new(here, path.as_ref(), Form::Facts(facts.to_vec()), flags)?;
                Ok((Job::List { listing: Box::new(listing) }, "Here come the facts.".to_owned()))
            }
        }
    }

    /// Whether data comes in.
    pub(super) fn is_inbound(&self) -> bool {
        matches!(self, Job::Receive { .. })
    }

    /// Moves it, on a thread that may block.
    pub(super) fn run(
        self,
        data: &mut Data,
        transfer: &Transfer,
        progress: &Progress,
        markers: &Sender<(String, u64)>,
        whether: &Whether,
    ) -> Result<Transferred, TransferFailure> {
        let (octets, note) = match self {
            Job::Send { file, octets } => {
                let octets = pipe::send(data, &file, octets, transfer, progress)?;
                farewell(data, transfer)?;
                (octets, None)
            }
            Job::List { mut listing } => {
                let octets = pipe::send_made(data, |text| listing.more(text), transfer, progress)?;
                farewell(data, transfer)?;
                (octets, None)
            }
            Job::Receive { mut upload, begin, .. } => {
                let began = Instant::now();
                let received = pipe::receive(data, &mut upload, begin, transfer, progress, markers);
                // The end of a connection that was cut, or of a client that was killed, looks like the end of the file.
                let received = match received {
                    Ok(_) if whether.is_given_up() => Err(TransferFailure::Aborted),
                    Ok(_) if whether.is_line_closed(began.elapsed()) => Err(TransferFailure::ConnectionLost),
                    received => received,
                };
                let octets = match received {
                    Ok(octets) => octets,
                    Err(failure) => {
                        use TransferFailure::{Aborted, ConnectionLost, TooSlow};
                        if matches!(failure, Aborted | ConnectionLost | TooSlow)
                            && let Some(octets) = upload.break_off()
                        {
                            tracing::debug!(octets, "an upload was broken off; what came is kept");
                        }
                        return Err(failure);
                    }
                };
                // A client under TLS waits for our farewell before it looks for the reply.
                let _ = data.finish();
                let name = upload.commit().map_err(|why| TransferFailure::File(refusal(&why)))?;
                let note = matches!(transfer.what, What::StoreUnique(_)).then(|| {
                    format!("Transfer complete, unique file name: {}", String::from_utf8_lossy(&name))
                });
                (octets, note)
            }
        };
        Ok(Transferred { octets, stays_open: false, note })
    }
}

/// All is sent. Who sees the end in the data itself may be gone before our farewell, and has missed nothing by that: lftp
/// closes a data connection as soon as MODE Z's stream is complete.
fn farewell(data: &mut Data, transfer: &Transfer) -> Result<(), TransferFailure> {
    let ends_in_data = transfer.deflate || !transfer.representation.ends_with_connection();
    match data.finish() {
        Err(_) if !ends_in_data => Err(TransferFailure::ConnectionLost),
        _ => Ok(()),
    }
}

/// Whether somebody still wants what is moved.
#[derive(Debug)]
pub(super) struct Whether {
    given_up: AtomicBool,
    /// The control connection, to look at.
    line: Option<Arc<OwnedFd>>,
}

impl Whether {
    pub(super) fn new(line: Option<Arc<OwnedFd>>) -> Whether {
        Whether { given_up: AtomicBool::new(false), line }
    }

    /// It is to be given up.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// The client has closed the control connection, as the system does for one that was killed; the session may not have seen
    /// it yet. The two connections end within microseconds, in either order, so that of a transfer that lasted it is waited a
    /// little: so little beside it that it does not count.
    fn is_line_closed(&self, lasted: Duration) -> bool {
        let Some(line) = &self.line else { return false };
        let until = Instant::now() + (lasted / GRACE_PART).min(GRACE_MAX);
        loop {
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            match rustix::net::recv(line, &mut [0_u8; 1][..], flags) {
                Ok((0, _)) => return true,
                Err(error) if error != Errno::AGAIN && error != Errno::INTR => return true,
                _ if Instant::now() + GRACE_STEP > until => return false,
                _ => std::thread::sleep(GRACE_STEP),
            }
        }
    }
}

enum Place {
    OnDisk(u64),
    InStream(u64),
}

/// A file that was received in part, and goes on.
fn goes_on(
    here: &Here,
    at: &VirtualPath,
    place: Place,
    transfer: &Transfer,
    random: u64,
) -> Result<(Job, String), Refusal> {
    let find = |file: &std::fs::File| match place {
        Place::OnDisk(octets) => Some(octets),
        Place::InStream(octets) => pipe::place_on_disk(file, octets, transfer).ok(),
    };
    let (upload, begin) = here.space.resume(at, transfer.umask, random, find).map_err(|why| match why {
        Files::InvalidRange => Refusal::InvalidRestart,
        other => refusal(&other),
    })?;
    let job = Job::Receive { upload: upload.into(), begin, unique: None };
    Ok((job, format!("Receiving {at} from octet {begin} on.")))
}
