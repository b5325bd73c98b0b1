//! What is measured. Each row does one thing to one server and tells its figures; the first wrong reply, count or byte
//! ends it with an error, so a figure is of a run in which everything was right.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::Result;
use crate::content::{MAILBOXES, Run};
use crate::ftp_rows::{FtpBench, FtpRow};
use crate::imap_rows::ImapBench;
pub(crate) use crate::imap_rows::ImapRow;
use crate::meter::own_cpu;
use crate::pop3::{AHEAD, Maildrop};
use crate::relay::{RelayBench, RelayRow};
use crate::smtp::hand_over;
use crate::target::{PASSWORD, Spec, Target, address, seed_maildirs};
use crate::wire::Conn;

/// Messages handed over to find out how fast a server is.
const PILOT: usize = 200;
/// The least messages of a measurement.
const FEWEST: usize = 200;
/// The most deliveries (messages times recipients) of a measurement.
const MOST_DELIVERIES: f64 = 200_000.0;
/// How long after the last 250 the last message may take to its mailbox.
const DELIVERY: Duration = Duration::from_secs(240);
/// Messages fetched and compared in each mailbox when a sample is enough.
const SAMPLE: usize = 10;
/// Size of the messages that POP3 fetches.
const POP3_SIZE: usize = 10_000;
/// Room for one of them with what servers put before it.
const POP3_ROOM: usize = POP3_SIZE + 1000;
/// Size of the messages in the store that a server is started on.
const STORED_SIZE: usize = 4000;
/// Idle connections are opened in so many steps: allocators give back late, and only while there is something to do.
const STEPS: usize = 10;
/// Between two steps.
const STEP: Duration = Duration::from_millis(700);
/// Log-ins, and listings, of one measurement; the median is the figure.
const REPEATS: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Deliver { size: usize, sessions: usize, recipients: usize },
    LogIn,
    UniqueIds,
    Retrieve { sessions: usize, pipelined: bool },
    Idle(Door),
    Start,
    Imap(ImapRow),
    Relay(RelayRow),
    Ftp(FtpRow),
}

/// Where idle connections wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Smtp,
    Pop3,
    Maildrop,
}

/// Every row of mail, in the order of the table.
pub(crate) fn mail() -> Vec<Row> {
    let mut rows = Vec::new();
    for size in [4000, 50_000] {
        for recipients in [1, 10] {
            rows.extend([1, 20, 100].map(|sessions| Row::Deliver { size, sessions, recipients }));
        }
    }
    rows.extend([Row::LogIn, Row::UniqueIds]);
    rows.extend(
        [(1, false), (1, true), (20, false)]
            .map(|(sessions, pipelined)| Row::Retrieve { sessions, pipelined }),
    );
    rows.extend([Door::Smtp, Door::Pop3, Door::Maildrop].map(Row::Idle));
    rows.push(Row::Start);
    rows
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Row::Deliver { size, sessions, recipients } => {
                let (c, r) = (plural(*sessions, "connection"), plural(*recipients, "recipient"));
                write!(f, "deliver {} kB, {c}, {r}", size / 1000)
            }
            Row::LogIn => write!(f, "POP3 log-in"),
            Row::UniqueIds => write!(f, "POP3 UIDL of 1,000"),
            Row::Retrieve { sessions, pipelined } => {
                let how = if *pipelined { ", pipelined" } else { "" };
                write!(f, "POP3 RETR of 1,000, {}{how}", plural(*sessions, "session"))
            }
            Row::Idle(Door::Smtp) => write!(f, "idle SMTP connections"),
            Row::Idle(Door::Pop3) => write!(f, "idle POP3 connections"),
            Row::Idle(Door::Maildrop) => write!(f, "idle POP3 connections, logged in"),
            Row::Start => write!(f, "start on 100,000 messages"),
            Row::Imap(row) => write!(f, "{row}"),
            Row::Relay(row) => write!(f, "{row}"),
            Row::Ftp(row) => write!(f, "{row}"),
        }
    }
}

fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("{n} {what}") } else { format!("{n} {what}s") }
}

/// One measured value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    pub(crate) more_is_better: bool,
}

pub(crate) fn more(name: &'static str, unit: &'static str, value: f64) -> Figure {
    Figure { name, unit, value, more_is_better: true }
}

