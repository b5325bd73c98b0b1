//! `cargo xtask fuzz`: the targets in `fuzz/fuzz_targets`, one after the other.

use std::fs;
use std::process::Command;

use crate::shell::{self, Result, cargo, root};
use crate::tools::{self, Need};

/// Larger inputs find little more, and cost much.
const LONGEST_INPUT: &str = "-max_len=65536";
/// One input that takes longer than this is a finding.
const SLOWEST_INPUT: &str = "-timeout=10";
/// A target that takes more memory than this is a finding.
const MOST_MEMORY: &str = "-rss_limit_mb=1024";

/// Fuzzes `target`, or every target, each for `seconds`.
pub(crate) fn run(target: Option<&str>, seconds: u64) -> Result {
    let all = targets()?;
    let chosen: Vec<&String> = all.iter().filter(|t| target.is_none_or(|wanted| wanted == *t)).collect();
    if chosen.is_empty() {
        return Err(format!("no such target; there are: {}", all.join(", ")).into());
    }
    // libFuzzer is C++.
    tools::meet(&[Need::Program("c++", "g++")])?;
    let cargo_fuzz = tools::cargo_subcommand("cargo-fuzz")?;
    let mut found = Vec::new();
    for target in chosen {
        let mut command = Command::new(&cargo_fuzz);
        command
            // The house has no unsafe code for a sanitizer to watch; without one it is faster, and needs no nightly.
            .args([
                "run",
                "--sanitizer",
                "none",
                target,
                &found_before(target)?,
                &format!("fuzz/seeds/{target}"),
            ])
            .args(["--", &format!("-max_total_time={seconds}"), "-print_final_stats=1", "-verbosity=0"])
            .args([LONGEST_INPUT, SLOWEST_INPUT, MOST_MEMORY])
            .current_dir(root());
        if let Err(e) = shell::run(&mut command) {
            found.push(format!("{target}: {e}"));
        }
    }
    if found.is_empty() { Ok(()) } else { Err(found.join("\n").into()) }
}

/// Where the fuzzer keeps what led it to new paths; what it starts from is `fuzz/seeds`.
fn found_before(target: &str) -> Result<String> {
    let dir = format!("fuzz/corpus/{target}");
    fs::create_dir_all(root().join(&dir)).map_err(|e| format!("{dir}: {e}"))?;
    Ok(dir)
}

/// The targets' bodies as ordinary tests, over their seeds.
pub(crate) fn replay() -> Command {
    let mut command = cargo(&["test", "--manifest-path", "fuzz/Cargo.toml", "--locked", "--no-fail-fast"]);
    command.args(["--target-dir", "target"]);
    command
}

fn targets() -> Result<Vec<String>> {
    let dir = root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "rs")
            && let Some(name) = path.file_stem()
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
