//! What becomes of messages to aliases: copies here and elsewhere, return paths, bounces that come back, loops.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use bytes::Bytes;
use jiff::Zoned;
use packetboat_account::{Directory, DirectoryOptions, NewAccount, Quota};
use packetboat_mail::alias::{LEGS_MAX, Missing, Moved};
use packetboat_mail::outbound::{Routes, Way};
use packetboat_mail::queue::{Asked, Envelope, Notify, Rcpt, RcptAsked, Settings};
use packetboat_mail::{Addressee, Identity, Intake, Limits, Origin, Outgoing, PostOffice, Refusal, Role};
use packetboat_message::trace::{Protocol, With};
use packetboat_message::{Address, Domain};
use packetboat_store::{QueueFilter, Store};

const LETTER: &str = "From: carol@elsewhere.test\r\nSubject: hello\r\n\r\nhow are you?\r\n";
const CAROL: &str = "carol@elsewhere.test";

struct Town {
    office: PostOffice,
    store: Store,
    directory: Directory,
}

/// example.org with anna and ben; everybody else is behind their domain's own servers.
async fn town() -> Town {
    let store = Store::temporary().unwrap();
    let directory = Directory::open(store.clone(), DirectoryOptions::default()).await.unwrap();
    directory.add_domain(&"example.org".parse().unwrap()).await.unwrap();
    for login in ["anna@example.org", "ben@example.org"] {
        directory.add_account(NewAccount::new(addr(login))).await.unwrap();
    }
    let host: Domain = "mx.example.org".parse().unwrap();
    let office = PostOffice::new(store.clone(), directory.clone(), host, Limits::default());
    office.set_outgoing(Outgoing { routes: Routes::new(Way::Direct), queue: Settings::default() });
    Town { office, store, directory }
}

fn addr(text: &str) -> Address {
    text.parse().unwrap()
}

fn now() -> Zoned {
    Zoned::now()
}

/// A copy in the queue.
#[derive(Debug)]
struct Queued {
    rcpt: Rcpt,
    envelope: Envelope,
    text: String,
    destination: String,
}

