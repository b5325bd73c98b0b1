//! Every reply the server gives, chosen by what it means.
//!
//! Status, response code (RFC 2449 section 8, RFC 3206, RFC 6856 section 5) and text of a reply are decided here and
//! nowhere else. What is significant to a client (`+OK`, numbers, codes) is the same in every language.

mod english;
mod german;

use std::fmt::{self, Write};

use bytes::BytesMut;

use crate::Language;

/// Octets of the first line of a reply at most, its CRLF included (RFC 2449 section 4).
pub const REPLY_LINE_MAX: usize = 512;

/// The bracketed code a program may act upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseCode {
    /// The credentials are at fault (RFC 3206 section 5).
    Auth,
    /// The maildrop is open elsewhere (RFC 2449 section 8.1.2).
    InUse,
    /// The last login was too short a time ago (RFC 2449 section 8.1.1).
    LoginDelay,
    /// A fault of this system that will pass (RFC 3206 section 4).
    SysTemp,
    /// A fault of this system that somebody has to repair (RFC 3206 section 4).
    SysPerm,
    /// The message can only be shown in UTF-8 mode (RFC 6856 section 5).
    Utf8,
}

impl ResponseCode {
    /// The code as it stands between the brackets.
    pub fn as_str(self) -> &'static str {
        match self {
            ResponseCode::Auth => "AUTH",
            ResponseCode::InUse => "IN-USE",
            ResponseCode::LoginDelay => "LOGIN-DELAY",
            ResponseCode::SysTemp => "SYS/TEMP",
            ResponseCode::SysPerm => "SYS/PERM",
            ResponseCode::Utf8 => "UTF8",
        }
    }

    /// The code in the text of a reply, if it begins with one; and the text behind it.
    ///
    /// Detail we do not know is ignored, as RFC 2449 section 8 asks: `SYS/TEMP/DISK` is [`ResponseCode::SysTemp`].
    pub fn parse(text: &str) -> (Option<ResponseCode>, &str) {
        let Some((code, rest)) = text.strip_prefix('[').and_then(|inner| inner.split_once(']')) else {
            return (None, text);
        };
        let mut levels = code.split('/').map(str::to_ascii_uppercase);
        let first = levels.next().unwrap_or_default();
        let code = match (first.as_str(), levels.next().as_deref()) {
            ("AUTH", _) => Some(ResponseCode::Auth),
            ("IN-USE", _) => Some(ResponseCode::InUse),
            ("LOGIN-DELAY", _) => Some(ResponseCode::LoginDelay),
            ("SYS", Some("PERM")) => Some(ResponseCode::SysPerm),
            ("SYS", _) => Some(ResponseCode::SysTemp),
            ("UTF8", _) => Some(ResponseCode::Utf8),
            _ => None,
        };
        (code, rest.trim_start_matches(' '))
    }
}

