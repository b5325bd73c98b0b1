//! Which command may be given when, and what the session does of them itself.

use super::read::completion_of;
use super::{Advance, Asked, Event, Extension, Extensions, Idling, Kind, Server, State, Work};
use crate::command::{ClientId, Command, FetchItem, Request, SearchKey, SectionItem, split_tag};
use crate::response::{self, Code, Completion, Mode, Status, StatusItem};
use crate::value::{Messages, Target};

/// What browsers and the like begin with.
const FOREIGN_TAGS: [&str; 8] = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "CONNECT", "PATCH"];

impl Server {
    /// Carries out a command that is there as a whole.
    pub(super) fn carry_out(&mut self, text: &[u8]) {
        let Some((tag, rest)) = split_tag(text) else {
            return self.bad("", "The tag is missing");
        };
        if FOREIGN_TAGS.contains(&tag) && (rest.starts_with(b"/") || rest.starts_with(b"http")) {
            // A browser was made to send this: whatever else it sends might be somebody's idea of commands.
            return self.bye(None, "This is IMAP");
        }
        match Command::parse(rest, self.enabled.utf8_names()) {
            Ok(command) => self.command(tag, command),
            Err(error) => {
                let completion = completion_of(error);
                match completion.status {
                    Status::Bad => self.mistake(tag, &completion),
                    _ => self.tagged(tag, &completion),
                }
            }
        }
    }

    fn command(&mut self, tag: &str, command: Command) {
        let logged_in = matches!(self.state, State::Authenticated | State::Selected);
        let needed = match &command {
            Command::Id(_) => Some(Extension::Id),
            Command::Namespace => Some(Extension::Namespace),
            Command::Idle => Some(Extension::Idle),
            Command::Compress => Some(Extension::Compress),
            Command::Request(request) => needed(request),
            _ => None,
        };
        let with_modseq = matches!(&command, Command::Request(request) if asks_modseq(request));
        if needed.is_some_and(|extension| self.off.contains(extension))
            || with_modseq && self.off.contains(Extension::CondStore)
            || matches!(&command, Command::Request(request) if uses_what_is_off(request, self.off))
        {
            return self.bad(tag, "There is no such command");
        }
        match command {
            Command::Capability => {
                let words = self.capabilities();
                response::capability(&words, &mut self.output);
                self.ok(tag, "That is all");
            }
            Command::Logout => {
                response::goodbye(&Completion::ok("Goodbye"), &Mode::default(), &mut self.output);
                self.ok(tag, "Logged out");
                self.close();
            }
            Command::Id(id) => self.id(tag, id),
            Command::Noop if matches!(self.state, State::Selected) => {
                self.ask(tag, Request::Poll, Kind::Other);
            }
            Command::Noop => self.ok(tag, "Nothing was done"),
            Command::StartTls if logged_in => self.bad(tag, "TLS has to begin before the login"),
            Command::StartTls => self.starttls(tag),
            Command::Login { .. } | Command::Authenticate { .. } if logged_in => {
                self.bad(tag, "You are logged in already");
            }
            Command::Login { name, password } => self.login(tag, &name, password),
            Command::Authenticate { mechanism, initial } => {
                self.authenticate(tag, &mechanism, initial.as_ref());
            }
            _ if !logged_in => self.bad(tag, "Log in first"),
            Command::Enable(words) => self.enable(tag, &words),
            Command::Namespace => {
                response::namespace(&mut self.output);
                self.ok(tag, "That is all");
            }
            Command::Compress => self.compress(tag),
            Command::Idle => self.idle(tag),
            Command::Check if matches!(self.state, State::Selected) => {
                self.ask(tag, Request::Poll, Kind::Other);
            }
            Command::Check => self.bad(tag, "No mailbox is selected"),
            Command::Request(request) => self.request(tag, *request),
        }
    }

    /// Hands a command to the owner.
    fn ask(&mut self, tag: &str, request: Request, kind: Kind) {
        self.work = Work::Asked(Box::new(Asked { tag: tag.to_owned(), kind }));
        self.event = Some(Event::Request(Box::new(request)));
    }

