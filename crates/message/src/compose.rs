//! Writing a message: header, text, alternative and attachments, as a stream of known length.
//!
//! A [`Letter`] says what is to be sent, [`Letter::compose`] makes a [`Composed`] of it, whose [`Reader`] yields the
//! octets. Attachments are read when their turn comes and are never held: memory does not grow with them, yet the
//! length is known beforehand, so that it can be declared to the server (RFC 1870).

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use jiff::Zoned;
use thiserror::Error;

use crate::base64_lines;
use crate::date;
use crate::encode;
use crate::mailbox::Mailbox;

pub use reader::Reader;

mod reader;

/// Octets of text at most, and of its HTML form: text is held in memory. Anything longer is for an attachment.
pub const TEXT_MAX: usize = 16 * 1024 * 1024;
/// Octets of a line at most, without its CRLF (RFC 5322 section 2.1.1).
const LINE_MAX: usize = 998;

/// A message to be written.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Who writes.
    pub from: Mailbox,
    /// To whom.
    pub to: Vec<Mailbox>,
    /// Who is to have a copy. Blind copies are a matter of the envelope and do not appear here.
    pub cc: Vec<Mailbox>,
    /// Where answers shall go, if not to `from`.
    pub reply_to: Vec<Mailbox>,
    /// What it is about.
    pub subject: Option<String>,
    /// When.
    pub date: Zoned,
    /// Its identifier, in angle brackets; see [`message_id`](crate::message_id()).
    pub message_id: String,
    /// Identifiers of the messages this one answers, in angle brackets.
    pub in_reply_to: Vec<String>,
    /// Identifiers of the thread so far, in angle brackets.
    pub references: Vec<String>,
    /// The program that writes.
    pub user_agent: Option<String>,
    /// Further fields. `Date`, `Message-ID` and `User-Agent` here take the place of the ones above.
    pub fields: Vec<(String, String)>,
    /// The text.
    pub text: Option<String>,
    /// The same text in HTML.
    pub html: Option<String>,
    /// Files that come with it.
    pub attachments: Vec<Attachment>,
    /// Whether text may go as it is (8BITMIME, RFC 6152); otherwise it is encoded where it is not ASCII.
    pub eight_bit: bool,
    /// Randomness for the boundaries between parts.
    pub seed: [u8; 12],
}

/// A file that comes with a message.
#[derive(Clone)]
pub struct Attachment {
    /// Its name, without folders.
    pub name: String,
    /// Its media type; guessed from the name if `None`.
    pub media_type: Option<String>,
    /// Its length in octets.
    pub len: u64,
    /// Opens it, once for each [`Reader`].
    pub open: Arc<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>,
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment").field("name", &self.name).field("len", &self.len).finish_non_exhaustive()
    }
}

/// Why a letter cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ComposeError {
    /// The name of a further field is not one.
    #[error("\"{0}\" cannot be the name of a header field")]
    FieldName(String),
    /// A further field is one that the letter writes itself.
    #[error("the field {0} is written from what else the message is made of and cannot be given by itself")]
    ReservedField(String),
    /// The media type of an attachment is none.
    #[error("\"{0}\" is no media type such as image/png")]
    MediaType(String),
    /// The text is longer than [`TEXT_MAX`].
    #[error("the text is longer than 16 MiB; attach it as a file instead")]
    TextTooLong,
    /// An identifier is not in angle brackets or has spaces in it.
    #[error("\"{0}\" is no message identifier such as <abc@example.org>")]
    MessageId(String),
}

/// A message whose octets can be read as often as needed.
#[derive(Debug, Clone)]
pub struct Composed {
    segments: Vec<Segment>,
    eight_bit: bool,
    needs_utf8: bool,
}

#[derive(Debug, Clone)]
enum Segment {
    Octets(Arc<[u8]>),
    Base64(Attachment),
}

impl Composed {
    /// Octets of the whole message.
    pub fn len(&self) -> u64 {
        self.segments.iter().map(Segment::len).sum()
    }

    /// Never: a message has a header at least.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there are octets above 127 in it.
    pub fn is_eight_bit(&self) -> bool {
        self.eight_bit
    }

    /// Whether its header needs SMTPUTF8 (RFC 6531).
    pub fn needs_utf8(&self) -> bool {
        self.needs_utf8
    }

    /// Reads the message from its beginning.
    pub fn reader(&self) -> Reader {
        Reader::new(self.segments.clone())
    }
}

impl Segment {
    fn len(&self) -> u64 {
        match self {
            Segment::Octets(octets) => octets.len() as u64,
            Segment::Base64(attachment) => base64_lines::encoded_len(attachment.len),
        }
    }
}

