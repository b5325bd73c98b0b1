//! What is promised of mailboxes and their messages beyond keeping them: keywords, what changed, what a listing tells.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Embedded, Place, add, body, content, deliver, inbox, put, requiring, run, tx};
use crate::tx::{AddMessage, BodySource, FlagChange, Op, OpResult, Require, TxError};
use crate::{AccountId, Flags, MailboxId, MessageRow, ModSeq, ReadError, Store, Uid, UidValidity};

promises!(
    keywords_are_the_mailboxs_own,
    a_mailbox_has_fifty_nine_keywords,
    unchanged_since_leaves_the_younger_alone,
    imports_keep_their_numbers,
    a_mailbox_is_for_something,
    a_message_tells_when_it_came,
    a_move_is_one_transaction,
    copies_live_on_alone,
    changes_tell_all_that_became_of_a_mailbox,
    forgotten_uids_are_owned_up_to,
    a_follower_misses_nothing,
    a_packed_list_with_what_changed_is_the_list,
    what_a_transaction_makes_it_can_fill,
    cards_come_with_their_rows,
    every_change_is_told_to_who_watches,
);

const ACCOUNT: AccountId = AccountId(1);

fn flag(mailbox: MailboxId, uids: &[u32], change: FlagChange, keywords: &[&str]) -> Op {
    Op::SetFlags {
        mailbox,
        uids: uids.iter().copied().map(Uid).collect(),
        change,
        keywords: keywords.iter().map(|word| (*word).to_owned()).collect(),
        unchanged_since: None,
    }
}

fn create(name: &str) -> Op {
    Op::CreateMailbox { account: ACCOUNT, name: name.into(), special_use: None, uid_validity: None }
}

async fn second(store: &Store) -> MailboxId {
    let receipt = store.commit(tx(vec![create("Second")]), vec![]).await.unwrap();
    let [OpResult::Mailbox(mailbox, _)] = receipt.results[..] else { panic!("{receipt:?}") };
    mailbox
}

async fn one(store: &Store, op: Op) -> OpResult {
    store.commit(tx(vec![op]), vec![]).await.unwrap().results.pop().unwrap()
}

fn names(store: &Store, mailbox: MailboxId) -> Vec<(u8, String)> {
    store.keywords(mailbox).unwrap().to_vec()
}

async fn flags(store: &Store, mailbox: MailboxId) -> Vec<u64> {
    store.messages(mailbox, None, 100).await.unwrap().iter().map(|row| row.flags.0).collect()
}

async fn keywords_are_the_mailboxs_own(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    let second = second(&store).await;
    assert_eq!(names(&store, inbox), []);
    let added = AddMessage {
        flags: Flags(1 | 1 << 40),
        keywords: vec!["$Junk".into(), "blue".into(), "$JUNK".into()],
        ..message(inbox)
    };
    store.commit(tx(vec![Op::AddMessage(added)]), vec![body(&store, b"x").await]).await.unwrap();
    deliver(&store, inbox, b"y").await.unwrap();
    let two = [(5, "$Junk".to_owned()), (6, "blue".to_owned())];
    assert_eq!(names(&store, inbox), two);
    assert_eq!(flags(&store, inbox).await, [1 | 1 << 5 | 1 << 6, 0]);
    // Nothing is made where nothing can be set: by removing, for what is not there, where all are too young.
    one(&store, flag(inbox, &[1], FlagChange::Remove(Flags::NONE), &["none", "BLUE"])).await;
    one(&store, flag(inbox, &[9], FlagChange::Add(Flags::NONE), &["none"])).await;
    let young = Op::SetFlags {
        mailbox: inbox,
        uids: vec![Uid(1)],
        change: FlagChange::Add(Flags::NONE),
        keywords: vec!["none".into()],
        unchanged_since: Some(ModSeq(1)),
    };
    one(&store, young).await;
    assert_eq!(names(&store, inbox), two);
    assert_eq!(flags(&store, inbox).await, [1 | 1 << 5, 0]);
    // What is replaced goes, keywords too; bits without a name are nobody's.
    one(&store, flag(inbox, &[1, 2], FlagChange::Replace(Flags(2 | 1 << 50)), &["Red"])).await;
    assert_eq!(flags(&store, inbox).await, [2 | 1 << 7, 2 | 1 << 7]);
    // Bits are accepted as well as names.
    one(&store, flag(inbox, &[1], FlagChange::Add(Flags(1 << 6)), &[])).await;
    // In another mailbox they have other bits.
    one(&store, flag(inbox, &[2], FlagChange::Remove(Flags::NONE), &["red"])).await;
    let copy = Op::Copy { from: inbox, uids: vec![Uid(1), Uid(2)], to: second };
    let red = flag(second, &[1], FlagChange::Add(Flags::NONE), &["later"]);
    store.commit(tx(vec![copy, red]), vec![]).await.unwrap();
    let there = [(5, "blue".to_owned()), (6, "Red".to_owned()), (7, "later".to_owned())];
    store.stop().await;
    let store = place.open();
    assert_eq!(names(&store, second), there);
    assert_eq!(flags(&store, second).await, [2 | 1 << 5 | 1 << 6 | 1 << 7, 2]);
    // Copies to where some exist use those.
    one(&store, Op::Copy { from: second, uids: vec![Uid(1)], to: inbox }).await;
    assert_eq!(flags(&store, inbox).await[2], 2 | 1 << 6 | 1 << 7 | 1 << 8);
    assert_eq!(names(&store, inbox)[3], (8, "later".to_owned()));
    one(&store, Op::RemoveMailbox(second)).await;
    assert_eq!(names(&store, second), []);
}

