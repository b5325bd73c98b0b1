//! Whether the DNS says of a server and its domains what it should.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::records::{self, Record, SERVICES};
use super::{Answer, Found, Lookup, LookupError, Mx};

/// Addresses of one name, and MX records of one domain, that are looked at; more are no mail server's.
const LOOK_AT_MAX: usize = 16;

/// What was found out.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    /// In the order asked.
    pub findings: Vec<Finding>,
    /// Why the rest was left out, if it was.
    pub skipped: Option<String>,
}

/// One thing found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The name it is about.
    pub about: String,
    /// What it is, without the name.
    pub text: String,
    /// The record that would put it right.
    pub publish: Option<Record>,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Fine,
    /// Mail flows, but it could be better.
    Notice,
    /// Mail will be lost, refused or distrusted.
    Wrong,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Fine => "",
            Level::Notice => "notice: ",
            Level::Wrong => "wrong: ",
        };
        write!(f, "{level}{}: {}", self.about, self.text)?;
        match &self.publish {
            Some(record) => write!(f, "; publish\n  {record}\n  ; {}", record.why),
            None => Ok(()),
        }
    }
}

/// Compares the DNS with what `hostname` and the domains whose mail it takes need, for no longer than `patience`.
///
/// All names are in A-labels and lower case. The first time that no resolver answers ends it.
pub async fn check(lookup: &impl Lookup, hostname: &str, domains: &[String], patience: Duration) -> Findings {
    let mut checker = Checker { lookup, hostname, own: Vec::new(), found: Vec::new() };
    let skipped = match tokio::time::timeout(patience, checker.all(domains)).await {
        Ok(Ok(())) => None,
        Ok(Err(Unreachable(why))) => Some(format!("no answer from the resolver ({why})")),
        Err(_) => Some(format!("no answers to all questions within {} s", patience.as_secs())),
    };
    Findings { findings: checker.found, skipped }
}

/// There is nobody to ask.
struct Unreachable(String);

struct Checker<'a, L> {
    lookup: &'a L,
    hostname: &'a str,
    /// The addresses of `hostname`.
    own: Vec<IpAddr>,
    found: Vec<Finding>,
}

