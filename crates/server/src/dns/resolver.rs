//! The real [`Lookup`]: a resolver over the network.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::{Addresses, Lookup, LookupError, Mx, Srv};

/// How long one question may take, whatever becomes of it on the way.
const QUESTION: Duration = Duration::from_secs(3);
/// Name servers asked at once; the system's list has no more (MAXNS in resolv.conf(5)).
const AT_ONCE: usize = 3;

/// Asks name servers.
#[derive(Clone)]
pub struct Resolver(TokioResolver);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// Asks the name servers of the system's settings (/etc/resolv.conf).
    pub fn system() -> Result<Resolver, LookupError> {
        build(TokioResolver::builder_tokio().map_err(|error| unreachable(&error))?)
    }

    /// Asks one name server.
    pub fn at(server: SocketAddr) -> Result<Resolver, LookupError> {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
        let config = ResolverConfig::from_name_servers(vec![server]);
        build(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
    }

    async fn ask(&self, name: Name, kind: RecordType) -> Result<Vec<RData>, LookupError> {
        let Ok(answer) = tokio::time::timeout(QUESTION, self.0.lookup(name.clone(), kind)).await else {
            return Err(LookupError::Unreachable(format!("nothing within {} s", QUESTION.as_secs())));
        };
        match answer {
            Ok(answer) => Ok(answer.answers().iter().map(|record| record.data.clone()).collect()),
            Err(error) if error.is_no_records_found() => no_records(error),
            Err(NetError::Dns(error)) => Err(LookupError::Failed(error.to_string())),
            Err(error) => Err(unreachable(&error)),
        }
    }
}

/// No record, or a refusal that comes in the same clothes (SERVFAIL, REFUSED).
fn no_records(error: NetError) -> Result<Vec<RData>, LookupError> {
    use hickory_resolver::proto::op::ResponseCode;
    match &error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if !matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
        {
            Err(LookupError::Failed(none.response_code.to_string()))
        }
        _ => Ok(Vec::new()),
    }
}

fn build(
    mut builder: hickory_resolver::ResolverBuilder<TokioRuntimeProvider>,
) -> Result<Resolver, LookupError> {
    let options = builder.options_mut();
    options.timeout = QUESTION;
    options.attempts = 0;
    options.num_concurrent_reqs = AT_ONCE;
    // Aliases are to be seen, and /etc/hosts is not what others see; it often gives the host's own name to 127.0.1.1.
    options.preserve_intermediates = true;
    options.use_hosts_file = ResolveHosts::Never;
    Ok(Resolver(builder.build().map_err(|error| unreachable(&error))?))
}

fn unreachable(error: &NetError) -> LookupError {
    LookupError::Unreachable(error.to_string())
}

fn question(name: &str) -> Result<Name, LookupError> {
    let mut name = Name::from_ascii(name).map_err(|error| LookupError::Failed(error.to_string()))?;
    // Without this, the system's search list would be tried too.
    name.set_fqdn(true);
    Ok(name)
}

fn plain(name: &Name) -> String {
    let name = name.to_lowercase().to_ascii();
    name.strip_suffix('.').map(str::to_owned).unwrap_or(name)
}

impl Lookup for Resolver {
    async fn mx(&self, name: &str) -> Result<Vec<Mx>, LookupError> {
        let answer = self.ask(question(name)?, RecordType::MX).await?;
        let mx = |data| match data {
            RData::MX(mx) => Some(Mx { preference: mx.preference, exchange: plain(&mx.exchange) }),
            _ => None,
        };
        Ok(answer.into_iter().filter_map(mx).collect())
    }

    async fn addresses(&self, name: &str) -> Result<Addresses, LookupError> {
        let mut found = Addresses::default();
        let name = question(name)?;
        for kind in [RecordType::A, RecordType::AAAA] {
            for data in self.ask(name.clone(), kind).await? {
                match data {
                    RData::A(address) => found.addresses.push(IpAddr::V4(address.0)),
                    RData::AAAA(address) => found.addresses.push(IpAddr::V6(address.0)),
                    RData::CNAME(_) => found.alias = true,
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    async fn ptr(&self, address: IpAddr) -> Result<Vec<String>, LookupError> {
        let mut name = Name::from(address);
        name.set_fqdn(true);
        let answer = self.ask(name, RecordType::PTR).await?;
        let ptr = |data| match data {
            RData::PTR(name) => Some(plain(&name.0)),
            _ => None,
        };
        Ok(answer.into_iter().filter_map(ptr).collect())
    }

    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, LookupError> {
        let answer = self.ask(question(name)?, RecordType::TXT).await?;
        let txt = |data| match data {
            RData::TXT(txt) => Some(txt.txt_data.concat()),
            _ => None,
        };
        Ok(answer.into_iter().filter_map(txt).collect())
    }

    async fn srv(&self, name: &str) -> Result<Vec<Srv>, LookupError> {
        let answer = self.ask(question(name)?, RecordType::SRV).await?;
        let srv = |data| match data {
            RData::SRV(srv) => Some(Srv { port: srv.port, target: plain(&srv.target) }),
            _ => None,
        };
        Ok(answer.into_iter().filter_map(srv).collect())
    }
}
