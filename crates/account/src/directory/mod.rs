//! Domains, accounts and addresses.

mod account;
mod address;
mod change;
mod domain;
mod find;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use packetboat_message::Domain;
use packetboat_store::{AccountId, Store};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;

use crate::access::Revocations;
use crate::bounded::Bounded;
use crate::credential::{Hasher, HashingRules};
use crate::error::DirectoryError;
use crate::key;
use crate::random;
use crate::record::Account;

pub use account::NewAccount;
pub(crate) use change::Change;
pub use find::Found;

/// Addresses an account can have.
pub const ADDRESSES_MAX: usize = 100;
/// The mailboxes a new account has: the inbox and those that mail programs otherwise make under many names.
pub const FIRST_MAILBOXES: [&str; 6] = ["INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"];
/// Answers to [`Directory::find`] that are remembered; with an ordinary account each takes about half a kilobyte.
const LOOKUPS_MAX: usize = 32_768;

/// How the directory behaves.
#[derive(Debug, Clone)]
pub struct DirectoryOptions {
    /// What separates the user from the tag in `user+tag@example.org`; `None`: no such addresses.
    pub subaddress_separator: Option<char>,
    /// The domain meant by a login name without one. When not set and there is one domain only, that one is meant.
    pub default_domain: Option<Domain>,
    /// How passwords are stored.
    pub hashing: HashingRules,
}

impl Default for DirectoryOptions {
    fn default() -> DirectoryOptions {
        DirectoryOptions {
            subaddress_separator: Some('+'),
            default_domain: None,
            hashing: HashingRules::default(),
        }
    }
}

/// Who is here. A handle: clones share everything.
#[derive(Debug, Clone)]
pub struct Directory {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) options: DirectoryOptions,
    pub(crate) hasher: Hasher,
    /// Never changes in the life of a store.
    pub(crate) secret: [u8; 32],
    pub(crate) revocations: Revocations,
    lookups: RwLock<Lookups>,
    /// [`Lookups::generation`], for those who ask nothing else.
    generation: AtomicU64,
    /// Held during a change, so that what it read is still true when it is committed.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

/// What [`Directory::find`] answers from.
#[derive(Debug)]
struct Lookups {
    found: Bounded<String, Arc<Account>>,
    /// One more with each change.
    generation: u64,
    only_domain: Option<Domain>,
    oldest_account: Option<AccountId>,
}

/// An entry as read.
#[derive(Debug)]
pub(crate) struct Read<T> {
    pub(crate) value: T,
    pub(crate) version: u64,
}

impl Directory {
    /// The directory kept in this store.
    pub async fn open(store: Store, options: DirectoryOptions) -> Result<Directory, DirectoryError> {
        let secret = secret_of(&store).await?;
        let inner = Inner {
            hasher: Hasher::new(&options.hashing),
            store,
            options,
            secret,
            revocations: Revocations::new(),
            lookups: RwLock::new(Lookups {
                found: Bounded::new(LOOKUPS_MAX),
                generation: 0,
                only_domain: None,
                oldest_account: None,
            }),
            generation: AtomicU64::new(0),
            changing: tokio::sync::Mutex::new(()),
        };
        let directory = Directory { inner: Arc::new(inner) };
        directory.relearn_domains().await?;
        directory.relearn_oldest().await?;
        Ok(directory)
    }

    /// The store this directory is kept in.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The domain that a name without one means, if any.
    pub fn default_domain(&self) -> Option<Domain> {
        self.inner.options.default_domain.clone().or_else(|| self.inner.lookups.read().only_domain.clone())
    }

    /// Password hashes computed since the start, for metrics.
    pub fn hashes_computed(&self) -> u64 {
        self.inner.hasher.computed()
    }

    /// Answers from now on are read anew. Called after each change.
    fn forget_lookups(&self) {
        let mut lookups = self.inner.lookups.write();
        lookups.found.clear();
        lookups.generation += 1;
        self.inner.generation.store(lookups.generation, Ordering::Release);
    }

    /// Finds out anew whether there is one domain only. Called after each change of the domains.
    async fn relearn_domains(&self) -> Result<(), DirectoryError> {
        self.forget_lookups();
        let two = self.domains(None, 2).await?;
        self.inner.lookups.write().only_domain = match two.as_slice() {
            [only] => Some(only.name.clone()),
            _ => None,
        };
        Ok(())
    }

    /// Finds out anew which account is the oldest. Called when the one that was may be gone.
    async fn relearn_oldest(&self) -> Result<(), DirectoryError> {
        let first = self.accounts(None, 1).await?;
        self.inner.lookups.write().oldest_account = first.first().map(|account| account.id);
        Ok(())
    }
}

impl Inner {
    pub(crate) fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Read<T>>, DirectoryError> {
        let Some(entry) = self.store.get(key)? else {
            return Ok(None);
        };
        Ok(Some(Read { value: parse(key, &entry.value)?, version: entry.version }))
    }
}

fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, DirectoryError> {
    serde_json::from_slice(value)
        .map_err(|error| DirectoryError::Damaged { key: key.to_owned(), why: error.to_string() })
}

/// The store's secret, made at its first use.
async fn secret_of(store: &Store) -> Result<[u8; 32], DirectoryError> {
    if store.get(key::SECRET)?.is_none() {
        let mut change = Change::default();
        change.put_new(key::SECRET.to_owned(), &random::octets::<32>()?)?;
        match change.commit(store).await {
            // Somebody else made it at the same moment.
            Ok(_) | Err(DirectoryError::Contended) => (),
            Err(error) => return Err(error),
        }
    }
    let entry = store.get(key::SECRET)?.ok_or(DirectoryError::Contended)?;
    parse(key::SECRET, &entry.value)
}
