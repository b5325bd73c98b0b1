//! What a mail program that knows only ASCII headers gets to see of an internationalised message (RFC 6858).
//!
//! Names, subject and attachments' names stay readable; an address that has no ASCII form becomes part of the name, and
//! an invalid address takes its place (section 2.1), so that nobody answers to somebody else. A field that is not
//! understood is left out (section 2.4). Bodies go by as they are, in bounded memory.

use bytes::Bytes;
use memchr::memchr;

use crate::fields::{RawField, fields};
use crate::{Address, HeaderScan, Mailbox, encode};

/// What stands for an address outside ASCII (RFC 6858 section 2.1).
const INVALID_ADDRESS: &str = "invalid@internationalized-address.invalid";

/// Octets of a header held until they are written anew; a longer one is written in pieces.
const HEADER_MAX: usize = 256 * 1024;
/// Octets of a body line that are looked at: two hyphens, a boundary (RFC 2046 section 5.1.1), and some white space.
const LINE_HEAD_MAX: usize = 256;
/// Boundaries that are remembered. The headers of parts behind more of them go by as they are.
const BOUNDARIES_MAX: usize = 64;

const ADDRESS_FIELDS: [&str; 12] = [
    "From",
    "To",
    "Cc",
    "Bcc",
    "Reply-To",
    "Sender",
    "Resent-From",
    "Resent-To",
    "Resent-Cc",
    "Resent-Bcc",
    "Resent-Sender",
    "Disposition-Notification-To",
];

const TEXT_FIELDS: [&str; 7] =
    ["Subject", "Comments", "Keywords", "Content-Description", "Organization", "User-Agent", "Thread-Topic"];

/// Makes the surrogate of a message that streams by.
#[derive(Debug)]
pub struct Surrogate {
    state: State,
    /// The header under way, or the beginning of a body line.
    held: Vec<u8>,
    boundaries: Vec<Box<[u8]>>,
}

#[derive(Debug)]
enum State {
    /// In the header of the message or of a part, of which so many octets have left `held`.
    Header { scan: Box<HeaderScan>, gone: usize },
    /// Where a body line begins.
    LineStart,
    /// Inside a body line that is no boundary.
    Line,
}

impl Default for Surrogate {
    fn default() -> Surrogate {
        Surrogate::new()
    }
}

impl Surrogate {
    /// A surrogate before the first octet.
    pub fn new() -> Surrogate {
        Surrogate { state: header(), held: Vec::new(), boundaries: Vec::new() }
    }

    /// What stands for the next octets of the message; empty as long as a header is not whole.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        // Most messages have no parts: their bodies pass untouched.
        if self.boundaries.is_empty() && !matches!(self.state, State::Header { .. }) {
            return chunk;
        }
        let mut out = Vec::with_capacity(chunk.len());
        self.take(&chunk, &mut out);
        out.into()
    }

    /// What is left when the message is over.
    pub fn finish(&mut self) -> Bytes {
        let mut out = Vec::new();
        if let State::Header { scan, .. } = &mut self.state {
            scan.finish();
            let body = self.end_header(&mut out);
            self.take(&body, &mut out);
        }
        out.append(&mut self.held);
        out.into()
    }

    fn take(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let mut rest = chunk;
        while !rest.is_empty() {
            rest = match &mut self.state {
                State::Header { scan, gone } => {
                    self.held.extend_from_slice(rest);
                    if scan.push(rest) {
                        let body = self.end_header(out);
                        // What lay behind the header comes once more; it is at most the chunk and one line.
                        self.take(&body, out);
                    } else if self.held.len() > HEADER_MAX {
                        *gone += self.held.len();
                        write_fields(&std::mem::take(&mut self.held), out);
                    }
                    return;
                }
                // Nothing to look out for.
                _ if self.boundaries.is_empty() => {
                    out.extend_from_slice(rest);
                    return;
                }
                State::LineStart => self.line_start(rest, out),
                State::Line => {
                    let end = memchr(b'\n', rest).map(|at| at + 1);
                    if end.is_some() {
                        self.state = State::LineStart;
                    }
                    let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
                    out.extend_from_slice(line);
                    after
                }
            };
        }
    }

    /// Holds the beginning of a line until it is known whether it is a boundary; the rest that was not needed.
    fn line_start<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let room = LINE_HEAD_MAX.saturating_sub(self.held.len()).min(rest.len());
        let window = rest.get(..room).unwrap_or(rest);
        let end = memchr(b'\n', window).map(|at| at + 1);
        let (head, after) = rest.split_at(end.unwrap_or(window.len()));
        self.held.extend_from_slice(head);
        let may_be = self.held.iter().take(2).all(|octet| *octet == b'-');
        if may_be && end.is_none() && self.held.len() < LINE_HEAD_MAX {
            return after;
        }
        self.state = match end {
            Some(_) if may_be && self.begins_part() => header(),
            Some(_) => State::LineStart,
            None => State::Line,
        };
        out.append(&mut self.held);
        after
    }

    /// Whether the line held is a boundary that another part follows.
    fn begins_part(&self) -> bool {
        let line = self.held.trim_ascii_end();
        line.strip_prefix(b"--").is_some_and(|name| self.boundaries.iter().any(|known| **known == *name))
    }

    /// Writes the header held, and gives back what lay behind it.
    fn end_header(&mut self, out: &mut Vec<u8>) -> Vec<u8> {
        let State::Header { scan, gone } = &self.state else { return Vec::new() };
        let len = usize::try_from(scan.len()).unwrap_or(usize::MAX).saturating_sub(*gone);
        let body = self.held.split_off(len.min(self.held.len()));
        let header = std::mem::take(&mut self.held);
        let kind = fields(&header).find(|field| field.is("Content-Type")).map(|field| field.text());
        self.state = match kind {
            Some(kind) => self.after_header(&kind),
            None => State::LineStart,
        };
        write_fields(&header, out);
        body
    }

    fn after_header(&mut self, kind: &str) -> State {
        let (value, parameters) = parameters(kind);
        let value = value.to_ascii_lowercase();
        if matches!(value.as_str(), "message/rfc822" | "message/global" | "message/global-headers") {
            return header();
        }
        if value.starts_with("multipart/") && self.boundaries.len() < BOUNDARIES_MAX {
            let boundary = parameters.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("boundary"));
            if let Some((_, boundary)) = boundary {
                self.boundaries.push(boundary.trim_end().as_bytes().into());
            }
        }
        State::LineStart
    }
}

