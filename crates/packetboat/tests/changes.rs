//! What happens to those in the middle of something when the administrator changes something under them.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::{Demo, Imap, Pop3};

/// A client that says a line and hears one.
struct Talk(BufReader<TcpStream>);

impl Talk {
    fn with(demo: &Demo, service: &str) -> Talk {
        let stream = TcpStream::connect(demo.at(service)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut talk = Talk(BufReader::new(stream));
        talk.hear();
        talk
    }

    /// Empty when the connection has ended.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        // A server that closes while something is on its way to it resets the connection.
        match self.0.read_line(&mut line) {
            Ok(_) if line.as_bytes().get(3) == Some(&b'-') => self.hear(),
            Ok(_) => line.trim_end().to_owned(),
            Err(_) => String::new(),
        }
    }

    fn tell(&mut self, text: &str) {
        let _ = self.0.get_mut().write_all(format!("{text}\r\n").as_bytes());
    }

    fn say(&mut self, text: &str) -> String {
        self.tell(text);
        self.hear()
    }

    #[track_caller]
    fn says(&mut self, text: &str, expected: &str) {
        let reply = self.say(text);
        assert!(reply.starts_with(expected), "{text}: {reply:?}");
    }

    #[track_caller]
    fn hears_its_end(&mut self, expected: &str) {
        let reply = self.hear();
        assert!(reply.starts_with(expected), "{reply:?}");
        assert_eq!(self.hear(), "", "and the connection ends");
    }
}

fn pop3(demo: &Demo, login: &str, password: &str) -> Talk {
    let mut talk = Talk::with(demo, "pop3");
    talk.says(&format!("USER {login}"), "+OK");
    talk.says(&format!("PASS {password}"), "+OK");
    talk
}

/// A submission by carol, logged in with the password `first`.
fn submission(demo: &Demo) -> Talk {
    let mut talk = Talk::with(demo, "submission");
    talk.says("EHLO client.test", "250");
    // NUL carol@demo.test NUL first
    talk.says("AUTH PLAIN AGNhcm9sQGRlbW8udGVzdABmaXJzdA==", "235");
    talk
}

fn begin_message(talk: &mut Talk, from: &str, to: &str) {
    talk.says(&format!("MAIL FROM:<{from}>"), "250");
    talk.says(&format!("RCPT TO:<{to}>"), "250");
    talk.says("DATA", "354");
    talk.tell("Subject: half a message\r\n\r\nfirst");
}

