//! Headers: missing, doubled, folded, raw, endless, and older than the rules.

use crate::build::{Shelf, crlf, header};

pub(crate) fn fill(shelf: &mut Shelf) {
    missing(shelf);
    doubled(shelf);
    odd_lines(shelf);
    large(shelf);
    addresses(shelf);
    dates(shelf);
    encoded(shelf);
    raw(shelf);
}

fn missing(shelf: &mut Shelf) {
    for field in ["From", "To", "Date", "Message-ID", "Subject", "MIME-Version"] {
        let name = format!("without-{}", field.to_ascii_lowercase());
        let lines: String = header(&name)
            .lines()
            .filter(|line| !line.starts_with(field))
            .map(|line| format!("{line}\n"))
            .collect();
        shelf.text(&name, &format!("{lines}\nbody of {name}\n"));
    }
    shelf.text("from-only", "From: alice@example.org\n\nfrom only\n");
    shelf.text("bcc-only", "Bcc: bob@example.net\n\nto nobody\n");
    shelf.text("empty-values", "From:\nTo:\nSubject:\nDate:\nMessage-ID:\nContent-Type:\n\nempty values\n");
    shelf.text("blank-values", "From: \nTo:  \nSubject: \t\nDate: \n\nblank values\n");
}

fn doubled(shelf: &mut Shelf) {
    for field in
        ["From: Mallory <mallory@example.com>", "Subject: second", "Date: Tue, 15 Jul 2025 00:00:00 +0000"]
    {
        let name = format!("two-{}", field.split(':').next().unwrap_or_default().to_ascii_lowercase());
        shelf.letter(&name, &format!("{field}\n"), "which one counts?\n");
    }
    shelf.letter("two-message-ids", "Message-ID: <second@example.org>\n", "two\n");
    shelf.letter("two-content-types", "Content-Type: text/plain\nContent-Type: text/html\n", "<p>which?\n");
    shelf.letter("two-mime-versions", "MIME-Version: 1.0 (again)\n", "1.0\n");
    shelf.letter("fifty-subjects", &"Subject: again\n".repeat(50), "fifty\n");
}

fn odd_lines(shelf: &mut Shelf) {
    for (name, line) in [
        ("line-without-colon", "this line has no colon"),
        ("space-before-colon", "X-Space : value"),
        ("no-space-after-colon", "X-Tight:value"),
        ("empty-name", ": value"),
        ("colons-in-value", "X-Colons: a:b::c:"),
        ("name-with-every-character", "X-!#$%&'*+-.^_`|~0: value"),
        ("name-in-lower-case", "x-lower: value"),
        ("name-in-odd-case", "x-OdD-cAsE: value"),
        ("folded-to-nothing", "X-Fold:\n \n\t\n value"),
        ("folded-with-tabs", "X-Fold: a\n\tb\n\t\tc"),
        ("folded-at-once", "X-Fold:\n value"),
        ("folded-and-blank-end", "X-Fold: a  \n  b  "),
        ("x-face", "X-Face: \"+k.GIx$#M;!wS~@+ZH\\\n .%b'}\"<>?"),
        ("escape-in-header", "X-Esc: \u{1b}[31mred"),
        ("content-length", "Content-Length: 3"),
        ("status-lines", "Status: RO\nX-Status: A\nX-Keywords: $Label1\nX-UID: 42"),
        ("return-path-inside", "Return-Path: <mallory@example.com>\nDelivered-To: bob@example.net"),
        (
            "resent",
            "Resent-From: carol@example.com\nResent-To: dave@example.com\nResent-Date: Mon, 14 Jul 2025 13:00:00 +0200\nResent-Message-ID: <resent@example.com>",
        ),
        (
            "receipt-wanted",
            "Disposition-Notification-To: alice@example.org\nReturn-Receipt-To: alice@example.org",
        ),
        (
            "references-and-thread",
            "In-Reply-To: <1@example.org> <2@example.org>\nReferences: <1@example.org>\n\t<2@example.org>\nThread-Index: AdNx",
        ),
        (
            "priority",
            "X-Priority: 1 (Highest)\nImportance: high\nPriority: urgent\nSensitivity: Company-Confidential",
        ),
    ] {
        shelf.letter(name, &format!("{line}\n"), "body\n");
    }
    shelf.text("continuation-first", " continues nothing\nSubject: then this\n\nbody\n");
    shelf.text("space-line-for-empty-line", "Subject: separator with a space\n \nbody?\n\nor here\n");
    shelf.text(
        "separator-missing",
        "Subject: no empty line\nThis body follows the header at once.\nAnd goes on.\n",
    );
    shelf.text("header-after-body", &format!("\nbody first\n\n{}", header("header-after-body")));
}

