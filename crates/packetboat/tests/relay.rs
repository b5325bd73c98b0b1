//! Mail to other servers: through the real program to foreign sinks, good ones and bad ones.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use support::{Act, Boat, Demo, Moment, Pop3, Sink, USUAL, foreign, free_port};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(120);
const ALICE: &str = "alice@boat.test";

/// Settings by which mail for other.test goes to this port, whatever fails is tried again at once, and this machine may
/// relay.
fn to_port(port: u16) -> String {
    format!(
        "[queue]\nretry = \"1s\"\nrest = \"1s\"\nrest_max = \"1s\"\n\
         [relay]\ntrusted_networks = \"127.0.0.0/8\"\nunreachable = \"0s\"\nidle = \"2s\"\n\
         [[route]]\ndomains = [\"other.test\", \"*.other.test\"]\nvia = \"host:127.0.0.1:{port}\"\n\
         [[route]]\ndomains = \"*\"\nvia = \"none\"\n"
    )
}

/// Hands a message in, as a host that may relay.
fn hand_in(boat: &Boat, to: &str, more: &[&str]) {
    let server = boat.at("smtp").to_string();
    let mut swaks = foreign("swaks").args("--silent 2 --helo client.test");
    for argument in ["--server", &server, "--from", ALICE, "--to", to].iter().chain(more) {
        swaks = swaks.arg(argument);
    }
    swaks.run();
}

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

/// The messages in alice's mailbox.
fn mailbox(boat: &Boat, user: &str) -> Vec<String> {
    let mut pop3 = Pop3::login(boat.at("pop3"), user);
    let all = pop3.all().into_iter().map(|it| String::from_utf8_lossy(&it).into_owned()).collect();
    pop3.quit();
    all
}

/// Waits for a notice to alice and returns it.
fn notice(boat: &Boat) -> String {
    until("a notice", || mailbox(boat, ALICE).into_iter().next())
}

fn field<'t>(text: &'t str, name: &str) -> &'t str {
    let line = text.lines().find(|line| line.starts_with(name));
    line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).split_once(": ").unwrap().1
}

#[test]
fn a_submission_leaves_by_the_route_of_the_demo() {
    let sink = Sink::good();
    let route = format!("other.test={}", sink.at());
    let demo = Demo::start_with(&["--route", &route]);
    let submit = |to: &str| {
        foreign("swaks")
            .args("--silent 2 --helo client.test -tls --auth PLAIN --auth-user alice@demo.test --auth-password demo")
            .args(&format!("--from alice@demo.test --to {to} --server 127.0.0.1:{}", demo.port("submission")))
            .attempt()
    };
    assert_eq!(submit("carol@other.test,bob@demo.test").code, Some(0));
    let taken = sink.wait_for(1);
    assert!(taken[0].from.starts_with("<alice@demo.test> SIZE="), "{}", taken[0].from);
    assert_eq!(taken[0].to, ["<carol@other.test>"]);
    let text = String::from_utf8_lossy(&taken[0].text).into_owned();
    assert!(text.starts_with("Received: from client.test"), "{text}");
    assert!(text.contains("\r\nThis is a test mailing\r\n"), "{text}");
    assert_eq!(sink.commands()[1], "EHLO demo.test");
    let mut pop3 = Pop3::login(demo.at("pop3"), "bob@demo.test");
    assert_eq!(pop3.count(), 1);
    pop3.quit();
    // There is no other way out of a demo.
    assert_ne!(submit("carol@elsewhere.test").code, Some(0));
    assert_eq!(sink.connections(), 1);
}

