//! What is set for some users and not for others.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{Template, Users};
use crate::Limits;

/// How much somebody may keep; what is not set is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Octets of all files together.
    pub octets: Option<u64>,
    /// How many files.
    pub files: Option<u64>,
}

/// Octets a second, of all transfers of a user together; what is not set is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// From the client to here.
    pub up: Option<u64>,
    /// From here to the client.
    pub down: Option<u64>,
}

/// When a cost centre has to be named (ACCT).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccountDemand {
    /// Never; one may be.
    #[default]
    Never,
    /// To log in.
    LogIn,
    /// To store something.
    Store,
}

/// Where somebody's own files lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// Here.
    At(Template),
    /// Nowhere: folders are all there is.
    None,
}

/// What may be set for some users. What is not set is as a rule says that fits less closely.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)] // As in `Entrance`.
pub struct Terms {
    pub home: Option<Home>,
    pub quota_octets: Option<u64>,
    pub quota_files: Option<u64>,
    pub up: Option<u64>,
    pub down: Option<u64>,
    pub connections: Option<u32>,
    pub connections_per_address: Option<u32>,
    pub networks: Option<Vec<IpNet>>,
    pub denied_networks: Option<Vec<IpNet>>,
    pub require_tls: Option<bool>,
    pub account: Option<AccountDemand>,
    pub cost_centres: Option<Vec<String>>,
    pub disabled: Option<Vec<String>>,
    pub only: Option<Vec<String>>,
    pub idle: Option<Duration>,
    pub sees_all: Option<bool>,
}

impl Quota {
    /// As a share has it; `None`: nobody counts.
    pub fn limits(&self) -> Option<Limits> {
        let Quota { octets, files } = *self;
        (octets.is_some() || files.is_some()).then_some(Limits { octets, files })
    }
}

/// Terms for some users.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// Whom it is for.
    pub users: Vec<Users>,
    /// What is set.
    pub terms: Terms,
}

impl Terms {
    /// These, and where they say nothing, the others.
    #[must_use]
    pub fn or(self, other: &Terms) -> Terms {
        macro_rules! first {
            ($($field:ident),+ $(,)?) => {
                Terms { $($field: self.$field.or_else(|| other.$field.clone()),)+ }
            };
        }
        first!(
            home,
            quota_octets,
            quota_files,
            up,
            down,
            connections,
            connections_per_address,
            networks,
            denied_networks,
            require_tls,
            account,
            cost_centres,
            disabled,
            only,
            idle,
            sees_all,
        )
    }

    /// Whether somebody may come from there. Over a local socket everybody may.
    pub fn admits(&self, from: Option<IpAddr>) -> bool {
        let Some(from) = from.map(|from| from.to_canonical()) else { return true };
        let holds = |networks: &Option<Vec<IpNet>>| networks.iter().flatten().any(|net| net.contains(&from));
        let named = self.networks.as_ref().is_none_or(|networks| networks.is_empty());
        (named || holds(&self.networks)) && !holds(&self.denied_networks)
    }
}
