//! Every message of the corpus: what is found does not depend on how it is cut, and belongs together.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::ops::{ControlFlow, Range};

use packetboat_message::HeaderScan;
use packetboat_message::card::{Builder, Card, Draft};
use packetboat_message::section::{Octets, What, locate};
use packetboat_message::structure::{Kind, Part, Scan, Structure};
use packetboat_message::text::search::{Scope, searchable};

fn scan(message: &[u8], size: usize) -> Structure {
    let mut scan = Scan::new();
    message.chunks(size).for_each(|chunk| scan.push(chunk));
    scan.finish()
}

fn draft(message: &[u8], size: usize) -> Draft {
    let mut builder = Builder::new();
    message.chunks(size).for_each(|chunk| builder.push(chunk));
    builder.finish()
}

#[test]
fn pieces_do_not_matter() {
    for message in packetboat_corpus::messages() {
        let octets = &message.octets;
        let whole = scan(octets, octets.len().max(1));
        let card = draft(octets, octets.len().max(1)).whole_card(b"");
        for size in [1, 2, 3, 5, 64, 77, 4096] {
            // Octet by octet takes its time with the large ones.
            if size >= 64 || octets.len() < 50_000 {
                assert_eq!(scan(octets, size), whole, "{} in pieces of {size}", message.name);
                assert_eq!(draft(octets, size).whole_card(b""), card, "{} in pieces of {size}", message.name);
            }
        }
    }
}

fn tiles(part: &Part<'_>, around: &Range<u64>, message: &[u8], name: &str) {
    assert!(around.start <= part.header.start && part.body.end <= around.end, "{name}: {part:?}");
    assert!(part.header.end == part.body.start, "{name}: {part:?}");
    let octets = &message[part.body.start as usize..part.body.end as usize];
    let lines = octets.iter().filter(|octet| **octet == b'\n').count() as u64;
    assert_eq!(part.lines, lines, "{name}: {part:?}");
    let children: Vec<Part<'_>> = part.children().collect();
    match part.kind {
        Kind::Leaf => assert!(children.is_empty()),
        Kind::Message => {
            assert_eq!(children.len(), 1, "{name}");
            assert_eq!(children[0].header.start, part.body.start, "{name}");
            assert_eq!(children[0].body.end, part.body.end, "{name}");
            assert!(children[0].envelope.is_some(), "{name}");
        }
        Kind::Multipart => {
            assert!(!children.is_empty(), "{name}");
            for pair in children.windows(2) {
                assert!(pair[0].body.end <= pair[1].header.start, "{name}");
                // What stands between two parts is one delimiter.
                let between = &message[pair[0].body.end as usize..pair[1].header.start as usize];
                assert!(between.trim_ascii_start().starts_with(b"--"), "{name}: {}", between.escape_ascii());
                assert!(between.iter().filter(|octet| **octet == b'\n').count() <= 2, "{name}");
            }
        }
    }
    children.iter().for_each(|child| tiles(child, &part.body, message, name));
}

#[test]
fn parts_tile() {
    for message in packetboat_corpus::messages() {
        let octets = &message.octets;
        let structure = scan(octets, octets.len().max(1));
        let root = structure.root();
        tiles(&root, &(0..octets.len() as u64), octets, &message.name);
        assert_eq!((root.header.start, root.body.end), (0, octets.len() as u64), "{}", message.name);
        let mut header = HeaderScan::new();
        header.push(octets);
        header.finish();
        assert_eq!(root.header.end, header.len(), "{}", message.name);
    }
}

