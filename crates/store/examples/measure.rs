//! How fast the store is here: durable deliveries, listings, reads.
//!
//! `cargo run --release -p packetboat-store --example measure -- DIR [seconds]`
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use packetboat_store::{
    AccountId, AddMessage, BodySource, FlagChange, Flags, MailboxId, Op, OpResult, Options, Store, Tx, Uid,
};

const MAILBOXES: u64 = 1_000;

fn tx(ops: Vec<Op>) -> Tx {
    Tx { id: None, require: vec![], ops }
}

fn add(mailbox: MailboxId) -> Op {
    Op::AddMessage(AddMessage {
        mailbox,
        body: BodySource::New(0),
        prefix: Bytes::from_static(&[b'p'; 60]),
        card: Bytes::from_static(&[b'c'; 280]),
        flags: Flags::NONE,
        received_at: 1_700_000_000_000_000,
        keywords: vec![],
        uid: None,
    })
}

async fn mailboxes(store: &Store, count: u64) -> Vec<MailboxId> {
    let mut made = Vec::new();
    for account in 1..=count {
        let account = AccountId(account);
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

fn written(dir: &Path) -> u64 {
    // Sectors written at the device the directory lies on.
    let _ = std::process::Command::new("sync").arg("-f").arg(dir).status();
    let stat = std::fs::read_to_string("/proc/diskstats").unwrap();
    let line = stat.lines().find(|line| line.contains(" vda ")).unwrap();
    line.split_whitespace().nth(9).unwrap().parse::<u64>().unwrap() * 512
}

fn cpu() -> Duration {
    let usage = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = usage.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

async fn deliver(dir: &Path, writers: usize, size: usize, seconds: f64) {
    let store = Store::open(Options::new(dir.join(format!("d{writers}-{size}")))).unwrap();
    let boxes = Arc::new(mailboxes(&store, MAILBOXES).await);
    let body = Bytes::from((0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    let (count, worst) = (Arc::new(AtomicU64::new(0)), Arc::new(parking_lot::Mutex::new(Vec::new())));
    let before = (written(dir), cpu());
    let start = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (store, boxes, body, count) = (store.clone(), boxes.clone(), body.clone(), count.clone());
            let worst = worst.clone();
            tokio::spawn(async move {
                let mut mailbox = writer * 7919;
                let mut times = Vec::new();
                while start.elapsed().as_secs_f64() < seconds {
                    let begin = Instant::now();
                    let mut new = store.new_body(Some(body.len() as u64));
                    new.write(body.clone()).await.unwrap();
                    mailbox = mailbox.wrapping_mul(31).wrapping_add(17);
                    store.commit(tx(vec![add(boxes[mailbox % boxes.len()])]), vec![new]).await.unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                    times.push(begin.elapsed());
                }
                worst.lock().extend(times);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let elapsed = start.elapsed().as_secs_f64();
    let used = cpu() - before.1;
    let count = count.load(Ordering::Relaxed);
    store.stop().await;
    let mut times = worst.lock();
    times.sort();
    println!(
        "deliver {size:>6} B, {writers:>3} writers: {:>7.0}/s, p50 {:>5.2} ms, p99 {:>6.2} ms, {:>4.0} us CPU each, written/stored {:.2}",
        count as f64 / elapsed,
        times[times.len() / 2].as_secs_f64() * 1e3,
        times[times.len() * 99 / 100].as_secs_f64() * 1e3,
        used.as_secs_f64() * 1e6 / count as f64,
        (written(dir) - before.0) as f64 / (count as f64 * (size + 340) as f64),
    );
}

async fn fill(store: &Store, mailbox: MailboxId, count: usize, size: usize) {
    let body = Bytes::from(vec![b'x'; size]);
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (store, body) = (store.clone(), body.clone());
            tokio::spawn(async move {
                for _ in 0..count / 100 {
                    let mut new = store.new_body(Some(body.len() as u64));
                    new.write(body.clone()).await.unwrap();
                    store.commit(tx(vec![add(mailbox)]), vec![new]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn read(dir: &Path) {
    let path = dir.join("read");
    let store = Store::open(Options::new(&path)).unwrap();
    let inbox = mailboxes(&store, 1).await[0];
    let start = Instant::now();
    fill(&store, inbox, 100_000, 10_000).await;
    println!("filled one mailbox with 100,000 messages in {:.2} s", start.elapsed().as_secs_f64());
    store.stop().await;
    drop(store);
    let start = Instant::now();
    let store = Store::open(Options::new(&path)).unwrap();
    println!("open: {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
    let (start, before) = (Instant::now(), cpu());
    for _ in 0..20 {
        assert_eq!(store.messages(inbox, None, 100_000).await.unwrap().len(), 100_000);
    }
    let (each, used) = (start.elapsed() / 20, (cpu() - before) / 20);
    println!(
        "listing of 100,000: {:.2} ms, {:.2} ms CPU",
        each.as_secs_f64() * 1e3,
        used.as_secs_f64() * 1e3
    );
    let rows = store.messages(inbox, None, 100_000).await.unwrap();
    for round in 0..2 {
        let (start, before) = (Instant::now(), cpu());
        let mut octets = 0;
        for row in rows.iter().take(20_000) {
            let reader = store.open_message(row).await.unwrap();
            octets += reader.read(0, 64 << 10).await.unwrap().len();
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "open and read, round {round}: {:.0}/s, {:.1} us CPU each, {:.0} MB/s",
            20_000.0 / seconds,
            (cpu() - before).as_secs_f64() * 1e6 / 20_000.0,
            octets as f64 / seconds / 1e6
        );
    }
    let start = Instant::now();
    for _ in 0..100_000 {
        std::hint::black_box(store.get("no/such/key").unwrap());
    }
    println!("get from memory: {:.0} ns", start.elapsed().as_secs_f64() * 1e4);
    let start = Instant::now();
    for number in 0..10_000 {
        std::hint::black_box(store.get(&format!("none/{number}")).unwrap());
    }
    println!("get from the database: {:.0} ns", start.elapsed().as_secs_f64() * 1e5);
    let start = Instant::now();
    for _ in 0..10_000 {
        std::hint::black_box(store.mailbox_named(AccountId(1), "INBOX").await.unwrap());
    }
    println!("mailbox by name: {:.0} ns", start.elapsed().as_secs_f64() * 1e5);
    for clients in [1u32, 16] {
        let start = Instant::now();
        let tasks: Vec<_> = (0..clients)
            .map(|client| {
                let store = store.clone();
                tokio::spawn(async move {
                    for round in 0..1_000u32 {
                        let uid = Uid(1 + (client * 6_007 + round * 97) % 100_000);
                        let change = FlagChange::Add(Flags::SEEN);
                        store
                            .commit(
                                tx(vec![Op::SetFlags {
                                    mailbox: inbox,
                                    uids: vec![uid],
                                    change,
                                    keywords: vec![],
                                    unchanged_since: None,
                                }]),
                                vec![],
                            )
                            .await
                            .unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        println!(
            "flag changes, {clients} clients: {:.0}/s",
            f64::from(clients) * 1_000.0 / start.elapsed().as_secs_f64()
        );
    }
    let start = Instant::now();
    let uids = rows.iter().take(10_000).map(|row| row.uid).collect();
    store.commit(tx(vec![Op::Expunge { mailbox: inbox, uids }]), vec![]).await.unwrap();
    println!("expunge of 10,000: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    store.stop().await;
}

async fn large(dir: &Path) {
    let store = Store::open(Options::new(dir.join("large"))).unwrap();
    let inbox = mailboxes(&store, 1).await[0];
    let chunk = Bytes::from(vec![b'x'; 64 << 10]);
    for (size, count) in [(200 << 10, 200), (1 << 20, 60), (2 << 20, 60), (50 << 20, 4)] {
        let start = Instant::now();
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (store, chunk) = (store.clone(), chunk.clone());
                tokio::spawn(async move {
                    for _ in 0..count / 4 {
                        let mut new = store.new_body(None);
                        while new.len() < size {
                            new.write(chunk.clone()).await.unwrap();
                        }
                        store.commit(tx(vec![add(inbox)]), vec![new]).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("{size} B by 4 writers: {:.0} MB/s", (count * size) as f64 / seconds / 1e6);
    }
    store.stop().await;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut args = std::env::args().skip(1);
    let dir = std::path::PathBuf::from(args.next().expect("a directory"));
    let seconds = args.next().map_or(3.0, |seconds| seconds.parse().unwrap());
    let only = args.next();
    let wants = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if let Some(many) = only.as_deref().and_then(|only| only.strip_prefix("deliver:")) {
        let (writers, size) = many.split_once(':').unwrap();
        deliver(&dir, writers.parse().unwrap(), size.parse().unwrap(), seconds).await;
    }
    if wants("deliver") {
        for size in [4_000, 10_000] {
            for writers in [1, 16, 100] {
                deliver(&dir, writers, size, seconds).await;
            }
        }
    }
    if wants("read") {
        read(&dir).await;
    }
    if wants("large") {
        large(&dir).await;
    }
}
