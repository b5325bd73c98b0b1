//! Setting, adding and revoking credentials.

use std::collections::BTreeSet;

use packetboat_store::AccountId;
use packetboat_wire::{Secret, sasl};
use serde::{Deserialize, Serialize};

use super::app_password::{self, APP_PASSWORDS_MAX, AppPassword, AppPasswordInfo};
use super::authenticate::Proof;
use super::hash::check_imported;
use super::{
    Credentials, NewPassword, PASSWORD_MAX, PreparedPassword, ScramSalt, ScramVerifiers, SharedSecret,
};
use crate::access::Revoked;
use crate::directory::{Change, Directory, Read};
use crate::error::DirectoryError;
use crate::key;
use crate::record::{Account, Service};

/// What can be told of an account's credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsInfo {
    /// Whether there is a password.
    pub password: bool,
    /// Whether SCRAM works with it; not yet for one imported as a hash.
    pub scram: bool,
    /// Whether there is a secret for APOP.
    pub shared_secret: bool,
    /// The app passwords.
    pub app_passwords: Vec<AppPasswordInfo>,
}

impl Directory {
    /// Hashes a password, off the event loop, and makes its SCRAM keys.
    pub async fn prepare_password(&self, password: NewPassword) -> Result<PreparedPassword, DirectoryError> {
        let salt = ScramSalt::generate(self.inner.options.hashing.scram_iterations)?;
        self.prepare_with_salt(password, salt).await
    }

    async fn prepare_with_salt(
        &self,
        password: NewPassword,
        salt: ScramSalt,
    ) -> Result<PreparedPassword, DirectoryError> {
        match password {
            NewPassword::Plain(password) => {
                check_password(password.expose())?;
                let hash = self.inner.hasher.hash(&normal_form(&password)).await?;
                let scram = self.derive_keys(password, salt.clone()).await?;
                Ok(PreparedPassword { hash, salt, scram, shared_secret: None })
            }
            NewPassword::Hash(hash) => {
                check_imported(&hash)?;
                Ok(PreparedPassword { hash, salt, scram: ScramVerifiers::default(), shared_secret: None })
            }
        }
    }

    async fn derive_keys(
        &self,
        password: Secret<String>,
        salt: ScramSalt,
    ) -> Result<ScramVerifiers, DirectoryError> {
        let sha1 = self.inner.options.hashing.scram_sha1;
        self.inner.hasher.run(move || ScramVerifiers::derive(password.expose(), &salt, sha1)).await
    }

    /// Gives an account another password. App passwords stay; sessions begun with the old password end.
    pub async fn set_password(&self, id: AccountId, password: NewPassword) -> Result<(), DirectoryError> {
        let salt = self.salt_of(&self.inner.credentials(id)?.value)?;
        let prepared = self.prepare_with_salt(password, salt).await?;
        self.change_credentials(id, |_, credentials| credentials.set_password(prepared)).await?;
        self.inner.revocations.tell(id, Revoked::Proof(Proof::Password));
        Ok(())
    }

    /// Replaces how a password is kept, unless something was changed since `version`.
    pub(super) async fn refresh_password(
        &self,
        id: AccountId,
        version: u64,
        password: &Secret<String>,
    ) -> Result<(), DirectoryError> {
        let mut credentials = self.inner.credentials(id)?;
        if credentials.version != version {
            return Ok(());
        }
        let salt = self.salt_of(&credentials.value)?;
        let prepared = self.prepare_with_salt(NewPassword::Plain(password.clone()), salt).await?;
        credentials.value.set_password(prepared)?;
        let mut change = Change::default();
        change.put(key::credentials(id), Some(version), &credentials.value)?;
        change.commit(&self.inner.store).await?;
        Ok(())
    }

    /// Whether the main password, which is `password`, is kept otherwise than it would be now.
    pub(super) fn is_outdated(&self, credentials: &Credentials, password: &Secret<String>) -> bool {
        let rules = &self.inner.options.hashing;
        let hash_outdated =
            credentials.password.as_ref().is_none_or(|hash| self.inner.hasher.is_outdated(hash));
        let keys_missing =
            credentials.scram.sha256.is_none() || credentials.scram.sha1.is_some() != rules.scram_sha1;
        let other_iterations = credentials.app_passwords.is_empty()
            && credentials.salt.as_ref().is_some_and(|salt| salt.iterations != rules.scram_iterations);
        // What SASLprep forbids never gets keys.
        let keys_possible = sasl::prepare(password.expose()).is_some();
        hash_outdated || (keys_possible && (keys_missing || other_iterations))
    }

    /// The salt for an account's next SCRAM keys: the one it has while app passwords depend on it and otherwise a new one.
    fn salt_of(&self, credentials: &Credentials) -> Result<ScramSalt, DirectoryError> {
        match &credentials.salt {
            Some(salt) if !credentials.app_passwords.is_empty() => Ok(salt.clone()),
            _ => ScramSalt::generate(self.inner.options.hashing.scram_iterations),
        }
    }

