//! Relaying: messages in by many connections, out to one next hop by a few.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Result;
use crate::content::Run;
use crate::meter::own_cpu;
use crate::rows::{Figure, Scale, less, more};
use crate::sink::Sink;
use crate::smtp::hand_over;
use crate::target::{Spec, Target};

/// Messages relayed to find out how fast a server is.
const PILOT: usize = 500;
/// How long after the last 250 the last message may take to the sink.
const DELIVERY: Duration = Duration::from_secs(240);

/// What is measured of relaying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelayRow {
    size: usize,
    sessions: usize,
}

/// Connections to the sink that each server may have, as Postfix has it by default.
pub(crate) const OUT: usize = 20;

pub(crate) fn all() -> Vec<RelayRow> {
    vec![
        RelayRow { size: 4000, sessions: 100 },
        RelayRow { size: 4000, sessions: 1 },
        RelayRow { size: 50_000, sessions: 100 },
    ]
}

impl fmt::Display for RelayRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.sessions == 1 { "" } else { "s" };
        write!(f, "relay {} kB, {} connection{s} in, {OUT} out", self.size / 1000, self.sessions)
    }
}

/// One server through all rows.
#[derive(Debug)]
pub(crate) struct RelayBench<'a> {
    spec: &'a Spec,
    scale: &'a Scale,
    dir: PathBuf,
    running: Option<(Target, Sink)>,
    rates: Vec<(RelayRow, f64)>,
    runs: usize,
}

fn address(m: usize) -> String {
    format!("user{m:04}@sink.example")
}

impl<'a> RelayBench<'a> {
    pub(crate) fn new(spec: &'a Spec, scale: &'a Scale, dir: PathBuf) -> RelayBench<'a> {
        RelayBench { spec, scale, dir, running: None, rates: Vec::new(), runs: 0 }
    }

    pub(crate) fn measure(&mut self, row: RelayRow) -> Result<Vec<Figure>> {
        let rate = match self.rates.iter().find(|(known, _)| *known == row) {
            Some((_, rate)) => *rate,
            None => self.relay(row, PILOT)?.rate,
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let count = ((rate * self.scale.seconds) as usize).max(PILOT);
        let done = self.relay(row, count)?;
        self.rates.retain(|(known, _)| *known != row);
        self.rates.push((row, done.rate));
        let thousands = count as f64 / 1000.0;
        Ok(vec![
            more("relayed", "messages/s", done.rate),
            more("accepted", "messages/s", done.accepted),
            less("CPU per 1,000", "s", done.cpu / thousands),
            less("load generator's CPU per 1,000", "s", done.own / thousands),
            less("peak memory", "MiB", done.peak / 1024.0),
            less("connections", "", done.connections as f64),
        ])
    }

    fn relay(&mut self, row: RelayRow, count: usize) -> Result<Done> {
        if self.running.is_none() {
            let sink = Sink::start()?;
            self.running = Some((Target::start_relay(self.spec, &self.dir.join("relay"), sink.at)?, sink));
        }
        let (target, sink) = self.running.as_ref().ok_or("not started")?;
        self.runs += 1;
        let run =
            Run { name: format!("{}-{}", std::process::id(), self.runs), size: row.size, recipients: 1 };
        sink.expect(&run, count);
        let (cpu, own, begun) = (target.group.cpu(), own_cpu(), Instant::now());
        let (outcome, peak) = target.group.peak_during(|| -> Result<_> {
            let handed = hand_over(target.smtp, &run, 0, count, row.sessions, &address)?;
            Ok((handed, sink.wait(DELIVERY)?))
        });
        let (handed, (last, connections)) = outcome?;
        Ok(Done {
            rate: count as f64 / (last - begun).as_secs_f64(),
            accepted: count as f64 / handed.took.as_secs_f64(),
            cpu: target.group.cpu() - cpu,
            own: own_cpu() - own,
            peak,
            connections,
        })
    }
}

/// What was found.
struct Done {
    rate: f64,
    accepted: f64,
    cpu: f64,
    own: f64,
    peak: f64,
    connections: usize,
}
