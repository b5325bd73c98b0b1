//! The ground every conversation stands on.
//!
//! A protocol crate is a pure machine: bytes and time go in, [`Step`]s come out. This crate holds what those machines
//! share: the [`Session`] contract, bounded lines, three-digit replies, dot-stuffing, SASL exchanges as steps, and
//! [`Secret`].
//!
//! It knows no protocol's verbs, no sockets, no TLS, no clock and no randomness it was not handed.

mod session;

pub use session::{ChannelBinding, Session, Step, TlsFacts};
