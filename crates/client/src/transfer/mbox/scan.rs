//! Taking an mbox file apart. Whatever its lines are, a piece of one and a header's few fields are held at most.

use std::io::{self, BufRead};
use std::sync::Arc;

use crate::transfer::{ANSWERED, DELETED, DRAFT, FLAGGED, SEEN};

/// Octets of a line held at most; what is longer comes in pieces.
const LINE_MAX: usize = 64 * 1024;
/// Keywords of a message at most.
const KEYWORDS_MAX: usize = 100;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A message begins; its `From ` line is in [`Scan::out`].
    Begin,
    /// Octets of it are in [`Scan::out`].
    Octets,
    /// It has ended; [`Scan::facts`] tells of it.
    End,
    /// This is no mbox.
    Nothing,
}

/// What an mbox says of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) at: u64,
    pub(super) received_at: Option<i64>,
    pub(super) flags: u8,
    pub(super) uid: Option<u32>,
    pub(super) keywords: Vec<Arc<str>>,
    /// UIDVALIDITY and UIDNEXT, which stand in the first message.
    pub(super) base: Option<(u32, u32)>,
    /// It is no message, but what a mail program remembers of the file.
    pub(super) internal: bool,
}

#[derive(Debug)]
pub(super) struct Scan<R> {
    reader: R,
    /// Where the next line begins.
    at: u64,
    line: Vec<u8>,
    /// The line in hand is a whole one, or the first piece of one.
    starts: bool,
    state: State,
    /// An empty line that may stand before a `From ` line.
    held: Vec<u8>,
    /// The line before was empty.
    after_empty: bool,
    /// A header field that is left out goes on.
    dropping: bool,
    pub(super) out: Vec<u8>,
    facts: Facts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Before,
    /// The `From ` line in hand begins the next message.
    Next,
    Header,
    Body,
    Over,
}

impl<R: BufRead> Scan<R> {
    /// `at` is where the reader stands.
    pub(super) fn new(reader: R, at: u64) -> Scan<R> {
        Scan {
            reader,
            at,
            line: Vec::new(),
            starts: true,
            state: State::Before,
            held: Vec::new(),
            after_empty: false,
            dropping: false,
            out: Vec::new(),
            facts: Facts::default(),
        }
    }

    pub(super) fn facts(&mut self) -> &mut Facts {
        &mut self.facts
    }

    /// Reads the next line, or a piece of it. Gives where it began; nothing at the end.
    fn read_line(&mut self) -> io::Result<Option<u64>> {
        self.starts = self.line.is_empty() || self.line.ends_with(b"\n");
        self.line.clear();
        let at = self.at;
        while self.line.len() < LINE_MAX {
            let buffer = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            let room = buffer.len().min(LINE_MAX - self.line.len());
            let buffer = buffer.get(..room).unwrap_or_default();
            if buffer.is_empty() {
                break;
            }
            let end = memchr::memchr(b'\n', buffer).map_or(buffer.len(), |at| at + 1);
            let piece = buffer.get(..end).unwrap_or_default();
            self.line.extend_from_slice(piece);
            let used = piece.len();
            self.reader.consume(used);
            self.at += used as u64;
            if self.line.ends_with(b"\n") {
                break;
            }
        }
        Ok((!self.line.is_empty()).then_some(at))
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        self.out.clear();
        loop {
            match self.state {
                State::Over => return Ok(None),
                State::Before => {
                    let Some(at) = self.read_line()? else {
                        self.state = State::Over;
                        return Ok(None);
                    };
                    if !self.line.starts_with(b"From ") {
                        self.state = State::Over;
                        return Ok(Some(Found::Nothing));
                    }
                    return Ok(Some(self.begin(at)));
                }
                State::Next => {
                    let at = self.at - self.line.len() as u64;
                    return Ok(Some(self.begin(at)));
                }
                State::Header | State::Body => {
                    if self.read_line()?.is_none() {
                        self.state = State::Over;
                        return Ok(Some(Found::End));
                    }
                    if self.is_separator() {
                        self.held.clear();
                        self.state = State::Next;
                        return Ok(Some(Found::End));
                    }
                    self.take_line();
                    if !self.out.is_empty() {
                        return Ok(Some(Found::Octets));
                    }
                }
            }
        }
    }

    fn begin(&mut self, at: u64) -> Found {
        self.facts = Facts { at, received_at: date(&self.line), ..Facts::default() };
        self.out.clear();
        self.out.extend_from_slice(&self.line);
        self.state = State::Header;
        self.held.clear();
        self.dropping = false;
        Found::Begin
    }

    /// Whether the line in hand begins another message: behind an empty line, or where no body has begun, and with a
    /// date, because not everybody quotes.
    fn is_separator(&self) -> bool {
        let possible = self.state == State::Header || self.after_empty;
        self.starts && possible && self.line.starts_with(b"From ") && date(&self.line).is_some()
    }

