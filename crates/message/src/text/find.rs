//! Finding strings in text that comes in pieces.

use memchr::memmem;

use super::fold;
use super::search::BORDER;

/// Looks for some strings in folded text, all of which have to be there.
#[derive(Debug)]
pub struct Finder {
    needles: Vec<Needle>,
    missing: usize,
    /// The end of what has been looked through: something may begin there.
    tail: Vec<u8>,
    tail_max: usize,
}

#[derive(Debug)]
struct Needle {
    finder: memmem::Finder<'static>,
    found: bool,
}

impl Finder {
    /// Looks for these strings; they are folded here. An empty one is everywhere (RFC 9051 section 6.4.4).
    pub fn new<S: AsRef<str>>(strings: impl IntoIterator<Item = S>) -> Finder {
        let mut needles = Vec::new();
        let mut tail_max = 0;
        for string in strings {
            let folded = fold::folded(string.as_ref());
            if !folded.is_empty() {
                tail_max = tail_max.max(folded.len() - 1);
                needles.push(Needle { finder: memmem::Finder::new(&folded).into_owned(), found: false });
            }
        }
        Finder { missing: needles.len(), needles, tail: Vec::new(), tail_max }
    }

    /// Whether all strings have been found.
    pub fn is_done(&self) -> bool {
        self.missing == 0
    }

    /// Looks through the next piece of folded text and says whether all strings have been found.
    pub fn push(&mut self, folded: &[u8]) -> bool {
        if self.is_done() {
            return true;
        }
        // What lies across: the tail with as much of the piece as a string can reach into.
        if !self.tail.is_empty() {
            let reach = folded.get(..self.tail_max).unwrap_or(folded);
            let mut across = std::mem::take(&mut self.tail);
            across.extend_from_slice(reach);
            self.look(&across);
            self.tail = across;
        }
        self.look(folded);
        if folded.len() >= self.tail_max {
            self.tail.clear();
            self.tail.extend_from_slice(folded.get(folded.len() - self.tail_max..).unwrap_or_default());
        } else if self.tail.is_empty() {
            self.tail.extend_from_slice(folded);
        } else {
            // The tail already has this piece.
            let excess = self.tail.len().saturating_sub(self.tail_max);
            self.tail.drain(..excess);
        }
        self.is_done()
    }

    /// Forgets what was seen and found, to look through another message.
    pub fn reset(&mut self) {
        self.tail.clear();
        self.missing = self.needles.len();
        self.needles.iter_mut().for_each(|needle| needle.found = false);
    }

    fn look(&mut self, text: &[u8]) {
        for needle in self.needles.iter_mut().filter(|needle| !needle.found) {
            if needle.finder.find(text).is_some() {
                needle.found = true;
                self.missing -= 1;
            }
        }
    }
}

/// The number of three octets of folded text, for a filter that rules messages out before they are read.
pub fn gram(octets: [u8; 3]) -> u32 {
    let [a, b, c] = octets;
    let number = u32::from_be_bytes([0, a, b, c]).wrapping_mul(0x9e37_79b1);
    (number ^ (number >> 15)).wrapping_mul(0x85eb_ca77)
}

/// The grams of a string to be found, none where it is too short to have any. They never reach across a border.
pub fn grams(folded: &[u8]) -> impl Iterator<Item = u32> {
    folded.array_windows::<3>().filter(|octets| !octets.contains(&BORDER)).map(|octets| gram(*octets))
}

/// Different grams of a message at most; a message with more is one that may have any.
pub const GRAMS_MAX: usize = 1 << 16;

/// The different grams of text that comes in pieces.
#[derive(Debug, Clone)]
pub struct Grams {
    /// Octets of text as numbers of 24 bits, one more than they are, at a place that depends on them; 0 is free.
    table: Vec<u32>,
    count: usize,
    last: [u8; 2],
    seen: usize,
}

impl Default for Grams {
    fn default() -> Grams {
        Grams::new()
    }
}

impl Grams {
    /// None yet.
    pub fn new() -> Grams {
        Grams { table: vec![0; 4096], count: 0, last: [0; 2], seen: 0 }
    }

