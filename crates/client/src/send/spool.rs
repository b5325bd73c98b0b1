//! Keeps what came from a pipe until its length is known: a little in memory, more in a file without a name.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Octets that stay in memory; with more, all of them go to a file.
pub(crate) const MEMORY_MAX: usize = 1024 * 1024;

/// Octets whose number was not known before.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    len: u64,
}

/// What has been kept; it can be read as often as needed.
#[derive(Debug, Clone)]
pub(crate) enum Kept {
    Memory(Arc<[u8]>),
    File { file: Arc<File>, len: u64 },
}

/// Why something could not be kept.
#[derive(Debug)]
pub(crate) enum SpoolError {
    /// No temporary file can be made.
    Create(io::Error),
    /// Writing to it failed.
    Write(io::Error),
}

impl Spool {
    pub(crate) fn push(&mut self, octets: &[u8]) -> Result<(), SpoolError> {
        self.len += octets.len() as u64;
        if self.file.is_none() && self.memory.len() + octets.len() <= MEMORY_MAX {
            self.memory.extend_from_slice(octets);
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile().map_err(SpoolError::Create)?),
        };
        file.write_all(&std::mem::take(&mut self.memory)).map_err(SpoolError::Write)?;
        file.write_all(octets).map_err(SpoolError::Write)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn finish(self) -> Kept {
        match self.file {
            Some(file) => Kept::File { file: Arc::new(file), len: self.len },
            None => Kept::Memory(self.memory.into()),
        }
    }
}

impl Kept {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Kept::Memory(octets) => octets.len() as u64,
            Kept::File { len, .. } => *len,
        }
    }

    pub(crate) fn reader(&self) -> KeptReader {
        KeptReader { kept: self.clone(), at: 0 }
    }
}

/// Reads what was kept, independent of any other reader.
#[derive(Debug)]
pub(crate) struct KeptReader {
    kept: Kept,
    at: u64,
}

impl Read for KeptReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match &self.kept {
            Kept::Memory(octets) => {
                let at = usize::try_from(self.at).unwrap_or(usize::MAX);
                octets.get(at..).unwrap_or_default().read(into)?
            }
            Kept::File { file, .. } => file.read_at(into, self.at)?,
        };
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_kept_is_read_again_and_again() {
        for count in [0, 1, 64, 65, 200] {
            let mut spool = Spool::default();
            let mut whole = Vec::new();
            for n in 0..count {
                let piece = vec![n as u8; MEMORY_MAX / 64];
                spool.push(&piece).unwrap();
                whole.extend(piece);
            }
            let kept = spool.finish();
            assert_eq!(kept.len(), whole.len() as u64);
            assert_eq!(matches!(kept, Kept::File { .. }), count > 64);
            for _ in 0..2 {
                let mut read = Vec::new();
                kept.reader().read_to_end(&mut read).unwrap();
                assert!(read == whole, "{count}");
            }
        }
    }
}
