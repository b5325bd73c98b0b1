//! From a next hop to a connection: its hosts, their addresses, and the first that answers.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use packetboat_mail::outbound::NextHop;
use packetboat_mail::secure::Wish;
use packetboat_message::Domain;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::choice::{self, NoHost, Prefer};
use super::demand::{SameForAll, TlsDemand, TlsRules};
use super::hosts::{HostLimit, HostPermit, OwnAddresses, Unreachable};
use crate::conn::Conn;
use crate::dns::Lookup;

/// How long an address has before the next one of the same host is tried beside it (RFC 8305 section 5). Longer than for
/// people: nobody sits and waits, and each connection that is not used costs the other side something.
const STAGGER: Duration = Duration::from_secs(1);
/// Connections that are tried for one message at most.
const TRIES_MAX: usize = 12;

/// Said where no question can be asked.
const NO_DNS: &str = "this system names no DNS server";

/// What is common to all connections to other servers.
#[derive(Debug, Clone)]
pub(super) struct DialSettings {
    pub(super) port: u16,
    pub(super) source_ipv4: Option<Ipv4Addr>,
    pub(super) source_ipv6: Option<Ipv6Addr>,
    pub(super) prefer: Prefer,
    pub(super) connect_timeout: Duration,
}

/// A host that takes mail for a next hop.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// Its name in A-labels, its address, or the path of a local socket.
    pub(super) name: String,
    place: Place,
    /// What TLS has to be, where the settings say so; where not, the rules are asked.
    pub(super) demand: Option<TlsDemand>,
    /// Whether TLS comes before the first word.
    pub(super) implicit_tls: bool,
}

#[derive(Debug, Clone)]
enum Place {
    /// Addresses that the DNS has under the name.
    Dns {
        port: u16,
    },
    /// Addresses that this system knows under the name: the DNS, and what is in /etc/hosts.
    System {
        port: u16,
    },
    Address(SocketAddr),
    /// A local socket, whose path is the name.
    Local,
}

impl Host {
    /// A host that the settings name: `mail.example.org`, `192.0.2.1`, `2001:db8::1`.
    pub(super) fn named(name: &str, port: u16) -> Host {
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let place = match bare.parse::<IpAddr>() {
            Ok(address) => Place::Address(SocketAddr::new(address, port)),
            Err(_) => Place::System { port },
        };
        Host { name: bare.to_owned(), place, demand: None, implicit_tls: false }
    }

    /// A host at a local socket.
    pub(super) fn local(path: &str) -> Host {
        Host {
            name: path.to_owned(),
            place: Place::Local,
            demand: Some(TlsDemand::Never),
            implicit_tls: false,
        }
    }

    /// `name:port`, as a next hop is written.
    pub(super) fn with_port(text: &str) -> Option<Host> {
        let (name, port) = text.rsplit_once(':')?;
        Some(Host::named(name, port.parse().ok().filter(|port| *port > 0)?))
    }

    /// Whether the DNS could say something about it.
    fn has_domain_name(&self) -> bool {
        !matches!(self.place, Place::Address(_)) && self.name.contains('.')
    }

    fn of_mx(name: String, port: u16) -> Host {
        Host { name, place: Place::Dns { port }, demand: None, implicit_tls: false }
    }
}

/// Why a next hop has no host to be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoWay {
    /// Later may be better.
    ForNow(String),
    /// There is none, and waiting makes none.
    Ever(NoHost),
}

/// A connection that stands.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) conn: Conn,
    pub(super) host: Host,
    pub(super) address: Option<SocketAddr>,
    pub(super) demand: TlsDemand,
    pub(super) permit: HostPermit,
}

/// A connection that did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotDialled {
    pub(super) host: String,
    pub(super) address: Option<IpAddr>,
    pub(super) why: String,
    /// What the domain's or the sender's wishes say of it.
    pub(super) status: Option<(u8, u16, u16)>,
    /// It is only that there is no address under the name.
    no_address: bool,
    /// It is this server.
    ourselves: bool,
}

