//! What becomes of a row at its deadline: the sender is told that it takes long, or that it was given up.

use packetboat_message::dsn::{Kind, Status};
use packetboat_store::{Leased, NewQueueRow, QueueFilter};

use super::errand::{Held, as_new};
use super::notice::Told;
use super::schedule::{self, Due};
use super::settle::Fate;
use super::{Attempt, Envelope, Errand, LEASE, Queue, Rcpt};
use crate::office::unreadable;
use crate::outbound::NextHop;

/// Why a message waits for a server that fetches its mail.
const UNFETCHED: &str = "The server of this address is not always there, and fetches its mail when it is. It has not come for this message yet.";
/// Rows looked at at a time.
const BATCH: usize = 200;
/// Rows of a destination that are asked why it cannot be reached.
const ASKED_MAX: usize = 20;

impl Queue {
    /// Does what deadlines demand that have passed: tells senders of delays, once each, and gives up what has been tried
    /// long enough. What was to come to people of this server not before now, comes. To be called now and then.
    pub async fn expire(&self) {
        self.deliver_here().await;
        loop {
            let now = self.inner.world.moment();
            let until = schedule::after(now, LEASE);
            let store = self.inner.store();
            let rows = match store.queue_deadlines(now, BATCH, until).await {
                Ok(rows) => rows,
                Err(error) => {
                    unreadable(error);
                    return;
                }
            };
            if rows.is_empty() {
                return;
            }
            for group in Held::new(self.inner.clone(), rows).by_message() {
                let Some(errand) = self.read(group).await else { continue };
                self.end(errand, now).await;
            }
        }
    }

    async fn end(&self, errand: Errand, now: i64) {
        let Errand { envelope, recipients, rows } = errand;
        let mut fates = Vec::with_capacity(recipients.len());
        for (mut rcpt, leased) in recipients.into_iter().zip(rows.rows()) {
            if rcpt.last.is_none() {
                rcpt.last = self.trouble_of(&leased.row.destination).await;
            }
            fates.push(self.overdue(&envelope, rcpt, leased, now));
        }
        self.carry_out(&envelope, rows, fates).await;
    }

    fn overdue(&self, envelope: &Envelope, mut rcpt: Rcpt, leased: &Leased, now: i64) -> Fate {
        let settings = &self.outgoing().queue;
        let (moment, due) = schedule::deadline(settings, envelope, &rcpt);
        if moment > now {
            // The settings have changed since the row was written.
            return Fate::Stays(NewQueueRow { deadline: moment, ..as_new(&leased.row) }, None);
        }
        let hop: Option<NextHop> = leased.row.destination.parse().ok();
        // Nobody has tried anything: there is no last time to be told of.
        let unfetched = rcpt.last.is_none() && hop.is_some_and(|hop| hop.is_fetched());
        match due {
            Due::GiveUp | Due::TooLate => {
                let told = self.given_up(envelope, rcpt, due == Due::TooLate).map(|mut told| {
                    if unfetched {
                        told.words.push(' ');
                        told.words.push_str(UNFETCHED);
                    }
                    told
                });
                Fate::Done(told)
            }
            Due::Tell => {
                rcpt.delay_told = true;
                let (deadline, _) = schedule::deadline(settings, envelope, &rcpt);
                let mut told = Told::new(rcpt.clone(), Kind::Delayed, rcpt.last.clone());
                if envelope.asked.by.is_some_and(|by| by.notify_only && by.at <= now) {
                    told.status = Status(4, 4, 7);
                }
                if unfetched {
                    UNFETCHED.clone_into(&mut told.words);
                    told.status = Status(4, 4, 1);
                }
                told.retry_until = Some(schedule::after(schedule::since(envelope), settings.lifetime));
                let row = NewQueueRow { deadline, value: rcpt.encode().into(), ..as_new(&leased.row) };
                Fate::Stays(row, Some(told))
            }
        }
    }

    /// Why a destination could not be reached the last time, as memory or another of its rows tells.
    async fn trouble_of(&self, destination: &str) -> Option<Attempt> {
        if let Some(trouble) = self.inner.active.lock().destinations.trouble(destination) {
            return Some(trouble.clone());
        }
        let filter = QueueFilter { destination: Some(destination.to_owned()), ..QueueFilter::default() };
        let rows = self.inner.store().queue_rows(filter, ASKED_MAX).await.unwrap_or_default();
        // What a server said of one recipient is nothing to another.
        rows.iter()
            .filter_map(|row| Rcpt::decode(&row.value).ok()?.last)
            .filter(|last| last.reply.is_none())
            .max_by_key(|last| last.at)
    }
}
