//! What systemd wants to hear, and the sockets it passes. Without systemd, nothing here does anything.

use std::env;
use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::time::Duration;

/// What happens to the server, sd_notify(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// All sockets are open and served.
    Ready,
    /// The settings are being read again; `Ready` follows.
    Reloading,
    /// The end has begun.
    Stopping,
    /// The event loop turns.
    Alive,
}

/// Tells systemd, if it asked to be told.
pub fn notify(notice: Notice) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    let text = match notice {
        Notice::Ready => "READY=1\nSTATUS=Serving".to_owned(),
        Notice::Reloading => {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
            format!("RELOADING=1\nMONOTONIC_USEC={micros}")
        }
        Notice::Stopping => "STOPPING=1\nSTATUS=Stopping".to_owned(),
        Notice::Alive => "WATCHDOG=1".to_owned(),
    };
    if let Err(error) = send(path.as_bytes(), text.as_bytes()) {
        tracing::debug!(%error, "cannot reach systemd");
    }
}

fn send(path: &[u8], text: &[u8]) -> io::Result<()> {
    let address = match path.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(text, &address).map(drop)
}

/// How often systemd wants to hear that we are alive; twice as often as it would lose patience.
pub fn watchdog_interval() -> Option<Duration> {
    let ours = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
    let micros: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (ours && micros > 0).then(|| Duration::from_micros(micros / 2))
}

/// A socket passed by systemd.
#[derive(Debug)]
pub enum Passed {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A local stream socket.
    Unix(UnixListener),
}

/// Takes the sockets systemd passes, with their names (`FileDescriptorName=`; the unit's name where that is missing).
/// To be called once, before other files are opened by number.
pub fn passed_sockets() -> io::Result<Vec<(String, Passed)>> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        let name = names.next().unwrap_or_default();
        let name = name.strip_suffix(".socket").unwrap_or(name).to_owned();
        // A wrong kind stays in its place, so asking for the other kind is the way to find out which it is.
        let socket = match passed.take_tcp_listener(index) {
            Ok(Some(listener)) => Passed::Tcp(listener),
            _ => match passed.take_unix_listener(index)? {
                Some(listener) => Passed::Unix(listener),
                None => continue,
            },
        };
        sockets.push((name, socket));
    }
    Ok(sockets)
}
