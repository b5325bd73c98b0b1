//! The files of the filter. Whatever is read of them is checked when it is read, piece by piece: so nothing of them is
//! ever synced, and what a power cut or a bad disk makes of them is noticed before it is believed.
//!
//! Both kinds begin with a head that says whose they are. A *tail* goes on with records in the order in which they came:
//! a body's number and its bitmap in chunks. A *block* holds the bitmaps of a full tail turned on their side: numbers of
//! all bodies, then one row for each bit of the bitmap, with a column for each body.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::signature::LEAST;

const MAGIC: [u8; 8] = *b"PBfil\r\n\x01";
/// Octets of a head.
pub(super) const HEAD: usize = 40;
/// Where a block's rows begin.
pub(super) const ROWS: u64 = 4096;
/// Bits of a bitmap that have a checksum together in a tail.
pub(super) const CHUNK_BITS: u32 = 1 << LEAST;
const CHUNK: usize = CHUNK_BITS as usize / 8;
const CRC: usize = 4;
/// Octets of a record before its chunks.
const RECORD_HEAD: usize = 8 + CRC;
/// No file has more columns.
pub(super) const COLUMNS_MAX: usize = 480;
/// Columns as words of 64.
pub(super) const COLUMN_WORDS: usize = COLUMNS_MAX.div_ceil(64);

/// Which columns.
pub(super) type Columns = [u64; COLUMN_WORDS];

/// What is in a file cannot be believed, or the file cannot be read.
#[derive(Debug)]
pub(super) struct Damaged;

impl From<io::Error> for Damaged {
    fn from(_: io::Error) -> Damaged {
        Damaged
    }
}

/// Octets of a row with its checksum. One of 64 is read as fast as one of 16; larger bitmaps have shorter ones, so that
/// a block does not grow too large.
pub(super) fn row_len(class: u8) -> usize {
    match class {
        0..=16 => 64,
        17 | 18 => 32,
        _ => 16,
    }
}

/// Bodies in a full file.
pub(super) fn columns(class: u8) -> usize {
    (row_len(class) - CRC) * 8
}

fn chunks(class: u8) -> usize {
    if class == 0 { 0 } else { 1 << (class - LEAST) }
}

/// Octets of a tail's record.
pub(super) fn record_len(class: u8) -> usize {
    RECORD_HEAD + chunks(class) * (CHUNK + CRC)
}

/// Octets of a whole block.
pub(super) fn block_len(class: u8) -> u64 {
    ROWS + (row_len(class) << class) as u64
}

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) store: u64,
    /// How its texts were decoded and folded.
    pub(super) folding: u16,
    pub(super) account: u64,
    pub(super) number: u64,
    pub(super) class: u8,
    pub(super) block: bool,
}

impl Head {
    pub(super) fn encode(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&MAGIC);
        head[8..16].copy_from_slice(&self.store.to_le_bytes());
        head[16..24].copy_from_slice(&self.account.to_le_bytes());
        head[24..32].copy_from_slice(&self.number.to_le_bytes());
        head[32] = self.class;
        head[33] = u8::from(self.block);
        head[34..36].copy_from_slice(&self.folding.to_le_bytes());
        let crc = crc32c::crc32c(&head[..HEAD - CRC]);
        head[HEAD - CRC..].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// What all checksums of this file begin with: what belongs into another file fits none.
    pub(super) fn seal(&self) -> Seal {
        // Without the head's own checksum: over both together, all heads have the same.
        Seal(crc32c::crc32c(&self.encode()[..HEAD - CRC]))
    }

    pub(super) fn check(&self, file: &File) -> Result<(), Damaged> {
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0)?;
        if head == self.encode() { Ok(()) } else { Err(Damaged) }
    }
}

/// Makes checksums that fit one place in one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seal(u32);

impl Seal {
    fn of(self, place: u32, data: &[u8]) -> [u8; CRC] {
        // Odd factors lose nothing: no two places begin alike.
        crc32c::crc32c_append(self.0 ^ place.wrapping_mul(0x9e37_79b1), data).to_le_bytes()
    }

    /// Whether data with a checksum behind it are what was written at this place.
    fn opens(self, place: u32, sealed: &[u8]) -> bool {
        sealed.split_last_chunk().is_some_and(|(data, crc)| self.of(place, data) == *crc)
    }
}

/// Places in a tail: a record's head, then its chunks.
fn place_in_tail(column: usize, piece: u32) -> u32 {
    (column as u32) << 12 | piece
}

