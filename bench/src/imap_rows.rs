//! What is measured of IMAP. Every command is asked in a session of its own, a first time (on a server started anew, once
//! its mailboxes were filled) and again; every answer is looked through whole.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::Result;
use crate::content::MAILBOXES;
use crate::imap::{Session, each_fetch, numbers_are, trusting};
use crate::imap_content::{COMMON, Letters, RARE};
use crate::rows::{Figure, Scale, in_parallel, less, median, more};
use crate::target::{PASSWORD, Spec, Target, address};

/// Size of every message.
const SIZE: usize = 4000;
/// Messages of one APPEND while a mailbox is filled.
const BATCH: usize = 500;
/// Messages whose bodies are fetched.
const THOUSAND: usize = 1000;
/// Mailboxes that LIST lists.
const LISTED: usize = 1000;
/// APPENDs in flight where they do not wait for each other.
const IN_FLIGHT: usize = 32;
/// Log-ins at a time.
const LOG_INS: usize = 10;
/// How often a command is asked again; the median is the figure.
const AGAIN: usize = 7;
/// The same for what takes a server long.
const SLOW_AGAIN: usize = 3;
/// What is slow.
const SLOW: Duration = Duration::from_millis(400);
/// Messages in each mailbox that idle sessions have selected.
const IDLE_MESSAGES: usize = 100;
/// Idle sessions are opened in so many steps; memory is what the second half adds.
const STEPS: usize = 6;
/// Between two steps.
const STEP: Duration = Duration::from_millis(700);
/// A server that has used less than a tenth of a core for so long has nothing left to do in the background.
const QUIET: Duration = Duration::from_secs(2);
/// How long what a server does in the background after its mailboxes were filled is waited for.
const QUIET_AFTER: Duration = Duration::from_secs(120);

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImapRow {
    /// Ask this of a mailbox with so many messages.
    Ask(Question, usize),
    Append {
        in_flight: usize,
    },
    List,
    LogIn,
    Idle {
        sessions: usize,
        tls: bool,
    },
}

/// Commands on a large mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    Select,
    Flags,
    Envelope,
    Fields,
    Bodies,
    Store,
    From,
    Rare,
    Common,
    SortDate,
    SortSender,
    Thread,
}

const QUESTIONS: [Question; 12] = [
    Question::Select,
    Question::Flags,
    Question::Envelope,
    Question::Fields,
    Question::Bodies,
    Question::Store,
    Question::From,
    Question::Rare,
    Question::Common,
    Question::SortDate,
    Question::SortSender,
    Question::Thread,
];

/// Every row, in the order of the table; without the largest where it has to be quick.
pub(crate) fn all(quick: bool) -> Vec<ImapRow> {
    let mut rows = Vec::new();
    let (counts, idle): (&[usize], &[usize]) =
        if quick { (&[20_000], &[1000]) } else { (&[20_000, 100_000], &[1000, 10_000]) };
    for count in counts {
        rows.extend(QUESTIONS.map(|question| ImapRow::Ask(question, *count)));
    }
    rows.extend([1, IN_FLIGHT].map(|in_flight| ImapRow::Append { in_flight }));
    rows.extend([ImapRow::List, ImapRow::LogIn]);
    for sessions in idle {
        rows.extend([false, true].map(|tls| ImapRow::Idle { sessions: *sessions, tls }));
    }
    rows
}

