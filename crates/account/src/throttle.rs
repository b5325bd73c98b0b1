//! How often a password may be guessed.
//!
//! Three things are counted, all of them bounded in number and forgotten after a while:
//!
//! - failures from a **network** (an IPv4 address, an IPv6 /64): after some free ones the next tries wait, each twice as
//!   long as the one before, and in the end the network is banned for a while;
//! - failures on an **account**, from wherever: tries wait in the same way, but an account is never banned, or anybody
//!   could lock its owner out;
//! - failures of one network on one account, a **pair**. A pair that has logged in before is a friend: it is judged by
//!   its own failures only, so neither a guessing botnet nor a neighbour behind the same address disturbs somebody's
//!   own mail program. A success takes back the failures of its own pair and no others: an account of one's own is no
//!   help in guessing somebody else's password.
//!
//! A trusted network, such as that of a webmail program, is never counted and never banned, but tries on an account from
//! there wait like all others: whoever guesses through the webmail program comes from there too.
//!
//! A wait is a place in a queue: two tries at once on one account wait one after the other, so opening many connections
//! does not make guessing faster.
//!
//! Time is an argument, nothing here sleeps.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::bounded::Bounded;

/// What the throttle goes by.
#[derive(Debug, Clone)]
pub struct ThrottleRules {
    /// Failures that cost nothing: people mistype.
    pub free_failures: u32,
    /// The first wait; each further failure doubles it.
    pub first_delay: Duration,
    /// Where the doubling ends.
    pub longest_delay: Duration,
    /// A network with this many failures is banned.
    pub ban_after: u32,
    /// For how long.
    pub ban_for: Duration,
    /// Without a failure for so long, the earlier ones are forgotten.
    pub forget_after: Duration,
    /// How long after its last log-in a pair stays a friend.
    pub friend_for: Duration,
    /// Leading bits of an IPv4 address that name a network.
    pub ipv4_prefix: u8,
    /// Leading bits of an IPv6 address that name a network; a subscriber has at least a /64 of them.
    pub ipv6_prefix: u8,
    /// Networks that are never banned: many people come from there, or nobody else can.
    pub trusted: Vec<IpNet>,
    /// Networks, accounts and pairs remembered at most, about 120 octets each. The longest untouched go first.
    pub max_entries: usize,
}

impl Default for ThrottleRules {
    fn default() -> ThrottleRules {
        ThrottleRules {
            free_failures: 3,
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(16),
            ban_after: 20,
            ban_for: Duration::from_secs(15 * 60),
            forget_after: Duration::from_secs(60 * 60),
            friend_for: Duration::from_secs(30 * 24 * 60 * 60),
            ipv4_prefix: 32,
            ipv6_prefix: 64,
            trusted: vec![
                IpNet::new_assert(IpAddr::V4(Ipv4Addr::LOCALHOST), 8).trunc(),
                IpNet::new_assert(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
            ],
            max_entries: 50_000,
        }
    }
}

/// Whether a try may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// At once.
    Allowed,
    /// After this time.
    Delay(Duration),
    /// Not at all before this time.
    Banned(Instant),
}

/// The counters. See the module's text.
#[derive(Debug)]
pub struct Throttle {
    rules: ThrottleRules,
    records: Bounded<Key, Record>,
    /// Names are kept as keyed hashes: short, of one size, and of no use to a reader of memory.
    names: RandomState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Network(u128),
    Account(u64),
    Pair(u128, u64),
}

/// What a try is counted for.
#[derive(Debug, Clone, Copy)]
struct Subject {
    network: u128,
    name: u64,
    trusted: bool,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    failures: u32,
    last_failure: Instant,
    /// When the next try may be made, where tries have to wait.
    next_try: Instant,
    banned_until: Option<Instant>,
    /// The last success, of a pair.
    friend_since: Option<Instant>,
}

impl Throttle {
    /// Counts nothing yet.
    pub fn new(rules: ThrottleRules) -> Throttle {
        Throttle { records: Bounded::new(rules.max_entries), rules, names: RandomState::new() }
    }

