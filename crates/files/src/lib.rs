//! The file space: what a user sees as one tree of files, and what of it they may do.
//!
//! A [`Space`] joins [`Tree`]s, each a directory of this machine, at virtual paths. Every verb goes through one check of
//! rights ([`Space::permits`]), and every access to the machine goes through a handle of the tree's directory with
//! `openat2` and `RESOLVE_BENEATH`: whatever a path, or a link somebody plants while we look, says, it stays in the tree.
//!
//! Nothing here waits for a network or knows a protocol. Calls block for as long as the disk does.

mod copy;
mod digest;
mod glob;
mod list;
mod made;
mod part;
mod path;
pub mod policy;
mod refusal;
mod rights;
mod rules;
mod share;
mod space;
mod tree;
mod unique;
mod upload;
mod witness;

pub use digest::{Algorithm, Checksum};
pub use glob::{Matches, Pattern};
pub use list::{Entry, Kind, Lister, Names};
pub use part::{Keeping, Sweep, Swept};
pub use path::{InvalidPath, VirtualPath};
pub use refusal::Refusal;
pub use rights::{Grant, Right, Rights};
pub use rules::Rules;
pub use share::{Limits, MemoryShare, Share, Usage};
pub use space::{Mount, Owner, Space};
pub use tree::Tree;
pub use upload::{How, Sync, Upload};
pub use witness::{Act, Change, Ticket, Witness};
