//! Commands, one line each.

use std::time::Instant;

use packetboat_wire::{LineEnding, LineError, Reply};

use crate::command::{self, Command, CommandError, Offered, Strictness};
use crate::envelope::{BodyKind, Hold, Late, Recipient, Sender};
use crate::reply;

use super::body::LineEnds;
use super::config::{AUTH_LINE_MAX, COMMAND_LINE_MAX};
use super::{Abort, Closed, Event, Question, Reversal, Role, Server, State, Transaction, Turn};

/// The first octet of a TLS record with a handshake: a client that takes our clear port for one with implicit TLS.
const TLS_HANDSHAKE: u8 = 0x16;

impl Server {
    pub(super) fn command(&mut self, now: Instant) -> Turn {
        if self.flags.shut_down {
            self.say_last(&reply::shutting_down(), Closed::ShutDown);
            return Turn::Again;
        }
        if let Some(reply) = self.last_words.take() {
            self.say_last(&reply, Closed::Owner);
            return Turn::Again;
        }
        if let Some(reply) = self.limit_reached() {
            self.say_last(&reply, Closed::Limit);
            return Turn::Again;
        }
        let start = self.input.as_slice();
        if start.first() == Some(&TLS_HANDSHAKE) {
            self.say_last(&reply::foreign_protocol(), Closed::Hostile);
            return Turn::Again;
        }
        let is_auth = start.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
        let max = if is_auth { AUTH_LINE_MAX } else { COMMAND_LINE_MAX };
        let ending = match self.config.strictness {
            Strictness::Lenient => LineEnding::CrlfOrLf,
            Strictness::Strict => LineEnding::Crlf,
        };
        let line = match self.input.take_line(max, ending) {
            Ok(None) => return Turn::Starved,
            Ok(Some(line)) => line,
            Err(error) => {
                self.deadline = None;
                self.complain(&match error {
                    LineError::TooLong => reply::line_too_long(),
                    LineError::BareCr | LineError::BareLf => reply::bare_line_ending(),
                });
                return Turn::Again;
            }
        };
        self.deadline = None;
        match command::parse(&line, self.config.strictness, &self.offered()) {
            Ok(command) if self.flags.no_service => self.only_quit(&command),
            Ok(command) => return self.execute(command, now),
            Err(CommandError::ForeignProtocol) => {
                self.say_last(&reply::foreign_protocol(), Closed::Hostile);
            }
            Err(error @ CommandError::ChunkSize) => {
                // Where the chunk ends is unknown: what follows must not be taken for commands.
                self.say_last(&error_reply(error), Closed::Hostile);
            }
            Err(error) => self.complain(&error_reply(error)),
        }
        Turn::Again
    }

    /// "the server MUST still wait for the client to send a QUIT [...] and SHOULD respond to any intervening commands
    /// with "503 bad sequence of commands"" (RFC 5321 section 3.1).
    fn only_quit(&mut self, command: &Command) {
        match command {
            Command::Quit => self.say_last(&reply::closing(), Closed::Owner),
            _ => self.complain(&reply::bad_sequence("No service here, say QUIT")),
        }
    }

    fn execute(&mut self, command: Command, now: Instant) -> Turn {
        match command {
            Command::Hello(hello) => return self.hello_command(hello, now),
            Command::Mail(sender) => return self.mail(sender, now),
            Command::Rcpt { recipient, needs_utf8 } => return self.rcpt(recipient, needs_utf8),
            Command::Data => return self.data_command(),
            Command::Bdat { size, last } => return self.bdat_command(size, last),
            Command::Auth { mechanism, initial } => return self.auth_command(&mechanism, initial),
            Command::Verify(query) => return self.verify(query),
            Command::Expand(query) => return self.expand(query),
            Command::StartTls => self.starttls(),
            Command::Reset => {
                self.abort(Abort::Reset);
                self.idle();
                self.say(&reply::ok());
            }
            Command::Noop => {
                self.idle();
                self.say(&reply::ok());
            }
            Command::Help(topic) => self.help(topic.as_deref()),
            Command::Etrn(node) => return self.etrn(node),
            Command::Turn => return self.reverse(Reversal::Turn),
            Command::Atrn(domains) => return self.reverse(Reversal::Atrn(domains)),
            Command::Quit => self.say_last(&reply::closing(), Closed::Quit),
        }
        Turn::Again
    }

