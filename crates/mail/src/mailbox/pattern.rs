//! Patterns of LIST: `*` stands for anything, `%` for anything without a separator (RFC 9051 section 6.3.9).

use super::name::{INBOX, SEPARATOR};

/// Octets of a pattern that are looked at; a longer one matches nothing, as no name is so long.
const PATTERN_OCTETS_MAX: usize = 2 * super::name::NAME_OCTETS_MAX;

/// A pattern, ready to be compared with many names. All places in it where a match may stand are followed at once, as
/// bits, so that no pattern takes longer than its length times the name's.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    /// What stands before the first wildcard.
    literal: Vec<u8>,
    rest: Option<Places>,
}

#[derive(Debug, Clone)]
struct Places {
    words: usize,
    /// For each octet that occurs, where in `masks` the places begin that it matches.
    index: Box<[u16; 256]>,
    masks: Vec<u64>,
    /// Places that are wildcards, and those that are `%`.
    wild: Vec<u64>,
    level: Vec<u64>,
    end: usize,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Pattern {
        let mut octets: Vec<u8> = Vec::with_capacity(text.len());
        for octet in text.bytes() {
            // Wildcards side by side are one, the stronger one.
            match (octets.last(), octet) {
                (Some(b'*'), b'*' | b'%') | (Some(b'%'), b'%') => {}
                (Some(b'%'), b'*') => {
                    octets.pop();
                    octets.push(b'*');
                }
                _ => octets.push(octet),
            }
        }
        let wild = octets.iter().position(|octet| matches!(octet, b'*' | b'%')).unwrap_or(octets.len());
        let rest = octets.split_off(wild);
        let rest = (!rest.is_empty()).then(|| Places::new(&rest));
        Pattern { literal: octets, rest }
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        // The inbox's name is matched in any case.
        let inbox =
            name.strip_prefix(INBOX).is_some_and(|rest| rest.is_empty() || rest.starts_with(SEPARATOR));
        let folded = if inbox { INBOX.len() } else { 0 };
        let name = name.as_bytes();
        let Some((start, rest)) = name.split_at_checked(self.literal.len()) else { return false };
        let same = |(at, (one, other)): (usize, (&u8, &u8))| {
            one == other || (at < folded && one.eq_ignore_ascii_case(other))
        };
        if !start.iter().zip(&self.literal).enumerate().all(same) {
            return false;
        }
        match &self.rest {
            None => rest.is_empty(),
            Some(places) => places.matches(rest, folded.saturating_sub(start.len())),
        }
    }
}

impl Places {
    fn new(octets: &[u8]) -> Places {
        let octets = octets.get(..PATTERN_OCTETS_MAX).unwrap_or(octets);
        let words = octets.len() / 64 + 1;
        // The first mask is that of octets which do not occur.
        let mut places = Places {
            words,
            index: Box::new([0; 256]),
            masks: vec![0; words],
            wild: vec![0; words],
            level: vec![0; words],
            end: octets.len(),
        };
        for (at, &octet) in octets.iter().enumerate() {
            let (word, bit) = (at / 64, 1u64 << (at % 64));
            if matches!(octet, b'*' | b'%') {
                set(&mut places.wild, word, bit);
                if octet == b'%' {
                    set(&mut places.level, word, bit);
                }
                continue;
            }
            let slot = &mut places.index[usize::from(octet)];
            if *slot == 0 {
                *slot = (places.masks.len() / words) as u16;
                places.masks.resize(places.masks.len() + words, 0);
            }
            let start = usize::from(*slot) * words;
            set(&mut places.masks, start + word, bit);
        }
        places
    }

    fn mask(&self, octet: u8, word: usize) -> u64 {
        let start = usize::from(self.index[usize::from(octet)]) * self.words;
        self.masks.get(start + word).copied().unwrap_or(0)
    }

    /// `folded` octets at the start are compared in any case.
    fn matches(&self, name: &[u8], folded: usize) -> bool {
        let mut at = vec![0u64; self.words];
        set(&mut at, 0, 1);
        self.skip_wildcards(&mut at);
        for (position, &octet) in name.iter().enumerate() {
            let other = if position < folded { octet.to_ascii_lowercase() } else { octet };
            let mut carry = 0;
            let mut any = 0;
            for (word, places) in at.iter_mut().enumerate() {
                let (wild, level) = (word_of(&self.wild, word), word_of(&self.level, word));
                let stays = *places & wild & if octet == SEPARATOR as u8 { !level } else { u64::MAX };
                let steps = *places & (self.mask(octet, word) | self.mask(other, word));
                *places = stays | steps << 1 | carry;
                carry = steps >> 63;
                any |= *places;
            }
            if any == 0 {
                return false;
            }
            self.skip_wildcards(&mut at);
        }
        word_of(&at, self.end / 64) >> (self.end % 64) & 1 == 1
    }

    /// A wildcard may stand for nothing.
    fn skip_wildcards(&self, at: &mut [u64]) {
        let mut carry = 0;
        for (word, places) in at.iter_mut().enumerate() {
            let skips = *places & word_of(&self.wild, word);
            *places |= skips << 1 | carry;
            carry = skips >> 63;
        }
    }
}

fn set(words: &mut [u64], word: usize, bit: u64) {
    if let Some(word) = words.get_mut(word) {
        *word |= bit;
    }
}

fn word_of(words: &[u64], word: usize) -> u64 {
    words.get(word).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule itself, without thought of time.
    fn naive(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|at| naive(rest, &name[at..])),
            Some((b'%', rest)) => (0..=name.len())
                .take_while(|&at| !name[..at].contains(&b'/'))
                .any(|at| naive(rest, &name[at..])),
            Some((octet, rest)) => name.first() == Some(octet) && naive(rest, &name[1..]),
        }
    }

    #[test]
    fn matches_as_the_rule_says() {
        for (pattern, name, matches) in [
            ("*", "a/b", true),
            ("%", "a/b", false),
            ("%", "a", true),
            ("%/%", "a/b", true),
            ("a*", "a", true),
            ("*b", "a/b", true),
            ("foo", "foo", true),
            ("foo", "food", false),
            ("foo%", "foo/d", false),
            ("inbox", "INBOX", true),
            ("InB%", "INBOX", true),
            ("i*x/Foo", "INBOX/Foo", true),
            ("inbox/foo", "INBOX/Foo", false),
            ("*x", "INBOX", true),
            ("inboxes", "INBOXES", false),
            ("", "a", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), matches, "{pattern} {name}");
        }
        let long = format!("{}*{}%", "a".repeat(70), "b".repeat(70));
        assert!(Pattern::new(&long).matches(&format!("{}//{}x", "a".repeat(70), "b".repeat(90))));
        assert!(!Pattern::new(&long).matches(&format!("{}//{}x/", "a".repeat(70), "b".repeat(90))));
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_rule(pattern in "[ab/%*]{0,8}", name in "[ab/]{0,9}") {
            let found = Pattern::new(&pattern).matches(&name);
            proptest::prop_assert_eq!(found, naive(pattern.as_bytes(), name.as_bytes()));
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = Pattern::new(&"*%a".repeat(600));
        let name = format!("{}b", "a/".repeat(500));
        let began = std::time::Instant::now();
        for _ in 0..100 {
            assert!(!pattern.matches(&name));
        }
        assert!(began.elapsed().as_secs() < 300, "{:?}", began.elapsed());
    }
}
