//! What both sides of SCRAM share (RFC 5802).

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};

use super::prepare;
use crate::secret::{Secret, constant_time_eq};

/// Fewer iterations a client does not accept: a false server could ask for one, and then guess passwords cheaply.
/// RFC 5802 section 5.1 and RFC 7677 section 4 name this number.
pub const SCRAM_ITERATIONS_MIN: u32 = 4096;

/// More iterations a client does not accept: each costs it time, and the server says how many.
pub const SCRAM_ITERATIONS_MAX: u32 = 1_000_000;

/// The hash function of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// What a server keeps of a password for SCRAM (RFC 5802 section 3). Enough to play the server, not enough to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// Random, per account.
    pub salt: Vec<u8>,
    /// Rounds of hashing.
    pub iterations: u32,
    /// Checks the client's proof.
    pub stored_key: Secret<Vec<u8>>,
    /// Signs the server's answer.
    pub server_key: Secret<Vec<u8>>,
}

impl ScramKeys {
    /// The keys of a password; `None` if SASLprep forbids the password or `iterations` is 0. Slow on purpose.
    pub fn derive(hash: ScramHash, password: &str, salt: &[u8], iterations: u32) -> Option<ScramKeys> {
        let salted = hash.salted_password(password, salt, iterations)?;
        let stored_key = hash.digest(hash.hmac(salted.expose(), CLIENT_KEY).expose());
        let server_key = hash.hmac(salted.expose(), SERVER_KEY);
        Some(ScramKeys { salt: salt.to_vec(), iterations, stored_key, server_key })
    }

    /// Keys for a name that nobody has, the same each time for one name.
    ///
    /// With them the exchange looks as it does for a real account and fails at the proof, so that nobody can try out
    /// which names exist. `site_secret` is random and kept; `iterations` is what real accounts have.
    pub fn fake(hash: ScramHash, site_secret: &[u8], name: &str, iterations: u32) -> ScramKeys {
        let keyed = |label: &str| hash.hmac(site_secret, format!("{label}\0{name}").as_bytes());
        let mut salt = keyed("salt").expose().clone();
        salt.truncate(SALT_LENGTH);
        ScramKeys { salt, iterations, stored_key: keyed("stored"), server_key: keyed("server") }
    }
}

/// Octets of the salt of [`ScramKeys::fake`], which real salts should have too.
const SALT_LENGTH: usize = 16;

pub(super) const CLIENT_KEY: &[u8] = b"Client Key";
pub(super) const SERVER_KEY: &[u8] = b"Server Key";

impl ScramHash {
    /// Octets of a key.
    pub fn length(self) -> usize {
        match self {
            ScramHash::Sha1 => 20,
            ScramHash::Sha256 => 32,
        }
    }

    pub(super) fn digest(self, data: &[u8]) -> Secret<Vec<u8>> {
        let algorithm = match self {
            ScramHash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            ScramHash::Sha256 => &digest::SHA256,
        };
        Secret::new(digest::digest(algorithm, data).as_ref().to_vec())
    }

    pub(super) fn hmac(self, key: &[u8], data: &[u8]) -> Secret<Vec<u8>> {
        let algorithm = match self {
            ScramHash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            ScramHash::Sha256 => hmac::HMAC_SHA256,
        };
        Secret::new(hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec())
    }

    /// `SaltedPassword := Hi(Normalize(password), salt, i)`
    pub(super) fn salted_password(
        self,
        password: &str,
        salt: &[u8],
        iterations: u32,
    ) -> Option<Secret<Vec<u8>>> {
        let iterations = NonZeroU32::new(iterations)?;
        let password = Secret::new(prepare(password)?);
        let algorithm = match self {
            ScramHash::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            ScramHash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        };
        let mut salted = vec![0; self.length()];
        pbkdf2::derive(algorithm, iterations, salt, password.expose().as_bytes(), &mut salted);
        Some(Secret::new(salted))
    }

    /// `ClientProof := ClientKey XOR HMAC(StoredKey, AuthMessage)`
    pub(super) fn client_proof(self, salted: &[u8], auth_message: &str) -> Vec<u8> {
        let client_key = self.hmac(salted, CLIENT_KEY);
        let stored_key = self.digest(client_key.expose());
        let signature = self.hmac(stored_key.expose(), auth_message.as_bytes());
        xor(client_key.expose(), signature.expose())
    }

    /// Whether the proof was made by somebody who knows the password.
    pub(super) fn proof_is_right(self, stored_key: &[u8], auth_message: &str, proof: &[u8]) -> bool {
        let signature = self.hmac(stored_key, auth_message.as_bytes());
        let client_key = Secret::new(xor(proof, signature.expose()));
        proof.len() == self.length()
            && constant_time_eq(self.digest(client_key.expose()).expose(), stored_key)
    }
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(a, b)| a ^ b).collect()
}

/// The value of an attribute such as `r=…`, where it stands.
pub(super) fn attribute(part: Option<&str>, name: char) -> Option<&str> {
    part?.strip_prefix(name)?.strip_prefix('=')
}

/// Whether a text can be a nonce or part of one.
///
/// ```text
/// printable = %x21-2B / %x2D-7E   ;; Printable ASCII except ","
/// ```
pub(super) fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| matches!(c, 0x21..=0x2b | 0x2d..=0x7e))
}

/// Writes a name so that it can stand in a message (`saslname`, RFC 5802 section 5.1).
pub(super) fn escape_name(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// Reads a `saslname` and prepares it; `None` if it is not as the grammar wants it.
pub(super) fn unescape_name(text: &str) -> Option<String> {
    let mut pieces = text.split('=');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2)?;
        name.push(match code {
            "2C" | "2c" => ',',
            "3D" | "3d" => '=',
            _ => return None,
        });
        name.push_str(rest);
    }
    prepare(&name)
}
