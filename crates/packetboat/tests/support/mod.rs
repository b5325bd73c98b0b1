//! What the tests against the real binary share: a server of their own, foreign programs, and the plainest clients.

// Each test file is a program of its own and uses only a part of this.
#![allow(dead_code, unused_imports, unreachable_pub, clippy::unwrap_used, clippy::print_stderr)]

mod boat;
mod client;
mod demo;
mod depot;
mod dovecot;
mod foreign;
mod ftp;
mod imap;
mod letters;
mod raw_ftp;
mod sink;

pub use boat::{Boat, free_port, free_ports};
pub use client::{Pop3, deliver, smtp_dialogue};
pub use demo::Demo;
pub use depot::{Depot, blob};
pub use dovecot::Dovecot;
pub use foreign::{Foreign, Said, Terminal, foreign, program_path};
pub use ftp::{Ended, Ftp, reset};
pub use imap::{Answer, Imap, Value, values};
pub use letters::{AWKWARD, Letter, letter};
pub use raw_ftp::Raw;
pub use sink::{Act, Moment, Received, Sink, USUAL};
