//! The files: bounded in size and age, the oldest go first.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::Options;

/// What is kept is divided into so many files, so that little more than what is too much goes at a time.
const PARTS: u64 = 16;
/// The smallest and the largest file.
const FILE_MIN: u64 = 64 * 1024;
pub(super) const FILE_MAX: u64 = 16 * 1024 * 1024;
/// Files at most, as when a server is started again and again.
const FILES_MAX: usize = 512;
/// How their names end.
const ENDING: &str = ".jsonl";

/// A file, and what its name tells.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    /// When it was begun, in seconds since the epoch.
    pub(super) begun: i64,
    size: u64,
}

/// All files of a directory, the oldest first.
pub(super) fn parts(dir: &Path) -> io::Result<Vec<Part>> {
    let mut parts = Vec::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let begun = name.to_str().and_then(|name| name.strip_suffix(ENDING)).and_then(|name| {
            let (seconds, number) = name.split_once('-')?;
            Some((seconds.parse::<i64>().ok()?, number.parse::<u32>().ok()?))
        });
        if let (Some((begun, number)), Ok(about)) = (begun, entry.metadata()) {
            parts.push((number, Part { path: entry.path(), begun, size: about.len() }));
        }
    }
    parts.sort_by_key(|(number, part)| (part.begun, *number));
    Ok(parts.into_iter().map(|(_, part)| part).collect())
}

/// The files as they are written.
#[derive(Debug)]
pub(super) struct Files {
    options: Options,
    current: Option<Current>,
    /// Keeps apart files that are begun in the same second, in order.
    number: u32,
}

#[derive(Debug)]
struct Current {
    file: File,
    written: u64,
    begun: Timestamp,
}

impl Files {
    pub(super) fn open(options: Options) -> io::Result<Files> {
        DirBuilder::new().recursive(true).mode(0o700).create(&options.dir)?;
        let mut files = Files { options, current: None, number: 0 };
        files.prune(Timestamp::now());
        Ok(files)
    }

    /// Writes whole lines.
    pub(super) fn append(&mut self, lines: &[u8], now: Timestamp) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let most = (self.options.size / PARTS).clamp(FILE_MIN, FILE_MAX);
        let span = self.span();
        let fits = |current: &Current| current.written < most && age(current.begun.as_second(), now) < span;
        if !self.current.as_ref().is_some_and(fits) {
            self.current = Some(Current { file: self.begin(now)?, written: 0, begun: now });
            self.prune(now);
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        let written = current.file.write_all(lines);
        current.written += lines.len() as u64;
        if written.is_err() {
            // Half a line may stand at its end.
            self.current = None;
        }
        written
    }

    fn begin(&mut self, now: Timestamp) -> io::Result<File> {
        for _ in 0..FILES_MAX {
            self.number = self.number.wrapping_add(1);
            let path = self.options.dir.join(format!("{:012}-{:06}{ENDING}", now.as_second(), self.number));
            match OpenOptions::new().append(true).create_new(true).mode(0o600).open(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => return opened,
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// For how long a file is written at most.
    fn span(&self) -> Duration {
        (self.options.keep / u32::try_from(PARTS).unwrap_or(u32::MAX)).max(Duration::from_secs(60))
    }

    /// Removes what is too old or too much. The file that is being written stays.
    pub(super) fn prune(&mut self, now: Timestamp) {
        let mut parts = match parts(&self.options.dir) {
            Ok(parts) => parts,
            Err(error) => return tracing::warn!(%error, "the story of messages cannot be looked through"),
        };
        if self.current.is_some() {
            parts.pop();
        }
        let mut size: u64 = parts.iter().map(|part| part.size).sum();
        let mut left = parts.len();
        let most = self.options.size - self.options.size / PARTS;
        for part in &parts {
            if size <= most && left < FILES_MAX && age(part.begun, now) <= self.options.keep + self.span() {
                break;
            }
            if let Err(error) = fs::remove_file(&part.path) {
                tracing::warn!(%error, file = %part.path.display(), "an old story of messages cannot be removed");
            }
            (size, left) = (size - part.size, left - 1);
        }
    }
}

fn age(seconds: i64, now: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(now.as_second() - seconds).unwrap_or(0))
}
