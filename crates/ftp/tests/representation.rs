//! Every combination of type, structure and mode, there and back, against a second codec written from the RFC's text.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod reference;

use packetboat_ftp::data::container::{HEADER_OCTETS, is_container};
use packetboat_ftp::data::{
    ByteSize, CodePage, DataError, Format, Inbound, Mode, News, Options, Outbound, Representation, Restart,
    Structure, Type,
};
use reference::{Dice, File, Logical, Page, decode, ebcdic, encode, number, octet, size_of};

fn types() -> Vec<Type> {
    let formats = [Format::NonPrint, Format::Telnet, Format::CarriageControl];
    let local = |bits| Type::Local(ByteSize::new(bits).unwrap());
    let texts = formats.into_iter().flat_map(|format| [Type::Ascii(format), Type::Ebcdic(format)]);
    texts.chain([Type::Image]).chain([1, 7, 8, 12, 32, 36, 255].map(local)).collect()
}

fn combinations() -> Vec<Representation> {
    let mut all = Vec::new();
    for ty in types() {
        for structure in [Structure::File, Structure::Record, Structure::Page] {
            for mode in [Mode::Stream, Mode::Block, Mode::Compressed] {
                // A header length of 4 has to fit into a logical byte.
                if structure != Structure::Page || size_of(ty) >= 7 {
                    all.push(Representation { ty, structure, mode });
                }
            }
        }
    }
    all
}

/// Stores what comes, piece by piece.
fn store(wire: &[u8], representation: Representation, options: &Options, dice: &mut Dice) -> Vec<u8> {
    let mut inbound = Inbound::new(representation, options, None);
    let mut disk = inbound.header().map(|header| header.to_vec()).unwrap_or_default();
    let mut rest = wire;
    let mut news = Vec::new();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at((1 + dice.throw(70) as usize).min(rest.len()));
        let consumed = inbound.push(piece, &mut disk, &mut news).unwrap();
        assert!(consumed.octets == piece.len());
        assert!(!consumed.end_of_file || later.is_empty());
        rest = later;
    }
    if let Some(header) = inbound.finish(&mut disk).unwrap().header {
        disk[..HEADER_OCTETS].copy_from_slice(&header);
    }
    disk
}

fn fetch_from(
    disk: &[u8],
    representation: Representation,
    options: &Options,
    restart: Restart,
    dice: &mut Dice,
) -> Result<Vec<u8>, DataError> {
    let mut outbound = Outbound::new(representation, options, disk, restart)?;
    let (mut wire, mut rest) = (Vec::new(), &disk[outbound.position() as usize..]);
    while !rest.is_empty() {
        let (mut piece, later) = rest.split_at((1 + dice.throw(70) as usize).min(rest.len()));
        while !piece.is_empty() {
            let room = wire.len() + 1 + dice.throw(50) as usize;
            outbound.push(&mut piece, &mut wire, room)?;
        }
        rest = later;
    }
    while !outbound.finish(&mut wire, usize::MAX)? {}
    Ok(wire)
}

fn fetch(disk: &[u8], representation: Representation, options: &Options, dice: &mut Dice) -> Vec<u8> {
    fetch_from(disk, representation, options, Restart::None, dice).unwrap()
}

/// Octets that make trouble: escapes, fillers, line ends, high bits, runs.
fn octets(dice: &mut Dice) -> Vec<u8> {
    let mut octets = Vec::new();
    for _ in 0..dice.throw(12) {
        let special = [0xff, 0x00, 0x20, 0x40, 0x01, 0x61, 0x0d];
        match dice.throw(3) {
            0 => octets.extend(vec![special[dice.throw(7) as usize]; 1 + dice.throw(150) as usize]),
            1 => octets.extend((0..dice.throw(40)).map(|_| dice.clone().throw(256) as u8)),
            _ => octets.extend((0..dice.throw(90)).map(|n| (n * 7 + dice.0) as u8)),
        }
    }
    octets
}

/// Some data of this type. In text there is no bare LF and no NL, which would be something else on the way back, or in
/// the middle of a record.
fn data(ty: Type, dice: &mut Dice) -> Vec<Logical> {
    let octets = octets(dice);
    match ty {
        Type::Ascii(_) => octets.into_iter().filter(|o| *o != b'\n' && *o != b'\r').map(octet).collect(),
        Type::Ebcdic(_) => octets.into_iter().filter(|o| *o != 0x15).map(octet).collect(),
        Type::Image => octets.into_iter().map(octet).collect(),
        Type::Local(size) => {
            let bits = usize::from(size.bits());
            let mut logical: Vec<Logical> = octets
                .chunks(bits.div_ceil(8))
                .map(|chunk| {
                    chunk.iter().flat_map(|o| octet(*o)).chain(vec![true; bits]).take(bits).collect()
                })
                .collect();
            // What is padded must not look like one more logical byte.
            while bits < 8 && !logical.len().is_multiple_of(8) {
                logical.push(number(1, bits));
            }
            logical
        }
    }
}