fn message(mailbox: MailboxId) -> AddMessage {
    match add(mailbox, BodySource::New(0)) {
        Op::AddMessage(message) => message,
        op => panic!("{op:?}"),
    }
}

async fn a_mailbox_has_fifty_nine_keywords(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    deliver(&store, inbox, b"x").await.unwrap();
    let all: Vec<String> = (0..59).map(|at| format!("k{at}")).collect();
    let all: Vec<&str> = all.iter().map(|word| &word[..]).collect();
    // Made and taken back: the names are free again.
    let ops =
        vec![flag(inbox, &[1], FlagChange::Add(Flags::NONE), &["first"]), Op::RemoveMailbox(MailboxId(99))];
    assert_eq!(store.commit(tx(ops), vec![]).await, Err(TxError::Gone(1)));
    assert_eq!(names(&store, inbox), []);
    one(&store, flag(inbox, &[1], FlagChange::Add(Flags::NONE), &all)).await;
    assert_eq!(flags(&store, inbox).await, [!Flags::SYSTEM.0]);
    let more = flag(inbox, &[1], FlagChange::Add(Flags::SEEN), &["K7", "more"]);
    let before = store.mailbox(inbox).await.unwrap();
    let answer = store.commit(tx(vec![put("k", b""), more]), vec![]).await;
    assert_eq!(answer, Err(TxError::TooManyKeywords(1)));
    let added = AddMessage { keywords: vec!["more".into()], ..message(inbox) };
    let answer = store.commit(tx(vec![Op::AddMessage(added)]), vec![body(&store, b"x").await]).await;
    assert_eq!(answer, Err(TxError::TooManyKeywords(0)));
    assert_eq!(store.mailbox(inbox).await.unwrap(), before);
    assert_eq!(store.get("k").unwrap(), None);
    // All of them translate, the last one with the sign's bit too.
    let second = second(&store).await;
    one(&store, Op::Copy { from: inbox, uids: vec![Uid(1)], to: second }).await;
    assert_eq!(flags(&store, second).await, [!Flags::SYSTEM.0]);
    one(&store, flag(second, &[1], FlagChange::Remove(Flags::NONE), &["K58"])).await;
    assert_eq!(flags(&store, second).await, [u64::MAX >> 1 & !Flags::SYSTEM.0]);
}

