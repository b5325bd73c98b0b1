//! Logging in, the same for every protocol.

use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use packetboat_account::credential::ScramAttempt;
use packetboat_account::{Access, Attempt, Authenticator, Denied, Identity, Reason, Service};
use packetboat_wire::Secret;
use packetboat_wire::sasl::{ScramHash, ScramKeys};

use super::Counter;
use crate::listen::Peer;
use crate::metrics::{Metrics, OutcomeLabels};

/// Whoever is at the other end of a connection: a stranger first, and then who has logged in.
#[derive(Debug)]
pub(super) struct Visitor {
    service: Service,
    /// While somebody tries to log in.
    login: Option<Box<Login>>,
    identity: Option<Identity>,
    /// Tells when the log-in is no longer good.
    access: Option<Access>,
    revoked: bool,
}

impl Visitor {
    /// A stranger.
    pub(super) fn new(service: Service) -> Visitor {
        Visitor { service, login: None, identity: None, access: None, revoked: false }
    }

    /// The log-in under way.
    pub(super) fn login(&mut self, counter: &Counter, metrics: &Arc<Metrics>, peer: &Peer) -> &mut Login {
        let service = self.service;
        self.login.get_or_insert_with(|| {
            let authenticator = counter.authenticator.clone();
            Box::new(Login::new(authenticator, Arc::clone(metrics), peer.clone(), service))
        })
    }

    /// The log-in has succeeded.
    pub(super) fn enter(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.access = self.login.take().and_then(|mut login| login.take_access());
    }

    /// Who it is.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Their name, for the log.
    pub(super) fn name(&self) -> Option<String> {
        self.identity.as_ref().map(|identity| identity.login.to_string())
    }

    /// Returns when the log-in is no longer good; never before there is one, nor a second time.
    pub(super) async fn revoked(&mut self) {
        match (&mut self.access, &self.identity) {
            (Some(access), Some(identity)) => access.revoked(identity).await,
            _ => pending().await,
        }
        (self.access, self.revoked) = (None, true);
    }

    /// Whether whoever logged in could not do so again in the same way.
    pub(super) fn is_revoked(&mut self) -> bool {
        if let (Some(access), Some(identity)) = (&mut self.access, &self.identity) {
            self.revoked |= access.is_revoked(identity);
        }
        self.revoked
    }

    /// Logs that the session ends because of that.
    pub(super) fn log_revoked(&self, peer: &Peer) {
        let (connection, login) = (peer.id, self.name());
        tracing::info!(connection, login, "the account's access has changed, the session ends");
    }
}

/// The log-ins of one connection.
#[derive(Debug)]
pub(super) struct Login {
    authenticator: Authenticator,
    metrics: Arc<Metrics>,
    peer: Peer,
    service: Service,
    /// A SCRAM exchange whose proof has not come yet.
    scram: Option<Box<ScramAttempt>>,
    /// What is taken back since the credentials were looked at.
    access: Option<Access>,
}

impl Login {
    fn new(authenticator: Authenticator, metrics: Arc<Metrics>, peer: Peer, service: Service) -> Login {
        Login { authenticator, metrics, peer, service, scram: None, access: None }
    }

    /// Checks a password. May take as long as the throttle wants.
    pub(super) async fn password(
        &mut self,
        authcid: &str,
        authzid: Option<&str>,
        password: &Secret<String>,
    ) -> Result<Identity, Denied> {
        self.listen();
        let outcome = self.authenticator.password(self.attempt(), authcid, password).await;
        self.told(authcid, "password", self.acting_as(outcome, authzid))
    }

    /// Lets in whoever has shown a certificate with this login name.
    pub(super) fn certified(&mut self, name: &str) -> Result<Identity, Denied> {
        self.listen();
        let outcome = self.authenticator.certified(self.attempt(), name);
        self.told(name, "certificate", outcome)
    }

