//! Every combination of type, structure and mode, over sockets against the real binary: our client says what is wanted, and
//! a codec that was written from RFC 959's text alone says what has to travel.

#![allow(clippy::unwrap_used)]

#[path = "../../ftp/tests/reference/mod.rs"]
#[allow(dead_code, unreachable_pub)]
mod reference;
mod support;

use packetboat_ftp::client::{ConnectionPolicy, Transfer, What};
use packetboat_ftp::command::PathName;
use packetboat_ftp::data::{
    ByteSize, CodePage, Format, Inbound, Mode, News, Options, Outbound, Representation, Restart, Structure,
    Type,
};
use reference::{Dice, File, Logical, Page, decode, ebcdic, encode, number, octet, size_of};
use support::{Depot, Ended, Ftp, blob};

const A: Type = Type::Ascii(Format::NonPrint);
const E: Type = Type::Ebcdic(Format::NonPrint);
const MODES: [Mode; 3] = [Mode::Stream, Mode::Block, Mode::Compressed];

fn with(ty: Type, structure: Structure, mode: Mode) -> Representation {
    Representation { ty, structure, mode }
}

fn name(text: &str) -> PathName {
    PathName::new(text).unwrap()
}

fn retrieve(path: &str, representation: Representation) -> Transfer {
    Transfer::new(What::Retrieve(name(path)), representation)
}

fn store(path: &str, representation: Representation) -> Transfer {
    Transfer::new(What::Store(name(path)), representation)
}

#[track_caller]
fn complete(ended: Ended, how: &str) -> Ended {
    assert!(matches!(ended.code(), 226 | 250), "{how}: {}", ended.reply);
    ended
}

fn combinations() -> Vec<Representation> {
    let formats = [Format::NonPrint, Format::Telnet, Format::CarriageControl];
    let local = |bits| Type::Local(ByteSize::new(bits).unwrap());
    let texts = formats.into_iter().flat_map(|format| [Type::Ascii(format), Type::Ebcdic(format)]);
    let types = texts.chain([Type::Image]).chain([1, 7, 8, 12, 32, 36, 255].map(local));
    let mut all = Vec::new();
    for ty in types {
        for structure in [Structure::File, Structure::Record, Structure::Page] {
            for mode in MODES {
                // A page's header has four fields, so the number four has to fit into a logical byte.
                if structure != Structure::Page || size_of(ty) >= 7 {
                    all.push(with(ty, structure, mode));
                }
            }
        }
    }
    all
}

fn bytes(ty: Type, dice: &mut Dice) -> Vec<Logical> {
    let octets = blob(dice.throw(1 << 30), dice.throw(1_500) as usize);
    let runs = |octets: Vec<u8>| octets.into_iter().flat_map(|o| vec![o; if o < 8 { 90 } else { 1 }]);
    match ty {
        Type::Ascii(_) => runs(octets).filter(|o| *o != b'\n' && *o != b'\r').map(octet).collect(),
        Type::Ebcdic(_) => runs(octets).filter(|o| *o != 0x15).map(octet).collect(),
        Type::Image => runs(octets).map(octet).collect(),
        Type::Local(size) => {
            let bits = usize::from(size.bits());
            let all: Vec<bool> = runs(octets).flat_map(octet).collect();
            let mut logical: Vec<Logical> = all.chunks_exact(bits).map(<[bool]>::to_vec).collect();
            // What is padded must not look like one more logical byte.
            while bits < 8 && !logical.len().is_multiple_of(8) {
                logical.push(number(1, bits));
            }
            logical
        }
    }
}

fn file(representation: Representation, dice: &mut Dice) -> File {
    let ty = representation.ty;
    match representation.structure {
        Structure::File => File::Bytes(bytes(ty, dice)),
        Structure::Record => File::Records((0..4).map(|_| bytes(ty, dice)).collect()),
        Structure::Page => {
            let most = (1usize << size_of(ty).min(10)) - 1;
            let mut pages: Vec<Page> = (0..3)
                .map(|n| {
                    let mut data = bytes(ty, dice);
                    data.truncate(most);
                    Page { index: n * 3 + dice.throw(3), kind: 1, fields: vec![], data }
                })
                .collect();
            pages.push(Page { index: 0, kind: 0, fields: vec![], data: vec![] });
            File::Pages(pages)
        }
    }
}

/// Whatever is stored comes back the same when it is fetched in the same way (RFC 959 section 3.1.2.3), by connections that
/// either side opens.
#[test]
fn every_combination_there_and_back() {
    let depot = Depot::start();
    for policy in [ConnectionPolicy::Passive, ConnectionPolicy::PlainActive] {
        let mut ftp = Ftp::login(depot.at(), policy);
        for (n, representation) in (1..).zip(combinations()) {
            let how = format!("{representation:?} {policy:?}");
            let mut dice = Dice(n * 7919);
            let model = file(representation, &mut dice);
            let wire = encode(&model, representation, &mut dice);
            complete(ftp.send(store("file", representation), &wire), &how);
            let back = complete(ftp.fetch(retrieve("file", representation)), &how);
            assert!(decode(&back.data, representation) == model, "{how}: another file came back");
        }
        ftp.expect(250, "DELE file");
        ftp.expect(221, "QUIT");
    }
}

