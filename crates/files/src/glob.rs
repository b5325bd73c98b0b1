//! Wildcards: `*`, `?`, `[a-c]` and `[!a-c]` in names, as people write them behind LIST and NLST.
//!
//! A name is compared in at most as many steps as it has octets times those of the pattern, however both are made. Patterns
//! may stand in several names of a path; how many directories are looked into for them has a limit, and so has the number
//! of names that are looked at.

use crate::{Entry, Kind, Lister, Refusal, Right, Rights, Space, VirtualPath};

/// Directories that are looked into for one path with wildcards.
const DIRECTORIES_MAX: usize = 256;
/// Names of a path that may have wildcards.
const WILD_NAMES_MAX: usize = 8;
/// Names that are looked at for one path with wildcards.
const NAMES_MAX: u64 = 5_000_000;

/// What a name is to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// This octet.
    Octet(u8),
    /// `?`
    One,
    /// `*`
    Any,
    /// `[…]`: octets from one to another, or none of them.
    Set { ranges: Vec<(u8, u8)>, not: bool },
}

impl Pattern {
    /// Reads one. A `[` without its end is a `[`; a backslash takes the meaning from what follows it.
    pub fn new(text: &[u8]) -> Pattern {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((&octet, behind)) = rest.split_first() {
            rest = behind;
            parts.push(match octet {
                b'?' => Part::One,
                // Two stand for what one does.
                b'*' if parts.last() == Some(&Part::Any) => continue,
                b'*' => Part::Any,
                b'[' => match set(behind) {
                    Some((set, behind)) => {
                        rest = behind;
                        set
                    }
                    None => Part::Octet(b'['),
                },
                b'\\' => match behind.split_first() {
                    Some((&octet, behind)) => {
                        rest = behind;
                        Part::Octet(octet)
                    }
                    None => Part::Octet(b'\\'),
                },
                octet => Part::Octet(octet),
            });
        }
        Pattern { parts }
    }

    /// Whether something in a text has a meaning for patterns.
    pub fn is_in(text: &[u8]) -> bool {
        Pattern::new(text).parts.iter().any(|part| !matches!(part, Part::Octet(_)))
    }

    /// Whether a name looks so. Names with a dot in front have to be asked for with a dot.
    pub fn matches(&self, name: &[u8]) -> bool {
        if name.first() == Some(&b'.') && self.parts.first() != Some(&Part::Octet(b'.')) {
            return false;
        }
        // To the last `*` it is gone back, and never further: what fits before it fits there already.
        let (mut at, mut part) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while let Some(octet) = name.get(at) {
            match self.parts.get(part) {
                Some(Part::Any) => {
                    star = Some((at, part));
                    part += 1;
                }
                Some(wanted) if wanted.fits(*octet) => {
                    at += 1;
                    part += 1;
                }
                _ => match &mut star {
                    Some((from, any)) => {
                        *from += 1;
                        (at, part) = (*from, *any + 1);
                    }
                    None => return false,
                },
            }
        }
        self.parts.iter().skip(part).all(|part| *part == Part::Any)
    }
}

impl Part {
    fn fits(&self, octet: u8) -> bool {
        match self {
            Part::Octet(wanted) => *wanted == octet,
            Part::One | Part::Any => true,
            Part::Set { ranges, not } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&octet)) != *not
            }
        }
    }
}

/// A set behind its `[`, and what follows it.
fn set(text: &[u8]) -> Option<(Part, &[u8])> {
    let not = matches!(text.first(), Some(b'!' | b'^'));
    let mut rest = text.get(usize::from(not)..)?;
    let mut ranges = Vec::new();
    loop {
        let (&first, behind) = rest.split_first()?;
        // One that stands first is one of them.
        if first == b']' && !ranges.is_empty() {
            return Some((Part::Set { ranges, not }, behind));
        }
        match behind {
            [b'-', last, behind @ ..] if *last != b']' => {
                ranges.push((first, *last));
                rest = behind;
            }
            _ => {
                ranges.push((first, first));
                rest = behind;
            }
        }
    }
}

/// What fits a path with wildcards, one after the other.
#[derive(Debug)]
pub struct Matches {
    space: Space,
    pattern: Pattern,
    /// Directories to look into, with what is said in front of their names.
    waiting: std::vec::IntoIter<(VirtualPath, Vec<u8>)>,
    current: Option<(Lister, Vec<u8>)>,
    looked_at: u64,
}

