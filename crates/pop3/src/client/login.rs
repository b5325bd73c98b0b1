//! Logging in, by the best way both sides have.

use packetboat_wire::sasl::{self, ClientError, Credentials, Mechanism, decode_base64, encode_base64};
use packetboat_wire::{ChannelBinding, Secret};

use super::read::Status;
use super::{Client, Error, State};
use crate::{COMMAND_LINE_MAX, Command, apop};

/// What the login waits for.
#[derive(Debug)]
pub(super) enum Login {
    /// USER was sent.
    User { password: Secret<String> },
    /// PASS or APOP was sent.
    Password,
    /// AUTH or a response was sent.
    Sasl(Box<sasl::Client>),
    /// `*` was sent, because of this.
    Cancelled(ClientError),
}

impl Client {
    /// Chooses how to log in and begins.
    ///
    /// SCRAM comes before anything that shows the password, and SASL before USER and PASS. APOP is better than a
    /// password in the clear and worse than all else.
    pub(super) fn log_in(&mut self) {
        let Some(credentials) = self.config.credentials.clone() else {
            return self.ready();
        };
        let password_allowed = self.tls.is_some() || self.config.password_in_clear;
        let picked =
            sasl::pick(&self.capabilities.mechanisms(), self.tls.as_ref(), self.config.password_in_clear);
        // A server without CAPA has USER all the same (RFC 1939 section 9).
        let user_offered = self.capabilities.has("USER") || self.capabilities.lines().is_empty();
        match (picked, &self.timestamp) {
            (Some(mechanism), _) if !mechanism.sends_password() => {
                self.log_in_by_sasl(mechanism, credentials)
            }
            (_, Some(timestamp)) if self.config.apop && self.tls.is_none() => {
                let digest = apop::digest(timestamp, &credentials.password);
                self.log_in_by_name(&credentials, Login::Password, |name| Command::Apop { name, digest });
            }
            (Some(mechanism), _) => self.log_in_by_sasl(mechanism, credentials),
            (None, _) if password_allowed && user_offered => {
                let login = Login::User { password: credentials.password.clone() };
                self.log_in_by_name(&credentials, login, Command::User);
            }
            (None, _) => self.fail(Error::NoMechanism),
        }
    }

    fn log_in_by_name(
        &mut self,
        credentials: &Credentials,
        login: Login,
        command: impl FnOnce(String) -> Command,
    ) {
        let Credentials { username, password, authzid } = credentials;
        let ascii = username.is_ascii() && password.expose().is_ascii();
        let controls = username.chars().chain(password.expose().chars()).any(char::is_control);
        // "Clients MUST NOT use UTF-8 characters when authenticating if the server did not include the USER argument"
        // (RFC 6856 section 2.2). And nothing here can say whom to act as.
        if authzid.is_some() || controls || !(ascii || self.capabilities.utf8_user()) {
            return self.fail(ClientError::Unfit("USER").into());
        }
        command(username.clone()).encode(&mut self.output);
        self.state = State::LoggingIn(login);
    }

    fn log_in_by_sasl(&mut self, mechanism: Mechanism, credentials: Credentials) {
        let initial_fits = initial_fits(mechanism, &credentials);
        let bindings: &[ChannelBinding] = self.tls.as_ref().map_or(&[], |tls| &tls.bindings);
        let mut sasl = match sasl::Client::new(mechanism, credentials, bindings, &self.seed) {
            Ok(sasl) => Box::new(sasl),
            Err(error) => return self.fail(error.into()),
        };
        let initial = if initial_fits { sasl.initial() } else { None };
        let initial = initial.map(|response| match response.expose().as_slice() {
            // RFC 5034 section 4: "the response is present, but contains no data".
            [] => "=".into(),
            response => encode_base64(response).into(),
        });
        Command::Auth { mechanism: mechanism.name().to_owned(), initial }.encode(&mut self.output);
        self.state = State::LoggingIn(Login::Sasl(sasl));
    }

    /// Takes the server's answer to a step of the login.
    pub(super) fn login_answered(&mut self, login: Login, status: Status) {
        match (login, status) {
            (Login::User { password }, Status::Ok(_)) => {
                Command::Pass(password).encode(&mut self.output);
                self.state = State::LoggingIn(Login::Password);
            }
            (Login::Password, Status::Ok(_)) => self.ready(),
            (Login::Sasl(sasl), Status::Ok(_)) => match sasl.success() {
                Ok(()) => self.ready(),
                Err(error) => self.fail(error.into()),
            },
            (Login::Sasl(sasl), Status::Challenge(challenge)) => self.answer_challenge(sasl, &challenge),
            (Login::Cancelled(error), Status::Err(_)) => self.fail(error.into()),
            (_, Status::Err(refused)) => self.fail(Error::Login(refused)),
            (Login::Cancelled(_), _) => self.fail(Error::Protocol("a login goes on that was cancelled")),
            (_, Status::Challenge(_)) => self.fail(Error::Protocol("a challenge that nobody asked for")),
        }
    }

    fn answer_challenge(&mut self, mut sasl: Box<sasl::Client>, challenge: &str) {
        let answer = match decode_base64(challenge.as_bytes()) {
            Ok(challenge) => sasl.step(challenge.expose()),
            Err(_) => Err(ClientError::Malformed),
        };
        match answer {
            Ok(response) => {
                self.output.extend_from_slice(encode_base64(response.expose()).as_bytes());
                self.output.extend_from_slice(b"\r\n");
                self.state = State::LoggingIn(Login::Sasl(sasl));
            }
            Err(error) => {
                self.output.extend_from_slice(b"*\r\n");
                self.state = State::LoggingIn(Login::Cancelled(error));
            }
        }
    }
}

/// Whether AUTH with an initial response, which saves a round trip, stays within the length of a command (RFC 5034
/// section 4). The estimate is generous.
fn initial_fits(mechanism: Mechanism, credentials: &Credentials) -> bool {
    /// What messages have besides names and passwords: SCRAM's header, nonce and attributes.
    const OVERHEAD: usize = 64;
    let Credentials { username, password, authzid } = credentials;
    let password = if mechanism.sends_password() { password.expose().len() } else { 0 };
    // A name in SCRAM may be escaped to three times its length.
    let names = 3 * (username.len() + authzid.as_ref().map_or(0, String::len));
    let message = (names + password + OVERHEAD).div_ceil(3) * 4;
    "AUTH  \r\n".len() + mechanism.name().len() + message <= COMMAND_LINE_MAX
}
