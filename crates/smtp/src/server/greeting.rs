//! The start of a session: the greeting, and what is offered after EHLO.

use std::borrow::Cow;
use std::time::Instant;

use packetboat_wire::Reply;
use packetboat_wire::sasl::Mechanism;

use crate::command::{Hello, HelloVerb};
use crate::reply;

use super::{Abort, Closed, Event, Role, Server, State, Turn};

impl Server {
    pub(super) fn greet(&mut self, now: Instant) -> Turn {
        let delay = self.config.timeouts.greeting_delay;
        if !delay.is_zero() && now < *self.deadline.get_or_insert(now + delay) {
            return Turn::Starved;
        }
        self.say_greeting();
        Turn::Again
    }

    pub(super) fn say_greeting(&mut self) {
        self.deadline = None;
        let State::Greeting(refusal) = std::mem::replace(&mut self.state, State::Command) else { return };
        match refusal {
            None => {
                let protocol = if self.config.role == Role::Lmtp { "LMTP" } else { "ESMTP" };
                let text = format!("{} {protocol} {}", self.config.hostname, self.config.banner);
                self.say(&reply::service_ready(text.trim_end().to_owned()));
            }
            Some(reply) if reply.code() == reply::CLOSING_CODE => self.say_last(&reply, Closed::Owner),
            Some(reply) => {
                self.say(&reply);
                self.flags.no_service = true;
            }
        }
    }

    pub(super) fn hello_command(&mut self, hello: Hello, now: Instant) -> Turn {
        // "The 500 reply code is recommended" for HELO and EHLO in LMTP (RFC 2033 section 4.1).
        if (hello.verb == HelloVerb::Lhlo) != (self.config.role == Role::Lmtp) {
            self.complain(&reply::unknown_command());
            return Turn::Again;
        }
        // A new hello does what RSET does (RFC 5321 section 4.1.4).
        self.abort(Abort::Hello);
        self.hello = Some(hello.verb);
        self.idle();
        let reply = match hello.verb {
            HelloVerb::Helo => reply::hello([self.config.hostname.as_str()]),
            HelloVerb::Ehlo | HelloVerb::Lhlo => self.offers(&hello.name, now),
        };
        self.say(&reply);
        Turn::Event(Event::Hello(hello))
    }

    fn offers(&self, client: &str, now: Instant) -> Reply {
        let config = &self.config;
        let mut lines: Vec<Cow<'_, str>> = Vec::with_capacity(16);
        lines.push(match client {
            "" => Cow::from(&config.hostname),
            client => format!("{} greets {client}", config.hostname).into(),
        });
        lines.push("PIPELINING".into());
        lines.push(format!("SIZE {}", config.limits.message_size).into());
        lines
            .extend(["8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "BINARYMIME"].map(Cow::from));
        if config.starttls && self.tls.is_none() {
            lines.push("STARTTLS".into());
        }
        let mut mechanisms = self.usable_mechanisms().peekable();
        if mechanisms.peek().is_some() && !self.flags.authenticated {
            lines.push(
                mechanisms.fold("AUTH".to_owned(), |line, mechanism| line + " " + mechanism.name()).into(),
            );
        }
        if config.dsn {
            lines.push("DSN".into());
        }
        match config.deliver_by {
            None => {}
            Some(0) => lines.push("DELIVERBY".into()),
            Some(least) => lines.push(format!("DELIVERBY {least}").into()),
        }
        if let Some((longest, until)) = self.future_release(now) {
            lines.push(format!("FUTURERELEASE {} {until:.0}", longest.as_secs()).into());
        }
        if config.require_tls && self.tls.is_some() {
            lines.push("REQUIRETLS".into());
        }
        if self.is_among(config.verify) {
            lines.push("VRFY".into());
        }
        if self.is_among(config.expand) {
            lines.push("EXPN".into());
        }
        if self.is_among(config.terminals) {
            lines.extend(["SEND", "SOML", "SAML"].map(Cow::from));
        }
        if config.etrn {
            lines.push("ETRN".into());
        }
        if config.atrn {
            lines.push("ATRN".into());
        }
        if config.turn {
            lines.push("TURN".into());
        }
        // RFC 9422: what else would be found out by running against it.
        lines.push(
            format!("LIMITS RCPTMAX={} MAILMAX={}", config.limits.recipients, config.limits.messages).into(),
        );
        lines.push("HELP".into());
        reply::hello(lines)
    }

    /// The mechanisms that can be used on this connection as it is.
    pub(super) fn usable_mechanisms(&self) -> impl Iterator<Item = Mechanism> + '_ {
        let active = self.tls.is_some() || !self.config.auth.needs_tls;
        let bindable = self.tls.as_ref().is_some_and(|tls| !tls.bindings.is_empty());
        // The secret itself is not sent, and those who know no better mechanism know no TLS.
        let usable = move |mechanism: &Mechanism| {
            (active || *mechanism == Mechanism::CramMd5) && (bindable || !mechanism.binds_channel())
        };
        self.config.auth.mechanisms.iter().copied().filter(usable)
    }
}
