//! What a server says, as values.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::command::Section;
use crate::response::{Completion, Esearch, StatusItem, StatusValue, Thread};
use crate::value::Flag;

/// An untagged response other than FETCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untagged {
    /// `* OK`, `* NO` or `* BAD`.
    Condition(Completion),
    /// `* PREAUTH`
    PreAuth(Completion),
    /// `* BYE`
    Bye(Completion),
    /// `* CAPABILITY`
    Capability(Vec<String>),
    /// `* ENABLED`
    Enabled(Vec<String>),
    /// `* ID`: fields and their values.
    Id(Vec<(String, Option<String>)>),
    /// `* NAMESPACE`: one's own, other users', shared ones.
    Namespace([Vec<Namespace>; 3]),
    /// `* LIST`
    List(Listing),
    /// `* LSUB`
    Lsub(Listing),
    /// `* STATUS`; items that are not known here are left out.
    Status(RemoteName, Vec<(StatusItem, StatusValue)>),
    /// `* FLAGS`
    Flags(Vec<Flag>),
    /// `* n EXISTS`
    Exists(u32),
    /// `* n RECENT`
    Recent(u32),
    /// `* n EXPUNGE`
    Expunge(u32),
    /// `* VANISHED`
    Vanished {
        /// `(EARLIER)`
        earlier: bool,
        /// UIDs in ranges.
        uids: Vec<(u32, u32)>,
    },
    /// `* SEARCH`, and the highest MODSEQ.
    Search(Vec<u32>, Option<u64>),
    /// `* SORT`, and the highest MODSEQ.
    Sort(Vec<u32>, Option<u64>),
    /// `* ESEARCH`, and the tag of the command it answers.
    Esearch(Option<String>, Esearch),
    /// `* THREAD`
    Thread(Vec<Thread>),
    /// `* QUOTA`: root, and resource, usage, limit.
    Quota(String, Vec<(String, u64, u64)>),
    /// `* QUOTAROOT`
    QuotaRoot(RemoteName, Vec<String>),
    /// Something else, or one of these in a form that cannot be read: its beginning.
    Other(String),
}

/// A mailbox's name as a server writes it. It goes back to it just so, whatever it may mean.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteName(Bytes);

impl RemoteName {
    /// A name in the form of this server.
    pub fn new(octets: impl Into<Bytes>) -> RemoteName {
        RemoteName(octets.into())
    }

    /// The name as it came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for RemoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// A prefix of a namespace, and the separator in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// What names in it begin with.
    pub prefix: RemoteName,
    /// Stands between levels; none if there are no levels.
    pub separator: Option<char>,
}

/// A mailbox in LIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Its name.
    pub mailbox: RemoteName,
    /// Stands between levels; none if there are no levels.
    pub separator: Option<char>,
    /// `\HasChildren`, `\Sent` and so on, with the backslash, as the server writes them.
    pub attributes: Vec<String>,
    /// CHILDINFO
    pub child_info: Vec<String>,
    /// OLDNAME
    pub old_name: Option<RemoteName>,
}

impl Listing {
    /// Whether it has this attribute, in whatever case.
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|own| own.eq_ignore_ascii_case(attribute))
    }

    /// Whether it can be selected.
    pub fn is_selectable(&self) -> bool {
        !self.has("\\Noselect") && !self.has("\\NonExistent")
    }
}

/// What a FETCH response told of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The message number; the UID if the response is UIDFETCH (RFC 9586).
    pub number: u32,
    /// UID
    pub uid: Option<u32>,
    /// FLAGS; those that are no flags by the grammar are left out.
    pub flags: Option<Vec<Flag>>,
    /// INTERNALDATE, microseconds since the epoch.
    pub internal_date: Option<i64>,
    /// RFC822.SIZE
    pub size: Option<u64>,
    /// MODSEQ
    pub mod_seq: Option<u64>,
    /// EMAILID
    pub email_id: Option<String>,
    /// THREADID; `Some(None)` is NIL.
    pub thread_id: Option<Option<String>>,
    /// SAVEDATE; `Some(None)` is NIL.
    pub save_date: Option<Option<i64>>,
    /// PREVIEW; `Some(None)` is NIL.
    pub preview: Option<Option<String>>,
    /// ENVELOPE
    pub envelope: Option<Box<Envelope>>,
    /// BODY
    pub body: Option<Box<Data>>,
    /// BODYSTRUCTURE
    pub body_structure: Option<Box<Data>>,
    /// Sections and how many octets each had, which came before; `None` is NIL. Of a partial the origin is told and as
    /// many octets as came.
    pub sections: Vec<(Section, Option<u64>)>,
    /// BINARY.SIZE
    pub binary_sizes: Vec<(Vec<u32>, u64)>,
}

/// ENVELOPE (RFC 9051 section 7.5.2); values as the server has them, not decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // they are the fields of a header
pub struct Envelope {
    pub date: Option<Bytes>,
    pub subject: Option<Bytes>,
    pub from: Vec<Address>,
    pub sender: Vec<Address>,
    pub reply_to: Vec<Address>,
    pub to: Vec<Address>,
    pub cc: Vec<Address>,
    pub bcc: Vec<Address>,
    pub in_reply_to: Option<Bytes>,
    pub message_id: Option<Bytes>,
}

/// An address in an envelope, or one end of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// Display name.
    pub name: Option<Bytes>,
    /// Route.
    pub route: Option<Bytes>,
    /// Local part, or a group's name; absent at a group's end.
    pub mailbox: Option<Bytes>,
    /// Domain; absent at both ends of a group.
    pub host: Option<Bytes>,
}

/// Something between spaces and parentheses, of which no more is known. BODYSTRUCTURE is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// NIL
    Nil,
    /// A string.
    Text(Bytes),
    /// A number, an atom or a flag.
    Word(Bytes),
    /// A list.
    List(Vec<Data>),
}

impl Data {
    /// The items of a list; none of what is no list.
    pub fn items(&self) -> &[Data] {
        match self {
            Data::List(items) => items,
            _ => &[],
        }
    }

    /// A string or word as text.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Data::Text(text) | Data::Word(text) => Some(String::from_utf8_lossy(text)),
            Data::Nil | Data::List(_) => None,
        }
    }
}
