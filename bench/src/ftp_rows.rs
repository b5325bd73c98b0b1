//! What is measured of FTP. Every octet that comes is compared, every octet that was stored is looked at where it lies, every
//! name of a listing is ticked off, every reply has its code.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::client::Resumption;

use crate::Result;
use crate::ftp::Session;
use crate::ftp_content::{Pattern, begin, name, number};
use crate::imap::trusting;
use crate::meter::own_cpu;
use crate::rows::{Figure, Scale, in_parallel, less, more};
use crate::target::{FTP_LOGIN, PASSWORD, Spec, Target};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Size of each small file.
const SMALL: u64 = 4096;
/// Log-ins at a time.
const LOG_INS: usize = 10;
/// Idle sessions are opened in so many steps; memory is what the second half adds.
const STEPS: usize = 4;
/// Between two steps.
const STEP: Duration = Duration::from_millis(700);

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FtpRow {
    Retrieve { sessions: usize, tls: bool },
    Store { sessions: usize, tls: bool },
    Text,
    Small { tls: bool },
    List(&'static str),
    LogIn { tls: bool },
    Idle { tls: bool },
}

/// Every row, in the order of the table.
pub(crate) fn all() -> Vec<FtpRow> {
    let mut rows = Vec::new();
    for tls in [false, true] {
        for sessions in [1, 4] {
            rows.extend([FtpRow::Retrieve { sessions, tls }, FtpRow::Store { sessions, tls }]);
        }
    }
    rows.push(FtpRow::Text);
    rows.extend([false, true].map(|tls| FtpRow::Small { tls }));
    rows.extend(["LIST", "MLSD"].map(FtpRow::List));
    rows.extend([false, true].map(|tls| FtpRow::LogIn { tls }));
    rows.extend([false, true].map(|tls| FtpRow::Idle { tls }));
    rows
}

impl fmt::Display for FtpRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let under = |tls: &bool| if *tls { ", TLS" } else { "" };
        match self {
            FtpRow::Retrieve { sessions: 1, tls } => write!(f, "FTP RETR of 1 GiB{}", under(tls)),
            FtpRow::Retrieve { sessions, tls } => {
                write!(f, "FTP RETR of 1 GiB, {sessions} at once{}", under(tls))
            }
            FtpRow::Store { sessions: 1, tls } => write!(f, "FTP STOR of 1 GiB{}", under(tls)),
            FtpRow::Store { sessions, tls } => {
                write!(f, "FTP STOR of {} MiB, {sessions} at once{}", 1024 / sessions, under(tls))
            }
            FtpRow::Text => write!(f, "FTP ASCII RETR of 256 MiB"),
            FtpRow::Small { tls } => write!(f, "FTP small files{}", under(tls)),
            FtpRow::List(verb) => write!(f, "FTP {verb} of 100,000"),
            FtpRow::LogIn { tls } => write!(f, "FTP log-ins, {LOG_INS} at a time{}", under(tls)),
            FtpRow::Idle { tls } => write!(f, "FTP idle sessions{}", under(tls)),
        }
    }
}

/// What all servers serve: made once, linked into each one's directory.
const LARGE: &str = "large.bin";
const TEXT: &str = "text.txt";
const MANY: &str = "many";
const FEW: &str = "small";

/// One server through the rows of FTP.
#[derive(Debug)]
pub(crate) struct FtpBench<'a> {
    spec: &'a Spec,
    scale: &'a Scale,
    dir: PathBuf,
    target: Option<Target>,
    binary: Arc<Pattern>,
}

