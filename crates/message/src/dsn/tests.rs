#![allow(clippy::unwrap_used)]

use mail_parser::{MessageParser, MimeHeaders};

use super::*;

/// What a test changes of a usual report.
struct Case {
    report: Report<'static>,
    recipient: ReportRecipient<'static>,
    reply: RemoteReply,
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn address(text: &str) -> &'static Address {
    leak(Address::parse(text).unwrap())
}

const HEADER: &[u8] =
    b"Received: by mail.example.org with ESMTPSA id 1;\r\n\tSat, 21 Nov 2026 09:34:45 +0100\r\n\
    From: alice@example.org\r\nTo: bob@example.net\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= und mehr\r\n\
    Message-ID: <1@example.org>\r\nDate: Sat, 21 Nov 2026 09:34:44 +0100\r\n\r\n";

impl Case {
    fn new() -> Case {
        let now: &Zoned = leak("2026-11-21T10:00:00+01:00[+01:00]".parse().unwrap());
        Case {
            report: Report {
                kind: Kind::Failed,
                reporting_mta: leak(Domain::parse("mail.example.org").unwrap()),
                from: address("postmaster@example.org"),
                to: address("alice@example.org"),
                envid: None,
                arrived_at: Some("2026-11-21T08:34:45Z".parse().unwrap()),
                received_from: None,
                seed: [7; 12],
                now,
                utf8: false,
                recipients: &[],
                original: Original { header: HEADER, full: false, content: Content::SevenBit, utf8: false },
            },
            recipient: ReportRecipient {
                original: None,
                address: address("bob@example.net"),
                action: Kind::Failed,
                status: Status(5, 1, 1),
                remote: Some("mx.example.net"),
                diagnostic: None,
                explanation: "",
                last_attempt_at: Some("2026-11-21T08:59:59Z".parse().unwrap()),
                will_retry_until: None,
                log_id: None,
            },
            reply: RemoteReply {
                code: 550,
                enhanced: Some(Status(5, 1, 1)),
                text: "<bob@example.net>: no such user".into(),
            },
        }
    }

    fn report(self) -> Report<'static> {
        let recipient = ReportRecipient { diagnostic: Some(leak(self.reply)), ..self.recipient };
        Report { recipients: leak([recipient]), ..self.report }
    }
}

fn whole(report: &Report<'_>, message: &[u8]) -> String {
    let message = if report.returns_full() { message } else { b"" };
    String::from_utf8([report.before(), message.to_vec(), report.after()].concat()).unwrap()
}

/// The status part as an independent parser finds it.
fn status_of(notice: &str) -> DeliveryStatus {
    let message = MessageParser::default().parse(notice.as_bytes()).unwrap();
    let kind = message.content_type().unwrap();
    assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")));
    assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
    assert_eq!(message.parts[0].sub_parts().unwrap().len(), 3, "{notice}");
    DeliveryStatus::parse(message.parts[2].contents()).unwrap()
}

#[test]
fn a_failure_is_told_in_plain_words_and_for_programs() {
    let mut case = Case::new();
    case.report.envid = Some("QQ 314159+x");
    case.recipient.original = Some(("rfc822", "info@example.org"));
    let report = case.report();
    let notice = whole(&report, b"");
    assert_eq!(notice, include_str!("tests/failure.eml").replace('\n', "\r\n"));
    let status = status_of(&notice);
    assert_eq!(status.envid.as_deref(), Some("QQ 314159+x"));
    assert_eq!(status.reporting_mta, "mail.example.org");
    assert_eq!(status.arrival_date.as_deref(), Some("Sat, 21 Nov 2026 09:34:45 +0100"));
    assert_eq!(
        status.recipients,
        [RecipientStatus {
            original: Some(("rfc822".into(), "info@example.org".into())),
            address: ("rfc822".into(), "bob@example.net".into()),
            action: Kind::Failed,
            status: Status(5, 1, 1),
            remote: Some("mx.example.net".into()),
            diagnostic: Some("550 5.1.1 <bob@example.net>: no such user".into()),
            last_attempt_date: Some("Sat, 21 Nov 2026 09:59:59 +0100".into()),
            will_retry_until: None,
        }]
    );
}

