//! The last step: everybody gets the message, in one transaction.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use packetboat_account::Quota;
use packetboat_message::Address;
use packetboat_message::card::Draft;
use packetboat_message::dsn::{Kind, RECIPIENTS_MAX, Status};
use packetboat_message::header::{Field, HeaderEnd};
use packetboat_store::{
    AccountId, AddMessage, BodySource, Enqueue, Flags, MailboxId, NewQueueRow, Op, Require, Tx, TxError,
};

use super::{Accepted, Inbox, Intake, LegPlace, Outcome, Place, Recipient, Several};
use crate::outbound::NextHop;
use crate::queue::notice::{self, Batch, Source, Told};
use crate::queue::{
    Attempt, Envelope, HERE, Notify, Rcpt, Stage, lane_of, rest_of_fetched, rest_of_here, schedule,
};
use crate::{LegTo, Refusal, Role};

/// Recipients for whom a card is written with the message; for more of them, the card is made when it is asked for. A
/// transaction has room for so many of the largest.
const CARDS_MAX: usize = 200;

/// What the transaction is made of so far.
#[derive(Debug)]
struct Delivery {
    batch: Batch,
    /// Whose mailbox has it.
    served: HashSet<AccountId>,
    /// What goes into the queue, if anything does.
    outbound: Option<Box<Outbound>>,
    /// What the sender is told at once.
    told: Vec<Told>,
}

/// Copies for other servers, by what differs between them beside the recipient.
#[derive(Debug, Default)]
struct Outbound {
    copies: HashMap<CopyFor, Vec<(Address, NewQueueRow)>>,
    seen: HashSet<String>,
    /// Peers that fetch theirs.
    fetched: Vec<NextHop>,
    /// Somebody here gets it later.
    here: bool,
    rests: Vec<Op>,
}

/// What copies have in common that are put into the queue together.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CopyFor {
    /// The return path, where it is not the message's own.
    sender: Option<Address>,
    /// The address of ours by which it leaves.
    through: Option<Address>,
}

impl Intake {
    /// The body is complete: deliver it. Durable when it returns `Ok`; each recipient's own outcome is inside, and at
    /// least one of them got it. `Err` means that nobody did.
    pub async fn commit(mut self) -> Result<Accepted, Refusal> {
        self.header.finish();
        let hops = self.header.count(Field::Received);
        if hops > self.office.shared.limits.received_fields || self.comes_round_again() {
            return Err(Refusal::Loop(hops));
        }
        let card = std::mem::take(&mut self.card).finish();
        let shown = self.call_out(&card).await?;
        if self.recipients.is_empty() && !shown.is_empty() {
            return Ok(Accepted { tag: self.tag, outcomes: Vec::new(), shown });
        }
        let body = self.body.take().ok_or(Refusal::Temporary)?;
        let recipients = std::mem::take(&mut self.recipients);
        let mut outcomes: Vec<(Recipient, Outcome)> = Vec::with_capacity(recipients.len());
        for recipient in recipients {
            let mut outcome = Ok(());
            if let Place::Here(inbox) = &recipient.place
                && inbox.quota != Quota::default()
            {
                let octets = self.octets + self.prefix(&recipient.address, &recipient.address).len() as u64;
                outcome = self.check_room(inbox, octets).await;
            }
            outcomes.push((recipient, outcome));
        }
        if outcomes.iter().all(|(_, outcome)| outcome.is_err()) {
            let first = outcomes.into_iter().find_map(|(_, outcome)| outcome.err());
            return Err(first.unwrap_or(Refusal::Temporary));
        }
        let mut delivery = Delivery {
            batch: Batch {
                require: Vec::new(),
                ops: Vec::with_capacity(outcomes.len()),
                bodies: Vec::with_capacity(1),
                story: Vec::new(),
            },
            served: HashSet::with_capacity(outcomes.len()),
            outbound: None,
            told: Vec::new(),
        };
        delivery.batch.bodies.push(body);
        for (recipient, outcome) in &mut outcomes {
            match &recipient.place {
                Place::Here(inbox) => {
                    let mut bound = true;
                    // One reply stands for all of them, except over LMTP, and the yes that some get takes the message from
                    // the others without a word. What was promised at RCPT is kept: it "MUST NOT lose the message for
                    // frivolous reasons" (RFC 5321 section 6.1), so a quota may be overrun by one message whose size was
                    // not announced, but by no second one.
                    if outcome.is_err() && self.origin.role != Role::Lmtp {
                        *outcome = Ok(());
                        bound = false;
                    }
                    if outcome.is_ok() && self.comes_later() {
                        let rcpt = Rcpt::new(recipient.address.clone(), recipient.asked.clone());
                        self.keep_here(&mut delivery, inbox, rcpt);
                    } else if outcome.is_ok() {
                        self.deliver(
                            inbox,
                            (&recipient.address, &recipient.address),
                            bound,
                            &card,
                            &mut delivery,
                        );
                        if recipient.asked.wants_success() {
                            let rcpt = Rcpt::new(recipient.address.clone(), recipient.asked.clone());
                            delivery.told.push(Told::new(rcpt, Kind::Delivered, None));
                        }
                    }
                }
                Place::Queue(hop) => {
                    let rcpt = Rcpt::new(recipient.address.clone(), recipient.asked.clone());
                    let outbound = delivery.outbound.get_or_insert_default();
                    self.send_on(outbound, CopyFor { sender: None, through: None }, hop, rcpt);
                }
                Place::Several(several) => self.expand(recipient, several, &card, &mut delivery),
            }
        }
        let Delivery { mut batch, served, outbound, told } = delivery;
        let fresh = outbound.map(|outbound| self.enqueue(*outbound, &mut batch));
        if !told.is_empty() {
            self.tell(told, &mut batch).await?;
        }
        if let Some(together) = self.together.take() {
            batch.require.extend(together.0);
            batch.ops.extend(together.1);
        }
        let preconditions = batch.require.clone();
        let story = batch.story;
        let tx = Tx { id: self.once, require: batch.require, ops: batch.ops };
        match self.office.shared.store.commit(tx, batch.bodies).await {
            Ok(receipt) => {
                served.iter().for_each(|account| self.office.shared.indexing.delivered(*account));
                if let Some(destinations) = fresh {
                    self.office.shared.fresh.enqueued(self.lane(), destinations);
                }
                self.call_those_with_mail(&card);
                self.office.tell(|| self.story(&outcomes, &receipt));
                story.into_iter().for_each(|event| self.office.tell(|| event));
                Ok(Accepted { tag: self.tag, outcomes, shown })
            }
            Err(TxError::DiskFull) => Err(Refusal::DiskFull),
            Err(TxError::Failed(which)) => Err(self.changed_meanwhile(preconditions.get(which), &outcomes)),
            Err(error) => {
                tracing::error!(tag = %self.tag, %error, "a message could not be delivered");
                Err(Refusal::Temporary)
            }
        }
    }

