//! Password hashes: slow on purpose, off the event loop, and never more at a time than memory was set aside for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use packetboat_wire::Secret;
use sha_crypt::ShaCrypt;
use thiserror::Error;
use tokio::sync::Semaphore;

use super::foreign::{Foreign, is_foreign};
use crate::error::DirectoryError;
use crate::random;

/// Threads that hash at once unless set otherwise. With the default cost that is at most 76 MiB.
const AT_ONCE_MAX: usize = 4;
/// Hashes that may wait for a thread. More log-ins than that at once are told to come again.
const WAITING_MAX: usize = 1024;
/// Memory that an imported Argon2 hash may ask for, in KiB.
const IMPORTED_MEMORY_MAX: u32 = 64 * 1024;
/// Its memory in KiB times its passes: 256 over all of that, which is some ten seconds. pure-ftpd chooses them so that a hash takes
/// a second where it is made, and each is computed once: the first log-in replaces it.
const IMPORTED_WORK_MAX: u64 = 256 * IMPORTED_MEMORY_MAX as u64;
/// Rounds that an imported SHA-crypt hash may ask for; 5,000 are usual.
const IMPORTED_ROUNDS_MAX: u32 = 1_000_000;

/// How passwords are stored.
#[derive(Debug, Clone)]
pub struct HashingRules {
    /// What one Argon2id hash costs. A stored hash of another cost is replaced at the next log-in.
    pub cost: Argon2Cost,
    /// How many are computed at once; each takes the memory of its cost meanwhile.
    pub at_once: usize,
    /// Iterations of the keys kept for SCRAM (RFC 5802). RFC 7677 section 4 wants at least 4,096, and these keys are
    /// what a thief of the store would try passwords on, since Argon2 costs him more. But the other side computes as
    /// much at each log-in, and what it computes with may be a telephone's script engine: 20,000 take a desktop some
    /// milliseconds.
    pub scram_iterations: u32,
    /// Whether keys for SCRAM-SHA-1 are kept beside those for SCRAM-SHA-256.
    pub scram_sha1: bool,
}

impl Default for HashingRules {
    fn default() -> HashingRules {
        HashingRules {
            cost: Argon2Cost::default(),
            at_once: std::thread::available_parallelism().map_or(1, usize::from).min(AT_ONCE_MAX),
            scram_iterations: 20_000,
            scram_sha1: true,
        }
    }
}

/// What one Argon2id hash costs. The default is OWASP's: 19 MiB, two passes, one lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Argon2Cost(Params);

/// A cost that Argon2 does not know.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a password hash needs at least 8 KiB of memory for each lane, one pass and one lane")]
pub struct InvalidCost;

impl Argon2Cost {
    /// Memory in KiB, passes over it, and lanes.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Argon2Cost, InvalidCost> {
        Params::new(memory_kib, passes, lanes, None).map(Argon2Cost).map_err(|_| InvalidCost)
    }

    /// The least there is: for tests and throwaway accounts.
    pub fn least() -> Argon2Cost {
        Argon2Cost::new(Params::MIN_M_COST, Params::MIN_T_COST, Params::MIN_P_COST).unwrap_or_default()
    }
}

/// Computes hashes, some at a time.
#[derive(Debug)]
pub(crate) struct Hasher {
    cost: Argon2Cost,
    threads: Arc<Semaphore>,
    /// Threads and those who wait for one.
    places: Arc<Semaphore>,
    computed: Arc<AtomicU64>,
    /// Checked for names that do not exist, so that they take as long as those that do.
    dummy: Arc<str>,
}

impl Hasher {
    pub(crate) fn new(rules: &HashingRules) -> Hasher {
        let at_once = rules.at_once.max(1);
        Hasher {
            cost: rules.cost.clone(),
            threads: Arc::new(Semaphore::new(at_once)),
            places: Arc::new(Semaphore::new(at_once.saturating_add(WAITING_MAX))),
            computed: Arc::default(),
            dummy: dummy(&rules.cost.0).into(),
        }
    }

