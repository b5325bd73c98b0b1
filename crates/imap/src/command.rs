//! What a client asks, as far as the session does not answer it itself.

use std::num::NonZeroU32;

use crate::response::StatusItem;
use crate::value::{Flag, MailboxName, NumberSet, Target};

/// A command for the owner of a session. It says what there is to say and then completes the command; see
/// [`Server`](crate::server::Server).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// SELECT or EXAMINE. Complete with [`Server::selected`](crate::server::Server::selected) or a refusal; a mailbox that
    /// was selected before is not any more, whatever the outcome.
    Select(Select),
    /// CREATE, with the special uses of RFC 6154 section 3.
    Create {
        /// Its name; a trailing separator is taken off already.
        mailbox: MailboxName,
        /// Wanted special uses, such as `\Sent`.
        special_use: Vec<String>,
    },
    /// DELETE.
    Delete(MailboxName),
    /// RENAME.
    Rename {
        /// From.
        from: MailboxName,
        /// To.
        to: MailboxName,
    },
    /// SUBSCRIBE.
    Subscribe(MailboxName),
    /// UNSUBSCRIBE.
    Unsubscribe(MailboxName),
    /// LIST in all its forms, and LSUB.
    List(List),
    /// STATUS.
    Status {
        /// Of which mailbox.
        mailbox: MailboxName,
        /// What is asked.
        items: Vec<StatusItem>,
    },
    /// GETQUOTA (RFC 9208).
    GetQuota(String),
    /// GETQUOTAROOT.
    GetQuotaRoot(MailboxName),
    /// SETQUOTA; root, and resources with their limits.
    SetQuota(String, Vec<(String, u64)>),
    /// NOOP or CHECK: say what is new, complete.
    Poll,
    /// IDLE began: say what is new now, and go on saying it as it comes, through [`Server::say`](crate::server::Server::say),
    /// as long as [`Server::is_idling`](crate::server::Server::is_idling). It is not completed by the owner.
    Idle,
    /// CLOSE: expunge if writable, without saying it. The mailbox is not selected any more when completed.
    Close,
    /// UNSELECT. The mailbox is not selected any more when completed.
    Unselect,
    /// EXPUNGE, or UID EXPUNGE of these.
    Expunge(Option<Target>),
    /// SEARCH.
    Search(Search),
    /// SORT (RFC 5256, 5267 is not offered).
    Sort {
        /// In which order.
        order: Vec<SortBy>,
        /// Of what.
        search: Search,
    },
    /// THREAD.
    Thread {
        /// How.
        algorithm: ThreadAlgorithm,
        /// Of what.
        search: Search,
    },
    /// FETCH.
    Fetch(Fetch),
    /// STORE.
    Store(Store),
    /// COPY or MOVE.
    Copy {
        /// Which.
        target: Target,
        /// To where.
        mailbox: MailboxName,
        /// MOVE (RFC 6851).
        and_remove: bool,
    },
}

impl Request {
    /// Whether EXPUNGE responses may be said before this command completes: not during FETCH, STORE and SEARCH with
    /// message numbers (RFC 9051 section 7.5.1).
    pub fn expunge_allowed(&self) -> bool {
        match self {
            Request::Fetch(fetch) => fetch.target.uid,
            Request::Store(store) => store.target.uid,
            Request::Search(search) | Request::Sort { search, .. } | Request::Thread { search, .. } => {
                search.uid
            }
            _ => true,
        }
    }
}

/// SELECT or EXAMINE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// Which.
    pub mailbox: MailboxName,
    /// EXAMINE: nothing may change.
    pub examine: bool,
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

/// SEARCH, and the part of SORT and THREAD that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Answer UIDs and not message numbers.
    pub uid: bool,
    /// What to find; texts are in UTF-8 already.
    pub key: SearchKey,
    /// `RETURN (...)` (RFC 4731, 5182, 9394); `None`: answer with a SEARCH response, or, to an IMAP4rev2 client, ESEARCH ALL.
    pub returns: Option<SearchReturn>,
}

/// RETURN options of SEARCH. None of them is ALL (RFC 4731 section 3.1), which the parser has set then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SearchReturn {
    /// MIN
    pub min: bool,
    /// MAX
    pub max: bool,
    /// ALL
    pub all: bool,
    /// COUNT
    pub count: bool,
    /// SAVE (RFC 5182)
    pub save: bool,
    /// PARTIAL (RFC 9394)
    pub partial: Option<Partial>,
}

/// `1:100`, or from the end `-1:-100`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    /// Counted from the end, the last result being 1.
    pub from_end: bool,
    /// First of them, counted from 1.
    pub first: NonZeroU32,
    /// Last of them; not less than `first`.
    pub last: NonZeroU32,
}

