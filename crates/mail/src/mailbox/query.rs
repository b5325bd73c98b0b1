//! What a search looks for, and how it is decided with as little as possible known.

use packetboat_message::card::{Card, FieldSet};
use packetboat_message::fields::fields;
use packetboat_message::text::{fold, search};

use super::Refusal;
use super::numbering::{Ranges, contains};
use super::table::Row;

/// Levels of a query.
const DEPTH_MAX: usize = 100;
/// Conditions of a query.
const LEAVES_MAX: usize = 10_000;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// What a search looks for (RFC 9051 section 6.4.4, RFC 5032, RFC 7162, RFC 8474, RFC 8514).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Every message, if there is nothing in it; else those that all of these are true of.
    And(Vec<Query>),
    /// Those that at least one is true of.
    Or(Vec<Query>),
    /// Those that it is not true of.
    Not(Box<Query>),
    /// Those with a UID in these ascending ranges, see [`Picked::uids`](super::Picked::uids).
    Uids(Ranges),
    /// Those with one of these system flags.
    Flags(packetboat_store::Flags),
    /// Those with this keyword, in any case.
    Keyword(String),
    /// Those that are `\Recent` in this session.
    Recent,
    /// Those with a header field of this name that contains the text; has one at all, if there is no text.
    Header {
        /// Name of the field.
        name: String,
        /// What is in it.
        text: String,
    },
    /// Those with this text in them, headers of messages inside included.
    Body(String),
    /// Those with this text in them or in any header.
    Text(String),
    /// By internal date, the day in UTC.
    Internal(DateTest),
    /// By the Date field, the day where it was sent.
    Sent(DateTest),
    /// By the day it came into the mailbox.
    Saved(DateTest),
    /// Those with more octets.
    Larger(u64),
    /// Those with fewer octets.
    Smaller(u64),
    /// Those with an internal date so many seconds ago or earlier.
    Older(u32),
    /// Those with an internal date so many seconds ago or later.
    Younger(u32),
    /// Those whose last change has this modification sequence or a higher one.
    ModSeq(u64),
    /// Those with this body, see [`Message::body`](super::Message::body).
    EmailId(u128),
    /// Those of the thread that began with this message, see [`Card::threading`].
    ThreadId(u64),
}

/// A comparison of days, which are counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateTest {
    /// Earlier than this day.
    Before(i32),
    /// On this day.
    On(i32),
    /// On this day or later.
    Since(i32),
}

impl DateTest {
    fn holds(self, micros: i64) -> bool {
        let day = micros.div_euclid(DAY);
        match self {
            DateTest::Before(other) => day < i64::from(other),
            DateTest::On(other) => day == i64::from(other),
            DateTest::Since(other) => day >= i64::from(other),
        }
    }
}

/// A query, ready to be asked of many messages.
#[derive(Debug)]
pub(super) struct Plan {
    root: Node,
    pub(super) leaves: Vec<Leaf>,
}

#[derive(Debug)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Leaf(usize),
}

/// A condition.
#[derive(Debug)]
pub(super) enum Leaf {
    Never,
    Uids(Ranges),
    Flags(u64),
    Recent,
    Header {
        name: String,
        field: Option<FieldSet>,
        folded: Vec<u8>,
    },
    Text {
        scope: search::Scope,
        text: String,
        folded: Vec<u8>,
    },
    Internal(DateTest),
    Sent(DateTest),
    Saved(DateTest),
    Larger(u64),
    Smaller(u64),
    /// Internal date at most this.
    Until(i64),
    /// Internal date at least this.
    From(i64),
    ModSeq(u64),
    EmailId(u128),
    ThreadId(u64),
}

impl Leaf {
    /// What it costs to decide: nothing, a card, the message.
    fn cost(&self) -> u8 {
        match self {
            Leaf::Header { field: Some(_), .. } | Leaf::Sent(_) | Leaf::ThreadId(_) => 1,
            Leaf::Header { .. } => 2,
            Leaf::Text { .. } => 3,
            _ => 0,
        }
    }

    /// What a message must have in it somewhere.
    pub(super) fn text(&self) -> Option<&[u8]> {
        match self {
            Leaf::Header { folded, .. } | Leaf::Text { folded, .. } if !folded.is_empty() => Some(folded),
            _ => None,
        }
    }

    /// Decided by the row, as far as it can be.
    pub(super) fn by_row(&self, uid: u32, row: &Row, recent: &[(u32, u32)]) -> Option<bool> {
        Some(match self {
            Leaf::Never => false,
            Leaf::Uids(uids) => contains(uids, uid),
            Leaf::Flags(flags) => row.flags & flags != 0,
            Leaf::Recent => contains(recent, uid),
            Leaf::Internal(test) => test.holds(row.received_at),
            Leaf::Saved(test) => test.holds(i64::from(row.saved_at) * 1_000_000),
            Leaf::Larger(size) => u64::from(row.size) > *size,
            Leaf::Smaller(size) => u64::from(row.size) < *size,
            Leaf::Until(at) => row.received_at <= *at,
            Leaf::From(at) => row.received_at >= *at,
            Leaf::ModSeq(modseq) => row.modseq >= *modseq,
            Leaf::EmailId(body) => row.body() == Some(*body),
            Leaf::Text { folded, .. } if folded.is_empty() => true,
            Leaf::Header { .. } | Leaf::Sent(_) | Leaf::ThreadId(_) | Leaf::Text { .. } => return None,
        })
    }

