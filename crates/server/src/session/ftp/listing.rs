//! Listings that are made while they are sent.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use packetboat_files::{Entry, Kind, Lister, Matches, Pattern, Refusal as Files, Rights, Space, VirtualPath};
use packetboat_ftp::command::PathName;
use packetboat_ftp::listing::{Flags, Order, facts_line, name_line, unix_line};
use packetboat_ftp::server::{Refusal, TransferFailure};

use super::actions::{Here, refusal, told_with};
use super::crowd::Crowd;

/// Text of a listing that is made at a time.
pub(super) const LISTING_PIECE: usize = 64 * 1024;
/// Entries that are put in order; what a larger directory has beyond them follows as it is found.
const SORTED_MAX: usize = if cfg!(test) { 1000 } else { 100_000 };
/// Directories in directories that a recursive listing goes into.
const DEPTH_MAX: usize = 32;

/// A listing that is made while it is sent.
#[derive(Debug)]
pub(super) struct Listing {
    style: Arc<Style>,
    /// What is listed now, and what comes after it.
    current: Option<Level>,
    waiting: Vec<(VirtualPath, usize)>,
    /// Directories that were found in the current one, for `-R`.
    found: Vec<VirtualPath>,
    /// The last entry, whose place the next one takes.
    entry: Entry,
}

/// How entries are told.
#[derive(Debug)]
pub(super) struct Style {
    space: Space,
    form: Form,
    flags: Flags,
    now: i64,
    /// NLST of a path: names come with it.
    prefix: Vec<u8>,
}

#[derive(Debug)]
struct Level {
    at: VirtualPath,
    depth: usize,
    entries: Entries,
    headed: bool,
    rights: Option<Rights>,
}

#[derive(Debug)]
enum Entries {
    AsFound(Box<Lister>),
    Many(Box<Crowd>),
    Matching(Box<Matches>),
    /// What was put in order, and what is behind it as it is found, where there is more than that.
    Ordered(std::vec::IntoIter<Entry>, Option<Box<Entries>>),
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
        // Wildcards, unless that is how a file is called.
        if let Some(path) = path.filter(|path| Pattern::is_in(path.as_bytes()))
            && here.space.facts(&at).is_err()
        {
            return Listing::matching(here, path, form, flags).map_err(|why| refusal(&why));
        }
        let now = now();
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
        let as_directory = here.space.enter(&at).is_ok() && !flags.directory;
        // A file, or the directory itself, has no path before it.
        let prefix = if as_directory { prefix } else { Vec::new() };
        let style = Arc::new(Style { space: here.space.clone(), form, flags, now, prefix });
        let entries = if as_directory {
            style.entries(&at).map_err(|why| refusal(&why))?
        } else {
            let mut entry = here.space.facts(&at).map_err(|why| refusal(&why))?;
            if let Some(path) = path {
                entry.name = path.as_bytes().to_vec();
            }
            Entries::Ordered(vec![entry].into_iter(), None)
        };
        let rights = style.rights_within(&at);
        let current = Some(Level { at, depth: 0, entries, headed: !flags.recursive, rights });
        Ok(Listing { style, current, waiting: Vec::new(), found: Vec::new(), entry: Entry::default() })
    }

    /// What fits wildcards is told itself, as if by `-d`; a dot in front was asked for.
    fn matching(here: &Here, path: &PathName, form: Form, flags: Flags) -> Result<Listing, Files> {
        let matches = here.space.matching(&here.directory, path.as_bytes())?;
        let flags = Flags { recursive: false, all: true, ..flags };
        let style = Style { space: here.space.clone(), form, flags, now: now(), prefix: Vec::new() };
        let entries = match style.flags.order {
            Order::AsFound => Entries::Matching(Box::new(matches)),
            _ => style.ordered(Box::new(matches), Entries::Matching)?,
        };
        // Names come with the path to them, and are of many directories.
        let (at, rights) = (here.directory.clone(), Some(Rights::NONE));
        let current = Some(Level { at, depth: 0, entries, headed: true, rights });
        let (waiting, found, entry) = (Vec::new(), Vec::new(), Entry::default());
        Ok(Listing { style: Arc::new(style), current, waiting, found, entry })
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
            let there = match &mut level.entries {
                Entries::Many(crowd) => crowd.more(text),
                Entries::AsFound(lister) => match lister.read(&mut self.entry) {
                    Some(read) => read.map(|()| true),
                    None => Ok(false),
                },
                Entries::Matching(matches) => {
                    matches.next().transpose().map(|found| found.map(|entry| self.entry = entry).is_some())
                }
                Entries::Ordered(entries, rest) => match (entries.next(), rest) {
                    (Some(entry), _) => {
                        self.entry = entry;
                        Ok(true)
                    }
                    (None, rest) => match rest.take() {
                        Some(rest) => {
                            level.entries = *rest;
                            self.current = Some(level);
                            continue;
                        }
                        None => Ok(false),
                    },
                },
            };
            match there.map_err(|why| TransferFailure::File(refusal(&why)))? {
                true => {
                    if !matches!(level.entries, Entries::Many(_)) {
                        self.entry(&level, text);
                    }
                    self.current = Some(level);
                }
                false => {
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
            if let Ok(entries) = self.style.entries(&at) {
                text.extend_from_slice(b"\n");
                let rights = self.style.rights_within(&at);
                return Some(Level { at, depth, entries, headed: false, rights });
            }
        }
        None
    }

    fn entry(&mut self, level: &Level, text: &mut Vec<u8>) {
        let (flags, entry) = (&self.style.flags, &self.entry);
        let goes_on = flags.recursive && entry.kind == Kind::Directory && level.depth < DEPTH_MAX;
        if self.style.line(&level.at, level.rights, entry, text) && goes_on {
            self.found.extend(level.at.join(&entry.name));
        }
    }
}

