//! Numbers and times as digits: a listing of a million names has millions of them.

use crate::command::FileTime;

/// Digits of the largest number.
const DIGITS_MAX: usize = 20;

/// A number, with spaces before it if it is shorter than `width`.
pub(super) fn push_number(mut number: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b' '; DIGITS_MAX];
    let mut begin = DIGITS_MAX;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        begin -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(begin.min(DIGITS_MAX - width.min(DIGITS_MAX))..).unwrap_or_default());
}

/// The same, in hexadecimal digits.
pub(super) fn push_hex(number: u64, out: &mut Vec<u8>) {
    let length = (64 - number.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..length).rev().map(|place| match (number >> (4 * place) & 15) as u8 {
        digit @ 0..10 => b'0' + digit,
        letter => b'a' + letter - 10,
    }));
}

/// Two digits.
pub(super) fn push_two(number: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + number / 10 % 10, b'0' + number % 10]);
}

/// A time as facts have it (RFC 3659 section 2.3), without a fraction.
pub(super) fn push_time(time: FileTime, out: &mut Vec<u8>) {
    let (year, month, day, hour, minute, second) = time.civil();
    match u64::try_from(year) {
        Ok(year @ 0..10_000) => {
            push_two((year / 100) as u8, out);
            push_two((year % 100) as u8, out);
        }
        _ => out.extend_from_slice(format!("{year:04}").as_bytes()),
    }
    [month, day, hour, minute, second].into_iter().for_each(|part| push_two(part, out));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_standard_library_writes_them() {
        for number in [0, 7, 10, 99, 100, 12_345, 999_999_999_999, 9_999_999_999_999, u64::MAX] {
            let mut out = Vec::new();
            push_number(number, 12, &mut out);
            push_number(number, 0, &mut out);
            push_hex(number, &mut out);
            let want = format!("{number:>12}{number}{number:x}");
            assert_eq!(String::from_utf8_lossy(&out), want);
        }
        for seconds in [0, -1, 951_868_799, 1_795_276_800, 253_402_300_800, -62_135_596_801, -99_999_999_999]
        {
            let (time, mut out) = (FileTime { seconds, nanoseconds: 5 }, Vec::new());
            push_time(time, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), time.to_string());
        }
    }
}
