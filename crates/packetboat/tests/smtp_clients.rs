//! Mail programs that people use hand letters to the real server, in the clear and under TLS; what arrives in the
//! mailbox is compared with what was handed over.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::PathBuf;

use support::{AWKWARD, Demo, Letter, Pop3, foreign, letter};

const ALICE: &str = "alice@demo.test";
const BOB: &str = "bob@demo.test";

/// The letters in a mailbox, of which there must be so many.
fn mailbox(demo: &Demo, login: &str, expected: usize) -> Vec<Vec<u8>> {
    let mut pop3 = Pop3::login(demo.at("pop3"), login);
    let all = pop3.all();
    pop3.quit();
    assert_eq!(all.len(), expected, "messages of {login}");
    all
}

/// `got` is `sent`, behind the trace header that a server adds.
fn assert_same(got: &[u8], sent: &Letter) {
    let Some(trace) = got.strip_suffix(sent.bytes.as_slice()) else {
        panic!(
            "{}: not what was sent:\n{}\n--- but\n{}",
            sent.name,
            String::from_utf8_lossy(&sent.bytes),
            String::from_utf8_lossy(got)
        );
    };
    assert!(trace.starts_with(b"Return-Path: <"), "{}", String::from_utf8_lossy(trace));
    assert!(trace.windows(12).any(|w| w == b"\r\nReceived: "), "{}", String::from_utf8_lossy(trace));
}

/// The body of `got` is that of `sent`: for clients that touch up headers.
fn assert_same_body(got: &[u8], sent: &Letter) {
    let at = got.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    assert_eq!(
        String::from_utf8_lossy(&got[at + 4..]),
        String::from_utf8_lossy(sent.body()),
        "{}: not what was sent",
        sent.name
    );
}

