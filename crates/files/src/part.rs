//! Uploads whose line broke: what came is kept for whoever sent it, so that they can go on where it ended.
//!
//! A part lies in a directory of the tree's own that nobody sees, under a name made of the user and the path, and is charged to
//! the share like any file. Only that user learns of it, by asking for the size or the facts of the path while there is no
//! file; to go on takes the part itself over, without a copy. Where there is a file, which is older, its size is told and not
//! the part's: who goes on from there would mix an old file with a new one, so that is refused
//! ([`Refusal::BrokenOff`]), and so is appending.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, fdatasync, ftruncate, mkdirat, openat, renameat, unlinkat,
};
use rustix::io::Errno;

use crate::list::look;
use crate::share::{Gone, Held, part_turn, signed};
use crate::tree::RESERVED;
use crate::{Entry, How, Kind, Refusal, Right, Share, Space, Sync, Tree, Upload, VirtualPath};

/// The directory at the root of a tree in which parts lie.
pub(crate) const PLACE: &[u8] = b".packetboat-parts";
/// Hexadecimal digits of a part's name that stand for the user...
const USER_DIGITS: usize = 16;
/// ...and for the path.
const PATH_DIGITS: usize = 32;
/// Entries that are looked at to find how many a user has; with more of them in one tree no more are kept.
const LOOKED_AT_MAX: usize = 10_000;
/// How often the directory is made anew that another session has just removed.
const TRIES: usize = 3;

/// How long, and how many, uploads that were broken off are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    /// Since something came last.
    pub age: Duration,
    /// Of one user in one tree; the oldest goes for one more.
    pub per_user: u32,
}

impl Default for Keeping {
    fn default() -> Keeping {
        Keeping { age: Duration::from_secs(24 * 3600), per_user: 10 }
    }
}

/// Where an upload is kept when it is broken off.
#[derive(Debug, Clone)]
pub(crate) struct Keep {
    tree: Tree,
    name: Vec<u8>,
    per_user: usize,
    /// It began with a part of so many octets, which is kept when nothing happened to it.
    pub(crate) taken: Option<u64>,
}

/// A part that was found.
#[derive(Debug)]
struct Part {
    place: OwnedFd,
    name: Vec<u8>,
    facts: Entry,
}

