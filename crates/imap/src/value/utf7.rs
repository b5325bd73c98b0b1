//! Modified UTF-7 (RFC 3501 section 5.1.3): `Entw&APw-rfe` is "Entwürfe".

use std::borrow::Cow;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// Octets that stand for themselves.
fn is_direct(octet: u8) -> bool {
    matches!(octet, 0x20..=0x7e) && octet != b'&'
}

/// Writes a name; one without special characters is not copied.
pub(super) fn encode(name: &str) -> Cow<'_, str> {
    if name.bytes().all(is_direct) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 16);
    let mut units = [0; 2];
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '&' {
            out.push_str("&-");
            continue;
        }
        if matches!(c, ' '..='~') {
            out.push(c);
            continue;
        }
        out.push('&');
        let (mut bits, mut count) = (0_u32, 0);
        let mut current = Some(c);
        while let Some(c) = current {
            for unit in c.encode_utf16(&mut units) {
                bits = bits << 16 | u32::from(*unit);
                count += 16;
                while count >= 6 {
                    count -= 6;
                    push_digit(&mut out, bits >> count);
                }
                bits &= (1 << count) - 1;
            }
            current = chars.next_if(|c| !matches!(c, ' '..='~'));
        }
        if count > 0 {
            push_digit(&mut out, bits << (6 - count));
        }
        out.push('-');
    }
    Cow::Owned(out)
}

fn push_digit(out: &mut String, bits: u32) {
    out.push(char::from(ALPHABET[(bits & 63) as usize]));
}

/// Reads a name. `None` if it is not written as [`encode`] writes it: one name has one form, so that nobody has two
/// mailboxes that look the same.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if text.bytes().all(is_direct) {
        return Some(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((direct, shifted)) = rest.split_once('&') {
        let (encoded, after) = shifted.split_once('-')?;
        out.push_str(direct);
        if encoded.is_empty() {
            out.push('&');
        } else {
            decode_run(encoded.as_bytes(), &mut out)?;
        }
        rest = after;
    }
    out.push_str(rest);
    (encode(&out) == text).then_some(Cow::Owned(out))
}

fn decode_run(encoded: &[u8], out: &mut String) -> Option<()> {
    let (mut bits, mut count) = (0_u32, 0);
    let mut units = Vec::with_capacity(encoded.len() * 6 / 16);
    for octet in encoded {
        let digit = match octet {
            b'A'..=b'Z' => octet - b'A',
            b'a'..=b'z' => octet - b'a' + 26,
            b'0'..=b'9' => octet - b'0' + 52,
            b'+' => 62,
            b',' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push((bits >> count) as u16);
            bits &= (1 << count) - 1;
        }
    }
    for c in char::decode_utf16(units) {
        out.push(c.ok()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for (name, written) in [
            ("INBOX", "INBOX"),
            ("Tom & Jerry", "Tom &- Jerry"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Отправленные", "&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"),
            ("😀", "&2D3eAA-"),
            ("a&ü&", "a&-&APw-&-"),
        ] {
            assert_eq!(encode(name), written);
            assert_eq!(decode(written).as_deref(), Some(name));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "&",             // does not end
            "&AOQ",          // nor does this
            "&AGE-",         // "a" stands for itself
            "&ACY-",         // "&" is "&-"
            "&APw-&APw-",    // one shift is enough
            "&2D0-",         // half a surrogate pair
            "&3gDYPQ-",      // the wrong way round
            "&AP-",          // not a whole unit
            "&APx-",         // bits left over
            "&AP/w-",        // the ordinary base64
            "&APw=-",        // padding
            "Entw\u{fc}rfe", // not encoded at all
            "&AAA\u{fc}-",
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