async fn unchanged_since_leaves_the_younger_alone(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    for _ in 0..4 {
        deliver(&store, inbox, b"x").await.unwrap();
    }
    // Modification sequences 2 to 5; then 3 has 6.
    one(&store, flag(inbox, &[3], FlagChange::Add(Flags::FLAGGED), &[])).await;
    let since = |since, change| Op::SetFlags {
        mailbox: inbox,
        uids: (1..=4).map(Uid).collect(),
        change,
        keywords: vec![],
        unchanged_since: Some(ModSeq(since)),
    };
    let answer = one(&store, since(4, FlagChange::Add(Flags::SEEN))).await;
    let uids = |uids: &[u32]| uids.iter().copied().map(Uid).collect::<Vec<_>>();
    assert_eq!(
        answer,
        OpResult::Flagged { changed: uids(&[1, 2]), modified: uids(&[3, 4]), modseq: ModSeq(7) }
    );
    assert_eq!(flags(&store, inbox).await, [1, 1, 4, 0]);
    let answer = one(&store, since(0, FlagChange::Add(Flags::SEEN))).await;
    assert_eq!(
        answer,
        OpResult::Flagged { changed: vec![], modified: uids(&[1, 2, 3, 4]), modseq: ModSeq(7) }
    );
    // In one transaction the second sees what the first did.
    let ops = vec![since(6, FlagChange::Add(Flags::DRAFT)), since(7, FlagChange::Remove(Flags::DRAFT))];
    let receipt = store.commit(tx(ops), vec![]).await.unwrap();
    assert_eq!(
        receipt.results,
        [
            OpResult::Flagged { changed: uids(&[3, 4]), modified: uids(&[1, 2]), modseq: ModSeq(8) },
            OpResult::Flagged { changed: vec![], modified: uids(&[3, 4]), modseq: ModSeq(8) },
        ]
    );
    assert_eq!(flags(&store, inbox).await, [1, 1, 4 | 16, 16]);
    let row = store.mailbox(inbox).await.unwrap().unwrap();
    assert_eq!((row.unseen, row.deleted, row.deleted_octets), (2, 0, 0));
    one(&store, flag(inbox, &[1, 3], FlagChange::Add(Flags::DELETED), &[])).await;
    let row = store.mailbox(inbox).await.unwrap().unwrap();
    assert_eq!((row.unseen, row.deleted, row.deleted_octets), (2, 2, 16));
}

async fn imports_keep_their_numbers(place: &impl Place) {
    let store = place.open();
    inbox(&store, 1).await;
    let import = Op::CreateMailbox {
        account: ACCOUNT,
        name: "Old".into(),
        special_use: None,
        uid_validity: Some(UidValidity(77)),
    };
    let OpResult::Mailbox(old, UidValidity(77)) = one(&store, import).await else { panic!() };
    let at = |uid| Op::AddMessage(AddMessage { uid: Some(Uid(uid)), ..message(old) });
    let bodies = vec![body(&store, b"x").await];
    let receipt = store.commit(tx(vec![at(5), at(6), at(90)]), bodies).await.unwrap();
    let uids: Vec<_> = receipt.results.iter().map(|result| matches!(result, OpResult::Added(..))).collect();
    assert_eq!(uids, [true; 3]);
    for (uid, error) in [
        (90, TxError::UidTaken(1)),
        (1, TxError::UidTaken(1)),
        (0, TxError::UidTaken(1)),
        (u32::MAX, TxError::TooLarge(1)),
    ] {
        let answer = store.commit(tx(vec![put("k", b""), at(uid)]), vec![body(&store, b"x").await]).await;
        assert_eq!(answer, Err(error));
    }
    let next = |uid| Op::SetUidNext { mailbox: old, uid_next: Uid(uid) };
    one(&store, next(200)).await;
    let before = store.mailbox(old).await.unwrap().unwrap();
    assert_eq!((before.uid_next, before.uid_validity, before.messages), (Uid(200), UidValidity(77), 3));
    one(&store, next(100)).await;
    assert_eq!(store.mailbox(old).await.unwrap().unwrap(), before);
    deliver(&store, old, b"x").await.unwrap();
    let rows = store.messages(old, None, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.uid.0).collect::<Vec<_>>(), [5, 6, 90, 200]);
    // The next one that is made is not made older by what was imported.
    let OpResult::Mailbox(_, validity) = one(&store, create("New")).await else { panic!() };
    assert!(validity > UidValidity(77));
    // An empty mailbox can be given another one's, a full one only a new one.
    let OpResult::Mailbox(empty, _) = one(&store, create("Empty")).await else { panic!() };
    let given = |mailbox| Op::SetUidValidity { mailbox, uid_validity: Some(UidValidity(88)) };
    assert_eq!(one(&store, given(empty)).await, OpResult::Mailbox(empty, UidValidity(88)));
    assert_eq!(store.commit(tx(vec![given(old)]), vec![]).await, Err(TxError::Exists(0)));
    let other = Op::SetUidValidity { mailbox: old, uid_validity: None };
    let OpResult::Mailbox(_, other) = one(&store, other).await else { panic!() };
    assert!(other > validity);
    store.stop().await;
    let store = place.open();
    let row = store.mailbox(empty).await.unwrap().unwrap();
    assert_eq!((row.name.as_str(), row.uid_validity), ("Empty", UidValidity(88)));
    assert_eq!(store.mailbox(old).await.unwrap().unwrap().uid_validity, other);
    assert_eq!(store.mailbox(old).await.unwrap().unwrap().uid_next, Uid(201));
}

