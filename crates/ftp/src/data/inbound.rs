//! Receiving: from what came over a data connection to what lies on disk.

use memchr::memchr;

use super::bits::Unpacker;
use super::container::{self, HEADER_OCTETS, Header, Kind};
use super::frame::{Piece, Reader};
use super::page::{PagePiece, PageReader};
use super::text::{LinesToDisk, from_ebcdic};
use super::{ByteSize, CodePage, DataError, Mode, Options, Representation, Structure, Type};

/// Receives one file.
#[derive(Debug)]
pub struct Inbound {
    representation: Representation,
    code_page: CodePage,
    frame: Reader,
    unpack: Option<Unpacker>,
    lines: LinesToDisk,
    target: Target,
    unpacked: Vec<u8>,
    text: Vec<u8>,
    /// Octets given out for the disk, in this transfer.
    written: u64,
    ended: bool,
}

/// How the file will lie.
#[derive(Debug)]
enum Target {
    Plain,
    Lines,
    Records(Header),
    Pages { header: Header, reader: PageReader, next_index: u64 },
}

/// What came beside data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A restart marker (RFC 959 section 3.5): what the sender calls the place to which so many octets have been given
    /// out. To be told to the user in a 110 reply when they are on disk.
    Marker {
        /// The sender's.
        marker: String,
        /// Ours: octets given out in this transfer.
        octets: u64,
    },
    /// The sender has doubts about what follows these octets, or some of it.
    Suspect {
        /// Octets given out in this transfer.
        octets: u64,
    },
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumed {
    /// Octets that belonged to this file.
    pub octets: usize,
    /// The file is complete; what follows belongs to the next one.
    pub end_of_file: bool,
}

/// A file that came whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// What the first octets of the file on disk have to be in the end.
    pub header: Option<[u8; HEADER_OCTETS]>,
}

impl Inbound {
    /// A file that is sent like this. When the transfer goes `on` after a restart, `header` is what lies at the beginning
    /// of the file on disk: a container goes on where it ended.
    pub fn new(representation: Representation, options: &Options, goes_on: Option<Header>) -> Inbound {
        let Representation { ty, structure, .. } = representation;
        let header = |kind| {
            let fresh = Header { kind, ty, code_page: options.code_page, page_octets: 0, ascending: true };
            goes_on.filter(|before| before.kind == kind).unwrap_or(fresh)
        };
        let target = match structure {
            Structure::File => Target::Plain,
            Structure::Record if ty.is_text() => Target::Lines,
            Structure::Record => Target::Records(header(Kind::Records)),
            Structure::Page => Target::Pages {
                header: header(Kind::Pages),
                reader: PageReader::new(ty.byte_size()),
                next_index: 0,
            },
        };
        Inbound {
            representation,
            code_page: options.code_page,
            frame: Reader::new(&representation),
            unpack: (ty.byte_size() != ByteSize::OCTET).then(|| Unpacker::new(ty.byte_size())),
            lines: LinesToDisk::default(),
            target,
            unpacked: Vec::new(),
            text: Vec::new(),
            written: 0,
            ended: false,
        }
    }

    /// What has to stand at the beginning of the file on disk before anything that is given out, unless the transfer
    /// goes on after a restart.
    pub fn header(&self) -> Option<[u8; HEADER_OCTETS]> {
        match &self.target {
            Target::Records(header) | Target::Pages { header, .. } => Some(header.encode()),
            Target::Plain | Target::Lines => None,
        }
    }

    /// Takes what came, appends what is for the disk to `out`.
    pub fn push(
        &mut self,
        wire: &[u8],
        out: &mut Vec<u8>,
        news: &mut Vec<News>,
    ) -> Result<Consumed, DataError> {
        let before = out.len();
        let mut rest = wire;
        while !self.ended {
            let Some(piece) = self.frame.next(&mut rest)? else { break };
            let so_far = self.written + (out.len() - before) as u64;
            match piece {
                Piece::Data(data) => self.data(data, out)?,
                Piece::Repeated(octet, count) => {
                    self.data(&[octet; 64][..usize::from(count.min(64))], out)?
                }
                Piece::EndOfRecord => self.end_of_record(out)?,
                Piece::EndOfFile => self.end_of_data(out)?,
                Piece::Marker(marker) => {
                    // In the middle of a line end or of a logical byte there is no place to go on at.
                    if self.is_even() {
                        news.push(News::Marker { marker: marker.as_str().to_owned(), octets: so_far });
                    }
                }
                Piece::Suspect => news.push(News::Suspect { octets: so_far }),
            }
        }
        self.written += (out.len() - before) as u64;
        Ok(Consumed { octets: wire.len() - rest.len(), end_of_file: self.ended })
    }

