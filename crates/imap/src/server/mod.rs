//! The server's side of IMAP.
//!
//! Methods its owner answers with (contract; all non-blocking, output is buffered):
//!
//! ```ignore
//! // logging in, as in the other protocols
//! fn accept(&mut self); fn refuse(&mut self, Refusal); fn scram_keys(&mut self, Vec<ScramKeys>);
//! // what is said, in answer to a Request and, while is_idling(), on news
//! fn say(&mut self, &Response);
//! fn fetch(&mut self, number: u32) -> FetchWriter<'_>;   // `* n FETCH (` ... `)`
//! fn complete(&mut self, Completion);                     // ends the command in hand
//! fn selected(&mut self, read_write: bool, Completion);   // ends SELECT/EXAMINE well
//! fn backlog(&self) -> usize;                             // octets said and not yet sent
//! // Between two requests nothing is said except while idling. When backlog() > BACKLOG_HIGH the owner returns
//! // without completing; Event::Resume comes when it was sent.
//! // appending
//! fn append_ready(&mut self); fn append_refuse(&mut self, Completion);
//! // what the client turned on
//! fn condstore(&self) -> bool; fn qresync(&self) -> bool; fn rev2(&self) -> bool; fn utf8(&self) -> bool;
//! fn uid_only(&self) -> bool; fn is_idling(&self) -> bool; fn client_id(&self) -> Option<&ClientId>;
//! ```

mod config;
mod event;
mod extension;
mod fetch;

pub use config::{Config, Timeouts};
pub use event::{Append, Event, Login, Refusal};
pub use extension::{Extension, UnknownExtension};
pub use fetch::FetchWriter;
