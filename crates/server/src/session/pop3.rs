//! POP3 at the post office's counter.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use packetboat_account::{Denied, Service};
use packetboat_mail::{Maildrop, MaildropError, Reading, UniqueId};
use packetboat_pop3::apop;
use packetboat_pop3::server::{Abandonment, Config, Event, NoBody, Refusal, Server};
use packetboat_wire::{Secret, constant_time_eq};

use super::login::{Login, Visitor};
use super::{Counter, random};
use crate::drive::{Handler, Link, Stop, Summary, drive};
use crate::limits;
use crate::listen::{self, Peer};
use crate::metrics::{Metrics, ServiceLabel};

/// POP3, as listeners know it.
#[derive(Debug)]
pub struct Pop3Service {
    config: Arc<Config>,
    counter: Counter,
    metrics: Arc<Metrics>,
}

impl Pop3Service {
    /// Serves by this configuration.
    pub fn new(config: Config, counter: Counter, metrics: Arc<Metrics>) -> Pop3Service {
        Pop3Service { config: Arc::new(config), counter, metrics }
    }
}

impl listen::Service for Pop3Service {
    fn serve(&self, link: Link, peer: Peer) -> Pin<Box<dyn Future<Output = Summary> + Send>> {
        let session = Server::new(Arc::clone(&self.config), random());
        let owner = Pop3 {
            counter: self.counter.clone(),
            metrics: Arc::clone(&self.metrics),
            peer,
            visitor: Visitor::new(Service::Pop3),
            maildrop: None,
            reading: None,
        };
        Box::pin(drive(link, session, owner))
    }

    fn refusal(&self, _: limits::Refusal) -> Bytes {
        Bytes::from_static(b"-ERR [SYS/TEMP] Too many connections, try again later\r\n")
    }

    fn has_login(&self) -> bool {
        true
    }
}

/// The owner of one session.
#[derive(Debug)]
struct Pop3 {
    counter: Counter,
    metrics: Arc<Metrics>,
    peer: Peer,
    visitor: Visitor,
    maildrop: Option<Box<Maildrop>>,
    reading: Option<Reading>,
}

impl Pop3 {
    fn login(&mut self) -> &mut Login {
        self.visitor.login(&self.counter, &self.metrics, &self.peer)
    }

    async fn log_in(&mut self, session: &mut Server, login: packetboat_pop3::server::Login) {
        use packetboat_pop3::server::Login;
        let outcome = match login {
            Login::Password { authzid, authcid, password } => {
                self.login().password(&authcid, authzid.as_deref(), &password).await
            }
            Login::Apop { authcid, timestamp, digest } => {
                let proves =
                    |secret: &Secret<String>| constant_time_eq(&apop::digest(&timestamp, secret), &digest);
                self.login().shared_secret(&authcid, "apop", proves).await
            }
            Login::Proved { authzid, authcid, key } => self.login().proved(&authcid, authzid.as_deref(), key),
            Login::Disproved { .. } => {
                self.login().disproved();
                return session.refuse(Refusal::Credentials);
            }
        };
        match outcome {
            Ok(identity) => {
                self.visitor.enter(identity);
                session.accept();
            }
            Err(denied) => session.refuse(refusal(&denied)),
        }
    }

    async fn open_maildrop(&mut self, session: &mut Server) {
        let Some(identity) = self.visitor.identity() else { return session.refuse(Refusal::Temporary) };
        match self.counter.office.maildrop(identity.account, Instant::now()).await {
            Ok(maildrop) => {
                session.maildrop(maildrop.sizes().collect());
                self.maildrop = Some(Box::new(maildrop));
            }
            Err(MaildropError::InUse) => session.refuse(Refusal::InUse),
            Err(MaildropError::TooSoon) => session.refuse(Refusal::LoginDelay),
            Err(MaildropError::Unavailable(error)) => {
                tracing::error!(connection = self.peer.id, error, "a maildrop could not be opened");
                session.refuse(Refusal::Temporary);
            }
        }
    }

