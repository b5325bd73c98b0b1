//! What is stored and fetched by FTP: every octet is a function of its place, so whoever receives compares at the speed of
//! memory.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;

use crate::Result;

/// Octets after which content comes again: a prime, so that a piece in the wrong place is another one, and few enough to
/// stay in a core's own cache.
const PERIOD: usize = 65_521;

/// One block of octets, again and again.
#[derive(Debug)]
pub(crate) struct Pattern {
    block: Vec<u8>,
}

impl Pattern {
    /// Octets of all kinds.
    pub(crate) fn binary() -> Pattern {
        let mut state = 0x9e37_79b9_7f4a_7c15;
        Pattern { block: (0..PERIOD).map(|_| next(&mut state)).collect() }
    }

    /// Lines of 20 to 99 letters, ended by LF.
    pub(crate) fn text() -> Pattern {
        let mut state = 0x0123_4567_89ab_cdef;
        let mut block = Vec::with_capacity(PERIOD + 100);
        while block.len() < PERIOD {
            for _ in 0..20 + next(&mut state) % 80 {
                block.push(b' ' + next(&mut state) % 95);
            }
            block.push(b'\n');
        }
        Pattern { block }
    }

    /// The same lines, ended by CRLF.
    pub(crate) fn text_on_the_wire() -> Pattern {
        let lines = Pattern::text().block;
        let ended =
            lines.split_inclusive(|&b| b == b'\n').flat_map(|line| [&line[..line.len() - 1], b"\r\n"]);
        Pattern { block: ended.flatten().copied().collect() }
    }

    pub(crate) fn period(&self) -> u64 {
        self.block.len() as u64
    }

    /// The longest piece from `place` on that lies in one.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn at(&self, place: u64) -> &[u8] {
        &self.block[(place % self.period()) as usize..]
    }

    /// Whether these octets are those from `place` on.
    pub(crate) fn is_at(&self, mut place: u64, mut octets: &[u8]) -> bool {
        while !octets.is_empty() {
            let want = self.at(place);
            let n = want.len().min(octets.len());
            if want[..n] != octets[..n] {
                return false;
            }
            place += n as u64;
            octets = &octets[n..];
        }
        true
    }

    /// Makes a file of so many octets.
    pub(crate) fn write(&self, to: &Path, octets: u64) -> Result {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(to)?);
        let mut place = 0;
        while place < octets {
            let piece = self.at(place);
            let n = usize::try_from(octets - place).map_or(piece.len(), |left| left.min(piece.len()));
            file.write_all(&piece[..n])?;
            place += n as u64;
        }
        Ok(file.flush()?)
    }

    /// Sees that a file holds these octets from `begin` on, and no others.
    pub(crate) fn is_in(&self, file: &Path, begin: u64, octets: u64) -> Result {
        let mut open = File::open(file).map_err(|e| format!("{}: {e}", file.display()))?;
        let (mut piece, mut place) = (vec![0; 1 << 20], 0);
        loop {
            let n = open.read(&mut piece)?;
            if n == 0 {
                break;
            }
            if !self.is_at(begin + place, &piece[..n]) {
                return Err(format!("{}: wrong content within {n} octets at {place}", file.display()).into());
            }
            place += n as u64;
        }
        if place == octets {
            Ok(())
        } else {
            Err(format!("{}: {place} octets, {octets} were stored", file.display()).into())
        }
    }
}

/// xorshift64*.
#[allow(clippy::cast_possible_truncation)]
fn next(state: &mut u64) -> u8 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
}

/// The name of small file `n`, or of entry `n` of a directory.
pub(crate) fn name(n: usize) -> String {
    format!("file-{n:06}.dat")
}

/// Which file has this name.
pub(crate) fn number(name: &[u8]) -> Option<usize> {
    let digits = name.strip_prefix(b"file-")?.strip_suffix(b".dat")?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (digits.len() == 6).then_some(number)
}

/// Where in the pattern small file `n` begins.
pub(crate) fn begin(n: usize) -> u64 {
    n as u64 * 7919
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (file, pattern) = (dir.path().join("x"), Pattern::binary());
        pattern.write(&file, 200_000).unwrap();
        pattern.is_in(&file, 0, 200_000).unwrap();
        assert!(pattern.is_in(&file, 0, 200_001).is_err());
        assert!(pattern.is_in(&file, 1, 200_000).is_err());
        let mut octets = std::fs::read(&file).unwrap();
        octets[150_000] ^= 1;
        assert!(!pattern.is_at(0, &octets));
        assert!(pattern.is_at(0, &octets[..150_000]));
    }

    #[test]
    fn text_differs_in_its_line_ends_alone() {
        let (disk, wire) = (Pattern::text().block, Pattern::text_on_the_wire().block);
        assert_eq!(String::from_utf8(wire).unwrap().replace("\r\n", "\n").into_bytes(), disk);
        assert_eq!(disk.last(), Some(&b'\n'));
    }

    #[test]
    fn names_there_and_back() {
        assert_eq!(number(name(99_999).as_bytes()), Some(99_999));
        assert_eq!(number(b"file-1.dat"), None);
        assert_eq!(number(b"other"), None);
    }
}
