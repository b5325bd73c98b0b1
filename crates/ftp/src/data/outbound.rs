//! Sending: from what lies on disk to what goes over a data connection.

use memchr::memchr;

use super::bits::Packer;
use super::code_page::NL;
use super::container::{Entry, EntryReader, HEADER_OCTETS, Header, Kind};
use super::frame::Writer;
use super::page::PageHeader;
use super::text::{LinesToDisk, ToEbcdic, from_ebcdic, lines_to_wire};
use super::{ByteSize, CodePage, DataError, Options, Representation, Structure, Type};

/// Logical bytes of a page that we make. What a page may hold at most, so that one can be kept.
const PAGE_BYTES_MAX: u32 = 16 * 1024;
/// Zeros between pages are made in pieces of this size.
const ZEROS: [u8; 4096] = [0; 4096];
/// Data is taken from the disk in pieces of this size, between which a restart marker may stand.
const PIECE_OCTETS: usize = 64 * 1024;

/// Sends one file.
#[derive(Debug)]
pub struct Outbound {
    representation: Representation,
    source: Source,
    convert: Convert,
    pages: Option<Pages>,
    pack: Option<Packer>,
    frame: Writer,
    /// Octets that have been taken from the disk, from the beginning of the file.
    position: u64,
    marker_every: Option<u64>,
    next_marker: u64,
    /// Octets of the stream that the receiver has already.
    skip: u64,
    converted: Vec<u8>,
    paged: Vec<u8>,
    packed: Vec<u8>,
    ended: bool,
}

/// Where a transfer is taken up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// From the beginning.
    #[default]
    None,
    /// At so many octets of what goes over the wire in stream mode (RFC 3659 section 5): the file is read from its
    /// beginning. In TYPE I the owner reads from there instead, without a restart.
    Stream(u64),
    /// At one of our own restart markers (RFC 959 section 3.5), which is a place on disk: the file is read from there.
    Marker(u64),
}

/// How the file lies.
#[derive(Debug)]
enum Source {
    Plain {
        records: Records,
        /// Something has come since the last end of a record.
        open: bool,
    },
    Container {
        header: Header,
        entries: EntryReader,
        /// Octets of the header that are still to come.
        head: usize,
        /// Where in the stream of pages we are, on disk, and the zeros that are owed.
        at: u64,
        zeros: u64,
        /// The page that is being read is not part of the stream.
        aside: bool,
    },
}

/// What is a record of a file that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Records {
    No,
    Lines,
    Fixed { octets: u32, left: u32 },
    Whole,
}

/// From the data of the source to that of the wire.
#[derive(Debug)]
enum Convert {
    /// It is the same.
    No,
    Lines,
    Ebcdic(ToEbcdic),
    /// Lines of a container, kept as they were sent, become text first.
    FromLines(LinesToDisk, Box<Convert>),
    FromEbcdic(CodePage, Box<Convert>),
}

/// Makes pages of a stream.
#[derive(Debug)]
struct Pages {
    size: ByteSize,
    octets: usize,
    held: Vec<u8>,
    index: u64,
}