impl fmt::Display for ImapRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImapRow::Ask(question, count) => {
                let name = match question {
                    Question::Select => "SELECT",
                    Question::Flags => "FETCH 1:* (FLAGS UID)",
                    Question::Envelope => "FETCH 1:* (ENVELOPE)",
                    Question::Fields => "FETCH 1:* four header fields",
                    Question::Bodies => "FETCH of 1,000 bodies",
                    Question::Store => "STORE 1:* +FLAGS",
                    Question::From => "SEARCH FROM",
                    Question::Rare => "SEARCH TEXT, a rare word",
                    Question::Common => "SEARCH TEXT, a common word",
                    Question::SortDate => "SORT (REVERSE DATE)",
                    Question::SortSender => "SORT (FROM SUBJECT)",
                    Question::Thread => "THREAD REFERENCES",
                };
                write!(f, "IMAP {name}, {},000 messages", count / 1000)
            }
            ImapRow::Append { in_flight: 1 } => write!(f, "IMAP APPEND of 1,000, one by one"),
            ImapRow::Append { in_flight } => write!(f, "IMAP APPEND of 1,000, {in_flight} in flight"),
            ImapRow::List => write!(f, "IMAP LIST of 1,000 mailboxes"),
            ImapRow::LogIn => write!(f, "IMAP log-ins, {LOG_INS} at a time"),
            ImapRow::Idle { sessions, tls } => {
                let how = if *tls { "under TLS" } else { "in the clear" };
                write!(f, "IMAP idle sessions, {},000 {how}", sessions / 1000)
            }
        }
    }
}

/// One server through the rows of IMAP.
#[derive(Debug)]
pub(crate) struct ImapBench<'a> {
    spec: &'a Spec,
    scale: &'a Scale,
    dir: PathBuf,
    target: Option<Target>,
    letters: Letters,
    /// The sizes of the mailboxes that are filled.
    filled: Vec<usize>,
    /// What was asked before.
    asked: Vec<ImapRow>,
    listed: bool,
}

