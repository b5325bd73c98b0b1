//! Modes: how data, ends of records, the end of the file and restart markers are told apart on the wire.

use super::block::{BlockReader, BlockWriter};
use super::compressed::{CompressedReader, CompressedWriter};
use super::stream::{RecordReader, write_control, write_escaped};
use super::{DataError, MARKER_MAX, Mode, Representation, Structure};

/// Descriptor codes of block and compressed mode (RFC 959 section 3.4.2).
pub(super) mod descriptor {
    pub(in crate::data) const END_OF_RECORD: u8 = 128;
    pub(in crate::data) const END_OF_FILE: u8 = 64;
    pub(in crate::data) const SUSPECT: u8 = 32;
    pub(in crate::data) const MARKER: u8 = 16;
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Data(&'a [u8]),
    /// This octet, so often.
    Repeated(u8, u8),
    EndOfRecord,
    EndOfFile,
    Marker(Marker),
    /// The sender has doubts about the octets that follow.
    Suspect,
}

/// The text of a restart marker.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    text: [u8; MARKER_MAX],
    octets: usize,
}

impl Default for Marker {
    fn default() -> Marker {
        Marker { text: [0; MARKER_MAX], octets: 0 }
    }
}

impl Marker {
    pub(super) fn push(&mut self, octet: u8) -> Result<(), DataError> {
        // Printable, and no space within (RFC 959 section 3.4.2).
        let slot = self.text.get_mut(self.octets).filter(|_| octet.is_ascii_graphic());
        *slot.ok_or(DataError::InvalidMarker)? = octet;
        self.octets += 1;
        Ok(())
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.octets]).unwrap_or_default()
    }
}

impl std::fmt::Debug for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

/// The receiving side of a mode.
#[derive(Debug)]
pub(super) enum Reader {
    /// Everything is data, and the end of the connection is the end of the file.
    Stream,
    Records(RecordReader),
    Block(BlockReader),
    Compressed(CompressedReader),
}

impl Reader {
    pub(super) fn new(representation: &Representation) -> Reader {
        match (representation.mode, representation.structure) {
            (Mode::Stream, Structure::Record) => Reader::Records(RecordReader::default()),
            (Mode::Stream, _) => Reader::Stream,
            (Mode::Block, _) => Reader::Block(BlockReader::default()),
            (Mode::Compressed, _) => Reader::Compressed(CompressedReader::new(representation.ty.filler())),
        }
    }

    /// Takes the next piece from the front of `wire`; `None` when more is needed.
    pub(super) fn next<'a>(&mut self, wire: &mut &'a [u8]) -> Result<Option<Piece<'a>>, DataError> {
        match self {
            Reader::Stream if wire.is_empty() => Ok(None),
            Reader::Stream => Ok(Some(Piece::Data(std::mem::take(wire)))),
            Reader::Records(reader) => reader.next(wire),
            Reader::Block(reader) => reader.next(wire),
            Reader::Compressed(reader) => reader.next(wire),
        }
    }

    /// The connection has ended: whether that is the end of the file.
    pub(super) fn may_end(&self) -> bool {
        matches!(self, Reader::Stream)
            || matches!(self, Reader::Compressed(reader) if reader.end_of_file_is_pending())
    }
}

/// The sending side of a mode.
#[derive(Debug)]
pub(super) enum Writer {
    Stream,
    Records,
    Block(BlockWriter),
    Compressed(CompressedWriter),
}

impl Writer {
    pub(super) fn new(representation: &Representation) -> Writer {
        match (representation.mode, representation.structure) {
            (Mode::Stream, Structure::Record) => Writer::Records,
            (Mode::Stream, _) => Writer::Stream,
            (Mode::Block, _) => Writer::Block(BlockWriter::default()),
            (Mode::Compressed, _) => Writer::Compressed(CompressedWriter::new(representation.ty.filler())),
        }
    }

    pub(super) fn data(&mut self, data: &[u8], out: &mut Vec<u8>) {
        match self {
            Writer::Stream => out.extend_from_slice(data),
            Writer::Records => write_escaped(data, out),
            Writer::Block(writer) => writer.data(data, out),
            Writer::Compressed(writer) => writer.data(data, out),
        }
    }

    pub(super) fn end_of_record(&mut self, out: &mut Vec<u8>) {
        match self {
            Writer::Stream => {}
            Writer::Records => write_control(1, out),
            Writer::Block(writer) => writer.flush(descriptor::END_OF_RECORD, out),
            Writer::Compressed(writer) => writer.end(descriptor::END_OF_RECORD, out),
        }
    }

    pub(super) fn end_of_file(&mut self, out: &mut Vec<u8>) {
        match self {
            Writer::Stream => {}
            Writer::Records => write_control(2, out),
            Writer::Block(writer) => writer.flush(descriptor::END_OF_FILE, out),
            Writer::Compressed(writer) => writer.end(descriptor::END_OF_FILE, out),
        }
    }

    /// A restart marker, in the modes that have them (RFC 959 section 3.5).
    pub(super) fn marker(&mut self, text: &str, out: &mut Vec<u8>) {
        match self {
            Writer::Stream | Writer::Records => {}
            Writer::Block(writer) => writer.marker(text, out),
            Writer::Compressed(writer) => writer.marker(text, out),
        }
    }

    pub(super) fn has_markers(&self) -> bool {
        matches!(self, Writer::Block(_) | Writer::Compressed(_))
    }
}
