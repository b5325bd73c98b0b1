//! What may become of a message: each ending of a dialogue, its exit code, and what the person is told.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{self, Cursor};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use packetboat_client::send::{
    FailureKind, RecipientStatus, Report, Request, Surroundings, TextFrom, TlsMode, print, send,
};
use support::{OPENING, Scripted, TAKEN};

fn request(servers: &[String]) -> Request {
    Request {
        servers: servers.to_vec(),
        from: Some("alice@example.org".to_owned()),
        to: vec!["bob@example.org".to_owned()],
        text: TextFrom::Given("Tea?\n.\n..\n".to_owned()),
        connect_timeout: Some(Duration::from_secs(20)),
        ..Request::default()
    }
}

fn around() -> Surroundings {
    Surroundings {
        stdin: Box::new(Cursor::new(Vec::new())),
        stdin_is_terminal: false,
        progress: false,
        dialogue: None,
        note: Arc::new(|_| {}),
        ask_password: Box::new(|_| Err(io::ErrorKind::Unsupported.into())),
        env_password: None,
        config_dir: None,
    }
}

/// Has a message sent to a server that follows the script.
fn outcome(script: &str, change: impl FnOnce(&mut Request)) -> Report {
    let server = Scripted::start(script);
    let mut request = request(&[server.place()]);
    change(&mut request);
    let report = send(&request, &mut around());
    server.finish();
    report
}

#[test]
fn a_message_is_taken() {
    let server = Scripted::start(&format!("{OPENING}{TAKEN}"));
    let report = send(&request(&[server.place()]), &mut around());
    let place = server.place();
    let message = String::from_utf8(server.finish()).unwrap();
    assert!(message.ends_with("\r\n\r\nTea?\r\n..\r\n...\r\n"), "{message}");
    assert_eq!((report.ok, report.exit_code), (true, 0), "{report:?}");
    assert_eq!(
        report.success_line().unwrap(),
        format!("Sent to 1 recipient by {place}: 250 2.0.0 taken as 4711")
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["size"], message.replace("\r\n..", "\r\n.").len());
    assert_eq!(json["sender"], "alice@example.org");
    assert_eq!(json["recipients"][0]["status"], "accepted");
    assert_eq!(json["recipients"][0]["reply"]["code"], 250);
    assert_eq!(json["reply"]["enhanced"], "2.0.0");
    assert_eq!(json["server"]["address"], place);
    assert_eq!(json["server"]["tls"], serde_json::Value::Null);
    assert_eq!(json["server"]["extensions"], serde_json::json!(["SIZE", "8BITMIME", "ENHANCEDSTATUSCODES"]));
    assert!(message.contains(&format!("Message-ID: {}\r\n", json["message_id"].as_str().unwrap())));
}

