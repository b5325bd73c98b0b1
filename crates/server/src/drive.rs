//! Runs any conversation over a connection: read, step, write, deadline, TLS.
//!
//! This is the only place where a [`Session`] meets a socket. Whoever serves a protocol writes a [`Handler`], which
//! answers the session's events, and calls [`drive`] with the [`Link`] the listener handed over:
//!
//! ```ignore
//! struct Smtp { mail: Arc<Mail>, peer: Peer }
//!
//! impl Handler<smtp::server::Session> for Smtp {
//!     async fn handle(&mut self, session: &mut smtp::server::Session, event: Event) -> Result<(), Stop> {
//!         match event {
//!             Event::Recipient(address) => match self.mail.recipient(&address).await {
//!                 Ok(()) => session.accept(),
//!                 Err(refusal) => session.refuse(refusal.into()),
//!             },
//!             …
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let summary = drive(link, session, handler).await;
//! ```
//!
//! What the driver promises:
//! - An event reaches the handler before the session is asked for its next step, and output is sent before anything
//!   is waited for; replies to pipelined commands leave together (RFC 2920).
//! - Bytes go to the session as they come; between two reads nothing is kept but the session itself.
//! - At [`Step::StartTls`] what was read before is forgotten, by the session as the contract says, and what lies
//!   unread in the kernel is taken as the beginning of the handshake, which a plain-text command is not: either way
//!   nothing sent before the handshake is taken for a command after it (RFC 3207 section 6, CVE-2011-0411).
//! - Each wait ends: for the session's own time, for output that does not drain, for a line or a body that only
//!   trickles in ([`Pace`]), or when the server's grace is over.
//! - A panic in a session or handler ends that connection and no other.
//!
//! What a connection costs: while it waits, the session and the handler with about 1 KiB around them (and about 8 KiB
//! that rustls keeps under TLS). While it works, one read (64 KiB at most, which the session holds until it has acted on
//! it) and pending output (64 KiB and the last piece the session sent).

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use packetboat_wire::{Session, Step, TlsFacts};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::awake::Awake;
use crate::conn::Conn;
use crate::outbox::Outbox;
use crate::shutdown::{Phase, ShutdownSignal};
use crate::tls::{Binding, Certificates, Tickets, handshake};

pub use crate::end::{End, Summary};
pub use crate::pace::Pace;

/// Output is sent, with back-pressure, when this much is pending.
const OUTBOX_HIGH: usize = 64 * 1024;

/// While so much waits for the end of something that runs, no more is read.
const HELD_BACK_MAX: usize = 64 * 1024;

/// A session that asks to be woken at times that have passed, so many times in a row, is broken.
const MAX_IDLE_TURNS: u32 = 1000;

/// How long last words may take when the server's grace is over.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// After our FIN, a peer in the middle of sending may send this much more before its connection is reset.
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// The owner of a session: knows what the conversation is about.
///
/// Methods are called one at a time. The futures they return are boxed by the driver, so that their size does not
/// weigh on idle connections.
pub trait Handler<S: Session>: Send {
    /// Takes an event; if it asks something, answers it on `session` before returning.
    ///
    /// Runs to its end also when the server is stopping, so that work in hand is finished.
    fn handle(&mut self, session: &mut S, event: S::Event) -> impl Future<Output = Result<(), Stop>> + Send;

    /// Returns when there is something to [`tell`](Handler::tell) the session that did not come from the peer.
    /// Waited for only while the session waits. Must be cancel safe: it is dropped and asked for again.
    fn news(&mut self) -> impl Future<Output = ()> + Send {
        pending()
    }

    /// Tells the session the news.
    fn tell(&mut self, _session: &mut S) -> impl Future<Output = Result<(), Stop>> + Send {
        std::future::ready(Ok(()))
    }

    /// All that was said is on its way, and the peer says nothing yet: the moment to get ready for what it will probably
    /// ask next. Must neither wait nor take long.
    fn at_rest(&mut self) {}

    /// Whether the peer is in the middle of sending something long, such as a message, and so has to keep to
    /// [`Pace::bulk_bytes`].
    fn in_bulk(&self) -> bool {
        false
    }

    /// How TLS is served to the client, if not as usual; called before the handshake.
    fn binding(&mut self) -> Option<TlsBinding> {
        None
    }

