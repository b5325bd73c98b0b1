//! Points in time as files have them (RFC 3659 section 2.3).

use std::fmt;

/// `YYYYMMDDHHMMSS[.fraction]`, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileTime {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: u32,
}

impl FileTime {
    /// Reads one.
    pub fn parse(text: &str) -> Option<FileTime> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.len() != 14 || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return None;
        }
        let number = |range: std::ops::Range<usize>| whole[range].parse::<i64>().unwrap_or(-1);
        let (year, month, day) = (number(0..4), number(4..6), number(6..8));
        let (hour, minute, second) = (number(8..10), number(10..12), number(12..14));
        // A leap second is the last one that there is a name for.
        let right = (1..=12).contains(&month)
            && (1..=days_of(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60;
        let fraction = format!("{:0<9}", &fraction[..fraction.len().min(9)]);
        right.then(|| FileTime {
            seconds: days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second.min(59),
            nanoseconds: fraction.parse().unwrap_or(0),
        })
    }

    /// Year, month, day, hour, minute, second.
    pub fn civil(self) -> (i64, u8, u8, u8, u8, u8) {
        let (days, rest) = (self.seconds.div_euclid(86_400), self.seconds.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        (year, month, day, (rest / 3600) as u8, (rest / 60 % 60) as u8, (rest % 60) as u8)
    }
}

impl fmt::Display for FileTime {
    /// Without a fraction, which some clients do not expect.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.civil();
        write!(f, "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the calendar that counts years from March, so that a leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, u8, u8) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month as u8, day as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_there_and_back() {
        for (text, seconds) in [
            ("19700101000000", 0),
            ("20000229235959", 951_868_799),
            ("19691231235959", -1),
            ("20261121160000", 1_795_276_800),
            ("99991231235959", 253_402_300_799),
        ] {
            let time = FileTime::parse(text).unwrap_or(FileTime { seconds: i64::MIN, nanoseconds: 0 });
            assert_eq!(time.seconds, seconds, "{text}");
            assert_eq!(time.to_string(), text);
        }
        assert_eq!(FileTime::parse("20000101000000.25").map(|t| t.nanoseconds), Some(250_000_000));
        for wrong in [
            "",
            "2000",
            "20000230000000",
            "20001301000000",
            "20000101240000",
            "20000101000000.",
            "2000010100000x",
        ] {
            assert_eq!(FileTime::parse(wrong), None, "{wrong}");
        }
    }
}
