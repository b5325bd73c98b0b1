//! Names behind which other addresses stand.
//!
//! What an address of a local domain leads to is asked in this order; the first that applies counts:
//!
//! 1. An **alias** of that very name: one or more targets, each a local address, another alias or an address elsewhere.
//!    A target may be the alias's own name, which means the account that has it.
//! 2. An **account** that has the address.
//! 3. The same two for the name without its **tag**: `anna+lists` is `anna` with the tag `lists`. The separator is a
//!    setting of each domain.
//! 4. **Postmaster** is always somebody (RFC 5321 section 4.5.1): the domain's, or else the server's.
//! 5. **Generic** names ([`GENERIC_NAMES`]), where the domain says who gets them.
//! 6. **The domain it is the same as**, where it is another name of one.
//! 7. **The catch-all**, where the domain has one.
//!
//! A name may also say that its user has **moved**: mail goes to the new address and the sender hears of it, or is
//! refused with the new address (RFC 5321 section 3.4). And an address that [`srs`] made leads back to whom it stands
//! for.
//!
//! [`expand`] follows all that to its ends, over anything that can [`find`](Book::find) what an address leads to.
//! [`Aliases`] is the one that stands on the store.

mod book;
mod change;
mod error;
mod expand;
mod file;
mod record;
pub mod srs;
mod verify;

use std::sync::Arc;

use packetboat_account::{Bounded, Directory};
use packetboat_store::Store;
use parking_lot::RwLock;

pub use book::{Book, Lead, Step, StepKind};
pub use change::Missing;
pub use error::AliasError;
pub use expand::{Cause, Chain, Expanded, Expansion, Failure, Leg, Local, Remote, expand};
pub use file::{Entry, FILE_MAX, FileTarget, Parsed, Trouble, parse_file, parse_include};
pub use record::{Alias, DomainRules, Moved, NoSeparator, Separator};
pub use verify::{ListMember, Listed, Verified};

/// Targets of one alias.
pub const TARGETS_MAX: usize = 1000;
/// Aliases on the way from an address to a recipient.
pub const DEPTH_MAX: usize = 16;
/// Recipients that one address may stand for.
pub const LEGS_MAX: usize = 1000;
/// Addresses looked at for one.
pub const LOOKUPS_MAX: usize = 10_000;
/// The names that a domain's generic address stands in for (RFC 2142), besides `postmaster`, which always works.
pub const GENERIC_NAMES: [&str; 6] = ["abuse", "hostmaster", "info", "noc", "security", "webmaster"];
/// Answers that are remembered.
const REMEMBERED_MAX: usize = 32_768;

/// The aliases kept in a store. A handle: clones share everything.
#[derive(Debug, Clone)]
pub struct Aliases {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    directory: Directory,
    memory: RwLock<Memory>,
    /// Held during a change, so that what it read is still true when it is committed.
    changing: tokio::sync::Mutex<()>,
}

/// What [`Aliases::find`](Book::find) answers from.
#[derive(Debug)]
struct Memory {
    leads: Bounded<String, Lead>,
    /// The directory's generation that the answers belong to.
    directory: u64,
    /// One more with each change of an alias.
    generation: u64,
    /// The keys of [`srs`], newest first; `None`: not read yet.
    keys: Option<Arc<[srs::Key]>>,
}

impl Aliases {
    /// The aliases in this store, beside this directory.
    pub fn new(store: Store, directory: Directory) -> Aliases {
        let memory = Memory { leads: Bounded::new(REMEMBERED_MAX), directory: 0, generation: 0, keys: None };
        Aliases {
            inner: Arc::new(Inner {
                store,
                directory,
                memory: RwLock::new(memory),
                changing: tokio::sync::Mutex::new(()),
            }),
        }
    }
}