fn file(representation: Representation, dice: &mut Dice) -> File {
    let Representation { ty, structure, .. } = representation;
    match structure {
        Structure::File => File::Bytes(data(ty, dice)),
        Structure::Record => File::Records((0..dice.throw(6)).map(|_| data(ty, dice)).collect()),
        Structure::Page => {
            let most = (1usize << size_of(ty).min(10)) - 1;
            let mut pages: Vec<Page> = (0..dice.throw(5))
                .map(|n| {
                    let (kind, fields) = match dice.throw(3) {
                        0 => (2, vec![3, 1]),
                        1 => (3, vec![5]),
                        _ => (1, vec![]),
                    };
                    let mut data = data(ty, dice);
                    data.truncate(most);
                    Page { index: n * 3 + dice.throw(3), kind, fields, data }
                })
                .collect();
            pages.push(Page { index: 0, kind: 0, fields: vec![], data: vec![] });
            File::Pages(pages)
        }
    }
}

#[test]
fn what_is_fetched_as_it_was_stored_is_identical() {
    let options = Options { marker_every: Some(100), ..Options::default() };
    for (n, representation) in (1..).zip(combinations()) {
        for round in 1..=12 {
            let mut dice = Dice(n * 7919 + round * 104_729);
            let file = file(representation, &mut dice);
            let wire = encode(&file, representation, &mut dice);
            assert_eq!(decode(&wire, representation), file, "the reference agrees with itself");
            let disk = store(&wire, representation, &options, &mut dice);
            let back = fetch(&disk, representation, &options, &mut dice);
            assert_eq!(decode(&back, representation), file, "{representation:?} round {round}");
            let lies_in_container = match representation.structure {
                Structure::File => false,
                Structure::Record => !representation.ty.is_text(),
                Structure::Page => true,
            };
            assert_eq!(is_container(&disk), lies_in_container);
        }
    }
}

fn with(ty: Type, structure: Structure, mode: Mode) -> Representation {
    Representation { ty, structure, mode }
}

const A: Type = Type::Ascii(Format::NonPrint);
const E: Type = Type::Ebcdic(Format::NonPrint);