#[test]
fn cards_are_small_and_whole() {
    let prefix =
        b"Return-Path: <a@example.org>\r\nDelivered-To: b@example.org\r\nReceived: from x by y; now\r\n";
    let mut sizes = Vec::new();
    for message in packetboat_corpus::messages() {
        let draft = draft(&message.octets, 4096);
        let octets = draft.whole_card(prefix);
        sizes.push(octets.len());
        let card = Card::parse(&octets).unwrap();
        assert_eq!(format!("{:?}", card.structure().unwrap()), format!("{:?}", draft.structure()));
        let envelope = card.envelope().unwrap();
        assert_eq!(
            format!("{envelope:?}"),
            format!("{:?}", Card::parse(&draft.whole_card(prefix)).unwrap().envelope().unwrap())
        );
        assert!(card.preview().chars().count() <= 200, "{}", message.name);
        assert!(card.preview().len() <= 800);
        // Cut anywhere it is no card, or one that can be read without a panic.
        for length in (0..octets.len().min(2000)).step_by(7) {
            if let Some(card) = Card::parse(&octets[..length]) {
                let _ = (card.envelope(), card.structure(), card.preview(), card.sort_keys().from());
            }
        }
    }
    sizes.sort_unstable();
    assert!(
        sizes[sizes.len() / 2] < 900,
        "half of the cards have {} octets or fewer",
        sizes[sizes.len() / 2]
    );
}

/// Every part by its number, as IMAP counts.
fn numbered(part: &Part<'_>, is_message: bool, path: &mut Vec<u32>, found: &mut Vec<(Vec<u32>, Range<u64>)>) {
    match part.kind {
        Kind::Multipart => {
            for (child, number) in part.children().zip(1..) {
                path.push(number);
                found.push((path.clone(), child.body.clone()));
                match child.kind {
                    Kind::Multipart => numbered(&child, false, path, found),
                    Kind::Message => numbered(&child.children().next().unwrap(), true, path, found),
                    Kind::Leaf => {}
                }
                path.pop();
            }
        }
        _ if is_message => {
            path.push(1);
            found.push((path.clone(), part.body.clone()));
            if part.kind == Kind::Message {
                numbered(&part.children().next().unwrap(), true, path, found);
            }
            path.pop();
        }
        _ => {}
    }
}

#[test]
fn sections_are_the_parts() {
    for message in packetboat_corpus::messages() {
        let structure = scan(&message.octets, 4096);
        let root = structure.root();
        let mut found = Vec::new();
        numbered(&root, true, &mut Vec::new(), &mut found);
        assert!(!found.is_empty(), "{}", message.name);
        let last = found.iter().map(|(path, _)| path[0]).max().unwrap();
        for (path, body) in found {
            let octets = locate(&root, &path, What::All).unwrap();
            assert_eq!(octets, Octets { prefix: false, range: body }, "{} {path:?}", message.name);
        }
        assert_eq!(locate(&root, &[last + 1], What::All), None, "{}", message.name);
        let [header, text] = [What::Header, What::Text].map(|what| locate(&root, &[], what).unwrap());
        assert_eq!(header.range.end, text.range.start);
        assert_eq!(header.len(0) + text.len(0), message.octets.len() as u64);
    }
}

#[test]
fn text_does_not_depend_on_pieces() {
    for message in packetboat_corpus::messages().into_iter().filter(|message| message.octets.len() < 300_000)
    {
        let structure = scan(&message.octets, 4096);
        for scope in [Scope::Text, Scope::Body] {
            let [whole, cut] = [usize::MAX, 3].map(|size| {
                let mut all = Vec::new();
                let read = |range: Range<u64>, out: &mut Vec<u8>| {
                    let octets = &message.octets[range.start as usize..range.end as usize];
                    out.extend_from_slice(&octets[..octets.len().min(size)]);
                    Ok::<(), Infallible>(())
                };
                let ended = searchable(&structure.root(), scope, b"", read, |piece| {
                    all.extend_from_slice(piece);
                    ControlFlow::Continue(())
                });
                assert!(ended.unwrap().is_continue());
                all
            });
            assert!(whole == cut, "{} {scope:?}", message.name);
            assert!(std::str::from_utf8(&whole).is_ok(), "{}", message.name);
        }
    }
}
