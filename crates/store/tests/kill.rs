//! The process is killed at a random moment under load, again and again on the same store. Each time, what it had
//! told was done is there, exactly once and whole, and the store's own check finds nothing wrong.
//!
//! The child is this test program itself; what it acknowledges comes through a pipe, one line each, written only
//! after the store answered.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use common::{body, content, enqueue, queue_row, queued_content, tx};
use packetboat_store::{
    AccountId, AddMessage, BodySource, Check, FlagChange, Flags, MailboxId, Op, OpResult, Options,
    QueueFilter, QueueId, Require, Store, Uid,
};

const DIR: &str = "PACKETBOAT_KILL_DIR";
const TASKS: u64 = 24;
const ACCOUNTS: u64 = 4;

fn options(dir: &Path) -> Options {
    Options { segment_octets: 512 << 10, grace: Duration::ZERO, ..Options::new(dir) }
}

/// The octets that belong to a message's number.
fn letter(number: u64) -> Vec<u8> {
    let len = match number % 50 {
        0 => 1_100_000,
        1..=5 => 90_000,
        _ => 200 + (number * 37 % 5_000) as usize,
    };
    let mut octets = format!("letter {number}\r\n").into_bytes();
    octets.extend((0..len).map(|at| (at as u64 * 31 + number) as u8));
    octets
}

fn letter_op(mailbox: MailboxId) -> Op {
    Op::AddMessage(AddMessage {
        mailbox,
        body: BodySource::New(0),
        prefix: Bytes::new(),
        card: Bytes::new(),
        flags: Flags::NONE,
        received_at: 0,
        keywords: vec![],
        uid: None,
    })
}

fn tell(line: String) {
    // Not println!: the test harness would keep it, and one write keeps lines apart.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}

/// The child's part of the test.
fn load(dir: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(options(dir)).unwrap();
        let mut mailboxes = Vec::new();
        for account in (1..=ACCOUNTS).map(AccountId) {
            if store.account(account).await.unwrap().is_none() {
                let ops = vec![
                    Op::CreateAccount(account),
                    Op::CreateMailbox {
                        account,
                        name: "INBOX".into(),
                        special_use: None,
                        uid_validity: None,
                    },
                ];
                store.commit(tx(ops), vec![]).await.unwrap();
            }
            mailboxes.push(store.mailbox_named(account, "INBOX").await.unwrap().unwrap().id);
        }
        let start = store.get("round").unwrap().map_or(0, |entry| entry.version);
        store.commit(tx(vec![Op::Put { key: "round".into(), value: vec![] }]), vec![]).await.unwrap();
        // The harness has begun a line.
        tell("\nready".to_owned());
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (store, mailboxes) = (store.clone(), mailboxes.clone());
                tokio::spawn(async move {
                    let mut number = (start << 40) + (task << 32);
                    let mut mine: Vec<(MailboxId, Uid, u64)> = Vec::new();
                    loop {
                        number += 1;
                        let mailbox = mailboxes[(number % ACCOUNTS) as usize];
                        let new = body(&store, &letter(number)).await;
                        let receipt = store.commit(tx(vec![letter_op(mailbox)]), vec![new]).await.unwrap();
                        let [OpResult::Added(uid, _)] = receipt.results[..] else { panic!() };
                        tell(format!("added {} {} {number}", mailbox.0, uid.0));
                        mine.push((mailbox, uid, number));
                        if number.is_multiple_of(3) {
                            let (mailbox, uid, number) = mine.swap_remove((number % 7) as usize % mine.len());
                            tell(format!("going {} {} {number}", mailbox.0, uid.0));
                            let expunge = Op::Expunge { mailbox, uids: vec![uid] };
                            store.commit(tx(vec![expunge]), vec![]).await.unwrap();
                            tell(format!("gone {} {} {number}", mailbox.0, uid.0));
                        }
                        if let (true, Some((mailbox, uid, number))) =
                            (number.is_multiple_of(5), mine.last().copied())
                        {
                            let change = FlagChange::Add(Flags::SEEN);
                            store
                                .commit(
                                    tx(vec![Op::SetFlags {
                                        mailbox,
                                        uids: vec![uid],
                                        change,
                                        keywords: vec![],
                                        unchanged_since: None,
                                    }]),
                                    vec![],
                                )
                                .await
                                .unwrap();
                            tell(format!("seen {} {} {number}", mailbox.0, uid.0));
                        }
                        if number.is_multiple_of(2) {
                            queue(&store, number).await;
                        }
                        if number.is_multiple_of(200) {
                            store.maintain().await;
                        }
                    }
                })
            })
            .collect();
        // They go on until they are killed.
        let ended = tasks.into_iter().next().unwrap().await;
        panic!("{ended:?}");
    });
}