fn header() -> State {
    State::Header { scan: Box::default(), gone: 0 }
}

/// The fields, each as it is if it is ASCII.
fn write_fields(header: &[u8], out: &mut Vec<u8>) {
    for field in fields(header) {
        if field.whole.is_ascii() {
            out.extend_from_slice(field.whole);
        } else if let Some(ascii) = ascii_field(&field) {
            out.extend_from_slice(ascii.as_bytes());
        }
    }
}

/// A field outside ASCII in ASCII, if there is a way.
fn ascii_field(field: &RawField<'_>) -> Option<String> {
    let name = std::str::from_utf8(field.name).ok().filter(|name| !name.is_empty() && name.is_ascii())?;
    let is_one_of = |names: &[&str]| names.iter().any(|known| field.is(known));
    if is_one_of(&ADDRESS_FIELDS) {
        return addresses(name, &field.text());
    }
    if is_one_of(&["Content-Type", "Content-Disposition"]) {
        return mime_field(name, &field.text());
    }
    let is_text = is_one_of(&TEXT_FIELDS) || name.get(..2).is_some_and(|x| x.eq_ignore_ascii_case("X-"));
    is_text.then(|| encode::unstructured_field(name, &field.text()))
}

fn addresses(name: &str, text: &str) -> Option<String> {
    let invalid = Address::parse(INVALID_ADDRESS).ok()?;
    let mut shown: Vec<String> = match Mailbox::parse_list(text) {
        Ok(list) => list.iter().map(|mailbox| ascii_mailbox(mailbox, &invalid)).collect(),
        // Not to be understood, but a person may still read it.
        Err(_) => vec![Mailbox::new(Some(text), invalid).to_header()],
    };
    let last = shown.len().checked_sub(1)?;
    shown.iter_mut().take(last).for_each(|mailbox| mailbox.push(','));
    Some(encode::words_field(name, shown.iter().map(String::as_str)))
}

fn ascii_mailbox(mailbox: &Mailbox, invalid: &Address) -> String {
    // A domain alone has an ASCII form that leads to the same place.
    if mailbox.address().local().as_str().is_ascii() {
        mailbox.to_header()
    } else {
        Mailbox::new(Some(&mailbox.to_string()), invalid.clone()).to_header()
    }
}

fn mime_field(name: &str, text: &str) -> Option<String> {
    let (value, parameters) = parameters(text);
    let mut out = value.is_ascii().then(|| format!("{name}: {value}"))?;
    for (name, value) in parameters {
        if name.is_ascii() {
            out.push_str(&encode::parameter(&name, &value));
        }
    }
    out.push_str("\r\n");
    Some(out)
}

