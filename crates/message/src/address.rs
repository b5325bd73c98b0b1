//! Mail addresses: the one canonical type, normalised at the edge and trusted inside.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Octets of a local part at most (RFC 5321 section 4.5.3.1.1).
pub const LOCAL_PART_MAX: usize = 64;
/// Octets of a domain at most (RFC 5321 section 4.5.3.1.2).
pub const DOMAIN_MAX: usize = 255;

/// A mailbox address, `local-part@domain` (RFC 5321 section 4.1.2, with the UTF-8 of RFC 6531 section 3.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    local: LocalPart,
    domain: Domain,
}

/// The part before the `@`, unquoted: `"a b"@x` and `a\ b` are kept as `a b`. Case is kept (RFC 5321 section 2.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalPart(String);

/// The part after the `@`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// A domain name in lower case with its labels in U-form (`bücher.example`), without a trailing dot.
    Name(String),
    /// An address literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    Literal(IpAddr),
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidAddress {
    /// No `@`, or nothing before it.
    #[error("an address has the form local-part@domain")]
    Form,
    /// The local part holds a control character or is not as RFC 5321 writes it.
    #[error("the part before the @ has a character that is not allowed there")]
    LocalPart,
    /// The local part is longer than [`LOCAL_PART_MAX`].
    #[error("the part before the @ is longer than 64 octets")]
    LocalPartTooLong,
    /// Not a domain name or address literal.
    #[error("the part after the @ is not a domain name")]
    Domain,
    /// The domain is longer than [`DOMAIN_MAX`].
    #[error("the part after the @ is longer than 255 octets")]
    DomainTooLong,
}

impl Address {
    /// Puts an address together from parts that are right by themselves.
    pub fn new(local: LocalPart, domain: Domain) -> Address {
        Address { local, domain }
    }

    /// Parses `local-part@domain`, the local part plain or quoted.
    pub fn parse(text: &str) -> Result<Address, InvalidAddress> {
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidAddress::Form)?;
        Ok(Address { local: LocalPart::parse(local)?, domain: Domain::parse(domain)? })
    }

    /// The part before the `@`.
    pub fn local(&self) -> &LocalPart {
        &self.local
    }

    /// The part after the `@`.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether this address needs SMTPUTF8 on its way (RFC 6531): the local part has non-ASCII characters. A domain
    /// alone does not, since it has an A-label form.
    pub fn needs_utf8(&self) -> bool {
        !self.local.0.is_ascii()
    }

    /// The form under which accounts look an address up: everything in lower case.
    pub fn lookup_key(&self) -> String {
        format!("{}@{}", self.local.0.to_lowercase(), self.domain)
    }
}

