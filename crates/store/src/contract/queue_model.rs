//! The queue's part of the model.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::body;
use crate::tx::{BodySource, Op, OpResult, Require, TxError};
use crate::{
    Enqueue, Leased, NewBody, NewQueueRow, QueueCount, QueueDestination, QueueFilter, QueueId, Store,
};

/// Later than the clock of any store: a rest until then is kept, also without rows.
const FAR: i64 = 1 << 60;
const DESTINATIONS: u8 = 4;

/// What a row says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    destination: u8,
    lane: u8,
    due: i64,
    deadline: i64,
    held: bool,
}

/// Operations that name rows by the order in which they were made, before the transaction.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// What its body is filled with, and its rows.
    Enqueue(u8, Vec<Row>),
    Dequeue(Vec<u8>),
    Requeue(u8, Row),
    Rest(u8, i64),
}

#[derive(Debug, Clone)]
pub(super) enum Need {
    Queued(u8),
    Lease(u8),
}

/// What somebody asks of the queue after a transaction.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    /// Destination, now, of each lane, in all, until.
    Lease(u8, i64, usize, usize, i64),
    /// Of the same message as this row: destination, now, in all, until.
    Message(u8, u8, i64, usize, i64),
    /// Now, in all, until.
    Deadlines(i64, usize, i64),
    GiveBack(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq)]
struct There {
    row: Row,
    message: usize,
    octets: Vec<u8>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Queue {
    rows: BTreeMap<usize, There>,
    pub(super) made: usize,
    /// Rows made before the transaction.
    known: usize,
    rests: BTreeMap<u8, i64>,
    /// Fence, and when it runs out.
    leases: BTreeMap<usize, (u64, i64)>,
}

fn row() -> impl Strategy<Value = Row> {
    let deadline = prop_oneof![1 => Just(i64::MAX), 2 => 0..40i64];
    (
        0..DESTINATIONS,
        prop_oneof![Just(0), Just(9), 254..=255u8],
        0..30i64,
        deadline,
        prop::bool::weighted(0.2),
    )
        .prop_map(|(destination, lane, due, deadline, held)| Row {
            destination,
            lane,
            due,
            deadline,
            held,
        })
}

pub(super) fn act() -> impl Strategy<Value = Act> {
    let until = prop_oneof![Just(i64::MIN), 0..50i64, FAR..FAR + 3];
    prop_oneof![
        4 => (any::<u8>(), prop::collection::vec(row(), 0..5)).prop_map(|(fill, rows)| Act::Enqueue(fill, rows)),
        3 => prop::collection::vec(0..40u8, 0..5).prop_map(Act::Dequeue),
        2 => (0..40u8, row()).prop_map(|(at, row)| Act::Requeue(at, row)),
        1 => (0..DESTINATIONS, until).prop_map(|(destination, until)| Act::Rest(destination, until)),
    ]
}

pub(super) fn need() -> impl Strategy<Value = Need> {
    prop_oneof![(0..40u8).prop_map(Need::Queued), (0..40u8).prop_map(Need::Lease)]
}

pub(super) fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let (now, until) = (0..40i64, 10..80i64);
    let ask = prop_oneof![
        3 => (0..DESTINATIONS, now.clone(), 0..4usize, 0..8usize, until.clone())
            .prop_map(|(to, now, lane, all, until)| Ask::Lease(to, now, lane, all, until)),
        1 => (0..40u8, 0..DESTINATIONS, now.clone(), 0..8usize, until.clone())
            .prop_map(|(row, to, now, all, until)| Ask::Message(row, to, now, all, until)),
        1 => (now, 0..8usize, until).prop_map(|(now, all, until)| Ask::Deadlines(now, all, until)),
        1 => prop::collection::vec(0..40u8, 0..9).prop_map(Ask::GiveBack),
    ];
    prop::collection::vec(ask, 0..3)
}

fn name(destination: u8) -> String {
    format!("d{destination}")
}

fn octets(fill: u8) -> Vec<u8> {
    vec![fill; usize::from(fill) * 7]
}