    /// An administrator wants the session to end now: lets it say so. `false`: it has no way to.
    fn disconnect(&mut self, session: &mut S) -> bool {
        session.cut_short()
    }

    /// The client may have used what it had to resume the TLS session with: it gets more of it, before anything else is
    /// said. Asked after [`tell`](Handler::tell).
    fn top_up(&mut self) -> Option<TlsBinding> {
        None
    }

    /// The session wants to go on in the clear: TLS is ended by a farewell of both sides, and
    /// [`left_tls`](Handler::left_tls) is called. Asked after [`handle`](Handler::handle).
    fn leaves_tls(&mut self) -> bool {
        false
    }

    /// TLS has ended, and what comes now comes in the clear.
    fn left_tls(&mut self, _session: &mut S) {}

    /// The handshake is complete.
    fn secured(&mut self, _tls: &rustls::Connection) {}

    /// The connection has ended. Whatever must be undone is undone here or in `Drop`.
    fn ended(&mut self, _summary: &Summary) {}
}

/// What binds a TLS connection to others of the same session.
#[derive(Debug)]
pub struct TlsBinding(pub(crate) Arc<Binding>);

/// A handler's wish to cut the connection at once, without another word. The text is for the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Stop(pub String);

/// Which side of TLS a link can become.
#[derive(Clone)]
pub enum TlsRole {
    /// No TLS on this link. A session that asks for it nevertheless is cut.
    None,
    /// The server's side.
    Server(Arc<Certificates>),
    /// The client's side: what to trust, and whom to expect.
    Client(Arc<ClientConfig>, ServerName<'static>),
}

impl fmt::Debug for TlsRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsRole::None => "None",
            TlsRole::Server(_) => "Server",
            TlsRole::Client(..) => "Client",
        })
    }
}

/// A connection and all the driver has to know of it.
#[derive(Debug)]
pub struct Link {
    /// The connection.
    pub conn: Conn,
    /// For log lines that belong together.
    pub id: u64,
    /// What TLS it can do.
    pub tls: TlsRole,
    /// Whether the handshake comes before the first word (RFC 8314 section 3).
    pub implicit_tls: bool,
    /// How fast the peer must be.
    pub pace: Arc<Pace>,
    /// How the end of the server is heard of.
    pub shutdown: ShutdownSignal,
    /// Tells that an administrator wants this connection to end.
    pub cut: Arc<Notify>,
}

/// Carries a conversation to its end.
// Not an `async fn`: that would keep each argument twice, once as it came and once as it is used.
pub fn drive<S, H>(link: Link, mut session: S, mut handler: H) -> impl Future<Output = Summary> + Send
where
    S: Session<Event: Send> + Send,
    H: Handler<S>,
{
    let mut driver = Driver::new(link);
    async move {
        let end = {
            let mut run = pin!(driver.run(&mut session, &mut handler));
            // The state a panic leaves behind is dropped with the connection, except for `ended`, which handlers
            // write with that in mind.
            poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx))) {
                Ok(poll) => poll,
                Err(_) => Poll::Ready(End::Defect("panic in a session")),
            })
            .await
        };
        let summary = driver.summary(end);
        handler.ended(&summary);
        summary
    }
}

struct Driver {
    link: Link,
    out: Outbox,
    /// One timer serves all deadlines: there is only ever one thing waited for.
    timer: Option<Pin<Box<Sleep>>>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    cut: Pin<Box<OwnedNotified>>,
    stopping: Stopping,
    started: Instant,
    received: u64,
    sent: u64,
    tls: Option<(&'static str, &'static str)>,
    input_ended: bool,
    /// When the first byte came of what the session has not acted on yet.
    line_since: Option<Instant>,
    bulk: Option<Bulk>,
    awake: Awake,
}

/// One window of [`Pace::bulk_window`]. Only the time we waited counts: a slow disk is not the peer's fault.
struct Bulk {
    waited: Duration,
    bytes: u64,
}

/// How far the end of the server has reached this connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopping {
    No,
    /// Heard of while output was waiting; the session is told at its next wait.
    Heard,
    Told,
}

enum Woken {
    Bytes(usize),
    InputEnded,
    Time,
    News,
    Stopping,
}

