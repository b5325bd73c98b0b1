//! Servers that are not always there and fetch their mail, as the settings name them: who may fetch what.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use packetboat_mail::outbound::{NextHop, Routes, Way};
use packetboat_message::{Address, Domain};
use packetboat_smtp::command::Node;
use parking_lot::RwLock;

use crate::settings::{self, Settings};

/// The peers. A handle: clones share everything, and change together when the settings are read again.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    peers: Arc<RwLock<Arc<[Peer]>>>,
}

/// One of them.
#[derive(Debug, Clone)]
struct Peer {
    hop: NextHop,
    domains: Vec<Domain>,
    accounts: Vec<String>,
    networks: Vec<IpNet>,
}

/// Why somebody does not get the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotYours {
    /// There is no peer with such a domain.
    Unknown,
    /// It is somebody else's, or asked for from elsewhere.
    Denied,
    /// It is never sent, but fetched.
    Fetched,
}

impl Peers {
    /// The peers of these settings.
    pub fn new(settings: &Settings) -> Peers {
        let peers = Peers::default();
        peers.set(settings);
        peers
    }

    /// From now on those of these settings.
    pub fn set(&self, settings: &Settings) {
        *self.peers.write() = settings.peers.iter().map(Peer::new).collect();
    }

    fn all(&self) -> Arc<[Peer]> {
        Arc::clone(&self.peers.read())
    }

    /// Whether somebody fetches mail after logging in (ATRN).
    pub fn any_by_login(&self) -> bool {
        self.all().iter().any(|peer| !peer.accounts.is_empty())
    }

    /// Whether somebody fetches mail from a known place (TURN).
    pub fn any_by_place(&self) -> bool {
        self.all().iter().any(|peer| !peer.networks.is_empty() && peer.hop.is_fetched())
    }

    /// Whether somebody may have mail sent at once (ETRN).
    pub fn any_to_be_sent(&self) -> bool {
        self.all().iter().any(|peer| !peer.hop.is_fetched())
    }

    /// The next hops whose mail an account may fetch: those with these domains, or all of its own. All of the domains have
    /// to be its own, or it gets nothing (RFC 2645 section 5.2.1).
    pub fn of_account(&self, login: &str, domains: &[Domain]) -> Result<Vec<NextHop>, NotYours> {
        let peers = self.all();
        let own = || peers.iter().filter(|peer| peer.accounts.iter().any(|name| name == login));
        if own().next().is_none() {
            return Err(NotYours::Denied);
        }
        if domains.is_empty() {
            return Ok(own().map(|peer| peer.hop.clone()).collect());
        }
        let mut hops = Vec::new();
        for domain in domains {
            let peer = own().find(|peer| peer.domains.contains(domain)).ok_or(NotYours::Denied)?;
            if !hops.contains(&peer.hop) {
                hops.push(peer.hop.clone());
            }
        }
        Ok(hops)
    }

    /// The next hops whose mail is fetched from this place (TURN).
    pub fn of_place(&self, place: Option<IpAddr>) -> Vec<NextHop> {
        let Some(place) = place else { return Vec::new() };
        let peers = self.all();
        let here = |peer: &&Peer| peer.hop.is_fetched() && peer.is_at(place);
        peers.iter().filter(here).map(|peer| peer.hop.clone()).collect()
    }

    /// The next hops of a node whose mail shall be sent now, asked for from this place or by who has logged in (ETRN). A
    /// peer whose networks are not named may be woken by everybody: mail goes to no other place by that.
    pub fn of_node(
        &self,
        node: &Node,
        place: Option<IpAddr>,
        login: Option<&str>,
    ) -> Result<Vec<NextHop>, NotYours> {
        let peers = self.all();
        let is_meant = |domain: &Domain| match node {
            Node::Domain(wanted) => domain == wanted,
            Node::Below(parent) => domain == parent || domain.to_string().ends_with(&format!(".{parent}")),
            Node::Queue(_) => false,
        };
        let (mut hops, mut why) = (Vec::new(), NotYours::Unknown);
        for peer in peers.iter().filter(|peer| peer.domains.iter().any(is_meant)) {
            let known = peer.networks.is_empty()
                || place.is_some_and(|place| peer.is_at(place))
                || login.is_some_and(|login| peer.accounts.iter().any(|name| name == login));
            match known {
                _ if peer.hop.is_fetched() => why = NotYours::Fetched,
                false => why = NotYours::Denied,
                true => hops.push(peer.hop.clone()),
            }
        }
        if hops.is_empty() { Err(why) } else { Ok(hops) }
    }
}

impl Peer {
    fn new(peer: &settings::Peer) -> Peer {
        Peer {
            hop: next_hop(peer),
            domains: peer.mail_for.clone(),
            accounts: peer.logins.iter().map(Address::lookup_key).collect(),
            networks: peer.networks.clone(),
        }
    }

    fn is_at(&self, place: IpAddr) -> bool {
        let place = place.to_canonical();
        self.networks.iter().any(|network| network.contains(&place))
    }
}

