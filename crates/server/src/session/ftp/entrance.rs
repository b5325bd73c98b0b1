//! Who comes, and what they find.

use std::collections::HashMap;
use std::sync::Arc;

use packetboat_account::{FilesOwner, Identity};
use packetboat_files::policy::{AccountDemand, Arrival, Closed, Entrance, Planned, Visitor};
use packetboat_files::{Limits, MemoryShare, Share, Usage, VirtualPath};
use packetboat_ftp::command::PathName;
use packetboat_ftp::server::{Refusal, Server, What, switched_off};
use packetboat_wire::Secret;

use super::Ftp;
use super::actions::{Here, refusal};
use super::rates::{Kept, Pace};
use super::seats::Seat;
use crate::files::{CountError, Shares, folder_owner};

/// Somebody who has been let in.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) entrance: Arc<Entrance>,
    /// Trees that were mounted by SMNT, by name.
    mounted: Vec<String>,
    /// What is kept is charged to these.
    shares: Charged,
    /// How fast transfers go.
    rates: Kept,
    /// Who pays, as ACCT said.
    cost_centre: Option<String>,
    _seat: Seat,
}

/// What is kept in a tree is charged to one of these.
#[derive(Debug, Default)]
struct Charged {
    own: Option<Arc<dyn Share>>,
    folders: HashMap<FilesOwner, Arc<dyn Share>>,
}

impl Charged {
    fn of(&self, tree: &Planned) -> Option<Arc<dyn Share>> {
        if tree.is_home || self.folders.is_empty() {
            return self.own.clone().filter(|_| tree.is_home);
        }
        self.folders.get(&folder_owner(&tree.location)).cloned()
    }
}

impl Ftp {
    /// USER: whether this name may go on to a password, as far as rules know it. They say nothing of whether there is such
    /// an account.
    pub(super) async fn named(&mut self, session: &mut Server, name: String) {
        let under_tls = session.tls().is_some();
        let closed = self.door(&name, under_tls).err();
        self.user = Some(name.clone());
        // Somebody whose ACCT was still missing.
        (self.guest, self.here) = (None, None);
        match closed {
            // Before a password travels in the clear.
            Some(Closed::NeedsTls) => {
                session
                    .refuse(Refusal::Because("This user logs in under TLS only: AUTH TLS first.".to_owned()));
            }
            Some(_) => session.accept(),
            None => match self.certified(&name) {
                Some(identity) => {
                    let login = identity.login.to_string();
                    self.come_in(session, Visitor::Account(&login), Some(identity)).await;
                }
                None => session.accept(),
            },
        }
    }

    /// PASS.
    pub(super) async fn password(&mut self, session: &mut Server, password: &Secret<String>) {
        let Some(user) = self.user.clone() else { return session.refuse(Refusal::LoginFailed) };
        if self.is_anonymous(&user) {
            return self.anonymous(session, &user, password).await;
        }
        // Nobody guesses from where nobody may come from.
        if let Err(closed) = self.door(&user, session.tls().is_some()) {
            return self.turned_away(session, &user, &closed);
        }
        let login = self.visitor.login(&self.counter, &self.metrics, &self.peer);
        match login.password(&user, None, password).await {
            Ok(identity) => {
                let login = identity.login.to_string();
                self.come_in(session, Visitor::Account(&login), Some(identity)).await;
            }
            Err(denied) if denied.is_temporary() => session.refuse(Refusal::LoginUnavailable),
            Err(_) => session.refuse(Refusal::LoginFailed),
        }
    }

    fn arrival(&self, tls: bool) -> Arrival {
        Arrival { from: self.peer.ip(), tls }
    }

    /// What the rules say of a name before anybody has shown that it is theirs.
    fn door(&self, name: &str, tls: bool) -> Result<(), Closed> {
        let policy = self.depot.doors.policy();
        if self.is_anonymous(name) {
            return policy.door(Visitor::Anonymous, self.arrival(tls));
        }
        let directory = self.counter.authenticator.directory();
        let login = directory.login_address(name).map_or_else(|| name.to_owned(), |it| it.to_string());
        policy.door(Visitor::Account(&login), self.arrival(tls))
    }

