//! Sets of message numbers or UIDs (RFC 9051 section 4.1.1).

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use thiserror::Error;

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bound {
    /// This number.
    Number(NonZeroU32),
    /// `*`: the largest in use.
    Last,
}

/// `2,4:7,9,12:*` as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NumberSet(Vec<(Bound, Bound)>);

/// Which messages, as a command names them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Messages {
    /// By numbers.
    Set(NumberSet),
    /// `$`: what the last SEARCH saved (RFC 5182).
    Saved,
}

/// Messages, and what the numbers mean.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Which.
    pub messages: Messages,
    /// Numbers are UIDs (`UID FETCH` ...) and not message sequence numbers.
    pub uid: bool,
}

/// Why octets are no set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SetError {
    /// Not by the grammar.
    #[error("not a sequence set")]
    Syntax,
    /// More ranges than [`NumberSet::RANGES_MAX`].
    #[error("too many ranges in the sequence set")]
    TooMany,
}

impl NumberSet {
    /// Ranges in one set at most.
    pub const RANGES_MAX: usize = 100_000;

    /// Reads `2,4:7,9,12:*`.
    pub fn parse(octets: &[u8]) -> Result<NumberSet, SetError> {
        // Counted first: a set that is too large is not built.
        if memchr::memchr_iter(b',', octets).count() >= NumberSet::RANGES_MAX {
            return Err(SetError::TooMany);
        }
        let range = |text: &[u8]| match memchr::memchr(b':', text) {
            Some(colon) => Ok((bound(&text[..colon])?, bound(&text[colon + 1..])?)),
            None => bound(text).map(|bound| (bound, bound)),
        };
        octets.split(|octet| *octet == b',').map(range).collect::<Result<_, _>>().map(NumberSet)
    }

    /// A set of these ranges; `None` if there is none.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (NonZeroU32, NonZeroU32)>) -> Option<NumberSet> {
        let ranges: Vec<_> =
            ranges.into_iter().map(|(first, last)| (Bound::Number(first), Bound::Number(last))).collect();
        (!ranges.is_empty()).then_some(NumberSet(ranges))
    }

    /// The ranges in the order they were written.
    pub fn ranges(&self) -> &[(Bound, Bound)] {
        &self.0
    }

    /// What the set means where `last` is the largest number in use, 0 if there is none: ascending ranges that neither
    /// overlap nor touch. Numbers that are not in use are not taken out; RFC 9051 has them ignored among UIDs, and makes
    /// them an error among message numbers.
    pub fn resolve(&self, last: u32) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> =
            self.0.iter().filter_map(|range| resolve_range(*range, last)).collect();
        if ranges.is_sorted_by(|a, b| a.1 < u32::MAX && a.1 + 1 < b.0) {
            return ranges;
        }
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let joins = next.0 <= kept.1.saturating_add(1);
            if joins {
                kept.1 = kept.1.max(next.1);
            }
            joins
        });
        ranges
    }

    /// Whether the number is in the set, `last` being the largest in use.
    pub fn contains(&self, number: u32, last: u32) -> bool {
        self.0
            .iter()
            .filter_map(|range| resolve_range(*range, last))
            .any(|(first, last)| (first..=last).contains(&number))
    }

    /// The largest number that is written out; 0 if only `*` is.
    pub fn largest_number(&self) -> u32 {
        let value = |bound: Bound| match bound {
            Bound::Number(number) => number.get(),
            Bound::Last => 0,
        };
        self.0.iter().map(|(first, last)| value(*first).max(value(*last))).max().unwrap_or(0)
    }

    /// Whether `*` is in it.
    pub fn names_last(&self) -> bool {
        self.0.iter().any(|(first, last)| *first == Bound::Last || *last == Bound::Last)
    }
}

