//! TLSA records (RFC 6698), and which of them count.

/// A TLSA record, as it stands in the DNS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tlsa {
    /// Certificate usage.
    pub usage: u8,
    /// Selector.
    pub selector: u8,
    /// Matching type.
    pub matching: u8,
    /// Certificate association data.
    pub data: Vec<u8>,
}

/// A record that can be used with SMTP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Association {
    /// Whose certificate it describes.
    pub usage: Usage,
    /// Which part of it.
    pub selector: Selector,
    /// How.
    pub matching: Matching,
    /// The digest, or the part itself.
    pub data: Vec<u8>,
}

/// Whose certificate a record describes. PKIX-TA(0) and PKIX-EE(1) are of no use with SMTP (RFC 7672, section 3.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Usage {
    /// DANE-TA(2): that of an authority.
    Authority,
    /// DANE-EE(3): the server's own.
    Server,
}

/// Which part of a certificate a record describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Selector {
    /// Cert(0): all of it.
    Certificate,
    /// SPKI(1): the public key.
    Key,
}

/// How a record describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Matching {
    /// Full(0): it stands there.
    Full,
    /// SHA2-256(1).
    Sha256,
    /// SHA2-512(2).
    Sha512,
}

impl Matching {
    fn fits(self, data: &[u8]) -> bool {
        match self {
            Matching::Full => !data.is_empty(),
            Matching::Sha256 => data.len() == 32,
            Matching::Sha512 => data.len() == 64,
        }
    }
}

/// The records that can be used (RFC 6698, section 4.1). Of digests of the same thing only the strongest kind counts, so
/// that a weaker one cannot be chosen by an attacker (RFC 7671, section 9).
pub fn usable(records: &[Tlsa]) -> Vec<Association> {
    let all: Vec<Association> = records.iter().filter_map(association).collect();
    let weaker = |one: &Association| {
        one.matching != Matching::Full
            && all.iter().any(|other| {
                (other.usage, other.selector) == (one.usage, one.selector) && other.matching > one.matching
            })
    };
    all.iter().filter(|one| !weaker(one)).cloned().collect()
}

fn association(record: &Tlsa) -> Option<Association> {
    let usage = match record.usage {
        2 => Usage::Authority,
        3 => Usage::Server,
        _ => return None,
    };
    let selector = match record.selector {
        0 => Selector::Certificate,
        1 => Selector::Key,
        _ => return None,
    };
    let matching = match record.matching {
        0 => Matching::Full,
        1 => Matching::Sha256,
        2 => Matching::Sha512,
        _ => return None,
    };
    // An authority's bare key in full is of no use: there is no certificate to build a chain to unless the server sends
    // one, and then its digest would do. RFC 7672, section 3.1.2, lets us compare it all the same.
    matching.fits(&record.data).then(|| Association { usage, selector, matching, data: record.data.clone() })
}
