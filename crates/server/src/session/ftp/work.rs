//! The requests that take as long as reading or writing files: what an [`Errand`](super::errand::Errand) does.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use packetboat_files::{Algorithm, Checksum, Refusal as Files, VirtualPath};
use packetboat_ftp::command::PathName;
use packetboat_ftp::data::container::{HEADER_OCTETS, is_container};
use packetboat_ftp::data::{Mode, Options, Outbound, Representation, Restart};
use packetboat_ftp::listing::Flags;
use packetboat_ftp::server::{Answer, Refusal, Request};

use super::actions::{Here, refusal};
use super::errand::Work;
use super::listing::{Form, Listing};
use crate::session::random;

/// Octets read at a time.
const PIECE: usize = 256 * 1024;
/// Octets of a listing over the control connection; a longer one is for LIST.
const STATUS_OCTETS: usize = 128 * 1024;

impl Here {
    /// The work that a request is; `None` if it takes no time.
    pub(super) fn work(&self, request: &Request) -> Result<Option<Work>, Refusal> {
        let space = self.space.clone();
        let done = |outcome: Result<(), Files>| outcome.map(|()| Answer::Done).map_err(|why| refusal(&why));
        Ok(Some(match request {
            Request::Checksum { algorithm, path, start, end } => {
                let (at, algorithm, start, end) = (self.at(path)?, digest(*algorithm), *start, *end);
                Box::new(move |stop| {
                    let checksum = space.checksum(&at, algorithm, start, end, stop);
                    let Checksum { digits: digest, start, end } = checksum.map_err(|why| refusal(&why))?;
                    Ok(Answer::Checksum { digest, start, end })
                })
            }
            Request::Copy(from, to) => {
                let (from, to) = (self.at(from)?, self.at(to)?);
                Box::new(move |stop| done(space.copy(&from, &to, number(), stop)))
            }
            Request::Combine(target, sources) => {
                let target = self.at(target)?;
                let sources: Vec<VirtualPath> =
                    sources.iter().map(|path| self.at(path)).collect::<Result<_, _>>()?;
                Box::new(move |stop| done(space.combine(&target, &sources, number(), stop)))
            }
            Request::RemoveTree(path) => {
                let at = self.at(path)?;
                Box::new(move |stop| done(space.remove_tree(&at, stop)))
            }
            Request::Status(path) => self.status(path)?,
            Request::Size(path, representation, options) => {
                let at = self.at(path)?;
                let representation = Representation { mode: Mode::Stream, ..*representation };
                // What may be listed may be counted: no octet of it is told.
                let Ok((file, _)) = space.read_known(&at) else { return Ok(None) };
                if representation.is_plain() && !is_container(&head(&file)?) {
                    return Ok(None);
                }
                let (options, limit) = (options.clone(), space.rules().counted_octets_max);
                Box::new(move |stop| sent_octets(&file, representation, &options, limit, stop))
            }
            _ => return Ok(None),
        }))
    }

    /// STAT with a path: what LIST would send, as far as it fits.
    fn status(&self, path: &PathName) -> Result<Work, Refusal> {
        let (flags, path) = Flags::parse(Some(path));
        let is_directory = self.space.enter(&self.at_or_here(path.as_ref())?).is_ok();
        let mut listing = Listing::new(self, path.as_ref(), Form::Unix, flags)?;
        let named = path.map_or_else(|| self.directory.to_string(), |path| path.to_text());
        Ok(Box::new(move |stop| {
            let mut text = Vec::new();
            let mut more = true;
            while more && text.len() < STATUS_OCTETS {
                if stop.load(Ordering::Relaxed) {
                    return Err(Refusal::Stopped);
                }
                let mut piece = Vec::new();
                more = listing.more(&mut piece).map_err(|_| Refusal::LocalError)?;
                text.append(&mut piece);
            }
            let cut = more || text.len() > STATUS_OCTETS;
            if cut {
                let end = text.iter().take(STATUS_OCTETS).rposition(|octet| *octet == b'\n').unwrap_or(0);
                text.truncate(end);
            }
            let mut lines = vec![format!("Status of {named}:")];
            lines.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
            lines.push(if cut { "And more: LIST tells all." } else { "End of status." }.to_owned());
            Ok(if is_directory { Answer::Directories(lines) } else { Answer::Lines(lines) })
        }))
    }
}

fn number() -> u64 {
    u64::from_ne_bytes(random())
}

fn digest(algorithm: packetboat_ftp::command::Algorithm) -> Algorithm {
    match algorithm {
        packetboat_ftp::command::Algorithm::Crc32 => Algorithm::Crc32,
        packetboat_ftp::command::Algorithm::Md5 => Algorithm::Md5,
        packetboat_ftp::command::Algorithm::Sha1 => Algorithm::Sha1,
        packetboat_ftp::command::Algorithm::Sha256 => Algorithm::Sha256,
        packetboat_ftp::command::Algorithm::Sha512 => Algorithm::Sha512,
    }
}

/// How a file begins.
fn head(file: &File) -> Result<Vec<u8>, Refusal> {
    let mut head = vec![0; HEADER_OCTETS];
    let mut filled = 0;
    while let Some(free) = head.get_mut(filled..).filter(|free| !free.is_empty()) {
        match file.read_at(free, filled as u64).map_err(|error| refusal(&error.into()))? {
            0 => break,
            read => filled += read,
        }
    }
    head.truncate(filled);
    Ok(head)
}

/// Octets that a transfer of a file would send (RFC 3659 section 4), by making all of them.
fn sent_octets(
    file: &File,
    representation: Representation,
    options: &Options,
    limit: u64,
    stop: &AtomicBool,
) -> Result<Answer, Refusal> {
    let lies = file.metadata().map_err(|error| refusal(&error.into()))?.len();
    if lies > limit {
        let words = "The size in this representation is not counted for a file that large; TYPE I first.";
        return Err(Refusal::Because(words.to_owned()));
    }
    let broken = |_| Refusal::Because("The file cannot be sent in this representation.".to_owned());
    let mut outbound = Outbound::new(representation, options, &head(file)?, Restart::None).map_err(broken)?;
    let (mut sent, mut at, mut piece, mut out) = (0_u64, 0_u64, vec![0; PIECE], Vec::new());
    // Not beyond what was there at first: a file that grows meanwhile has no size anyway.
    while at < lies {
        if stop.load(Ordering::Relaxed) {
            return Err(Refusal::Stopped);
        }
        let read = file.read_at(&mut piece, at).map_err(|error| refusal(&error.into()))?;
        let Some(mut disk) = piece.get(..read).filter(|disk| !disk.is_empty()) else { break };
        at += read as u64;
        while !disk.is_empty() {
            out.clear();
            outbound.push(&mut disk, &mut out, PIECE).map_err(broken)?;
            sent += out.len() as u64;
        }
    }
    let mut ended = false;
    while !ended {
        if stop.load(Ordering::Relaxed) {
            return Err(Refusal::Stopped);
        }
        out.clear();
        ended = outbound.finish(&mut out, PIECE).map_err(broken)?;
        sent += out.len() as u64;
    }
    Ok(Answer::Number(sent))
}
