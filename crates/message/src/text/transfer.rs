//! Content transfer encodings (RFC 2045 section 6), decoded as the octets pass by.

use memchr::memchr3;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all: `7bit`, `8bit` or `binary`.
    Identity,
    /// `base64` (RFC 2045 section 6.8).
    Base64,
    /// `quoted-printable` (RFC 2045 section 6.7).
    QuotedPrintable,
}

impl Encoding {
    /// Finds the encoding with this name; no name means none. `None` is one that nobody knows.
    pub fn named(name: Option<&[u8]>) -> Option<Encoding> {
        let Some(name) = name else { return Some(Encoding::Identity) };
        if name.is_empty() || crate::structure::is_identity(name) {
            Some(Encoding::Identity)
        } else if name.eq_ignore_ascii_case(b"base64") {
            Some(Encoding::Base64)
        } else if name.eq_ignore_ascii_case(b"quoted-printable") {
            Some(Encoding::QuotedPrintable)
        } else {
            None
        }
    }
}

/// Decodes a body while it passes by.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    is_sound: bool,
}

#[derive(Debug, Clone)]
enum State {
    Identity,
    Base64 {
        /// Bits that do not make an octet yet, and how many digits they came in.
        bits: u32,
        digits: u8,
        /// 1 where one more equals sign has to come, 2 where the last one came.
        padding: u8,
    },
    Quoted {
        /// White space that is dropped if the line ends after it, or the beginning of an escape.
        held: Vec<u8>,
    },
}

/// White space in a row that a decoder of quoted-printable holds back; more than this is let go.
const HELD_MAX: usize = 1024;
/// What is no digit of base64.
const NO_DIGIT: u8 = 0xff;

const DIGITS: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut at = 0;
    while at < 64 {
        table[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    table
};

impl Decoder {
    /// A decoder before the first octet.
    pub fn new(encoding: Encoding) -> Decoder {
        let state = match encoding {
            Encoding::Identity => State::Identity,
            Encoding::Base64 => State::Base64 { bits: 0, digits: 0, padding: 0 },
            Encoding::QuotedPrintable => State::Quoted { held: Vec::new() },
        };
        Decoder { state, is_sound: true }
    }

    /// Whether all that was decoded so far was encoded as RFC 2045 has it. Space and line breaks of any kind are fine.
    pub fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// Decodes a piece and appends what comes out.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        match &mut self.state {
            State::Identity => out.extend_from_slice(input),
            State::Base64 { bits, digits, padding } => {
                let sound = base64(input, bits, digits, padding, out);
                self.is_sound &= sound;
            }
            State::Quoted { held } => {
                let sound = if held.is_empty() {
                    quoted(input, held, out)
                } else {
                    let mut joined = std::mem::take(held);
                    joined.extend_from_slice(input);
                    quoted(&joined, held, out)
                };
                self.is_sound &= sound;
            }
        }
    }

    /// The body is over: appends what is left.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match &mut self.state {
            State::Identity => {}
            State::Base64 { bits, digits, padding } => {
                self.is_sound &= *digits == 0 && *padding != 1;
                flush(bits, digits, out);
                *padding = 0;
            }
            State::Quoted { held } => {
                // White space at the end of a line goes, at the end of the body as well.
                let end = held.trim_ascii_end().len();
                held.truncate(end);
                self.is_sound &= held.first() != Some(&b'=');
                if held.first() == Some(&b'=') && held.len() > 1 {
                    out.append(held);
                }
                held.clear();
            }
        }
    }
}

/// Octets that incomplete digits stand for.
fn flush(bits: &mut u32, digits: &mut u8, out: &mut Vec<u8>) {
    match *digits {
        2 => out.push((*bits >> 4) as u8),
        3 => out.extend([(*bits >> 10) as u8, (*bits >> 2) as u8]),
        _ => {}
    }
    (*bits, *digits) = (0, 0);
}

fn base64(input: &[u8], bits: &mut u32, digits: &mut u8, padding: &mut u8, out: &mut Vec<u8>) -> bool {
    let mut sound = true;
    out.reserve(input.len() / 4 * 3 + 3);
    let mut rest = input;
    loop {
        // Four digits at a time, as long as nothing else comes.
        while *digits == 0
            && *padding == 0
            && let Some((&[a, b, c, d], after)) = rest.split_first_chunk::<4>()
        {
            let [a, b, c, d] = [a, b, c, d].map(|octet| DIGITS[usize::from(octet)]);
            if (a | b | c | d) & 0x80 != 0 {
                break;
            }
            let group = u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d);
            let [_, first, second, third] = group.to_be_bytes();
            out.extend_from_slice(&[first, second, third]);
            rest = after;
        }
        let Some((&octet, after)) = rest.split_first() else { return sound };
        rest = after;
        let digit = DIGITS[usize::from(octet)];
        if digit != NO_DIGIT {
            // Some programs put encoded pieces one after the other, each with its padding.
            if *padding > 0 {
                sound = false;
                *padding = 0;
            }
            *bits = *bits << 6 | u32::from(digit);
            *digits += 1;
            if *digits == 4 {
                let [_, first, second, third] = bits.to_be_bytes();
                out.extend_from_slice(&[first, second, third]);
                (*bits, *digits) = (0, 0);
            }
        } else if octet == b'=' {
            match (*digits, *padding) {
                (2, _) => *padding = 1,
                (3, _) | (0, 1) => *padding = 2,
                _ => sound = false,
            }
            flush(bits, digits, out);
        } else if !matches!(octet, b' ' | b'\t' | b'\r' | b'\n') {
            sound = false;
        }
    }
}

