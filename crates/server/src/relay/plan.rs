//! The settings as the relay uses them: made at start and at each reload, then only read.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use packetboat_mail::outbound::NextHop;
use packetboat_mail::queue::Verified;
use packetboat_smtp::client::{Protocol, Timeouts};
use packetboat_store::Store;
use packetboat_wire::Secret;
use packetboat_wire::sasl::Credentials;

use super::choice::Prefer;
use super::demand::{Required, SameForAll, TlsDemand, TlsRules};
use super::dial::{self, DialSettings, Dialer, Host, Itinerary, NoWay};
use super::hosts::{HostLimit, OwnAddresses, Unreachable};
use super::tls::TlsMaker;
use crate::dns::{Resolver, ResolverOptions};
use crate::secure::{self, AuthoritiesError, Guard};
use crate::settings::{Family, ListenAddress, OutgoingTls, Settings, Smarthost, SmarthostTls};

/// Octets of a password file that are read.
const PASSWORD_MAX: u64 = 4096;

/// All that the settings say.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) dialer: Dialer<Resolver>,
    /// Who knows what domains want of TLS.
    pub(super) guard: Option<Arc<Guard<Resolver>>>,
    pub(super) hello: String,
    pub(super) timeouts: Timeouts,
    pub(super) chunking: bool,
    pub(super) idle: Duration,
    pub(super) messages: u32,
    /// Names under which this server takes mail.
    own: Vec<String>,
    smarthosts: HashMap<String, Result<Way, String>>,
}

/// How a smarthost is used.
#[derive(Debug, Clone)]
struct Way {
    host: Host,
    login: Option<Login>,
}

/// Who we are to a smarthost.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) credentials: Credentials,
    pub(super) in_clear: bool,
}

/// The hosts of a next hop and how they are spoken to.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) itinerary: Itinerary,
    pub(super) protocol: Protocol,
    pub(super) login: Option<Login>,
}

impl Plan {
    /// # Errors
    /// When a file of authorities is of no use.
    pub(super) fn new(settings: &Settings, tls: &TlsMaker, store: &Store) -> Result<Plan, AuthoritiesError> {
        let relay = &settings.relay;
        let lookup = Resolver::new(&ResolverOptions::of(&settings.dns))
            .inspect_err(
                |error| tracing::warn!(%error, "no DNS: mail goes only where the settings name the host"),
            )
            .ok();
        let default = match relay.tls {
            OutgoingTls::Opportunistic => SameForAll(TlsDemand::Opportunistic),
            OutgoingTls::Required => SameForAll::required(),
            OutgoingTls::Never => SameForAll(TlsDemand::Never),
        };
        let guard = match (relay.tls, &lookup) {
            (OutgoingTls::Opportunistic, Some(lookup)) => {
                let options = secure::Options::of(settings);
                Some(Arc::new(Guard::new(lookup.clone(), store.clone(), &options)?))
            }
            _ => None,
        };
        let rules = match &guard {
            Some(guard) => Arc::clone(guard) as Arc<dyn TlsRules>,
            None => Arc::new(default.clone()),
        };
        let hostname = ascii(&settings.general.hostname);
        let hello = relay.hello.as_ref().map_or_else(|| hostname.clone(), |name| name.to_ascii());
        let smarthosts = settings.smarthosts.iter().map(|smarthost| {
            let way = way(smarthost, tls);
            if let Err(problem) = &way {
                tracing::error!(smarthost = smarthost.name, problem, "this smarthost cannot be used");
            }
            (smarthost.name.clone(), way)
        });
        Ok(Plan {
            smarthosts: smarthosts.collect(),
            dialer: Dialer {
                settings: DialSettings {
                    port: relay.port,
                    source_ipv4: relay.source_ipv4,
                    source_ipv6: relay.source_ipv6,
                    prefer: match relay.prefer {
                        Family::Ipv6 => Prefer::Ipv6,
                        Family::Ipv4 => Prefer::Ipv4,
                    },
                    connect_timeout: relay.connect_timeout,
                },
                lookup,
                rules,
                default,
                unreachable: Unreachable::new(relay.unreachable),
                limit: HostLimit::new(usize::try_from(relay.connections_per_host).unwrap_or(usize::MAX)),
                own: OwnAddresses::new(settings.listen.smtp.iter().filter_map(listening)),
            },
            guard,
            own: vec![hostname, hello.clone()],
            hello,
            timeouts: Timeouts {
                greeting: relay.greeting_timeout,
                command: relay.command_timeout,
                data: relay.data_timeout,
                end: relay.end_timeout,
                idle: relay.idle,
                ..Timeouts::default()
            },
            chunking: relay.chunking,
            idle: relay.idle,
            messages: relay.messages,
        })
    }

