//! What a client asks.

pub(crate) mod append;
mod date;
mod fetch;
pub(crate) mod lexer;
mod login;
mod mailbox;
mod search;
mod store;

use packetboat_wire::Secret;
use thiserror::Error;

use crate::response::StatusItem;
use crate::value::{MailboxName, NameError, Target};
use lexer::Lexer;

pub use fetch::{Fetch, FetchItem, Section, SectionItem, SectionText};
pub use login::ClientId;
pub use mailbox::{List, ListReturn, ListSelect, Qresync, Select};
pub use search::{
    DateTest, Day, Partial, SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX, SEARCH_TEXT_MAX, Search, SearchKey,
    SearchReturn, SortBy, SortKey, ThreadAlgorithm,
};
pub use store::{FlagChange, Store};

/// Octets of a tag at most.
pub const TAG_MAX: usize = 128;

/// A command as it is written, without its tag. APPEND and REPLACE are not among them: they are never there as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// CAPABILITY
    Capability,
    /// NOOP
    Noop,
    /// LOGOUT
    Logout,
    /// ID (RFC 2971)
    Id(Option<ClientId>),
    /// STARTTLS
    StartTls,
    /// AUTHENTICATE
    Authenticate {
        /// Name of the mechanism, in capitals.
        mechanism: String,
        /// The initial response (RFC 4959), in base64 or `=`.
        initial: Option<Secret<String>>,
    },
    /// LOGIN
    Login {
        /// As the client sent it.
        name: String,
        /// As the client sent it.
        password: Secret<String>,
    },
    /// ENABLE, with words in capitals.
    Enable(Vec<String>),
    /// NAMESPACE (RFC 2342)
    Namespace,
    /// COMPRESS DEFLATE (RFC 4978)
    Compress,
    /// IDLE (RFC 2177)
    Idle,
    /// CHECK
    Check,
    /// What the owner of a session answers.
    Request(Box<Request>),
}

/// Why a command cannot be carried out as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommandError {
    /// No such command.
    #[error("unknown command")]
    Unknown,
    /// Not as the grammar has it; the text tells where.
    #[error("{0}")]
    Syntax(&'static str),
    /// Larger than is allowed here.
    #[error("{0}")]
    Limit(&'static str),
    /// A charset that is not known here.
    #[error("unknown charset")]
    Charset,
    /// What stands for a mailbox is no name of one.
    #[error(transparent)]
    Mailbox(NameError),
    /// It ends in the middle of a literal.
    #[error("the command is not complete")]
    Incomplete,
}

/// The tag in front of a command, and the rest of the line. `None` if there is none that could be answered with.
pub fn split_tag(line: &[u8]) -> Option<(&str, &[u8])> {
    // `tag = 1*<any ASTRING-CHAR except "+">`
    let tag_char = |octet: u8| (crate::value::is_atom_char(octet) || octet == b']') && octet != b'+';
    let end = line.iter().take(TAG_MAX + 1).position(|octet| !tag_char(*octet)).unwrap_or(line.len());
    let (tag, rest) = line.split_at(end);
    let tag = std::str::from_utf8(tag).ok().filter(|tag| !tag.is_empty() && tag.len() <= TAG_MAX)?;
    match rest {
        [] => Some((tag, rest)),
        [b' ', rest @ ..] => Some((tag, rest)),
        _ => None,
    }
}

impl Command {
    /// Reads a command, with its literals where they came and without its tag and last line end. `utf8` tells that
    /// mailbox names are in UTF-8.
    pub fn parse(text: &[u8], utf8: bool) -> Result<Command, CommandError> {
        let mut lexer = Lexer::new(text, utf8);
        let lexer = &mut lexer;
        let word = lexer.word().map_err(|_| CommandError::Unknown)?;
        let request = match word.as_str() {
            "CAPABILITY" => return alone(lexer, Command::Capability),
            "NOOP" => return alone(lexer, Command::Noop),
            "LOGOUT" => return alone(lexer, Command::Logout),
            "STARTTLS" => return alone(lexer, Command::StartTls),
            "NAMESPACE" => return alone(lexer, Command::Namespace),
            "IDLE" => return alone(lexer, Command::Idle),
            "CHECK" => return alone(lexer, Command::Check),
            "ID" => return login::id(lexer),
            "AUTHENTICATE" => return login::authenticate(lexer),
            "LOGIN" => return login::login(lexer),
            "ENABLE" => return login::enable(lexer),
            "COMPRESS" => return login::compress(lexer),
            "SELECT" => mailbox::select(lexer, false)?,
            "EXAMINE" => mailbox::select(lexer, true)?,
            "CREATE" => mailbox::create(lexer)?,
            "DELETE" => Request::Delete(mailbox::mailbox(lexer)?),
            "RENAME" => mailbox::rename(lexer)?,
            "SUBSCRIBE" => Request::Subscribe(mailbox::mailbox(lexer)?),
            "UNSUBSCRIBE" => Request::Unsubscribe(mailbox::mailbox(lexer)?),
            "LIST" => mailbox::list(lexer)?,
            "LSUB" => mailbox::lsub(lexer)?,
            "STATUS" => mailbox::status(lexer)?,
            "GETQUOTA" => mailbox::get_quota(lexer)?,
            "GETQUOTAROOT" => Request::GetQuotaRoot(mailbox::mailbox(lexer)?),
            "SETQUOTA" => mailbox::set_quota(lexer)?,
            "CLOSE" => return alone(lexer, Command::Request(Box::new(Request::Close))),
            "UNSELECT" => return alone(lexer, Command::Request(Box::new(Request::Unselect))),
            "EXPUNGE" => return alone(lexer, Command::Request(Box::new(Request::Expunge(None)))),
            "UID" => {
                lexer.sp()?;
                let word = lexer.word().map_err(|_| CommandError::Unknown)?;
                if word == "EXPUNGE" { store::uid_expunge(lexer)? } else { on_messages(&word, lexer, true)? }
            }
            _ => on_messages(&word, lexer, false)?,
        };
        Ok(Command::Request(Box::new(request)))
    }
}

/// Commands that name messages by numbers or, with UID in front, by UIDs.
fn on_messages(word: &str, lexer: &mut Lexer<'_>, uid: bool) -> Result<Request, CommandError> {
    match word {
        "FETCH" => fetch::fetch(lexer, uid),
        "STORE" => store::store(lexer, uid),
        "SEARCH" => search::search(lexer, uid),
        "SORT" => search::sort(lexer, uid),
        "THREAD" => search::thread(lexer, uid),
        "COPY" => store::copy(lexer, uid, false),
        "MOVE" => store::copy(lexer, uid, true),
        "APPEND" | "REPLACE" => Err(CommandError::Syntax("a message comes as a literal")),
        _ => Err(CommandError::Unknown),
    }
}

fn alone(lexer: &Lexer<'_>, command: Command) -> Result<Command, CommandError> {
    lexer.end().map(|()| command)
}

/// APPEND, or REPLACE (RFC 8508).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// To where.
    pub mailbox: MailboxName,
    /// REPLACE: this one message of the selected mailbox goes when the new one is there.
    pub replaces: Option<Target>,
}

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

#[cfg(test)]
mod tests;
