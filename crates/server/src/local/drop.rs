//! The drop folder: mail that any user of this machine may leave for the server, whether it runs or not.
//!
//! It has mode 1733: everybody may put files into it, nobody but the server sees what is there, and nobody takes away what is
//! another's. A message is one file. It is written under a name that the server passes over, synced, and renamed, so that
//! it is there whole or not at all. Its first line is the envelope as JSON; what follows are the octets of the message. Its
//! name cannot be guessed, and the server alone can list the folder: that everybody may read the file harms nothing.

use std::fs::{self, File, OpenOptions, ReadDir};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Envelope, Rcpt};
use crate::admin::{AdminError, ErrorKind};
use crate::session::random;

/// Its name in the data directory.
const NAME: &str = "drop";
/// Files on their way in begin so.
const UNFINISHED: &str = "new-";
/// Messages begin so.
const FINISHED: &str = "mail-";
/// What the server could not make a message of begins so.
const UNREADABLE: &str = "bad-";
/// What is not finished after so long never will be; what could not be read is kept so long for somebody to look at it.
const STALE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Octets of an envelope at most.
const ENVELOPE_MAX: u64 = 4 << 20;
/// Messages looked at at a time.
const BATCH: usize = 500;

/// The folder, from either side.
#[derive(Debug, Clone)]
pub struct DropFolder {
    path: PathBuf,
    /// How far the server has looked through it.
    looked: Arc<Mutex<Option<ReadDir>>>,
}

/// What a look at the folder found.
#[derive(Debug)]
pub(super) struct Look {
    /// Messages.
    pub(super) found: Vec<PathBuf>,
    /// There was nothing behind them; otherwise the next look goes on from there.
    pub(super) ended: bool,
}

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    envelope: Envelope,
    recipients: Vec<Rcpt>,
}

/// A message that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) envelope: Envelope,
    pub(super) recipients: Vec<Rcpt>,
    /// What follows the envelope.
    pub(super) message: BufReader<File>,
    /// Whose file it is.
    pub(super) owner: u32,
}

impl DropFolder {
    /// That of a data directory.
    pub fn of(data: &Path) -> DropFolder {
        DropFolder { path: data.join(NAME), looked: Arc::default() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it can be put into.
    pub fn is_open(&self) -> bool {
        rustix::fs::access(&self.path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
    }

    /// Begins to leave a message.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave(&self, envelope: &Envelope, recipients: &[Rcpt]) -> Result<Leaving, AdminError> {
        let name: String = random::<16>().iter().map(|octet| format!("{octet:02x}")).collect();
        let unfinished = self.path.join(format!("{UNFINISHED}{name}"));
        let finished = self.path.join(format!("{FINISHED}{name}"));
        let head = Head { envelope: envelope.clone(), recipients: recipients.to_vec() };
        let file = create(&unfinished).map_err(|error| failed(&unfinished, &error))?;
        let mut leaving = Leaving { file, unfinished, finished };
        let mut line = serde_json::to_vec(&head).unwrap_or_default();
        line.push(b'\n');
        leaving.write(&line)?;
        Ok(leaving)
    }

    /// The number in a message's name, the same as long as it lies there.
    pub(super) fn name_of(path: &Path) -> Option<u128> {
        u128::from_str_radix(path.file_name()?.to_str()?.strip_prefix(FINISHED)?, 16).ok()
    }

    /// Makes it what it has to be, at the start of the server whose user owns it.
    pub(super) fn prepare(&self) -> io::Result<()> {
        match fs::create_dir(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !fs::symlink_metadata(&self.path)?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "is no directory"));
        }
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o1733))?;
        // The way there has to be open, and nothing else of what is beside it.
        if let Some(data) = self.path.parent() {
            let mode = fs::metadata(data)?.permissions().mode();
            if mode & 0o011 != 0o011 {
                fs::set_permissions(data, fs::Permissions::from_mode((mode & 0o7777) | 0o011))?;
            }
        }
        Ok(())
    }

    /// When something was last put into it or taken out.
    pub(super) fn changed_at(&self) -> Option<SystemTime> {
        fs::metadata(&self.path).and_then(|about| about.modified()).ok()
    }

    /// Messages that are there: some of them if there are many, the next ones the next time, so that those which have to stay
    /// for now are in nobody's way. Clears away what nobody will finish.
    pub(super) fn look(&self, now: SystemTime) -> io::Result<Look> {
        let mut found = Vec::new();
        let looked = self.looked.lock().take();
        let mut entries = match looked {
            Some(entries) => entries,
            None => fs::read_dir(&self.path)?,
        };
        for entry in entries.by_ref() {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(FINISHED) {
                found.push(entry.path());
                if found.len() >= BATCH {
                    *self.looked.lock() = Some(entries);
                    return Ok(Look { found, ended: false });
                }
                continue;
            }
            let age = entry.metadata().and_then(|it| it.modified()).map(|at| now.duration_since(at).ok());
            if matches!(age, Ok(Some(age)) if age > STALE) {
                let _ = fs::remove_file(entry.path()).or_else(|_| fs::remove_dir(entry.path()));
            }
        }
        Ok(Look { found, ended: true })
    }

    /// Opens a message. Of what a user left there nothing is believed: it must be a file, by one name only, so that it is
    /// no other file of somebody else, and its owner is who sends.
    pub(super) fn open(&self, path: &Path) -> io::Result<Found> {
        let no_link = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(no_link.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let about = file.metadata()?;
        if !about.is_file() || about.nlink() != 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "is no file of its own"));
        }
        let mut message = BufReader::with_capacity(64 << 10, file);
        let mut line = Vec::new();
        message.by_ref().take(ENVELOPE_MAX).read_until(b'\n', &mut line)?;
        let head: Head = serde_json::from_slice(&line)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Found { envelope: head.envelope, recipients: head.recipients, message, owner: about.uid() })
    }

    /// A message has been taken.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Puts aside what is no message.
    pub(super) fn put_aside(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        fs::rename(path, self.path.join(format!("{UNREADABLE}{name}")))
    }
}

