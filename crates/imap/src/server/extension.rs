//! What of IMAP can be switched off.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// An extension, by its first word in the CAPABILITY list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extension {
    /// IMAP4rev2
    Rev2,
    /// IDLE
    Idle,
    /// UIDPLUS
    UidPlus,
    /// MOVE
    Move,
    /// LITERAL+
    LiteralPlus,
    /// SASL-IR
    SaslIr,
    /// ID
    Id,
    /// NAMESPACE
    Namespace,
    /// UNSELECT
    Unselect,
    /// CHILDREN
    Children,
    /// LIST-EXTENDED
    ListExtended,
    /// LIST-STATUS
    ListStatus,
    /// SPECIAL-USE and CREATE-SPECIAL-USE
    SpecialUse,
    /// CONDSTORE
    CondStore,
    /// QRESYNC
    Qresync,
    /// ESEARCH
    Esearch,
    /// SEARCHRES
    SearchRes,
    /// SORT and SORT=DISPLAY
    Sort,
    /// THREAD=REFERENCES and THREAD=ORDEREDSUBJECT
    Thread,
    /// BINARY
    Binary,
    /// MULTIAPPEND
    MultiAppend,
    /// REPLACE
    Replace,
    /// STATUS=SIZE
    StatusSize,
    /// APPENDLIMIT
    AppendLimit,
    /// QUOTA
    Quota,
    /// OBJECTID
    ObjectId,
    /// SAVEDATE
    SaveDate,
    /// PREVIEW
    Preview,
    /// WITHIN
    Within,
    /// COMPRESS=DEFLATE
    Compress,
    /// UTF8=ACCEPT
    Utf8,
    /// PARTIAL
    Partial,
    /// INPROGRESS
    InProgress,
}

/// Not the name of an [`Extension`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not an extension of IMAP that can be switched off")]
pub struct UnknownExtension;

/// A set of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extensions(u64);

impl Extensions {
    pub(super) fn of(extensions: &[Extension]) -> Extensions {
        let mut set = Extensions::default();
        set.add(extensions);
        set
    }

    pub(super) fn add(&mut self, extensions: &[Extension]) {
        for extension in extensions {
            self.0 |= 1 << *extension as u64;
        }
    }

    pub(super) fn contains(self, extension: Extension) -> bool {
        self.0 >> extension as u64 & 1 == 1
    }
}

impl Extension {
    /// All of them, with their names.
    pub const ALL: &'static [(Extension, &'static str)] = &[
        (Extension::Rev2, "IMAP4rev2"),
        (Extension::Idle, "IDLE"),
        (Extension::UidPlus, "UIDPLUS"),
        (Extension::Move, "MOVE"),
        (Extension::LiteralPlus, "LITERAL+"),
        (Extension::SaslIr, "SASL-IR"),
        (Extension::Id, "ID"),
        (Extension::Namespace, "NAMESPACE"),
        (Extension::Unselect, "UNSELECT"),
        (Extension::Children, "CHILDREN"),
        (Extension::ListExtended, "LIST-EXTENDED"),
        (Extension::ListStatus, "LIST-STATUS"),
        (Extension::SpecialUse, "SPECIAL-USE"),
        (Extension::CondStore, "CONDSTORE"),
        (Extension::Qresync, "QRESYNC"),
        (Extension::Esearch, "ESEARCH"),
        (Extension::SearchRes, "SEARCHRES"),
        (Extension::Sort, "SORT"),
        (Extension::Thread, "THREAD=REFERENCES"),
        (Extension::Binary, "BINARY"),
        (Extension::MultiAppend, "MULTIAPPEND"),
        (Extension::Replace, "REPLACE"),
        (Extension::StatusSize, "STATUS=SIZE"),
        (Extension::AppendLimit, "APPENDLIMIT"),
        (Extension::Quota, "QUOTA"),
        (Extension::ObjectId, "OBJECTID"),
        (Extension::SaveDate, "SAVEDATE"),
        (Extension::Preview, "PREVIEW"),
        (Extension::Within, "WITHIN"),
        (Extension::Compress, "COMPRESS=DEFLATE"),
        (Extension::Utf8, "UTF8=ACCEPT"),
        (Extension::Partial, "PARTIAL"),
        (Extension::InProgress, "INPROGRESS"),
    ];

    /// Its name in the CAPABILITY list.
    pub fn name(self) -> &'static str {
        Extension::ALL.iter().find(|(extension, _)| *extension == self).map_or("", |(_, name)| name)
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Extension {
    type Err = UnknownExtension;

    fn from_str(text: &str) -> Result<Extension, UnknownExtension> {
        let named = |(_, name): &&(Extension, &str)| name.eq_ignore_ascii_case(text);
        Extension::ALL.iter().find(named).map(|(extension, _)| *extension).ok_or(UnknownExtension)
    }
}

#[cfg(test)]
mod tests {
    use super::Extension;

    #[test]
    fn every_extension_is_found_by_its_name() {
        for (extension, name) in Extension::ALL {
            assert_eq!(name.to_lowercase().parse(), Ok(*extension));
            assert_eq!(extension.to_string(), *name);
        }
        assert!("XYZZY".parse::<Extension>().is_err());
    }
}
