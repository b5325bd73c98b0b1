//! SMTP, submission and LMTP at the post office's counter.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Zoned;
use packetboat_account::{Access, Denied, Identity, Service};
use packetboat_mail::{Addressee, Intake, Origin, Outcome, Refusal, Role as MailRole};
use packetboat_message::trace::{Protocol, With};
use packetboat_smtp::command::{Hello, HelloVerb};
use packetboat_smtp::envelope::{ForwardPath, Recipient, Sender};
use packetboat_smtp::reply;
use packetboat_smtp::server::{Config, Event, Role, Server};
use packetboat_wire::sasl::{Ask, Done};
use packetboat_wire::{Reply, ReplyStyle};

use super::login::Login;
use super::{Counter, random};
use crate::drive::{Handler, Link, Stop, Summary, drive};
use crate::limits;
use crate::listen::{self, Peer};
use crate::metrics::{Metrics, OutcomeLabels, ServiceLabel};

/// SMTP, submission or LMTP, as listeners know it.
#[derive(Debug)]
pub struct SmtpService {
    config: Arc<Config>,
    counter: Counter,
    metrics: Arc<Metrics>,
}

impl SmtpService {
    /// Serves by this configuration.
    pub fn new(config: Config, counter: Counter, metrics: Arc<Metrics>) -> SmtpService {
        SmtpService { config: Arc::new(config), counter, metrics }
    }
}

impl listen::Service for SmtpService {
    fn serve(&self, link: Link, peer: Peer) -> Pin<Box<dyn Future<Output = Summary> + Send>> {
        let session = Server::new(Arc::clone(&self.config));
        let owner = Smtp {
            counter: self.counter.clone(),
            metrics: Arc::clone(&self.metrics),
            role: self.config.role,
            peer,
            hello: None,
            login: None,
            identity: None,
            access: None,
            revoked: false,
            proved: None,
            message: None,
        };
        Box::pin(drive(link, session, owner))
    }

    fn refusal(&self, _: limits::Refusal) -> Bytes {
        reply::too_many_connections().encode(ReplyStyle::Smtp)
    }

    fn has_login(&self) -> bool {
        self.config.role == Role::Submission
    }
}

/// The owner of one session.
#[derive(Debug)]
struct Smtp {
    counter: Counter,
    metrics: Arc<Metrics>,
    role: Role,
    peer: Peer,
    hello: Option<Hello>,
    login: Option<Box<Login>>,
    identity: Option<Identity>,
    /// Tells when the log-in is no longer good.
    access: Option<Access>,
    /// It is no longer good.
    revoked: bool,
    /// Proved, but the session has not been told yet.
    proved: Option<Identity>,
    message: Option<Box<Message>>,
}

/// A message on its way in.
#[derive(Debug)]
struct Message {
    intake: Intake,
    sender: String,
    recipients: usize,
    octets: u64,
    /// Why the rest of the body is not wanted any more.
    refused: Option<Refusal>,
    in_body: bool,
}

impl Smtp {
    fn count(&self, outcome: &'static str) {
        let service = self.peer.service;
        self.metrics.messages.get_or_create(&OutcomeLabels { service, outcome }).inc();
    }

    fn origin(&self, session: &Server, utf8: bool) -> Origin {
        let role = match (&self.identity, self.role) {
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
        let with =
            With { protocol, utf8, tls: session.tls().is_some(), authenticated: self.identity.is_some() };
        Origin {
            role,
            peer: self.peer.ip(),
            helo: self.hello.as_ref().map(|hello| hello.name.clone()),
            with,
            tls: session.tls().map(|tls| (tls.version, tls.cipher)),
        }
    }

    fn sender(&mut self, session: &mut Server, sender: Sender) {
        let origin = self.origin(session, sender.smtputf8);
        let shown = sender.path.as_ref().map(ToString::to_string).unwrap_or_default();
        let number = u64::from_ne_bytes(random());
        match self.counter.office.begin(origin, sender.path, sender.size.unwrap_or(0), Zoned::now(), number) {
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
                self.log_refusal(&shown, "", &refusal);
                session.refuse(refusal_reply(&refusal));
            }
        }
    }

    async fn recipient(&mut self, session: &mut Server, recipient: Recipient) {
        let to = match recipient.path {
            ForwardPath::Mailbox(address) => Addressee::Mailbox(address),
            ForwardPath::Postmaster => Addressee::Postmaster,
        };
        let Some(message) = &mut self.message else { return session.refuse(reply::local_error()) };
        match message.intake.recipient(to.clone()).await {
            Ok(()) => {
                message.recipients += 1;
                session.accept();
            }
            Err(refusal) => {
                let sender = message.sender.clone();
                self.log_refusal(&sender, &to.to_string(), &refusal);
                session.refuse(refusal_reply(&refusal));
            }
        }
    }

    fn body_start(&mut self, session: &mut Server) {
        match &mut self.message {
            Some(message) => {
                message.in_body = true;
                message.intake.open_body();
                session.accept();
            }
            None => session.refuse(reply::local_error()),
        }
    }

    async fn body_chunk(&mut self, chunk: Bytes) {
        if let Some(message) = &mut self.message
            && message.refused.is_none()
        {
            message.octets += chunk.len() as u64;
            if let Err(refusal) = message.intake.write(chunk).await {
                message.refused = Some(refusal);
            }
        }
    }