/// The fields a letter makes from other things it knows.
const RESERVED: [&str; 9] =
    ["From", "To", "Cc", "Bcc", "Subject", "Reply-To", "In-Reply-To", "References", "MIME-Version"];

impl Letter {
    /// Writes the letter.
    pub fn compose(&self) -> Result<Composed, ComposeError> {
        if [&self.text, &self.html].into_iter().flatten().any(|text| text.len() > TEXT_MAX) {
            return Err(ComposeError::TextTooLong);
        }
        let header = self.header()?;
        let needs_utf8 = !header.is_ascii();
        let mut out = Output { pending: header.into_bytes(), segments: Vec::new() };
        if self.attachments.is_empty() {
            self.write_text(&mut out);
        } else {
            self.write_mixed(&mut out)?;
        }
        out.flush();
        let eight_bit = out.segments.iter().any(|segment| match segment {
            Segment::Octets(octets) => !octets.is_ascii(),
            Segment::Base64(_) => false,
        });
        Ok(Composed { segments: out.segments, eight_bit, needs_utf8 })
    }

    fn header(&self) -> Result<String, ComposeError> {
        let given = |name: &str| self.fields.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        let mut out = String::with_capacity(1024);
        if !given("Date") {
            out.push_str(&format!("Date: {}\r\n", date::format(&self.date)));
        }
        out.push_str(&mailboxes_field("From", std::slice::from_ref(&self.from)));
        for (name, list) in [("Reply-To", &self.reply_to), ("To", &self.to), ("Cc", &self.cc)] {
            if !list.is_empty() {
                out.push_str(&mailboxes_field(name, list));
            }
        }
        if self.to.is_empty() && self.cc.is_empty() {
            out.push_str("To: undisclosed-recipients:;\r\n");
        }
        if let Some(subject) = &self.subject {
            out.push_str(&encode::unstructured_field("Subject", subject));
        }
        if !given("Message-ID") {
            out.push_str(&ids_field("Message-ID", std::slice::from_ref(&self.message_id))?);
        }
        for (name, ids) in [("In-Reply-To", &self.in_reply_to), ("References", &self.references)] {
            if !ids.is_empty() {
                out.push_str(&ids_field(name, ids)?);
            }
        }
        for (name, value) in &self.fields {
            out.push_str(&further_field(name, value)?);
        }
        if let Some(user_agent) = self.user_agent.as_ref().filter(|_| !given("User-Agent")) {
            out.push_str(&encode::unstructured_field("User-Agent", user_agent));
        }
        out.push_str("MIME-Version: 1.0\r\n");
        Ok(out)
    }

    fn write_mixed(&self, out: &mut Output) -> Result<(), ComposeError> {
        let boundary = self.boundary('m');
        out.multipart("mixed", &boundary);
        if self.text.is_some() || self.html.is_some() {
            out.delimiter(&boundary);
            self.write_text(out);
        }
        for attachment in &self.attachments {
            out.delimiter(&boundary);
            out.attachment(attachment)?;
        }
        out.close_delimiter(&boundary);
        Ok(())
    }

    fn write_text(&self, out: &mut Output) {
        match (&self.text, &self.html) {
            (Some(text), Some(html)) => {
                let boundary = self.boundary('a');
                out.multipart("alternative", &boundary);
                for (subtype, text) in [("plain", text), ("html", html)] {
                    out.delimiter(&boundary);
                    out.text(subtype, text, self.eight_bit);
                }
                out.close_delimiter(&boundary);
            }
            (None, Some(html)) => out.text("html", html, self.eight_bit),
            (text, None) => out.text("plain", text.as_deref().unwrap_or(""), self.eight_bit),
        }
    }

    /// A boundary that stands in no part: `=_` cannot come out of quoted-printable or base64 (RFC 2045 section 6.7),
    /// and nothing that was not written after `seed` was drawn can have it.
    fn boundary(&self, level: char) -> String {
        let seed: String = self.seed.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("=_{level}{seed}")
    }
}

fn mailboxes_field(name: &str, list: &[Mailbox]) -> String {
    let last = list.len().saturating_sub(1);
    let words: Vec<String> = list
        .iter()
        .enumerate()
        .map(|(n, mailbox)| mailbox.to_header() + if n == last { "" } else { "," })
        .collect();
    encode::words_field(name, words.iter().map(String::as_str))
}