    /// Counts a command that leads to no message.
    pub(super) fn idle(&mut self) {
        self.counts.idle_commands += 1;
    }

    /// The parameters that are understood, on this connection as it is.
    fn offered(&self) -> Offered {
        let config = &self.config;
        Offered {
            auth: !config.auth.mechanisms.is_empty(),
            dsn: config.dsn,
            deliver_by: config.deliver_by.is_some(),
            future_release: config.role == Role::Submission
                && config.future_release.is_some()
                && self.clock.is_some(),
            require_tls: config.require_tls && self.tls.is_some(),
        }
    }

    fn limit_reached(&self) -> Option<Reply> {
        let (counts, limits) = (&self.counts, &self.config.limits);
        if counts.errors > limits.errors || counts.refusals > limits.refusals {
            Some(reply::too_many_errors())
        } else if counts.idle_commands > limits.idle_commands {
            Some(reply::too_many_commands())
        } else {
            None
        }
    }

    /// TLS or a login, where they have to come before anything of substance, and have not.
    pub(super) fn security_must_come_first(&self) -> Option<Reply> {
        if self.config.tls_required && self.tls.is_none() {
            Some(reply::tls_required())
        } else if self.config.auth.required && !self.flags.authenticated {
            Some(reply::authentication_required())
        } else {
            None
        }
    }

    /// The right answer to a command that is out of place: what has to come first, before `otherwise`.
    pub(super) fn out_of_place(&self, otherwise: &'static str) -> Reply {
        match self.security_must_come_first() {
            // A client that has not introduced itself does not know yet how to log in.
            Some(reply) if self.hello.is_some() || (self.config.tls_required && self.tls.is_none()) => reply,
            _ if self.hello.is_some() => reply::bad_sequence(otherwise),
            _ if self.config.role == Role::Lmtp => reply::bad_sequence("Say LHLO first"),
            _ => reply::bad_sequence("Say EHLO or HELO first"),
        }
    }

    fn mail(&mut self, sender: Sender, now: Instant) -> Turn {
        let limits = &self.config.limits;
        if self.hello.is_none() || self.security_must_come_first().is_some() || self.transaction.is_some() {
            self.complain(&self.out_of_place("A transaction is open, finish it or say RSET"));
        } else if let Some(reply) = self.target_refused(sender.target) {
            self.complain(&reply);
        } else if self.counts.messages >= limits.messages {
            self.say_last(&reply::too_many_messages(), Closed::Limit);
        } else if sender.size.is_some_and(|size| size > limits.message_size) {
            self.say_refusal(&reply::message_too_big(limits.message_size));
        } else if let Some(reply) = self.times_refused(&sender, now) {
            self.complain(&reply);
        } else {
            self.state = State::Asked(Question::Sender(Transaction {
                body: sender.body,
                smtputf8: sender.smtputf8,
                accepted: 0,
                some_refused: false,
                chunked: false,
                octets: 0,
                line_ends: LineEnds::default(),
            }));
            return Turn::Event(Event::Sender(sender));
        }
        Turn::Again
    }

    /// Why a message cannot be held for so long, or delivered in so short a time.
    fn times_refused(&self, sender: &Sender, now: Instant) -> Option<Reply> {
        let least = self.config.deliver_by.unwrap_or(0);
        if let Some(by) = sender.deliver_by
            && by.late == Late::Return
            && u32::try_from(by.seconds).is_ok_and(|seconds| seconds < least)
        {
            return Some(reply::too_short_a_time(least));
        }
        let hold = sender.hold?;
        let Some((longest, until)) = self.future_release(now) else {
            return Some(reply::unknown_parameter());
        };
        let too_long = match hold {
            Hold::For(seconds) => u64::from(seconds) > longest.as_secs(),
            Hold::Until(moment) => moment > until,
        };
        if too_long {
            return Some(reply::wrong_argument("The message cannot be held for so long"));
        }
        let (by, clock) = (sender.deliver_by?, self.clock(now)?);
        // RFC 4865 section 5.2.2.
        let never = hold.at(clock) > by.at(clock);
        never.then(|| reply::wrong_argument("The message would be held until it is too late"))
    }

