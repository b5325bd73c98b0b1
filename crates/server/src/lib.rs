//! The program around the conversations: settings, listeners, TLS, limits, metrics, and one thin file per protocol.
//!
//! Decisions do not live here. A session file carries an event of a conversation to the post office or the account
//! that decides, and carries the verdict back.

pub mod accounts;
pub mod admin;
pub mod app;
mod awake;
pub mod conn;
pub mod demo;
pub mod dns;
pub mod drive;
mod end;
pub mod files;
pub mod limits;
pub mod listen;
pub mod local;
pub mod log;
pub mod metrics;
mod outbox;
mod pace;
pub mod peers;
pub mod presence;
pub mod privilege;
pub mod relay;
pub mod secure;
pub mod server;
pub mod session;
pub mod settings;
pub mod shutdown;
pub mod status;
mod stun;
pub mod systemd;
pub mod tls;
pub mod trace;
pub mod upkeep;

pub use packetboat_message::{Address, Domain};