impl Keep {
    fn find(&self) -> Result<Option<Part>, Refusal> {
        let Some(place) = self.tree.parts(false)? else { return Ok(None) };
        match look(&place, &self.name) {
            Ok(facts) if facts.kind == Kind::File => Ok(Some(Part { place, name: self.name.clone(), facts })),
            Ok(_) | Err(Refusal::NotFound) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    fn remove(&self, part: &Part) -> Result<(), Refusal> {
        remove(&part.place, &part.name, part.facts.size, self.tree.share())?;
        self.tree.tidy();
        Ok(())
    }

    /// Keeps a hidden file. What was held for it is what is charged.
    pub(crate) fn keep(
        &self,
        (directory, hidden): (&OwnedFd, &[u8]),
        file: &File,
        sync: Sync,
        held: Option<&mut Held>,
    ) -> Result<u64, Refusal> {
        let octets = file.metadata()?.len();
        if octets == 0 || self.per_user == 0 {
            return Err(Refusal::NotFound);
        }
        if sync != Sync::Never {
            fdatasync(file)?;
        }
        let _turn = part_turn(&self.name);
        let mut held = held;
        for _ in 0..TRIES {
            let place = self.tree.parts(true)?.ok_or(Refusal::NotFound)?;
            self.make_place(&place)?;
            let replaced = match look(&place, &self.name) {
                Ok(facts) => Some(facts.size),
                Err(Refusal::NotFound) => None,
                Err(refusal) => return Err(refusal),
            };
            if let Some(held) = held.as_mut() {
                held.settle(octets, Gone::of(replaced))?;
            }
            match renameat(directory, hidden, &place, &self.name[..]) {
                Ok(()) => return Ok(octets),
                Err(error) => {
                    if let Some(held) = held.as_mut() {
                        held.undo(octets, Gone::of(replaced));
                    }
                    // The directory went with the last part in it, just now.
                    if error != Errno::NOENT {
                        return Err(error.into());
                    }
                }
            }
        }
        Err(Refusal::NotFound)
    }

    /// The oldest parts of this user go until there is room for one more.
    fn make_place(&self, place: &OwnedFd) -> Result<(), Refusal> {
        let user = self.name.get(..USER_DIGITS).unwrap_or_default();
        let mut own = Vec::new();
        let directory =
            openat(place, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for (seen, name) in Dir::new(directory)?.enumerate() {
            let name = name?.file_name().to_bytes().to_vec();
            if seen > LOOKED_AT_MAX {
                return Err(Refusal::TooMany);
            }
            if name.starts_with(user) && name != self.name {
                own.extend(look(place, &name).map(|facts| (facts.modified, name, facts.size)));
            }
        }
        own.sort();
        let surplus = (own.len() + 1).saturating_sub(self.per_user);
        for (_, name, octets) in own.into_iter().take(surplus) {
            remove(place, &name, octets, self.tree.share())?;
        }
        Ok(())
    }
}

fn remove(place: &OwnedFd, name: &[u8], octets: u64, share: Option<&Arc<dyn Share>>) -> Result<(), Refusal> {
    match unlinkat(place, name, AtFlags::empty()) {
        Ok(()) => {}
        // Somebody was quicker, and it is counted there.
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    if let Some(share) = share {
        share.count(-signed(octets), -1);
    }
    Ok(())
}

impl Space {
    /// Where an upload to a path is kept, if this user's are.
    pub(crate) fn keep(&self, path: &VirtualPath) -> Result<Option<Keep>, Refusal> {
        let (Some(user), Some(keeping)) = (self.resumes(), &self.rules().keeping) else { return Ok(None) };
        let place = self.place(path)?;
        let hex = |octets: &[u8], digits: usize| {
            let digest = digest(&SHA256, octets);
            let halves = digest.as_ref().iter().flat_map(|octet| [octet >> 4, octet & 15]);
            let hex = halves.map(|half| char::from_digit(half.into(), 16).unwrap_or_default());
            hex.take(digits).collect::<String>()
        };
        let path = place.parts.join(&b'/');
        let name = format!("{}-{}", hex(user.as_bytes(), USER_DIGITS), hex(&path, PATH_DIGITS));
        let per_user = usize::try_from(keeping.per_user).unwrap_or(usize::MAX);
        Ok(Some(Keep { tree: place.tree.clone(), name: name.into_bytes(), per_user, taken: None }))
    }

    fn part(&self, path: &VirtualPath) -> Result<Option<(Keep, Part)>, Refusal> {
        let Some(keep) = self.keep(path)? else { return Ok(None) };
        Ok(keep.find()?.map(|part| (keep, part)))
    }

    /// Forgets what was kept of an upload to a path; says whether there was something.
    pub(crate) fn forget_part(&self, path: &VirtualPath) -> Result<bool, Refusal> {
        let Some((keep, part)) = self.part(path)? else { return Ok(false) };
        keep.remove(&part)?;
        Ok(true)
    }

    /// The same for an upload that begins anew, and where that is kept.
    pub(crate) fn keep_anew(&self, path: &VirtualPath) -> Result<Option<Box<Keep>>, Refusal> {
        let Some(keep) = self.keep(path)? else { return Ok(None) };
        if let Some(part) = keep.find()? {
            keep.remove(&part)?;
        }
        Ok(Some(Box::new(keep)))
    }

    /// What is known of a path to whoever stores there: its facts, or where there is nothing, those of what has come of an
    /// upload of theirs that was broken off.
    pub fn known(&self, path: &VirtualPath) -> Result<Entry, Refusal> {
        match self.facts(path) {
            Err(why @ (Refusal::NotFound | Refusal::NoPermission)) => Ok(self.own_part(path, why)?.1.facts),
            told => told,
        }
    }

    /// The contents of what [`Space::known`] tells of.
    pub fn read_known(&self, path: &VirtualPath) -> Result<(File, Entry), Refusal> {
        match self.read(path) {
            Err(why @ (Refusal::NotFound | Refusal::NoPermission)) => {
                let (_, part) = self.own_part(path, why)?;
                Ok((part.open()?, part.facts))
            }
            told => told,
        }
    }

    fn own_part(&self, path: &VirtualPath, otherwise: Refusal) -> Result<(Keep, Part), Refusal> {
        if self.permits(path, Right::Create).is_err() || self.look(path) != Err(Refusal::NotFound) {
            return Err(otherwise);
        }
        let (keep, mut part) = self.part(path)?.ok_or(otherwise)?;
        part.facts.name = path.parts().last().cloned().unwrap_or_default();
        Ok((keep, part))
    }

    /// Goes on with a file that was stored in part: the upload begins with what is there, up to the place that `place` finds in
    /// it, which is told.
    pub fn resume(
        &self,
        path: &VirtualPath,
        umask: Option<u32>,
        random: u64,
        place: impl FnOnce(&File) -> Option<u64>,
    ) -> Result<(Upload, u64), Refusal> {
        let there = match self.look(path) {
            Ok(entry) if entry.kind == Kind::File => Some(entry),
            Ok(_) => return Err(Refusal::NotAFile),
            Err(Refusal::NotFound) => None,
            Err(refusal) => return Err(refusal),
        };
        self.permits(path, if there.is_some() { Right::Write } else { Right::Create })?;
        if let Some((keep, part)) = self.newer_part(path, there.as_ref())? {
            let octets = part.facts.size;
            return match place(&part.open()?).filter(|at| *at <= octets) {
                Some(at) => Ok((self.take_over(path, (keep, part), at, random)?, at)),
                None if there.is_some() => Err(Refusal::BrokenOff(octets)),
                None => Err(Refusal::InvalidRange),
            };
        }
        let Some(there) = there else { return Err(Refusal::InvalidRange) };
        let old = self.place(path).and_then(|place| place.tree.file(place.parts))?;
        let at = place(&old).filter(|at| *at <= there.size).ok_or(Refusal::InvalidRange)?;
        let how = self.replacing(path, How::Replace);
        let mut upload = self.upload(path, how, umask, random, Gone::default())?;
        upload.begin_with(&old, at)?;
        Ok((upload, at))
    }

    /// To append where there is no file: to what has come of it, if some has. `Err`: where there is one, it would be put behind
    /// the wrong one.
    pub(crate) fn append_to_part(
        &self,
        path: &VirtualPath,
        there: bool,
        random: u64,
    ) -> Result<Option<(Upload, u64)>, Refusal> {
        let file = if there { Some(self.look(path)?) } else { None };
        match self.newer_part(path, file.as_ref())? {
            None => Ok(None),
            Some((_, part)) if there => Err(Refusal::BrokenOff(part.facts.size)),
            Some((keep, part)) => {
                let octets = part.facts.size;
                Ok(Some((self.take_over(path, (keep, part), octets, random)?, octets)))
            }
        }
    }

    /// A part, unless the file that is there was finished after it: then it is of no use any more.
    fn newer_part(&self, path: &VirtualPath, there: Option<&Entry>) -> Result<Option<(Keep, Part)>, Refusal> {
        let Some((keep, part)) = self.part(path)? else { return Ok(None) };
        if there.is_some_and(|there| there.modified > part.facts.modified) {
            keep.remove(&part)?;
            return Ok(None);
        }
        Ok(Some((keep, part)))
    }

    /// The part itself becomes the upload.
    fn take_over(
        &self,
        path: &VirtualPath,
        (mut keep, part): (Keep, Part),
        octets: u64,
        random: u64,
    ) -> Result<Upload, Refusal> {
        let how = self.replacing(path, How::Replace);
        let held = match keep.tree.share() {
            Some(share) => {
                let (directory, name) = self.parent(path)?;
                let replaces = match how {
                    How::Replace => crate::upload::kept_octets(&directory, &name)?,
                    How::Create | How::Unique => None,
                };
                Some(Held::of_part(Arc::clone(share), replaces, part.facts.size))
            }
            None => None,
        };
        let file = part.open()?;
        let (directory, name) = self.parent(path)?;
        let mut hidden = RESERVED.to_vec();
        hidden.extend_from_slice(format!("{random:016x}").as_bytes());
        // Found and gone: somebody else has taken it over, with all that was held for it.
        if let Err(error) = renameat(&part.place, &part.name[..], &directory, &hidden[..]) {
            if let Some(held) = held {
                held.forget();
            }
            return Err(error.into());
        }
        keep.tree.tidy();
        keep.taken = Some(octets);
        let mut upload = Upload::of_part(directory, hidden, &name, how, (file, self.sync()), held);
        upload.keep = Some(Box::new(keep));
        self.attend(&mut upload, path);
        ftruncate(upload.file(), octets)?;
        Ok(upload)
    }
}

impl Part {
    fn open(&self) -> Result<File, Refusal> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.place, &self.name[..], flags, Mode::empty())?))
    }
}

