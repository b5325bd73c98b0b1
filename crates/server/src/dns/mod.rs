//! What the DNS says: questions, the resolver that asks them, the records to publish, and the comparison of both.
//!
//! Whatever judges by DNS is handed a [`Lookup`], so a table answers in tests.

mod check;
mod records;
mod resolver;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::IpAddr;

pub use check::{Finding, Findings, Level, check};
pub use records::{Record, records};
pub use resolver::Resolver;

/// Asks the DNS.
///
/// Names are in A-labels and without the dot at the end, in questions and in answers; answers are in lower case, and the
/// root is the empty name. Nothing there, or no such name, is an empty answer and no error.
pub trait Lookup {
    /// The MX records of a domain, in no order.
    fn mx(&self, name: &str) -> impl Future<Output = Result<Vec<Mx>, LookupError>> + Send;
    /// The A and AAAA records of a name.
    fn addresses(&self, name: &str) -> impl Future<Output = Result<Addresses, LookupError>> + Send;
    /// The names that an address says it has.
    fn ptr(&self, address: IpAddr) -> impl Future<Output = Result<Vec<String>, LookupError>> + Send;
    /// The TXT records of a name, the strings of each put together (RFC 7208, section 3.3).
    fn txt(&self, name: &str) -> impl Future<Output = Result<Vec<Vec<u8>>, LookupError>> + Send;
    /// The SRV records of a name, in no order.
    fn srv(&self, name: &str) -> impl Future<Output = Result<Vec<Srv>, LookupError>> + Send;
}

/// An MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mx {
    /// The lower, the sooner.
    pub preference: u16,
    /// Who takes the mail. Empty: nobody does (RFC 7505).
    pub exchange: String,
}

/// The addresses of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4 and IPv6.
    pub addresses: Vec<IpAddr>,
    /// Whether the name is an alias of another one (CNAME).
    pub alias: bool,
}

/// An SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Where the service listens.
    pub port: u16,
    /// On which host. Empty: the service is not to be had (RFC 2782).
    pub target: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No resolver could be asked, or none answered in time.
    #[error("{0}")]
    Unreachable(String),
    /// The resolver answered that it does not know, or the question could not be put.
    #[error("{0}")]
    Failed(String),
}
