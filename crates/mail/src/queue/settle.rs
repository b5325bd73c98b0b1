//! What became of an errand: rows that are done go, others get their next date, senders hear of it, all in one
//! transaction.

use std::time::Duration;

use packetboat_message::dsn::{Kind, RECIPIENTS_MAX, Status};
use packetboat_store::{Leased, MessageReader, NewQueueRow, Op, Require, Tx, TxError};

use super::destinations::Consequence;
use super::errand::{Held, as_new};
use super::here::Arrival;
use super::notice::{self, Batch, Source, Told};
use super::schedule::{self, History};
use super::{Attempt, Envelope, Errand, Queue, Rcpt, Slot, Verdict};
use crate::Refusal;
use crate::outbound::NextHop;
use crate::story::{Became, Event, Tried, What};

/// How often, and how long apart, it is tried to write down what happened while the store does not take it. What was
/// delivered and cannot be taken out of the queue would be delivered again.
const TRIES: u32 = 10;
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// When a row comes up again whose sender could not be told, for want of room.
const TELL_AGAIN: Duration = Duration::from_secs(15 * 60);

/// How much of the truth is written down at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// All.
    Whole,
    /// The notices bring nothing of the message back: it cannot be read.
    WithoutMessage,
    /// There is no room for notices. What was delivered leaves the queue; of the rest the senders hear later.
    WithoutNotices,
}

/// What becomes of a row.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// It leaves the queue, and the sender hears of it, maybe.
    Done(Option<Told>),
    /// It stays, changed.
    Stays(NewQueueRow, Option<Told>),
    /// It leaves the queue for a mailbox of this server, and the sender hears of it, maybe.
    Arrives(Box<Arrival>, Option<Told>),
    /// Nothing happens to it.
    Untouched,
}

impl Queue {
    /// What became of an errand: a verdict for each recipient, in order. When it returns, that is on disk.
    pub async fn settle(&self, slot: &mut Slot, errand: Errand, verdicts: Vec<Verdict>) {
        let Errand { envelope, recipients, rows } = errand;
        // Somebody answered, whatever he said.
        let answered = |verdict: &Verdict| match verdict {
            Verdict::Delivered { .. } => true,
            Verdict::Failed(attempt) | Verdict::Deferred(attempt) => attempt.reply.is_some(),
            Verdict::Untried => false,
        };
        if verdicts.iter().any(answered) {
            let settings = &self.outgoing().queue;
            self.inner.active.lock().destinations.went_well(&slot.name, settings);
        }
        let mut verdicts = verdicts.into_iter();
        let fates: Vec<Fate> = recipients
            .into_iter()
            .zip(rows.rows())
            .map(|(rcpt, leased)| {
                let verdict = verdicts.next().unwrap_or(Verdict::Untried);
                self.fate(&envelope, rcpt, leased, &slot.hop, verdict)
            })
            .collect();
        self.carry_out(&envelope, rows, fates).await;
    }

    fn fate(
        &self,
        envelope: &Envelope,
        rcpt: Rcpt,
        leased: &Leased,
        hop: &NextHop,
        verdict: Verdict,
    ) -> Fate {
        match verdict {
            Verdict::Untried => Fate::Untouched,
            Verdict::Delivered { attempt, dsn_passed } => {
                let attempt = attempt.bounded();
                let traced = envelope.asked.by.is_some_and(|by| by.trace)
                    && rcpt.asked.notify != Some(super::Notify::default());
                let kind = if matches!(hop, NextHop::Lmtp(_)) { Kind::Delivered } else { Kind::Relayed };
                // The sender of a message with by-trace hears of each hop (RFC 2852 section 4.1.4.3).
                let tell = (rcpt.asked.wants_success() && !dsn_passed) || traced;
                self.tracing(envelope, &rcpt, "delivered", &attempt);
                self.tried(envelope, &rcpt, Became::Delivered, &attempt, None);
                Fate::Done(tell.then(|| Told::new(rcpt, kind, Some(attempt))))
            }
            Verdict::Failed(attempt) => {
                let attempt = attempt.bounded();
                self.tracing(envelope, &rcpt, "failed", &attempt);
                self.tried(envelope, &rcpt, Became::Failed, &attempt, None);
                Fate::Done(rcpt.asked.wants_failure().then(|| Told::new(rcpt, Kind::Failed, Some(attempt))))
            }
            Verdict::Deferred(attempt) => {
                let attempt = attempt.bounded();
                self.tracing(envelope, &rcpt, "deferred", &attempt);
                self.put_off(envelope, rcpt, leased, hop, attempt)
            }
        }
    }

