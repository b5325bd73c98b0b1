//! How connections end.

use std::io;
use std::time::Duration;

use crate::drive::Stop;

/// What became of a connection.
#[derive(Debug)]
pub struct Summary {
    /// How it ended.
    pub end: End,
    /// Bytes the peer sent, after decryption.
    pub received: u64,
    /// Bytes sent, before encryption.
    pub sent: u64,
    /// How long it lasted.
    pub lasted: Duration,
    /// TLS version and cipher suite, if there was TLS.
    pub tls: Option<(&'static str, &'static str)>,
}

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The session closed it, as conversations should end.
    #[error("closed")]
    Closed,
    /// The peer was gone before the session had closed.
    #[error("peer closed")]
    PeerClosed,
    /// The network failed, or the peer reset the connection.
    #[error("lost: {0}")]
    Lost(io::Error),
    /// The TLS handshake failed.
    #[error("TLS handshake failed: {0}")]
    TlsFailed(io::Error),
    /// The peer did not keep the pace.
    #[error("too slow: {0}")]
    TooSlow(&'static str),
    /// The handler cut it.
    #[error("stopped: {0}")]
    Stopped(#[from] Stop),
    /// The server's grace was over.
    #[error("server stopped")]
    ServerStopped,
    /// An administrator wanted it to end.
    #[error("disconnected by an administrator")]
    Disconnected,
    /// A defect in this program.
    #[error("internal error: {0}")]
    Defect(&'static str),
}

impl End {
    /// One word, for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            End::Closed => "closed",
            End::PeerClosed => "peer_closed",
            End::Lost(_) => "lost",
            End::TlsFailed(_) => "tls_failed",
            End::TooSlow(_) => "too_slow",
            End::Stopped(_) => "stopped",
            End::ServerStopped => "server_stopped",
            End::Disconnected => "disconnected",
            End::Defect(_) => "defect",
        }
    }
}
