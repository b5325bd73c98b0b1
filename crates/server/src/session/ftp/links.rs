//! What all sessions share of data connections: ports, addresses, who waits where.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream as Accepted};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, acceptfrom_with, bind, getsockname, listen, socket_with, sockopt,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::announce::Announcing;
use super::certificate::Clients;
use super::one_port::OnePort;
use crate::limits::peer_of;
use crate::session::random;
use crate::settings::{ActiveSource, DataTlsBinding};
use crate::tls::{Certificates, TlsSessionId};

/// A passive listener to which nobody comes is closed after this time.
pub(super) const EAR_PATIENCE: Duration = Duration::from_secs(120);
/// Ports that are tried for a passive data connection, before it is said that none is free.
const PORT_TRIES: u32 = 64;

/// The ports that are nobody's (RFC 6335 section 6): one of them is taken where no range is set.
const DYNAMIC_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;
/// How many of them are tried.
const DYNAMIC_TRIES: u32 = 4;
/// Connections that may wait at a port: the client's, and those of others that are in its way.
const BACKLOG: i32 = 128;

/// How data connections are made.
#[derive(Debug)]
pub struct Links {
    /// For data connections under TLS.
    pub certificates: Arc<Certificates>,
    /// Whether they have to resume the TLS session of the control connection.
    pub binding: DataTlsBinding,
    /// Uploads that end without a farewell of TLS are whole.
    pub unclosed: bool,
    /// The first and last port for passive data connections; `None`: any.
    pub passive_ports: Option<(u16, u16)>,
    /// All of them come to one port.
    pub one_port: Option<OnePort>,
    /// How many sessions from one address may wait for one.
    pub per_address: u32,
    /// What is announced instead of the address the client came to.
    pub announcing: Announcing,
    /// Data connections to the client's ports are possible.
    pub active: bool,
    /// Where they come from.
    pub active_source: ActiveSource,
    /// Who vouches for clients that show certificates, and where the account's name stands in them.
    pub clients: Clients,
    /// Sessions that wait, by address.
    pub waiting: Arc<Waiting>,
    /// Whose TLS sessions are.
    pub owners: Arc<Owners>,
    /// That the port for active connections cannot be had has been told.
    pub told_source: AtomicBool,
}

/// How many sessions of each address wait for a data connection.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<HashMap<IpAddr, u32>>);

/// One of them.
#[derive(Debug)]
pub(super) struct Place {
    waiting: Arc<Waiting>,
    address: IpAddr,
}

impl Waiting {
    /// Takes a place, if there is one left for the address.
    pub(super) fn enter(self: &Arc<Waiting>, address: IpAddr, most: u32) -> Option<Place> {
        let address = peer_of(address.to_canonical());
        let mut places = self.0.lock();
        let taken = places.entry(address).or_default();
        if *taken >= most {
            return None;
        }
        *taken += 1;
        Some(Place { waiting: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.waiting.0.lock();
        if let Some(taken) = places.get_mut(&self.address) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                places.remove(&self.address);
            }
        }
    }
}

/// There is no place left for one.
pub(super) fn too_many_wait() -> io::Error {
    io::Error::other("too many sessions of this address wait for data connections")
}

/// Who a session is for: connections of one owner may use each other's TLS sessions, as programs do that keep them by
/// the server's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    login: Arc<str>,
    address: IpAddr,
}

impl Owner {
    pub(super) fn new(login: &str, address: IpAddr) -> Owner {
        Owner { login: login.into(), address: address.to_canonical() }
    }
}

/// Whose the TLS sessions of control connections are.
#[derive(Debug, Default)]
pub struct Owners(Mutex<HashMap<TlsSessionId, Vec<Owner>>>);

/// One of them, as long as it is kept.
#[derive(Debug)]
pub(super) struct Owned {
    owners: Arc<Owners>,
    session: TlsSessionId,
    pub(super) owner: Owner,
}

impl Owners {
    pub(super) fn register(self: &Arc<Owners>, session: TlsSessionId, owner: Owner) -> Owned {
        self.0.lock().entry(session).or_default().push(owner.clone());
        Owned { owners: Arc::clone(self), session, owner }
    }

    pub(super) fn has(&self, session: TlsSessionId, owner: &Owner) -> bool {
        self.0.lock().get(&session).is_some_and(|owners| owners.contains(owner))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let mut all = self.owners.0.lock();
        if let Some(owners) = all.get_mut(&self.session) {
            if let Some(place) = owners.iter().position(|owner| *owner == self.owner) {
                owners.swap_remove(place);
            }
            if owners.is_empty() {
                all.remove(&self.session);
            }
        }
    }
}

/// A port of its own at which a session waits for a data connection. The runtime hears of it when the wait begins: as a rule
/// the client is there before.
#[derive(Debug)]
pub(super) struct Ear {
    listener: Listener,
    pub(super) port: u16,
    pub(super) until: Instant,
    _place: Place,
}

#[derive(Debug)]
enum Listener {
    Quiet(TcpListener),
    Awaited(tokio::net::TcpListener),
}

impl Ear {
    fn open(at: SocketAddr) -> io::Result<(TcpListener, u16)> {
        let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(family, SocketType::STREAM, flags, None)?;
        // Connections that ended a moment ago do not keep the port.
        sockopt::set_socket_reuseaddr(&listener, true)?;
        bind(&listener, &at)?;
        listen(&listener, BACKLOG)?;
        let port = match at.port() {
            0 => SocketAddr::try_from(getsockname(&listener)?)?.port(),
            port => port,
        };
        Ok((listener.into(), port))
    }