    fn request(&mut self, tag: &str, request: Request) {
        if !matches!(self.state, State::Selected) && needs_selected(&request) {
            return self.bad(tag, "No mailbox is selected");
        }
        if !self.enabled.qresync && needs_qresync(&request) {
            // RFC 7162 section 3.2.5, 3.2.6
            return self.bad(tag, "ENABLE QRESYNC has to come first");
        }
        if names_saved(&request) && self.off.contains(Extension::SearchRes) {
            return self.bad(tag, "Nothing can be saved here");
        }
        self.enabled.condstore |= asks_modseq(&request);
        let kind = match &request {
            Request::Select(select) => {
                if matches!(self.state, State::Selected) {
                    let closed = Completion::ok("The mailbox selected before is closed").with(Code::Closed);
                    response::tagged(&closed, &self.enabled.mode(""), &mut self.output);
                }
                self.state = State::Authenticated;
                Kind::Select { examine: select.examine }
            }
            Request::Close | Request::Unselect => Kind::Leave,
            Request::Search(search) => Kind::Search { uid: search.uid },
            _ => Kind::Other,
        };
        self.ask(tag, request, kind);
    }

    fn id(&mut self, tag: &str, id: Option<ClientId>) {
        if let Some(name) = id.as_ref().and_then(|id| id.name.as_ref()) {
            let name = name.to_lowercase();
            for (part, extensions) in &self.config.disabled_for {
                if name.contains(&part.to_lowercase()) {
                    self.off.add(extensions);
                }
            }
        }
        self.client_id = id.map(Box::new);
        let config = self.config.clone();
        let fields = match &config.implementation {
            Some((name, version)) => vec![("name", name.as_str()), ("version", version.as_str())],
            None => Vec::new(),
        };
        response::id(&fields, &self.enabled.mode(""), &mut self.output);
        self.ok(tag, "Pleased to meet you");
    }

    /// ENABLE (RFC 5161). What is not known is passed over in silence.
    fn enable(&mut self, tag: &str, words: &[String]) {
        let mut enabled = Vec::new();
        for word in words {
            let (extension, name) = match word.as_str() {
                "IMAP4REV2" => (Extension::Rev2, "IMAP4rev2"),
                "UTF8=ACCEPT" => (Extension::Utf8, "UTF8=ACCEPT"),
                "CONDSTORE" => (Extension::CondStore, "CONDSTORE"),
                "QRESYNC" => (Extension::Qresync, "QRESYNC"),
                _ => continue,
            };
            if self.off.contains(extension) || enabled.contains(&name) {
                continue;
            }
            match extension {
                Extension::Rev2 => self.enabled.rev2 = true,
                Extension::Utf8 => self.enabled.utf8 = true,
                Extension::Qresync => (self.enabled.condstore, self.enabled.qresync) = (true, true),
                _ => self.enabled.condstore = true,
            }
            enabled.push(name);
        }
        response::enabled(&enabled, &mut self.output);
        self.ok(tag, "Enabled");
    }

    fn idle(&mut self, tag: &str) {
        response::continuation("Idling", &mut self.output);
        self.work = Work::Idling(Box::new(Idling { tag: tag.to_owned(), told: None }));
        self.event = Some(Event::Request(Box::new(Request::Idle)));
    }

    /// DONE ends IDLE. Some clients forget it: what they send instead ends it, too, and is carried out.
    pub(super) fn read_while_idling(&mut self) -> Advance {
        let line = match self.take_line(0) {
            None => return self.nothing_read(),
            Some(line) => line,
        };
        let Work::Idling(idling) = std::mem::take(&mut self.work) else { return Advance::Progress };
        match line {
            Ok(line) if line.trim_ascii_end().eq_ignore_ascii_case(b"DONE") => {
                self.ok(&idling.tag, "No longer idling");
            }
            Ok(line) => {
                self.bad(&idling.tag, "DONE was expected");
                if !matches!(self.state, State::Closed) {
                    self.begin_command(line);
                }
            }
            Err(_) => self.bad(&idling.tag, "DONE was expected"),
        }
        Advance::Progress
    }
}

/// Whether a command is about the mailbox that is selected.
fn needs_selected(request: &Request) -> bool {
    match request {
        Request::Close
        | Request::Unselect
        | Request::Expunge(_)
        | Request::Search(_)
        | Request::Sort { .. }
        | Request::Thread { .. }
        | Request::Fetch(_)
        | Request::Store(_)
        | Request::Copy { .. }
        | Request::Poll => true,
        Request::Select(_)
        | Request::Create { .. }
        | Request::Delete(_)
        | Request::Rename { .. }
        | Request::Subscribe(_)
        | Request::Unsubscribe(_)
        | Request::List(_)
        | Request::Status { .. }
        | Request::GetQuota(_)
        | Request::GetQuotaRoot(_)
        | Request::SetQuota(..)
        | Request::Idle => false,
    }
}

