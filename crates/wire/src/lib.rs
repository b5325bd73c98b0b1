//! The ground every conversation stands on.
//!
//! A protocol crate is a pure machine: bytes and time go in, [`Step`]s come out. This crate holds what those machines
//! share: the [`Session`] contract, bounded lines ([`Input`]), three-digit replies ([`Reply`]), dot-stuffing ([`DotReader`], [`Stuffer`]), SASL
//! exchanges as steps ([`sasl`]), and [`Secret`].
//!
//! It knows no protocol's verbs, no sockets, no TLS, no clock and no randomness it was not handed.

mod dot;
mod line;
pub mod reply;
pub mod sasl;
mod secret;
mod session;
mod telnet;
#[cfg(any(test, feature = "transcript"))]
pub mod transcript;

pub use dot::{Defects, DotReader, DotStep, Endings, Stuffer};
pub use line::{Input, LineEnding, LineError};
pub use reply::{EnhancedCode, Reply, ReplyClass, ReplyError, ReplyLimits, ReplyParser, ReplyStyle};
pub use secret::{Secret, constant_time_eq};
pub use session::{ChannelBinding, Session, Step, TlsFacts};
pub use telnet::{TELNET_INTERRUPT, Telnet, telnet_escape};
