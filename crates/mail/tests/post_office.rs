//! The post office over a real store: intake, verdicts, maildrops.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Zoned;
use packetboat_account::{Directory, DirectoryOptions, NewAccount, Quota};
use packetboat_mail::queue::{Asked, RcptAsked};
use packetboat_mail::{
    Accepted, Addressee, Identity, Intake, Limits, Maildrop, MaildropError, Origin, PostOffice, Refusal, Role,
};
use packetboat_message::trace::{Protocol, With};
use packetboat_message::{Address, Domain};
use packetboat_store::{AccountId, Store};

const LETTER: &str = "From: carol@elsewhere.test\r\nSubject: hello\r\n\r\nhow are you?\r\n";

struct Town {
    office: PostOffice,
    store: Store,
    alice: AccountId,
    bob: AccountId,
}

/// example.org with alice (also called info) and bob, who may keep 2,000 octets.
async fn town() -> Town {
    town_with_delay(Duration::ZERO).await
}

async fn town_with_delay(delay: Duration) -> Town {
    let store = Store::temporary().unwrap();
    let directory = Directory::open(store.clone(), DirectoryOptions::default()).await.unwrap();
    directory.add_domain(&"example.org".parse().unwrap()).await.unwrap();
    let mut alice = NewAccount::new(address("alice@example.org"));
    alice.aliases.push(address("info@example.org"));
    let alice = directory.add_account(alice).await.unwrap().id;
    let mut bob = NewAccount::new(address("bob@example.org"));
    bob.quota = Quota { octets: Some(2000), messages: None };
    let bob = directory.add_account(bob).await.unwrap().id;
    let host: Domain = "mx.example.org".parse().unwrap();
    let limits = Limits { message_octets: 10_000, received_fields: 3, maildrop_delay: delay };
    let office = PostOffice::new(store.clone(), directory, host, limits);
    Town { office, store, alice, bob }
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn to(text: &str) -> Addressee {
    Addressee::Mailbox(address(text))
}

fn origin(role: Role) -> Origin {
    let with = With { protocol: Protocol::Esmtp, utf8: false, tls: false, authenticated: false };
    Origin {
        role,
        peer: Some([192, 0, 2, 1].into()),
        helo: Some("client.test".into()),
        with,
        tls: None,
        may_relay: false,
    }
}

fn now() -> Zoned {
    "2026-11-21T10:00:00+00:00[UTC]".parse().unwrap()
}

impl Town {
    fn begin(&self, role: Role) -> Intake {
        self.office
            .begin(origin(role), Some(address("carol@elsewhere.test")), Asked::sized(0), now(), 7)
            .unwrap()
    }

    async fn deliver(&self, role: Role, recipients: &[&str], text: &str) -> Result<Accepted, Refusal> {
        let mut intake = self.begin(role);
        for recipient in recipients {
            intake.recipient(to(recipient), RcptAsked::default()).await.unwrap();
        }
        intake.open_body();
        intake.write(Bytes::copy_from_slice(text.as_bytes())).await?;
        intake.commit().await
    }

    async fn drop_of(&self, account: AccountId) -> Maildrop {
        self.office.maildrop(account, Instant::now()).await.unwrap()
    }
}

async fn text_of(maildrop: &mut Maildrop, index: usize) -> String {
    String::from_utf8(octets_of(maildrop, index, true).await).unwrap()
}

async fn octets_of(maildrop: &mut Maildrop, index: usize, utf8: bool) -> Vec<u8> {
    let mut message = maildrop.open(index, utf8).await.unwrap().unwrap();
    let mut text = Vec::new();
    while let Some(piece) = message.next().await.unwrap() {
        text.extend_from_slice(&piece);
    }
    text
}

#[tokio::test]
async fn a_letter_lies_in_every_recipients_inbox_with_its_trace() {
    let town = town().await;
    let accepted =
        town.deliver(Role::Exchange, &["alice@example.org", "Bob+shop@Example.org"], LETTER).await.unwrap();
    assert!(accepted.outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
    let tag = accepted.tag;
    let mut drop = town.drop_of(town.alice).await;
    assert_eq!(drop.len(), 1);
    let text = text_of(&mut drop, 0).await;
    let expected = format!(
        "Return-Path: <carol@elsewhere.test>\r\nDelivered-To: alice@example.org\r\n\
         Received: from client.test ([192.0.2.1])\r\n\tby mx.example.org with ESMTP\r\n\t\
         id {tag} for <alice@example.org>;\r\n\tSat, 21 Nov 2026 10:00:00 +0000\r\n{LETTER}"
    );
    assert_eq!(text, expected);
    assert_eq!(drop.sizes().collect::<Vec<_>>(), [expected.len() as u64]);
    let text = text_of(&mut town.drop_of(town.bob).await, 0).await;
    assert!(text.contains("Delivered-To: Bob+shop@example.org\r\n"), "{text}");
    assert!(text.ends_with(LETTER));
}

#[tokio::test]
async fn an_account_named_twice_gets_one_copy_and_both_names_a_yes() {
    let town = town().await;
    let accepted =
        town.deliver(Role::Lmtp, &["alice@example.org", "info@example.org"], LETTER).await.unwrap();
    assert_eq!(accepted.outcomes.len(), 2);
    assert!(accepted.outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
    assert_eq!(town.drop_of(town.alice).await.len(), 1);
}

#[tokio::test]
async fn who_is_not_here_is_told_so_by_meaning() {
    let town = town().await;
    let submission = || Role::Submission(Identity { account: town.alice, login: "alice".into() });
    for (role, recipient, refusal) in [
        (Role::Exchange, "nobody@example.org", Refusal::UnknownUser),
        (Role::Exchange, "dave@elsewhere.test", Refusal::RelayDenied("dave@elsewhere.test".into())),
        (Role::Lmtp, "dave@elsewhere.test", Refusal::RelayDenied("dave@elsewhere.test".into())),
    ] {
        let mut intake = town.begin(role);
        assert_eq!(intake.recipient(to(recipient), RcptAsked::default()).await, Err(refusal));
    }
    let mut intake = town
        .office
        .begin(origin(submission()), Some(address("info@example.org")), Asked::sized(0), now(), 7)
        .unwrap();
    let refusal = Refusal::NoRoute("dave@elsewhere.test".into());
    assert_eq!(intake.recipient(to("dave@elsewhere.test"), RcptAsked::default()).await, Err(refusal));
    let foreign =
        town.office.begin(origin(submission()), Some(address("bob@example.org")), Asked::sized(0), now(), 7);
    assert_eq!(foreign.unwrap_err(), Refusal::NotYourAddress("bob@example.org".into()));
}

#[tokio::test]
async fn postmaster_is_always_somebody() {
    let town = town().await;
    for addressee in [Addressee::Postmaster, to("PostMaster@example.org")] {
        let mut intake = town.begin(Role::Exchange);
        assert_eq!(intake.recipient(addressee, RcptAsked::default()).await, Ok(None));
    }
}

#[tokio::test]
async fn one_reply_for_all_takes_the_message_from_nobody() {
    let town = town().await;
    let large = format!("{LETTER}{}\r\n", "x".repeat(3000));
    for names in [["bob@example.org", "alice@example.org"], ["alice@example.org", "bob@example.org"]] {
        let town = self::town().await;
        let accepted = town.deliver(Role::Exchange, &names, &large).await.unwrap();
        assert!(accepted.outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
        assert_eq!(town.drop_of(town.alice).await.len(), 1);
        assert_eq!(town.drop_of(town.bob).await.len(), 1);
        let mut next = town.begin(Role::Exchange);
        assert_eq!(
            next.recipient(to("bob@example.org"), RcptAsked::default()).await,
            Err(Refusal::OverQuota),
            "only once"
        );
    }
    let nobody = town.deliver(Role::Exchange, &["bob@example.org", "bob+shop@example.org"], &large).await;
    assert_eq!(nobody.unwrap_err(), Refusal::OverQuota);
}

#[tokio::test]
async fn sizes_and_quotas_hold_when_announced_and_when_not() {
    let town = town().await;
    let begin = |declared| town.office.begin(origin(Role::Exchange), None, Asked::sized(declared), now(), 7);
    assert_eq!(begin(10_001).unwrap_err(), Refusal::TooLarge(10_000));
    let mut announced = begin(2001).unwrap();
    assert_eq!(
        announced.recipient(to("bob@example.org"), RcptAsked::default()).await,
        Err(Refusal::OverQuota)
    );
    assert_eq!(announced.recipient(to("alice@example.org"), RcptAsked::default()).await, Ok(None));

    let large = format!("{LETTER}{}\r\n", "x".repeat(3000));
    let refused = town.deliver(Role::Exchange, &["bob@example.org"], &large).await;
    assert_eq!(refused.unwrap_err(), Refusal::OverQuota);
    let some = town.deliver(Role::Lmtp, &["bob@example.org", "alice@example.org"], &large).await.unwrap();
    let outcomes: Vec<_> = some.outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, [Err(Refusal::OverQuota), Ok(())]);
    assert_eq!(town.drop_of(town.bob).await.len(), 0);
    assert_eq!(town.drop_of(town.alice).await.len(), 1);

    let huge = format!("{LETTER}{}\r\n", "x".repeat(10_000));
    let refused = town.deliver(Role::Exchange, &["alice@example.org"], &huge).await;
    assert_eq!(refused.unwrap_err(), Refusal::TooLarge(10_000));
}

#[tokio::test]
async fn a_message_going_round_in_circles_ends_here() {
    let town = town().await;
    let text = |hops| format!("{}{LETTER}", "Received: by somebody; now\r\n".repeat(hops));
    assert!(town.deliver(Role::Exchange, &["alice@example.org"], &text(3)).await.is_ok());
    let refused = town.deliver(Role::Exchange, &["alice@example.org"], &text(4)).await;
    assert_eq!(refused.unwrap_err(), Refusal::Loop(4));
}

#[tokio::test]
async fn submission_adds_what_a_message_must_have_and_a_body_never_becomes_header() {
    let town = town().await;
    let alice = || Role::Submission(Identity { account: town.alice, login: "alice@example.org".into() });
    let submit = async |text: &str| {
        let mut intake = town
            .office
            .begin(origin(alice()), Some(address("alice@example.org")), Asked::sized(0), now(), 7)
            .unwrap();
        intake.recipient(to("alice@example.org"), RcptAsked::default()).await.unwrap();
        intake.open_body();
        intake.write(Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
        intake.commit().await.unwrap().tag
    };
    let tag = submit("Subject: bare\r\n\r\nx\r\n").await;
    submit("Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <own@x>\r\n\r\nx\r\n").await;
    submit("no header at all\r\n").await;
    submit(" (forged)\r\nSubject: x\r\n\r\n").await;
    let mut drop = town.drop_of(town.alice).await;
    let added = format!(
        "Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{tag}@mx.example.org>\r\nSubject: bare\r\n\r\nx\r\n"
    );
    assert!(text_of(&mut drop, 0).await.ends_with(&added));
    let own = text_of(&mut drop, 1).await;
    assert_eq!((own.matches("Date:").count(), own.matches("Message-ID:").count()), (1, 1));
    assert!(text_of(&mut drop, 2).await.ends_with("\r\n\r\nno header at all\r\n"));
    let folded = text_of(&mut drop, 3).await;
    assert!(folded.ends_with("\r\n\r\n (forged)\r\nSubject: x\r\n\r\n"), "{folded}");
}

#[tokio::test]
async fn a_maildrop_is_a_locked_snapshot_from_which_quit_removes_all_or_none() {
    let town = town().await;
    for n in 0..3 {
        town.deliver(Role::Exchange, &["alice@example.org"], &format!("{LETTER}{n}\r\n")).await.unwrap();
    }
    let first = town.drop_of(town.alice).await;
    assert!(matches!(town.office.maildrop(town.alice, Instant::now()).await, Err(MaildropError::InUse)));
    town.deliver(Role::Exchange, &["alice@example.org"], LETTER).await.unwrap();
    assert_eq!(first.len(), 3, "delivery goes on, the snapshot stays");
    let ids: Vec<String> = (0..3).map(|index| first.unique_id(index).unwrap().to_string()).collect();
    drop(first);

    let mut second = town.drop_of(town.alice).await;
    assert_eq!(second.len(), 4, "a session that just ends removes nothing");
    let again: Vec<String> = (0..3).map(|index| second.unique_id(index).unwrap().to_string()).collect();
    assert_eq!(ids, again);
    second.remove(&[0, 2]).await.unwrap();
    assert!(second.open(2, true).await.unwrap().is_none(), "gone for this session too");
    drop(second);

    let mut third = town.drop_of(town.alice).await;
    assert_eq!(third.len(), 2);
    assert_eq!(third.unique_id(0).unwrap().to_string(), ids[1]);
    assert!(text_of(&mut third, 0).await.ends_with("1\r\n"));
    assert_eq!(town.store.account(town.alice).await.unwrap().unwrap().messages, 2);
}

#[tokio::test]
async fn what_is_read_ahead_is_what_is_asked_for() {
    let town = town().await;
    for n in 0..40 {
        let text = format!("{LETTER}{n}\r\n{}", "x\r\n".repeat(if n % 7 == 6 { 1500 } else { n }));
        town.deliver(Role::Exchange, &["alice@example.org"], &text).await.unwrap();
    }
    let letter = |n: usize| format!("{LETTER}{n}\r\n{}", "x\r\n".repeat(if n % 7 == 6 { 1500 } else { n }));
    let mut maildrop = town.drop_of(town.alice).await;
    maildrop.read_ahead();
    for n in (0..40).chain([5, 6, 39, 0, 2, 1, 2]) {
        assert!(text_of(&mut maildrop, n).await.ends_with(&letter(n)), "{n}");
        maildrop.read_ahead();
        maildrop.read_ahead();
    }
    assert!(maildrop.open(40, true).await.unwrap().is_none());
}

#[tokio::test]
async fn a_maildrop_may_be_opened_again_when_its_delay_is_over() {
    let town = town_with_delay(Duration::from_secs(60)).await;
    let start = Instant::now();
    let open = async |seconds| {
        town.office.maildrop(town.alice, start + Duration::from_secs(seconds)).await.map(drop)
    };
    assert!(open(0).await.is_ok());
    assert!(matches!(open(59).await, Err(MaildropError::TooSoon)));
    assert!(open(60).await.is_ok(), "a refused try does not count");
}

#[tokio::test]
async fn only_internationalised_mail_has_a_surrogate() {
    let town = town().await;
    let letter = "From: Zoë <zoë@elsewhere.test>\r\nSubject: Grüße\r\n\r\nschön\r\n";
    let mut origin = origin(Role::Exchange);
    origin.with.utf8 = true;
    let mut intake =
        town.office.begin(origin, Some(address("zoë@elsewhere.test")), Asked::sized(0), now(), 8).unwrap();
    intake.recipient(to("alice@example.org"), RcptAsked::default()).await.unwrap();
    intake.open_body();
    intake.write(Bytes::from(letter)).await.unwrap();
    intake.commit().await.unwrap();
    // The same octets from a program that never asked whether they may be sent.
    town.deliver(Role::Exchange, &["alice@example.org"], letter).await.unwrap();

    let mut maildrop = town.drop_of(town.alice).await;
    let told = octets_of(&mut maildrop, 0, true).await;
    assert!(told.starts_with("Return-Path: <zoë@elsewhere.test>".as_bytes()));
    assert!(told.ends_with(letter.as_bytes()));
    let surrogate = String::from_utf8(octets_of(&mut maildrop, 0, false).await).unwrap();
    let (header, body) = surrogate.split_once("\r\n\r\n").unwrap();
    assert!(header.is_ascii(), "{header}");
    assert!(header.contains("Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?="), "{header}");
    assert!(header.contains("<invalid@internationalized-address.invalid>"), "{header}");
    assert!(!header.contains("Return-Path"), "{header}");
    assert_eq!(body, "schön\r\n");
    for utf8 in [true, false] {
        assert!(
            octets_of(&mut maildrop, 1, utf8).await.ends_with(letter.as_bytes()),
            "legacy stays as it is"
        );
    }
}

/// Deliveries to bob, who may keep 2,000 octets, all at the same moment: how many arrive, and the other answers.
async fn at_once(town: &Town, count: usize, declared: u64, recipients: &[&str]) -> (usize, Vec<Refusal>) {
    let mut intakes = Vec::new();
    for _ in 0..count {
        let sender = Some(address("carol@elsewhere.test"));
        let mut intake =
            town.office.begin(origin(Role::Exchange), sender, Asked::sized(declared), now(), 7).unwrap();
        for recipient in recipients {
            intake.recipient(to(recipient), RcptAsked::default()).await.unwrap();
        }
        intake.open_body();
        let text = format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(700));
        intake.write(Bytes::from(text)).await.unwrap();
        intakes.push(intake);
    }
    let deliveries: Vec<_> = intakes.into_iter().map(|intake| tokio::spawn(intake.commit())).collect();
    let (mut accepted, mut refusals) = (0, Vec::new());
    for delivery in deliveries {
        match delivery.await.unwrap() {
            Ok(_) => accepted += 1,
            Err(refusal) => refusals.push(refusal),
        }
    }
    (accepted, refusals)
}

#[tokio::test]
async fn deliveries_at_the_same_moment_do_not_overrun_a_quota() {
    for declared in [716, 0] {
        let town = town().await;
        let (accepted, refusals) = at_once(&town, 8, declared, &["bob@example.org"]).await;
        // With what we put before it, one takes about 900 octets.
        assert_eq!(accepted, 2, "{refusals:?}");
        assert!(refusals.iter().all(|refusal| *refusal == Refusal::OverQuota), "{refusals:?}");
        let used = town.store.account(town.bob).await.unwrap().unwrap().used_octets;
        assert!(used <= 2000, "{used}");
    }
}

#[tokio::test]
async fn a_promise_made_at_rcpt_overruns_a_quota_by_one_message_at_most() {
    let town = town().await;
    let both = ["alice@example.org", "bob@example.org"];
    let (accepted, refusals) = at_once(&town, 8, 0, &both).await;
    // What did not fit at that moment comes again, and hears at RCPT that bob is full.
    assert!((2..=3).contains(&accepted), "{accepted} {refusals:?}");
    assert!(refusals.iter().all(|refusal| *refusal == Refusal::RecipientsChanged), "{refusals:?}");
    let again = town.begin(Role::Exchange).recipient(to("bob@example.org"), RcptAsked::default()).await;
    assert!(matches!(again, Ok(None) | Err(Refusal::OverQuota)), "{again:?}");
    let used = town.store.account(town.bob).await.unwrap().unwrap().used_octets;
    assert!(used <= 2000 + 1000, "{used}");
}
