//! A copy of the database beside it, which says up to which record of the log it holds everything. With it and the log
//! behind it the database can be made again, so what transactions did before need not be kept in the log.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::Shared;

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("snapshot.db")
}

/// The segment at whose end, or before it, the last snapshot was taken.
pub(crate) fn segment(shared: &Shared) -> Option<u64> {
    segment_of(&path(&shared.options.dir))
}

pub(crate) fn segment_of(path: &Path) -> Option<u64> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    conn.query_row("SELECT segment FROM log", [], |row| row.get::<_, i64>(0))
        .ok()
        .map(|segment| segment as u64)
}

/// Takes a snapshot in place of the last one. Writers go on meanwhile.
pub(crate) fn take(shared: &Shared) -> Result<(), std::io::Error> {
    let dir = &shared.options.dir;
    let new = dir.join("snapshot.new");
    shared.disk.remove(&new)?;
    shared.readers.with(|conn| copy(conn, &new)).map_err(std::io::Error::other)?;
    shared.disk.open(&new)?.sync_data()?;
    shared.disk.rename(&new, &path(dir))?;
    shared.disk.sync_dir(dir)
}

/// Copies what a connection sees into a new file, in one read transaction. The copy is not a write-ahead-log database:
/// it is one file, whole.
pub(crate) fn copy(conn: &Connection, to: &Path) -> Result<(), rusqlite::Error> {
    let mut target = Connection::open(to)?;
    {
        let backup = rusqlite::backup::Backup::new(conn, &mut target)?;
        backup.step(-1)?;
    }
    target.pragma_update(None, "journal_mode", "DELETE")?;
    target.close().map_err(|(_, error)| error)
}