/// A file of the demo's directory for a client to read.
fn file(demo: &Demo, name: &str, bytes: &[u8]) -> PathBuf {
    let path = demo.dir().with_file_name(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Every awkward body in a letter of its own.
fn awkward_letters() -> Vec<Letter> {
    AWKWARD
        .iter()
        .map(|(name, body)| Letter { name, bytes: [&letter_header(name), *body].concat() })
        .collect()
}

fn letter_header(subject: &str) -> Vec<u8> {
    let plain = letter(subject).bytes;
    let end = plain.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    plain[..end].to_vec()
}

fn curl(demo: &Demo, url: &str, letter: &Letter, more: &str) {
    let letter = file(demo, "curl.eml", &letter.bytes);
    foreign("curl")
        // The path is what curl says in EHLO.
        .args(&format!(
            "-sS --url {url}/tests.example --mail-from {ALICE} --mail-rcpt {BOB} --cacert {} {more}",
            demo.ca()
        ))
        .arg("--upload-file")
        .arg(letter)
        .run();
}

#[test]
fn curl_brings_letters_in_the_clear() {
    let demo = Demo::start();
    let letters = [vec![letter("curl")], awkward_letters()].concat();
    for letter in &letters {
        curl(&demo, &format!("smtp://127.0.0.1:{}", demo.port("smtp")), letter, "");
    }
    for (got, sent) in mailbox(&demo, BOB, letters.len()).iter().zip(&letters) {
        assert_same(got, sent);
    }
}

#[test]
fn curl_submits_with_starttls_and_with_tls_from_the_start() {
    let demo = Demo::start();
    let letter = letter("curl-tls");
    let login = format!("--user {ALICE}:demo");
    let submission = format!("smtp://localhost:{}", demo.port("submission"));
    curl(&demo, &submission, &letter, &format!("{login} --ssl-reqd --login-options AUTH=PLAIN"));
    curl(&demo, &submission, &letter, &format!("{login} --ssl-reqd --login-options AUTH=LOGIN"));
    let submissions = format!("smtps://localhost:{}", demo.port("submissions"));
    curl(&demo, &submissions, &letter, &login);
    for got in mailbox(&demo, BOB, 3) {
        assert_same(&got, &letter);
    }
}

#[test]
fn curl_is_told_why_not() {
    let demo = Demo::start();
    let letter = file(&demo, "curl.eml", &letter("refused").bytes);
    let attempt = |url: String, more: &str| {
        let all = format!("-sS --url {url} --mail-from {ALICE} --cacert {} {more}", demo.ca());
        foreign("curl").args(&all).arg("--upload-file").arg(&letter).attempt()
    };
    let mx = format!("smtp://127.0.0.1:{}", demo.port("smtp"));
    let nobody = attempt(mx.clone(), "--mail-rcpt nobody@demo.test");
    assert_eq!(nobody.code, Some(55), "{}", nobody.text());
    assert!(nobody.err.contains("550"), "{}", nobody.text());
    let relay = attempt(mx, "--mail-rcpt someone@elsewhere.example");
    assert_eq!(relay.code, Some(55), "{}", relay.text());
    // A wrong password: curl's 67, and nothing was sent.
    let submissions = format!("smtps://localhost:{}", demo.port("submissions"));
    let wrong = attempt(submissions, &format!("--mail-rcpt {BOB} --user {ALICE}:wrong"));
    assert_eq!(wrong.code, Some(67), "{}", wrong.text());
    mailbox(&demo, BOB, 0);
}

#[test]
fn swaks_in_every_way_it_knows() {
    let demo = Demo::start();
    let letter = letter("swaks");
    // swaks ends the last line itself.
    let path = file(&demo, "swaks.eml", letter.bytes.strip_suffix(b"\r\n").unwrap());
    let (mx, submission) = (demo.port("smtp"), demo.port("submission"));
    let (submissions, lmtp) = (demo.port("submissions"), demo.port("lmtp"));
    let login = format!("--auth-user {ALICE} --auth-password demo");
    let trust = format!("--tls-verify --tls-ca-path {} --tls-sni localhost", demo.ca());
    let ways = [
        format!("--port {mx}"),
        format!("--port {mx} --pipeline"),
        format!("--port {mx} --protocol SMTP"),
        format!("--port {mx} -tls {trust}"),
        format!("--port {lmtp} --protocol LMTP"),
        format!("--port {submission} --auth PLAIN {login}"),
        format!("--port {submission} -tls {trust} --auth PLAIN {login}"),
        format!("--port {submission} -tls {trust} --auth LOGIN {login}"),
        format!("--port {submissions} -tlsc {trust} --auth PLAIN {login} --pipeline"),
    ];
    for way in &ways {
        let said = foreign("swaks")
            .args(&format!("--server localhost --from {ALICE} --to {BOB} --helo tests.example {way}"))
            .arg("--data")
            .arg(format!("@{}", path.display()))
            .run();
        assert!(!said.text().contains("<** "), "{way}: {}", said.text());
    }
    for got in mailbox(&demo, BOB, ways.len()) {
        assert_same_body(&got, &letter);
    }
}

#[test]
fn swaks_cannot_log_in_with_a_wrong_password() {
    let demo = Demo::start();
    let said = foreign("swaks")
        .args(&format!("--server 127.0.0.1 --port {} --from {ALICE} --to {BOB}", demo.port("submission")))
        .args(&format!("--auth PLAIN --auth-user {ALICE} --auth-password wrong"))
        .attempt();
    assert_eq!(said.code, Some(28), "{}", said.text());
    assert!(said.text().contains("<** 535"), "{}", said.text());
    mailbox(&demo, BOB, 0);
}

#[test]
fn msmtp_with_each_mechanism() {
    let demo = Demo::start();
    let letter = letter("msmtp");
    let (mx, submission, submissions) =
        (demo.port("smtp"), demo.port("submission"), demo.port("submissions"));
    let tls = format!("tls on\ntls_trust_file {}", demo.ca());
    let login = format!("user {ALICE}\npassword demo");
    let ways = [
        format!("port {mx}\ntls off\nauth off"),
        format!("port {submission}\n{tls}\nauth plain\n{login}"),
        format!("port {submission}\n{tls}\nauth login\n{login}"),
        format!("port {submission}\n{tls}\nauth scram-sha-1\n{login}"),
        format!("port {submission}\n{tls}\nauth scram-sha-256\n{login}"),
        // Whatever it likes best of what is offered.
        format!("port {submission}\n{tls}\nauth on\n{login}"),
        format!("port {submissions}\n{tls}\ntls_starttls off\nauth plain\n{login}"),
    ];
    for way in &ways {
        let settings = format!("account default\nhost localhost\nfrom {ALICE}\n{way}\n");
        let settings = file(&demo, "msmtprc", settings.as_bytes());
        foreign("msmtp").arg("--file").arg(settings).arg(BOB).input(letter.unix()).run();
    }
    for got in mailbox(&demo, BOB, ways.len()) {
        assert_same_body(&got, &letter);
    }
}

#[test]
fn smtp_source_hands_over_many() {
    let demo = Demo::start_with(&["--accounts", "1"]);
    let to = "user0000@demo.test";
    let (mx, lmtp) = (demo.port("smtp"), demo.port("lmtp"));
    // 100 messages of 5,000 bytes in 10 sessions at a time; then one message a session; then LMTP.
    let start = |more: &str, port: u16| {
        foreign("smtp-source").args(&format!("{more} -f {ALICE} -t {to} 127.0.0.1:{port}")).run();
    };
    start("-s 10 -m 100 -l 5000", mx);
    start("-s 10 -m 50 -l 100 -d", mx);
    start("-L -s 5 -m 50 -l 60000", lmtp);
    let all = mailbox(&demo, to, 200);
    let of_length = |least: usize| all.iter().filter(|m| m.len() >= least).count();
    assert_eq!((of_length(100), of_length(5000), of_length(60_000)), (200, 150, 50));
}

/// Python's own library, as scripts everywhere use it.
#[test]
fn python_smtplib() {
    let demo = Demo::start();
    let script = r#"
import smtplib, ssl, sys
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
mx, submission, submissions, lmtp = map(int, sys.argv[1:5])
trust = ssl.create_default_context(cafile=sys.argv[5])

def message(subject, body="Grüße aus Köln\n.\n..\n"):
    m = EmailMessage(policy=SMTP)
    m["From"], m["To"], m["Subject"] = "alice@demo.test", "bob@demo.test", subject
    m.set_content(body)
    m.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="octet-stream", filename="bytes.bin")
    return m

with smtplib.SMTP("127.0.0.1", mx) as s:
    s.ehlo("tests.example")
    for name in "pipelining size 8bitmime smtputf8 enhancedstatuscodes starttls".split():
        assert s.has_extn(name), name
    s.send_message(message("clear"))
    assert s.noop()[0] == 250 and s.rset()[0] == 250
    # One good recipient of two: the message is sent, and the other named.
    refused = s.sendmail("alice@demo.test", ["bob@demo.test", "nobody@demo.test"], message("half").as_bytes())
    assert list(refused) == ["nobody@demo.test"] and refused["nobody@demo.test"][0] == 550, refused
    # Raw eight bits, announced.
    s.sendmail("alice@demo.test", ["bob@demo.test"], b"Subject: raw\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n", ["BODY=8BITMIME"])
    s.sendmail("alice@demo.test", ["bob@demo.test"], "Subject: gültig\r\n\r\nutf8\r\n".encode(), ["SMTPUTF8", "BODY=8BITMIME"])

with smtplib.SMTP("localhost", submission) as s:
    s.starttls(context=trust)
    s.login("alice@demo.test", "demo")
    s.send_message(message("starttls"))

with smtplib.SMTP_SSL("localhost", submissions, context=trust) as s:
    s.login("alice@demo.test", "demo")
    s.send_message(message("tls"))

with smtplib.SMTP_SSL("localhost", submissions, context=trust) as s:
    try:
        s.login("alice@demo.test", "wrong")
        raise SystemExit("logged in with a wrong password")
    except smtplib.SMTPAuthenticationError as e:
        assert e.smtp_code == 535, e

with smtplib.LMTP("127.0.0.1", lmtp) as s:
    s.send_message(message("lmtp"))
"#;
    let ports = ["smtp", "submission", "submissions", "lmtp"].map(|p| demo.port(p).to_string());
    foreign("python3").arg("-c").arg(script).args(&ports.join(" ")).arg(demo.ca()).run();
    let all = mailbox(&demo, BOB, 7);
    let text = |n: usize| String::from_utf8(all[n].clone()).unwrap();
    for (n, subject) in ["clear", "half", "raw", "gültig", "starttls", "tls", "lmtp"].iter().enumerate() {
        assert!(text(n).contains(&format!("\r\nSubject: {subject}\r\n")), "{}", text(n));
    }
    assert!(text(2).ends_with("\r\n\r\nGrüße\r\n"), "{}", text(2));
    // Python's parser finds each part again.
    let parse = "import sys, email, email.policy
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
text = m.get_body().get_content().replace('\\r\\n', '\\n')
assert text == 'Grüße aus Köln\\n.\\n..\\n', text
assert next(m.iter_attachments()).get_content() == bytes(range(256)) * 40";
    for n in [0, 1, 4, 5, 6] {
        foreign("python3").arg("-c").arg(parse).input(all[n].clone()).run();
    }
}

/// What a person types, and what the answer must begin with.
const TEXTBOOK: &[(&str, &str)] = &[
    ("HELO mycomputer", "250"),
    ("MAIL FROM: alice@demo.test", "250"), // a space that is not allowed, and no brackets
    ("RCPT TO: nobody@demo.test", "550"),
    ("RCPT TO: <bob@demo.test>", "250"),
    ("data", "354"),
];

const TEXTBOOK_LETTER: &[&str] =
    &["Subject: by hand", "", "Hello Bob,", "..this line begins with a dot", "bye"];

/// The session of every textbook, typed into a program that only carries lines.
fn textbook(program: &str, option: &str) {
    let demo = Demo::start();
    let mut terminal = foreign(program).args(&format!("{option} 127.0.0.1 {}", demo.port("smtp"))).converse();
    terminal.expect("220");
    for (typed, answer) in TEXTBOOK {
        terminal.say(typed);
        terminal.expect(answer);
    }
    TEXTBOOK_LETTER.iter().for_each(|line| terminal.say(line));
    terminal.say(".");
    terminal.expect("250");
    terminal.say("QUIT");
    terminal.expect("221");
    let got = String::from_utf8(mailbox(&demo, BOB, 1).remove(0)).unwrap();
    assert!(got.starts_with("Return-Path: <alice@demo.test>\r\n"), "{got}");
    assert!(got.ends_with("\r\n\r\nHello Bob,\r\n.this line begins with a dot\r\nbye\r\n"), "{got}");
}

#[test]
fn the_textbook_session_by_telnet() {
    textbook("telnet", "");
}

#[test]
fn the_textbook_session_by_netcat() {
    textbook("nc", "-C");
}