fn bound(text: &[u8]) -> Result<Bound, SetError> {
    if text == b"*" {
        return Ok(Bound::Last);
    }
    if text.is_empty() || text[0] == b'0' {
        return Err(SetError::Syntax);
    }
    let mut number = 0_u32;
    for octet in text {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            return Err(SetError::Syntax);
        }
        number = number.checked_mul(10).and_then(|n| n.checked_add(digit.into())).ok_or(SetError::Syntax)?;
    }
    NonZeroU32::new(number).map(Bound::Number).ok_or(SetError::Syntax)
}

/// "The order of the two numbers does not matter" (RFC 9051 section 9, `seq-range`).
fn resolve_range((first, second): (Bound, Bound), last: u32) -> Option<(u32, u32)> {
    let value = |bound: Bound| match bound {
        Bound::Number(number) => Some(number.get()),
        Bound::Last => (last != 0).then_some(last),
    };
    let (first, second) = (value(first)?, value(second)?);
    Some((first.min(second), first.max(second)))
}

impl FromStr for NumberSet {
    type Err = SetError;

    fn from_str(text: &str) -> Result<NumberSet, SetError> {
        NumberSet::parse(text.as_bytes())
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Number(number) => number.fmt(f),
            Bound::Last => f.write_str("*"),
        }
    }
}

impl fmt::Display for NumberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            first.fmt(f)?;
            if first != last {
                write!(f, ":{last}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Messages::Set(set) => set.fmt(f),
            Messages::Saved => f.write_str("$"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::value::MailboxName;
    use proptest::prelude::*;

    #[test]
    fn sets_mean_ascending_ranges() {
        for (text, last, ranges) in [
            ("1", 9, vec![(1, 1)]),
            ("2,4:7,9,12:*", 15, vec![(2, 2), (4, 7), (9, 9), (12, 15)]),
            // The examples of RFC 9051 section 9.
            ("*:4,5:7", 10, vec![(4, 10)]),
            ("5:*", 3, vec![(3, 5)]),
            ("7:5,1,6", 9, vec![(1, 1), (5, 7)]),
            ("1:2,3:4,6", 9, vec![(1, 4), (6, 6)]),
            ("*", 0, vec![]),
            ("1:*", 0, vec![]),
            ("4294967295,4294967294", 5, vec![(4_294_967_294, 4_294_967_295)]),
        ] {
            let set: NumberSet = text.parse().unwrap();
            assert_eq!(set.resolve(last), ranges, "{text}");
            assert_eq!(set.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_set() {
        for text in ["", "0", "01", "1,", ",1", "1:", ":1", "1:2:3", "a", "1 ", "-1", "4294967296", "**", "$"]
        {
            assert_eq!(text.parse::<NumberSet>(), Err(SetError::Syntax), "{text}");
        }
        assert_eq!("1,".repeat(100_000).parse::<NumberSet>(), Err(SetError::TooMany));
    }

    proptest! {
        #[test]
        fn ranges_hold_what_the_set_holds(
            ranges in prop::collection::vec((1..40_u32, 1..40_u32, any::<[bool; 2]>()), 1..8),
            last in 0..40_u32,
        ) {
            let bound = |number: u32, star| if star { "*".to_owned() } else { number.to_string() };
            let text: Vec<String> =
                ranges.iter().map(|(a, b, [x, y])| format!("{}:{}", bound(*a, *x), bound(*b, *y))).collect();
            let set: NumberSet = text.join(",").parse().unwrap();
            let resolved = set.resolve(last);
            prop_assert!(resolved.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            for number in 1..45 {
                let inside = resolved.iter().any(|(first, last)| (*first..=*last).contains(&number));
                prop_assert_eq!(inside, set.contains(number, last));
            }
            prop_assert_eq!(set.to_string().parse::<NumberSet>().unwrap(), set);
        }

        #[test]
        fn reading_never_panics(octets in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = NumberSet::parse(&octets);
            let _ = MailboxName::decode(&octets, false);
        }
    }
}