#[test]
fn one_connection_carries_many_messages() {
    let sink = Sink::good();
    let boat = Boat::start(&to_port(sink.port()).replace("idle = \"2s\"", "idle = \"100s\""));
    for number in 1..=5 {
        hand_in(&boat, "carol@other.test", &[]);
        sink.wait_for(number);
    }
    // A second one where the first was not done with its message.
    assert!(sink.connections() <= 2, "{:?}", sink.commands());
    // Several recipients of one message at one destination go together.
    hand_in(&boat, "carol@other.test,dave@other.test,erin@sub.other.test", &[]);
    let taken = sink.wait_for(6);
    assert_eq!(taken[5].to.len(), 3);

    let sink = Sink::good();
    let boat = Boat::start(&to_port(sink.port()));
    hand_in(&boat, "carol@other.test", &[]);
    sink.wait_for(1);
    until("the connection to end when nothing comes", || {
        sink.commands().contains(&"QUIT".to_owned()).then_some(())
    });
}

#[test]
fn what_is_refused_comes_back_and_what_is_put_off_is_tried_again() {
    let sink = Sink::start(USUAL, |moment: &Moment| match (moment.verb.as_str(), moment.argument.as_str()) {
        ("RCPT", it) if it.contains("nobody@") => Some(Act::Say("550 5.1.1 never heard of nobody".into())),
        ("RCPT", it) if it.contains("later@") && moment.before < 3 => {
            Some(Act::Say("450 4.2.1 come back".into()))
        }
        _ => None,
    });
    let boat = Boat::start(&to_port(sink.port()));
    hand_in(&boat, "carol@other.test,nobody@other.test,later@other.test", &[]);
    let taken = sink.wait_for(2);
    assert_eq!(taken[0].to, ["<carol@other.test>"]);
    assert_eq!(taken[1].to, ["<later@other.test>"]);
    assert_eq!(taken[0].text, taken[1].text);
    let notice = notice(&boat);
    assert!(notice.contains("never heard of nobody"), "{notice}");
    assert_eq!(field(&notice, "Final-Recipient"), "rfc822; nobody@other.test");
    assert_eq!(field(&notice, "Status"), "5.1.1");
    assert_eq!(field(&notice, "Return-Path"), "<>");
    assert_eq!(mailbox(&boat, ALICE).len(), 1);
}

/// What goes wrong, and how often; the message must arrive once in the end.
#[test]
fn what_goes_wrong_for_a_while_is_got_over() {
    let say = |text: &str| Act::Say(text.to_owned());
    let troubles: Vec<(&str, Act)> = vec![
        ("CONNECT", say("421 4.3.2 not now")),
        ("CONNECT", say("554 5.3.2 no mail today")),
        ("CONNECT", Act::Drop),
        ("CONNECT", Act::Half("220 sink.te".into())),
        ("CONNECT", Act::Nonsense),
        ("EHLO", Act::Drop),
        ("EHLO", say("421 4.3.2 overloaded")),
        ("MAIL", say("451 4.3.0 try later")),
        ("MAIL", say("421 4.3.2 bye")),
        ("MAIL", Act::Drop),
        ("RCPT", say("452 4.3.1 disk full")),
        ("RCPT", Act::Half("25".into())),
        ("RCPT", Act::Nonsense),
        ("DATA", say("451 4.3.0 try later")),
        ("DATA", Act::Drop),
        ("END", say("451 4.3.0 try later")),
        ("END", say("421 4.3.2 bye")),
        ("END", Act::Wait(Duration::from_millis(500))),
        ("QUIT", Act::Drop),
    ];
    // All at once, each with a server and a sink of its own name.
    std::thread::scope(|scope| {
        for (number, (verb, act)) in troubles.iter().enumerate() {
            scope.spawn(move || {
                // Do not start them all in the same moment.
                std::thread::sleep(Duration::from_millis(number as u64 * 20));
                let (name, does) = ((*verb).to_owned(), act.clone());
                let sink = Sink::start(USUAL, move |moment| {
                    (moment.verb == name && moment.before < 2).then(|| does.clone())
                });
                let boat = Boat::start(&to_port(sink.port()));
                hand_in(&boat, "carol@other.test", &[]);
                sink.wait_for(1);
                boat.has_sent_all();
                assert_eq!(sink.taken().len(), 1, "{verb} {act:?}: {:?}", sink.commands());
                assert!(mailbox(&boat, ALICE).is_empty(), "{verb} {act:?}");
            });
        }
    });
}

