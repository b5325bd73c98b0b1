//! What becomes of a message that cannot travel as it is: notices about it, and other encodings of it.

use jiff::{Timestamp, Zoned};
use packetboat_message::dsn::{
    Content, DeliveryStatus, Kind, Original, RemoteReply, Report, ReportRecipient, Status, from_unitext,
    to_unitext,
};
use packetboat_message::reencode::{LINE_MAX, Survey, Target};
use packetboat_message::structure::{self, Part, Scan, Structure};
use packetboat_message::text::transfer::{Decoder, Encoding};
use packetboat_message::{Address, Domain};

use crate::{bit, parameters, pieces};

/// Whatever others say, a notice has its three parts, lines that travel, and says what it was told.
pub fn dsn(data: &[u8]) {
    let _ = DeliveryStatus::parse(data);
    let ([flags, kind], rest) = parameters(data);
    let text = String::from_utf8_lossy(rest);
    if let Some(plain) = from_unitext(&text).filter(|plain| !plain.is_empty()) {
        assert_eq!(from_unitext(&to_unitext(&plain)), Some(plain));
    }
    let mut parts = text.split('\u{1}').chain(std::iter::repeat(""));
    let mut next = || parts.next().unwrap_or_default();
    let kinds = [Kind::Failed, Kind::Delayed, Kind::Delivered, Kind::Relayed, Kind::Expanded];
    let kind = kinds[usize::from(kind) % kinds.len()];
    let host = Domain::parse("mail.example.org").expect("a domain");
    let from = Address::parse("postmaster@example.org").expect("an address");
    let given = |text: &str| Address::parse(text).unwrap_or_else(|_| from.clone());
    let (to, address) = (given(next()), given(next()));
    let reply = RemoteReply { code: u16::from(flags) * 4, enhanced: None, text: next().to_owned() };
    let now: Zoned = Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC);
    let recipient = ReportRecipient {
        original: Some((next(), next())).filter(|_| bit(flags, 0)),
        address: &address,
        action: kind,
        status: Status(5, u16::from(flags % 9), u16::from(flags % 11)),
        remote: Some(next()).filter(|_| bit(flags, 1)),
        diagnostic: Some(&reply).filter(|_| bit(flags, 2)),
        explanation: next(),
        last_attempt_at: Some(Timestamp::UNIX_EPOCH),
        will_retry_until: Some(Timestamp::UNIX_EPOCH),
        log_id: Some(next()).filter(|_| bit(flags, 3)),
    };
    let report = Report {
        kind,
        reporting_mta: &host,
        from: &from,
        to: &to,
        envid: Some(next()).filter(|_| bit(flags, 4)),
        arrived_at: None,
        received_from: Some(next()).filter(|_| bit(flags, 5)),
        seed: [0xa5; 12],
        now: &now,
        utf8: bit(flags, 6),
        recipients: &[recipient.clone(), recipient],
        original: Original {
            header: next().as_bytes(),
            full: false,
            content: Content::EightBit,
            utf8: bit(flags, 7),
        },
    };
    let notice = [report.before(), report.after()].concat();
    // The delimiter is a secret until the notice is written.
    if text.contains("=_ra5") {
        return;
    }
    assert_eq!(report.is_eight_bit(), !notice.is_ascii());
    for line in notice.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()) {
        let line = line.strip_suffix(b"\r").expect("lines end in CRLF");
        assert!(line.len() <= LINE_MAX && !line.contains(&b'\r') && !line.contains(&0));
    }
    let structure = scan(&notice);
    let children: Vec<Part<'_>> = structure.root().children().collect();
    assert_eq!(children.len(), 3, "{}", notice.escape_ascii());
    let status = DeliveryStatus::parse(body(&children[1], &notice)).expect("it can be read");
    assert_eq!(status.reporting_mta, "mail.example.org");
    assert_eq!(status.recipients.len(), 2);
    assert!(status.recipients.iter().all(|told| told.action == kind && told.status.0 == 5));
}

/// In another encoding a message fits where it did not, and whoever decodes it finds the same.
pub fn reencode(data: &[u8]) {
    let ([how, target], message) = parameters(data);
    let target = if bit(target, 0) { Target::SevenBit } else { Target::EightBit };
    let survey = |how| {
        let mut survey = Survey::new();
        pieces(message, how).for_each(|piece| survey.push(piece));
        survey.finish(target)
    };
    let plan = survey(how);
    assert_eq!(plan, survey(0));
    let Ok(plan) = plan else { return };
    let write = |how| {
        let mut out = Vec::new();
        let mut writer = plan.writer();
        pieces(message, how).for_each(|piece| writer.push(piece, &mut out));
        writer.finish(&mut out);
        out
    };
    let after = write(how);
    assert_eq!(after, write(0));
    assert!(after.is_empty() || after.ends_with(b"\r\n"));
    compare(&scan(message).root(), message, &scan(&after).root(), &after, target);
}

fn compare(before: &Part<'_>, message: &[u8], after: &Part<'_>, written: &[u8], target: Target) {
    if before.kind == structure::Kind::Message && after.kind == structure::Kind::Leaf {
        assert_eq!(decoded(after, written).as_deref(), Some(body(before, message)));
        return;
    }
    assert_eq!((before.kind, before.media_type()), (after.kind, after.media_type()));
    if before.kind == structure::Kind::Leaf {
        assert_eq!(decoded(before, message), decoded(after, written));
        let body = body(after, written);
        assert!(target == Target::EightBit || body.is_ascii());
        let lines = body.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        assert!(lines.into_iter().all(|line| line.len() <= LINE_MAX && !line.contains(&0)));
    }
    let (mut children, mut written_children) = (before.children(), after.children());
    loop {
        match (children.next(), written_children.next()) {
            (Some(before), Some(after)) => compare(&before, message, &after, written, target),
            (before, after) => {
                assert!(before.is_none() && after.is_none(), "other parts");
                return;
            }
        }
    }
}

fn scan(message: &[u8]) -> Structure {
    let mut scan = Scan::new();
    scan.push(message);
    scan.finish()
}

fn body<'a>(part: &Part<'_>, message: &'a [u8]) -> &'a [u8] {
    &message[part.body.start as usize..part.body.end as usize]
}

fn decoded(part: &Part<'_>, message: &[u8]) -> Option<Vec<u8>> {
    let Some(encoding) = Encoding::named(part.encoding) else { return Some(body(part, message).to_vec()) };
    let mut decoder = Decoder::new(encoding);
    let mut out = Vec::new();
    decoder.push(body(part, message), &mut out);
    decoder.finish(&mut out);
    Some(out)
}
