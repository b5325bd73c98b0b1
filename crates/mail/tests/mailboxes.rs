//! Mailboxes over a real store: hierarchy, several sessions on one mailbox, the verbs.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::{append, edit, fill, letter, name, open, town, uids};
use packetboat_account::Quota;
use packetboat_mail::mailbox::{
    Access, Change, FlagEdit, Known, ListQuery, Mailboxes, Message, NewMessage, Refusal, Selected, SpecialUse,
};
use packetboat_mail::{Limits, PostOffice};
use packetboat_store::Flags;

/// Name, `!` if it is not there, special use, `s` if subscribed.
async fn listing(mailboxes: &Mailboxes) -> Vec<String> {
    let query = ListQuery { patterns: vec!["*".into()], ..ListQuery::default() };
    let names = mailboxes.names().await.unwrap().list(&query);
    names
        .iter()
        .map(|listed| {
            let special: String = listed.special_uses().map(|special| special.to_string()).collect();
            let gone = if listed.mailbox.is_none() { "!" } else { "" };
            let subscribed = if listed.subscribed { " s" } else { "" };
            format!("{}{gone}{special}{subscribed}", listed.name)
        })
        .collect()
}

#[tokio::test]
async fn an_account_is_born_with_its_mailboxes() {
    let town = town().await;
    let born = [
        "Archive\\Archive s",
        "Drafts\\Drafts s",
        "INBOX s",
        "Junk\\Junk s",
        "Sent\\Sent s",
        "Trash\\Trash s",
    ];
    assert_eq!(listing(&town.mailboxes).await, born);
    // What is removed later stays removed.
    town.mailboxes.delete(&name("Archive")).await.unwrap();
    town.mailboxes.subscribe(&name("Archive"), false).await.unwrap();
    let again = town.office.mailboxes(town.mailboxes.owner()).await.unwrap();
    assert_eq!(listing(&again).await, born[1..]);
}

#[tokio::test]
async fn names_are_made_moved_and_removed() {
    let town = town().await;
    let mailboxes = &town.mailboxes;
    for first in ["Archive", "Drafts", "Junk", "Sent", "Trash"] {
        mailboxes.delete(&name(first)).await.unwrap();
        mailboxes.subscribe(&name(first), false).await.unwrap();
    }
    mailboxes.create(&name("a/b/c"), &[]).await.unwrap();
    assert_eq!(listing(mailboxes).await, ["INBOX s", "a", "a/b", "a/b/c"]);
    assert_eq!(mailboxes.create(&name("a/b"), &[]).await, Err(Refusal::AlreadyExists));
    assert_eq!(mailboxes.create(&name("inbox"), &[]).await, Err(Refusal::AlreadyExists));
    mailboxes.create(&name("Sent mail"), &[SpecialUse::Sent]).await.unwrap();
    let twice = mailboxes.create(&name("x"), &[SpecialUse::Sent]).await;
    assert!(matches!(twice, Err(Refusal::SpecialUse(_))), "{twice:?}");
    mailboxes.delete(&name("Sent mail")).await.unwrap();
    // What is below stays, and the name goes when nothing is below it.
    mailboxes.delete(&name("a/b")).await.unwrap();
    assert_eq!(listing(mailboxes).await, ["INBOX s", "a", "a/b/c"]);
    assert_eq!(mailboxes.delete(&name("a/b")).await, Err(Refusal::HasChildren));
    assert_eq!(mailboxes.delete(&name("nothing")).await, Err(Refusal::NoSuchMailbox));
    assert!(matches!(mailboxes.delete(&name("INBOX")).await, Err(Refusal::Cannot(_))));
    mailboxes.rename(&name("a"), &name("x/y")).await.unwrap();
    assert_eq!(listing(mailboxes).await, ["INBOX s", "x", "x/y", "x/y/b/c"]);
    // A name that is no mailbox moves what is below it.
    mailboxes.rename(&name("x/y/b"), &name("d")).await.unwrap();
    assert_eq!(listing(mailboxes).await, ["INBOX s", "d/c", "x", "x/y"]);
    assert_eq!(mailboxes.rename(&name("x"), &name("d/c")).await, Err(Refusal::AlreadyExists));
    assert_eq!(mailboxes.rename(&name("no"), &name("q")).await, Err(Refusal::NoSuchMailbox));
    assert!(matches!(mailboxes.rename(&name("x"), &name("x/z")).await, Err(Refusal::Cannot(_))));
    mailboxes.subscribe(&name("nothing"), true).await.unwrap();
    mailboxes.delete(&name("x/y")).await.unwrap();
    assert_eq!(listing(mailboxes).await, ["INBOX s", "d/c", "x"]);
    let query = ListQuery { patterns: vec!["*".into()], subscribed: true, ..ListQuery::default() };
    let subscribed = mailboxes.names().await.unwrap().list(&query);
    assert_eq!(subscribed.iter().map(|listed| &listed.name[..]).collect::<Vec<_>>(), ["INBOX", "nothing"]);
}

