//! What `message` reads and writes.

use std::net::IpAddr;

use bytes::Bytes;
use jiff::{Timestamp, Zoned};
use packetboat_message::compose::Letter;
use packetboat_message::surrogate::Surrogate;
use packetboat_message::trace::{Client, Protocol, Received, With};
use packetboat_message::{Address, Domain, Field, HeaderEnd, HeaderScan, Mailbox, date};

use crate::{bit, parameters, pieces};

/// An address that can be read survives being written, and its domain the way by its A-form.
pub fn address(data: &[u8]) {
    crate::round_trip!(
        data,
        |data: &[u8]| std::str::from_utf8(data).ok().and_then(|text| Address::parse(text).ok()),
        |address: &Address| {
            let text = address.to_string();
            assert!(!text.contains(['\r', '\n', '\0']));
            let ascii = address.domain().to_ascii();
            assert!(ascii.is_ascii());
            assert_eq!(Domain::parse(&ascii).as_ref(), Ok(address.domain()), "by way of {ascii}");
            text.into_bytes()
        }
    );
}

/// A date that can be read is the same moment once written.
pub fn date(data: &[u8]) {
    let read = |data: &[u8]| std::str::from_utf8(data).ok().and_then(date::parse);
    let Some(at) = read(data) else { return };
    let text = date::format(&at);
    let again = read(text.as_bytes()).unwrap_or_else(|| panic!("{text} cannot be read"));
    assert_eq!(again.timestamp().as_second(), at.timestamp().as_second(), "{text}");
}

/// A header scan does not care how the message is cut, and keeps little.
pub fn header(data: &[u8]) {
    let ([how], message) = parameters(data);
    let scan = |how| {
        let mut scan = HeaderScan::new();
        for piece in pieces(message, how) {
            scan.push(piece);
        }
        scan.finish();
        scan
    };
    let (whole, cut) = (scan(0), scan(how));
    assert_eq!(whole.ended(), cut.ended());
    assert_eq!(whole.len(), cut.len());
    assert!(whole.len() <= message.len() as u64);
    for field in FIELDS {
        assert_eq!(whole.count(field), cut.count(field));
        assert_eq!(whole.value(field), cut.value(field));
        assert!(whole.value(field).is_none_or(|value| value.len() <= 998 && !value.contains(&b'\n')));
    }
    assert!(whole.delivered_to().eq(cut.delivered_to()) && whole.delivered_to().count() <= 50);
}

const FIELDS: [Field; 9] = [
    Field::Date,
    Field::From,
    Field::To,
    Field::Cc,
    Field::Bcc,
    Field::MessageId,
    Field::Subject,
    Field::Received,
    Field::ReturnPath,
];

/// Nothing that goes into a letter or a trace can add a field, end the header or break a line.
pub fn compose(data: &[u8]) {
    let ([flags], rest) = parameters(data);
    let text = String::from_utf8_lossy(rest);
    let mut parts = text.split('\u{1}').chain(std::iter::repeat(""));
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let mailboxes = |text: String| Mailbox::parse_list(&text).unwrap_or_default();
    let author = Address::parse("alice@example.org").expect("an address");
    let (name, to, cc, subject, helo) = (next(), next(), next(), next(), next());
    let letter = Letter {
        from: Mailbox::new(Some(&name), author.clone()),
        to: mailboxes(to),
        cc: mailboxes(cc),
        reply_to: Vec::new(),
        subject: bit(flags, 0).then_some(subject),
        date: Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC),
        message_id: "<1@example.org>".to_owned(),
        in_reply_to: Vec::new(),
        references: bit(flags, 1).then(&mut next).into_iter().collect(),
        user_agent: bit(flags, 2).then(&mut next),
        fields: if bit(flags, 3) { vec![(next(), next())] } else { Vec::new() },
        text: bit(flags, 4).then(&mut next),
        html: bit(flags, 5).then(&mut next),
        attachments: Vec::new(),
        eight_bit: bit(flags, 6),
        seed: [7; 12],
    };
    let Ok(composed) = letter.compose() else { return };
    let mut octets = Vec::new();
    std::io::copy(&mut composed.reader(), &mut octets).expect("nothing is read from outside");
    assert_eq!(octets.len() as u64, composed.len());
    assert_eq!(composed.is_eight_bit(), !octets.is_ascii());
    lines_are_sound(&octets);

    let mut scan = HeaderScan::new();
    scan.push(&octets);
    let given = |name: &str| {
        letter.fields.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name)).count() as u32
    };
    assert_eq!(scan.count(Field::From), 1);
    assert_eq!(scan.count(Field::Subject), u32::from(letter.subject.is_some()));
    assert_eq!(scan.count(Field::Bcc), 0);
    assert_eq!(scan.count(Field::Received), given("Received"));
    assert_eq!(scan.count(Field::To), u32::from(!letter.to.is_empty() || letter.cc.is_empty()));
    assert_eq!(scan.count(Field::Cc), u32::from(!letter.cc.is_empty()));
    assert_eq!(scan.count(Field::MessageId), given("Message-ID").max(1));
    received(&helo, &author, &letter.date, flags);
}

fn received(helo: &str, recipient: &Address, at: &Zoned, flags: u8) {
    let field = Received {
        helo: Some(helo),
        client: bit(flags, 7).then_some(Client { ip: IpAddr::from([192, 0, 2, 1]), name: Some(helo) }),
        by: recipient.domain(),
        with: With { protocol: Protocol::Esmtp, utf8: bit(flags, 6), tls: true, authenticated: false },
        tls: Some(("TLSv1.3", helo)),
        id: helo,
        recipient: Some(recipient),
        at,
    }
    .to_field();
    lines_are_sound(field.as_bytes());
    let mut lines = field.split("\r\n");
    assert!(lines.next().is_some_and(|line| line.starts_with("Received:")));
    assert!(lines.all(|line| line.is_empty() || line.starts_with([' ', '\t'])), "{field}");
    assert!(field.ends_with("\r\n") && !field.contains("\r\n\r\n"));
}

/// CRLF and nothing else, and no line over the limit of RFC 5322 section 2.1.1.
fn lines_are_sound(octets: &[u8]) {
    assert!(octets.ends_with(b"\r\n"));
    for line in octets.split_inclusive(|&octet| octet == b'\n') {
        let line = line.strip_suffix(b"\r\n").expect("a bare line feed");
        assert!(!line.contains(&b'\r') && line.len() <= 998, "{} octets", line.len());
    }
}

/// A surrogate does not depend on how the message arrives, and its header is ASCII; an ASCII message stays as it is.
pub fn surrogate(data: &[u8]) {
    let ([how], message) = parameters(data);
    let read = |how| {
        let mut surrogate = Surrogate::new();
        let mut out = Vec::new();
        for piece in pieces(message, how) {
            out.extend_from_slice(&surrogate.push(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&surrogate.finish());
        out
    };
    let whole = read(0);
    assert_eq!(whole, read(how));
    if message.is_ascii() {
        assert_eq!(whole, message);
    }
    let mut header = HeaderScan::new();
    header.push(message);
    if header.finish() == HeaderEnd::EmptyLine {
        let mut scan = HeaderScan::new();
        scan.push(&whole);
        scan.finish();
        assert!(whole.iter().take(scan.len() as usize).all(u8::is_ascii));
    }
}
