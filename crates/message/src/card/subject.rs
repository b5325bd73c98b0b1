//! Base subjects (RFC 5256 section 2.1).

use crate::structure::unfolded;
use crate::text::{fold, words};

/// Octets of a subject that are looked at.
const SUBJECT_MAX: usize = 4 << 10;

/// What a subject is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Base {
    /// The base subject, folded.
    pub text: Vec<u8>,
    /// Whether the subject is one of an answer or of something forwarded (RFC 5256 section 3, REFERENCES, step 5).
    pub is_reply: bool,
}

/// Takes from a subject what marks answers, lists and forwarding.
pub fn base(subject: &[u8]) -> Base {
    let subject = unfolded(subject.get(..SUBJECT_MAX).unwrap_or(subject));
    // (1)
    let decoded = words::decode(&subject);
    let collapsed;
    let mut text: &str = &decoded;
    if decoded.contains(['\t', '\r', '\n']) || decoded.contains("  ") {
        collapsed = decoded
            .split(['\t', '\r', '\n', ' '])
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        text = &collapsed;
    }
    let mut is_reply = false;
    loop {
        // (2)
        text = text.trim_end_matches(' ');
        while let Some(before) = strip_end(text, "(fwd)") {
            is_reply = true;
            text = before.trim_end_matches(' ');
        }
        // (3), (4), (5)
        loop {
            text = text.trim_start_matches(' ');
            let mut last_blob = text;
            let mut after = text;
            while let Some(rest) = blob(after) {
                last_blob = after;
                after = rest;
            }
            match refwd(after) {
                Some(rest) => {
                    is_reply = true;
                    text = rest;
                }
                // Without a mark behind them blobs go one by one, as long as something is left.
                None => {
                    text = if after.is_empty() { last_blob } else { after };
                    break;
                }
            }
        }
        // (6)
        match strip_start(text, "[fwd:").and_then(|inside| inside.strip_suffix(']')) {
            Some(inside) => {
                is_reply = true;
                text = inside;
            }
            None => break,
        }
    }
    Base { text: fold::folded(text), is_reply }
}

fn strip_start<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(mark.len())?;
    start.eq_ignore_ascii_case(mark).then_some(rest)
}

fn strip_end<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (rest, end) = text.split_at_checked(text.len().checked_sub(mark.len())?)?;
    end.eq_ignore_ascii_case(mark).then_some(rest)
}

/// `subj-blob`: what follows it.
fn blob(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find(['[', ']'])?;
    let rest = inside.get(end..)?.strip_prefix(']')?;
    Some(rest.trim_start_matches(' '))
}

/// `subj-refwd`: what follows it.
fn refwd(text: &str) -> Option<&str> {
    let rest =
        strip_start(text, "re").or_else(|| strip_start(text, "fwd")).or_else(|| strip_start(text, "fw"))?;
    let rest = rest.trim_start_matches(' ');
    blob(rest).unwrap_or(rest).strip_prefix(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_off() {
        for (subject, text, is_reply) in [
            ("", "", false),
            ("Hello", "HELLO", false),
            ("Re: Hello", "HELLO", true),
            ("RE : re[2]:Fwd:  fw: Hello  world", "HELLO WORLD", true),
            ("[list] Re: [list] Hello", "HELLO", true),
            ("[list] Hello", "HELLO", false),
            ("[list]", "[LIST]", false),
            ("[a] [b] ", "[B]", false),
            ("Re: [a]", "[A]", true),
            ("Hello (fwd) (FWD)", "HELLO", true),
            ("[fwd: Re: Hello (fwd)]", "HELLO", true),
            ("[Fwd: a] b", "B", false),
            ("Regarding: x", "REGARDING: X", false),
            ("Re:", "", true),
            ("=?utf-8?Q?Re=3A_Gr=C3=BC?=\r\n\t=?utf-8?Q?=C3=9Fe?=", "GRU\u{308}ßE", true),
            ("tab\tand \r\n fold", "TAB AND FOLD", false),
        ] {
            let found = base(subject.as_bytes());
            assert_eq!(
                (String::from_utf8_lossy(&found.text).as_ref(), found.is_reply),
                (text, is_reply),
                "{subject}"
            );
        }
        for piece in ["[a]", "[", "re[", "re:", "(fwd)", "[fwd:"] {
            base(piece.repeat(20_000).as_bytes());
        }
    }
}
