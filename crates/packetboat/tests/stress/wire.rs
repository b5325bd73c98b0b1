//! A blocking IMAP client that understands just enough, and remembers what was said.

use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};
use std::time::{Duration, Instant};

use super::stream::{Doors, Stream};

/// How long a server may take for one answer; it is a debug build under load.
const PATIENCE: Duration = Duration::from_secs(120);
/// Lines of dialogue that are shown when something is wrong.
const REMEMBERED: usize = 60;
/// Characters of each.
const SHOWN: usize = 400;

/// Flags of a message, without `\Recent`, in lower case.
pub type Flags = BTreeSet<String>;

/// Why a session cannot go on.
#[derive(Debug)]
pub enum Trouble {
    /// The connection is gone, as it is when the server is killed.
    Lost(String),
    /// The server said what cannot be.
    Wrong(String),
}

pub type Outcome<T = ()> = Result<T, Trouble>;

/// What cannot be.
pub fn wrong<T>(what: impl Into<String>) -> Outcome<T> {
    Err(Trouble::Wrong(what.into()))
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Trouble {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                Trouble::Wrong("no answer for a minute".to_owned())
            }
            _ => Trouble::Lost(error.to_string()),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Word(String),
    Octets(Vec<u8>),
    List(Vec<Value>),
}

impl Value {
    pub fn word(&self) -> &str {
        match self {
            Value::Word(word) => word,
            _ => "",
        }
    }

    pub fn list(&self) -> &[Value] {
        match self {
            Value::List(list) => list,
            _ => &[],
        }
    }

    pub fn octets(&self) -> &[u8] {
        match self {
            Value::Octets(octets) => octets,
            Value::Word(word) => word.as_bytes(),
            Value::List(_) => &[],
        }
    }

    pub fn number(&self) -> Outcome<u64> {
        self.word().parse().or_else(|_| wrong(format!("{self:?} is no number")))
    }
}

/// One response.
#[derive(Debug, Clone)]
pub struct Said {
    /// The tag, `*` or `+`.
    pub tag: String,
    pub number: Option<u32>,
    /// `FETCH`, `OK` ...
    pub name: String,
    pub values: Vec<Value>,
    /// What stood in brackets behind `OK`, `NO`, `BAD`.
    pub code: String,
}

impl Said {
    /// The rest of a code that begins with this word.
    pub fn code(&self, name: &str) -> Option<&str> {
        let rest = self.code.strip_prefix(name)?;
        rest.strip_prefix(' ').or(rest.is_empty().then_some(rest))
    }
}

#[derive(Debug)]
pub struct Wire {
    stream: BufReader<Stream>,
    began: Instant,
    tags: u32,
    pub dialogue: VecDeque<String>,
}

impl Wire {
    pub fn connect(doors: &Doors, tls: bool) -> Outcome<Wire> {
        let stream = Stream::open(doors, tls)?;
        stream.set_read_timeout(PATIENCE)?;
        let (stream, dialogue) = (BufReader::new(stream), VecDeque::new());
        let mut wire = Wire { stream, began: doors.began, tags: 0, dialogue };
        wire.read()?;
        Ok(wire)
    }

    /// The server has agreed to compression.
    pub fn compress(&mut self) -> Outcome {
        if !self.stream.buffer().is_empty() {
            return wrong("something came behind the answer to COMPRESS");
        }
        self.stream.get_mut().compress();
        Ok(())
    }

    fn remember(&mut self, who: char, text: &[u8]) {
        if self.dialogue.len() >= REMEMBERED {
            self.dialogue.pop_front();
        }
        let text = String::from_utf8_lossy(text).escape_debug().take(SHOWN).collect::<String>();
        self.dialogue.push_back(format!("{:9.4} {who}: {text}", self.began.elapsed().as_secs_f64()));
    }

    /// Sends a command; its tag.
    pub fn send(&mut self, command: &[u8]) -> Outcome<String> {
        self.tags += 1;
        let tag = format!("a{}", self.tags);
        self.send_raw(&[tag.as_bytes(), b" ", command, b"\r\n"].concat())?;
        Ok(tag)
    }

    pub fn send_raw(&mut self, octets: &[u8]) -> Outcome {
        self.remember('C', octets);
        Ok(self.stream.get_mut().send(octets)?)
    }

