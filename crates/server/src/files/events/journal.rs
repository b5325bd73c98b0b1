//! The journal in the store: what is about to happen, and whom it is to be told.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use packetboat_files::{Act, Change, Refusal, Ticket};
use packetboat_store::{Entry, Op, Require, Store, Tx};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::rules::{Receiver, Rules};
use super::{Event, Kind};
use crate::session::random;

/// What is about to happen.
const INTENTS: &str = "file-event/intent/";
/// What is to be told: behind it the rule, the way, the time before which it is not told, and the event.
const ROWS: &str = "file-event/due/";
/// Rows read at a time.
const PAGE: usize = 256;
/// Rows that may wait. With more of them nothing is changed of which somebody is to be told.
const WAITING_MAX: u64 = 1_000_000;
/// Entries of a directory that are looked at for a file that was there under another name.
const SEARCH_MAX: usize = 100_000;

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// Login name, or `anonymous`.
    pub(crate) account: String,
    /// What an anonymous user gave for a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) anonymous: Option<String>,
    /// What ACCT named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cost_centre: Option<String>,
    /// Where the client is.
    pub(crate) address: String,
    /// Whether the control connection is protected.
    pub(crate) tls: bool,
}

/// An intent: the event it will be, and what tells whether it happened.
#[derive(Debug, Serialize, Deserialize)]
struct Intent {
    event: Event,
    /// Where, on this machine.
    directory: Vec<u8>,
    name: Vec<u8>,
    /// Where else: of an upload, the name it has until then; of a rename, the new place.
    other: Option<(Vec<u8>, Vec<u8>)>,
    /// The file that it is about: device and number.
    file: Option<(u64, u64)>,
}

/// What two intents of one change have in common: what, of what, and which file.
type Seen = (&'static str, String, Option<(u64, u64)>);

/// What is to be told to one receiver.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) event: Event,
    /// How often it was tried.
    pub(crate) attempts: u32,
}

/// The journal.
#[derive(Debug)]
pub(crate) struct Journal {
    store: Store,
    server: String,
    rules: RwLock<Arc<Rules>>,
    waiting: AtomicU64,
    /// Whoever makes a change may do so on a thread of its own.
    runtime: Handle,
    /// There is something to tell.
    pub(crate) news: Notify,
}

impl Journal {
    /// Reads what is there, and settles intents that a process before this one left.
    pub(crate) async fn open(store: Store, server: String, rules: Rules) -> Result<Journal, String> {
        let journal = Journal {
            store,
            server,
            rules: RwLock::new(Arc::new(rules)),
            waiting: AtomicU64::new(0),
            runtime: Handle::current(),
            news: Notify::new(),
        };
        journal.settle_left().await?;
        let mut after = None;
        loop {
            let page =
                journal.store.scan(ROWS, after.as_deref(), PAGE).await.map_err(|error| error.to_string())?;
            journal.waiting.fetch_add(page.len() as u64, Ordering::Relaxed);
            match page.last() {
                Some(last) => after = Some(last.key.clone()),
                None => return Ok(journal),
            }
        }
    }

