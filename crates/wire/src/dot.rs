//! Dot-stuffing: how SMTP DATA and POP3 multi-line answers mark their end (RFC 5321 section 4.5.2, RFC 1939 section 3).
//!
//! Both directions are streaming transforms that hold nothing back but an undecided octet or two. The reader is where
//! SMTP smuggling is stopped: the body ends at CRLF `.` CRLF and at nothing that merely looks like it to some other
//! server.

use bytes::Bytes;
use memchr::{memchr, memchr2, memmem};

use crate::line::{Input, LineEnding};

/// Takes a dot-stuffed body out of the input, up to its end and not an octet further.
///
/// A CR or LF that is not part of a CRLF never ends anything. It is passed on and noted in [`Defects`]; a server
/// reads on to the real end and refuses the body there (RFC 5321 section 2.3.8), because passing it on would let a
/// more lenient server further down the line see an end of data, and commands behind it.
#[derive(Debug)]
pub struct DotReader {
    state: ReadState,
    lines: LineEnding,
    defects: Defects,
    octets: u64,
}

/// Where the next octet of a received body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadState {
    /// After a CRLF or at the start, where a dot is not content.
    LineStart,
    /// After a bare LF, where [`LineEnding::CrlfOrLf`] takes one of two dots for stuffing.
    AfterLf,
    /// Anywhere else.
    MidLine,
    /// Behind CRLF `.` CRLF: not ours any more.
    Ended,
}

/// What [`DotReader::next`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DotStep {
    /// The next piece of the body, unstuffed.
    Chunk(Bytes),
    /// The body is complete. What is left in the input came after it.
    End,
    /// More octets are needed.
    More,
}

/// What a received body has that it should not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Defects {
    /// A CR without a LF after it.
    pub bare_cr: bool,
    /// A LF without a CR before it.
    pub bare_lf: bool,
    /// A NUL octet. RFC 5322 section 4 calls it obsolete; it breaks nothing here.
    pub nul: bool,
}

impl Defects {
    /// Whether the line endings are such that the body must not be passed on as it is.
    pub fn bare_endings(&self) -> bool {
        self.bare_cr || self.bare_lf
    }
}

impl Default for DotReader {
    fn default() -> DotReader {
        DotReader::with_lines(LineEnding::Crlf)
    }
}

impl DotReader {
    /// A reader at the start of a body, for SMTP.
    pub fn new() -> DotReader {
        DotReader::default()
    }

    /// A reader at the start of a body. The end is CRLF `.` CRLF in any case; `lines` says where stuffing may stand.
    ///
    /// With [`LineEnding::CrlfOrLf`], the first of two dots after a bare LF is dropped: the way back from a
    /// [`Stuffer`] with [`Endings::Keep`], and harmless where the sender stuffed after CRLF only, unless the body
    /// itself has two dots there.
    pub fn with_lines(lines: LineEnding) -> DotReader {
        DotReader { state: ReadState::LineStart, lines, defects: Defects::default(), octets: 0 }
    }

