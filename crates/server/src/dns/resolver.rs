//! The real [`Lookup`]: a resolver over the network.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::time::Duration;

use hickory_resolver::caching_client::CachingClient;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup as Reply;
use hickory_resolver::net::dnssec::DnssecDnsHandle;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::RetryDnsHandle;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::op::{DnsRequestOptions, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::BinDecodable as _;
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig, system_conf};

use tokio::sync::OnceCell;

use super::handle::{AskForAd, WithWildcards, relevant};
use super::{Answer, Found, Lookup, LookupError, Mx, Security, Srv, Tlsa};
use crate::settings;

/// How long one packet may be waited for.
const PACKET: Duration = Duration::from_secs(3);
/// How long one question may take, whatever becomes of it on the way: keys are asked for, up to the root.
const QUESTION: Duration = Duration::from_secs(15);
/// Name servers asked at once; the system's list has no more (MAXNS in resolv.conf(5)).
const AT_ONCE: usize = 3;
/// Aliases that are followed, one by one.
const ALIASES_MAX: usize = 8;
/// Answers that are remembered.
const REMEMBERED: u64 = 8192;
/// Sets of records of which it is remembered whether they are signed.
const CHECKED: usize = 16_384;

/// Who finds out whether answers are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dnssec {
    /// [`Dnssec::TrustAd`] where all name servers are on this machine; elsewhere [`Dnssec::Validate`] if they pass
    /// signatures on, and [`Dnssec::Off`] if not.
    #[default]
    Auto,
    /// This resolver checks the signatures.
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
                settings::DnssecMode::Auto => Dnssec::Auto,
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
pub struct Resolver(Who);

type Handle = RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>;

/// Who is asked.
#[derive(Clone)]
enum Who {
    One(Box<Asker>),
    Decides(Arc<Decides>),
}

/// A way to ask.
#[derive(Clone)]
enum Asker {
    Validates(CachingClient<WithWildcards<DnssecDnsHandle<Handle>>>),
    TrustsAd(CachingClient<AskForAd<Handle>>),
    Believes(CachingClient<Handle>),
}

/// Finds out, at the first question, whether the name servers pass signatures on. Home routers and some offices' servers
/// do not: behind them nothing could ever be validated, and no mail would leave.
struct Decides {
    validates: Asker,
    believes: Asker,
    signed: OnceCell<bool>,
    warned: Once,
}

impl Decides {
    async fn choose(&self) -> Result<&Asker, LookupError> {
        let look = || async {
            match self.validates.ask_once(&Name::root(), RecordType::DNSKEY).await {
                Ok(keys) => Ok(keys.security == Security::Secure),
                Err(LookupError::Bogus(_) | LookupError::Failed(_)) => Ok(false),
                // Nobody answered, so nothing is known.
                Err(unreachable) => Err(unreachable),
            }
        };
        let signed = *self.signed.get_or_try_init(look).await?;
        if signed {
            return Ok(&self.validates);
        }
        self.warned.call_once(|| {
            tracing::warn!(
                "the name servers do not pass DNSSEC signatures on: answers are believed, and DANE is not possible; use a \
                 resolver that does (Unbound on this machine is best), or set dns.dnssec = \"off\""
            );
        });
        Ok(&self.believes)
    }
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
        let dnssec = match options.dnssec {
            Dnssec::Auto if !config.name_servers().iter().all(|it| it.ip.is_loopback()) => {
                let (validates, believes) = (
                    Asker::new(&config, Dnssec::Validate, options)?,
                    Asker::new(&config, Dnssec::Off, options)?,
                );
                let decides = Decides { validates, believes, signed: OnceCell::new(), warned: Once::new() };
                return Ok(Resolver(Who::Decides(Arc::new(decides))));
            }
            Dnssec::Auto => Dnssec::TrustAd,
            chosen => chosen,
        };
        Ok(Resolver(Who::One(Box::new(Asker::new(&config, dnssec, options)?))))
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
        match &self.0 {
            Who::One(asker) => asker.follow(name, kind).await,
            Who::Decides(decides) => decides.choose().await?.follow(name, kind).await,
        }
    }
}

impl Asker {
    fn new(config: &ResolverConfig, dnssec: Dnssec, options: &ResolverOptions) -> Result<Asker, LookupError> {
        let anchors = match &options.trust_anchor {
            Some(file) if dnssec == Dnssec::Validate => TrustAnchors::from_file(file).map_err(|error| {
                LookupError::Failed(format!("the trust anchor {}: {error}", file.display()))
            })?,
            _ => TrustAnchors::default(),
        };
        let mut set = ResolverOpts::default();
        set.timeout = PACKET;
        set.num_concurrent_reqs = AT_ONCE;
        // Large answers (keys, signatures) go by UDP as far as that is safe, and by TCP beyond.
        set.edns0 = true;
        let tls = TlsConfig::new().map_err(|error| unreachable(&error))?;
        let context = Arc::new(PoolContext::new(set, tls));
        let servers = config.name_servers().to_vec();
        let pool = NameServerPool::from_config(servers, context, TokioRuntimeProvider::default());
        let handle = RetryDnsHandle::new(pool, options.again);
        Ok(match dnssec {
            Dnssec::Validate => {
                let checking = DnssecDnsHandle::with_trust_anchor(handle, Arc::new(anchors));
                let checking = checking.validation_cache_size(CHECKED);
                Asker::Validates(CachingClient::new(REMEMBERED, WithWildcards(checking), true))
            }
            Dnssec::Auto | Dnssec::TrustAd => {
                Asker::TrustsAd(CachingClient::new(REMEMBERED, AskForAd(handle), true))
            }
            Dnssec::Off => Asker::Believes(CachingClient::new(REMEMBERED, handle, true)),
        })
    }

