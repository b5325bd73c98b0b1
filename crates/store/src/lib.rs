//! Rows, bodies, watch.
//!
//! The store keeps key-value entries, accounts' counters, mailboxes, message rows and immutable message bodies, and
//! tells who waits that an account changed. It knows rows, not rules: whether a message may be added is decided in
//! `mail` and `account`; that it is added whole, durable and once is decided here.
//!
//! A transaction is data ([`Tx`]): preconditions and operations. Many callers' transactions share one physical
//! commit; a failed precondition rolls back only its own caller.

mod rows;
mod tx;

pub use rows::{
    AccountId, AccountRow, Entry, Flags, MailboxId, MailboxRow, MessageRow, ModSeq, Uid, UidValidity,
};
pub use tx::{AddMessage, BodySource, FlagChange, Op, OpResult, Receipt, Require, Tx, TxError, TxId};

// The handle. Everything below is the shape callers rely on; see each item's promise.
//
// impl Store {
//     pub fn open(options: Options) -> Result<Store, OpenError>;               // blocking; takes the lock file
//     pub fn temporary() -> ...                                                // for tests of other crates
//     pub async fn commit(&self, tx: Tx, bodies: Vec<NewBody>) -> Result<Receipt, TxError>;
//     pub fn new_body(&self, size_hint: Option<u64>) -> NewBody;               // streaming writer
//         NewBody: async fn write(&mut self, chunk: Bytes) -> Result<(), BodyError>; fn len(&self) -> u64;
//         dropped without commit: nothing stays
//     pub fn get(&self, key: &str) -> Result<Option<Entry>, ReadError>;        // microseconds, served from cache
//     pub async fn scan(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, ReadError>;
//     pub async fn account(&self, id: AccountId) -> Result<Option<AccountRow>, ReadError>;
//     pub async fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRow>, ReadError>;
//     pub async fn mailbox(&self, id: MailboxId) -> Result<Option<MailboxRow>, ReadError>;
//     pub async fn mailbox_named(&self, account: AccountId, name: &str) -> Result<Option<MailboxRow>, ReadError>;
//     pub async fn messages(&self, mailbox: MailboxId, after: Option<Uid>, limit: usize) -> Result<Vec<MessageRow>, ReadError>;
//     pub async fn message(&self, mailbox: MailboxId, uid: Uid) -> Result<Option<MessageRow>, ReadError>;
//     pub async fn open_message(&self, row: &MessageRow) -> Result<MessageReader, ReadError>; // holds the body against the reaper
//         MessageReader: fn len(&self) -> u64; async fn read(&self, offset: u64, max: usize) -> Result<Bytes, ReadError>; // prefix then body
//     pub fn watch(&self, account: AccountId) -> tokio::sync::watch::Receiver<ModSeq>;
//     pub async fn stop(&self);                                                // commits what waits, closes
// }
