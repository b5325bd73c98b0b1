//! Looking after a server from outside: its certificates, what the DNS says of it, and a store that no server has open
//! (check, repair, rebuild, restore).
//!
//! Started by root, each becomes the user whose store it is first, so that no file is left that the server cannot open.

use std::path::{Path, PathBuf};
use std::time::Duration;

use packetboat_account::Directory;
use packetboat_store::{Copied, OpenError, Store};

use crate::accounts::{become_owner, directory_options, store_options};
use crate::admin::{AdminError, DomainRequest, ErrorKind, Item, Office, Request};
use crate::dns::{self, Findings, Resolver};
use crate::files::{RecountError, recount};
use crate::privilege::{self, PrivilegeError};
use crate::settings::{ListenAddress, Settings};

pub use crate::files::{Miscount, Recount};
pub use packetboat_store::{Check, Outcome, Report};

/// Checks the store, and repairs it if told to. `None` when a server has it open.
pub fn check(settings: &Settings, how: Check) -> Result<Option<Report>, AdminError> {
    become_owner(settings)?;
    unless_in_use(Store::check(&directory(settings), how))
}

/// Counts the files of all who have a quota and compares that with what was written down; `mend` writes down what is there.
/// `None` when a server has the store open. Only a process without threads may do this, as it may become another user.
pub fn files(settings: &Settings, mend: bool) -> Result<Option<Recount>, AdminError> {
    become_owner(settings)?;
    runtime()?.block_on(async {
        let store = match Store::open(store_options(settings)) {
            Err(OpenError::InUse { .. }) => return Ok(None),
            opened => opened?,
        };
        let directory = Directory::open(store, directory_options(settings)).await?;
        let found = recount(&directory, &settings.files_policy(), mend).await;
        directory.store().stop().await;
        found.map(Some).map_err(|error| match error {
            RecountError::Directory(error) => error.into(),
            RecountError::Files(..) => AdminError::new(ErrorKind::Io, error.to_string()),
        })
    })
}

/// Makes the store's database anew from its log. `None` when a server has it open.
pub fn rebuild(settings: &Settings) -> Result<Option<Report>, AdminError> {
    become_owner(settings)?;
    unless_in_use(Store::rebuild(&directory(settings)))
}

/// Makes a store, where there is none yet, from a copy made by a backup.
pub fn restore(settings: &Settings, from: &Path) -> Result<Copied, AdminError> {
    become_owner(settings)?;
    let to = directory(settings);
    if std::fs::read_dir(&to).is_ok_and(|mut entries| entries.next().is_some()) {
        let message = format!(
            "there is a store in {} already; stop the server and move that directory away, then restore",
            to.display()
        );
        return Err(AdminError::new(ErrorKind::Exists, message));
    }
    if !from.join("store.db").exists() {
        let message = format!("{} holds no copy made by `packetboat backup`", from.display());
        return Err(AdminError::new(ErrorKind::Data, message));
    }
    Store::restore(from, &directory(settings)).map_err(AdminError::from)
}

/// Whether the user of the settings can be become.
pub fn user(settings: &Settings) -> Result<(), AdminError> {
    match privilege::identity(settings.general.user.as_deref()) {
        // Whoever checks need not be whoever starts the server.
        Ok(_) | Err(PrivilegeError::NotRoot(_)) => Ok(()),
        Err(error) => Err(AdminError::new(ErrorKind::Config, error.to_string())),
    }
}

/// What the server, started by this user, could not do for want of privilege.
pub fn out_of_reach(settings: &Settings) -> Vec<String> {
    // Started by root, it keeps what it needs.
    let listens = settings.listen.ftp.iter().chain(&settings.listen.ftps);
    let ports = listens.filter_map(|address| match address {
        ListenAddress::Port(port) => Some(*port),
        ListenAddress::Tcp(address) => Some(address.port()),
        ListenAddress::Unix(_) => None,
    });
    let mut sources: Vec<u16> = ports.filter_map(|port| settings.ftp.active_source_of(port)).collect();
    sources.sort_unstable();
    sources.dedup();
    sources.retain(|port| !privilege::may_bind(*port));
    sources.into_iter().map(privilege::no_active_source).collect()
}

