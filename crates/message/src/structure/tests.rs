#![allow(clippy::unwrap_used)]

use super::*;

/// What a scan finds, whatever the pieces.
fn scan(message: &[u8]) -> Structure {
    let whole = scan_in(message, message.len().max(1));
    for size in [1, 2, 3, 7, 100] {
        if message.len() < 4000 || size == 100 {
            let cut = scan_in(message, size);
            assert_eq!(cut, whole, "in pieces of {size}: {}", message.escape_ascii());
        }
    }
    whole
}

fn scan_in(message: &[u8], size: usize) -> Structure {
    let mut scan = Scan::new();
    message.chunks(size).for_each(|chunk| scan.push(chunk));
    scan.finish()
}

/// A part on one line: its type, body, lines and children.
fn shown(part: &Part<'_>, message: &[u8]) -> String {
    let (kind, subtype) = part.media_type();
    let range = |range: &std::ops::Range<u64>| {
        message[range.start as usize..range.end as usize].escape_ascii().to_string()
    };
    let mut out = format!("{}/{}", String::from_utf8_lossy(kind), String::from_utf8_lossy(subtype));
    match part.kind {
        Kind::Leaf => out += &format!(" {} {}", range(&part.body), part.lines),
        _ => {
            let children: Vec<String> = part.children().map(|child| shown(&child, message)).collect();
            out += &format!("({})", children.join(", "));
        }
    }
    out
}

#[test]
fn parts_are_found() {
    let mixed = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    for (message, expected) in [
        ("", "text/plain  0"),
        ("\r\n", "text/plain  0"),
        ("A: b", "text/plain  0"),
        ("A: b\r\n\r\none\r\ntwo", "text/plain one\\r\\ntwo 1"),
        ("A: b\n\none\ntwo\n", "text/plain one\\ntwo\\n 2"),
        (" a\r\n\r\nb", "text/plain  a\\r\\n\\r\\nb 2"),
        ("A: b\r\nno field\r\n", "text/plain no field\\r\\n 1"),
        (
            &format!("{mixed}pre\r\n--b\r\n\r\none\r\n--b  \r\n\r\ntwo\r\n\r\n--b--\r\nepi\r\n--b\r\n"),
            "multipart/mixed(text/plain one 0, text/plain two\\r\\n 1)",
        ),
        (&format!("{mixed}--b\n\none\n--b--"), "multipart/mixed(text/plain one 0)"),
        (&format!("{mixed}--b\r\n\r\none"), "multipart/mixed(text/plain one 0)"),
        (&format!("{mixed}--b"), "multipart/mixed(text/plain  0)"),
        (&format!("{mixed}--b\r\n--b\r\n\r\n--b--"), "multipart/mixed(text/plain  0, text/plain  0)"),
        (&format!("{mixed}--b--\r\n"), "multipart/mixed(text/plain  0)"),
        (&format!("{mixed}nothing"), "multipart/mixed(text/plain  0)"),
        (mixed, "multipart/mixed(text/plain  0)"),
        ("Content-Type: multipart/mixed\r\n\r\n--b\r\n", "multipart/mixed(text/plain  0)"),
        (&format!("{mixed}--b\r\nContent-Type: text/html\r\n--b--\r\n"), "multipart/mixed(text/html  0)"),
        (
            &format!("{mixed}--b\r\nContent-Type: text/html\r\nat once\r\n--b--\r\n"),
            "multipart/mixed(text/html at once 0)",
        ),
        // The boundary of an ancestor ends a part, and one that begins with another is the longer one.
        (
            &format!(
                "{mixed}--b\r\nContent-Type: multipart/x; boundary=bb\r\n\r\n--bb\r\n\r\nin\r\n--bb--\r\n--b\r\n\r\nout\r\n--b--\r\n"
            ),
            "multipart/mixed(multipart/x(text/plain in 0), text/plain out 0)",
        ),
        (
            &format!(
                "{mixed}--b\r\nContent-Type: multipart/x; boundary=c\r\n\r\n--c\r\n\r\nin\r\n--b\r\n\r\nout\r\n--c\r\n"
            ),
            "multipart/mixed(multipart/x(text/plain in 0), text/plain out\\r\\n--c\\r\\n 2)",
        ),
        (
            &format!(
                "{mixed}--b\r\nContent-Type: multipart/x; boundary=c\r\n\r\n--b--\r\n--c\r\n\r\nlate\r\n"
            ),
            "multipart/mixed(multipart/x(text/plain  0))",
        ),
        // The same boundary inside is the inner one.
        (
            &format!("{mixed}--b\r\n{mixed}--b\r\n\r\nin\r\n--b--\r\n--b\r\n\r\nout\r\n--b--\r\n"),
            "multipart/mixed(multipart/mixed(text/plain in 0), text/plain out 0)",
        ),
        (
            "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\nin\r\n--b\r\nContent-Type: text/plain\r\n\r\nt\r\n--b--",
            "multipart/digest(message/rfc822(text/plain in 0), text/plain t 0)",
        ),
        (
            "Content-Type: message/rfc822\r\n\r\nSubject: x\r\nContent-Type: message/rfc822\r\n\r\nA: b\r\n\r\nin\r\n",
            "message/rfc822(message/rfc822(text/plain in\\r\\n 1))",
        ),
        ("Content-Type: message/rfc822\r\n\r\n", "message/rfc822(text/plain  0)"),
        ("Content-Type: message/rfc822\r\n\r\nnothing\r\n", "message/rfc822(text/plain nothing\\r\\n 1)"),
        (
            "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==\r\n",
            "application/octet-stream QQ==\\r\\n 1",
        ),
    ] {
        assert_eq!(shown(&scan(message.as_bytes()).root(), message.as_bytes()), expected, "{message}");
    }
}

