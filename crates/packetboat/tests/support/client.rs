//! The plainest clients, to put a message in and to see what came out. They follow the RFC's text and nothing else.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a server may take for one reply.
const PATIENCE: Duration = Duration::from_secs(120);

/// A POP3 session in the clear.
#[derive(Debug)]
pub struct Pop3 {
    stream: BufReader<TcpStream>,
}

fn connect(at: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    BufReader::new(stream)
}

fn line(stream: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).unwrap();
    assert!(line.ends_with(b"\r\n"), "a line cut off: {:?}", String::from_utf8_lossy(&line));
    line.truncate(line.len() - 2);
    line
}

impl Pop3 {
    pub fn login(at: SocketAddr, login: &str) -> Pop3 {
        let mut pop3 = Pop3 { stream: connect(at) };
        pop3.expect_ok("greeting");
        // Messages are looked at as they are stored.
        pop3.command("UTF8");
        pop3.command(&format!("USER {login}"));
        pop3.command("PASS demo");
        pop3
    }

    /// A command that must be answered `+OK`.
    pub fn command(&mut self, text: &str) -> String {
        self.stream.get_mut().write_all(format!("{text}\r\n").as_bytes()).unwrap();
        self.expect_ok(text)
    }

    fn expect_ok(&mut self, to: &str) -> String {
        let reply = String::from_utf8(line(&mut self.stream)).unwrap();
        assert!(reply.starts_with("+OK"), "{to}: {reply}");
        reply
    }

    pub fn count(&mut self) -> usize {
        self.command("STAT").split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// One message, as it is stored.
    pub fn retrieve(&mut self, number: usize) -> Vec<u8> {
        self.command(&format!("RETR {number}"));
        let mut message = Vec::new();
        loop {
            let line = line(&mut self.stream);
            if line == b"." {
                return message;
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            message.extend_from_slice(b"\r\n");
        }
    }

    /// All messages of the maildrop.
    pub fn all(&mut self) -> Vec<Vec<u8>> {
        (1..=self.count()).map(|n| self.retrieve(n)).collect()
    }

    pub fn quit(mut self) {
        self.command("QUIT");
    }
}

/// Says these lines one after the other, each after the reply to the one before; the replies' first line each.
pub fn smtp_dialogue(at: SocketAddr, lines: &[&[u8]]) -> Vec<String> {
    let mut stream = connect(at);
    let mut replies = vec![reply(&mut stream)];
    for text in lines {
        stream.get_mut().write_all(&[text, b"\r\n".as_slice()].concat()).unwrap();
        replies.push(reply(&mut stream));
    }
    replies
}

fn reply(stream: &mut BufReader<TcpStream>) -> String {
    let first = String::from_utf8_lossy(&line(stream)).into_owned();
    let mut last = first.clone();
    while last.as_bytes().get(3) == Some(&b'-') {
        last = String::from_utf8_lossy(&line(stream)).into_owned();
    }
    first
}

/// Delivers a message by SMTP to the port for everybody; it must be accepted.
pub fn deliver(at: SocketAddr, to: &str, message: &[u8]) {
    let mut stuffed = Vec::with_capacity(message.len() + 16);
    for line in message.split_inclusive(|&b| b == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    stuffed.push(b'.');
    let recipient = format!("RCPT TO:<{to}>");
    let replies = smtp_dialogue(
        at,
        &[
            b"EHLO tests.example",
            b"MAIL FROM:<alice@tests.example>",
            recipient.as_bytes(),
            b"DATA",
            &stuffed,
            b"QUIT",
        ],
    );
    let codes: Vec<&str> = replies.iter().map(|r| &r[..3]).collect();
    assert_eq!(codes, ["220", "250", "250", "250", "354", "250", "221"], "{replies:?}");
}
