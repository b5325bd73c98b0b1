#![allow(clippy::unwrap_used)]

use super::*;
use crate::structure::{Kind, Part, Scan, Structure};
use crate::text::transfer::{Decoder, Encoding};

fn survey(message: &[u8], size: usize) -> Survey {
    let mut survey = Survey::new();
    message.chunks(size).for_each(|chunk| survey.push(chunk));
    survey
}

/// The message for a next hop, however it is cut into pieces.
fn recoded(message: &[u8], target: Target) -> Result<Vec<u8>, Impossible> {
    let plan = survey(message, usize::MAX).finish(target);
    // Octet by octet takes its time.
    let sizes = if message.len() < 10_000 { &[1, 2, 7][..] } else { &[4093] };
    for &size in sizes {
        assert_eq!(survey(message, size).finish(target), plan, "in pieces of {size}");
    }
    let plan = plan?;
    let write = |size: usize| {
        let (mut all, mut out) = (Vec::new(), Vec::new());
        let mut writer = plan.writer();
        for chunk in message.chunks(size) {
            writer.push(chunk, &mut out);
            all.append(&mut out);
        }
        writer.finish(&mut out);
        all.append(&mut out);
        all
    };
    let whole = write(usize::MAX);
    for &size in sizes {
        assert!(write(size) == whole, "in pieces of {size}");
    }
    let said = plan.len(message.len() as u64);
    let got = whole.len() as u64;
    assert!(got <= said + said / 4 + 200, "declared {said}, is {got}");
    Ok(whole)
}

fn scan(message: &[u8]) -> Structure {
    let mut scan = Scan::new();
    scan.push(message);
    scan.finish()
}

fn body<'a>(part: &Part<'_>, message: &'a [u8]) -> &'a [u8] {
    &message[part.body.start as usize..part.body.end as usize]
}

fn decoded(part: &Part<'_>, message: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = Decoder::new(Encoding::named(part.encoding)?);
    let mut out = Vec::new();
    decoder.push(body(part, message), &mut out);
    decoder.finish(&mut out);
    Some(out)
}

/// Whether a reader finds the same in both.
fn assert_same(before: (&Part<'_>, &[u8]), after: (&Part<'_>, &[u8]), name: &str) {
    let (part, message) = before;
    let (part2, message2) = after;
    if part.kind == Kind::Message && part2.kind == Kind::Leaf {
        assert_eq!(decoded(part2, message2).unwrap(), body(part, message), "{name}: a message as a whole");
        return;
    }
    assert_eq!(part.kind, part2.kind, "{name}");
    assert_eq!(part.media_type(), part2.media_type(), "{name}");
    assert!(part.params().eq(part2.params()), "{name}");
    if part.kind == Kind::Leaf {
        match decoded(part, message) {
            Some(content) => assert!(Some(content) == decoded(part2, message2), "{name}: other content"),
            None => assert!(body(part, message) == body(part2, message2), "{name}"),
        }
        return;
    }
    let (children, children2): (Vec<_>, Vec<_>) = (part.children().collect(), part2.children().collect());
    assert_eq!(children.len(), children2.len(), "{name}");
    for (child, child2) in children.iter().zip(&children2) {
        assert_same((child, message), (child2, message2), name);
    }
}

/// Whether a next hop takes it: everything but the headers, which stay.
fn assert_fits(part: &Part<'_>, message: &[u8], target: Target, name: &str) {
    match part.kind {
        Kind::Leaf => {
            let body = body(part, message);
            if target == Target::SevenBit {
                assert!(body.is_ascii(), "{name}: {}", body.escape_ascii());
            }
            assert!(!body.contains(&0), "{name}");
            let lines =
                body.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            assert!(lines.into_iter().all(|line| line.len() <= LINE_MAX && !line.contains(&b'\r')), "{name}");
        }
        Kind::Multipart | Kind::Message => {
            let mut at = part.body.start;
            for child in part.children() {
                let around = &message[at as usize..child.header.start as usize];
                // Headers stay as they are, and a delimiter is what the header says.
                let may_be =
                    target == Target::EightBit || !part.param("boundary").unwrap_or_default().is_ascii();
                assert!(may_be || around.is_ascii(), "{name}: {}", around.escape_ascii());
                assert_fits(&child, message, target, name);
                at = child.body.end;
            }
        }
    }
}

