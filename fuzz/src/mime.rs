//! What `message` finds in messages: parts, cards, sections and text.

use std::convert::Infallible;
use std::ops::{ControlFlow, Range};

use packetboat_message::HeaderScan;
use packetboat_message::card::{Builder, Card, FieldSet, subject, thread};
use packetboat_message::section::{self, Filter, Names, What};
use packetboat_message::structure::{Kind, Part, Scan, Structure};
use packetboat_message::text::find::{Finder, Grams};
use packetboat_message::text::search::{Scope, searchable};
use packetboat_message::text::transfer::{Decoder, Encoding};
use packetboat_message::text::{charset::Charset, fold, html, words};

use crate::{parameters, pieces};

fn scan(message: &[u8], how: u8) -> Structure {
    let mut scan = Scan::new();
    pieces(message, how).for_each(|piece| scan.push(piece));
    scan.finish()
}

/// Parts do not depend on how the message is cut, lie inside one another, and are what sections name.
pub fn structure(data: &[u8]) {
    let ([how], message) = parameters(data);
    let structure = scan(message, 0);
    assert_eq!(structure, scan(message, how));
    let root = structure.root();
    assert_eq!((root.header.start, root.body.end), (0, message.len() as u64));
    let mut header = HeaderScan::new();
    header.push(message);
    header.finish();
    assert_eq!(root.header.end, header.len());
    check(&root, message, 0);
    assert_eq!(section::locate(&root, &[], What::Text).map(|octets| octets.range), Some(root.body.clone()));
    if root.kind == Kind::Multipart {
        for (child, number) in root.children().zip(1..) {
            let found = section::locate(&root, &[number], What::All).expect("a part has a number");
            assert_eq!(found.range, child.body);
        }
    }
    // Read as what it is not, a packed structure is nothing or something, but never a panic.
    if let Some(part) = Part::parse(data) {
        let _ = format!("{part:?}");
    }
}

fn check(part: &Part<'_>, message: &[u8], depth: usize) {
    assert!(depth <= 100 && part.header.end == part.body.start);
    let body = &message[part.body.start as usize..part.body.end as usize];
    assert_eq!(part.lines, body.iter().filter(|octet| **octet == b'\n').count() as u64);
    let mut at = part.body.start;
    for child in part.children() {
        assert!(at <= child.header.start && child.body.end <= part.body.end);
        at = child.body.end;
        check(&child, message, depth + 1);
    }
    assert_eq!(part.kind == Kind::Leaf, part.children().next().is_none());
}

/// A card has what the header has, and what is no card is read without a panic.
pub fn card(data: &[u8]) {
    let ([how], message) = parameters(data);
    // What stands before the first NUL is the recipient's own part of the header.
    let split = message.iter().position(|octet| *octet == 0).map_or(0, |at| at + 1);
    let (prefix, body) = message.split_at(split);
    let make = |how| {
        let mut builder = Builder::new();
        pieces(body, how).for_each(|piece| builder.push(piece));
        builder.finish()
    };
    let draft = make(0);
    let octets = draft.card(prefix);
    assert_eq!(octets, make(how).card(prefix));
    if let Some(card) = Card::parse(&octets) {
        let shown = format!("{:?} {:?}", card.envelope().expect("an envelope"), card.sent());
        assert!(!shown.is_empty());
        assert_eq!(format!("{:?}", card.structure()), format!("Some({:?})", draft.structure().root()));
        assert!(card.preview().chars().count() <= 200);
        let keys = card.sort_keys();
        let _ = (keys.from(), keys.display_from(), keys.to(), keys.display_to(), keys.cc(), keys.subject());
        let _ = card.threading().references().count();
        let names = ["Subject", "to", "FROM", "Date"];
        let mut fields = Vec::new();
        if card.header_fields(FieldSet::new(names).expect("names that cards keep"), &mut fields) {
            let names: Names = names.iter().collect();
            let mut filter = Filter::fields(&names);
            let mut expected = Vec::new();
            if !ends_header(prefix) {
                let root = draft.structure().root();
                filter.push(prefix, &mut expected);
                // A prefix ends with a line end; one that does not runs on into the body's first line.
                if prefix.is_empty() || prefix.ends_with(b"\n") {
                    filter.push(&body[..root.header.end as usize], &mut expected);
                    filter.finish(&mut expected);
                    assert_eq!(fields.escape_ascii().to_string(), expected.escape_ascii().to_string());
                }
            }
        }
    }
    if let Some(card) = Card::parse(data) {
        let _ = format!("{:?} {:?} {}", card.envelope(), card.structure(), card.preview());
        let _ = (card.threading().references().count(), card.first_value("To"), card.sort_keys().from());
    }
}

