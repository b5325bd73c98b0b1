//! Bounded lines out of a stream of octets.

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memmem};
use thiserror::Error;

/// What a peer has sent and the session has not used yet.
///
/// Holds no memory while it is empty, so that an idle connection costs nothing here.
#[derive(Debug, Default)]
pub struct Input {
    buffer: BytesMut,
    /// So many octets at the front are known to hold no LF; they are not searched again when more arrive.
    searched: usize,
    /// A line was refused before its end was seen; its rest is thrown away as it comes.
    skipping: Option<Skip>,
}

/// What ends the line that is being thrown away.
#[derive(Debug, Clone, Copy)]
struct Skip {
    ending: LineEnding,
    /// The last octet thrown away was a CR, which may be half of the ending.
    after_cr: bool,
}

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnding {
    /// CRLF and nothing else. A line with a bare LF in it is refused as a whole, to its CRLF: whoever gets a LF
    /// through some relay's command must not thereby start a command of his own.
    Crlf,
    /// CRLF or LF, for people with simple tools and for reading what a server says.
    CrlfOrLf,
}

/// Why a line was refused. The line is consumed; the next one can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LineError {
    /// Longer than allowed. Reported once, as soon as it is known; the rest is thrown away as it arrives.
    #[error("the line is too long")]
    TooLong,
    /// A CR without a LF after it.
    #[error("the line holds a carriage return without a line feed")]
    BareCr,
    /// A LF without a CR before it, where [`LineEnding::Crlf`] was asked for.
    #[error("the line holds a line feed without a carriage return")]
    BareLf,
}

impl Input {
    /// An empty buffer.
    pub fn new() -> Input {
        Input::default()
    }

    /// Appends what the peer sent.
    pub fn push(&mut self, bytes: &[u8]) {
        let refused = self.refused(bytes);
        self.buffer.extend_from_slice(&bytes[refused..]);
    }

    /// Forgets everything, such as at the start of TLS (RFC 3207 section 4.2).
    pub fn clear(&mut self) {
        *self = Input::default();
    }

