//! Messages on their way in.

use bytes::Bytes;
use jiff::{Timestamp, Zoned};
use packetboat_mail::story::{Event, Refused, What, shortened};
use packetboat_mail::{Addressee, Intake, MessageTag, Origin, Outcome, Place, Refusal, Role as MailRole};
use packetboat_message::trace::{Protocol, With};
use packetboat_smtp::command::HelloVerb;
use packetboat_smtp::envelope::{ForwardPath, Recipient, Sender};
use packetboat_smtp::reply;
use packetboat_smtp::server::{Role, Server};
use packetboat_wire::Reply;

use super::super::random;
use super::Smtp;
use super::asked::{asked_for, asked_of};
use super::verify::written;
use crate::metrics::{OutcomeLabels, ServiceLabel};

/// A message on its way in.
#[derive(Debug)]
pub(super) struct Message {
    intake: Intake,
    pub(super) sender: String,
    recipients: usize,
    octets: u64,
    /// Why the rest of the body is not wanted any more.
    refused: Option<Refusal>,
    pub(super) in_body: bool,
}
impl Smtp {
    fn count(&self, outcome: &'static str) {
        let service = self.peer.service;
        self.metrics.messages.get_or_create(&OutcomeLabels { service, outcome }).inc();
    }

    fn origin(&self, session: &Server, utf8: bool) -> Origin {
        let role = match (self.visitor.identity(), self.role) {
            (_, Role::Lmtp) => MailRole::Lmtp,
            (Some(identity), _) => MailRole::Submission(packetboat_mail::Identity {
                account: identity.account,
                login: identity.login.to_string(),
            }),
            (None, _) => MailRole::Exchange,
        };
        let protocol = match session.hello() {
            Some(HelloVerb::Ehlo) => Protocol::Esmtp,
            Some(HelloVerb::Lhlo) => Protocol::Lmtp,
            Some(HelloVerb::Helo) | None => Protocol::Smtp,
        };
        let with = With {
            protocol,
            utf8,
            tls: session.tls().is_some(),
            authenticated: self.visitor.identity().is_some(),
        };
        Origin {
            role,
            peer: self.peer.ip(),
            helo: self.hello.as_ref().map(|hello| hello.name.clone()),
            with,
            tls: session.tls().map(|tls| (tls.version, tls.cipher)),
            may_relay: self.role == Role::Exchange && self.counter.trusted.hold(self.peer.ip()),
        }
    }

    pub(super) fn sender(&mut self, session: &mut Server, sender: Sender) {
        let origin = self.origin(session, sender.smtputf8);
        let shown = sender.path.as_ref().map(ToString::to_string).unwrap_or_default();
        let number = u64::from_ne_bytes(random());
        let now = Zoned::now();
        let asked = asked_of(&sender, now.timestamp());
        match self.counter.office.begin(origin, sender.path, asked, now, number) {
            Ok(intake) => {
                self.message = Some(Box::new(Message {
                    intake,
                    sender: shown,
                    recipients: 0,
                    octets: 0,
                    refused: None,
                    in_body: false,
                }));
                session.accept();
            }
            Err(refusal) => {
                self.log_refusal(None, &shown, "", &refusal);
                session.refuse(refusal_reply(&refusal));
            }
        }
    }

    pub(super) async fn recipient(&mut self, session: &mut Server, mut recipient: Recipient) {
        let asked = asked_for(&mut recipient);
        let to = match recipient.path {
            ForwardPath::Mailbox(address) => Addressee::Mailbox(address),
            ForwardPath::Postmaster => Addressee::Postmaster,
        };
        let Some(message) = &mut self.message else { return session.refuse(reply::local_error()) };
        match message.intake.recipient(to.clone(), asked).await {
            Ok(moved) => {
                message.recipients += 1;
                match moved {
                    Some(address) => session.accept_with(reply::will_forward(&written(&address))),
                    None => session.accept(),
                }
            }
            Err(refusal) => {
                let (sender, tag) = (message.sender.clone(), message.intake.tag());
                self.log_refusal(Some(tag), &sender, &to.to_string(), &refusal);
                session.refuse(refusal_reply(&refusal));
            }
        }
    }

    pub(super) fn body_start(&mut self, session: &mut Server) {
        match &mut self.message {
            Some(message) => {
                message.in_body = true;
                message.intake.open_body();
                session.accept();
            }
            None => session.refuse(reply::local_error()),
        }
    }

    pub(super) async fn body_chunk(&mut self, chunk: Bytes) {
        if let Some(message) = &mut self.message
            && message.refused.is_none()
        {
            message.octets += chunk.len() as u64;
            if let Err(refusal) = message.intake.write(chunk).await {
                message.refused = Some(refusal);
            }
        }
    }

