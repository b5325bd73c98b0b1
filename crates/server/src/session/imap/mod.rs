//! IMAP at the post office's counter.

mod append;
mod change;
mod convert;
mod fetch;
mod hierarchy;
mod news;
mod search;
mod section;
mod select;
mod telling;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use packetboat_account::{Denied, Service};
use packetboat_imap::command::Request;
use packetboat_imap::response::{Code, Completion, Response, Status};
use packetboat_imap::server::{BACKLOG_HIGH, Config, Event, Refusal, Server};
use packetboat_imap::value::{Messages, Target};
use packetboat_mail::mailbox::{Appending, Cursor, Mailboxes, Picked, Ranges, Selected};
use packetboat_mail::{Note, Terminal};

use super::login::{Login, Visitor};
use super::{Counter, random};
use crate::drive::{Handler, Link, Stop, Summary, drive};
use crate::limits;
use crate::listen::{self, Peer};
use crate::metrics::Metrics;
use convert::refused;
use fetch::Fetching;
use news::{ChangedFlags, Then, Told};
use search::Searching;

/// IMAP, as listeners know it.
#[derive(Debug)]
pub struct ImapService {
    config: Arc<Config>,
    counter: Counter,
    metrics: Arc<Metrics>,
}

impl ImapService {
    /// Serves by this configuration.
    pub fn new(config: Config, counter: Counter, metrics: Arc<Metrics>) -> ImapService {
        ImapService { config: Arc::new(config), counter, metrics }
    }
}

impl listen::Service for ImapService {
    fn serve(&self, link: Link, peer: Peer) -> Pin<Box<dyn Future<Output = Summary> + Send>> {
        let session = Server::new(Arc::clone(&self.config), random());
        let owner = Imap {
            counter: self.counter.clone(),
            metrics: Arc::clone(&self.metrics),
            peer,
            append_limit: self.config.append_limit,
            visitor: Visitor::new(Service::Imap),
            terminal: None,
            note: None,
            mailboxes: None,
            selected: None,
            saved: Ranges::new(),
            work: None,
            appending: None,
            idling: false,
            broken: None,
        };
        Box::pin(drive(link, session, owner))
    }

    fn refusal(&self, _: limits::Refusal) -> Bytes {
        Bytes::from_static(b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n")
    }

    fn has_login(&self) -> bool {
        true
    }
}

/// The owner of one session.
#[derive(Debug)]
struct Imap {
    counter: Counter,
    metrics: Arc<Metrics>,
    peer: Peer,
    append_limit: u64,
    visitor: Visitor,
    /// Where messages are shown that are not for a mailbox.
    terminal: Option<Box<Terminal>>,
    note: Option<Arc<Note>>,
    mailboxes: Option<Box<Mailboxes>>,
    selected: Option<Box<Selected>>,
    /// UIDs that the last SEARCH saved (RFC 5182).
    saved: Ranges,
    /// What of the command in hand is still to be said.
    work: Option<Work>,
    appending: Option<Box<Replacing>>,
    idling: bool,
    /// Why the client can be told nothing more: a response has begun that cannot be ended.
    broken: Option<String>,
}

/// Messages that come in, and the one that goes when they are there.
#[derive(Debug)]
struct Replacing {
    messages: Appending,
    /// UID of the message that is replaced.
    replaces: Option<u32>,
}

/// A command that is answered piece by piece, as the client takes it.
#[derive(Debug)]
enum Work {
    Fetch(Box<Fetching>),
    Search(Box<Searching>),
    Flags(Box<ChangedFlags>),
}

/// How a command ends.
#[derive(Debug)]
enum Ending {
    Completed(Completion),
    Selected { read_write: bool, completion: Completion },
}

impl From<Completion> for Ending {
    fn from(completion: Completion) -> Ending {
        Ending::Completed(completion)
    }
}

/// A command cannot be carried out; what the client is told.
type Refused<T = ()> = Result<T, Completion>;

impl Imap {
    fn login(&mut self) -> &mut Login {
        self.visitor.login(&self.counter, &self.metrics, &self.peer)
    }

    async fn log_in(&mut self, session: &mut Server, login: packetboat_imap::server::Login) {
        use packetboat_imap::server::Login;
        let outcome = match login {
            Login::Password { authzid, authcid, password } => {
                self.login().password(&authcid, authzid.as_deref(), &password).await
            }
            Login::Proved { authzid, authcid, key } => self.login().proved(&authcid, authzid.as_deref(), key),
            Login::Disproved { .. } => {
                self.login().disproved();
                return session.refuse(Refusal::Credentials);
            }
        };
        match outcome {
            Ok(identity) => {
                self.terminal = Some(Box::new(self.counter.office.terminals().open(identity.account)));
                self.visitor.enter(identity);
                session.accept();
            }
            Err(denied) => session.refuse(refusal(&denied)),
        }
    }

