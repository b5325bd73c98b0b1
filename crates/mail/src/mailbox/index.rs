//! What was delivered is made known to the search filter in the background, when there is little else to do, and the
//! lists of mailboxes that grew are packed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use packetboat_message::card::Card;
use packetboat_store::{AccountId, MailboxId, ReadError, Uid};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Refusal;
use super::fetch::card_of;
use super::search::Indexer;
use crate::PostOffice;

/// Accounts that wait; beyond it they are remembered when they are next used.
const WAITING_MAX: usize = 65_536;
/// Mailboxes of which it is remembered how far they are known; beyond it the memory starts anew.
const KNOWN_MAX: usize = 65_536;
/// Messages that are not packed as they are, before it is thought of doing so.
const PACK_LEAST: u64 = 1_000;
/// Messages looked at at a time.
const PAGE: usize = 64;
/// Signatures handed over to the filter at a time.
const SIGNATURES: usize = 256;
/// Mail came in so lately: things are not quiet.
const QUIET_AFTER: Duration = Duration::from_secs(1);
/// After work, so many times as long nothing is done while mail comes in: a search that has to read what the filter does
/// not know waits longer, delivery does not.
const REST_BUSY: u32 = 19;
/// The same when things are quiet.
const REST_QUIET: u32 = 1;
/// Deliveries are waited for this long, so that they are looked at together.
const GATHER: Duration = Duration::from_secs(1);
/// Work is measured in pieces of at least this much.
const PIECE: Duration = Duration::from_millis(2);

/// What waits to be made known.
#[derive(Debug, Default)]
pub(crate) struct Indexing {
    waiting: Mutex<BTreeSet<AccountId>>,
    wake: Notify,
    known: Mutex<HashMap<MailboxId, u32>>,
    /// Mailboxes that were opened, and how many of their messages were not packed.
    unpacked: Mutex<BTreeMap<MailboxId, u64>>,
    /// When mail came in last, microseconds.
    busy: AtomicI64,
}

impl Indexing {
    /// Something may be new in an account.
    pub(crate) fn mark(&self, account: AccountId) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < WAITING_MAX && waiting.insert(account) {
            self.wake.notify_one();
        }
    }

    /// A mailbox was opened, and so many of its messages were not packed.
    pub(crate) fn pack(&self, mailbox: MailboxId, unpacked: u64) {
        let mut all = self.unpacked.lock();
        if unpacked >= PACK_LEAST && all.len() < WAITING_MAX {
            all.insert(mailbox, unpacked);
            self.wake.notify_one();
        }
    }

    /// Mail came in.
    pub(crate) fn delivered(&self, account: AccountId) {
        self.busy.store(jiff::Timestamp::now().as_microsecond(), Ordering::Relaxed);
        self.mark(account);
    }

    fn is_quiet(&self) -> bool {
        let since = jiff::Timestamp::now().as_microsecond() - self.busy.load(Ordering::Relaxed);
        since.unsigned_abs() > QUIET_AFTER.as_micros() as u64
    }

    fn known(&self, mailbox: MailboxId) -> Option<Uid> {
        self.known.lock().get(&mailbox).map(|uid| Uid(*uid))
    }

    fn learn(&self, mailbox: MailboxId, uid: Uid) {
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(mailbox, uid.0);
    }
}

impl PostOffice {
    /// Makes what is delivered known to the search filter, as long as it is polled. One for each post office, beside
    /// everything else: nothing is wrong where there is none, searches only take longer.
    pub async fn index(&self) {
        let indexing = &self.shared.indexing;
        loop {
            indexing.wake.notified().await;
            tokio::time::sleep(GATHER).await;
            loop {
                let next = indexing.waiting.lock().pop_first();
                let Some(account) = next else { break };
                if let Err(error) = self.index_account(account, true).await {
                    tracing::warn!(%account, %error, "messages could not be made known to the search filter");
                }
            }
            loop {
                let next = indexing.unpacked.lock().pop_first();
                let Some((mailbox, unpacked)) = next else { break };
                if let Err(error) = self.shared.store.pack(mailbox, Some(unpacked)).await {
                    tracing::warn!(%mailbox, %error, "a mailbox's list could not be packed");
                }
            }
        }
    }

