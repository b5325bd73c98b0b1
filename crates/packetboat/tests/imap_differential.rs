//! The same commands to Dovecot and to us, from the tables in `tests/interop/imap/`. Where the answers differ, the table
//! says how and why, by the RFC; a difference that no table has fails, and so does one that is not there any more.
//!
//! A table is a dialogue with a server whose mailboxes are as at their birth. `C:` is a command, in which `<name.eml>`
//! is a file of `messages/` as a literal, and `<<text>>` is that text as a literal. After it, `D:` is what only Dovecot
//! said, and `P:` what only packetboat said; before it, `# differs:` says why. With `PACKETBOAT_TABLES=write` the tables
//! are written anew; reasons stay, or are to be filled in.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use packetboat_corpus::messages;
use support::{Answer, Demo, Dovecot, Imap, Value, values};

fn tables() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop/imap")
}

fn writes() -> bool {
    std::env::var("PACKETBOAT_TABLES").is_ok_and(|how| how == "write")
}

/// A command as it goes out, without its tag.
fn expand(command: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = command;
    while let Some((before, after)) = rest.split_once('<') {
        octets.extend_from_slice(before.as_bytes());
        let text = after.strip_prefix('<').and_then(|text| text.split_once(">>"));
        let file = after.split_once(".eml>");
        let literal = match (text, file) {
            (Some((text, after)), _) => {
                rest = after;
                text.as_bytes().to_vec()
            }
            (None, Some((name, after))) if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') => {
                rest = after;
                let text = fs::read_to_string(tables().join("messages").join(format!("{name}.eml"))).unwrap();
                text.replace('\n', "\r\n").into_bytes()
            }
            _ => {
                // `BODY[]<0.10>`
                octets.push(b'<');
                rest = after;
                continue;
            }
        };
        octets.extend_from_slice(format!("{{{}+}}\r\n", literal.len()).as_bytes());
        octets.extend_from_slice(&literal);
    }
    octets.extend_from_slice(rest.as_bytes());
    octets
}

/// A value in one form only: no literals, flags and attributes in order.
fn shown(value: &Value) -> String {
    match value {
        Value::Nil => "NIL".to_owned(),
        Value::Atom(atom) => atom.clone(),
        Value::Text(octets) => format!("\"{}\"", octets.escape_ascii().to_string().replace("\\'", "'")),
        Value::List(items) => format!("({})", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
    }
}

/// Flags or attributes, of which \Recent is left out: RFC 9051 has it no more, and under RFC 3501 section 2.3.2 it goes
/// to one session of several, whichever.
fn set(value: &Value) -> String {
    let mut items: Vec<String> = value.list().iter().map(shown).filter(|item| item != "\\Recent").collect();
    items.sort();
    format!("({})", items.join(" "))
}

/// Names and values in the order of the names; numbers that each server counts for itself are `M`.
fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a Value)>) -> String {
    let mut all: Vec<String> = pairs
        .map(|(name, value)| {
            let name = name.to_uppercase();
            let value = match name.as_str() {
                "FLAGS" => set(value),
                "MODSEQ" => "(M)".to_owned(),
                "HIGHESTMODSEQ" | "UIDVALIDITY" => "M".to_owned(),
                // A day of one digit comes after a space or a zero (RFC 9051 section 9, date-day-fixed).
                "INTERNALDATE" => shown(value).replace("\" ", "\"0"),
                _ => shown(value),
            };
            format!("{name} {value}")
        })
        .collect();
    all.sort();
    all.join(" ")
}

/// A name of a mailbox; quotes around it mean nothing (RFC 9051 section 4.3).
fn name(value: &Value) -> String {
    match value {
        Value::Text(octets) => String::from_utf8_lossy(octets).into_owned(),
        other => shown(other),
    }
}