    /// Asks, and follows aliases.
    async fn follow(&self, name: &Name, kind: RecordType) -> Found<Vec<Record>> {
        let mut name = name.clone();
        let (mut alias, mut security) = (None, Security::Secure);
        let mut steps = 0;
        loop {
            let bogus = match self.ask_once(&name, kind).await {
                Ok(answer) => {
                    let security = if security == Security::Secure { answer.security } else { security };
                    return Ok(Answer { alias: answer.alias.or(alias), security, ..answer });
                }
                Err(bogus @ LookupError::Bogus(_)) if kind != RecordType::CNAME && steps < ALIASES_MAX => {
                    bogus
                }
                Err(error) => return Err(error),
            };
            // An alias in one zone and, in the same answer, the proof by another that there is no such record where it
            // leads: Hickory compares the proof with the name that was asked for. So each step is asked for by itself.
            let step = match self.ask_once(&name, RecordType::CNAME).await {
                Ok(step) => step.pick(|data| match data {
                    RData::CNAME(target) => Some(target.0),
                    _ => None,
                }),
                Err(LookupError::Bogus(_)) => self.moved(&name).await?.ok_or(bogus.clone())?,
                Err(error) => return Err(error),
            };
            let Some(target) = step.data.into_iter().next() else { return Err(bogus) };
            if step.security == Security::Insecure {
                security = Security::Insecure;
            }
            alias = Some(plain(&target));
            name = target;
            steps += 1;
        }
    }

    /// Where a name leads by a DNAME record above it (RFC 6672). The CNAME record that a server makes of that has no
    /// signature, and Hickory does not know where it comes from; the DNAME record itself is signed as any other.
    async fn moved(&self, name: &Name) -> Result<Option<Answer<Vec<Name>>>, LookupError> {
        let mut owner = name.base_name();
        while !owner.is_root() {
            // Below a record of this kind there is nothing else, so that what is asked there is bogus too.
            let found = match self.ask_once(&owner, RecordType::DNAME).await {
                Ok(found) => found,
                Err(LookupError::Bogus(_)) => {
                    owner = owner.base_name();
                    continue;
                }
                Err(error) => return Err(error),
            };
            let found = found.pick(|data| match data {
                RData::Unknown { rdata, .. } => Name::from_bytes(&rdata.anything).ok(),
                _ => None,
            });
            if let Some(target) = found.data.first() {
                let kept = usize::from(name.num_labels().saturating_sub(owner.num_labels()));
                let moved = Name::from_labels(name.iter().take(kept).chain(target.iter()));
                // Too long a name is an error (RFC 6672 section 2.2).
                return Ok(moved.ok().map(|moved| found.map(|_| vec![moved])));
            }
            owner = owner.base_name();
        }
        Ok(None)
    }

    async fn ask_once(&self, name: &Name, kind: RecordType) -> Found<Vec<Record>> {
        let question = Query::query(name.clone(), kind);
        let mut options = DnsRequestOptions::default();
        options.use_edns = true;
        options.recursion_desired = true;
        let asking = async {
            match self {
                Asker::Validates(client) => {
                    options.edns_set_dnssec_ok = true;
                    client.lookup(question, options).await
                }
                Asker::TrustsAd(client) => client.lookup(question, options).await,
                Asker::Believes(client) => client.lookup(question, options).await,
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
        let alias = alias.as_ref().map(plain);
        let secure = match self {
            Asker::Validates(_) => all_secure(records.iter().copied())?,
            Asker::TrustsAd(_) => reply.message().metadata.authentic_data,
            Asker::Believes(_) => false,
        };
        Ok(answer(kind, &records, alias, secure))
    }

    /// No records, or a refusal that comes in the same clothes (SERVFAIL, REFUSED), or signatures that are not in order.
    fn nothing(&self, name: &Name, kind: RecordType, error: DnsError) -> Found<Vec<Record>> {
        match error {
            DnsError::NoRecordsFound(none) => match none.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain => {
                    let validates = matches!(self, Asker::Validates(_));
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
                Ok(answer(kind, &records, alias.as_ref().map(plain), false))
            }
            DnsError::Nsec { .. } | DnsError::DnssecBogus => Err(LookupError::Bogus(shown(name))),
            error => Err(LookupError::Failed(error.to_string())),
        }
    }
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