    /// Takes the next piece of the body out of `input`.
    ///
    /// One piece per call holds all that can be decided: a caller that pushes one read and calls until
    /// [`DotStep::More`] gets one piece. Its octets are not copied; where dots are dropped, they are moved together in
    /// place.
    pub fn next(&mut self, input: &mut Input) -> DotStep {
        let buffer = input.as_mut_slice();
        let mut at = 0; // everything before is decided
        let mut kept = 0; // so many octets of it are content, moved to the front
        let mut run = 0; // content from here to `at` is still to be moved
        let mut end = 0; // length of the end mark behind `at`
        loop {
            match self.state {
                ReadState::Ended => break,
                ReadState::LineStart => match buffer[at..] {
                    [] | [b'.'] | [b'.', b'\r'] => break,
                    [b'.', b'\r', b'\n', ..] => {
                        end = 3;
                        self.state = ReadState::Ended;
                    }
                    [b'.', ..] => {
                        kept = move_run(buffer, run, at, kept);
                        at += 1;
                        run = at;
                        self.state = ReadState::MidLine;
                    }
                    _ => self.state = ReadState::MidLine,
                },
                ReadState::AfterLf => match buffer[at..] {
                    [] | [b'.'] => break,
                    [b'.', b'.', ..] => {
                        kept = move_run(buffer, run, at, kept);
                        at += 1;
                        run = at;
                        self.state = ReadState::MidLine;
                    }
                    _ => self.state = ReadState::MidLine,
                },
                ReadState::MidLine => {
                    let Some(found) = memchr2(b'\r', b'\n', &buffer[at..]) else {
                        at = buffer.len();
                        break;
                    };
                    at += found;
                    match buffer[at..] {
                        [b'\r'] => break,
                        [b'\r', b'\n', ..] => {
                            at += 2;
                            self.state = ReadState::LineStart;
                        }
                        [b'\r', ..] => {
                            at += 1;
                            self.defects.bare_cr = true;
                        }
                        _ => {
                            at += 1;
                            self.defects.bare_lf = true;
                            if self.lines == LineEnding::CrlfOrLf {
                                self.state = ReadState::AfterLf;
                            }
                        }
                    }
                }
            }
        }
        kept = move_run(buffer, run, at, kept);
        let chunk = if kept > 0 { input.take(kept) } else { Bytes::new() };
        input.skip(at - kept + end);
        self.octets += kept as u64;
        self.defects.nul = self.defects.nul || memchr(0, &chunk).is_some();
        match self.state {
            _ if !chunk.is_empty() => DotStep::Chunk(chunk),
            ReadState::Ended => DotStep::End,
            _ => DotStep::More,
        }
    }

    /// What is wrong with the body so far.
    pub fn defects(&self) -> Defects {
        self.defects
    }

    /// Octets of content so far, without stuffing and end mark.
    pub fn octets(&self) -> u64 {
        self.octets
    }
}

/// Moves `run..at` down to `kept`; the new end of what is kept.
fn move_run(buffer: &mut [u8], run: usize, at: usize, kept: usize) -> usize {
    if run != kept {
        buffer.copy_within(run..at, kept);
    }
    kept + (at - run)
}

/// Dot-stuffs a body for sending.
#[derive(Debug)]
pub struct Stuffer {
    state: WriteState,
    endings: Endings,
    octets: u64,
    /// NULs at the start of a line that are kept back until it is known what follows them.
    nuls: usize,
}

/// NULs at the start of a line that are kept back; a line cannot have more (RFC 5321 section 4.5.3.1.6). What is over goes.
const NULS_MAX: usize = 1000;

/// What a [`Stuffer`] does with a CR or LF that is not part of a CRLF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endings {
    /// Leave it, for a peer that must get the body octet by octet. A dot after a bare LF is stuffed, as most POP3
    /// clients take any LF for the end of a line: they would drop that dot, or see the end of the body in it and
    /// replies in what follows.
    Keep,
    /// Make it a CRLF, as a client must before it sends DATA (RFC 5321 section 2.3.8), and as suits files with the
    /// line ends of Unix.
    MakeCrlf,
}

/// What was sent last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteState {
    /// A CRLF, or nothing: a dot would be taken for stuffing.
    LineStart,
    /// A CR that may become a CRLF.
    AfterCr,
    /// A bare LF: a dot is stuffed, yet the end mark needs a CRLF before it.
    AfterLf,
    /// Anything else.
    MidLine,
}

impl Stuffer {
    /// A stuffer at the start of a body.
    pub fn new(endings: Endings) -> Stuffer {
        Stuffer { state: WriteState::LineStart, endings, octets: 0, nuls: 0 }
    }

    /// The next piece as it goes onto the wire: the same memory when nothing has to be added, and never more than
    /// twice as long.
    pub fn stuff(&mut self, piece: Bytes) -> Bytes {
        let mut piece = piece;
        if self.nuls > 0 {
            let mut whole = vec![0; std::mem::take(&mut self.nuls)];
            whole.extend_from_slice(&piece);
            piece = whole.into();
        }
        let mut out = Insertions { piece: &piece, copied: 0, out: Vec::new() };
        match self.endings {
            Endings::Keep => self.keep(&piece, &mut out),
            Endings::MakeCrlf => self.make_crlf(&piece, &mut out),
        }
        let end = piece.len() - self.nuls;
        self.nuls = self.nuls.min(NULS_MAX);
        let stuffed = out.finish(end);
        let stuffed = if stuffed.is_empty() { piece.slice(..end) } else { Bytes::from(stuffed) };
        self.octets += stuffed.len() as u64;
        stuffed
    }

