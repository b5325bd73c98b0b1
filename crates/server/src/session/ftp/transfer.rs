//! A transfer from its beginning to its end: the file, the data connection, the thread that moves one over the other.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use packetboat_files::{Entry, How, Kind, Lister, Refusal as Files, Space, Upload, VirtualPath};
use packetboat_ftp::command::PathName;
use packetboat_ftp::listing::{Flags, Order, facts_line, name_line, unix_line};
use packetboat_ftp::server::{Refusal, Transfer, TransferFailure, Transferred, What};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Sender;

use super::actions::{Here, refusal, told};
use super::pipe::{self, Progress};
use super::stream::Data;
use crate::tls::Certificates;

/// For the data connection to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// Nothing moves on it for so long: it is given up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Text of a listing that is made at a time.
const LISTING_PIECE: usize = 64 * 1024;
/// Entries that are put in order; a larger directory comes as it is.
const SORTED_MAX: usize = 100_000;
/// Directories in directories that a recursive listing goes into.
const DEPTH_MAX: usize = 32;

/// What a transfer moves.
#[derive(Debug)]
pub(super) enum Job {
    Send { file: std::fs::File, octets: u64 },
    Receive { upload: Upload, begin: u64 },
    List { listing: Box<Listing> },
}

/// A listing that is made while it is sent.
#[derive(Debug)]
pub(super) struct Listing {
    space: Space,
    form: Form,
    flags: Flags,
    now: i64,
    /// What is listed now, and what comes after it.
    current: Option<Level>,
    waiting: Vec<(VirtualPath, usize)>,
    /// Directories that were found in the current one, for `-R`.
    found: Vec<VirtualPath>,
    /// NLST of a path: names come with it.
    prefix: Vec<u8>,
}

#[derive(Debug)]
struct Level {
    at: VirtualPath,
    depth: usize,
    entries: Entries,
    headed: bool,
}

#[derive(Debug)]
enum Entries {
    AsFound(Box<Lister>),
    Ordered(std::vec::IntoIter<Entry>),
}

