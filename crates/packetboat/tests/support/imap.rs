//! An IMAP client written from the RFC's text for the tests alone: it shows every octet it was sent.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a server may take for one line.
const PATIENCE: Duration = Duration::from_secs(120);

/// An IMAP session in the clear.
#[derive(Debug)]
pub struct Imap {
    stream: BufReader<TcpStream>,
    tags: u32,
}

/// What a command was answered.
#[derive(Debug)]
pub struct Answer {
    /// Responses that came before the end, each with its literals and without the last CRLF.
    pub untagged: Vec<Vec<u8>>,
    /// What the tagged response says.
    pub tagged: String,
}

impl Answer {
    /// All of it, for people and for searching.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for response in &self.untagged {
            let _ = writeln!(text, "{}", String::from_utf8_lossy(response));
        }
        text + &self.tagged
    }

    /// The untagged responses that are text.
    pub fn lines(&self) -> Vec<String> {
        self.untagged.iter().map(|r| String::from_utf8_lossy(r).into_owned()).collect()
    }

    /// What FETCH responses say: each message's number with names and values.
    pub fn fetched(&self) -> Vec<(u32, Vec<(String, Value)>)> {
        self.untagged.iter().filter_map(|response| fetch_of(response)).collect()
    }
}

impl Imap {
    pub fn connect(at: SocketAddr) -> Imap {
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        // Thousands of these are open at once in some tests.
        let mut imap = Imap { stream: BufReader::with_capacity(512, stream), tags: 0 };
        let greeting = imap.response();
        let welcome = [b"* OK ".as_slice(), b"* PREAUTH "].iter().any(|start| greeting.starts_with(start));
        assert!(welcome, "{}", String::from_utf8_lossy(&greeting));
        imap
    }

    pub fn login(at: SocketAddr, login: &str) -> Imap {
        let mut imap = Imap::connect(at);
        imap.ok(&format!("LOGIN {login} demo"));
        imap
    }

    /// Sends octets as they are.
    pub fn send(&mut self, octets: &[u8]) {
        self.stream.get_mut().write_all(octets).unwrap();
    }

    /// A second handle, to write while another thread reads.
    pub fn writer(&self) -> TcpStream {
        self.stream.get_ref().try_clone().unwrap()
    }

    /// Sends a command without waiting for its answer; its tag.
    pub fn begin(&mut self, command: &[u8]) -> String {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        let line = [tag.as_bytes(), b" ", command, b"\r\n"].concat();
        self.send(&line);
        tag
    }

    /// Reads up to the end of a command.
    pub fn end(&mut self, tag: &str) -> Answer {
        let mut untagged = Vec::new();
        loop {
            let response = self.response();
            if let Some(rest) = response.strip_prefix(format!("{tag} ").as_bytes()) {
                return Answer { untagged, tagged: String::from_utf8_lossy(rest).into_owned() };
            }
            untagged.push(response);
        }
    }

    /// A command and its answer.
    pub fn command(&mut self, command: &str) -> Answer {
        let tag = self.begin(command.as_bytes());
        self.end(&tag)
    }

    /// A command that must succeed.
    pub fn ok(&mut self, command: &str) -> Answer {
        let answer = self.command(command);
        assert!(answer.tagged.starts_with("OK"), "{command}\n{}", answer.text());
        answer
    }

    /// Hands over a message by a literal that waits for nothing.
    pub fn append(&mut self, mailbox: &str, message: &[u8]) -> Answer {
        let command = [format!("APPEND {mailbox} {{{}+}}\r\n", message.len()).as_bytes(), message].concat();
        let tag = self.begin(&command);
        let answer = self.end(&tag);
        assert!(answer.tagged.starts_with("OK"), "APPEND: {}", answer.text());
        answer
    }

    /// How many messages the selected mailbox, or the one that is selected now, holds.
    pub fn select(&mut self, mailbox: &str) -> u32 {
        let answer = self.ok(&format!("SELECT {mailbox}"));
        let exists = answer
            .lines()
            .iter()
            .find_map(|line| line.strip_prefix("* ")?.strip_suffix(" EXISTS")?.parse().ok());
        exists.unwrap_or_else(|| panic!("{}", answer.text()))
    }

    /// One response with its literals, without its CRLF.
    pub fn response(&mut self) -> Vec<u8> {
        let mut response = Vec::new();
        loop {
            self.stream.read_until(b'\n', &mut response).unwrap();
            let shown = || String::from_utf8_lossy(&response).into_owned();
            assert!(response.ends_with(b"\r\n"), "a line cut off: {:?}", shown());
            response.truncate(response.len() - 2);
            let Some(octets) = literal(&response) else { return response };
            response.extend_from_slice(b"\r\n");
            let start = response.len();
            response.resize(start + octets, 0);
            self.stream.read_exact(&mut response[start..]).unwrap();
        }
    }

