//! Damage is found, named and put right; copies are whole.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{account_with_mailbox, add, body, content, deliver, enqueue, octets, picture, queue_row, tx};
use packetboat_store::{
    AccountId, BodySource, Check, FlagChange, Flags, MailboxId, NewQueueRow, Op, OpResult, Options, Outcome,
    Store, Uid,
};

const LOOK: Check = Check { deep: true, repair: false };
const REPAIR: Check = Check { deep: true, repair: true };

fn options(dir: &Path) -> Options {
    Options { segment_octets: 64 << 10, grace: Duration::ZERO, maintenance: false, ..Options::new(dir) }
}

/// A store with a bit of everything, closed; tells what it looks like.
async fn make(dir: &Path, compacted: bool) -> String {
    let store = Store::open(options(dir)).unwrap();
    let first = account_with_mailbox(&store, 1).await;
    let second = account_with_mailbox(&store, 2).await;
    for size in [10, 1_000, 20_000, 1_200_000, 5_000] {
        deliver(&store, first, &octets(size)).await;
    }
    if compacted {
        // Enough garbage that segments go and a snapshot is taken.
        for _ in 0..30 {
            deliver(&store, second, &octets(30_000)).await;
        }
        let uids = (1..=30).map(Uid).collect();
        store.commit(tx(vec![Op::Expunge { mailbox: second, uids }]), vec![]).await.unwrap();
        store.maintain().await;
        assert!(dir.join("snapshot.db").exists());
        assert!(!dir.join("segments/00000001.seg").exists());
    }
    let mailbox = Op::CreateMailbox {
        account: AccountId(1),
        name: "Archive".into(),
        special_use: Some("\\Archive".into()),
        uid_validity: None,
    };
    store.commit(tx(vec![mailbox]), vec![]).await.unwrap();
    let archive = store.mailbox_named(AccountId(1), "Archive").await.unwrap().unwrap().id;
    let ops = vec![
        add(second, BodySource::New(0), "other "),
        Op::Copy { from: first, uids: vec![Uid(1), Uid(3), Uid(4)], to: archive },
        Op::SetFlags {
            mailbox: first,
            uids: vec![Uid(2)],
            change: FlagChange::Add(Flags::SEEN),
            keywords: vec!["$Work".into(), "$Last".into()],
            unchanged_since: None,
        },
        Op::Copy { from: first, uids: vec![Uid(2)], to: archive },
        Op::SetFlags {
            mailbox: archive,
            uids: vec![Uid(2), Uid(3)],
            change: FlagChange::Add(Flags::DELETED),
            keywords: vec![],
            unchanged_since: None,
        },
        Op::Expunge { mailbox: first, uids: vec![Uid(1), Uid(5)] },
        Op::Put { key: "account/1".into(), value: b"secret".to_vec() },
    ];
    store.commit(tx(ops), vec![body(&store, b"shared").await]).await.unwrap();
    queue(&store, first).await;
    let picture = picture(&store).await;
    store.stop().await;
    picture
}

/// A message of a mailbox that is queued, too, one that is queued alone, and what is left of a third.
async fn queue(store: &Store, mailbox: MailboxId) {
    let shared = store.message(mailbox, Uid(2)).await.unwrap().unwrap().body;
    let row = |destination: &str| queue_row(destination, 7);
    let held = NewQueueRow { held: true, ..row("c") };
    let ops = vec![
        enqueue(BodySource::Stored(shared), vec![row("a"), row("b")]),
        enqueue(BodySource::New(0), vec![row("a"), held.clone(), row("d")]),
        Op::Rest { destination: "b".into(), until: 1 << 60 },
    ];
    let receipt = store.commit(tx(ops), vec![body(store, &octets(700)).await]).await.unwrap();
    let [OpResult::Queued(_), OpResult::Queued(ids), OpResult::Done] = &receipt.results[..] else { panic!() };
    let ops = vec![
        Op::Dequeue { ids: vec![ids[0]] },
        Op::Requeue { id: ids[2], row: NewQueueRow { due_at: 3, ..row("b") } },
        Op::Rest { destination: "a".into(), until: 1 << 60 },
        Op::Rest { destination: "a".into(), until: i64::MIN },
    ];
    store.commit(tx(ops), vec![]).await.unwrap();
}