/// A message on its way into the folder; forgotten, it leaves nothing behind.
#[derive(Debug)]
pub struct Leaving {
    file: File,
    unfinished: PathBuf,
    finished: PathBuf,
}

impl Leaving {
    /// The next octets of it.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), AdminError> {
        self.file.write_all(octets).map_err(|error| failed(&self.unfinished, &error))
    }

    /// It is complete. When this returns it is on disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> Result<(), AdminError> {
        let sync = || {
            self.file.sync_all()?;
            fs::rename(&self.unfinished, &self.finished)?;
            // The folder itself cannot be opened by who may only put into it. Syncing the file once more brings its new name
            // to the disk too, on every file system that has a journal.
            self.file.sync_all()
        };
        sync().map_err(|error| failed(&self.finished, &error))
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // Finished, it has another name.
        let _ = fs::remove_file(&self.unfinished);
    }
}

fn create(path: &Path) -> io::Result<File> {
    // The server is another user, and the folder hides the name.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o604).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o604))?;
    Ok(file)
}

fn failed(path: &Path, error: &io::Error) -> AdminError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Temporary,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Io,
    };
    AdminError::new(kind, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use packetboat_mail::queue::BodyKind;

    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            sender: "alice@example.org".parse().ok(),
            user: "alice".to_owned(),
            body: BodyKind::EightBit,
            smtputf8: false,
            ret: None,
            envid: Some("1".to_owned()),
        }
    }

    #[test]
    fn what_is_left_is_found_whole() {
        let data = tempfile::tempdir().unwrap();
        let folder = DropFolder::of(data.path());
        assert!(!folder.is_open());
        folder.prepare().unwrap();
        assert!(folder.is_open());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(folder.path()), 0o1733);
        assert_eq!(mode(data.path()) & 0o011, 0o011);

        let recipients = [Rcpt::new("bob@example.org".parse().unwrap(), None)];
        let mut leaving = folder.leave(&envelope(), &recipients).unwrap();
        leaving.write(b"A: b\r\n\r\n\xe9").unwrap();
        assert!(folder.look(SystemTime::now()).unwrap().found.is_empty());
        leaving.finish().unwrap();
        drop(folder.leave(&envelope(), &recipients).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(folder.path().join("new-1"), "unfinished").unwrap();
        let found = folder.look(SystemTime::now()).unwrap().found;
        let [path] = found.as_slice() else { panic!("{found:?}") };
        let mut opened = folder.open(path).unwrap();
        assert_eq!((opened.envelope, opened.recipients.as_slice()), (envelope(), &recipients[..]));
        assert_eq!(opened.owner, rustix::process::geteuid().as_raw());
        let mut text = Vec::new();
        opened.message.read_to_end(&mut text).unwrap();
        assert_eq!(text, b"A: b\r\n\r\n\xe9");
        folder.remove(path).unwrap();
        assert!(folder.look(SystemTime::now() + 2 * STALE).unwrap().found.is_empty());
        assert!(!folder.path().join("new-1").exists());
    }

    #[test]
    fn what_is_no_file_of_its_own_is_not_opened() {
        let data = tempfile::tempdir().unwrap();
        let folder = DropFolder::of(data.path());
        folder.prepare().unwrap();
        let secret = data.path().join("secret");
        fs::write(&secret, "{}\nsecret").unwrap();
        let inside = |name: &str| folder.path().join(name);
        fs::hard_link(&secret, inside("mail-1")).unwrap();
        std::os::unix::fs::symlink(&secret, inside("mail-2")).unwrap();
        fs::create_dir(inside("mail-3")).unwrap();
        fs::write(inside("mail-4"), "no envelope").unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            inside("mail-5"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let found = folder.look(SystemTime::now()).unwrap().found;
        assert_eq!(found.len(), 5);
        for path in found {
            assert!(folder.open(&path).is_err(), "{}", path.display());
            folder.put_aside(&path).unwrap();
        }
        assert!(folder.look(SystemTime::now()).unwrap().found.is_empty());
        assert!(!folder.look(SystemTime::now() + 2 * STALE).unwrap().found.iter().any(|path| path.exists()));
        assert!(secret.exists());
    }

    #[test]
    fn those_that_stay_are_in_nobodys_way() {
        let data = tempfile::tempdir().unwrap();
        let folder = DropFolder::of(data.path());
        folder.prepare().unwrap();
        let all = BATCH + 7;
        for number in 0..all {
            fs::write(folder.path().join(format!("{FINISHED}{number:x}")), "{}").unwrap();
        }
        let look = || folder.look(SystemTime::now()).unwrap();
        for _ in 0..2 {
            let (first, rest) = (look(), look());
            assert_eq!(
                (first.found.len(), first.ended, rest.found.len(), rest.ended),
                (BATCH, false, 7, true)
            );
            let seen: std::collections::HashSet<_> = first.found.iter().chain(&rest.found).collect();
            assert_eq!(seen.len(), all);
        }
    }
}
