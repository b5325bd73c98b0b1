//! A queue in which very much waits: what it costs to put messages in, to open it anew, to find the next one that is due, and to
//! carry it, while a million others wait for servers that do not answer.
//!
//! `cargo run --release -p packetboat-mail --example long_queue -- [MESSAGES] [DIRECTORY]`
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Zoned;
use packetboat_account::{Directory, DirectoryOptions};
use packetboat_mail::outbound::{Routes, Way};
use packetboat_mail::queue::{Asked, Attempt, Picked, Queue, RcptAsked, Settings, Stage, Verdict, World};
use packetboat_mail::{Addressee, Limits, Origin, Outgoing, PostOffice, Role};
use packetboat_message::trace::{Protocol, With};
use packetboat_store::{Options, Store};

/// Messages that are handed in at the same time.
const AT_ONCE: usize = 64;
/// Destinations that do not answer.
const DEAD: usize = 1000;

/// Resident memory in MiB: all of it, and what is not the cache of files.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    (of("VmRSS"), of("RssAnon"))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

struct Town {
    office: PostOffice,
    queue: Queue,
    text: Bytes,
}

impl Town {
    async fn open(dir: &std::path::Path) -> Town {
        let store = Store::open(Options::new(dir)).unwrap();
        let directory = Directory::open(store.clone(), DirectoryOptions::default()).await.unwrap();
        let office = PostOffice::new(store, directory, "mx.example.org".parse().unwrap(), Limits::default());
        // Nothing may come up again while it is measured.
        let day = Duration::from_secs(24 * 60 * 60);
        let queue = Settings {
            rows_max: u64::MAX,
            retries: vec![day],
            rest_first: day,
            rest_max: day,
            ..Settings::default()
        };
        office.set_outgoing(Outgoing { routes: Routes::new(Way::Direct), queue });
        let random = || u64::from_ne_bytes(std::array::from_fn(|_| fastrand()));
        let world = World { now: Arc::new(Zoned::now), random: Arc::new(random) };
        let queue = Queue::new(office.clone(), world);
        let text = format!("From: a@b.test\r\nSubject: x\r\n\r\n{}", "0123456789abcdef\r\n".repeat(200));
        Town { office, queue, text: text.into() }
    }

    async fn hand_in(&self, to: &str, number: usize) {
        let with = With { protocol: Protocol::Esmtp, utf8: false, tls: false, authenticated: false };
        let origin =
            Origin { role: Role::Exchange, peer: None, helo: None, with, tls: None, may_relay: true };
        let sender = format!("s{}@b.test", number % 500).parse().unwrap();
        let begun = self.office.begin(origin, Some(sender), Asked::default(), Zoned::now(), number as u64);
        let mut intake = begun.unwrap();
        let to = Addressee::Mailbox(to.parse().unwrap());
        intake.recipient(to, RcptAsked::default()).await.unwrap();
        intake.open_body();
        intake.write(self.text.clone()).await.unwrap();
        intake.commit().await.unwrap();
    }

    /// All that is due now finds nobody there.
    async fn nobody_answers(&self) -> usize {
        let mut called = 0;
        while let Picked::Slot(mut slot) = self.queue.pick().await {
            let attempt = Attempt::new(jiff::Timestamp::now().as_microsecond(), Stage::Connect);
            if let Some(errand) = self.queue.errand(&mut slot).await {
                let verdicts = errand.recipients.iter().map(|_| Verdict::Deferred(attempt.clone())).collect();
                self.queue.settle(&mut slot, errand, verdicts).await;
            }
            self.queue.unreachable(slot, attempt).await;
            called += 1;
        }
        called
    }

    /// A message for somebody who is there: from the yes to its being found, and to its having been carried.
    async fn one_more(&self, number: usize) -> (Duration, Duration) {
        self.hand_in(&format!("x@live{number}.test"), number).await;
        let began = Instant::now();
        loop {
            let Picked::Slot(mut slot) = self.queue.pick().await else { continue };
            let found = began.elapsed();
            let errand = self.queue.errand(&mut slot).await.unwrap();
            let verdict = Verdict::Delivered { attempt: Attempt::new(0, Stage::End), dsn_passed: false };
            self.queue.settle(&mut slot, errand, vec![verdict]).await;
            self.queue.finished(slot).await;
            return (found, began.elapsed());
        }
    }

    async fn look(&self, what: &str, from: usize) {
        let mut times = (Vec::new(), Vec::new());
        for number in 0..100 {
            let (found, carried) = self.one_more(from + number).await;
            times.0.push(found);
            times.1.push(carried);
        }
        let mut none = Vec::new();
        for _ in 0..1000 {
            let began = Instant::now();
            assert!(matches!(self.queue.pick().await, Picked::Nothing(_)));
            none.push(began.elapsed());
        }
        let (resident, own) = memory();
        println!(
            "{what}: a new message is found in {:?} and carried in {:?}; that nothing is due takes {:?}; {resident} MiB resident, \
             {own} MiB of them its own",
            median(times.0),
            median(times.1),
            median(none)
        );
    }
}

fn fastrand() -> u8 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0).to_ne_bytes()[0]
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let messages: usize = arguments.next().map_or(1_000_000, |it| it.parse().unwrap());
    let dir = arguments.next().map_or_else(|| std::env::temp_dir().join("packetboat-queue"), Into::into);
    std::fs::create_dir_all(&dir).unwrap();
    let town = Arc::new(Town::open(&dir).await);
    town.look("empty", 10_000_000).await;
    let mut done = 0;
    for part in [messages / 100, messages / 10, messages] {
        let began = Instant::now();
        let before = done;
        let mut tasks = tokio::task::JoinSet::new();
        while done < part || !tasks.is_empty() {
            while done < part && tasks.len() < AT_ONCE {
                let (town, number) = (Arc::clone(&town), done);
                tasks.spawn(
                    async move { town.hand_in(&format!("x@dead{}.test", number % DEAD), number).await },
                );
                done += 1;
            }
            tasks.join_next().await;
        }
        let rate = (part - before) as f64 / began.elapsed().as_secs_f64();
        let began = Instant::now();
        let called = town.nobody_answers().await;
        println!(
            "{part} messages wait; {rate:.0} a second came in; {called} calls in {:.1?}",
            began.elapsed()
        );
        town.look(&format!("{part} waiting"), 20_000_000 + part).await;
    }
    drop(town);
    let began = Instant::now();
    let town = Town::open(&dir).await;
    println!("opened anew in {:?}", began.elapsed());
    town.look("after a new start", 40_000_000).await;
}