/// The value of a MIME field (RFC 2045 section 5.1) and its parameters, unquoted.
fn parameters(text: &str) -> (&str, Vec<(String, String)>) {
    let (value, mut rest) = text.split_once(';').unwrap_or((text, ""));
    let mut found = Vec::new();
    while let Some((name, after)) = rest.split_once('=') {
        let mut value = String::new();
        let mut chars = after.trim_start().chars();
        if chars.as_str().starts_with('"') {
            chars.next();
            while let Some(c) = chars.next() {
                match c {
                    '"' => break,
                    '\\' => value.extend(chars.next()),
                    c => value.push(c),
                }
            }
            rest = chars.as_str().split_once(';').map_or("", |(_, rest)| rest);
        } else {
            let (token, after) = chars.as_str().split_once(';').unwrap_or((chars.as_str(), ""));
            value.push_str(token.trim());
            rest = after;
        }
        found.push((name.trim().to_owned(), value));
    }
    (value.trim(), found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The surrogate, which must not depend on how the message is cut.
    fn surrogate(message: &[u8]) -> String {
        let read = |size: usize| {
            let mut surrogate = Surrogate::new();
            let mut out = Vec::new();
            for chunk in message.chunks(size) {
                out.extend_from_slice(&surrogate.push(Bytes::copy_from_slice(chunk)));
            }
            out.extend_from_slice(&surrogate.finish());
            String::from_utf8(out).unwrap()
        };
        let whole = read(message.len().max(1));
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(read(size), whole, "in chunks of {size}");
        }
        whole
    }

    #[test]
    fn fields_by_their_kind() {
        for (field, ascii) in [
            ("Subject: plain\r\n", "Subject: plain\r\n"),
            ("Subject: Grüße\r\n", "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n"),
            ("X-Note: ü\r\n", "X-Note: =?utf-8?Q?=C3=BC?=\r\n"),
            ("From: Zoë <zoe@example.org>\r\n", "From: =?utf-8?Q?Zo=C3=AB?= <zoe@example.org>\r\n"),
            ("To: a@x, zoe@bücher.example\r\n", "To: a@x, zoe@xn--bcher-kva.example\r\n"),
            (
                "From: Zoë <zoë@example.org>\r\n",
                "From: =?utf-8?Q?Zo=C3=AB_=3Czo=C3=AB=40example=2Eorg=3E?=\r\n <invalid@internationalized-address.invalid>\r\n",
            ),
            (
                "Cc: no mailbox ü\r\n",
                "Cc: =?utf-8?Q?no_mailbox_=C3=BC?=\r\n <invalid@internationalized-address.invalid>\r\n",
            ),
            ("To: grüppe:;\r\n", ""),
            ("Message-ID: <ü@x>\r\n", ""),
            ("Return-Path: <ü@x>\r\n", ""),
            ("X-Ü: x\r\n", ""),
            (
                "Content-Type: text/plain; charset=utf-8; name=\"é \\\"1\\\".txt\"\r\n",
                "Content-Type: text/plain;\r\n charset=\"utf-8\";\r\n name*=utf-8''%C3%A9%20%221%22.txt\r\n",
            ),
            (
                "Content-Disposition: attachment; filename=é\r\n",
                "Content-Disposition: attachment;\r\n filename*=utf-8''%C3%A9\r\n",
            ),
        ] {
            let got = surrogate(format!("{field}\r\nbödy\r\n").as_bytes());
            let got = got.strip_suffix("\r\nbödy\r\n").unwrap();
            // Where the line is folded is not what this is about.
            assert_eq!(got.replace("\r\n ", " "), ascii.replace("\r\n ", " "), "{field}");
            assert!(got.is_ascii());
        }
    }

    #[test]
    fn headers_of_parts_too() {
        let message = "Subject: é\r\nContent-Type: multipart/mixed; boundary=\"a b\"\r\n\r\nPrélude\r\n--a b\r\n\r\nÄ: text\r\n\
            --a b \r\nContent-Type: multipart/alternative;\r\n boundary=c\r\n\r\n--c\r\nContent-Description: ü\r\n--c--\r\n\
            --a b\r\nContent-Type: message/rfc822\r\n\r\nSubject: ö\r\n\r\nÖ: body\r\n--a b--\r\nÜ: epilogue\r\n--a b";
        let expected = "Subject: =?utf-8?Q?=C3=A9?=\r\nContent-Type: multipart/mixed; boundary=\"a b\"\r\n\r\nPrélude\r\n--a b\r\n\r\n\
            Ä: text\r\n--a b \r\nContent-Type: multipart/alternative;\r\n boundary=c\r\n\r\n--c\r\n\
            Content-Description: =?utf-8?Q?=C3=BC?=\r\n--c--\r\n--a b\r\nContent-Type: message/rfc822\r\n\r\n\
            Subject: =?utf-8?Q?=C3=B6?=\r\n\r\nÖ: body\r\n--a b--\r\nÜ: epilogue\r\n--a b";
        assert_eq!(surrogate(message.as_bytes()), expected);
    }

    #[test]
    fn what_is_ascii_stays_as_it_is() {
        let long = format!("--{}\r\n", "x".repeat(1000));
        for message in [
            "",
            "Subject: x",
            "Subject: x\r\n\r\n",
            "\r\nno header\r\n",
            "no header: at all\nbut lf\n\n-\n--\n",
            "not a field\r\nSubject: body\r\n",
            "Subject: x\r\n\r\n--\r\n-",
            &format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{long}-\r\n--b\r\n--b"),
        ] {
            assert_eq!(surrogate(message.as_bytes()), message);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut surrogate = Surrogate::new();
        for _ in 0..64 {
            surrogate.push(Bytes::from(vec![b'x'; 64 * 1024]));
            assert!(surrogate.held.capacity() <= 2 * (HEADER_MAX + 64 * 1024));
        }
    }
}
