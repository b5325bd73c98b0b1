//! Opening connections: names to addresses, and several addresses tried without losing much time (RFC 8305).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

/// How long one address has before the next is tried beside it (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried at most.
const ADDRESSES_MAX: usize = 16;

/// Where a server is, as a person writes it: `mail.example.org`, `mail.example.org:587`, `[2001:db8::1]:25`,
/// `unix:/run/lmtp.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A host, and a port if one was given.
    Tcp {
        /// A name in A-form or an address.
        host: String,
        /// The port, where the usual one is not meant.
        port: Option<u16>,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Why a text is no [`Place`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is no server: write host, host:port, [IPv6 address]:port or unix:/path")]
pub struct InvalidPlace(String);

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Place, InvalidPlace> {
        let wrong = || InvalidPlace(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(wrong()) } else { Ok(Place::Unix(path.into())) };
        }
        if let Ok(IpAddr::V6(address)) = text.parse() {
            return Ok(Place::Tcp { host: address.to_string(), port: None });
        }
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
            None => match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port =
            port.map(|port| port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)).transpose()?;
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Place::Tcp { host: address.to_string(), port });
        }
        let host = idna::domain_to_ascii(host).map_err(|_| wrong())?;
        let plausible = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if host.is_empty() || host.len() > 255 || !host.chars().all(plausible) {
            return Err(wrong());
        }
        Ok(Place::Tcp { host, port })
    }
}

impl Place {
    /// The place with a port, where it has none and needs one.
    #[must_use]
    pub fn with_port(self, usual: u16) -> Place {
        match self {
            Place::Tcp { host, port } => Place::Tcp { host, port: port.or(Some(usual)) },
            unix => unix,
        }
    }

    /// The name or address of the host; none for a socket in the file system.
    pub fn host(&self) -> Option<&str> {
        match self {
            Place::Tcp { host, .. } => Some(host),
            Place::Unix(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp { host, port } => {
                if host.contains(':') {
                    write!(f, "[{host}]")?;
                } else {
                    f.write_str(host)?;
                }
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why no connection came about.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("the host {host} is not known: {cause}")]
    NoSuchHost {
        /// The name that was asked for.
        host: String,
        /// What the resolver said.
        cause: io::Error,
    },
    /// Nobody answered.
    #[error("{0} does not answer: {1}")]
    Unreachable(String, io::Error),
    /// Nobody answered in time.
    #[error("{0} does not answer within {1:?}")]
    TimedOut(String, Duration),
}

/// A connection in the clear.
#[derive(Debug)]
pub enum Socket {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpStream),
    /// A local socket.
    Unix(UnixStream),
}

impl Socket {
    /// Whether what is sent leaves the machine.
    pub fn is_local(&self) -> bool {
        match self {
            Socket::Tcp(stream) => {
                stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
            }
            Socket::Unix(_) => true,
        }
    }

    /// The address of the other end, as messages show it.
    pub fn peer(&self) -> String {
        match self {
            Socket::Tcp(stream) => stream.peer_addr().map(|peer| peer.to_string()).unwrap_or_default(),
            Socket::Unix(_) => "local socket".to_owned(),
        }
    }

    /// The address of this end; none on a local socket.
    pub fn local_ip(&self) -> Option<IpAddr> {
        match self {
            Socket::Tcp(stream) => stream.local_addr().ok().map(|local| local.ip().to_canonical()),
            Socket::Unix(_) => None,
        }
    }
}

/// Connects within `limit`. A host with several addresses is tried on them in turn, IPv6 and IPv4 alternating, each
/// next one after a short while or as soon as the one before has failed; the first that answers wins.
pub async fn connect(place: &Place, limit: Duration) -> Result<Socket, ConnectError> {
    let deadline = Instant::now() + limit;
    let shown = place.to_string();
    let unreachable = |cause| ConnectError::Unreachable(shown.clone(), cause);
    let late = |_| ConnectError::TimedOut(shown.clone(), limit);
    match place {
        Place::Unix(path) => {
            let connected = timeout_at(deadline, UnixStream::connect(path)).await.map_err(late)?;
            connected.map(Socket::Unix).map_err(unreachable)
        }
        Place::Tcp { host, port } => {
            let no_such_host = |cause| ConnectError::NoSuchHost { host: host.clone(), cause };
            let looked_up = tokio::net::lookup_host((host.as_str(), port.unwrap_or_default()));
            let found = timeout_at(deadline, looked_up).await.map_err(late)?.map_err(no_such_host)?;
            let addresses = interleave(found.collect());
            if addresses.is_empty() {
                return Err(no_such_host(io::ErrorKind::NotFound.into()));
            }
            let stream = timeout_at(deadline, race(addresses)).await.map_err(late)?.map_err(unreachable)?;
            // Commands are small and the driver gathers what belongs together: waiting for more gains nothing.
            let _ = stream.set_nodelay(true);
            Ok(Socket::Tcp(stream))
        }
    }
}

/// The addresses with the families alternating, beginning with the one the resolver prefers (RFC 8305 section 4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    while mixed.len() < ADDRESSES_MAX {
        let before = mixed.len();
        mixed.extend(first.next());
        mixed.extend(second.next());
        if mixed.len() == before {
            break;
        }
    }
    mixed
}

