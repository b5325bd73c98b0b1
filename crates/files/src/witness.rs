//! Whoever is told of what changes in a space: before it does and after it did, so that a journal can be kept of it.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::{Refusal, VirtualPath};

/// Is told of changes. Called by whoever makes the change, on its thread: it may block.
pub trait Witness: fmt::Debug + Send + Sync {
    /// This is about to happen. Refused, it does not.
    fn before(&self, change: &Change<'_>) -> Result<Option<Ticket>, Refusal>;

    /// It has happened, and the name is this now; or it has not.
    fn after(&self, change: &Change<'_>, ticket: Option<Ticket>, outcome: Result<&[u8], &Refusal>);
}

/// What a witness remembers a change by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u128);

/// A change of names.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What happens.
    pub act: Act,
    /// Where, as the user sees it.
    pub path: &'a VirtualPath,
    /// The directory that it happens in.
    pub directory: BorrowedFd<'a>,
    /// The name in it: for [`Act::Store`] the one wanted.
    pub name: &'a [u8],
    /// Where else: the new path, its directory, and the name there. For [`Act::Store`], the directory and the name under
    /// which the file lies until then.
    pub other: Option<(&'a VirtualPath, BorrowedFd<'a>, &'a [u8])>,
}

/// What happens to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A file that was stored gets its name.
    Store,
    /// A file or a link is removed.
    Remove,
    /// Something gets another name.
    Rename,
    /// A directory is made.
    MakeDirectory,
    /// A directory is removed.
    RemoveDirectory,
}

/// Makes a change under the eyes of a witness, if there is one; it gives the name that there is then, if it is another than the
/// one wanted.
pub(crate) fn under<T>(
    witness: Option<&Arc<dyn Witness>>,
    change: &Change<'_>,
    make: impl FnOnce() -> Result<T, Refusal>,
    name: impl FnOnce(&T) -> Option<Vec<u8>>,
) -> Result<T, Refusal> {
    let Some(witness) = witness else { return make() };
    let ticket = witness.before(change)?;
    let outcome = make();
    match &outcome {
        Ok(made) => {
            let name = name(made);
            witness.after(change, ticket, Ok(name.as_deref().unwrap_or(change.name)));
        }
        Err(refusal) => witness.after(change, ticket, Err(refusal)),
    }
    outcome
}
