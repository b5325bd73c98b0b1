//! `xtext`, the encoding of parameter values (RFC 3461 section 4).

use std::fmt::{self, Write};

/// Decodes `xtext`; `None` if it is not that, or does not decode to printable characters.
///
/// What lies behind (ENVID, ORCPT, a mailbox) is printable by definition: a value that could smuggle a line into a
/// notice must not get in. UTF-8 is let through, for RFC 6533.
pub(super) fn decode(text: &str) -> Option<String> {
    if !text.contains('+') {
        return text.chars().all(|c| is_xchar(c) || is_beyond_ascii(c)).then(|| text.to_owned());
    }
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            octet if octet >= 0x80 || is_xchar(char::from(octet)) => octet,
            _ => return None,
        });
    }
    String::from_utf8(octets).ok().filter(|text| !text.chars().any(char::is_control))
}

/// Writes `text` as `xtext`.
pub(crate) fn encode(out: &mut impl Write, text: &str) -> fmt::Result {
    for c in text.chars() {
        if is_xchar(c) {
            out.write_char(c)?;
        } else {
            let mut octets = [0; 4];
            for octet in c.encode_utf8(&mut octets).bytes() {
                write!(out, "+{octet:02X}")?;
            }
        }
    }
    Ok(())
}

fn is_xchar(c: char) -> bool {
    matches!(c, '!'..='~' if c != '+' && c != '=')
}

fn is_beyond_ascii(c: char) -> bool {
    !c.is_ascii() && !c.is_control()
}

/// RFC 3461 asks for upper case; the other is out there.
fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_survive_the_round_trip() {
        for text in ["", "alice@example.org", "e=mc2@example.org", "a b+c", "jos\u{e9}@example.org", "100%"] {
            let mut encoded = String::new();
            encode(&mut encoded, text).unwrap();
            assert!(!encoded.contains([' ', '=']), "{encoded}");
            assert_eq!(decode(&encoded).as_deref(), Some(text));
        }
        assert_eq!(decode("e+3Dmc2@example.com").as_deref(), Some("e=mc2@example.com"));
        assert_eq!(decode("e+3dmc2").as_deref(), Some("e=mc2"));
    }

    #[test]
    fn what_is_no_xtext_is_refused() {
        for text in ["a=b", "a b", "a+", "a+3", "a+3G", "a+0D+0A", "a+00", "a+FF", "\u{85}"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