/// What SEARCH finds (RFC 9051 section 6.4.4). A tree of bounded depth and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchKey {
    /// ALL
    All,
    /// All of these.
    And(Vec<SearchKey>),
    /// OR
    Or(Box<SearchKey>, Box<SearchKey>),
    /// NOT
    Not(Box<SearchKey>),
    /// A sequence set, UID, or `$`.
    Messages(Target),
    /// ANSWERED, SEEN, KEYWORD ...; NEW, OLD, UNSEEN ... are made of these.
    Flag(Flag),
    /// A header field contains the text; with an empty text: has the field. FROM, TO, CC, BCC and SUBJECT are these.
    Header {
        /// Field name.
        name: String,
        /// Text.
        text: String,
    },
    /// BODY
    Body(String),
    /// TEXT
    Text(String),
    /// BEFORE, ON, SINCE: internal date, disregarding time and zone.
    Internal(DateTest),
    /// SENTBEFORE, SENTON, SENTSINCE: the Date field, disregarding time and zone.
    Sent(DateTest),
    /// SAVEDBEFORE, SAVEDON, SAVEDSINCE (RFC 8514).
    Saved(DateTest),
    /// SAVEDATESUPPORTED
    SaveDateSupported,
    /// LARGER
    Larger(u64),
    /// SMALLER
    Smaller(u64),
    /// OLDER (RFC 5032), seconds.
    Older(NonZeroU32),
    /// YOUNGER, seconds.
    Younger(NonZeroU32),
    /// MODSEQ (RFC 7162)
    ModSeq(u64),
    /// EMAILID (RFC 8474)
    EmailId(String),
    /// THREADID
    ThreadId(String),
}

/// A date without time, compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateTest {
    /// Earlier than this day.
    Before(Day),
    /// On this day.
    On(Day),
    /// On this day or later.
    Since(Day),
}

/// Days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i32);

/// One criterion of SORT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortBy {
    /// REVERSE
    pub reverse: bool,
    /// What is compared.
    pub key: SortKey,
}

/// What SORT compares (RFC 5256, 5957).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    /// ARRIVAL
    Arrival,
    /// CC
    Cc,
    /// DATE
    Date,
    /// FROM
    From,
    /// SIZE
    Size,
    /// SUBJECT
    Subject,
    /// TO
    To,
    /// DISPLAYFROM
    DisplayFrom,
    /// DISPLAYTO
    DisplayTo,
}

/// How THREAD makes threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadAlgorithm {
    /// ORDEREDSUBJECT
    OrderedSubject,
    /// REFERENCES
    References,
}

/// FETCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Of which messages.
    pub target: Target,
    /// What.
    pub items: Vec<FetchItem>,
    /// CHANGEDSINCE (RFC 7162 section 3.1.4.1)
    pub changed_since: Option<u64>,
    /// VANISHED, with CHANGEDSINCE.
    pub vanished: bool,
    /// PARTIAL (RFC 9394 section 3.3)
    pub partial: Option<Partial>,
}

/// What FETCH asks of each message. Macros are expanded; UID FETCH has [`FetchItem::Uid`] added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// FLAGS
    Flags,
    /// UID
    Uid,
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Size,
    /// ENVELOPE
    Envelope,
    /// BODY
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// MODSEQ
    ModSeq,
    /// EMAILID
    EmailId,
    /// THREADID
    ThreadId,
    /// SAVEDATE
    SaveDate,
    /// PREVIEW, LAZY or not.
    Preview {
        /// Only if it costs nothing.
        lazy: bool,
    },
    /// Octets of the message or of a part of it.
    Section(Section),
    /// BINARY.SIZE of this part.
    BinarySize(Vec<u32>),
}

/// `BODY.PEEK[1.2.HEADER.FIELDS (Subject)]<0.100>` and the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Which item asks for it.
    pub item: SectionItem,
    /// Whether `\Seen` is left as it is.
    pub peek: bool,
    /// Part numbers; empty: the message itself.
    pub path: Vec<u32>,
    /// What of the part.
    pub text: SectionText,
    /// From which octet on, and how many at most.
    pub partial: Option<(u64, u64)>,
}

/// The item a section was asked by, which its answer is named after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionItem {
    /// `BODY[...]`
    Body,
    /// `BINARY[...]` (RFC 3516): transfer encoding undone.
    Binary,
    /// `RFC822`
    Rfc822,
    /// `RFC822.HEADER`
    Rfc822Header,
    /// `RFC822.TEXT`
    Rfc822Text,
}

/// What of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionText {
    /// All of it.
    Whole,
    /// HEADER
    Header,
    /// HEADER.FIELDS
    Fields(Vec<String>),
    /// HEADER.FIELDS.NOT
    FieldsNot(Vec<String>),
    /// TEXT
    Text,
    /// MIME
    Mime,
}

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
