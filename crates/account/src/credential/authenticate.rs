//! Finding out whether somebody is who he says.
//!
//! Who is not let in learns one thing only: that he is not, or that he should come again later. A name that does not
//! exist takes the same work and gets the same answers as a wrong password: the same hash is computed, the same kind of
//! SCRAM keys is handed out.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use packetboat_message::Address;
use packetboat_store::AccountId;
use packetboat_wire::Secret;
use packetboat_wire::sasl::{ScramHash, ScramKeys};
use parking_lot::Mutex;

use super::app_password;
use super::manage::normal_form;
use super::{Credentials, PASSWORD_MAX};
use crate::bounded::Bounded;
use crate::directory::{Directory, Read};
use crate::error::DirectoryError;
use crate::random;
use crate::record::{Account, Service};
use crate::throttle::{Throttle, ThrottleRules, Verdict};

/// Right passwords, and wrong guesses, remembered at most; about 100 octets each.
const REMEMBERED_MAX: usize = 16_384;

/// How log-ins are checked.
#[derive(Debug, Clone)]
pub struct AuthenticatorOptions {
    /// How often may be guessed.
    pub throttle: ThrottleRules,
    /// How long it is remembered that a password was right or wrong, as a hash under a key that this process alone has
    /// and never writes down, so that a mail program that looks for mail each minute does not cost a slow hash each
    /// minute, and one with an outdated password does not look like one that guesses. `None`: not at all. Any change
    /// of the account's credentials ends it at once.
    pub remember_for: Option<Duration>,
}

impl Default for AuthenticatorOptions {
    fn default() -> AuthenticatorOptions {
        AuthenticatorOptions {
            throttle: ThrottleRules::default(),
            remember_for: Some(Duration::from_secs(15 * 60)),
        }
    }
}

/// Whence and for what somebody logs in.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Where the connection comes from.
    pub peer: IpAddr,
    /// What is wanted.
    pub service: Service,
}

/// Who somebody is, proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: AccountId,
    /// Its login name.
    pub login: Address,
    /// What it was proved with.
    pub proof: Proof,
    /// What that is good for; `None`: for everything the account may do.
    pub limited_to: Option<BTreeSet<Service>>,
}

/// Which of an account's credentials somebody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The password.
    Password,
    /// The app password of this name.
    AppPassword(String),
    /// The secret for APOP.
    SharedSecret,
    /// A certificate, that somebody else has looked at.
    Certificate,
}

/// Somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Why: for the log, never for the peer.
    pub reason: Reason,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No account has this login name.
    #[error("unknown name")]
    UnknownName,
    /// The password, proof or digest is wrong, or the account has no credential of this kind.
    #[error("wrong credentials")]
    WrongCredentials,
    /// The credentials are right, but the account is disabled.
    #[error("account disabled")]
    Disabled,
    /// The app password is right, but not for this.
    #[error("app password not for this service")]
    NotForService,
    /// Too many failures: come again after this time.
    #[error("too many failures")]
    Throttled(Duration),
    /// More log-ins at once than can be checked.
    #[error("too many log-ins at once")]
    Overloaded,
    /// The directory failed.
    #[error("directory: {0}")]
    Directory(DirectoryError),
}

impl Denied {
    /// Whether the peer should be told to come again later. Otherwise it is told, whatever the reason, that its
    /// credentials are wrong.
    pub fn is_temporary(&self) -> bool {
        matches!(self.reason, Reason::Throttled(_) | Reason::Overloaded | Reason::Directory(_))
    }
}

impl From<DirectoryError> for Denied {
    fn from(error: DirectoryError) -> Denied {
        let reason = match error {
            DirectoryError::Overloaded => Reason::Overloaded,
            error => Reason::Directory(error),
        };
        Denied { reason }
    }
}

/// Checks log-ins. A handle: clones share everything.
#[derive(Debug, Clone)]
pub struct Authenticator {
    directory: Directory,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    throttle: Mutex<Throttle>,
    remember_for: Option<Duration>,
    remembered: Mutex<Bounded<Mark, Remembered>>,
    /// Guesses that were wrong lately, and until when that is remembered.
    wrong: Mutex<Bounded<Mark, Instant>>,
    /// Of this process alone.
    remember_key: hmac::Key,
}

/// A name and password as remembered: a keyed hash.
type Mark = [u8; 32];