fn needs_qresync(request: &Request) -> bool {
    match request {
        Request::Select(select) => select.qresync.is_some(),
        Request::Fetch(fetch) => fetch.vanished,
        _ => false,
    }
}

/// Whether the command turns on CONDSTORE (RFC 7162 section 3.1).
fn asks_modseq(request: &Request) -> bool {
    match request {
        Request::Select(select) => select.condstore,
        Request::Status { items, .. } => items.contains(&StatusItem::HighestModSeq),
        Request::List(list) => list.returns.status.contains(&StatusItem::HighestModSeq),
        Request::Fetch(fetch) => fetch.changed_since.is_some() || fetch.items.contains(&FetchItem::ModSeq),
        Request::Store(store) => store.unchanged_since.is_some(),
        Request::Search(search) | Request::Sort { search, .. } | Request::Thread { search, .. } => {
            search.key.uses_modseq()
        }
        _ => false,
    }
}

/// Whether the command names what a SEARCH has saved, outside of a search of its own.
fn names_saved(request: &Request) -> bool {
    let saved = |target: &Target| matches!(target.messages, Messages::Saved);
    match request {
        Request::Fetch(fetch) => saved(&fetch.target),
        Request::Store(store) => saved(&store.target),
        Request::Copy { target, .. } | Request::Expunge(Some(target)) => saved(target),
        _ => false,
    }
}

/// The extension a command belongs to, as a whole.
fn needed(request: &Request) -> Option<Extension> {
    match request {
        Request::Unselect => Some(Extension::Unselect),
        Request::Copy { and_remove: true, .. } => Some(Extension::Move),
        Request::Expunge(Some(_)) => Some(Extension::UidPlus),
        Request::Sort { .. } => Some(Extension::Sort),
        Request::Thread { .. } => Some(Extension::Thread),
        Request::GetQuota(_) | Request::GetQuotaRoot(_) | Request::SetQuota(..) => Some(Extension::Quota),
        Request::List(list) if !list.returns.status.is_empty() => Some(Extension::ListStatus),
        Request::List(list) if list.returns.extended => Some(Extension::ListExtended),
        Request::Create { special_use, .. } if !special_use.is_empty() => Some(Extension::SpecialUse),
        _ => None,
    }
}

/// Whether something in the command belongs to an extension that is off.
fn uses_what_is_off(request: &Request, off: Extensions) -> bool {
    if off == Extensions::default() {
        return false;
    }
    let is_off = |extension: Option<Extension>| extension.is_some_and(|extension| off.contains(extension));
    match request {
        Request::Status { items, .. } => items.iter().any(|item| is_off(of_status(item))),
        Request::List(list) => {
            list.select.special_use && off.contains(Extension::SpecialUse)
                || list.returns.status.iter().any(|item| is_off(of_status(item)))
        }
        Request::Fetch(fetch) => {
            fetch.partial.is_some() && off.contains(Extension::Partial)
                || fetch.items.iter().any(|item| is_off(of_fetch(item)))
        }
        Request::Search(search) | Request::Sort { search, .. } | Request::Thread { search, .. } => {
            search.key.any(&|key| is_off(of_key(key)))
                || search.returns.is_some_and(|returns| {
                    is_off(Some(if returns.partial.is_some() {
                        Extension::Partial
                    } else if returns.save {
                        Extension::SearchRes
                    } else {
                        Extension::Esearch
                    }))
                })
        }
        _ => false,
    }
}

fn of_status(item: &StatusItem) -> Option<Extension> {
    match item {
        StatusItem::Size => Some(Extension::StatusSize),
        StatusItem::AppendLimit => Some(Extension::AppendLimit),
        StatusItem::MailboxId => Some(Extension::ObjectId),
        _ => None,
    }
}

fn of_fetch(item: &FetchItem) -> Option<Extension> {
    match item {
        FetchItem::Preview { .. } => Some(Extension::Preview),
        FetchItem::SaveDate => Some(Extension::SaveDate),
        FetchItem::EmailId | FetchItem::ThreadId => Some(Extension::ObjectId),
        FetchItem::BinarySize(_) => Some(Extension::Binary),
        FetchItem::Section(section) if section.item == SectionItem::Binary => Some(Extension::Binary),
        _ => None,
    }
}

fn of_key(key: &SearchKey) -> Option<Extension> {
    match key {
        SearchKey::Older(_) | SearchKey::Younger(_) => Some(Extension::Within),
        SearchKey::EmailId(_) | SearchKey::ThreadId(_) => Some(Extension::ObjectId),
        SearchKey::Saved(_) => Some(Extension::SaveDate),
        _ => None,
    }
}
