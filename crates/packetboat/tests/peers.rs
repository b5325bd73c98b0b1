//! The commands of the textbook that are more than mail: ETRN, ATRN and TURN for servers that fetch their mail, SEND,
//! SOML and SAML to who is here, VRFY and EXPN; by foreign programs, and by hand.

#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use support::{Act, Boat, Imap, Moment, Pop3, Sink, USUAL, deliver, foreign, smtp_dialogue};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server behind a line: an account fetches its mail, or it is fetched from this machine.
const OFFICE: &str = "[[peer]]\nname = \"office\"\nmail_for = [\"office.test\"]\nlogins = [\"alice@boat.test\"]\n\
                      networks = [\"127.0.0.0/8\"]\n";

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn mails(boat: &Boat, user: &str) -> usize {
    let mut pop3 = Pop3::login(boat.at("pop3"), user);
    let count = pop3.count();
    pop3.quit();
    count
}

/// The other side of a connection that is turned around, as a peer of any make would be: becomes the server in the middle
/// of it, and prints what it is given. The arguments: port, login or `-`, the command, and what the domain's mail is
/// answered after RCPT.
const PEER: &str = r#"
import base64, socket, sys
port, login, command, answer = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
s = socket.create_connection(("127.0.0.1", port), 60)
f = s.makefile("rwb")
def line():
    return f.readline().decode().rstrip("\r\n")
def say(text):
    f.write(text.encode() + b"\r\n"); f.flush()
def reply():
    while True:
        got = line()
        if got[3:4] != "-": return got
assert reply().startswith("220")
say("EHLO office.test")
assert reply().startswith("250")
if login != "-":
    say("AUTH PLAIN " + base64.b64encode(f"\0{login}\0demo".encode()).decode())
    assert reply().startswith("235")
say(command)
got = reply()
print(got)
if not got.startswith("250"):
    say("QUIT"); sys.exit(0)
say("220 office.test at your service")
while True:
    got = line()
    verb = got[:4].upper()
    print("C:", got)
    if verb == "EHLO": say("250-office.test\r\n250-PIPELINING\r\n250 DSN")
    elif verb == "RCPT": say(answer)
    elif verb == "DATA":
        say("354 go on")
        while (text := line()) != ".": print("M:", text)
        say("250 taken")
    elif verb == "QUIT": say("221 bye"); break
    elif verb == "": break
    else: say("250 ok")
"#;

fn peer(port: u16, login: &str, command: &str, answer: &str) -> String {
    let said = foreign("python3")
        .arg("-c")
        .arg(PEER)
        .arg(port.to_string())
        .arg(login)
        .arg(command)
        .arg(answer)
        .run();
    String::from_utf8(said.out).unwrap()
}

#[test]
fn mail_for_a_peer_waits_until_it_is_fetched() {
    let boat = Boat::start(OFFICE);
    let submission = boat.port("submission");
    let atrn = |login: &str, command: &str| peer(submission, login, command, "250 ok");
    assert!(atrn("alice@boat.test", "ATRN").starts_with("453 "));
    assert!(atrn("bob@boat.test", "ATRN").starts_with("450 "));
    assert!(atrn("alice@boat.test", "ATRN boat.test").starts_with("450 "));
    assert!(atrn("-", "ATRN").starts_with("530 "));
    // From anybody, by way of the port for other servers.
    deliver(boat.at("smtp"), "carol@office.test", b"Subject: first\r\n\r\n.dots\r\n");
    deliver(boat.at("smtp"), "dave@office.test", b"Subject: second\r\n\r\n");
    let said = atrn("alice@boat.test", "ATRN office.test");
    assert!(said.starts_with("250 "), "{said}");
    for expected in
        ["C: EHLO boat.test", "RCPT TO:<carol@office.test>", "M: Subject: first", "M: ..dots", "C: QUIT"]
    {
        assert!(said.contains(expected), "no {expected:?} in\n{said}");
    }
    assert_eq!(said.matches("C: DATA").count(), 2, "{said}");
    assert!(atrn("alice@boat.test", "ATRN").starts_with("453 "));
}

#[test]
fn what_a_peer_puts_off_waits_for_the_next_time() {
    let boat = Boat::start(OFFICE);
    deliver(boat.at("smtp"), "carol@office.test", b"Subject: first\r\n\r\n");
    let turn = |answer: &str| peer(boat.port("smtp"), "-", "TURN", answer);
    let said = turn("450 later");
    assert!(said.starts_with("250 ") && !said.contains("M: "), "{said}");
    let said = until("the mail to be there again", || {
        let said = turn("250 ok");
        said.starts_with("250 ").then_some(said)
    });
    assert!(said.contains("M: Subject: first"), "{said}");
    assert!(turn("250 ok").starts_with("502 ") || turn("250 ok").starts_with("453 "));
}

