//! What the queue promises.

use bytes::Bytes;

use super::{Embedded, Place, add, body, content, inbox, put, requiring, run, tx};
use crate::tx::{BodySource, Op, OpResult, Require, TxError};
use crate::{
    Enqueue, Leased, NewQueueRow, QueueCount, QueueDestination, QueueFilter, QueueId, QueueRow, ReadError,
    Store, Uid,
};

promises! {
    a_message_is_queued_for_each_recipient,
    a_destination_wakes_when_its_first_row_is_due,
    a_rest_is_kept_and_ended,
    lanes_are_served_in_turn,
    a_row_has_one_owner,
    a_lease_ends_with_the_row_it_is_for,
    rows_of_one_message_are_leased_together,
    deadlines_come_whatever_the_destination_does,
    a_body_stays_as_long_as_it_is_queued,
    all_of_a_transaction_is_queued_or_nothing,
    rows_are_listed_in_pages,
    what_is_queued_is_there_after_a_restart,
    watchers_of_the_queue_are_told,
    what_is_too_large_is_not_queued,
}

const NEVER: i64 = i64::MAX;

fn to(destination: &str, due_at: i64) -> NewQueueRow {
    NewQueueRow {
        destination: destination.to_owned(),
        lane: 0,
        due_at,
        deadline: NEVER,
        held: false,
        value: Bytes::from(format!("value {destination}")),
    }
}

fn lane(destination: &str, lane: u8, due_at: i64) -> NewQueueRow {
    NewQueueRow { lane, ..to(destination, due_at) }
}

fn message(rows: Vec<NewQueueRow>) -> Op {
    Op::Enqueue(Enqueue {
        body: BodySource::New(0),
        prefix: Bytes::from_static(b"prefix "),
        card: Bytes::from_static(b"card"),
        rows,
    })
}

async fn enqueue(store: &Store, rows: Vec<NewQueueRow>) -> Vec<QueueId> {
    let receipt = store.commit(tx(vec![message(rows)]), vec![body(store, b"letter").await]).await.unwrap();
    let [OpResult::Queued(ids)] = &receipt.results[..] else { panic!("{receipt:?}") };
    ids.clone()
}

async fn dequeue(store: &Store, ids: &[QueueId]) -> Vec<QueueId> {
    let receipt = store.commit(tx(vec![Op::Dequeue { ids: ids.to_vec() }]), vec![]).await.unwrap();
    let [OpResult::Dequeued(ids)] = &receipt.results[..] else { panic!("{receipt:?}") };
    ids.clone()
}

async fn requeue(store: &Store, id: QueueId, row: NewQueueRow) {
    store.commit(tx(vec![Op::Requeue { id, row }]), vec![]).await.unwrap();
}

async fn rest(store: &Store, destination: &str, until: i64) {
    let rest = Op::Rest { destination: destination.to_owned(), until };
    store.commit(tx(vec![rest]), vec![]).await.unwrap();
}

async fn all(store: &Store) -> Vec<QueueRow> {
    store.queue_rows(QueueFilter::default(), 10_000).await.unwrap()
}

/// Names of the destinations where something is to be done, with the time since when.
async fn awake(store: &Store, now: i64) -> Vec<(String, i64)> {
    let found = store.queue_destinations(now, 100).await.unwrap();
    found.into_iter().map(|destination| (destination.name, destination.wake_at)).collect()
}

fn ids(leased: &[Leased]) -> Vec<QueueId> {
    leased.iter().map(|leased| leased.row.id).collect()
}

fn back(leased: &[Leased]) -> Vec<(QueueId, u64)> {
    leased.iter().map(|leased| (leased.row.id, leased.fence)).collect()
}

async fn octets(store: &Store, row: &QueueRow) -> Vec<u8> {
    let reader = store.open_queued(row).await.unwrap();
    assert_eq!(reader.len(), row.size);
    reader.read(0, 1 << 20).await.unwrap().to_vec()
}

