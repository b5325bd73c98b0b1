//! SEARCH, SORT and THREAD.

use std::num::NonZeroU32;

use encoding_rs::Encoding;

use super::lexer::{self, Lexer, Result};
use super::{CommandError, Request, date};
use crate::value::{Flag, Target};

/// Nested keys in a search at most.
pub const SEARCH_DEPTH_MAX: usize = 64;
/// Keys in a search at most.
pub const SEARCH_KEYS_MAX: usize = 2_000;
/// Octets of a text to be found at most, as the client sent it.
pub const SEARCH_TEXT_MAX: usize = 4_096;
/// Criteria of SORT at most.
const SORT_CRITERIA_MAX: usize = 16;
/// Options of RETURN at most.
const RETURN_OPTIONS_MAX: usize = 16;

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

impl SearchKey {
    /// Whether the search looks at modification sequences (RFC 7162 section 3.1.5).
    pub fn uses_modseq(&self) -> bool {
        self.any(&|key| matches!(key, SearchKey::ModSeq(_)))
    }

    /// Whether the search names messages by their numbers.
    pub fn uses_numbers(&self) -> bool {
        self.any(&|key| matches!(key, SearchKey::Messages(target) if !target.uid))
    }

    /// Whether something is true of this key or of one inside it that holds no others.
    pub(crate) fn any(&self, test: &impl Fn(&SearchKey) -> bool) -> bool {
        match self {
            SearchKey::And(keys) => keys.iter().any(|key| key.any(test)),
            SearchKey::Or(left, right) => left.any(test) || right.any(test),
            SearchKey::Not(key) => key.any(test),
            key => test(key),
        }
    }
}

/// `search = "SEARCH" [search-return-opts] SP search-program`
pub(super) fn search(lexer: &mut Lexer<'_>, uid: bool) -> Result<Request> {
    lexer.sp()?;
    let mut returns = None;
    if lexer.eat_word("RETURN") {
        lexer.sp()?;
        returns = Some(search_return(lexer)?);
        lexer.sp()?;
    }
    let mut encoding = None;
    if lexer.eat_word("CHARSET") {
        lexer.sp()?;
        encoding = charset(lexer)?;
        lexer.sp()?;
    }
    let key = program(lexer, encoding)?;
    Ok(Request::Search(Search { uid, key, returns }))
}

/// `sort = ["UID" SP] "SORT" SP sort-criteria SP search-criteria` (RFC 5256 section 5)
pub(super) fn sort(lexer: &mut Lexer<'_>, uid: bool) -> Result<Request> {
    lexer.sp()?;
    let order = lexer.list(SORT_CRITERIA_MAX, |lexer| {
        let mut word = lexer.word()?;
        let reverse = word == "REVERSE";
        if reverse {
            lexer.sp()?;
            word = lexer.word()?;
        }
        let key = match word.as_str() {
            "ARRIVAL" => SortKey::Arrival,
            "CC" => SortKey::Cc,
            "DATE" => SortKey::Date,
            "FROM" => SortKey::From,
            "SIZE" => SortKey::Size,
            "SUBJECT" => SortKey::Subject,
            "TO" => SortKey::To,
            "DISPLAYFROM" => SortKey::DisplayFrom,
            "DISPLAYTO" => SortKey::DisplayTo,
            _ => return Err(CommandError::Syntax("not a sort criterion")),
        };
        Ok(SortBy { reverse, key })
    })?;
    if order.is_empty() {
        return Err(CommandError::Syntax("sort criteria are missing"));
    }
    lexer.sp()?;
    let search = criteria(lexer, uid)?;
    Ok(Request::Sort { order, search })
}

/// `thread = ["UID" SP] "THREAD" SP thread-alg SP search-criteria`
pub(super) fn thread(lexer: &mut Lexer<'_>, uid: bool) -> Result<Request> {
    lexer.sp()?;
    let algorithm = match lexer.word()?.as_str() {
        "ORDEREDSUBJECT" => ThreadAlgorithm::OrderedSubject,
        "REFERENCES" => ThreadAlgorithm::References,
        _ => return Err(CommandError::Syntax("not a threading algorithm of this server")),
    };
    lexer.sp()?;
    let search = criteria(lexer, uid)?;
    Ok(Request::Thread { algorithm, search })
}

/// `search-criteria = charset 1*(SP search-key)`
fn criteria(lexer: &mut Lexer<'_>, uid: bool) -> Result<Search> {
    let encoding = charset(lexer)?;
    lexer.sp()?;
    let key = program(lexer, encoding)?;
    Ok(Search { uid, key, returns: None })
}

