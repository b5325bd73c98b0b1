//! The log of transfers: in the form of xferlog, which every tool for FTP servers reads, and as JSON lines.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use serde::Serialize;

use super::Direction;
use crate::settings::Settings;

/// Records that wait to be written. More are not kept, and counted.
const WAITING_MAX: usize = 8192;
/// Octets written at a time.
const BUFFER: usize = 256 * 1024;
/// How long is waited for what is being written.
const FLUSH: Duration = Duration::from_secs(5);
/// Logs hold names of people and files.
const MODE: u32 = 0o640;

/// Where the log goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// The file in the form of xferlog.
    pub xferlog: Option<PathBuf>,
    /// The file of JSON lines.
    pub json: Option<PathBuf>,
    /// Octets after which a file is put aside; 0: never.
    pub size: u64,
    /// Files that are kept when they are put aside.
    pub keep: u32,
    /// JSON also tells of what is deleted, renamed and made.
    pub actions: bool,
    /// JSON also tells who logged in.
    pub logins: bool,
}

impl LogOptions {
    /// As the settings have it.
    pub fn of(settings: &Settings) -> LogOptions {
        let log = &settings.transfer_log;
        let at = |path: &Option<PathBuf>| path.as_ref().map(|path| settings.general.data.join(path));
        LogOptions {
            xferlog: at(&log.xferlog),
            json: at(&log.json),
            size: log.size.0,
            keep: log.keep,
            actions: log.actions,
            logins: log.logins,
        }
    }

    fn is_off(&self) -> bool {
        self.xferlog.is_none() && self.json.is_none()
    }
}

/// Something that happened, as a line of JSON has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// When it ended.
    pub time: Timestamp,
    /// `transfer`, `delete`, `rename`, `mkdir`, `rmdir` or `login`.
    pub event: &'static str,
    /// The number of the connection.
    pub connection: u64,
    /// Login name, or `anonymous`.
    pub account: String,
    /// What an anonymous user gave for a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<String>,
    /// What ACCT named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_centre: Option<String>,
    /// Where the client is.
    pub address: String,
    /// Whether the control connection is protected.
    pub tls: bool,
    /// Of what, as the client sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How it was transferred.
    #[serde(flatten)]
    pub transfer: Option<TransferRecord>,
    /// `complete` or `incomplete`.
    pub outcome: &'static str,
    /// Why it is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is told of a transfer alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransferRecord {
    /// Which way.
    pub direction: Direction,
    /// The command.
    pub verb: &'static str,
    /// Octets over the data connection.
    pub octets: u64,
    /// How long it took.
    pub seconds: f64,
    /// Whether the data connection was protected.
    pub data_tls: bool,
    /// TYPE, STRU and MODE.
    pub representation: String,
    /// It is text that is converted.
    #[serde(skip)]
    pub text: bool,
}

impl Record {
    /// The line of xferlog(5); nothing for what has no place there.
    fn xferlog(&self, zone: &TimeZone) -> Option<String> {
        let transfer = self.transfer.as_ref()?;
        let direction = match transfer.direction {
            Direction::Download => 'o',
            Direction::Upload => 'i',
            Direction::Listing => return None,
        };
        let (mode, user) = match &self.anonymous {
            Some(word) => ('a', &word[..]),
            None => ('r', &self.account[..]),
        };
        // As ctime(3) has it.
        let time = self.time.to_zoned(zone.clone()).strftime("%a %b %e %H:%M:%S %Y").to_string();
        let seconds = (transfer.seconds.round() as u64).max(1);
        let mut line = String::with_capacity(160);
        let written = write!(
            line,
            "{time} {seconds} {address} {octets} {path} {kind} _ {direction} {mode} {user} ftp 0 * {status}",
            address = word(&self.address),
            octets = transfer.octets,
            path = word(self.path.as_deref().unwrap_or_default()),
            kind = if transfer.text { 'a' } else { 'b' },
            user = word(user),
            status = if self.outcome == "complete" { 'c' } else { 'i' },
        );
        written.ok().map(|()| line)
    }
}