fn record_offset(class: u8, column: usize) -> u64 {
    (HEAD + column * record_len(class)) as u64
}

/// Appends a record for a column of a tail.
pub(super) fn put_record(seal: Seal, column: usize, body: u64, bits: &[u8], out: &mut Vec<u8>) {
    let body = body.to_le_bytes();
    out.extend_from_slice(&body);
    out.extend_from_slice(&seal.of(place_in_tail(column, 0), &body));
    for (piece, chunk) in (1..).zip(bits.chunks(CHUNK)) {
        out.extend_from_slice(chunk);
        out.extend_from_slice(&seal.of(place_in_tail(column, piece), chunk));
    }
}

/// Writes records at the end of a tail.
pub(super) fn append(file: &File, class: u8, column: usize, records: &[u8]) -> io::Result<()> {
    file.write_all_at(records, record_offset(class, column))
}

/// Columns a tail of this length has; `None` when its last record is not whole, or there are too many.
pub(super) fn columns_in(class: u8, len: u64) -> Option<usize> {
    let octets = usize::try_from(len).ok()?.checked_sub(HEAD)?;
    let count = octets / record_len(class);
    (octets.is_multiple_of(record_len(class)) && count <= columns(class)).then_some(count)
}

/// The body of a column of a tail; `None` when its record is torn.
pub(super) fn body_in_tail(file: &File, seal: Seal, class: u8, column: usize) -> Option<u64> {
    let mut head = [0; RECORD_HEAD];
    file.read_exact_at(&mut head, record_offset(class, column)).ok()?;
    let (body, _) = head.split_first_chunk()?;
    seal.opens(place_in_tail(column, 0), &head).then_some(u64::from_le_bytes(*body))
}

/// One chunk of a column's bitmap.
fn chunk(
    file: &File,
    seal: Seal,
    class: u8,
    column: usize,
    chunk: u32,
) -> Result<[u8; CHUNK + CRC], Damaged> {
    let mut sealed = [0; CHUNK + CRC];
    let offset = record_offset(class, column) + (RECORD_HEAD + chunk as usize * (CHUNK + CRC)) as u64;
    file.read_exact_at(&mut sealed, offset)?;
    if seal.opens(place_in_tail(column, chunk + 1), &sealed) { Ok(sealed) } else { Err(Damaged) }
}