async fn a_message_is_queued_for_each_recipient(place: &impl Place) {
    let store = place.open();
    assert_eq!(store.queue_count().await.unwrap(), QueueCount::default());
    let held = NewQueueRow { held: true, deadline: 9, lane: 7, ..to("b", -3) };
    let ids = enqueue(&store, vec![to("a", 5), held.clone(), to("a", 6)]).await;
    assert_eq!((ids[1].0, ids[2].0), (ids[0].0 + 1, ids[0].0 + 2));
    let next = enqueue(&store, vec![to("c", 5)]).await;
    assert!(next[0] > ids[2]);
    let rows = all(&store).await;
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [&ids[..], &next[..]].concat());
    let row = &rows[1];
    assert_eq!((row.message, row.lane, row.due_at, row.deadline, row.held), (ids[0], 7, -3, 9, true));
    assert_eq!((&row.value, row.size), (&held.value, 13));
    assert!(row.queued_at > 0);
    assert_eq!(store.queue_row(ids[1]).await.unwrap().as_ref(), Some(row));
    assert_eq!((rows[0].side, rows[0].body), (row.side, row.body), "it is stored once");
    for row in &rows {
        assert_eq!(octets(&store, row).await, b"prefix letter");
        assert_eq!(store.queue_card(row).await.unwrap(), "card");
    }
    let count = store.queue_count().await.unwrap();
    assert_eq!(count, QueueCount { rows: 4, octets: 4 * 13, held: 1, destinations: 3 });
    assert_eq!(dequeue(&store, &[ids[2], ids[0], ids[2], QueueId(1)]).await, [ids[0], ids[2]]);
    assert_eq!(dequeue(&store, &[ids[0]]).await, []);
    assert_eq!(store.queue_row(ids[0]).await.unwrap(), None);
    let left = store.queue_row(ids[1]).await.unwrap().unwrap();
    assert_eq!((left.message, octets(&store, &left).await), (ids[0], b"prefix letter".to_vec()));
    let count = store.queue_count().await.unwrap();
    assert_eq!(count, QueueCount { rows: 2, octets: 2 * 13, held: 1, destinations: 2 });
    dequeue(&store, &[ids[1], next[0]]).await;
    assert_eq!(store.queue_count().await.unwrap(), QueueCount::default());
    assert_eq!(store.queue_card(&left).await, Err(ReadError::Gone));
    assert_eq!(store.open_queued(&left).await.map(|_| ()), Err(ReadError::Gone));
    assert_eq!(enqueue(&store, vec![]).await, []);
}

async fn a_destination_wakes_when_its_first_row_is_due(place: &impl Place) {
    let store = place.open();
    assert_eq!(store.queue_next().await.unwrap(), None);
    let ids = enqueue(&store, vec![to("a", 10), lane("a", 3, 5), to("b", 7), to("c", 20)]).await;
    assert_eq!(store.queue_next().await.unwrap(), Some(5));
    assert_eq!(awake(&store, 4).await, []);
    assert_eq!(awake(&store, 9).await, [("a".to_owned(), 5), ("b".to_owned(), 7)]);
    assert_eq!(store.queue_destinations(100, 2).await.unwrap().len(), 2);
    // Later, held, gone.
    requeue(&store, ids[1], lane("a", 3, 30)).await;
    assert_eq!(awake(&store, 100).await, [("b".to_owned(), 7), ("a".to_owned(), 10), ("c".to_owned(), 20)]);
    requeue(&store, ids[0], NewQueueRow { held: true, ..to("a", 10) }).await;
    dequeue(&store, &[ids[2]]).await;
    assert_eq!(awake(&store, 100).await, [("c".to_owned(), 20), ("a".to_owned(), 30)]);
    // To another destination.
    requeue(&store, ids[3], to("a", 1)).await;
    assert_eq!(awake(&store, 100).await, [("a".to_owned(), 1)]);
    let there = store.queue_destination("a").await.unwrap();
    let wanted = QueueDestination { name: "a".into(), rows: 3, resting_until: i64::MIN, wake_at: 1 };
    assert_eq!(there, Some(wanted));
    assert_eq!(store.queue_destination("c").await.unwrap(), None);
    assert_eq!(store.queue_count().await.unwrap().destinations, 1);
    dequeue(&store, &[ids[1], ids[3]]).await;
    assert_eq!(
        (awake(&store, NEVER - 1).await, store.queue_next().await.unwrap()),
        (vec![], None),
        "one is held"
    );
    assert_eq!(awake(&store, NEVER).await, [("a".to_owned(), NEVER)]);
    requeue(&store, ids[0], to("a", 2)).await;
    assert_eq!(store.queue_next().await.unwrap(), Some(2));
}

