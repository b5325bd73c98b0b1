#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]
use packetboat_message::card::*;
use packetboat_message::structure::*;
use packetboat_message::text::{find, search};
use std::hint::black_box;
use std::time::Instant;
fn time(name: &str, octets: usize, mut f: impl FnMut()) {
    for _ in 0..3 {
        f();
    }
    let mut n = 1u32;
    loop {
        let t = Instant::now();
        for _ in 0..n {
            f();
        }
        let e = t.elapsed();
        if e.as_millis() > 150 {
            let ns = e.as_nanos() as f64 / f64::from(n);
            println!("{name:40} {:10.2} us  {:8.3} GB/s", ns / 1000.0, octets as f64 / ns);
            return;
        }
        n *= 2;
    }
}
fn main() {
    let hdr = |ct: &str| {
        format!(
            "Received: from mail.example.com (mail.example.com [192.0.2.1])\r\n\tby mx.example.org (Postfix) with ESMTPS id 4XYZ123abc\r\n\tfor <bob@example.org>; Sat, 21 Nov 2026 09:34:45 +0000 (UTC)\r\nDKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=sel;\r\n\th=from:to:subject:date:message-id:mime-version:content-type;\r\n\tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n\tb=abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/abcdefghijkl\r\n\tabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/abcdefghijkl\r\nFrom: Alice Liddell <alice@example.com>\r\nTo: Bob Example <bob@example.org>\r\nCc: Carol <carol@example.net>, dave@example.net\r\nSubject: Re: Meeting next Tuesday about the new plan\r\nDate: Sat, 21 Nov 2026 09:34:45 +0100\r\nMessage-ID: <20261121093445.12345@mail.example.com>\r\nIn-Reply-To: <20261120093445.54321@example.org>\r\nReferences: <20261119093445.1@example.org>\r\n\t<20261120093445.54321@example.org>\r\nMIME-Version: 1.0\r\nUser-Agent: Mozilla Thunderbird\r\nX-Spam-Status: No, score=-1.2 required=5.0\r\nContent-Language: en-GB\r\n{ct}\r\n"
        )
    };
    let para = "Hello Bob, this is a line of usual text that goes on for a while, as they do.\r\n";
    let mut plain =
        hdr("Content-Type: text/plain; charset=UTF-8; format=flowed\r\nContent-Transfer-Encoding: 7bit\r\n");
    while plain.len() < 4000 {
        plain += para;
    }
    let mut alt = hdr("Content-Type: multipart/alternative; boundary=\"------------abcdef0123456789\"\r\n");
    alt += "This is a multi-part message in MIME format.\r\n--------------abcdef0123456789\r\nContent-Type: text/plain; charset=UTF-8; format=flowed\r\nContent-Transfer-Encoding: 7bit\r\n\r\n";
    for _ in 0..10 {
        alt += para;
    }
    alt += "\r\n--------------abcdef0123456789\r\nContent-Type: text/html; charset=UTF-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n<html><body>";
    while alt.len() < 4000 {
        alt += "<p>";
        alt += para;
    }
    alt += "\r\n--------------abcdef0123456789--\r\n";
    let mut big = hdr("Content-Type: multipart/mixed; boundary=\"------------abcdef0123456789\"\r\n");
    big += "\r\n--------------abcdef0123456789\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    let line = format!("{}\r\n", "A1b2C3d4".repeat(10).get(..76).unwrap());
    while big.len() < 32 << 20 {
        big += &line;
    }
    big += "\r\n--------------abcdef0123456789--\r\n";
    let mut bigtext = hdr("Content-Type: text/plain\r\n");
    while bigtext.len() < 8 << 20 {
        bigtext += para;
    }
    let mut cyr = hdr("Content-Type: text/plain; charset=utf-8\r\n");
    while cyr.len() < 8 << 20 {
        cyr += "Привет, мир. Это обычная строка текста, как они бывают, с числом 42.\r\n";
    }
    let mut ger = hdr("Content-Type: text/plain; charset=utf-8\r\n");
    while ger.len() < 8 << 20 {
        ger += "Schöne Grüße aus München: dies ist eine übliche Zeile mit Umlauten, wie sie sind.\r\n";
    }
    let b64 = hdr("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n")
        + &line.repeat(100_000);
    let qp =
        hdr("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n")
            + &"Sch=C3=B6ne Gr=C3=BC=C3=9Fe aus M=C3=BCnchen: dies ist eine =C3=BCbliche Zeil=\r\n"
                .repeat(100_000);
    let prefix = b"Return-Path: <alice@example.com>\r\nDelivered-To: bob@example.org\r\nReceived: from mail.example.com (192.0.2.1) by mx.example.org (Postfix) with ESMTPS id 4XYZ123abc for <bob@example.org>; Sat, 21 Nov 2026 09:34:45 +0000 (UTC)\r\n";
    for (name, m) in
        [("plain 4k", &plain), ("alternative 4k", &alt), ("big base64", &big), ("big text", &bigtext)]
    {
        time(&format!("scan {name}"), m.len(), || {
            let mut s = Scan::new();
            for c in m.as_bytes().chunks(16384) {
                s.push(c);
            }
            black_box(s.finish());
        });
        time(&format!("builder+card {name}"), m.len(), || {
            let mut s = Builder::new();
            for c in m.as_bytes().chunks(16384) {
                s.push(c);
            }
            black_box(s.finish().card(prefix));
        });
        let mut s = Builder::new();
        s.push(m.as_bytes());
        let d = s.finish();
        time(&format!("  one more card {name}"), 0, || {
            black_box(d.card(prefix));
        });
        let octets = d.card(prefix);
        println!("  card {} octets", octets.len());
        let card = Card::parse(&octets).unwrap();
        time(&format!("  envelope from card {name}"), 0, || {
            let card = Card::parse(black_box(&octets)).unwrap();
            let e = card.envelope().unwrap();
            let mut out: Vec<u8> = Vec::with_capacity(600);
            let mut put = |s: Option<&[u8]>| match s {
                None => out.extend_from_slice(b"NIL "),
                Some(s) => {
                    out.push(b'"');
                    out.extend_from_slice(s);
                    out.extend_from_slice(b"\" ");
                }
            };
            put(e.date);
            put(e.subject);
            for l in [e.from, e.sender, e.reply_to, e.to, e.cc, e.bcc] {
                for a in l {
                    put(a.name);
                    put(a.route);
                    put(a.mailbox);
                    put(a.host);
                }
            }
            put(e.in_reply_to);
            put(e.message_id);
            black_box(out);
        });
        let set = FieldSet::new([
            "From",
            "To",
            "Cc",
            "Bcc",
            "Subject",
            "Date",
            "Message-ID",
            "Priority",
            "X-Priority",
            "References",
            "Newsgroups",
            "In-Reply-To",
            "Content-Type",
            "Reply-To",
        ])
        .unwrap();
        time(&format!("  header fields {name}"), 0, || {
            let mut out = Vec::with_capacity(800);
            card.header_fields(set, &mut out);
            black_box(out);
        });
        time(&format!("  sort keys {name}"), 0, || {
            let k = card.sort_keys();
            black_box((k.from(), k.subject()));
        });
    }
    for (name, m) in [
        ("plain 4k", &plain),
        ("big text", &bigtext),
        ("cyrillic", &cyr),
        ("german", &ger),
        ("base64", &b64),
        ("qp", &qp),
    ] {
        let mut s = Scan::new();
        s.push(m.as_bytes());
        let st = s.finish();
        let read = |r: std::ops::Range<u64>, o: &mut Vec<u8>| {
            o.extend_from_slice(&m.as_bytes()[r.start as usize..r.end as usize]);
            Ok::<(), ()>(())
        };
        time(&format!("searchable {name}"), m.len(), || {
            let mut n = 0;
            let _ = search::searchable(&st.root(), search::Scope::Text, prefix, read, |p| {
                n += p.len();
                std::ops::ControlFlow::Continue(())
            });
            black_box(n);
        });
        let mut f = find::Finder::new(["nothing like this"]);
        time(&format!("searchable+find {name}"), m.len(), || {
            f.reset();
            let _ = search::searchable(&st.root(), search::Scope::Text, prefix, read, |p| {
                f.push(p);
                std::ops::ControlFlow::Continue(())
            });
            black_box(f.is_done());
        });
        time(&format!("searchable+grams {name}"), m.len(), || {
            let mut g = find::Grams::new();
            let _ = search::searchable(&st.root(), search::Scope::Text, prefix, read, |p| {
                g.push(p);
                std::ops::ControlFlow::Continue(())
            });
            black_box(g.len());
        });
    }
}
