//! Cards of messages, page by page.

use bytes::Bytes;
use packetboat_message::card::{Builder, Card};
use packetboat_store::{MessageReader, Uid};

use super::picked::Cursor;
use super::rights::{Verb, rights};
use super::selected::Message;
use super::{Refusal, Selected};

/// Octets of a body read at a time.
const PIECE: usize = 128 << 10;

/// A message with what most commands want to know of it.
#[derive(Debug, Clone)]
pub struct Carded {
    /// Which.
    pub message: Message,
    /// A [`Card`].
    pub card: Bytes,
}

impl Selected {
    /// The next messages of a cursor with their cards, `max` at most. Those that are not there any more are left out;
    /// [`Selected::pick_gone`] tells which.
    pub async fn cards(&self, cursor: &mut Cursor, max: usize) -> Result<Vec<Carded>, Refusal> {
        rights(self.who(), self.owner(), Verb::Read)?;
        let mut page = Vec::new();
        while page.is_empty() {
            let wanted = cursor.peek(max);
            let Some((last, _)) = wanted.last().copied() else { break };
            let uids: Vec<Uid> = wanted.iter().map(|(_, uid)| Uid(*uid)).collect();
            let found = self.store().bare_cards(self.mailbox(), &uids).await?;
            // The list may have ended early: those behind its last one are asked for again.
            let mut asked = last;
            {
                let (mut numbers, state) = (wanted.iter(), self.view().state());
                page.reserve(found.len());
                for (uid, card) in found {
                    let Some(&(number, uid)) = numbers.find(|(_, wanted)| *wanted == uid.0) else { continue };
                    asked = number;
                    if let Some(message) = self.message_in(&state, number, uid) {
                        page.push(Carded { message, card });
                    }
                }
            }
            cursor.advance(asked);
        }
        for carded in &mut page {
            if Card::parse(&carded.card).is_none() {
                carded.card = match self.make_card(&carded.message).await {
                    // It will be told as gone.
                    Err(Refusal::Expunged) => Bytes::new(),
                    made => made?,
                };
            }
        }
        page.retain(|carded| !carded.card.is_empty());
        Ok(page)
    }

    /// Makes a message's card again by reading it.
    pub async fn make_card(&self, message: &Message) -> Result<Bytes, Refusal> {
        let reader = self.open_message(message).await?;
        card_of(&reader).await
    }
}

/// Reads a message through, and makes its card.
pub(super) async fn card_of(reader: &MessageReader) -> Result<Bytes, Refusal> {
    let prefix = reader.prefix();
    let mut builder = Builder::new();
    let mut at = prefix.len() as u64;
    while at < reader.len() {
        let piece = reader.read(at, PIECE).await?;
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        builder.push(&piece);
    }
    Ok(builder.finish().whole_card(&prefix).into())
}