    fn rcpt(&mut self, recipient: Recipient, needs_utf8: bool) -> Turn {
        let Some(transaction) = &mut self.transaction else {
            self.complain(&self.out_of_place("Say MAIL first"));
            return Turn::Again;
        };
        if transaction.chunked {
            self.complain(&reply::bad_sequence("The message has begun"));
        } else if transaction.accepted >= self.config.limits.recipients {
            transaction.some_refused = true;
            // No fault of the client: it is told how many in EHLO, and to come back with the rest.
            self.say(&reply::too_many_recipients());
        } else if needs_utf8 && !transaction.smtputf8 {
            transaction.some_refused = true;
            self.say_refusal(&reply::recipient_needs_utf8());
        } else {
            self.state = State::Asked(Question::Recipient);
            return Turn::Event(Event::Recipient(recipient));
        }
        Turn::Again
    }

    fn data_command(&mut self) -> Turn {
        if let Err(reply) = self.body_may_start() {
            self.complain(&reply);
            return Turn::Again;
        }
        match &self.transaction {
            Some(transaction) if transaction.chunked => {
                // "DATA and BDAT commands cannot be used in the same transaction" (RFC 3030 section 2).
                self.complain(&reply::bad_sequence("DATA after BDAT, say RSET"));
            }
            Some(transaction) if transaction.body == BodyKind::Binary => {
                // "a 503 "Bad sequence of commands" response MUST be sent" (RFC 3030 section 3).
                self.complain(&reply::bad_sequence("A binary message comes by BDAT"));
            }
            _ => {
                self.state = State::Asked(Question::Data);
                let body = self.transaction.as_ref().map(|transaction| transaction.body);
                return Turn::Event(Event::BodyStart(body.unwrap_or_default()));
            }
        }
        Turn::Again
    }

    /// Whether there is anybody to send a message to.
    pub(super) fn body_may_start(&self) -> Result<(), Reply> {
        match &self.transaction {
            None => Err(self.out_of_place("Say MAIL and RCPT first")),
            Some(transaction) if transaction.accepted > 0 => Ok(()),
            // "must return a 503 [...] if there are no successful RCPT commands" (RFC 2033 section 4.2).
            Some(transaction) if transaction.some_refused && self.config.role != Role::Lmtp => {
                Err(reply::no_valid_recipients())
            }
            Some(_) => Err(reply::bad_sequence("No valid recipients")),
        }
    }

    fn starttls(&mut self) {
        if self.tls.is_some() {
            self.complain(&reply::bad_sequence("TLS is active already"));
        } else if !self.config.starttls {
            self.complain(&reply::not_implemented());
        } else if self.transaction.is_some() || self.flags.authenticated {
            self.complain(&reply::bad_sequence("Not now"));
        } else {
            // What follows in the clear may have been put there by somebody in between, to be taken for the client's own
            // under TLS. It is forgotten when the handshake is done (RFC 3207 section 4.2).
            self.say(&reply::ready_to_start_tls());
            self.state = State::Handshake { begun: false };
        }
    }
}

fn error_reply(error: CommandError) -> Reply {
    match error {
        CommandError::UnknownVerb => reply::unknown_command(),
        CommandError::NotImplemented => reply::not_implemented(),
        CommandError::ForeignProtocol => reply::foreign_protocol(),
        CommandError::Characters => reply::invalid_characters(),
        CommandError::Argument => reply::wrong_argument("Wrong or missing argument"),
        CommandError::HelloName => reply::wrong_argument("Give your domain name or [address]"),
        CommandError::ChunkSize => reply::wrong_argument("Syntax: BDAT size [LAST], closing connection"),
        CommandError::PathSyntax => reply::wrong_argument("Syntax: MAIL FROM:<address>, RCPT TO:<address>"),
        CommandError::SenderSyntax => reply::sender_syntax(),
        CommandError::SenderDomainMissing => reply::sender_domain_missing(),
        CommandError::SenderNeedsUtf8 => reply::sender_needs_utf8(),
        CommandError::RecipientSyntax => reply::recipient_syntax(),
        CommandError::RecipientDomainMissing => reply::recipient_domain_missing(),
        CommandError::NameNeedsUtf8 => reply::recipient_needs_utf8(),
        CommandError::NodeSyntax => reply::wrong_argument("Give a domain name in full"),
        CommandError::UnknownParameter => reply::unknown_parameter(),
        CommandError::UnknownParameterValue => reply::parameter_not_implemented(),
        CommandError::ParameterSyntax => reply::wrong_argument("Wrong parameter syntax"),
    }
}
