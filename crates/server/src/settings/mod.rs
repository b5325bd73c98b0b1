//! Settings: one TOML file, read as it is written, checked whole, then used as it is meant.
//!
//! Each key is defined once, in `keys`, with its kind, default, range and documentation. From there come the parser,
//! the annotated example file and the reference; a file with mistakes gets all of them named at once, each with line,
//! column and what to do.

mod check;
mod example;
mod files;
mod keys;
mod links;
mod outbound;
mod peer;
mod problem;
mod section;
#[cfg(test)]
mod tests;
mod value;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};

pub use example::{example, reference};
pub use files::{
    Access, AccountDemandWord, AnonymousUsers, CommandName, CostCentre, Files, FilesFor, Folder, FolderPath,
    HomePath, PasswordKind, PathInSpace, PathRules,
};
pub use keys::{
    Accounts, Auth, Certificate, Dns, Ftp, General, Imap, Limits, Listen, Log, OutboundTls, Peer, Pop3,
    Queue, Relay, Route, Smarthost, Smtp, Store, Tls, Trace,
};
pub use links::{ActiveSource, AnnounceTo, Announced, ClientName, DataTlsBinding, HostPort};
pub use outbound::{DomainPattern, Family, OutgoingTls, SenderPattern, SmarthostTls, Via};
pub use problem::{Problem, SettingsError};
pub use value::{
    Audience, ClientFamily, DnssecMode, Expire, ListenAddress, LogFormat, NotASize, Separator, Size,
    Strictness, TlsVersion,
};
pub use watch::{FileEvent, On, TransferLog};

/// All settings, checked, with paths that hold wherever the process stands.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What stands before the first section.
    pub general: General,
    /// `[[certificate]]`, each.
    pub certificates: Vec<Certificate>,
    /// `[tls]`
    pub tls: Tls,
    /// `[listen]`
    pub listen: Listen,
    /// `[limits]`
    pub limits: Limits,
    /// `[smtp]`
    pub smtp: Smtp,
    /// `[pop3]`
    pub pop3: Pop3,
    /// `[imap]`
    pub imap: Imap,
    /// `[ftp]`
    pub ftp: Ftp,
    /// `[files]`
    pub files: Files,
    /// `[[files_for]]`, each.
    pub files_for: Vec<FilesFor>,
    /// `[[folder]]`, each.
    pub folders: Vec<Folder>,
    /// `[[rights]]`, each.
    pub path_rules: Vec<PathRules>,
    /// `[anonymous]`
    pub anonymous: AnonymousUsers,
    /// `[dns]`
    pub dns: Dns,
    /// `[outbound_tls]`
    pub outbound_tls: OutboundTls,
    /// `[queue]`
    pub queue: Queue,
    /// `[relay]`
    pub relay: Relay,
    /// `[[route]]`, each.
    pub routes: Vec<Route>,
    /// `[[smarthost]]`, each.
    pub smarthosts: Vec<Smarthost>,
    /// `[[peer]]`, each.
    pub peers: Vec<Peer>,
    /// `[accounts]`
    pub accounts: Accounts,
    /// `[auth]`
    pub auth: Auth,
    /// `[store]`
    pub store: Store,
    /// `[trace]`
    pub trace: Trace,
    /// `[log]`
    pub log: Log,
    /// `[transfer_log]`
    pub transfer_log: TransferLog,
    /// `[[file_event]]`, each.
    pub file_events: Vec<FileEvent>,
}

impl Settings {
    /// Reads a file.
    pub fn load(file: &Path) -> Result<Settings, SettingsError> {
        let text = fs::read_to_string(file)
            .map_err(|source| SettingsError::Unreadable { file: file.to_owned(), source })?;
        Settings::parse(&text, file)
    }

    /// Reads the text of `file`; relative paths in it count from its directory.
    pub fn parse(text: &str, file: &Path) -> Result<Settings, SettingsError> {
        check::parse(text, file).map_err(|problems| SettingsError::Wrong { file: file.to_owned(), problems })
    }

    /// The local socket of the running server.
    pub fn admin_socket(&self) -> PathBuf {
        self.general.data.join(&self.listen.admin)
    }
}
