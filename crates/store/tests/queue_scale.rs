//! What the queue costs when it is long: a million rows for one dead destination, or for as many destinations, take no
//! longer to work with than a thousand, and no more memory. (Twenty thousand, unless the long suite is asked for.)
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{body, tx};
use packetboat_store::{
    BodySource, Check, Enqueue, NewQueueRow, Op, OpResult, Options, QueueFilter, QueueId, Store,
};

const FEW: usize = 1_000;
/// What is due is due by now.
const NOW: i64 = 1_000_000;
const FAR: i64 = 1 << 60;
/// Messages in one transaction.
const BATCH: usize = 1_000;

fn many() -> usize {
    if std::env::var_os("PACKETBOAT_LONG").is_some() { 1_000_000 } else { 20_000 }
}

/// Memory of this process in MiB, without what is of files.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

fn message(destination: String, at: usize) -> Op {
    let row = NewQueueRow {
        destination,
        lane: (at * 37) as u8,
        due_at: at as i64,
        deadline: FAR + at as i64,
        held: false,
        value: Bytes::from_static(&[b'v'; 120]),
    };
    let (prefix, card) = (Bytes::from_static(&[b'p'; 60]), Bytes::from_static(&[b'c'; 200]));
    Op::Enqueue(Enqueue { body: BodySource::New(0), prefix, card, rows: vec![row] })
}

fn name(count: usize, spread: bool) -> String {
    if spread { format!("mx:host-{count}.example.org") } else { "mx:dead.example.org".to_owned() }
}

async fn fill(store: &Store, from: usize, to: usize, spread: bool) {
    let mut at = from;
    while at < to {
        let end = to.min(at + BATCH);
        // By chance rather than in order, so that pages are filled as they are in life.
        let ops = (at..end).map(|at| message(name(at.wrapping_mul(48_271) % 2_147_483_647, spread), at));
        store.commit(tx(ops.collect()), vec![body(store, b"letter").await]).await.unwrap();
        at = end;
    }
}

/// The time half of them take at most.
async fn median(rounds: usize, mut each: impl AsyncFnMut(usize)) -> Duration {
    let mut times = Vec::new();
    for round in 0..rounds {
        let start = Instant::now();
        each(round).await;
        times.push(start.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

/// Something, and how long it took.
type Took = (&'static str, Duration);

/// How long each thing takes.
async fn measure(store: &Store, spread: bool) -> Vec<Took> {
    let mut times = Vec::new();
    let next = async |_| assert!(store.queue_next().await.unwrap().is_some());
    times.push(("queue_next", median(200, next).await));
    let listing = async |_| {
        let found = store.queue_destinations(NOW, 100).await.unwrap();
        assert_eq!(found.len(), if spread { 100 } else { 0 });
    };
    times.push(("queue_destinations", median(200, listing).await));
    let destinations = store.queue_destinations(NOW, 1_000).await.unwrap();
    let nth = |at: usize| destinations.get(at).map_or_else(|| name(0, false), |found| found.name.clone());
    let lease = async |at| {
        let leased = store.queue_lease(&nth(at), NOW, 2, 10, FAR).await.unwrap();
        assert_eq!(leased.len(), if spread { 1 } else { 10 });
        store.queue_unlease(&leased.iter().map(|leased| (leased.row.id, leased.fence)).collect::<Vec<_>>());
    };
    times.push(("queue_lease", median(200, lease).await));
    let count = async |_| assert!(store.queue_count().await.unwrap().rows >= FEW as u64);
    times.push(("queue_count", median(50, count).await));
    let page = async |at: usize| {
        let filter = QueueFilter { destination: spread.then(|| nth(at)), ..QueueFilter::default() };
        assert!(!store.queue_rows(filter, 100).await.unwrap().is_empty());
    };
    times.push(("queue_rows", median(50, page).await));
    let rest = async |at: usize| {
        let rest = Op::Rest { destination: nth(500 + at), until: FAR + at as i64 };
        store.commit(tx(vec![rest]), vec![]).await.unwrap();
    };
    times.push(("Rest", median(100, rest).await));
    let mut ids: Vec<QueueId> = Vec::new();
    let enqueue = async |at: usize| {
        let new = vec![body(store, b"letter").await];
        let receipt = store.commit(tx(vec![message(nth(at), at)]), new).await.unwrap();
        let [OpResult::Queued(made)] = &receipt.results[..] else { panic!() };
        ids.extend(made);
    };
    times.push(("Enqueue", median(100, enqueue).await));
    let requeue = async |at: usize| {
        let row = NewQueueRow {
            destination: nth(at),
            lane: 3,
            due_at: 5,
            deadline: FAR,
            held: false,
            value: Bytes::new(),
        };
        store.commit(tx(vec![Op::Requeue { id: ids[at], row }]), vec![]).await.unwrap();
    };
    times.push(("Requeue", median(100, requeue).await));
    let dequeue = async |at: usize| {
        store.commit(tx(vec![Op::Dequeue { ids: vec![ids[at]] }]), vec![]).await.unwrap();
    };
    times.push(("Dequeue", median(100, dequeue).await));
    times
}

fn flat(spread: bool) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let options = || Options { maintenance: false, ..Options::new(dir.path()) };
    runtime.block_on(async {
        let store = Store::open(options()).unwrap();
        fill(&store, 0, FEW, spread).await;
        if !spread {
            let rest = Op::Rest { destination: name(0, false), until: FAR };
            store.commit(tx(vec![rest]), vec![]).await.unwrap();
        }
        let before = memory();
        let few = measure(&store, spread).await;
        let start = Instant::now();
        fill(&store, FEW, many(), spread).await;
        println!("filled {} in {:.1} s", many() - FEW, start.elapsed().as_secs_f64());
        // Whatever else the machine is busy with: what takes long because there is much takes long every time.
        let mut lots = measure(&store, spread).await;
        let is_more = |(few, lots): (&Took, &Took)| lots.1 >= 4 * few.1 + Duration::from_millis(2);
        for _ in 0..20 {
            if !few.iter().zip(&lots).any(is_more) {
                break;
            }
            for (best, again) in lots.iter_mut().zip(measure(&store, spread).await) {
                best.1 = best.1.min(again.1);
            }
        }
        let after = memory();
        for (few, lots) in few.iter().zip(&lots) {
            println!("{:<20} of {FEW}: {:>10.1?}, of {}: {:>10.1?}", few.0, few.1, many(), lots.1);
            assert!(!is_more((few, lots)), "{} takes longer the more there are", few.0);
        }
        println!("memory: {before} MiB, then {after} MiB");
        assert!(after < before + 100, "memory grows");
        store.stop().await;
        drop(store);
        let start = Instant::now();
        let store = Store::open(options()).unwrap();
        println!("opened in {:.1?}", start.elapsed());
        assert_eq!(store.queue_count().await.unwrap().rows, many() as u64);
        store.stop().await;
    });
    let start = Instant::now();
    let report = Store::check(dir.path(), Check { deep: false, repair: false }).unwrap();
    assert!(report.is_clean(), "{report}");
    println!("checked in {:.1?}", start.elapsed());
}

#[test]
fn many_rows_for_one_dead_destination_cost_what_few_do() {
    flat(false);
}

#[test]
fn many_rows_for_as_many_destinations_cost_what_few_do() {
    flat(true);
}
