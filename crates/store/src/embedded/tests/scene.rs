//! A sequence of transactions that touches everything, and what the store must look like after each.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;

use super::disk_sim::Dice;
use crate::embedded::Embedded;
use crate::embedded::body::NewBody;
use crate::embedded::disk::Disk;
use crate::embedded::queue;
use crate::embedded::read::MessageReader;
use crate::tx::{AddMessage, BodySource, FlagChange, Op, Tx};
use crate::{
    AccountId, Enqueue, Flags, MailboxId, NewQueueRow, OpenError, Options, QueueFilter, QueueId, Uid,
};

/// When its clock begins.
const BEGINNING: u64 = 1_800_000_000_000_000;

/// A clock that moves when told.
#[derive(Debug, Clone)]
pub(super) struct Hand(Arc<AtomicU64>);

impl Hand {
    pub(super) fn new() -> Hand {
        Hand(Arc::new(AtomicU64::new(BEGINNING)))
    }

    pub(super) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as u64, Ordering::Relaxed);
    }
}

pub(super) const GRACE: Duration = Duration::from_secs(100);

pub(super) fn options(dir: &Path, hand: &Hand, sync_database: bool) -> Options {
    let now = hand.0.clone();
    Options {
        disk_floor: 0,
        segment_octets: 24 << 10,
        grace: GRACE,
        clock: Arc::new(move || now.load(Ordering::Relaxed)),
        maintenance: false,
        sync_database,
        ..Options::new(dir)
    }
}

pub(super) fn open(dir: &Path, hand: &Hand, sync: bool, disk: Disk) -> Result<Embedded, OpenError> {
    Embedded::open(options(dir, hand, sync), disk)
}

/// A transaction with what its bodies hold.
#[derive(Debug, Clone)]
pub(super) struct Move {
    pub(super) ops: Vec<Op>,
    pub(super) bodies: Vec<Bytes>,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// These at the same time.
    Commit(Vec<Move>),
    /// Time passes and everything due is reaped and compacted.
    Maintain,
}

fn add(mailbox: u64, body: BodySource) -> Op {
    Op::AddMessage(AddMessage {
        mailbox: MailboxId(mailbox),
        body,
        prefix: Bytes::from_static(b"Return-Path: <a@b>\r\n"),
        card: Bytes::from_static(b"card"),
        flags: Flags::NONE,
        received_at: 5,
        keywords: vec![],
        uid: None,
    })
}

fn octets(len: usize, dice: &mut Dice) -> Bytes {
    (0..len).map(|_| dice.roll(256) as u8).collect::<Vec<_>>().into()
}

fn some(limit: u32, count: usize, dice: &mut Dice) -> Vec<Uid> {
    (0..count).map(|_| Uid(1 + dice.roll(limit as usize) as u32)).collect()
}

/// The queue as a sequence knows it.
struct Queued {
    now: u64,
    next: u64,
    all: Vec<QueueId>,
}

impl Queued {
    fn row(dice: &mut Dice) -> NewQueueRow {
        NewQueueRow {
            destination: format!("mx:{}.example", dice.roll(3)),
            lane: dice.roll(3) as u8,
            due_at: dice.roll(50) as i64,
            deadline: dice.roll(90) as i64,
            held: dice.roll(5) == 0,
            value: octets(dice.roll(300), dice),
        }
    }

    fn enqueue(&mut self, body: BodySource, dice: &mut Dice) -> Op {
        let rows: Vec<_> = (0..1 + dice.roll(4)).map(|_| Queued::row(dice)).collect();
        let first = self.next.max(self.now);
        self.next = first + rows.len() as u64;
        self.all.extend((first..self.next).map(QueueId));
        let none = dice.roll(4) == 0;
        let (prefix, card): (&[u8], &[u8]) = if none { (b"", b"") } else { (b"Received: x\r\n", b"card") };
        Op::Enqueue(Enqueue {
            body,
            prefix: Bytes::from_static(prefix),
            card: Bytes::from_static(card),
            rows,
        })
    }

    /// Rows of those that were ever there.
    fn some(&self, count: usize, dice: &mut Dice) -> Vec<QueueId> {
        let any = |_| self.all.get(dice.roll(self.all.len().max(1))).copied().unwrap_or(QueueId(1));
        (0..count).map(any).collect()
    }