#[test]
fn each_ending_has_its_exit_code() {
    use FailureKind::{Data, Denied, NoUser, Partial, Protocol, Temporary, Unavailable};
    let opened = |rest: &str| format!("{OPENING}{rest}");
    let until_mail: String = OPENING.lines().take(7).map(|line| format!("{line}\n")).collect();
    let mailed = |rest: &str| format!("{until_mail}{rest}");
    let bye = "C: QUIT\nS: 221 bye";
    for (script, kind) in [
        (format!("S: 554 5.7.1 go away\n{bye}"), Unavailable),
        ("S: 421 4.3.2 not now".to_owned(), Temporary),
        ("S: SSH-2.0-OpenSSH".to_owned(), Protocol),
        (String::new(), Temporary),
        (format!("S: 220 x\nC: EHLO*\nS: 502 no\nC: HELO*\nS: 550 no\n{bye}"), Unavailable),
        (mailed(&format!("S: 451 4.3.0 later\n{bye}")), Temporary),
        (mailed(&format!("S: 550 5.1.8 no such sender\n{bye}")), Data),
        (mailed(&format!("S: 530 5.7.0 log in first\n{bye}")), Denied),
        (opened(&format!("S: 550 5.1.1 no such user\n{bye}")), NoUser),
        (opened(&format!("S: 550 5.7.1 relaying denied\n{bye}")), Denied),
        (opened(&format!("S: 450 4.2.1 busy\n{bye}")), Temporary),
        (opened("S: 421 4.3.2 stopping"), Temporary),
        (opened(&format!("S: 250 ok\nC: DATA\nS: 354 go\nMESSAGE\nS: 552 5.3.4 too big\n{bye}")), Data),
        (opened(&format!("S: 250 ok\nC: DATA\nS: 354 go\nMESSAGE\nS: 554 5.7.1 spam\n{bye}")), Denied),
        (opened(&format!("S: 250 ok\nC: DATA\nS: 354 go\nMESSAGE\nS: 451 4.3.0 disk\n{bye}")), Temporary),
        (opened(&format!("S: 250 ok\nC: DATA\nS: 451 4.3.0 disk\n{bye}")), Temporary),
        (opened("S: 250 ok\nC: DATA\nS: 354 go\nMESSAGE"), Temporary),
    ] {
        let report = outcome(&script, |_| {});
        assert_eq!(report.failure.as_ref().map(|failure| failure.kind), Some(kind), "{script}\n{report:?}");
        assert_eq!((report.ok, report.exit_code), (false, kind.code()));
        assert!(report.recipients.iter().all(|recipient| recipient.status != RecipientStatus::Accepted));
        assert!(report.success_line().is_none());
        assert!(!report.failure_lines().is_empty());
    }
    let script = opened(
        "S: 250 ok\nC: RCPT TO:<carol@example.org>\nS: 550 5.1.1 unknown\nC: DATA\nS: 354 go\nMESSAGE\nS: 250 ok\n\
         C: QUIT\nS: 221 bye",
    );
    let report = outcome(&script, |request| request.cc.push("carol@example.org".to_owned()));
    assert_eq!(report.exit_code, Partial.code());
    let statuses: Vec<_> = report.recipients.iter().map(|recipient| recipient.status).collect();
    assert_eq!(statuses, [RecipientStatus::Accepted, RecipientStatus::Refused]);
    let lines = report.failure_lines();
    assert_eq!(lines[1], "  carol@example.org: 550 5.1.1 unknown");
}

#[test]
fn a_message_that_may_have_been_delivered_is_not_called_lost() {
    let report = outcome(&format!("{OPENING}S: 250 ok\nC: DATA\nS: 354 go\nMESSAGE"), |_| {});
    let hint = report.failure.unwrap().hint.unwrap();
    assert!(hint.contains("may have been delivered"), "{hint}");
    assert_eq!(report.recipients[0].status, RecipientStatus::Undecided);
}

#[test]
fn what_a_server_cannot_take_is_not_sent_to_it() {
    let opening = "S: 220 x\nC: EHLO*\nS: 250-x\nS: 250 SIZE 100\nC: QUIT\nS: 221 bye";
    assert_eq!(outcome(opening, |_| {}).exit_code, FailureKind::Data.code());
    let report = outcome(opening, |request| request.to = vec!["zoë@bücher.example".to_owned()]);
    assert_eq!(report.exit_code, FailureKind::Protocol.code());
    assert!(report.failure.unwrap().message.contains("UTF-8"));

    let report = outcome(opening, |request| request.tls = Some(TlsMode::StartTls));
    assert_eq!(report.exit_code, FailureKind::Protocol.code());
    assert!(report.failure.unwrap().hint.unwrap().contains("--tls none"));
}