    fn unique_ids(&self, session: &mut Server, first: usize, count: usize) {
        let ids: Option<Vec<UniqueId>> = self
            .maildrop
            .as_ref()
            .and_then(|maildrop| (first..first + count).map(|index| maildrop.unique_id(index)).collect());
        match ids {
            Some(ids) => session.unique_ids(ids),
            None => session.unique_ids_failed(),
        }
    }

    async fn retrieve(&mut self, session: &mut Server, index: usize, utf8: bool) {
        self.reading = None;
        let Some(maildrop) = &mut self.maildrop else { return session.no_body(NoBody::Temporary) };
        match maildrop.open(index, utf8).await {
            Ok(Some(reading)) => {
                self.reading = Some(reading);
                session.begin_body();
                self.more_body(session).await;
            }
            Ok(None) => session.no_body(NoBody::Missing),
            Err(error) => {
                tracing::error!(connection = self.peer.id, %error, "a message could not be opened");
                session.no_body(NoBody::Temporary);
            }
        }
    }

    async fn more_body(&mut self, session: &mut Server) {
        let Some(reading) = &mut self.reading else { return session.body_failed() };
        match reading.next().await {
            Ok(piece) => {
                if let Some(piece) = piece {
                    session.body_chunk(piece);
                }
                if reading.is_done() {
                    self.reading = None;
                    let service = self.peer.service;
                    self.metrics.retrieved.get_or_create(&ServiceLabel { service }).inc();
                    session.body_end();
                }
            }
            Err(error) => {
                tracing::error!(connection = self.peer.id, %error, "a message could not be read");
                self.reading = None;
                session.body_failed();
            }
        }
    }

    async fn commit(&mut self, session: &mut Server, deleted: Vec<usize>) {
        self.reading = None;
        let Some(maildrop) = self.maildrop.take() else { return session.commit_failed() };
        match maildrop.remove(&deleted).await {
            Ok(()) => {
                if !deleted.is_empty() {
                    let login = self.visitor.name();
                    let (connection, count) = (self.peer.id, deleted.len());
                    tracing::info!(connection, login, count, "messages deleted");
                }
                session.committed();
            }
            Err(error) => {
                tracing::error!(connection = self.peer.id, %error, "messages could not be deleted");
                session.commit_failed();
            }
        }
    }

    fn abandon(&mut self, cause: Abandonment) {
        self.reading = None;
        self.maildrop = None;
        tracing::debug!(connection = self.peer.id, ?cause, "session ended without QUIT");
    }
}

impl Handler<Server> for Pop3 {
    async fn handle(&mut self, session: &mut Server, event: Event) -> Result<(), Stop> {
        match event {
            Event::Login(login) => self.log_in(session, login).await,
            Event::ScramKeys { authcid, hash } => match self.login().scram_keys(&authcid, hash).await {
                Ok(keys) => session.scram_keys(keys),
                Err(denied) => session.refuse(refusal(&denied)),
            },
            Event::OpenMaildrop => self.open_maildrop(session).await,
            Event::UniqueIds { first, count } => self.unique_ids(session, first, count),
            Event::Retrieve { index, utf8, .. } => self.retrieve(session, index, utf8).await,
            Event::MoreBody => self.more_body(session).await,
            Event::Commit { deletions } => self.commit(session, deletions.iter().collect()).await,
            Event::Abandoned { cause } => self.abandon(cause),
        }
        Ok(())
    }

    async fn news(&mut self) {
        self.visitor.revoked().await;
    }

    fn at_rest(&mut self) {
        if let Some(maildrop) = &mut self.maildrop {
            maildrop.read_ahead();
        }
    }

    async fn tell(&mut self, session: &mut Server) -> Result<(), Stop> {
        self.visitor.log_revoked(&self.peer);
        session.revoke();
        Ok(())
    }
}

/// What the client is told.
fn refusal(denied: &Denied) -> Refusal {
    if denied.is_temporary() { Refusal::Temporary } else { Refusal::Credentials }
}