#[test]
fn each_kind_has_its_subject_and_first_words() {
    for (kind, status, subject, words) in [
        (
            Kind::Failed,
            Status(5, 7, 1),
            "Not delivered: your message to bob@example.net",
            "could not be delivered to:",
        ),
        (
            Kind::Delayed,
            Status(4, 4, 1),
            "Delayed: your message to bob@example.net",
            "has not been delivered yet to:",
        ),
        (Kind::Delivered, Status(2, 0, 0), "Delivered: your message to bob@example.net", "was delivered to:"),
        (
            Kind::Relayed,
            Status(2, 0, 0),
            "Passed on: your message to bob@example.net",
            "was passed on to mail systems",
        ),
        (
            Kind::Expanded,
            Status(2, 0, 0),
            "Delivered to a group: your message to bob@example.net",
            "was delivered to the members of:",
        ),
    ] {
        let mut case = Case::new();
        case.report.kind = kind;
        case.recipient.action = kind;
        case.recipient.status = status;
        case.recipient.will_retry_until = Some("2026-11-26T08:34:45Z".parse().unwrap());
        let report = case.report();
        let notice = whole(&report, b"");
        let message = MessageParser::default().parse(notice.as_bytes()).unwrap();
        assert_eq!(message.subject(), Some(subject));
        let text = message.body_text(0).unwrap().replace("\r\n", " ");
        assert!(text.contains(words), "{text}");
        let told = &status_of(&notice).recipients[0];
        assert_eq!((told.action, told.status), (kind, status));
        // RFC 3464 section 2.3.9: it must not appear in other notices.
        assert_eq!(told.will_retry_until.is_some(), kind == Kind::Delayed);
        assert_eq!(
            text.contains("It will be tried until Thu, 26 Nov 2026 09:34:45 +0100"),
            kind == Kind::Delayed
        );
        assert_eq!(text.contains("no such user"), matches!(kind, Kind::Failed | Kind::Delayed));
    }
}

#[test]
fn several_recipients_are_told_apart() {
    let mut case = Case::new();
    case.recipient.remote = None;
    let failed = ReportRecipient { diagnostic: Some(leak(case.reply.clone())), ..case.recipient.clone() };
    let late = ReportRecipient {
        address: address("carol@example.net"),
        action: Kind::Delayed,
        status: Status(4, 4, 1),
        diagnostic: None,
        ..case.recipient.clone()
    };
    let other = ReportRecipient { address: address("dave@example.net"), ..failed.clone() };
    let report = Report { recipients: leak([late, failed, other]), ..case.report };
    let notice = whole(&report, b"");
    assert!(
        notice.contains("Subject: Not delivered: your message to bob@example.net and 1 more\r\n"),
        "{notice}"
    );
    let place = |text: &str| notice.find(text).unwrap_or_else(|| panic!("{text} is not in {notice}"));
    assert!(place("  bob@example.net\r\n") < place("  dave@example.net\r\n"));
    assert!(
        place("  dave@example.net\r\n")
            < place("It has not been delivered yet to:\r\n\r\n  carol@example.net\r\n")
    );
    assert_eq!(status_of(&notice).recipients.len(), 3);

    let many: Vec<ReportRecipient<'_>> =
        std::iter::repeat_n(report.recipients[1].clone(), RECIPIENTS_MAX + 7).collect();
    let report = Report { recipients: &many, ..report };
    let notice = whole(&report, b"");
    assert!(notice.contains("\r\n7 more recipients are not told of here."));
    assert_eq!(status_of(&notice).recipients.len(), RECIPIENTS_MAX);
}

#[test]
fn only_a_failure_brings_back_the_whole_message() {
    let message = [HEADER, b"body \xc3\xa9\r\n"].concat();
    for (kind, full, content, returned) in [
        (Kind::Failed, true, Content::EightBit, true),
        (Kind::Failed, true, Content::Binary, false),
        (Kind::Failed, false, Content::EightBit, false),
        (Kind::Delayed, true, Content::SevenBit, false),
        (Kind::Delivered, true, Content::SevenBit, false),
    ] {
        let mut case = Case::new();
        case.report.kind = kind;
        case.recipient.action = kind;
        case.report.original.full = full;
        case.report.original.content = content;
        let report = case.report();
        assert_eq!(report.returns_full(), returned);
        assert_eq!(report.is_eight_bit(), returned);
        assert!(!report.needs_utf8());
        let notice = whole(&report, &message);
        let parsed = MessageParser::default().parse(notice.as_bytes()).unwrap();
        let part = &parsed.parts[3];
        let kind = part.content_type().unwrap();
        match returned {
            true => {
                assert_eq!((kind.ctype(), kind.subtype()), ("message", Some("rfc822")));
                assert_eq!(part.content_transfer_encoding(), Some("8bit"));
                assert!(notice.contains("body é\r\n"));
            }
            false => {
                assert_eq!((kind.ctype(), kind.subtype()), ("text", Some("rfc822-headers")));
                assert!(part.text_contents().unwrap().ends_with("Date: Sat, 21 Nov 2026 09:34:44 +0100\r\n"));
                assert!(!notice.contains("body"));
            }
        }
    }
}

