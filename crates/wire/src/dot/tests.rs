use super::*;

const NONE: Defects = Defects { bare_cr: false, bare_lf: false, nul: false };
const CR: Defects = Defects { bare_cr: true, ..NONE };
const LF: Defects = Defects { bare_lf: true, ..NONE };
const BOTH: Defects = Defects { bare_cr: true, bare_lf: true, nul: false };

/// What came out of a body: content, defects, and what was left behind the end, if it was found.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    content: String,
    defects: Defects,
    behind: Option<String>,
}

fn read_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let (mut reader, mut input) = (DotReader::new(), Input::new());
    let (mut content, mut ended) = (Vec::new(), false);
    for piece in pieces {
        input.push(piece);
        loop {
            match reader.next(&mut input) {
                DotStep::Chunk(chunk) => {
                    assert!(!ended, "content behind the end");
                    content.extend_from_slice(&chunk);
                }
                DotStep::End => {
                    ended = true;
                    break;
                }
                DotStep::More => {
                    assert!(!ended && input.len() <= 2, "holds back {:?}", input.as_slice());
                    break;
                }
            }
        }
    }
    assert_eq!(reader.octets(), content.len() as u64);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Read { content: text(&content), defects: reader.defects(), behind: ended.then(|| text(input.as_slice())) }
}

/// Reads a body whole, at every split into two, and octet by octet; all must agree.
fn read(wire: &[u8]) -> Read {
    let whole = read_pieces(std::iter::once(wire));
    assert_eq!(whole, read_pieces(wire.chunks(1)), "octet by octet");
    for at in 0..wire.len() {
        let (front, back) = wire.split_at(at);
        assert_eq!(whole, read_pieces([front, back].into_iter()), "split at {at}");
    }
    whole
}

#[test]
fn bodies() {
    let table = [
        (".\r\n", "", ""),
        ("\r\n.\r\n", "\r\n", ""),
        ("a\r\n.\r\nQUIT\r\n", "a\r\n", "QUIT\r\n"),
        ("a\r\n..\r\n.\r\n", "a\r\n.\r\n", ""),
        ("..a\r\n...\r\n.b\r\n.\r\n.\r\n", ".a\r\n..\r\nb\r\n", ".\r\n"),
        ("a.\r\n.\r\n", "a.\r\n", ""),
        ("..\r\n..\r\n..\r\n..\r\n.\r\n", ".\r\n.\r\n.\r\n.\r\n", ""),
        ("\r\n\r\n..\r\n\r\n.\r\n", "\r\n\r\n.\r\n\r\n", ""),
    ];
    for (wire, content, behind) in table {
        let expected = Read { content: content.into(), defects: NONE, behind: Some(behind.into()) };
        assert_eq!(read(wire.as_bytes()), expected, "{wire:?}");
    }
}

/// Each of these was once taken for an end of data by some server. To us it is content with a defect, and the body
/// goes on to its one true end.
#[test]
fn nothing_but_crlf_dot_crlf_ends_a_body() {
    let smuggled = "MAIL FROM:<a@b>\r\n";
    let table = [
        ("\n.\n", "\n.\n", LF),
        ("\n.\r\n", "\n.\r\n", LF),
        ("\r\n.\n", "\r\n\n", LF),
        ("\r.\r", "\r.\r", CR),
        ("\r\n.\r", "\r\n\r", CR),
        ("\r.\r\n", "\r.\r\n", CR),
        ("\n.\r", "\n.\r", BOTH),
        ("\r.\n", "\r.\n", BOTH),
        ("\r\n.\r\r\n", "\r\n\r\r\n", CR),
        ("\r\r\n.\r\r\n", "\r\r\n\r\r\n", CR),
        ("\n\n.\r\n", "\n\n.\r\n", LF),
        ("\n\r\n.\n\r\n", "\n\r\n\n\r\n", LF),
        ("\r\n.\n\r\n", "\r\n\n\r\n", LF),
        ("\r\n\r.\r\n", "\r\n\r.\r\n", CR),
        ("\n\r.\r\n", "\n\r.\r\n", BOTH),
        ("\r\n.\0\r\n", "\r\n\0\r\n", Defects { nul: true, ..NONE }),
        ("\r\n\0.\r\n", "\r\n\0.\r\n", Defects { nul: true, ..NONE }),
        ("\r\n.\x1a\r\n", "\r\n\x1a\r\n", NONE),
        ("\r\n. \r\n", "\r\n \r\n", NONE),
    ];
    for (not_the_end, content, defects) in table {
        let wire = format!("text{not_the_end}{smuggled}\r\n.\r\nQUIT\r\n");
        let expected = Read {
            content: format!("text{content}{smuggled}\r\n"),
            defects,
            behind: Some("QUIT\r\n".into()),
        };
        assert_eq!(read(wire.as_bytes()), expected, "{wire:?}");
    }
}

