//! Puts the rooms together: settings in, a post office that serves out.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use packetboat_account::{Authenticator, Directory, DirectoryError};
use packetboat_mail::queue::Queue;
use packetboat_mail::story::Sink;
use packetboat_mail::{Limits, PostOffice};
use packetboat_message::InvalidAddress;
use packetboat_smtp::server::Role;
use packetboat_store::{OpenError, Store};
use packetboat_wire::sasl::Mechanism;
use tokio::time::sleep;

use crate::accounts;
use crate::admin::{self, AdminSocket};
use crate::files::{Events, LogOptions, Shares, TransferLog};
use crate::local::pickup::Pickup;
use crate::log;
use crate::peers::Peers;
use crate::relay::{Relay, TrustedNetworks};
use crate::secure::AuthoritiesError;
use crate::server::{Context, Prepared, Server, Signals, StartError, prepare, runtime};
use crate::session::{
    Announcing, Clients, Counter, Depot, Doors, FtpService, ImapService, Links, OnePort, Owners, Pop3Service,
    SmtpService, Waiting,
};
use crate::settings::{self, Settings};
use crate::shutdown::Phase;
use crate::trace;

/// How long a store that is in use is waited for, and how long until it is looked at again.
const STORE_PATIENCE: Duration = Duration::from_secs(3);
const STORE_AGAIN: Duration = Duration::from_millis(50);

/// The rooms behind the counter. Clones share everything.
#[derive(Debug, Clone)]
pub struct App {
    /// Rows and bodies.
    pub store: Store,
    /// Who is here.
    pub directory: Directory,
    /// Who checks log-ins.
    pub authenticator: Authenticator,
    /// Where mail goes and comes from.
    pub office: PostOffice,
    /// What is on its way to other servers.
    pub queue: Queue,
    /// What happened to messages.
    pub trace: trace::Reader,
    /// What users keep in files.
    pub shares: Arc<Shares>,
    /// Who is told when files change; nobody, where no server runs.
    pub events: Option<Arc<Events>>,
}

