//! The handle as its callers use it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{account_with_mailbox, add, body, content, octets, tx};
use packetboat_store::{
    AccountId, BodySource, FlagChange, Flags, ModSeq, Op, OpResult, Options, ReadError, Require, Store, Tx,
    TxError, TxId, Uid,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_all_sizes_come_back_also_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(Options::new(dir.path())).unwrap();
    let inbox = account_with_mailbox(&store, 7).await;
    let sizes = [0usize, 1, 4_000, 65_536, 65_537, 300_000, 1 << 20, (1 << 20) + 1, 5_000_000];
    for size in sizes {
        let body = body(&store, &octets(size)).await;
        store.commit(tx(vec![add(inbox, BodySource::New(0), "P\r\n")]), vec![body]).await.unwrap();
    }
    for _ in 0..2 {
        for (index, size) in sizes.into_iter().enumerate() {
            let whole = content(&store, inbox, Uid(index as u32 + 1)).await;
            assert_eq!(&whole[..3], b"P\r\n");
            assert!(whole[3..] == octets(size)[..], "{size}");
        }
        store.stop().await;
        store = Store::open(Options::new(dir.path())).unwrap();
    }
    let files = |name: &str| std::fs::read_dir(dir.path().join(name)).unwrap().count();
    assert_eq!((files("incoming"), files("bodies")), (0, 2));
    let row = store.account(AccountId(7)).await.unwrap().unwrap();
    assert_eq!(row.messages, sizes.len() as u64);
    assert_eq!(row.used_octets, sizes.iter().map(|size| *size as u64 + 3).sum::<u64>());
}

#[tokio::test]
async fn a_body_dropped_or_refused_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path())).unwrap();
    let inbox = account_with_mailbox(&store, 7).await;
    drop(body(&store, &octets(3_000_000)).await);
    let refused = Tx {
        require: vec![Require::Room { account: AccountId(7), octets: 1, limit: 0 }],
        ..tx(vec![add(inbox, BodySource::New(0), "")])
    };
    let answer = store.commit(refused, vec![body(&store, &octets(3_000_000)).await]).await;
    assert_eq!(answer, Err(TxError::Failed(0)));
    let files = |name: &str| std::fs::read_dir(dir.path().join(name)).unwrap().count();
    assert_eq!((files("incoming"), files("bodies")), (0, 0));
}

#[tokio::test]
async fn operations_see_each_other_and_a_failure_undoes_all() {
    let store = Store::temporary().unwrap();
    let inbox = account_with_mailbox(&store, 1).await;
    let other = account_with_mailbox(&store, 2).await;
    let one = body(&store, b"hello").await;
    let receipt = store
        .commit(
            tx(vec![
                add(inbox, BodySource::New(0), "a"),
                add(other, BodySource::New(0), "bb"),
                Op::Copy { from: inbox, uids: vec![Uid(1), Uid(9)], to: inbox },
                Op::SetFlags {
                    mailbox: inbox,
                    uids: vec![Uid(2)],
                    change: FlagChange::Add(Flags::SEEN),
                    keywords: vec![],
                    unchanged_since: None,
                },
                Op::Expunge { mailbox: inbox, uids: vec![Uid(1), Uid(5)] },
                Op::Put { key: "k/1".into(), value: b"v".to_vec() },
                Op::Put { key: "k/1".into(), value: b"w".to_vec() },
            ]),
            vec![one],
        )
        .await
        .unwrap();
    assert_eq!(
        receipt.results,
        [
            OpResult::Added(Uid(1), ModSeq(2)),
            OpResult::Added(Uid(1), ModSeq(2)),
            OpResult::Copied(vec![(Uid(1), Uid(2))]),
            OpResult::Flagged { changed: vec![Uid(2)], modified: vec![], modseq: ModSeq(4) },
            OpResult::Changed(vec![Uid(1)], ModSeq(5)),
            OpResult::Version(1),
            OpResult::Version(2),
        ]
    );
    assert_eq!(content(&store, inbox, Uid(2)).await, b"ahello");
    assert_eq!(content(&store, other, Uid(1)).await, b"bbhello");
    let before = store.mailbox(inbox).await.unwrap().unwrap();
    assert_eq!((before.messages, before.octets, before.uid_next), (1, 6, Uid(3)));

    let failing = store
        .commit(
            tx(vec![
                Op::Expunge { mailbox: inbox, uids: vec![Uid(2)] },
                Op::Put { key: "k/1".into(), value: b"x".to_vec() },
                add(inbox, BodySource::Stored(99), ""),
            ]),
            vec![],
        )
        .await;
    assert_eq!(failing, Err(TxError::Gone(2)));
    assert_eq!(store.mailbox(inbox).await.unwrap().unwrap(), before);
    assert_eq!(store.get("k/1").unwrap().unwrap().value, b"w");
}

#[tokio::test]
async fn the_same_transaction_again_answers_and_does_nothing() {
    let store = Store::temporary().unwrap();
    let inbox = account_with_mailbox(&store, 1).await;
    let again = Tx { id: Some(TxId(5)), ..tx(vec![add(inbox, BodySource::New(0), "")]) };
    let first = store.commit(again.clone(), vec![body(&store, b"x").await]).await.unwrap();
    let second = store.commit(again, vec![body(&store, b"x").await]).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(store.mailbox(inbox).await.unwrap().unwrap().messages, 1);
}