/// Text that was stored in one representation, and is fetched in all others.
#[test]
fn stored_in_one_and_fetched_in_another() {
    let depot = Depot::start();
    let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::Passive);
    let lines = ["one", "", "Zürich, and a longer line with        spaces", &"x".repeat(1000)];
    let text = |end: &str| lines.iter().map(|line| format!("{line}{end}")).collect::<String>();
    let logical = |octets: Vec<u8>| octets.into_iter().map(octet).collect::<Vec<_>>();
    let cp037 = |text: &str| ebcdic(text, CodePage::default());
    let page = |index, data: &[u8]| Page { index, kind: 1, fields: vec![], data: logical(data.to_vec()) };
    // The same text as each representation has it.
    let as_seen = |ty: Type, structure: Structure| match (ty, structure) {
        (Type::Ascii(_), Structure::File) => File::Bytes(logical(text("\r\n").into_bytes())),
        (Type::Ebcdic(_), Structure::File) => File::Bytes(logical(cp037(&text("\n")))),
        (_, Structure::File) => File::Bytes(logical(text("\n").into_bytes())),
        (Type::Ascii(_), Structure::Record) => {
            File::Records(lines.iter().map(|line| logical(line.as_bytes().to_vec())).collect())
        }
        (Type::Ebcdic(_), Structure::Record) => {
            File::Records(lines.iter().map(|line| logical(cp037(line))).collect())
        }
        (_, Structure::Record) => File::Records(vec![logical(text("\n").into_bytes())]),
        (_, Structure::Page) => {
            // The length of a page has to fit into a byte of the header.
            let octets = text("\n").into_bytes();
            let pages = octets.chunks(255).zip(0..).map(|(data, index)| page(index, data));
            let last = Page { index: 0, kind: 0, fields: vec![], data: vec![] };
            File::Pages(pages.chain([last]).collect())
        }
    };
    let (f, r, p) = (Structure::File, Structure::Record, Structure::Page);
    let stored = [(A, f), (A, r), (E, f), (E, r), (Type::Image, f)];
    let fetched = [(A, f), (A, r), (E, f), (E, r), (Type::Image, f), (Type::Image, r), (Type::Image, p)];
    for (n, (from_type, from_structure)) in stored.into_iter().enumerate() {
        for mode in MODES {
            let from = with(from_type, from_structure, mode);
            let wire = encode(&as_seen(from_type, from_structure), from, &mut Dice(n as u64 + 5));
            complete(ftp.send(store("text", from), &wire), &format!("{from:?}"));
            for (ty, structure) in fetched {
                let to = with(ty, structure, MODES[n % 3]);
                let how = format!("stored as {from:?}, fetched as {to:?}");
                let got = complete(ftp.fetch(retrieve("text", to)), &how);
                assert!(
                    decode(&got.data, to) == as_seen(ty, structure),
                    "{how}: {:?}",
                    got.data.escape_ascii().to_string()
                );
            }
        }
    }
    // Other code pages of EBCDIC.
    for page in ["037", "500", "1047", "1140", "273"] {
        ftp.expect(200, &format!("SITE CODEPAGE {page}"));
        let got = complete(ftp.fetch(retrieve("text", with(E, f, Mode::Stream))), page);
        assert_eq!(got.data, ebcdic(&text("\n"), page.parse().unwrap()), "{page}");
    }
    // A record of a file without records is what SITE LRECL says.
    ftp.expect(200, "SITE LRECL 100");
    let got = complete(ftp.fetch(retrieve("text", with(Type::Image, r, Mode::Block))), "LRECL");
    let want = text("\n").into_bytes().chunks(100).map(|record| logical(record.to_vec())).collect();
    assert_eq!(decode(&got.data, with(Type::Image, r, Mode::Block)), File::Records(want));
}

