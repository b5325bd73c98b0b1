//! Line ends as mail has them (RFC 5322 section 2.3), whatever they were.

use memchr::memchr2;

/// Makes every line end a CRLF, also those of one CR, or of several CRs before a LF, and ends the last line.
#[derive(Debug, Default)]
pub struct CrlfLines {
    /// CRs have come and been held back until it is clear what follows them.
    after_cr: bool,
    mid_line: bool,
}

impl CrlfLines {
    /// Takes the next octets and appends what they become.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let mut rest = chunk;
        while let Some(&first) = rest.first() {
            let len = match first {
                b'\n' => {
                    out.extend_from_slice(b"\r\n");
                    (self.after_cr, self.mid_line) = (false, false);
                    1
                }
                b'\r' => {
                    self.after_cr = true;
                    1
                }
                _ => {
                    if self.after_cr {
                        out.extend_from_slice(b"\r\n");
                        self.after_cr = false;
                    }
                    let len = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                    out.extend_from_slice(rest.get(..len).unwrap_or_default());
                    self.mid_line = true;
                    len
                }
            };
            rest = rest.get(len..).unwrap_or_default();
        }
    }

    /// The text is over: appends what is left.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.after_cr || self.mid_line {
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn line_ends_become_crlf_however_the_input_is_cut() {
        for (input, normal) in [
            ("a\nb\n", "a\r\nb\r\n"),
            ("a\r\nb", "a\r\nb\r\n"),
            ("a\rb\r", "a\r\nb\r\n"),
            ("a\r\r\nb\n\r\n\n", "a\r\nb\r\n\r\n\r\n"),
            ("", ""),
            ("\n", "\r\n"),
        ] {
            for size in 1..4 {
                let (mut lines, mut out) = (CrlfLines::default(), Vec::new());
                input.as_bytes().chunks(size).for_each(|chunk| lines.push(chunk, &mut out));
                lines.finish(&mut out);
                assert_eq!(String::from_utf8(out).unwrap(), normal, "{input:?} by {size}");
            }
        }
    }
}
