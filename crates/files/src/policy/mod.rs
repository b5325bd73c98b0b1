//! What somebody who comes finds, and on what terms: rules as they are written, and the one value that comes of them.
//!
//! [`Policy::entrance`] is a function of the rules, of who comes, and from where. Nothing here looks at a disk but
//! [`Entrance::space`], which opens what was decided.

mod entrance;
mod template;
mod terms;
#[cfg(test)]
mod tests;
mod users;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::{Grant, Rights, Rules as FileRules, Sync, VirtualPath};

pub use entrance::{Entrance, Opened, Planned};
pub use template::{InvalidTemplate, Location, Template, UnfitLogin};
pub use terms::{AccountDemand, Home, Quota, Rates, Rule, Terms};
pub use users::{InvalidUsers, Users, Visitor};

/// A directory of this machine that some users find beside their own files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// What SMNT calls it.
    pub name: String,
    /// Where it lies.
    pub path: Template,
    /// Where it appears; `None`: only when it is mounted, and then under its name.
    pub at: Option<VirtualPath>,
    /// Who finds it.
    pub users: Vec<Users>,
    /// What they may do there.
    pub rights: Rights,
    /// What all of them together may keep there, and in each directory that comes of placeholders.
    pub quota: Quota,
}

/// What some users may do at a path and below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRights {
    /// Where.
    pub path: VirtualPath,
    /// Who.
    pub users: Vec<Users>,
    /// What.
    pub rights: Rights,
}

/// What anybody finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anonymous {
    /// The tree.
    pub path: Template,
    /// A directory in it where files can be left, and nothing be seen.
    pub incoming: Option<VirtualPath>,
    /// What counts as a password.
    pub password: AnonymousPassword,
    /// On what terms.
    pub terms: Terms,
}

/// Octets of what an anonymous user gives for a password: an address has 64, an at sign and 255 at most.
const PASSWORD_MAX: usize = 320;

/// What counts as the password of an anonymous user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnonymousPassword {
    /// Anything, nothing too.
    Any,
    /// What looks like an address of e-mail, if only `name@`, or `guest`.
    #[default]
    EMail,
    /// A whole address, with a domain of two parts.
    Address,
}

impl AnonymousPassword {
    /// Whether this is one.
    pub fn admits(self, password: &str) -> bool {
        let decent = password.len() <= PASSWORD_MAX && !password.contains(|c: char| c.is_control());
        let parts = password.rsplit_once('@');
        match self {
            AnonymousPassword::Any => decent,
            AnonymousPassword::EMail => {
                decent
                    && (password.eq_ignore_ascii_case("guest")
                        || parts.is_some_and(|(local, _)| !local.is_empty()))
            }
            AnonymousPassword::Address => {
                decent
                    && parts.is_some_and(|(local, domain)| {
                        let labels: Vec<&str> = domain.split('.').collect();
                        !local.is_empty()
                            && !password.contains(char::is_whitespace)
                            && labels.len() > 1
                            && labels.iter().all(|label| !label.is_empty())
                    })
            }
        }
    }
}

/// All rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// For everybody who has an account, where no rule says otherwise.
    pub base: Terms,
    /// For some.
    pub rules: Vec<Rule>,
    /// Directories beside people's own.
    pub folders: Vec<Folder>,
    /// Rights at paths.
    pub rights: Vec<PathRights>,
    /// How fast all together may move.
    pub total: Rates,
    /// For those without an account, if they may come.
    pub anonymous: Option<Anonymous>,
    /// A directory that holds nothing: the root of those who have no files of their own.
    pub nothing: std::path::PathBuf,
    /// What has to be on disk when a file is there.
    pub sync: Sync,
    /// Permissions that new files do not get.
    pub umask: u32,
    /// How all file spaces behave.
    pub behaviour: Arc<FileRules>,
}

