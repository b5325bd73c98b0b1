//! `utf-8-addr-xtext`, the form of an internationalised address that is ASCII (RFC 6533 section 3).

use std::fmt::Write as _;

/// Writes an address as `utf-8-addr-xtext`: what is not printable ASCII, and `\`, `+` and `=`, as `\x{HEX}`.
pub fn to_unitext(address: &str) -> String {
    let mut out = String::with_capacity(address.len() + 16);
    for c in address.chars() {
        if matches!(c, '!'..='~') && !matches!(c, '\\' | '+' | '=') {
            out.push(c);
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "\\x{{{:02X}}}", u32::from(c));
        }
    }
    out
}

/// Takes the `\x{HEX}` out of an address; `None` if one of them is none, or stands for a control character. Other
/// characters may stand as they are (`utf-8-addr-unitext`).
pub fn from_unitext(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('\\') {
        out.push_str(before);
        let (digits, after) = from.strip_prefix("x{")?.split_once('}')?;
        let digits_only = digits.bytes().all(|octet| octet.is_ascii_hexdigit());
        if !(2..=6).contains(&digits.len()) || !digits_only {
            return None;
        }
        out.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
        rest = after;
    }
    out.push_str(rest);
    (!out.chars().any(char::is_control)).then_some(out)
}
