//! The shapes by which MIME readers have come to grief: everything inside everything, delimiters that look like others,
//! parameters in pieces, addresses with all that the grammar allows.

use crate::build::{PNG, Shelf, base64, multipart};

pub(crate) fn fill(shelf: &mut Shelf) {
    everything(shelf);
    delimiters(shelf);
    pieces(shelf);
    parameters(shelf);
    types(shelf);
    reports(shelf);
    fields(shelf);
    addresses(shelf);
}

const PLAIN: &str = "Content-Type: text/plain; charset=us-ascii\n\nplain text\n";

/// A part that is a multipart.
fn tree(subtype: &str, boundary: &str, parts: &[&str]) -> String {
    format!("Content-Type: multipart/{subtype}; boundary=\"{boundary}\"\n\n{}", multipart(boundary, parts))
}

/// A part that is a message.
fn message(subject: &str, inside: &str) -> String {
    format!(
        "Content-Type: message/rfc822\nContent-Description: {subject}\n\n\
         From: {subject} <inner@example.org>\nSubject: {subject}\nDate: Tue, 1 Jul 2025 10:00:00 +0200\n{inside}"
    )
}

fn put(shelf: &mut Shelf, name: &str, whole: &str) {
    let (header, body) = whole.split_once("\n\n").unwrap_or((whole, ""));
    shelf.letter(&format!("torture-{name}"), &format!("{header}\n"), body);
}

/// All kinds of parts in one message, most of them within others.
fn everything(shelf: &mut Shelf) {
    let picture = format!(
        "Content-Type: IMAGE/png; name=\"dot.png\"\nContent-Transfer-Encoding: BASE64\nContent-ID: <dot@example.org>\n\
         Content-Disposition: inline; filename=dot.png; size=67;\n creation-date=\"Tue, 1 Jul 2025 10:00:00 +0200\"\n\n{}",
        base64(PNG)
    );
    let sound = "Content-Type: audio/basic\nContent-Transfer-Encoding: base64\nContent-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\n\n//8=\n";
    let elsewhere = "Content-Type: message/external-body; access-type=anon-ftp;\n  site=ftp.example.org; directory=pub; name=a.gif\n\n\
                     Content-Type: image/gif\nContent-ID: <a@example.org>\n\n";
    let digest = tree(
        "digest",
        "a digest",
        &[
            "\nFrom: one@example.org\nSubject: one\n\nfirst\n",
            "Content-Type: message/rfc822\n\nFrom: two@example.org\n\nsecond\n",
            "Content-Type: text/plain\n\nno message\n",
            "Content-Description: no type\n\nSubject: three\n\nthird\n",
        ],
    );
    let alternative =
        tree("alternative", "alt", &[PLAIN, "Content-Type: text/richtext\n\n<bold>rich</bold>\n", &digest]);
    let parallel = tree("parallel", "par", &[sound, &picture]);
    let inner = message("within", &tree("mixed", "within", &[PLAIN, &alternative]));
    let outer = message("around", &tree("mixed", "around", &[&inner, &parallel, elsewhere]));
    let signed = tree(
        "signed; micalg=pgp-sha256; protocol=\"application/pgp-signature\"",
        "sig",
        &[&alternative, "Content-Type: application/pgp-signature\n\n-----BEGIN PGP SIGNATURE-----\n"],
    );
    put(
        shelf,
        "everything",
        &tree("mixed", "all", &[PLAIN, &outer, &parallel, elsewhere, &signed, &inner, &picture, sound]),
    );
    let mut doll = "\nthe smallest\n".to_owned();
    for level in 0..12 {
        let boundary = format!("doll{level}");
        let text = message(&format!("doll {level}"), &doll);
        doll = if level % 3 == 2 { tree("mixed", &boundary, &[PLAIN, &text]) } else { text };
    }
    put(shelf, "dolls", &doll);
    let of_messages = message("only", &message("only again", "\ntext\n"));
    put(shelf, "message-of-a-message", &of_messages);
    let message_of_multipart = message("one part", &tree("mixed", "one", &[&message("leaf", "\nleaf\n")]));
    put(shelf, "message-of-one-part", &message_of_multipart);
    let siblings: Vec<String> = (0..5)
        .map(|n| message(&format!("sibling {n}"), &tree("alternative", "same", &[PLAIN, PLAIN])))
        .collect();
    let siblings: Vec<&str> = siblings.iter().map(String::as_str).collect();
    put(shelf, "siblings-with-one-boundary", &tree("mixed", "outside", &siblings));
}

