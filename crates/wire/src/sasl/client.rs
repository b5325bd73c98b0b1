//! The side that wants in.

use thiserror::Error;

use super::scram::{
    SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN, SERVER_KEY, ScramHash, attribute, escape_name, is_nonce,
};
use super::{MESSAGE_MAX, Mechanism, decode_base64, encode_base64, prepare};
use crate::secret::{Secret, constant_time_eq};
use crate::session::ChannelBinding;

/// One authentication exchange, seen from the client.
#[derive(Debug)]
pub struct Client {
    state: State,
}

/// Who wants in.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The name the password belongs to.
    pub username: String,
    /// The password.
    pub password: Secret<String>,
    /// Whom to act as, if not as `username`.
    pub authzid: Option<String>,
}

/// Why a client gave up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The name or password has characters the mechanism cannot carry.
    #[error("the name or password has characters that {0} cannot carry")]
    Unfit(&'static str),
    /// The mechanism needs TLS with channel binding data.
    #[error("the mechanism needs a TLS connection to bind to")]
    NoChannel,
    /// The server's message is not as the mechanism wants it.
    #[error("the server does not follow the mechanism")]
    Malformed,
    /// The server wants fewer or more rounds of hashing than this client will do.
    #[error("the server asks for {0} rounds of hashing")]
    Iterations(u32),
    /// The server does not know our keys: it is somebody else.
    #[error("the server could not prove that it knows the account")]
    ServerSignature,
    /// The server says in SCRAM why it refuses.
    #[error("the server refuses: {0}")]
    Refused(String),
    /// The server says that it is satisfied, but has not proved who it is.
    #[error("the server ended the exchange before its time")]
    Early,
}

#[derive(Debug)]
enum State {
    PlainStart {
        message: Secret<Vec<u8>>,
    },
    LoginStart {
        credentials: Credentials,
    },
    LoginNameSent {
        password: Secret<String>,
    },
    ScramStart {
        scram: Scram,
    },
    ScramFirstSent {
        scram: Scram,
    },
    ScramProofSent {
        signature: Secret<Vec<u8>>,
    },
    /// The server has all it needs, and has proved itself where the mechanism lets it.
    Complete,
    Failed,
}

#[derive(Debug)]
struct Scram {
    hash: ScramHash,
    /// What to be sent after `c=`: the gs2 header, then the binding data.
    channel: Vec<u8>,
    /// `n,,` and the like.
    header: String,
    bare: String,
    nonce: String,
    password: Secret<String>,
}

impl Client {
    /// Begins an exchange.
    ///
    /// `bindings` are those of the TLS connection. If a mechanism without -PLUS is used although there are some, the
    /// server is told that it offered none, and refuses if it did; so leave them out where its -PLUS was passed over on
    /// purpose. `nonce` is random and fresh, 18 octets or more.
    pub fn new(
        mechanism: Mechanism,
        credentials: Credentials,
        bindings: &[ChannelBinding],
        nonce: &[u8],
    ) -> Result<Client, ClientError> {
        let unfit = || ClientError::Unfit(mechanism.name());
        let Credentials { username, password, authzid } = &credentials;
        let has_nul = [Some(username), Some(password.expose()), authzid.as_ref()]
            .iter()
            .flatten()
            .any(|text| text.contains('\0'));
        if has_nul || username.is_empty() || password.expose().is_empty() {
            return Err(unfit());
        }
        let state = match mechanism.scram_hash() {
            Some(hash) => {
                let header = gs2_header(mechanism, authzid.as_deref(), bindings)?;
                let mut channel = header.clone().into_bytes();
                if mechanism.binds_channel() {
                    channel.extend_from_slice(bindings.first().ok_or(ClientError::NoChannel)?.data());
                }
                let name = escape_name(&prepare(username).ok_or_else(unfit)?);
                let nonce = encode_base64(nonce);
                let bare = format!("n={name},r={nonce}");
                State::ScramStart {
                    scram: Scram { hash, channel, header, bare, nonce, password: password.clone() },
                }
            }
            None if mechanism == Mechanism::CramMd5 => return Err(unfit()),
            None if mechanism == Mechanism::Login => State::LoginStart { credentials },
            None => {
                let authzid = authzid.as_deref().unwrap_or("");
                let message = format!("{authzid}\0{username}\0{}", password.expose());
                State::PlainStart { message: Secret::new(message.into_bytes()) }
            }
        };
        Ok(Client { state })
    }