/// The hosts of one next hop that are still to be tried.
#[derive(Debug)]
pub(super) struct Itinerary {
    /// The domain they are mail hosts of, for the rules of TLS.
    domain: Option<String>,
    hosts: VecDeque<Host>,
    /// The host in turn, with the addresses that are left.
    current: Option<(Host, TlsDemand, Vec<SocketAddr>)>,
    tries: usize,
    /// All failures so far were hosts without addresses.
    no_address: bool,
    /// It ended at this server.
    leads_here: bool,
}

impl Itinerary {
    pub(super) fn new(domain: Option<String>, hosts: Vec<Host>) -> Itinerary {
        Itinerary {
            domain,
            hosts: hosts.into(),
            current: None,
            tries: 0,
            no_address: true,
            leads_here: false,
        }
    }

    /// Whether this server was found to be the best host, or every better one has no address.
    pub(super) fn leads_here(&self) -> bool {
        self.leads_here && self.no_address
    }

    /// Whether there is another host to be tried.
    pub(super) fn has_another_host(&self) -> bool {
        !self.hosts.is_empty() && self.tries < TRIES_MAX
    }

    /// No more of the host in turn.
    pub(super) fn leave_host(&mut self) {
        self.current = None;
    }

    /// Whether nothing but missing addresses stood in the way.
    pub(super) fn has_no_address(&self) -> bool {
        self.no_address
    }
}

/// Opens connections.
#[derive(Debug)]
pub(super) struct Dialer<L> {
    pub(super) settings: DialSettings,
    /// The DNS; none where this system names no server for it.
    pub(super) lookup: Option<L>,
    pub(super) rules: Arc<dyn TlsRules>,
    /// The rules for hosts that nobody can publish anything about.
    pub(super) default: SameForAll,
    pub(super) unreachable: Unreachable,
    pub(super) limit: HostLimit,
    pub(super) own: OwnAddresses,
}

fn random() -> u64 {
    u64::from_ne_bytes(crate::session::random())
}

