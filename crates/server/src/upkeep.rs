//! Looking after a store that no server has open: check, repair, rebuild, restore.
//!
//! Started by root, each becomes the user whose store it is first, so that no file is left that the server cannot open.

use std::path::{Path, PathBuf};

use packetboat_store::{Copied, OpenError, Store};

use crate::accounts::become_owner;
use crate::admin::{AdminError, ErrorKind};
use crate::settings::Settings;

pub use packetboat_store::{Check, Outcome, Report};

/// Checks the store, and repairs it if told to. `None` when a server has it open.
pub fn check(settings: &Settings, how: Check) -> Result<Option<Report>, AdminError> {
    become_owner(settings)?;
    unless_in_use(Store::check(&directory(settings), how))
}

/// Makes the store's database anew from its log. `None` when a server has it open.
pub fn rebuild(settings: &Settings) -> Result<Option<Report>, AdminError> {
    become_owner(settings)?;
    unless_in_use(Store::rebuild(&directory(settings)))
}

/// Makes a store, where there is none yet, from a copy made by a backup.
pub fn restore(settings: &Settings, from: &Path) -> Result<Copied, AdminError> {
    become_owner(settings)?;
    Store::restore(from, &directory(settings)).map_err(AdminError::from)
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
