//! Events: what others are told, or made to do, when files have changed.
//!
//! Before a name changes, an intent is written into the store; after it, in one transaction, the intent is replaced by a row
//! for each receiver. So a process that is killed in between leaves an intent, and at the next start the disk says whether
//! what was intended happened: an upload lies under its name, or still under the hidden one. A row is removed when its
//! receiver has it. Mail is handed in by the transaction that removes the row, so it goes once; whoever gets a webhook, or
//! is a command, may be told again what it had just taken when the process was killed, with the same id.

mod command;
mod journal;
mod lane;
mod notice;
mod rules;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use packetboat_mail::PostOffice;
use packetboat_message::Domain;
use packetboat_store::Store;
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

use crate::secure::Authorities;
use crate::settings::Settings;

pub(crate) use journal::{Journal, Said};
use rules::{Receiver, Rules};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// Its name: the same however often it is told. 32 hexadecimal digits.
    pub(crate) id: String,
    /// What.
    pub(crate) event: Kind,
    /// When.
    pub(crate) time: Timestamp,
    /// This server.
    pub(crate) server: String,
    #[serde(flatten)]
    pub(crate) said: Said,
    /// Of what, as the user sees it.
    pub(crate) path: String,
    /// The new path of what was renamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// Octets of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) octets: Option<u64>,
    /// Where it lies on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file was stored, and is whole.
    Upload,
    /// A file was sent.
    Download,
    /// A file was removed.
    Delete,
    /// A file or directory has another name.
    Rename,
    /// A directory was made.
    Mkdir,
    /// A directory was removed.
    Rmdir,
}

impl Kind {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Upload => "upload",
            Kind::Download => "download",
            Kind::Delete => "delete",
            Kind::Rename => "rename",
            Kind::Mkdir => "mkdir",
            Kind::Rmdir => "rmdir",
        }
    }
}

/// What receivers are reached by.
#[derive(Debug)]
pub(crate) struct Means {
    pub(crate) store: Store,
    pub(crate) office: PostOffice,
    pub(crate) hostname: Domain,
    pub(crate) authorities: Authorities,
}

/// Tells events to their receivers while it is kept.
#[derive(Debug)]
pub struct Events {
    journal: Arc<Journal>,
    means: Arc<Means>,
    lanes: parking_lot::Mutex<Vec<(Arc<Receiver>, AbortHandle)>>,
}

impl Events {
    /// Looks what was on its way when the process ended, and begins to tell. Nothing may change files before.
    ///
    /// # Errors
    /// When the store fails, or a file that the settings name is of no use.
    pub async fn start(settings: &Settings, store: Store, office: PostOffice) -> Result<Events, String> {
        let authorities = match &settings.outbound_tls.authorities {
            Some(file) => Authorities::of_file(file).map_err(|error| error.to_string())?,
            None => Authorities::of_system(),
        };
        let hostname = settings.general.hostname.parse::<Domain>().map_err(|error| error.to_string())?;
        let means = Arc::new(Means { store: store.clone(), office, hostname, authorities });
        let journal =
            Arc::new(Journal::open(store, settings.general.hostname.clone(), Rules::of(settings)?).await?);
        let events = Events { journal, means, lanes: parking_lot::Mutex::default() };
        events.begin().await?;
        Ok(events)
    }

    /// By the settings as they are now.
    pub fn reload(self: &Arc<Events>, settings: &Settings) {
        match Rules::of(settings) {
            Ok(rules) => {
                self.journal.set_rules(rules);
                let events = Arc::clone(self);
                tokio::spawn(async move {
                    if let Err(error) = events.begin().await {
                        tracing::error!(error, "events of files are not told");
                    }
                });
            }
            Err(error) => tracing::error!(error, "the rules for events of files stay as they were"),
        }
    }

    /// Keeps the journal.
    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// A task for each receiver. Those that are as they were go on with what they are doing.
    async fn begin(&self) -> Result<(), String> {
        self.journal.forget_unknown().await?;
        let mut lanes = self.lanes.lock();
        let mut before = std::mem::take(&mut *lanes);
        for receiver in self.journal.rules().receivers() {
            let lane = match before.iter().position(|(other, _)| **other == *receiver) {
                Some(place) => before.swap_remove(place),
                None => {
                    let telling =
                        lane::run(Arc::clone(&receiver), Arc::clone(&self.journal), Arc::clone(&self.means));
                    (receiver, tokio::spawn(telling).abort_handle())
                }
            };
            lanes.push(lane);
        }
        // What these were telling is told again by whoever comes after them.
        before.iter().for_each(|(_, lane)| lane.abort());
        Ok(())
    }
}

/// Whether this is where a webhook can be posted, and why not.
pub(crate) fn check_webhook(url: &str) -> Result<(), &'static str> {
    webhook::Url::parse(url).map(drop)
}

/// Why a receiver has not got an event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It may work later.
    #[error("{0}")]
    Later(String),
    /// Somebody else has told it already.
    #[error("told already")]
    Told,
}

/// How a receiver is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    Webhook { url: webhook::Url, secret: Option<webhook::Key> },
    Command { argv: Vec<String>, directory: PathBuf },
    Mail { to: Vec<packetboat_message::Address> },
}

impl Way {
    /// One letter for its rows.
    fn letter(&self) -> char {
        match self {
            Way::Webhook { .. } => 'w',
            Way::Command { .. } => 'c',
            Way::Mail { .. } => 'm',
        }
    }
}

/// Reaches a receiver. For mail, `key` and `version` are those of the row, which goes with the message.
pub(crate) async fn tell(
    receiver: &Receiver,
    event: &Event,
    means: &Means,
    (key, version): (&str, u64),
) -> Result<(), Failure> {
    let limit =
        |timeout: Duration| move |_| Failure::Later(format!("it took longer than {} s", timeout.as_secs()));
    match &receiver.way {
        Way::Webhook { url, secret } => {
            let posted = webhook::post(url, secret.as_ref(), event, &means.authorities);
            tokio::time::timeout(receiver.timeout, posted).await.map_err(limit(receiver.timeout))?
        }
        Way::Command { argv, directory } => command::run(argv, directory, event, receiver.timeout).await,
        Way::Mail { to } => notice::send(to, event, means, (key, version)).await,
    }
}
