//! Virtual paths: normalised once, trusted from then on.

use std::fmt;

use thiserror::Error;

/// Octets of a name: what file systems here have room for.
pub(crate) const NAME_MAX: usize = 255;
/// Octets of a whole path.
pub(crate) const PATH_MAX: usize = 4096;

/// An absolute path in a user's file space. Its parts are names: none is empty, `.` or `..`, none holds a slash or NUL.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct VirtualPath {
    parts: Vec<Vec<u8>>,
}

/// Why something is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidPath {
    /// It holds what no name can hold.
    #[error("the path holds an octet that no name can hold")]
    Octet,
    /// It, or a name in it, is too long.
    #[error("the path is too long")]
    TooLong,
}

impl VirtualPath {
    /// The root.
    pub fn root() -> VirtualPath {
        VirtualPath::default()
    }

    /// What `text` means to somebody who is here: from the root if it begins with a slash. `..` goes up, and at the root
    /// nowhere.
    pub fn resolve(&self, text: &[u8]) -> Result<VirtualPath, InvalidPath> {
        if text.iter().any(|octet| matches!(octet, 0 | b'\n' | b'\r')) {
            return Err(InvalidPath::Octet);
        }
        let mut parts = if text.first() == Some(&b'/') { Vec::new() } else { self.parts.clone() };
        for part in text.split(|octet| *octet == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                name if name.len() > NAME_MAX => return Err(InvalidPath::TooLong),
                name => parts.push(name.to_vec()),
            }
        }
        let octets: usize = parts.iter().map(|part| part.len() + 1).sum();
        if octets > PATH_MAX { Err(InvalidPath::TooLong) } else { Ok(VirtualPath { parts }) }
    }

    /// The path above, and the name in it; `None` at the root.
    pub fn split(&self) -> Option<(VirtualPath, &[u8])> {
        let (name, parts) = self.parts.split_last()?;
        Some((VirtualPath { parts: parts.to_vec() }, name))
    }

    /// A name in this directory.
    pub fn join(&self, name: &[u8]) -> Result<VirtualPath, InvalidPath> {
        if name.contains(&b'/') || matches!(name, b"" | b"." | b"..") {
            return Err(InvalidPath::Octet);
        }
        self.resolve(name)
    }

    /// What of this path lies under `above`; `None` if it does not lie there. Whole names are compared: `/ab` does not lie
    /// under `/a`.
    pub fn under(&self, above: &VirtualPath) -> Option<&[Vec<u8>]> {
        self.parts.strip_prefix(&above.parts[..])
    }

    /// Its names.
    pub fn parts(&self) -> &[Vec<u8>] {
        &self.parts
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.parts.is_empty()
    }

    /// As octets, with a slash in front.
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.is_root() {
            return b"/".to_vec();
        }
        self.parts.iter().flat_map(|part| b"/".iter().chain(part)).copied().collect()
    }
}

impl fmt::Display for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl fmt::Debug for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_string().fmt(f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_and_what_is_meant() {
        let here = VirtualPath::root().resolve(b"/home/anna").unwrap();
        for (said, meant) in [
            ("", "/home/anna"),
            (".", "/home/anna"),
            ("x", "/home/anna/x"),
            ("./x/", "/home/anna/x"),
            ("..", "/home"),
            ("../../..", "/"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("//x///y/.", "/x/y"),
            ("a/../b", "/home/anna/b"),
            ("...", "/home/anna/..."),
            (" ", "/home/anna/ "),
            ("/", "/"),
        ] {
            assert_eq!(here.resolve(said.as_bytes()).unwrap().to_string(), meant, "{said}");
        }
        assert_eq!(here.resolve(b"a\0b"), Err(InvalidPath::Octet));
        assert_eq!(here.resolve(&[b'x'; 256]), Err(InvalidPath::TooLong));
        assert_eq!(here.resolve(&b"x/".repeat(3000)), Err(InvalidPath::TooLong));
    }

    #[test]
    fn above_and_below() {
        let path = |text: &str| VirtualPath::root().resolve(text.as_bytes()).unwrap();
        assert_eq!(path("/a/b").under(&path("/a")).unwrap(), [b"b".to_vec()]);
        assert!(path("/ab").under(&path("/a")).is_none());
        assert_eq!(path("/a").under(&path("/a")).unwrap().len(), 0);
        let (above, name) = path("/a/b").split().map(|(above, name)| (above, name.to_vec())).unwrap();
        assert_eq!((above, &name[..]), (path("/a"), &b"b"[..]));
        assert!(path("/").split().is_none());
        assert!(path("/a").join(b"../b").is_err());
    }
}
