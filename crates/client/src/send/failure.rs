//! What may go wrong, and the exit codes that scripts tell it by.

use std::fmt;
use std::process::ExitCode;

use serde::{Serialize, Serializer};

/// The kinds of failure. Their numbers are those of `sysexits.h`, which mail programs have used since 4.3BSD, and 79.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FailureKind {
    /// The command line is wrong.
    Usage = 64,
    /// The message or an address is wrong, or the server refuses the message for good.
    Data = 65,
    /// A file that was named cannot be read.
    NoInput = 66,
    /// The server refuses every recipient for good.
    NoUser = 67,
    /// A server's name has no address.
    NoHost = 68,
    /// No server can be reached, or it gives no service.
    Unavailable = 69,
    /// A defect in this program.
    Internal = 70,
    /// A temporary file cannot be made.
    CannotCreate = 73,
    /// Reading or writing failed on this machine.
    Io = 74,
    /// Not now: the same may succeed later.
    Temporary = 75,
    /// The server does not speak as it should, TLS failed, or the server lacks what the message needs.
    Protocol = 76,
    /// The login is refused, or the server wants one.
    Denied = 77,
    /// The configuration file is wrong.
    Config = 78,
    /// Some recipients will get the message and others will not.
    Partial = 79,
}

/// All kinds, for tables.
pub const KINDS: [FailureKind; 14] = [
    FailureKind::Usage,
    FailureKind::Data,
    FailureKind::NoInput,
    FailureKind::NoUser,
    FailureKind::NoHost,
    FailureKind::Unavailable,
    FailureKind::Internal,
    FailureKind::CannotCreate,
    FailureKind::Io,
    FailureKind::Temporary,
    FailureKind::Protocol,
    FailureKind::Denied,
    FailureKind::Config,
    FailureKind::Partial,
];

impl FailureKind {
    /// The exit code.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The word for it in `--json`.
    pub fn word(self) -> &'static str {
        match self {
            FailureKind::Usage => "usage",
            FailureKind::Data => "data",
            FailureKind::NoInput => "no-input",
            FailureKind::NoUser => "no-user",
            FailureKind::NoHost => "no-host",
            FailureKind::Unavailable => "unavailable",
            FailureKind::Internal => "internal",
            FailureKind::CannotCreate => "cannot-create",
            FailureKind::Io => "io",
            FailureKind::Temporary => "temporary",
            FailureKind::Protocol => "protocol",
            FailureKind::Denied => "denied",
            FailureKind::Config => "config",
            FailureKind::Partial => "partial",
        }
    }

    /// What it means, for the help text.
    pub fn meaning(self) -> &'static str {
        match self {
            FailureKind::Usage => "the command line is wrong",
            FailureKind::Data => "the message or an address is wrong, or the message is refused for good",
            FailureKind::NoInput => "a file that was named cannot be read",
            FailureKind::NoUser => "every recipient is refused for good",
            FailureKind::NoHost => "the server's name is not known",
            FailureKind::Unavailable => "no server can be reached, or it gives no service",
            FailureKind::Internal => "a defect in this program",
            FailureKind::CannotCreate => "a temporary file cannot be made",
            FailureKind::Io => "reading or writing failed on this machine",
            FailureKind::Temporary => "not now; the same may succeed later",
            FailureKind::Protocol => "the server misbehaves, TLS failed, or the server lacks what is needed",
            FailureKind::Denied => "the login is refused, or one is wanted",
            FailureKind::Config => "the configuration file is wrong",
            FailureKind::Partial => "some recipients will get the message and others will not",
        }
    }
}

impl From<FailureKind> for ExitCode {
    fn from(kind: FailureKind) -> ExitCode {
        ExitCode::from(kind.code())
    }
}

impl Serialize for FailureKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// What went wrong, where, and what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its kind.
    pub kind: FailureKind,
    /// What happened, and where.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl fmt::Display) -> Failure {
        Failure { kind, message: message.to_string(), hint: None }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_sysexits_and_all_differ() {
        let codes = KINDS.map(FailureKind::code);
        assert_eq!(codes, [64, 65, 66, 67, 68, 69, 70, 73, 74, 75, 76, 77, 78, 79]);
        let mut words = KINDS.map(FailureKind::word).to_vec();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), KINDS.len());
    }
}
