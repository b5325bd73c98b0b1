//! A data connection: blocking, in the clear or under TLS, moved by a thread of the blocking pool.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustls::server::Acceptor;
use rustls::{ServerConnection, StreamOwned};

use crate::tls::{Certificates, Tickets};

/// A data connection.
#[derive(Debug)]
pub(super) enum Data {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Data {
    /// Takes a connection over; it fails when nothing moves for so long.
    pub(super) fn new(socket: TcpStream, patience: Duration) -> io::Result<Data> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(patience))?;
        Ok(Data::Clear(socket))
    }

    /// Does the handshake, as the server, whichever side connected (RFC 4217 section 7).
    ///
    /// No tickets are sent here: a client that only writes never reads them, and when it closes, its system resets the
    /// connection because of them, and what it wrote last is lost. Those of the control connection serve.
    pub(super) fn protect(self, certificates: &Certificates) -> io::Result<Data> {
        let Data::Clear(mut socket) = self else { return Ok(self) };
        let mut acceptor = Acceptor::default();
        let accepted = loop {
            if acceptor.read_tls(&mut socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => break accepted,
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let _ = alert.write(&mut socket);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        };
        let identity = certificates.choose(&accepted.client_hello());
        let connection =
            accepted.into_connection(identity.config(Tickets::Withheld)).map_err(|(error, mut alert)| {
                let _ = alert.write(&mut socket);
                io::Error::new(io::ErrorKind::InvalidData, error)
            })?;
        let mut tls = StreamOwned::new(connection, socket);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(Data::Tls(Box::new(tls)))
    }

    /// The socket, if nothing stands between it and the data.
    pub(super) fn socket(&self) -> Option<&TcpStream> {
        match self {
            Data::Clear(socket) => Some(socket),
            Data::Tls(_) => None,
        }
    }

    /// All has been sent: says so, and waits until the other side has seen it, so that a reset cannot overtake it.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if let Data::Tls(tls) = &mut self {
            tls.conn.send_close_notify();
            tls.flush()?;
        }
        let socket = match &self {
            Data::Clear(socket) => socket,
            Data::Tls(tls) => &tls.sock,
        };
        socket.shutdown(std::net::Shutdown::Write)
    }
}

impl Read for Data {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        match self {
            Data::Clear(socket) => socket.read(piece),
            Data::Tls(tls) => tls.read(piece),
        }
    }
}

impl Write for Data {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match self {
            Data::Clear(socket) => socket.write(piece),
            Data::Tls(tls) => tls.write(piece),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Data::Clear(socket) => socket.flush(),
            Data::Tls(tls) => tls.flush(),
        }
    }
}