impl Queued {
    fn sender(&self) -> String {
        self.envelope.sender.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

impl Town {
    async fn alias(&self, name: &str, targets: &[&str]) {
        let targets: Vec<Address> = targets.iter().map(|text| addr(text)).collect();
        self.office.aliases().set(&addr(name), &targets, Missing::Accept).await.unwrap();
    }

    fn begin(&self, sender: Option<&str>, role: Role) -> Result<Intake, Refusal> {
        let with = With { protocol: Protocol::Esmtp, utf8: false, tls: false, authenticated: false };
        let origin = Origin {
            role,
            peer: Some([192, 0, 2, 1].into()),
            helo: Some("client.test".into()),
            with,
            tls: None,
            may_relay: false,
        };
        self.office.begin(origin, sender.map(addr), Asked::sized(0), now(), 7)
    }

    async fn deliver(&self, sender: Option<&str>, to: &[&str], text: &str) -> Result<(), Refusal> {
        let mut intake = self.begin(sender, Role::Exchange)?;
        for to in to {
            intake.recipient(Addressee::Mailbox(addr(to)), RcptAsked::default()).await?;
        }
        intake.open_body();
        intake.write(Bytes::copy_from_slice(text.as_bytes())).await?;
        intake.commit().await.map(|_| ())
    }

    /// The letters in somebody's inbox.
    async fn inbox(&self, login: &str) -> Vec<String> {
        let account = self.directory.account_named(login).unwrap().id;
        let mut maildrop = self.office.maildrop(account, Instant::now()).await.unwrap();
        let mut letters = Vec::new();
        for index in 0..maildrop.len() {
            let mut message = maildrop.open(index, true).await.unwrap().unwrap();
            let mut text = Vec::new();
            while let Some(piece) = message.next().await.unwrap() {
                text.extend_from_slice(&piece);
            }
            letters.push(String::from_utf8(text).unwrap());
        }
        letters
    }

    async fn queued(&self) -> Vec<Queued> {
        let mut queued = Vec::new();
        for row in self.store.queue_rows(QueueFilter::default(), 1000).await.unwrap() {
            let reader = self.store.open_queued(&row).await.unwrap();
            let mut text = Vec::new();
            while (text.len() as u64) < reader.len() {
                text.extend_from_slice(&reader.read(text.len() as u64, 1 << 16).await.unwrap());
            }
            queued.push(Queued {
                rcpt: Rcpt::decode(&row.value).unwrap(),
                envelope: Envelope::decode(&self.store.queue_card(&row).await.unwrap()).unwrap(),
                text: String::from_utf8(text).unwrap(),
                destination: row.destination,
            });
        }
        queued
    }
}

#[tokio::test]
async fn everybody_behind_an_alias_gets_one_copy() {
    let town = town().await;
    town.alias("info@example.org", &["sales@example.org", "anna@example.org"]).await;
    town.alias("sales@example.org", &["ben@example.org", "anna+sales@example.org", "dora@far.test"]).await;
    let to = ["info@example.org", "anna@example.org", "sales+x@example.org"];
    town.deliver(Some(CAROL), &to, LETTER).await.unwrap();
    for (login, delivered_to) in [("anna", "anna@example.org"), ("ben", "ben@example.org")] {
        let letters = town.inbox(login).await;
        assert_eq!(letters.len(), 1, "{login}");
        assert!(letters[0].contains(&format!("Delivered-To: {delivered_to}\r\n")), "{}", letters[0]);
        assert!(letters[0].starts_with("Return-Path: <carol@elsewhere.test>\r\n"), "{}", letters[0]);
        assert!(letters[0].ends_with(LETTER));
    }
    let queued = town.queued().await;
    assert_eq!(queued.len(), 1);
    let copy = &queued[0];
    assert_eq!(copy.rcpt.address, addr("dora@far.test"));
    assert_eq!(copy.rcpt.expanded_from, Some(addr("info@example.org")));
    assert_eq!(copy.destination, "mx:far.test");
    assert!(
        copy.sender().starts_with("SRS0=") && copy.sender().ends_with("=elsewhere.test=carol@example.org")
    );
    assert!(copy.text.starts_with("Delivered-To: sales@example.org\r\nReceived: "), "{}", copy.text);
    assert!(copy.text.ends_with(LETTER));

    // A bounce comes back by that return path and goes to whom it is for, with no return path of its own.
    town.deliver(None, &[&copy.sender()], LETTER).await.unwrap();
    let queued = town.queued().await;
    assert_eq!(queued.len(), 2);
    assert_eq!((queued[1].rcpt.address.to_string(), queued[1].sender()), (CAROL.to_owned(), String::new()));
    let forged = copy.sender().replace("carol", "victim");
    assert!(matches!(town.deliver(None, &[&forged], LETTER).await, Err(Refusal::DeadEnd(_))));
}

#[tokio::test]
async fn a_domain_may_forward_under_the_senders_own_return_path() {
    let town = town().await;
    town.alias("out@example.org", &["dora@far.test"]).await;
    town.deliver(Some("ben@example.org"), &["out@example.org"], LETTER).await.unwrap();
    town.deliver(None, &["out@example.org"], LETTER).await.unwrap();
    town.office
        .aliases()
        .change_rules(&"example.org".parse().unwrap(), Missing::Refuse, |rules| rules.srs = false)
        .await
        .unwrap();
    town.deliver(Some(CAROL), &["out@example.org"], LETTER).await.unwrap();
    let senders: Vec<String> = town.queued().await.iter().map(Queued::sender).collect();
    assert_eq!(senders, ["ben@example.org", "", CAROL]);
}

#[tokio::test]
async fn a_message_that_comes_back_to_the_alias_it_left_by_ends_there() {
    let town = town().await;
    town.alias("out@example.org", &["dora@far.test", "anna@example.org"]).await;
    town.deliver(Some(CAROL), &["out@example.org"], LETTER).await.unwrap();
    let copy = town.queued().await.remove(0);
    let back = town.deliver(Some(&copy.sender()), &["out@example.org"], &copy.text).await;
    assert!(matches!(back, Err(Refusal::Loop(_))), "{back:?}");
    // To somebody else it may go, and so may what anna got and sends again.
    town.deliver(Some(CAROL), &["ben@example.org"], &copy.text).await.unwrap();
    let hers = town.inbox("anna").await.remove(0);
    town.deliver(Some("anna@example.org"), &["out@example.org"], &hers).await.unwrap();
    assert_eq!(town.queued().await.len(), 2);
}

#[tokio::test]
async fn an_alias_in_a_loop_is_refused_and_one_that_reaches_somebody_is_not() {
    let town = town().await;
    town.alias("a@example.org", &["b@example.org"]).await;
    // As two servers might write it at the same moment, and as an old store may have it.
    let record =
        r#"{"name":"b@example.org","targets":["a@example.org"],"created_at":"2026-11-21T10:00:00Z"}"#;
    let put = |key: &str, value: &str| packetboat_store::Op::Put { key: key.into(), value: value.into() };
    let tx = packetboat_store::Tx {
        id: None,
        require: vec![],
        ops: vec![put("alias/name/example.org/b", record)],
    };
    town.store.commit(tx, vec![]).await.unwrap();
    let refused = town.deliver(Some(CAROL), &["b@example.org"], LETTER).await;
    assert_eq!(refused, Err(Refusal::DeadEnd("it leads back to where it came from".to_owned())));
    town.alias("c@example.org", &["anna@example.org", "b@example.org"]).await;
    town.deliver(Some(CAROL), &["c@example.org"], LETTER).await.unwrap();
    assert_eq!(town.inbox("anna").await.len(), 1);
}

#[tokio::test]
async fn the_sender_hears_of_those_who_are_gone_and_the_others_get_the_message() {
    let town = town().await;
    town.alias("team@example.org", &["anna@example.org", "gone@example.org", "x@here.invalid"]).await;
    town.deliver(Some("ben@example.org"), &["team@example.org"], LETTER).await.unwrap();
    assert_eq!(town.inbox("anna").await.len(), 1);
    let notices = town.inbox("ben").await;
    assert_eq!(notices.len(), 1);
    assert!(notices[0].starts_with("Return-Path: <>\r\n"), "{}", notices[0]);
    // Who is behind an alias is not the sender's to know.
    assert!(notices[0].contains("Final-Recipient: rfc822; team@example.org\r\n"), "{}", notices[0]);
    assert!(notices[0].contains("one of those behind this address is gone;"), "{}", notices[0]);
    assert!(!notices[0].contains("gone@"), "{}", notices[0]);
    // Nobody hears of a bounce, and nobody who did not ask.
    town.deliver(None, &["team@example.org"], LETTER).await.unwrap();
    assert_eq!(town.inbox("ben").await.len(), 1);
    let mut intake = town.begin(Some("ben@example.org"), Role::Exchange).unwrap();
    let never = RcptAsked {
        notify: Some(Notify { success: false, failure: false, delay: false }),
        ..Default::default()
    };
    intake.recipient(Addressee::Mailbox(addr("team@example.org")), never).await.unwrap();
    intake.open_body();
    intake.write(Bytes::from_static(LETTER.as_bytes())).await.unwrap();
    intake.commit().await.unwrap();
    assert_eq!(town.inbox("ben").await.len(), 1);

    town.alias("ghosts@example.org", &["gone@example.org"]).await;
    let refused = town.deliver(Some(CAROL), &["ghosts@example.org"], LETTER).await;
    assert_eq!(refused, Err(Refusal::DeadEnd("nobody has this address".to_owned())));
}

#[tokio::test]
async fn those_who_have_moved_are_told_of() {
    let town = town().await;
    let (old, new) = (addr("ben@example.org"), addr("ben@new.test"));
    town.office.aliases().set_moved(&old, &new, Moved::Forward, Missing::Refuse).await.unwrap();
    let mut intake = town.begin(Some(CAROL), Role::Exchange).unwrap();
    let told = intake.recipient(Addressee::Mailbox(old.clone()), RcptAsked::default()).await.unwrap();
    assert_eq!(told, Some(new.clone()));
    town.office.aliases().set_moved(&old, &new, Moved::Refuse, Missing::Refuse).await.unwrap();
    let refused = intake.recipient(Addressee::Mailbox(old), RcptAsked::default()).await;
    assert_eq!(refused, Err(Refusal::Moved(new)));
}

#[tokio::test]
async fn postmaster_without_a_domain_may_be_an_alias() {
    let town = town().await;
    town.alias("postmaster@example.org", &["anna@example.org", "ben@example.org"]).await;
    let mut intake = town.begin(Some(CAROL), Role::Exchange).unwrap();
    intake.recipient(Addressee::Postmaster, RcptAsked::default()).await.unwrap();
    intake.open_body();
    intake.write(Bytes::from_static(LETTER.as_bytes())).await.unwrap();
    intake.commit().await.unwrap();
    assert_eq!((town.inbox("anna").await.len(), town.inbox("ben").await.len()), (1, 1));
}

#[tokio::test]
async fn a_full_mailbox_behind_an_alias_is_its_owners_matter_alone() {
    let town = town().await;
    town.alias("team@example.org", &["anna@example.org", "ben@example.org"]).await;
    town.alias("one@example.org", &["ben@example.org"]).await;
    let ben = town.directory.account_named("ben").unwrap().id;
    town.directory.set_quota(ben, Quota { octets: None, messages: Some(1) }).await.unwrap();
    for _ in 0..3 {
        town.deliver(Some("anna@example.org"), &["team@example.org"], LETTER).await.unwrap();
    }
    let letters = town.inbox("anna").await;
    let notices = letters.iter().filter(|letter| letter.contains("mailbox is full")).count();
    assert!(
        letters.iter().filter(|it| it.contains("mailbox is full")).all(|it| it.contains("Status: 5.2.2"))
    );
    let kept = town.inbox("ben").await.len();
    assert!((1..=2).contains(&kept), "what was promised without knowing the size is kept, once: {kept}");
    assert_eq!((letters.len() - notices, notices), (3, 3 - kept));
    let refused = town.deliver(Some(CAROL), &["one@example.org"], LETTER).await;
    assert_eq!(refused, Err(Refusal::OverQuota));
}

#[tokio::test]
async fn one_message_has_no_more_recipients_behind_its_addresses_than_it_may() {
    let town = town().await;
    let targets: Vec<String> = (0..LEGS_MAX).map(|n| format!("x{n}@far.test")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    town.alias("all@example.org", &targets).await;
    let mut intake = town.begin(Some(CAROL), Role::Exchange).unwrap();
    let mut taken = 0;
    let refused = loop {
        let to = Addressee::Mailbox(addr(&format!("all+{taken}@example.org")));
        match intake.recipient(to, RcptAsked::default()).await {
            Ok(_) => taken += 1,
            Err(refusal) => break refusal,
        }
        assert!(taken < 100, "no end");
    };
    assert_eq!((taken, refused), (5, Refusal::TooManyRecipients));
    intake.open_body();
    intake.write(Bytes::from_static(LETTER.as_bytes())).await.unwrap();
    intake.commit().await.unwrap();
    assert_eq!(town.store.queue_count().await.unwrap().rows, LEGS_MAX as u64, "one copy each");
}

#[tokio::test]
async fn whoever_gets_an_addresss_mail_may_send_under_it() {
    let town = town().await;
    town.alias("team@example.org", &["anna@example.org", "dora@far.test"]).await;
    for (login, sender, may) in [
        ("anna", "team@example.org", true),
        ("ben", "team@example.org", false),
        ("anna", "anna+x@example.org", true),
        ("ben", "anna@example.org", false),
        ("anna", "dora@far.test", false),
    ] {
        let account = town.directory.account_named(login).unwrap().id;
        let role = Role::Submission(Identity { account, login: login.to_owned() });
        assert_eq!(town.begin(Some(sender), role).is_ok(), may, "{login} as {sender}");
    }
}
