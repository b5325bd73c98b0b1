//! Which mailboxes LIST and LSUB tell, and what of them (RFC 9051 section 6.3.9, RFC 5258, RFC 6154): a function of
//! names and subscriptions.

use std::cmp::Ordering;

use packetboat_store::MailboxRow;

use super::SpecialUse;
use super::name::SEPARATOR;
use super::pattern::Pattern;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Stands before each pattern.
    pub reference: String,
    /// Patterns with `*` and `%`; a name is told if one of them matches.
    pub patterns: Vec<String>,
    /// Subscribed names instead of mailboxes.
    pub subscribed: bool,
    /// Only mailboxes with a special use.
    pub special_use: bool,
    /// Also names that only have something below them that would be told if it matched a pattern: RECURSIVEMATCH, and what
    /// LSUB does (RFC 3501 section 6.3.9).
    pub recursive: bool,
}

/// A name that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The mailbox; `None` where only something below it, or a subscription, is there: `\NonExistent`, which is
    /// `\Noselect` to IMAP4rev1.
    pub mailbox: Option<MailboxRow>,
    /// Whether it is subscribed.
    pub subscribed: bool,
    /// Whether there are mailboxes below it.
    pub has_children: bool,
    /// Whether there is something below it that meets what was asked, if [`ListQuery::recursive`]: CHILDINFO.
    pub child_info: bool,
    /// Whether it is told only because of what is below it.
    pub parent_only: bool,
}

impl Listed {
    /// What it is for.
    pub fn special_uses(&self) -> impl Iterator<Item = SpecialUse> {
        let text = self.mailbox.as_ref().and_then(|row| row.special_use.as_deref()).unwrap_or_default();
        SpecialUse::parse_all(text)
    }
}

/// An account's names at one moment.
#[derive(Debug, Clone)]
pub struct Names {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
struct Node {
    name: String,
    mailbox: Option<MailboxRow>,
    subscribed: bool,
    /// Nodes below it: these follow it.
    below: usize,
    has_children: bool,
}

/// Each name before what is below it, and nothing else between them.
fn order(one: &str, other: &str) -> Ordering {
    // No name has a control character in it.
    let key = |octet: u8| if octet == SEPARATOR as u8 { 0 } else { octet };
    one.bytes().map(key).cmp(other.bytes().map(key))
}

fn is_below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with(SEPARATOR))
}

impl Names {
    /// Puts mailboxes and subscriptions in order, with every name above them.
    pub fn new(mailboxes: Vec<MailboxRow>, subscriptions: &[String]) -> Names {
        let mut nodes: Vec<Node> = Vec::with_capacity(mailboxes.len() + 8);
        let node = |name: &str| Node {
            name: name.to_owned(),
            mailbox: None,
            subscribed: false,
            below: 0,
            has_children: false,
        };
        nodes.extend(mailboxes.into_iter().map(|mut row| {
            let name = std::mem::take(&mut row.name);
            Node { name, mailbox: Some(row), subscribed: false, below: 0, has_children: false }
        }));
        nodes.extend(subscriptions.iter().map(|name| Node { subscribed: true, ..node(name) }));
        nodes.sort_by(|one, other| order(&one.name, &other.name));
        let mut missing: Vec<Node> = Vec::new();
        let mut last = "";
        for found in &nodes {
            for (at, _) in found.name.match_indices(SEPARATOR) {
                let above = found.name.get(..at).unwrap_or_default();
                // What the name before it is below, or is itself, is there or has been seen to.
                if above != last && !is_below(last, above) {
                    missing.push(node(above));
                }
            }
            last = &found.name;
        }
        if !missing.is_empty() {
            nodes.append(&mut missing);
            nodes.sort_by(|one, other| order(&one.name, &other.name));
        }
        nodes.dedup_by(|later, kept| {
            let same = later.name == kept.name;
            if same {
                kept.subscribed |= later.subscribed;
                kept.mailbox = kept.mailbox.take().or_else(|| later.mailbox.take());
            }
            same
        });
        // Who is open is above what comes next.
        let mut open: Vec<usize> = Vec::new();
        for index in 0..=nodes.len() {
            while let Some(&above) = open.last() {
                let inside = match (nodes.get(index), nodes.get(above)) {
                    (Some(node), Some(above)) => is_below(&node.name, &above.name),
                    _ => false,
                };
                if inside {
                    break;
                }
                open.pop();
                let Some(node) = nodes.get_mut(above) else { continue };
                node.below = index - above - 1;
                let exists = node.mailbox.is_some() || node.has_children;
                if exists && let Some(parent) = open.last().and_then(|&parent| nodes.get_mut(parent)) {
                    parent.has_children = true;
                }
            }
            open.push(index);
        }
        Names { nodes }
    }

