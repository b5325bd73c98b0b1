//! Charsets: what is not UTF-8 becomes it.

use encoding_rs::{CoderResult, UTF_8, WINDOWS_1252};

/// How octets stand for characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charset(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Of(&'static encoding_rs::Encoding),
    /// RFC 2152, which no browser reads any more.
    Utf7,
}

impl Charset {
    /// UTF-8, and ASCII, which is part of it.
    pub const UTF_8: Charset = Charset(Kind::Of(UTF_8));

    /// Finds the charset with this name, in any case. `None` is one that nobody knows.
    pub fn named(name: &[u8]) -> Option<Charset> {
        let name = name.trim_ascii();
        // Plain ASCII and UTF-8 are nearly all there is. Octets above ASCII in text that calls itself ASCII are more often
        // UTF-8 than what browsers take them for.
        for ascii in [&b"utf-8"[..], b"us-ascii", b"utf8", b"ascii", b"ansi_x3.4-1968", b"646"] {
            if name.eq_ignore_ascii_case(ascii) {
                return Some(Charset::UTF_8);
            }
        }
        for utf7 in [&b"utf-7"[..], b"unicode-1-1-utf-7", b"utf7"] {
            if name.eq_ignore_ascii_case(utf7) {
                return Some(Charset(Kind::Utf7));
            }
        }
        if let Some(found) = encoding_rs::Encoding::for_label(name) {
            return Some(Charset(Kind::Of(found)));
        }
        // Names that programs write and the Web does not know: `cp1252`, `iso-8859-8-i`, `windows1250` without the hyphen.
        let digits = name.iter().position(u8::is_ascii_digit).and_then(|at| name.get(at..))?;
        let prefix = name.get(..name.len() - digits.len())?;
        let is = |name: &[u8]| prefix.eq_ignore_ascii_case(name);
        if is(b"cp") || is(b"cp-") || is(b"windows") || is(b"win") || is(b"win-") || is(b"x-cp") {
            if digits == b"65001" {
                return Some(Charset::UTF_8);
            }
            return encoding_rs::Encoding::for_label(&[b"windows-", digits].concat())
                .or(match digits {
                    b"932" => Some(encoding_rs::SHIFT_JIS),
                    b"936" => Some(encoding_rs::GBK),
                    b"949" => Some(encoding_rs::EUC_KR),
                    b"950" => Some(encoding_rs::BIG5),
                    b"866" => Some(encoding_rs::IBM866),
                    _ => None,
                })
                .map(|found| Charset(Kind::Of(found)));
        }
        None
    }

    /// The charset a text is in, given its `charset` parameter: what is unknown counts as Western, which shows at
    /// least the ASCII in it.
    pub fn of_param(param: Option<&[u8]>) -> Charset {
        match param {
            None | Some(b"") => Charset::UTF_8,
            Some(name) => Charset::named(name).unwrap_or(Charset(Kind::Of(WINDOWS_1252))),
        }
    }

    /// Whether octets below 128 always stand for themselves, whatever stood before them, except where that is the beginning
    /// of a character that they break off.
    pub(crate) fn keeps_ascii(self) -> bool {
        match self.0 {
            Kind::Of(encoding) => encoding == UTF_8 || encoding.is_single_byte(),
            Kind::Utf7 => false,
        }
    }

    /// A decoder before the first octet.
    pub fn decoder(self) -> Decoder {
        match self.0 {
            Kind::Of(encoding) => {
                Decoder { inner: Inner::Of(Box::new(encoding.new_decoder_without_bom_handling())) }
            }
            Kind::Utf7 => Decoder { inner: Inner::Utf7(Utf7::default()) },
        }
    }

    /// Decodes a whole text.
    pub fn decode(self, octets: &[u8]) -> String {
        if self == Charset::UTF_8 {
            return String::from_utf8_lossy(octets).into_owned();
        }
        let mut out = String::with_capacity(octets.len());
        let mut decoder = self.decoder();
        decoder.push(octets, &mut out);
        decoder.finish(&mut out);
        out
    }
}

/// Decodes a text while it passes by. What cannot be decoded becomes U+FFFD.
pub struct Decoder {
    inner: Inner,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.inner {
            Inner::Of(decoder) => f.debug_tuple("Decoder").field(&decoder.encoding().name()).finish(),
            Inner::Utf7(utf7) => f.debug_tuple("Decoder").field(utf7).finish(),
        }
    }
}

enum Inner {
    Of(Box<encoding_rs::Decoder>),
    Utf7(Utf7),
}

impl Decoder {
    /// Decodes a piece and appends what comes out.
    pub fn push(&mut self, input: &[u8], out: &mut String) {
        match &mut self.inner {
            Inner::Of(decoder) => decode(decoder, input, false, out),
            Inner::Utf7(utf7) => utf7.push(input, out),
        }
    }