#[test]
fn a_nul_means_nothing() {
    let with = "Content-Type: te\0xt/ht\0ml; char\0set=\0\"a\0b\"\0; x=\0y\0z\r\n\r\n";
    let [with, without] = [with.to_owned(), with.replace('\0', "")].map(|text| scan(text.as_bytes()));
    assert_eq!(with.root().media_type(), (&b"text"[..], &b"html"[..]));
    assert!(with.root().params().eq(without.root().params()));
    assert_eq!(with.root().param("x"), Some(&b"yz"[..]));
}

/// RFC 2231 section 6 asks servers of IMAP to put the pieces of a value together.
#[test]
fn values_in_pieces_are_put_together() {
    let parameters = |value: &str| {
        let message = format!("Content-Type: a/b; {value}\r\n\r\n");
        let structure = scan(message.as_bytes());
        let params = structure.root().params();
        let one = |(name, value): (&[u8], &[u8])| {
            format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        };
        params.map(one).collect::<Vec<_>>().join(" ")
    };
    for (given, told) in [
        ("n*0=a; n*1=\"b c\"; n*2=d", "n=ab cd"),
        ("n*2=d; x=y; N*1=b; n*0=a", "x=y n=abd"),
        ("n*0=a", "n=a"),
        ("n*=us-ascii''%20", "n*=us-ascii''%20"),
        ("n*0*=utf-8'de'%c3%bc; n*1=\"a b%\"; n*2*=%20c", "n*=utf-8'de'%c3%bca%20b%25%20c"),
        ("n*0=a; n*1*=%20b", "n*=''a%20b"),
        // What is broken is told as it stands.
        ("n*1=b; n*2=c", "n*1=b n*2=c"),
        ("n*0=a; n*2=c", "n=a n*2=c"),
        ("n*0=a; n*0=b; n*1=c", "n=ac"),
        ("n*00=a; n*01=b; n**=c; *0=d; n*x=e; n*70000=f", "n*00=a n*01=b n**=c *0=d n*x=e n*70000=f"),
    ] {
        assert_eq!(parameters(given), told, "{given}");
    }
    let message = b"Content-Type: multipart/mixed; boundary*1=c; boundary*0=\"b \"\r\n\r\n--b c\r\n\r\none\r\n--b c--\r\n";
    assert_eq!(shown(&scan(message).root(), message), "multipart/mixed(text/plain one 0)");
}
