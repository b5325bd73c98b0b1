//! Adding, listing, changing and removing accounts.

use std::collections::BTreeMap;
use std::sync::Arc;

use packetboat_message::{Address, Domain};
use packetboat_store::{AccountId, Op};

use super::change::Change;
use super::{ADDRESSES_MAX, Directory, FIRST_MAILBOXES, Inner, Read, parse};
use crate::access::Revoked;
use crate::credential::{Credentials, PreparedPassword};
use crate::error::DirectoryError;
use crate::key;
use crate::quota::{Quota, Usage};
use crate::record::{Account, DomainRecord};

/// The first account's number.
const FIRST_ACCOUNT: AccountId = AccountId(1);
/// Accounts made in one transaction of [`Directory::add_accounts`].
const ACCOUNTS_PER_TRANSACTION: usize = 32;
/// Entries looked at in one step while everything of an account is removed.
const REMOVED_PER_STEP: usize = 256;

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Primary address and login name.
    pub login: Address,
    /// Further addresses.
    pub aliases: Vec<Address>,
    /// How people call it.
    pub name: Option<String>,
    /// From [`Directory::prepare_password`]; without one nobody can log in until there is one.
    pub password: Option<PreparedPassword>,
    /// Its limits.
    pub quota: Quota,
}

impl NewAccount {
    /// An account with one address and no password or limits.
    pub fn new(login: Address) -> NewAccount {
        NewAccount { login, aliases: Vec::new(), name: None, password: None, quota: Quota::default() }
    }
}

impl Directory {
    /// Makes an account with its first mailboxes and credentials: all of it or nothing.
    pub async fn add_account(&self, new: NewAccount) -> Result<Account, DirectoryError> {
        let mut added = self.add_accounts(vec![new]).await?;
        added.pop().ok_or(DirectoryError::Contended)
    }

    /// Makes many accounts, some dozens in each transaction. An error leaves those before it standing.
    pub async fn add_accounts(&self, new: Vec<NewAccount>) -> Result<Vec<Account>, DirectoryError> {
        let changing = self.inner.changing.lock().await;
        let mut added = Vec::with_capacity(new.len());
        for some in new.chunks(ACCOUNTS_PER_TRANSACTION) {
            let (change, accounts) = self.inner.addition(some)?;
            change.commit(&self.inner.store).await?;
            // An address was nobody's and is somebody's now, and nobody's is never remembered; but it may have been
            // the postmaster's or, as `user+tag`, somebody else's.
            self.forget_lookups();
            added.extend(accounts);
            let first = added.first().map(|account| account.id);
            let mut lookups = self.inner.lookups.write();
            lookups.oldest_account = lookups.oldest_account.or(first);
        }
        drop(changing);
        Ok(added)
    }