fn delimiters(shelf: &mut Shelf) {
    let nested =
        |outer: &str, inner: &str| tree("mixed", outer, &[&tree("mixed", inner, &[PLAIN, PLAIN]), PLAIN]);
    put(shelf, "inner-is-prefix", &nested("bound-ary", "bound"));
    put(shelf, "outer-is-prefix", &nested("bound", "bound-ary"));
    put(shelf, "inner-is-outer-closed", &nested("bound", "bound--"));
    put(shelf, "inner-is-outer", &nested("bound", "bound"));
    put(shelf, "boundary-of-hyphens", &nested("----", "--"));
    put(shelf, "boundary-of-71", &nested(&"b".repeat(71), "c"));
    put(shelf, "boundary-of-200", &nested(&"b".repeat(200), "c"));
    put(shelf, "boundary-8bit", &nested("größe", "c"));
    let mixed =
        |boundary: &str, body: &str| format!("Content-Type: multipart/mixed; boundary={boundary}\n\n{body}");
    for (name, boundary, body) in [
        ("no-line-before-the-first", "b", "--b\n\none\n--b--\n"),
        ("preamble-alone", "b", "only a preamble\n--b--\n"),
        ("delimiter-with-text", "b", "--b and more\n\none\n--b-- and more\n"),
        ("delimiter-with-tabs", "b", "--b\t\t\n\none\n--b \t--\n--b--\n"),
        ("delimiter-indented-by-one", "b", " --b\n\none\n--b\n\ntwo\n--b--\n"),
        ("parts-behind-the-end", "b", "--b\n\none\n--b--\n--b\n\ntwo\n--b--\n"),
        ("two-ends", "b", "--b\n\none\n--b--\n--b--\n"),
        ("no-end", "b", "--b\n\none\n--b\n\ntwo\n"),
        ("header-alone", "b", "--b\nContent-Type: image/png\n--b\nContent-Type: text/html\n\n--b--\n"),
        ("header-then-end-of-message", "b", "--b\nContent-Type: image/png\n"),
        ("three-hyphens", "b", "---b\n\none\n--b\n\ntwo\n---b--\n--b--\n"),
        ("quoted-pair", "\"a\\\"b\\\\c\"", "--a\"b\\c\n\none\n--a\"b\\c--\n"),
        ("space-at-its-end", "\"b \"", "--b \n\none\n--b --\n--b--\n"),
        ("space-inside", "\"b c\"", "--b c\n\none\n--b\n\ntwo\n--b c--\n"),
        ("comment-behind", "b (the boundary)", "--b\n\none\n--b--\n"),
        ("comment-before", "(it is) b", "--b\n\none\n--b--\n"),
        ("folded", "\n b", "--b\n\none\n--b--\n"),
        ("folded-inside-quotes", "\"b\n c\"", "--b c\n\none\n--b c--\n"),
        ("colon-unquoted", "b:c", "--b:c\n\none\n--b:c--\n"),
        ("empty-line-after-end", "b", "\n\n--b\n\none\n\n\n--b--\n\n\n"),
        ("part-of-line-ends", "b", "--b\n\n\n\n\n\n--b\n\n\n--b--\n"),
    ] {
        put(shelf, &format!("delimiter-{name}"), &mixed(boundary, body));
    }
    let cut = "--b\nContent-Type: message/rfc822\n\nSubject: cut\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\ninner\n--b\n\nouter\n--b--\n";
    put(shelf, "delimiter-cuts-a-message", &mixed("b", cut));
    let cut = "--b\nContent-Type: message/rfc822\n\nSubject: cut\nX: y\n--b\n\nouter\n--b--\n";
    put(shelf, "delimiter-cuts-a-header", &mixed("b", cut));
    let late = "--b\nContent-Type: multipart/mixed; boundary=c\n\n--b--\n--c\n\nlate\n--c--\n--b\n\nlater\n";
    put(shelf, "delimiter-of-outer-ends-inner", &mixed("b", late));
}

