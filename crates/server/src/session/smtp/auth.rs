//! Logging in.

use packetboat_account::Denied;
use packetboat_smtp::reply;
use packetboat_smtp::server::Server;
use packetboat_wire::sasl::{Ask, Done};

use super::super::login::Login;
use super::Smtp;

impl Smtp {
    pub(super) fn login(&mut self) -> &mut Login {
        self.visitor.login(&self.counter, &self.metrics, &self.peer)
    }

    pub(super) async fn auth(&mut self, session: &mut Server, ask: Ask) {
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
            Ask::SharedSecret { authcid, proof } => {
                match self.login().shared_secret(&authcid, "cram-md5", |secret| proof.is_by(secret)).await {
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

    pub(super) fn authenticated(&mut self, session: &mut Server, done: Done) {
        let identity = match self.proved.take() {
            Some(identity) => Ok(identity),
            None => self.login().proved(&done.authcid, done.authzid.as_deref(), done.key),
        };
        match identity {
            Ok(identity) => {
                self.visitor.enter(identity);
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
}
