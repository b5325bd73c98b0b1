//! Telling a sender what became of a message: the notice is made, and put where it goes in the same transaction as what it
//! tells of.

use std::borrow::Cow;

use bytes::Bytes;
use jiff::{Timestamp, Zoned};
use packetboat_message::dsn::{self, Content, Kind, Original, Report, ReportRecipient, Status};
use packetboat_message::{Address, LocalPart, card};
use packetboat_store::{
    AccountId, AddMessage, BodyError, BodySource, Enqueue, Flags, MessageReader, NewBody, NewQueueRow, Op,
    Require,
};

use super::{Asked, Attempt, BodyKind, Envelope, Rcpt, RcptAsked, Ret, lane_of, rest_of_fetched, schedule};
use crate::office::unreadable;
use crate::story::{self, Event, RECIPIENTS_MAX, What};
use crate::{Addressee, LegTo, MessageTag, PostOffice, Refusal, Route};

/// Octets read at a time of a message that comes back.
const PIECE: usize = 64 << 10;

/// What a sender is told of one recipient.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Whom it is about.
    pub(crate) rcpt: Rcpt,
    /// What happened.
    pub(crate) kind: Kind,
    /// Why.
    pub(crate) status: Status,
    /// What the last server said.
    pub(crate) attempt: Option<Attempt>,
    /// What happened, in plain words; may be empty.
    pub(crate) words: String,
    /// Until when it is tried further.
    pub(crate) retry_until: Option<i64>,
}

/// What comes back of the message.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// What stands before the body here and its header are at hand; there is no more.
    Header(&'a [u8]),
    /// It is in the store.
    Stored(&'a MessageReader),
}

/// A notice, ready to be posted.
#[derive(Debug)]
pub(crate) struct Letter {
    tag: MessageTag,
    to: Address,
    /// The message it is about.
    about: MessageTag,
    what: (Kind, Vec<Address>),
    at: Zoned,
    body: NewBody,
    card: card::Draft,
    asked: Asked,
}

/// A transaction that is being put together, with its bodies.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) require: Vec<Require>,
    pub(crate) ops: Vec<Op>,
    pub(crate) bodies: Vec<NewBody>,
    /// What is to be told when it is done.
    pub(crate) story: Vec<Event>,
}

/// Makes a notice of what happened to some recipients of a message; `None` where nobody may be told.
///
/// `told` has at most [`dsn::RECIPIENTS_MAX`] entries.
pub(crate) async fn write(
    office: &PostOffice,
    envelope: &Envelope,
    told: &[Told],
    source: Source<'_>,
    now: &Zoned,
    random: u64,
) -> Result<Option<Letter>, Refusal> {
    let Some(to) = envelope.sender.as_ref().filter(|_| schedule::is_answered(envelope)) else {
        return Ok(None);
    };
    let Some(kind) = told.iter().map(|told| told.kind).min() else { return Ok(None) };
    let settings = &office.outgoing().queue;
    let head = match source {
        Source::Header(header) => Bytes::copy_from_slice(header),
        Source::Stored(reader) => header_of(reader).await?,
    };
    let full = match (source, envelope.asked.ret) {
        // "the RET=FULL MUST be disregarded" (RFC 8689 section 5)
        _ if envelope.asked.require_tls => false,
        (Source::Header(_), _) | (_, Some(Ret::Headers)) => false,
        (Source::Stored(reader), Some(Ret::Full)) => reader.len() <= settings.return_max,
        (Source::Stored(reader), None) => reader.len() <= settings.return_unasked,
    };
    let tag = MessageTag::new(u64::try_from(now.timestamp().as_millisecond()).unwrap_or(0), random);
    let from = match &settings.postmaster {
        Some(address) => address.clone(),
        None => postmaster(office)?,
    };
    let log_id = envelope.tag.to_string();
    let recipients: Vec<ReportRecipient<'_>> = told.iter().map(|told| told.as_recipient(&log_id)).collect();
    let report = Report {
        kind,
        reporting_mta: &office.shared.hostname,
        from: &from,
        to,
        envid: envelope.asked.envid.as_deref(),
        arrived_at: Timestamp::from_microsecond(envelope.arrived_at).ok(),
        received_from: None,
        seed: seed(tag),
        now,
        utf8: envelope.asked.smtputf8,
        recipients: &recipients,
        original: Original {
            header: &head,
            full,
            content: match envelope.asked.body {
                BodyKind::SevenBit => Content::SevenBit,
                BodyKind::EightBit => Content::EightBit,
                BodyKind::Binary => Content::Binary,
            },
            utf8: envelope.asked.smtputf8,
        },
    };
    let body_kind = if report.is_eight_bit() { BodyKind::EightBit } else { BodyKind::SevenBit };
    let asked = Asked {
        body: body_kind,
        smtputf8: report.needs_utf8(),
        // What a notice tells is protected as the message was (RFC 8689 section 5).
        require_tls: envelope.asked.require_tls,
        ..Asked::default()
    };
    let mut body = office.shared.store.new_body(None);
    let mut scan = card::Builder::new();
    put(&mut body, &mut scan, report.before().into()).await?;
    if let (true, Source::Stored(reader)) = (report.returns_full(), source) {
        let mut at = 0;
        while at < reader.len() {
            let piece = reader.read(at, PIECE).await.map_err(unreadable)?;
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
            put(&mut body, &mut scan, piece).await?;
        }
    }
    put(&mut body, &mut scan, report.after().into()).await?;
    let addresses = told.iter().map(|told| told.rcpt.address.clone()).take(RECIPIENTS_MAX).collect();
    Ok(Some(Letter {
        tag,
        to: to.clone(),
        about: envelope.tag,
        what: (kind, addresses),
        at: now.clone(),
        body,
        card: scan.finish(),
        asked,
    }))
}