/// RFC 2231.
fn pieces(shelf: &mut Shelf) {
    for (name, parameters) in [
        ("in-order", "filename*0=\"one \"; filename*1=two; filename*2=\".txt\""),
        ("out-of-order", "filename*2=c; filename*0=a; filename*1=b"),
        ("among-others", "filename*0=a; size=7; filename*1=b; x*0=y"),
        ("one-alone", "filename*0=alone.txt"),
        ("encoded", "filename*0*=utf-8''%c3%bc; filename*1*=%20b; filename*2*=.txt"),
        ("encoded-and-not", "filename*0*=utf-8'de'%c3%bc; filename*1=\"a b%\"; filename*2*=%20c"),
        ("encoded-later", "filename*0=a; filename*1*=%20b"),
        ("a-gap", "filename*0=a; filename*1=b; filename*3=d"),
        ("no-first", "filename*1=b; filename*2=c"),
        ("twice", "filename*0=a; filename*0=A; filename*1=b"),
        ("beside-whole", "filename=whole.txt; filename*0=a; filename*1=b"),
        ("beside-encoded", "filename=plain.txt; filename*=utf-8''%c3%bc.txt"),
        ("leading-zero", "filename*00=a; filename*01=b"),
        ("no-number", "filename**=a; filename*x=b"),
        ("large-number", "filename*0=a; filename*99999999999999999999=b"),
        ("other-case", "filename*0=a; FILENAME*1=b"),
        ("two-parameters", "x*0=1; filename*0=a; x*1=2; filename*1=b"),
        ("many", &(0..300).map(|n| format!("filename*{n}=p{n}")).collect::<Vec<_>>().join(";\n ")),
    ] {
        put(
            shelf,
            &format!("pieces-{name}"),
            &format!("Content-Disposition: attachment; {parameters}\n\nbody\n"),
        );
    }
    put(
        shelf,
        "pieces-of-a-boundary",
        "Content-Type: multipart/mixed; boundary*0=\"b \"; boundary*1=c\n\n--b c\n\none\n--b c\n\ntwo\n--b c--\n",
    );
    put(
        shelf,
        "pieces-of-a-charset",
        "Content-Type: text/plain; charset*0=iso-; charset*1=8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n",
    );
}

fn parameters(shelf: &mut Shelf) {
    for (name, value) in [
        ("semicolon-in-quotes", "text/plain; charset=\"us;ascii\"; x=y"),
        ("quotes-empty", "text/plain; charset=\"\"; x=\"\""),
        ("quotes-escaped", "text/plain; charset=\"a\\\"b\\\\c\\d\""),
        ("quotes-single", "text/plain; charset='us-ascii'"),
        ("spaces-around", "text/plain ; charset = us-ascii ; x = y"),
        ("comments-around", "text(a)/plain(b);(c)charset(d)=(e)us-ascii(f(g))"),
        ("comment-open", "text/plain; charset=us-ascii (never ends"),
        ("commas", "text/plain, charset=us-ascii"),
        ("no-semicolon", "text/plain charset=us-ascii"),
        ("no-value", "text/plain; charset=; x=y"),
        ("no-equals", "text/plain; charset; x=y"),
        ("no-name", "text/plain; =us-ascii; x=y"),
        ("twice", "text/plain; charset=us-ascii; charset=utf-8"),
        ("names-in-capitals", "text/plain; CHARSET=US-ASCII; X=Y"),
        ("8bit", "text/plain; name=grün; x=\"grün\""),
        ("encoded-word", "text/plain; name=\"=?utf-8?q?gr=C3=BCn?=\""),
        ("encoded-word-bare", "text/plain; name==?utf-8?q?gr=C3=BCn?="),
        ("folded-everywhere", "text/plain\n ;\n charset\n =\n us-ascii\n ;\n\tx=\"a\n b\""),
        ("two-slashes", "text/plain/html; x=y"),
        ("space-in-type", "text / plain; x=y"),
        ("quoted-type", "\"text/plain\"; x=y"),
        ("angle-brackets", "<text/plain>; x=y"),
        ("at-the-end", "text/plain; x=y;"),
    ] {
        put(shelf, &format!("parameter-{name}"), &format!("Content-Type: {value}\n\nbody\n"));
    }
}

