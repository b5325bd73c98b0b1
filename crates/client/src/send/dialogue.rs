//! The dialogue with a server as a person reads it: every line but the secrets and the message itself.

use packetboat_wire::TlsFacts;

use super::request::Say;
use crate::link::Observer;

/// Octets of a line that are shown.
const SHOWN_MAX: usize = 1024;

/// Octets of the line that ends a message.
const END: u64 = 3;

/// Shows each line with `C:` or `S:` before it.
pub(crate) struct Dialogue {
    say: Say,
    state: State,
    client: Line,
    server: Line,
}

/// What the client's next octets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Commands.
    Commands,
    /// A login: nothing that is sent is shown before the server has ended it.
    Login,
    /// DATA has been said; the message comes when the server agrees. Replies to what was said before may come first,
    /// and if it does not agree, the next that is sent is a command.
    DataAsked,
    /// The message, up to its line with a dot.
    Data { octets: u64, tail: [u8; 5] },
    /// A chunk of so many octets.
    Chunk { left: u64, octets: u64 },
}

/// A line that has not ended yet.
#[derive(Debug, Default)]
struct Line(Vec<u8>);

impl Line {
    /// Takes octets up to the end of a line; gives the line, when it has ended, and what is left.
    fn take<'a>(&mut self, octets: &'a [u8]) -> (Option<String>, &'a [u8]) {
        let (part, rest, ended) = match memchr::memchr(b'\n', octets) {
            Some(at) => (&octets[..at], &octets[at + 1..], true),
            None => (octets, &[][..], false),
        };
        let room = SHOWN_MAX.saturating_sub(self.0.len());
        self.0.extend_from_slice(part.get(..room).unwrap_or(part));
        let line = ended.then(|| {
            let shown: String = String::from_utf8_lossy(self.0.trim_ascii_end()).into_owned();
            self.0.clear();
            shown.replace(char::is_control, "\u{fffd}")
        });
        (line, rest)
    }
}

impl Dialogue {
    pub(crate) fn new(say: Say) -> Dialogue {
        Dialogue { say, state: State::Commands, client: Line::default(), server: Line::default() }
    }

    fn command(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let verb = words.next().unwrap_or("").to_ascii_uppercase();
        self.state = match (self.state, verb.as_str()) {
            (State::Login, _) => {
                (self.say)("C: ***");
                return;
            }
            (_, "AUTH") => {
                let mechanism = words.next().unwrap_or("");
                let secret = if words.next().is_some() { " ***" } else { "" };
                (self.say)(&format!("C: AUTH {mechanism}{secret}"));
                self.state = State::Login;
                return;
            }
            (_, "DATA") => State::DataAsked,
            (_, "BDAT") => match words.next().and_then(|size| size.parse().ok()) {
                Some(left) if left > 0 => State::Chunk { left, octets: left },
                _ => State::Commands,
            },
            _ => State::Commands,
        };
        (self.say)(&format!("C: {line}"));
    }

    /// Takes octets of the message; gives what is left.
    fn content<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match &mut self.state {
            State::Data { octets, tail } => {
                for (at, &octet) in bytes.iter().enumerate() {
                    tail.rotate_left(1);
                    tail[4] = octet;
                    *octets += 1;
                    if tail == b"\r\n.\r\n" {
                        let shown = format!("C: [{} octets of message]", octets.saturating_sub(END));
                        (self.say)(&shown);
                        self.state = State::Commands;
                        return bytes.get(at + 1..).unwrap_or_default();
                    }
                }
                &[]
            }
            State::Chunk { left, octets } => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= len as u64;
                if *left == 0 {
                    let shown = format!("C: [{octets} octets of message]");
                    (self.say)(&shown);
                    self.state = State::Commands;
                }
                bytes.get(len..).unwrap_or_default()
            }
            _ => bytes,
        }
    }
}

impl Observer for Dialogue {
    fn sent(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if matches!(self.state, State::Data { .. } | State::Chunk { .. }) {
                rest = self.content(rest);
                continue;
            }
            let (line, after) = self.client.take(rest);
            rest = after;
            if let Some(line) = line {
                self.command(&line);
            }
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (line, after) = self.server.take(rest);
            rest = after;
            let Some(line) = line else { break };
            let last = line.as_bytes().get(3) != Some(&b'-');
            self.state = match self.state {
                State::Login if last && !line.starts_with("334") => State::Commands,
                // A first line may begin with the dot, as if a CRLF stood before it.
                State::DataAsked if line.starts_with("354") => {
                    State::Data { octets: 0, tail: *b"\0\0\0\r\n" }
                }
                other => other,
            };
            (self.say)(&format!("S: {line}"));
        }
    }

    fn tls(&mut self, facts: &TlsFacts) {
        (self.say)(&format!("-- {} {}", facts.version, facts.cipher));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is shown of a dialogue, given as `C:` and `S:` pieces, each cut into octets.
    fn shown(pieces: &[(char, &str)]) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let mut dialogue =
            Dialogue::new(Arc::new(move |line: &str| sink.lock().unwrap().push(line.to_owned())));
        for (side, piece) in pieces {
            for octet in piece.as_bytes() {
                match side {
                    'C' => dialogue.sent(&[*octet]),
                    _ => dialogue.received(&[*octet]),
                }
            }
        }
        let lines = lines.lock().unwrap();
        lines.clone()
    }

    #[test]
    fn lines_are_shown_and_secrets_are_not() {
        let lines = shown(&[
            ('S', "220 hello\x07\r\n"),
            ('C', "EHLO me\r\n"),
            ('S', "250-x\r\n250 AUTH PLAIN\r\n"),
            ('C', "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"),
            ('S', "235 ok\r\n"),
            ('C', "AUTH LOGIN\r\n"),
            ('S', "334 VXNlcm5hbWU6\r\n"),
            ('C', "YWxpY2U=\r\n"),
            ('S', "334 UGFzc3dvcmQ6\r\n"),
            ('C', "c2VjcmV0\r\n"),
            ('S', "535 no\r\n"),
            ('C', "QUIT\r\n"),
        ]);
        assert_eq!(
            lines,
            [
                "S: 220 hello\u{fffd}",
                "C: EHLO me",
                "S: 250-x",
                "S: 250 AUTH PLAIN",
                "C: AUTH PLAIN ***",
                "S: 235 ok",
                "C: AUTH LOGIN",
                "S: 334 VXNlcm5hbWU6",
                "C: ***",
                "S: 334 UGFzc3dvcmQ6",
                "C: ***",
                "S: 535 no",
                "C: QUIT",
            ]
        );
    }

    #[test]
    fn the_message_is_counted_and_not_shown() {
        let lines = shown(&[
            ('C', "RCPT TO:<a@x>\r\nDATA\r\n"),
            ('S', "250 ok\r\n354 go\r\n"),
            ('C', "A: b\r\n\r\n..\r\nAUTH x\r\n.\r\nQUIT\r\n"),
            ('C', "BDAT 5 LAST\r\nabcd\nMAIL FROM:<>\r\nDATA\r\n"),
            ('S', "554 no\r\n"),
            ('C', "RSET\r\n"),
        ]);
        assert_eq!(
            lines,
            [
                "C: RCPT TO:<a@x>",
                "C: DATA",
                "S: 250 ok",
                "S: 354 go",
                "C: [20 octets of message]",
                "C: QUIT",
                "C: BDAT 5 LAST",
                "C: [5 octets of message]",
                "C: MAIL FROM:<>",
                "C: DATA",
                "S: 554 no",
                "C: RSET",
            ]
        );
    }
}
