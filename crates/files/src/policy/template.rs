//! Paths of this machine that differ from user to user.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use super::Visitor;
use crate::path::NAME_MAX;
use crate::tree::RESERVED;
use crate::{Refusal, Tree, Usage};

/// A path in which `{account}`, `{user}` and `{domain}` stand for parts of a login name.
///
/// It is taken apart at its slashes before anything is put in, and what is put in must be, together with what stands
/// beside it, one ordinary name. So no login name leads out of the directory in front of the first placeholder; and
/// what lies behind that is opened without following a link out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What stands before the first placeholder.
    base: PathBuf,
    /// Names, of which the first has a placeholder.
    names: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Account,
    User,
    Domain,
}

/// Why a text is no [`Template`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidTemplate {
    /// Nothing stands there.
    #[error("it is empty; name a directory")]
    Empty,
    /// `..`
    #[error("it goes up with \"..\"; write the path without it")]
    GoesUp,
    /// Such as `{name}`.
    #[error("{0:?} stands for nothing; use {{account}}, {{user}} or {{domain}}")]
    Unknown(String),
}

/// A login name that cannot stand in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the login name cannot be the name of a directory")]
pub struct UnfitLogin;

/// A directory: a path that is what it says, and names below it that must not lead out of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    /// The operator's part.
    pub base: PathBuf,
    /// What came of placeholders.
    pub below: Vec<Vec<u8>>,
}

impl Template {
    /// Takes a text apart.
    pub fn parse(text: &str) -> Result<Template, InvalidTemplate> {
        let (mut base, mut names) = (PathBuf::new(), Vec::new());
        for component in Path::new(text).components() {
            let Component::Normal(name) = component else {
                match component {
                    Component::ParentDir => return Err(InvalidTemplate::GoesUp),
                    Component::CurDir => {}
                    other => base.push(other),
                }
                continue;
            };
            // The text is UTF-8, and so are its parts.
            let pieces = pieces(&name.to_string_lossy())?;
            match &pieces[..] {
                [Piece::Text(text)] if names.is_empty() => base.push(text),
                _ => names.push(pieces),
            }
        }
        match base.as_os_str().is_empty() && names.is_empty() {
            true => Err(InvalidTemplate::Empty),
            false => Ok(Template { base, names }),
        }
    }

    /// The same, from a directory on if it is relative.
    #[must_use]
    pub fn within(self, directory: &Path) -> Template {
        Template { base: directory.join(self.base), names: self.names }
    }

    /// Whether it is another directory for each user.
    pub fn is_personal(&self) -> bool {
        !self.names.is_empty()
    }

    /// What stands before the first placeholder.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The directory it means for somebody.
    pub fn expand(&self, visitor: Visitor<'_>) -> Result<Location, UnfitLogin> {
        let account = match visitor {
            Visitor::Account(login) => login,
            Visitor::Anonymous => "anonymous",
        };
        let (user, domain) = account.rsplit_once('@').unwrap_or((account, ""));
        let name = |pieces: &Vec<Piece>| {
            let text: String = pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text.as_str(),
                    Piece::Account => account,
                    Piece::User => user,
                    Piece::Domain => domain,
                })
                .collect();
            ordinary(text.into_bytes())
        };
        let below = self.names.iter().map(name).collect::<Result<_, _>>()?;
        Ok(Location { base: self.base.clone(), below })
    }
}

/// A name that is one: no way up or down, nothing of the server's own, nothing that cannot be seen.
fn ordinary(name: Vec<u8>) -> Result<Vec<u8>, UnfitLogin> {
    let odd = |octet: &u8| *octet == b'/' || octet.is_ascii_control();
    let special = matches!(&name[..], b"" | b"." | b"..") || name.starts_with(RESERVED);
    match special || name.len() > NAME_MAX || name.iter().any(odd) {
        true => Err(UnfitLogin),
        false => Ok(name),
    }
}

fn pieces(mut text: &str) -> Result<Vec<Piece>, InvalidTemplate> {
    let mut pieces = Vec::new();
    while let Some((before, rest)) = text.split_once('{') {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let unknown = || InvalidTemplate::Unknown(text.to_owned());
        let (name, after) = rest.split_once('}').ok_or_else(unknown)?;
        pieces.push(match name {
            "account" => Piece::Account,
            "user" => Piece::User,
            "domain" => Piece::Domain,
            other => return Err(InvalidTemplate::Unknown(format!("{{{other}}}"))),
        });
        text = after;
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
    Ok(pieces)
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = self.base.clone();
        for name in &self.names {
            let name: String = name
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text.as_str(),
                    Piece::Account => "{account}",
                    Piece::User => "{user}",
                    Piece::Domain => "{domain}",
                })
                .collect();
            path.push(name);
        }
        path.display().fmt(f)
    }
}

impl Location {
    /// Counts what lies there, and makes nothing that is missing. It reads every directory.
    pub fn usage(&self) -> Result<Usage, Refusal> {
        let opened = Tree::open(&self.base)
            .and_then(|tree| self.below.iter().try_fold(tree, |tree, name| tree.within(name)));
        match opened {
            Ok(tree) => tree.usage(),
            Err(Refusal::NotFound) => Ok(Usage::default()),
            Err(refusal) => Err(refusal),
        }
    }

    /// As a path, for messages.
    pub fn path(&self) -> PathBuf {
        let mut path = self.base.clone();
        path.extend(self.below.iter().map(|name| OsString::from_vec(name.clone())));
        path
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_templates_mean() {
        let place = |template: &str, login: &str| {
            let template = Template::parse(template).unwrap();
            assert_eq!(Template::parse(&template.to_string()).unwrap(), template);
            template.expand(Visitor::Account(login)).map(|location| {
                let below: Vec<_> =
                    location.below.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
                format!("{} + {}", location.base.display(), below.join("/"))
            })
        };
        for (template, login, meant) in [
            ("/srv/press", "a@b.test", "/srv/press + "),
            ("/srv/{account}", "a@b.test", "/srv + a@b.test"),
            ("/srv/{domain}/{user}/pub", "a@b.test", "/srv + b.test/a/pub"),
            ("/srv/./x//{user}.d", "a@b.test", "/srv/x + a.d"),
            ("{user}", "a@b.test", " + a"),
        ] {
            assert_eq!(place(template, login).unwrap(), meant, "{template}");
        }
        // CVE-2026-30915: what is put in must not be a way.
        for (template, login) in [
            ("/srv/{user}", "../../etc@b.test"),
            ("/srv/{user}", "..@b.test"),
            ("/srv/{user}", ".@b.test"),
            ("/srv/{user}", "a/b@b.test"),
            ("/srv/{user}", "/etc@b.test"),
            ("/srv/{user}", "a\0b@b.test"),
            ("/srv/{user}", "@b.test"),
            ("/srv/{user}.", ".@b.test"),
            ("/srv/.{user}", ".@b.test"),
            ("/srv/{user}", ".packetboat-1@b.test"),
            ("/srv/{domain}", "a"),
        ] {
            assert_eq!(place(template, login), Err(UnfitLogin), "{template} {login:?}");
        }
        for (text, wrong) in [
            ("", InvalidTemplate::Empty),
            ("/srv/../etc", InvalidTemplate::GoesUp),
            ("/srv/{user}/..", InvalidTemplate::GoesUp),
            ("/srv/{name}", InvalidTemplate::Unknown("{name}".to_owned())),
            ("/srv/{user", InvalidTemplate::Unknown("{user".to_owned())),
        ] {
            assert_eq!(Template::parse(text), Err(wrong), "{text}");
        }
    }
}
