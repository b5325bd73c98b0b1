//! From what is known to what is demanded.

use super::sts::Mode;
use super::{Dane, Demand, DomainFacts, Found, HostFacts, Reason, Security, TlsaFacts, Verify, Wish, usable};

/// What a connection to `host` has to fulfil before a message to `domain` goes over it.
pub fn demand(domain: &DomainFacts, host: &HostFacts, wish: Wish) -> Demand {
    match wish {
        // RFC 8689, section 3: what the domain asks for is left aside.
        Wish::Forgo => Demand::Opportunistic,
        Wish::Usual => usual(domain, host),
        Wish::Require => match usual(domain, host) {
            skip @ Demand::Skip(_) => skip,
            demand => required(domain, host, demand),
        },
    }
}

/// What the domain and its host ask for.
fn usual(domain: &DomainFacts, host: &HostFacts) -> Demand {
    let dane = match &host.tlsa {
        TlsaFacts::None => None,
        TlsaFacts::Found { base, records } => Some((base, usable(records))),
        // RFC 7672, section 2.1.2: whoever can make the question fail must not gain by it.
        TlsaFacts::Failed(why) => {
            let text = format!("it cannot be found out how to know {} (TLSA): {why}", host.name);
            return Demand::Skip(Reason::lookup(text));
        }
    };
    let proof =
        dane.as_ref().filter(|(_, associations)| !associations.is_empty()).map(|(base, associations)| Dane {
            names: names(domain, host, base),
            associations: associations.clone(),
        });
    // Signed all the way, DANE says all there is to say (RFC 8461, section 2). Where the MX records are not signed, it is
    // MTA-STS that keeps an attacker from leading mail to a host of his own, whose TLSA records would be in order.
    let signed = domain.found != Found::Mx(Security::Insecure);
    if let (true, Some(dane)) = (signed, &proof) {
        return Demand::Required { verify: Verify::Dane(dane.clone()), why: "DANE, RFC 7672".to_owned() };
    }
    if let Some(policy) = domain.policy.as_ref().filter(|policy| policy.mode == Mode::Enforce) {
        if !policy.allows(&host.name) {
            let text = format!(
                "{} is none of the servers that the MTA-STS policy of {} names",
                host.name, domain.name
            );
            return Demand::Skip(Reason::new((4, 7, 5), text));
        }
        let verify = Verify::Sts { host: host.name.clone(), dane: proof };
        return Demand::Required { verify, why: format!("the MTA-STS policy of {}", domain.name) };
    }
    match (proof, dane) {
        (Some(dane), _) => {
            let why = "DANE, RFC 7672; the MX record is not signed".to_owned();
            Demand::Required { verify: Verify::Dane(dane), why }
        }
        // RFC 7672, section 2.2: records that cannot be used still promise TLS.
        (None, Some(_)) => Demand::Required {
            verify: Verify::Any { host: host.name.clone() },
            why: "DANE, RFC 7672, with no record that can be used".to_owned(),
        },
        (None, None) => Demand::Opportunistic,
    }
}

/// What REQUIRETLS makes of it (RFC 8689, section 4.2.1).
fn required(domain: &DomainFacts, host: &HostFacts, usual: Demand) -> Demand {
    let vouched =
        |policy: &std::sync::Arc<super::sts::Policy>| policy.mode != Mode::None && policy.allows(&host.name);
    let known = match domain.found {
        Found::Mx(Security::Secure) | Found::Itself => true,
        Found::Mx(Security::Insecure) => domain.policy.as_ref().is_some_and(vouched),
    };
    if !known {
        let text = format!(
            "the sender requires TLS with a verified server (REQUIRETLS), and nothing vouches for {} being one of {}: \
             its MX record is not signed, and no MTA-STS policy names it",
            host.name, domain.name
        );
        return Demand::Skip(Reason::new((5, 7, 10), text));
    }
    match usual {
        Demand::Required { verify: Verify::Any { .. }, .. } | Demand::Opportunistic => Demand::Required {
            verify: Verify::Pkix { names: vec![host.name.clone()] },
            why: "the sender asks for it, REQUIRETLS".to_owned(),
        },
        demand => demand,
    }
}

/// The names that count with DANE-TA (RFC 7672, section 3.2.2).
fn names(domain: &DomainFacts, host: &HostFacts, base: &str) -> Vec<String> {
    let mut names = vec![base.to_owned()];
    let mut add = |name: &str| {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    match domain.found {
        Found::Mx(Security::Secure) => {
            add(&domain.name);
            if let Some(alias) = &domain.alias {
                add(alias);
            }
        }
        // The MX host's name, which is the base, alone: the way from the domain to it is not to be trusted.
        Found::Mx(Security::Insecure) => {}
        Found::Itself => add(&host.name),
    }
    names
}