/// As one word: what would end it is an underscore, and an empty one a dash.
fn word(text: &str) -> String {
    let word: String =
        text.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

enum Job {
    Record(Box<Record>),
    Open(LogOptions),
    /// Say so when all before it is written.
    Flush(SyncSender<()>),
}

/// Takes records, and has a thread write them. Transfers do not wait for the disk that the log is on.
#[derive(Debug)]
pub struct TransferLog {
    options: Mutex<LogOptions>,
    jobs: SyncSender<Job>,
    lost: Arc<AtomicU64>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

impl TransferLog {
    /// Begins to write.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(options: LogOptions) -> io::Result<TransferLog> {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let (counted, first) = (Arc::clone(&lost), options.clone());
        thread::Builder::new().name("xferlog".to_owned()).spawn(move || write(&waiting, first, &counted))?;
        Ok(TransferLog { options: Mutex::new(options), jobs, lost })
    }

    /// Opens the files anew, under the names that the settings have now: they may have been put aside by somebody else.
    pub fn reopen(&self, options: LogOptions) {
        *self.options.lock() = options.clone();
        // A log that is so far behind opens them when it is asked the next time.
        let _ = self.jobs.try_send(Job::Open(options));
    }

    /// Whether a record of this event is written anywhere.
    pub fn wants(&self, event: &str) -> bool {
        let options = self.options.lock();
        match event {
            "transfer" => !options.is_off(),
            "login" => options.json.is_some() && options.logins,
            _ => options.json.is_some() && options.actions,
        }
    }

    /// Takes a record.
    pub fn tell(&self, record: Record) {
        if let Err(TrySendError::Full(_)) = self.jobs.try_send(Job::Record(Box::new(record))) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns when all that was told until now is in the files, or after a few seconds.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.jobs.send(Job::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH);
        }
    }
}

fn write(jobs: &Receiver<Job>, options: LogOptions, lost: &AtomicU64) {
    let zone = TimeZone::system();
    let (mut xferlog, mut json) = (Kept::open(options.xferlog.clone()), Kept::open(options.json.clone()));
    let mut options = options;
    let (mut lines, mut objects) = (Vec::new(), Vec::new());
    while let Ok(first) = jobs.recv() {
        let mut next = Some(first);
        let (mut opened, mut asked) = (None, Vec::new());
        while let Some(job) = next.take() {
            match job {
                Job::Record(record) => {
                    if xferlog.is_some()
                        && let Some(line) = record.xferlog(&zone)
                    {
                        lines.extend_from_slice(line.as_bytes());
                        lines.push(b'\n');
                    }
                    if json.is_some() && serde_json::to_writer(&mut objects, &record).is_ok() {
                        objects.push(b'\n');
                    }
                }
                Job::Open(options) => opened = Some(options),
                Job::Flush(done) => asked.push(done),
            }
            if opened.is_none() && lines.len() + objects.len() < BUFFER {
                next = jobs.try_recv().ok();
            }
        }
        for (kept, text) in [(&mut xferlog, &mut lines), (&mut json, &mut objects)] {
            if let Some(kept) = kept
                && let Err(error) = kept.append(text, options.size, options.keep)
            {
                tracing::warn!(%error, file = %kept.path.display(), "the log of transfers cannot be written");
            }
            text.clear();
        }
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            tracing::warn!(missing, "records of transfers were not kept: the log's disk is too slow");
        }
        if let Some(now) = opened {
            xferlog = Kept::open(now.xferlog.clone());
            json = Kept::open(now.json.clone());
            options = now;
        }
        for done in asked {
            let _ = done.send(());
        }
    }
}

/// A file that is put aside when it is large.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: Option<File>,
    octets: u64,
}

impl Kept {
    fn open(path: Option<PathBuf>) -> Option<Kept> {
        let mut kept = Kept { path: path?, file: None, octets: 0 };
        if let Err(error) = kept.begin() {
            tracing::error!(%error, file = %kept.path.display(), "the log of transfers cannot be opened");
        }
        Some(kept)
    }

