//! SEND, SOML and SAML by their three rules (RFC 821 section 3.4).
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use bytes::Bytes;
use jiff::Zoned;
use packetboat_account::{Directory, DirectoryOptions, NewAccount};
use packetboat_mail::queue::{Asked, RcptAsked};
use packetboat_mail::{Addressee, Intake, Limits, Origin, PostOffice, Reach, Refusal, Role, Terminal};
use packetboat_message::Address;
use packetboat_message::trace::{Protocol, With};
use packetboat_store::{AccountId, Store};

const LETTER: &str = "Subject: Lunch\r\n\r\nCome!\r\n";
const SHOWN: &str = "Message from carol@elsewhere.test: Lunch: Come!";

struct Town {
    office: PostOffice,
    alice: AccountId,
    bob: AccountId,
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// example.org with alice and bob.
async fn town() -> Town {
    let store = Store::temporary().unwrap();
    let directory = Directory::open(store.clone(), DirectoryOptions::default()).await.unwrap();
    directory.add_domain(&"example.org".parse().unwrap()).await.unwrap();
    let alice = directory.add_account(NewAccount::new(address("alice@example.org"))).await.unwrap().id;
    let bob = directory.add_account(NewAccount::new(address("bob@example.org"))).await.unwrap().id;
    let office = PostOffice::new(store, directory, "mx.example.org".parse().unwrap(), Limits::default());
    Town { office, alice, bob }
}

impl Town {
    fn begin(&self, reach: Reach) -> Intake {
        let with = With { protocol: Protocol::Esmtp, utf8: false, tls: false, authenticated: false };
        let origin =
            Origin { role: Role::Exchange, peer: None, helo: None, with, tls: None, may_relay: false };
        let now: Zoned = "2026-11-21T10:00:00+00:00[UTC]".parse().unwrap();
        let asked = Asked { reach, ..Asked::default() };
        self.office.begin(origin, Some(address("carol@elsewhere.test")), asked, now, 7).unwrap()
    }

    async fn mails(&self, account: AccountId) -> usize {
        self.office.maildrop(account, Instant::now()).await.unwrap().sizes().count()
    }
}

async fn name(intake: &mut Intake, to: &str) -> Result<(), Refusal> {
    intake.recipient(Addressee::Mailbox(address(to)), RcptAsked::default()).await.map(|_| ())
}

async fn body(intake: &mut Intake) {
    intake.open_body();
    intake.write(Bytes::from_static(LETTER.as_bytes())).await.unwrap();
}

async fn seen(terminal: &mut Terminal) -> Option<String> {
    let next = tokio::time::timeout(std::time::Duration::ZERO, terminal.next()).await;
    next.ok().map(|note| note.to_string())
}

#[tokio::test]
async fn send_reaches_who_is_here_and_nobody_else() {
    let town = town().await;
    let mut terminal = town.office.terminals().open(town.alice);
    let mut intake = town.begin(Reach::Terminal);
    for (to, expected) in [
        ("bob@example.org", Err(Refusal::NotHere)),
        ("nobody@example.org", Err(Refusal::UnknownUser)),
        ("x@elsewhere.test", Err(Refusal::RelayDenied("x@elsewhere.test".into()))),
        ("alice@example.org", Ok(())),
    ] {
        assert_eq!(name(&mut intake, to).await, expected, "{to}");
    }
    body(&mut intake).await;
    let accepted = intake.commit().await.unwrap();
    assert_eq!((accepted.shown, accepted.outcomes.len()), (vec![address("alice@example.org")], 0));
    assert_eq!(seen(&mut terminal).await.as_deref(), Some(SHOWN));
    assert_eq!(town.mails(town.alice).await, 0);
}

#[tokio::test]
async fn send_fails_when_they_leave_meanwhile() {
    let town = town().await;
    let terminal = town.office.terminals().open(town.alice);
    let mut intake = town.begin(Reach::Terminal);
    name(&mut intake, "alice@example.org").await.unwrap();
    body(&mut intake).await;
    drop(terminal);
    assert_eq!(intake.commit().await.unwrap_err(), Refusal::NotHere);
    assert_eq!(town.mails(town.alice).await, 0);
}

#[tokio::test]
async fn soml_reaches_a_screen_or_a_mailbox() {
    let town = town().await;
    let mut terminal = town.office.terminals().open(town.alice);
    let mut intake = town.begin(Reach::TerminalOrMailbox);
    name(&mut intake, "alice@example.org").await.unwrap();
    name(&mut intake, "bob@example.org").await.unwrap();
    assert_eq!(name(&mut intake, "nobody@example.org").await, Err(Refusal::UnknownUser));
    body(&mut intake).await;
    let accepted = intake.commit().await.unwrap();
    assert_eq!((accepted.shown.len(), accepted.outcomes.len()), (1, 1));
    assert_eq!(seen(&mut terminal).await.as_deref(), Some(SHOWN));
    assert_eq!((town.mails(town.alice).await, town.mails(town.bob).await), (0, 1));
}

#[tokio::test]
async fn soml_is_mail_for_who_leaves_meanwhile() {
    let town = town().await;
    let terminal = town.office.terminals().open(town.alice);
    let mut intake = town.begin(Reach::TerminalOrMailbox);
    name(&mut intake, "alice@example.org").await.unwrap();
    body(&mut intake).await;
    drop(terminal);
    let accepted = intake.commit().await.unwrap();
    assert_eq!((accepted.shown.len(), accepted.outcomes.len()), (0, 1));
    assert_eq!(town.mails(town.alice).await, 1);
}

#[tokio::test]
async fn saml_reaches_both() {
    let town = town().await;
    let mut terminal = town.office.terminals().open(town.alice);
    let mut intake = town.begin(Reach::TerminalAndMailbox);
    name(&mut intake, "alice@example.org").await.unwrap();
    name(&mut intake, "bob@example.org").await.unwrap();
    body(&mut intake).await;
    let accepted = intake.commit().await.unwrap();
    assert_eq!((accepted.shown.len(), accepted.outcomes.len()), (0, 2));
    assert_eq!(seen(&mut terminal).await.as_deref(), Some(SHOWN));
    assert_eq!(seen(&mut terminal).await, None);
    assert_eq!((town.mails(town.alice).await, town.mails(town.bob).await), (1, 1));
}

#[tokio::test]
async fn plain_mail_shows_nothing() {
    let town = town().await;
    let mut terminal = town.office.terminals().open(town.alice);
    let mut intake = town.begin(Reach::Mailbox);
    name(&mut intake, "alice@example.org").await.unwrap();
    body(&mut intake).await;
    intake.commit().await.unwrap();
    assert_eq!(seen(&mut terminal).await, None);
    assert_eq!(town.mails(town.alice).await, 1);
}
