//! How data connections come about.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use packetboat_ftp::server::{Passive, Refusal, Server, TransferFailure};
use tokio::net::{TcpListener, TcpStream};

use super::Ftp;
use super::stream::Data;
use crate::session::random;
use crate::tls::Certificates;

/// For the data connection to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// Nothing moves on it for so long: it is given up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Ports that are tried for a passive data connection, before it is said that none is free.
const PORT_TRIES: u32 = 64;

impl Ftp {
    pub(super) async fn listen(&mut self, session: &mut Server, how: Passive) {
        let Some(local) = self.peer.local else { return session.refuse(Refusal::CannotListen) };
        let address = local.ip();
        if how == Passive::Pasv && address.to_canonical().is_ipv6() && self.depot.announced.is_none() {
            return session.refuse(Refusal::WrongFamily);
        }
        // The old one is closed before the new one is opened: it may have the only port.
        self.listener = None;
        match self.bind(address).await {
            Ok(listener) => {
                let port = listener.local_addr().map_or(0, |at| at.port());
                self.listener = Some(listener);
                let announced = self.depot.announced.unwrap_or(address);
                session.listening(SocketAddr::new(announced, port));
            }
            Err(error) => {
                tracing::warn!(connection = self.peer.id, %error, "no port for a data connection");
                session.refuse(Refusal::CannotListen);
            }
        }
    }

    /// A port that cannot be guessed (RFC 2577 section 8).
    async fn bind(&self, address: IpAddr) -> std::io::Result<TcpListener> {
        let Some((first, last)) = self.depot.passive_ports else {
            return TcpListener::bind((address, 0)).await;
        };
        let ports = u32::from(last.saturating_sub(first)) + 1;
        let mut result = Err(std::io::ErrorKind::AddrInUse.into());
        for _ in 0..PORT_TRIES {
            let port = u32::from(first) + u32::from_ne_bytes(random()) % ports;
            result = TcpListener::bind((address, u16::try_from(port).unwrap_or(first))).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Whether a data connection may go there: to the client alone, and to no port of a service (RFC 2577 section 3).
    pub(super) fn may_connect(&self, at: SocketAddr) -> Result<(), Refusal> {
        let own = self.peer.ip().is_some_and(|ip| ip.to_canonical() == at.ip().to_canonical());
        match (self.depot.active, own && at.port() >= 1024) {
            (false, _) => Err(Refusal::SwitchedOff),
            (true, false) => Err(Refusal::AddressNotAllowed),
            (true, true) => Ok(()),
        }
    }
}

/// How the data connection comes about.
#[derive(Debug)]
pub(super) enum Way {
    Passive(TcpListener),
    Active(SocketAddr),
}

impl Way {
    /// Waits for it. Only the client of the control connection is let in (RFC 2577 section 3).
    pub(super) async fn connect(self, peer: Option<IpAddr>) -> io::Result<TcpStream> {
        let connect = async {
            match self {
                Way::Active(at) => TcpStream::connect(at).await,
                Way::Passive(listener) => loop {
                    let (socket, from) = listener.accept().await?;
                    if peer.is_none_or(|peer| peer.to_canonical() == from.ip().to_canonical()) {
                        return Ok(socket);
                    }
                    tracing::warn!(%from, "a stranger came for a data connection");
                },
            }
        };
        tokio::time::timeout(CONNECT, connect).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Makes a data connection ready for a thread that may block.
pub(super) fn ready(
    socket: TcpStream,
    certificates: Option<Arc<Certificates>>,
) -> Result<Data, TransferFailure> {
    let socket = socket.into_std().map_err(|_| TransferFailure::CannotConnect)?;
    let data = Data::new(socket, PATIENCE).map_err(|_| TransferFailure::CannotConnect)?;
    match certificates {
        None => Ok(data),
        Some(certificates) => data.protect(&certificates).map_err(|error| {
            tracing::info!(%error, "TLS failed on a data connection");
            TransferFailure::TlsFailed
        }),
    }
}