    /// The text is over: appends what is left.
    pub fn finish(&mut self, out: &mut String) {
        match &mut self.inner {
            Inner::Of(decoder) => decode(decoder, b"", true, out),
            Inner::Utf7(utf7) => utf7.end_shift(out),
        }
    }
}

fn decode(decoder: &mut encoding_rs::Decoder, input: &[u8], last: bool, out: &mut String) {
    let mut rest = input;
    loop {
        out.reserve(
            decoder.max_utf8_buffer_length(rest.len()).unwrap_or(rest.len()).min(rest.len() * 3 + 16),
        );
        let (result, read, _) = decoder.decode_to_string(rest, out, last);
        rest = rest.get(read..).unwrap_or_default();
        if result == CoderResult::InputEmpty {
            return;
        }
    }
}

/// UTF-7: ASCII, and between `+` and what is no digit of base64, UTF-16.
#[derive(Debug, Default)]
struct Utf7 {
    shifted: bool,
    bits: u32,
    count: u32,
    /// Nothing has followed the `+` yet.
    fresh: bool,
    high: Option<u16>,
}

impl Utf7 {
    fn push(&mut self, input: &[u8], out: &mut String) {
        for &octet in input {
            if !self.shifted {
                if octet == b'+' {
                    *self = Utf7 { shifted: true, fresh: true, ..Utf7::default() };
                } else {
                    out.push(if octet.is_ascii() { char::from(octet) } else { char::REPLACEMENT_CHARACTER });
                }
                continue;
            }
            let digit = match octet {
                b'A'..=b'Z' => octet - b'A',
                b'a'..=b'z' => octet - b'a' + 26,
                b'0'..=b'9' => octet - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => {
                    if self.fresh && octet == b'-' {
                        out.push('+');
                        self.shifted = false;
                        continue;
                    }
                    self.end_shift(out);
                    if octet != b'-' {
                        out.push(if octet.is_ascii() {
                            char::from(octet)
                        } else {
                            char::REPLACEMENT_CHARACTER
                        });
                    }
                    continue;
                }
            };
            self.fresh = false;
            self.bits = self.bits << 6 | u32::from(digit);
            self.count += 6;
            if self.count >= 16 {
                self.count -= 16;
                let unit = (self.bits >> self.count) as u16;
                self.bits &= (1 << self.count) - 1;
                self.unit(unit, out);
            }
        }
    }

    fn unit(&mut self, unit: u16, out: &mut String) {
        if let Some(high) = self.high.take() {
            if let Some(Ok(c)) = char::decode_utf16([high, unit]).next() {
                return out.push(c);
            }
            out.push(char::REPLACEMENT_CHARACTER);
        }
        match unit {
            0xd800..0xdc00 => self.high = Some(unit),
            unit => out.push(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER)),
        }
    }

    fn end_shift(&mut self, out: &mut String) {
        if self.high.take().is_some() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
        *self = Utf7::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_decoded_in_any_pieces() {
        for (charset, octets, meant) in [
            ("utf-8", &b"Gr\xc3\xbc\xc3\x9fe \xff"[..], "Grüße \u{fffd}"),
            ("US-ASCII", b"Gr\xc3\xbc\xc3\x9fe", "Grüße"),
            ("iso-8859-1", b"Gr\xfc\xdfe", "Grüße"),
            ("cp1252", b"\x80uro", "€uro"),
            ("Windows-1251", b"\xcf\xf0\xe8\xe2\xe5\xf2", "Привет"),
            ("koi8-r", b"\xf0\xd2\xc9\xd7\xc5\xd4", "Привет"),
            ("shift_jis", b"\x93\xfa\x96\x7b", "日本"),
            ("iso-2022-jp", b"\x1b$BF|K\\\x1b(B!", "日本!"),
            ("gb2312", b"\xd6\xd0\xce\xc4", "中文"),
            ("euc-kr", b"\xc7\xd1", "한"),
            ("utf-16le", b"a\0\xfc\0", "aü"),
            ("utf-7", b"Hi Mom -+Jjo--! +- +AOQ-x +2D3eAA", "Hi Mom -☺-! + äx 😀"),
        ] {
            let charset = Charset::named(charset.as_bytes()).unwrap_or(Charset::UTF_8);
            assert_eq!(charset.decode(octets), meant);
            let (mut decoder, mut out) = (charset.decoder(), String::new());
            octets.chunks(1).for_each(|piece| decoder.push(piece, &mut out));
            decoder.finish(&mut out);
            assert_eq!(out, meant);
        }
        assert_eq!(Charset::named(b"klingon"), None);
        assert_eq!(Charset::of_param(Some(b"klingon")).decode(b"ok \xe4"), "ok ä");
        assert!(!Charset(Kind::Of(encoding_rs::GB18030)).keeps_ascii());
    }
}