    /// Says that somebody may not come in, and nothing of why.
    pub(super) fn turned_away(&self, session: &mut Server, user: &str, closed: &Closed) {
        let (connection, peer, reason) = (self.peer.id, &self.peer, closed.to_string());
        tracing::warn!(connection, %peer, user, reason, "log-in refused");
        session.refuse(Refusal::LoginFailed);
    }

    /// Lets somebody in who may be who they say, as far as rules allow.
    pub(super) async fn come_in(
        &mut self,
        session: &mut Server,
        visitor: Visitor<'_>,
        identity: Option<Identity>,
    ) {
        let name = match visitor {
            Visitor::Account(login) => login,
            Visitor::Anonymous => "anonymous",
        };
        let policy = self.depot.doors.policy();
        let entrance = match policy.entrance(visitor, self.arrival(session.tls().is_some())) {
            Ok(entrance) => Arc::new(entrance),
            Err(closed) => return self.turned_away(session, name, &closed),
        };
        let (connection, peer) = (self.peer.id, &self.peer);
        let (most, there) = (entrance.connections, entrance.connections_per_address);
        let Some(seat) = self.depot.doors.seats.take(&entrance.name, self.peer.ip(), most, there) else {
            tracing::warn!(connection, %peer, user = name, "log-in refused: too many connections of this user");
            return session.turn_away("Too many connections of this user, try again later.");
        };
        let shares = match self.shares(&entrance, identity.as_ref()).await {
            Ok(shares) => shares,
            Err(error) => {
                tracing::error!(connection, user = name, %error, "log-in refused");
                return session.refuse(Refusal::LoginUnavailable);
            }
        };
        let rates = self.depot.doors.rates.of(&entrance.name, entrance.rates);
        let guest = Guest { entrance, mounted: Vec::new(), shares, rates, cost_centre: None, _seat: seat };
        match self.open(&guest) {
            Ok(here) => self.here = Some(here),
            Err(error) => {
                tracing::error!(connection, user = name, %error, "a home could not be opened");
                return session.refuse(Refusal::LoginUnavailable);
            }
        }
        let entrance = &guest.entrance;
        session.disable(switched_off(&entrance.only, &entrance.disabled));
        if let Some(idle) = entrance.idle {
            session.set_idle(idle);
        }
        if entrance.require_tls {
            session.need_protection();
        }
        let wants_account = entrance.account == AccountDemand::LogIn;
        self.guest = Some(guest);
        if let Some(identity) = identity {
            self.visitor.enter(identity);
        }
        if wants_account {
            return session.want_account();
        }
        self.listed.logged_in(name);
        session.logged_in();
    }

    /// What is kept is charged to these, where there is a limit.
    async fn shares(
        &self,
        entrance: &Arc<Entrance>,
        identity: Option<&Identity>,
    ) -> Result<Charged, CountError> {
        let mut charged = Charged { own: self.share(entrance, identity).await?, folders: HashMap::new() };
        for folder in entrance.trees.iter().filter(|tree| !tree.name.is_empty()) {
            charge_folder(&self.depot.doors.shares, &mut charged, folder).await;
        }
        Ok(charged)
    }

    /// The same for the files of one's own.
    async fn share(
        &self,
        entrance: &Arc<Entrance>,
        identity: Option<&Identity>,
    ) -> Result<Option<Arc<dyn Share>>, CountError> {
        let owner = identity.map_or(FilesOwner::Anonymous, |identity| FilesOwner::Account(identity.account));
        let shares = &self.depot.doors.shares;
        let Some(limits) = entrance.limits() else {
            shares.forget(owner).await;
            return Ok(None);
        };
        let counted = Arc::clone(entrance);
        shares.of(owner, limits, move || counted.count()).await.map(Some)
    }

