//! FETCH.

use super::lexer::{Lexer, Result};
use super::search::{Partial, partial};
use super::{CommandError, Request};
use crate::value::Target;

/// Items of one FETCH at most.
const ITEMS_MAX: usize = 100;
/// Names in one HEADER.FIELDS at most.
const FIELDS_MAX: usize = 500;
/// Octets of such a name at most: a line has no more (RFC 5322 section 2.1.1).
const FIELD_OCTETS_MAX: usize = 998;
/// Numbers in the path to a part at most.
const PART_DEPTH_MAX: usize = 100;

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

/// `fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")`, and
/// modifiers (RFC 4466 section 2.4)
pub(super) fn fetch(lexer: &mut Lexer<'_>, uid: bool) -> Result<Request> {
    lexer.sp()?;
    let target = lexer.target(uid)?;
    lexer.sp()?;
    let mut items = if lexer.peek() == Some(b'(') {
        let items = lexer.list(ITEMS_MAX, item)?;
        if items.is_empty() {
            return Err(CommandError::Syntax("nothing is to be fetched"));
        }
        items
    } else {
        attribute_or_macro(lexer)?
    };
    let mut fetch = Fetch { target, items: Vec::new(), changed_since: None, vanished: false, partial: None };
    if lexer.rest().starts_with(b" (") {
        lexer.sp()?;
        lexer.list(3, |lexer| modifier(lexer, &mut fetch))?;
    }
    lexer.end()?;
    // RFC 7162 section 3.2.6: only where UIDs are asked for, and only with CHANGEDSINCE.
    if fetch.vanished && (!uid || fetch.changed_since.is_none()) {
        return Err(CommandError::Syntax("VANISHED belongs to UID FETCH with CHANGEDSINCE"));
    }
    // RFC 9394 section 3.3 has it for UID FETCH.
    if fetch.partial.is_some() && !uid {
        return Err(CommandError::Syntax("PARTIAL belongs to UID FETCH"));
    }
    // RFC 9051 section 6.4.9, RFC 7162 section 3.1.4.1.
    let mut implied = |wanted: bool, item: FetchItem| {
        if wanted && !items.contains(&item) {
            items.push(item);
        }
    };
    implied(uid, FetchItem::Uid);
    implied(fetch.changed_since.is_some(), FetchItem::ModSeq);
    fetch.items = items;
    Ok(Request::Fetch(fetch))
}

fn modifier(lexer: &mut Lexer<'_>, fetch: &mut Fetch) -> Result<()> {
    match lexer.word()?.as_str() {
        "CHANGEDSINCE" if fetch.changed_since.is_none() => {
            lexer.sp()?;
            fetch.changed_since = Some(lexer.number64()?);
        }
        "VANISHED" if !fetch.vanished => fetch.vanished = true,
        "PARTIAL" if fetch.partial.is_none() => {
            lexer.sp()?;
            fetch.partial = Some(partial(lexer)?);
        }
        _ => return Err(CommandError::Syntax("not a FETCH modifier of this server")),
    }
    Ok(())
}

fn attribute_or_macro(lexer: &mut Lexer<'_>) -> Result<Vec<FetchItem>> {
    let mut items = vec![FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size];
    if lexer.eat_word("FAST") {
    } else if lexer.eat_word("ALL") {
        items.push(FetchItem::Envelope);
    } else if lexer.eat_word("FULL") {
        items.extend([FetchItem::Envelope, FetchItem::Body]);
    } else {
        items = vec![item(lexer)?];
    }
    Ok(items)
}

fn item(lexer: &mut Lexer<'_>) -> Result<FetchItem> {
    let word = lexer.take_while(|octet| octet.is_ascii_alphanumeric() || octet == b'.').to_ascii_uppercase();
    let whole =
        |item, text, peek| FetchItem::Section(Section { item, peek, path: Vec::new(), text, partial: None });
    Ok(match word.as_slice() {
        b"FLAGS" => FetchItem::Flags,
        b"UID" => FetchItem::Uid,
        b"INTERNALDATE" => FetchItem::InternalDate,
        b"RFC822.SIZE" => FetchItem::Size,
        b"ENVELOPE" => FetchItem::Envelope,
        b"BODYSTRUCTURE" => FetchItem::BodyStructure,
        b"MODSEQ" => FetchItem::ModSeq,
        b"EMAILID" => FetchItem::EmailId,
        b"THREADID" => FetchItem::ThreadId,
        b"SAVEDATE" => FetchItem::SaveDate,
        b"PREVIEW" => FetchItem::Preview { lazy: lazy(lexer)? },
        b"RFC822" => whole(SectionItem::Rfc822, SectionText::Whole, false),
        b"RFC822.HEADER" => whole(SectionItem::Rfc822Header, SectionText::Header, true),
        b"RFC822.TEXT" => whole(SectionItem::Rfc822Text, SectionText::Text, false),
        b"BODY" if lexer.peek() != Some(b'[') => FetchItem::Body,
        b"BODY" => FetchItem::Section(body_section(lexer, false)?),
        b"BODY.PEEK" => FetchItem::Section(body_section(lexer, true)?),
        b"BINARY" => FetchItem::Section(binary_section(lexer, false)?),
        b"BINARY.PEEK" => FetchItem::Section(binary_section(lexer, true)?),
        b"BINARY.SIZE" => FetchItem::BinarySize(bracketed_path(lexer)?),
        _ => return Err(CommandError::Syntax("not a FETCH item of this server")),
    })
}

