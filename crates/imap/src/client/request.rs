//! What a client asks.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::RemoteName;
use crate::command::{FetchItem, Section, SectionItem};
use crate::response::{SectionLabel, StatusItem, write};
use crate::value::{Flag, NumberSet};

/// A command. Answers come as [`Event`](super::Event)s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// NOOP
    Noop,
    /// LIST, or LSUB.
    List {
        /// LSUB
        lsub: bool,
        /// Reference name, in the server's form.
        reference: RemoteName,
        /// Pattern, in the server's form.
        pattern: RemoteName,
        /// Ask for these of each mailbox, where LIST-STATUS is offered (RFC 5819).
        status: Vec<StatusItem>,
    },
    /// STATUS
    Status {
        /// Of which mailbox.
        mailbox: RemoteName,
        /// What.
        items: Vec<StatusItem>,
    },
    /// SELECT
    Select {
        /// Which mailbox.
        mailbox: RemoteName,
        /// EXAMINE: nothing may change.
        examine: bool,
        /// With `(CONDSTORE)` (RFC 7162).
        condstore: bool,
    },
    /// UID FETCH
    Fetch {
        /// UIDs.
        uids: NumberSet,
        /// What.
        items: Vec<FetchItem>,
        /// CHANGEDSINCE
        changed_since: Option<u64>,
    },
    /// APPEND. [`Event::Append`](super::Event::Append) asks for its octets.
    Append {
        /// To where.
        mailbox: RemoteName,
        /// Flags; `\Recent` is left out.
        flags: Vec<Flag>,
        /// Internal date, microseconds since the epoch.
        date: Option<i64>,
        /// How many octets.
        octets: u64,
    },
    /// IDLE, until [`idle_done`](super::Client::idle_done).
    Idle,
    /// UNSELECT, or CLOSE where that is not offered; that expunges, so EXAMINE before.
    Unselect,
    /// LOGOUT
    Logout,
    /// Any other command on one line, without tag: `CREATE x`. It is not looked at, except for line ends, which would
    /// begin another one.
    Other(String),
}

impl Request {
    /// Whether commands may be under way beside it. What changes the state or takes more than one line goes alone.
    pub(super) fn goes_alone(&self) -> bool {
        !matches!(self, Request::Noop | Request::List { .. } | Request::Status { .. } | Request::Fetch { .. })
    }

    /// Whether it can be said.
    pub(super) fn is_sayable(&self) -> bool {
        match self {
            Request::Other(line) => !line.is_empty() && !line.bytes().any(|c| matches!(c, b'\r' | b'\n' | 0)),
            Request::Fetch { items, .. } => !items.is_empty(),
            _ => true,
        }
    }
}

/// A command as octets: after each piece but the last, the server has to give its leave to go on.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) pieces: VecDeque<Bytes>,
    current: BytesMut,
    /// Literals up to this length need no leave.
    unasked: Option<u64>,
}

impl Line {
    pub(super) fn new(tag: &str, unasked: Option<u64>) -> Line {
        let mut line = Line { pieces: VecDeque::new(), current: BytesMut::new(), unasked };
        line.text(tag);
        line
    }

    pub(super) fn text(&mut self, text: &str) {
        self.current.extend_from_slice(text.as_bytes());
    }

    /// An argument: as an atom, between quotes, or as a literal.
    pub(super) fn argument(&mut self, text: &[u8]) {
        self.current.put_u8(b' ');
        let plain =
            text.iter().all(|&octet| octet != 0 && octet != b'\r' && octet != b'\n' && octet.is_ascii());
        if plain {
            return write::astring_in_line(text, &mut self.current);
        }
        self.announce(text.len() as u64);
        self.current.extend_from_slice(text);
    }

    /// `{n}`, after which a piece ends unless n octets may follow at once.
    pub(super) fn announce(&mut self, octets: u64) {
        self.current.put_u8(b'{');
        write::number(octets, &mut self.current);
        if self.unasked.is_some_and(|most| octets <= most) {
            return self.text("+}\r\n");
        }
        self.text("}\r\n");
        self.pieces.push_back(self.current.split().freeze());
    }

    pub(super) fn out(&mut self) -> &mut BytesMut {
        &mut self.current
    }

    /// Ends the line.
    pub(super) fn end(mut self) -> VecDeque<Bytes> {
        self.text("\r\n");
        self.leave_open()
    }

    /// What there is. After an announced literal that needs no leave, the last piece is not followed by one.
    fn leave_open(mut self) -> VecDeque<Bytes> {
        self.pieces.push_back(self.current.freeze());
        self.pieces
    }
}