async fn look(dir: &Path) -> String {
    let store = Store::open(options(dir)).unwrap();
    let picture = picture(&store).await;
    store.stop().await;
    picture
}

#[tokio::test]
async fn a_healthy_store_has_no_problems() {
    for compacted in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let before = make(dir.path(), compacted).await;
        let report = Store::check(dir.path(), LOOK).unwrap();
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.messages, 8);
        assert!(report.octets > 1_200_000);
        assert_eq!(look(dir.path()).await, before);
    }
}

#[tokio::test]
async fn a_lost_database_is_made_again_from_the_log() {
    for compacted in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let before = make(dir.path(), compacted).await;
        std::fs::remove_file(dir.path().join("store.db")).unwrap();
        // It does not open as if nothing had been there.
        let error = Store::open(options(dir.path())).unwrap_err();
        assert!(error.to_string().contains("another store"), "{error}");
        let report = Store::check(dir.path(), LOOK).unwrap();
        assert!(!report.is_clean());
        let report = Store::check(dir.path(), REPAIR).unwrap();
        assert!(!report.has_losses(), "{report}");
        assert_eq!(look(dir.path()).await, before);
        assert!(Store::check(dir.path(), LOOK).unwrap().is_clean());
    }
}

#[tokio::test]
async fn without_its_snapshot_a_compacted_store_still_gives_up_its_bodies() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), true).await;
    std::fs::remove_file(dir.path().join("store.db")).unwrap();
    std::fs::remove_file(dir.path().join("snapshot.db")).unwrap();
    let report = Store::check(dir.path(), REPAIR).unwrap();
    assert!(report.has_losses(), "{report}");
    // What came after the compaction is all there.
    let store = Store::open(options(dir.path())).unwrap();
    assert_eq!(store.get("account/1").unwrap().unwrap().value, b"secret");
    let again = Store::check(dir.path(), LOOK);
    assert!(again.is_err(), "a store that is open is not checked");
    store.stop().await;
    assert!(Store::check(dir.path(), LOOK).unwrap().is_clean());
}

#[tokio::test]
async fn a_damaged_database_is_made_again() {
    for compacted in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let before = make(dir.path(), compacted).await;
        let path = dir.path().join("store.db");
        let mut octets = std::fs::read(&path).unwrap();
        for page in octets.chunks_mut(4096).skip(1).step_by(2) {
            page[..2000].fill(0xee);
        }
        std::fs::write(&path, octets).unwrap();
        let report = Store::check(dir.path(), LOOK).unwrap();
        assert!(!report.is_clean());
        let report = Store::check(dir.path(), REPAIR).unwrap();
        assert!(!report.has_losses(), "{report}");
        assert_eq!(look(dir.path()).await, before);
    }
}

#[tokio::test]
async fn rebuilding_a_healthy_store_changes_nothing() {
    for compacted in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let before = make(dir.path(), compacted).await;
        let report = Store::rebuild(dir.path()).unwrap();
        assert!(!report.has_losses(), "{report}");
        assert_eq!(look(dir.path()).await, before);
    }
}