    /// A recipient that could not be reached this time.
    fn put_off(
        &self,
        envelope: &Envelope,
        mut rcpt: Rcpt,
        leased: &Leased,
        hop: &NextHop,
        attempt: Attempt,
    ) -> Fate {
        let outgoing = self.outgoing();
        let now = self.inner.world.moment();
        rcpt.attempts = rcpt.attempts.saturating_add(1);
        let history = History { since: schedule::since(envelope), attempts: rcpt.attempts };
        let next = schedule::next_attempt(&outgoing.queue, history, now, self.inner.random());
        self.tried(envelope, &rcpt, Became::Deferred, &attempt, next);
        rcpt.last = Some(attempt);
        match next {
            Some(next) => {
                let (deadline, _) = schedule::deadline(&outgoing.queue, envelope, &rcpt);
                // Not for the peer that is here now, but for its next visit.
                let due_at = if hop.is_fetched() { now.saturating_add(1) } else { next };
                let value = rcpt.encode().into();
                Fate::Stays(NewQueueRow { due_at, deadline, value, ..as_new(&leased.row) }, None)
            }
            None => Fate::Done(self.given_up(envelope, rcpt, false)),
        }
    }

    /// What the sender hears of a recipient whose time is over.
    pub(super) fn given_up(&self, envelope: &Envelope, rcpt: Rcpt, too_late: bool) -> Option<Told> {
        let mut told = Told::new(rcpt, Kind::Failed, None);
        told.attempt = told.rcpt.last.clone();
        // RFC 3463: delivery time expired.
        told.status = Status(5, 4, 7);
        let since = schedule::since(envelope);
        let waited = self.inner.world.moment().saturating_sub(since);
        let last = told.attempt.as_ref().map(|attempt| attempt.text.as_str()).unwrap_or_default();
        told.words = words_of_the_end(waited, too_late, last);
        self.inner.office.tell(|| Event {
            at: self.inner.world.moment(),
            tag: Some(envelope.tag),
            what: What::GivenUp { to: told.rcpt.address.clone(), why: told.words.clone() },
        });
        told.rcpt.asked.wants_failure().then_some(told)
    }

