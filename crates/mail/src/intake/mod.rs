//! Accepting a message step by step: sender, recipients, body, commit.
//!
//! Dropping an [`Intake`] at any step leaves nothing behind. [`Intake::commit`] delivers in one transaction; when it
//! returns, the message is on disk in every local recipient's mailbox and in the queue for all others, its body stored
//! once.

mod call;
mod deliver;
mod story;

use std::fmt::Write as _;

use bytes::Bytes;
use jiff::Zoned;
use packetboat_account::{Account, Quota, over_quota};
use packetboat_message::card;
use packetboat_message::dsn;
use packetboat_message::header::{Field, HeaderEnd, HeaderScan};
use packetboat_message::trace::{Client, Received, return_path};
use packetboat_message::{Address, date};
use packetboat_store::{AccountId, BodyError, MailboxId, NewBody, Op, Require, TxId};

use crate::office::unreadable;
use crate::outbound::NextHop;
use crate::queue::{Asked, RcptAsked};
use crate::{Addressee, Expansion, LegTo, MessageTag, Origin, PostOffice, Refusal, Role, Route};

/// Recipients behind the addresses of one message, all together: an alias may be named again and again, each time with
/// another tag.
const LEGS_MAX: usize = 5_000;

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
    /// How many stand behind the recipients.
    legs: usize,
    /// Who gets it on their screens.
    called: Vec<call::Called>,
    body: Option<NewBody>,
    octets: u64,
    header: HeaderScan,
    /// The beginning of the message, kept where a notice will bring it back.
    head: Option<Vec<u8>>,
    card: card::Builder,
    once: Option<TxId>,
    /// What else the transaction that delivers it does.
    together: Option<Box<(Vec<Require>, Vec<Op>)>>,
}

/// A recipient that was accepted.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// As the peer named it.
    pub address: Address,
    /// What the sender asked for it.
    pub asked: RcptAsked,
    /// Where it leads.
    pub place: Place,
}

/// Where an accepted recipient leads.
#[derive(Debug, Clone)]
pub enum Place {
    /// To a mailbox here.
    Here(Inbox),
    /// Into the queue, for this next hop.
    Queue(NextHop),
    /// To those who stand behind the address.
    Several(Box<Several>),
}

/// A mailbox that gets the message.
#[derive(Debug, Clone)]
pub struct Inbox {
    /// Whose.
    pub account: AccountId,
    mailbox: MailboxId,
    quota: Quota,
}

/// Those who stand behind a recipient.
#[derive(Debug, Clone)]
pub struct Several {
    /// Who they are.
    pub expansion: Expansion,
    /// Where each of them is, in the same order.
    places: Vec<LegPlace>,
}

#[derive(Debug, Clone)]
enum LegPlace {
    Here(Inbox),
    Queue(NextHop),
    /// It cannot be reached, and why.
    Nowhere(Refusal),
}

/// A message that is on disk.
#[derive(Debug)]
pub struct Accepted {
    /// Its name in the log.
    pub tag: MessageTag,
    /// What became of each recipient, in the order they were accepted. Only over LMTP may one have been refused: there
    /// alone is a reply for each.
    pub outcomes: Vec<(Recipient, Outcome)>,
    /// Those who got it on their screens and nowhere else.
    pub shown: Vec<Address>,
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
            legs: 0,
            called: Vec::new(),
            body: None,
            octets: 0,
            header: HeaderScan::default(),
            head: None,
            card: card::Builder::new(),
            once: None,
            together: None,
        })
    }
}

impl Intake {
    /// The transaction that delivers the message does this, too, under these preconditions: so something is done with the
    /// message, or neither is.
    pub fn together_with(&mut self, require: Vec<Require>, ops: Vec<Op>) {
        self.together = Some(Box::new((require, ops)));
    }

    /// The message's name.
    pub fn tag(&self) -> MessageTag {
        self.tag
    }

    /// Whoever hands this message in may do so again, not knowing that it was taken: under the same name within a day it is
    /// delivered once.
    pub fn once(&mut self, name: u128) {
        self.once = Some(TxId(name));
    }