pub(crate) fn less(name: &'static str, unit: &'static str, value: f64) -> Figure {
    Figure { name, unit, value, more_is_better: false }
}

/// How thorough the measurements are.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    /// About how long a delivery measurement hands over.
    pub(crate) seconds: f64,
    /// Messages in each mailbox that POP3 fetches.
    pub(crate) maildrop: usize,
    /// Idle connections.
    pub(crate) idle: usize,
    /// Messages in the store that a server is started on.
    pub(crate) stored: usize,
    /// Messages appended by IMAP.
    pub(crate) appended: usize,
    /// Log-ins of IMAP.
    pub(crate) log_ins: usize,
    /// The most idle IMAP sessions that a peer, which has a process for each, is given.
    pub(crate) idle_peer: usize,
    /// Octets of the file that FTP fetches and stores.
    pub(crate) large: u64,
    /// Its text file, in blocks of 64 KiB.
    pub(crate) text: u64,
    /// Small files.
    pub(crate) small: usize,
    /// Entries of a listing.
    pub(crate) entries: usize,
    /// Fetch and compare every delivered message, not a sample.
    pub(crate) verify_all: bool,
}

/// One server through all rows.
pub(crate) struct Bench<'a> {
    spec: &'a Spec,
    scale: &'a Scale,
    dir: PathBuf,
    /// The server that delivery and POP3 are measured on.
    target: Option<Target>,
    /// Messages delivered a second, of each row measured before.
    rates: Vec<(Row, f64)>,
    /// What the maildrops hold once they are filled for POP3.
    maildrops: Option<Run>,
    /// The directory of a server with many messages, once it is there.
    stored: Option<PathBuf>,
    runs: usize,
    imap: ImapBench<'a>,
    relay: RelayBench<'a>,
    ftp: FtpBench<'a>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(spec: &'a Spec, scale: &'a Scale, dir: PathBuf) -> Bench<'a> {
        let imap = ImapBench::new(spec, scale, dir.clone());
        let relay = RelayBench::new(spec, scale, dir.clone());
        let ftp = FtpBench::new(spec, scale, dir.clone());
        Bench {
            spec,
            scale,
            dir,
            target: None,
            rates: Vec::new(),
            maildrops: None,
            stored: None,
            runs: 0,
            imap,
            relay,
            ftp,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.spec.name()
    }

    pub(crate) fn measure(&mut self, row: Row) -> Result<Vec<Figure>> {
        match row {
            Row::Deliver { size, sessions, recipients } => self.deliver(row, size, sessions, recipients),
            Row::LogIn => self.log_in(),
            Row::UniqueIds => self.unique_ids(),
            Row::Retrieve { sessions, pipelined } => self.retrieve(sessions, pipelined),
            Row::Idle(door) => self.idle(door),
            Row::Start => self.start(),
            Row::Imap(row) => self.imap.measure(row),
            Row::Relay(row) => self.relay.measure(row),
            Row::Ftp(row) => self.ftp.measure(row),
        }
    }

    fn run(&mut self, size: usize, recipients: usize) -> Run {
        self.runs += 1;
        Run { name: format!("{}-{}", std::process::id(), self.runs), size, recipients }
    }

    fn target(&mut self) -> Result<&Target> {
        if self.target.is_none() {
            self.target = Some(Target::start(self.spec, &self.dir.join("main"), MAILBOXES)?);
        }
        self.target.as_ref().ok_or_else(|| "not started".into())
    }

    fn deliver(&mut self, row: Row, size: usize, sessions: usize, recipients: usize) -> Result<Vec<Figure>> {
        self.maildrops = None;
        let verify_all = self.scale.verify_all;
        if !self.rates.iter().any(|(known, _)| *known == row) {
            let pilot = self.run(size, recipients);
            let target = self.target()?;
            empty_maildrops(target)?;
            let begun = Instant::now();
            hand_over(target.smtp, &pilot, 0, PILOT, sessions, &address)?;
            let (delivered, _) = wait_for_delivery(target, &pilot, PILOT)?;
            verify(target, &pilot, PILOT, verify_all)?;
            self.rates.push((row, PILOT as f64 / (delivered - begun).as_secs_f64()));
        }
        let rate = self.rates.iter().find(|(known, _)| *known == row).map_or(1.0, |(_, rate)| *rate);
        let most = MOST_DELIVERIES / recipients as f64;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let count = ((rate * self.scale.seconds).min(most) as usize).max(FEWEST);

        let run = self.run(size, recipients);
        let target = self.target()?;
        let (cpu, own, begun) = (target.group.cpu(), own_cpu(), Instant::now());
        let (outcome, peak) = target.group.peak_during(|| -> Result<_> {
            let handed = hand_over(target.smtp, &run, 0, count, sessions, &address)?;
            let own = own_cpu() - own;
            Ok((handed, own, wait_for_delivery(target, &run, count)?))
        });
        let (handed, own, (delivered, cpu_after)) = outcome?;
        verify(target, &run, count, verify_all)?;
        let rate = count as f64 / (delivered - begun).as_secs_f64();
        if let Some((_, known)) = self.rates.iter_mut().find(|(known, _)| *known == row) {
            *known = rate;
        }
        let thousands = count as f64 / 1000.0;
        Ok(vec![
            more("delivered", "messages/s", rate),
            more("accepted", "messages/s", count as f64 / handed.took.as_secs_f64()),
            less("latency, median", "ms", handed.percentile(0.5)),
            less("latency, 99 %", "ms", handed.percentile(0.99)),
            less("CPU per 1,000", "s", (cpu_after - cpu) / thousands),
            less("load generator's CPU per 1,000", "s", own / thousands),
            less("peak memory", "MiB", peak / 1024.0),
        ])
    }

    /// Fills every maildrop with the messages that POP3 fetches.
    fn fill_maildrops(&mut self) -> Result<(&Target, Run)> {
        let count = self.scale.maildrop * MAILBOXES;
        if self.maildrops.is_none() {
            let run = self.run(POP3_SIZE, 1);
            let (is_peer, dir) = (matches!(self.spec, Spec::Peer { .. }), self.dir.join("main"));
            let target = self.target()?;
            empty_maildrops(target)?;
            if is_peer {
                seed_maildirs(&dir, &run, count)?;
            } else {
                hand_over(target.smtp, &run, 0, count, MAILBOXES, &address)?;
            }
            wait_for_delivery(target, &run, count)?;
            self.maildrops = Some(run);
        }
        let run = self.maildrops.clone().ok_or("no maildrops")?;
        Ok((self.target()?, run))
    }

    fn log_in(&mut self) -> Result<Vec<Figure>> {
        let (target, _) = self.fill_maildrops()?;
        let cpu = target.group.cpu();
        let mut times = Vec::new();
        for m in 0..REPEATS {
            let begun = Instant::now();
            let maildrop = Maildrop::open(target.pop3, &address(m % MAILBOXES), PASSWORD)?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            maildrop.quit()?;
        }
        let used = target.group.cpu() - cpu;
        Ok(vec![
            less("connect to logged in", "ms", median(&mut times)),
            less("CPU per 1,000", "s", used / REPEATS as f64 * 1000.0),
        ])
    }

    fn unique_ids(&mut self) -> Result<Vec<Figure>> {
        let expected = self.scale.maildrop;
        let (target, _) = self.fill_maildrops()?;
        let mut times = Vec::new();
        for m in 0..REPEATS {
            let mut maildrop = Maildrop::open(target.pop3, &address(m % MAILBOXES), PASSWORD)?;
            let begun = Instant::now();
            let listed = maildrop.unique_ids()?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            maildrop.quit()?;
            if listed != expected {
                return Err(format!("UIDL listed {listed} of {expected}").into());
            }
        }
        Ok(vec![less("UIDL", "ms", median(&mut times))])
    }

    fn retrieve(&mut self, sessions: usize, pipelined: bool) -> Result<Vec<Figure>> {
        let per_maildrop = self.scale.maildrop;
        let (target, run) = self.fill_maildrops()?;
        let mut maildrops = Vec::new();
        for m in 0..sessions {
            // Memory that is there already: what the system takes to give it is not the server's.
            let mut text = vec![1; per_maildrop * POP3_ROOM];
            text.clear();
            maildrops.push((m, Maildrop::open(target.pop3, &address(m), PASSWORD)?, text));
        }
        let cpu = target.group.cpu();
        let begun = Instant::now();
        let fetched = in_parallel(maildrops, |(m, mut maildrop, mut text)| {
            let mut begins = Vec::with_capacity(per_maildrop + 1);
            let numbers: Vec<usize> = (1..=per_maildrop).collect();
            maildrop.retrieve(&numbers, if pipelined { AHEAD } else { 1 }, &mut text, |_, begin| {
                begins.push(begin);
                Ok(())
            })?;
            maildrop.quit()?;
            begins.push(text.len());
            Ok((m, text, begins))
        })?;
        let (took, used) = (begun.elapsed(), target.group.cpu() - cpu);
        for (m, text, begins) in fetched {
            let expected: BTreeSet<usize> = run.of_mailbox(m, per_maildrop * MAILBOXES).collect();
            let messages = begins.windows(2).map(|ends| run.check(&text[ends[0]..ends[1]]));
            let got = messages.collect::<Result<BTreeSet<usize>>>()?;
            if got != expected {
                return Err(format!("{}: not the messages that were sent there", address(m)).into());
            }
        }
        let count = (sessions * per_maildrop) as f64;
        Ok(vec![
            more("RETR", "messages/s", count / took.as_secs_f64()),
            less("CPU per 1,000", "s", used / count * 1000.0),
        ])
    }

    fn idle(&mut self, door: Door) -> Result<Vec<Figure>> {
        let count = self.scale.idle;
        let dir = self.dir.join("idle");
        // The first start makes the accounts, and hashing passwords leaves memory behind; the second is an ordinary one.
        Target::start(self.spec, &dir, count.max(MAILBOXES))?.stop();
        let target = Target::start(self.spec, &dir, count.max(MAILBOXES))?;
        // What the first half brings with it, log-ins above all, belongs to the server: memory is what the second half adds.
        let alone = target.group.pss();
        let mut open = Vec::with_capacity(count);
        let mut memory = Vec::new();
        for step in 0..STEPS {
            for m in step * count / STEPS..(step + 1) * count / STEPS {
                open.push(open_door(&target, door, m)?);
            }
            std::thread::sleep(STEP);
            memory.push(target.group.pss());
        }
        let (half, all) = (memory[STEPS / 2 - 1], memory[STEPS - 1]);
        for conn in &mut open {
            conn.send(b"NOOP\r\n")?;
            let line = conn.line()?;
            // Before the log-in POP3 knows no NOOP; an answer is an answer.
            if !line.starts_with("250") && !line.starts_with("+OK") && !line.starts_with("-ERR") {
                return Err(format!("an idle connection answered {line}").into());
            }
        }
        drop(open);
        target.stop();
        Ok(vec![
            less("memory per connection", "KiB", (all - half) / (count / 2) as f64),
            less("memory with all", "MiB", all / 1024.0),
            less("memory without them", "MiB", alone / 1024.0),
        ])
    }

    fn start(&mut self) -> Result<Vec<Figure>> {
        let dir = match &self.stored {
            Some(dir) => dir.clone(),
            None => self.fill_store()?,
        };
        let target = Target::start(self.spec, &dir, MAILBOXES)?;
        let took = target.took;
        let begun = Instant::now();
        let mut maildrop = Maildrop::open(target.pop3, &address(0), PASSWORD)?;
        let first_log_in = begun.elapsed();
        let (count, expected) = (maildrop.count()?, self.scale.stored / MAILBOXES);
        if count != expected {
            return Err(format!("{count} of {expected} messages are there after a new start").into());
        }
        maildrop.quit()?;
        target.stop();
        Ok(vec![
            less("until it greets", "ms", took.as_secs_f64() * 1000.0),
            less("first log-in, of 5,000 messages", "ms", first_log_in.as_secs_f64() * 1000.0),
        ])
    }

    /// Makes a server's directory with many messages in it.
    fn fill_store(&mut self) -> Result<PathBuf> {
        let dir = self.dir.join("stored");
        let count = self.scale.stored / MAILBOXES * MAILBOXES;
        let run = self.run(STORED_SIZE, 1);
        let target = Target::start(self.spec, &dir, MAILBOXES)?;
        match self.spec {
            Spec::Packetboat { .. } => drop(hand_over(target.smtp, &run, 0, count, 50, &address)?),
            _ => seed_maildirs(&dir, &run, count)?,
        }
        wait_for_delivery(&target, &run, count)?;
        target.stop();
        self.stored = Some(dir.clone());
        Ok(dir)
    }
}

