//! What an earlier version wrote is opened.

use rusqlite::Connection;

use super::super::schema::open_writer;
use crate::{Check, Op, OpenError, Options, Store, Tx};

fn put(key: &str) -> Tx {
    Tx { id: None, require: vec![], ops: vec![Op::Put { key: key.into(), value: vec![1] }] }
}

/// What makes a database of today one of the first format.
const FIRST: &str = "
DROP TABLE packed;
DROP TABLE queue;
DROP TABLE queue_destination;
ALTER TABLE log DROP COLUMN next_queue;
ALTER TABLE log DROP COLUMN queue_rows;
ALTER TABLE log DROP COLUMN queue_octets;
ALTER TABLE log DROP COLUMN queue_held;
ALTER TABLE log DROP COLUMN queue_destinations;
UPDATE log SET format = 1;
";

#[test]
fn a_database_of_the_first_format_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    run(async {
        let store = Store::open(Options::new(dir.path())).unwrap();
        store.commit(put("before"), vec![]).await.unwrap();
        store.stop().await;
    });
    let today: Vec<String> = tables(&Connection::open(&path).unwrap());
    Connection::open(&path).unwrap().execute_batch(FIRST).unwrap();
    run(async {
        let store = Store::open(Options::new(dir.path())).unwrap();
        assert_eq!(store.get("before").unwrap().unwrap().value, [1]);
        store.commit(put("after"), vec![]).await.unwrap();
        assert_eq!(store.queue_count().await.unwrap(), crate::QueueCount::default());
        store.stop().await;
    });
    assert_eq!(tables(&Connection::open(&path).unwrap()), today);
    let report = Store::check(dir.path(), Check { deep: true, repair: false }).unwrap();
    assert!(report.is_clean(), "{report}");
    // One of a later format is not touched.
    Connection::open(&path).unwrap().execute_batch("UPDATE log SET format = 99").unwrap();
    assert!(matches!(open_writer(&path, 1, false), Err(OpenError::Format(99))));
}

fn tables(conn: &Connection) -> Vec<String> {
    let mut select = conn.prepare("SELECT name FROM sqlite_schema ORDER BY name").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}