/// As on the wire inside `<>`: the local part quoted where it has to be, the domain in U-form.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl std::str::FromStr for Address {
    type Err = InvalidAddress;
    fn from_str(text: &str) -> Result<Address, InvalidAddress> {
        Address::parse(text)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        Address::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl LocalPart {
    /// Parses a dot-string or a quoted string. Dots in odd places (`a..b`, `a.`) are let through: Japanese carriers
    /// gave out such addresses and their mail still travels.
    pub fn parse(text: &str) -> Result<LocalPart, InvalidAddress> {
        if text.len() > 2 * LOCAL_PART_MAX + 2 {
            return Err(InvalidAddress::LocalPartTooLong);
        }
        let plain = match text.strip_prefix('"') {
            Some(rest) => unquote(rest.strip_suffix('"').ok_or(InvalidAddress::LocalPart)?)?,
            None if text.chars().all(is_atom_or_dot) => text.to_owned(),
            None => return Err(InvalidAddress::LocalPart),
        };
        match plain.len() {
            0 => Err(InvalidAddress::Form),
            n if n > LOCAL_PART_MAX => Err(InvalidAddress::LocalPartTooLong),
            _ => Ok(LocalPart(plain)),
        }
    }

    /// A local part from its text without quoting.
    pub fn plain(text: &str) -> Result<LocalPart, InvalidAddress> {
        match text.len() {
            0 => Err(InvalidAddress::Form),
            n if n > LOCAL_PART_MAX => Err(InvalidAddress::LocalPartTooLong),
            _ if text.contains(char::is_control) => Err(InvalidAddress::LocalPart),
            _ => Ok(LocalPart(text.to_owned())),
        }
    }

    /// The text without quoting.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot_string = self.0.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom_or_dot));
        if dot_string {
            return f.write_str(&self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if c == '"' || c == '\\' {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

fn is_atom_or_dot(c: char) -> bool {
    c.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

/// The inside of a quoted string: `qtextSMTP` and `quoted-pairSMTP` (RFC 5321 section 4.1.2).
fn unquote(inside: &str) -> Result<String, InvalidAddress> {
    let mut out = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => chars.next().ok_or(InvalidAddress::LocalPart)?,
            '"' => return Err(InvalidAddress::LocalPart),
            c => c,
        };
        if c.is_control() {
            return Err(InvalidAddress::LocalPart);
        }
        out.push(c);
    }
    Ok(out)
}

impl Domain {
    /// Parses a domain name (A- or U-labels, any case) or an address literal in square brackets.
    pub fn parse(text: &str) -> Result<Domain, InvalidAddress> {
        if text.len() > DOMAIN_MAX {
            return Err(InvalidAddress::DomainTooLong);
        }
        if let Some(literal) = text.strip_prefix('[') {
            return Domain::parse_literal(literal.strip_suffix(']').ok_or(InvalidAddress::Domain)?);
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        if !is_plausible(text) {
            return Err(InvalidAddress::Domain);
        }
        if text.is_ascii() && !text.to_ascii_lowercase().split('.').any(|label| label.starts_with("xn--")) {
            return Ok(Domain::Name(text.to_ascii_lowercase()));
        }
        let (name, checked) = idna::domain_to_unicode(text);
        // Mapping makes new characters: a fullwidth `>` becomes one that ends a path.
        let sound = |name: &str| name.len() <= DOMAIN_MAX && is_plausible(name);
        let ascii = idna::domain_to_ascii(&name);
        if checked.is_err() || !sound(&name) || !ascii.is_ok_and(|ascii| sound(&ascii)) {
            return Err(InvalidAddress::Domain);
        }
        Ok(Domain::Name(name))
    }

    fn parse_literal(text: &str) -> Result<Domain, InvalidAddress> {
        let tag = "IPv6:";
        let address = match text.get(..tag.len()) {
            Some(start) if start.eq_ignore_ascii_case(tag) => {
                text[tag.len()..].parse::<Ipv6Addr>().map(IpAddr::V6)
            }
            _ => text.parse::<Ipv4Addr>().map(IpAddr::V4),
        };
        address.map(Domain::Literal).map_err(|_| InvalidAddress::Domain)
    }

    /// The name with its labels in A-form (`xn--bcher-kva.example`), as DNS and peers without SMTPUTF8 want it.
    pub fn to_ascii(&self) -> String {
        match self {
            Domain::Name(name) => idna::domain_to_ascii(name).unwrap_or_else(|_| name.clone()),
            Domain::Literal(_) => self.to_string(),
        }
    }
}

/// Whether a text can be a domain name. RFC 5321 section 2.3.5 asks for letters, digits and hyphens; underscores are out
/// there in host names.
fn is_plausible(name: &str) -> bool {
    name.split('.').all(|label| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_' || !c.is_ascii())
    })
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Domain::Name(name) => f.write_str(name),
            Domain::Literal(IpAddr::V4(address)) => write!(f, "[{address}]"),
            Domain::Literal(IpAddr::V6(address)) => write!(f, "[IPv6:{address}]"),
        }
    }
}

impl std::str::FromStr for Domain {
    type Err = InvalidAddress;
    fn from_str(text: &str) -> Result<Domain, InvalidAddress> {
        Domain::parse(text)
    }
}

impl Serialize for Domain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Domain, D::Error> {
        Domain::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_into_one_canonical_form() {
        for (text, shown) in [
            ("alice@Example.ORG", "alice@example.org"),
            ("Alice@example.org.", "Alice@example.org"),
            ("\"alice\"@example.org", "alice@example.org"),
            ("\"a b\"@example.org", "\"a b\"@example.org"),
            (r#""a\"b\\c"@example.org"#, r#""a\"b\\c"@example.org"#),
            ("\"a@b\"@example.org", "\"a@b\"@example.org"),
            ("a..b.@docomo.example", "\"a..b.\"@docomo.example"),
            ("josé@xn--bcher-kva.example", "josé@bücher.example"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
            ("a@[ipv6:2001:DB8::1]", "a@[IPv6:2001:db8::1]"),
        ] {
            assert_eq!(Address::parse(text).expect(text).to_string(), shown);
            assert_eq!(Address::parse(shown).expect(shown), Address::parse(text).expect(text));
        }
    }

    #[test]
    fn a_local_part_without_quoting_is_what_quoting_makes_of_it() {
        for text in ["alice", "a b", "a\"b", "a..b", "@", "josé"] {
            let plain = LocalPart::plain(text).expect(text);
            assert_eq!(LocalPart::parse(&plain.to_string()), Ok(plain), "{text}");
        }
        assert_eq!(LocalPart::plain(""), Err(InvalidAddress::Form));
        assert_eq!(LocalPart::plain("a\r\nb"), Err(InvalidAddress::LocalPart));
        assert_eq!(LocalPart::plain(&"a".repeat(65)), Err(InvalidAddress::LocalPartTooLong));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long_local = format!("{}@example.org", "a".repeat(65));
        let long_domain = format!("a@{}", "a.".repeat(128));
        for (text, why) in [
            ("alice", InvalidAddress::Form),
            ("@example.org", InvalidAddress::Form),
            ("\"\"@example.org", InvalidAddress::Form),
            ("a b@example.org", InvalidAddress::LocalPart),
            ("a\r\nb@example.org", InvalidAddress::LocalPart),
            ("\"a\0b\"@example.org", InvalidAddress::LocalPart),
            ("\"a@example.org", InvalidAddress::LocalPart),
            (&long_local, InvalidAddress::LocalPartTooLong),
            ("a@", InvalidAddress::Domain),
            ("a@b..c", InvalidAddress::Domain),
            ("a@-b.c", InvalidAddress::Domain),
            ("a@b\u{ff1e}c.example", InvalidAddress::Domain),
            ("a@b\u{ff20}c.example", InvalidAddress::Domain),
            ("a@b\u{3000}c.example", InvalidAddress::Domain),
            ("a@xn--bcrse-xn--rle", InvalidAddress::Domain),
            ("a@xn--xn---xexnxn--rln", InvalidAddress::Domain),
            ("a@[300.1.1.1]", InvalidAddress::Domain),
            ("a@[192.0.2.1", InvalidAddress::Domain),
            (&long_domain, InvalidAddress::DomainTooLong),
        ] {
            assert_eq!(Address::parse(text), Err(why), "{text}");
        }
    }
}