    fn change(&self, dice: &mut Dice) -> Op {
        match dice.roll(5) {
            0..=2 => Op::Dequeue { ids: self.some(6, dice) },
            3 => {
                let id = self.all.last().copied().unwrap_or(QueueId(1));
                Op::Requeue { id, row: Queued::row(dice) }
            }
            // Far away: when a shorter rest is forgotten depends on who shares a commit.
            _ => {
                let until = [i64::MIN, i64::MAX / 2][dice.roll(2)];
                Op::Rest { destination: format!("mx:{}.example", dice.roll(3)), until }
            }
        }
    }
}

/// A sequence made by chance: two accounts, three mailboxes that stay and one that comes and goes, and a queue.
pub(super) fn script(seed: u64, len: usize) -> Vec<Step> {
    let mut dice = Dice(seed);
    let account = |id| Op::CreateAccount(AccountId(id));
    let mailbox = |id, name: &str| Op::CreateMailbox {
        account: AccountId(id),
        name: name.into(),
        special_use: None,
        uid_validity: None,
    };
    let mut steps = vec![Step::Commit(vec![Move {
        ops: vec![account(1), account(2), mailbox(1, "INBOX"), mailbox(1, "Sent"), mailbox(2, "INBOX")],
        bodies: vec![],
    }])];
    let (mut delivered, mut next_mailbox, mut fourth) = (0, 4, None);
    let mut queued = Queued { now: BEGINNING, next: 1, all: Vec::new() };
    for _ in 0..len {
        let mut moves = Vec::new();
        for _ in 0..1 + dice.roll(3) {
            let there = 1 + dice.roll(3) as u64;
            let ops = match dice.roll(16) {
                // Mostly deliveries: to one, to several, small and large.
                0..=4 => {
                    delivered += 1;
                    let len = [30, 700, 6_000, 20_000][dice.roll(4)];
                    let mut ops = vec![add(there, BodySource::New(0))];
                    if dice.roll(3) == 0 {
                        ops.push(add(3, BodySource::New(0)));
                    }
                    moves.push(Move { ops, bodies: vec![octets(len, &mut dice)] });
                    continue;
                }
                5 if dice.roll(2) == 0 => {
                    delivered += 1;
                    let body = octets((1 << 20) + 10, &mut dice);
                    moves.push(Move { ops: vec![add(there, BodySource::New(0))], bodies: vec![body] });
                    continue;
                }
                6 | 5 => vec![Op::Copy {
                    from: MailboxId(there),
                    uids: some(delivered + 1, 4, &mut dice),
                    to: MailboxId(2),
                }],
                7 => {
                    let change = FlagChange::Add(Flags(1 << dice.roll(5)));
                    vec![Op::SetFlags {
                        mailbox: MailboxId(there),
                        uids: some(delivered + 1, 5, &mut dice),
                        change,
                        keywords: vec![],
                        unchanged_since: None,
                    }]
                }
                12 => {
                    let len = [30, 20_000][dice.roll(2)];
                    let mut ops = vec![queued.enqueue(BodySource::New(0), &mut dice)];
                    if dice.roll(2) == 0 {
                        delivered += 1;
                        ops.push(add(there, BodySource::New(0)));
                    }
                    moves.push(Move { ops, bodies: vec![octets(len, &mut dice)] });
                    continue;
                }
                13..=15 => vec![queued.change(&mut dice)],
                8 | 9 => {
                    vec![Op::Expunge { mailbox: MailboxId(there), uids: some(delivered + 1, 6, &mut dice) }]
                }
                10 => match fourth.take() {
                    None => {
                        fourth = Some(next_mailbox);
                        next_mailbox += 1;
                        vec![
                            mailbox(2, "Fourth"),
                            Op::Copy {
                                from: MailboxId(3),
                                uids: some(5, 3, &mut dice),
                                to: MailboxId(next_mailbox - 1),
                            },
                        ]
                    }
                    Some(id) if dice.roll(2) == 0 => vec![
                        Op::RenameMailbox { mailbox: MailboxId(id), name: "Fifth".into() },
                        Op::RemoveMailbox(MailboxId(id)),
                    ],
                    Some(id) => vec![Op::RemoveMailbox(MailboxId(id))],
                },
                _ => vec![
                    Op::Put { key: format!("k/{}", dice.roll(4)), value: vec![dice.roll(256) as u8; 40] },
                    Op::Remove { key: format!("k/{}", dice.roll(4)) },
                ],
            };
            moves.push(Move { ops, bodies: vec![] });
        }
        steps.push(Step::Commit(moves));
        if dice.roll(6) == 0 {
            steps.push(Step::Maintain);
            queued.now += 2 * GRACE.as_micros() as u64;
        }
    }
    steps
}

