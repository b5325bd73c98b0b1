//! The post office: what becomes of a message.
//!
//! A session hands over a sender, recipients and a body as they come in and asks for a verdict at each step
//! ([`Intake`]); a person picks their mail up from a [`Maildrop`] or keeps it in [mailboxes](mailbox). Verdicts are
//! [`Refusal`]s with a meaning: this room knows no reply codes, no sockets, and not which backend stands behind the
//! store.

pub mod alias;
mod id;
mod intake;
pub mod mailbox;
mod maildrop;
mod office;
pub mod outbound;
pub mod queue;
mod refusal;
mod route;
pub mod secure;
pub mod story;
mod terminal;

pub use id::{InvalidTag, MessageTag};
pub use intake::{Accepted, Inbox, Intake, Outcome, Place, Recipient, Several};
pub use maildrop::{Maildrop, MaildropError, Reading, UniqueId};
pub use office::{Identity, Limits, Origin, Outgoing, PostOffice, Role};
pub use refusal::Refusal;
pub use route::{Addressee, DeadEnd, Expansion, Leg, LegTo, Route};
pub use terminal::{Note, Reach, Terminal, Terminals};
