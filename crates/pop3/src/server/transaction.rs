//! The TRANSACTION state: what is in the maildrop, and out with it.

use std::fmt::{self, Write};

use bytes::Bytes;
use packetboat_wire::{Endings, Stuffer};

use super::maildrop::{Maildrop, NotThere};
use super::top::Top;
use super::{
    Abandonment, Advance, Event, NoBody, OUTPUT_PIECE, Part, Server, State, UNIQUE_IDS_PAGE, line_max,
};
use crate::Command;
use crate::reply::Reply;

/// Shorter pieces of a message are copied behind what is already to be sent: one write instead of three.
const COPIED_MAX: usize = OUTPUT_PIECE / 2;

/// Characters of a unique-id at most (RFC 1939 section 7).
const UNIQUE_ID_MAX: usize = 70;

/// What a session knows after the login.
#[derive(Debug)]
pub(super) struct Transaction {
    maildrop: Maildrop,
    task: Task,
}

/// What is under way. One command is finished before the next is read.
#[derive(Debug)]
enum Task {
    /// A command has to come.
    Command,
    /// LIST goes on with this message.
    Listing { next: usize },
    /// The owner was asked for the unique-ids of `first..end`; the reply has begun if this is not the first page.
    UniqueIds { first: usize, end: usize, begun: bool },
    /// The owner was asked for one unique-id.
    UniqueId { index: usize },
    /// The owner was asked for a message.
    Retrieve { index: usize, part: Part },
    /// Message text is under way.
    Body { top: Option<Top>, stuffer: Box<Stuffer>, flow: Flow },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// More has to be asked for.
    Ask,
    /// The owner was asked for more.
    Asked,
    /// All of it was taken; the end mark has to follow.
    End,
}

impl Transaction {
    pub(super) fn new(maildrop: Maildrop) -> Transaction {
        Transaction { maildrop, task: Task::Command }
    }

    pub(super) fn awaits_answer(&self) -> bool {
        match self.task {
            Task::Command | Task::Listing { .. } => false,
            Task::UniqueIds { .. } | Task::UniqueId { .. } | Task::Retrieve { .. } => true,
            Task::Body { flow, .. } => flow == Flow::Asked,
        }
    }
}

impl Server {
    pub(super) fn advance_transaction(&mut self) -> Advance {
        let State::Transaction(transaction) = &mut self.state else { return Advance::Blocked };
        match &mut transaction.task {
            Task::Command => return self.take_transaction_command(),
            Task::Listing { next } => {
                let next = *next;
                self.list_from(next);
            }
            Task::Body { flow: flow @ Flow::Ask, .. } => {
                *flow = Flow::Asked;
                self.event = Some(Event::MoreBody);
            }
            Task::Body { flow: Flow::End, stuffer, .. } => {
                self.output.extend_from_slice(&stuffer.finish());
                transaction.task = Task::Command;
            }
            _ => return Advance::Blocked,
        }
        Advance::Progress
    }

    fn take_transaction_command(&mut self) -> Advance {
        match self.take_line(line_max(&self.state)) {
            Ok(Some(line)) => match Command::parse(&line, self.config.strictness) {
                Ok(command) => self.transaction_command(command),
                Err(invalid) => self.invalid(invalid),
            },
            Ok(None) if matches!(self.state, State::Closed) => {}
            Ok(None) => return Advance::Blocked,
            Err(error) => self.unreadable(error),
        }
        Advance::Progress
    }

    fn transaction_command(&mut self, command: Command) {
        let State::Transaction(transaction) = &mut self.state else { return };
        let maildrop = &mut transaction.maildrop;
        match command {
            Command::Stat => {
                let (messages, octets) = (maildrop.messages(), maildrop.octets());
                self.reply(Reply::DropListing { messages, octets });
            }
            Command::List(None) => {
                let (messages, octets) = (maildrop.messages(), maildrop.octets());
                transaction.task = Task::Listing { next: 0 };
                self.reply(Reply::ListFollows { messages, octets });
            }
            Command::List(Some(number)) => {
                if let Some(index) = self.find(number) {
                    let octets = self.size(index);
                    self.reply(Reply::ScanListing { number, octets });
                }
            }
            Command::Retr(number) => self.retrieve(number, Part::Whole),
            Command::Top { message, lines } => self.retrieve(message, Part::Top { lines }),
            Command::Dele(number) => {
                if let Some(index) = self.find(number) {
                    if let State::Transaction(transaction) = &mut self.state {
                        transaction.maildrop.delete(index);
                    }
                    self.reply(Reply::Deleted { number });
                }
            }
            Command::Noop => self.reply(Reply::Done),
            Command::Rset => {
                maildrop.reset();
                let (messages, octets) = (maildrop.messages(), maildrop.octets());
                self.reply(Reply::Maildrop { messages, octets });
            }
            Command::Uidl(None) => self.ask_unique_ids(0, false),
            Command::Uidl(Some(number)) => {
                if let Some(index) = self.find(number) {
                    self.ask(Task::UniqueId { index }, Event::UniqueIds { first: index, count: 1 });
                }
            }
            Command::Quit => {
                let (messages_left, deletions) = (maildrop.messages(), maildrop.take_deletions());
                self.state = State::Update { messages_left };
                self.event = Some(Event::Commit { deletions });
            }
            Command::Capa => self.list_capabilities(),
            Command::Lang(None) => self.list_languages(),
            Command::Lang(Some(range)) => self.choose_language(&range),
            Command::User(_)
            | Command::Pass(_)
            | Command::Apop { .. }
            | Command::AuthList
            | Command::Auth { .. }
            | Command::Stls
            | Command::Utf8 => self.mistake(Reply::AlreadyLoggedIn),
        }
    }

