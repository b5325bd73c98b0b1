//! What CAPA lists (RFC 2449 section 6), and what AUTH alone lists.

use std::fmt::Write;

use packetboat_wire::sasl::Mechanism;

use super::{Config, Expire, Server, State};
use crate::Language;
use crate::reply::Reply;

/// Octets of a line in the capability list at most, its CRLF included (RFC 2449 section 3).
const CAPABILITY_LINE_MAX: usize = 512;

impl Server {
    /// "Capabilities available in the AUTHORIZATION state MUST be announced in both states" (RFC 2449 section 5); only
    /// STLS is for the former alone (RFC 2595 section 8).
    pub(super) fn list_capabilities(&mut self) {
        self.reply(Reply::CapabilitiesFollow);
        let config = self.config.clone();
        for line in ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UTF8 USER", "LANG"] {
            self.capability(line);
        }
        if self.password_allowed() {
            self.capability("USER");
        }
        let mechanisms: Vec<&str> = self.mechanisms().map(Mechanism::name).collect();
        if !mechanisms.is_empty() {
            self.capability(&format!("SASL {}", mechanisms.join(" ")));
        }
        if self.stls_possible() {
            self.capability("STLS");
        }
        if let Some(delay) = config.login_delay {
            self.capability(&format!("LOGIN-DELAY {}", delay.as_secs()));
        }
        match config.expire {
            Some(Expire::Never) => self.capability("EXPIRE NEVER"),
            Some(Expire::Days(days)) => self.capability(&format!("EXPIRE {days}")),
            None => {}
        }
        if let Some(implementation) = &config.implementation {
            self.capability(&format!("IMPLEMENTATION {implementation}"));
        }
        self.output.extend_from_slice(b".\r\n");
    }

    /// What RFC 1734 left open and clients came to rely on: one mechanism a line.
    pub(super) fn list_mechanisms(&mut self) {
        self.reply(Reply::MechanismsFollow);
        let names: Vec<&str> = self.mechanisms().map(Mechanism::name).collect();
        for name in names {
            self.capability(name);
        }
        self.output.extend_from_slice(b".\r\n");
    }

    /// LANG without a range (RFC 6856 section 3.2).
    pub(super) fn list_languages(&mut self) {
        self.reply(Reply::LanguagesFollow);
        for language in Language::ALL {
            // Writing into memory does not fail.
            let _ = write!(self.output, "{} {}\r\n", language.tag(), language.name());
        }
        self.output.extend_from_slice(b".\r\n");
    }

    /// LANG with a range.
    pub(super) fn choose_language(&mut self, range: &str) {
        let language = if range == "*" { Some(self.config.language) } else { Language::lookup(range) };
        match language {
            Some(language) => {
                self.language = language;
                self.reply(Reply::LanguageChosen);
            }
            None => self.reply(Reply::UnknownLanguage),
        }
    }

    fn capability(&mut self, line: &str) {
        let printable = line.bytes().filter(|octet| matches!(octet, b' '..=b'~'));
        self.output.extend(printable.take(CAPABILITY_LINE_MAX - 2));
        self.output.extend_from_slice(b"\r\n");
    }

    /// Whether a password may be sent as it is.
    pub(super) fn password_allowed(&self) -> bool {
        self.tls.is_some() || self.config.plaintext_logins
    }

    pub(super) fn stls_possible(&self) -> bool {
        self.config.stls && self.tls.is_none() && matches!(self.state, State::Authorization(_))
    }

    /// The SASL mechanisms offered on this connection as it is now.
    pub(super) fn mechanisms(&self) -> impl Iterator<Item = Mechanism> + '_ {
        let Config { mechanisms, .. } = &*self.config;
        let binds = self.tls.as_ref().is_some_and(|tls| !tls.bindings.is_empty());
        mechanisms.iter().copied().filter(move |mechanism| {
            (!mechanism.sends_password() || self.password_allowed()) && (!mechanism.binds_channel() || binds)
        })
    }
}