    /// Whether something can be read within this time.
    pub fn is_ready(&mut self, within: Duration) -> Outcome<bool> {
        self.stream.get_mut().set_read_timeout(within)?;
        let ready = match self.stream.fill_buf() {
            Ok([]) => return Err(Trouble::Lost("end of stream".to_owned())),
            Ok(_) => true,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
            Err(error) => return Err(error.into()),
        };
        self.stream.get_mut().set_read_timeout(PATIENCE)?;
        Ok(ready)
    }

    /// The next response.
    pub fn read(&mut self) -> Outcome<Said> {
        let mut octets = Vec::new();
        loop {
            self.stream.read_until(b'\n', &mut octets)?;
            if !octets.ends_with(b"\r\n") {
                return Err(Trouble::Lost("end of stream".to_owned()));
            }
            let Some(length) = literal_at_end(&octets) else { break };
            let from = octets.len();
            octets.resize(from + length, 0);
            self.stream.read_exact(&mut octets[from..])?;
        }
        self.remember('S', &octets);
        parse(&octets[..octets.len() - 2])
    }
}

fn literal_at_end(octets: &[u8]) -> Option<usize> {
    let text = octets.strip_suffix(b"}\r\n")?;
    let open = text.iter().rposition(|&b| b == b'{')?;
    std::str::from_utf8(&text[open + 1..]).ok()?.parse().ok()
}

fn parse(line: &[u8]) -> Outcome<Said> {
    let mut words = line.splitn(3, |&b| b == b' ');
    let mut next = || String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
    let (tag, second) = (next(), next());
    let mut said =
        Said { tag, number: second.parse().ok(), name: second, values: Vec::new(), code: String::new() };
    let mut rest = words.next().unwrap_or_default();
    if said.number.is_some() {
        let end = rest.iter().position(|&b| b == b' ').unwrap_or(rest.len());
        said.name = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    if matches!(&*said.name, "OK" | "NO" | "BAD" | "BYE") || said.tag == "+" {
        if rest.first() == Some(&b'[') {
            let end = rest.iter().position(|&b| b == b']').unwrap_or(rest.len());
            said.code = String::from_utf8_lossy(&rest[1..end]).into_owned();
        }
        return Ok(said);
    }
    let mut at = 0;
    said.values = values(rest, &mut at)?;
    Ok(said)
}

/// Values up to a closing parenthesis or the end.
fn values(text: &[u8], at: &mut usize) -> Outcome<Vec<Value>> {
    let mut found = Vec::new();
    while let Some(&byte) = text.get(*at) {
        match byte {
            b' ' => *at += 1,
            b')' => {
                *at += 1;
                return Ok(found);
            }
            b'(' => {
                *at += 1;
                found.push(Value::List(values(text, at)?));
            }
            b'"' => {
                let mut octets = Vec::new();
                *at += 1;
                while let Some(&byte) = text.get(*at).filter(|&&b| b != b'"') {
                    *at += if byte == b'\\' { 1 } else { 0 };
                    octets.extend(text.get(*at));
                    *at += 1;
                }
                *at += 1;
                found.push(Value::Octets(octets));
            }
            b'{' => {
                let end = text[*at..].iter().position(|&b| b == b'\n').map_or(text.len(), |n| *at + n + 1);
                let Some(length) = literal_at_end(&text[..end]) else { return wrong("a broken literal") };
                found.push(Value::Octets(text[end..end + length].to_vec()));
                *at = end + length;
            }
            _ => {
                let (start, mut depth) = (*at, 0);
                while let Some(&byte) = text.get(*at) {
                    match byte {
                        b'[' => depth += 1,
                        b']' => depth -= 1,
                        b' ' | b'(' | b')' if depth == 0 => break,
                        _ => {}
                    }
                    *at += 1;
                }
                found.push(Value::Word(String::from_utf8_lossy(&text[start..*at]).into_owned()));
            }
        }
    }
    Ok(found)
}

/// `1:3,5` as numbers.
pub fn numbers(set: &str) -> Outcome<Vec<u32>> {
    let mut all = Vec::new();
    for range in set.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) if last.abs_diff(first) < 1_000_000 => {
                all.extend(first.min(last)..=first.max(last));
            }
            _ => return wrong(format!("{set:?} is no set of numbers")),
        }
    }
    Ok(all)
}

/// Splitmix64: the same numbers for the same seed, everywhere.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub fn one_of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }
}