    /// Opens what a guest finds. What is missing is no reason to find nothing.
    fn open(&self, guest: &Guest) -> Result<Here, packetboat_files::Refusal> {
        let opened = guest.entrance.space(&guest.mounted, &|tree| guest.shares.of(tree))?;
        for (folder, why) in &opened.missing {
            let (connection, login) = (self.peer.id, &guest.entrance.name);
            tracing::warn!(connection, login, folder, %why, "a folder could not be opened");
        }
        let space = opened.space.with_witness(self.listed.witness());
        Ok(Here { space, directory: VirtualPath::root() })
    }

    /// ACCT: who pays, for the log.
    pub(super) fn account(&mut self, session: &mut Server, name: String) {
        let Some(guest) = &mut self.guest else { return session.accept() };
        if !guest.entrance.knows_cost_centre(&name) {
            let (connection, login) = (self.peer.id, &guest.entrance.name);
            tracing::warn!(connection, login, account = name, "there is no such cost centre");
            if !session.is_logged_in() {
                (self.guest, self.here) = (None, None);
            }
            return session.refuse(Refusal::LoginFailed);
        }
        tracing::info!(connection = self.peer.id, login = guest.entrance.name, account = name, "cost centre");
        self.listed.logged_in(&guest.entrance.name);
        self.listed.cost_centre(&name);
        guest.cost_centre = Some(name);
        session.logged_in();
    }

    /// SMNT: a tree appears at its place, besides those that are there.
    pub(super) async fn mount(&mut self, session: &mut Server, tree: &PathName) {
        let (Some(guest), Some(here)) = (&mut self.guest, &mut self.here) else {
            return session.refuse(Refusal::LocalError);
        };
        let entrance = Arc::clone(&guest.entrance);
        if let Some(folder) = entrance.tree_named(tree.as_bytes()) {
            charge_folder(&self.depot.doors.shares, &mut guest.shares, folder).await;
        }
        match entrance.mount(tree.as_bytes(), &guest.mounted, &|tree| guest.shares.of(tree)) {
            Ok((space, mounted)) => {
                here.space = space.with_witness(self.listed.witness());
                guest.mounted = mounted;
                session.accept();
            }
            Err(why) => session.refuse(refusal(&why)),
        }
    }

    /// How fast a transfer goes.
    pub(super) fn pace(&self, inbound: bool) -> Pace {
        let rates = &self.depot.doors.rates;
        self.guest.as_ref().map_or_else(Pace::default, |guest| rates.pace(&guest.rates, inbound))
    }

    /// Whether something may be stored without a cost centre (RFC 959: 532).
    pub(super) fn may_transfer(&self, what: &What) -> Result<(), Refusal> {
        let stores = matches!(what, What::Store(_) | What::StoreUnique(_) | What::Append(_));
        match &self.guest {
            Some(guest) if stores && !guest.entrance.may_store(guest.cost_centre.as_deref()) => {
                Err(Refusal::NeedsAccount)
            }
            _ => Ok(()),
        }
    }

    /// Whether it is somebody without an account.
    pub(super) fn is_stranger(&self) -> bool {
        self.guest.as_ref().is_some_and(|guest| guest.entrance.anonymous)
    }

    /// REIN: nobody is here any more.
    pub(super) fn leave(&mut self) {
        self.listed.logged_out();
        (self.guest, self.here, self.user) = (None, None, None);
        (self.awaited, self.open, self.owned) = (None, None, None);
        self.visitor = super::Visitor::new(packetboat_account::Service::Files);
    }
}

/// Has what is kept in a folder charged, if there is a limit. One that cannot be counted is still there to be read, and
/// nothing can be stored in it.
async fn charge_folder(shares: &Arc<Shares>, charged: &mut Charged, folder: &Planned) {
    let owner = folder_owner(&folder.location);
    let Some(limits) = folder.limits() else { return shares.forget(owner).await };
    let counted = folder.clone();
    let share = match shares.of(owner, limits, move || counted.count()).await {
        Ok(share) => share,
        Err(error) => {
            tracing::error!(folder = folder.name, %error, "a folder is full until it can be counted");
            let limits = Limits { octets: Some(0), files: Some(0) };
            Arc::new(MemoryShare::new(Usage { limits, ..Usage::default() }))
        }
    };
    charged.folders.insert(owner, share);
}
