//! The data channel once more, written from the text of RFC 959 section 3 and from nothing else: whole files at a time, a
//! number per bit, no thought of speed. What the crate sends and receives is compared with it.

use packetboat_ftp::data::{CodePage, Mode, Representation, Structure, Type};

/// A file as two hosts could talk of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// A sequence of logical bytes.
    Bytes(Vec<Logical>),
    Records(Vec<Vec<Logical>>),
    Pages(Vec<Page>),
}

/// A logical byte, as its bits.
pub type Logical = Vec<bool>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub index: u64,
    pub kind: u64,
    pub fields: Vec<u64>,
    pub data: Vec<Logical>,
}

/// Numbers that look random and are the same each time.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

pub fn size_of(ty: Type) -> usize {
    match ty {
        Type::Local(size) => size.bits().into(),
        _ => 8,
    }
}

pub fn octet(value: u8) -> Logical {
    number(value.into(), 8)
}

pub fn number(value: u64, size: usize) -> Logical {
    (0..size).rev().map(|bit| bit < 64 && value >> bit & 1 == 1).collect()
}

pub fn value(logical: &[bool]) -> u64 {
    logical.iter().fold(0, |value, bit| value << 1 | u64::from(*bit))
}

/// "The logical bytes should be packed contiguously, disregarding transfer byte boundaries and with any necessary padding
/// at the end."
pub fn pack(logical: &[Logical]) -> Vec<u8> {
    let bits: Vec<bool> = logical.concat();
    let octet =
        |bits: &[bool]| bits.iter().enumerate().fold(0u8, |o, (n, bit)| o | u8::from(*bit) << (7 - n));
    bits.chunks(8).map(octet).collect()
}

pub fn unpack(wire: &[u8], size: usize) -> Vec<Logical> {
    let bits: Vec<bool> =
        wire.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect();
    let whole = bits.chunks_exact(size);
    assert!(whole.remainder().iter().all(|bit| !bit), "padding is zeros");
    whole.map(<[bool]>::to_vec).collect()
}

fn page_stream(pages: &[Page], size: usize) -> Vec<Logical> {
    let mut stream = Vec::new();
    for page in pages {
        let fixed = [4 + page.fields.len() as u64, page.index, page.data.len() as u64, page.kind];
        stream.extend(fixed.iter().chain(&page.fields).map(|field| number(*field, size)));
        stream.extend(page.data.iter().cloned());
    }
    stream
}

fn pages_of(stream: &[Logical]) -> Vec<Page> {
    let (mut pages, mut at) = (Vec::new(), 0);
    loop {
        let field = |n: usize| value(&stream[at + n]);
        let (length, index, data, kind) = (field(0) as usize, field(1), field(2) as usize, field(3));
        let fields = (4..length).map(field).collect();
        pages.push(Page { index, kind, fields, data: stream[at + length..at + length + data].to_vec() });
        at += length + data;
        if kind == 0 {
            return pages;
        }
    }
}

/// What travels between the ends of records: octets, whole ones.
fn pieces(file: &File, size: usize) -> Vec<Vec<u8>> {
    match file {
        File::Bytes(bytes) => vec![pack(bytes)],
        File::Records(records) => records.iter().map(|record| pack(record)).collect(),
        File::Pages(pages) => vec![pack(&page_stream(pages, size))],
    }
}

/// The file as it travels, in one of the many ways in which it may.
pub fn encode(file: &File, representation: Representation, dice: &mut Dice) -> Vec<u8> {
    let records = matches!(file, File::Records(_));
    let pieces = pieces(file, size_of(representation.ty));
    let mut wire = Vec::new();
    match representation.mode {
        Mode::Stream if !records => wire = pieces.concat(),
        Mode::Stream => {
            for (n, record) in pieces.iter().enumerate() {
                for octet in record {
                    wire.extend(vec![*octet; if *octet == 0xff { 2 } else { 1 }]);
                }
                let last = n + 1 == pieces.len() && dice.throw(2) == 0;
                wire.extend([0xff, if last { 3 } else { 1 }]);
                if last {
                    return wire;
                }
            }
            wire.extend([0xff, 2]);
        }
        Mode::Block => {
            for record in &pieces {
                let mut rest = &record[..];
                loop {
                    if dice.throw(8) == 0 {
                        wire.extend([16, 0, 6]);
                        wire.extend(b"marker");
                    }
                    let (block, later) = rest.split_at((dice.throw(300) as usize).min(rest.len()));
                    let last = later.is_empty();
                    let suspect = if dice.throw(10) == 0 { 32 } else { 0 };
                    wire.push(if last && records { 128 } else { 0 } | suspect);
                    wire.extend((block.len() as u16).to_be_bytes());
                    wire.extend(block);
                    rest = later;
                    if last {
                        break;
                    }
                }
            }
            wire.extend([64, 0, 0]);
        }
        Mode::Compressed => {
            for record in &pieces {
                compress(record, filler(representation.ty), records.then_some(128), &mut wire, dice);
            }
            wire.extend([0, 64, 0b1100_0000]);
        }
    }
    wire
}

