//! Many sessions work at random on few mailboxes of a real server, while mail comes by SMTP and goes by POP3; every
//! response is held against what is possible, and when all is quiet everybody must know the same.
//!
//! `PACKETBOAT_SEED` chooses what is done, `PACKETBOAT_SECONDS` for how long.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod stress;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use stress::{Doors, Kind, Outcome, Random, Session, Trouble, World, deliver, pop, settle};
use support::Demo;

/// Sessions of alice, and of bob.
const SESSIONS: [usize; 2] = [10, 2];
const KINDS: [Kind; 6] =
    [Kind::Qresync, Kind::Plain, Kind::Condstore, Kind::Qresync, Kind::Rev2, Kind::Plain];
/// How long they work until all is compared.
const ROUND: Duration = Duration::from_secs(4);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn duration() -> Duration {
    let long = if std::env::var_os("PACKETBOAT_LONG").is_some() { 90 } else { 30 };
    Duration::from_secs(number("PACKETBOAT_SECONDS").unwrap_or(long))
}

struct Stress {
    seed: u64,
    began: Instant,
    worlds: Vec<Arc<World>>,
    sessions: Vec<Session>,
    fresh: Vec<Session>,
    random: Random,
}

impl Stress {
    fn new(seed: u64) -> Stress {
        let names =
            [("alice@demo.test", &["INBOX", "Archive", "Sent"][..]), ("bob@demo.test", &["INBOX", "Trash"])];
        let worlds: Vec<Arc<World>> =
            names.iter().map(|(login, names)| Arc::new(World::new(login, names))).collect();
        let all: usize = SESSIONS.iter().sum();
        let mut sessions = Vec::new();
        for (world, count) in worlds.iter().zip(SESSIONS) {
            for _ in 0..count {
                let index = sessions.len();
                sessions.push(Session::new(index, all, KINDS[index % KINDS.len()], seed, world));
            }
        }
        let fresh = worlds.iter().map(|world| Session::new(all, all, Kind::Condstore, seed, world)).collect();
        Stress { seed, began: Instant::now(), worlds, sessions, fresh, random: Random(seed) }
    }

    fn doors(&self, demo: &Demo) -> Doors {
        Doors::new(demo.at("imap"), demo.at("imaps"), demo.ca(), self.began)
    }

    /// Everybody works for a while. With `kill`, the server dies meanwhile.
    fn work(&mut self, demo: &Demo, kill: bool) {
        let deadline = Instant::now() + ROUND;
        let (stop, killed) = (AtomicBool::new(false), AtomicBool::new(false));
        let doors = self.doors(demo);
        let goes_on = || !stop.load(Ordering::Relaxed) && Instant::now() < deadline;
        let found: Vec<(Option<usize>, Trouble)> = thread::scope(|scope| {
            let mut threads = Vec::new();
            for session in &mut self.sessions {
                let (stop, killed, goes_on, doors) = (&stop, &killed, &goes_on, &doors);
                threads.push(scope.spawn(move || {
                    let mut work = || -> Outcome {
                        if !session.is_connected() {
                            session.connect(doors)?;
                        }
                        while goes_on() {
                            session.act()?;
                        }
                        Ok(())
                    };
                    let outcome = work();
                    report(outcome, Some(session.index), stop, killed).inspect_err(|found| {
                        if found.is_none() {
                            session.disconnect();
                        }
                    })
                }));
            }
            for (number, world) in self.worlds.iter().enumerate() {
                let (stop, killed, goes_on) = (&stop, &killed, &goes_on);
                let (smtp, pop3) = (demo.at("smtp"), demo.at("pop3"));
                let mut random = Random(self.random.next());
                let pace = Duration::from_millis(if number == 0 { 30 } else { 200 });
                threads.push(scope.spawn(move || {
                    while goes_on() {
                        report(deliver(smtp, world), None, stop, killed)?;
                        thread::sleep(pace);
                    }
                    Ok(())
                }));
                threads.push(scope.spawn(move || {
                    while goes_on() {
                        report(pop(pop3, world, &mut random), None, stop, killed)?;
                        thread::sleep(Duration::from_millis(300));
                    }
                    Ok(())
                }));
            }
            if kill {
                thread::sleep(Duration::from_millis(500 + self.random.below(2500) as u64));
                killed.store(true, Ordering::Relaxed);
                let pid = demo.pid().to_string();
                std::process::Command::new("kill").args(["-s", "KILL", &pid]).status().unwrap();
            }
            threads.into_iter().filter_map(|thread| thread.join().unwrap().err().flatten()).collect()
        });
        if let Some((index, trouble)) = found.first() {
            self.fail(*index, trouble);
        }
    }

    /// All is quiet, and compared.
    fn settle(&mut self, demo: &Demo) {
        let doors = self.doors(demo);
        for world in 0..self.worlds.len() {
            let settled =
                settle(&mut self.sessions, &self.worlds[world].clone(), &doors, &mut self.fresh[world]);
            if let Err((index, trouble)) = settled {
                if index.is_none() {
                    eprintln!("the fresh session:\n{}", self.fresh[world].dialogue());
                }
                self.fail(index, &trouble);
            }
        }
    }

    fn fail(&self, index: Option<usize>, trouble: &Trouble) -> ! {
        let who = index.map(|index| &self.sessions[index]);
        if let Some(session) = who {
            let known: Vec<_> =
                session.view.iter().map(|view| (&view.name, view.validity, view.uids())).collect();
            eprintln!(
                "{}\nsession {} ({:?}) knows {known:?}",
                session.dialogue(),
                session.index,
                session.kind
            );
        }
        let index = index.map_or("nobody's".to_owned(), |index| index.to_string());
        let (Trouble::Lost(what) | Trouble::Wrong(what)) = trouble;
        panic!("PACKETBOAT_SEED={}, session {index}: {what}", self.seed);
    }

    fn told(&self) {
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for (name, count) in self.sessions.iter().flat_map(|session| &session.counts) {
            *counts.entry(name).or_default() += count;
        }
        eprintln!("seed {}, {:.0} s: {counts:?}", self.seed, self.began.elapsed().as_secs_f64());
    }
}

/// `Err(None)`: the end, as it must be when the server dies.
fn report(
    outcome: Outcome,
    index: Option<usize>,
    stop: &AtomicBool,
    killed: &AtomicBool,
) -> Result<(), Option<(Option<usize>, Trouble)>> {
    match outcome {
        Ok(()) => Ok(()),
        Err(Trouble::Lost(_)) if killed.load(Ordering::Relaxed) => Err(None),
        Err(trouble) => {
            stop.store(true, Ordering::Relaxed);
            Err(Some((index, trouble)))
        }
    }
}

#[test]
fn sessions_agree() {
    let demo = Demo::start();
    let mut stress = Stress::new(number("PACKETBOAT_SEED").unwrap_or(1));
    let end = Instant::now() + duration();
    while Instant::now() < end {
        stress.work(&demo, false);
        stress.settle(&demo);
    }
    stress.told();
}

#[test]
fn sessions_agree_after_the_server_was_killed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("demo");
    let mut demo = Demo::start_on(&dir, &[]);
    let mut stress = Stress::new(number("PACKETBOAT_SEED").unwrap_or(2));
    let end = Instant::now() + duration();
    while Instant::now() < end {
        stress.work(&demo, true);
        demo.kill();
        demo = Demo::start_on(&dir, &[]);
        stress.settle(&demo);
    }
    stress.told();
}
