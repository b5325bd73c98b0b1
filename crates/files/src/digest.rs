//! Checksums: made while a file is received or when somebody asks, and kept with the file.
//!
//! A checksum of a whole file is kept in an extended attribute, `user.packetboat.sha256` and its like, together with the size and the
//! time of modification that the file had: a file that was changed since has none. File systems without such attributes
//! keep none, and each question is worked out anew.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};
use md5::{Digest as _, Md5};
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};

use crate::Refusal;

/// Octets read at a time.
const PIECE: usize = 256 * 1024;
/// Octets of an attribute of ours: the longest checksum, a size and a time have room.
const ATTRIBUTE_MAX: usize = 256;
/// Octets of the names of a file's attributes that are looked through.
const NAMES_MAX: usize = 4096;

/// What a checksum is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // By their names.
pub enum Algorithm {
    Crc32,
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

/// A checksum of octets of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// In hexadecimal digits.
    pub digits: String,
    /// From this octet,
    pub start: u64,
    /// up to before this one.
    pub end: u64,
}

impl Algorithm {
    /// All there are.
    pub const ALL: [Algorithm; 5] =
        [Algorithm::Crc32, Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512];

    /// Its word in settings.
    pub fn word(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "crc32",
            Algorithm::Md5 => "md5",
            Algorithm::Sha1 => "sha1",
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// By its word.
    pub fn parse(word: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.word() == word)
    }

    fn attribute(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "user.packetboat.crc32",
            Algorithm::Md5 => "user.packetboat.md5",
            Algorithm::Sha1 => "user.packetboat.sha1",
            Algorithm::Sha256 => "user.packetboat.sha256",
            Algorithm::Sha512 => "user.packetboat.sha512",
        }
    }
}

/// A checksum being made.
pub(crate) enum Hasher {
    Crc32(crc32fast::Hasher),
    Md5(Box<Md5>),
    Sha(Box<Context>),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Crc32 => Hasher::Crc32(crc32fast::Hasher::new()),
            Algorithm::Md5 => Hasher::Md5(Box::default()),
            Algorithm::Sha1 => Hasher::Sha(Box::new(Context::new(&SHA1_FOR_LEGACY_USE_ONLY))),
            Algorithm::Sha256 => Hasher::Sha(Box::new(Context::new(&SHA256))),
            Algorithm::Sha512 => Hasher::Sha(Box::new(Context::new(&SHA512))),
        }
    }

    pub(crate) fn update(&mut self, octets: &[u8]) {
        match self {
            Hasher::Crc32(hasher) => hasher.update(octets),
            Hasher::Md5(hasher) => hasher.update(octets),
            Hasher::Sha(context) => context.update(octets),
        }
    }

    pub(crate) fn digits(self) -> String {
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect();
        match self {
            Hasher::Crc32(hasher) => format!("{:08x}", hasher.finalize()),
            Hasher::Md5(hasher) => hex(&hasher.finalize()),
            Hasher::Sha(context) => hex(context.finish().as_ref()),
        }
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

/// What tells that a file is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(file: &File) -> io::Result<Stamp> {
        let facts = file.metadata()?;
        Ok(Stamp { size: facts.len(), modified: (facts.mtime(), facts.mtime_nsec()) })
    }

    pub(crate) fn size(self) -> u64 {
        self.size
    }

    fn words(self) -> String {
        format!("{} {}.{:09}", self.size, self.modified.0, self.modified.1)
    }
}

/// Keeps a checksum of a file that is as `stamp` says. That a file system cannot is no error: it is worked out again.
pub(crate) fn keep(file: impl AsFd, algorithm: Algorithm, stamp: Stamp, digits: &str) {
    let value = format!("{} {digits}", stamp.words());
    let _ = fsetxattr(file, algorithm.attribute(), value.as_bytes(), XattrFlags::empty());
}

/// The checksum that was kept, if the file is as it was then.
pub(crate) fn kept(file: impl AsFd, algorithm: Algorithm, stamp: Stamp) -> Option<String> {
    let mut value = [0_u8; ATTRIBUTE_MAX];
    let octets = fgetxattr(file, algorithm.attribute(), &mut value[..]).ok()?;
    let text = std::str::from_utf8(value.get(..octets)?).ok()?;
    let digits = text.strip_prefix(&stamp.words())?.strip_prefix(' ')?;
    let whole = digits.len() == Hasher::new(algorithm).digits().len();
    (whole && digits.bytes().all(|octet| octet.is_ascii_hexdigit())).then(|| digits.to_owned())
}

/// Does something that changes a file's time and nothing in it; what was kept of it stays valid.
pub(crate) fn touch<T, E: From<io::Error>>(
    file: &File,
    change: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let mut names = [0_u8; NAMES_MAX];
    let ours = match flistxattr(file, &mut names[..]) {
        Ok(octets) => names.get(..octets).is_some_and(|names| {
            names.split(|octet| *octet == 0).any(|name| name.starts_with(b"user.packetboat."))
        }),
        Err(_) => true,
    };
    if !ours {
        return change();
    }
    let before = Stamp::of(file)?;
    let all = Algorithm::ALL.into_iter();
    let valid: Vec<_> =
        all.filter_map(|algorithm| Some((algorithm, kept(file, algorithm, before)?))).collect();
    let done = change()?;
    let after = Stamp::of(file)?;
    for (algorithm, digits) in valid {
        keep(file, algorithm, after, &digits);
    }
    Ok(done)
}

/// The checksum of octets of a file: the one that was kept, or a new one, which is kept if it is of all of it. `stop` ends
/// it early.
pub(crate) fn of_file(
    file: &File,
    algorithm: Algorithm,
    start: u64,
    end: Option<u64>,
    stop: &AtomicBool,
) -> Result<Checksum, Refusal> {
    let stamp = Stamp::of(file)?;
    let end = end.unwrap_or(stamp.size);
    if start > end || end > stamp.size {
        return Err(Refusal::InvalidRange);
    }
    let whole = start == 0 && end == stamp.size;
    if let Some(digits) = kept(file, algorithm, stamp).filter(|_| whole) {
        return Ok(Checksum { digits, start, end });
    }
    let mut hasher = Hasher::new(algorithm);
    let (mut at, mut piece) = (start, vec![0; PIECE]);
    while at < end {
        if stop.load(Ordering::Relaxed) {
            return Err(Refusal::Stopped);
        }
        let wanted = piece.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        match file.read_at(piece.get_mut(..wanted).unwrap_or_default(), at) {
            // Cut off meanwhile: this is no checksum of anything.
            Ok(0) => return Err(Refusal::Failed("the file became shorter".to_owned())),
            Ok(read) => {
                hasher.update(piece.get(..read).unwrap_or_default());
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let digits = hasher.digits();
    if whole && Stamp::of(file)? == stamp {
        keep(file, algorithm, stamp, &digits);
    }
    Ok(Checksum { digits, start, end })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        for (algorithm, octets, want) in [
            (Algorithm::Crc32, "123456789", "cbf43926"),
            (Algorithm::Md5, "abc", "900150983cd24fb0d6963f7d28e17f72"),
            (Algorithm::Sha1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Algorithm::Sha256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (Algorithm::Crc32, "", "00000000"),
        ] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(octets.as_bytes());
            assert_eq!(hasher.digits(), want, "{algorithm:?}");
            assert_eq!(Algorithm::parse(algorithm.word()), Some(algorithm));
        }
        assert_eq!(Hasher::new(Algorithm::Sha512).digits().len(), 128);
        assert_eq!(Algorithm::parse("sha-0"), None);
    }
}