async fn a_rest_is_kept_and_ended(place: &impl Place) {
    let store = place.open();
    let far = 1 << 60;
    enqueue(&store, vec![to("a", 5)]).await;
    rest(&store, "a", 50).await;
    assert_eq!((awake(&store, 49).await, store.queue_next().await.unwrap()), (vec![], Some(50)));
    let ids = enqueue(&store, vec![to("a", 1), to("a", 60)]).await;
    assert_eq!(awake(&store, 50).await, [("a".to_owned(), 50)]);
    rest(&store, "a", 40).await;
    assert_eq!(awake(&store, 40).await, [("a".to_owned(), 40)]);
    rest(&store, "a", i64::MIN).await;
    assert_eq!(awake(&store, 40).await, [("a".to_owned(), 1)]);
    // Rows may be leased meanwhile.
    rest(&store, "a", far).await;
    assert_eq!(store.queue_lease("a", 10, 9, 9, 20).await.unwrap().len(), 2);
    // Without rows it rests on, and then is forgotten.
    let others: Vec<QueueId> = all(&store).await.iter().map(|row| row.id).collect();
    assert!(others.len() == 3 && others.ends_with(&ids));
    dequeue(&store, &others).await;
    rest(&store, "b", 1).await;
    assert_eq!((awake(&store, NEVER).await, store.queue_next().await.unwrap()), (vec![], None));
    assert_eq!(store.queue_count().await.unwrap(), QueueCount::default());
    assert_eq!(store.queue_destination("a").await.unwrap().map(|found| found.resting_until), Some(far));
    assert_eq!(store.queue_destination("b").await.unwrap(), None);
    enqueue(&store, vec![to("a", 1)]).await;
    assert_eq!(store.queue_next().await.unwrap(), Some(far));
}

async fn lanes_are_served_in_turn(place: &impl Place) {
    let store = place.open();
    let mut rows: Vec<_> = (0..50).map(|at| lane("a", 0, 50 - at)).collect();
    rows.extend([lane("a", 9, 1), lane("a", 9, 3), lane("a", 255, 2), lane("a", 40, 99), lane("b", 1, 1)]);
    let ids_of = enqueue(&store, rows).await;
    let (crowd, others) = ids_of.split_at(50);
    let first = store.queue_lease("a", 50, 100, 6, 1_000).await.unwrap();
    let oldest: Vec<QueueId> = crowd.iter().rev().copied().collect();
    assert_eq!(ids(&first), [oldest[0], others[0], others[2], oldest[1], others[1], oldest[2]]);
    // What was looked at and not taken comes next; only one lane has more.
    let next = store.queue_lease("a", 50, 100, 3, 1_000).await.unwrap();
    assert_eq!(ids(&next), oldest[3..6]);
    store.queue_unlease(&back(&first));
    store.queue_unlease(&back(&next));
    // One at a time, each lane gets its turn.
    let mut lanes = Vec::new();
    for _ in 0..6 {
        lanes.push(store.queue_lease("a", 50, 1, 1, 1_000).await.unwrap()[0].row.lane);
    }
    assert_eq!(lanes, [9, 255, 0, 9, 0, 0]);
    // Not more of a lane than asked for.
    assert_eq!(store.queue_lease("a", 99, 2, 100, 1_000).await.unwrap().len(), 3);
    assert_eq!(store.queue_lease("a", 0, 2, 100, 1_000).await.unwrap(), []);
    assert_eq!(store.queue_lease("a", 99, 2, 0, 1_000).await.unwrap(), []);
    assert_eq!(store.queue_lease("nowhere", 99, 2, 10, 1_000).await.unwrap(), []);
    assert_eq!(store.queue_lease("a", 99, 1_000, 1_000, 1_000).await.unwrap().len(), 45);
}