    /// Makes an app password. The text is given out here and cannot be had again.
    pub async fn add_app_password(
        &self,
        id: AccountId,
        name: &str,
        services: Option<BTreeSet<Service>>,
    ) -> Result<Secret<String>, DirectoryError> {
        let salt = match self.inner.credentials(id)?.value.salt {
            Some(salt) => salt,
            None => ScramSalt::generate(self.inner.options.hashing.scram_iterations)?,
        };
        let (mut added, text) = AppPassword::generate(name, services)?;
        added.scram = self.derive_keys(text.clone(), salt.clone()).await?;
        self.change_credentials(id, |account, credentials| {
            if credentials.app_passwords.iter().any(|app| app.name == name) {
                let account = account.login.clone();
                return Err(DirectoryError::AppPasswordExists { account, name: name.to_owned() });
            }
            if credentials.app_passwords.len() >= APP_PASSWORDS_MAX {
                return Err(DirectoryError::TooMany { what: "app passwords", limit: APP_PASSWORDS_MAX });
            }
            if credentials.salt.get_or_insert_with(|| salt.clone()) != &salt {
                return Err(DirectoryError::Contended);
            }
            credentials.app_passwords.push(added);
            Ok(())
        })
        .await?;
        Ok(text)
    }

    /// Makes an app password useless, and ends the sessions begun with it.
    pub async fn revoke_app_password(&self, id: AccountId, name: &str) -> Result<(), DirectoryError> {
        self.change_credentials(id, |account, credentials| {
            let before = credentials.app_passwords.len();
            credentials.app_passwords.retain(|app| app.name != name);
            if credentials.app_passwords.len() == before {
                let account = account.login.clone();
                return Err(DirectoryError::NoSuchAppPassword { account, name: name.to_owned() });
            }
            Ok(())
        })
        .await?;
        self.inner.revocations.tell(id, Revoked::Proof(Proof::AppPassword(name.to_owned())));
        Ok(())
    }

    /// Sets or clears the secret for APOP (RFC 1939 section 7). Both sides of APOP need the secret itself, so it is kept
    /// **readable in the store**: whoever reads the store or a backup of it can log in with it. Where it must be, use
    /// one made for this alone ([`Directory::generate_shared_secret`]), never the password.
    pub async fn set_shared_secret(
        &self,
        id: AccountId,
        secret: Option<Secret<String>>,
    ) -> Result<(), DirectoryError> {
        if let Some(secret) = &secret {
            check_password(secret.expose())?;
        }
        self.change_credentials(id, |_, credentials| {
            credentials.shared_secret = secret.map(|secret| SharedSecret(secret.expose().clone()));
            Ok(())
        })
        .await?;
        self.inner.revocations.tell(id, Revoked::Proof(Proof::SharedSecret));
        Ok(())
    }

    /// Makes a secret for APOP and sets it.
    pub async fn generate_shared_secret(&self, id: AccountId) -> Result<Secret<String>, DirectoryError> {
        let secret = app_password::generate()?;
        self.set_shared_secret(id, Some(secret.clone())).await?;
        Ok(secret)
    }

    /// What credentials an account has.
    pub fn credentials(&self, id: AccountId) -> Result<CredentialsInfo, DirectoryError> {
        let credentials = self.inner.credentials(id)?.value;
        Ok(CredentialsInfo {
            password: credentials.password.is_some(),
            scram: credentials.scram.sha256.is_some(),
            shared_secret: credentials.shared_secret.is_some(),
            app_passwords: credentials.app_passwords.iter().map(AppPassword::info).collect(),
        })
    }

    async fn change_credentials(
        &self,
        id: AccountId,
        how: impl FnOnce(&Account, &mut Credentials) -> Result<(), DirectoryError>,
    ) -> Result<(), DirectoryError> {
        let changing = self.inner.changing.lock().await;
        let account = self.inner.account_to_change(id)?.value;
        let mut credentials = self.inner.credentials(id)?;
        how(&account, &mut credentials.value)?;
        let mut change = Change::default();
        change.put(key::credentials(id), Some(credentials.version), &credentials.value)?;
        change.commit(&self.inner.store).await?;
        drop(changing);
        Ok(())
    }
}

impl crate::directory::Inner {
    pub(super) fn credentials(&self, id: AccountId) -> Result<Read<Credentials>, DirectoryError> {
        self.read(&key::credentials(id))?.ok_or(DirectoryError::NoSuchAccountId(id))
    }
}

impl Credentials {
    fn set_password(&mut self, prepared: PreparedPassword) -> Result<(), DirectoryError> {
        if !self.app_passwords.is_empty() && self.salt.as_ref() != Some(&prepared.salt) {
            // An app password was added since, with keys that go with the salt as it is.
            return Err(DirectoryError::Contended);
        }
        self.password = Some(prepared.hash);
        self.scram = prepared.scram;
        self.salt = Some(prepared.salt);
        Ok(())
    }
}

/// As hashed: what looks the same is the same, however the keyboard composed it (RFC 4013, as SCRAM has it).
pub(super) fn normal_form(password: &Secret<String>) -> Secret<String> {
    sasl::prepare(password.expose()).map_or_else(|| password.clone(), Secret::new)
}

fn check_password(password: &str) -> Result<(), DirectoryError> {
    if password.is_empty() {
        return Err(DirectoryError::UnusablePassword("the password is empty"));
    }
    if password.len() > PASSWORD_MAX {
        return Err(DirectoryError::UnusablePassword("the password is longer than 1024 octets"));
    }
    if password.chars().any(char::is_control) {
        return Err(DirectoryError::UnusablePassword(
            "the password has a control character, which many programs cannot send",
        ));
    }
    Ok(())
}
