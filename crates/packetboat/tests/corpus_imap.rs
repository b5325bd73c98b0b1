//! Every message of the corpus goes in by APPEND and comes out by FETCH, whole and in each part it is said to have.

#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;
use std::io::Write as _;

use packetboat_corpus::messages;
use support::{Demo, Imap, Value};

/// Commands sent before the answer to the first is awaited.
const AHEAD: usize = 50;
/// Parts of one message that are asked for in one command.
const PARTS_AHEAD: usize = 15;

/// A part, as BODYSTRUCTURE tells of it.
#[derive(Debug)]
struct Part {
    path: String,
    /// As encoded; multiparts have none.
    octets: Option<u64>,
    lines: Option<u64>,
    /// `message/rfc822`, which has parts of its own and a header.
    is_message: bool,
    is_multipart: bool,
}

/// The parts a BODYSTRUCTURE names, by the rules of RFC 9051 section 6.4.5.1.
fn parts(structure: &Value, path: &str, into: &mut Vec<Part>) {
    let below = |n: usize| if path.is_empty() { n.to_string() } else { format!("{path}.{n}") };
    let fields = structure.list();
    if let Some(Value::List(_)) = fields.first() {
        if !path.is_empty() {
            into.push(Part {
                path: path.to_owned(),
                octets: None,
                lines: None,
                is_message: false,
                is_multipart: true,
            });
        }
        let bodies = fields.iter().take_while(|field| matches!(field, Value::List(_)));
        for (n, body) in (1..).zip(bodies) {
            parts(body, &below(n), into);
        }
        return;
    }
    // A message that is no multipart has one part, numbered 1.
    let path = if path.is_empty() { "1".to_owned() } else { path.to_owned() };
    leaf(fields, path, into);
}

fn leaf(fields: &[Value], path: String, into: &mut Vec<Part>) {
    let kind = |n: usize| String::from_utf8_lossy(fields[n].octets()).to_lowercase();
    let is_message = fields.len() > 9
        && kind(0) == "message"
        && matches!(kind(1).as_str(), "rfc822" | "global")
        && matches!(fields[8], Value::List(_));
    let lines = match (is_message, kind(0) == "text") {
        (true, _) => Some(fields[9].number()),
        (_, true) => Some(fields[7].number()),
        _ => None,
    };
    let octets = Some(fields[6].number());
    into.push(Part { path: path.clone(), octets, lines, is_message, is_multipart: false });
    if is_message {
        let inner = fields[8].list();
        match inner.first() {
            Some(Value::List(_)) => {
                for (n, body) in (1..).zip(inner.iter().take_while(|field| matches!(field, Value::List(_)))) {
                    parts(body, &format!("{path}.{n}"), into);
                }
            }
            _ => leaf(inner, format!("{path}.1"), into),
        }
    }
}

/// A value by its name.
fn of<'a>(items: &'a [(String, Value)], name: &str) -> &'a Value {
    let found = items.iter().find(|(n, _)| n == name);
    &found.unwrap_or_else(|| panic!("no {name} among {:?}", items.iter().map(|i| &i.0).collect::<Vec<_>>())).1
}

/// As text; a section that is not there is no octets.
fn octets_of<'a>(items: &'a [(String, Value)], name: &str) -> &'a [u8] {
    match of(items, name) {
        Value::Nil => &[],
        value => value.octets(),
    }
}

/// Sends all commands, and never more than the answers read allow; the answers.
fn pipelined(imap: &mut Imap, commands: &[Vec<u8>]) -> Vec<support::Answer> {
    let mut answers = Vec::with_capacity(commands.len());
    let mut tags = Vec::with_capacity(commands.len());
    for some in commands.chunks(AHEAD) {
        let mut text = Vec::new();
        for command in some {
            tags.push(format!("p{}", tags.len()));
            text.extend_from_slice(format!("{} ", tags[tags.len() - 1]).as_bytes());
            text.extend_from_slice(command);
            text.extend_from_slice(b"\r\n");
        }
        // Answers are read meanwhile, or two full pipes would wait for each other.
        let mut writer = imap.writer();
        let writing = std::thread::spawn(move || writer.write_all(&text).unwrap());
        while answers.len() < tags.len() {
            let answer = imap.end(&tags[answers.len()]);
            assert!(answer.tagged.starts_with("OK"), "{}", answer.text());
            answers.push(answer);
        }
        writing.join().unwrap();
    }
    answers
}

