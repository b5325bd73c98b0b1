//! The one handle everything else holds.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::embedded::body::NewBody;
use crate::embedded::disk::Disk;
use crate::embedded::filter::{Candidates, Signature};
use crate::embedded::packed::Packed;
use crate::embedded::read::{Located, MessageReader};
use crate::embedded::readers;
use crate::embedded::{Embedded, backup, check};
use crate::tx::{Receipt, Tx, TxError};
use crate::{
    AccountId, AccountRow, Carded, Changes, Check, Copied, Entry, MailboxId, MailboxRow, MessageRow, ModSeq,
    OpenError, Options, ReadError, Report, Uid,
};

/// A store. Clones are cheap and are the same store; when the last one goes, it closes.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Backend,
}

/// Where it keeps things. A cluster's backend joins here; callers do not learn which one they have.
#[derive(Debug, Clone)]
enum Backend {
    Embedded(Arc<Embedded>),
}

impl Store {
    /// Opens the store in a directory, and makes it when there is none. Blocks; the store belongs to this process
    /// until the last handle is gone.
    ///
    /// # Errors
    /// When another process has it, the directory is on a network file system, or what is there is damaged.
    pub fn open(options: Options) -> Result<Store, OpenError> {
        Ok(Store { backend: Backend::Embedded(Arc::new(Embedded::open(options, Disk::default())?)) })
    }

