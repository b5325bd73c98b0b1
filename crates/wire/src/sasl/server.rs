//! The side that wants to know who is there.

use thiserror::Error;

use super::cram::CramProof;
use super::scram::{ScramHash, ScramKeys, attribute, is_nonce, unescape_name};
use super::{MESSAGE_MAX, Mechanism, decode_base64, encode_base64, prepare};
use crate::secret::{Secret, constant_time_eq};
use crate::session::ChannelBinding;

/// One authentication exchange, seen from the server.
#[derive(Debug)]
pub struct Server {
    state: State,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an exchange goes on only if its step is carried out"]
pub enum ServerStep {
    /// Send this to the client and hand its response to [`Server::step`].
    Challenge(Vec<u8>),
    /// Find out, and answer by the method the question names.
    Ask(Ask),
    /// The client is who it says.
    Done(Done),
    /// It is not, or did not keep to the mechanism.
    Failed(Failure),
}

/// A question about an account.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// Is this the password? Answer by [`Server::accept`] or [`Server::reject`].
    Password {
        /// Whom the client wants to act as, if not as itself.
        authzid: Option<String>,
        /// Who the client says it is, SASLprepared.
        authcid: String,
        /// As the client sent it: what is stored was prepared from what was typed, and so must this be.
        password: Secret<String>,
    },
    /// What are the keys? Answer by [`Server::scram_keys`]. For an unknown name give [`ScramKeys::fake`]: the exchange
    /// then fails at the proof, as it does for a wrong password. [`Server::reject`] ends it here, and tells.
    ScramKeys {
        /// Whom the client wants to act as, if not as itself.
        authzid: Option<String>,
        /// Who the client says it is, SASLprepared.
        authcid: String,
        /// Which kind of keys.
        hash: ScramHash,
    },
    /// Is this proof by the account's shared secret? Answer by [`Server::accept`] or [`Server::reject`].
    SharedSecret {
        /// Who the client says it is, SASLprepared.
        authcid: String,
        /// What it has shown.
        proof: CramProof,
    },
}

/// Who was authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Whose credentials they were.
    pub authcid: String,
    /// Whom the client wants to act as, if not as itself. Whether it may is for the owner to decide.
    pub authzid: Option<String>,
    /// Which of the keys given to [`Server::scram_keys`] the proof was made with; 0 for other mechanisms.
    pub key: usize,
}

/// Why an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Failure {
    /// The name, password or proof is wrong.
    #[error("the credentials are wrong")]
    Rejected,
    /// The client's message is not as the mechanism wants it.
    #[error("the message does not follow the mechanism")]
    Malformed,
    /// The client's message is longer than [`MESSAGE_MAX`].
    #[error("the message is too long")]
    TooLong,
    /// The client believes we cannot bind to the TLS channel, but we offered to: somebody in the middle has changed
    /// our offer (RFC 5802 section 6).
    #[error("the offer of channel binding did not reach the client")]
    Downgrade,
    /// The client is bound to another TLS channel than ours, or by a kind of binding that we do not have.
    #[error("the client is not bound to this channel")]
    ChannelBinding,
    /// A method was called that the state does not expect. Our own mistake, not the client's.
    #[error("the exchange was driven out of turn")]
    OutOfTurn,
}

#[derive(Debug)]
enum State {
    /// Nothing has come.
    Start { mechanism: Mechanism, scram: Offer },
    /// The challenge of CRAM-MD5 has been sent.
    Challenged { challenge: String },
    /// LOGIN has asked for the name.
    LoginName,
    /// LOGIN has asked for the password.
    LoginPassword { authcid: String },
    /// The owner has been asked about a password.
    PasswordAsked { done: Done },
    /// The owner has been asked for keys.
    KeysAsked { hash: ScramHash, first: ClientFirst, nonce: String },
    /// The salt has been sent; the proof must come.
    Proof { hash: ScramHash, first: ClientFirst, keys: Vec<ScramKeys>, server_first: String, nonce: String },
    /// The signature has been sent; an empty response must come (RFC 5802 section 5, for protocols whose success
    /// carries no data).
    SignatureSent { done: Done },
    /// Done or failed.
    Ended,
}