    /// The end of the file was seen, or the connection has ended: whether that is the end of the file.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<End, DataError> {
        if !self.ended {
            if !self.frame.may_end() {
                return Err(DataError::Truncated);
            }
            let before = out.len();
            self.end_of_data(out)?;
            self.written += (out.len() - before) as u64;
        }
        let header = match &self.target {
            Target::Pages { header, .. } => Some(header.encode()),
            _ => None,
        };
        Ok(End { header })
    }

    fn is_even(&self) -> bool {
        let pages = match &self.target {
            Target::Pages { reader, .. } => reader.is_between(),
            _ => true,
        };
        pages && self.lines.is_even() && self.unpack.as_ref().is_none_or(Unpacker::is_even)
    }

    fn data(&mut self, wire: &[u8], out: &mut Vec<u8>) -> Result<(), DataError> {
        match &mut self.unpack {
            None => self.logical(wire, out),
            Some(unpack) => {
                let mut unpacked = std::mem::take(&mut self.unpacked);
                unpacked.clear();
                unpack.push(wire, &mut unpacked);
                let result = self.logical(&unpacked, out);
                self.unpacked = unpacked;
                result
            }
        }
    }

    /// Data in logical bytes, each in whole octets.
    fn logical(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> Result<(), DataError> {
        match &mut self.target {
            Target::Plain => match self.representation.ty {
                Type::Ascii(_) => self.lines.push(data, out),
                Type::Ebcdic(_) => from_ebcdic(self.code_page, data, out),
                Type::Image | Type::Local(_) => out.extend_from_slice(data),
            },
            Target::Lines => {
                let text = match self.representation.ty {
                    Type::Ebcdic(_) => {
                        self.text.clear();
                        from_ebcdic(self.code_page, data, &mut self.text);
                        &self.text[..]
                    }
                    _ => data,
                };
                if memchr(b'\n', text).is_some() {
                    return Err(DataError::LineEndInRecord);
                }
                out.extend_from_slice(text);
            }
            Target::Records(_) if data.is_empty() => {}
            Target::Records(_) => container::write_record_piece(data, true, out),
            Target::Pages { header, reader, next_index } => {
                while let Some(piece) = reader.next(&mut data)? {
                    match piece {
                        PagePiece::Page(page, octets) => {
                            container::write_page_header(&page, octets, out);
                            if page.is_content() {
                                header.ascending &= page.index >= *next_index;
                                *next_index = page.index.saturating_add(1);
                                header.page_octets = header.page_octets.max(octets);
                            }
                        }
                        PagePiece::Data(data) => out.extend_from_slice(data),
                    }
                }
                if reader.has_ended() {
                    // Padding of the last logical byte may follow, and nothing else.
                    let padding = data.iter().all(|octet| *octet == 0);
                    if !padding {
                        return Err(DataError::InvalidPage);
                    }
                    if self.representation.mode == Mode::Stream {
                        self.ended = true;
                    }
                }
            }
        }
        Ok(())
    }

    fn end_of_record(&mut self, out: &mut Vec<u8>) -> Result<(), DataError> {
        if let Some(unpack) = &mut self.unpack {
            unpack.finish()?;
        }
        match &self.target {
            Target::Lines => out.push(b'\n'),
            Target::Records(_) => container::write_record_piece(&[], false, out),
            // Hosts that have nothing but records mark them although STRU F was agreed on: then they are the lines.
            Target::Plain if self.representation.ty.is_text() => {
                self.lines.finish(out);
                out.push(b'\n');
            }
            Target::Plain | Target::Pages { .. } => {}
        }
        Ok(())
    }

    fn end_of_data(&mut self, out: &mut Vec<u8>) -> Result<(), DataError> {
        if let Some(unpack) = &mut self.unpack {
            unpack.finish()?;
        }
        self.lines.finish(out);
        if let Target::Pages { reader, .. } = &self.target
            && !reader.has_ended()
        {
            return Err(DataError::Truncated);
        }
        self.ended = true;
        Ok(())
    }
}