impl Space {
    /// What fits a path with wildcards, as seen from `here`. Names come with what was said in front of them. Wildcards in the
    /// names of directories find those that may be listed.
    pub fn matching(&self, here: &VirtualPath, text: &[u8]) -> Result<Matches, Refusal> {
        let (above, pattern) = match text.iter().rposition(|octet| *octet == b'/') {
            Some(at) => (text.get(..=at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
            None => (&b""[..], text),
        };
        let mut directories = vec![(here.clone(), Vec::new())];
        if above.first() == Some(&b'/') {
            directories = vec![(VirtualPath::root(), b"/".to_vec())];
        }
        let (mut wild, mut looked_at) = (0, 0);
        for name in above.split(|octet| *octet == b'/').filter(|name| !name.is_empty()) {
            let mut found = Vec::new();
            if Pattern::is_in(name) {
                wild += 1;
                if wild > WILD_NAMES_MAX {
                    return Err(Refusal::TooMany);
                }
                let waiting = std::mem::take(&mut directories).into_iter();
                let mut matches = self.matches_in(Pattern::new(name), waiting, looked_at);
                for entry in matches.by_ref() {
                    let entry = entry?;
                    let at = here.resolve(&entry.name)?;
                    if entry.kind == Kind::Directory && self.rights(&at) != Rights::NONE {
                        found.push((at, [&entry.name[..], b"/"].concat()));
                    }
                    if found.len() > DIRECTORIES_MAX {
                        return Err(Refusal::TooMany);
                    }
                }
                looked_at = matches.looked_at;
            } else {
                for (at, said) in directories {
                    found.push((at.resolve(name)?, [&said[..], name, b"/"].concat()));
                }
            }
            directories = found;
        }
        if let [(only, _)] = &directories[..] {
            self.permits(only, Right::List)?;
            self.enter(only)?;
        }
        Ok(self.matches_in(Pattern::new(pattern), directories.into_iter(), looked_at))
    }

    fn matches_in(
        &self,
        pattern: Pattern,
        waiting: std::vec::IntoIter<(VirtualPath, Vec<u8>)>,
        looked_at: u64,
    ) -> Matches {
        Matches { space: self.clone(), pattern, waiting, current: None, looked_at }
    }
}

impl Iterator for Matches {
    type Item = Result<Entry, Refusal>;

    fn next(&mut self) -> Option<Result<Entry, Refusal>> {
        loop {
            if let Some((lister, said)) = &mut self.current {
                let (mut entry, looked_at) = (Entry::default(), &mut self.looked_at);
                let found = lister.read_if(&mut entry, |name| {
                    *looked_at += 1;
                    *looked_at <= NAMES_MAX && self.pattern.matches(name)
                });
                match found {
                    _ if self.looked_at > NAMES_MAX => return Some(Err(Refusal::TooMany)),
                    Some(Ok(())) => {
                        entry.name = [&said[..], &entry.name[..]].concat();
                        return Some(Ok(entry));
                    }
                    Some(Err(refusal)) => return Some(Err(refusal)),
                    None => self.current = None,
                }
            }
            let (at, said) = self.waiting.next()?;
            // What cannot be looked into is passed over, as a shell does.
            self.current = self.space.list(&at).ok().map(|lister| (lister, said));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns() {
        for (pattern, fit, unfit) in [
            ("*.txt", &["a.txt", "a.b.txt", "ü.txt"][..], &["a.txt~", "txt", ".txt", ".a.txt"][..]),
            ("[a-c]?", &["ax", "c?"], &["dx", "a", "abc", ".a"]),
            ("[!a-c]*", &["d", "xyz"], &["a", "", "b1"]),
            ("[^a]", &["b"], &["a"]),
            ("a*b*c", &["abc", "aXbYbZc", "abbc"], &["ab", "acb", "abcd"]),
            ("*", &["a", "x y"], &[".a", "."]),
            (".*", &[".a", "."], &["a"]),
            ("**a**", &["a", "bab"], &["b"]),
            ("[]]", &["]"], &["["]),
            ("[]-a]x", &["_x", "]x"], &["bx"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("a[b", &["a[b"], &["ab"]),
            ("\\*\\", &["*\\"], &["x\\"]),
            ("?", &["a"], &["", "ab", "."]),
        ] {
            let made = Pattern::new(pattern.as_bytes());
            for name in fit {
                assert!(made.matches(name.as_bytes()), "{pattern} {name}");
            }
            for name in unfit {
                assert!(!made.matches(name.as_bytes()), "{pattern} {name}");
            }
        }
        assert!(Pattern::is_in(b"a*") && Pattern::is_in(b"[a]") && !Pattern::is_in(b"a\\*[b"));
    }

    /// CVE-2010-2632, CVE-2011-0762: patterns on which other matchers take forever.
    #[test]
    fn no_pattern_takes_long() {
        let name = vec![b'a'; 255];
        let begin = std::time::Instant::now();
        for pattern in
            ["a*".repeat(4000) + "b", "*a".repeat(4000), "[a-z]*".repeat(1000) + "[!a]", "?*".repeat(2000)]
        {
            let made = Pattern::new(pattern.as_bytes());
            for _ in 0..100 {
                assert!(!made.matches(&name));
            }
        }
        assert!(begin.elapsed().as_secs() < 300, "a generous limit: an exponential one takes years");
    }
}
