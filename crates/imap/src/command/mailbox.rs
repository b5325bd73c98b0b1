//! Commands about mailboxes: SELECT, CREATE, LIST, STATUS, quotas.

use std::num::NonZeroU32;

use super::lexer::{self, Lexer, Result};
use super::{CommandError, Request};
use crate::response::StatusItem;
use crate::value::{MailboxName, NumberSet, decode_text};

/// Patterns of one LIST at most.
const PATTERNS_MAX: usize = 100;
/// Octets of a reference or pattern at most: longer ones match no name.
const PATTERN_OCTETS_MAX: usize = 2 * MailboxName::OCTETS_MAX;
/// Wildcards in a pattern at most: matching takes time by their number.
const WILDCARDS_MAX: usize = 32;
/// Options in one list at most.
const OPTIONS_MAX: usize = 16;
/// Resources of one SETQUOTA at most.
const RESOURCES_MAX: usize = 8;

/// SELECT or EXAMINE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// Which.
    pub mailbox: MailboxName,
    /// EXAMINE: nothing may change.
    pub examine: bool,
    /// CONDSTORE was named. To tell modification sequences is on anyway.
    pub condstore: bool,
    /// What the client knows of the mailbox (RFC 7162 section 3.2.5).
    pub qresync: Option<Qresync>,
}

/// What a client that comes back knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qresync {
    /// UIDVALIDITY it knows.
    pub uid_validity: NonZeroU32,
    /// Modification sequence it has seen.
    pub modseq: u64,
    /// UIDs it knows; all when absent.
    pub known_uids: Option<NumberSet>,
    /// Some message numbers and their UIDs.
    pub sequence_match: Option<(NumberSet, NumberSet)>,
}

/// LIST (RFC 5258, 5819, 6154) or LSUB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    /// LSUB: answer with [`Response::Lsub`](crate::response::Response::Lsub).
    pub lsub: bool,
    /// The reference name, in UTF-8; patterns are relative to it.
    pub reference: String,
    /// Patterns in UTF-8 with `*` and `%`. An empty one asks for the hierarchy separator.
    pub patterns: Vec<String>,
    /// Selection options.
    pub select: ListSelect,
    /// Return options.
    pub returns: ListReturn,
}

/// Which mailboxes LIST tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListSelect {
    /// SUBSCRIBED
    pub subscribed: bool,
    /// REMOTE: there are none here.
    pub remote: bool,
    /// RECURSIVEMATCH
    pub recursive_match: bool,
    /// SPECIAL-USE
    pub special_use: bool,
}

/// What LIST tells of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListReturn {
    /// SUBSCRIBED
    pub subscribed: bool,
    /// CHILDREN
    pub children: bool,
    /// SPECIAL-USE
    pub special_use: bool,
    /// STATUS (RFC 5819); empty when not asked.
    pub status: Vec<StatusItem>,
    /// Extended syntax was used: say CHILDINFO and the like.
    pub extended: bool,
}

/// `select = "SELECT" SP mailbox [select-params]` (RFC 4466 section 2.1)
pub(super) fn select(lexer: &mut Lexer<'_>, examine: bool) -> Result<Request> {
    lexer.sp()?;
    let mailbox = lexer.mailbox()?;
    let mut select = Select { mailbox, examine, condstore: false, qresync: None };
    if lexer.rest().starts_with(b" (") {
        lexer.sp()?;
        lexer.list(OPTIONS_MAX, |lexer| {
            match lexer.word()?.as_str() {
                "CONDSTORE" => select.condstore = true,
                "QRESYNC" if select.qresync.is_none() => {
                    lexer.sp()?;
                    select.qresync = Some(qresync(lexer)?);
                }
                _ => return Err(CommandError::Syntax("not a SELECT parameter of this server")),
            }
            Ok(())
        })?;
    }
    lexer.end()?;
    Ok(Request::Select(select))
}

