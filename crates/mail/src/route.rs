//! Where mail leads: to a local account, to nobody, or elsewhere.

use std::sync::Arc;

use packetboat_account::{Account, Directory, Found};
use packetboat_message::Address;

use crate::Refusal;
use crate::office::unreadable;

/// Whom a message is for, as the sender names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressee {
    /// A mailbox.
    Mailbox(Address),
    /// `postmaster` without a domain: whoever keeps this server (RFC 5321 section 4.5.1).
    Postmaster,
}

impl std::fmt::Display for Addressee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Addressee::Mailbox(address) => address.fmt(f),
            Addressee::Postmaster => f.write_str("postmaster"),
        }
    }
}

/// Where an address leads.
#[derive(Debug, Clone)]
pub enum Destination {
    /// To an account here.
    Local(Arc<Account>),
    /// Its domain is local, its user is not there.
    UnknownUser,
    /// Its domain is not one of ours.
    Elsewhere,
}

/// Looks an addressee up. Served from the directory's memory nearly always.
pub fn route(directory: &Directory, to: &Addressee) -> Result<Destination, Refusal> {
    let found = match to {
        Addressee::Mailbox(address) => directory.find(address),
        Addressee::Postmaster => directory.find_postmaster(),
    };
    Ok(match found.map_err(unreadable)? {
        Found::Account(account) => Destination::Local(account),
        Found::UnknownUser => Destination::UnknownUser,
        Found::UnknownDomain => Destination::Elsewhere,
    })
}
