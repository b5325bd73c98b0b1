//! Following an address to all its ends.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use packetboat_account::Account;
use packetboat_message::{Address, Domain};

use super::book::{Book, Lead, Step, StepKind};
use super::record::Moved;
use super::{DEPTH_MAX, LEGS_MAX, LOOKUPS_MAX, srs};

/// What an address stands for.
#[derive(Debug, Clone)]
pub enum Expanded {
    /// Recipients, at least one.
    To(Expansion),
    /// Nobody, though its domain is one of ours.
    Nobody,
    /// Its domain is not one of ours.
    Elsewhere,
    /// Its user has moved, and senders are to write there.
    Moved(Address),
    /// It looks like a return path of ours, and is not good (any more).
    NotOurs(srs::Invalid),
    /// It leads to no one.
    Broken(Failure),
}

/// The recipients that an address stands for.
#[derive(Debug, Clone, Default)]
pub struct Expansion {
    /// Each recipient once, in the order in which they are named, the nearest first.
    pub legs: Vec<Leg>,
    /// The ways that lead to nobody. Those before them get the message all the same, "the rest of the envelope and the
    /// message body are left unchanged" (RFC 5321 section 3.9.1); the sender hears of these.
    pub failures: Vec<Failure>,
    /// Where an alias leads back to one it was come by, which adds nobody.
    pub loops: Vec<Failure>,
    /// Where the user has moved to, and their mail with them (RFC 5321 section 3.4: 251).
    pub moved: Option<Address>,
}

impl Expansion {
    /// The address is this account's.
    pub(super) fn here(account: Arc<Account>, address: Address) -> Expansion {
        let leg = Leg::Local(Local { account, address, tag: None, chain: Chain::default() });
        Expansion { legs: vec![leg], ..Expansion::default() }
    }
}

/// One recipient.
#[derive(Debug, Clone)]
pub enum Leg {
    /// An account of this server.
    Local(Local),
    /// Somebody elsewhere.
    Remote(Remote),
}

/// A recipient here.
#[derive(Debug, Clone)]
pub struct Local {
    /// Whose.
    pub account: Arc<Account>,
    /// The address it is delivered to: the last on the way.
    pub address: Address,
    /// The tag of the subaddress it came by, for filing.
    pub tag: Option<Arc<str>>,
    /// How the address was come to.
    pub chain: Chain,
}

/// A recipient elsewhere.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The address.
    pub address: Address,
    /// How the address was come to.
    pub chain: Chain,
    /// The domain of ours that the return path is to be of, made by [`srs`]; `None`: it stays as it is. A list's owner
    /// will stand here too.
    pub rewrite: Option<Domain>,
}

/// A way that leads to nobody.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The address at which it ends.
    pub address: Address,
    /// How the address was come to.
    pub chain: Chain,
    /// Why.
    pub cause: Cause,
}

/// Why an address leads to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Cause {
    /// It is not there (any more).
    #[error("nobody has this address")]
    Gone,
    /// It stands for itself by way of others.
    #[error("it leads back to where it came from")]
    Loop,
    /// More aliases one behind the other than [`DEPTH_MAX`].
    #[error("more than {DEPTH_MAX} aliases stand one behind the other")]
    TooDeep,
    /// More recipients than [`LEGS_MAX`], or more to look at than [`LOOKUPS_MAX`].
    #[error("it stands for more than {LEGS_MAX} recipients")]
    TooMany,
    /// Its user has moved, and senders are to write there.
    #[error("its user has moved")]
    Moved,
}

/// The addresses that were gone through, the first one first. Empty for an address that stands for itself.
#[derive(Debug, Clone, Default)]
pub struct Chain(Option<Arc<Link>>);

#[derive(Debug)]
struct Link {
    name: Address,
    key: String,
    kind: StepKind,
    before: Chain,
    length: usize,
}

impl Chain {
    /// The addresses, the first one first, each with the reason why the next one follows.
    pub fn steps(&self) -> Vec<(&Address, StepKind)> {
        let mut steps = Vec::with_capacity(self.len());
        let mut chain = self;
        while let Some(link) = &chain.0 {
            steps.push((&link.name, link.kind));
            chain = &link.before;
        }
        steps.reverse();
        steps
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |link| link.length)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The address before the end: the one by which a message leaves.
    pub fn last(&self) -> Option<&Address> {
        self.0.as_ref().map(|link| &link.name)
    }

