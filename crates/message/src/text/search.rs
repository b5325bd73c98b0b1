//! What SEARCH looks through (RFC 9051 section 6.4.4): the text of a message, decoded and folded, piece by piece.
//!
//! [`Reader`] says which octets it wants next, so that attachments are passed over unread. What comes out of one
//! header field or one part ends with a NUL, which no string of IMAP has in it: nothing is found across such a border.
//! Within a part text may be cut anywhere between characters; [`Finder`](super::find::Finder) finds what lies across.

use std::ops::{ControlFlow, Range};

use super::charset::{self, Charset};
use super::transfer::{self, Encoding};
use super::{fold, words};
use crate::structure::{HEADER_MAX, Kind, Part};

/// So many octets are read at a time.
const STEP: u64 = 64 << 10;
/// What stands between texts that do not belong together.
pub const BORDER: u8 = 0;

/// What is looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// TEXT: every header and every text.
    Text,
    /// BODY: every text, and the header of every message inside.
    Body,
    /// The header of the message only.
    Header,
}

/// Turns the wanted octets of a body into folded text.
#[derive(Debug)]
pub struct Reader {
    spans: std::vec::IntoIter<Span>,
    current: Option<Current>,
}

#[derive(Debug)]
struct Span {
    range: Range<u64>,
    content: Content,
}

#[derive(Debug, Clone, Copy)]
enum Content {
    Header,
    Text { encoding: Encoding, charset: Charset },
}

#[derive(Debug)]
struct Current {
    range: Range<u64>,
    decoder: Decoder,
}

#[derive(Debug)]
enum Decoder {
    Header(HeaderText),
    Text(TextDecoder),
}

impl Reader {
    /// A reader of a message with these parts.
    pub fn new(root: &Part<'_>, scope: Scope) -> Reader {
        let mut spans = Vec::new();
        if scope != Scope::Body {
            spans.push(Span { range: root.header.clone(), content: Content::Header });
        }
        if scope != Scope::Header {
            add(root, scope, &mut spans);
        }
        spans.retain(|span| !span.range.is_empty());
        let mut reader = Reader { spans: spans.into_iter(), current: None };
        reader.advance();
        reader
    }

    /// Where the octets are that are wanted next, counted from the start of the body; `None` at the end.
    pub fn wants(&self) -> Option<Range<u64>> {
        self.current.as_ref().map(|current| current.range.clone())
    }

    /// Takes octets from the start of what is wanted, appends what they mean, and says how many were taken.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) -> usize {
        let mut rest = octets;
        while let Some(current) = &mut self.current {
            let wanted = current.range.end - current.range.start;
            let (taken, after) = rest.split_at(rest.len().min(usize::try_from(wanted).unwrap_or(usize::MAX)));
            match &mut current.decoder {
                Decoder::Header(header) => header.push(taken, out),
                Decoder::Text(text) => text.push(taken, out),
            }
            current.range.start += taken.len() as u64;
            rest = after;
            if !current.range.is_empty() {
                break;
            }
            let end = current.range.end;
            self.end_span(out);
            // Only a span that follows at once goes on with these octets.
            if rest.is_empty() || self.wants().is_none_or(|next| next.start != end) {
                break;
            }
        }
        octets.len() - rest.len()
    }

    /// Gives up what is left of the octets wanted, for the body has none there.
    pub fn skip(&mut self, out: &mut Vec<u8>) {
        self.end_span(out);
    }

    fn end_span(&mut self, out: &mut Vec<u8>) {
        if let Some(current) = &mut self.current {
            match &mut current.decoder {
                Decoder::Header(header) => header.finish(out),
                Decoder::Text(text) => text.finish(out),
            }
        }
        self.advance();
    }

    fn advance(&mut self) {
        self.current = self.spans.next().map(|span| Current {
            range: span.range,
            decoder: match span.content {
                Content::Header => Decoder::Header(HeaderText::default()),
                Content::Text { encoding, charset } => Decoder::Text(TextDecoder::new(encoding, charset)),
            },
        });
    }
}