/// `"(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"` (RFC 7162 section 7)
fn qresync(lexer: &mut Lexer<'_>) -> Result<Qresync> {
    lexer.expect(b'(', "the parameters of QRESYNC are missing")?;
    let uid_validity = lexer.nz_number()?;
    lexer.sp()?;
    let modseq = lexer.number64()?;
    let mut qresync = Qresync { uid_validity, modseq, known_uids: None, sequence_match: None };
    if lexer.eat(b' ') {
        if lexer.peek() != Some(b'(') {
            qresync.known_uids = Some(numbers(lexer)?);
        }
        if qresync.known_uids.is_none() || lexer.eat(b' ') {
            lexer.expect(b'(', "a list is missing")?;
            let sequence = numbers(lexer)?;
            lexer.sp()?;
            qresync.sequence_match = Some((sequence, numbers(lexer)?));
            lexer.expect(b')', "a parenthesis is missing")?;
        }
    }
    lexer.expect(b')', "a parenthesis is missing")?;
    Ok(qresync)
}

/// A set without `*`.
fn numbers(lexer: &mut Lexer<'_>) -> Result<NumberSet> {
    let set = lexer.set()?;
    if set.names_last() { Err(CommandError::Syntax("there must be no * here")) } else { Ok(set) }
}

/// One mailbox and nothing else.
pub(super) fn mailbox(lexer: &mut Lexer<'_>) -> Result<MailboxName> {
    lexer.sp()?;
    let mailbox = lexer.mailbox()?;
    lexer.end()?;
    Ok(mailbox)
}

/// `create = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]` (RFC 6154 section 3)
pub(super) fn create(lexer: &mut Lexer<'_>) -> Result<Request> {
    lexer.sp()?;
    let name = lexer.astring()?;
    // RFC 9051 section 6.3.4: the separator at the end tells that there will be mailboxes below.
    let name = name.strip_suffix(b"/").unwrap_or(&name);
    let mailbox = MailboxName::decode(name, lexer.utf8()).map_err(CommandError::Mailbox)?;
    let mut special_use = Vec::new();
    if lexer.rest().starts_with(b" (") {
        lexer.sp()?;
        lexer.list(1, |lexer| {
            if lexer.word()? != "USE" {
                return Err(CommandError::Syntax("not a CREATE parameter of this server"));
            }
            lexer.sp()?;
            special_use = lexer.list(OPTIONS_MAX, |lexer| {
                lexer.expect(b'\\', "a special use is missing")?;
                Ok(format!("\\{}", lexer::utf8(lexer.atom()?.into())?))
            })?;
            Ok(())
        })?;
    }
    lexer.end()?;
    Ok(Request::Create { mailbox, special_use })
}

pub(super) fn rename(lexer: &mut Lexer<'_>) -> Result<Request> {
    lexer.sp()?;
    let from = lexer.mailbox()?;
    let to = mailbox(lexer)?;
    Ok(Request::Rename { from, to })
}

/// `lsub = "LSUB" SP mailbox SP list-mailbox`
pub(super) fn lsub(lexer: &mut Lexer<'_>) -> Result<Request> {
    lexer.sp()?;
    let reference = reference(lexer)?;
    lexer.sp()?;
    let patterns = vec![pattern(lexer)?];
    lexer.end()?;
    Ok(Request::List(List { lsub: true, reference, patterns, ..List::default() }))
}

/// `list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]` (RFC 5258 section 6)
pub(super) fn list(lexer: &mut Lexer<'_>) -> Result<Request> {
    lexer.sp()?;
    let mut list = List::default();
    if lexer.peek() == Some(b'(') {
        list.returns.extended = true;
        list.select = list_select(lexer)?;
        lexer.sp()?;
    }
    list.reference = reference(lexer)?;
    lexer.sp()?;
    if lexer.peek() == Some(b'(') {
        list.returns.extended = true;
        list.patterns = lexer.list(PATTERNS_MAX, pattern)?;
        if list.patterns.is_empty() {
            return Err(CommandError::Syntax("a pattern is missing"));
        }
    } else {
        list.patterns = vec![pattern(lexer)?];
    }
    if lexer.end().is_err() {
        lexer.sp()?;
        if lexer.word()? != "RETURN" {
            return Err(CommandError::Syntax("only RETURN may follow the pattern"));
        }
        lexer.sp()?;
        list.returns.extended = true;
        list_return(lexer, &mut list.returns)?;
        lexer.end()?;
    }
    // "specifying the SUBSCRIBED selection option implies the SUBSCRIBED return option" (RFC 9051 section 6.3.9.1), and
    // the same with SPECIAL-USE.
    list.returns.subscribed |= list.select.subscribed;
    list.returns.special_use |= list.select.special_use;
    Ok(Request::List(list))
}

