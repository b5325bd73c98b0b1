//! What an address leads to, one step.

use std::sync::Arc;

use packetboat_account::{Account, DirectoryError, Found};
use packetboat_message::{Address, Domain, LocalPart};
use serde::de::DeserializeOwned;

use super::record::{self, AliasRecord, DomainRules, Moved};
use super::{AliasError, Aliases, Expanded, Expansion, GENERIC_NAMES, expand, srs};

/// The local part that every domain has (RFC 5321 section 4.5.1).
const POSTMASTER: &str = "postmaster";

/// Something that knows what addresses lead to.
pub trait Book {
    /// Why it may not be able to tell.
    type Error;

    /// What this address leads to. The same each time during one expansion.
    fn find(&self, address: &Address) -> Result<Lead, Self::Error>;
}

/// What an address leads to.
#[derive(Debug, Clone)]
pub enum Lead {
    /// An account.
    Account {
        /// Which.
        account: Arc<Account>,
        /// The tag of a subaddress.
        tag: Option<Arc<str>>,
    },
    /// Other addresses.
    Step(Arc<Step>),
    /// Nobody, though the domain is one of ours.
    Nobody,
    /// It looks like an address made by [`srs`], and is not good (any more).
    NotOurs(srs::Invalid),
    /// The domain is not one of ours.
    Elsewhere,
}

/// One step from an address to others.
#[derive(Debug, Clone)]
pub struct Step {
    /// Where it begins: the name that was found, without the tag.
    pub name: Address,
    /// Why it is taken.
    pub kind: StepKind,
    /// Where it leads.
    pub targets: Vec<Address>,
    /// The account that has the name itself, which is meant where the name is among its own targets.
    pub own: Option<Arc<Account>>,
    /// The tag that was cut off the name.
    pub tag: Option<Arc<str>>,
    /// Whether what leaves by it gets a return path of the name's domain.
    pub srs: bool,
}

/// Why a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// There is an alias of this name.
    Alias,
    /// Its user has moved.
    Moved(Moved),
    /// Postmaster, who is somebody else's.
    Postmaster,
    /// A generic name, of which the domain says whose it is.
    Generic,
    /// The domain is another name of one.
    SameDomain,
    /// Nobody else wanted it.
    CatchAll,
    /// It is the return path of something that was forwarded.
    Return,
}

impl Book for Aliases {
    type Error = AliasError;

    /// As quick as the directory's own answer where the address is an account's: one look into memory.
    fn find(&self, address: &Address) -> Result<Lead, AliasError> {
        let key = address.lookup_key();
        let directory = self.inner.directory.generation();
        {
            let memory = self.inner.memory.read();
            if memory.directory == directory
                && let Some(lead) = memory.leads.peek_young(key.as_str())
            {
                return Ok(lead.clone());
            }
        }
        let generation = {
            let mut memory = self.inner.memory.write();
            if memory.directory != directory {
                memory.leads.clear();
                memory.directory = directory;
            }
            if let Some(lead) = memory.leads.get_mut(key.as_str()) {
                return Ok(lead.clone());
            }
            memory.generation
        };
        let lead = self.lead(address)?;
        // Strangers may ask for any number of addresses that are nobody's, and a return path is good for some time only.
        let lasting = match &lead {
            Lead::Account { .. } => true,
            Lead::Step(step) => step.kind != StepKind::Return,
            Lead::Nobody | Lead::NotOurs(_) | Lead::Elsewhere => false,
        };
        if lasting {
            let mut memory = self.inner.memory.write();
            // A change in between may have made this answer wrong.
            if memory.generation == generation
                && memory.directory == directory
                && self.inner.directory.generation() == directory
            {
                memory.leads.insert(key, lead.clone());
            }
        }
        Ok(lead)
    }
}

