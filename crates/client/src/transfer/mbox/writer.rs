//! Writing mbox files.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::transfer::maildir::{Draft, Facts};
use crate::transfer::{ANSWERED, DELETED, DRAFT, FLAGGED, SEEN};

/// Writes a directory of mbox files in the form `mboxrd`, one for each mailbox.
#[derive(Debug)]
pub struct Writer {
    root: PathBuf,
}

/// A mailbox being written.
#[derive(Debug)]
pub(crate) struct Folder {
    out: BufWriter<File>,
    /// UIDVALIDITY and UIDNEXT, until the first message has told them.
    base: Option<(u32, u32)>,
}

impl Writer {
    /// Into this directory, which is made if it is not there and must be empty.
    ///
    /// # Errors
    /// When there is something in it, or it cannot be made.
    pub fn new(root: &Path) -> io::Result<Writer> {
        fs::create_dir_all(root)?;
        if fs::read_dir(root)?.next().is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something in it already"));
        }
        Ok(Writer { root: root.to_owned() })
    }

    /// Begins a mailbox: `Sent/2024` is the file `Sent/2024.mbox`.
    pub(crate) fn folder(&mut self, name: &str, uid_validity: u32, uid_next: u32) -> io::Result<Folder> {
        // What would lead somewhere else, or be passed over, cannot be a file's name.
        let level =
            |level: &str| if level.starts_with('.') { level.replacen('.', "_", 1) } else { level.to_owned() };
        let levels: Vec<String> = name.split('/').map(level).collect();
        let path = self.root.join(levels.join("/") + ".mbox");
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = File::create_new(path)?;
        Ok(Folder { out: BufWriter::new(file), base: Some((uid_validity, uid_next)) })
    }
}

impl Folder {
    /// Writes a message.
    pub(crate) fn add(&mut self, facts: &Facts<'_>, draft: Draft) -> io::Result<()> {
        let at = jiff::Timestamp::from_microsecond(facts.received_at).unwrap_or_default();
        let at = at.to_zoned(jiff::tz::TimeZone::UTC);
        let (day, month, rest) = (at.strftime("%a"), at.strftime("%b"), at.strftime("%e %H:%M:%S %Y"));
        writeln!(self.out, "From MAILER-DAEMON {day} {month} {rest}")?;
        if let Some((validity, next)) = self.base.take() {
            writeln!(self.out, "X-IMAPbase: {validity} {:010}", next.saturating_sub(1))?;
        }
        writeln!(self.out, "X-UID: {}", facts.uid)?;
        let seen = if facts.flags & SEEN != 0 { "R" } else { "" };
        writeln!(self.out, "Status: {seen}O")?;
        let letter_of = [(ANSWERED, 'A'), (FLAGGED, 'F'), (DELETED, 'D'), (DRAFT, 'T')];
        let letters: String =
            letter_of.iter().filter(|(bit, _)| facts.flags & bit != 0).map(|(_, letter)| letter).collect();
        if !letters.is_empty() {
            writeln!(self.out, "X-Status: {letters}")?;
        }
        if !facts.keywords.is_empty() {
            writeln!(self.out, "X-Keywords: {}", facts.keywords.join(" "))?;
        }
        let mut quoting = Quoting::new(&mut self.out);
        draft.write(&mut quoting)?;
        quoting.finish()?;
        writeln!(self.out)
    }

    /// The mailbox is complete.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Puts `>` before lines that look like the beginning of a message, quoted or not, so that it can be taken away again.
struct Quoting<'a, W> {
    out: &'a mut W,
    /// The beginning of a line that may be one of those.
    start: Vec<u8>,
    /// The line is not.
    decided: bool,
    ends: bool,
}

impl<'a, W: io::Write> Quoting<'a, W> {
    fn new(out: &'a mut W) -> Quoting<'a, W> {
        Quoting { out, start: Vec::new(), decided: false, ends: true }
    }

    fn finish(mut self) -> io::Result<()> {
        self.decide()?;
        // A file's lines have ends.
        if self.ends { Ok(()) } else { self.out.write_all(b"\n") }
    }

    fn decide(&mut self) -> io::Result<()> {
        let quotes = self.start.iter().take_while(|octet| **octet == b'>').count();
        if self.start.get(quotes..) == Some(b"From ".as_slice()) {
            self.out.write_all(b">")?;
        }
        self.out.write_all(&self.start)?;
        self.start.clear();
        self.decided = true;
        Ok(())
    }
}

impl<W: io::Write> io::Write for Quoting<'_, W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut rest = octets;
        while let Some(first) = rest.first() {
            if self.decided {
                let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                let (line, after) = rest.split_at(end);
                self.out.write_all(line)?;
                self.ends = line.ends_with(b"\n");
                self.decided = !self.ends;
                rest = after;
                continue;
            }
            const FROM: &[u8] = b"From ";
            let quotes = self.start.iter().take_while(|octet| **octet == b'>').count();
            let place = self.start.len() - quotes;
            let fits = FROM.get(place) == Some(first) || (place == 0 && *first == b'>');
            self.ends = false;
            // Who quotes that deep is not answered.
            if !fits || self.start.len() > 4096 {
                self.decide()?;
                continue;
            }
            self.start.push(*first);
            rest = rest.get(1..).unwrap_or_default();
            if place + 1 == FROM.len() {
                self.decide()?;
            }
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_looks_like_a_beginning_is_quoted() {
        for (text, quoted) in [
            ("From x\n", ">From x\n"),
            (">From x\nFro\nFrom", ">>From x\nFro\nFrom\n"),
            ("a\n>>From \nb\n", "a\n>>>From \nb\n"),
            (">x\n>\n> From\n", ">x\n>\n> From\n"),
            ("", ""),
            ("\n\nFrom\n", "\n\nFrom\n"),
            ("no end", "no end\n"),
        ] {
            for piece in 1..9 {
                let mut out = Vec::new();
                let mut quoting = Quoting::new(&mut out);
                text.as_bytes().chunks(piece).for_each(|piece| quoting.write_all(piece).unwrap());
                quoting.finish().unwrap();
                assert_eq!(String::from_utf8(out).unwrap(), quoted, "{text:?}");
            }
        }
    }
}
