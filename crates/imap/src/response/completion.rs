//! How commands end.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use crate::response::{Mode, write};
use crate::value::Flag;

/// How a command ended, or what a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// OK, NO or BAD.
    pub status: Status,
    /// The response code.
    pub code: Option<Code>,
    /// For people.
    pub text: Cow<'static, str>,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Not done.
    No,
    /// Not understood.
    Bad,
}

impl Completion {
    /// Done.
    pub fn ok(text: &'static str) -> Completion {
        Completion { status: Status::Ok, code: None, text: text.into() }
    }

    /// Not done, with a reason.
    pub fn no(code: impl Into<Option<Code>>, text: impl Into<Cow<'static, str>>) -> Completion {
        Completion { status: Status::No, code: code.into(), text: text.into() }
    }

    /// With this code.
    #[must_use]
    pub fn with(self, code: Code) -> Completion {
        Completion { code: Some(code), ..self }
    }
}

/// Response codes (RFC 9051 section 7.1, 5530, 4315, 7162 ...). UID lists are ranges in the order they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// ALERT
    Alert,
    /// ALREADYEXISTS
    AlreadyExists,
    /// AUTHENTICATIONFAILED
    AuthenticationFailed,
    /// AUTHORIZATIONFAILED
    AuthorizationFailed,
    /// APPENDUID: validity, UIDs.
    AppendUid(u32, Vec<(u32, u32)>),
    /// BADCHARSET: which there are.
    BadCharset(Vec<Cow<'static, str>>),
    /// CAPABILITY: words with spaces between them.
    Capability(Cow<'static, str>),
    /// COPYUID: validity, from, to.
    CopyUid(u32, Vec<(u32, u32)>, Vec<(u32, u32)>),
    /// CANNOT
    Cannot,
    /// CLIENTBUG
    ClientBug,
    /// CLOSED
    Closed,
    /// COMPRESSIONACTIVE (RFC 4978)
    CompressionActive,
    /// CONTACTADMIN
    ContactAdmin,
    /// EXPUNGEISSUED
    ExpungeIssued,
    /// HIGHESTMODSEQ
    HighestModSeq(u64),
    /// NOMODSEQ
    NoModSeq,
    /// HASCHILDREN
    HasChildren,
    /// INPROGRESS (RFC 9585): done, of how many. The session adds the tag.
    InProgress(Option<(u64, Option<u64>)>),
    /// INUSE
    InUse,
    /// LIMIT
    Limit,
    /// MAILBOXID
    MailboxId(String),
    /// MODIFIED (RFC 7162): numbers or UIDs that failed.
    Modified(Vec<(u32, u32)>),
    /// NONEXISTENT
    NonExistent,
    /// NOPERM
    NoPerm,
    /// NOTSAVED (RFC 5182)
    NotSaved,
    /// OVERQUOTA
    OverQuota,
    /// PARSE
    Parse,
    /// PERMANENTFLAGS, and whether new keywords may be made (`\*`).
    PermanentFlags(Vec<Flag>, bool),
    /// PRIVACYREQUIRED
    PrivacyRequired,
    /// READ-ONLY
    ReadOnly,
    /// READ-WRITE
    ReadWrite,
    /// SERVERBUG
    ServerBug,
    /// TOOBIG
    TooBig,
    /// TRYCREATE
    TryCreate,
    /// UIDNEXT
    UidNext(u32),
    /// UIDNOTSTICKY
    UidNotSticky,
    /// UIDVALIDITY
    UidValidity(u32),
    /// UNAVAILABLE
    Unavailable,
    /// UNKNOWN-CTE (RFC 3516)
    UnknownCte,
    /// UNSEEN (RFC 3501): number of the first unseen message.
    Unseen(u32),
    /// USEATTR (RFC 6154)
    UseAttr,
}

impl Status {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::No => "NO",
            Status::Bad => "BAD",
        }
    }
}

impl Completion {
    /// `OK [CODE] text`, without tag and line end.
    pub(super) fn render(&self, mode: &Mode<'_>, out: &mut BytesMut) {
        out.extend_from_slice(self.status.as_str().as_bytes());
        out.put_u8(b' ');
        self.render_text(mode, out);
    }

    /// `[CODE] text`
    pub(super) fn render_text(&self, mode: &Mode<'_>, out: &mut BytesMut) {
        if let Some(code) = &self.code {
            let start = out.len();
            out.put_u8(b'[');
            if code.render(mode, out) {
                out.extend_from_slice(b"] ");
            } else {
                out.truncate(start);
            }
        }
        // RFC 3501 has no empty text, and one that begins with a bracket would be a code.
        if self.text.is_empty() || self.text.starts_with('[') {
            out.put_u8(b'.');
        }
        write::text(&self.text, mode.utf8_strings(), out);
    }
}

