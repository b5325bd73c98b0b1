//! Folding, so that what differs in case or form only is the same: i;unicode-casemap (RFC 5051).
//!
//! Each character becomes its capital, and that is decomposed. RFC 5051 asks for titlecase; capitals tell the same
//! characters apart but for some digraphs, which they let match too.

use std::sync::OnceLock;

use unicode_normalization::char::decompose_compatible;

/// The characters of European scripts, of which the folded forms are looked up.
const TABLE_START: usize = 0x80;
const TABLE_END: usize = 0x600;
/// Octets of a folded form in the table; the few longer ones are worked out each time.
const FORM_MAX: usize = 7;

/// A folded form: its length, 0 where it is not in the table, and its octets.
type Form = [u8; FORM_MAX + 1];

/// Folds a text and appends it in UTF-8. Pieces can be folded one by one.
pub fn fold(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    loop {
        let ascii = ascii_prefix(rest);
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
            match c {
                // Ideographs, and what stands for octets that are no text, have one form.
                '\u{3400}'..='\u{9fff}' | char::REPLACEMENT_CHARACTER => put(c, out),
                c => match table().get((c as usize).wrapping_sub(TABLE_START)) {
                    Some([length, form @ ..]) if *length > 0 => {
                        out.extend_from_slice(form.get(..usize::from(*length)).unwrap_or_default());
                    }
                    _ => fold_char(c, out),
                },
            }
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

/// Octets of ASCII at the start.
fn ascii_prefix(text: &[u8]) -> usize {
    const STEP: usize = 32;
    let whole: usize = text.chunks_exact(STEP).take_while(|step| step.is_ascii()).map(<[u8]>::len).sum();
    let rest = text.get(whole..).unwrap_or_default();
    whole + rest.iter().position(|octet| !octet.is_ascii()).unwrap_or(rest.len())
}

fn table() -> &'static [Form; TABLE_END - TABLE_START] {
    static TABLE: OnceLock<Box<[Form; TABLE_END - TABLE_START]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Box::new([Form::default(); TABLE_END - TABLE_START]);
        let mut folded = Vec::new();
        for (slot, number) in table.iter_mut().zip(TABLE_START as u32..) {
            folded.clear();
            if let Some(c) = char::from_u32(number) {
                fold_char(c, &mut folded);
            }
            let [length, form @ ..] = slot;
            if let Some(form) = form.get_mut(..folded.len()) {
                form.copy_from_slice(&folded);
                *length = folded.len() as u8;
            }
        }
        table
    })
}

fn put(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn fold_char(c: char, out: &mut Vec<u8>) {
    let mut put = |c: char| put(c.to_ascii_uppercase(), out);
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
        assert_eq!(folded("日本 \u{fffd}"), "日本 \u{fffd}".as_bytes());
        for (one, other) in [("a", "b"), ("e", "é"), ("ss", "ß")] {
            assert_ne!(folded(one), folded(other), "{one} {other}");
        }
    }
    #[test]
    fn looking_up_is_working_out() {
        for c in '\0'..='\u{ffff}' {
            let mut expected = Vec::new();
            fold_char(c, &mut expected);
            assert_eq!(folded(&c.to_string()), expected, "{c}");
        }
        let long = format!("{}ä{}", "x".repeat(100), "y".repeat(31));
        assert_eq!(folded(&long), format!("{}A\u{308}{}", "X".repeat(100), "Y".repeat(31)).as_bytes());
    }
}