    /// What is there, unconsumed.
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer
    }

    /// Octets there, unconsumed.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether everything is consumed.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes the next line, without its ending; `None` if it is not there in full yet.
    ///
    /// `max` counts the ending, as the limits of RFC 5321 section 4.5.3.1 do. Never keeps more than `max` octets of a
    /// line that turns out too long, and never looks at an octet twice because more arrived.
    pub fn take_line(&mut self, max: usize, ending: LineEnding) -> Result<Option<Bytes>, LineError> {
        let start = self.searched.min(self.buffer.len());
        let end = memchr(b'\n', &self.buffer[start..]).map(|i| start + i + 1);
        if end.unwrap_or(self.buffer.len() + 1) > max {
            return Err(self.refuse(ending, LineError::TooLong));
        }
        let Some(end) = end else {
            self.searched = self.buffer.len();
            return Ok(None);
        };
        let has_cr = self.buffer[..end - 1].ends_with(b"\r");
        if !has_cr && ending == LineEnding::Crlf {
            return Err(self.refuse(ending, LineError::BareLf));
        }
        let mut line = self.take(end);
        line.truncate(end - if has_cr { 2 } else { 1 });
        match memchr(b'\r', &line) {
            Some(_) => Err(LineError::BareCr),
            None => Ok(Some(line)),
        }
    }

    /// Takes `n` octets, or as many as are there.
    pub fn take(&mut self, n: usize) -> Bytes {
        self.searched = 0;
        if n < self.buffer.len() {
            self.buffer.split_to(n).freeze()
        } else {
            std::mem::take(&mut self.buffer).freeze()
        }
    }

    /// Drops `n` octets, or as many as are there.
    pub fn skip(&mut self, n: usize) {
        self.searched = 0;
        if n < self.buffer.len() {
            self.buffer.advance(n);
        } else {
            self.buffer = BytesMut::new();
        }
    }

    /// The octets for changing in place.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        self.searched = 0;
        &mut self.buffer
    }

    /// Throws away the line at the front, also what of it has not come yet.
    fn refuse(&mut self, ending: LineEnding, error: LineError) -> LineError {
        self.skipping = Some(Skip { ending, after_cr: false });
        let buffer = std::mem::take(&mut self.buffer);
        let refused = self.refused(&buffer);
        self.buffer = buffer;
        self.skip(refused);
        error
    }

    /// How much at the front of new octets belongs to a refused line.
    fn refused(&mut self, octets: &[u8]) -> usize {
        let Some(Skip { ending, after_cr }) = self.skipping else { return 0 };
        let end = match ending {
            LineEnding::Crlf if after_cr && octets.starts_with(b"\n") => Some(1),
            LineEnding::Crlf => memmem::find(octets, b"\r\n").map(|at| at + 2),
            LineEnding::CrlfOrLf => memchr(b'\n', octets).map(|at| at + 1),
        };
        if end.is_some() {
            self.skipping = None;
        } else if let Some(last) = octets.last() {
            self.skipping = Some(Skip { ending, after_cr: *last == b'\r' });
        }
        end.unwrap_or(octets.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::LineEnding::{Crlf, CrlfOrLf};
    use super::*;

    /// Every line and error of `bytes`, read whole and again octet by octet, which must make no difference.
    fn lines(bytes: &[u8], max: usize, ending: LineEnding) -> Vec<Result<String, LineError>> {
        let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut input = Input::new();
            let mut seen = Vec::new();
            for piece in pieces {
                input.push(piece);
                while let Some(line) = input.take_line(max, ending).transpose() {
                    seen.push(line.map(|line| String::from_utf8_lossy(&line).into_owned()));
                }
                assert!(input.len() < max.max(2), "keeps {} octets", input.len());
            }
            seen
        };
        let whole = read(&mut std::iter::once(bytes));
        assert_eq!(whole, read(&mut bytes.chunks(1)), "split at every octet");
        whole
    }

    fn line(text: &str) -> Result<String, LineError> {
        Ok(text.to_owned())
    }

    #[test]
    fn lines_end_at_crlf() {
        assert_eq!(lines(b"NOOP\r\n\r\nQUIT\r\nrest", 512, Crlf), [line("NOOP"), line(""), line("QUIT")]);
    }

    #[test]
    fn a_bare_lf_spoils_its_line_to_the_crlf() {
        assert_eq!(lines(b"a\nRSET\r\nb\r\n", 512, Crlf), [Err(LineError::BareLf), line("b")]);
        assert_eq!(lines(b"\n\n\n\r\nb\r\n", 512, Crlf), [Err(LineError::BareLf), line("b")]);
        assert_eq!(lines(b"a\nb\r\n\nc\n", 512, CrlfOrLf), [line("a"), line("b"), line(""), line("c")]);
    }

    #[test]
    fn a_bare_cr_spoils_its_line() {
        for ending in [Crlf, CrlfOrLf] {
            assert_eq!(lines(b"a\rb\r\nc\r\n", 512, ending), [Err(LineError::BareCr), line("c")]);
            assert_eq!(lines(b"a\r\r\nc\r\n", 512, ending), [Err(LineError::BareCr), line("c")]);
        }
    }

    #[test]
    fn the_limit_counts_the_ending() {
        assert_eq!(lines(b"123456\r\nb\r\n", 8, Crlf), [line("123456"), line("b")]);
        assert_eq!(lines(b"1234567\r\nb\r\n", 8, Crlf), [Err(LineError::TooLong), line("b")]);
        assert_eq!(lines(b"1234567\nb\n", 8, CrlfOrLf), [line("1234567"), line("b")]);
        assert_eq!(lines(b"12345678\nb\n", 8, CrlfOrLf), [Err(LineError::TooLong), line("b")]);
    }

    #[test]
    fn a_line_that_does_not_end_is_reported_once_and_not_kept() {
        let mut input = Input::new();
        input.push(&[b'x'; 600]);
        assert_eq!(input.take_line(512, Crlf), Err(LineError::TooLong));
        for _ in 0..1000 {
            input.push(&[b'x'; 1000]);
            assert_eq!(input.take_line(512, Crlf), Ok(None));
            assert!(input.is_empty());
        }
        input.push(b"x\nstill the same line\r");
        assert!(input.is_empty(), "what is refused cannot be looked at");
        assert_eq!(input.take_line(512, Crlf), Ok(None));
        input.push(b"\nNOOP\r\n");
        assert_eq!(input.take_line(512, Crlf).unwrap().unwrap(), "NOOP");
    }

    #[test]
    fn octets_and_lines_take_turns() {
        let mut input = Input::new();
        input.push(b"BDAT 4\r\n\r\n\r\nBDAT 0");
        assert_eq!(input.take_line(512, Crlf).unwrap().unwrap(), "BDAT 4");
        assert_eq!(input.take(4), "\r\n\r\n");
        assert_eq!(input.take_line(512, Crlf), Ok(None));
        assert_eq!(input.take(4), "BDAT");
        input.push(b"\r\n");
        assert_eq!(input.take_line(512, Crlf).unwrap().unwrap(), " 0");
        assert_eq!(input.take(4), "");
    }

    #[test]
    fn an_empty_buffer_holds_no_memory() {
        let mut input = Input::new();
        input.push(b"NOOP\r\n");
        input.take_line(512, Crlf).unwrap();
        assert_eq!(input.buffer.capacity(), 0);
        input.push(&[0; 4096]);
        input.skip(4096);
        assert_eq!(input.buffer.capacity(), 0);
    }

    #[test]
    fn a_long_line_octet_by_octet_is_not_searched_again() {
        // Quadratic search of a megabyte would look at half a million million octets; this ends at once or not today.
        let mut input = Input::new();
        for _ in 0..1 << 20 {
            input.push(b"x");
            assert_eq!(input.take_line(usize::MAX, Crlf), Ok(None));
        }
    }
}
