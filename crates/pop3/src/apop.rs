//! APOP: a login without sending the password (RFC 1939 section 7).
//!
//! MD5 is broken for signatures, and APOP with it wherever somebody in the middle may choose the timestamp; it is here
//! for clients that know nothing better, and off unless asked for.

use md5::{Digest, Md5};
use packetboat_wire::Secret;

/// The digest over a timestamp (angle brackets included) and the shared secret.
pub fn digest(timestamp: &str, secret: &Secret<String>) -> [u8; 16] {
    let mut md5 = Md5::new();
    md5.update(timestamp.as_bytes());
    md5.update(secret.expose().as_bytes());
    md5.finalize().into()
}

/// The timestamp in a banner: `<`, something with an `@` in it, `>`, as an RFC 822 msg-id.
///
/// A client must not use anything else, for a digest over chosen text helps to find the password (CVE-2007-1558).
pub(crate) fn timestamp(banner: &str) -> Option<&str> {
    let start = banner.find('<')?;
    let end = start + banner.get(start..)?.find('>')?;
    let inner = banner.get(start + 1..end)?;
    let (left, right) = inner.split_once('@')?;
    let fits =
        |part: &str| !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'@');
    (fits(left) && fits(right) && !inner.contains('<')).then(|| &banner[start..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_1939_example() {
        let digest = digest("<1896.697170952@dbc.mtview.ca.us>", &"tanstaaf".into());
        let hex: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(hex, "c4c9334bac560ecc979e58001b3e22fb");
    }

    #[test]
    fn timestamps_in_banners() {
        for (banner, expected) in [
            ("+OK POP3 server ready <1896.697@dbc.mtview.ca.us>", Some("<1896.697@dbc.mtview.ca.us>")),
            ("+OK <a@b> more", Some("<a@b>")),
            ("+OK ready", None),
            ("+OK <no-at>", None),
            ("+OK <@b>", None),
            ("+OK <a@>", None),
            ("+OK <a@b", None),
            ("+OK <a b@c>", None),
            ("+OK <a@b@c>", None),
            ("+OK <<a@b>", None),
            ("+OK <\u{1}a@b>", None),
            ("+OK > <", None),
        ] {
            assert_eq!(timestamp(banner), expected, "{banner}");
        }
    }
}
