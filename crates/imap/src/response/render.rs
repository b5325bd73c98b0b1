//! Responses as octets.

use bytes::{BufMut, BytesMut};

use super::{Completion, Esearch, Listed, Response, SectionLabel, StatusItem, StatusValue, write};
use crate::command::{Partial, SectionItem, SectionText};

/// What the form of a response depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mode<'a> {
    /// The client has enabled IMAP4rev2.
    pub rev2: bool,
    /// The client has enabled UTF8=ACCEPT (RFC 6855).
    pub utf8: bool,
    /// Tag of the command in hand; empty if there is none.
    pub tag: &'a str,
}

impl Mode<'_> {
    /// Whether there may be UTF-8 between quotes, and mailbox names are in it: to who has enabled IMAP4rev2 (RFC 9051
    /// section 5.1) or UTF8=ACCEPT (RFC 6855 section 3).
    pub fn utf8_strings(&self) -> bool {
        self.rev2 || self.utf8
    }
}

impl Response {
    /// Writes the response with its line's end. Nothing is written of one that has nothing to say or that this client
    /// has no use for: VANISHED, ESEARCH ALL and the like of no messages, RECENT to IMAP4rev2 clients.
    pub fn render(&self, mode: &Mode<'_>, out: &mut BytesMut) {
        let utf8 = mode.utf8_strings();
        match self {
            Response::Exists(count) => numbered(*count, b" EXISTS\r\n", out),
            Response::Recent(_) if mode.rev2 => {}
            Response::Recent(count) => numbered(*count, b" RECENT\r\n", out),
            Response::Expunge(number) => numbered(*number, b" EXPUNGE\r\n", out),
            Response::Vanished { uids, .. } if uids.is_empty() => {}
            Response::Vanished { earlier, uids } => {
                out.extend_from_slice(if *earlier { b"* VANISHED (EARLIER) " } else { b"* VANISHED " });
                write::ranges(uids, out);
                end(out);
            }
            Response::Flags(flags) => {
                out.extend_from_slice(b"* FLAGS ");
                write::list(flags, out, |flag, out| out.extend_from_slice(flag.as_str().as_bytes()));
                end(out);
            }
            Response::List(listed) => {
                out.extend_from_slice(b"* LIST ");
                listed.render(mode, out);
            }
            Response::Lsub(listed) => {
                out.extend_from_slice(b"* LSUB ");
                listed.render(mode, out);
            }
            Response::Separator { lsub } => {
                out.extend_from_slice(if *lsub { b"* LSUB " } else { b"* LIST " });
                out.extend_from_slice(b"(\\Noselect) \"/\" \"\"\r\n");
            }
            Response::Status(mailbox, items) => {
                out.extend_from_slice(b"* STATUS ");
                write::mailbox(mailbox, mode, out);
                out.put_u8(b' ');
                write::list(items, out, status_item);
                end(out);
            }
            Response::Search(numbers, modseq) => found(b"* SEARCH", numbers, *modseq, out),
            Response::Sort(numbers, modseq) => found(b"* SORT", numbers, *modseq, out),
            Response::Esearch(esearch) => esearch.render(mode, out),
            Response::Thread(threads) => {
                out.extend_from_slice(b"* THREAD");
                if !threads.is_empty() {
                    out.put_u8(b' ');
                }
                threads.iter().for_each(|thread| thread.render(out));
                end(out);
            }
            Response::Quota(root, resources) => {
                out.extend_from_slice(b"* QUOTA ");
                write::astring(root.as_bytes(), utf8, out);
                out.put_u8(b' ');
                write::list(resources, out, |(resource, usage, limit), out| {
                    out.extend_from_slice(resource.as_bytes());
                    out.put_u8(b' ');
                    write::number(*usage, out);
                    out.put_u8(b' ');
                    write::number(*limit, out);
                });
                end(out);
            }
            Response::QuotaRoot(mailbox, roots) => {
                out.extend_from_slice(b"* QUOTAROOT ");
                write::mailbox(mailbox, mode, out);
                for root in roots {
                    out.put_u8(b' ');
                    write::astring(root.as_bytes(), utf8, out);
                }
                end(out);
            }
            Response::Condition(condition) => {
                out.extend_from_slice(b"* ");
                condition.render(mode, out);
                end(out);
            }
        }
    }
}

fn end(out: &mut BytesMut) {
    out.extend_from_slice(b"\r\n");
}

fn numbered(number: u32, rest: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(b"* ");
    write::number(number, out);
    out.extend_from_slice(rest);
}