/// Small bodies between large ones, of which the large ones go: segments are compacted, twice, and what stays is moved.
pub(super) fn moving_script() -> Vec<Step> {
    let mut dice = Dice(4);
    let setup = vec![
        Op::CreateAccount(AccountId(1)),
        Op::CreateMailbox {
            account: AccountId(1),
            name: "INBOX".into(),
            special_use: None,
            uid_validity: None,
        },
    ];
    let mut steps = vec![Step::Commit(vec![Move { ops: setup, bodies: vec![] }])];
    for round in 0..2u32 {
        for _ in 0..5 {
            let bodies = vec![octets(300, &mut dice), octets(19_000, &mut dice)];
            let ops = vec![add(1, BodySource::New(0)), add(1, BodySource::New(1))];
            steps.push(Step::Commit(vec![Move { ops, bodies }]));
        }
        let uids = (1..=5).map(|pair| Uid(round * 10 + pair * 2)).collect();
        let ops = vec![Op::Expunge { mailbox: MailboxId(1), uids }];
        steps.push(Step::Commit(vec![Move { ops, bodies: vec![] }]));
        steps.push(Step::Maintain);
    }
    steps
}

/// Commits some moves at the same time, in their order.
pub(super) async fn commit(store: &Embedded, moves: &[Move]) -> Vec<Result<crate::Receipt, crate::TxError>> {
    let mut ready = Vec::new();
    for one in moves {
        let mut bodies = Vec::new();
        for octets in &one.bodies {
            let mut body = NewBody::new(store.shared.clone(), None);
            for chunk in octets.chunks(100_000) {
                if let Err(error) = body.write(Bytes::copy_from_slice(chunk)).await {
                    return vec![Err(crate::TxError::Stopped(error.to_string()))];
                }
            }
            bodies.push(body);
        }
        ready.push((Tx { id: None, require: vec![], ops: one.ops.clone() }, bodies));
    }
    // A large body is settled before its transaction queues: one after the other keeps their order the same each time.
    if moves.iter().any(|one| one.bodies.iter().any(|body| body.len() > 1 << 20)) {
        let mut answers = Vec::new();
        for (tx, bodies) in ready {
            answers.push(store.commit(tx, bodies).await);
        }
        return answers;
    }
    let mut waiting = Vec::new();
    for (tx, bodies) in ready {
        waiting.push(Box::pin(store.commit(tx, bodies)));
    }
    let mut answers: Vec<_> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut open = false;
        for (future, answer) in waiting.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *answer = Some(value),
                    std::task::Poll::Pending => open = true,
                }
            }
        }
        if open { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    answers.into_iter().flatten().collect()
}

/// Everything a caller can see, bodies as their checksums; bodies' own numbers differ between two runs and are left out.
pub(super) fn dump(store: &Embedded) -> String {
    let shared = &store.shared;
    let rows = |conn: &Connection, sql: &str| -> rusqlite::Result<String> {
        let mut select = conn.prepare(sql)?;
        let columns = select.column_count();
        let mut rows = select.query([])?;
        let mut text = format!("{sql}\n");
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                text += &format!("{:?} ", row.get_ref(column)?);
            }
            text += "\n";
        }
        Ok(text)
    };
    let mut text = String::new();
    shared
        .readers
        .with(|conn| {
            for sql in [
                "SELECT * FROM account ORDER BY id",
                "SELECT * FROM mailbox ORDER BY id",
                "SELECT * FROM keyword ORDER BY mailbox, bit",
                "SELECT * FROM side_shared ORDER BY id",
                "SELECT * FROM kv ORDER BY key",
                "SELECT * FROM vanished ORDER BY mailbox, modseq, first",
                "SELECT * FROM mailbox_gone ORDER BY account, modseq",
                "SELECT mailbox, uid, modseq, born, flags, size, received_at, saved_at, side FROM message ORDER BY mailbox, uid",
                "SELECT id, message, destination, lane, due_at, deadline, held, queued_at, size, side, value FROM queue ORDER BY id",
                "SELECT * FROM queue_destination ORDER BY name",
                "SELECT next_queue, queue_rows, queue_octets, queue_held, queue_destinations FROM log",
            ] {
                text += &rows(conn, sql)?;
            }
            Ok::<_, rusqlite::Error>(())
        })
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for row in runtime.block_on(shared.queue_rows(QueueFilter::default(), 1_000)).unwrap() {
        let read = shared.open_queued(&row).map(|reader| checksum(&reader, &runtime));
        text += &format!("{}: {:?}, {:?}\n", row.id, read, shared.card(row.side));
    }
    let messages: Vec<(u64, u32)> = shared
        .readers
        .with(|conn| {
            conn.prepare("SELECT mailbox, uid FROM message ORDER BY mailbox, uid")?
                .query_map([], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()
        })
        .unwrap();
    for (mailbox, uid) in messages {
        let row = shared.message(MailboxId(mailbox), Uid(uid)).unwrap().unwrap();
        let reader = match shared.open_message(&row) {
            Ok(reader) => reader,
            Err(error) => {
                text += &format!("{row:?}: {error}\n");
                continue;
            }
        };
        let (octets, crc) = checksum(&reader, &runtime);
        text += &format!("{mailbox}/{uid}: {octets} octets, {crc:08x}\n");
    }
    text
}

