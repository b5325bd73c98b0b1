//! THREAD (RFC 5256): which messages answer which, by ORDEREDSUBJECT and by REFERENCES.
//!
//! Nothing here recurses, and all of it takes O(n log n): threads may be as deep as a mailbox is long.

use std::collections::HashMap;
use std::num::NonZeroU64;

use super::sort::PAGE;
use super::{Picked, Refusal, Selected};

/// How threads are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threading {
    /// By base subject and date.
    OrderedSubject,
    /// By what messages refer to.
    References,
}

/// A message in a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InThread {
    /// How many are above it. It answers the nearest one before it that has one less.
    pub depth: u32,
    /// Number and UID; `None`: a message that is not there, and that those below it answer.
    pub message: Option<(u32, u32)>,
}

/// What of a message decides where it belongs.
#[derive(Debug, Clone, Copy)]
struct Fact {
    message: (u32, u32),
    date: i64,
    id: Option<u64>,
    /// Where its references are among all.
    references: (u32, u32),
    /// A number for its base subject; `None` if that is empty.
    subject: Option<u64>,
    is_reply: bool,
}

impl Selected {
    /// The messages in their threads, each thread from its beginning on. Those that are not there any more are left out.
    pub async fn threads(&self, of: &Picked, how: Threading) -> Result<Vec<InThread>, Refusal> {
        let mut facts: Vec<Fact> = Vec::with_capacity(of.len() as usize);
        let mut references: Vec<u64> = Vec::new();
        let known = self.facts(of).await?;
        let (mut cursor, mut place) = (of.clone().cursor(), 0);
        while !cursor.is_done() {
            for message in self.rows(&mut cursor, PAGE).into_iter().filter(|message| !message.gone) {
                // What is not there went while the facts were gathered.
                let Some((fact, its)) = known.find(message.uid, &mut place) else { continue };
                let start = references.len();
                if how == Threading::References {
                    references.extend_from_slice(its);
                }
                facts.push(Fact {
                    message: (message.number, message.uid),
                    date: fact.date,
                    id: fact.id.map(NonZeroU64::get),
                    references: (start as u32, references.len() as u32),
                    subject: fact.subject.map(NonZeroU64::get),
                    is_reply: fact.is_reply,
                });
            }
        }
        Ok(match how {
            Threading::OrderedSubject => by_subject(facts),
            Threading::References => by_references(&facts, &references),
        })
    }
}

/// RFC 5256 section 3, ORDEREDSUBJECT: messages of one base subject are a thread, all answers to the earliest.
fn by_subject(mut facts: Vec<Fact>) -> Vec<InThread> {
    facts.sort_by_key(|fact| (fact.date, fact.message.0));
    // Threads in the order of their first messages, which come first now.
    let mut thread_of: HashMap<Option<u64>, u32> = HashMap::new();
    let mut threads = 0u32;
    let mut placed: Vec<(u32, u32)> = Vec::with_capacity(facts.len());
    for (at, fact) in facts.iter().enumerate() {
        let thread = *thread_of.entry(fact.subject).or_insert_with(|| {
            threads += 1;
            threads
        });
        placed.push((thread, at as u32));
    }
    placed.sort_unstable();
    let mut last = 0;
    let place = |(thread, at): (u32, u32)| {
        let depth = u32::from(thread == last);
        last = thread;
        Some(InThread { depth, message: Some(facts.get(at as usize)?.message) })
    };
    placed.into_iter().filter_map(place).collect()
}

const NONE: u32 = u32::MAX;

/// Messages, and places for those that are only referred to. The messages come first.
struct Forest {
    parent: Vec<u32>,
    /// For finding the top of a tree fast.
    towards: Vec<u32>,
}

impl Forest {
    fn add(&mut self) -> u32 {
        let node = self.parent.len() as u32;
        self.parent.push(NONE);
        self.towards.push(node);
        node
    }

    fn of(&self, list: &[u32], node: u32) -> u32 {
        list.get(node as usize).copied().unwrap_or(NONE)
    }

    /// The top of a node's tree.
    fn top(&mut self, mut node: u32) -> u32 {
        loop {
            let next = self.of(&self.towards, node);
            if next == node || next == NONE {
                return node;
            }
            let beyond = self.of(&self.towards, next);
            if let Some(slot) = self.towards.get_mut(node as usize) {
                *slot = beyond;
            }
            node = beyond;
        }
    }

    /// Puts a tree below a node, unless its top has a place already or that would be a loop.
    fn link(&mut self, child: u32, parent: u32) {
        if self.of(&self.parent, child) != NONE || self.top(parent) == child {
            return;
        }
        if let (Some(above), Some(towards)) =
            (self.parent.get_mut(child as usize), self.towards.get_mut(child as usize))
        {
            *above = parent;
            *towards = parent;
        }
    }
}

