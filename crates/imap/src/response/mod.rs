//! What a server says.

mod completion;
mod render;
mod thread;
pub(crate) mod write;

use crate::command::Section;
use crate::value::{Flag, MailboxName, SystemFlags};

pub use completion::{Code, Completion, Status};
pub(crate) use render::path;
pub use render::{Mode, capability, continuation, enabled, goodbye, id, namespace, tagged};
pub use thread::Thread;

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
    /// What an empty pattern in LIST or LSUB asks for: the separator of the hierarchy, and no name.
    Separator {
        /// Asked by LSUB.
        lsub: bool,
    },
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

#[cfg(test)]
mod tests;