impl<L: Lookup + Sync> Dialer<L> {
    /// The hosts for the mail of a domain.
    pub(super) async fn exchangers(
        &self,
        domain: &Domain,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<Itinerary, NoWay> {
        if let Domain::Literal(address) = domain {
            let host = Host::named(&address.to_string(), self.settings.port);
            return Ok(Itinerary::new(None, vec![host]));
        }
        let name = domain.to_ascii();
        let for_now = |why: String| NoWay::ForNow(format!("looking up the mail hosts of {name}: {why}"));
        let lookup = self.lookup.as_ref().ok_or_else(|| for_now(NO_DNS.to_owned()))?;
        let records = lookup.mx(&name).await.map_err(|error| for_now(error.to_string()))?.data;
        let hosts = choice::mail_hosts(&name, records, is_ours, &mut random).map_err(NoWay::Ever)?;
        let hosts = hosts.into_iter().map(|host| Host::of_mx(host.name, self.settings.port)).collect();
        Ok(Itinerary::new(Some(name), hosts))
    }

    /// The next connection on the itinerary, or nothing when it is at its end. Each failure on the way is told to
    /// `failed`.
    pub(super) async fn next(
        &self,
        itinerary: &mut Itinerary,
        wish: Wish,
        failed: &mut (dyn FnMut(NotDialled) + Send),
    ) -> Option<Dialled> {
        loop {
            if itinerary.tries >= TRIES_MAX {
                return None;
            }
            let Some((host, demand, addresses)) =
                itinerary.current.take().filter(|(_, _, left)| !left.is_empty())
            else {
                let host = itinerary.hosts.pop_front()?;
                match self.prepare(itinerary.domain.as_deref(), &host, wish).await {
                    Ok((demand, _)) if matches!(host.place, Place::Local) => {
                        itinerary.no_address = false;
                        itinerary.tries += 1;
                        match self.connect_local(&host, demand).await {
                            Ok(dialled) => return Some(dialled),
                            Err(why) => failed(why),
                        }
                    }
                    Ok((demand, addresses)) => itinerary.current = Some((host, demand, addresses)),
                    Err(why) => {
                        itinerary.no_address &= why.no_address || why.ourselves;
                        if why.ourselves {
                            // What is not better than we are would only hand the message back (RFC 5321 section 5.1).
                            itinerary.leads_here = true;
                            itinerary.hosts.clear();
                        }
                        failed(why);
                    }
                }
                continue;
            };
            itinerary.no_address = false;
            let (connected, left) = self.connect_first(&host, addresses, &mut itinerary.tries, failed).await;
            itinerary.current = Some((host.clone(), demand.clone(), left));
            if let Some((conn, address, permit)) = connected {
                return Some(Dialled { conn, host, address: Some(address), demand, permit });
            }
        }
    }

    /// Another connection to where one has just been.
    pub(super) async fn again(&self, host: &Host, address: Option<SocketAddr>) -> io::Result<Conn> {
        let limit = self.settings.connect_timeout;
        let late = |_| Err(io::ErrorKind::TimedOut.into());
        match address {
            Some(address) => {
                let connecting = timeout(limit, connect(address, &self.settings)).await;
                connecting.unwrap_or_else(late).map(Conn::tcp)
            }
            None => {
                let connecting = timeout(limit, UnixStream::connect(&host.name)).await;
                connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(Conn::unix)
            }
        }
    }

    /// What TLS to a host has to be, and its addresses.
    async fn prepare(
        &self,
        domain: Option<&str>,
        host: &Host,
        wish: Wish,
    ) -> Result<(TlsDemand, Vec<SocketAddr>), NotDialled> {
        let not = |why: String, no_address| NotDialled {
            host: host.name.clone(),
            address: None,
            why,
            status: None,
            no_address,
            ourselves: false,
        };
        let (addresses, port) = match &host.place {
            Place::Local => (Vec::new(), 0),
            Place::Address(address) => (vec![address.ip()], address.port()),
            Place::Dns { port } => {
                let lookup = self.lookup.as_ref().ok_or_else(|| not(NO_DNS.to_owned(), false))?;
                let found = lookup.addresses(&host.name).await;
                (found.map_err(|error| not(format!("looking up its address: {error}"), false))?.data, *port)
            }
            Place::System { port } => {
                let found = timeout(
                    self.settings.connect_timeout,
                    tokio::net::lookup_host((host.name.as_str(), *port)),
                );
                let found = found.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                let found = found.map_err(|error| not(format!("looking up its address: {error}"), false))?;
                (found.map(|address| address.ip()).collect(), *port)
            }
        };
        if addresses.is_empty() && !matches!(host.place, Place::Local) {
            return Err(not("there is no address under this name".to_owned(), true));
        }
        if matches!(host.place, Place::Dns { .. })
            && addresses.iter().any(|address| self.own.is(SocketAddr::new(*address, port)))
        {
            let why = "this is one of the addresses of this server".to_owned();
            return Err(NotDialled { ourselves: true, ..not(why, false) });
        }
        let demand = match (&host.demand, domain) {
            (Some(demand), _) => demand.clone(),
            // A bare address or a name of this system's own has no records that could be asked for.
            (None, None) if !host.has_domain_name() => self
                .default
                .demand(&host.name, &host.name, port, wish)
                .await
                .map_err(|why| NotDialled { status: Some(why.status), ..not(why.text, false) })?,
            (None, domain) => {
                let asked = self.rules.demand(domain.unwrap_or(&host.name), &host.name, port, wish).await;
                asked.map_err(|why| NotDialled { status: Some(why.status), ..not(why.text, false) })?
            }
        };
        let ordered = choice::order(addresses, self.settings.prefer, &mut random);
        Ok((demand, ordered.into_iter().map(|address| SocketAddr::new(address, port)).collect()))
    }

    async fn connect_local(&self, host: &Host, demand: TlsDemand) -> Result<Dialled, NotDialled> {
        let connecting = timeout(self.settings.connect_timeout, UnixStream::connect(&host.name));
        match connecting.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => Ok(Dialled {
                conn: Conn::unix(stream),
                host: host.clone(),
                address: None,
                demand,
                permit: HostPermit::unlimited(),
            }),
            Err(error) => Err(NotDialled {
                host: host.name.clone(),
                address: None,
                why: error.to_string(),
                status: None,
                no_address: false,
                ourselves: false,
            }),
        }
    }

