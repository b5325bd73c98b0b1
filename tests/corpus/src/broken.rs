//! MIME as it should not be, and is.

use crate::build::{Shelf, base64, noise};

const MIXED: &str = "Content-Type: multipart/mixed; boundary=b\n";

pub(crate) fn fill(shelf: &mut Shelf) {
    multiparts(shelf);
    encodings(shelf);
    fields(shelf);
}

fn multiparts(shelf: &mut Shelf) {
    for (name, header, body) in [
        ("boundary-never-ends", MIXED, "--b\n\none\n--b\n\ntwo\n"),
        ("boundary-never-begins", MIXED, "no boundary anywhere\n"),
        ("boundary-wrong", MIXED, "--c\n\none\n--c--\n"),
        ("boundary-other-case", MIXED, "--B\n\none\n--B--\n"),
        ("boundary-missing", "Content-Type: multipart/mixed\n", "--b\n\none\n--b--\n"),
        ("boundary-empty", "Content-Type: multipart/mixed; boundary=\"\"\n", "--\n\none\n----\n"),
        (
            "boundary-unquoted-special",
            "Content-Type: multipart/mixed; boundary=a=b/c?d\n",
            "--a=b/c?d\n\none\n--a=b/c?d--\n",
        ),
        ("boundary-quote-open", "Content-Type: multipart/mixed; boundary=\"b\n", "--b\n\none\n--b--\n"),
        (
            "boundary-twice",
            "Content-Type: multipart/mixed; boundary=a; boundary=b\n",
            "--a\n\none\n--a--\n--b\n\ntwo\n--b--\n",
        ),
        ("boundary-only-end", MIXED, "--b--\n--b--\n--b--\n"),
        ("boundary-in-the-middle-of-a-line", MIXED, "--b\n\nx --b\n--b--x\n--b--\n"),
        ("boundary-indented", MIXED, " --b\n\none\n --b--\n"),
        ("part-without-empty-line", MIXED, "--b\nContent-Type: text/plain\nbody at once\n--b--\n"),
        ("part-header-unfinished", MIXED, "--b\nContent-Type: text/plain\n--b--\n"),
        ("part-header-cut", MIXED, "--b\nContent-Ty"),
        (
            "inner-unfinished",
            MIXED,
            "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\ninner\n--b\n\nouter\n--b--\n",
        ),
        (
            "parent-ends-first",
            MIXED,
            "--b\nContent-Type: multipart/mixed; boundary=c\n\n--b--\n--c\n\nlate\n--c--\n",
        ),
        (
            "multipart-without-version",
            "Content-Type: multipart/alternative; boundary=b\nMIME-Version: 0.9\n",
            "--b\n\none\n--b--\n",
        ),
        (
            "multipart-in-base64",
            "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n",
            "LS1iDQoNCm9uZQ0KLS1iLS0NCg==\n",
        ),
        ("multipart-unknown", "Content-Type: multipart/x-unknown; boundary=b\n", "--b\n\none\n--b--\n"),
        ("multipart-of-nothing", MIXED, ""),
    ] {
        // A line cut short is the only one here without an end; it gets one.
        let body =
            if body.is_empty() || body.ends_with('\n') { body.to_owned() } else { format!("{body}\n") };
        shelf.letter(&format!("broken-{name}"), header, &body);
    }
}

