//! Runs every target over its seeds, over each seed cut short, and over octets of all lengths from a fixed generator:
//! what a fuzzer does in its first second, in an ordinary test.

use std::fs;
use std::path::Path;

use packetboat_fuzz::{TARGETS, Target};

const INPUTS: usize = 2000;

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn generated() -> impl Iterator<Item = Vec<u8>> {
    let mut state = 1_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    // The octets that protocols are made of come often.
    let special = b"\r\n.,=- \x00250nr:<>@ASM*";
    (0..INPUTS).map(move |i| {
        (0..i % 300)
            .map(|_| if next() % 4 == 0 { next() as u8 } else { special[next() % special.len()] })
            .collect()
    })
}

fn replay(name: &str, target: Target) {
    let run = |octets: &[u8]| {
        let outcome = std::panic::catch_unwind(|| target(octets));
        assert!(outcome.is_ok(), "{name} does not withstand {}", octets.escape_ascii());
    };
    for seed in seeds(name) {
        for length in 0..=seed.len() {
            run(&seed[..length]);
        }
    }
    generated().for_each(|octets| run(&octets));
}

#[test]
fn every_target_withstands_its_seeds() {
    for (name, target) in TARGETS {
        replay(name, *target);
    }
}

#[test]
fn every_file_is_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut files: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(files, targets);
}
