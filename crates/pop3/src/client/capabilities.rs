//! What a server says it can do (RFC 2449).

use std::time::Duration;

use packetboat_wire::sasl::Mechanism;

use crate::server::Expire;

/// Capabilities kept of one listing at most.
const CAPABILITIES_MAX: usize = 100;

/// The answer to CAPA.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    lines: Vec<String>,
}

impl Capabilities {
    /// Takes a line of the listing.
    pub(super) fn add(&mut self, line: &str) {
        if self.lines.len() < CAPABILITIES_MAX {
            self.lines.push(line.to_owned());
        }
    }

    /// All lines as they came.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Whether there is a capability of that name, in whatever case.
    pub fn has(&self, tag: &str) -> bool {
        self.arguments(tag).is_some()
    }

    /// The SASL mechanisms among those known here, in the server's order.
    pub fn mechanisms(&self) -> Vec<Mechanism> {
        self.arguments("SASL").into_iter().flatten().filter_map(Mechanism::parse).collect()
    }

    /// Whether names and passwords with USER and PASS may have more than ASCII (RFC 6856 section 2.2).
    pub fn utf8_user(&self) -> bool {
        self.arguments("UTF8").is_some_and(|mut words| words.any(|word| word.eq_ignore_ascii_case("USER")))
    }

    /// The shortest time between two logins.
    pub fn login_delay(&self) -> Option<Duration> {
        let seconds = self.arguments("LOGIN-DELAY")?.next()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// How long messages are kept.
    pub fn expire(&self) -> Option<Expire> {
        let word = self.arguments("EXPIRE")?.next()?;
        if word.eq_ignore_ascii_case("NEVER") {
            return Some(Expire::Never);
        }
        word.parse().ok().map(Expire::Days)
    }

    /// What the server calls itself.
    pub fn implementation(&self) -> Option<&str> {
        let line = self.lines.iter().find(|line| tag(line).eq_ignore_ascii_case("IMPLEMENTATION"))?;
        line.split_once(' ').map(|(_, implementation)| implementation)
    }

    fn arguments(&self, name: &str) -> Option<impl Iterator<Item = &str>> {
        let line = self.lines.iter().find(|line| tag(line).eq_ignore_ascii_case(name))?;
        Some(line.split_ascii_whitespace().skip(1))
    }
}

fn tag(line: &str) -> &str {
    line.split_ascii_whitespace().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_like_that_of_rfc_2449() {
        let mut capabilities = Capabilities::default();
        for line in [
            "TOP",
            "USER",
            "SASL CRAM-MD5 plain SCRAM-SHA-256",
            "RESP-CODES",
            "LOGIN-DELAY 900 USER",
            "Pipelining",
            "EXPIRE 60",
            "UIDL",
            "IMPLEMENTATION Shlemazle Plotz-v302",
            "UTF8 USER",
        ] {
            capabilities.add(line);
        }
        assert!(capabilities.has("TOP") && capabilities.has("PIPELINING") && !capabilities.has("STLS"));
        assert_eq!(capabilities.mechanisms(), [Mechanism::Plain, Mechanism::ScramSha256]);
        assert_eq!(capabilities.login_delay(), Some(Duration::from_secs(900)));
        assert_eq!(capabilities.expire(), Some(Expire::Days(60)));
        assert_eq!(capabilities.implementation(), Some("Shlemazle Plotz-v302"));
        assert!(capabilities.utf8_user());
    }

    #[test]
    fn a_listing_without_end_is_not_kept() {
        let mut capabilities = Capabilities::default();
        for _ in 0..1000 {
            capabilities.add("X");
        }
        assert_eq!(capabilities.lines().len(), CAPABILITIES_MAX);
        assert_eq!(Capabilities::default().expire(), None);
    }
}
