//! Who may send to everybody without a login.

use std::net::IpAddr;

use ipnet::IpNet;
use parking_lot::RwLock;

/// Networks whose programs may send to everybody. The settings name them, and may change while the server runs.
#[derive(Debug, Default)]
pub struct TrustedNetworks(RwLock<Vec<IpNet>>);

impl TrustedNetworks {
    /// From now on, these.
    pub fn set(&self, networks: &[IpNet]) {
        *self.0.write() = networks.to_vec();
    }

    /// Whether whoever has this address is in one of them. A local socket has none, and is not.
    pub fn hold(&self, address: Option<IpAddr>) -> bool {
        let networks = self.0.read();
        address
            .is_some_and(|address| networks.iter().any(|network| network.contains(&address.to_canonical())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_who_is_named_may() {
        let trusted = TrustedNetworks::default();
        let ip = |text: &str| Some(text.parse().unwrap());
        assert!(!trusted.hold(ip("127.0.0.1")));
        trusted.set(&["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
        assert!(
            trusted.hold(ip("192.0.2.7"))
                && trusted.hold(ip("::ffff:192.0.2.7"))
                && trusted.hold(ip("2001:db8::7"))
        );
        assert!(!trusted.hold(ip("198.51.100.1")) && !trusted.hold(None));
    }
}
