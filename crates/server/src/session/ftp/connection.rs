//! How data connections come about.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use packetboat_ftp::server::{Passive, Refusal, Server, TransferFailure};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::Ftp;
use super::links::{Ear, Links, Owner, too_many_wait};
use super::one_port::{Expected, KnownBy};
use super::stream::{Data, Line};
use crate::settings::DataTlsBinding;

/// For the data connection to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// The lowest port of a client's that is connected to: below it are services, which nobody is to be made to talk to
/// (RFC 2577 section 3).
const LOWEST_PORT: u16 = 1024;
/// How long the right one may still come after one that was not.
const GRACE: Duration = Duration::from_secs(2);

/// Where a session waits for the client's connection.
#[derive(Debug)]
pub(super) enum Awaited {
    /// At a port of its own.
    Own(Ear),
    /// At the one port.
    Shared(Expected),
}

impl Awaited {
    /// When it is too late to come.
    pub(super) fn until(&self) -> Instant {
        match self {
            Awaited::Own(ear) => ear.until,
            Awaited::Shared(expected) => expected.until,
        }
    }
}

impl Ftp {
    pub(super) async fn listen(&mut self, session: &mut Server, how: Passive) {
        let Some(local) = self.peer.local else { return session.refuse(Refusal::CannotListen) };
        let (own, client) = (local.ip(), self.peer.ip().unwrap_or(local.ip()));
        let links = Arc::clone(&self.depot.links);
        let announced = match how {
            // EPSV names no address: it is the one of the control connection.
            Passive::Epsv(_) => own,
            Passive::Pasv | Passive::Lpsv => links.announcing.address(self.peer.ip(), own).await,
        };
        if how == Passive::Pasv && announced.to_canonical().is_ipv6() {
            return session.refuse(Refusal::WrongFamily);
        }
        self.claim();
        // The old one is closed before the new one is opened: it may have the only port.
        (self.awaited, self.open) = (None, None);
        let waits = match &links.one_port {
            None => links.listen(own, client).map(|ear| {
                let port = ear.port;
                (Awaited::Own(ear), port)
            }),
            Some(one) => {
                let place = links.waiting.enter(client, links.per_address);
                let place = place.ok_or_else(too_many_wait);
                match place {
                    Ok(place) => {
                        let expected = one.expect(client, self.known_by(session), place).await;
                        expected.map(|expected| (Awaited::Shared(expected), one.port()))
                    }
                    Err(error) => Err(error),
                }
            }
        };
        match waits {
            Ok((awaited, port)) => {
                self.awaited = Some(awaited);
                session.listening(SocketAddr::new(announced, port));
            }
            Err(error) => {
                tracing::warn!(connection = self.peer.id, %error, "no port for a data connection");
                session.refuse(Refusal::CannotListen);
            }
        }
    }

    fn known_by(&self, session: &Server) -> KnownBy {
        let Some(owner) = self.owner().filter(|_| session.protects_data()) else { return KnownBy::Nothing };
        let own = self.tls_session();
        let resumes = self.has_resumed || self.depot.links.binding == DataTlsBinding::Require;
        KnownBy::Tls { session: own, owner, certain: own.is_some() && resumes }
    }

    /// Makes it known whose the TLS session is.
    pub(super) fn claim(&mut self) {
        if let (Some(session), Some(owner), None) = (self.tls_session(), self.owner(), &self.owned) {
            self.owned = Some(self.depot.links.owners.register(session, owner));
        }
    }

    /// Whose the data connections are.
    pub(super) fn owner(&self) -> Option<Owner> {
        Some(Owner::new(&self.guest.as_ref()?.entrance.name, self.peer.ip()?))
    }

    /// Where the client means: an address of all zeros is its own, at which its socket listens for any (lftp says so over the
    /// loopback of IPv6).
    pub(super) fn meant(&self, at: SocketAddr) -> SocketAddr {
        match self.peer.ip().map(|ip| ip.to_canonical()) {
            Some(own) if at.ip().is_unspecified() && own.is_ipv4() == at.is_ipv4() => {
                SocketAddr::new(own, at.port())
            }
            _ => at,
        }
    }

    /// Whether a client may mean this server by what HOST says: by any name, for behind all names is the same server, and by an
    /// address if it is ours, as the client came to it or as it is announced (RFC 7151 section 3.1).
    pub(super) async fn may_be_called(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let (Ok(address), Some(local)) = (bare.parse::<IpAddr>(), self.peer.local) else { return true };
        let (address, own) = (address.to_canonical(), local.ip().to_canonical());
        address == own || address == self.depot.links.announcing.address(self.peer.ip(), own).await
    }

    /// Whether a data connection may go there: to the client alone, and to no port of a service (RFC 2577 section 3).
    pub(super) fn may_connect(&self, at: SocketAddr) -> Result<(), Refusal> {
        let at = self.meant(at);
        let own = self.peer.ip().is_some_and(|ip| ip.to_canonical() == at.ip().to_canonical());
        match (self.depot.links.active, own && at.port() >= LOWEST_PORT) {
            (false, _) => Err(Refusal::SwitchedOff),
            (true, false) => Err(Refusal::AddressNotAllowed),
            (true, true) => Ok(()),
        }
    }
}

