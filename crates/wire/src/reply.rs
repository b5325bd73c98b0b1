//! Three-digit replies: how SMTP, LMTP and FTP servers answer (RFC 5321 section 4.2, RFC 959 section 4.2), with the
//! enhanced status codes of RFC 3463 where RFC 2034 asks for them.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

mod parser;

pub use parser::{ReplyError, ReplyLimits, ReplyParser};

/// Octets of an encoded reply line at most, its CRLF included (RFC 5321 section 4.5.3.1.5). Longer text is folded
/// into more lines.
pub const REPLY_LINE_MAX: usize = 512;

/// A reply: a code for the program, a text for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<EnhancedCode>,
    /// The lines, with LF between them. Holds no other control character than that and TAB.
    text: Cow<'static, str>,
}

/// An enhanced mail system status code, `class.subject.detail` (RFC 3463 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnhancedCode {
    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub class: u8,
    /// What the status is about, such as 1 for addresses.
    pub subject: u16,
    /// What exactly.
    pub detail: u16,
}

/// What the first digit of a reply says (RFC 5321 section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplyClass {
    /// 1yz: begun, another reply follows (FTP only).
    Preliminary,
    /// 2yz: done.
    Completion,
    /// 3yz: go on.
    Intermediate,
    /// 4yz: not now; try again later.
    Transient,
    /// 5yz: no; the same again will fail the same way.
    Permanent,
}

/// How the lines between the first and the last of a reply look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyStyle {
    /// Every line begins with the code and the enhanced code (RFC 5321 section 4.2.1, RFC 2034 section 4).
    Smtp,
    /// Lines between begin with a space (RFC 959 section 4.2, RFC 2389 section 3.2).
    Ftp,
}

impl Reply {
    /// A reply of one line. What would break the line is replaced by spaces.
    ///
    /// `code` is one of the program's own, 100 to 599.
    pub fn new(code: u16, text: impl Into<Cow<'static, str>>) -> Reply {
        debug_assert!((100..600).contains(&code), "{code} is no reply code");
        Reply { code, enhanced: None, text: one_line(text.into()) }
    }

    /// A reply of as many lines as `lines` has.
    pub fn multi<T: AsRef<str>>(code: u16, lines: impl IntoIterator<Item = T>) -> Reply {
        debug_assert!((100..600).contains(&code), "{code} is no reply code");
        let mut text = String::new();
        for (i, line) in lines.into_iter().enumerate() {
            if i > 0 {
                text.push('\n');
            }
            push_line(&mut text, line.as_ref());
        }
        Reply { code, enhanced: None, text: text.into() }
    }

    /// The same with an enhanced status code.
    #[must_use]
    pub fn with_enhanced(mut self, enhanced: EnhancedCode) -> Reply {
        self.enhanced = Some(enhanced);
        self
    }

    /// The same without its enhanced status code, for the replies that carry none (RFC 2034 section 4).
    #[must_use]
    pub fn without_enhanced(mut self) -> Reply {
        self.enhanced = None;
        self
    }

    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// What the first digit says.
    pub fn class(&self) -> ReplyClass {
        match self.code / 100 {
            1 => ReplyClass::Preliminary,
            2 => ReplyClass::Completion,
            3 => ReplyClass::Intermediate,
            4 => ReplyClass::Transient,
            _ => ReplyClass::Permanent,
        }
    }

    /// The enhanced status code.
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        self.enhanced
    }

    /// The text line by line, without codes; at least one line, which may be empty.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split('\n')
    }

    /// The whole text; a LF between lines.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The octets of the wire.
    pub fn encode(&self, style: ReplyStyle) -> Bytes {
        let mut out = Vec::with_capacity(self.text.len() + 24);
        self.encode_into(&mut out, style);
        Bytes::from(out)
    }

    /// Appends the octets of the wire, for a session that gathers the answers to pipelined commands.
    pub fn encode_into(&self, out: &mut Vec<u8>, style: ReplyStyle) {
        let room = REPLY_LINE_MAX - "250 \r\n".len() - self.enhanced.map_or(0, |_| ENHANCED_MAX + 1);
        let mut lines = self.lines().flat_map(|line| fold(line, room)).peekable();
        let mut first = true;
        while let Some(line) = lines.next() {
            let last = lines.peek().is_none();
            if style == ReplyStyle::Ftp && !first && !last {
                out.push(b' ');
            } else {
                self.encode_code(out, if last { b' ' } else { b'-' });
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
            first = false;
        }
    }

    fn encode_code(&self, out: &mut Vec<u8>, separator: u8) {
        for place in [100, 10, 1] {
            out.push(b'0' + (self.code / place % 10) as u8);
        }
        out.push(separator);
        if let Some(code) = self.enhanced {
            push_number(out, u16::from(code.class));
            out.push(b'.');
            push_number(out, code.subject);
            out.push(b'.');
            push_number(out, code.detail);
            out.push(b' ');
        }
    }
}

impl fmt::Display for Reply {
    /// On one line, for logs: `550 5.1.1 no such user`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        for (i, line) in self.lines().enumerate() {
            write!(f, "{}{line}", if i == 0 { " " } else { " / " })?;
        }
        Ok(())
    }
}

/// Octets of `5.999.999`.
const ENHANCED_MAX: usize = 9;

impl EnhancedCode {
    /// `class.subject.detail`, each one of the program's own: 2, 4 or 5, then up to 999.
    pub const fn new(class: u8, subject: u16, detail: u16) -> EnhancedCode {
        debug_assert!(matches!(class, 2 | 4 | 5) && subject < 1000 && detail < 1000);
        EnhancedCode { class, subject, detail }
    }