    pub(crate) fn set_rules(&self, rules: Rules) {
        *self.rules.write() = Arc::new(rules);
    }

    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read())
    }

    fn event(&self, kind: Kind, said: Said, path: String) -> (u128, Event) {
        let number = u128::from_ne_bytes(random());
        let event = Event {
            id: format!("{number:032x}"),
            event: kind,
            time: Timestamp::now(),
            server: self.server.clone(),
            said,
            path,
            to: None,
            octets: None,
            file: None,
        };
        (number, event)
    }

    /// A change of names is about to be made.
    pub(crate) fn before(
        &self,
        change: &Change<'_>,
        said: impl FnOnce() -> Said,
    ) -> Result<Option<Ticket>, Refusal> {
        let rules = self.rules();
        if rules.is_empty() {
            return Ok(None);
        }
        let kind = match change.act {
            Act::Store => Kind::Upload,
            Act::Remove => Kind::Delete,
            Act::Rename => Kind::Rename,
            Act::MakeDirectory => Kind::Mkdir,
            Act::RemoveDirectory => Kind::Rmdir,
        };
        let (path, said) = (change.path.to_string(), said());
        let to = change.other.filter(|_| change.act == Act::Rename).map(|(path, ..)| path.to_string());
        let paths: Vec<&str> = std::iter::once(&path).chain(&to).map(String::as_str).collect();
        if !rules.wants(kind, &said.account, &paths) {
            return Ok(None);
        }
        if self.waiting.load(Ordering::Relaxed) >= WAITING_MAX {
            tracing::error!(
                path,
                "too many events of files wait to be told; nothing more is changed until some are"
            );
            return Err(Refusal::NoSpace);
        }
        let directory = place(change.directory)?;
        let other = match change.other {
            Some((_, directory, name)) => Some((place(directory)?, name.to_vec())),
            None => None,
        };
        let file = match (change.act, &other) {
            (Act::Store, Some((directory, hidden))) => identity(directory, hidden),
            _ => identity(&directory, change.name),
        };
        if change.act == Act::MakeDirectory && file.is_some() {
            // It is there already; what comes of that is not for us to say.
            return Ok(None);
        }
        let (number, mut event) = self.event(kind, said, path);
        event.to = to;
        let intent = Intent { event, directory, name: change.name.to_vec(), other, file };
        let value = serde_json::to_vec(&intent).map_err(|error| Refusal::Failed(error.to_string()))?;
        let key = format!("{INTENTS}{number:032x}");
        self.commit(Tx { id: None, require: vec![], ops: vec![Op::Put { key, value }] })
            .map_err(|error| Refusal::Failed(format!("the journal of events: {error}")))?;
        Ok(Some(Ticket(number)))
    }

    /// The change was made, or not.
    pub(crate) fn after(&self, ticket: Option<Ticket>) {
        let Some(Ticket(number)) = ticket else { return };
        let key = format!("{INTENTS}{number:032x}");
        // What is on disk counts, whatever was said of it.
        let settled = match self.store.get(&key) {
            Ok(Some(entry)) => self.blocking(self.settle(entry, None)),
            Ok(None) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = settled {
            tracing::error!(error, "whom a change of files is to be told is written at the next start");
        }
    }

    /// A file was sent.
    pub(crate) fn downloaded(&self, said: impl FnOnce() -> Said, path: &str, octets: u64) {
        let rules = self.rules();
        if rules.is_empty() {
            return;
        }
        let said = said();
        if !rules.wants(Kind::Download, &said.account, &[path]) {
            return;
        }
        let (_, mut event) = self.event(Kind::Download, said, path.to_owned());
        event.octets = Some(octets);
        let (ops, rows) = self.rows(&event);
        match self.commit(Tx { id: None, require: vec![], ops }) {
            Ok(()) => self.came(rows),
            Err(error) => tracing::error!(error, path, "nobody is told of a download"),
        }
    }

    /// Intents that a process before this one left.
    async fn settle_left(&self) -> Result<(), String> {
        // Two that look alike were one change and one that failed.
        let mut seen = HashSet::new();
        loop {
            let page = self.store.scan(INTENTS, None, PAGE).await.map_err(|error| error.to_string())?;
            if page.is_empty() {
                return Ok(());
            }
            for entry in page {
                self.settle(entry, Some(&mut seen)).await?;
            }
        }
    }

    /// Replaces an intent by what is to be told.
    async fn settle(&self, entry: Entry, seen: Option<&mut HashSet<Seen>>) -> Result<(), String> {
        let mut ops = vec![Op::Remove { key: entry.key.clone() }];
        let mut rows = 0;
        match serde_json::from_slice::<Intent>(&entry.value) {
            Ok(mut intent) => {
                let happened = tokio::task::block_in_place(|| intent.happened());
                let what = (intent.event.event.word(), intent.event.path.clone(), intent.file);
                if happened && seen.is_none_or(|seen| seen.insert(what)) {
                    intent.event.time = Timestamp::now();
                    let (more, count) = self.rows(&intent.event);
                    ops.extend(more);
                    rows = count;
                }
            }
            Err(error) => {
                tracing::error!(%error, key = entry.key, "an entry of the journal of events cannot be read")
            }
        }
        let require = vec![Require::KeyVersion { key: entry.key, version: Some(entry.version) }];
        let committed = self.store.commit(Tx { id: None, require, ops }, vec![]).await;
        committed.map_err(|error| error.to_string())?;
        self.came(rows);
        Ok(())
    }

    /// The rows that tell an event, and their number.
    fn rows(&self, event: &Event) -> (Vec<Op>, u64) {
        let rules = self.rules();
        let mut ops = Vec::new();
        for receiver in rules.told(event) {
            let row = Row { event: event.clone(), attempts: 0 };
            if let Ok(value) = serde_json::to_vec(&row) {
                ops.push(Op::Put { key: key(receiver, event.time, &event.id), value });
            }
        }
        let rows = ops.len() as u64;
        (ops, rows)
    }

    fn came(&self, rows: u64) {
        if rows > 0 {
            self.waiting.fetch_add(rows, Ordering::Relaxed);
            self.news.notify_waiters();
        }
    }

    /// The next rows of a receiver, behind `after`, in the order of their time.
    pub(crate) async fn next(&self, receiver: &Receiver, after: Option<&str>) -> Result<Vec<Entry>, String> {
        let prefix = format!("{ROWS}{}", receiver.prefix());
        self.store.scan(&prefix, after, PAGE).await.map_err(|error| error.to_string())
    }

    /// A row is told, or given up.
    pub(crate) async fn forget(&self, entry: &Entry) -> Result<(), String> {
        let ops = vec![Op::Remove { key: entry.key.clone() }];
        self.store
            .commit(Tx { id: None, require: vec![], ops }, vec![])
            .await
            .map_err(|error| error.to_string())?;
        self.went();
        Ok(())
    }

    /// A row is gone that somebody else removed.
    pub(crate) fn went(&self) {
        let _ =
            self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| waiting.checked_sub(1));
    }

    /// A row is tried again, not before `at`.
    pub(crate) async fn put_off(
        &self,
        receiver: &Receiver,
        entry: &Entry,
        row: Row,
        at: Timestamp,
    ) -> Result<(), String> {
        let value = serde_json::to_vec(&row).map_err(|error| error.to_string())?;
        let ops = vec![
            Op::Remove { key: entry.key.clone() },
            Op::Put { key: key(receiver, at, &row.event.id), value },
        ];
        let committed = self.store.commit(Tx { id: None, require: vec![], ops }, vec![]).await;
        committed.map(drop).map_err(|error| error.to_string())
    }

    /// Removes rows for receivers that the settings do not know any more.
    pub(crate) async fn forget_unknown(&self) -> Result<(), String> {
        let known: Vec<String> =
            self.rules().receivers().iter().map(|receiver| format!("{ROWS}{}", receiver.prefix())).collect();
        let (mut after, mut forgotten) = (None::<String>, 0);
        loop {
            let page =
                self.store.scan(ROWS, after.as_deref(), PAGE).await.map_err(|error| error.to_string())?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for entry in &page {
                if !known.iter().any(|prefix| entry.key.starts_with(prefix)) {
                    self.forget(entry).await?;
                    forgotten += 1;
                }
            }
        }
        if forgotten > 0 {
            tracing::warn!(
                forgotten,
                "events of files are told to nobody: their rules are gone from the settings"
            );
        }
        Ok(())
    }

    fn commit(&self, tx: Tx) -> Result<(), String> {
        self.blocking(self.store.commit(tx, vec![])).map(drop).map_err(|error| error.to_string())
    }

    /// Waits on a thread that may block, or that is told that it does.
    fn blocking<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::task::block_in_place(|| self.runtime.block_on(work))
    }
}