    /// Decided by the card, as far as it can be. `header` and `value` are for use inside.
    pub(super) fn by_card(&self, card: &Card<'_>, header: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<bool> {
        match self {
            Leaf::Sent(test) => {
                Some(card.sent().is_some_and(|sent| {
                    test.holds(sent.utc.saturating_add(i64::from(sent.offset) * 1_000_000))
                }))
            }
            Leaf::ThreadId(root) => Some(card.threading().root() == Some(*root)),
            Leaf::Header { name, field, folded } => {
                header.clear();
                card.header_fields((*field)?, header).then(|| has_field(header, name, folded, value))
            }
            _ => None,
        }
    }
}

/// Whether a header has a field of this name that contains the folded text.
pub(super) fn has_field(header: &[u8], name: &str, folded: &[u8], value: &mut Vec<u8>) -> bool {
    fields(header).any(|field| {
        field.is(name) && {
            value.clear();
            search::value(field.value, value);
            folded.is_empty() || memchr::memmem::find(value, folded).is_some()
        }
    })
}

/// What is to be looked up before a query can be decided of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Decided(bool),
    Ask(usize),
}

impl Plan {
    /// `keywords` are those of the mailbox; `now` is in microseconds.
    pub(super) fn new(query: &Query, keywords: &[(u8, String)], now: i64) -> Result<Plan, Refusal> {
        let mut plan = Plan { root: Node::And(Vec::new()), leaves: Vec::new() };
        plan.root = plan.node(query, keywords, now, 0)?;
        Ok(plan)
    }

    fn node(
        &mut self,
        query: &Query,
        keywords: &[(u8, String)],
        now: i64,
        depth: usize,
    ) -> Result<Node, Refusal> {
        if depth > DEPTH_MAX || self.leaves.len() >= LEAVES_MAX {
            return Err(Refusal::Limit("conditions in a search"));
        }
        let ago = |seconds: &u32| now.saturating_sub(i64::from(*seconds) * 1_000_000);
        let text =
            |scope, text: &str| Leaf::Text { scope, text: text.to_owned(), folded: fold::folded(text) };
        let leaf = match query {
            Query::And(all) | Query::Or(all) => {
                let mut nodes = Vec::with_capacity(all.len());
                for query in all {
                    nodes.push(self.node(query, keywords, now, depth + 1)?);
                }
                // What costs least is asked first.
                nodes.sort_by_key(|node| self.cost(node));
                return Ok(if matches!(query, Query::And(_)) { Node::And(nodes) } else { Node::Or(nodes) });
            }
            Query::Not(query) => {
                return Ok(Node::Not(Box::new(self.node(query, keywords, now, depth + 1)?)));
            }
            Query::Uids(uids) => Leaf::Uids(uids.clone()),
            Query::Flags(flags) => Leaf::Flags(flags.0),
            Query::Keyword(name) => match keywords.iter().find(|(_, other)| other.eq_ignore_ascii_case(name))
            {
                Some((bit, _)) => Leaf::Flags(1u64 << (bit & 63)),
                None => Leaf::Never,
            },
            Query::Recent => Leaf::Recent,
            Query::Header { name, text } => Leaf::Header {
                name: name.clone(),
                field: FieldSet::new([name.as_bytes()]),
                folded: fold::folded(text),
            },
            Query::Body(words) => text(search::Scope::Body, words),
            Query::Text(words) => text(search::Scope::Text, words),
            Query::Internal(test) => Leaf::Internal(*test),
            Query::Sent(test) => Leaf::Sent(*test),
            Query::Saved(test) => Leaf::Saved(*test),
            Query::Larger(size) => Leaf::Larger(*size),
            Query::Smaller(size) => Leaf::Smaller(*size),
            Query::Older(seconds) => Leaf::Until(ago(seconds)),
            Query::Younger(seconds) => Leaf::From(ago(seconds)),
            Query::ModSeq(modseq) => Leaf::ModSeq(*modseq),
            Query::EmailId(body) => Leaf::EmailId(*body),
            Query::ThreadId(root) => Leaf::ThreadId(*root),
        };
        self.leaves.push(leaf);
        Ok(Node::Leaf(self.leaves.len() - 1))
    }

    fn cost(&self, node: &Node) -> u8 {
        match node {
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().map(|node| self.cost(node)).max().unwrap_or(0),
            Node::Not(node) => self.cost(node),
            Node::Leaf(leaf) => self.leaves.get(*leaf).map_or(0, Leaf::cost),
        }
    }

    /// Whether the query is true, by what `known` tells of conditions; or which condition to find out about.
    pub(super) fn verdict(&self, known: &mut impl FnMut(usize, &Leaf) -> Option<bool>) -> Verdict {
        self.walk(&self.root, known)
    }

    fn walk(&self, node: &Node, known: &mut impl FnMut(usize, &Leaf) -> Option<bool>) -> Verdict {
        match node {
            Node::And(nodes) => self.any(nodes, false, known),
            Node::Or(nodes) => self.any(nodes, true, known),
            Node::Not(node) => match self.walk(node, known) {
                Verdict::Decided(outcome) => Verdict::Decided(!outcome),
                ask => ask,
            },
            Node::Leaf(index) => match self.leaves.get(*index).map(|leaf| known(*index, leaf)) {
                Some(Some(outcome)) => Verdict::Decided(outcome),
                Some(None) => Verdict::Ask(*index),
                None => Verdict::Decided(false),
            },
        }
    }

    /// `outcome` if one of them is so; it may be a later one that is known already.
    fn any(
        &self,
        nodes: &[Node],
        outcome: bool,
        known: &mut impl FnMut(usize, &Leaf) -> Option<bool>,
    ) -> Verdict {
        let mut ask = None;
        for node in nodes {
            match self.walk(node, known) {
                Verdict::Decided(found) if found == outcome => return Verdict::Decided(outcome),
                Verdict::Decided(_) => {}
                Verdict::Ask(leaf) => ask = ask.or(Some(leaf)),
            }
        }
        ask.map_or(Verdict::Decided(!outcome), Verdict::Ask)
    }
}
