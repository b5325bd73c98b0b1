//! One connection to another server: errand after errand goes over it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use packetboat_mail::queue::{self, Attempt, Errand, Queue, Slot, Stage, TlsSeen, Verdict};
use packetboat_mail::secure::{Reason, Wish};
use packetboat_message::dsn::Status;
use packetboat_smtp::client::{Client, Envelope, Error, Event, Outcome};
use packetboat_smtp::envelope::{
    BY_SECONDS_MAX, BodyKind, DeliverBy, ForwardPath, Late, Notify, OriginalRecipient, Recipient, Ret, Sender,
};
use packetboat_store::ReadError;
use tokio::sync::oneshot;

use super::body::{self, Body, NotSent, Prepared};
use super::idle::Idle;
use super::metrics::RelayMetrics;
use super::tls::Seen;
use super::verdict::{self, Tally};
use crate::drive::{Handler, Stop, Summary};

/// What all couriers share.
#[derive(Debug)]
pub(super) struct Depot {
    pub(super) queue: Queue,
    pub(super) idle: Idle<Slot>,
    pub(super) metrics: RelayMetrics,
}

impl Depot {
    /// Tells the queue what came of an errand; `rest` for the recipients about whom nothing is known.
    pub(super) async fn settle(&self, slot: &mut Slot, work: Box<Work>, rest: &Verdict) {
        let (errand, verdicts) = work.decided(rest);
        verdicts.iter().for_each(|verdict| self.metrics.verdict(verdict));
        self.queue.settle(slot, errand, verdicts).await;
    }
}

/// A message under way.
#[derive(Debug)]
pub(super) struct Work {
    errand: Errand,
    body: Option<Body>,
    /// Whom the transaction is for, as places among the errand's recipients.
    round: Vec<usize>,
    tally: Tally,
    /// What is decided, for each of the errand's recipients.
    verdicts: Vec<Option<Verdict>>,
    /// What holds if no other host says otherwise.
    so_far: Vec<Option<Verdict>>,
    /// Hosts that put it off.
    hosts: u32,
}

/// Hosts that a message is offered to in one go which they put off. It comes again anyway.
const HOSTS_IN_A_ROW: u32 = 2;

impl Work {
    pub(super) fn new(errand: Errand) -> Work {
        let recipients = errand.recipients.len();
        Work {
            errand,
            body: None,
            round: (0..recipients).collect(),
            tally: Tally::of(recipients),
            verdicts: vec![None; recipients],
            so_far: vec![None; recipients],
            hosts: 0,
        }
    }

    /// Whether a host has put it off, and it is on its way to others.
    pub(super) fn was_put_off(&self) -> bool {
        self.hosts > 0
    }

    /// Nobody has it yet, so that a crash would make no copies.
    fn is_undelivered(&self) -> bool {
        !self.verdicts.iter().any(|it| matches!(it, Some(Verdict::Delivered { .. })))
    }

    /// What the sender asks for the way.
    pub(super) fn wish(&self) -> Wish {
        let asked = &self.errand.envelope.asked;
        match (asked.require_tls, asked.forgo_tls) {
            (true, _) => Wish::Require,
            (false, true) => Wish::Forgo,
            (false, false) => Wish::Usual,
        }
    }

    /// Another transaction, for these.
    fn again(&mut self, round: Vec<usize>) {
        self.body = None;
        self.tally = Tally::of(round.len());
        self.round = round;
    }

    /// All verdicts; `rest` for those that have none. What one host could not do is not final where another one has not
    /// been heard.
    fn decided(self, rest: &Verdict) -> (Errand, Vec<Verdict>) {
        let one = |(verdict, so_far): (Option<Verdict>, Option<Verdict>)| match (verdict, so_far, rest) {
            (Some(verdict), _, _) => verdict,
            (None, Some(Verdict::Failed(_)), Verdict::Deferred(_)) | (None, None, _) => rest.clone(),
            (None, Some(so_far), _) => so_far,
        };
        (self.errand, self.verdicts.into_iter().zip(self.so_far).map(one).collect())
    }
}