    /// Makes everything in an account known to the filter; at ease, if others come first.
    pub async fn index_account(&self, account: AccountId, at_ease: bool) -> Result<(), Refusal> {
        let mut work =
            Work { began: Instant::now(), at_ease, signatures: Vec::new(), indexer: Indexer::default() };
        let mut reached = Vec::new();
        for mailbox in self.shared.store.mailboxes(account).await? {
            let before = self.shared.indexing.known(mailbox.id);
            let mut after = before;
            while after.map_or(1, |uid| uid.0.saturating_add(1)) < mailbox.uid_next.0 {
                after = self.index_page(account, mailbox.id, after, &mut work).await?;
                if after.is_none() {
                    after = Some(Uid(mailbox.uid_next.0.saturating_sub(1)));
                }
            }
            if after != before {
                self.shared.store.pack(mailbox.id, None).await?;
            }
            reached.extend(after.map(|uid| (mailbox.id, uid)));
        }
        self.shared.store.filter_add(account, std::mem::take(&mut work.signatures)).await;
        reached.into_iter().for_each(|(mailbox, uid)| self.shared.indexing.learn(mailbox, uid));
        Ok(())
    }

    /// Looks at the next messages; tells the last one, or that there are none.
    async fn index_page(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        after: Option<Uid>,
        work: &mut Work,
    ) -> Result<Option<Uid>, Refusal> {
        let store = &self.shared.store;
        let rows = store.messages(mailbox, after, PAGE).await?;
        let bodies: Vec<u128> = rows.iter().map(|row| row.body).collect();
        let unknown = store.filter_unknown(account, &bodies).await;
        if !unknown.is_empty() {
            let uids: Vec<Uid> =
                rows.iter().filter(|row| unknown.contains(&row.body)).map(|row| row.uid).collect();
            for carded in store.cards_of(mailbox, &uids, false).await? {
                if work.signatures.iter().rev().take(PAGE).any(|(body, _)| *body == carded.row.body) {
                    continue;
                }
                let reader = match store.open_message(&carded.row).await {
                    Ok(reader) => reader,
                    Err(ReadError::Gone) => continue,
                    Err(error) => {
                        // A damaged message stays unknown, and the others are looked at.
                        tracing::warn!(%account, %error, "a message could not be read");
                        continue;
                    }
                };
                let made =
                    if Card::parse(&carded.card).is_none() { Some(card_of(&reader).await) } else { None };
                let bytes = match &made {
                    Some(Ok(made)) => made,
                    Some(Err(_)) => continue,
                    None => &carded.card,
                };
                if let Some(card) = Card::parse(bytes)
                    && let Ok(signature) = work.indexer.signature(&reader, &card).await
                {
                    work.signatures.push((carded.row.body, signature));
                }
                work.rest(self).await;
            }
            if work.signatures.len() >= SIGNATURES {
                store.filter_add(account, std::mem::take(&mut work.signatures)).await;
            }
        }
        work.rest(self).await;
        Ok(rows.last().map(|row| row.uid))
    }
}

struct Work {
    began: Instant,
    at_ease: bool,
    signatures: Vec<(u128, packetboat_store::Signature)>,
    indexer: Indexer,
}

impl Work {
    /// Rests in proportion to what was done since the last rest.
    async fn rest(&mut self, office: &PostOffice) {
        let worked = self.began.elapsed();
        if worked < PIECE {
            return;
        }
        if self.at_ease {
            let times = if office.shared.indexing.is_quiet() { REST_QUIET } else { REST_BUSY };
            tokio::time::sleep(worked * times).await;
        } else {
            tokio::task::yield_now().await;
        }
        self.began = Instant::now();
    }
}
