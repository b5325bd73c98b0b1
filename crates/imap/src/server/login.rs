//! The not authenticated state: who is there, and may they in?

use packetboat_wire::Secret;
use packetboat_wire::sasl::{
    self, Ask, Failure, Mechanism, ScramKeys, ServerStep, decode_base64, decode_initial_response,
    encode_base64,
};

use super::{Advance, Event, Extension, Login, Refusal, SEED_LENGTH, Server, State, Work};
use crate::response::{Code, Completion, Status};

/// What a session knows before the login.
#[derive(Debug)]
pub(super) struct Authentication {
    /// Randomness of this session, for SCRAM nonces.
    seed: [u8; SEED_LENGTH],
    /// SASL exchanges begun.
    exchanges: u32,
    failed_logins: u32,
}

/// LOGIN or AUTHENTICATE under way.
#[derive(Debug)]
pub(super) struct Exchange {
    tag: String,
    /// Who it is about, once SCRAM has told.
    authcid: Option<String>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// A response to a SASL challenge has to come.
    Response(sasl::Server),
    /// The owner looks for SCRAM keys.
    KeysAsked(sasl::Server),
    /// The owner decides about a login.
    LoginAsked { disproved: bool },
}

impl Authentication {
    pub(super) fn new(seed: [u8; SEED_LENGTH]) -> Authentication {
        Authentication { seed, exchanges: 0, failed_logins: 0 }
    }

    /// A nonce for SCRAM: random octets, and which of the session's attempts this is.
    fn nonce(&mut self) -> Vec<u8> {
        self.exchanges = self.exchanges.saturating_add(1);
        let mut nonce = self.seed.to_vec();
        nonce.extend_from_slice(&self.exchanges.to_be_bytes());
        nonce
    }
}

impl Exchange {
    pub(super) fn awaits_answer(&self) -> bool {
        !matches!(self.stage, Stage::Response(_))
    }
}

impl Server {
    pub(super) fn login(&mut self, tag: &str, name: &str, password: Secret<String>) {
        if !self.password_allowed() {
            let completion = Completion::no(Code::PrivacyRequired, "Passwords are taken under TLS only");
            return self.mistake(tag, &completion);
        }
        let exchange = |stage| Exchange { tag: tag.to_owned(), authcid: None, stage };
        match sasl::prepare(name) {
            Some(authcid) if !password.expose().is_empty() => {
                self.ask_login(exchange, Login::Password { authzid: None, authcid, password });
            }
            _ => self.fail(tag, Refusal::Credentials),
        }
    }

    pub(super) fn authenticate(&mut self, tag: &str, name: &str, initial: Option<&Secret<String>>) {
        let mechanism = match Mechanism::parse(name) {
            Some(mechanism) if self.mechanisms().any(|offered| offered == mechanism) => mechanism,
            Some(mechanism) if mechanism.sends_password() && self.config.mechanisms.contains(&mechanism) => {
                let completion = Completion::no(Code::PrivacyRequired, "Passwords are taken under TLS only");
                return self.mistake(tag, &completion);
            }
            _ => {
                let completion = Completion::no(Code::Cannot, "There is no such mechanism");
                return self.mistake(tag, &completion);
            }
        };
        if initial.is_some() && self.off.contains(Extension::SaslIr) {
            return self.bad(tag, "The response has to wait for its challenge");
        }
        let initial = match initial.map(|text| decode_initial_response(text.expose().as_bytes())) {
            None => None,
            Some(Ok(response)) => Some(response),
            Some(Err(_)) => return self.bad(tag, "The response is not base64"),
        };
        let offers_plus = self.mechanisms().any(Mechanism::binds_channel);
        let State::NotAuthenticated(authentication) = &mut self.state else { return };
        let bindings = match &self.tls {
            Some(tls) if offers_plus => tls.bindings.as_slice(),
            _ => &[],
        };
        let mut sasl = sasl::Server::start(mechanism, bindings, &authentication.nonce());
        let step = sasl.initial(initial.as_ref().map(|response| response.expose().as_slice()));
        self.take_step(tag.to_owned(), None, sasl, step);
    }

    /// Takes the client's response to a challenge.
    pub(super) fn read_response(&mut self) -> Advance {
        let line = match self.take_line(0) {
            None => return self.nothing_read(),
            Some(line) => line,
        };
        let Work::Login(exchange) = std::mem::take(&mut self.work) else { return Advance::Progress };
        let Exchange { tag, authcid, stage: Stage::Response(mut sasl) } = *exchange else {
            return Advance::Progress;
        };
        match line {
            // "the server MUST reject the AUTHENTICATE command by sending a tagged BAD response"
            Ok(line) if *line == *b"*" => self.bad(&tag, "Cancelled"),
            Ok(line) => match decode_base64(&line) {
                Ok(response) => {
                    let step = sasl.step(response.expose());
                    self.take_step(tag, authcid, sasl, step);
                }
                Err(_) => self.bad(&tag, "The response is not base64"),
            },
            Err(_) => self.bad(&tag, "The response is not base64"),
        }
        Advance::Progress
    }