/// What the server has for SCRAM.
#[derive(Debug)]
struct Offer {
    bindings: Vec<ChannelBinding>,
    nonce: String,
}

/// A client-first-message, taken apart.
#[derive(Debug)]
struct ClientFirst {
    /// `n,,` and the like, then the binding data: what `c=` of the final message must say.
    channel: Vec<u8>,
    /// `client-first-message-bare`.
    bare: String,
    client_nonce: String,
    who: Done,
}

impl Server {
    /// Begins an exchange.
    ///
    /// `bindings` are those of the TLS connection, and empty if no -PLUS mechanism was offered: a client that says the
    /// server offered none is otherwise refused. `nonce` is random and fresh, 18 octets or more.
    pub fn start(mechanism: Mechanism, bindings: &[ChannelBinding], nonce: &[u8]) -> Server {
        let scram = Offer { bindings: bindings.to_vec(), nonce: encode_base64(nonce) };
        Server { state: State::Start { mechanism, scram } }
    }

    /// Takes the initial response, or `None` if the client sent none with the command.
    pub fn initial(&mut self, response: Option<&[u8]>) -> ServerStep {
        match (response, &self.state) {
            (Some(response), _) => self.step(response),
            (None, State::Start { mechanism: Mechanism::Login, .. }) => {
                self.go(State::LoginName, ServerStep::Challenge(b"Username:".to_vec()))
            }
            (None, State::Start { mechanism: Mechanism::CramMd5, scram }) => {
                // In the form of a Message-ID (RFC 2195 section 2).
                let nonce: String = scram.nonce.chars().filter(char::is_ascii_alphanumeric).collect();
                let challenge = format!("<{nonce}@cram.invalid>");
                let step = ServerStep::Challenge(challenge.clone().into_bytes());
                self.go(State::Challenged { challenge }, step)
            }
            (None, State::Start { .. }) => ServerStep::Challenge(Vec::new()),
            (None, _) => self.fail(Failure::OutOfTurn),
        }
    }

    /// Takes the client's response to a challenge.
    pub fn step(&mut self, response: &[u8]) -> ServerStep {
        if response.len() > MESSAGE_MAX {
            return self.fail(Failure::TooLong);
        }
        let Ok(response) = std::str::from_utf8(response) else {
            return self.fail(Failure::Malformed);
        };
        let step = match std::mem::replace(&mut self.state, State::Ended) {
            State::Start { mechanism: Mechanism::Plain, .. } => self.plain(response),
            State::Start { mechanism: Mechanism::Login, .. } | State::LoginName => self.login_name(response),
            // The server speaks first.
            State::Start { mechanism: Mechanism::CramMd5, .. } => Err(Failure::Malformed),
            State::Challenged { challenge } => self.cram(challenge, response),
            State::Start { mechanism, scram } => self.client_first(mechanism, scram, response),
            State::LoginPassword { authcid } => self.ask_password(None, authcid, response),
            State::Proof { hash, first, keys, server_first, nonce } => {
                self.client_final(hash, first, &keys, &server_first, &nonce, response)
            }
            State::SignatureSent { done } if response.is_empty() => Ok(ServerStep::Done(done)),
            State::SignatureSent { .. } => Err(Failure::Malformed),
            State::PasswordAsked { .. } | State::KeysAsked { .. } | State::Ended => Err(Failure::OutOfTurn),
        };
        step.unwrap_or_else(ServerStep::Failed)
    }

