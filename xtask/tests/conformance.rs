//! `docs/ftp-conformance.md` stays true: tests that it names are there, dialogues that it names for a command or a reply have it, and
//! nothing of RFC 959 is missing.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = "docs/ftp-conformance.md";

/// RFC 959 section 5.3.1.
const COMMANDS: &str = "USER PASS ACCT CWD CDUP SMNT QUIT REIN PORT PASV TYPE STRU MODE RETR STOR STOU APPE ALLO REST RNFR RNTO \
                        ABOR DELE RMD MKD PWD LIST NLST SITE SYST STAT HELP NOOP";
/// RFC 959 section 4.2.2.
const REPLIES: &str = "110 120 125 150 200 202 211 212 213 214 215 220 221 225 226 227 230 250 257 331 332 350 421 425 426 450 451 \
                       452 500 501 502 503 504 530 532 550 551 552 553";

/// RFC 959 section 5.4: what each command may be answered, and 125 or 150 and what follows as one.
const SEQUENCES: &[(&str, &str)] = &[
    ("USER", "230 331 332 421 500 501 530"),
    ("PASS", "202 230 332 421 500 501 503 530"),
    ("ACCT", "202 230 421 500 501 503 530"),
    ("CWD", "250 421 500 501 502 530 550"),
    ("CDUP", "200 421 500 501 502 530 550"),
    ("SMNT", "202 250 421 500 501 502 530 550"),
    ("REIN", "120 220 421 500 502"),
    ("QUIT", "221 500"),
    ("PORT", "200 421 500 501 530"),
    ("PASV", "227 421 500 501 502 530"),
    ("MODE", "200 421 500 501 504 530"),
    ("TYPE", "200 421 500 501 504 530"),
    ("STRU", "200 421 500 501 504 530"),
    ("ALLO", "200 202 421 500 501 504 530"),
    ("REST", "350 421 500 501 502 530"),
    ("STOR", "110 125 150 226 250 421 425 426 450 451 452 500 501 530 532 551 552 553"),
    ("STOU", "110 125 150 226 250 421 425 426 450 451 452 500 501 530 532 551 552 553"),
    ("RETR", "110 125 150 226 250 421 425 426 450 451 500 501 530 550"),
    ("LIST", "125 150 226 250 421 425 426 450 451 500 501 502 530"),
    ("NLST", "125 150 226 250 421 425 426 450 451 500 501 502 530"),
    ("APPE", "110 125 150 226 250 421 425 426 450 451 452 500 501 502 530 532 550 551 552 553"),
    ("RNFR", "350 421 450 500 501 502 530 550"),
    ("RNTO", "250 421 500 501 502 503 530 532 553"),
    ("DELE", "250 421 450 500 501 502 530 550"),
    ("RMD", "250 421 500 501 502 530 550"),
    ("MKD", "257 421 500 501 502 530 550"),
    ("PWD", "257 421 500 501 502 550"),
    ("ABOR", "225 226 421 500 501 502"),
    ("SYST", "215 421 500 501 502"),
    ("STAT", "211 212 213 421 450 500 501 502 530"),
    ("HELP", "211 214 421 500 501 502"),
    ("SITE", "200 202 500 501 530"),
    ("NOOP", "200 421 500"),
];
/// Dialogues in which answers come while others are waited for, and their lines are not in pairs.
const OUT_OF_STEP: &[&str] = &["long-action.txt", "meanwhile.txt"];
/// The heading of what else may be answered, and why.
const OTHERS: &str = "## Replies that section 5.4 does not have for a command";

/// Reads a file of the repository.
type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)).ok()
}

/// The rows of all tables: what they are about, and the rest.
fn rows(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    rows.filter_map(|line| line.trim_matches('|').split_once('|')).map(|(first, rest)| (first.trim(), rest))
}

/// What is wrong with what a row names.
fn offences(page: &str, read: Read<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (about, rest) in rows(page) {
        let word = about.split([' ', ',', ':']).next().unwrap_or_default();
        let names: Vec<&str> = rest
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.contains('/') && !name.contains(' '))
            .collect();
        for name in names {
            let (path, function) = name.split_once("::").unwrap_or((name, ""));
            let Some(text) = read(path) else {
                found.push(format!("{about}: {path} is not there"));
                continue;
            };
            if path.ends_with(".rs") && !text.contains(&format!("fn {function}(")) {
                found.push(format!("{about}: {path} has no {function}"));
            }
            if path.ends_with(".txt") && !holds(&text, word) {
                found.push(format!("{about}: {path} has nothing of {word}"));
            }
        }
    }
    found
}