/// A letter into the queue, for two; one of those due there out of it, and another one's turn put off.
async fn queue(store: &Store, number: u64) {
    let now = i64::MAX / 4;
    let destination = format!("mx:{}.example", number % 7);
    let rows = vec![queue_row(&destination, number as i64), queue_row("peer:x", i64::MAX)];
    let new = vec![body(store, &letter(number)).await];
    let receipt = store.commit(tx(vec![enqueue(BodySource::New(0), rows)]), new).await.unwrap();
    let [OpResult::Queued(ids)] = &receipt.results[..] else { panic!() };
    ids.iter().for_each(|id| tell(format!("queued {} 0 {number}", id.0)));
    for (at, leased) in
        store.queue_lease(&destination, now, 2, 2, now + 1).await.unwrap().into_iter().enumerate()
    {
        let id = leased.row.id;
        let op = if at == 0 {
            tell(format!("taking {} 0 0", id.0));
            Op::Dequeue { ids: vec![id] }
        } else {
            tell(format!("putting {} 0 0", id.0));
            Op::Requeue { id, row: queue_row("peer:y", i64::MAX) }
        };
        let mut settle = tx(vec![op]);
        settle.require = vec![Require::Lease { id, fence: leased.fence }];
        store.commit(settle, vec![]).await.unwrap();
        tell(format!("{} {} 0 0", if at == 0 { "taken" } else { "put" }, id.0));
    }
}

#[derive(Debug, Default)]
struct Told {
    queued: BTreeMap<u64, u64>,
    /// Out of the queue: asked for, and done.
    taking: BTreeSet<u64>,
    taken: BTreeSet<u64>,
    /// To another destination.
    putting: BTreeSet<u64>,
    put: BTreeSet<u64>,
    added: BTreeMap<(u64, u32), u64>,
    /// Asked for, but perhaps not done.
    going: BTreeSet<(u64, u32)>,
    gone: BTreeSet<(u64, u32)>,
    seen: BTreeSet<(u64, u32)>,
}

/// Killed when dropped, also when the test fails before it comes to that.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is done at least before the process is killed.
const ADDED: usize = 20;
const TAKEN: usize = 2;

fn run_and_kill(dir: &Path, after: Duration, told: &mut Told) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed_at_any_moment_it_keeps_what_it_told", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut child = Child(child);
    let out = BufReader::new(child.0.stdout.take().unwrap());
    let (ready, wait) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let (mut lines, mut added, mut taken) = (Vec::new(), 0, 0);
        for line in out.lines() {
            let Ok(line) = line else { break };
            added += usize::from(line.starts_with("added "));
            taken += usize::from(line.starts_with("taken "));
            if added > ADDED && taken > TAKEN {
                let _ = ready.send(());
            }
            lines.push(line);
        }
        lines
    });
    // However slow the machine is, there is something to tell; and then at any moment.
    wait.recv_timeout(Duration::from_secs(300)).expect("the child does its work");
    std::thread::sleep(after);
    drop(child);
    for line in reader.join().unwrap() {
        let words: Vec<&str> = line.split(' ').collect();
        let [verb, mailbox, uid, number] = words[..] else { continue };
        // The last line may be cut short by the kill; then its number does not parse or is not asked for.
        let (Ok(mailbox), Ok(uid), Ok(number)) = (mailbox.parse(), uid.parse(), number.parse()) else {
            continue;
        };
        let key = (mailbox, uid);
        match verb {
            "added" => assert_eq!(told.added.insert(key, number), None, "UID {uid} was given out twice"),
            "going" => drop(told.going.insert(key)),
            "gone" => drop(told.gone.insert(key)),
            "seen" => drop(told.seen.insert(key)),
            "queued" => {
                assert_eq!(told.queued.insert(mailbox, number), None, "{mailbox} was given out twice")
            }
            "taking" => drop(told.taking.insert(mailbox)),
            "taken" => assert!(told.taken.insert(mailbox), "{mailbox} was taken twice"),
            "putting" => drop(told.putting.insert(mailbox)),
            "put" => drop(told.put.insert(mailbox)),
            _ => {}
        }
    }
}

