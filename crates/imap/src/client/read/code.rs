//! Conditions and response codes (RFC 9051 section 7.1).

use super::cursor::Cursor;
use super::fetch::{flags, object_id};
use crate::response::{Code, Completion, Status};
use crate::value::Flag;

/// Octets of a text for people kept at most.
const TEXT_MAX: usize = 1000;

/// The status that stands in front.
pub(super) fn status(word: &[u8]) -> Option<Status> {
    [Status::Ok, Status::No, Status::Bad]
        .into_iter()
        .find(|status| word.eq_ignore_ascii_case(status.as_str().as_bytes()))
}

/// `[CODE] text`. A code that is not known here is left out.
pub(super) fn completion(status: Status, text: &[u8]) -> Completion {
    let text = text.trim_ascii_start();
    let (code, text) = match text.strip_prefix(b"[").and_then(split) {
        Some((code, text)) => (self::code(code), text.trim_ascii_start()),
        None => (None, text),
    };
    Completion { status, code, text: printable(text).into() }
}

/// Parts what stands in brackets from what follows. A bracket between quotes does not count.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, octet) in text.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b']' if !quoted => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Text for people, without what could control a terminal.
pub(super) fn printable(text: &[u8]) -> String {
    let text = text.get(..TEXT_MAX).unwrap_or(text);
    String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect()
}

fn code(text: &[u8]) -> Option<Code> {
    let mut cursor = Cursor::new(text);
    let name = cursor.word()?.to_ascii_uppercase();
    let _ = cursor.space();
    let code = match name.as_slice() {
        b"ALERT" => Code::Alert,
        b"ALREADYEXISTS" => Code::AlreadyExists,
        b"AUTHENTICATIONFAILED" => Code::AuthenticationFailed,
        b"AUTHORIZATIONFAILED" => Code::AuthorizationFailed,
        b"CANNOT" => Code::Cannot,
        b"CLIENTBUG" => Code::ClientBug,
        b"CLOSED" => Code::Closed,
        b"CONTACTADMIN" => Code::ContactAdmin,
        b"EXPUNGEISSUED" => Code::ExpungeIssued,
        b"NOMODSEQ" => Code::NoModSeq,
        b"HASCHILDREN" => Code::HasChildren,
        b"INUSE" => Code::InUse,
        b"LIMIT" => Code::Limit,
        b"NONEXISTENT" => Code::NonExistent,
        b"NOPERM" => Code::NoPerm,
        b"NOTSAVED" => Code::NotSaved,
        b"OVERQUOTA" => Code::OverQuota,
        b"PARSE" => Code::Parse,
        b"PRIVACYREQUIRED" => Code::PrivacyRequired,
        b"READ-ONLY" => Code::ReadOnly,
        b"READ-WRITE" => Code::ReadWrite,
        b"SERVERBUG" => Code::ServerBug,
        b"TOOBIG" => Code::TooBig,
        b"TRYCREATE" => Code::TryCreate,
        b"UIDNOTSTICKY" => Code::UidNotSticky,
        b"UNAVAILABLE" => Code::Unavailable,
        b"UNKNOWN-CTE" => Code::UnknownCte,
        b"USEATTR" => Code::UseAttr,
        b"APPENDUID" => {
            let validity = cursor.number()?;
            cursor.space()?;
            Code::AppendUid(validity, cursor.ranges()?)
        }
        b"COPYUID" => {
            let validity = cursor.number()?;
            cursor.space()?;
            let from = cursor.ranges()?;
            cursor.space()?;
            Code::CopyUid(validity, from, cursor.ranges()?)
        }
        b"BADCHARSET" if cursor.is_at_end() => Code::BadCharset(Vec::new()),
        b"BADCHARSET" => Code::BadCharset(cursor.texts()?.into_iter().map(Into::into).collect()),
        b"CAPABILITY" => Code::Capability(printable(cursor.rest).into()),
        b"HIGHESTMODSEQ" => Code::HighestModSeq(cursor.number()?),
        b"INPROGRESS" => Code::InProgress(in_progress(&mut cursor)),
        b"MAILBOXID" => Code::MailboxId(object_id(&mut cursor)?),
        b"MODIFIED" => Code::Modified(cursor.ranges()?),
        b"PERMANENTFLAGS" => {
            let new = memchr::memmem::find(cursor.rest, br"\*").is_some();
            let mut flags = flags(&mut cursor)?;
            flags.retain(|flag| !matches!(flag, Flag::Recent));
            Code::PermanentFlags(flags, new)
        }
        b"UIDNEXT" => Code::UidNext(cursor.number()?),
        b"UIDVALIDITY" => Code::UidValidity(cursor.number()?),
        b"UNSEEN" => Code::Unseen(cursor.number()?),
        _ => return None,
    };
    Some(code)
}

/// `("A001" 454 1000)`; the tag is not looked at.
fn in_progress(cursor: &mut Cursor<'_>) -> Option<(u64, Option<u64>)> {
    cursor.eat("(")?;
    cursor.nstring()?;
    cursor.space()?;
    let done = cursor.number()?;
    cursor.space()?;
    Some((done, cursor.number()))
}