    /// Takes `5.1.1` off the front of `text`; `None` if none stands there, followed by a space or the end.
    ///
    /// ```text
    /// status-code = class "." subject "." detail
    /// class       = "2" / "4" / "5"
    /// subject     = 1*3DIGIT
    /// detail      = 1*3DIGIT
    /// ```
    pub fn split(text: &str) -> Option<(EnhancedCode, &str)> {
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parts = code.split('.').map(|part| {
            let digits = (1..=3).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
            if digits { part.parse::<u16>().ok() } else { None }
        });
        let (class, subject, detail) = (parts.next()??, parts.next()??, parts.next()??);
        if parts.next().is_some() || !matches!(class, 2 | 4 | 5) {
            return None;
        }
        Some((EnhancedCode { class: class as u8, subject, detail }, rest))
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

fn push_number(out: &mut Vec<u8>, number: u16) {
    for place in [100, 10] {
        if number >= place {
            out.push(b'0' + (number / place % 10) as u8);
        }
    }
    out.push(b'0' + (number % 10) as u8);
}

/// Whether a character may not stand in reply text: it would break the line, or the terminal of who reads it.
fn is_unfit(c: char) -> bool {
    c.is_control() && c != '\t'
}

fn one_line(text: Cow<'static, str>) -> Cow<'static, str> {
    if !text.contains(is_unfit) {
        return text;
    }
    let mut line = String::with_capacity(text.len());
    push_line(&mut line, &text);
    line.into()
}

fn push_line(text: &mut String, line: &str) {
    text.extend(line.chars().map(|c| if is_unfit(c) { ' ' } else { c }));
}

/// Cuts a line into pieces of at most `room` octets, at a space if there is one.
fn fold(line: &str, room: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest.take()?;
        if line.len() <= room {
            return Some(line);
        }
        let hard = line.floor_char_boundary(room);
        let cut = line[..hard].rfind(' ').filter(|&space| space > 0).unwrap_or(hard);
        let (piece, more) = line.split_at(cut);
        rest = Some(more.strip_prefix(' ').unwrap_or(more));
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smtp(reply: &Reply) -> String {
        String::from_utf8_lossy(&reply.encode(ReplyStyle::Smtp)).into_owned()
    }

    #[test]
    fn encoding() {
        let table: &[(Reply, &str)] = &[
            (Reply::new(250, "OK"), "250 OK\r\n"),
            (Reply::new(221, ""), "221 \r\n"),
            (
                Reply::new(550, "no such user").with_enhanced(EnhancedCode::new(5, 1, 1)),
                "550 5.1.1 no such user\r\n",
            ),
            (Reply::new(452, "full").with_enhanced(EnhancedCode::new(4, 20, 304)), "452 4.20.304 full\r\n"),
            (
                Reply::multi(250, ["a.example", "SIZE 10", "HELP"]),
                "250-a.example\r\n250-SIZE 10\r\n250 HELP\r\n",
            ),
            (
                Reply::multi(214, ["one", "two"]).with_enhanced(EnhancedCode::new(2, 0, 0)),
                "214-2.0.0 one\r\n214 2.0.0 two\r\n",
            ),
            (Reply::multi(250, [""; 0]), "250 \r\n"),
            (Reply::new(500, "a\r\nQUIT\0\x1b[2J\tb"), "500 a  QUIT  [2J\tb\r\n"),
            (Reply::multi(500, ["a\nb", "c\r"]), "500-a b\r\n500 c \r\n"),
        ];
        for (reply, wire) in table {
            assert_eq!(smtp(reply), *wire);
        }
    }

    #[test]
    fn ftp_style_indents_the_lines_between() {
        let features = Reply::multi(211, ["Features:", "MDTM", "211 SIZE", "End"]);
        assert_eq!(features.encode(ReplyStyle::Ftp), "211-Features:\r\n MDTM\r\n 211 SIZE\r\n211 End\r\n");
        assert_eq!(Reply::multi(211, ["a", "b"]).encode(ReplyStyle::Ftp), "211-a\r\n211 b\r\n");
        assert_eq!(Reply::new(226, "done").encode(ReplyStyle::Ftp), "226 done\r\n");
    }

    #[test]
    fn long_text_is_folded_at_spaces_and_never_inside_a_character() {
        for text in ["word ".repeat(300), "x".repeat(1500), "ü".repeat(700), format!(" {}", "x".repeat(900))]
        {
            let wire = smtp(&Reply::new(550, text.clone()).with_enhanced(EnhancedCode::new(5, 999, 999)));
            let mut back = String::new();
            for line in wire.lines() {
                assert!(line.len() + 2 <= REPLY_LINE_MAX, "{} octets", line.len() + 2);
                back += &line["550-5.999.999 ".len()..];
            }
            let squeeze = |s: &str| s.replace(' ', "");
            assert_eq!(squeeze(&back), squeeze(&text));
        }
    }

    #[test]
    fn enhanced_codes() {
        let code = |class, subject, detail| EnhancedCode { class, subject, detail };
        let table = [
            ("2.1.5 fine", Some((code(2, 1, 5), "fine"))),
            ("5.7.123", Some((code(5, 7, 123), ""))),
            ("4.4.2  two", Some((code(4, 4, 2), " two"))),
            ("3.1.1 no such class", None),
            ("2.1 two", None),
            ("2.1.5.6 four", None),
            ("2.1.1234 long", None),
            ("2..1 empty", None),
            ("2.+1.1 sign", None),
            ("2.1.5, comma", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(EnhancedCode::split(text), expected, "{text}");
        }
    }

    #[test]
    fn display_is_one_line() {
        let reply = Reply::multi(550, ["no", "never"]).with_enhanced(EnhancedCode::new(5, 7, 1));
        assert_eq!(reply.to_string(), "550 5.7.1 no / never");
    }
}