impl<'a> ImapBench<'a> {
    pub(crate) fn new(spec: &'a Spec, scale: &'a Scale, dir: PathBuf) -> ImapBench<'a> {
        let letters = Letters::new(SIZE);
        ImapBench {
            spec,
            scale,
            dir,
            target: None,
            letters,
            filled: Vec::new(),
            asked: Vec::new(),
            listed: false,
        }
    }

    pub(crate) fn measure(&mut self, row: ImapRow) -> Result<Vec<Figure>> {
        match row {
            ImapRow::Ask(question, count) => {
                self.fill(count)?;
                let first = !self.asked.contains(&row);
                self.asked.push(row);
                self.ask(question, count, first)
            }
            ImapRow::Append { in_flight } => self.append(in_flight),
            ImapRow::List => self.list(),
            ImapRow::LogIn => self.log_in(),
            ImapRow::Idle { sessions, tls } => self.idle(sessions, tls),
        }
    }

    fn target(&mut self) -> Result<&Target> {
        if self.target.is_none() {
            self.target = Some(Target::start(self.spec, &self.dir.join("imap"), MAILBOXES)?);
        }
        self.target.as_ref().ok_or_else(|| "not started".into())
    }

    /// Makes a mailbox with so many messages, and starts the server anew: what is asked first finds no warm memory.
    fn fill(&mut self, count: usize) -> Result {
        if self.filled.contains(&count) {
            return Ok(());
        }
        let letters = self.letters.clone();
        let target = self.target()?;
        let mut session = Session::open(target, &address(0), PASSWORD)?;
        fill(&mut session, &large(count), &letters, count)?;
        session.log_out()?;
        self.filled.push(count);
        if let Some(target) = self.target.take() {
            wait_until_quiet(&target);
            target.stop();
        }
        Ok(())
    }

    fn ask(&mut self, question: Question, count: usize, first: bool) -> Result<Vec<Figure>> {
        let letters = self.letters.clone();
        let target = self.target()?;
        let mailbox = large(count);
        let command = match question {
            Question::Select => format!("SELECT {mailbox}"),
            Question::Flags => "FETCH 1:* (FLAGS UID)".to_owned(),
            Question::Envelope => "FETCH 1:* (ENVELOPE)".to_owned(),
            Question::Fields => "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)])".to_owned(),
            Question::Bodies => format!("FETCH 1:{THOUSAND} (BODY.PEEK[])"),
            Question::Store => "STORE 1:* +FLAGS (\\Flagged)".to_owned(),
            Question::From => format!("SEARCH {}", Letters::sender_key()),
            Question::Rare => format!("SEARCH TEXT {RARE}"),
            Question::Common => format!("SEARCH TEXT {COMMON}"),
            Question::SortDate => "SORT (REVERSE DATE) US-ASCII ALL".to_owned(),
            Question::SortSender => "SORT (FROM SUBJECT) US-ASCII ALL".to_owned(),
            Question::Thread => "THREAD REFERENCES US-ASCII ALL".to_owned(),
        };
        let mut session = Session::open(target, &address(0), PASSWORD)?;
        if question != Question::Select {
            session.select(&mailbox, count)?;
        }
        let mut figures = Vec::new();
        let (mut times, mut cpus) = (Vec::new(), Vec::new());
        let mut left = AGAIN + usize::from(first);
        let mut now_first = first;
        while left > 0 {
            left -= 1;
            let cpu = target.group.cpu();
            let (answer, took) = session.command(&command)?;
            let used = (target.group.cpu() - cpu) * 1000.0;
            check(question, &letters, answer, count).map_err(|e| format!("{command}: {e}"))?;
            let ms = took.as_secs_f64() * 1000.0;
            if took > SLOW {
                left = left.min(SLOW_AGAIN.saturating_sub(times.len()));
            }
            if std::mem::take(&mut now_first) {
                figures.push(less("first time", "ms", ms));
                figures.push(less("CPU, first time", "ms", used));
            } else {
                times.push(ms);
                cpus.push(used);
            }
            match question {
                // A session of its own each time: nobody has the mailbox open before.
                Question::Select => {
                    session.log_out()?;
                    session = Session::open(target, &address(0), PASSWORD)?;
                }
                Question::Store => drop(session.command("STORE 1:* -FLAGS.SILENT (\\Flagged)")?),
                _ => {}
            }
        }
        session.log_out()?;
        figures.push(less("again", "ms", median(&mut times)));
        figures.push(less("CPU, again", "ms", median(&mut cpus)));
        Ok(figures)
    }

    fn append(&mut self, in_flight: usize) -> Result<Vec<Figure>> {
        let (letters, count) = (self.letters.clone(), self.scale.appended);
        let messages: Vec<Vec<u8>> = (0..count).map(|n| letters.message(n)).collect();
        let target = self.target()?;
        let mut session = Session::open(target, &address(1), PASSWORD)?;
        session.command("CREATE scratch")?;
        let (cpu, begun) = (target.group.cpu(), Instant::now());
        let mut waiting = VecDeque::new();
        for message in &messages {
            waiting.push_back(session.send_append("scratch", std::slice::from_ref(message))?);
            if waiting.len() == in_flight
                && let Some(tag) = waiting.pop_front()
            {
                session.finish(&tag)?;
            }
        }
        for tag in waiting {
            session.finish(&tag)?;
        }
        let (took, used) = (begun.elapsed(), target.group.cpu() - cpu);
        session.select("scratch", count)?;
        let (answer, _) = session.command("FETCH 1:* (BODY.PEEK[])")?;
        each_fetch(answer, count, |n, _, literal| same(literal, &messages[n]))?;
        session.command("CLOSE")?;
        session.command("DELETE scratch")?;
        session.log_out()?;
        let thousands = count as f64 / 1000.0;
        Ok(vec![
            more("APPEND", "messages/s", count as f64 / took.as_secs_f64()),
            less("CPU per 1,000", "s", used / thousands),
        ])
    }

    fn list(&mut self) -> Result<Vec<Figure>> {
        let listed = std::mem::replace(&mut self.listed, true);
        let target = self.target()?;
        let mut session = Session::open(target, &address(2), PASSWORD)?;
        if !listed {
            for n in 0..LISTED {
                session.command(&format!("CREATE box-{n:04}"))?;
            }
        }
        let (mut times, mut cpus) = (Vec::new(), Vec::new());
        for _ in 0..AGAIN {
            let cpu = target.group.cpu();
            let (answer, took) = session.command("LIST \"\" \"*\"")?;
            cpus.push((target.group.cpu() - cpu) * 1000.0);
            times.push(took.as_secs_f64() * 1000.0);
            let text = std::str::from_utf8(answer)?;
            let mut there: Vec<&str> =
                text.lines().filter_map(|l| Some(l.rsplit_once("box-")?.1.trim_end_matches('"'))).collect();
            there.sort_unstable();
            if !there.iter().map(|n| n.parse()).eq((0..LISTED).map(Ok)) {
                return Err(format!("LIST told {} of {LISTED} mailboxes", there.len()).into());
            }
        }
        session.log_out()?;
        Ok(vec![less("LIST", "ms", median(&mut times)), less("CPU", "ms", median(&mut cpus))])
    }

    fn log_in(&mut self) -> Result<Vec<Figure>> {
        let count = self.scale.log_ins;
        let target = self.target()?;
        // Each account once: what a server remembers of a password it may remember.
        for m in 0..MAILBOXES {
            Session::open(target, &address(m), PASSWORD)?.log_out()?;
        }
        let next = AtomicUsize::new(0);
        let (cpu, begun) = (target.group.cpu(), Instant::now());
        in_parallel(0..LOG_INS, |_| {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return Ok(());
                }
                Session::open(target, &address(n % MAILBOXES), PASSWORD)?.log_out()?;
            }
        })?;
        let (took, used) = (begun.elapsed(), target.group.cpu() - cpu);
        Ok(vec![
            more("log-ins", "1/s", count as f64 / took.as_secs_f64()),
            less("CPU per 1,000", "s", used / count as f64 * 1000.0),
        ])
    }

    fn idle(&mut self, sessions: usize, tls: bool) -> Result<Vec<Figure>> {
        // A process for each session, as the peers have, is the same memory for each however many there are.
        let most = if matches!(self.spec, Spec::Packetboat { .. }) { sessions } else { self.scale.idle_peer };
        let count = sessions.min(most);
        let dir = self.dir.join("idle");
        let target = Target::start(self.spec, &dir, MAILBOXES)?;
        for m in 0..MAILBOXES {
            let mut session = Session::open(&target, &address(m), PASSWORD)?;
            if session.count("INBOX")? == 0 {
                fill(&mut session, "INBOX", &self.letters, IDLE_MESSAGES)?;
            }
            session.log_out()?;
        }
        target.stop();
        let target = Target::start(self.spec, &dir, MAILBOXES)?;
        let trust = if tls { Some(trusting(&target.authority()?)?) } else { None };
        let alone = target.group.pss();
        let mut open = Vec::with_capacity(count);
        let mut memory = Vec::new();
        let begun = target.group.cpu();
        for step in 0..STEPS {
            for n in step * count / STEPS..(step + 1) * count / STEPS {
                let at = if tls { target.imaps } else { target.imap };
                let mut session = Session::connect(at, trust.as_ref())?;
                session.log_in(&address(n % MAILBOXES), PASSWORD)?;
                session.select("INBOX", IDLE_MESSAGES)?;
                session.send(b"idle IDLE\r\n")?;
                let go = session.line()?;
                if !go.starts_with('+') {
                    return Err(format!("IDLE: {go}").into());
                }
                open.push(session);
            }
            std::thread::sleep(STEP);
            memory.push(target.group.pss());
        }
        let used = target.group.cpu() - begun;
        let (half, all) = (memory[STEPS / 2 - 1], memory[STEPS - 1]);
        for session in &mut open {
            session.send(b"DONE\r\n")?;
            session.finish("idle")?;
        }
        drop(open);
        target.stop();
        Ok(vec![
            less("memory per session", "KiB", (all - half) / (count - count * (STEPS / 2) / STEPS) as f64),
            less("memory without them", "MiB", alone / 1024.0),
            less("CPU to open 1,000", "s", used / count as f64 * 1000.0),
        ])
    }
}

