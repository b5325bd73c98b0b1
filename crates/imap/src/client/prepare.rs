//! The way from the greeting to the first request, apart from the login.

use bytes::BufMut;

use super::{Client, Error, Event, Preparation, Refused, State, TlsPolicy};
use crate::response::{Completion, Status, write};

impl Client {
    /// The server has greeted and waits for a login.
    pub(super) fn greeted(&mut self) {
        match self.capabilities {
            Some(_) => self.go_on_after(Preparation::Capability),
            None => self.prepare(Preparation::Capability),
        }
    }

    /// The server knows who we are without a login.
    pub(super) fn greeted_as_known(&mut self) {
        // TLS cannot be begun any more (RFC 9051 section 6.2.1), and somebody in the middle may have said this.
        if self.tls.is_none() && self.config.tls == TlsPolicy::Require {
            return self.fail(Error::NoTls);
        }
        self.logged_in();
    }

    pub(super) fn prepare(&mut self, what: Preparation) {
        let tag = self.next_tag();
        self.output.extend_from_slice(tag.as_bytes());
        match what {
            Preparation::Capability | Preparation::CapabilityAfterLogin => {
                self.capabilities = None;
                self.output.extend_from_slice(b" CAPABILITY");
            }
            Preparation::StartTls => self.output.extend_from_slice(b" STARTTLS"),
            Preparation::Id => {
                self.output.extend_from_slice(b" ID ");
                let mut output = std::mem::take(&mut self.output);
                write::list(self.sayable_id(), &mut output, |(field, value), out| {
                    write::quoted_string(field, out);
                    out.put_u8(b' ');
                    write::quoted_string(value, out);
                });
                self.output = output;
            }
            Preparation::Enable => {
                self.output.extend_from_slice(b" ENABLE");
                for name in &self.config.enable {
                    if self.capabilities.as_ref().is_some_and(|capabilities| capabilities.has(name)) {
                        self.output.put_u8(b' ');
                        self.output.extend_from_slice(name.as_bytes());
                    }
                }
            }
        }
        self.output.extend_from_slice(b"\r\n");
        self.state = State::Preparing { tag, what };
    }

    /// The fields of ID that need no literal.
    fn sayable_id(&self) -> Vec<(&str, &str)> {
        let plain = |text: &str| text.bytes().all(|octet| matches!(octet, b' '..=b'~'));
        let fields = self.config.id.iter().map(|(field, value)| (field.as_str(), value.as_str()));
        fields.filter(|(field, value)| plain(field) && plain(value)).collect()
    }

    /// Takes the answer to a command of the session's own.
    pub(super) fn prepared(&mut self, what: Preparation, completion: Completion) {
        match (what, completion.status) {
            (Preparation::StartTls, Status::Ok) => {
                self.input.clear();
                self.state = State::Handshake;
            }
            (Preparation::StartTls, _) if self.config.tls == TlsPolicy::Require => {
                self.fail(Error::TlsRefused(Refused(completion)));
            }
            // A server that refuses CAPABILITY offers nothing; one that refuses ID or ENABLE is used without.
            _ => self.go_on_after(what),
        }
    }

    /// What comes after a preparation.
    fn go_on_after(&mut self, what: Preparation) {
        match what {
            Preparation::Capability if self.tls.is_some() || self.config.tls == TlsPolicy::Never => {
                self.log_in();
            }
            Preparation::Capability if self.has("STARTTLS") => self.prepare(Preparation::StartTls),
            Preparation::Capability if self.config.tls == TlsPolicy::Require => self.fail(Error::NoTls),
            Preparation::Capability | Preparation::StartTls => self.log_in(),
            Preparation::CapabilityAfterLogin => {
                // Asked for once, whatever came of it.
                self.capabilities.get_or_insert_default();
                self.logged_in();
            }
            Preparation::Id => self.enable(),
            Preparation::Enable => self.ready(),
        }
    }

    /// The login is done.
    pub(super) fn logged_in(&mut self) {
        if self.capabilities.is_none() {
            self.prepare(Preparation::CapabilityAfterLogin);
        } else if self.has("ID") && !self.sayable_id().is_empty() {
            self.prepare(Preparation::Id);
        } else {
            self.enable();
        }
    }

    fn enable(&mut self) {
        let offered = self.has("ENABLE") || self.has("IMAP4rev2");
        if offered && self.config.enable.iter().any(|name| self.has(name)) {
            self.prepare(Preparation::Enable);
        } else {
            self.ready();
        }
    }

    /// Requests can be sent.
    pub(super) fn ready(&mut self) {
        self.state = State::Ready;
        self.events.push_back(Event::Ready { capabilities: self.capabilities.clone().unwrap_or_default() });
    }
}
