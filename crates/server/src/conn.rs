//! One connection: a socket, in the clear or under TLS. The only file, with `tls`, that knows both.
//!
//! A connection owns no read buffer. It waits for readiness, reads into a buffer that belongs to the thread, and
//! hands the bytes on before anything else can happen; so a thousand silent peers cost a thousand small structs.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::Connection as Tls;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::outbox::Outbox;
use crate::tls::Binding;

/// Size of each thread's read buffer: four full TLS records.
const READ_BUFFER: usize = 64 * 1024;

/// What a peer may send between our farewell in TLS and its own: that, and what was under way.
const FAREWELL_MAX: usize = 4 * 1024;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER].into_boxed_slice());
}

/// A stream socket of either family.
#[derive(Debug)]
pub enum Socket {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpStream),
    /// TCP with urgent data in its place among the rest, as Telnet's Synch needs it.
    Urgent(TcpStream),
    /// A local socket, as LMTP likes it.
    Unix(UnixStream),
}

impl Socket {
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            // A read ends at the urgent mark although more lies behind it. tokio takes a short read for the last one, and
            // would wait for what is there already; reading until the socket says that it is empty misses nothing.
            Socket::Urgent(stream) => loop {
                ready!(stream.poll_read_ready(cx))?;
                match stream.try_read(buf.initialize_unfilled()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => {
                        buf.advance(read?);
                        return Poll::Ready(Ok(()));
                    }
                }
            },
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // tokio skips the final `EAGAIN` after a partial write of one buffer, but not of several.
        match (self, pieces) {
            (Socket::Tcp(stream) | Socket::Urgent(stream), [piece]) => Pin::new(stream).poll_write(cx, piece),
            (Socket::Unix(stream), [piece]) => Pin::new(stream).poll_write(cx, piece),
            (Socket::Tcp(stream) | Socket::Urgent(stream), pieces) => {
                Pin::new(stream).poll_write_vectored(cx, pieces)
            }
            (Socket::Unix(stream), pieces) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    /// Acknowledges at once what comes next. A client that ends its handshake in two small writes waits with the second
    /// one until the first is acknowledged (Nagle's algorithm), which otherwise takes 40 ms.
    pub(crate) fn acknowledge_soon(&self) {
        if let Socket::Tcp(stream) = self {
            let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Tcp(stream) | Socket::Urgent(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Conn {
    socket: Socket,
    tls: Option<Box<Tls>>,
}

impl Conn {
    /// A connection in the clear over a TCP stream. Nagle's algorithm is turned off: the driver gathers what belongs
    /// together, so a delay would only hold back the last reply.
    pub fn tcp(stream: TcpStream) -> Conn {
        // A socket that died in the meantime shows it at the first read.
        let _ = stream.set_nodelay(true);
        Conn { socket: Socket::Tcp(stream), tls: None }
    }

    /// A connection over a local socket.
    pub fn unix(stream: UnixStream) -> Conn {
        Conn { socket: Socket::Unix(stream), tls: None }
    }

    /// The same connection, with urgent data read in its place among the rest (RFC 959 section 4.1.3: a Synch is urgent).
    pub fn with_urgent_data(mut self) -> Conn {
        if let Socket::Tcp(stream) = self.socket {
            // Where it is refused, the one octet that is urgent is lost; it is a mark, and no part of a command.
            let _ = rustix::net::sockopt::set_socket_oobinline(stream.as_fd(), true);
            self.socket = Socket::Urgent(stream);
        }
        self
    }

    /// Whether the bytes are protected.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(crate) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }

    /// Puts a fresh ticket before what is sent next.
    pub(crate) fn top_up(&mut self, binding: &Binding) {
        if let Some(tls) = &mut self.tls {
            binding.top_up(tls);
        }
    }

    /// The parts: what was read and not taken yet lies in the second one.
    pub(crate) fn into_parts(self) -> (Socket, Option<Box<Tls>>) {
        (self.socket, self.tls)
    }

    pub(crate) fn set_tls(&mut self, tls: Tls) {
        self.tls = Some(Box::new(tls));
    }

    /// Reads once. What came is given to `take`, in one or more pieces; the result is their total, and 0 means that
    /// the peer will send no more.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let Conn { socket, tls } = self;
        let Some(tls) = tls else {
            return with_read_buffer(|buf| {
                ready!(socket.poll_read(cx, buf))?;
                if !buf.filled().is_empty() {
                    take(buf.filled());
                }
                Poll::Ready(Ok(buf.filled().len()))
            });
        };
        loop {
            match drain(tls, take)? {
                Drained::Bytes(count) => return Poll::Ready(Ok(count)),
                Drained::End => return Poll::Ready(Ok(0)),
                Drained::Nothing => {}
            }
            let decrypted = ready!(with_read_buffer(|buf| {
                ready!(socket.poll_read(cx, buf))?;
                Poll::Ready(Ok::<_, io::Error>(decrypt(tls, buf.filled(), take)))
            }))?;
            // Decrypting may have made something to say: an alert, an answer to a key update.
            let written = poll_write_tls(socket, tls, cx);
            let count = decrypted?;
            if let Poll::Ready(result) = written {
                result?;
            }
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
        }
    }

    /// Sends some of `out` and takes it off; ready with the number of bytes that left the queue.
    /// Under TLS they may still lie in the encoder: [`poll_flush`](Conn::poll_flush) sends the last of them.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<io::Result<usize>> {
        let Conn { socket, tls } = self;
        let Some(tls) = tls else {
            let (slices, used) = out.slices();
            let sent = ready!(socket.poll_write(cx, slices.get(..used).unwrap_or(&[])))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            out.advance(sent);
            return Poll::Ready(Ok(sent));
        };
        loop {
            let (slices, used) = out.slices();
            let taken = tls.writer().write_vectored(slices.get(..used).unwrap_or(&[]))?;
            out.advance(taken);
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
            // The encoder is full: room comes from the socket only.
            ready!(poll_write_tls(socket, tls, cx))?;
        }
    }

    /// Hands to the kernel what the TLS encoder still holds.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.tls {
            Some(tls) => poll_write_tls(&mut self.socket, tls, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Says goodbye in TLS (`close_notify`); [`poll_flush`](Conn::poll_flush) sends it.
    pub(crate) fn close_notify(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
    }

    /// Says farewell in TLS, waits for the peer's, and is in the clear from then on. What was read behind the peer's
    /// farewell is returned.
    pub(crate) async fn leave_tls(&mut self) -> io::Result<Vec<u8>> {
        self.close_notify();
        poll_fn(|cx| self.poll_flush(cx)).await?;
        let Conn { socket, tls } = self;
        let Some(session) = tls else { return Ok(Vec::new()) };
        if session.process_new_packets().map_err(invalid)?.peer_has_closed() {
            // Before it was told that it may. What came with it is lost in here, so there is no way to go on.
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a farewell before the answer"));
        }
        let mut taken = 0;
        let unread = poll_fn(|cx| {
            loop {
                let left = ready!(with_read_buffer(|buf| {
                    ready!(socket.poll_read(cx, buf))?;
                    Poll::Ready(up_to_farewell(session, buf.filled(), &mut taken))
                }))?;
                if let Some(unread) = left {
                    return Poll::Ready(Ok::<_, io::Error>(unread));
                }
            }
        })
        .await?;
        *tls = None;
        Ok(unread)
    }

    /// Sends FIN. What was sent before still arrives.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_shutdown(cx)
    }

    /// Reads from the socket and throws away, past TLS: for the moments between our FIN and the peer's.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        with_read_buffer(|buf| {
            ready!(self.socket.poll_read(cx, buf))?;
            Poll::Ready(Ok(buf.filled().len()))
        })
    }
}