async fn put(body: &mut NewBody, scan: &mut card::Builder, piece: Bytes) -> Result<(), Refusal> {
    scan.push(&piece);
    body.write(piece).await.map_err(|error| match error {
        BodyError::DiskFull => Refusal::DiskFull,
        other => unreadable(other),
    })
}

/// Prefix and header of a stored message, as much of it as a notice brings back.
async fn header_of(reader: &MessageReader) -> Result<Bytes, Refusal> {
    let mut head = Vec::new();
    while head.len() < dsn::HEADER_MAX && (head.len() as u64) < reader.len() {
        let piece = reader.read(head.len() as u64, PIECE).await.map_err(unreadable)?;
        if piece.is_empty() {
            break;
        }
        // The end may lie across two pieces.
        let from = head.len().saturating_sub(3);
        head.extend_from_slice(&piece);
        let end = memchr::memmem::find(head.get(from..).unwrap_or_default(), b"\r\n\r\n");
        if let Some(end) = end {
            head.truncate(from + end + 2);
            break;
        }
    }
    Ok(head.into())
}

/// Whom people can write to about this server.
fn postmaster(office: &PostOffice) -> Result<Address, Refusal> {
    if let Some(address) = office.postmaster()? {
        return Ok(address);
    }
    let local = LocalPart::plain("postmaster").map_err(unreadable)?;
    Ok(Address::new(local, office.shared.hostname.clone()))
}

fn seed(tag: MessageTag) -> [u8; 12] {
    let octets = tag.to_octets();
    octets.last_chunk().copied().unwrap_or_default()
}

impl Told {
    /// What happened to a recipient at this attempt.
    pub(crate) fn new(rcpt: Rcpt, kind: Kind, attempt: Option<Attempt>) -> Told {
        let status = match kind {
            Kind::Failed => Status(5, 0, 0),
            Kind::Delayed => Status(4, 0, 0),
            Kind::Delivered | Kind::Relayed | Kind::Expanded => Status(2, 0, 0),
        };
        let own = attempt.as_ref().and_then(|attempt| attempt.status);
        let said = own.or_else(|| Some(attempt.as_ref()?.reply.as_ref()?.status()));
        let status = said.filter(|said| said.0 == status.0).unwrap_or(status);
        let words = attempt.as_ref().map(|attempt| attempt.text.clone()).unwrap_or_default();
        Told { rcpt, kind, status, attempt, words, retry_until: None }
    }

    fn as_recipient<'a>(&'a self, log_id: &'a str) -> ReportRecipient<'a> {
        let attempt = self.attempt.as_ref();
        let moment = |at: i64| Timestamp::from_microsecond(at).ok();
        let original = self.rcpt.asked.original.as_ref();
        ReportRecipient {
            original: original.map(|(kind, address)| (kind.as_str(), address.as_str())),
            address: self.rcpt.expanded_from.as_ref().unwrap_or(&self.rcpt.address),
            action: self.kind,
            status: self.status,
            remote: attempt.and_then(|attempt| attempt.host.as_deref()),
            diagnostic: attempt.and_then(|attempt| attempt.reply.as_ref()),
            explanation: &self.words,
            last_attempt_at: attempt.and_then(|attempt| moment(attempt.at)),
            will_retry_until: self.retry_until.and_then(moment),
            log_id: Some(log_id),
        }
    }
}