/// Where a peer's mail goes.
fn next_hop(peer: &settings::Peer) -> NextHop {
    match &peer.send_to {
        Some(host) => NextHop::Host(host.to_ascii_lowercase()),
        None => NextHop::Peer(peer.name.clone()),
    }
}

/// Mail for the domains of peers is taken from everybody, and waits for them.
pub(crate) fn add_routes(peers: &[settings::Peer], routes: &mut Routes) {
    for peer in peers {
        for domain in &peer.mail_for {
            routes.domain(domain, Way::Via(next_hop(peer)));
            routes.stand_in_for(domain);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    fn peers() -> Peers {
        let text = r#"
            hostname = "mx.example.org"
            [[peer]]
            name = "lan"
            mail_for = ["lan.example", "sub.lan.example"]
            logins = ["lan@example.org"]
            networks = ["192.0.2.0/24"]
            [[peer]]
            name = "line"
            mail_for = ["line.example"]
            send_to = "line.example:25"
            logins = ["lan@example.org", "line@example.org"]
            networks = ["198.51.100.7/32"]
            [[peer]]
            name = "open"
            mail_for = ["open.example"]
            send_to = "192.0.2.9:2525"
        "#;
        Peers::new(&Settings::parse(text, std::path::Path::new("packetboat.toml")).unwrap())
    }

    fn shown(hops: Result<Vec<NextHop>, NotYours>) -> String {
        match hops {
            Ok(hops) => hops.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(why) => format!("{why:?}"),
        }
    }

    #[test]
    fn an_account_fetches_its_own_domains_and_no_others() {
        let (lan, line) = ("peer:lan", "host:line.example:25");
        for (login, domains, expected) in [
            ("lan@example.org", vec![], format!("{lan} {line}")),
            ("lan@example.org", vec!["lan.example"], lan.to_owned()),
            ("lan@example.org", vec!["lan.example", "sub.lan.example"], lan.to_owned()),
            ("lan@example.org", vec!["lan.example", "line.example"], format!("{lan} {line}")),
            ("lan@example.org", vec!["lan.example", "open.example"], "Denied".to_owned()),
            ("line@example.org", vec![], line.to_owned()),
            ("line@example.org", vec!["lan.example"], "Denied".to_owned()),
            ("other@example.org", vec![], "Denied".to_owned()),
        ] {
            let domains: Vec<Domain> = domains.into_iter().map(domain).collect();
            assert_eq!(shown(peers().of_account(login, &domains)), expected, "{login} {domains:?}");
        }
    }

    #[test]
    fn a_place_fetches_what_is_not_sent() {
        for (place, expected) in [
            ("192.0.2.200", "peer:lan"),
            ("::ffff:192.0.2.200", "peer:lan"),
            ("198.51.100.7", ""),
            ("203.0.113.1", ""),
        ] {
            assert_eq!(shown(Ok(peers().of_place(place.parse().ok()))), expected, "{place}");
        }
        assert!(peers().of_place(None).is_empty());
    }

    #[test]
    fn a_node_is_woken_by_who_may() {
        let node = |name: &str| match name.strip_prefix('@') {
            Some(name) => Node::Below(domain(name)),
            None => Node::Domain(domain(name)),
        };
        for (name, place, login, expected) in [
            ("open.example", "203.0.113.1", None, "host:192.0.2.9:2525"),
            ("line.example", "198.51.100.7", None, "host:line.example:25"),
            ("line.example", "203.0.113.1", None, "Denied"),
            ("line.example", "203.0.113.1", Some("line@example.org"), "host:line.example:25"),
            ("lan.example", "192.0.2.1", None, "Fetched"),
            ("com.example", "192.0.2.1", None, "Unknown"),
            ("sub.open.example", "192.0.2.1", None, "Unknown"),
            ("@example", "203.0.113.1", None, "host:192.0.2.9:2525"),
        ] {
            let hops = peers().of_node(&node(name), place.parse().ok(), login);
            assert_eq!(shown(hops), expected, "{name} from {place}");
        }
        assert_eq!(shown(peers().of_node(&Node::Queue("x".into()), None, None)), "Unknown");
    }

    #[test]
    fn mail_for_peers_is_taken_from_everybody() {
        let text = "hostname = \"mx.example.org\"\n[[peer]]\nname = \"lan\"\nmail_for = [\"lan.example\"]\nlogins = [\"lan@example.org\"]\n";
        let settings = Settings::parse(text, std::path::Path::new("packetboat.toml")).unwrap();
        let mut routes = Routes::new(Way::Nowhere);
        add_routes(&settings.peers, &mut routes);
        let hop = routes.next_hop(None, &domain("lan.example"));
        assert_eq!(hop.map(|hop| hop.to_string()).as_deref(), Some("peer:lan"));
        assert!(routes.stands_in_for(&domain("lan.example")) && !routes.stands_in_for(&domain("x.example")));
    }
}