impl Outbound {
    /// A file that begins on disk with `head` (at least [`HEADER_OCTETS`] octets, unless it is shorter).
    pub fn new(
        representation: Representation,
        options: &Options,
        head: &[u8],
        restart: Restart,
    ) -> Result<Outbound, DataError> {
        let Representation { ty, structure, .. } = representation;
        let container = Header::parse(head);
        let frame = Writer::new(&representation);
        let position = match restart {
            Restart::Marker(at) if frame.has_markers() => at,
            Restart::Marker(_) => return Err(DataError::InvalidRestart),
            Restart::Stream(_) if frame.has_markers() => return Err(DataError::InvalidRestart),
            Restart::Stream(_) | Restart::None => 0,
        };
        let as_sent = container.is_some_and(|header| header.has_data_of(ty, options.code_page));
        let same_pages = container.is_some_and(|h| h.kind == Kind::Pages) && as_sent;
        let page_bytes = options.page_bytes.clamp(1, PAGE_BYTES_MAX);
        let largest = (1u64 << ty.byte_size().bits().min(32)) - 1;
        let pages = (structure == Structure::Page && !same_pages).then(|| Pages {
            size: ty.byte_size(),
            octets: ty.byte_size().octets() * u64::from(page_bytes).min(largest) as usize,
            held: Vec::new(),
            index: 0,
        });
        // In the middle of pages we know neither our own count nor where a stream of another's pages stands.
        let markers = frame.has_markers()
            && pages.is_none()
            && (container.is_none() || same_structure(container, structure));
        if position > 0 && !markers {
            return Err(DataError::InvalidRestart);
        }
        let source = match container {
            Some(header) => {
                let head = HEADER_OCTETS.saturating_sub(position as usize);
                let entries = EntryReader::new(header.kind);
                Source::Container { header, entries, head, at: 0, zeros: 0, aside: false }
            }
            None => Source::Plain { records: Records::of(ty, structure, options), open: false },
        };
        Ok(Outbound {
            representation,
            source,
            convert: Convert::new(ty, structure, options.code_page, container.filter(|_| !as_sent), as_sent),
            pages,
            pack: (ty.byte_size() != ByteSize::OCTET).then(|| Packer::new(ty.byte_size())),
            frame,
            position,
            marker_every: options.marker_every.filter(|_| markers),
            next_marker: position + options.marker_every.unwrap_or(0),
            skip: if let Restart::Stream(octets) = restart { octets } else { 0 },
            converted: Vec::new(),
            paged: Vec::new(),
            packed: Vec::new(),
            ended: false,
        })
    }

    /// Takes what lies on disk from the front of `disk`, and appends what is to be sent to `out` until that has about
    /// `room` octets. The rest is taken the next time.
    pub fn push(&mut self, disk: &mut &[u8], out: &mut Vec<u8>, room: usize) -> Result<(), DataError> {
        while out.len() < room {
            if self.owed_zeros(out)? {
                continue;
            }
            if disk.is_empty() {
                break;
            }
            let (mut piece, later) = disk.split_at(disk.len().min(self.piece_octets()));
            let before = (piece.len(), out.len());
            match &self.source {
                Source::Plain { .. } => self.plain(&mut piece, out)?,
                Source::Container { .. } => self.entry(&mut piece, out)?,
            }
            self.position += (before.0 - piece.len()) as u64;
            *disk = if piece.is_empty() { later } else { &disk[before.0 - piece.len()..] };
            self.skip_sent(before.1, out);
            self.mark(out);
        }
        Ok(())
    }

    /// The file on disk has ended: appends what is still to be sent. False: call it again, `out` is full.
    pub fn finish(&mut self, out: &mut Vec<u8>, room: usize) -> Result<bool, DataError> {
        while self.owed_zeros(out)? {
            if out.len() >= room {
                return Ok(false);
            }
        }
        if std::mem::replace(&mut self.ended, true) {
            return Ok(true);
        }
        let before = out.len();
        match &mut self.source {
            Source::Plain { records, open } => {
                let unfinished = match records {
                    Records::No => false,
                    Records::Lines | Records::Fixed { .. } => *open,
                    Records::Whole => true,
                };
                if unfinished {
                    self.end_of_record(out)?;
                }
            }
            Source::Container { entries, .. } => {
                entries.finish()?;
            }
        }
        let mut converted = std::mem::take(&mut self.converted);
        converted.clear();
        self.convert.finish(&mut converted);
        self.stream(&converted, out)?;
        if let Some(mut pages) = self.pages.take() {
            let mut paged = Vec::new();
            pages.finish(&mut paged)?;
            self.logical(&paged, out)?;
        }
        self.end_packing(out)?;
        self.frame.end_of_file(out);
        self.skip_sent(before, out);
        if self.skip > 0 {
            return Err(DataError::InvalidRestart);
        }
        Ok(true)
    }