/// That a password was right.
#[derive(Debug)]
struct Remembered {
    /// Of the credentials it was checked against.
    version: u64,
    until: Instant,
}

/// What is known of a name.
#[derive(Debug)]
struct Known {
    account: Arc<Account>,
    credentials: Read<Credentials>,
}

impl Authenticator {
    /// Checks log-ins against this directory.
    pub fn new(directory: Directory, options: AuthenticatorOptions) -> Result<Authenticator, DirectoryError> {
        let shared = Shared {
            throttle: Mutex::new(Throttle::new(options.throttle)),
            remember_for: options.remember_for,
            remembered: Mutex::new(Bounded::new(REMEMBERED_MAX)),
            wrong: Mutex::new(Bounded::new(REMEMBERED_MAX)),
            remember_key: hmac::Key::new(hmac::HMAC_SHA256, &random::octets::<32>()?),
        };
        Ok(Authenticator { directory, shared: Arc::new(shared) })
    }

    /// The directory log-ins are checked against.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// By password: an app password, or the account's own. Waits as long as the throttle wants.
    pub async fn password(
        &self,
        attempt: Attempt,
        login: &str,
        password: &Secret<String>,
    ) -> Result<Identity, Denied> {
        let name = self.enter(attempt, login).await?;
        let known = self.known(login)?;
        let guess = self.guess_mark(&name, known.as_ref(), password);
        if self.was_wrong(&guess) {
            // A mail program with an outdated password. The same guess again tells nobody anything, so it is not
            // counted: such a program does not get its network banned.
            let reason = if known.is_some() { Reason::WrongCredentials } else { Reason::UnknownName };
            return Err(Denied { reason });
        }
        let outcome = self.check_password(attempt, known, password).await;
        if let Err(Denied { reason: Reason::WrongCredentials | Reason::UnknownName }) = outcome {
            self.remember_wrong(guess);
        }
        self.leave(attempt, &name, outcome)
    }

    /// By SCRAM: hands out the keys, to be followed by [`ScramAttempt::finish`]. Waits as long as the throttle wants.
    ///
    /// For a name that does not exist the keys are made from the name and a secret of the store, the same each time, so
    /// that asking does not tell which names exist.
    pub async fn scram(
        &self,
        attempt: Attempt,
        login: &str,
        hash: ScramHash,
    ) -> Result<ScramAttempt, Denied> {
        let name = self.enter(attempt, login).await?;
        let known = self.known(login)?;
        let mut keys = Vec::new();
        let mut whose = Vec::new();
        if let Some(known) = &known {
            for (some, app) in known.credentials.value.scram_keys(hash) {
                keys.push(some);
                whose.push(app.map(|app| (app.name.clone(), app.services.clone())));
            }
        }
        if keys.is_empty() {
            let inner = &self.directory.inner;
            keys.push(ScramKeys::fake(hash, &inner.secret, &name, inner.options.hashing.scram_iterations));
        }
        let account = known.map(|known| known.account);
        Ok(ScramAttempt { authenticator: self.clone(), attempt, name, account, keys, whose })
    }

    /// By a secret that both sides have, as in APOP: `proves` is handed the account's and tells whether the peer has
    /// shown that it knows it. Waits as long as the throttle wants.
    pub async fn shared_secret(
        &self,
        attempt: Attempt,
        login: &str,
        proves: impl FnOnce(&Secret<String>) -> bool,
    ) -> Result<Identity, Denied> {
        let name = self.enter(attempt, login).await?;
        let outcome = self.check_shared_secret(attempt, login, proves);
        self.leave(attempt, &name, outcome)
    }

    /// Waits as the throttle wants, and gives the name under which it counts.
    async fn enter(&self, attempt: Attempt, login: &str) -> Result<String, Denied> {
        let name = match self.directory.login_address(login) {
            Some(address) => address.lookup_key(),
            None => login.to_lowercase(),
        };
        let now = tokio::time::Instant::now();
        let verdict = self.shared.throttle.lock().check(now.into_std(), attempt.peer, &name);
        match verdict {
            Verdict::Allowed => Ok(name),
            Verdict::Delay(wait) => {
                tokio::time::sleep(wait).await;
                Ok(name)
            }
            Verdict::Banned(until) => {
                Err(Denied { reason: Reason::Throttled(until.saturating_duration_since(now.into_std())) })
            }
        }
    }

