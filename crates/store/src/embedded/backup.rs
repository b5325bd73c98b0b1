//! A copy of the whole store, taken while it works, and a store made from such a copy.
//!
//! The database is copied first and the log after it: so every place a row names is in the copy, and what the log has
//! beyond the database is carried out when the copy is opened. Segments and bodies that the copy has already are not
//! copied again. The copy is a store like another: it can be checked, and even served.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::Path;

use super::effect::Effect;
use super::segment::{list, path_of};
use super::{Assembled, Shared, snapshot, take_lock};
use crate::backup::Copied;
use crate::{OpenError, Options};

/// How far an account's modification sequence is raised when it is restored: further than any that was given out
/// between the backup and the loss, so that none means two things.
const RESTORED_AHEAD: u64 = 1 << 24;

fn store_of(database: &Path) -> Option<i64> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = rusqlite::Connection::open_with_flags(database, flags).ok()?;
    conn.query_row("SELECT store FROM log", [], |row| row.get(0)).ok()
}

/// Copies the store into a directory that is empty or holds an earlier copy of it.
pub(crate) fn backup(shared: &Shared, to: &Path) -> io::Result<Copied> {
    let dir = &shared.options.dir;
    for dir in [to, &to.join("segments"), &to.join("bodies")] {
        super::disk::create_dir(dir)?;
    }
    let _lock = take_lock(to).map_err(io::Error::other)?;
    let database = to.join("store.db");
    let earlier = database.exists();
    // The segment that was appended to at the time of the earlier copy may since have been cut after a crash.
    let settled = snapshot::segment_of(&database).unwrap_or(0);
    if earlier && store_of(&database) != store_of(&dir.join("store.db")) {
        return Err(io::Error::other(format!(
            "{} holds something else than a copy of this store",
            to.display()
        )));
    }
    // Nothing the copy of the database names is removed until it is copied.
    let _removal = shared.removal.lock();
    let new = to.join("store.db.new");
    remove(&new)?;
    shared.readers.with(|conn| snapshot::copy(conn, &new)).map_err(io::Error::other)?;
    File::open(&new)?.sync_data()?;
    let mut copied = Copied::default();
    let mut wanted = BTreeSet::new();
    let segments = shared.segments_dir();
    for id in list(&segments)? {
        let (from, to) = (path_of(&segments, id), path_of(&to.join("segments"), id));
        if id >= settled {
            remove(&to)?;
        }
        copied.file(&from, &to)?;
        wanted.insert(to);
    }
    for entry in std::fs::read_dir(shared.bodies())? {
        let from = entry?.path();
        let Some(name) = from.file_name() else { continue };
        let to = to.join("bodies").join(name);
        // One that is not settled yet may go again at any time; the copy of the database does not name it.
        match copied.file(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        }
        wanted.insert(to);
    }
    for name in ["segments", "bodies"] {
        File::open(to.join(name))?.sync_all()?;
    }
    // The copy's own write-ahead log belongs to the database that is replaced now.
    for name in ["store.db-wal", "store.db-shm"] {
        remove(&to.join(name))?;
    }
    // So does its search filter, if somebody served it.
    super::filter::forget(to)?;
    std::fs::rename(&new, &database)?;
    File::open(to)?.sync_all()?;
    for name in ["segments", "bodies"] {
        for entry in std::fs::read_dir(to.join(name))? {
            let path = entry?.path();
            if !wanted.contains(&path) {
                remove(&path)?;
            }
        }
    }
    copied.octets += std::fs::metadata(&database)?.len();
    Ok(copied)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Copied {
    /// Copies a file durably, unless the same is there: files of a store only grow, and their names are used once.
    fn file(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let len = std::fs::metadata(from)?.len();
        if std::fs::metadata(to).is_ok_and(|there| there.len() == len) {
            self.there_already += 1;
            return Ok(());
        }
        let part = to.with_extension("part");
        let octets = std::fs::copy(from, &part)?;
        File::open(&part)?.sync_data()?;
        std::fs::rename(&part, to)?;
        self.files += 1;
        self.octets += octets;
        Ok(())
    }
}

/// Makes a store in an empty directory from a copy. Its mailboxes get a new UIDVALIDITY and its accounts a higher
/// modification sequence, for what clients remember of later times must not be taken for what is there now.
pub(crate) fn restore(from: &Path, to: &Path) -> Result<Copied, OpenError> {
    let there = std::fs::read_dir(to).map(|mut entries| entries.next().is_some()).unwrap_or(false);
    if there {
        return Err(OpenError::Damaged(format!(
            "{} is not empty; a store is restored into an empty one",
            to.display()
        )));
    }
    if !from.join("store.db").exists() {
        return Err(OpenError::Damaged(format!("{} holds no copy of a store", from.display())));
    }
    // Who has the copy open as a store writes to it.
    let _lock = if from.join("lock").exists() { Some(take_lock(from)?) } else { None };
    let io = || OpenError::io(to);
    let mut copied = Copied::default();
    for name in ["segments", "bodies"] {
        super::disk::create_dir(to.join(name)).map_err(io())?;
        for entry in std::fs::read_dir(from.join(name)).map_err(OpenError::io(from))? {
            let path = entry.map_err(OpenError::io(from))?.path();
            let Some(file) = path.file_name() else { continue };
            copied.file(&path, &to.join(name).join(file)).map_err(io())?;
        }
        File::open(to.join(name)).and_then(|dir| dir.sync_all()).map_err(io())?;
    }
    // Together with its write-ahead log, if the copy was opened and not closed cleanly.
    for name in ["store.db", "store.db-wal"] {
        if from.join(name).exists() {
            copied.file(&from.join(name), &to.join(name)).map_err(io())?;
        }
    }
    File::open(to).and_then(|dir| dir.sync_all()).map_err(io())?;
    let options = Options { disk_floor: 0, maintenance: false, ..Options::new(to) };
    let Assembled { shared: _, mut writer, lock } =
        Assembled::new(options, super::disk::Disk::default(), None)?;
    let mailboxes: Vec<(u64, u64, String)> = writer
        .tables
        .conn
        .prepare("SELECT id, account, name FROM mailbox ORDER BY id")?
        .query_map([], |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut accounts: Vec<u64> = mailboxes.iter().map(|(_, account, _)| *account).collect();
    accounts.sort_unstable();
    accounts.dedup();
    let mut raised = std::collections::BTreeMap::new();
    for account in accounts {
        let modseq = writer.tables.account(account)?.map_or(0, |state| state.modseq);
        raised.insert(account, modseq + RESTORED_AHEAD);
    }
    let now = (writer.shared.options.clock)();
    let seconds = u32::try_from(now / 1_000_000).unwrap_or(u32::MAX);
    let mut uid_validity = writer.tables.position.uid_validity.max(seconds);
    let mut effects = Vec::new();
    for (mailbox, account, name) in mailboxes {
        uid_validity = uid_validity.saturating_add(1);
        let modseq = raised.get(&account).copied().unwrap_or_default();
        effects.push(Effect::MailboxRenamed { mailbox, name, uid_validity, modseq });
    }
    let done = writer.effects(&effects).and_then(|()| {
        writer.begin()?;
        for (account, modseq) in &raised {
            // Nothing is known of what changed up to here.
            writer.tables.forget_changes(*account, *modseq)?;
        }
        writer.seal()
    });
    writer.finish();
    drop(lock);
    done.map_err(|error| OpenError::Damaged(format!("restoring: {error:?}")))?;
    Ok(copied)
}
