//! Several sessions on one mailbox, each against what a client would know by what it was told.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{append, letter, name, town, uids};
use packetboat_mail::mailbox::{Access, Change, FlagEdit, Picked, Selected, numbers};
use packetboat_store::{Flags, Store};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Act {
    Append(u32),
    Store { session: usize, pick: u64, change: u8, flags: u64, keyword: u8, silent: bool },
    Expunge { session: usize },
    Move { session: usize, pick: u64 },
    Sync { session: usize, expunges: bool },
    Reopen { session: usize },
}

fn acts() -> impl Strategy<Value = Act> {
    let session = || 0usize..3;
    prop_oneof![
        2 => (1u32..4).prop_map(Act::Append),
        4 => (session(), any::<u64>(), 0u8..3, 0u64..32, 0u8..6, any::<bool>()).prop_map(
            |(session, pick, change, flags, keyword, silent)| Act::Store {
                session, pick, change, flags, keyword, silent
            }
        ),
        2 => session().prop_map(|session| Act::Expunge { session }),
        1 => (session(), any::<u64>()).prop_map(|(session, pick)| Act::Move { session, pick }),
        6 => (session(), any::<bool>()).prop_map(|(session, expunges)| Act::Sync { session, expunges }),
        1 => session().prop_map(|session| Act::Reopen { session }),
    ]
}

/// What a client takes the mailbox to be: UIDs by number, and the flags it was told.
struct Client {
    selected: Selected,
    messages: Vec<(u32, u64)>,
}

impl Client {
    fn new(selected: Selected) -> Client {
        let rows = selected.rows(&mut selected.pick_all().cursor(), usize::MAX);
        let messages = rows.iter().map(|row| (row.uid, row.flags().0)).collect();
        Client { selected, messages }
    }

    /// UIDs of some of the messages.
    fn pick(&self, pick: u64) -> Vec<(u32, u32)> {
        let messages = self.messages.iter().enumerate();
        messages.filter(|(at, _)| pick >> (at % 64) & 1 == 1).map(|(_, (uid, _))| (*uid, *uid)).collect()
    }

    /// FETCH responses with the flags of these numbers.
    fn fetch(&mut self, wanted: impl Iterator<Item = u32>) {
        for number in wanted {
            let picked = self.selected.pick_numbers(&[(Some(number), Some(number))]).unwrap();
            for row in self.selected.rows(&mut picked.cursor(), 9) {
                let known = &mut self.messages[number as usize - 1];
                assert_eq!((row.number, row.uid), (number, known.0));
                known.1 = row.flags().0;
            }
        }
    }

    async fn sync(&mut self, expunges: bool, store: &Store) {
        self.sync_unchecked(expunges).await;
        self.check(expunges, store).await;
    }

    async fn sync_unchecked(&mut self, expunges: bool) {
        let news = self.selected.sync(expunges).await.unwrap();
        assert!(expunges || news.gone.is_none());
        if let Some(gone) = &news.gone {
            for number in gone.expunges() {
                let (uid, _) = self.messages.remove(number as usize - 1);
                assert!(numbers(&gone.uids).any(|other| other == uid));
            }
            assert_eq!(numbers(&gone.uids).count(), gone.expunges().count());
        }
        if let Some(exists) = news.exists {
            assert!(exists as usize > self.messages.len());
            let first = self.messages.len() as u32 + 1;
            for number in first..=exists {
                let picked = self.selected.pick_numbers(&[(Some(number), Some(number))]).unwrap();
                let uid = picked.each_uid().next().unwrap();
                assert!(self.messages.last().is_none_or(|(last, _)| *last < uid));
                self.messages.push((uid, 0));
            }
            self.fetch(first..=exists);
        }
        self.fetch(numbers(&news.flags));
    }

    /// What it takes the outcome of its own change to be.
    fn learn(&mut self, picked: &Picked, edit: &FlagEdit) {
        if !edit.silent {
            return self.fetch(numbers(picked.numbers()));
        }
        let named = self.selected.keywords();
        let named = named.iter().filter(|(_, name)| edit.keywords.contains(name));
        let mask = named.fold(edit.system.0, |mask, (bit, _)| mask | 1 << bit);
        for (number, _) in picked.each() {
            let known = &mut self.messages[number as usize - 1].1;
            *known = match edit.change {
                Change::Add => *known | mask,
                Change::Remove => *known & !mask,
                Change::Replace => mask,
            };
        }
    }

    async fn check(&self, whole: bool, store: &Store) {
        assert_eq!(self.selected.exists() as usize, self.messages.len());
        let rows = store.messages(self.selected.mailbox(), None, 10_000).await.unwrap();
        let truth: BTreeMap<u32, u64> = rows.iter().map(|row| (row.uid.0, row.flags.0)).collect();
        for (uid, flags) in &self.messages {
            match truth.get(uid) {
                Some(true_flags) => assert_eq!(flags, true_flags, "flags of {uid}"),
                None => assert!(!whole, "{uid} is gone"),
            }
        }
        let known = self.messages.iter().filter(|(uid, _)| truth.contains_key(uid)).count();
        assert_eq!(known, truth.len());
        let gone = self.selected.pick_gone(&self.selected.pick_all());
        assert_eq!(gone.len() as usize, self.messages.len() - truth.len());
        let highest = rows.iter().map(|row| row.modseq.0).max().unwrap_or(0);
        assert!(self.selected.highest_modseq() >= highest);
    }
}

