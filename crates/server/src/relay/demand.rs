//! What TLS has to be on the way to a host: the seam between the relay, which does as it is told, and whoever knows
//! what a domain wants (DANE, MTA-STS) or its sender (REQUIRETLS).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use packetboat_mail::queue::Verified;
use packetboat_mail::secure::{Demand, Reason, Verify, Wish};
use rustls::client::danger::ServerCertVerifier;

use crate::dns::Resolver;
use crate::secure::Guard;

/// What TLS has to be on a connection to a host.
#[derive(Clone)]
pub enum TlsDemand {
    /// In the clear, whatever the host offers.
    Never,
    /// TLS with any certificate where the host offers it, and in the clear where it does not or the handshake fails
    /// (RFC 7435).
    Opportunistic,
    /// TLS, or no mail.
    Required(Required),
}

/// TLS that must be.
#[derive(Clone)]
pub struct Required {
    /// Who judges the certificate; none: any will do.
    pub verifier: Option<Arc<dyn ServerCertVerifier>>,
    /// By what rule the host is then known.
    pub by: Verified,
    /// The name to ask for (SNI), where it is not the host's.
    pub server_name: Option<String>,
    /// Who wants it, as the trace and notices tell it.
    pub why: String,
}

impl TlsDemand {
    /// Whether a message must rather wait than go without TLS.
    pub fn is_required(&self) -> bool {
        matches!(self, TlsDemand::Required(_))
    }
}

impl fmt::Debug for TlsDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsDemand::Never => f.write_str("Never"),
            TlsDemand::Opportunistic => f.write_str("Opportunistic"),
            TlsDemand::Required(required) => required.fmt(f),
        }
    }
}

impl fmt::Debug for Required {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Required { by, server_name, why, .. } = self;
        f.debug_struct("Required")
            .field("by", by)
            .field("server_name", server_name)
            .field("why", why)
            .finish_non_exhaustive()
    }
}

/// The answer of [`TlsRules::demand`], in time. An error says why the host is not to be used; another one may do.
pub type Demanded<'a> = Pin<Box<dyn Future<Output = Result<TlsDemand, Reason>> + Send + 'a>>;

/// Knows what TLS has to be on the way to the mail hosts of a domain.
///
/// Asked once for each host before it is dialled. The relay keeps no answer beyond the connection: whoever answers keeps
/// what is worth keeping.
pub trait TlsRules: fmt::Debug + Send + Sync {
    /// The demand for `host` (in A-labels) as a mail host of `domain`, for messages of this wish. A host that the settings
    /// name is its own domain.
    fn demand<'a>(&'a self, domain: &'a str, host: &'a str, port: u16, wish: Wish) -> Demanded<'a>;
}

impl TlsRules for Guard<Resolver> {
    fn demand<'a>(&'a self, domain: &'a str, host: &'a str, port: u16, wish: Wish) -> Demanded<'a> {
        Box::pin(async move {
            match Guard::demand(self, domain, host, port, wish).await? {
                Demand::Opportunistic => Ok(TlsDemand::Opportunistic),
                Demand::Skip(reason) => Err(reason),
                Demand::Required { verify, why } => {
                    let by = match &verify {
                        Verify::Any { .. } => Verified::No,
                        Verify::Pkix { .. } => Verified::Pkix,
                        Verify::Dane(_) => Verified::Dane,
                        Verify::Sts { .. } => Verified::Sts,
                    };
                    let server_name = Some(verify.server_name().to_owned());
                    let verifier = (by != Verified::No).then(|| self.authorities().judge(verify));
                    Ok(TlsDemand::Required(Required { verifier, by, server_name, why }))
                }
            }
        })
    }
}

/// The rules where there are none: one demand for everybody.
#[derive(Debug, Clone)]
pub struct SameForAll(pub TlsDemand);

impl SameForAll {
    /// TLS with any certificate, or no mail.
    pub fn required() -> SameForAll {
        SameForAll(TlsDemand::Required(Required {
            verifier: None,
            by: Verified::No,
            server_name: None,
            why: "relay.tls = \"required\"".to_owned(),
        }))
    }
}

impl TlsRules for SameForAll {
    fn demand<'a>(&'a self, _domain: &'a str, host: &'a str, _port: u16, wish: Wish) -> Demanded<'a> {
        let demand = match wish {
            Wish::Require => Err(Reason::new(
                (5, 7, 10),
                format!(
                    "the sender requires TLS with a verified server (REQUIRETLS), and nothing vouches for {host}"
                ),
            )),
            Wish::Usual | Wish::Forgo => Ok(self.0.clone()),
        };
        Box::pin(std::future::ready(demand))
    }
}
