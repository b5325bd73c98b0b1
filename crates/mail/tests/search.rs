//! Searching, sorting and threading over a real store.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{Town, append, edit, name, open, town, uids};
use packetboat_mail::mailbox::{
    Access, Change, DateTest, FlagEdit, Query, Refusal, Selected, SortBy, SortKey, Threading,
};
use packetboat_message::card::thread::number;
use packetboat_store::Flags;

const DAY: i64 = 86_400_000_000;

fn letters() -> Vec<String> {
    [
        "From: =?utf-8?Q?J=C3=BCrgen?= <j@example.org>\r\nTo: bob@example.net\r\nSubject: lunch\r\n\
         Date: Sat, 21 Nov 2026 23:30:00 -0800\r\nMessage-ID: <1@x>\r\n\r\nShall we have Gr\u{fc}nkohl today?\r\n",
        "From: bob@example.net\r\nTo: j@example.org\r\nSubject: Re: lunch\r\nDate: Sun, 22 Nov 2026 09:00:00 +0000\r\n\
         Message-ID: <2@x>\r\nReferences: <1@x>\r\nX-Odd: Thing\r\n\r\nYes, at noon.\r\n",
        "From: Carol <carol@example.com>\r\nSubject: Zebra\r\nMessage-ID: <3@x>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Transfer-Encoding: base64\r\n\r\naGlkZGVuIG5lZWRsZSBoZXJl\r\n\
         --b\r\nContent-Type: image/png; name=noon.png\r\n\r\nnoon in a picture\r\n--b--\r\n",
        "From: Alice <alice@example.com>\r\nTo: Bob <bob@example.net>\r\nCc: zed@example.net\r\nSubject: [list] Apple\r\n\
         Date: Fri, 20 Nov 2026 09:00:00 +0000\r\nMessage-ID: <4@x>\r\nIn-Reply-To: <2@x>\r\n\r\nnoon\r\n",
    ]
    .map(str::to_owned)
    .to_vec()
}

async fn filled() -> (Town, Selected) {
    let town = town().await;
    append(&town.mailboxes, "INBOX", &letters(), Flags::NONE).await;
    let mut inbox = open(&town.mailboxes, "INBOX").await;
    let picked = uids(&inbox, &[(2, 3)]);
    inbox.store_flags(&picked, &edit(Change::Add, Flags::SEEN, &["$Work"])).await.unwrap();
    inbox.sync(true).await.unwrap();
    (town, inbox)
}

async fn found(inbox: &Selected, query: &Query) -> Vec<u32> {
    let search = inbox.search(query, 100 * DAY).await.unwrap();
    search.finish(inbox).await.unwrap().each_uid().collect()
}

fn text(words: &str) -> Query {
    Query::Text(words.into())
}

fn header(name: &str, text: &str) -> Query {
    Query::Header { name: name.into(), text: text.into() }
}

fn not(query: Query) -> Query {
    Query::Not(Box::new(query))
}

