//! What the tests of the handle share.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use bytes::Bytes;
use packetboat_store::{
    AccountId, AddMessage, BodySource, Enqueue, Flags, MailboxId, NewBody, NewQueueRow, Op, OpResult,
    QueueFilter, QueueRow, Store, Tx, Uid,
};

pub fn tx(ops: Vec<Op>) -> Tx {
    Tx { id: None, require: Vec::new(), ops }
}

pub fn add(mailbox: MailboxId, body: BodySource, prefix: &'static str) -> Op {
    Op::AddMessage(AddMessage {
        mailbox,
        body,
        prefix: Bytes::from_static(prefix.as_bytes()),
        card: Bytes::from_static(b"card"),
        flags: Flags::NONE,
        received_at: 1_000,
        keywords: vec![],
        uid: None,
    })
}

pub fn queue_row(destination: &str, due_at: i64) -> NewQueueRow {
    NewQueueRow {
        destination: destination.to_owned(),
        lane: 0,
        due_at,
        deadline: 1_000,
        held: false,
        value: Bytes::from_static(b"value"),
    }
}

pub fn enqueue(body: BodySource, rows: Vec<NewQueueRow>) -> Op {
    let (prefix, card) = (Bytes::from_static(b"q: "), Bytes::from_static(b"card"));
    Op::Enqueue(Enqueue { body, prefix, card, rows })
}

pub async fn queued_content(store: &Store, row: &QueueRow) -> Vec<u8> {
    let reader = store.open_queued(row).await.unwrap();
    assert_eq!(reader.len(), row.size);
    let mut all = Vec::new();
    loop {
        let piece = reader.read(all.len() as u64, 50_000).await.unwrap();
        if piece.is_empty() {
            return all;
        }
        all.extend_from_slice(&piece);
    }
}

pub async fn body(store: &Store, octets: &[u8]) -> NewBody {
    let mut body = store.new_body(None);
    for chunk in octets.chunks(10_000) {
        body.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    body
}

pub async fn deliver(store: &Store, mailbox: MailboxId, octets: &[u8]) -> Uid {
    let tx = tx(vec![add(mailbox, BodySource::New(0), "p ")]);
    let receipt = store.commit(tx, vec![body(store, octets).await]).await.unwrap();
    let [OpResult::Added(uid, _)] = receipt.results[..] else { panic!("{receipt:?}") };
    uid
}

pub async fn account_with_mailbox(store: &Store, account: u64) -> MailboxId {
    let account = AccountId(account);
    let ops = vec![
        Op::CreateAccount(account),
        Op::CreateMailbox { account, name: "INBOX".into(), special_use: None, uid_validity: None },
    ];
    let receipt = store.commit(tx(ops), vec![]).await.unwrap();
    let [OpResult::Done, OpResult::Mailbox(mailbox, _)] = receipt.results[..] else { panic!("{receipt:?}") };
    mailbox
}

pub async fn content(store: &Store, mailbox: MailboxId, uid: Uid) -> Vec<u8> {
    let row = store.message(mailbox, uid).await.unwrap().unwrap();
    let reader = store.open_message(&row).await.unwrap();
    assert_eq!(reader.len(), row.size);
    let mut all = Vec::new();
    loop {
        let piece = reader.read(all.len() as u64, 50_000).await.unwrap();
        if piece.is_empty() {
            return all;
        }
        all.extend_from_slice(&piece);
    }
}

pub fn octets(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 7 + at / 253 + size) as u8).collect()
}

/// All that can be seen of accounts 0 to 9 and of the queue, and all entries.
pub async fn picture(store: &Store) -> String {
    let mut text = String::new();
    for entry in store.scan("", None, 1_000).await.unwrap() {
        text += &format!("{entry:?}\n");
    }
    for account in (0..10).map(AccountId) {
        let Some(row) = store.account(account).await.unwrap() else { continue };
        text += &format!("{row:?}\n");
        for mailbox in store.mailboxes(account).await.unwrap() {
            text += &format!("{mailbox:?} {:?}\n", store.keywords(mailbox.id).unwrap());
            for row in store.messages(mailbox.id, None, 10_000).await.unwrap() {
                let crc = crc32c::crc32c(&content(store, mailbox.id, row.uid).await);
                text += &format!("{row:?} {crc:08x}\n");
            }
        }
    }
    for row in store.queue_rows(QueueFilter::default(), 10_000).await.unwrap() {
        let crc = crc32c::crc32c(&queued_content(store, &row).await);
        let card = store.queue_card(&row).await.unwrap();
        let destination = store.queue_destination(&row.destination).await.unwrap();
        text += &format!("{row:?} {crc:08x} {card:?} {destination:?}\n");
    }
    text += &format!("{:?} {:?}\n", store.queue_count().await.unwrap(), store.queue_next().await.unwrap());
    text
}