    async fn body_end(&mut self, session: &mut Server) {
        let Some(message) = self.message.take() else { return session.refuse(reply::local_error()) };
        let Message { intake, sender, recipients, octets, refused, .. } = *message;
        if self.is_revoked() {
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
                    let login = self.identity.as_ref().map(|identity| identity.login.to_string());
                    // As text, which the log quotes: a stranger's address may hold what would look like a field of ours.
                    let recipient = recipient.address.to_string();
                    match outcome {
                        Ok(()) => tracing::info!(
                            connection = self.peer.id, peer = %self.peer, %tag, sender, octets, recipient, login,
                            "delivered"
                        ),
                        Err(refusal) => self.log_refusal(&sender, &recipient, refusal),
                    }
                }
                let outcomes: Vec<Outcome> =
                    accepted.outcomes.into_iter().map(|(_, outcome)| outcome).collect();
                self.answer_body(session, &outcomes, &tag.to_string());
            }
            Err(refusal) => {
                self.count(if refusal.is_temporary() { "deferred" } else { "rejected" });
                self.log_refusal(&sender, "", &refusal);
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

    /// Whether whoever logged in could not do so again in the same way.
    fn is_revoked(&mut self) -> bool {
        if let (Some(access), Some(identity)) = (&mut self.access, &self.identity) {
            self.revoked |= access.is_revoked(identity);
        }
        self.revoked
    }

    fn login(&mut self) -> &mut Login {
        self.login.get_or_insert_with(|| {
            let authenticator = self.counter.authenticator.clone();
            let (metrics, peer) = (Arc::clone(&self.metrics), self.peer.clone());
            Box::new(Login::new(authenticator, metrics, peer, Service::Submission))
        })
    }

    async fn auth(&mut self, session: &mut Server, ask: Ask) {
        match ask {
            Ask::Password { authzid, authcid, password } => {
                match self.login().password(&authcid, authzid.as_deref(), &password).await {
                    Ok(identity) => {
                        self.proved = Some(identity);
                        session.accept();
                    }
                    Err(denied) => Smtp::deny(session, &denied),
                }
            }
            Ask::ScramKeys { authcid, hash, .. } => match self.login().scram_keys(&authcid, hash).await {
                Ok(keys) => session.scram_keys(keys),
                Err(denied) => Smtp::deny(session, &denied),
            },
        }
    }

    fn authenticated(&mut self, session: &mut Server, done: Done) {
        let identity = match self.proved.take() {
            Some(identity) => Ok(identity),
            None => self.login().proved(&done.authcid, done.authzid.as_deref(), done.key),
        };
        match identity {
            Ok(identity) => {
                self.identity = Some(identity);
                self.access = self.login.take().and_then(|mut login| login.take_access());
                session.accept();
            }
            Err(denied) => Smtp::deny(session, &denied),
        }
    }

    fn deny(session: &mut Server, denied: &Denied) {
        session.refuse(if denied.is_temporary() {
            reply::authentication_unavailable()
        } else {
            reply::credentials_invalid()
        });
    }

    fn log_refusal(&self, sender: &str, recipient: &str, refusal: &Refusal) {
        let (connection, peer) = (self.peer.id, &self.peer);
        let reason = refusal.to_string();
        tracing::info!(connection, %peer, sender, recipient, reason, "refused");
    }
}

impl Handler<Server> for Smtp {
    async fn handle(&mut self, session: &mut Server, event: Event) -> Result<(), Stop> {
        match event {
            Event::Hello(hello) => self.hello = Some(hello),
            Event::Sender(sender) => self.sender(session, sender),
            Event::Recipient(recipient) => self.recipient(session, recipient).await,
            Event::BodyStart(_) => self.body_start(session),
            Event::BodyChunk(chunk) => self.body_chunk(chunk).await,
            Event::BodyEnd { .. } => self.body_end(session).await,
            Event::Aborted(why) => {
                if let Some(message) = self.message.take() {
                    let (connection, sender) = (self.peer.id, message.sender);
                    tracing::info!(connection, sender, ?why, "a message was not completed");
                }
            }
            Event::AuthStart(_) => session.start_authentication(&random::<24>()),
            Event::Auth(ask) => self.auth(session, ask).await,
            Event::Authenticated(done) => self.authenticated(session, done),
            Event::AuthFailed(why) => {
                tracing::info!(connection = self.peer.id, ?why, "a log-in was not completed");
                self.login().disproved();
            }
            // What a stranger may learn of who is here is decided with aliases and lists; until then, nothing.
            Event::Verify(_) | Event::Expand(_) => session.accept(),
        }
        Ok(())
    }

    async fn news(&mut self) {
        match (&mut self.access, &self.identity) {
            (Some(access), Some(identity)) => access.revoked(identity).await,
            _ => pending().await,
        }
    }

    async fn tell(&mut self, session: &mut Server) -> Result<(), Stop> {
        (self.access, self.revoked) = (None, true);
        let login = self.identity.as_ref().map(|identity| identity.login.to_string());
        tracing::info!(
            connection = self.peer.id,
            login,
            "the account's access has changed, the session ends"
        );
        session.end(reply::access_revoked());
        Ok(())
    }

    fn in_bulk(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.in_body)
    }
}

/// What the client is told.
fn refusal_reply(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::UnknownUser => reply::mailbox_unavailable(),
        Refusal::RelayDenied(_) => reply::relaying_denied(),
        Refusal::NoRoute(_) => reply::refused_by_policy(refusal.to_string()),
        Refusal::OverQuota => reply::mailbox_full(),
        Refusal::TooLarge(max) => reply::message_too_big(*max),
        Refusal::Loop(_) => reply::mail_loop(),
        Refusal::NotYourAddress(_) => reply::sender_not_owned(),
        Refusal::DiskFull => reply::insufficient_storage(),
        Refusal::RecipientsChanged => reply::recipients_changed(),
        Refusal::Temporary => reply::local_error(),
    }
}
