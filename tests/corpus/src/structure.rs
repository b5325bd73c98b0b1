//! Well-formed MIME, from the everyday to the very deep.

use crate::build::{PNG, Shelf, base64, crlf, multipart};

pub(crate) fn fill(shelf: &mut Shelf) {
    everyday(shelf);
    boundaries(shelf);
    deep(shelf);
    messages_inside(shelf);
    rare_types(shelf);
}

const PLAIN: &str = "Content-Type: text/plain; charset=us-ascii\n\nplain text\n";
const HTML: &str = "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n<html><body style=3D\"color:red\"><p>Hi =E2=98=83</p></body></html>\n";

fn put(shelf: &mut Shelf, name: &str, subtype: &str, boundary: &str, parts: &[&str]) {
    let header = format!("Content-Type: multipart/{subtype}; boundary=\"{boundary}\"\n");
    shelf.letter(name, &header, &multipart(boundary, parts));
}

fn image(header: &str) -> String {
    format!("Content-Type: image/png\nContent-Transfer-Encoding: base64\n{header}\n\n{}", base64(PNG))
}

fn everyday(shelf: &mut Shelf) {
    put(shelf, "alternative", "alternative", "alt", &[PLAIN, HTML]);
    put(shelf, "mixed-one-part", "mixed", "one", &[PLAIN]);
    let attached = image("Content-Disposition: attachment; filename=\"dot.png\"");
    put(shelf, "mixed-attachment", "mixed", "mix", &[PLAIN, &attached]);
    let inline = image("Content-ID: <dot@example.org>\nContent-Disposition: inline");
    let page = "Content-Type: text/html\n\n<p><img src=\"cid:dot@example.org\"></p>\n";
    put(shelf, "related-cid", "related; type=\"text/html\"", "rel", &[page, &inline]);
    let related =
        format!("Content-Type: multipart/related; boundary=rel\n\n{}", multipart("rel", &[page, &inline]));
    let alternative = format!(
        "Content-Type: multipart/alternative; boundary=alt\n\n{}",
        multipart("alt", &[PLAIN, &related])
    );
    put(shelf, "mixed-alternative-related", "mixed", "mix", &[&alternative, &attached]);
    let images: Vec<String> =
        (0..50).map(|number| image(&format!("Content-ID: <image{number}@example.org>"))).collect();
    let page: String =
        (0..50).map(|number| format!("<img src=\"cid:image{number}@example.org\">\n")).collect();
    let mut parts = vec![format!("Content-Type: text/html\n\n{page}")];
    parts.extend(images);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    put(shelf, "newsletter-images-50", "related", "news", &parts);
    put(shelf, "parallel", "parallel", "par", &[PLAIN, HTML]);
    put(
        shelf,
        "appledouble",
        "appledouble",
        "apple",
        &[
            "Content-Type: application/applefile\nContent-Transfer-Encoding: base64\n\nAAUWBwACAAA=\n",
            &attached,
        ],
    );
    put(
        shelf,
        "form-data",
        "form-data",
        "form",
        &[
            "Content-Disposition: form-data; name=\"a\"\n\n1\n",
            "Content-Disposition: form-data; name=\"b\"; filename=\"\"\n\n\n",
        ],
    );
}

