//! A maildrop: one account's inbox as POP3 sees it.
//!
//! RFC 1939 section 4 wants an exclusive lock on the maildrop while it is open, so that no message number moves. The
//! lock is against other maildrops only: delivery and the other protocols go on, and a message that somebody else
//! removed meanwhile is simply missing when it is asked for.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use packetboat_message::surrogate::Surrogate;
use packetboat_message::trace::came_with_utf8;
use packetboat_store::{
    AccountId, Located, MailboxId, MessageReader, Op, Store, Tx, TxError, Uid, UidValidity,
};
use parking_lot::Mutex;
use thiserror::Error;

use crate::PostOffice;

/// Octets of a message read at a time.
const PIECE: usize = 64 * 1024;

/// Rows read at a time.
const PAGE: usize = 256;

/// Messages looked up at a time for a client that reads one after the other...
const IN_ORDER: usize = 32;
/// ...and for one that does not, or not yet.
const SCATTERED: usize = 2;

/// The next message is read while the client digests this one, if it is not larger.
const AHEAD_MAX: usize = 16 * 1024;

/// Accounts whose last opening is remembered, for the least time between two; beyond it the memory starts anew.
const OPENINGS_MAX: usize = 65_536;

/// The accounts whose maildrop is open, and when each was opened last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Locks(Arc<Mutex<Openings>>);

#[derive(Debug, Default)]
struct Openings {
    open: HashSet<AccountId>,
    last: HashMap<AccountId, Instant>,
}

impl Locks {
    /// Locks the maildrop, unless it is open or was opened less than `delay` ago.
    fn lock(&self, account: AccountId, now: Instant, delay: Duration) -> Result<Lock, MaildropError> {
        let mut openings = self.0.lock();
        if openings.open.contains(&account) {
            return Err(MaildropError::InUse);
        }
        if !delay.is_zero() {
            let too_soon = |last: &Instant| now.saturating_duration_since(*last) < delay;
            if openings.last.get(&account).is_some_and(too_soon) {
                return Err(MaildropError::TooSoon);
            }
            if openings.last.len() >= OPENINGS_MAX {
                openings.last.clear();
            }
            openings.last.insert(account, now);
        }
        openings.open.insert(account);
        Ok(Lock { locks: self.clone(), account })
    }
}

/// Holds one account's lock.
#[derive(Debug)]
struct Lock {
    locks: Locks,
    account: AccountId,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.locks.0.lock().open.remove(&self.account);
    }
}

/// Why a maildrop cannot be used.
#[derive(Debug, Error)]
pub enum MaildropError {
    /// Another session has it open (RFC 2449 `[IN-USE]`).
    #[error("another session has this maildrop open")]
    InUse,
    /// It was opened a moment ago (RFC 2449 `[LOGIN-DELAY]`).
    #[error("this maildrop was opened a moment ago")]
    TooSoon,
    /// Something of ours failed.
    #[error("the maildrop cannot be read now: {0}")]
    Unavailable(String),
}

/// An open maildrop: a snapshot of the inbox, numbered from 0.
#[derive(Debug)]
pub struct Maildrop {
    store: Store,
    mailbox: MailboxId,
    uid_validity: UidValidity,
    messages: Vec<Listed>,
    /// Where messages from the one asked for last on lie: clients ask in order.
    page: Vec<Located>,
    /// The message behind the one asked for last.
    next: usize,
    /// What was read of it ahead.
    ahead: Option<Ahead>,
    _lock: Lock,
}

#[derive(Debug)]
struct Ahead {
    uid: Uid,
    message: MessageReader,
    octets: Option<Bytes>,
}

#[derive(Debug, Clone, Copy)]
struct Listed {
    uid: Uid,
    size: u64,
}

/// A unique-id (RFC 1939 section 7 UIDL): stays with the message for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UniqueId {
    uid_validity: UidValidity,
    uid: Uid,
}

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.uid_validity, self.uid)
    }
}

impl PostOffice {
    /// Opens an account's maildrop and locks it against a second one.
    pub async fn maildrop(&self, account: AccountId, now: Instant) -> Result<Maildrop, MaildropError> {
        let lock = self.shared.locks.lock(account, now, self.shared.limits.maildrop_delay)?;
        let store = self.shared.store.clone();
        let inbox = store.mailbox_named(account, "INBOX").await.map_err(unavailable)?;
        let inbox = inbox.ok_or_else(|| MaildropError::Unavailable("there is no INBOX".into()))?;
        let mut messages = Vec::with_capacity(inbox.messages as usize);
        loop {
            let after = messages.last().map(|m: &Listed| m.uid);
            let rows = store.messages(inbox.id, after, PAGE).await.map_err(unavailable)?;
            messages.extend(rows.iter().map(|row| Listed { uid: row.uid, size: row.size }));
            if rows.len() < PAGE {
                break;
            }
        }
        let (mailbox, uid_validity) = (inbox.id, inbox.uid_validity);
        Ok(Maildrop {
            store,
            mailbox,
            uid_validity,
            messages,
            page: Vec::new(),
            next: 0,
            ahead: None,
            _lock: lock,
        })
    }
}

