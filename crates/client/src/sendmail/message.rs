//! A message out of what comes in on standard input.

use std::io::{self, Read};

use jiff::Zoned;
use packetboat_message::crlf::CrlfLines;
use packetboat_message::{Address, Domain, Field, Mailbox, date, message_id};
use thiserror::Error;

use super::dots::Dots;
use super::header::Header;
use super::qualify::qualify;
use super::{Arguments, Home};
use crate::send::head::{Head, TooLong};
use crate::send::spool::{Kept, Spool, SpoolError};

/// Octets read at once.
const READ_MAX: usize = 64 * 1024;
/// Octets of a line at most, without its CRLF (RFC 5321 section 4.5.3.1.6).
const LINE_MAX: usize = 998;

/// A message, ready to be handed on.
#[derive(Debug, Clone)]
pub struct Message {
    /// Who sends it; `None` is the null sender.
    pub sender: Option<Address>,
    /// Who gets it, each once.
    pub recipients: Vec<Address>,
    /// What it is made of.
    pub content: Content,
    header: Vec<u8>,
    body: Kept,
}

/// What a message is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// Lines of ASCII.
    SevenBit,
    /// Lines with octets above 127.
    EightBit,
    /// Lines that are longer than mail has them, or NULs.
    Binary,
}

/// Why there is no message.
#[derive(Debug, Error)]
pub enum MessageError {
    /// Nobody is to get it.
    #[error("nobody is named to get the message")]
    Nobody,
    /// An address cannot be read.
    #[error("{0}")]
    Address(String),
    /// The header is endless.
    #[error("the header of the message is longer than 1 MiB")]
    Header,
    /// It cannot be read.
    #[error("cannot read the message: {0}")]
    Read(io::Error),
    /// It cannot be kept.
    #[error("cannot keep the message: {0}")]
    Keep(io::Error),
}

impl Message {
    /// Takes a message in, from `home`, and completes it. `random` is for its Message-ID.
    pub fn read(
        input: &mut dyn Read,
        arguments: &Arguments,
        home: &Home,
        now: &Zoned,
        random: [u8; 12],
    ) -> Result<Message, MessageError> {
        let mut taken = Taken::default();
        let mut dots = (!arguments.ignore_dots).then(Dots::default);
        let mut lines = CrlfLines::default();
        let mut buffer = vec![0; READ_MAX];
        let mut normal = Vec::with_capacity(READ_MAX + READ_MAX / 8);
        let mut before_end = Vec::new();
        loop {
            let count = match input.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(MessageError::Read(error)),
            };
            let chunk = buffer.get(..count).unwrap_or_default();
            normal.clear();
            match &mut dots {
                Some(dots) => {
                    before_end.clear();
                    dots.push(chunk, &mut before_end);
                    if count == 0 {
                        dots.finish(&mut before_end);
                    }
                    lines.push(&before_end, &mut normal);
                }
                None => lines.push(chunk, &mut normal),
            }
            let ended = count == 0 || dots.as_ref().is_some_and(|dots| dots.has_ended());
            if ended {
                lines.finish(&mut normal);
            }
            taken.push(&normal)?;
            if ended {
                return taken.finish(arguments, home, now, random);
            }
        }
    }

    /// Octets of the message.
    pub fn len(&self) -> u64 {
        self.header.len() as u64 + self.body.len()
    }

    /// Whether there is nothing, which is never so.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads it from its beginning.
    pub fn reader(&self) -> impl Read + Send + use<> {
        io::Cursor::new(self.header.clone()).chain(self.body.reader())
    }

    /// Whether an address needs SMTPUTF8 (RFC 6531).
    pub fn needs_utf8(&self) -> bool {
        self.sender.iter().chain(&self.recipients).any(Address::needs_utf8)
    }
}

/// A message on its way in.
#[derive(Debug)]
struct Taken {
    head: Head,
    body: Spool,
    content: Content,
    column: usize,
}

impl Default for Taken {
    fn default() -> Taken {
        Taken { head: Head::default(), body: Spool::default(), content: Content::SevenBit, column: 0 }
    }
}

impl Taken {
    fn push(&mut self, octets: &[u8]) -> Result<(), MessageError> {
        let body = self.head.push(octets).map_err(|TooLong| MessageError::Header)?;
        self.push_body(&body)
    }