/// What a status response means: its kind and its code. The text is for people.
fn status(text: &str) -> Option<String> {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    let code = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or("", |(code, _)| code);
    let words: Vec<&str> = code.split(' ').collect();
    let code = match *words.first().unwrap_or(&"") {
        // MAILBOXID is of RFC 8474, which Dovecot has not.
        "CAPABILITY" | "MAILBOXID" => String::new(),
        // A hint for people who write clients (RFC 5530 section 3).
        "CLIENTBUG" => String::new(),
        "UIDVALIDITY" => "UIDVALIDITY V".to_owned(),
        "HIGHESTMODSEQ" => "HIGHESTMODSEQ M".to_owned(),
        word @ ("APPENDUID" | "COPYUID") => format!("{word} V {}", words.get(2..).unwrap_or(&[]).join(" ")),
        "PERMANENTFLAGS" => {
            let flags = values(code.strip_prefix("PERMANENTFLAGS ").unwrap_or("()").as_bytes());
            format!("PERMANENTFLAGS {}", set(&flags[0]))
        }
        _ => code.to_owned(),
    };
    if code.is_empty() { None } else { Some(format!("{kind} [{code}]")) }
}

/// What an answer means: expunges in their order, all else sorted, the end of it last.
fn meaning(answer: &Answer) -> Vec<String> {
    let mut in_order = Vec::new();
    let mut others = Vec::new();
    for response in &answer.untagged {
        let text = String::from_utf8_lossy(response);
        let text = text.strip_prefix("* ").unwrap_or(&text);
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        let all = || values(rest.as_bytes());
        let line = match first.to_uppercase().as_str() {
            // Told at every selection here (RFC 7162 section 3.1.2.1); by Dovecot when CONDSTORE was asked for.
            "OK" if rest.starts_with("[HIGHESTMODSEQ ") => None,
            "OK" | "NO" | "BAD" | "BYE" | "PREAUTH" => status(text),
            "CAPABILITY" => None,
            "FLAGS" => Some(format!("FLAGS {}", set(&all()[0]))),
            kind @ ("LIST" | "LSUB") => {
                let all = all();
                let more: Vec<String> = all[3..].iter().map(shown).collect();
                let line = format!(
                    "{kind} {} {} {} {}",
                    set(&all[0]),
                    shown(&all[1]),
                    name(&all[2]),
                    more.join(" ")
                );
                Some(line.trim_end().to_owned())
            }
            "STATUS" => {
                let all = all();
                let items = all[1].list().chunks(2).map(|pair| match pair {
                    [Value::Atom(name), value] => (name.as_str(), value),
                    other => panic!("{other:?}"),
                });
                Some(format!("STATUS {} ({})", name(&all[0]), pairs(items)))
            }
            "SEARCH" => {
                let mut found: Vec<u32> =
                    all().iter().filter_map(|value| shown(value).parse().ok()).collect();
                found.sort_unstable();
                let modseq = if rest.contains("MODSEQ") { " (MODSEQ M)" } else { "" };
                Some(format!("SEARCH {found:?}{modseq}"))
            }
            "ESEARCH" => {
                let all = all();
                let uid = if all.iter().any(|value| shown(value) == "UID") { " UID" } else { "" };
                let named: Vec<&Value> =
                    all.iter().filter(|v| !matches!(v, Value::List(_)) && shown(v) != "UID").collect();
                let mut named: Vec<String> = named
                    .chunks(2)
                    .map(|pair| pair.iter().map(|v| shown(v)).collect::<Vec<_>>().join(" "))
                    .collect();
                named.sort();
                let named =
                    named.iter().map(|n| if n.starts_with("MODSEQ") { "MODSEQ M" } else { n.as_str() });
                Some(format!("ESEARCH{uid} {}", named.collect::<Vec<_>>().join(" ")))
            }
            _ if rest.starts_with("FETCH ") => {
                let one = Answer { untagged: vec![response.clone()], tagged: String::new() };
                let fetched = one.fetched();
                let items = fetched[0].1.iter().map(|(name, value)| (name.as_str(), value));
                Some(format!("{first} FETCH ({})", pairs(items)))
            }
            // Of RFC 3501 alone; see `set`.
            _ if rest == "RECENT" => None,
            _ if rest == "EXPUNGE" || first == "VANISHED" => {
                in_order.push(text.to_owned());
                None
            }
            _ => Some(text.trim_end().to_owned()),
        };
        others.extend(line);
    }
    others.sort();
    in_order.extend(others);
    let kind = answer.tagged.split(' ').next().unwrap_or_default();
    in_order.push(format!("end {}", status(&answer.tagged).unwrap_or_else(|| kind.to_owned())));
    in_order
}

