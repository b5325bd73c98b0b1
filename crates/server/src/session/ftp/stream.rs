//! A data connection: made and secured by a task, then blocking, moved by a thread of the blocking pool.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SendFlags;
use rustls::{Connection, ServerConnection, StreamOwned};

use super::farewell::{Patience, hear_out};
use super::rates::Pace;
use super::wide::Wide;
use crate::conn::{Conn, Socket};
use crate::tls::{Binding, Certificates, Channel, Tickets, TlsSessionId, handshake};

/// Nothing moves on it for so long: it is given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// A data connection that has come about, and its handshake, if there is to be one, is complete.
#[derive(Debug)]
pub(super) struct Line {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    /// The TLS session that it resumes.
    pub(super) session: Option<TlsSessionId>,
}

impl Line {
    pub(super) fn clear(socket: TcpStream) -> Line {
        Line { socket, tls: None, session: None }
    }

    /// Does the handshake, as the server, whichever side connected (RFC 4217 section 7).
    pub(super) async fn secure(
        socket: tokio::net::TcpStream,
        certificates: &Certificates,
    ) -> io::Result<Line> {
        let mut conn = Conn::tcp(socket);
        let binding = Binding::new(certificates.bindings(), Channel::Data, None);
        let tickets = Tickets::Bound(binding);
        handshake::accept(&mut conn, certificates, &tickets).await?;
        let Tickets::Bound(binding) = tickets else { return Err(io::ErrorKind::Other.into()) };
        match conn.into_parts() {
            (Socket::Tcp(socket), Some(tls)) => match *tls {
                Connection::Server(tls) => {
                    let session = binding.session(tls.handshake_kind());
                    Ok(Line { socket: socket.into_std()?, tls: Some(Box::new(tls)), session })
                }
                Connection::Client(_) => Err(io::ErrorKind::Other.into()),
            },
            _ => Err(io::ErrorKind::Other.into()),
        }
    }

    pub(super) fn from(&self) -> Option<SocketAddr> {
        self.socket.peer_addr().ok()
    }

    /// Sends it away with a farewell, so that its client sees an end and looks at the control connection for the reason,
    /// rather than be reset in the middle of what it sends.
    pub(super) fn dismiss(self) {
        let mut data = self.into_data(false);
        tokio::spawn(async move {
            // A new connection has room for a farewell, so that nothing waits here.
            let _ = data.finish();
            data.linger(Patience::FAREWELL).await;
        });
    }

    /// Makes it ready for data. `unclosed`: an end without a farewell is an end.
    pub(super) fn into_data(self, unclosed: bool) -> Data {
        let stream = match self.tls {
            None => Stream::Clear(self.socket),
            Some(mut tls) => {
                // What is written as one goes out as one, in records of 16 KiB.
                tls.set_buffer_limit(None);
                Stream::Tls(Box::new(StreamOwned::new(*tls, Wide::new(self.socket))))
            }
        };
        let (unread, pace) = (Vec::new(), Pace::default());
        Data { stream, unread, end: None, stays_open: false, unclosed, pace }
    }
}

/// A data connection.
#[derive(Debug)]
pub(super) struct Data {
    stream: Stream,
    /// What came behind the end of a file: the beginning of the next one.
    unread: Vec<u8>,
    /// How it has ended, behind that.
    end: Option<Result<(), io::ErrorKind>>,
    /// It is not closed at the end of a file.
    pub(super) stays_open: bool,
    unclosed: bool,
    /// How fast it may be moved over.
    pub(super) pace: Pace,
}

#[derive(Debug)]
enum Stream {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, Wide>>),
}

impl Data {
    /// The socket, if nothing stands between it and the data.
    pub(super) fn socket(&self) -> Option<&TcpStream> {
        match &self.stream {
            Stream::Clear(socket) => Some(socket),
            Stream::Tls(_) => None,
        }
    }

    fn below(&self) -> &TcpStream {
        match &self.stream {
            Stream::Clear(socket) => socket,
            Stream::Tls(tls) => tls.sock.socket(),
        }
    }

    /// Who moves it waits for it from now on: a thread that may block.
    pub(super) fn be_patient(&self) -> io::Result<()> {
        self.below().set_nonblocking(false)?;
        self.below().set_read_timeout(Some(PATIENCE))?;
        self.below().set_write_timeout(Some(PATIENCE))
    }

