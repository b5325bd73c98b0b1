//! TLS connections that belong together: the control connection of an FTP session and its data connections.
//!
//! A data connection that resumes the TLS session of the control connection comes from the same client: nobody else has
//! the secrets. So that it can be told whose it is, what a client is given to resume with holds the name of its session, in
//! a ticket (RFC 5077, RFC 8446 section 4.6.1) or, for clients of TLS 1.2 that know no tickets, in a row of ours.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ProducesTickets, StoresServerSessions};
use rustls::{Connection, HandshakeKind};

use super::fresh::Mint;

/// Tickets that a client of TLS 1.3 is sent behind the handshake. It may use each of them once, and two is what most
/// programs expect; fresh ones follow when they are used.
const TICKETS: usize = 2;

/// The name of a TLS session and of all that resume it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TlsSessionId([u8; TlsSessionId::OCTETS]);

impl TlsSessionId {
    const OCTETS: usize = 16;

    fn fresh() -> TlsSessionId {
        TlsSessionId(crate::session::random())
    }

    /// One for tests.
    #[cfg(test)]
    pub(crate) fn of(number: u8) -> TlsSessionId {
        TlsSessionId([number; TlsSessionId::OCTETS])
    }

    /// Takes the name off what was put before the secrets.
    fn split(octets: &[u8]) -> Option<(TlsSessionId, &[u8])> {
        octets.split_first_chunk().map(|(id, rest)| (TlsSessionId(*id), rest))
    }

    fn before(self, octets: &[u8]) -> Vec<u8> {
        [&self.0, octets].concat()
    }
}

/// What the bindings of all sessions share: the key of their tickets, which no other protocol has, and the sessions of
/// clients that know no tickets.
pub(crate) struct Bindings {
    tickets: Arc<dyn ProducesTickets>,
    /// One at most for each control connection that stands.
    rows: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
}

impl Bindings {
    pub(crate) fn new(tickets: Arc<dyn ProducesTickets>) -> Bindings {
        Bindings { tickets, rows: Mutex::default() }
    }
}

impl fmt::Debug for Bindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bindings").finish_non_exhaustive()
    }
}

/// Which of the two a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    Control,
    Data,
}

/// What binds one TLS connection to others: rustls asks it for tickets, and it sees what the client resumes.
pub(crate) struct Binding {
    shared: Arc<Bindings>,
    channel: Channel,
    state: Mutex<State>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

#[derive(Default)]
struct State {
    /// What is resumed, if the handshake succeeds.
    resumed: Option<TlsSessionId>,
    /// The first message of the client has been answered: what is sent from now on bears this name.
    settled: Option<Option<TlsSessionId>>,
    /// The key of our row.
    row: Option<Vec<u8>>,
    /// What more tickets are made of.
    mint: Option<Arc<Mint>>,
}

impl Binding {
    /// For one connection. `verifier`: whose certificates are asked for.
    pub(crate) fn new(
        shared: Arc<Bindings>,
        channel: Channel,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Arc<Binding> {
        Arc::new(Binding { shared, channel, state: Mutex::default(), verifier })
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel
    }

    pub(super) fn verifier(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        self.verifier.clone()
    }

    /// How many tickets are sent behind the handshake. None on data connections: a client that only writes never reads
    /// them, and when it closes, its system resets the connection because of them, and what it wrote last is lost.
    pub(super) fn tickets(&self) -> usize {
        if self.channel == Channel::Control { TICKETS } else { 0 }
    }

    /// The protocols that are understood (RFC 7301). A client that offers only others has been led here by somebody who
    /// lies in between (ALPACA), and is refused; one that offers none is an ordinary one.
    pub(super) fn protocols(&self) -> Vec<Vec<u8>> {
        match self.channel {
            Channel::Control => vec![b"ftp".to_vec()],
            // FileZilla has a name of its own for them.
            Channel::Data => vec![b"ftp".to_vec(), b"ftp-data".to_vec()],
        }
    }

    /// The client's first message has been answered, before anything that it can resume with was made. In TLS 1.2 a
    /// session that is resumed got a new ticket already, under the old name.
    pub(super) fn settle(&self, kind: Option<HandshakeKind>) {
        let mut state = self.state.lock();
        let inherited = state.resumed.filter(|_| kind == Some(HandshakeKind::Resumed));
        // A client that comes again with the session of another control connection may use either one's tickets for either
        // one's data connections: they are one session then. It has to have been resumed in earnest, for tickets can be seen
        // on the line by those who lack their secrets.
        state.settled = Some(match self.channel {
            Channel::Control => inherited.or_else(|| Some(TlsSessionId::fresh())),
            Channel::Data => inherited,
        });
    }

    /// The name of the session, when the handshake is complete. `None`: a data connection that resumes nothing.
    pub(crate) fn session(&self, kind: Option<HandshakeKind>) -> Option<TlsSessionId> {
        let state = self.state.lock();
        match self.channel {
            Channel::Control => state.settled.flatten(),
            // After a HelloRetryRequest the ticket comes with the second message.
            Channel::Data => state.resumed.filter(|_| kind == Some(HandshakeKind::Resumed)),
        }
    }

    /// Sends one more ticket over a control connection, whose client may have used those that it had. `false`: not now, or
    /// in this version of TLS, where a ticket serves again and again.
    pub(crate) fn top_up(&self, tls: &mut Connection) -> bool {
        let mint = self.state.lock().mint.clone();
        mint.is_some_and(|mint| mint.send(tls, self))
    }

    fn name(&self) -> Option<TlsSessionId> {
        let state = self.state.lock();
        state.settled.unwrap_or(state.resumed)
    }

    fn found(&self, octets: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = TlsSessionId::split(octets)?;
        self.state.lock().resumed = Some(id);
        Some(rest.to_vec())
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        if let Some(row) = self.state.get_mut().row.take() {
            self.shared.rows.lock().remove(&row);
        }
    }
}

impl ProducesTickets for Binding {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.shared.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if self.channel == Channel::Control
            && let Some(mint) = Mint::of(plain)
        {
            self.state.lock().mint = Some(Arc::new(mint));
        }
        // A data connection that resumes nothing gets nothing: its ticket would bind to nothing.
        self.shared.tickets.encrypt(&self.name()?.before(plain))
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.found(&self.shared.tickets.decrypt(cipher)?)
    }
}

impl StoresServerSessions for Binding {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let (Channel::Control, Some(name)) = (self.channel, self.name()) else { return false };
        let mut state = self.state.lock();
        let mut rows = self.shared.rows.lock();
        if let Some(old) = state.row.replace(key.clone()) {
            rows.remove(&old);
        }
        rows.insert(key, name.before(&value));
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let row = self.shared.rows.lock().get(key).cloned();
        self.found(&row?)
    }

    fn take(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn can_cache(&self) -> bool {
        self.channel == Channel::Control
    }
}