    /// Whether it has been at an address before by which it is about to leave: then it would be there again and again
    /// (RFC 9228 section 4).
    fn comes_round_again(&self) -> bool {
        let been_at = |address: &Address| {
            let key = address.lookup_key();
            self.header.delivered_to().any(|value| {
                let text = std::str::from_utf8(value).ok().and_then(|text| text.parse::<Address>().ok());
                text.is_some_and(|seen| seen.lookup_key() == key)
            })
        };
        self.header.has(Field::DeliveredTo)
            && self.recipients.iter().any(|recipient| match &recipient.place {
                Place::Here(_) | Place::Queue(_) => false,
                Place::Several(several) => several.expansion.legs.iter().any(|leg| been_at(&leg.through)),
            })
    }

    /// Puts a copy into a mailbox here, unless it has one: by the address it is delivered to, and the one that was named.
    fn deliver(
        &self,
        inbox: &Inbox,
        (to, named): (&Address, &Address),
        bound: bool,
        card: &Draft,
        delivery: &mut Delivery,
    ) {
        // A second name of the same account gets no second copy.
        if !delivery.served.insert(inbox.account) {
            return;
        }
        let prefix = self.prefix(to, named);
        let (octets, messages) = if bound { (self.octets + prefix.len() as u64, 1) } else { (0, 0) };
        delivery.batch.require.push(Require::Mailbox(inbox.mailbox));
        delivery.batch.require.extend(inbox.quota.preconditions(inbox.account, octets, messages));
        delivery.batch.ops.push(Op::AddMessage(AddMessage {
            mailbox: inbox.mailbox,
            body: BodySource::New(0),
            card: if delivery.served.len() <= CARDS_MAX { card.card(&prefix).into() } else { Bytes::new() },
            prefix,
            flags: Flags::NONE,
            received_at: self.began.timestamp().as_microsecond(),
            keywords: vec![],
            uid: None,
        }));
    }