/// What only one of them said.
fn difference(dovecot: &[String], ours: &[String]) -> Vec<String> {
    let without = |all: &[String], other: &[String]| {
        let mut other = other.to_vec();
        let mut left = Vec::new();
        for line in all {
            match other.iter().position(|o| o == line) {
                Some(at) => drop(other.remove(at)),
                None => left.push(line.clone()),
            }
        }
        left
    };
    let only =
        |side: &'static str, lines: Vec<String>| lines.into_iter().map(move |line| format!("{side}: {line}"));
    let mut lines: Vec<String> = only("D", without(dovecot, ours)).collect();
    lines.extend(only("P", without(ours, dovecot)));
    let expunged = |all: &[String]| -> Vec<String> {
        all.iter().filter(|line| line.ends_with(" EXPUNGE")).cloned().collect()
    };
    if lines.is_empty() && expunged(dovecot) != expunged(ours) {
        lines.extend(only("D", dovecot.to_vec()));
        lines.extend(only("P", ours.to_vec()));
    }
    lines
}

/// Asks one.
fn ask(imap: &mut Imap, command: &[u8]) -> Vec<String> {
    let tag = imap.begin(command);
    meaning(&imap.end(&tag))
}

/// Plays one table; it, as it should be.
fn play(table: &str, dovecot: &mut Imap, ours: &mut Imap, counts: &mut (usize, usize)) -> String {
    let mut right = String::new();
    let mut reasoned = false;
    for line in table.lines() {
        if line.starts_with("D: ") || line.starts_with("P: ") {
            continue;
        }
        let Some(command) = line.strip_prefix("C: ") else {
            reasoned |= line.starts_with("# differs:");
            let _ = writeln!(right, "{line}");
            continue;
        };
        let octets = expand(command);
        let mut said = (ask(dovecot, &octets), ask(ours, &octets));
        // Whether there are children may be told unasked (RFC 9051 section 6.3.9.5).
        if !said.0.iter().any(|line| line.contains("\\Has")) {
            for line in said.1.iter_mut().filter(|line| line.starts_with("LIST ")) {
                *line = line.replace("\\HasChildren", "").replace("\\HasNoChildren", "");
                *line = line.replace("( ", "(").replace(" )", ")").replace("  ", " ");
            }
            said.1.sort_by_key(|line| line.starts_with("end "));
        }
        let lines = difference(&said.0, &said.1);
        counts.0 += 1;
        counts.1 += usize::from(!lines.is_empty());
        match (lines.is_empty(), reasoned) {
            (false, false) => right.push_str("# differs: UNEXPLAINED\n"),
            (true, true) => right.push_str("# NO DIFFERENCE ANY MORE\n"),
            _ => {}
        }
        reasoned = false;
        let _ = writeln!(right, "{line}");
        for line in lines {
            let _ = writeln!(right, "{line}");
        }
    }
    right
}

