//! Accepting a message step by step: sender, recipients, body, commit.
//!
//! Dropping an [`Intake`] at any step leaves nothing behind. [`Intake::commit`] delivers in one transaction; when it
//! returns, the message is on disk in every recipient's mailbox, its body stored once.

use std::collections::HashSet;
use std::fmt::Write as _;

use bytes::Bytes;
use jiff::Zoned;
use packetboat_account::{Quota, over_quota};
use packetboat_message::card;
use packetboat_message::header::{Field, HeaderEnd, HeaderScan};
use packetboat_message::trace::{Client, Received, return_path};
use packetboat_message::{Address, date};
use packetboat_store::{
    AccountId, AddMessage, BodyError, BodySource, Flags, MailboxId, NewBody, Op, Require, Tx, TxError,
};

use crate::office::unreadable;
use crate::queue::{Asked, RcptAsked};
use crate::{Addressee, MessageTag, Origin, PostOffice, Refusal, Role, Route};

/// Recipients for whom a card is written with the message; for more of them, the card is made when it is asked for. A
/// transaction has room for so many of the largest.
const CARDS_MAX: usize = 200;

/// A message on its way in.
#[derive(Debug)]
pub struct Intake {
    office: PostOffice,
    origin: Origin,
    sender: Option<Address>,
    tag: MessageTag,
    began: Zoned,
    asked: Asked,
    recipients: Vec<Recipient>,
    body: Option<NewBody>,
    octets: u64,
    header: HeaderScan,
    card: card::Builder,
}

/// A recipient that was accepted.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// As the peer named it.
    pub address: Address,
    /// Whose mailbox it leads to.
    pub account: AccountId,
    /// What the sender asked for it.
    pub asked: RcptAsked,
    mailbox: MailboxId,
    quota: Quota,
}

/// A message that is on disk.
#[derive(Debug)]
pub struct Accepted {
    /// Its name in the log.
    pub tag: MessageTag,
    /// What became of each recipient, in the order they were accepted. Only over LMTP may one have been refused: there
    /// alone is a reply for each.
    pub outcomes: Vec<(Recipient, Outcome)>,
}

/// What became of one recipient.
pub type Outcome = Result<(), Refusal>;

impl PostOffice {
    /// A sender is named, with what is asked for the message. `random` names the message.
    pub fn begin(
        &self,
        origin: Origin,
        sender: Option<Address>,
        asked: Asked,
        now: Zoned,
        random: u64,
    ) -> Result<Intake, Refusal> {
        if asked.declared > self.shared.limits.message_octets {
            return Err(Refusal::TooLarge(self.shared.limits.message_octets));
        }
        if let (Role::Submission(identity), Some(address)) = (&origin.role, &sender)
            && !self.owns(identity.account, address)?
        {
            return Err(Refusal::NotYourAddress(address.to_string()));
        }
        Ok(Intake {
            office: self.clone(),
            origin,
            sender,
            tag: MessageTag::new(u64::try_from(now.timestamp().as_millisecond()).unwrap_or(0), random),
            began: now,
            asked,
            recipients: Vec::new(),
            body: None,
            octets: 0,
            header: HeaderScan::default(),
            card: card::Builder::new(),
        })
    }
}

impl Intake {
    /// The message's name.
    pub fn tag(&self) -> MessageTag {
        self.tag
    }

    /// A recipient is named, with what is asked for it.
    pub async fn recipient(&mut self, to: Addressee, asked: RcptAsked) -> Result<(), Refusal> {
        let account = match self.office.route(&to, self.sender.as_ref())? {
            Route::Local(account) => account,
            Route::UnknownUser => return Err(Refusal::UnknownUser),
            Route::Moved(address) => return Err(Refusal::Moved(address)),
            Route::Expanded(_) => return Err(Refusal::Temporary),
            Route::Elsewhere if self.may_relay() => return Err(Refusal::NoRoute(to.to_string())),
            Route::Elsewhere => return Err(Refusal::RelayDenied(to.to_string())),
        };
        let address = match to {
            Addressee::Mailbox(address) => address,
            Addressee::Postmaster => account.login.clone(),
        };
        let mailbox = self.office.inbox(account.id).await?;
        let recipient = Recipient { address, account: account.id, asked, mailbox, quota: account.quota };
        // What is announced does not count what we put before it.
        let ours = if self.asked.declared > 0 { self.prefix(&recipient).len() as u64 } else { 0 };
        self.check_room(&recipient, self.asked.declared + ours).await?;
        self.recipients.push(recipient);
        Ok(())
    }

    /// Whether it may be for anybody anywhere.
    fn may_relay(&self) -> bool {
        self.origin.may_relay || matches!(self.origin.role, Role::Submission(_))
    }

    /// The body begins.
    pub fn open_body(&mut self) {
        let hint = (self.asked.declared > 0).then_some(self.asked.declared);
        self.body = Some(self.office.shared.store.new_body(hint));
    }