#[tokio::test]
async fn watchers_are_told_and_a_listing_outlives_what_it_lists() {
    let store = Store::temporary().unwrap();
    let inbox = account_with_mailbox(&store, 1).await;
    let mut watch = store.watch(AccountId(1));
    assert_eq!(*watch.borrow_and_update(), ModSeq(1));
    store
        .commit(tx(vec![add(inbox, BodySource::New(0), "p")]), vec![body(&store, b"x").await])
        .await
        .unwrap();
    watch.changed().await.unwrap();
    assert_eq!(*watch.borrow_and_update(), ModSeq(2));
    let rows = store.messages(inbox, None, 1_000).await.unwrap();
    let reader = store.open_message(&rows[0]).await.unwrap();
    store.commit(tx(vec![Op::RemoveMailbox(inbox)]), vec![]).await.unwrap();
    assert_eq!(reader.read(0, 100).await.unwrap(), "px");
    assert_eq!(store.open_message(&rows[0]).await.unwrap_err(), ReadError::Gone);
    assert_eq!(*watch.borrow_and_update(), ModSeq(3));
    assert_eq!(store.mailboxes(AccountId(1)).await.unwrap(), []);
    assert_eq!(store.account(AccountId(1)).await.unwrap().unwrap().messages, 0);
}

#[tokio::test]
async fn entries_by_prefix_and_names() {
    let store = Store::temporary().unwrap();
    let keys = ["a/1", "a/2", "a/3", "ab", "b/1"];
    let ops = keys.iter().map(|key| Op::Put { key: (*key).into(), value: vec![1] }).collect();
    store.commit(tx(ops), vec![]).await.unwrap();
    let found = |after: Option<&'static str>, limit| {
        let store = store.clone();
        async move {
            let entries = store.scan("a/", after, limit).await.unwrap();
            entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>()
        }
    };
    assert_eq!(found(None, 10).await, ["a/1", "a/2", "a/3"]);
    assert_eq!(found(Some("a/1"), 1).await, ["a/2"]);
    assert_eq!(store.get("a/4").unwrap(), None);
    store.commit(tx(vec![Op::Put { key: "a/4".into(), value: vec![] }]), vec![]).await.unwrap();
    assert_eq!(store.get("a/4").unwrap().unwrap().version, 1);
    let wrong = Tx {
        require: vec![Require::KeyVersion { key: "a/4".into(), version: None }],
        ..tx(vec![Op::Remove { key: "a/1".into() }])
    };
    assert_eq!(store.commit(wrong, vec![]).await, Err(TxError::Failed(0)));
    store.commit(tx(vec![Op::Remove { key: "a/4".into() }]), vec![]).await.unwrap();
    assert_eq!(store.get("a/4").unwrap(), None);
    let inbox = account_with_mailbox(&store, 1).await;
    assert_eq!(store.mailbox_named(AccountId(1), "INBOX").await.unwrap().unwrap().id, inbox);
    assert_eq!(store.mailbox_named(AccountId(1), "inbox").await.unwrap(), None);
}

#[tokio::test]
async fn a_second_owner_is_told_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    let _store = Store::open(Options::new(dir.path())).unwrap();
    let error = Store::open(Options::new(dir.path())).unwrap_err().to_string();
    assert!(error.contains(&std::process::id().to_string()), "{error}");
}

#[tokio::test]
async fn a_full_disk_refuses_to_grow_and_still_removes() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = {
        let store = Store::open(Options::new(dir.path())).unwrap();
        let inbox = account_with_mailbox(&store, 1).await;
        store
            .commit(tx(vec![add(inbox, BodySource::New(0), "p")]), vec![body(&store, b"x").await])
            .await
            .unwrap();
        inbox
    };
    let store = Store::open(Options { disk_floor: u64::MAX, ..Options::new(dir.path()) }).unwrap();
    let answer =
        store.commit(tx(vec![add(inbox, BodySource::New(0), "")]), vec![body(&store, b"x").await]).await;
    assert_eq!(answer, Err(TxError::DiskFull));
    store.commit(tx(vec![Op::Expunge { mailbox: inbox, uids: vec![Uid(1)] }]), vec![]).await.unwrap();
    assert_eq!(store.mailbox(inbox).await.unwrap().unwrap().messages, 0);
}

#[tokio::test]
async fn a_body_whose_writing_was_given_up_is_not_committed() {
    use std::future::Future;
    let store = Store::temporary().unwrap();
    let inbox = account_with_mailbox(&store, 1).await;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut body = loop {
        let mut body = body(&store, &octets(1_500_000)).await;
        // The disk may be as quick as to be done when it is asked for the first time: then once more.
        let pending = std::pin::pin!(body.write(octets(600_000).into())).poll(&mut context).is_pending();
        if pending {
            break body;
        }
    };
    assert!(body.write(octets(1).into()).await.is_err());
    let answer = store.commit(tx(vec![add(inbox, BodySource::New(0), "")]), vec![body]).await;
    assert!(matches!(answer, Err(TxError::Stopped(_))), "{answer:?}");
    // Only that body is of no use.
    common::deliver(&store, inbox, b"x").await;
}

#[tokio::test]
async fn nobody_else_looks_into_a_store() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (live, copy) = (dir.path().join("live"), dir.path().join("copy"));
    let store = Store::open(Options::new(&live)).unwrap();
    account_with_mailbox(&store, 1).await;
    store.backup(&copy).await.unwrap();
    for dir in [live, copy] {
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700, "{}", dir.display());
    }
}
