//! Who may do what with a mailbox. Every verb asks here, and only here.

use packetboat_store::AccountId;

use super::Refusal;

/// What somebody wants to do. The letters are the rights of RFC 4314 section 2.1 that it would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// See that it is there: `l`.
    Look,
    /// Open it, read what is in it: `r`.
    Read,
    /// Change whether messages are seen: `s`.
    SetSeen,
    /// Change other flags: `w`.
    SetFlags,
    /// Mark as deleted: `t`.
    Delete,
    /// Remove what is marked as deleted: `e`.
    Expunge,
    /// Put messages into it: `i`.
    Insert,
    /// Make a mailbox below it: `k`.
    Create,
    /// Remove or rename it: `x`.
    Remove,
}

/// Whether `who` may do this with a mailbox of `owner`.
pub fn rights(who: AccountId, owner: AccountId, verb: Verb) -> Result<(), Refusal> {
    // Mailboxes are their owners' alone so far, and to others they are not there.
    match verb {
        _ if who == owner => Ok(()),
        Verb::Look | Verb::Read => Err(Refusal::NoSuchMailbox),
        _ => Err(Refusal::NotAllowed),
    }
}