    /// The octets that follow, as many as fit.
    pub fn read_exact(&mut self, octets: &mut [u8]) {
        self.stream.read_exact(octets).unwrap();
    }

    /// One line, whatever it announces.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line
    }
}

/// How many octets follow a line that ends in `{n}`.
fn literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}")?;
    let at = line.iter().rposition(|&octet| octet == b'{')?;
    std::str::from_utf8(&line[at + 1..]).ok()?.parse().ok()
}

/// A value in a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Nil,
    Atom(String),
    Text(Vec<u8>),
    List(Vec<Value>),
}

impl Value {
    pub fn list(&self) -> &[Value] {
        match self {
            Value::List(items) => items,
            other => panic!("no list: {other:?}"),
        }
    }

    pub fn number(&self) -> u64 {
        match self {
            Value::Atom(atom) => atom.parse().unwrap(),
            other => panic!("no number: {other:?}"),
        }
    }

    pub fn octets(&self) -> &[u8] {
        match self {
            Value::Text(octets) => octets,
            other => panic!("no string: {other:?}"),
        }
    }
}

/// `* 1 FETCH (NAME value …)`.
fn fetch_of(response: &[u8]) -> Option<(u32, Vec<(String, Value)>)> {
    let rest = response.strip_prefix(b"* ")?;
    let space = rest.iter().position(|&octet| octet == b' ')?;
    let number = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
    let mut rest = rest[space..].strip_prefix(b" FETCH ")?;
    let Value::List(items) = value(&mut rest) else { panic!("no list after FETCH") };
    assert!(rest.is_empty(), "{:?} after FETCH's list", String::from_utf8_lossy(rest));
    let pairs = items.chunks(2).map(|pair| match pair {
        [Value::Atom(name), value] => (name.clone(), value.clone()),
        other => panic!("not a name and a value: {other:?}"),
    });
    Some((number, pairs.collect()))
}

/// All values of what follows a response's name.
pub fn values(mut rest: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while !rest.is_empty() {
        values.push(value(&mut rest));
        rest = rest.strip_prefix(b" ").unwrap_or(rest);
    }
    values
}

/// Reads one value, strictly.
fn value(rest: &mut &[u8]) -> Value {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    match rest.first() {
        Some(b'(') => {
            *rest = &rest[1..];
            let mut items = Vec::new();
            loop {
                if let Some(after) = rest.strip_prefix(b")") {
                    *rest = after;
                    return Value::List(items);
                }
                // Bodies of a multipart follow each other without a space.
                let follows_a_body = rest.starts_with(b"(") && matches!(items.last(), Some(Value::List(_)));
                if !items.is_empty() && !follows_a_body {
                    *rest = rest.strip_prefix(b" ").unwrap_or_else(|| panic!("no space: {:?}", text(rest)));
                }
                items.push(value(rest));
            }
        }
        Some(b'"') => {
            let mut octets = Vec::new();
            let mut at = 1;
            while rest[at] != b'"' {
                at += usize::from(rest[at] == b'\\');
                assert!(!matches!(rest[at], b'\r' | b'\n' | 0), "{:?}", text(rest));
                octets.push(rest[at]);
                at += 1;
            }
            *rest = &rest[at + 1..];
            Value::Text(octets)
        }
        Some(b'{' | b'~') => {
            let line = rest.iter().position(|&octet| octet == b'\r').unwrap();
            let len = literal(&rest[..line]).unwrap();
            let octets = rest[line + 2..line + 2 + len].to_vec();
            *rest = &rest[line + 2 + len..];
            Value::Text(octets)
        }
        Some(_) => {
            // `BODY[HEADER.FIELDS (From)]` is one name.
            let mut brackets = 0;
            let end = rest.iter().position(|&octet| {
                brackets += i32::from(octet == b'[') - i32::from(octet == b']');
                brackets == 0 && matches!(octet, b' ' | b')')
            });
            let (atom, after) = rest.split_at(end.unwrap_or(rest.len()));
            assert!(!atom.is_empty(), "nothing before {:?}", text(after));
            *rest = after;
            if atom == b"NIL" { Value::Nil } else { Value::Atom(text(atom)) }
        }
        None => panic!("a value is missing"),
    }
}
