//! Copies within a space: of one file, and of several behind one another. They are there whole or not at all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::copy_file_range;
use rustix::io::Errno;

use crate::digest::{self, Stamp};
use crate::share::{Gone, signed, turns};
use crate::{Algorithm, How, Refusal, Right, Share, Space, VirtualPath};

/// Octets copied at a time, by us.
const PIECE: usize = 256 * 1024;
/// Octets that the kernel is asked to copy at a time. Where the file system shares blocks, nothing is copied at all.
const KERNEL_PIECE: usize = 64 << 20;
/// Files that are put together at a time.
const COMBINED_MAX: usize = 1000;

/// Copies octets of one file to a place in another; says how many there were. `stop` ends it early.
pub(crate) fn octets(
    from: &File,
    to: &File,
    at: u64,
    octets: u64,
    stop: &AtomicBool,
) -> Result<u64, Refusal> {
    let (mut done, mut piece, mut by_kernel) = (0_u64, Vec::new(), true);
    while done < octets {
        if stop.load(Ordering::Relaxed) {
            return Err(Refusal::Stopped);
        }
        let wanted = usize::try_from(octets - done).unwrap_or(usize::MAX);
        if by_kernel {
            let (mut source, mut target) = (done, at + done);
            match copy_file_range(from, Some(&mut source), to, Some(&mut target), wanted.min(KERNEL_PIECE)) {
                Ok(0) => break,
                Ok(copied) => done += copied as u64,
                Err(Errno::INTR) => {}
                Err(Errno::NOSYS | Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP) => by_kernel = false,
                Err(error) => return Err(error.into()),
            }
            continue;
        }
        piece.resize(PIECE, 0);
        match from.read_at(piece.get_mut(..wanted.min(PIECE)).unwrap_or_default(), done) {
            Ok(0) => break,
            Ok(read) => {
                to.write_all_at(piece.get(..read).unwrap_or_default(), at + done)?;
                done += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

impl Space {
    /// Whether a file could be copied.
    pub fn may_copy(&self, path: &VirtualPath) -> Result<(), Refusal> {
        self.read(path).map(drop)
    }

    /// Makes another file with the same contents; one that is there is replaced. `random` tells it from all others, `stop` ends
    /// it early.
    pub fn copy(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        random: u64,
        stop: &AtomicBool,
    ) -> Result<(), Refusal> {
        let (file, _) = self.read(from)?;
        let mut upload = self.store(to, How::Replace, None, random)?;
        let before = Stamp::of(&file)?;
        upload.expect(before.size())?;
        upload.make_room(before.size())?;
        octets(&file, upload.file(), 0, before.size(), stop)?;
        if Stamp::of(&file)? == before {
            let stamp = Stamp::of(upload.file())?;
            for algorithm in Algorithm::ALL {
                if let Some(digits) = digest::kept(&file, algorithm, before) {
                    digest::keep(upload.file(), algorithm, stamp, &digits);
                }
            }
        }
        upload.commit().map(drop)
    }

    /// Puts files together: what they hold comes behind what `target` holds, if it is there, and they are removed when
    /// that is whole (COMB). Until then the disk holds both; the share they are charged to needs no room for it.
    pub fn combine(
        &self,
        target: &VirtualPath,
        sources: &[VirtualPath],
        random: u64,
        stop: &AtomicBool,
    ) -> Result<(), Refusal> {
        if sources.len() > COMBINED_MAX {
            return Err(Refusal::TooMany);
        }
        if sources.iter().enumerate().any(|(n, source)| source == target || sources[..n].contains(source)) {
            return Err(Refusal::InvalidPath);
        }
        for source in sources {
            self.permits(source, Right::Delete)?;
            let (_, facts) = self.read(source)?;
            // The same file by another name would be put behind itself without end.
            if self.look(target).is_ok_and(|target| target.unique == facts.unique) {
                return Err(Refusal::InvalidPath);
            }
        }
        let gone = self.freed(target, sources)?;
        let (mut upload, mut at) = self.append_instead(target, None, random, gone)?;
        for source in sources {
            let (file, facts) = self.read(source)?;
            let end = at.checked_add(facts.size).ok_or(Refusal::NoSpace)?;
            upload.make_room(end)?;
            at += octets(&file, upload.file(), at, facts.size, stop)?;
        }
        let Some(share) = upload.share().cloned() else {
            upload.commit()?;
            return sources.iter().try_for_each(|source| self.remove(source));
        };
        // From what is counted now until it is gone, nobody else changes what these names stand for.
        let named = [target].into_iter().chain(sources).filter_map(|path| path.parts().last());
        let turns = turns(named.map(Vec::as_slice));
        upload.goes_with(self.freed(target, sources)?);
        upload.commit()?;
        let mut outcome = Ok(());
        for source in sources {
            let own = self.is_charged_to(source, &share);
            match self.remove_in_turn(source) {
                Ok(_) if own => {}
                Ok(gone) => {
                    if let Some(share) = self.place(source)?.tree.share() {
                        share.count(-signed(gone.octets), -signed(gone.files));
                    }
                }
                Err(why) => {
                    // It is still there, against what was said.
                    if own && let Ok(kept) = self.counted_for(source) {
                        share.count(signed(kept.octets), signed(kept.files));
                    }
                    outcome = outcome.and(Err(why));
                }
            }
        }
        drop(turns);
        for source in sources {
            self.forget_part(source)?;
        }
        outcome
    }

    /// What removing files makes room for in the share that another path is charged to. Who is over the limit has to make
    /// room first: whatever goes wrong in the middle, they do not come further over it.
    fn freed(&self, target: &VirtualPath, sources: &[VirtualPath]) -> Result<Gone, Refusal> {
        let Some(share) = self.place(target)?.tree.share() else { return Ok(Gone::default()) };
        if share.usage().is_over() {
            return Ok(Gone::default());
        }
        let mut own = sources.iter().filter(|source| self.is_charged_to(source, share));
        own.try_fold(Gone::default(), |gone, source| Ok(gone.and(self.counted_for(source)?)))
    }

    fn is_charged_to(&self, path: &VirtualPath, share: &Arc<dyn Share>) -> bool {
        let other = self.place(path).ok().and_then(|place| place.tree.share());
        other.is_some_and(|other| std::ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(share)))
    }
}