#[test]
fn an_internationalised_address_is_shown_as_the_notice_may_carry_it() {
    for (utf8, kind, shown) in [
        (false, "delivery-status", "Final-Recipient: utf-8; jos\\x{E9}@b\\x{FC}cher.example\r\n"),
        (true, "global-delivery-status", "Final-Recipient: utf-8; josé@bücher.example\r\n"),
    ] {
        let mut case = Case::new();
        case.report.utf8 = utf8;
        case.recipient.original = Some(("utf-8", "jos\\x{E9}+\\x{2B}@x"));
        case.recipient.address = address("josé@bücher.example");
        case.reply.text = "josé hat zu".into();
        let report = case.report();
        let notice = whole(&report, b"");
        assert!(notice.contains(shown), "{notice}");
        assert!(notice.contains(&format!("Content-Type: message/{kind}\r\n")), "{notice}");
        assert_eq!(notice.is_ascii(), !utf8);
        assert_eq!(report.is_eight_bit(), utf8);
        assert!(!report.needs_utf8(), "nothing in the header of the notice is more than ASCII");
        let told = &status_of(&notice).recipients[0];
        assert_eq!(told.address, ("utf-8".to_owned(), "josé@bücher.example".to_owned()));
        assert_eq!(told.original, Some(("utf-8".to_owned(), "josé++@x".to_owned())));
        let diagnostic = if utf8 { "550 5.1.1 josé hat zu" } else { "550 5.1.1 jos? hat zu" };
        assert_eq!(told.diagnostic.as_deref(), Some(diagnostic));
    }

    // A domain alone has a form that everyone understands.
    let mut case = Case::new();
    case.recipient.address = address("bob@bücher.example");
    let notice = whole(&case.report(), b"");
    assert!(notice.contains("Final-Recipient: rfc822; bob@xn--bcher-kva.example\r\n"), "{notice}");

    // Whoever can be reached over internationalised mail only is written to that way.
    let mut case = Case::new();
    case.report.to = address("chloé@bücher.example");
    let report = case.report();
    assert!(report.needs_utf8() && report.is_eight_bit());
    assert!(whole(&report, b"").contains("\r\nTo: chloé@bücher.example\r\n"));
}

#[test]
fn an_internationalised_message_comes_back_as_one() {
    let header = "Subject: Grüße\r\n\r\n";
    for (utf8, full, kind) in [
        (true, false, "message/global-headers"),
        (true, true, "message/global"),
        (false, false, "text/rfc822-headers"),
        (false, true, "message/rfc822"),
    ] {
        let mut case = Case::new();
        case.report.original = Original { header: header.as_bytes(), full, content: Content::EightBit, utf8 };
        let notice = whole(&case.report(), format!("{header}body").as_bytes());
        let part =
            format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: Grüße\r\n");
        assert!(notice.contains(&part), "{kind} {notice}");
    }
}

#[test]
fn what_the_other_server_said_cannot_leave_its_place() {
    let mut case = Case::new();
    let long = "x".repeat(5000);
    case.reply = RemoteReply {
        code: 550,
        enhanced: None,
        text: format!("first\r\nAction: delivered\n\n--=_r\r\r\nlast {long}"),
    };
    case.report.envid = Some("a\r\nX: y");
    case.recipient.original = Some(("rfc 822", "a\r\nStatus: 2.0.0"));
    case.recipient.explanation = "Line\r\n--=_r--\r\n.";
    let evil = b"Subject: a\0b\r c\nX-Long: 0123456789\nA: b\r\n\r\n";
    let header: Vec<u8> = evil
        .iter()
        .copied()
        .flat_map(|octet| if octet == b'0' { vec![b'z'; 3000] } else { vec![octet] })
        .collect();
    case.report.original.header = leak(header);
    let notice = whole(&case.report(), b"");
    for line in notice.split("\r\n") {
        assert!(line.len() <= 998 && !line.contains(['\r', '\n', '\0']), "{line}");
    }
    assert_eq!(notice.matches("\r\n--=_r070707070707070707070707").count(), 4, "{notice}");
    let status = status_of(&notice);
    assert_eq!(status.envid.as_deref(), Some("a X: y"));
    let told = &status.recipients[0];
    assert_eq!(told.original, Some(("unknown".to_owned(), "a  Status: 2.0.0".to_owned())));
    assert_eq!((told.action, told.status), (Kind::Failed, Status(5, 1, 1)));
    let diagnostic = told.diagnostic.as_deref().unwrap();
    assert!(diagnostic.starts_with("550-first 550-Action: delivered 550- 550---=_r"), "{diagnostic}");
    assert!(diagnostic.len() < REPLY_MAX + 100);
}

