//! Giving an account further addresses and taking them away.

use packetboat_message::Address;
use packetboat_store::AccountId;

use super::change::Change;
use super::{ADDRESSES_MAX, Directory};
use crate::error::DirectoryError;
use crate::key;

impl Directory {
    /// Mail to this address goes to the account from now on.
    pub async fn add_address(&self, id: AccountId, address: &Address) -> Result<(), DirectoryError> {
        let changing = self.inner.changing.lock().await;
        let mut account = self.inner.account_to_change(id)?;
        let mut domain = self.inner.domain_to_change(address.domain())?;
        self.inner.require_free(address)?;
        if account.value.addresses.len() >= ADDRESSES_MAX {
            return Err(DirectoryError::TooMany { what: "addresses", limit: ADDRESSES_MAX });
        }
        account.value.addresses.push(address.clone());
        domain.value.postmaster.get_or_insert(id);
        let mut change = Change::default();
        change.put_new(key::address(address), &id)?;
        change.put(key::account(id), Some(account.version), &account.value)?;
        change.put(key::domain(address.domain()), Some(domain.version), &domain.value)?;
        change.commit(&self.inner.store).await?;
        self.forget_lookups();
        drop(changing);
        Ok(())
    }

    /// Mail to this address is nobody's from now on. The primary address cannot be removed.
    pub async fn remove_address(&self, id: AccountId, address: &Address) -> Result<(), DirectoryError> {
        let changing = self.inner.changing.lock().await;
        let mut account = self.inner.account_to_change(id)?;
        let wanted = address.lookup_key();
        if account.value.login.lookup_key() == wanted {
            return Err(DirectoryError::PrimaryAddress(account.value.login));
        }
        let key = key::address(address);
        let entry = self.inner.read::<AccountId>(&key)?.filter(|entry| entry.value == id);
        let Some(entry) = entry else {
            return Err(DirectoryError::NoSuchAddress {
                address: address.clone(),
                account: account.value.login,
            });
        };
        account.value.addresses.retain(|address| address.lookup_key() != wanted);
        let mut change = Change::default();
        change.remove(key, entry.version);
        change.put(key::account(id), Some(account.version), &account.value)?;
        let mut domain = self.inner.domain_to_change(address.domain())?;
        let stays = account.value.addresses.iter().any(|other| other.domain() == address.domain());
        if domain.value.postmaster == Some(id) && !stays {
            domain.value.postmaster = self.next_postmaster(address.domain(), id).await?;
            change.put(key::domain(address.domain()), Some(domain.version), &domain.value)?;
        }
        change.commit(&self.inner.store).await?;
        self.forget_lookups();
        drop(changing);
        Ok(())
    }
}
