//! Dates as mail writes them: RFC 5322 section 3.3, and the many ways in which they arrive.

use std::fmt::Write as _;

use jiff::Zoned;
use jiff::civil;
use jiff::tz::{Offset, TimeZone};

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// A date is not longer than this, comments included; what follows is not looked at.
const TEXT_MAX: usize = 256;

/// The date in the form `Sat, 21 Nov 2026 09:34:45 +0100` (RFC 5322 section 3.3).
pub fn format(at: &Zoned) -> String {
    let mut out = String::with_capacity(31);
    let weekday = WEEKDAYS[usize::from(at.weekday().to_monday_zero_offset().unsigned_abs()) % 7];
    let month = MONTHS[usize::from(at.month().unsigned_abs().saturating_sub(1)) % 12];
    let offset = at.offset().seconds();
    let minutes = offset.unsigned_abs() / 60;
    // Writing to a String does not fail.
    let _ = write!(
        out,
        "{weekday}, {} {month} {:04} {:02}:{:02}:{:02} {}{:02}{:02}",
        at.day(),
        at.year(),
        at.hour(),
        at.minute(),
        at.second(),
        if offset < 0 { '-' } else { '+' },
        minutes / 60,
        minutes % 60,
    );
    out
}

/// Reads a date, forgivingly: the weekday may be wrong or missing, the month may be written out, years may have two
/// digits and zones names (RFC 5322 section 4.3), comments may stand anywhere, seconds and zone may be missing, and the
/// form of `asctime` (`Sat Nov 21 09:34:45 2026`) is understood. An unknown zone counts as UTC.
pub fn parse(text: &str) -> Option<Zoned> {
    let mut parts = Parts::default();
    let text = text.get(..text.floor_char_boundary(TEXT_MAX)).unwrap_or(text);
    for word in Words(text) {
        parts.take(word)?;
    }
    parts.date()
}

/// What has been understood of a date so far.
#[derive(Default)]
struct Parts {
    day: Option<i8>,
    month: Option<i8>,
    year: Option<i16>,
    time: Option<civil::Time>,
    offset: Option<Offset>,
}

impl Parts {
    fn take(&mut self, word: &str) -> Option<()> {
        let bytes = word.as_bytes();
        if word.contains(':') {
            if self.time.is_none() {
                self.time = Some(time_of_day(word)?);
            }
        } else if let [b'+' | b'-', digits @ ..] = bytes {
            // Only the first zone counts: `-0500 (EST)`, `+0000 GMT`.
            if self.time.is_some() && self.offset.is_none() {
                self.offset = numeric_zone(bytes[0] == b'-', digits);
            }
        } else if bytes.iter().all(u8::is_ascii_digit) {
            self.take_number(word)?;
        } else if let Some(month) = self.month.is_none().then(|| month(word)).flatten() {
            self.month = Some(month);
        } else if self.time.is_some() && self.offset.is_none() {
            self.offset = named_zone(word);
        }
        Some(())
    }

    fn take_number(&mut self, word: &str) -> Option<()> {
        match (self.day, self.year) {
            (None, _) if word.len() <= 2 => self.day = Some(word.parse().ok()?),
            (_, None) => self.year = Some(year(word)?),
            _ => {}
        }
        Some(())
    }

    fn date(self) -> Option<Zoned> {
        let date = civil::Date::new(self.year?, self.month?, self.day?).ok()?;
        let offset = self.offset.unwrap_or(Offset::UTC);
        date.to_datetime(self.time.unwrap_or_default()).to_zoned(TimeZone::fixed(offset)).ok()
    }
}

/// `09:34`, `9:34:45`, `09:34:45.678`; a leap second counts as the one before it.
fn time_of_day(word: &str) -> Option<civil::Time> {
    let mut fields = word.splitn(3, ':').map(|field| {
        let digits = field.split('.').next().unwrap_or(field);
        (!digits.is_empty() && digits.len() <= 2).then(|| digits.parse::<i8>().ok()).flatten()
    });
    let hour = fields.next()??;
    let minute = fields.next()??;
    let second = fields.next().unwrap_or(Some(0))?;
    civil::Time::new(hour, minute, second.min(if second <= 60 { 59 } else { second }), 0).ok()
}

fn numeric_zone(negative: bool, digits: &[u8]) -> Option<Offset> {
    let digits: &[u8; 4] = digits.try_into().ok()?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let [h1, h2, m1, m2] = digits.map(|digit| i32::from(digit - b'0'));
    let seconds = (h1 * 10 + h2) * 3600 + (m1 * 10 + m2) * 60;
    Offset::from_seconds(if negative { -seconds } else { seconds }).ok()
}

