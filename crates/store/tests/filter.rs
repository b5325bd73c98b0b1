//! The search filter through the handle: what becomes of it with accounts, bodies, copies and repairs.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{account_with_mailbox, deliver, tx};
use packetboat_store::{AccountId, Check, Grams, MailboxId, Op, Options, Signature, Store, Uid, grams};

const ACCOUNT: AccountId = AccountId(1);

fn options(dir: &Path) -> Options {
    Options { grace: Duration::ZERO, maintenance: false, ..Options::new(dir) }
}

fn sign(text: &str) -> Signature {
    let mut grams = Grams::default();
    grams.text(text.as_bytes());
    grams.finish()
}

/// A mailbox whose messages are all in the filter, and their bodies.
async fn filled(store: &Store, count: u32) -> (MailboxId, Vec<u128>) {
    let inbox = account_with_mailbox(store, ACCOUNT.0).await;
    let text = |uid: u32| format!("message {uid} of them all");
    for uid in 1..=count {
        deliver(store, inbox, text(uid).as_bytes()).await;
    }
    let rows = store.messages(inbox, None, 1_000).await.unwrap();
    let bodies: Vec<u128> = rows.iter().map(|row| row.body).collect();
    assert_eq!(store.filter_unknown(ACCOUNT, &bodies).await, bodies);
    let signatures = rows.iter().map(|row| (row.body, sign(&text(row.uid.0)))).collect();
    store.filter_add(ACCOUNT, signatures).await;
    assert!(works(store, &bodies).await);
    (inbox, bodies)
}

async fn works(store: &Store, bodies: &[u128]) -> bool {
    let sought: Vec<u32> = grams(b"message 7 of").collect();
    let candidates = store.filter_query(ACCOUNT, &sought).await;
    assert!(candidates.may_contain(bodies[6]));
    let known = store.filter_unknown(ACCOUNT, bodies).await.is_empty();
    assert_eq!(known, !candidates.may_contain(bodies[0]));
    known
}

fn files(dir: &Path) -> usize {
    let accounts = std::fs::read_dir(dir.join("filter")).into_iter().flatten();
    accounts.flat_map(|entry| std::fs::read_dir(entry.unwrap().path()).into_iter().flatten()).count()
}

#[tokio::test]
async fn it_is_there_after_a_start_and_goes_with_its_account() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    let (_, bodies) = filled(&store, 10).await;
    store.stop().await;
    drop(store);
    let store = Store::open(options(dir.path())).unwrap();
    assert!(works(&store, &bodies).await);
    store.maintain().await;
    assert!(works(&store, &bodies).await);
    store.commit(tx(vec![Op::RemoveAccount(ACCOUNT)]), vec![]).await.unwrap();
    store.maintain().await;
    assert_eq!(files(dir.path()), 0);
    // What comes late for an account that is gone leaves nothing.
    store.filter_add(ACCOUNT, vec![(bodies[0], sign("late"))]).await;
    assert_eq!(files(dir.path()), 0);
    assert_eq!(store.filter_unknown(ACCOUNT, &bodies).await, bodies);
}

#[tokio::test]
async fn bodies_nobody_has_are_tidied_away() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    let (inbox, bodies) = filled(&store, 60).await;
    let expunge = |uids: std::ops::RangeInclusive<u32>| {
        tx(vec![Op::Expunge { mailbox: inbox, uids: uids.map(Uid).collect() }])
    };
    store.commit(expunge(11..=35), vec![]).await.unwrap();
    // Bodies are reaped, and then the filter finds that they are.
    for _ in 0..2 {
        store.maintain().await;
    }
    assert!(works(&store, &bodies[..10]).await, "most are still there");
    store.commit(expunge(36..=50), vec![]).await.unwrap();
    for _ in 0..2 {
        store.maintain().await;
    }
    assert!(!works(&store, &bodies[..10]).await, "most are gone, so the file went");
    assert_eq!(files(dir.path()), 0);
}

#[tokio::test]
async fn copies_and_repairs_begin_without_it() {
    let (dir, copy, restored) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(options(dir.path())).unwrap();
    let (_, bodies) = filled(&store, 10).await;
    store.backup(copy.path()).await.unwrap();
    assert!(!copy.path().join("filter").exists());
    store.stop().await;
    drop(store);
    Store::restore(copy.path(), restored.path()).unwrap();
    let other = Store::open(options(restored.path())).unwrap();
    assert!(!works(&other, &bodies).await);
    drop(other);

    // A copy that was served has a filter of its own life, which ends when it becomes a copy again.
    let served = Store::open(options(copy.path())).unwrap();
    served.filter_add(ACCOUNT, bodies.iter().map(|body| (*body, sign("message 7 of"))).collect()).await;
    assert_eq!(files(copy.path()), 1);
    drop(served);
    let store = Store::open(options(dir.path())).unwrap();
    store.backup(copy.path()).await.unwrap();
    assert_eq!(files(copy.path()), 0);
    assert!(works(&store, &bodies).await);
    drop(store);

    assert!(Store::check(dir.path(), Check { deep: true, repair: true }).unwrap().is_clean());
    assert_eq!(files(dir.path()), 1);
    Store::rebuild(dir.path()).unwrap();
    assert_eq!(files(dir.path()), 0);
    let store = Store::open(options(dir.path())).unwrap();
    assert!(!works(&store, &bodies).await);
}

#[tokio::test]
async fn rubbish_in_its_place_disturbs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    let (_, bodies) = filled(&store, 10).await;
    drop(store);
    let accounts = dir.path().join("filter");
    for entry in std::fs::read_dir(accounts.join(format!("{:016x}", ACCOUNT.0))).unwrap() {
        let path = entry.unwrap().path();
        std::fs::write(path.with_file_name("rubbish"), b"rubbish").unwrap();
        std::fs::write(path, b"rubbish").unwrap();
    }
    std::fs::write(accounts.join("rubbish"), b"").unwrap();
    assert!(Store::check(dir.path(), Check { deep: true, repair: false }).unwrap().is_clean());
    let store = Store::open(options(dir.path())).unwrap();
    store.maintain().await;
    assert!(!works(&store, &bodies).await);
    assert_eq!(files(dir.path()), 0);
}
