//! New values of `Message-ID` (RFC 5322 section 3.6.4).

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::Domain;

/// A new message identifier, angle brackets included: `<time.random@domain>`.
///
/// The time keeps identifiers of one host apart for good, the randomness those of one moment; the two are handed in.
/// Nothing about the host or the person is in it but the domain.
pub fn message_id(at: Timestamp, random: [u8; 12], domain: &Domain) -> String {
    let mut id = String::with_capacity(64);
    id.push('<');
    base36(&mut id, u128::from(at.as_millisecond().unsigned_abs()));
    id.push('.');
    let mut number = [0; 16];
    number[4..].copy_from_slice(&random);
    base36(&mut id, u128::from_be_bytes(number));
    // Writing to a String does not fail. The A-form is right in every message, internationalised or not.
    let _ = write!(id, "@{}>", domain.to_ascii());
    id
}

/// Appends the number in digits and small letters.
fn base36(out: &mut String, mut number: u128) {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = [0; 25];
    let mut start = text.len();
    loop {
        start -= 1;
        // The remainder is below 36, and 25 digits hold every u128.
        text[start] = DIGITS[(number % 36) as usize];
        number /= 36;
        if number == 0 {
            break;
        }
    }
    out.extend(text[start..].iter().map(|&digit| char::from(digit)));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_identifier_is_made_of_time_randomness_and_domain() {
        let at = Timestamp::from_second(1_795_253_685).unwrap();
        let domain = Domain::parse("Bücher.example").unwrap();
        assert_eq!(message_id(at, [0; 12], &domain), "<mwq7owso.0@xn--bcher-kva.example>");
        assert_eq!(message_id(at, [0xff; 12], &domain).len(), "<mwq7owso.@xn--bcher-kva.example>".len() + 19);
        assert_ne!(message_id(at, [1; 12], &domain), message_id(at, [2; 12], &domain));
        let mut all = String::new();
        base36(&mut all, u128::MAX);
        assert_eq!(all, "f5lxx1zz5pnorynqglhzmsp33");
    }
}