    /// Everybody behind an address gets the message. What the sender wants to hear goes along with it where one stands for
    /// one; where there are several, of success is told here (RFC 3461 sections 5.2.7.2 and 5.2.7.3 (c)).
    fn expand(&self, recipient: &Recipient, several: &Several, card: &Draft, delivery: &mut Delivery) {
        let legs = &several.expansion.legs;
        let mut asked = recipient.asked.clone();
        if legs.len() > 1
            && let Some(notify) = asked.notify.filter(|notify| notify.success)
        {
            asked.notify = Some(Notify { success: false, ..notify });
            let rcpt = Rcpt::new(recipient.address.clone(), recipient.asked.clone());
            delivery.told.push(Told::new(rcpt, Kind::Expanded, None));
        }
        let behind = |address: &Address| {
            let mut rcpt = Rcpt::new(address.clone(), asked.clone());
            rcpt.expanded_from = Some(recipient.address.clone());
            rcpt
        };
        for (leg, place) in legs.iter().zip(&several.places) {
            match place {
                LegPlace::Here(inbox) if self.comes_later() => {
                    self.keep_here(delivery, inbox, behind(&leg.address));
                }
                LegPlace::Here(inbox) => {
                    // Nobody hears of the quota of one among several, or of one behind another name.
                    self.deliver(inbox, (&leg.address, &recipient.address), false, card, delivery);
                    if asked.wants_success() {
                        delivery.told.push(Told::new(behind(&leg.address), Kind::Delivered, None));
                    }
                }
                LegPlace::Queue(hop) => {
                    let sender = match &leg.to {
                        LegTo::Local(_) => None,
                        LegTo::Remote { sender } => sender.clone(),
                    };
                    let copy = CopyFor { sender, through: Some(leg.through.clone()) };
                    let outbound = delivery.outbound.get_or_insert_default();
                    self.send_on(outbound, copy, hop, behind(&leg.address));
                }
                LegPlace::Nowhere(why) => {
                    self.dead_end(behind(&leg.address), &why.to_string(), why.status(), delivery);
                }
            }
        }
        for dead in &several.expansion.dead {
            self.dead_end(behind(&dead.address), &dead.why, Status(5, 1, 1), delivery);
        }
    }

    /// Whether it is not to be delivered before a time that has not come yet (RFC 4865).
    pub(super) fn comes_later(&self) -> bool {
        self.asked.hold_until.is_some_and(|until| until > self.began.timestamp().as_microsecond())
    }

    /// Keeps a copy for somebody here until its time has come.
    fn keep_here(&self, delivery: &mut Delivery, inbox: &Inbox, rcpt: Rcpt) {
        if delivery.served.insert(inbox.account) {
            let outbound = delivery.outbound.get_or_insert_default();
            if !std::mem::replace(&mut outbound.here, true) {
                outbound.rests.push(rest_of_here());
            }
            self.put(outbound, CopyFor { sender: None, through: None }, HERE.to_owned(), rcpt);
        }
    }

    fn dead_end(&self, rcpt: Rcpt, why: &str, status: Status, delivery: &mut Delivery) {
        if rcpt.asked.wants_failure() {
            let mut attempt = Attempt::new(self.began.timestamp().as_microsecond(), Stage::Here);
            attempt.text = why.to_owned();
            attempt.status = Some(status);
            delivery.told.push(Told::new(rcpt, Kind::Failed, Some(attempt)));
        }
    }

    /// A recipient elsewhere: a row of the queue, unless there is one already.
    fn send_on(&self, outbound: &mut Outbound, copy: CopyFor, hop: &NextHop, rcpt: Rcpt) {
        if !outbound.seen.insert(rcpt.address.to_string()) {
            return;
        }
        if let Some(rest) = rest_of_fetched(hop).filter(|_| !outbound.fetched.contains(hop)) {
            outbound.fetched.push(hop.clone());
            outbound.rests.push(rest);
        }
        self.put(outbound, copy, hop.to_string(), rcpt);
    }

    fn put(&self, outbound: &mut Outbound, copy: CopyFor, destination: String, rcpt: Rcpt) {
        let envelope = self.envelope(copy.sender.as_ref());
        let (deadline, _) = schedule::deadline(&self.office.outgoing().queue, &envelope, &rcpt);
        let row = NewQueueRow {
            destination,
            lane: self.lane(),
            due_at: schedule::since(&envelope),
            deadline,
            held: false,
            value: rcpt.encode().into(),
        };
        outbound.copies.entry(copy).or_default().push((rcpt.address, row));
    }

    /// In whose turn it is sent on: the user's who submitted it, else its sender's, else its peer's.
    fn lane(&self) -> u8 {
        match (&self.origin.role, &self.sender, self.origin.peer) {
            (Role::Submission(identity), _, _) => lane_of(Some(&identity.login)),
            (_, Some(sender), _) => lane_of(Some(&sender.lookup_key())),
            (_, None, Some(peer)) => lane_of(Some(&peer.to_string())),
            (_, None, None) => lane_of(None),
        }
    }

