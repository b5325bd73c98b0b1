//! Facts of a file that a client says anew (draft-somers-ftp-mfxx section 6).

use std::fmt;

use super::{FileTime, InvalidCommand};

/// Bits that a mode has.
const MODE_MAX: u32 = 0o7777;

/// A fact of MFF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewFact {
    /// When it was changed.
    Modify(FileTime),
    /// When it was made.
    Create(FileTime),
    /// Who may do what with it, as Unix has it.
    Mode(u32),
}

impl NewFact {
    /// Reads one: `name=value`.
    pub(super) fn parse(text: &str) -> Result<NewFact, InvalidCommand> {
        let wrong =
            InvalidCommand::Argument("A fact is a name and its value, such as Modify=20261121160000.");
        let (name, value) = text.split_once('=').ok_or(wrong)?;
        let time = || FileTime::parse(value).ok_or(wrong);
        match &name.to_ascii_lowercase()[..] {
            "modify" => Ok(NewFact::Modify(time()?)),
            "create" => Ok(NewFact::Create(time()?)),
            "unix.mode" => {
                let digits = Some(value).filter(|value| value.bytes().all(|octet| octet.is_ascii_digit()));
                let mode = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok());
                mode.filter(|mode| *mode <= MODE_MAX).map(NewFact::Mode).ok_or(wrong)
            }
            _ => {
                Err(InvalidCommand::Parameter("Modify, Create and UNIX.mode can be said anew, nothing else."))
            }
        }
    }
}

impl fmt::Display for NewFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NewFact::Modify(time) => write!(f, "modify={time}"),
            NewFact::Create(time) => write!(f, "create={time}"),
            NewFact::Mode(mode) => write!(f, "unix.mode={mode:04o}"),
        }
    }
}
