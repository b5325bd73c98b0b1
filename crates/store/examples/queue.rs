//! What the queue costs beside a delivery: one message in, one row leased, one row out, by so many at the same time.
//!
//! `cargo run --release -p packetboat-store --example queue -- DIR [messages] [committers]`
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use packetboat_store::{
    AccountId, AddMessage, BodySource, Enqueue, Flags, MailboxId, NewQueueRow, Op, OpResult, Options,
    QueueId, Require, Store, Tx,
};

fn tx(ops: Vec<Op>) -> Tx {
    Tx { id: None, require: vec![], ops }
}

fn cpu() -> Duration {
    let usage = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = usage.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Does something `count` times by so many tasks; tells how fast that was.
async fn by<F: Future<Output = ()> + Send + 'static>(
    what: &str,
    tasks: usize,
    count: usize,
    each: impl Fn(usize) -> F + Send + Sync + 'static,
) {
    let each = Arc::new(each);
    let (start, before) = (Instant::now(), cpu());
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let each = each.clone();
            tokio::spawn(async move {
                let mut at = task;
                while at < count {
                    each(at).await;
                    at += tasks;
                }
            })
        })
        .collect();
    for task in running {
        task.await.unwrap();
    }
    let seconds = start.elapsed().as_secs_f64();
    let used = (cpu() - before).as_secs_f64() * 1e6 / count as f64;
    println!("{what:<52} {:>7.0}/s {used:>5.0} us CPU each", count as f64 / seconds);
}

async fn mailboxes(store: &Store) -> Vec<MailboxId> {
    let mut made = Vec::new();
    for account in (1..=100).map(AccountId) {
        let ops = vec![
            Op::CreateAccount(account),
            Op::CreateMailbox { account, name: "INBOX".into(), special_use: None, uid_validity: None },
        ];
        let receipt = store.commit(tx(ops), vec![]).await.unwrap();
        let [_, OpResult::Mailbox(mailbox, _)] = receipt.results[..] else { panic!() };
        made.push(mailbox);
    }
    made
}

async fn run(dir: &Path, messages: usize, tasks: usize, destinations: usize, lanes: usize) {
    let dir = dir.join(format!("q{destinations}-{lanes}"));
    let store = Store::open(Options::new(&dir)).unwrap();
    let boxes = mailboxes(&store).await;
    let octets = Bytes::from(vec![b'x'; 4_000]);
    println!("{messages} messages of 4 kB, {tasks} at a time, {destinations} destinations, {lanes} lanes");
    let (to, body) = (store.clone(), octets.clone());
    by("AddMessage", tasks, messages, move |at| {
        let (store, body, mailbox) = (to.clone(), body.clone(), boxes[at % boxes.len()]);
        async move {
            let mut new = store.new_body(Some(4_000));
            new.write(body).await.unwrap();
            let add = Op::AddMessage(AddMessage {
                mailbox,
                body: BodySource::New(0),
                prefix: Bytes::from_static(&[b'p'; 60]),
                card: Bytes::from_static(&[b'c'; 280]),
                flags: Flags::NONE,
                received_at: 1_700_000_000_000_000,
                keywords: vec![],
                uid: None,
            });
            store.commit(tx(vec![add]), vec![new]).await.unwrap();
        }
    })
    .await;
    let (to, body) = (store.clone(), octets);
    by("Enqueue, one row", tasks, messages, move |at| {
        let (store, body) = (to.clone(), body.clone());
        async move {
            let mut new = store.new_body(Some(4_000));
            new.write(body).await.unwrap();
            let row = NewQueueRow {
                destination: format!("mx:host-{}.example.org", at % destinations),
                lane: (at * 31 % lanes) as u8,
                due_at: at as i64,
                deadline: 1_700_000_000_000_000 + at as i64,
                held: false,
                value: Bytes::from_static(&[b'v'; 120]),
            };
            let enqueue = Op::Enqueue(Enqueue {
                body: BodySource::New(0),
                prefix: Bytes::from_static(&[b'p'; 60]),
                card: Bytes::from_static(&[b'c'; 280]),
                rows: vec![row],
            });
            store.commit(tx(vec![enqueue]), vec![new]).await.unwrap();
        }
    })
    .await;
    let (now, until) = (1 << 60, 1 << 61);
    let leased: Arc<parking_lot::Mutex<Vec<(QueueId, u64)>>> = Arc::default();
    let (to, got) = (store.clone(), leased.clone());
    let some = messages.min(20_000);
    by("queue_lease, one row", tasks, some, move |at| {
        let (store, got) = (to.clone(), got.clone());
        async move {
            let name = format!("mx:host-{}.example.org", at % destinations);
            let leased = store.queue_lease(&name, now, 1, 1, until).await.unwrap();
            got.lock().extend(leased.iter().map(|leased| (leased.row.id, leased.fence)));
        }
    })
    .await;
    let (to, got) = (store.clone(), leased.clone());
    by("Dequeue under a lease", tasks, some, move |_| {
        let (store, got) = (to.clone(), got.clone());
        async move {
            let Some((id, fence)) = got.lock().pop() else { return };
            let require = vec![Require::Lease { id, fence }];
            let settle = Tx { id: None, require, ops: vec![Op::Dequeue { ids: vec![id] }] };
            store.commit(settle, vec![]).await.unwrap();
        }
    })
    .await;
    let to = store.clone();
    by("queue_lease and Dequeue, one row", tasks, (messages - some).min(20_000), move |at| {
        let store = to.clone();
        async move {
            let name = format!("mx:host-{}.example.org", at % destinations);
            for leased in store.queue_lease(&name, now, 1, 1, until).await.unwrap() {
                let require = vec![Require::Lease { id: leased.row.id, fence: leased.fence }];
                let settle = Tx { id: None, require, ops: vec![Op::Dequeue { ids: vec![leased.row.id] }] };
                store.commit(settle, vec![]).await.unwrap();
            }
        }
    })
    .await;
    println!("left: {:?}", store.queue_count().await.unwrap());
    store.stop().await;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut args = std::env::args().skip(1);
    let dir = std::path::PathBuf::from(args.next().expect("a directory"));
    let messages = args.next().map_or(40_000, |messages| messages.parse().unwrap());
    let tasks = args.next().map_or(20, |tasks| tasks.parse().unwrap());
    for (destinations, lanes) in [(1, 1), (1, 256), (1_000, 16)] {
        run(&dir, messages, tasks, destinations, lanes).await;
    }
}
