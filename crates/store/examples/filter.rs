//! How fast the search filter is here, and how large.
//!
//! `cargo run --release -p packetboat-store --example filter -- DIR [bodies] [octets of a text]`
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::path::Path;
use std::time::{Duration, Instant};

use packetboat_store::{AccountId, Grams, Op, Options, Store, Tx, grams};

const BATCH: usize = 200;

/// Repeatable chance.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }
}

/// Words of syllables, of which the first are frequent and the last are rare.
fn vocabulary(dice: &mut Dice) -> Vec<String> {
    let syllables = "an be con der er fi gra hou in jo ke le men no or pre qui re sta tion un ver wi ex y zu";
    let syllables: Vec<&str> = syllables.split(' ').collect();
    let word = |dice: &mut Dice| -> String {
        let count = 1 + (dice.roll() * 3.5) as usize;
        (0..count).map(|_| syllables[(dice.roll() * syllables.len() as f64) as usize]).collect()
    };
    (0..30_000).map(|_| word(dice)).collect()
}

fn text(vocabulary: &[String], len: usize, dice: &mut Dice) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 20);
    while text.len() < len {
        // As often as in a language: the n-th word with a chance like 1/n.
        let rank = (vocabulary.len() as f64).powf(dice.roll()) as usize - 1;
        text.extend_from_slice(vocabulary[rank].as_bytes());
        text.push(if dice.roll() < 0.1 { b'\n' } else { b' ' });
    }
    text
}

fn octets(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return std::fs::metadata(dir).map_or(0, |file| file.len());
    };
    entries.map(|entry| octets(&entry.unwrap().path())).sum()
}

/// Time on all processors.
fn cpu() -> Duration {
    let usage = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = usage.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

struct Watch(Instant, Duration);

impl Watch {
    fn start() -> Watch {
        Watch(Instant::now(), cpu())
    }
}

#[derive(Default)]
struct Spent {
    time: Duration,
    cpu: Duration,
}

impl Spent {
    fn add(&mut self, watch: &Watch) {
        self.time += watch.0.elapsed();
        self.cpu += cpu() - watch.1;
    }

    fn each(&self, count: u128) -> String {
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        format!("{:.1} us each, {:.1} us CPU", micros(self.time), micros(self.cpu))
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn queries(store: &Store, account: AccountId, bodies: u128, sought: &str) {
    let sought: Vec<u32> = grams(sought.as_bytes()).collect();
    let mut times = Vec::new();
    let (mut candidates, mut walk) = (0, Duration::ZERO);
    for _ in 0..50 {
        let start = Instant::now();
        let found = store.filter_query(account, &sought).await;
        times.push(start.elapsed());
        let start = Instant::now();
        candidates = (1..=bodies).filter(|body| found.may_contain(*body)).count();
        walk += start.elapsed();
    }
    times.sort();
    println!(
        "  {:>2} grams: {:>6} candidates, median {:>5.2} ms, slowest {:>5.2} ms; asking of each body {:>4.2} ms",
        sought.len(),
        candidates,
        times[25].as_secs_f64() * 1e3,
        times[49].as_secs_f64() * 1e3,
        walk.as_secs_f64() * 1e3 / 50.0
    );
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut args = std::env::args().skip(1);
    let dir = std::path::PathBuf::from(args.next().expect("a directory"));
    let bodies: u128 = args.next().map_or(100_000, |count| count.parse().unwrap());
    let len: usize = args.next().map_or(4_000, |len| len.parse().unwrap());
    let account = AccountId(1);
    let options = || Options { maintenance: false, ..Options::new(&dir) };
    let store = Store::open(options()).unwrap();
    let tx = Tx { id: None, require: vec![], ops: vec![Op::CreateAccount(account)] };
    store.commit(tx, vec![]).await.unwrap();
    let mut dice = Dice(4);
    let vocabulary = vocabulary(&mut dice);
    let mut collector = Grams::default();
    let (mut collect, mut add, mut all) = (Spent::default(), Spent::default(), 0);
    let (mut texts, mut rare) = (Vec::new(), String::new());
    let before = resident();
    for body in 1..=bodies {
        // Of some length around the middle.
        let text = text(&vocabulary, (len as f64 * (0.3 + 1.4 * dice.roll())) as usize, &mut dice);
        all += text.len();
        if body == bodies / 2 {
            rare = String::from_utf8_lossy(&text[20..44]).into_owned();
        }
        texts.push((body, text));
        if texts.len() == BATCH || body == bodies {
            let watch = Watch::start();
            let sign = |(body, text): (u128, Vec<u8>)| {
                collector.text(&text);
                (body, collector.finish())
            };
            let signatures = texts.drain(..).map(sign).collect();
            collect.add(&watch);
            let watch = Watch::start();
            store.filter_add(account, signatures).await;
            add.add(&watch);
        }
    }
    let disk = octets(&dir.join("filter")) as f64;
    println!("{bodies} texts of {len} octets: {:.1} MB of text", all as f64 / 1e6);
    println!(
        "  collecting grams {}, {:.0} MB/s of CPU",
        collect.each(bodies),
        all as f64 / collect.cpu.as_secs_f64() / 1e6
    );
    println!("  adding {}; {:.2} octets on disk for each of text", add.each(bodies), disk / all as f64);
    println!("  memory grew by {} KiB", resident().saturating_sub(before));
    store.stop().await;
    drop(store);
    let store = Store::open(options()).unwrap();
    let start = Instant::now();
    let unknown = store.filter_unknown(account, &(1..=bodies).collect::<Vec<_>>()).await;
    println!("  first question after a start {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    assert!(unknown.is_empty(), "{} are not there", unknown.len());
    for sought in ["xylophon", "invoices", "nothing like that in there", &rare, "station", "er"] {
        queries(&store, account, bodies, sought).await;
    }
    store.stop().await;
}
