//! The TLS handshake over a connection that was in the clear.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use packetboat_wire::{ChannelBinding, TlsFacts};
use rustls::pki_types::ServerName;
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, Connection};
use tokio::io::ReadBuf;

use super::facts::facts;
use super::{Certificates, Identity, Tickets};
use crate::conn::{Conn, PollWriter, Socket, poll_write_tls, with_read_buffer};

/// One read during the handshake takes at most this much: application data that follows the peer's last message in
/// the same read stays within what rustls is willing to hold.
const READ_MAX: usize = 16 * 1024;

/// Does the handshake as the server.
pub(crate) async fn accept(
    conn: &mut Conn,
    certificates: &Certificates,
    tickets: &Tickets,
) -> io::Result<TlsFacts> {
    let mut acceptor = Some(Acceptor::default());
    let mut chosen: Option<(Connection, Arc<Identity>)> = None;
    poll_fn(|cx| {
        loop {
            if let Some((tls, _)) = &mut chosen {
                return poll_complete(conn.socket(), tls, cx);
            }
            let Some(waiting) = acceptor.as_mut() else {
                return Poll::Ready(Err(io::ErrorKind::Other.into()));
            };
            let hello = ready!(poll_hello(conn.socket(), waiting, certificates, tickets, cx));
            chosen = Some(hello?);
            acceptor = None;
        }
    })
    .await?;
    let Some((tls, identity)) = chosen else { return Err(io::ErrorKind::Other.into()) };
    let server_name = match &tls {
        Connection::Server(server) => server.server_name().map(str::to_owned),
        Connection::Client(_) => None,
    };
    let facts = facts(&tls, server_name, identity.end_point.clone());
    conn.set_tls(tls);
    Ok(facts)
}

/// Does the handshake as the client of the server called `name`.
pub(crate) async fn connect(
    conn: &mut Conn,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> io::Result<TlsFacts> {
    let shown = name.to_str().into_owned();
    let mut tls = Connection::from(ClientConnection::new(config, name).map_err(invalid)?);
    poll_fn(|cx| poll_complete(conn.socket(), &mut tls, cx)).await?;
    let end_point = tls.peer_certificates().and_then(<[_]>::first);
    let end_point = end_point.and_then(|certificate| ChannelBinding::end_point(certificate));
    let facts = facts(&tls, Some(shown), end_point);
    conn.set_tls(tls);
    Ok(facts)
}

/// Reads the client's first message and chooses the certificate by it.
fn poll_hello(
    socket: &mut Socket,
    acceptor: &mut Acceptor,
    certificates: &Certificates,
    tickets: &Tickets,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(Connection, Arc<Identity>)>> {
    loop {
        let accepted = ready!(with_read_buffer(|buf| {
            let mut buf = buf.take(READ_MAX);
            let mut wire = ready!(poll_some(socket, &mut buf, cx))?;
            while !wire.is_empty() {
                acceptor.read_tls(&mut wire)?;
                let accepted = match acceptor.accept() {
                    Ok(None) => continue,
                    Ok(Some(accepted)) => accepted,
                    Err((error, mut alert)) => {
                        let _ = alert.write(&mut PollWriter { socket, cx });
                        return Poll::Ready(Err(invalid(error)));
                    }
                };
                let identity = certificates.choose(&accepted.client_hello());
                let config = certificates.config(&identity, tickets).map_err(invalid)?;
                let mut tls = match accepted.into_connection(config) {
                    Ok(server) => {
                        if let Tickets::Bound(binding) = tickets {
                            binding.settle(server.handshake_kind());
                        }
                        Connection::from(server)
                    }
                    Err((error, mut alert)) => {
                        let _ = alert.write(&mut PollWriter { socket, cx });
                        return Poll::Ready(Err(invalid(error)));
                    }
                };
                feed(socket, &mut tls, wire, cx)?;
                return Poll::Ready(Ok(Some((tls, identity))));
            }
            Poll::Ready(Ok(None))
        }))?;
        if let Some(accepted) = accepted {
            return Poll::Ready(Ok(accepted));
        }
    }
}

/// Runs the handshake until it is complete and all its messages are sent.
fn poll_complete(socket: &mut Socket, tls: &mut Connection, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    loop {
        ready!(poll_write_tls(socket, tls, cx))?;
        if !tls.is_handshaking() {
            return Poll::Ready(Ok(()));
        }
        socket.acknowledge_soon();
        ready!(with_read_buffer(|buf| {
            let mut buf = buf.take(READ_MAX);
            let wire = ready!(poll_some(socket, &mut buf, cx))?;
            Poll::Ready(feed(socket, tls, wire, cx))
        }))?;
    }
}

/// Reads something; the end of input is an error here.
fn poll_some<'b>(
    socket: &mut Socket,
    buf: &'b mut ReadBuf<'_>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<&'b [u8]>> {
    ready!(socket.poll_read(cx, buf))?;
    match buf.filled() {
        [] => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
        wire => Poll::Ready(Ok(wire)),
    }
}

/// Gives rustls everything that was read. Decrypted application data, if any, waits inside it.
fn feed(socket: &mut Socket, tls: &mut Connection, mut wire: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
    loop {
        let read = if wire.is_empty() { 0 } else { tls.read_tls(&mut wire)? };
        if let Err(error) = tls.process_new_packets() {
            // The alert that tells the peer why. If it cannot leave now, the peer learns it from the closing.
            let _ = poll_write_tls(socket, tls, cx);
            return Err(invalid(error));
        }
        if wire.is_empty() || read == 0 {
            return Ok(());
        }
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
