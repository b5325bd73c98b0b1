//! Bodies and headers in many charsets, raw and encoded.

use crate::build::{Shelf, base64, crlf, quoted_printable};
use crate::samples::SAMPLES;

pub(crate) fn fill(shelf: &mut Shelf) {
    for (label, lines) in SAMPLES {
        let slug: String = label.chars().filter(char::is_ascii_alphanumeric).collect();
        in_raw_octets(shelf, label, &slug, lines);
        in_base64(shelf, label, &slug, lines);
        in_quoted_printable(shelf, label, &slug, lines);
    }
    utf16(shelf);
    mixed(shelf);
}

fn first<'a>(lines: &[&'a [u8]]) -> &'a [u8] {
    lines.first().copied().unwrap_or_default()
}

fn joined(lines: &[&[u8]]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line, &b"\r\n"[..]].concat()).collect()
}

/// As mail looked before MIME, and from programs that have not heard of it: the subject raw, too.
fn in_raw_octets(shelf: &mut Shelf, label: &str, slug: &str, lines: &[&[u8]]) {
    let mut octets = b"From: alice@example.org\r\nSubject: ".to_vec();
    octets.extend_from_slice(first(lines));
    octets.extend_from_slice(
        crlf(&format!(
            "\nMIME-Version: 1.0\nContent-Type: text/plain; charset={label}\nContent-Transfer-Encoding: 8bit\n\n"
        ))
        .as_bytes(),
    );
    octets.extend_from_slice(&joined(lines));
    shelf.raw(&format!("charset-{slug}-8bit"), octets);
}

fn in_base64(shelf: &mut Shelf, label: &str, slug: &str, lines: &[&[u8]]) {
    let subject = base64(first(lines)).replace('\n', "");
    let body = base64(&joined(lines));
    shelf.text(
        &format!("charset-{slug}-base64"),
        &format!(
            "From: =?{label}?B?{subject}?= <alice@example.org>\nSubject: =?{label}?B?{subject}?=\nMIME-Version: 1.0\nContent-Type: text/plain; charset=\"{label}\"\nContent-Transfer-Encoding: base64\n\n{body}"
        ),
    );
}

fn in_quoted_printable(shelf: &mut Shelf, label: &str, slug: &str, lines: &[&[u8]]) {
    let subject: String = first(lines).iter().map(|octet| format!("={octet:02X}")).collect();
    let body = quoted_printable(lines);
    shelf.text(
        &format!("charset-{slug}-qp"),
        &format!(
            "From: alice@example.org\nSubject: =?{label}?Q?{subject}?=\nMIME-Version: 1.0\nContent-Type: text/html; charset={label}\nContent-Transfer-Encoding: quoted-printable\n\n<p>=\n{body}</p>\n"
        ),
    );
}

fn utf16(shelf: &mut Shelf) {
    let text = "\u{feff}Grüße, 日本語 🎉\r\n.\r\n";
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (name, octets) in [("charset-utf16be-base64", big), ("charset-utf16le-base64", little)] {
        shelf.letter(
            name,
            "Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n",
            &base64(&octets),
        );
    }
}

fn mixed(shelf: &mut Shelf) {
    let plain = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n";
    for (name, body) in [
        ("text-right-to-left", "שלום, قال \u{202b}abc\u{202c} 123\n\u{200f}!\n"),
        ("text-emoji", "👋🏽 👩🏾‍🚀 🇩🇪🇹🇼 ❤️‍🔥 1️⃣ 🏴󠁧󠁢󠁳󠁣󠁴󠁿\n"),
        ("text-byte-order-mark", "\u{feff}begins with a mark\n"),
        ("text-unicode-line-ends", "one\u{85}two\u{2028}three\u{2029}four\u{b}five\n"),
        ("text-typography", "“Quotes” — dashes – … and 5 € ½ × №\u{a0}!\n"),
        ("text-mathematics", "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β\n𝔘𝔫𝔦𝔠𝔬𝔡𝔢\n"),
        ("text-dots-in-utf8", ".ü\n.\n..日本\n。\n．\n"),
        ("text-devanagari", "नमस्ते दुनिया\nক্ষ ത്ര ෂ්‍ය\n"),
        ("text-thai-line", "สวัสดีชาวโลกนี่เป็นบรรทัดที่ไม่มีช่องว่าง\n"),
    ] {
        shelf.letter(name, plain, body);
    }
    shelf.letter_of(
        "text-charset-lies",
        "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n",
        b"says ASCII, is not: \xe4\xf6\xfc \xc3\xa4\r\n.\xff\r\n",
    );
    shelf.letter_of("text-no-charset", "", b"says nothing: \xa4\xa4\xa4\xe5\r\n");
    shelf.letter_of(
        "text-two-charsets",
        "Content-Type: text/plain; charset=utf-8\n",
        b"utf-8: \xc3\xbc\r\nlatin1: \xfc\r\nsjis: \x83\x5c\r\n",
    );
}
