//! FTP at the depot's counter.

mod actions;
mod anonymous;
mod connection;
mod crowd;
mod depot;
mod entrance;
mod errand;
mod listing;
mod pipe;
mod running;
mod seats;
mod stream;
mod transfer;
mod work;

use std::future::pending;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use packetboat_ftp::reply;
use packetboat_ftp::server::{Answer, Event, Refusal, Request, Server, TransferFailure};
use tokio::net::TcpListener;

use super::Counter;
use super::login::Visitor;
use crate::drive::{Handler, Stop};
use crate::files;
use crate::listen::Peer;
use crate::metrics::Metrics;
use actions::Here;
use entrance::Guest;
use errand::Errand;
use running::{News, Running};

pub use depot::{Depot, Doors, FtpService};

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
    listener: Option<TcpListener>,
    running: Option<Running>,
    errand: Option<Box<Errand>>,
    /// The control connection, to see whether it is there.
    line: Option<Arc<OwnedFd>>,
}

impl Handler<Server> for Ftp {
    async fn handle(&mut self, session: &mut Server, event: Event) -> Result<(), Stop> {
        self.note(session, &event);
        match event {
            Event::Host(_) => session.accept(),
            Event::User(name) => self.named(session, name),
            Event::Password(password) => self.password(session, &password).await,
            Event::Account(name) => self.account(session, name),
            Event::Reinitialized => self.leave(),
            Event::Listen(how) => self.listen(session, how).await,
            Event::Connect(at) => match self.may_connect(at) {
                Ok(()) => session.accept(),
                Err(why) => session.refuse(why),
            },
            Event::CloseData => self.listener = None,
            // The others are strangers.
            Event::Request(Request::Who) if self.is_stranger() => session.refuse(Refusal::NoPermission),
            Event::Request(Request::Who) => session.answer(Answer::Lines(self.listed.who())),
            Event::Request(Request::Mount(tree)) => self.mount(session, &tree),
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
        let transfer = async {
            let Some(running) = &mut self.running else { return pending().await };
            running.news = Some(tokio::select! {
                biased;
                Some((marker, place)) = running.markers.recv() => News::Marker(marker, place),
                outcome = &mut running.outcome => {
                    News::Ended(outcome.unwrap_or(Err(TransferFailure::File(Refusal::LocalError))))
                }
            });
        };
        let errand = async {
            match &mut self.errand {
                Some(errand) => errand.ended().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = transfer => {}
            () = errand => {}
            () = self.visitor.revoked() => {}
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
            Some(News::Ended(outcome)) => {
                self.running = None;
                session.transfer_ended(outcome);
            }
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

    fn wants_tickets(&self) -> bool {
        // Data connections resume the session of the control connection.
        true
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
            Event::Abort | Event::CloseData | Event::Progress | Event::Reinitialized => return,
        };
        self.listed.acts(doing, session.tls().is_some());
    }
}
