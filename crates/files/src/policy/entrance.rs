//! What somebody finds, and on what terms.

use std::sync::Arc;
use std::time::Duration;

use super::{AccountDemand, Location, Quota, Rates};
use crate::{Grant, Limits, Mount, Owner, Refusal, Rights, Share, Space, Sync, Tree, Usage, VirtualPath};

/// Octets of the name of a cost centre at most.
const COST_CENTRE_MAX: usize = 64;

/// A tree that somebody finds, not opened yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What SMNT calls it; empty for somebody's own files.
    pub name: String,
    /// Where it appears.
    pub at: VirtualPath,
    /// Where it lies.
    pub location: Location,
    /// What may be done there.
    pub rights: Rights,
    /// What may be kept there, if it is a folder that has a quota of its own.
    pub quota: Quota,
    /// Whether it is somebody's own, which is made when they come for the first time and counts for their quota.
    pub is_home: bool,
}

impl Planned {
    pub(super) fn root(location: Location, rights: Rights, is_home: bool) -> Planned {
        let quota = Quota::default();
        Planned { name: String::new(), at: VirtualPath::root(), location, rights, quota, is_home }
    }

    /// What may be kept in a folder that has a quota of its own; `None`: nobody counts, or it counts for somebody's own.
    pub fn limits(&self) -> Option<Limits> {
        self.quota.limits().filter(|_| !self.is_home)
    }

    /// Counts what lies there. It reads every directory.
    pub fn count(&self) -> Result<Usage, Refusal> {
        self.open()?.usage()
    }

    /// Opens it. What came of placeholders is made where it is missing, and cannot lead out of what stands before them.
    fn open(&self) -> Result<Tree, Refusal> {
        let base = &self.location.base;
        if self.name.is_empty() {
            std::fs::create_dir_all(base).map_err(|error| Refusal::Failed(error.to_string()))?;
        }
        self.location.below.iter().try_fold(Tree::open(base)?, |tree, name| tree.below(name))
    }
}

/// What somebody finds, and on what terms: all that the rules have to say to one visitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    /// Under which name connections, octets and rates count: the login name in lower case, or `anonymous`.
    pub name: String,
    /// Whether it is somebody without an account.
    pub anonymous: bool,
    /// What is there from the beginning. One of them is at the root.
    pub trees: Vec<Planned>,
    /// What can be mounted (SMNT), what is there from the beginning too.
    pub named: Vec<Planned>,
    /// Where files can be left, which is made when it is missing.
    pub incoming: Option<VirtualPath>,
    /// Rights at paths, beside those of the trees.
    pub grants: Vec<Grant>,
    /// How much may be kept.
    pub quota: Quota,
    /// How fast.
    pub rates: Rates,
    /// Connections at a time under this name.
    pub connections: Option<u32>,
    /// Of these, from one address.
    pub connections_per_address: Option<u32>,
    /// Whether everything has to be under TLS, data connections too.
    pub require_tls: bool,
    /// Whether a cost centre has to be named (ACCT).
    pub account: AccountDemand,
    /// Which there are; empty: any.
    pub cost_centres: Vec<String>,
    /// Commands that are switched off, in upper case.
    pub disabled: Vec<String>,
    /// The commands that work, in upper case, beside those without which nothing does; empty: all.
    pub only: Vec<String>,
    /// How long nothing may be heard.
    pub idle: Option<Duration>,
    /// Whether they are told of everybody who is here, as an administrator is (SITE WHO).
    pub sees_all: bool,
    /// What has to be on disk when a file is there.
    pub sync: Sync,
    /// Permissions that new files do not get.
    pub umask: u32,
    /// How all file spaces behave.
    pub behaviour: Arc<crate::Rules>,
}

/// Files that were opened for somebody.
#[derive(Debug)]
pub struct Opened {
    /// The files.
    pub space: Space,
    /// What could not be had, by the name of its folder, and why: for the operator.
    pub missing: Vec<(String, Refusal)>,
}

impl Entrance {
    /// The tree of a name, as SMNT has it: the name, or the path where it appears.
    pub fn tree_named(&self, text: &[u8]) -> Option<&Planned> {
        let at = VirtualPath::root().resolve(text).ok()?;
        self.named
            .iter()
            .find(|tree| tree.name.as_bytes() == text)
            .or_else(|| self.named.iter().find(|tree| tree.at == at))
    }

    /// Whether a cost centre is one of those that there are. It is a name that a log can hold.
    pub fn knows_cost_centre(&self, name: &str) -> bool {
        let decent =
            !name.is_empty() && name.len() <= COST_CENTRE_MAX && !name.contains(|c: char| c.is_control());
        decent && (self.cost_centres.is_empty() || self.cost_centres.iter().any(|known| known == name))
    }

