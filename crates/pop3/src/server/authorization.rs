//! The AUTHORIZATION state: who is there, and may they in?

use std::fmt::Write;

use packetboat_wire::Secret;
use packetboat_wire::sasl::{
    self, Ask, Failure, Mechanism, ScramKeys, ServerStep, decode_base64, decode_initial_response,
    encode_base64,
};

use super::{Advance, Event, Login, Refusal, Server, State, line_max};
use crate::Command;
use crate::reply::Reply;

/// What a session knows before the login.
#[derive(Debug, Default)]
pub(super) struct Authorization {
    /// The name USER gave, prepared.
    user: Option<String>,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    /// A command has to come.
    #[default]
    Command,
    /// A response to a SASL challenge has to come.
    Response(Exchange),
    /// The owner looks for SCRAM keys.
    KeysAsked(Exchange),
    /// The owner decides about a login.
    LoginAsked { disproved: bool },
    /// The owner opens the maildrop.
    Opening,
}

#[derive(Debug)]
struct Exchange {
    sasl: Box<sasl::Server>,
    /// Who it is about, once SCRAM has told.
    authcid: Option<String>,
}

impl Authorization {
    pub(super) fn opening(&self) -> bool {
        matches!(self.stage, Stage::Opening)
    }

    pub(super) fn awaits_answer(&self) -> bool {
        matches!(self.stage, Stage::KeysAsked(_) | Stage::LoginAsked { .. } | Stage::Opening)
    }
}

impl Server {
    pub(super) fn advance_authorization(&mut self) -> Advance {
        if self.awaits_answer() {
            return Advance::Blocked;
        }
        match self.take_line(line_max(&self.state)) {
            Ok(Some(line)) => match self.stage() {
                Stage::Response(exchange) => self.take_response(exchange, &line),
                _ => match Command::parse(&line, self.config.strictness) {
                    Ok(command) => self.authorization_command(command),
                    Err(invalid) => self.invalid(invalid),
                },
            },
            Ok(None) if matches!(self.state, State::Closed) => {}
            Ok(None) => return Advance::Blocked,
            Err(error) => {
                // An exchange whose response cannot be read has failed; the next line is a command again.
                self.stage();
                self.unreadable(error);
            }
        }
        Advance::Progress
    }

    /// Takes the stage out, leaving that a command has to come.
    fn stage(&mut self) -> Stage {
        match &mut self.state {
            State::Authorization(authorization) => std::mem::take(&mut authorization.stage),
            _ => Stage::Command,
        }
    }

    fn set_stage(&mut self, stage: Stage) {
        if let State::Authorization(authorization) = &mut self.state {
            authorization.stage = stage;
        }
    }