async fn a_mailbox_is_for_something(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    let made = Op::CreateMailbox {
        account: ACCOUNT,
        name: "Trash".into(),
        special_use: Some("\\Trash".into()),
        uid_validity: None,
    };
    let OpResult::Mailbox(trash, _) = one(&store, made).await else { panic!() };
    let set = |mailbox, to: Option<&str>| Op::SetSpecialUse { mailbox, special_use: to.map(str::to_owned) };
    one(&store, set(inbox, Some("\\Important"))).await;
    let modseq = store.account(ACCOUNT).await.unwrap().unwrap().modseq;
    one(&store, set(inbox, Some("\\Important"))).await;
    assert_eq!(store.account(ACCOUNT).await.unwrap().unwrap().modseq, modseq);
    let answer = store.commit(tx(vec![set(MailboxId(99), None)]), vec![]).await;
    assert_eq!(answer, Err(TxError::Gone(0)));
    store.stop().await;
    let store = place.open();
    let uses = |rows: Vec<crate::MailboxRow>| rows.into_iter().map(|row| row.special_use).collect::<Vec<_>>();
    let rows = store.mailboxes(ACCOUNT).await.unwrap();
    assert_eq!(uses(rows), [Some("\\Important".to_owned()), Some("\\Trash".to_owned())]);
    one(&store, set(trash, None)).await;
    one(&store, Op::RenameMailbox { mailbox: inbox, name: "Other".into() }).await;
    let rows = store.mailboxes(ACCOUNT).await.unwrap();
    assert_eq!(uses(rows), [Some("\\Important".to_owned()), None]);
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_micros() as i64
}

async fn a_message_tells_when_it_came(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    let second = second(&store).await;
    let before = now();
    deliver(&store, inbox, b"x").await.unwrap();
    let between = now();
    one(&store, Op::Copy { from: inbox, uids: vec![Uid(1)], to: second }).await;
    store.stop().await;
    let store = place.open();
    let first = store.message(inbox, Uid(1)).await.unwrap().unwrap();
    let copy = store.message(second, Uid(1)).await.unwrap().unwrap();
    assert!(before <= first.saved_at && first.saved_at <= between);
    assert!(between <= copy.saved_at && copy.saved_at <= now());
    assert_eq!((first.received_at, copy.received_at), (12, 12));
}

async fn a_move_is_one_transaction(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    let second = second(&store).await;
    for text in [b"one", b"two", b"sum"] {
        deliver(&store, inbox, text).await.unwrap();
    }
    one(&store, flag(inbox, &[3], FlagChange::Add(Flags::SEEN), &["$Key"])).await;
    let uids = vec![Uid(9), Uid(3), Uid(1)];
    let ops = || {
        vec![
            Op::Copy { from: inbox, uids: uids.clone(), to: second },
            Op::Expunge { mailbox: inbox, uids: uids.clone() },
        ]
    };
    let missing = vec![Require::KeyVersion { key: "k".into(), version: Some(1) }];
    assert_eq!(store.commit(requiring(missing, ops()), vec![]).await, Err(TxError::Failed(0)));
    let failing = [ops(), vec![Op::RemoveMailbox(MailboxId(99))]].concat();
    assert_eq!(store.commit(tx(failing), vec![]).await, Err(TxError::Gone(2)));
    assert_eq!(store.mailbox(second).await.unwrap().unwrap().messages, 0);
    assert_eq!(store.messages(inbox, None, 10).await.unwrap().len(), 3);
    let before = store.account(ACCOUNT).await.unwrap().unwrap();
    let receipt = store.commit(tx(ops()), vec![]).await.unwrap();
    let modseq = ModSeq(before.modseq.0 + 2);
    assert_eq!(
        receipt.results,
        [
            OpResult::Copied(vec![(Uid(1), Uid(1)), (Uid(3), Uid(2))]),
            OpResult::Changed(vec![Uid(1), Uid(3)], modseq),
        ]
    );
    store.maintain().await;
    assert_eq!(flags(&store, second).await, [0, 1 | 1 << 5]);
    assert_eq!(content(&store, second, Uid(1)).await, b"prefix one");
    assert_eq!(content(&store, second, Uid(2)).await, b"prefix sum");
    let row = store.message(second, Uid(2)).await.unwrap().unwrap();
    assert_eq!(store.card(&row).await.unwrap(), "card");
    let after = store.account(ACCOUNT).await.unwrap().unwrap();
    assert_eq!((after.messages, after.used_octets), (before.messages, before.used_octets));
    // Room for what is only moved is not asked for.
    let back = vec![
        Op::Copy { from: second, uids: vec![Uid(1)], to: inbox },
        Op::Expunge { mailbox: second, uids: vec![Uid(1)] },
    ];
    let room = vec![Require::Room { account: ACCOUNT, octets: 0, limit: after.used_octets }];
    store.commit(requiring(room, back), vec![]).await.unwrap();
}

