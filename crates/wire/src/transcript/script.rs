//! Reading a transcript file.

use std::path::Path;
use std::time::Duration;

use thiserror::Error;

/// A transcript, read and ready to run.
#[derive(Debug)]
pub struct Script {
    /// The file, as failures name it.
    name: String,
    pub(super) entries: Vec<Entry>,
    settings: Vec<(String, String)>,
}

/// What is wrong with a transcript file.
#[derive(Debug, Error)]
#[error("{name}:{line}: {problem}")]
pub struct ScriptError {
    name: String,
    line: usize,
    problem: String,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    Line(Side, String),
    Raw(Side, Vec<u8>),
    Close(Side),
    AnyLines(Side),
    StartTls,
    Time(Duration),
    Event(String),
    Order(String),
}

impl Script {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Script, ScriptError> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Script::parse(&name, &text),
            Err(error) => Err(ScriptError { name, line: 0, problem: error.to_string() }),
        }
    }

    /// Reads a text; failures call it `name`.
    pub fn parse(name: &str, text: &str) -> Result<Script, ScriptError> {
        let mut script = Script { name: name.to_owned(), entries: Vec::new(), settings: Vec::new() };
        for (i, text) in text.lines().enumerate() {
            let line = i + 1;
            let fail = |problem| ScriptError { name: name.to_owned(), line, problem };
            if let Some(setting) = text.strip_prefix("@ ") {
                let (name, value) = setting.split_once(' ').unwrap_or((setting, ""));
                script.settings.push((name.to_owned(), value.to_owned()));
            } else if !text.starts_with('#') && !text.trim().is_empty() {
                script.entries.push(Entry { line, what: what(text).map_err(fail)? });
            }
        }
        Ok(script)
    }

    /// The file, as failures name it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What an `@ name value` line says.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn what(line: &str) -> Result<What, String> {
    let unknown = || format!("a line begins with C: C> S: S> T: E: O: @ or #, not as {line:?}");
    let (kind, text) = line.split_at_checked(2).ok_or_else(unknown)?;
    let spoken = text.strip_prefix(' ').unwrap_or(text);
    let side = if kind.starts_with('C') { Side::Client } else { Side::Server };
    Ok(match kind {
        "C:" | "S:" => match spoken {
            "<close>" => What::Close(side),
            "<starttls>" => What::StartTls,
            "..." => What::AnyLines(side),
            _ => What::Line(side, spoken.to_owned()),
        },
        "C>" | "S>" => What::Raw(side, raw(text)?),
        "T:" => What::Time(duration(spoken).ok_or_else(|| format!("{spoken:?} is no time such as 4m59s"))?),
        "E:" => What::Event(spoken.to_owned()),
        "O:" => What::Order(spoken.to_owned()),
        _ => return Err(unknown()),
    })
}

/// ` text` or `*count text`
fn raw(text: &str) -> Result<Vec<u8>, String> {
    let (times, text) = match text.strip_prefix('*') {
        Some(repeated) => {
            let (count, text) = repeated.split_once(' ').unwrap_or((repeated, ""));
            (count.parse().map_err(|_| format!("{count:?} is no number of times"))?, text)
        }
        None => (1, text.strip_prefix(' ').unwrap_or(text)),
    };
    Ok(unescape(text)?.repeat(times))
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut pieces = text.split('\\');
    octets.extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
    while let Some(piece) = pieces.next() {
        let wrong = || format!("\\{piece} is none of \\r \\n \\t \\0 \\\\ \\xNN");
        let (octet, rest) = match piece.split_at_checked(1) {
            Some(("r", rest)) => (b'\r', rest),
            Some(("n", rest)) => (b'\n', rest),
            Some(("t", rest)) => (b'\t', rest),
            Some(("0", rest)) => (0, rest),
            Some(("x", hex)) => {
                let (hex, rest) = hex.split_at_checked(2).ok_or_else(wrong)?;
                (u8::from_str_radix(hex, 16).map_err(|_| wrong())?, rest)
            }
            // A double backslash: the piece between is empty, the next one is plain text.
            None => (b'\\', pieces.next().ok_or_else(wrong)?),
            Some(_) => return Err(wrong()),
        };
        octets.push(octet);
        octets.extend_from_slice(rest.as_bytes());
    }
    Ok(octets)
}

/// `1h`, `4m59s`, `250ms`
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let (span, length) = if unit.starts_with("ms") {
            (Duration::from_millis(number), 2)
        } else {
            let seconds = match unit.as_bytes().first()? {
                b'h' => 3600,
                b'm' => 60,
                b's' => 1,
                _ => return None,
            };
            (Duration::from_secs(number.checked_mul(seconds)?), 1)
        };
        total = total.checked_add(span)?;
        rest = unit.get(length..)?;
    }
    if text.is_empty() { None } else { Some(total) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines() {
        let table = [
            ("C: NOOP", What::Line(Side::Client, "NOOP".into())),
            ("S:", What::Line(Side::Server, String::new())),
            ("C:  two ", What::Line(Side::Client, " two ".into())),
            ("S: <close>", What::Close(Side::Server)),
            ("S: ...", What::AnyLines(Side::Server)),
            ("S: <starttls>", What::StartTls),
            (r"C> a\r\n\0\x7f\\b\t", What::Raw(Side::Client, b"a\r\n\0\x7f\\b\t".to_vec())),
            (r"C>*3 \\\\x", What::Raw(Side::Client, br"\\x\\x\\x".to_vec())),
            ("T: 1h4m59s250ms", What::Time(Duration::from_millis(3_899_250))),
            ("E: Login*", What::Event("Login*".into())),
            ("O: shut down", What::Order("shut down".into())),
        ];
        for (text, expected) in table {
            assert_eq!(what(text).unwrap(), expected, "{text}");
        }
        for wrong in ["hello", "C", "C NOOP", r"C> \q", r"C> \", r"C> \x1", "C>*x y", "T: 5", "T: ", "T: m"] {
            assert!(what(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_remarks_and_places() {
        let script = Script::parse("a.txt", "# remark\n@ mode submission port 587\n\nC: x\n").unwrap();
        assert_eq!(script.setting("mode"), Some("submission port 587"));
        assert_eq!(script.setting("other"), None);
        assert_eq!(script.entries[0].line, 4);
        let error = Script::parse("a.txt", "C: x\nD: y\n").unwrap_err();
        assert!(error.to_string().starts_with("a.txt:2: "), "{error}");
    }
}