    fn push_body(&mut self, octets: &[u8]) -> Result<(), MessageError> {
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            self.column += line.len();
            let ended = line.ends_with(b"\n");
            let is_long = self.column > LINE_MAX + 2 * usize::from(ended);
            let content = if is_long || line.contains(&0) {
                Content::Binary
            } else if line.is_ascii() {
                Content::SevenBit
            } else {
                Content::EightBit
            };
            self.content = self.content.max(content);
            if ended {
                self.column = 0;
            }
        }
        self.body.push(octets).map_err(|error| match error {
            SpoolError::Create(error) | SpoolError::Write(error) => MessageError::Keep(error),
        })
    }

    fn finish(
        mut self,
        arguments: &Arguments,
        home: &Home,
        now: &Zoned,
        random: [u8; 12],
    ) -> Result<Message, MessageError> {
        let (_, rest) = self.head.finish();
        self.push_body(&rest)?;
        let (header, scan) = (Header::read(self.head.octets(), home), self.head.scan());
        let sender = sender(arguments, home)?;
        let mut recipients = Vec::new();
        for typed in &arguments.recipients {
            recipients.extend(addresses(typed, home)?);
        }
        if arguments.read_recipients {
            for list in &header.recipients {
                recipients.extend(addresses(list, home)?);
            }
        }
        let mut seen = std::collections::HashSet::new();
        recipients.retain(|address| seen.insert(address.clone()));
        if recipients.is_empty() {
            return Err(MessageError::Nobody);
        }
        let mut text = Vec::with_capacity(header.kept.len() + 256);
        if !scan.has(Field::Date) {
            text.extend_from_slice(format!("Date: {}\r\n", date::format(now)).as_bytes());
        }
        if !scan.has(Field::From) {
            text.extend_from_slice(from(arguments, home, sender.as_ref())?.as_bytes());
        }
        if !scan.has(Field::MessageId) {
            let domain = home.domain.parse().unwrap_or(Domain::Literal([127, 0, 0, 1].into()));
            text.extend_from_slice(
                format!("Message-ID: {}\r\n", message_id(now.timestamp(), random, &domain)).as_bytes(),
            );
        }
        text.extend_from_slice(&header.kept);
        text.extend_from_slice(b"\r\n");
        Ok(Message { sender, recipients, content: self.content, header: text, body: self.body.finish() })
    }
}

fn addresses(text: &str, home: &Home) -> Result<Vec<Address>, MessageError> {
    let list = Mailbox::parse_list(&qualify(text, &home.domain))
        .map_err(|error| MessageError::Address(error.to_string()))?;
    Ok(list.into_iter().map(|mailbox| mailbox.address().clone()).collect())
}

fn sender(arguments: &Arguments, home: &Home) -> Result<Option<Address>, MessageError> {
    let typed = match arguments.sender.as_deref().map(str::trim) {
        Some("" | "<>") => return Ok(None),
        Some(typed) => typed,
        None => home.user.as_str(),
    };
    match addresses(typed, home)?.as_slice() {
        [only] => Ok(Some(only.clone())),
        _ => Err(MessageError::Address(format!("{typed}: is not one address"))),
    }
}