async fn a_row_has_one_owner(place: &impl Place) {
    let store = place.open();
    let mine = enqueue(&store, vec![to("a", 1), to("a", 2), to("b", 1)]).await;
    let one = store.queue_lease("a", 5, 1, 1, 100).await.unwrap();
    assert_eq!(ids(&one), [mine[0]]);
    // What is leased wakes nobody.
    assert_eq!(awake(&store, 5).await, [("b".to_owned(), 1), ("a".to_owned(), 2)]);
    let two = store.queue_lease("a", 5, 9, 9, 200).await.unwrap();
    assert_eq!(ids(&two), [mine[1]]);
    assert_eq!(store.queue_destination("a").await.unwrap().unwrap().rows, 2);
    assert_eq!((awake(&store, 5).await.len(), store.queue_next().await.unwrap()), (1, Some(1)));
    let three = store.queue_lease("b", 5, 9, 9, 300).await.unwrap();
    assert_eq!((awake(&store, 5).await.len(), store.queue_next().await.unwrap()), (0, Some(100)));
    store.queue_unlease(&back(&three));
    assert_eq!(store.queue_next().await.unwrap(), Some(1));
    // Given back twice, or with another fence, it is nothing.
    let fence = two[0].fence;
    store.queue_unlease(&[(mine[1], fence + 100), (QueueId(5), fence), (mine[0], fence)]);
    assert_eq!(store.queue_lease("a", 5, 9, 9, 100).await.unwrap(), []);
    store.queue_unlease(&[(mine[1], fence), (mine[1], fence)]);
    let again = store.queue_lease("a", 5, 9, 9, 200).await.unwrap();
    assert!(ids(&again) == [mine[1]] && again[0].fence > fence);
    let with = |id, fence| requiring(vec![Require::Lease { id, fence }], vec![put("k", b"v")]);
    assert_eq!(store.commit(with(mine[1], fence), vec![]).await, Err(TxError::Failed(0)));
    store.commit(with(mine[1], again[0].fence), vec![]).await.unwrap();
    // The first runs out.
    store.commit(with(mine[0], one[0].fence), vec![]).await.unwrap();
    assert_eq!(ids(&store.queue_lease("a", 100, 9, 9, 200).await.unwrap()), [mine[0]]);
    assert_eq!(store.commit(with(mine[0], one[0].fence), vec![]).await, Err(TxError::Failed(0)));
    // Who only looks ends nothing.
    assert_eq!(store.queue_destinations(NEVER, 10).await.unwrap().len(), 2);
    assert_eq!(store.queue_lease("a", 100, 9, 9, 200).await.unwrap(), []);
    assert_eq!(awake(&store, 199).await.len(), 1);
    assert_eq!(awake(&store, 200).await.len(), 2, "then they have run out");
    // Many who ask at the same time never get the same.
    let many = enqueue(&store, (0..200).map(|at| lane("c", at as u8 % 7, 1)).collect()).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut got = Vec::new();
                loop {
                    let leased = store.queue_lease("c", 1, 3, 3, 1_000).await.unwrap();
                    if leased.is_empty() {
                        return got;
                    }
                    got.extend(ids(&leased));
                    let settled = leased.iter().step_by(2).map(|leased| leased.row.id).collect();
                    store.commit(tx(vec![Op::Dequeue { ids: settled }]), vec![]).await.unwrap();
                }
            })
        })
        .collect();
    let mut got = Vec::new();
    for task in tasks {
        got.extend(task.await.unwrap());
    }
    got.sort_unstable();
    assert_eq!(got, many);
}

