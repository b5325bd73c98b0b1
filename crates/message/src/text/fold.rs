//! Folding, so that what differs in case or form only is the same: i;unicode-casemap (RFC 5051).
//!
//! Each character becomes its capital, and that is decomposed. RFC 5051 asks for titlecase; capitals tell the same
//! characters apart but for some digraphs, which they let match too.

use unicode_normalization::char::decompose_compatible;

/// Folds a text and appends it in UTF-8. Pieces can be folded one by one.
pub fn fold(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    loop {
        let ascii = rest.iter().position(|octet| !octet.is_ascii()).unwrap_or(rest.len());
        let (plain, other) = rest.split_at(ascii);
        let start = out.len();
        out.extend_from_slice(plain);
        if let Some(new) = out.get_mut(start..) {
            new.make_ascii_uppercase();
        }
        let length = other.iter().position(u8::is_ascii).unwrap_or(other.len());
        let (other, after) = other.split_at(length);
        if other.is_empty() {
            return;
        }
        // A run between two ASCII octets of a text is a text.
        for c in std::str::from_utf8(other).unwrap_or_default().chars() {
            fold_char(c, out);
        }
        rest = after;
    }
}

/// Folds a text.
pub fn folded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    fold(text, &mut out);
    out
}

fn fold_char(c: char, out: &mut Vec<u8>) {
    let mut buffer = [0; 4];
    let mut put = |c: char| {
        let c = c.to_ascii_uppercase();
        out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
    };
    let mut capitals = c.to_uppercase();
    match (capitals.next(), capitals.next()) {
        // One for one, as RFC 5051 has it: a sharp s stays what it is.
        (Some(capital), None) => decompose_compatible(capital, &mut put),
        _ => decompose_compatible(c, &mut put),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_case_or_form_is_the_same() {
        for (one, other) in [
            ("Hello, World", "hELLO, wORLD"),
            ("Grüße", "GRÜßE"),
            ("é", "e\u{301}"),
            ("É", "é"),
            ("ПРИВЕТ Мир", "привет мир"),
            ("ΑΘΉΝΑ", "αθήνα"),
            ("ὈΔΥΣΣΕΎΣ", "ὀδυσσεύσ"),
            ("ﬁle", "FILE"),
            ("Ǆ", "ǆ"),
            ("ｆｕｌｌ", "FULL"),
            ("한", "\u{1112}\u{1161}\u{11ab}"),
        ] {
            assert_eq!(
                String::from_utf8_lossy(&folded(one)),
                String::from_utf8_lossy(&folded(other)),
                "{one} {other}"
            );
        }
        for (one, other) in [("a", "b"), ("e", "é"), ("ss", "ß")] {
            assert_ne!(folded(one), folded(other), "{one} {other}");
        }
    }
}
