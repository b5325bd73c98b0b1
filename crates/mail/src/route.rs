//! Where mail leads: to a local account, to others behind an address, elsewhere, or to nobody.

use std::sync::Arc;

use packetboat_account::{Account, Found};
use packetboat_message::{Address, LocalPart};

use crate::alias::{self, Aliases, Book as _, Cause, Chain, Expanded, Lead};
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
    /// The whole way there, but for the address itself.
    pub chain: Chain,
    /// The tag of the subaddress they are reached by, for filing.
    pub tag: Option<Arc<str>>,
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
    /// Looks an addressee up, for a message from `sender`. Served from memory nearly always.
    pub fn route(&self, to: &Addressee, sender: Option<&Address>) -> Result<Route, Refusal> {
        let aliases = &self.shared.aliases;
        let address = match to {
            Addressee::Mailbox(address) => address,
            Addressee::Postmaster => match self.postmaster()? {
                Some(address) => &address.clone(),
                None => return Ok(Route::UnknownUser),
            },
        };
        // Most addresses are an account's, and that is all there is to know of them.
        if let Lead::Account { account, .. } = aliases.find(address).map_err(unreadable)? {
            return Ok(Route::Local(account));
        }
        let expansion = match aliases.expand(address).map_err(unreadable)? {
            Expanded::To(expansion) => expansion,
            Expanded::Nobody => return Ok(Route::UnknownUser),
            Expanded::Elsewhere => return Ok(Route::Elsewhere),
            Expanded::Moved(to) => return Ok(Route::Moved(to)),
            Expanded::NotOurs(invalid) => return Ok(broken(address.clone(), invalid.to_string())),
            Expanded::Broken(failure) => {
                tracing::warn!(%address, %failure, "an alias leads to nobody");
                return Ok(broken(failure.address, failure.cause.to_string()));
            }
        };
        let now = jiff::Timestamp::now();
        let mut legs = Vec::with_capacity(expansion.legs.len());
        for leg in expansion.legs {
            let leg = match leg {
                alias::Leg::Local(local) if local.chain.is_empty() => return Ok(Route::Local(local.account)),
                alias::Leg::Local(local) => {
                    let alias::Local { account, address, tag, chain } = local;
                    let through = chain.last().unwrap_or(&address).clone();
                    Leg { address, through, chain, tag, to: LegTo::Local(account) }
                }
                alias::Leg::Remote(remote) => {
                    let path = aliases.return_path(sender, &remote, now).map_err(unreadable)?;
                    let to = LegTo::Remote { sender: path.filter(|path| Some(path) != sender) };
                    let alias::Remote { address, chain, .. } = remote;
                    let through = chain.last().unwrap_or(&address).clone();
                    Leg { address, through, chain, tag: None, to }
                }
            };
            legs.push(leg);
        }
        let dead = expansion.failures.into_iter().map(|failure| {
            tracing::warn!(%address, %failure, "an alias leads to nobody, and to others besides");
            // Who they are is not the sender's to know.
            let what = match failure.cause {
                Cause::Gone => "is gone".to_owned(),
                Cause::Moved => "has moved".to_owned(),
                other => format!("cannot be reached ({other})"),
            };
            let why = format!("one of those behind this address {what}; the others got the message");
            DeadEnd { address: failure.address, why }
        });
        let dead = dead.collect();
        Ok(Route::Expanded(Box::new(Expansion { legs, dead, moved: expansion.moved })))
    }

    /// The aliases, to look at and to change.
    pub fn aliases(&self) -> &Aliases {
        &self.shared.aliases
    }

    /// The address that `postmaster` without a domain means.
    pub(crate) fn postmaster(&self) -> Result<Option<Address>, Refusal> {
        let directory = &self.shared.directory;
        if let Some(domain) = directory.default_domain()
            && directory.is_local(&domain).map_err(unreadable)?
        {
            let local = LocalPart::plain("postmaster").map_err(unreadable)?;
            return Ok(Some(Address::new(local, domain)));
        }
        Ok(match directory.find_postmaster().map_err(unreadable)? {
            Found::Account(account) => Some(account.login.clone()),
            Found::UnknownUser | Found::UnknownDomain => None,
        })
    }
}

fn broken(address: Address, why: String) -> Route {
    let dead = vec![DeadEnd { address, why }];
    Route::Expanded(Box::new(Expansion { dead, ..Expansion::default() }))
}