    /// The hosts of a next hop.
    pub(super) async fn course(&self, hop: &NextHop) -> Result<Course, NoWay> {
        let smtp = |itinerary| Course { itinerary, protocol: Protocol::Smtp, login: None };
        let one = |host| Itinerary::new(None, vec![host]);
        let unfit = || NoWay::ForNow(format!("{hop} is no place that mail can be sent to"));
        match hop {
            NextHop::Mx(domain) => {
                let is_ours = |name: &str| self.own.iter().any(|own| own == name);
                self.dialer.exchangers(domain, is_ours).await.map(smtp)
            }
            NextHop::Host(_) => dial::fixed(hop).map(|host| smtp(one(host))).ok_or_else(unfit),
            NextHop::Lmtp(_) => {
                let lmtp = |host| Course { protocol: Protocol::Lmtp, ..smtp(one(host)) };
                dial::fixed(hop).map(lmtp).ok_or_else(unfit)
            }
            NextHop::Smarthost(name) => match self.smarthosts.get(name) {
                Some(Ok(way)) => Ok(Course { login: way.login.clone(), ..smtp(one(way.host.clone())) }),
                Some(Err(problem)) => Err(NoWay::ForNow(problem.clone())),
                None => Err(NoWay::ForNow(format!("the settings have no smarthost {name} any more"))),
            },
            NextHop::Peer(_) => Err(unfit()),
        }
    }
}

fn listening(place: &ListenAddress) -> Option<SocketAddr> {
    match place {
        ListenAddress::Port(port) => Some((Ipv6Addr::UNSPECIFIED, *port).into()),
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    }
}

fn way(smarthost: &Smarthost, tls: &TlsMaker) -> Result<Way, String> {
    let verifier = match (smarthost.tls, &smarthost.ca) {
        (SmarthostTls::None, _) => None,
        (_, None) => Some(tls.system_verifier()?),
        (_, Some(file)) => Some(tls.file_verifier(file).map_err(|error| error.to_string())?),
    };
    let demand = match verifier {
        None => TlsDemand::Never,
        Some(verifier) => TlsDemand::Required(Required {
            verifier: Some(verifier),
            by: Verified::Pkix,
            server_name: None,
            why: format!("the settings of the smarthost {}", smarthost.name),
        }),
    };
    let login = match (&smarthost.user, &smarthost.password_file) {
        (Some(user), Some(file)) => Some(Login {
            credentials: Credentials {
                username: user.clone(),
                password: password(file).map_err(|error| format!("{}: {error}", file.display()))?,
                authzid: None,
            },
            in_clear: smarthost.plaintext_login,
        }),
        _ => None,
    };
    let mut host = Host::named(&ascii(&smarthost.host), smarthost.port);
    host.demand = Some(demand);
    host.implicit_tls = smarthost.tls == SmarthostTls::Implicit;
    Ok(Way { host, login })
}

/// The first line of a file.
fn password(file: &Path) -> std::io::Result<Secret<String>> {
    let mut text = String::new();
    fs::File::open(file)?.take(PASSWORD_MAX).read_to_string(&mut text)?;
    Ok(Secret::from(text.lines().next().unwrap_or_default()))
}

fn ascii(name: &str) -> String {
    packetboat_message::Domain::parse(name).map_or_else(|_| name.to_ascii_lowercase(), |name| name.to_ascii())
}