#[test]
fn the_corpus_comes_out_as_it_went_in_whole_and_in_parts() {
    let demo = Demo::start();
    let corpus = messages();
    let mut imap = Imap::login(demo.at("imap"), "bob@demo.test");
    imap.ok("CREATE corpus");
    // A message without any octets is no message to append; and NUL needs a binary literal (RFC 9051 section 4.3).
    let appended: Vec<_> = corpus.iter().filter(|message| !message.octets.is_empty()).collect();
    let appends: Vec<Vec<u8>> = appended
        .iter()
        .map(|message| {
            let tilde = if message.octets.contains(&0) { "~" } else { "" };
            let start = format!("APPEND corpus {tilde}{{{}+}}\r\n", message.octets.len());
            [start.as_bytes(), &message.octets].concat()
        })
        .collect();
    for answer in pipelined(&mut imap, &appends) {
        assert!(answer.tagged.contains("[APPENDUID "), "{}", answer.tagged);
    }
    assert_eq!(imap.select("corpus") as usize, appended.len());

    let whole: Vec<Vec<u8>> = (1..=appended.len())
        .map(|n| {
            format!(
                "FETCH {n} (RFC822.SIZE BODYSTRUCTURE BODY ENVELOPE BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] \
                 BODY.PEEK[]<10.20> RFC822.HEADER BODY.PEEK[HEADER.FIELDS (Subject)] \
                 BODY.PEEK[HEADER.FIELDS.NOT (Subject)])"
            )
            .into_bytes()
        })
        .collect();
    let mut wanted = Vec::new();
    let mut named = 0;
    for (n, (answer, message)) in (1..).zip(pipelined(&mut imap, &whole).iter().zip(&appended)) {
        let fetched = answer.fetched();
        assert_eq!(fetched.len(), 1, "{}: {}", message.name, answer.text());
        assert_eq!(fetched[0].0, n);
        let items = &fetched[0].1;
        let (name, octets) = (&message.name, &message.octets);
        assert_eq!(of(items, "RFC822.SIZE").number(), octets.len() as u64, "{name}");
        assert!(octets_of(items, "BODY[]") == octets, "{name} is not what went in");
        let (header, text) = (octets_of(items, "BODY[HEADER]"), octets_of(items, "BODY[TEXT]"));
        assert!([header, text].concat() == *octets, "{name}: header and text are not the message");
        assert!(octets_of(items, "RFC822.HEADER") == header, "{name}");
        let partial = &octets[octets.len().min(10)..octets.len().min(30)];
        assert!(octets_of(items, "BODY[]<10>") == partial, "{name}");
        let chosen = octets_of(items, "BODY[HEADER.FIELDS (SUBJECT)]").len();
        let others = octets_of(items, "BODY[HEADER.FIELDS.NOT (SUBJECT)]").len();
        // Each ends with an empty line of its own, which a header cut short has not.
        assert!(chosen + others <= header.len() + 4, "{name}: {chosen} and {others} of {}", header.len());
        let mut structure = Vec::new();
        parts(of(items, "BODYSTRUCTURE"), "", &mut structure);
        let mut short = Vec::new();
        parts(of(items, "BODY"), "", &mut short);
        assert_eq!(format!("{structure:?}"), format!("{short:?}"), "{name}: BODY and BODYSTRUCTURE differ");
        named += structure.len();
        wanted.push(structure);
    }
    assert!(named > appended.len(), "{named} parts");

    let mut commands = Vec::new();
    let mut asked = Vec::new();
    for (n, structure) in (1..).zip(&wanted) {
        for some in structure.chunks(PARTS_AHEAD) {
            let mut command = format!("FETCH {n} (");
            for part in some {
                let path = &part.path;
                let _ = write!(command, "BODY.PEEK[{path}] BODY.PEEK[{path}.MIME] ");
                if part.is_message {
                    let _ = write!(command, "BODY.PEEK[{path}.HEADER] BODY.PEEK[{path}.TEXT] ");
                }
            }
            command.pop();
            commands.push(format!("{command})").into_bytes());
            asked.push((n, some));
        }
    }
    let answers = pipelined(&mut imap, &commands);
    for ((n, some), answer) in asked.into_iter().zip(answers) {
        let (message, fetched) = (appended[n - 1], answer.fetched());
        assert_eq!(fetched.len(), 1, "{}: {}", message.name, answer.text());
        let items = &fetched[0].1;
        for part in some {
            let (name, path) = (&message.name, &part.path);
            let octets = octets_of(items, &format!("BODY[{path}]"));
            assert!(matches!(of(items, &format!("BODY[{path}]")), Value::Text(_)), "{name}: no part {path}");
            if let Some(told) = part.octets {
                assert_eq!(told, octets.len() as u64, "{name}: size of {path}");
            }
            if let Some(told) = part.lines {
                let ends = octets.iter().filter(|&&octet| octet == b'\n').count() as u64;
                assert!(told == ends || told == ends + 1, "{name}: {told} lines in {path}, which has {ends}");
            }
            if part.is_message {
                let header = octets_of(items, &format!("BODY[{path}.HEADER]"));
                let text = octets_of(items, &format!("BODY[{path}.TEXT]"));
                assert!([header, text].concat() == octets, "{name}: header and text of {path}");
            }
            let inside =
                |what: &[u8]| what.is_empty() || message.octets.windows(what.len()).any(|w| w == what);
            if octets.len() < 10_000 && !part.is_multipart {
                assert!(inside(octets), "{name}: {path} is not in the message");
            }
        }
    }

    // As they were, nothing was marked, and the other doors show the same.
    assert_eq!(
        imap.ok("STATUS corpus (UNSEEN)").lines(),
        [format!("* STATUS corpus (UNSEEN {})", appended.len())]
    );
    imap.ok("LOGOUT");
}
