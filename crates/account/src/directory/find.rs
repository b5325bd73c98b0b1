//! Whose mail is it: the question asked for every recipient, answered without waiting.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_lc_rs::hmac;
use packetboat_message::{Address, Domain};
use packetboat_store::AccountId;

use super::{Directory, Inner};
use crate::error::DirectoryError;
use crate::key;
use crate::record::{Account, DomainRecord};

/// The local part that every domain has (RFC 5321 section 4.5.1).
const POSTMASTER: &str = "postmaster";

/// Whose an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This account's.
    Account(Arc<Account>),
    /// Nobody's, though the domain is one of this server's.
    UnknownUser,
    /// The domain is not one of this server's.
    UnknownDomain,
}

impl Directory {
    /// Whose mail to `address` is. Case of the local part does not matter; `user+tag` is `user` unless somebody has that
    /// very address; `postmaster` of a local domain is always somebody once the domain has an account.
    ///
    /// Takes a microsecond when the answer is in the cache and a few reads of the store's when not; never waits.
    pub fn find(&self, address: &Address) -> Result<Found, DirectoryError> {
        let key = address.lookup_key();
        if let Some(account) = self.inner.lookups.read().found.peek_young(key.as_str()) {
            return Ok(Found::Account(account.clone()));
        }
        let generation = {
            let mut lookups = self.inner.lookups.write();
            if let Some(account) = lookups.found.get_mut(key.as_str()) {
                return Ok(Found::Account(account.clone()));
            }
            lookups.generation
        };
        let found = self.inner.find_in_store(address)?;
        if let Found::Account(account) = &found {
            let mut lookups = self.inner.lookups.write();
            // A change in between may have made this answer wrong.
            if lookups.generation == generation {
                lookups.found.insert(key, account.clone());
            }
        }
        Ok(found)
    }

    /// Whose this very address is: no part of it is taken for a tag, and `postmaster` is nobody's unless somebody has it.
    /// Reads the store; [`find`](Directory::find) is what remembers.
    pub fn owner(&self, address: &Address) -> Result<Option<Arc<Account>>, DirectoryError> {
        match self.inner.domain(address.domain())? {
            Some(_) => self.inner.owner(address.domain(), &address.local().as_str().to_lowercase()),
            None => Ok(None),
        }
    }

    /// Who gets a domain's mail for `postmaster` if nobody has that very address.
    pub fn postmaster_of(&self, domain: &Domain) -> Result<Option<Arc<Account>>, DirectoryError> {
        self.inner.postmaster(domain)
    }

    /// The character between user and tag where nothing else is said of a domain.
    pub fn subaddress_separator(&self) -> Option<char> {
        self.inner.options.subaddress_separator
    }

    /// A secret for a purpose, made from the store's own: the same each time, and of no use for any other.
    pub fn secret_for(&self, purpose: &str) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.inner.secret);
        let mut secret = [0; 32];
        secret.copy_from_slice(hmac::sign(&key, purpose.as_bytes()).as_ref());
        secret
    }

    /// A number that grows with each change of domains, accounts or addresses: what was found out while it stayed the
    /// same may be remembered.
    pub fn generation(&self) -> u64 {
        self.inner.generation.load(Ordering::Acquire)
    }

    /// Who gets mail to `postmaster` without a domain (RFC 5321 section 2.3.5): the postmaster of the default domain, or
    /// of the only one, or else the oldest account.
    pub fn find_postmaster(&self) -> Result<Found, DirectoryError> {
        let default = self.default_domain();
        if let Some(domain) = &default
            && let Some(account) = self.inner.postmaster(domain)?
        {
            return Ok(Found::Account(account));
        }
        let oldest = self.inner.lookups.read().oldest_account;
        if let Some(id) = oldest
            && let Some(account) = self.inner.account(id)?
        {
            return Ok(Found::Account(account));
        }
        Ok(if default.is_some() { Found::UnknownUser } else { Found::UnknownDomain })
    }

    /// Whether mail to this domain is delivered here.
    pub fn is_local(&self, domain: &Domain) -> Result<bool, DirectoryError> {
        Ok(self.inner.domain(domain)?.is_some())
    }

    /// The account that logs in as `name`: its primary address, in full or, with a default domain or a single one, the
    /// part before the `@`.
    pub fn find_login(&self, name: &str) -> Result<Option<Arc<Account>>, DirectoryError> {
        let Some(address) = self.login_address(name) else {
            return Ok(None);
        };
        let found = self.find(&address)?;
        let Found::Account(account) = found else {
            return Ok(None);
        };
        Ok((account.login.lookup_key() == address.lookup_key()).then_some(account))
    }

    /// The address that somebody who calls himself `name` means, whether or not there is such an account.
    pub fn login_address(&self, name: &str) -> Option<Address> {
        if name.contains('@') {
            return Address::parse(name).ok();
        }
        let local = packetboat_message::LocalPart::parse(name).ok()?;
        Some(Address::new(local, self.default_domain()?))
    }
}

impl Inner {
    fn find_in_store(&self, address: &Address) -> Result<Found, DirectoryError> {
        let domain = address.domain();
        if self.domain(domain)?.is_none() {
            return Ok(Found::UnknownDomain);
        }
        let local = address.local().as_str().to_lowercase();
        if let Some(account) = self.owner(domain, &local)? {
            return Ok(Found::Account(account));
        }
        let base = self.options.subaddress_separator.and_then(|separator| local.split_once(separator));
        let base = base.map(|(base, _)| base).filter(|base| !base.is_empty());
        if let Some(base) = base
            && let Some(account) = self.owner(domain, base)?
        {
            return Ok(Found::Account(account));
        }
        if base.unwrap_or(&local) == POSTMASTER
            && let Some(account) = self.postmaster(domain)?
        {
            return Ok(Found::Account(account));
        }
        Ok(Found::UnknownUser)
    }

    pub(super) fn owner_id(&self, domain: &Domain, local: &str) -> Result<Option<AccountId>, DirectoryError> {
        Ok(self.read::<AccountId>(&key::local_address(domain, local))?.map(|read| read.value))
    }

    fn owner(&self, domain: &Domain, local: &str) -> Result<Option<Arc<Account>>, DirectoryError> {
        match self.owner_id(domain, local)? {
            Some(id) => self.account(id),
            None => Ok(None),
        }
    }

    fn postmaster(&self, domain: &Domain) -> Result<Option<Arc<Account>>, DirectoryError> {
        match self.domain(domain)?.and_then(|record| record.postmaster) {
            Some(id) => self.account(id),
            None => Ok(None),
        }
    }

    fn account(&self, id: AccountId) -> Result<Option<Arc<Account>>, DirectoryError> {
        Ok(self.read::<Account>(&key::account(id))?.map(|read| Arc::new(read.value)))
    }

    pub(super) fn domain(&self, domain: &Domain) -> Result<Option<DomainRecord>, DirectoryError> {
        match domain {
            Domain::Name(_) => Ok(self.read::<DomainRecord>(&key::domain(domain))?.map(|read| read.value)),
            Domain::Literal(_) => Ok(None),
        }
    }
}