/// Lends the thread's read buffer. `read` must not call back into a connection.
pub(crate) fn with_read_buffer<R>(read: impl FnOnce(&mut ReadBuf<'_>) -> R) -> R {
    READ.with_borrow_mut(|buf| read(&mut ReadBuf::new(buf)))
}

enum Drained {
    Bytes(usize),
    End,
    Nothing,
}

/// Hands on the plaintext that lies decrypted in `tls`.
fn drain(tls: &mut Tls, take: &mut dyn FnMut(&[u8])) -> io::Result<Drained> {
    use io::BufRead;

    let mut total = 0;
    loop {
        let mut reader = tls.reader();
        match reader.fill_buf() {
            Ok([]) => return Ok(if total > 0 { Drained::Bytes(total) } else { Drained::End }),
            Ok(chunk) => {
                take(chunk);
                let len = chunk.len();
                total += len;
                reader.consume(len);
            }
            Err(_) if total > 0 => return Ok(Drained::Bytes(total)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Drained::Nothing),
            // No close_notify: common enough among mail programs. The session hears that the input ended, and what
            // it had not received whole stays undone.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Drained::End),
            Err(error) => return Err(error),
        }
    }
}

/// Reads under TLS and throws away, up to the peer's farewell; then the octets behind it, which are in the clear. One octet
/// at a time, for rustls keeps what it is given, and nobody else knows where a record ends.
fn up_to_farewell(tls: &mut Tls, wire: &[u8], taken: &mut usize) -> io::Result<Option<Vec<u8>>> {
    if wire.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // What can be read is no record of TLS: there are clients that do not answer a farewell (curl, where it is told to wait
    // for ours). Anybody could say it in their place, as anything else from here on.
    if *taken == 0 && wire.first().is_some_and(u8::is_ascii_alphabetic) {
        return Ok(Some(wire.to_vec()));
    }
    for (index, octet) in wire.iter().enumerate() {
        *taken += 1;
        if *taken > FAREWELL_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no farewell of TLS"));
        }
        tls.read_tls(&mut std::slice::from_ref(octet))?;
        if tls.process_new_packets().map_err(invalid)?.peer_has_closed() {
            return Ok(Some(wire.get(index + 1..).unwrap_or_default().to_vec()));
        }
    }
    Ok(None)
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Decrypts one read's worth of records. No bytes means that the peer closed.
fn decrypt(tls: &mut Tls, mut wire: &[u8], take: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
    let mut total = 0;
    loop {
        let read = tls.read_tls(&mut wire)?;
        tls.process_new_packets().map_err(invalid)?;
        if let Drained::Bytes(count) = drain(tls, take)? {
            total += count;
        }
        if wire.is_empty() || read == 0 {
            return Ok(total);
        }
    }
}

/// Writes TLS records until the encoder is empty.
pub(crate) fn poll_write_tls(
    socket: &mut Socket,
    tls: &mut Tls,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while tls.wants_write() {
        let mut writer = PollWriter { socket: &mut *socket, cx: &mut *cx };
        match tls.write_tls(&mut writer) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(()))
}

/// Lets rustls, which writes to an `io::Write`, write to a socket that wakes this task when it has room again.
pub(crate) struct PollWriter<'a, 'cx> {
    pub(crate) socket: &'a mut Socket,
    pub(crate) cx: &'a mut Context<'cx>,
}

impl Write for PollWriter<'_, '_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(piece)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.socket.poll_write(self.cx, pieces) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
