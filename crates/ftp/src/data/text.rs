//! Text on its way between disk (UTF-8 or whatever octets came, lines ended by LF) and wire (lines ended by CRLF, or in
//! EBCDIC by NL: RFC 959 section 3.1.1).

use memchr::{memchr, memchr_iter};

use super::code_page::{CodePage, Converter};

/// Octets that are converted as one, if all of them are ASCII.
const CHUNK: usize = 256;

/// LF becomes CRLF, wherever it stands: then what came is what goes, with a CR before the end of a line too.
pub(super) fn lines_to_wire(disk: &[u8], out: &mut Vec<u8>) {
    // A line is seldom shorter than this, and if it is, the vector grows by itself.
    out.reserve(disk.len() + disk.len() / 16 + 2);
    let mut rest = 0;
    for at in memchr_iter(b'\n', disk) {
        out.extend_from_slice(&disk[rest..at]);
        out.extend_from_slice(b"\r\n");
        rest = at + 1;
    }
    out.extend_from_slice(&disk[rest..]);
}

/// CRLF becomes LF; a CR alone stays.
#[derive(Debug, Default)]
pub(super) struct LinesToDisk {
    /// A CR was the last octet, and may be half of a line end.
    cr: bool,
}

impl LinesToDisk {
    pub(super) fn push(&mut self, mut wire: &[u8], out: &mut Vec<u8>) {
        if self.cr
            && let Some(&next) = wire.first()
        {
            self.cr = false;
            if next != b'\n' {
                out.push(b'\r');
            }
        }
        out.reserve(wire.len());
        while let Some(at) = memchr(b'\r', wire) {
            out.extend_from_slice(&wire[..at]);
            match wire.get(at + 1) {
                Some(b'\n') => {}
                Some(_) => out.push(b'\r'),
                None => self.cr = true,
            }
            wire = &wire[at + 1..];
        }
        out.extend_from_slice(wire);
    }

    pub(super) fn is_even(&self) -> bool {
        !self.cr
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.cr) {
            out.push(b'\r');
        }
    }
}

/// UTF-8 becomes EBCDIC. What is no UTF-8 is taken for Latin 1, octet by octet; what the code page does not have becomes
/// SUB.
pub(super) struct ToEbcdic {
    page: &'static Converter,
    /// The beginning of a character.
    held: [u8; 4],
    held_octets: usize,
}

impl ToEbcdic {
    pub(super) fn new(page: CodePage) -> ToEbcdic {
        ToEbcdic { page: page.converter(), held: [0; 4], held_octets: 0 }
    }

    pub(super) fn push(&mut self, disk: &[u8], out: &mut Vec<u8>) {
        out.reserve(disk.len());
        let mut rest = disk;
        while self.held_octets > 0 {
            let Some((&next, after)) = rest.split_first() else { return };
            if next & 0xc0 == 0x80 && self.held_octets < self.held.len() {
                self.held[self.held_octets] = next;
                self.held_octets += 1;
                rest = after;
                if self.held_octets < expected(self.held[0]) {
                    continue;
                }
            }
            self.settle(out);
        }
        for chunk in rest.utf8_chunks() {
            self.characters(chunk.valid(), out);
            let invalid = chunk.invalid();
            let is_last = invalid.as_ptr_range().end == rest.as_ptr_range().end;
            // Whatever could still become a character waits for what follows.
            if is_last && !invalid.is_empty() && invalid.len() < expected(invalid[0]) {
                self.held[..invalid.len()].copy_from_slice(invalid);
                self.held_octets = invalid.len();
            } else {
                out.extend(invalid.iter().map(|octet| self.page.encode(char::from(*octet))));
            }
        }
    }

    fn characters(&self, text: &str, out: &mut Vec<u8>) {
        if text.is_ascii() {
            out.extend(text.bytes().map(|octet| self.page.encode(char::from(octet))));
        } else {
            out.extend(text.chars().map(|character| self.page.encode(character)));
        }
    }

    /// What is held is a character or none.
    fn settle(&mut self, out: &mut Vec<u8>) {
        let held = &self.held[..std::mem::take(&mut self.held_octets)];
        for chunk in held.utf8_chunks() {
            out.extend(chunk.valid().chars().map(|character| self.page.encode(character)));
            out.extend(chunk.invalid().iter().map(|octet| self.page.encode(char::from(*octet))));
        }
    }

    pub(super) fn is_even(&self) -> bool {
        self.held_octets == 0
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.settle(out);
    }
}

impl std::fmt::Debug for ToEbcdic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToEbcdic").field("held_octets", &self.held_octets).finish_non_exhaustive()
    }
}

/// How many octets a character has whose first is this.
fn expected(first: u8) -> usize {
    match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    }
}

/// EBCDIC becomes UTF-8.
pub(super) fn from_ebcdic(page: CodePage, wire: &[u8], out: &mut Vec<u8>) {
    let page = page.converter();
    out.reserve(wire.len());
    for chunk in wire.chunks(CHUNK) {
        let begin = out.len();
        out.extend_from_slice(chunk);
        if !page.decode_ascii(&mut out[begin..]) {
            out.truncate(begin);
            let mut character = [0; 4];
            for octet in chunk {
                out.extend_from_slice(page.decode(*octet).encode_utf8(&mut character).as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_disk(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut lines, mut out) = (LinesToDisk::default(), Vec::new());
        pieces.iter().for_each(|piece| lines.push(piece, &mut out));
        lines.finish(&mut out);
        out
    }

    fn to_ebcdic(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut text, mut out) = (ToEbcdic::new(CodePage::default()), Vec::new());
        pieces.iter().for_each(|piece| text.push(piece, &mut out));
        text.finish(&mut out);
        out
    }

    #[test]
    fn line_ends_there_and_back() {
        for (disk, wire) in [
            (&b""[..], &b""[..]),
            (b"\n", b"\r\n"),
            (b"one\ntwo\n", b"one\r\ntwo\r\n"),
            (b"no end", b"no end"),
            (b"\r", b"\r"),
            (b"cr before\r\nand\rwithin\n", b"cr before\r\r\nand\rwithin\r\n"),
            (b"\n\n\r\r", b"\r\n\r\n\r\r"),
        ] {
            let mut out = Vec::new();
            lines_to_wire(disk, &mut out);
            assert_eq!(out, wire);
            for split in 0..=wire.len() {
                assert_eq!(to_disk(&[&wire[..split], &wire[split..]]), disk, "split at {split}");
            }
        }
    }

    #[test]
    fn utf8_and_what_is_none_become_ebcdic() {
        let mut back = Vec::new();
        for (disk, want) in [
            (&b"abc\n"[..], &[0x81, 0x82, 0x83, 0x15][..]),
            ("é".as_bytes(), &[0x51]),
            ("€".as_bytes(), &[0x3f]),
            ("𝄞".as_bytes(), &[0x3f]),
            (b"\xe9", &[0x51]),
            (b"\xe2\x82", &[0x42, 0x22]),
            (b"\xe2\x82a", &[0x42, 0x22, 0x81]),
            (b"\xc3\xc3\xa9", &[0x66, 0x51]),
        ] {
            for split in 0..=disk.len() {
                for second in split..=disk.len() {
                    let pieces = [&disk[..split], &disk[split..second], &disk[second..]];
                    assert_eq!(to_ebcdic(&pieces), want, "{disk:x?} at {split}, {second}");
                }
            }
        }
        let all: Vec<u8> = (0..=255).collect();
        from_ebcdic(CodePage::default(), &all, &mut back);
        assert_eq!(to_ebcdic(&[&back]), all);
    }
}
