//! One port for the passive data connections of all sessions.
//!
//! A connection that comes is told apart by its address and, under TLS, by the session that it resumes. Where that is not
//! enough to know whose it is, one session after the other waits: a connection never goes to a session that it might not
//! be for.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::links::{EAR_PATIENCE, Owner, Owners, Place};
use super::stream::Line;
use crate::tls::{Certificates, TlsSessionId};

/// How long a session may have to stand in line until no other one could be meant.
const QUEUE_PATIENCE: Duration = Duration::from_secs(20);
/// For the handshake of a connection of which it is not known yet whose it is.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// When files have run out.
const PAUSE: Duration = Duration::from_millis(200);
const BACKLOG: i32 = 1024;

/// The port.
#[derive(Debug)]
pub struct OnePort {
    port: u16,
    certificates: Arc<Certificates>,
    desk: Arc<Desk>,
    /// Whether it listens yet: it begins with the first session that needs it.
    listening: tokio::sync::Mutex<bool>,
}

/// Who waits for a connection from where.
#[derive(Debug, Default)]
struct Desk {
    entries: Mutex<Entries>,
    owners: Arc<Owners>,
    /// Somebody has left.
    left: Notify,
}

#[derive(Debug, Default)]
struct Entries {
    by_address: HashMap<IpAddr, Vec<Entry>>,
    number: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    by: KnownBy,
    deliver: oneshot::Sender<Line>,
}

/// How a connection is known to be for a session, beside its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KnownBy {
    /// In the clear: by nothing.
    Nothing,
    /// Under TLS: by what it resumes.
    Tls {
        /// The TLS session of the control connection.
        session: Option<TlsSessionId>,
        owner: Owner,
        /// The client has shown, or has to show, that it resumes.
        certain: bool,
    },
}

impl KnownBy {
    /// Whether two sessions of one address may wait at the same time.
    fn is_distinct_from(&self, other: &KnownBy) -> bool {
        match (self, other) {
            (
                KnownBy::Tls { session: one, owner, certain },
                KnownBy::Tls { session: two, owner: other, certain: too },
            ) => (*certain || *too) && owner != other && one != two,
            // What is in the clear can look like anything, or say nothing at all.
            _ => false,
        }
    }

    /// Whether it can be a connection that resumes this TLS session, or none.
    fn fits(&self, came: Option<TlsSessionId>, owners: &Owners) -> bool {
        match (self, came) {
            (KnownBy::Nothing, _) => false,
            (KnownBy::Tls { certain, .. }, None) => !certain,
            (KnownBy::Tls { session, owner, .. }, Some(came)) => {
                *session == Some(came) || owners.has(came, owner)
            }
        }
    }
}

/// A session's wait for its connection. Dropped, it waits no more.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) line: oneshot::Receiver<Line>,
    pub(super) until: Instant,
    desk: Arc<Desk>,
    address: IpAddr,
    number: u64,
    _place: Place,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.desk.leave(self.address, self.number);
    }
}

impl OnePort {
    /// This port.
    pub fn new(port: u16, certificates: Arc<Certificates>, owners: Arc<Owners>) -> OnePort {
        let desk = Arc::new(Desk { owners, ..Desk::default() });
        OnePort { port, certificates, desk, listening: tokio::sync::Mutex::default() }
    }

    /// Its number.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for a connection from an address. If it could not be told from another one's that waits too, that one's comes
    /// first.
    pub(super) async fn expect(&self, client: IpAddr, by: KnownBy, place: Place) -> io::Result<Expected> {
        self.listen().await?;
        let address = client.to_canonical();
        let deadline = Instant::now() + QUEUE_PATIENCE;
        loop {
            let mut left = std::pin::pin!(self.desk.left.notified());
            left.as_mut().enable();
            if let Some((number, line)) = self.desk.enter(address, &by) {
                let (until, desk) = (Instant::now() + EAR_PATIENCE, Arc::clone(&self.desk));
                return Ok(Expected { line, until, desk, address, number, _place: place });
            }
            if tokio::time::timeout_at(deadline, left).await.is_err() {
                return Err(io::Error::other("another session of this address waits at the port"));
            }
        }
    }