/// One reply, or the first line of one that has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// The banner; with a timestamp the client may use APOP.
    Ready { hostname: &'a str, timestamp: Option<&'a str> },
    /// USER was heard. It says nothing about whether such a name exists.
    SendPassword,
    /// Logged in and the maildrop is open; also what RSET answers.
    Maildrop { messages: usize, octets: u64 },
    /// STAT.
    DropListing { messages: usize, octets: u64 },
    /// LIST of one message.
    ScanListing { number: u64, octets: u64 },
    /// UIDL of one message; the unique-id itself is written by who asked for it.
    UniqueIdOf { number: u64 },
    /// LIST of all.
    ListFollows { messages: usize, octets: u64 },
    /// UIDL of all.
    UniqueIdsFollow,
    /// RETR.
    MessageFollows { octets: u64 },
    /// TOP.
    TopFollows,
    /// DELE.
    Deleted { number: u64 },
    /// NOOP.
    Done,
    /// QUIT before a login.
    Goodbye { hostname: &'a str },
    /// QUIT after the UPDATE state was left with all deletions done.
    GoodbyeLeaving { hostname: &'a str, messages: usize },
    /// CAPA.
    CapabilitiesFollow,
    /// AUTH without a mechanism.
    MechanismsFollow,
    /// LANG without a range.
    LanguagesFollow,
    /// LANG: the reply is already in the new language.
    LanguageChosen,
    /// STLS.
    BeginTls,
    /// UTF8.
    Utf8Enabled,

    /// No such verb.
    UnknownCommand,
    /// The verb is known, its arguments are not as they should be.
    BadArguments,
    /// The line is longer than its command may be.
    LineTooLong,
    /// The command needs a login first.
    LoginFirst,
    /// The command is for before the login only.
    AlreadyLoggedIn,
    /// PASS without a USER that was accepted.
    UserFirst,
    /// No such message number.
    NoSuchMessage { messages: usize },
    /// The message is marked as deleted.
    AlreadyDeleted { number: u64 },
    /// TLS is not set up here.
    TlsUnavailable,
    /// TLS already runs.
    TlsActive,
    /// RFC 6856 section 2.1 forbids STLS after UTF8.
    TlsAfterUtf8,
    /// The password would travel in the clear.
    PlaintextForbidden,
    /// APOP where the banner showed no timestamp.
    ApopUnavailable,
    /// A SASL mechanism that is not offered.
    UnknownMechanism,
    /// A SASL response that is not Base64, or that its mechanism does not allow.
    BadResponse,
    /// The client took its AUTH back.
    Cancelled,
    /// Wrong name or password, or whatever else of the credentials is wrong: never told apart.
    WrongCredentials,
    /// The maildrop is open in another session.
    InUse,
    /// Logged in too often.
    LoginDelay,
    /// Something here does not work now.
    TemporaryFailure,
    /// Something here does not work until it is repaired.
    PermanentFailure,
    /// The message needs UTF-8 mode.
    NeedsUtf8,
    /// QUIT, but nothing could be deleted.
    NotDeleted,
    /// No such language.
    UnknownLanguage,
    /// Too many commands that made no sense.
    TooManyErrors,
    /// Too many failed logins.
    TooManyLogins,
    /// The peer speaks HTTP (or TLS where it should not).
    WrongProtocol,
    /// The server stops.
    ShuttingDown,
    /// What the client logged in with has been changed or taken away.
    AccessRevoked,
}

impl Reply<'_> {
    /// Whether the reply is `+OK`.
    pub(crate) fn is_ok(self) -> bool {
        use Reply::*;
        matches!(
            self,
            Ready { .. }
                | SendPassword
                | Maildrop { .. }
                | DropListing { .. }
                | ScanListing { .. }
                | UniqueIdOf { .. }
                | ListFollows { .. }
                | UniqueIdsFollow
                | MessageFollows { .. }
                | TopFollows
                | Deleted { .. }
                | Done
                | Goodbye { .. }
                | GoodbyeLeaving { .. }
                | CapabilitiesFollow
                | MechanismsFollow
                | LanguagesFollow
                | LanguageChosen
                | BeginTls
                | Utf8Enabled
        )
    }

    /// The response code, where one is defined for the meaning.
    fn code(self) -> Option<ResponseCode> {
        match self {
            // "an attempt to authenticate in violation of policy" is a problem of credentials (RFC 3206 section 5).
            Reply::WrongCredentials | Reply::PlaintextForbidden | Reply::TooManyLogins => {
                Some(ResponseCode::Auth)
            }
            Reply::InUse => Some(ResponseCode::InUse),
            Reply::LoginDelay => Some(ResponseCode::LoginDelay),
            Reply::TemporaryFailure | Reply::NotDeleted | Reply::ShuttingDown => Some(ResponseCode::SysTemp),
            Reply::PermanentFailure => Some(ResponseCode::SysPerm),
            Reply::NeedsUtf8 => Some(ResponseCode::Utf8),
            _ => None,
        }
    }

    /// Writes the line with its CRLF.
    pub(crate) fn write(self, language: Language, out: &mut BytesMut) {
        self.begin(language, out);
        out.extend_from_slice(b"\r\n");
    }

    /// Writes the line without its CRLF, for replies whose last word the caller adds.
    pub(crate) fn begin(self, language: Language, out: &mut BytesMut) {
        out.extend_from_slice(if self.is_ok() { b"+OK" } else { b"-ERR" });
        if let Some(code) = self.code() {
            out.extend_from_slice(b" [");
            out.extend_from_slice(code.as_str().as_bytes());
            out.extend_from_slice(b"]");
        }
        // Writing into memory does not fail.
        let _ = match language {
            Language::English => self.english(out),
            Language::German => self.german(out),
        };
    }

    /// What is the same in every language because programs read it.
    fn common(self, out: &mut BytesMut) -> Option<fmt::Result> {
        Some(match self {
            Reply::DropListing { messages, octets } => write!(out, " {messages} {octets}"),
            Reply::ScanListing { number, octets } => write!(out, " {number} {octets}"),
            Reply::UniqueIdOf { number } => write!(out, " {number} "),
            Reply::Done => Ok(()),
            _ => return None,
        })
    }
}

/// A count with its noun.
struct Plural(usize, &'static str, &'static str);

impl fmt::Display for Plural {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plural(count, one, many) = *self;
        write!(f, "{count} {}", if count == 1 { one } else { many })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(reply: Reply<'_>, language: Language) -> String {
        let mut out = BytesMut::new();
        reply.write(language, &mut out);
        String::from_utf8(out.to_vec()).expect("replies are UTF-8")
    }