impl Driver {
    fn new(link: Link) -> Driver {
        let stop = Box::pin(link.shutdown.clone().reached(Phase::Stopping));
        let cut = Box::pin(Arc::clone(&link.cut).notified_owned());
        Driver {
            link,
            cut,
            out: Outbox::default(),
            timer: None,
            stop,
            stopping: Stopping::No,
            started: Instant::now(),
            received: 0,
            sent: 0,
            tls: None,
            input_ended: false,
            line_since: None,
            bulk: None,
            awake: Awake::default(),
        }
    }

    fn summary(&self, end: End) -> Summary {
        Summary {
            end,
            received: self.received,
            sent: self.sent,
            lasted: self.started.elapsed(),
            tls: self.tls,
        }
    }

    async fn run<S, H>(&mut self, session: &mut S, handler: &mut H) -> End
    where
        S: Session<Event: Send> + Send,
        H: Handler<S>,
    {
        match self.converse(session, handler).await {
            Err(end @ (End::ServerStopped | End::Disconnected)) => {
                let speaks = match end {
                    End::ServerStopped => session.cut_short(),
                    _ => handler.disconnect(session),
                };
                if speaks {
                    // Whoever does not take them in this time has been told nothing, like anybody who is cut.
                    let words = Box::pin(self.last_words(session, handler));
                    let _ = tokio::time::timeout(LAST_WORDS, words).await;
                }
                end
            }
            Ok(end) | Err(end) => end,
        }
    }

    /// Lets the session say what it has to say at the end.
    async fn last_words<S, H>(&mut self, session: &mut S, handler: &mut H)
    where
        S: Session<Event: Send> + Send,
        H: Handler<S>,
    {
        loop {
            match session.next(Instant::now().into_std()) {
                Step::Send(bytes) => self.out.push(bytes),
                Step::Event(event) => {
                    if Box::pin(handler.handle(session, event)).await.is_err() {
                        return;
                    }
                }
                Step::StartTls | Step::Wait { .. } | Step::Close => break,
            }
        }
        while !self.out.is_empty() {
            if poll_fn(|cx| self.link.conn.poll_send(cx, &mut self.out)).await.is_err() {
                return;
            }
        }
        if poll_fn(|cx| self.link.conn.poll_flush(cx)).await.is_ok() {
            let _ = self.close(true).await;
        }
    }

    async fn converse<S, H>(&mut self, session: &mut S, handler: &mut H) -> Result<End, End>
    where
        S: Session<Event: Send> + Send,
        H: Handler<S>,
    {
        if self.link.implicit_tls {
            let facts = Box::pin(self.start_tls(handler, Tickets::Sent)).await?;
            session.tls_started(facts);
        }
        let mut idle_turns = 0;
        loop {
            match session.next(Instant::now().into_std()) {
                Step::Send(bytes) => {
                    self.line_since = None;
                    self.out.push(bytes);
                    if self.out.len() >= OUTBOX_HIGH {
                        self.flush().await?;
                    }
                }
                Step::Event(event) => {
                    self.line_since = None;
                    Box::pin(handler.handle(session, event)).await?;
                    if handler.leaves_tls() {
                        self.flush().await?;
                        let unread = Box::pin(self.leave_tls()).await?;
                        handler.left_tls(session);
                        session.receive(&unread);
                    }
                }
                Step::Wait { until } => {
                    self.flush().await?;
                    handler.at_rest();
                    if self.input_ended && until.is_none() {
                        return Ok(End::PeerClosed);
                    }
                    match self.wait(session, handler, until.map(Instant::from_std)).await? {
                        Woken::Bytes(_) => idle_turns = 0,
                        Woken::InputEnded => session.end_of_input(),
                        Woken::Time => idle_turns += 1,
                        Woken::News => {
                            Box::pin(handler.tell(session)).await?;
                            if let Some(TlsBinding(binding)) = handler.top_up() {
                                self.flush().await?;
                                self.link.conn.top_up(&binding);
                            }
                        }
                        Woken::Stopping => session.shut_down(),
                    }
                    if idle_turns > MAX_IDLE_TURNS {
                        return Err(End::Defect("a session waits for a time that has passed"));
                    }
                }
                Step::StartTls => {
                    self.flush().await?;
                    let facts = Box::pin(self.start_tls(handler, Tickets::Withheld)).await?;
                    session.tls_started(facts);
                }
                Step::Close => {
                    self.flush().await?;
                    let sending = handler.in_bulk();
                    return Box::pin(self.close(sending)).await;
                }
            }
        }
    }

