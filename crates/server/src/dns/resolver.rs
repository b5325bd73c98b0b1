//! The real [`Lookup`]: a resolver over the network.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup as Reply;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{ConnectionProvider, Resolver as Hickory, ResolverBuilder, system_conf};

use super::ad::AskForAd;
use super::{Answer, Found, Lookup, LookupError, Mx, RECORDS_MAX, Security, Srv, Tlsa};
use crate::settings;

/// How long one packet may be waited for.
const PACKET: Duration = Duration::from_secs(3);
/// How long one question may take, whatever becomes of it on the way: keys are asked for, up to the root.
const QUESTION: Duration = Duration::from_secs(15);
/// Name servers asked at once; the system's list has no more (MAXNS in resolv.conf(5)).
const AT_ONCE: usize = 3;
/// Answers that are remembered.
const REMEMBERED: u64 = 8192;

/// Who finds out whether answers are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dnssec {
    /// This resolver checks the signatures.
    #[default]
    Validate,
    /// The name server does, and says so by the AD bit. Only good when the way to it is safe.
    TrustAd,
    /// Nobody: all answers are insecure.
    Off,
}

/// How to resolve.
#[derive(Debug, Clone, Default)]
pub struct ResolverOptions {
    /// Whom to ask; empty: whom the system's settings name (/etc/resolv.conf).
    pub servers: Vec<SocketAddr>,
    /// Who checks signatures.
    pub dnssec: Dnssec,
    /// A file with the keys (DNSKEY records) where trust begins, in place of the root's that are built in.
    pub trust_anchor: Option<PathBuf>,
    /// How often a question that got no answer is asked again.
    pub again: usize,
}

impl ResolverOptions {
    /// As the settings say.
    pub fn of(settings: &settings::Dns) -> ResolverOptions {
        ResolverOptions {
            servers: settings.servers.clone(),
            dnssec: match settings.dnssec {
                settings::DnssecMode::Validate => Dnssec::Validate,
                settings::DnssecMode::TrustAd => Dnssec::TrustAd,
                settings::DnssecMode::Off => Dnssec::Off,
            },
            trust_anchor: settings.trust_anchor.clone(),
            again: 1,
        }
    }
}

/// Asks name servers.
#[derive(Clone)]
pub struct Resolver(Kind);

#[derive(Clone)]
enum Kind {
    Plain { resolver: Hickory<TokioRuntimeProvider>, validates: bool },
    TrustsAd(Hickory<AskForAd>),
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver with its own memory of answers; clones share it.
    ///
    /// # Errors
    /// When the system's settings or the trust anchor cannot be read.
    pub fn new(options: &ResolverOptions) -> Result<Resolver, LookupError> {
        let config = match options.servers.as_slice() {
            [] => system_conf::read_system_conf().map_err(|error| unreachable(&error))?.0,
            servers => ResolverConfig::from_name_servers(servers.iter().copied().map(name_server).collect()),
        };
        let kind = match options.dnssec {
            Dnssec::TrustAd => {
                let builder = Hickory::builder_with_config(config, AskForAd::default());
                Kind::TrustsAd(build(builder, options)?)
            }
            Dnssec::Validate | Dnssec::Off => {
                let validates = options.dnssec == Dnssec::Validate;
                let mut builder = Hickory::builder_with_config(config, TokioRuntimeProvider::default());
                builder.options_mut().validate = validates;
                if let (true, Some(file)) = (validates, &options.trust_anchor) {
                    let anchors = TrustAnchors::from_file(file).map_err(|error| {
                        LookupError::Failed(format!("the trust anchor {}: {error}", file.display()))
                    })?;
                    builder = builder.with_trust_anchor(Arc::new(anchors));
                }
                Kind::Plain { resolver: build(builder, options)?, validates }
            }
        };
        Ok(Resolver(kind))
    }

    /// Asks the name servers of the system's settings (/etc/resolv.conf), and believes them.
    ///
    /// # Errors
    /// When there are none.
    pub fn system() -> Result<Resolver, LookupError> {
        Resolver::new(&ResolverOptions { dnssec: Dnssec::Off, ..ResolverOptions::default() })
    }

