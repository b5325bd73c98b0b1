//! Messages put together at random from what matters in them.

#![allow(clippy::unwrap_used)]

use packetboat_message::HeaderScan;
use packetboat_message::card::{Builder, Card, FieldSet};
use packetboat_message::section::{Filter, Names, What, locate};
use packetboat_message::structure::{Kind, Part, Scan, Structure};
use proptest::prelude::*;

/// Lines that begin, end and break parts and headers.
const LINES: &[&str] = &[
    "\r\n",
    "\n",
    "text\r\n",
    "text\n",
    "cut",
    "--a\r\n",
    "--a--\r\n",
    "--a \t\n",
    "--aa\r\n",
    "--aa--\r\n",
    "--b\r\n",
    "--b--\n",
    "--bx\r\n",
    "--\r\n",
    "-",
    "--a",
    "\r",
    "Content-Type: multipart/mixed; boundary=a\r\n",
    "Content-Type: multipart/alternative;\r\n boundary=\"aa\"\r\n",
    "Content-Type: multipart/digest; boundary=b\n",
    "Content-Type: multipart/mixed\r\n",
    "Content-Type: message/rfc822\r\n",
    "Content-Type: text/html; charset=utf-8\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "Content-Disposition: attachment; filename=\"x\"\r\n",
    "Subject: =?utf-8?Q?=C3=BC?=\r\n",
    "To: a@b, \"c\" <d@e>, g: h@i;\r\n",
    "To : second\n",
    " folded\r\n",
    "From alice\r\n",
    "no field\r\n",
];

fn messages() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        20 => proptest::sample::select(LINES).prop_map(|line| line.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
        1 => (0usize..300).prop_map(|length| vec![b'x'; length]),
    ];
    proptest::collection::vec(line, 0..40).prop_map(|lines| lines.concat())
}

fn scan(message: &[u8], size: usize) -> Structure {
    let mut scan = Scan::new();
    message.chunks(size.max(1)).for_each(|chunk| scan.push(chunk));
    scan.finish()
}

fn check(part: &Part<'_>, message: &[u8]) {
    let body = &message[part.body.start as usize..part.body.end as usize];
    assert_eq!(part.lines, body.iter().filter(|octet| **octet == b'\n').count() as u64);
    assert_eq!(part.header.end, part.body.start);
    let children: Vec<Part<'_>> = part.children().collect();
    assert_eq!(children.is_empty(), part.kind == Kind::Leaf);
    let mut at = part.body.start;
    for child in &children {
        assert!(at <= child.header.start && child.body.end <= part.body.end, "{child:?} in {part:?}");
        at = child.body.end;
        check(child, message);
    }
    for pair in children.windows(2) {
        let between = &message[pair[0].body.end as usize..pair[1].header.start as usize];
        assert!(between.trim_ascii_start().starts_with(b"--"), "{}", between.escape_ascii());
    }
    if part.kind == Kind::Message {
        assert_eq!(children[0].header.start, part.body.start);
        assert_eq!(children[0].body.end, part.body.end);
    }
}

/// Every number that leads somewhere leads to what lies inside the one above it.
fn check_sections(root: &Part<'_>, path: &mut Vec<u32>, around: &std::ops::Range<u64>) {
    for number in 1..50 {
        path.push(number);
        let found = locate(root, path, What::All);
        if let Some(octets) = &found {
            assert!(around.start <= octets.range.start && octets.range.end <= around.end && !octets.prefix);
            let mime = locate(root, path, What::Mime).unwrap().range;
            assert!(mime.end == octets.range.start || locate(root, path, What::Header).is_some());
            if path.len() < 6 {
                check_sections(root, path, &octets.range);
            }
        }
        path.pop();
        if found.is_none() {
            break;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_tile_whatever_the_pieces(message in messages(), size in 1usize..20) {
        let structure = scan(&message, message.len());
        prop_assert_eq!(&structure, &scan(&message, size));
        let root = structure.root();
        prop_assert_eq!((root.header.start, root.body.end), (0, message.len() as u64));
        let mut header = HeaderScan::new();
        header.push(&message);
        header.finish();
        prop_assert_eq!(root.header.end, header.len());
        check(&root, &message);
        check_sections(&root, &mut Vec::new(), &root.body);
    }

    #[test]
    fn cards_answer_as_the_header_does(message in messages(), size in 1usize..20) {
        let prefix = b"Return-Path: <a@b>\r\nSubject: first\r\n";
        let make = |size: usize| {
            let mut builder = Builder::new();
            message.chunks(size).for_each(|chunk| builder.push(chunk));
            builder.finish().card(prefix)
        };
        let octets = make(message.len().max(1));
        prop_assert_eq!(&octets, &make(size));
        let card = Card::parse(&octets).unwrap();
        let envelope = card.envelope().unwrap();
        prop_assert_eq!(envelope.subject, Some(&b"first"[..]));
        let mut open = false;
        for address in envelope.to {
            match (address.mailbox, address.host) {
                (Some(_), Some(_)) => {}
                (Some(_), None) => { prop_assert!(!open); open = true; }
                (None, None) => { prop_assert!(open); open = false; }
                (None, Some(_)) => prop_assert!(false, "{:?}", address),
            }
        }
        prop_assert!(!open);
        let names = ["to", "Content-Type", "SUBJECT", "Cc"];
        let mut answer = Vec::new();
        prop_assert!(card.header_fields(FieldSet::new(names).unwrap(), &mut answer));
        let root = card.structure().unwrap();
        let all: Names = names.iter().collect();
        // A folded first line belongs to the body, so the prefix is never gone on with.
        let (mut filter, mut expected) = (Filter::fields(&all), Vec::new());
        filter.push(prefix, &mut expected);
        filter.push(&message[..root.header.end as usize], &mut expected);
        filter.finish(&mut expected);
        prop_assert_eq!(answer.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn addresses_come_in_order(names in proptest::collection::vec("[a-z]{1,8}", 0..20), broken in "[ -~]{0,20}") {
        let list: Vec<String> = names.iter().map(|name| format!("\"{name}, x\" <{name}@example.org>")).collect();
        let message = format!("To: {}\r\nCc: {broken}\r\n\r\n", list.join(",\r\n "));
        let mut builder = Builder::new();
        builder.push(message.as_bytes());
        let octets = builder.finish().card(b"");
        let envelope = Card::parse(&octets).unwrap().envelope().unwrap();
        let found: Vec<String> = envelope.to.map(|to| String::from_utf8(to.mailbox.unwrap().to_vec()).unwrap()).collect();
        prop_assert_eq!(found, names);
        for address in envelope.cc {
            prop_assert!(address.mailbox.is_some() || address.host.is_none());
        }
    }

    #[test]
    fn what_is_no_card_is_no_panic(mut octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(first) = octets.first_mut() {
            *first = 1;
        }
        if let Some(card) = Card::parse(&octets) {
            let _ = format!("{:?} {:?} {}", card.envelope(), card.structure(), card.preview());
            let _ = (card.threading().references().count(), card.sort_keys().display_to());
        }
        let _ = format!("{:?}", Part::parse(&octets));
    }
}
