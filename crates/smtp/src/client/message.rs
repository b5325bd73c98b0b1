//! One message: the envelope, the body, the answer.

use std::collections::VecDeque;

use bytes::Bytes;
use packetboat_wire::{Endings, Reply, ReplyClass, Stuffer};

use crate::envelope::{BodyKind, ForwardPath};
use crate::reply;

use super::{Client, Envelope, Event, Extension, Outcome, Protocol, Stage, State, lines};

/// Answers that may be outstanding at a time: so many fit into the buffers between us, and neither side waits for the
/// other to read (RFC 2920 section 3.1).
const WINDOW: usize = 50;

/// A message under way.
#[derive(Debug)]
pub(super) struct Message {
    envelope: Envelope,
    /// So many of the recipients are told to the server.
    recipients: usize,
    /// What is to be written next.
    next: Next,
    /// Answers outstanding, in order.
    expected: VecDeque<Expected>,
    /// Recipients that the server accepted.
    accepted: Vec<usize>,
    transfer: Transfer,
    body: Body,
    /// The server refused the message as a whole.
    refused: Option<(Stage, Reply)>,
    /// The server has it.
    taken: Option<Reply>,
    /// RSET is needed before the next message.
    open: bool,
}

#[derive(Debug)]
enum Next {
    Mail,
    Recipient(usize),
    Data,
    Nothing,
}

#[derive(Debug)]
enum Expected {
    Mail,
    Recipient(usize),
    Data,
    Chunk,
    /// To the whole message.
    End,
    /// To the whole message, for one recipient.
    EndFor(usize),
    /// To a message that was not one: all recipients had been refused when the server said 354.
    EndOfNothing,
}

#[derive(Debug)]
enum Transfer {
    Data(Stuffer),
    /// One piece is held back, since the last one has to be marked.
    Chunks {
        held: Option<Bytes>,
    },
}

#[derive(Debug, PartialEq, Eq)]
enum Body {
    NotYet,
    /// The owner may be asked.
    Open,
    /// The owner has been asked.
    Asked,
    Ended,
}

impl Message {
    /// Whether the owner has to give a piece.
    pub(super) fn asks(&self) -> bool {
        self.body == Body::Asked
    }

    /// Whether it is the server's turn. What a server says in the middle of a message is read when that is complete.
    pub(super) fn listens(&self) -> bool {
        !self.expected.is_empty() || !matches!(self.body, Body::Open | Body::Asked)
    }

    pub(super) fn stage(&self) -> Stage {
        match self.expected.front() {
            Some(Expected::Mail) => Stage::Mail,
            Some(Expected::Recipient(_)) => Stage::Recipient,
            Some(Expected::Data) => Stage::Data,
            Some(Expected::Chunk) => Stage::Chunk,
            Some(Expected::End | Expected::EndFor(_) | Expected::EndOfNothing) => Stage::End,
            None => Stage::Data,
        }
    }

    fn refuse(&mut self, stage: Stage, reply: Reply) {
        self.refused.get_or_insert((stage, reply));
        self.next = Next::Nothing;
        self.body = Body::Ended;
    }

    fn is_wanted(&self) -> bool {
        self.refused.is_none() && !self.accepted.is_empty()
    }

    fn is_over(&self) -> bool {
        let body_over = matches!(self.body, Body::NotYet | Body::Ended);
        matches!(self.next, Next::Nothing) && self.expected.is_empty() && body_over
    }
}

