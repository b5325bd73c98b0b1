//! Requests that take as long as reading or writing files: a thread that may block carries them out, one for each session, and
//! the session waits, but for ABOR.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use packetboat_ftp::server::{Answer, Refusal};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Errands that are carried out at a time, of all sessions: beyond that they would only take the disk from each other.
const AT_A_TIME: usize = 4;

static PERMITS: Semaphore = Semaphore::const_new(AT_A_TIME);

/// What is to be done; it looks now and then whether it is to stop.
pub(super) type Work = Box<dyn FnOnce(&AtomicBool) -> Result<Answer, Refusal> + Send>;

/// A request that is being carried out. Dropped, it stops.
#[derive(Debug)]
pub(super) struct Errand {
    stop: Arc<AtomicBool>,
    outcome: JoinHandle<Result<Answer, Refusal>>,
    told: Option<Result<Answer, Refusal>>,
}

impl Errand {
    pub(super) fn begin(work: Work) -> Errand {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let outcome = tokio::spawn(async move {
            let permit = PERMITS.acquire().await;
            let done = tokio::task::spawn_blocking(move || {
                // Held by whoever works, however long somebody waits for it.
                let _permit = permit;
                if stopped.load(Ordering::Relaxed) { Err(Refusal::Stopped) } else { work(&stopped) }
            });
            done.await.unwrap_or(Err(Refusal::LocalError))
        });
        Errand { stop, outcome, told: None }
    }

    /// Nobody wants it any more; its end is told all the same.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Returns when it is over. Cancel safe.
    pub(super) async fn ended(&mut self) {
        if self.told.is_none() {
            self.told = Some((&mut self.outcome).await.unwrap_or(Err(Refusal::LocalError)));
        }
    }

    /// What became of it, once it is over.
    pub(super) fn take(&mut self) -> Option<Result<Answer, Refusal>> {
        self.told.take()
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        self.stop();
    }
}