    /// Makes what is decided true.
    pub(super) async fn carry_out(&self, envelope: &Envelope, held: Held, fates: Vec<Fate>) {
        let reader = self.reader(&held, &fates).await;
        let mut gone = vec![false; fates.len()];
        let (mut how, mut tries) = (How::Whole, 0);
        // Each row that turns out to be somebody else's is one more round.
        while tries < TRIES + u32::try_from(fates.len()).unwrap_or(u32::MAX - TRIES) {
            tries += 1;
            match self.commit(envelope, &held, &fates, &mut gone, reader.as_ref(), how).await {
                Ok(()) => return self.inner.bell.notify_one(),
                Err(Refusal::RecipientsChanged) => (),
                Err(Refusal::DiskFull) if how != How::WithoutNotices => how = How::WithoutNotices,
                Err(_) if how == How::Whole => how = How::WithoutMessage,
                Err(refusal) => {
                    tracing::error!(tag = %envelope.tag, %refusal, "what became of a message could not be written down");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
        tracing::error!(tag = %envelope.tag, "what became of a message is forgotten; it may be delivered again");
    }

    /// The message, if something of it comes back with a notice.
    async fn reader(&self, held: &Held, fates: &[Fate]) -> Option<MessageReader> {
        let tells = |fate: &Fate| {
            matches!(fate, Fate::Done(Some(_)) | Fate::Stays(_, Some(_)) | Fate::Arrives(_, Some(_)))
        };
        let first = held.rows().first().filter(|_| fates.iter().any(tells))?;
        self.inner.store().open_queued(&first.row).await.map_err(crate::office::unreadable).ok()
    }

    async fn commit(
        &self,
        envelope: &Envelope,
        held: &Held,
        fates: &[Fate],
        gone: &mut [bool],
        reader: Option<&MessageReader>,
        how: How,
    ) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        let mut told: Vec<Told> = Vec::new();
        let mut done = Vec::new();
        // Which row a precondition is about.
        let mut about = Vec::new();
        for (place, (leased, fate)) in held.rows().iter().zip(fates).enumerate() {
            if gone.get(place).copied().unwrap_or(true) {
                continue;
            }
            match fate {
                Fate::Done(Some(Told { kind: Kind::Failed | Kind::Delayed, .. }))
                | Fate::Stays(_, Some(_))
                    if how == How::WithoutNotices =>
                {
                    let later = schedule::after(self.inner.world.moment(), TELL_AGAIN);
                    let row = NewQueueRow { due_at: later, deadline: later, ..as_new(&leased.row) };
                    batch.require.push(Require::Queued(leased.row.id));
                    about.push(Some(place));
                    batch.ops.push(Op::Requeue { id: leased.row.id, row });
                }
                Fate::Done(tell) => {
                    done.push(leased.row.id);
                    if let Some(tell) = tell {
                        // Whoever was taken out meanwhile is told of by whoever did that.
                        batch.require.push(Require::Queued(leased.row.id));
                        about.push(Some(place));
                        told.push(tell.clone());
                    }
                }
                Fate::Stays(row, tell) => {
                    batch.require.push(Require::Lease { id: leased.row.id, fence: leased.fence });
                    about.push(Some(place));
                    batch.ops.push(Op::Requeue { id: leased.row.id, row: row.clone() });
                    told.extend(tell.clone());
                }
                Fate::Arrives(arrival, tell) => {
                    batch.require.push(Require::Lease { id: leased.row.id, fence: leased.fence });
                    about.push(Some(place));
                    batch.require.push(Require::Mailbox(arrival.add.mailbox));
                    about.push(None);
                    batch.ops.push(Op::AddMessage(arrival.add.clone()));
                    done.push(leased.row.id);
                    told.extend(tell.clone());
                }
                Fate::Untouched => (),
            }
        }
        if !done.is_empty() {
            batch.ops.push(Op::Dequeue { ids: done });
        }
        if batch.ops.is_empty() {
            return Ok(());
        }
        match how {
            How::Whole => self.tell(envelope, told, reader, &mut batch).await?,
            How::WithoutMessage => self.tell(envelope, told, None, &mut batch).await?,
            How::WithoutNotices => (),
        }
        let preconditions = batch.require.clone();
        let tx = Tx { id: None, require: batch.require, ops: batch.ops };
        match self.inner.store().commit(tx, batch.bodies).await {
            Ok(_) => {
                for (fate, gone) in fates.iter().zip(gone) {
                    if let (Fate::Arrives(arrival, _), false) = (fate, *gone) {
                        self.inner.office.shared.indexing.delivered(arrival.account);
                        self.inner.office.tell(|| Event {
                            at: self.inner.world.moment(),
                            tag: Some(envelope.tag),
                            what: What::Arrived { to: arrival.to.clone() },
                        });
                    }
                }
                batch.story.into_iter().for_each(|event| self.inner.office.tell(|| event));
                Ok(())
            }
            // The process ends; what is in the store when it starts again is the truth.
            Err(TxError::Stopped(_)) => Ok(()),
            Err(TxError::Failed(which)) => {
                // A row that somebody else changed meanwhile is theirs; a mailbox that went is looked up again.
                let place = about.get(which).copied().flatten();
                if let Some(lost) = place.and_then(|place| gone.get_mut(place)) {
                    *lost = true;
                }
                if let Some(Require::Mailbox(mailbox)) = preconditions.get(which) {
                    self.inner.office.forget_mailbox(*mailbox);
                }
                Err(Refusal::RecipientsChanged)
            }
            Err(TxError::DiskFull) => Err(Refusal::DiskFull),
            Err(error) => Err(crate::office::unreadable(error)),
        }
    }

    /// Adds the notices to a transaction.
    pub(super) async fn tell(
        &self,
        envelope: &Envelope,
        mut told: Vec<Told>,
        reader: Option<&MessageReader>,
        batch: &mut Batch,
    ) -> Result<(), Refusal> {
        if told.is_empty() || !schedule::is_answered(envelope) {
            return Ok(());
        }
        let now = (self.inner.world.now)();
        told.sort_by_key(|told| told.kind);
        let kinds = told.chunk_by(|a, b| a.kind == b.kind).flat_map(|kind| kind.chunks(RECIPIENTS_MAX));
        for told in kinds {
            let source = reader.map_or(Source::Header(&[]), Source::Stored);
            let random = self.inner.random();
            let office = &self.inner.office;
            if let Some(letter) = notice::write(office, envelope, told, source, &now, random).await? {
                letter.post(office, batch).await?;
            }
        }
        Ok(())
    }

    /// No connection could be made: what was to be sent goes back, and the destination is left alone for a while, longer
    /// each time. Where other connections to it stand, it merely gets fewer.
    pub async fn unreachable(&self, slot: Slot, attempt: Attempt) {
        let attempt = attempt.bounded();
        let settings = &self.outgoing().queue;
        let rows = self.inner.active.lock().ready.remove(&slot.name).unwrap_or_default();
        let held = Held::new(self.inner.clone(), rows.into());
        let decode = |leased: &Leased| Rcpt::decode(&leased.row.value).ok();
        let tries = held.rows().iter().filter_map(decode).map(|rcpt| rcpt.attempts).max().unwrap_or(0);
        let consequence =
            self.inner.active.lock().destinations.unreachable(&slot.name, attempt.clone(), tries);
        let Consequence::Rest(streak) = consequence else { return };
        let now = self.inner.world.moment();
        let until = schedule::after(now, schedule::rest(settings, streak, self.inner.random()));
        let (destination, text) = (slot.name.clone(), attempt.text.as_str());
        tracing::info!(destination, streak, text, "a destination cannot be reached");
        // Those that were next remember why they wait; of the others, memory does.
        for group in held.by_message() {
            let Some(errand) = self.read(group).await else { continue };
            let Errand { envelope, recipients, rows } = errand;
            let fates = recipients
                .into_iter()
                .zip(rows.rows())
                .map(|(rcpt, leased)| self.put_off(&envelope, rcpt, leased, &slot.hop, attempt.clone()))
                .collect();
            self.carry_out(&envelope, rows, fates).await;
        }
        if slot.hop.is_fetched() {
            return;
        }
        let ops = vec![Op::Rest { destination: slot.name.clone(), until }];
        if let Err(error) = self.inner.store().commit(Tx { id: None, require: vec![], ops }, vec![]).await {
            crate::office::unreadable(error);
        }
    }

    /// Tells the story of a message how a try went.
    fn tried(&self, envelope: &Envelope, rcpt: &Rcpt, became: Became, attempt: &Attempt, next: Option<i64>) {
        self.inner.office.tell(|| Event {
            at: attempt.at,
            tag: Some(envelope.tag),
            what: What::Tried(Tried::new(rcpt.address.clone(), became, attempt, next)),
        });
    }

    fn tracing(&self, envelope: &Envelope, rcpt: &Rcpt, what: &'static str, attempt: &Attempt) {
        let (tag, to) = (envelope.tag, rcpt.address.to_string());
        let host = attempt.host.as_deref().unwrap_or_default();
        let reply = attempt.reply.as_ref().map(ToString::to_string).unwrap_or_default();
        let (stage, text) = (attempt.stage, attempt.text.as_str());
        match what {
            "delivered" => tracing::info!(%tag, to, host, ?stage, reply, text, what, "a message was sent on"),
            "failed" => {
                tracing::info!(%tag, to, host, ?stage, reply, text, what, "a message cannot be sent on")
            }
            _ => {
                tracing::info!(%tag, to, host, ?stage, reply, text, what, "a message could not be sent on now")
            }
        }
    }
}

/// What a sender reads who was waited for in vain.
fn words_of_the_end(waited: i64, too_late: bool, last: &str) -> String {
    let hours = waited / 3_600_000_000;
    let long = match hours {
        0 => "in the time given".to_owned(),
        1..48 => format!("in {hours} hours"),
        _ => format!("in {} days", hours / 24),
    };
    let mut words = match too_late {
        true => "It could not be delivered by the time you set for it.".to_owned(),
        false => format!("It could not be delivered {long}, and is not tried any more."),
    };
    if !last.is_empty() {
        words.push_str(" The last time: ");
        words.push_str(last);
    }
    words
}
