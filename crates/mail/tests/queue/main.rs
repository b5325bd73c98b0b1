//! The queue over a real store, with a clock of its own and other servers that are a few lines of Rust.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod admin;
mod carrying;
mod chaos;
mod notices;
mod support;
