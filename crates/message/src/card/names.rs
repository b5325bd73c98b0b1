//! The fields a card keeps as they are. The numbers are stored, so names are added at the end only.

use crate::envelope::Name;

/// Their names. Those behind `Return-Path` are asked for by programs and hardly ever there: that a card knows them to be
/// absent saves opening the message.
const NAMES: &[&str] = &[
    "From",
    "To",
    "Cc",
    "Bcc",
    "Sender",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Content-Type",
    "Content-Transfer-Encoding",
    "MIME-Version",
    "List-Id",
    "List-Post",
    "List-Unsubscribe",
    "X-Priority",
    "Importance",
    "Priority",
    "X-Mailer",
    "User-Agent",
    "Delivered-To",
    "Return-Path",
    "Newsgroups",
    "Followup-To",
    "Mail-Followup-To",
    "Mail-Reply-To",
    "Disposition-Notification-To",
    "Content-Disposition",
    "Content-Language",
    "List-Unsubscribe-Post",
    "X-MSMail-Priority",
    "X-Draft-Info",
    "X-Uniform-Type-Identifier",
    "X-Universally-Unique-Identifier",
    "X-K9mail-Identity",
    "Chat-Version",
    "X-Spam-Flag",
    "Precedence",
    "Auto-Submitted",
    "Organization",
    "X-Original-To",
];

const LENGTH_MAX: usize = 31;
const SAME_LENGTH_MAX: usize = 8;

/// Which names have a length: their numbers and one more, or 0.
const BY_LENGTH: [[u8; SAME_LENGTH_MAX]; LENGTH_MAX + 1] = {
    let mut table = [[0; SAME_LENGTH_MAX]; LENGTH_MAX + 1];
    let mut id = 0;
    while id < NAMES.len() {
        let row = NAMES[id].len();
        let mut at = 0;
        while table[row][at] != 0 {
            at += 1;
        }
        table[row][at] = id as u8 + 1;
        id += 1;
    }
    table
};

/// The number of a name, in any case.
pub(crate) fn id(name: &[u8]) -> Option<u8> {
    let row = BY_LENGTH.get(name.len())?;
    let mut ids = row.iter().map_while(|id| id.checked_sub(1));
    ids.find(|id| {
        NAMES.get(usize::from(*id)).is_some_and(|known| name.eq_ignore_ascii_case(known.as_bytes()))
    })
}

/// The number of `References`.
pub(super) const REFERENCES: u8 = 10;

/// The field of an envelope that has this number.
pub(super) fn envelope_name(id: u8) -> Option<Name> {
    Some(match id {
        0 => Name::From,
        1 => Name::To,
        2 => Name::Cc,
        3 => Name::Bcc,
        4 => Name::Sender,
        5 => Name::ReplyTo,
        6 => Name::Subject,
        7 => Name::Date,
        8 => Name::MessageId,
        9 => Name::InReplyTo,
        _ => return None,
    })
}

/// The bit of a number in a set.
pub(super) fn bit(id: u8) -> u64 {
    1u64.checked_shl(u32::from(id)).unwrap_or(0)
}

/// Names of fields that cards know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) wanted: u64,
}

impl FieldSet {
    /// A set of these names; `None` if there is one among them that cards do not keep.
    pub fn new<N: AsRef<[u8]>>(names: impl IntoIterator<Item = N>) -> Option<FieldSet> {
        let mut wanted = 0;
        for name in names {
            wanted |= bit(id(name.as_ref())?);
        }
        Some(FieldSet { wanted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        assert!(NAMES.len() <= 64);
        for (index, name) in NAMES.iter().enumerate() {
            assert_eq!(Name::of(name.as_bytes()), envelope_name(index as u8), "{name}");
            assert_eq!(id(name.to_uppercase().as_bytes()).map(usize::from), Some(index), "{name}");
        }
        assert_eq!(NAMES[usize::from(REFERENCES)], "References");
        for name in ["", "Received", "Fron", "X-Universally-Unique-Identifies", "Content-Transfer-Encodings"]
        {
            assert_eq!(id(name.as_bytes()), None, "{name}");
        }
        assert_eq!(FieldSet::new(["from", "To"]), Some(FieldSet { wanted: 3 }));
        assert_eq!(FieldSet::new(["from", "Received"]), None);
    }
}
