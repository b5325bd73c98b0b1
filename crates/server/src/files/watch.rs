//! One session's changes of files: told to the log.

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
    fn before(&self, _: &Change<'_>) -> Result<Option<Ticket>, Refusal> {
        Ok(None)
    }

    fn after(&self, change: &Change<'_>, _: Option<Ticket>, outcome: Result<&[u8], &Refusal>) {
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