    /// A store in a directory of its own that goes with the last handle, for tests.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn temporary() -> Result<Store, OpenError> {
        Ok(Store { backend: Backend::Embedded(Arc::new(Embedded::temporary()?)) })
    }

    pub(crate) fn embedded(&self) -> &Arc<Embedded> {
        let Backend::Embedded(embedded) = &self.backend;
        embedded
    }

    /// Does all of a transaction, or nothing. When it returns `Ok`, everything in it survives a power cut. A caller
    /// that goes away after asking does not undo it.
    ///
    /// # Errors
    /// See [`TxError`]: nothing happened, except that after [`TxError::Stopped`] it is not known.
    pub async fn commit(&self, tx: Tx, bodies: Vec<NewBody>) -> Result<Receipt, TxError> {
        self.embedded().commit(tx, bodies).await
    }

    /// Begins a body. It becomes durable with the transaction that adds it to a mailbox.
    pub fn new_body(&self, size_hint: Option<u64>) -> NewBody {
        NewBody::new(self.embedded().shared.clone(), size_hint)
    }

    /// An entry; from memory when it was read lately.
    ///
    /// # Errors
    /// When the database fails.
    pub fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        self.embedded().shared.get(key)
    }

    /// Entries whose keys begin with `prefix`, in the order of keys, behind `after`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        self.embedded().shared.scan(prefix, after, limit).await
    }

    /// An account's counters.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account(&self, id: AccountId) -> Result<Option<AccountRow>, ReadError> {
        self.embedded().query(|conn| readers::account(conn, id))
    }

    /// An account's mailboxes, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRow>, ReadError> {
        self.embedded().shared.mailboxes(account).await
    }

    /// A mailbox.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mailbox(&self, id: MailboxId) -> Result<Option<MailboxRow>, ReadError> {
        self.embedded().query(|conn| readers::mailbox(conn, id))
    }

    /// The mailbox of an account that has this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mailbox_named(
        &self,
        account: AccountId,
        name: &str,
    ) -> Result<Option<MailboxRow>, ReadError> {
        self.embedded().query(|conn| readers::mailbox_named(conn, account, name))
    }

    /// Messages of a mailbox in the order of UIDs, behind `after`; at most 100,000 at a time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn messages(
        &self,
        mailbox: MailboxId,
        after: Option<Uid>,
        limit: usize,
    ) -> Result<Vec<MessageRow>, ReadError> {
        self.embedded().shared.messages(mailbox, after, limit).await
    }

    /// A mailbox's messages as they were when they were packed last: the fast way to read all of them. What became of
    /// them since, [`Store::changes`] tells. `None` where they were not packed, or not for long.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn packed(&self, mailbox: MailboxId) -> Result<Option<Packed>, ReadError> {
        self.embedded().shared.packed(mailbox).await
    }

    /// Packs a mailbox's messages if it has many, and many of them are not packed as they are: as many as `others` says, or
    /// as many as came since.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pack(&self, mailbox: MailboxId, others: Option<u64>) -> Result<(), ReadError> {
        self.embedded().pack(mailbox, others).await
    }

    /// A message.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message(&self, mailbox: MailboxId, uid: Uid) -> Result<Option<MessageRow>, ReadError> {
        self.embedded().shared.message(mailbox, uid)
    }

    /// What a listing wants to know of a message without opening its body, as it was given with it.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when the message was removed since it was listed.
    pub async fn card(&self, row: &MessageRow) -> Result<Bytes, ReadError> {
        self.embedded().shared.card(row.side)
    }

    /// Messages of a mailbox with their cards, and with what stands before their bodies where that is asked for, in the
    /// order of UIDs, behind `after`. Fewer than `limit` (100,000 at most) come where there are no more or where they
    /// are large; none come at the end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cards(
        &self,
        mailbox: MailboxId,
        after: Option<Uid>,
        limit: usize,
        with_prefix: bool,
    ) -> Result<Vec<Carded>, ReadError> {
        self.embedded().shared.cards(mailbox, after, limit, with_prefix).await
    }

    /// The same for these messages, in the order of UIDs. Those that are gone are left out. Where they are many and
    /// large, the list ends early: ask again for those behind its last one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cards_of(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
        with_prefix: bool,
    ) -> Result<Vec<Carded>, ReadError> {
        self.embedded().shared.cards_of(mailbox, uids, with_prefix).await
    }

    /// The cards of these messages, for who has their rows: as [`Self::cards_of`], but cheaper.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bare_cards(&self, mailbox: MailboxId, uids: &[Uid]) -> Result<Vec<(Uid, Bytes)>, ReadError> {
        self.embedded().shared.bare_cards(mailbox, uids).await
    }

    /// The keywords of a mailbox, by the bit they have in [`crate::Flags`]; from memory when they were read lately. A
    /// bit keeps its name as long as the mailbox is there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn keywords(&self, mailbox: MailboxId) -> Result<Arc<[(u8, String)]>, ReadError> {
        self.embedded().shared.keywords(mailbox)
    }

    /// What became of a mailbox's messages since a modification sequence. Who asks now and then pays for what changed,
    /// not for what is there.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when the mailbox is not there any more.
    pub async fn changes(&self, mailbox: MailboxId, since: ModSeq) -> Result<Changes, ReadError> {
        self.embedded().shared.changes(mailbox, since).await
    }

    /// Opens a message for reading; it stays readable when it is removed meanwhile.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when it was removed since it was listed.
    pub async fn open_message(&self, row: &MessageRow) -> Result<MessageReader, ReadError> {
        self.embedded().shared.open_message(row)
    }

    /// Looks up where listed messages lie, in one go and without a file: for who is going to open them one by one.
    ///
    /// # Errors
    /// When the database fails. That a message is gone is told when it is opened.
    pub fn locate_messages(&self, rows: &[MessageRow]) -> Result<Vec<Located>, ReadError> {
        self.embedded().shared.locate_messages(rows)
    }

    /// Opens a message for reading that was looked up a while ago, also when it was removed since, as long as its octets
    /// are there.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when they are not.
    pub fn open_located(&self, located: &Located) -> Result<MessageReader, ReadError> {
        self.embedded().shared.open_located(located)
    }

    /// Opens a body without what stands before it in a mailbox.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when it is not there any more.
    pub async fn open_body(&self, body: u128) -> Result<MessageReader, ReadError> {
        self.embedded().shared.open_body(body)
    }

    /// Which of these bodies the account's search filter has not seen yet: their texts are to be read, folded, and
    /// handed to [`Store::filter_add`].
    pub async fn filter_unknown(&self, account: AccountId, bodies: &[u128]) -> Vec<u128> {
        self.embedded().shared.filter_unknown(account, bodies).await
    }

    /// Remembers what the texts of bodies contain. Bodies that are there already are left out. That it did not work,
    /// nobody is told: they are unknown still.
    pub async fn filter_add(&self, account: AccountId, signatures: Vec<(u128, Signature)>) {
        self.embedded().shared.filter_add(account, signatures).await;
    }

    /// Which bodies may contain a text that has these grams (see [`crate::grams`]). Of a text too short to have one,
    /// and of bodies it has not seen, the filter can say nothing: they may.
    pub async fn filter_query(&self, account: AccountId, grams: &[u32]) -> Candidates {
        self.embedded().shared.filter_query(account, grams).await
    }

    /// Tells that an account is at this modification sequence or later. Says nothing else: who is told looks.
    pub fn watch(&self, account: AccountId) -> watch::Receiver<ModSeq> {
        self.embedded().shared.watch(account)
    }

    /// Returns, with the reason, when the store has failed and the process must end.
    pub async fn failed(&self) -> String {
        self.embedded().failed().await
    }

    /// Copies the store, while it works, into a directory that is empty or holds an earlier copy of it; of that, what
    /// is still the same is not copied again.
    ///
    /// # Errors
    /// When there is something else in the directory, or the disk fails; an earlier copy is then still whole.
    pub async fn backup(&self, to: &Path) -> std::io::Result<Copied> {
        self.embedded().backup(to).await
    }

    /// Makes a store in an empty directory from a copy made by [`Store::backup`]. Its mailboxes get new UIDVALIDITYs.
    /// Blocks.
    ///
    /// # Errors
    /// When the directory is not empty, or what is in the copy does not open.
    pub fn restore(from: &Path, to: &Path) -> Result<Copied, OpenError> {
        backup::restore(from, to)
    }

    /// Looks through a store that nobody has open, and repairs it when told so. Blocks.
    ///
    /// # Errors
    /// When there is no store, or a process has it open. What is wrong with the store itself is in the report.
    pub fn check(dir: &Path, how: Check) -> Result<Report, OpenError> {
        check::check(dir, how)
    }

    /// Makes the database of a store that nobody has open again from its log, and checks the outcome. Blocks.
    ///
    /// # Errors
    /// When there is no store, or a process has it open.
    pub fn rebuild(dir: &Path) -> Result<Report, OpenError> {
        check::rebuild(dir)
    }

    /// Reaps, compacts and trims now what is due; otherwise a background thread does so now and then.
    pub async fn maintain(&self) {
        self.embedded().maintain().await;
    }

    /// Commits what waits, and closes. Later calls fail.
    pub async fn stop(&self) {
        self.embedded().stop().await;
    }
}
