//! Every message of the corpus goes in over SMTP, by DATA and by BDAT, and comes out octet by octet over POP3.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use packetboat_corpus::{Carriage, Message, messages};
use support::Demo;

/// From so many trace fields on, a message goes round in circles: the post office's limit.
const HOPS_MAX: usize = 100;
/// Chunks of BDAT: odd, so that lines and multi-octet characters are cut anywhere.
const CHUNK: usize = 777;

/// A connection that speaks lines, written from the RFCs for this test alone.
struct Peer(BufReader<TcpStream>);

impl Peer {
    fn connect(at: SocketAddr) -> Peer {
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer(BufReader::new(stream))
    }

    fn send(&mut self, octets: &[u8]) {
        self.0.get_mut().write_all(octets).unwrap();
    }

    /// A line as it came, ending included.
    fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).unwrap();
        assert!(line.ends_with(b"\n"), "the connection ended: {:?}", String::from_utf8_lossy(&line));
        line
    }

    fn reply(&mut self) -> String {
        loop {
            let line = String::from_utf8(self.line()).unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    fn command(&mut self, text: &str, expected: &str) {
        self.send(format!("{text}\r\n").as_bytes());
        let reply = self.reply();
        assert!(reply.starts_with(expected), "{text}: {reply}");
    }

    /// Hands over by DATA, dots stuffed; the reply to the final dot.
    fn data(&mut self, message: &Message) -> String {
        self.command("DATA", "354");
        let mut text = Vec::new();
        for line in message.octets.split_inclusive(|&octet| octet == b'\n') {
            if line.starts_with(b".") {
                text.push(b'.');
            }
            text.extend_from_slice(line);
        }
        text.extend_from_slice(b".\r\n");
        self.send(&text);
        self.reply()
    }

    /// Hands over by BDAT, pipelined; the reply to the last chunk.
    fn bdat(&mut self, message: &Message) -> String {
        let mut octets = Vec::new();
        let chunks = message.octets.chunks(CHUNK);
        let count = chunks.len();
        for chunk in chunks {
            octets.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
            octets.extend_from_slice(chunk);
        }
        octets.extend_from_slice(b"BDAT 0 LAST\r\n");
        // Replies have to be read meanwhile, or two full pipes would wait for each other.
        let mut writer = self.0.get_ref().try_clone().unwrap();
        let writing = std::thread::spawn(move || writer.write_all(&octets).unwrap());
        for _ in 0..count {
            let reply = self.reply();
            assert!(reply.starts_with("250"), "{}: {reply}", message.name);
        }
        writing.join().unwrap();
        self.reply()
    }

    /// What RETR brings, unstuffed.
    fn retrieve(&mut self, number: usize) -> Vec<u8> {
        self.send(format!("RETR {number}\r\n").as_bytes());
        let reply = String::from_utf8(self.line()).unwrap();
        assert!(reply.starts_with("+OK"), "RETR {number}: {reply}");
        let mut message = Vec::new();
        loop {
            let line = self.line();
            if line == b".\r\n" {
                return message;
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
}

fn how(message: &Message) -> &'static str {
    match (message.carriage(), message.has_8bit()) {
        (Carriage::Data, false) => "",
        (Carriage::Data, true) => " BODY=8BITMIME",
        (Carriage::LongLines | Carriage::Binary, _) => " BODY=BINARYMIME",
    }
}

fn ways(message: &Message) -> &'static [&'static str] {
    if message.carriage() == Carriage::Data { &["DATA", "BDAT"] } else { &["BDAT"] }
}

#[test]
fn the_corpus_comes_out_as_it_went_in() {
    let demo = Demo::start();
    let corpus = messages();
    let mut expected: Vec<(&Message, &str)> = Vec::new();
    // A connection may not bring more than a thousand messages.
    for some in corpus.chunks(250) {
        let mut smtp = Peer::connect(demo.at("smtp"));
        smtp.reply();
        smtp.command("EHLO corpus.test", "250");
        for message in some {
            for way in ways(message) {
                smtp.command(&format!("MAIL FROM:<carol@corpus.test>{}", how(message)), "250");
                smtp.command("RCPT TO:<bob@demo.test>", "250");
                let reply = if *way == "DATA" { smtp.data(message) } else { smtp.bdat(message) };
                let looped = message.hops() > HOPS_MAX;
                let code = if looped { "554 5.4.6" } else { "250" };
                assert!(reply.starts_with(code), "{} by {way}: {reply}", message.name);
                if !looped {
                    expected.push((message, way));
                }
            }
        }
        smtp.command("QUIT", "221");
    }

    let mut pop3 = Peer::connect(demo.at("pop3"));
    pop3.line();
    for command in ["USER bob@demo.test", "PASS demo"] {
        pop3.send(format!("{command}\r\n").as_bytes());
        assert!(pop3.line().starts_with(b"+OK"), "{command}");
    }
    pop3.send(b"STAT\r\n");
    let stat = String::from_utf8(pop3.line()).unwrap();
    assert_eq!(stat.split(' ').nth(1).unwrap(), expected.len().to_string(), "{stat}");
    for (number, (message, way)) in (1..).zip(expected) {
        let got = pop3.retrieve(number);
        // RFC 1939 ends each message with CRLF; where it has none, the server has to add it.
        let end: &[u8] =
            if message.octets.is_empty() || message.octets.ends_with(b"\r\n") { b"" } else { b"\r\n" };
        let whole = [message.octets.as_slice(), end].concat();
        let trace = got.strip_suffix(whole.as_slice());
        let trace = trace.unwrap_or_else(|| panic!("{} by {way} is not what went in", message.name));
        let trace = String::from_utf8(trace.to_vec()).unwrap();
        let start =
            "Return-Path: <carol@corpus.test>\r\nDelivered-To: bob@demo.test\r\nReceived: from corpus.test ";
        assert!(trace.starts_with(start), "{}: {trace}", message.name);
        let fields = trace.lines().filter(|line| !line.is_empty() && !line.starts_with('\t')).count();
        assert_eq!(fields, 3, "{}: {trace}", message.name);
    }
}

/// What the newest message looks like to a client that has, or has not, asked for UTF-8 mode.
fn newest_of_alice(demo: &Demo, utf8: bool) -> String {
    let mut pop3 = Peer::connect(demo.at("pop3"));
    pop3.line();
    let mode = if utf8 { "UTF8" } else { "CAPA" };
    for command in [mode, "USER alice@demo.test", "PASS demo"] {
        pop3.send(format!("{command}\r\n").as_bytes());
        assert!(pop3.line().starts_with(b"+OK"), "{command}");
        while command == "CAPA" && pop3.line() != b".\r\n" {}
    }
    pop3.send(b"STAT\r\n");
    let stat = String::from_utf8(pop3.line()).unwrap();
    let newest = stat.split(' ').nth(1).unwrap().parse().unwrap();
    let text = String::from_utf8(pop3.retrieve(newest)).unwrap();
    pop3.send(b"QUIT\r\n");
    pop3.line();
    text
}

#[test]
fn internationalised_mail_is_shown_in_ascii_to_who_did_not_ask_for_more() {
    let demo = Demo::start();
    let letter = "From: Zoë <zoë@bücher.test>\r\nSubject: Grüße\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Disposition: attachment; filename=\"é.txt\"\r\n\r\nschön\r\n--b--\r\n";
    for (extension, has_surrogate) in [(" SMTPUTF8 BODY=8BITMIME", true), (" BODY=8BITMIME", false)] {
        let mut smtp = Peer::connect(demo.at("smtp"));
        smtp.reply();
        smtp.command("EHLO corpus.test", "250");
        let sender = if has_surrogate { "zoë@bücher.test" } else { "zoe@corpus.test" };
        smtp.command(&format!("MAIL FROM:<{sender}>{extension}"), "250");
        smtp.command("RCPT TO:<alice@demo.test>", "250");
        smtp.command("DATA", "354");
        smtp.send(letter.as_bytes());
        smtp.command(".", "250");
        smtp.command("QUIT", "221");

        assert!(newest_of_alice(&demo, true).ends_with(letter));
        let shown = newest_of_alice(&demo, false);
        if has_surrogate {
            let rest = shown.replace("schön", "");
            assert!(rest.is_ascii(), "{shown}");
            assert!(shown.contains("<invalid@internationalized-address.invalid>"), "{shown}");
            assert!(shown.contains("filename*=utf-8''%C3%A9.txt"), "{shown}");
            assert!(shown.ends_with("\r\n\r\nschön\r\n--b--\r\n"), "{shown}");
        } else {
            assert!(shown.ends_with(letter), "{shown}");
        }
    }
}
