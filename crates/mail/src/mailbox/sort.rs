//! SORT (RFC 5256, RFC 5957): an order of messages by what their cards say.

use std::cmp::Ordering;

use packetboat_message::card::Card;

use super::{Picked, Refusal, Selected};

/// Cards read at a time: so few that the store reads them where it is asked, into memory that is warm.
pub(super) const PAGE: usize = 256;
/// Octets of a text that are compared.
const TEXT_MAX: usize = 512;

/// One criterion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortBy {
    /// From the highest to the lowest.
    pub reverse: bool,
    /// What is compared.
    pub key: SortKey,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SortKey {
    /// Internal date.
    Arrival,
    /// Mailbox of the first who gets a copy.
    Cc,
    /// When it was sent; where that is not known, the internal date.
    Date,
    /// Mailbox of the first author.
    From,
    /// Octets.
    Size,
    /// Base subject.
    Subject,
    /// Mailbox of the first recipient.
    To,
    /// Name of the first author.
    DisplayFrom,
    /// Name of the first recipient.
    DisplayTo,
}

impl SortKey {
    fn needs_cards(self) -> bool {
        !matches!(self, SortKey::Arrival | SortKey::Size | SortKey::Date)
    }
}

/// The values of one key.
#[derive(Debug)]
enum Column {
    Numbers(Vec<i64>),
    /// The first octets as a number, which mostly decides, and all of them.
    Texts {
        heads: Vec<u64>,
        ends: Vec<usize>,
        octets: Vec<u8>,
    },
}

impl Column {
    fn new(key: SortKey) -> Column {
        match key {
            SortKey::Arrival | SortKey::Date | SortKey::Size => Column::Numbers(Vec::new()),
            _ => Column::Texts { heads: Vec::new(), ends: Vec::new(), octets: Vec::new() },
        }
    }

    fn number(&mut self, number: i64) {
        if let Column::Numbers(numbers) = self {
            numbers.push(number);
        }
    }

    fn text(&mut self, text: &[u8]) {
        if let Column::Texts { heads, ends, octets } = self {
            let text = text.get(..TEXT_MAX).unwrap_or(text);
            let mut head = [0; 8];
            head.iter_mut().zip(text).for_each(|(slot, octet)| *slot = *octet);
            heads.push(u64::from_be_bytes(head));
            octets.extend_from_slice(text);
            ends.push(octets.len());
        }
    }

    fn compare(&self, one: usize, other: usize) -> Ordering {
        match self {
            Column::Numbers(numbers) => numbers.get(one).cmp(&numbers.get(other)),
            Column::Texts { heads, ends, octets } => {
                let text = |at: usize| {
                    let start = at.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
                    ends.get(at).and_then(|end| octets.get(start..*end))
                };
                heads.get(one).cmp(&heads.get(other)).then_with(|| text(one).cmp(&text(other)))
            }
        }
    }
}

impl Selected {
    /// The messages in this order, where nothing else is said in that of their numbers: numbers and UIDs. Those that
    /// are not there any more are left out.
    pub async fn sort(&self, of: &Picked, by: &[SortBy]) -> Result<Vec<(u32, u32)>, Refusal> {
        let mut columns: Vec<(SortBy, Column)> = by.iter().map(|by| (*by, Column::new(by.key))).collect();
        let mut messages: Vec<(u32, u32)> = Vec::new();
        let mut cursor = of.clone().cursor();
        if by.iter().any(|by| by.key.needs_cards()) {
            while !cursor.is_done() {
                for carded in self.cards(&mut cursor, PAGE).await? {
                    let Some(card) = Card::parse(&carded.card) else { continue };
                    let (message, keys) = (carded.message, card.sort_keys());
                    messages.push((message.number, message.uid));
                    for (by, column) in &mut columns {
                        match by.key {
                            SortKey::Arrival => column.number(message.received_at()),
                            SortKey::Size => column.number(i64::from(message.size())),
                            SortKey::Date => {
                                column.number(card.sent().map_or(message.received_at(), |sent| sent.utc));
                            }
                            SortKey::Cc => column.text(&keys.cc()),
                            SortKey::From => column.text(&keys.from()),
                            SortKey::To => column.text(&keys.to()),
                            SortKey::Subject => column.text(&keys.subject().text),
                            SortKey::DisplayFrom => column.text(&keys.display_from()),
                            SortKey::DisplayTo => column.text(&keys.display_to()),
                        }
                    }
                }
                tokio::task::yield_now().await;
            }
        } else {
            let dates = match by.iter().any(|by| by.key == SortKey::Date) {
                true => Some(self.facts(of).await?),
                false => None,
            };
            let mut place = 0;
            while !cursor.is_done() {
                for message in self.rows(&mut cursor, PAGE).into_iter().filter(|message| !message.gone) {
                    let date = match &dates {
                        None => 0,
                        Some(facts) => match facts.find(message.uid, &mut place) {
                            Some((fact, _)) => fact.date,
                            // It went while the facts were gathered.
                            None => continue,
                        },
                    };
                    messages.push((message.number, message.uid));
                    for (by, column) in &mut columns {
                        column.number(match by.key {
                            SortKey::Size => i64::from(message.size()),
                            SortKey::Date => date,
                            _ => message.received_at(),
                        });
                    }
                }
            }
        }
        let mut order: Vec<u32> = (0..messages.len() as u32).collect();
        order.sort_unstable_by(|one, other| {
            let by_key = |(by, column): &(SortBy, Column)| {
                let order = column.compare(*one as usize, *other as usize);
                if by.reverse { order.reverse() } else { order }
            };
            columns.iter().map(by_key).find(|order| order.is_ne()).unwrap_or_else(|| one.cmp(other))
        });
        Ok(order.into_iter().filter_map(|at| messages.get(at as usize).copied()).collect())
    }
}
