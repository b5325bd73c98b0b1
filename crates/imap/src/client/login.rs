//! Logging in, by the best way both sides have.

use std::collections::VecDeque;

use bytes::Bytes;
use packetboat_wire::sasl::{self, ClientError, Credentials, Mechanism, decode_base64, encode_base64};
use packetboat_wire::{ChannelBinding, Secret};

use super::request::Line;
use super::{Capabilities, Client, Error, Refused, State};
use crate::response::{Completion, Status};

/// What the login waits for.
#[derive(Debug)]
pub(super) enum Login {
    /// LOGIN was sent, but for these pieces, each of which needs the server's leave.
    Password(Pieces),
    /// AUTHENTICATE or a response was sent.
    Sasl(Box<sasl::Client>),
    /// `*` was sent, because of this.
    Cancelled(ClientError),
}

/// Octets with a password in them.
pub(super) struct Pieces(VecDeque<Bytes>);

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Client {
    /// Chooses how to log in and begins. SASL comes before LOGIN, and SCRAM before anything that shows the password.
    pub(super) fn log_in(&mut self) {
        let Some(credentials) = self.config.credentials.clone() else {
            return self.ready();
        };
        let mechanisms = self.capabilities.as_ref().map(Capabilities::mechanisms).unwrap_or_default();
        let password_allowed = self.tls.is_some() || self.config.password_in_clear;
        match sasl::pick(&mechanisms, self.tls.as_ref(), self.config.password_in_clear) {
            Some(mechanism) => self.log_in_by_sasl(mechanism, credentials),
            None if password_allowed && !self.has("LOGINDISABLED") => self.log_in_by_name(credentials),
            None => self.fail(Error::NoMechanism),
        }
    }

    fn log_in_by_name(&mut self, credentials: Credentials) {
        let Credentials { username, password, authzid } = &credentials;
        // Nothing here can say whom to act as.
        if authzid.is_some() || username.contains('\0') || password.expose().contains('\0') {
            return self.fail(ClientError::Unfit("LOGIN").into());
        }
        let tag = self.next_tag();
        let mut line = Line::new(&tag, self.abilities().unasked_literal);
        line.text(" LOGIN");
        line.argument(username.as_bytes());
        line.argument(password.expose().as_bytes());
        let mut pieces = line.end();
        if let Some(piece) = pieces.pop_front() {
            self.output.extend_from_slice(&piece);
        }
        self.log_in_begun(tag, Login::Password(Pieces(pieces)));
    }

    fn log_in_by_sasl(&mut self, mechanism: Mechanism, credentials: Credentials) {
        let bindings: &[ChannelBinding] = self.tls.as_ref().map_or(&[], |tls| &tls.bindings);
        let mut sasl = match sasl::Client::new(mechanism, credentials, bindings, &self.seed) {
            Ok(sasl) => Box::new(sasl),
            Err(error) => return self.fail(error.into()),
        };
        let tag = self.next_tag();
        self.output.extend_from_slice(format!("{tag} AUTHENTICATE {}", mechanism.name()).as_bytes());
        let initial_allowed = self.has("SASL-IR") || self.has("IMAP4rev2");
        if let Some(response) = if initial_allowed { sasl.initial() } else { None } {
            self.output.extend_from_slice(b" ");
            match response.expose().as_slice() {
                // RFC 4959 section 3: an empty one is "=".
                [] => self.output.extend_from_slice(b"="),
                response => self.say_secret(response),
            }
        }
        self.output.extend_from_slice(b"\r\n");
        self.log_in_begun(tag, Login::Sasl(sasl));
    }

    fn say_secret(&mut self, message: &[u8]) {
        let encoded: Secret<String> = encode_base64(message).into();
        self.output.extend_from_slice(encoded.expose().as_bytes());
    }

    /// What the server can do may be different after the login (RFC 9051 section 6.2.2).
    fn log_in_begun(&mut self, tag: String, login: Login) {
        self.capabilities = None;
        self.state = State::LoggingIn { tag, login };
    }

    /// Takes the server's leave to go on, or its challenge.
    pub(super) fn login_continued(&mut self, tag: String, login: Login, challenge: &[u8]) {
        let login = match login {
            Login::Password(mut pieces) => match pieces.0.pop_front() {
                Some(piece) => {
                    self.output.extend_from_slice(&piece);
                    Login::Password(pieces)
                }
                None => return self.fail(Error::Protocol("a challenge that nobody asked for")),
            },
            Login::Sasl(sasl) => self.answer_challenge(sasl, challenge),
            Login::Cancelled(_) => return self.fail(Error::Protocol("a login goes on that was cancelled")),
        };
        self.state = State::LoggingIn { tag, login };
    }

    fn answer_challenge(&mut self, mut sasl: Box<sasl::Client>, challenge: &[u8]) -> Login {
        let answer = match decode_base64(challenge) {
            Ok(challenge) => sasl.step(challenge.expose()),
            Err(_) => Err(ClientError::Malformed),
        };
        let login = match answer {
            Ok(response) => {
                self.say_secret(response.expose());
                Login::Sasl(sasl)
            }
            Err(error) => {
                self.output.extend_from_slice(b"*");
                Login::Cancelled(error)
            }
        };
        self.output.extend_from_slice(b"\r\n");
        login
    }

    /// Takes the answer to the login.
    pub(super) fn login_answered(&mut self, login: Login, completion: Completion) {
        match (login, completion.status) {
            (Login::Cancelled(error), Status::No | Status::Bad) => self.fail(error.into()),
            (Login::Cancelled(_), Status::Ok) => {
                self.fail(Error::Protocol("a login goes on that was cancelled"));
            }
            (_, Status::No | Status::Bad) => self.fail(Error::Login(Refused(completion))),
            (Login::Password(pieces), Status::Ok) if !pieces.0.is_empty() => {
                self.fail(Error::Protocol("a login that was not asked for in full"));
            }
            (Login::Password(_), Status::Ok) => self.logged_in(),
            (Login::Sasl(sasl), Status::Ok) => match sasl.success() {
                Ok(()) => self.logged_in(),
                Err(error) => self.fail(error.into()),
            },
        }
    }
}