/// SEARCH and SORT. "If the SEARCH command included a MODSEQ ... and it returned any results" (RFC 7162 section 3.1.5).
fn found(word: &[u8], numbers: &[u32], modseq: Option<u64>, out: &mut BytesMut) {
    out.extend_from_slice(word);
    for number in numbers {
        out.put_u8(b' ');
        write::number(*number, out);
    }
    if let (Some(modseq), false) = (modseq, numbers.is_empty()) {
        out.extend_from_slice(b" (MODSEQ ");
        write::number(modseq, out);
        out.put_u8(b')');
    }
    end(out);
}

impl Listed {
    fn render(&self, mode: &Mode<'_>, out: &mut BytesMut) {
        write::list(&self.attributes, out, |attribute, out| out.extend_from_slice(attribute.as_bytes()));
        out.extend_from_slice(b" \"/\" ");
        write::mailbox(&self.mailbox, mode, out);
        let child_info = (!self.child_info.is_empty()).then_some(&self.child_info);
        if child_info.is_some() || self.old_name.is_some() {
            out.extend_from_slice(b" (");
            if let Some(options) = child_info {
                out.extend_from_slice(b"\"CHILDINFO\" ");
                write::list(options, out, |option, out| write::string(option.as_bytes(), false, out));
            }
            if let Some(old_name) = &self.old_name {
                if child_info.is_some() {
                    out.put_u8(b' ');
                }
                out.extend_from_slice(b"\"OLDNAME\" (");
                write::mailbox(old_name, mode, out);
                out.put_u8(b')');
            }
            out.put_u8(b')');
        }
        end(out);
    }
}

impl StatusItem {
    /// All of them.
    pub const ALL: [StatusItem; 11] = [
        StatusItem::Messages,
        StatusItem::Recent,
        StatusItem::UidNext,
        StatusItem::UidValidity,
        StatusItem::Unseen,
        StatusItem::Deleted,
        StatusItem::Size,
        StatusItem::HighestModSeq,
        StatusItem::MailboxId,
        StatusItem::AppendLimit,
        StatusItem::DeletedStorage,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            StatusItem::Messages => "MESSAGES",
            StatusItem::Recent => "RECENT",
            StatusItem::UidNext => "UIDNEXT",
            StatusItem::UidValidity => "UIDVALIDITY",
            StatusItem::Unseen => "UNSEEN",
            StatusItem::Deleted => "DELETED",
            StatusItem::Size => "SIZE",
            StatusItem::HighestModSeq => "HIGHESTMODSEQ",
            StatusItem::MailboxId => "MAILBOXID",
            StatusItem::AppendLimit => "APPENDLIMIT",
            StatusItem::DeletedStorage => "DELETED-STORAGE",
        }
    }

    /// The item of that name, in whatever case.
    pub fn parse(name: &[u8]) -> Option<StatusItem> {
        StatusItem::ALL.into_iter().find(|item| item.as_str().as_bytes().eq_ignore_ascii_case(name))
    }
}

fn status_item((item, value): &(StatusItem, StatusValue), out: &mut BytesMut) {
    out.extend_from_slice(item.as_str().as_bytes());
    out.put_u8(b' ');
    match value {
        StatusValue::Number(number) => write::number(*number, out),
        StatusValue::Id(id) => {
            out.put_u8(b'(');
            out.extend_from_slice(id.as_bytes());
            out.put_u8(b')');
        }
        StatusValue::Nil => out.extend_from_slice(b"NIL"),
    }
}

impl Esearch {
    fn render(&self, mode: &Mode<'_>, out: &mut BytesMut) {
        out.extend_from_slice(b"* ESEARCH");
        if !mode.tag.is_empty() {
            out.extend_from_slice(b" (TAG ");
            write::string(mode.tag.as_bytes(), false, out);
            out.put_u8(b')');
        }
        if self.uid {
            out.extend_from_slice(b" UID");
        }
        let mut item = |name: &[u8], value: Option<u64>| {
            if let Some(value) = value {
                out.extend_from_slice(name);
                write::number(value, out);
            }
        };
        item(b" MIN ", self.min.map(u64::from));
        item(b" MAX ", self.max.map(u64::from));
        item(b" COUNT ", self.count.map(u64::from));
        if let Some(all) = self.all.as_ref().filter(|all| !all.is_empty()) {
            out.extend_from_slice(b" ALL ");
            write::ranges(all, out);
        }
        if let Some((partial, results)) = &self.partial {
            out.extend_from_slice(b" PARTIAL (");
            partial_range(partial, out);
            out.put_u8(b' ');
            match results.as_slice() {
                [] => out.extend_from_slice(b"NIL"),
                results => write::ranges(results, out),
            }
            out.put_u8(b')');
        }
        if let Some(modseq) = self.modseq {
            out.extend_from_slice(b" MODSEQ ");
            write::number(modseq, out);
        }
        end(out);
    }
}

