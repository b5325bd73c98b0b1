//! From one store into another: one mailbox out of a backup, or a move to another backend.

use crate::tx::{AddMessage, BodySource, Op, Tx, TxError};
use crate::{BodyError, Flags, MailboxId, MessageRow, ReadError, Store, Uid};

/// Messages listed at a time.
const PAGE: usize = 500;
/// Octets read at a time.
const PIECE: usize = 256 << 10;

/// Why copying ended early. What was copied before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// A listing could not be read.
    #[error("reading: {0}")]
    Read(#[from] ReadError),
    /// A body could not be written.
    #[error("writing: {0}")]
    Body(#[from] BodyError),
    /// A message could not be added.
    #[error("adding: {0}")]
    Add(#[from] TxError),
}

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Messages copied.
    pub messages: u64,
    /// Messages that could not be read, each with the reason.
    pub unreadable: Vec<(Uid, ReadError)>,
}

impl Store {
    /// Copies all messages of a mailbox into a mailbox of another store, or of the same, with their flags and dates.
    /// They get new UIDs there, in the same order.
    ///
    /// # Errors
    /// When either store fails. A message that cannot be read is left out and named.
    pub async fn transfer(
        &self,
        from: MailboxId,
        to: &Store,
        into: MailboxId,
    ) -> Result<Transferred, TransferError> {
        let mut done = Transferred::default();
        let mut after = None;
        // What is added meanwhile, perhaps by this very copying, is not copied.
        let end = self.mailbox(from).await?.map_or(Uid(0), |row| row.uid_next);
        loop {
            let rows = self.messages(from, after, PAGE).await?;
            let Some(last) = rows.last() else { return Ok(done) };
            after = Some(last.uid);
            for row in rows {
                if row.uid >= end {
                    return Ok(done);
                }
                match self.transfer_one(&row, to, into).await {
                    Ok(()) => done.messages += 1,
                    Err(TransferError::Read(error)) => done.unreadable.push((row.uid, error)),
                    Err(error) => return Err(error),
                }
            }
        }
    }

    async fn transfer_one(&self, row: &MessageRow, to: &Store, into: MailboxId) -> Result<(), TransferError> {
        let card = self.card(row).await?;
        let reader = self.open_message(row).await?;
        let prefix = reader.prefix();
        let start = prefix.len() as u64;
        let mut body = to.new_body(Some(reader.len() - start));
        let mut at = start;
        loop {
            let piece = reader.read(at, PIECE).await?;
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
            body.write(piece).await?;
        }
        let add = AddMessage {
            mailbox: into,
            body: BodySource::New(0),
            prefix,
            card,
            flags: Flags(row.flags.0 & Flags::SYSTEM.0),
            keywords: self
                .keywords(row.mailbox)?
                .iter()
                .filter(|(bit, _)| row.flags.0 >> bit & 1 == 1)
                .map(|(_, name)| name.clone())
                .collect(),
            received_at: row.received_at,
            uid: None,
        };
        to.commit(Tx { id: None, require: Vec::new(), ops: vec![Op::AddMessage(add)] }, vec![body]).await?;
        Ok(())
    }
}
