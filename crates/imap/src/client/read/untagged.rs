//! Untagged responses other than FETCH and conditions.

use std::num::NonZeroU32;

use bytes::Bytes;

use super::cursor::Cursor;
use super::fetch::{flags, object_id};
use super::value::{Listing, Namespace, RemoteName, Untagged};
use crate::command::Partial;
use crate::response::{Esearch, StatusItem, StatusValue, Thread};

/// Whether this begins one that [`parse`] knows.
pub(super) fn is_known(word: &[u8]) -> bool {
    const WORDS: [&str; 15] = [
        "CAPABILITY",
        "ENABLED",
        "ID",
        "NAMESPACE",
        "LIST",
        "LSUB",
        "XLIST",
        "STATUS",
        "FLAGS",
        "VANISHED",
        "SEARCH",
        "SORT",
        "ESEARCH",
        "THREAD",
        "QUOTA",
    ];
    WORDS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word))
        || word.eq_ignore_ascii_case(b"QUOTAROOT")
}

/// Reads one, without the asterisk; `None` if it is none.
pub(super) fn parse(text: &[u8]) -> Option<Untagged> {
    let mut cursor = Cursor::new(text);
    let word = cursor.word()?.to_ascii_uppercase();
    let _ = cursor.space();
    let untagged = match word.as_slice() {
        b"CAPABILITY" => Untagged::Capability(words(&mut cursor)?),
        b"ENABLED" => Untagged::Enabled(words(&mut cursor)?),
        b"ID" => Untagged::Id(id(&mut cursor)?),
        b"NAMESPACE" => {
            let own = namespaces(&mut cursor)?;
            cursor.space()?;
            let others = namespaces(&mut cursor)?;
            cursor.space()?;
            Untagged::Namespace([own, others, namespaces(&mut cursor)?])
        }
        b"LIST" | b"XLIST" => Untagged::List(listing(&mut cursor)?),
        b"LSUB" => Untagged::Lsub(listing(&mut cursor)?),
        b"STATUS" => {
            let mailbox = mailbox(&mut cursor)?;
            cursor.space()?;
            Untagged::Status(mailbox, status(&mut cursor)?)
        }
        b"FLAGS" => Untagged::Flags(flags(&mut cursor)?),
        b"VANISHED" => {
            let earlier = cursor.eat("(EARLIER)").is_some();
            let _ = cursor.space();
            Untagged::Vanished { earlier, uids: cursor.ranges()? }
        }
        b"SEARCH" => {
            let (numbers, modseq) = found(&mut cursor)?;
            Untagged::Search(numbers, modseq)
        }
        b"SORT" => {
            let (numbers, modseq) = found(&mut cursor)?;
            Untagged::Sort(numbers, modseq)
        }
        b"ESEARCH" => esearch(&mut cursor)?,
        b"THREAD" => Untagged::Thread(threads(&mut cursor)?),
        b"QUOTA" => quota(&mut cursor)?,
        b"QUOTAROOT" => {
            let mailbox = mailbox(&mut cursor)?;
            let mut roots = Vec::new();
            while cursor.space().is_some() && !cursor.is_at_end() {
                roots.push(cursor.text()?);
            }
            Untagged::QuotaRoot(mailbox, roots)
        }
        number => return numbered(number, &cursor),
    };
    let _ = cursor.space();
    cursor.is_at_end().then_some(untagged)
}

fn numbered(number: &[u8], cursor: &Cursor<'_>) -> Option<Untagged> {
    let number = Cursor::new(number).number()?;
    match cursor.rest.trim_ascii_end().to_ascii_uppercase().as_slice() {
        b"EXISTS" => Some(Untagged::Exists(number)),
        b"RECENT" => Some(Untagged::Recent(number)),
        b"EXPUNGE" => Some(Untagged::Expunge(number)),
        _ => None,
    }
}

fn words(cursor: &mut Cursor<'_>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    while !cursor.is_at_end() {
        words.push(String::from_utf8_lossy(cursor.word()?).into_owned());
        let _ = cursor.space();
    }
    Some(words)
}

fn id(cursor: &mut Cursor<'_>) -> Option<Vec<(String, Option<String>)>> {
    let mut fields = Vec::new();
    if cursor.nil().is_none() {
        cursor.list(|cursor| {
            let field = cursor.text()?;
            cursor.space()?;
            let value = cursor.nstring()?.map(|value| String::from_utf8_lossy(&value).into_owned());
            fields.push((field, value));
            Some(())
        })?;
    }
    Some(fields)
}

fn mailbox(cursor: &mut Cursor<'_>) -> Option<RemoteName> {
    Some(RemoteName::new(Bytes::copy_from_slice(&cursor.astring()?)))
}

/// `"/"` or NIL
fn separator(cursor: &mut Cursor<'_>) -> Option<Option<char>> {
    let text = cursor.nstring()?;
    Some(text.and_then(|text| std::str::from_utf8(&text).ok()?.chars().next()))
}

fn namespaces(cursor: &mut Cursor<'_>) -> Option<Vec<Namespace>> {
    let mut namespaces = Vec::new();
    if cursor.nil().is_none() {
        cursor.list(|cursor| {
            cursor.eat("(")?;
            let prefix = mailbox(cursor)?;
            cursor.space()?;
            namespaces.push(Namespace { prefix, separator: separator(cursor)? });
            // Extensions of namespaces.
            while cursor.space().is_some() {
                cursor.data()?;
            }
            cursor.eat(")")
        })?;
    }
    Some(namespaces)
}