    /// Counts the outcome.
    fn leave(
        &self,
        attempt: Attempt,
        name: &str,
        outcome: Result<Identity, Denied>,
    ) -> Result<Identity, Denied> {
        let now = tokio::time::Instant::now().into_std();
        match &outcome {
            Ok(_) => self.shared.throttle.lock().succeeded(now, attempt.peer, name),
            // Also where the password was right but the account is disabled: or the missing wait would tell.
            Err(denied) if !denied.is_temporary() => {
                self.shared.throttle.lock().failed(now, attempt.peer, name)
            }
            Err(_) => (),
        }
        outcome
    }

    async fn check_password(
        &self,
        attempt: Attempt,
        known: Option<Known>,
        password: &Secret<String>,
    ) -> Result<Identity, Denied> {
        if password.expose().len() > PASSWORD_MAX {
            return Err(Denied { reason: Reason::WrongCredentials });
        }
        let Some(known) = known else {
            self.verify_slowly(password, None).await?;
            return Err(Denied { reason: Reason::UnknownName });
        };
        let credentials = &known.credentials.value;
        if let Some(app) = app_password::find(&credentials.app_passwords, password) {
            let proof = Proof::AppPassword(app.name.clone());
            return admit(&known.account, proof, app.services.as_ref(), attempt);
        }
        let mark = self.mark(known.account.id, password);
        if !self.is_remembered(&mark, known.credentials.version) {
            if !self.verify_slowly(password, credentials.password.as_deref()).await? {
                return Err(Denied { reason: Reason::WrongCredentials });
            }
            let version = self.refresh(&known, password).await;
            self.remember(mark, version);
        }
        admit(&known.account, Proof::Password, None, attempt)
    }

    /// As hashed here, or else, for a hash from elsewhere, as sent. What is computed depends on the password alone, not
    /// on whether somebody has it.
    async fn verify_slowly(
        &self,
        password: &Secret<String>,
        stored: Option<&str>,
    ) -> Result<bool, DirectoryError> {
        let hasher = &self.directory.inner.hasher;
        let normal = normal_form(password);
        Ok(hasher.verify(&normal, stored).await?
            || (normal != *password && hasher.verify(password, stored).await?))
    }

    /// Brings what is kept of a right password up to date; the version of the credentials after that.
    async fn refresh(&self, known: &Known, password: &Secret<String>) -> u64 {
        let (id, version) = (known.account.id, known.credentials.version);
        if !self.directory.is_outdated(&known.credentials.value, password) {
            return version;
        }
        if let Err(error) = self.directory.refresh_password(id, version, password).await {
            // The log-in is good all the same, and the next one tries again.
            tracing::warn!(account = %id, %error, "could not store the password by the present rules");
            return version;
        }
        self.directory.inner.credentials(id).map_or(version, |credentials| credentials.version)
    }

    fn check_shared_secret(
        &self,
        attempt: Attempt,
        login: &str,
        proves: impl FnOnce(&Secret<String>) -> bool,
    ) -> Result<Identity, Denied> {
        let known = self.known(login)?;
        let secret = known.as_ref().and_then(|known| known.credentials.value.shared_secret.as_ref());
        let proved = proves(&Secret::new(secret.map(|secret| secret.0.clone()).unwrap_or_default()))
            && secret.is_some();
        match known {
            None => Err(Denied { reason: Reason::UnknownName }),
            Some(_) if !proved => Err(Denied { reason: Reason::WrongCredentials }),
            Some(known) => admit(&known.account, Proof::SharedSecret, None, attempt),
        }
    }

    fn known(&self, login: &str) -> Result<Option<Known>, DirectoryError> {
        let Some(account) = self.directory.find_login(login)? else {
            return Ok(None);
        };
        let credentials = self.directory.inner.credentials(account.id)?;
        Ok(Some(Known { account, credentials }))
    }

    fn mark(&self, account: AccountId, password: &Secret<String>) -> Mark {
        self.sign(&[b"right", &account.0.to_be_bytes(), password.expose().as_bytes()])
    }