    async fn listen(&self) -> io::Result<()> {
        let mut listening = self.listening.lock().await;
        if *listening {
            return Ok(());
        }
        let four = bind((Ipv4Addr::UNSPECIFIED, self.port).into())?;
        // A machine may have no IPv6.
        let six = bind((Ipv6Addr::UNSPECIFIED, self.port).into()).ok();
        for listener in [Some(four), six].into_iter().flatten() {
            tokio::spawn(serve(listener, Arc::clone(&self.desk), Arc::clone(&self.certificates)));
        }
        *listening = true;
        Ok(())
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

async fn serve(listener: TcpListener, desk: Arc<Desk>, certificates: Arc<Certificates>) {
    loop {
        let (socket, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a data connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        match desk.knock(from.ip()) {
            Knock::Stranger => {
                tracing::warn!(%from, "data connection refused: nobody waits for this address")
            }
            Knock::Clear(deliver) => {
                if let Ok(socket) = socket.into_std() {
                    let _ = deliver.send(Line::clear(socket));
                }
            }
            Knock::Tls => {
                tokio::spawn(introduce(socket, from, Arc::clone(&desk), Arc::clone(&certificates)));
            }
        }
    }
}

/// Finds out by the handshake whose a connection is.
async fn introduce(socket: TcpStream, from: SocketAddr, desk: Arc<Desk>, certificates: Arc<Certificates>) {
    match tokio::time::timeout(HANDSHAKE, Line::secure(socket, &certificates)).await {
        Ok(Ok(line)) => {
            let session = line.session;
            match desk.whose(from.ip(), session) {
                Some(deliver) => {
                    let _ = deliver.send(line);
                }
                None => {
                    let reason = if session.is_some() {
                        "the session whose TLS it resumes does not wait"
                    } else {
                        "it resumes no TLS session, and nobody waits who could be meant"
                    };
                    tracing::warn!(%from, reason, "data connection refused");
                }
            }
        }
        Ok(Err(error)) => tracing::info!(%from, %error, "TLS failed on a data connection"),
        Err(_) => tracing::info!(%from, "TLS took too long on a data connection"),
    }
}

enum Knock {
    Stranger,
    Clear(oneshot::Sender<Line>),
    Tls,
}

impl Desk {
    fn enter(&self, address: IpAddr, by: &KnownBy) -> Option<(u64, oneshot::Receiver<Line>)> {
        let mut entries = self.entries.lock();
        let here = entries.by_address.get(&address);
        if here.is_some_and(|here| !here.iter().all(|entry| entry.by.is_distinct_from(by))) {
            return None;
        }
        entries.number += 1;
        let number = entries.number;
        let (deliver, line) = oneshot::channel();
        entries.by_address.entry(address).or_default().push(Entry { number, by: by.clone(), deliver });
        Some((number, line))
    }

    fn leave(&self, address: IpAddr, number: u64) {
        self.take(address, |entry| entry.number == number);
    }

    fn take(&self, address: IpAddr, which: impl Fn(&Entry) -> bool) -> Option<oneshot::Sender<Line>> {
        let mut entries = self.entries.lock();
        let here = entries.by_address.get_mut(&address)?;
        let place = here.iter().position(which)?;
        let entry = here.swap_remove(place);
        if here.is_empty() {
            entries.by_address.remove(&address);
        }
        drop(entries);
        self.left.notify_waiters();
        Some(entry.deliver)
    }

    /// A connection came from here.
    fn knock(&self, from: IpAddr) -> Knock {
        let address = from.to_canonical();
        if let Some(deliver) = self.take(address, |entry| entry.by == KnownBy::Nothing) {
            return Knock::Clear(deliver);
        }
        match self.entries.lock().by_address.contains_key(&address) {
            true => Knock::Tls,
            false => Knock::Stranger,
        }
    }

    /// Which session a connection is for, that resumes this TLS session or none.
    fn whose(&self, from: IpAddr, session: Option<TlsSessionId>) -> Option<oneshot::Sender<Line>> {
        let address = from.to_canonical();
        let number = {
            let entries = self.entries.lock();
            let fitting = entries.by_address.get(&address).into_iter().flatten();
            let fitting: Vec<&Entry> = fitting.filter(|entry| entry.by.fits(session, &self.owners)).collect();
            let exact = fitting.iter().find(|entry| {
                matches!(&entry.by, KnownBy::Tls { session: own, .. } if session.is_some() && *own == session)
            });
            match (exact, &fitting[..]) {
                (Some(exact), _) => exact.number,
                (None, [only]) => only.number,
                // Nobody, or nobody knows.
                _ => return None,
            }
        };
        self.take(address, |entry| entry.number == number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn known(session: u8, login: &str, certain: bool) -> KnownBy {
        let owner = Owner::new(login, HERE);
        KnownBy::Tls { session: Some(TlsSessionId::of(session)), owner, certain }
    }

    /// Whom of those that wait a connection reaches; the number is the place in the list.
    fn reached(waiting: &[KnownBy], came: Option<u8>) -> Option<usize> {
        let desk = Desk::default();
        // Alice has a third connection, which does not wait.
        let _third = desk.owners.register(TlsSessionId::of(9), Owner::new("alice", HERE));
        let mut lines: Vec<_> = waiting.iter().map(|by| desk.enter(HERE, by).unwrap().1).collect();
        drop(desk.whose(HERE, came.map(TlsSessionId::of))?);
        lines.iter_mut().position(|line| matches!(line.try_recv(), Err(oneshot::error::TryRecvError::Closed)))
    }

    #[test]
    fn a_connection_reaches_the_session_it_resumes_and_no_other() {
        let certain = [known(1, "alice", true), known(2, "bob", true)];
        assert_eq!(reached(&certain, Some(1)), Some(0));
        assert_eq!(reached(&certain, Some(2)), Some(1));
        assert_eq!(reached(&certain, Some(9)), Some(0));
        assert_eq!(reached(&certain, Some(3)), None);
        assert_eq!(reached(&certain, None), None);
        let mixed = [known(1, "alice", true), known(2, "bob", false)];
        assert_eq!(reached(&mixed, None), Some(1));
        assert_eq!(reached(&mixed, Some(1)), Some(0));
        assert_eq!(reached(&mixed, Some(2)), Some(1));
        // A name that nobody bears is not taken for none.
        assert_eq!(reached(&mixed, Some(3)), None);
    }

    #[test]
    fn who_cannot_be_told_apart_waits_one_after_the_other() {
        for (first, second, together) in [
            (KnownBy::Nothing, KnownBy::Nothing, false),
            (KnownBy::Nothing, known(1, "alice", true), false),
            (known(1, "alice", true), KnownBy::Nothing, false),
            (known(1, "alice", true), known(1, "bob", true), false),
            (known(1, "alice", true), known(2, "alice", true), false),
            (known(1, "alice", true), known(2, "bob", true), true),
            (known(1, "alice", false), known(2, "bob", false), false),
            (known(1, "alice", false), known(2, "bob", true), true),
        ] {
            let desk = Desk::default();
            let (number, _line) = desk.enter(HERE, &first).unwrap();
            assert_eq!(desk.enter(HERE, &second).is_some(), together, "{first:?} {second:?}");
            // Another address is another matter, and who leaves makes room.
            assert!(desk.enter(Ipv6Addr::LOCALHOST.into(), &second).is_some());
            if !together {
                desk.leave(HERE, number);
                assert!(desk.enter(HERE, &second).is_some());
            }
        }
    }

    #[test]
    fn strangers_and_what_is_in_the_clear() {
        let desk = Desk::default();
        assert!(matches!(desk.knock(HERE), Knock::Stranger));
        let (_, _line) = desk.enter(HERE, &KnownBy::Nothing).unwrap();
        assert!(matches!(desk.knock(Ipv6Addr::LOCALHOST.into()), Knock::Stranger));
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        assert!(matches!(desk.knock(mapped.into()), Knock::Clear(_)));
        // One connection for one wait.
        assert!(matches!(desk.knock(HERE), Knock::Stranger));
        assert!(desk.entries.lock().by_address.is_empty());
    }
}
