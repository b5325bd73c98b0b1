//! What a server says.

use crate::command::Section;
use crate::value::{Flag, MailboxName, SystemFlags};

/// An untagged response, or several of a kind. FETCH, the bulk of what is said, is written by
/// [`FetchWriter`](crate::server::FetchWriter) without being made into a value first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// `* n EXISTS`
    Exists(u32),
    /// `* n RECENT`; not said to IMAP4rev2 clients.
    Recent(u32),
    /// `* n EXPUNGE`
    Expunge(u32),
    /// `* VANISHED` (RFC 7162): ascending ranges of UIDs.
    Vanished {
        /// `(EARLIER)`
        earlier: bool,
        /// Which.
        uids: Vec<(u32, u32)>,
    },
    /// `* FLAGS`
    Flags(Vec<Flag>),
    /// `* LIST`
    List(Listed),
    /// `* LSUB`
    Lsub(Listed),
    /// `* STATUS`
    Status(MailboxName, Vec<(StatusItem, StatusValue)>),
    /// `* SEARCH`, with the highest MODSEQ among them where the search asked.
    Search(Vec<u32>, Option<u64>),
    /// `* ESEARCH`; the session adds the tag.
    Esearch(Esearch),
    /// `* SORT`
    Sort(Vec<u32>, Option<u64>),
    /// `* THREAD`
    Thread(Vec<Thread>),
    /// `* QUOTA`: root, and resource, usage, limit.
    Quota(String, Vec<(&'static str, u64, u64)>),
    /// `* QUOTAROOT`
    QuotaRoot(MailboxName, Vec<String>),
    /// `* OK`, `* NO` or `* BAD` with a code and text.
    Condition(Completion),
}

/// A mailbox in LIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub mailbox: MailboxName,
    /// `\HasChildren`, `\Sent` and so on, with the backslash.
    pub attributes: Vec<&'static str>,
    /// CHILDINFO (RFC 5258): `SUBSCRIBED`.
    pub child_info: Vec<&'static str>,
    /// OLDNAME (RFC 9051 section 6.3.9.7).
    pub old_name: Option<MailboxName>,
}

/// What STATUS tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusItem {
    /// MESSAGES
    Messages,
    /// RECENT
    Recent,
    /// UIDNEXT
    UidNext,
    /// UIDVALIDITY
    UidValidity,
    /// UNSEEN
    Unseen,
    /// DELETED
    Deleted,
    /// SIZE (RFC 8438)
    Size,
    /// HIGHESTMODSEQ
    HighestModSeq,
    /// MAILBOXID (RFC 8474)
    MailboxId,
    /// APPENDLIMIT (RFC 7889)
    AppendLimit,
    /// DELETED-STORAGE (RFC 9208)
    DeletedStorage,
}

/// Its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusValue {
    /// A number.
    Number(u64),
    /// An object id.
    Id(String),
    /// NIL
    Nil,
}

/// ESEARCH (RFC 4731, 9394).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Esearch {
    /// Numbers are UIDs.
    pub uid: bool,
    /// MIN
    pub min: Option<u32>,
    /// MAX
    pub max: Option<u32>,
    /// ALL: ranges; in a SORT they are as sorted. `Some` of nothing is not said.
    pub all: Option<Vec<(u32, u32)>>,
    /// COUNT
    pub count: Option<u32>,
    /// PARTIAL: the range asked for, and the results in it.
    pub partial: Option<(crate::command::Partial, Vec<(u32, u32)>)>,
    /// MODSEQ
    pub modseq: Option<u64>,
}

/// A thread (RFC 5256 section 4): a message and what answers it; `None` for a parent that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Number or UID.
    pub message: Option<u32>,
    /// Answers.
    pub children: Vec<Thread>,
}

/// How a command ended, or what a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// OK, NO or BAD.
    pub status: Status,
    /// The response code.
    pub code: Option<Code>,
    /// For people.
    pub text: std::borrow::Cow<'static, str>,
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
    pub fn no(code: impl Into<Option<Code>>, text: impl Into<std::borrow::Cow<'static, str>>) -> Completion {
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
    /// APPENDUID: validity, UIDs.
    AppendUid(u32, Vec<(u32, u32)>),
    /// COPYUID: validity, from, to.
    CopyUid(u32, Vec<(u32, u32)>, Vec<(u32, u32)>),
    /// CANNOT
    Cannot,
    /// CLIENTBUG
    ClientBug,
    /// CLOSED
    Closed,
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

/// What names a section's octets in a FETCH response.
#[derive(Debug, Clone, Copy)]
pub struct SectionLabel<'a>(pub &'a Section);

/// Flags of a message as FETCH says them.
#[derive(Debug, Clone, Copy)]
pub struct FlagsOf<'a> {
    /// System flags.
    pub system: SystemFlags,
    /// `\Recent`
    pub recent: bool,
    /// Keywords.
    pub keywords: &'a [&'a str],
}