impl<'a> FtpBench<'a> {
    pub(crate) fn new(spec: &'a Spec, scale: &'a Scale, dir: PathBuf) -> FtpBench<'a> {
        FtpBench { spec, scale, dir, target: None, binary: Arc::new(Pattern::binary()) }
    }

    pub(crate) fn measure(&mut self, row: FtpRow) -> Result<Vec<Figure>> {
        if row == FtpRow::List("MLSD") && self.spec.name() == "vsftpd" {
            // It has no MLSD.
            return Ok(Vec::new());
        }
        self.start()?;
        match row {
            FtpRow::Retrieve { sessions, tls } => self.retrieve(sessions, tls),
            FtpRow::Store { sessions, tls } => self.store(sessions, tls),
            FtpRow::Text => self.text(),
            FtpRow::Small { tls } => self.small(tls),
            FtpRow::List(verb) => self.list(verb),
            FtpRow::LogIn { tls } => self.log_in(tls),
            FtpRow::Idle { tls } => self.idle(tls),
        }
    }

    fn start(&mut self) -> Result {
        if self.target.is_some() {
            return Ok(());
        }
        let target = Target::start(self.spec, &self.dir.join("ftp"), 1)?;
        // What is done once, such as the hash of the password or a home, is not what is measured.
        Session::open(target.ftp, None, FTP_LOGIN, PASSWORD)?.quit()?;
        let files = target.files();
        fs::create_dir_all(&files)?;
        let shared = self.dir.parent().ok_or("no directory")?;
        self.share(shared, &files, LARGE, self.scale.large, &Pattern::binary())?;
        self.share(shared, &files, TEXT, self.scale.text * Pattern::text().period(), &Pattern::text())?;
        let many = files.join(MANY);
        fs::create_dir_all(&many)?;
        // In no order, as they come about.
        for n in 0..self.scale.entries {
            fs::write(many.join(name(n * 7919 % self.scale.entries)), b"")?;
        }
        own(&many, self.spec)?;
        self.target = Some(target);
        Ok(())
    }

    fn share(&self, shared: &Path, files: &Path, name: &str, octets: u64, pattern: &Pattern) -> Result {
        let one = shared.join(name);
        if !one.exists() {
            pattern.write(&one, octets)?;
        }
        Ok(fs::hard_link(one, files.join(name))?)
    }

    fn running(&self) -> Result<&Target> {
        self.target.as_ref().ok_or_else(|| "not started".into())
    }

    /// Who has the certificate is believed; each session has tickets of its own.
    fn tls(&self, tls: bool) -> Result<Option<Arc<ClientConfig>>> {
        if tls { Ok(Some(trusting(&self.running()?.authority()?)?)) } else { Ok(None) }
    }

    fn session(&self, tls: bool) -> Result<Session> {
        let mut session = Session::open(self.running()?.ftp, self.tls(tls)?.as_ref(), FTP_LOGIN, PASSWORD)?;
        session.prepare()?;
        Ok(session)
    }

    /// Lets sessions move so many octets each, from the moment when all have logged in until the last is done.
    fn transfer(
        &self,
        sessions: usize,
        tls: bool,
        octets: u64,
        work: impl Fn(usize, &mut Session) -> Result + Sync,
    ) -> Result<Vec<Figure>> {
        let opened = (0..sessions).map(|_| self.session(tls)).collect::<Result<Vec<_>>>()?;
        let together = Barrier::new(sessions);
        let (group, own) = (&self.running()?.group, own_cpu());
        let cpu = group.cpu();
        let (times, peak) = group.peak_during(|| {
            in_parallel(opened.into_iter().enumerate(), |(n, mut session)| {
                together.wait();
                let begun = Instant::now();
                work(n, &mut session)?;
                let ended = Instant::now();
                session.quit()?;
                Ok((begun, ended))
            })
        });
        let times = times?;
        let begun = times.iter().map(|(begun, _)| *begun).min().ok_or("no session")?;
        let ended = times.iter().map(|(_, ended)| *ended).max().ok_or("no session")?;
        let all = octets as f64 * sessions as f64;
        let gib = all / GIB as f64;
        Ok(vec![
            more("throughput", "MiB/s", all / MIB as f64 / (ended - begun).as_secs_f64()),
            less("CPU per GiB", "s", (group.cpu() - cpu) / gib),
            less("load generator's CPU per GiB", "s", (own_cpu() - own) / gib),
            less("peak memory", "MiB", peak / 1024.0),
        ])
    }

    fn retrieve(&self, sessions: usize, tls: bool) -> Result<Vec<Figure>> {
        let octets = self.scale.large;
        self.transfer(sessions, tls, octets, |_, session| session.retrieve(LARGE, &self.binary, 0, octets))
    }

    fn store(&self, sessions: usize, tls: bool) -> Result<Vec<Figure>> {
        let octets = self.scale.large / sessions as u64;
        let path = |n: usize| format!("up-{n}.bin");
        // Memory that the system has ready: in a virtual machine, pages that nobody has used for a while are the machine's
        // below, and asking for them back costs more than all the rest.
        let warm = self.dir.join("warm");
        self.binary.write(&warm, octets * sessions as u64)?;
        fs::remove_file(warm)?;
        let figures = self.transfer(sessions, tls, octets, |n, session| {
            session.store(&path(n), &self.binary, n as u64, octets)
        })?;
        for n in 0..sessions {
            let file = self.running()?.files().join(path(n));
            self.binary.is_in(&file, n as u64, octets)?;
            fs::remove_file(file)?;
        }
        Ok(figures)
    }

    fn text(&self) -> Result<Vec<Figure>> {
        let wire = Pattern::text_on_the_wire();
        let octets = self.scale.text * wire.period();
        self.transfer(1, false, octets, |_, session| {
            session.command("TYPE A", "200")?;
            session.retrieve(TEXT, &wire, 0, octets)
        })
    }

    fn small(&self, tls: bool) -> Result<Vec<Figure>> {
        let count = if tls { self.scale.small / 10 } else { self.scale.small };
        let target = self.running()?;
        let group = &target.group;
        let mut session = self.session(tls)?;
        let dir = target.files().join(FEW);
        session.command(&format!("MKD {FEW}"), "257")?;
        session.command(&format!("CWD {FEW}"), "250")?;
        let thousands = count as f64 / 1000.0;
        let mut figures = Vec::new();
        let mut measure = |names: [&'static str; 2], work: &mut dyn FnMut(usize) -> Result| -> Result {
            let (cpu, begun) = (group.cpu(), Instant::now());
            (0..count).try_for_each(work)?;
            let took = begun.elapsed();
            figures.push(more(names[0], "files/s", count as f64 / took.as_secs_f64()));
            figures.push(less(names[1], "s", (group.cpu() - cpu) / thousands));
            Ok(())
        };
        measure(["stored", "stored, CPU per 1,000"], &mut |n| {
            session.store(&name(n), &self.binary, begin(n), SMALL)
        })?;
        for n in 0..count {
            self.binary.is_in(&dir.join(name(n)), begin(n), SMALL)?;
        }
        measure(["fetched", "fetched, CPU per 1,000"], &mut |n| {
            session.retrieve(&name(n), &self.binary, begin(n), SMALL)
        })?;
        measure(["deleted", "deleted, CPU per 1,000"], &mut |n| {
            session.command(&format!("DELE {}", name(n)), "250")
        })?;
        session.command("CWD ..", "250")?;
        session.command(&format!("RMD {FEW}"), "250")?;
        session.quit()?;
        Ok(figures)
    }

    fn list(&self, verb: &str) -> Result<Vec<Figure>> {
        let (target, expected) = (self.running()?, self.scale.entries);
        let mut session = self.session(false)?;
        session.command(&format!("CWD {MANY}"), "250")?;
        // Memory that is there already: what the system takes to give it is not the server's.
        let mut text = vec![1; expected * 160];
        text.clear();
        let (cpu, begun) = (target.group.cpu(), Instant::now());
        let mut first = None;
        let (outcome, peak) = target.group.peak_during(|| {
            session.fetch(verb, |piece| {
                first.get_or_insert_with(|| begun.elapsed());
                text.extend_from_slice(piece);
                Ok(())
            })
        });
        outcome?;
        let took = begun.elapsed();
        let cpu = target.group.cpu() - cpu;
        session.quit()?;
        let mut seen = vec![false; expected];
        for line in text.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            let line = line.strip_suffix(b"\r").ok_or("a line of a listing ends without CR")?;
            let of = line.rsplit(|&b| b == b' ').next().and_then(number);
            // The directory itself and the one above may be told too.
            let Some(n) = of else { continue };
            if std::mem::replace(seen.get_mut(n).ok_or("a name that is not there")?, true) {
                return Err(format!("{verb}: {} twice", name(n)).into());
            }
        }
        if let Some(missing) = seen.iter().position(|seen| !seen) {
            return Err(format!("{verb}: {} is missing", name(missing)).into());
        }
        Ok(vec![
            less("time", "ms", took.as_secs_f64() * 1e3),
            less("until the first octet", "ms", first.unwrap_or(took).as_secs_f64() * 1e3),
            less("CPU", "ms", cpu * 1e3),
            less("peak memory", "MiB", peak / 1024.0),
        ])
    }

    fn log_in(&self, tls: bool) -> Result<Vec<Figure>> {
        let (target, count) = (self.running()?, self.scale.log_ins);
        // Everybody comes for the first time.
        let config = self.tls(tls)?.map(|config| {
            let mut config = ClientConfig::clone(&config);
            config.resumption = Resumption::disabled();
            Arc::new(config)
        });
        let next = AtomicUsize::new(0);
        let (cpu, begun) = (target.group.cpu(), Instant::now());
        in_parallel(0..LOG_INS, |_| {
            while next.fetch_add(1, Ordering::Relaxed) < count {
                Session::open(target.ftp, config.as_ref(), FTP_LOGIN, PASSWORD)?.quit()?;
            }
            Ok(())
        })?;
        let took = begun.elapsed();
        // A process that ends after its farewell is paid for too.
        std::thread::sleep(STEP);
        let thousands = count as f64 / 1000.0;
        Ok(vec![
            more("log-ins", "1/s", count as f64 / took.as_secs_f64()),
            less("CPU per 1,000", "s", (target.group.cpu() - cpu) / thousands),
        ])
    }

    fn idle(&self, tls: bool) -> Result<Vec<Figure>> {
        let (target, count) = (self.running()?, self.scale.idle);
        let (mut sessions, mut half) = (Vec::with_capacity(count), 0.0);
        let before = target.group.pss();
        for step in 0..STEPS {
            for _ in 0..count / STEPS {
                sessions.push(self.session(tls)?);
            }
            std::thread::sleep(STEP);
            if step + 1 == STEPS / 2 {
                half = target.group.pss();
            }
        }
        let all = target.group.pss();
        let (opened, in_second) = (sessions.len(), sessions.len() / STEPS * (STEPS - STEPS / 2));
        for mut session in sessions {
            session.command("NOOP", "200")?;
            session.quit()?;
        }
        Ok(vec![
            less("memory of a session", "KiB", (all - half) / in_second as f64),
            less("memory of a session, with what is there once", "KiB", (all - before) / opened as f64),
        ])
    }
}

/// Gives what a server serves to the user it serves it to.
fn own(dir: &Path, spec: &Spec) -> Result {
    let Some(owner) = spec.owner() else { return Ok(()) };
    for entry in fs::read_dir(dir)? {
        std::os::unix::fs::chown(entry?.path(), Some(owner), Some(owner))?;
    }
    Ok(std::os::unix::fs::chown(dir, Some(owner), Some(owner))?)
}
