//! The story of messages: kept for a while in files of the data directory, and found again.
//!
//! Events come from the post office ([`packetboat_mail::story`]). They are written by a thread of their own, off the way of
//! the mail, and not synced: what a crash loses of the story is lost, and a message is not.

mod find;
mod keep;
mod recorder;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

pub use find::{Query, Story, Window, find};
pub use recorder::Recorder;

use crate::metrics::gauge;
use crate::settings::Settings;

/// Shows how many events were not kept.
#[derive(Debug)]
pub struct Lost(pub Arc<Recorder>);

impl Collector for Lost {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let lost = i64::try_from(self.0.lost()).unwrap_or(i64::MAX);
        gauge(&mut encoder, "trace_events_lost", "Events of messages' stories that were not kept", lost)
    }
}

/// How much is kept, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory.
    pub dir: PathBuf,
    /// Octets of all files at most.
    pub size: u64,
    /// How long.
    pub keep: Duration,
}

impl Options {
    /// As the settings say; `None`: nothing is kept.
    pub fn of(settings: &Settings) -> Option<Options> {
        let trace = &settings.trace;
        let options =
            Options { dir: directory(&settings.general.data), size: trace.size.0, keep: trace.keep };
        trace.enabled.then_some(options)
    }
}

/// Where stories are kept below a data directory.
pub fn directory(data: &Path) -> PathBuf {
    data.join("trace")
}

/// Reads stories, up to now.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Where they are kept.
    pub dir: PathBuf,
    /// Who writes them, where a server runs.
    pub recorder: Option<Arc<Recorder>>,
}

impl Reader {
    /// Stories that fit, at most `limit`, the latest ones. Takes as long as reading all that is kept.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub async fn find(&self, query: Query, window: Window, limit: usize) -> std::io::Result<Vec<Story>> {
        let Reader { dir, recorder } = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            if let Some(recorder) = recorder {
                recorder.flush();
            }
            find(&dir, &query, window, limit)
        });
        reading.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }
}
