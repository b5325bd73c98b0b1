//! Running a transcript against a session.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Write};
use std::time::{Duration, Instant};

use memchr::memmem;

use super::script::{Side, What};
use super::{Owner, Role, Script};
use crate::session::{Session, Step};

/// Steps a session may take without waiting; more means that it goes round in circles.
const STEPS_MAX: usize = 100_000;
/// Octets of the dialogue that a failure shows.
const SHOWN_MAX: usize = 4000;

/// How a conversation went differently from its file.
#[derive(Debug)]
pub struct Mismatch {
    place: String,
    arrival: Arrival,
    problem: String,
    dialogue: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrival = match self.arrival {
            Arrival::AsWritten => "",
            Arrival::OctetByOctet => " (each octet arriving alone)",
        };
        writeln!(f, "{}{arrival}: {}", self.place, self.problem)?;
        writeln!(f, "what was said:")?;
        let shown = self.dialogue.ceil_char_boundary(self.dialogue.len().saturating_sub(SHOWN_MAX));
        self.dialogue[shown..].lines().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

impl std::error::Error for Mismatch {}

/// How input reaches the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Lines that follow each other come in one read.
    AsWritten,
    /// One octet a read.
    OctetByOctet,
}

/// What the session did that its file has not mentioned yet.
enum Done {
    Sent(Vec<u8>),
    StartTls,
    Closed,
}

pub(super) struct Run<'a, S: Session, O> {
    script: &'a Script,
    under_test: Side,
    arrival: Arrival,
    session: S,
    owner: O,
    now: Instant,
    until: Option<Instant>,
    done: VecDeque<Done>,
    events: VecDeque<String>,
    /// Input that has not been handed over, because more may come in the same read.
    input: Vec<u8>,
    skip_lines: bool,
    /// The session has asked for TLS; what arrives in the clear now is lost.
    tls_open: bool,
    closed: bool,
    dialogue: String,
}

