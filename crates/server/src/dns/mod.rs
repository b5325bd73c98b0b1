//! What the DNS says: questions, the resolver that asks them, the records to publish, and the comparison of both.
//!
//! Whatever judges by DNS is handed a [`Lookup`], so a table answers in tests.

mod check;
mod handle;
mod records;
mod resolver;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::IpAddr;

pub use check::{Finding, Findings, Level, check};
pub use packetboat_mail::secure::{Security, Tlsa};
pub use records::{Record, records};
pub use resolver::{Dnssec, Resolver, ResolverOptions};

/// Records of one answer that are looked at. Who publishes more wants something else than mail.
pub const RECORDS_MAX: usize = 128;

/// Asks the DNS.
///
/// Names are in A-labels and without the dot at the end, in questions and in answers; answers are in lower case, and the
/// root is the empty name. Nothing there, or no such name, is an empty answer and no error. Aliases (CNAME) are followed.
pub trait Lookup: Send + Sync {
    /// The MX records of a domain, in no order.
    fn mx(&self, name: &str) -> impl Future<Output = Found<Vec<Mx>>> + Send;
    /// The A and AAAA records of a name.
    fn addresses(&self, name: &str) -> impl Future<Output = Found<Vec<IpAddr>>> + Send;
    /// The names that an address says it has.
    fn ptr(&self, address: IpAddr) -> impl Future<Output = Found<Vec<String>>> + Send;
    /// The TXT records of a name, the strings of each put together (RFC 7208, section 3.3).
    fn txt(&self, name: &str) -> impl Future<Output = Found<Vec<Vec<u8>>>> + Send;
    /// The SRV records of a name, in no order.
    fn srv(&self, name: &str) -> impl Future<Output = Found<Vec<Srv>>> + Send;
    /// The TLSA records of a name, such as `_25._tcp.mail.example.org`, in no order.
    fn tlsa(&self, name: &str) -> impl Future<Output = Found<Vec<Tlsa>>> + Send;
    /// What a name itself is an alias of (CNAME), not what that leads to.
    fn alias(&self, name: &str) -> impl Future<Output = Found<Option<String>>> + Send;
}

/// What came of a question.
pub type Found<T> = Result<Answer<T>, LookupError>;

/// What the DNS says, and whether it can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// What it says. [`RECORDS_MAX`] records at most.
    pub data: T,
    /// Where the question led, if the name asked for is an alias (CNAME).
    pub alias: Option<String>,
    /// Whether it is signed, with every alias on the way.
    pub security: Security,
}

/// An MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mx {
    /// The lower, the sooner.
    pub preference: u16,
    /// Who takes the mail. Empty: nobody does (RFC 7505).
    pub exchange: String,
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
    /// There is an answer, but its signatures are wrong or missing, or could not be checked (RFC 4035, section 4.3, bogus
    /// and indeterminate). It may be forged, so nothing of it is told.
    #[error("the answer about {0} is not signed as it should be (DNSSEC)")]
    Bogus(String),
}