    /// Octets that have been taken from the disk, counted from the beginning of the file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How much to take at once: so much that the next restart marker finds a place at which logical bytes and octets on
    /// the wire begin together.
    fn piece_octets(&self) -> usize {
        let unit = match self.representation.ty {
            Type::Local(size) => 8 * size.octets() as u64,
            _ => 1,
        };
        match (self.marker_every, &self.source) {
            (Some(_), Source::Plain { .. }) => {
                let to_marker = self.next_marker.next_multiple_of(unit).saturating_sub(self.position);
                to_marker.clamp(1, PIECE_OCTETS as u64) as usize
            }
            _ => PIECE_OCTETS,
        }
    }

    fn plain(&mut self, piece: &mut &[u8], out: &mut Vec<u8>) -> Result<(), DataError> {
        let Source::Plain { records, open } = &mut self.source else { return Ok(()) };
        let (data, ends) = match records {
            Records::No | Records::Whole => (std::mem::take(piece), false),
            Records::Lines => match memchr(b'\n', piece) {
                Some(at) => {
                    let line = &piece[..at];
                    *piece = &piece[at + 1..];
                    (line, true)
                }
                None => (std::mem::take(piece), false),
            },
            Records::Fixed { octets, left } => {
                let (data, rest) = piece.split_at((*left as usize).min(piece.len()));
                *piece = rest;
                *left -= data.len() as u32;
                let ends = *left == 0;
                if ends {
                    *left = *octets;
                }
                (data, ends)
            }
        };
        *open = !ends;
        self.data(data, out)?;
        if ends { self.end_of_record(out) } else { Ok(()) }
    }

    fn entry(&mut self, piece: &mut &[u8], out: &mut Vec<u8>) -> Result<(), DataError> {
        let structure = self.representation.structure;
        let Source::Container { header, entries, head, at, zeros, aside } = &mut self.source else {
            return Ok(());
        };
        if *head > 0 {
            let taken = piece.len().min(*head);
            *head -= taken;
            *piece = &piece[taken..];
            return Ok(());
        }
        let Some(entry) = entries.next(piece)? else { return Ok(()) };
        let passed_on = structure == Structure::Page && self.pages.is_none();
        match entry {
            Entry::Data(data) => {
                if *aside {
                    return Ok(());
                }
                *at += data.len() as u64;
                self.data(data, out)
            }
            Entry::EndOfRecord => self.end_of_record(out),
            Entry::Page(page, octets) if passed_on => {
                let size = self.representation.ty.byte_size();
                let mut written = Vec::new();
                page.write(u64::from(octets) / size.octets() as u64, size, &mut written)?;
                self.logical(&written, out)
            }
            Entry::Page(page, octets) => {
                *aside = !page.is_content();
                if *aside || octets == 0 {
                    return Ok(());
                }
                if !header.ascending {
                    return Err(DataError::PagesOutOfOrder);
                }
                let begins =
                    page.index.checked_mul(u64::from(header.page_octets)).ok_or(DataError::Damaged)?;
                *zeros = begins.checked_sub(*at).ok_or(DataError::Damaged)?;
                *at = begins;
                Ok(())
            }
        }
    }

    /// Makes some of the zeros that lie before a page. False if there are none.
    fn owed_zeros(&mut self, out: &mut Vec<u8>) -> Result<bool, DataError> {
        let Source::Container { zeros, .. } = &mut self.source else { return Ok(false) };
        if *zeros == 0 {
            return Ok(false);
        }
        let now = (*zeros).min(ZEROS.len() as u64);
        *zeros -= now;
        let before = out.len();
        self.data(&ZEROS[..now as usize], out)?;
        self.skip_sent(before, out);
        Ok(true)
    }

    fn data(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), DataError> {
        if matches!(self.convert, Convert::No) {
            return self.stream(data, out);
        }
        // Nothing comes after the conversion: no need to carry the text twice.
        if matches!(self.frame, Writer::Stream) && self.pages.is_none() && self.pack.is_none() {
            self.convert.push(data, out);
            return Ok(());
        }
        let mut converted = std::mem::take(&mut self.converted);
        converted.clear();
        self.convert.push(data, &mut converted);
        let result = self.stream(&converted, out);
        self.converted = converted;
        result
    }