impl<L: Lookup> Checker<'_, L> {
    async fn all(&mut self, domains: &[String]) -> Result<(), Unreachable> {
        self.host().await?;
        for domain in domains {
            self.mx(domain).await?;
            self.spf(domain).await?;
            self.dmarc(domain).await?;
            self.services(domain).await?;
        }
        Ok(())
    }

    fn tell(&mut self, level: Level, about: &str, text: impl Into<String>, publish: Option<Record>) {
        self.found.push(Finding { level, about: about.to_owned(), text: text.into(), publish });
    }

    /// What was answered; `None`, with a finding, when the resolver could not find out.
    fn answer<T>(&mut self, about: &str, answer: Found<T>) -> Result<Option<T>, Unreachable> {
        match answer {
            Ok(answer) => Ok(Some(answer.data)),
            Err(LookupError::Unreachable(why)) => Err(Unreachable(why)),
            Err(why) => {
                self.tell(Level::Notice, about, format!("could not be looked up ({why})"), None);
                Ok(None)
            }
        }
    }

    async fn host(&mut self) -> Result<(), Unreachable> {
        let hostname = self.hostname;
        let answer = self.lookup.addresses(hostname).await;
        let Some(mut addresses) = self.answer(hostname, answer)? else { return Ok(()) };
        addresses.truncate(LOOK_AT_MAX);
        if addresses.is_empty() {
            let publish = Some(records::address(hostname));
            self.tell(Level::Wrong, hostname, "has neither an A nor an AAAA record", publish);
        }
        for &address in &addresses {
            let answer = self.lookup.ptr(address).await;
            let Some(names) = self.answer(&address.to_string(), answer)? else { continue };
            let publish = Some(records::ptr(address, hostname));
            if names.iter().any(|name| same(name, hostname)) {
                self.tell(
                    Level::Fine,
                    hostname,
                    format!("has the address {address}, which says that name"),
                    None,
                );
            } else if let Some(other) = names.first() {
                let text = format!("has the address {address}, whose PTR record says {other}");
                self.tell(Level::Wrong, hostname, text, publish);
            } else {
                let text = format!("has the address {address}, which has no PTR record");
                self.tell(Level::Wrong, hostname, text, publish);
            }
        }
        self.own = addresses;
        Ok(())
    }

    async fn mx(&mut self, domain: &str) -> Result<(), Unreachable> {
        let answer = self.lookup.mx(domain).await;
        let Some(mut mx) = self.answer(domain, answer)? else { return Ok(()) };
        mx.sort_by_key(|it| it.preference);
        mx.truncate(LOOK_AT_MAX);
        let publish = Some(records::mx(domain, self.hostname));
        if mx.is_empty() {
            return self.no_mx(domain, publish).await;
        }
        // RFC 7505, section 3: a null MX stands alone.
        if mx.iter().any(|it| it.exchange.is_empty()) {
            self.tell(Level::Wrong, domain, "says by a null MX record that it takes no mail", publish);
            return Ok(());
        }
        let mut here = false;
        for Mx { exchange, .. } in &mx {
            let host = same(exchange, self.hostname);
            here |= host;
            let answer = self.lookup.addresses(exchange).await;
            let alias = matches!(&answer, Ok(Answer { alias: Some(_), .. }));
            let Some(target) = self.answer(exchange, answer)? else { continue };
            here |= target.iter().any(|it| self.own.contains(it));
            // That the host itself has no address is said already.
            if target.is_empty() && !host {
                let text = format!("its MX record names {exchange}, which has no address");
                self.tell(Level::Wrong, domain, text, None);
            } else if alias {
                // RFC 5321, section 5.1, and RFC 2181, section 10.3.
                let text =
                    format!("its MX record names {exchange}, which is an alias (CNAME) and must not be one");
                self.tell(Level::Wrong, domain, text, None);
            }
        }
        if here {
            self.tell(Level::Fine, domain, "its MX records lead here", None);
        } else {
            let text = format!("its MX records lead to {}, and none leads here", names(&mx));
            self.tell(Level::Wrong, domain, text, publish);
        }
        Ok(())
    }

    /// RFC 5321, section 5.1: without MX records the domain's own address is where its mail goes.
    async fn no_mx(&mut self, domain: &str, publish: Option<Record>) -> Result<(), Unreachable> {
        let answer = self.lookup.addresses(domain).await;
        let Some(target) = self.answer(domain, answer)? else { return Ok(()) };
        if target.iter().any(|it| self.own.contains(it)) {
            let text = "has no MX record; mail comes here because its address is this server's";
            self.tell(Level::Notice, domain, text, publish);
        } else {
            self.tell(Level::Wrong, domain, "has no MX record", publish);
        }
        Ok(())
    }

    async fn spf(&mut self, domain: &str) -> Result<(), Unreachable> {
        let answer = self.lookup.txt(domain).await;
        let Some(texts) = self.answer(domain, answer)? else { return Ok(()) };
        let mut policies = texts.iter().filter(|text| begins_with(text, "v=spf1", b" "));
        let publish = Some(records::spf(domain));
        match (policies.next(), policies.next()) {
            (None, _) => self.tell(Level::Wrong, domain, "has no SPF record", publish),
            // RFC 7208, section 4.5: more than one is a permanent error.
            (_, Some(_)) => {
                self.tell(
                    Level::Wrong,
                    domain,
                    "has several SPF records, and others then trust none",
                    publish,
                );
            }
            (Some(policy), None) if allows_someone(policy) => {
                self.tell(Level::Fine, domain, "has an SPF record", None);
            }
            (Some(_), None) => {
                self.tell(Level::Notice, domain, "has an SPF record that no server passes", publish);
            }
        }
        Ok(())
    }

    async fn dmarc(&mut self, domain: &str) -> Result<(), Unreachable> {
        let name = format!("_dmarc.{domain}");
        let answer = self.lookup.txt(&name).await;
        let Some(texts) = self.answer(&name, answer)? else { return Ok(()) };
        let publish = Some(records::dmarc(domain));
        match texts.iter().filter(|text| begins_with(text, "v=DMARC1", b" \t;")).count() {
            // A notice, because the policy of the domain above may hold (RFC 7489, section 6.6.3).
            0 => self.tell(Level::Notice, domain, "has no DMARC record", publish),
            1 => self.tell(Level::Fine, domain, "has a DMARC record", None),
            _ => {
                self.tell(
                    Level::Wrong,
                    domain,
                    "has several DMARC records, and others then heed none",
                    publish,
                );
            }
        }
        Ok(())
    }

    async fn services(&mut self, domain: &str) -> Result<(), Unreachable> {
        let mut fine = true;
        for (service, port) in SERVICES {
            let name = format!("_{service}._tcp.{domain}");
            let answer = self.lookup.srv(&name).await;
            let Some(answer) = self.answer(&name, answer)? else {
                fine = false;
                continue;
            };
            let publish = Some(records::service(domain, self.hostname, service, port));
            let mut targets = answer.iter().map(|it| it.target.as_str());
            match answer.first() {
                None => self.tell(Level::Notice, &name, "has no SRV record", publish),
                // An empty target says that the service is not offered, which is for the domain to decide.
                Some(_) if targets.any(|it| it.is_empty() || same(it, self.hostname)) => continue,
                Some(other) => {
                    let text = format!("its SRV record names {}", other.target);
                    self.tell(Level::Notice, &name, text, publish);
                }
            }
            fine = false;
        }
        if fine {
            self.tell(Level::Fine, domain, "mail programs find this server by SRV records", None);
        }
        Ok(())
    }
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn names(mx: &[Mx]) -> String {
    mx.iter().map(|it| it.exchange.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whether a text begins with this version, and the version ends there.
fn begins_with(text: &[u8], version: &str, ends: &[u8]) -> bool {
    text.split_at_checked(version.len()).is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(version.as_bytes()) && rest.first().is_none_or(|next| ends.contains(next))
    })
}

/// Whether an SPF record lets any server send (RFC 7208, section 5); not which.
fn allows_someone(policy: &[u8]) -> bool {
    const MECHANISMS: [&str; 9] = ["mx", "a", "ip4", "ip6", "include", "exists", "ptr", "all", "redirect"];
    policy.split(|octet| *octet == b' ').skip(1).any(|term| {
        // The other qualifiers (`-`, `~`, `?`) do not let anybody pass.
        let term = term.strip_prefix(b"+").unwrap_or(term);
        let end = term.iter().position(|octet| b":/=".contains(octet)).unwrap_or(term.len());
        let (name, _) = term.split_at(end);
        MECHANISMS.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()))
    })
}