impl Aliases {
    /// The answer as the store has it.
    fn lead(&self, address: &Address) -> Result<Lead, AliasError> {
        let domain = address.domain();
        if !self.inner.directory.is_local(domain)? {
            return Ok(Lead::Elsewhere);
        }
        let rules = self.rules(domain)?.unwrap_or_default();
        if let Some(lead) = self.exact(address, None, &rules)? {
            return Ok(lead);
        }
        if srs::is_made(address.local().as_str()) {
            return self.way_back(address, &rules);
        }
        let separator = match rules.separator {
            Some(separator) => separator.character(),
            None => self.inner.directory.subaddress_separator(),
        };
        let mut base = None;
        if let Some((user, tag)) = split_tag(address, separator) {
            if let Some(lead) = self.exact(&user, Some(tag.clone()), &rules)? {
                return Ok(lead);
            }
            base = Some((user, tag));
        }
        let (name, tag) = match base {
            Some((user, tag)) => (user, Some(tag)),
            None => (address.clone(), None),
        };
        let local = name.local().as_str().to_lowercase();
        let step = |kind, to: Address| Step {
            name: address.clone(),
            kind,
            targets: vec![to],
            own: None,
            tag: None,
            srs: rules.srs,
        };
        if local == POSTMASTER
            && let Some(account) = self.inner.directory.postmaster_of(domain)?
        {
            return Ok(Lead::Account { account, tag });
        }
        if let Some(generic) = &rules.generic
            && GENERIC_NAMES.contains(&local.as_str())
        {
            let step = Step { name, tag, ..step(StepKind::Generic, generic.clone()) };
            return Ok(Lead::Step(Arc::new(step)));
        }
        if let Some(other) = &rules.same_as {
            let there = Address::new(address.local().clone(), other.clone());
            // A name that the other domain does not have either may still be caught here.
            let caught_here = rules.catch_all.is_some();
            if !caught_here || !matches!(self.find(&there)?, Lead::Nobody) {
                return Ok(Lead::Step(Arc::new(step(StepKind::SameDomain, there))));
            }
        }
        if local == POSTMASTER
            && let Some(account) = self.postmaster(domain)?
        {
            return Ok(Lead::Account { account, tag });
        }
        if let Some(catch_all) = rules.catch_all.clone() {
            return Ok(Lead::Step(Arc::new(step(StepKind::CatchAll, catch_all))));
        }
        Ok(Lead::Nobody)
    }

    /// The alias of this very name, or the account that has it.
    fn exact(
        &self,
        name: &Address,
        tag: Option<Arc<str>>,
        rules: &DomainRules,
    ) -> Result<Option<Lead>, AliasError> {
        let alias = self.read::<AliasRecord>(&record::name(name))?;
        let Some(alias) = alias else {
            let account = self.inner.directory.owner(name)?;
            return Ok(account.map(|account| Lead::Account { account, tag }));
        };
        let itself = alias.name.lookup_key();
        let own = if alias.targets.iter().any(|target| target.lookup_key() == itself) {
            self.inner.directory.owner(name)?
        } else {
            None
        };
        let kind = alias.moved.map_or(StepKind::Alias, StepKind::Moved);
        let step = Step { name: alias.name, kind, targets: alias.targets, own, tag, srs: rules.srs };
        Ok(Some(Lead::Step(Arc::new(step))))
    }

    /// Where a return path made by [`srs`] leads back to.
    fn way_back(&self, address: &Address, rules: &DomainRules) -> Result<Lead, AliasError> {
        let keys = self.srs_keys()?;
        Ok(match srs::reverse(address.local().as_str(), &keys, jiff::Timestamp::now()) {
            Ok(original) => Lead::Step(Arc::new(Step {
                name: address.clone(),
                kind: StepKind::Return,
                targets: vec![original],
                own: None,
                tag: None,
                srs: rules.srs,
            })),
            Err(invalid) => Lead::NotOurs(invalid),
        })
    }

    /// Follows an address to all its ends. Mail to `postmaster` gets to somebody also where an alias of that name leads
    /// to nobody (any more).
    pub fn expand(&self, address: &Address) -> Result<Expanded, AliasError> {
        let expanded = expand(address, self)?;
        if let Expanded::Broken(_) = expanded
            && address.local().as_str().eq_ignore_ascii_case(POSTMASTER)
            && let Some(account) = self.postmaster(address.domain())?
        {
            return Ok(Expanded::To(Expansion::here(account, address.clone())));
        }
        Ok(expanded)
    }

    /// The domain's postmaster, or else the server's.
    fn postmaster(&self, domain: &Domain) -> Result<Option<Arc<Account>>, AliasError> {
        if let Some(account) = self.inner.directory.postmaster_of(domain)? {
            return Ok(Some(account));
        }
        Ok(match self.inner.directory.find_postmaster()? {
            Found::Account(account) => Some(account),
            Found::UnknownUser | Found::UnknownDomain => None,
        })
    }

    /// What is said of a domain.
    pub fn rules(&self, domain: &Domain) -> Result<Option<DomainRules>, AliasError> {
        self.read(&record::domain(domain))
    }

    /// An entry's value.
    pub(super) fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, AliasError> {
        let entry = self.inner.store.get(key).map_err(DirectoryError::from)?;
        entry.map(|entry| parse(key, &entry.value)).transpose()
    }
}

pub(super) fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, AliasError> {
    serde_json::from_slice(value)
        .map_err(|error| DirectoryError::Damaged { key: key.to_owned(), why: error.to_string() }.into())
}

/// `anna+lists@…` as `anna@…` and `lists`.
fn split_tag(address: &Address, separator: Option<char>) -> Option<(Address, Arc<str>)> {
    let (user, tag) = address.local().as_str().split_once(separator?)?;
    let user = LocalPart::plain(user).ok()?;
    Some((Address::new(user, address.domain().clone()), tag.into()))
}