#[test]
fn fetchmail_has_the_mail_sent_by_etrn() {
    // The line is engaged the first time.
    let sink = Sink::start(USUAL, |moment: &Moment| {
        (moment.verb == "EHLO" && moment.connection == 0).then(|| Act::Say("421 4.3.2 not now".into()))
    });
    let boat = Boat::start(&format!(
        "[queue]\nretry = \"1h\"\nrest = \"1h\"\n[[peer]]\nname = \"office\"\nmail_for = [\"office.test\"]\n\
         send_to = \"127.0.0.1:{}\"\nnetworks = [\"127.0.0.0/8\"]\n",
        sink.port()
    ));
    deliver(boat.at("smtp"), "carol@office.test", b"Subject: first\r\n\r\n");
    // Whoever is being tried is not asked to be tried again.
    until("it to be put off", || {
        boat.run(&["queue", "list", "--json"], "").contains("not now").then_some(())
    });
    let fetchmail = |domain: &str| {
        let settings = boat.dir().join("fetchmailrc");
        let text = format!(
            "poll 127.0.0.1 protocol ETRN service {} no dns fetchdomains {domain} sslproto \"\"\n",
            boat.port("smtp")
        );
        std::fs::write(&settings, text).unwrap();
        std::fs::set_permissions(&settings, PermissionsExt::from_mode(0o600)).unwrap();
        foreign("fetchmail")
            .args("--nodetach --nosyslog -v -f")
            .arg(&settings)
            .arg("--pidfile")
            .arg(boat.dir().join("fetchmail.pid"))
            .env("HOME", boat.dir())
            .attempt()
    };
    let said = fetchmail("office.test");
    assert!(said.text().contains("ETRN< 253"), "{}", said.text());
    let taken = sink.wait_for(1);
    assert_eq!(taken[0].to, ["<carol@office.test>"]);
    boat.has_sent_all();
    let said = fetchmail("office.test");
    assert!(said.text().contains("ETRN< 251"), "{}", said.text());
    assert!(fetchmail("boat.test").text().contains("ETRN< 459"));
}

#[test]
fn fetchmail_fetches_by_atrn() {
    // The server at home, to which fetchmail hands what it is given.
    let home = Sink::good();
    let mut boat = Boat::prepare(&format!("[smtp]\ncram_md5 = true\n{OFFICE}"));
    boat.run(&["account", "apop-secret", "alice@boat.test", "--password-stdin"], "tanstaaf\n");
    boat.serve();
    deliver(boat.at("smtp"), "carol@office.test", b"Subject: first\r\n\r\n.dots\r\n");
    deliver(boat.at("smtp"), "dave@office.test", b"Subject: second\r\n\r\n");
    let fetchmail = |secret: &str| {
        let settings = boat.dir().join("fetchmailrc");
        let text = format!(
            "poll 127.0.0.1 protocol ODMR service {} no dns user \"alice@boat.test\" password \"{secret}\" \
             fetchdomains office.test smtphost 127.0.0.1/{} sslproto \"\"\n",
            boat.port("submission"),
            home.port()
        );
        std::fs::write(&settings, text).unwrap();
        std::fs::set_permissions(&settings, PermissionsExt::from_mode(0o600)).unwrap();
        foreign("fetchmail")
            .args("--nodetach --nosyslog -v -f")
            .arg(&settings)
            .arg("--pidfile")
            .arg(boat.dir().join("fetchmail.pid"))
            .env("HOME", boat.dir())
            .attempt()
    };
    let said = fetchmail("wrong");
    assert!(said.text().contains("535") && home.taken().is_empty(), "{}", said.text());
    let said = fetchmail("tanstaaf");
    assert!(said.text().contains("AUTH CRAM-MD5"), "{}", said.text());
    let taken = home.wait_for(2);
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0].to, ["<carol@office.test>"]);
    assert!(taken[0].text.ends_with(b"Subject: first\r\n\r\n.dots\r\n"));
}

/// A line on bob's screen.
fn alert(imap: &mut Imap) -> String {
    String::from_utf8(imap.response()).unwrap()
}

#[test]
fn messages_for_screens() {
    let boat = Boat::start("[smtp]\nterminals = \"everybody\"\n");
    let write = |verb: &str| {
        let begin = format!("{verb} FROM:<carol@other.test>");
        let lines: [&[u8]; 6] = [
            b"HELO other.test",
            begin.as_bytes(),
            b"RCPT TO:<bob@boat.test>",
            b"DATA",
            b"Subject: =?utf-8?q?Mittagessen=3F?=\r\n\r\nAt the\r\nharbour.\r\n.",
            b"QUIT",
        ];
        smtp_dialogue(boat.at("smtp"), &lines).join("\n")
    };
    // Nobody is there.
    assert!(write("SEND").contains("450 4.2.1"));
    assert!(!write("SOML").contains("450"));
    assert_eq!(mails(&boat, "bob@boat.test"), 1);
    // Bob is there.
    let mut bob = Imap::login(boat.at("imap"), "bob@boat.test");
    let shown = "* OK [ALERT] Message from carol@other.test: Mittagessen?: At the harbour.";
    for verb in ["SEND", "SOML", "SAML"] {
        let said = write(verb);
        assert!(!said.contains("\n4") && !said.contains("\n5"), "{said}");
        assert_eq!(alert(&mut bob), shown, "{verb}");
    }
    assert_eq!(mails(&boat, "bob@boat.test"), 2);
    // In IDLE too, and no more when he has gone.
    bob.begin(b"IDLE");
    assert!(alert(&mut bob).starts_with("+ "));
    write("SEND");
    assert_eq!(alert(&mut bob), shown);
    drop(bob);
    until("bob to be gone", || write("SEND").contains("450 4.2.1").then_some(()));
}

