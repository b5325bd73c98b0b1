//! Reading what the server says.

use packetboat_wire::{DotReader, DotStep, LineEnding};

use super::{Capabilities, Client, Error, Event, Preparation, Reading, Refused, State, TlsPolicy};
use crate::{Command, ResponseCode, SASL_LINE_MAX, apop};

/// Octets of a line in a listing at most. RFC 2449 allows 512; unique-ids and lists of mechanisms have been longer.
const LISTING_LINE_MAX: usize = 4096;

/// A first line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// `+OK`, and the text behind it.
    Ok(String),
    Err(Refused),
    /// `+`, and what stands behind it.
    Challenge(String),
}

impl Status {
    fn parse(line: &[u8]) -> Option<Status> {
        let line = String::from_utf8_lossy(line);
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        if word.eq_ignore_ascii_case("+OK") {
            return Some(Status::Ok(rest.to_owned()));
        }
        if word.eq_ignore_ascii_case("-ERR") {
            let (code, text) = ResponseCode::parse(rest);
            return Some(Status::Err(Refused { code, text: printable(text) }));
        }
        (word == "+").then(|| Status::Challenge(rest.to_owned()))
    }
}

impl Client {
    /// Takes one step through the input; whether there was enough for one.
    pub(super) fn advance(&mut self) -> bool {
        if matches!(self.state, State::Handshake | State::Closed) {
            return false;
        }
        let Reading::Text(reader) = &mut self.reading else {
            return self.advance_line();
        };
        match reader.next(&mut self.input) {
            DotStep::Chunk(chunk) => self.events.push_back(Event::Text(chunk)),
            DotStep::End => self.finish(),
            DotStep::More => return false,
        }
        true
    }

    fn advance_line(&mut self) -> bool {
        let max = match self.reading {
            Reading::Listing => LISTING_LINE_MAX,
            _ => SASL_LINE_MAX,
        };
        let line = match self.input.take_line(max, LineEnding::CrlfOrLf) {
            Ok(Some(line)) => line,
            Ok(None) => return false,
            Err(_) => {
                self.fail(Error::Protocol("a line that is too long or has a stray carriage return"));
                return true;
            }
        };
        match self.reading {
            Reading::Listing => self.listing_line(&line),
            _ => self.status_line(&line),
        }
        true
    }

    fn status_line(&mut self, line: &[u8]) {
        let Some(status) = Status::parse(line) else {
            return self.fail(Error::Protocol("a reply that is neither +OK nor -ERR"));
        };
        match self.state {
            State::Greeting => self.greeted(status, &String::from_utf8_lossy(line)),
            State::Preparing(preparation) => self.prepared(preparation, status),
            State::LoggingIn(_) => {
                if let State::LoggingIn(login) = std::mem::replace(&mut self.state, State::Closed) {
                    self.login_answered(login, status);
                }
            }
            State::Ready => self.request_answered(status),
            State::Handshake | State::Closed => {}
        }
    }

    fn greeted(&mut self, status: Status, line: &str) {
        match status {
            Status::Ok(_) => {
                self.timestamp = apop::timestamp(line).map(str::to_owned);
                self.prepare(Preparation::Capa);
            }
            Status::Err(refused) => self.fail(Error::Greeting(refused)),
            Status::Challenge(_) => self.fail(Error::Protocol("a challenge for a greeting")),
        }
    }

    fn prepared(&mut self, preparation: Preparation, status: Status) {
        match (preparation, status) {
            (_, Status::Challenge(_)) => self.fail(Error::Protocol("a challenge that nobody asked for")),
            (Preparation::Capa, Status::Ok(_)) => self.reading = Reading::Listing,
            (Preparation::Stls, Status::Err(refused)) if self.config.tls == TlsPolicy::Require => {
                self.fail(Error::TlsRefused(refused));
            }
            (Preparation::Stls, Status::Err(_)) => self.go_on_after_tls(),
            // A server without CAPA offers nothing; one that refuses UTF8 is used without.
            (Preparation::Capa | Preparation::Utf8, Status::Err(_)) | (_, Status::Ok(_)) => {
                self.go_on_after(preparation);
            }
        }
    }

