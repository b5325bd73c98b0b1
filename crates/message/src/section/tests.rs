#![allow(clippy::unwrap_used)]

use super::*;
use crate::structure::{Scan, Structure};

fn structure(message: &str) -> Structure {
    let mut scan = Scan::new();
    scan.push(message.as_bytes());
    scan.finish()
}

fn octets(message: &str, path: &[u32], what: What) -> Option<String> {
    let structure = structure(message);
    let found = locate(&structure.root(), path, what)?;
    let prefix = if found.prefix { "P" } else { "" };
    assert_eq!(found.len(1), (found.range.end - found.range.start) + prefix.len() as u64);
    Some(format!("{prefix}{}", &message[found.range.start as usize..found.range.end as usize]))
}

/// The example of RFC 9051 section 6.4.5.1.
const NESTED: &str = "Content-Type: multipart/mixed; boundary=a\r\n\r\n\
    --a\r\n\r\none\r\n\
    --a\r\nContent-Type: application/octet-stream\r\n\r\ntwo\r\n\
    --a\r\nX: 3\r\nContent-Type: message/rfc822\r\n\r\n\
    Subject: three\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\n\r\n3.1\r\n--b\r\nX: 3.2\r\n\r\n3.2\r\n--b--\r\n\
    --a\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n\
    --c\r\nContent-Type: image/gif\r\n\r\n4.1\r\n\
    --c\r\nX: 4.2\r\nContent-Type: message/rfc822\r\n\r\n\
    Subject: four\r\n\r\n4.2.1\r\n\
    --c--\r\n--a--\r\n";

#[test]
fn sections_are_what_bodystructure_names() {
    for (path, what, expected) in [
        (&[1][..], What::All, Some("one")),
        (&[1], What::Mime, Some("\r\n")),
        (&[1], What::Header, None),
        (&[1], What::Text, None),
        (&[1, 1], What::All, None),
        (&[2], What::All, Some("two")),
        (&[3], What::Mime, Some("X: 3\r\nContent-Type: message/rfc822\r\n\r\n")),
        (&[3], What::Header, Some("Subject: three\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")),
        (&[3], What::Text, Some("--b\r\n\r\n3.1\r\n--b\r\nX: 3.2\r\n\r\n3.2\r\n--b--")),
        (&[3, 1], What::All, Some("3.1")),
        (&[3, 2], What::All, Some("3.2")),
        (&[3, 2], What::Mime, Some("X: 3.2\r\n\r\n")),
        (&[3, 3], What::All, None),
        (&[4, 1], What::All, Some("4.1")),
        (&[4, 2], What::All, Some("Subject: four\r\n\r\n4.2.1")),
        (&[4, 2], What::Header, Some("Subject: four\r\n\r\n")),
        (&[4, 2], What::Text, Some("4.2.1")),
        (&[4, 2, 1], What::All, Some("4.2.1")),
        (&[4, 2, 1], What::Mime, Some("Subject: four\r\n\r\n")),
        (&[4, 2, 1, 1], What::All, None),
        (&[4, 2, 2], What::All, None),
        (&[5], What::All, None),
        (&[0], What::All, None),
        (&[], What::Mime, None),
    ] {
        assert_eq!(octets(NESTED, path, what).as_deref(), expected, "{path:?} {what:?}");
    }
    assert_eq!(octets(NESTED, &[], What::All), Some(format!("P{NESTED}")));
}

#[test]
fn a_message_without_parts_is_its_own_first() {
    let message = "Subject: x\r\n\r\nbody";
    for (path, what, expected) in [
        (&[][..], What::All, Some("PSubject: x\r\n\r\nbody")),
        (&[], What::Header, Some("PSubject: x\r\n\r\n")),
        (&[], What::Text, Some("body")),
        (&[1], What::All, Some("body")),
        (&[1], What::Mime, Some("PSubject: x\r\n\r\n")),
        (&[1], What::Text, None),
        (&[1, 1], What::All, None),
        (&[2], What::All, None),
    ] {
        assert_eq!(octets(message, path, what).as_deref(), expected, "{path:?} {what:?}");
    }
    let forwarded = "Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody";
    for (path, what, expected) in [
        (&[1][..], What::All, Some("Subject: in\r\n\r\nbody")),
        (&[1], What::Header, Some("Subject: in\r\n\r\n")),
        (&[1, 1], What::All, Some("body")),
        (&[1, 1, 1], What::All, None),
    ] {
        assert_eq!(octets(forwarded, path, what).as_deref(), expected, "{path:?} {what:?}");
    }
}

#[test]
fn fields_are_chosen_in_their_octets() {
    let header = "From alice Sat\r\nTo: bob,\r\n\tcarol\r\nSubject : x\r\nTO: dave\nX-To: y\r\nToo: z\r\n\r\nTo: body\r\n";
    let cut = "A: b\r\nTo: c";
    for (header, names, chosen, others) in [
        (
            header,
            &["to"][..],
            "To: bob,\r\n\tcarol\r\nTO: dave\n\r\n",
            "From alice Sat\r\nSubject : x\r\nX-To: y\r\nToo: z\r\n\r\n",
        ),
        (
            header,
            &["SUBJECT", "too"],
            "Subject : x\r\nToo: z\r\n\r\n",
            "From alice Sat\r\nTo: bob,\r\n\tcarol\r\nTO: dave\nX-To: y\r\n\r\n",
        ),
        (cut, &["To"], "To: c\r\n", "A: b\r\n\r\n"),
        ("", &["To"], "\r\n", "\r\n"),
        ("To", &["To"], "\r\n", "To\r\n"),
    ] {
        let names: Names = names.iter().collect();
        for size in [1, 2, 3, 1000] {
            for (filter, expected) in [(Filter::fields(&names), chosen), (Filter::fields_not(&names), others)]
            {
                let (mut filter, mut out) = (filter, Vec::new());
                header.as_bytes().chunks(size).for_each(|chunk| filter.push(chunk, &mut out));
                filter.finish(&mut out);
                assert_eq!(String::from_utf8(out).unwrap(), expected, "{names:?} in pieces of {size}");
            }
        }
    }
    // A name too long to be held is no name, and is passed on all the same.
    let (names, long) = (Names::from_iter(["x"]), format!("{}: y\r\nx: y\r\n", "n".repeat(3000)));
    for size in [1, 7, 5000] {
        let (mut filter, mut out) = (Filter::fields_not(&names), Vec::new());
        long.as_bytes().chunks(size).for_each(|chunk| filter.push(chunk, &mut out));
        filter.finish(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{}: y\r\n\r\n", "n".repeat(3000)));
    }
}