    pub(crate) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// Whether a stored hash is not as it would be made now.
    pub(crate) fn is_outdated(&self, stored: &str) -> bool {
        let Ok(hash) = PasswordHash::new(stored) else {
            return true;
        };
        let same_cost = Params::try_from(&hash).is_ok_and(|params| {
            let now = &self.cost.0;
            (params.m_cost(), params.t_cost(), params.p_cost()) == (now.m_cost(), now.t_cost(), now.p_cost())
        });
        hash.algorithm != Algorithm::Argon2id.ident() || !same_cost
    }

    /// A PHC string with a salt of its own.
    pub(crate) async fn hash(&self, password: &Secret<String>) -> Result<String, DirectoryError> {
        let salt: [u8; 16] = random::octets()?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.cost.0.clone());
        let password = password.clone();
        let hash =
            self.run(move || argon2.hash_password_with_salt(password.expose().as_bytes(), &salt)).await?;
        hash.map(|hash| hash.to_string())
            .map_err(|_| DirectoryError::UnusablePassword("this password cannot be hashed"))
    }

    /// Whether the password is the one behind the stored hash. Without a stored hash the same work is done for nothing.
    pub(crate) async fn verify(
        &self,
        password: &Secret<String>,
        stored: Option<&str>,
    ) -> Result<bool, DirectoryError> {
        let hash: Arc<str> = stored.map_or_else(|| self.dummy.clone(), Arc::from);
        let password = password.clone();
        let matches = self.run(move || verify(password.expose().as_bytes(), &hash)).await?;
        Ok(matches && stored.is_some())
    }

    /// Runs something slow that needs the memory of one hash on a thread of its own, when there is one for it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DirectoryError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| DirectoryError::Overloaded)?;
        let thread = self.threads.clone().acquire_owned().await.map_err(|_| DirectoryError::Overloaded)?;
        let computed = self.computed.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Given back when the work is done, not when nobody waits for it any more: its memory is in use till then.
            let _held = (place, thread);
            computed.fetch_add(1, Ordering::Relaxed);
            work()
        });
        done.await.map_err(|_| DirectoryError::Overloaded)
    }
}

/// A hash of nothing at the given cost. What it is compared with is thrown away.
fn dummy(cost: &Params) -> String {
    let (m, t, p) = (cost.m_cost(), cost.t_cost(), cost.p_cost());
    format!("$argon2id$v=19$m={m},t={t},p={p}${}${}", "A".repeat(22), "A".repeat(43))
}

fn verify(password: &[u8], stored: &str) -> bool {
    if stored.starts_with("$argon2") {
        return Argon2::default().verify_password(password, stored).is_ok();
    }
    match is_foreign(stored) {
        true => Foreign::parse(stored).is_ok_and(|foreign| foreign.verify(password)),
        false => ShaCrypt::default().verify_password(password, stored).is_ok(),
    }
}