    /// Adds those of the next piece of folded text.
    pub fn push(&mut self, folded: &[u8]) {
        let mut across = [0; 4];
        let start = 2 - self.seen.min(2);
        across[..2].copy_from_slice(&self.last);
        let head = folded.len().min(2);
        if let (Some(slots), Some(octets)) = (across.get_mut(2..2 + head), folded.get(..head)) {
            slots.copy_from_slice(octets);
        }
        self.add(across.get(start..2 + head).unwrap_or_default());
        self.add(folded);
        match folded {
            [.., before, last] => self.last = [*before, *last],
            [last] => self.last = [self.last[1], *last],
            [] => {}
        }
        self.seen = self.seen.saturating_add(folded.len()).min(2);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether there are too many to be told.
    pub fn is_full(&self) -> bool {
        self.count >= GRAMS_MAX
    }

    /// All of them, each once, in no order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.table.iter().filter_map(|slot| slot.checked_sub(1)).map(|number| {
            let [_, a, b, c] = number.to_be_bytes();
            gram([a, b, c])
        })
    }

    fn add(&mut self, text: &[u8]) {
        for octets in text.array_windows::<3>() {
            let [a, b, c] = *octets;
            if a != BORDER && b != BORDER && c != BORDER {
                self.insert(u32::from_be_bytes([0, a, b, c]) + 1);
            }
        }
    }

    fn insert(&mut self, number: u32) {
        let mask = self.table.len() - 1;
        let mut at = (number.wrapping_mul(0x9e37_79b1) >> 12) as usize & mask;
        loop {
            let Some(slot) = self.table.get_mut(at) else { return };
            if *slot == number {
                return;
            }
            if *slot == 0 {
                break;
            }
            at = (at + 1) & mask;
        }
        if self.count >= GRAMS_MAX {
            return;
        }
        if let Some(slot) = self.table.get_mut(at) {
            *slot = number;
            self.count += 1;
        }
        if self.count * 2 > self.table.len() {
            let old = std::mem::take(&mut self.table);
            self.table = vec![0; old.len() * 4];
            self.count = 0;
            old.into_iter().filter(|number| *number != 0).for_each(|number| self.insert(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn strings_are_found_across_pieces() {
        let text = fold::folded("Der schnelle braune Fuchs springt über den faulen Hund.");
        for (strings, found) in [
            (&["FUCHS"][..], true),
            (&["fuchs springt ÜBER"], true),
            (&["der", "hund.", ""], true),
            (&["der", "katze"], false),
            (&["."], true),
            (&[""], true),
            (&[], true),
            (&["Der schnelle braune Fuchs springt über den faulen Hund. Ja"], false),
        ] {
            let mut finder = Finder::new(strings);
            for size in 1..=text.len() {
                finder.reset();
                text.chunks(size).for_each(|piece| {
                    finder.push(piece);
                });
                assert_eq!(finder.is_done(), found, "{strings:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn grams_do_not_depend_on_pieces() {
        let text: Vec<u8> =
            (0..20_000u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let text: Vec<u8> = text.into_iter().filter(|octet| !octet.is_ascii_lowercase()).collect();
        let set = |text: &[u8], size: usize| {
            let mut grams = Grams::new();
            text.chunks(size).for_each(|piece| grams.push(piece));
            let all: Vec<u32> = grams.iter().collect();
            let set: BTreeSet<u32> = all.iter().copied().collect();
            assert_eq!((all.len(), grams.len()), (set.len(), set.len()));
            set
        };
        for text in [&b"ABCABCABD"[..], b"AB", b"", b"A\0BCD", &text[..3000]] {
            let expected: BTreeSet<u32> = grams(text).collect();
            for size in [1, 2, 3, 1000] {
                assert_eq!(set(text, size), expected, "{}", text.escape_ascii());
            }
        }
        let mut many = Grams::new();
        many.push(&text);
        assert!(many.is_full() && many.len() == GRAMS_MAX, "{}", many.len());
    }
}