    /// Accounts after this one, in the order of their numbers.
    pub async fn accounts(
        &self,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<Account>, DirectoryError> {
        let after = after.map(key::account);
        let entries = self.inner.store.scan(key::ACCOUNTS, after.as_deref(), limit).await?;
        entries.iter().map(|entry| parse(&entry.key, &entry.value)).collect()
    }

    /// The account with this number.
    pub fn account(&self, id: AccountId) -> Result<Arc<Account>, DirectoryError> {
        Ok(Arc::new(self.inner.account_to_change(id)?.value))
    }

    /// The account a person means who writes this login name; says what is wrong when there is none.
    pub fn account_named(&self, name: &str) -> Result<Arc<Account>, DirectoryError> {
        if let Some(account) = self.find_login(name)? {
            return Ok(account);
        }
        match self.login_address(name) {
            None if !name.contains('@') => Err(DirectoryError::WhichDomain(name.to_owned())),
            Some(address) if !self.is_local(address.domain())? => {
                Err(DirectoryError::NoSuchDomain(address.domain().clone()))
            }
            _ => Err(DirectoryError::NoSuchAccount(name.to_owned())),
        }
    }

    /// What the account uses of its quota.
    pub async fn usage(&self, id: AccountId) -> Result<Usage, DirectoryError> {
        let quota = self.inner.account_to_change(id)?.value.quota;
        let row = self.inner.store.account(id).await?.ok_or(DirectoryError::NoSuchAccountId(id))?;
        Ok(Usage { octets: row.used_octets, messages: row.messages, quota })
    }

    /// Sets the limits.
    pub async fn set_quota(&self, id: AccountId, quota: Quota) -> Result<(), DirectoryError> {
        self.change_account(id, |account| account.quota = quota).await
    }

    /// Sets or clears how people call it.
    pub async fn set_name(&self, id: AccountId, name: Option<String>) -> Result<(), DirectoryError> {
        self.change_account(id, |account| account.name = name).await
    }

    /// Whether anybody can log in. Who has, is told.
    pub async fn set_disabled(&self, id: AccountId, disabled: bool) -> Result<(), DirectoryError> {
        self.change_account(id, |account| account.disabled = disabled).await?;
        if disabled {
            self.inner.revocations.tell(id, Revoked::All);
        }
        Ok(())
    }

    async fn change_account(
        &self,
        id: AccountId,
        how: impl FnOnce(&mut Account),
    ) -> Result<(), DirectoryError> {
        let changing = self.inner.changing.lock().await;
        let mut account = self.inner.account_to_change(id)?;
        how(&mut account.value);
        let mut change = Change::default();
        change.put(key::account(id), Some(account.version), &account.value)?;
        change.commit(&self.inner.store).await?;
        self.forget_lookups();
        drop(changing);
        Ok(())
    }

    /// Removes an account, all its mail, and whatever else is kept for it.
    ///
    /// What other rooms keep for it goes first, step by step where it is much; then the account, its addresses and its
    /// mail in one transaction. When this is interrupted the account is still listed and can be removed again.
    pub async fn remove_account(&self, id: AccountId) -> Result<(), DirectoryError> {
        let changing = self.inner.changing.lock().await;
        let account = self.inner.account_to_change(id)?;
        let data = key::account_data(id);
        let mut change = loop {
            let entries = self.inner.store.scan(&data, None, REMOVED_PER_STEP).await?;
            let mut change = Change::default();
            let last = entries.len() < REMOVED_PER_STEP;
            for entry in entries {
                change.remove(entry.key, entry.version);
            }
            if last {
                break change;
            }
            change.commit(&self.inner.store).await?;
        };
        change.remove(key::account(id), account.version);
        for address in &account.value.addresses {
            if let Some(read) = self.inner.read::<AccountId>(&key::address(address))? {
                change.remove(key::address(address), read.version);
            }
        }
        for domain in domains_of(&account.value.addresses) {
            let mut record = self.inner.domain_to_change(domain)?;
            if record.value.postmaster == Some(id) {
                record.value.postmaster = self.next_postmaster(domain, id).await?;
                change.put(key::domain(domain), Some(record.version), &record.value)?;
            }
        }
        change.also(Op::RemoveAccount(id));
        change.commit(&self.inner.store).await?;
        self.inner.revocations.tell(id, Revoked::All);
        self.forget_lookups();
        self.relearn_oldest().await?;
        drop(changing);
        Ok(())
    }

    /// The domain's oldest account among its first addresses, `leaving` apart.
    pub(super) async fn next_postmaster(
        &self,
        domain: &Domain,
        leaving: AccountId,
    ) -> Result<Option<AccountId>, DirectoryError> {
        let entries = self.inner.store.scan(&key::addresses_of(domain), None, ADDRESSES_MAX + 100).await?;
        let mut oldest = None;
        for entry in entries {
            let id: AccountId = parse(&entry.key, &entry.value)?;
            if id != leaving && oldest.is_none_or(|oldest| id < oldest) {
                oldest = Some(id);
            }
        }
        Ok(oldest)
    }
}

impl Inner {
    pub(crate) fn account_to_change(&self, id: AccountId) -> Result<Read<Account>, DirectoryError> {
        self.read(&key::account(id))?.ok_or(DirectoryError::NoSuchAccountId(id))
    }