async fn a_lease_ends_with_the_row_it_is_for(place: &impl Place) {
    let store = place.open();
    let mine = enqueue(&store, vec![to("a", 1), to("a", 2)]).await;
    let leased = store.queue_lease("a", 5, 9, 9, 100).await.unwrap();
    let lease = |at: usize| Require::Lease { id: mine[at], fence: leased[at].fence };
    let held = NewQueueRow { held: true, ..to("a", 1) };
    let change = Op::Requeue { id: mine[0], row: held };
    store.commit(requiring(vec![lease(0)], vec![change.clone()]), vec![]).await.unwrap();
    let again = store.commit(requiring(vec![lease(1), lease(0)], vec![change.clone()]), vec![]).await;
    assert_eq!(again, Err(TxError::Failed(1)));
    // A transaction that fails ends nothing.
    let failing = requiring(
        vec![lease(1)],
        vec![
            Op::Dequeue { ids: vec![mine[1]] },
            Op::CreateMailbox {
                account: crate::AccountId(77),
                name: "x".into(),
                special_use: None,
                uid_validity: None,
            },
        ],
    );
    // Also when others share its commit.
    let other = || store.commit(tx(vec![put("k", b"v")]), vec![]);
    let (_, _, failed, _) = tokio::join!(other(), other(), store.commit(failing, vec![]), other());
    assert_eq!(failed, Err(TxError::Gone(1)));
    assert_eq!(store.queue_lease("a", 5, 9, 9, 100).await.unwrap(), []);
    // Of rivals in one group only one is served.
    let settle = || {
        let (store, lease) = (store.clone(), lease(1));
        let row = to("a", 3);
        async move {
            store
                .commit(requiring(vec![lease], vec![Op::Requeue { id: row_of(&store).await, row }]), vec![])
                .await
        }
    };
    let outcomes = tokio::join!(settle(), settle(), settle());
    let outcomes = [outcomes.0, outcomes.1, outcomes.2];
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!(ids(&store.queue_lease("a", 5, 9, 9, 100).await.unwrap()), [mine[1]], "it is free again");
    store.commit(requiring(vec![Require::Queued(mine[0])], vec![]), vec![]).await.unwrap();
    dequeue(&store, &mine).await;
    for require in [Require::Queued(mine[0]), lease(0), lease(1)] {
        assert_eq!(store.commit(requiring(vec![require], vec![]), vec![]).await, Err(TxError::Failed(0)));
    }
    assert_eq!(store.commit(tx(vec![change]), vec![]).await, Err(TxError::Gone(0)));
}

/// The last row of the queue.
async fn row_of(store: &Store) -> QueueId {
    all(store).await.last().unwrap().id
}

async fn rows_of_one_message_are_leased_together(place: &impl Place) {
    let store = place.open();
    let held = NewQueueRow { held: true, ..to("a", 1) };
    let rows = vec![to("a", 1), to("b", 1), to("a", 1), to("a", 50), held, lane("a", 7, 2)];
    let mine = enqueue(&store, rows).await;
    enqueue(&store, vec![to("a", 1)]).await;
    let first = store.queue_lease("a", 5, 1, 1, 100).await.unwrap();
    assert_eq!(ids(&first), [mine[0]]);
    let more = store.queue_lease_message(mine[0], "a", 5, 100, 100).await.unwrap();
    assert_eq!(ids(&more), [mine[2], mine[5]]);
    assert_eq!(store.queue_lease_message(mine[0], "a", 5, 100, 100).await.unwrap(), []);
    store.queue_unlease(&back(&more));
    assert_eq!(ids(&store.queue_lease_message(mine[0], "a", 5, 1, 100).await.unwrap()), [mine[2]]);
    dequeue(&store, &mine[..2]).await;
    let rest = store.queue_lease_message(mine[0], "a", 50, 100, 100).await.unwrap();
    assert_eq!(ids(&rest), [mine[3], mine[5]], "also when the first is gone");
    assert_eq!(store.queue_lease_message(mine[0], "b", 50, 100, 100).await.unwrap(), []);
}