#[test]
fn a_bare_cr_before_the_end_does_not_hide_it() {
    let expected = Read { content: "a\r\r\n".into(), defects: CR, behind: Some(String::new()) };
    assert_eq!(read(b"a\r\r\n.\r\n"), expected);
}

#[test]
fn an_unfinished_body_is_not_ended() {
    for wire in ["", ".", ".\r", "a\r\n.\r", "a\r\n", "a\r", "a\n.\n"] {
        assert_eq!(read(wire.as_bytes()).behind, None, "{wire:?}");
    }
}

/// Every body of up to seven octets over the octets that matter, against a reader that follows the definition word
/// for word.
#[test]
fn the_reader_agrees_with_the_definition() {
    fn plainly(wire: &[u8]) -> Read {
        // A CRLF in front stands for the one that ended the DATA line.
        let lined = [b"\r\n", wire].concat();
        let end = lined.windows(5).position(|w| w == b"\r\n.\r\n");
        let body = &wire[..end.unwrap_or(wire.len())];
        let mut content = Vec::new();
        let mut defects = NONE;
        for (i, &c) in body.iter().enumerate() {
            let stuffing = c == b'.' && (i == 0 || body[..i].ends_with(b"\r\n"));
            if !stuffing {
                content.push(c);
            }
            // One octet further than the body, where its last CR finds its LF.
            defects.bare_cr |= c == b'\r' && i + 1 < body.len() && body[i + 1] != b'\n';
            defects.bare_lf |= c == b'\n' && (i == 0 || body[i - 1] != b'\r');
        }
        Read {
            content: String::from_utf8_lossy(&content).into_owned(),
            defects,
            behind: end.map(|at| String::from_utf8_lossy(&lined[at + 5..]).into_owned()),
        }
    }
    for length in 0..8_u32 {
        for number in 0..4_usize.pow(length) {
            let body: Vec<u8> = (0..length).map(|i| b".\r\na"[number / 4_usize.pow(i) % 4]).collect();
            let wire = [&body[..], b"\r\n.\r\n"].concat();
            let read = read_pieces(wire.chunks(1));
            assert_eq!(read, read_pieces(std::iter::once(&wire[..])));
            assert_eq!(read, plainly(&wire), "{:?}", String::from_utf8_lossy(&wire));
        }
    }
}

/// Stuffs whole and octet by octet; both must agree.
fn stuff(endings: Endings, body: &[u8]) -> String {
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut stuffer = Stuffer::new(endings);
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&stuffer.stuff(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&stuffer.finish());
        assert_eq!(stuffer.octets(), out.len() as u64);
        out
    };
    let whole = run(&mut std::iter::once(body));
    assert_eq!(whole, run(&mut body.chunks(1)), "octet by octet");
    String::from_utf8_lossy(&whole).into_owned()
}

#[test]
fn stuffing() {
    let table = [
        // body, kept endings, made CRLF
        ("", ".\r\n", ".\r\n"),
        ("a", "a\r\n.\r\n", "a\r\n.\r\n"),
        ("a\r\n", "a\r\n.\r\n", "a\r\n.\r\n"),
        (".", "..\r\n.\r\n", "..\r\n.\r\n"),
        (".a\r\n..\r\nb.\r\n", "..a\r\n...\r\nb.\r\n.\r\n", "..a\r\n...\r\nb.\r\n.\r\n"),
        ("a\n.\n", "a\n..\n\r\n.\r\n", "a\r\n..\r\n.\r\n"),
        ("a\r.\r", "a\r.\r\r\n.\r\n", "a\r\n..\r\n.\r\n"),
        ("\r\r\n\n", "\r\r\n\n\r\n.\r\n", "\r\n\r\n\r\n.\r\n"),
        ("\n\r.", "\n\r.\r\n.\r\n", "\r\n\r\n..\r\n.\r\n"),
    ];
    for (body, kept, made) in table {
        assert_eq!(stuff(Endings::Keep, body.as_bytes()), kept, "{body:?}");
        assert_eq!(stuff(Endings::MakeCrlf, body.as_bytes()), made, "{body:?}");
    }
}