/// How many octets a message has, and what they are.
fn checksum(reader: &MessageReader, runtime: &tokio::runtime::Runtime) -> (u64, u32) {
    let mut crc = 0;
    let mut at = 0;
    while at < reader.len() {
        let piece = runtime.block_on(reader.read(at, 300_000)).unwrap();
        crc = crc32c::crc32c_append(crc, &piece);
        at += piece.len() as u64;
    }
    (at, crc)
}

/// What must hold of the rows whatever happened.
pub(super) fn counters_are_true(store: &Embedded) {
    let wrong: i64 = store
        .shared
        .readers
        .with(|conn| {
            conn.query_row(
                "SELECT
                 (SELECT count(*) FROM mailbox WHERE messages <> (SELECT count(*) FROM message WHERE mailbox = mailbox.id)
                    OR octets <> (SELECT coalesce(sum(size), 0) FROM message WHERE mailbox = mailbox.id)
                    OR uid_next <= (SELECT coalesce(max(uid), 0) FROM message WHERE mailbox = mailbox.id)
                    OR modseq < (SELECT coalesce(max(modseq), 0) FROM message WHERE mailbox = mailbox.id)
                    OR unseen <> (SELECT count(*) FROM message WHERE mailbox = mailbox.id AND flags & 1 = 0)
                    OR deleted <> (SELECT count(*) FROM message WHERE mailbox = mailbox.id AND flags & 8 <> 0)
                    OR deleted_octets <> (SELECT coalesce(sum(size), 0) FROM message
                                          WHERE mailbox = mailbox.id AND flags & 8 <> 0))
               + (SELECT count(*) FROM side WHERE coalesce((SELECT extra FROM side_shared WHERE id = side.id), 0) <>
                    (SELECT count(*) FROM message WHERE side = side.id)
                    + (SELECT count(*) FROM queue WHERE side = side.id) - 1)
               + (SELECT count(*) FROM side_shared WHERE id NOT IN (SELECT id FROM side))
               + (SELECT count(*) FROM account WHERE messages <>
                    (SELECT coalesce(sum(messages), 0) FROM mailbox WHERE account = account.id)
                    OR octets <> (SELECT coalesce(sum(octets), 0) FROM mailbox WHERE account = account.id)
                    OR modseq < (SELECT coalesce(max(modseq), 0) FROM mailbox WHERE account = account.id))
               + (SELECT count(*) FROM body WHERE refs <> (SELECT count(DISTINCT side) + count(*) FILTER (WHERE side IS NULL)
                                                          FROM message WHERE body = body.id)
                                             + (SELECT count(DISTINCT side) + count(*) FILTER (WHERE side IS NULL)
                                                FROM queue WHERE body = body.id)
                    OR (refs = 0) <> (zero_since IS NOT NULL))
               + (SELECT count(*) FROM message WHERE body NOT IN (SELECT id FROM body)
                    OR (side IS NOT NULL AND side NOT IN (SELECT id FROM side)))
               + (SELECT count(*) FROM queue WHERE body NOT IN (SELECT id FROM body)
                    OR (side IS NOT NULL AND side NOT IN (SELECT id FROM side)))
               + (SELECT count(*) FROM side WHERE id NOT IN (SELECT side FROM message WHERE side IS NOT NULL)
                    AND id NOT IN (SELECT side FROM queue WHERE side IS NOT NULL))",

                [],
                |row| row.get(0),
            )
        })
        .unwrap();
    assert_eq!(wrong, 0, "a counter or reference is not true\n{}", dump(store));
    for (what, rows, _) in queue::check::COUNTERS {
        let count: i64 = store
            .shared
            .readers
            .with(|conn| conn.query_row(&format!("SELECT count(*) {rows}"), [], |row| row.get(0)))
            .unwrap();
        assert_eq!(count, 0, "{what}\n{}", dump(store));
    }
}
