//! What a server tells that it can do.

use packetboat_wire::sasl::Mechanism;

use super::{Extension, Server, State};

/// Extensions that matter before a login.
const BEFORE_LOGIN: [Extension; 4] = [Extension::Rev2, Extension::SaslIr, Extension::Id, Extension::Idle];

impl Server {
    /// Words for the CAPABILITY response, which differ by state, TLS and client.
    pub(super) fn capabilities(&self) -> String {
        let logged_in = matches!(self.state, State::Authenticated | State::Selected);
        let mut words = String::from("IMAP4rev1");
        let mut add = |word: &str| {
            words.push(' ');
            words.push_str(word);
        };
        // RFC 7888 section 5: the one or the other.
        add(if self.off.contains(Extension::LiteralPlus) { "LITERAL-" } else { "LITERAL+" });
        add("ENABLE");
        for (extension, name) in Extension::ALL {
            if self.off.contains(*extension) || !(logged_in || BEFORE_LOGIN.contains(extension)) {
                continue;
            }
            match extension {
                Extension::LiteralPlus => {}
                Extension::Compress if self.compression.is_some() => {}
                Extension::AppendLimit => add(&format!("APPENDLIMIT={}", self.config.append_limit)),
                Extension::SpecialUse => add("SPECIAL-USE CREATE-SPECIAL-USE"),
                Extension::Sort => add("SORT SORT=DISPLAY"),
                Extension::Thread => add("THREAD=REFERENCES THREAD=ORDEREDSUBJECT"),
                Extension::Quota => add("QUOTA QUOTA=RES-STORAGE"),
                _ => add(name),
            }
        }
        if logged_in {
            return words;
        }
        if self.starttls_possible() {
            add("STARTTLS");
        }
        if !self.password_allowed() {
            add("LOGINDISABLED");
        }
        for mechanism in self.mechanisms() {
            add(&format!("AUTH={}", mechanism.name()));
        }
        words
    }

    /// The mechanisms that can be used on this connection now.
    pub(super) fn mechanisms(&self) -> impl Iterator<Item = Mechanism> {
        let bindings = self.tls.as_ref().is_some_and(|tls| !tls.bindings.is_empty());
        let passwords = self.password_allowed();
        self.config.mechanisms.iter().copied().filter(move |mechanism| {
            (bindings || !mechanism.binds_channel()) && (passwords || !mechanism.sends_password())
        })
    }

    /// Whether a password may travel on this connection as it is.
    pub(super) fn password_allowed(&self) -> bool {
        self.tls.is_some() || self.config.plaintext_logins
    }

    pub(super) fn starttls_possible(&self) -> bool {
        self.config.starttls && self.tls.is_none()
    }
}
