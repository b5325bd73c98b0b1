//! A scan over the header of a message as it streams by, in bounded memory.
//!
//! What a transfer agent needs to know of a header is little: whether the fields a submitted message must have are
//! there, how many hops it has made, and whom it was already delivered to. [`HeaderScan`] finds that out while the
//! chunks pass on their way to the disk; it never holds the header, and each octet is looked at once.

use memchr::memchr;

/// Octets kept of a field's value; the rest of a longer one is dropped.
pub const VALUE_MAX: usize = 998;
/// How many `Delivered-To` values are kept, the topmost ones; more are only counted.
pub const DELIVERED_TO_MAX: usize = 50;
/// Longest field name that is compared: any longer one is none of those in [`Field`].
const NAME_MAX: usize = 12;

/// The fields a [`HeaderScan`] looks out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Field {
    /// `Date:` (RFC 5322 section 3.6.1).
    Date,
    /// `From:` (RFC 5322 section 3.6.2).
    From,
    /// `Sender:` (RFC 5322 section 3.6.2).
    Sender,
    /// `To:` (RFC 5322 section 3.6.3).
    To,
    /// `Cc:` (RFC 5322 section 3.6.3).
    Cc,
    /// `Bcc:` (RFC 5322 section 3.6.3).
    Bcc,
    /// `Message-ID:` (RFC 5322 section 3.6.4).
    MessageId,
    /// `Subject:` (RFC 5322 section 3.6.5).
    Subject,
    /// `Received:`: its count is the number of hops (RFC 5321 section 6.3).
    Received,
    /// `Return-Path:` (RFC 5321 section 4.4).
    ReturnPath,
    /// `Delivered-To:` (RFC 9228).
    DeliveredTo,
    /// `TLS-Required:` (RFC 8689 section 3).
    TlsRequired,
}

/// Number of variants of [`Field`].
const FIELDS: usize = Field::TlsRequired as usize + 1;

impl Field {
    /// Finds the field whose name is `name`, in any case.
    fn named(name: &[u8]) -> Option<Field> {
        let (field, spelling): (Field, &[u8]) = match name.len() {
            2 if name.eq_ignore_ascii_case(b"to") => (Field::To, b"to"),
            2 => (Field::Cc, b"cc"),
            3 => (Field::Bcc, b"bcc"),
            4 if name.eq_ignore_ascii_case(b"date") => (Field::Date, b"date"),
            4 => (Field::From, b"from"),
            6 => (Field::Sender, b"sender"),
            7 => (Field::Subject, b"subject"),
            8 => (Field::Received, b"received"),
            10 => (Field::MessageId, b"message-id"),
            11 => (Field::ReturnPath, b"return-path"),
            12 if matches!(name.first(), Some(b't' | b'T')) => (Field::TlsRequired, b"tls-required"),
            12 => (Field::DeliveredTo, b"delivered-to"),
            _ => return None,
        };
        name.eq_ignore_ascii_case(spelling).then_some(field)
    }
}

/// How a header ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderEnd {
    /// With the empty line of RFC 5322 section 2.1.
    EmptyLine,
    /// With a line that is no header field, without an empty line before it. The line belongs to the body, as
    /// sendmail, Postfix and Python's parser have it.
    NotAField,
    /// With the end of the message.
    EndOfMessage,
}

/// Looks at a header while it streams by. See the [module](self).
#[derive(Debug, Clone)]
pub struct HeaderScan {
    state: State,
    name: [u8; NAME_MAX],
    name_len: usize,
    /// Where the value that is passing by goes, if anywhere.
    capturing: Option<Capture>,
    counts: [u32; FIELDS],
    first: [Option<Box<[u8]>>; FIELDS],
    delivered_to: Vec<Box<[u8]>>,
    value: Vec<u8>,
    on_first_line: bool,
    seen: u64,
    line_start: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    LineStart,
    /// A CR stands where a line starts.
    EmptyLineCr,
    Name,
    /// White space stands between name and colon, as RFC 5322 section 4.5 still lets it.
    NameSpace,
    /// Inside a value, or a line that is skipped like one.
    Value,
    Ended(HeaderEnd),
}

#[derive(Debug, Clone, Copy)]
enum Capture {
    First(Field),
    DeliveredTo,
}