/// A server that drops NULs before it looks for the end must find none, and one that keeps them every octet.
#[test]
fn nuls_hide_no_dot() {
    for length in 0..7_u32 {
        for number in 0..4_usize.pow(length) {
            let body: Vec<u8> = (0..length)
                .flat_map(|i| [&b"."[..], b"\r\n", b"\0", b"a"][number / 4_usize.pow(i) % 4])
                .copied()
                .collect();
            let wire = stuff(Endings::MakeCrlf, &body);
            let lacks_end = !body.is_empty() && !body.ends_with(b"\r\n");
            let sent = [&body[..], if lacks_end { b"\r\n" } else { b"" }].concat();
            let kept = read(wire.as_bytes());
            assert_eq!((kept.content.as_bytes(), kept.behind.as_deref()), (&sent[..], Some("")), "{wire:?}");
            let dropped = read(wire.replace('\0', "").as_bytes());
            assert_eq!(dropped.behind.as_deref(), Some(""), "{wire:?}");
        }
    }
    let mut stuffer = Stuffer::new(Endings::MakeCrlf);
    assert!((0..5).all(|_| stuffer.stuff(vec![0; 10 * NULS_MAX].into()).is_empty()));
    assert_eq!(stuffer.stuff(Bytes::from_static(b".")).len(), NULS_MAX + 2);
}

#[test]
fn what_needs_no_stuffing_is_not_copied() {
    let body = Bytes::from_static(b"one\r\ntwo .\r\nthree\r\n");
    let stuffed = Stuffer::new(Endings::MakeCrlf).stuff(body.clone());
    assert_eq!(stuffed.as_ptr(), body.as_ptr());
}

#[test]
fn what_was_stuffed_is_read_back() {
    for body in ["", ".\r\n", "..\r\n.\r\n", ".a\r\n\r\n.\r\n", "a\r\n.b\r\n"] {
        let read = read(stuff(Endings::Keep, body.as_bytes()).as_bytes());
        assert_eq!(read, Read { content: body.into(), defects: NONE, behind: Some(String::new()) });
    }
}

/// POP3 clients end lines at any LF (poplib, fetchmail, mpop) or at CRLF only (curl). The former must get every octet
/// back and find the end where it is; both must find no end before it.
#[test]
fn kept_endings_survive_readers_of_any_line_ending() {
    /// A client that splits at LF and drops the first of two dots.
    fn split_at_lf(wire: &[u8]) -> (Vec<u8>, &[u8]) {
        let (mut content, mut rest) = (Vec::new(), wire);
        while let Some(end) = rest.iter().position(|&octet| octet == b'\n') {
            let (line, behind) = rest.split_at(end + 1);
            rest = behind;
            match line {
                b".\r\n" | b".\n" => return (content, rest),
                [b'.', b'.', ..] => content.extend_from_slice(&line[1..]),
                _ => content.extend_from_slice(line),
            }
        }
        panic!("no end in {:?}", String::from_utf8_lossy(wire));
    }
    for length in 0..8_u32 {
        for number in 0..4_usize.pow(length) {
            let body: Vec<u8> = (0..length).map(|i| b".\r\na"[number / 4_usize.pow(i) % 4]).collect();
            let wire = [stuff(Endings::Keep, &body).as_bytes(), b"+OK\r\n"].concat();
            let lacks_end = !body.is_empty() && !body.ends_with(b"\r\n");
            let sent = [&body[..], if lacks_end { b"\r\n" } else { b"" }].concat();
            let shown = String::from_utf8_lossy(&wire);
            assert_eq!(split_at_lf(&wire), (sent.clone(), &b"+OK\r\n"[..]), "{shown:?}");

            for size in [1, 2, 3, wire.len()] {
                let (mut reader, mut input) = (DotReader::with_lines(LineEnding::CrlfOrLf), Input::new());
                let (mut content, mut ended) = (Vec::new(), false);
                for piece in wire.chunks(size) {
                    input.push(piece);
                    while !ended {
                        match reader.next(&mut input) {
                            DotStep::Chunk(chunk) => content.extend_from_slice(&chunk),
                            DotStep::End => ended = true,
                            DotStep::More => break,
                        }
                    }
                }
                assert_eq!((&content, input.as_slice()), (&sent, &b"+OK\r\n"[..]), "{shown:?} by {size}");
            }
            let first_end = wire.windows(5).position(|octets| octets == b"\r\n.\r\n").map_or(0, |at| at + 2);
            assert_eq!(first_end + 3, wire.len() - 5, "{shown:?} ends early at CRLF");
        }
    }
}

/// A server that stuffs after CRLF only loses nothing either, but where a line after a bare LF has two dots.
#[test]
fn a_dot_after_a_bare_lf_may_be_content() {
    let (mut reader, mut input) = (DotReader::with_lines(LineEnding::CrlfOrLf), Input::new());
    input.push(b"a\n.b\n.\r\nc\r\n..d\r\n.\r\n");
    assert_eq!(reader.next(&mut input), DotStep::Chunk(Bytes::from_static(b"a\n.b\n.\r\nc\r\n.d\r\n")));
    assert_eq!(reader.next(&mut input), DotStep::End);
}
