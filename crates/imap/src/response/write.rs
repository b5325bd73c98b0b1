//! The small things that responses and commands are written with.

use bytes::{BufMut, BytesMut};

use crate::response::Mode;
use crate::value::MailboxName;

/// Specials in a quoted string at most; with more of them a literal is shorter.
const ESCAPES_MAX: usize = 4;

/// Numbers from 00 to 99.
const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
    2021222324252627282930313233343536373839\
    4041424344454647484950515253545556575859\
    6061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

/// Digits of the largest number.
pub(crate) const DIGITS_MAX: usize = 20;

/// Writes a number's digits to the end of `buffer`; where they begin.
fn digits(buffer: &mut [u8; DIGITS_MAX], mut number: u64) -> usize {
    let mut at = DIGITS_MAX;
    while number >= 100 {
        let pair = (number % 100) as usize * 2;
        number /= 100;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if number >= 10 {
        let pair = number as usize * 2;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        buffer[at] = b'0' + number as u8;
    }
    at
}

/// Writes a number in decimal.
pub(crate) fn number(number: impl Into<u64>, out: &mut BytesMut) {
    let mut buffer = [0; DIGITS_MAX];
    let at = digits(&mut buffer, number.into());
    out.extend_from_slice(&buffer[at..]);
}

/// `{n}` and a line's end, before n octets; `~{n}` if they may have NUL among them (RFC 3516 section 4.4).
pub(crate) fn literal_begin(octets: u64, binary: bool, out: &mut BytesMut) {
    out.extend_from_slice(if binary { b"~{" } else { b"{" });
    number(octets, out);
    out.extend_from_slice(b"}\r\n");
}

/// A string as a literal. In one there is no NUL (RFC 9051 section 4.3): 0x80 stands for it.
fn literal(text: &[u8], out: &mut BytesMut) {
    literal_begin(text.len() as u64, false, out);
    let start = out.len();
    out.extend_from_slice(text);
    if let Some(written) = out.get_mut(start..)
        && memchr::memchr(0, written).is_some()
    {
        written.iter_mut().filter(|octet| **octet == 0).for_each(|octet| *octet = 0x80);
    }
}

fn quoted(text: &[u8], escapes: usize, out: &mut BytesMut) {
    out.reserve(text.len() + escapes + 2);
    out.put_u8(b'"');
    if escapes == 0 {
        out.extend_from_slice(text);
    } else {
        for &octet in text {
            if matches!(octet, b'"' | b'\\') {
                out.put_u8(b'\\');
            }
            out.put_u8(octet);
        }
    }
    out.put_u8(b'"');
}

/// ASCII text without control characters between quotes.
pub(crate) fn quoted_string(text: &str, out: &mut BytesMut) {
    quoted(text.as_bytes(), text.len(), out);
}

/// Whether text may stand between quotes as it is, and how many backslashes that takes.
fn quotable(text: &[u8], utf8: bool) -> Option<usize> {
    // Most texts are plain. Without a branch in it, the loop looks at many octets at a time.
    let special = |octet: u8| !matches!(octet, 0x01..=0x7f) | matches!(octet, b'"' | b'\\' | b'\r' | b'\n');
    if !text.iter().fold(false, |found, &octet| found | special(octet)) {
        return Some(0);
    }
    let mut escapes = 0;
    let mut ascii = true;
    for &octet in text {
        match octet {
            b'"' | b'\\' => escapes += 1,
            0 | b'\r' | b'\n' => return None,
            0x80.. => ascii = false,
            _ => {}
        }
    }
    (ascii || utf8 && std::str::from_utf8(text).is_ok()).then_some(escapes)
}

/// A string: between quotes if it may stand there (RFC 9051 section 4.3), else as a literal.
pub(crate) fn string(text: &[u8], utf8: bool, out: &mut BytesMut) {
    match quotable(text, utf8) {
        Some(escapes) if escapes <= ESCAPES_MAX => quoted(text, escapes, out),
        _ => literal(text, out),
    }
}

/// `nstring`: a string or NIL.
pub(crate) fn nstring(text: Option<&[u8]>, utf8: bool, out: &mut BytesMut) {
    match text {
        Some(text) => string(text, utf8, out),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// `ATOM-CHAR`, and `]`, which an `astring` may have, too.
pub(crate) fn is_astring_char(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\')
}

/// An ASCII string without line ends, without a literal: as an atom or between quotes.
pub(crate) fn astring_in_line(text: &[u8], out: &mut BytesMut) {
    match quotable(text, false) {
        Some(escapes) if escapes > ESCAPES_MAX => quoted(text, escapes, out),
        _ => astring(text, false, out),
    }
}

/// `astring`: as an atom if it is one, else as a string. What looks like NIL is quoted.
pub(crate) fn astring(text: &[u8], utf8: bool, out: &mut BytesMut) {
    if !text.is_empty() && text.iter().all(|&c| is_astring_char(c)) && !text.eq_ignore_ascii_case(b"NIL") {
        out.extend_from_slice(text);
    } else {
        string(text, utf8, out);
    }
}

/// A mailbox name.
pub(crate) fn mailbox(name: &MailboxName, mode: &Mode<'_>, out: &mut BytesMut) {
    let utf8 = mode.utf8_strings();
    astring(name.encode(utf8).as_bytes(), utf8, out);
}

/// Ranges as `1:3,5`, in the order they have.
pub(crate) fn ranges(ranges: &[(u32, u32)], out: &mut BytesMut) {
    let mut buffer = [0; DIGITS_MAX];
    for (index, &(first, last)) in ranges.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        let at = digits(&mut buffer, first.into());
        out.extend_from_slice(&buffer[at..]);
        if last != first {
            out.put_u8(b':');
            let at = digits(&mut buffer, last.into());
            out.extend_from_slice(&buffer[at..]);
        }
    }
}

/// Items between parentheses, with spaces between them.
pub(crate) fn list<T>(
    items: impl IntoIterator<Item = T>,
    out: &mut BytesMut,
    mut write: impl FnMut(T, &mut BytesMut),
) {
    out.put_u8(b'(');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.put_u8(b' ');
        }
        write(item, out);
    }
    out.put_u8(b')');
}

