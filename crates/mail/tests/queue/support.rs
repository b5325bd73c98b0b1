//! A town whose mail goes elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use jiff::{Timestamp, Zoned};
use packetboat_account::{Directory, DirectoryOptions, NewAccount};
use packetboat_mail::outbound::{Routes, Way};
use packetboat_mail::queue::{
    Asked, Attempt, Errand, Notify, Picked, Queue, RcptAsked, Settings, Slot, Stage, Verdict, World,
};
use packetboat_mail::{Accepted, Addressee, Identity, Limits, Origin, Outgoing, PostOffice, Refusal, Role};
use packetboat_message::dsn::{DeliveryStatus, RemoteReply, Status};
use packetboat_message::trace::{Protocol, With};
use packetboat_message::{Address, Domain};
use packetboat_store::{AccountId, Options, Store};
use tempfile::TempDir;

pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
/// When all stories begin.
pub const START: i64 = 1_795_000_000 * SECOND;

pub const LETTER: &str =
    "From: alice@example.org\r\nSubject: hello\r\nMessage-ID: <one@example.org>\r\n\r\nhow are you?\r\n";

pub struct Town {
    pub office: PostOffice,
    pub store: Store,
    pub directory: Directory,
    pub alice: AccountId,
    pub bob: AccountId,
    pub queue: Queue,
    pub clock: Clock,
    /// Goes with the town, and after all that has files there.
    pub _dir: Option<TempDir>,
}

#[derive(Clone)]
pub struct Clock {
    now: Arc<AtomicI64>,
    random: Arc<AtomicU64>,
}

impl Clock {
    pub fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    pub fn forward(&self, by: i64) {
        self.now.fetch_add(by, Ordering::Relaxed);
    }

    pub fn set(&self, to: i64) {
        self.now.store(to, Ordering::Relaxed);
    }

    pub fn zoned(&self) -> Zoned {
        Timestamp::from_microsecond(self.now()).unwrap().to_zoned(jiff::tz::TimeZone::UTC)
    }

    pub fn random(&self) -> u64 {
        // SplitMix64.
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&self, limit: u64) -> u64 {
        self.random() % limit
    }

    pub fn world(&self) -> World {
        let (clock, dice) = (self.clone(), self.clone());
        World { now: Arc::new(move || clock.zoned()), random: Arc::new(move || dice.random()) }
    }
}

pub async fn town() -> Town {
    town_with(Settings::default()).await
}

pub async fn town_with(settings: Settings) -> Town {
    // The disk is not what is on trial here: where memory can be had for it, it is taken.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store =
        Store::open(Options { disk_floor: 0, maintenance: false, ..Options::new(dir.path()) }).unwrap();
    Town { _dir: Some(dir), ..town_in(store, settings).await }
}

pub async fn town_in(store: Store, settings: Settings) -> Town {
    let directory = Directory::open(store.clone(), DirectoryOptions::default()).await.unwrap();
    if directory.domains(None, 1).await.unwrap().is_empty() {
        directory.add_domain(&"example.org".parse().unwrap()).await.unwrap();
        for name in ["alice@example.org", "bob@example.org"] {
            directory.add_account(NewAccount::new(address(name))).await.unwrap();
        }
    }
    let [alice, bob] =
        ["alice@example.org", "bob@example.org"].map(|name| directory.account_named(name).unwrap().id);
    let host: Domain = "mx.example.org".parse().unwrap();
    let office = PostOffice::new(store.clone(), directory.clone(), host, Limits::default());
    office.set_outgoing(Outgoing { routes: Routes::new(Way::Direct), queue: settings });
    let clock = Clock { now: Arc::new(AtomicI64::new(START)), random: Arc::new(AtomicU64::new(7)) };
    let queue = Queue::new(office.clone(), clock.world());
    Town { office, store, directory, alice, bob, queue, clock, _dir: None }
}

pub fn address(text: &str) -> Address {
    text.parse().unwrap()
}

pub fn origin(role: Role) -> Origin {
    let with = With { protocol: Protocol::Esmtp, utf8: false, tls: false, authenticated: false };
    let (peer, helo) = (Some([192, 0, 2, 1].into()), Some("client.test".into()));
    Origin { role, peer, helo, with, tls: None, may_relay: true }
}