/// RFC 5256 section 3, REFERENCES.
fn by_references(facts: &[Fact], references: &[u64]) -> Vec<InThread> {
    let mut forest = Forest { parent: Vec::new(), towards: Vec::new() };
    let mut by_id: HashMap<u64, u32> = HashMap::with_capacity(facts.len());
    for fact in facts {
        let node = forest.add();
        // Of several messages with one identifier the first has it, and the others have none.
        if let Some(id) = fact.id {
            by_id.entry(id).or_insert(node);
        }
    }
    let mut lists = Vec::with_capacity(facts.len());
    let mut nodes = Vec::with_capacity(references.len());
    for (at, fact) in facts.iter().enumerate() {
        let start = nodes.len();
        let own = references.get(fact.references.0 as usize..fact.references.1 as usize).unwrap_or_default();
        for id in own {
            let node = *by_id.entry(*id).or_insert_with(|| forest.add());
            if node != at as u32 {
                nodes.push(node);
            }
        }
        lists.push((start, nodes.len()));
    }
    // Step 1 B before 1 A: what a message says of itself goes before what others say of it, and need not be undone.
    for (at, &(start, end)) in lists.iter().enumerate() {
        if let Some(&last) = nodes.get(start..end).and_then(<[u32]>::last) {
            forest.link(at as u32, last);
        }
    }
    for &(start, end) in &lists {
        for pair in nodes.get(start..end).unwrap_or_default().windows(2) {
            if let [parent, child] = pair {
                forest.link(*child, *parent);
            }
        }
    }
    Threads::new(facts, forest.parent).finish()
}

/// Trees with children in order.
struct Threads<'a> {
    facts: &'a [Fact],
    children: Vec<Vec<u32>>,
    roots: Vec<u32>,
}

