//! The contract between a conversation and the outside world.

use std::time::Instant;

use bytes::Bytes;

/// One side of one conversation, without I/O.
///
/// The driver calls [`next`](Session::next) until it answers [`Step::Wait`]; only then does it read from the peer and
/// hand the bytes to [`receive`](Session::receive). A session therefore never has to buffer more than what one read
/// brings plus what it has not consumed yet.
///
/// An event that asks something (a recipient, a login) stops the session until a method of the concrete session
/// type answers it: `next` must not be called with a question open. Pipelined commands simply wait in the input
/// buffer, so pipelining is safe by construction.
pub trait Session {
    /// What the session tells or asks its owner.
    type Event;

    /// Takes bytes the peer sent.
    fn receive(&mut self, bytes: &[u8]);

    /// While something runs that commands have to wait for: octets of what waits, or might. Then nobody is slow whose
    /// commands are not answered, and when it is much, no more is read. `None`: what comes is acted on as it comes.
    fn held_back(&self) -> Option<usize> {
        None
    }

    /// The peer has closed its sending side; no more bytes will come.
    fn end_of_input(&mut self);

    /// The handshake asked for by [`Step::StartTls`] is complete. Everything received before it has been forgotten
    /// (RFC 3207 section 4.2, RFC 2595 section 4): the session clears its input buffer and what it knew of the peer.
    fn tls_started(&mut self, tls: TlsFacts);

    /// The server is stopping: finish or refuse the work in hand, say goodbye at the next command boundary, close.
    fn shut_down(&mut self);

    /// The time for finishing is over: says last words, whatever is under way, and closes. False if the protocol has
    /// none that the peer would understand now; then the connection is cut without.
    fn cut_short(&mut self) -> bool {
        false
    }

    /// The next thing to do. `now` never goes backwards.
    fn next(&mut self, now: Instant) -> Step<Self::Event>;
}

/// What the driver of a session has to do next.
#[derive(Debug)]
#[must_use = "a step that is not carried out stalls or corrupts the conversation"]
pub enum Step<E> {
    /// Send these bytes. The driver may gather several before writing.
    Send(Bytes),
    /// Send all that is pending, forget what was read, and do the TLS handshake, in the role of this side.
    StartTls,
    /// Tell the owner; if the event is a question, answer it before the next call of `next`.
    Event(E),
    /// Send all that is pending, then wait for bytes. Call `next` again when some came or `until` has passed.
    Wait {
        /// When the session wants to be asked again although nothing came.
        until: Option<Instant>,
    },
    /// Send all that is pending and close the connection.
    Close,
}

impl<E> Step<E> {
    /// The same step, with another event in it.
    pub fn map<F>(self, event: impl FnOnce(E) -> F) -> Step<F> {
        match self {
            Step::Send(bytes) => Step::Send(bytes),
            Step::StartTls => Step::StartTls,
            Step::Event(said) => Step::Event(event(said)),
            Step::Wait { until } => Step::Wait { until },
            Step::Close => Step::Close,
        }
    }
}

/// What a session may know of the TLS connection it runs in.
#[derive(Debug, Clone, Default)]
pub struct TlsFacts {
    /// Protocol version as logs show it, such as `TLSv1.3`.
    pub version: &'static str,
    /// Cipher suite as logs show it, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
    /// The name the client asked for (RFC 6066 SNI).
    pub server_name: Option<String>,
    /// For SCRAM-*-PLUS: each kind the driver can provide, the preferred one first.
    pub bindings: Vec<ChannelBinding>,
}

/// Channel binding data (RFC 5056) of the TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelBinding {
    /// `tls-exporter`, RFC 9266: the one for TLS 1.3.
    TlsExporter(Vec<u8>),
    /// `tls-server-end-point`, RFC 5929 section 4: a hash of the server's certificate.
    TlsServerEndPoint(Vec<u8>),
}

impl ChannelBinding {
    /// The registered name, as it stands in a SCRAM gs2 header (`p=tls-exporter`).
    pub fn name(&self) -> &'static str {
        match self {
            ChannelBinding::TlsExporter(_) => "tls-exporter",
            ChannelBinding::TlsServerEndPoint(_) => "tls-server-end-point",
        }
    }

    /// The binding data.
    pub fn data(&self) -> &[u8] {
        match self {
            ChannelBinding::TlsExporter(data) | ChannelBinding::TlsServerEndPoint(data) => data,
        }
    }
}