/// What was swept out of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Files.
    pub files: u64,
    /// Octets in them.
    pub octets: u64,
}

/// What is swept.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    /// Parts to which nothing came since.
    pub parts_before: SystemTime,
    /// Uploads under way to which nothing came since: before this server was started there can be none.
    pub uploads_before: SystemTime,
}

impl Tree {
    /// The directory of parts; made where it is missing, if that is asked for.
    pub(crate) fn parts(&self, make: bool) -> Result<Option<OwnedFd>, Refusal> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        match self.resolve(&[PLACE.to_vec()], flags, Mode::empty()) {
            Ok(place) => return Ok(Some(place)),
            Err(Refusal::NotFound) if make => {}
            Err(Refusal::NotFound | Refusal::NotADirectory) => return Ok(None),
            Err(refusal) => return Err(refusal),
        }
        match mkdirat(self.resolve(&[], OFlags::PATH, Mode::empty())?, PLACE, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.resolve(&[PLACE.to_vec()], flags, Mode::empty()).map(Some)
    }

    /// The directory of parts goes with the last of them.
    fn tidy(&self) {
        if let Ok(root) = self.resolve(&[], OFlags::PATH, Mode::empty()) {
            let _ = unlinkat(root, PLACE, AtFlags::REMOVEDIR);
        }
    }