    /// Data as the type has it, on its way into pages.
    fn stream(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), DataError> {
        let Some(pages) = &mut self.pages else { return self.logical(data, out) };
        let mut paged = std::mem::take(&mut self.paged);
        paged.clear();
        let result = pages.push(data, &mut paged).and_then(|()| self.logical(&paged, out));
        self.paged = paged;
        result
    }

    /// Logical bytes, each in whole octets.
    fn logical(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), DataError> {
        match &mut self.pack {
            None => self.frame.data(data, out),
            Some(pack) => {
                self.packed.clear();
                pack.push(data, &mut self.packed)?;
                self.frame.data(&self.packed, out);
            }
        }
        Ok(())
    }

    fn end_packing(&mut self, out: &mut Vec<u8>) -> Result<(), DataError> {
        if let Some(pack) = &mut self.pack {
            self.packed.clear();
            pack.finish(&mut self.packed)?;
            self.frame.data(&self.packed, out);
        }
        Ok(())
    }

    fn end_of_record(&mut self, out: &mut Vec<u8>) -> Result<(), DataError> {
        if self.representation.structure == Structure::Record {
            let mut converted = Vec::new();
            self.convert.finish(&mut converted);
            self.stream(&converted, out)?;
            self.end_packing(out)?;
            self.frame.end_of_record(out);
            return Ok(());
        }
        let Source::Container { header, .. } = &self.source else { return Ok(()) };
        let ty = self.representation.ty;
        match (ty, &self.convert) {
            // What was sent is sent again: the end of a line too is that of the wire.
            (Type::Ascii(_), Convert::No) => self.stream(b"\r\n", out),
            (Type::Ebcdic(_), Convert::No) => self.stream(&[NL], out),
            _ if ty.is_text() || header.ty.is_text() => {
                let mut converted = Vec::new();
                self.convert.line_end(&mut converted);
                self.stream(&converted, out)
            }
            _ => Ok(()),
        }
    }

    /// Takes from `out` what the receiver has already.
    fn skip_sent(&mut self, from: usize, out: &mut Vec<u8>) {
        if self.skip > 0 {
            let skipped = ((out.len() - from) as u64).min(self.skip);
            self.skip -= skipped;
            out.drain(from..from + skipped as usize);
        }
    }

    fn mark(&mut self, out: &mut Vec<u8>) {
        let Some(every) = self.marker_every else { return };
        if self.position < self.next_marker || !self.is_even() {
            return;
        }
        self.next_marker = self.position + every.max(1);
        self.frame.marker(&self.position.to_string(), out);
    }

    /// Whether sending could begin here.
    fn is_even(&self) -> bool {
        let source = match &self.source {
            Source::Plain { records: Records::Fixed { octets, left }, .. } => octets == left,
            Source::Plain { .. } => true,
            Source::Container { entries, head, .. } => *head == 0 && entries.is_between(),
        };
        source && self.convert.is_even() && self.pack.as_ref().is_none_or(Packer::is_even)
    }
}

fn same_structure(container: Option<Header>, structure: Structure) -> bool {
    container.is_some_and(|header| match header.kind {
        Kind::Records => structure == Structure::Record,
        Kind::Pages => structure == Structure::Page,
    })
}

impl Header {
    /// Whether its data is what this type sends.
    fn has_data_of(&self, ty: Type, code_page: CodePage) -> bool {
        match (self.ty, ty) {
            (Type::Ascii(_), Type::Ascii(_)) => true,
            (Type::Ebcdic(_), Type::Ebcdic(_)) => self.code_page == code_page,
            (ours, theirs) => !ours.is_text() && !theirs.is_text() && ours.byte_size() == theirs.byte_size(),
        }
    }
}

impl Records {
    fn of(ty: Type, structure: Structure, options: &Options) -> Records {
        match (structure, options.record_octets) {
            (Structure::File | Structure::Page, _) => Records::No,
            (Structure::Record, _) if ty.is_text() => Records::Lines,
            (Structure::Record, Some(octets)) if octets > 0 => Records::Fixed { octets, left: octets },
            (Structure::Record, _) => Records::Whole,
        }
    }
}