fn said(row: &Row) -> NewQueueRow {
    NewQueueRow {
        destination: name(row.destination),
        lane: row.lane,
        due_at: row.due,
        deadline: row.deadline,
        held: row.held,
        value: format!("{row:?}").into(),
    }
}

/// The number of a row; one that nobody has where there is none.
fn id(ids: &[QueueId], at: u8) -> QueueId {
    ids.get(usize::from(at)).copied().unwrap_or(QueueId(900 + u64::from(at)))
}

impl Need {
    pub(super) fn translate(&self, ids: &[QueueId], model: &Queue) -> Require {
        match self {
            Need::Queued(at) => Require::Queued(id(ids, *at)),
            Need::Lease(at) => {
                let fence = model.leases.get(&usize::from(*at)).map_or(1, |(fence, _)| *fence);
                Require::Lease { id: id(ids, *at), fence }
            }
        }
    }
}

impl Act {
    pub(super) async fn translate(&self, store: &Store, ids: &[QueueId], bodies: &mut Vec<NewBody>) -> Op {
        match self {
            Act::Enqueue(fill, rows) => {
                bodies.push(body(store, &octets(*fill)).await);
                // Some have neither prefix nor card.
                let short = fill % 5 == 0;
                Op::Enqueue(Enqueue {
                    body: BodySource::New(bodies.len() - 1),
                    prefix: Bytes::from_static(if short { b"" } else { b"p" }),
                    card: Bytes::from_static(if short { b"" } else { b"card" }),
                    rows: rows.iter().map(said).collect(),
                })
            }
            Act::Dequeue(list) => Op::Dequeue { ids: list.iter().map(|at| id(ids, *at)).collect() },
            Act::Requeue(at, row) => Op::Requeue { id: id(ids, *at), row: said(row) },
            Act::Rest(destination, until) => Op::Rest { destination: name(*destination), until: *until },
        }
    }
}

/// Numbers of rows as the order in which they were made. New ones are added to those known.
pub(super) fn blank(result: &mut OpResult, ids: &mut Vec<QueueId>, new: bool) {
    if let (OpResult::Queued(made), true) = (&*result, new) {
        assert!(ids.last().is_none_or(|last| made.first().is_none_or(|first| first > last)));
        ids.extend(made);
    }
    if let OpResult::Queued(list) | OpResult::Dequeued(list) = result {
        for one in list {
            *one = QueueId(ids.binary_search(one).unwrap() as u64);
        }
    }
}

impl Queue {
    pub(super) fn begin(&mut self) {
        self.known = self.made;
    }

    /// What is over at the end of a transaction.
    pub(super) fn end(&mut self) {
        let there: BTreeSet<u8> = self.rows.values().map(|there| there.row.destination).collect();
        self.rests.retain(|destination, until| *until >= FAR || there.contains(destination));
    }

    pub(super) fn forget_leases(&mut self) {
        self.leases.clear();
    }

    pub(super) fn holds(&self, need: &Need) -> bool {
        match need {
            Need::Queued(at) => self.rows.contains_key(&usize::from(*at)),
            Need::Lease(at) => self.leases.contains_key(&usize::from(*at)),
        }
    }

    pub(super) fn act(&mut self, index: usize, act: &Act) -> Result<OpResult, TxError> {
        match act {
            Act::Enqueue(fill, rows) => {
                let message = self.made;
                let mut octets = octets(*fill);
                if fill % 5 != 0 {
                    octets.insert(0, b'p');
                }
                for row in rows {
                    let there = There { row: *row, message, octets: octets.clone() };
                    self.rows.insert(self.made, there);
                    self.made += 1;
                }
                Ok(OpResult::Queued((message..self.made).map(|at| QueueId(at as u64)).collect()))
            }
            Act::Dequeue(list) => {
                let list: BTreeSet<usize> = list.iter().map(|at| usize::from(*at)).collect();
                let mut gone = Vec::new();
                for at in list.into_iter().filter(|at| *at < self.known) {
                    if self.rows.remove(&at).is_some() {
                        self.leases.remove(&at);
                        gone.push(QueueId(at as u64));
                    }
                }
                Ok(OpResult::Dequeued(gone))
            }
            Act::Requeue(at, row) => {
                let at = usize::from(*at);
                let there = self.rows.get_mut(&at).filter(|_| at < self.known);
                there.ok_or(TxError::Gone(index))?.row = *row;
                self.leases.remove(&at);
                Ok(OpResult::Done)
            }
            Act::Rest(destination, until) => {
                self.rests.insert(*destination, *until);
                Ok(OpResult::Done)
            }
        }
    }

