#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::line::{Input, LineEnding};
use crate::session::Step;

const PATIENCE: Duration = Duration::from_secs(60);

/// A little of everything: greets, echoes, asks its owner, does TLS, loses patience.
#[derive(Default)]
struct Parrot {
    input: Input,
    to_send: Vec<String>,
    asking: bool,
    tls: bool,
    closing: bool,
    deadline: Option<Instant>,
    /// Made wrong on purpose: forgets to clear the input at TLS, or answers by read instead of by line.
    flaw: Option<Flaw>,
}

#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    CountsReads,
    NeverWaits,
    SleepsInThePast,
}

#[derive(Debug)]
enum Parroting {
    May { say: String },
}

impl Parrot {
    fn greeting(flaw: Option<Flaw>) -> Parrot {
        Parrot { to_send: vec!["hello".into()], flaw, ..Parrot::default() }
    }

    fn answer(&mut self, text: &str) {
        assert!(self.asking, "nobody asked");
        self.asking = false;
        self.to_send.push(text.to_owned());
    }
}

impl Session for Parrot {
    type Event = Parroting;

    fn receive(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
        self.deadline = None;
        if self.flaw == Some(Flaw::CountsReads) {
            self.to_send.push("read".into());
        }
    }

    fn end_of_input(&mut self) {
        self.to_send.push("gone".into());
        self.closing = true;
    }

    fn tls_started(&mut self, tls: TlsFacts) {
        self.input.clear();
        self.tls = false;
        self.to_send.push(format!("now in {}", tls.version));
    }

    fn shut_down(&mut self) {
        self.to_send.push("stopping".into());
        self.closing = true;
    }

    fn next(&mut self, now: Instant) -> Step<Parroting> {
        assert!(!self.asking, "a question is open");
        if !self.to_send.is_empty() {
            return Step::Send(Bytes::from(self.to_send.remove(0) + "\r\n"));
        }
        if self.closing {
            return Step::Close;
        }
        if self.tls {
            return Step::StartTls;
        }
        match self.input.take_line(512, LineEnding::Crlf) {
            Ok(Some(line)) => {
                let line = String::from_utf8_lossy(&line).into_owned();
                match line.split_once(' ') {
                    Some(("ask", say)) => {
                        self.asking = true;
                        return Step::Event(Parroting::May { say: say.to_owned() });
                    }
                    None if line == "tls" => self.tls = true,
                    None if line == "bye" => self.closing = true,
                    _ => self.to_send.push(line),
                }
                self.next(now)
            }
            Ok(None) => {
                let deadline = *self.deadline.get_or_insert(now + PATIENCE);
                match self.flaw {
                    Some(Flaw::NeverWaits) => return Step::Send(Bytes::new()),
                    Some(Flaw::SleepsInThePast) => return Step::Wait { until: Some(now) },
                    _ => {}
                }
                if now < deadline {
                    return Step::Wait { until: Some(deadline) };
                }
                self.to_send.push("no patience".into());
                self.closing = true;
                self.next(now)
            }
            Err(error) => {
                self.to_send.push(error.to_string());
                self.next(now)
            }
        }
    }
}

struct Keeper;

impl Owner<Parrot> for Keeper {
    fn event(&mut self, parrot: &mut Parrot, Parroting::May { say }: Parroting) {
        let answer = if say == "no" { "no".to_owned() } else { format!("yes, {say}") };
        parrot.answer(&answer);
    }

    fn order(&mut self, parrot: &mut Parrot, order: &str) -> Result<(), String> {
        parrot.to_send.push(order.to_owned());
        Ok(())
    }
}

fn play(text: &str, flaw: Option<Flaw>) -> Result<(), String> {
    let script = Script::parse("test.txt", text).unwrap();
    run(&script, Role::Server, |_| (Parrot::greeting(flaw), Keeper)).map_err(|error| error.to_string())
}

const GOOD: &str = r"# all that a file can say
S: hello
C: one
C: two two
S: one
S: two *
C> three\r\nfo
C> ur\r\n
S> three\r\nfour\r\n
C>*3 x\r\n
S>*3 x\r\n
C: ask no
C: ask nicely
E: May { say: * }
E: *nicely*
S: no
S: yes, nicely
O: a word from the owner
S: a word from *
C: a*b
S: a\*b
C: * star
S: * star
T: 59s
C: still here
S: still here
C: 1
C: 2
C: 3
S: ...
S: 3
C: tls
C: this is forgotten
S: <starttls>
S: now in TLSv1.3
C: bye
C: this comes too late
S: <close>
";