fn ids_field(name: &str, ids: &[String]) -> Result<String, ComposeError> {
    let inside = |id: &str| id.strip_prefix('<')?.strip_suffix('>').map(str::to_owned);
    let wrong = |c: char| c.is_whitespace() || c.is_control() || c == '<' || c == '>' || !c.is_ascii();
    for id in ids {
        if id.len() > LINE_MAX - 50
            || inside(id).is_none_or(|inside| inside.is_empty() || inside.contains(wrong))
        {
            return Err(ComposeError::MessageId(id.clone()));
        }
    }
    Ok(encode::words_field(name, ids.iter().map(String::as_str)))
}

fn further_field(name: &str, value: &str) -> Result<String, ComposeError> {
    let is_name = name.len() <= 76 && name.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b':');
    if name.is_empty() || !is_name {
        return Err(ComposeError::FieldName(name.to_owned()));
    }
    let content = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("Content-"));
    if content || RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        return Err(ComposeError::ReservedField(name.to_owned()));
    }
    Ok(encode::unstructured_field(name, value))
}

/// What has been written, text and files in their order.
struct Output {
    pending: Vec<u8>,
    segments: Vec<Segment>,
}

impl Output {
    fn push(&mut self, text: &str) {
        self.pending.extend_from_slice(text.as_bytes());
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            self.segments.push(Segment::Octets(std::mem::take(&mut self.pending).into()));
        }
    }

    fn multipart(&mut self, subtype: &str, boundary: &str) {
        self.push(&format!("Content-Type: multipart/{subtype}; boundary=\"{boundary}\"\r\n"));
    }

    /// The CRLF before a delimiter belongs to it (RFC 2046 section 5.1.1), so the part keeps its own last one.
    fn delimiter(&mut self, boundary: &str) {
        self.push(&format!("\r\n--{boundary}\r\n"));
    }

    fn close_delimiter(&mut self, boundary: &str) {
        self.push(&format!("\r\n--{boundary}--\r\n"));
    }

    fn text(&mut self, subtype: &str, text: &str, eight_bit: bool) {
        let text = crlf(text);
        let ascii = text.is_ascii();
        let travels = (ascii || eight_bit)
            && !text.contains('\0')
            && text.split("\r\n").all(|line| line.len() <= LINE_MAX && !line.contains('\r'));
        let others = text.bytes().filter(|byte| !byte.is_ascii()).count();
        let charset = if ascii { "us-ascii" } else { "utf-8" };
        let encoding = match (travels, ascii) {
            (true, true) => "7bit",
            (true, false) => "8bit",
            // Quoted-printable triples what is not ASCII, base64 adds a third to everything.
            _ if others > text.len() / 6 => "base64",
            _ => "quoted-printable",
        };
        self.push(&format!(
            "Content-Type: text/{subtype}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
        ));
        match encoding {
            "base64" => base64_lines::encode(text.as_bytes(), &mut self.pending),
            "quoted-printable" => encode::quoted_printable(&mut self.pending, &text),
            _ => self.push(&text),
        }
    }

    fn attachment(&mut self, attachment: &Attachment) -> Result<(), ComposeError> {
        let media_type = match &attachment.media_type {
            Some(given) if is_media_type(given) => given.clone(),
            Some(given) => return Err(ComposeError::MediaType(given.clone())),
            None => guess_media_type(&attachment.name),
        };
        self.push(&format!("Content-Type: {media_type}\r\n"));
        self.push(&format!(
            "Content-Disposition: attachment{}\r\n",
            encode::parameter("filename", &attachment.name)
        ));
        self.push("Content-Transfer-Encoding: base64\r\n\r\n");
        self.flush();
        self.segments.push(Segment::Base64(attachment.clone()));
        Ok(())
    }
}

/// The media type that a name suggests. Messages and multiparts may not be in base64 (RFC 2046 sections 5.1 and
/// 5.2.1), so they go as plain octets.
pub fn guess_media_type(name: &str) -> String {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    match guess.type_().as_str() {
        "message" | "multipart" => "application/octet-stream".to_owned(),
        _ => guess.essence_str().to_owned(),
    }
}

fn is_media_type(text: &str) -> bool {
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    let composite =
        |kind: &str| kind.eq_ignore_ascii_case("message") || kind.eq_ignore_ascii_case("multipart");
    let plain = parameters.len() < 200 && parameters.chars().all(|c| !c.is_control() && c.is_ascii());
    plain
        && essence
            .trim()
            .split_once('/')
            .is_some_and(|(kind, sub)| token(kind) && token(sub) && !composite(kind))
}

/// The text with each of its lines, the last one too, ended by CRLF.
fn crlf(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16 + 2);
    for line in text.split_inclusive('\n') {
        let line = line.strip_suffix('\n').unwrap_or(line);
        out.push_str(line.strip_suffix('\r').unwrap_or(line));
        out.push_str("\r\n");
    }
    out
}

#[cfg(test)]
mod tests;