    /// Whether somebody at `peer` may try to log in as `account`. A delay takes its place in the queue: ask once a try.
    pub fn check(&mut self, now: Instant, peer: IpAddr, account: &str) -> Verdict {
        let Subject { network, name, trusted } = self.subject(peer, account);
        if self.is_friend(now, network, name) {
            return self.take_turn(now, &[Key::Pair(network, name)]);
        }
        if trusted {
            return self.take_turn(now, &[Key::Account(name)]);
        }
        if let Some(until) = self.banned_until(network).filter(|until| *until > now) {
            return Verdict::Banned(until);
        }
        self.take_turn(now, &[Key::Network(network), Key::Account(name)])
    }

    /// The try was made, and the credentials were wrong.
    pub fn failed(&mut self, now: Instant, peer: IpAddr, account: &str) {
        let Subject { network, name, trusted } = self.subject(peer, account);
        let friend = self.is_friend(now, network, name);
        let ban_after = self.rules.ban_after;
        let pair = self.count(now, Key::Pair(network, name));
        if friend {
            // A mail program with an outdated password: its network is not blamed until this looks like guessing.
            if pair.failures >= ban_after {
                pair.friend_since = None;
            }
            return;
        }
        self.count(now, Key::Account(name));
        if trusted {
            return;
        }
        let banned_until = now + self.rules.ban_for;
        let network = self.count(now, Key::Network(network));
        if network.failures >= ban_after {
            network.banned_until = Some(banned_until);
        }
    }

    /// The try was made, and the credentials were right.
    pub fn succeeded(&mut self, now: Instant, peer: IpAddr, account: &str) {
        let Subject { network, name, .. } = self.subject(peer, account);
        let was_friend = self.is_friend(now, network, name);
        let pair = self.records.get_or_insert_with(Key::Pair(network, name), || Record::new(now));
        let taken_back = std::mem::take(&mut pair.failures);
        pair.friend_since = Some(now);
        pair.next_try = now;
        if was_friend || taken_back == 0 {
            return;
        }
        for key in [Key::Network(network), Key::Account(name)] {
            if let Some(record) = self.records.get_mut(&key) {
                record.failures = record.failures.saturating_sub(taken_back);
                record.next_try = now;
            }
        }
    }

    /// What is counted for a try.
    fn subject(&self, peer: IpAddr, account: &str) -> Subject {
        let peer = peer.to_canonical();
        let network = match peer {
            // In the space of IPv4-mapped addresses, where no IPv6 peer can come from after `to_canonical`.
            IpAddr::V4(address) => keep_bits(
                address.to_ipv6_mapped().to_bits(),
                96_u32.saturating_add(u32::from(self.rules.ipv4_prefix)),
            ),
            IpAddr::V6(address) => keep_bits(address.to_bits(), u32::from(self.rules.ipv6_prefix)),
        };
        let trusted = self.rules.trusted.iter().any(|trusted| trusted.contains(&peer));
        Subject { network, name: self.names.hash_one(account), trusted }
    }

    fn is_friend(&mut self, now: Instant, network: u128, name: u64) -> bool {
        let friend_for = self.rules.friend_for;
        self.records
            .get_mut(&Key::Pair(network, name))
            .and_then(|pair| pair.friend_since)
            .is_some_and(|since| now.saturating_duration_since(since) < friend_for)
    }

    fn banned_until(&mut self, network: u128) -> Option<Instant> {
        self.records.get_mut(&Key::Network(network)).and_then(|record| record.banned_until)
    }

    /// The latest of the turns that the records behind `keys` give, taken in all of them.
    fn take_turn(&mut self, now: Instant, keys: &[Key]) -> Verdict {
        let Throttle { rules, records, .. } = self;
        let mut turn = now;
        for key in keys {
            if let Some(record) =
                records.get_mut(key).filter(|record| record.spacing(now, rules) > Duration::ZERO)
            {
                turn = turn.max(record.next_try);
            }
        }
        let wait = turn.saturating_duration_since(now);
        if wait > 2 * rules.longest_delay {
            return Verdict::Banned(turn);
        }
        for key in keys {
            if let Some(record) = records.get_mut(key) {
                record.next_try = turn + record.spacing(now, rules);
            }
        }
        if wait.is_zero() { Verdict::Allowed } else { Verdict::Delay(wait) }
    }

