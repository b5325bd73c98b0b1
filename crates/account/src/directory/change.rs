//! A change to the directory's entries: what was read must still be so, or nothing happens.

use packetboat_store::{Op, Receipt, Require, Store, Tx, TxError};
use serde::Serialize;

use crate::error::DirectoryError;

#[derive(Debug, Default)]
pub(crate) struct Change {
    require: Vec<Require>,
    ops: Vec<Op>,
}

impl Change {
    /// Sets an entry that does not exist yet.
    pub(crate) fn put_new(&mut self, key: String, value: &impl Serialize) -> Result<(), DirectoryError> {
        self.put(key, None, value)
    }

    /// Sets an entry that has this version, or does not exist.
    pub(crate) fn put(
        &mut self,
        key: String,
        version: Option<u64>,
        value: &impl Serialize,
    ) -> Result<(), DirectoryError> {
        let value = serde_json::to_vec(value)
            .map_err(|error| DirectoryError::Damaged { key: key.clone(), why: error.to_string() })?;
        self.require.push(Require::KeyVersion { key: key.clone(), version });
        self.ops.push(Op::Put { key, value });
        Ok(())
    }

    /// Removes an entry that has this version.
    pub(crate) fn remove(&mut self, key: String, version: u64) {
        self.require.push(Require::KeyVersion { key: key.clone(), version: Some(version) });
        self.ops.push(Op::Remove { key });
    }

    /// Does something that is no entry's matter.
    pub(crate) fn also(&mut self, op: Op) {
        self.ops.push(op);
    }

    pub(crate) async fn commit(self, store: &Store) -> Result<Receipt, DirectoryError> {
        let tx = Tx { id: None, require: self.require, ops: self.ops };
        store.commit(tx, Vec::new()).await.map_err(|error| match error {
            TxError::Failed(_) => DirectoryError::Contended,
            error => DirectoryError::Write(error),
        })
    }
}
