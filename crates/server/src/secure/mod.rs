//! How other servers are verified before mail goes to them: asks the DNS and fetches policies, lets the post office decide
//! ([`packetboat_mail::secure`]), and judges certificates by what it decided.

mod fetch;
mod sts;
#[cfg(test)]
mod tests;
mod verifier;

use std::path::PathBuf;

use jiff::Timestamp;
use packetboat_mail::secure::{
    Demand, DomainFacts, Found, HostFacts, Reason, Security, TlsaFacts, Wish, demand,
};
use packetboat_store::Store;

use crate::dns::Lookup;
use crate::settings::Settings;
use fetch::Https;
use sts::Policies;

pub use sts::POLICY_LOOK;
pub use verifier::{Authorities, AuthoritiesError, explain};

/// What is to be found out.
#[derive(Debug, Clone)]
pub struct Options {
    /// TLSA records.
    pub dane: bool,
    /// MTA-STS policies.
    pub mta_sts: bool,
    /// A PEM file of authorities in place of the system's.
    pub authorities: Option<PathBuf>,
    /// The port where policies are fetched.
    pub policy_port: u16,
}

impl Default for Options {
    fn default() -> Options {
        Options { dane: true, mta_sts: true, authorities: None, policy_port: 443 }
    }
}

impl Options {
    /// As the settings say.
    pub fn of(settings: &Settings) -> Options {
        let tls = &settings.outbound_tls;
        Options {
            dane: tls.dane,
            mta_sts: tls.mta_sts,
            authorities: tls.authorities.clone(),
            ..Options::default()
        }
    }
}

/// Knows what a connection to another server has to fulfil.
#[derive(Debug)]
pub struct Guard<L> {
    lookup: L,
    dane: bool,
    authorities: Authorities,
    policies: Option<Policies<Https>>,
}

impl<L: Lookup + Clone> Guard<L> {
    /// A guard that remembers policies in `store`.
    ///
    /// # Errors
    /// When the file of authorities is of no use.
    pub fn new(lookup: L, store: Store, options: &Options) -> Result<Guard<L>, AuthoritiesError> {
        let authorities = match &options.authorities {
            Some(file) => Authorities::of_file(file)?,
            None => Authorities::of_system(),
        };
        let policies =
            options.mta_sts.then(|| Policies::new(Https::new(&authorities, options.policy_port), store));
        Ok(Guard { lookup, dane: options.dane, authorities, policies })
    }

    /// Who is trusted, and what judges certificates.
    pub fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// What a connection to `host`, which takes mail for `domain`, has to fulfil for messages of this wish. A host that
    /// the settings name is its own domain.
    ///
    /// # Errors
    /// When it cannot be found out now: the mail waits.
    pub async fn demand(&self, domain: &str, host: &str, port: u16, wish: Wish) -> Result<Demand, Reason> {
        // Nothing that could be found out would matter.
        if wish == Wish::Forgo {
            return Ok(Demand::Opportunistic);
        }
        let (domain, host) = tokio::join!(self.domain(domain, host), self.host(host, port));
        Ok(demand(&domain?, &host, wish))
    }

    /// What is known of a domain whose mail `host` takes.
    async fn domain(&self, name: &str, host: &str) -> Result<DomainFacts, Reason> {
        let found = async {
            // Whether there are MX records or not: this host was not reached through one that could have been forged.
            if name.eq_ignore_ascii_case(host) {
                return Ok((Found::Itself, None));
            }
            let answer = self.lookup.mx(name).await.map_err(|error| {
                Reason::lookup(format!("the mail servers of {name} cannot be found out: {error}"))
            })?;
            if answer.data.iter().any(|mx| mx.exchange.eq_ignore_ascii_case(host)) {
                return Ok((Found::Mx(answer.security), answer.alias));
            }
            // The records have changed since the relay chose the host.
            Err(Reason::lookup(format!("{host} is not a mail server of {name} any more")))
        };
        let policy = async {
            match &self.policies {
                Some(policies) => policies.policy(&self.lookup, name, Timestamp::now()).await,
                None => None,
            }
        };
        let (found, policy) = tokio::join!(found, policy);
        let (found, alias) = found?;
        Ok(DomainFacts { name: name.to_owned(), alias, found, policy })
    }

    /// What is known of a host: its TLSA records (RFC 7672, section 2.2).
    async fn host(&self, name: &str, port: u16) -> HostFacts {
        let tlsa = match self.dane {
            true => self.tlsa(name, port).await.unwrap_or_else(TlsaFacts::Failed),
            false => TlsaFacts::None,
        };
        HostFacts { name: name.to_owned(), tlsa }
    }

    async fn tlsa(&self, name: &str, port: u16) -> Result<TlsaFacts, String> {
        // "The SMTP client MUST perform any A and/or AAAA queries for the destination before attempting to locate the
        // associated TLSA records": in zones that are not signed, questions for these are often answered wrongly.
        let addresses = self.lookup.addresses(name).await.map_err(|error| error.to_string())?;
        let mut bases = Vec::new();
        match (addresses.security, addresses.alias) {
            (_, None) if addresses.data.is_empty() => {}
            (Security::Secure, Some(alias)) => bases.extend([alias, name.to_owned()]),
            (Security::Secure, None) => bases.push(name.to_owned()),
            // The alias may be signed even if what it leads to is not (section 2.2.2, "insecure CNAME").
            (Security::Insecure, Some(_)) => {
                let alias = self.lookup.alias(name).await.map_err(|error| error.to_string())?;
                if alias.security == Security::Secure {
                    bases.push(name.to_owned());
                }
            }
            (Security::Insecure, None) => {}
        }
        for base in bases {
            let answer = self.lookup.tlsa(&format!("_{port}._tcp.{base}")).await;
            let answer = answer.map_err(|error| error.to_string())?;
            if answer.security == Security::Secure && !answer.data.is_empty() {
                return Ok(TlsaFacts::Found { base, records: answer.data });
            }
        }
        Ok(TlsaFacts::None)
    }

    /// Forgets policies that have run out, and fetches those anew that are getting old (RFC 8461, section 3.3). To be
    /// called at start and every [`POLICY_LOOK`].
    pub async fn refresh_policies(&self) {
        if let Some(policies) = &self.policies {
            policies.refresh(&self.lookup, Timestamp::now()).await;
        }
    }
}
