//! Line ends: mail has CRLF, files have LF.

/// Brings the line ends of a file into the form mail has. A file whose first line ends with CRLF is taken as it is.
#[derive(Debug, Default)]
pub struct Endings {
    as_it_is: Option<bool>,
    after_cr: bool,
}

impl Endings {
    /// Appends the next octets to `out`.
    pub fn push(&mut self, mut octets: &[u8], out: &mut Vec<u8>) {
        while let Some(at) = memchr::memchr(b'\n', octets) {
            let (line, rest) = octets.split_at(at);
            let crlf = match line.last() {
                Some(last) => *last == b'\r',
                None => self.after_cr,
            };
            out.extend_from_slice(line);
            if !crlf && !*self.as_it_is.get_or_insert(crlf) {
                out.push(b'\r');
            }
            self.as_it_is.get_or_insert(crlf);
            out.push(b'\n');
            self.after_cr = false;
            octets = rest.get(1..).unwrap_or_default();
        }
        if let Some(last) = octets.last() {
            self.after_cr = *last == b'\r';
        }
        out.extend_from_slice(octets);
    }
}

/// A message with LF for CRLF; `None` where [`Endings`] would not make the same message of it again. Then it goes into a
/// file as it is.
pub fn to_lf(message: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = memchr::memchr(b'\n', rest) {
        let line = rest.get(..at)?.strip_suffix(b"\r")?;
        if line.ends_with(b"\r") {
            return None;
        }
        out.extend_from_slice(line);
        out.push(b'\n');
        rest = rest.get(at + 1..)?;
    }
    out.extend_from_slice(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mail(file: &[u8], piece: usize) -> Vec<u8> {
        let (mut endings, mut out) = (Endings::default(), Vec::new());
        file.chunks(piece).for_each(|piece| endings.push(piece, &mut out));
        out
    }

    #[test]
    fn files_become_mail_however_they_are_cut() {
        for (file, wanted) in [
            (&b"a\nb\n"[..], &b"a\r\nb\r\n"[..]),
            (b"a\r\nb\n", b"a\r\nb\n"),
            (b"a\nb\r\nc", b"a\r\nb\r\nc"),
            (b"\n\n", b"\r\n\r\n"),
            (b"\r\n\n", b"\r\n\n"),
            (b"none", b"none"),
            (b"a\rb\nc\r\r\n", b"a\rb\r\nc\r\r\n"),
            (b"", b""),
        ] {
            for piece in 1..6 {
                assert_eq!(mail(file, piece), wanted, "{file:?}");
            }
        }
    }

    #[test]
    fn what_is_made_shorter_can_be_made_longer_again() {
        for (message, short) in [
            (&b"a: b\r\n\r\nc\r\n"[..], true),
            (b"a\nb\r\n", false),
            (b"a\r\r\nb\r\n", false),
            (b"a\r\nb\n", false),
            (b"\r\n", true),
            (b"a\rb\r\n", true),
            (b"no end", true),
        ] {
            let file = to_lf(message);
            assert_eq!(file.is_some(), short, "{message:?}");
            let file = file.unwrap_or_else(|| message.to_vec());
            // One that begins with LF lines and has other ones later cannot be told in a file.
            if message != b"a\nb\r\n" {
                assert_eq!(mail(&file, 3), message);
            }
        }
    }
}
