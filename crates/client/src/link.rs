//! Carries a conversation over a connection: the client's side of the session contract.
//!
//! The owner of a session pulls: [`Link::next_event`] does what the session says until it has something to tell, or is
//! over. There is no other place in this crate where sessions meet sockets.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use packetboat_wire::{Session, Step, TlsFacts};
use rustls::ClientConfig;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};
use tokio_rustls::client::TlsStream;

use crate::net::Socket;
use crate::tls::{self, TlsError};

/// Output is sent when this much is pending, or when the session waits.
const OUT_HIGH: usize = 64 * 1024;
/// Octets read at once.
const READ_MAX: usize = 16 * 1024;
/// What the peer may say while output is being sent; more is left in the socket until the session has heard this.
const READ_WHILE_SENDING: usize = 64 * 1024;
/// Output of which nothing at all leaves for so long is given up.
const STALL: Duration = Duration::from_secs(300);
/// For a TLS handshake, and for saying goodbye.
const HANDSHAKE: Duration = Duration::from_secs(60);
const GOODBYE: Duration = Duration::from_secs(2);

/// Watches what goes over a link: for `--verbose` and for counting.
pub trait Observer: Send {
    /// The session has this sent.
    fn sent(&mut self, bytes: &[u8]);
    /// The peer has sent this.
    fn received(&mut self, bytes: &[u8]);
    /// TLS has begun.
    fn tls(&mut self, facts: &TlsFacts);
}

/// What TLS is to be done with.
#[derive(Debug, Clone)]
pub struct TlsClient {
    /// Whom to trust.
    pub config: Arc<ClientConfig>,
    /// Whom to expect.
    pub host: String,
}