fn search_return(lexer: &mut Lexer<'_>) -> Result<SearchReturn> {
    let mut returns = SearchReturn::default();
    lexer.list(RETURN_OPTIONS_MAX, |lexer| {
        match lexer.word()?.as_str() {
            "MIN" => returns.min = true,
            "MAX" => returns.max = true,
            "ALL" => returns.all = true,
            "COUNT" => returns.count = true,
            "SAVE" => returns.save = true,
            "PARTIAL" if returns.partial.is_none() => {
                lexer.sp()?;
                returns.partial = Some(partial(lexer)?);
            }
            _ => return Err(CommandError::Syntax("not a RETURN option of this server")),
        }
        Ok(())
    })?;
    if returns == SearchReturn::default() {
        returns.all = true;
    }
    // RFC 9394 section 3.1: not more than one of them.
    if returns.all && returns.partial.is_some() {
        return Err(CommandError::Syntax("either ALL or PARTIAL"));
    }
    Ok(returns)
}

/// `partial-range` (RFC 9394 section 4). Either end may stand first.
pub(super) fn partial(lexer: &mut Lexer<'_>) -> Result<Partial> {
    let from_end = lexer.eat(b'-');
    let first = lexer.nz_number()?;
    lexer.expect(b':', "a range is missing")?;
    if lexer.eat(b'-') != from_end {
        return Err(CommandError::Syntax("both ends of a range count from the same side"));
    }
    let last = lexer.nz_number()?;
    Ok(Partial { from_end, first: first.min(last), last: first.max(last) })
}