    fn take_line(&mut self) {
        let empty = self.starts && matches!(self.line.as_slice(), b"\n" | b"\r\n");
        self.after_empty = empty;
        let quotes = self.line.iter().take_while(|octet| **octet == b'>').count();
        let quoted = self.starts
            && quotes > 0
            && self.line.get(quotes..).is_some_and(|rest| rest.starts_with(b"From "));
        let line = self.line.get(usize::from(quoted)..).unwrap_or_default();
        if self.state == State::Header {
            if empty {
                self.state = State::Body;
                self.out.extend_from_slice(&self.line);
                return;
            }
            // A folded line belongs to the one before.
            if self.starts && !self.line.starts_with(b" ") && !self.line.starts_with(b"\t") {
                self.dropping = field(&self.line, &mut self.facts);
            }
            if !self.dropping {
                self.out.extend_from_slice(line);
            }
            return;
        }
        self.out.append(&mut self.held);
        if empty {
            self.held.extend_from_slice(&self.line);
            return;
        }
        self.out.extend_from_slice(line);
    }
}

/// Takes what a field says of the message; whether it is left out.
fn field(line: &[u8], facts: &mut Facts) -> bool {
    let Some(colon) = memchr::memchr(b':', line) else { return false };
    let (name, value) = line.split_at(colon);
    let value = String::from_utf8_lossy(value.get(1..).unwrap_or_default());
    let value = value.trim();
    match name.to_ascii_lowercase().as_slice() {
        b"status" => facts.flags |= bits(value, &[('R', SEEN)]),
        b"x-status" => {
            facts.flags |= bits(value, &[('A', ANSWERED), ('F', FLAGGED), ('D', DELETED), ('T', DRAFT)]);
        }
        b"x-uid" => facts.uid = value.parse().ok().filter(|uid| *uid > 0),
        b"x-keywords" => {
            let room = KEYWORDS_MAX.saturating_sub(facts.keywords.len());
            for word in value.split_ascii_whitespace().take(room) {
                facts.keywords.push(word.into());
            }
        }
        b"x-imapbase" | b"x-imap" => {
            let mut words = value.split_ascii_whitespace();
            let mut number = || words.next()?.parse::<u32>().ok();
            facts.base = number()
                .filter(|validity| *validity > 0)
                .and_then(|validity| Some((validity, number()?.saturating_add(1))));
        }
        b"subject" => {
            // The first entry of files that Pine and its relatives keep.
            facts.internal |= value.starts_with("DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA");
            return false;
        }
        _ => return false,
    }
    true
}

fn bits(value: &str, letters: &[(char, u8)]) -> u8 {
    letters.iter().filter(|(letter, _)| value.contains(*letter)).map(|(_, bit)| bit).sum()
}

