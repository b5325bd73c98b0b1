//! An IMAP client that is much cheaper than any server: it records an answer whole, and looks at it when the clock has
//! stopped.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::Result;
use crate::target::Target;
use crate::wide::Wide;
use crate::wire::PATIENCE;

/// What is read at a time once an answer is long.
const LARGE: usize = 1 << 20;

/// How a session travels.
pub(crate) enum Stream {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, Wide>>),
}

impl Stream {
    pub(crate) fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Stream::Clear(socket) => socket.read(into),
            Stream::Tls(tls) => tls.read(into),
        }
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Stream::Clear(socket) => socket.write_all(bytes),
            Stream::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }
}

/// One connection.
pub(crate) struct Session {
    stream: Stream,
    /// What came and is not yet taken: `buffer[start..end]`. It grows to the longest answer and keeps its pages, so that
    /// no answer pays for new ones but the first.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    tags: usize,
}

/// What trusts a server's certificate.
pub(crate) fn trusting(authority: &[u8]) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

impl Session {
    /// Connects and waits for the greeting.
    pub(crate) fn connect(to: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Session> {
        let socket = TcpStream::connect(to).map_err(|e| format!("connecting to {to}: {e}"))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let stream = match tls {
            None => Stream::Clear(socket),
            Some(config) => {
                let name = ServerName::try_from("localhost")?;
                let connection = ClientConnection::new(Arc::clone(config), name)?;
                Stream::Tls(Box::new(StreamOwned::new(connection, Wide::new(socket, 0))))
            }
        };
        let mut session = Session { stream, buffer: vec![0; 1024], start: 0, end: 0, tags: 0 };
        let greeting = session.line()?;
        if greeting.starts_with("* OK") { Ok(session) } else { Err(format!("greeting: {greeting}").into()) }
    }

    /// Connects in the clear and logs in.
    pub(crate) fn open(target: &Target, login: &str, password: &str) -> Result<Session> {
        let mut session = Session::connect(target.imap, None)?;
        session.log_in(login, password)?;
        Ok(session)
    }

    pub(crate) fn log_in(&mut self, login: &str, password: &str) -> Result {
        self.command(&format!("LOGIN {login} {password}")).map(drop)
    }

    fn fill(&mut self) -> Result {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize((2 * self.end).max(LARGE), 0);
        }
        match self.stream.read(&mut self.buffer[self.end..])? {
            0 => Err("the server closed the connection".into()),
            n => {
                self.end += n;
                Ok(())
            }
        }
    }

    /// One line without its end.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut looked = self.start;
        loop {
            if let Some(at) = self.buffer[looked..self.end].iter().position(|&b| b == b'\n') {
                let line = &self.buffer[self.start..looked + at];
                let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
                self.start = looked + at + 1;
                return Ok(line);
            }
            let have = self.end - self.start;
            self.fill()?;
            looked = self.start + have;
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result {
        Ok(self.stream.write_all(bytes)?)
    }

    /// A tag that no message contains.
    fn tag(&mut self) -> String {
        self.tags += 1;
        format!("bench-{}", self.tags)
    }

    /// Sends a command and records the answer, which must end in OK. Nothing else may be under way.
    pub(crate) fn command(&mut self, command: &str) -> Result<(&[u8], Duration)> {
        let tag = self.tag();
        let text = format!("{tag} {command}\r\n");
        (self.start, self.end) = (0, 0);
        let begun = Instant::now();
        self.send(text.as_bytes())?;
        let last = loop {
            self.fill()?;
            if let Some(last) = last_line(&self.buffer[..self.end])
                && self.buffer[last..self.end].starts_with(tag.as_bytes())
            {
                break last;
            }
        };
        let took = begun.elapsed();
        (self.start, self.end) = (self.end, self.end);
        let answer = &self.buffer[..self.end];
        if !answer[last + tag.len()..].starts_with(b" OK") {
            let said = String::from_utf8_lossy(&answer[last..]);
            return Err(format!("{command}: {}", said.trim_end()).into());
        }
        Ok((&answer[..last], took))
    }

    /// Sends one APPEND of one or more messages, without waiting; the tag.
    pub(crate) fn send_append(&mut self, mailbox: &str, messages: &[Vec<u8>]) -> Result<String> {
        let tag = self.tag();
        let mut all = Vec::with_capacity(100 + messages.iter().map(|m| m.len() + 16).sum::<usize>());
        write!(all, "{tag} APPEND {mailbox}")?;
        for message in messages {
            write!(all, " {{{}+}}\r\n", message.len())?;
            all.extend_from_slice(message);
        }
        all.extend_from_slice(b"\r\n");
        self.send(&all)?;
        Ok(tag)
    }

    /// Waits for the tagged OK.
    pub(crate) fn finish(&mut self, tag: &str) -> Result {
        loop {
            let line = self.line()?;
            if let Some(rest) = line.strip_prefix(tag) {
                return if rest.starts_with(" OK") { Ok(()) } else { Err(format!("it said {line}").into()) };
            }
            if !line.starts_with("* ") {
                return Err(format!("it said {line}, not {tag}").into());
            }
        }
    }

    /// The number of messages in a mailbox.
    pub(crate) fn count(&mut self, mailbox: &str) -> Result<usize> {
        let (answer, _) = self.command(&format!("STATUS {mailbox} (MESSAGES)"))?;
        let said = String::from_utf8_lossy(answer).into_owned();
        let number = said.split("(MESSAGES ").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok());
        number.ok_or_else(|| format!("STATUS: {said}").into())
    }