    /// Whether something can be stored by somebody who has named this cost centre, or none.
    pub fn may_store(&self, cost_centre: Option<&str>) -> bool {
        self.account != AccountDemand::Store || cost_centre.is_some()
    }

    /// What may be kept in the files of one's own; `None`: nobody counts.
    pub fn limits(&self) -> Option<Limits> {
        self.quota.limits().filter(|_| self.home().is_some())
    }

    fn home(&self) -> Option<&Planned> {
        self.trees.iter().find(|tree| tree.is_home)
    }

    /// Counts the files of one's own, or, for those without an account, what has been left. It reads every directory.
    pub fn count(&self) -> Result<Usage, Refusal> {
        let Some(home) = self.home() else { return Ok(Usage::default()) };
        let incoming = self.incoming.as_ref().map_or(&[][..], VirtualPath::parts);
        incoming.iter().try_fold(home.open()?, |tree, name| tree.below(name))?.usage()
    }

    /// Opens all that is there, and what has been mounted by SMNT. Without the tree at the root it fails; another one
    /// that cannot be opened is missing. What is kept in a tree is charged to the share that it has.
    pub fn space(
        &self,
        mounted: &[String],
        share: &dyn Fn(&Planned) -> Option<Arc<dyn Share>>,
    ) -> Result<Opened, Refusal> {
        let later = self.named.iter().filter(|tree| mounted.contains(&tree.name));
        let mut all: Vec<&Planned> = self.trees.iter().collect();
        all.extend(later.filter(|tree| !self.trees.contains(tree)));
        // What lies above comes first: places for what lies in it are made there.
        all.sort_by_key(|tree| tree.at.parts().len());
        let (mut mounts, mut grants, mut missing) = (Vec::<Mount>::new(), Vec::new(), Vec::new());
        for planned in all {
            let opened = planned.open().and_then(|tree| {
                if let Some((above, _)) = planned.at.split() {
                    make_way(&mounts, &above)?;
                }
                Ok(tree)
            });
            match opened {
                Ok(tree) => {
                    let tree = if self.is_uneven(planned) { tree.without_links() } else { tree };
                    let tree = match share(planned) {
                        Some(share) => tree.with_share(share),
                        None => tree,
                    };
                    mounts.push(Mount { at: planned.at.clone(), tree });
                    grants.push(Grant { path: planned.at.clone(), rights: planned.rights });
                }
                Err(refusal) if planned.at.is_root() => return Err(refusal),
                Err(refusal) => missing.push((planned.name.clone(), refusal)),
            }
        }
        if let Some(incoming) = &self.incoming
            && let Err(refusal) = make_way(&mounts, incoming)
        {
            missing.push((incoming.to_string(), refusal));
        }
        grants.extend(self.grants.iter().cloned());
        let mut space = Space::new(mounts, grants, self.sync, self.umask)
            .owned_by(Owner::of_login(&self.name))
            .with_rules(Arc::clone(&self.behaviour));
        // Strangers are not told apart, so none of them goes on with what another has begun.
        if !self.anonymous {
            space = space.resumed_by(&self.name);
        }
        Ok(Opened { space, missing })
    }

    /// Mounts the tree that SMNT calls so besides those that are there: what there is then, and the names of all that have
    /// been mounted.
    pub fn mount(
        &self,
        text: &[u8],
        mounted: &[String],
        share: &dyn Fn(&Planned) -> Option<Arc<dyn Share>>,
    ) -> Result<(Space, Vec<String>), Refusal> {
        let name = &self.tree_named(text).ok_or(Refusal::NotFound)?.name;
        let mut mounted = mounted.to_vec();
        if !mounted.contains(name) {
            mounted.push(name.clone());
        }
        let opened = self.space(&mounted, share)?;
        if opened.missing.iter().any(|(missing, _)| missing == name) {
            return Err(Refusal::NotFound);
        }
        Ok((opened.space, mounted))
    }

    /// Whether rights differ within a tree. A link would lead from where less is allowed to where more is.
    fn is_uneven(&self, tree: &Planned) -> bool {
        let within = |grant: &&Grant| grant.path.under(&tree.at).is_some_and(|rest| !rest.is_empty());
        self.grants.iter().any(|grant| within(&grant))
    }
}

/// Makes a directory and those above it, so that it can be walked to.
fn make_way(mounts: &[Mount], to: &VirtualPath) -> Result<(), Refusal> {
    let holds = mounts.iter().filter_map(|mount| Some((mount, to.under(&mount.at)?)));
    let Some((mount, parts)) = holds.max_by_key(|(mount, _)| mount.at.parts().len()) else {
        return Ok(());
    };
    parts.iter().try_fold(mount.tree.clone(), |tree, name| tree.below(name)).map(drop)
}