/// Lets a server end what it does in the background, such as what makes later searches fast: a row measures one command.
fn wait_until_quiet(target: &Target) {
    let begun = Instant::now();
    let mut used = target.group.cpu();
    while begun.elapsed() < QUIET_AFTER {
        std::thread::sleep(QUIET);
        let before = std::mem::replace(&mut used, target.group.cpu());
        if used - before < QUIET.as_secs_f64() / 10.0 {
            break;
        }
    }
}

/// The name of the mailbox with so many messages.
fn large(count: usize) -> String {
    format!("large{count}")
}

/// Puts messages `0..count` into a mailbox, which is made if it is not the one that always is there.
fn fill(session: &mut Session, mailbox: &str, letters: &Letters, count: usize) -> Result {
    if mailbox != "INBOX" {
        session.command(&format!("CREATE {mailbox}"))?;
    }
    for begin in (0..count).step_by(BATCH) {
        let messages: Vec<Vec<u8>> = (begin..count.min(begin + BATCH)).map(|n| letters.message(n)).collect();
        let tag = session.send_append(mailbox, &messages)?;
        session.finish(&tag)?;
    }
    let there = session.count(mailbox)?;
    if there == count { Ok(()) } else { Err(format!("{there} of {count} messages in {mailbox}").into()) }
}