pub fn notify(success: bool, failure: bool, delay: bool) -> RcptAsked {
    RcptAsked { notify: Some(Notify { success, failure, delay }), original: None }
}

impl Town {
    pub fn alice(&self) -> Origin {
        origin(Role::Submission(Identity { account: self.alice, login: "alice@example.org".into() }))
    }

    pub async fn send_as(
        &self,
        origin: Origin,
        sender: Option<&str>,
        asked: Asked,
        recipients: &[(&str, RcptAsked)],
        text: &str,
    ) -> Result<Accepted, Refusal> {
        let sender = sender.map(address);
        let mut intake = self.office.begin(origin, sender, asked, self.clock.zoned(), self.clock.random())?;
        for (recipient, asked) in recipients {
            intake.recipient(Addressee::Mailbox(address(recipient)), asked.clone()).await?;
        }
        intake.open_body();
        intake.write(Bytes::copy_from_slice(text.as_bytes())).await?;
        intake.commit().await
    }

    /// From alice, with nothing special.
    pub async fn send(&self, recipients: &[&str]) -> Accepted {
        let recipients: Vec<_> = recipients.iter().map(|to| (*to, RcptAsked::default())).collect();
        let alice = Some("alice@example.org");
        self.send_as(self.alice(), alice, Asked::default(), &recipients, LETTER).await.unwrap()
    }

    pub async fn slot(&self) -> Option<Slot> {
        match self.queue.pick().await {
            Picked::Slot(slot) => Some(slot),
            Picked::Nothing(_) => None,
        }
    }

    /// The next errand, whoever it is for.
    pub async fn errand(&self) -> Option<(Slot, Errand)> {
        let mut slot = self.slot().await?;
        let errand = self.queue.errand(&mut slot).await?;
        Some((slot, errand))
    }

    /// Carries what is due now, with the same verdict for everything; how many messages.
    pub async fn carry(&self, verdict: impl Fn(&str) -> Verdict) -> usize {
        let mut carried = 0;
        while let Some((mut slot, errand)) = self.errand().await {
            let verdicts = errand.recipients.iter().map(|to| verdict(&to.address.to_string())).collect();
            self.queue.settle(&mut slot, errand, verdicts).await;
            carried += 1;
        }
        carried
    }

    /// The messages in an inbox, oldest first.
    pub async fn inbox(&self, account: AccountId) -> Vec<String> {
        let mut drop = self.office.maildrop(account, Instant::now()).await.unwrap();
        let mut texts = Vec::new();
        for index in 0..drop.len() {
            let mut message = drop.open(index, true).await.unwrap().unwrap();
            let mut text = Vec::new();
            while let Some(piece) = message.next().await.unwrap() {
                text.extend_from_slice(&piece);
            }
            texts.push(String::from_utf8(text).unwrap());
        }
        texts
    }

    pub async fn queued(&self) -> u64 {
        self.store.queue_count().await.unwrap().rows
    }

    pub fn said(&self, code: u16, text: &str) -> Attempt {
        let enhanced = Some(Status(u8::try_from(code / 100).unwrap(), 1, 1));
        let mut attempt = Attempt::new(self.clock.now(), Stage::Recipient);
        attempt.host = Some("mx.elsewhere.test".into());
        attempt.reply = Some(RemoteReply { code, enhanced, text: text.into() });
        attempt
    }

    pub fn delivered(&self) -> Verdict {
        Verdict::Delivered { attempt: self.said(250, "thank you"), dsn_passed: false }
    }

    pub fn failed(&self) -> Verdict {
        Verdict::Failed(self.said(550, "no such user here"))
    }

    pub fn deferred(&self) -> Verdict {
        Verdict::Deferred(self.said(451, "try again later"))
    }

    pub fn silence(&self) -> Attempt {
        let mut attempt = Attempt::new(self.clock.now(), Stage::Connect);
        attempt.text = "no server of elsewhere.test answered".into();
        attempt.status = Some(Status(4, 4, 1));
        attempt
    }
}

/// The part of a notice that is for programs.
pub fn status_of(notice: &str) -> DeliveryStatus {
    let part = notice.split("Content-Type: message/delivery-status").nth(1).unwrap();
    let body = part.split_once("\r\n\r\n").unwrap().1;
    DeliveryStatus::parse(body.split("\r\n--").next().unwrap().as_bytes()).unwrap()
}
