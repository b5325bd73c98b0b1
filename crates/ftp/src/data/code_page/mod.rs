//! EBCDIC code pages: what the octets of TYPE E stand for.

mod tables;

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use tables::Table;
use thiserror::Error;

/// In the pages with a euro sign it stands where the others have the currency sign.
const CURRENCY_SIGN: char = '\u{a4}';
const EURO_SIGN: char = '\u{20ac}';
/// Stands for a character that a page does not have.
const SUBSTITUTE: u8 = 0x3f;
/// Next line, which ends a line of EBCDIC text (RFC 959 section 3.1.1.2).
pub const NL: u8 = 0x15;
const LF: u8 = 0x25;
const NOT_ASCII: u8 = 0x80;
/// Space, the filler of compressed mode (RFC 959 section 3.4.3).
pub const SPACE: u8 = 0x40;

/// An EBCDIC code page. Each has 256 different characters, so octets may come and go through text without a loss.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodePage(&'static Page);

#[derive(PartialEq, Eq, Hash)]
struct Page {
    number: u16,
    table: &'static Table,
    euro: bool,
}

macro_rules! pages {
    ($($number:literal $table:ident $euro:literal,)*) => {
        static PAGES: &[Page] = &[$(Page { number: $number, table: &tables::$table, euro: $euro }),*];
    };
}

pages! {
    37 CP037 false, 273 CP273 false, 277 CP277 false, 278 CP278 false, 280 CP280 false, 284 CP284 false,
    285 CP285 false, 297 CP297 false, 500 CP500 false, 871 CP871 false, 1026 CP1026 false, 1047 CP1047 false,
    1140 CP037 true, 1141 CP273 true, 1142 CP277 true, 1143 CP278 true, 1144 CP280 true, 1145 CP284 true,
    1146 CP285 true, 1147 CP297 true, 1148 CP500 true, 1149 CP871 true,
}

/// No such code page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no EBCDIC code page of this number is known")]
pub struct UnknownCodePage;

/// A page made ready for use in both directions.
pub(super) struct Converter {
    to_char: [char; 256],
    /// The same for characters of ASCII; others are [`NOT_ASCII`].
    to_ascii: [u8; 256],
    /// For characters below U+0100, which nearly all are.
    from_latin: [u8; 256],
    /// The others, by character.
    from_other: Vec<(char, u8)>,
}

impl CodePage {
    /// All that are known, by number.
    pub fn all() -> impl Iterator<Item = CodePage> {
        PAGES.iter().map(CodePage)
    }

    /// The page of this number.
    pub fn new(number: u16) -> Result<CodePage, UnknownCodePage> {
        PAGES.iter().find(|page| page.number == number).map(CodePage).ok_or(UnknownCodePage)
    }

    /// Its number.
    pub fn number(self) -> u16 {
        self.0.number
    }

    /// The character of an octet. NL is the line feed that ends lines of text here, and LF the C1 control that Unicode
    /// calls next line: IBM's open systems exchange the two like this.
    pub fn decode(self, octet: u8) -> char {
        self.converter().to_char[usize::from(octet)]
    }

    /// The octet of a character; SUB if the page does not have it.
    pub fn encode(self, character: char) -> u8 {
        self.converter().encode(character)
    }

    pub(super) fn converter(self) -> &'static Converter {
        static READY: [OnceLock<Box<Converter>>; 22] = [const { OnceLock::new() }; 22];
        let place = PAGES.iter().position(|page| page.number == self.0.number).unwrap_or_default();
        READY[place].get_or_init(|| Box::new(Converter::new(self.0)))
    }
}

impl Default for CodePage {
    /// 037.
    fn default() -> CodePage {
        CodePage(&PAGES[0])
    }
}

impl fmt::Debug for CodePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodePage({self})")
    }
}

impl fmt::Display for CodePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0.number)
    }
}

impl FromStr for CodePage {
    type Err = UnknownCodePage;

    /// A number, with or without what people write before it: `037`, `IBM-1047`, `cp500`.
    fn from_str(text: &str) -> Result<CodePage, UnknownCodePage> {
        let digits = text.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '-' || c == '_');
        CodePage::new(digits.parse().map_err(|_| UnknownCodePage)?)
    }
}

impl Converter {
    fn new(page: &Page) -> Converter {
        let mut to_char = ['\0'; 256];
        for (slot, value) in to_char.iter_mut().zip(page.table) {
            let character = char::from_u32(u32::from(*value)).unwrap_or('\u{1a}');
            *slot = if page.euro && character == CURRENCY_SIGN { EURO_SIGN } else { character };
        }
        to_char.swap(usize::from(NL), usize::from(LF));
        let to_ascii = to_char.map(|c| if c.is_ascii() { c as u8 } else { NOT_ASCII });
        let mut from_latin = [SUBSTITUTE; 256];
        let mut from_other = Vec::new();
        for (octet, character) in (0..=u8::MAX).zip(to_char) {
            match from_latin.get_mut(character as usize) {
                Some(slot) => *slot = octet,
                None => from_other.push((character, octet)),
            }
        }
        Converter { to_char, to_ascii, from_latin, from_other }
    }

    pub(super) fn decode(&self, octet: u8) -> char {
        self.to_char[usize::from(octet)]
    }

    /// Replaces octets by the characters of ASCII that they stand for; false if one of them stands for something else.
    pub(super) fn decode_ascii(&self, octets: &mut [u8]) -> bool {
        let mut all = 0;
        for octet in octets {
            *octet = self.to_ascii[usize::from(*octet)];
            all |= *octet;
        }
        all < NOT_ASCII
    }

    pub(super) fn encode(&self, character: char) -> u8 {
        match self.from_latin.get(character as usize) {
            Some(octet) => *octet,
            None => {
                self.from_other.iter().find(|(c, _)| *c == character).map_or(SUBSTITUTE, |(_, octet)| *octet)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_comes_back() {
        for page in CodePage::all() {
            for octet in 0..=u8::MAX {
                assert_eq!(page.encode(page.decode(octet)), octet, "{page} {octet:02x}");
            }
        }
    }

    #[test]
    fn well_known_places() {
        // "Hello, World!\n" in 037 and 1047, which differ in the brackets.
        let hello = [0xc8, 0x85, 0x93, 0x93, 0x96, 0x6b, 0x40, 0xe6, 0x96, 0x99, 0x93, 0x84, 0x5a, 0x15];
        for page in ["037", "1047", "IBM1140"] {
            let page: CodePage = page.parse().unwrap();
            assert_eq!(hello.map(|o| page.decode(o)).iter().collect::<String>(), "Hello, World!\n");
        }
        assert_eq!(CodePage::new(37).unwrap().encode('['), 0xba);
        assert_eq!(CodePage::new(1047).unwrap().encode('['), 0xad);
        assert_eq!(CodePage::new(500).unwrap().encode('['), 0x4a);
        assert_eq!(CodePage::new(1140).unwrap().encode('€'), 0x9f);
        assert_eq!(CodePage::new(37).unwrap().encode('€'), SUBSTITUTE);
        assert_eq!(CodePage::new(273).unwrap().encode('Ä'), 0x4a);
        assert!("4711".parse::<CodePage>().is_err());
        assert_eq!(CodePage::default().to_string(), "037");
    }
}
