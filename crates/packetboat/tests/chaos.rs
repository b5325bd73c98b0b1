//! Two servers in a row and a last one that misbehaves, while either of the two is killed again and again: in the end
//! every message that was accepted has arrived, or has come back to its sender with a notice that says why.
//!
//! Exactly once is what SMTP can promise, but for one moment (RFC 1047): after the final dot, until the yes is on disk on
//! the sending side. A message may come twice only if the last server left it unclear in that moment, or if a server was
//! killed, and then no more of them than there were connections.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "chaos/sink.rs"]
mod sink;
mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sink::{Heard, Sink, Story, refusal};
use support::{Boat, Pop3};

/// Messages that are accepted.
const MESSAGES: u32 = 2000;
/// Programs that hand them in.
const PROGRAMS: usize = 8;
/// Connections from one server to the next.
const CONNECTIONS: usize = 4;
/// How often a server is killed.
const KILLS: usize = 12;
/// How long it may take until everything has arrived.
const PATIENCE: Duration = Duration::from_secs(900);

/// Numbers from a seed.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        let mut random = Random(seed | 1);
        for _ in 0..4 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// The header's end and the body of a message.
pub(crate) fn body(number: u32) -> String {
    let lines = match number % 100 {
        0 => 20_000,
        n => 1 + n * 2,
    };
    let mut text = format!("Subject: message {number}\r\n\r\n");
    for line in 0..lines {
        text.push_str(&format!("{line} of message {number}\r\n"));
    }
    text
}

/// Mail for this domain goes to this port, and what fails is tried again at once.
fn settings(port: u16) -> String {
    format!(
        "[queue]\nretry = \"1s\"\nrest = \"1s\"\nrest_max = \"1s\"\nconnections_per_destination = {CONNECTIONS}\n\
         connections_at_first = {CONNECTIONS}\n\
         [relay]\ntrusted_networks = \"127.0.0.0/8\"\nunreachable = \"0s\"\nconnections_per_host = {CONNECTIONS}\n\
         connect_timeout = \"60s\"\ngreeting_timeout = \"60s\"\ncommand_timeout = \"60s\"\ndata_timeout = \"60s\"\n\
         end_timeout = \"60s\"\n\
         [[route]]\ndomains = \"sink.test\"\nvia = \"host:127.0.0.1:{port}\"\n\
         [[route]]\ndomains = \"*\"\nvia = \"none\"\n"
    )
}

/// A program that hands messages in, and knows of which it has heard that they were accepted.
struct Program {
    at: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Program {
    fn connect(&mut self) -> Option<()> {
        let stream = TcpStream::connect(self.at).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(120))).ok()?;
        stream.set_nodelay(true).ok()?;
        self.stream = Some(BufReader::new(stream));
        self.expect(b'2')?;
        self.say("EHLO program.test\r\n")?;
        self.expect(b'2')
    }

    fn say(&mut self, text: &str) -> Option<()> {
        self.stream.as_mut()?.get_mut().write_all(text.as_bytes()).ok()
    }

    fn expect(&mut self, class: u8) -> Option<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            self.stream.as_mut()?.read_until(b'\n', &mut line).ok()?;
            if line.get(3) != Some(&b'-') {
                return (line.first() == Some(&class) && line.ends_with(b"\r\n")).then_some(());
            }
        }
    }

    /// Hands a message in; whether it was accepted for certain.
    fn hand_in(&mut self, number: u32) -> Option<()> {
        if self.stream.is_none() {
            self.connect()?;
        }
        self.say(&format!("MAIL FROM:<alice@boat.test>\r\nRCPT TO:<m{number}@sink.test>\r\nDATA\r\n"))?;
        self.expect(b'2')?;
        self.expect(b'2')?;
        self.expect(b'3')?;
        self.say(&format!("From: alice@boat.test\r\n{}.\r\n", body(number)))?;
        self.expect(b'2')
    }
}

/// The notices in a mailbox, by the number of the message they are about.
fn notices(boat: &Boat) -> BTreeMap<u32, Vec<String>> {
    let mut pop3 = Pop3::login(boat.at("pop3"), "alice@boat.test");
    let mut notices: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for letter in pop3.all() {
        let text = String::from_utf8_lossy(&letter).into_owned();
        let number = text
            .split("Final-Recipient: rfc822; m")
            .nth(1)
            .and_then(|rest| rest.split('@').next())
            .and_then(|number| number.parse().ok());
        notices.entry(number.unwrap_or_else(|| panic!("not a notice: {text}"))).or_default().push(text);
    }
    pop3.quit();
    notices
}

/// What is known of all messages when nothing moves any more.
struct Outcome {
    accepted: BTreeSet<u32>,
    stories: HashMap<u32, Story>,
    notices: BTreeMap<u32, Vec<String>>,
    kills: [usize; 2],
}

impl Outcome {
    /// Messages that have neither arrived nor come back.
    fn missing(accepted: &BTreeSet<u32>, sink: &Sink, boat: &Boat) -> Vec<u32> {
        let stories = sink.stories();
        let back = notices(boat);
        let arrived = |number: &u32| {
            let story = stories.get(number);
            story.is_some_and(|story| story.came.iter().any(|(_, heard)| *heard == Heard::Yes))
        };
        accepted.iter().filter(|number| !arrived(number) && !back.contains_key(number)).copied().collect()
    }