/// The zones of RFC 5322 section 4.3 and those of Europe; `GMT+0200` too. Military letters and anything else count as
/// UTC, as that section asks.
fn named_zone(word: &str) -> Option<Offset> {
    let name_len = word.find(['+', '-']).unwrap_or(word.len());
    let (name, number) = word.split_at(name_len);
    if let [sign, digits @ ..] = number.as_bytes()
        && let Some(offset) = numeric_zone(*sign == b'-', digits)
    {
        return Some(offset);
    }
    let hours = match name.to_ascii_uppercase().as_str() {
        "EDT" => -4,
        "EST" | "CDT" => -5,
        "CST" | "MDT" => -6,
        "MST" | "PDT" => -7,
        "PST" => -8,
        "CET" | "MET" | "BST" => 1,
        "CEST" | "MEST" | "EET" => 2,
        "EEST" | "MSK" => 3,
        "JST" => 9,
        // An `am` or `pm` is no zone.
        "AM" | "PM" => return None,
        _ => 0,
    };
    Offset::from_hours(hours).ok()
}

fn month(word: &str) -> Option<i8> {
    let start = word.get(..3)?;
    let index = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(start))?;
    i8::try_from(index + 1).ok()
}

/// RFC 5322 section 4.3: two digits below 50 mean this century, other ones and three digits count from 1900.
fn year(word: &str) -> Option<i16> {
    let number: i16 = word.parse().ok()?;
    match (word.len(), number) {
        (1 | 2, 0..50) => Some(2000 + number),
        (2 | 3, _) => Some(1900 + number),
        (4, _) => Some(number),
        _ => None,
    }
}

/// The words of a date: what stands between white space and commas, without comments. Hyphens between the parts of
/// `21-Nov-2026` part words too, the one of a zone does not.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            self.0 = self.0.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if !self.0.starts_with('(') {
                break;
            }
            self.0 = after_comment(self.0);
        }
        let inside_date = |at: usize| {
            let (before, after) = self.0.split_at(at);
            before.ends_with(|c: char| c.is_ascii_digit())
                && after[1..].starts_with(|c: char| c.is_ascii_alphabetic())
                || before.len() == 3 && month(before).is_some()
        };
        let ends = |(at, c): (usize, char)| {
            c.is_whitespace() || c == ',' || c == '(' || (c == '-' && inside_date(at))
        };
        let end = self.0.char_indices().find(|found| ends(*found)).map_or(self.0.len(), |(at, _)| at);
        let (word, rest) = self.0.split_at(end);
        self.0 = if word.starts_with(['+', '-']) { rest } else { rest.strip_prefix('-').unwrap_or(rest) };
        (!word.is_empty()).then_some(word)
    }
}

/// What follows the comment at the start of `text`; comments nest (RFC 5322 section 3.2.2).
fn after_comment(text: &str) -> &str {
    let mut depth = 0usize;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return &text[at + c.len_utf8()..];
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn dates_are_written_as_rfc_5322_wants_them() {
        for (at, shown) in [
            ("2026-11-21T09:34:45+01:00[+01:00]", "Sat, 21 Nov 2026 09:34:45 +0100"),
            ("2026-02-01T00:00:00Z[UTC]", "Sun, 1 Feb 2026 00:00:00 +0000"),
            ("2026-02-02T23:59:59-03:30[-03:30]", "Mon, 2 Feb 2026 23:59:59 -0330"),
        ] {
            let at: Zoned = at.parse().unwrap();
            assert_eq!(format(&at), shown);
            assert_eq!(parse(shown), Some(at));
        }
    }

    #[test]
    fn dates_are_read_as_they_come() {
        for (text, meant) in [
            ("Sat, 21 Nov 2026 09:34:45 +0100", "Sat, 21 Nov 2026 09:34:45 +0100"),
            ("Mon, 21 Nov 2026 09:34:45 +0100 (CET)", "Sat, 21 Nov 2026 09:34:45 +0100"),
            ("21 Nov 2026 09:34 -0000", "Sat, 21 Nov 2026 09:34:00 +0000"),
            ("  (a (nested\\)) comment)21\t Nov(x)2026\r\n 9:34:45 +0100", "Sat, 21 Nov 2026 09:34:45 +0100"),
            ("Sat,21 November 26 09:34:45 EST", "Sat, 21 Nov 2026 09:34:45 -0500"),
            ("Thu, 21 Nov 96 09:34:60 GMT+0200", "Thu, 21 Nov 1996 09:34:59 +0200"),
            ("Thu, 21 Nov 0096 09:34:45 Z", "Wed, 21 Nov 0096 09:34:45 +0000"),
            ("Sat Nov 21 09:34:45 2026", "Sat, 21 Nov 2026 09:34:45 +0000"),
            ("Sat Nov 21 09:34:45 CET 2026", "Sat, 21 Nov 2026 09:34:45 +0100"),
            ("21-Nov-2026 09:34:45.123 UT", "Sat, 21 Nov 2026 09:34:45 +0000"),
            ("Sat, 21 Nov 102 09:34:45 Q", "Thu, 21 Nov 2002 09:34:45 +0000"),
            ("21 nov 2026", "Sat, 21 Nov 2026 00:00:00 +0000"),
        ] {
            assert_eq!(parse(text).map(|at| format(&at)).as_deref(), Some(meant), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        let long = "(".repeat(100_000);
        for text in [
            "",
            "yesterday",
            "31 Feb 2026 00:00:00",
            "1 Jan 2026 25:00",
            "1 Jan",
            "1 2 3 4 5",
            "-",
            "é(",
            &long,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