impl Client {
    pub(super) fn begin_message(&mut self, mut envelope: Envelope) {
        let server = &self.capabilities;
        let needs_utf8 = |path: &ForwardPath| match path {
            ForwardPath::Mailbox(address) => address.needs_utf8(),
            ForwardPath::Postmaster => false,
        };
        envelope.sender.smtputf8 |= envelope.sender.path.as_ref().is_some_and(|path| path.needs_utf8())
            || envelope.recipients.iter().any(|recipient| needs_utf8(&recipient.path));
        let sender = &envelope.sender;
        let obstacle = if let Some(extension) = server.missing(sender) {
            Some(Outcome::NotOffered(extension))
        } else if sender.body == BodyKind::Binary && !(server.chunking && server.binary_mime) {
            Some(Outcome::NotOffered(Extension::BinaryMime))
        } else if sender.body == BodyKind::EightBit && !server.eight_bit_mime && !self.config.eight_bit_anyway
        {
            Some(Outcome::NotOffered(Extension::EightBitMime))
        } else if envelope.recipients.is_empty() {
            Some(Outcome::NoRecipients)
        } else {
            let max = server.max_size.filter(|&max| sender.size.is_some_and(|size| size > max));
            max.map(|max| Outcome::TooBig { max })
        };
        if let Some(outcome) = obstacle {
            self.events.push_back(Event::Done(outcome));
            return self.become_ready();
        }
        let limit = server.max_recipients.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
        let recipients = envelope.recipients.len().min(limit);
        for index in recipients..envelope.recipients.len() {
            // Said by the server beforehand (RFC 9422 section 3).
            self.events.push_back(Event::Recipient { index, reply: reply::too_many_recipients() });
        }
        let chunked = sender.body == BodyKind::Binary || (self.config.chunking && server.chunking);
        self.state = State::Message(Box::new(Message {
            envelope,
            recipients,
            next: Next::Mail,
            expected: VecDeque::new(),
            accepted: Vec::new(),
            transfer: match chunked {
                true => Transfer::Chunks { held: None },
                false => Transfer::Data(Stuffer::new(Endings::MakeCrlf)),
            },
            body: Body::NotYet,
            refused: None,
            taken: None,
            open: false,
        }));
    }

    /// Writes all that can be written without an answer; ends the message when there is nothing left of it.
    pub(super) fn write_message(&mut self) {
        let State::Message(mut message) = std::mem::replace(&mut self.state, State::Closing) else { return };
        // In LMTP the last chunk has more answers than one, or one if the message is refused already: that has to be
        // known before.
        let one_by_one = self.config.protocol == Protocol::Lmtp && message.body != Body::NotYet;
        let window = if self.capabilities.pipelining && !one_by_one { WINDOW } else { 1 };
        while message.expected.len() < window {
            match message.next {
                Next::Mail => {
                    self.command(&lines::mail(&message.envelope.sender, &self.capabilities));
                    message.expected.push_back(Expected::Mail);
                    message.next = Next::Recipient(0);
                }
                Next::Recipient(index) if index >= message.recipients => message.next = Next::Data,
                Next::Recipient(index) => {
                    if let Some(recipient) = message.envelope.recipients.get(index) {
                        self.command(&lines::rcpt(recipient, &message.envelope.sender, &self.capabilities));
                        message.expected.push_back(Expected::Recipient(index));
                    }
                    message.next = Next::Recipient(index + 1);
                }
                Next::Data if message.expected.is_empty() && !message.is_wanted() => {
                    message.next = Next::Nothing
                }
                Next::Data => match &message.transfer {
                    // With pipelining DATA goes out before it is known whether anybody was accepted, which saves the
                    // time of a round trip (RFC 2920 section 3.1).
                    Transfer::Data(_) => {
                        self.command("DATA");
                        message.expected.push_back(Expected::Data);
                        message.next = Next::Nothing;
                    }
                    Transfer::Chunks { .. } if !message.expected.is_empty() => break,
                    Transfer::Chunks { .. } => {
                        message.body = Body::Open;
                        message.next = Next::Nothing;
                    }
                },
                Next::Nothing => break,
            }
        }
        if message.is_over() {
            return self.finish_message(*message);
        }
        if message.body == Body::Open
            && message.expected.len() < window
            && self.output.is_empty()
            && self.queue.is_empty()
        {
            message.body = Body::Asked;
            self.events.push_back(Event::WantBody);
        }
        self.state = State::Message(message);
    }