fn types(shelf: &mut Shelf) {
    for (name, header) in [
        ("multipart-alone", "Content-Type: multipart"),
        ("message-alone", "Content-Type: message"),
        ("message-news", "Content-Type: message/news"),
        ("message-http", "Content-Type: message/http; version=1.1"),
        ("message-unknown", "Content-Type: message/x-unknown"),
        ("rfc822-headers", "Content-Type: text/rfc822-headers"),
        (
            "rfc822-quoted-printable",
            "Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable",
        ),
        ("rfc822-7bit", "Content-Type: message/rfc822\nContent-Transfer-Encoding: 7BIT"),
        ("rfc822-unknown-encoding", "Content-Type: message/rfc822\nContent-Transfer-Encoding: x-unknown"),
        ("binhex", "Content-Type: application/mac-binhex40; name=\"a.hqx\""),
        (
            "tnef",
            "Content-Type: application/ms-tnef; name=\"winmail.dat\"\nContent-Transfer-Encoding: base64",
        ),
        ("x-token", "Content-Type: X-Sun-Attachment"),
        ("wildcard", "Content-Type: */*"),
        ("space-before-colon", "Content-Type : text/html; charset=utf-8"),
        ("two-types", "Content-Type: text/html\nContent-Type: image/png"),
        ("encoding-in-capitals", "Content-Transfer-Encoding: Quoted-Printable"),
        ("encoding-with-parameter", "Content-Transfer-Encoding: 8bit; x=y"),
        ("encoding-two", "Content-Transfer-Encoding: 7bit, base64"),
    ] {
        put(shelf, &format!("type-{name}"), &format!("{header}\n\nSubject: inside\n\nbody\n"));
    }
    let digest = |parts: &[&str]| tree("digest", "d", parts);
    put(
        shelf,
        "digest-in-base64",
        &digest(&["Content-Transfer-Encoding: base64\n\nU3ViamVjdDogeA0KDQp5DQo=\n"]),
    );
    put(shelf, "digest-of-digests", &digest(&[&message("inner", &digest(&["\nSubject: a\n\nb\n"]))]));
    put(shelf, "digest-part-empty", &digest(&["", "\n", "\n\n"]));
}

fn reports(shelf: &mut Shelf) {
    let status = "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n\n\
                  Final-Recipient: rfc822; bob@example.net\nAction: failed\nStatus: 5.1.1\n";
    let header =
        "Content-Type: text/rfc822-headers\n\nSubject: returned\nContent-Type: multipart/mixed; boundary=r\n";
    put(shelf, "report-headers", &tree("report; report-type=delivery-status", "r", &[PLAIN, status, header]));
    let returned = message("returned", &tree("mixed", "r", &[PLAIN]));
    put(
        shelf,
        "report-same-boundary",
        &tree("report; report-type=delivery-status", "r", &[PLAIN, status, &returned]),
    );
    let global = "Content-Type: message/global-delivery-status\nContent-Transfer-Encoding: base64\n\nUmVwb3J0aW5nLU1UQTogeA==\n";
    put(shelf, "report-global", &tree("report; report-type=delivery-status", "g", &[PLAIN, global]));
    let read = "Content-Type: message/disposition-notification\n\nDisposition: manual-action/MDN-sent-manually; displayed\n";
    put(shelf, "report-read", &tree("report; report-type=disposition-notification", "n", &[PLAIN, read]));
    let feedback = "Content-Type: message/feedback-report\n\nFeedback-Type: abuse\nVersion: 1\n";
    put(
        shelf,
        "report-feedback",
        &tree("report; report-type=feedback-report", "f", &[PLAIN, feedback, &returned]),
    );
}

fn fields(shelf: &mut Shelf) {
    for (name, field) in [
        ("language-list", "Content-Language: en, de (German), fr-CA"),
        ("language-empty", "Content-Language:"),
        ("language-one", "Content-Language: i-klingon"),
        ("location-folded", "Content-Location: http://example.org/a\n b\n c"),
        ("md5-odd", "Content-MD5:  not a digest "),
        ("id-folded", "Content-ID:\n <a@\n example.org>"),
        ("description-encoded", "Content-Description: =?utf-8?q?gr=C3=BCn?=\n =?utf-8?q?er?="),
        ("description-8bit", "Content-Description: grün"),
        ("disposition-without-type", "Content-Disposition: ; filename=a"),
        ("disposition-empty", "Content-Disposition:"),
        ("disposition-filename-alone", "Content-Disposition: filename=a"),
        ("disposition-quoted", "Content-Disposition: \"attachment\"; filename=a"),
        ("disposition-in-capitals", "Content-Disposition: ATTACHMENT; FILENAME=A"),
        ("version-with-comment", "MIME-Version: 1.0 (produced by (a nested) program)"),
    ] {
        put(shelf, &format!("field-{name}"), &format!("Content-Type: text/plain\n{field}\n\nbody\n"));
    }
    let filler =
        "X-Filler: nothing that anybody asks for, in a header that is too long to be kept\n".repeat(1200);
    shelf.text(
        "torture-field-far-down",
        &format!(
            "{filler}From: Far Down <far@example.org>\n{filler}To: bob@example.net\nSubject: behind a wall\n\
             Content-Type: multipart/mixed; boundary=b\n{filler}Message-ID: <far@example.org>\n\n--b\n\none\n--b--\n"
        ),
    );
}