#[test]
fn a_conversation_that_goes_as_written() {
    play(GOOD, None).unwrap();
}

#[test]
fn the_other_ends_of_a_conversation() {
    for (text, why) in [
        ("S: hello\nT: 60s\nS: no patience\nS: <close>\n", "time"),
        ("S: hello\nT: 1h\nS: no patience\nS: <close>\n", "much time"),
        ("S: hello\nC: <close>\nS: gone\nS: <close>\n", "end of input"),
        ("S: hello\nO: shut down\nS: stopping\nS: <close>\n", "shutting down"),
        ("S: hello\nC>*600 x\nC> \\r\\n\nS: the line is too long\n", "too long"),
    ] {
        play(text, None).unwrap_or_else(|error| panic!("{why}: {error}"));
    }
}

/// Each change of one line must be noticed, at the place where it is.
#[test]
fn a_conversation_that_goes_otherwise() {
    let table = [
        ("S: hello", "S: hallo", 2),
        ("S: one", "S: on", 5),
        ("S: two *", "S: *three", 6),
        ("C: two two", "C: two", 6),
        (r"S>*3 x\r\n", r"S>*4 x\r\n", 11),
        ("E: *nicely*", "E: *rudely*", 15),
        ("S: yes, nicely\n", "", 18),
        (r"S: a\*b", r"S: a\*\*", 21),
        ("S: * star", "S: * s", 23),
        ("T: 59s", "T: 60s", 26),
        ("S: ...\n", "", 30),
        ("C: tls", "C: tl", 34),
        ("S: <starttls>\n", "", 34),
        ("S: now in TLSv1.3", "S: this is forgotten", 35),
        ("S: <close>\n", "", 38),
        ("S: <close>\n", "S: bye\nS: <close>\n", 38),
        ("S: <close>\n", "S: <close>\nS: more\n", 39),
    ];
    for (from, to, line) in table {
        assert!(GOOD.contains(from), "{from}");
        let error = play(&GOOD.replacen(from, to, 1), None).expect_err(from);
        assert!(error.starts_with(&format!("test.txt:{line}:")), "{from} -> {to}: {error}");
    }
}

#[test]
fn a_failure_shows_both_sides() {
    let error = play("S: hello\nC: one\nS: two\n", None).unwrap_err();
    let expected = "test.txt:3: expected\n    two\nbut what came is\n    one\n\
                    what was said:\n    S: hello\n    C: one\n    S: one\n";
    assert_eq!(error, expected);
}

#[test]
fn flawed_sessions_are_found_out() {
    let text = "S: hello\nC: one\nS: read\nS: one\n";
    let error = play(text, Some(Flaw::CountsReads)).unwrap_err();
    assert!(error.contains("(each octet arriving alone)"), "{error}");
    assert!(play("S: hello\n", Some(Flaw::NeverWaits)).unwrap_err().contains("without waiting"));
    assert!(play("S: hello\n", Some(Flaw::SleepsInThePast)).unwrap_err().contains("has passed"));
}

#[test]
fn the_same_file_tests_the_other_side() {
    // The parrot as a client: what it says stands at C now.
    let text = "C: hello\nS: one\nS: two two\nC: one\nC: *\nO: word\nC: word\nS: tls\nS: <starttls>\nC: now in *\n\
                S: <close>\nC: gone\nC: <close>\n";
    check("client.txt", text, Role::Client, |_| (Parrot::greeting(None), Keeper));
}

#[test]
fn globs() {
    let table = [
        ("", "", true),
        ("*", "", true),
        ("*", "anything", true),
        ("a*", "a", true),
        ("a*a", "a", false),
        ("a*b*c", "aXbYc", true),
        ("a*b*c", "aXcYb", false),
        ("*b*b*", "b", false),
        (r"\*", "*", true),
        (r"\*", "x", false),
        ("* OK", "x OK", false),
        ("* OK *", "* OK done", true),
        ("x * y", "x 1 2 y", true),
    ];
    for (glob, text, expected) in table {
        assert_eq!(super::run::matches(glob, text), expected, "{glob:?} {text:?}");
    }
}