/// The connection breaks, and the client goes on at the last marker it got (RFC 959 section 3.5).
#[test]
fn what_is_fetched_goes_on_at_a_marker() {
    let depot = Depot::start();
    let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::Passive);
    let data = [blob(3, 2_600_000), vec![0; 1_200_000], blob(4, 100_000)].concat();
    let plain = with(Type::Image, Structure::File, Mode::Stream);
    complete(ftp.send(store("large", plain), &data), "stored");
    for ty in [Type::Image, Type::Local(ByteSize::new(32).unwrap()), E] {
        for mode in [Mode::Block, Mode::Compressed] {
            let representation = with(ty, Structure::File, mode);
            let how = format!("{representation:?}");
            let broken = ftp.fetch_and_break(retrieve("large", representation), 2_300_000);
            assert!(matches!(broken.code(), 426 | 226 | 250), "{how}: {}", broken.reply);
            // What came up to the last marker is good.
            let mut inbound = Inbound::new(representation, &Options::default(), None);
            let (mut disk, mut news) = (Vec::new(), Vec::new());
            inbound.push(&broken.data, &mut disk, &mut news).unwrap();
            let Some(News::Marker { marker, octets }) = news.pop() else { panic!("{how}: no marker came") };
            disk.truncate(octets as usize);
            let mut again = retrieve("large", representation);
            again.restart = Some(marker);
            let rest = complete(ftp.fetch(again), &how);
            let mut inbound = Inbound::new(representation, &Options::default(), None);
            inbound.push(&rest.data, &mut disk, &mut news).unwrap();
            inbound.finish(&mut disk).unwrap();
            if ty == E {
                // Every octet that is no character is another one after a while; its length says enough here.
                assert!(!disk.is_empty(), "{how}");
            } else {
                assert!(disk == data, "{how}: {} octets", disk.len());
            }
        }
    }
    // In stream mode the place is an octet, in text as it travels (RFC 3659 section 5).
    complete(
        ftp.send(store("text", with(A, Structure::File, Mode::Stream)), b"one\r\ntwo\r\nthree\r\n"),
        "text",
    );
    let mut rest = retrieve("text", with(A, Structure::File, Mode::Stream));
    rest.restart = Some("5".to_owned());
    assert_eq!(complete(ftp.fetch(rest), "text").data, b"two\r\nthree\r\n");
    let mut range = retrieve("text", plain);
    range.range = Some((4, 6));
    assert_eq!(complete(ftp.fetch(range), "range").data, b"two");
}

/// What a client marks in what it sends is answered by 110 with both places, when it is on disk.
#[test]
fn markers_of_the_sender_are_answered() {
    let depot = Depot::start();
    let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::Passive);
    let data = blob(5, 300_000);
    for mode in [Mode::Block, Mode::Compressed] {
        let representation = with(Type::Image, Structure::File, mode);
        let options = Options { marker_every: Some(50_000), ..Options::default() };
        let mut outbound = Outbound::new(representation, &options, &data, Restart::None).unwrap();
        let (mut wire, mut rest) = (Vec::new(), &data[..]);
        while !rest.is_empty() {
            outbound.push(&mut rest, &mut wire, usize::MAX).unwrap();
        }
        while !outbound.finish(&mut wire, usize::MAX).unwrap() {}
        let ended = complete(ftp.send(store("marked", representation), &wire), "marked");
        assert!(ended.markers.len() >= 5, "{mode:?}: {:?}", ended.markers);
        for (ours, theirs) in &ended.markers {
            assert_eq!(ours, theirs, "both sides have the same octets on disk");
        }
        // It is taken up again in the middle, in place of what is there from that marker on.
        let (ours, theirs) = &ended.markers[2];
        let restart = Restart::Marker(ours.parse().unwrap());
        let mut outbound = Outbound::new(representation, &options, &data, restart).unwrap();
        let (mut wire, mut rest) = (Vec::new(), &data[outbound.position() as usize..]);
        while !rest.is_empty() {
            outbound.push(&mut rest, &mut wire, usize::MAX).unwrap();
        }
        while !outbound.finish(&mut wire, usize::MAX).unwrap() {}
        let mut again = store("marked", representation);
        again.restart = Some(theirs.clone());
        complete(ftp.send(again, &wire), "again");
        let stored = std::fs::read(depot.home("alice").join("marked")).unwrap();
        assert!(stored == data, "{mode:?}: {} octets", stored.len());
    }
}

/// The connection breaks while something is stored, and the client goes on where the server last said that it has it on disk;
/// nobody sees the file before it is whole.
#[test]
fn what_is_stored_goes_on_at_a_marker() {
    let depot = Depot::start();
    let data = blob(6, 400_000);
    for mode in [Mode::Block, Mode::Compressed] {
        let representation = with(Type::Image, Structure::File, mode);
        let options = Options { marker_every: Some(50_000), ..Options::default() };
        let wire_from = |restart| {
            let mut outbound = Outbound::new(representation, &options, &data, restart).unwrap();
            let (mut wire, mut rest) = (Vec::new(), &data[outbound.position() as usize..]);
            while !rest.is_empty() {
                outbound.push(&mut rest, &mut wire, usize::MAX).unwrap();
            }
            while !outbound.finish(&mut wire, usize::MAX).unwrap() {}
            wire
        };
        let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::Passive);
        let broken = ftp.send_and_break(store("new", representation), &wire_from(Restart::None)[..230_000]);
        assert_eq!(broken.code(), 426, "{mode:?}: {}", broken.reply);
        assert!(!depot.home("alice").join("new").exists(), "{mode:?}: half a file is seen");
        let (ours, theirs) = broken.markers.last().expect("it was told how far it is").clone();
        // Another session, as after a line that was lost.
        drop(ftp);
        let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::PlainActive);
        let mut again = store("new", representation);
        again.restart = Some(theirs);
        complete(ftp.send(again, &wire_from(Restart::Marker(ours.parse().unwrap()))), "it goes on");
        let stored = std::fs::read(depot.home("alice").join("new")).unwrap();
        assert!(stored == data, "{mode:?}: {} octets", stored.len());
        ftp.expect(250, "DELE new");
    }
}