async fn deadlines_come_whatever_the_destination_does(place: &impl Place) {
    let store = place.open();
    let by = |deadline| NewQueueRow { deadline, ..to("a", 1_000) };
    let held = NewQueueRow { held: true, ..by(1) };
    let mine = enqueue(&store, vec![by(30), by(10), by(20), held, by(NEVER)]).await;
    rest(&store, "a", 5_000).await;
    assert_eq!(store.queue_next().await.unwrap(), Some(10));
    assert_eq!(store.queue_deadlines(9, 100, 900).await.unwrap(), []);
    let one = store.queue_deadlines(25, 1, 900).await.unwrap();
    assert_eq!((ids(&one), store.queue_next().await.unwrap()), (vec![mine[1]], Some(20)));
    let two = store.queue_deadlines(25, 100, 900).await.unwrap();
    assert_eq!((ids(&two), store.queue_next().await.unwrap()), (vec![mine[2]], Some(30)));
    requeue(&store, mine[1], by(40)).await;
    dequeue(&store, &[mine[2]]).await;
    assert_eq!(ids(&store.queue_deadlines(NEVER, 100, 800).await.unwrap()), [mine[0], mine[1]]);
    assert_eq!(store.queue_next().await.unwrap(), Some(800), "then a lease runs out");
    assert_eq!(ids(&store.queue_lease("a", 1_000, 9, 9, 2_000).await.unwrap()).len(), 3);
}

async fn a_body_stays_as_long_as_it_is_queued(place: &impl Place) {
    let store = place.open();
    let inbox = inbox(&store, 1).await;
    let large = vec![b'x'; 1_200_000];
    let new = vec![body(&store, b"letter").await, body(&store, &large).await];
    let mut second = message(vec![to("a", 1)]);
    if let Op::Enqueue(enqueue) = &mut second {
        enqueue.body = BodySource::New(1);
        (enqueue.prefix, enqueue.card) = (Bytes::new(), Bytes::new());
    }
    let ops = vec![add(inbox, BodySource::New(0)), message(vec![to("a", 1), to("b", 1)]), second];
    let receipt = store.commit(tx(ops), new).await.unwrap();
    let (two, one) = match &receipt.results[..] {
        [OpResult::Added(..), OpResult::Queued(two), OpResult::Queued(one)] => (two.clone(), one.clone()),
        _ => panic!("{receipt:?}"),
    };
    let row = store.queue_row(two[1]).await.unwrap().unwrap();
    let big = store.queue_row(one[0]).await.unwrap().unwrap();
    assert_eq!((big.side, big.size, store.queue_card(&big).await.unwrap()), (None, 1_200_000, Bytes::new()));
    store.commit(tx(vec![Op::Expunge { mailbox: inbox, uids: vec![Uid(1)] }]), vec![]).await.unwrap();
    dequeue(&store, &two[..1]).await;
    store.maintain().await;
    assert_eq!(octets(&store, &row).await, b"prefix letter");
    assert!(store.open_queued(&big).await.unwrap().read(0, 10).await.is_ok());
    // From the queue into a mailbox, and the other way.
    let stored = BodySource::Stored(row.body);
    store.commit(tx(vec![add(inbox, stored)]), vec![]).await.unwrap();
    dequeue(&store, &[two[1], one[0]]).await;
    store.maintain().await;
    assert_eq!(content(&store, inbox, Uid(2)).await, b"prefix letter");
    assert_eq!(store.open_body(big.body).await.map(|_| ()), Err(ReadError::Gone));
    let mut again = message(vec![to("a", 1)]);
    if let Op::Enqueue(enqueue) = &mut again {
        enqueue.body = stored;
    }
    store.commit(tx(vec![again.clone(), Op::RemoveMailbox(inbox)]), vec![]).await.unwrap();
    store.maintain().await;
    let rows = all(&store).await;
    assert_eq!(octets(&store, &rows[0]).await, b"prefix letter");
    dequeue(&store, &[rows[0].id]).await;
    assert_eq!(store.commit(tx(vec![again.clone()]), vec![]).await, Err(TxError::Gone(0)), "nobody has it");
    store.maintain().await;
    assert_eq!(store.open_body(row.body).await.map(|_| ()), Err(ReadError::Gone));
}