async fn verify(dir: &Path, told: &Told) -> usize {
    let report = Store::check(dir, Check { deep: true, repair: false }).unwrap();
    assert!(report.is_clean(), "{report}");
    let store = Store::open(options(dir)).unwrap();
    let mut found = BTreeMap::new();
    let mut numbers = BTreeSet::new();
    for account in (1..=ACCOUNTS).map(AccountId) {
        let mailbox = store.mailbox_named(account, "INBOX").await.unwrap().unwrap();
        let mut after = None;
        loop {
            let rows = store.messages(mailbox.id, after, 1_000).await.unwrap();
            let Some(last) = rows.last() else { break };
            after = Some(last.uid);
            for row in rows {
                let octets = content(&store, mailbox.id, row.uid).await;
                let text = String::from_utf8_lossy(&octets[..octets.len().min(60)]).into_owned();
                let number: u64 =
                    text.lines().next().unwrap().strip_prefix("letter ").unwrap().parse().unwrap();
                assert!(octets == letter(number), "letter {number} is half");
                assert!(numbers.insert(number), "letter {number} is there twice");
                found.insert((mailbox.id.0, row.uid.0), (number, row.flags));
            }
        }
    }
    for (key, number) in &told.added {
        match found.get(key) {
            Some((there, flags)) => {
                assert_eq!(there, number);
                assert!(!told.gone.contains(key), "letter {number} is back");
                assert!(!told.seen.contains(key) || *flags == Flags::SEEN, "letter {number} lost its flag");
            }
            None => assert!(told.going.contains(key), "letter {number} is lost"),
        }
    }
    let count = found.len();
    verify_queue(&store, told).await;
    store.stop().await;
    count
}

async fn verify_queue(store: &Store, told: &Told) {
    let mut found = BTreeMap::new();
    let mut filter = QueueFilter::default();
    loop {
        let rows = store.queue_rows(filter.clone(), 1_000).await.unwrap();
        let Some(last) = rows.last() else { break };
        filter.after = last.id;
        for row in rows {
            let octets = queued_content(store, &row).await;
            let text = String::from_utf8_lossy(&octets[3..octets.len().min(60)]).into_owned();
            let number: u64 = text.lines().next().unwrap().strip_prefix("letter ").unwrap().parse().unwrap();
            assert!(octets[3..] == letter(number), "letter {number} is half");
            assert_eq!(store.queue_card(&row).await.unwrap(), "card");
            found.insert(row.id, (number, row.destination));
        }
    }
    for (id, number) in &told.queued {
        match found.get(&QueueId(*id)) {
            Some((there, destination)) => {
                assert_eq!(there, number);
                assert!(!told.taken.contains(id), "row {id} is back");
                let put = destination == "peer:y";
                assert!(put || !told.put.contains(id), "row {id} is where it was");
                assert!(!put || told.putting.contains(id), "nobody put row {id} there");
            }
            None => assert!(told.taking.contains(id), "row {id} is lost"),
        }
    }
}

#[test]
fn killed_at_any_moment_it_keeps_what_it_told() {
    // This program is started once more as the process to be killed.
    if let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) {
        return load(&dir);
    }
    let rounds = if std::env::var_os("PACKETBOAT_LONG").is_some() { 50 } else { 5 };
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut told = Told::default();
    let mut chance = u64::from(std::process::id()) | 1;
    for round in 0..rounds {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let after = Duration::from_millis((chance >> 33) % 400);
        let before = told.added.len();
        run_and_kill(dir.path(), after, &mut told);
        let there = runtime.block_on(verify(dir.path(), &told));
        println!("round {round}: killed after {after:?}, {} told, {there} there", told.added.len() - before);
    }
    assert!(told.added.len() > ADDED * rounds, "too little was done to tell: {}", told.added.len());
    assert!(told.taken.len() > TAKEN * rounds, "too little was taken to tell: {}", told.taken.len());
}