fn boundaries(shelf: &mut Shelf) {
    put(shelf, "boundary-of-70", "mixed", &"0123456789".repeat(7), &[PLAIN]);
    put(shelf, "boundary-special", "mixed", "=_'()+,-./:=? x", &[PLAIN, HTML]);
    put(shelf, "boundary-dashes", "mixed", "----------", &[PLAIN, "\n--\n---\n"]);
    put(shelf, "boundary-dots", "mixed", "...", &[PLAIN]);
    put(shelf, "boundary-one-letter", "mixed", "b", &[PLAIN, PLAIN]);
    let inner =
        format!("Content-Type: multipart/mixed; boundary=outer2\n\n{}", multipart("outer2", &[PLAIN]));
    put(shelf, "boundary-prefix-of-other", "mixed", "outer", &[&inner, PLAIN]);
    shelf.letter(
        "boundary-blank-after",
        "Content-Type: multipart/mixed; boundary=b\n",
        "--b  \n\none\n--b\t\n\ntwo\n--b-- \t\n",
    );
    shelf.letter(
        "preamble-and-epilogue",
        "Content-Type: multipart/mixed; boundary=b\n",
        "This is a message with multiple parts.\n.\n--b\n\nbody\n--b--\nand an epilogue\n.\n--b\nnot a part\n",
    );
    shelf.letter(
        "parts-empty",
        "Content-Type: multipart/mixed; boundary=b\n",
        "--b\n--b\n\n--b\n\n\n--b--\n",
    );
    shelf.letter("parts-none", "Content-Type: multipart/mixed; boundary=b\n", "--b--\n");
    let many: Vec<String> = (0..1000).map(|part| format!("X-Part: {part}\n\npart {part}\n")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    put(shelf, "parts-1000", "mixed", "many", &many);
}

/// One multipart within another, `depth` times.
fn nested(depth: usize) -> String {
    let mut text = PLAIN.to_owned();
    for level in (0..depth).rev() {
        let boundary = format!("level-{level}");
        text = format!(
            "Content-Type: multipart/mixed; boundary=\"{boundary}\"\n\n{}",
            multipart(&boundary, &[&text])
        );
    }
    text
}

fn deep(shelf: &mut Shelf) {
    for depth in [5, 50, 200] {
        let name = format!("nested-{depth}");
        let text = nested(depth);
        let (header, body) = text.split_once("\n\n").unwrap_or_default();
        shelf.letter(&name, &format!("{header}\n"), body);
    }
    let mut same = PLAIN.to_owned();
    for _ in 0..20 {
        same = format!("Content-Type: multipart/mixed; boundary=same\n\n{}", multipart("same", &[&same]));
    }
    let (header, body) = same.split_once("\n\n").unwrap_or_default();
    shelf.letter("nested-same-boundary", &format!("{header}\n"), body);
    let tree = |parts: &[&str]| {
        format!(
            "Content-Type: multipart/alternative; boundary=t{0}\n\n{1}",
            parts.len(),
            multipart(&format!("t{}", parts.len()), parts)
        )
    };
    let leaf = tree(&[PLAIN, HTML]);
    let twigs = tree(&[&leaf, &leaf, &leaf]);
    let branches = tree(&[&twigs, &twigs, &twigs, &twigs]);
    put(shelf, "nested-wide", "mixed", "root", &[&branches, &branches, PLAIN]);
}

fn messages_inside(shelf: &mut Shelf) {
    let inner = "From: carol@example.com\nSubject: inner\n\ninner body\n.\n";
    let forwarded = format!("Content-Type: message/rfc822\n\n{inner}");
    put(shelf, "forwarded", "mixed", "fwd", &[PLAIN, &forwarded]);
    for depth in [5, 50] {
        let mut text = inner.to_owned();
        for level in 0..depth {
            text = format!("Subject: level {level}\nContent-Type: message/rfc822\n\n{text}");
        }
        let (header, body) = text.split_once("\n\n").unwrap_or_default();
        let header: String = header
            .lines()
            .filter(|line| line.starts_with("Content"))
            .map(|line| format!("{line}\n"))
            .collect();
        shelf.letter(&format!("rfc822-nested-{depth}"), &header, body);
    }
    shelf.letter("rfc822-empty", "Content-Type: message/rfc822\n", "");
    shelf.letter("rfc822-header-only", "Content-Type: message/rfc822\n", "Subject: inner\n");
    let encoded = base64(crlf(inner).as_bytes());
    shelf.letter(
        "rfc822-in-base64",
        "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n",
        &encoded,
    );
    let mails: Vec<String> =
        (0..30).map(|number| format!("\nSubject: digest {number}\n\nmessage {number}\n")).collect();
    let mails: Vec<&str> = mails.iter().map(String::as_str).collect();
    put(shelf, "digest", "digest", "digest", &mails);
    shelf.letter(
        "rfc822-utf8",
        "Content-Type: message/global\nContent-Transfer-Encoding: 8bit\n",
        "Subject: Grüße\nFrom: jörg@bücher.example\n\nïnner\n",
    );
}

fn rare_types(shelf: &mut Shelf) {
    shelf.letter(
        "partial",
        "Content-Type: message/partial; id=\"abc@example.org\"; number=2; total=3\n",
        "middle of something\n",
    );
    shelf.letter(
        "external-body",
        "Content-Type: message/external-body; access-type=anon-ftp; site=\"ftp.example.org\"; name=\"file\"\n",
        "Content-Type: image/png\nContent-ID: <x@example.org>\n\nphantom\n",
    );
    shelf.letter("enriched", "Content-Type: text/enriched\n", "<bold>Now</bold> is the <<time>\n");
    shelf.letter("richtext", "Content-Type: text/richtext\n", "<lt>old<nl>\n");
    shelf.letter("rtf", "Content-Type: text/rtf\n", "{\\rtf1\\ansi {\\b bold} \\'fc}\n");
    shelf.letter(
        "markdown",
        "Content-Type: text/markdown; charset=utf-8\n",
        "# Title\n\n* one\n* two\n\n    .code\n",
    );
    shelf.letter(
        "html-only",
        "Content-Type: text/html\n",
        "<!DOCTYPE html>\n<title>x</title>\n<script>alert(1)</script>\n<p>.\n",
    );
    shelf.letter(
        "type-in-capitals",
        "CONTENT-TYPE: TEXT/PLAIN; CHARSET=US-ASCII\nCONTENT-TRANSFER-ENCODING: 7BIT\n",
        "LOUD\n",
    );
    shelf.letter(
        "type-with-comments",
        "Content-Type: text (a) / (b) plain (c) ; (d) charset (e) = (f) us-ascii\n",
        "comments\n",
    );
}