fn filler(ty: Type) -> u8 {
    match ty {
        Type::Ascii(_) => 32,
        Type::Ebcdic(_) => 64,
        _ => 0,
    }
}

fn compress(data: &[u8], filler: u8, end: Option<u8>, wire: &mut Vec<u8>, dice: &mut Dice) {
    let mut strings: Vec<Vec<u8>> = Vec::new();
    let mut rest = data;
    while let Some(first) = rest.first() {
        let run = rest.iter().take(63).take_while(|octet| *octet == first).count();
        let run = 1 + dice.throw(run as u64) as usize;
        let (string, taken) = match dice.throw(3) {
            0 if first == &filler => (vec![0b1100_0000 | run as u8], run),
            1 => (vec![0b1000_0000 | run as u8, *first], run),
            _ => {
                let some = (1 + dice.throw(127) as usize).min(rest.len());
                ([&[some as u8], &rest[..some]].concat(), some)
            }
        };
        strings.push(string);
        rest = &rest[taken..];
    }
    if strings.is_empty() {
        strings.push(vec![0b1100_0000]);
    }
    let last = strings.len() - 1;
    for (n, string) in strings.iter().enumerate() {
        if dice.throw(6) == 0 {
            wire.extend([0, 16, 3]);
            wire.extend(b"000");
        }
        if let Some(end) = end.filter(|_| n == last) {
            wire.extend([0, end]);
        }
        wire.extend(string);
    }
}

/// The file that travelled.
pub fn decode(wire: &[u8], representation: Representation) -> File {
    let size = size_of(representation.ty);
    let (pieces, rest): (Vec<Vec<u8>>, Vec<u8>) = match representation.mode {
        Mode::Stream if representation.structure != Structure::Record => (vec![], wire.to_vec()),
        Mode::Stream => {
            let (mut records, mut record, mut at) = (vec![], vec![], 0);
            loop {
                match wire[at..] {
                    [0xff, 0xff, ..] => record.push(0xff),
                    [0xff, code, ..] => {
                        if code & 1 != 0 {
                            records.push(std::mem::take(&mut record));
                        }
                        if code & 2 != 0 {
                            assert_eq!(at + 2, wire.len());
                            break (records, record);
                        }
                    }
                    [octet, ..] => {
                        record.push(octet);
                        at += 1;
                        continue;
                    }
                    [] => panic!("no end of file"),
                }
                at += 2;
            }
        }
        Mode::Block => {
            let (mut records, mut record, mut at) = (vec![], vec![], 0);
            loop {
                let count = usize::from(u16::from_be_bytes([wire[at + 1], wire[at + 2]]));
                let (descriptor, block) = (wire[at], &wire[at + 3..at + 3 + count]);
                at += 3 + count;
                if descriptor & 16 == 0 {
                    record.extend(block);
                }
                if descriptor & 128 != 0 {
                    records.push(std::mem::take(&mut record));
                }
                if descriptor & 64 != 0 {
                    assert_eq!(at, wire.len());
                    break (records, record);
                }
            }
        }
        Mode::Compressed => {
            let (mut records, mut record, mut at, mut descriptor) = (vec![], vec![], 0, 0);
            loop {
                let first = wire[at];
                let count = usize::from(first & 0x3f);
                let string = match first {
                    0 => {
                        descriptor |= wire[at + 1];
                        at += 2;
                        continue;
                    }
                    1..=0x7f => {
                        at += 1 + usize::from(first);
                        wire[at - usize::from(first)..at].to_vec()
                    }
                    0x80..=0xbf => {
                        at += 2;
                        vec![wire[at - 1]; count]
                    }
                    0xc0.. => {
                        at += 1;
                        vec![filler(representation.ty); count]
                    }
                };
                if descriptor & 16 == 0 {
                    record.extend(string);
                }
                if descriptor & 128 != 0 {
                    records.push(std::mem::take(&mut record));
                }
                if descriptor & 64 != 0 {
                    assert_eq!(at, wire.len());
                    break (records, record);
                }
                descriptor = 0;
            }
        }
    };
    match representation.structure {
        Structure::File => File::Bytes(unpack(&rest, size)),
        Structure::Page => File::Pages(pages_of(&unpack(&rest, size))),
        Structure::Record => {
            assert!(rest.is_empty(), "all ends of records are explicit");
            File::Records(pieces.iter().map(|record| unpack(record, size)).collect())
        }
    }
}

/// EBCDIC of a text, character by character.
pub fn ebcdic(text: &str, page: CodePage) -> Vec<u8> {
    text.chars().map(|character| page.encode(character)).collect()
}
