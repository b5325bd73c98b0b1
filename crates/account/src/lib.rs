//! Who someone is.
//!
//! One account is one person or device, under the same name everywhere. This room knows which domains are here and
//! whose an address is ([`Directory`]), whether somebody is who he says ([`Authenticator`]), how often may be guessed
//! ([`throttle`]), and how much an account may keep ([`quota`]).
//!
//! It knows no protocol, no mail and no files. What other rooms keep for an account lies under
//! [`account_data`] and goes when the account goes.

mod access;
mod bounded;
pub mod credential;
mod directory;
mod error;
mod files;
mod key;
pub mod quota;
mod random;
mod record;
pub mod throttle;

pub use access::Access;
pub use bounded::Bounded;
pub use credential::{
    Attempt, Authenticator, AuthenticatorOptions, Denied, Identity, NewPassword, Proof, Reason,
};
pub use directory::{ADDRESSES_MAX, Directory, DirectoryOptions, FIRST_MAILBOXES, Found, NewAccount};
pub use error::DirectoryError;
pub use files::{FileUsage, FilesOwner, RowVersion};
pub use key::account_data;
pub use quota::{Quota, Usage, over_quota};
pub use record::{Account, DomainInfo, Role, Service, UnknownService};