    fn request_answered(&mut self, status: Status) {
        let Some(command) = self.outstanding.front() else {
            return match status {
                // A server that stops may say so before it closes.
                Status::Err(refused) => self.fail(Error::Ended(refused)),
                _ => self.fail(Error::Protocol("a reply that nobody asked for")),
            };
        };
        let text = match status {
            Status::Ok(text) => text,
            Status::Err(reply) => {
                if let Some(command) = self.answered() {
                    self.events.push_back(Event::Refused { command, reply });
                }
                return;
            }
            Status::Challenge(_) => return self.fail(Error::Protocol("a challenge that nobody asked for")),
        };
        let only_line = match command {
            Command::Retr(_) | Command::Top { .. } => {
                self.reading = Reading::Text(DotReader::with_lines(LineEnding::CrlfOrLf));
                return;
            }
            Command::Capa => {
                self.capabilities = Capabilities::default();
                self.reading = Reading::Listing;
                return;
            }
            Command::List(None) | Command::Uidl(None) | Command::Lang(None) => {
                self.reading = Reading::Listing;
                return;
            }
            Command::Stat => two_numbers(&text).map(|(messages, octets)| Event::Drop { messages, octets }),
            Command::List(Some(_)) => {
                two_numbers(&text).map(|(number, octets)| Event::Scan { number, octets })
            }
            Command::Uidl(Some(_)) => unique_id(&text),
            _ => return self.finish(),
        };
        if self.tell(only_line) {
            self.finish();
        }
    }

    fn listing_line(&mut self, line: &[u8]) {
        let line = match line {
            b"." => return self.listing_end(),
            [b'.', rest @ ..] => rest,
            line => line,
        };
        let line = String::from_utf8_lossy(line);
        if matches!(self.state, State::Preparing(_)) {
            return self.capabilities.add(&printable(&line));
        }
        let event = match self.outstanding.front() {
            Some(Command::List(_)) => {
                two_numbers(&line).map(|(number, octets)| Event::Scan { number, octets })
            }
            Some(Command::Uidl(_)) => unique_id(&line),
            Some(Command::Capa) => {
                let line = printable(&line);
                self.capabilities.add(&line);
                Some(Event::Line(line))
            }
            _ => Some(Event::Line(printable(&line))),
        };
        self.tell(event);
    }

    fn listing_end(&mut self) {
        self.reading = Reading::Status;
        match self.state {
            State::Preparing(preparation) => self.go_on_after(preparation),
            _ => self.finish(),
        }
    }

    /// Tells an event; without one, a line was not as it should be, and the session is over.
    fn tell(&mut self, event: Option<Event>) -> bool {
        match event {
            Some(event) => {
                self.events.push_back(event);
                true
            }
            None => {
                self.fail(Error::Protocol("a listing that is none"));
                false
            }
        }
    }

    /// The command answered next has succeeded, and all of its answer is there.
    fn finish(&mut self) {
        if let Some(command) = self.answered() {
            self.events.push_back(Event::Done { command });
        }
    }

    /// Takes the command that was answered from those under way.
    fn answered(&mut self) -> Option<Command> {
        self.reading = Reading::Status;
        let command = self.outstanding.pop_front();
        if command == Some(Command::Quit) {
            self.close();
        }
        command
    }
}

/// `1 120`, and whatever a server adds.
fn two_numbers(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split_ascii_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// `1 whqtswO00WBw418f9t5JxYwZ`; some servers have spaces in their unique-ids.
fn unique_id(text: &str) -> Option<Event> {
    let (number, id) = text.trim_ascii().split_once(' ')?;
    let id = printable(id.trim_ascii());
    if id.is_empty() {
        return None;
    }
    Some(Event::UniqueId { number: number.parse().ok()?, id })
}

/// Text for people, without what could control a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
