//! Stream mode of files with records: control codes of two octets (RFC 959 section 3.4.1).

use memchr::memchr;

use super::DataError;
use super::frame::Piece;

const ESCAPE: u8 = 0xff;
const END_OF_RECORD: u8 = 1;
const END_OF_FILE: u8 = 2;

/// An octet of all ones that is data is sent twice.
pub(super) fn write_escaped(mut data: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr(ESCAPE, data) {
        out.extend_from_slice(&data[..=at]);
        out.push(ESCAPE);
        data = &data[at + 1..];
    }
    out.extend_from_slice(data);
}

pub(super) fn write_control(code: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[ESCAPE, code]);
}

#[derive(Debug, Default)]
pub(super) struct RecordReader {
    escaped: bool,
    /// The end of the record has been told, that of the file has not.
    end_of_file: bool,
}

impl RecordReader {
    pub(super) fn next<'a>(&mut self, wire: &mut &'a [u8]) -> Result<Option<Piece<'a>>, DataError> {
        if std::mem::take(&mut self.end_of_file) {
            return Ok(Some(Piece::EndOfFile));
        }
        let input = *wire;
        let Some(&first) = input.first() else { return Ok(None) };
        if std::mem::take(&mut self.escaped) {
            *wire = &input[1..];
            return match first {
                ESCAPE => Ok(Some(Piece::Data(&input[..1]))),
                END_OF_RECORD => Ok(Some(Piece::EndOfRecord)),
                END_OF_FILE => Ok(Some(Piece::EndOfFile)),
                3 => {
                    self.end_of_file = true;
                    Ok(Some(Piece::EndOfRecord))
                }
                code => Err(DataError::UnknownControl(code)),
            };
        }
        let end = memchr(ESCAPE, input).unwrap_or(input.len());
        self.escaped = end < input.len();
        *wire = input.get(end + 1..).unwrap_or_default();
        if end == 0 { self.next(wire) } else { Ok(Some(Piece::Data(&input[..end]))) }
    }
}
