//! One session's changes of files: told to the log, and to whoever is to be told of them.

use std::sync::Arc;

use packetboat_files::{Act, Change, Refusal, Ticket, Witness};

use super::transfers::{Live, Transfers};

/// Sees what a session changes.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) register: Arc<Transfers>,
    pub(super) live: Arc<Live>,
}

impl Witness for Watch {
    fn before(&self, change: &Change<'_>) -> Result<Option<Ticket>, Refusal> {
        match self.register.events() {
            Some(events) => events.journal().before(change, || self.live.said()),
            None => Ok(None),
        }
    }

    fn after(&self, change: &Change<'_>, ticket: Option<Ticket>, outcome: Result<&[u8], &Refusal>) {
        if let Some(events) = self.register.events() {
            events.journal().after(ticket);
        }
        let event = match change.act {
            // Told as a transfer.
            Act::Store => return,
            Act::Remove => "delete",
            Act::Rename => "rename",
            Act::MakeDirectory => "mkdir",
            Act::RemoveDirectory => "rmdir",
        };
        let to = change.other.map(|(path, ..)| path.to_string());
        let outcome = outcome.map(drop).map_err(ToString::to_string);
        self.register.done(&self.live, event, Some(change.path.to_string()), to, outcome);
    }
}