    /// The next connection, which does not block.
    pub(super) async fn next(&mut self) -> io::Result<(Accepted, SocketAddr)> {
        if let Listener::Quiet(listener) = &self.listener {
            match accept(listener) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                accepted => return accepted,
            }
            let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
            self.listener = Listener::Awaited(listener);
        }
        let Listener::Awaited(listener) = &self.listener else { return Err(io::ErrorKind::Other.into()) };
        let (socket, from) = listener.accept().await?;
        Ok((socket.into_std()?, from))
    }
}

fn accept(listener: &TcpListener) -> io::Result<(Accepted, SocketAddr)> {
    loop {
        match acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            // One that was gone before it was taken.
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(error) => return Err(error.into()),
            Ok((socket, from)) => {
                let from = from.ok_or(Errno::NOTCONN)?;
                return Ok((socket.into(), SocketAddr::try_from(from)?));
            }
        }
    }
}

impl Links {
    /// Listens on a port that cannot be guessed (RFC 2577 section 8).
    pub(super) fn listen(&self, local: IpAddr, client: IpAddr) -> io::Result<Ear> {
        let Some(place) = self.waiting.enter(client, self.per_address) else {
            return Err(too_many_wait());
        };
        let (listener, port) = self.open(local)?;
        let listener = Listener::Quiet(listener);
        Ok(Ear { listener, port, until: Instant::now() + EAR_PATIENCE, _place: place })
    }

    fn open(&self, local: IpAddr) -> io::Result<(TcpListener, u16)> {
        let Some((first, last)) = self.passive_ports else {
            // The system, asked for any port, looks through all connections that ended a moment ago.
            for _ in 0..DYNAMIC_TRIES {
                let port = DYNAMIC_PORTS.start() + u16::from_ne_bytes(random()) % DYNAMIC_PORTS.len() as u16;
                if let Ok(listener) = Ear::open((local, port).into()) {
                    return Ok(listener);
                }
            }
            return Ear::open((local, 0).into());
        };
        let ports = u32::from(last.saturating_sub(first)) + 1;
        let mut result = Err(io::ErrorKind::AddrInUse.into());
        for _ in 0..PORT_TRIES {
            let port = u32::from(first) + u32::from_ne_bytes(random()) % ports;
            result = Ear::open((local, u16::try_from(port).unwrap_or(first)).into());
            if result.is_ok() {
                return result;
            }
        }
        // A small range that is nearly full: each of its ports, once.
        for port in first..=last.min(first.saturating_add(PORT_TRIES as u16)) {
            result = Ear::open((local, port).into());
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Connects to the client, from the port before that of the control connection if it can be had (RFC 959 section 3.2).
    pub(super) async fn connect(&self, local: Option<SocketAddr>, to: SocketAddr) -> io::Result<TcpStream> {
        let own = local.map(|local| local.ip());
        let source = local.and_then(|local| local.port().checked_sub(1)).filter(|port| *port > 0);
        if let (ActiveSource::DefaultDataPort, Some(own), Some(port)) = (self.active_source, own, source) {
            match connect_from(SocketAddr::new(own, port), to).await {
                Ok(socket) => return Ok(socket),
                Err(Attempt::Source(error)) => {
                    if !self.told_source.swap(true, Ordering::Relaxed) {
                        tracing::warn!(port, %error, "active data connections cannot come from this port, and come from any");
                    }
                }
                Err(Attempt::Target(error)) => return Err(error),
            }
        }
        match own {
            Some(own) => connect_from(SocketAddr::new(own, 0), to).await.map_err(|attempt| match attempt {
                Attempt::Source(error) | Attempt::Target(error) => error,
            }),
            None => TcpStream::connect(to).await,
        }
    }
}

/// What was wrong.
enum Attempt {
    Source(io::Error),
    Target(io::Error),
}

async fn connect_from(from: SocketAddr, to: SocketAddr) -> Result<TcpStream, Attempt> {
    let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(Attempt::Source)?;
    // Several connections may come from one port, as long as they go to different ones.
    socket.set_reuseaddr(true).map_err(Attempt::Source)?;
    socket.bind(from).map_err(Attempt::Source)?;
    socket.connect(to).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Attempt::Source(error),
        _ => Attempt::Target(error),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn places_are_counted_by_household() {
        let waiting = Arc::new(Waiting::default());
        let at = |address: &str| address.parse::<IpAddr>().unwrap();
        let first = waiting.enter(at("2001:db8::1"), 2).unwrap();
        let second = waiting.enter(at("2001:db8::2"), 2);
        assert!(second.is_some());
        assert!(waiting.enter(at("2001:db8::3"), 2).is_none());
        assert!(waiting.enter(at("2001:db8:0:1::1"), 2).is_some());
        drop(first);
        let four = waiting.enter(at("192.0.2.1"), 1).unwrap();
        assert!(waiting.enter(at("::ffff:192.0.2.1"), 1).is_none());
        assert!(waiting.enter(at("2001:db8::3"), 2).is_some());
        drop((four, second));
        assert!(waiting.0.lock().is_empty());
    }
}
