//! By which way mail leaves this server: the next hop for a recipient elsewhere.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use packetboat_message::{Address, Domain};
use thiserror::Error;

/// Octets of a next hop's name at most.
pub const NAME_MAX: usize = 300;

/// Who is given a message next. As text, it names the destination under which the queue keeps the message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NextHop {
    /// The mail exchangers of a domain (RFC 5321 section 5.1).
    Mx(Domain),
    /// This very host, `name:port` or `[2001:db8::1]:port`; its exchangers are not asked for.
    Host(String),
    /// A relay that takes mail for everybody, by its name in the settings.
    Smarthost(String),
    /// A server to which mail is handed over by LMTP (RFC 2033), by its name in the settings.
    Lmtp(String),
    /// A peer that comes and fetches its mail (ETRN, ATRN, TURN), by its name.
    Peer(String),
}

/// A text names no next hop.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a next hop is mx:DOMAIN, host:NAME:PORT, smarthost:NAME, lmtp:NAME or peer:NAME")]
pub struct InvalidNextHop;

impl NextHop {
    fn kind(&self) -> &'static str {
        match self {
            NextHop::Mx(_) => "mx",
            NextHop::Host(_) => "host",
            NextHop::Smarthost(_) => "smarthost",
            NextHop::Lmtp(_) => "lmtp",
            NextHop::Peer(_) => "peer",
        }
    }

    /// Whether mail waits here until somebody fetches it: it is never dialled for.
    pub fn is_fetched(&self) -> bool {
        matches!(self, NextHop::Peer(_))
    }
}

/// `mx:example.org`, `host:mail.example.org:25`, `smarthost:provider`, `lmtp:lists`, `peer:lan.example`.
impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NextHop::Mx(domain) => write!(f, "{}:{domain}", self.kind()),
            NextHop::Host(name) | NextHop::Smarthost(name) | NextHop::Lmtp(name) | NextHop::Peer(name) => {
                write!(f, "{}:{name}", self.kind())
            }
        }
    }
}

impl FromStr for NextHop {
    type Err = InvalidNextHop;

    fn from_str(text: &str) -> Result<NextHop, InvalidNextHop> {
        let (kind, name) = text.split_once(':').ok_or(InvalidNextHop)?;
        if name.is_empty() || name.len() > NAME_MAX || name.contains(|c: char| c.is_control() || c == ' ') {
            return Err(InvalidNextHop);
        }
        match kind {
            "mx" => Domain::parse(name).map(NextHop::Mx).map_err(|_| InvalidNextHop),
            "host" => {
                let (host, port) = name.rsplit_once(':').ok_or(InvalidNextHop)?;
                let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                let sound = match bare {
                    Some(literal) => literal.parse::<std::net::IpAddr>().is_ok(),
                    None => !host.is_empty() && !host.contains(':'),
                };
                let port = port.parse::<u16>().map_err(|_| InvalidNextHop)?;
                if sound && port > 0 {
                    Ok(NextHop::Host(name.to_ascii_lowercase()))
                } else {
                    Err(InvalidNextHop)
                }
            }
            "smarthost" => Ok(NextHop::Smarthost(name.to_owned())),
            "lmtp" => Ok(NextHop::Lmtp(name.to_owned())),
            "peer" => Ok(NextHop::Peer(name.to_owned())),
            _ => Err(InvalidNextHop),
        }
    }
}

/// Where a rule sends mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// To the exchangers of the recipient's domain.
    Direct,
    /// To this next hop, whatever the domain.
    Via(NextHop),
    /// Nowhere: such mail is not taken.
    Nowhere,
}

/// The ways out, as the settings give them. The most particular rule holds: the sender's address, the sender's domain,
/// the recipient's domain, the domains above that, and then the default.
#[derive(Debug, Clone)]
pub struct Routes {
    senders: HashMap<String, Way>,
    domains: HashMap<String, Way>,
    under: HashMap<String, Way>,
    default: Way,
    /// Domains whose mail everybody may hand in.
    open: HashSet<String>,
}

impl Default for Routes {
    /// There is no way out.
    fn default() -> Routes {
        Routes::new(Way::Nowhere)
    }
}

impl Routes {
    /// Everything goes this way.
    pub fn new(default: Way) -> Routes {
        Routes {
            senders: HashMap::new(),
            domains: HashMap::new(),
            under: HashMap::new(),
            default,
            open: HashSet::new(),
        }
    }

    /// Mail from this sender goes this way, whoever gets it.
    pub fn sender(&mut self, sender: &Address, way: Way) {
        self.senders.insert(sender.lookup_key(), way);
    }

    /// Mail from the senders of this domain goes this way, whoever gets it.
    pub fn sender_domain(&mut self, domain: &Domain, way: Way) {
        self.senders.insert(format!("@{domain}"), way);
    }