    fn ask(&mut self, task: Task, event: Event) {
        self.set_task(task);
        self.event = Some(event);
    }

    fn set_task(&mut self, task: Task) {
        if let State::Transaction(transaction) = &mut self.state {
            transaction.task = task;
        }
    }

    /// The place of a message, or a reply that it is not there.
    fn find(&mut self, number: u64) -> Option<usize> {
        let State::Transaction(transaction) = &self.state else { return None };
        let messages = transaction.maildrop.messages();
        match transaction.maildrop.find(number) {
            Ok(index) => return Some(index),
            Err(NotThere::Missing) => self.reply(Reply::NoSuchMessage { messages }),
            Err(NotThere::Deleted) => self.reply(Reply::AlreadyDeleted { number }),
        }
        None
    }

    fn size(&self, index: usize) -> u64 {
        match &self.state {
            State::Transaction(transaction) => transaction.maildrop.size(index),
            _ => 0,
        }
    }

    /// Writes scan listings until a piece is full or none is left.
    fn list_from(&mut self, mut next: usize) {
        let State::Transaction(transaction) = &mut self.state else { return };
        let maildrop = &transaction.maildrop;
        while self.output.len() < OUTPUT_PIECE {
            let Some(index) = maildrop.present_from(next) else {
                self.output.extend_from_slice(b".\r\n");
                transaction.task = Task::Command;
                return;
            };
            // Writing into memory does not fail.
            let _ = write!(self.output, "{} {}\r\n", index + 1, maildrop.size(index));
            next = index + 1;
        }
        transaction.task = Task::Listing { next };
    }

    /// Asks for the next page of unique-ids, or ends the listing if all messages have been listed.
    fn ask_unique_ids(&mut self, from: usize, begun: bool) {
        let State::Transaction(transaction) = &self.state else { return };
        let maildrop = &transaction.maildrop;
        match maildrop.present_from(from) {
            Some(first) => {
                let end = first.saturating_add(UNIQUE_IDS_PAGE).min(maildrop.len());
                let event = Event::UniqueIds { first, count: end - first };
                self.ask(Task::UniqueIds { first, end, begun }, event);
            }
            None => {
                if !begun {
                    self.reply(Reply::UniqueIdsFollow);
                }
                self.output.extend_from_slice(b".\r\n");
                self.set_task(Task::Command);
            }
        }
    }

    /// The answer to [`Event::UniqueIds`]: the unique-id of each message asked for, in order. A unique-id has 1 to 70
    /// octets in the range 0x21 to 0x7E (RFC 1939 section 7); anything else, or too few of them, ends the session as
    /// [`unique_ids_failed`](Server::unique_ids_failed) does.
    pub fn unique_ids<I>(&mut self, ids: I)
    where
        I: IntoIterator,
        I::Item: fmt::Display,
    {
        let State::Transaction(transaction) = &self.state else { return };
        let mut ids = ids.into_iter();
        match transaction.task {
            Task::UniqueId { index } => {
                let mut line = bytes::BytesMut::new();
                Reply::UniqueIdOf { number: index as u64 + 1 }.begin(self.language, &mut line);
                if !ids.next().is_some_and(|id| write_unique_id(&mut line, &id)) {
                    return self.unique_ids_failed();
                }
                self.output.extend_from_slice(&line);
                self.set_task(Task::Command);
            }
            Task::UniqueIds { first, end, begun } => {
                if !begun {
                    Reply::UniqueIdsFollow.write(self.language, &mut self.output);
                }
                for index in first..end {
                    let Some(id) = ids.next() else { return self.broken_listing() };
                    if transaction.maildrop.is_deleted(index) {
                        continue;
                    }
                    let _ = write!(self.output, "{} ", index + 1);
                    if !write_unique_id(&mut self.output, &id) {
                        return self.broken_listing();
                    }
                }
                self.ask_unique_ids(end, true);
            }
            _ => {}
        }
    }

