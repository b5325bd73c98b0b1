//! How text is written where only ASCII may stand: encoded-words (RFC 2047), parameter values (RFC 2231), and
//! quoted-printable (RFC 2045 section 6.7).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Lines of a header are folded before they get longer than this (RFC 5322 section 2.1.1, RFC 2047 section 2).
pub(crate) const LINE_MAX: usize = 76;
/// Characters of an encoded-word at most (RFC 2047 section 2).
const ENCODED_WORD_MAX: usize = 75;
/// Words longer than this cannot be folded and are encoded, so that no line passes 998 octets.
const PLAIN_WORD_MAX: usize = 900;
/// So many spaces in a row, which no line break may follow, are encoded too.
const LONG_GAP: &str = "                    ";
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// A display name: plain words, a quoted string, or encoded-words. One that is in encoded-words already stays so.
pub(crate) fn phrase(name: &str) -> String {
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~ ".contains(c);
    // An address list is folded between its mailboxes only, so a long name goes into words that fit a line.
    if !name.is_ascii() || name.len() > LINE_MAX {
        return encoded_words(name, 0);
    }
    if name.chars().all(atom) {
        return name.to_owned();
    }
    let mut out = String::with_capacity(name.len() + 2);
    out.push('"');
    for c in name.chars() {
        if c == '"' || c == '\\' {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// The field `name: text`, folded, with its last CRLF: unstructured text such as a subject. Control characters, line
/// breaks among them, become spaces, so nothing can begin a field of its own.
pub(crate) fn unstructured_field(name: &str, text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    let text = text.trim();
    let foldable = !text.contains(LONG_GAP) && text.split(' ').all(|word| word.len() <= PLAIN_WORD_MAX);
    let plain = text.is_ascii() && !text.contains("=?") && foldable;
    if !plain {
        return format!("{name}: {}\r\n", encoded_words(text, name.len() + 2));
    }
    words_field(name, text.split(' '))
}

/// The field `name: word word word`, folded between the words, with its last CRLF.
pub(crate) fn words_field<'a>(name: &str, words: impl Iterator<Item = &'a str>) -> String {
    let mut out = format!("{name}:");
    let mut line = out.len();
    for word in words {
        // Runs of spaces give empty words: a line of white space alone must not come about.
        if line + 1 + word.len() > LINE_MAX && line > 1 && !word.is_empty() {
            out.push_str("\r\n");
            line = 0;
        }
        out.push(' ');
        out.push_str(word);
        line += 1 + word.len();
    }
    out.push_str("\r\n");
    out
}

/// The text as encoded-words, with folding between them. `column` is where the first one starts.
fn encoded_words(text: &str, column: usize) -> String {
    let quoted_len: usize = text.bytes().map(q_len).sum();
    // A few letters among ASCII stay readable to the eye in Q; a text that is mostly others is shorter in B.
    let base64 = quoted_len > text.len().div_ceil(3) * 6;
    let overhead = "=?utf-8?Q??=".len();
    let mut out = String::with_capacity(text.len() * 3 + 32);
    let mut rest = text;
    let mut room = ENCODED_WORD_MAX.min(LINE_MAX.saturating_sub(column)).saturating_sub(overhead);
    while !rest.is_empty() {
        // Each encoded-word stands for whole characters (RFC 2047 section 5).
        let (mut cost, mut end) = (0, 0);
        for (at, c) in rest.char_indices() {
            let bytes = rest.get(at..at + c.len_utf8()).unwrap_or_default().bytes();
            cost += if base64 { c.len_utf8() } else { bytes.map(q_len).sum() };
            let len = if base64 { cost.div_ceil(3) * 4 } else { cost };
            if len > room && end > 0 {
                break;
            }
            end = at + c.len_utf8();
        }
        let (word, after) = rest.split_at(end);
        out.push_str(if base64 { "=?utf-8?B?" } else { "=?utf-8?Q?" });
        if base64 {
            BASE64.encode_string(word, &mut out);
        } else {
            word.bytes().for_each(|byte| q_push(&mut out, byte));
        }
        out.push_str("?=");
        rest = after;
        if !rest.is_empty() {
            out.push_str("\r\n ");
            room = ENCODED_WORD_MAX - overhead;
        }
    }
    out
}

/// The characters that stand for themselves wherever an encoded-word may stand (RFC 2047 section 5, case 3).
fn q_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!*+-/".contains(&byte)
}

fn q_len(byte: u8) -> usize {
    if q_plain(byte) || byte == b' ' { 1 } else { 3 }
}

fn q_push(out: &mut String, byte: u8) {
    match byte {
        b' ' => out.push('_'),
        byte if q_plain(byte) => out.push(char::from(byte)),
        byte => push_hex(out, '=', byte),
    }
}

fn push_hex(out: &mut String, mark: char, byte: u8) {
    out.push(mark);
    out.push(char::from(HEX[usize::from(byte >> 4)]));
    out.push(char::from(HEX[usize::from(byte & 15)]));
}

/// A parameter of a MIME field, `;` and folding before it: quoted if ASCII, else percent-encoded, and cut into
/// continuations where it is long (RFC 2231 sections 3 and 4).
pub(crate) fn parameter(name: &str, value: &str) -> String {
    let value = value.replace(char::is_control, " ");
    if value.is_ascii() && value.len() + name.len() < LINE_MAX - 8 {
        return format!(";\r\n {name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    }
    let mut encoded: Vec<String> = vec!["utf-8''".to_owned()];
    for c in value.chars() {
        let mut bytes = [0; 4];
        let mut piece = String::new();
        for &byte in c.encode_utf8(&mut bytes).as_bytes() {
            // attribute-char of RFC 2231 section 7.
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`{|}~".contains(&byte) {
                piece.push(char::from(byte));
            } else {
                push_hex(&mut piece, '%', byte);
            }
        }
        match encoded.last_mut() {
            Some(last) if last.len() + piece.len() + name.len() + 8 <= LINE_MAX => last.push_str(&piece),
            _ => encoded.push(piece),
        }
    }
    match encoded.as_slice() {
        [whole] => format!(";\r\n {name}*={whole}"),
        parts => parts.iter().enumerate().map(|(n, part)| format!(";\r\n {name}*{n}*={part}")).collect(),
    }
}

/// Appends `text`, whose lines end with CRLF, in quoted-printable.
pub(crate) fn quoted_printable(out: &mut Vec<u8>, text: &str) {
    for line in text.split_inclusive("\r\n") {
        let (content, line_end) = match line.strip_suffix("\r\n") {
            Some(content) => (content.as_bytes(), &b"\r\n"[..]),
            None => (line.as_bytes(), &b""[..]),
        };
        let mut column = 0;
        for (at, &byte) in content.iter().enumerate() {
            let is_last = at + 1 == content.len();
            // White space at the end of a line would be lost on the way (rule 3).
            let plain = match byte {
                b' ' | b'\t' => !is_last,
                b'=' => false,
                b'!'..=b'~' => true,
                _ => false,
            };
            let width = if plain { 1 } else { 3 };
            // The `=` of a soft line break needs the last place, unless this is the end of the line (rule 5).
            if column + width + usize::from(!is_last) > LINE_MAX {
                out.extend_from_slice(b"=\r\n");
                column = 0;
            }
            if plain {
                out.push(byte);
            } else {
                out.extend([b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            column += width;
        }
        out.extend_from_slice(line_end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_folded_and_encoded() {
        for (text, field) in [
            ("Hello", "Subject: Hello\r\n"),
            ("", "Subject: \r\n"),
            ("a\r\nBcc: eve@example.org\0", "Subject: a  Bcc: eve@example.org\r\n"),
            ("Grüße", "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n"),
            ("日本語", "Subject: =?utf-8?B?5pel5pys6Kqe?=\r\n"),
            ("=?x?= is no word", "Subject: =?utf-8?Q?=3D=3Fx=3F=3D_is_no_word?=\r\n"),
        ] {
            assert_eq!(unstructured_field("Subject", text), field, "{text}");
        }
        for text in [
            "word ".repeat(60),
            "ä".repeat(300),
            "語 ".repeat(200),
            "x".repeat(3000),
            "a     b".repeat(90),
            format!("a{}b", " ".repeat(2000)),
        ] {
            let field = unstructured_field("Subject", &text);
            for line in field.trim_end().split("\r\n") {
                assert!(line.len() <= LINE_MAX + 1, "{line}");
                assert!(!line.trim().is_empty());
            }
        }
    }

    #[test]
    fn parameters_keep_any_name() {
        for (value, shown) in [
            ("a.txt", ";\r\n filename=\"a.txt\""),
            ("a \"b\".txt", ";\r\n filename=\"a \\\"b\\\".txt\""),
            ("naïve.txt", ";\r\n filename*=utf-8''na%C3%AFve.txt"),
        ] {
            assert_eq!(parameter("filename", value), shown);
        }
        let long = parameter("filename", &"ü".repeat(40));
        assert!(long.starts_with(";\r\n filename*0*=utf-8''%C3%BC"), "{long}");
        assert!(long.contains(";\r\n filename*1*=%C3%BC"), "{long}");
        assert!(long.split("\r\n").all(|line| line.len() <= LINE_MAX + 2), "{long}");
    }

    #[test]
    fn quoted_printable_keeps_lines_short_and_spaces_alive() {
        let encode = |text: &str| {
            let mut out = Vec::new();
            quoted_printable(&mut out, text);
            String::from_utf8_lossy(&out).into_owned()
        };
        for (text, encoded) in [
            ("", ""),
            ("a=b\r\n", "a=3Db\r\n"),
            ("a \r\n\t\r\n x", "a=20\r\n=09\r\n x"),
            ("é\r\n", "=C3=A9\r\n"),
            ("a\rb\n", "a=0Db=0A"),
        ] {
            assert_eq!(encode(text), encoded);
        }
        let exact = format!("{}\r\n", "x".repeat(76));
        assert_eq!(encode(&exact), exact);
        assert_eq!(encode(&"x".repeat(77)), format!("{}=\r\nxx", "x".repeat(75)));
        assert!(encode(&"é=".repeat(500)).split("\r\n").all(|line| line.len() <= LINE_MAX));
    }
}