fn run(demo: &Demo, command: &str, input: &str) -> (bool, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_packetboat"))
        .args(command.split(' '))
        .arg("--data")
        .arg(demo.dir().join("data"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[track_caller]
fn does(demo: &Demo, command: &str, input: &str) {
    let (done, said) = run(demo, command, input);
    assert!(done, "{command}: {said}");
}

#[test]
fn sessions_end_with_the_access_they_were_begun_with() {
    let demo = Demo::start();
    does(&demo, "account add carol@demo.test --password-stdin", "first");
    let apps = ["phone", "tablet"].map(|name| {
        let output = Command::new(env!("CARGO_BIN_EXE_packetboat"))
            .args(["account", "app-password", "add", "carol@demo.test", name, "--data"])
            .arg(demo.dir().join("data"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    });

    // Another password: those begun with the old one end, and those of others do not.
    let mut bob = pop3(&demo, "bob@demo.test", "demo");
    let mut reading = pop3(&demo, "carol@demo.test", "first");
    let mut idle = submission(&demo);
    let mut sending = submission(&demo);
    begin_message(&mut sending, "carol@demo.test", "bob@demo.test");
    let mut mailbox = Imap::connect(demo.at("imap"));
    mailbox.ok("LOGIN carol@demo.test first");
    mailbox.ok("SELECT INBOX");
    let idling = mailbox.begin(b"IDLE");
    assert!(mailbox.line().starts_with('+'), "{idling}");
    does(&demo, "account passwd carol@demo.test --password-stdin", "second");
    reading.hears_its_end("-ERR access to this account has changed");
    idle.hears_its_end("421 4.7.0");
    let farewell = std::iter::repeat_with(|| mailbox.line()).find(|line| !line.starts_with("* OK ")).unwrap();
    assert!(farewell.starts_with("* BYE Access to this account has changed"), "{farewell}");
    sending.tell("second\r\n.");
    sending.hears_its_end("421 4.7.0");
    bob.says("STAT", "+OK 0 0");

    // One app password: not the other.
    let [phone, tablet] = apps;
    let mut reading = pop3(&demo, "carol@demo.test", &phone);
    does(&demo, "account app-password revoke carol@demo.test tablet", "");
    reading.says("NOOP", "+OK");
    does(&demo, "account app-password revoke carol@demo.test phone", "");
    reading.hears_its_end("-ERR access");
    assert!(!tablet.is_empty());

    let mut reading = pop3(&demo, "carol@demo.test", "second");
    does(&demo, "account disable carol@demo.test", "");
    reading.hears_its_end("-ERR access");
    does(&demo, "account enable carol@demo.test", "");
    let mut reading = pop3(&demo, "carol@demo.test", "second");
    does(&demo, "account remove carol@demo.test --yes", "");
    reading.hears_its_end("-ERR access");
    bob.says("QUIT", "+OK");
    let log = demo.whole_log();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn a_recipient_removed_while_the_message_comes_is_a_clear_answer() {
    let demo = Demo::start();
    does(&demo, "account add carol@demo.test --no-password", "");
    let mut alone = Talk::with(&demo, "smtp");
    alone.says("EHLO client.test", "250");
    begin_message(&mut alone, "a@tests.example", "carol@demo.test");
    let mut together = Talk::with(&demo, "smtp");
    together.says("EHLO client.test", "250");
    together.says("MAIL FROM:<a@tests.example>", "250");
    together.says("RCPT TO:<bob@demo.test>", "250");
    together.says("RCPT TO:<carol@demo.test>", "250");
    together.says("DATA", "354");
    does(&demo, "account remove carol@demo.test --yes", "");
    alone.says(".", "550 5.1.1");
    alone.says("QUIT", "221");
    together.says(".", "451 4.2.0");
    together.says("MAIL FROM:<a@tests.example>", "250");
    together.says("RCPT TO:<carol@demo.test>", "550 5.1.1");
    together.says("RCPT TO:<bob@demo.test>", "250");
    together.says("DATA", "354");
    together.says(".", "250");
    let log = demo.whole_log();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn who_is_sending_when_the_grace_ends_is_told() {
    let demo = Demo::start();
    let mut talk = Talk::with(&demo, "smtp");
    talk.says("EHLO client.test", "250");
    begin_message(&mut talk, "a@tests.example", "bob@demo.test");
    let pid = demo.pid().to_string();
    let kill = || assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    kill();
    let deadline = Instant::now() + Duration::from_secs(120);
    // It has heard when nobody is let in any more.
    while TcpStream::connect(demo.at("smtp")).is_ok() {
        assert!(Instant::now() < deadline, "still open");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Asked twice: no more time.
    kill();
    talk.hears_its_end("421 4.3.2");
    assert!(demo.ended().success());
}

#[test]
fn a_domain_goes_under_load_and_nobody_else_notices() {
    const USERS: usize = 4;
    let demo = Demo::start();
    does(&demo, "domain add gone.test", "");
    for n in 0..USERS {
        does(&demo, &format!("account add u{n}@gone.test --no-password"), "");
    }
    let over = AtomicBool::new(false);
    let (stayed, went) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let answers = std::thread::scope(|scope| {
        let sender = |to: String| {
            let (demo, over, stayed, went) = (&demo, &over, &stayed, &went);
            scope.spawn(move || {
                let counter = if to.ends_with("@gone.test") { went } else { stayed };
                let (mut others, mut sent) = (Vec::new(), 0);
                let mut talk = Talk::with(demo, "smtp");
                talk.says("EHLO load.test", "250");
                while !over.load(Ordering::Relaxed) {
                    talk.says("MAIL FROM:<a@tests.example>", "250");
                    let mut reply = talk.say(&format!("RCPT TO:<{to}>"));
                    if reply.starts_with("250") {
                        talk.says("DATA", "354");
                        reply = talk.say("Subject: load\r\n\r\nx\r\n.");
                    }
                    if reply.starts_with("250") {
                        counter.fetch_add(1, Ordering::Relaxed);
                    } else if !others.contains(&reply) {
                        others.push(reply.clone());
                    }
                    // A session has only so many refusals, and so many messages.
                    sent += 1;
                    if !reply.starts_with("250") || sent % 200 == 0 {
                        talk = Talk::with(demo, "smtp");
                        talk.says("EHLO load.test", "250");
                    }
                }
                others
            })
        };
        let mut senders: Vec<_> = (0..USERS).map(|n| sender(format!("u{n}@gone.test"))).collect();
        senders.extend(["alice", "bob"].map(|name| sender(format!("{name}@demo.test"))));
        while went.load(Ordering::Relaxed) < 20 || stayed.load(Ordering::Relaxed) < 20 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let (done, said) = run(&demo, "domain remove gone.test", "");
        assert!(!done && said.contains("still has addresses"), "{said}");
        for n in 0..USERS {
            does(&demo, &format!("account remove u{n}@gone.test --yes"), "");
        }
        does(&demo, "domain remove gone.test", "");
        let enough = stayed.load(Ordering::Relaxed) + 20;
        while stayed.load(Ordering::Relaxed) < enough {
            std::thread::sleep(Duration::from_millis(5));
        }
        over.store(true, Ordering::Relaxed);
        let mut answers: Vec<String> =
            senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
        answers.sort();
        answers.dedup();
        answers
    });
    let known = ["550 5.1.1 ", "550 5.7.1 "];
    assert!(answers.iter().all(|reply| known.iter().any(|start| reply.starts_with(start))), "{answers:?}");
    assert!(answers.iter().any(|reply| reply.starts_with("550 5.7.1")), "{answers:?}");
    let kept: usize = ["alice@demo.test", "bob@demo.test"]
        .map(|login| Pop3::login(demo.at("pop3"), login).count())
        .into_iter()
        .sum();
    assert_eq!(kept, stayed.load(Ordering::Relaxed), "each 250 is a message");
    let log = demo.whole_log();
    assert!(!log.contains("ERROR"), "{log}");
}