#[test]
fn what_is_decoded_is_the_same_before_and_after() {
    let (mut changed, mut impossible) = (0, Vec::new());
    for message in packetboat_corpus::messages() {
        for target in [Target::SevenBit, Target::EightBit] {
            let name = format!("{} for {target:?}", message.name);
            let after = match recoded(&message.octets, target) {
                Ok(after) => after,
                Err(why) => {
                    impossible.push((name, why));
                    continue;
                }
            };
            changed += usize::from(after != message.octets);
            let (structure, structure2) = (scan(&message.octets), scan(&after));
            assert_same((&structure.root(), &message.octets), (&structure2.root(), &after), &name);
            assert_fits(&structure2.root(), &after, target, &name);
            assert!(after.is_empty() || after.ends_with(b"\r\n"), "{name}");
            assert!(!after.windows(2).any(|two| two[1] == b'\n' && two[0] != b'\r'), "{name}");
            // What fits is left alone.
            assert!(recoded(&after, target).is_ok_and(|again| again == after), "{name}: again");
        }
    }
    assert!(changed >= 50, "{changed} messages changed");
    assert!(impossible.is_empty(), "{impossible:?}");
}

#[test]
fn an_independent_reader_finds_the_same() {
    let mut compared = 0;
    for message in packetboat_corpus::messages() {
        let (Ok(after), parser) =
            (recoded(&message.octets, Target::SevenBit), mail_parser::MessageParser::default())
        else {
            continue;
        };
        // Where lines end oddly, or a body has no encoding, that reader has views of its own.
        if after == message.octets || message.carriage() == packetboat_corpus::Carriage::Binary {
            continue;
        }
        let (Some(before), Some(read)) = (parser.parse(&message.octets), parser.parse(&after)) else {
            panic!("{} is not read", message.name)
        };
        assert_eq!(before.parts.len(), read.parts.len(), "{}", message.name);
        for (part, part2) in before.parts.iter().zip(&read.parts) {
            if part.sub_parts().is_none() && part.message().is_none() {
                let (content, content2) = (part.contents(), part2.contents());
                assert_eq!(
                    content.escape_ascii().to_string(),
                    content2.escape_ascii().to_string(),
                    "{}",
                    message.name
                );
                compared += 1;
            }
        }
    }
    assert!(compared >= 50, "{compared}");
}

#[track_caller]
fn check(before: &str, target: Target, expected: &str) {
    let after = recoded(before.replace('\n', "\r\n").as_bytes(), target).unwrap();
    assert_eq!(String::from_utf8(after).unwrap().replace("\r\n", "\n"), expected);
}

#[test]
fn text_becomes_quoted_printable() {
    check(
        "Subject: x\nMIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\nContent-Type: text/plain;\n charset=utf-8\n\n\
         Caf\u{e9} by the sea = 1 \n.\n",
        Target::SevenBit,
        "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain;\n charset=utf-8\n\
         Content-Transfer-Encoding: quoted-printable\n\nCaf=C3=A9 by the sea =3D 1=20\n.\n",
    );
    // Without MIME nothing would say that it is encoded.
    check(
        "Subject: x\n\n\u{e9}t\u{e9} at the sea, and a little more\n",
        Target::SevenBit,
        "Subject: x\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n\
         =C3=A9t=C3=A9 at the sea, and a little more\n",
    );
}

#[test]
fn what_is_mostly_other_letters_or_no_text_becomes_base64() {
    check(
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nΑθήνα\n",
        Target::SevenBit,
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nzpHOuM6uzr3OsQ0K\n",
    );
    check(
        "MIME-Version: 1.0\nContent-Type: application/x-é\n\né or more\n",
        Target::SevenBit,
        "MIME-Version: 1.0\nContent-Type: application/x-é\nContent-Transfer-Encoding: base64\n\nw6kgb3IgbW9yZQ0K\n",
    );
}