    /// The mailboxes of who is logged in.
    async fn mailboxes(&mut self) -> Refused<&Mailboxes> {
        if self.mailboxes.is_none() {
            let account = self.visitor.identity().ok_or_else(convert::unavailable)?.account;
            let mailboxes = self.counter.office.mailboxes(account).await.map_err(|e| refused(&e))?;
            self.mailboxes = Some(Box::new(mailboxes));
        }
        self.mailboxes.as_deref().ok_or_else(convert::unavailable)
    }

    fn selected(&mut self) -> Refused<&mut Selected> {
        self.selected.as_deref_mut().ok_or_else(|| Completion::no(None, "No mailbox is selected"))
    }

    /// The messages a command means.
    fn pick(&mut self, target: &Target) -> Refused<Picked> {
        let saved = match &target.messages {
            Messages::Saved => self.saved.iter().map(|&(first, last)| (Some(first), Some(last))).collect(),
            Messages::Set(_) => Vec::new(),
        };
        let selected = self.selected()?;
        match &target.messages {
            Messages::Saved => Ok(selected.pick_uids(&saved)),
            Messages::Set(set) if target.uid => Ok(selected.pick_uids(&convert::bounds(set))),
            Messages::Set(set) => {
                selected.pick_numbers(&convert::bounds(set)).map_err(|_| convert::no_such_message())
            }
        }
    }

    async fn request(&mut self, session: &mut Server, request: Request) {
        let expunges = request.expunge_allowed();
        let removes = matches!(request, Request::Expunge(_) | Request::Copy { and_remove: true, .. });
        let ending = match self.carry_out(session, request).await {
            Ok(Some(ending)) => ending,
            Ok(None) => return,
            Err(completion) => completion.into(),
        };
        if !(removes && session.qresync()) {
            return self.finish(session, expunges, ending).await;
        }
        // What is gone by now has a MODSEQ (RFC 7162 section 3.2.7, RFC 6851 section 4.4).
        let flags = self.say_news(session, expunges).await;
        let ending = match (ending, &self.selected) {
            (Ending::Completed(completion), Some(selected))
                if completion.status == Status::Ok && completion.code.is_none() =>
            {
                completion.with(Code::HighestModSeq(selected.highest_modseq())).into()
            }
            (ending, _) => ending,
        };
        self.finish_after(session, flags, ending).await;
    }

    /// Does what is asked. `None`: more is to be said later.
    async fn carry_out(&mut self, session: &mut Server, request: Request) -> Refused<Option<Ending>> {
        let completion = match request {
            Request::Select(select) => return self.select(session, select).await,
            Request::Create { mailbox, special_use } => self.create(&mailbox, &special_use).await?,
            Request::Delete(mailbox) => self.delete(&mailbox).await?,
            Request::Rename { from, to } => self.rename(&from, &to).await?,
            Request::Subscribe(mailbox) => self.subscribe(&mailbox, true).await?,
            Request::Unsubscribe(mailbox) => self.subscribe(&mailbox, false).await?,
            Request::List(list) => self.list(session, list).await?,
            Request::Status { mailbox, items } => self.status(session, mailbox, &items).await?,
            Request::GetQuota(root) => self.quota(session, &root).await?,
            Request::GetQuotaRoot(mailbox) => self.quota_root(session, mailbox).await?,
            Request::SetQuota(..) => Completion::no(Code::NoPerm, "Quotas are set by the administrator"),
            Request::Poll => Completion::ok("Done"),
            Request::Idle => {
                self.idling = true;
                self.tell_news(session).await;
                return Ok(None);
            }
            Request::Close => self.close(true).await?,
            Request::Unselect => self.close(false).await?,
            Request::Expunge(target) => self.expunge(target.as_ref()).await?,
            Request::Search(search) => return self.search(session, search).await,
            Request::Sort { order, search } => return self.sort(session, &order, search).await,
            Request::Thread { algorithm, search } => return self.thread(session, algorithm, search).await,
            Request::Fetch(fetch) => {
                let fetching = self.begin_fetch(session, fetch).await?;
                self.work = Some(Work::Fetch(Box::new(fetching)));
                self.resume(session).await;
                return Ok(None);
            }
            Request::Store(store) => return self.store(session, &store).await,
            Request::Copy { target, mailbox, and_remove } => {
                self.copy(session, &target, &mailbox, and_remove).await?
            }
        };
        Ok(Some(completion.into()))
    }

