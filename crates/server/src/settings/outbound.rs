//! Kinds of values that say how mail leaves, and what the sections about it mean together.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use packetboat_mail::Outgoing;
use packetboat_mail::outbound::{NextHop, Routes, Way};
use packetboat_message::{Address, Domain, InvalidAddress};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Settings;
use super::keys::{Route, Smarthost};
use super::problem::Report;
use super::section::{Known, read_section};
use super::value::{ListItem, Value, choice, quoted};

choice! {
    /// TLS towards other servers.
    OutgoingTls: "\"opportunistic\", \"required\" or \"never\"" {
        /// Wherever it is offered; whether the certificate is good is noted and does not matter.
        #[default]
        Opportunistic = "opportunistic",
        /// Always, or no mail; the certificate does not matter.
        Required = "required",
        /// Never.
        Never = "never",
    }
}

choice! {
    /// TLS towards a smarthost.
    SmarthostTls: "\"starttls\", \"implicit\" or \"none\"" {
        /// By STARTTLS, with a good certificate.
        #[default]
        StartTls = "starttls",
        /// From the first byte, with a good certificate.
        Implicit = "implicit",
        /// None.
        None = "none",
    }
}

choice! {
    /// An address family.
    Family: "\"ipv6\" or \"ipv4\"" {
        /// IPv6.
        #[default]
        Ipv6 = "ipv6",
        /// IPv4.
        Ipv4 = "ipv4",
    }
}

/// The domains a route is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainPattern {
    /// All that no other route is for: `*`.
    All,
    /// One: `example.org`.
    One(Domain),
    /// Those below it: `*.example.org`.
    Below(Domain),
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DomainPattern::All => f.write_str("*"),
            DomainPattern::One(domain) => domain.fmt(f),
            DomainPattern::Below(domain) => write!(f, "*.{domain}"),
        }
    }
}

impl FromStr for DomainPattern {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<DomainPattern, InvalidAddress> {
        match text.strip_prefix("*.") {
            _ if text == "*" => Ok(DomainPattern::All),
            Some(parent) => Domain::parse(parent).map(DomainPattern::Below),
            None => Domain::parse(text).map(DomainPattern::One),
        }
    }
}

impl Value for DomainPattern {
    const KIND: &'static str =
        "a domain such as \"example.org\", \"*.example.org\" for those below it, or \"*\" for all others";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str()?.parse().ok()
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

impl ListItem for DomainPattern {
    const LIST_KIND: &'static str = "a list of domains such as [\"example.org\", \"*.example.org\"]";
}

/// The senders a route is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderPattern {
    /// One: `alice@example.org`.
    One(Address),
    /// Those of a domain: `@example.org`.
    Domain(Domain),
}

impl Value for SenderPattern {
    const KIND: &'static str =
        "an address such as \"alice@example.org\", or \"@example.org\" for all of a domain";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        match text.strip_prefix('@') {
            Some(domain) => Domain::parse(domain).ok().map(SenderPattern::Domain),
            None => Address::parse(text).ok().map(SenderPattern::One),
        }
    }

    fn write(&self) -> String {
        quoted(&match self {
            SenderPattern::One(address) => address.to_string(),
            SenderPattern::Domain(domain) => format!("@{domain}"),
        })
    }
}

impl ListItem for SenderPattern {
    const LIST_KIND: &'static str = "a list of senders such as [\"alice@example.org\", \"@example.net\"]";
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via(pub Way);

impl Default for Via {
    fn default() -> Via {
        Via(Way::Direct)
    }
}

impl Value for Via {
    const KIND: &'static str = "\"mx\" (the mail hosts of the recipient's domain), \"mx:DOMAIN\" (those of another domain), \
         \"host:NAME:PORT\", \"smarthost:NAME\" (a [[smarthost]]), \"lmtp:/PATH\" or \"lmtp:NAME:PORT\", \"peer:NAME\" \
         (whoever comes and fetches it) or \"none\" (such mail is not taken)";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let way = match value.as_str()? {
            "mx" => Way::Direct,
            "none" => Way::Nowhere,
            text => {
                let hop: NextHop = text.parse().ok()?;
                let sound = match &hop {
                    NextHop::Lmtp(place) => place.starts_with('/') || crate::relay::has_port(place),
                    _ => true,
                };
                Way::Via(Some(hop).filter(|_| sound)?)
            }
        };
        Some(Via(way))
    }

    fn write(&self) -> String {
        quoted(&match &self.0 {
            Way::Direct => "mx".to_owned(),
            Way::Nowhere => "none".to_owned(),
            Way::Via(hop) => hop.to_string(),
        })
    }
}