fn add(part: &Part<'_>, scope: Scope, spans: &mut Vec<Span>) {
    if part.kind == Kind::Leaf {
        if part.is_text() {
            let encoding = Encoding::named(part.encoding).unwrap_or(Encoding::Identity);
            let charset = Charset::of_param(part.param("charset"));
            spans.push(Span { range: part.body.clone(), content: Content::Text { encoding, charset } });
        }
        return;
    }
    for child in part.children() {
        if part.kind == Kind::Message || scope == Scope::Text {
            spans.push(Span { range: child.header.clone(), content: Content::Header });
        }
        add(&child, scope, spans);
    }
}

/// Hands the folded text of a message to `take`, piece by piece, until it breaks off or there is no more.
///
/// `prefix` is what stands before the body. `read` appends octets of the body: some or all of the range it is given,
/// from its start; none means that the body is shorter.
pub fn searchable<E>(
    root: &Part<'_>,
    scope: Scope,
    prefix: &[u8],
    mut read: impl FnMut(Range<u64>, &mut Vec<u8>) -> Result<(), E>,
    mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, E> {
    let mut out = Vec::new();
    if scope != Scope::Body {
        header(prefix, &mut out);
        if take(&out).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    let mut reader = Reader::new(root, scope);
    let mut octets = Vec::new();
    while let Some(wanted) = reader.wants() {
        octets.clear();
        out.clear();
        read(wanted.start..wanted.end.min(wanted.start.saturating_add(STEP)), &mut octets)?;
        if octets.is_empty() {
            reader.skip(&mut out);
        } else {
            reader.push(&octets, &mut out);
        }
        if take(&out).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Appends the fields of a header, decoded and folded.
pub fn header(header: &[u8], out: &mut Vec<u8>) {
    let mut text = HeaderText::default();
    text.push(header, out);
    text.finish(out);
}

/// Appends the value of a header field, unfolded, decoded and folded: what SEARCH compares with for FROM, SUBJECT,
/// HEADER and so on.
pub fn value(value: &[u8], out: &mut Vec<u8>) {
    fold::fold(&words::decode(&crate::structure::unfolded(value)), out);
}

/// A header on its way to folded text, one field at a time.
#[derive(Debug, Default)]
struct HeaderText {
    field: Vec<u8>,
    mid_line: bool,
}

impl HeaderText {
    fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let mut rest = octets;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |found| found + 1);
            let (line, after) = rest.split_at(end);
            rest = after;
            if !self.mid_line && !matches!(line.first(), Some(b' ' | b'\t')) {
                self.finish(out);
            }
            self.mid_line = !line.ends_with(b"\n");
            let room = HEADER_MAX.saturating_sub(self.field.len());
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            // Other octets that no line has are left out one by one.
            if memchr::memchr2(b'\r', 0, text).is_none() {
                self.field.extend_from_slice(text.get(..room).unwrap_or(text));
            } else {
                self.field.extend(text.iter().filter(|octet| !matches!(octet, b'\r' | 0)).take(room));
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.field.is_empty() {
            fold::fold(&words::decode(&self.field), out);
            out.push(BORDER);
            self.field.clear();
        }
    }
}

/// A text on its way through transfer encoding, charset and folding.
#[derive(Debug)]
struct TextDecoder {
    transfer: Option<transfer::Decoder>,
    charset: Charset,
    decoder: charset::Decoder,
    /// The charset's decoder may be in the middle of something.
    is_open: bool,
    plain: Vec<u8>,
    text: String,
}

impl TextDecoder {
    fn new(encoding: Encoding, charset: Charset) -> TextDecoder {
        let transfer = (encoding != Encoding::Identity).then(|| transfer::Decoder::new(encoding));
        let decoder = charset.decoder();
        TextDecoder { transfer, charset, decoder, is_open: false, plain: Vec::new(), text: String::new() }
    }

    fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        match &mut self.transfer {
            None => self.fold(octets, out),
            Some(transfer) => {
                let mut plain = std::mem::take(&mut self.plain);
                plain.clear();
                transfer.push(octets, &mut plain);
                self.fold(&plain, out);
                self.plain = plain;
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(transfer) = &mut self.transfer {
            let mut plain = Vec::new();
            transfer.finish(&mut plain);
            self.fold(&plain, out);
        }
        self.text.clear();
        self.decoder.finish(&mut self.text);
        fold::fold(&self.text, out);
        out.push(BORDER);
    }

    fn fold(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        // Most text is ASCII and is what it looks like, unless the octets before have left something open.
        if !self.is_open && self.charset.keeps_ascii() && plain.is_ascii() {
            out.extend_from_slice(plain);
            if let Some(new) = out.get_mut(start..) {
                new.make_ascii_uppercase();
            }
        } else {
            self.text.clear();
            self.decoder.push(plain, &mut self.text);
            fold::fold(&self.text, out);
            if let Some(last) = plain.last() {
                self.is_open = !last.is_ascii();
            }
        }
        // A NUL inside would pass for a border.
        if let Some(new) = out.get_mut(start..)
            && memchr::memchr(BORDER, new).is_some()
        {
            new.iter_mut().filter(|octet| **octet == BORDER).for_each(|octet| *octet = b' ');
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::convert::Infallible;

    use super::super::find::Finder;
    use super::*;
    use crate::structure::Scan;

    const MESSAGE: &str = "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nTo: =?utf-8?Q?Z=C3=B6e?=\r\n <zoe@example.org>\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n\
        --b\r\nContent-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        =F0=D2=C9=D7=C5=D4 soft=\r\n break\r\n\
        --b\r\nContent-Type: image/png; name=picture\r\nContent-Transfer-Encoding: base64\r\n\r\nSGVsbG8=\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Transfer-Encoding: base64\r\n\r\nSGVsbG8sIFdv\r\ncmxkIQ==\r\n\
        --b\r\n\r\nraw \u{fc}\r\n--b--\r\nepilogue\r\n";

    fn text(scope: Scope, size: usize) -> Vec<u8> {
        let mut scan = Scan::new();
        scan.push(MESSAGE.as_bytes());
        let structure = scan.finish();
        let mut all = Vec::new();
        let read = |range: Range<u64>, out: &mut Vec<u8>| {
            let octets = &MESSAGE.as_bytes()[range.start as usize..range.end as usize];
            out.extend_from_slice(&octets[..octets.len().min(size)]);
            Ok::<(), Infallible>(())
        };
        let ended = searchable(&structure.root(), scope, b"Return-Path: <a@b>\r\n", read, |piece| {
            all.extend_from_slice(piece);
            ControlFlow::Continue(())
        });
        assert_eq!(ended, Ok(ControlFlow::Continue(())));
        all
    }

    #[test]
    fn what_people_see_is_looked_through() {
        for (scope, string, found) in [
            (Scope::Text, "grüSSe", false),
            (Scope::Text, "grüße", true),
            (Scope::Body, "grüße", false),
            (Scope::Header, "GRÜSSE", false),
            (Scope::Header, "grüße", true),
            (Scope::Header, "return-path: <a@b>", true),
            (Scope::Body, "return-path", false),
            (Scope::Text, "zöe <zoe@", true),
            (Scope::Text, "привет SOFT break", true),
            (Scope::Body, "ПРИВЕТ", true),
            (Scope::Header, "ПРИВЕТ", false),
            (Scope::Text, "picture", true),
            (Scope::Body, "picture", false),
            (Scope::Text, "SGVsbG8", false),
            (Scope::Body, "subject: inner", true),
            (Scope::Body, "hello, world!", true),
            (Scope::Body, "RAW Ü", true),
            (Scope::Text, "preamble", false),
            (Scope::Text, "epilogue", false),
            (Scope::Text, "break\r\nhello", false),
        ] {
            for size in [1, 2, 5, 1 << 16] {
                let mut finder = Finder::new([string]);
                text(scope, size).chunks(7).for_each(|piece| {
                    finder.push(piece);
                });
                assert_eq!(finder.is_done(), found, "{scope:?} {string} in pieces of {size}");
            }
        }
        for scope in [Scope::Text, Scope::Body, Scope::Header] {
            assert_eq!(text(scope, 1), text(scope, 1 << 16));
        }
    }

    #[test]
    fn a_body_that_is_shorter_ends() {
        let mut scan = Scan::new();
        scan.push(MESSAGE.as_bytes());
        let structure = scan.finish();
        let nothing = |_: Range<u64>, _: &mut Vec<u8>| Ok::<(), Infallible>(());
        let ended = searchable(&structure.root(), Scope::Text, b"", nothing, |_| ControlFlow::Continue(()));
        assert!(ended.unwrap().is_continue());
        let fails = |_: Range<u64>, _: &mut Vec<u8>| Err("broken");
        assert_eq!(
            searchable(&structure.root(), Scope::Text, b"", fails, |_| ControlFlow::Continue(())),
            Err("broken")
        );
    }
}