fn large(shelf: &mut Shelf) {
    let received: String = (0..1000)
        .map(|hop| {
            format!(
                "Received: from hop{hop}.example.org (hop{hop}.example.org [192.0.2.{}])\n\tby hop{}.example.org with ESMTPS id {hop:08x}\n\tfor <bob@example.net>; Mon, 14 Jul 2025 12:{:02}:{:02} +0200\n",
                hop % 256,
                hop + 1,
                hop / 60 % 60,
                hop % 60,
            )
        })
        .collect();
    shelf.text("received-1000", &format!("{received}{}\nfar travelled\n", header("received-1000")));
    let hundred: String = received.lines().take(300).map(|line| format!("{line}\n")).collect();
    shelf.text("received-100", &format!("{hundred}{}\ntravelled\n", header("received-100")));
    let references: String = (0..1000).map(|id| format!("\n <reference-{id}@example.org>")).collect();
    shelf.letter("references-1000", &format!("References:{references}\n"), "a long thread\n");
    let recipients: Vec<String> =
        (0..1000).map(|who| format!("Person {who} <person{who}@example.net>")).collect();
    shelf.letter("to-1000", &format!("Cc: {}\n", recipients.join(",\n\t")), "to all\n");
    shelf.letter(
        "subject-folded-200",
        &format!("X-Subject: {}\n", "word\n ".repeat(200) + "end"),
        "folded\n",
    );
    shelf.letter("header-line-of-998", &format!("X-Long: {}\n", "x".repeat(990)), "long\n");
    shelf.letter("header-line-of-5000", &format!("X-Long: {}\n", "x".repeat(4992)), "too long\n");
    shelf.letter("header-name-of-500", &format!("{}: v\n", "X".repeat(500)), "a name\n");
    let fields: String = (0..5000).map(|field| format!("X-Field-{field}: value {field}\n")).collect();
    shelf.letter("header-fields-5000", &fields, "many\n");
    shelf.text(
        "header-of-a-megabyte",
        &format!(
            "{}X-Big: {}\n\nsmall\n",
            header("header-of-a-megabyte"),
            "word word word word word word word word\n ".repeat(25_000) + "end"
        ),
    );
}

fn addresses(shelf: &mut Shelf) {
    for (name, line) in [
        ("address-group", "Cc: undisclosed-recipients:;"),
        ("address-groups", "Cc: A Group: Ed Jones <joe@where.test>, joe@where.test;, Other: ;"),
        ("address-route", "Cc: <@relay.example.org,@other.example.com:carol@example.com>"),
        ("address-quoted", "Cc: \"carol \\\"the\\\" first\"@example.com, \"@\"@example.com"),
        ("address-comments", "Cc: (outer (inner \\) ) still) carol (here) @ (there) example.com (end"),
        ("address-literal", "Cc: carol@[192.0.2.1], dave@[IPv6:2001:db8::1]"),
        ("address-bare", "Cc: carol"),
        ("address-empty", "Cc: <>, , <carol@example.com>,"),
        (
            "address-carrier",
            "Cc: 15551234567@sms.example.net, +15551234567@mms.example.net, 15551234567/TYPE=PLMN@mobile.example",
        ),
        ("address-x400", "Cc: \"/G=Carol/S=Example/O=Example/ADMD= /C=XX/\"@x400.example.com"),
        ("address-plus", "Cc: carol+lists+deep=sub@example.com, carol--x@example.com"),
        ("address-bang", "Cc: host!relay!carol"),
        ("address-idn", "Cc: carol@xn--bcher-kva.example"),
        ("address-semicolons", "Cc: carol@example.com; dave@example.com"),
    ] {
        shelf.letter(name, &format!("{line}\n"), "to whom?\n");
    }
}

fn dates(shelf: &mut Shelf) {
    for (number, date) in [
        "14 Jul 25 12:34 EST",
        "Mon, 14 Jul 2025 12:34:60 -0000",
        "Mon Jul 14 12:34:56 2025",
        "Thu, 1 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 +1400",
        "Tue, 30 Feb 2025 25:61:61 +9999",
        "Mon (comment), 14 (of) Jul 2025 12 : 34 : 56 +0200 (CEST)",
        "yesterday",
        "2025-07-14T12:34:56Z",
    ]
    .iter()
    .enumerate()
    {
        shelf.text(
            &format!("date-{number}"),
            &format!("From: alice@example.org\nDate: {date}\nSubject: {date}\n\nwhen?\n"),
        );
    }
}