/// Whether all bits are set in a column of a tail.
pub(super) fn tail_has(
    file: &File,
    seal: Seal,
    class: u8,
    column: usize,
    bits: impl Iterator<Item = u32>,
) -> Result<bool, Damaged> {
    let mut current = None;
    for bit in bits {
        let number = bit / CHUNK_BITS;
        let sealed = match current {
            Some((held, sealed)) if held == number => sealed,
            _ => chunk(file, seal, class, column, number)?,
        };
        current = Some((number, sealed));
        let within = (bit % CHUNK_BITS) as usize;
        if sealed[within >> 3] >> (within & 7) & 1 == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The columns of a block in which all bits are set.
pub(super) fn block_has(
    file: &File,
    seal: Seal,
    class: u8,
    bits: impl Iterator<Item = u32>,
) -> Result<Columns, Damaged> {
    let len = row_len(class);
    let mut found = [u64::MAX; COLUMN_WORDS];
    for bit in bits {
        let mut row = [0; 64];
        let row = &mut row[..len];
        file.read_exact_at(row, ROWS + u64::from(bit) * len as u64)?;
        if !seal.opens(bit, row) {
            return Err(Damaged);
        }
        row[len - CRC..].fill(0);
        let mut any = 0;
        let mut words = row.chunks_exact(8);
        for found in &mut found {
            let word = words.next().and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes);
            *found &= word;
            any |= *found;
        }
        if any == 0 {
            break;
        }
    }
    Ok(found)
}

/// Turns a tail on its side. `bodies` has a number for each column, 0 for none; a column whose bitmap is damaged is
/// taken out of it.
pub(super) fn turn(tail: &File, from: &Head, bodies: &mut [u64], block: &File) -> io::Result<()> {
    let to = Head { block: true, ..*from };
    let (class, seal, len) = (from.class, from.seal(), row_len(from.class));
    let mut rows = vec![0u8; len * CHUNK_BITS as usize];
    let mut bitmaps = vec![[0u8; CHUNK + CRC]; columns(class)];
    for number in 0..chunks(class) as u32 {
        for (column, (body, bitmap)) in bodies.iter_mut().zip(&mut bitmaps).enumerate() {
            match chunk(tail, seal, class, column, number) {
                Ok(sealed) if *body != 0 => *bitmap = sealed,
                _ => {
                    *body = 0;
                    *bitmap = [0; CHUNK + CRC];
                }
            }
        }
        turn_chunk(&bitmaps, len, &mut rows);
        let first = number * CHUNK_BITS;
        for (row, octets) in (first..).zip(rows.chunks_exact_mut(len)) {
            let (data, crc) = octets.split_at_mut(len - CRC);
            crc.copy_from_slice(&to.seal().of(row, data));
        }
        block.write_all_at(&rows, ROWS + u64::from(first) * len as u64)?;
    }
    let mut head = to.encode().to_vec();
    bodies.iter().for_each(|body| head.extend_from_slice(&body.to_le_bytes()));
    let crc = to.seal().of(u32::MAX, &head[HEAD..]);
    head.extend_from_slice(&crc);
    block.write_all_at(&head, 0)
}

/// Bits of `bitmaps` from side to side: bit `b` of bitmap `c` becomes bit `c` of row `b`.
fn turn_chunk(bitmaps: &[[u8; CHUNK + CRC]], len: usize, rows: &mut [u8]) {
    for (octet, rows) in rows.chunks_exact_mut(len * 8).enumerate() {
        for (at, eight) in bitmaps.chunks_exact(8).enumerate() {
            let mut square = [0; 8];
            square.iter_mut().zip(eight).for_each(|(to, bitmap)| *to = bitmap[octet]);
            for (row, turned) in transpose(u64::from_le_bytes(square)).to_le_bytes().into_iter().enumerate() {
                rows[row * len + at] = turned;
            }
        }
    }
}

/// Eight octets of eight bits, from side to side (Hacker's Delight, section 7-3).
fn transpose(mut square: u64) -> u64 {
    let mut swap = (square ^ square >> 7) & 0x00aa_00aa_00aa_00aa;
    square ^= swap ^ swap << 7;
    swap = (square ^ square >> 14) & 0x0000_cccc_0000_cccc;
    square ^= swap ^ swap << 14;
    swap = (square ^ square >> 28) & 0x0000_0000_f0f0_f0f0;
    square ^ swap ^ swap << 28
}

/// The numbers of a block's bodies, column by column.
pub(super) fn bodies_of_block(file: &File, head: &Head) -> Result<Vec<u64>, Damaged> {
    head.check(file)?;
    if file.metadata()?.len() != block_len(head.class) {
        return Err(Damaged);
    }
    let mut sealed = vec![0; columns(head.class) * 8 + CRC];
    file.read_exact_at(&mut sealed, HEAD as u64)?;
    if !head.seal().opens(u32::MAX, &sealed) {
        return Err(Damaged);
    }
    let (numbers, _) = sealed.as_chunks::<8>();
    Ok(numbers.iter().map(|number| u64::from_le_bytes(*number)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bits_change_sides() {
        for at in 0..64 {
            let (row, column) = (at / 8, at % 8);
            assert_eq!(transpose(1 << at), 1 << (column * 8 + row));
        }
    }

    #[test]
    fn a_blocks_numbers_end_before_its_rows() {
        for class in LEAST..=super::super::signature::MOST {
            assert!((HEAD + columns(class) * 8 + CRC) as u64 <= ROWS);
            assert!(columns(class) <= COLUMNS_MAX && columns(class).is_multiple_of(8));
            assert!(block_len(class) <= 17 << 20);
        }
    }

    #[test]
    fn a_piece_fits_its_own_place_only() {
        let head = Head { store: 1, folding: 9, account: 2, number: 3, class: 12, block: false };
        let sealed = [b"data".as_slice(), &head.seal().of(7, b"data")].concat();
        assert!(head.seal().opens(7, &sealed));
        assert!(!head.seal().opens(8, &sealed));
        for other in [
            Head { store: 2, ..head },
            Head { folding: 8, ..head },
            Head { account: 3, ..head },
            Head { number: 4, ..head },
            Head { class: 13, ..head },
            Head { block: true, ..head },
        ] {
            assert!(!other.seal().opens(7, &sealed), "{other:?}");
        }
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(!head.seal().opens(7, &bad));
        }
        assert!(!head.seal().opens(7, &[]));
    }
}