    /// A dot behind any LF is stuffed, and nothing else is added: one search for the two octets, at memory speed.
    fn keep(&mut self, piece: &[u8], out: &mut Insertions<'_>) {
        let at_line_start = matches!(self.state, WriteState::LineStart | WriteState::AfterLf);
        if at_line_start && piece.starts_with(b".") {
            out.insert(0, b'.');
        }
        for found in memmem::find_iter(piece, b"\n.") {
            out.insert(found + 1, b'.');
        }
        self.state = match (self.state, piece) {
            (unchanged, []) => unchanged,
            (_, [.., b'\r', b'\n']) | (WriteState::AfterCr, [b'\n']) => WriteState::LineStart,
            (_, [.., b'\n']) => WriteState::AfterLf,
            (_, [.., b'\r']) => WriteState::AfterCr,
            _ => WriteState::MidLine,
        };
    }

    /// Each CR and LF that is not part of a CRLF becomes one. NULs before a dot get a dot before them: there are servers
    /// that drop NULs before they look for the end, and to all others it is stuffing like any other.
    fn make_crlf(&mut self, piece: &[u8], out: &mut Insertions<'_>) {
        let mut at = 0;
        while let Some(&octet) = piece.get(at) {
            match self.state {
                WriteState::LineStart | WriteState::AfterLf => {
                    if octet == 0 {
                        let rest = piece.get(at..).unwrap_or_default();
                        let Some(nuls) = rest.iter().position(|&octet| octet != 0) else {
                            self.nuls = rest.len();
                            return;
                        };
                        if rest.get(nuls) == Some(&b'.') {
                            out.insert(at, b'.');
                        }
                    } else if octet == b'.' {
                        out.insert(at, b'.');
                    }
                    self.state = WriteState::MidLine;
                }
                WriteState::AfterCr => {
                    if octet == b'\n' {
                        at += 1;
                    } else {
                        out.insert(at, b'\n');
                    }
                    self.state = WriteState::LineStart;
                }
                WriteState::MidLine => {
                    let Some(found) = memchr2(b'\r', b'\n', &piece[at..]) else {
                        break;
                    };
                    at += found;
                    if piece[at] == b'\r' {
                        self.state = WriteState::AfterCr;
                    } else {
                        out.insert(at, b'\r');
                        self.state = WriteState::LineStart;
                    }
                    at += 1;
                }
            }
        }
    }

    /// The end mark, with the CRLF the body lacks at its end. The stuffer is ready for the next body.
    pub fn finish(&mut self) -> Bytes {
        if self.nuls > 0 {
            let mut end = vec![0; std::mem::take(&mut self.nuls)];
            self.state = WriteState::LineStart;
            end.extend_from_slice(b"\r\n.\r\n");
            self.octets += end.len() as u64;
            return end.into();
        }
        let end: &'static [u8] = match (self.state, self.endings) {
            (WriteState::LineStart, _) => b".\r\n",
            (WriteState::AfterCr, Endings::MakeCrlf) => b"\n.\r\n",
            (WriteState::AfterCr | WriteState::AfterLf | WriteState::MidLine, _) => b"\r\n.\r\n",
        };
        self.state = WriteState::LineStart;
        self.octets += end.len() as u64;
        Bytes::from_static(end)
    }

    /// Octets given out so far, stuffing and end mark included.
    pub fn octets(&self) -> u64 {
        self.octets
    }
}

/// A copy of a piece with octets inserted; nothing is copied before the first insertion.
struct Insertions<'a> {
    piece: &'a [u8],
    copied: usize,
    out: Vec<u8>,
}

impl Insertions<'_> {
    /// Inserts before position `at`, which never goes down.
    fn insert(&mut self, at: usize, octet: u8) {
        if self.out.is_empty() {
            self.out.reserve(self.piece.len() + self.piece.len() / 32 + 16);
        }
        self.out.extend_from_slice(&self.piece[self.copied..at]);
        self.out.push(octet);
        self.copied = at;
    }

    /// The copy up to `end` in the piece; empty if nothing was inserted.
    fn finish(mut self, end: usize) -> Vec<u8> {
        if !self.out.is_empty() {
            self.out.extend_from_slice(&self.piece[self.copied..end]);
        }
        self.out
    }
}

#[cfg(test)]
mod tests;