/// Text for people: no line break or other control character gets out, and UTF-8 only to whom it is known.
pub(crate) fn text(text: &str, utf8: bool, out: &mut BytesMut) {
    if text.bytes().all(|c| matches!(c, b' '..=b'~')) {
        return out.extend_from_slice(text.as_bytes());
    }
    for c in text.chars() {
        match c {
            c if c.is_control() => out.put_u8(b' '),
            c if c.is_ascii() || utf8 => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => out.put_u8(b'?'),
        }
    }
}

const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

/// `date-time` in UTC, such as `"17-Jul-1996 02:44:25 +0000"`. Years the form has no room for become the nearest.
pub(crate) fn date_time(micros: i64, out: &mut BytesMut) {
    const DAY: i64 = 86_400;
    // 0000-01-01 and the last second of 9999.
    let seconds = micros.div_euclid(1_000_000).clamp(-62_167_219_200, 253_402_300_799);
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY) as usize);
    let (year, month, day) = civil(days);
    let mut form = *b"\"01-Jan-1970 00:00:00 +0000\"";
    let mut pair = |at: usize, value: usize| {
        form[at..at + 2].copy_from_slice(&PAIRS[value % 100 * 2..value % 100 * 2 + 2]);
    };
    pair(1, day);
    pair(8, year / 100);
    pair(10, year);
    pair(13, second / 3600);
    pair(16, second / 60 % 60);
    pair(19, second % 60);
    let month = (month - 1) % 12 * 3;
    form[4..7].copy_from_slice(&MONTHS[month..month + 3]);
    // `date-day-fixed = (SP DIGIT) / 2DIGIT`
    if form[1] == b'0' {
        form[1] = b' ';
    }
    out.extend_from_slice(&form);
}

/// Year, month and day of a day since 1970-01-01, from year 0 on. Years are counted from March, so that the leap day is
/// their last, and from a time 400 years earlier, so that no number is negative.
fn civil(days: i64) -> (usize, usize, usize) {
    let days = (days + 719_468 + 146_097).max(0) as usize;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    ((year + era * 400 + next).saturating_sub(400), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn numbers() {
        for n in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 65_535, 4_294_967_295, u64::MAX - 1, u64::MAX] {
            assert_eq!(written(|out| number(n, out)), n.to_string());
        }
        let mut n = 1_u64;
        for _ in 0..200 {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let n = n >> (n % 60);
            assert_eq!(written(|out| number(n, out)), n.to_string());
        }
    }

    #[test]
    fn strings() {
        for (text, utf8, expected) in [
            (&b""[..], false, "\"\""),
            (b"two words", false, "\"two words\""),
            (br#"a "b" \c"#, false, r#""a \"b\" \\c""#),
            (b"\"\"\"\"\"", false, "{5}\r\n\"\"\"\"\""),
            (b"a\r\nb", true, "{4}\r\na\r\nb"),
            ("Jörg".as_bytes(), false, "{5}\r\nJörg"),
            ("Jörg".as_bytes(), true, "\"Jörg\""),
            (b"J\xf6rg", true, "{4}\r\nJ\u{fffd}rg"),
            (b"a\0b", true, "{3}\r\na\u{fffd}b"),
        ] {
            assert_eq!(written(|out| string(text, utf8, out)), expected);
        }
        for (text, expected) in [
            ("", "\"\""),
            ("INBOX", "INBOX"),
            ("a]b.c/d&-", "a]b.c/d&-"),
            ("nil", "\"nil\""),
            ("a b", "\"a b\""),
            ("a%b", "\"a%b\""),
            ("(", "\"(\""),
        ] {
            assert_eq!(written(|out| astring(text.as_bytes(), false, out)), expected);
        }
    }

    #[test]
    fn text_for_people_stays_in_its_line() {
        assert_eq!(written(|out| text("done", false, out)), "done");
        assert_eq!(written(|out| text("ä\r\n* BYE", false, out)), "?  * BYE");
        assert_eq!(written(|out| text("ä\u{85}b", true, out)), "ä b");
    }

    #[test]
    fn dates() {
        let day = 86_400_000_000;
        for (micros, expected) in [
            (0, "\" 1-Jan-1970 00:00:00 +0000\""),
            (837_571_465_999_999, "\"17-Jul-1996 02:44:25 +0000\""),
            (951_782_400_000_000, "\"29-Feb-2000 00:00:00 +0000\""),
            (951_782_400_000_000 + day, "\" 1-Mar-2000 00:00:00 +0000\""),
            (-1, "\"31-Dec-1969 23:59:59 +0000\""),
            (-62_167_219_200_000_000, "\" 1-Jan-0000 00:00:00 +0000\""),
            (-62_167_219_200_000_000 + 31 * day, "\" 1-Feb-0000 00:00:00 +0000\""),
            (-62_167_219_200_000_000 + 59 * day, "\"29-Feb-0000 00:00:00 +0000\""),
            (-62_167_219_200_000_000 + 60 * day, "\" 1-Mar-0000 00:00:00 +0000\""),
            (i64::MIN, "\" 1-Jan-0000 00:00:00 +0000\""),
            (i64::MAX, "\"31-Dec-9999 23:59:59 +0000\""),
        ] {
            assert_eq!(written(|out| date_time(micros, out)), expected, "{micros}");
        }
    }
}