#[test]
fn what_is_fetched_in_another_way_is_what_the_rfc_says() {
    use Structure::{File as F, Page as P, Record as R};
    let options = Options { page_bytes: 4, ..Options::default() };
    let cp037 = |text: &str| ebcdic(text, CodePage::default());
    let word = Type::Local(ByteSize::new(16).unwrap());
    for (stored_as, sent, fetched_as, want) in [
        ((A, F), b"one\r\ntwo\r\n".to_vec(), (Type::Image, F), b"one\ntwo\n".to_vec()),
        ((A, F), b"one\r\ntwo\r\n".to_vec(), (E, F), cp037("one\ntwo\n")),
        ((E, F), cp037("Zürich\n"), (A, F), "Zürich\r\n".as_bytes().to_vec()),
        ((A, F), b"one\r\ntwo\r\n".to_vec(), (A, R), b"one\xff\x01two\xff\x01\xff\x02".to_vec()),
        ((A, F), b"no end".to_vec(), (A, R), b"no end\xff\x01\xff\x02".to_vec()),
        ((A, R), b"one\xff\x01\xff\x01two\xff\x03".to_vec(), (A, F), b"one\r\n\r\ntwo\r\n".to_vec()),
        ((A, R), b"one\xff\x01two\xff\x03".to_vec(), (E, F), cp037("one\ntwo\n")),
        ((E, R), [cp037("one"), vec![0xff, 3]].concat(), (A, R), b"one\xff\x01\xff\x02".to_vec()),
        (
            (Type::Image, R),
            b"\x01\xff\xff\xff\x01\x02\xff\x03".to_vec(),
            (Type::Image, F),
            b"\x01\xff\x02".to_vec(),
        ),
        ((Type::Image, R), b"one\xff\x01two\xff\x03".to_vec(), (A, F), b"one\r\ntwo\r\n".to_vec()),
        (
            (Type::Image, R),
            b"one\xff\x01two\xff\x03".to_vec(),
            (A, R),
            b"one\xff\x01two\xff\x01\xff\x02".to_vec(),
        ),
        ((Type::Image, F), b"one\ntwo\n".to_vec(), (Type::Image, R), b"one\ntwo\n\xff\x01\xff\x02".to_vec()),
        // Pages 0 and 2 with a hole between them.
        (
            (Type::Image, P),
            b"\x04\x00\x03\x01abc\x04\x02\x02\x01de\x04\x00\x00\x00".to_vec(),
            (Type::Image, F),
            b"abc\0\0\0de".to_vec(),
        ),
        (
            (Type::Image, F),
            b"abcd\0\0\0\0ef".to_vec(),
            (Type::Image, P),
            b"\x04\x00\x04\x01abcd\x04\x02\x02\x01ef\x04\x00\x00\x00".to_vec(),
        ),
        ((Type::Image, F), b"ab\0\0".to_vec(), (word, F), b"ab\0\0".to_vec()),
        ((word, P), b"\0\x04\0\x01\0\x01\0\x01xy\0\x04\0\0\0\0\0\0".to_vec(), (word, F), b"\0\0xy".to_vec()),
    ] {
        let mut dice = Dice(1);
        let disk = store(&sent, with(stored_as.0, stored_as.1, Mode::Stream), &options, &mut dice);
        for mode in [Mode::Stream, Mode::Block, Mode::Compressed] {
            let representation = with(fetched_as.0, fetched_as.1, mode);
            let got = fetch(&disk, representation, &options, &mut dice);
            let expected = decode(&want, with(fetched_as.0, fetched_as.1, Mode::Stream));
            assert_eq!(decode(&got, representation), expected, "{stored_as:?} -> {representation:?}");
        }
        assert_eq!(fetch(&disk, with(fetched_as.0, fetched_as.1, Mode::Stream), &options, &mut dice), want);
    }
}

#[test]
fn a_transfer_goes_on_at_any_marker() {
    let options = Options { marker_every: Some(50), ..Options::default() };
    for ty in [A, E, Type::Image, Type::Local(ByteSize::new(36).unwrap())] {
        for structure in [Structure::File, Structure::Record] {
            for mode in [Mode::Block, Mode::Compressed] {
                let representation = with(ty, structure, mode);
                let mut dice = Dice(99);
                let model = loop {
                    let file = file(representation, &mut dice);
                    if encode(&file, representation, &mut dice.clone()).len() > 600 {
                        break file;
                    }
                };
                let sent = encode(&model, representation, &mut dice);
                let disk = store(&sent, representation, &options, &mut dice);
                let wire = fetch(&disk, representation, &options, &mut dice);
                // A receiver notes our markers beside its own places, and the line goes dead.
                let mut inbound = Inbound::new(representation, &options, None);
                let mut copy = inbound.header().map(|header| header.to_vec()).unwrap_or_default();
                let (head, mut news) = (copy.len() as u64, Vec::new());
                inbound.push(&wire, &mut copy, &mut news).unwrap();
                inbound.finish(&mut copy).unwrap();
                // Pieces of records may lie otherwise; what is in them may not.
                let seen = |disk: &[u8]| {
                    decode(&fetch(disk, representation, &options, &mut Dice(1)), representation)
                };
                assert_eq!(seen(&copy), model, "{representation:?}");
                assert!(news.len() > 2, "{representation:?}: {news:?}");
                for one in news {
                    let News::Marker { marker, octets } = one else { panic!("{one:?}") };
                    let mut again = copy[..(head + octets) as usize].to_vec();
                    let restart = Restart::Marker(marker.parse().unwrap());
                    let rest = fetch_from(&disk, representation, &options, restart, &mut dice).unwrap();
                    let mut inbound = Inbound::new(representation, &options, None);
                    inbound.push(&rest, &mut again, &mut Vec::new()).unwrap();
                    inbound.finish(&mut again).unwrap();
                    assert_eq!(seen(&again), model, "{representation:?} from {marker}");
                }
            }
        }
    }
}