#[tokio::test]
async fn wrong_counters_and_references_are_found_and_put_right() {
    for (damage, text) in [
        ("UPDATE account SET octets = octets + 5", "accounts whose counters"),
        ("UPDATE mailbox SET messages = 0", "mailboxes whose counters"),
        ("UPDATE mailbox SET uid_next = 1", "mailboxes whose counters"),
        ("UPDATE mailbox SET unseen = unseen + 1", "mailboxes whose counters"),
        ("UPDATE mailbox SET deleted = 9", "mailboxes whose counters"),
        ("UPDATE mailbox SET deleted_octets = 9", "mailboxes whose counters"),
        ("DELETE FROM side_shared", "cards whose number"),
        ("UPDATE side_shared SET extra = 5", "cards whose number"),
        ("INSERT INTO side_shared VALUES (99999, 1)", "count nothing"),
        ("INSERT OR IGNORE INTO side_shared SELECT id, 1 FROM side", "cards whose number"),
        ("INSERT INTO keyword VALUES (99999, 5, 'x')", "keywords of no mailbox"),
        ("UPDATE message SET flags = flags | (1 << 62)", "no name"),
        ("UPDATE message SET flags = flags | (1 << 63)", "no name"),
        ("UPDATE body SET refs = 7", "bodies whose number"),
        ("UPDATE body SET zero_since = 1", "bodies whose number"),
        ("INSERT INTO side VALUES (99999, '', '')", "no message has"),
        ("UPDATE queue_destination SET rows = 9", "destinations of the queue whose counters"),
        ("UPDATE queue_destination SET due = 1", "destinations of the queue whose counters"),
        ("UPDATE queue_destination SET wake_at = 1", "destinations of the queue whose counters"),
        ("DELETE FROM queue_destination WHERE resting_until < 0", "destinations of the queue whose counters"),
        ("INSERT INTO queue_destination VALUES ('x', 1, 0, 5, 5)", "have no rows"),
        ("UPDATE log SET queue_rows = 77", "counters of the queue"),
        ("UPDATE log SET queue_octets = 77", "counters of the queue"),
        ("UPDATE log SET queue_held = 77, queue_destinations = 5", "counters of the queue"),
        ("UPDATE log SET next_queue = 1", "counters of the queue"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let before = make(dir.path(), false).await;
        rusqlite::Connection::open(dir.path().join("store.db")).unwrap().execute_batch(damage).unwrap();
        let report = Store::check(dir.path(), LOOK).unwrap();
        assert!(report.to_string().contains(text), "{damage}: {report}");
        assert!(report.problems.iter().all(|(outcome, _)| *outcome == Outcome::Found));
        let report = Store::check(dir.path(), REPAIR).unwrap();
        assert!(!report.is_clean() && !report.has_losses(), "{damage}: {report}");
        assert!(Store::check(dir.path(), LOOK).unwrap().is_clean(), "{damage}");
        assert_eq!(look(dir.path()).await, before, "{damage}");
    }
}

#[tokio::test]
async fn what_cannot_be_saved_is_named_and_the_rest_is_whole() {
    let spoil_segment = |dir: &Path| {
        // An octet in the second message, whose body has a thousand.
        let path = dir.join("segments/00000001.seg");
        let mut all = std::fs::read(&path).unwrap();
        let at = find(&all, &octets(1_000)[100..600]);
        all[at] ^= 1;
        std::fs::write(path, all).unwrap();
    };
    let shorten_file = |dir: &Path| {
        let file = std::fs::read_dir(dir.join("bodies")).unwrap().next().unwrap().unwrap().path();
        std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(1_000_000).unwrap();
    };
    let remove_row = |dir: &Path| {
        let conn = rusqlite::Connection::open(dir.join("store.db")).unwrap();
        conn.execute_batch("DELETE FROM body WHERE octets = 1000").unwrap();
    };
    type Damage<'a> = (&'a dyn Fn(&Path), &'a [&'a str], usize, bool);
    let damages: [Damage<'_>; 3] = [
        (
            &spoil_segment,
            &["message 2 of 1002 octets in INBOX (mailbox 1, account 1)", "message 4 of 1002"],
            2,
            true,
        ),
        (
            &shorten_file,
            &["message 4 of 1200002 octets in INBOX", "message 3 of 1200002 octets in Archive"],
            0,
            true,
        ),
        (&remove_row, &["message 2 of 1002 octets in INBOX", "message 4 of 1002"], 2, false),
    ];
    for (damage, texts, queued, kept) in damages {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), false).await;
        damage(dir.path());
        let report = Store::check(dir.path(), LOOK).unwrap();
        for text in texts {
            assert!(report.to_string().contains(text), "{report}");
        }
        assert_eq!(report.to_string().matches("of 1003 octets for \"").count(), queued, "{report}");
        let report = Store::check(dir.path(), REPAIR).unwrap();
        assert!(report.has_losses(), "{report}");
        assert_eq!(dir.path().join("lost").exists(), kept);
        let report = Store::check(dir.path(), LOOK).unwrap();
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.messages, 8 - texts.len() as u64);
        // The remaining are readable, as the picture reads all of them.
        let picture = look(dir.path()).await;
        assert_eq!(picture.matches("MessageRow").count(), 8 - texts.len());
        assert_eq!(picture.matches("QueueRow").count(), 4 - queued, "{picture}");
    }
}

