//! Who it is: HOST, USER, PASS, ACCT, REIN, and what protects it: AUTH, PBSZ, PROT, CCC.

use super::{Asked, Event, Login, Phase, Refusal, Server, Settings, refusal};
use crate::command::{Command, Protection};
use crate::reply;

impl Server {
    pub(super) fn access(&mut self, command: Command) {
        match command {
            Command::Host(_) if self.login != Login::Nobody => self.say(&reply::host_too_late()),
            Command::Host(name) => self.ask(Asked::Host, Event::Host(name)),
            Command::User(_) if self.config.require_tls && self.tls.is_none() => {
                self.say(&reply::command_needs_protection());
            }
            // "Flushing any user, password, and account information already supplied" (RFC 959 section 4.1.1).
            Command::User(name) => {
                if self.login == Login::In {
                    return self.say(&reply::already_logged_in());
                }
                self.login = Login::Nobody;
                self.ask(Asked::User, Event::User(name));
            }
            Command::Pass(_) if self.login == Login::In => self.say(&reply::superfluous()),
            Command::Pass(password) if self.login == Login::Named => {
                self.ask(Asked::Password, Event::Password(password));
            }
            Command::Pass(_) => self.say(&reply::login_first()),
            Command::Acct(name) if matches!(self.login, Login::WantsAccount | Login::In) => {
                self.ask(Asked::Account, Event::Account(name));
            }
            Command::Acct(_) => self.say(&reply::login_first()),
            Command::Rein => self.reinitialize(),
            Command::Auth(mechanism) => self.authenticate(&mechanism),
            Command::Adat => self.say(&reply::bad_sequence()),
            Command::Protected => self.say(&reply::bad_sequence()),
            Command::Pbsz(_) if self.tls.is_none() => self.say(&reply::tls_first()),
            Command::Pbsz(_) => {
                // With TLS there are no buffers of ours to agree on (RFC 4217 section 8).
                self.settings.protection_buffer = true;
                self.say(&reply::set("PBSZ=0".to_owned()));
            }
            Command::Prot(level) => self.protection(level),
            Command::Ccc if self.tls.is_none() => self.say(&reply::command_needs_protection()),
            // Whoever has not logged in could only waste handshakes by it (RFC 4217 section 15.3).
            Command::Ccc if self.config.allow_ccc && self.login == Login::In => {
                // What the client has sent in the same breath it has sent under TLS, before our answer.
                self.input.clear();
                self.phase = Phase::Clearing;
                self.event = Some(Event::ClearControl);
                self.say(&reply::set("TLS ends here, go on in the clear.".to_owned()));
            }
            // Leaving TLS in the middle of a connection is what truncation attacks are made of.
            _ => self.say(&reply::clear_needed()),
        }
    }

    fn authenticate(&mut self, mechanism: &str) {
        let known = ["TLS", "TLS-C", "SSL", "TLS-P"].contains(&mechanism);
        let answer = match (known, self.config.tls, self.tls.is_some()) {
            (false, ..) => reply::parameter_not_implemented(),
            (true, false, _) => reply::security_unavailable(),
            (true, true, true) => reply::bad_sequence(),
            (true, true, false) => {
                self.phase = Phase::Handshake;
                reply::tls_begins()
            }
        };
        self.say(&answer);
    }

    fn protection(&mut self, level: Protection) {
        if self.tls.is_none() {
            return self.say(&reply::tls_first());
        }
        if !self.settings.protection_buffer {
            return self.say(&reply::pbsz_first());
        }
        let before = self.settings.protected;
        match level {
            Protection::Private => {
                self.settings.protected = true;
                self.say(&reply::set("Data connections are protected.".to_owned()));
            }
            Protection::Clear
                if self.config.allow_clear_data
                    && !self.config.require_protection
                    && !self.settings.needs_protection =>
            {
                self.settings.protected = false;
                self.say(&reply::set("Data connections are in the clear.".to_owned()));
            }
            Protection::Clear => self.say(&reply::clear_needed()),
            Protection::Safe | Protection::Confidential => self.say(&reply::level_not_supported()),
        }
        // One that is open is what it is.
        if self.settings.protected != before && std::mem::take(&mut self.settings.open) {
            self.event = Some(Event::CloseData);
        }
    }

    fn reinitialize(&mut self) {
        // "Except to allow any transfer in progress to be completed": it has been, or REIN would still wait.
        self.login = Login::Nobody;
        self.settings = Settings::default();
        self.disabled = self.config.disabled.clone();
        self.idle = self.config.timeouts.idle;
        self.event = Some(Event::Reinitialized);
        self.say(&reply::ready_again());
    }

    /// Whoever came is who it is.
    pub fn logged_in(&mut self) {
        let answer = match self.asked.take() {
            Some(Asked::User) => reply::logged_in_by_certificate(),
            Some(Asked::Password | Asked::Account) => reply::logged_in(),
            other => {
                self.asked = other;
                return;
            }
        };
        self.login = Login::In;
        self.last_activity = None;
        self.say(&answer);
    }

    /// The password is right, and the site wants an account.
    pub fn want_account(&mut self) {
        if self.asked.take().is_some() {
            self.login = Login::WantsAccount;
            self.say(&reply::need_account());
        }
    }

    /// A user is named, which is no reason yet to say anything about them.
    pub(super) fn accept_access(&mut self, asked: &Asked) {
        match asked {
            Asked::User => {
                self.login = Login::Named;
                self.say(&reply::need_password());
            }
            Asked::Host => {
                let greeting = reply::greeting(self.config.greeting.clone());
                self.say(&greeting);
            }
            _ => self.say(&reply::superfluous()),
        }
    }

    pub(super) fn refuse_access(&mut self, asked: &Asked, refused: &Refusal) {
        if matches!(asked, Asked::Host) {
            return self.say(&reply::parameter_not_implemented());
        }
        if self.login != Login::In {
            self.login = Login::Nobody;
            self.failed_logins += 1;
        }
        if *refused == Refusal::TooManyFailures || self.failed_logins >= self.config.login_failures {
            self.say(&reply::login_failed());
            return self.end(reply::too_many_failures());
        }
        self.say(&refusal::of_access(refused));
    }
}