/// The field From, where there is none.
fn from(arguments: &Arguments, home: &Home, sender: Option<&Address>) -> Result<String, MessageError> {
    let address = match sender {
        Some(sender) => sender.clone(),
        None => Address::parse(&format!("MAILER-DAEMON@{}", home.domain))
            .map_err(|error| MessageError::Address(error.to_string()))?,
    };
    let name = match &arguments.full_name {
        Some(name) => Some(name.as_str()),
        // Another sender has another name.
        None if arguments.sender.is_none() => Some(home.full_name.as_str()),
        None => None,
    };
    Ok(Mailbox::new(name.filter(|name| !name.trim().is_empty()), address).to_field("From"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(line: &str, input: &str) -> Result<Message, MessageError> {
        let words: Vec<String> = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let arguments = Arguments::parse("sendmail", &words).unwrap();
        let (user, full_name, domain) = ("alice".into(), "Alice Liddell".into(), "x.example".into());
        let now = "2026-11-21T09:34:45+01:00[+01:00]".parse().unwrap();
        Message::read(&mut input.as_bytes(), &arguments, &Home { user, full_name, domain }, &now, [0; 12])
    }

    fn text(message: &Message) -> String {
        let mut text = String::new();
        message.reader().read_to_string(&mut text).unwrap();
        assert_eq!(text.len() as u64, message.len());
        text.replace("\r\n", "\n")
    }

    fn show(list: &[Address]) -> String {
        list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    const DATE: &str = "Date: Sat, 21 Nov 2026 09:34:45 +0100\n";
    const ID: &str = "Message-ID: <mwq5jr0o.0@x.example>\n";

    #[test]
    fn a_text_becomes_a_message() {
        let message = read("-i bob", "Hello\n.\nBob\n").unwrap();
        let from = "From: Alice Liddell <alice@x.example>\n";
        assert_eq!(text(&message), format!("{DATE}{from}{ID}\nHello\n.\nBob\n"));
        assert_eq!(message.sender.as_ref().unwrap().to_string(), "alice@x.example");
        assert_eq!(show(&message.recipients), "bob@x.example");
        assert_eq!(message.content, Content::SevenBit);
        // Blank lines first are no header, and nothing is lost.
        assert_eq!(text(&read("bob", "\n\nHello\n").unwrap()), format!("{DATE}{from}{ID}\n\nHello\n"));
        assert_eq!(text(&read("bob", "").unwrap()), format!("{DATE}{from}{ID}\n"));
    }

    #[test]
    fn what_cron_sends_gets_domains() {
        let message = read(
            "-FCronDaemon -i -B8BITMIME -oem root",
            "From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> true\nAuto-Submitted: auto-generated\n\nx\n",
        );
        assert_eq!(
            text(&message.unwrap()),
            format!(
                "{DATE}{ID}From: root@x.example (Cron Daemon)\nTo: root@x.example\nSubject: Cron <root@host> true\n\
                 Auto-Submitted: auto-generated\n\nx\n"
            )
        );
    }

    #[test]
    fn recipients_are_read_from_the_header_and_blind_copies_go() {
        let input = "From alice Sat Nov 21\nFrom: Web <www@y.example>\nTo: bob, Carol <carol@y.example>\nCc: bob@x.example\n\
            Bcc: dave,\n erin\nDate: x\nMessage-ID: <1@x>\nSubject: x\n\nbody\n";
        let message = read("-t -i -f www@y.example frank", input).unwrap();
        assert_eq!(
            text(&message),
            "From: Web <www@y.example>\nTo: bob@x.example, Carol <carol@y.example>\nCc: bob@x.example\nDate: x\n\
             Message-ID: <1@x>\nSubject: x\n\nbody\n"
        );
        assert_eq!(
            show(&message.recipients),
            "frank@x.example bob@x.example carol@y.example dave@x.example erin@x.example"
        );
        assert_eq!(message.sender.unwrap().to_string(), "www@y.example");
        let resent = read("-t", "To: bob\nResent-To: carol\n\n").unwrap();
        assert_eq!(show(&resent.recipients), "carol@x.example");
        assert!(matches!(read("-t", "Subject: x\n\n"), Err(MessageError::Nobody)));
        assert!(matches!(read("-t", "To: a b c\n\n"), Err(MessageError::Address(_))));
        assert!(matches!(read("", "x\n"), Err(MessageError::Nobody)));
    }

    #[test]
    fn the_sender_may_be_nobody() {
        for line in ["-f <> bob", "-f<> bob"] {
            let message = read(line, "x\n").unwrap();
            assert_eq!(message.sender, None);
            assert!(text(&message).contains("From: MAILER-DAEMON@x.example\n"));
        }
        assert!(matches!(read("-f a,b bob", "x\n"), Err(MessageError::Address(_))));
    }

    #[test]
    fn a_lone_dot_ends_a_message_unless_told_otherwise() {
        for (input, body) in [
            ("A: b\n\nx\n.\ny\n", "x\n"),
            ("A: b\n\nx\n.\r\ny\n", "x\n"),
            ("A: b\n\n..\n.x\n", "..\n.x\n"),
            ("A: b\n\nx\n.", "x\n.\n"),
        ] {
            let got = text(&read("bob", input).unwrap());
            assert!(got.ends_with(&format!("A: b\n\n{body}")), "{got}");
        }
        for size in 1..4 {
            let mut dots = Dots::default();
            let mut out = Vec::new();
            b"a\n.b\n.\r\nc".chunks(size).for_each(|chunk| dots.push(chunk, &mut out));
            assert_eq!(out, b"a\n.b\n");
        }
    }

    #[test]
    fn it_is_known_what_the_content_is_made_of() {
        for (body, content) in [
            ("x\n", Content::SevenBit),
            ("é\n", Content::EightBit),
            (&*"x".repeat(998), Content::SevenBit),
            (&*"x".repeat(999), Content::Binary),
            ("é\0\n", Content::Binary),
        ] {
            assert_eq!(read("bob", &format!("A: b\n\n{body}")).unwrap().content, content);
        }
        assert!(read("josé@x.example", "x").unwrap().needs_utf8());
    }
}
