//! Commands out of lines and literals.
//!
//! A command without literals is read where it lies in the input. One with literals is put together, each literal after
//! its announcement, as [`Lexer`](crate::command::lexer::Lexer) reads it; messages are never part of that.

use bytes::Bytes;
use packetboat_wire::{LineEnding, LineError};

use super::{Advance, Extension, Server, State, Work};
use crate::command::lexer::{LiteralHead, announced};
use crate::command::{CommandError, append, split_tag};
use crate::response::{self, Code, Completion, Status};

/// Octets of a command at most, its literals (but no message) among them. Some clients send long lists of UIDs.
pub const COMMAND_MAX: usize = 1024 * 1024;
/// The same before the login: room for the longest response of a SASL exchange.
pub const COMMAND_MAX_BEFORE_LOGIN: usize = 16 * 1024;
/// Octets of a literal that does not wait, to a client that was told of LITERAL- (RFC 7888 section 5).
const LITERAL_MINUS_MAX: u64 = 4096;
/// A client that goes on sending a refused command may send so many octets of it; then the session ends.
pub const SWALLOW_MAX: u64 = 256 * 1024 * 1024;

/// A command of which literals are still to come.
#[derive(Debug)]
pub(super) struct Collecting {
    /// What is there, the tag included.
    text: Vec<u8>,
    /// Octets of the last literal that are not there.
    left: usize,
}

/// A refused command that the client goes on sending.
#[derive(Debug)]
pub(super) struct Swallowing {
    tag: String,
    completion: Completion,
    /// Octets of a literal that still come; then a line.
    left: u64,
    swallowed: u64,
}

impl Server {
    /// Takes the next line that is there in full, or ends the session if none will come. `room` counts what is taken of
    /// the command's space already.
    pub(super) fn take_line(&mut self, taken: usize) -> Option<Result<Bytes, LineError>> {
        let max = self.command_max().saturating_sub(taken).max(2);
        let line = self.input.take_line(max, LineEnding::CrlfOrLf).transpose();
        match line {
            None if self.input_is_over() => self.close(),
            // Where the line ends, and whether a literal follows, will not be known.
            Some(Err(LineError::TooLong)) => {
                self.bye(Some(Code::TooBig), "The command line is too long");
                return None;
            }
            _ => {}
        }
        line
    }

    fn command_max(&self) -> usize {
        match self.state {
            State::Authenticated | State::Selected => COMMAND_MAX,
            _ => COMMAND_MAX_BEFORE_LOGIN,
        }
    }

    /// Whether nothing will come any more.
    pub(super) fn input_is_over(&self) -> bool {
        self.end_of_input && !self.compression.as_ref().is_some_and(|compression| compression.has_input())
    }

    /// What became of an attempt to read.
    pub(super) fn nothing_read(&self) -> Advance {
        if matches!(self.state, State::Closed) { Advance::Progress } else { Advance::Blocked }
    }

    /// Takes the next command, or its beginning.
    pub(super) fn read_command(&mut self) -> Advance {
        match self.take_line(0) {
            None => return self.nothing_read(),
            Some(Ok(line)) => self.begin_command(line),
            Some(Err(_)) => self.bad("", "A line holds a bare carriage return"),
        }
        Advance::Progress
    }

    pub(super) fn begin_command(&mut self, line: Bytes) {
        match announced(&line) {
            None => self.carry_out(&line),
            Some(head) => self.literal(line.into(), head),
        }
    }

    /// A literal is announced at the end of what is there of a command.
    fn literal(&mut self, mut text: Vec<u8>, head: LiteralHead) {
        let Some((tag, rest)) = split_tag(&text) else {
            let completion =
                Completion { status: Status::Bad, code: None, text: "The tag is missing".into() };
            return self.refuse_literal(String::new(), completion, head);
        };
        let tag = tag.to_owned();
        if append::is_append(rest) {
            if !matches!(self.state, State::Authenticated | State::Selected) {
                let completion = Completion { status: Status::Bad, code: None, text: "Log in first".into() };
                return self.refuse_literal(tag, completion, head);
            }
            match append::begin(rest, self.enabled.utf8_names()) {
                Ok((append, message)) => return self.begin_append(tag, append, message),
                Err(CommandError::Incomplete) => {}
                Err(error) => return self.refuse_literal(tag, completion_of(error), head),
            }
        }
        let literal_minus = self.off.contains(Extension::LiteralPlus);
        if literal_minus && !head.synchronizing && head.octets > LITERAL_MINUS_MAX {
            let text = "A literal of more than 4096 octets has to wait";
            let completion = Completion { status: Status::Bad, code: Some(Code::TooBig), text: text.into() };
            return self.refuse_literal(tag, completion, head);
        }
        let room = self.command_max().saturating_sub(text.len() + 2);
        let Some(left) = usize::try_from(head.octets).ok().filter(|left| *left < room) else {
            let completion = completion_of(CommandError::Limit("The command is too long"));
            return self.refuse_literal(tag, completion, head);
        };
        if head.synchronizing {
            response::continuation("Ready for the literal", &mut self.output);
        }
        text.extend_from_slice(b"\r\n");
        self.work = Work::Collecting(Box::new(Collecting { text, left }));
    }