    /// What is told of them, each name before those below it.
    pub fn list(self, query: &ListQuery) -> Vec<Listed> {
        let patterns: Vec<Pattern> = query
            .patterns
            .iter()
            .map(|pattern| Pattern::new(&format!("{}{pattern}", query.reference)))
            .collect();
        let matched: Vec<bool> = self
            .nodes
            .iter()
            .map(|node| patterns.iter().any(|pattern| pattern.matches(&node.name)))
            .collect();
        let meets = |node: &Node| {
            let special = || node.mailbox.as_ref().is_some_and(|row| row.special_use.is_some());
            (if query.subscribed { node.subscribed } else { node.mailbox.is_some() })
                && (!query.special_use || special())
        };
        // How many before each place meet what is asked, and how many of them are told for their own sake.
        let (mut meeting, mut told) = (vec![0u32], vec![0u32]);
        let (mut meeting_sum, mut told_sum) = (0, 0);
        for (node, matched) in self.nodes.iter().zip(&matched) {
            let met = meets(node);
            meeting_sum += u32::from(met);
            told_sum += u32::from(met && *matched);
            meeting.push(meeting_sum);
            told.push(told_sum);
        }
        let within = |sums: &[u32], from: usize, to: usize| match (sums.get(from), sums.get(to)) {
            (Some(from), Some(to)) => to - from,
            _ => 0,
        };
        let mut listed = Vec::new();
        let nodes = self.nodes.into_iter().zip(matched).enumerate().filter(|(_, (_, matched))| *matched);
        for (index, (node, _)) in nodes {
            let below = (index + 1, index + 1 + node.below);
            let met = meets(&node);
            let children = within(&meeting, below.0, below.1);
            let untold = children > within(&told, below.0, below.1);
            // RFC 9051 section 6.3.9.3: a name that is no mailbox stands for what is below it and is not told itself.
            let implied = !query.subscribed && !query.special_use && node.mailbox.is_none();
            if met || ((query.recursive || implied) && untold) {
                let named = |row: MailboxRow| MailboxRow { name: node.name.clone(), ..row };
                listed.push(Listed {
                    mailbox: node.mailbox.map(named),
                    name: node.name,
                    subscribed: node.subscribed,
                    has_children: node.has_children,
                    child_info: query.recursive && children > 0,
                    parent_only: !met,
                });
            }
        }
        listed
    }
}

#[cfg(test)]
mod tests {
    use packetboat_store::{AccountId, MailboxId, ModSeq, Uid, UidValidity};

    use super::*;

    fn names(mailboxes: &[&str], subscriptions: &[&str]) -> Names {
        let row = |name: &&str| {
            let at = name.find(" \\").unwrap_or(name.len());
            let (name, special_use) = (&name[..at], name.get(at + 1..));
            MailboxRow {
                id: MailboxId(1),
                account: AccountId(1),
                name: name.to_owned(),
                uid_validity: UidValidity(1),
                uid_next: Uid(1),
                highest_modseq: ModSeq(1),
                messages: 0,
                octets: 0,
                unseen: 0,
                deleted: 0,
                deleted_octets: 0,
                special_use: special_use.map(str::to_owned),
            }
        };
        let subscriptions: Vec<String> = subscriptions.iter().map(|name| (*name).to_owned()).collect();
        Names::new(mailboxes.iter().map(row).collect(), &subscriptions)
    }

    /// `name` with `!` not there, `s` subscribed, `+` children, `i` child info.
    fn told(names: &Names, options: &str, patterns: &[&str]) -> String {
        let query = ListQuery {
            reference: String::new(),
            patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
            subscribed: options.contains('s'),
            special_use: options.contains('u'),
            recursive: options.contains('r'),
        };
        let mut text = String::new();
        for listed in names.clone().list(&query) {
            text.push_str(&listed.name);
            for (mark, on) in [
                ("!", listed.mailbox.is_none()),
                (" s", listed.subscribed),
                ("+", listed.has_children),
                (" i", listed.child_info),
            ] {
                text.push_str(if on { mark } else { "" });
            }
            text.push('\n');
        }
        text
    }