async fn copies_live_on_alone(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    let second = second(&store).await;
    let receipt = deliver(&store, inbox, b"octets").await.unwrap();
    assert_eq!(receipt.results, [OpResult::Added(Uid(1), ModSeq(3))]);
    let copy = |from, to| Op::Copy { from, uids: (1..9).map(Uid).collect(), to };
    let gone = |mailbox, uid| Op::Expunge { mailbox, uids: vec![Uid(uid)] };
    store
        .commit(tx(vec![copy(inbox, second), copy(second, second), copy(second, inbox)]), vec![])
        .await
        .unwrap();
    let body = store.message(inbox, Uid(1)).await.unwrap().unwrap().body;
    let there = async |mailbox| store.messages(mailbox, None, 10).await.unwrap();
    assert_eq!((there(inbox).await.len(), there(second).await.len()), (3, 2));
    store.commit(tx(vec![gone(inbox, 1), gone(second, 2)]), vec![]).await.unwrap();
    one(&store, gone(inbox, 3)).await;
    store.maintain().await;
    for mailbox in [inbox, second] {
        let rows = there(mailbox).await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].body, body);
        assert_eq!(content(&store, mailbox, rows[0].uid).await, b"prefix octets");
        assert_eq!(store.card(&rows[0]).await.unwrap(), "card");
    }
    let last = there(inbox).await.remove(0);
    one(&store, Op::RemoveMailbox(second)).await;
    store.maintain().await;
    assert_eq!(content(&store, inbox, last.uid).await, b"prefix octets");
    one(&store, gone(inbox, last.uid.0)).await;
    store.maintain().await;
    assert_eq!(store.card(&last).await, Err(ReadError::Gone));
    assert_eq!(store.open_body(body).await.unwrap_err(), ReadError::Gone);
}

async fn changes_tell_all_that_became_of_a_mailbox(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    for _ in 0..10 {
        deliver(&store, inbox, b"x").await.unwrap();
    }
    let uids = |changes: &crate::Changes| changes.changed.iter().map(|row| row.uid.0).collect::<Vec<_>>();
    // Asked twice each time: once by who was not expected, once by who is followed.
    for round in 0..2 {
        let all = store.changes(inbox, ModSeq(0)).await.unwrap();
        assert_eq!(uids(&all), (1 + round * 3..=10 + round).collect::<Vec<_>>());
        assert!(all.complete);
        let start = all.upto;
        assert_eq!(start, store.mailbox(inbox).await.unwrap().unwrap().highest_modseq);
        let none = store.changes(inbox, start).await.unwrap();
        assert_eq!((uids(&none), none.vanished, none.upto), (vec![], vec![], start));
        // What happens elsewhere in the account is not told here.
        one(&store, create(&format!("Other{round}"))).await;
        let base = round * 3;
        one(&store, flag(inbox, &[base + 5], FlagChange::Add(Flags::SEEN), &["a", "b"])).await;
        let middle = store.changes(inbox, start).await.unwrap().upto;
        one(&store, Op::Expunge { mailbox: inbox, uids: [1, 2, 3].map(|uid| Uid(uid + base)).to_vec() })
            .await;
        deliver(&store, inbox, b"x").await.unwrap();
        let changes = store.changes(inbox, start).await.unwrap();
        let new = 11 + round;
        assert_eq!(uids(&changes), [base + 5, new]);
        assert_eq!(changes.vanished, [(Uid(base + 1), Uid(base + 3))]);
        assert_eq!(changes.keywords, [(5, "a".to_owned()), (6, "b".to_owned())]);
        assert_eq!(changes.changed[0].flags, Flags(1 | 3 << 5));
        assert_eq!(uids(&store.changes(inbox, middle).await.unwrap()), [new]);
    }
    // From the future nothing is known to have changed.
    let none = store.changes(inbox, ModSeq(u64::MAX)).await.unwrap();
    assert_eq!((uids(&none), none.vanished), (vec![], vec![]));
    one(&store, Op::RemoveMailbox(inbox)).await;
    assert_eq!(store.changes(inbox, ModSeq(0)).await, Err(ReadError::Gone));
}

