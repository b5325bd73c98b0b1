//! The keys under which this room keeps its entries in the store.
//!
//! | key | value |
//! |---|---|
//! | `directory/next-account` | the number the next account gets |
//! | `directory/secret` | 32 random octets that never change, see [`crate::Authenticator::scram`] |
//! | `domain/<name>` | [`crate::record::DomainRecord`] |
//! | `account/<id>` | [`crate::Account`] |
//! | `address/<domain>/<local part in lower case>` | the number of the account |
//! | `account-data/<id>/credentials` | [`crate::credential::Credentials`] |
//! | `account-data/<id>/files/usage`, `files/usage/anonymous`, `files/usage/folder/<digest>` | [`crate::FileUsage`] |
//! | `files/round` | the round of counting files, see [`crate::FilesOwner`] |
//! | `account-data/<id>/<room>/…` | whatever another room keeps for the account; it goes when the account goes |

use packetboat_message::{Address, Domain};
use packetboat_store::AccountId;

pub(crate) const NEXT_ACCOUNT: &str = "directory/next-account";
pub(crate) const SECRET: &str = "directory/secret";
pub(crate) const DOMAINS: &str = "domain/";
pub(crate) const ACCOUNTS: &str = "account/";

pub(crate) fn domain(domain: &Domain) -> String {
    format!("{DOMAINS}{domain}")
}

pub(crate) fn account(id: AccountId) -> String {
    format!("{ACCOUNTS}{:016x}", id.0)
}

pub(crate) fn address(address: &Address) -> String {
    local_address(address.domain(), &address.local().as_str().to_lowercase())
}

/// `local` in lower case. A domain has no `/` in it, so a local part may.
pub(crate) fn local_address(domain: &Domain, local: &str) -> String {
    format!("{}{local}", addresses_of(domain))
}

/// What the keys of all addresses of a domain begin with.
pub(crate) fn addresses_of(domain: &Domain) -> String {
    format!("address/{domain}/")
}

/// What the keys of everything that belongs to an account begin with. Other rooms put their entries there too.
pub fn account_data(id: AccountId) -> String {
    format!("account-data/{:016x}/", id.0)
}

pub(crate) fn credentials(id: AccountId) -> String {
    format!("{}credentials", account_data(id))
}