/// `"PREVIEW" [SP "(" preview-mod *(SP preview-mod) ")"]` (RFC 8970 section 6)
fn lazy(lexer: &mut Lexer<'_>) -> Result<bool> {
    let mut ahead = Lexer::new(lexer.rest(), lexer.utf8());
    if !(ahead.eat(b' ') && ahead.eat(b'(') && ahead.eat_word("LAZY")) {
        return Ok(false);
    }
    *lexer = ahead;
    lexer.expect(b')', "a parenthesis is missing")?;
    Ok(true)
}

fn body_section(lexer: &mut Lexer<'_>, peek: bool) -> Result<Section> {
    lexer.expect(b'[', "a section is missing")?;
    let (path, open) = path(lexer)?;
    let text = if open || path.is_empty() && lexer.peek() != Some(b']') {
        section_text(lexer, !path.is_empty())?
    } else {
        SectionText::Whole
    };
    lexer.expect(b']', "a section does not end")?;
    let partial = octets(lexer)?;
    Ok(Section { item: SectionItem::Body, peek, path, text, partial })
}

fn binary_section(lexer: &mut Lexer<'_>, peek: bool) -> Result<Section> {
    let path = bracketed_path(lexer)?;
    let partial = octets(lexer)?;
    Ok(Section { item: SectionItem::Binary, peek, path, text: SectionText::Whole, partial })
}

/// `section-binary = "[" [section-part] "]"`
fn bracketed_path(lexer: &mut Lexer<'_>) -> Result<Vec<u32>> {
    lexer.expect(b'[', "a section is missing")?;
    let (path, open) = path(lexer)?;
    if open {
        return Err(CommandError::Syntax("a part number is missing"));
    }
    lexer.expect(b']', "a section does not end")?;
    Ok(path)
}

/// Part numbers, and whether a dot stands behind the last.
fn path(lexer: &mut Lexer<'_>) -> Result<(Vec<u32>, bool)> {
    let mut path = Vec::new();
    while lexer.peek().is_some_and(|octet| octet.is_ascii_digit()) {
        if path.len() == PART_DEPTH_MAX {
            return Err(CommandError::Limit("the part is nested too deeply"));
        }
        path.push(lexer.nz_number()?.get());
        if !lexer.eat(b'.') {
            return Ok((path, false));
        }
    }
    let open = !path.is_empty();
    Ok((path, open))
}

fn section_text(lexer: &mut Lexer<'_>, in_part: bool) -> Result<SectionText> {
    let word = lexer.take_while(|octet| octet.is_ascii_alphabetic() || octet == b'.').to_ascii_uppercase();
    Ok(match word.as_slice() {
        b"HEADER" => SectionText::Header,
        b"TEXT" => SectionText::Text,
        b"MIME" if in_part => SectionText::Mime,
        b"HEADER.FIELDS" => SectionText::Fields(fields(lexer)?),
        b"HEADER.FIELDS.NOT" => SectionText::FieldsNot(fields(lexer)?),
        _ => return Err(CommandError::Syntax("not a section")),
    })
}

fn fields(lexer: &mut Lexer<'_>) -> Result<Vec<String>> {
    lexer.sp()?;
    let fields = lexer.list(FIELDS_MAX, |lexer| {
        let name = lexer.text()?;
        if name.len() > FIELD_OCTETS_MAX {
            return Err(CommandError::Limit("the name of a header field is too long"));
        }
        Ok(name)
    })?;
    if fields.is_empty() { Err(CommandError::Syntax("header fields are missing")) } else { Ok(fields) }
}

/// `partial = "<" number64 "." nz-number64 ">"`
fn octets(lexer: &mut Lexer<'_>) -> Result<Option<(u64, u64)>> {
    if !lexer.eat(b'<') {
        return Ok(None);
    }
    let first = lexer.number64()?;
    lexer.expect(b'.', "the length of a part is missing")?;
    let count = lexer.number64()?;
    lexer.expect(b'>', "a range of octets does not end")?;
    if count == 0 {
        return Err(CommandError::Syntax("nothing is to be fetched"));
    }
    Ok(Some((first, count)))
}
