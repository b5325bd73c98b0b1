//! The way from the greeting to the first request.

use packetboat_wire::{Reply, ReplyClass};

use super::{Client, Error, Event, Features, State, TlsPolicy};
use crate::command::{Command, Protection};

/// What is said on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preparation {
    Auth,
    Host,
    User,
    Pass,
    Acct,
    Pbsz,
    Prot,
    Feat,
    Utf8,
}

impl Client {
    pub(super) fn greeted(&mut self, reply: Reply) {
        if reply.code() != 220 {
            return self.fail(Error::Ended(reply));
        }
        if self.tls.is_none() && self.config.tls != TlsPolicy::Never {
            self.prepare(Preparation::Auth);
        } else {
            self.go_on_after_tls();
        }
    }

    /// There is TLS, or there will be none.
    pub(super) fn go_on_after_tls(&mut self) {
        if self.config.host.is_some() { self.prepare(Preparation::Host) } else { self.log_in() }
    }

    fn log_in(&mut self) {
        if self.config.login.is_none() {
            return self.logged_in();
        }
        self.prepare(Preparation::User);
    }

    fn logged_in(&mut self) {
        if self.tls.is_some() && self.config.protect_data {
            self.prepare(Preparation::Pbsz);
        } else {
            self.prepare(Preparation::Feat);
        }
    }

    fn prepare(&mut self, preparation: Preparation) {
        let login = self.config.login.as_ref();
        let command = match preparation {
            Preparation::Auth => Command::Auth("TLS".to_owned()),
            Preparation::Host => Command::Host(self.config.host.clone().unwrap_or_default()),
            Preparation::User => Command::User(login.map(|login| login.name.clone()).unwrap_or_default()),
            Preparation::Pass if self.tls.is_none() && !self.config.password_in_clear => {
                return self.fail(Error::InClear);
            }
            Preparation::Pass => Command::Pass(login.map(|login| login.password.clone()).unwrap_or_default()),
            Preparation::Acct => match login.and_then(|login| login.account.clone()) {
                Some(account) => Command::Acct(account),
                None => return self.fail(Error::NeedsAccount),
            },
            Preparation::Pbsz => Command::Pbsz(0),
            Preparation::Prot => Command::Prot(Protection::Private),
            Preparation::Feat => Command::Feat,
            Preparation::Utf8 => Command::Opts("UTF8".to_owned(), Some("ON".to_owned())),
        };
        if self.say(&command) {
            self.state = State::Preparing(preparation);
        }
    }

    pub(super) fn prepared(&mut self, preparation: Preparation, reply: Reply) {
        let class = reply.class();
        let done = class == ReplyClass::Completion;
        match (preparation, reply.code()) {
            (Preparation::Auth, 234 | 334) => {
                // What came with it was sent before there was anybody to trust.
                self.input.clear();
                self.state = State::Handshake;
            }
            (Preparation::Auth, _) if self.config.tls == TlsPolicy::Require => {
                self.fail(Error::TlsRefused(reply));
            }
            (Preparation::Auth, _) => self.go_on_after_tls(),
            // A server without HOST has one host.
            (Preparation::Host, 500 | 502) => self.log_in(),
            (Preparation::Host, _) if done => self.log_in(),
            (Preparation::User, 331) => self.prepare(Preparation::Pass),
            (Preparation::User | Preparation::Pass, 332) => self.prepare(Preparation::Acct),
            (Preparation::User | Preparation::Pass | Preparation::Acct, _) if done => self.logged_in(),
            (Preparation::Host | Preparation::User | Preparation::Pass | Preparation::Acct, _)
                if matches!(class, ReplyClass::Transient | ReplyClass::Permanent) =>
            {
                self.fail(Error::Login(reply));
            }
            (Preparation::Pbsz, _) if done => self.prepare(Preparation::Prot),
            (Preparation::Prot, _) if done => {
                self.known.protected = true;
                self.prepare(Preparation::Feat);
            }
            (Preparation::Pbsz | Preparation::Prot, _) if self.config.tls == TlsPolicy::Require => {
                self.fail(Error::NotProtected(reply));
            }
            (Preparation::Pbsz | Preparation::Prot, _) => self.prepare(Preparation::Feat),
            (Preparation::Feat, _) => {
                if done {
                    self.features = Features::read(&reply);
                }
                // Some servers speak another code until they are asked (RFC 2640 knows nothing of it).
                if self.features.has("UTF8") { self.prepare(Preparation::Utf8) } else { self.ready() }
            }
            (Preparation::Utf8, _) => self.ready(),
            _ => self.fail(Error::OutOfPlace(reply)),
        }
    }

    fn ready(&mut self) {
        self.state = State::Ready;
        self.events.push_back(Event::Ready);
    }
}