impl Letter {
    /// Puts the notice where it goes: into mailboxes here, into the queue for those elsewhere. Where it leads nowhere it
    /// ends: there are no notices about notices.
    pub(crate) async fn post(self, office: &PostOffice, batch: &mut Batch) -> Result<(), Refusal> {
        let route = match office.route(&Addressee::Mailbox(self.to.clone()), None) {
            Ok(route) => route,
            Err(refusal) if refusal.is_temporary() => return Err(refusal),
            Err(refusal) => {
                self.lost(&refusal.to_string());
                return Ok(());
            }
        };
        let place = batch.bodies.len();
        let mut posted = false;
        match route {
            Route::Local(account) => {
                posted = self.deliver(office, account.id, &self.to, place, batch).await?
            }
            Route::Expanded(expansion) => {
                for leg in &expansion.legs {
                    posted |= match &leg.to {
                        LegTo::Local(account) => {
                            self.deliver(office, account.id, &leg.address, place, batch).await?
                        }
                        LegTo::Remote { .. } => self.enqueue(office, &leg.address, place, batch),
                    };
                }
            }
            Route::Elsewhere => posted = self.enqueue(office, &self.to, place, batch),
            Route::UnknownUser | Route::Moved(_) => (),
        }
        match posted {
            true => {
                let (kind, about) = self.what;
                let kind = Cow::Borrowed(story::word(kind));
                batch.story.push(Event {
                    at: self.at.timestamp().as_microsecond(),
                    tag: Some(self.about),
                    what: What::Told { notice: self.tag, kind, to: self.to, about },
                });
                batch.bodies.push(self.body);
            }
            false => self.lost("its address leads nowhere"),
        }
        Ok(())
    }

    fn lost(&self, why: &str) {
        let (tag, to) = (self.tag, self.to.to_string());
        tracing::warn!(%tag, to, why, "a notice to a sender could not be delivered");
    }

    /// Into a mailbox here, whatever its quota: it is about something of its owner's.
    async fn deliver(
        &self,
        office: &PostOffice,
        account: AccountId,
        to: &Address,
        place: usize,
        batch: &mut Batch,
    ) -> Result<bool, Refusal> {
        let mailbox = match office.inbox(account).await {
            Ok(mailbox) => mailbox,
            Err(Refusal::UnknownUser) => return Ok(false),
            Err(refusal) => return Err(refusal),
        };
        let prefix = format!("Return-Path: <>\r\nDelivered-To: {to}\r\n");
        batch.require.push(Require::Mailbox(mailbox));
        batch.ops.push(Op::AddMessage(AddMessage {
            mailbox,
            body: BodySource::New(place),
            card: self.card.card(prefix.as_bytes()).into(),
            prefix: prefix.into(),
            flags: Flags::NONE,
            keywords: vec![],
            received_at: self.at.timestamp().as_microsecond(),
            uid: None,
        }));
        Ok(true)
    }

    fn enqueue(&self, office: &PostOffice, to: &Address, place: usize, batch: &mut Batch) -> bool {
        let outgoing = office.outgoing();
        let Some(hop) = outgoing.routes.next_hop(None, to.domain()) else { return false };
        let at = self.at.timestamp().as_microsecond();
        let mut envelope = Envelope::new(self.tag, None, at, self.body.len(), self.asked.clone());
        envelope.notice = true;
        let rcpt = Rcpt::new(to.clone(), RcptAsked::default());
        let (deadline, _) = schedule::deadline(&outgoing.queue, &envelope, &rcpt);
        let row = NewQueueRow {
            destination: hop.to_string(),
            lane: lane_of(None),
            due_at: at,
            deadline,
            held: false,
            value: rcpt.encode().into(),
        };
        batch.ops.extend(rest_of_fetched(&hop));
        batch.ops.push(Op::Enqueue(Enqueue {
            body: BodySource::New(place),
            prefix: Bytes::new(),
            card: envelope.encode().into(),
            rows: vec![row],
        }));
        true
    }
}
