//! FTP at the depot's counter.

mod actions;
mod announce;
mod anonymous;
mod beside;
mod certificate;
mod connection;
mod crowd;
mod depot;
mod early;
mod entrance;
mod errand;
mod farewell;
mod links;
mod listing;
mod one_port;
mod pipe;
mod rates;
mod running;
mod seats;
mod stream;
mod transfer;
mod wide;
mod work;

use std::future::pending;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use packetboat_ftp::reply;
use packetboat_ftp::server::{Answer, Event, Refusal, Request, Server, TransferFailure};

use super::Counter;
use super::login::Visitor;
use crate::drive::{Handler, Stop, TlsBinding};
use crate::files;
use crate::listen::Peer;
use crate::metrics::Metrics;
use crate::tls::{Binding, Channel, TlsSessionId};
use actions::Here;
use connection::Awaited;
use entrance::Guest;
use errand::Errand;
use links::Owned;
use running::{News, Running};
use stream::Data;

pub use announce::Announcing;
pub use certificate::{Clients, check_authorities};
pub use depot::{Depot, Doors, FtpService};
pub use links::{Links, Owners, Waiting};
pub use one_port::OnePort;

/// The owner of one session.
#[derive(Debug)]
struct Ftp {
    depot: Arc<Depot>,
    counter: Counter,
    metrics: Arc<Metrics>,
    peer: Peer,
    /// Its place on the register of who is there.
    listed: files::Session,
    visitor: Visitor,
    user: Option<String>,
    guest: Option<Guest>,
    here: Option<Here>,
    /// Where a data connection is waited for.
    awaited: Option<Awaited>,
    /// The data connection of the last transfer, in the modes that leave it open.
    open: Option<Box<Data>>,
    /// What binds data connections to the TLS session of the control connection.
    binding: Option<Arc<Binding>>,
    /// The login name in the certificate that the client has shown.
    certificate: Option<String>,
    /// Whose the TLS session is, after the log-in.
    owned: Option<Owned>,
    /// A data connection has resumed that session: the client can.
    has_resumed: bool,
    /// A data connection has used one of the client's tickets.
    ticket_used: bool,
    /// CCC: the control connection is to go on in the clear.
    leaves_tls: bool,
    running: Option<Running>,
    errand: Option<Box<Errand>>,
    /// The control connection, to see whether it is there.
    line: Option<Arc<OwnedFd>>,
}

impl Handler<Server> for Ftp {
    async fn handle(&mut self, session: &mut Server, event: Event) -> Result<(), Stop> {
        self.note(session, &event);
        match event {
            Event::Host(host) => match self.may_be_called(&host).await {
                true => session.accept(),
                false => session.refuse(Refusal::AddressNotAllowed),
            },
            Event::User(name) => self.named(session, name).await,
            Event::Password(password) => self.password(session, &password).await,
            Event::Account(name) => self.account(session, name),
            Event::Reinitialized => self.leave(),
            Event::Listen(how) => self.listen(session, how).await,
            Event::Connect(at) => match self.may_connect(at) {
                Ok(()) => session.accept(),
                Err(why) => session.refuse(why),
            },
            Event::CloseData => (self.awaited, self.open) = (None, None),
            Event::ClearControl => self.leaves_tls = true,
            // The others are strangers.
            Event::Request(Request::Who) if self.is_stranger() => session.refuse(Refusal::NoPermission),
            Event::Request(Request::Who) => {
                let all = self.guest.as_ref().is_some_and(|guest| guest.entrance.sees_all);
                session.answer(Answer::Lines(self.listed.who(all)));
            }
            Event::Request(Request::Mount(tree)) => self.mount(session, &tree).await,
            Event::Request(request) => {
                let facts: Vec<&str> = session.facts().to_vec();
                let work = self.here.as_ref().and_then(|here| here.work(&request).transpose());
                match work {
                    Some(Ok(work)) => {
                        self.errand = Some(Box::new(Errand::begin(work)));
                        return Ok(());
                    }
                    Some(Err(why)) => {
                        session.refuse(why);
                        return Ok(());
                    }
                    None => {}
                }
                match self.here.as_mut().map(|here| here.carry_out(request, &facts)) {
                    Some(Ok(answer)) => session.answer(answer),
                    Some(Err(why)) => session.refuse(why),
                    None => session.refuse(Refusal::LocalError),
                }
            }
            Event::Transfer(transfer) => self.begin(session, *transfer),
            Event::Abort => {
                // The end is told when the transfer has ended.
                if let Some(running) = &mut self.running {
                    running.stop = None;
                }
                if let Some(errand) = &self.errand {
                    errand.stop();
                }
            }
            Event::Progress => session.answer(Answer::Lines(self.listed.progress())),
        }
        Ok(())
    }