    pub(super) async fn body_end(&mut self, session: &mut Server) {
        let Some(message) = self.message.take() else { return session.refuse(reply::local_error()) };
        let Message { intake, sender, recipients, octets, refused, .. } = *message;
        if self.visitor.is_revoked() {
            tracing::info!(
                connection = self.peer.id,
                sender,
                "a message was refused: the account's access has changed"
            );
            return session.refuse(reply::access_revoked());
        }
        let tag = intake.tag();
        let committed = match refused {
            Some(refusal) => Err(refusal),
            None => intake.commit().await,
        };
        match committed {
            Ok(accepted) => {
                self.count("accepted");
                let service = self.peer.service;
                self.metrics.message_octets.get_or_create(&ServiceLabel { service }).inc_by(octets);
                for (recipient, outcome) in &accepted.outcomes {
                    let login = self.visitor.name();
                    // As text, which the log quotes: a stranger's address may hold what would look like a field of ours.
                    let place = &recipient.place;
                    let recipient = recipient.address.to_string();
                    match (outcome, place) {
                        (Ok(()), Place::Queue(hop)) => tracing::info!(
                            connection = self.peer.id, peer = %self.peer, %tag, sender, octets, recipient, login, %hop,
                            "queued"
                        ),
                        (Ok(()), Place::Here(_) | Place::Several(_)) => tracing::info!(
                            connection = self.peer.id, peer = %self.peer, %tag, sender, octets, recipient, login,
                            "delivered"
                        ),
                        (Err(refusal), _) => self.log_refusal(Some(tag), &sender, &recipient, refusal),
                    }
                }
                for recipient in &accepted.shown {
                    let (connection, recipient) = (self.peer.id, recipient.to_string());
                    tracing::info!(connection, peer = %self.peer, %tag, sender, octets, recipient, "shown");
                }
                let outcomes: Vec<Outcome> =
                    accepted.outcomes.into_iter().map(|(_, outcome)| outcome).collect();
                self.answer_body(session, &outcomes, &tag.to_string());
            }
            Err(refusal) => {
                self.count(if refusal.is_temporary() { "deferred" } else { "rejected" });
                self.log_refusal(Some(tag), &sender, "", &refusal);
                let answers = if self.role == Role::Lmtp { recipients.max(1) } else { 1 };
                for _ in 0..answers {
                    session.refuse(refusal_reply(&refusal));
                }
            }
        }
    }

    /// One answer for the message; over LMTP one for each recipient (RFC 2033 section 4.2).
    fn answer_body(&self, session: &mut Server, outcomes: &[Outcome], tag: &str) {
        let accepted = || reply::message_accepted(format!("OK {tag}"));
        if self.role != Role::Lmtp {
            return session.accept_with(accepted());
        }
        for outcome in outcomes {
            match outcome {
                Ok(()) => session.accept_with(accepted()),
                Err(refusal) => session.refuse(refusal_reply(refusal)),
            }
        }
    }

    pub(super) fn log_refusal(
        &self,
        tag: Option<MessageTag>,
        sender: &str,
        recipient: &str,
        refusal: &Refusal,
    ) {
        let (connection, peer) = (self.peer.id, &self.peer);
        let reason = refusal.to_string();
        tracing::info!(connection, %peer, sender, recipient, reason, "refused");
        self.counter.office.tell(|| Event {
            at: Timestamp::now().as_microsecond(),
            tag,
            what: What::Refused(Box::new(Refused {
                from: shortened(sender.to_owned()),
                to: (!recipient.is_empty()).then(|| shortened(recipient.to_owned())),
                login: self.visitor.identity().map(|identity| identity.login.to_string()),
                peer: self.peer.ip(),
                why: shortened(reason.clone()),
                for_now: refusal.is_temporary(),
            })),
        });
    }
}

/// What the client is told.
fn refusal_reply(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::UnknownUser => reply::mailbox_unavailable(),
        Refusal::RelayDenied(_) => reply::relaying_denied(),
        Refusal::NoRoute(_) => reply::refused_by_policy(refusal.to_string()),
        Refusal::Moved(to) => reply::user_not_local(&written(to)),
        Refusal::NotHere => reply::user_not_active(),
        Refusal::DeadEnd(_) => reply::mailbox_unavailable(),
        Refusal::TooManyRecipients => reply::too_many_recipients(),
        Refusal::OverQuota => reply::mailbox_full(),
        Refusal::TooLarge(max) => reply::message_too_big(*max),
        Refusal::Loop(_) => reply::mail_loop(),
        Refusal::NotYourAddress(_) => reply::sender_not_owned(),
        Refusal::DiskFull | Refusal::QueueFull => reply::insufficient_storage(),
        Refusal::RecipientsChanged => reply::recipients_changed(),
        Refusal::Temporary => reply::local_error(),
    }
}