impl Maildrop {
    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Octets of each message, in order.
    pub fn sizes(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.messages.iter().map(|message| message.size)
    }

    /// The unique-id of a message.
    pub fn unique_id(&self, index: usize) -> Option<UniqueId> {
        let message = self.messages.get(index)?;
        Some(UniqueId { uid_validity: self.uid_validity, uid: message.uid })
    }

    /// Opens a message for reading. `None` when somebody else has removed it since the maildrop was opened.
    ///
    /// Whoever does not know `utf8` headers gets the surrogate of a message that came as internationalised mail
    /// (RFC 6856 section 2.1). Any other message goes out as it came in, whatever octets its header holds: mail
    /// programs have guessed at those for longer than there is SMTPUTF8.
    pub async fn open(&mut self, index: usize, utf8: bool) -> Result<Option<Reading>, MaildropError> {
        let Some(Listed { uid, .. }) = self.messages.get(index).copied() else { return Ok(None) };
        let in_order = self.next == index && index > 0;
        self.next = index + 1;
        if let Some(Ahead { message, octets, .. }) = self.ahead.take().filter(|ahead| ahead.uid == uid) {
            return Ok(Some(Reading { message, octets, offset: 0, ascii_only: !utf8, surrogate: None }));
        }
        if self.located(uid).is_none() {
            let count = if in_order { IN_ORDER } else { SCATTERED };
            let before = Uid(uid.0.saturating_sub(1));
            let rows = self.store.messages(self.mailbox, Some(before), count).await.map_err(unavailable)?;
            self.page = self.store.locate_messages(&rows).map_err(unavailable)?;
        }
        let Some(located) = self.located(uid) else { return Ok(None) };
        let message = self.store.open_located(located).map_err(unavailable)?;
        Ok(Some(Reading { message, octets: None, offset: 0, ascii_only: !utf8, surrogate: None }))
    }

    fn located(&self, uid: Uid) -> Option<&Located> {
        let place = self.page.binary_search_by_key(&uid, |located| located.row().uid).ok()?;
        self.page.get(place)
    }

    /// Reads what the client will probably ask for next, if that needs no waiting: the message behind the one asked for
    /// last. Does nothing where nothing was asked for yet, or that message is not looked up yet.
    pub fn read_ahead(&mut self) {
        let Some(Listed { uid, .. }) = self.messages.get(self.next).copied() else { return };
        if self.next == 0 || self.ahead.as_ref().is_some_and(|ahead| ahead.uid == uid) {
            return;
        }
        let opened = self.located(uid).map(|located| self.store.open_located(located));
        // What cannot be opened is told to who asks for it.
        self.ahead = opened.and_then(Result::ok).map(|message| {
            let octets = message.read_ahead(AHEAD_MAX);
            Ahead { uid, message, octets }
        });
    }

    /// Removes messages, all or none, durably: the UPDATE state of RFC 1939 section 6.
    pub async fn remove(&self, indices: &[usize]) -> Result<(), MaildropError> {
        let uids: Vec<Uid> = indices.iter().filter_map(|&i| self.messages.get(i)).map(|m| m.uid).collect();
        if uids.is_empty() {
            return Ok(());
        }
        let ops = vec![Op::Expunge { mailbox: self.mailbox, uids }];
        match self.store.commit(Tx { id: None, require: Vec::new(), ops }, Vec::new()).await {
            Ok(_) => Ok(()),
            // The mailbox itself is gone, and its messages with it.
            Err(TxError::Gone(_)) => Ok(()),
            Err(error) => Err(unavailable(error)),
        }
    }
}

/// A message that is being read from its beginning to its end.
#[derive(Debug)]
pub struct Reading {
    message: MessageReader,
    /// All of it, if it was read ahead.
    octets: Option<Bytes>,
    offset: u64,
    ascii_only: bool,
    surrogate: Option<Box<Surrogate>>,
}

impl Reading {
    /// Whether there is no piece any more.
    pub fn is_done(&self) -> bool {
        self.offset >= self.message.len() && self.surrogate.is_none()
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, MaildropError> {
        while self.offset < self.message.len() {
            let piece = match self.octets.take() {
                Some(octets) => octets,
                None => self.message.read(self.offset, PIECE).await.map_err(unavailable)?,
            };
            if piece.is_empty() {
                return Err(unavailable("the message is shorter than it should be"));
            }
            // What we put before a message stands whole in the first piece.
            if self.offset == 0 && self.ascii_only && came_with_utf8(&piece) {
                self.surrogate = Some(Box::default());
            }
            self.offset += piece.len() as u64;
            let piece = match &mut self.surrogate {
                Some(surrogate) => surrogate.push(piece),
                None => piece,
            };
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        let rest = self.surrogate.take().map(|mut surrogate| surrogate.finish());
        Ok(rest.filter(|rest| !rest.is_empty()))
    }
}

fn unavailable(error: impl fmt::Display) -> MaildropError {
    MaildropError::Unavailable(error.to_string())
}
