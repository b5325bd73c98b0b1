//! Commands beside the transfer of mail: who is here, and whose mail shall go out now.

use packetboat_wire::Reply;

use crate::command::{Node, Query};
use crate::envelope::Target;
use crate::reply;

use super::{Audience, Event, Question, Reversal, Role, Server, State, Turn, help};

impl Server {
    /// Whether the client, as far as it is known by now, is one of these.
    pub(super) fn is_among(&self, audience: Audience) -> bool {
        match audience {
            Audience::Nobody => false,
            Audience::Users => self.flags.authenticated,
            Audience::Everybody => true,
        }
    }

    /// Why the client may not write to terminals, if it wants to.
    pub(super) fn target_refused(&self, target: Target) -> Option<Reply> {
        let audience = self.config.terminals;
        if target == Target::Mailbox || self.is_among(audience) {
            None
        } else if audience == Audience::Users && !self.config.auth.mechanisms.is_empty() {
            Some(reply::authentication_required())
        } else {
            Some(reply::not_implemented())
        }
    }

    pub(super) fn help(&mut self, topic: Option<&str>) {
        self.idle();
        if topic.is_some_and(|topic| topic.eq_ignore_ascii_case(help::STATUS)) {
            // "211 System status, or system help reply" (RFC 5321 section 4.2.3).
            return self.say(&reply::system_status(self.status()));
        }
        match help::on(topic) {
            Some(lines) => self.say(&reply::help(lines)),
            None => self.complain(&reply::no_help()),
        }
    }

    /// How the session stands, for a person.
    fn status(&self) -> [String; 4] {
        let protocol = match self.config.role {
            Role::Exchange => "SMTP",
            Role::Submission => "submission",
            Role::Lmtp => "LMTP",
        };
        let line = match &self.tls {
            Some(tls) => format!("under {} with {}", tls.version, tls.cipher),
            None => "in the clear".to_owned(),
        };
        let login = if self.flags.authenticated { "logged in" } else { "not logged in" };
        let message = match &self.transaction {
            Some(transaction) => format!("A message is begun, recipients so far: {}", transaction.accepted),
            None => "No message is begun".to_owned(),
        };
        [
            format!("{}, {protocol}", self.config.hostname),
            format!("The connection is {line}"),
            format!("You are {login}"),
            message,
        ]
    }

    pub(super) fn verify(&mut self, query: Query) -> Turn {
        self.idle();
        // "can be used at any time during a session, or without previously initializing a session" (RFC 5321
        // section 4.1.4), so no EHLO is asked for.
        if let Some(reply) = self.security_must_come_first() {
            self.complain(&reply);
        } else if !self.is_among(self.config.verify) {
            self.say(&reply::cannot_verify());
        } else {
            self.state = State::Asked(Question::Name { utf8: query.utf8 });
            return Turn::Event(Event::Verify(query));
        }
        Turn::Again
    }

    pub(super) fn expand(&mut self, query: Query) -> Turn {
        self.idle();
        if let Some(reply) = self.security_must_come_first() {
            self.complain(&reply);
        } else if self.config.expand == Audience::Nobody {
            self.complain(&reply::not_implemented());
        } else if !self.is_among(self.config.expand) {
            self.say(&reply::cannot_verify());
        } else {
            self.state = State::Asked(Question::Name { utf8: query.utf8 });
            return Turn::Event(Event::Expand(query));
        }
        Turn::Again
    }

    pub(super) fn etrn(&mut self, node: Node) -> Turn {
        self.idle();
        if !self.config.etrn {
            self.complain(&reply::not_implemented());
        } else if let Some(reply) = self.not_between_transactions() {
            self.complain(&reply);
        } else {
            self.state = State::Asked(Question::Etrn);
            return Turn::Event(Event::Etrn(node));
        }
        Turn::Again
    }

    pub(super) fn reverse(&mut self, how: Reversal) -> Turn {
        self.idle();
        let offered = match how {
            Reversal::Turn => self.config.turn,
            Reversal::Atrn(_) => self.config.atrn,
        };
        if !offered {
            self.complain(&reply::not_implemented());
        } else if matches!(how, Reversal::Atrn(_)) && !self.flags.authenticated {
            // "MUST be rejected if the session has not been authenticated. Response code 530 [AUTH] is used for this"
            // (RFC 2645 section 5.2.1).
            self.complain(&reply::authentication_required());
        } else if let Some(reply) = self.not_between_transactions() {
            self.complain(&reply);
        } else {
            self.state = State::Asked(Question::Turn);
            return Turn::Event(Event::Turn(how));
        }
        Turn::Again
    }

    /// "may be issued at any time once a session is established, as long as there is not a transaction occuring"
    /// (RFC 1985 section 5).
    fn not_between_transactions(&self) -> Option<Reply> {
        let wrong = self.hello.is_none() || self.transaction.is_some();
        let wrong = wrong || self.security_must_come_first().is_some();
        wrong.then(|| self.out_of_place("Not in a transaction, finish it or say RSET"))
    }
}