/// A hash from elsewhere: Argon2 in PHC form, SHA-256, SHA-512 and MD5 crypt, bcrypt and scrypt as in `/etc/shadow`, and
/// `{SSHA}` and its like as in directories.
///
/// # Errors
/// Why log-ins could not be checked by it.
pub fn check_imported(hash: &str) -> Result<(), DirectoryError> {
    let unusable = DirectoryError::UnusableHash;
    if hash.starts_with("$argon2") {
        let parsed = PasswordHash::new(hash).map_err(|_| unusable("its form is not that of a PHC string"))?;
        let params = Params::try_from(&parsed).map_err(|_| unusable("its parameters are unknown"))?;
        Algorithm::try_from(parsed.algorithm.as_str()).map_err(|_| unusable("its algorithm is unknown"))?;
        if parsed.salt.is_none() || parsed.hash.is_none() {
            return Err(unusable("its salt or its hash is missing"));
        }
        // Few passes over much memory, or many over little.
        let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
        if params.m_cost() > IMPORTED_MEMORY_MAX || work > IMPORTED_WORK_MAX {
            return Err(unusable(
                "checking it would take more than 64 MiB, or longer than 64 passes over them",
            ));
        }
        return Ok(());
    }
    if is_foreign(hash) {
        return Foreign::parse(hash).map(drop).map_err(unusable);
    }
    let length = match hash.get(..3) {
        Some("$5$") => 43,
        Some("$6$") => 86,
        _ => return Err(unusable("its kind is unknown")),
    };
    if hash.rsplit('$').next().map(str::len) != Some(length) {
        return Err(unusable("its length is wrong"));
    }
    let rounds = hash.split('$').nth(2).and_then(|field| field.strip_prefix("rounds="));
    if rounds.is_some_and(|rounds| rounds.parse::<u32>().is_ok_and(|rounds| rounds > IMPORTED_ROUNDS_MAX)) {
        return Err(unusable("it has more than 1,000,000 rounds"));
    }
    // Checking any password tells whether it can be understood.
    match ShaCrypt::default().verify_password(b"", hash) {
        Ok(()) | Err(argon2::password_hash::Error::PasswordInvalid) => Ok(()),
        Err(_) => Err(unusable("its form is not that of crypt(3)")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn rules() -> HashingRules {
        HashingRules { cost: Argon2Cost::least(), ..HashingRules::default() }
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_and_no_other() {
        let hasher = Hasher::new(&rules());
        let hash = hasher.hash(&"correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert!(hasher.verify(&"correct horse".into(), Some(&hash)).await.unwrap());
        assert!(!hasher.verify(&"correct house".into(), Some(&hash)).await.unwrap());
        assert!(!hasher.verify(&"correct horse".into(), None).await.unwrap());
        assert_eq!(hasher.computed(), 4, "nobody's password is checked as any other");
        assert_ne!(hash, hasher.hash(&"correct horse".into()).await.unwrap(), "each has its own salt");
        assert!(!hasher.is_outdated(&hash));
        assert!(Hasher::new(&HashingRules::default()).is_outdated(&hash));
    }

    #[test]
    fn hashes_from_elsewhere_are_checked() {
        // Made by `openssl passwd`, and from the argon2 command of the reference implementation.
        for (password, hash) in [
            ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
            (
                "Hello world!",
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            ),
            (
                "Hello world!",
                "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
            ),
            ("correct horse", "$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80"),
            ("correct horse", "{SSHA}LhKrkM9Fy+zlstjdD7Kv2s6QvhBzYWx0"),
            (
                "password",
                "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
            ),
        ] {
            assert_eq!(check_imported(hash), Ok(()), "{hash}");
            assert!(verify(password.as_bytes(), hash), "{hash}");
            assert!(!verify(b"other", hash), "{hash}");
        }
    }

    #[test]
    fn what_could_not_be_checked_later_is_refused() {
        for hash in [
            "",
            "plain",
            "$1$abcdefgh$tooshort",
            "{CLEAR}text",
            // As DES crypt has it.
            "abSQqR3lgjqok",
            "$2y$10$abcdefghijklmnopqrstuv",
            "$6$",
            "$6$saltstring",
            "$6$saltstring$tooshort",
            "$6$rounds=1000001$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=1000000,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2x$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(matches!(check_imported(hash), Err(DirectoryError::UnusableHash(_))), "{hash}");
        }
    }

    #[tokio::test]
    async fn no_more_are_computed_at_once_than_may_be() {
        let hasher = Arc::new(Hasher::new(&HashingRules { at_once: 2, ..rules() }));
        let running = Arc::new(AtomicU64::new(0));
        let most = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (hasher, running, most) = (hasher.clone(), running.clone(), most.clone());
                tokio::spawn(async move {
                    let work = move || {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                    };
                    hasher.run(work).await
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert!(most.load(Ordering::SeqCst) <= 2);
    }

    #[tokio::test]
    async fn no_more_wait_than_may_wait() {
        let hasher = Arc::new(Hasher::new(&HashingRules { at_once: 1, ..rules() }));
        let _thread = hasher.threads.clone().acquire_owned().await.unwrap();
        let waiting: Vec<_> = (0..=WAITING_MAX)
            .map(|_| {
                let hasher = hasher.clone();
                tokio::spawn(async move { hasher.run(|| ()).await })
            })
            .collect();
        while hasher.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hasher.run(|| ()).await, Err(DirectoryError::Overloaded));
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