#[tokio::test]
async fn the_inbox_is_renamed_by_being_emptied() {
    let town = town().await;
    let mailboxes = &town.mailboxes;
    mailboxes.create(&name("INBOX/below"), &[]).await.unwrap();
    fill(mailboxes, "INBOX", 3).await;
    let mut inbox = open(mailboxes, "INBOX").await;
    mailboxes.rename(&name("INBOX"), &name("old/mail")).await.unwrap();
    let news = inbox.sync(true).await.unwrap();
    assert_eq!(news.gone.unwrap().numbers, [(1, 3)]);
    let status = mailboxes.status(&name("old/mail")).await.unwrap();
    assert_eq!((status.row.messages, status.row.unseen), (3, 3));
    assert!(mailboxes.status(&name("INBOX/below")).await.is_ok());
    assert_eq!(mailboxes.status(&name("inbox")).await.unwrap().row.messages, 0);
}

#[tokio::test]
async fn what_is_appended_is_read_again() {
    let town = town().await;
    let mailboxes = &town.mailboxes;
    assert_eq!(append(mailboxes, "Sent", &[letter(1), letter(2)], Flags::SEEN).await, [(1, 2)]);
    let sent = open(mailboxes, "Sent").await;
    assert_eq!((sent.exists(), sent.recent(), sent.uid_next(), sent.first_unseen()), (2, 2, 3, None));
    let mut cursor = sent.pick_all().cursor();
    let page = sent.cards(&mut cursor, 10).await.unwrap();
    assert!(cursor.is_done());
    let card = packetboat_message::card::Card::parse(&page[1].card).unwrap();
    assert_eq!(card.envelope().unwrap().subject, Some(&b"number 2"[..]));
    let message = page[1].message;
    assert_eq!((message.number, message.uid, message.flags(), message.received_at()), (2, 2, Flags::SEEN, 7));
    let reader = sent.open_message(&message).await.unwrap();
    assert_eq!(reader.read(0, 1000).await.unwrap(), letter(2));
    // Too much is refused, and what is dropped leaves nothing.
    let mut appending = mailboxes.append(&name("Sent")).await.unwrap();
    appending.begin(NewMessage { octets: 3, ..NewMessage::default() }).await.unwrap();
    assert_eq!(appending.write(Bytes::from_static(b"four")).await, Err(Refusal::TooLarge(3)));
    drop(appending);
    assert_eq!(mailboxes.append(&name("nowhere")).await.unwrap_err(), Refusal::NoSuchMailbox);
    assert_eq!(mailboxes.status(&name("Sent")).await.unwrap().row.messages, 2);
}

#[tokio::test]
async fn sessions_keep_their_numbers_until_they_are_told() {
    let town = town().await;
    fill(&town.mailboxes, "INBOX", 5).await;
    let (mut one, mut two) = (open(&town.mailboxes, "INBOX").await, open(&town.mailboxes, "INBOX").await);
    assert_eq!((one.recent(), two.recent()), (5, 0));
    let stored =
        one.store_flags(&uids(&one, &[(2, 3)]), &edit(Change::Add, Flags::DELETED, &["$Junk"])).await;
    assert_eq!(stored.unwrap().changed.numbers(), [(2, 3)]);
    one.expunge(Some(&uids(&one, &[(3, 5)]))).await.unwrap();
    fill(&town.mailboxes, "INBOX", 1).await;
    // One made the change of flags itself and is told the rest.
    let news = one.sync(true).await.unwrap();
    assert_eq!(news.gone.as_ref().unwrap().uids, [(3, 3)]);
    assert_eq!((news.exists, news.recent, news.keywords, news.flags), (Some(5), Some(5), false, vec![]));
    // Two may not be told that something is gone, and is told what else happened.
    let news = two.sync(false).await.unwrap();
    assert_eq!((news.gone, news.exists, news.recent, news.keywords), (None, Some(6), None, true));
    assert_eq!(news.flags, [(2, 2)]);
    let three = two.pick_numbers(&[(Some(3), Some(3))]).unwrap();
    assert_eq!(two.pick_gone(&three).numbers(), [(3, 3)]);
    let rows = two.rows(&mut three.clone().cursor(), 9);
    assert!(rows[0].gone && rows[0].flags().contains(Flags::DELETED));
    assert_eq!(two.open_message(&rows[0]).await.unwrap_err(), Refusal::Expunged);
    assert!(two.cards(&mut three.cursor(), 9).await.unwrap().is_empty());
    assert!(two.sync(false).await.unwrap().is_empty());
    let news = two.sync(true).await.unwrap();
    assert_eq!(news.gone.unwrap().expunges().collect::<Vec<_>>(), [3]);
    assert_eq!((news.exists, two.exists()), (None, 5));
    assert!(two.sync(true).await.unwrap().is_empty());
    assert_eq!(two.keywords()[..], [(5, "$Junk".to_owned())]);
}

