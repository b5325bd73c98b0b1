//! Connections that have nothing to do and are kept for a few seconds, since the next message is often not far.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Idle connections that are kept at most.
const IDLE_MAX: usize = 1000;

/// Who waits for what, by the name of the next hop. `T` is what a connection is given to go on with.
#[derive(Debug)]
pub(super) struct Idle<T>(Mutex<Waiting<T>>);

#[derive(Debug)]
struct Waiting<T> {
    by_destination: HashMap<String, Vec<oneshot::Sender<T>>>,
}

impl<T> Idle<T> {
    pub(super) fn new() -> Idle<T> {
        Idle(Mutex::new(Waiting { by_destination: HashMap::new() }))
    }

    /// A connection waits for work; `None`: there is no room for more that wait.
    pub(super) fn wait(&self, destination: &str) -> Option<oneshot::Receiver<T>> {
        let mut waiting = self.0.lock();
        let count: usize = waiting.by_destination.values().map(Vec::len).sum();
        if count >= IDLE_MAX {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        waiting.by_destination.entry(destination.to_owned()).or_default().push(sender);
        Some(receiver)
    }

    /// Gives work to a connection that waits for it, the one that began last. `Err`: nobody does.
    pub(super) fn give(&self, destination: &str, mut work: T) -> Result<(), T> {
        let mut waiting = self.0.lock();
        while let Some(senders) = waiting.by_destination.get_mut(destination) {
            let Some(sender) = senders.pop() else {
                waiting.by_destination.remove(destination);
                break;
            };
            match sender.send(work) {
                Ok(()) => return Ok(()),
                // It has ended meanwhile.
                Err(back) => work = back,
            }
        }
        Err(work)
    }

    /// Forgets connections that have ended.
    pub(super) fn tidy(&self, destination: &str) {
        let mut waiting = self.0.lock();
        if let Some(senders) = waiting.by_destination.get_mut(destination) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.by_destination.remove(destination);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.lock().by_destination.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn work_goes_to_the_one_that_waits_for_it() {
        let idle = Idle::new();
        assert_eq!(idle.give("a", 1), Err(1));
        let (mut first, mut second) = (idle.wait("a").unwrap(), idle.wait("a").unwrap());
        assert_eq!(idle.give("b", 1), Err(1));
        assert_eq!(idle.give("a", 1), Ok(()));
        assert_eq!(second.try_recv(), Ok(1));
        assert!(first.try_recv().is_err());
        drop(first);
        assert_eq!(idle.give("a", 2), Err(2));
        assert_eq!(idle.count(), 0);
    }

    #[test]
    fn not_more_wait_than_there_is_room_for() {
        let idle: Idle<()> = Idle::new();
        let mut kept: Vec<_> = (0..IDLE_MAX).map(|n| idle.wait(&format!("d{n}")).unwrap()).collect();
        assert!(idle.wait("one more").is_none());
        kept.truncate(1);
        for n in 0..IDLE_MAX {
            idle.tidy(&format!("d{n}"));
        }
        assert_eq!(idle.count(), 1);
        assert!(idle.wait("one more").is_some());
    }
}
