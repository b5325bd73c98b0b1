//! What goes on with files, whatever protocol moves them: who is there, what is on its way, what is told of it.

mod events;
mod log;
mod recount;
mod shares;
mod sweep;
mod transfers;
mod watch;

pub(crate) use events::check_webhook;
pub use events::{Events, Kind as EventKind};
pub use log::{LogOptions, Record, TransferLog, TransferRecord};
pub use recount::{Miscount, Recount, RecountError, recount};
pub use shares::{CountError, Shares, folder_owner};
pub use sweep::sweep_daily;
pub(crate) use transfers::word;
pub use transfers::{Begun, Direction, Moving, Session, Transfers};
