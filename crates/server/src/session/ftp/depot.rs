//! What all FTP sessions share, and how listeners begin one.

use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use packetboat_account::Service;
use packetboat_files::policy::Policy;
use packetboat_ftp::reply;
use packetboat_ftp::server::{Config, Server};
use packetboat_wire::ReplyStyle;
use parking_lot::RwLock;

use super::rates::Rates;
use super::seats::Seats;
use super::{Ftp, Links};
use crate::drive::{Link, Summary, drive};
use crate::files::Shares;
use crate::files::Transfers;
use crate::limits;
use crate::listen::{self, Peer};
use crate::metrics::Metrics;
use crate::session::Counter;
use crate::session::login::Visitor;

/// Where files lie, and how data connections are made.
#[derive(Debug)]
pub struct Depot {
    /// Who finds which files, and on what terms.
    pub doors: Doors,
    /// Where sessions and transfers are on the register.
    pub transfers: Arc<Transfers>,
    /// How data connections are made.
    pub links: Arc<Links>,
}

/// Who is let in, to what, and how many of them are there.
#[derive(Debug)]
pub struct Doors {
    policy: RwLock<Arc<Policy>>,
    pub(super) seats: Arc<Seats>,
    pub(super) rates: Rates,
    pub(super) shares: Arc<Shares>,
}

impl Doors {
    /// By these rules.
    pub fn new(policy: Policy, shares: Arc<Shares>) -> Doors {
        let rates = Rates::new(policy.total);
        Doors { policy: RwLock::new(Arc::new(policy)), seats: Arc::default(), rates, shares }
    }

    /// The rules, as they are now.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read())
    }

    /// From now on, these rules. Who is in stays in on those of before.
    pub fn set_policy(&self, policy: Policy) {
        self.rates.set_total(policy.total);
        *self.policy.write() = Arc::new(policy);
    }
}

/// FTP, as listeners know it.
#[derive(Debug)]
pub struct FtpService {
    config: Arc<Config>,
    depot: Arc<Depot>,
    counter: Counter,
    metrics: Arc<Metrics>,
}

impl FtpService {
    /// Serves by this configuration.
    pub fn new(config: Config, depot: Arc<Depot>, counter: Counter, metrics: Arc<Metrics>) -> FtpService {
        FtpService { config: Arc::new(config), depot, counter, metrics }
    }
}

impl listen::Service for FtpService {
    fn serve(&self, mut link: Link, peer: Peer) -> Pin<Box<dyn Future<Output = Summary> + Send>> {
        let session = Server::new(Arc::clone(&self.config));
        link.conn = link.conn.with_urgent_data();
        let line = match link.conn.socket() {
            crate::conn::Socket::Tcp(socket) | crate::conn::Socket::Urgent(socket) => {
                socket.as_fd().try_clone_to_owned().ok().map(Arc::new)
            }
            crate::conn::Socket::Unix(_) => None,
        };
        let owner = Ftp {
            depot: Arc::clone(&self.depot),
            counter: self.counter.clone(),
            metrics: Arc::clone(&self.metrics),
            listed: self.depot.transfers.session(&peer),
            peer,
            visitor: Visitor::new(Service::Files),
            user: None,
            guest: None,
            here: None,
            awaited: None,
            open: None,
            binding: None,
            certificate: None,
            owned: None,
            has_resumed: false,
            ticket_used: false,
            leaves_tls: false,
            running: None,
            errand: None,
            line,
        };
        Box::pin(drive(link, session, owner))
    }

    fn refusal(&self, _: limits::Refusal) -> Bytes {
        reply::too_many_connections().encode(ReplyStyle::Ftp)
    }

    fn has_login(&self) -> bool {
        true
    }
}
