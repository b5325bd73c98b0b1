#![allow(clippy::unwrap_used)]

use super::*;

fn draft(body: &[u8]) -> Draft {
    let mut builder = Builder::new();
    builder.push(body);
    builder.finish()
}

/// A header of which most is nothing that a card has a place for is not too long for one, wherever the rest stands.
#[test]
fn what_matters_is_found_behind_any_number_of_other_fields() {
    let received = "Received: from one by another;\r\n Tue, 1 Jul 2025 10:00:00 +0200\r\n".repeat(1500);
    let long = format!("X-Long: {}\r\n", "x".repeat(200_000));
    let folded = format!("X-Folded: y\r\n{}", " continued, Subject: no\r\n".repeat(10_000));
    let body = format!(
        "From: a@b\r\n{received}{long}{folded}Subject: found\r\n so far\r\n{long}{received}To: c@d\r\n\
         Content-Type: text/html\r\n{folded}\r\nbody"
    );
    for size in [body.len(), 65_536, 1000, 7] {
        let mut builder = Builder::new();
        body.as_bytes().chunks(size).for_each(|chunk| builder.push(chunk));
        let octets = builder.finish().card(b"Return-Path: <>\r\n");
        let card = Card::parse(&octets).unwrap();
        let envelope = card.envelope().unwrap();
        assert_eq!(envelope.subject, Some(&b"found so far"[..]), "{size}");
        assert_eq!(format!("{:?}", envelope.to), "[NIL NIL \"c\" \"d\" ]");
        assert_eq!(card.structure().unwrap().media_type(), (&b"text"[..], &b"html"[..]));
        assert_eq!(card.first_value("Cc"), Some(None), "it is known that there is none");
    }
    // Of one that is too long in what matters the beginning is known, and that it is not all.
    let many = format!("Subject: a\r\n{}Cc: e@f\r\n\r\n", "To: c@d\r\n".repeat(20_000));
    let octets = draft(many.as_bytes()).whole_card(b"");
    let card = Card::parse(&octets).unwrap();
    assert_eq!(card.envelope().unwrap().subject, Some(&b"a"[..]));
    assert_eq!(card.first_value("Cc"), None);
}

#[test]
fn a_card_knows_the_usual() {
    let prefix = b"Return-Path: <alice@example.org>\r\nDelivered-To: bob@example.net\r\nReceived: x\r\n";
    let body = b"From: =?utf-8?Q?Z=C3=B6e?= Liddell <zoe@example.org>\r\n\
        To: \"Bob\" <bob@example.net>, friends: carol@x, Dave <dave@y>;\r\n\
        Subject: Re: [list]\r\n Hello\r\n\
        DATE: Sat, 21 Nov 2026 09:34:45 +0100\r\n\
        Message-ID: <1@example.org>\r\n\
        References: <a@b>\r\n <c@d>\r\n\
        X-Other: y\r\n\
        Content-Type: text/plain; charset=iso-8859-1\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\n\
        Gr=FC=DFe  aus\r\n\r\n K=F6ln=\r\n.\r\n";
    let octets = draft(body).card(prefix);
    assert!(octets.len() < 700, "{} octets", octets.len());
    let card = Card::parse(&octets).unwrap();
    let envelope = card.envelope().unwrap();
    assert_eq!(
        format!("{:?} {:?}", envelope.from, envelope.to),
        "[\"=?utf-8?Q?Z=C3=B6e?= Liddell\" NIL \"zoe\" \"example.org\" ] \
         [\"Bob\" NIL \"bob\" \"example.net\" , NIL NIL \"friends\" NIL , NIL NIL \"carol\" \"x\" , \
         \"Dave\" NIL \"dave\" \"y\" , NIL NIL NIL NIL ]"
    );
    assert_eq!(envelope.reply_to, envelope.from);
    assert_eq!(envelope.subject, Some(&b"Re: [list] Hello"[..]));
    assert_eq!(envelope.message_id, Some(&b"<1@example.org>"[..]));
    assert_eq!((envelope.in_reply_to, envelope.cc.is_empty()), (None, true));
    assert_eq!(card.sent(), Some(Sent { utc: 1_795_250_085_000_000, offset: 3600 }));
    assert_eq!(card.preview(), "Grüße aus Köln.");
    let threading = card.threading();
    assert_eq!(threading.message_id, Some(thread::number(b"1@example.org")));
    assert!(threading.references().eq([thread::number(b"a@b"), thread::number(b"c@d")]));
    let keys = card.sort_keys();
    assert_eq!((keys.from(), keys.to(), keys.cc()), (b"ZOE".to_vec(), b"BOB".to_vec(), Vec::new()));
    assert_eq!(keys.display_from(), "ZO\u{308}E LIDDELL".as_bytes());
    assert_eq!(keys.subject(), subject::Base { text: b"HELLO".to_vec(), is_reply: true });
    let fields = |names: &[&str]| {
        let mut out = Vec::new();
        card.header_fields(FieldSet::new(names).unwrap(), &mut out).then(|| String::from_utf8(out).unwrap())
    };
    assert_eq!(
        fields(&["date", "SUBJECT", "Return-Path", "Importance"]).unwrap(),
        "Return-Path: <alice@example.org>\r\nSubject: Re: [list]\r\n Hello\r\n\
         DATE: Sat, 21 Nov 2026 09:34:45 +0100\r\n\r\n"
    );
    assert_eq!(fields(&["Cc"]).unwrap(), "\r\n");
    assert_eq!(card.first_value("delivered-to"), Some(Some(&b" bob@example.net\r\n"[..])));
    assert_eq!((card.first_value("Cc"), card.first_value("X-Other")), (Some(None), None));
    let root = card.structure().unwrap();
    assert_eq!((root.media_type(), root.lines), ((&b"text"[..], &b"plain"[..]), 4));
    assert_eq!(&body[root.body.start as usize..][..4], b"Gr=F");
}
