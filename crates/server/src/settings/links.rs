//! How data connections of FTP come about: the kinds of values.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::IpNet;
use packetboat_message::Domain;
use toml::de::DeValue;

use super::keys::Ftp;
use super::value::{ListItem, Value, choice, quoted};

choice! {
    /// Whether data connections have to resume the TLS session of the control connection.
    DataTlsBinding: "\"off\", \"prefer\" or \"require\"" {
        /// Nobody looks.
        Off = "off",
        /// Those that do are known by it; others are taken.
        #[default]
        Prefer = "prefer",
        /// Others are refused.
        Require = "require",
    }
}

choice! {
    /// Where active data connections come from.
    ActiveSource: "\"default-data-port\" or \"any\"" {
        /// The port before that of the control connection (RFC 959 section 3.2).
        #[default]
        DefaultDataPort = "default-data-port",
        /// Any port.
        Any = "any",
    }
}

choice! {
    /// Where the name of an account stands in a certificate.
    ClientName: "\"email\" or \"common-name\"" {
        /// An e-mail address among the alternative names (RFC 5280 section 4.2.1.6).
        #[default]
        Email = "email",
        /// The common name of the subject.
        CommonName = "common-name",
    }
}

/// An address for passive data connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announced {
    /// This one.
    Address(Ipv4Addr),
    /// The one that the DNS has for this host.
    Host(Domain),
}

impl fmt::Display for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Announced::Address(address) => address.fmt(f),
            Announced::Host(host) => host.fmt(f),
        }
    }
}

impl FromStr for Announced {
    type Err = ();

    fn from_str(text: &str) -> Result<Announced, ()> {
        if let Ok(address) = text.parse() {
            return Ok(Announced::Address(address));
        }
        // What is all digits and dots was meant for an address.
        let name = text.bytes().any(|octet| octet.is_ascii_alphabetic());
        let host = Domain::parse(text).ok().filter(|host| name && matches!(host, Domain::Name(_)));
        host.map(Announced::Host).ok_or(())
    }
}

impl Value for Announced {
    const KIND: &'static str = "an IPv4 address such as \"192.0.2.1\", or the name of a host";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str()?.parse().ok()
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

/// What clients of one network are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceTo {
    /// The network.
    pub clients: IpNet,
    /// `None`: the address they came to.
    pub address: Option<Announced>,
}

impl AnnounceTo {
    /// Who comes from a network that no router passes on to the Internet has found the way to us without one.
    pub(super) fn private_networks() -> Vec<AnnounceTo> {
        ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"]
            .iter()
            .filter_map(|network| Some(AnnounceTo { clients: network.parse().ok()?, address: None }))
            .collect()
    }
}

impl Value for AnnounceTo {
    const KIND: &'static str = "a network, an arrow, and \"own\", an IPv4 address or the name of a host, such as \"10.0.0.0/8 -> own\" or \"192.0.2.0/24 -> 192.0.2.1\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let (network, address) = value.as_str()?.split_once("->")?;
        let clients = network.trim().parse().ok()?;
        let address = match address.trim() {
            "own" => None,
            other => Some(other.parse().ok()?),
        };
        Some(AnnounceTo { clients, address })
    }

    fn write(&self) -> String {
        let address = self.address.as_ref().map_or("own".to_owned(), ToString::to_string);
        quoted(&format!("{} -> {address}", self.clients))
    }
}

impl ListItem for AnnounceTo {
    const LIST_KIND: &'static str = "a list whose items are each a network, an arrow, and \"own\", an IPv4 address or the name of a host, such as [\"10.0.0.0/8 -> own\"]";
}

/// A host, by name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Value for HostPort {
    const KIND: &'static str = "a host and port such as \"stun.example.org:3478\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let (host, port) = value.as_str()?.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let fits = !host.is_empty() && host.bytes().all(|octet| octet.is_ascii_graphic());
        let port = port.parse().ok().filter(|port| *port > 0)?;
        fits.then(|| HostPort { host: host.to_owned(), port })
    }

    fn write(&self) -> String {
        quoted(&match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        })
    }
}

impl Ftp {
    /// The port that active data connections of a control connection to `port` come from (RFC 959 section 3.2), if they
    /// come from one.
    pub fn active_source_of(&self, port: u16) -> Option<u16> {
        let fixed = self.active && self.active_source == ActiveSource::DefaultDataPort;
        fixed.then(|| port.checked_sub(1)).flatten().filter(|port| *port > 0)
    }

    /// What can be meant, and hardly is: said at the start and by `packetboat check`.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let behind = self.announce.is_some() || self.announce_discover.is_some();
        if let Some(Announced::Address(address)) = self.announce
            && (address.is_private() || address.is_loopback() || address.is_link_local())
        {
            doubts.push(format!("ftp.announce is {address}, which nobody outside can reach"));
        }
        if behind && self.passive_first == 0 && self.passive_port == 0 {
            doubts.push(
                "ftp.announce is for servers behind a router, which has to know the ports: set ftp.passive_first and \
                 ftp.passive_last, or ftp.passive_port"
                    .to_owned(),
            );
        }
        doubts
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read<V: Value>(text: &str) -> Option<V> {
        V::read(&DeValue::String(text.into()))
    }

    #[test]
    fn doubts_about_routers() {
        let announce = |text: &str| Some(text.parse().unwrap());
        assert_eq!(Ftp::default().doubts(), Vec::<String>::new());
        let inside = Ftp { announce: announce("192.168.1.2"), passive_first: 40_000, ..Ftp::default() };
        assert_eq!(inside.doubts().len(), 1);
        let no_ports = Ftp { announce: announce("203.0.113.7"), ..Ftp::default() };
        assert_eq!(no_ports.doubts().len(), 1);
        let good = Ftp { announce: announce("203.0.113.7"), passive_port: 2121, ..Ftp::default() };
        assert!(good.doubts().is_empty());
    }

    #[test]
    fn what_is_announced() {
        for (text, written) in [
            ("192.0.2.1", Some("\"192.0.2.1\"")),
            ("ftp.example.org", Some("\"ftp.example.org\"")),
            ("192.0.2", None),
            ("2001:db8::1", None),
            ("", None),
        ] {
            assert_eq!(read::<Announced>(text).map(|value| value.write()).as_deref(), written, "{text}");
        }
        for (text, written) in [
            ("10.0.0.0/8 -> own", Some("\"10.0.0.0/8 -> own\"")),
            ("192.0.2.0/24->192.0.2.9", Some("\"192.0.2.0/24 -> 192.0.2.9\"")),
            ("192.0.2.0/24 -> ftp.example.org", Some("\"192.0.2.0/24 -> ftp.example.org\"")),
            ("192.0.2.0/24", None),
            ("ten -> own", None),
        ] {
            assert_eq!(read::<AnnounceTo>(text).map(|value| value.write()).as_deref(), written, "{text}");
        }
        for (text, written) in [
            ("stun.example.org:3478", Some("\"stun.example.org:3478\"")),
            ("[::1]:3478", Some("\"[::1]:3478\"")),
            ("stun.example.org", None),
            (":3478", None),
            ("stun.example.org:0", None),
        ] {
            assert_eq!(read::<HostPort>(text).map(|value| value.write()).as_deref(), written, "{text}");
        }
    }
}