/// How the data connection comes about.
#[derive(Debug)]
pub(super) enum Way {
    Passive(Awaited),
    Active(SocketAddr),
    /// It is there.
    Open(Box<Data>),
}

/// What a data connection has to be.
#[derive(Debug)]
pub(super) struct Wanted {
    /// For log lines.
    pub(super) connection: u64,
    /// Only the client of the control connection is let in (RFC 2577 section 3).
    pub(super) peer: Option<IpAddr>,
    pub(super) local: Option<SocketAddr>,
    pub(super) protected: bool,
    pub(super) owner: Option<Owner>,
}

impl Wanted {
    fn refuse(&self, from: Option<SocketAddr>, reason: &str) {
        let from = from.map(|from| from.to_string());
        tracing::warn!(connection = self.connection, from, reason, "data connection refused");
    }

    /// Waits for the connection, or makes it. The second part: it resumes the session of the control connection.
    pub(super) async fn connect(&self, way: Way, links: &Links) -> Result<(Data, bool), TransferFailure> {
        let line = match way {
            Way::Open(data) => return Ok((*data, false)),
            Way::Active(to) => {
                let connected = timeout(CONNECT, links.connect(self.local, to)).await;
                let connected = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
                let socket = connected.map_err(|error| {
                    tracing::info!(connection = self.connection, %to, %error, "no data connection to the client");
                    TransferFailure::CannotConnect
                })?;
                match self.protected {
                    true => self.secure(socket, links).await?,
                    false => Line::clear(socket.into_std().map_err(|_| TransferFailure::CannotConnect)?),
                }
            }
            Way::Passive(Awaited::Own(ear)) => self.admit(ear, links).await?,
            Way::Passive(Awaited::Shared(mut expected)) => {
                let line = match timeout(CONNECT, &mut expected.line).await {
                    Ok(Ok(line)) => line,
                    _ => return Err(TransferFailure::CannotConnect),
                };
                self.check(line, links)?
            }
        };
        let resumed = self.owns(&line, links);
        Ok((line.into_data(links.unclosed), resumed))
    }

    /// Lets the right one in. One that is not it does not end the wait at once: whoever comes first may be a thief.
    async fn admit(&self, mut ear: Ear, links: &Links) -> Result<Line, TransferFailure> {
        let (mut deadline, mut failure) = (Instant::now() + CONNECT, TransferFailure::CannotConnect);
        loop {
            let (socket, from) = match timeout_at(deadline, ear.next()).await {
                Ok(Ok(accepted)) => accepted,
                Ok(Err(_)) | Err(_) => return Err(failure),
            };
            if self.peer.is_some_and(|peer| peer.to_canonical() != from.ip().to_canonical()) {
                self.refuse(Some(from), "it comes from another address than the control connection");
                continue;
            }
            if !self.protected {
                return Ok(Line::clear(socket));
            }
            let Ok(socket) = TcpStream::from_std(socket) else { continue };
            match self.secure(socket, links).await {
                Ok(line) => return Ok(line),
                Err(error) => {
                    failure = error;
                    deadline = deadline.min(Instant::now() + GRACE);
                }
            }
        }
    }

    async fn secure(&self, socket: TcpStream, links: &Links) -> Result<Line, TransferFailure> {
        let from = socket.peer_addr().ok();
        match timeout(CONNECT, Line::secure(socket, &links.certificates)).await {
            Ok(Ok(line)) => self.check(line, links),
            Ok(Err(error)) => {
                self.refuse(from, &format!("TLS failed: {error}"));
                Err(TransferFailure::TlsFailed)
            }
            Err(_) => {
                self.refuse(from, "TLS took too long");
                Err(TransferFailure::TlsFailed)
            }
        }
    }

    fn check(&self, line: Line, links: &Links) -> Result<Line, TransferFailure> {
        if !self.protected || links.binding == DataTlsBinding::Off {
            return Ok(line);
        }
        let reason = match line.session {
            Some(_) if self.owns(&line, links) => return Ok(line),
            Some(_) => "it resumes a TLS session of somebody else, or one that has ended",
            None => "it resumes no TLS session; the client has to reuse that of the control connection",
        };
        if links.binding == DataTlsBinding::Prefer {
            tracing::debug!(
                connection = self.connection,
                reason,
                "data connection is not bound to its session"
            );
            return Ok(line);
        }
        self.refuse(line.from(), reason);
        line.dismiss();
        Err(TransferFailure::NotResumed)
    }

    fn owns(&self, line: &Line, links: &Links) -> bool {
        let owner = self.owner.as_ref();
        line.session.zip(owner).is_some_and(|(session, owner)| links.owners.has(session, owner))
    }
}
