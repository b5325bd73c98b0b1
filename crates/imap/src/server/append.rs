//! APPEND and REPLACE: messages pass through in pieces.

use super::read::completion_of;
use super::{Advance, Event, Extension, Server, State, Work};
use crate::command::Append;
use crate::command::append::{MessageHead, Next, next};
use crate::command::lexer::LiteralHead;
use crate::response::{self, Code, Completion, Status};

/// Octets of one [`Event::AppendChunk`] at most.
const CHUNK_MAX: usize = 64 * 1024;
/// Messages in one APPEND at most.
const MESSAGES_MAX: u32 = 1_000;

/// An APPEND under way.
#[derive(Debug)]
pub(super) struct Appending {
    pub(super) tag: String,
    stage: Stage,
    /// Messages begun.
    messages: u32,
    /// The message in hand came as `UTF8 (~{n}`.
    utf8: bool,
    replace: bool,
}

#[derive(Debug)]
enum Stage {
    /// The owner is asked whether it may begin.
    BeginAsked(MessageHead),
    /// The owner is asked for a message.
    MessageAsked(LiteralHead),
    /// Octets have to come.
    Body { left: u64 },
    /// The owner has octets.
    ChunkAsked { left: u64 },
    /// The owner has all octets.
    EndAsked,
    /// The rest of the line, or the announcement of another message, has to come.
    AfterMessage,
    /// The owner stores them all.
    CommitAsked,
}

impl Appending {
    pub(super) fn awaits_answer(&self) -> bool {
        !matches!(self.stage, Stage::Body { .. } | Stage::AfterMessage)
    }
}

impl Server {
    pub(super) fn begin_append(&mut self, tag: String, append: Append, head: MessageHead) {
        let replace = append.replaces.is_some();
        if replace && !matches!(self.state, State::Selected) {
            return self.refuse_literal(tag, bad("No mailbox is selected"), head.literal);
        }
        if replace && self.off.contains(Extension::Replace) {
            return self.refuse_literal(tag, bad("There is no such command"), head.literal);
        }
        if let Some(refusal) = self.message_refusal(&head) {
            return self.refuse_literal(tag, refusal, head.literal);
        }
        self.event = Some(Event::AppendBegin(append));
        let stage = Stage::BeginAsked(head);
        self.work = Work::Appending(Box::new(Appending { tag, stage, messages: 0, utf8: false, replace }));
    }

    /// Why a message is not taken, as far as that can be told from its size.
    fn message_refusal(&self, head: &MessageHead) -> Option<Completion> {
        if head.literal.octets == 0 {
            // RFC 3502 section 6.3.11: this is how a client gives up.
            return Some(Completion::no(Code::Cannot, "The message is empty"));
        }
        if head.literal.octets > self.config.append_limit {
            return Some(Completion::no(Code::TooBig, "The message is too large"));
        }
        None
    }

    fn stage(&mut self) -> Option<&mut Stage> {
        match &mut self.work {
            Work::Appending(appending) => Some(&mut appending.stage),
            _ => None,
        }
    }

    /// Goes on with an APPEND: the answer to each of its events but [`Event::AppendCommit`].
    pub fn append_ready(&mut self) {
        let Some(stage) = self.stage() else { return };
        match std::mem::replace(stage, Stage::AfterMessage) {
            Stage::BeginAsked(head) => self.ask_message(head),
            Stage::MessageAsked(literal) => {
                *stage = Stage::Body { left: literal.octets };
                if literal.synchronizing {
                    response::continuation("Ready for the message", &mut self.output);
                }
            }
            Stage::ChunkAsked { left } => *stage = Stage::Body { left },
            Stage::EndAsked | Stage::AfterMessage => {}
            other @ (Stage::Body { .. } | Stage::CommitAsked) => *stage = other,
        }
    }

    fn ask_message(&mut self, head: MessageHead) {
        let Work::Appending(appending) = &mut self.work else { return };
        appending.messages += 1;
        appending.utf8 = head.utf8;
        appending.stage = Stage::MessageAsked(head.literal);
        self.event = Some(Event::AppendMessage {
            flags: head.flags,
            date: head.date,
            octets: head.literal.octets,
            binary: head.literal.binary,
        });
    }