    fn take_step(&mut self, tag: String, authcid: Option<String>, sasl: sasl::Server, step: ServerStep) {
        let exchange = |stage| Exchange { tag: tag.clone(), authcid: None, stage };
        match step {
            ServerStep::Challenge(challenge) => {
                self.output.extend_from_slice(b"+ ");
                self.output.extend_from_slice(encode_base64(&challenge).as_bytes());
                self.output.extend_from_slice(b"\r\n");
                self.work = Work::Login(Box::new(Exchange { tag, authcid, stage: Stage::Response(sasl) }));
            }
            ServerStep::Ask(Ask::Password { authzid, authcid, password }) => {
                self.ask_login(exchange, Login::Password { authzid, authcid, password });
            }
            ServerStep::Ask(Ask::ScramKeys { authcid, hash, .. }) => {
                self.event = Some(Event::ScramKeys { authcid: authcid.clone(), hash });
                let authcid = Some(authcid);
                self.work = Work::Login(Box::new(Exchange { tag, authcid, stage: Stage::KeysAsked(sasl) }));
            }
            // Of a mechanism that is not offered here.
            ServerStep::Ask(Ask::SharedSecret { .. }) => {
                self.bad(&tag, "The response does not follow the mechanism");
            }
            ServerStep::Done(done) => {
                let login = Login::Proved { authzid: done.authzid, authcid: done.authcid, key: done.key };
                self.ask_login(exchange, login);
            }
            ServerStep::Failed(failure) => match (failure, authcid) {
                (Failure::Rejected | Failure::ChannelBinding | Failure::Downgrade, Some(authcid)) => {
                    self.ask_login(exchange, Login::Disproved { authcid });
                }
                // Keys that do not fit the question are our mistake.
                (Failure::OutOfTurn, _) => self.fail(&tag, Refusal::Temporary),
                _ => self.bad(&tag, "The response does not follow the mechanism"),
            },
        }
    }

    fn ask_login(&mut self, exchange: impl FnOnce(Stage) -> Exchange, login: Login) {
        let disproved = matches!(login, Login::Disproved { .. });
        self.work = Work::Login(Box::new(exchange(Stage::LoginAsked { disproved })));
        self.event = Some(Event::Login(login));
    }

    /// Takes the exchange out if it waits for the owner.
    fn asked_exchange(&mut self) -> Option<Exchange> {
        match std::mem::take(&mut self.work) {
            Work::Login(exchange) if exchange.awaits_answer() => Some(*exchange),
            other => {
                self.work = other;
                None
            }
        }
    }

    /// The client of [`Event::Login`] may in.
    pub fn accept(&mut self) {
        let Some(exchange) = self.asked_exchange() else { return };
        match exchange.stage {
            Stage::LoginAsked { disproved: false } => {
                self.state = State::Authenticated;
                let code = Code::Capability(self.capabilities().into());
                self.tagged(&exchange.tag, &Completion::ok("Logged in").with(code));
            }
            _ => self.fail(&exchange.tag, Refusal::Credentials),
        }
    }

    /// The answer to [`Event::ScramKeys`]: the keys of each password of the account, all with one salt; for unknown names
    /// [`ScramKeys::fake`].
    pub fn scram_keys(&mut self, keys: Vec<ScramKeys>) {
        match self.asked_exchange() {
            Some(Exchange { tag, authcid, stage: Stage::KeysAsked(mut sasl) }) => {
                let step = sasl.scram_keys(keys);
                self.take_step(tag, authcid, sasl, step);
            }
            Some(other) => self.work = Work::Login(Box::new(other)),
            None => {}
        }
    }

    /// The client of [`Event::Login`] or [`Event::ScramKeys`] may not in. It may try again.
    pub fn refuse(&mut self, refusal: Refusal) {
        if let Some(exchange) = self.asked_exchange() {
            self.fail(&exchange.tag, refusal);
        }
    }

    fn fail(&mut self, tag: &str, refusal: Refusal) {
        let (code, text) = match refusal {
            Refusal::Credentials => (Code::AuthenticationFailed, "The name or password is wrong"),
            Refusal::NotAllowed => (Code::AuthorizationFailed, "You may not act as who you want to be"),
            Refusal::Temporary => (Code::Unavailable, "Logging in does not work now"),
        };
        self.tagged(tag, &Completion { status: Status::No, code: Some(code), text: text.into() });
        if refusal == Refusal::Temporary {
            return;
        }
        if let State::NotAuthenticated(authentication) = &mut self.state {
            authentication.failed_logins = authentication.failed_logins.saturating_add(1);
            if authentication.failed_logins >= self.config.max_failed_logins {
                self.bye(None, "Too many failed logins");
            }
        }
    }

    pub(super) fn starttls(&mut self, tag: &str) {
        if self.tls.is_some() {
            return self.bad(tag, "TLS runs already");
        }
        if !self.starttls_possible() {
            return self.bad(tag, "There is no TLS here");
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::NotAuthenticated(authentication) => {
                self.ok(tag, "Begin TLS now");
                // Commands that came along with STARTTLS were not sent by whoever does the handshake.
                self.input.clear();
                self.state = State::Handshake(authentication);
            }
            other => self.state = other,
        }
    }
}
