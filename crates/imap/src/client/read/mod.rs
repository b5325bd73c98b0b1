//! Reading what a server says.

mod code;
mod cursor;
mod fetch;
#[cfg(test)]
mod tests;
mod untagged;
mod value;

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use packetboat_wire::{Input, LineEnding};

use self::cursor::Cursor;
use self::fetch::Item;
use crate::command::Section;
use crate::response::{Completion, Status};

pub use value::{Address, Data, Envelope, Fetched, Listing, Namespace, RemoteName, Untagged};

/// Octets of one response at most, sections of messages not counted. A SEARCH that finds a million messages has eight
/// million.
pub const RESPONSE_MAX: usize = 16 * 1024 * 1024;

/// Something a server has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A command is completed.
    Tagged {
        /// Its tag.
        tag: String,
        /// How it ended.
        completion: Completion,
    },
    /// `+`, and what stands behind it.
    Continue(Bytes),
    /// An untagged response other than FETCH.
    Untagged(Untagged),
    /// A section of a message begins: [`Octets`](Read::Octets) follow, then [`SectionEnd`](Read::SectionEnd).
    Section {
        /// Which.
        section: Section,
        /// How many octets.
        octets: u64,
        /// What small items the response has told so far.
        so_far: Box<Fetched>,
    },
    /// Octets of it.
    Octets(Bytes),
    /// That was all of it.
    SectionEnd,
    /// A FETCH response has ended.
    Fetched(Box<Fetched>),
}

/// Takes responses out of what a server sends. Sections of messages pass through as they come; of everything else one
/// response is held, of [`RESPONSE_MAX`] octets.
#[derive(Debug, Default)]
pub struct Reader {
    /// What has come of the response in hand and is not read yet, literals and all.
    held: BytesMut,
    response: Response,
    literal: Option<(Literal, u64)>,
    ready: VecDeque<Read>,
}

/// What the response in hand is.
#[derive(Debug, Default)]
enum Response {
    /// None is begun.
    #[default]
    None,
    /// Held until it is complete.
    Whole,
    /// FETCH, its items so far, and how many parentheses are open.
    Fetch(Box<Fetched>, usize),
    /// Of no use: thrown away.
    Unknown,
}

/// What becomes of a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Literal {
    Held,
    Section,
    ThrownAway,
}

/// Why reading ends: the server speaks something else.
pub type Violation = &'static str;

impl Reader {
    /// Nothing read yet.
    pub fn new() -> Reader {
        Reader::default()
    }