    /// Checks a digest over a secret that both sides have: APOP's, or CRAM-MD5's.
    pub(super) async fn shared_secret(
        &mut self,
        authcid: &str,
        how: &'static str,
        proves: impl FnOnce(&Secret<String>) -> bool,
    ) -> Result<Identity, Denied> {
        self.listen();
        let outcome = self.authenticator.shared_secret(self.attempt(), authcid, proves).await;
        self.told(authcid, how, outcome)
    }

    /// Begins a SCRAM exchange.
    pub(super) async fn scram_keys(
        &mut self,
        authcid: &str,
        hash: ScramHash,
    ) -> Result<Vec<ScramKeys>, Denied> {
        self.disproved();
        self.listen();
        match self.authenticator.scram(self.attempt(), authcid, hash).await {
            Ok(attempt) => {
                let keys = attempt.keys().to_vec();
                self.scram = Some(Box::new(attempt));
                Ok(keys)
            }
            Err(denied) => Err(self.refused(authcid, "scram", denied)),
        }
    }

    /// The SCRAM exchange was right, for the n-th of the keys.
    pub(super) fn proved(
        &mut self,
        authcid: &str,
        authzid: Option<&str>,
        key: usize,
    ) -> Result<Identity, Denied> {
        let outcome = match self.scram.take() {
            Some(attempt) => attempt.finish(Some(key)),
            None => Err(Denied { reason: Reason::WrongCredentials }),
        };
        self.told(authcid, "scram", self.acting_as(outcome, authzid))
    }

    /// The SCRAM exchange, if there was one, ended without proof.
    pub(super) fn disproved(&mut self) {
        if let Some(attempt) = self.scram.take()
            && let Err(denied) = attempt.finish(None)
        {
            self.refused("", "scram", denied);
        }
    }

    /// After a log-in: whoever has it hears when the log-in is no longer good.
    fn take_access(&mut self) -> Option<Access> {
        self.access.take()
    }

    fn listen(&mut self) {
        self.access = Some(self.authenticator.directory().access());
    }

    fn attempt(&self) -> Attempt {
        // Whoever can open a local socket is on this machine.
        let peer = self.peer.ip().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Attempt { peer, service: self.service }
    }

    /// Nobody may act as somebody else yet, but anybody may say that they act as themselves.
    fn acting_as(
        &self,
        outcome: Result<Identity, Denied>,
        authzid: Option<&str>,
    ) -> Result<Identity, Denied> {
        let identity = outcome?;
        let Some(authzid) = authzid else { return Ok(identity) };
        match self.authenticator.directory().find_login(authzid) {
            Ok(Some(account)) if account.id == identity.account => Ok(identity),
            _ => Err(Denied { reason: Reason::WrongCredentials }),
        }
    }

    fn told(&self, login: &str, how: &str, outcome: Result<Identity, Denied>) -> Result<Identity, Denied> {
        let identity = outcome.map_err(|denied| self.refused(login, how, denied))?;
        let (connection, peer, service) = (self.peer.id, &self.peer, self.service);
        self.count("ok");
        self.peer.admission.logged_in();
        self.peer.present.logged_in(&identity.login.to_string());
        tracing::info!(connection, %peer, %service, login = %identity.login, how, "logged in");
        Ok(identity)
    }

    fn refused(&self, login: &str, how: &str, denied: Denied) -> Denied {
        let (connection, peer, service) = (self.peer.id, &self.peer, self.service);
        self.count(if denied.is_temporary() { "later" } else { "wrong" });
        tracing::warn!(connection, %peer, %service, login, how, reason = %denied.reason, "log-in refused");
        denied
    }

    fn count(&self, outcome: &'static str) {
        let service = self.peer.service;
        self.metrics.logins.get_or_create(&OutcomeLabels { service, outcome }).inc();
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        // A client that leaves before its proof has guessed nothing, but asked for keys.
        self.disproved();
    }
}