/// Why a conversation cannot go on.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The network failed, or the peer reset the connection.
    #[error("the connection was lost: {0}")]
    Lost(#[source] io::Error),
    /// The peer takes nothing any more.
    #[error("the server does not take what is sent to it")]
    Stalled,
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// One connection.
pub struct Link {
    stream: Option<Stream>,
    tls: Option<TlsClient>,
    facts: Option<TlsFacts>,
    out: BytesMut,
    read: Box<[u8]>,
    input_ended: bool,
    /// The peer has said something, or ended.
    heard: bool,
    /// Sending has failed; what the peer said before may still be read.
    broken: Option<io::Error>,
    observer: Option<Box<dyn Observer>>,
}

enum Stream {
    Clear(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Link {
    /// A link in the clear, which can change to TLS if `tls` is given.
    pub fn new(socket: Socket, tls: Option<TlsClient>, observer: Option<Box<dyn Observer>>) -> Link {
        Link {
            stream: Some(Stream::Clear(socket)),
            tls,
            facts: None,
            out: BytesMut::new(),
            read: vec![0; READ_MAX].into_boxed_slice(),
            input_ended: false,
            heard: false,
            broken: None,
            observer,
        }
    }

    /// What is known of TLS, once it is there.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.facts.as_ref()
    }

    /// Begins TLS before the first word (RFC 8314 section 3). The session is to be told the facts.
    pub async fn start_tls(&mut self) -> Result<TlsFacts, LinkError> {
        let (Some(Stream::Clear(socket)), Some(tls)) = (self.stream.take(), &self.tls) else {
            return Err(LinkError::Lost(io::ErrorKind::NotConnected.into()));
        };
        let handshake = tls::handshake(socket, Arc::clone(&tls.config), &tls.host);
        let late = |_| TlsError::Handshake { name: tls.host.clone(), cause: io::ErrorKind::TimedOut.into() };
        let (stream, facts) = tokio::time::timeout(HANDSHAKE, handshake).await.map_err(late)??;
        self.stream = Some(Stream::Tls(Box::new(stream)));
        if let Some(observer) = &mut self.observer {
            observer.tls(&facts);
        }
        self.facts = Some(facts.clone());
        Ok(facts)
    }

    /// Goes on with the conversation until the session tells something; `None` when it is over.
    pub async fn next_event<S: Session>(&mut self, session: &mut S) -> Result<Option<S::Event>, LinkError> {
        loop {
            match session.next(Instant::now().into_std()) {
                Step::Send(bytes) => {
                    self.push(bytes);
                    if self.out.len() >= OUT_HIGH {
                        self.flush(session).await?;
                    }
                }
                Step::Event(event) => return Ok(Some(event)),
                Step::StartTls => {
                    self.flush(session).await?;
                    let facts = self.start_tls().await?;
                    session.tls_started(facts);
                }
                Step::Wait { until } => {
                    self.heard = false;
                    self.flush(session).await?;
                    // What came meanwhile the session has not looked at yet; there may be no more to wait for.
                    if !self.heard {
                        self.wait(session, until.map(Instant::from_std)).await?;
                    }
                }
                Step::Close => {
                    // What cannot be said any more was not needed any more.
                    let _ = tokio::time::timeout(GOODBYE, self.close(session)).await;
                    return Ok(None);
                }
            }
        }
    }

    fn push(&mut self, bytes: Bytes) {
        if let Some(observer) = &mut self.observer {
            observer.sent(&bytes);
        }
        self.out.extend_from_slice(&bytes);
    }

    /// Sends all that is pending, and reads meanwhile: a server that refuses a long message says so before its end.
    async fn flush<S: Session>(&mut self, session: &mut S) -> Result<(), LinkError> {
        let mut stall = Instant::now() + STALL;
        let mut room = READ_WHILE_SENDING;
        while !self.out.is_empty() && self.broken.is_none() {
            let progress = tokio::select! {
                progress = poll_fn(|cx| self.poll_exchange(cx, session, &mut room)) => progress?,
                () = sleep_until(stall) => return Err(LinkError::Stalled),
            };
            if progress {
                stall = Instant::now() + STALL;
            }
        }
        self.out.clear();
        if let Some(stream) = &mut self.stream
            && self.broken.is_none()
            && let Err(error) = poll_fn(|cx| stream.poll_flush(cx)).await
        {
            self.broken = Some(error);
        }
        Ok(())
    }

    /// Writes and reads what can be; ready with whether something was written.
    fn poll_exchange<S: Session>(
        &mut self,
        cx: &mut Context<'_>,
        session: &mut S,
        room: &mut usize,
    ) -> Poll<Result<bool, LinkError>> {
        let read = if *room > 0 { self.poll_receive(cx, session) } else { Poll::Pending };
        let read_something = read.is_ready();
        match read {
            Poll::Ready(Ok(count)) => *room = room.saturating_sub(count),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {}
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(false)) };
        match stream.poll_write(cx, &self.out) {
            Poll::Ready(Ok(0)) => self.broken = Some(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(sent)) => self.out.advance(sent),
            Poll::Ready(Err(error)) => self.broken = Some(error),
            Poll::Pending if read_something => return Poll::Ready(Ok(false)),
            Poll::Pending => return Poll::Pending,
        }
        Poll::Ready(Ok(true))
    }

    /// Reads once and hands it to the session. Pending also when the input has ended.
    fn poll_receive<S: Session>(
        &mut self,
        cx: &mut Context<'_>,
        session: &mut S,
    ) -> Poll<Result<usize, LinkError>> {
        let (Some(stream), false) = (&mut self.stream, self.input_ended) else {
            return Poll::Pending;
        };
        let mut buf = ReadBuf::new(&mut self.read);
        let read = match stream.poll_read(cx, &mut buf) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => buf.filled(),
            // Servers that close without close_notify are many; whether enough was said is for the session to judge.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => &[],
            Poll::Ready(Err(error)) => return Poll::Ready(Err(LinkError::Lost(error))),
        };
        self.heard = true;
        if read.is_empty() {
            self.input_ended = true;
            session.end_of_input();
        } else {
            if let Some(observer) = &mut self.observer {
                observer.received(read);
            }
            session.receive(read);
        }
        Poll::Ready(Ok(read.len()))
    }

    async fn wait<S: Session>(&mut self, session: &mut S, until: Option<Instant>) -> Result<(), LinkError> {
        if self.input_ended && until.is_none() {
            return Err(self.lost());
        }
        let asleep = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = poll_fn(|cx| self.poll_receive(cx, session)) => received.map(|_| ()),
            () = asleep => Ok(()),
        }
    }

    fn lost(&mut self) -> LinkError {
        LinkError::Lost(self.broken.take().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))
    }

    async fn close<S: Session>(&mut self, session: &mut S) -> Result<(), LinkError> {
        self.flush(session).await?;
        if let Some(mut stream) = self.stream.take() {
            poll_fn(|cx| stream.poll_shutdown(cx)).await.map_err(LinkError::Lost)?;
        }
        Ok(())
    }
}

impl Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Clear(socket) => Pin::new(socket).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buf),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Clear(socket) => Pin::new(socket).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Clear(socket) => Pin::new(socket).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Clear(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        }
    }
}