fn cases() -> Vec<(Query, &'static [u32])> {
    vec![
        (Query::And(vec![]), &[1, 2, 3, 4]),
        (Query::Or(vec![]), &[]),
        (Query::Flags(Flags::SEEN), &[2, 3]),
        (not(Query::Flags(Flags::SEEN)), &[1, 4]),
        (Query::Keyword("$work".into()), &[2, 3]),
        (Query::Keyword("$none".into()), &[]),
        (Query::Recent, &[1, 2, 3, 4]),
        (Query::Uids(vec![(2, 2), (4, 9)]), &[2, 4]),
        (header("From", "JÜRGEN"), &[1]),
        (header("from", "example"), &[1, 2, 3, 4]),
        (header("Cc", ""), &[4]),
        (header("X-Odd", "thing"), &[2]),
        (header("X-Odd", ""), &[2]),
        (header("X-Even", ""), &[]),
        (header("Subject", "lunch"), &[1, 2]),
        (text("grünKOHL"), &[1]),
        (text("noon"), &[2, 3, 4]),
        (Query::Body("noon".into()), &[2, 4]),
        (Query::Body("lunch".into()), &[]),
        (text("lunch"), &[1, 2]),
        (text("hidden needle"), &[3]),
        (text("hidden  needle"), &[]),
        (text("no"), &[1, 2, 3, 4]),
        (text("zq"), &[]),
        (text(""), &[1, 2, 3, 4]),
        (Query::And(vec![text("noon"), not(header("from", "bob"))]), &[3, 4]),
        (Query::Or(vec![text("needle"), header("Cc", "zed")]), &[3, 4]),
        (not(text("noon")), &[1]),
        // Where it was sent it was the 21st still.
        (Query::Sent(DateTest::On(20778)), &[1]),
        (Query::Sent(DateTest::Since(20778)), &[1, 2]),
        (Query::Sent(DateTest::Before(20778)), &[4]),
        (Query::Internal(DateTest::On(0)), &[1, 2, 3, 4]),
        (Query::Internal(DateTest::Since(1)), &[]),
        (Query::Saved(DateTest::Since(1)), &[1, 2, 3, 4]),
        (Query::Older(99 * 86_400), &[1, 2, 3, 4]),
        (Query::Younger(99 * 86_400), &[]),
        (Query::Larger(250), &[3]),
        (Query::Smaller(1), &[]),
        (Query::ThreadId(number(b"1@x")), &[1, 2]),
        (Query::ThreadId(number(b"2@x")), &[4]),
        (Query::ThreadId(number(b"9@x")), &[]),
    ]
}

#[tokio::test]
async fn the_filter_does_not_change_what_is_found() {
    let (town, inbox) = filled().await;
    for (query, uids) in cases() {
        assert_eq!(found(&inbox, &query).await, uids, "{query:?}");
    }
    // All has been read and is known now; then in an account where it was made known beforehand.
    for (query, uids) in cases() {
        assert_eq!(found(&inbox, &query).await, uids, "{query:?} again");
    }
    drop(inbox);
    let (town2, inbox) = filled().await;
    town2.office.index_account(inbox.owner(), false).await.unwrap();
    let bodies: Vec<u128> =
        town2.store.messages(inbox.mailbox(), None, 9).await.unwrap().iter().map(|row| row.body).collect();
    assert!(town2.store.filter_unknown(inbox.owner(), &bodies).await.is_empty());
    for (query, uids) in cases() {
        assert_eq!(found(&inbox, &query).await, uids, "{query:?} known beforehand");
    }
    drop(town);
}

#[tokio::test]
async fn what_just_came_is_found_and_long_searches_can_be_left() {
    let (town, mut inbox) = filled().await;
    town.office.index_account(inbox.owner(), false).await.unwrap();
    append(&town.mailboxes, "INBOX", &["Subject: x\r\n\r\nbrand new words\r\n".to_owned()], Flags::NONE)
        .await;
    // It has no number here yet.
    assert!(found(&inbox, &text("brand new")).await.is_empty());
    inbox.sync(true).await.unwrap();
    assert_eq!(found(&inbox, &text("brand new")).await, [5]);
    let mut search = inbox.search(&text("o"), 0).await.unwrap();
    assert_eq!(search.progress(), (0, 5));
    let mut steps = 0;
    while !search.work(&inbox, Duration::ZERO).await.unwrap() {
        steps += 1;
        assert_eq!(search.progress(), (steps, 5));
    }
    assert_eq!(search.found().len(), 5);
    let deep = (0..200).fold(text("x"), |query, _| not(query));
    assert!(matches!(inbox.search(&deep, 0).await, Err(Refusal::Limit(_))));
    let reader = town.mailboxes.select(&name("INBOX"), Access::Read).await.unwrap();
    assert_eq!(found(&reader, &text("needle")).await, [3]);
}