    fn is_free(&self, at: usize, now: i64) -> bool {
        self.rows.get(&at).is_some_and(|there| !there.row.held && there.row.due <= now)
            && !self.leases.contains_key(&at)
    }

    /// Somebody asks, and gets what the model allows.
    pub(super) async fn ask(&mut self, store: &Store, ids: &[QueueId], ask: &Ask) {
        let place = |leased: &Leased| ids.binary_search(&leased.row.id).unwrap();
        match *ask {
            Ask::Lease(destination, now, per_lane, limit, until) => {
                self.leases.retain(|_, (_, until)| *until > now);
                let mut lanes: BTreeMap<u8, Vec<(i64, usize)>> = BTreeMap::new();
                for (at, there) in &self.rows {
                    if there.row.destination == destination && self.is_free(*at, now) {
                        lanes.entry(there.row.lane).or_default().push((there.row.due, *at));
                    }
                }
                lanes.values_mut().for_each(|lane| lane.sort_unstable());
                let got = store.queue_lease(&name(destination), now, per_lane, limit, until).await.unwrap();
                let most: usize = lanes.values().map(|lane| lane.len().min(per_lane)).sum();
                assert_eq!(got.len(), most.min(limit));
                let mut taken: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
                for leased in &got {
                    taken.entry(leased.row.lane).or_default().push(place(leased));
                }
                let fullest = taken.values().map(Vec::len).max().unwrap_or(0);
                for (lane, rows) in &lanes {
                    let mine = taken.get(lane).map_or(&[][..], |mine| mine);
                    assert!(rows.iter().map(|(_, at)| at).take(mine.len()).eq(mine), "the oldest first");
                    let whole = mine.len() == rows.len().min(per_lane);
                    assert!(whole || mine.len() + 1 >= fullest, "lane {lane} was passed over");
                }
                self.lease(&got, ids, until);
            }
            Ask::Message(row, destination, now, limit, until) => {
                let message = self.rows.get(&usize::from(row)).map(|there| there.message);
                let of = message.map_or(QueueId(7), |message| ids[message]);
                self.leases.retain(|_, (_, until)| *until > now);
                let got = store.queue_lease_message(of, &name(destination), now, limit, until).await.unwrap();
                let wanted = self.rows.iter().filter(|(at, there)| {
                    Some(there.message) == message
                        && there.row.destination == destination
                        && self.is_free(**at, now)
                });
                assert!(wanted.map(|(at, _)| *at).take(limit).eq(got.iter().map(place)));
                self.lease(&got, ids, until);
            }
            Ask::Deadlines(now, limit, until) => {
                self.leases.retain(|_, (_, until)| *until > now);
                let mut wanted: Vec<(i64, usize)> = self
                    .rows
                    .iter()
                    .filter(|(at, there)| {
                        there.row.deadline <= now && !there.row.held && !self.leases.contains_key(at)
                    })
                    .map(|(at, there)| (there.row.deadline, *at))
                    .collect();
                wanted.sort_unstable();
                let got = store.queue_deadlines(now, limit, until).await.unwrap();
                assert!(wanted.iter().map(|(_, at)| *at).take(limit).eq(got.iter().map(place)));
                self.lease(&got, ids, until);
            }
            Ask::GiveBack(ref list) => {
                let mut back = Vec::new();
                for at in list {
                    let at = usize::from(*at);
                    if let Some((fence, _)) = self.leases.remove(&at) {
                        back.push((ids[at], fence));
                    }
                }
                store.queue_unlease(&back);
            }
        }
    }

    fn lease(&mut self, got: &[Leased], ids: &[QueueId], until: i64) {
        for leased in got {
            let at = ids.binary_search(&leased.row.id).unwrap();
            assert_eq!(leased.row.value, said(&self.rows[&at].row).value);
            assert!(self.leases.insert(at, (leased.fence, until)).is_none(), "it has an owner");
        }
    }