    /// The unique-ids asked for cannot be read. In the middle of a listing POP3 can only tell by closing.
    pub fn unique_ids_failed(&mut self) {
        let State::Transaction(transaction) = &self.state else { return };
        match transaction.task {
            Task::UniqueId { .. } | Task::UniqueIds { begun: false, .. } => {
                self.set_task(Task::Command);
                self.reply(Reply::TemporaryFailure);
            }
            Task::UniqueIds { begun: true, .. } => self.broken_listing(),
            _ => {}
        }
    }

    fn broken_listing(&mut self) {
        self.close(Abandonment::BrokenBody);
    }

    fn retrieve(&mut self, number: u64, part: Part) {
        if let Some(index) = self.find(number) {
            let utf8 = self.utf8;
            self.ask(Task::Retrieve { index, part }, Event::Retrieve { index, part, utf8 });
        }
    }

    /// The message of [`Event::Retrieve`] is there. [`Event::MoreBody`] comes next, unless its first piece is given at once.
    ///
    /// Its text goes out as it is, apart from dot-stuffing. If it does not end with CRLF, one is added, for the end mark
    /// needs it: the client gets two octets more than LIST said.
    pub fn begin_body(&mut self) {
        let State::Transaction(transaction) = &self.state else { return };
        let Task::Retrieve { index, part } = transaction.task else { return };
        let top = match part {
            Part::Whole => {
                self.reply(Reply::MessageFollows { octets: self.size(index) });
                None
            }
            Part::Top { lines } => {
                self.reply(Reply::TopFollows);
                Some(Top::new(lines))
            }
        };
        self.set_task(Task::Body { top, stuffer: Box::new(Stuffer::new(Endings::Keep)), flow: Flow::Ask });
    }

    /// The message of [`Event::Retrieve`] cannot be shown.
    pub fn no_body(&mut self, reason: NoBody) {
        let State::Transaction(transaction) = &self.state else { return };
        if !matches!(transaction.task, Task::Retrieve { .. }) {
            return;
        }
        let messages = transaction.maildrop.messages();
        self.set_task(Task::Command);
        self.reply(match reason {
            NoBody::Missing => Reply::NoSuchMessage { messages },
            NoBody::NeedsUtf8 => Reply::NeedsUtf8,
            NoBody::Temporary => Reply::TemporaryFailure,
            NoBody::Permanent => Reply::PermanentFailure,
        });
    }

    /// The next piece of message text, of any length: once for each [`Event::MoreBody`], and the first one also without
    /// it.
    pub fn body_chunk(&mut self, mut chunk: Bytes) {
        if !self.body.is_empty() {
            return;
        }
        let State::Transaction(transaction) = &mut self.state else { return };
        let Task::Body { top, stuffer, flow: flow @ (Flow::Ask | Flow::Asked) } = &mut transaction.task
        else {
            return;
        };
        *flow = Flow::Ask;
        if let Some(top) = top {
            let (wanted, end) = top.take(&chunk);
            chunk.truncate(wanted);
            if end {
                *flow = Flow::End;
            }
        }
        let stuffed = stuffer.stuff(chunk);
        if stuffed.len() <= COPIED_MAX {
            self.output.extend_from_slice(&stuffed);
        } else {
            self.body = stuffed;
        }
    }

    /// All of the message has been given: said instead of another piece, or right behind the last one.
    pub fn body_end(&mut self) {
        let State::Transaction(transaction) = &mut self.state else { return };
        if let Task::Body { flow, .. } = &mut transaction.task {
            *flow = Flow::End;
        }
    }

    /// The rest of the message cannot be read. The connection is closed, so that nobody takes the part for the whole.
    pub fn body_failed(&mut self) {
        let State::Transaction(transaction) = &self.state else { return };
        if matches!(transaction.task, Task::Body { .. }) {
            self.close(Abandonment::BrokenBody);
        }
    }
}

/// Appends a unique-id and CRLF; or, if it is none, nothing worth keeping.
fn write_unique_id(out: &mut bytes::BytesMut, id: &dyn fmt::Display) -> bool {
    let start = out.len();
    let _ = write!(out, "{id}");
    let written = out.get(start..).unwrap_or_default();
    let valid =
        (1..=UNIQUE_ID_MAX).contains(&written.len()) && written.iter().all(|octet| octet.is_ascii_graphic());
    out.extend_from_slice(b"\r\n");
    valid
}