#[tokio::test]
async fn orders_are_those_of_the_keys() {
    let (_town, inbox) = filled().await;
    let all = inbox.pick_all();
    let mut by_size = [1, 2, 3, 4];
    by_size.sort_by_key(|uid| std::cmp::Reverse(letters()[*uid as usize - 1].len()));
    for (keys, order) in [
        (&[(SortKey::Arrival, false)][..], [1, 2, 3, 4]),
        (&[(SortKey::Arrival, true)], [1, 2, 3, 4]),
        (&[(SortKey::Subject, false)], [4, 1, 2, 3]),
        (&[(SortKey::Subject, true), (SortKey::Date, true)], [3, 2, 1, 4]),
        // Without a date it is the internal one.
        (&[(SortKey::Date, false)], [3, 4, 1, 2]),
        (&[(SortKey::From, false)], [4, 2, 3, 1]),
        (&[(SortKey::DisplayFrom, false)], [4, 2, 3, 1]),
        (&[(SortKey::To, false)], [3, 1, 4, 2]),
        (&[(SortKey::Size, true)], by_size),
    ] {
        let by: Vec<SortBy> = keys.iter().map(|&(key, reverse)| SortBy { reverse, key }).collect();
        let sorted: Vec<u32> = inbox.sort(&all, &by).await.unwrap().iter().map(|(_, uid)| *uid).collect();
        assert_eq!(sorted, order, "{keys:?}");
    }
    let threads = |how| async move {
        let threads = inbox_threads(how).await;
        threads.iter().map(|(depth, uid)| format!("{}{uid}", ">".repeat(*depth as usize))).collect::<Vec<_>>()
    };
    assert_eq!(threads(Threading::References).await, ["3", "1", ">2", ">>4"]);
    assert_eq!(threads(Threading::OrderedSubject).await, ["3", "4", "1", ">2"]);
}

#[tokio::test]
async fn orders_follow_what_comes_and_goes() {
    let (town, mut inbox) = filled().await;
    let by_date = [SortBy { reverse: false, key: SortKey::Date }];
    let sorted = async |inbox: &Selected, uids: &[(Option<u32>, Option<u32>)]| -> Vec<u32> {
        let sorted = inbox.sort(&inbox.pick_uids(uids), &by_date).await.unwrap();
        sorted.iter().map(|(_, uid)| *uid).collect()
    };
    let all = [(Some(1), Some(9))];
    let threads = async |inbox: &Selected| {
        let threads = inbox.threads(&inbox.pick_all(), Threading::References).await.unwrap();
        threads.iter().map(|one| (one.depth, one.message.unwrap().1)).collect::<Vec<_>>()
    };
    // A part of it, all of it, and a part again.
    assert_eq!(sorted(&inbox, &[(Some(2), Some(2))]).await, [2]);
    assert_eq!(sorted(&inbox, &all).await, [3, 4, 1, 2]);
    assert_eq!(sorted(&inbox, &[(Some(1), Some(1)), (Some(4), Some(4))]).await, [4, 1]);
    let old = "Date: Thu, 1 Jan 1970 00:00:01 +0000\r\nSubject: oldest\r\n\r\nx\r\n".to_owned();
    append(&town.mailboxes, "INBOX", &[old], Flags::NONE).await;
    assert_eq!(sorted(&inbox, &all).await, [3, 4, 1, 2], "it has no number yet");
    inbox.sync(true).await.unwrap();
    assert_eq!(sorted(&inbox, &all).await, [3, 5, 4, 1, 2]);
    let before = threads(&inbox).await;
    // Somebody else removes one, of which this session is not told.
    let mut other = town.mailboxes.select(&name("INBOX"), Access::Write).await.unwrap();
    let edit = FlagEdit {
        change: Change::Add,
        system: Flags::DELETED,
        keywords: Vec::new(),
        unchanged_since: None,
        silent: false,
    };
    let third = other.pick_uids(&[(Some(3), Some(3))]);
    other.store_flags(&third, &edit).await.unwrap();
    other.expunge(None).await.unwrap();
    other.sync(true).await.unwrap();
    assert_eq!(sorted(&inbox, &all).await, [5, 4, 1, 2]);
    assert_eq!(sorted(&other, &all).await, [5, 4, 1, 2]);
    let left: Vec<(u32, u32)> = before.into_iter().filter(|(_, uid)| *uid != 3).collect();
    assert_eq!(threads(&inbox).await, left);
    assert_eq!(threads(&other).await, left);
}

async fn inbox_threads(how: Threading) -> Vec<(u32, u32)> {
    let (_town, inbox) = filled().await;
    let threads = inbox.threads(&inbox.pick_all(), how).await.unwrap();
    threads.iter().map(|one| (one.depth, one.message.unwrap().1)).collect()
}