impl<'a, S, O> Run<'a, S, O>
where
    S: Session,
    S::Event: Debug,
    O: Owner<S>,
{
    pub(super) fn new(script: &'a Script, role: Role, arrival: Arrival, session: S, owner: O) -> Self {
        Run {
            script,
            under_test: match role {
                Role::Server => Side::Server,
                Role::Client => Side::Client,
            },
            arrival,
            session,
            owner,
            now: Instant::now(),
            until: None,
            done: VecDeque::new(),
            events: VecDeque::new(),
            input: Vec::new(),
            skip_lines: false,
            tls_open: false,
            closed: false,
            dialogue: String::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<(), Box<Mismatch>> {
        let script = self.script;
        let mut line = 1;
        let result = self.drive().and_then(|()| {
            for entry in &script.entries {
                line = entry.line;
                self.entry(&entry.what)?;
            }
            line = script.entries.last().map_or(1, |entry| entry.line + 1);
            self.deliver()?;
            self.nothing_left()
        });
        result.map_err(|problem| {
            let place = format!("{}:{line}", script.name());
            Box::new(Mismatch { place, arrival: self.arrival, problem, dialogue: self.dialogue })
        })
    }

    fn entry(&mut self, what: &What) -> Result<(), String> {
        match what {
            What::Line(side, text) if *side != self.under_test => {
                self.input.extend_from_slice(text.as_bytes());
                self.input.extend_from_slice(b"\r\n");
                return Ok(());
            }
            What::Raw(side, octets) if *side != self.under_test => {
                self.input.extend_from_slice(octets);
                return Ok(());
            }
            _ => self.deliver()?,
        }
        match what {
            What::Line(_, text) => self.expect_line(text),
            What::Raw(_, octets) => self.expect_octets(octets),
            What::AnyLines(_) => {
                self.skip_lines = true;
                Ok(())
            }
            What::Close(side) if *side == self.under_test => match self.next_done() {
                Some(Done::Closed) => Ok(()),
                other => Err(differs("<close>", other.as_ref())),
            },
            What::Close(_) => {
                self.say("(the peer closes)\n");
                self.session.end_of_input();
                self.drive()
            }
            What::StartTls => match self.next_done() {
                Some(Done::StartTls) => {
                    self.tls_open = false;
                    let facts = self.owner.tls();
                    self.session.tls_started(facts);
                    self.drive()
                }
                other => Err(differs("<starttls>", other.as_ref())),
            },
            What::Time(span) => self.pass(*span),
            What::Event(glob) => loop {
                match self.events.pop_front() {
                    Some(event) if matches(glob, &event) => return Ok(()),
                    Some(_) => {}
                    None => return Err(format!("the session told its owner no\n    {glob}")),
                }
            },
            What::Order(order) => {
                let _ = writeln!(self.dialogue, "O: {order}");
                if order == "shut down" {
                    self.session.shut_down();
                } else if order == "cut short" {
                    if !self.session.cut_short() {
                        return Err("the session has no last words".to_owned());
                    }
                } else {
                    self.owner.order(&mut self.session, order)?;
                }
                self.drive()
            }
        }
    }

    /// Hands over what the peer has said.
    fn deliver(&mut self) -> Result<(), String> {
        let input = std::mem::take(&mut self.input);
        if input.is_empty() {
            return Ok(());
        }
        self.note(self.under_test == Side::Client, &input);
        let size = match self.arrival {
            Arrival::AsWritten => input.len(),
            Arrival::OctetByOctet => 1,
        };
        for piece in input.chunks(size) {
            if self.closed || self.tls_open {
                break;
            }
            self.session.receive(piece);
            self.drive()?;
        }
        Ok(())
    }

    /// Carries out steps until the session waits.
    fn drive(&mut self) -> Result<(), String> {
        if self.closed || self.tls_open {
            return Ok(());
        }
        for _ in 0..STEPS_MAX {
            match self.session.next(self.now) {
                Step::Send(octets) => {
                    self.note(self.under_test == Side::Server, &octets);
                    match self.done.back_mut() {
                        Some(Done::Sent(sent)) => sent.extend_from_slice(&octets),
                        _ => self.done.push_back(Done::Sent(octets.to_vec())),
                    }
                }
                Step::StartTls => {
                    self.say("(asks for TLS)\n");
                    self.tls_open = true;
                    self.done.push_back(Done::StartTls);
                    return Ok(());
                }
                Step::Event(event) => {
                    let text = format!("{event:?}");
                    let _ = writeln!(self.dialogue, "E: {text}");
                    self.events.push_back(text);
                    self.owner.event(&mut self.session, event);
                }
                Step::Wait { until: Some(until) } if until <= self.now => {
                    return Err("the session waits for a time that has passed".to_owned());
                }
                Step::Wait { until } => {
                    self.until = until;
                    return Ok(());
                }
                Step::Close => {
                    self.say("(closes)\n");
                    self.closed = true;
                    self.done.push_back(Done::Closed);
                    return Ok(());
                }
            }
        }
        Err(format!("the session took {STEPS_MAX} steps without waiting"))
    }

    /// Lets time go by, waking the session whenever it asked for that.
    fn pass(&mut self, span: Duration) -> Result<(), String> {
        let _ = writeln!(self.dialogue, "T: {span:?}");
        let then = self.now + span;
        while let Some(until) = self.until.filter(|until| *until <= then && !self.closed && !self.tls_open) {
            self.now = until;
            self.drive()?;
        }
        self.now = then;
        Ok(())
    }

    fn next_done(&mut self) -> Option<Done> {
        while self.skip_lines && matches!(self.done.front(), Some(Done::Sent(_))) {
            self.done.pop_front();
        }
        self.skip_lines = false;
        self.done.pop_front()
    }

    fn expect_line(&mut self, glob: &str) -> Result<(), String> {
        loop {
            let Some(Done::Sent(sent)) = self.done.front_mut() else {
                return Err(differs(glob, self.done.front()));
            };
            let Some(end) = memmem::find(sent, b"\r\n") else {
                return Err(format!("{}\nand no CRLF", differs(glob, self.done.front())));
            };
            let line: Vec<u8> = sent.drain(..end + 2).collect();
            if sent.is_empty() {
                self.done.pop_front();
            }
            let line = readable(&line[..end]);
            if matches(glob, &line) {
                self.skip_lines = false;
                return Ok(());
            }
            if !self.skip_lines {
                return Err(format!("expected\n    {glob}\nbut what came is\n    {line}"));
            }
        }
    }

    fn expect_octets(&mut self, octets: &[u8]) -> Result<(), String> {
        self.skip_lines = false;
        match self.done.front_mut() {
            Some(Done::Sent(sent)) if sent.starts_with(octets) => {
                sent.drain(..octets.len());
                if sent.is_empty() {
                    self.done.pop_front();
                }
                Ok(())
            }
            other => Err(differs(&readable(octets), other.as_deref())),
        }
    }

    fn nothing_left(&mut self) -> Result<(), String> {
        match self.next_done() {
            None => Ok(()),
            other => Err(differs("the end", other.as_ref())),
        }
    }

    /// Writes what was said into the dialogue.
    fn note(&mut self, by_server: bool, octets: &[u8]) {
        let side = if by_server { 'S' } else { 'C' };
        for line in octets.split_inclusive(|&octet| octet == b'\n') {
            let _ = match line.strip_suffix(b"\r\n") {
                Some(line) => writeln!(self.dialogue, "{side}: {}", readable(line)),
                None => writeln!(self.dialogue, "{side}> {}", line.escape_ascii()),
            };
        }
    }

    fn say(&mut self, remark: &str) {
        self.dialogue.push_str(remark);
    }
}

fn differs(expected: &str, came: Option<&Done>) -> String {
    let came = match came {
        None => "nothing".to_owned(),
        Some(Done::StartTls) => "<starttls>".to_owned(),
        Some(Done::Closed) => "<close>".to_owned(),
        Some(Done::Sent(octets)) => {
            let end = memmem::find(octets, b"\r\n").unwrap_or(octets.len());
            readable(&octets[..end])
        }
    };
    format!("expected\n    {expected}\nbut what came is\n    {came}")
}

/// Octets as text: UTF-8 as it is, control characters escaped.
fn readable(octets: &[u8]) -> String {
    let mut text = String::new();
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
        }
        let _ = write!(text, "{}", chunk.invalid().escape_ascii());
    }
    text
}

/// Whether a text is like a glob; see the module's table.
pub(super) fn matches(glob: &str, text: &str) -> bool {
    let glob = match glob.strip_prefix("* ") {
        Some(rest) => format!(r"\* {rest}"),
        None => glob.to_owned(),
    };
    // Between two wildcards stands text to be found; a private character holds the place of a literal `*`.
    let plain = glob.replace(r"\*", "\u{f8ff}");
    let mut pieces = plain.split('*').map(|piece| piece.replace('\u{f8ff}', "*"));
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first.as_str()) else {
        return false;
    };
    let mut pieces: Vec<String> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.find(&piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(&last)
}
