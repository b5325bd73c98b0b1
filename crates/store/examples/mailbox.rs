//! How fast the store is with one large mailbox: listing with cards, following, and what is done to all messages.
//!
//! `cargo run --release -p packetboat-store --example mailbox -- DIR [messages]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::time::Instant;

use bytes::Bytes;
use packetboat_store::{
    AccountId, AddMessage, BodySource, FlagChange, Flags, MailboxId, Op, OpResult, Options, Store, Tx, Uid,
};

fn tx(ops: Vec<Op>) -> Tx {
    Tx { id: None, require: vec![], ops }
}

fn mailbox(account: AccountId, name: &str) -> Op {
    Op::CreateMailbox { account, name: name.to_owned(), special_use: None, uid_validity: None }
}

async fn made(store: &Store, op: Op) -> MailboxId {
    let receipt = store.commit(tx(vec![op]), vec![]).await.unwrap();
    let [OpResult::Mailbox(id, _)] = receipt.results[..] else { panic!("{receipt:?}") };
    id
}

async fn fill(store: &Store, mailbox: MailboxId, count: u32) {
    let tasks: Vec<_> = (0..20)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for at in 0..count / 20 {
                    let mut body = store.new_body(Some(4_000));
                    body.write(Bytes::from_static(&[b'x'; 4_000])).await.unwrap();
                    let add = AddMessage {
                        mailbox,
                        body: BodySource::New(0),
                        prefix: Bytes::from_static(&[b'p'; 160]),
                        card: Bytes::from_static(&[b'c'; 600]),
                        flags: if (at * 20 + task) % 3 == 0 { Flags::SEEN } else { Flags::NONE },
                        keywords: Vec::new(),
                        received_at: 1_700_000_000_000_000,
                        uid: None,
                    };
                    store.commit(tx(vec![Op::AddMessage(add)]), vec![body]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// A moment, and the processor time the process had taken by then.
#[derive(Debug, Clone, Copy)]
struct Start(Instant, u64);

impl Start {
    fn now() -> Start {
        Start(Instant::now(), cpu())
    }
}

fn cpu() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let times = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok());
    times.filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok()).sum()
}

fn told(what: &str, start: Start) {
    let (wall, cpu) = (start.0.elapsed(), cpu().saturating_sub(start.1));
    println!("{what}: {:.2} ms, {:.2} ms of processor", wall.as_secs_f64() * 1e3, cpu as f64 / 1e6);
}

async fn does(store: &Store, what: &str, ops: Vec<Op>) {
    let start = Start::now();
    store.commit(tx(ops), vec![]).await.unwrap();
    told(what, start);
}

fn flag(mailbox: MailboxId, uids: &[Uid], change: FlagChange, keywords: &[&str]) -> Op {
    let keywords = keywords.iter().map(|word| (*word).to_owned()).collect();
    Op::SetFlags { mailbox, uids: uids.to_vec(), change, keywords, unchanged_since: None }
}

async fn listing(store: &Store, inbox: MailboxId, count: u32) {
    for round in 0..3 {
        for with_prefix in [false, true] {
            let (start, mut seen, mut after) = (Start::now(), 0, None);
            loop {
                let page = store.cards(inbox, after, 100_000, with_prefix).await.unwrap();
                let Some(last) = page.last() else { break };
                (seen, after) = (seen + page.len(), Some(last.row.uid));
            }
            told(&format!("{seen} cards, prefix {with_prefix}, round {round}"), start);
        }
    }
    let start = Start::now();
    let rows = store.messages(inbox, None, 100_000).await.unwrap();
    told(&format!("{} rows", rows.len()), start);
    let some: Vec<Uid> = (0..count / 10).map(|at| Uid(at * 10 + 1)).collect();
    let start = Start::now();
    let cards = store.cards_of(inbox, &some, false).await.unwrap();
    told(&format!("every tenth card, {}", cards.len()), start);
    let start = Start::now();
    for at in 0..1_000 {
        store.cards_of(inbox, &[Uid(1 + at * 7 % count)], false).await.unwrap();
    }
    told("1,000 times one card", start);
}

