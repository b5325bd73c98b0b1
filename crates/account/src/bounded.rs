//! A map with a fixed number of places.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Holds at most `capacity` entries. New entries go into a young half; when that is full, the old half is forgotten and
/// the young one becomes old. What is asked for moves back among the young, so entries in use stay, at constant cost.
#[derive(Debug)]
pub struct Bounded<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Hash + Eq, V> Bounded<K, V> {
    /// With so many places.
    pub fn new(capacity: usize) -> Bounded<K, V> {
        Bounded { young: HashMap::new(), old: HashMap::new(), half: (capacity / 2).max(1) }
    }

    /// The entry, if it is among the young ones: what can be asked through a shared reference.
    pub fn peek_young<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.young.get(key)
    }

    /// The entry; it is among the young ones from now on.
    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// Puts an entry in, forgetting old ones where there is no place.
    pub fn insert(&mut self, key: K, value: V) {
        self.make_place(&key);
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    /// The entry, made when there is none.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let value = self.old.remove(&key);
        self.make_place(&key);
        self.young.entry(key).or_insert_with(|| value.unwrap_or_else(make))
    }

    fn make_place(&mut self, key: &K) {
        if self.young.len() >= self.half && !self.young.contains_key(key) {
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.young = HashMap::new();
        self.old = HashMap::new();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_holds_more_than_its_capacity() {
        let mut map = Bounded::new(10);
        for n in 0..1000 {
            map.insert(n, n);
            assert!(map.len() <= 10);
        }
        assert_eq!(map.get_mut(&999), Some(&mut 999));
        assert_eq!(map.get_mut(&0), None);
    }

    #[test]
    fn what_is_asked_for_stays() {
        let mut map = Bounded::new(10);
        map.insert("kept", 0);
        let names: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        for name in &names {
            map.insert(name, 1);
            assert!(map.get_mut("kept").is_some(), "lost at {name}");
        }
    }
}
