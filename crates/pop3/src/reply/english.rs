//! The replies in English: ASCII only.

use std::fmt::{self, Write};

use bytes::BytesMut;

use super::{Plural, Reply};
use crate::Language;

impl Reply<'_> {
    pub(super) fn english(self, out: &mut BytesMut) -> fmt::Result {
        if let Some(written) = self.common(out) {
            return written;
        }
        match self {
            Reply::Ready { hostname, timestamp: None } => write!(out, " {hostname} POP3 server ready"),
            Reply::Ready { hostname, timestamp: Some(timestamp) } => {
                write!(out, " {hostname} POP3 server ready {timestamp}")
            }
            Reply::Maildrop { messages, octets } => {
                write!(out, " maildrop has {} ({octets} octets)", Plural(messages, "message", "messages"))
            }
            Reply::ListFollows { messages, octets } => {
                write!(out, " {} ({octets} octets)", Plural(messages, "message", "messages"))
            }
            Reply::MessageFollows { octets } => write!(out, " {octets} octets"),
            Reply::Deleted { number } => write!(out, " message {number} deleted"),
            Reply::Goodbye { hostname } => write!(out, " {hostname} POP3 server signing off"),
            Reply::GoodbyeLeaving { hostname, messages: 0 } => {
                write!(out, " {hostname} POP3 server signing off (maildrop empty)")
            }
            Reply::GoodbyeLeaving { hostname, messages } => {
                let left = Plural(messages, "message", "messages");
                write!(out, " {hostname} POP3 server signing off ({left} left)")
            }
            Reply::NoSuchMessage { messages } => {
                write!(out, " no such message, only {} in maildrop", Plural(messages, "message", "messages"))
            }
            Reply::AlreadyDeleted { number } => write!(out, " message {number} already deleted"),
            Reply::LanguageChosen => write!(out, " {} Language changed", Language::English.tag()),
            other => write!(out, " {}", other.plain_english()),
        }
    }

    fn plain_english(self) -> &'static str {
        match self {
            Reply::SendPassword => "send your password",
            Reply::UniqueIdsFollow => "unique-id listing follows",
            Reply::TopFollows => "top of message follows",
            Reply::CapabilitiesFollow => "capability list follows",
            Reply::MechanismsFollow => "mechanism list follows",
            Reply::LanguagesFollow => "language listing follows:",
            Reply::BeginTls => "begin TLS negotiation now",
            Reply::Utf8Enabled => "UTF-8 mode enabled",
            Reply::UnknownCommand => "unknown command",
            Reply::BadArguments => "wrong arguments for this command",
            Reply::LineTooLong => "line too long",
            Reply::LoginFirst => "log in first",
            Reply::AlreadyLoggedIn => "already logged in",
            Reply::UserFirst => "USER comes before PASS",
            Reply::TlsUnavailable => "TLS is not available",
            Reply::TlsActive => "TLS is already active",
            Reply::TlsAfterUtf8 => "STLS must come before UTF8",
            Reply::PlaintextForbidden => "passwords are only accepted over TLS: use STLS first",
            Reply::ApopUnavailable => "APOP is not available",
            Reply::UnknownMechanism => "unknown authentication mechanism",
            Reply::BadResponse => "malformed authentication response",
            Reply::Cancelled => "authentication cancelled",
            Reply::WrongCredentials => "wrong name or password",
            Reply::InUse => "the maildrop is open in another session",
            Reply::LoginDelay => "please wait before logging in again",
            Reply::TemporaryFailure => "temporary problem here, please try again later",
            Reply::PermanentFailure => "this does not work until the postmaster has repaired it",
            Reply::NeedsUtf8 => "this message needs UTF-8 mode",
            Reply::NotDeleted => "the messages could not be deleted, all of them are still here",
            Reply::UnknownLanguage => "no such language",
            Reply::TooManyErrors => "too many errors, closing",
            Reply::TooManyLogins => "too many failed logins, closing",
            Reply::WrongProtocol => "this is a POP3 server",
            Reply::AccessRevoked => "access to this account has changed, log in again; closing",
            Reply::ShuttingDown => "the server is shutting down, please come back later",
            _ => "",
        }
    }
}
