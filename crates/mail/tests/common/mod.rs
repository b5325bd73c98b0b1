//! A town with one account, for tests of mailboxes.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use bytes::Bytes;
use packetboat_account::{Directory, DirectoryOptions, NewAccount};
use packetboat_mail::mailbox::{Access, Change, FlagEdit, Mailboxes, Name, NewMessage, Picked, Selected};
use packetboat_mail::{Limits, PostOffice};
use packetboat_message::Domain;
use packetboat_store::{Flags, Store};

pub struct Town {
    pub office: PostOffice,
    pub store: Store,
    pub directory: Directory,
    pub mailboxes: Mailboxes,
}

pub async fn town() -> Town {
    let store = Store::temporary().unwrap();
    let directory = Directory::open(store.clone(), DirectoryOptions::default()).await.unwrap();
    directory.add_domain(&"example.org".parse().unwrap()).await.unwrap();
    let account = directory.add_account(NewAccount::new("a@example.org".parse().unwrap())).await.unwrap().id;
    let host: Domain = "mx.example.org".parse().unwrap();
    let office = PostOffice::new(store.clone(), directory.clone(), host, Limits::default());
    let mailboxes = office.mailboxes(account).await.unwrap();
    Town { office, store, directory, mailboxes }
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn letter(n: u32) -> String {
    format!("From: carol@elsewhere.test\r\nSubject: number {n}\r\n\r\nhow are you?\r\n")
}

pub async fn append(mailboxes: &Mailboxes, to: &str, texts: &[String], flags: Flags) -> Vec<(u32, u32)> {
    let mut appending = mailboxes.append(&name(to)).await.unwrap();
    for text in texts {
        let new = NewMessage { flags, octets: text.len() as u64, received_at: 7, ..NewMessage::default() };
        appending.begin(new).await.unwrap();
        for piece in text.as_bytes().chunks(11) {
            appending.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        appending.end().unwrap();
    }
    appending.commit().await.unwrap().uids
}

pub async fn fill(mailboxes: &Mailboxes, to: &str, count: u32) {
    let texts: Vec<String> = (1..=count).map(letter).collect();
    append(mailboxes, to, &texts, Flags::NONE).await;
}

pub async fn open(mailboxes: &Mailboxes, mailbox: &str) -> Selected {
    mailboxes.select(&name(mailbox), Access::Write).await.unwrap()
}

pub fn uids(selected: &Selected, uids: &[(u32, u32)]) -> Picked {
    let set: Vec<_> = uids.iter().map(|&(first, last)| (Some(first), Some(last))).collect();
    selected.pick_uids(&set)
}

pub fn edit(change: Change, system: Flags, keywords: &[&str]) -> FlagEdit {
    let keywords = keywords.iter().map(|word| (*word).to_owned()).collect();
    FlagEdit { change, system, keywords, unchanged_since: None, silent: false }
}