impl Convert {
    fn new(
        ty: Type,
        structure: Structure,
        code_page: CodePage,
        other: Option<Header>,
        as_sent: bool,
    ) -> Convert {
        if as_sent {
            return Convert::No;
        }
        let to_wire = match ty {
            // A record of text that lies as a line has no line end within.
            Type::Ascii(_) if structure == Structure::Record && other.is_none() => Convert::No,
            Type::Ascii(_) => Convert::Lines,
            Type::Ebcdic(_) => Convert::Ebcdic(ToEbcdic::new(code_page)),
            Type::Image | Type::Local(_) => Convert::No,
        };
        match other.map(|header| (header.ty, header.code_page)) {
            Some((Type::Ascii(_), _)) => Convert::FromLines(LinesToDisk::default(), Box::new(to_wire)),
            Some((Type::Ebcdic(_), page)) => Convert::FromEbcdic(page, Box::new(to_wire)),
            _ => to_wire,
        }
    }

    fn push(&mut self, data: &[u8], out: &mut Vec<u8>) {
        match self {
            Convert::No => out.extend_from_slice(data),
            Convert::Lines => lines_to_wire(data, out),
            Convert::Ebcdic(text) => text.push(data, out),
            Convert::FromLines(lines, then) => {
                let mut text = Vec::new();
                lines.push(data, &mut text);
                then.push(&text, out);
            }
            Convert::FromEbcdic(page, then) => {
                let mut text = Vec::new();
                from_ebcdic(*page, data, &mut text);
                then.push(&text, out);
            }
        }
    }

    /// The end of a line that lies as the end of a record.
    fn line_end(&mut self, out: &mut Vec<u8>) {
        match self {
            Convert::FromLines(lines, then) => {
                let mut text = Vec::new();
                lines.finish(&mut text);
                then.push(&text, out);
                then.push(b"\n", out);
            }
            Convert::FromEbcdic(_, then) => then.push(b"\n", out),
            other => other.push(b"\n", out),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            Convert::No | Convert::Lines => {}
            Convert::Ebcdic(text) => text.finish(out),
            Convert::FromLines(lines, then) => {
                let mut text = Vec::new();
                lines.finish(&mut text);
                then.push(&text, out);
                then.finish(out);
            }
            Convert::FromEbcdic(_, then) => then.finish(out),
        }
    }

    fn is_even(&self) -> bool {
        match self {
            Convert::No | Convert::Lines => true,
            Convert::Ebcdic(text) => text.is_even(),
            Convert::FromLines(lines, then) => lines.is_even() && then.is_even(),
            Convert::FromEbcdic(_, then) => then.is_even(),
        }
    }
}

impl Pages {
    fn push(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> Result<(), DataError> {
        while !data.is_empty() {
            // A page goes out when there is more: the last one goes out at the end, whatever is in it.
            if self.held.len() == self.octets {
                self.page(false, out)?;
            }
            let (now, later) = data.split_at(data.len().min(self.octets - self.held.len()));
            self.held.extend_from_slice(now);
            data = later;
        }
        Ok(())
    }

    /// A page of zeros is a hole, and not sent, unless it is the last one, which says how long the file is.
    fn page(&mut self, is_last: bool, out: &mut Vec<u8>) -> Result<(), DataError> {
        if is_last || self.held.iter().any(|octet| *octet != 0) {
            let octets = self.held.len();
            if !octets.is_multiple_of(self.size.octets()) {
                return Err(DataError::NotThisByteSize);
            }
            let page = PageHeader::new(PageHeader::SIMPLE, self.index);
            page.write((octets / self.size.octets()) as u64, self.size, out)?;
            out.append(&mut self.held);
        }
        self.held.clear();
        self.index += 1;
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), DataError> {
        if !self.held.is_empty() {
            self.page(true, out)?;
        }
        PageHeader::new(PageHeader::LAST, 0).write(0, self.size, out)
    }
}
