//! How a message comes in: DATA and BDAT.
//!
//! The end of a message is where smuggling happens. Here it is CRLF `.` CRLF or the end of the last chunk, nothing
//! else; a message with other line endings is read to that end and refused there (RFC 5321 section 4.1.1.4).

use std::time::{Duration, Instant};

use memchr::memchr2_iter;
use packetboat_wire::{DotReader, DotStep, Reply};

use crate::envelope::BodyKind;
use crate::reply;

use super::config::{BODY_GRACE, SLOWEST_BODY, SWALLOW_MAX};
use super::{Abort, Closed, Event, Question, Role, Server, State, Turn};

/// A message that comes by DATA.
#[derive(Debug)]
pub(super) struct Data {
    reader: DotReader,
    /// Why it will be refused at its end.
    refusal: Option<Refusal>,
    /// Replies that its end takes: one, or in LMTP one for each recipient.
    replies: u32,
    began: Option<Instant>,
}

/// A piece of a message that comes by BDAT.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Octets that have not come yet.
    left: u64,
    /// No piece comes after this one.
    last: bool,
    /// Why it is thrown away: "the receiver-SMTP MUST accept and discard the associated message data before sending the
    /// appropriate 5XX or 4XX code" (RFC 3030 section 2).
    refusal: Option<Refusal>,
    /// Replies that a refusal takes.
    replies: u32,
    began: Option<Instant>,
}

#[derive(Debug)]
enum Refusal {
    TooBig,
    BareNewline,
    Said(Reply),
}

/// Looks for CR and LF outside of CRLF in a message that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct LineEnds {
    after_cr: bool,
}

impl Data {
    /// The client has written bare line feeds, and may believe that one of them ended its message.
    pub(super) fn ends_badly(&self) -> bool {
        self.reader.defects().bare_endings()
    }
}

impl Chunk {
    /// The same, to be thrown away.
    pub(super) fn refused(mut self, reply: Reply) -> Chunk {
        self.refusal = Some(Refusal::Said(reply));
        self
    }
}

impl Server {
    pub(super) fn begin_data(&mut self) {
        self.say(&reply::start_mail_input());
        let replies = self.replies_at_end();
        self.state = State::Data(Data { reader: DotReader::new(), refusal: None, replies, began: None });
    }

    pub(super) fn data(&mut self, now: Instant) -> Turn {
        let State::Data(data) = &mut self.state else { return Turn::Again };
        let max = self.config.limits.message_size;
        let step = data.reader.next(&mut self.input);
        let octets = data.reader.octets();
        if Self::too_slow(&mut data.began, octets, now) {
            self.time_out();
            return Turn::Again;
        }
        match step {
            DotStep::More => Turn::Starved,
            DotStep::End => self.data_end(),
            DotStep::Chunk(piece) => {
                self.deadline = None;
                if data.refusal.is_some() {
                    if octets > max.saturating_add(SWALLOW_MAX) {
                        self.say_last(&reply::message_too_big(max), Closed::Limit);
                    }
                    return Turn::Again;
                }
                let before = octets - piece.len() as u64;
                // Which of the two is told must not depend on how the message was cut into pieces. A CR at the end of
                // this one is bare, for the reader keeps back what is undecided.
                let first = || LineEnds::default().first_bare(&piece).unwrap_or(piece.len() - 1);
                if data.reader.defects().bare_endings() && before + (first() as u64) < max {
                    data.refusal = Some(Refusal::BareNewline);
                    self.abort(Abort::BareNewline);
                    return Turn::Again;
                }
                if octets > max {
                    data.refusal = Some(Refusal::TooBig);
                    self.abort(Abort::TooBig);
                    return Turn::Again;
                }
                Turn::Event(Event::BodyChunk(piece))
            }
        }
    }

    fn data_end(&mut self) -> Turn {
        let State::Data(data) = std::mem::replace(&mut self.state, State::Command) else {
            return Turn::Again;
        };
        self.deadline = None;
        match data.refusal {
            None => {
                self.state = State::Asked(Question::BodyEnd(data.replies));
                Turn::Event(Event::BodyEnd { octets: data.reader.octets() })
            }
            Some(refusal) => {
                self.say_body_refusal(&refusal, data.replies);
                Turn::Again
            }
        }
    }

    pub(super) fn bdat_command(&mut self, size: u64, last: bool) -> Turn {
        let max = self.config.limits.message_size;
        if size > max.saturating_add(SWALLOW_MAX) {
            self.say_last(&reply::message_too_big(max), Closed::Limit);
            return Turn::Again;
        }
        let replies = if last { self.replies_at_end() } else { 1 };
        let mut chunk = Chunk { left: size, last, refusal: None, replies, began: None };
        if let Err(reply) = self.body_may_start() {
            self.counts.errors += 1;
            self.abort(Abort::BadSequence);
            self.state = State::Chunk(Chunk { replies: 1, ..chunk.refused(reply) });
            return Turn::Again;
        }
        let Some(transaction) = &mut self.transaction else { return Turn::Again };
        if transaction.octets.saturating_add(size) > max {
            chunk.refusal = Some(Refusal::TooBig);
            self.abort(Abort::TooBig);
        } else if !transaction.chunked {
            transaction.chunked = true;
            let body = transaction.body;
            self.state = State::Asked(Question::Chunk(chunk));
            return Turn::Event(Event::BodyStart(body));
        }
        self.state = State::Chunk(chunk);
        Turn::Again
    }

