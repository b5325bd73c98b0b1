//! What users of this machine have to know of the server to write to it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// The file in the data directory, for everybody to read: the settings may hold secrets.
const FILE: &str = "names.json";
/// Octets of it at most.
const FILE_MAX: u64 = 4096;

/// The names of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Its own.
    pub hostname: String,
    /// The domain that addresses without one get: the default domain, or the only one; else the server's own name.
    pub domain: String,
}

impl Names {
    /// As the settings and the running server say.
    pub fn of(settings: &Settings) -> Names {
        let told = fs::metadata(path(&settings.general.data))
            .ok()
            .filter(|found| found.len() <= FILE_MAX)
            .and_then(|_| fs::read(path(&settings.general.data)).ok())
            .and_then(|text| serde_json::from_slice::<Names>(&text).ok());
        let hostname = match settings.general.hostname.as_str() {
            "" => told.as_ref().map_or("localhost", |told| told.hostname.as_str()),
            hostname => hostname,
        };
        let domain = match &settings.accounts.default_domain {
            Some(domain) => domain.to_string(),
            None => told.as_ref().map_or(hostname, |told| told.domain.as_str()).to_owned(),
        };
        Names { hostname: hostname.to_owned(), domain }
    }

    /// Lets everybody on this machine know them.
    pub(super) fn publish(&self, data: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let file = path(data);
        if fs::read(&file).is_ok_and(|old| old == text) {
            return Ok(());
        }
        let fresh = file.with_extension("new");
        fs::write(&fresh, &text)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644))?;
        fs::rename(&fresh, &file)
    }
}

fn path(data: &Path) -> PathBuf {
    data.join(FILE)
}
