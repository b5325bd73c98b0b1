//! The promises one by one.

use std::collections::BTreeSet;

use super::{Embedded, Place, add, body, content, deliver, inbox, put, requiring, run, tx};
use crate::tx::{BodySource, FlagChange, Op, OpResult, Require, Tx, TxError, TxId};
use crate::{AccountId, Flags, MailboxId, ModSeq, ReadError, Uid};

promises!(
    durable_what_was_answered_is_there_after_opening_again,
    atomic_a_failure_anywhere_leaves_nothing,
    outcome_known_the_same_id_answers_and_does_nothing,
    one_counter_concurrent_changes_take_each_number_once,
    counters_are_true_under_concurrency,
    preconditions_decide_between_rivals,
    room_is_never_oversold,
    places_are_never_oversold,
    bounded_pages_and_transactions,
    watchers_see_the_last_change,
    a_body_lives_as_long_as_someone_has_it,
    a_reader_reads_on,
    names_are_unique_and_validity_grows,
    flags_change_as_told,
);

async fn durable_what_was_answered_is_there_after_opening_again(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    let large = vec![7; 1_500_000];
    deliver(&store, inbox, b"small").await.unwrap();
    deliver(&store, inbox, &large).await.unwrap();
    store
        .commit(tx(vec![put("a", b"1"), put("b", b"2"), Op::Remove { key: "a".into() }]), vec![])
        .await
        .unwrap();
    let before = store.mailboxes(AccountId(1)).await.unwrap();
    for _ in 0..2 {
        store.stop().await;
        let store = place.open();
        assert_eq!(store.mailboxes(AccountId(1)).await.unwrap(), before);
        assert_eq!(content(&store, inbox, Uid(1)).await, b"prefix small");
        let row = store.message(inbox, Uid(1)).await.unwrap().unwrap();
        assert_eq!(store.card(&row).await.unwrap(), "card");
        assert_eq!(content(&store, inbox, Uid(2)).await[7..], large);
        assert_eq!(store.get("a").unwrap(), None);
        assert_eq!(store.get("b").unwrap().unwrap().value, b"2");
        store.stop().await;
    }
}

async fn atomic_a_failure_anywhere_leaves_nothing(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    deliver(&store, inbox, b"one").await.unwrap();
    let nobody = MailboxId(999);
    let failures = [
        (add(nobody, BodySource::New(0)), TxError::Gone(5)),
        (add(inbox, BodySource::New(1)), TxError::Gone(5)),
        (add(inbox, BodySource::Stored(12345)), TxError::Gone(5)),
        (Op::CreateAccount(AccountId(1)), TxError::Exists(5)),
        (Op::RemoveAccount(AccountId(77)), TxError::Gone(5)),
        (
            Op::CreateMailbox {
                account: AccountId(1),
                name: "INBOX".into(),
                special_use: None,
                uid_validity: None,
            },
            TxError::Exists(5),
        ),
        (
            Op::CreateMailbox {
                account: AccountId(77),
                name: "x".into(),
                special_use: None,
                uid_validity: None,
            },
            TxError::Gone(5),
        ),
        (Op::RenameMailbox { mailbox: inbox, name: "INBOX".into() }, TxError::Exists(5)),
        (Op::RenameMailbox { mailbox: nobody, name: "y".into() }, TxError::Gone(5)),
        (Op::RemoveMailbox(nobody), TxError::Gone(5)),
        (Op::Copy { from: inbox, uids: vec![Uid(1)], to: nobody }, TxError::Gone(5)),
        (Op::Copy { from: nobody, uids: vec![], to: inbox }, TxError::Gone(5)),
        (
            Op::SetFlags {
                mailbox: nobody,
                uids: vec![],
                change: FlagChange::Add(Flags::SEEN),
                keywords: vec![],
                unchanged_since: None,
            },
            TxError::Gone(5),
        ),
        (Op::Expunge { mailbox: nobody, uids: vec![] }, TxError::Gone(5)),
        (Op::ExpungeDeleted { mailbox: nobody, uids: vec![] }, TxError::Gone(5)),
    ];
    let before = (store.account(AccountId(1)).await.unwrap(), store.mailboxes(AccountId(1)).await.unwrap());
    for (failing, error) in failures {
        let ops = vec![
            put("k", b"v"),
            add(inbox, BodySource::New(0)),
            Op::SetFlags {
                mailbox: inbox,
                uids: vec![Uid(1)],
                change: FlagChange::Add(Flags::SEEN),
                keywords: vec![],
                unchanged_since: None,
            },
            Op::CreateMailbox {
                account: AccountId(1),
                name: "New".into(),
                special_use: None,
                uid_validity: None,
            },
            Op::Expunge { mailbox: inbox, uids: vec![Uid(1)] },
            failing.clone(),
        ];
        let answer = store.commit(tx(ops), vec![body(&store, b"two").await]).await;
        assert_eq!(answer, Err(error), "{failing:?}");
        let after =
            (store.account(AccountId(1)).await.unwrap(), store.mailboxes(AccountId(1)).await.unwrap());
        assert_eq!(after, before, "{failing:?}");
        assert_eq!(store.get("k").unwrap(), None);
    }
    // Numbers were not used up either.
    let receipt = deliver(&store, inbox, b"two").await.unwrap();
    assert_eq!(receipt.results, [OpResult::Added(Uid(2), ModSeq(3))]);
    assert_eq!(content(&store, inbox, Uid(1)).await, b"prefix one");
}