    async fn news(&mut self) {
        loop {
            let transfer = async {
                let Some(running) = &mut self.running else { return pending().await };
                running.news = Some(tokio::select! {
                    biased;
                    Some((marker, place)) = running.markers.recv() => News::Marker(marker, place),
                    outcome = &mut running.outcome => {
                        News::Ended(outcome.unwrap_or_else(|_| TransferFailure::File(Refusal::LocalError).into()))
                    }
                });
            };
            let until = self.awaited.as_ref().map(Awaited::until);
            let nobody_came = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => pending().await,
                }
            };
            let errand = async {
                match &mut self.errand {
                    Some(errand) => errand.ended().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = transfer => return,
                () = errand => return,
                () = self.visitor.revoked() => return,
                // A port is not held for a client that has forgotten it.
                () = nobody_came => {
                    tracing::info!(connection = self.peer.id, "nobody came for a data connection, the port is closed");
                    self.awaited = None;
                }
            }
        }
    }

    async fn tell(&mut self, session: &mut Server) -> Result<(), Stop> {
        if let Some(outcome) = self.errand.as_mut().and_then(|errand| errand.take()) {
            self.errand = None;
            match outcome {
                Ok(answer) => session.answer(answer),
                Err(why) => session.refuse(why),
            }
            return Ok(());
        }
        match self.running.as_mut().and_then(|running| running.news.take()) {
            Some(News::Marker(marker, place)) => session.marker(&marker, place),
            Some(News::Ended(outcome)) => self.ended(session, outcome),
            None => {
                self.visitor.log_revoked(&self.peer);
                session.end(reply::access_revoked());
            }
        }
        Ok(())
    }

    fn disconnect(&mut self, session: &mut Server) -> bool {
        session.end(reply::disconnected());
        true
    }

    fn binding(&mut self) -> Option<TlsBinding> {
        let links = &self.depot.links;
        let clients = links.clients.get().map(|(verifier, _)| verifier);
        let binding = Binding::new(links.certificates.bindings(), Channel::Control, clients);
        self.binding = Some(Arc::clone(&binding));
        // After AUTH, whoever was logged in before is not any more.
        self.owned = None;
        Some(TlsBinding(binding))
    }

    fn secured(&mut self, tls: &rustls::Connection) {
        let clients = self.depot.links.clients.get();
        let leaf = tls.peer_certificates().and_then(<[_]>::first);
        self.certificate = clients.zip(leaf).and_then(|((_, place), leaf)| certificate::name(leaf, place));
    }

    fn leaves_tls(&mut self) -> bool {
        std::mem::take(&mut self.leaves_tls)
    }

    fn left_tls(&mut self, session: &mut Server) {
        session.tls_ended();
    }

    fn top_up(&mut self) -> Option<TlsBinding> {
        std::mem::take(&mut self.ticket_used).then(|| self.binding.clone().map(TlsBinding)).flatten()
    }
}

impl Ftp {
    /// The TLS session of the control connection.
    fn tls_session(&self) -> Option<TlsSessionId> {
        self.binding.as_ref().and_then(|binding| binding.session(None))
    }
}

impl Ftp {
    /// Notes what is asked, for whoever watches.
    fn note(&self, session: &Server, event: &Event) {
        let doing = match event {
            Event::User(_) | Event::Password(_) | Event::Account(_) | Event::Host(_) => "logging in",
            Event::Request(request) => files::word(request),
            Event::Transfer(_) => "transferring",
            Event::Listen(_) | Event::Connect(_) => "preparing a transfer",
            Event::Abort
            | Event::CloseData
            | Event::ClearControl
            | Event::Progress
            | Event::Reinitialized => return,
        };
        self.listed.acts(doing, session.tls().is_some());
    }
}
