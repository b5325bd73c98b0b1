//! What a text contains, as the filter remembers it: one bit for each gram, in a bitmap that is large enough for the
//! text to leave most of it empty.

/// Bits of the smallest bitmap, as a power of two.
pub(super) const LEAST: u8 = 12;
/// Bits of the largest.
pub(super) const MOST: u8 = 20;
/// At most one bit in so many is set, or else a larger bitmap is taken.
const SPARSE: usize = 8;

const WIDE_WORDS: usize = 1 << (MOST - 6);
const TOUCHED_WORDS: usize = WIDE_WORDS / 64;

/// The grams of a text: its octets three by three. Text and what is sought in it must have been folded alike.
pub fn grams(text: &[u8]) -> impl Iterator<Item = u32> {
    text.windows(3).map(|three| three.iter().fold(0, |gram, octet| gram << 8 | u32::from(*octet)))
}

/// Spreads a gram over 32 bits. Its first bits are its place in a bitmap, of whatever size.
fn spread(gram: u32) -> u32 {
    let mut hash = gram;
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x7feb_352d);
    hash ^= hash >> 15;
    hash = hash.wrapping_mul(0x846c_a68b);
    hash ^ hash >> 16
}

/// The places of what is sought, as wide as they get, each once and at most `limit`.
pub(super) fn places(grams: &[u32], limit: usize) -> Vec<u32> {
    let mut places: Vec<u32> = grams.iter().map(|gram| spread(*gram)).collect();
    // In the order of hashes, which is none: so any beginning of it is a fair choice.
    places.sort_unstable();
    places.dedup();
    places.truncate(limit);
    places
}

/// The same place in a bitmap of 2^`class` bits.
pub(super) fn narrow(place: u32, class: u8) -> u32 {
    place >> (32 - class)
}

/// Collects the grams of texts, one after the other. It takes some room; keep one for many texts.
pub struct Grams {
    /// The largest bitmap.
    wide: Box<[u64; WIDE_WORDS]>,
    /// Which of its words are not empty.
    touched: Box<[u64; TOUCHED_WORDS]>,
}

impl std::fmt::Debug for Grams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grams").finish_non_exhaustive()
    }
}

impl Default for Grams {
    fn default() -> Grams {
        Grams { wide: Box::new([0; WIDE_WORDS]), touched: Box::new([0; TOUCHED_WORDS]) }
    }
}

impl Grams {
    /// Adds a gram, as [`grams`] makes them.
    pub fn add(&mut self, gram: u32) {
        let place = narrow(spread(gram), MOST) as usize;
        let word = place >> 6 & (WIDE_WORDS - 1);
        self.wide[word] |= 1 << (place & 63);
        self.touched[word >> 6] |= 1 << (word & 63);
    }

    /// Adds the grams of a text, or of a part of one. Two parts added one after the other do not touch: nothing is
    /// found across them.
    pub fn text(&mut self, text: &[u8]) {
        grams(text).for_each(|gram| self.add(gram));
    }

    /// What was collected since the last time; begins anew.
    pub fn finish(&mut self) -> Signature {
        let bits: usize = self.words().map(|word| self.wide[word].count_ones() as usize).sum();
        let class = (LEAST..=MOST).find(|class| bits * SPARSE <= 1 << *class);
        let mut signature = match class {
            Some(class) => Signature { class, bits: vec![0; 1 << (class - 3)] },
            None => Signature::anything(),
        };
        for summary in 0..TOUCHED_WORDS {
            let mut touched = std::mem::take(&mut self.touched[summary]);
            while touched != 0 {
                let word = summary << 6 | touched.trailing_zeros() as usize;
                touched &= touched - 1;
                let mut set = std::mem::take(&mut self.wide[word]);
                while let (Some(class), true) = (class, set != 0) {
                    let place = (word << 6 | set.trailing_zeros() as usize) >> (MOST - class);
                    set &= set - 1;
                    signature.bits[place >> 3] |= 1 << (place & 7);
                }
            }
        }
        signature
    }

    fn words(&self) -> impl Iterator<Item = usize> {
        self.touched.iter().enumerate().flat_map(|(summary, touched)| {
            let mut touched = *touched;
            std::iter::from_fn(move || {
                let bit = (touched != 0).then(|| touched.trailing_zeros() as usize)?;
                touched &= touched - 1;
                Some(summary << 6 | bit)
            })
        })
    }
}

/// What a text contains, ready for [`crate::Store::filter_add`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Its size as a power of two; 0: none, it may contain anything.
    pub(super) class: u8,
    pub(super) bits: Vec<u8>,
}

impl Signature {
    /// Of a text about which nothing can be said, because it is too long or cannot be decoded: it may contain anything.
    pub fn anything() -> Signature {
        Signature { class: 0, bits: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(signature: &Signature, gram: u32) -> bool {
        let place = narrow(spread(gram), signature.class) as usize;
        signature.bits[place >> 3] >> (place & 7) & 1 == 1
    }

    #[test]
    fn a_bitmap_is_as_large_as_its_text_needs() {
        let mut collector = Grams::default();
        for (count, class) in
            [(0, 12), (1, 12), (400, 12), (600, 13), (1_100, 14), (5_000, 16), (120_000, 20)]
        {
            (0..count).for_each(|gram| collector.add(gram));
            let signature = collector.finish();
            assert_eq!(signature.class, class, "{count} grams");
            assert_eq!(signature.bits.len(), 1 << (class - 3));
            assert!((0..count).all(|gram| has(&signature, gram)));
            let others = (1 << 30..(1 << 30) + 10_000).filter(|gram| has(&signature, *gram)).count();
            assert!(others <= 1_500, "{others} of 10,000 others seem to be there");
        }
        (0..200_000).for_each(|gram| collector.add(gram));
        assert_eq!(collector.finish(), Signature::anything());
        // And nothing of it is left over.
        assert_eq!(collector.finish().bits, vec![0; 512]);
    }

    #[test]
    fn grams_are_three_octets() {
        assert_eq!(grams(b"ab").count(), 0);
        assert_eq!(grams(b"abcd").collect::<Vec<_>>(), [0x61_6263, 0x62_6364]);
    }
}