    /// Whether it goes through this address.
    pub fn passes(&self, address: &Address) -> bool {
        self.has(&address.lookup_key())
    }

    fn has(&self, key: &str) -> bool {
        let mut chain = self;
        while let Some(link) = &chain.0 {
            if link.key == key {
                return true;
            }
            chain = &link.before;
        }
        false
    }

    fn with(&self, step: &Step, key: String) -> Chain {
        let (name, kind) = (step.name.clone(), step.kind);
        Chain(Some(Arc::new(Link { name, key, kind, before: self.clone(), length: self.len() + 1 })))
    }
}

/// As `info@example.org -> sales@example.org`.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, _)) in self.steps().into_iter().enumerate() {
            let arrow = if place > 0 { " -> " } else { "" };
            write!(f, "{arrow}{name}")?;
        }
        Ok(())
    }
}

impl Leg {
    /// The address it ends at.
    pub fn address(&self) -> &Address {
        match self {
            Leg::Local(local) => &local.address,
            Leg::Remote(remote) => &remote.address,
        }
    }

    /// How the address was come to.
    pub fn chain(&self) -> &Chain {
        match self {
            Leg::Local(local) => &local.chain,
            Leg::Remote(remote) => &remote.chain,
        }
    }
}

/// The whole way, as `info@example.org -> sales@example.org -> anna@example.org`.
impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        whole_way(f, self.chain(), self.address())
    }
}

/// The whole way and why it leads nowhere.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        whole_way(f, &self.chain, &self.address)?;
        write!(f, ": {}", self.cause)
    }
}

fn whole_way(f: &mut fmt::Formatter<'_>, chain: &Chain, end: &Address) -> fmt::Result {
    match chain.is_empty() {
        true => write!(f, "{end}"),
        false => write!(f, "{chain} -> {end}"),
    }
}

/// Follows an address to all its ends.
///
/// Level by level, so that each alias is met on the shortest way to it, and looked at once however many ways lead to
/// it. An alias that leads back to one it was come by adds nothing: those reached otherwise get the message, and only
/// where there are none is the address broken.
pub fn expand<B: Book + ?Sized>(start: &Address, book: &B) -> Result<Expanded, B::Error> {
    let step = match book.find(start)? {
        Lead::Account { account, tag } => {
            let (address, chain) = (start.clone(), Chain::default());
            let leg = Leg::Local(Local { account, address, tag, chain });
            return Ok(Expanded::To(Expansion { legs: vec![leg], ..Expansion::default() }));
        }
        Lead::Nobody => return Ok(Expanded::Nobody),
        Lead::NotOurs(invalid) => return Ok(Expanded::NotOurs(invalid)),
        Lead::Elsewhere => return Ok(Expanded::Elsewhere),
        Lead::Step(step) => step,
    };
    let mut walk = Walk::default();
    match (step.kind, step.targets.first()) {
        (StepKind::Moved(Moved::Refuse), Some(to)) => return Ok(Expanded::Moved(to.clone())),
        (StepKind::Moved(Moved::Forward), Some(to)) => walk.to.moved = Some(to.clone()),
        _ => (),
    }
    let mut level = Vec::new();
    walk.enter(start, &step, &Chain::default(), None, &mut level);
    while !level.is_empty() && !walk.is_full() {
        let mut next = Vec::new();
        for reached in level {
            walk.reach(reached, book, &mut next)?;
            if walk.is_full() {
                break;
            }
        }
        level = next;
    }
    Ok(walk.end(start))
}

/// An address that a step leads to.
struct Reached {
    address: Address,
    chain: Chain,
    /// The tag that came along with the step.
    tag: Option<Arc<str>>,
    /// The domain whose return path a message gets that leaves here.
    rewrite: Option<Domain>,
    /// The account that the step's own name means.
    own: Option<Arc<Account>>,
}

