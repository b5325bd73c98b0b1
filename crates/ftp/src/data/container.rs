//! Files of records and pages on disk: a header that says what they are, then one entry after the other.
//!
//! All numbers are in network order. The header has 32 octets: the magic `89 50 42 46 0D 0A 1A 0A`, a version (1), `R` or
//! `P`, the letter of the type, the letter of its format (or 0), the bits of a logical byte, 1 if the pages ascend, the
//! number of the code page (2 octets), the octets of the largest page (4), and 12 octets of 0.
//!
//! - A piece of a record: its octets (4), of which the highest bit says that the record goes on in the next piece; data.
//! - A page: its type (1), the number of its further header fields (1), its index (8), its octets (4), the further header
//!   fields (8 each); data. A page of type 0 is the last one.
//!
//! Data is as it was sent: text as it travels in the type of the header, logical bytes each in the least number of octets.

use super::page::{FIELDS_MAX, PageHeader};
use super::{ByteSize, CodePage, DataError, Format, Type};

/// Octets of the header.
pub const HEADER_OCTETS: usize = 32;

const MAGIC: [u8; 8] = *b"\x89PBF\r\n\x1a\n";
const VERSION: u8 = 1;
const CONTINUES: u32 = 1 << 31;
const RECORD_ENTRY: usize = 4;
const PAGE_ENTRY: usize = 14;
const ENTRY_MAX: usize = PAGE_ENTRY + 8 * FIELDS_MAX;

/// What a file of records or pages says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What is in it.
    pub kind: Kind,
    /// The type it was sent with.
    pub ty: Type,
    /// For TYPE E.
    pub code_page: CodePage,
    /// Octets of the largest page.
    pub page_octets: u32,
    /// The pages come in the order of their numbers.
    pub ascending: bool,
}

/// What is in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// STRU R
    Records,
    /// STRU P
    Pages,
}

/// Whether a file that begins like this is one of records or pages.
pub fn is_container(head: &[u8]) -> bool {
    Header::parse(head).is_some()
}

impl Header {
    /// What a file that begins like this says of itself; `None` if it is an ordinary one.
    pub fn parse(head: &[u8]) -> Option<Header> {
        let head: &[u8; HEADER_OCTETS] = head.get(..HEADER_OCTETS)?.try_into().ok()?;
        if head[..8] != MAGIC || head[8] != VERSION {
            return None;
        }
        let format = || match head[11] {
            b'N' => Some(Format::NonPrint),
            b'T' => Some(Format::Telnet),
            b'C' => Some(Format::CarriageControl),
            _ => None,
        };
        Some(Header {
            kind: match head[9] {
                b'R' => Kind::Records,
                b'P' => Kind::Pages,
                _ => return None,
            },
            ty: match head[10] {
                b'A' => Type::Ascii(format()?),
                b'E' => Type::Ebcdic(format()?),
                b'I' => Type::Image,
                b'L' => Type::Local(ByteSize::new(head[12])?),
                _ => return None,
            },
            ascending: head[13] != 0,
            code_page: CodePage::new(u16::from_be_bytes([head[14], head[15]])).ok()?,
            page_octets: u32::from_be_bytes([head[16], head[17], head[18], head[19]]),
        })
    }

    pub(super) fn encode(&self) -> [u8; HEADER_OCTETS] {
        let mut head = [0; HEADER_OCTETS];
        head[..8].copy_from_slice(&MAGIC);
        head[8] = VERSION;
        head[9] = if self.kind == Kind::Records { b'R' } else { b'P' };
        let letter = |format: Format| format.to_string().as_bytes()[0];
        (head[10], head[11]) = match self.ty {
            Type::Ascii(format) => (b'A', letter(format)),
            Type::Ebcdic(format) => (b'E', letter(format)),
            Type::Image => (b'I', 0),
            Type::Local(_) => (b'L', 0),
        };
        head[12] = self.ty.byte_size().bits();
        head[13] = u8::from(self.ascending);
        head[14..16].copy_from_slice(&self.code_page.number().to_be_bytes());
        head[16..20].copy_from_slice(&self.page_octets.to_be_bytes());
        head
    }
}

