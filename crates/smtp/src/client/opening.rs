//! From the greeting to readiness: EHLO, STARTTLS, AUTH.

use packetboat_wire::sasl::{self, ClientError, Credentials, Mechanism, decode_base64, encode_base64};
use packetboat_wire::{Reply, ReplyClass, Secret};

use super::{Capabilities, Client, Error, Protocol, Stage, State, TlsPolicy};

/// Octets of an AUTH line at most; a longer initial response is sent when it is asked for (RFC 4954 section 4).
const AUTH_LINE_MAX: usize = 512;

/// Replies that mean "not this mechanism", after which another one is tried (RFC 4954 section 6).
const OTHER_MECHANISM: [u16; 3] = [432, 504, 534];

impl Client {
    pub(super) fn greeting(&mut self, reply: Reply) {
        match reply.code() {
            220 => self.say_hello(false),
            _ => self.fail_at(Stage::Greeting, reply),
        }
    }

    pub(super) fn say_hello(&mut self, helo: bool) {
        let verb = match self.config.protocol {
            Protocol::Lmtp => "LHLO",
            Protocol::Smtp if helo => "HELO",
            Protocol::Smtp => "EHLO",
        };
        let line = format!("{verb} {}", self.config.hello_name);
        self.command(&line);
        self.state = State::Hello { helo };
    }

    pub(super) fn hello(&mut self, reply: Reply, helo: bool) {
        match reply.class() {
            ReplyClass::Completion => {
                self.capabilities = if helo { Capabilities::default() } else { Capabilities::parse(&reply) };
                self.secure();
            }
            // "in which case the client SHOULD [...] fall back to HELO" (RFC 5321 section 3.2).
            ReplyClass::Permanent if !helo && self.config.protocol == Protocol::Smtp => self.say_hello(true),
            _ => self.fail_at(Stage::Hello, reply),
        }
    }

    fn secure(&mut self) {
        match self.config.tls {
            _ if self.tls.is_some() => self.authenticate(),
            TlsPolicy::Never => self.authenticate(),
            TlsPolicy::Opportunistic | TlsPolicy::Required if self.capabilities.starttls => {
                self.command("STARTTLS");
                self.state = State::StartTls;
            }
            TlsPolicy::Opportunistic => self.authenticate(),
            TlsPolicy::Required => self.fail(Error::TlsNotOffered),
        }
    }

    pub(super) fn starttls(&mut self, reply: Reply) {
        let refused = matches!(reply.class(), ReplyClass::Transient | ReplyClass::Permanent);
        if reply.code() == 220 {
            self.state = State::Handshake { begun: false };
        } else if refused && self.config.tls == TlsPolicy::Opportunistic {
            self.authenticate();
        } else {
            self.fail_at(Stage::StartTls, reply);
        }
    }

    fn authenticate(&mut self) {
        let Some(credentials) = &self.config.credentials else { return self.become_ready() };
        let offered = &self.capabilities.mechanisms;
        let left: Vec<Mechanism> = offered.iter().copied().filter(|one| !self.tried.contains(one)).collect();
        let picked = sasl::pick(&left, self.tls.as_deref(), self.config.password_in_clear);
        let Some(mechanism) = picked else { return self.fail(Error::NoMechanism) };
        let bindings = match &self.tls {
            // To say "you offered no channel binding" to a server that did would look like an attack (RFC 5802
            // section 6).
            Some(_) if !mechanism.binds_channel() && offered.iter().any(|one| one.binds_channel()) => &[],
            Some(tls) => tls.bindings.as_slice(),
            None => &[],
        };
        let initial_fits = fits_initial(credentials);
        // Each exchange has a nonce of its own.
        let nonce = [self.nonce.as_slice(), &[self.tried.len() as u8]].concat();
        match sasl::Client::new(mechanism, credentials.clone(), bindings, &nonce) {
            Err(error) => self.fail(Error::Login(error)),
            Ok(mut sasl) => {
                let initial = if initial_fits { sasl.initial() } else { None };
                let argument = match initial {
                    None => String::new(),
                    Some(initial) => format!(" {}", encode_base64(initial.expose())),
                };
                self.command(&format!("AUTH {}{argument}", mechanism.name()));
                self.tried.push(mechanism);
                self.state = State::Auth { mechanism, sasl: Box::new(sasl) };
            }
        }
    }

    pub(super) fn auth(&mut self, reply: Reply) {
        let State::Auth { mechanism, mut sasl } = std::mem::replace(&mut self.state, State::Closing) else {
            return;
        };
        match reply.code() {
            334 => match respond(&mut sasl, reply.text()) {
                Ok(response) => {
                    self.command(&encode_base64(response.expose()));
                    self.state = State::Auth { mechanism, sasl };
                }
                Err(error) => {
                    self.command("*");
                    self.fail(Error::Login(error));
                }
            },
            _ if reply.class() == ReplyClass::Completion => match sasl.success() {
                Ok(()) => self.become_ready(),
                Err(error) => self.fail(Error::Login(error)),
            },
            code if OTHER_MECHANISM.contains(&code) && self.another_mechanism() => self.authenticate(),
            _ => self.fail_at(Stage::Auth, reply),
        }
    }

    /// Whether there is a mechanism left to try.
    fn another_mechanism(&self) -> bool {
        let offered = self.capabilities.mechanisms.iter().copied();
        let left: Vec<Mechanism> = offered.filter(|one| !self.tried.contains(one)).collect();
        sasl::pick(&left, self.tls.as_deref(), self.config.password_in_clear).is_some()
    }
}

fn respond(sasl: &mut sasl::Client, challenge: &str) -> Result<Secret<Vec<u8>>, ClientError> {
    let challenge = decode_base64(challenge.trim_end().as_bytes()).map_err(|_| ClientError::Malformed)?;
    sasl.step(challenge.expose())
}

/// Whether any initial response made of these fits into an AUTH line. Generous: SCRAM may escape each character of a
/// name by three.
fn fits_initial(credentials: &Credentials) -> bool {
    let authzid = credentials.authzid.as_ref().map_or(0, String::len);
    let octets = 3 * (credentials.username.len() + authzid) + credentials.password.expose().len() + 100;
    octets.div_ceil(3) * 4 + "AUTH SCRAM-SHA-256-PLUS \r\n".len() <= AUTH_LINE_MAX
}
