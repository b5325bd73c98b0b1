//! Hosts, their network, and the servers of others on them.

#![allow(dead_code, unused_imports, unreachable_pub, clippy::unwrap_used, clippy::print_stderr)]

pub mod boat;
pub mod dns;
pub mod exim;
pub mod mounts;
pub mod net;
pub mod nsd;
pub mod postfix;

use std::time::{Duration, Instant};

/// Mail on its way needs a moment; so do servers that start.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something is so.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}