#[tokio::test]
async fn a_silent_change_is_told_where_it_surprises() {
    let town = town().await;
    fill(&town.mailboxes, "INBOX", 3).await;
    let (mut one, mut two) = (open(&town.mailboxes, "INBOX").await, open(&town.mailboxes, "INBOX").await);
    two.store_flags(&uids(&two, &[(2, 2)]), &edit(Change::Add, Flags::FLAGGED, &[])).await.unwrap();
    let silent = FlagEdit { silent: true, ..edit(Change::Add, Flags::SEEN, &["$New"]) };
    let all = one.pick_all();
    assert!(one.store_flags(&all, &silent).await.unwrap().new_keywords);
    assert_eq!(one.sync(true).await.unwrap().flags, [(2, 2)]);
    assert_eq!(two.sync(true).await.unwrap().flags, [(1, 3)]);
    // What changed since is left alone.
    let since = one.highest_modseq();
    two.store_flags(&uids(&two, &[(3, 3)]), &edit(Change::Remove, Flags::SEEN, &[])).await.unwrap();
    let careful = FlagEdit { unchanged_since: Some(since), ..edit(Change::Replace, Flags::ANSWERED, &[]) };
    let stored = one.store_flags(&all, &careful).await.unwrap();
    assert_eq!((stored.changed.numbers(), stored.modified.numbers()), (&[(1, 2)][..], &[(3, 3)][..]));
    let reader = town.mailboxes.select(&name("INBOX"), Access::Read).await.unwrap();
    let mut reader = reader;
    assert_eq!(reader.store_flags(&all, &silent).await.unwrap_err(), Refusal::ReadOnly);
    assert_eq!(reader.expunge(None).await, Err(Refusal::ReadOnly));
}

#[tokio::test]
async fn copies_and_moves_are_whole_or_not_at_all() {
    let town = town().await;
    let mailboxes = &town.mailboxes;
    fill(mailboxes, "INBOX", 4).await;
    let mut inbox = open(mailboxes, "INBOX").await;
    let flagged = edit(Change::Replace, Flags::FLAGGED, &["$Later"]);
    inbox.store_flags(&uids(&inbox, &[(2, 2)]), &flagged).await.unwrap();
    let copied = inbox.copy(&uids(&inbox, &[(2, 3)]), mailboxes, &name("Trash"), false).await.unwrap();
    assert_eq!(copied.ranges(), (vec![(2, 3)], vec![(1, 2)]));
    let trash = open(mailboxes, "Trash").await;
    let rows = trash.rows(&mut trash.pick_all().cursor(), 10);
    assert!(rows[0].flags().contains(Flags::FLAGGED));
    assert_eq!(trash.keywords()[0].1, "$Later");
    let nowhere = inbox.copy(&uids(&inbox, &[(2, 2)]), mailboxes, &name("nowhere"), true).await;
    assert_eq!(nowhere.unwrap_err(), Refusal::NoSuchMailbox);
    let moved = inbox.copy(&uids(&inbox, &[(1, 2)]), mailboxes, &name("Trash"), true).await.unwrap();
    assert_eq!(moved.uids, [(1, 3), (2, 4)]);
    let all = inbox.pick_all();
    assert_eq!(inbox.copy(&all, mailboxes, &name("Sent"), false).await.unwrap_err(), Refusal::Expunged);
    assert_eq!(inbox.sync(true).await.unwrap().gone.unwrap().numbers, [(1, 2)]);
    // A mailbox that is not there any more.
    let mut open_trash = open(mailboxes, "Trash").await;
    mailboxes.delete(&name("Trash")).await.unwrap();
    assert_eq!(open_trash.sync(true).await, Err(Refusal::MailboxGone));
}