#[test]
fn a_server_that_drops_after_the_end_gets_the_message_again() {
    let sink = Sink::start(USUAL, |moment: &Moment| match moment.verb.as_str() {
        "END" if moment.before == 0 => Some(Act::Drop),
        _ => None,
    });
    let boat = Boat::start(&to_port(sink.port()));
    hand_in(&boat, "carol@other.test", &[]);
    sink.wait_for(1);
    // Nobody knows whether it had arrived the first time (RFC 1047).
    assert_eq!(sink.received().len(), 2);
}

#[test]
fn tls_that_fails_is_done_without() {
    let offers: Vec<&str> = USUAL.iter().copied().chain(["STARTTLS"]).collect();
    let sink = Sink::start(&offers, |_| None);
    let boat = Boat::start(&to_port(sink.port()));
    hand_in(&boat, "carol@other.test", &[]);
    sink.wait_for(1);
    assert_eq!(sink.connections(), 2);
    assert!(sink.commands().contains(&"STARTTLS".to_owned()));
}

#[test]
fn tls_that_must_be_is_waited_for() {
    let sink = Sink::good();
    let boat = Boat::start(&to_port(sink.port()).replace("[relay]", "[relay]\ntls = \"required\""));
    hand_in(&boat, "carol@other.test", &[]);
    until("two tries", || (sink.connections() >= 2).then_some(()));
    assert!(sink.taken().is_empty() && !sink.commands().iter().any(|it| it.starts_with("MAIL")));
}

#[test]
fn tls_between_two_of_us() {
    let demo = Demo::start();
    let settings = to_port(demo.port("smtp")).replace("\"*.other.test\"]", "\"demo.test\"]");
    let boat = Boat::start(&settings);
    hand_in(&boat, "bob@demo.test", &[]);
    let text = until("the message", || {
        let mut pop3 = Pop3::login(demo.at("pop3"), "bob@demo.test");
        let text = pop3.all().into_iter().next();
        pop3.quit();
        text
    });
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("with ESMTPS") && text.contains("TLS1_3") || text.contains("TLSv1.3"), "{text}");
}

#[test]
fn a_smarthost_is_logged_in_to() {
    let demo = Demo::start();
    for (service, tls) in [("submission", "starttls"), ("submissions", "implicit")] {
        let ca = demo.ca();
        let boat = Boat::prepare("");
        std::fs::write(boat.dir().join("password"), "demo\n").unwrap();
        boat.write_settings(&format!(
            "{}[[route]]\nsenders = \"@demo.test\"\nvia = \"smarthost:demo\"\n\
             [[smarthost]]\nname = \"demo\"\nhost = \"localhost\"\nport = {}\ntls = \"{tls}\"\nca = \"{ca}\"\n\
             user = \"alice@demo.test\"\npassword_file = \"password\"\n",
            to_port(9),
            demo.port(service)
        ));
        let mut boat = boat;
        boat.serve();
        hand_in(&boat, "bob@demo.test", &["--from", "alice@demo.test", "--h-Subject", tls]);
        until("the message", || {
            let mut pop3 = Pop3::login(demo.at("pop3"), "bob@demo.test");
            let all = pop3.all();
            pop3.quit();
            let found = all
                .iter()
                .map(|it| String::from_utf8_lossy(it))
                .find(|it| it.contains(&format!("Subject: {tls}")))?;
            assert!(found.contains("with ESMTPSA"), "{found}");
            Some(())
        });
    }
}

