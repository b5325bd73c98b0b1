//! How fast a mailbox of many messages is: `cargo run --release -p packetboat-mail --example large_mailbox -- 20000`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use packetboat_account::{Directory, DirectoryOptions, NewAccount};
use packetboat_mail::mailbox::{
    Access, Change, FlagEdit, Mailboxes, Name, NewMessage, Query, Selected, SortBy, SortKey, Threading,
};
use packetboat_mail::{Limits, PostOffice};
use packetboat_store::{Flags, Options, Store};

const WORDS: [&str; 24] = [
    "meeting", "report", "invoice", "lunch", "project", "update", "question", "answer", "schedule", "draft",
    "release", "budget", "travel", "holiday", "customer", "server", "backup", "ticket", "review", "contract",
    "summer", "winter", "monday", "friday",
];

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

fn letter(n: u32, state: &mut u64) -> String {
    let mut word = || WORDS[random(state) as usize % WORDS.len()];
    let (one, two, who) = (word(), word(), word());
    let answers = if n.is_multiple_of(3) && n > 10 { Some(n - 1 - n % 7) } else { None };
    let mut text = format!(
        "From: {who} person <{who}{}@example.org>\r\nTo: somebody <me@example.net>\r\nSubject: {}{one} {two} {}\r\n\
         Date: {}, {} Nov 2026 {:02}:{:02}:{:02} +0100\r\nMessage-ID: <{n}.{one}@example.org>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n",
        n % 400,
        if answers.is_some() { "Re: " } else { "" },
        n % 2000,
        ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][n as usize % 7],
        n % 28 + 1,
        n % 24,
        n % 60,
        n / 60 % 60
    );
    if let Some(other) = answers {
        let _ = write!(text, "References: <1.x@example.org> <{other}.y@example.org>\r\n");
    }
    text.push_str("\r\n");
    let mut state = u64::from(n) + 99;
    for _ in 0..60 {
        for _ in 0..9 {
            let _ = write!(
                text,
                "{}{} ",
                WORDS[random(&mut state) as usize % WORDS.len()],
                random(&mut state) % 900
            );
        }
        text.push_str("\r\n");
    }
    if n == 7_777 {
        text.push_str("the needle in the haystack\r\n");
    }
    text
}

async fn timed<T>(what: &str, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let outcome = work.await;
    println!("{what:44} {:>10.3} ms", began.elapsed().as_secs_f64() * 1000.0);
    outcome
}

async fn find(inbox: &Selected, what: &str, query: Query) {
    let found =
        timed(what, async { inbox.search(&query, 0).await.unwrap().finish(inbox).await.unwrap() }).await;
    println!("{:44} {:>10} found", "", found.len());
}

async fn select(mailboxes: &Mailboxes) -> Selected {
    mailboxes.select(&Name::inbox(), Access::Write).await.unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let count: u32 = std::env::args().nth(1).map_or(20_000, |text| text.parse().unwrap());
    let dir = std::env::temp_dir().join(format!("packetboat-mailbox-{}", std::process::id()));
    let store = Store::open(Options::new(&dir)).unwrap();
    let directory = Directory::open(store.clone(), DirectoryOptions::default()).await.unwrap();
    directory.add_domain(&"example.org".parse().unwrap()).await.unwrap();
    let account = directory.add_account(NewAccount::new("a@example.org".parse().unwrap())).await.unwrap().id;
    let limits = Limits::default();
    let office = PostOffice::new(store.clone(), directory.clone(), "mx.example.org".parse().unwrap(), limits);
    let mailboxes = office.mailboxes(account).await.unwrap();
    let mut state = 1;
    timed("append", async {
        let mut n = 0;
        while n < count {
            let mut appending = mailboxes.append(&Name::inbox()).await.unwrap();
            for _ in 0..500.min(count - n) {
                let text = letter(n, &mut state);
                let new = NewMessage {
                    octets: text.len() as u64,
                    received_at: i64::from(n),
                    ..NewMessage::default()
                };
                appending.begin(new).await.unwrap();
                appending.write(Bytes::from(text)).await.unwrap();
                appending.end().unwrap();
                n += 1;
            }
            appending.commit().await.unwrap();
        }
    })
    .await;

    // Another post office over the same store knows nothing yet.
    let office = PostOffice::new(store.clone(), directory.clone(), "mx.example.org".parse().unwrap(), limits);
    let mailboxes = office.mailboxes(account).await.unwrap();
    let mut inbox = timed("open, first", select(&mailboxes)).await;
    let other = timed("open, somebody has it open", select(&mailboxes)).await;
    drop(other);
    timed("rows of all", async {
        let mut cursor = inbox.pick_all().cursor();
        while !cursor.is_done() {
            std::hint::black_box(inbox.rows(&mut cursor, 1000));
        }
    })
    .await;
    for page in [250, 2000] {
        timed(&format!("cards of all, {page} at a time"), async {
            let mut cursor = inbox.pick_all().cursor();
            while !cursor.is_done() {
                std::hint::black_box(inbox.cards(&mut cursor, page).await.unwrap());
            }
        })
        .await;
    }
    let text = |words: &str| Query::Text(words.into());
    let from = |words: &str| Query::Header { name: "From".into(), text: words.into() };
    find(&inbox, "search unseen", Query::Not(Box::new(Query::Flags(Flags::SEEN)))).await;
    find(&inbox, "search from, rare, not indexed", from("contract399")).await;
    find(&inbox, "search from, all, not indexed", from("example.org")).await;
    find(&inbox, "search text, rare, not indexed", text("needle in the haystack")).await;
    find(&inbox, "search text, rare", text("needle in the haystack")).await;
    find(&inbox, "search text, absent", text("something else entirely")).await;
    find(&inbox, "search text, some", text("server123")).await;
    find(&inbox, "search text, all", text("example.org")).await;
    find(&inbox, "search from, rare", from("contract399")).await;
    find(&inbox, "search from, all", from("example.org")).await;
    let all = inbox.pick_all();
    for key in [SortKey::Arrival, SortKey::Date, SortKey::Subject, SortKey::From, SortKey::Subject] {
        let by = [SortBy { reverse: false, key }];
        timed(&format!("sort {key:?}"), inbox.sort(&all, &by)).await.unwrap();
    }
    for how in [Threading::References, Threading::OrderedSubject, Threading::References] {
        timed(&format!("thread {how:?}"), inbox.threads(&all, how)).await.unwrap();
    }
    for (what, change, silent) in [
        ("add", Change::Add, false),
        ("remove, silent", Change::Remove, true),
        ("add, silent", Change::Add, true),
        ("remove", Change::Remove, false),
    ] {
        let edit =
            FlagEdit { change, system: Flags::FLAGGED, keywords: Vec::new(), unchanged_since: None, silent };
        timed(&format!("store on all, {what}"), inbox.store_flags(&all, &edit)).await.unwrap();
        timed("sync", inbox.sync(true)).await.unwrap();
    }
    drop(inbox);
    timed("open, just closed", select(&mailboxes)).await;
    let mut sessions = Vec::new();
    timed("open 10,000 times", async {
        for _ in 0..10_000 {
            sessions.push(select(&mailboxes).await);
        }
    })
    .await;
    println!("{:44} {:>10} octets", "a session", std::mem::size_of::<Selected>());
    timed("sync of 10,000, nothing new", async {
        for session in &mut sessions {
            assert!(session.sync(true).await.unwrap().is_empty());
        }
    })
    .await;
    drop(sessions);
    tokio::time::sleep(Duration::from_millis(1)).await;
    store.stop().await;
    let _ = std::fs::remove_dir_all(dir);
}
