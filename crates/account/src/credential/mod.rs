//! What an account can prove itself with.
//!
//! | | kept as | for |
//! |---|---|---|
//! | password | Argon2id in PHC form, or an imported hash | whoever sends it over TLS |
//! | the same, and app passwords | SCRAM keys (RFC 5802) | mail programs that never send it |
//! | app passwords | salted HMAC | whoever sends one over TLS |
//! | shared secret | **in clear** | APOP (RFC 1939); only where an account asks for one |
//!
//! All SCRAM keys of an account have one salt and one iteration count, because the server has to tell the client both
//! before it can know which of the passwords the client has. So a new password or app password keeps the salt as it is.

mod app_password;
mod authenticate;
mod foreign;
mod hash;
mod manage;

use packetboat_wire::Secret;
use packetboat_wire::sasl::{ScramHash, ScramKeys};
use serde::{Deserialize, Serialize};

use crate::error::DirectoryError;
use crate::random;

use app_password::AppPassword;

pub(crate) use hash::Hasher;

pub use app_password::{APP_PASSWORDS_MAX, AppPasswordInfo};
pub use authenticate::{
    Attempt, Authenticator, AuthenticatorOptions, Denied, Identity, Proof, Reason, ScramAttempt,
};
pub use hash::{Argon2Cost, HashingRules, InvalidCost, check_imported};
pub use manage::CredentialsInfo;

/// Octets of a password at most.
pub const PASSWORD_MAX: usize = 1024;

/// A password to be.
#[derive(Debug, Clone)]
pub enum NewPassword {
    /// As its owner will type it.
    Plain(Secret<String>),
    /// Its hash from another system: see [`check_imported`]. The first log-in that sends the
    /// password replaces it by a hash of our own; until then SCRAM does not work for the account.
    Hash(String),
}

/// A password made ready to be kept. Made once and given to many accounts, they share its salt: for throwaway accounts.
#[derive(Debug, Clone)]
pub struct PreparedPassword {
    hash: String,
    salt: ScramSalt,
    scram: ScramVerifiers,
    /// For new accounts.
    shared_secret: Option<SharedSecret>,
}

impl PreparedPassword {
    /// Gives new accounts a secret for APOP as well; see [`set_shared_secret`](crate::Directory::set_shared_secret).
    #[must_use]
    pub fn with_shared_secret(self, secret: Secret<String>) -> PreparedPassword {
        PreparedPassword { shared_secret: Some(SharedSecret(secret.expose().clone())), ..self }
    }
}

/// All credentials of an account, as kept in the store.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Credentials {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    /// Of all SCRAM keys of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<ScramSalt>,
    /// The password's.
    #[serde(default)]
    scram: ScramVerifiers,
    #[serde(default)]
    app_passwords: Vec<AppPassword>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shared_secret: Option<SharedSecret>,
}

/// A secret that has to be kept as it is.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct SharedSecret(String);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScramSalt {
    #[serde(with = "octets")]
    salt: Vec<u8>,
    iterations: u32,
}

/// The keys of one password, as far as they are kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ScramVerifiers {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha1: Option<ScramVerifier>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<ScramVerifier>,
}

#[derive(Clone, Serialize, Deserialize)]
struct ScramVerifier {
    #[serde(with = "octets")]
    stored_key: Vec<u8>,
    #[serde(with = "octets")]
    server_key: Vec<u8>,
}

impl Credentials {
    pub(crate) fn with_password(password: PreparedPassword) -> Credentials {
        Credentials {
            password: Some(password.hash),
            salt: Some(password.salt),
            scram: password.scram,
            shared_secret: password.shared_secret,
            ..Credentials::default()
        }
    }

    /// The keys of every password of this account for a SCRAM mechanism, with whose they are: the app password's, or
    /// the main password's where there is none.
    fn scram_keys(&self, hash: ScramHash) -> Vec<(ScramKeys, Option<&AppPassword>)> {
        let Some(salt) = &self.salt else {
            return Vec::new();
        };
        let main = std::iter::once((&self.scram, None));
        let app = self.app_passwords.iter().map(|app| (&app.scram, Some(app)));
        main.chain(app).filter_map(|(keys, whose)| Some((keys.get(hash)?.keys(salt), whose))).collect()
    }
}

impl ScramSalt {
    fn generate(iterations: u32) -> Result<ScramSalt, DirectoryError> {
        Ok(ScramSalt { salt: random::octets::<16>()?.to_vec(), iterations })
    }
}

impl ScramVerifiers {
    /// Slow: run it where that does not matter. A password that SASLprep forbids has no keys.
    fn derive(password: &str, salt: &ScramSalt, sha1: bool) -> ScramVerifiers {
        let derive = |hash| {
            let keys = ScramKeys::derive(hash, password, &salt.salt, salt.iterations)?;
            Some(ScramVerifier {
                stored_key: keys.stored_key.expose().clone(),
                server_key: keys.server_key.expose().clone(),
            })
        };
        ScramVerifiers {
            sha1: if sha1 { derive(ScramHash::Sha1) } else { None },
            sha256: derive(ScramHash::Sha256),
        }
    }

    fn get(&self, hash: ScramHash) -> Option<&ScramVerifier> {
        match hash {
            ScramHash::Sha1 => self.sha1.as_ref(),
            ScramHash::Sha256 => self.sha256.as_ref(),
        }
    }
}

impl ScramVerifier {
    fn keys(&self, salt: &ScramSalt) -> ScramKeys {
        ScramKeys {
            salt: salt.salt.clone(),
            iterations: salt.iterations,
            stored_key: self.stored_key.clone().into(),
            server_key: self.server_key.clone().into(),
        }
    }
}

impl std::fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Octets as base64 text.
mod octets {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(octets))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD_NO_PAD.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