    /// A recipient is named, with what is asked for it. The answer is the address to which a user has moved with their
    /// mail, for the sender to know (RFC 5321 section 3.4: 251).
    pub async fn recipient(&mut self, to: Addressee, asked: RcptAsked) -> Result<Option<Address>, Refusal> {
        if self.call(&to, &asked)? {
            return Ok(None);
        }
        let mut moved = None;
        let (place, login) = match self.office.route(&to, self.sender.as_ref())? {
            Route::Local(account) => (Place::Here(self.inbox(&account).await?), Some(account)),
            Route::Elsewhere => (Place::Queue(self.way_out(&to).await?), None),
            Route::Expanded(expansion) => {
                moved = expansion.moved.clone();
                let legs = self.legs + expansion.legs.len() + expansion.dead.len();
                if legs > LEGS_MAX {
                    return Err(Refusal::TooManyRecipients);
                }
                let several = self.places(*expansion).await?;
                self.legs = legs;
                (Place::Several(Box::new(several)), None)
            }
            Route::UnknownUser => return Err(Refusal::UnknownUser),
            Route::Moved(address) => return Err(Refusal::Moved(address)),
        };
        let address = match (to, login) {
            (Addressee::Mailbox(address), _) => address,
            (Addressee::Postmaster, Some(account)) => account.login.clone(),
            (Addressee::Postmaster, None) => self.office.postmaster()?.ok_or(Refusal::UnknownUser)?,
        };
        if let Place::Here(inbox) = &place {
            // What is announced does not count what we put before it.
            let declared = self.asked.declared;
            let ours = if declared > 0 { self.prefix(&address, &address).len() as u64 } else { 0 };
            self.check_room(inbox, declared + ours).await?;
        }
        let recipient = Recipient { address, asked, place };
        self.call_too(&recipient);
        self.recipients.push(recipient);
        Ok(moved)
    }

    async fn inbox(&self, account: &Account) -> Result<Inbox, Refusal> {
        let mailbox = self.office.inbox(account.id).await?;
        Ok(Inbox { account: account.id, mailbox, quota: account.quota })
    }

    /// The way to a recipient elsewhere, if this message may take it.
    async fn way_out(&self, to: &Addressee) -> Result<NextHop, Refusal> {
        let Addressee::Mailbox(address) = to else { return Err(Refusal::UnknownUser) };
        let known = self.origin.may_relay || matches!(self.origin.role, Role::Submission(_));
        if !known && !self.office.outgoing().routes.stands_in_for(address.domain()) {
            return Err(Refusal::RelayDenied(to.to_string()));
        }
        self.next_hop(address, self.sender.as_ref()).await?.ok_or_else(|| Refusal::NoRoute(to.to_string()))
    }

    async fn next_hop(&self, to: &Address, sender: Option<&Address>) -> Result<Option<NextHop>, Refusal> {
        let outgoing = self.office.outgoing();
        let count = self.office.shared.store.queue_count().await.map_err(unreadable)?;
        if count.rows >= outgoing.queue.rows_max {
            return Err(Refusal::QueueFull);
        }
        Ok(outgoing.routes.next_hop(sender, to.domain()))
    }

    async fn places(&self, expansion: Expansion) -> Result<Several, Refusal> {
        let mut places = Vec::with_capacity(expansion.legs.len());
        for leg in &expansion.legs {
            places.push(match &leg.to {
                LegTo::Local(account) => {
                    let inbox = self.inbox(account).await?;
                    match self.check_room(&inbox, self.asked.declared).await {
                        Ok(()) => LegPlace::Here(inbox),
                        // Whoever stands alone behind an address is told of as if it were theirs.
                        Err(full @ Refusal::OverQuota) if expansion.legs.len() > 1 => LegPlace::Nowhere(full),
                        Err(refusal) => return Err(refusal),
                    }
                }
                LegTo::Remote { sender } => {
                    match self.next_hop(&leg.address, sender.as_ref().or(self.sender.as_ref())).await? {
                        Some(hop) => LegPlace::Queue(hop),
                        None => LegPlace::Nowhere(Refusal::NoRoute(leg.address.to_string())),
                    }
                }
            });
        }
        if places.iter().all(|place| matches!(place, LegPlace::Nowhere(_))) {
            let why = places.into_iter().find_map(|place| match place {
                // Full today is not full for ever, and unknown is not what it is.
                LegPlace::Nowhere(why) => Some(why),
                LegPlace::Here(_) | LegPlace::Queue(_) => None,
            });
            let dead = || expansion.dead.into_iter().next().map(|dead| dead.why).unwrap_or_default();
            return Err(why.unwrap_or_else(|| Refusal::DeadEnd(dead())));
        }
        Ok(Several { expansion, places })
    }