async fn forgotten_uids_are_owned_up_to(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    const MANY: u32 = 20_100;
    let ops = (0..MANY).map(|_| add(inbox, BodySource::New(0))).collect();
    store.commit(tx(ops), vec![body(&store, b"x").await]).await.unwrap();
    let start = store.mailbox(inbox).await.unwrap().unwrap().highest_modseq;
    let ops = (1..=MANY).map(|uid| Op::Expunge { mailbox: inbox, uids: vec![Uid(uid)] }).collect();
    store.commit(tx(ops), vec![]).await.unwrap();
    let changes = store.changes(inbox, start).await.unwrap();
    assert_eq!((changes.complete, &changes.vanished[..]), (true, &[(Uid(1), Uid(MANY))][..]));
    store.maintain().await;
    let changes = store.changes(inbox, start).await.unwrap();
    assert!(!changes.complete);
    let recent = ModSeq(changes.upto.0 - 5_000);
    let changes = store.changes(inbox, recent).await.unwrap();
    assert_eq!((changes.complete, &changes.vanished[..]), (true, &[(Uid(MANY - 4_999), Uid(MANY))][..]));
}

async fn a_follower_misses_nothing(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    let mut tasks = Vec::new();
    for task in 0..6u32 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..25u32 {
                let uid = (task * 31 + round * 17) % 90 + 1;
                let mut ops = vec![
                    flag(inbox, &[uid, uid + 1, uid + 7], FlagChange::Add(Flags(1 << (round % 5))), &[]),
                    Op::Expunge { mailbox: inbox, uids: vec![Uid(uid * 2), Uid(uid * 2 + 5)] },
                    Op::Copy { from: inbox, uids: vec![Uid(uid + 3)], to: inbox },
                ];
                if round % 4 == 1 {
                    // Taken back: what it did is not to be seen.
                    ops.push(Op::RemoveMailbox(MailboxId(99)));
                }
                assert_eq!(store.commit(tx(ops), vec![]).await.is_err(), round % 4 == 1);
                deliver(&store, inbox, b"x").await.unwrap();
            }
        }));
    }
    let mut watch = store.watch(ACCOUNT);
    let (mut since, mut seen) = (ModSeq(0), BTreeMap::new());
    let mut follow = async || {
        let changes = store.changes(inbox, since).await.unwrap();
        assert!(changes.upto >= since && changes.complete);
        since = changes.upto;
        for (first, last) in changes.vanished {
            seen.retain(|uid, _| *uid < first || *uid > last);
        }
        for row in changes.changed {
            seen.insert(row.uid, row);
        }
        (since, seen.clone())
    };
    while tasks.iter().any(|task| !task.is_finished()) {
        let _ = tokio::time::timeout(std::time::Duration::from_millis(5), watch.changed()).await;
        follow().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    let (upto, seen) = follow().await;
    let rows = store.messages(inbox, None, 1_000).await.unwrap();
    assert_eq!(upto, store.mailbox(inbox).await.unwrap().unwrap().highest_modseq);
    assert_eq!(seen.into_values().collect::<Vec<_>>(), rows);
}

