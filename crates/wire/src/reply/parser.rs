//! Reading replies, as a client does.

use thiserror::Error;

use super::{EnhancedCode, Reply, ReplyStyle, push_line};
use crate::line::{Input, LineEnding, LineError};

/// How much a server may say in one reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Octets of a line with its ending. RFC 5321 section 4.5.3.1.5 says 512; real servers say more.
    pub line: usize,
    /// Lines of one reply.
    pub lines: usize,
    /// Octets of all lines of one reply together.
    pub octets: usize,
}

impl Default for ReplyLimits {
    fn default() -> ReplyLimits {
        ReplyLimits { line: 4096, lines: 200, octets: 64 * 1024 }
    }
}

/// Why what a server said is no reply. The conversation has lost its step: nothing more can be made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// A line is too long or has a bare CR.
    #[error("in a reply, {0}")]
    Line(#[from] LineError),
    /// Not three digits and a space or hyphen.
    #[error("what came does not begin with a reply code")]
    Malformed,
    /// The lines of one reply bear different codes (RFC 5321 section 4.2.1).
    #[error("the lines of one reply bear different codes")]
    CodeChanged,
    /// More than [`ReplyLimits`] allows.
    #[error("the reply does not end")]
    TooMuch,
}

/// Puts replies together from the octets of a server.
#[derive(Debug)]
pub struct ReplyParser {
    style: ReplyStyle,
    limits: ReplyLimits,
    /// The reply whose last line has not come.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    code: u16,
    enhanced: Option<EnhancedCode>,
    text: String,
    lines: usize,
}

impl ReplyParser {
    /// A parser with the default limits. Enhanced codes are looked for in [`ReplyStyle::Smtp`] only.
    pub fn new(style: ReplyStyle) -> ReplyParser {
        ReplyParser::with_limits(style, ReplyLimits::default())
    }

    /// A parser with limits of one's own.
    pub fn with_limits(style: ReplyStyle, limits: ReplyLimits) -> ReplyParser {
        ReplyParser { style, limits, open: None }
    }

