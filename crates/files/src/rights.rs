//! What a user may do, by path.

use crate::VirtualPath;

/// One thing that can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Right {
    /// See names, sizes and times.
    List = 1,
    /// Get the contents of files.
    Read = 2,
    /// Make files.
    Create = 4,
    /// Replace files, and change their times and permissions.
    Write = 8,
    /// Put something behind a file.
    Append = 16,
    /// Remove files and empty directories.
    Delete = 32,
    /// Give other names.
    Rename = 64,
    /// Make directories.
    Make = 128,
}

/// A set of [`Right`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights(u16);

impl Rights {
    /// None.
    pub const NONE: Rights = Rights(0);
    /// All.
    pub const ALL: Rights = Rights(255);
    /// To look and to get.
    pub const READ_ONLY: Rights = Rights(Right::List as u16 | Right::Read as u16);
    /// A letter box: what is put in is seen by nobody who puts something in.
    pub const DROP_BOX: Rights = Rights(Right::Create as u16);

    /// Whether this is one of them.
    pub fn has(self, right: Right) -> bool {
        self.0 & right as u16 != 0
    }

    /// With this one too.
    #[must_use]
    pub fn with(self, right: Right) -> Rights {
        Rights(self.0 | right as u16)
    }

    /// By the words of settings: `list read create write append delete rename make`, or `all`, `read-only`, `drop-box`,
    /// `none`. The error is the word that is none.
    pub fn parse(text: &str) -> Result<Rights, &str> {
        text.split([' ', ',']).filter(|word| !word.is_empty()).try_fold(Rights::NONE, |rights, word| {
            let more = match word {
                "list" => Rights(Right::List as u16),
                "read" => Rights(Right::Read as u16),
                "create" => Rights(Right::Create as u16),
                "write" => Rights(Right::Write as u16),
                "append" => Rights(Right::Append as u16),
                "delete" => Rights(Right::Delete as u16),
                "rename" => Rights(Right::Rename as u16),
                "make" => Rights(Right::Make as u16),
                "all" => Rights::ALL,
                "read-only" => Rights::READ_ONLY,
                "drop-box" => Rights::DROP_BOX,
                "none" => Rights::NONE,
                other => return Err(other),
            };
            Ok(Rights(rights.0 | more.0))
        })
    }
}

/// Rights for a path and all below it that no longer grant names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// From where on.
    pub path: VirtualPath,
    /// What may be done there.
    pub rights: Rights,
}

/// The rights at a path: those of the longest grant above it, none if there is none.
pub(crate) fn rights_at(grants: &[Grant], path: &VirtualPath) -> Rights {
    let applies = grants.iter().filter(|grant| path.under(&grant.path).is_some());
    applies.max_by_key(|grant| grant.path.parts().len()).map_or(Rights::NONE, |grant| grant.rights)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_grant_counts() {
        let path = |text: &str| VirtualPath::root().resolve(text.as_bytes()).unwrap();
        let grants = [
            Grant { path: path("/"), rights: Rights::READ_ONLY },
            Grant { path: path("/incoming"), rights: Rights::DROP_BOX },
            Grant { path: path("/incoming/own"), rights: Rights::ALL },
        ];
        assert!(rights_at(&grants, &path("/x/y")).has(Right::Read));
        assert!(!rights_at(&grants, &path("/x/y")).has(Right::Create));
        assert!(!rights_at(&grants, &path("/incoming/x")).has(Right::List));
        assert!(rights_at(&grants, &path("/incoming/x")).has(Right::Create));
        assert!(rights_at(&grants, &path("/incoming/own/x")).has(Right::Delete));
        assert!(!rights_at(&grants, &path("/incomingX")).has(Right::Create));
        assert_eq!(rights_at(&[], &path("/")), Rights::NONE);
    }

    #[test]
    fn words() {
        assert_eq!(Rights::parse("list, read"), Ok(Rights::READ_ONLY));
        assert_eq!(Rights::parse("all"), Ok(Rights::ALL));
        assert_eq!(Rights::parse("list fly"), Err("fly"));
    }
}