impl Value for u16 {
    const KIND: &'static str = "a port, 1 to 65535";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        u32::read(value)?.try_into().ok().filter(|port| *port > 0)
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for Address {
    const KIND: &'static str = "an address such as \"postmaster@example.org\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        Address::parse(value.as_str()?).ok()
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for Ipv4Addr {
    const KIND: &'static str = "an IPv4 address such as \"192.0.2.1\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str()?.parse().ok()
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for Ipv6Addr {
    const KIND: &'static str = "an IPv6 address such as \"2001:db8::1\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str()?.parse().ok()
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

impl ListItem for std::time::Duration {
    const LIST_KIND: &'static str = "a list of times such as [\"1m\", \"15m\", \"1h\"]";
}

impl Settings {
    /// How mail for other servers is handled.
    pub fn outgoing(&self) -> Outgoing {
        let queue = &self.queue;
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Outgoing {
            routes: self.routes(),
            queue: packetboat_mail::queue::Settings {
                lifetime: queue.lifetime,
                delay_notice: queue.delay_notice,
                retries: queue.retry.clone(),
                rest_first: queue.rest,
                rest_max: queue.rest_max,
                rows_max: queue.recipients.into(),
                connections_max: count(queue.connections),
                connections_per_destination: count(queue.connections_per_destination),
                connections_at_first: count(queue.connections_at_first),
                recipients_max: count(queue.recipients_per_message),
                return_unasked: queue.return_unasked.0,
                return_max: queue.return_max.0,
                postmaster: queue.postmaster.clone(),
            },
        }
    }

    /// By which way mail leaves.
    fn routes(&self) -> Routes {
        let mut default = Way::Direct;
        let all = |route: &&Route| route.domains.contains(&DomainPattern::All);
        if let Some(route) = self.routes.iter().find(all) {
            default = route.via.0.clone();
        }
        let mut routes = Routes::new(default);
        crate::peers::add_routes(&self.peers, &mut routes);
        for Route { domains, senders, via } in &self.routes {
            for domain in domains {
                match domain {
                    DomainPattern::All => {}
                    DomainPattern::One(domain) => routes.domain(domain, via.0.clone()),
                    DomainPattern::Below(domain) => routes.below(domain, via.0.clone()),
                }
            }
            for sender in senders {
                match sender {
                    SenderPattern::One(address) => routes.sender(address, via.0.clone()),
                    SenderPattern::Domain(domain) => routes.sender_domain(domain, via.0.clone()),
                }
            }
        }
        routes
    }
}

/// Reads a `[[route]]`.
pub(super) fn read_route(table: &DeTable<'_>, known: &Known, report: &mut Report<'_>) -> Route {
    let before = report.problems.len();
    let route: Route = read_section(table, known, report);
    if route.domains.is_empty() && route.senders.is_empty() && report.problems.len() == before {
        report.add(
            place_of(table),
            "route",
            "it is for nobody; name `domains`, `senders` or both, as in domains = \"example.org\"".to_owned(),
        );
    }
    if let Way::Via(NextHop::Smarthost(name)) = &route.via.0 {
        // Whether it exists is known at the end.
        let place = table.get("via").map_or(0..0, Spanned::span);
        report.place(&format!("smarthost:{name}"), place);
    }
    route
}

/// Reads a `[[smarthost]]`, so many of which came before.
pub(super) fn read_smarthost(
    table: &DeTable<'_>,
    before: usize,
    known: &Known,
    report: &mut Report<'_>,
) -> Smarthost {
    let problems = report.problems.len();
    let smarthost: Smarthost = read_section(table, known, report);
    report.place(&smarthost_place(before), table.get("name").map_or(place_of(table), Spanned::span));
    if report.problems.len() > problems {
        return smarthost;
    }
    let mut wrong = |key: &str, message: String| {
        let place = table.get(key).map_or(place_of(table), Spanned::span);
        report.add(place, &format!("smarthost.{key}"), message);
    };
    for (key, text) in [("name", &smarthost.name), ("host", &smarthost.host)] {
        if text.is_empty() || text.contains(char::is_whitespace) {
            wrong(
                key,
                format!("missing, or with blanks in it; write {key} = {}", super::example::sample(key)),
            );
        }
    }
    match (&smarthost.user, &smarthost.password_file) {
        (Some(_), None) => wrong("user", "there is no password for it; name the `password_file`".to_owned()),
        (None, Some(_)) => wrong("password_file", "there is no `user` whose password it is; name one".to_owned()),
        (Some(_), Some(_)) if smarthost.tls == SmarthostTls::None && !smarthost.plaintext_login => wrong(
            "tls",
            "the password would travel in the clear; use \"starttls\" or \"implicit\", or set plaintext_login = true"
                .to_owned(),
        ),
        _ => {}
    }
    smarthost
}

fn place_of(table: &DeTable<'_>) -> std::ops::Range<usize> {
    table.keys().next().map_or(0..0, Spanned::span)
}

fn smarthost_place(number: usize) -> String {
    format!("smarthost {number}")
}

/// What no key about outgoing mail can know alone.
pub(super) fn check(settings: &Settings, report: &mut Report<'_>) {
    for route in &settings.routes {
        if let Way::Via(NextHop::Smarthost(name)) = &route.via.0
            && !settings.smarthosts.iter().any(|smarthost| smarthost.name == *name)
        {
            let known: Vec<&str> = settings.smarthosts.iter().map(|it| it.name.as_str()).collect();
            let remedy = match known.is_empty() {
                true => format!("write a [[smarthost]] with name = {name:?}"),
                false => format!("there are {}", known.join(", ")),
            };
            let place = report.places.get(&format!("smarthost:{name}")).cloned().unwrap_or(0..0);
            report.add(place, "route.via", format!("no [[smarthost]] is called {name:?}; {remedy}"));
        }
    }
    let mut names = std::collections::HashSet::new();
    for (number, smarthost) in settings.smarthosts.iter().enumerate() {
        if !names.insert(&smarthost.name) {
            let place = report.places.get(&smarthost_place(number)).cloned().unwrap_or(0..0);
            let message = format!("there are two called {:?}; give each a name of its own", smarthost.name);
            report.add(place, "smarthost.name", message);
        }
    }
    if settings.queue.retry.is_empty() || settings.queue.retry.iter().any(std::time::Duration::is_zero) {
        let message = "name one time at least, and none of \"0s\", as in retry = [\"1m\", \"15m\", \"1h\"]";
        report.add_about("queue.retry", message.to_owned());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_queue() {
        assert_eq!(Settings::default().outgoing().queue, packetboat_mail::queue::Settings::default());
    }

    #[test]
    fn routes_lead_where_they_say() {
        let text = r#"
hostname = "mail.example.org"
[[route]]
domains = ["lan.example", "*.lan.example"]
via = "lmtp:/run/lan.sock"
[[route]]
senders = ["@shop.example", "Boss@example.org"]
via = "smarthost:provider"
[[route]]
domains = "partner.example"
via = "host:[2001:db8::1]:2525"
[[route]]
domains = "old.example"
via = "mx:new.example"
[[route]]
domains = "never.example"
via = "none"
[[smarthost]]
name = "provider"
host = "smtp.provider.example"
"#;
        let settings = Settings::parse(text, Path::new("/etc/p.toml")).unwrap();
        let routes = settings.outgoing().routes;
        let hop = |sender: &str, domain: &str| {
            let hop = routes.next_hop(Some(&sender.parse().unwrap()), &domain.parse().unwrap());
            hop.map_or_else(|| "-".to_owned(), |hop| hop.to_string())
        };
        for (sender, domain, expected) in [
            ("a@b.example", "other.example", "mx:other.example"),
            ("a@b.example", "lan.example", "lmtp:/run/lan.sock"),
            ("a@b.example", "x.y.lan.example", "lmtp:/run/lan.sock"),
            ("a@shop.example", "other.example", "smarthost:provider"),
            ("boss@example.org", "other.example", "smarthost:provider"),
            ("a@b.example", "partner.example", "host:[2001:db8::1]:2525"),
            ("a@b.example", "old.example", "mx:new.example"),
            ("a@b.example", "never.example", "-"),
        ] {
            assert_eq!(hop(sender, domain), expected, "{sender} {domain}");
        }
        let closed = format!("{text}[[route]]\ndomains = \"*\"\nvia = \"none\"\n");
        let routes = Settings::parse(&closed, Path::new("/etc/p.toml")).unwrap().outgoing().routes;
        assert_eq!(routes.next_hop(None, &"other.example".parse().unwrap()), None);
        assert!(routes.next_hop(None, &"lan.example".parse().unwrap()).is_some());
    }

    #[test]
    fn what_leads_nowhere_is_no_way() {
        for via in ["", "smtp", "host:", "host:a", "host:a:0", "lmtp:a", "lmtp:", "uucp:a", "mx:", "mx:a..b"]
        {
            let text = format!("hostname = \"a.test\"\n[[route]]\ndomains = \"*\"\nvia = {via:?}\n");
            let error = Settings::parse(&text, Path::new("/etc/p.toml")).unwrap_err().to_string();
            assert!(error.contains(":4:7: route.via: ") && error.contains("\"host:NAME:PORT\""), "{error}");
        }
    }
}
