//! Compressed mode: byte strings, replications, fillers, and control sequences (RFC 959 section 3.4.3).

use super::DataError;
use super::frame::{Marker, Piece, descriptor};

/// Octets of a byte string.
const STRING_MAX: usize = 127;
/// Repetitions that one replication or filler can say.
const REPEAT_MAX: usize = 63;
const REPLICATED: u8 = 0b1000_0000;
const FILLER: u8 = 0b1100_0000;
const ESCAPE: u8 = 0;
/// Data waits until there is so much of it, so that the last string before an end can be found.
const HELD_OCTETS: usize = 4 * 1024;

#[derive(Debug)]
pub(super) struct CompressedWriter {
    filler: u8,
    held: Vec<u8>,
}

impl CompressedWriter {
    pub(super) fn new(filler: u8) -> CompressedWriter {
        CompressedWriter { filler, held: Vec::with_capacity(HELD_OCTETS) }
    }

    pub(super) fn data(&mut self, mut data: &[u8], out: &mut Vec<u8>) {
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(HELD_OCTETS - self.held.len()));
            self.held.extend_from_slice(now);
            data = later;
            if self.held.len() == HELD_OCTETS {
                self.strings(out);
            }
        }
    }

    /// Ends the record, the file, or both. The descriptor "applies to the succeeding string", so it stands before the last
    /// one, and before a filler of no octets if there is none.
    pub(super) fn end(&mut self, descriptor: u8, out: &mut Vec<u8>) {
        match self.strings(out) {
            Some(last) => drop(out.splice(last..last, [ESCAPE, descriptor])),
            None => out.extend_from_slice(&[ESCAPE, descriptor, FILLER]),
        }
    }

    pub(super) fn marker(&mut self, text: &str, out: &mut Vec<u8>) {
        self.strings(out);
        out.extend_from_slice(&[ESCAPE, descriptor::MARKER, text.len() as u8]);
        out.extend_from_slice(text.as_bytes());
    }

    /// Writes what is held; says where in `out` the last string begins.
    fn strings(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let mut data = &self.held[..];
        let mut last = None;
        while let Some(&octet) = data.first() {
            let run = data.iter().take(REPEAT_MAX).take_while(|next| **next == octet).count();
            last = Some(out.len());
            let taken = if octet == self.filler && run > 1 {
                out.push(FILLER | run as u8);
                run
            } else if run > 2 {
                out.extend_from_slice(&[REPLICATED | run as u8, octet]);
                run
            } else {
                let string = &data[..plain_octets(data, self.filler)];
                out.push(string.len() as u8);
                out.extend_from_slice(string);
                string.len()
            };
            data = &data[taken..];
        }
        self.held.clear();
        last
    }
}

/// How many octets pass until something is worth to be compressed.
fn plain_octets(data: &[u8], filler: u8) -> usize {
    let worth = |at: usize| match data[at..] {
        [a, b, ..] if a == filler && b == filler => true,
        [a, b, c, ..] => a == b && b == c,
        _ => false,
    };
    (1..data.len().min(STRING_MAX)).find(|at| worth(*at)).unwrap_or(data.len().min(STRING_MAX))
}

#[derive(Debug)]
pub(super) struct CompressedReader {
    filler: u8,
    state: State,
    /// Descriptor codes that apply to the string that follows, or that is being read.
    descriptor: u8,
    marker: Marker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A string or an escape begins.
    Between,
    /// The second octet of an escape is to come.
    Escaped,
    /// So many octets of a byte string are to come.
    String(u8),
    /// The octet is to come that stands for so many.
    Replicated(u8),
    /// A string is complete: its ends are to be told.
    Ended,
}

impl CompressedReader {
    pub(super) fn new(filler: u8) -> CompressedReader {
        CompressedReader { filler, state: State::Between, descriptor: 0, marker: Marker::default() }
    }

    /// Whether the end of the file was announced and only the string is missing to which the announcement belongs: some
    /// senders close at once.
    pub(super) fn end_of_file_is_pending(&self) -> bool {
        self.state == State::Between && self.descriptor & descriptor::END_OF_FILE != 0
    }

    pub(super) fn next<'a>(&mut self, wire: &mut &'a [u8]) -> Result<Option<Piece<'a>>, DataError> {
        loop {
            if self.state == State::Ended {
                if let Some(piece) = self.end() {
                    return Ok(Some(piece));
                }
                self.state = State::Between;
            }
            let input = *wire;
            let Some((&octet, rest)) = input.split_first() else { return Ok(None) };
            match self.state {
                State::Between => {
                    *wire = rest;
                    let count = octet & 0x3f;
                    match octet {
                        ESCAPE => self.state = State::Escaped,
                        1..REPLICATED => self.state = State::String(octet),
                        REPLICATED..FILLER => self.state = State::Replicated(count),
                        FILLER.. => {
                            self.state = State::Ended;
                            if let Some(piece) = self.repeat(self.filler, count)? {
                                return Ok(Some(piece));
                            }
                        }
                    }
                }
                State::Escaped => {
                    *wire = rest;
                    // Ends that were announced before and had no string after them have one of no octets.
                    let before = std::mem::replace(&mut self.descriptor, octet);
                    self.state = State::Between;
                    if before & (descriptor::END_OF_RECORD | descriptor::END_OF_FILE) != 0 {
                        self.descriptor |= before & descriptor::END_OF_FILE;
                        if before & descriptor::END_OF_RECORD != 0 {
                            return Ok(Some(Piece::EndOfRecord));
                        }
                    }
                    if octet & descriptor::SUSPECT != 0 {
                        return Ok(Some(Piece::Suspect));
                    }
                }
                State::Replicated(count) => {
                    *wire = rest;
                    self.state = State::Ended;
                    if let Some(piece) = self.repeat(octet, count)? {
                        return Ok(Some(piece));
                    }
                }
                State::String(left) => {
                    let (string, rest) = input.split_at(usize::from(left).min(input.len()));
                    *wire = rest;
                    let left = left - string.len() as u8;
                    self.state = if left == 0 { State::Ended } else { State::String(left) };
                    if self.descriptor & descriptor::MARKER == 0 {
                        return Ok(Some(Piece::Data(string)));
                    }
                    for octet in string {
                        self.marker.push(*octet)?;
                    }
                }
                State::Ended => {}
            }
        }
    }

    /// Octets of data, or of a marker, that are one and the same.
    fn repeat(&mut self, octet: u8, count: u8) -> Result<Option<Piece<'static>>, DataError> {
        if self.descriptor & descriptor::MARKER == 0 {
            return Ok((count > 0).then_some(Piece::Repeated(octet, count)));
        }
        (0..count).try_for_each(|_| self.marker.push(octet))?;
        Ok(None)
    }

    /// What is still to be told of a string that is complete.
    fn end(&mut self) -> Option<Piece<'static>> {
        for (code, piece) in [
            (descriptor::MARKER, Piece::Marker(self.marker)),
            (descriptor::END_OF_RECORD, Piece::EndOfRecord),
            (descriptor::END_OF_FILE, Piece::EndOfFile),
        ] {
            if self.descriptor & code != 0 {
                self.descriptor &= !code;
                if code == descriptor::MARKER {
                    self.marker = Marker::default();
                }
                return Some(piece);
            }
        }
        self.descriptor = 0;
        None
    }
}