    /// Whether the other side is on this machine.
    pub(super) fn is_local(&self) -> bool {
        let ends = (self.below().local_addr(), self.below().peer_addr());
        matches!(ends, (Ok(own), Ok(peer)) if own.ip() == peer.ip())
    }

    pub(super) fn is_protected(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// A handle by which it can be cut.
    pub(super) fn handle(&self) -> io::Result<TcpStream> {
        self.below().try_clone()
    }

    /// Ends it in both directions.
    pub(super) fn cut(&self) {
        let _ = self.below().shutdown(std::net::Shutdown::Both);
    }

    /// Whether the other side has kept it open too, and said nothing.
    pub(super) fn is_open(&self) -> bool {
        let socket = self.below();
        if socket.set_nonblocking(true).is_err() {
            return false;
        }
        let peeked = socket.peek(&mut [0; 1]);
        let blocking = socket.set_nonblocking(false);
        let silent = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        // Octets in the clear are the next file, if the client is in a hurry; under TLS they may be a farewell.
        let open = match peeked {
            Ok(octets) => octets > 0 && !self.is_protected(),
            Err(error) => silent(&error),
        };
        open && blocking.is_ok()
    }

    /// Keeps what came and was not asked for yet.
    pub(super) fn keep(&mut self, octets: &[u8]) {
        self.unread.extend_from_slice(octets);
    }

    /// Behind what was kept nothing comes any more.
    pub(super) fn ends(&mut self, how: Result<(), io::ErrorKind>) {
        self.end = Some(how);
    }

    /// Takes back what belongs to the next file.
    pub(super) fn put_back(&mut self, octets: &[u8]) {
        self.unread = [octets, &self.unread].concat();
    }

    /// Sends the last octets, which [`finish`](Data::finish) follows: in the clear the end goes out with them.
    pub(super) fn send_last(&mut self, octets: &[u8]) -> io::Result<()> {
        let (Stream::Clear(socket), false, true) = (&self.stream, self.stays_open, self.pace.is_free())
        else {
            return self.write_all(octets);
        };
        let (mut rest, mut waits) = (octets, false);
        while !rest.is_empty() {
            match rustix::net::send(socket, rest, SendFlags::MORE | SendFlags::NOSIGNAL) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                // A new connection has room for more than is sent without a thread, on all systems that we know.
                Err(Errno::AGAIN) if !waits => {
                    self.be_patient()?;
                    waits = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// All has been sent, or has come: says so, unless the connection stays open. Under TLS with a farewell
    /// (close_notify), so that nobody in between can make the end.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.stays_open {
            return self.flush();
        }
        if let Stream::Tls(tls) = &mut self.stream {
            tls.conn.send_close_notify();
            tls.flush()?;
        }
        self.below().shutdown(std::net::Shutdown::Write)
    }

    /// Our half is closed: lets the other side come to an end.
    pub(super) async fn linger(self, patience: Patience) {
        let socket = match self.stream {
            Stream::Clear(socket) => socket,
            Stream::Tls(tls) => tls.sock.into_socket(),
        };
        hear_out(socket, patience).await;
    }
}

impl Read for Data {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        if !self.unread.is_empty() {
            let octets = self.unread.len().min(piece.len());
            let rest = self.unread.split_off(octets);
            for (place, octet) in piece.iter_mut().zip(std::mem::replace(&mut self.unread, rest)) {
                *place = octet;
            }
            return Ok(octets);
        }
        if let Some(how) = self.end {
            return how.map(|()| 0).map_err(io::Error::from);
        }
        let most = self.pace.piece(piece.len());
        let piece = piece.get_mut(..most).unwrap_or_default();
        let read = match &mut self.stream {
            Stream::Clear(socket) => socket.read(piece),
            Stream::Tls(tls) => match tls.read(piece) {
                // Cut off, by somebody in between for all we know (RFC 8446 section 6.1).
                Err(error) if self.unclosed && error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                read => read,
            },
        }?;
        self.pace.took(read);
        Ok(read)
    }
}

impl Write for Data {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let piece = piece.get(..self.pace.piece(piece.len())).unwrap_or_default();
        let written = match &mut self.stream {
            Stream::Clear(socket) => socket.write(piece),
            Stream::Tls(tls) => tls.write(piece),
        }?;
        self.pace.took(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Clear(socket) => socket.flush(),
            Stream::Tls(tls) => tls.flush(),
        }
    }
}
