//! Adding, listing and removing domains.

use packetboat_message::Domain;
use packetboat_store::AccountId;

use super::change::Change;
use super::{Directory, Inner, Read, parse};
use crate::error::DirectoryError;
use crate::key;
use crate::record::{DomainInfo, DomainRecord};

impl Directory {
    /// Makes this server responsible for a domain's mail.
    pub async fn add_domain(&self, name: &Domain) -> Result<DomainInfo, DirectoryError> {
        let Domain::Name(_) = name else {
            return Err(DirectoryError::NotADomainName(name.clone()));
        };
        let changing = self.inner.changing.lock().await;
        if self.inner.domain(name)?.is_some() {
            return Err(DirectoryError::DomainExists(name.clone()));
        }
        let record = DomainRecord { postmaster: None, created_at: jiff::Timestamp::now() };
        let mut change = Change::default();
        change.put_new(key::domain(name), &record)?;
        change.commit(&self.inner.store).await?;
        self.relearn_domains().await?;
        drop(changing);
        Ok(record.into_info(name.clone()))
    }

    /// Domains after this one, in the order of their names.
    pub async fn domains(
        &self,
        after: Option<&Domain>,
        limit: usize,
    ) -> Result<Vec<DomainInfo>, DirectoryError> {
        let after = after.map(key::domain);
        let entries = self.inner.store.scan(key::DOMAINS, after.as_deref(), limit).await?;
        let read = |entry: packetboat_store::Entry| {
            let name = entry.key.strip_prefix(key::DOMAINS).unwrap_or_default();
            let name = Domain::parse(name).map_err(|error| DirectoryError::Damaged {
                key: entry.key.clone(),
                why: error.to_string(),
            })?;
            Ok(parse::<DomainRecord>(&entry.key, &entry.value)?.into_info(name))
        };
        entries.into_iter().map(read).collect()
    }

    /// What there is to know of a domain.
    pub fn domain(&self, name: &Domain) -> Result<DomainInfo, DirectoryError> {
        Ok(self.inner.domain_to_change(name)?.value.into_info(name.clone()))
    }

    /// Ends this server's responsibility for a domain that has no addresses any more.
    pub async fn remove_domain(&self, name: &Domain) -> Result<(), DirectoryError> {
        let changing = self.inner.changing.lock().await;
        let record = self.inner.domain_to_change(name)?;
        let prefix = key::addresses_of(name);
        if let Some(entry) = self.inner.store.scan(&prefix, None, 1).await?.first() {
            let local = entry.key.strip_prefix(&prefix).unwrap_or_default();
            return Err(DirectoryError::DomainInUse {
                domain: name.clone(),
                address: format!("{local}@{name}"),
            });
        }
        let mut change = Change::default();
        change.remove(key::domain(name), record.version);
        change.commit(&self.inner.store).await?;
        self.relearn_domains().await?;
        drop(changing);
        Ok(())
    }

    /// Says who gets a domain's mail for `postmaster`. An account that has that very address goes first.
    pub async fn set_postmaster(&self, name: &Domain, account: AccountId) -> Result<(), DirectoryError> {
        let changing = self.inner.changing.lock().await;
        let mut record = self.inner.domain_to_change(name)?;
        self.inner.account_to_change(account)?;
        record.value.postmaster = Some(account);
        let mut change = Change::default();
        change.put(key::domain(name), Some(record.version), &record.value)?;
        change.commit(&self.inner.store).await?;
        self.forget_lookups();
        drop(changing);
        Ok(())
    }
}

impl Inner {
    pub(super) fn domain_to_change(&self, name: &Domain) -> Result<Read<DomainRecord>, DirectoryError> {
        self.read(&key::domain(name))?.ok_or_else(|| DirectoryError::NoSuchDomain(name.clone()))
    }
}

impl DomainRecord {
    fn into_info(self, name: Domain) -> DomainInfo {
        DomainInfo { name, postmaster: self.postmaster, created_at: self.created_at }
    }
}
