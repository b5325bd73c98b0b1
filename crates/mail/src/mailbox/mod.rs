//! Mailboxes: names and hierarchy, messages with numbers, flags and changes, searching, as mail programs see them.
//!
//! [`Mailboxes`] is an account's mailboxes in the hands of somebody; [`Selected`] is one that a session has open. Messages
//! are meant by [`Picked`], read page by page with a [`Cursor`], and what became of them meanwhile is told by
//! [`Selected::sync`], in which alone message numbers change.
//!
//! This room knows meaning and no protocol's syntax.

mod append;
mod export;
mod facts;
mod fetch;
mod flags;
mod hierarchy;
mod import;
mod index;
mod listing;
mod name;
mod numbering;
mod pattern;
mod picked;
mod query;
mod refusal;
mod resync;
mod rights;
mod search;
mod selected;
mod sort;
mod special;
mod table;
mod thread;
mod view;

use std::fmt;

use packetboat_account::{Quota, over_quota};
use packetboat_store::{AccountId, Require, Store};

pub use append::{Appended, Appending, NewMessage};
pub use export::{Outgoing, Portable};
pub use fetch::Carded;
pub use flags::{Change, Copied, FlagEdit, Stored};
pub use hierarchy::{MAILBOXES_MAX, SUBSCRIPTIONS_MAX, Status};
pub use import::{Foreign, ImportError, Imported, Importing};
pub(crate) use index::Indexing;
pub use listing::{ListQuery, Listed, Names};
pub use name::{INBOX, NAME_LEVELS_MAX, NAME_OCTETS_MAX, Name, NameError, SEPARATOR};
pub use numbering::Ranges;
pub use picked::{Bound, Cursor, NoSuchNumber, Picked, numbers};
pub use query::{DateTest, Query};
pub use refusal::Refusal;
pub use resync::Known;
pub use rights::{Verb, rights};
pub use search::Search;
pub use selected::{Gone, Message, News, Selected};
pub use sort::{SortBy, SortKey};
pub use special::SpecialUse;
pub use thread::{InThread, Threading};
pub(crate) use view::Views;

use crate::PostOffice;

/// Changes of the hierarchy of these many groups of accounts go on side by side.
const RESHAPING: usize = 64;

/// One at a time changes the hierarchy of an account.
#[derive(Debug)]
pub(crate) struct Reshaping([tokio::sync::Mutex<()>; RESHAPING]);

impl Default for Reshaping {
    fn default() -> Reshaping {
        Reshaping(std::array::from_fn(|_| tokio::sync::Mutex::default()))
    }
}

/// How a mailbox is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing may change.
    Read,
    /// As far as the rights go.
    Write,
}

/// The mailboxes of an account, in the hands of somebody.
#[derive(Clone)]
pub struct Mailboxes {
    office: PostOffice,
    who: AccountId,
    owner: AccountId,
}

impl fmt::Debug for Mailboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailboxes").field("who", &self.who).field("owner", &self.owner).finish()
    }
}

/// What of an account's quota is used: octets and messages, and their limits.
pub type Usage = packetboat_account::Usage;

impl PostOffice {
    /// An account's own mailboxes.
    pub async fn mailboxes(&self, account: AccountId) -> Result<Mailboxes, Refusal> {
        let mailboxes = Mailboxes { office: self.clone(), who: account, owner: account };
        mailboxes.complete().await?;
        self.shared.indexing.mark(account);
        Ok(mailboxes)
    }
}

impl Mailboxes {
    fn store(&self) -> &Store {
        &self.office.shared.store
    }

    /// Whose they are.
    pub fn owner(&self) -> AccountId {
        self.owner
    }

    /// Waits until it is this one's turn to change the hierarchy.
    async fn reshape(&self) -> tokio::sync::MutexGuard<'_, ()> {
        let locks = &self.office.shared.reshaping.0;
        locks[(self.owner.0 % RESHAPING as u64) as usize].lock().await
    }

    /// Opens a mailbox.
    pub async fn select(&self, name: &Name, access: Access) -> Result<Selected, Refusal> {
        let row = self.row(name).await?;
        rights(self.who, row.account, Verb::Read)?;
        Selected::open(self.office.clone(), self.who, &row, access).await
    }

    /// What of the quota is used.
    pub async fn usage(&self) -> Result<Usage, Refusal> {
        rights(self.who, self.owner, Verb::Look)?;
        self.office.shared.directory.usage(self.owner).await.map_err(|error| {
            tracing::error!(%error, "a quota could not be read");
            Refusal::Temporary
        })
    }

    fn quota_for(&self, account: AccountId) -> Result<Quota, Refusal> {
        self.office.shared.directory.account(account).map(|account| account.quota).map_err(|error| {
            tracing::error!(%error, "a quota could not be read");
            Refusal::Temporary
        })
    }

    /// Refuses what does not fit, and adds what makes sure of it at the moment of the commit.
    async fn require_room(
        &self,
        account: AccountId,
        quota: &Quota,
        octets: u64,
        messages: u64,
        require: &mut Vec<Require>,
    ) -> Result<(), Refusal> {
        if *quota == Quota::default() {
            return Ok(());
        }
        if let Some(row) = self.store().account(account).await? {
            let more = messages.saturating_sub(1);
            let row = packetboat_store::AccountRow { messages: row.messages.saturating_add(more), ..row };
            if over_quota(&row, quota, octets) {
                return Err(Refusal::OverQuota);
            }
        }
        require.extend(quota.preconditions(account, octets, messages));
        Ok(())
    }
}