/// Why the program does not run, or stopped running.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Ports, certificates, privilege.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The directory in it.
    #[error("accounts: {0}")]
    Directory(#[from] DirectoryError),
    /// The hostname of the settings.
    #[error("hostname: {0}")]
    Hostname(InvalidAddress),
    /// The log.
    #[error("log: {0}")]
    Log(#[from] tracing_subscriber::util::TryInitError),
    /// Who is trusted to vouch for other servers.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// Who is told when files change.
    #[error("events of files: {0}")]
    Events(String),
    /// What the system says about threads, signals or files.
    #[error("system: {0}")]
    System(#[from] std::io::Error),
    /// The store failed while it was used: nothing more could be promised.
    #[error("the store failed: {0}")]
    StoreFailed(String),
}

/// Opens the store. A command that found no server has it for a moment; it is waited for.
async fn open_store(settings: &Settings) -> Result<Store, OpenError> {
    let deadline = Instant::now() + STORE_PATIENCE;
    loop {
        match Store::open(accounts::store_options(settings)) {
            Err(OpenError::InUse { .. }) if Instant::now() < deadline => sleep(STORE_AGAIN).await,
            opened => return opened,
        }
    }
}

impl App {
    /// Opens the store and what stands on it. The store belongs to this process until [`App::close`].
    pub async fn open(settings: &Settings) -> Result<App, AppError> {
        let store = open_store(settings).await?;
        let directory = Directory::open(store.clone(), accounts::directory_options(settings)).await?;
        let options = accounts::authenticator_options(settings);
        let authenticator = Authenticator::new(directory.clone(), options)?;
        let hostname = settings.general.hostname.parse().map_err(AppError::Hostname)?;
        let limits = Limits {
            message_octets: settings.limits.message_size.0,
            maildrop_delay: settings.pop3.login_delay,
            ..Limits::default()
        };
        let office = PostOffice::new(store.clone(), directory.clone(), hostname, limits);
        office.set_outgoing(settings.outgoing());
        let queue = accounts::queue(&office);
        let recorder = trace::Options::of(settings).map(trace::Recorder::start).transpose()?;
        if let Some(recorder) = &recorder {
            office.tell_to(Arc::clone(recorder) as Arc<dyn Sink>);
        }
        let trace = trace::Reader { dir: trace::directory(&settings.general.data), recorder };
        let shares = Shares::new(directory.clone());
        Ok(App { store, directory, authenticator, office, queue, trace, shares, events: None })
    }

    /// Adds a service for each protocol. What it gives carries mail to other servers, when it is run.
    ///
    /// # Errors
    /// When the settings name a file for mail to other servers that is of no use.
    pub fn join(&self, server: &mut Server) -> Result<Arc<Relay>, AppError> {
        let context = server.context().clone();
        let (settings, metrics) = (&context.settings, &context.metrics);
        let trusted = Arc::new(TrustedNetworks::default());
        trusted.set(&settings.relay.trusted_networks);
        if let Some(recorder) = &self.trace.recorder {
            metrics.register_collector(Box::new(trace::Lost(Arc::clone(recorder))));
        }
        let relay = Relay::new(settings, self.store.clone(), self.queue.clone(), metrics)?;
        let peers = Peers::new(settings);
        let (office, networks, carrier) = (self.office.clone(), Arc::clone(&trusted), Arc::clone(&relay));
        let fetching = peers.clone();
        server.on_reload(move |settings| {
            office.set_outgoing(settings.outgoing());
            networks.set(&settings.relay.trusted_networks);
            fetching.set(settings);
            carrier.reload(settings);
        });
        let counter = Counter {
            office: self.office.clone(),
            authenticator: self.authenticator.clone(),
            trusted,
            peers,
            relay: Arc::clone(&relay),
        };
        let roles = [
            ("smtp", Role::Exchange),
            ("submission", Role::Submission),
            ("submissions", Role::Submission),
            ("odmr", Role::Submission),
            ("lmtp", Role::Lmtp),
        ];
        for (name, role) in roles {
            let mut config = smtp_config(settings, role);
            config.etrn = role != Role::Lmtp && counter.peers.any_to_be_sent();
            config.atrn = role == Role::Submission && counter.peers.any_by_login();
            config.turn = role == Role::Exchange && counter.peers.any_by_place();
            let service = SmtpService::new(config, counter.clone(), Arc::clone(metrics));
            server.add(name, Arc::new(service));
        }
        for name in ["pop3", "pop3s"] {
            let service = Pop3Service::new(pop3_config(settings), counter.clone(), Arc::clone(metrics));
            server.add(name, Arc::new(service));
        }
        for name in ["imap", "imaps"] {
            let service = ImapService::new(imap_config(settings), counter.clone(), Arc::clone(metrics));
            server.add(name, Arc::new(service));
        }
        context.transfers.set_log(TransferLog::start(LogOptions::of(settings))?);
        let transfers = Arc::clone(&context.transfers);
        server.on_reload(move |settings| {
            if let Some(log) = transfers.log() {
                log.reopen(LogOptions::of(settings));
            }
        });
        let depot = Arc::new(depot(&context, Arc::clone(&self.shares)));
        crate::files::sweep_daily(&depot, self.directory.clone(), Arc::clone(&self.shares));
        let refusals = self.shares.refusals();
        metrics.register(|registry| {
            let help = "Times something was not stored because a quota of files is used up";
            registry.register("file_quota_refusals", help, refusals);
        });
        if let Some(events) = &self.events {
            context.transfers.set_events(Arc::clone(events));
            let events = Arc::clone(events);
            server.on_reload(move |settings| events.reload(settings));
        }
        let renewed = Arc::clone(&depot);
        server.on_reload(move |settings| {
            renewed.doors.set_policy(settings.files_policy());
            renewed.links.clients.reload(&settings.ftp);
        });
        for name in ["ftp", "ftps"] {
            let (config, depot) = (ftp_config(settings), Arc::clone(&depot));
            let service = FtpService::new(config, depot, counter.clone(), Arc::clone(metrics));
            server.add(name, Arc::new(service));
        }
        Ok(relay)
    }

    /// From now on whoever is to be told of changes of files is. Before anything changes: what was under way when the process
    /// ended is settled by what lies on disk.
    ///
    /// # Errors
    /// When the store fails, or a file that the settings name is of no use.
    pub async fn watch_files(&mut self, settings: &Settings) -> Result<(), AppError> {
        let events = Events::start(settings, self.store.clone(), self.office.clone()).await;
        self.events = Some(Arc::new(events.map_err(AppError::Events)?));
        Ok(())
    }

    /// Commits what waits and gives the store back.
    pub async fn close(self) {
        self.shares.stop().await;
        self.store.stop().await;
        if let Some(recorder) = self.trace.recorder {
            let _ = tokio::task::spawn_blocking(move || recorder.flush()).await;
        }
    }
}

/// Serves by these settings until told to stop. `source` is the file they came from. `ready` is called when everything
/// is in place, right before the first connection is taken.
pub fn serve<F>(settings: Settings, source: Option<PathBuf>, ready: F) -> Result<(), AppError>
where
    F: AsyncFnOnce(&App, &[(&'static str, u16)]) -> Result<(), AppError>,
{
    // Ports are bound and privilege is given up while there is still one thread.
    let prepared = prepare(settings, source)?;
    let log = log::start(&prepared.settings().log)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(serve_prepared(prepared, log, ready));
    // Password hashes under way are of no use to anybody any more.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve_prepared<F>(prepared: Prepared, log: log::LogHandle, ready: F) -> Result<(), AppError>
where
    F: AsyncFnOnce(&App, &[(&'static str, u16)]) -> Result<(), AppError>,
{
    let mut app = App::open(prepared.settings()).await?;
    app.watch_files(prepared.settings()).await?;
    let ports = prepared.ports();
    // Before anybody is told that the server is there: who is told may end it at once.
    let signals = Signals::heard()?;
    let mut server = Server::new(prepared, Some(log));
    let relay = app.join(&mut server)?;
    let shutdown = Arc::clone(&server.context().shutdown);
    let store = app.store.clone();
    let failure = tokio::spawn(async move {
        let reason = store.failed().await;
        tracing::error!(reason, "the store failed; stopping, since nothing more can be promised");
        shutdown.enter(Phase::Stopping);
        reason
    });
    let office = app.office.clone();
    let indexing = tokio::spawn(async move { office.index().await });
    let admin = listen_for_commands(&app, server.context());
    let pickup = take_from_drop_folder(&app, server.context());
    ready(&app, &ports).await?;
    let context = server.context().clone();
    let carrying = tokio::spawn(relay.run(context.shutdown.signal(), context.settings.general.stop_grace));
    server.run_until(signals).await?;
    // What is on its way to other servers is finished, or goes again after the next start.
    let _ = carrying.await;
    // What was begun is finished.
    admin.await;
    pickup.await;
    indexing.abort();
    let failed = failure.is_finished();
    if !failed {
        failure.abort();
        app.close().await;
        return Ok(());
    }
    Err(AppError::StoreFailed(failure.await.unwrap_or_default()))
}

/// Takes what users of this machine leave. What it gives waits until the last message is taken.
fn take_from_drop_folder(app: &App, context: &Context) -> impl Future<Output = ()> + use<> {
    let domain = app.directory.default_domain().map(|domain| domain.to_string());
    let taking = context.settings.listen.drop.then(|| {
        match Pickup::open(&context.settings, app.office.clone(), domain) {
            Ok(pickup) => Some(tokio::spawn(pickup.run(context.shutdown.signal()))),
            Err(error) => {
                tracing::error!(%error, "users of this machine cannot leave mail");
                None
            }
        }
    });
    async {
        if let Some(Some(taking)) = taking {
            let _ = taking.await;
        }
    }
}

/// Serves the admin socket. What it gives waits until the last command is served.
fn listen_for_commands(app: &App, context: &Context) -> impl Future<Output = ()> + use<> {
    let path = context.settings.admin_socket();
    let serving = match AdminSocket::bind(&path) {
        Ok(socket) => {
            let running = Some(Arc::new(context.clone()) as Arc<dyn admin::Running>);
            let commands = admin::Context {
                directory: app.directory.clone(),
                office: app.office.clone(),
                queue: app.queue.clone(),
                trace: app.trace.clone(),
                running,
            };
            Some(tokio::spawn(socket.serve(commands, context.shutdown.signal())))
        }
        // Mail goes on without it.
        Err(error) => {
            tracing::error!(%error, "commands cannot reach this server");
            None
        }
    };
    async {
        if let Some(serving) = serving {
            let _ = serving.await;
        }
    }
}

fn smtp_config(settings: &Settings, role: Role) -> packetboat_smtp::server::Config {
    use packetboat_smtp::server::{Audience, AuthConfig, Config, Limits, Timeouts};
    let (smtp, limits) = (&settings.smtp, &settings.limits);
    let auth = match role {
        Role::Submission => AuthConfig {
            mechanisms: {
                let old = settings.smtp.cram_md5.then_some(Mechanism::CramMd5);
                settings.auth.mechanisms.iter().copied().chain(old).collect()
            },
            needs_tls: !settings.auth.plaintext_without_tls,
            required: true,
        },
        Role::Exchange | Role::Lmtp => AuthConfig::default(),
    };
    let mut config = Config::new(role, &settings.general.hostname);
    config.banner = smtp.banner.clone();
    config.strictness = match smtp.strictness {
        settings::Strictness::Lenient => packetboat_smtp::command::Strictness::Lenient,
        settings::Strictness::Strict => packetboat_smtp::command::Strictness::Strict,
    };
    config.starttls = true;
    config.auth = auth;
    config.dsn = true;
    config.deliver_by = Some(0);
    config.require_tls = true;
    config.future_release = Some(smtp.hold).filter(|longest| !longest.is_zero());
    config.verify = audience(smtp.verify);
    config.expand = audience(smtp.expand);
    // A neighbouring server hands over mail.
    config.terminals = if role == Role::Lmtp { Audience::Nobody } else { audience(smtp.terminals) };
    config.limits = Limits {
        message_size: limits.message_size.0,
        recipients: limits.recipients,
        refusals: smtp.refusals,
        messages: smtp.messages,
        errors: smtp.errors,
        ..Limits::default()
    };
    config.timeouts = Timeouts {
        greeting_delay: smtp.greeting_delay,
        command: smtp.command_timeout,
        body: smtp.data_timeout,
    };
    config
}

fn audience(audience: settings::Audience) -> packetboat_smtp::server::Audience {
    use packetboat_smtp::server::Audience;
    match audience {
        settings::Audience::Nobody => Audience::Nobody,
        settings::Audience::Users => Audience::Users,
        settings::Audience::Everybody => Audience::Everybody,
    }
}

fn pop3_config(settings: &Settings) -> packetboat_pop3::server::Config {
    use packetboat_pop3::server::{Config, Expire, Timeouts};
    let pop3 = &settings.pop3;
    let mut config = Config::new(&settings.general.hostname);
    config.implementation = Some("packetboat".to_owned());
    config.strictness = match pop3.strictness {
        settings::Strictness::Lenient => packetboat_pop3::Strictness::Lenient,
        settings::Strictness::Strict => packetboat_pop3::Strictness::Strict,
    };
    config.stls = true;
    config.plaintext_logins = settings.auth.plaintext_without_tls;
    config.mechanisms = settings.auth.mechanisms.clone();
    config.apop = pop3.apop;
    config.login_delay = (!pop3.login_delay.is_zero()).then_some(pop3.login_delay);
    config.expire = Some(match pop3.expire {
        settings::Expire::Never => Expire::Never,
        settings::Expire::Days(days) => Expire::Days(days),
    });
    config.timeouts = Timeouts { transaction: pop3.timeout, ..config.timeouts };
    config.max_failed_logins = settings.auth.failures;
    config
}

fn depot(context: &Context, shares: Arc<Shares>) -> Depot {
    let settings = &context.settings;
    Depot {
        doors: Doors::new(settings.files_policy(), shares),
        transfers: Arc::clone(&context.transfers),
        links: Arc::new(links(context)),
    }
}

fn links(context: &Context) -> Links {
    let (ftp, port) = (&context.settings.ftp, |port: u32| u16::try_from(port).unwrap_or(0));
    let (first, last) = (port(ftp.passive_first), port(ftp.passive_last));
    let certificates = &context.certificates;
    let owners = Arc::new(Owners::default());
    let one_port = OnePort::new(port(ftp.passive_port), Arc::clone(certificates), Arc::clone(&owners));
    Links {
        certificates: Arc::clone(certificates),
        binding: ftp.data_tls_binding,
        unclosed: ftp.data_tls_unclosed,
        passive_ports: (first > 0).then(|| (first, last.max(first))),
        one_port: (ftp.passive_port > 0).then_some(one_port),
        owners,
        per_address: ftp.passive_per_address,
        announcing: Announcing::new(
            ftp.announce.clone(),
            ftp.announce_to.clone(),
            ftp.announce_discover.clone(),
        ),
        active: ftp.active,
        active_source: ftp.active_source,
        clients: Clients::new(ftp),
        waiting: Arc::new(Waiting::default()),
        told_source: AtomicBool::new(false),
    }
}

fn ftp_config(settings: &Settings) -> packetboat_ftp::server::Config {
    use packetboat_ftp::server::{Config, Timeouts};
    let ftp = &settings.ftp;
    Config {
        greeting: format!("{} FTP server ready.", settings.general.hostname),
        require_tls: ftp.require_tls || !settings.auth.plaintext_without_tls,
        require_protection: ftp.require_tls,
        allow_ccc: ftp.allow_ccc,
        allow_clear_data: ftp.clear_data && !ftp.require_tls,
        login_failures: settings.auth.failures,
        timeouts: Timeouts {
            login: ftp.login_timeout,
            idle: ftp.timeout,
            idle_max: ftp.timeout_max.max(ftp.timeout),
        },
        ..Config::default()
    }
}

fn imap_config(settings: &Settings) -> packetboat_imap::server::Config {
    use packetboat_imap::server::{Config, Timeouts};
    let imap = &settings.imap;
    let mut config = Config::new(&settings.general.hostname);
    config.implementation = Some(("packetboat".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
    config.starttls = true;
    config.plaintext_logins = settings.auth.plaintext_without_tls;
    config.mechanisms = settings.auth.mechanisms.clone();
    config.disabled.clone_from(&imap.disabled);
    config.disabled_for =
        imap.disabled_for.iter().map(|family| (family.name.clone(), family.without.clone())).collect();
    config.append_limit = settings.limits.message_size.0;
    config.timeouts = Timeouts {
        inactivity: imap.timeout,
        idle: imap.idle_timeout,
        idle_keepalive: imap.idle_keepalive,
        ..config.timeouts
    };
    config.max_failed_logins = settings.auth.failures;
    config
}
