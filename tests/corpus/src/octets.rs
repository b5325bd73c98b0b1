//! What only BDAT with BINARYMIME can carry: octets that are no lines.

use crate::build::{PNG, Shelf, noise};

pub(crate) fn fill(shelf: &mut Shelf) {
    ends(shelf);
    line_ends(shelf);
    binary(shelf);
}

fn ends(shelf: &mut Shelf) {
    for (name, octets) in [
        ("end-none", &b"Subject: x\r\n\r\nno final newline"[..]),
        ("end-none-dot", b"Subject: x\r\n\r\ntext\r\n."),
        ("end-none-two-dots", b"Subject: x\r\n\r\ntext\r\n.."),
        ("end-none-in-header", b"Subject: the header does not end"),
        ("end-none-after-empty-line", b"Subject: x\r\n\r\n "),
        ("end-cr", b"Subject: x\r\n\r\nends with a carriage return\r"),
        ("end-lf", b"Subject: x\r\n\r\nends with a line feed\n"),
        ("end-lf-cr", b"Subject: x\r\n\r\nends with both, but turned round\n\r"),
        ("end-crlf-cr", b"Subject: x\r\n\r\ntext\r\n\r"),
        ("end-crlf-lf", b"Subject: x\r\n\r\ntext\r\n\n"),
        ("only-a-letter", b"x"),
        ("only-a-dot", b"."),
        ("only-a-cr", b"\r"),
        ("only-a-lf", b"\n"),
        ("only-a-nul", b"\0"),
        ("only-a-space", b" "),
    ] {
        shelf.raw(name, octets);
    }
}

fn line_ends(shelf: &mut Shelf) {
    for (name, body) in [
        ("lf-only", &b"one\ntwo\n\nthree\n.\nfour\n"[..]),
        ("cr-only", b"one\rtwo\r\rthree\r.\rfour\r"),
        ("lf-dot-lf", b"text\n.\nMAIL FROM:<mallory@example.com>\nRCPT TO:<bob@example.net>\nDATA\n\r\n"),
        ("lf-dot-crlf", b"text\n.\r\nMAIL FROM:<mallory@example.com>\r\n+OK\r\n"),
        ("crlf-dot-lf", b"text\r\n.\nQUIT\r\n"),
        ("cr-dot-cr", b"text\r.\rQUIT\r\n"),
        ("lf-dot-cr", b"text\n.\rQUIT\r\n"),
        ("cr-dot-crlf", b"text\r.\r\nQUIT\r\n"),
        ("crlf-dot-cr", b"text\r\n.\r\rQUIT\r\n"),
        ("crcrlf-dot-crcrlf", b"text\r\r\n.\r\r\nQUIT\r\n"),
        ("lf-two-dots", b"text\n..\n...\n..text\n\r\n"),
        ("lf-pop3-replies", b"text\n.\n+OK 1 message\n-ERR\n.\n\r\n"),
        ("mixed-line-ends", b"crlf\r\nlf\ncr\rlfcr\n\rcrcrlf\r\r\ncrlflf\r\n\n"),
        ("vertical-and-nul", b"a\0b\0\0c\r\n\0\r\n.\0\r\n\0.\r\n"),
    ] {
        shelf.letter_of(name, "Content-Transfer-Encoding: binary\n", body);
    }
    let header: &[u8] = b"From: alice@example.org\nSubject: a file of Unix\n\nbody\n.\n..\nend\n";
    shelf.raw("lf-header-too", header);
    shelf.raw(
        "cr-header-too",
        header.iter().map(|octet| if *octet == b'\n' { b'\r' } else { *octet }).collect::<Vec<_>>(),
    );
    shelf.raw(
        "lf-in-one-header-line",
        &b"From: alice@example.org\r\nSubject: a\nBcc: mallory@example.com\r\n\r\nbody\r\n"[..],
    );
    shelf.raw("nul-in-header", &b"From: alice@example.org\r\nSubject: a\0b\r\n\r\nbody\r\n"[..]);
}

fn binary(shelf: &mut Shelf) {
    let header = "Content-Type: application/octet-stream\nContent-Transfer-Encoding: binary\n";
    let every: Vec<u8> = (0..=255).collect();
    shelf.letter_of("binary-every-octet", header, &every);
    shelf.letter_of(
        "binary-every-pair",
        header,
        &every.iter().flat_map(|a| every.iter().flat_map(move |b| [*a, *b])).collect::<Vec<_>>(),
    );
    shelf.letter_of("binary-png", "Content-Type: image/png\nContent-Transfer-Encoding: binary\n", PNG);
    shelf.letter_of("binary-noise", header, &noise(20, 100_000));
    shelf.letter_of("binary-nuls", header, &[0; 10_000]);
    shelf.letter_of("binary-megabyte-without-a-line", header, &vec![b'x'; 1 << 20]);
    shelf.letter_of("binary-dots", header, &vec![b'.'; 10_000]);
    shelf.letter_of("binary-lf-dots", header, &b"\n.".repeat(10_000));
    shelf.letter_of("binary-crlf-dots-unended", header, &b"\r\n.".repeat(10_000));
    let utf16: Vec<u8> =
        "UTF-16, raw:\r\n.\r\nGrüße 日本\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    shelf.letter_of(
        "binary-utf16",
        "Content-Type: text/plain; charset=utf-16le\nContent-Transfer-Encoding: binary\n",
        &utf16,
    );
    let parts = [
        &b"--b\r\nContent-Transfer-Encoding: binary\r\n\r\n"[..],
        &noise(21, 5_000),
        b"\r\n--b\r\n\r\ntext\r\n--b--",
    ]
    .concat();
    shelf.letter_of(
        "binary-multipart",
        "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: binary\n",
        &parts,
    );
}
