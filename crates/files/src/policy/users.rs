//! Who comes, and whom a rule is for.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visitor<'a> {
    /// Somebody who has shown that this account is theirs, by its login name, `user@domain`.
    Account(&'a str),
    /// Anybody.
    Anonymous,
}

/// Whom a rule is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Users {
    /// One account: `alice@example.org`.
    Account(String),
    /// All of a domain: `*@example.org`.
    Domain(String),
    /// All who have an account: `*`. Who comes as anonymous has none.
    Everybody,
    /// Who comes without an account: `anonymous`.
    Anonymous,
}

/// A text that names no users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected \"alice@example.org\", \"*@example.org\", \"*\" or \"anonymous\"")]
pub struct InvalidUsers;

impl Users {
    /// How closely this fits: an account more closely than a domain, a domain more closely than everybody. `None`: not at
    /// all. Case does not matter, as for log-ins.
    pub fn fits(&self, visitor: Visitor<'_>) -> Option<u8> {
        let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
        match (self, visitor) {
            (Users::Anonymous, Visitor::Anonymous) => Some(2),
            (Users::Account(login), Visitor::Account(other)) => same(login, other).then_some(2),
            (Users::Domain(domain), Visitor::Account(login)) => {
                login.rsplit_once('@').is_some_and(|(_, other)| same(domain, other)).then_some(1)
            }
            (Users::Everybody, Visitor::Account(_)) => Some(0),
            _ => None,
        }
    }

    /// How closely the best of these fits.
    pub fn best(users: &[Users], visitor: Visitor<'_>) -> Option<u8> {
        users.iter().filter_map(|users| users.fits(visitor)).max()
    }
}

impl FromStr for Users {
    type Err = InvalidUsers;

    fn from_str(text: &str) -> Result<Users, InvalidUsers> {
        let sound = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == '*');
        match text {
            "*" => return Ok(Users::Everybody),
            "anonymous" => return Ok(Users::Anonymous),
            _ => {}
        }
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidUsers)?;
        match local {
            _ if !sound(domain) || domain.contains('@') => Err(InvalidUsers),
            "*" => Ok(Users::Domain(domain.to_owned())),
            local if sound(local) => Ok(Users::Account(text.to_owned())),
            _ => Err(InvalidUsers),
        }
    }
}

impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Users::Account(login) => f.write_str(login),
            Users::Domain(domain) => write!(f, "*@{domain}"),
            Users::Everybody => f.write_str("*"),
            Users::Anonymous => f.write_str("anonymous"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_counts() {
        let alice = Visitor::Account("Alice@example.org");
        for (users, visitor, fits) in [
            ("alice@example.org", alice, Some(2)),
            ("alice@EXAMPLE.org", alice, Some(2)),
            ("*@Example.Org", alice, Some(1)),
            ("*", alice, Some(0)),
            ("bob@example.org", alice, None),
            ("*@ample.org", alice, None),
            ("*@org", alice, None),
            ("anonymous", alice, None),
            ("anonymous", Visitor::Anonymous, Some(2)),
            ("*", Visitor::Anonymous, None),
            ("*@example.org", Visitor::Account("\"a@example.org\"@example.net"), None),
        ] {
            assert_eq!(users.parse::<Users>().unwrap().fits(visitor), fits, "{users} {visitor:?}");
        }
        for wrong in ["", "alice", "@example.org", "a*@example.org", "alice@", "**", "*@*", "a b@example.org"]
        {
            assert_eq!(wrong.parse::<Users>(), Err(InvalidUsers), "{wrong}");
        }
    }
}