/// Decodes quoted-printable up to what the next piece decides, which is held.
fn quoted(input: &[u8], held: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
    let mut sound = true;
    let mut rest = input;
    out.reserve(input.len());
    while let Some(found) = memchr3(b'=', b'\n', b'\r', rest).or((!rest.is_empty()).then_some(rest.len())) {
        let (text, after) = rest.split_at(found);
        match after {
            [] => {
                // White space that may stand at the end of a line.
                let kept = text.len() - trailing_space(text);
                let (text, space) =
                    text.split_at(if text.len() - kept > HELD_MAX { text.len() } else { kept });
                out.extend_from_slice(text);
                held.extend_from_slice(space);
                return sound;
            }
            [b'=', ..] => {
                out.extend_from_slice(text);
                match escape(after) {
                    Escape::Octet(octet) => {
                        out.push(octet);
                        rest = after.get(3..).unwrap_or_default();
                    }
                    Escape::Break(length) => rest = after.get(length..).unwrap_or_default(),
                    Escape::Open if after.len() <= HELD_MAX => {
                        held.extend_from_slice(after);
                        return sound;
                    }
                    Escape::None | Escape::Open => {
                        sound = false;
                        out.push(b'=');
                        rest = after.get(1..).unwrap_or_default();
                    }
                }
            }
            [b'\r'] => {
                held.extend_from_slice(
                    text.get(text.len() - trailing_space(text).min(HELD_MAX)..).unwrap_or_default(),
                );
                out.extend_from_slice(text.get(..text.len() - held.len()).unwrap_or_default());
                held.push(b'\r');
                return sound;
            }
            [b'\r', next, ..] if *next != b'\n' => {
                out.extend_from_slice(text);
                out.push(b'\r');
                rest = after.get(1..).unwrap_or_default();
            }
            _ => {
                out.extend_from_slice(text.get(..text.len() - trailing_space(text)).unwrap_or_default());
                let length = if after.starts_with(b"\r\n") { 2 } else { 1 };
                let (line_end, after) = after.split_at(length);
                out.extend_from_slice(line_end);
                rest = after;
            }
        }
    }
    sound
}

enum Escape {
    Octet(u8),
    /// A soft line break of so many octets.
    Break(usize),
    None,
    /// The end of the piece comes first.
    Open,
}

/// What an equals sign begins.
fn escape(text: &[u8]) -> Escape {
    let hex = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match text {
        [_, first, rest @ ..] if let Some(high) = hex(*first) => match rest.first() {
            None => Escape::Open,
            Some(second) => hex(*second).map_or(Escape::None, |low| Escape::Octet(high << 4 | low)),
        },
        [_, rest @ ..] => {
            let spaces = rest.iter().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
            match rest.get(spaces..).unwrap_or_default() {
                [] | [b'\r'] => Escape::Open,
                [b'\n', ..] => Escape::Break(spaces + 2),
                [b'\r', b'\n', ..] => Escape::Break(spaces + 3),
                _ => Escape::None,
            }
        }
        [] => Escape::None,
    }
}

fn trailing_space(text: &[u8]) -> usize {
    text.iter().rev().take_while(|octet| matches!(octet, b' ' | b'\t')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoding: Encoding, text: &[u8]) -> (String, bool) {
        let [one, cut] = [text.len().max(1), 1].map(|size| {
            let mut decoder = Decoder::new(encoding);
            let mut out = Vec::new();
            text.chunks(size).for_each(|chunk| decoder.push(chunk, &mut out));
            decoder.finish(&mut out);
            (out.escape_ascii().to_string(), decoder.is_sound())
        });
        assert_eq!(one, cut, "{}", text.escape_ascii());
        one
    }

    #[test]
    fn base64_is_read_as_it_comes() {
        for (text, meant, sound) in [
            ("", "", true),
            ("SGVsbG8=", "Hello", true),
            ("SGVs\r\nbG8=\r\n", "Hello", true),
            ("S G\tV s\nbG8h", "Hello!", true),
            ("QQ==", "A", true),
            ("QQ==QQ==", "AA", false),
            ("QUI=QUI=\r\n", "ABAB", false),
            ("QQ", "A", false),
            ("QQ=", "A", false),
            ("QUI", "AB", false),
            ("Q", "", false),
            ("S!G*Vs", "Hel", false),
            ("====", "", false),
            ("SGVs====bG8=", "Hello", false),
        ] {
            assert_eq!(decoded(Encoding::Base64, text.as_bytes()), (meant.to_owned(), sound), "{text}");
        }
    }

    #[test]
    fn quoted_printable_is_read_as_it_comes() {
        for (text, meant, sound) in [
            ("", "", true),
            ("a=3Db=C3=BC\r\n", "a=b\\xc3\\xbc\\r\\n", true),
            ("soft=\r\nbreak=\nagain=  \t\r\nend", "softbreakagainend", true),
            ("space  \t\r\nat end \nx \r", "space\\r\\nat end\\nx", true),
            ("=c3=bc", "\\xc3\\xbc", true),
            ("=GG =3 =3g", "=GG =3 =3g", false),
            ("ends with=", "ends with", false),
            ("a\rb", "a\\rb", true),
            ("half=4", "half=4", false),
            ("tail  ", "tail", true),
        ] {
            let (out, is_sound) = decoded(Encoding::QuotedPrintable, text.as_bytes());
            assert_eq!(out, meant, "{text}");
            assert_eq!(is_sound, sound, "{text}");
        }
        let spaces = format!("{}x", " ".repeat(5000));
        assert_eq!(decoded(Encoding::QuotedPrintable, spaces.as_bytes()).0, spaces);
    }
}