    fn begin(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            if let Some(above) = self.path.parent() {
                fs::create_dir_all(above)?;
            }
            let file = OpenOptions::new().append(true).create(true).mode(MODE).open(&self.path)?;
            self.octets = file.metadata()?.len();
            self.file = Some(file);
        }
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Writes whole lines; puts the file aside before, if they do not fit.
    fn append(&mut self, lines: &[u8], size: u64, keep: u32) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        self.begin()?;
        if size > 0 && self.octets > 0 && self.octets.saturating_add(lines.len() as u64) > size {
            self.file = None;
            put_aside(&self.path, keep)?;
        }
        let written = self.begin()?.write_all(lines);
        self.octets = self.octets.saturating_add(lines.len() as u64);
        if written.is_err() {
            self.file = None;
        }
        written
    }
}

/// `log` becomes `log.1`, `log.1` becomes `log.2`, and the last one is gone.
fn put_aside(path: &Path, keep: u32) -> io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if keep == 0 {
        return fs::remove_file(path);
    }
    for number in (1..keep).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn record() -> Record {
        Record {
            time: "1998-09-03T21:12:00Z".parse().unwrap(),
            event: "transfer",
            connection: 7,
            account: "alice@example.org".to_owned(),
            anonymous: None,
            cost_centre: None,
            address: "192.0.2.1".to_owned(),
            tls: true,
            path: Some("/a file\nwith lines".to_owned()),
            to: None,
            transfer: Some(TransferRecord {
                direction: Direction::Upload,
                verb: "STOR",
                octets: 1234,
                seconds: 0.2,
                data_tls: true,
                representation: "A N F S".to_owned(),
                text: true,
            }),
            outcome: "complete",
            reason: None,
        }
    }

    #[test]
    fn lines_of_xferlog() {
        let line = |change: &dyn Fn(&mut Record)| {
            let mut record = record();
            change(&mut record);
            record.xferlog(&TimeZone::UTC)
        };
        assert_eq!(
            line(&|_| {}).unwrap(),
            "Thu Sep  3 21:12:00 1998 1 192.0.2.1 1234 /a_file_with_lines a _ i r alice@example.org ftp 0 * c"
        );
        let anonymous = line(&|it| {
            it.anonymous = Some("me@home or so".to_owned());
            it.outcome = "incomplete";
            let transfer = it.transfer.as_mut().unwrap();
            (transfer.direction, transfer.text, transfer.seconds) = (Direction::Download, false, 61.7);
        });
        assert_eq!(
            anonymous.unwrap(),
            "Thu Sep  3 21:12:00 1998 62 192.0.2.1 1234 /a_file_with_lines b _ o a me@home_or_so ftp 0 * i"
        );
        assert_eq!(line(&|it| it.transfer.as_mut().unwrap().direction = Direction::Listing), None);
        assert_eq!(line(&|it| it.transfer = None), None);
    }

    #[test]
    fn files_are_bounded_in_size_and_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/xferlog");
        let mut kept = Kept::open(Some(path.clone())).unwrap();
        for number in 0..10 {
            kept.append(format!("line {number}\n").as_bytes(), 14, 2).unwrap();
        }
        let mut names: Vec<_> =
            fs::read_dir(dir.path().join("logs")).unwrap().map(|it| it.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["xferlog", "xferlog.1", "xferlog.2"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 8\nline 9\n");
        assert_eq!(fs::read_to_string(path.with_extension("2")).unwrap(), "line 4\nline 5\n");
    }

    #[test]
    fn what_was_put_aside_by_others_is_left_at_reload() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("log"), dir.path().join("log-1998"));
        let options = LogOptions { json: Some(path.clone()), ..LogOptions::default() };
        let log = TransferLog::start(options.clone()).unwrap();
        log.tell(record());
        log.flush();
        fs::rename(&path, &aside).unwrap();
        log.tell(record());
        log.flush();
        log.reopen(options);
        log.tell(record());
        log.flush();
        assert_eq!(fs::read_to_string(&aside).unwrap().lines().count(), 2);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        assert!(log.wants("transfer") && !log.wants("login") && !log.wants("delete"));
    }
}
