//! SMTP, submission and LMTP at the post office's counter.

pub(crate) mod asked;
mod auth;
mod intake;
mod turn;
mod verify;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use packetboat_account::{Identity, Service};
use packetboat_smtp::command::Hello;
use packetboat_smtp::reply;
use packetboat_smtp::server::{self, Config, Role, Server};
use packetboat_wire::ReplyStyle;

use super::login::Visitor;
use super::{Counter, random};
use crate::drive::{Handler, Link, Stop, Summary, drive};
use crate::limits;
use crate::listen::{self, Peer};
use crate::metrics::Metrics;
use crate::relay::{Turned, Waiting};
use intake::Message;
use turn::{Conversation, Event};

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
        let mut session = Server::new(Arc::clone(&self.config));
        if self.config.future_release.is_some() && self.config.role == Role::Submission {
            session.set_clock(Instant::now(), Timestamp::now());
        }
        let owner = Smtp {
            counter: self.counter.clone(),
            metrics: Arc::clone(&self.metrics),
            role: self.config.role,
            peer,
            hello: None,
            visitor: Visitor::new(Service::Submission),
            proved: None,
            message: None,
            waiting: None,
            turned: None,
        };
        Box::pin(drive(link, Conversation::Server(session), owner))
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
    visitor: Visitor,
    /// Proved, but the session has not been told yet.
    proved: Option<Identity>,
    message: Option<Box<Message>>,
    /// What the peer is about to fetch.
    waiting: Option<Box<Waiting>>,
    /// Who carries mail to the peer since it has become the server.
    turned: Option<Box<Turned>>,
}

impl Smtp {
    /// What the server's side asks and tells.
    async fn serve(&mut self, session: &mut Server, event: server::Event) {
        use server::Event;
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
            Event::Verify(query) => self.verify(session, query).await,
            Event::Expand(query) => self.expand(session, query).await,
            Event::Etrn(node) => self.etrn(session, node).await,
            Event::Turn(how) => self.reverse(session, how).await,
            // Seen to before.
            Event::Turned => {}
        }
    }
}

impl Handler<Conversation> for Smtp {
    async fn handle(&mut self, conversation: &mut Conversation, event: Event) -> Result<(), Stop> {
        match (&mut *conversation, event, &mut self.turned) {
            (_, Event::Server(server::Event::Turned), _) => self.turn(conversation),
            (Conversation::Server(session), Event::Server(event), _) => self.serve(session, event).await,
            (Conversation::Client(session), Event::Client(event), Some(turned)) => {
                return turned.handle(session, event).await;
            }
            _ => {}
        }
        Ok(())
    }

    async fn news(&mut self) {
        match &mut self.turned {
            // It ends by itself soon enough, whatever becomes of the log-in.
            Some(turned) => turned.news().await,
            None => self.visitor.revoked().await,
        }
    }

    async fn tell(&mut self, conversation: &mut Conversation) -> Result<(), Stop> {
        match (conversation, &mut self.turned) {
            (Conversation::Client(session), Some(turned)) => return turned.tell(session).await,
            (Conversation::Server(session), _) => {
                self.visitor.log_revoked(&self.peer);
                session.end(reply::access_revoked());
            }
            (Conversation::Client(_), None) => {}
        }
        Ok(())
    }

    fn in_bulk(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.in_body)
    }

    fn ended(&mut self, summary: &Summary) {
        if let Some(turned) = &mut self.turned {
            turned.ended(summary);
        }
    }
}