    fn authorization_command(&mut self, command: Command) {
        match command {
            Command::User(name) => self.user(&name),
            Command::Pass(password) => self.pass(password),
            Command::Apop { name, digest } => self.apop(&name, digest),
            Command::AuthList => self.list_mechanisms(),
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial.as_ref()),
            Command::Capa => self.list_capabilities(),
            Command::Stls => self.stls(),
            Command::Utf8 => {
                self.utf8 = true;
                self.reply(Reply::Utf8Enabled);
            }
            Command::Lang(None) => self.list_languages(),
            Command::Lang(Some(range)) => self.choose_language(&range),
            Command::Quit => {
                let config = self.config.clone();
                self.say_goodbye(Reply::Goodbye { hostname: &config.hostname });
            }
            Command::Stat
            | Command::List(_)
            | Command::Retr(_)
            | Command::Dele(_)
            | Command::Noop
            | Command::Rset
            | Command::Top { .. }
            | Command::Uidl(_) => self.mistake(Reply::LoginFirst),
        }
    }

    /// Whether such a name exists is not told: the answer is the same for any (RFC 2449 section 8.1.1, RFC 3206
    /// section 5).
    fn user(&mut self, name: &str) {
        if !self.password_allowed() {
            return self.mistake(Reply::PlaintextForbidden);
        }
        let Some(name) = sasl::prepare(name) else {
            return self.mistake(Reply::BadArguments);
        };
        if let State::Authorization(authorization) = &mut self.state {
            authorization.user = Some(name);
        }
        self.reply(Reply::SendPassword);
    }

    fn pass(&mut self, password: Secret<String>) {
        let user = match &mut self.state {
            State::Authorization(authorization) => authorization.user.take(),
            _ => None,
        };
        match user {
            Some(authcid) => self.ask_login(Login::Password { authzid: None, authcid, password }),
            None => self.mistake(Reply::UserFirst),
        }
    }

    fn apop(&mut self, name: &str, digest: [u8; 16]) {
        let Some(timestamp) = self.timestamp() else {
            return self.mistake(Reply::ApopUnavailable);
        };
        match sasl::prepare(name) {
            Some(authcid) => self.ask_login(Login::Apop { authcid, timestamp, digest }),
            None => self.mistake(Reply::BadArguments),
        }
    }

    /// The timestamp of the banner: "MUST be different each time the POP3 server issues a banner greeting" (RFC 1939
    /// section 7).
    pub(super) fn timestamp(&self) -> Option<String> {
        if !self.config.apop {
            return None;
        }
        let mut timestamp = String::from("<");
        for octet in self.seed.iter().take(12) {
            // Writing into memory does not fail.
            let _ = write!(timestamp, "{octet:02x}");
        }
        let _ = write!(timestamp, "@{}>", self.config.hostname);
        Some(timestamp)
    }

    /// A nonce for SCRAM: random octets the banner does not show, and which of the session's attempts this is.
    fn nonce(&self) -> Vec<u8> {
        let mut nonce: Vec<u8> = self.seed.iter().skip(12).copied().collect();
        nonce.extend_from_slice(&self.exchanges.to_be_bytes());
        nonce
    }

    fn stls(&mut self) {
        if self.tls.is_some() {
            self.mistake(Reply::TlsActive);
        } else if !self.stls_possible() {
            self.mistake(Reply::TlsUnavailable);
        } else if self.utf8 {
            self.mistake(Reply::TlsAfterUtf8);
        } else {
            self.reply(Reply::BeginTls);
            // Commands that came along with STLS were not sent by whoever does the handshake.
            self.input.clear();
            self.state = State::Handshake;
        }
    }

    fn auth(&mut self, name: &str, initial: Option<&Secret<String>>) {
        let mechanism = match Mechanism::parse(name) {
            Some(mechanism) if self.mechanisms().any(|offered| offered == mechanism) => mechanism,
            Some(mechanism) if mechanism.sends_password() && self.config.mechanisms.contains(&mechanism) => {
                return self.mistake(Reply::PlaintextForbidden);
            }
            _ => return self.mistake(Reply::UnknownMechanism),
        };
        let initial = match initial.map(|text| decode_initial_response(text.expose().as_bytes())) {
            None => None,
            Some(Ok(response)) => Some(response),
            Some(Err(_)) => return self.mistake(Reply::BadResponse),
        };
        self.exchanges = self.exchanges.saturating_add(1);
        let offers_plus = self.mechanisms().any(Mechanism::binds_channel);
        let bindings = match &self.tls {
            Some(tls) if offers_plus => tls.bindings.as_slice(),
            _ => &[],
        };
        let mut sasl = Box::new(sasl::Server::start(mechanism, bindings, &self.nonce()));
        let step = sasl.initial(initial.as_ref().map(|response| response.expose().as_slice()));
        self.carry_out(step, Exchange { sasl, authcid: None });
    }

    fn take_response(&mut self, mut exchange: Exchange, line: &[u8]) {
        if line == b"*" {
            return self.mistake(Reply::Cancelled);
        }
        match decode_base64(line) {
            Ok(response) => {
                let step = exchange.sasl.step(response.expose());
                self.carry_out(step, exchange);
            }
            Err(_) => self.mistake(Reply::BadResponse),
        }
    }

    fn carry_out(&mut self, step: ServerStep, exchange: Exchange) {
        match step {
            ServerStep::Challenge(challenge) => {
                self.output.extend_from_slice(b"+ ");
                self.output.extend_from_slice(encode_base64(&challenge).as_bytes());
                self.output.extend_from_slice(b"\r\n");
                self.set_stage(Stage::Response(exchange));
            }
            ServerStep::Ask(Ask::Password { authzid, authcid, password }) => {
                self.ask_login(Login::Password { authzid, authcid, password });
            }
            ServerStep::Ask(Ask::ScramKeys { authcid, hash, .. }) => {
                self.event = Some(Event::ScramKeys { authcid: authcid.clone(), hash });
                self.set_stage(Stage::KeysAsked(Exchange { authcid: Some(authcid), ..exchange }));
            }
            // Of a mechanism that is not offered here.
            ServerStep::Ask(Ask::SharedSecret { .. }) => self.mistake(Reply::BadResponse),
            ServerStep::Done(done) => {
                self.ask_login(Login::Proved { authzid: done.authzid, authcid: done.authcid, key: done.key });
            }
            ServerStep::Failed(failure) => match (failure, exchange.authcid) {
                (Failure::Rejected | Failure::ChannelBinding | Failure::Downgrade, Some(authcid)) => {
                    self.ask_login(Login::Disproved { authcid });
                }
                // Keys that do not fit the question are our mistake.
                (Failure::OutOfTurn, _) => self.reply(Reply::TemporaryFailure),
                _ => self.mistake(Reply::BadResponse),
            },
        }
    }

    fn ask_login(&mut self, login: Login) {
        self.set_stage(Stage::LoginAsked { disproved: matches!(login, Login::Disproved { .. }) });
        self.event = Some(Event::Login(login));
    }

    /// The client of [`Event::Login`] may in; [`Event::OpenMaildrop`] comes next.
    pub fn accept(&mut self) {
        match self.stage() {
            Stage::LoginAsked { disproved: false } => {
                self.set_stage(Stage::Opening);
                self.event = Some(Event::OpenMaildrop);
            }
            Stage::LoginAsked { disproved: true } => self.refused(Refusal::Credentials),
            other => self.set_stage(other),
        }
    }

    /// The answer to [`Event::ScramKeys`]: the keys of each password of the account, all with one salt.
    pub fn scram_keys(&mut self, keys: Vec<ScramKeys>) {
        match self.stage() {
            Stage::KeysAsked(mut exchange) => {
                let step = exchange.sasl.scram_keys(keys);
                self.carry_out(step, exchange);
            }
            other => self.set_stage(other),
        }
    }

    /// The client of [`Event::Login`] or [`Event::ScramKeys`] may not in, or the maildrop of [`Event::OpenMaildrop`]
    /// cannot be opened. The client may try again.
    pub fn refuse(&mut self, refusal: Refusal) {
        match self.stage() {
            Stage::LoginAsked { .. } | Stage::KeysAsked(_) | Stage::Opening => self.refused(refusal),
            other => self.set_stage(other),
        }
    }

    fn refused(&mut self, refusal: Refusal) {
        if refusal == Refusal::Credentials {
            self.failed_logins = self.failed_logins.saturating_add(1);
            if self.failed_logins >= self.config.max_failed_logins {
                return self.say_goodbye(Reply::TooManyLogins);
            }
        }
        self.reply(match refusal {
            Refusal::Credentials => Reply::WrongCredentials,
            Refusal::InUse => Reply::InUse,
            Refusal::LoginDelay => Reply::LoginDelay,
            Refusal::Temporary => Reply::TemporaryFailure,
            Refusal::Permanent => Reply::PermanentFailure,
        });
    }
}
