//! What is kept of aliases.
//!
//! | key | value |
//! |---|---|
//! | `alias/name/<domain>/<local part in lower case>` | [`AliasRecord`] |
//! | `alias/domain/<domain>` | [`DomainRules`] |
//! | `alias/srs` | the keys of [`super::srs`], newest first |
//!
//! Values are JSON: a field added later has a default, and none changes its meaning.

use packetboat_message::{Address, Domain};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) const NAMES: &str = "alias/name/";
pub(super) const DOMAINS: &str = "alias/domain/";
pub(super) const SRS: &str = "alias/srs";

/// The key of an alias.
pub(super) fn name(address: &Address) -> String {
    format!("{}{}", names_of(address.domain()), address.local().as_str().to_lowercase())
}

/// What the keys of all aliases of a domain begin with.
pub(super) fn names_of(domain: &Domain) -> String {
    format!("{NAMES}{domain}/")
}

/// The key of a domain's rules.
pub(super) fn domain(domain: &Domain) -> String {
    format!("{DOMAINS}{domain}")
}

/// A name and what stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The name.
    pub name: Address,
    /// Where it leads, in the order they were given.
    pub targets: Vec<Address>,
    /// Its user has moved to the one target there is.
    pub moved: Option<Moved>,
    /// When it was made.
    pub created_at: jiff::Timestamp,
}

/// What is done for a user who has moved (RFC 5321 section 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moved {
    /// Their mail goes to the new address, and senders hear of it.
    Forward,
    /// Senders are told the new address and send anew.
    Refuse,
}

/// An alias as kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AliasRecord {
    /// As its maker wrote it; the key has it in lower case.
    pub(super) name: Address,
    pub(super) targets: Vec<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) moved: Option<Moved>,
    pub(super) created_at: jiff::Timestamp,
}

impl From<AliasRecord> for Alias {
    fn from(record: AliasRecord) -> Alias {
        let AliasRecord { name, targets, moved, created_at } = record;
        Alias { name, targets, moved, created_at }
    }
}

/// What is said of all names of a domain. The default says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainRules {
    /// Who gets mail to names that are nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_all: Option<Address>,
    /// The local domain this one is another name of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<Domain>,
    /// Who gets mail to [`super::GENERIC_NAMES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generic: Option<Address>,
    /// What separates user and tag; `None`: as the settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<Separator>,
    /// Whether mail that leaves by an alias of this domain gets a return path of this domain.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub srs: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_yes(value: &bool) -> bool {
    *value
}

impl Default for DomainRules {
    fn default() -> DomainRules {
        DomainRules { catch_all: None, same_as: None, generic: None, separator: None, srs: true }
    }
}

/// What separates user and tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    /// Nothing: there are no tags.
    None,
    /// This character.
    Is(char),
}

/// The characters that may separate user and tag.
const SEPARATORS: &str = "+-=_.#";

/// A text is no separator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' cannot separate user and tag; one of the characters + - = _ . # can, or 'none'")]
pub struct NoSeparator(String);

impl std::str::FromStr for Separator {
    type Err = NoSeparator;
    fn from_str(text: &str) -> Result<Separator, NoSeparator> {
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            _ if text == "none" => Ok(Separator::None),
            (Some(one), None) if SEPARATORS.contains(one) => Ok(Separator::Is(one)),
            _ => Err(NoSeparator(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Separator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Separator::None => f.write_str("none"),
            Separator::Is(separator) => write!(f, "{separator}"),
        }
    }
}

impl Separator {
    /// The character, if there is one.
    pub fn character(self) -> Option<char> {
        match self {
            Separator::None => None,
            Separator::Is(separator) => Some(separator),
        }
    }
}

impl Serialize for Separator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Separator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Separator, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