    /// The hierarchy of RFC 9051 section 6.3.9.8, example 8.
    fn example() -> Names {
        names(
            &[
                "INBOX",
                "foo2",
                "foo2/bar1",
                "foo2/bar2",
                "baz2",
                "baz2/bar2",
                "baz2/bar22",
                "baz2/bar222",
                "eps2",
                "eps2/mamba",
                "qux2/bar2",
            ],
            &[
                "foo2/bar1",
                "foo2/bar2",
                "baz2/bar2",
                "baz2/bar22",
                "baz2/bar222",
                "eps2",
                "eps2/mamba",
                "qux2/bar2",
            ],
        )
    }

    #[test]
    fn mailboxes_and_names_above_them() {
        assert_eq!(told(&example(), "", &["%"]), "INBOX\nbaz2+\neps2 s+\nfoo2+\nqux2!+\n");
        assert_eq!(told(&example(), "", &["q*"]), "qux2/bar2 s\n");
        assert_eq!(told(&example(), "", &["%", "qux2/%"]), "INBOX\nbaz2+\neps2 s+\nfoo2+\nqux2/bar2 s\n");
        assert_eq!(told(&example(), "", &["inbox", "nothing"]), "INBOX\n");
    }

    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(
            told(&example(), "sr", &["*2"]),
            "baz2/bar2 s\nbaz2/bar22 s\nbaz2/bar222 s\neps2 s+ i\nfoo2+ i\nfoo2/bar2 s\nqux2/bar2 s\n"
        );
        assert_eq!(told(&example(), "s", &["%"]), "eps2 s+\n");
        assert_eq!(told(&example(), "sr", &["%"]), "baz2+ i\neps2 s+ i\nfoo2+ i\nqux2!+ i\n");
        // Example 9: what is subscribed and not there counts for CHILDINFO and not for \HasChildren.
        let nine = names(&["foo"], &["foo/bar"]);
        assert_eq!(told(&nine, "s", &["foo/*"]), "foo/bar! s\n");
        assert_eq!(told(&nine, "sr", &["foo"]), "foo i\n");
        assert_eq!(told(&nine, "", &["*"]), "foo\n");
        // Example 7.
        let seven = names(&["INBOX", "Foo", "Foo/Bar", "Foo/Baz", "Moo"], &["Foo/Baz"]);
        assert_eq!(told(&seven, "sr", &["%"]), "Foo+ i\n");
        assert_eq!(told(&names(&["Foo", "Foo/Bar"], &[]), "sr", &["%"]), "");
    }

    #[test]
    fn special_uses_select() {
        let names = names(&["INBOX", "Sent \\Sent", "a/b \\Trash", "a"], &["Sent"]);
        assert_eq!(told(&names, "u", &["*"]), "Sent s\na/b\n");
        assert_eq!(told(&names, "us", &["*"]), "Sent s\n");
        assert_eq!(told(&names, "u", &["%"]), "Sent s\n");
        assert_eq!(told(&names, "ur", &["%"]), "Sent s\na+ i\n");
    }

    #[test]
    fn names_stand_before_what_is_below_them() {
        let names = names(&["a", "a-b", "a/b", "a.b", "a/b/c/d"], &[]);
        assert_eq!(told(&names, "", &["*"]), "a+\na/b+\na/b/c/d\na-b\na.b\n");
        assert_eq!(told(&names, "", &["a/%/%"]), "a/b/c!+\n");
        assert_eq!(told(&names, "", &["*c"]), "a/b/c!+\n");
    }

    #[test]
    fn ten_thousand_names_take_no_time() {
        let names: Vec<String> = (0..10_000).map(|n| format!("group {}/list {n}/archive", n % 100)).collect();
        let names = self::names(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        let began = std::time::Instant::now();
        assert_eq!(told(&names, "", &["*"]).lines().count(), 10_000);
        assert_eq!(told(&names, "", &["%"]).lines().count(), 100);
        assert!(began.elapsed().as_secs() < 120, "{:?}", began.elapsed());
    }
}
