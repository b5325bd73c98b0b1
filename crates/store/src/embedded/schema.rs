//! The tables, and how a connection is set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::OpenError;

/// Of the tables below with all that later versions changed. A database of an earlier version is changed when it is opened.
const FORMAT: i64 = 1 + CHANGES.len() as i64;

/// What makes a database of each format, from 1 on, one of the next.
const CHANGES: &[&str] = &[super::queue::TABLES, super::packed::TABLES];

/// Once the write-ahead log has this many pages (16 MiB), it is copied into the database file.
pub(crate) const CHECKPOINT_PAGES: i64 = 4_000;

/// Rows of `message` are what a scan of a mailbox touches: compact, in the order of UIDs. What a listing wants beside
/// them is appended to `side`, so that a delivery dirties few pages; copies of a message share it, and `side_shared`
/// counts how many there are beside the first, which together are one for their body. Bodies lie in segments or files; `body` says where.
const TABLES: &str = "
CREATE TABLE log (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    format INTEGER NOT NULL,
    store INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    tail INTEGER NOT NULL,
    number INTEGER NOT NULL,
    next_mailbox INTEGER NOT NULL,
    next_side INTEGER NOT NULL,
    uid_validity INTEGER NOT NULL
);
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    modseq INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    messages INTEGER NOT NULL
);
CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    name TEXT NOT NULL,
    uid_validity INTEGER NOT NULL,
    uid_next INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    unseen INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    deleted_octets INTEGER NOT NULL,
    special_use TEXT
);
CREATE UNIQUE INDEX mailbox_name ON mailbox (account, name);
CREATE TABLE keyword (
    mailbox INTEGER NOT NULL,
    bit INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (mailbox, bit)
) WITHOUT ROWID;
CREATE TABLE message (
    mailbox INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    born INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    size INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    saved_at INTEGER NOT NULL,
    side INTEGER,
    body INTEGER NOT NULL,
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;
CREATE TABLE side (
    id INTEGER PRIMARY KEY,
    prefix BLOB NOT NULL,
    card BLOB NOT NULL
);
CREATE TABLE side_shared (
    id INTEGER PRIMARY KEY,
    extra INTEGER NOT NULL
);
CREATE TABLE body (
    id INTEGER PRIMARY KEY,
    refs INTEGER NOT NULL,
    zero_since INTEGER,
    segment INTEGER NOT NULL,
    place INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    file TEXT
);
CREATE INDEX body_zero ON body (zero_since) WHERE zero_since IS NOT NULL;
CREATE TABLE vanished (
    mailbox INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (mailbox, modseq, first)
) WITHOUT ROWID;
CREATE TABLE mailbox_gone (
    account INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    mailbox INTEGER NOT NULL,
    PRIMARY KEY (account, modseq, mailbox)
) WITHOUT ROWID;
CREATE TABLE kv (
    key TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    value BLOB NOT NULL
);
CREATE TABLE receipt (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    results BLOB NOT NULL
);
";

/// Opens the writing connection; makes the tables, durably, when there are none, and tells whether it did. `store`
/// names a new store.
pub(crate) fn open_writer(path: &Path, store: u64, sync: bool) -> Result<(Connection, bool), OpenError> {
    let version = rusqlite::version_number();
    if version < 3_051_003 {
        return Err(OpenError::OldSqlite(rusqlite::version().to_owned()));
    }
    let conn = Connection::open(path)?;
    conn.busy_timeout(Duration::from_secs(10))?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    // NORMAL syncs at checkpoints only: a power cut takes the database back to an earlier commit, never to half of one.
    conn.pragma_update(None, "synchronous", if sync { "FULL" } else { "NORMAL" })?;
    // The writer checkpoints between groups itself, so that nobody waits for it inside a commit.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "cache_size", -32_768)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    plan_once(&conn)?;
    conn.set_prepared_statement_cache_capacity(128);
    let empty: bool = conn.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))?;
    if empty {
        let store = store as i64;
        conn.execute_batch(&format!(
            "BEGIN IMMEDIATE; {TABLES}
             INSERT INTO log VALUES (1, 1, {store}, 0, 0, 0, 1, 1, 0); {changes} COMMIT;",
            changes = changes_from(1)
        ))?;
    }
    let format: i64 = conn.query_row("SELECT format FROM log", [], |row| row.get(0))?;
    if !(1..=FORMAT).contains(&format) {
        return Err(OpenError::Format(format));
    }
    if format < FORMAT {
        conn.execute_batch(&format!("BEGIN IMMEDIATE; {} COMMIT;", changes_from(format)))?;
        tracing::info!(from = format, to = FORMAT, "the database has another format now");
    }
    if empty || format < FORMAT {
        // What follows may be lost and is then carried out again from the log; this alone is not in the log.
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    Ok((conn, empty))
}

/// Makes a database of a format one of today's.
fn changes_from(format: i64) -> String {
    let done = usize::try_from(format - 1).unwrap_or(usize::MAX);
    let mut sql = CHANGES.iter().skip(done).copied().collect::<String>();
    sql += &format!("UPDATE log SET format = {FORMAT};");
    sql
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(Duration::from_secs(10))?;
    conn.pragma_update(None, "query_only", true)?;
    conn.pragma_update(None, "cache_size", -4_096)?;
    conn.pragma_update(None, "mmap_size", 0)?;
    plan_once(&conn)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// Without it SQLite looks at the values of some statements for a better plan, and so prepares them anew for each: ten
/// times what the query itself costs.
fn plan_once(conn: &Connection) -> Result<(), rusqlite::Error> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}