/// A charset; `None` is UTF-8, and US-ASCII, in which UTF-8 is understood.
fn charset(lexer: &mut Lexer<'_>) -> Result<Option<&'static Encoding>> {
    let label = lexer.astring()?;
    if label.eq_ignore_ascii_case(b"US-ASCII") || label.eq_ignore_ascii_case(b"UTF-8") {
        return Ok(None);
    }
    let known = Encoding::for_label_no_replacement(&label);
    // In UTF-16 a string would hold NUL, and no quote would end it.
    match known {
        Some(encoding) if encoding.is_ascii_compatible() || encoding == encoding_rs::ISO_2022_JP => {
            Ok(Some(encoding))
        }
        _ => Err(CommandError::Charset),
    }
}

/// Reads the keys of one search.
struct Keys {
    encoding: Option<&'static Encoding>,
    /// So many may still come.
    left: usize,
}

fn program(lexer: &mut Lexer<'_>, encoding: Option<&'static Encoding>) -> Result<SearchKey> {
    let mut keys = Keys { encoding, left: SEARCH_KEYS_MAX };
    let key = keys.all(lexer, SEARCH_DEPTH_MAX)?;
    lexer.end()?;
    Ok(key)
}

impl Keys {
    /// `search-key *(SP search-key)`
    fn all(&mut self, lexer: &mut Lexer<'_>, depth: usize) -> Result<SearchKey> {
        let first = self.one(lexer, depth)?;
        let mut keys = Vec::new();
        while !lexer.rest().iter().all(|octet| *octet == b' ') && lexer.eat(b' ') {
            keys.push(self.one(lexer, depth)?);
        }
        if keys.is_empty() {
            return Ok(first);
        }
        keys.insert(0, first);
        Ok(SearchKey::And(keys))
    }

    fn one(&mut self, lexer: &mut Lexer<'_>, depth: usize) -> Result<SearchKey> {
        let deeper = depth.checked_sub(1).ok_or(CommandError::Limit("the search is nested too deeply"))?;
        self.left = self.left.checked_sub(1).ok_or(CommandError::Limit("the search has too many keys"))?;
        match lexer.peek() {
            Some(b'(') => {
                lexer.eat(b'(');
                let key = self.all(lexer, deeper)?;
                lexer.expect(b')', "a parenthesis is missing")?;
                return Ok(key);
            }
            Some(b'0'..=b'9' | b'*' | b'$') => return Ok(SearchKey::Messages(lexer.target(false)?)),
            _ => {}
        }
        let word = lexer.word()?;
        let not = |flag| SearchKey::Not(Box::new(SearchKey::Flag(flag)));
        Ok(match word.as_str() {
            "ALL" => SearchKey::All,
            "ANSWERED" => SearchKey::Flag(Flag::Answered),
            "DELETED" => SearchKey::Flag(Flag::Deleted),
            "DRAFT" => SearchKey::Flag(Flag::Draft),
            "FLAGGED" => SearchKey::Flag(Flag::Flagged),
            "RECENT" => SearchKey::Flag(Flag::Recent),
            "SEEN" => SearchKey::Flag(Flag::Seen),
            "UNANSWERED" => not(Flag::Answered),
            "UNDELETED" => not(Flag::Deleted),
            "UNDRAFT" => not(Flag::Draft),
            "UNFLAGGED" => not(Flag::Flagged),
            "UNSEEN" => not(Flag::Seen),
            "OLD" => not(Flag::Recent),
            "NEW" => SearchKey::And(vec![SearchKey::Flag(Flag::Recent), not(Flag::Seen)]),
            "SAVEDATESUPPORTED" => SearchKey::SaveDateSupported,
            _ => {
                lexer.sp()?;
                return self.with_argument(&word, lexer, deeper);
            }
        })
    }

    fn with_argument(&mut self, word: &str, lexer: &mut Lexer<'_>, depth: usize) -> Result<SearchKey> {
        Ok(match word {
            "NOT" => SearchKey::Not(Box::new(self.one(lexer, depth)?)),
            "OR" => {
                let left = self.one(lexer, depth)?;
                lexer.sp()?;
                SearchKey::Or(Box::new(left), Box::new(self.one(lexer, depth)?))
            }
            "UID" => SearchKey::Messages(lexer.target(true)?),
            "KEYWORD" => SearchKey::Flag(keyword(lexer)?),
            "UNKEYWORD" => SearchKey::Not(Box::new(SearchKey::Flag(keyword(lexer)?))),
            "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => {
                let name = match word {
                    "FROM" => "From",
                    "TO" => "To",
                    "CC" => "Cc",
                    "BCC" => "Bcc",
                    _ => "Subject",
                };
                SearchKey::Header { name: name.to_owned(), text: self.text(lexer)? }
            }
            "HEADER" => {
                let name = lexer.text()?;
                lexer.sp()?;
                SearchKey::Header { name, text: self.text(lexer)? }
            }
            "BODY" => SearchKey::Body(self.text(lexer)?),
            "TEXT" => SearchKey::Text(self.text(lexer)?),
            "BEFORE" => SearchKey::Internal(DateTest::Before(date::date(lexer)?)),
            "ON" => SearchKey::Internal(DateTest::On(date::date(lexer)?)),
            "SINCE" => SearchKey::Internal(DateTest::Since(date::date(lexer)?)),
            "SENTBEFORE" => SearchKey::Sent(DateTest::Before(date::date(lexer)?)),
            "SENTON" => SearchKey::Sent(DateTest::On(date::date(lexer)?)),
            "SENTSINCE" => SearchKey::Sent(DateTest::Since(date::date(lexer)?)),
            "SAVEDBEFORE" => SearchKey::Saved(DateTest::Before(date::date(lexer)?)),
            "SAVEDON" => SearchKey::Saved(DateTest::On(date::date(lexer)?)),
            "SAVEDSINCE" => SearchKey::Saved(DateTest::Since(date::date(lexer)?)),
            "LARGER" => SearchKey::Larger(lexer.number64()?),
            "SMALLER" => SearchKey::Smaller(lexer.number64()?),
            "OLDER" => SearchKey::Older(lexer.nz_number()?),
            "YOUNGER" => SearchKey::Younger(lexer.nz_number()?),
            "MODSEQ" => mod_seq(lexer)?,
            "EMAILID" => SearchKey::EmailId(lexer.text()?),
            "THREADID" => SearchKey::ThreadId(lexer.text()?),
            _ => return Err(CommandError::Syntax("not a search key of this server")),
        })
    }

    /// A text in the charset of the search, made into UTF-8.
    fn text(&self, lexer: &mut Lexer<'_>) -> Result<String> {
        let octets = lexer.astring()?;
        if octets.len() > SEARCH_TEXT_MAX {
            return Err(CommandError::Limit("the text to be found is too long"));
        }
        let Some(encoding) = self.encoding else { return lexer::utf8(octets) };
        let text = encoding.decode_without_bom_handling_and_without_replacement(&octets);
        text.map(|text| text.into_owned()).ok_or(CommandError::Syntax("text is not in the charset named"))
    }
}

fn keyword(lexer: &mut Lexer<'_>) -> Result<Flag> {
    match lexer.flag()? {
        flag @ Flag::Keyword(_) => Ok(flag),
        _ => Err(CommandError::Syntax("not a keyword")),
    }
}

/// `search-modsequence = "MODSEQ" [search-modseq-ext] SP mod-sequence-valzer` (RFC 7162 section 7). Flags do not have
/// sequences of their own here, so that the name of one makes no difference.
fn mod_seq(lexer: &mut Lexer<'_>) -> Result<SearchKey> {
    if lexer.peek() == Some(b'"') {
        lexer.string()?;
        lexer.sp()?;
        if !matches!(lexer.word()?.as_str(), "PRIV" | "SHARED" | "ALL") {
            return Err(CommandError::Syntax("not a type of entry"));
        }
        lexer.sp()?;
    }
    Ok(SearchKey::ModSeq(lexer.number64()?))
}
