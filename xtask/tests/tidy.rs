//! House rules that no linter knows: length of files, module docs, nothing left undone, documents that stay true.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this is two files.
const LONGEST_FILE: usize = 700;

/// Where code lives.
const CODE: &[&str] = &["crates", "xtask", "bench", "fuzz", "tests"];

/// The first parts of paths that documents name in backticks.
const NAMED_PLACES: &[&str] = &["crates/", "xtask/", "bench/", "fuzz/", "tests/", "docs/", ".ci/"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The files below `dir` whose names end in `.ext`, as paths from the root.
fn files(dir: &str, ext: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![root().join(dir)];
    while let Some(dir) = todo.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !matches!(path.file_name().unwrap().to_str(), Some("target" | "corpus" | "artifacts")) {
                    todo.push(path);
                }
            } else if path.extension().is_some_and(|e| e == ext) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What is wrong with one source file.
fn offences(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        found.push(format!("{lines} lines; {LONGEST_FILE} is the most, and half of it is better"));
    }
    if path.ends_with("src/lib.rs") || path.ends_with("src/main.rs") {
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("//!") {
            found.push("a crate begins with `//!`: what it is, and what it does not know".to_owned());
        }
    }
    // In two parts, so that this file does not find itself.
    let unfinished = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ig", "nore"),
        concat!("FIX", "ME"),
    ];
    for (number, line) in text.lines().enumerate() {
        for what in unfinished {
            if line.contains(what) {
                found.push(format!("line {}: `{what}`: finish it, or leave it out", number + 1));
            }
        }
    }
    found.into_iter().map(|f| format!("{}: {f}", path.display())).collect()
}

#[test]
fn sources_are_tidy() {
    let sources: Vec<PathBuf> = CODE.iter().flat_map(|dir| files(dir, "rs")).collect();
    assert!(sources.iter().any(|p| p.ends_with("xtask/tests/tidy.rs")), "no sources found");
    let found: Vec<String> = sources.iter().flat_map(|p| offences(p, &read(p))).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn untidy_sources_are_found() {
    let lib = Path::new("crates/x/src/lib.rs");
    assert_eq!(offences(lib, "//! A room.\n").len(), 0);
    assert_eq!(offences(lib, "pub struct X;\n").len(), 1);
    assert_eq!(offences(lib, &format!("//! A room.\n{}", "\n".repeat(LONGEST_FILE))).len(), 1);
    assert_eq!(offences(lib, concat!("//! A room.\nfn f() { todo", "!() }\n")).len(), 1);
    assert_eq!(offences(Path::new("crates/x/src/y.rs"), "struct X;\n").len(), 0);
}

/// The parts of a Markdown text in backticks that look like paths of this repository.
fn named_paths(text: &str) -> Vec<&str> {
    let code_spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    code_spans
        .filter(|span| NAMED_PLACES.iter().any(|place| span.starts_with(place)))
        .filter(|span| !span.contains(['<', '*', '{', ' ', '…']))
        .map(|span| span.split_once("::").map_or(span, |(path, _)| path))
        .collect()
}

/// What Markdown links of a document in `dir` point to, in this repository.
fn linked_paths(dir: &Path, text: &str) -> Vec<PathBuf> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets
        .map(|target| target.split_once('#').map_or(target, |(path, _)| path))
        .filter(|target| !target.is_empty() && !target.contains(':'))
        .map(|target| dir.join(target))
        .collect()
}

fn missing_paths(dir: &Path, text: &str) -> Vec<PathBuf> {
    let named = named_paths(text).into_iter().map(PathBuf::from);
    named.chain(linked_paths(dir, text)).filter(|p| !root().join(p).exists()).collect()
}

#[test]
fn documents_name_files_that_exist() {
    let mut documents = files("docs", "md");
    documents.extend(fs::read_dir(root()).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        path.extension().is_some_and(|e| e == "md").then(|| path.file_name().unwrap().into())
    }));
    let found: Vec<String> = documents
        .iter()
        .flat_map(|document| {
            let text = read(document);
            let dir = document.parent().unwrap_or(Path::new(""));
            let missing: Vec<_> = missing_paths(dir, &text)
                .into_iter()
                .map(|p| format!("{}: {}", document.display(), p.display()))
                .collect();
            missing
        })
        .collect();
    assert!(found.is_empty(), "documents name files that are not there:\n{}", found.join("\n"));
}

#[test]
fn named_paths_are_found() {
    assert_eq!(
        named_paths("see `crates/wire/src/lib.rs` and `Session`, `docs/<x>.md`"),
        ["crates/wire/src/lib.rs"]
    );
    let missing = |text| missing_paths(Path::new("docs"), text);
    assert_eq!(missing("`xtask/tests/tidy.rs::read`, `xtask/tests/no.rs`"), [Path::new("xtask/tests/no.rs")]);
    assert_eq!(
        missing("[a](rfc-index.md#top) [b](no.md) [c](https://x.example/)"),
        [Path::new("docs/no.md")]
    );
}

/// What is wrong with the rows of the index: `| RFC | title | yes, partial or no | files |`.
fn rfc_index_offences(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut last = 0;
    for line in
        text.lines().filter(|l| l.starts_with("| ") && l.as_bytes().get(2).is_some_and(u8::is_ascii_digit))
    {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [rfc, _title, status, place] = cells[..] else {
            found.push(format!("not four cells: {line}"));
            continue;
        };
        match rfc.parse() {
            Ok(number) if number > last => last = number,
            _ => found.push(format!("{rfc}: not a number, not in order, or twice")),
        }
        match status {
            "yes" | "partial" if named_paths(place).is_empty() => {
                found.push(format!("{rfc}: {status}, and no file named that obeys it"));
            }
            "yes" | "partial" | "no" => {}
            other => found.push(format!("{rfc}: yes, partial or no, not {other:?}")),
        }
    }
    if last == 0 {
        found.push("no rows".to_owned());
    }
    found
}

#[test]
fn the_rfc_index_is_in_order() {
    let found = rfc_index_offences(&read(Path::new("docs/rfc-index.md")));
    assert!(found.is_empty(), "docs/rfc-index.md:\n{}", found.join("\n"));
}

#[test]
fn rfc_index_offences_are_found() {
    let row = |text: &str| rfc_index_offences(text).len();
    assert_eq!(row("| 1939 | POP3 | yes | `crates/pop3/src/lib.rs` |\n| 2449 | CAPA | no | |"), 0);
    assert_eq!(row("| 1939 | POP3 | yes | |"), 1);
    assert_eq!(row("| 1939 | POP3 | mostly | `crates/pop3/src/lib.rs` |"), 1);
    assert_eq!(row("| 2449 | CAPA | no | |\n| 1939 | POP3 | no | |"), 1);
    assert_eq!(row("no table"), 1);
}
