//! Where the answer to TOP ends: after the header, its empty line and so many lines of the body.

use memchr::memchr;

/// Watches a message go by in chunks and says how much of each still belongs to the top of the message.
///
/// A line ends at LF here, whether or not a CR stands before it, because the clients that use TOP count so.
#[derive(Debug)]
pub(super) struct Top {
    /// Lines of the body still wanted.
    lines: u64,
    /// The empty line has not come yet.
    in_header: bool,
    /// What the line under way holds so far.
    line: Line,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Empty,
    Cr,
    Text,
}

impl Top {
    pub(super) fn new(lines: u64) -> Top {
        Top { lines, in_header: true, line: Line::Empty }
    }

    /// How many octets of `chunk` are wanted; and whether the end is reached, so that nothing after it is.
    pub(super) fn take(&mut self, chunk: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while at < chunk.len() {
            if !self.in_header && self.lines == 0 {
                return (at, true);
            }
            let rest = &chunk[at..];
            let Some(end) = memchr(b'\n', rest) else {
                self.line = self.line.and(rest);
                return (chunk.len(), false);
            };
            let empty = self.line.and(&rest[..end]) != Line::Text;
            self.line = Line::Empty;
            at += end + 1;
            if !self.in_header {
                self.lines -= 1;
            } else if empty {
                self.in_header = false;
            }
        }
        (chunk.len(), !self.in_header && self.lines == 0)
    }
}

impl Line {
    /// The same line with more octets, none of them LF.
    fn and(self, more: &[u8]) -> Line {
        match (self, more) {
            (line, []) => line,
            (Line::Empty, [b'\r']) => Line::Cr,
            _ => Line::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What TOP shows of `message`, which must not depend on how it is cut into chunks.
    fn top(message: &str, lines: u64) -> String {
        let read = |chunks: &mut dyn Iterator<Item = &[u8]>| {
            let mut top = Top::new(lines);
            let mut seen = Vec::new();
            for chunk in chunks {
                let (wanted, end) = top.take(chunk);
                seen.extend_from_slice(&chunk[..wanted]);
                assert!(wanted == chunk.len() || end, "stops without an end");
                if end {
                    break;
                }
            }
            String::from_utf8_lossy(&seen).into_owned()
        };
        let whole = read(&mut std::iter::once(message.as_bytes()));
        for size in 1..4 {
            assert_eq!(read(&mut message.as_bytes().chunks(size)), whole, "in chunks of {size}");
        }
        whole
    }

    #[test]
    fn header_and_lines() {
        let message = "A: 1\r\nB: 2\r\n\r\none\r\n\r\nthree\r\nno end";
        for (lines, expected) in [
            (0, "A: 1\r\nB: 2\r\n\r\n"),
            (1, "A: 1\r\nB: 2\r\n\r\none\r\n"),
            (2, "A: 1\r\nB: 2\r\n\r\none\r\n\r\n"),
            (3, "A: 1\r\nB: 2\r\n\r\none\r\n\r\nthree\r\n"),
            (4, message),
            (u64::MAX, message),
        ] {
            assert_eq!(top(message, lines), expected, "{lines} lines");
        }
    }

    #[test]
    fn odd_shapes() {
        for (message, lines, expected) in [
            ("", 5, ""),
            ("A: 1\r\n", 0, "A: 1\r\n"),
            ("A: 1", 0, "A: 1"),
            ("\r\nbody\r\nmore\r\n", 0, "\r\n"),
            ("\r\nbody\r\nmore\r\n", 1, "\r\nbody\r\n"),
            ("A: 1\n\nb\nc\n", 1, "A: 1\n\nb\n"),
            ("A: 1\r\n \r\nB: 2\r\n\r\nb\r\n", 0, "A: 1\r\n \r\nB: 2\r\n\r\n"),
            ("A: 1\r\n\r\r\nB: 2\r\n\r\nb\r\n", 0, "A: 1\r\n\r\r\nB: 2\r\n\r\n"),
        ] {
            assert_eq!(top(message, lines), expected, "{message:?}");
        }
    }
}
