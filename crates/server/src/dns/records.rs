//! The records that a domain should publish.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

/// A DNS record to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Whose it is, with the dot at the end.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What it says, as a zone file has it.
    pub value: String,
    /// What it is good for.
    pub why: &'static str,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.kind, self.value)
    }
}

/// The services that mail programs look for by SRV, and their ports.
pub(super) const SERVICES: [(&str, u16); 6] =
    [("submissions", 465), ("submission", 587), ("imaps", 993), ("imap", 143), ("pop3s", 995), ("pop3", 110)];

/// All that should be published for a domain whose mail `hostname` takes.
pub fn records(domain: &str, hostname: &str) -> Vec<Record> {
    let mut records = vec![address(hostname), mx(domain, hostname), spf(domain), dmarc(domain)];
    records.extend(SERVICES.map(|(name, port)| service(domain, hostname, name, port)));
    records
}

pub(super) fn address(hostname: &str) -> Record {
    Record {
        name: format!("{hostname}."),
        kind: "A",
        value: "<this server's IPv4 address>".into(),
        why: "and AAAA for IPv6; the address's PTR record should say this name",
    }
}

/// The reverse name of an address, as RFC 1035, section 3.5, and RFC 3596, section 2.5, want it.
pub(super) fn ptr(address: IpAddr, hostname: &str) -> Record {
    let name = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|it| [it & 0xf, it >> 4]);
            nibbles.map(|it| format!("{it:x}.")).collect::<String>() + "ip6.arpa."
        }
    };
    Record {
        name,
        kind: "PTR",
        value: format!("{hostname}."),
        why: "many servers refuse mail from an address without it; who gave you the address sets it",
    }
}

pub(super) fn mx(domain: &str, hostname: &str) -> Record {
    Record {
        name: format!("{domain}."),
        kind: "MX",
        value: format!("10 {hostname}."),
        why: "other servers bring mail here",
    }
}

pub(super) fn spf(domain: &str) -> Record {
    Record {
        name: format!("{domain}."),
        kind: "TXT",
        value: "\"v=spf1 mx -all\"".into(),
        why: "only this server sends for the domain (RFC 7208)",
    }
}

pub(super) fn dmarc(domain: &str) -> Record {
    Record {
        name: format!("_dmarc.{domain}."),
        kind: "TXT",
        value: format!("\"v=DMARC1; p=quarantine; rua=mailto:postmaster@{domain}\""),
        why: "what others do with forgeries (RFC 7489)",
    }
}

pub(super) fn service(domain: &str, hostname: &str, name: &str, port: u16) -> Record {
    Record {
        name: format!("_{name}._tcp.{domain}."),
        kind: "SRV",
        value: format!("0 1 {port} {hostname}."),
        why: "mail programs set themselves up (RFC 6186, RFC 8314)",
    }
}
