//! `cargo xtask test`: every check a change has to pass, timed, and summed in one closing line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::shell::{self, Result, cargo, shown};
use crate::{fuzz, tools};

/// Tests read this to do the long version of their work: more rounds, more connections.
const LONG: &str = "PACKETBOAT_LONG";

/// How long each target is fuzzed in the long suite.
const FUZZ_SECONDS: u64 = 60;

/// What one step found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Count {
    /// A step that is one check.
    fn of(outcome: Result) -> Count {
        match outcome {
            Ok(()) => Count { passed: 1, failed: 0 },
            Err(e) => {
                eprintln!("FAILED: {e}");
                Count { passed: 0, failed: 1 }
            }
        }
    }
}

/// The steps done so far.
#[derive(Default)]
struct Suite {
    done: Vec<(&'static str, Duration, Count)>,
}

impl Suite {
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Count) {
        println!("\n== {name}");
        let start = Instant::now();
        let count = work();
        self.done.push((name, start.elapsed(), count));
    }

    /// Prints the table and the sum; the last line is what a machine reads.
    fn close(self) -> Result {
        println!("\n{:<14} {:>8} {:>8} {:>8}", "step", "seconds", "passed", "failed");
        let mut sum = Count::default();
        for (name, took, count) in &self.done {
            println!("{name:<14} {:>8.1} {:>8} {:>8}", took.as_secs_f64(), count.passed, count.failed);
            sum.passed += count.passed;
            sum.failed += count.failed;
        }
        println!("{} passed, {} failed", sum.passed, sum.failed);
        if sum.failed == 0 { Ok(()) } else { Err("not everything passed".into()) }
    }
}

pub(crate) fn test(long: bool) -> Result {
    let mut suite = Suite::default();
    // Without the clients the tests that need them fail, each naming its own.
    suite.step("clients", || Count::of(tools::clients()));
    suite.step("format", || Count::of(shell::run(&mut cargo(&["fmt", "--all", "--check"]))));
    suite.step("lints", || {
        let clippy =
            ["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"];
        Count::of(shell::run(&mut cargo(&clippy)))
    });
    suite.step("licences", || Count::of(deny()));
    suite.step("tests", || {
        let mut command = cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
        if long {
            command.env(LONG, "1");
        }
        counted(&mut command)
    });
    suite.step("fuzz seeds", || counted(&mut fuzz::replay()));
    if long {
        suite.step("fuzzing", || Count::of(fuzz::run(None, FUZZ_SECONDS)));
    }
    suite.close()
}

pub(crate) fn interop(arguments: &[String]) -> Result {
    tools::clients()?;
    let mut command = cargo(&["test", "--package", "packetboat", "--locked", "--test", "*", "--"]);
    shell::run(command.args(arguments))
}

/// Licences, bans and sources as `deny.toml` has them.
fn deny() -> Result {
    let program = tools::cargo_subcommand("cargo-deny")?;
    // The plan of dependencies is the lock file's; nothing is fetched for this.
    let mut command = Command::new(program);
    command.args(["--locked", "check", "licenses", "bans", "sources"]).current_dir(shell::root());
    shell::run(&mut command)
}

/// Runs `cargo test`, shows its output as it comes, and adds up what its closing lines say.
fn counted(command: &mut Command) -> Count {
    println!("$ {}", shown(command));
    let mut sum = Count::default();
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(e) => return Count::of(Err(format!("{}: {e}", shown(command)).into())),
    };
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line);
            let mut terminal = std::io::stdout().lock();
            let _ = writeln!(terminal, "{line}");
            if let Some(count) = closing_line(&line) {
                sum.passed += count.passed;
                sum.failed += count.failed;
            }
        }
    }
    let success = child.wait().is_ok_and(|status| status.success());
    // It does not build, or a test took the whole program down: no line counts that.
    if !success && sum.failed == 0 {
        sum.failed = 1;
    }
    sum
}

/// Reads `test result: ok. 12 passed; 0 failed; …`.
fn closing_line(line: &str) -> Option<Count> {
    let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut count = Count::default();
    for part in rest.split("; ") {
        match part.split_once(' ') {
            Some((n, "passed")) => count.passed = n.parse().ok()?,
            Some((n, "failed")) => count.failed = n.parse().ok()?,
            _ => {}
        }
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.30s";
        assert_eq!(closing_line(line), Some(Count { passed: 12, failed: 3 }));
        assert_eq!(closing_line("test result: ok"), None);
        assert_eq!(closing_line("12 passed; 3 failed"), None);
    }

    #[test]
    fn a_run_that_breaks_off_is_a_failure() {
        assert_eq!(counted(&mut Command::new("false")), Count { passed: 0, failed: 1 });
        assert_eq!(counted(&mut Command::new("/no/such/program")), Count { passed: 0, failed: 1 });
        let line = "test result: ok. 2 passed; 0 failed; 0 ignored";
        assert_eq!(counted(Command::new("echo").arg(line)), Count { passed: 2, failed: 0 });
    }
}