#[test]
fn logins_are_refused_with_a_code_of_their_own() {
    let opening = "S: 220 x\nC: EHLO*\nS: 250-x\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AGFsaWNlAHNlY3JldA==\n";
    for (reply, kind) in [("535 5.7.8 no", FailureKind::Denied), ("454 4.7.0 later", FailureKind::Temporary)]
    {
        let server = Scripted::start(&format!("{opening}S: {reply}\nC: QUIT\nS: 221 bye"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let mut around = Surroundings {
            env_password: Some("secret".into()),
            dialogue: Some(Arc::new(move |line| sink.lock().unwrap().push(line.to_owned()))),
            ..around()
        };
        let request = Request { user: Some("alice".to_owned()), ..request(&[server.place()]) };
        let report = send(&request, &mut around);
        server.finish();
        assert_eq!(report.exit_code, kind.code(), "{report:?}");
        let shown = lines.lock().unwrap().join("\n");
        assert!(shown.contains("C: AUTH PLAIN ***") && !shown.contains("AGFs"), "{shown}");
        assert!(!format!("{report:?}{}", serde_json::to_string(&report).unwrap()).contains("secret"));
    }
}

#[test]
fn servers_are_tried_in_turn_until_one_decides() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let busy = Scripted::start("S: 421 4.3.2 not now");
    let good = Scripted::start(&format!("{OPENING}{TAKEN}"));
    let unused = Scripted::start("");
    let places = [nobody.clone(), busy.place(), good.place(), unused.place()];
    let report = send(&request(&places), &mut around());
    assert!(report.ok, "{report:?}");
    let earlier: Vec<_> =
        report.earlier.iter().map(|attempt| (&*attempt.place, attempt.failure.kind)).collect();
    assert_eq!(earlier, [(&*nobody, FailureKind::Unavailable), (&*places[1], FailureKind::Temporary)]);
    busy.finish();
    good.finish();
    drop(std::net::TcpStream::connect(unused.address).unwrap());
    unused.finish();

    // One that says no for good has decided.
    let strict = Scripted::start(&format!("{OPENING}S: 550 5.1.1 no\nC: QUIT\nS: 221 bye"));
    let report = send(&request(&[strict.place(), nobody.clone()]), &mut around());
    assert_eq!(report.exit_code, FailureKind::NoUser.code());
    strict.finish();

    let report = send(&request(&["nowhere.invalid".to_owned()]), &mut around());
    assert_eq!(report.exit_code, FailureKind::NoHost.code());
    assert_eq!(report.earlier.len(), 1, "465 and 587 are tried: {report:?}");
    let report = send(&request(&[nobody]), &mut around());
    assert_eq!(report.exit_code, FailureKind::Unavailable.code());
}

#[test]
fn notices_are_asked_for_where_they_are_offered() {
    let dialogue = |dsn: &str, mail: &str, rcpt: &str| {
        format!(
            "S: 220 x\nC: EHLO*\nS: 250-x\nS: 250 {dsn}\nC: MAIL FROM:<alice@example.org>{mail}\nS: 250 ok\n\
             C: RCPT TO:<bob@example.org>{rcpt}\n{TAKEN}"
        )
    };
    let ask = |request: &mut Request| {
        request.notify = Some("failure,delay".to_owned());
        request.ret = Some("headers".to_owned());
        request.envid = Some("a b".to_owned());
    };
    let rcpt = " NOTIFY=FAILURE,DELAY ORCPT=rfc822;bob@example.org";
    assert!(outcome(&dialogue("DSN", " RET=HDRS ENVID=a+20b", rcpt), ask).ok);
    assert!(outcome(&dialogue("HELP", "", ""), ask).ok);
}

#[test]
fn lmtp_tells_of_each_recipient() {
    let script = "S: 220 x LMTP\nC: LHLO*\nS: 250-x\nS: 250 PIPELINING\nC: MAIL*\nC: RCPT*\nC: RCPT*\nC: DATA\n\
        S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nMESSAGE\nS: 250 2.1.5 bob has it\nS: 452 4.2.2 carol is full\n\
        C: QUIT\nS: 221 bye";
    let report = outcome(script, |request| {
        request.lmtp = true;
        request.to.push("carol@example.org".to_owned());
    });
    let statuses: Vec<_> = report.recipients.iter().map(|recipient| recipient.status).collect();
    assert_eq!(statuses, [RecipientStatus::Accepted, RecipientStatus::Deferred]);
    assert_eq!(report.exit_code, FailureKind::Partial.code());
    assert_eq!(serde_json::to_value(&report).unwrap()["server"]["protocol"], "lmtp");
}

#[test]
fn an_attachment_that_shrinks_while_it_is_sent_ends_the_sending() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.bin");
    std::fs::write(&path, vec![7; 3_000_000]).unwrap();
    let server = Scripted::start(&format!("{OPENING}S: 250 ok\nC: DATA\nHOLD\nS: 354 go\n"));
    let request = Request { attach: vec![path.clone()], ..request(&[server.place()]) };
    let sending = std::thread::spawn(move || send(&request, &mut around()));
    server.reached.recv_timeout(support::PATIENCE).unwrap();
    std::fs::write(&path, vec![7; 10]).unwrap();
    server.go_on.send(()).unwrap();
    let report = sending.join().unwrap();
    let failure = report.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Io);
    assert!(failure.message.contains("a.bin") && failure.message.contains("shorter"), "{failure}");
    server.finish();
}

#[test]
fn a_message_can_be_looked_at_without_a_server() {
    let mut out = Vec::new();
    print(&request(&[]), &mut around(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.contains("From: alice@example.org\r\n") && text.ends_with("\r\n\r\nTea?\r\n.\r\n..\r\n"),
        "{text}"
    );
}