    /// The password is right.
    pub fn accept(&mut self) -> ServerStep {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::PasswordAsked { done } => ServerStep::Done(done),
            _ => ServerStep::Failed(Failure::OutOfTurn),
        }
    }

    /// The password is wrong, or there shall be no log-in for another reason.
    pub fn reject(&mut self) -> ServerStep {
        self.fail(Failure::Rejected)
    }

    /// The keys that were asked for: one for each password the account has, all with the salt and iteration count of
    /// the first, since the client is told both before it shows which password it has. None is a mistake of ours.
    pub fn scram_keys(&mut self, keys: Vec<ScramKeys>) -> ServerStep {
        let State::KeysAsked { hash, first, nonce } = std::mem::replace(&mut self.state, State::Ended) else {
            return ServerStep::Failed(Failure::OutOfTurn);
        };
        let Some(shown) = keys.first() else { return ServerStep::Failed(Failure::OutOfTurn) };
        let nonce = first.client_nonce.clone() + &nonce;
        let server_first = format!("r={nonce},s={},i={}", encode_base64(&shown.salt), shown.iterations);
        let challenge = ServerStep::Challenge(server_first.clone().into_bytes());
        self.go(State::Proof { hash, first, keys, server_first, nonce }, challenge)
    }

    fn go(&mut self, state: State, step: ServerStep) -> ServerStep {
        self.state = state;
        step
    }

    fn fail(&mut self, failure: Failure) -> ServerStep {
        self.go(State::Ended, ServerStep::Failed(failure))
    }

    /// `message = [authzid] UTF8NUL authcid UTF8NUL passwd` (RFC 4616 section 2)
    fn plain(&mut self, message: &str) -> Result<ServerStep, Failure> {
        let mut parts = message.split('\0');
        let (Some(authzid), Some(authcid), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::Malformed);
        };
        let authzid = if authzid.is_empty() { None } else { Some(name(authzid)?) };
        self.ask_password(authzid, name(authcid)?, password)
    }

    fn cram(&mut self, challenge: String, response: &str) -> Result<ServerStep, Failure> {
        let (authcid, proof) = CramProof::parse(challenge, response).ok_or(Failure::Malformed)?;
        let authcid = name(authcid)?;
        let done = Done { authcid: authcid.clone(), authzid: None, key: 0 };
        Ok(self.go(State::PasswordAsked { done }, ServerStep::Ask(Ask::SharedSecret { authcid, proof })))
    }

    fn login_name(&mut self, response: &str) -> Result<ServerStep, Failure> {
        let authcid = name(response)?;
        Ok(self.go(State::LoginPassword { authcid }, ServerStep::Challenge(b"Password:".to_vec())))
    }

    fn ask_password(
        &mut self,
        authzid: Option<String>,
        authcid: String,
        password: &str,
    ) -> Result<ServerStep, Failure> {
        if password.is_empty() || password.contains('\0') {
            return Err(Failure::Malformed);
        }
        let done = Done { authcid: authcid.clone(), authzid: authzid.clone(), key: 0 };
        let ask = Ask::Password { authzid, authcid, password: password.into() };
        Ok(self.go(State::PasswordAsked { done }, ServerStep::Ask(ask)))
    }

    fn client_first(
        &mut self,
        mechanism: Mechanism,
        offer: Offer,
        message: &str,
    ) -> Result<ServerStep, Failure> {
        let hash = mechanism.scram_hash().ok_or(Failure::OutOfTurn)?;
        let first = ClientFirst::parse(message, mechanism.binds_channel(), &offer.bindings)?;
        let Done { authcid, authzid, .. } = first.who.clone();
        let ask = ServerStep::Ask(Ask::ScramKeys { authzid, authcid, hash });
        Ok(self.go(State::KeysAsked { hash, first, nonce: offer.nonce }, ask))
    }

    /// Checks the proof.
    ///
    /// ```text
    /// client-final-message-without-proof = channel-binding "," nonce ["," extensions]
    /// client-final-message = client-final-message-without-proof "," proof
    /// ```
    fn client_final(
        &mut self,
        hash: ScramHash,
        first: ClientFirst,
        keys: &[ScramKeys],
        server_first: &str,
        nonce: &str,
        message: &str,
    ) -> Result<ServerStep, Failure> {
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(Failure::Malformed)?;
        let mut parts = without_proof.split(',');
        let channel = attribute(parts.next(), 'c').ok_or(Failure::Malformed)?;
        let channel = decode_base64(channel.as_bytes()).map_err(|_| Failure::Malformed)?;
        if attribute(parts.next(), 'r').ok_or(Failure::Malformed)? != nonce {
            return Err(Failure::Malformed);
        }
        if !constant_time_eq(channel.expose(), &first.channel) {
            return Err(Failure::ChannelBinding);
        }
        let proof = decode_base64(proof.as_bytes()).map_err(|_| Failure::Malformed)?;
        let auth_message = format!("{},{server_first},{without_proof}", first.bare);
        let proved =
            |keys: &ScramKeys| hash.proof_is_right(keys.stored_key.expose(), &auth_message, proof.expose());
        let key = keys.iter().position(proved).ok_or(Failure::Rejected)?;
        let server_key = keys.get(key).ok_or(Failure::Rejected)?.server_key.expose();
        let signature = hash.hmac(server_key, auth_message.as_bytes());
        let server_final = format!("v={}", encode_base64(signature.expose()));
        let challenge = ServerStep::Challenge(server_final.into_bytes());
        Ok(self.go(State::SignatureSent { done: Done { key, ..first.who } }, challenge))
    }
}