#[tokio::test]
async fn a_message_takes_the_place_of_another() {
    let town = town().await;
    fill(&town.mailboxes, "Drafts", 2).await;
    let mut drafts = open(&town.mailboxes, "Drafts").await;
    let mut appending = town.mailboxes.append(&name("Drafts")).await.unwrap();
    appending.begin(NewMessage { octets: 4, ..NewMessage::default() }).await.unwrap();
    appending.write(Bytes::from_static(b"\r\nhi")).await.unwrap();
    appending.end().unwrap();
    assert_eq!(appending.commit_replacing(&mut drafts, 1).await.unwrap().uids, [(3, 3)]);
    let news = drafts.sync(true).await.unwrap();
    assert_eq!((news.gone.unwrap().numbers, news.exists), (vec![(1, 1)], Some(2)));
}

/// What two do at the same moment: both have looked before either of them has changed anything.
#[tokio::test]
async fn at_the_same_moment() {
    let town = town().await;
    let mailboxes = &town.mailboxes;
    fill(mailboxes, "INBOX", 4).await;
    let (mut one, mut two) = (open(mailboxes, "INBOX").await, open(mailboxes, "INBOX").await);
    // A message is moved once, and what is copied is copied whole.
    let (moved, copied) = (uids(&one, &[(1, 1)]), uids(&two, &[(1, 2)]));
    let (sent, trash) = (name("Sent"), name("Trash"));
    let (first, second) =
        tokio::join!(one.copy(&moved, mailboxes, &sent, true), two.copy(&copied, mailboxes, &trash, false));
    assert_eq!((first.unwrap().uids, second), (vec![(1, 1)], Err(Refusal::Expunged)));
    assert_eq!(open(mailboxes, "Trash").await.exists(), 0);
    // A message is replaced once.
    let mut appending = Vec::new();
    for _ in 0..2 {
        let mut one = mailboxes.append(&name("INBOX")).await.unwrap();
        one.begin(NewMessage { octets: 4, ..NewMessage::default() }).await.unwrap();
        one.write(Bytes::from_static(b"\r\nhi")).await.unwrap();
        one.end().unwrap();
        appending.push(one);
    }
    let (last, next) = (appending.pop().unwrap(), appending.pop().unwrap());
    let (first, second) =
        tokio::join!(last.commit_replacing(&mut one, 2), next.commit_replacing(&mut two, 2));
    assert_eq!((first.unwrap().uids, second), (vec![(5, 5)], Err(Refusal::Expunged)));
    // What is not deleted any more stays.
    let mut three = open(mailboxes, "INBOX").await;
    let mark = |change| edit(change, Flags::DELETED, &[]);
    let all = three.pick_all();
    one.store_flags(&all, &mark(Change::Add)).await.unwrap();
    let spared = uids(&one, &[(3, 3)]);
    let clear = mark(Change::Remove);
    let (cleared, expunged) = tokio::join!(one.store_flags(&spared, &clear), three.expunge(None));
    assert_eq!((cleared.unwrap().changed.len(), expunged), (1, Ok(())));
    let left = open(mailboxes, "INBOX").await;
    let rows = left.rows(&mut left.pick_all().cursor(), 10);
    assert_eq!(rows.iter().map(|row| (row.uid, row.flags())).collect::<Vec<_>>(), [(3, Flags::NONE)]);
}

#[tokio::test]
async fn the_quota_is_kept_by_all_ways_in() {
    let town = town().await;
    let mailboxes = &town.mailboxes;
    fill(mailboxes, "INBOX", 2).await;
    let used = mailboxes.usage().await.unwrap().octets;
    let quota = Quota { octets: Some(used + 10), messages: Some(5) };
    town.directory.set_quota(mailboxes.owner(), quota).await.unwrap();
    let mut appending = mailboxes.append(&name("INBOX")).await.unwrap();
    let new = NewMessage { octets: 11, ..NewMessage::default() };
    assert_eq!(appending.begin(new).await, Err(Refusal::OverQuota));
    let mut inbox = open(mailboxes, "INBOX").await;
    let all = inbox.pick_all();
    assert_eq!(inbox.copy(&all, mailboxes, &name("Sent"), false).await.unwrap_err(), Refusal::OverQuota);
    assert_eq!(inbox.copy(&all, mailboxes, &name("Sent"), true).await.unwrap().uids.len(), 2);
}

#[tokio::test]
async fn of_those_who_come_at_once_as_many_get_in_as_there_is_room_for() {
    let town = town().await;
    let mailboxes = &town.mailboxes;
    let quota = Quota { octets: None, messages: Some(3) };
    town.directory.set_quota(mailboxes.owner(), quota).await.unwrap();
    let mut coming = Vec::new();
    for _ in 0..10 {
        let mut appending = mailboxes.append(&name("INBOX")).await.unwrap();
        appending.begin(NewMessage { octets: 1, ..NewMessage::default() }).await.unwrap();
        appending.write(Bytes::from_static(b"x")).await.unwrap();
        appending.end().unwrap();
        coming.push(tokio::spawn(appending.commit()));
    }
    let mut full = 0;
    for one in coming {
        full += usize::from(one.await.unwrap() == Err(Refusal::OverQuota));
    }
    assert_eq!(full, 7);
    assert_eq!(mailboxes.usage().await.unwrap().messages, 3);
}

