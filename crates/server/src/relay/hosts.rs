//! What is remembered of other servers between connections: who could not be reached a moment ago, and how many
//! connections each has from us.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Addresses that are remembered at most.
const MEMORY: usize = 4096;

/// Addresses that did not answer a moment ago. Many domains share their mail hosts; each of them need not find out anew.
#[derive(Debug)]
pub(super) struct Unreachable {
    keep: Duration,
    until: Mutex<HashMap<SocketAddr, (Instant, String)>>,
}

impl Unreachable {
    /// Remembers each for so long.
    pub(super) fn new(keep: Duration) -> Unreachable {
        Unreachable { keep, until: Mutex::default() }
    }

    /// Why this address is not to be tried now, if it is not.
    pub(super) fn why(&self, address: SocketAddr, now: Instant) -> Option<String> {
        let until = self.until.lock();
        until.get(&address).filter(|(until, _)| *until > now).map(|(_, why)| why.clone())
    }

    /// Nobody answered there.
    pub(super) fn note(&self, address: SocketAddr, why: &str, now: Instant) {
        if self.keep.is_zero() {
            return;
        }
        let mut until = self.until.lock();
        if until.len() >= MEMORY {
            until.retain(|_, (until, _)| *until > now);
        }
        if until.len() < MEMORY {
            until.insert(address, (now + self.keep, why.to_owned()));
        }
    }

    /// Somebody did.
    pub(super) fn forget(&self, address: SocketAddr) {
        self.until.lock().remove(&address);
    }
}

/// Where this server takes mail from others.
#[derive(Debug, Default)]
pub(super) struct OwnAddresses(Vec<SocketAddr>);

impl OwnAddresses {
    /// These, of which an unspecified address stands for all of the machine.
    pub(super) fn new(listening: impl IntoIterator<Item = SocketAddr>) -> OwnAddresses {
        OwnAddresses(listening.into_iter().collect())
    }

    /// Whether a connection to there would come out here.
    pub(super) fn is(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.0.iter().any(|own| {
            own.port() == address.port()
                && (own.ip().to_canonical() == ip || (own.ip().is_unspecified() && is_of_this_machine(ip)))
        })
    }
}

/// Only an address of this machine can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// Connections that each host may have from us at a time, whichever domains they are for.
#[derive(Debug)]
pub(super) struct HostLimit {
    per_host: usize,
    hosts: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// A place among the connections to a host; given back when it is dropped.
#[derive(Debug)]
pub(super) struct HostPermit(#[allow(dead_code)] Option<OwnedSemaphorePermit>);

impl HostPermit {
    /// For what has no limit, such as a local socket.
    pub(super) fn unlimited() -> HostPermit {
        HostPermit(None)
    }
}

impl HostLimit {
    pub(super) fn new(per_host: usize) -> HostLimit {
        HostLimit { per_host, hosts: Mutex::default() }
    }

    /// Waits for a place.
    pub(super) async fn enter(&self, host: IpAddr) -> HostPermit {
        let places = {
            let mut hosts = self.hosts.lock();
            if hosts.len() >= MEMORY {
                // Whoever holds a place holds a clone.
                hosts.retain(|_, places| Arc::strong_count(places) > 1);
            }
            Arc::clone(hosts.entry(host).or_insert_with(|| Arc::new(Semaphore::new(self.per_host))))
        };
        // Never closed.
        HostPermit(places.acquire_owned().await.ok())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn who_does_not_answer_is_left_alone_for_a_while() {
        let hosts = Unreachable::new(Duration::from_secs(30));
        let (one, other) = ("192.0.2.1:25".parse().unwrap(), "192.0.2.1:26".parse().unwrap());
        let now = Instant::now();
        hosts.note(one, "refused", now);
        assert_eq!(hosts.why(one, now + Duration::from_secs(29)).as_deref(), Some("refused"));
        assert_eq!(hosts.why(other, now), None);
        assert_eq!(hosts.why(one, now + Duration::from_secs(30)), None);
        hosts.note(one, "refused", now);
        hosts.forget(one);
        assert_eq!(hosts.why(one, now), None);
        for port in 1..=(MEMORY as u16 + 100) {
            hosts.note(SocketAddr::from(([192, 0, 2, 2], port)), "refused", now);
        }
        assert_eq!(hosts.until.lock().len(), MEMORY);
        hosts.note(one, "refused", now + Duration::from_secs(31));
        assert_eq!(hosts.until.lock().len(), 1);
    }

    #[test]
    fn where_we_listen_ourselves() {
        let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
        for (listening, address, expected) in [
            ("0.0.0.0:25", "127.0.0.1:25", true),
            ("[::]:25", "127.0.0.1:25", true),
            ("[::]:25", "192.0.2.1:25", false),
            ("[::]:25", "127.0.0.1:26", false),
            ("127.0.0.2:25", "127.0.0.2:25", true),
            ("127.0.0.2:25", "[::ffff:127.0.0.2]:25", true),
            ("127.0.0.2:25", "127.0.0.1:25", false),
        ] {
            assert_eq!(OwnAddresses::new([at(listening)]).is(at(address)), expected, "{listening} {address}");
        }
    }

    #[tokio::test]
    async fn a_host_has_so_many_connections_and_no_more() {
        let limit = HostLimit::new(2);
        let (host, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let one = limit.enter(host).await;
        let _two = limit.enter(host).await;
        let _elsewhere = limit.enter(other).await;
        assert!(tokio::time::timeout(Duration::from_millis(10), limit.enter(host)).await.is_err());
        drop(one);
        limit.enter(host).await;
    }
}