async fn outcome_known_the_same_id_answers_and_does_nothing(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    let with_id = |id| Tx { id: Some(TxId(id)), ..tx(vec![add(inbox, BodySource::New(0)), put("k", b"v")]) };
    // All at the same time, as after a broken connection.
    let mut tasks = Vec::new();
    for _ in 0..10 {
        let (store, tx) = (store.clone(), with_id(7));
        tasks.push(tokio::spawn(async move {
            let body = body(&store, b"once").await;
            store.commit(tx, vec![body]).await.unwrap()
        }));
    }
    let mut receipts = Vec::new();
    for task in tasks {
        receipts.push(task.await.unwrap());
    }
    assert!(receipts.iter().all(|receipt| *receipt == receipts[0]), "{receipts:?}");
    store.stop().await;
    let store = place.open();
    assert_eq!(store.commit(with_id(7), vec![body(&store, b"once").await]).await.as_ref(), Ok(&receipts[0]));
    assert_eq!(store.mailbox(inbox).await.unwrap().unwrap().messages, 1);
    // One that failed did nothing, so it may be tried again and then succeed.
    let missing =
        |id| Tx { require: vec![Require::KeyVersion { key: "k2".into(), version: Some(1) }], ..with_id(id) };
    assert_eq!(store.commit(missing(8), vec![body(&store, b"x").await]).await, Err(TxError::Failed(0)));
    store.commit(tx(vec![put("k2", b"")]), vec![]).await.unwrap();
    store.commit(missing(8), vec![body(&store, b"x").await]).await.unwrap();
    assert_eq!(store.mailbox(inbox).await.unwrap().unwrap().messages, 2);
}

async fn one_counter_concurrent_changes_take_each_number_once(place: &impl Place) {
    let store = place.open();
    let first = inbox(&store, 1).await;
    let second = Op::CreateMailbox {
        account: AccountId(1),
        name: "Second".into(),
        special_use: None,
        uid_validity: None,
    };
    let receipt = store.commit(tx(vec![second]), vec![]).await.unwrap();
    let [OpResult::Mailbox(second, _)] = receipt.results[..] else { panic!() };
    let mut tasks = Vec::new();
    for number in 0..40 {
        let store = store.clone();
        let mailbox = if number % 2 == 0 { first } else { second };
        tasks.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            for _ in 0..10 {
                match deliver(&store, mailbox, b"x").await.unwrap().results[..] {
                    [OpResult::Added(uid, modseq)] => taken.push((mailbox, uid, modseq)),
                    _ => panic!(),
                }
            }
            taken
        }));
    }
    let (mut uids, mut modseqs) = (BTreeSet::new(), BTreeSet::new());
    for task in tasks {
        for (mailbox, uid, modseq) in task.await.unwrap() {
            assert!(uids.insert((mailbox, uid)), "{uid} twice");
            assert!(modseqs.insert(modseq), "{modseq} twice");
        }
    }
    assert_eq!(modseqs, (3..403).map(ModSeq).collect());
    assert_eq!(store.account(AccountId(1)).await.unwrap().unwrap().modseq, ModSeq(402));
    for mailbox in [first, second] {
        let rows = store.messages(mailbox, None, 1_000).await.unwrap();
        assert_eq!(rows.len(), 200);
        // Later in the mailbox is later in the account.
        assert!(rows.windows(2).all(|pair| pair[0].uid < pair[1].uid && pair[0].modseq < pair[1].modseq));
        let highest = rows.iter().map(|row| row.modseq).max();
        assert_eq!(Some(store.mailbox(mailbox).await.unwrap().unwrap().highest_modseq), highest);
    }
}