    /// When there is something to do, leases left out that have run out by now.
    fn wake_at(&self, destination: u8, now: i64) -> i64 {
        let due = |(at, there): (&usize, &There)| {
            let counts = there.row.destination == destination
                && !there.row.held
                && self.leases.get(at).is_none_or(|(_, until)| *until <= now);
            counts.then_some(there.row.due)
        };
        let due = self.rows.iter().filter_map(due).min();
        due.map_or(i64::MAX, |due| due.max(self.rest(destination)))
    }

    fn rest(&self, destination: u8) -> i64 {
        self.rests.get(&destination).copied().unwrap_or(i64::MIN)
    }

    fn destination(&self, destination: u8) -> Option<QueueDestination> {
        let rows = self.rows.values().filter(|there| there.row.destination == destination).count() as u64;
        (rows > 0 || self.rest(destination) > 0).then(|| QueueDestination {
            name: name(destination),
            rows,
            resting_until: self.rest(destination),
            wake_at: self.wake_at(destination, i64::MIN),
        })
    }

    /// When things are due is what the model says.
    pub(super) async fn compare_times(&self, store: &Store) {
        for destination in 0..DESTINATIONS {
            let found = store.queue_destination(&name(destination)).await.unwrap();
            assert_eq!(found, self.destination(destination));
        }
        let deadline = |(at, there): (&usize, &There)| {
            (!there.row.held && !self.leases.contains_key(at)).then_some(there.row.deadline)
        };
        let next = (0..DESTINATIONS)
            .map(|destination| self.wake_at(destination, i64::MIN))
            .chain(self.rows.iter().filter_map(deadline))
            .chain(self.leases.values().map(|(_, until)| *until))
            .min();
        assert_eq!(store.queue_next().await.unwrap(), next.filter(|next| *next != i64::MAX));
        let held = self.rows.values().filter(|there| there.row.held).count() as u64;
        let there: BTreeSet<u8> = self.rows.values().map(|there| there.row.destination).collect();
        let count = QueueCount {
            rows: self.rows.len() as u64,
            octets: self.rows.values().map(|there| there.octets.len() as u64).sum(),
            held,
            destinations: there.len() as u64,
        };
        assert_eq!(store.queue_count().await.unwrap(), count);
    }

    /// All that can be read of the queue is what the model holds.
    pub(super) async fn compare(&self, store: &Store, ids: &[QueueId]) {
        self.compare_times(store).await;
        let rows = store.queue_rows(QueueFilter::default(), 10_000).await.unwrap();
        assert_eq!(rows.len(), self.rows.len());
        for (row, (at, there)) in rows.iter().zip(&self.rows) {
            assert_eq!((row.id, row.message), (ids[*at], ids[there.message]));
            let found = NewQueueRow {
                destination: row.destination.clone(),
                lane: row.lane,
                due_at: row.due_at,
                deadline: row.deadline,
                held: row.held,
                value: row.value.clone(),
            };
            assert_eq!(found, said(&there.row));
            let reader = store.open_queued(row).await.unwrap();
            assert!(reader.read(0, 10_000).await.unwrap() == there.octets, "content of {at}");
            let card = store.queue_card(row).await.unwrap();
            assert_eq!(card.is_empty(), row.side.is_none());
        }
    }

    /// The destinations where something is to be done are the model's.
    pub(super) async fn compare_awake(&self, store: &Store, now: i64) {
        let found = store.queue_destinations(now, 100).await.unwrap();
        assert!(found.is_sorted_by_key(|destination| destination.wake_at));
        let found: BTreeSet<_> = found.into_iter().map(|found| (found.name, found.wake_at)).collect();
        let wanted = (0..DESTINATIONS)
            .filter(|one| self.rows.values().any(|there| there.row.destination == *one))
            .map(|destination| (name(destination), self.wake_at(destination, now)));
        assert_eq!(found, wanted.filter(|(_, wake_at)| *wake_at <= now).collect());
    }
}
