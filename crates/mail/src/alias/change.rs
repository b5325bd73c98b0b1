//! Making, changing and removing aliases and what is said of domains.

use std::sync::Arc;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use packetboat_account::DirectoryError;
use packetboat_message::{Address, Domain};
use packetboat_store::{Op, Require, Tx};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::book::{Book, Lead, Step, StepKind, parse};
use super::record::{self, Alias, AliasRecord, DomainRules, Moved};
use super::{AliasError, Aliases, Cause, Expanded, Remote, TARGETS_MAX, expand, srs};

/// Octets of a secret of [`srs`].
const SECRET_LEN: usize = 32;
/// Secrets that are kept: the one in use, and those before it.
const SECRETS_MAX: usize = 3;
/// Entries read at a time.
const PAGE: usize = 256;

/// What to do about a target that nobody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Refuse the change.
    Refuse,
    /// Take it: it will be there later.
    Accept,
}

/// An entry as read.
#[derive(Debug)]
struct Versioned<T> {
    value: T,
    version: u64,
}

impl Aliases {
    /// The alias of this name.
    pub fn alias(&self, name: &Address) -> Result<Option<Alias>, AliasError> {
        Ok(self.read::<AliasRecord>(&record::name(name))?.map(Alias::from))
    }

    /// Aliases after this one, ordered by domain and name; of one domain or of all.
    pub async fn aliases(
        &self,
        domain: Option<&Domain>,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Vec<Alias>, AliasError> {
        let prefix = domain.map_or_else(|| record::NAMES.to_owned(), record::names_of);
        let after = after.map(record::name);
        let entries = self.inner.store.scan(&prefix, after.as_deref(), limit).await?;
        entries.iter().map(|entry| parse::<AliasRecord>(&entry.key, &entry.value).map(Alias::from)).collect()
    }

    /// Lets a name lead to these addresses too, or to these alone where it led nowhere yet.
    pub async fn add(
        &self,
        name: &Address,
        targets: &[Address],
        missing: Missing,
    ) -> Result<Alias, AliasError> {
        let changing = self.inner.changing.lock().await;
        let old = self.versioned::<AliasRecord>(&record::name(name))?;
        if old.as_ref().is_some_and(|old| old.value.moved.is_some()) {
            return Err(AliasError::HasMoved(name.clone()));
        }
        let had = old.as_ref().map(|old| old.value.targets.clone()).unwrap_or_default();
        let alias = self.put(name, had, targets, None, missing, old).await?;
        drop(changing);
        Ok(alias)
    }

    /// Lets a name lead to these addresses alone, whatever it did before.
    pub async fn set(
        &self,
        name: &Address,
        targets: &[Address],
        missing: Missing,
    ) -> Result<Alias, AliasError> {
        let changing = self.inner.changing.lock().await;
        let old = self.versioned::<AliasRecord>(&record::name(name))?;
        let alias = self.put(name, Vec::new(), targets, None, missing, old).await?;
        drop(changing);
        Ok(alias)
    }

    /// Keeps a name for a user who has moved. An account that has the name gets none of its mail any more.
    pub async fn set_moved(
        &self,
        name: &Address,
        to: &Address,
        how: Moved,
        missing: Missing,
    ) -> Result<Alias, AliasError> {
        let changing = self.inner.changing.lock().await;
        let old = self.versioned::<AliasRecord>(&record::name(name))?;
        if old.as_ref().is_some_and(|old| old.value.moved.is_none()) {
            return Err(AliasError::Exists(name.clone()));
        }
        let targets = std::slice::from_ref(to);
        let alias = self.put(name, Vec::new(), targets, Some(how), missing, old).await?;
        drop(changing);
        Ok(alias)
    }

    async fn put(
        &self,
        name: &Address,
        mut targets: Vec<Address>,
        more: &[Address],
        moved: Option<Moved>,
        missing: Missing,
        old: Option<Versioned<AliasRecord>>,
    ) -> Result<Alias, AliasError> {
        if !self.inner.directory.is_local(name.domain())? {
            return Err(DirectoryError::NoSuchDomain(name.domain().clone()).into());
        }
        for target in more {
            if !targets.iter().any(|had| had == target) {
                targets.push(target.clone());
            }
        }
        if targets.is_empty() {
            return Err(AliasError::NoTargets);
        }
        if targets.len() > TARGETS_MAX {
            return Err(AliasError::TooManyTargets { limit: TARGETS_MAX });
        }
        let (version, created_at) = match &old {
            Some(old) => (Some(old.version), old.value.created_at),
            None => (None, jiff::Timestamp::now()),
        };
        let record = AliasRecord { name: name.clone(), targets, moved, created_at };
        self.check(&record, more, missing)?;
        self.commit_value(record::name(name), version, &record).await?;
        self.forget();
        Ok(record.into())
    }

    /// Whether an alias may be as it is to be.
    fn check(&self, record: &AliasRecord, new: &[Address], missing: Missing) -> Result<(), AliasError> {
        let name = &record.name;
        let key = name.lookup_key();
        let own = self.inner.directory.owner(name)?;
        let names_itself = record.targets.iter().any(|target| target.lookup_key() == key);
        if let Some(account) = &own
            && !names_itself
            && record.moved.is_none()
        {
            return Err(AliasError::IsAccount { name: name.clone(), owner: account.login.clone() });
        }
        let step = Step {
            name: name.clone(),
            kind: StepKind::Alias,
            targets: record.targets.clone(),
            own: own.filter(|_| names_itself && record.moved.is_none()),
            tag: None,
            srs: false,
        };
        let proposed = Proposed { aliases: self, key: &key, step: Arc::new(step) };
        let (failures, loops) = match expand(name, &proposed)? {
            Expanded::To(to) => (to.failures, to.loops),
            Expanded::Broken(failure) if failure.cause == Cause::Loop => (Vec::new(), vec![failure]),
            Expanded::Broken(failure) => (vec![failure], Vec::new()),
            _ => (Vec::new(), Vec::new()),
        };
        if let Some(back) = loops.iter().find(|back| back.address.lookup_key() == key) {
            let chain = format!("{} -> {}", back.chain, back.address);
            return Err(AliasError::Loop { name: name.clone(), chain });
        }
        for failure in failures {
            match failure.cause {
                Cause::TooDeep => return Err(AliasError::TooDeep(failure.chain.to_string())),
                Cause::TooMany => return Err(AliasError::TooManyRecipients(name.clone())),
                Cause::Gone if missing == Missing::Refuse && new.contains(&failure.address) => {
                    return Err(AliasError::TargetMissing(failure.address));
                }
                Cause::Gone | Cause::Loop | Cause::Moved => (),
            }
        }
        Ok(())
    }

    /// Removes an alias, or the note of where a user has moved.
    pub async fn remove(&self, name: &Address) -> Result<(), AliasError> {
        let changing = self.inner.changing.lock().await;
        let key = record::name(name);
        let old = self.versioned::<AliasRecord>(&key)?;
        let old = old.ok_or_else(|| AliasError::NoSuchAlias(name.clone()))?;
        self.commit_removal(key, old.version).await?;
        self.forget();
        drop(changing);
        Ok(())
    }

    /// Takes targets from an alias. Without any left it is gone, and `None` comes back.
    pub async fn remove_targets(
        &self,
        name: &Address,
        targets: &[Address],
    ) -> Result<Option<Alias>, AliasError> {
        let changing = self.inner.changing.lock().await;
        let key = record::name(name);
        let old = self.versioned::<AliasRecord>(&key)?;
        let Versioned { value: mut record, version } =
            old.ok_or_else(|| AliasError::NoSuchAlias(name.clone()))?;
        for target in targets {
            let before = record.targets.len();
            let gone = target.lookup_key();
            record.targets.retain(|had| had.lookup_key() != gone);
            if record.targets.len() == before {
                return Err(AliasError::NoSuchTarget { name: name.clone(), target: target.clone() });
            }
        }
        if record.targets.is_empty() {
            self.commit_removal(key, version).await?;
            self.forget();
            return Ok(None);
        }
        // What led to its own account too may not lead past it now.
        self.check(&record, &[], Missing::Accept)?;
        self.commit_value(key, Some(version), &record).await?;
        self.forget();
        drop(changing);
        Ok(Some(record.into()))
    }

    /// Changes what is said of a domain.
    pub async fn change_rules(
        &self,
        domain: &Domain,
        missing: Missing,
        how: impl FnOnce(&mut DomainRules),
    ) -> Result<DomainRules, AliasError> {
        let changing = self.inner.changing.lock().await;
        if !self.inner.directory.is_local(domain)? {
            return Err(DirectoryError::NoSuchDomain(domain.clone()).into());
        }
        let key = record::domain(domain);
        let old = self.versioned::<DomainRules>(&key)?;
        let version = old.as_ref().map(|old| old.version);
        let before = old.map(|old| old.value).unwrap_or_default();
        let mut rules = before.clone();
        how(&mut rules);
        if let Some(other) = rules.same_as.as_ref().filter(|_| rules.same_as != before.same_as) {
            self.check_same_as(domain, other)?;
        }
        for (target, had) in [(&rules.catch_all, &before.catch_all), (&rules.generic, &before.generic)] {
            if let Some(target) = target.as_ref().filter(|_| target != had) {
                self.check_default(domain, target, missing)?;
            }
        }
        self.commit_value(key, version, &rules).await?;
        self.forget();
        drop(changing);
        Ok(rules)
    }

    /// A domain may not be another name of itself, by way of others either.
    fn check_same_as(&self, domain: &Domain, other: &Domain) -> Result<(), AliasError> {
        let looped = || AliasError::DomainLoop { domain: domain.clone(), other: other.clone() };
        let mut next = other.clone();
        for _ in 0..super::DEPTH_MAX {
            if next == *domain {
                return Err(looped());
            }
            if !self.inner.directory.is_local(&next)? {
                return Err(DirectoryError::NoSuchDomain(next).into());
            }
            match self.rules(&next)?.and_then(|rules| rules.same_as) {
                Some(further) => next = further,
                None => return Ok(()),
            }
        }
        Err(looped())
    }

    /// Whoever gets what is nobody's must be somebody, and not by the same rule.
    fn check_default(&self, domain: &Domain, target: &Address, missing: Missing) -> Result<(), AliasError> {
        let found = match self.find(target)? {
            Lead::Nobody | Lead::NotOurs(_) => false,
            Lead::Step(step) if step.name.domain() == domain => {
                !matches!(step.kind, StepKind::CatchAll | StepKind::Generic)
            }
            Lead::Account { .. } | Lead::Step(_) | Lead::Elsewhere => true,
        };
        match found || missing == Missing::Accept {
            true => Ok(()),
            false => Err(AliasError::TargetMissing(target.clone())),
        }
    }

    /// Whether a domain has no aliases and no other names, so that it may go.
    pub async fn check_unused(&self, domain: &Domain) -> Result<(), AliasError> {
        if let Some(alias) = self.aliases(Some(domain), None, 1).await?.pop() {
            return Err(AliasError::DomainInUse { domain: domain.clone(), alias: alias.name });
        }
        let mut after: Option<String> = None;
        loop {
            let entries = self.inner.store.scan(record::DOMAINS, after.as_deref(), PAGE).await?;
            let Some(last) = entries.last() else { return Ok(()) };
            after = Some(last.key.clone());
            for entry in &entries {
                let rules: DomainRules = parse(&entry.key, &entry.value)?;
                let name = entry.key.strip_prefix(record::DOMAINS).and_then(|name| Domain::parse(name).ok());
                if let Some(other) = name.filter(|_| rules.same_as.as_ref() == Some(domain)) {
                    return Err(AliasError::DomainNamed { domain: domain.clone(), other });
                }
            }
        }
    }

    /// Forgets what was said of a domain that is gone.
    pub async fn forget_domain(&self, domain: &Domain) -> Result<(), AliasError> {
        let changing = self.inner.changing.lock().await;
        let key = record::domain(domain);
        if let Some(old) = self.versioned::<DomainRules>(&key)? {
            self.commit_removal(key, old.version).await?;
        }
        self.forget();
        drop(changing);
        Ok(())
    }

    /// The keys of [`srs`], newest first: those that were made, and before them the one that every store has.
    pub(super) fn srs_keys(&self) -> Result<Arc<[srs::Key]>, AliasError> {
        let (known, generation) = {
            let memory = self.inner.memory.read();
            (memory.keys.clone(), memory.generation)
        };
        if let Some(keys) = known {
            return Ok(keys);
        }
        let secrets = self.read::<Vec<String>>(record::SRS)?.unwrap_or_default();
        let first = self.inner.directory.secret_for("return paths");
        let keys: Arc<[srs::Key]> = secrets
            .iter()
            .filter_map(|secret| STANDARD.decode(secret).ok())
            .chain([first.to_vec()])
            .take(SECRETS_MAX)
            .map(|secret| srs::Key::new(&secret))
            .collect();
        let mut memory = self.inner.memory.write();
        if memory.generation == generation {
            memory.keys = Some(keys.clone());
        }
        Ok(keys)
    }

    /// The return path with which a message from `sender` goes to a recipient elsewhere: one of ours where the alias's
    /// domain says so, as long as it is not ours anyway. A bounce has none, and one that would be too long stays.
    pub fn return_path(
        &self,
        sender: Option<&Address>,
        to: &Remote,
        now: jiff::Timestamp,
    ) -> Result<Option<Address>, AliasError> {
        let Some(sender) = sender else { return Ok(None) };
        let Some(domain) = &to.rewrite else { return Ok(Some(sender.clone())) };
        if self.inner.directory.is_local(sender.domain())? {
            return Ok(Some(sender.clone()));
        }
        let keys = self.srs_keys()?;
        let key = keys.first().ok_or(AliasError::Directory(DirectoryError::NoRandomness))?;
        Ok(Some(srs::forward(sender, domain, key, now).unwrap_or_else(|too_long| {
            tracing::info!(%sender, to = %to.address, %too_long, "forwarded under the sender's own return path");
            sender.clone()
        })))
    }

    /// Makes a new key. Return paths made with the two before it stay good for their time.
    pub async fn rotate_srs_key(&self) -> Result<(), AliasError> {
        let changing = self.inner.changing.lock().await;
        let mut secret = [0; SECRET_LEN];
        rand::fill(&mut secret).map_err(|_| DirectoryError::NoRandomness)?;
        let old = self.versioned::<Vec<String>>(record::SRS)?;
        let version = old.as_ref().map(|old| old.version);
        let mut secrets = vec![STANDARD.encode(secret)];
        secrets.extend(old.map(|old| old.value).unwrap_or_default());
        secrets.truncate(SECRETS_MAX);
        self.commit_value(record::SRS.to_owned(), version, &secrets).await?;
        self.forget();
        drop(changing);
        Ok(())
    }

    fn versioned<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Versioned<T>>, AliasError> {
        let Some(entry) = self.inner.store.get(key)? else { return Ok(None) };
        Ok(Some(Versioned { value: parse(key, &entry.value)?, version: entry.version }))
    }

    async fn commit_value(
        &self,
        key: String,
        version: Option<u64>,
        value: &impl Serialize,
    ) -> Result<(), AliasError> {
        let value = serde_json::to_vec(value)
            .map_err(|error| DirectoryError::Damaged { key: key.clone(), why: error.to_string() })?;
        let require = vec![Require::KeyVersion { key: key.clone(), version }];
        let tx = Tx { id: None, require, ops: vec![Op::Put { key, value }] };
        self.inner.store.commit(tx, Vec::new()).await?;
        Ok(())
    }

    async fn commit_removal(&self, key: String, version: u64) -> Result<(), AliasError> {
        let require = vec![Require::KeyVersion { key: key.clone(), version: Some(version) }];
        let tx = Tx { id: None, require, ops: vec![Op::Remove { key }] };
        self.inner.store.commit(tx, Vec::new()).await?;
        Ok(())
    }

    /// Answers from now on are read anew. Called after each change.
    fn forget(&self) {
        let mut memory = self.inner.memory.write();
        memory.leads.clear();
        memory.keys = None;
        memory.generation += 1;
    }
}

/// The aliases as they would be with one more.
struct Proposed<'a> {
    aliases: &'a Aliases,
    key: &'a str,
    step: Arc<Step>,
}

impl Book for Proposed<'_> {
    type Error = AliasError;

    fn find(&self, address: &Address) -> Result<Lead, AliasError> {
        match address.lookup_key() == self.key {
            true => Ok(Lead::Step(self.step.clone())),
            false => self.aliases.find(address),
        }
    }
}