async fn cards_come_with_their_rows(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    let second = second(&store).await;
    let mut ops = Vec::new();
    for at in 0..600u32 {
        // Every fifth has neither.
        let (prefix, card) = match at % 5 {
            4 => (Bytes::new(), Bytes::new()),
            _ => (Bytes::from(format!("P{at} ")), Bytes::from(vec![at as u8; 64 << 10])),
        };
        let mailbox = if at % 2 == 0 { inbox } else { second };
        ops.push(Op::AddMessage(AddMessage { prefix, card, ..message(mailbox) }));
    }
    for ops in ops.chunks(100) {
        store.commit(tx(ops.to_vec()), vec![body(&store, b"x").await]).await.unwrap();
    }
    one(&store, Op::Copy { from: second, uids: (1..=300).map(Uid).collect(), to: inbox }).await;
    one(&store, Op::Expunge { mailbox: inbox, uids: vec![Uid(10), Uid(400)] }).await;
    let rows = store.messages(inbox, None, 1_000).await.unwrap();
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = store.cards(inbox, after, 590, true).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.row.uid);
        pages += 1;
        assert!(page.iter().map(|carded| carded.card.len()).sum::<usize>() < 33 << 20);
        seen.extend(page);
    }
    assert!(pages >= 2, "480 times 64 KiB are too much at once");
    assert_eq!(seen.iter().map(|carded| &carded.row).collect::<Vec<_>>(), rows.iter().collect::<Vec<_>>());
    for carded in &seen {
        assert_eq!(carded.card, store.card(&carded.row).await.unwrap());
        assert_eq!(carded.prefix, store.open_message(&carded.row).await.unwrap().prefix());
    }
    let bare = store.cards(inbox, Some(Uid(20)), 3, false).await.unwrap();
    assert!(bare.iter().all(|carded| carded.prefix.is_empty()));
    assert_eq!(bare.iter().map(|carded| carded.row.uid.0).collect::<Vec<_>>(), [21, 22, 23]);
    let wanted = [1, 2, 9, 10, 11, 399, 400, 401, 598, 600, 601, u32::MAX].map(Uid);
    let some = store.cards_of(inbox, &wanted, true).await.unwrap();
    let expected: Vec<_> = seen.iter().filter(|carded| wanted.contains(&carded.row.uid)).cloned().collect();
    assert_eq!(expected.len(), 8);
    assert_eq!(some, expected);
    assert_eq!(store.cards_of(inbox, &[], true).await.unwrap(), []);
    assert_eq!(store.cards(MailboxId(99), None, 10, true).await.unwrap(), []);
}

async fn every_change_is_told_to_who_watches(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    super::inbox(&store, 2).await;
    let mut watch = store.watch(ACCOUNT);
    let other = store.watch(AccountId(2));
    let second = second(&store).await;
    let mut last = ModSeq(1);
    let mut told = |what: &str| {
        assert!(watch.has_changed().unwrap(), "{what}");
        let now = *watch.borrow_and_update();
        assert!(now > last, "{what}: {now}");
        last = now;
    };
    told("a mailbox is made");
    deliver(&store, inbox, b"x").await.unwrap();
    told("a message is delivered");
    for (what, op) in [
        ("flags change", flag(inbox, &[1], FlagChange::Add(Flags::SEEN), &[])),
        ("a keyword is made", flag(inbox, &[1], FlagChange::Add(Flags::NONE), &["$New"])),
        ("a message is copied", Op::Copy { from: inbox, uids: vec![Uid(1)], to: second }),
        ("a mailbox is renamed", Op::RenameMailbox { mailbox: second, name: "Third".into() }),
        ("a mailbox is for something", Op::SetSpecialUse { mailbox: second, special_use: Some("x".into()) }),
        ("UIDs go on higher", Op::SetUidNext { mailbox: second, uid_next: Uid(50) }),
        ("a message is expunged", Op::Expunge { mailbox: inbox, uids: vec![Uid(1)] }),
        ("a mailbox is removed", Op::RemoveMailbox(second)),
        ("the account is removed", Op::RemoveAccount(ACCOUNT)),
    ] {
        one(&store, op).await;
        told(what);
    }
    assert!(!other.has_changed().unwrap());
}

