//! Entries that were read lately, and keys that were found to have none. Bounded: two halves, of which the older goes
//! when the younger is full.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::Entry;

/// Entries in one half.
const HALF: usize = 8_192;
/// Larger values are not kept.
const VALUE_MAX: usize = 16 << 10;
/// Octets of values in one half.
const HALF_OCTETS: usize = 16 << 20;

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<String, Option<Entry>>,
    young_octets: usize,
    old: HashMap<String, Option<Entry>>,
    /// One more with each commit that changed an entry.
    generation: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Cache {
    halves: Mutex<Halves>,
}

impl Cache {
    /// What is known of a key, and the generation to give back with what is read instead.
    pub(crate) fn get(&self, key: &str) -> (Option<Option<Entry>>, u64) {
        let mut halves = self.halves.lock();
        let generation = halves.generation;
        if let Some(entry) = halves.young.get(key) {
            return (Some(entry.clone()), generation);
        }
        let Some((key, entry)) = halves.old.remove_entry(key) else { return (None, generation) };
        halves.put(key, entry.clone());
        (Some(entry), generation)
    }

    /// Keeps what was read, unless something was committed since: then it may be stale.
    pub(crate) fn insert(&self, key: &str, entry: &Option<Entry>, generation: u64) {
        let mut halves = self.halves.lock();
        if halves.generation == generation
            && entry.as_ref().is_none_or(|entry| entry.value.len() <= VALUE_MAX)
        {
            halves.put(key.to_owned(), entry.clone());
        }
    }

    /// These keys were changed by a commit that readers see.
    pub(crate) fn forget(&self, keys: &[String]) {
        if keys.is_empty() {
            return;
        }
        let mut halves = self.halves.lock();
        halves.generation += 1;
        for key in keys {
            halves.young.remove(key);
            halves.old.remove(key);
        }
    }
}

impl Halves {
    fn put(&mut self, key: String, entry: Option<Entry>) {
        let octets = entry.as_ref().map_or(0, |entry| entry.value.len());
        if self.young.len() >= HALF || self.young_octets + octets > HALF_OCTETS {
            self.old = std::mem::take(&mut self.young);
            self.young_octets = 0;
        }
        self.young_octets += octets;
        self.young.insert(key, entry);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(key: &str, version: u64) -> Option<Entry> {
        Some(Entry { key: key.to_owned(), value: vec![0; 10], version })
    }

    #[test]
    fn stale_reads_are_not_kept() {
        let cache = Cache::default();
        let (known, generation) = cache.get("a");
        assert_eq!(known, None);
        // A commit changes it between the read and the insert.
        cache.forget(&["a".to_owned()]);
        cache.insert("a", &entry("a", 1), generation);
        let (known, generation) = cache.get("a");
        assert_eq!(known, None);
        cache.insert("a", &entry("a", 2), generation);
        assert_eq!(cache.get("a").0, Some(entry("a", 2)));
        cache.forget(&["a".to_owned()]);
        assert_eq!(cache.get("a").0, None);
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let cache = Cache::default();
        for number in 0..5 * HALF {
            cache.insert(&number.to_string(), &None, 0);
        }
        let halves = cache.halves.lock();
        assert!(halves.young.len() + halves.old.len() <= 2 * HALF);
    }
}
