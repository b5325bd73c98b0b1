//! Logging in (RFC 4954).

use packetboat_wire::sasl::{
    self, Base64Error, Failure, Mechanism, ScramKeys, ServerStep, decode_base64, decode_initial_response,
    encode_base64,
};
use packetboat_wire::{LineEnding, LineError, Reply, Secret};

use crate::reply;

use super::{AUTH_LINE_MAX, AuthFailure, Closed, Event, Question, Server, State, Turn};

/// A login that the owner has not allowed yet.
#[derive(Debug)]
pub(super) struct Request {
    mechanism: Mechanism,
    initial: Option<Secret<String>>,
}

/// A login under way.
#[derive(Debug)]
pub(super) struct Exchange {
    sasl: sasl::Server,
    next: Next,
}

#[derive(Debug)]
enum Next {
    /// What the mechanism has decided.
    Step(ServerStep),
    /// The client has to answer a challenge.
    Response,
    /// The client's message could not be decoded.
    Failed(AuthFailure),
}

impl Exchange {
    pub(super) fn accept(&mut self) {
        self.next = Next::Step(self.sasl.accept());
    }

    pub(super) fn scram_keys(&mut self, keys: Vec<ScramKeys>) {
        self.next = Next::Step(self.sasl.scram_keys(keys));
    }
}

impl Server {
    pub(super) fn auth_command(&mut self, name: &str, initial: Option<Secret<String>>) -> Turn {
        match self.may_authenticate(name) {
            Err(reply) => {
                self.complain(&reply);
                Turn::Again
            }
            Ok(mechanism) => {
                self.idle();
                self.state = State::Asked(Question::AuthStart(Request { mechanism, initial }));
                Turn::Event(Event::AuthStart(mechanism))
            }
        }
    }

    fn may_authenticate(&self, name: &str) -> Result<Mechanism, Reply> {
        let auth = &self.config.auth;
        if auth.mechanisms.is_empty() {
            return Err(reply::not_implemented());
        }
        if self.config.tls_required && self.tls.is_none() {
            return Err(reply::tls_required());
        }
        if self.hello.is_none() {
            return Err(reply::bad_sequence("Say EHLO first"));
        }
        if self.flags.authenticated {
            return Err(reply::bad_sequence("You are authenticated already"));
        }
        if self.transaction.is_some() {
            return Err(reply::bad_sequence("Not in a transaction"));
        }
        let named = |mechanism: &&Mechanism| mechanism.name().eq_ignore_ascii_case(name);
        let mechanism = *auth.mechanisms.iter().find(named).ok_or_else(reply::unknown_mechanism)?;
        if self.usable_mechanisms().any(|usable| usable == mechanism) {
            Ok(mechanism)
        } else {
            Err(reply::encryption_required())
        }
    }

    pub(super) fn begin_exchange(&mut self, request: &Request, nonce: &[u8]) {
        self.deadline = None;
        let bindings = match &self.tls {
            Some(tls) if self.usable_mechanisms().any(Mechanism::binds_channel) => tls.bindings.as_slice(),
            _ => &[],
        };
        let mut sasl = sasl::Server::start(request.mechanism, bindings, nonce);
        let initial = request.initial.as_ref().map(|text| decode_initial_response(text.expose().as_bytes()));
        let next = match initial.transpose() {
            Ok(response) => {
                Next::Step(sasl.initial(response.as_ref().map(|response| response.expose().as_slice())))
            }
            Err(error) => Next::Failed(error.into()),
        };
        self.state = State::Auth(Box::new(Exchange { sasl, next }));
    }

    pub(super) fn auth(&mut self) -> Turn {
        let State::Auth(mut exchange) = std::mem::replace(&mut self.state, State::Command) else {
            return Turn::Again;
        };
        match std::mem::replace(&mut exchange.next, Next::Response) {
            Next::Response if self.flags.shut_down => {
                self.say_last(&reply::shutting_down(), Closed::ShutDown);
                Turn::Again
            }
            Next::Response => self.response(exchange),
            Next::Failed(failure) => self.auth_failed(failure),
            Next::Step(ServerStep::Challenge(challenge)) => {
                self.say(&reply::challenge(encode_base64(&challenge)));
                self.state = State::Auth(exchange);
                Turn::Again
            }
            Next::Step(ServerStep::Ask(ask)) => {
                self.state = State::Asked(Question::Auth(exchange));
                Turn::Event(Event::Auth(ask))
            }
            Next::Step(ServerStep::Done(done)) => {
                self.state = State::Asked(Question::Authenticated);
                Turn::Event(Event::Authenticated(done))
            }
            Next::Step(ServerStep::Failed(failure)) => self.auth_failed(AuthFailure::Mechanism(failure)),
        }
    }

    fn response(&mut self, mut exchange: Box<Exchange>) -> Turn {
        exchange.next = match self.input.take_line(AUTH_LINE_MAX, LineEnding::CrlfOrLf) {
            Ok(None) => Next::Response,
            Ok(Some(line)) if line.as_ref() == b"*" => Next::Failed(AuthFailure::Cancelled),
            Ok(Some(line)) => match decode_base64(&line) {
                Ok(response) => Next::Step(exchange.sasl.step(response.expose())),
                Err(error) => Next::Failed(error.into()),
            },
            Err(LineError::TooLong) => Next::Failed(AuthFailure::TooLong),
            Err(LineError::BareCr | LineError::BareLf) => Next::Failed(AuthFailure::NotBase64),
        };
        let starved = matches!(exchange.next, Next::Response);
        if !starved {
            self.deadline = None;
        }
        self.state = State::Auth(exchange);
        if starved { Turn::Starved } else { Turn::Again }
    }

    fn auth_failed(&mut self, failure: AuthFailure) -> Turn {
        self.complain(&match failure {
            AuthFailure::Cancelled => reply::authentication_cancelled(),
            AuthFailure::NotBase64 => reply::not_base64(),
            AuthFailure::TooLong | AuthFailure::Mechanism(Failure::TooLong) => {
                reply::authentication_line_too_long()
            }
            AuthFailure::Mechanism(Failure::OutOfTurn) => reply::authentication_unavailable(),
            AuthFailure::Mechanism(_) => reply::credentials_invalid(),
        });
        Turn::Event(Event::AuthFailed(failure))
    }
}

impl From<Base64Error> for AuthFailure {
    fn from(error: Base64Error) -> AuthFailure {
        match error {
            Base64Error::TooLong => AuthFailure::TooLong,
            Base64Error::Invalid => AuthFailure::NotBase64,
        }
    }
}