    /// SELECT of a mailbox that must hold so many messages; how long it took.
    pub(crate) fn select(&mut self, mailbox: &str, count: usize) -> Result<Duration> {
        let (answer, took) = self.command(&format!("SELECT {mailbox}"))?;
        let said = String::from_utf8_lossy(answer);
        if !said.contains(&format!("* {count} EXISTS\r\n")) {
            return Err(format!("SELECT {mailbox}, of {count} messages: {said}").into());
        }
        Ok(took)
    }

    pub(crate) fn log_out(mut self) -> Result {
        self.command("LOGOUT").map(drop)
    }
}

/// Where the last line begins, if the last line is whole.
fn last_line(answer: &[u8]) -> Option<usize> {
    let rest = answer.strip_suffix(b"\r\n")?;
    Some(rest.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1))
}

/// Reads the untagged FETCH responses of an answer; of each, `look` gets the message's index (from 0), the text and the
/// first literal. There must be exactly those of messages `0..count`, in order. The number of octets.
pub(crate) fn each_fetch(
    mut answer: &[u8],
    count: usize,
    mut look: impl FnMut(usize, &str, &[u8]) -> Result,
) -> Result {
    let mut expected = 0;
    while !answer.is_empty() {
        let (mut text, mut literal): (String, &[u8]) = (String::new(), &[]);
        loop {
            let end = answer.iter().position(|&b| b == b'\n').ok_or("half a line")?;
            let line = std::str::from_utf8(&answer[..end])?.trim_end_matches('\r');
            answer = &answer[end + 1..];
            text.push_str(line);
            let length = line.strip_suffix('}').and_then(|l| l.rsplit_once('{')?.1.parse::<usize>().ok());
            let Some(length) = length else { break };
            literal = answer.get(..length).ok_or("half a literal")?;
            answer = &answer[length..];
        }
        let mut words = text.splitn(4, ' ');
        let (_, number, name) = (words.next(), words.next(), words.next());
        if name != Some("FETCH") {
            continue;
        }
        if number != Some(&*(expected + 1).to_string()) || expected >= count {
            return Err(format!("FETCH response {number:?} where {} is due", expected + 1).into());
        }
        look(expected, words.next().unwrap_or_default(), literal)
            .map_err(|e| format!("message {}: {e}", expected + 1))?;
        expected += 1;
    }
    if expected == count { Ok(()) } else { Err(format!("{expected} of {count} FETCH responses").into()) }
}

/// The numbers of a SEARCH or SORT answer must be these, in this order.
pub(crate) fn numbers_are(answer: &[u8], name: &str, expected: &[usize]) -> Result {
    let text = std::str::from_utf8(answer)?;
    let line = text.lines().find_map(|l| l.strip_prefix("* ")?.strip_prefix(name)).ok_or("no result")?;
    let got = line.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<usize>, _>>()?;
    if got == expected {
        return Ok(());
    }
    let at = got.iter().zip(expected).position(|(a, b)| a != b);
    let (of, at) = (expected.len(), at.unwrap_or(got.len().min(expected.len())));
    Err(format!(
        "{name}: {} numbers of {of}, the first wrong one at {at}: {:?}, not {:?}",
        got.len(),
        got.get(at),
        expected.get(at)
    )
    .into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_strictly() {
        let answer =
            b"* 1 FETCH (BODY[] {3}\r\na\nb)\r\n* OK fine\r\n* 2 FETCH (BODY[] {0}\r\n FLAGS ())\r\n";
        let mut seen = Vec::new();
        each_fetch(answer, 2, |n, text, literal| {
            seen.push((n, text.to_owned(), literal.to_vec()));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen[0], (0, "(BODY[] {3})".to_owned(), b"a\nb".to_vec()));
        assert_eq!(seen[1].1, "(BODY[] {0} FLAGS ())");
        assert!(each_fetch(answer, 3, |_, _, _| Ok(())).is_err());
        assert!(each_fetch(answer, 1, |_, _, _| Ok(())).is_err());
        assert!(each_fetch(answer, 2, |_, _, _| Err("no".into())).is_err());
        assert!(each_fetch(&answer[..40], 2, |_, _, _| Ok(())).is_err());
    }

    #[test]
    fn numbers_are_compared_in_order() {
        assert!(numbers_are(b"* SEARCH 1 2 3\r\n", "SEARCH", &[1, 2, 3]).is_ok());
        assert!(numbers_are(b"* SEARCH\r\n", "SEARCH", &[]).is_ok());
        assert!(numbers_are(b"* SORT 1 3 2\r\n", "SORT", &[1, 2, 3]).is_err());
        assert!(numbers_are(b"* SEARCH 1 2\r\n", "SEARCH", &[1, 2, 3]).is_err());
        assert!(numbers_are(b"", "SEARCH", &[]).is_err());
    }

    #[test]
    fn the_end_of_an_answer() {
        assert_eq!(last_line(b"* x\r\nbench-1 OK\r\n"), Some(5));
        assert_eq!(last_line(b"* x\r\nbench-1 OK"), None);
        assert_eq!(last_line(b"* x\r\n"), Some(0));
    }
}