const CHANGES: [Change; 3] = [Change::Add, Change::Remove, Change::Replace];

async fn play(acts: Vec<Act>) {
    let town = town().await;
    let mailboxes = &town.mailboxes;
    let select = || async { Client::new(mailboxes.select(&name("INBOX"), Access::Write).await.unwrap()) };
    let mut clients = vec![select().await, select().await, select().await];
    for act in acts {
        match act {
            Act::Append(count) => {
                let texts: Vec<String> = (0..count).map(letter).collect();
                append(mailboxes, "INBOX", &texts, Flags(u64::from(count))).await;
            }
            Act::Store { session, pick, change, flags, keyword, silent } => {
                let client = &mut clients[session];
                let picked = uids(&client.selected, &client.pick(pick));
                let change = CHANGES[usize::from(change)];
                let keywords: Vec<String> =
                    if keyword < 3 { vec![format!("$Word{keyword}")] } else { Vec::new() };
                let system = Flags(flags);
                let edit = FlagEdit { change, system, keywords, unchanged_since: None, silent };
                let stored = client.selected.store_flags(&picked, &edit).await.unwrap();
                assert!(stored.modified.is_empty());
                client.learn(&picked, &edit);
            }
            Act::Expunge { session } => clients[session].selected.expunge(None).await.unwrap(),
            Act::Move { session, pick } => {
                let client = &mut clients[session];
                let picked = uids(&client.selected, &client.pick(pick & 0x3333));
                // Those that went are known by the next sync.
                let _ = client.selected.copy(&picked, mailboxes, &name("Trash"), true).await;
            }
            Act::Sync { session, expunges } => clients[session].sync(expunges, &town.store).await,
            Act::Reopen { session } => clients[session] = select().await,
        }
    }
    for client in &mut clients {
        client.sync(false, &town.store).await;
        client.sync(true, &town.store).await;
        assert!(client.selected.sync(true).await.unwrap().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn what_clients_are_told_is_true(acts in prop::collection::vec(acts(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(acts));
    }
}

#[test]
fn large_mailboxes_are_told_truly_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut acts = vec![Act::Append(900), Act::Append(900)];
        for session in 0..3 {
            acts.push(Act::Sync { session, expunges: true });
        }
        for step in 0..6u64 {
            let session = (step % 3) as usize;
            let pick = 0x8000_0100_0000_1001 << step;
            acts.push(Act::Store { session, pick, change: 0, flags: 8, keyword: 9, silent: step % 2 == 0 });
            acts.push(Act::Expunge { session });
            acts.push(Act::Append(30));
            acts.push(Act::Sync { session: (session + 1) % 3, expunges: step % 4 == 0 });
        }
        play(acts).await;
    });
}

/// Many at once: nobody knows what is true in between, but at the end all know the same.
#[test]
fn sessions_at_the_same_moment_end_with_the_truth() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let town = town().await;
        let texts: Vec<String> = (0..40).map(letter).collect();
        append(&town.mailboxes, "INBOX", &texts, Flags::NONE).await;
        let tasks: Vec<_> = (0..6u64)
            .map(|task| {
                let mailboxes = town.mailboxes.clone();
                tokio::spawn(async move {
                    let select = mailboxes.select(&name("INBOX"), Access::Write).await.unwrap();
                    let mut client = Client::new(select);
                    let mut state = task + 1;
                    for step in 0..60 {
                        state = state
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        let (change, flags, silent) = (
                            CHANGES[(state >> 40) as usize % 3],
                            1 << (state >> 50 & 3),
                            state >> 33 & 1 == 1,
                        );
                        let picked = uids(&client.selected, &client.pick(state >> 3));
                        let flags = if change == Change::Replace { flags & 7 } else { flags };
                        let edit = FlagEdit {
                            change,
                            system: Flags(flags & 7),
                            keywords: Vec::new(),
                            unchanged_since: None,
                            silent,
                        };
                        client.selected.store_flags(&picked, &edit).await.unwrap();
                        client.learn(&picked, &edit);
                        if step % 7 == 0 {
                            client.sync_unchecked(step % 2 == 0).await;
                        }
                        if step % 20 == 19 {
                            append(&mailboxes, "INBOX", &[letter(step)], Flags::NONE).await;
                            let deleted = uids(&client.selected, &client.pick(state & 0x11 << task));
                            let edit = FlagEdit {
                                system: Flags::DELETED,
                                change: Change::Add,
                                silent: false,
                                ..edit
                            };
                            client.selected.store_flags(&deleted, &edit).await.unwrap();
                            client.learn(&deleted, &edit);
                            client.selected.expunge(Some(&deleted)).await.unwrap();
                        }
                    }
                    client
                })
            })
            .collect();
        let mut clients = Vec::new();
        for task in tasks {
            clients.push(task.await.unwrap());
        }
        for client in &mut clients {
            client.sync(true, &town.store).await;
        }
    });
}
