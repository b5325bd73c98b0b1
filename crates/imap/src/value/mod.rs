//! The values that commands and responses are made of.

mod flag;
mod name;
mod set;
mod utf7;

pub use flag::{Flag, InvalidFlag, SystemFlags};
pub(crate) use name::decode_text;
pub use name::{MailboxName, NameError};
pub use set::{Bound, Messages, NumberSet, SetError, Target};

/// `ATOM-CHAR` of RFC 9051 section 9.
pub(crate) fn is_atom_char(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}
