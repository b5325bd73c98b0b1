#![allow(clippy::unwrap_used)]

use std::io::Write as _;

use super::*;
use crate::send::testing::around;

fn now() -> Zoned {
    "2026-11-21T09:34:45+01:00[+01:00]".parse().unwrap()
}

fn request() -> Request {
    Request {
        from: Some("Alice <alice@example.org>".to_owned()),
        to: vec!["bob@example.org".to_owned()],
        ..Request::default()
    }
}

fn prepared(request: &Request, stdin: &str) -> Result<(Prepared, String), Failure> {
    let prepared = prepare(request, None, now(), &mut around(stdin))?;
    let mut text = String::new();
    prepared.content.reader().read_to_string(&mut text).unwrap();
    assert_eq!(text.len() as u64, prepared.content.len());
    Ok((prepared, text))
}

fn kind(request: &Request, stdin: &str) -> FailureKind {
    prepared(request, stdin).unwrap_err().kind
}

fn list(addresses: &[Address]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn blind_copies_are_in_the_envelope_alone() {
    let request = Request {
        to: vec!["Bob <bob@example.org>, carol@example.org".to_owned(), "bob@example.org".to_owned()],
        cc: vec!["dave@example.org".to_owned()],
        bcc: vec!["eve@example.org".to_owned(), "dave@example.org".to_owned()],
        ..request()
    };
    let (prepared, text) = prepared(&request, "Tea?\n").unwrap();
    assert_eq!(
        list(&prepared.recipients),
        "bob@example.org carol@example.org dave@example.org eve@example.org"
    );
    assert_eq!(list(prepared.sender.as_slice()), "alice@example.org");
    assert!(text.contains(
        "To: Bob <bob@example.org>, carol@example.org, bob@example.org\r\nCc: dave@example.org\r\n"
    ));
    assert!(!text.contains("eve") && !text.contains("Bcc"), "{text}");
    assert!(text.ends_with("\r\n\r\nTea?\r\n"), "{text}");
    assert!(text.contains(&format!("Message-ID: {}\r\n", prepared.message_id.unwrap())), "{text}");
}

#[test]
fn an_answer_carries_the_thread() {
    let request = Request {
        in_reply_to: vec!["<2@x>".to_owned()],
        references: vec!["<1@x> 2@x".to_owned()],
        fields: vec!["X-Note:  a: b ".to_owned()],
        reply_to: vec!["office@example.org".to_owned()],
        ..request()
    };
    let (_, text) = prepared(&request, "").unwrap();
    for field in
        ["In-Reply-To: <2@x>", "References: <1@x> <2@x>", "X-Note: a: b", "Reply-To: office@example.org"]
    {
        assert!(text.contains(&format!("{field}\r\n")), "{field} in {text}");
    }
    let alone = Request { in_reply_to: vec!["2@x".to_owned()], ..self::request() };
    assert!(prepared_text(&alone).contains("References: <2@x>\r\n"));
}

fn prepared_text(request: &Request) -> String {
    prepared(request, "").unwrap().1
}

#[test]
fn files_are_attached_under_their_names_with_their_types() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, octets: &[u8]| {
        let path = dir.path().join(name);
        File::create(&path).unwrap().write_all(octets).unwrap();
        path
    };
    let request = Request {
        attach: vec![file("a.txt", "é".as_bytes()), file("b.txt", b"\xe9"), file("c.png", b"x")],
        html: Some(file("d.html", b"<p>")),
        ..request()
    };
    let (_, text) = prepared(&request, "not asked for").unwrap();
    for part in [
        "Content-Type: text/html; charset=us-ascii\r\n",
        "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: attachment;\r\n filename=\"a.txt\"\r\n",
        "Content-Type: text/plain\r\nContent-Disposition: attachment;\r\n filename=\"b.txt\"\r\n",
        "Content-Type: image/png\r\nContent-Disposition: attachment;\r\n filename=\"c.png\"\r\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("not asked for"));

    let missing = Request { attach: vec![dir.path().join("none")], ..self::request() };
    assert_eq!(kind(&missing, ""), FailureKind::NoInput);
    let folder = Request { attach: vec![dir.path().to_owned()], ..self::request() };
    assert_eq!(kind(&folder, ""), FailureKind::NoInput);
    // No plain file: its length is found by reading it.
    let device = Request { attach: vec!["/dev/null".into()], ..self::request() };
    assert!(prepared(&device, "").unwrap().1.contains("filename=\"null\"\r\n"));
}

#[test]
fn what_is_missing_or_wrong_is_told_before_a_server_is_asked() {
    let cases = [
        (Request { from: None, ..request() }, FailureKind::Usage),
        (Request { from: Some("alice".to_owned()), ..request() }, FailureKind::Usage),
        (Request { to: vec![], ..request() }, FailureKind::Usage),
        (Request { to: vec!["Alice <<a@x>>".to_owned()], ..request() }, FailureKind::Usage),
        (Request { fields: vec!["no colon".to_owned()], ..request() }, FailureKind::Usage),
        (Request { fields: vec!["Bcc: x@y".to_owned()], ..request() }, FailureKind::Usage),
        (Request { in_reply_to: vec!["<a".to_owned()], ..request() }, FailureKind::Usage),
        (Request { text: TextFrom::File("/nonexistent".into()), ..request() }, FailureKind::NoInput),
        (Request { raw: Some("/nonexistent".into()), ..request() }, FailureKind::NoInput),
        (Request { raw: Some("-".into()), ..request() }, FailureKind::Data),
        (Request { read_recipients: true, from: None, to: vec![], ..request() }, FailureKind::Data),
    ];
    for (request, expected) in cases {
        assert_eq!(kind(&request, "Hello, this is no message.\n"), expected, "{request:?}");
    }
    let latin1 = prepare(&request(), None, now(), &mut crate::send::testing::around_bytes(b"\xe9".to_vec()));
    assert_eq!(latin1.unwrap_err().kind, FailureKind::Data);
}

#[test]
fn a_ready_message_is_left_as_it_is() {
    let request = Request { raw: Some("-".into()), ..request() };
    let (prepared, text) =
        prepared(&request, "Subject: x\nTo: other@example.org\nBcc: eve@x\n\n.\n").unwrap();
    assert_eq!(text, "Subject: x\r\nTo: other@example.org\r\n\r\n.\r\n");
    assert_eq!(list(&prepared.recipients), "bob@example.org");
    assert_eq!(list(prepared.sender.as_slice()), "alice@example.org");
}

#[test]
fn recipients_are_read_from_a_header_that_is_then_completed() {
    let request =
        Request { read_recipients: true, from: None, to: vec!["more@example.org".to_owned()], ..request() };
    let (prepared, text) = prepared(
        &request,
        "From: A <a@example.org>\nTo: B <b@example.org>, c@example.org\nBcc: d@example.org\n\nx\n",
    )
    .unwrap();
    assert_eq!(list(&prepared.recipients), "more@example.org b@example.org c@example.org d@example.org");
    assert_eq!(list(prepared.sender.as_slice()), "a@example.org");
    let id = prepared.message_id.unwrap();
    assert!(id.ends_with("@example.org>"));
    let start = format!(
        "Date: Sat, 21 Nov 2026 09:34:45 +0100\r\nMessage-ID: {id}\r\nFrom: A <a@example.org>\r\nTo: B"
    );
    assert!(text.starts_with(&start), "{text}");

    let complete = "From: a@x\nDate: now\nMessage-ID: <1@x>\nTo: b@x\n\nx\n";
    let (prepared, text) = self::prepared(&request, complete).unwrap();
    assert_eq!(text, complete.replace('\n', "\r\n"));
    assert_eq!(prepared.message_id.as_deref(), Some("<1@x>"));
}

#[test]
fn the_return_path_can_be_another_or_none() {
    for (given, sender) in [("<>", ""), ("", ""), ("bounces@example.org", "bounces@example.org")] {
        let request = Request { envelope_from: Some(given.to_owned()), ..request() };
        assert_eq!(list(prepared(&request, "").unwrap().0.sender.as_slice()), sender);
    }
}
