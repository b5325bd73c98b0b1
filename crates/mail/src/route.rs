//! Where mail leads: to a local account, to others behind an address, elsewhere, or to nobody.

use std::sync::Arc;

use packetboat_account::{Account, Found};
use packetboat_message::Address;

use crate::office::unreadable;
use crate::{PostOffice, Refusal};

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
pub enum Route {
    /// To an account here. By far the most frequent answer.
    Local(Arc<Account>),
    /// To those who stand behind it.
    Expanded(Box<Expansion>),
    /// Its domain is local, its user is not there.
    UnknownUser,
    /// Its user has moved, and senders are to write there.
    Moved(Address),
    /// Its domain is not one of ours.
    Elsewhere,
}

/// Those who stand behind an address.
#[derive(Debug, Clone, Default)]
pub struct Expansion {
    /// Who gets the message, each once.
    pub legs: Vec<Leg>,
    /// Those among them who cannot get it; the others do all the same, and the sender hears of these (RFC 5321 section
    /// 3.9).
    pub dead: Vec<DeadEnd>,
    /// Where the user has moved to, and their mail with them (RFC 5321 section 3.4: 251).
    pub moved: Option<Address>,
}

/// One who gets a message that was sent to another address.
#[derive(Debug, Clone)]
pub struct Leg {
    /// Their address.
    pub address: Address,
    /// The address before it on the way: the one by which the message leaves.
    pub through: Address,
    /// Where they are.
    pub to: LegTo,
}

/// Where one who gets a message is.
#[derive(Debug, Clone)]
pub enum LegTo {
    /// Here.
    Local(Arc<Account>),
    /// Elsewhere.
    Remote {
        /// The return path that the message gets for this way; `None`: it keeps its own.
        sender: Option<Address>,
    },
}

/// An address behind another, at which nobody is.
#[derive(Debug, Clone)]
pub struct DeadEnd {
    /// The address.
    pub address: Address,
    /// Why nobody is there, in plain words.
    pub why: String,
}

impl PostOffice {
    /// Looks an addressee up, for a message from `sender`. Served from the directory's memory nearly always.
    pub fn route(&self, to: &Addressee, _sender: Option<&Address>) -> Result<Route, Refusal> {
        let directory = &self.shared.directory;
        let found = match to {
            Addressee::Mailbox(address) => directory.find(address),
            Addressee::Postmaster => directory.find_postmaster(),
        };
        Ok(match found.map_err(unreadable)? {
            Found::Account(account) => Route::Local(account),
            Found::UnknownUser => Route::UnknownUser,
            Found::UnknownDomain => Route::Elsewhere,
        })
    }
}