#[tokio::test]
async fn a_hole_in_the_log_does_not_keep_the_rest_from_being_found() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), false).await;
    let path = dir.path().join("segments/00000001.seg");
    let mut all = std::fs::read(&path).unwrap();
    // Over the third message's body and the record behind it.
    let at = find(&all, &octets(20_000)[100..600]);
    all[at..at + 25_000].fill(0);
    std::fs::write(&path, all).unwrap();
    std::fs::remove_file(dir.path().join("store.db")).unwrap();
    let report = Store::check(dir.path(), REPAIR).unwrap();
    assert!(report.has_losses(), "{report}");
    let store = Store::open(options(dir.path())).unwrap();
    assert!(content(&store, MailboxId(1), Uid(2)).await.ends_with(&octets(1_000)));
    assert_eq!(store.get("account/1").unwrap().unwrap().value, b"secret");
    store.stop().await;
    assert!(Store::check(dir.path(), LOOK).unwrap().is_clean());
}

fn find(all: &[u8], part: &[u8]) -> usize {
    all.windows(part.len()).position(|window| window == part).unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_holds_all_that_was_answered_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (live, copy) = (dir.path().join("live"), dir.path().join("copy"));
    let store = Store::open(options(&live)).unwrap();
    let inbox = account_with_mailbox(&store, 1).await;
    deliver(&store, inbox, &octets(1_500_000)).await;
    let (stop, load) = (tokio_flag(), store.clone());
    let stopping = stop.clone();
    let task = tokio::spawn(async move {
        let mut count = 0u32;
        while !stopping.load(std::sync::atomic::Ordering::Relaxed) {
            let uid = deliver(&load, inbox, &octets(3_000 + count as usize)).await;
            if count % 3 == 2 {
                let uids = vec![Uid(uid.0 - 1)];
                load.commit(tx(vec![Op::Expunge { mailbox: inbox, uids }]), vec![]).await.unwrap();
            }
            if count % 20 == 19 {
                load.maintain().await;
            }
            count += 1;
        }
    });
    let mut last = 0;
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let before = store.mailbox(inbox).await.unwrap().unwrap();
        let copied = store.backup(&copy).await.unwrap();
        assert!(copied.files > 0);
        if round > 0 {
            assert!(copied.there_already > 0, "{copied:?}");
        }
        let restored = dir.path().join(format!("restored{round}"));
        Store::restore(&copy, &restored).unwrap();
        let report = Store::check(&restored, LOOK).unwrap();
        assert!(report.is_clean(), "round {round}: {report}");
        let there = Store::open(options(&restored)).unwrap();
        let after = there.mailbox(inbox).await.unwrap().unwrap();
        assert!(after.uid_next >= before.uid_next, "{after:?} {before:?}");
        assert!(after.uid_validity > before.uid_validity);
        assert!(after.highest_modseq > store.account(AccountId(1)).await.unwrap().unwrap().modseq);
        assert!(after.messages > last / 2, "{after:?}");
        last = after.messages;
        there.stop().await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    task.await.unwrap();
    // The copy follows what is removed, and is itself a store.
    store.commit(tx(vec![Op::RemoveMailbox(inbox)]), vec![]).await.unwrap();
    store.maintain().await;
    store.backup(&copy).await.unwrap();
    assert_eq!(files(&copy.join("segments")).len(), files(&live.join("segments")).len());
    let before = picture(&store).await;
    assert_eq!(look(&copy).await, before);
    // Another store's copy is not written over.
    let other = Store::temporary().unwrap();
    account_with_mailbox(&other, 1).await;
    assert!(other.backup(&copy).await.is_err());
    assert!(Store::restore(&copy, &live).is_err());
}

fn tokio_flag() -> std::sync::Arc<std::sync::atomic::AtomicBool> {
    std::sync::Arc::default()
}