    /// Removes what is old of the server's own files: parts, and uploads that were under way when a server was killed. Reads all
    /// directories, and no file. `freed` is told of each part, by the directory it counts for and its octets: it was charged to
    /// whoever has that directory for a tree.
    pub fn sweep(&self, sweep: Sweep, freed: &mut dyn FnMut(&[Vec<u8>], u64)) -> Result<Swept, Refusal> {
        let mut swept = Swept::default();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut waiting: Vec<Vec<Vec<u8>>> = vec![Vec::new()];
        while let Some(parts) = waiting.pop() {
            let directory = match self.resolve(&parts, flags, Mode::empty()) {
                Ok(directory) => directory,
                Err(Refusal::Failed(why)) => return Err(Refusal::Failed(why)),
                // Gone, or not for us.
                Err(_) => continue,
            };
            let is_place = parts.last().is_some_and(|name| name == PLACE);
            let above = parts.get(..parts.len().saturating_sub(1)).unwrap_or_default();
            let before = if is_place { sweep.parts_before } else { sweep.uploads_before };
            for name in Dir::read_from(&directory)? {
                let name = name?;
                let (kind, name) = (name.file_type(), name.file_name().to_bytes().to_vec());
                let ours = if is_place { is_part(&name) } else { is_upload(&name) };
                let is_directory = match kind {
                    FileType::Unknown => {
                        look(&directory, &name).is_ok_and(|facts| facts.kind == Kind::Directory)
                    }
                    kind => kind == FileType::Directory,
                };
                if matches!(&name[..], b"." | b"..") {
                    continue;
                }
                if is_directory {
                    waiting.push(parts.iter().cloned().chain([name]).collect());
                } else if ours
                    && let Ok(facts) = look(&directory, &name)
                    && facts.kind == Kind::File
                    && is_before(facts.modified, before)
                    && unlinkat(&directory, &name[..], AtFlags::empty()).is_ok()
                {
                    swept.files += 1;
                    swept.octets += facts.size;
                    if is_place {
                        freed(above, facts.size);
                    }
                }
            }
            if is_place && let Ok(above) = self.resolve(above, OFlags::PATH, Mode::empty()) {
                let _ = unlinkat(above, PLACE, AtFlags::REMOVEDIR);
            }
        }
        Ok(swept)
    }
}

/// Whether a name is one that an upload under way has.
fn is_upload(name: &[u8]) -> bool {
    let digits = name.strip_prefix(RESERVED).unwrap_or_default();
    digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit)
}

/// Whether a name is one that a part has.
fn is_part(name: &[u8]) -> bool {
    let fits = |octet: &u8| octet.is_ascii_hexdigit() || *octet == b'-';
    name.len() == USER_DIGITS + 1 + PATH_DIGITS && name.iter().all(fits)
}

fn is_before((seconds, nanoseconds): (i64, u32), time: SystemTime) -> bool {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos());
    (seconds, nanoseconds) < time
}