/// A piece of a record. `continues` is false for the last one only.
pub(super) fn write_record_piece(data: &[u8], continues: bool, out: &mut Vec<u8>) {
    let flag = if continues { CONTINUES } else { 0 };
    out.extend_from_slice(&(data.len() as u32 | flag).to_be_bytes());
    out.extend_from_slice(data);
}

/// The entry of a page, before its data.
pub(super) fn write_page_header(page: &PageHeader, octets: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[page.kind, page.fields().len() as u8]);
    out.extend_from_slice(&page.index.to_be_bytes());
    out.extend_from_slice(&octets.to_be_bytes());
    page.fields().iter().for_each(|field| out.extend_from_slice(&field.to_be_bytes()));
}

/// What an entry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    Data(&'a [u8]),
    EndOfRecord,
    /// A page begins, with so many octets of data.
    Page(PageHeader, u32),
}

/// Reads entries, from the octets behind the header.
#[derive(Debug)]
pub(super) struct EntryReader {
    kind: Kind,
    head: [u8; ENTRY_MAX],
    seen: usize,
    left: u32,
    continues: bool,
    in_entry: bool,
    /// The record that is being read is not complete.
    open: bool,
    last_page: bool,
}

impl EntryReader {
    pub(super) fn new(kind: Kind) -> EntryReader {
        EntryReader {
            kind,
            head: [0; ENTRY_MAX],
            seen: 0,
            left: 0,
            continues: false,
            in_entry: false,
            open: false,
            last_page: false,
        }
    }

    /// Between two entries, so that reading may begin here.
    pub(super) fn is_between(&self) -> bool {
        !self.in_entry && self.seen == 0
    }

    pub(super) fn next<'a>(&mut self, disk: &mut &'a [u8]) -> Result<Option<Entry<'a>>, DataError> {
        loop {
            if self.in_entry {
                if self.left == 0 {
                    self.in_entry = false;
                    if self.kind == Kind::Records {
                        self.open = self.continues;
                        if !self.continues {
                            return Ok(Some(Entry::EndOfRecord));
                        }
                    }
                    continue;
                }
                if disk.is_empty() {
                    return Ok(None);
                }
                let here = (self.left as usize).min(disk.len());
                let (data, rest) = disk.split_at(here);
                *disk = rest;
                self.left -= here as u32;
                return Ok(Some(Entry::Data(data)));
            }
            let wanted = match self.kind {
                Kind::Records => RECORD_ENTRY,
                Kind::Pages if self.seen < PAGE_ENTRY => PAGE_ENTRY,
                Kind::Pages => {
                    let fields = usize::from(self.head[1]);
                    if fields > FIELDS_MAX {
                        return Err(DataError::Damaged);
                    }
                    PAGE_ENTRY + 8 * fields
                }
            };
            if self.seen < wanted {
                let Some((&octet, rest)) = disk.split_first() else { return Ok(None) };
                if self.last_page {
                    return Err(DataError::Damaged);
                }
                *disk = rest;
                self.head[self.seen] = octet;
                self.seen += 1;
                continue;
            }
            self.seen = 0;
            self.in_entry = true;
            let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|n| self.head[at + n]));
            match self.kind {
                Kind::Records => {
                    self.continues = number(0) & CONTINUES != 0;
                    self.left = number(0) & !CONTINUES;
                    self.open = true;
                }
                Kind::Pages => {
                    let long = |at: usize| u64::from(number(at)) << 32 | u64::from(number(at + 4));
                    let mut page = PageHeader::new(self.head[0], long(2));
                    for field in 0..usize::from(self.head[1]) {
                        page.push_field(long(PAGE_ENTRY + 8 * field))?;
                    }
                    self.left = number(10);
                    self.last_page = page.kind == PageHeader::LAST;
                    return Ok(Some(Entry::Page(page, self.left)));
                }
            }
        }
    }

    /// The end of the file on disk. True: its last record was left open by who sent it.
    pub(super) fn finish(&self) -> Result<bool, DataError> {
        let whole = !self.in_entry || self.left == 0;
        if self.seen > 0 || !whole || (self.kind == Kind::Pages && !self.last_page) {
            return Err(DataError::Damaged);
        }
        Ok(self.open)
    }
}
