//! What there is to tell of a name: VRFY and EXPN (RFC 5321 section 3.5), without who may hear it.

use packetboat_message::{Address, Domain, LocalPart};

use super::expand::{Expanded, Leg};
use super::{AliasError, Aliases};

/// Addresses that a name without a domain may mean.
const MEANINGS_MAX: usize = 10;
/// Domains looked at for them.
const DOMAINS_MAX: usize = 256;

/// What a name is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// Somebody's address.
    Mailbox(ListMember),
    /// It stands for several, or for others elsewhere.
    List(Address),
    /// Its user has moved; mail follows there (251).
    Forwarded(Address),
    /// Its user has moved; senders are to write there (551).
    Moved(Address),
    /// It may mean any of these (553).
    Ambiguous(Vec<Address>),
    /// Its domain is not one of ours.
    Elsewhere(Address),
    /// Nobody.
    Nobody,
}

/// Who is behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// These, at least one.
    Members(Vec<ListMember>),
    /// Its user has moved; senders are to write there.
    Moved(Address),
    /// It may mean any of these.
    Ambiguous(Vec<Address>),
    /// Its domain is not one of ours.
    Elsewhere(Address),
    /// Nobody.
    Nobody,
}

/// An address, and how people call whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListMember {
    /// Such as `Alice Liddell`.
    pub name: Option<String>,
    /// The address.
    pub address: Address,
}

/// Whom a text may mean.
enum Meaning {
    One(Address),
    Several(Vec<Address>),
    Nobody,
}

impl Aliases {
    /// What a name is: an address, with `<>` or without, or the part before the `@`.
    pub async fn verify(&self, name: &str) -> Result<Verified, AliasError> {
        let address = match self.meaning(name).await? {
            Meaning::One(address) => address,
            Meaning::Several(addresses) => return Ok(Verified::Ambiguous(addresses)),
            Meaning::Nobody => return Ok(Verified::Nobody),
        };
        Ok(match self.expand(&address)? {
            Expanded::To(to) => match (&to.legs[..], to.moved) {
                (_, Some(moved)) => Verified::Forwarded(moved),
                ([leg @ Leg::Local(_)], None) => Verified::Mailbox(member(leg)),
                _ => Verified::List(address),
            },
            Expanded::Moved(to) => Verified::Moved(to),
            Expanded::Elsewhere => Verified::Elsewhere(address),
            Expanded::Nobody | Expanded::NotOurs(_) | Expanded::Broken(_) => Verified::Nobody,
        })
    }

    /// Who is behind a name, through all aliases to the last.
    pub async fn expand_list(&self, name: &str) -> Result<Listed, AliasError> {
        let address = match self.meaning(name).await? {
            Meaning::One(address) => address,
            Meaning::Several(addresses) => return Ok(Listed::Ambiguous(addresses)),
            Meaning::Nobody => return Ok(Listed::Nobody),
        };
        Ok(match self.expand(&address)? {
            Expanded::To(to) => Listed::Members(to.legs.iter().map(member).collect()),
            Expanded::Moved(to) => Listed::Moved(to),
            Expanded::Elsewhere => Listed::Elsewhere(address),
            Expanded::Nobody | Expanded::NotOurs(_) | Expanded::Broken(_) => Listed::Nobody,
        })
    }

    async fn meaning(&self, name: &str) -> Result<Meaning, AliasError> {
        let name = name.trim();
        let name = name.strip_prefix('<').and_then(|name| name.strip_suffix('>')).unwrap_or(name);
        if let Ok(address) = Address::parse(name) {
            return Ok(Meaning::One(address));
        }
        let Ok(local) = LocalPart::parse(name) else { return Ok(Meaning::Nobody) };
        let directory = &self.inner.directory;
        if let Some(domain) = directory.default_domain() {
            return Ok(Meaning::One(Address::new(local, domain)));
        }
        let mut found = Vec::new();
        for info in directory.domains(None, DOMAINS_MAX).await? {
            let address = Address::new(local.clone(), info.name);
            if self.is_somebody(&address)? && found.len() < MEANINGS_MAX {
                found.push(address);
            }
        }
        Ok(match found.len() {
            0 => Meaning::Nobody,
            1 => found.pop().map_or(Meaning::Nobody, Meaning::One),
            _ => Meaning::Several(found),
        })
    }

    fn is_somebody(&self, address: &Address) -> Result<bool, AliasError> {
        Ok(matches!(self.expand(address)?, Expanded::To(_) | Expanded::Moved(_)))
    }

    /// Every domain of which this one is another name, itself first, for what is kept by domain.
    pub fn domain_meant(&self, domain: &Domain) -> Result<Domain, AliasError> {
        let mut meant = domain.clone();
        for _ in 0..super::DEPTH_MAX {
            match self.rules(&meant)?.and_then(|rules| rules.same_as) {
                Some(other) => meant = other,
                None => break,
            }
        }
        Ok(meant)
    }
}

fn member(leg: &Leg) -> ListMember {
    let name = match leg {
        Leg::Local(local) => local.account.name.clone(),
        Leg::Remote(_) => None,
    };
    ListMember { name, address: leg.address().clone() }
}
