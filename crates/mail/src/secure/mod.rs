//! How sure it must be, on the way to another server, that the mail reaches the one it is meant for.
//!
//! Two standards let a domain say that its servers speak TLS and how to know them: DANE (RFC 7672), by signed TLSA records,
//! and MTA-STS (RFC 8461), by a policy fetched over HTTPS. A sender may ask for it (REQUIRETLS) or ask that it does not
//! matter (`TLS-Required: No`, RFC 8689). [`demand`] makes of all that what a connection to one host has to fulfil; it is
//! pure, and whoever asks the DNS hands it what was found.

mod demand;
pub mod sts;
#[cfg(test)]
mod tests;
mod tlsa;

use std::fmt;

pub use demand::demand;
pub use tlsa::{Association, Matching, Selector, Tlsa, Usage, usable};

use sts::Policy;

/// Whether an answer of the DNS can be believed (RFC 4035, section 4.3). What is bogus or indeterminate is no answer but
/// a failure (RFC 7672, section 2.1.1), and so is not among these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// Signed, up to an anchor that is trusted; every alias on the way too.
    Secure,
    /// Nobody promises a signature there.
    #[default]
    Insecure,
}

/// What the sender of a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Wish {
    /// Nothing: what the receiving domain says holds.
    #[default]
    Usual,
    /// The message goes to verified servers that promise the same, or not at all (REQUIRETLS, RFC 8689, section 2).
    Require,
    /// The message is to arrive, whatever becomes of TLS (`TLS-Required: No`, RFC 8689, section 3).
    Forgo,
}

/// What is known of a domain to which mail goes. Names here and below are in A-labels and lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainFacts {
    /// The domain, or the host that settings name instead.
    pub name: String,
    /// What `name` is an alias of, if it is one.
    pub alias: Option<String>,
    /// How its hosts were found.
    pub found: Found,
    /// Its MTA-STS policy, if it has one that has not run out.
    pub policy: Option<std::sync::Arc<Policy>>,
}

/// How the hosts of a domain were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// By MX records.
    Mx(Security),
    /// There are no MX records, or settings name the host: it is the name itself.
    Itself,
}

/// What is known of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Its name, as the MX record has it.
    pub name: String,
    /// Its TLSA records.
    pub tlsa: TlsaFacts,
}

/// The TLSA records of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TlsaFacts {
    /// No secure ones: DANE does not apply.
    #[default]
    None,
    /// Secure ones.
    Found {
        /// The name under which they stand (RFC 7672, section 2.2.3).
        base: String,
        /// All of them, usable or not.
        records: Vec<Tlsa>,
    },
    /// It could not be found out whether there are any, and why.
    Failed(String),
}

/// What a connection to a host has to fulfil before a message goes over it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Demand {
    /// TLS if the host offers it, with whatever certificate; in the clear otherwise, also when the handshake fails.
    Opportunistic,
    /// TLS with this proof, or the next host.
    Required {
        /// What the certificate has to prove.
        verify: Verify,
        /// Who wants it.
        why: String,
    },
    /// This host is not to be used. When no other can be, the message waits or fails, as the reason says.
    Skip(Reason),
}

/// What a certificate has to prove.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Nothing; it is enough that there is TLS.
    Any {
        /// The name to ask for.
        host: String,
    },
    /// It leads to a trusted authority and has one of these names; the first is asked for.
    Pkix {
        /// The names.
        names: Vec<String>,
    },
    /// It is as the TLSA records say.
    Dane(Dane),
    /// It leads to a trusted authority and has the host's name, as an MTA-STS policy wants it.
    Sts {
        /// The host.
        host: String,
        /// What it has to fulfil besides.
        dane: Option<Dane>,
    },
}

/// What DANE wants of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dane {
    /// The names of which the certificate must have one where an authority is named (DANE-TA). The first, under which the
    /// records stand, is the one to ask for (SNI).
    pub names: Vec<String>,
    /// At least one; one of them must match.
    pub associations: Vec<Association>,
}

/// Why a host or a domain is not to be used, as the trace and a notice tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The enhanced status (RFC 3463). Class 5: waiting will not help this message.
    pub status: (u8, u16, u16),
    /// In words.
    pub text: String,
}

impl Verify {
    /// The name that the client asks for (SNI).
    pub fn server_name(&self) -> &str {
        match self {
            Verify::Any { host } => host,
            Verify::Pkix { names } => names.first().map_or("", String::as_str),
            Verify::Dane(dane) => dane.server_name(),
            Verify::Sts { host, .. } => host,
        }
    }
}

impl Dane {
    /// The name that the client asks for: the one under which the records stand (RFC 7672, section 8.1).
    pub fn server_name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

impl Reason {
    /// A reason.
    pub fn new(status: (u8, u16, u16), text: impl Into<String>) -> Reason {
        Reason { status, text: text.into() }
    }

    /// A DNS that gives no answer that can be believed: 4.4.3 (directory server failure), so the message waits.
    pub fn lookup(text: impl Into<String>) -> Reason {
        Reason::new((4, 4, 3), text)
    }

    /// The host has no TLS although it is required: 4.7.4, or 5.7.10 for a message that may not wait for it (RFC 8689,
    /// section 4.2.1).
    pub fn no_tls(host: &str, why: &str, wish: Wish) -> Reason {
        let status = if wish == Wish::Require { (5, 7, 10) } else { (4, 7, 4) };
        Reason::new(status, format!("{host} does not offer TLS, which is required ({why})"))
    }

    /// TLS with the host failed although it is required.
    pub fn tls_failed(host: &str, why: &str, failure: &str, wish: Wish) -> Reason {
        let status = if wish == Wish::Require { (5, 7, 10) } else { (4, 7, 5) };
        Reason::new(status, format!("TLS with {host}, which is required ({why}), failed: {failure}"))
    }

    /// The host does not promise to go on as REQUIRETLS asks (RFC 8689, section 4.2.1).
    pub fn no_require_tls(host: &str) -> Reason {
        let text =
            format!("the sender requires TLS all the way, and {host} does not promise it (REQUIRETLS)");
        Reason::new((5, 7, 30), text)
    }

    /// Whether the message fails, if no other host takes it.
    pub fn is_permanent(&self) -> bool {
        self.status.0 == 5
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl DomainFacts {
    /// The facts of a host that settings name. MTA-STS is about domains, so there is none.
    pub fn host(name: &str) -> DomainFacts {
        DomainFacts { name: name.to_owned(), alias: None, found: Found::Itself, policy: None }
    }
}
