//! FTP at the depot's counter.

mod actions;
mod pipe;
mod stream;
mod transfer;

use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use packetboat_account::Service;
use packetboat_files::{Grant, Mount, Rights, Space, Sync, Tree, VirtualPath};
use packetboat_ftp::reply;
use packetboat_ftp::server::{
    Answer, Config, Connection, Event, Passive, Refusal, Server, Transfer, TransferFailure, Transferred,
};
use packetboat_wire::{ReplyStyle, Secret};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::login::Visitor;
use super::{Counter, random};
use crate::drive::{Handler, Link, Stop, Summary, drive};
use crate::limits;
use crate::listen::{self, Peer};
use crate::metrics::Metrics;
use crate::tls::Certificates;
use actions::Here;
use pipe::Progress;
use transfer::{Job, Way};

/// Ports that are tried for a passive data connection, before it is said that none is free.
const PORT_TRIES: u32 = 64;

/// Restart markers that wait to be told; with more of them the transfer waits for the control connection.
const MARKERS_MAX: usize = 16;

/// Where files lie, and how data connections are made.
#[derive(Debug)]
pub struct Depot {
    /// Every account has a directory here.
    pub homes: PathBuf,
    /// The first and last port for passive data connections; `None`: any.
    pub passive_ports: Option<(u16, u16)>,
    /// What is announced instead of the address the client came to, for servers behind a NAT.
    pub announced: Option<IpAddr>,
    /// Data connections to the client's ports are possible.
    pub active: bool,
    /// Permissions that new files do not get.
    pub umask: u32,
    /// For data connections.
    pub certificates: Arc<Certificates>,
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
        if let crate::conn::Socket::Tcp(socket) = link.conn.socket() {
            // A Synch is sent as urgent data, and its mark is part of the stream (RFC 959 section 4.1.3).
            let _ = rustix::net::sockopt::set_socket_oobinline(socket.as_fd(), true);
        }
        let owner = Ftp {
            depot: Arc::clone(&self.depot),
            counter: self.counter.clone(),
            metrics: Arc::clone(&self.metrics),
            peer,
            visitor: Visitor::new(Service::Files),
            user: None,
            here: None,
            listener: None,
            running: None,
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

/// The owner of one session.
#[derive(Debug)]
struct Ftp {
    depot: Arc<Depot>,
    counter: Counter,
    metrics: Arc<Metrics>,
    peer: Peer,
    visitor: Visitor,
    user: Option<String>,
    here: Option<Here>,
    listener: Option<TcpListener>,
    running: Option<Running>,
}

/// A transfer that runs.
#[derive(Debug)]
struct Running {
    progress: Progress,
    about: String,
    outcome: oneshot::Receiver<Result<Transferred, TransferFailure>>,
    markers: mpsc::Receiver<(String, u64)>,
    /// Dropped, it stops the transfer.
    stop: Option<oneshot::Sender<()>>,
    news: Option<News>,
}

#[derive(Debug)]
enum News {
    Marker(String, u64),
    Ended(Result<Transferred, TransferFailure>),
}

impl Ftp {
    async fn password(&mut self, session: &mut Server, password: &Secret<String>) {
        let Some(user) = self.user.clone() else { return session.refuse(Refusal::LoginFailed) };
        let login = self.visitor.login(&self.counter, &self.metrics, &self.peer);
        match login.password(&user, None, password).await {
            Ok(identity) => match self.open_home(&identity.login.to_string()) {
                Ok(here) => {
                    self.here = Some(here);
                    self.visitor.enter(identity);
                    session.logged_in();
                }
                Err(error) => {
                    tracing::error!(connection = self.peer.id, user, %error, "a home could not be opened");
                    session.refuse(Refusal::LoginUnavailable);
                }
            },
            Err(denied) if denied.is_temporary() => session.refuse(Refusal::LoginUnavailable),
            Err(_) => session.refuse(Refusal::LoginFailed),
        }
    }

    /// The account's own directory, made when it comes for the first time. Its name has the form of an address, so it
    /// leads nowhere else.
    fn open_home(&self, login: &str) -> Result<Here, String> {
        let name = VirtualPath::root().join(login.as_bytes()).map_err(|error| error.to_string())?;
        let home = self.depot.homes.join(name.to_string().trim_start_matches('/'));
        std::fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
        let tree = Tree::open(&home).map_err(|error| format!("{}: {error}", home.display()))?;
        let (mounts, grants) = (
            vec![Mount { at: VirtualPath::root(), tree }],
            vec![Grant { path: VirtualPath::root(), rights: Rights::ALL }],
        );
        let space = Space::new(mounts, grants, Sync::Never, self.depot.umask);
        Ok(Here { space, directory: VirtualPath::root() })
    }

    async fn listen(&mut self, session: &mut Server, how: Passive) {
        let Some(local) = self.peer.local else { return session.refuse(Refusal::CannotListen) };
        let address = local.ip();
        if how == Passive::Pasv && address.to_canonical().is_ipv6() && self.depot.announced.is_none() {
            return session.refuse(Refusal::WrongFamily);
        }
        // The old one is closed before the new one is opened: it may have the only port.
        self.listener = None;
        match self.bind(address).await {
            Ok(listener) => {
                let port = listener.local_addr().map_or(0, |at| at.port());
                self.listener = Some(listener);
                let announced = self.depot.announced.unwrap_or(address);
                session.listening(SocketAddr::new(announced, port));
            }
            Err(error) => {
                tracing::warn!(connection = self.peer.id, %error, "no port for a data connection");
                session.refuse(Refusal::CannotListen);
            }
        }
    }

    /// A port that cannot be guessed (RFC 2577 section 8).
    async fn bind(&self, address: IpAddr) -> std::io::Result<TcpListener> {
        let Some((first, last)) = self.depot.passive_ports else {
            return TcpListener::bind((address, 0)).await;
        };
        let ports = u32::from(last.saturating_sub(first)) + 1;
        let mut result = Err(std::io::ErrorKind::AddrInUse.into());
        for _ in 0..PORT_TRIES {
            let port = u32::from(first) + u32::from_ne_bytes(random()) % ports;
            result = TcpListener::bind((address, u16::try_from(port).unwrap_or(first))).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Whether a data connection may go there: to the client alone, and to no port of a service (RFC 2577 section 3).
    fn may_connect(&self, at: SocketAddr) -> Result<(), Refusal> {
        let own = self.peer.ip().is_some_and(|ip| ip.to_canonical() == at.ip().to_canonical());
        match (self.depot.active, own && at.port() >= 1024) {
            (false, _) => Err(Refusal::SwitchedOff),
            (true, false) => Err(Refusal::AddressNotAllowed),
            (true, true) => Ok(()),
        }
    }

    fn begin(&mut self, session: &mut Server, transfer: Transfer) {
        let Some(here) = &self.here else { return session.refuse(Refusal::LocalError) };
        let way = match (transfer.connection, self.listener.take(), self.peer.remote) {
            (Connection::Passive, Some(listener), _) => Way::Passive(listener),
            (Connection::Active(at), ..) => Way::Active(at),
            (Connection::Default, _, Some(remote)) if self.depot.active => Way::Active(remote),
            _ => return session.refuse(Refusal::CannotListen),
        };
        let number = u64::from_ne_bytes(random());
        let prepare = || Job::prepare(here, &transfer, session.facts(), number);
        // What goes on begins with a copy of what is there, which may be long: no other session waits for it.
        let prepared = if transfer.goes_on() { tokio::task::block_in_place(prepare) } else { prepare() };
        let (job, about) = match prepared {
            Ok(prepared) => prepared,
            Err(why) => return session.refuse(why),
        };
        session.transfer_begins(job.is_inbound(), false, about.clone());
        let progress = Progress::default();
        let (tell, outcome) = oneshot::channel();
        let (mark, markers) = mpsc::channel(MARKERS_MAX);
        let (stop, stopped) = oneshot::channel();
        let running = Running {
            progress: Arc::clone(&progress),
            about,
            outcome,
            markers,
            stop: Some(stop),
            news: None,
        };
        self.running = Some(running);
        let certificates = transfer.protected.then(|| Arc::clone(&self.depot.certificates));
        let peer = self.peer.ip();
        tokio::spawn(async move {
            let carry = carry(way, peer, certificates, job, transfer, progress, mark, stopped);
            let _ = tell.send(carry.await);
        });
    }

    fn progress(&self, session: &mut Server) {
        let lines = self.running.iter().map(|running| {
            format!("{} {} octets so far.", running.about, running.progress.load(Ordering::Relaxed))
        });
        session.answer(Answer::Lines(lines.collect()));
    }
}

/// Everything of a transfer but the session. When it is told to stop, the data connection is cut, and the thread that
/// moves it ends by that.
#[allow(clippy::too_many_arguments)]
async fn carry(
    way: Way,
    peer: Option<IpAddr>,
    certificates: Option<Arc<Certificates>>,
    job: Job,
    transfer: Transfer,
    progress: Progress,
    markers: mpsc::Sender<(String, u64)>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<Transferred, TransferFailure> {
    let socket = tokio::select! {
        connected = way.connect(peer) => connected.map_err(|_| TransferFailure::CannotConnect)?,
        _ = &mut stopped => return Err(TransferFailure::Aborted),
    };
    let cut = socket2::SockRef::from(&socket).try_clone().map_err(|_| TransferFailure::CannotConnect)?;
    let mut moving = tokio::task::spawn_blocking(move || {
        let data = transfer::ready(socket, certificates)?;
        job.run(data, &transfer, &progress, &markers)
    });
    let outcome = tokio::select! {
        outcome = &mut moving => outcome,
        _ = &mut stopped => {
            let _ = cut.shutdown(std::net::Shutdown::Both);
            let _ = moving.await;
            return Err(TransferFailure::Aborted);
        }
    };
    outcome.unwrap_or(Err(TransferFailure::File(Refusal::LocalError)))
}

impl Handler<Server> for Ftp {
    async fn handle(&mut self, session: &mut Server, event: Event) -> Result<(), Stop> {
        match event {
            Event::Host(_) => session.accept(),
            Event::User(name) => {
                self.user = Some(name);
                session.accept();
            }
            Event::Password(password) => self.password(session, &password).await,
            // Nobody needs an account yet.
            Event::Account(_) => session.accept(),
            Event::Reinitialized => (self.here, self.user, self.listener) = (None, None, None),
            Event::Listen(how) => self.listen(session, how).await,
            Event::Connect(at) => match self.may_connect(at) {
                Ok(()) => session.accept(),
                Err(why) => session.refuse(why),
            },
            Event::CloseData => self.listener = None,
            Event::Request(request) => {
                let facts: Vec<&str> = session.facts().to_vec();
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
            }
            Event::Progress => self.progress(session),
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
        tokio::select! {
            () = transfer => {}
            () = self.visitor.revoked() => {}
        }
    }

    async fn tell(&mut self, session: &mut Server) -> Result<(), Stop> {
        match self.running.as_mut().and_then(|running| running.news.take()) {
            Some(News::Marker(marker, place)) => session.marker(&marker, place),
            Some(News::Ended(outcome)) => {
                let about = self.running.take().map(|running| running.about).unwrap_or_default();
                let (connection, login) = (self.peer.id, self.visitor.name());
                match &outcome {
                    Ok(done) => tracing::info!(connection, login, about, octets = done.octets, "transferred"),
                    Err(failure) => tracing::info!(connection, login, about, ?failure, "not transferred"),
                }
                session.transfer_ended(outcome);
            }
            None => {
                self.visitor.log_revoked(&self.peer);
                session.end(reply::access_revoked());
            }
        }
        Ok(())
    }

    fn wants_tickets(&self) -> bool {
        // Data connections resume the session of the control connection.
        true
    }
}