/// Where the store is.
pub fn directory(settings: &Settings) -> PathBuf {
    settings.general.data.join("store")
}

fn unless_in_use(outcome: Result<Report, OpenError>) -> Result<Option<Report>, AdminError> {
    match outcome {
        Ok(report) => Ok(Some(report)),
        Err(OpenError::InUse { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Loads who vouches for clients of FTP, and whose certificates are revoked, as the server would.
pub fn client_authorities(settings: &Settings) -> Result<(), AdminError> {
    crate::session::check_authorities(&settings.ftp)
        .map_err(|error| AdminError::new(ErrorKind::Config, error))
}

/// One certificate of the settings.
#[derive(Debug)]
pub struct CertificateState {
    /// The names it is good for.
    pub names: Vec<String>,
    /// When it ends.
    pub not_after: jiff::Timestamp,
}

/// Loads each certificate as the server would.
pub fn certificates(settings: &Settings) -> Result<Vec<CertificateState>, AdminError> {
    settings.certificates.iter().map(certificate).collect()
}

fn certificate(files: &crate::settings::Certificate) -> Result<CertificateState, AdminError> {
    use crate::tls::{CertificateFiles, Certificates, MinimumTls};
    let files = CertificateFiles { certificate: files.chain.clone(), key: files.key.clone() };
    let loaded = Certificates::load(vec![files], MinimumTls::Tls12)
        .map_err(|error| AdminError::new(ErrorKind::Config, format!("certificate: {error}")))?;
    let not_after = jiff::Timestamp::from_second(loaded.not_after()).unwrap_or(jiff::Timestamp::MAX);
    Ok(CertificateState { names: loaded.names(), not_after })
}

/// How long the DNS may be asked, all questions together.
const DNS_PATIENCE: Duration = Duration::from_secs(15);

/// Compares the DNS with what the server and its domains need. The domains are asked of the running server, or read from
/// the store if that is `readable`. Only a process without threads may do this, as it may become another user.
pub fn dns(settings: &Settings, readable: bool) -> Result<Findings, AdminError> {
    let Ok(hostname) = settings.general.hostname.parse::<crate::Domain>() else {
        // Settings by `--data` alone have none.
        return Ok(skipped("no hostname in the settings".to_owned()));
    };
    Ok(runtime()?.block_on(async {
        let (domains, unread) = match readable {
            true => match domains(settings).await {
                Ok(domains) => (domains, None),
                Err(error) => (Vec::new(), Some(format!("the domains could not be read ({error})"))),
            },
            false if directory(settings).exists() => {
                (Vec::new(), Some("the domains are in the store, which needs repair first".to_owned()))
            }
            false => (Vec::new(), None),
        };
        let mut findings = match Resolver::system() {
            Ok(resolver) => dns::check(&resolver, &hostname.to_ascii(), &domains, DNS_PATIENCE).await,
            Err(error) => skipped(format!("no answer from the resolver ({error})")),
        };
        findings.skipped = findings.skipped.or(unread);
        findings
    }))
}

fn runtime() -> Result<tokio::runtime::Runtime, AdminError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| AdminError::new(ErrorKind::Io, error.to_string()))
}

fn skipped(why: String) -> Findings {
    Findings { findings: Vec::new(), skipped: Some(why) }
}

/// The domains whose mail comes here, in A-labels.
async fn domains(settings: &Settings) -> Result<Vec<String>, AdminError> {
    let mut office = Office::open(settings).await?;
    let mut domains = Vec::new();
    let listed = office
        .ask(Request::Domain(DomainRequest::List), |item| {
            if let Item::Domain(domain) = item {
                domains.extend(domain.domain.parse::<crate::Domain>().map(|it| it.to_ascii()));
            }
        })
        .await;
    office.close().await;
    listed.map(|()| domains)
}