/// When a row is told, by its key.
pub(crate) fn due(entry: &Entry) -> Option<Timestamp> {
    let micros = entry.key.rsplit('/').nth(1)?.parse().ok()?;
    Timestamp::from_microsecond(micros).ok()
}

fn key(receiver: &Receiver, at: Timestamp, id: &str) -> String {
    format!("{ROWS}{}{:020}/{id}", receiver.prefix(), at.as_microsecond().max(0))
}

/// Where a directory is on this machine.
fn place(directory: BorrowedFd<'_>) -> Result<Vec<u8>, Refusal> {
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let path = std::fs::read_link(link)
        .map_err(|error| Refusal::Failed(format!("the journal of events: {error}")))?;
    Ok(path.into_os_string().as_bytes().to_vec())
}

fn joined(directory: &[u8], name: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(directory)).join(OsStr::from_bytes(name))
}

/// What lies there: device and number.
fn identity(directory: &[u8], name: &[u8]) -> Option<(u64, u64)> {
    let facts = std::fs::symlink_metadata(joined(directory, name)).ok()?;
    Some((facts.dev(), facts.ino()))
}

impl Intent {
    /// Whether what was intended is what there is now. Fills in what is known of it by that.
    fn happened(&mut self) -> bool {
        let there = identity(&self.directory, &self.name);
        let mut at = joined(&self.directory, &self.name);
        let happened = match (self.event.event, &self.other) {
            (Kind::Upload, Some((directory, hidden))) => {
                if identity(directory, hidden).is_some() {
                    false
                } else {
                    if there != self.file
                        && let Some(name) = self.find()
                    {
                        // Under another name than the one wanted (STOU).
                        at = joined(&self.directory, &name);
                        if let Some((above, _)) = self.event.path.rsplit_once('/') {
                            self.event.path = format!("{above}/{}", String::from_utf8_lossy(&name));
                        }
                    }
                    true
                }
            }
            (Kind::Rename, Some((directory, name))) => {
                at = joined(directory, name);
                identity(directory, name) == self.file || there != self.file
            }
            (Kind::Delete | Kind::Rmdir, _) => self.file.is_some() && there != self.file,
            (Kind::Mkdir, _) => there.is_some(),
            _ => false,
        };
        if happened {
            let facts = std::fs::symlink_metadata(&at).ok().filter(|facts| facts.is_file());
            self.event.octets = facts.map(|facts| facts.len()).filter(|_| self.event.event != Kind::Delete);
            self.event.file = Some(at.to_string_lossy().into_owned());
        }
        happened
    }

    /// The name that the file has in its directory.
    fn find(&self) -> Option<Vec<u8>> {
        let (device, number) = self.file?;
        let entries = std::fs::read_dir(OsStr::from_bytes(&self.directory)).ok()?;
        let is_it = |entry: &std::fs::DirEntry| {
            entry.metadata().is_ok_and(|it| (it.dev(), it.ino()) == (device, number))
        };
        let found = entries.take(SEARCH_MAX).flatten().find(is_it)?;
        Some(found.file_name().as_bytes().to_vec())
    }
}