async fn counters_are_true_under_concurrency(place: &impl Place) {
    let store = place.open();
    let mut mailboxes = Vec::new();
    for account in 1..=3 {
        mailboxes.push(inbox(&store, account).await);
    }
    let mut tasks = Vec::new();
    for task in 0..12usize {
        let (store, mailboxes) = (store.clone(), mailboxes.clone());
        tasks.push(tokio::spawn(async move {
            for round in 0..15 {
                let here = mailboxes[(task + round) % 3];
                let there = mailboxes[(task * 5 + round) % 3];
                let uids = (1..=round as u32).map(Uid).collect::<Vec<_>>();
                let ops = match (task + round) % 4 {
                    0 => vec![Op::Copy { from: here, uids, to: there }],
                    1 => vec![Op::Expunge { mailbox: here, uids }],
                    _ => {
                        let body = body(&store, &vec![1; round * 100]).await;
                        let ops = vec![add(here, BodySource::New(0)), add(there, BodySource::New(0))];
                        store.commit(tx(ops), vec![body]).await.unwrap();
                        continue;
                    }
                };
                store.commit(tx(ops), vec![]).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for (account, mailbox) in (1..=3).zip(mailboxes) {
        let rows = store.messages(mailbox, None, 100_000).await.unwrap();
        let row = store.mailbox(mailbox).await.unwrap().unwrap();
        assert_eq!(row.messages as usize, rows.len());
        assert_eq!(row.octets, rows.iter().map(|row| row.size).sum::<u64>());
        let account = store.account(AccountId(account)).await.unwrap().unwrap();
        assert_eq!((account.messages, account.used_octets), (u64::from(row.messages), row.octets));
        for row in rows {
            assert_eq!(content(&store, mailbox, row.uid).await.len() as u64, row.size);
        }
    }
}

async fn preconditions_decide_between_rivals(place: &impl Place) {
    let store = place.open();
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let mut won = 0;
            while won < 10 {
                let entry = store.get("count").unwrap();
                let version = entry.as_ref().map(|entry| entry.version);
                let count = entry.map_or(0, |entry| u64::from_le_bytes(entry.value.try_into().unwrap()));
                let require = vec![Require::KeyVersion { key: "count".into(), version }];
                let change = requiring(require, vec![put("count", &(count + 1).to_le_bytes())]);
                match store.commit(change, vec![]).await {
                    Ok(_) => won += 1,
                    Err(TxError::Failed(0)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let entry = store.get("count").unwrap().unwrap();
    assert_eq!((entry.value, entry.version), (80u64.to_le_bytes().to_vec(), 80));
    let inbox = inbox(&store, 1).await;
    let ops = vec![add(inbox, BodySource::New(0)), add(inbox, BodySource::New(0))];
    store.commit(tx(ops), vec![body(&store, b"x").await]).await.unwrap();
    for (require, holds) in [
        (Require::Account(AccountId(1)), true),
        (Require::Account(AccountId(2)), false),
        (Require::Mailbox(inbox), true),
        (Require::Mailbox(MailboxId(99)), false),
        (Require::Messages { mailbox: inbox, uids: vec![Uid(2), Uid(1), Uid(2)] }, true),
        (Require::Messages { mailbox: inbox, uids: vec![Uid(1), Uid(3)] }, false),
        (Require::Messages { mailbox: MailboxId(99), uids: vec![Uid(1)] }, false),
        (Require::KeyVersion { key: "none".into(), version: None }, true),
        (Require::KeyVersion { key: "count".into(), version: None }, false),
        (Require::KeyVersion { key: "count".into(), version: Some(79) }, false),
        (Require::Room { account: AccountId(2), octets: 0, limit: 9 }, false),
        (Require::Places { account: AccountId(1), messages: 1, limit: 3 }, true),
        (Require::Places { account: AccountId(1), messages: 2, limit: 3 }, false),
        (Require::Places { account: AccountId(1), messages: u64::MAX, limit: 3 }, false),
        (Require::Places { account: AccountId(2), messages: 0, limit: 9 }, false),
    ] {
        let answer = store.commit(requiring(vec![require.clone()], vec![]), vec![]).await;
        assert_eq!(answer.is_ok(), holds, "{require:?}");
    }
}

async fn room_is_never_oversold(place: &impl Place) {
    let account = AccountId(1);
    oversell(place, &Require::Room { account, octets: 107, limit: 1_075 }).await;
}

async fn places_are_never_oversold(place: &impl Place) {
    oversell(place, &Require::Places { account: AccountId(1), messages: 1, limit: 10 }).await;
}

/// Adds thirty messages where ten may be.
async fn oversell(place: &impl Place, room: &Require) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    let mut tasks = Vec::new();
    for _ in 0..30 {
        let (store, room) = (store.clone(), room.clone());
        tasks.push(tokio::spawn(async move {
            let body = body(&store, &[b'x'; 100]).await;
            store
                .commit(requiring(vec![room], vec![add(inbox, BodySource::New(0))]), vec![body])
                .await
                .is_ok()
        }));
    }
    let mut accepted = 0;
    for task in tasks {
        accepted += usize::from(task.await.unwrap());
    }
    assert_eq!(accepted, 10);
    assert_eq!(store.account(AccountId(1)).await.unwrap().unwrap().used_octets, 1_070);
}

async fn bounded_pages_and_transactions(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    for _ in 0..3 {
        let ops = (0..150).map(|_| add(inbox, BodySource::New(0))).collect();
        store.commit(tx(ops), vec![body(&store, b"x").await]).await.unwrap();
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.messages(inbox, after, 200).await.unwrap();
        assert!(page.len() <= 200);
        let Some(last) = page.last() else { break };
        after = Some(last.uid);
        seen.extend(page.iter().map(|row| row.uid.0));
    }
    assert_eq!(seen, (1..=450).collect::<Vec<_>>());
    assert_eq!(store.messages(inbox, None, 400).await.unwrap().len(), 400);
    assert_eq!(store.messages(inbox, Some(Uid(440)), 400).await.unwrap().len(), 10);

    let huge = "x".repeat(70_000);
    for op in [
        put(&huge, b""),
        put("k", &vec![0; (1 << 20) + 1]),
        Op::CreateMailbox {
            account: AccountId(1),
            name: huge.clone(),
            special_use: None,
            uid_validity: None,
        },
        Op::AddMessage(crate::AddMessage {
            mailbox: inbox,
            body: BodySource::New(0),
            prefix: huge.clone().into(),
            card: bytes::Bytes::new(),
            flags: Flags::NONE,
            received_at: 0,
            keywords: vec![],
            uid: None,
        }),
        Op::Expunge { mailbox: inbox, uids: vec![Uid(1); 1_000_001] },
    ] {
        let answer = store.commit(tx(vec![put("fine", b""), op]), vec![body(&store, b"x").await]).await;
        assert_eq!(answer, Err(TxError::TooLarge(1)));
    }
    let many = (0..40).map(|key| put(&key.to_string(), &vec![0; 1 << 20])).collect();
    assert!(matches!(store.commit(tx(many), vec![]).await, Err(TxError::TooLarge(_))));
    assert_eq!(store.get("fine").unwrap(), None);
}

async fn watchers_see_the_last_change(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    let other = super::inbox(&store, 2).await;
    let mut watchers: Vec<_> = (0..5).map(|_| store.watch(AccountId(1))).collect();
    let quiet = store.watch(AccountId(3));
    let waiting: Vec<_> = watchers
        .drain(..)
        .map(|mut watch| {
            let mut last = *watch.borrow_and_update();
            assert_eq!(last, ModSeq(1));
            tokio::spawn(async move {
                while last < ModSeq(101) {
                    watch.changed().await.unwrap();
                    let now = *watch.borrow_and_update();
                    assert!(now > last, "{now} after {last}");
                    last = now;
                }
                last
            })
        })
        .collect();
    for _ in 0..50 {
        deliver(&store, inbox, b"x").await.unwrap();
        deliver(&store, other, b"x").await.unwrap();
        let flags = Op::SetFlags {
            mailbox: inbox,
            uids: vec![Uid(1)],
            change: FlagChange::Replace(Flags::NONE),
            keywords: vec![],
            unchanged_since: None,
        };
        let seen = Op::SetFlags {
            mailbox: inbox,
            uids: vec![Uid(1)],
            change: FlagChange::Add(Flags::SEEN),
            keywords: vec![],
            unchanged_since: None,
        };
        // Nothing changes by the first of the two the first time: it takes no number then.
        store.commit(tx(vec![flags, seen]), vec![]).await.unwrap();
    }
    for task in waiting {
        assert!(task.await.unwrap() >= ModSeq(101));
    }
    assert!(!quiet.has_changed().unwrap());
    // Who comes later is told where things stand, and who left costs nothing.
    let late = store.watch(AccountId(1));
    let account = store.account(AccountId(1)).await.unwrap().unwrap();
    assert_eq!(*late.borrow(), account.modseq);
    for account in 10..5_000 {
        drop(store.watch(AccountId(account)));
    }
}

async fn a_body_lives_as_long_as_someone_has_it(place: &impl Place) {
    let store = place.open();
    let first = inbox(&store, 1).await;
    let second = inbox(&store, 2).await;
    for octets in [vec![3; 1_000], vec![4; 1_200_000]] {
        let both = vec![add(first, BodySource::New(0)), add(second, BodySource::New(0))];
        let receipt = store.commit(tx(both), vec![body(&store, &octets).await]).await.unwrap();
        let [OpResult::Added(here, _), OpResult::Added(there, _)] = receipt.results[..] else { panic!() };
        let row = store.message(first, here).await.unwrap().unwrap();
        assert_eq!(store.message(second, there).await.unwrap().unwrap().body, row.body);
        store.commit(tx(vec![Op::Expunge { mailbox: first, uids: vec![here] }]), vec![]).await.unwrap();
        store.maintain().await;
        assert_eq!(store.open_message(&row).await.unwrap_err(), ReadError::Gone);
        assert_eq!(content(&store, second, there).await[7..], octets);
        // Someone has it: it may be added once more, and moved in one transaction.
        let again = vec![
            add(first, BodySource::Stored(row.body)),
            Op::Copy { from: second, uids: vec![there], to: first },
            Op::Expunge { mailbox: second, uids: vec![there] },
        ];
        store.commit(tx(again), vec![]).await.unwrap();
        store.maintain().await;
        let rows = store.messages(first, None, 10).await.unwrap();
        assert_eq!(rows.len(), 2);
        for row in &rows {
            assert_eq!(content(&store, first, row.uid).await[7..], octets);
        }
        let uids = rows.iter().map(|row| row.uid).collect();
        store.commit(tx(vec![Op::Expunge { mailbox: first, uids }]), vec![]).await.unwrap();
        store.maintain().await;
        assert_eq!(store.open_body(row.body).await.unwrap_err(), ReadError::Gone);
        let answer = store.commit(tx(vec![add(first, BodySource::Stored(row.body))]), vec![]).await;
        assert_eq!(answer, Err(TxError::Gone(0)));
    }
}

async fn a_reader_reads_on(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    let mut readers = Vec::new();
    for size in [10_000, 3_000_000] {
        let octets = (0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>();
        deliver(&store, inbox, &octets).await.unwrap();
        let row = store.messages(inbox, None, 10).await.unwrap().pop().unwrap();
        readers.push((store.open_message(&row).await.unwrap(), octets));
    }
    // One that stays, and of which it is known only where it was.
    let stays: Vec<u8> = (0..20_000).map(|at| (at % 241) as u8).collect();
    deliver(&store, inbox, &stays).await.unwrap();
    let row = store.messages(inbox, Some(Uid(2)), 1).await.unwrap().pop().unwrap();
    let located = store.locate_messages(std::slice::from_ref(&row)).unwrap().pop().unwrap();
    // Enough is removed that segments are compacted away under the readers.
    for _ in 0..60 {
        deliver(&store, inbox, &[0; 50_000]).await.unwrap();
    }
    let uids = (1..=70).map(Uid).filter(|uid| *uid != row.uid).collect();
    store.commit(tx(vec![Op::Expunge { mailbox: inbox, uids }]), vec![]).await.unwrap();
    store.maintain().await;
    let reader = store.open_located(&located).unwrap();
    assert_eq!(reader.read_ahead(30_000).unwrap()[7..], stays);
    assert_eq!(reader.read_ahead(1000), None);
    assert_eq!(reader.read(7, 30_000).await.unwrap()[..], stays);
    store.commit(tx(vec![Op::Expunge { mailbox: inbox, uids: vec![row.uid] }]), vec![]).await.unwrap();
    store.maintain().await;
    for (reader, octets) in readers {
        let mut at = 7;
        while at < reader.len() {
            let piece = reader.read(at, 64 << 10).await.unwrap();
            assert!(octets[at as usize - 7..].starts_with(&piece));
            at += piece.len() as u64;
        }
        assert!(reader.read(at, 10).await.unwrap().is_empty());
        assert!(reader.read(u64::MAX, 10).await.unwrap().is_empty());
        assert_eq!(reader.read(3, 8).await.unwrap()[..4], *b"fix ");
    }
}

async fn names_are_unique_and_validity_grows(place: &impl Place) {
    let store = place.open();
    inbox(&store, 1).await;
    let create = |name: &str| Op::CreateMailbox {
        account: AccountId(1),
        name: name.into(),
        special_use: None,
        uid_validity: None,
    };
    let mut last = 0;
    for _ in 0..5 {
        let receipt = store.commit(tx(vec![create("x")]), vec![]).await.unwrap();
        let [OpResult::Mailbox(mailbox, validity)] = receipt.results[..] else { panic!() };
        assert!(validity.0 > last);
        let rename = Op::RenameMailbox { mailbox, name: "y".into() };
        let receipt = store.commit(tx(vec![rename]), vec![]).await.unwrap();
        let [OpResult::Mailbox(renamed, again)] = receipt.results[..] else { panic!() };
        assert_eq!(renamed, mailbox);
        assert!(again > validity, "a name it may have had before");
        last = again.0;
        let row = store.mailbox_named(AccountId(1), "y").await.unwrap().unwrap();
        assert_eq!((row.id, row.uid_validity), (mailbox, again));
        assert_eq!(store.mailbox_named(AccountId(1), "x").await.unwrap(), None);
        store.commit(tx(vec![Op::RemoveMailbox(mailbox)]), vec![]).await.unwrap();
        assert_eq!(store.mailbox(mailbox).await.unwrap(), None);
    }
    let names = store.mailboxes(AccountId(1)).await.unwrap();
    assert_eq!(names.iter().map(|row| &row.name[..]).collect::<Vec<_>>(), ["INBOX"]);
    store.commit(tx(vec![Op::RemoveAccount(AccountId(1))]), vec![]).await.unwrap();
    assert_eq!(store.account(AccountId(1)).await.unwrap(), None);
    assert_eq!(store.mailboxes(AccountId(1)).await.unwrap(), []);
}

async fn flags_change_as_told(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    for _ in 0..3 {
        deliver(&store, inbox, b"x").await.unwrap();
    }
    let (seen, both) = (Flags::SEEN, Flags(Flags::SEEN.0 | Flags::DELETED.0));
    for (change, uids, changed, flags) in [
        (FlagChange::Add(seen), vec![1, 2], vec![1, 2], [seen, seen, Flags::NONE]),
        (FlagChange::Add(both), vec![3, 2, 2, 9], vec![2, 3], [seen, both, both]),
        (
            FlagChange::Remove(seen),
            vec![1, 2, 3],
            vec![1, 2, 3],
            [Flags::NONE, Flags::DELETED, Flags::DELETED],
        ),
        (FlagChange::Replace(Flags::DELETED), vec![1, 2, 3], vec![1], [Flags::DELETED; 3]),
        (FlagChange::Replace(Flags::DELETED), vec![1, 2, 3], vec![], [Flags::DELETED; 3]),
    ] {
        let before = store.account(AccountId(1)).await.unwrap().unwrap().modseq;
        let uids = uids.into_iter().map(Uid).collect();
        let receipt = store
            .commit(
                tx(vec![Op::SetFlags {
                    mailbox: inbox,
                    uids,
                    change,
                    keywords: vec![],
                    unchanged_since: None,
                }]),
                vec![],
            )
            .await
            .unwrap();
        let step = u64::from(!changed.is_empty());
        let modseq = ModSeq(before.0 + step);
        let changed: Vec<Uid> = changed.into_iter().map(Uid).collect();
        let expected = OpResult::Flagged { changed: changed.clone(), modified: vec![], modseq };
        assert_eq!(receipt.results, [expected], "{change:?}");
        let rows = store.messages(inbox, None, 10).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.flags).collect::<Vec<_>>(), flags, "{change:?}");
        for row in rows {
            assert_eq!(row.modseq == modseq && step == 1, changed.contains(&row.uid), "{row:?}");
        }
    }
}
