//! The life of the server: prepare, serve, reload, stop.
//!
//! ```ignore
//! let settings = Settings::load(&file)?;
//! let prepared = prepare(settings, Some(file))?;       // ports bound, privilege given up; still one thread
//! let log = log::start(&prepared.settings().log)?;
//! runtime()?.block_on(async {
//!     let mut server = Server::new(prepared, Some(log));
//!     let smtp = Arc::new(session::smtp::Smtp::new(server.context(), office));
//!     server.add("smtp", smtp);
//!     server.run().await;                              // until SIGTERM, SIGINT or `context().shutdown`
//!     store.stop().await;
//! });
//! ```

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval_at, timeout};

use crate::drive::Pace;
use crate::files::Transfers;
use crate::limits::Admissions;
use crate::listen::{self, BindError, Bound, Door, Service};
use crate::log::LogHandle;
use crate::metrics::Metrics;
use crate::presence::Presence;
use crate::privilege::{self, Keep, PrivilegeError};
use crate::settings::{Limits, Settings, TlsVersion};
use crate::shutdown::{Phase, Shutdown};
use crate::status::Status;
use crate::systemd::{self, Notice};
use crate::tls::{CertificateError, CertificateFiles, Certificates, MinimumTls, generate};

/// How often certificate files are looked at.
const CERTIFICATE_POLL: Duration = Duration::from_secs(5);

/// Connections that are cut have this long to let go of what they hold.
const CUT_TIME: Duration = Duration::from_secs(1);

/// Files that are open besides connections: store, log, listeners.
const FILES_BESIDES_CONNECTIONS: u64 = 200;

