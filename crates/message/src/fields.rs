//! The fields of a header that is held in memory.

use memchr::memchr;

/// One field as it stands in a header, or a line that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawField<'a> {
    /// Its name; empty for a line that is no field.
    pub name: &'a [u8],
    /// Its value, folded as it is, with its last line end.
    pub value: &'a [u8],
    /// All of it.
    pub whole: &'a [u8],
}

impl RawField<'_> {
    /// Whether the field has this name, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value unfolded (RFC 5322 section 2.2.3), without the space around it. What is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        let unfolded: Vec<u8> =
            self.value.iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n')).collect();
        String::from_utf8_lossy(&unfolded).trim().to_owned()
    }
}

/// Cuts a header into its fields, in their order; put together again they are the header. The empty line at its end,
/// like any line that is no field, comes as one without a name.
pub fn fields(header: &[u8]) -> impl Iterator<Item = RawField<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let mut end = line_len(rest)?;
        while matches!(rest.get(end), Some(b' ' | b'\t')) {
            end += line_len(rest.get(end..).unwrap_or_default())?;
        }
        let (whole, after) = rest.split_at(end);
        rest = after;
        let is_name =
            |name: &&[u8]| !name.is_empty() && name.iter().all(|octet| *octet > b' ' && *octet != 0x7f);
        let colon = memchr(b':', whole).unwrap_or(0);
        let name = Some(whole[..colon].trim_ascii_end()).filter(is_name);
        let value = if name.is_some() { &whole[colon + 1..] } else { whole };
        Some(RawField { name: name.unwrap_or_default(), value, whole })
    })
}

/// Octets of the first line with its end; `None` where there is none.
fn line_len(text: &[u8]) -> Option<usize> {
    match memchr(b'\n', text) {
        Some(at) => Some(at + 1),
        None => (!text.is_empty()).then_some(text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_the_sum_of_its_fields() {
        let header = b"From alice Sat Nov 21\r\nTo: bob,\r\n\tcarol\r\nX-Empty:\r\nSubject : a: b\r\n  c \r\n\xff\xfe\r\nB: \xff\n\r\n";
        let found: Vec<RawField<'_>> = fields(header).collect();
        let shown: Vec<(&[u8], String)> = found.iter().map(|field| (field.name, field.text())).collect();
        assert_eq!(
            shown,
            [
                (&b""[..], "From alice Sat Nov 21".to_owned()),
                (b"To", "bob,\tcarol".to_owned()),
                (b"X-Empty", String::new()),
                (b"Subject", "a: b  c".to_owned()),
                (b"", "\u{fffd}\u{fffd}".to_owned()),
                (b"B", "\u{fffd}".to_owned()),
                (b"", String::new()),
            ]
        );
        assert_eq!(found.iter().map(|field| field.whole).collect::<Vec<_>>().concat(), header);
        assert!(found[1].is("TO") && !found[1].is("T"));
        assert_eq!(fields(b"").count(), 0);
        assert_eq!(fields(b" x").count(), 1);
    }
}
