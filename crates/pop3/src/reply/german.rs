//! The replies in German, in UTF-8 (RFC 6856).

use std::fmt::{self, Write};

use bytes::BytesMut;

use super::{Plural, Reply};
use crate::Language;

impl Reply<'_> {
    pub(super) fn german(self, out: &mut BytesMut) -> fmt::Result {
        if let Some(written) = self.common(out) {
            return written;
        }
        match self {
            Reply::Ready { hostname, timestamp: None } => write!(out, " {hostname} POP3-Server bereit"),
            Reply::Ready { hostname, timestamp: Some(timestamp) } => {
                write!(out, " {hostname} POP3-Server bereit {timestamp}")
            }
            Reply::Maildrop { messages, octets } => {
                write!(
                    out,
                    " {} im Postfach ({octets} Oktette)",
                    Plural(messages, "Nachricht", "Nachrichten")
                )
            }
            Reply::ListFollows { messages, octets } => {
                write!(out, " {} ({octets} Oktette)", Plural(messages, "Nachricht", "Nachrichten"))
            }
            Reply::MessageFollows { octets } => write!(out, " {octets} Oktette"),
            Reply::Deleted { number } => write!(out, " Nachricht {number} gelöscht"),
            Reply::Goodbye { hostname } => write!(out, " {hostname} POP3-Server meldet sich ab"),
            Reply::GoodbyeLeaving { hostname, messages: 0 } => {
                write!(out, " {hostname} POP3-Server meldet sich ab (Postfach leer)")
            }
            Reply::GoodbyeLeaving { hostname, messages } => {
                let left = Plural(messages, "Nachricht", "Nachrichten");
                write!(out, " {hostname} POP3-Server meldet sich ab (noch {left})")
            }
            Reply::NoSuchMessage { messages } => {
                write!(out, " keine solche Nachricht, das Postfach hat {messages}")
            }
            Reply::AlreadyDeleted { number } => write!(out, " Nachricht {number} ist schon gelöscht"),
            Reply::LanguageChosen => write!(out, " {} Sprache gewechselt", Language::German.tag()),
            other => write!(out, " {}", other.plain_german()),
        }
    }

    fn plain_german(self) -> &'static str {
        match self {
            Reply::SendPassword => "bitte das Passwort senden",
            Reply::UniqueIdsFollow => "Liste der Kennungen folgt",
            Reply::TopFollows => "Anfang der Nachricht folgt",
            Reply::CapabilitiesFollow => "Liste der Fähigkeiten folgt",
            Reply::MechanismsFollow => "Liste der Verfahren folgt",
            Reply::LanguagesFollow => "Liste der Sprachen folgt:",
            Reply::BeginTls => "jetzt TLS aushandeln",
            Reply::Utf8Enabled => "UTF-8 eingeschaltet",
            Reply::UnknownCommand => "unbekannter Befehl",
            Reply::BadArguments => "falsche Angaben für diesen Befehl",
            Reply::LineTooLong => "Zeile zu lang",
            Reply::LoginFirst => "bitte zuerst anmelden",
            Reply::AlreadyLoggedIn => "schon angemeldet",
            Reply::UserFirst => "USER kommt vor PASS",
            Reply::TlsUnavailable => "TLS ist nicht verfügbar",
            Reply::TlsActive => "TLS ist schon aktiv",
            Reply::TlsAfterUtf8 => "STLS muss vor UTF8 kommen",
            Reply::PlaintextForbidden => "Passwörter werden nur über TLS angenommen: zuerst STLS",
            Reply::ApopUnavailable => "APOP ist nicht verfügbar",
            Reply::UnknownMechanism => "unbekanntes Anmeldeverfahren",
            Reply::BadResponse => "fehlerhafte Antwort bei der Anmeldung",
            Reply::Cancelled => "Anmeldung abgebrochen",
            Reply::WrongCredentials => "Name oder Passwort falsch",
            Reply::InUse => "das Postfach ist in einer anderen Sitzung offen",
            Reply::LoginDelay => "bitte mit der nächsten Anmeldung warten",
            Reply::TemporaryFailure => "vorübergehende Störung, bitte später wieder versuchen",
            Reply::PermanentFailure => "das geht erst wieder, wenn der Postmaster es behoben hat",
            Reply::NeedsUtf8 => "diese Nachricht braucht den UTF-8-Modus",
            Reply::NotDeleted => "die Nachrichten konnten nicht gelöscht werden, alle sind noch da",
            Reply::UnknownLanguage => "keine solche Sprache",
            Reply::TooManyErrors => "zu viele Fehler, Ende",
            Reply::TooManyLogins => "zu viele falsche Anmeldungen, Ende",
            Reply::WrongProtocol => "das ist ein POP3-Server",
            Reply::AccessRevoked => "der Zugang zu diesem Konto hat sich geändert, bitte neu anmelden",
            Reply::ShuttingDown => "der Server wird beendet, bitte später wiederkommen",
            _ => "",
        }
    }
}