fn listing(cursor: &mut Cursor<'_>) -> Option<Listing> {
    let attributes = cursor.texts()?;
    cursor.space()?;
    let separator = separator(cursor)?;
    cursor.space()?;
    let mut listing =
        Listing { mailbox: mailbox(cursor)?, separator, attributes, child_info: Vec::new(), old_name: None };
    if cursor.space().is_some() && !cursor.is_at_end() {
        cursor.list(|cursor| {
            let tag = cursor.text()?;
            cursor.space()?;
            if tag.eq_ignore_ascii_case("CHILDINFO") {
                listing.child_info = cursor.texts()?;
            } else if tag.eq_ignore_ascii_case("OLDNAME") {
                cursor.eat("(")?;
                listing.old_name = Some(mailbox(cursor)?);
                cursor.eat(")")?;
            } else {
                cursor.data()?;
            }
            Some(())
        })?;
    }
    Some(listing)
}

fn status(cursor: &mut Cursor<'_>) -> Option<Vec<(StatusItem, StatusValue)>> {
    let mut items = Vec::new();
    cursor.list(|cursor| {
        let item = StatusItem::parse(cursor.word()?);
        cursor.space()?;
        let value = if cursor.nil().is_some() {
            StatusValue::Nil
        } else if item == Some(StatusItem::MailboxId) {
            StatusValue::Id(object_id(cursor)?)
        } else if let Some(number) = cursor.number() {
            StatusValue::Number(number)
        } else {
            cursor.data()?;
            return Some(());
        };
        items.extend(item.map(|item| (item, value)));
        Some(())
    })?;
    Some(items)
}

fn found(cursor: &mut Cursor<'_>) -> Option<(Vec<u32>, Option<u64>)> {
    let mut numbers = Vec::new();
    while let Some(number) = cursor.number() {
        numbers.push(number);
        let _ = cursor.space();
    }
    let mut modseq = None;
    if cursor.eat("(MODSEQ").is_some() {
        cursor.space()?;
        modseq = Some(cursor.number()?);
        cursor.eat(")")?;
    }
    Some((numbers, modseq))
}

fn esearch(cursor: &mut Cursor<'_>) -> Option<Untagged> {
    let mut tag = None;
    if cursor.eat("(TAG").is_some() {
        cursor.space()?;
        tag = Some(cursor.text()?);
        cursor.eat(")")?;
        let _ = cursor.space();
    }
    let mut found = Esearch::default();
    while !cursor.is_at_end() {
        let name = cursor.word()?.to_ascii_uppercase();
        if name == b"UID" {
            found.uid = true;
            let _ = cursor.space();
            continue;
        }
        cursor.space()?;
        match name.as_slice() {
            b"MIN" => found.min = Some(cursor.number()?),
            b"MAX" => found.max = Some(cursor.number()?),
            b"COUNT" => found.count = Some(cursor.number()?),
            b"ALL" => found.all = Some(cursor.ranges()?),
            b"MODSEQ" => found.modseq = Some(cursor.number()?),
            b"PARTIAL" => {
                cursor.eat("(")?;
                let partial = partial(cursor)?;
                cursor.space()?;
                let results = if cursor.nil().is_some() { Vec::new() } else { cursor.ranges()? };
                cursor.eat(")")?;
                found.partial = Some((partial, results));
            }
            _ => _ = cursor.data()?,
        }
        let _ = cursor.space();
    }
    Some(Untagged::Esearch(tag, found))
}

fn partial(cursor: &mut Cursor<'_>) -> Option<Partial> {
    let from_end = cursor.eat("-").is_some();
    let first = NonZeroU32::new(cursor.number()?)?;
    cursor.eat(if from_end { ":-" } else { ":" })?;
    let last = NonZeroU32::new(cursor.number()?)?;
    Some(Partial { from_end, first: first.min(last), last: first.max(last) })
}

/// `(2)(3 6 (4 23)(44 7 96))`. Threads may be deeper than a stack.
fn threads(cursor: &mut Cursor<'_>) -> Option<Vec<Thread>> {
    /// A thread, which message it answers, and its answers, the last one first.
    type Node = (Option<u32>, Option<usize>, Vec<Thread>);
    let mut nodes: Vec<Node> = Vec::new();
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut parent = None;
    let mut just_opened = false;
    while !cursor.is_at_end() {
        if cursor.eat("(").is_some() {
            if just_opened {
                nodes.push((None, parent, Vec::new()));
                parent = Some(nodes.len() - 1);
            }
            open.push(parent);
            just_opened = true;
            continue;
        }
        if cursor.eat(")").is_some() {
            parent = open.pop()?;
        } else if cursor.eat(" ").is_none() {
            let number = cursor.number()?;
            if open.is_empty() {
                return None;
            }
            nodes.push((Some(number), parent, Vec::new()));
            parent = Some(nodes.len() - 1);
        }
        just_opened = false;
    }
    if !open.is_empty() {
        return None;
    }
    let mut threads = Vec::new();
    while let Some((message, parent, mut children)) = nodes.pop() {
        children.reverse();
        let thread = Thread { message, children };
        match parent.and_then(|parent| nodes.get_mut(parent)) {
            Some((_, _, siblings)) => siblings.push(thread),
            None => threads.push(thread),
        }
    }
    threads.reverse();
    Some(threads)
}

fn quota(cursor: &mut Cursor<'_>) -> Option<Untagged> {
    let root = cursor.text()?;
    cursor.space()?;
    let mut resources = Vec::new();
    cursor.list(|cursor| {
        let resource = cursor.text()?;
        cursor.space()?;
        let usage = cursor.number()?;
        cursor.space()?;
        resources.push((resource, usage, cursor.number()?));
        Some(())
    })?;
    Some(Untagged::Quota(root, resources))
}