    /// Of a guess at a name, whether or not there is such an account.
    fn guess_mark(&self, name: &str, known: Option<&Known>, password: &Secret<String>) -> Mark {
        // 0 is no version, so what was wrong for nobody may be right for whoever gets the name.
        let version = known.map_or(0, |known| known.credentials.version);
        let length = u64::try_from(name.len()).unwrap_or(u64::MAX);
        let password = password.expose().as_bytes();
        self.sign(&[b"wrong", &version.to_be_bytes(), &length.to_be_bytes(), name.as_bytes(), password])
    }

    fn sign(&self, pieces: &[&[u8]]) -> Mark {
        let mut context = hmac::Context::with_key(&self.shared.remember_key);
        pieces.iter().for_each(|piece| context.update(piece));
        let mut mark = [0; 32];
        mark.copy_from_slice(context.sign().as_ref());
        mark
    }

    fn was_wrong(&self, guess: &Mark) -> bool {
        let now = tokio::time::Instant::now().into_std();
        self.shared.wrong.lock().get_mut(guess).is_some_and(|until| now < *until)
    }

    fn remember_wrong(&self, guess: Mark) {
        if let Some(remember_for) = self.shared.remember_for {
            let until = tokio::time::Instant::now().into_std() + remember_for;
            self.shared.wrong.lock().insert(guess, until);
        }
    }

    fn is_remembered(&self, mark: &Mark, version: u64) -> bool {
        let now = tokio::time::Instant::now().into_std();
        let mut remembered = self.shared.remembered.lock();
        remembered.get_mut(mark).is_some_and(|it| it.version == version && now < it.until)
    }

    fn remember(&self, mark: Mark, version: u64) {
        if let Some(remember_for) = self.shared.remember_for {
            let until = tokio::time::Instant::now().into_std() + remember_for;
            self.shared.remembered.lock().insert(mark, Remembered { version, until });
        }
    }
}

/// A log-in by SCRAM under way.
#[derive(Debug)]
#[must_use = "an exchange that ended has to be counted"]
pub struct ScramAttempt {
    authenticator: Authenticator,
    attempt: Attempt,
    name: String,
    account: Option<Arc<Account>>,
    keys: Vec<ScramKeys>,
    /// App password and what it is good for, beside each of `keys`; empty where those are nobody's.
    whose: Vec<Option<(String, Option<BTreeSet<Service>>)>>,
}

impl ScramAttempt {
    /// The keys of the account's password, then those of its app passwords, all with one salt. Never empty.
    pub fn keys(&self) -> &[ScramKeys] {
        &self.keys
    }

    /// The exchange ended: the proof was right for these of the keys, or wrong.
    pub fn finish(self, proved: Option<usize>) -> Result<Identity, Denied> {
        let whose = proved.and_then(|n| self.whose.get(n));
        let outcome = match (&self.account, whose) {
            (None, _) => Err(Denied { reason: Reason::UnknownName }),
            (Some(_), None) => Err(Denied { reason: Reason::WrongCredentials }),
            (Some(account), Some(app)) => {
                let proof = app.as_ref().map(|(name, _)| Proof::AppPassword(name.clone()));
                let services = app.as_ref().and_then(|(_, services)| services.as_ref());
                admit(account, proof.unwrap_or(Proof::Password), services, self.attempt)
            }
        };
        self.authenticator.leave(self.attempt, &self.name, outcome)
    }
}

impl Authenticator {
    /// Lets in whoever has shown a certificate with the login name of an account. That it is good, and whose name stands in
    /// it, is for the caller to know.
    pub fn certified(&self, attempt: Attempt, login: &str) -> Result<Identity, Denied> {
        match self.directory().find_login(login) {
            Ok(Some(account)) => admit(&account, Proof::Certificate, None, attempt),
            Ok(None) => Err(Denied { reason: Reason::UnknownName }),
            Err(error) => Err(Denied { reason: Reason::Directory(error) }),
        }
    }
}

/// What remains to be asked when the credentials are right.
fn admit(
    account: &Account,
    proof: Proof,
    limited_to: Option<&BTreeSet<Service>>,
    attempt: Attempt,
) -> Result<Identity, Denied> {
    if account.disabled {
        return Err(Denied { reason: Reason::Disabled });
    }
    if limited_to.is_some_and(|services| !services.contains(&attempt.service)) {
        return Err(Denied { reason: Reason::NotForService });
    }
    Ok(Identity { account: account.id, login: account.login.clone(), proof, limited_to: limited_to.cloned() })
}
