//! The MTA-STS policies of other domains (RFC 8461): found out, remembered, kept fresh.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use packetboat_mail::secure::sts::{Mode, Policy, policy_id};
use packetboat_store::{Op, Require, Store, Tx};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::fetch::Fetch;
use crate::dns::Lookup;

/// How often policies are looked through for those that are to be fetched anew.
pub const POLICY_LOOK: Duration = Duration::from_secs(30 * 60);
/// Policies that are so old are fetched anew: daily (RFC 8461, section 3.3), or sooner where they do not live long.
const POLICY_REFRESH: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a fetch that failed is not tried again (RFC 8461, section 3.3).
const AFTER_FAILURE: Duration = Duration::from_secs(5 * 60);
/// Domains that are kept in memory.
const MEMORY: usize = 4096;
/// Domains whose policy is kept on disk. Beyond it, policies are used while they are in memory.
const KEPT_MAX: usize = 50_000;
/// Policies fetched anew at a time.
const AT_ONCE: usize = 4;
/// Entries read at a time.
const PAGE: usize = 500;
/// What the keys of the entries begin with.
const PREFIX: &str = "mta-sts/";

/// A policy, as it stands in the store.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The id under which it was announced.
    id: String,
    /// When it was fetched, in seconds since 1970.
    fetched_at: i64,
    /// The policy itself, as it was fetched.
    text: String,
}

/// A policy and how long it holds.
#[derive(Debug, Clone)]
struct Held {
    id: String,
    fetched_at: Timestamp,
    policy: Arc<Policy>,
}

impl Held {
    fn of(kept: &Kept) -> Option<Held> {
        let policy = Policy::parse(kept.text.as_bytes()).ok()?;
        let fetched_at = Timestamp::from_second(kept.fetched_at).ok()?;
        Some(Held { id: kept.id.clone(), fetched_at, policy: Arc::new(policy) })
    }

    /// Whether it is time to fetch it anew, well before it runs out.
    fn is_old(&self, now: Timestamp) -> bool {
        later(self.fetched_at, POLICY_REFRESH.min(self.policy.max_age / 2)) <= now
    }

    fn holds(&self, now: Timestamp) -> bool {
        now < later(self.fetched_at, self.policy.max_age)
    }
}