    fn count(&mut self, now: Instant, key: Key) -> &mut Record {
        let forget_after = self.rules.forget_after;
        let record = self.records.get_or_insert_with(key, || Record::new(now));
        if record.is_forgotten(now, forget_after) {
            record.failures = 0;
        }
        record.failures = record.failures.saturating_add(1);
        record.last_failure = now;
        record
    }
}

impl Record {
    fn new(now: Instant) -> Record {
        Record { failures: 0, last_failure: now, next_try: now, banned_until: None, friend_since: None }
    }

    fn is_forgotten(&self, now: Instant, forget_after: Duration) -> bool {
        now.saturating_duration_since(self.last_failure) >= forget_after
    }

    /// The time between two tries.
    fn spacing(&self, now: Instant, rules: &ThrottleRules) -> Duration {
        if self.failures < rules.free_failures || self.is_forgotten(now, rules.forget_after) {
            return Duration::ZERO;
        }
        let doublings = (self.failures - rules.free_failures).min(31);
        rules.first_delay.saturating_mul(1 << doublings).min(rules.longest_delay)
    }
}

fn keep_bits(address: u128, leading: u32) -> u128 {
    address & !u128::MAX.checked_shr(leading).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "192.0.2.7";
    const ELSEWHERE: &str = "198.51.100.9";
    const MINUTE: Duration = Duration::from_secs(60);

    /// A throttle with a clock of its own.
    struct Clock {
        throttle: Throttle,
        now: Instant,
    }

    impl Clock {
        fn new(change: impl FnOnce(&mut ThrottleRules)) -> Clock {
            let mut rules = ThrottleRules::default();
            change(&mut rules);
            Clock { throttle: Throttle::new(rules), now: Instant::now() }
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
        }

        fn check(&mut self, peer: &str, account: &str) -> Verdict {
            self.throttle.check(self.now, peer.parse().expect(peer), account)
        }

        /// A try with a wrong password, made as soon as it may be; how long that took, or nothing when banned.
        fn guess(&mut self, peer: &str, account: &str) -> Option<Duration> {
            let wait = match self.check(peer, account) {
                Verdict::Allowed => Duration::ZERO,
                Verdict::Delay(wait) => wait,
                Verdict::Banned(_) => return None,
            };
            self.pass(wait);
            self.throttle.failed(self.now, peer.parse().expect(peer), account);
            Some(wait)
        }

        fn log_in(&mut self, peer: &str, account: &str) {
            self.throttle.succeeded(self.now, peer.parse().expect(peer), account);
        }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut clock = Clock::new(|_| ());
        let waits: Vec<u64> = (0..11)
            .map(|_| clock.guess(HOME, "alice@a.example").expect("not banned yet").as_secs())
            .collect();
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 16, 16]);
    }

    #[test]
    fn a_network_that_goes_on_guessing_is_banned_and_let_in_again_later() {
        let mut clock = Clock::new(|_| ());
        for n in 0..20 {
            // Another account each time: the ban is the network's.
            assert!(clock.guess(HOME, &format!("user{n}@a.example")).is_some(), "banned at guess {n}");
        }
        let until = clock.now + 15 * MINUTE;
        assert_eq!(clock.check(HOME, "bob@a.example"), Verdict::Banned(until));
        assert_eq!(clock.check("192.0.2.8", "bob@a.example"), Verdict::Allowed, "a neighbour is not banned");
        clock.pass(15 * MINUTE);
        assert!(clock.guess(HOME, "bob@a.example").is_some());
        assert!(clock.guess(HOME, "bob@a.example").is_none(), "one more failure and it is banned again");
        clock.pass(15 * MINUTE + clock.throttle.rules.forget_after);
        assert_eq!(clock.guess(HOME, "bob@a.example"), Some(Duration::ZERO), "all forgotten");
    }

    #[test]
    fn networks_are_an_ipv4_address_and_an_ipv6_64() {
        for (one, other, same) in [
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let mut clock = Clock::new(|_| ());
            for n in 0..20 {
                clock.guess(one, &n.to_string());
            }
            assert_eq!(matches!(clock.check(other, "x"), Verdict::Banned(_)), same, "{one} {other}");
        }
    }

    #[test]
    fn guesses_on_one_account_from_everywhere_queue_up() {
        let mut clock = Clock::new(|_| ());
        for n in 0..12 {
            clock.guess(&format!("10.0.0.{n}"), "alice@a.example");
        }
        clock.pass(clock.throttle.rules.longest_delay);
        let mut allowed = 0;
        for n in 0..100 {
            match clock.check(&format!("10.0.1.{n}"), "alice@a.example") {
                Verdict::Allowed | Verdict::Delay(_) => allowed += 1,
                Verdict::Banned(_) => (),
            }
        }
        assert_eq!(allowed, 3, "at once, after 16 and after 32 seconds; the rest comes again later");
        assert_eq!(clock.check("10.0.1.1", "bob@a.example"), Verdict::Allowed);
    }

    #[test]
    fn a_network_that_has_logged_in_before_does_not_suffer_from_others() {
        let mut clock = Clock::new(|_| ());
        clock.log_in(HOME, "alice@a.example");
        for n in 0..50 {
            clock.guess(&format!("10.0.0.{n}"), "alice@a.example");
            clock.guess(HOME, &format!("user{n}@a.example"));
        }
        assert!(matches!(clock.check(HOME, "bob@a.example"), Verdict::Banned(_)));
        assert!(matches!(clock.check(ELSEWHERE, "alice@a.example"), Verdict::Banned(_) | Verdict::Delay(_)));
        assert_eq!(clock.check(HOME, "alice@a.example"), Verdict::Allowed);
        clock.pass(31 * 24 * 60 * MINUTE);
        for n in 0..20 {
            clock.guess(HOME, &format!("user{n}@a.example"));
        }
        assert!(matches!(clock.check(HOME, "alice@a.example"), Verdict::Banned(_)), "friends for 30 days");
    }

    #[test]
    fn a_friend_who_goes_on_failing_is_a_friend_no_longer() {
        let mut clock = Clock::new(|_| ());
        clock.log_in(HOME, "alice@a.example");
        for n in 0..20 {
            assert!(clock.guess(HOME, "alice@a.example").is_some(), "at {n}");
        }
        assert_eq!(clock.check(HOME, "bob@a.example"), Verdict::Allowed, "the network was not blamed");
        for _ in 0..20 {
            clock.guess(HOME, "alice@a.example");
        }
        assert!(matches!(clock.check(HOME, "bob@a.example"), Verdict::Banned(_)), "now it is");
    }

    #[test]
    fn a_success_takes_back_its_own_failures_only() {
        let mut clock = Clock::new(|_| ());
        for _ in 0..6 {
            clock.guess(HOME, "alice@a.example");
        }
        clock.log_in(HOME, "alice@a.example");
        assert_eq!(clock.check(HOME, "alice@a.example"), Verdict::Allowed);
        assert_eq!(clock.check(HOME, "bob@a.example"), Verdict::Allowed);

        // Guessing bob's password, with log-ins to an account of one's own in between.
        let mut guesses = 0;
        while clock.guess(ELSEWHERE, "bob@a.example").is_some() {
            clock.log_in(ELSEWHERE, "mallory@a.example");
            guesses += 1;
            assert!(guesses <= 20);
        }
        assert_eq!(guesses, 20);
    }

    #[test]
    fn a_trusted_network_is_never_banned_but_guessing_an_account_waits() {
        for (peer, trusted) in [("127.0.0.1", true), ("::1", true), ("10.1.2.3", true), (HOME, false)] {
            let mut clock = Clock::new(|rules| rules.trusted.push("10.0.0.0/8".parse().expect("a network")));
            for n in 0..30 {
                clock.guess(peer, &n.to_string());
            }
            assert_eq!(clock.check(peer, "bob@a.example") == Verdict::Allowed, trusted, "{peer}");
            let waits: Vec<_> = (0..6)
                .filter_map(|_| clock.guess(peer, "bob@a.example"))
                .map(|wait| wait.as_secs())
                .collect();
            assert_eq!(waits, if trusted { vec![0, 0, 0, 0, 1, 2] } else { vec![] }, "{peer}");
        }
    }

    #[test]
    fn the_table_stays_within_its_bound() {
        let mut clock = Clock::new(|rules| rules.max_entries = 100);
        for n in 0..10_000_u32 {
            clock.guess(&std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string(), &n.to_string());
        }
        assert!(clock.throttle.records.len() <= 100);
    }
}