/// Whether a message of one wish may go over a connection that was made for another.
fn satisfies(connection: Wish, message: Wish) -> bool {
    connection == message || connection == Wish::Require || message == Wish::Forgo
}

/// A slot and the message in hand, if there is one.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) slot: Slot,
    pub(super) work: Option<Box<Work>>,
}

/// How a connection ended, as its slot sees it.
#[derive(Debug)]
pub(super) enum After {
    /// All is done, and the slot is given back.
    Done,
    /// What is left is to have another connection.
    Again {
        /// The slot, and a message that nothing is known against.
        load: Load,
        /// Why this one ended; none where it was used up.
        why: Option<Box<Attempt>>,
        /// Messages that it carried.
        carried: u32,
        /// The server was ready for messages at one time.
        was_ready: bool,
        /// The message in hand is to be offered to another host.
        elsewhere: bool,
    },
}

/// Owns one connection's session.
#[derive(Debug)]
pub(super) struct Courier {
    depot: Arc<Depot>,
    carriage: Carriage,
    /// Messages that it carried.
    messages: u32,
    slot: Option<Slot>,
    work: Option<Box<Work>>,
    /// While idle: where the next slot comes from.
    waiting: Option<oneshot::Receiver<Slot>>,
    came: Option<Slot>,
    was_ready: bool,
    tls: Option<TlsSeen>,
    why: Option<Attempt>,
    tls_failed: bool,
    elsewhere: bool,
}

/// What a courier has to know of its connection.
#[derive(Debug)]
pub(super) struct Carriage {
    /// The name of the next hop.
    pub(super) destination: String,
    pub(super) host: String,
    pub(super) address: Option<IpAddr>,
    pub(super) seen: Seen,
    /// What the connection was made for.
    pub(super) wish: Wish,
    /// Who wants TLS, if it must be.
    pub(super) required: Option<String>,
    /// TLS was wanted, and did not come about: why.
    pub(super) clear_by_need: Option<String>,
    /// How long the connection waits for another message.
    pub(super) idle_time: Duration,
    /// Messages that it may carry.
    pub(super) messages_max: u32,
    /// The next hop has another host, which may do what this one does not.
    pub(super) another: bool,
    /// A host before this one could not be reached, and may do what this one cannot.
    pub(super) hope: bool,
}

impl Courier {
    pub(super) fn new(depot: Arc<Depot>, carriage: Carriage, load: Load) -> Courier {
        let Load { slot, work } = load;
        Courier {
            depot,
            carriage,
            messages: 0,
            slot: Some(slot),
            work,
            waiting: None,
            came: None,
            was_ready: false,
            tls: None,
            why: None,
            tls_failed: false,
            elsewhere: false,
        }
    }

    /// Whether the handshake failed.
    pub(super) fn tls_failed(&self) -> bool {
        self.tls_failed
    }

    pub(super) fn host(&self) -> &str {
        &self.carriage.host
    }

    /// After the connection: what is left to do.
    pub(super) fn after(mut self) -> After {
        if let Some(mut waiting) = self.waiting.take() {
            waiting.close();
            // It may have come at the last moment.
            self.slot = self.slot.or(self.came).or_else(|| waiting.try_recv().ok());
            self.depot.idle.tidy(&self.carriage.destination);
        }
        match self.slot {
            None => After::Done,
            Some(slot) => {
                let work = self.work.map(|mut work| {
                    let round = std::mem::take(&mut work.round);
                    work.again(round);
                    work
                });
                After::Again {
                    load: Load { slot, work },
                    why: self.why.map(Box::new),
                    carried: self.messages,
                    was_ready: self.was_ready,
                    elsewhere: self.elsewhere,
                }
            }
        }
    }

    fn attempt(&self, stage: Stage) -> Attempt {
        Attempt {
            host: Some(self.carriage.host.clone()),
            address: self.carriage.address,
            tls: self.tls.clone(),
            tls_failed: self.carriage.clear_by_need.clone(),
            ..Attempt::new(super::now(), stage)
        }
    }