#[test]
fn a_wrong_password_bounces_nothing() {
    let demo = Demo::start();
    let mut boat = Boat::prepare("");
    std::fs::write(boat.dir().join("password"), "wrong\n").unwrap();
    boat.write_settings(&format!(
        "{}[[route]]\nsenders = \"@boat.test\"\nvia = \"smarthost:demo\"\n\
         [[smarthost]]\nname = \"demo\"\nhost = \"localhost\"\nport = {}\nca = \"{}\"\n\
         user = \"alice@demo.test\"\npassword_file = \"password\"\n",
        to_port(9),
        demo.port("submission"),
        demo.ca()
    ));
    boat.serve();
    hand_in(&boat, "bob@demo.test", &[]);
    boat.logs("Auth");
    assert!(mailbox(&boat, ALICE).is_empty());
    // The administrator writes the right one; bob's server wants to know who alice is, and she is not one of its people.
    std::fs::write(boat.dir().join("password"), "demo\n").unwrap();
    boat.reload();
    let notice = notice(&boat);
    assert!(notice.contains("not owned by the authenticated user"), "{notice}");
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let sink = Sink::lmtp(|moment: &Moment| match (moment.verb.as_str(), moment.argument.as_str()) {
        ("END", it) if it.contains("full@") && moment.before < 3 => Some(Act::Say("452 4.2.2 full".into())),
        ("END", it) if it.contains("gone@") => Some(Act::Say("550 5.1.6 gone away".into())),
        _ => None,
    });
    let settings = to_port(9).replace("host:127.0.0.1:9", &format!("lmtp:127.0.0.1:{}", sink.port()));
    let boat = Boat::start(&settings);
    hand_in(&boat, "carol@other.test,full@other.test,gone@other.test", &[]);
    let taken = sink.wait_for(2);
    assert_eq!(taken[0].to, ["<carol@other.test>"]);
    assert_eq!(taken[1].to, ["<full@other.test>"]);
    assert!(sink.commands().iter().any(|it| it == "LHLO boat.test"));
    let notice = notice(&boat);
    assert!(notice.contains("gone away") && field(&notice, "Status") == "5.1.6", "{notice}");
}

#[test]
fn more_recipients_than_a_server_takes_at_once_go_in_rounds() {
    // Three in each transaction. There may be several connections at once.
    let named = Mutex::new(HashMap::<usize, usize>::new());
    let sink = Sink::start(USUAL, move |moment: &Moment| {
        let mut named = named.lock().unwrap();
        let named = named.entry(moment.connection).or_default();
        match moment.verb.as_str() {
            "MAIL" => *named = 0,
            "RCPT" => *named += 1,
            _ => {}
        }
        (moment.verb == "RCPT" && *named > 3).then(|| Act::Say("452 4.5.3 too many".into()))
    });
    let boat = Boat::start(&to_port(sink.port()));
    let to: Vec<String> = (0..10).map(|n| format!("user{n}@other.test")).collect();
    hand_in(&boat, &to.join(","), &[]);
    let reached = || {
        let mut all: Vec<String> = sink.taken().into_iter().flat_map(|it| it.to).collect();
        all.sort();
        all
    };
    let all = until("all of them", || Some(reached()).filter(|it| it.len() >= 10));
    assert_eq!(all.len(), 10, "{all:?}");
    let rounds: Vec<usize> = sink.taken().iter().map(|it| it.to.len()).collect();
    assert!(rounds.iter().all(|named| *named <= 3), "{rounds:?}");
}

#[test]
fn without_smtputf8_such_mail_comes_back_with_reason() {
    let sink = Sink::start(&["PIPELINING", "8BITMIME"], |_| None);
    let boat = Boat::start(&to_port(sink.port()));
    let at = boat.at("smtp");
    let replies = support::smtp_dialogue(
        at,
        &[
            b"EHLO client.test",
            "MAIL FROM:<alice@boat.test> SMTPUTF8".as_bytes(),
            "RCPT TO:<zo\u{eb}@other.test>".as_bytes(),
            b"DATA",
            "Subject: ol\u{e9}\r\n\r\nhi\r\n.".as_bytes(),
            b"QUIT",
        ],
    );
    assert!(replies[5].starts_with("250"), "{replies:?}");
    let notice = notice(&boat);
    assert!(field(&notice, "Status") == "5.6.7" && notice.contains("SMTPUTF8"), "{notice}");
    assert!(sink.taken().is_empty());
}

