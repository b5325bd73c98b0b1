//! The words that responses are made of (RFC 9051 section 9).

use std::borrow::Cow;

use bytes::Bytes;

use super::value::Data;

/// How deep lists may lie in each other. A message/rfc822 in another takes two levels of BODYSTRUCTURE.
const DEPTH_MAX: usize = 400;

/// Reads through a response, in which literals stand as they came: `{3}`, CRLF, octets. Everything answers `None` where
/// something else stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Cursor<'a> {
        Cursor { rest }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Goes over this, in whatever case.
    pub(super) fn eat(&mut self, text: &str) -> Option<()> {
        let (front, rest) = self.rest.split_at_checked(text.len())?;
        front.eq_ignore_ascii_case(text.as_bytes()).then(|| self.rest = rest)
    }

    pub(super) fn space(&mut self) -> Option<()> {
        self.eat(" ")?;
        // Some servers have more than one.
        while self.eat(" ").is_some() {}
        Some(())
    }

    fn take_while(&mut self, is: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&octet| !is(octet)).unwrap_or(self.rest.len());
        let (front, rest) = self.rest.split_at(end);
        self.rest = rest;
        front
    }

    /// Octets up to a space or parenthesis, one at least. Servers are forgiven what else they have in atoms.
    pub(super) fn word(&mut self) -> Option<&'a [u8]> {
        let word =
            self.take_while(|octet| !matches!(octet, b' ' | b'(' | b')' | b'"' | b'{' | b'\r' | b'\n'));
        (!word.is_empty()).then_some(word)
    }

    /// A word up to a bracket, too.
    pub(super) fn name(&mut self) -> Option<&'a [u8]> {
        let name =
            self.take_while(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_'));
        (!name.is_empty()).then_some(name)
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        let digits = self.take_while(|octet| octet.is_ascii_digit());
        if digits.is_empty() {
            return None;
        }
        let number = digits
            .iter()
            .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
        T::try_from(number).ok()
    }

    pub(super) fn nil(&mut self) -> Option<()> {
        let mut ahead = *self;
        let word = ahead.word()?;
        word.eq_ignore_ascii_case(b"NIL").then(|| *self = ahead)
    }

    /// `quoted`, `literal` or `literal8`.
    pub(super) fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        if let [b'"', rest @ ..] = self.rest {
            return self.quoted(rest);
        }
        let mut ahead = *self;
        let _ = ahead.eat("~");
        let length: usize = ahead.literal_length()?;
        ahead.eat("\r\n")?;
        let (octets, rest) = ahead.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Cow::Borrowed(octets))
    }

    fn quoted(&mut self, text: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let end = memchr::memchr2(b'"', b'\\', text)?;
        let (plain, rest) = text.split_at(end);
        if let [b'"', rest @ ..] = rest {
            self.rest = rest;
            return Some(Cow::Borrowed(plain));
        }
        let mut unescaped = plain.to_vec();
        let mut rest = rest.iter();
        loop {
            match rest.next()? {
                b'"' => break,
                b'\\' => unescaped.push(*rest.next()?),
                octet => unescaped.push(*octet),
            }
        }
        self.rest = rest.as_slice();
        Some(Cow::Owned(unescaped))
    }

    /// `{n}`
    fn literal_length<T: TryFrom<u64>>(&mut self) -> Option<T> {
        self.eat("{")?;
        let length = self.number()?;
        let _ = self.eat("+");
        self.eat("}")?;
        Some(length)
    }

    /// How long the literal is that the rest announces, if it does nothing else: its octets are still to come.
    pub(super) fn announced(&self) -> Option<u64> {
        let mut ahead = *self;
        let _ = ahead.eat("~");
        let length = ahead.literal_length()?;
        ahead.is_at_end().then_some(length)
    }

    /// A string or NIL.
    pub(super) fn nstring(&mut self) -> Option<Option<Cow<'a, [u8]>>> {
        match self.nil() {
            Some(()) => Some(None),
            None => self.string().map(Some),
        }
    }

    /// A string or a word. NIL is a word here.
    pub(super) fn astring(&mut self) -> Option<Cow<'a, [u8]>> {
        match self.rest.first()? {
            b'"' | b'{' => self.string(),
            _ => self.word().map(Cow::Borrowed),
        }
    }

    pub(super) fn text(&mut self) -> Option<String> {
        self.astring().map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    /// What stands between parentheses, item by item.
    pub(super) fn list(&mut self, mut item: impl FnMut(&mut Cursor<'a>) -> Option<()>) -> Option<()> {
        self.eat("(")?;
        loop {
            while self.eat(" ").is_some() {}
            if self.eat(")").is_some() {
                return Some(());
            }
            item(self)?;
        }
    }

    /// Words and strings between parentheses.
    pub(super) fn texts(&mut self) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        self.list(|cursor| {
            texts.push(cursor.text()?);
            Some(())
        })?;
        Some(texts)
    }

    /// `1:3,5`
    pub(super) fn ranges(&mut self) -> Option<Vec<(u32, u32)>> {
        let mut ranges = Vec::new();
        loop {
            let first = self.number()?;
            let last = if self.eat(":").is_some() { self.number()? } else { first };
            ranges.push((first, last));
            if self.eat(",").is_none() {
                return Some(ranges);
            }
        }
    }

    /// Anything at all.
    pub(super) fn data(&mut self) -> Option<Data> {
        self.data_at(DEPTH_MAX)
    }

    fn data_at(&mut self, depth: usize) -> Option<Data> {
        match self.rest.first()? {
            b'(' => {
                let depth = depth.checked_sub(1)?;
                let mut items = Vec::new();
                self.list(|cursor| {
                    items.push(cursor.data_at(depth)?);
                    Some(())
                })?;
                Some(Data::List(items))
            }
            b'"' | b'{' => self.string().map(|text| Data::Text(Bytes::copy_from_slice(&text))),
            b'~' if self.rest.starts_with(b"~{") => {
                self.string().map(|text| Data::Text(Bytes::copy_from_slice(&text)))
            }
            _ if self.nil().is_some() => Some(Data::Nil),
            _ => self.word().map(|word| Data::Word(Bytes::copy_from_slice(word))),
        }
    }

    /// `"17-Jul-1996 02:44:25 -0700"` in microseconds since the epoch.
    pub(super) fn date_time(&mut self) -> Option<i64> {
        let text = self.string()?;
        let mut date = Cursor::new(text.trim_ascii());
        let day: i64 = date.number::<u32>()?.into();
        date.eat("-")?;
        let month = date.name_of_month()?;
        date.eat("-")?;
        let year: i64 = date.number::<u32>().filter(|&year| year <= 9999)?.into();
        date.space()?;
        let mut clock = [0_i64; 3];
        for (index, part) in clock.iter_mut().enumerate() {
            if index > 0 {
                date.eat(":")?;
            }
            *part = date.number::<u32>()?.into();
        }
        date.space()?;
        let sign = if date.eat("-").is_some() { -1 } else { date.eat("+").map(|()| 1)? };
        let zone: i64 = date.number::<u32>()?.into();
        let [hour, minute, second] = clock;
        let sane = (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 62 && zone < 10_000;
        let offset = sign * (zone / 100 * 3600 + zone % 100 * 60);
        let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
        (sane && date.is_at_end()).then_some(seconds * 1_000_000)
    }

    fn name_of_month(&mut self) -> Option<i64> {
        let (name, rest) = self.rest.split_at_checked(3)?;
        self.rest = rest;
        const MONTHS: [&[u8]; 12] =
            [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
        let month = MONTHS.iter().position(|month| name.eq_ignore_ascii_case(month))?;
        i64::try_from(month).ok().map(|month| month + 1)
    }
}

/// Days from 1970-01-01 to this day. Years are counted from March, so that the leap day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::response::write;

    #[test]
    fn strings() {
        for (text, expected) in [
            (&b"\"\""[..], Some(&b""[..])),
            (b"\"a b\"", Some(b"a b")),
            (br#""a \"b\" \\""#, Some(br#"a "b" \"#)),
            (b"\"a", None),
            (b"\"a\\", None),
            (b"{3}\r\nabc", Some(b"abc")),
            (b"~{1}\r\n\0", Some(b"\0")),
            (b"{3+}\r\nabc", Some(b"abc")),
            (b"{4}\r\nabc", None),
            (b"{99999999999999999999}\r\nabc", None),
            (b"{}\r\n", None),
            (b"abc", None),
        ] {
            assert_eq!(Cursor::new(text).string().as_deref(), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn dates_there_and_back() {
        for micros in [
            0,
            -1_000_000,
            837_571_465_000_000,
            951_782_400_000_000,
            4_102_444_800_000_000,
            -62_167_219_200_000_000,
        ] {
            let mut out = BytesMut::new();
            write::date_time(micros, &mut out);
            assert_eq!(Cursor::new(&out).date_time(), Some(micros), "{out:?}");
        }
        let date = |text: &str| Cursor::new(text.as_bytes()).date_time();
        assert_eq!(date("\"17-jul-1996 02:44:25 -0730\""), Some((837_571_465 + 27_000) * 1_000_000));
        assert_eq!(date("\"7-Jul-1996 02:44:25 +0000\""), date("\" 7-Jul-1996 02:44:25 +0000\""));
        for text in
            ["\"\"", "\"17-Jul-1996\"", "\"17-Foo-1996 02:44:25 +0000\"", "\"1-Jan-1970 24:00:00 +0000\""]
        {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn lists_are_not_followed_without_end() {
        let nested = |depth| [b"(".repeat(depth), b")".repeat(depth)].concat();
        assert!(Cursor::new(&nested(DEPTH_MAX)).data().is_some());
        assert!(Cursor::new(&nested(DEPTH_MAX + 1)).data().is_none());
        assert!(Cursor::new(&nested(1_000_000)).data().is_none());
    }
}
