//! Block mode: a descriptor and a count of 16 bits before each block (RFC 959 section 3.4.2).

use super::DataError;
use super::frame::{Marker, Piece, descriptor};

/// Octets of data in a block that we send: as many as a count can say would not be faster.
const BLOCK_OCTETS: usize = 32 * 1024;
const HEADER: usize = 3;

#[derive(Debug, Default)]
pub(super) struct BlockWriter {
    held: Vec<u8>,
}

impl BlockWriter {
    pub(super) fn data(&mut self, mut data: &[u8], out: &mut Vec<u8>) {
        while self.held.len() + data.len() > BLOCK_OCTETS {
            let (now, later) = data.split_at(BLOCK_OCTETS - self.held.len());
            header(0, BLOCK_OCTETS, out);
            out.append(&mut self.held);
            out.extend_from_slice(now);
            data = later;
        }
        self.held.extend_from_slice(data);
    }

    /// Sends what is held under this descriptor, be it nothing.
    pub(super) fn flush(&mut self, descriptor: u8, out: &mut Vec<u8>) {
        header(descriptor, self.held.len(), out);
        out.append(&mut self.held);
    }

    pub(super) fn marker(&mut self, text: &str, out: &mut Vec<u8>) {
        if !self.held.is_empty() {
            self.flush(0, out);
        }
        header(descriptor::MARKER, text.len(), out);
        out.extend_from_slice(text.as_bytes());
    }
}

fn header(descriptor: u8, count: usize, out: &mut Vec<u8>) {
    let [high, low] = u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes();
    out.extend_from_slice(&[descriptor, high, low]);
}

#[derive(Debug, Default)]
pub(super) struct BlockReader {
    header: [u8; HEADER],
    /// Octets of the header that are there.
    seen: usize,
    /// Octets of the block that are to come.
    left: usize,
    told_suspect: bool,
    told_end_of_record: bool,
    marker: Marker,
}

impl BlockReader {
    pub(super) fn next<'a>(&mut self, wire: &mut &'a [u8]) -> Result<Option<Piece<'a>>, DataError> {
        while self.seen < HEADER {
            let Some((&octet, rest)) = wire.split_first() else { return Ok(None) };
            *wire = rest;
            self.header[self.seen] = octet;
            self.seen += 1;
            if self.seen == HEADER {
                self.left = usize::from(u16::from_be_bytes([self.header[1], self.header[2]]));
                (self.told_suspect, self.told_end_of_record, self.marker) = (false, false, Marker::default());
            }
        }
        let descriptor = self.header[0];
        if descriptor & descriptor::SUSPECT != 0 && !std::mem::replace(&mut self.told_suspect, true) {
            return Ok(Some(Piece::Suspect));
        }
        if descriptor & descriptor::MARKER != 0 {
            while self.left > 0 {
                let Some((&octet, rest)) = wire.split_first() else { return Ok(None) };
                *wire = rest;
                self.left -= 1;
                self.marker.push(octet)?;
            }
            // A marker that also ends something does so after it.
            self.header[0] &= !descriptor::MARKER;
            return Ok(Some(Piece::Marker(self.marker)));
        }
        if self.left > 0 {
            if wire.is_empty() {
                return Ok(None);
            }
            let (data, rest) = wire.split_at(self.left.min(wire.len()));
            *wire = rest;
            self.left -= data.len();
            return Ok(Some(Piece::Data(data)));
        }
        if descriptor & descriptor::END_OF_RECORD != 0
            && !std::mem::replace(&mut self.told_end_of_record, true)
        {
            return Ok(Some(Piece::EndOfRecord));
        }
        self.seen = 0;
        if descriptor & descriptor::END_OF_FILE != 0 {
            return Ok(Some(Piece::EndOfFile));
        }
        self.next(wire)
    }
}
