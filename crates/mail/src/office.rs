//! The post office itself: what every intake and maildrop shares.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use packetboat_account::Directory;
use packetboat_message::trace::With;
use packetboat_message::{Address, Domain};
use packetboat_store::{AccountId, MailboxId, Store};
use parking_lot::{Mutex, RwLock};

use crate::alias::Aliases;
use crate::maildrop::Locks;
use crate::outbound::Routes;
use crate::queue::Settings;
use crate::{Addressee, LegTo, Refusal, Route, Terminals};

/// Remembered inboxes; beyond it the memory starts anew.
const INBOX_MEMORY: usize = 65_536;

/// A cheap handle; clones share everything.
#[derive(Debug, Clone)]
pub struct PostOffice {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) directory: Directory,
    pub(crate) aliases: Aliases,
    pub(crate) hostname: Domain,
    pub(crate) limits: Limits,
    pub(crate) locks: Locks,
    pub(crate) views: crate::mailbox::Views,
    pub(crate) reshaping: crate::mailbox::Reshaping,
    pub(crate) indexing: crate::mailbox::Indexing,
    /// Where mail waits that came in just now.
    pub(crate) fresh: crate::queue::Fresh,
    pub(crate) terminals: Terminals,
    /// Who hears what happens to messages.
    pub(crate) story: OnceLock<Arc<dyn crate::story::Sink>>,
    /// The way out.
    outgoing: RwLock<Arc<Outgoing>>,
    inboxes: Mutex<HashMap<AccountId, MailboxId>>,
}

/// What is to be known of mail for other servers.
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    /// The ways out.
    pub routes: Routes,
    /// How the queue behaves.
    pub queue: Settings,
}

/// What the post office takes at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Octets of a message as the peer sends it.
    pub message_octets: u64,
    /// Trace fields (`Received:`) a message may carry before it is taken to be in a loop (RFC 5321 section 6.3 asks
    /// for at least 100).
    pub received_fields: u32,
    /// The least time between two openings of a maildrop (RFC 2449 section 6.5); zero is none.
    pub maildrop_delay: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { message_octets: 50 * 1024 * 1024, received_fields: 100, maildrop_delay: Duration::ZERO }
    }
}

/// In which role a message comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// From another server, for local users only.
    Exchange,
    /// From one of our users.
    Submission(Identity),
    /// From a server of ours that has done the policy already (RFC 2033).
    Lmtp,
}

/// Who submits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Whose log-in it was.
    pub account: AccountId,
    /// The name logged in with.
    pub login: String,
}

/// Where a message comes from; told in its `Received` field.
#[derive(Debug, Clone)]
pub struct Origin {
    /// In which role it comes in.
    pub role: Role,
    /// The peer's address; `None` for a local socket.
    pub peer: Option<IpAddr>,
    /// What the peer called itself in HELO, EHLO or LHLO.
    pub helo: Option<String>,
    /// The protocol it comes by.
    pub with: With,
    /// TLS version and cipher where TLS is on.
    pub tls: Option<(&'static str, &'static str)>,
    /// It comes from a network whose hosts may send to anybody through this server, as our users may.
    pub may_relay: bool,
}

impl PostOffice {
    /// Opens the counter.
    pub fn new(store: Store, directory: Directory, hostname: Domain, limits: Limits) -> PostOffice {
        PostOffice {
            shared: Arc::new(Shared {
                aliases: Aliases::new(store.clone(), directory.clone()),
                store,
                directory,
                hostname,
                limits,
                locks: Locks::default(),
                views: Default::default(),
                reshaping: Default::default(),
                indexing: Default::default(),
                fresh: Default::default(),
                terminals: Terminals::default(),
                story: OnceLock::new(),
                outgoing: RwLock::default(),
                inboxes: Mutex::default(),
            }),
        }
    }

    /// From now on, mail for other servers is handled so. At first there is no way out.
    pub fn set_outgoing(&self, outgoing: Outgoing) {
        *self.shared.outgoing.write() = Arc::new(outgoing);
    }

    /// How mail for other servers is handled.
    pub fn outgoing(&self) -> Arc<Outgoing> {
        Arc::clone(&self.shared.outgoing.read())
    }

    /// The terminals of people who are here.
    pub fn terminals(&self) -> &Terminals {
        &self.shared.terminals
    }

    /// Whether an account may send under `address`: whoever gets an address's mail here may also answer by it.
    pub(crate) fn owns(&self, account: AccountId, address: &Address) -> Result<bool, Refusal> {
        match self.route(&Addressee::Mailbox(address.clone()), None)? {
            Route::Local(owner) => Ok(owner.id == account),
            Route::Expanded(expansion) => Ok(expansion.legs.iter().any(|leg| match &leg.to {
                LegTo::Local(member) => member.id == account,
                LegTo::Remote { .. } => false,
            })),
            Route::UnknownUser | Route::Moved(_) | Route::Elsewhere => Ok(false),
        }
    }

    /// The account's inbox, looked up once.
    pub(crate) async fn inbox(&self, account: AccountId) -> Result<MailboxId, Refusal> {
        if let Some(id) = self.shared.inboxes.lock().get(&account) {
            return Ok(*id);
        }
        let row = self.shared.store.mailbox_named(account, "INBOX").await.map_err(unreadable)?;
        let id = row.ok_or(Refusal::UnknownUser)?.id;
        let mut inboxes = self.shared.inboxes.lock();
        if inboxes.len() >= INBOX_MEMORY {
            inboxes.clear();
        }
        inboxes.insert(account, id);
        Ok(id)
    }

    /// Forgets that a mailbox, which turned out to be gone, is somebody's inbox.
    pub(crate) fn forget_mailbox(&self, mailbox: MailboxId) {
        self.shared.inboxes.lock().retain(|_, inbox| *inbox != mailbox);
    }

    /// Forgets a remembered inbox that turned out to be gone.
    pub(crate) fn forget_inbox(&self, account: AccountId) {
        self.shared.inboxes.lock().remove(&account);
    }
}

/// A read that failed is ours to log and the peer's to retry.
pub(crate) fn unreadable(error: impl std::fmt::Display) -> Refusal {
    tracing::error!(%error, "the store could not be read");
    Refusal::Temporary
}