#[derive(Debug)]
enum Form {
    Unix,
    Names,
    Facts(Vec<&'static str>),
}

impl Job {
    /// Sees whether a transfer is possible, and what is to be said of it.
    pub(super) fn prepare(
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
                let beyond =
                    matches!(transfer.restart, packetboat_ftp::data::Restart::Stream(n) if n > octets);
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
                Ok((Job::Receive { upload, begin }, format!("Receiving {}.", path.to_text())))
            }
            What::StoreUnique(path) => {
                let wanted = path.clone().or_else(|| PathName::new("file"));
                let at = here.at(&wanted.ok_or(Refusal::InvalidPath)?)?;
                let free = (0..).map(|n| match n {
                    0 => Ok(at.clone()),
                    n => suffixed(&at, n),
                });
                for at in free.take(10_000) {
                    let at = at?;
                    match space.facts(&at) {
                        Err(Files::NotFound) => {}
                        Ok(_) => continue,
                        // Who may not look takes the first name that the file system takes.
                        Err(_) => {}
                    }
                    let upload =
                        space.store(&at, How::Create, transfer.umask, random).map_err(|why| refusal(&why))?;
                    let name = String::from_utf8_lossy(&at.to_bytes()).into_owned();
                    return Ok((Job::Receive { upload, begin: 0 }, format!("FILE: {name}")));
                }
                Err(Refusal::Exists)
            }
            What::Append(path) => {
                let at = here.at(path)?;
                let (upload, begin) =
                    space.append(&at, transfer.umask, random).map_err(|why| refusal(&why))?;
                Ok((Job::Receive { upload, begin }, format!("Appending to {}.", path.to_text())))
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
        mut data: Data,
        transfer: &Transfer,
        progress: &Progress,
        markers: &Sender<(String, u64)>,
    ) -> Result<Transferred, TransferFailure> {
        let (octets, note) = match self {
            Job::Send { file, octets } => {
                let octets = pipe::send(&mut data, &file, octets, transfer, progress)?;
                data.finish().map_err(|_| TransferFailure::ConnectionLost)?;
                (octets, None)
            }
            Job::List { mut listing } => {
                let octets = pipe::send_made(&mut data, |text| listing.more(text), transfer, progress)?;
                data.finish().map_err(|_| TransferFailure::ConnectionLost)?;
                (octets, None)
            }
            Job::Receive { upload, begin } => {
                let octets = pipe::receive(&mut data, &upload, begin, transfer, progress, markers)?;
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
    let space = &here.space;
    let upload = space.store(at, How::Replace, transfer.umask, random).map_err(|why| refusal(&why))?;
    let (old, entry) = space.read(at).map_err(|why| match why {
        Files::NotFound => Refusal::InvalidRestart,
        other => refusal(&other),
    })?;
    let begin = match place {
        Place::OnDisk(octets) => octets,
        Place::InStream(octets) => {
            pipe::place_on_disk(&old, octets, transfer).map_err(|_| Refusal::InvalidRestart)?
        }
    };
    if begin > entry.size {
        return Err(Refusal::InvalidRestart);
    }
    upload.begin_with(&old, begin).map_err(|_| Refusal::LocalError)?;
    Ok((Job::Receive { upload, begin }, format!("Receiving {at} from octet {begin} on.")))
}

fn suffixed(at: &VirtualPath, number: u32) -> Result<VirtualPath, Refusal> {
    let (above, name) = at.split().ok_or(Refusal::InvalidPath)?;
    let name = [name, format!(".{number}").as_bytes()].concat();
    above.join(&name).map_err(|_| Refusal::InvalidPath)
}

impl Listing {
    fn new(here: &Here, path: Option<&PathName>, form: Form, flags: Flags) -> Result<Listing, Refusal> {
        let at = here.at_or_here(path)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let prefix = match path {
            Some(path) if matches!(form, Form::Names) => {
                let mut prefix = path.as_bytes().to_vec();
                if !prefix.ends_with(b"/") {
                    prefix.push(b'/');
                }
                prefix
            }
            _ => Vec::new(),
        };
        let mut listing = Listing {
            space: here.space.clone(),
            form,
            flags,
            now,
            current: None,
            waiting: Vec::new(),
            found: Vec::new(),
            prefix,
        };
        let as_directory = here.space.enter(&at).is_ok();
        let entries = if as_directory && !flags.directory {
            listing.entries(&at).map_err(|why| refusal(&why))?
        } else {
            // A file, or the directory itself.
            let mut entry = here.space.facts(&at).map_err(|why| refusal(&why))?;
            if let Some(path) = path {
                entry.name = path.as_bytes().to_vec();
            }
            listing.prefix.clear();
            Entries::Ordered(vec![entry].into_iter())
        };
        let headed = !flags.recursive;
        listing.current = Some(Level { at, depth: 0, entries, headed });
        Ok(listing)
    }

    fn entries(&self, at: &VirtualPath) -> Result<Entries, Files> {
        let lister = self.space.list(at)?;
        if self.flags.order == Order::AsFound {
            return Ok(Entries::AsFound(Box::new(lister)));
        }
        let mut entries = Vec::new();
        for entry in lister.take(SORTED_MAX) {
            entries.push(entry?);
        }
        match self.flags.order {
            Order::Time => entries.sort_by_key(|entry| std::cmp::Reverse(entry.modified)),
            Order::Size => entries.sort_by_key(|entry| std::cmp::Reverse(entry.size)),
            Order::Name | Order::AsFound => entries.sort_by(|a, b| a.name.cmp(&b.name)),
        }
        if self.flags.reverse {
            entries.reverse();
        }
        Ok(Entries::Ordered(entries.into_iter()))
    }

    /// Makes the next piece of text; false: it was the last.
    fn more(&mut self, text: &mut Vec<u8>) -> Result<bool, TransferFailure> {
        while text.len() < LISTING_PIECE {
            let Some(mut level) = self.current.take() else { return Ok(false) };
            if !level.headed {
                level.headed = true;
                text.extend_from_slice(&level.at.to_bytes());
                text.extend_from_slice(b":\n");
            }
            let entry = match &mut level.entries {
                Entries::AsFound(lister) => lister.next().transpose(),
                Entries::Ordered(entries) => Ok(entries.next()),
            };
            match entry.map_err(|why| TransferFailure::File(refusal(&why)))? {
                Some(entry) => {
                    self.entry(&level, &entry, text);
                    self.current = Some(level);
                }
                None => {
                    // Those found here come before those that wait from above.
                    let depth = level.depth + 1;
                    let found = std::mem::take(&mut self.found);
                    self.waiting.extend(found.into_iter().rev().map(|at| (at, depth)));
                    self.current = self.next_level(text);
                }
            }
        }
        Ok(true)
    }

    fn next_level(&mut self, text: &mut Vec<u8>) -> Option<Level> {
        while let Some((at, depth)) = self.waiting.pop() {
            // What cannot be looked into is passed over.
            if let Ok(entries) = self.entries(&at) {
                text.extend_from_slice(b"\n");
                return Some(Level { at, depth, entries, headed: false });
            }
        }
        None
    }

    fn entry(&mut self, level: &Level, entry: &Entry, text: &mut Vec<u8>) {
        let hidden = entry.name.first() == Some(&b'.');
        if hidden && !self.flags.all && !self.flags.almost_all && !matches!(self.form, Form::Facts(_)) {
            return;
        }
        let at = level.at.join(&entry.name).unwrap_or_else(|_| level.at.clone());
        if self.flags.recursive && entry.kind == Kind::Directory && level.depth < DEPTH_MAX {
            self.found.push(at.clone());
        }
        match &self.form {
            Form::Unix => unix_line(&told(entry, &entry.name, &self.space, &at), self.now, &self.flags, text),
            Form::Names => name_line(&[&self.prefix[..], &entry.name].concat(), text),
            Form::Facts(facts) => facts_line(&told(entry, &entry.name, &self.space, &at), facts, text),
        }
    }
}

/// How the data connection comes about.
#[derive(Debug)]
pub(super) enum Way {
    Passive(TcpListener),
    Active(SocketAddr),
}

impl Way {
    /// Waits for it. Only the client of the control connection is let in (RFC 2577 section 3).
    pub(super) async fn connect(self, peer: Option<IpAddr>) -> io::Result<TcpStream> {
        let connect = async {
            match self {
                Way::Active(at) => TcpStream::connect(at).await,
                Way::Passive(listener) => loop {
                    let (socket, from) = listener.accept().await?;
                    if peer.is_none_or(|peer| peer.to_canonical() == from.ip().to_canonical()) {
                        return Ok(socket);
                    }
                    tracing::warn!(%from, "a stranger came for a data connection");
                },
            }
        };
        tokio::time::timeout(CONNECT, connect).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Makes a data connection ready for a thread that may block.
pub(super) fn ready(
    socket: TcpStream,
    certificates: Option<Arc<Certificates>>,
) -> Result<Data, TransferFailure> {
    let socket = socket.into_std().map_err(|_| TransferFailure::CannotConnect)?;
    let data = Data::new(socket, PATIENCE).map_err(|_| TransferFailure::CannotConnect)?;
    match certificates {
        None => Ok(data),
        Some(certificates) => data.protect(&certificates).map_err(|error| {
            tracing::info!(%error, "TLS failed on a data connection");
            TransferFailure::TlsFailed
        }),
    }
}
