//! How many connections may stand at a time: in all, from one address, and before a login.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ipnet::IpNet;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::settings::Limits;

/// Leading bits of an IPv6 address that stand for one peer: the least a subscriber has.
const IPV6_PREFIX: u8 = 64;

/// Why a connection is not served. The protocol says it in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Too many connections in all.
    TooMany,
    /// Too many from this address.
    TooManyFromAddress,
    /// Too many that have not logged in.
    TooManyBeforeLogin,
}

impl Refusal {
    /// A word for logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Refusal::TooMany => "too_many",
            Refusal::TooManyFromAddress => "too_many_from_address",
            Refusal::TooManyBeforeLogin => "too_many_before_login",
        }
    }
}

/// The limits, as they are now.
#[derive(Debug, Clone)]
struct Rules {
    total: u32,
    per_address: u32,
    before_login: u32,
    trusted: Vec<IpNet>,
}

/// Counts the connections that stand.
#[derive(Debug)]
pub struct Admissions {
    rules: RwLock<Rules>,
    total: AtomicU32,
    before_login: AtomicU32,
    per_address: Mutex<HashMap<IpAddr, u32>>,
    /// Told when the last connection is gone.
    empty: Notify,
}

/// A connection's place. Given back when it is dropped.
#[derive(Debug)]
pub struct Admission {
    admissions: Arc<Admissions>,
    /// Whose count this is; none for local sockets and trusted networks.
    address: Option<IpAddr>,
    before_login: AtomicBool,
}

impl Admissions {
    /// Nobody is here yet.
    pub fn new(limits: &Limits) -> Arc<Admissions> {
        Arc::new(Admissions {
            rules: RwLock::new(Rules::from(limits)),
            total: AtomicU32::new(0),
            before_login: AtomicU32::new(0),
            per_address: Mutex::new(HashMap::new()),
            empty: Notify::new(),
        })
    }

    /// From now on, these limits. Who is in stays in.
    pub fn set_limits(&self, limits: &Limits) {
        *self.rules.write() = Rules::from(limits);
    }

    /// Connections that stand.
    pub fn open(&self) -> u32 {
        self.total.load(Ordering::Relaxed)
    }

    /// Connections that could log in and have not.
    pub fn open_before_login(&self) -> u32 {
        self.before_login.load(Ordering::Relaxed)
    }

    /// Returns when no connection stands.
    pub async fn until_empty(&self) {
        loop {
            let told = self.empty.notified();
            if self.open() == 0 {
                return;
            }
            told.await;
        }
    }

    /// Lets a connection in, or says why not. `address` is none for local sockets; `may_log_in` says whether the
    /// service has a login that is not done yet.
    pub fn admit(self: &Arc<Self>, address: Option<IpAddr>, may_log_in: bool) -> Result<Admission, Refusal> {
        let rules = self.rules.read();
        let address = address.filter(|address| !rules.trusted.iter().any(|net| net.contains(address)));
        if !enter(&self.total, rules.total) {
            return Err(Refusal::TooMany);
        }
        // From here on, dropping the admission takes back what was counted.
        let mut admission =
            Admission { admissions: Arc::clone(self), address: None, before_login: AtomicBool::new(false) };
        if may_log_in {
            if !enter(&self.before_login, rules.before_login) {
                return Err(Refusal::TooManyBeforeLogin);
            }
            admission.before_login = AtomicBool::new(true);
        }
        if let Some(address) = address.map(peer_of) {
            let mut counts = self.per_address.lock();
            let count = counts.entry(address).or_insert(0);
            if *count >= rules.per_address {
                drop(counts);
                return Err(Refusal::TooManyFromAddress);
            }
            *count += 1;
            drop(counts);
            admission.address = Some(address);
        }
        Ok(admission)
    }
}

impl Admission {
    /// The peer has logged in and no longer counts among those that have not.
    pub fn logged_in(&self) {
        if self.before_login.swap(false, Ordering::Relaxed) {
            self.admissions.before_login.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.logged_in();
        if let Some(address) = self.address
            && let Entry::Occupied(mut count) = self.admissions.per_address.lock().entry(address)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        if self.admissions.total.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.admissions.empty.notify_waiters();
        }
    }
}

impl From<&Limits> for Rules {
    fn from(limits: &Limits) -> Rules {
        Rules {
            total: limits.connections,
            per_address: limits.connections_per_address,
            before_login: limits.connections_before_login,
            trusted: limits.trusted_networks.clone(),
        }
    }
}

/// Counts one more, if there is room.
fn enter(count: &AtomicU32, limit: u32) -> bool {
    let more = |count| (count < limit).then_some(count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

/// Whose connections count together: those from an IPv4 address, or an IPv6 network.
pub(crate) fn peer_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        // 64 is a valid prefix length, so this is always the network.
        IpAddr::V6(_) => IpNet::new(address, IPV6_PREFIX).map_or(address, |net| net.network()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn counts_and_gives_back() {
        let limits = Limits {
            connections: 4,
            connections_per_address: 2,
            connections_before_login: 3,
            trusted_networks: vec!["10.0.0.0/8".parse().unwrap()],
            ..Limits::default()
        };
        let admissions = Admissions::new(&limits);
        let one = admissions.admit(ip("192.0.2.1"), true).unwrap();
        let two = admissions.admit(ip("192.0.2.1"), true).unwrap();
        assert_eq!(admissions.admit(ip("192.0.2.1"), true).unwrap_err(), Refusal::TooManyFromAddress);
        assert_eq!((admissions.open(), admissions.open_before_login()), (2, 2));

        let three = admissions.admit(ip("2001:db8::1"), true).unwrap();
        assert_eq!(admissions.admit(ip("192.0.2.2"), true).unwrap_err(), Refusal::TooManyBeforeLogin);
        one.logged_in();
        one.logged_in();
        assert_eq!(admissions.open_before_login(), 2);
        let four = admissions.admit(ip("2001:db8::ffff"), true).unwrap();
        assert_eq!(admissions.admit(ip("192.0.2.3"), false).unwrap_err(), Refusal::TooMany);

        drop(four);
        let five = admissions.admit(ip("2001:db8:0:0:5::"), false).unwrap();
        drop((one, two, three, five));
        assert_eq!((admissions.open(), admissions.open_before_login()), (0, 0));
        assert!(admissions.per_address.lock().is_empty());

        let held: Vec<_> = (0..4).map(|_| admissions.admit(ip("10.1.2.3"), false).unwrap()).collect();
        assert_eq!(held.len(), 4);
        admissions.set_limits(&Limits { connections: 5, ..limits });
        assert!(admissions.admit(None, false).is_ok());
    }

    #[tokio::test]
    async fn tells_when_the_last_is_gone() {
        let admissions = Admissions::new(&Limits::default());
        admissions.until_empty().await;
        let one = admissions.admit(None, false).unwrap();
        let waiting = tokio::spawn({
            let admissions = Arc::clone(&admissions);
            async move { admissions.until_empty().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(one);
        waiting.await.unwrap();
    }
}