/// The first of the addresses that takes a connection; if none does, the error of the first that failed.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut first_error = None;
    while let Some(address) = waiting.next() {
        attempts.spawn(TcpStream::connect(address));
        let next_at = Instant::now() + ATTEMPT_DELAY;
        while !attempts.is_empty() {
            let finished = tokio::select! {
                finished = attempts.join_next() => finished,
                () = sleep_until(next_at), if waiting.len() > 0 => break,
            };
            match finished {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => {
                    first_error.get_or_insert(error);
                    if waiting.len() > 0 {
                        break;
                    }
                }
                Some(Err(_)) | None => {}
            }
        }
    }
    Err(first_error.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[test]
    fn places_are_read_as_people_write_them() {
        for (text, shown, port) in [
            ("mail.example.org", "mail.example.org", None),
            ("Bücher.example:587", "xn--bcher-kva.example:587", Some(587)),
            ("192.0.2.1:25", "192.0.2.1:25", Some(25)),
            ("2001:DB8::1", "[2001:db8::1]", None),
            ("[2001:db8::1]", "[2001:db8::1]", None),
            ("[2001:db8::1]:25", "[2001:db8::1]:25", Some(25)),
            ("unix:/run/lmtp.sock", "unix:/run/lmtp.sock", None),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), shown);
            assert!(!matches!(place, Place::Tcp { port: found, .. } if found != port), "{text}");
        }
        for text in ["", ":25", "host:", "host:0", "host:99999", "a b", "[::1", "[::1]25", "unix:", "a/b"] {
            assert_eq!(text.parse::<Place>(), Err(InvalidPlace(text.to_owned())));
        }
    }

    #[test]
    fn families_alternate() {
        let v6: SocketAddr = "[2001:db8::1]:25".parse().unwrap();
        let v4: SocketAddr = "192.0.2.1:25".parse().unwrap();
        assert_eq!(interleave(vec![v6, v6, v6, v4]), [v6, v4, v6, v6]);
        assert_eq!(interleave(vec![v4, v6, v6]), [v4, v6, v6]);
        assert_eq!(interleave(vec![v4; 100]).len(), ADDRESSES_MAX);
    }

    #[tokio::test]
    async fn an_address_that_refuses_or_is_silent_does_not_keep_the_next_from_being_tried() {
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();

        // Once its queue of one is full, Linux lets further attempts at this port wait.
        let silent = TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = silent.listen(0).unwrap();
        let silent_at = silent.local_addr().unwrap();
        let _queued = TcpStream::connect(silent_at).await.unwrap();

        let addresses = vec![refusing, silent_at, open.local_addr().unwrap()];
        let stream = race(addresses).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open.local_addr().unwrap());

        let error = race(vec![refusing]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);

        let place = Place::Tcp { host: "127.0.0.1".to_owned(), port: Some(silent_at.port()) };
        let error = connect(&place, Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(error, ConnectError::TimedOut(..)), "{error}");
    }

    #[tokio::test]
    async fn an_unknown_host_is_named() {
        let place: Place = "nowhere.invalid:25".parse().unwrap();
        let error = connect(&place, Duration::from_secs(20)).await.unwrap_err();
        assert!(error.to_string().contains("nowhere.invalid"), "{error}");
        assert!(matches!(error, ConnectError::NoSuchHost { .. }), "{error}");
    }
}