    /// Each reply once; a new variant belongs here.
    fn each() -> Vec<Reply<'static>> {
        use Reply::*;
        vec![
            Ready { hostname: "dewey", timestamp: Some("<1@dewey>") },
            Ready { hostname: "dewey", timestamp: None },
            SendPassword,
            Maildrop { messages: 2, octets: 320 },
            DropListing { messages: 2, octets: 320 },
            ScanListing { number: 1, octets: 120 },
            ListFollows { messages: 2, octets: 320 },
            UniqueIdsFollow,
            MessageFollows { octets: 120 },
            TopFollows,
            Deleted { number: 1 },
            Done,
            Goodbye { hostname: "dewey" },
            GoodbyeLeaving { hostname: "dewey", messages: 0 },
            GoodbyeLeaving { hostname: "dewey", messages: 1 },
            CapabilitiesFollow,
            MechanismsFollow,
            LanguagesFollow,
            LanguageChosen,
            BeginTls,
            Utf8Enabled,
            UnknownCommand,
            BadArguments,
            LineTooLong,
            LoginFirst,
            AlreadyLoggedIn,
            UserFirst,
            NoSuchMessage { messages: 2 },
            AlreadyDeleted { number: 1 },
            TlsUnavailable,
            TlsActive,
            TlsAfterUtf8,
            PlaintextForbidden,
            ApopUnavailable,
            UnknownMechanism,
            BadResponse,
            Cancelled,
            WrongCredentials,
            InUse,
            LoginDelay,
            TemporaryFailure,
            PermanentFailure,
            NeedsUtf8,
            NotDeleted,
            UnknownLanguage,
            TooManyErrors,
            TooManyLogins,
            WrongProtocol,
            ShuttingDown,
            AccessRevoked,
        ]
    }

    #[test]
    fn every_reply_has_a_text_in_every_language() {
        for reply in each() {
            for language in Language::ALL {
                let line = line(reply, language);
                assert!(line.ends_with("\r\n") && line.len() <= REPLY_LINE_MAX, "{line:?}");
                assert_eq!(line.matches(['\r', '\n']).count(), 2, "{line:?}");
                let text = line.trim_end().trim_start_matches("+OK").trim_start_matches("-ERR");
                assert!(reply == Reply::Done || text.len() > 1, "{reply:?} in {language:?}: {line:?}");
                // RFC 2449 section 3: a text begins with a bracket only when it is a response code.
                assert_eq!(text.starts_with(" ["), reply.code().is_some(), "{line:?}");
            }
            assert!(line(reply, Language::English).is_ascii(), "RFC 1939 knows only ASCII: {reply:?}");
        }
    }

    #[test]
    fn rfc_1939_examples() {
        for (reply, expected) in [
            (Reply::DropListing { messages: 2, octets: 320 }, "+OK 2 320\r\n"),
            (Reply::ListFollows { messages: 2, octets: 320 }, "+OK 2 messages (320 octets)\r\n"),
            (Reply::ScanListing { number: 2, octets: 200 }, "+OK 2 200\r\n"),
            (Reply::NoSuchMessage { messages: 2 }, "-ERR no such message, only 2 messages in maildrop\r\n"),
            (Reply::Deleted { number: 1 }, "+OK message 1 deleted\r\n"),
            (Reply::AlreadyDeleted { number: 2 }, "-ERR message 2 already deleted\r\n"),
            (Reply::Done, "+OK\r\n"),
            (Reply::Maildrop { messages: 1, octets: 369 }, "+OK maildrop has 1 message (369 octets)\r\n"),
            (
                Reply::GoodbyeLeaving { hostname: "dewey", messages: 0 },
                "+OK dewey POP3 server signing off (maildrop empty)\r\n",
            ),
            (
                Reply::GoodbyeLeaving { hostname: "dewey", messages: 2 },
                "+OK dewey POP3 server signing off (2 messages left)\r\n",
            ),
        ] {
            assert_eq!(line(reply, Language::English), expected);
        }
    }

    #[test]
    fn response_codes_are_read() {
        for (text, code, rest) in [
            ("[IN-USE] open elsewhere", Some(ResponseCode::InUse), "open elsewhere"),
            ("[in-use]", Some(ResponseCode::InUse), ""),
            ("[SYS/TEMP/DISK] full", Some(ResponseCode::SysTemp), "full"),
            ("[sys/perm] broken", Some(ResponseCode::SysPerm), "broken"),
            ("[X-UNKNOWN] what", None, "what"),
            ("[no end", None, "[no end"),
            ("plain", None, "plain"),
        ] {
            assert_eq!(ResponseCode::parse(text), (code, rest), "{text}");
        }
    }
}
