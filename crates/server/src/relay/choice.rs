//! Which hosts, and which of their addresses, a message is offered to, and in what order: functions of what the DNS
//! says (RFC 5321 section 5.1).

use std::net::IpAddr;

use crate::dns::Mx;

/// Hosts of one domain that are tried at most. Whoever names more is not made more reachable by waiting for them all.
pub(super) const HOSTS_MAX: usize = 8;
/// Addresses of one host that are tried at most.
pub(super) const ADDRESSES_MAX: usize = 6;

/// A host that takes mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MailHost {
    /// Its name, in A-labels.
    pub(super) name: String,
    /// The lower, the sooner; 0 for a domain without MX records.
    pub(super) preference: u16,
}

/// Why no host is to be offered a message. None of these changes by waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoHost {
    /// The domain says that it takes no mail (RFC 7505).
    #[error("the domain takes no mail (null MX)")]
    NullMx,
    /// The best host of the domain is this server, which does not know the domain: the message would go in a circle.
    #[error("the mail of the domain should come to this server, which does not know the domain")]
    Ourselves,
}

/// Random numbers, one at a time.
pub(super) type Random<'a> = &'a mut dyn FnMut() -> u64;

/// The hosts for the mail of `domain`, the one to be tried first in front.
///
/// Without MX records it is the domain itself ("implicit MX"). Equal preferences are in random order. Where our own name
/// stands, the list ends: what is not better than we are would only hand the message back.
pub(super) fn mail_hosts(
    domain: &str,
    records: Vec<Mx>,
    is_ours: impl Fn(&str) -> bool,
    random: Random<'_>,
) -> Result<Vec<MailHost>, NoHost> {
    if records.is_empty() {
        return match is_ours(domain) {
            true => Err(NoHost::Ourselves),
            false => Ok(vec![MailHost { name: domain.to_owned(), preference: 0 }]),
        };
    }
    // A null MX beside others is a mistake (RFC 7505 section 3), and no host.
    let mut records: Vec<Mx> = records.into_iter().filter(|mx| !mx.exchange.is_empty()).collect();
    if records.is_empty() {
        return Err(NoHost::NullMx);
    }
    if let Some(own) = records.iter().filter(|mx| is_ours(&mx.exchange)).map(|mx| mx.preference).min() {
        records.retain(|mx| mx.preference < own);
        if records.is_empty() {
            return Err(NoHost::Ourselves);
        }
    }
    let mut records: Vec<(u16, u64, String)> =
        records.into_iter().map(|mx| (mx.preference, random(), mx.exchange)).collect();
    records.sort_unstable();
    let mut hosts: Vec<MailHost> = Vec::new();
    for (preference, _, name) in records {
        if hosts.len() == HOSTS_MAX {
            break;
        }
        if !hosts.iter().any(|host| host.name == name) {
            hosts.push(MailHost { name, preference });
        }
    }
    Ok(hosts)
}

/// Which address family is tried first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Prefer {
    /// IPv6.
    #[default]
    Ipv6,
    /// IPv4.
    Ipv4,
}