    pub(super) fn chunk(&mut self, now: Instant) -> Turn {
        let State::Chunk(chunk) = &mut self.state else { return Turn::Again };
        if chunk.left == 0 {
            return self.chunk_end();
        }
        if self.input.is_empty() {
            return Turn::Starved;
        }
        let piece = self.input.take(usize::try_from(chunk.left).unwrap_or(usize::MAX));
        chunk.left -= piece.len() as u64;
        self.deadline = None;
        let octets = self.transaction.as_ref().map_or(0, |transaction| transaction.octets);
        if Self::too_slow(&mut chunk.began, octets, now) {
            self.time_out();
            return Turn::Again;
        }
        let Some(transaction) = &mut self.transaction else { return Turn::Again };
        transaction.octets += piece.len() as u64;
        if transaction.body != BodyKind::Binary && transaction.line_ends.first_bare(&piece).is_some() {
            chunk.refusal = Some(Refusal::BareNewline);
            self.abort(Abort::BareNewline);
            return Turn::Again;
        }
        Turn::Event(Event::BodyChunk(piece))
    }

    fn chunk_end(&mut self) -> Turn {
        let State::Chunk(chunk) = std::mem::replace(&mut self.state, State::Command) else {
            return Turn::Again;
        };
        self.deadline = None;
        if let Some(refusal) = chunk.refusal {
            self.say_body_refusal(&refusal, chunk.replies);
            return Turn::Again;
        }
        let Some(transaction) = &self.transaction else { return Turn::Again };
        let octets = transaction.octets;
        if !chunk.last {
            self.say(&reply::chunk_taken(octets));
        } else if transaction.body != BodyKind::Binary && transaction.line_ends.after_cr {
            self.abort(Abort::BareNewline);
            self.say_body_refusal(&Refusal::BareNewline, chunk.replies);
        } else {
            self.state = State::Asked(Question::BodyEnd(chunk.replies));
            return Turn::Event(Event::BodyEnd { octets });
        }
        Turn::Again
    }

    /// "the server must send one reply for each previously successful RCPT command" (RFC 2033 section 4.2).
    fn replies_at_end(&self) -> u32 {
        match &self.transaction {
            Some(transaction) if self.config.role == Role::Lmtp => transaction.accepted,
            _ => 1,
        }
    }

    fn say_body_refusal(&mut self, refusal: &Refusal, replies: u32) {
        let reply = match refusal {
            Refusal::TooBig => reply::message_too_big(self.config.limits.message_size),
            Refusal::BareNewline => reply::bare_newline_in_message(),
            Refusal::Said(reply) => reply.clone(),
        };
        for _ in 1..replies {
            self.say(&reply);
        }
        self.say_refusal(&reply);
        if reply.code() == reply::CLOSING_CODE {
            self.close(Closed::Owner);
        }
    }

    /// Whether a message trickles in so slowly that it is an attack rather than a bad line.
    fn too_slow(began: &mut Option<Instant>, octets: u64, now: Instant) -> bool {
        let began = *began.get_or_insert(now);
        now.duration_since(began) > BODY_GRACE + Duration::from_secs(octets / SLOWEST_BODY)
    }
}

impl LineEnds {
    /// Where the first CR or LF outside of CRLF is seen. A CR that ended the piece before is seen at 0.
    fn first_bare(&mut self, piece: &[u8]) -> Option<usize> {
        let mut lf_due = self.after_cr.then_some(0);
        for at in memchr2_iter(b'\r', b'\n', piece) {
            match lf_due.take() {
                Some(due) if due == at && piece[at] == b'\n' => {}
                Some(due) => return Some(due.saturating_sub(1)),
                None if piece[at] == b'\n' => return Some(at),
                None => lf_due = Some(at + 1),
            }
        }
        if let Some(due) = lf_due.filter(|&due| due < piece.len()) {
            return Some(due.saturating_sub(1));
        }
        self.after_cr = lf_due.is_some();
        None
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_first_bare_ending_is_found() {
        for (text, at) in [("\n", 0), ("ab\ncd\r", 2), ("\r\nab\rc", 4), ("\r\r\n", 0), ("a\r\n\n", 3)] {
            assert_eq!(LineEnds::default().first_bare(text.as_bytes()), Some(at), "{text:?}");
        }
    }

    #[test]
    fn line_ends_are_judged_alike_however_a_message_is_cut() {
        for (text, right) in [
            ("", true),
            ("abc", true),
            ("a\r\nb\r\n", true),
            ("\r\n\r\n\r\n", true),
            ("a\nb", false),
            ("\n", false),
            ("a\rb", false),
            ("\r\r\n", false),
            ("a\r\n\nb", false),
            ("a\r\n\rb", false),
            ("a\r", false),
        ] {
            for size in 1..=text.len().max(1) {
                let mut ends = LineEnds::default();
                let mut pieces = text.as_bytes().chunks(size).map(Bytes::copy_from_slice);
                let all = pieces.all(|piece| ends.first_bare(&piece).is_none());
                assert_eq!(all && !ends.after_cr, right, "{text:?} in pieces of {size}");
            }
        }
    }
}