impl ClientFirst {
    /// Takes a client-first-message apart.
    ///
    /// ```text
    /// gs2-cbind-flag       = ("p=" cb-name) / "n" / "y"
    /// gs2-header           = gs2-cbind-flag "," [ authzid ] ","
    /// client-first-message = gs2-header [reserved-mext ","] username "," nonce ["," extensions]
    /// ```
    fn parse(message: &str, plus: bool, bindings: &[ChannelBinding]) -> Result<ClientFirst, Failure> {
        let mut parts = message.splitn(3, ',');
        let (Some(flag), Some(authzid), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Failure::Malformed);
        };
        let mut channel = format!("{flag},{authzid},").into_bytes();
        match (flag, flag.strip_prefix("p=")) {
            ("n", _) if !plus => {}
            // RFC 5802 section 6: "If the flag is set to "y" and the server supports channel binding, the server
            // MUST fail authentication."
            ("y", _) if !plus && !bindings.is_empty() => return Err(Failure::Downgrade),
            ("y", _) if !plus => {}
            (_, Some(kind)) if plus => {
                let binding = bindings.iter().find(|binding| binding.name() == kind);
                channel.extend_from_slice(binding.ok_or(Failure::ChannelBinding)?.data());
            }
            ("n" | "y", _) | (_, Some(_)) => return Err(Failure::ChannelBinding),
            _ => return Err(Failure::Malformed),
        }
        let authzid = match authzid {
            "" => None,
            _ => attribute(Some(authzid), 'a').and_then(unescape_name).map(Some).ok_or(Failure::Malformed)?,
        };
        // A mandatory extension, `m=`, would stand here; nobody knows one, and it must be refused.
        let mut parts = bare.split(',');
        let authcid = attribute(parts.next(), 'n').and_then(unescape_name).ok_or(Failure::Malformed)?;
        let nonce = attribute(parts.next(), 'r').filter(|nonce| is_nonce(nonce)).ok_or(Failure::Malformed)?;
        Ok(ClientFirst {
            channel,
            bare: bare.to_owned(),
            client_nonce: nonce.to_owned(),
            who: Done { authcid, authzid, key: 0 },
        })
    }
}

fn name(text: &str) -> Result<String, Failure> {
    prepare(text).ok_or(Failure::Malformed)
}

#[cfg(test)]
impl Server {
    /// The examples of the RFCs have nonces that are no base64.
    pub(super) fn set_nonce_for_test(&mut self, nonce: &str) {
        if let State::Start { scram, .. } = &mut self.state {
            scram.nonce = nonce.to_owned();
        }
    }
}