    async fn ready(&mut self, session: &mut Client) {
        if !self.was_ready {
            self.was_ready = true;
            self.tls = session.tls().map(|tls| TlsSeen {
                version: tls.version.to_owned(),
                cipher: tls.cipher.to_owned(),
                verified: self.carriage.seen.verified(),
            });
        }
        if self.work.is_some() {
            // A transaction more, or a message that an earlier connection could not carry.
            return self.send(session).await;
        }
        self.next_message(session).await;
    }

    async fn next_message(&mut self, session: &mut Client) {
        let Some(slot) = &mut self.slot else { return };
        if self.messages >= self.carriage.messages_max {
            return session.quit();
        }
        match self.depot.queue.errand(slot).await {
            Some(errand) => {
                self.work = Some(Box::new(Work::new(errand)));
                self.send(session).await;
            }
            None => {
                if let Some(slot) = self.slot.take() {
                    self.depot.queue.finished(slot).await;
                }
                self.waiting = match self.carriage.idle_time.is_zero() {
                    true => None,
                    false => self.depot.idle.wait(&self.carriage.destination),
                };
                if self.waiting.is_none() {
                    session.quit();
                }
            }
        }
    }

    /// Begins the transaction of the work in hand.
    async fn send(&mut self, session: &mut Client) {
        let Some(work) = &mut self.work else { return };
        if !satisfies(self.carriage.wish, work.wish()) {
            // It needs a connection of its own kind.
            return session.quit();
        }
        let kind = body_kind(work.errand.envelope.asked.body);
        let server = session.capabilities();
        let mut smtputf8 = work.errand.envelope.asked.smtputf8;
        let prepared = match work.errand.open().await {
            Ok(reader) if smtputf8 && !server.smtputf8 => match body::has_utf8_header(&reader).await {
                Ok(needed) => {
                    smtputf8 = needed;
                    body::prepare(reader, kind, server).await
                }
                Err(error) => Err(NotSent::Unreadable(error)),
            },
            Ok(reader) => body::prepare(reader, kind, server).await,
            Err(error) => Err(NotSent::Unreadable(error)),
        };
        let verdict = match prepared {
            Ok(Prepared { body, kind, octets }) => {
                work.body = Some(body);
                let envelope = envelope(work, kind, octets, smtputf8);
                if session.send(envelope).is_err() {
                    // It is about to say goodbye; the work goes by another connection.
                    session.quit();
                }
                return;
            }
            Err(NotSent::Unreadable(error)) => Verdict::Deferred(self.unreadable(&error)),
            Err(NotSent::Impossible(why)) => {
                let mut attempt = self.attempt(Stage::Here);
                attempt.status = Some(why.status());
                attempt.text = format!("The next server takes only messages of plain text, and {why}.");
                Verdict::Failed(attempt)
            }
        };
        self.settle_rest(verdict).await;
        // The session has said that it is ready, and does not say it again.
        Box::pin(self.next_message(session)).await;
    }

    fn unreadable(&self, error: &ReadError) -> Attempt {
        let tag = self.work.as_ref().map(|work| work.errand.envelope.tag.to_string());
        tracing::error!(tag, %error, "a message in the queue cannot be read");
        let mut attempt = self.attempt(Stage::Here);
        attempt.status = Some(Status(4, 3, 0));
        attempt.text = "The message cannot be read from the disk of this server.".to_owned();
        attempt
    }

    async fn want_body(&mut self, session: &mut Client) {
        let Some(body) = self.work.as_mut().and_then(|work| work.body.as_mut()) else {
            return session.abandon();
        };
        match body.next().await {
            Ok(Some(piece)) => session.body(piece),
            Ok(None) => session.end_body(),
            Err(error) => {
                session.abandon();
                let attempt = self.unreadable(&error);
                self.settle_rest(Verdict::Deferred(attempt.clone())).await;
                self.why = Some(attempt);
            }
        }
    }