fn encoded(shelf: &mut Shelf) {
    for (name, subject) in [
        ("encoded-adjacent", "=?utf-8?Q?one_?= =?utf-8?B?dHdv?=\n =?iso-8859-1?q?=20three?="),
        ("encoded-split-character", "=?utf-8?B?4pi?= =?utf-8?B?6?="),
        ("encoded-unknown-charset", "=?x-unknown?Q?what=3F?="),
        ("encoded-unknown-encoding", "=?utf-8?X?abc?="),
        ("encoded-without-end", "=?utf-8?Q?never ends"),
        ("encoded-with-language", "=?us-ascii*en?Q?hello?="),
        ("encoded-in-a-word", "a=?utf-8?Q?b?=c"),
        ("encoded-with-spaces", "=?utf-8?Q?not allowed but done?="),
        (
            "encoded-too-long",
            "=?utf-8?Q?=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC=C3=BC?=",
        ),
        ("encoded-empty", "=?utf-8?Q??= =?utf-8?B??="),
        ("encoded-line-break", "=?utf-8?Q?=0D=0ABcc:_mallory@example.com?="),
        ("encoded-nul", "=?utf-8?Q?a=00b?="),
    ] {
        shelf.letter(name, &format!("X-Subject: {subject}\n"), "what does it say?\n");
    }
    shelf.letter(
        "parameters-continued",
        "Content-Disposition: attachment;\n filename*0*=utf-8'en'%e2%82%ac%20;\n filename*1*=rates;\n filename*2=\".txt\"\n",
        "RFC 2231\n",
    );
    shelf.letter(
        "parameters-encoded-words",
        "Content-Type: text/plain; name=\"=?utf-8?Q?=E2=82=AC.txt?=\"\n",
        "not RFC 2231\n",
    );
}

/// Header lines with octets that no header may have, as they come all the same.
fn raw(shelf: &mut Shelf) {
    for (name, line) in [
        ("raw-utf8-subject", "Subject: Grüße aus Köln, 日本 und 🎉".as_bytes()),
        ("raw-utf8-from", "From: Jörg Müller <jörg@bücher.example>".as_bytes()),
        ("raw-latin1-subject", b"Subject: Gr\xfc\xdfe aus K\xf6ln"),
        ("raw-latin1-from", b"From: J\xf6rg M\xfcller <joerg@example.org>"),
        ("raw-koi8-subject", b"Subject: \xf0\xd2\xc9\xd7\xc5\xd4"),
        ("raw-big5-subject", b"Subject: \xbf\xcb\xb7R\xaa\xba\xa4\xfd\xa5\xfd\xa5\xcd"),
        ("raw-sjis-subject", b"Subject: \x83\\\x81[\x83X\x95\\\x8e\xa6"),
        ("raw-iso2022jp-subject", b"Subject: \x1b$B$3$s$K$A$O\x1b(B"),
        ("raw-invalid-utf8-subject", b"Subject: \xff\xfe\xc3(\xe2\x82"),
        ("raw-overlong-utf8-subject", b"Subject: \xc0\xaf\xe0\x80\xaf\xed\xa0\x80"),
        ("raw-name", b"X-\xdcber: value"),
        ("raw-all-high-octets", &HIGH),
        ("raw-bidi-subject", "Subject: \u{202e}txt.exe\u{202c} \u{2066}iso\u{2069}".as_bytes()),
        ("raw-zero-width", "Subject: p\u{200b}a\u{200d}y\u{feff}pal".as_bytes()),
        ("raw-combining", "Subject: Z̸̢̛͓a̷̧͝l̵̰̈g̴̢̛o̷̥͐".as_bytes()),
        ("raw-noncharacters", "Subject: \u{fffe}\u{10ffff}\u{fdd0}\u{85}\u{2028}\u{2029}".as_bytes()),
    ] {
        let mut octets = crlf("From: alice@example.org\n").into_bytes();
        octets.extend_from_slice(line);
        octets.extend_from_slice(b"\r\nContent-Type: text/plain\r\n\r\nlook at the header of ");
        octets.extend_from_slice(name.as_bytes());
        octets.extend_from_slice(b"\r\n");
        shelf.raw(name, octets);
    }
}

/// `X-High: ` and every octet from 0x80 on.
const HIGH: [u8; 136] = {
    let mut line = [0; 136];
    let name = b"X-High: ";
    let mut at = 0;
    while at < name.len() {
        line[at] = name[at];
        at += 1;
    }
    let mut octet = 0x80;
    while at < line.len() {
        line[at] = octet;
        octet = octet.wrapping_add(1);
        at += 1;
    }
    line
};