fn addresses(shelf: &mut Shelf) {
    for (name, field) in [
        ("quoted-at", "From: \"a@b\"@example.org"),
        ("quoted-empty", "From: \"\"@example.org"),
        ("quoted-pairs", "From: \"a\\\"b\\\\c\" <\"d\\ e\"@example.org>"),
        ("phrase-with-dot", "From: John Q. Public <john@example.org>"),
        ("phrase-quoted-parts", "From: \"John\" Q. \"Public\" <john@example.org>"),
        ("phrase-encoded", "From: =?utf-8?q?J=C3=B6rg?= =?utf-8?q?_M?= <joerg@example.org>"),
        ("phrase-encoded-in-quotes", "From: \"=?utf-8?q?J=C3=B6rg?=\" <joerg@example.org>"),
        ("comment-name", "From: john@example.org (John (Q.) Public)"),
        ("comments-inside", "From: john (a) @ (b) example.org (c)"),
        ("spaces-inside", "From: john . q @ example . org"),
        ("brackets-empty", "From: <>"),
        ("brackets-open", "From: John <john@example.org"),
        ("brackets-twice", "From: <<john@example.org>>"),
        ("brackets-spaces", "From: John < john@example.org >"),
        ("no-domain", "From: john"),
        ("no-domain-name", "From: John <john>"),
        ("no-local-part", "From: <@example.org>"),
        ("domain-literal", "From: john@[192.0.2.1]"),
        ("domain-literal-odd", "From: john@[a\\]b]"),
        ("domain-dot-at-end", "From: john@example.org."),
        ("two-ats", "From: john@a@example.org"),
        ("route", "From: <@a.example,@b.example:john@example.org>"),
        ("route-and-name", "From: John <@a.example:john@example.org>"),
        ("group-empty", "To: undisclosed-recipients:;"),
        ("group-spaces", "To: The Group : ;"),
        ("group-quoted", "To: \"The: Group\": a@example.org, B <b@example.org>;"),
        ("group-open", "To: group: a@example.org, b@example.org"),
        ("group-in-group", "To: one: two: a@example.org;, b@example.org;"),
        ("groups-two", "To: one: a@example.org;, c@example.org, two:;"),
        ("commas-many", "To: ,,a@example.org,,,b@example.org,"),
        ("semicolon-between", "To: a@example.org; b@example.org"),
        ("quote-open", "To: \"John <john@example.org>, bob@example.org"),
        ("comment-open", "To: john@example.org (never ends, bob@example.org"),
        ("folded-everywhere", "To: John\n Q.\n <john\n @example.org>\n ,\n bob@example.org"),
        ("twice-to", "To: a@example.org\nTo: b@example.org"),
        ("sender-same", "Sender: alice@example.org"),
        ("sender-empty", "Sender:"),
        ("reply-to-empty", "Reply-To: ;"),
        ("reply-to-two", "Reply-To: a@example.org, b@example.org"),
        ("in-reply-to-phrase", "In-Reply-To: Your message of Tuesday <a@example.org> <b@example.org>"),
        ("date-two-digits", "Date: 1 Jul 25 10:00 EDT"),
        ("date-nonsense", "Date: yesterday"),
        ("8bit-name", "From: Jörg Müller <joerg@example.org>"),
        ("8bit-address", "From: jörg@bücher.example"),
    ] {
        // In place of the usual field, which would come first.
        let (own, _) = field.split_once(':').unwrap_or((field, ""));
        let usual = [
            ("From", "Alice <alice@example.org>"),
            ("To", "Bob <bob@example.net>"),
            ("Date", "Mon, 14 Jul 2025 12:34:56 +0200"),
            ("Subject", name),
        ];
        let others: String = usual
            .iter()
            .filter(|(name, _)| *name != own)
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect();
        shelf.text(&format!("torture-address-{name}"), &format!("{others}{field}\n\nbody\n"));
    }
}
