//! What the owner answers, and what becomes of it.

use packetboat_wire::sasl::ScramKeys;
use packetboat_wire::{Reply, ReplyClass};

use super::{Closed, Question, Server, State};
use crate::reply;

impl Server {
    /// Yes to the open question, with the usual reply. For LMTP and [`Event::BodyEnd`](super::Event::BodyEnd), yes for the next recipient.
    pub fn accept(&mut self) {
        self.answer(None);
    }

    /// Yes, with a reply of the owner's own. Where the reply is fixed (354, 235) this is the same as
    /// [`accept`](Server::accept).
    pub fn accept_with(&mut self, reply: Reply) {
        debug_assert_eq!(reply.class(), ReplyClass::Completion, "{reply} is no acceptance");
        self.answer(Some(reply));
    }

    /// No, with this reply; 4yz or 5yz. After a reply 421 the session closes.
    pub fn refuse(&mut self, reply: Reply) {
        debug_assert!(is_refusal(&reply), "{reply} is no refusal");
        self.answer(Some(reply));
    }

    /// Yes to [`Event::AuthStart`](super::Event::AuthStart). `nonce` is random and fresh, 18 octets or more.
    pub fn start_authentication(&mut self, nonce: &[u8]) {
        match std::mem::replace(&mut self.state, State::Command) {
            State::Asked(Question::AuthStart(request)) => self.begin_exchange(&request, nonce),
            other => self.state = other,
        }
    }

    /// The answer to a question for SCRAM keys.
    pub fn scram_keys(&mut self, keys: Vec<ScramKeys>) {
        if let State::Asked(Question::Auth(_)) = self.state
            && let State::Asked(Question::Auth(mut exchange)) =
                std::mem::replace(&mut self.state, State::Command)
        {
            exchange.scram_keys(keys);
            self.state = State::Auth(exchange);
        }
    }

    fn answer(&mut self, reply: Option<Reply>) {
        self.deadline = None;
        let reply = self.in_ascii(reply);
        let refused = reply.as_ref().is_some_and(is_refusal);
        let closes = reply.as_ref().is_some_and(|reply| refused && reply.code() == reply::CLOSING_CODE);
        match std::mem::replace(&mut self.state, State::Command) {
            State::Asked(question) if refused => self.answer_no(question, reply.as_ref()),
            State::Asked(question) => self.answer_yes(question, reply),
            other => self.state = other,
        }
        if closes {
            self.close(Closed::Owner);
        }
    }

    /// A reply that the client can take: what is not ASCII is kept from who has not asked for it, by saying less
    /// (RFC 6531 sections 3.7.4.1 and 3.7.4.2).
    fn in_ascii(&self, reply: Option<Reply>) -> Option<Reply> {
        let utf8 = match &self.state {
            State::Asked(Question::Name { utf8 }) => *utf8,
            State::Asked(Question::Recipient) => self.transaction.as_ref().is_some_and(|it| it.smtputf8),
            _ => return reply,
        };
        match reply {
            Some(reply) if utf8 || reply.lines().all(str::is_ascii) => Some(reply),
            Some(reply) => Some(match (&self.state, reply.class()) {
                (State::Asked(Question::Name { .. }), _) => reply::answer_needs_utf8(),
                (_, ReplyClass::Completion) => reply::recipient_ok(),
                _ => reply::mailbox_unavailable(),
            }),
            None => None,
        }
    }

    fn answer_yes(&mut self, question: Question, reply: Option<Reply>) {
        let or = |usual: fn() -> Reply| reply.unwrap_or_else(usual);
        match question {
            Question::Sender(transaction) => {
                self.transaction = Some(transaction);
                self.say(&or(reply::sender_ok));
            }
            Question::Recipient => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.accepted += 1;
                }
                self.say(&or(reply::recipient_ok));
            }
            Question::Data => self.begin_data(),
            Question::Chunk(chunk) => self.state = State::Chunk(chunk),
            Question::BodyEnd(awaited) => self.answer_body(awaited, &or(reply::ok)),
            Question::Name { .. } => self.say(&or(reply::cannot_verify)),
            Question::Etrn => self.say(&or(reply::ok)),
            Question::Turn => {
                self.say(&reply::turning());
                self.state = State::Turned;
            }
            // Without randomness there can be no login.
            Question::AuthStart(_) => self.say(&reply::authentication_unavailable()),
            Question::Auth(mut exchange) => {
                exchange.accept();
                self.state = State::Auth(exchange);
            }
            Question::Authenticated => {
                self.flags.authenticated = true;
                self.say(&reply::authenticated());
            }
        }
    }

    fn answer_no(&mut self, question: Question, reply: Option<&Reply>) {
        let Some(reply) = reply else { return };
        match question {
            Question::Sender(_) => self.say_refusal(reply),
            Question::Recipient => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.some_refused = true;
                }
                self.say_refusal(reply);
            }
            Question::Data => {
                self.transaction = None;
                self.say_refusal(reply);
            }
            Question::Chunk(_) if reply.code() == reply::CLOSING_CODE => {
                self.transaction = None;
                self.say_refusal(reply);
            }
            Question::Chunk(chunk) => {
                self.transaction = None;
                self.state = State::Chunk(chunk.refused(reply.clone()));
            }
            Question::BodyEnd(awaited) => self.answer_body(awaited, reply),
            Question::Name { .. } => self.say(reply),
            Question::Etrn | Question::Turn => self.say_refusal(reply),
            Question::AuthStart(_) | Question::Auth(_) | Question::Authenticated => self.complain(reply),
        }
    }

    /// One answer for the whole message, or for one recipient of it.
    fn answer_body(&mut self, awaited: u32, reply: &Reply) {
        if is_refusal(reply) {
            self.say_refusal(reply);
        } else {
            self.say(reply);
        }
        if awaited > 1 {
            self.state = State::Asked(Question::BodyEnd(awaited - 1));
            return;
        }
        self.transaction = None;
        self.counts.messages += 1;
        self.counts.idle_commands = 0;
    }
}

fn is_refusal(reply: &Reply) -> bool {
    matches!(reply.class(), ReplyClass::Transient | ReplyClass::Permanent)
}