    async fn done(&mut self, session: &mut Client, outcome: Outcome) {
        self.messages = self.messages.saturating_add(1);
        let attempt = self.attempt(Stage::End);
        let dsn = session.capabilities().dsn;
        let clear_by_need = self.carriage.clear_by_need.is_some();
        let Some(work) = &mut self.work else { return };
        let found = verdict::verdicts(&work.tally, &outcome, &attempt, dsn, clear_by_need);
        let taken = found.iter().any(|it| matches!(it, Some(Verdict::Delivered { .. })));
        let may_go_on = self.carriage.another && !taken && work.is_undelivered();
        let lacks = matches!(outcome, Outcome::NotOffered(_));
        let (mut again, mut elsewhere) = (Vec::new(), Vec::new());
        for (place, verdict) in work.round.clone().into_iter().zip(found) {
            let Some(verdict) = verdict else {
                again.push(place);
                continue;
            };
            let verdict = match (verdict, work.so_far.get(place)) {
                // Another host has put it off, or may yet be reached: what this one lacks is not the end.
                (Verdict::Failed(_), Some(Some(put_off @ Verdict::Deferred(_)))) if lacks => put_off.clone(),
                (Verdict::Failed(attempt), _) if lacks && self.carriage.hope => Verdict::Deferred(attempt),
                (verdict, _) => verdict,
            };
            let goes_on = lacks || (verdict::another_host_may(&verdict) && work.hosts + 1 < HOSTS_IN_A_ROW);
            if may_go_on && goes_on {
                if let Some(entry) = work.so_far.get_mut(place) {
                    *entry = Some(verdict);
                }
                elsewhere.push(place);
            } else if let Some(entry) = work.verdicts.get_mut(place) {
                *entry = Some(verdict);
            }
        }
        if !elsewhere.is_empty() {
            // To the next host (RFC 5321 section 5.1, RFC 8689 section 4.2.1).
            self.why = elsewhere.first().and_then(|&place| work.so_far.get(place)?.as_ref()).and_then(reason);
            work.hosts = work.hosts.saturating_add(1);
            work.again(elsewhere);
            self.elsewhere = true;
            session.quit();
        } else if again.is_empty() {
            self.settle_rest(Verdict::Untried).await;
        } else {
            // Sent when the session is ready again.
            work.again(again);
        }
    }

    /// Says who wants TLS where it failed for that.
    fn explained(&self, attempt: Attempt, failure: &str) -> Attempt {
        let Some(why) = self.carriage.required.as_deref().filter(|_| attempt.stage == Stage::Tls) else {
            return attempt;
        };
        let reason = match attempt.status {
            Some(Status(4, 7, 4)) => Reason::no_tls(&self.carriage.host, why, self.carriage.wish),
            _ => Reason::tls_failed(&self.carriage.host, why, failure, self.carriage.wish),
        };
        let (class, subject, detail) = reason.status;
        Attempt { status: Some(Status(class, subject, detail)), text: reason.text, ..attempt }
    }

    async fn failed(&mut self, error: Error) {
        let attempt = verdict::broken(&error, &self.attempt(Stage::Sender));
        self.tls_failed = attempt.stage == Stage::Tls;
        let attempt = self.explained(attempt, &error.to_string());
        if error.is_in_doubt()
            && let Some(work) = &mut self.work
        {
            // It may have arrived. It is sent again all the same, later: whoever has no answer has to (RFC 5321 section
            // 4.2.5, RFC 1047).
            for (place, verdict) in work.round.clone().into_iter().zip(verdict::known(&work.tally, &attempt))
            {
                if let (Some(verdict), Some(entry)) = (verdict, work.verdicts.get_mut(place)) {
                    *entry = Some(verdict);
                }
            }
            self.settle_rest(Verdict::Deferred(attempt.clone())).await;
        }
        self.why = Some(attempt);
    }

    async fn settle_rest(&mut self, rest: Verdict) {
        let Some(work) = self.work.take() else { return };
        match &mut self.slot {
            Some(slot) => self.depot.settle(slot, work, &rest).await,
            None => self.work = Some(work),
        }
    }
}

fn reason(verdict: &Verdict) -> Option<Attempt> {
    match verdict {
        Verdict::Deferred(attempt) | Verdict::Failed(attempt) => Some(attempt.clone()),
        Verdict::Delivered { .. } | Verdict::Untried => None,
    }
}