impl<'a> Threads<'a> {
    /// Steps 2 and 3: places without a message go, unless several messages at the top have nothing else in common.
    fn new(facts: &'a [Fact], parent: Vec<u32>) -> Threads<'a> {
        let count = parent.len();
        let real = facts.len() as u32;
        let mut below: Vec<Vec<u32>> = vec![Vec::new(); count];
        let mut open: Vec<u32> = Vec::new();
        for (node, &parent) in parent.iter().enumerate() {
            match below.get_mut(parent as usize) {
                Some(list) => list.push(node as u32),
                None => open.push(node as u32),
            }
        }
        // From the tops down: where does each message hang in the end?
        let mut threads = Threads { facts, children: vec![Vec::new(); count], roots: Vec::new() };
        let mut queue: Vec<(u32, u32)> = open.iter().map(|&top| (top, NONE)).collect();
        while let Some((node, above)) = queue.pop() {
            let own = if node < real || above == NONE { node } else { above };
            if own == node {
                match threads.children.get_mut(above as usize) {
                    Some(list) => list.push(node),
                    None => threads.roots.push(node),
                }
            }
            let list = below.get_mut(node as usize).map(std::mem::take).unwrap_or_default();
            queue.extend(list.into_iter().map(|child| (child, own)));
        }
        let mut roots = Vec::with_capacity(threads.roots.len());
        for root in std::mem::take(&mut threads.roots) {
            match threads.children.get_mut(root as usize) {
                Some(list) if root >= real && list.len() < 2 => roots.append(list),
                _ => roots.push(root),
            }
        }
        threads.roots = roots;
        threads
    }

    fn fact(&self, node: u32) -> Option<&Fact> {
        self.facts.get(node as usize)
    }

    fn children_of(&self, node: u32) -> &[u32] {
        self.children.get(node as usize).map(Vec::as_slice).unwrap_or_default()
    }

    /// What a node is sorted by: a place without a message counts as its first message.
    fn key(&self, node: u32) -> (i64, u32) {
        let first = || self.children_of(node).iter().filter_map(|child| self.fact(*child)).map(key_of).min();
        self.fact(node).map(key_of).or_else(first).unwrap_or((i64::MAX, u32::MAX))
    }

    /// Its subject, and whether that is an answer's.
    fn subject(&self, node: u32) -> Option<(u64, bool)> {
        let fact = match self.fact(node) {
            Some(fact) => fact,
            None => {
                let messages = self.children_of(node).iter().filter_map(|child| self.fact(*child));
                messages.min_by_key(|fact| key_of(fact))?
            }
        };
        Some((fact.subject?, fact.is_reply))
    }

    fn is_empty(&self, node: u32) -> bool {
        node as usize >= self.facts.len()
    }

    /// Step 4 to 6, and then everything in order.
    fn finish(mut self) -> Vec<InThread> {
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_by_cached_key(|root| self.key(*root));
        let mut roots = self.merge(roots);
        roots.sort_by_cached_key(|root| self.key(*root));
        for node in 0..self.children.len() {
            let mut list = self.children.get_mut(node).map(std::mem::take).unwrap_or_default();
            if list.len() > 1 {
                list.sort_by_cached_key(|child| self.key(*child));
            }
            if let Some(slot) = self.children.get_mut(node) {
                *slot = list;
            }
        }
        let mut told = Vec::with_capacity(self.facts.len());
        let mut stack: Vec<(u32, u32)> = roots.iter().rev().map(|root| (*root, 0)).collect();
        while let Some((node, depth)) = stack.pop() {
            told.push(InThread { depth, message: self.fact(node).map(|fact| fact.message) });
            stack.extend(self.children_of(node).iter().rev().map(|child| (*child, depth + 1)));
        }
        told
    }

    /// Step 5: threads of one subject come together.
    fn merge(&mut self, roots: Vec<u32>) -> Vec<u32> {
        let mut table: HashMap<u64, u32> = HashMap::new();
        for &root in &roots {
            let Some((subject, is_reply)) = self.subject(root) else { continue };
            let slot = table.entry(subject).or_insert(root);
            let other = *slot;
            let replaces = (self.is_empty(root) && !self.is_empty(other))
                || (!self.is_empty(other)
                    && !is_reply
                    && self.subject(other).is_some_and(|(_, is_reply)| is_reply));
            if replaces && let Some(slot) = table.get_mut(&subject) {
                *slot = root;
            }
        }
        // A place that two threads were put below stands where the one of the table was.
        let mut stands_for: HashMap<u32, u32> = HashMap::new();
        let mut gone: Vec<bool> = vec![false; self.children.len()];
        for &root in &roots {
            let Some((subject, is_reply)) = self.subject(root) else { continue };
            let Some(&first) = table.get(&subject) else { continue };
            let other = stands_for.get(&first).copied().unwrap_or(first);
            if first == root {
                continue;
            }
            let other_is_reply = self.fact(first).is_some_and(|fact| fact.is_reply);
            let under = if self.is_empty(other) && self.is_empty(root) {
                let list = self.children.get_mut(root as usize).map(std::mem::take).unwrap_or_default();
                if let Some(others) = self.children.get_mut(other as usize) {
                    others.extend(list);
                }
                None
            } else if self.is_empty(other) || (is_reply && !other_is_reply) {
                Some(other)
            } else {
                let place = self.children.len() as u32;
                self.children.push(vec![other]);
                stands_for.insert(first, place);
                Some(place)
            };
            if let Some(list) = under.and_then(|under| self.children.get_mut(under as usize)) {
                list.push(root);
            }
            if let Some(slot) = gone.get_mut(root as usize) {
                *slot = true;
            }
        }
        let stays = |root: &u32| !gone.get(*root as usize).copied().unwrap_or(false);
        roots.into_iter().filter(stays).map(|root| stands_for.get(&root).copied().unwrap_or(root)).collect()
    }
}

fn key_of(fact: &Fact) -> (i64, u32) {
    (fact.date, fact.message.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `number date id>references subject`, `Re:` before the subject of an answer.
    fn facts(text: &str) -> (Vec<Fact>, Vec<u64>) {
        let mut references = Vec::new();
        let facts = text.lines().enumerate().map(|(at, line)| {
            let mut words = line.split_whitespace();
            let date = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
            let ids = words.next().unwrap_or("-");
            let (id, others) = ids.split_once('>').unwrap_or((ids, ""));
            let number = |id: &str| id.bytes().next().map(u64::from);
            let start = references.len() as u32;
            references.extend(others.split(',').filter_map(number));
            let subject = words.next().unwrap_or("");
            let (base, is_reply) = subject.strip_prefix("Re:").map_or((subject, false), |base| (base, true));
            Fact {
                message: (at as u32 + 1, 0),
                date,
                id: number(id).filter(|_| id != "-"),
                references: (start, references.len() as u32),
                subject: number(base),
                is_reply,
            }
        });
        let facts = facts.collect();
        (facts, references)
    }

    /// As THREAD responses have them: `(1 2 (3)(4))`, and `()` for nobody.
    fn shown(threads: &[InThread]) -> String {
        let mut text = String::new();
        for (at, one) in threads.iter().enumerate() {
            if at > 0 {
                text.push_str(if one.depth == 0 { " | " } else { " " });
            }
            text.push_str(&">".repeat(one.depth as usize));
            match one.message {
                Some((number, _)) => text.push_str(&number.to_string()),
                None => text.push('.'),
            }
        }
        text
    }

    fn references(text: &str) -> String {
        let (facts, references) = facts(text);
        shown(&by_references(&facts, &references))
    }

    #[test]
    fn answers_hang_below_what_they_answer() {
        for (messages, threads) in [
            ("1 a x\n2 b>a Re:x\n3 c>a,b Re:x\n4 d>a Re:x", "1 >2 >>3 >4"),
            // In whatever order they lie.
            ("3 c>a,b Re:x\n2 b>a Re:x\n1 a x", "3 >2 >>1"),
            // One that is missing in between, and one that is missing at the top.
            ("1 a\n3 c>a,b", "1 >2"),
            ("2 b>a\n3 c>a", ". >1 >2"),
            ("2 b>a", "1"),
            // A loop is not made.
            ("1 a>b\n2 b>a", "2 >1"),
            ("1 a>a", "1"),
            // The second of one identifier is on its own.
            ("1 a\n2 a\n3 b>a", "1 >3 | 2"),
            // What it says of itself goes before what others say of it.
            ("1 a\n2 b\n3 c>b\n4 d>a,c", "1 | 2 >3 >>4"),
            ("3 a\n1 b\n2 -", "2 | 3 | 1"),
            ("", ""),
        ] {
            assert_eq!(references(messages), threads, "{messages}");
        }
    }

    #[test]
    fn threads_of_one_subject_come_together() {
        for (messages, threads) in [
            ("1 a x\n2 b Re:x\n3 c Re:x", "1 >2 >3"),
            ("2 a x\n1 b Re:x", "1 >2"),
            ("1 a x\n2 b x", ". >1 >2"),
            ("1 a x\n2 b x\n3 c x", ". >1 >2 >3"),
            ("1 a Re:x\n2 b Re:x", ". >1 >2"),
            ("1 a y\n2 b x\n3 c Re:y", "1 >3 | 2"),
            // Below a place that is empty already.
            ("1 b>a x\n2 c>a x\n3 d x", ". >1 >2 >3"),
            ("1 b>a x\n2 c>a x\n3 e>d x\n4 f>d x", ". >1 >2 >3 >4"),
            ("1 a\n2 b", "1 | 2"),
        ] {
            assert_eq!(references(messages), threads, "{messages}");
        }
    }

    #[test]
    fn ordered_subject_is_one_level() {
        let (some, _) = facts("5 a x\n1 b y\n3 c Re:x\n2 d Re:y\n4 e Re:x\n0 f");
        assert_eq!(shown(&by_subject(some)), "6 | 2 >4 | 3 >5 >1");
    }

    proptest! {
        #[test]
        fn every_message_is_somewhere_once(
            some in prop::collection::vec((0i64..9, 0u64..9, prop::collection::vec(0u64..9, 0..4), 0u64..3, any::<bool>()), 0..14)
        ) {
            let mut references = Vec::new();
            let mut facts = Vec::new();
            for (at, (date, id, others, subject, is_reply)) in some.into_iter().enumerate() {
                let start = references.len() as u32;
                references.extend(others);
                let subject = subject.checked_sub(1);
                let ends = (start, references.len() as u32);
                facts.push(Fact { message: (at as u32 + 1, 0), date, id: Some(id), references: ends, subject, is_reply });
            }
            for threads in [by_references(&facts, &references), by_subject(facts.clone())] {
                let mut seen: Vec<u32> = threads.iter().filter_map(|one| one.message).map(|(n, _)| n).collect();
                seen.sort_unstable();
                prop_assert_eq!(seen, (1..=facts.len() as u32).collect::<Vec<_>>());
                let mut above = 0;
                for one in &threads {
                    prop_assert!(one.depth <= above, "{threads:?}");
                    // Nobody at the top has something below.
                    prop_assert!(one.message.is_some() || one.depth == 0);
                    above = one.depth + 1;
                }
            }
        }
    }

    #[test]
    fn depth_and_number_take_no_time() {
        let count = 200_000u32;
        let fact = |at: u32, id, references| Fact {
            message: (at + 1, 0),
            date: 0,
            id: Some(id),
            references,
            subject: Some(1),
            is_reply: true,
        };
        let began = std::time::Instant::now();
        // Each answers the one before it, from the last to the first and the other way round.
        let chain: Vec<u64> = (1..=u64::from(count)).collect();
        let deep: Vec<Fact> = (0..count).map(|at| fact(at, u64::from(at), (at, at + 1))).collect();
        assert_eq!(by_references(&deep, &chain).iter().map(|one| one.depth).max(), Some(count - 1));
        let wide: Vec<Fact> = (0..count).map(|at| fact(at, u64::from(at), (0, 0))).collect();
        assert_eq!(by_references(&wide, &[]).len(), count as usize + 1);
        assert!(began.elapsed().as_secs() < 300, "{:?}", began.elapsed());
    }
}