    /// The first of a host's addresses that takes a connection, and those that have not been tried to the end.
    async fn connect_first(
        &self,
        host: &Host,
        addresses: Vec<SocketAddr>,
        tries: &mut usize,
        failed: &mut (dyn FnMut(NotDialled) + Send),
    ) -> (Option<(Conn, SocketAddr, HostPermit)>, Vec<SocketAddr>) {
        let mut waiting: VecDeque<SocketAddr> = addresses.into();
        let mut under_way: Vec<SocketAddr> = Vec::new();
        let mut attempts = JoinSet::new();
        let not = |address: SocketAddr, why: String| NotDialled {
            host: host.name.clone(),
            address: Some(address.ip()),
            why,
            status: None,
            no_address: false,
            ourselves: false,
        };
        loop {
            let mut next_at = None;
            if let Some(address) = waiting.pop_front().filter(|_| *tries < TRIES_MAX) {
                *tries += 1;
                if let Some(why) = self.unreachable.why(address, Instant::now()) {
                    failed(not(address, format!("{why}, a moment ago")));
                    continue;
                }
                let permit = self.limit.enter(address.ip()).await;
                let (settings, deadline) = (self.settings.clone(), self.settings.connect_timeout);
                attempts.spawn(async move {
                    let connected = timeout(deadline, connect(address, &settings)).await;
                    let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
                    (address, connected.unwrap_or_else(late), permit)
                });
                under_way.push(address);
                next_at = (!waiting.is_empty()).then(|| Instant::now() + STAGGER);
            } else if attempts.is_empty() {
                return (None, Vec::new());
            }
            while !attempts.is_empty() {
                let finished = tokio::select! {
                    finished = attempts.join_next() => finished,
                    () = sleep_until(next_at.unwrap_or_else(Instant::now)), if next_at.is_some() => break,
                };
                let Some(Ok((address, connected, permit))) = finished else { continue };
                under_way.retain(|other| *other != address);
                match connected {
                    Ok(stream) => {
                        self.unreachable.forget(address);
                        under_way.extend(waiting);
                        return (Some((Conn::tcp(stream), address, permit)), under_way);
                    }
                    Err(error) => {
                        let why = error.to_string();
                        self.unreachable.note(address, &why, Instant::now());
                        failed(not(address, why));
                        if !waiting.is_empty() {
                            break;
                        }
                    }
                }
            }
        }
    }
}

async fn connect(address: SocketAddr, settings: &DialSettings) -> io::Result<TcpStream> {
    let (socket, source) = match address {
        SocketAddr::V4(_) => (TcpSocket::new_v4()?, settings.source_ipv4.map(IpAddr::V4)),
        SocketAddr::V6(_) => (TcpSocket::new_v6()?, settings.source_ipv6.map(IpAddr::V6)),
    };
    if let Some(source) = source {
        let at = |error: io::Error| io::Error::new(error.kind(), format!("sending from {source}: {error}"));
        socket.bind(SocketAddr::new(source, 0)).map_err(at)?;
    }
    socket.connect(address).await
}

/// The hosts that a next hop has by the settings alone.
pub(super) fn fixed(hop: &NextHop) -> Option<Host> {
    match hop {
        NextHop::Host(place) => Host::with_port(place),
        NextHop::Lmtp(place) if place.starts_with('/') => Some(Host::local(place)),
        NextHop::Lmtp(place) => {
            Host::with_port(place).map(|host| Host { demand: Some(TlsDemand::Never), ..host })
        }
        NextHop::Mx(_) | NextHop::Smarthost(_) | NextHop::Peer(_) => None,
    }
}

#[cfg(test)]
mod tests;