#[test]
fn parts_are_changed_one_by_one() {
    check(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\n\
         pr\u{e9}amble\n--b\nContent-Type: text/plain\nContent-Transfer-Encoding: 8bit\n\nplain\n--b\n\
         Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: in\n\n\u{e9}t\u{e9} at the sea, and more\n\
         --b--\n\u{e9}pilogue\n",
        Target::SevenBit,
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 7bit\n\n\
         pr??amble\n--b\nContent-Type: text/plain\nContent-Transfer-Encoding: 7bit\n\nplain\n--b\n\
         Content-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nSubject: in\nMIME-Version: 1.0\n\
         Content-Transfer-Encoding: quoted-printable\n\n=C3=A9t=C3=A9 at the sea, and more\n\
         --b--\n??pilogue\n",
    );
}

#[test]
fn a_header_inside_stays_apart_from_the_one_around_it() {
    let message = b"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\x00\xe9";
    let after = recoded(message, Target::SevenBit).unwrap();
    let expected = "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
        MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nAOk=\r\n";
    assert_eq!(String::from_utf8(after).unwrap(), expected);
    let message =
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nS";
    let after = String::from_utf8(recoded(message, Target::SevenBit).unwrap()).unwrap();
    let expected = "\r\n\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nS=\r\n";
    assert!(after.ends_with(expected), "{after}");
}

#[test]
fn an_internationalised_message_inside_is_encoded_as_a_whole() {
    check(
        "MIME-Version: 1.0\nContent-Type: message/global\nContent-Transfer-Encoding: 8bit\n\nSubject: \u{e9}\n\nx\n",
        Target::SevenBit,
        "MIME-Version: 1.0\nContent-Type: message/global\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogw6kNCg0KeA0K\n",
    );
    check(
        "MIME-Version: 1.0\nContent-Type: message/global\nContent-Transfer-Encoding: binary\n\nSubject: \u{e9}\n\nx\n",
        Target::EightBit,
        "MIME-Version: 1.0\nContent-Type: message/global\nContent-Transfer-Encoding: 8bit\n\nSubject: \u{e9}\n\nx\n",
    );
}

#[test]
fn lines_that_are_too_long_are_broken_and_no_delimiter_comes_about() {
    let long = format!("{}{}", "x".repeat(75), "--b--".repeat(200));
    let message = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{long}\r\n--b--\r\n"
    );
    for target in [Target::SevenBit, Target::EightBit] {
        let after = String::from_utf8(recoded(message.as_bytes(), target).unwrap()).unwrap();
        assert!(after.contains("--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nxxx"), "{after}");
        assert!(after.split("\r\n").all(|line| line.len() <= 76), "{after}");
        assert_eq!(after.matches("\r\n--b").count(), 2, "{after}");
    }
}

#[test]
fn binary_content_fits_where_only_lines_do() {
    let header = "MIME-Version: 1.0\r\nContent-Type: TYPE\r\nContent-Transfer-Encoding: binary\r\n\r\n";
    for (kind, body, encoded) in [
        ("image/png", &b"\0\x01\r\n\xff"[..], "base64\r\n\r\nAAENCv8=\r\n"),
        ("text/plain", b"one\ntwo\rthree\r\nfour", "quoted-printable\r\n\r\none=0Atwo=0Dthree\r\nfour=\r\n"),
        ("text/plain", b"lines\r\n", "7bit\r\n\r\nlines\r\n"),
        ("text/plain", b"lin\xe9s\r\n", "8bit\r\n\r\nlin?s\r\n"),
    ] {
        let message = [header.replace("TYPE", kind).as_bytes(), body].concat();
        let after = recoded(&message, Target::EightBit).unwrap();
        let shown = String::from_utf8_lossy(&after).replace('\u{fffd}', "?");
        assert!(shown.ends_with(&format!("Content-Transfer-Encoding: {encoded}")), "{shown}");
    }
}

