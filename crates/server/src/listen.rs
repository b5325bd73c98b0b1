//! Listening sockets: made or taken over, then served.

use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};

use crate::conn::Conn;
use crate::drive::{End, Link, Pace, Summary, TlsRole};
use crate::limits::{Admission, Admissions, Refusal};
use crate::metrics::ServiceMetrics;
use crate::presence::{Presence, Present};
use crate::settings::{Listen, ListenAddress};
use crate::shutdown::{Phase, ShutdownSignal};
use crate::systemd::Passed;
use crate::tls::Certificates;

/// Connections the kernel completes before we accept them. It cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// How long to stop accepting when files or memory have run out.
const OUT_OF_FILES_PAUSE: Duration = Duration::from_millis(200);

/// The rights of a local socket: its owner's and its group's programs may connect.
const UNIX_MODE: u32 = 0o660;

/// A protocol, as a listener sees it.
pub trait Service: Send + Sync + 'static {
    /// Serves a connection to its end.
    fn serve(&self, link: Link, peer: Peer) -> Pin<Box<dyn Future<Output = Summary> + Send>>;

    /// What a connection that is not let in is told, in the words of the protocol.
    fn refusal(&self, refusal: Refusal) -> Bytes;

    /// Whether connections count as not logged in until [`Admission::logged_in`].
    fn has_login(&self) -> bool;
}

/// Who is at the other end, and how it came here.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address; none over a local socket.
    pub remote: Option<SocketAddr>,
    /// The address it connected to.
    pub local: Option<SocketAddr>,
    /// The name of the service, such as `submission`.
    pub service: &'static str,
    /// The number of the connection, the same as in the log.
    pub id: u64,
    /// Its place among the connections; to be told when it has logged in.
    pub admission: Arc<Admission>,
    /// Its name on the list of who is connected; to be told as whom it has logged in.
    pub present: Arc<Present>,
}

impl Peer {
    /// The IP address, if it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.remote.map(|address| address.ip())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.remote {
            Some(address) => address.fmt(f),
            None => f.write_str("local"),
        }
    }
}

/// A socket that listens, not served yet.
#[derive(Debug)]
pub struct Bound {
    /// The service it is for.
    pub service: &'static str,
    socket: Listener,
    /// For log lines.
    pub address: String,
}

#[derive(Debug)]
enum Listener {
    Tcp(std::net::TcpListener),
    Unix(UnixListener, Option<PathBuf>),
}

impl Bound {
    /// The TCP port.
    pub fn port(&self) -> Option<u16> {
        match &self.socket {
            Listener::Tcp(listener) => listener.local_addr().ok().map(|address| address.port()),
            Listener::Unix(..) => None,
        }
    }
}

/// Why a port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("listen.{service}: {address}: {source}{}", remedy(.source))]
pub struct BindError {
    /// The service.
    pub service: &'static str,
    /// Where it should listen.
    pub address: String,
    /// What the system says.
    pub source: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: stop it, or choose another port",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root, systemd or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        _ => "",
    }
}

/// Binds everything the settings name, except services for which systemd passed sockets. All that cannot be had is
/// reported together.
pub fn bind(listen: &Listen, passed: Vec<(String, Passed)>) -> Result<Vec<Bound>, Vec<BindError>> {
    let mut bound = Vec::new();
    let mut errors = Vec::new();
    let services = listen.services();
    for (name, socket) in passed {
        match services.iter().find(|(service, _)| *service == name) {
            Some((service, _)) => match adopt(service, socket) {
                Ok(socket) => bound.push(socket),
                Err(source) => {
                    errors.push(BindError { service, address: "passed by systemd".into(), source })
                }
            },
            None => errors.push(BindError {
                service: "*",
                address: format!("passed by systemd as {name:?}"),
                source: io::Error::other(
                    "no service has this name; set FileDescriptorName= in the socket unit",
                ),
            }),
        }
    }
    let from_systemd: Vec<&str> = bound.iter().map(|bound: &Bound| bound.service).collect();
    let wanted = services.iter().filter(|(service, _)| !from_systemd.contains(service));
    for (service, address) in wanted.flat_map(|(service, list)| list.iter().map(move |a| (*service, a))) {
        let mut add = |result: io::Result<Listener>, address: String| match result {
            Ok(socket) => bound.push(Bound { service, socket, address }),
            Err(source) => errors.push(BindError { service, address, source }),
        };
        match address {
            ListenAddress::Tcp(tcp) => add(bind_tcp(*tcp), tcp.to_string()),
            ListenAddress::Unix(path) => add(bind_unix(path), path.display().to_string()),
            ListenAddress::Port(port) => {
                let four = SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port));
                add(bind_tcp(four), four.to_string());
                let six = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
                match bind_tcp(six) {
                    // A kernel without IPv6; whoever writes a port only means "wherever there is one".
                    Err(error)
                        if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => {}
                    result => add(result, six.to_string()),
                }
            }
        }
    }
    if errors.is_empty() { Ok(bound) } else { Err(errors) }
}