    /// What the queue knows of the message, for copies with this return path.
    fn envelope(&self, sender: Option<&Address>) -> Envelope {
        let at = self.began.timestamp().as_microsecond();
        let sender = sender.or(self.sender.as_ref()).cloned();
        let mut envelope = Envelope::new(self.tag, sender, at, self.octets, self.asked.clone());
        envelope.message_id = self.message_id();
        envelope.asked.forgo_tls = !envelope.asked.require_tls && self.forgoes_tls();
        envelope.login = match &self.origin.role {
            Role::Submission(identity) => Some(identity.login.clone()),
            Role::Exchange | Role::Lmtp => None,
        };
        envelope.peer = self.origin.peer;
        envelope
    }

    /// Whether the sender rather has it arrive than under TLS (RFC 8689 section 3).
    fn forgoes_tls(&self) -> bool {
        self.header
            .value(Field::TlsRequired)
            .is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"no"))
    }

    pub(super) fn message_id(&self) -> Option<String> {
        match self.header.value(Field::MessageId) {
            Some(value) => {
                let text = String::from_utf8_lossy(value);
                Some(text.trim_start_matches('<').trim_end_matches('>').to_owned())
            }
            None if matches!(self.origin.role, Role::Submission(_)) => {
                Some(format!("{}@{}", self.tag, self.office.shared.hostname.to_ascii()))
            }
            None => None,
        }
    }

    /// Puts copies into the queue; returns the destinations they are for.
    fn enqueue(&self, outbound: Outbound, batch: &mut Batch) -> Vec<String> {
        let mut destinations: Vec<String> = Vec::new();
        batch.ops.extend(outbound.rests);
        for (copy, rows) in outbound.copies {
            // One recipient may be named in the trace field, of several each would learn of the others.
            let only = if rows.len() == 1 { rows.first().map(|(address, _)| address) } else { None };
            let prefix = self.prefix_elsewhere(copy.through.as_ref(), only);
            for (_, row) in &rows {
                if destinations.last() != Some(&row.destination) {
                    destinations.push(row.destination.clone());
                }
            }
            batch.ops.push(Op::Enqueue(Enqueue {
                body: BodySource::New(0),
                prefix,
                card: self.envelope(copy.sender.as_ref()).encode().into(),
                rows: rows.into_iter().map(|(_, row)| row).collect(),
            }));
        }
        destinations
    }

    /// Tells the sender what is known already.
    async fn tell(&self, mut told: Vec<Told>, batch: &mut Batch) -> Result<(), Refusal> {
        let envelope = self.envelope(None);
        let mut text = self.prefix_elsewhere(None, None).to_vec();
        let header = usize::try_from(self.header.len()).unwrap_or(usize::MAX);
        if self.header.ended() != Some(HeaderEnd::NotAField) || !self.header.is_empty() {
            let head = self.head.as_deref().unwrap_or_default();
            text.extend_from_slice(head.get(..header).unwrap_or(head));
        }
        told.sort_by_key(|told| told.kind);
        for (place, told) in
            told.chunk_by(|a, b| a.kind == b.kind).flat_map(|kind| kind.chunks(RECIPIENTS_MAX)).enumerate()
        {
            let random = self.tag.random_after(place as u64);
            let source = Source::Header(&text);
            let letter = notice::write(&self.office, &envelope, told, source, &self.began, random).await?;
            if let Some(letter) = letter {
                letter.post(&self.office, batch).await?;
            }
        }
        Ok(())
    }

    /// The verdict when something a recipient was accepted for is no longer so. One recipient is told what; where there
    /// are several, the peer comes again and hears at RCPT which of them it is.
    fn changed_meanwhile(&self, what: Option<&Require>, outcomes: &[(Recipient, Outcome)]) -> Refusal {
        let mut only: Vec<MailboxId> = Vec::new();
        for (recipient, _) in outcomes {
            match &recipient.place {
                Place::Here(inbox) => {
                    only.push(inbox.mailbox);
                    self.office.forget_inbox(inbox.account);
                }
                Place::Queue(_) => (),
                Place::Several(several) => {
                    for place in &several.places {
                        if let LegPlace::Here(inbox) = place {
                            self.office.forget_inbox(inbox.account);
                        }
                    }
                }
            }
        }
        match what {
            Some(Require::Mailbox(gone)) if outcomes.len() == 1 && only.contains(gone) => {
                Refusal::UnknownUser
            }
            Some(Require::Room { .. } | Require::Places { .. }) if outcomes.len() == 1 => Refusal::OverQuota,
            _ => Refusal::RecipientsChanged,
        }
    }
}