#[test]
fn what_is_declared_and_has_nothing_of_it_goes_without_smtputf8() {
    let sink = Sink::start(&["PIPELINING", "8BITMIME"], |_| None);
    let boat = Boat::start(&to_port(sink.port()));
    let hand_in = |body: &str| {
        let lines: [&[u8]; 6] = [
            b"EHLO client.test",
            b"MAIL FROM:<alice@boat.test> SMTPUTF8 BODY=8BITMIME",
            b"RCPT TO:<carol@other.test>",
            b"DATA",
            body.as_bytes(),
            b"QUIT",
        ];
        let replies = support::smtp_dialogue(boat.at("smtp"), &lines);
        assert!(replies[5].starts_with("250"), "{replies:?}");
    };
    hand_in("Subject: old\r\n\r\nGr\u{fc}\u{df}e\r\n.");
    let taken = sink.wait_for(1);
    assert!(
        !taken[0].from.contains("SMTPUTF8") && taken[0].from.contains("BODY=8BITMIME"),
        "{}",
        taken[0].from
    );
    // In the header of a part it would be lost.
    hand_in(
        "Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
         Content-Disposition: attachment; filename=\"ol\u{e9}\"\r\n\r\nx\r\n--b--\r\n.",
    );
    let notice = notice(&boat);
    assert!(field(&notice, "Status") == "5.6.7", "{notice}");
    assert_eq!(sink.taken().len(), 1);
}

#[test]
fn eight_bits_are_rewritten_for_whoever_takes_seven() {
    let sink = Sink::start(&["PIPELINING"], |_| None);
    let boat = Boat::start(&to_port(sink.port()));
    let body = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                Content-Transfer-Encoding: 8bit\r\n\r\nGr\u{fc}\u{df}e\r\n.";
    let replies = support::smtp_dialogue(
        boat.at("smtp"),
        &[
            b"EHLO client.test",
            b"MAIL FROM:<alice@boat.test> BODY=8BITMIME",
            b"RCPT TO:<carol@other.test>",
            b"DATA",
            body.as_bytes(),
            b"QUIT",
        ],
    );
    assert!(replies[5].starts_with("250"), "{replies:?}");
    let taken = sink.wait_for(1);
    let text = String::from_utf8(taken[0].text.clone()).unwrap();
    // "Grüße", CRLF.
    assert!(text.is_ascii() && text.ends_with("\r\n\r\nR3LDvMOfZQ0K\r\n"), "{text}");
    assert!(text.contains("Content-Transfer-Encoding: base64"), "{text}");
    assert!(!taken[0].from.contains("BODY"), "{}", taken[0].from);
}

#[test]
fn chunks_are_sent_to_whoever_takes_them() {
    let offers: Vec<&str> = USUAL.iter().copied().chain(["CHUNKING"]).collect();
    let sink = Sink::start(&offers, |_| None);
    let boat = Boat::start(&to_port(sink.port()));
    let body = ".\n..\n".to_owned() + &"A line of a long message.\n".repeat(10_000);
    let file = boat.dir().join("body");
    std::fs::write(&file, body).unwrap();
    hand_in(&boat, "carol@other.test", &["--body", &format!("@{}", file.display())]);
    let taken = sink.wait_for(1);
    let text = String::from_utf8(taken[0].text.clone()).unwrap();
    let expected = "\r\n\r\n.\r\n..\r\n".to_owned() + &"A line of a long message.\r\n".repeat(10_000);
    assert!(text.contains(&expected) && text.len() < expected.len() + 1000, "{} octets", text.len());
    assert!(
        sink.commands().iter().any(|it| it.starts_with("BDAT"))
            && !sink.commands().contains(&"DATA".to_owned())
    );
}

#[test]
fn a_destination_that_is_not_there_is_tried_until_it_is() {
    let place = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let boat = Boat::start(&to_port(place.port()));
    hand_in(&boat, "carol@other.test", &[]);
    boat.logs("not connected");
    let sink = Sink::start_at(place, USUAL, false, |_| None);
    sink.wait_for(1);
}