async fn following(store: &Store, inbox: MailboxId) {
    let mut since = store.mailbox(inbox).await.unwrap().unwrap().highest_modseq;
    let start = Start::now();
    since = store.changes(inbox, since).await.unwrap().upto;
    told("changes, the first time", start);
    let mut spent = std::time::Duration::ZERO;
    let (mut most, mut walks) = (0, 0);
    for at in 0..1_000u32 {
        let change =
            if at % 2 == 0 { FlagChange::Add(Flags::FLAGGED) } else { FlagChange::Remove(Flags::FLAGGED) };
        store.commit(tx(vec![flag(inbox, &[Uid(at + 1 - at % 2)], change, &[])]), vec![]).await.unwrap();
        let start = Instant::now();
        let changes = store.changes(inbox, since).await.unwrap();
        since = changes.upto;
        let took = start.elapsed();
        spent += took;
        most = most.max(took.as_micros());
        walks += u32::from(took.as_millis() >= 2);
        assert_eq!(changes.changed.len(), 1);
    }
    println!(
        "changes after each of 1,000: {:.1} us each, at most {most} us, {walks} slow",
        spent.as_secs_f64() * 1e3
    );
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut args = std::env::args().skip(1);
    let dir = std::path::PathBuf::from(args.next().expect("a directory"));
    let count: u32 = args.next().map_or(20_000, |count| count.parse().unwrap());
    let store = Store::open(Options::new(dir)).unwrap();
    let account = AccountId(1);
    store.commit(tx(vec![Op::CreateAccount(account)]), vec![]).await.unwrap();
    let inbox = made(&store, mailbox(account, "INBOX")).await;
    let (other, third) =
        (made(&store, mailbox(account, "Other")).await, made(&store, mailbox(account, "Third")).await);
    let start = Start::now();
    fill(&store, inbox, count).await;
    told(&format!("{count} deliveries"), start);
    listing(&store, inbox, count).await;
    following(&store, inbox).await;
    let all: Vec<Uid> = (1..=count).map(Uid).collect();
    for round in 0..3 {
        println!("round {round}");
        does(&store, "all +Deleted", vec![flag(inbox, &all, FlagChange::Add(Flags::DELETED), &[])]).await;
        does(&store, "all +Seen", vec![flag(inbox, &all, FlagChange::Add(Flags::SEEN), &[])]).await;
        does(&store, "all +Seen again", vec![flag(inbox, &all, FlagChange::Add(Flags::SEEN), &[])]).await;
        does(&store, "all replaced", vec![flag(inbox, &all, FlagChange::Replace(Flags::NONE), &["$Some"])])
            .await;
        let uids = all.clone();
        does(&store, "all copied", vec![Op::Copy { from: inbox, uids, to: other }]).await;
        let there = store.mailbox(other).await.unwrap().unwrap().uid_next.0;
        let uids: Vec<Uid> = (there - count..there).map(Uid).collect();
        let away = vec![
            Op::Copy { from: other, uids: uids.clone(), to: third },
            Op::Expunge { mailbox: other, uids },
        ];
        does(&store, "all moved", away).await;
        let there = store.mailbox(third).await.unwrap().unwrap().uid_next.0;
        let uids: Vec<Uid> = (there - count..there).map(Uid).collect();
        does(&store, "all copies expunged", vec![Op::Expunge { mailbox: third, uids }]).await;
    }
    let sparse: Vec<Uid> = all.iter().copied().step_by(2).collect();
    does(&store, "every second +Flagged", vec![flag(inbox, &sparse, FlagChange::Add(Flags::FLAGGED), &[])])
        .await;
    does(&store, "every second copied", vec![Op::Copy { from: inbox, uids: sparse.clone(), to: other }])
        .await;
    does(&store, "every second expunged", vec![Op::Expunge { mailbox: inbox, uids: sparse }]).await;
    does(&store, "the others expunged", vec![Op::Expunge { mailbox: inbox, uids: all }]).await;
    fill(&store, third, count).await;
    let next = store.mailbox(third).await.unwrap().unwrap().uid_next.0;
    let uids = (next - count..next).map(Uid).collect();
    does(&store, "all without copies expunged", vec![Op::Expunge { mailbox: third, uids }]).await;
    store.stop().await;
}