/// Whether a dialogue says this command, or hears this reply. Other words are no matter for it.
fn holds(dialogue: &str, word: &str) -> bool {
    let after = |sides: [&str; 2]| {
        let lines = dialogue.lines().filter(move |line| sides.iter().any(|side| line.starts_with(side)));
        lines.map(|line| line[2..].trim_start()).collect::<Vec<_>>()
    };
    if word.len() == 3 && word.bytes().all(|octet| octet.is_ascii_digit()) {
        return after(["S:", "S>"]).iter().any(|said| said.contains(word));
    }
    let is_command = (3..=7).contains(&word.len())
        && word.bytes().all(|octet| octet.is_ascii_uppercase() || octet.is_ascii_digit())
        && !["RFC", "MODE", "TYPE", "STRU"].contains(&word);
    !is_command || after(["C:", "C>"]).iter().any(|said| said.contains(word))
}

fn missing(page: &str) -> Vec<&'static str> {
    let named: Vec<&str> =
        rows(page).map(|(about, _)| about.split([' ', ',', ':']).next().unwrap_or_default()).collect();
    COMMANDS
        .split_whitespace()
        .chain(REPLIES.split_whitespace())
        .filter(|word| !named.contains(word))
        .collect()
}

/// Commands of section 5.4 with replies that it does not have for them: `ALLO 552`.
fn other_replies(dialogue: &str) -> BTreeSet<String> {
    let (mut found, mut command) = (BTreeSet::new(), "");
    for line in dialogue.lines() {
        let (side, said) =
            (line.get(..2).unwrap_or_default(), line.get(2..).unwrap_or_default().trim_start());
        if matches!(side, "C:" | "C>") {
            // What follows in the same piece is not answered before this.
            command = said.split([' ', '\\']).next().unwrap_or_default();
        }
        let code = said.get(..3).unwrap_or_default();
        if matches!(side, "S:" | "S>")
            && code.bytes().all(|octet| octet.is_ascii_digit())
            && let Some((_, codes)) = SEQUENCES.iter().find(|(verb, _)| *verb == command)
            && !codes.contains(code)
        {
            found.insert(format!("{command} {code}"));
        }
    }
    found
}

#[test]
fn replies_are_those_of_section_5_4_or_have_a_reason() {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/transcripts/ftp")).unwrap() {
        let path = entry.unwrap().path();
        if !OUT_OF_STEP.iter().any(|name| path.ends_with(name)) {
            found.extend(other_replies(&fs::read_to_string(path).unwrap()));
        }
    }
    let page = read(PAGE).unwrap();
    let section = page.split(OTHERS).nth(1).unwrap().split("\n## ").next().unwrap();
    let told: BTreeSet<String> = rows(section).skip(1).map(|(about, _)| about.to_owned()).collect();
    assert_eq!(found, told, "{PAGE}, {OTHERS}");
    assert_eq!(other_replies("C: ALLO 7\nS: 200 *\nC: ALLO 7\nS: 552 *\n"), ["ALLO 552".to_owned()].into());
}

#[test]
fn every_promise_names_a_test_that_is_there() {
    let page = read(PAGE).unwrap();
    let found = offences(&page, &read);
    assert!(found.is_empty(), "{PAGE}:\n{}", found.join("\n"));
    assert_eq!(missing(&page), Vec::<&str>::new(), "{PAGE} has no row for these");
    let empty: Vec<&str> = rows(&page)
        .filter(|(about, rest)| {
            !about.starts_with("---") && !rest.contains('`') && !rest.contains("shown by")
        })
        .map(|(about, _)| about)
        .collect();
    assert_eq!(empty, Vec::<&str>::new(), "{PAGE}: nothing shows these");
}

#[test]
fn what_is_wrong_is_found() {
    let file = |path: &str| match path {
        "a/x.rs" => Some("fn there() {}".to_owned()),
        "a/x.txt" => Some("C: CWD some\nS: 250 *\n".to_owned()),
        _ => None,
    };
    let count = |row: &str| offences(row, &file).len();
    assert_eq!(count("| CWD | `a/x.rs::there`, `a/x.txt` |"), 0);
    assert_eq!(count("| 250 | `a/x.txt` |"), 0);
    assert_eq!(count("| any words | `a/x.txt` |"), 0);
    assert_eq!(count("| CWD | `a/x.rs::gone`, `a/y.rs::there` |"), 2);
    assert_eq!(count("| CDUP | `a/x.txt` |"), 1);
    assert_eq!(count("| 450 | `a/x.txt` |"), 1);
    assert!(missing("| CWD | x |").contains(&"USER") && !missing("| CWD | x |").contains(&"CWD"));
}