    /// Takes more of a command with literals.
    pub(super) fn collect(&mut self) -> Advance {
        let Work::Collecting(collecting) = &mut self.work else { return Advance::Blocked };
        if collecting.left > 0 {
            let piece = self.input.take(collecting.left);
            collecting.left -= piece.len();
            collecting.text.extend_from_slice(&piece);
            if piece.is_empty() {
                if self.input_is_over() {
                    self.close();
                }
                return self.nothing_read();
            }
            return Advance::Progress;
        }
        let taken = collecting.text.len();
        let line = match self.take_line(taken) {
            None => return self.nothing_read(),
            Some(line) => line,
        };
        let Work::Collecting(collecting) = std::mem::take(&mut self.work) else { return Advance::Progress };
        let Ok(line) = line else {
            let tag = split_tag(&collecting.text).map(|(tag, _)| tag.to_owned()).unwrap_or_default();
            self.bad(&tag, "A line holds a bare carriage return");
            return Advance::Progress;
        };
        let mut text = collecting.text;
        text.extend_from_slice(&line);
        match announced(&line) {
            None => self.carry_out(&text),
            Some(head) => self.literal(text, head),
        }
        Advance::Progress
    }

    /// Refuses a command at a literal. One that waits will not come; another comes anyway, and the rest of the command
    /// behind it.
    pub(super) fn refuse_literal(&mut self, tag: String, completion: Completion, head: LiteralHead) {
        if head.synchronizing {
            self.refused(&tag, &completion);
        } else {
            self.swallow_first(tag, completion, head.octets);
        }
    }

    /// Answers a command when the client has sent it to its end.
    pub(super) fn swallow_first(&mut self, tag: String, completion: Completion, left: u64) {
        if left > SWALLOW_MAX {
            return self.bye(Some(Code::TooBig), "The literal is too large");
        }
        let swallowing = Swallowing { tag, completion, left, swallowed: left };
        self.work = Work::Swallowing(Box::new(swallowing));
    }

    fn refused(&mut self, tag: &str, completion: &Completion) {
        match completion.status {
            Status::Bad => self.mistake(tag, completion),
            _ => self.tagged(tag, completion),
        }
    }

    /// Throws away more of a refused command.
    pub(super) fn swallow(&mut self) -> Advance {
        let Work::Swallowing(swallowing) = &mut self.work else { return Advance::Blocked };
        if swallowing.left > 0 {
            let there = self.input.len();
            let skipped = there.min(usize::try_from(swallowing.left).unwrap_or(there));
            self.input.skip(skipped);
            swallowing.left -= skipped as u64;
            if skipped == 0 {
                if self.input_is_over() {
                    self.close();
                }
                return self.nothing_read();
            }
            return Advance::Progress;
        }
        let line = match self.take_line(0) {
            None => return self.nothing_read(),
            Some(line) => line,
        };
        let head = line.ok().and_then(|line| announced(&line)).filter(|head| !head.synchronizing);
        let Work::Swallowing(mut swallowing) = std::mem::take(&mut self.work) else {
            return Advance::Progress;
        };
        match head {
            None => self.refused(&swallowing.tag, &swallowing.completion),
            Some(head) => {
                swallowing.left = head.octets;
                swallowing.swallowed = swallowing.swallowed.saturating_add(head.octets);
                if swallowing.swallowed > SWALLOW_MAX {
                    self.bye(Some(Code::TooBig), "The command is too long");
                } else {
                    self.work = Work::Swallowing(swallowing);
                }
            }
        }
        Advance::Progress
    }
}

/// What is said of a command that cannot be carried out as it stands.
pub(super) fn completion_of(error: CommandError) -> Completion {
    let (status, code) = match error {
        CommandError::Unknown | CommandError::Syntax(_) | CommandError::Incomplete => (Status::Bad, None),
        CommandError::Limit(_) => (Status::Bad, Some(Code::Limit)),
        CommandError::Charset => {
            (Status::No, Some(Code::BadCharset(vec!["US-ASCII".into(), "UTF-8".into()])))
        }
        CommandError::Mailbox(_) => (Status::No, Some(Code::Cannot)),
    };
    let text = match error {
        CommandError::Syntax(text) | CommandError::Limit(text) => text.into(),
        CommandError::Unknown => "There is no such command".into(),
        CommandError::Charset => "This charset is not known here".into(),
        CommandError::Mailbox(error) => error.to_string().into(),
        CommandError::Incomplete => "The command is not complete".into(),
    };
    Completion { status, code, text }
}
