//! The queue: rows that wait to be sent, the destinations they wait for, and leases.
//!
//! A row shares its message's body and its place in `side` with the other rows of the message, as copies of a message
//! in mailboxes do. A destination's row says when there is something to do for it, so that finding what is due takes no
//! look at what is not. Leases are in memory: they end with the process.

mod apply;
pub(crate) mod check;
mod destinations;
pub(crate) mod effect;
mod lease;
mod leasing;
mod plan;
mod read;

pub(crate) use self::destinations::Writing;
pub(crate) use self::lease::Leases;

/// What version 2 of the tables adds. Rows in the order in which they came; of one destination, lane by lane, in the
/// order in which they are due; of one message, all but the first, which is found by its number.
pub(crate) const TABLES: &str = "
ALTER TABLE log ADD COLUMN next_queue INTEGER NOT NULL DEFAULT 1;
ALTER TABLE log ADD COLUMN queue_rows INTEGER NOT NULL DEFAULT 0;
ALTER TABLE log ADD COLUMN queue_octets INTEGER NOT NULL DEFAULT 0;
ALTER TABLE log ADD COLUMN queue_held INTEGER NOT NULL DEFAULT 0;
ALTER TABLE log ADD COLUMN queue_destinations INTEGER NOT NULL DEFAULT 0;
CREATE TABLE queue (
    id INTEGER PRIMARY KEY,
    message INTEGER NOT NULL,
    destination TEXT NOT NULL,
    lane INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    held INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    side INTEGER,
    body INTEGER NOT NULL,
    value BLOB NOT NULL
);
CREATE INDEX queue_due ON queue (destination, held, lane, due_at);
CREATE INDEX queue_deadline ON queue (deadline) WHERE held = 0;
CREATE INDEX queue_message ON queue (message, destination) WHERE id > message;
CREATE INDEX queue_held ON queue (held) WHERE held = 1;
CREATE TABLE queue_destination (
    name TEXT PRIMARY KEY,
    rows INTEGER NOT NULL,
    resting_until INTEGER NOT NULL,
    due INTEGER NOT NULL,
    wake_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX queue_wake ON queue_destination (wake_at);
CREATE INDEX queue_idle ON queue_destination (resting_until) WHERE rows = 0;
";