/// What is packed, with what changed since, as a list.
async fn unpacked(store: &Store, mailbox: MailboxId) -> Vec<MessageRow> {
    let packed = store.packed(mailbox).await.unwrap().expect("it is packed");
    let mut rows = BTreeMap::new();
    assert!(packed.each(|page| rows.extend(page.iter().map(|row| (row.uid.0, row.clone())))));
    let changes = store.changes(mailbox, packed.upto()).await.unwrap();
    assert!(changes.complete);
    for (first, last) in changes.vanished {
        rows.retain(|uid, _| *uid < first.0 || *uid > last.0);
    }
    rows.extend(changes.changed.into_iter().map(|row| (row.uid.0, row)));
    rows.into_values().collect()
}

async fn a_packed_list_with_what_changed_is_the_list(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    let many = |count| vec![add(inbox, BodySource::New(0)); count];
    let all = |store: &Store| {
        let store = store.clone();
        async move { store.messages(inbox, None, 10_000).await.unwrap() }
    };
    store.commit(tx(many(900)), vec![body(&store, b"x").await]).await.unwrap();
    store.pack(inbox, None).await.unwrap();
    assert!(store.packed(inbox).await.unwrap().is_none(), "these few are read as fast");
    store.commit(tx(many(900)), vec![body(&store, b"y").await]).await.unwrap();
    one(&store, flag(inbox, &[3, 800, 1700], FlagChange::Add(Flags::SEEN), &["red"])).await;
    one(&store, Op::Expunge { mailbox: inbox, uids: (500..700).map(Uid).collect() }).await;
    assert!(store.packed(inbox).await.unwrap().is_none());
    store.pack(inbox, None).await.unwrap();
    // The writer does it between two groups: whoever commits after it comes after it.
    deliver(&store, inbox, b"later").await.unwrap();
    let upto = store.packed(inbox).await.unwrap().unwrap().upto();
    assert_eq!(unpacked(&store, inbox).await, all(&store).await);
    one(&store, flag(inbox, &[4, 1701], FlagChange::Replace(Flags::DRAFT), &[])).await;
    one(&store, Op::Expunge { mailbox: inbox, uids: vec![Uid(3), Uid(1800)] }).await;
    assert_eq!(unpacked(&store, inbox).await, all(&store).await);
    // Little is new.
    store.pack(inbox, None).await.unwrap();
    store.pack(inbox, Some(10)).await.unwrap();
    deliver(&store, inbox, b"later still").await.unwrap();
    assert_eq!(store.packed(inbox).await.unwrap().unwrap().upto(), upto);
    store.stop().await;
    let store = place.open();
    assert_eq!(unpacked(&store, inbox).await, all(&store).await);
    store.pack(inbox, Some(1_500)).await.unwrap();
    deliver(&store, inbox, b"the last").await.unwrap();
    assert!(store.packed(inbox).await.unwrap().unwrap().upto() > upto);
    assert_eq!(unpacked(&store, inbox).await, all(&store).await);
    one(&store, Op::RemoveMailbox(inbox)).await;
    assert!(store.packed(inbox).await.unwrap().is_none());
    store.pack(inbox, Some(1_500)).await.unwrap();
}

async fn what_a_transaction_makes_it_can_fill(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    for text in [&b"1"[..], b"2", b"3"] {
        deliver(&store, inbox, text).await.unwrap();
    }
    let copy = |uids: &[u32]| Op::Copy {
        from: inbox,
        uids: uids.iter().copied().map(Uid).collect(),
        to: MailboxId::MADE,
    };
    assert_eq!(store.commit(tx(vec![copy(&[1])]), vec![]).await, Err(TxError::Gone(0)));
    let gone = Op::Expunge { mailbox: inbox, uids: vec![Uid(1), Uid(2)] };
    let ops = vec![create("First"), create("Second"), copy(&[1]), copy(&[2]), gone];
    let receipt = store.commit(tx(ops), vec![]).await.unwrap();
    let OpResult::Mailbox(second, _) = receipt.results[1] else { panic!("{receipt:?}") };
    assert_eq!(receipt.results[3], OpResult::Copied(vec![(Uid(2), Uid(2))]));
    assert_eq!(content(&store, second, Uid(2)).await, b"prefix 2");
    assert_eq!(store.messages(inbox, None, 10).await.unwrap().len(), 1);
    store.stop().await;
    assert_eq!(content(&place.open(), second, Uid(1)).await, b"prefix 1");
}
