//! Status codes (RFC 3463) and the answers of other servers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::REPLY_MAX;

/// An enhanced status code such as `5.1.1`: class, subject and detail (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Status(pub u8, pub u16, pub u16);

/// A text is no status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a status code has the form 5.1.1")]
pub struct InvalidStatus;

/// What another server answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteReply {
    /// The three digits.
    pub code: u16,
    /// The enhanced status code, if it gave one (RFC 2034).
    pub enhanced: Option<Status>,
    /// Its words without the codes, lines parted by `\n`.
    pub text: String,
}

impl Status {
    /// Whether the failure is for good.
    pub fn is_permanent(self) -> bool {
        self.0 == 5
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for Status {
    type Err = InvalidStatus;

    /// Section 2 of RFC 3463: one digit of three, and two numbers of up to three digits.
    fn from_str(text: &str) -> Result<Status, InvalidStatus> {
        let number = |text: &str| {
            let sound = (1..=3).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
            if sound { text.parse().ok() } else { None }
        };
        let mut parts = text.split('.').map(number);
        match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten(), parts.next()) {
            (Some(class @ (2 | 4 | 5)), Some(subject), Some(detail), None) => {
                Ok(Status(u8::try_from(class).map_err(|_| InvalidStatus)?, subject, detail))
            }
            _ => Err(InvalidStatus),
        }
    }
}

impl RemoteReply {
    /// The status the answer stands for: its enhanced code, else one that says only whether it is for good.
    ///
    /// An enhanced code of another class than the three digits is not believed: RFC 2034 section 4 forbids it, and the
    /// digits are what the client acted on.
    pub fn status(&self) -> Status {
        let class = match self.code / 100 {
            2 => 2,
            4 => 4,
            _ => 5,
        };
        self.enhanced.filter(|status| status.0 == class).unwrap_or(Status(class, 0, 0))
    }

    /// The lines of the answer as they came, without line ends: `550-5.1.1 no such user`. At most
    /// [`REPLY_MAX`] octets of text, and nothing in it that could end a line.
    pub fn lines(&self) -> Vec<String> {
        let text = self.text.get(..self.text.floor_char_boundary(REPLY_MAX)).unwrap_or_default();
        let mut lines: Vec<&str> = text.trim_end_matches(['\r', '\n']).split('\n').collect();
        if lines.is_empty() {
            lines.push("");
        }
        let last = lines.len() - 1;
        let line = |(n, line): (usize, &&str)| {
            let mut out = format!("{:03}{}", self.code, if n == last { ' ' } else { '-' });
            if let Some(enhanced) = self.enhanced {
                out.push_str(&format!("{enhanced} "));
            }
            out.extend(line.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }));
            out.truncate(out.trim_end().len());
            out
        };
        lines.iter().enumerate().map(line).collect()
    }
}

/// The answer in one line.
impl fmt::Display for RemoteReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        for word in self.text.split(char::is_control).map(str::trim).filter(|word| !word.is_empty()) {
            write!(f, " {word}")?;
        }
        Ok(())
    }
}