    /// Asks one name server, and believes it.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn at(server: SocketAddr) -> Result<Resolver, LookupError> {
        let servers = vec![server];
        Resolver::new(&ResolverOptions { servers, dnssec: Dnssec::Off, ..ResolverOptions::default() })
    }

    async fn ask(&self, name: &Name, kind: RecordType) -> Found<Vec<Record>> {
        let asking = async {
            match &self.0 {
                Kind::Plain { resolver, .. } => resolver.lookup(name.clone(), kind).await,
                Kind::TrustsAd(resolver) => resolver.lookup(name.clone(), kind).await,
            }
        };
        let Ok(reply) = tokio::time::timeout(QUESTION, asking).await else {
            return Err(LookupError::Unreachable(format!("nothing within {} s", QUESTION.as_secs())));
        };
        match reply {
            Ok(reply) => self.answer(name, kind, &reply),
            Err(NetError::Dns(error)) => self.nothing(name, kind, error),
            Err(error) => Err(unreachable(&error)),
        }
    }

    /// What was answered.
    fn answer(&self, name: &Name, kind: RecordType, reply: &Reply) -> Found<Vec<Record>> {
        let (records, alias) = relevant(name, kind, reply.message());
        let secure = match &self.0 {
            Kind::Plain { validates, .. } => *validates && all_secure(records.iter().copied())?,
            Kind::TrustsAd(_) => reply.message().metadata.authentic_data,
        };
        Ok(answer(kind, &records, alias, secure))
    }

    /// No records, or a refusal that comes in the same clothes (SERVFAIL, REFUSED), or signatures that are not in order.
    fn nothing(&self, name: &Name, kind: RecordType, error: DnsError) -> Found<Vec<Record>> {
        match error {
            DnsError::NoRecordsFound(none) => match none.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain => {
                    let validates = matches!(&self.0, Kind::Plain { validates: true, .. });
                    let proofs = none.authorities.as_deref().unwrap_or_default();
                    let secure = validates && !proofs.is_empty() && all_secure(proofs.iter().filter(counts))?;
                    Ok(answer(kind, &[], None, secure))
                }
                code => Err(LookupError::Failed(code.to_string())),
            },
            // A part of the tree that is signed, and says of what was asked that it is not.
            DnsError::Nsec { response, proof: Proof::Insecure, .. }
                if matches!(response.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
            {
                let (records, alias) = relevant(name, kind, &response);
                Ok(answer(kind, &records, alias, false))
            }
            DnsError::Nsec { .. } | DnsError::DnssecBogus => Err(LookupError::Bogus(shown(name))),
            error => Err(LookupError::Failed(error.to_string())),
        }
    }
}

/// The records that an answer consists of: the aliases from `name` on, and what stands at their end; and that end, where
/// there are aliases. What else a name server adds is not what was asked for.
fn relevant<'m>(name: &Name, kind: RecordType, message: &'m Message) -> (Vec<&'m Record>, Option<String>) {
    let mut owner = name.clone();
    let mut records: Vec<&Record> = Vec::new();
    // At most once through all aliases there are.
    for _ in 0..message.answers.len() {
        let alias = message.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if kind != RecordType::CNAME && record.name == owner => {
                Some((record, target))
            }
            _ => None,
        });
        let Some((record, target)) = alias else { break };
        records.push(record);
        owner = target.0.clone();
    }
    let alias = (!records.is_empty()).then(|| plain(&owner));
    let found = message.answers.iter().filter(|record| record.record_type() == kind && record.name == owner);
    records.extend(found.take(RECORDS_MAX));
    (records, alias)
}

fn answer(kind: RecordType, records: &[&Record], alias: Option<String>, secure: bool) -> Answer<Vec<Record>> {
    let data = records.iter().filter(|record| record.record_type() == kind).map(|record| (*record).clone());
    let security = if secure { Security::Secure } else { Security::Insecure };
    Answer { data: data.collect(), alias, security }
}

/// Whether all these are signed. What is neither that nor known to be unsigned must not be believed.
fn all_secure<'r>(records: impl Iterator<Item = &'r Record>) -> Result<bool, LookupError> {
    let mut secure = true;
    for record in records {
        match record.proof {
            Proof::Secure => {}
            Proof::Insecure => secure = false,
            Proof::Bogus | Proof::Indeterminate => return Err(LookupError::Bogus(shown(&record.name))),
        }
    }
    Ok(secure)
}

/// Whether a record of the authority section counts for the answer; signatures themselves are not signed.
fn counts(record: &&Record) -> bool {
    matches!(record.record_type(), RecordType::SOA | RecordType::NSEC | RecordType::NSEC3)
}

