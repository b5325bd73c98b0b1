//! SASL (RFC 4422) as steps, both sides.
//!
//! | mechanism | RFC |
//! |---|---|
//! | PLAIN | 4616 |
//! | LOGIN | none; draft-murchison-sasl-login as everybody speaks it |
//! | CRAM-MD5 | 2195; the server's side, for on-demand mail relay (2645), whose clients know nothing else |
//! | SCRAM-SHA-1, SCRAM-SHA-256 | 5802, 7677 |
//! | SCRAM-SHA-1-PLUS, SCRAM-SHA-256-PLUS | the same bound to TLS by `tls-exporter` (9266) or `tls-server-end-point` (5929) |
//!
//! A [`Server`] never looks anybody up: it [asks](Ask) whether a password is right or for somebody's SCRAM keys, and
//! waits for the answer. Randomness is handed in. How messages are framed on the wire is the protocol's affair; the
//! base64 all of them use is here.

mod client;
mod cram;
mod end_point;
mod scram;
mod server;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::secret::Secret;
use crate::session::TlsFacts;

pub use client::{Client, ClientError, Credentials};
pub use cram::CramProof;
pub use scram::{SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN, ScramHash, ScramKeys};
pub use server::{Ask, Done, Failure, Server, ServerStep};

/// Octets of a message at most, base64 and all (RFC 4954 section 4 asks for room for 12288).
pub const MESSAGE_MAX: usize = 12288;

/// How to authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// Name and password in one message, RFC 4616.
    Plain,
    /// Name and password in two messages.
    Login,
    /// RFC 5802.
    ScramSha1,
    /// RFC 5802 with channel binding.
    ScramSha1Plus,
    /// RFC 7677.
    ScramSha256,
    /// RFC 7677 with channel binding.
    ScramSha256Plus,
    /// RFC 2195. The server has to keep the secret in clear, and the digest is of the last century.
    CramMd5,
}

impl Mechanism {
    /// All that may be offered to everybody, the one to prefer first.
    ///
    /// Channel binding comes before the better hash: it is what somebody in the middle cannot get around.
    pub const ALL: [Mechanism; 6] = [
        Mechanism::ScramSha256Plus,
        Mechanism::ScramSha1Plus,
        Mechanism::ScramSha256,
        Mechanism::ScramSha1,
        Mechanism::Plain,
        Mechanism::Login,
    ];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::ScramSha1 => "SCRAM-SHA-1",
            Mechanism::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::CramMd5 => "CRAM-MD5",
        }
    }

    /// The mechanism of that name among [all](Mechanism::ALL), in whatever case.
    pub fn parse(name: &str) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Whether the password itself is sent, so that only TLS protects it.
    pub fn sends_password(self) -> bool {
        matches!(self, Mechanism::Plain | Mechanism::Login)
    }

    /// Whether it needs a [`ChannelBinding`](crate::ChannelBinding).
    pub fn binds_channel(self) -> bool {
        matches!(self, Mechanism::ScramSha1Plus | Mechanism::ScramSha256Plus)
    }

    /// The hash function of a SCRAM mechanism.
    pub fn scram_hash(self) -> Option<ScramHash> {
        match self {
            Mechanism::Plain | Mechanism::Login | Mechanism::CramMd5 => None,
            Mechanism::ScramSha1 | Mechanism::ScramSha1Plus => Some(ScramHash::Sha1),
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => Some(ScramHash::Sha256),
        }
    }
}

/// The best mechanism a client can use of those the server offers.
///
/// `tls` is `None` on a clear connection; the password itself is then only sent if `password_in_clear` says so.
pub fn pick(offered: &[Mechanism], tls: Option<&TlsFacts>, password_in_clear: bool) -> Option<Mechanism> {
    Mechanism::ALL.into_iter().find(|mechanism| {
        offered.contains(mechanism)
            && (!mechanism.binds_channel() || tls.is_some_and(|tls| !tls.bindings.is_empty()))
            && (!mechanism.sends_password() || tls.is_some() || password_in_clear)
    })
}

/// Why a message could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Base64Error {
    /// Longer than [`MESSAGE_MAX`].
    #[error("the message is longer than 12288 octets")]
    TooLong,
    /// Not base64 as RFC 4648 section 4 writes it.
    #[error("the message is not base64")]
    Invalid,
}

/// Decodes a message. It may hold a password.
pub fn decode_base64(message: &[u8]) -> Result<Secret<Vec<u8>>, Base64Error> {
    if message.len() > MESSAGE_MAX {
        return Err(Base64Error::TooLong);
    }
    STANDARD.decode(message).map(Secret::new).map_err(|_| Base64Error::Invalid)
}

/// Decodes an initial response, in which `=` stands for an empty one (RFC 4954 section 4, RFC 5034 section 4).
pub fn decode_initial_response(message: &[u8]) -> Result<Secret<Vec<u8>>, Base64Error> {
    if message == b"=" { Ok(Secret::default()) } else { decode_base64(message) }
}

/// Encodes a message.
pub fn encode_base64(message: &[u8]) -> String {
    STANDARD.encode(message)
}

/// Prepares a name or password for comparison (SASLprep, RFC 4013): compatible forms become one form. `None` if it
/// holds what must not be in one, such as control characters, or nothing is left.
pub fn prepare(text: &str) -> Option<String> {
    let prepared = stringprep::saslprep(text).ok()?;
    if prepared.is_empty() { None } else { Some(prepared.into_owned()) }
}

#[cfg(test)]
mod tests;
