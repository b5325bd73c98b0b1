//! The name of one accepted message.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Names a message from intake on: in the reply, the Received field and the log. Time-ordered, made by the caller
/// from the time and handed-in randomness, shown as 20 characters without vowels that could be misread.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageTag(u128);

/// Letters and digits without those taken for one another (Crockford's base 32, lower case).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const BITS: u32 = 100;

impl MessageTag {
    /// 48 bits of milliseconds since the epoch, then 52 random bits.
    pub fn new(unix_millis: u64, random: u64) -> MessageTag {
        let time = u128::from(unix_millis & 0xffff_ffff_ffff);
        MessageTag(time << 52 | u128::from(random & 0x000f_ffff_ffff_ffff))
    }

    /// Randomness for something that comes of a message, different for each `place`.
    pub(crate) fn random_after(self, place: u64) -> u64 {
        // A step of odd length goes through all numbers.
        (self.0 as u64).wrapping_add((place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The number behind the name, most significant octet first.
    pub(crate) fn to_octets(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for MessageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; (BITS / 5) as usize];
        for (place, slot) in text.iter_mut().rev().enumerate() {
            *slot = ALPHABET[(self.0 >> (5 * place) & 31) as usize];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// A text is no message's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a message's name has 20 characters")]
pub struct InvalidTag;

impl FromStr for MessageTag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<MessageTag, InvalidTag> {
        if text.len() != (BITS / 5) as usize {
            return Err(InvalidTag);
        }
        text.bytes().try_fold(MessageTag(0), |tag, octet| {
            let digit = ALPHABET.iter().position(|letter| *letter == octet.to_ascii_lowercase());
            Ok(MessageTag(tag.0 << 5 | digit.ok_or(InvalidTag)? as u128))
        })
    }
}

impl Serialize for MessageTag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageTag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MessageTag, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for MessageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_reads_back() {
        let tag = MessageTag::new(1_700_000_000_000, 0x000f_1234_5678_9abc);
        assert_eq!(tag.to_string().parse(), Ok(tag));
        assert_eq!(tag.to_string().to_uppercase().parse(), Ok(tag));
        for text in ["", "0", "0000000000000000000u", "000000000000000000000", "äääääääääää"] {
            assert_eq!(text.parse::<MessageTag>(), Err(InvalidTag), "{text}");
        }
    }

    #[test]
    fn tags_sort_by_time_and_keep_their_length() {
        let early = MessageTag::new(1_700_000_000_000, u64::MAX);
        let late = MessageTag::new(1_700_000_000_001, 0);
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.to_string().len(), 20);
        assert_eq!(MessageTag::new(0, 0).to_string(), "00000000000000000000");
        assert_eq!(MessageTag::new(0, 31).to_string(), "0000000000000000000z");
    }
}