/// Whether there is a line in a prefix that ends it, or one that is no field.
fn ends_header(prefix: &[u8]) -> bool {
    let mut header = HeaderScan::new();
    header.push(prefix);
    header.finish();
    header.len() != prefix.len() as u64 || prefix.ends_with(b"\n\n") || prefix.ends_with(b"\n\r\n")
}

/// Fields are chosen whatever the pieces, and each passes one of two ways.
pub fn section_filter(data: &[u8]) {
    let ([how, names], header) = parameters(data);
    let names: Names = header.split(|octet| *octet == b':').take(usize::from(names % 4)).collect();
    let run = |how, not: bool| {
        let mut filter = if not { Filter::fields_not(&names) } else { Filter::fields(&names) };
        let mut out = Vec::new();
        pieces(header, how).for_each(|piece| filter.push(piece, &mut out));
        filter.finish(&mut out);
        out
    };
    let (chosen, others) = (run(0, false), run(0, true));
    assert_eq!(chosen, run(how, false));
    assert_eq!(others, run(how, true));
    assert!(chosen.ends_with(b"\r\n") && others.ends_with(b"\r\n"));
    assert!(chosen.len() + others.len() <= header.len() + 4);
}

/// Decoders do not depend on pieces and give no more than they may.
pub fn text(data: &[u8]) {
    let ([how], octets) = parameters(data);
    for encoding in [Encoding::Identity, Encoding::Base64, Encoding::QuotedPrintable] {
        let run = |how| {
            let mut decoder = Decoder::new(encoding);
            let mut out = Vec::new();
            pieces(octets, how).for_each(|piece| decoder.push(piece, &mut out));
            decoder.finish(&mut out);
            (out, decoder.is_sound())
        };
        let whole = run(0);
        assert_eq!(whole, run(how), "{encoding:?}");
        assert!(whole.0.len() <= octets.len());
    }
    for name in ["utf-8", "utf-7", "iso-2022-jp", "gb18030", "shift_jis", "utf-16", "windows-1252", "big5"] {
        let charset = Charset::named(name.as_bytes()).expect("a charset");
        let (mut decoder, mut out) = (charset.decoder(), String::new());
        pieces(octets, how).for_each(|piece| decoder.push(piece, &mut out));
        decoder.finish(&mut out);
        assert_eq!(out, charset.decode(octets), "{name}");
    }
    let decoded = words::decode(octets);
    let folded = fold::folded(&decoded);
    assert!(std::str::from_utf8(&folded).is_ok());
    let mut stripped = String::new();
    html::strip(&decoded, 1000, &mut stripped);
    let _ = (subject::base(octets), thread::ids(octets).map(|id| thread::number(&id)).count());
}

/// What is looked through does not depend on pieces, and what is in it is found.
pub fn search(data: &[u8]) {
    let ([how, from], message) = parameters(data);
    let structure = scan(message, 0);
    for scope in [Scope::Text, Scope::Body, Scope::Header] {
        let run = |step: usize| {
            let (mut all, mut grams) = (Vec::new(), Grams::new());
            let read = |range: Range<u64>, out: &mut Vec<u8>| {
                let octets = &message[range.start as usize..range.end as usize];
                out.extend_from_slice(&octets[..octets.len().min(step)]);
                Ok::<(), Infallible>(())
            };
            let ended = searchable(&structure.root(), scope, b"", read, |piece| {
                all.extend_from_slice(piece);
                grams.push(piece);
                ControlFlow::Continue(())
            });
            assert_eq!(ended, Ok(ControlFlow::Continue(())));
            let mut grams: Vec<u32> = grams.iter().collect();
            grams.sort_unstable();
            (all, grams)
        };
        let (all, grams) = run(usize::MAX);
        assert_eq!((&all, &grams), (&run(usize::from(how) + 1).0, &run(usize::from(how) + 1).1));
        let text = std::str::from_utf8(&all).expect("folded text is UTF-8");
        let word: String = text.chars().skip(usize::from(from)).take_while(|c| *c != '\0').take(9).collect();
        // Folding what is folded may change it once more, where a compatible form has a capital of its own.
        if fold::folded(&word) == word.as_bytes() {
            let mut finder = Finder::new([&word]);
            pieces(&all, how).for_each(|piece| {
                finder.push(piece);
            });
            assert!(finder.is_done(), "{word}");
        }
    }
}