fn encodings(shelf: &mut Shelf) {
    let blob = base64(&noise(1, 3000));
    let in_base64 = "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n";
    shelf.letter("broken-base64-cut", in_base64, &format!("{}\n", &blob[..1001]));
    shelf.letter("broken-base64-unpadded", in_base64, "QQ\n");
    shelf.letter("broken-base64-padding-inside", in_base64, "QQ==QQ==\nQUI=QUI=\n");
    shelf.letter("broken-base64-garbage", in_base64, &blob.replace('A', "A!*\u{1}"));
    shelf.letter("broken-base64-spaces", in_base64, &blob.replace('\n', " \n\t"));
    shelf.letter("broken-base64-one-line", in_base64, &format!("{}\n", blob.replace('\n', "")));
    shelf.letter("broken-base64-url-safe", in_base64, &blob.replace('+', "-").replace('/', "_"));
    shelf.letter(
        "broken-base64-text-behind",
        in_base64,
        &format!("{blob}\n-- \nA footer that a list added.\n"),
    );
    shelf.letter("broken-base64-empty", in_base64, "");
    let quoted = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n";
    for (name, body) in [
        ("hex", "=GG =3 =\u{1} =3g\n"),
        ("end", "ends with a soft break=\n"),
        ("alone", "=\n=\n=\n"),
        ("lower-case", "=c3=bc =e2=98=83\n"),
        ("blanks", "trailing \t=  \nafter\n"),
        ("raw", "raw ü inside\n"),
        ("dots", "=2E\n.=\n.\n=2E=2E\n"),
        ("line-breaks", "a=0D=0Ab=0Ac=0Dd=00e\n"),
    ] {
        shelf.letter(&format!("broken-qp-{name}"), quoted, body);
    }
    for (name, encoding) in [
        ("unknown", "x-rot13"),
        ("empty", ""),
        ("two-words", "7bit 8bit"),
        ("with-comment", "base64 (really)"),
        ("quoted", "\"8bit\""),
        ("uuencode", "x-uuencode"),
    ] {
        shelf.letter(
            &format!("broken-encoding-{name}"),
            &format!("Content-Type: text/plain\nContent-Transfer-Encoding: {encoding}\n"),
            "whatever this is\n",
        );
    }
    shelf.letter(
        "broken-two-encodings",
        "Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: 7bit\n",
        "SGVsbG8=\n",
    );
}

fn fields(shelf: &mut Shelf) {
    for (name, field) in [
        ("type-without-subtype", "Content-Type: text"),
        ("type-slash-only", "Content-Type: /"),
        ("type-empty", "Content-Type: ;;;"),
        ("type-semicolons", "Content-Type: text/plain;; ;charset=utf-8;"),
        ("type-unknown", "Content-Type: chemical/x-pdb; a; b=; =c"),
        ("charset-unknown", "Content-Type: text/plain; charset=klingon"),
        ("charset-empty", "Content-Type: text/plain; charset=\"\""),
        ("charset-doubled", "Content-Type: text/plain; charset=charset=\"utf-8\""),
        ("charset-with-spaces", "Content-Type: text/plain; charset = utf-8"),
        ("file-name-climbs", "Content-Disposition: attachment; filename=\"../../../../etc/passwd\""),
        ("file-name-device", "Content-Disposition: attachment; filename=\"CON\"; filename*=''%00%2F"),
        ("file-name-quotes", "Content-Disposition: attachment; filename=\"a\\\"b\\\\c;d\""),
        ("file-name-raw", "Content-Disposition: attachment; filename=Grüße aus Köln.txt"),
        ("disposition-unknown", "Content-Disposition: teleport; speed=fast"),
        ("id-without-brackets", "Content-ID: no-brackets"),
        ("version-wrong", "MIME-Version: 2.0"),
    ] {
        shelf.letter(&format!("broken-{name}"), &format!("{field}\n"), "body\n");
    }
    let long = format!("Content-Disposition: attachment; filename=\"{}\"\n", "name\n ".repeat(2000));
    shelf.letter("broken-file-name-of-10000", &long, "body\n");
    let parameters: String = (0..500).map(|number| format!(";\n p{number}=v{number}")).collect();
    shelf.letter("broken-parameters-500", &format!("Content-Type: text/plain{parameters}\n"), "body\n");
    shelf.letter(
        "broken-html-never-ends",
        "Content-Type: text/html\n",
        &"<div><table><tr><td>".repeat(40).replace("<table>", "\n<table>"),
    );
    shelf.letter("broken-html-comment", "Content-Type: text/html\n", "<!-- <p> -- > <![CDATA[ <script>\n");
}