/// `1:100` or `-1:-100` (RFC 9394 section 3.1).
fn partial_range(partial: &Partial, out: &mut BytesMut) {
    let sign: &[u8] = if partial.from_end { b"-" } else { b"" };
    out.extend_from_slice(sign);
    write::number(partial.first.get(), out);
    out.put_u8(b':');
    out.extend_from_slice(sign);
    write::number(partial.last.get(), out);
}

impl SectionLabel<'_> {
    /// `BODY[1.HEADER.FIELDS (FROM TO)]<0>` and the like. The name is that of the item without `.PEEK`, and of a partial
    /// only the origin is told (RFC 9051 section 7.5.2).
    pub fn render(&self, out: &mut BytesMut) {
        let section = self.0;
        out.extend_from_slice(match section.item {
            SectionItem::Rfc822 => return out.extend_from_slice(b"RFC822"),
            SectionItem::Rfc822Header => return out.extend_from_slice(b"RFC822.HEADER"),
            SectionItem::Rfc822Text => return out.extend_from_slice(b"RFC822.TEXT"),
            SectionItem::Body => b"BODY[",
            SectionItem::Binary => b"BINARY[",
        });
        path(&section.path, out);
        let (name, fields): (&[u8], _) = match &section.text {
            SectionText::Whole => (b"", None),
            SectionText::Header => (b"HEADER", None),
            SectionText::Fields(fields) => (b"HEADER.FIELDS ", Some(fields)),
            SectionText::FieldsNot(fields) => (b"HEADER.FIELDS.NOT ", Some(fields)),
            SectionText::Text => (b"TEXT", None),
            SectionText::Mime => (b"MIME", None),
        };
        if !section.path.is_empty() && !name.is_empty() {
            out.put_u8(b'.');
        }
        out.extend_from_slice(name);
        if let Some(fields) = fields {
            write::list(fields, out, |field, out| {
                write::astring(field.to_ascii_uppercase().as_bytes(), false, out);
            });
        }
        out.put_u8(b']');
        if let Some((origin, _)) = section.partial {
            out.put_u8(b'<');
            write::number(origin, out);
            out.put_u8(b'>');
        }
    }
}

/// Part numbers as `1.2.3`.
pub(crate) fn path(path: &[u32], out: &mut BytesMut) {
    for (index, part) in path.iter().enumerate() {
        if index > 0 {
            out.put_u8(b'.');
        }
        write::number(*part, out);
    }
}

/// The line that ends the command of the mode's tag. Without a tag, as where a line could not be read, it is an untagged
/// one.
pub fn tagged(completion: &Completion, mode: &Mode<'_>, out: &mut BytesMut) {
    out.extend_from_slice(if mode.tag.is_empty() { b"*" } else { mode.tag.as_bytes() });
    out.put_u8(b' ');
    completion.render(mode, out);
    end(out);
}

/// `+ text`
pub fn continuation(text: &str, out: &mut BytesMut) {
    out.extend_from_slice(b"+ ");
    write::text(text, false, out);
    end(out);
}

/// `* BYE [code] text`; the status is not looked at.
pub fn goodbye(completion: &Completion, mode: &Mode<'_>, out: &mut BytesMut) {
    out.extend_from_slice(b"* BYE ");
    completion.render_text(mode, out);
    end(out);
}

/// `* CAPABILITY`, with words and spaces between them.
pub fn capability(words: &str, out: &mut BytesMut) {
    out.extend_from_slice(b"* CAPABILITY ");
    write::text(words, false, out);
    end(out);
}

/// `* ENABLED` (RFC 5161).
pub fn enabled(words: &[&str], out: &mut BytesMut) {
    out.extend_from_slice(b"* ENABLED");
    for word in words {
        out.put_u8(b' ');
        out.extend_from_slice(word.as_bytes());
    }
    end(out);
}

/// `* ID` (RFC 2971): fields and their values, or NIL.
pub fn id(fields: &[(&str, &str)], mode: &Mode<'_>, out: &mut BytesMut) {
    out.extend_from_slice(b"* ID ");
    if fields.is_empty() {
        out.extend_from_slice(b"NIL");
    } else {
        write::list(fields, out, |(field, value), out| {
            write::string(field.as_bytes(), mode.utf8_strings(), out);
            out.put_u8(b' ');
            write::string(value.as_bytes(), mode.utf8_strings(), out);
        });
    }
    end(out);
}

/// `* NAMESPACE` (RFC 9051 section 7.3.4): everything is one's own, without a prefix.
pub fn namespace(out: &mut BytesMut) {
    out.extend_from_slice(b"* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
}