    /// A piece of the body, exactly as it is to be stored.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        let limit = self.office.shared.limits.message_octets;
        self.octets += chunk.len() as u64;
        if self.octets > limit {
            self.body = None;
            return Err(Refusal::TooLarge(limit));
        }
        self.header.push(&chunk);
        self.card.push(&chunk);
        match &mut self.body {
            Some(body) => body.write(chunk).await.map_err(|error| {
                tracing::error!(tag = %self.tag, %error, "a message body could not be written");
                if error == BodyError::DiskFull { Refusal::DiskFull } else { Refusal::Temporary }
            }),
            None => Err(Refusal::Temporary),
        }
    }

    /// The body is complete: deliver it. Durable when it returns `Ok`; each recipient's own outcome is inside, and at
    /// least one of them got it. `Err` means that nobody did.
    pub async fn commit(mut self) -> Result<Accepted, Refusal> {
        self.header.finish();
        let hops = self.header.count(Field::Received);
        if hops > self.office.shared.limits.received_fields {
            return Err(Refusal::Loop(hops));
        }
        let body = self.body.take().ok_or(Refusal::Temporary)?;
        let recipients = std::mem::take(&mut self.recipients);
        let mut outcomes: Vec<(Recipient, Outcome)> = Vec::with_capacity(recipients.len());
        for recipient in recipients {
            let mut outcome = Ok(());
            if recipient.quota != Quota::default() {
                let octets = self.octets + self.prefix(&recipient).len() as u64;
                outcome = self.check_room(&recipient, octets).await;
            }
            outcomes.push((recipient, outcome));
        }
        if outcomes.iter().all(|(_, outcome)| outcome.is_err()) {
            let first = outcomes.into_iter().find_map(|(_, outcome)| outcome.err());
            return Err(first.unwrap_or(Refusal::Temporary));
        }
        let card = std::mem::take(&mut self.card).finish();
        let mut ops: Vec<Op> = Vec::with_capacity(outcomes.len());
        let mut require = Vec::new();
        let mut served = HashSet::with_capacity(outcomes.len());
        for (recipient, outcome) in &mut outcomes {
            let mut room = None;
            // One reply stands for all of them, except over LMTP, and the yes that some get takes the message from the
            // others without a word. What was promised at RCPT is kept: it "MUST NOT lose the message for frivolous
            // reasons" (RFC 5321 section 6.1), so a quota may be overrun by one message whose size was not announced,
            // but by no second one.
            if outcome.is_err() && self.origin.role != Role::Lmtp {
                *outcome = Ok(());
                room = Some(0);
            }
            // A second name of the same account gets no second copy.
            if outcome.is_err() || !served.insert(recipient.account) {
                continue;
            }
            let prefix = self.prefix(recipient);
            let room = room.unwrap_or(self.octets + prefix.len() as u64);
            require.push(Require::Mailbox(recipient.mailbox));
            require.extend(recipient.quota.precondition(recipient.account, room));
            ops.push(Op::AddMessage(AddMessage {
                mailbox: recipient.mailbox,
                body: BodySource::New(0),
                card: if served.len() <= CARDS_MAX { card.card(&prefix).into() } else { Bytes::new() },
                prefix,
                flags: Flags::NONE,
                received_at: self.began.timestamp().as_microsecond(),
                keywords: vec![],
                uid: None,
            }));
        }
        let preconditions = require.clone();
        let tx = Tx { id: None, require, ops };
        match self.office.shared.store.commit(tx, vec![body]).await {
            Ok(_) => {
                served.iter().for_each(|account| self.office.shared.indexing.delivered(*account));
                Ok(Accepted { tag: self.tag, outcomes })
            }
            Err(TxError::DiskFull) => Err(Refusal::DiskFull),
            Err(TxError::Failed(which)) => Err(self.changed_meanwhile(preconditions.get(which), &outcomes)),
            Err(error) => {
                tracing::error!(tag = %self.tag, %error, "a message could not be delivered");
                Err(Refusal::Temporary)
            }
        }
    }

    /// The verdict when something a recipient was accepted for is no longer so. One recipient is told what; where there
    /// are several, the peer comes again and hears at RCPT which of them it is.
    fn changed_meanwhile(&self, what: Option<&Require>, outcomes: &[(Recipient, Outcome)]) -> Refusal {
        for (recipient, _) in outcomes {
            self.office.forget_inbox(recipient.account);
        }
        match what {
            Some(Require::Mailbox(_)) if outcomes.len() == 1 => Refusal::UnknownUser,
            Some(Require::Room { .. }) if outcomes.len() == 1 => Refusal::OverQuota,
            _ => Refusal::RecipientsChanged,
        }
    }

    async fn check_room(&self, recipient: &Recipient, octets: u64) -> Result<(), Refusal> {
        if recipient.quota == Quota::default() {
            return Ok(());
        }
        let row = self.office.shared.store.account(recipient.account).await.map_err(unreadable)?;
        match row {
            Some(row) if over_quota(&row, &recipient.quota, octets) => Err(Refusal::OverQuota),
            _ => Ok(()),
        }
    }

    /// What stands before the body in this recipient's copy: RFC 5321 section 4.4 wants Return-Path first and the
    /// newest Received above the older ones; RFC 6409 section 8 lets a submission server add Date and Message-ID.
    fn prefix(&self, recipient: &Recipient) -> Bytes {
        let host = &self.office.shared.hostname;
        let tag = self.tag.to_string();
        let received = Received {
            helo: self.origin.helo.as_deref(),
            client: self.origin.peer.map(|ip| Client { ip, name: None }),
            by: host,
            with: self.origin.with,
            tls: self.origin.tls,
            id: &tag,
            recipient: Some(&recipient.address),
            at: &self.began,
        };
        let mut text = return_path(self.sender.as_ref());
        let _ = write!(text, "Delivered-To: {}\r\n", recipient.address);
        text.push_str(&received.to_field());
        if matches!(self.origin.role, Role::Submission(_)) {
            if !self.header.has(Field::Date) {
                let _ = write!(text, "Date: {}\r\n", date::format(&self.began));
            }
            if !self.header.has(Field::MessageId) {
                let _ = write!(text, "Message-ID: <{tag}@{}>\r\n", host.to_ascii());
            }
        }
        // A message without any header field: its first line must not be read as one of ours.
        if self.header.ended() == Some(HeaderEnd::NotAField) && self.header.is_empty() {
            text.push_str("\r\n");
        }
        Bytes::from(text)
    }
}