    /// Ends an APPEND that is not carried out: the answer to any of its events. What the client still sends of it is
    /// thrown away. The owner forgets what it has of the messages; [`Event::AppendAborted`] does not follow.
    pub fn append_refuse(&mut self, completion: Completion) {
        let appending = match std::mem::take(&mut self.work) {
            Work::Appending(appending) if appending.awaits_answer() => *appending,
            other => {
                self.work = other;
                return;
            }
        };
        let tag = appending.tag;
        match appending.stage {
            Stage::BeginAsked(MessageHead { literal, .. }) | Stage::MessageAsked(literal) => {
                self.refuse_literal(tag, completion, literal);
            }
            Stage::Body { left } | Stage::ChunkAsked { left } => self.swallow_first(tag, completion, left),
            Stage::EndAsked | Stage::AfterMessage => self.swallow_first(tag, completion, 0),
            Stage::CommitAsked => self.tagged(&tag, &completion),
        }
    }

    /// Whether an APPEND is at its end, so that it can be completed.
    pub(super) fn commit_asked(&self) -> bool {
        matches!(&self.work, Work::Appending(appending) if matches!(appending.stage, Stage::CommitAsked))
    }

    /// Takes more of a message, or what follows it.
    pub(super) fn advance_append(&mut self) -> Advance {
        let Work::Appending(appending) = &mut self.work else { return Advance::Blocked };
        if let Stage::Body { left: 0 } = appending.stage {
            appending.stage = Stage::EndAsked;
            self.event = Some(Event::AppendMessageEnd);
        } else if let Stage::Body { left } = appending.stage {
            let piece = self.input.take(CHUNK_MAX.min(usize::try_from(left).unwrap_or(CHUNK_MAX)));
            if piece.is_empty() {
                if self.input_is_over() {
                    self.close();
                }
                return self.nothing_read();
            }
            appending.stage = Stage::ChunkAsked { left: left - piece.len() as u64 };
            self.event = Some(Event::AppendChunk(piece));
        } else {
            return self.after_message();
        }
        Advance::Progress
    }

    fn after_message(&mut self) -> Advance {
        let line = match self.take_line(0) {
            None => return self.nothing_read(),
            Some(line) => line,
        };
        let Work::Appending(appending) = &mut self.work else { return Advance::Progress };
        let read = match &line {
            Ok(line) => next(line, appending.utf8, self.enabled.utf8_names()).map_err(completion_of),
            Err(_) => Err(bad("A line holds a bare carriage return")),
        };
        let (replace, messages) = (appending.replace, appending.messages);
        let refusal = match read {
            Ok(Next::End) => {
                appending.stage = Stage::CommitAsked;
                self.event = Some(Event::AppendCommit);
                return Advance::Progress;
            }
            Ok(Next::Message(_)) if replace => bad("REPLACE takes one message"),
            Ok(Next::Message(_)) if self.off.contains(Extension::MultiAppend) => {
                bad("Only one message at a time")
            }
            Ok(Next::Message(_)) if messages >= MESSAGES_MAX => {
                Completion::no(Code::Limit, "Too many messages at once")
            }
            Ok(Next::Message(head)) => match self.message_refusal(&head) {
                Some(refusal) => refusal,
                None => {
                    self.ask_message(head);
                    return Advance::Progress;
                }
            },
            Err(refusal) => refusal,
        };
        self.abort_append();
        let Work::Appending(appending) = std::mem::take(&mut self.work) else { return Advance::Progress };
        match line.ok().and_then(|line| crate::command::lexer::announced(&line)) {
            Some(head) => self.refuse_literal(appending.tag, refusal, head),
            None => self.mistake(&appending.tag, &refusal),
        }
        Advance::Progress
    }

    /// Tells the owner, if it knows of an APPEND, that it ends.
    pub(super) fn abort_append(&mut self) {
        if let Work::Appending(_) = &self.work {
            self.event = Some(Event::AppendAborted);
        }
    }
}

fn bad(text: &'static str) -> Completion {
    Completion { status: Status::Bad, code: None, text: text.into() }
}