impl Code {
    /// The code without brackets; whether there was anything to say.
    fn render(&self, mode: &Mode<'_>, out: &mut BytesMut) -> bool {
        let name = self.name();
        out.extend_from_slice(name.as_bytes());
        if let Some((uid, sets)) = self.uids() {
            if let Some(validity) = uid {
                out.put_u8(b' ');
                write::number(validity, out);
            }
            for set in sets.into_iter().flatten() {
                out.put_u8(b' ');
                write::ranges(set, out);
                if set.is_empty() {
                    return false;
                }
            }
            return true;
        }
        match self {
            Code::UidNext(n) | Code::UidValidity(n) | Code::Unseen(n) => {
                out.put_u8(b' ');
                write::number(*n, out);
            }
            Code::HighestModSeq(n) => {
                out.put_u8(b' ');
                write::number(*n, out);
            }
            Code::Capability(words) => {
                out.put_u8(b' ');
                write::text(words, false, out);
            }
            Code::BadCharset(names) if !names.is_empty() => {
                out.put_u8(b' ');
                write::list(names, out, |name, out| write::astring(name.as_bytes(), false, out));
            }
            Code::MailboxId(id) => {
                out.extend_from_slice(b" (");
                out.extend_from_slice(id.as_bytes());
                out.put_u8(b')');
            }
            Code::PermanentFlags(flags, new) => {
                let new = if *new { Some("\\*") } else { None };
                out.put_u8(b' ');
                write::list(flags.iter().map(Flag::as_str).chain(new), out, |flag, out| {
                    out.extend_from_slice(flag.as_bytes());
                });
            }
            Code::InProgress(progress) => in_progress(*progress, mode, out),
            _ => {}
        }
        true
    }

    /// The UID validity and sets of codes that are made of them.
    #[allow(clippy::type_complexity)]
    fn uids(&self) -> Option<(Option<u32>, [Option<&[(u32, u32)]>; 2])> {
        match self {
            Code::AppendUid(validity, uids) => Some((Some(*validity), [Some(uids), None])),
            Code::CopyUid(validity, from, to) => Some((Some(*validity), [Some(from), Some(to)])),
            Code::Modified(set) => Some((None, [Some(set), None])),
            _ => None,
        }
    }

    /// Its first word.
    pub fn name(&self) -> &'static str {
        match self {
            Code::Alert => "ALERT",
            Code::AlreadyExists => "ALREADYEXISTS",
            Code::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Code::AuthorizationFailed => "AUTHORIZATIONFAILED",
            Code::AppendUid(..) => "APPENDUID",
            Code::BadCharset(_) => "BADCHARSET",
            Code::Capability(_) => "CAPABILITY",
            Code::CopyUid(..) => "COPYUID",
            Code::Cannot => "CANNOT",
            Code::ClientBug => "CLIENTBUG",
            Code::Closed => "CLOSED",
            Code::CompressionActive => "COMPRESSIONACTIVE",
            Code::ContactAdmin => "CONTACTADMIN",
            Code::ExpungeIssued => "EXPUNGEISSUED",
            Code::HighestModSeq(_) => "HIGHESTMODSEQ",
            Code::NoModSeq => "NOMODSEQ",
            Code::HasChildren => "HASCHILDREN",
            Code::InProgress(_) => "INPROGRESS",
            Code::InUse => "INUSE",
            Code::Limit => "LIMIT",
            Code::MailboxId(_) => "MAILBOXID",
            Code::Modified(_) => "MODIFIED",
            Code::NonExistent => "NONEXISTENT",
            Code::NoPerm => "NOPERM",
            Code::NotSaved => "NOTSAVED",
            Code::OverQuota => "OVERQUOTA",
            Code::Parse => "PARSE",
            Code::PermanentFlags(..) => "PERMANENTFLAGS",
            Code::PrivacyRequired => "PRIVACYREQUIRED",
            Code::ReadOnly => "READ-ONLY",
            Code::ReadWrite => "READ-WRITE",
            Code::ServerBug => "SERVERBUG",
            Code::TooBig => "TOOBIG",
            Code::TryCreate => "TRYCREATE",
            Code::UidNext(_) => "UIDNEXT",
            Code::UidNotSticky => "UIDNOTSTICKY",
            Code::UidValidity(_) => "UIDVALIDITY",
            Code::Unavailable => "UNAVAILABLE",
            Code::UnknownCte => "UNKNOWN-CTE",
            Code::Unseen(_) => "UNSEEN",
            Code::UseAttr => "USEATTR",
        }
    }
}

/// RFC 9585 section 4: ` ("A001" 454 1000)`.
fn in_progress(progress: Option<(u64, Option<u64>)>, mode: &Mode<'_>, out: &mut BytesMut) {
    let or_nil = |value: Option<u64>, out: &mut BytesMut| {
        out.put_u8(b' ');
        match value {
            Some(value) => write::number(value, out),
            None => out.extend_from_slice(b"NIL"),
        }
    };
    out.extend_from_slice(b" (");
    match mode.tag {
        "" => out.extend_from_slice(b"NIL"),
        tag => write::string(tag.as_bytes(), false, out),
    }
    or_nil(progress.map(|(done, _)| done), out);
    // "nz-number": a goal of nothing is not known.
    or_nil(progress.and_then(|(_, goal)| goal.filter(|&goal| goal > 0)), out);
    out.put_u8(b')');
}