    /// The next thing; `None` if it has not come yet.
    pub fn next(&mut self, input: &mut Input) -> Result<Option<Read>, Violation> {
        loop {
            if let Some(read) = self.ready.pop_front() {
                return Ok(Some(read));
            }
            let Some((literal, left)) = &mut self.literal else {
                let room = RESPONSE_MAX.saturating_sub(self.held.len());
                let line = input
                    .take_line(room, LineEnding::CrlfOrLf)
                    .map_err(|_| "a response that is too long or has a stray carriage return")?;
                match line {
                    Some(line) => self.line(&line)?,
                    None => return Ok(None),
                }
                continue;
            };
            let kind = *literal;
            if *left > 0 {
                if input.is_empty() {
                    return Ok(None);
                }
                let octets = input.take(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= octets.len() as u64;
                match kind {
                    Literal::Held => self.held.extend_from_slice(&octets),
                    Literal::Section => self.ready.push_back(Read::Octets(octets)),
                    Literal::ThrownAway => {}
                }
                continue;
            }
            self.literal = None;
            if kind == Literal::Section {
                self.ready.push_back(Read::SectionEnd);
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Violation> {
        match &mut self.response {
            Response::None => self.first_line(line),
            Response::Whole => self.whole(line),
            Response::Fetch(_, depth) => {
                follow(line, depth);
                self.fetch(line)
            }
            Response::Unknown => self.unknown(line),
        }
    }

    fn first_line(&mut self, line: &[u8]) -> Result<(), Violation> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        if let Some(text) = line.strip_prefix(b"+") {
            let text = Bytes::copy_from_slice(text.trim_ascii());
            self.ready.push_back(Read::Continue(text));
            return Ok(());
        }
        let mut cursor = Cursor::new(line);
        let (Some(tag), Some(())) = (cursor.word(), cursor.space()) else {
            return Err("a line that is no response");
        };
        if tag != b"*" {
            let status = cursor.word().and_then(code::status).ok_or("a line that is no response")?;
            let tag = String::from_utf8_lossy(tag).into_owned();
            self.ready.push_back(Read::Tagged { tag, completion: code::completion(status, cursor.rest) });
            return Ok(());
        }
        let response = cursor;
        let word = cursor.word().ok_or("a line that is no response")?;
        let condition = |status| code::completion(status, cursor.rest);
        let untagged = match word.to_ascii_uppercase().as_slice() {
            b"BYE" => Untagged::Bye(condition(Status::Ok)),
            b"PREAUTH" => Untagged::PreAuth(condition(Status::Ok)),
            word => match code::status(word) {
                Some(status) => Untagged::Condition(condition(status)),
                None => return self.data(word, cursor, response.rest),
            },
        };
        self.ready.push_back(Read::Untagged(untagged));
        Ok(())
    }

    /// A response that is no condition.
    fn data(&mut self, word: &[u8], mut cursor: Cursor<'_>, response: &[u8]) -> Result<(), Violation> {
        let number: Option<u32> = Cursor::new(word).number();
        let _ = cursor.space();
        let mut ahead = cursor;
        let kind = ahead.word().unwrap_or_default().to_ascii_uppercase();
        match (number, kind.as_slice()) {
            (Some(number), b"FETCH" | b"UIDFETCH") => {
                let (Some(()), Some(())) = (ahead.space(), ahead.eat("(")) else {
                    return Err("a FETCH response that is none");
                };
                let mut depth = 1;
                follow(ahead.rest, &mut depth);
                let mut fetched = Fetched { number, ..Fetched::default() };
                fetched.uid = (kind == b"UIDFETCH").then_some(number);
                self.response = Response::Fetch(Box::new(fetched), depth);
                self.fetch(ahead.rest)
            }
            (Some(_), b"EXISTS" | b"RECENT" | b"EXPUNGE") => self.whole(response),
            _ if untagged::is_known(word) => self.whole(response),
            _ => {
                self.ready.push_back(Read::Untagged(Untagged::Other(code::printable(response))));
                self.unknown(response)
            }
        }
    }

    fn whole(&mut self, line: &[u8]) -> Result<(), Violation> {
        self.held.extend_from_slice(line);
        if let Some(octets) = announced(line) {
            self.response = Response::Whole;
            return self.hold(octets);
        }
        let held = std::mem::take(&mut self.held);
        self.response = Response::None;
        let untagged = untagged::parse(&held).unwrap_or_else(|| Untagged::Other(code::printable(&held)));
        self.ready.push_back(Read::Untagged(untagged));
        Ok(())
    }

    fn unknown(&mut self, line: &[u8]) -> Result<(), Violation> {
        match announced(line) {
            Some(octets) => {
                self.response = Response::Unknown;
                self.literal = Some((Literal::ThrownAway, octets));
            }
            None => self.response = Response::None,
        }
        Ok(())
    }

    /// Keeps a literal, and the line that announced it.
    fn hold(&mut self, octets: u64) -> Result<(), Violation> {
        let room = RESPONSE_MAX.saturating_sub(self.held.len() + 2);
        if octets > room as u64 {
            return Err("a response that is too long");
        }
        self.held.extend_from_slice(b"\r\n");
        self.literal = Some((Literal::Held, octets));
        Ok(())
    }

    fn fetch(&mut self, line: &[u8]) -> Result<(), Violation> {
        let Response::Fetch(fetched, depth) = &mut self.response else { return Ok(()) };
        self.held.extend_from_slice(line);
        let announced = announced(line);
        // Inside of an item nothing can be read yet, and trying it over and over would cost a server nothing.
        if announced.is_some() && *depth != 1 {
            return self.hold(announced.unwrap_or_default());
        }
        let mut cursor = Cursor::new(&self.held);
        let mut comes = None;
        loop {
            let _ = cursor.space();
            let mut ahead = cursor;
            match fetch::item(&mut ahead, fetched) {
                None => break,
                Some(Item::Taken) => {}
                Some(Item::Here(section, octets)) => {
                    if let Some(octets) = &octets {
                        let mut section = section.clone();
                        let length = octets.len() as u64;
                        if let Some((_, partial)) = &mut section.partial {
                            *partial = length;
                        }
                        let so_far = Box::new(so_far(fetched));
                        self.ready.push_back(Read::Section { section, octets: length, so_far });
                        if length > 0 {
                            self.ready.push_back(Read::Octets(Bytes::copy_from_slice(octets)));
                        }
                        self.ready.push_back(Read::SectionEnd);
                    }
                    fetch::note(fetched, section, octets.map(|octets| octets.len() as u64));
                }
                Some(Item::Comes(section, octets)) => {
                    comes = Some((section, octets));
                    break;
                }
            }
            cursor = ahead;
        }
        if let Some((mut section, octets)) = comes {
            if let Some((_, length)) = &mut section.partial {
                *length = octets;
            }
            let so_far = Box::new(so_far(fetched));
            fetch::note(fetched, section.clone(), Some(octets));
            self.ready.push_back(Read::Section { section, octets, so_far });
            self.held.clear();
            self.literal = Some((Literal::Section, octets));
            return Ok(());
        }
        if let Some(octets) = announced {
            let read = self.held.len() - cursor.rest.len();
            self.held.advance(read);
            return self.hold(octets);
        }
        if cursor.rest.trim_ascii_end() != b")" {
            return Err("a FETCH response that cannot be read");
        }
        self.held = BytesMut::new();
        if let Response::Fetch(fetched, _) = std::mem::take(&mut self.response) {
            self.ready.push_back(Read::Fetched(fetched));
        }
        Ok(())
    }
}

/// The small items of a response.
fn so_far(fetched: &mut Fetched) -> Fetched {
    let large = (
        std::mem::take(&mut fetched.sections),
        std::mem::take(&mut fetched.binary_sizes),
        fetched.envelope.take(),
        fetched.body.take(),
        fetched.body_structure.take(),
    );
    let small = fetched.clone();
    (fetched.sections, fetched.binary_sizes, fetched.envelope, fetched.body, fetched.body_structure) = large;
    small
}

/// How long the literal is that a line announces at its end.
fn announced(line: &[u8]) -> Option<u64> {
    let begin = memchr::memrchr(b'{', line.strip_suffix(b"}")?)?;
    Cursor::new(line.get(begin..)?).announced()
}

/// Counts parentheses outside of quotes. What is between quotes does not go over the end of a line.
fn follow(line: &[u8], depth: &mut usize) {
    let mut quoted = false;
    let mut escaped = false;
    for octet in line {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'(' if !quoted => *depth += 1,
            b')' if !quoted => *depth = depth.saturating_sub(1),
            _ => {}
        }
    }
}