    fn judge(&self) {
        let (mut by_first, mut by_second) = (0, 0);
        for number in &self.accepted {
            let story = self.stories.get(number).cloned().unwrap_or_default();
            let notices = self.notices.get(number).cloned().unwrap_or_default();
            assert!(!story.damaged, "message {number} came changed");
            let taken: Vec<&str> = story
                .came
                .iter()
                .filter(|(_, heard)| *heard != Heard::No)
                .map(|(id, _)| id.as_str())
                .collect();
            let names: BTreeSet<&str> = taken.iter().copied().collect();
            match refusal(*number) {
                None => {
                    assert!(notices.is_empty(), "message {number} arrived and came back: {}", notices[0]);
                    assert!(!taken.is_empty(), "message {number} is gone: {story:?}");
                    // Under another name it was sent twice by the first server.
                    by_first += names.len() - 1;
                    for name in names {
                        let times = |wanted: Heard| {
                            story.came.iter().filter(|(id, heard)| id == name && *heard == wanted).count()
                        };
                        by_second += times(Heard::Yes).saturating_sub(1);
                    }
                }
                Some(words) => {
                    assert!(!notices.is_empty(), "message {number} did not come back: {story:?}");
                    by_first += notices.len() - 1;
                    for notice in &notices {
                        let status = words.split(' ').nth(1).unwrap();
                        for part in [
                            "Return-Path: <>\r\n".to_owned(),
                            "To: alice@boat.test\r\n".to_owned(),
                            "Action: failed\r\n".to_owned(),
                            format!("Status: {status}\r\n"),
                            words[10..].to_owned(),
                            format!("Subject: message {number}\r\n"),
                        ] {
                            assert!(notice.contains(&part), "message {number}: no {part:?} in\n{notice}");
                        }
                    }
                }
            }
        }
        let [first, second] = self.kills;
        eprintln!(
            "{} accepted, {} back; {first} and {second} kills, {by_first} and {by_second} came twice for it",
            self.accepted.len(),
            self.notices.len()
        );
        // Each connection has one message in the moment that counts; a kill of the second one ends both its sides.
        assert!(by_first <= (first + second) * CONNECTIONS, "{by_first} twice by the first server");
        assert!(by_second <= second * CONNECTIONS, "{by_second} twice by the second server");
    }
}

/// Hands messages in until so many are accepted; those of which nobody knows are not counted.
fn hand_in(at: SocketAddr, next: &AtomicU32, accepted: &Mutex<BTreeSet<u32>>) {
    let mut program = Program { at, stream: None };
    let deadline = Instant::now() + PATIENCE;
    while (accepted.lock().unwrap().len() as u32) < MESSAGES {
        assert!(Instant::now() < deadline, "not handed in within {} s", PATIENCE.as_secs());
        let number = next.fetch_add(1, Ordering::Relaxed);
        match program.hand_in(number) {
            Some(()) => {
                accepted.lock().unwrap().insert(number);
            }
            None => {
                program.stream = None;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice_without_a_reason() {
    let seed =
        std::env::var("PACKETBOAT_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    eprintln!("seed {seed}; another one by PACKETBOAT_CHAOS_SEED");
    let mut random = Random::new(seed);
    let sink = Sink::start(seed);
    let mut second = Boat::start(&settings(sink.port()));
    let mut first = Boat::start(&settings(second.port("smtp")));
    let (next, accepted) = (AtomicU32::new(1), Mutex::new(BTreeSet::new()));
    let mut kills = [0, 0];
    let began = Instant::now();
    let at = first.at("smtp");
    std::thread::scope(|scope| {
        for _ in 0..PROGRAMS {
            scope.spawn(|| hand_in(at, &next, &accepted));
        }
        // While messages come in, and some time after, either server is killed, and starts again where it was.
        while kills.iter().sum::<usize>() < KILLS {
            std::thread::sleep(Duration::from_millis(100 + random.below(900)));
            let which = random.below(2) as usize;
            let boat = if which == 0 { &mut first } else { &mut second };
            boat.kill();
            std::thread::sleep(Duration::from_millis(random.below(300)));
            boat.serve();
            kills[which] += 1;
        }
    });
    let accepted = accepted.into_inner().unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let missing = Outcome::missing(&accepted, &sink, &second);
        if missing.is_empty() {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{} of {} neither arrived nor came back, such as {:?}",
            missing.len(),
            accepted.len(),
            missing
                .iter()
                .take(5)
                .map(|number| (number, sink.stories().get(number).cloned()))
                .collect::<Vec<_>>()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    // What would come twice has come.
    first.has_sent_all();
    second.has_sent_all();
    eprintln!("all there after {} s, over {} connections", began.elapsed().as_secs(), sink.connections());
    let back = notices(&second);
    assert!(notices(&first).is_empty(), "the second server refuses nothing");
    Outcome { accepted, stories: sink.stories(), notices: back, kills }.judge();
    for boat in [&mut first, &mut second] {
        boat.stop();
        boat.run(&["check", "--no-dns"], "");
    }
}