/// Connections to the status page.
const STATUS_CONNECTIONS: u32 = 16;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Ports that cannot be had.
    #[error("{}", lines(.0))]
    Bind(Vec<BindError>),
    /// The sockets systemd passed.
    #[error("sockets passed by systemd: {0}")]
    Passed(io::Error),
    /// Privilege.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// A certificate.
    #[error("certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// The data directory.
    #[error("data: {}: {source}", .path.display())]
    Data {
        /// The directory or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

fn lines(errors: &[BindError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Ready to serve, but no thread is started yet.
#[derive(Debug)]
pub struct Prepared {
    settings: Settings,
    source: Option<PathBuf>,
    bound: Vec<Bound>,
    certificates: Arc<Certificates>,
    open_files: u64,
}

/// Does all that needs privilege, and gives privilege up. `source` is the file the settings came from, to be read
/// again at SIGHUP. Must be called before any thread is started.
pub fn prepare(settings: Settings, source: Option<PathBuf>) -> Result<Prepared, StartError> {
    prepare_with(settings, source, privilege::drop_to)
}

/// As [`prepare`], but the process stays what it is: for a server inside another program, such as a test.
pub fn prepare_embedded(settings: Settings) -> Result<Prepared, StartError> {
    prepare_with(settings, None, |_, _| Ok(()))
}

fn prepare_with(
    settings: Settings,
    source: Option<PathBuf>,
    drop_to: impl FnOnce(Option<&privilege::Identity>, Keep) -> Result<(), PrivilegeError>,
) -> Result<Prepared, StartError> {
    let open_files = privilege::raise_file_limit();
    let identity = privilege::identity(settings.general.user.as_deref())?;
    let data = &settings.general.data;
    privilege::make_data_directory(data, identity.as_ref())
        .map_err(|source| StartError::Data { path: data.clone(), source })?;
    let passed = systemd::passed_sockets().map_err(StartError::Passed)?;
    let bound = listen::bind(&settings.listen, passed).map_err(StartError::Bind)?;
    let configured = match settings.certificates.is_empty() {
        true => None,
        // Before privilege is given up: keys are often readable for root only.
        false => Some(Certificates::load(certificate_files(&settings), minimum(&settings))?),
    };
    let needs_low_port = active_sources(&settings, &bound).any(|port| port < privilege::FIRST_PORT_FOR_ALL);
    drop_to(identity.as_ref(), if needs_low_port { Keep::LowPorts } else { Keep::Nothing })?;
    let certificates = match configured {
        Some(certificates) => certificates,
        None => self_signed(&settings)?,
    };
    Ok(Prepared { settings, source, bound, certificates: Arc::new(certificates), open_files })
}

/// The ports that active data connections of FTP come from.
fn active_sources<'a>(settings: &'a Settings, bound: &'a [Bound]) -> impl Iterator<Item = u16> + 'a {
    let ftp = bound.iter().filter(|bound| matches!(bound.service, "ftp" | "ftps"));
    ftp.filter_map(Bound::port).filter_map(|port| settings.ftp.active_source_of(port))
}

impl Prepared {
    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The ports that are bound, with their services; with port 0 in the settings, the system chose.
    pub fn ports(&self) -> Vec<(&'static str, u16)> {
        self.bound.iter().filter_map(|bound| Some((bound.service, bound.port()?))).collect()
    }
}

fn certificate_files(settings: &Settings) -> Vec<CertificateFiles> {
    let files = |certificate: &crate::settings::Certificate| CertificateFiles {
        certificate: certificate.chain.clone(),
        key: certificate.key.clone(),
    };
    settings.certificates.iter().map(files).collect()
}

fn minimum(settings: &Settings) -> MinimumTls {
    match settings.tls.minimum {
        TlsVersion::Tls12 => MinimumTls::Tls12,
        TlsVersion::Tls13 => MinimumTls::Tls13,
    }
}

/// A certificate made here, kept in the data directory: better than passwords in the clear, though no client can
/// know it.
fn self_signed(settings: &Settings) -> Result<Certificates, StartError> {
    let directory = settings.general.data.join("tls");
    let files = CertificateFiles {
        certificate: directory.join("self-signed.pem"),
        key: directory.join("self-signed.key"),
    };
    let hostname = settings.general.hostname.to_ascii_lowercase();
    if let Ok(kept) = Certificates::load(vec![files.clone()], minimum(settings))
        && kept.names().contains(&hostname)
        && kept.not_after() > jiff::Timestamp::now().as_second()
    {
        return Ok(kept);
    }
    let made = generate(&[hostname, "localhost".to_owned()]).map_err(|error| StartError::Data {
        path: files.certificate.clone(),
        source: io::Error::other(error),
    })?;
    let data = |source| StartError::Data { path: directory.clone(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(data)?;
    write_private(&files.key, &made.key).map_err(data)?;
    write_private(&files.certificate, &made.chain).map_err(data)?;
    Ok(Certificates::load(vec![files], minimum(settings))?)
}

/// Writes a file that only its owner reads.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    // A fresh file: an old one might have kept laxer rights.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The event loop: a thread for each processor.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().thread_name("packetboat").enable_all().build()
}

/// What every part of the server may need.
#[derive(Debug, Clone)]
pub struct Context {
    /// The settings at start.
    pub settings: Arc<Settings>,
    /// TLS.
    pub certificates: Arc<Certificates>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The way to end the server: [`Phase::Stopping`].
    pub shutdown: Arc<Shutdown>,
    /// Who is connected.
    pub presence: Arc<Presence>,
    /// Who uses files, and what is on its way.
    pub transfers: Arc<Transfers>,
    /// The way to have settings and certificates read again.
    reloads: mpsc::Sender<oneshot::Sender<Reloaded>>,
}

/// What came of reading settings and certificates again: what is wrong with them.
type Reloaded = Result<(), String>;

impl Context {
    /// Reads settings and certificates again. What is wrong changes nothing, and is told.
    pub async fn reload(&self) -> Result<(), String> {
        let (sender, reloaded) = oneshot::channel();
        let not_now = |_| "the server is stopping".to_owned();
        self.reloads.send(sender).await.map_err(|_| not_now(()))?;
        reloaded.await.unwrap_or_else(|_| Err(not_now(())))
    }
}

/// Takes new settings.
type Reload = Box<dyn Fn(&Settings) + Send + Sync>;

/// A server whose services are being put together.
pub struct Server {
    context: Context,
    source: Option<PathBuf>,
    bound: Vec<Bound>,
    services: HashMap<&'static str, Arc<dyn Service>>,
    reloaders: Vec<Reload>,
    admissions: Arc<Admissions>,
    log: Option<LogHandle>,
    reloads: mpsc::Receiver<oneshot::Sender<Reloaded>>,
}

/// What the system tells a server.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on they are heard, and end nothing by themselves.
    pub fn heard() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("bound", &self.bound).finish_non_exhaustive()
    }
}

impl Server {
    /// A server with a status page and nothing else.
    pub fn new(prepared: Prepared, log: Option<LogHandle>) -> Server {
        let Prepared { settings, source, bound, certificates, open_files } = prepared;
        warn(&settings, open_files);
        let mut out_of_reach: Vec<u16> =
            active_sources(&settings, &bound).filter(|port| !privilege::may_bind(*port)).collect();
        out_of_reach.sort_unstable();
        out_of_reach.dedup();
        for port in out_of_reach {
            tracing::warn!("{}", privilege::no_active_source(port));
        }
        let metrics = Metrics::new();
        metrics.show_certificates(Arc::clone(&certificates));
        let shutdown = Arc::new(Shutdown::new());
        let status = Status::new(Arc::clone(&metrics), shutdown.signal());
        let (ask, reloads) = mpsc::channel(1);
        let mut server = Server {
            admissions: Admissions::new(&settings.limits),
            context: Context {
                settings: Arc::new(settings),
                certificates,
                metrics,
                shutdown,
                presence: Arc::default(),
                transfers: Arc::default(),
                reloads: ask,
            },
            source,
            bound,
            services: HashMap::new(),
            reloaders: Vec::new(),
            log,
            reloads,
        };
        server.add("metrics", Arc::new(status));
        server
    }

    /// What services are made from.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Serves what listens under `name` in `[listen]`.
    pub fn add(&mut self, name: &'static str, service: Arc<dyn Service>) {
        self.services.insert(name, service);
    }

    /// Calls `reload` with new, checked settings.
    pub fn on_reload(&mut self, reload: impl Fn(&Settings) + Send + Sync + 'static) {
        self.reloaders.push(Box::new(reload));
    }

    /// Serves until a signal or [`Context::shutdown`] says stop; returns when the last connection is gone or cut.
    pub async fn run(self) -> io::Result<()> {
        self.run_until(Signals::heard()?).await
    }

    /// The same with signals that are heard already, such as one that comes while the server is still starting.
    pub async fn run_until(mut self, signals: Signals) -> io::Result<()> {
        let Signals { mut terminate, mut interrupt, mut hangup } = signals;
        self.open_doors();
        systemd::notify(Notice::Ready);

        let mut certificates = interval_at(Instant::now() + CERTIFICATE_POLL, CERTIFICATE_POLL);
        let mut watchdog = systemd::watchdog_interval().map(tokio::time::interval);
        let stopping = self.context.shutdown.signal();
        let mut stopping = std::pin::pin!(stopping.reached(Phase::Stopping));
        loop {
            tokio::select! {
                () = &mut stopping => break,
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {
                    // Said in the log.
                    let _ = self.reload().await;
                }
                Some(asked) = self.reloads.recv() => {
                    // Whoever asked may be gone.
                    let _ = asked.send(self.reload().await);
                }
                _ = certificates.tick() => self.look_at_certificates().await,
                () = tick(&mut watchdog) => systemd::notify(Notice::Alive),
            }
        }
        self.stop(&mut terminate, &mut interrupt).await;
        Ok(())
    }

    fn open_doors(&mut self) {
        let limits = &self.context.settings.limits;
        let pace = Arc::new(Pace {
            handshake: limits.handshake_timeout,
            write: limits.write_timeout,
            line: limits.line_timeout,
            ..Pace::default()
        });
        let status_admissions = Admissions::new(&Limits {
            connections: STATUS_CONNECTIONS,
            connections_per_address: STATUS_CONNECTIONS,
            ..Limits::default()
        });
        for bound in std::mem::take(&mut self.bound) {
            let name = bound.service;
            let Some(service) = self.services.get(name) else {
                tracing::error!(service = name, address = bound.address, "nothing serves this port");
                continue;
            };
            let is_status = name == "metrics";
            let door = Door {
                service: Arc::clone(service),
                // LMTP stays among programs of one site, and the status page among those of one machine.
                certificates: (!is_status).then(|| Arc::clone(&self.context.certificates)),
                implicit_tls: matches!(name, "submissions" | "pop3s" | "imaps" | "ftps"),
                admissions: Arc::clone(if is_status { &status_admissions } else { &self.admissions }),
                presence: Arc::clone(&self.context.presence),
                pace: Arc::clone(&pace),
                metrics: self.context.metrics.service(name),
                shutdown: self.context.shutdown.signal(),
            };
            tokio::spawn(async move {
                if let Err(error) = listen::serve(bound, door).await {
                    tracing::error!(service = name, %error, "cannot listen");
                }
            });
        }
    }

    async fn stop(self, terminate: &mut Signal, interrupt: &mut Signal) {
        systemd::notify(Notice::Stopping);
        let open = self.admissions.open();
        tracing::info!(connections = open, "stopping");
        self.context.shutdown.enter(Phase::Stopping);
        tokio::select! {
            _ = timeout(self.context.settings.general.stop_grace, self.admissions.until_empty()) => {}
            // Asked twice: whoever asks is in a hurry.
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        self.context.shutdown.enter(Phase::Ending);
        let _ = timeout(CUT_TIME, self.admissions.until_empty()).await;
        tracing::info!("stopped");
    }

    /// Reads settings and certificates again. What is wrong changes nothing.
    async fn reload(&self) -> Reloaded {
        systemd::notify(Notice::Reloading);
        let settings = self.reload_settings().await;
        let certificates = Arc::clone(&self.context.certificates);
        let reloaded = tokio::task::spawn_blocking(move || certificates.reload()).await;
        let certificates = reloaded.map_err(|error| error.to_string());
        let certificates = certificates.and_then(|reloaded| {
            let told = reloaded.as_ref().map(|_| ()).map_err(|error| format!("certificate: {error}"));
            report_reload(Some(reloaded));
            told
        });
        systemd::notify(Notice::Ready);
        settings.and(certificates)
    }

    async fn reload_settings(&self) -> Reloaded {
        let Some(file) = self.source.clone() else { return Ok(()) };
        let loaded = tokio::task::spawn_blocking(move || Settings::load(&file)).await;
        let loaded = loaded.map_err(|error| error.to_string());
        match loaded.and_then(|loaded| loaded.map_err(|error| error.to_string())) {
            Ok(settings) => {
                self.apply(&settings);
                Ok(())
            }
            Err(error) => {
                tracing::error!(error, "the settings are wrong; the old ones stay");
                Err(error)
            }
        }
    }

    fn apply(&self, settings: &Settings) {
        self.admissions.set_limits(&settings.limits);
        if let Some(log) = &self.log {
            log.set_level(&settings.log);
        }
        if !settings.certificates.is_empty() {
            self.context.certificates.use_files(certificate_files(settings));
        }
        for reload in &self.reloaders {
            reload(settings);
        }
        tracing::info!("settings read again; addresses, data and user change only at a restart");
    }

    async fn look_at_certificates(&self) {
        let certificates = Arc::clone(&self.context.certificates);
        let looked = tokio::task::spawn_blocking(move || certificates.reload_if_changed()).await;
        report_reload(looked.ok().flatten());
    }
}

fn report_reload(result: Option<Result<(), CertificateError>>) {
    match result {
        Some(Ok(())) => tracing::info!("certificates read again"),
        Some(Err(error)) => tracing::error!(%error, "the new certificate cannot be used; the old one stays"),
        None => {}
    }
}

async fn tick(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// Says what is allowed but unwise.
fn warn(settings: &Settings, open_files: u64) {
    if settings.certificates.is_empty() {
        tracing::warn!("no [[certificate]] is configured: clients will not trust the one made here");
    }
    if settings.auth.plaintext_without_tls {
        tracing::warn!("auth.plaintext_without_tls is on: passwords may travel in the clear");
    }
    if privilege::is_root() {
        tracing::warn!("running as root; set `user` to a user without privileges");
    }
    for words in settings.ftp.doubts() {
        tracing::warn!("{words}");
    }
    let needed = u64::from(settings.limits.connections) + FILES_BESIDES_CONNECTIONS;
    if open_files < needed {
        tracing::warn!(
            open_files,
            needed,
            "the limit on open files is below limits.connections; raise it (LimitNOFILE=)"
        );
    }
}