/// The date in a `From ` line: `From alice@example.org Thu Jan  1 00:00:00 1970`, a zone before or behind the year.
/// Microseconds since 1970; without a zone it is UTC (RFC 4155).
pub(super) fn date(line: &[u8]) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = std::str::from_utf8(line.get(..line.len().min(1000))?).ok()?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    // The sender may have spaces in it: the date is the last thing that looks like one.
    let clock = words.iter().rposition(|word| word.contains(':'))?;
    let mut parts = words.get(clock)?.split(':').map(str::parse::<i8>);
    let hour = parts.next()?.ok()?;
    let minute = parts.next()?.ok()?;
    let second = parts.next().unwrap_or(Ok(0)).ok()?;
    let day = words.get(clock.checked_sub(1)?)?.parse::<i8>().ok()?;
    let month = *words.get(clock.checked_sub(2)?)?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let (mut year, mut offset) = (None, 0);
    for word in words.get(clock + 1..)? {
        match word.parse::<i16>() {
            Ok(number) if word.len() == 4 && !word.starts_with(['+', '-']) => year = year.or(Some(number)),
            Ok(zone) if word.len() == 5 => offset = i64::from(zone / 100) * 3600 + i64::from(zone % 100) * 60,
            _ => {}
        }
    }
    let at =
        jiff::civil::DateTime::new(year?, i8::try_from(month).ok()?, day, hour, minute, second.min(59), 0);
    let at = at.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(at.timestamp().as_microsecond() - offset * 1_000_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// All messages of a text: what is imported of each.
    fn messages(text: &[u8], capacity: usize) -> Vec<(String, Facts)> {
        let mut scan = Scan::new(io::BufReader::with_capacity(capacity, text), 0);
        let (mut all, mut text) = (Vec::new(), Vec::new());
        while let Some(found) = scan.next().unwrap() {
            match found {
                Found::Begin => text.clear(),
                Found::Octets => text.extend_from_slice(&scan.out),
                Found::End => all.push((String::from_utf8_lossy(&text).into_owned(), scan.facts().clone())),
                Found::Nothing => panic!("no mbox"),
            }
        }
        all
    }

    #[test]
    fn messages_are_told_apart() {
        let from = "From a@b Thu Jan  1 00:00:00 1970\n";
        for (text, wanted) in [
            (format!("{from}A: b\n\nbody\n"), vec!["A: b\n\nbody\n"]),
            (format!("{from}A: b\n\nbody\n\n{from}C: d\n\n\n\n"), vec!["A: b\n\nbody\n", "C: d\n\n\n"]),
            // An empty body, and no line more.
            (format!("{from}A: b\n\n{from}A: c\n\n"), vec!["A: b\n\n", "A: c\n\n"]),
            // Quoted as mboxrd does, and not behind an empty line.
            (
                format!("{from}\n\n>From x\n>>From y\n{from}"),
                vec!["\n\nFrom x\n>From y\nFrom a@b Thu Jan  1 00:00:00 1970\n"],
            ),
            // Not quoted, but without a date.
            (format!("{from}A: b\n\nx\n\nFrom here on\n"), vec!["A: b\n\nx\n\nFrom here on\n"]),
            // A header without a body, and one without anything.
            (format!("{from}A: b\n{from}{from}A: c\n"), vec!["A: b\n", "", "A: c\n"]),
            (format!("{from}Status: RO\nX-Keywords: a\n b\nA: b\n c\n\n"), vec!["A: b\n c\n\n"]),
            (format!("{from}A: b\r\n\r\nx\r\n\r\n{from}"), vec!["A: b\r\n\r\nx\r\n", ""]),
            (format!("{from}A: b\n\nno end"), vec!["A: b\n\nno end"]),
        ] {
            for capacity in [1, 3, 7, 1000] {
                let found: Vec<String> =
                    messages(text.as_bytes(), capacity).into_iter().map(|(text, _)| text).collect();
                assert_eq!(found, wanted, "{text:?}");
            }
        }
    }

    #[test]
    fn a_line_without_end_is_held_in_pieces() {
        let text = [b"From a Thu Jan  1 00:00:00 1970\n\n".to_vec(), vec![b'x'; 300_000]].concat();
        let mut scan = Scan::new(io::BufReader::new(text.as_slice()), 0);
        let mut octets = 0;
        while scan.next().unwrap().is_some_and(|found| found != Found::End) {
            assert!(scan.out.len() <= LINE_MAX);
            octets += scan.out.len();
        }
        assert!(octets > 300_000);
    }

    #[test]
    fn dates_of_many_programs() {
        for (line, seconds) in [
            ("From alice@example.org Thu Jan  1 00:00:10 1970\n", Some(10)),
            ("From MAILER-DAEMON Fri Jul  8 12:08:34 2011\n", Some(1_310_126_914)),
            ("From - Fri Jul 08 12:08:34 2011\r\n", Some(1_310_126_914)),
            ("From a b c Fri Jul  8 12:08 2011", Some(1_310_126_880)),
            ("From x Fri Jul  8 12:08:34 +0200 2011", Some(1_310_126_914 - 7200)),
            ("From x Fri Jul  8 12:08:34 2011 -0130", Some(1_310_126_914 + 5400)),
            ("From x Fri Jul  8 12:08:34 MET DST 2011", Some(1_310_126_914)),
            ("From x Sat Dec 31 23:59:60 2016", Some(1_483_228_799)),
            ("From here to 12:30 there", None),
            ("From x Fri Feb 30 12:08:34 2011", None),
            ("From x Fri Jul  8 12:08:34", None),
            ("From ", None),
        ] {
            assert_eq!(date(line.as_bytes()).map(|at| at / 1_000_000), seconds, "{line}");
        }
    }

    #[test]
    fn what_the_header_says_of_the_message() {
        let text = b"From a Thu Jan  1 00:00:00 1970\nStatus: RO\nx-status: AFDT\nX-UID: 12\n\
            X-Keywords: $Forwarded  Junk\nX-IMAPbase: 77 0000000009 Junk\n\n";
        let (text, facts) = messages(text, 50).remove(0);
        assert_eq!(text, "\n");
        assert_eq!((facts.flags, facts.uid, facts.base), (31, Some(12), Some((77, 10))));
        assert_eq!(facts.keywords, ["$Forwarded".into(), "Junk".into()]);
        let text = b"From a Thu Jan  1 00:00:00 1970\nX-IMAP: 5 6\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\nx\n";
        assert!(messages(text, 50).remove(0).1.internal);
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(octets: Vec<u8>) {
            let text = [b"From a Thu Jan  1 00:00:00 1970\n", octets.as_slice()].concat();
            messages(&text, 5);
            date(&octets);
        }
    }

    #[test]
    fn so_many_keywords_and_no_more_are_kept_of_a_message() {
        let line = format!("X-Keywords:{}\n", " word".repeat(60));
        let text = format!("From a@b Mon Jan  1 09:00:00 2024\n{}\nx\n", line.repeat(50));
        let all = messages(text.as_bytes(), 100);
        assert_eq!(all[0].1.keywords.len(), KEYWORDS_MAX);
    }
}