#[tokio::test]
async fn one_mailbox_comes_back_out_of_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (live, copy) = (dir.path().join("live"), dir.path().join("copy"));
    make(&live, false).await;
    let store = Store::open(options(&live)).unwrap();
    store.backup(&copy).await.unwrap();
    let inbox = store.mailbox_named(AccountId(1), "INBOX").await.unwrap().unwrap().id;
    let rows = store.messages(inbox, None, 100).await.unwrap();
    let uids = rows.iter().map(|row| row.uid).collect();
    store.commit(tx(vec![Op::Expunge { mailbox: inbox, uids }]), vec![]).await.unwrap();
    let old = Store::open(options(&copy)).unwrap();
    let done = old.transfer(inbox, &store, inbox).await.unwrap();
    assert_eq!((done.messages, done.unreadable.len()), (3, 0));
    let back = store.messages(inbox, None, 100).await.unwrap();
    for (was, is) in rows.iter().zip(&back) {
        assert_eq!((was.flags, was.received_at, was.size), (is.flags, is.received_at, is.size));
        assert_eq!(content(&old, inbox, was.uid).await, content(&store, inbox, is.uid).await);
        assert_eq!(store.card(is).await.unwrap(), "card");
    }
    // Into itself it ends, too.
    assert_eq!(store.transfer(inbox, &store, inbox).await.unwrap().messages, 3);
    assert_eq!(store.mailbox(inbox).await.unwrap().unwrap().messages, 6);
}

#[tokio::test]
async fn a_missing_segment_costs_what_was_in_it_and_no_more() {
    for missing in ["00000002.seg", "last"] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(options(dir.path())).unwrap();
        let inbox = account_with_mailbox(&store, 1).await;
        for size in 0..20 {
            deliver(&store, inbox, &octets(20_000 + size)).await;
        }
        store.stop().await;
        drop(store);
        let mut segments = files(&dir.path().join("segments"));
        segments.sort();
        let gone = match missing {
            "last" => segments.last().unwrap().clone(),
            name => dir.path().join("segments").join(name),
        };
        std::fs::remove_file(gone).unwrap();
        assert!(!Store::check(dir.path(), LOOK).unwrap().is_clean());
        let report = Store::check(dir.path(), REPAIR).unwrap();
        assert!(report.has_losses(), "{report}");
        let again = Store::check(dir.path(), LOOK).unwrap();
        assert!(again.is_clean(), "{again}");
        // Three messages fit into a segment.
        assert!((17..20).contains(&again.messages), "{report}");
        let store = Store::open(options(dir.path())).unwrap();
        assert_eq!(picture(&store).await.matches("MessageRow").count() as u64, again.messages);
        // It goes on: with UIDs never given before when the database was whole.
        let uid = deliver(&store, inbox, b"next").await;
        assert!(missing == "last" || uid == Uid(21), "{uid}");
        store.stop().await;
        assert!(Store::check(dir.path(), LOOK).unwrap().is_clean());
    }
}

#[tokio::test]
async fn damaged_octets_are_never_handed_out_as_a_message() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), false).await;
    let spoil = |path: PathBuf, size: usize| {
        let mut all = std::fs::read(&path).unwrap();
        let at = find(&all, &octets(size)[size - 300..]);
        all[at + 150] ^= 4;
        std::fs::write(path, all).unwrap();
    };
    spoil(dir.path().join("segments/00000001.seg"), 1_000);
    spoil(files(&dir.path().join("bodies")).remove(0), 1_200_000);
    let store = Store::open(options(dir.path())).unwrap();
    let inbox = store.mailbox_named(AccountId(1), "INBOX").await.unwrap().unwrap().id;
    for (uid, max) in [(2, 100), (2, 100_000), (4, 100_000)] {
        let row = store.message(inbox, Uid(uid)).await.unwrap().unwrap();
        let reader = store.open_message(&row).await.unwrap();
        let mut at = 0;
        let error = loop {
            match reader.read(at, max).await {
                Ok(piece) if piece.is_empty() => panic!("message {uid} was handed out whole"),
                Ok(piece) => at += piece.len() as u64,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, packetboat_store::ReadError::Damaged { .. }), "{error:?}");
        // Of a small one nothing is handed out; of a large one, not its end.
        assert!(at < row.size && (uid != 2 || at <= 2), "{at}");
    }
    assert!(content(&store, inbox, Uid(3)).await.ends_with(&octets(20_000)));
}

#[test]
fn the_sqlite_built_in_has_no_wal_reset_bug() {
    // SQLite 3.7.0 to 3.51.2 can lose commits when a checkpoint meets a reset of the write-ahead log.
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}