    /// What to send with the command, if the mechanism lets the client speak first. If it cannot be sent there, do not
    /// call this: the server sends an empty challenge, and [`step`](Client::step) answers with it.
    pub fn initial(&mut self) -> Option<Secret<Vec<u8>>> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::PlainStart { message } => {
                self.state = State::Complete;
                Some(message)
            }
            State::ScramStart { scram } => {
                let message = format!("{}{}", scram.header, scram.bare);
                self.state = State::ScramFirstSent { scram };
                Some(Secret::new(message.into_bytes()))
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Answers a challenge.
    pub fn step(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, ClientError> {
        if let Some(initial) = self.initial() {
            return Ok(initial);
        }
        if challenge.len() > MESSAGE_MAX {
            self.state = State::Failed;
            return Err(ClientError::Malformed);
        }
        match std::mem::replace(&mut self.state, State::Failed) {
            // What a LOGIN challenge says differs from server to server; the order does not.
            State::LoginStart { credentials } => {
                self.state = State::LoginNameSent { password: credentials.password };
                Ok(Secret::new(credentials.username.into_bytes()))
            }
            State::LoginNameSent { password } => {
                self.state = State::Complete;
                Ok(Secret::new(password.expose().clone().into_bytes()))
            }
            State::ScramFirstSent { scram } => {
                let challenge = std::str::from_utf8(challenge).map_err(|_| ClientError::Malformed)?;
                let (message, signature) = scram.client_final(challenge)?;
                self.state = State::ScramProofSent { signature };
                Ok(Secret::new(message.into_bytes()))
            }
            State::ScramProofSent { signature } => {
                let challenge = std::str::from_utf8(challenge).map_err(|_| ClientError::Malformed)?;
                check_signature(challenge, signature.expose())?;
                self.state = State::Complete;
                Ok(Secret::default())
            }
            State::PlainStart { .. } | State::ScramStart { .. } | State::Complete | State::Failed => {
                Err(ClientError::Malformed)
            }
        }
    }

    /// The server says that we are in. With SCRAM that is believed only from a server that has proved to know the
    /// account.
    pub fn success(self) -> Result<(), ClientError> {
        match self.state {
            State::Complete => Ok(()),
            _ => Err(ClientError::Early),
        }
    }
}

impl Scram {
    /// Answers a server-first-message; also says which signature the server must then send.
    ///
    /// ```text
    /// server-first-message = [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions]
    /// ```
    fn client_final(&self, server_first: &str) -> Result<(String, Secret<Vec<u8>>), ClientError> {
        let mut parts = server_first.split(',');
        let nonce = attribute(parts.next(), 'r').ok_or(ClientError::Malformed)?;
        let added = nonce.strip_prefix(&self.nonce);
        if !added.is_some_and(is_nonce) {
            return Err(ClientError::Malformed);
        }
        let salt = attribute(parts.next(), 's').ok_or(ClientError::Malformed)?;
        let salt = decode_base64(salt.as_bytes()).map_err(|_| ClientError::Malformed)?;
        let iterations =
            attribute(parts.next(), 'i').and_then(|i| i.parse().ok()).ok_or(ClientError::Malformed)?;
        if !(SCRAM_ITERATIONS_MIN..=SCRAM_ITERATIONS_MAX).contains(&iterations) {
            return Err(ClientError::Iterations(iterations));
        }
        let salted = self
            .hash
            .salted_password(self.password.expose(), salt.expose(), iterations)
            .ok_or(ClientError::Unfit("SCRAM"))?;
        let without_proof = format!("c={},r={nonce}", encode_base64(&self.channel));
        let auth_message = format!("{},{server_first},{without_proof}", self.bare);
        let proof = self.hash.client_proof(salted.expose(), &auth_message);
        let server_key = self.hash.hmac(salted.expose(), SERVER_KEY);
        let signature = self.hash.hmac(server_key.expose(), auth_message.as_bytes());
        Ok((format!("{without_proof},p={}", encode_base64(&proof)), signature))
    }
}

/// `server-final-message = (server-error / verifier) ["," extensions]`
fn check_signature(server_final: &str, expected: &[u8]) -> Result<(), ClientError> {
    let first = server_final.split(',').next();
    if let Some(error) = attribute(first, 'e') {
        let printable = error.chars().filter(|c| !c.is_control()).take(REASON_MAX).collect();
        return Err(ClientError::Refused(printable));
    }
    let signature = attribute(first, 'v').ok_or(ClientError::Malformed)?;
    let signature = decode_base64(signature.as_bytes()).map_err(|_| ClientError::Malformed)?;
    if constant_time_eq(signature.expose(), expected) { Ok(()) } else { Err(ClientError::ServerSignature) }
}

/// Characters kept of a server's reason.
const REASON_MAX: usize = 100;

fn gs2_header(
    mechanism: Mechanism,
    authzid: Option<&str>,
    bindings: &[ChannelBinding],
) -> Result<String, ClientError> {
    let flag = match (mechanism.binds_channel(), bindings.first()) {
        (true, None) => return Err(ClientError::NoChannel),
        (true, Some(binding)) => format!("p={}", binding.name()),
        (false, Some(_)) => "y".to_owned(),
        (false, None) => "n".to_owned(),
    };
    let authzid = match authzid {
        None | Some("") => String::new(),
        Some(name) => {
            let name = prepare(name).ok_or(ClientError::Unfit(mechanism.name()))?;
            format!("a={}", escape_name(&name))
        }
    };
    Ok(format!("{flag},{authzid},"))
}

#[cfg(test)]
impl Client {
    /// The examples of the RFCs have nonces that are no base64.
    pub(super) fn set_nonce_for_test(&mut self, nonce: &str) {
        if let State::ScramStart { scram } = &mut self.state {
            scram.bare = scram.bare.replace("r=", &format!("r={nonce}"));
            scram.nonce = nonce.to_owned();
        }
    }
}
