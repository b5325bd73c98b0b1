//! Dates in commands.

use super::CommandError;
use super::lexer::{Lexer, Result};
use super::search::Day;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WRONG: CommandError = CommandError::Syntax("not a date");

impl Day {
    /// A day of the calendar; `None` if there is no such day.
    pub fn from_date(year: u16, month: u8, day: u8) -> Option<Day> {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let length = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if day == 0 || day > length {
            return None;
        }
        // Years are counted from March, so that the leap day is the last of its year.
        let (year, month) = match month {
            1 | 2 => (i32::from(year) - 1, i32::from(month) + 9),
            _ => (i32::from(year), i32::from(month) - 3),
        };
        let of_year = (153 * month + 2) / 5 + i32::from(day) - 1;
        let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        Some(Day(365 * year + leap_days + of_year - 719_468))
    }
}

/// `date`: `1-Feb-1994`, between quotes or not.
pub(super) fn date(lexer: &mut Lexer<'_>) -> Result<Day> {
    let text = lexer.astring()?;
    parse_day(&text).ok_or(WRONG)
}

fn parse_day(text: &[u8]) -> Option<Day> {
    let mut parts = text.split(|octet| *octet == b'-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || day.len() > 2 || year.len() != 4 {
        return None;
    }
    let month = MONTHS.iter().position(|name| name.as_bytes().eq_ignore_ascii_case(month))?;
    Day::from_date(number(year)?, u8::try_from(month + 1).ok()?, u8::try_from(number(day)?).ok()?)
}

/// `date-time`: `"17-Jul-1996 02:44:25 -0700"`, in microseconds since the epoch.
pub(super) fn date_time(lexer: &mut Lexer<'_>) -> Result<i64> {
    let text = lexer.string()?;
    parse_date_time(&text).ok_or(WRONG)
}

fn parse_date_time(text: &[u8]) -> Option<i64> {
    // A day below ten has a space in front.
    let mut parts = text.strip_prefix(b" ").unwrap_or(text).split(|octet| *octet == b' ');
    let (day, time, zone) = (parts.next()?, parts.next()?, parts.next()?);
    let [h1, h2, b':', m1, m2, b':', s1, s2] = *time else { return None };
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[m1, m2])?, number(&[s1, s2])?);
    let [sign @ (b'+' | b'-'), zh1, zh2, zm1, zm2] = *zone else { return None };
    let (zone_hours, zone_minutes) = (number(&[zh1, zh2])?, number(&[zm1, zm2])?);
    // 60 is a leap second.
    if parts.next().is_some()
        || hour > 23
        || minute > 59
        || second > 60
        || zone_hours > 23
        || zone_minutes > 59
    {
        return None;
    }
    let zone = i64::from(zone_hours) * 3600 + i64::from(zone_minutes) * 60;
    let zone = if sign == b'-' { -zone } else { zone };
    let of_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Some((i64::from(parse_day(day)?.0) * 86_400 + of_day - zone) * 1_000_000)
}

/// At most four digits, and nothing else.
fn number(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 4 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        for (text, day) in [
            ("1-Jan-1970", Some(0)),
            ("01-JAN-1970", Some(0)),
            ("31-Dec-1969", Some(-1)),
            ("29-Feb-2000", Some(11_016)),
            ("1-Mar-2000", Some(11_017)),
            ("29-Feb-1900", None),
            ("31-Apr-2000", None),
            ("0-Jan-2000", None),
            ("1-Foo-2000", None),
            ("1-Jan-70", None),
            ("1-Jan-2000-", None),
            ("", None),
        ] {
            assert_eq!(parse_day(text.as_bytes()).map(|day| day.0), day, "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, micros) in [
            ("17-Jul-1996 02:44:25 -0700", Some(837_596_665_000_000)),
            (" 1-Jan-1970 00:00:00 +0000", Some(0)),
            ("01-Jan-1970 01:00:00 +0100", Some(0)),
            ("31-Dec-1998 23:59:60 +0000", Some(915_148_800_000_000)),
            ("1-Jan-1970 00:00 +0000", None),
            ("1-Jan-1970 24:00:00 +0000", None),
            ("1-Jan-1970 00:00:00 GMT", None),
            ("1-Jan-1970 00:00:00 +0000 ", None),
        ] {
            assert_eq!(parse_date_time(text.as_bytes()), micros, "{text}");
        }
    }
}
