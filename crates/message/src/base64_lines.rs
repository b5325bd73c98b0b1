//! Base64 in lines of 76 characters (RFC 2045 section 6.8), of octets in memory and of a file as it is read.

use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Octets that make a line.
const LINE_OCTETS: usize = 57;
/// Characters of a whole line, CRLF included.
const LINE_LEN: usize = 78;
/// Lines encoded at once.
const BLOCK_LINES: usize = 512;

/// How long `len` octets get, line ends included.
pub(crate) fn encoded_len(len: u64) -> u64 {
    let (whole, rest) = (len / LINE_OCTETS as u64, len % LINE_OCTETS as u64);
    let last = if rest == 0 { 0 } else { rest.div_ceil(3) * 4 + 2 };
    whole.saturating_mul(LINE_LEN as u64).saturating_add(last)
}

/// Appends the octets in lines.
pub(crate) fn encode(octets: &[u8], out: &mut Vec<u8>) {
    for line in octets.chunks(LINE_OCTETS) {
        let mut encoded = [0; LINE_LEN];
        // 57 octets make 76 characters, so there is always room.
        let len = BASE64.encode_slice(line, &mut encoded).unwrap_or(0);
        out.extend_from_slice(&encoded[..len]);
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads a file as base64 lines. It has to be exactly as long as was said, since its length has been declared.
pub(crate) struct Base64Lines<R> {
    file: R,
    left: u64,
    block: Vec<u8>,
    encoded: Vec<u8>,
    at: usize,
}

impl<R: Read> Base64Lines<R> {
    pub(crate) fn new(file: R, len: u64) -> Base64Lines<R> {
        Base64Lines { file, left: len, block: Vec::new(), encoded: Vec::new(), at: 0 }
    }

    /// Encodes the next block; `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        self.encoded.clear();
        self.at = 0;
        let wanted = (LINE_OCTETS * BLOCK_LINES) as u64;
        self.block.clear();
        self.file.by_ref().take(wanted.min(self.left)).read_to_end(&mut self.block)?;
        let read = self.block.len() as u64;
        if read < wanted.min(self.left) {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file got shorter while it was being read",
            ));
        }
        self.left -= read;
        if read == 0 {
            return match self.file.read(&mut [0])? {
                0 => Ok(false),
                _ => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the file got longer while it was being read",
                )),
            };
        }
        encode(&self.block, &mut self.encoded);
        Ok(true)
    }
}

impl<R: Read> Read for Base64Lines<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.encoded.len() && !self.fill()? {
            return Ok(0);
        }
        let read = self.encoded.get(self.at..).unwrap_or_default().read(into)?;
        self.at += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_becomes_lines_of_the_length_foretold() {
        for len in [0, 1, 2, 3, 56, 57, 58, 114, LINE_OCTETS * BLOCK_LINES, LINE_OCTETS * BLOCK_LINES + 1] {
            let octets: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mut text = Vec::new();
            Base64Lines::new(&octets[..], len as u64).read_to_end(&mut text).unwrap();
            assert_eq!(text.len() as u64, encoded_len(len as u64), "{len}");
            assert!(text.is_empty() || text.ends_with(b"\r\n"));
            let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).collect();
            assert!(lines.iter().all(|line| line.len() <= 76));
            assert_eq!(BASE64.decode(lines.concat()).unwrap(), octets);
        }
    }

    #[test]
    fn a_file_that_changes_meanwhile_is_an_error() {
        for (len, kind) in [(99, io::ErrorKind::InvalidData), (101, io::ErrorKind::UnexpectedEof)] {
            let mut lines = Base64Lines::new(&[7; 100][..], len);
            assert_eq!(lines.read_to_end(&mut Vec::new()).unwrap_err().kind(), kind);
        }
    }
}