    fn finish_message(&mut self, message: Message) {
        let outcome = match (message.refused, message.taken) {
            (Some((stage, reply)), _) => Outcome::Refused { stage, reply },
            (None, _) if message.accepted.is_empty() => Outcome::NoRecipients,
            (None, Some(reply)) => Outcome::Accepted(reply),
            (None, None) => Outcome::Delivered,
        };
        self.events.push_back(Event::Done(outcome));
        self.messages = self.messages.saturating_add(1);
        if message.open && !self.leaving {
            self.command("RSET");
            self.state = State::Reset;
        } else {
            self.become_ready();
        }
    }

    pub(super) fn message_reply(&mut self, reply: Reply) {
        let State::Message(message) = &mut self.state else { return };
        let refused = matches!(reply.class(), ReplyClass::Transient | ReplyClass::Permanent);
        let accepted = reply.class() == ReplyClass::Completion;
        let stage = message.stage();
        match message.expected.pop_front() {
            Some(Expected::Mail) if accepted => message.open = true,
            Some(Expected::Recipient(_)) if message.refused.is_some() => {}
            Some(Expected::Recipient(index)) if accepted || refused => {
                if accepted {
                    message.accepted.push(index);
                }
                self.events.push_back(Event::Recipient { index, reply });
            }
            Some(Expected::Data) if reply.code() == 354 && message.is_wanted() => message.body = Body::Open,
            Some(Expected::Data) if reply.code() == 354 => {
                // "the client [...] SHOULD send a single dot" (RFC 2920 section 3.1).
                message.expected.push_back(Expected::EndOfNothing);
                self.command(".");
            }
            Some(Expected::Data) if refused && !message.is_wanted() => {}
            Some(Expected::Chunk) if accepted || (refused && message.refused.is_some()) => {}
            Some(Expected::Mail | Expected::Data | Expected::Chunk) if refused => {
                message.refuse(stage, reply)
            }
            Some(Expected::End) if accepted => {
                message.open = false;
                message.taken = Some(reply);
            }
            Some(Expected::End) if refused => {
                message.open = false;
                message.refuse(stage, reply);
            }
            Some(Expected::EndFor(index)) if accepted || refused => {
                message.open = false;
                self.events.push_back(Event::Delivery { index, reply });
            }
            Some(Expected::EndOfNothing) if accepted || refused => message.open = false,
            _ => self.fail_at(stage, reply),
        }
    }

    pub(super) fn push_body(&mut self, piece: Bytes) {
        let State::Message(message) = &mut self.state else { return };
        if message.body != Body::Asked {
            return;
        }
        message.body = Body::Open;
        self.deadline = None;
        if piece.is_empty() {
            return;
        }
        match &mut message.transfer {
            Transfer::Data(stuffer) => {
                let piece = stuffer.stuff(piece);
                self.piece(piece);
            }
            Transfer::Chunks { held } => {
                if let Some(piece) = held.replace(piece) {
                    message.expected.push_back(Expected::Chunk);
                    self.command(&format!("BDAT {}", piece.len()));
                    self.piece(piece);
                }
            }
        }
    }

    pub(super) fn push_body_end(&mut self) {
        let lmtp = self.config.protocol == Protocol::Lmtp;
        let State::Message(message) = &mut self.state else { return };
        if message.body != Body::Asked {
            return;
        }
        message.body = Body::Ended;
        if lmtp {
            message.expected.extend(message.accepted.iter().map(|&index| Expected::EndFor(index)));
        } else {
            message.expected.push_back(Expected::End);
        }
        self.deadline = None;
        match &mut message.transfer {
            Transfer::Data(stuffer) => {
                let end = stuffer.finish();
                self.piece(end);
            }
            Transfer::Chunks { held } => {
                let piece = held.take().unwrap_or_default();
                self.command(&format!("BDAT {} LAST", piece.len()));
                self.piece(piece);
            }
        }
    }
}
