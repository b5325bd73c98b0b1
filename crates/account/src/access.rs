//! Who has been let in, and for how long: a session ends when what it was begun with is taken back.

use packetboat_store::AccountId;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::credential::{Identity, Proof};
use crate::directory::Directory;

/// Changes that a session may be behind with; one that is further behind ends, to be on the safe side.
const CHANGES_MAX: usize = 256;

/// What no longer opens an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// Nothing does: the account is disabled or gone.
    All,
    /// This has been changed or taken away.
    Proof(Proof),
}

/// Tells those who were let in.
#[derive(Debug)]
pub(crate) struct Revocations(broadcast::Sender<(AccountId, Revoked)>);

impl Revocations {
    pub(crate) fn new() -> Revocations {
        Revocations(broadcast::Sender::new(CHANGES_MAX))
    }

    pub(crate) fn tell(&self, account: AccountId, what: Revoked) {
        // Nobody listens where nobody is logged in.
        let _ = self.0.send((account, what));
    }
}

/// Hears of what is taken back from now on. To miss nothing, it is had before the credentials are looked at.
#[derive(Debug)]
pub struct Access {
    changes: broadcast::Receiver<(AccountId, Revoked)>,
}

impl Directory {
    /// What is taken back from now on.
    pub fn access(&self) -> Access {
        Access { changes: self.inner.revocations.0.subscribe() }
    }
}

impl Access {
    /// Returns when somebody who was let in would not be let in by the same credentials any more. Cancel safe.
    pub async fn revoked(&mut self, identity: &Identity) {
        loop {
            match self.changes.recv().await {
                Ok((account, what)) if concerns(identity, account, &what) => return,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return,
                // The directory is gone, and the server with it.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Whether that has happened.
    pub fn is_revoked(&mut self, identity: &Identity) -> bool {
        loop {
            match self.changes.try_recv() {
                Ok((account, what)) if concerns(identity, account, &what) => return true,
                Ok(_) => {}
                Err(TryRecvError::Lagged(_)) => return true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return false,
            }
        }
    }
}

fn concerns(identity: &Identity, account: AccountId, what: &Revoked) -> bool {
    identity.account == account
        && match what {
            Revoked::All => true,
            Revoked::Proof(proof) => identity.proof == *proof,
        }
}