#[test]
fn what_is_signed_or_encrypted_is_never_touched() {
    let outer = |kind: &str, inner: &str| {
        format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/{kind}; boundary=b\r\n\r\n--b\r\n{inner}\r\n--b--\r\n"
        )
    };
    for (kind, inner, outcome) in [
        ("signed", "\r\n\u{e9}", Some(Impossible::Signed)),
        ("encrypted", "\r\n\u{e9}", Some(Impossible::Encrypted)),
        ("signed", "Content-Transfer-Encoding: 8bit\r\n\r\nplain", None),
        (
            "signed",
            "Content-Type: multipart/mixed; boundary=c\r\n\r\n\u{e9}\r\n--c\r\n\r\nx\r\n--c--",
            Some(Impossible::Signed),
        ),
        ("signed", "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n\u{e9}", Some(Impossible::Signed)),
        ("mixed", "Content-Type: message/partial\r\n\r\n\u{e9}", Some(Impossible::Form)),
        ("mixed", "Content-Transfer-Encoding: x-uuencode\r\n\r\n\u{e9}", Some(Impossible::Encoding)),
    ] {
        let message = outer(kind, inner);
        match outcome {
            Some(why) => assert_eq!(recoded(message.as_bytes(), Target::SevenBit), Err(why), "{inner}"),
            None => assert_eq!(
                recoded(message.as_bytes(), Target::SevenBit).unwrap(),
                message.as_bytes(),
                "{inner}"
            ),
        }
        // Where nothing hinders, nothing is asked.
        assert_eq!(recoded(message.as_bytes(), Target::EightBit).unwrap(), message.as_bytes(), "{inner}");
    }
    // What is beside it is changed, and it stays octet by octet.
    let signed = "Content-Type: multipart/signed; boundary=s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--s\r\n\r\nplain\r\n--s--\r\n";
    let after = recoded(
        outer("mixed", &format!("\r\n\u{e9} and so on\r\n--b\r\n{signed}")).as_bytes(),
        Target::SevenBit,
    )
    .unwrap();
    let after = String::from_utf8(after).unwrap();
    let inside = signed.split_once("\r\n\r\n").unwrap().1;
    assert!(after.contains("=C3=A9 and so on\r\n--b\r\n") && after.contains(inside), "{after}");
}

#[test]
fn a_carriage_return_in_a_header_begins_no_field() {
    let message = b"Subject: a\rBcc: b\nX: y\0\n\n\xe9t\xe9 with an unusual header\n";
    let after = recoded(message, Target::SevenBit).unwrap();
    let expected = "Subject: a Bcc: b\r\nX: y\r\nMIME-Version: 1.0\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\n=E9t=E9 with an unusual header=0A=\r\n";
    assert_eq!(String::from_utf8(after).unwrap(), expected);
}

#[test]
fn text_before_the_parts_does_not_become_part_of_a_header_without_an_end() {
    for preamble in ["\rtext", "\0Subject: x", "a\r: b\r", "", "\u{e9}"] {
        let preamble = if preamble.is_empty() { String::new() } else { format!("{preamble}\r\n") };
        let message = format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n{preamble}\
             --b\r\n\u{e9}\r\n--b\r\n\r\n\u{e9} and more of it\r\n--b--\r\n"
        );
        let (before, after) = (message.as_bytes(), recoded(message.as_bytes(), Target::SevenBit).unwrap());
        let (structure, structure2) = (scan(before), scan(&after));
        assert_eq!(structure.root().children().count(), 2, "{message:?}");
        assert_same((&structure.root(), before), (&structure2.root(), &after), &preamble);
        assert_fits(&structure2.root(), &after, Target::SevenBit, &preamble);
        let fields = structure2.root().header.end - structure2.root().header.start;
        let header = String::from_utf8_lossy(&after[..fields as usize]).into_owned();
        assert!(
            !header.contains("text") && !header.contains("Subject") && !header.contains("a :"),
            "{header}"
        );
    }
}

#[test]
fn what_needs_no_change_is_known_beforehand() {
    let message = b"Subject: \xc3\xa9\r\n\r\nplain\r\n";
    let plan = survey(message, usize::MAX).finish(Target::SevenBit).unwrap();
    assert!(plan.is_empty() && plan.has_eight_bit_header());
    let message = b"Subject: e\r\n\r\n\xc3\xa9\r\n";
    assert!(survey(message, usize::MAX).finish(Target::EightBit).unwrap().is_empty());
    let plan = survey(message, usize::MAX).finish(Target::SevenBit).unwrap();
    assert!(!plan.is_empty() && !plan.has_eight_bit_header());
    assert_eq!(Impossible::Signed.status().to_string(), "5.6.3");
}