    /// The body begins.
    pub fn open_body(&mut self) {
        if self.is_only_called() {
            return;
        }
        let hint = (self.asked.declared > 0).then_some(self.asked.declared);
        self.body = Some(self.office.shared.store.new_body(hint));
        if self.tells_at_once() {
            self.head = Some(Vec::new());
        }
    }

    /// Whether the sender is told of something as soon as the message is taken.
    fn tells_at_once(&self) -> bool {
        self.sender.is_some()
            && self.recipients.iter().any(|recipient| match &recipient.place {
                Place::Here(_) => recipient.asked.wants_success(),
                Place::Queue(_) => false,
                Place::Several(several) => recipient.asked.wants_success() || several.has_dead_ends(),
            })
    }

    /// A piece of the body, exactly as it is to be stored.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        let limit = self.office.shared.limits.message_octets;
        self.octets += chunk.len() as u64;
        if self.octets > limit {
            self.body = None;
            return Err(Refusal::TooLarge(limit));
        }
        if let Some(head) = &mut self.head {
            let room = dsn::HEADER_MAX.saturating_sub(head.len());
            head.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        }
        self.header.push(&chunk);
        self.card.push(&chunk);
        if self.is_only_called() {
            return Ok(());
        }
        match &mut self.body {
            Some(body) => body.write(chunk).await.map_err(|error| {
                tracing::error!(tag = %self.tag, %error, "a message body could not be written");
                if error == BodyError::DiskFull { Refusal::DiskFull } else { Refusal::Temporary }
            }),
            None => Err(Refusal::Temporary),
        }
    }

    async fn check_room(&self, inbox: &Inbox, octets: u64) -> Result<(), Refusal> {
        if inbox.quota == Quota::default() {
            return Ok(());
        }
        let row = self.office.shared.store.account(inbox.account).await.map_err(unreadable)?;
        match row {
            Some(row) if over_quota(&row, &inbox.quota, octets) => Err(Refusal::OverQuota),
            _ => Ok(()),
        }
    }

    /// What stands before the body in the copy of a recipient here: RFC 5321 section 4.4 wants Return-Path first and the
    /// newest Received above the older ones; RFC 6409 section 8 lets a submission server add Date and Message-ID.
    /// It tells both the address they are delivered by and the one that was named, behind which they stand.
    fn prefix(&self, to: &Address, named: &Address) -> Bytes {
        let mut text = return_path(self.sender.as_ref());
        let _ = write!(text, "Delivered-To: {to}\r\n");
        self.trace(&mut text, Some(named));
        Bytes::from(text)
    }

    /// What stands before the body on its way to another server, for one recipient or several of them. `through` is the
    /// address by which it leaves: met again, it tells of a loop (RFC 9228).
    fn prefix_elsewhere(&self, through: Option<&Address>, only: Option<&Address>) -> Bytes {
        let mut text = String::new();
        if let Some(through) = through {
            let _ = write!(text, "Delivered-To: {through}\r\n");
        }
        self.trace(&mut text, only);
        Bytes::from(text)
    }

    fn trace(&self, text: &mut String, recipient: Option<&Address>) {
        let host = &self.office.shared.hostname;
        let tag = self.tag.to_string();
        let received = Received {
            helo: self.origin.helo.as_deref(),
            client: self.origin.peer.map(|ip| Client { ip, name: None }),
            by: host,
            with: self.origin.with,
            tls: self.origin.tls,
            id: &tag,
            recipient,
            at: &self.began,
        };
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
    }
}

impl Several {
    fn has_dead_ends(&self) -> bool {
        !self.expansion.dead.is_empty()
            || self.places.iter().any(|place| matches!(place, LegPlace::Nowhere(_)))
    }
}
