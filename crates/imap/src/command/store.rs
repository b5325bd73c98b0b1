//! STORE, COPY, MOVE and EXPUNGE.

use super::lexer::{Lexer, Result};
use super::{CommandError, Request};
use crate::value::{Flag, Target};

/// Flags in one list at most.
pub(super) const FLAGS_MAX: usize = 200;

/// STORE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Of which messages.
    pub target: Target,
    /// How.
    pub change: FlagChange,
    /// Which flags; never `\Recent`.
    pub flags: Vec<Flag>,
    /// `.SILENT`
    pub silent: bool,
    /// UNCHANGEDSINCE (RFC 7162 section 3.1.3)
    pub unchanged_since: Option<u64>,
}

/// How STORE changes flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagChange {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// `store = "STORE" SP sequence-set [SP "(" store-modifier ")"] SP store-att-flags` (RFC 7162 section 7)
pub(super) fn store(lexer: &mut Lexer<'_>, uid: bool) -> Result<Request> {
    lexer.sp()?;
    let target = lexer.target(uid)?;
    lexer.sp()?;
    let mut unchanged_since = None;
    if lexer.peek() == Some(b'(') {
        lexer.list(1, |lexer| {
            if lexer.word()? != "UNCHANGEDSINCE" {
                return Err(CommandError::Syntax("not a STORE modifier of this server"));
            }
            lexer.sp()?;
            unchanged_since = Some(lexer.number64()?);
            Ok(())
        })?;
        lexer.sp()?;
    }
    let change = match lexer.peek() {
        Some(b'+') => FlagChange::Add,
        Some(b'-') => FlagChange::Remove,
        _ => FlagChange::Replace,
    };
    if change != FlagChange::Replace {
        lexer.eat(b'+');
        lexer.eat(b'-');
    }
    let silent = match lexer.word()?.as_str() {
        "FLAGS" => false,
        "FLAGS.SILENT" => true,
        _ => return Err(CommandError::Syntax("only flags can be stored")),
    };
    lexer.sp()?;
    let flags = if lexer.peek() == Some(b'(') { flag_list(lexer)? } else { bare_flags(lexer)? };
    lexer.end()?;
    Ok(Request::Store(Store { target, change, flags, silent, unchanged_since }))
}

/// Flags in parentheses. `\Recent`, which clients cannot change but copy along, is left out.
pub(super) fn flag_list(lexer: &mut Lexer<'_>) -> Result<Vec<Flag>> {
    let mut flags = lexer.list(FLAGS_MAX, Lexer::flag)?;
    flags.retain(|flag| *flag != Flag::Recent);
    Ok(flags)
}

/// `flag *(SP flag)`
fn bare_flags(lexer: &mut Lexer<'_>) -> Result<Vec<Flag>> {
    let mut flags = vec![lexer.flag()?];
    while lexer.end().is_err() {
        lexer.sp()?;
        if flags.len() == FLAGS_MAX {
            return Err(CommandError::Limit("too many flags"));
        }
        flags.push(lexer.flag()?);
    }
    flags.retain(|flag| *flag != Flag::Recent);
    Ok(flags)
}

/// `copy = "COPY" SP sequence-set SP mailbox`; MOVE is the same (RFC 6851 section 5).
pub(super) fn copy(lexer: &mut Lexer<'_>, uid: bool, and_remove: bool) -> Result<Request> {
    lexer.sp()?;
    let target = lexer.target(uid)?;
    lexer.sp()?;
    let mailbox = lexer.mailbox()?;
    lexer.end()?;
    Ok(Request::Copy { target, mailbox, and_remove })
}

/// `uid-expunge = "UID" SP "EXPUNGE" SP sequence-set` (RFC 4315 section 2.1)
pub(super) fn uid_expunge(lexer: &mut Lexer<'_>) -> Result<Request> {
    lexer.sp()?;
    let target = lexer.target(true)?;
    lexer.end()?;
    Ok(Request::Expunge(Some(target)))
}
