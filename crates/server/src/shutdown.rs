//! How the end of the server reaches every task that has to hear of it.

use tokio::sync::watch;

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// No new connections; those that stand finish the work in hand and say goodbye.
    Stopping,
    /// The grace is over: connections that still stand are cut.
    Ending,
}

/// The one who decides.
#[derive(Debug)]
pub struct Shutdown(watch::Sender<Phase>);

/// One who listens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ShutdownSignal(watch::Receiver<Phase>);

impl Shutdown {
    /// A server that runs.
    pub fn new() -> Shutdown {
        Shutdown(watch::Sender::new(Phase::Running))
    }

    /// Goes on to `phase`; there is no way back.
    pub fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let later = phase > *current;
            if later {
                *current = phase;
            }
            later
        });
    }

    /// A listener.
    pub fn signal(&self) -> ShutdownSignal {
        ShutdownSignal(self.0.subscribe())
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown::new()
    }
}

impl ShutdownSignal {
    /// Where the server is now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Returns when the server has reached `phase`, also when whoever decided it is gone.
    pub async fn reached(mut self, phase: Phase) {
        let _ = self.0.wait_for(|current| *current >= phase).await;
    }
}