fn bind_tcp(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose last connections still linger can be had again at once.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // IPv4 has its own socket: no address comes in two spellings.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Listener::Tcp(socket.into()))
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    let listener = listen_local(path, UNIX_MODE)?;
    Ok(Listener::Unix(listener, Some(path.to_owned())))
}

/// Listens on a local socket with the given rights. A file that a dead server left behind is replaced, one that
/// somebody serves is not.
pub fn listen_local(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            match UnixStream::connect(path) {
                Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {}
                _ => return Err(error),
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        result => result?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn adopt(service: &'static str, passed: Passed) -> io::Result<Bound> {
    let (socket, address) = match passed {
        Passed::Tcp(listener) => {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?.to_string();
            (Listener::Tcp(listener), address)
        }
        Passed::Unix(listener) => {
            listener.set_nonblocking(true)?;
            (Listener::Unix(listener, None), "local socket".to_owned())
        }
    };
    Ok(Bound { service, socket, address: format!("{address} (systemd)") })
}

/// What all listeners share and each connection gets.
#[derive(Clone)]
pub struct Door {
    /// What speaks the protocol.
    pub service: Arc<dyn Service>,
    /// TLS, where there is any.
    pub certificates: Option<Arc<Certificates>>,
    /// Whether TLS comes before the first word.
    pub implicit_tls: bool,
    /// Who may come in.
    pub admissions: Arc<Admissions>,
    /// Who is connected.
    pub presence: Arc<Presence>,
    /// How fast peers must be.
    pub pace: Arc<Pace>,
    /// What is counted.
    pub metrics: ServiceMetrics,
    /// When to stop.
    pub shutdown: ShutdownSignal,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("implicit_tls", &self.implicit_tls).finish_non_exhaustive()
    }
}

/// One accepted connection.
enum Accepted {
    Tcp(tokio::net::TcpStream, SocketAddr),
    Unix(tokio::net::UnixStream),
}

enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Accepting {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Accepting::Tcp(listener) => {
                listener.accept().await.map(|(stream, peer)| Accepted::Tcp(stream, peer))
            }
            Accepting::Unix(listener) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}

/// Serves a socket until the server stops. Connections that stand then go on by themselves.
pub async fn serve(bound: Bound, door: Door) -> io::Result<()> {
    let Bound { service, socket, address } = bound;
    let (listener, path) = match socket {
        Listener::Tcp(listener) => (Accepting::Tcp(tokio::net::TcpListener::from_std(listener)?), None),
        Listener::Unix(listener, path) => {
            (Accepting::Unix(tokio::net::UnixListener::from_std(listener)?), path)
        }
    };
    tracing::info!(service, address, "listening");
    let mut out_of_files = false;
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok(accepted) => {
                    if std::mem::take(&mut out_of_files) {
                        tracing::warn!(service, "accepting connections again");
                    }
                    welcome(accepted, service, &door);
                }
                Err(error) if is_shortage(&error) => {
                    // The connection stays in the backlog; said once, not at every try.
                    if !std::mem::replace(&mut out_of_files, true) {
                        tracing::error!(service, %error, "cannot accept connections for now; raise the limit on open files, or lower limits.connections");
                    }
                    tokio::time::sleep(OUT_OF_FILES_PAUSE).await;
                }
                // The peer was gone before we came.
                Err(error) => tracing::debug!(service, %error, "accept"),
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = door.shutdown.clone().reached(Phase::Stopping) => {}
    }
    if let Some(path) = path {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    shortages.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Lets a connection in, or tells it why not.
fn welcome(accepted: Accepted, service: &'static str, door: &Door) {
    let remote = match &accepted {
        Accepted::Tcp(_, peer) => Some(*peer),
        Accepted::Unix(_) => None,
    };
    let admission = match door.admissions.admit(remote.map(|peer| peer.ip()), door.service.has_login()) {
        Ok(admission) => Arc::new(admission),
        Err(refusal) => {
            door.metrics.refused(refusal);
            tracing::debug!(service, peer = ?remote, reason = refusal.word(), "connection refused");
            // Under TLS the words would not be understood.
            let words = if door.implicit_tls { Bytes::new() } else { door.service.refusal(refusal) };
            turn_away(accepted, &words);
            return;
        }
    };
    static NEXT_ID: AtomicU64 = AtomicU64::new(1);
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let (conn, local) = match accepted {
        Accepted::Tcp(stream, _) => {
            let local = stream.local_addr().ok();
            (Conn::tcp(stream), local)
        }
        Accepted::Unix(stream) => (Conn::unix(stream), None),
    };
    let present = Arc::new(door.presence.enter(id, service, remote));
    let link = Link {
        conn,
        id,
        tls: door.certificates.clone().map_or(TlsRole::None, TlsRole::Server),
        implicit_tls: door.implicit_tls,
        pace: Arc::clone(&door.pace),
        shutdown: door.shutdown.clone(),
        cut: present.cut(),
    };
    let peer = Peer { remote, local, service, id, admission: Arc::clone(&admission), present };
    tracing::debug!(connection = id, service, %peer, "connection");
    let serving = door.service.serve(link, peer);
    tokio::spawn(attend(serving, admission, door.metrics.clone(), service, id, remote));
}

/// Accompanies a connection: counts it, and writes its line in the log.
async fn attend(
    serving: Pin<Box<dyn Future<Output = Summary> + Send>>,
    admission: Arc<Admission>,
    metrics: ServiceMetrics,
    service: &'static str,
    id: u64,
    remote: Option<SocketAddr>,
) {
    metrics.connections.inc();
    metrics.open.inc();
    let _closed = OnDrop(|| {
        metrics.open.dec();
    });
    let summary = serving.await;
    metrics.received.inc_by(summary.received);
    metrics.sent.inc_by(summary.sent);
    metrics.ended(summary.end.word());
    let tls = summary.tls.map_or("", |(version, _)| version);
    let millis = u64::try_from(summary.lasted.as_millis()).unwrap_or(u64::MAX);
    let peer = remote.map(|peer| peer.to_string()).unwrap_or_else(|| "local".to_owned());
    let Summary { received, sent, end, .. } = &summary;
    match end {
        End::Defect(_) => {
            tracing::error!(connection = id, service, peer, tls, received, sent, millis, %end, "connection ended");
        }
        _ => {
            tracing::info!(connection = id, service, peer, tls, received, sent, millis, %end, "connection ended")
        }
    }
    drop(admission);
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Says the last words without waiting: a fresh socket has room for them, and one that has not is not waited for.
fn turn_away(accepted: Accepted, words: &[u8]) {
    let said: io::Result<()> = match accepted {
        Accepted::Tcp(stream, _) => stream.into_std().and_then(|mut stream| {
            stream.write_all(words)?;
            stream.shutdown(Shutdown::Write)
        }),
        Accepted::Unix(stream) => stream.into_std().and_then(|mut stream| {
            stream.write_all(words)?;
            stream.shutdown(Shutdown::Write)
        }),
    };
    if let Err(error) = said {
        tracing::debug!(%error, "turning a connection away");
    }
}