fn later(from: Timestamp, by: Duration) -> Timestamp {
    from.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// What is known of one domain. Whoever finds out more holds the lock, so that nothing is fetched twice at a time.
#[derive(Debug, Default)]
struct Known {
    /// Whether the store has been looked into.
    read: bool,
    held: Option<Held>,
    /// The id under which a fetch failed, and until when it is not tried again.
    failed: Option<(String, Timestamp)>,
}

/// All policies.
#[derive(Debug)]
pub(super) struct Policies<F> {
    fetch: F,
    store: Store,
    domains: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Known>>>>,
    /// Entries in the store, as far as they have been counted.
    kept: std::sync::atomic::AtomicUsize,
}

impl<F: Fetch> Policies<F> {
    pub(super) fn new(fetch: F, store: Store) -> Policies<F> {
        Policies { fetch, store, domains: Mutex::default(), kept: Default::default() }
    }

    /// The policy that holds for a domain (RFC 8461, section 5.1).
    pub(super) async fn policy(
        &self,
        lookup: &impl Lookup,
        domain: &str,
        now: Timestamp,
    ) -> Option<Arc<Policy>> {
        let known = self.known(domain);
        let mut known = known.lock().await;
        self.recall(&mut known, domain);
        // Each time: whoever changes a policy announces a new id, and the resolver remembers the answer.
        let announced = match lookup.txt(&format!("_mta-sts.{domain}")).await {
            Ok(answer) => policy_id(answer.data.iter().map(Vec::as_slice)),
            // What cannot be found out leaves things as they are.
            Err(_) => None,
        };
        let current = known.held.as_ref().filter(|held| held.holds(now));
        if let Some(id) = announced
            && current.is_none_or(|held| held.id != id)
        {
            self.renew(lookup, &mut known, domain, &id, now).await;
        }
        known.held.as_ref().filter(|held| held.holds(now)).map(|held| Arc::clone(&held.policy))
    }

    fn known(&self, domain: &str) -> Arc<tokio::sync::Mutex<Known>> {
        let mut domains = self.domains.lock();
        if domains.len() >= MEMORY && !domains.contains_key(domain) {
            // What is in use stays, the rest is in the store.
            domains.retain(|_, known| Arc::strong_count(known) > 1);
        }
        Arc::clone(domains.entry(domain.to_owned()).or_default())
    }

    /// Reads what the store has of a domain.
    fn recall(&self, known: &mut Known, domain: &str) {
        if !known.read {
            match self.store.get(&format!("{PREFIX}{domain}")) {
                Ok(entry) => {
                    let kept = entry.and_then(|entry| serde_json::from_slice::<Kept>(&entry.value).ok());
                    known.held = kept.as_ref().and_then(Held::of);
                    known.read = true;
                }
                Err(error) => tracing::error!(%error, domain, "an MTA-STS policy could not be read"),
            }
        }
    }

    /// Fetches a policy; on failure the old one stays.
    async fn renew(&self, lookup: &impl Lookup, known: &mut Known, domain: &str, id: &str, now: Timestamp) {
        if known.failed.as_ref().is_some_and(|(failed, until)| failed == id && now < *until) {
            return;
        }
        let fetched = self.fetch.fetch(lookup, domain).await.map_err(|error| error.to_string());
        let read = fetched.and_then(|text| {
            let text = String::from_utf8(text).map_err(|_| "the policy is not UTF-8".to_owned())?;
            let kept = Kept { id: id.to_owned(), fetched_at: now.as_second(), text };
            let policy = Policy::parse(kept.text.as_bytes()).map_err(|error| error.to_string())?;
            Ok((Held { id: kept.id.clone(), fetched_at: now, policy: Arc::new(policy) }, kept))
        });
        match read {
            Ok((held, kept)) => {
                let is_new = known.held.replace(held).is_none();
                known.failed = None;
                self.keep(domain, &kept, is_new).await;
            }
            Err(why) => {
                known.failed = Some((id.to_owned(), later(now, AFTER_FAILURE)));
                let matters = known.held.as_ref().is_none_or(|held| held.policy.mode != Mode::None);
                if matters {
                    tracing::warn!(domain, why, "an MTA-STS policy could not be fetched");
                }
            }
        }
    }

    async fn keep(&self, domain: &str, kept: &Kept, is_new: bool) {
        use std::sync::atomic::Ordering;
        if is_new && self.kept.fetch_add(1, Ordering::Relaxed) >= KEPT_MAX {
            self.kept.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let Ok(value) = serde_json::to_vec(kept) else { return };
        let put = Op::Put { key: format!("{PREFIX}{domain}"), value };
        if let Err(error) =
            self.store.commit(Tx { id: None, require: Vec::new(), ops: vec![put] }, Vec::new()).await
        {
            tracing::error!(%error, domain, "an MTA-STS policy could not be kept");
        }
    }

    /// Looks through what is kept: what has run out goes, what is old is fetched anew.
    pub(super) async fn refresh(&self, lookup: &impl Lookup, now: Timestamp) {
        let mut after: Option<String> = None;
        let mut counted = 0;
        loop {
            let page = match self.store.scan(PREFIX, after.as_deref(), PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(%error, "MTA-STS policies could not be read");
                    return;
                }
            };
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            let (mut gone, mut unchanged) = (Vec::new(), Vec::new());
            let mut old = Vec::new();
            for entry in &page {
                let Some(domain) = entry.key.strip_prefix(PREFIX) else { continue };
                let held = serde_json::from_slice::<Kept>(&entry.value).ok().as_ref().and_then(Held::of);
                match held.filter(|held| held.holds(now)) {
                    None => {
                        let version = Some(entry.version);
                        unchanged.push(Require::KeyVersion { key: entry.key.clone(), version });
                        gone.push(Op::Remove { key: entry.key.clone() });
                    }
                    Some(held) if held.is_old(now) => old.push((domain.to_owned(), held.id)),
                    Some(_) => {}
                }
            }
            counted += page.len() - gone.len();
            for few in old.chunks(AT_ONCE) {
                let mut renewals = few.iter().map(|(domain, id)| self.refresh_one(lookup, domain, id, now));
                // As many as a chunk has.
                let next = [renewals.next(), renewals.next(), renewals.next(), renewals.next()];
                let [a, b, c, d] = next.map(|it| async {
                    if let Some(it) = it {
                        it.await
                    }
                });
                tokio::join!(a, b, c, d);
            }
            if !gone.is_empty()
                && let Err(error) =
                    self.store.commit(Tx { id: None, require: unchanged, ops: gone }, Vec::new()).await
            {
                tracing::error!(%error, "MTA-STS policies that have run out could not be removed");
            }
        }
        self.kept.store(counted, std::sync::atomic::Ordering::Relaxed);
    }

    async fn refresh_one(&self, lookup: &impl Lookup, domain: &str, id: &str, now: Timestamp) {
        let known = self.known(domain);
        let mut known = known.lock().await;
        self.recall(&mut known, domain);
        // The id that is announced now, or the old one where it cannot be found out: the policy is fetched in any case.
        let announced = lookup.txt(&format!("_mta-sts.{domain}")).await.ok();
        let announced = announced.and_then(|answer| policy_id(answer.data.iter().map(Vec::as_slice)));
        let id = announced.unwrap_or_else(|| id.to_owned());
        self.renew(lookup, &mut known, domain, &id, now).await;
    }
}