fn build<P: ConnectionProvider>(
    mut builder: ResolverBuilder<P>,
    options: &ResolverOptions,
) -> Result<Hickory<P>, LookupError> {
    let set = builder.options_mut();
    set.timeout = PACKET;
    set.attempts = options.again;
    set.num_concurrent_reqs = AT_ONCE;
    set.cache_size = REMEMBERED;
    // Large answers (keys, signatures) go by UDP as far as that is safe, and by TCP beyond.
    set.edns0 = true;
    // Aliases are to be seen, and /etc/hosts is not what others see; it often gives the host's own name to 127.0.1.1.
    set.preserve_intermediates = true;
    set.use_hosts_file = ResolveHosts::Never;
    builder.build().map_err(|error| unreachable(&error))
}

fn name_server(at: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = at.port();
        connection
    });
    NameServerConfig::new(at.ip(), true, connections.to_vec())
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

/// A name in a message for people.
fn shown(name: &Name) -> String {
    if name.is_root() { ".".to_owned() } else { plain(name) }
}

impl<T> Answer<T> {
    fn map<U>(self, map: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { data: map(self.data), alias: self.alias, security: self.security }
    }
}

impl Answer<Vec<Record>> {
    /// The records of which `pick` makes something.
    fn pick<T>(self, pick: impl Fn(RData) -> Option<T>) -> Answer<Vec<T>> {
        self.map(|records| records.into_iter().filter_map(|record| pick(record.data)).collect())
    }
}

impl Lookup for Resolver {
    async fn mx(&self, name: &str) -> Found<Vec<Mx>> {
        let answer = self.ask(&question(name)?, RecordType::MX).await?;
        Ok(answer.pick(|data| match data {
            RData::MX(mx) => Some(Mx { preference: mx.preference, exchange: plain(&mx.exchange) }),
            _ => None,
        }))
    }

    async fn addresses(&self, name: &str) -> Found<Vec<IpAddr>> {
        let name = question(name)?;
        let (v4, v6) = tokio::join!(self.ask(&name, RecordType::A), self.ask(&name, RecordType::AAAA));
        let v4 = v4?.pick(|data| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            _ => None,
        });
        let mut v6 = v6?.pick(|data| match data {
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        });
        let security = match (v4.security, v6.security) {
            (Security::Secure, Security::Secure) => Security::Secure,
            // That there is no address of the other kind is of no weight; in an empty answer even a signed denial may
            // come without one (opt-out).
            (Security::Secure, _) if v6.data.is_empty() => Security::Secure,
            (_, Security::Secure) if v4.data.is_empty() => Security::Secure,
            _ => Security::Insecure,
        };
        let mut addresses = v4.data;
        addresses.append(&mut v6.data);
        Ok(Answer { data: addresses, alias: v4.alias.or(v6.alias), security })
    }

    async fn ptr(&self, address: IpAddr) -> Found<Vec<String>> {
        let mut name = Name::from(address);
        name.set_fqdn(true);
        let answer = self.ask(&name, RecordType::PTR).await?;
        Ok(answer.pick(|data| match data {
            RData::PTR(name) => Some(plain(&name.0)),
            _ => None,
        }))
    }

    async fn txt(&self, name: &str) -> Found<Vec<Vec<u8>>> {
        let answer = self.ask(&question(name)?, RecordType::TXT).await?;
        Ok(answer.pick(|data| match data {
            RData::TXT(txt) => Some(txt.txt_data.concat()),
            _ => None,
        }))
    }

    async fn srv(&self, name: &str) -> Found<Vec<Srv>> {
        let answer = self.ask(&question(name)?, RecordType::SRV).await?;
        Ok(answer.pick(|data| match data {
            RData::SRV(srv) => Some(Srv { port: srv.port, target: plain(&srv.target) }),
            _ => None,
        }))
    }

    async fn tlsa(&self, name: &str) -> Found<Vec<Tlsa>> {
        let answer = self.ask(&question(name)?, RecordType::TLSA).await?;
        Ok(answer.pick(|data| match data {
            RData::TLSA(tlsa) => Some(Tlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data,
            }),
            _ => None,
        }))
    }

    async fn alias(&self, name: &str) -> Found<Option<String>> {
        let answer = self.ask(&question(name)?, RecordType::CNAME).await?;
        let answer = answer.pick(|data| match data {
            RData::CNAME(name) => Some(plain(&name.0)),
            _ => None,
        });
        Ok(answer.map(|mut names| names.pop()))
    }
}