#[tokio::test]
async fn who_comes_back_is_told_what_was_missed() {
    let town = town().await;
    fill(&town.mailboxes, "INBOX", 10).await;
    let mut one = open(&town.mailboxes, "INBOX").await;
    let known = Known { modseq: one.highest_modseq(), ..Known::default() };
    one.store_flags(&uids(&one, &[(4, 6), (9, 9)]), &edit(Change::Add, Flags::DELETED, &[])).await.unwrap();
    one.expunge(None).await.unwrap();
    one.store_flags(&uids(&one, &[(1, 1)]), &edit(Change::Add, Flags::SEEN, &[])).await.unwrap();
    // What this session still has a number for is said later, as a change.
    assert_eq!(one.vanished(&known).await.unwrap(), []);
    let two = open(&town.mailboxes, "INBOX").await;
    assert_eq!(two.vanished(&known).await.unwrap(), [(4, 6), (9, 9)]);
    let some = Known { uids: vec![(1, 5), (9, 10)], ..known.clone() };
    assert_eq!(two.vanished(&some).await.unwrap(), [(4, 5), (9, 9)]);
    assert_eq!(two.pick_changed(&two.pick_all(), known.modseq).numbers(), [(1, 1)]);
}

#[tokio::test]
async fn news_wakes_who_waits() {
    let town = town().await;
    let mut inbox = open(&town.mailboxes, "INBOX").await;
    inbox.sync(true).await.unwrap();
    let mailboxes = town.mailboxes.clone();
    let writer = tokio::spawn(async move { fill(&mailboxes, "INBOX", 1).await });
    inbox.changed().await;
    writer.await.unwrap();
    let news = inbox.sync(true).await.unwrap();
    assert_eq!((news.exists, news.recent), (Some(1), Some(1)));
    // Dropped and opened again, it is recent no more.
    drop(inbox);
    assert_eq!(open(&town.mailboxes, "INBOX").await.recent(), 0);
    assert_eq!(town.mailboxes.status(&name("INBOX")).await.unwrap().recent, 0);
    fill(&town.mailboxes, "INBOX", 2).await;
    assert_eq!(town.mailboxes.status(&name("INBOX")).await.unwrap().recent, 2);
}

#[tokio::test]
async fn a_mailbox_is_the_same_whether_its_list_was_packed_or_not() {
    let town = town().await;
    for some in [600, 500] {
        fill(&town.mailboxes, "INBOX", some).await;
    }
    let mut known = open(&town.mailboxes, "INBOX").await;
    known.store_flags(&uids(&known, &[(1, 40)]), &edit(Change::Add, Flags::SEEN, &["red"])).await.unwrap();
    town.store.pack(known.mailbox(), None).await.unwrap();
    // What was packed is older than this.
    fill(&town.mailboxes, "INBOX", 2).await;
    let deleted = edit(Change::Add, Flags::DELETED, &["blue"]);
    known.store_flags(&uids(&known, &[(7, 9), (1_100, 1_100)]), &deleted).await.unwrap();
    let some = uids(&known, &[(8, 8), (1_100, 1_100)]);
    known.expunge(Some(&some)).await.unwrap();
    known.sync(true).await.unwrap();
    assert!(town.store.packed(known.mailbox()).await.unwrap().unwrap().upto().0 < known.highest_modseq());
    let host = "mx.example.org".parse().unwrap();
    let office = PostOffice::new(town.store.clone(), town.directory.clone(), host, Limits::default());
    let again = open(&office.mailboxes(town.mailboxes.owner()).await.unwrap(), "INBOX").await;
    let rows = |selected: &Selected| -> Vec<_> {
        let rows = selected.rows(&mut selected.pick_all().cursor(), 2_000);
        let told = |m: &Message| (m.number, m.uid, m.flags(), m.modseq(), m.size(), m.saved_at());
        rows.iter().map(told).collect()
    };
    assert_eq!(rows(&again).len(), 1_100);
    assert_eq!(rows(&again), rows(&known));
    let told = |selected: &Selected| {
        (selected.exists(), selected.uid_next(), selected.first_unseen(), selected.highest_modseq())
    };
    assert_eq!(told(&again), told(&known));
    assert_eq!(again.keywords(), known.keywords());
}