impl Default for HeaderScan {
    fn default() -> HeaderScan {
        HeaderScan::new()
    }
}

impl HeaderScan {
    /// A scan before the first octet.
    pub fn new() -> HeaderScan {
        HeaderScan {
            state: State::LineStart,
            name: [0; NAME_MAX],
            name_len: 0,
            capturing: None,
            counts: [0; FIELDS],
            first: Default::default(),
            delivered_to: Vec::new(),
            value: Vec::new(),
            on_first_line: true,
            seen: 0,
            line_start: 0,
        }
    }

    /// Looks at the next octets of the message and says whether the header has ended. After its end nothing is looked
    /// at any more, so pushing the body too costs nothing.
    pub fn push(&mut self, chunk: &[u8]) -> bool {
        let mut rest = chunk;
        loop {
            if let State::Ended(_) = self.state {
                return true;
            }
            let Some((&octet, after)) = rest.split_first() else {
                return false;
            };
            if self.state == State::Value {
                rest = self.skip_value(rest);
                continue;
            }
            self.state = self.step(octet);
            // A line that is no field is not part of the header.
            if !matches!(self.state, State::Ended(HeaderEnd::NotAField)) {
                self.seen += 1;
            }
            rest = after;
        }
    }

    /// The message is over; a header that has not ended yet ends here.
    pub fn finish(&mut self) -> HeaderEnd {
        match self.state {
            State::Ended(end) => end,
            State::Name | State::NameSpace | State::EmptyLineCr => self.end(HeaderEnd::NotAField),
            State::LineStart | State::Value => self.end(HeaderEnd::EndOfMessage),
        }
    }

