//! What SORT by date and THREAD ask of every message, in columns that the view keeps: none of it ever changes.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;
use std::sync::Arc;

use packetboat_message::card::Card;

use super::sort::PAGE;
use super::{Cursor, Message, Picked, Refusal, Selected};

/// References of all messages together; once there are so many, only a message's last one counts.
const REFERENCES_MAX: usize = 4 << 20;
/// The columns of so many messages are kept, and of no more...
const KEPT_MESSAGES: usize = 250_000;
/// ...with so many references.
const KEPT_REFERENCES: usize = 1 << 20;
/// Of a mailbox, all is read for who asks about so small a part of it, and kept for who asks next.
const PART: u64 = 4;

/// A message's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fact {
    /// When it was sent; where that is not known, the internal date. Microseconds since 1970.
    pub(super) date: i64,
    /// A number for its Message-ID.
    pub(super) id: Option<NonZeroU64>,
    /// A number for its base subject; `None` if that is empty.
    pub(super) subject: Option<NonZeroU64>,
    /// Where its references end among all; they begin where those of the message before end.
    end: u32,
    pub(super) is_reply: bool,
}

/// The facts of messages, in the order of UIDs.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    uids: Vec<u32>,
    facts: Vec<Fact>,
    references: Vec<u64>,
    /// Every message up to this UID that was there is among them.
    upto: u32,
    /// Nobody outside knows how subjects are numbered, so nobody can make two of them one.
    hasher: RandomState,
}

impl Facts {
    fn learn(&mut self, message: &Message, card: &Card<'_>) {
        let threading = card.threading();
        let subject = card.sort_keys().subject();
        if self.references.len() < REFERENCES_MAX {
            self.references.extend(threading.references());
        } else {
            self.references.extend(threading.references().last());
        }
        let number = |text| NonZeroU64::new(self.hasher.hash_one(text)).unwrap_or(NonZeroU64::MIN);
        self.uids.push(message.uid);
        self.facts.push(Fact {
            date: card.sent().map_or(message.received_at(), |sent| sent.utc),
            id: threading.message_id.and_then(NonZeroU64::new),
            subject: (!subject.text.is_empty()).then(|| number(&subject.text)),
            end: self.references.len() as u32,
            is_reply: subject.is_reply,
        });
    }

    /// Whether they may outlive the command.
    fn may_be_kept(&self, messages: u32) -> bool {
        // Those of messages that are gone are too few to matter.
        let gone = self.facts.len().saturating_sub(messages as usize);
        self.facts.len() <= KEPT_MESSAGES && self.references.len() <= KEPT_REFERENCES && gone <= 1000
    }

    /// Those of a message: looked for from `place` on, which is moved there.
    pub(super) fn find(&self, uid: u32, place: &mut usize) -> Option<(Fact, &[u64])> {
        let rest = self.uids.get(*place..)?;
        // Mostly the next one.
        let skip = match rest.first() {
            Some(first) if *first == uid => 0,
            _ => rest.binary_search(&uid).ok()?,
        };
        let at = *place + skip;
        *place = at + 1;
        let fact = self.facts.get(at)?;
        let start = at.checked_sub(1).and_then(|before| self.facts.get(before)).map_or(0, |fact| fact.end);
        Some((*fact, self.references.get(start as usize..fact.end as usize).unwrap_or_default()))
    }
}

impl Selected {
    /// The facts of these messages at least, as far as they are there.
    pub(super) async fn facts(&self, of: &Picked) -> Result<Arc<Facts>, Refusal> {
        let known = self.view().facts.lock().clone().unwrap_or_default();
        let last = of.ends().and_then(|(_, last)| of.uid_of(last)).unwrap_or(0);
        if last <= known.upto {
            return Ok(known);
        }
        let unknown = self.pick_uids(&[(Some(known.upto.saturating_add(1)), Some(u32::MAX))]);
        if u64::from(unknown.len()) > PART * u64::from(of.len()) {
            let mut facts = Facts { hasher: known.hasher.clone(), ..Facts::default() };
            self.learn(&mut facts, of.clone().cursor()).await?;
            return Ok(Arc::new(facts));
        }
        let upto = self.uid_next().saturating_sub(1);
        let mut facts = Arc::unwrap_or_clone(known);
        self.learn(&mut facts, unknown.cursor()).await?;
        facts.upto = upto;
        let facts = Arc::new(facts);
        let mut kept = self.view().facts.lock();
        if !facts.may_be_kept(self.exists()) {
            *kept = None;
        } else if kept.as_ref().is_none_or(|kept| kept.upto < upto) {
            *kept = Some(facts.clone());
        }
        Ok(facts)
    }

    async fn learn(&self, facts: &mut Facts, mut cursor: Cursor) -> Result<(), Refusal> {
        while !cursor.is_done() {
            for carded in self.cards(&mut cursor, PAGE).await? {
                if let Some(card) = Card::parse(&carded.card) {
                    facts.learn(&carded.message, &card);
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
