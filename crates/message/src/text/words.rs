//! Encoded-words in headers (RFC 2047), read even where that RFC does not let them stand.

use std::borrow::Cow;

use memchr::memmem;

use super::charset::Charset;
use super::transfer::{Decoder, Encoding};

/// Decodes a value of a header: encoded-words, and what else is not ASCII as UTF-8. White space between two
/// encoded-words falls out (section 6.2); characters that were cut between two of one charset come together again.
pub fn decode(value: &[u8]) -> Cow<'_, str> {
    if memmem::find(value, b"=?").is_none() {
        return String::from_utf8_lossy(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut pending: Option<(Charset, Vec<u8>)> = None;
    let mut rest = value;
    while let Some(found) = memmem::find(rest, b"=?") {
        let (before, from) = rest.split_at(found);
        let Some((charset, word, after)) = encoded_word(from) else {
            flush(&mut pending, &mut out);
            out.push_str(&String::from_utf8_lossy(rest.get(..found + 2).unwrap_or_default()));
            rest = rest.get(found + 2..).unwrap_or_default();
            continue;
        };
        let follows = pending.is_some() && before.iter().all(u8::is_ascii_whitespace);
        match &mut pending {
            Some((known, octets)) if follows && *known == charset => octets.extend_from_slice(&word),
            _ => {
                flush(&mut pending, &mut out);
                if !follows {
                    out.push_str(&String::from_utf8_lossy(before));
                }
                pending = Some((charset, word));
            }
        }
        rest = after;
    }
    flush(&mut pending, &mut out);
    out.push_str(&String::from_utf8_lossy(rest));
    Cow::Owned(out)
}

fn flush(pending: &mut Option<(Charset, Vec<u8>)>, out: &mut String) {
    if let Some((charset, octets)) = pending.take() {
        out.push_str(&charset.decode(&octets));
    }
}

/// Takes an encoded-word off the front: its charset, its octets, and what follows it.
fn encoded_word(text: &[u8]) -> Option<(Charset, Vec<u8>, &[u8])> {
    let inside = text.strip_prefix(b"=?")?;
    let end = inside.iter().position(|octet| *octet == b'?')?;
    let (charset, rest) = inside.split_at(end);
    if charset.iter().any(|octet| *octet <= b' ') {
        return None;
    }
    // RFC 2231 section 5 puts a language behind the charset.
    let charset = charset.split(|octet| *octet == b'*').next().unwrap_or_default();
    let [b'?', kind, b'?', rest @ ..] = rest else { return None };
    let end = memmem::find(rest, b"?=")?;
    let (encoded, after) = rest.split_at(end);
    let mut octets = Vec::with_capacity(encoded.len());
    match kind {
        b'B' | b'b' => {
            let mut decoder = Decoder::new(Encoding::Base64);
            decoder.push(encoded, &mut octets);
            decoder.finish(&mut octets);
        }
        b'Q' | b'q' => q(encoded, &mut octets),
        _ => return None,
    }
    Some((Charset::named(charset)?, octets, after.get(2..).unwrap_or_default()))
}

/// The Q encoding (section 4.2).
fn q(encoded: &[u8], out: &mut Vec<u8>) {
    let hex = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut rest = encoded;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        match (octet, after) {
            (b'_', _) => out.push(b' '),
            (b'=', [high, low, after @ ..]) if let (Some(high), Some(low)) = (hex(*high), hex(*low)) => {
                out.push(high << 4 | low);
                rest = after;
            }
            (b'\r' | b'\n', _) => {}
            (octet, _) => out.push(octet),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_are_decoded() {
        for (value, meant) in [
            ("plain", "plain"),
            ("=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
            ("=?UTF-8?b?5pel5pys6Kqe?=", "日本語"),
            ("=?iso-8859-1?q?a?= =?iso-8859-1?q?b?=", "ab"),
            ("=?iso-8859-1?q?a?=\r\n =?utf-8?q?=C3=BC?= c", "aü c"),
            ("a =?iso-8859-1?q?=E4_b?= c", "a ä b c"),
            ("=?utf-8?Q?=C3?= =?utf-8?Q?=BC?=", "ü"),
            ("x=?utf-8?q?y?=z", "xyz"),
            ("=?utf-8*de?Q?=C3=BC?=", "ü"),
            ("=?utf-8?Q?a b?=", "a b"),
            ("=?klingon?Q?a?=", "=?klingon?Q?a?="),
            ("=?utf-8?X?a?=", "=?utf-8?X?a?="),
            ("=?utf-8?Q?open", "=?utf-8?Q?open"),
            ("=?", "=?"),
            ("=?=?utf-8?q?x?=", "=?x"),
            ("=?utf-8?Q?=zz=4?=", "=zz=4"),
            ("raw ü", "raw ü"),
        ] {
            assert_eq!(decode(value.as_bytes()), meant, "{value}");
        }
        assert_eq!(decode(b"raw \xff"), "raw \u{fffd}");
    }
}
