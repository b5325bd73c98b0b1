//! Reading mail from an IMAP server. Mailboxes are only looked at (EXAMINE), and messages stay as they are.

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use packetboat_imap::client::{
    Client, Config, Error, Event, Listing, RemoteName, Request, SEED_LENGTH, TlsPolicy, Untagged,
};
use packetboat_imap::command::{FetchItem, Section, SectionItem, SectionText};
use packetboat_imap::response::{Code, Completion};
use packetboat_imap::value::{Flag, NumberSet};
use packetboat_wire::sasl::Credentials;
use packetboat_wire::{Secret, Session as _};
use thiserror::Error as ThisError;

use super::{
    Contents, Folder, FolderPlace, ImapUrl, Message, Place, Sink, SourceError, Stopped, identity, local_name,
};
use crate::link::{Link, LinkError, TlsClient};
use crate::net;
use crate::tls::{self, Trust};

/// Messages asked for by one command.
const BATCH_MESSAGES: usize = 64;
/// Octets of them.
const BATCH_OCTETS: u64 = 4 << 20;
/// Commands under way.
const WINDOW: usize = 3;
/// For connecting.
const CONNECT: Duration = Duration::from_secs(30);
/// For the server to go on.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a lost connection is made again without anything having come in between, and how long is waited first.
const TRIES: u32 = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How to reach a server.
#[derive(Debug, Clone)]
pub struct Account {
    /// Where, and who.
    pub url: ImapUrl,
    /// The password.
    pub password: Secret<String>,
    /// Without TLS, if the server does not offer it.
    pub clear: bool,
    /// Whom to trust.
    pub trust: Trust,
}

/// Why a server's mail cannot be read.
#[derive(Debug, ThisError)]
pub enum RemoteError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] net::ConnectError),
    /// The connection went.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The conversation ended.
    #[error(transparent)]
    Session(#[from] Error),
    /// The server does not do this.
    #[error("the server refused {what}: {text}")]
    Refused {
        /// What.
        what: &'static str,
        /// What it said.
        text: String,
    },
    /// The mailbox is another one now.
    #[error("the mailbox changed its UIDVALIDITY meanwhile; run the import again")]
    Changed,
    /// No randomness for the login.
    #[error("the system has no randomness")]
    Randomness,
}

impl RemoteError {
    /// Whether another connection may do.
    fn is_loss(&self) -> bool {
        match self {
            RemoteError::Connect(_) | RemoteError::Link(LinkError::Lost(_) | LinkError::Stalled) => true,
            RemoteError::Session(error) => {
                matches!(error, Error::Closed | Error::Timeout | Error::Ended(_) | Error::Greeting(_))
            }
            _ => false,
        }
    }

    /// Whether the same may succeed later.
    pub fn is_temporary(&self) -> bool {
        self.is_loss() || matches!(self, RemoteError::Changed)
    }
}

/// An account on a server.
#[derive(Debug)]
pub struct Imap {
    account: Account,
    session: Option<(Link, Client)>,
    selected: Option<RemoteName>,
    losses: u32,
}

/// What EXAMINE told.
#[derive(Debug, Default)]
struct Selected {
    uid_validity: Option<u32>,
    uid_next: Option<u32>,
    exists: u32,
}

impl Imap {
    /// An account; nothing is asked yet.
    pub fn new(account: Account) -> Imap {
        Imap { account, session: None, selected: None, losses: 0 }
    }