#[test]
fn answers_differ_from_dovecots_only_where_the_tables_say_why() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(tables()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "txt") && !path.ends_with("corpus.txt"));
    files.sort();
    assert!(files.len() > 5, "{files:?}");
    let demo = Demo::start_with(&["--accounts", &files.len().to_string()]);
    let mut wrong = String::new();
    let mut counts = (0, 0);
    for (n, file) in files.iter().enumerate() {
        let table = fs::read_to_string(file).unwrap();
        let dovecot = Dovecot::start();
        let mut ours = Imap::login(demo.at("imap"), &format!("user{n:04}@demo.test"));
        let right = play(&table, &mut Imap::connect(dovecot.at()), &mut ours, &mut counts);
        if writes() {
            fs::write(file, &right).unwrap();
        }
        if right != table || right.contains("UNEXPLAINED") || right.contains("NO DIFFERENCE ANY MORE") {
            let changed = right.lines().filter(|line| !table.lines().any(|l| l == *line));
            let _ = writeln!(wrong, "{}:\n{}", file.display(), changed.collect::<Vec<_>>().join("\n"));
        }
    }
    assert!(wrong.is_empty(), "the tables do not say it as it is:\n{wrong}");
    eprintln!("{} commands, {} answered in another way, each for a reason", counts.0, counts.1);
}

/// ENVELOPE and BODYSTRUCTURE of all messages of a mailbox.
fn facts(imap: &mut Imap) -> Vec<(String, String)> {
    let fetched = imap.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE)").fetched();
    let facts = fetched.iter().map(|(_, items)| {
        let of = |name: &str| &items.iter().find(|(n, _)| n == name).unwrap().1;
        (shown(of("ENVELOPE")), shown(of("BODYSTRUCTURE")))
    });
    facts.collect()
}

#[test]
fn the_corpus_has_dovecots_envelopes_and_structures_or_the_table_says_why_not() {
    let demo = Demo::start();
    let dovecot = Dovecot::start();
    let mut theirs = Imap::connect(dovecot.at());
    let mut ours = Imap::login(demo.at("imap"), "bob@demo.test");
    // No octets are no message to append, and NUL needs a literal8 (RFC 9051 section 4.3).
    let corpus: Vec<_> =
        messages().into_iter().filter(|m| !m.octets.is_empty() && !m.octets.contains(&0)).collect();
    for imap in [&mut theirs, &mut ours] {
        imap.ok("CREATE corpus");
        for message in &corpus {
            imap.append("corpus", &message.octets);
        }
        assert_eq!(imap.select("corpus") as usize, corpus.len());
    }
    let mut differing = BTreeSet::new();
    let mut details = BTreeMap::new();
    for ((message, dovecot), ours) in corpus.iter().zip(facts(&mut theirs)).zip(facts(&mut ours)) {
        for (what, dovecot, ours) in [("envelope", dovecot.0, ours.0), ("structure", dovecot.1, ours.1)] {
            if dovecot != ours {
                let line = format!("{what} {}", message.name);
                details.insert(line.clone(), format!("{line}\nD: {dovecot}\nP: {ours}"));
                differing.insert(line);
            }
        }
    }
    if let Some(file) = std::env::var_os("PACKETBOAT_DETAILS") {
        fs::write(file, details.values().cloned().collect::<Vec<_>>().join("\n\n")).unwrap();
    }
    let table = fs::read_to_string(tables().join("corpus.txt")).unwrap();
    let (envelopes, structures): (Vec<_>, Vec<_>) =
        differing.iter().partition(|line| line.starts_with("env"));
    eprintln!(
        "{} messages, other envelopes: {}, other structures: {}",
        corpus.len(),
        envelopes.len(),
        structures.len()
    );
    let mut explained = BTreeSet::new();
    let mut classes = Vec::new();
    for line in table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("class: ") {
            Some(class) => classes.push((class, 0)),
            None => {
                classes.last_mut().unwrap().1 += 1;
                assert!(explained.insert(line.to_owned()), "{line} is explained twice");
            }
        }
    }
    let new: Vec<&str> = differing.difference(&explained).map(|line| details[line].as_str()).collect();
    let gone: Vec<&String> = explained.difference(&differing).collect();
    assert!(new.is_empty(), "{} in no class:\n{}", new.len(), new.join("\n\n"));
    assert!(gone.is_empty(), "no difference any more: {gone:#?}");
    for (class, count) in classes {
        eprintln!("{count:>4} {class}");
    }
}