    /// The owner's login name, for a message.
    pub(super) fn name_of(&self, id: AccountId) -> Result<String, DirectoryError> {
        Ok(match self.read::<Account>(&key::account(id))? {
            Some(read) => read.value.login.to_string(),
            None => format!("account number {id}"),
        })
    }

    /// The transaction that makes these accounts.
    fn addition(&self, new: &[NewAccount]) -> Result<(Change, Vec<Account>), DirectoryError> {
        let next: Option<Read<AccountId>> = self.read(key::NEXT_ACCOUNT)?;
        let mut id = next.as_ref().map_or(FIRST_ACCOUNT, |read| read.value);
        let mut domains: BTreeMap<&Domain, Read<DomainRecord>> = BTreeMap::new();
        let mut taken: BTreeMap<String, &Address> = BTreeMap::new();
        let mut change = Change::default();
        let mut accounts = Vec::with_capacity(new.len());
        for new in new {
            let account = Account {
                id,
                login: new.login.clone(),
                addresses: std::iter::once(&new.login).chain(&new.aliases).cloned().collect(),
                name: new.name.clone(),
                disabled: false,
                quota: new.quota,
                roles: Default::default(),
                created_at: jiff::Timestamp::now(),
            };
            if account.addresses.len() > ADDRESSES_MAX {
                return Err(DirectoryError::TooMany { what: "addresses", limit: ADDRESSES_MAX });
            }
            for address in std::iter::once(&new.login).chain(&new.aliases) {
                if !domains.contains_key(address.domain()) {
                    domains.insert(address.domain(), self.domain_to_change(address.domain())?);
                }
                if let Some(record) = domains.get_mut(address.domain()) {
                    record.value.postmaster.get_or_insert(id);
                }
                let key = key::address(address);
                if let Some(owner) = taken.insert(key.clone(), &new.login) {
                    return Err(DirectoryError::AddressTaken {
                        address: address.clone(),
                        owner: owner.to_string(),
                    });
                }
                self.require_free(address)?;
                change.put_new(key, &id)?;
            }
            change.put_new(key::account(id), &account)?;
            let credentials = new.password.clone().map(Credentials::with_password).unwrap_or_default();
            change.put_new(key::credentials(id), &credentials)?;
            change.also(Op::CreateAccount(id));
            for name in FIRST_MAILBOXES {
                change.also(Op::CreateMailbox {
                    account: id,
                    name: name.to_owned(),
                    // The others are called what they are for (RFC 6154 section 2).
                    special_use: (name != "INBOX").then(|| format!("\\{name}")),
                    uid_validity: None,
                });
            }
            accounts.push(account);
            id = AccountId(id.0 + 1);
        }
        // Put even where unchanged: the domain cannot go at the same moment.
        for (name, record) in domains {
            change.put(key::domain(name), Some(record.version), &record.value)?;
        }
        change.put(key::NEXT_ACCOUNT.to_owned(), next.map(|read| read.version), &id)?;
        Ok((change, accounts))
    }

    pub(super) fn require_free(&self, address: &Address) -> Result<(), DirectoryError> {
        match self.read::<AccountId>(&key::address(address))? {
            None => Ok(()),
            Some(owner) => Err(DirectoryError::AddressTaken {
                address: address.clone(),
                owner: self.name_of(owner.value)?,
            }),
        }
    }
}

/// Each domain once.
fn domains_of(addresses: &[Address]) -> Vec<&Domain> {
    let mut domains: Vec<&Domain> = addresses.iter().map(Address::domain).collect();
    domains.sort();
    domains.dedup();
    domains
}
