//! What every backend promises, as tests that know only the handle. A backend joins by a [`Place`] that opens it.

use bytes::Bytes;

use crate::tx::{AddMessage, BodySource, Op, OpResult, Receipt, Require, Tx, TxError};
use crate::{AccountId, Flags, MailboxId, NewBody, Options, Store, Uid};

/// One test per promise and backend.
macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[test]
            fn $name() {
                super::run(super::$name(&super::Embedded::new()));
            })*
        }
    };
}

mod mailboxes;
mod model;
mod promises;
mod queue;
mod queue_model;

/// Where a store of one backend lives, so that a test can close it and come back.
trait Place {
    /// Opens the store, the first time an empty one.
    fn open(&self) -> Store;
}

struct Embedded(tempfile::TempDir);

impl Embedded {
    fn new() -> Embedded {
        Embedded(tempfile::tempdir().unwrap())
    }
}

impl Place for Embedded {
    fn open(&self) -> Store {
        // Little room in a segment, so that tests come by many.
        let segment_octets = 256 << 10;
        Store::open(Options {
            segment_octets,
            grace: std::time::Duration::ZERO,
            ..Options::new(self.0.path())
        })
        .unwrap()
    }
}

fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

fn tx(ops: Vec<Op>) -> Tx {
    Tx { id: None, require: Vec::new(), ops }
}

fn requiring(require: Vec<Require>, ops: Vec<Op>) -> Tx {
    Tx { id: None, require, ops }
}

fn put(key: &str, value: &[u8]) -> Op {
    Op::Put { key: key.to_owned(), value: value.to_vec() }
}

fn add(mailbox: MailboxId, body: BodySource) -> Op {
    Op::AddMessage(AddMessage {
        mailbox,
        body,
        prefix: Bytes::from_static(b"prefix "),
        card: Bytes::from_static(b"card"),
        flags: Flags::NONE,
        received_at: 12,
        keywords: vec![],
        uid: None,
    })
}

async fn body(store: &Store, octets: &[u8]) -> NewBody {
    let mut body = store.new_body(Some(octets.len() as u64));
    for chunk in octets.chunks(70_000) {
        body.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    body
}

async fn deliver(store: &Store, mailbox: MailboxId, octets: &[u8]) -> Result<Receipt, TxError> {
    store.commit(tx(vec![add(mailbox, BodySource::New(0))]), vec![body(store, octets).await]).await
}

/// Makes an account with a mailbox.
async fn inbox(store: &Store, account: u64) -> MailboxId {
    let account = AccountId(account);
    let ops = vec![
        Op::CreateAccount(account),
        Op::CreateMailbox { account, name: "INBOX".into(), special_use: None, uid_validity: None },
    ];
    let receipt = store.commit(tx(ops), vec![]).await.unwrap();
    match receipt.results[..] {
        [OpResult::Done, OpResult::Mailbox(mailbox, _)] => mailbox,
        _ => panic!("{receipt:?}"),
    }
}

/// All octets of a message, or why not.
async fn content(store: &Store, mailbox: MailboxId, uid: Uid) -> Vec<u8> {
    let row = store.message(mailbox, uid).await.unwrap().unwrap();
    let reader = store.open_message(&row).await.unwrap();
    assert_eq!(reader.len(), row.size);
    let mut all = Vec::new();
    loop {
        let piece = reader.read(all.len() as u64, 100_000).await.unwrap();
        if piece.is_empty() {
            return all;
        }
        all.extend_from_slice(&piece);
    }
}