    async fn connect(&mut self) -> Result<(), RemoteError> {
        if self.session.is_some() {
            return Ok(());
        }
        self.selected = None;
        let account = &self.account;
        let socket = net::connect(&account.url.place, CONNECT).await?;
        let mut config = Config::new(Some(Credentials {
            username: account.url.user.clone(),
            password: account.password.clone(),
            authzid: None,
        }));
        config.window = WINDOW;
        config.timeout = PATIENCE;
        if account.clear {
            config.tls = TlsPolicy::IfOffered;
            config.password_in_clear = true;
        }
        let host = account.url.place.host().unwrap_or("localhost").to_owned();
        let mut link =
            Link::new(socket, Some(TlsClient { config: tls::config(&account.trust)?, host }), None);
        let mut seed = [0; SEED_LENGTH];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| RemoteError::Randomness)?;
        let mut client = Client::new(config, seed);
        if account.url.implicit_tls {
            let facts = link.start_tls().await?;
            client.tls_started(facts);
        }
        loop {
            match link.next_event(&mut client).await? {
                Some(Event::Ready { .. }) => break,
                Some(Event::Failed(error)) => return Err(error.into()),
                Some(_) => {}
                None => return Err(Error::Closed.into()),
            }
        }
        self.session = Some((link, client));
        Ok(())
    }

    /// The next thing the server tells.
    async fn event(&mut self) -> Result<Event, RemoteError> {
        let Some((link, client)) = &mut self.session else { return Err(Error::Closed.into()) };
        match link.next_event(client).await? {
            Some(Event::Failed(error)) => Err(error.into()),
            Some(event) => Ok(event),
            None => Err(Error::Closed.into()),
        }
    }

    fn ask(&mut self, request: Request) {
        if let Some((_, client)) = &mut self.session {
            // What is asked here can be said.
            let _ = client.request(request);
        }
    }

    fn offers(&self, capability: &str) -> bool {
        let capabilities = self.session.as_ref().and_then(|(_, client)| client.capabilities());
        capabilities.is_some_and(|capabilities| capabilities.has(capability))
    }

    /// One command, and all that is told until it is answered.
    async fn command(
        &mut self,
        what: &'static str,
        request: Request,
        mut each: impl FnMut(Event),
    ) -> Result<Completion, RemoteError> {
        self.connect().await?;
        self.ask(request);
        loop {
            match self.event().await? {
                Event::Done { completion, .. } => return Ok(completion),
                Event::Refused { completion, .. } => {
                    return Err(RemoteError::Refused { what, text: completion.to_string() });
                }
                event => each(event),
            }
        }
    }

    /// Whether to go on after this error, on a new connection. Waits a while first.
    async fn recovers(&mut self, error: &RemoteError) -> bool {
        self.session = None;
        if !error.is_loss() || self.losses >= TRIES {
            return false;
        }
        // Where there never was a connection, there is nobody to wait for.
        if matches!(error, RemoteError::Connect(_)) && self.losses == 0 {
            return false;
        }
        tokio::time::sleep(FIRST_PAUSE * 2_u32.saturating_pow(self.losses)).await;
        self.losses += 1;
        true
    }

    pub(super) async fn folders(&mut self) -> Result<Vec<Folder>, SourceError> {
        loop {
            match self.list().await {
                Ok(folders) => return Ok(folders),
                Err(error) if self.recovers(&error).await => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn list(&mut self) -> Result<Vec<Folder>, RemoteError> {
        self.connect().await?;
        let mut namespaces = Default::default();
        if self.offers("NAMESPACE") || self.offers("IMAP4rev2") {
            let request = Request::Other("NAMESPACE".to_owned());
            self.command("NAMESPACE", request, |event| {
                if let Event::Untagged(Untagged::Namespace(told)) = event {
                    namespaces = told;
                }
            })
            .await?;
        }
        let extended = self.offers("LIST-EXTENDED") || self.offers("IMAP4rev2");
        let special = self.offers("SPECIAL-USE") || self.offers("IMAP4rev2");
        let all = |lsub| Request::List {
            lsub,
            reference: RemoteName::new(&b""[..]),
            pattern: RemoteName::new(&b"*"[..]),
            status: Vec::new(),
        };
        let request = match (extended, special) {
            (true, true) => Request::Other("LIST \"\" \"*\" RETURN (SPECIAL-USE SUBSCRIBED)".to_owned()),
            (true, false) => Request::Other("LIST \"\" \"*\" RETURN (SUBSCRIBED)".to_owned()),
            (false, _) => all(false),
        };
        let mut listings: Vec<Listing> = Vec::new();
        self.command("LIST", request, |event| {
            if let Event::Untagged(Untagged::List(listing)) = event {
                listings.push(listing);
            }
        })
        .await?;
        let mut subscribed: HashSet<RemoteName> = HashSet::new();
        if extended {
            let these = listings.iter().filter(|listing| listing.has("\\Subscribed"));
            subscribed.extend(these.map(|listing| listing.mailbox.clone()));
        } else {
            self.command("LSUB", all(true), |event| {
                if let Event::Untagged(Untagged::Lsub(listing)) = event {
                    subscribed.insert(listing.mailbox);
                }
            })
            .await?;
        }
        self.losses = 0;
        let [own, others, shared] = namespaces;
        let mut folders = Vec::new();
        for listing in listings.into_iter().filter(Listing::is_selectable) {
            let name = listing.mailbox.as_bytes();
            let foreign = others.iter().chain(&shared).map(|namespace| namespace.prefix.as_bytes());
            if foreign.filter(|prefix| !prefix.is_empty()).any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let prefixes = own.iter().map(|namespace| namespace.prefix.as_bytes());
            let rest = prefixes
                .filter(|prefix| !prefix.is_empty())
                .find_map(|prefix| name.strip_prefix(prefix))
                .filter(|rest| !rest.is_empty())
                .unwrap_or(name);
            let local = local_name(rest, listing.separator);
            if local.is_empty() || folders.iter().any(|folder: &Folder| folder.name == local) {
                continue;
            }
            folders.push(Folder {
                name: local,
                subscribed: subscribed.contains(&listing.mailbox),
                is_view: ["\\All", "\\Flagged", "\\Important"].iter().any(|name| listing.has(name)),
                special_uses: listing.attributes,
                place: FolderPlace::Remote(listing.mailbox),
            });
        }
        Ok(folders)
    }

    async fn select(&mut self, name: &RemoteName) -> Result<Selected, RemoteError> {
        let mut selected = Selected::default();
        let request = Request::Select { mailbox: name.clone(), examine: true, condstore: false };
        self.command("EXAMINE", request, |event| match event {
            Event::Untagged(Untagged::Condition(completion)) => match completion.code {
                Some(Code::UidValidity(validity)) => selected.uid_validity = Some(validity),
                Some(Code::UidNext(next)) => selected.uid_next = Some(next),
                _ => {}
            },
            Event::Untagged(Untagged::Exists(count)) => selected.exists = count,
            _ => {}
        })
        .await?;
        self.selected = Some(name.clone());
        Ok(selected)
    }

    pub(super) async fn contents(&mut self, folder: &Folder) -> Result<Contents, SourceError> {
        loop {
            match self.look(folder).await {
                Ok(contents) => return Ok(contents),
                Err(error) if self.recovers(&error).await => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn look(&mut self, folder: &Folder) -> Result<Contents, RemoteError> {
        let FolderPlace::Remote(name) = &folder.place else { return Ok(Contents::default()) };
        let selected = self.select(name).await?;
        let mut contents = Contents {
            uid_validity: selected.uid_validity,
            uid_next: selected.uid_next,
            ..Contents::default()
        };
        if selected.exists == 0 {
            return Ok(contents);
        }
        let Some(uids) = NumberSet::parse(b"1:*").ok() else { return Ok(contents) };
        let items = vec![FetchItem::Uid, FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size];
        let validity = selected.uid_validity.unwrap_or(0).to_be_bytes();
        let server = self.account.url.place.host().unwrap_or_default().to_owned();
        let user = self.account.url.user.clone();
        let mut words: HashMap<String, Arc<str>> = HashMap::new();
        let messages = &mut contents.messages;
        self.command("FETCH", Request::Fetch { uids, items, changed_since: None }, |event| {
            let Event::Fetched(fetched) = event else { return };
            // Flags that change meanwhile are told without a size.
            let (Some(uid), Some(octets)) = (fetched.uid, fetched.size) else { return };
            let (mut flags, mut keywords) = (0, Vec::new());
            for flag in fetched.flags.iter().flatten() {
                match flag {
                    Flag::Keyword(word) => {
                        let word = words.entry(word.clone()).or_insert_with(|| word.as_str().into());
                        keywords.push(Arc::clone(word));
                    }
                    system => flags |= system.system().map_or(0, |bit| bit.0),
                }
            }
            let parts: [&[u8]; 6] =
                [b"imap", server.as_bytes(), user.as_bytes(), name.as_bytes(), &validity, &uid.to_be_bytes()];
            messages.push(Message {
                identity: identity(&parts),
                uid: Some(uid),
                octets,
                flags,
                keywords,
                received_at: fetched.internal_date,
                place: Place::Remote,
            });
        })
        .await?;
        self.losses = 0;
        contents.messages.sort_by_key(|message| message.uid);
        contents.messages.dedup_by_key(|message| message.uid);
        Ok(contents)
    }

    pub(super) async fn read<S: Sink>(
        &mut self,
        folder: &Folder,
        messages: Vec<&Message>,
        sink: &mut S,
    ) -> Result<(), Stopped<S::Error>> {
        let mut reading = Reading {
            done: HashSet::new(),
            queue: VecDeque::new(),
            alone: VecDeque::new(),
            under_way: HashMap::new(),
            current: None,
        };
        loop {
            reading.queue = messages
                .iter()
                .copied()
                .filter(|message| message.uid.is_some_and(|uid| !reading.done.contains(&uid)))
                .collect();
            reading.under_way.clear();
            reading.alone.clear();
            if reading.queue.is_empty() {
                return Ok(());
            }
            match self.read_all(folder, &mut reading, sink).await {
                Ok(()) => return Ok(()),
                Err(Stopped::Source(SourceError::Remote(error))) => {
                    if reading.current.take().is_some() {
                        sink.abandon().await.map_err(Stopped::Sink)?;
                    }
                    if !self.recovers(&error).await {
                        return Err(SourceError::Remote(error).into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn read_all<S: Sink>(
        &mut self,
        folder: &Folder,
        reading: &mut Reading<'_>,
        sink: &mut S,
    ) -> Result<(), Stopped<S::Error>> {
        let FolderPlace::Remote(name) = &folder.place else { return Ok(()) };
        self.connect().await.map_err(SourceError::from)?;
        if self.selected.as_ref() != Some(name) {
            self.select(name).await.map_err(SourceError::from)?;
        }
        loop {
            while self.pending() < WINDOW {
                let Some(request) = reading.next_request() else { break };
                self.ask(request);
            }
            if self.pending() == 0 {
                break;
            }
            match self.event().await.map_err(SourceError::from)? {
                Event::Section { so_far, octets, .. } => {
                    let only = || match reading.under_way.len() {
                        1 => reading.under_way.keys().next().copied(),
                        _ => None,
                    };
                    let uid = so_far.uid.or_else(only);
                    reading.current = uid.and_then(|uid| reading.under_way.remove(&uid));
                    if let Some(message) = reading.current {
                        sink.begin(message, octets).await.map_err(Stopped::Sink)?;
                    }
                }
                Event::Octets(octets) if reading.current.is_some() => {
                    sink.octets(&octets).await.map_err(Stopped::Sink)?;
                }
                Event::SectionEnd => {
                    if let Some(message) = reading.current.take() {
                        self.losses = 0;
                        reading.done.extend(message.uid);
                        sink.end(message).await.map_err(Stopped::Sink)?;
                    }
                }
                Event::Done { request, .. } => {
                    for message in reading.left_of(&request) {
                        // A server that does not say of which UID a section is, is asked for one at a time.
                        if reading.asked_alone(&request) {
                            reading.done.extend(message.uid);
                            let why = "the server does not have it any more".to_owned();
                            sink.unreadable(message, why).await.map_err(Stopped::Sink)?;
                        } else {
                            reading.alone.push_back(message);
                        }
                    }
                }
                Event::Refused { request, completion } => {
                    for message in reading.left_of(&request) {
                        if reading.asked_alone(&request) {
                            reading.done.extend(message.uid);
                            sink.unreadable(message, completion.to_string()).await.map_err(Stopped::Sink)?;
                        } else {
                            reading.alone.push_back(message);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn pending(&self) -> usize {
        self.session.as_ref().map_or(0, |(_, client)| client.pending())
    }
}

/// How far reading a mailbox is.
struct Reading<'m> {
    done: HashSet<u32>,
    queue: VecDeque<&'m Message>,
    /// To be asked for one at a time, after all others.
    alone: VecDeque<&'m Message>,
    under_way: HashMap<u32, &'m Message>,
    current: Option<&'m Message>,
}

impl<'m> Reading<'m> {
    fn next_request(&mut self) -> Option<Request> {
        let mut batch = Vec::new();
        let mut octets = 0;
        while let Some(message) = self.queue.front() {
            let full = batch.len() >= BATCH_MESSAGES || octets + message.octets > BATCH_OCTETS;
            if full && !batch.is_empty() {
                break;
            }
            octets += message.octets;
            batch.extend(self.queue.pop_front());
        }
        if batch.is_empty() && self.under_way.is_empty() {
            batch.extend(self.alone.pop_front());
        }
        let uids: Vec<NonZeroU32> =
            batch.iter().filter_map(|message| message.uid.and_then(NonZeroU32::new)).collect();
        self.under_way.extend(batch.iter().filter_map(|message| Some((message.uid?, *message))));
        let mut ranges: Vec<(NonZeroU32, NonZeroU32)> = Vec::new();
        for uid in uids {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(uid) => *last = uid,
                _ => ranges.push((uid, uid)),
            }
        }
        let section = Section {
            item: SectionItem::Body,
            peek: true,
            path: Vec::new(),
            text: SectionText::Whole,
            partial: None,
        };
        let items = vec![FetchItem::Uid, FetchItem::Section(section)];
        Some(Request::Fetch { uids: NumberSet::from_ranges(ranges)?, items, changed_since: None })
    }

    /// What a command asked for and did not bring, in order.
    fn left_of(&mut self, request: &Request) -> Vec<&'m Message> {
        let Request::Fetch { uids, .. } = request else { return Vec::new() };
        let mut left: Vec<u32> =
            self.under_way.keys().copied().filter(|uid| uids.contains(*uid, u32::MAX)).collect();
        left.sort_unstable();
        left.iter().filter_map(|uid| self.under_way.remove(uid)).collect()
    }

    fn asked_alone(&self, request: &Request) -> bool {
        let Request::Fetch { uids, .. } = request else { return false };
        matches!(uids.ranges(), [(first, last)] if first == last)
    }
}
