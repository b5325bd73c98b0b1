//! People of this server whose mail is not to come before a time (RFC 4865): it waits in the queue like everybody's, and
//! the queue itself delivers it.

use bytes::Bytes;
use packetboat_account::Found;
use packetboat_message::Address;
use packetboat_message::dsn::{Kind, Status};
use packetboat_message::trace::return_path;
use packetboat_store::{AccountId, AddMessage, BodySource, Flags, Leased, Op};

use super::errand::Held;
use super::notice::Told;
use super::settle::Fate;
use super::{Attempt, Envelope, Errand, LEASE, Queue, Rcpt, Stage, schedule};
use crate::Refusal;
use crate::office::unreadable;

/// The destination of such mail. It is no next hop, and nobody carries it.
pub(crate) const HERE: &str = "here";
/// Rows looked at at a time.
const BATCH: usize = 200;

/// It rests for ever, so that it is never among what is to be carried.
pub(crate) fn rest_of_here() -> Op {
    Op::Rest { destination: HERE.to_owned(), until: i64::MAX }
}

/// A copy for a mailbox of this server.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) account: AccountId,
    pub(super) to: Address,
    pub(super) add: AddMessage,
}

impl Queue {
    /// Delivers what waited for its time.
    pub(super) async fn deliver_here(&self) {
        loop {
            let now = self.inner.world.moment();
            let store = self.inner.store();
            let rows = match store.queue_lease(HERE, now, BATCH, BATCH, schedule::after(now, LEASE)).await {
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
                let Ok(prefix) = errand.open().await.map(|reader| reader.prefix()) else { continue };
                let Errand { envelope, recipients, rows } = errand;
                let mut fates = Vec::with_capacity(recipients.len());
                for (rcpt, leased) in recipients.into_iter().zip(rows.rows()) {
                    fates.push(self.arrive(&envelope, rcpt, leased, &prefix, now).await);
                }
                self.carry_out(&envelope, rows, fates).await;
            }
        }
    }

    async fn arrive(
        &self,
        envelope: &Envelope,
        rcpt: Rcpt,
        leased: &Leased,
        prefix: &Bytes,
        now: i64,
    ) -> Fate {
        let office = &self.inner.office;
        let found = office.shared.directory.find(&rcpt.address).map_err(unreadable);
        let account = match found {
            Ok(Found::Account(account)) => account,
            Ok(Found::UnknownUser | Found::UnknownDomain) => return gone(rcpt, now),
            Err(_) => return Fate::Untouched,
        };
        let mailbox = match office.inbox(account.id).await {
            Ok(mailbox) => mailbox,
            Err(Refusal::UnknownUser) => return gone(rcpt, now),
            Err(_) => return Fate::Untouched,
        };
        let mut text = return_path(envelope.sender.as_ref());
        text.push_str(&format!("Delivered-To: {}\r\n", rcpt.address));
        let mut whole = text.into_bytes();
        whole.extend_from_slice(prefix);
        let add = AddMessage {
            mailbox,
            body: BodySource::Stored(leased.row.body),
            // Made when it is asked for.
            card: Bytes::new(),
            prefix: whole.into(),
            flags: Flags::NONE,
            keywords: vec![],
            received_at: now,
            uid: None,
        };
        let to = rcpt.address.clone();
        let told = rcpt.asked.wants_success().then(|| Told::new(rcpt, Kind::Delivered, None));
        Fate::Arrives(Box::new(Arrival { account: account.id, to, add }), told)
    }
}

fn gone(rcpt: Rcpt, now: i64) -> Fate {
    let mut attempt = Attempt::new(now, Stage::Here);
    attempt.status = Some(Status(5, 1, 1));
    Fate::Done(rcpt.asked.wants_failure().then(|| Told::new(rcpt, Kind::Failed, Some(attempt))))
}