impl Style {
    pub(super) fn rights_within(&self, at: &VirtualPath) -> Option<Rights> {
        self.space.rights_within(at)
    }

    fn entries(self: &Arc<Style>, at: &VirtualPath) -> Result<Entries, Files> {
        let mut lister = Box::new(self.space.list(at)?);
        if self.flags.order == Order::AsFound {
            let many = !self.flags.recursive && lister.is_long();
            return Ok(match many {
                true => Entries::Many(Box::new(Crowd::new(lister, Arc::clone(self), at.clone()))),
                false => Entries::AsFound(lister),
            });
        }
        self.ordered(lister, Entries::AsFound)
    }

    fn ordered<I>(&self, mut found: Box<I>, rest: impl FnOnce(Box<I>) -> Entries) -> Result<Entries, Files>
    where
        I: Iterator<Item = Result<Entry, Files>>,
    {
        let mut entries = Vec::new();
        for entry in found.by_ref().take(SORTED_MAX) {
            entries.push(entry?);
        }
        let rest = (entries.len() == SORTED_MAX).then(|| Box::new(rest(found)));
        match self.flags.order {
            Order::Time => entries.sort_by_key(|entry| std::cmp::Reverse(entry.modified)),
            Order::Size => entries.sort_by_key(|entry| std::cmp::Reverse(entry.size)),
            Order::Name | Order::AsFound => entries.sort_by(|a, b| a.name.cmp(&b.name)),
        }
        if self.flags.reverse {
            entries.reverse();
        }
        Ok(Entries::Ordered(entries.into_iter(), rest))
    }

    /// Tells of an entry, if it is one that is to be told of. `rights`: those at every entry there.
    pub(super) fn line(
        &self,
        above: &VirtualPath,
        rights: Option<Rights>,
        entry: &Entry,
        text: &mut Vec<u8>,
    ) -> bool {
        let hidden = entry.name.first() == Some(&b'.');
        if hidden && !self.flags.all && !self.flags.almost_all && !matches!(self.form, Form::Facts(_)) {
            return false;
        }
        let told = || {
            let at = || above.join(&entry.name).unwrap_or_else(|_| above.clone());
            told_with(entry, &entry.name, &self.space, rights.unwrap_or_else(|| self.space.rights(&at())))
        };
        match &self.form {
            Form::Unix => unix_line(&told(), self.now, &self.flags, text),
            Form::Names => {
                text.extend_from_slice(&self.prefix);
                name_line(&entry.name, text);
            }
            Form::Facts(facts) => facts_line(&told(), facts, text),
        }
        true
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;
    use std::fs;

    use packetboat_files::{Grant, Mount, Sync, Tree};

    use super::*;

    fn names(listing: &mut Listing) -> Vec<String> {
        let (mut text, mut all) = (Vec::new(), String::new());
        let mut more = true;
        while more {
            text.clear();
            more = listing.more(&mut text).unwrap();
            all.push_str(std::str::from_utf8(&text).unwrap());
        }
        all.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn every_name_of_a_long_directory_comes_once_and_in_its_order() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..5000 {
            fs::write(dir.path().join(format!("{n:05} a name with spaces")), b"").unwrap();
        }
        let (at, tree) = (VirtualPath::root(), Tree::open(dir.path()).unwrap());
        let hidden = Grant { path: at.join(b"00007 a name with spaces").unwrap(), rights: Rights::READ_ONLY };
        for grants in [vec![], vec![hidden]] {
            let all = Grant { path: VirtualPath::root(), rights: Rights::ALL };
            let grants = [vec![all], grants].concat();
            let mounts = vec![Mount { at: VirtualPath::root(), tree: tree.clone() }];
            let space = Space::new(mounts, grants, Sync::Never, 0o022);
            let here = Here { space: space.clone(), directory: VirtualPath::root() };
            let flags = Flags { all: true, ..Flags::default() };
            let form = || Form::Facts(vec!["Type", "Perm"]);
            let mut listing = Listing::new(&here, None, form(), flags).unwrap();
            let is_many = matches!(&listing.current, Some(Level { entries: Entries::Many(_), .. }));
            assert!(is_many);
            let listed = names(&mut listing);
            assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), 5000);
            let found = space.list(&VirtualPath::root()).unwrap();
            let found: Vec<String> =
                found.map(|entry| String::from_utf8(entry.unwrap().name).unwrap()).collect();
            assert_eq!(listed, found);
            // Put in order, as far as that goes, none is left out.
            let ordered = Flags { order: Order::Name, ..flags };
            let listed = names(&mut Listing::new(&here, None, form(), ordered).unwrap());
            assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), 5000);
            assert!(listed[..SORTED_MAX].is_sorted() && !listed.is_sorted());
            // Broken off in the middle, nothing hangs.
            let mut listing = Listing::new(&here, None, form(), flags).unwrap();
            assert!(listing.more(&mut Vec::new()).unwrap());
        }
    }
}
