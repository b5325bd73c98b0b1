//! Which servers are tried, in which order, and how each connection is protected.

use packetboat_smtp::client::TlsPolicy;

use super::request::TlsMode;
use super::settings::Settings;
use crate::net::Place;
use crate::tls::Trust;

const SMTP: u16 = 25;
const LMTP: u16 = 24;
const SUBMISSION: u16 = 587;
const SUBMISSIONS: u16 = 465;

/// One server, at one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) place: Place,
    mode: TlsMode,
}

/// How one connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protection {
    /// TLS comes before the first word.
    pub(crate) implicit: bool,
    /// Whether STARTTLS is used.
    pub(crate) policy: TlsPolicy,
    pub(crate) trust: Trust,
    /// The password itself may be sent although there is no TLS.
    pub(crate) password_in_clear: bool,
}

/// The servers and ports to be tried in turn.
pub(crate) fn candidates(settings: &Settings) -> Vec<Candidate> {
    let usual: &[(u16, TlsMode)] = match (settings.lmtp, settings.tls) {
        (true, mode) => &[(LMTP, mode)],
        // RFC 8314 section 3.3 prefers TLS from the first octet.
        (false, TlsMode::Auto) => &[(SUBMISSIONS, TlsMode::Implicit), (SUBMISSION, TlsMode::StartTls)],
        (false, TlsMode::Implicit) => &[(SUBMISSIONS, TlsMode::Implicit)],
        (false, TlsMode::StartTls) => &[(SUBMISSION, TlsMode::StartTls)],
        (false, TlsMode::None) if settings.login.is_some() => &[(SUBMISSION, TlsMode::None)],
        (false, TlsMode::None) => &[(SMTP, TlsMode::None)],
    };
    let mut candidates = Vec::new();
    for place in &settings.servers {
        match place {
            Place::Tcp { port: None, .. } => candidates.extend(
                usual.iter().map(|&(port, mode)| Candidate { place: place.clone().with_port(port), mode }),
            ),
            Place::Tcp { port: Some(SUBMISSIONS), .. } if settings.tls == TlsMode::Auto => {
                candidates.push(Candidate { place: place.clone(), mode: TlsMode::Implicit });
            }
            _ => candidates.push(Candidate { place: place.clone(), mode: settings.tls }),
        }
    }
    candidates
}

impl Candidate {
    /// How a connection to it is protected; `local` says that it does not leave this machine.
    pub(crate) fn protection(&self, settings: &Settings, local: bool) -> Protection {
        let relay = settings.lmtp || matches!(self.place, Place::Tcp { port: Some(SMTP), .. });
        // Between servers, and on one machine, TLS is taken where it is offered. What would go in the clear otherwise
        // loses nothing by going encrypted to somebody whose certificate nobody can check (RFC 7435).
        let relaxed = local || (relay && settings.login.is_none());
        let policy = match (self.mode, &self.place) {
            (TlsMode::None, _) => TlsPolicy::Never,
            // A socket in the file system has no name that a certificate could be for.
            (TlsMode::Auto, Place::Unix(_)) => TlsPolicy::Never,
            (TlsMode::Auto, _) if relaxed => TlsPolicy::Opportunistic,
            (TlsMode::Implicit, _) => TlsPolicy::Never,
            (TlsMode::Auto | TlsMode::StartTls, _) => TlsPolicy::Required,
        };
        let believes_anyone = local || (relaxed && policy == TlsPolicy::Opportunistic);
        Protection {
            implicit: self.mode == TlsMode::Implicit,
            policy,
            trust: match &settings.trust {
                Some(trust) => trust.clone(),
                None if believes_anyone => Trust::Anyone,
                None => Trust::System,
            },
            password_in_clear: local || self.mode == TlsMode::None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::super::settings::Login;
    use super::*;

    fn settings(server: &str, tls: TlsMode) -> Settings {
        Settings {
            servers: vec![server.parse().unwrap()],
            tls,
            trust: None,
            lmtp: false,
            helo: None,
            connect_timeout: Duration::from_secs(1),
            login: None,
            from: None,
        }
    }

    fn login() -> Option<Login> {
        Some(Login { user: "alice".to_owned(), password: "secret".into() })
    }

    #[test]
    fn a_server_without_a_port_is_tried_on_the_usual_ones() {
        use TlsMode::{Auto, Implicit, None, StartTls};
        for (server, tls, lmtp, expected) in [
            ("x", Auto, false, &[("x:465", Implicit), ("x:587", StartTls)][..]),
            ("x", Implicit, false, &[("x:465", Implicit)]),
            ("x", StartTls, false, &[("x:587", StartTls)]),
            ("x", None, false, &[("x:25", None)]),
            ("x", Auto, true, &[("x:24", Auto)]),
            ("x:465", Auto, false, &[("x:465", Implicit)]),
            ("x:465", StartTls, false, &[("x:465", StartTls)]),
            ("x:2525", Auto, false, &[("x:2525", Auto)]),
            ("unix:/s", Auto, true, &[("unix:/s", Auto)]),
        ] {
            let found = candidates(&Settings { lmtp, ..settings(server, tls) });
            let shown: Vec<_> = found.iter().map(|c| (c.place.to_string(), c.mode)).collect();
            let expected: Vec<_> =
                expected.iter().map(|(place, mode)| ((*place).to_owned(), *mode)).collect();
            assert_eq!(shown, expected);
        }
        let with_login = Settings { login: login(), ..settings("x", None) };
        assert_eq!(candidates(&with_login)[0].place.to_string(), "x:587");
    }

    #[test]
    fn nothing_secret_goes_in_the_clear_or_to_strangers_unasked() {
        use TlsMode::{Auto, Implicit, None, StartTls};
        use TlsPolicy::{Never, Opportunistic, Required};
        for (server, tls, logs_in, local, policy, trust, in_clear) in [
            ("x:2525", Auto, false, false, Required, Trust::System, false),
            ("x:2525", Auto, true, false, Required, Trust::System, false),
            ("x:25", Auto, false, false, Opportunistic, Trust::Anyone, false),
            ("x:25", Auto, true, false, Required, Trust::System, false),
            ("x:25", StartTls, false, false, Required, Trust::System, false),
            ("x:587", None, true, false, Never, Trust::System, true),
            ("x:465", Implicit, true, false, Never, Trust::System, false),
            ("localhost:2525", Auto, true, true, Opportunistic, Trust::Anyone, true),
            ("localhost:465", Implicit, true, true, Never, Trust::Anyone, true),
            ("unix:/s", Auto, false, true, Never, Trust::Anyone, true),
        ] {
            let settings = Settings { login: logs_in.then(login).flatten(), ..settings(server, tls) };
            let protection = candidates(&settings)[0].protection(&settings, local);
            let expected =
                Protection { implicit: tls == Implicit, policy, trust, password_in_clear: in_clear };
            assert_eq!(protection, expected, "{server} {tls:?} {local}");
        }
        let strict = Settings { trust: Some(Trust::System), ..settings("localhost:2525", Auto) };
        assert_eq!(candidates(&strict)[0].protection(&strict, true).trust, Trust::System);
    }
}