/// How somebody comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// From where; none over a local socket.
    pub from: Option<IpAddr>,
    /// Whether under TLS.
    pub tls: bool,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Closed {
    /// Nobody comes in without an account.
    #[error("anonymous users are not let in")]
    NotAnonymously,
    /// Not from there.
    #[error("not from this address")]
    NotFromThere,
    /// Not in the clear.
    #[error("only under TLS")]
    NeedsTls,
    /// What it is called cannot be the name of a directory.
    #[error(transparent)]
    UnfitLogin(#[from] UnfitLogin),
}

impl Policy {
    /// On what terms somebody comes.
    pub fn terms(&self, visitor: Visitor<'_>) -> Terms {
        if let Visitor::Anonymous = visitor {
            return self.anonymous.as_ref().map(|anonymous| anonymous.terms.clone()).unwrap_or_default();
        }
        let mut fitting: Vec<(u8, &Rule)> =
            self.rules.iter().filter_map(|rule| Some((Users::best(&rule.users, visitor)?, rule))).collect();
        // Of two that fit as closely, the one further down is heard first.
        fitting.sort_by_key(|(closeness, _)| *closeness);
        let terms =
            fitting.into_iter().rev().fold(Terms::default(), |terms, (_, rule)| terms.or(&rule.terms));
        terms.or(&self.base)
    }

    /// Where somebody's own files lie; `None`: they have none.
    pub fn home(&self, visitor: Visitor<'_>) -> Option<Location> {
        match (visitor, &self.anonymous, self.terms(visitor).home) {
            (Visitor::Anonymous, anonymous, _) => anonymous.as_ref()?.path.expand(visitor).ok(),
            (Visitor::Account(_), _, Some(Home::At(home))) => home.expand(visitor).ok(),
            (Visitor::Account(_), ..) => None,
        }
    }

    /// Whether somebody could come in so, if they are who they say.
    pub fn door(&self, visitor: Visitor<'_>, arrival: Arrival) -> Result<(), Closed> {
        if matches!(visitor, Visitor::Anonymous) && self.anonymous.is_none() {
            return Err(Closed::NotAnonymously);
        }
        let terms = self.terms(visitor);
        match (terms.admits(arrival.from), terms.require_tls.unwrap_or(false) && !arrival.tls) {
            (false, _) => Err(Closed::NotFromThere),
            (true, true) => Err(Closed::NeedsTls),
            (true, false) => Ok(()),
        }
    }

    /// What somebody finds, and on what terms; or why the door stays closed.
    pub fn entrance(&self, visitor: Visitor<'_>, arrival: Arrival) -> Result<Entrance, Closed> {
        self.door(visitor, arrival)?;
        let terms = self.terms(visitor);
        let (name, home, incoming) = match (visitor, &self.anonymous, &terms.home) {
            (Visitor::Anonymous, Some(anonymous), _) => {
                ("anonymous".to_owned(), Some(&anonymous.path), anonymous.incoming.as_ref())
            }
            (Visitor::Account(login), _, Some(Home::At(home))) => (login.to_lowercase(), Some(home), None),
            (Visitor::Account(login), ..) => (login.to_lowercase(), None, None),
            (Visitor::Anonymous, ..) => return Err(Closed::NotAnonymously),
        };
        let anonymous = matches!(visitor, Visitor::Anonymous);
        let mut trees = Vec::new();
        if let Some(home) = home {
            let rights = if anonymous { Rights::READ_ONLY } else { Rights::ALL };
            trees.push(Planned::root(home.expand(visitor)?, rights, true));
        }
        let mut named = Vec::new();
        for folder in &self.folders {
            if Users::best(&folder.users, visitor).is_none() {
                continue;
            }
            // One folder that cannot be is no reason to find nothing at all.
            let Ok(location) = folder.path.expand(visitor) else { continue };
            let planned = Planned {
                name: folder.name.clone(),
                at: match &folder.at {
                    Some(at) => at.clone(),
                    None => VirtualPath::root().join(folder.name.as_bytes()).unwrap_or_default(),
                },
                location,
                rights: folder.rights,
                quota: folder.quota,
                is_home: false,
            };
            if folder.at.is_some() {
                // A folder at the root comes in place of a home.
                trees.retain(|tree: &Planned| tree.at != planned.at);
                trees.push(planned.clone());
            }
            named.push(planned);
        }
        if !trees.iter().any(|tree| tree.at.is_root()) {
            let location = Location { base: self.nothing.clone(), below: Vec::new() };
            trees.insert(0, Planned::root(location, Rights::NONE.with(crate::Right::List), false));
        }
        let box_grant = incoming.map(|path| Grant { path: path.clone(), rights: Rights::DROP_BOX });
        Ok(Entrance {
            name,
            anonymous,
            trees,
            named,
            incoming: incoming.cloned(),
            grants: self.grants(visitor, box_grant),
            quota: Quota { octets: terms.quota_octets, files: terms.quota_files },
            rates: Rates { up: terms.up, down: terms.down },
            connections: terms.connections,
            connections_per_address: terms.connections_per_address,
            require_tls: terms.require_tls.unwrap_or(false),
            account: terms.account.unwrap_or_default(),
            cost_centres: terms.cost_centres.unwrap_or_default(),
            disabled: terms.disabled.unwrap_or_default(),
            only: terms.only.unwrap_or_default(),
            idle: terms.idle,
            sees_all: terms.sees_all.unwrap_or(false),
            sync: self.sync,
            umask: self.umask,
            behaviour: Arc::clone(&self.behaviour),
        })
    }

    /// Directories below which all files lie.
    pub fn roots(&self) -> BTreeSet<PathBuf> {
        let homes = self.rules.iter().map(|rule| &rule.terms).chain([&self.base]);
        let homes = homes.filter_map(|terms| match &terms.home {
            Some(Home::At(home)) => Some(home),
            Some(Home::None) | None => None,
        });
        let folders = self.folders.iter().map(|folder| &folder.path);
        let anonymous = self.anonymous.iter().map(|anonymous| &anonymous.path);
        homes.chain(folders).chain(anonymous).map(|path| path.base().to_owned()).collect()
    }

    /// Rights at paths, those last that fit most closely: of two at one path, the last counts.
    fn grants(&self, visitor: Visitor<'_>, incoming: Option<Grant>) -> Vec<Grant> {
        let mut fitting: Vec<(u8, &PathRights)> = self
            .rights
            .iter()
            .filter_map(|rights| Some((Users::best(&rights.users, visitor)?, rights)))
            .collect();
        fitting.sort_by_key(|(closeness, _)| *closeness);
        let rights = fitting.into_iter().map(|(_, it)| Grant { path: it.path.clone(), rights: it.rights });
        incoming.into_iter().chain(rights).collect()
    }
}
