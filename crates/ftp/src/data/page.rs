//! Page headers (RFC 959 section 3.1.2.3): fields of one logical byte each.

use super::{ByteSize, DataError};

/// Fields beyond the four that every header has.
pub(super) const FIELDS_MAX: usize = 12;
const FIXED_FIELDS: usize = 4;

/// A page, without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub(super) kind: u8,
    pub(super) index: u64,
    fields: [u64; FIELDS_MAX],
    field_count: usize,
}

impl PageHeader {
    /// "This is used to indicate the end of a paged structured transmission."
    pub(super) const LAST: u8 = 0;
    pub(super) const SIMPLE: u8 = 1;
    pub(super) const DESCRIPTOR: u8 = 2;
    pub(super) const ACCESS_CONTROLLED: u8 = 3;

    pub(super) fn new(kind: u8, index: u64) -> PageHeader {
        PageHeader { kind, index, fields: [0; FIELDS_MAX], field_count: 0 }
    }

    pub(super) fn push_field(&mut self, value: u64) -> Result<(), DataError> {
        *self.fields.get_mut(self.field_count).ok_or(DataError::InvalidPage)? = value;
        self.field_count += 1;
        Ok(())
    }

    pub(super) fn fields(&self) -> &[u64] {
        &self.fields[..self.field_count]
    }

    /// Whether it holds data of the file, rather than something about it.
    pub(super) fn is_content(&self) -> bool {
        !matches!(self.kind, PageHeader::LAST | PageHeader::DESCRIPTOR)
    }

    /// As logical bytes, each in whole octets. `data` is in logical bytes.
    pub(super) fn write(&self, data: u64, size: ByteSize, out: &mut Vec<u8>) -> Result<(), DataError> {
        let length = (FIXED_FIELDS + self.field_count) as u64;
        let fixed = [length, self.index, data, u64::from(self.kind)];
        fixed.iter().chain(self.fields()).try_for_each(|value| write_field(*value, size, out))
    }
}

fn write_field(value: u64, size: ByteSize, out: &mut Vec<u8>) -> Result<(), DataError> {
    let bits = u32::from(size.bits());
    if bits < 64 && value >> bits != 0 {
        return Err(DataError::TooManyPages);
    }
    let octets = value.to_be_bytes();
    let zeros = size.octets().saturating_sub(octets.len());
    out.resize(out.len() + zeros, 0);
    out.extend_from_slice(&octets[octets.len() - size.octets().min(octets.len())..]);
    Ok(())
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PagePiece<'a> {
    /// A page begins, with so many octets of data on disk.
    Page(PageHeader, u32),
    Data(&'a [u8]),
}

/// Reads pages out of logical bytes, each in whole octets.
#[derive(Debug)]
pub(super) struct PageReader {
    size: ByteSize,
    /// The field that is being read, and its octets that have been seen.
    value: u64,
    octets: usize,
    /// Header length, page index and data length.
    fixed: [u64; FIXED_FIELDS - 1],
    /// Fields that have been seen.
    fields: usize,
    page: PageHeader,
    left: u32,
    ended: bool,
}

impl PageReader {
    pub(super) fn new(size: ByteSize) -> PageReader {
        let page = PageHeader::new(0, 0);
        PageReader { size, value: 0, octets: 0, fixed: [0; 3], fields: 0, page, left: 0, ended: false }
    }

    /// Between two pages, so that reading may begin here.
    pub(super) fn is_between(&self) -> bool {
        self.fields == 0 && self.octets == 0 && self.left == 0
    }

    /// Whether the last page has been.
    pub(super) fn has_ended(&self) -> bool {
        self.ended && self.left == 0
    }

    pub(super) fn next<'a>(&mut self, data: &mut &'a [u8]) -> Result<Option<PagePiece<'a>>, DataError> {
        loop {
            if data.is_empty() || self.ended {
                return Ok(None);
            }
            if self.left > 0 {
                let (here, rest) = data.split_at((self.left as usize).min(data.len()));
                *data = rest;
                self.left -= here.len() as u32;
                return Ok(Some(PagePiece::Data(here)));
            }
            let (&octet, rest) = data.split_first().ok_or(DataError::InvalidPage)?;
            *data = rest;
            self.value = self.value.checked_mul(256).ok_or(DataError::InvalidPage)? | u64::from(octet);
            self.octets += 1;
            if self.octets == self.size.octets() {
                let value = std::mem::take(&mut self.value);
                self.octets = 0;
                if self.field(value)? {
                    return Ok(Some(PagePiece::Page(self.page, self.left)));
                }
            }
        }
    }

    /// A field is complete. True: the header is.
    fn field(&mut self, value: u64) -> Result<bool, DataError> {
        let number = self.fields;
        self.fields += 1;
        match number {
            0..3 => self.fixed[number] = value,
            3 => {
                let kind = u8::try_from(value).map_err(|_| DataError::InvalidPage)?;
                self.page = PageHeader::new(kind, self.fixed[1]);
            }
            _ => self.page.push_field(value)?,
        }
        let [length, _, data] = self.fixed;
        if length < FIXED_FIELDS as u64 || length > (FIXED_FIELDS + FIELDS_MAX) as u64 {
            return Err(DataError::InvalidPage);
        }
        if (self.fields as u64) < length.max(FIXED_FIELDS as u64) {
            return Ok(false);
        }
        let right = match self.page.kind {
            PageHeader::LAST => length == 4 && data == 0,
            PageHeader::SIMPLE => length == 4,
            PageHeader::ACCESS_CONTROLLED => length == 5,
            _ => true,
        };
        let octets =
            data.checked_mul(self.size.octets() as u64).and_then(|octets| u32::try_from(octets).ok());
        let (true, Some(octets)) = (right, octets) else { return Err(DataError::InvalidPage) };
        self.fields = 0;
        self.left = octets;
        self.ended = self.page.kind == PageHeader::LAST;
        Ok(true)
    }
}