fn same(got: &[u8], sent: &[u8]) -> Result {
    if got == sent {
        Ok(())
    } else {
        Err(format!("{} octets came back, not the {} sent", got.len(), sent.len()).into())
    }
}

fn has(text: &str, what: &str) -> Result {
    if text.contains(what) { Ok(()) } else { Err(format!("no {what} in {text}").into()) }
}

fn check(question: Question, letters: &Letters, answer: &[u8], count: usize) -> Result {
    match question {
        Question::Select => has(std::str::from_utf8(answer)?, &format!("* {count} EXISTS\r\n")),
        Question::Flags => {
            let mut last = 0;
            each_fetch(answer, count, |_, text, _| {
                has(text, "FLAGS (")?;
                let uid = text.split_once("UID ").map_or("", |(_, rest)| rest);
                let uid = uid.split([' ', ')']).next().unwrap_or_default().parse::<u32>()?;
                let before = std::mem::replace(&mut last, uid);
                if before < uid { Ok(()) } else { Err(format!("UID {uid} after {before}").into()) }
            })
        }
        Question::Envelope => {
            each_fetch(answer, count, |n, text, _| has(text, &format!("(ENVELOPE {})", Letters::envelope(n))))
        }
        Question::Fields => each_fetch(answer, count, |n, _, literal| {
            same(literal, format!("{}\r\n", Letters::four_fields(n)).as_bytes())
        }),
        Question::Bodies => {
            each_fetch(answer, THOUSAND.min(count), |n, _, literal| same(literal, &letters.message(n)))
        }
        Question::Store => each_fetch(answer, count, |_, text, _| has(text, "\\Flagged")),
        Question::From => numbers_are(answer, "SEARCH", &Letters::of_sender(count)),
        Question::Rare => numbers_are(answer, "SEARCH", &Letters::rare(count)),
        Question::Common => numbers_are(answer, "SEARCH", &Letters::common(count)),
        Question::SortDate => numbers_are(answer, "SORT", &Letters::by_date(count)),
        Question::SortSender => numbers_are(answer, "SORT", &Letters::by_sender(count)),
        Question::Thread => {
            let expected = format!("* THREAD {}\r\n", Letters::threads(count));
            let text = std::str::from_utf8(answer)?;
            if text.contains(&expected) {
                return Ok(());
            }
            let begin: String = text.chars().take(100).collect();
            Err(format!("other threads than {}...: {begin}...", &expected[..60.min(expected.len())]).into())
        }
    }
}