/// What is to be known of a server for writing commands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Abilities {
    pub(super) unasked_literal: Option<u64>,
    pub(super) unselect: bool,
    pub(super) list_status: bool,
}

impl Request {
    /// Writes the command. The octets of APPEND come afterwards, and then the end of its line.
    pub(super) fn encode(&self, tag: &str, abilities: Abilities) -> VecDeque<Bytes> {
        let mut line = Line::new(tag, abilities.unasked_literal);
        match self {
            Request::Noop => line.text(" NOOP"),
            Request::List { lsub, reference, pattern, status } => {
                line.text(if *lsub { " LSUB" } else { " LIST" });
                line.argument(reference.as_bytes());
                line.argument(pattern.as_bytes());
                if !status.is_empty() && !*lsub && abilities.list_status {
                    line.text(" RETURN (STATUS ");
                    status_items(status, &mut line);
                    line.text(")");
                }
            }
            Request::Status { mailbox, items } => {
                line.text(" STATUS");
                line.argument(mailbox.as_bytes());
                line.text(" ");
                status_items(items, &mut line);
            }
            Request::Select { mailbox, examine, condstore } => {
                line.text(if *examine { " EXAMINE" } else { " SELECT" });
                line.argument(mailbox.as_bytes());
                if *condstore {
                    line.text(" (CONDSTORE)");
                }
            }
            Request::Fetch { uids, items, changed_since } => {
                line.text(&format!(" UID FETCH {uids} "));
                write::list(items, line.out(), fetch_item);
                if let Some(modseq) = changed_since {
                    line.text(&format!(" (CHANGEDSINCE {modseq})"));
                }
            }
            Request::Append { mailbox, flags, date, octets } => {
                line.text(" APPEND");
                line.argument(mailbox.as_bytes());
                let flags: Vec<&Flag> = flags.iter().filter(|flag| **flag != Flag::Recent).collect();
                if !flags.is_empty() {
                    line.text(" ");
                    write::list(flags, line.out(), |flag, out| {
                        out.extend_from_slice(flag.as_str().as_bytes())
                    });
                }
                if let Some(date) = date {
                    line.text(" ");
                    write::date_time(*date, line.out());
                }
                line.text(" ");
                line.announce(*octets);
                return line.leave_open();
            }
            Request::Idle => line.text(" IDLE"),
            Request::Unselect => line.text(if abilities.unselect { " UNSELECT" } else { " CLOSE" }),
            Request::Logout => line.text(" LOGOUT"),
            Request::Other(text) => {
                line.text(" ");
                line.text(text);
            }
        }
        line.end()
    }
}

fn status_items(items: &[StatusItem], line: &mut Line) {
    write::list(items, line.out(), |item, out| out.extend_from_slice(item.as_str().as_bytes()));
}

fn fetch_item(item: &FetchItem, out: &mut BytesMut) {
    let name: &[u8] = match item {
        FetchItem::Flags => b"FLAGS",
        FetchItem::Uid => b"UID",
        FetchItem::InternalDate => b"INTERNALDATE",
        FetchItem::Size => b"RFC822.SIZE",
        FetchItem::Envelope => b"ENVELOPE",
        FetchItem::Body => b"BODY",
        FetchItem::BodyStructure => b"BODYSTRUCTURE",
        FetchItem::ModSeq => b"MODSEQ",
        FetchItem::EmailId => b"EMAILID",
        FetchItem::ThreadId => b"THREADID",
        FetchItem::SaveDate => b"SAVEDATE",
        FetchItem::Preview { lazy: true } => b"PREVIEW (LAZY)",
        FetchItem::Preview { lazy: false } => b"PREVIEW",
        FetchItem::Section(section) => return section_item(section, out),
        FetchItem::BinarySize(path) => {
            out.extend_from_slice(b"BINARY.SIZE[");
            crate::response::path(path, out);
            return out.put_u8(b']');
        }
    };
    out.extend_from_slice(name);
}

/// A section's label, but with `.PEEK` and the length of the partial.
fn section_item(section: &Section, out: &mut BytesMut) {
    let start = out.len();
    let whole = Section { partial: None, ..section.clone() };
    SectionLabel(&whole).render(out);
    let name = match section.item {
        SectionItem::Body => "BODY",
        SectionItem::Binary => "BINARY",
        SectionItem::Rfc822 | SectionItem::Rfc822Header | SectionItem::Rfc822Text => return,
    };
    if section.peek {
        let rest = out.split_off(start + name.len());
        out.extend_from_slice(b".PEEK");
        out.unsplit(rest);
    }
    if let Some((origin, octets)) = section.partial {
        out.extend_from_slice(format!("<{origin}.{octets}>").as_bytes());
    }
}