#[test]
fn strangers_may_not_write_to_screens_nor_ask_who_is_here() {
    let boat = Boat::start("");
    let lines: [&[u8]; 5] = [
        b"EHLO other.test",
        b"SEND FROM:<carol@other.test>",
        b"VRFY bob",
        b"EXPN postmaster",
        b"VRFY nobody",
    ];
    let said = smtp_dialogue(boat.at("smtp"), &lines).join("\n");
    assert!(said.contains("502 5.5.1") && !said.contains("bob@"), "{said}");
    assert_eq!(said.matches("252 2.1.5").count(), 3, "{said}");
}

#[test]
fn users_ask_who_is_here_by_telnet() {
    let mut boat = Boat::prepare("");
    boat.run(&["alias", "add", "staff@boat.test", "alice@boat.test", "bob@boat.test"], "");
    boat.serve();
    let mut terminal = foreign("telnet").args(&format!("127.0.0.1 {}", boat.port("submission"))).converse();
    terminal.expect("220");
    for (typed, answer) in [
        ("VRFY bob", "530 5.7.0"),
        ("EHLO mycomputer", "250"),
        ("AUTH PLAIN AGFsaWNlQGJvYXQudGVzdABkZW1v", "235"),
        ("VRFY bob", "250 2.1.5 <bob@boat.test>"),
        ("VRFY <Bob@Boat.Test>", "250 2.1.5 <Bob@boat.test>"),
        ("VRFY nobody", "550 5.1.1"),
        ("VRFY someone@elsewhere.test", "252 2.1.5"),
        ("EXPN staff", "250 2.1.5 <bob@boat.test>"),
        ("EXPN nobody", "550 5.1.1"),
        ("HELP expn", "214 2.0.0"),
        ("QUIT", "221"),
    ] {
        terminal.say(typed);
        terminal.expect(answer);
    }
}

#[test]
fn a_sender_is_told_of_success() {
    let boat = Boat::start("");
    let said = foreign("swaks")
        .args(&format!("--server 127.0.0.1:{} --helo other.test --quit-after EHLO", boat.port("smtp")))
        .run();
    for offered in ["DSN", "DELIVERBY", "SMTPUTF8"] {
        assert!(said.text().contains(&format!("250-{offered}")), "{}", said.text());
    }
    let lines: [&[u8]; 6] = [
        b"EHLO other.test",
        b"MAIL FROM:<alice@boat.test> RET=HDRS ENVID=QQ314 BY=600;N",
        b"RCPT TO:<bob@boat.test> NOTIFY=SUCCESS ORCPT=rfc822;Bob+40boat.test",
        b"DATA",
        b"Subject: told\r\n\r\n.",
        b"QUIT",
    ];
    let said = smtp_dialogue(boat.at("smtp"), &lines).join("\n");
    assert!(!said.contains("\n5"), "{said}");
    assert_eq!(mails(&boat, "bob@boat.test"), 1);
    let mut pop3 = Pop3::login(boat.at("pop3"), "alice@boat.test");
    let notice = String::from_utf8(pop3.retrieve(1)).unwrap();
    pop3.quit();
    for field in
        ["Original-Envelope-Id: QQ314", "Original-Recipient: rfc822; Bob@boat.test", "Action: delivered"]
    {
        assert!(notice.contains(field), "no {field} in\n{notice}");
    }
}

#[test]
fn mail_for_later_comes_later() {
    let boat = Boat::start("");
    let lines: [&[u8]; 8] = [
        b"EHLO mycomputer",
        b"AUTH PLAIN AGFsaWNlQGJvYXQudGVzdABkZW1v",
        b"MAIL FROM:<alice@boat.test> HOLDFOR=99999999",
        b"MAIL FROM:<alice@boat.test> HOLDFOR=3",
        b"RCPT TO:<bob@boat.test>",
        b"DATA",
        b"Subject: later\r\n\r\n.",
        b"QUIT",
    ];
    let begun = Instant::now();
    let said = smtp_dialogue(boat.at("submission"), &lines);
    let codes: Vec<&str> = said.iter().map(|reply| &reply[..3]).collect();
    assert_eq!(codes, ["220", "250", "235", "501", "250", "250", "354", "250", "221"], "{said:?}");
    let early = mails(&boat, "bob@boat.test");
    assert!(early == 0 || begun.elapsed() >= Duration::from_secs(3));
    until("the time to come", || (mails(&boat, "bob@boat.test") == 1).then_some(()));
}