#[test]
fn a_stream_goes_on_at_any_octet() {
    let disk = b"one\ntwo\n\nthree\r\nfour";
    for structure in [Structure::File, Structure::Record] {
        let representation = with(A, structure, Mode::Stream);
        let mut dice = Dice(5);
        let wire = fetch(disk, representation, &Options::default(), &mut dice);
        for at in 0..=wire.len() {
            let restart = Restart::Stream(at as u64);
            let rest = fetch_from(disk, representation, &Options::default(), restart, &mut dice).unwrap();
            assert_eq!(rest, wire[at..]);
        }
        let beyond = Restart::Stream(wire.len() as u64 + 1);
        let refused = fetch_from(disk, representation, &Options::default(), beyond, &mut dice);
        assert_eq!(refused, Err(DataError::InvalidRestart));
    }
}

#[test]
fn what_is_wrong_is_said() {
    let image = |structure, mode| with(Type::Image, structure, mode);
    let record_with_line_end = with(A, Structure::Record, Mode::Stream);
    for (representation, wire, want) in [
        (image(Structure::Record, Mode::Stream), &b"abc"[..], DataError::Truncated),
        (image(Structure::Record, Mode::Stream), b"abc\xff\x01", DataError::Truncated),
        (image(Structure::Record, Mode::Stream), b"abc\xff\x07", DataError::UnknownControl(7)),
        (image(Structure::File, Mode::Block), b"\0\0\x05abc", DataError::Truncated),
        (image(Structure::File, Mode::Block), b"\x10\0\x03a c", DataError::InvalidMarker),
        (image(Structure::File, Mode::Compressed), b"\x05abc", DataError::Truncated),
        (image(Structure::Page, Mode::Stream), b"\x04\0\x03\x01ab", DataError::Truncated),
        (image(Structure::Page, Mode::Stream), b"\x03\0\x03\x01ab", DataError::InvalidPage),
        (image(Structure::Page, Mode::Stream), b"\x05\0\x00\x00\x00", DataError::InvalidPage),
        (image(Structure::Page, Mode::Stream), b"\x04\0\0\0more", DataError::InvalidPage),
        (record_with_line_end, b"one\r\ntwo\xff\x03", DataError::LineEndInRecord),
        (
            with(Type::Local(ByteSize::new(12).unwrap()), Structure::File, Mode::Stream),
            b"\x01",
            DataError::NotThisByteSize,
        ),
    ] {
        let mut inbound = Inbound::new(representation, &Options::default(), None);
        let mut disk = Vec::new();
        let got = inbound.push(wire, &mut disk, &mut Vec::new()).err();
        let got = got.or_else(|| inbound.finish(&mut disk).err());
        assert_eq!(got, Some(want), "{representation:?} {wire:?}");
    }
    let marker = [&[16, 0, 65][..], &[b'x'; 65]].concat();
    let mut inbound = Inbound::new(image(Structure::File, Mode::Block), &Options::default(), None);
    assert_eq!(inbound.push(&marker, &mut Vec::new(), &mut Vec::new()), Err(DataError::InvalidMarker));
}

#[test]
fn the_next_file_on_the_same_connection_is_left_alone() {
    for (mode, wire) in
        [(Mode::Block, &b"\x40\0\x03one\x40\0\x03two"[..]), (Mode::Compressed, b"\0\x40\x03one\0\x40\x03two")]
    {
        let mut disk = Vec::new();
        let mut inbound = Inbound::new(with(Type::Image, Structure::File, mode), &Options::default(), None);
        let consumed = inbound.push(wire, &mut disk, &mut Vec::new()).unwrap();
        assert!(consumed.end_of_file);
        assert_eq!((consumed.octets, &disk[..]), (wire.len() / 2, &b"one"[..]));
    }
}

#[test]
fn a_hole_of_any_size_takes_no_memory() {
    // A page of 16 MiB words at index 2^36 of a file that was stored with TYPE L 36.
    let ty = Type::Local(ByteSize::new(64).unwrap());
    let representation = with(ty, Structure::Page, Mode::Stream);
    let field = |n: u64| n.to_be_bytes();
    let wire =
        [field(4), field(1 << 36), field(1), field(1), *b"the page", field(4), field(0), field(0), field(0)]
            .concat();
    let disk = store(&wire, representation, &Options::default(), &mut Dice(3));
    let mut outbound =
        Outbound::new(with(ty, Structure::File, Mode::Stream), &Options::default(), &disk, Restart::None)
            .unwrap();
    let (mut wire, mut rest) = (Vec::new(), &disk[..]);
    for _ in 0..100 {
        wire.clear();
        outbound.push(&mut rest, &mut wire, 64 * 1024).unwrap();
        assert!(wire.len() < 80 * 1024 && wire.iter().all(|octet| *octet == 0));
    }
}