#[test]
fn status_codes_are_what_rfc_3463_says() {
    for text in ["5.1.1", "4.4.7", "2.0.0", "5.123.999"] {
        assert_eq!(text.parse::<Status>().unwrap().to_string(), text);
    }
    for text in
        ["", "5", "5.1", "5.1.1.1", "1.1.1", "3.0.0", "5.1.1000", "5.+1.1", "5..1", "55.1.1", " 5.1.1"]
    {
        assert_eq!(text.parse::<Status>(), Err(InvalidStatus), "{text}");
    }
    for (code, enhanced, status) in [
        (550, Some(Status(5, 1, 1)), Status(5, 1, 1)),
        (550, None, Status(5, 0, 0)),
        (450, Some(Status(5, 1, 1)), Status(4, 0, 0)),
        (250, None, Status(2, 0, 0)),
        (999, None, Status(5, 0, 0)),
    ] {
        assert_eq!(RemoteReply { code, enhanced, text: String::new() }.status(), status);
    }
}

#[test]
fn replies_are_shown_line_by_line_or_in_one() {
    let reply = RemoteReply { code: 550, enhanced: Some(Status(5, 7, 1)), text: "no\r\n\tway \n".into() };
    assert_eq!(reply.lines(), ["550-5.7.1 no", "550 5.7.1  way"]);
    assert_eq!(reply.to_string(), "550 5.7.1 no way");
    let bare = RemoteReply { code: 421, enhanced: None, text: String::new() };
    assert_eq!((bare.lines(), bare.to_string()), (vec!["421".to_owned()], "421".to_owned()));
}

#[test]
fn addresses_go_through_unitext_and_back() {
    for (text, encoded) in [
        ("josé@bücher.example", "jos\\x{E9}@b\\x{FC}cher.example"),
        ("a b+c=d\\@x", "a\\x{20}b\\x{2B}c\\x{3D}d\\x{5C}@x"),
        ("😀@x", "\\x{1F600}@x"),
    ] {
        assert_eq!(to_unitext(text), encoded);
        assert_eq!(from_unitext(encoded).as_deref(), Some(text));
        assert!(!text.contains('\\') || from_unitext(text).is_none());
    }
    for text in ["\\x{D800}", "\\x{0}", "\\x{0A}", "\\x{1234567}", "\\y{41}", "\\x{+41}", "\\x{41", "\\"] {
        assert_eq!(from_unitext(text), None, "{text}");
    }
}

#[test]
fn the_status_part_of_others_is_read() {
    let body = "Reporting-MTA: DNS;mx.example.org (really)\nX-Postfix-Queue-ID: 1\n\n\n\
        final-recipient: RFC822;bob@example.net\nACTION: Failed\nStatus: 5.0.0 (no reason)\n\
        Diagnostic-Code: X-Postfix; unknown user:\n    \"bob\"\n\n";
    let status = DeliveryStatus::parse(body.as_bytes()).unwrap();
    let told = &status.recipients[0];
    assert_eq!((told.action, told.status), (Kind::Failed, Status(5, 0, 0)));
    assert_eq!(told.diagnostic.as_deref(), Some("unknown user:    \"bob\""));
    for broken in [
        "",
        "Reporting-MTA: dns; x\n\n",
        "Reporting-MTA: x\n\nFinal-Recipient: rfc822; a@b\nAction: failed\nStatus: 5.0.0\n",
        "Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; a@b\nAction: lost\nStatus: 5.0.0\n",
        "Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; a@b\nAction: failed\nStatus: 5.0\n",
        "Reporting-MTA: dns; x\n\nAction: failed\nStatus: 5.0.0\n",
    ] {
        assert_eq!(DeliveryStatus::parse(broken.as_bytes()), None, "{broken}");
    }
}
