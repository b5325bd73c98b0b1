//! What a server costs: CPU time and memory of the processes started for it, and of no others.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// How long a server may take to end when it is asked to.
const GOODBYE: Duration = Duration::from_secs(15);
/// How often memory is looked at while work is done.
const SAMPLE: Duration = Duration::from_millis(500);
/// A clock tick of /proc in seconds; USER_HZ is 100 on every architecture we build for.
const TICK: f64 = 0.01;

/// The processes of one server.
#[derive(Debug)]
pub(crate) enum Group {
    /// A control group (version 2): it misses no process, however short its life.
    Control(PathBuf),
    /// A process and its descendants, where we may not make a control group.
    Tree(u32),
}

impl Group {
    /// A fresh control group if this machine and our rights allow it.
    pub(crate) fn control(name: &str) -> Option<Group> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let root = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (place, kind) = (fields.next()?, fields.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(place))
        })?;
        let dir = root.join(format!("packetboat-bench-{}-{name}", std::process::id()));
        fs::create_dir(&dir).ok()?;
        // Whatever ends this process, nothing it started is left behind.
        let watch = r#"while kill -0 "$1" && test -d "$0"; do sleep 1; done; for p in $(cat "$0/cgroup.procs"); do kill -9 "$p"; done
            sleep 1; rmdir "$0""#;
        let mut watcher = Command::new("setsid");
        watcher.args(["--fork", "sh", "-c", watch]).arg(&dir).arg(std::process::id().to_string());
        watcher.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
        Some(Group::Control(dir))
    }

    /// A command that runs in this group from its first instruction on.
    pub(crate) fn command(&self, program: &Path) -> Command {
        match self {
            Group::Control(dir) => {
                let mut command = Command::new("sh");
                command.args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#]).arg(dir).arg(program);
                command
            }
            Group::Tree(_) => Command::new(program),
        }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        match self {
            Group::Control(dir) => {
                let listed = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
                listed.lines().filter_map(|pid| pid.parse().ok()).collect()
            }
            Group::Tree(root) => descendants(*root),
        }
    }

    /// CPU seconds used so far.
    pub(crate) fn cpu(&self) -> f64 {
        match self {
            Group::Control(dir) => {
                let stat = fs::read_to_string(dir.join("cpu.stat")).unwrap_or_default();
                let used =
                    stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse::<f64>().ok());
                used.unwrap_or_default() / 1e6
            }
            // Own time and that of children already gone.
            Group::Tree(_) => self.pids().iter().filter_map(|pid| stat(*pid)).map(|s| s.ticks * TICK).sum(),
        }
    }

    /// Proportional set size in KiB: what the processes take, shared pages split up among them.
    pub(crate) fn pss(&self) -> f64 {
        let of = |pid: u32| {
            // A process may have ended since it was listed.
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            rollup
                .lines()
                .find_map(|l| l.strip_prefix("Pss:")?.split_whitespace().next()?.parse::<f64>().ok())
        };
        self.pids().into_iter().filter_map(of).sum()
    }

    /// Does `work`, and tells the most memory seen meanwhile, in KiB.
    pub(crate) fn peak_during<T>(&self, work: impl FnOnce() -> T) -> (T, f64) {
        let done = AtomicBool::new(false);
        let peak = AtomicU64::new(0);
        let look = || {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            peak.fetch_max(self.pss() as u64, Ordering::Relaxed);
        };
        let outcome = std::thread::scope(|scope| {
            let sampler = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    look();
                    std::thread::park_timeout(SAMPLE);
                }
            });
            let outcome = work();
            done.store(true, Ordering::Relaxed);
            sampler.thread().unpark();
            outcome
        });
        look();
        #[allow(clippy::cast_precision_loss)]
        (outcome, peak.load(Ordering::Relaxed) as f64)
    }

    /// Ends every process of the group: all of them were started for it.
    pub(crate) fn stop(&self) {
        for signal in [Signal::TERM, Signal::KILL] {
            let deadline = Instant::now() + GOODBYE;
            let mut told: Vec<u32> = Vec::new();
            loop {
                let pids = self.pids();
                if pids.is_empty() {
                    break;
                }
                if Instant::now() > deadline {
                    break;
                }
                for pid in pids {
                    if !told.contains(&pid)
                        && let Some(target) = i32::try_from(pid).ok().and_then(Pid::from_raw)
                    {
                        let _ = rustix::process::kill_process(target, signal);
                        told.push(pid);
                    }
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if let Group::Control(dir) = self {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// CPU seconds that the load generator itself has used.
pub(crate) fn own_cpu() -> f64 {
    stat(std::process::id()).map_or(0.0, |s| s.ticks * TICK)
}

struct Stat {
    parent: u32,
    ticks: f64,
    zombie: bool,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().filter_map(|t| t.parse::<f64>().ok()).sum();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks, zombie: *fields.first()? == "Z" })
}

fn descendants(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok())
            && let Some(stat) = stat(pid)
            && !stat.zombie
        {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut todo = if stat(root).is_some_and(|s| !s.zombie) { vec![root] } else { Vec::new() };
    while let Some(pid) = todo.pop() {
        found.push(pid);
        todo.extend(children.remove(&pid).unwrap_or_default());
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_metered_and_ended() {
        let mut child = Command::new("sh").args(["-c", "sleep 60 & sleep 60; true"]).spawn().unwrap();
        let group = Group::Tree(child.id());
        let deadline = Instant::now() + Duration::from_secs(10);
        while group.pids().len() < 3 {
            assert!(Instant::now() < deadline, "{:?}", group.pids());
            std::thread::yield_now();
        }
        assert!(group.pss() > 0.0);
        group.stop();
        assert!(group.pids().is_empty());
        assert!(!child.wait().unwrap().success());
    }
}