    /// How the header ended, once it has.
    pub fn ended(&self) -> Option<HeaderEnd> {
        match self.state {
            State::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// Octets of the header, the empty line that ends it included; the body begins there. Grows until the end.
    pub fn len(&self) -> u64 {
        match self.state {
            State::Ended(HeaderEnd::NotAField) => self.line_start,
            _ => self.seen,
        }
    }

    /// Whether nothing of a header has been seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often the field has occurred.
    pub fn count(&self, field: Field) -> u32 {
        self.counts[field as usize]
    }

    /// Whether the field has occurred.
    pub fn has(&self, field: Field) -> bool {
        self.count(field) > 0
    }

    /// The value of the field where it stood first: unfolded, without the space around it, cut at [`VALUE_MAX`].
    /// `None` for `Received`, which is only counted.
    pub fn value(&self, field: Field) -> Option<&[u8]> {
        self.first[field as usize].as_deref()
    }

    /// The values of `Delivered-To`, the topmost [`DELIVERED_TO_MAX`]: a message that is about to be delivered to one
    /// of them once more goes round in circles.
    pub fn delivered_to(&self) -> impl Iterator<Item = &[u8]> {
        self.delivered_to.iter().map(|value| &**value)
    }

    fn step(&mut self, octet: u8) -> State {
        match (self.state, octet) {
            // A folded line with nothing to go on from: it must not become part of a field put before the message.
            (State::LineStart, b' ' | b'\t') if self.on_first_line => self.end(HeaderEnd::NotAField).into(),
            (State::LineStart, b' ' | b'\t') => {
                // A folded line goes on with the value before it (RFC 5322 section 2.2.3).
                self.capture(&[octet]);
                State::Value
            }
            (State::LineStart, _) => {
                self.end_value();
                self.line_start = self.seen;
                self.name_len = 0;
                match octet {
                    b'\n' => self.end(HeaderEnd::EmptyLine).into(),
                    b'\r' => State::EmptyLineCr,
                    b':' => self.end(HeaderEnd::NotAField).into(),
                    _ => self.name_octet(octet),
                }
            }
            (State::EmptyLineCr, b'\n') => self.end(HeaderEnd::EmptyLine).into(),
            (State::Name | State::NameSpace, b':') => self.begin_value(),
            (State::Name | State::NameSpace, b' ' | b'\t') => State::NameSpace,
            (State::Name, _) => self.name_octet(octet),
            (State::NameSpace, _) if self.is_mbox_line() => State::Value,
            _ => self.end(HeaderEnd::NotAField).into(),
        }
    }

    fn name_octet(&mut self, octet: u8) -> State {
        // RFC 5322 section 2.2 has printable US-ASCII here; octets above it are let pass, they are no field we know.
        if octet <= b' ' || octet == 0x7f {
            return self.end(HeaderEnd::NotAField).into();
        }
        if let Some(slot) = self.name.get_mut(self.name_len) {
            *slot = octet;
        }
        self.name_len = self.name_len.saturating_add(1);
        State::Name
    }

    /// A line `From sender date` that a mailbox file left at the top.
    fn is_mbox_line(&self) -> bool {
        self.on_first_line && matches!(self.name.get(..self.name_len), Some(b"From" | b">From"))
    }

    fn begin_value(&mut self) -> State {
        self.on_first_line = false;
        let field = self.name.get(..self.name_len).and_then(Field::named);
        if let Some(field) = field {
            self.counts[field as usize] = self.counts[field as usize].saturating_add(1);
            self.capturing = match field {
                Field::Received => None,
                Field::DeliveredTo if self.delivered_to.len() < DELIVERED_TO_MAX => {
                    Some(Capture::DeliveredTo)
                }
                Field::DeliveredTo => None,
                _ if self.first[field as usize].is_none() => Some(Capture::First(field)),
                _ => None,
            };
        }
        State::Value
    }

    fn skip_value<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (line, rest) = match memchr(b'\n', bytes) {
            Some(at) => {
                self.state = State::LineStart;
                self.on_first_line = false;
                bytes.split_at(at + 1)
            }
            None => (bytes, &[][..]),
        };
        self.seen += line.len() as u64;
        self.capture(line);
        rest
    }

    fn capture(&mut self, bytes: &[u8]) {
        if self.capturing.is_some() {
            let bytes = if self.value.is_empty() { bytes.trim_ascii_start() } else { bytes };
            let room = VALUE_MAX.saturating_sub(self.value.len());
            self.value.extend(bytes.iter().filter(|octet| !matches!(octet, b'\r' | b'\n')).take(room));
        }
    }

    fn end_value(&mut self) {
        let Some(capture) = self.capturing.take() else {
            return;
        };
        let value = Box::from(self.value.trim_ascii_end());
        self.value.clear();
        match capture {
            Capture::First(field) => self.first[field as usize] = Some(value),
            Capture::DeliveredTo => self.delivered_to.push(value),
        }
    }

    fn end(&mut self, end: HeaderEnd) -> HeaderEnd {
        self.end_value();
        self.state = State::Ended(end);
        end
    }
}

impl From<HeaderEnd> for State {
    fn from(end: HeaderEnd) -> State {
        State::Ended(end)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The same header in one piece, octet by octet, and in threes, has to give the same scan.
    fn scan(message: &[u8]) -> HeaderScan {
        let mut scans = [1, 3, message.len().max(1)].map(|size| {
            let mut scan = HeaderScan::new();
            for chunk in message.chunks(size) {
                scan.push(chunk);
            }
            scan.finish();
            scan
        });
        let shown = scans.each_ref().map(|scan| {
            let values =
                [Field::Date, Field::From, Field::Bcc, Field::MessageId].map(|field| scan.value(field));
            (scan.counts, scan.len(), scan.ended(), values, scan.delivered_to().collect::<Vec<_>>())
        });
        assert_eq!(shown[0], shown[2]);
        assert_eq!(shown[1], shown[2]);
        std::mem::take(&mut scans[2])
    }

    #[test]
    fn fields_are_found_whatever_their_case_folding_and_line_ends() {
        for message in [
            "Date: Sat, 21 Nov 2026 09:34:45 +0000\r\nMessage-ID: <a@b>\r\nBcc: x\r\n\r\nbody\r\nFrom: no\r\n",
            "DATE:Sat, 21 Nov 2026 09:34:45 +0000\nmessage-id:\t<a@b>  \nbcc: x\n\nbody\nFrom: no\n",
            "date : Sat, 21 Nov\r\n 2026 09:34:45 +0000\r\nMessage-Id:\r\n <a@b>\r\nBCC:x\r\nDate: second\r\n\r\n",
            "From alice Sat Nov 21\nBcc:x\nX: y\nDate: Sat,\n 21 Nov 2026 09:34:45 +0000\nMESSAGE-ID: <a@b>\n",
        ] {
            let scan = scan(message.as_bytes());
            assert_eq!(scan.value(Field::Date), Some(&b"Sat, 21 Nov 2026 09:34:45 +0000"[..]), "{message}");
            assert_eq!(scan.value(Field::MessageId), Some(&b"<a@b>"[..]), "{message}");
            assert_eq!(scan.value(Field::Bcc), Some(&b"x"[..]), "{message}");
            assert!(!scan.has(Field::From), "{message}");
        }
    }

    #[test]
    fn the_header_ends_where_other_parsers_end_it() {
        for (message, end, len) in [
            ("A: b\r\n\r\nbody", HeaderEnd::EmptyLine, 8),
            ("A: b\n\nbody", HeaderEnd::EmptyLine, 6),
            ("\r\nbody", HeaderEnd::EmptyLine, 2),
            ("", HeaderEnd::EndOfMessage, 0),
            ("A: b\r\n", HeaderEnd::EndOfMessage, 6),
            ("A: b", HeaderEnd::EndOfMessage, 4),
            ("Hello, world\r\nDate: x\r\n\r\n", HeaderEnd::NotAField, 0),
            ("A: b\r\nHello world: x\r\n", HeaderEnd::NotAField, 6),
            ("A: b\r\nno colon\r\n\r\n", HeaderEnd::NotAField, 6),
            ("A: b\r\nnocolon\r\n\r\n", HeaderEnd::NotAField, 6),
            ("A: b\r\n:\r\n\r\n", HeaderEnd::NotAField, 6),
            (" folded\r\nDate: x\r\n\r\n", HeaderEnd::NotAField, 0),
            ("\tfolded", HeaderEnd::NotAField, 0),
            ("A: b\r\n\rx", HeaderEnd::NotAField, 6),
            ("A: b\r\nFrom x\r\n\r\n", HeaderEnd::NotAField, 6),
            ("A: b\r\n \r\nC: d\r\n\r\n", HeaderEnd::EmptyLine, 17),
            (" a: b\r\n\r\n", HeaderEnd::NotAField, 0),
            (">From x y\r\nA: b\r\n\r\n", HeaderEnd::EmptyLine, 19),
            ("A: b\0c\r\r\r\n\r\n", HeaderEnd::EmptyLine, 12),
        ] {
            let scan = scan(message.as_bytes());
            assert_eq!((scan.ended(), scan.len()), (Some(end), len), "{message:?}");
        }
    }

    #[test]
    fn hops_and_earlier_deliveries_are_counted() {
        let message =
            b"Delivered-To: a@x\r\nReceived: by x\r\n\tfor Delivered-To: y\r\nDelivered-To:  b@x\r\n\
            RECEIVED: by y\r\nReceived-SPF: pass\r\n\r\nReceived: by z\r\n";
        let scan = scan(message);
        assert_eq!(scan.count(Field::Received), 2);
        assert_eq!(scan.delivered_to().collect::<Vec<_>>(), [b"a@x", b"b@x"]);
    }

    #[test]
    fn fields_of_one_length_are_told_apart() {
        let scan = scan(b"TLS-required:  No \r\nDelivered-To: a@x\r\nTxs-Required: x\r\n\r\n");
        assert_eq!(scan.value(Field::TlsRequired), Some(&b"No"[..]));
        assert_eq!((scan.count(Field::TlsRequired), scan.delivered_to().count()), (1, 1));
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut scan = HeaderScan::new();
        let long = vec![b'x'; 1 << 16];
        for name in ["Date: ", "Delivered-To: ", " ", "Delivered-To: ", "Long-name-of-a-field"] {
            scan.push(name.as_bytes());
            for _ in 0..16 {
                scan.push(&long);
            }
            scan.push(b":\r\n");
        }
        for _ in 0..1000 {
            scan.push(b"Delivered-To: again@example.org\r\n");
        }
        assert!(scan.push(b"\r\n"));
        assert_eq!(scan.value(Field::Date).unwrap().len(), VALUE_MAX);
        assert_eq!(scan.delivered_to().count(), DELIVERED_TO_MAX);
        assert_eq!(scan.count(Field::DeliveredTo), 1002);
        assert!(scan.value.capacity() <= 2 * VALUE_MAX);
    }
}