    /// Waits for whatever comes first.
    async fn wait<S, H>(
        &mut self,
        session: &mut S,
        handler: &mut H,
        until: Option<Instant>,
    ) -> Result<Woken, End>
    where
        S: Session,
        H: Handler<S>,
    {
        self.out.rest();
        let pace = Arc::clone(&self.link.pace);
        let started = Instant::now();
        self.bulk = match (handler.in_bulk(), self.bulk.take()) {
            (false, _) => None,
            (true, Some(bulk)) => Some(bulk),
            (true, None) => Some(Bulk { waited: Duration::ZERO, bytes: 0 }),
        };
        let held_back = session.held_back();
        if held_back.is_some() {
            self.line_since = None;
        }
        let reads = !self.input_ended && held_back.is_none_or(|octets| octets < HELD_BACK_MAX);
        let too_slow_at = match (&self.bulk, self.line_since) {
            (Some(bulk), _) => Some(started + pace.bulk_window.saturating_sub(bulk.waited)),
            (None, Some(since)) => Some(since + pace.line),
            (None, None) => None,
        };
        let deadline = [until, too_slow_at].into_iter().flatten().min();

        let mut awake = self.awake;
        let mut news = pin!(handler.news());
        let mut look = |cx: &mut Context<'_>| {
            // Before what the peer says: news may be that it is not to be heard any more.
            if news.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Woken::News));
            }
            if reads
                && let Poll::Ready(read) =
                    self.link.conn.poll_receive(cx, &mut |bytes| session.receive(bytes))
            {
                return Poll::Ready(match read {
                    Ok(0) => Ok(Woken::InputEnded),
                    Ok(count) => Ok(Woken::Bytes(count)),
                    Err(error) => Err(End::Lost(error)),
                });
            }
            if let Err(end) = self.hear_stop(cx) {
                return Poll::Ready(Err(end));
            }
            if self.stopping == Stopping::Heard {
                self.stopping = Stopping::Told;
                return Poll::Ready(Ok(Woken::Stopping));
            }
            match deadline {
                Some(deadline) => self.poll_timer(deadline, cx).map(|()| Ok(Woken::Time)),
                None => Poll::Pending,
            }
        };
        let woken = match awake.look(&mut look).await {
            Poll::Ready(woken) => woken?,
            Poll::Pending => poll_fn(look).await?,
        };
        self.awake = awake;

        let now = Instant::now();
        match woken {
            Woken::Bytes(count) => {
                self.received += count as u64;
                self.awake.answered_in(now - started);
                tracing::trace!(target: "packetboat::transcript", connection = self.link.id, bytes = count, "received");
                self.line_since = self.line_since.or(Some(now));
                self.check_bulk(now - started, count, &pace)?;
            }
            Woken::InputEnded => self.input_ended = true,
            Woken::Time => {
                self.check_bulk(now - started, 0, &pace)?;
                if self.bulk.is_none() && too_slow_at.is_some_and(|at| at <= now) {
                    return Err(End::TooSlow("an unfinished line"));
                }
            }
            Woken::News | Woken::Stopping => {}
        }
        Ok(woken)
    }

    /// At the end of each window, looks whether it brought enough.
    fn check_bulk(&mut self, waited: Duration, count: usize, pace: &Pace) -> Result<(), End> {
        let Some(bulk) = &mut self.bulk else { return Ok(()) };
        bulk.waited += waited;
        bulk.bytes += count as u64;
        if bulk.waited >= pace.bulk_window {
            if bulk.bytes < pace.bulk_bytes {
                return Err(End::TooSlow("a message that trickles in"));
            }
            *bulk = Bulk { waited: Duration::ZERO, bytes: 0 };
        }
        Ok(())
    }

    /// Sends all that is pending.
    async fn flush(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        let len = self.out.len();
        let mut deadline = None;
        let sent = poll_fn(|cx| {
            loop {
                let step = match self.out.is_empty() {
                    true => self.link.conn.poll_flush(cx).map_ok(|()| true),
                    false => self.link.conn.poll_send(cx, &mut self.out).map_ok(|_| false),
                };
                match step {
                    Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(false)) => continue,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(End::Lost(error))),
                    Poll::Pending => {}
                }
                if let Err(end) = self.hear_stop(cx) {
                    return Poll::Ready(Err(end));
                }
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.link.pace.write);
                return self.poll_timer(deadline, cx).map(|()| Err(End::TooSlow("not reading")));
            }
        });
        sent.await?;
        self.sent += len as u64;
        tracing::trace!(target: "packetboat::transcript", connection = self.link.id, bytes = len, "sent");
        Ok(())
    }

    async fn start_tls<S, H>(&mut self, handler: &mut H, tickets: Tickets) -> Result<TlsFacts, End>
    where
        S: Session,
        H: Handler<S>,
    {
        let tickets = handler.binding().map_or(tickets, |TlsBinding(binding)| Tickets::Bound(binding));
        let Link { conn, tls, pace, shutdown, .. } = &mut self.link;
        let handshake = async {
            match tls {
                TlsRole::None => Err(io::Error::other("TLS is not configured here")),
                TlsRole::Server(certificates) => handshake::accept(conn, certificates, &tickets).await,
                TlsRole::Client(config, name) => {
                    handshake::connect(conn, Arc::clone(config), name.clone()).await
                }
            }
        };
        let facts = tokio::select! {
            result = tokio::time::timeout(pace.handshake, handshake) => match result {
                Ok(result) => result.map_err(End::TlsFailed)?,
                Err(_) => return Err(End::TooSlow("the TLS handshake")),
            },
            () = shutdown.clone().reached(Phase::Ending) => return Err(End::ServerStopped),
        };
        tracing::debug!(
            connection = self.link.id,
            version = facts.version,
            cipher = facts.cipher,
            server_name = facts.server_name,
            "TLS started"
        );
        if let Some(tls) = self.link.conn.tls() {
            handler.secured(tls);
        }
        self.tls = Some((facts.version, facts.cipher));
        self.line_since = None;
        Ok(facts)
    }

    /// Ends TLS and leaves the connection open. What the client has sent in the clear behind its farewell is returned; what
    /// it sent under TLS before it is forgotten.
    async fn leave_tls(&mut self) -> Result<Vec<u8>, End> {
        let Link { conn, pace, shutdown, .. } = &mut self.link;
        tokio::select! {
            left = tokio::time::timeout(pace.handshake, conn.leave_tls()) => match left {
                Ok(left) => left.map_err(End::Lost),
                Err(_) => Err(End::TooSlow("the end of TLS")),
            },
            () = shutdown.clone().reached(Phase::Ending) => Err(End::ServerStopped),
        }
    }

    /// Closes so that the last words arrive. Closing a socket that has unread input resets it, and a reset overtakes
    /// what was sent before; so a peer in the middle of sending is listened to for a moment longer.
    async fn close(&mut self, sending: bool) -> Result<End, End> {
        let conn = &mut self.link.conn;
        let goodbye = async {
            conn.close_notify();
            poll_fn(|cx| conn.poll_flush(cx)).await?;
            poll_fn(|cx| conn.poll_shutdown(cx)).await?;
            let unread = poll_fn(|cx| Poll::Ready(conn.poll_discard(cx))).await;
            let mut discarded = match unread {
                Poll::Ready(Ok(0)) => return Ok(()),
                Poll::Ready(count) => count?,
                Poll::Pending if sending => 0,
                Poll::Pending => return Ok(()),
            };
            while discarded < LINGER_BYTES {
                match poll_fn(|cx| conn.poll_discard(cx)).await? {
                    0 => break,
                    count => discarded += count,
                }
            }
            Ok::<(), io::Error>(())
        };
        // What fails from here on is the peer's haste: the session had closed.
        let _ = tokio::time::timeout(self.link.pace.linger, goodbye).await;
        Ok(if self.input_ended { End::PeerClosed } else { End::Closed })
    }

    /// Notes that the server is stopping; an error when its grace is over, or an administrator is without grace.
    fn hear_stop(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.cut.as_mut().poll(cx).is_ready() {
            self.cut.set(Arc::clone(&self.link.cut).notified_owned());
            return Err(End::Disconnected);
        }
        if self.stop.as_mut().poll(cx).is_pending() {
            return Ok(());
        }
        if self.stopping != Stopping::No {
            return Err(End::ServerStopped);
        }
        self.stopping = Stopping::Heard;
        self.stop = Box::pin(self.link.shutdown.clone().reached(Phase::Ending));
        match self.stop.as_mut().poll(cx) {
            Poll::Ready(()) => Err(End::ServerStopped),
            Poll::Pending => Ok(()),
        }
    }

    fn poll_timer(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}
