#![allow(clippy::unwrap_used)]

use super::*;

fn draft(body: &[u8]) -> Draft {
    let mut builder = Builder::new();
    builder.push(body);
    builder.finish()
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