fn list_select(lexer: &mut Lexer<'_>) -> Result<ListSelect> {
    let mut select = ListSelect::default();
    lexer.list(OPTIONS_MAX, |lexer| {
        match lexer.word()?.as_str() {
            "SUBSCRIBED" => select.subscribed = true,
            "REMOTE" => select.remote = true,
            "RECURSIVEMATCH" => select.recursive_match = true,
            "SPECIAL-USE" => select.special_use = true,
            _ => return Err(CommandError::Syntax("not a selection option of this server")),
        }
        Ok(())
    })?;
    // RFC 9051 section 6.3.9.1: RECURSIVEMATCH is not a criterion of its own, nor is REMOTE.
    if select.recursive_match && !select.subscribed && !select.special_use {
        return Err(CommandError::Syntax("RECURSIVEMATCH needs another selection option"));
    }
    Ok(select)
}

fn list_return(lexer: &mut Lexer<'_>, returns: &mut ListReturn) -> Result<()> {
    lexer.list(OPTIONS_MAX, |lexer| {
        match lexer.word()?.as_str() {
            "SUBSCRIBED" => returns.subscribed = true,
            "CHILDREN" => returns.children = true,
            "SPECIAL-USE" => returns.special_use = true,
            "STATUS" => {
                lexer.sp()?;
                returns.status = status_items(lexer)?;
            }
            _ => return Err(CommandError::Syntax("not a return option of this server")),
        }
        Ok(())
    })?;
    Ok(())
}

fn reference(lexer: &mut Lexer<'_>) -> Result<String> {
    let octets = lexer.astring()?;
    pattern_text(&octets, lexer.utf8())
}

fn pattern(lexer: &mut Lexer<'_>) -> Result<String> {
    let octets = lexer.list_mailbox()?;
    pattern_text(&octets, lexer.utf8())
}

/// What is not encoded properly names no mailbox; it stays as it is.
fn pattern_text(octets: &[u8], utf8: bool) -> Result<String> {
    if octets.len() > PATTERN_OCTETS_MAX {
        return Err(CommandError::Limit("the pattern is too long"));
    }
    let text = match decode_text(octets, utf8) {
        Some(text) => text.into_owned(),
        None => String::from_utf8_lossy(octets).into_owned(),
    };
    if text.bytes().filter(|octet| matches!(octet, b'*' | b'%')).count() > WILDCARDS_MAX {
        return Err(CommandError::Limit("the pattern has too many wildcards"));
    }
    Ok(text)
}

/// `status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"`
pub(super) fn status(lexer: &mut Lexer<'_>) -> Result<Request> {
    lexer.sp()?;
    let mailbox = lexer.mailbox()?;
    lexer.sp()?;
    let items = status_items(lexer)?;
    lexer.end()?;
    Ok(Request::Status { mailbox, items })
}

fn status_items(lexer: &mut Lexer<'_>) -> Result<Vec<StatusItem>> {
    let mut items = Vec::new();
    lexer.list(2 * StatusItem::ALL.len(), |lexer| {
        let item = StatusItem::parse(lexer.atom()?);
        let item = item.ok_or(CommandError::Syntax("not a STATUS item of this server"))?;
        if !items.contains(&item) {
            items.push(item);
        }
        Ok(())
    })?;
    if items.is_empty() { Err(CommandError::Syntax("STATUS items are missing")) } else { Ok(items) }
}

pub(super) fn get_quota(lexer: &mut Lexer<'_>) -> Result<Request> {
    lexer.sp()?;
    let root = lexer.text()?;
    lexer.end()?;
    Ok(Request::GetQuota(root))
}

/// `setquota = "SETQUOTA" SP quota-root-name SP setquota-list` (RFC 9208 section 6)
pub(super) fn set_quota(lexer: &mut Lexer<'_>) -> Result<Request> {
    lexer.sp()?;
    let root = lexer.text()?;
    lexer.sp()?;
    let limits = lexer.list(RESOURCES_MAX, |lexer| {
        let resource = lexer.word()?;
        lexer.sp()?;
        Ok((resource, lexer.number64()?))
    })?;
    lexer.end()?;
    Ok(Request::SetQuota(root, limits))
}