/// The addresses of one host in the order in which they are tried: families alternate, so that the other one has its turn
/// before all of the first have failed; within a family the order is random.
pub(super) fn order(addresses: Vec<IpAddr>, prefer: Prefer, random: Random<'_>) -> Vec<IpAddr> {
    let mut shuffled: Vec<(u64, IpAddr)> =
        addresses.into_iter().map(|address| (random(), address.to_canonical())).collect();
    shuffled.sort_unstable();
    let of_family =
        |v6: bool| shuffled.iter().map(|(_, address)| *address).filter(move |it| it.is_ipv6() == v6);
    let (mut first, mut second) = (of_family(prefer == Prefer::Ipv6), of_family(prefer != Prefer::Ipv6));
    let mut ordered: Vec<IpAddr> = Vec::new();
    loop {
        let (one, other) = (first.next(), second.next());
        if (one.is_none() && other.is_none()) || ordered.len() >= ADDRESSES_MAX {
            break;
        }
        for address in one.into_iter().chain(other) {
            if !ordered.contains(&address) {
                ordered.push(address);
            }
        }
    }
    ordered.truncate(ADDRESSES_MAX);
    ordered
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn mx(records: &str) -> Vec<Mx> {
        let record = |text: &str| {
            let (preference, exchange) = text.split_once(' ').unwrap();
            Mx { preference: preference.parse().unwrap(), exchange: exchange.to_owned() }
        };
        records.split(", ").filter(|text| !text.is_empty()).map(record).collect()
    }

    /// Numbers that go down, so that what comes first goes last.
    fn downwards() -> impl FnMut() -> u64 {
        let mut number = 1000;
        move || {
            number -= 1;
            number
        }
    }

    #[test]
    fn hosts_of_a_domain() {
        let names = |records: &str| match mail_hosts(
            "d.example",
            mx(records),
            |name| name == "us.example",
            &mut downwards(),
        ) {
            Ok(hosts) => hosts.into_iter().map(|host| host.name).collect::<Vec<_>>().join(" "),
            Err(why) => format!("{why:?}"),
        };
        for (records, expected) in [
            ("", "d.example"),
            ("10 a.example", "a.example"),
            ("20 b.example, 10 a.example, 30 c.example", "a.example b.example c.example"),
            ("10 a.example, 10 b.example", "b.example a.example"),
            ("10 a.example, 20 a.example", "a.example"),
            // RFC 7505
            ("0 ", "NullMx"),
            ("10 ", "NullMx"),
            ("0 , 10 a.example", "a.example"),
            // RFC 5321 section 5.1
            ("10 us.example", "Ourselves"),
            ("10 a.example, 20 us.example, 20 b.example, 30 c.example", "a.example"),
            ("10 us.example, 10 a.example", "Ourselves"),
            ("10 a.example, 20 us.example, 5 us.example", "Ourselves"),
        ] {
            assert_eq!(names(records), expected, "{records:?}");
        }
        let own = mail_hosts("us.example", vec![], |name| name == "us.example", &mut downwards());
        assert_eq!(own, Err(NoHost::Ourselves));
    }

    #[test]
    fn equal_hosts_take_turns() {
        let records = || mx("10 a.example, 10 b.example, 20 c.example");
        let mut seen = std::collections::HashSet::new();
        for seed in 0..64u64 {
            let mut state = seed;
            let mut random = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state >> 33
            };
            let hosts = mail_hosts("d.example", records(), |_| false, &mut random).unwrap();
            assert_eq!(hosts[2].name, "c.example");
            seen.insert(hosts[0].name.clone());
        }
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn not_more_than_enough() {
        let records = (0..100).map(|n| Mx { preference: n, exchange: format!("h{n}.example") }).collect();
        let hosts = mail_hosts("d.example", records, |_| false, &mut downwards()).unwrap();
        assert_eq!(hosts.len(), HOSTS_MAX);
        assert_eq!(hosts[0].name, "h0.example");
        let addresses = (0..100).map(|n| IpAddr::from([192, 0, 2, n])).collect();
        assert_eq!(order(addresses, Prefer::Ipv6, &mut downwards()).len(), ADDRESSES_MAX);
    }

    #[test]
    fn families_alternate() {
        let ordered = |addresses: &str, prefer| {
            let addresses = addresses.split(' ').map(|it| it.parse().unwrap()).collect();
            let ordered = order(addresses, prefer, &mut downwards());
            ordered.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        for (addresses, prefer, expected) in [
            ("192.0.2.1", Prefer::Ipv6, "192.0.2.1"),
            ("192.0.2.1 192.0.2.2", Prefer::Ipv6, "192.0.2.2 192.0.2.1"),
            ("192.0.2.1 2001:db8::1", Prefer::Ipv6, "2001:db8::1 192.0.2.1"),
            ("192.0.2.1 2001:db8::1", Prefer::Ipv4, "192.0.2.1 2001:db8::1"),
            (
                "2001:db8::1 2001:db8::2 2001:db8::3 192.0.2.1",
                Prefer::Ipv6,
                "2001:db8::3 192.0.2.1 2001:db8::2 2001:db8::1",
            ),
            ("::ffff:192.0.2.1", Prefer::Ipv6, "192.0.2.1"),
        ] {
            assert_eq!(ordered(addresses, prefer), expected, "{addresses}");
        }
    }
}
