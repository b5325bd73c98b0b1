//! `docs/ftp-conformance.md` stays true: tests that it names are there, dialogues that it names for a command or a reply have it, and
//! nothing of RFC 959 is missing.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

const PAGE: &str = "docs/ftp-conformance.md";

/// RFC 959 section 5.3.1.
const COMMANDS: &str = "USER PASS ACCT CWD CDUP SMNT QUIT REIN PORT PASV TYPE STRU MODE RETR STOR STOU APPE ALLO REST RNFR RNTO \
                        ABOR DELE RMD MKD PWD LIST NLST SITE SYST STAT HELP NOOP";
/// RFC 959 section 4.2.2.
const REPLIES: &str = "110 120 125 150 200 202 211 212 213 214 215 220 221 225 226 227 230 250 257 331 332 350 421 425 426 450 451 \
                       452 500 501 502 503 504 530 532 550 551 552 553";

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