async fn all_of_a_transaction_is_queued_or_nothing(place: &impl Place) {
    let store = place.open();
    let mine = enqueue(&store, vec![to("a", 10), to("a", 20)]).await;
    let before = (all(&store).await, store.queue_count().await.unwrap(), awake(&store, NEVER).await);
    let failing = Op::Requeue { id: QueueId(3), row: to("a", 1) };
    let ops = vec![
        message(vec![to("b", 1), to("a", 2)]),
        Op::Dequeue { ids: vec![mine[0]] },
        Op::Requeue { id: mine[1], row: to("c", 1) },
        Op::Rest { destination: "a".into(), until: 99 },
        failing,
    ];
    // Beside others, of which nothing is undone.
    let (failed, done) = tokio::join!(
        store.commit(tx(ops), vec![body(&store, b"x").await]),
        store.commit(tx(vec![Op::Requeue { id: mine[1], row: to("a", 20) }]), vec![]),
    );
    assert_eq!((failed, done.is_ok()), (Err(TxError::Gone(4)), true));
    let after = (all(&store).await, store.queue_count().await.unwrap(), awake(&store, NEVER).await);
    assert_eq!(after, before);
    // The same id answers and queues nothing.
    let mut once = tx(vec![message(vec![to("b", 1)])]);
    once.id = Some(crate::TxId(7));
    let first = store.commit(once.clone(), vec![body(&store, b"x").await]).await.unwrap();
    assert_eq!(store.commit(once, vec![body(&store, b"x").await]).await.unwrap(), first);
    assert_eq!(store.queue_count().await.unwrap().rows, 3);
}

async fn rows_are_listed_in_pages(place: &impl Place) {
    let store = place.open();
    let mut mine = Vec::new();
    for at in 0..30 {
        let held = |destination| NewQueueRow { held: at % 3 == 0, ..to(destination, at) };
        mine.push(enqueue(&store, vec![held("a"), held("b"), held("b")]).await);
    }
    let pages = async |filter: QueueFilter, page: usize| {
        let mut filter = filter;
        let mut found = Vec::new();
        loop {
            let rows = store.queue_rows(filter.clone(), page).await.unwrap();
            let Some(last) = rows.last() else { return found };
            assert!(rows.len() <= page);
            filter.after = last.id;
            found.extend(rows);
        }
    };
    let every = pages(QueueFilter::default(), 7).await;
    assert_eq!(every.iter().map(|row| row.id).collect::<Vec<_>>(), mine.concat());
    for message in [None, Some(mine[4][0]), Some(mine[3][0]), Some(QueueId(7))] {
        for destination in [None, Some("b".to_owned()), Some("c".to_owned())] {
            for held in [None, Some(true), Some(false)] {
                let filter =
                    QueueFilter { after: QueueId(0), message, destination: destination.clone(), held };
                let wanted = every.iter().filter(|row| {
                    message.is_none_or(|message| row.message == message)
                        && destination.as_ref().is_none_or(|destination| row.destination == *destination)
                        && held.is_none_or(|held| row.held == held)
                });
                let wanted: Vec<QueueRow> = wanted.cloned().collect();
                assert_eq!(pages(filter.clone(), 4).await, wanted, "{filter:?}");
            }
        }
    }
    assert_eq!(store.queue_rows(QueueFilter::default(), 0).await.unwrap(), []);
}