fn open_door(target: &Target, door: Door, m: usize) -> Result<Conn> {
    let mut conn = Conn::connect(if door == Door::Smtp { target.smtp } else { target.pop3 })?;
    match door {
        Door::Smtp => {
            conn.reply("220", "greeting")?;
            conn.send(b"EHLO client.sender.example\r\n")?;
            conn.reply("250", "EHLO")?;
        }
        Door::Pop3 => drop(conn.ok("greeting")?),
        Door::Maildrop => {
            conn.ok("greeting")?;
            for command in [format!("USER {}\r\n", address(m)), format!("PASS {PASSWORD}\r\n")] {
                conn.send(command.as_bytes())?;
                conn.ok(command.trim_end())?;
            }
        }
    }
    Ok(conn)
}

/// Does `work` on each item in a thread of its own.
pub(crate) fn in_parallel<I: Send, T: Send>(
    items: impl IntoIterator<Item = I>,
    work: impl Fn(I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(|| work(item))).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("a thread panicked".into()))).collect()
    })
}

/// Waits until every mailbox holds what was sent to it. Tells when the look began that found all, and the CPU time used
/// by then: the look itself, with its log-ins, is not the delivery's.
fn wait_for_delivery(target: &Target, run: &Run, count: usize) -> Result<(Instant, f64)> {
    let begun = Instant::now();
    let mut missing: Vec<(usize, usize)> =
        (0..MAILBOXES).map(|m| (m, run.of_mailbox(m, count).count())).filter(|(_, n)| *n > 0).collect();
    loop {
        let (look, cpu) = (Instant::now(), target.group.cpu());
        let still = Mutex::new(Vec::new());
        in_parallel(missing.iter().copied(), |(m, expected)| {
            let mut maildrop = Maildrop::open(target.pop3, &address(m), PASSWORD)?;
            let there = maildrop.count()?;
            maildrop.quit()?;
            if there > expected {
                return Err(format!("{}: {there} messages, {expected} were sent", address(m)).into());
            }
            if there < expected
                && let Ok(mut still) = still.lock()
            {
                still.push((m, expected));
            }
            Ok(())
        })?;
        missing = still.into_inner().unwrap_or_default();
        if missing.is_empty() {
            return Ok((look, cpu));
        }
        if begun.elapsed() > DELIVERY {
            return Err(format!("not all delivered in {} s: {missing:?}", DELIVERY.as_secs()).into());
        }
        // Each look costs the server some; the longer it takes, the rarer.
        std::thread::sleep(Duration::from_millis(20).max(begun.elapsed().mul_f64(0.03)));
    }
}

