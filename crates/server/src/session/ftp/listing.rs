//! Listings that are made while they are sent.

use std::time::{SystemTime, UNIX_EPOCH};

use packetboat_files::{Entry, Kind, Lister, Refusal as Files, Space, VirtualPath};
use packetboat_ftp::command::PathName;
use packetboat_ftp::listing::{Flags, Order, facts_line, name_line, unix_line};
use packetboat_ftp::server::{Refusal, TransferFailure};

use super::actions::{Here, refusal, told};

/// Text of a listing that is made at a time.
const LISTING_PIECE: usize = 64 * 1024;
/// Entries that are put in order; a larger directory comes as it is.
const SORTED_MAX: usize = 100_000;
/// Directories in directories that a recursive listing goes into.
const DEPTH_MAX: usize = 32;

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
pub(super) enum Form {
    Unix,
    Names,
    Facts(Vec<&'static str>),
}

impl Listing {
    pub(super) fn new(
        here: &Here,
        path: Option<&PathName>,
        form: Form,
        flags: Flags,
    ) -> Result<Listing, Refusal> {
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
    pub(super) fn more(&mut self, text: &mut Vec<u8>) -> Result<bool, TransferFailure> {
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