    /// Takes the next reply out of `input`; `None` if it is not there in full yet. Lines may end in CRLF or LF.
    pub fn next(&mut self, input: &mut Input) -> Result<Option<Reply>, ReplyError> {
        while let Some(line) = input.take_line(self.limits.line, LineEnding::CrlfOrLf)? {
            if let Some(reply) = self.line(&line)? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Takes one line without its ending; the reply, if this line was the last of it.
    fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, ReplyError> {
        let head = Head::parse(line);
        let (last, text) = match (&self.open, head) {
            (None, None) => return Err(ReplyError::Malformed),
            (Some(open), Some(head)) if head.code == open.code => (head.last, &line[head.length..]),
            (None, Some(head)) => (head.last, &line[head.length..]),
            // RFC 959 section 4.2: lines between look as they like, short of the code and a space.
            (Some(_), _) if self.style == ReplyStyle::Ftp => (false, line),
            (Some(_), Some(_)) => return Err(ReplyError::CodeChanged),
            (Some(_), None) => return Err(ReplyError::Malformed),
        };
        let text = String::from_utf8_lossy(text);
        let mut text = text.as_ref();
        let code = head.map_or(0, |head| head.code);
        let open =
            self.open.get_or_insert_with(|| Open { code, enhanced: None, text: String::new(), lines: 0 });
        if self.style == ReplyStyle::Smtp
            && let Some((enhanced, rest)) = EnhancedCode::split(text)
            // RFC 2034 section 4: the class is the first digit of the reply code.
            && u16::from(enhanced.class) == open.code / 100
            && (open.lines == 0 || open.enhanced == Some(enhanced))
        {
            open.enhanced = Some(enhanced);
            text = rest;
        }
        if open.lines > 0 {
            open.text.push('\n');
        }
        open.lines += 1;
        if open.lines > self.limits.lines || open.text.len() + text.len() > self.limits.octets {
            return Err(ReplyError::TooMuch);
        }
        push_line(&mut open.text, text);
        if !last {
            return Ok(None);
        }
        let reply = self.open.take();
        Ok(reply.map(|open| Reply { code: open.code, enhanced: open.enhanced, text: open.text.into() }))
    }
}

/// The front of a reply line: `250 `, `250-` or `250` alone.
#[derive(Clone, Copy)]
struct Head {
    code: u16,
    last: bool,
    length: usize,
}

impl Head {
    fn parse(line: &[u8]) -> Option<Head> {
        let &[a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] = line else {
            return None;
        };
        let digit = |c: u8| u16::from(c - b'0');
        let code = digit(a) * 100 + digit(b) * 10 + digit(c);
        match line.get(3) {
            None => Some(Head { code, last: true, length: 3 }),
            Some(b' ') => Some(Head { code, last: true, length: 4 }),
            Some(b'-') => Some(Head { code, last: false, length: 4 }),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all replies of `bytes`, whole and octet by octet.
    fn replies(style: ReplyStyle, bytes: &[u8]) -> Vec<Result<Reply, ReplyError>> {
        let limits = ReplyLimits { line: 64, lines: 4, octets: 100 };
        let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let (mut parser, mut input, mut seen) =
                (ReplyParser::with_limits(style, limits), Input::new(), Vec::new());
            for piece in pieces {
                input.push(piece);
                while let Some(reply) = parser.next(&mut input).transpose() {
                    let failed = reply.is_err();
                    seen.push(reply);
                    if failed {
                        return seen;
                    }
                }
            }
            seen
        };
        let whole = read(&mut std::iter::once(bytes));
        assert_eq!(whole, read(&mut bytes.chunks(1)), "split at every octet");
        whole
    }

    #[test]
    fn smtp_replies() {
        let code = EnhancedCode::new;
        let table: &[(&str, &[Result<Reply, ReplyError>])] = &[
            ("220 mail.example ESMTP\r\n", &[Ok(Reply::new(220, "mail.example ESMTP"))]),
            ("250\r\n", &[Ok(Reply::new(250, ""))]),
            ("250 \n", &[Ok(Reply::new(250, ""))]),
            ("250-a\r\n250-b\r\n250 c\r\n", &[Ok(Reply::multi(250, ["a", "b", "c"]))]),
            ("250-a\r\n250\r\n", &[Ok(Reply::multi(250, ["a", ""]))]),
            ("250-\r\n250 b\r\n", &[Ok(Reply::multi(250, ["", "b"]))]),
            ("250 a\r\n354 b\r\n", &[Ok(Reply::new(250, "a")), Ok(Reply::new(354, "b"))]),
            ("550 5.1.1 who?\r\n", &[Ok(Reply::new(550, "who?").with_enhanced(code(5, 1, 1)))]),
            ("550 5.1.1\r\n", &[Ok(Reply::new(550, "").with_enhanced(code(5, 1, 1)))]),
            (
                "550-5.7.1 a\r\n550 5.7.1 b\r\n",
                &[Ok(Reply::multi(550, ["a", "b"]).with_enhanced(code(5, 7, 1)))],
            ),
            ("550-5.7.1 a\r\n550 b\r\n", &[Ok(Reply::multi(550, ["a", "b"]).with_enhanced(code(5, 7, 1)))]),
            ("250-a\r\n250 2.0.0 b\r\n", &[Ok(Reply::multi(250, ["a", "2.0.0 b"]))]),
            ("250 5.1.1 class differs\r\n", &[Ok(Reply::new(250, "5.1.1 class differs"))]),
            ("250 \0\x1b[m\r\n", &[Ok(Reply::new(250, "  [m"))]),
            ("hello\r\n", &[Err(ReplyError::Malformed)]),
            ("\r\n", &[Err(ReplyError::Malformed)]),
            ("25\r\n", &[Err(ReplyError::Malformed)]),
            ("650 x\r\n", &[Err(ReplyError::Malformed)]),
            ("250_x\r\n", &[Err(ReplyError::Malformed)]),
            ("250-a\r\nb\r\n", &[Err(ReplyError::Malformed)]),
            ("250-a\r\n251 b\r\n", &[Err(ReplyError::CodeChanged)]),
            ("250-a\r\n250-b\r\n250-c\r\n250-d\r\n250 e\r\n", &[Err(ReplyError::TooMuch)]),
            ("250 a\rb\r\n", &[Err(ReplyError::Line(LineError::BareCr))]),
        ];
        for (wire, expected) in table {
            assert_eq!(replies(ReplyStyle::Smtp, wire.as_bytes()), *expected, "{wire:?}");
        }
    }

    #[test]
    fn ftp_replies() {
        let table: &[(&str, Reply)] = &[
            (
                "123-First\r\nSecond\r\n 234 numbers\r\n123 last\r\n",
                Reply::multi(123, ["First", "Second", " 234 numbers", "last"]),
            ),
            ("211-Features:\r\n MDTM\r\n211 End\r\n", Reply::multi(211, ["Features:", " MDTM", "End"])),
            ("230-a\r\n230-b\r\n230 c\r\n", Reply::multi(230, ["a", "b", "c"])),
            ("230-a\r\n450 not the end\r\n230 c\r\n", Reply::multi(230, ["a", "450 not the end", "c"])),
            ("230 2.0.0 text\r\n", Reply::new(230, "2.0.0 text")),
        ];
        for (wire, expected) in table {
            assert_eq!(replies(ReplyStyle::Ftp, wire.as_bytes()), [Ok(expected.clone())], "{wire:?}");
        }
    }

    #[test]
    fn a_reply_is_bounded() {
        let long = format!("250 {}\r\n", "x".repeat(80));
        let too_long = [Err(ReplyError::Line(LineError::TooLong))];
        assert_eq!(replies(ReplyStyle::Smtp, long.as_bytes()), too_long);
        let much = format!("250-{0}\r\n250 {0}\r\n", "x".repeat(50));
        assert_eq!(replies(ReplyStyle::Smtp, much.as_bytes()), [Err(ReplyError::TooMuch)]);
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let table = [
            Reply::new(250, "OK").with_enhanced(EnhancedCode::new(2, 0, 0)),
            Reply::multi(250, ["a", "b", ""]),
            Reply::multi(550, ["ä", "ö"]).with_enhanced(EnhancedCode::new(5, 6, 7)),
        ];
        for reply in table {
            assert_eq!(replies(ReplyStyle::Smtp, &reply.encode(ReplyStyle::Smtp)), [Ok(reply)]);
        }
    }
}