/// Fetches what was delivered, compares it, and empties the mailboxes.
fn verify(target: &Target, run: &Run, count: usize, all: bool) -> Result {
    in_parallel(0..MAILBOXES, |m| {
        let expected: BTreeSet<usize> = run.of_mailbox(m, count).collect();
        let mut maildrop = Maildrop::open(target.pop3, &address(m), PASSWORD)?;
        let there = maildrop.count()?;
        if there != expected.len() {
            return Err(format!("{}: {there} messages, {} were sent", address(m), expected.len()).into());
        }
        let step = if all { 1 } else { there.div_ceil(SAMPLE).max(1) };
        let numbers: Vec<usize> = (1..=there).step_by(step).collect();
        let mut seen = BTreeSet::new();
        maildrop.retrieve(&numbers, AHEAD, &mut Vec::new(), |text, begin| {
            let n = run.check(&text[begin..])?;
            text.clear();
            if !expected.contains(&n) {
                return Err(format!("message {n} was not sent to {}", address(m)).into());
            }
            if !seen.insert(n) {
                return Err(format!("{}: message {n} is there twice", address(m)).into());
            }
            Ok(())
        })?;
        maildrop.empty(there)
    })
    .map(drop)
}

fn empty_maildrops(target: &Target) -> Result {
    in_parallel(0..MAILBOXES, |m| {
        let mut maildrop = Maildrop::open(target.pop3, &address(m), PASSWORD)?;
        let there = maildrop.count()?;
        maildrop.empty(there)
    })
    .map(drop)
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