#[test]
fn what_is_in_hand_when_the_server_ends_is_finished_or_goes_again() {
    let sink = Sink::start(USUAL, |moment: &Moment| {
        (moment.verb == "END" && moment.before < 1).then(|| Act::Wait(Duration::from_secs(1)))
    });
    let mut boat = Boat::start(&to_port(sink.port()));
    hand_in(&boat, "carol@other.test", &["--h-Subject", "first"]);
    until("the message to be under way", || {
        sink.commands().iter().any(|it| it.starts_with("END")).then_some(())
    });
    boat.stop();
    assert_eq!(sink.wait_for(1).len(), 1);
    boat.serve();
    hand_in(&boat, "carol@other.test", &["--h-Subject", "second"]);
    sink.wait_for(2);
    // Killed in the middle, it goes again: nobody knows whether the server would have taken it.
    assert_eq!(sink.received().len(), 2);
    drop(boat);

    let sink = Sink::start(USUAL, |moment: &Moment| {
        (moment.verb == "DATA" && moment.before < 1).then(|| Act::Wait(Duration::from_secs(2)))
    });
    let mut boat = Boat::start(&to_port(sink.port()));
    hand_in(&boat, "carol@other.test", &[]);
    until("the message to be under way", || sink.commands().contains(&"DATA".to_owned()).then_some(()));
    boat.kill();
    boat.serve();
    sink.wait_for(1);
    boat.has_sent_all();
    assert_eq!(sink.taken().len(), 1);
}

#[test]
fn a_reload_changes_the_routes() {
    let (first, second) = (Sink::good(), Sink::good());
    let boat = Boat::start(&to_port(first.port()));
    hand_in(&boat, "carol@other.test", &[]);
    first.wait_for(1);
    boat.write_settings(&to_port(second.port()));
    boat.reload();
    boat.logs("settings read again");
    hand_in(&boat, "carol@other.test", &[]);
    second.wait_for(1);
    assert_eq!(first.taken().len(), 1);
    // Who is not trusted any more may not relay.
    boat.write_settings(&to_port(second.port()).replace("127.0.0.0/8", "192.0.2.0/24"));
    boat.reload();
    boat.logs_times("settings read again", 2);
    let replies = support::smtp_dialogue(
        boat.at("smtp"),
        &[b"EHLO x", b"MAIL FROM:<alice@boat.test>", b"RCPT TO:<carol@other.test>"],
    );
    assert!(replies[3].starts_with("550"), "{replies:?}");
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn postfix_smtp_sink_takes_a_thousand() {
    let place = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let dumps = tempfile::tempdir().unwrap();
    let mut sink = Command::new(support::program_path("smtp-sink"));
    sink.current_dir(dumps.path());
    // Started by root, it wants to be somebody else.
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    if root {
        std::os::unix::fs::chown(dumps.path(), Some(65534), None).unwrap();
        sink.args(["-u", "nobody"]);
    }
    sink.args(["-d", "mail."]).arg(place.to_string()).arg("100");
    let _sink = Running(sink.stdin(Stdio::null()).spawn().unwrap());
    until("the sink listens", || std::net::TcpStream::connect(place).ok());
    let boat = Boat::start(&to_port(place.port()));
    foreign("smtp-source")
        .args("-s 10 -m 1000 -l 4000 -f alice@boat.test -t carol@other.test")
        .arg(boat.at("smtp").to_string())
        .run();
    let count = || std::fs::read_dir(dumps.path()).unwrap().count();
    until("all to arrive", || (count() >= 1000).then_some(()));
    boat.has_sent_all();
    assert_eq!(count(), 1000);
    let metrics = until("all to be counted", || {
        let metrics = foreign("curl").args(&format!("-s http://{}/metrics", boat.at("metrics"))).run().text();
        let delivered = metrics.contains("packetboat_relay_recipients_total{outcome=\"delivered\"} 1000");
        (delivered && metrics.contains("packetboat_queue_recipients 0\n")).then_some(metrics)
    });
    assert!(metrics.contains("packetboat_trace_events_lost 0\n"), "{metrics}");
}
