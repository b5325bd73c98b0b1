//! Messages shaped like those of the real world, made up anew each time and always the same.
//!
//! They are for whatever carries mail: what goes in has to come out, octet by octet. Each [`Message`] knows how it may
//! travel ([`Carriage`]) and what it needs on the way. None of them is anybody's mail; names and addresses are those
//! reserved for examples.

mod attachments;
mod broken;
mod build;
mod charsets;
mod headers;
mod octets;
mod plain;
mod programs;
mod samples;
mod structure;
mod torture;

use std::borrow::Cow;

use build::Shelf;

/// A message, in the very octets it has on the wire and on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What is special about it: unique, and fit for a file name.
    pub name: String,
    /// All of it.
    pub octets: Vec<u8>,
}

/// How a message may travel by SMTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriage {
    /// By DATA or BDAT: lines end in CRLF, the last one too, and none is longer than 1000 octets with it (RFC 5321
    /// section 4.5.3.1.6).
    Data,
    /// By DATA only where a server takes lines that are too long, by BDAT with BINARYMIME anywhere.
    LongLines,
    /// By BDAT with BINARYMIME only: there are NULs, a CR or LF without the other, or no CRLF at the end.
    Binary,
}

impl Message {
    /// How it may travel.
    pub fn carriage(&self) -> Carriage {
        let text = self.octets.as_slice();
        let bare = text.iter().enumerate().any(|(at, octet)| match octet {
            b'\r' => text.get(at + 1) != Some(&b'\n'),
            b'\n' => at == 0 || text.get(at - 1) != Some(&b'\r'),
            octet => *octet == 0,
        });
        let ended = text.is_empty() || text.ends_with(b"\r\n");
        if bare || !ended {
            Carriage::Binary
        } else if text.split(|octet| *octet == b'\n').any(|line| line.len() >= 1000) {
            Carriage::LongLines
        } else {
            Carriage::Data
        }
    }

    /// Whether there is more than ASCII in it, so that it needs BODY=8BITMIME (RFC 6152).
    pub fn has_8bit(&self) -> bool {
        !self.octets.is_ascii()
    }

    /// Whether there is more than ASCII in its header. If that is UTF-8 it needs SMTPUTF8 (RFC 6531); if it is not,
    /// nothing allows it, and it comes all the same.
    pub fn has_8bit_header(&self) -> bool {
        let end = self.octets.windows(4).position(|octets| octets == b"\r\n\r\n");
        !self.octets.get(..end.unwrap_or(self.octets.len())).unwrap_or_default().is_ascii()
    }

    /// How many Received fields it has. A server takes a message with a hundred for one that runs in a circle (RFC 5321
    /// section 6.3).
    pub fn hops(&self) -> usize {
        let end = self.octets.windows(4).position(|octets| octets == b"\r\n\r\n");
        let header = self.octets.get(..end.unwrap_or(self.octets.len())).unwrap_or_default();
        header.split(|octet| *octet == b'\n').filter(|line| line.starts_with(b"Received:")).count()
    }

    /// What a POP3 client gets of these octets: a CRLF comes in addition where they end without one, for the end mark
    /// needs it (RFC 1939 section 3).
    pub fn as_retrieved(&self) -> Cow<'_, [u8]> {
        if self.octets.is_empty() || self.octets.ends_with(b"\r\n") {
            Cow::Borrowed(&self.octets)
        } else {
            Cow::Owned([&self.octets, &b"\r\n"[..]].concat())
        }
    }
}

/// All messages, in a fixed order.
pub fn messages() -> Vec<Message> {
    let mut shelf = Shelf::default();
    plain::fill(&mut shelf);
    headers::fill(&mut shelf);
    charsets::fill(&mut shelf);
    structure::fill(&mut shelf);
    broken::fill(&mut shelf);
    attachments::fill(&mut shelf);
    programs::fill(&mut shelf);
    torture::fill(&mut shelf);
    octets::fill(&mut shelf);
    shelf.messages
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_enough_of_each_kind() {
        let messages = messages();
        let count = |test: &dyn Fn(&Message) -> bool| messages.iter().filter(|message| test(message)).count();
        assert!(messages.len() >= 300, "{} messages", messages.len());
        assert!(count(&|message| message.carriage() == Carriage::Data) >= 250);
        assert!(count(&|message| message.carriage() == Carriage::LongLines) >= 5);
        assert!(count(&|message| message.carriage() == Carriage::Binary) >= 20);
        assert!(count(&Message::has_8bit) >= 50);
        assert!(count(&Message::has_8bit_header) >= 30);
        assert!(count(&|message| message.octets.starts_with(b".")) >= 5);
        assert_eq!(count(&|message| message.hops() >= 100), 2);
        let octets: usize = messages.iter().map(|message| message.octets.len()).sum();
        assert!(octets < 32 << 20, "{octets} octets slow every test down");
    }

    #[test]
    fn names_are_unique_and_fit_for_files() {
        let mut names = HashSet::new();
        for message in messages() {
            let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(message.name.chars().all(fit), "{}", message.name);
            assert!(names.insert(message.name.clone()), "{} twice", message.name);
        }
    }

    #[test]
    fn no_two_are_the_same_and_each_time_they_are() {
        let messages = messages();
        let mut seen = HashSet::new();
        for message in &messages {
            assert!(seen.insert(&message.octets), "{} is one of the others", message.name);
        }
        assert_eq!(messages, super::messages());
    }

    #[test]
    fn carriage() {
        let of = |octets: &[u8]| Message { name: String::new(), octets: octets.to_vec() }.carriage();
        assert_eq!(of(b""), Carriage::Data);
        assert_eq!(of(b"a\r\n"), Carriage::Data);
        assert_eq!(of(b"a"), Carriage::Binary);
        assert_eq!(of(b"a\n"), Carriage::Binary);
        assert_eq!(of(b"a\rb\r\n"), Carriage::Binary);
        assert_eq!(of(b"a\0b\r\n"), Carriage::Binary);
        assert_eq!(of(&[&[b'x'; 998][..], b"\r\n"].concat()), Carriage::Data);
        assert_eq!(of(&[&[b'x'; 999][..], b"\r\n"].concat()), Carriage::LongLines);
    }
}