    /// Goes on with the command in hand.
    async fn resume(&mut self, session: &mut Server) {
        match self.work.take() {
            Some(Work::Fetch(mut fetching)) => match self.go_on_fetching(session, &mut fetching).await {
                Ok(None) => self.work = Some(Work::Fetch(fetching)),
                Ok(Some(completion)) => self.finish(session, fetching.expunges(), completion.into()).await,
                Err(completion) if fetching.is_within() => self.broken = Some(completion.text.into_owned()),
                Err(completion) => self.finish(session, fetching.expunges(), completion.into()).await,
            },
            Some(Work::Search(mut searching)) => match self.go_on_searching(session, &mut searching).await {
                Ok(None) => self.work = Some(Work::Search(searching)),
                Ok(Some(completion)) | Err(completion) => {
                    self.finish(session, searching.expunges(), completion.into()).await;
                }
            },
            Some(Work::Flags(changed)) => self.go_on_with_flags(session, *changed).await,
            None => {}
        }
    }

    /// Says what is new, and ends the command.
    async fn finish(&mut self, session: &mut Server, expunges: bool, ending: Ending) {
        let flags = self.say_news(session, expunges).await;
        self.finish_after(session, flags, ending).await;
    }

    async fn finish_after(&mut self, session: &mut Server, flags: Option<Cursor>, ending: Ending) {
        match flags {
            Some(cursor) => {
                let changed = ChangedFlags { cursor, how: Told::default(), then: Then::End(ending) };
                self.go_on_with_flags(session, changed).await;
            }
            None => end(session, ending),
        }
    }
}

fn end(session: &mut Server, ending: Ending) {
    match ending {
        Ending::Completed(completion) => session.complete(completion),
        Ending::Selected { read_write, completion } => session.selected(read_write, completion),
    }
}

impl Handler<Server> for Imap {
    async fn handle(&mut self, session: &mut Server, event: Event) -> Result<(), Stop> {
        if !matches!(event, Event::Resume) {
            self.idling = false;
        }
        match event {
            Event::Login(login) => self.log_in(session, login).await,
            Event::ScramKeys { authcid, hash } => match self.login().scram_keys(&authcid, hash).await {
                Ok(keys) => session.scram_keys(keys),
                Err(denied) => session.refuse(refusal(&denied)),
            },
            Event::Request(request) => self.request(session, *request).await,
            Event::Resume => self.resume(session).await,
            Event::AppendBegin(append) => {
                let begun = self.append_begin(append).await;
                answer_append(session, begun);
            }
            Event::AppendMessage { flags, date, octets, .. } => {
                let begun = self.append_message(flags, date, octets).await;
                answer_append(session, begun);
            }
            Event::AppendChunk(chunk) => {
                let written = self.append_chunk(chunk).await;
                answer_append(session, written);
            }
            Event::AppendMessageEnd => {
                let ended = self.append_message_end();
                answer_append(session, ended);
            }
            Event::AppendCommit => {
                let completion = self.append_commit(session).await.unwrap_or_else(|refused| refused);
                self.finish(session, true, completion.into()).await;
            }
            Event::AppendAborted => self.appending = None,
            Event::Ended => {
                self.terminal = None;
                self.appending = None;
                self.selected = None;
            }
        }
        self.broken.take().map_or(Ok(()), |reason| Err(Stop(reason)))
    }

    async fn news(&mut self) {
        let changed = async {
            match &mut self.selected {
                // What could not be said at once is said before anything newer.
                Some(_) if self.idling && self.work.is_some() => {}
                Some(selected) if self.idling => selected.changed().await,
                _ => std::future::pending().await,
            }
        };
        let shown = async {
            match &mut self.terminal {
                Some(terminal) => terminal.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.visitor.revoked() => {}
            () = changed => {}
            note = shown => self.note = Some(note),
        }
    }

    async fn tell(&mut self, session: &mut Server) -> Result<(), Stop> {
        if self.visitor.is_revoked() {
            self.visitor.log_revoked(&self.peer);
            session.end(None, "Access to this account has changed");
            return Ok(());
        }
        if let Some(note) = self.note.take() {
            session.alert(note.to_string());
            return Ok(());
        }
        if !session.is_idling() {
            self.idling = false;
            return Ok(());
        }
        if self.work.is_some() {
            self.resume(session).await;
        } else {
            self.tell_news(session).await;
        }
        Ok(())
    }

    fn in_bulk(&self) -> bool {
        self.appending.is_some()
    }
}

fn answer_append(session: &mut Server, outcome: Refused) {
    match outcome {
        Ok(()) => session.append_ready(),
        Err(completion) => session.append_refuse(completion),
    }
}

/// What the client is told.
fn refusal(denied: &Denied) -> Refusal {
    if denied.is_temporary() { Refusal::Temporary } else { Refusal::Credentials }
}

/// Says a condition that is no answer.
fn say_ok(session: &mut Server, code: Code, text: &'static str) {
    session.say(&Response::Condition(Completion::ok(text).with(code)));
}