/// The envelope of the transaction.
fn envelope(work: &Work, body: BodyKind, octets: u64, smtputf8: bool) -> Envelope {
    let asked = &work.errand.envelope.asked;
    let sender = Sender {
        size: Some(octets),
        body,
        // Addresses that need it say so by themselves.
        smtputf8,
        ret: asked.ret.map(|ret| match ret {
            queue::Ret::Full => Ret::Full,
            queue::Ret::Headers => Ret::Headers,
        }),
        envid: asked.envid.clone(),
        deliver_by: asked.by.map(deliver_by),
        // We have held it ourselves.
        hold: None,
        require_tls: asked.require_tls,
        ..Sender::new(work.errand.envelope.sender.clone())
    };
    let recipients = work.round.iter().filter_map(|place| work.errand.recipients.get(*place)).map(recipient);
    Envelope { sender, recipients: recipients.collect() }
}

/// The time that is left (RFC 2852 section 4.1.4).
fn deliver_by(by: queue::DeliverBy) -> DeliverBy {
    let seconds = by.at.saturating_sub(super::now()).div_euclid(1_000_000);
    let limit = i64::from(BY_SECONDS_MAX);
    DeliverBy {
        seconds: i32::try_from(seconds.clamp(-limit, limit)).unwrap_or(BY_SECONDS_MAX),
        late: if by.notify_only { Late::Notify } else { Late::Return },
        trace: by.trace,
    }
}

fn body_kind(kind: queue::BodyKind) -> BodyKind {
    match kind {
        queue::BodyKind::SevenBit => BodyKind::SevenBit,
        queue::BodyKind::EightBit => BodyKind::EightBit,
        queue::BodyKind::Binary => BodyKind::Binary,
    }
}

fn recipient(rcpt: &queue::Rcpt) -> Recipient {
    Recipient {
        path: ForwardPath::Mailbox(rcpt.address.clone()),
        notify: rcpt.asked.notify.map(|it| Notify {
            success: it.success,
            failure: it.failure,
            delay: it.delay,
        }),
        original: rcpt.asked.original.clone().map(|(kind, address)| OriginalRecipient { kind, address }),
    }
}

impl Handler<Client> for &mut Courier {
    async fn handle(&mut self, session: &mut Client, event: Event) -> Result<(), Stop> {
        match event {
            Event::Ready => self.ready(session).await,
            Event::Recipient { index, reply } => {
                if let Some(entry) = self.work.as_mut().and_then(|work| work.tally.recipients.get_mut(index))
                {
                    *entry = Some(reply);
                }
            }
            Event::WantBody => self.want_body(session).await,
            Event::Delivery { index, reply } => {
                if let Some(entry) = self.work.as_mut().and_then(|work| work.tally.deliveries.get_mut(index))
                {
                    *entry = Some(reply);
                }
            }
            Event::Done(outcome) => self.done(session, outcome).await,
            Event::Failed(error) => self.failed(error).await,
        }
        Ok(())
    }

    async fn news(&mut self) {
        if let (Some(waiting), None) = (&mut self.waiting, &self.came)
            && let Ok(slot) = waiting.await
        {
            self.came = Some(slot);
            return;
        }
        std::future::pending().await
    }

    async fn tell(&mut self, session: &mut Client) -> Result<(), Stop> {
        self.waiting = None;
        self.slot = self.came.take();
        self.next_message(session).await;
        Ok(())
    }

    fn ended(&mut self, summary: &Summary) {
        use crate::drive::End;
        if let End::TlsFailed(_) | End::TooSlow("the TLS handshake") = summary.end {
            self.tls_failed = true;
        }
        if self.why.is_none() {
            let mut attempt = self.attempt(if self.tls_failed { Stage::Tls } else { Stage::Sender });
            attempt.status = Some(Status(4, 4, 2));
            attempt.text = match &summary.end {
                End::Closed | End::PeerClosed => return,
                end => end.to_string(),
            };
            let failure = attempt.text.clone();
            self.why = Some(self.explained(attempt, &failure));
        }
    }
}