    /// Mail for this domain goes this way.
    pub fn domain(&mut self, domain: &Domain, way: Way) {
        self.domains.insert(domain.to_string(), way);
    }

    /// Mail for all domains below this one goes this way.
    pub fn below(&mut self, domain: &Domain, way: Way) {
        self.under.insert(domain.to_string(), way);
    }

    /// Mail for this domain is taken from everybody, and sent on: this server stands in for another one.
    pub fn stand_in_for(&mut self, domain: &Domain) {
        self.open.insert(domain.to_string());
    }

    /// Whether mail for this domain is taken from everybody.
    pub fn stands_in_for(&self, domain: &Domain) -> bool {
        !self.open.is_empty() && self.open.contains(&domain.to_string())
    }

    /// Whether mail for this domain has a rule of its own, so that it is not left to senders and the default.
    fn of_domain(&self, name: &str) -> Option<&Way> {
        if let Some(way) = self.domains.get(name) {
            return Some(way);
        }
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(way) = self.under.get(parent) {
                return Some(way);
            }
            rest = parent;
        }
        None
    }

    fn of_sender(&self, sender: &Address) -> Option<&Way> {
        if self.senders.is_empty() {
            return None;
        }
        let whole = self.senders.get(&sender.lookup_key());
        whole.or_else(|| self.senders.get(&format!("@{}", sender.domain())))
    }

    /// The next hop for a recipient; `None`: there is no way.
    pub fn next_hop(&self, sender: Option<&Address>, to: &Domain) -> Option<NextHop> {
        let way = sender
            .and_then(|sender| self.of_sender(sender))
            .or_else(|| self.of_domain(&to.to_string()))
            .unwrap_or(&self.default);
        match way {
            Way::Direct => Some(NextHop::Mx(to.clone())),
            Way::Via(hop) => Some(hop.clone()),
            Way::Nowhere => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_next_hop_reads_back_what_it_writes() {
        for text in [
            "mx:example.org",
            "mx:[192.0.2.1]",
            "mx:[IPv6:2001:db8::1]",
            "host:mail.example.org:25",
            "host:[::1]:2525",
            "smarthost:provider",
            "lmtp:lists",
            "peer:lan.example",
        ] {
            assert_eq!(text.parse::<NextHop>().unwrap().to_string(), text);
        }
        assert_eq!("mx:BÜCHER.example".parse::<NextHop>().unwrap().to_string(), "mx:bücher.example");
        for text in [
            "",
            "mx",
            "mx:",
            "mx:a..b",
            "host:a",
            "host:a:",
            "host:a:0",
            "host:a:70000",
            "host::25",
            "host:::1:25",
            "smarthost:a b",
            "lmtp:\r\n",
            "uucp:a",
        ] {
            assert_eq!(text.parse::<NextHop>(), Err(InvalidNextHop), "{text}");
        }
        assert!(format!("peer:{}", "a".repeat(NAME_MAX + 1)).parse::<NextHop>().is_err());
    }

    #[test]
    fn the_most_particular_rule_holds() {
        let domain = |text: &str| Domain::parse(text).unwrap();
        let via = |text: &str| Way::Via(text.parse().unwrap());
        let mut routes = Routes::new(Way::Direct);
        routes.domain(&domain("a.example"), via("lmtp:a"));
        routes.below(&domain("example"), via("smarthost:below"));
        routes.domain(&domain("dark.test"), Way::Nowhere);
        routes.sender(&"Boss@our.test".parse().unwrap(), via("smarthost:boss"));
        routes.sender_domain(&domain("our.test"), via("smarthost:our"));
        for (sender, to, expected) in [
            (None, "b.test", Some("mx:b.test")),
            (None, "a.example", Some("lmtp:a")),
            (None, "x.y.example", Some("smarthost:below")),
            (None, "example", Some("mx:example")),
            (None, "dark.test", None),
            (Some("boss@our.test"), "a.example", Some("smarthost:boss")),
            (Some("other@our.test"), "b.test", Some("smarthost:our")),
            (Some("x@else.test"), "[192.0.2.7]", Some("mx:[192.0.2.7]")),
        ] {
            let sender: Option<Address> = sender.map(|sender| sender.parse().unwrap());
            let hop = routes.next_hop(sender.as_ref(), &domain(to)).map(|hop| hop.to_string());
            assert_eq!(hop.as_deref(), expected, "{to}");
        }
        assert_eq!(Routes::default().next_hop(None, &domain("b.test")), None);
        assert!(!routes.stands_in_for(&domain("a.example")));
        routes.stand_in_for(&domain("A.example"));
        assert!(routes.stands_in_for(&domain("a.example")) && !routes.stands_in_for(&domain("x.a.example")));
    }
}