async fn what_is_queued_is_there_after_a_restart(place: &impl Place) {
    let store = place.open();
    let mine = enqueue(&store, vec![to("a", 10), to("b", 20), to("a", 30)]).await;
    rest(&store, "b", 90).await;
    requeue(&store, mine[2], NewQueueRow { held: true, ..to("c", 5) }).await;
    let leased = store.queue_lease("a", 10, 9, 9, NEVER).await.unwrap();
    assert_eq!(leased.len(), 1);
    let before = (all(&store).await, store.queue_count().await.unwrap());
    store.stop().await;
    let store = place.open();
    assert_eq!((all(&store).await, store.queue_count().await.unwrap()), before);
    let held = ("c".to_owned(), NEVER);
    assert_eq!(awake(&store, NEVER).await, [("a".to_owned(), 10), ("b".to_owned(), 90), held]);
    // Leases have ended.
    let lease = Require::Lease { id: mine[0], fence: leased[0].fence };
    assert_eq!(store.commit(requiring(vec![lease], vec![]), vec![]).await, Err(TxError::Failed(0)));
    assert_eq!(store.queue_lease("a", 10, 9, 9, NEVER).await.unwrap().len(), 1);
    assert!(enqueue(&store, vec![to("a", 1)]).await[0] > mine[2]);
}

async fn watchers_of_the_queue_are_told(place: &impl Place) {
    let store = place.open();
    let mut watch = store.queue_watch();
    assert!(!watch.has_changed().unwrap());
    let mut moved = || {
        let moved = watch.has_changed().unwrap();
        watch.mark_unchanged();
        moved
    };
    let mine = enqueue(&store, vec![to("a", 1)]).await;
    assert!(moved());
    let leased = store.queue_lease("a", 1, 1, 1, 9).await.unwrap();
    assert!(!moved());
    store.queue_unlease(&back(&leased));
    assert!(moved());
    store.queue_unlease(&back(&leased));
    assert!(!moved());
    requeue(&store, mine[0], to("b", 1)).await;
    assert!(moved());
    rest(&store, "b", 5).await;
    assert!(moved());
    rest(&store, "b", 5).await;
    dequeue(&store, &mine).await;
    store.commit(tx(vec![put("k", b"v")]), vec![]).await.unwrap();
    assert!(!moved());
}

async fn what_is_too_large_is_not_queued(place: &impl Place) {
    let store = place.open();
    let large = |destination: usize, value: usize| NewQueueRow {
        value: vec![0; value].into(),
        ..to(&"d".repeat(destination), 1)
    };
    let fits = enqueue(&store, vec![large(1_024, 16_384)]).await;
    for row in [large(1_025, 1), large(1, 16_385)] {
        for op in [message(vec![row.clone()]), Op::Requeue { id: fits[0], row: row.clone() }] {
            let outcome = store.commit(tx(vec![op]), vec![body(&store, b"x").await]).await;
            assert_eq!(outcome, Err(TxError::TooLarge(0)));
        }
    }
    let many = vec![large(1, 1); 100_001];
    let outcome = store.commit(tx(vec![message(many)]), vec![body(&store, b"x").await]).await;
    assert_eq!(outcome, Err(TxError::TooLarge(0)));
    let far = Op::Rest { destination: "d".repeat(1_025), until: 1 };
    assert_eq!(store.commit(tx(vec![far]), vec![]).await, Err(TxError::TooLarge(0)));
    assert_eq!(all(&store).await.len(), 1);
}