#[derive(Default)]
struct Walk {
    to: Expansion,
    /// Aliases met.
    seen: HashSet<String>,
    /// Recipients met: accounts by number, others by address.
    accounts: HashSet<u64>,
    remote: HashSet<String>,
    looked_at: usize,
    too_many: bool,
}

impl Walk {
    fn is_full(&self) -> bool {
        self.too_many
    }

    /// Puts the targets of a step on the next level.
    fn enter(
        &mut self,
        address: &Address,
        step: &Step,
        chain: &Chain,
        tag: Option<&Arc<str>>,
        next: &mut Vec<Reached>,
    ) {
        let key = step.name.lookup_key();
        if chain.has(&key) {
            if self.to.loops.len() < LEGS_MAX {
                let (address, chain) = (address.clone(), chain.clone());
                self.to.loops.push(Failure { address, chain, cause: Cause::Loop });
            }
            return;
        }
        if self.seen.contains(&key) {
            return;
        }
        if chain.len() >= DEPTH_MAX {
            self.fail(address.clone(), chain.clone(), Cause::TooDeep);
            return;
        }
        let chain = chain.with(step, key.clone());
        // What goes back to whom it came from needs no return path of ours: it is a bounce, and has none.
        let rewrites = step.srs && step.kind != StepKind::Return;
        for target in &step.targets {
            let own = step.own.as_ref().filter(|_| target.lookup_key() == key);
            next.push(Reached {
                address: target.clone(),
                chain: chain.clone(),
                tag: step.tag.as_ref().or(tag).cloned(),
                rewrite: rewrites.then(|| step.name.domain().clone()),
                own: own.cloned(),
            });
        }
        self.seen.insert(key);
    }

    fn reach<B: Book + ?Sized>(
        &mut self,
        reached: Reached,
        book: &B,
        next: &mut Vec<Reached>,
    ) -> Result<(), B::Error> {
        let Reached { address, chain, tag, rewrite, own } = reached;
        if let Some(account) = own {
            self.local(account, address, tag, chain);
            return Ok(());
        }
        self.looked_at += 1;
        if self.looked_at > LOOKUPS_MAX {
            self.too_many = true;
            return Ok(());
        }
        match book.find(&address)? {
            Lead::Account { account, tag: its } => self.local(account, address, its.or(tag), chain),
            Lead::Elsewhere => {
                // The case of a local part elsewhere is not ours to judge (RFC 5321 section 2.4).
                if self.remote.insert(address.to_string()) {
                    self.add(Leg::Remote(Remote { address, chain, rewrite }));
                }
            }
            Lead::Nobody | Lead::NotOurs(_) => self.fail(address, chain, Cause::Gone),
            Lead::Step(step) if step.kind == StepKind::Moved(Moved::Refuse) => {
                self.fail(address, chain, Cause::Moved);
            }
            Lead::Step(step) => self.enter(&address, &step, &chain, tag.as_ref(), next),
        }
        Ok(())
    }

    fn local(&mut self, account: Arc<Account>, address: Address, tag: Option<Arc<str>>, chain: Chain) {
        if self.accounts.insert(account.id.0) {
            self.add(Leg::Local(Local { account, address, tag, chain }));
        }
    }

    fn add(&mut self, leg: Leg) {
        match self.to.legs.len() < LEGS_MAX {
            true => self.to.legs.push(leg),
            false => self.too_many = true,
        }
    }

    fn fail(&mut self, address: Address, chain: Chain, cause: Cause) {
        // No more than there can be recipients.
        if self.to.failures.len() < LEGS_MAX {
            self.to.failures.push(Failure { address, chain, cause });
        }
    }

    fn end(self, start: &Address) -> Expanded {
        let broken = |cause| Failure { address: start.clone(), chain: Chain::default(), cause };
        if self.too_many {
            // Some of them cannot be chosen.
            return Expanded::Broken(broken(Cause::TooMany));
        }
        if !self.to.legs.is_empty() {
            return Expanded::To(self.to);
        }
        let mut reasons = self.to.failures.into_iter().chain(self.to.loops);
        Expanded::Broken(reasons.next().unwrap_or_else(|| broken(Cause::Loop)))
    }
}

#[cfg(test)]
mod tests;
