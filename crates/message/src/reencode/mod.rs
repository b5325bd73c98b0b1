//! A message in another transfer encoding, for next hops that do not take it as it is (RFC 6152 section 3, RFC 3030
//! section 3): octets above 127 or too long lines become quoted-printable or base64, and nothing else changes.
//!
//! The message streams by twice and is never held: a [`Survey`] looks at it and makes a [`Plan`], whose [`Writer`] writes it
//! anew. What a reader decodes is the same before and after. What cannot be had without harm is [`Impossible`], above all
//! another encoding of what is signed or encrypted (RFC 1847 sections 2.1 and 2.2). DKIM signatures over the body do break;
//! they are made for the last message that leaves.
//!
//! Headers are left as they are, raw octets above 127 in them too: only SMTPUTF8 gives them a meaning, and without it they
//! travel as they always did. [`Plan::has_eight_bit_header`] tells of them.

mod encoder;
mod plan;
mod survey;
#[cfg(test)]
mod tests;
mod writer;

use thiserror::Error;

use crate::dsn::Status;

pub use plan::Plan;
pub use survey::Survey;
pub use writer::Writer;

/// Octets of a line at most, without its CRLF (RFC 5322 section 2.1.1, RFC 5321 section 4.5.3.1.6).
pub const LINE_MAX: usize = 998;

/// What the next hop takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Lines of ASCII: it has no 8BITMIME.
    SevenBit,
    /// Lines with octets above 127: it has 8BITMIME and no BINARYMIME.
    EightBit,
}

/// Why a message cannot have another transfer encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Impossible {
    /// What would have to change is signed.
    #[error("the message is signed, and in another encoding the signature would not fit any more")]
    Signed,
    /// What would have to change is encrypted.
    #[error("the message is encrypted in a form that must not be changed on its way")]
    Encrypted,
    /// What would have to change is of a form that may not be encoded, such as `message/partial`.
    #[error("the message has a part that must not be encoded")]
    Form,
    /// What would have to change is in an encoding that nobody knows.
    #[error("the message has a part in an encoding that is not known")]
    Encoding,
    /// What would have to change is nested too deep.
    #[error("the message is nested too deep")]
    Depth,
}

impl Impossible {
    /// The status a notice gives: conversion required but not supported (RFC 3463 section 3.7).
    pub fn status(self) -> Status {
        Status(5, 6, 3)
    }
}

/// What there is in a part that a next hop may not take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Trouble {
    /// Octets above 127.
    eight_bit: bool,
    /// Lines longer than [`LINE_MAX`].
    long: bool,
    /// NUL, or CR and LF one without the other.
    binary: bool,
}

impl Trouble {
    fn hinders(self, target: Target) -> bool {
        self.long || self.binary || (self.eight_bit && target == Target::SevenBit)
    }

    fn or(self, other: Trouble) -> Trouble {
        Trouble {
            eight_bit: self.eight_bit || other.eight_bit,
            long: self.long || other.long,
            binary: self.binary || other.binary,
        }
    }
}
